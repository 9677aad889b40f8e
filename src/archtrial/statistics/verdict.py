"""The verdict: six words, the rules by which one is chosen, and the record of it.

Two claims are kept apart: what swapping the architecture gains *at equal effort*,
and whether *more effort* on the baseline would make up for it (`catch_up`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from archtrial.statistics.intervals import Estimate
from archtrial.statistics.matching import (
    CatchUp,
)
from archtrial.statistics.planning import (
    Settlement,
)
from archtrial.statistics.search import Estimand

__all__ = ["Caution", "Comparison", "Copies", "Verdict", "decide"]


Verdict: TypeAlias = Literal[
    "not_assessable",
    "tuning",
    "equivalent",
    "baseline",
    "architecture",
    "inconclusive",
]


def decide(
    effect: Estimate | None,
    p_value: float | None,
    *,
    alpha: float,
    margin: float,
    catch_up: CatchUp,
    sound: bool = True,
    published_gap: float | None = None,
) -> Verdict:
    """Returns the first verdict whose rule holds.

    Args:
        effect: The challenger's gain at equal effort, with its interval; None where
            there are too few trials.
        p_value: Of a gain of 0, adjusted for the number of challengers.
        alpha: The level of claims.
        margin: delta, the smallest gap worth having.
        catch_up: Whether more tuning brings the baseline there.
        sound: Whether the comparison itself is sound.
        published_gap: Challenger less baseline as published, if it was given.
    """
    if not sound or effect is None or p_value is None:
        return "not_assessable"
    low, estimate, high = effect.low, effect.estimate, effect.high
    if -margin < low and high < margin:
        published = published_gap is not None and published_gap >= margin
        return "tuning" if published else "equivalent"
    if p_value <= alpha and high < 0 and estimate <= -margin:
        return "baseline"
    if p_value <= alpha and low > 0 and estimate >= margin:
        return "tuning" if catch_up == "yes" else "architecture"
    return "inconclusive"


@dataclasses.dataclass(frozen=True)
class Copies:
    """Test examples that lie among those that were trained on."""

    count: int
    of: int
    """T, the number of test examples."""
    moves: Mapping[str, float]
    """By challenger, how far they can move its gain at most (`copies_move`)."""
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By challenger, the clause that makes its comparison unsound where they decide."""

    def decides(self, challenger: str, gained: float, margin: float) -> bool:
        """Says whether without them the finding might have been another.

        A gain of at least the margin might have fallen short of it, and a smaller
        one exceeded it.
        """
        return self.moves[challenger] > abs(abs(gained) - margin)


CautionKind: TypeAlias = Literal[
    "other reading",
    "copies",
    "validation only",
    "test set bounded",
    "this test set",
    "picked seeds",
    "unpaired",
    "no partner",
    "diverged",
    "no equal compute",
    "other unit of compute",
    "unconfirmed at equal compute",
    "other verdict at equal compute",
]


@dataclasses.dataclass(frozen=True)
class Caution:
    """What a reader must know beside a verdict: its kind and its numbers, no sentence."""

    kind: CautionKind
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One challenger against the baseline.

    Scores are in the metric's own units. `effect` and all that is said of it are
    the *gain* of the challenger: positive where the challenger is better, also for
    metrics of which less is better.
    """

    verdict: Verdict
    strong: bool
    """Whether, besides `architecture`, the whole interval lies above the margin."""
    reason: str | None
    """Why nothing is claimed: for `not_assessable`, and where readings that must agree
    differ."""
    baseline: str
    challenger: str
    metric: str
    higher_is_better: bool
    scored_on: Literal["test", "validation"]
    margin: float
    alpha: float
    """Shared by all challengers: with J of them intervals have level 1 - alpha / J."""
    estimand: Estimand
    paired: bool
    configurations: int
    """n, in each arm; of the smaller one if the arms are not paired."""
    effort: int
    effect: Estimate | None = None
    standard_error: float | None = None
    """Of the effect, from the draw of configurations alone."""
    p_value: float | None = None
    p_value_adjusted: float | None = None
    """The same after Holm's adjustment for the number of challengers."""
    effect_at_equal_compute: dict[str, Any] | None = None
    baseline_score: Estimate | None = None
    """D(k*) of the baseline."""
    challenger_score: Estimate | None = None
    probability_better: dict[str, Any] | None = None
    tuning_to_match: dict[str, Any] | None = None
    ladder: dict[str, Any] | None = None
    """Where both arms stand when trained longer; None where nobody did."""
    catch_up: CatchUp = "unknown"
    test_set_floor: float | None = None
    """No interval is narrower to either side, however many configurations; None
    where neither the test examples nor their number is known."""
    minimum_detectable_effect: float | None = None
    """None where so few trials allow no claim of any gain."""
    would_settle: Settlement | None = None
    """For `inconclusive`."""
    other_reading: dict[str, Any] | None = None
    """What the other reading finds, where the records allow it."""
    robustness: dict[str, Any] | None = None
    """The gain in parts of the space, for the median, and at equal size."""
    published: dict[str, Any] | None = None
    """The published gap, taken apart; the split depends on the path."""
    cautions: tuple[Caution, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as `verdict.schema.json` describes it, without words.

        Its sentence and its warnings are made of this by `archtrial.words`.
        """
        document = dataclasses.asdict(self)
        del document["cautions"]
        for field in ("effect", "baseline_score", "challenger_score"):
            # A reader need not ask first whether there are numbers.
            if document[field] is None:
                document[field] = {"estimate": None, "low": None, "high": None}
        return document

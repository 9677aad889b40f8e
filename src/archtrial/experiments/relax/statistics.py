"""Does a net that is freed from its convolutional prior beat the one that kept it?

A convolutional net is turned, after some steps of its training, into the fully
connected net that computes the same, and trained on (d'Ascoli et al. 2019). At each of
m such relax times it is compared with the convolutional net trained on for as long,
and with the same fully connected shape from a standard start, paired by seed. Some
relax time always comes out best, so all are judged at once (`simultaneous`).

Of each run there are two readings, such as the weights that were best on validation
and the weights of the last step. One is declared; the other may overrule it, but never
make a claim of its own.

All scores come turned so that higher is better; `Relaxation.to_dict` turns them back.
What is found here is told in `words`.

Shapes: S seeds, m relax times, T test examples.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics import planning
from archtrial.statistics.intervals import Estimate, mean
from archtrial.statistics.simultaneous import (
    Simultaneous,
    reach,
    seeds_needed,
    simultaneous,
)

__all__ = [
    "ArmScores",
    "RelaxReading",
    "RelaxVerdict",
    "Relaxation",
    "Settling",
    "arms_of",
    "best_of",
    "default_margin",
    "judge_relaxation",
    "test_variance",
]


@dataclasses.dataclass(frozen=True)
class ArmScores:
    """The test scores of one arm at the budget of each relax time."""

    scores: np.ndarray
    """(S, m) higher is better; a run that diverged stands at the score of the constant
    predictor."""
    diverged: np.ndarray
    """(S, m) bool."""
    examples: np.ndarray | None = None
    """(m, T) each test example's share of the score, averaged over seeds; None if
    unknown."""


@dataclasses.dataclass(frozen=True)
class RelaxReading:
    """What one reading of all runs says, paired by row and by column."""

    relax_times: Sequence[int]
    """(m,) the steps after which the net is relaxed, in any order, each once."""
    relaxed: ArmScores
    cnn: ArmScores
    """Trained on to the same number of steps in all."""
    fresh: ArmScores
    """The relaxed shape from a standard start, trained for the same number of steps."""


RelaxVerdict: TypeAlias = Literal[
    "relaxed_better", "no_gain", "inconclusive", "not_assessable"
]
Obstacle: TypeAlias = Literal["seeds", "cnn", "relaxed"]
"""Why nothing can be said: too few seeds, or an arm that diverged in every run."""


@dataclasses.dataclass(frozen=True)
class Settling:
    """What it takes at least to settle an open question."""

    seeds: int | None
    """How many in all; None where no number of seeds is enough."""
    test_examples: float | None
    """How many times the test examples; None where these do."""


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """The verdict on relaxing, and all that it rests on."""

    verdict: RelaxVerdict
    obstacle: Obstacle | None
    """Of `not_assessable`."""
    strong: bool
    """Whether, besides `relaxed_better`, a whole interval lies above the margin."""
    margin: float
    margin_assumed: bool
    alpha: float
    best_time: int
    """The relax time with the largest gain in the declared reading."""
    compared_times: tuple[int, ...]
    """Those of which the gains below are: all but those at which the CNN and the relaxed
    net both diverged in every run."""
    claimed: np.ndarray
    """Bool, of the times that are compared: those with a gain that is claimed."""
    contradicted: np.ndarray
    """The same: those where the other reading claims the opposite of a gain."""
    gain: Simultaneous
    """Relaxed less CNN in the declared reading."""
    gain_other: Simultaneous
    gain_over_fresh: Simultaneous
    """Relaxed less fresh in the declared reading."""
    gain_over_fresh_other: Simultaneous
    held: Simultaneous
    """CNN less fresh at the longest budget: what the prior is worth throughout."""
    held_failed: bool
    """Whether that CNN diverged in every run."""
    fresh_failed: bool
    """Whether every fresh net did."""
    settling: Settling | None
    """None where the question is settled, or seeds are not what is missing."""
    declared: RelaxReading
    other: RelaxReading
    throughout: ArmScores | None

    @property
    def claimed_times(self) -> tuple[int, ...]:
        """The relax times whose gain is claimed, ascending."""
        return tuple(sorted(np.array(self.compared_times)[self.claimed].tolist()))

    @property
    def fresh_gap(self) -> Estimate | None:
        """What the prior is worth throughout; None where one of both always diverged."""
        return None if self.fresh_failed or self.held_failed else self.held.at(0)

    def best(self, gain: Simultaneous, among: np.ndarray | None = None) -> int:
        """Returns the column of the largest gain, of equal ones the earliest."""
        return best_of(gain, self.compared_times, among)

    def to_dict(
        self, *, higher_is_better: bool, reading: str, other_reading: str
    ) -> dict[str, Any]:
        """Returns the numbers as plain JSON.

        Scores stand in the metric's own units; differences ("gain...", "fresh_gap")
        are above 0 where the first is better, whatever the metric. An end of an
        interval that is not finite is None, and so is what is not known.

        Args:
            higher_is_better: Of the metric itself.
            reading: What the declared reading is called.
            other_reading: What the other one is called.
        """
        examples = self.declared.relaxed.examples
        settling = self.settling
        readings = {reading: self.declared, other_reading: self.other}
        sign = 1 if higher_is_better else -1
        return {
            "kind": "relax",
            "verdict": self.verdict,
            "strong": self.strong,
            "margin": self.margin,
            "margin_assumed": self.margin_assumed,
            "alpha": self.alpha,
            "reading": reading,
            "other_reading": other_reading,
            "seeds": self.gain.seeds,
            "test_examples": None if examples is None else int(examples.shape[1]),
            "best_time": self.best_time,
            "claimed_times": list(self.claimed_times),
            "settling": None if settling is None else dataclasses.asdict(settling),
            "times": [
                self._time(j, readings, sign)
                for j in range(len(self.declared.relax_times))
            ],
            "fresh_gap": _plain(self.fresh_gap or _UNKNOWN),
        }

    def _time(
        self, column: int, readings: Mapping[str, RelaxReading], sign: int
    ) -> dict[str, Any]:
        """Returns what is known of one relax time."""
        time = int(self.declared.relax_times[column])
        own = {
            name: {
                arm: sign * scored.scores[:, column]
                for arm, scored in arms_of(read).items()
            }
            for name, read in readings.items()
        }
        diverged = [read.relaxed.diverged[:, column] for read in readings.values()]
        gains = ("gain", "gain_other", "gain_over_fresh", "gain_over_fresh_other")
        return {
            "relax_time": time,
            "scores": {
                name: {arm: _plain(mean(s, self.alpha)) for arm, s in arms.items()}
                for name, arms in own.items()
            },
            "points": {
                name: {arm: [float(x) for x in s] for arm, s in arms.items()}
                for name, arms in own.items()
            },
            **{
                name: _plain_gain(getattr(self, name), self.compared_times.index(time))
                if time in self.compared_times
                else _NO_GAIN
                for name in gains
            },
            "diverged": int(np.sum(np.any(diverged, axis=0))),
        }


def judge_relaxation(
    declared: RelaxReading,
    other: RelaxReading,
    *,
    margin: float | None = None,
    margin_assumed: bool = False,
    usual_units: bool = True,
    alpha: float = 0.05,
    seed: int = 0,
    throughout: ArmScores | None = None,
) -> Relaxation:
    """Judges whether relaxing beats keeping the prior, after looking at all times.

    The verdict is the first that matches:

    - `not_assessable`: fewer seeds than a p of alpha takes, or all runs of the CNN or
      all relaxed ones diverged. A relax time at which both did is left out of what
      follows.
    - `relaxed_better`: at some relax time the adjusted p is at most alpha, the
      simultaneous interval lies above 0 and the estimate is at least the margin;
      `strong` where the interval lies above the margin. A time at which the other
      reading claims the opposite does not count; if no time is left, the verdict is
      `inconclusive`.
    - `no_gain`: at every relax time the simultaneous interval lies below the margin.
    - `inconclusive`.

    Swapping `relaxed` and `cnn` turns every gain and its interval round exactly, at a
    given margin; the order of seeds and of relax times changes nothing.

    Args:
        declared: The reading that the verdict is about.
        other: The same runs, read otherwise.
        margin: The smallest gain worth having, more than 0, in units of the score; None
            for that of `default_margin`.
        margin_assumed: Whether a margin that is given was assumed, not declared.
        usual_units: As for `default_margin`.
        alpha: The level that all relax times share.
        seed: The protocol's seed.
        throughout: (S, 1) the CNN at the longest budget as it is set against the fresh
            net; None for `declared.cnn` there.

    Raises:
        ProtocolError: Shapes do not fit, a score is not finite, a relax time is there
            twice, or the margin is not positive.
    """
    _check(declared, other, throughout, margin)
    longest = [int(np.argmax(declared.relax_times))]
    longest_cnn = throughout or _taken(declared.cnn, longest)
    compared = _compared(declared)
    some, some_other = (_some_times(read, compared) for read in (declared, other))
    if margin is None:
        margin_assumed = True
        margin = default_margin(some.cnn.scores, some.cnn.diverged, usual_units)

    def risen(arm: ArmScores, than: ArmScores) -> Simultaneous:
        return simultaneous(
            arm.scores - than.scores,
            alpha=alpha,
            seed=seed,
            test_variance=test_variance(arm, than),
        )

    gain, gain_other = (risen(r.relaxed, r.cnn) for r in (some, some_other))
    obstacle = _obstacle(some, alpha)
    claims = (gain.direction > 0) & (gain.estimate >= margin)
    contradicted = claims & (gain_other.direction < 0)
    claimed = claims & ~contradicted & (obstacle is None)
    times = tuple(int(time) for time in some.relax_times)
    verdict: RelaxVerdict = "inconclusive"
    if obstacle is not None:
        verdict = "not_assessable"
    elif claimed.any():
        verdict = "relaxed_better"
    elif (gain.high < margin).all():
        verdict = "no_gain"
    open_still = verdict == "inconclusive" and not contradicted.any()
    best = best_of(gain, times)
    return Relaxation(
        verdict=verdict,
        obstacle=obstacle,
        strong=bool(np.any(claimed & (gain.low > margin))),
        margin=margin,
        margin_assumed=margin_assumed,
        alpha=alpha,
        best_time=times[best],
        compared_times=times,
        claimed=claimed,
        contradicted=contradicted,
        gain=gain,
        gain_other=gain_other,
        gain_over_fresh=risen(some.relaxed, some.fresh),
        gain_over_fresh_other=risen(some_other.relaxed, some_other.fresh),
        held=risen(longest_cnn, _taken(declared.fresh, longest)),
        held_failed=bool(np.all(longest_cnn.diverged)),
        fresh_failed=bool(np.all(some.fresh.diverged)),
        settling=_settling(gain, margin, best) if open_still else None,
        declared=declared,
        other=other,
        throughout=throughout,
    )


def best_of(
    gain: Simultaneous, times: Sequence[int], among: np.ndarray | None = None
) -> int:
    """Returns the column of the largest gain, of equal ones the earliest.

    Args:
        gain: At all relax times.
        times: These.
        among: (m,) bool, the columns that count; all of them without.
    """
    columns = [j for j in range(len(times)) if among is None or among[j]]
    return max(columns, key=lambda j: (float(gain.estimate[j]), -times[j]))


def _check(
    declared: RelaxReading,
    other: RelaxReading,
    throughout: ArmScores | None,
    margin: float | None,
) -> None:
    """Checks that the arrays fit together.

    Raises:
        ProtocolError: They do not.
    """
    if margin is not None and not 0 < margin < math.inf:
        raise ProtocolError("margin is more than 0", f"{margin:g}")
    times = [int(time) for time in declared.relax_times]
    if not times or len(set(times)) < len(times):
        raise ProtocolError("each relax time is there once", str(times))
    if [int(time) for time in other.relax_times] != times:
        raise ProtocolError(
            "both readings have the same relax times in the same order",
            f"{times} and {[int(time) for time in other.relax_times]}",
        )
    seeds = len(declared.relaxed.scores)
    for read in (declared, other):
        sizes = set()
        arms = [(name, arm, len(times)) for name, arm in arms_of(read).items()]
        if throughout is not None:
            arms.append(("throughout", throughout, 1))
        for name, arm, columns in arms:
            if arm.scores.shape != (seeds, columns) or not seeds:
                raise ProtocolError(
                    "each arm has a score for each seed and relax time, in both"
                    " readings",
                    f"{name} of shape {arm.scores.shape}, not {(seeds, columns)}",
                )
            if arm.diverged.shape != arm.scores.shape:
                raise ProtocolError(
                    "each score is marked as diverged or not",
                    f"{name} has marks of shape {arm.diverged.shape}",
                )
            if not np.isfinite(arm.scores).all():
                raise ProtocolError(
                    "every score is finite",
                    f"{name} has one that is not",
                    "A run that diverged stands at the score of the constant"
                    " predictor.",
                )
            if arm.examples is not None:
                sizes.add(arm.examples.shape[1:])
                if len(arm.examples) != columns or arm.examples.ndim != 2:
                    sizes.add((-1,))
        if len(sizes) > 1:
            raise ProtocolError(
                "the shares of single examples are tables of relax times by examples,"
                " of one shape for all arms",
                "others",
            )


def arms_of(read: RelaxReading) -> dict[str, ArmScores]:
    """Returns a reading's arms by their role."""
    return {"relaxed": read.relaxed, "cnn": read.cnn, "fresh": read.fresh}


def _taken(arm: ArmScores, columns: list[int]) -> ArmScores:
    return ArmScores(
        arm.scores[:, columns],
        arm.diverged[:, columns],
        None if arm.examples is None else arm.examples[columns],
    )


def _compared(read: RelaxReading) -> list[int]:
    """Returns the columns at which the CNN or the relaxed net has a run that lives.

    Where there is none at all, every column.
    """
    dead = np.all(read.cnn.diverged & read.relaxed.diverged, axis=0)
    return [int(column) for column in np.flatnonzero(~dead | dead.all())]


def _some_times(read: RelaxReading, columns: list[int]) -> RelaxReading:
    return RelaxReading(
        [read.relax_times[column] for column in columns],
        **{name: _taken(arm, columns) for name, arm in arms_of(read).items()},
    )


def test_variance(arm: ArmScores, than: ArmScores) -> np.ndarray | None:
    """Returns (m,) the variance of the gain from the draw of the test examples.

    The seeds are part of it as well, for each example's share is a mean over few; so
    it is rather too large.
    """
    if arm.examples is None or than.examples is None or arm.examples.shape[1] < 2:
        return None
    apart = arm.examples - than.examples
    variance: np.ndarray = np.var(apart, axis=1, ddof=1) / apart.shape[1]
    return variance


def default_margin(
    scores: np.ndarray, diverged: np.ndarray, usual_units: bool
) -> float:
    """Returns the margin where none was declared, from the CNN's scores.

    Args:
        scores: (S, m) of the CNN; best on validation, so that no test score decides
            what counts as a gain.
        diverged: (S, m) bool; how far a failure falls is no measure of a gain, so
            these are left out.
        usual_units: Whether half a point is .005, as of a fraction; else it is half a
            per cent of the CNN's median score.
    """
    columns = [own[~failed] for own, failed in zip(scores.T, diverged.T, strict=True)]
    usual = None
    if not usual_units and not diverged.all():
        usual = float(np.median(np.abs(scores[~diverged])))
    return planning.default_margin(columns, usual)


def _obstacle(declared: RelaxReading, alpha: float) -> Obstacle | None:
    """Returns why nothing can be said; None where something can."""
    if len(declared.cnn.scores) < seeds_needed(alpha):
        return "seeds"
    arms: tuple[Literal["cnn", "relaxed"], ...] = ("cnn", "relaxed")
    found = arms_of(declared)
    return next((name for name in arms if np.all(found[name].diverged)), None)


def _settling(gain: Simultaneous, margin: float, best: int) -> Settling:
    """Returns what it takes at least to settle the question.

    It is settled by an interval that leaves out 0 where a gain is worth having, or
    else by intervals below the margin at every relax time. Taken as they are: the
    gains, the deviations over seeds and the test examples' variance. A gain that is
    the largest of many is rather too large, so it may take more.

    Args:
        gain: Over the CNN.
        margin: The smallest gain worth having.
        best: The column of the largest gain.
    """
    if gain.estimate[best] >= margin:
        columns, room = np.array([best]), gain.estimate[[best]]
    else:
        columns = np.flatnonzero(gain.high >= margin)
        room = margin - gain.estimate[columns]

    def reached(seeds: int, error: np.ndarray) -> np.ndarray:
        return reach(
            error,
            gain.test_variance[columns],
            seeds=seeds,
            columns=len(gain.estimate),
            alpha=gain.alpha,
        )

    error = gain.standard_error[columns]
    left = float(np.max(reached(gain.seeds, 0 * error) / room))
    if left >= 0.99:
        # So many examples that half the variance is left for the seeds.
        return Settling(None, 2 * left**2)

    def enough(seeds: int) -> bool:
        shrunk = error * math.sqrt(gain.seeds / seeds)
        return bool(np.all(reached(seeds, shrunk) < room))

    few, many = gain.seeds, gain.seeds + 1
    while not enough(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return Settling(many, None)


# --- as JSON -----------------------------------------------------------------------


_UNKNOWN = Estimate(math.nan, math.nan, math.nan)
_NO_GAIN = dict.fromkeys(("estimate", "low", "high", "p_value", "p_value_adjusted"))


def _plain(found: Estimate) -> dict[str, float | None]:
    return {
        end: value if math.isfinite(value) else None
        for end, value in dataclasses.asdict(found).items()
    }


def _plain_gain(found: Simultaneous, column: int) -> dict[str, float | None]:
    return {
        **_plain(found.at(column)),
        "p_value": float(found.p_value[column]),
        "p_value_adjusted": float(found.p_value_adjusted[column]),
    }

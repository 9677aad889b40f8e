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

Shapes: S seeds, m relax times, T test examples.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.experiments.relax.words import (
    NetNames,
    RelaxVerdict,
    Settling,
    Telling,
    Units,
)
from archtrial.statistics import planning
from archtrial.statistics.intervals import Estimate
from archtrial.statistics.simultaneous import (
    Simultaneous,
    mean,
    reach,
    seeds_needed,
    simultaneous,
)

__all__ = [
    "ArmScores",
    "NetNames",
    "RelaxReading",
    "RelaxVerdict",
    "Relaxation",
    "Settling",
    "default_margin",
    "judge_relaxation",
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


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """The verdict on relaxing, and all that it rests on."""

    verdict: RelaxVerdict
    strong: bool
    """Whether, besides `relaxed_better`, a whole interval lies above the margin."""
    sentence: str
    warnings: tuple[str, ...]
    """What weakens this verdict."""
    notes: tuple[str, ...]
    """What holds of any such verdict, in this one's numbers."""
    margin: float
    margin_assumed: bool
    alpha: float
    best_time: int
    """The relax time with the largest gain in the declared reading."""
    claimed_times: tuple[int, ...]
    """Those with a gain that is claimed, in ascending order."""
    compared_times: tuple[int, ...]
    """Those of which the gains below are: all but those at which the CNN and the relaxed
    net both diverged in every run."""
    gain: Simultaneous
    """Relaxed less CNN in the declared reading."""
    gain_other: Simultaneous
    gain_over_fresh: Simultaneous
    """Relaxed less fresh in the declared reading."""
    gain_over_fresh_other: Simultaneous
    fresh_gap: Estimate | None
    """CNN less fresh at the longest budget: what the prior is worth throughout; None
    where one of them diverged in every run."""
    settling: Settling | None
    """None where the question is settled, or seeds are not what is missing."""
    declared: RelaxReading
    other: RelaxReading
    reading: str
    other_reading: str
    units: Units
    higher_is_better: bool
    names: NetNames

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as plain JSON.

        Scores stand in the metric's own units; differences ("gain...", "fresh_gap")
        are above 0 where the first is better, whatever the metric. An end of an
        interval that is not finite is None, and so is what is not known.
        """
        examples = self.declared.relaxed.examples
        return {
            "kind": "relax",
            "verdict": self.verdict,
            "strong": self.strong,
            "sentence": self.sentence,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "margin": self.margin,
            "margin_assumed": self.margin_assumed,
            "alpha": self.alpha,
            "reading": self.reading,
            "other_reading": self.other_reading,
            "names": {
                "cnn": self.names.cnn,
                "relaxed": self.names.relaxed,
                "fresh": self.names.fresh,
            },
            "seeds": self.gain.seeds,
            "test_examples": None if examples is None else int(examples.shape[1]),
            "best_time": self.best_time,
            "claimed_times": list(self.claimed_times),
            "settling": None
            if self.settling is None
            else dataclasses.asdict(self.settling),
            "times": [self._time(j) for j in range(len(self.declared.relax_times))],
            "fresh_gap": _plain(self.fresh_gap or _UNKNOWN),
        }

    def _time(self, column: int) -> dict[str, Any]:
        """Returns what is known of one relax time."""
        time = int(self.declared.relax_times[column])
        diverged = [
            reading.relaxed.diverged[:, column]
            for reading in (self.declared, self.other)
        ]
        gains = {
            "gain": self.gain,
            "gain_other": self.gain_other,
            "gain_over_fresh": self.gain_over_fresh,
            "gain_over_fresh_other": self.gain_over_fresh_other,
        }
        scores: dict[str, Any] = {}
        points: dict[str, Any] = {}
        for name, reading in (
            (self.reading, self.declared),
            (self.other_reading, self.other),
        ):
            own = {
                arm: (1 if self.higher_is_better else -1) * scored.scores[:, column]
                for arm, scored in _arms(reading).items()
            }
            scores[name] = {a: _plain(mean(s, self.alpha)) for a, s in own.items()}
            points[name] = {a: [float(x) for x in s] for a, s in own.items()}
        return {
            "relax_time": time,
            "scores": scores,
            "points": points,
            **{
                name: _plain_gain(gain, self.compared_times.index(time))
                if time in self.compared_times
                else _NO_GAIN
                for name, gain in gains.items()
            },
            "diverged": int(np.sum(np.any(diverged, axis=0))),
        }


def judge_relaxation(
    declared: RelaxReading,
    other: RelaxReading,
    *,
    metric: str,
    margin: float | None = None,
    margin_assumed: bool = False,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
    fraction: bool | None = None,
    reading: str = "best",
    other_reading: str = "last",
    names: NetNames | None = None,
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
        metric: The metric's name, for the sentence.
        margin: The smallest gain worth having, more than 0, in units of the score; None
            for the larger of half a point and one standard deviation of the CNN over
            seeds. Where the score is no fraction, half a point is half a per cent of
            the CNN's median score.
        margin_assumed: Whether a margin that is given was assumed, not declared.
        alpha: The level that all relax times share.
        seed: The protocol's seed.
        higher_is_better: Of the metric itself; the scores come turned.
        fraction: Whether a hundredth is called a point; None to go by the metric's
            name.
        reading: What the declared reading is called, "best" or "last".
        other_reading: What the other one is called.
        names: What the nets are called; None for CNN, eFCN and FCN.
        throughout: (S, 1) the CNN at the longest budget as it is set against the fresh
            net; None for `declared.cnn` there.

    Raises:
        ProtocolError: Shapes do not fit, a score is not finite, a relax time is there
            twice, or the margin is not positive.
    """
    _check(declared, other, throughout, margin)
    names = names or NetNames()
    whole, whole_other = declared, other
    longest = [int(np.argmax(declared.relax_times))]
    longest_cnn = throughout or _taken(declared.cnn, longest)
    longest_fresh = _taken(declared.fresh, longest)
    compared = _compared(declared)
    declared, other = (_some_times(read, compared) for read in (declared, other))
    units = Units(metric, fraction)
    if margin is None:
        margin = default_margin(declared.cnn.scores, declared.cnn.diverged, units)
        margin_assumed = True

    def risen(arm: ArmScores, than: ArmScores) -> Simultaneous:
        return simultaneous(
            arm.scores - than.scores,
            alpha=alpha,
            seed=seed,
            test_variance=_test_variance(arm, than),
        )

    gain = risen(declared.relaxed, declared.cnn)
    gain_other = risen(other.relaxed, other.cnn)
    over_fresh = risen(declared.relaxed, declared.fresh)
    held = risen(longest_cnn, longest_fresh)

    reason = _unsound(declared, alpha, names)
    claims = (gain.direction > 0) & (gain.estimate >= margin)
    contradicted = claims & (gain_other.direction < 0)
    claimed = claims & ~contradicted & (reason is None)

    fresh_failed = bool(np.all(declared.fresh.diverged))
    held_failed = bool(np.all(longest_cnn.diverged))
    times = [int(time) for time in declared.relax_times]
    tell = Telling(names, units, times, margin, alpha)
    verdict: RelaxVerdict
    settling = None
    if reason is not None:
        verdict = "not_assessable"
        said = tell.unsound(reason)
    elif claimed.any():
        verdict = "relaxed_better"
        said = tell.better(gain, claimed, (over_fresh.direction > 0) & ~fresh_failed)
    elif (gain.high < margin).all():
        verdict = "no_gain"
        said = tell.no_gain(gain)
    elif contradicted.any():
        verdict = "inconclusive"
        said = tell.contradiction(
            gain, gain_other, contradicted, reading, other_reading
        )
    else:
        verdict = "inconclusive"
        settling = _settling(gain, margin, tell.best(gain))
        said = tell.undecided(gain, settling)
    if verdict != "not_assessable":
        against = tell.against_fresh(over_fresh, held, fresh_failed, held_failed)
        said = f"{said} {against}"

    return Relaxation(
        verdict=verdict,
        strong=bool(np.any(claimed & (gain.low > margin))),
        sentence=said,
        warnings=(
            *tell.left_out(whole.relax_times),
            *_warnings_of_runs(whole, whole_other, throughout, names),
            *tell.overruled(verdict, gain_other, claimed, contradicted, other_reading),
        ),
        notes=(
            f"A failure that befalls {_missed(gain.seeds)}% of runs"
            f" is missed by {gain.seeds} seed{'' if gain.seeds == 1 else 's'} in 1 of 20"
            " studies; no interval knows of failures that were not seen.",
        ),
        margin=margin,
        margin_assumed=margin_assumed,
        alpha=alpha,
        best_time=times[tell.best(gain)],
        claimed_times=tuple(sorted(np.array(times)[claimed].tolist())),
        compared_times=tuple(times),
        gain=gain,
        gain_other=gain_other,
        gain_over_fresh=over_fresh,
        gain_over_fresh_other=risen(other.relaxed, other.fresh),
        fresh_gap=None if fresh_failed or held_failed else held.at(0),
        settling=settling,
        declared=whole,
        other=whole_other,
        reading=reading,
        other_reading=other_reading,
        units=units,
        higher_is_better=higher_is_better,
        names=names,
    )


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
        arms = [(name, arm, len(times)) for name, arm in _arms(read).items()]
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


def _missed(seeds: int) -> str:
    """Returns of how many runs in a hundred a failure may befall unseen, 1 time in 20."""
    share = 100 * (1 - 0.05 ** (1 / seeds))
    return f"{share:.0f}" if share >= 0.95 else f"{share:.1g}"


def _arms(read: RelaxReading) -> dict[str, ArmScores]:
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
        **{name: _taken(arm, columns) for name, arm in _arms(read).items()},
    )


def _test_variance(arm: ArmScores, than: ArmScores) -> np.ndarray | None:
    """Returns (m,) the variance of the gain from the draw of the test examples.

    The seeds are part of it as well, for each example's share is a mean over few; so
    it is rather too large.
    """
    if arm.examples is None or than.examples is None or arm.examples.shape[1] < 2:
        return None
    apart = arm.examples - than.examples
    variance: np.ndarray = np.var(apart, axis=1, ddof=1) / apart.shape[1]
    return variance


def default_margin(scores: np.ndarray, diverged: np.ndarray, units: Units) -> float:
    """Returns the margin where none was declared, from the CNN's scores.

    Args:
        scores: (S, m) of the CNN; best on validation, so that no test score decides
            what counts as a gain.
        diverged: (S, m) bool; how far a failure falls is no measure of a gain, so
            these are left out.
        units: How its differences are written.
    """
    columns = [own[~failed] for own, failed in zip(scores.T, diverged.T, strict=True)]
    usual = None
    if not (units.points or units.metric == "r2") and not diverged.all():
        usual = float(np.median(np.abs(scores[~diverged])))
    return planning.default_margin(columns, usual)


def _unsound(declared: RelaxReading, alpha: float, names: NetNames) -> str | None:
    """Returns why nothing can be said; None where something can."""
    seeds, needed = len(declared.cnn.scores), seeds_needed(alpha)
    if seeds < needed:
        return (
            f"a p of {alpha:g} takes {needed} seeds at least, and there"
            f" {'is' if seeds == 1 else 'are'} {seeds}"
        )
    for name, arm in ((names.cnn, declared.cnn), (names.relaxed, declared.relaxed)):
        if np.all(arm.diverged):
            return f"every run of the {name} diverged"
    return None


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


def _warnings_of_runs(
    declared: RelaxReading,
    other: RelaxReading,
    throughout: ArmScores | None,
    names: NetNames,
) -> list[str]:
    """Says what weakens a verdict, of the runs alone."""
    called = {"relaxed": names.relaxed, "cnn": names.cnn, "fresh": names.fresh}
    found = [
        f"{int(np.sum(arm.diverged))} of {arm.diverged.size} readings of the"
        f" {called[name]} are of runs that diverged; they stand at the score of the"
        " constant predictor."
        for name, arm in _arms(declared).items()
        if arm.diverged.any()
    ]
    for name, arm in _arms(declared).items():
        later = int(np.sum(_arms(other)[name].diverged & ~arm.diverged))
        if later:
            found.append(
                f"{later} of {arm.diverged.size} readings of the {called[name]} are of"
                " runs that diverged later on; they stand at what they were before."
            )
    if throughout is not None and throughout.diverged.any():
        found.append(
            f"{int(np.sum(throughout.diverged))} of {throughout.diverged.size} runs of"
            f" the {names.cnn} that keeps its learning rate throughout diverged; they"
            " stand at the score of the constant predictor."
        )
    if _test_variance(declared.relaxed, declared.cnn) is None:
        found.append(
            "What single test examples were scored is not known, so the intervals are"
            " for this very test set."
        )
    return found


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

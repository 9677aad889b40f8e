"""Training longer: at which rung of a ladder the baseline comes near the challenger.

At rung r all schedules are r times as long and both arms are tuned anew. The target
stays where it was, at the challenger's search of effort k* at 1x less the margin, so
the question is the one that a practitioner asks: "would A get there too if it were
trained longer?" The rungs are few and expensive, so they hold few trials, which is what
limits all that is said here.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.expectation import Expectation, expectation, resample_counts
from archtrial.statistics.gain import gain
from archtrial.statistics.intervals import Estimate
from archtrial.statistics.matching import CatchUp
from archtrial.statistics.search import Estimand, Reading, Search
from archtrial.statistics.stratified import Influences
from archtrial.statistics.sums import weighted

__all__ = ["Climb", "Extrapolation", "Rung", "climb"]

FEWEST = 8
"""Configurations that a longer rung has at least, however small the effort."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """Where both arms stand when every schedule is this many times as long."""

    rung: int
    trials: int
    """Of the baseline."""
    multiple: float
    """What a trial of the baseline costs here, over one of the challenger at 1x."""
    reason: str | None = None
    """Why nothing is said of this rung; then all numbers of the baseline are None."""
    baseline_score: Estimate | None = None
    """D_A(k*) here."""
    ahead: Estimate | None = None
    """g: how far that is ahead of the target, the challenger's D_B(k*) at 1x less the
    margin."""
    challenger_score: Estimate | None = None
    """D_B(k*) here; None where the challenger has too little at this rung."""
    gain: Estimate | None = None
    """D_B(k*) less D_A(k*), both here."""


@dataclasses.dataclass(frozen=True)
class Extrapolation:
    """A guess at a rung that nobody trained, by a line through those that were.

    Not evidence: its interval knows that other configurations could have been
    drawn, not that the line may bend.
    """

    rung: int
    """Twice the longest."""
    baseline_score: Estimate
    ahead: Estimate
    """Of the target, as at a rung."""
    predicted: float
    """What the line through the lower rungs said of the longest, and..."""
    found: Estimate
    """...what was found there, its interval around the prediction."""


@dataclasses.dataclass(frozen=True)
class Climb:
    """Whether and where the baseline reaches the target by training longer."""

    target: Estimate
    """D_B(k*) at 1x less the margin."""
    rungs: tuple[Rung, ...]
    """In ascending order, 1x first."""
    reaches: CatchUp
    """"yes": at a longer rung the baseline provably reaches the target; "no": at none
    up to `longest`, of which alone this is said."""
    longest: int
    """The longest rung of which anything is said."""
    smallest: int | None
    """The first rung whose estimate reaches the target; None if none does."""
    low: int | None
    """The first rung that is not ruled out; None if all are."""
    high: int | None
    """The first rung from which on all provably reach the target; None if not even
    the longest."""
    extrapolation: Extrapolation | None
    """None where the line has no lower rungs to be tested on, or failed the test."""

    def to_dict(self, higher_is_better: bool) -> dict[str, Any]:
        """Returns what training longer does, scores in the metric's own units."""

        def score(value: Estimate | None) -> dict[str, float] | None:
            if value is None:
                return None
            return dataclasses.asdict(value.turned(higher_is_better))

        def difference(value: Estimate | None) -> dict[str, float] | None:
            return None if value is None else dataclasses.asdict(value)

        further = self.extrapolation
        return {
            "target": score(self.target),
            "rungs": [
                {
                    "rung": rung.rung,
                    "configurations": rung.trials,
                    "multiple": rung.multiple,
                    "reason": rung.reason,
                    "baseline_score": score(rung.baseline_score),
                    "challenger_score": score(rung.challenger_score),
                    "ahead_of_target": difference(rung.ahead),
                    "effect": difference(rung.gain),
                }
                for rung in self.rungs
            ],
            "reaches": self.reaches,
            "longest": self.longest,
            "rung": {"estimate": self.smallest, "low": self.low, "high": self.high},
            "extrapolated": None
            if further is None
            else {
                "rung": further.rung,
                "baseline_score": score(further.baseline_score),
                "ahead_of_target": difference(further.ahead),
            },
        }


def climb(
    baseline: Search,
    challenger: Search,
    *,
    effort: int,
    estimand: Estimand,
    margin: float,
    alpha: float,
    seed: int,
    paired: bool,
    resamples: int,
    test_size: int | None = None,
) -> Climb:
    """Finds the rungs at which the baseline reaches the challenger's level at 1x.

    At each rung, g(r) = D_A^r(k*) - D_B^1(k*) + margin has a pointwise interval
    [L, U] as in `gain`. "yes" and the upper limit come from a test in fixed order,
    from the longest rung downward while L > 0; "no" needs U < 0 at every rung, and
    the lower limit climbs from 1x while U < 0. Each claim errs only if the interval
    at one rung, fixed by the truth, does: the highest one that falls short of the
    target for "yes" and `high`, the lowest one that reaches it for "no" and `low`. So
    the level holds without correction for the number of rungs; as in `gain`, it is
    approximate. It is assumed that the trials of a rung are chosen before they are
    scored (the first ones).

    A rung says nothing where it has fewer than 4 k* or than 8 trials, since the best
    of k* is not claimed from fewer, or where scores for this reading are missing. It
    is then passed over, 1x included; only there does "no" take a shorter training to
    end no higher than the longer one that is known.

    Args:
        baseline: Its search, with its rungs.
        challenger: Its search, with its rungs where it has some.
        effort: k*, the same at every rung.
        estimand: The reading.
        margin: How close is close enough, in units of the score.
        alpha: Intervals have level 1 - alpha.
        seed: The protocol's seed.
        paired: Whether trial i of one arm has the draw of trial i of the other, at
            every rung. Trials without a partner are units of their own.
        resamples: B of the intervals, even, at least 40 / alpha.
        test_size: T, the number of test examples, where their single scores are
            unknown.

    Raises:
        ProtocolError: The challenger at 1x does not tell of this effort, or the
            baseline does at no rung.
    """
    terms = _Terms(effort, estimand, alpha, seed, paired, resamples, test_size)
    short = terms.lacking(challenger, 1)
    if short is not None:
        raise ProtocolError(
            "the target of the ladder is a search of the challenger that can be judged",
            f"{challenger.name} has {short}",
            "Run more trials, or lower the effort.",
        )
    aim = terms.reading(challenger)
    rungs: list[Rung] = []
    known: dict[int, Reading] = {}
    for rung, arm in sorted({1: baseline, **baseline.rungs}.items()):
        multiple = float(np.mean(arm.cost) / np.mean(challenger.cost))
        found = Rung(rung, arm.n, multiple, reason=terms.lacking(arm, rung))
        other = challenger if rung == 1 else challenger.rungs.get(rung)
        there = None
        if other is not None and terms.lacking(other, rung) is None:
            there = terms.reading(other)
            found = dataclasses.replace(found, challenger_score=terms.level(there))
        if found.reason is None:
            here = known[rung] = terms.reading(arm)
            found = dataclasses.replace(
                found,
                baseline_score=terms.level(here),
                ahead=_moved(terms.difference(here, aim), margin),
                gain=None if there is None else terms.difference(there, here),
            )
        rungs.append(found)
    if not known:
        raise ProtocolError(
            "at some rung the baseline has enough trials for the effort",
            f"{baseline.name} has {rungs[-1].reason} at rung {rungs[-1].rung}",
            "Run more trials, or lower the effort.",
        )
    ahead = {r.rung: r.ahead for r in rungs if r.ahead is not None}
    scores = {r.rung: r.baseline_score for r in rungs if r.baseline_score is not None}
    reached = [rung for rung, g in ahead.items() if g.estimate >= 0]
    left = [rung for rung, g in ahead.items() if g.high >= 0]
    proven = _last_run([g.low > 0 for g in ahead.values()])
    longest = max(ahead)
    reaches: CatchUp = "unknown"
    if longest > 1:
        reaches = "yes" if proven else "unknown" if left else "no"
    return Climb(
        target=_moved(terms.level(aim), -margin),
        rungs=tuple(rungs),
        reaches=reaches,
        longest=longest,
        smallest=min(reached, default=None),
        low=min(left, default=None),
        high=sorted(ahead)[-proven] if proven else None,
        extrapolation=_extrapolate(terms, known, scores[longest], aim, margin),
    )


def _moved(estimate: Estimate, by: float) -> Estimate:
    return Estimate(estimate.estimate + by, estimate.low + by, estimate.high + by)


def _last_run(holds: Sequence[bool]) -> int:
    """Returns how many hold in a row, counted from the last."""
    return [*reversed(holds), False].index(False)


@dataclasses.dataclass(frozen=True)
class _Terms:
    """What all rungs share; the words are those of `climb`."""

    effort: int
    estimand: Estimand
    alpha: float
    seed: int
    paired: bool
    resamples: int
    test_size: int | None

    def reading(self, arm: Search) -> Reading:
        """Returns the trials in the reading that counts."""
        return dataclasses.replace(arm.reading(self.estimand), test_size=self.test_size)

    def lacking(self, arm: Search, rung: int) -> str | None:
        """Says why an arm's trials do not tell of the effort, or None if they do."""
        needed = max(4 * self.effort, FEWEST if rung > 1 else 1)
        if arm.n < needed:
            return f"{arm.n} trials, and an effort of {self.effort} takes {needed}"
        if self.estimand not in arm.readings(self.effort):
            return f"too few test scores for the reading by {self.estimand}"
        return None

    def expected(self, reading: Reading, counts: np.ndarray) -> Expectation:
        """Returns D(k*) with counts (B, n) of its resamples."""
        return expectation(reading, [self.effort], counts)

    def level(self, arm: Reading) -> Estimate:
        """Returns D(k*) of one arm."""
        # Draws belong to places in an order that follows from the scores, here and
        # below, so that the order in which trials are listed does not show.
        arm = arm.take(np.lexsort((arm.score, arm.validation)))
        size = len(arm.score)
        counts, _ = resample_counts(
            self.seed, size, size, paired=True, resamples=self.resamples
        )
        return gain(self.expected(arm, counts), alpha=self.alpha).at(0)

    def difference(self, arm: Reading, other: Reading) -> Estimate:
        """Returns how far one arm's D(k*) is ahead of another's."""
        pairs = min(len(arm.score), len(other.score)) if self.paired else 0
        keys = (other.score, arm.score, other.validation, arm.validation)
        together = np.lexsort([key[:pairs] for key in keys])
        arm, other = (
            each.take(np.concatenate([together, pairs + alone]))
            for each in (arm, other)
            for alone in [np.lexsort((each.score[pairs:], each.validation[pairs:]))]
        )
        # Where pairs are drawn, the longer list is to come first.
        longer, shorter = sorted((len(arm.score), len(other.score)), reverse=True)
        many, few = resample_counts(
            self.seed, longer, shorter, paired=self.paired, resamples=self.resamples
        )
        mine, theirs = (many, few) if len(arm.score) == longer else (few, many)
        return gain(
            self.expected(arm, mine),
            self.expected(other, theirs),
            alpha=self.alpha,
            paired=self.paired,
        ).at(0)


def _extrapolate(
    terms: _Terms,
    known: dict[int, Reading],
    found: Estimate,
    aim: Reading,
    margin: float,
) -> Extrapolation | None:
    """Draws the line through the rungs on to the next, if it is worth anything.

    D(r) is taken to be linear in log2 r: two lower rungs determine no more than a
    line. Gains from longer training fade sooner or later, so the line errs on the
    baseline's side; one that bends already fails the test on the longest rung.

    Args:
        terms: As in `climb`.
        known: The baseline's trials by rung, ascending.
        found: Its D(k*) at the longest of them.
        aim: The challenger's trials at 1x.
        margin: As in `climb`.
    """
    *lower, longest = known
    if len(lower) < 2:
        return None

    def itself(reading: Reading) -> Expectation:
        # The one resample is the sample, so that all intervals are the jackknife's:
        # rungs of different sizes have no resample in common.
        return terms.expected(reading, np.ones((1, len(reading.score)), dtype=int))

    each = {rung: itself(reading) for rung, reading in known.items()}
    past = _line_weights(lower, longest)
    predicted = sum(
        float(weight * each[rung].estimate[0])
        for rung, weight in zip(lower, past, strict=True)
    )
    if not found.low <= predicted <= found.high:
        return None
    weights = _line_weights(list(known), 2 * longest)
    line, rise = _combined(list(each.values()), weights)
    score = gain(line, alpha=terms.alpha).at(0)
    ahead = gain(line, itself(aim), alpha=terms.alpha, paired=terms.paired).at(0)
    return Extrapolation(
        rung=2 * longest,
        baseline_score=dataclasses.replace(score, high=score.high + rise),
        ahead=_moved(dataclasses.replace(ahead, high=ahead.high + rise), margin),
        predicted=predicted,
        found=found,
    )


def _line_weights(rungs: Sequence[int], at: int) -> np.ndarray:
    """Returns (R,) what each rung weighs in the least-squares line in log2 at one."""
    x = np.log2(rungs)
    away = x - np.mean(x)
    weights: np.ndarray = 1 / len(x) + (math.log2(at) - np.mean(x)) * away / np.sum(
        away**2
    )
    return weights


def _combined(
    parts: Sequence[Expectation], weights: np.ndarray
) -> tuple[Expectation, float]:
    """Returns a weighted sum of one arm's expectations, its trials the same draws.

    Also how much higher the sum may be because too few diverged trials were seen in
    a part of negative weight.
    """
    influence = np.zeros((max(len(part.influence) for part in parts), 1))
    for part, weight in zip(parts, weights, strict=True):
        influence[: len(part.influence)] += weight * part.influence
    examples = None
    known = [part.examples for part in parts if part.examples is not None]
    if len(known) == len(parts):
        examples = weighted(weights, known)
    model = None
    models = [part.model for part in parts if part.model is not None]
    if len(models) == len(parts):
        trials = np.zeros_like(influence)
        for each, weight in zip(models, weights, strict=True):
            trials[: len(each.trials)] += weight * each.trials
        model = Influences(
            trials,
            weighted(weights, [m.design for m in models]),
            weighted(weights**2, [m.boundary for m in models]),
        )
    failing = [part.failing for part in parts if part.failing is not None]
    falls = np.array([part.fall[0] for part in parts])
    # A sum of scores errs by their weights' sum at most, as if by fewer examples.
    stretch = float(np.sum(np.abs(weights))) ** 2
    sizes = [part.test_size for part in parts if part.test_size is not None]
    return Expectation(
        estimate=weighted(weights, [part.estimate for part in parts]),
        influence=influence,
        resampled=weighted(weights, [part.resampled for part in parts]),
        examples=examples,
        fall=np.array([np.sum(np.maximum(weights, 0) * falls)]),
        freedom=np.min([part.freedom for part in parts], axis=0),
        test_size=max(int(min(sizes) / stretch), 2)
        if len(sizes) == len(parts)
        else None,
        model=model,
        failing=weighted(weights**2, failing) if len(failing) == len(parts) else None,
        stratified=all(part.stratified for part in parts),
    ), float(np.sum(np.maximum(-weights, 0) * falls))

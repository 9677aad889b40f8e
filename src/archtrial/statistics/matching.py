"""Catching up by tuning: how many trials the baseline needs for the same score."""

import dataclasses
import math
from typing import Literal, TypeAlias

import numpy as np

from archtrial.statistics.expectation import Expectation
from archtrial.statistics.gain import gain
from archtrial.statistics.intervals import clopper_pearson
from archtrial.statistics.scanning import Standing
from archtrial.statistics.search import Reading
from archtrial.statistics.stratified import MOST
from archtrial.statistics.tuning import some_efforts

__all__ = [
    "CatchUp",
    "Limits",
    "Matching",
    "efforts_to_scan",
    "furthest",
    "match",
    "standing_of",
    "trials_to_reach",
]

CatchUp: TypeAlias = Literal["yes", "no", "unknown"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """A number of trials, or a multiple, and between what it lies."""

    estimate: float | None
    """None if more trials than n of them can tell of (`furthest`)."""
    low: float
    high: float | None
    """None where no upper limit is proven."""
    at_most: bool = False
    """Whether the estimate is only known to be enough, since the scores do not tell
    of the efforts just below it."""


@dataclasses.dataclass(frozen=True)
class Matching:
    """How much tuning brings the baseline within the margin of the challenger."""

    trials: Limits
    """Whole numbers of the baseline's trials."""
    multiple: Limits
    """The same as multiples of what the challenger's k* trials cost."""
    reportable_up_to: float
    """The multiple that the largest effort is of which the baseline's trials tell."""
    catch_up: CatchUp
    """"yes": within `max_multiple` at the interval's worse end; "no": beyond it even
    at the better end."""


def furthest(trials: int, *, modelled: bool) -> int:
    """Returns the largest effort of which an arm's trials tell.

    A bootstrap of the best of nearly all is invalid, so independent trials tell of
    n / 4. Where they fill the space evenly and a model of it gives the error, no
    resample is needed: two thirds of n leave two degrees of freedom, and intervals
    that hold (docs/calibration.md).

    Args:
        trials: n.
        modelled: Whether a model of the space is fitted (`Reading.places`).
    """
    return 2 * trials // 3 if modelled else trials // 4


def trials_to_reach(effort: int, *, modelled: bool) -> int:
    """Returns a number of trials that tell of an effort.

    The smallest of independent trials; of trials that fill the space evenly the
    smallest power of two, as long as a model is fitted to so many.
    """
    balanced = 1 << (math.ceil(3 * effort / 2) - 1).bit_length()
    return balanced if modelled and balanced <= MOST else 4 * effort


def efforts_to_scan(baseline: Reading, *, modelled: bool = False) -> np.ndarray:
    """Returns the efforts, up to the furthest, at which the baseline's curve is looked at.

    Those of which its scores tell (`Reading.tells`). Of more than a thousand trials,
    efforts a few per cent apart: the limits are those of the next one looked at, on
    the safe side.

    Args:
        baseline: Its trials.
        modelled: Whether a model of its space is fitted to the other arm, too.
    """
    modelled = modelled and baseline.places is not None
    efforts = some_efforts(furthest(len(baseline.score), modelled=modelled))
    told: np.ndarray = efforts[baseline.tells(efforts)]
    return told


def standing_of(
    target: Expectation,
    curve: Expectation,
    *,
    margin: float,
    alpha: float,
    paired: bool,
) -> Standing:
    """Says where each effort of a curve lies beside the target.

    Args:
        target: The challenger's, at k* alone.
        curve: The baseline's, from the same resamples.
        margin: How close is close enough, in units of the score.
        alpha: Intervals hold at level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    ahead = gain(curve, target, alpha=alpha, paired=paired)
    return Standing(
        near=ahead.estimate + margin >= 0,
        behind=ahead.high + margin < 0,
        reached=ahead.low + margin > 0,
    )


def match(
    standing: Standing,
    target: Expectation,
    efforts: np.ndarray,
    baseline: Reading,
    effort: int,
    *,
    margin: float,
    max_multiple: float,
    cost_ratio: float,
    alpha: float,
) -> Matching:
    """Finds the smallest k with D_A(k) >= D_B(k*) - margin, and its interval.

    The tuning curve itself is the evidence: g(k) = D_A(k) - D_B(k*) + margin has
    a pointwise interval [L, U] at each k up to the furthest. The lower limit climbs
    from k = 1 while U < 0, the upper limit descends from the furthest while L > 0. Each
    errs only where a pointwise interval at the true N does, so the level holds
    without correction for the number of efforts.

    Efforts at which more than 1 % of A's weight rests on stand-ins for test scores
    (`Reading.tells`) are passed over by both scans and by the estimate. The upper
    limit then stays at an effort that is known to do. The lower one leaves such an
    effort behind only when a larger one, which is known, falls short: no search is
    taken to end lower than a smaller one.

    Runs of A that reach B's score are counted for the lower limit alone: with
    none among n_A trials, N is at least n_A / 4.32; a stand-in counts as one that
    does. They never prove that A catches up, since a search picks by noisy
    validation and misses what it hit.

    Args:
        standing: Where each of the efforts lies (`standing_of`).
        target: The challenger's, at k* alone.
        efforts: Of `efforts_to_scan`, one at least.
        baseline: Its trials; if paired, those beyond the challenger's number have no
            partner.
        effort: k*, of the challenger.
        margin: How close is close enough, in units of the score.
        max_multiple: The multiple that `catch_up` is about.
        cost_ratio: Mean cost of one trial of the baseline over the challenger's.
        alpha: The limits hold at level 1 - alpha.
    """
    near = standing.near
    first = int(np.argmax(near))
    estimate = int(efforts[first]) if near.any() else None
    next_lower = int(efforts[first - 1]) if first else 0
    at_most = estimate is not None and next_lower < estimate - 1
    # The length of the run of known efforts, from the left and from the right.
    short = int(np.argmin(np.append(standing.behind, False)))
    long = int(np.argmin(np.append(standing.reached[::-1], False)))
    climbed = int(efforts[short - 1]) + 1 if short else 1
    low = max(climbed, _never_hit(baseline, target, margin, alpha))
    high = int(efforts[-long]) if long else None
    if high is not None:
        low = min(low, high)

    def multiple(trials: float) -> float:
        return trials * cost_ratio / effort

    catch_up: CatchUp = "unknown"
    if high is not None and multiple(high) <= max_multiple:
        catch_up = "yes"
    elif multiple(low) > max_multiple:
        catch_up = "no"
    return Matching(
        trials=Limits(estimate, low, high, at_most),
        multiple=Limits(
            None if estimate is None else multiple(estimate),
            multiple(low),
            None if high is None else multiple(high),
            at_most,
        ),
        reportable_up_to=multiple(int(efforts[-1])),
        catch_up=catch_up,
    )


def _never_hit(
    baseline: Reading, target: Expectation, margin: float, alpha: float
) -> int:
    """Returns the trials below which a search rather misses than hits the target.

    The target is at its lower limit and the chance of a hit at its upper one, one
    side each at alpha. A trial whose test score is unknown may be a hit.
    """
    lowest = float(gain(target, alpha=2 * alpha).low[0]) - margin
    hit = baseline.score >= lowest
    if baseline.stand_in is not None:
        hit |= baseline.stand_in
    chance = clopper_pearson(int(hit.sum()), len(hit), 2 * alpha)[1]
    if chance >= 0.5:
        return 1
    return math.ceil(math.log(0.5) / math.log1p(-chance))

"""Catching up by tuning: how many trials the baseline needs for the same score."""

import dataclasses
import math
from typing import Literal, TypeAlias

import numpy as np

from archtrial.statistics.comparison import (
    Expectation,
    clopper_pearson,
    expectation,
    gain,
)
from archtrial.statistics.search import Reading

__all__ = ["CatchUp", "Limits", "Matching", "match"]

CatchUp: TypeAlias = Literal["yes", "no", "unknown"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """A number of trials, or a multiple, and between what it lies."""

    estimate: float | None
    """None if more than n / 4 trials, which is as far as n trials can tell. At most
    this many where the scores tell of no smaller effort."""
    low: float
    high: float | None
    """None where no upper limit is proven."""


@dataclasses.dataclass(frozen=True)
class Matching:
    """How much tuning brings the baseline within the margin of the challenger."""

    trials: Limits
    """Whole numbers of the baseline's trials."""
    multiple: Limits
    """The same as multiples of what the challenger's k* trials cost."""
    reportable_up_to: float
    """The multiple that n / 4 of the baseline's trials are, or the largest effort
    that their scores tell of."""
    catch_up: CatchUp
    """"yes": within `max_multiple` at the interval's worse end; "no": beyond it even
    at the better end."""


def match(
    challenger: Reading,
    baseline: Reading,
    effort: int,
    *,
    margin: float,
    max_multiple: float,
    cost_ratio: float,
    counts: tuple[np.ndarray, np.ndarray],
    alpha: float,
    paired: bool,
) -> Matching:
    """Finds the smallest k with D_A(k) >= D_B(k*) - margin, and its interval.

    The tuning curve itself is the evidence: g(k) = D_A(k) - D_B(k*) + margin has
    a pointwise interval [L, U] at each k <= n_A / 4. The lower limit climbs from
    k = 1 while U < 0, the upper limit descends from n_A / 4 while L > 0. Each
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
        challenger: Its trials.
        baseline: Its trials, which tell of some effort up to n_A / 4; if paired,
            those beyond the challenger's number have no partner.
        effort: k*, of the challenger.
        margin: How close is close enough, in units of the score.
        max_multiple: The multiple that `catch_up` is about.
        cost_ratio: Mean cost of one trial of the baseline over the challenger's.
        counts: Of `resample_counts`, the baseline's and the challenger's.
        alpha: The limits hold at level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    efforts = np.arange(1, len(baseline.score) // 4 + 1)
    efforts = efforts[baseline.tells(efforts)]
    curve = expectation(baseline, efforts, counts[0])
    target = expectation(challenger, [effort], counts[1])
    ahead = gain(curve, target, alpha=alpha, paired=paired)

    near = ahead.estimate + margin >= 0
    estimate = int(efforts[np.argmax(near)]) if near.any() else None
    # The length of the run of known efforts, from the left and from the right.
    short = int(np.argmin(np.append(ahead.high + margin < 0, False)))
    long = int(np.argmin(np.append((ahead.low + margin > 0)[::-1], False)))
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
        trials=Limits(estimate, low, high),
        multiple=Limits(
            None if estimate is None else multiple(estimate),
            multiple(low),
            None if high is None else multiple(high),
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

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
    """None if more than n / 4 trials, which is as far as n trials can tell."""
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
    """The multiple that n / 4 of the baseline's trials are."""
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

    Runs of A that reach B's score are counted for the lower limit alone: with
    none among n_A trials, N is at least n_A / 4.32. They never prove that A
    catches up, since a search picks by noisy validation and misses what it hit.

    Args:
        challenger: Its trials.
        baseline: Its trials; if paired, those beyond the challenger's number have
            no partner.
        effort: k*, of the challenger.
        margin: How close is close enough, in units of the score.
        max_multiple: The multiple that `catch_up` is about.
        cost_ratio: Mean cost of one trial of the baseline over the challenger's.
        counts: Of `resample_counts`, the baseline's and the challenger's.
        alpha: The limits hold at level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    n = len(baseline.score)
    furthest = n // 4
    curve = expectation(baseline, np.arange(1, furthest + 1), counts[0])
    target = expectation(challenger, [effort], counts[1])
    ahead = gain(curve, target, alpha=alpha, paired=paired)

    near = ahead.estimate + margin >= 0
    estimate = int(np.argmax(near)) + 1 if near.any() else None
    # The length of the run of efforts, from the left and from the right.
    short = int(np.argmin(np.append(ahead.high + margin < 0, False)))
    long = int(np.argmin(np.append((ahead.low + margin > 0)[::-1], False)))
    low = max(short + 1, _never_hit(baseline, target, margin, alpha))
    high = furthest - long + 1 if long else None
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
        reportable_up_to=multiple(furthest),
        catch_up=catch_up,
    )


def _never_hit(
    baseline: Reading, target: Expectation, margin: float, alpha: float
) -> int:
    """Returns the trials below which a search rather misses than hits the target.

    The target is at its lower limit and the chance of a hit at its upper one, one
    side each at alpha.
    """
    lowest = float(gain(target, alpha=2 * alpha).low[0]) - margin
    hits = int(np.sum(baseline.score >= lowest))
    chance = clopper_pearson(hits, len(baseline.score), 2 * alpha)[1]
    if chance >= 0.5:
        return 1
    return math.ceil(math.log(0.5) / math.log1p(-chance))

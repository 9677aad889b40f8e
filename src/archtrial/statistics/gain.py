"""Two arms at stated efforts: the gain with its interval, and the chance to win.

Three errors are kept apart and then put together: another n configurations
could have been drawn (the hull of a percentile and a jackknife-t interval), other
test examples (the variance of the difference by example), and a search could
have hit nothing but configurations that diverge (a bound on their share).

Swapping the two arms turns gain and interval round, to the last bit: no draw depends
on which arm comes first or what it is called.

Shapes: n trials, K efforts, B resamples, T test examples.
"""

import dataclasses
import math

import numpy as np
from scipy import special

from archtrial.statistics.expectation import Expectation
from archtrial.statistics.intervals import (
    Estimate,
    clopper_pearson,
    normal,
    student,
    two_sided,
)
from archtrial.statistics.search import Reading
from archtrial.statistics.sums import product
from archtrial.statistics.tuning import (
    Ranking,
)

__all__ = ["equal_compute", "gain", "jackknife_variance", "searches_won", "seeds_won"]


@dataclasses.dataclass(frozen=True)
class Gain:
    """A difference of two expectations at K efforts; every array is (K,)."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    standard_error: np.ndarray
    """From the draw of the configurations alone."""
    test_variance: np.ndarray | None
    """From the draw of the test examples, or the most that it can be where their
    number alone is known; None if that is unknown as well."""
    p_value: np.ndarray | None = None
    """Of an even design: the smallest alpha whose interval leaves out 0. None for
    independent trials, whose p comes from a permutation test (`gate`)."""

    def at(self, index: int) -> Estimate:
        """Returns one effort's number and interval."""
        return Estimate(
            float(self.estimate[index]), float(self.low[index]), float(self.high[index])
        )


def gain(
    challenger: Expectation,
    baseline: Expectation | None = None,
    *,
    alpha: float,
    paired: bool = False,
) -> Gain:
    """Estimates how much higher the challenger's D is, with its interval.

    No single interval serves small searches: the percentile bootstrap errs for
    an arm with a broad optimum, the jackknife for one with a narrow optimum.
    Their hull covers 94 to 98 % at a nominal 95 % (n = 16, k = 4) everywhere but
    under heavy divergence, which the divergence allowance is for. Only for
    k <= n / 4: a bootstrap of the best of nearly all is invalid.

    Where the trials fill the space evenly, the interval is Student's t with the
    standard error of `stratified`, or the jackknife's, whichever is smaller. The test
    examples enter as ever, and p is read off the same interval.

    Args:
        challenger: At K efforts.
        baseline: At K efforts; arrays broadcast. None for the challenger's own
            level instead of a difference.
        alpha: The interval has level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    if baseline is None:
        estimate, resampled = challenger.estimate, challenger.resampled
        variance = np.sum(challenger.influence**2, axis=0)
        freedom = challenger.freedom
        fall, rise = challenger.fall, np.zeros_like(estimate)
    else:
        estimate = challenger.estimate - baseline.estimate
        resampled = challenger.resampled - baseline.resampled
        variance = jackknife_variance(challenger.influence, baseline.influence, paired)
        freedom = np.minimum(challenger.freedom, baseline.freedom)
        fall, rise = challenger.fall, baseline.fall

    variance = np.maximum(variance, _failing(challenger, baseline))
    if challenger.stratified:
        return _even_gain(
            challenger, baseline, estimate, variance, freedom, alpha, paired
        )
    # Order statistics, not interpolated quantiles: they mirror exactly.
    ordered = np.sort(resampled, axis=0)
    tail = max(math.floor(alpha / 2 * (len(ordered) + 1)), 1)
    reach = student(freedom, alpha) * np.sqrt(variance)
    low = np.minimum(ordered[tail - 1], estimate - reach)
    high = np.maximum(ordered[-tail], estimate + reach)

    test_variance = variance_of_test(challenger, baseline)
    if test_variance is not None:
        floor = normal(alpha) ** 2 * test_variance
        # The two errors are independent, so they add in squares.
        low = estimate - np.sqrt((estimate - low) ** 2 + floor)
        high = estimate + np.sqrt((high - estimate) ** 2 + floor)
    return Gain(
        estimate=estimate,
        low=low - fall,
        high=high + rise,
        standard_error=np.sqrt(variance),
        test_variance=test_variance,
    )


def _failing(challenger: Expectation, baseline: Expectation | None) -> np.ndarray:
    """Returns (K,) the least that the variance is where seeds fail."""
    parts = [challenger] if baseline is None else [challenger, baseline]
    least = np.zeros(1)
    for part in parts:
        if part.failing is not None:
            least = least + part.failing
    return least


# Degrees of freedom of the jackknife at k = n / 4.
_SOUND = 7.0


def _even_gain(
    challenger: Expectation,
    baseline: Expectation | None,
    estimate: np.ndarray,
    variance: np.ndarray,
    freedom: np.ndarray,
    alpha: float,
    paired: bool,
) -> Gain:
    """Estimates a gain, or a level, of arms whose trials fill the space evenly.

    Args:
        challenger: At K efforts.
        baseline: The same; None for a level.
        estimate: (K,).
        variance: (K,) the jackknife's.
        freedom: (K,) degrees of freedom.
        alpha: The interval has level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    parts = [challenger] if baseline is None else [challenger, baseline]
    models = [part.model for part in parts if part.model is not None]
    if len(models) == len(parts):
        first, *others = models
        modelled, design = np.sum(first.trials**2, axis=0), first.design
        boundary = first.boundary
        for other in others:
            modelled = jackknife_variance(first.trials, other.trials, paired)
            design = design - other.design
            boundary = boundary + other.boundary
        modelled = modelled + design**2 + boundary
        modelled = np.maximum(modelled, _failing(challenger, baseline))
        # Beyond n / 4 the jackknife of the best of nearly all may be too small.
        variance = np.where(
            freedom >= _SOUND,
            np.minimum(variance, modelled),
            np.maximum(variance, modelled),
        )
    test_variance = variance_of_test(challenger, baseline)
    examples = np.zeros_like(estimate) if test_variance is None else test_variance
    quantile = student(freedom, alpha)
    critical = normal(alpha)
    reach = np.sqrt(quantile**2 * variance + critical**2 * examples)
    units = min(len(part.influence) for part in parts)
    return Gain(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        standard_error=np.sqrt(variance),
        test_variance=test_variance,
        p_value=np.array(
            [
                _two_sided_of_both(float(d), float(v), float(f), float(e), units)
                for d, v, f, e in np.broadcast(estimate, variance, freedom, examples)
            ]
        ),
    )


def _two_sided_of_both(
    estimate: float, variance: float, freedom: float, examples: float, units: int
) -> float:
    """Returns the smallest alpha at which an interval of both errors leaves out 0.

    Never less than 2^(1 - n), which is what all swaps of n pairs could tell.
    """
    least = 2.0 ** (1 - units)
    if examples == 0:
        p = two_sided(estimate, variance, freedom)
    else:
        size = estimate**2

        def leaves_out(tail: float) -> bool:
            of_search = special.stdtrit(freedom, tail) ** 2 * variance
            return bool(of_search + special.ndtri(tail) ** 2 * examples < size)

        # Half of p lies between these two, bisected in ratios to twelve digits.
        low, high = least / 2, 0.5
        if leaves_out(low):
            return least
        for _ in range(48):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if leaves_out(middle) else (middle, high)
        p = 2 * high
    return min(max(p, least), 1.0)


def variance_of_test(
    challenger: Expectation, baseline: Expectation | None
) -> np.ndarray | None:
    """Returns the variance (K,) that stems from the draw of the test examples.

    Where the scores x and y of single examples are unknown, it is the largest that
    any scores from 0 to 1 with the means a and b have. Since |x - y| is at most 1,
    at most x + y and at most (1 - x) + (1 - y),

        var(x - y) <= E |x - y| - (a - b)^2 <= min(a + b, 2 - a - b) - (a - b)^2

    and var(x) <= a (1 - a) for one arm alone. Right and wrong answers that are as
    seldom shared as can be attain it, and scores in between never exceed it. For a
    and b their estimates are put in, as for the variance where examples are known;
    so on the same records the bound is never below that variance. A score of which
    less is better comes with its sign turned; the bound is the same for 1 - x.
    """
    if baseline is None:
        if challenger.examples is not None and len(challenger.examples) > 1:
            alone: np.ndarray = np.var(challenger.examples, axis=0, ddof=1)
            return alone / len(challenger.examples)
        if challenger.test_size is None:
            return None
        level = np.abs(challenger.estimate)
        widest: np.ndarray = np.maximum(level * (1 - level), 0.0)
        return widest / (challenger.test_size - 1)
    if challenger.examples is not None and baseline.examples is not None:
        if len(challenger.examples) > 1:
            apart: np.ndarray = np.var(
                challenger.examples - baseline.examples, axis=0, ddof=1
            )
            return apart / len(challenger.examples)
        return None
    if challenger.test_size is None or baseline.test_size is None:
        return None
    both = np.abs(challenger.estimate) + np.abs(baseline.estimate)
    gap = challenger.estimate - baseline.estimate
    largest: np.ndarray = np.maximum(np.minimum(both, 2 - both) - gap**2, 0.0)
    return largest / (min(challenger.test_size, baseline.test_size) - 1)


def jackknife_variance(
    challenger: np.ndarray, baseline: np.ndarray, paired: bool
) -> np.ndarray:
    """Returns the jackknife variance (K,) from influences (n, K) of two arms.

    The unit is the pair; a trial without a partner is a unit of its own.
    """
    pairs = min(len(challenger), len(baseline)) if paired else 0
    together = np.sum((challenger[:pairs] - baseline[:pairs]) ** 2, axis=0)
    alone = np.sum(challenger[pairs:] ** 2, axis=0) + np.sum(
        baseline[pairs:] ** 2, axis=0
    )
    variance: np.ndarray = together + alone
    return variance


def equal_compute(
    effort: int, trials: int, baseline_cost: float, challenger_cost: float
) -> list[tuple[int, int]]:
    """Lists efforts of equal cost, the costlier arm's at most k*.

    Args:
        effort: k*.
        trials: n; no effort may exceed n / 4.
        baseline_cost: Mean cost of one of the baseline's trials.
        challenger_cost: The same of the challenger's.

    Returns:
        The baseline's and the challenger's effort, from the largest that n allows
        down to 1 of the costlier arm; empty where n allows none, or where a cost is
        NaN: in another unit.
    """
    if math.isnan(baseline_cost + challenger_cost):
        return []
    ratio = max(baseline_cost, challenger_cost) / min(baseline_cost, challenger_cost)
    pairs = [(round(costly * ratio), costly) for costly in range(effort, 0, -1)]
    return [
        (cheap, costly) if baseline_cost < challenger_cost else (costly, cheap)
        for cheap, costly in pairs
        if cheap <= trials // 4
    ]


def seeds_won(challenger: np.ndarray, baseline: np.ndarray, alpha: float) -> Estimate:
    """Estimates how often the challenger's tuned configuration wins on a fresh seed.

    Args:
        challenger: (s,) scores of its winner, paired by position.
        baseline: (s,) scores of the baseline's winner.
        alpha: The interval has level 1 - alpha.
    """
    won = float(np.mean((1 + np.sign(challenger - baseline)) / 2))
    trials = len(challenger)
    return Estimate(won, *clopper_pearson(won * trials, trials, alpha))


def searches_won(
    challenger: Reading, baseline: Reading, effort: int, *, alpha: float, paired: bool
) -> Estimate:
    """Estimates how often a fresh k-search of the challenger beats the baseline's.

    Of all pairs of trials that two independent searches may end with, those that
    the challenger wins, plus half the ties. The interval is Clopper and Pearson's
    for as many independent searches as would have the jackknife's variance, but
    never fewer than the n / k that fit into the records: where one arm wins
    everywhere, the jackknife sees no variance at all.

    Args:
        challenger: Its trials.
        baseline: Its trials.
        effort: k.
        alpha: The interval has level 1 - alpha.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    arms = (challenger, baseline)
    rankings = [Ranking(arm.validation, arm.score) for arm in arms]
    weights = [ranking.weights([effort])[:, 0] for ranking in rankings]
    # Wins less losses of each trial against the other arm's search.
    against = [
        _wins_less_losses(challenger.score, baseline.score, weights[1]),
        -_wins_less_losses(baseline.score, challenger.score, weights[0]),
    ]
    net = float(product(weights[0], against[0]))
    influences = []
    for ranking, scores in zip(rankings, against, strict=True):
        n = ranking.n
        deviations = net - ranking.leave_one_out(scores, [effort])
        influences.append(deviations * math.sqrt((n - 1) / n))
    # The net is linear in each arm's search, so the arms' influences add.
    variance = float(jackknife_variance(influences[0], -influences[1], paired)[0])
    won = min(max((1 + net) / 2, 0.0), 1.0)
    searches = min(ranking.n for ranking in rankings) / effort
    if variance > 0:
        searches = max(searches, 4 * won * (1 - won) / variance)
    return Estimate(won, *clopper_pearson(won * searches, searches, alpha))


def _wins_less_losses(
    scores: np.ndarray, others: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns (n,) the weight of the others below each score less that above it."""
    order = np.argsort(others)
    cumulated = np.concatenate([[0.0], np.cumsum(weights[order])])
    below = cumulated[np.searchsorted(others[order], scores, side="left")]
    upto = cumulated[np.searchsorted(others[order], scores, side="right")]
    net: np.ndarray = below - (cumulated[-1] - upto)
    return net

"""What a search of a given effort is expected to find, and how far to trust it.

A search draws n configurations at random and trains each once. From these n
trials alone one can say what a *smaller* search, of effort k, would have ended
with: average, over all k-subsets of the trials, the test score of the trial
that is best by validation. No subset is ever formed. With the trials in
ascending order of validation the trial of rank j is picked by C(j-1, k-1) of
the C(n, k) subsets, so the average is a weighted sum (a U-statistic), written
D(k). Trials of equal validation share the weights of their ranks, which is what
picking among them at random comes to.

Shapes: n trials, K efforts, B resamples, T test examples.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial.statistics.sums import product

__all__ = [
    "Ranking",
    "TuningCurve",
    "confirm_indices",
    "edge_pileup",
    "plug_in_weights",
    "rank_weights",
    "subset_chance",
    "tuning_curve",
]


def subset_chance(n: int, effort: int) -> np.ndarray:
    """Returns the chance that all of a random k-subset lies in the lowest r of n.

    It is C(r, k) / C(n, k), computed as a running product, so that it neither
    overflows nor loses digits however large n is.

    Args:
        n: The number of trials.
        effort: k, from 1 to n.

    Returns:
        (n + 1,) float64, for r = 0, ..., n.
    """
    ranks = np.arange(n, 0, -1.0)
    falling = np.cumprod(np.maximum(ranks - effort, 0) / ranks)
    return np.concatenate([[1.0], falling])[::-1]


# Trials of an arm, above which exact answers take too long and are not needed: what
# is done instead, and what it may be off by, stands where it is done.
MANY = 1024

# As many efforts of a curve are looked at one by one; of more, as many in equal ratios.
EFFORTS = 256

# Cells of a matrix of trials by efforts, before it is made of parts: 8 MB.
CELLS = 2**20


def some_efforts(largest: int) -> np.ndarray:
    """Returns the efforts up to a largest that a curve is looked at.

    All of them up to 256; of more, efforts a few per cent apart.
    """
    if largest <= EFFORTS:
        return np.arange(1, largest + 1)
    return np.unique(np.geomspace(1, largest, EFFORTS).round().astype(int))


def rank_weights(n: int, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns how often the trial of each rank is the best of a k-subset.

    Args:
        n: The number of trials.
        efforts: (K,) efforts, each from 1 to n.

    Returns:
        (n, K) float64, ranks ascending; every column sums to 1.

    Examples:
        Of the six pairs among four trials the best is the best of three:

        >>> rank_weights(4, [2])[:, 0] * 6
        array([0., 1., 2., 3.])
    """
    return np.stack([np.diff(subset_chance(n, int(k))) for k in efforts], axis=1)


def plug_in_weights(n: int, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the chance that the best of k draws with replacement has each rank.

    The distribution function of the scores is estimated by that of the n trials, and
    put into that of the best of k. Independent draws have an unbiased form
    (`tuning.rank_weights`), whose subsets of an even design are more even than chance
    would have them: it is too high by up to half a point for a narrow optimum.

    Args:
        n: The number of trials.
        efforts: (K,) efforts of at least 1.

    Returns:
        (n, K) float64, ranks ascending; every column sums to 1.

    Examples:
        >>> plug_in_weights(4, [2])[:, 0] * 16
        array([1., 3., 5., 7.])
    """
    return _plug_in_weights(n, tuple(int(k) for k in efforts))


@functools.lru_cache(maxsize=64)
def _plug_in_weights(n: int, efforts: tuple[int, ...]) -> np.ndarray:
    """Returns the weights, which the many studies of a simulation have in common."""
    below = np.arange(n + 1) / n
    weights = np.stack([np.diff(_power(below, k)) for k in efforts], axis=1)
    weights.flags.writeable = False
    return weights


def _power(base: np.ndarray, exponent: int) -> np.ndarray:
    """Returns a whole power by products alone: the last bit of `**` is the processor's."""
    found, square = np.ones_like(base), base
    while exponent:
        if exponent % 2:
            found = found * square
        square, exponent = square * square, exponent // 2
    return found


def rank_weights_that_count(
    n: int, efforts: Sequence[int] | np.ndarray
) -> list[tuple[slice, int, np.ndarray]]:
    """Returns `rank_weights` in parts, without the ranks whose weight is rounding.

    A k-search of many trials ends among the best n / k, or a few times as many: the
    ranks that are left out carry 10^-17 of the weight of each effort together. Up
    to a thousand trials none is left out.

    Args:
        n: The number of trials.
        efforts: (K,) efforts from 1 to n, ascending.

    Returns:
        For parts of the efforts, where they stand, the first rank that counts, and
        their weights (efforts, ranks) from there on.
    """
    if n <= MANY:
        return [(slice(None), 0, rank_weights(n, efforts).T)]
    parts = []
    for start in range(0, len(efforts), 8):
        some = slice(start, start + 8)
        weights = [np.diff(subset_chance(n, int(k))) for k in efforts[some]]
        first = first_rank_that_counts(n, int(efforts[start]))
        parts.append((some, first, np.stack([w[first:] for w in weights])))
    return parts


def first_rank_that_counts(n: int, effort: int) -> int:
    """Returns below which rank no weight counts (`rank_weights_that_count`)."""
    if n <= MANY:
        return 0
    return max(int(np.searchsorted(subset_chance(n, effort), 1e-17)) - 1, 0)


def mean_without(
    counts: np.ndarray, sums: np.ndarray, upto: np.ndarray, short: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """D(k), and the same with each trial left out in turn, for groups of ties.

    This is the inner loop of every permutation, so it works on G groups of
    tied trials, ascending, by P arms at once, and sums nothing twice. Leaving
    out a trial of group h moves all trials above it one rank down:

        D without i = sum_{g < h} [F(R_g) - F(R_{g-1})] mean_g
                    + [F(R_h - 1) - F(R_{h-1})] (S_h - t_i) / (m_h - 1)
                    + sum_{g > h} [F(R_g - 1) - F(R_{g-1} - 1)] mean_g

    with F(r) = C(r, k) / C(n - 1, k), m_g trials and sum of scores S_g in group
    g, and R_g = m_1 + ... + m_g.

    Args:
        counts: (G, P) m_g; a group may be empty.
        sums: (G, P) S_g.
        upto: (G, P) F(R_g).
        short: (G, P) F(R_g - 1), with F(-1) = 0.

    Returns:
        (P,) the sum of the first line over all groups, which is D(k) n / (n - k);
        (G, P) everything but the second line, for a trial of each group; and
        (G, P) the factor of S_h - t_i in the second line.
    """
    below_upto = np.zeros_like(upto)
    below_upto[1:] = upto[:-1]
    below_short = np.zeros_like(short)
    below_short[1:] = short[:-1]
    means = sums / np.maximum(counts, 1)
    lower = np.cumsum((upto - below_upto) * means, axis=0)
    upper = np.cumsum((short - below_short) * means, axis=0)
    rest = upper[-1] - upper
    rest[1:] += lower[:-1]
    own = (short - below_upto) / np.maximum(counts - 1, 1)
    return lower[-1], rest, own


def leave_one_out_table(n: int, effort: int) -> np.ndarray:
    """Returns F of `mean_without` for r = 0, ..., n: C(r, k) / C(n - 1, k).

    Args:
        n: The number of trials, more than `effort`.
        effort: k.
    """
    return subset_chance(n, effort) * (n / (n - effort))


class Ranking:
    """The trials of one search in ascending order of validation, ties grouped.

    Every method takes scores in the order of the trials and hides sorting and
    ties.

    Args:
        validation: (n,) validation scores, higher is better.
        tiebreak: (n,) scores that settle the order inside a group of ties. The
            order alters no result but the last bit of sums; with it given, not
            even that depends on the order in which trials are listed.
        stratified: Whether the trials fill the space evenly, so that D(k) takes the
            plug-in weights.
    """

    def __init__(
        self,
        validation: np.ndarray,
        tiebreak: np.ndarray | None = None,
        *,
        stratified: bool = False,
    ) -> None:
        self._weights = plug_in_weights if stratified else rank_weights
        keys = (validation,) if tiebreak is None else (tiebreak, validation)
        self.order: np.ndarray = np.lexsort(keys)
        """(n,) trials, from the lowest validation score to the highest."""
        ascending = validation[self.order]
        starts = np.concatenate([[True], ascending[1:] > ascending[:-1]])
        self.first: np.ndarray = np.flatnonzero(starts)
        """(G,) where in `order` each group of ties starts."""
        self.group: np.ndarray = np.cumsum(starts) - 1
        """(n,) the group of each place in `order`."""
        self.sizes: np.ndarray = np.diff(self.first, append=len(validation))
        """(G,) trials in each group."""

    @property
    def n(self) -> int:
        """The number of trials."""
        return len(self.order)

    def weights(self, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the weight of each trial in D(k).

        Args:
            efforts: (K,) efforts from 1 to n.

        Returns:
            (n, K) float64 in the order of the trials; columns sum to 1.
        """
        ranked = self._weights(self.n, efforts)
        shared = np.add.reduceat(ranked, self.first) / self.sizes[:, None]
        weights = np.empty_like(ranked)
        weights[self.order] = shared[self.group]
        return weights

    def expected(
        self, scores: np.ndarray, efforts: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Returns D(k): the expected score of the trial that a k-search picks.

        Args:
            scores: (n,) the score that counts, such as the test score.
            efforts: (K,) efforts from 1 to n.

        Returns:
            (K,) float64. The estimate is unbiased for independent trials, and as good
            as unbiased for stratified ones.
        """
        parts = self.in_parts(efforts)
        if len(parts) > 1:
            return np.concatenate([self.expected(scores, some) for some in parts])
        # Summed in ranked order, so that the order of the trials does not show.
        expected: np.ndarray = np.sum(
            self.weights(efforts)[self.order] * scores[self.order, None], axis=0
        )
        return expected

    def leave_one_out(
        self, scores: np.ndarray, efforts: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Returns D(k) of the n - 1 other trials, for each trial.

        Args:
            scores: (n,) the score that counts.
            efforts: (K,) efforts from 1 to n - 1.

        Returns:
            (n, K) float64. The mean over the trials is D(k) itself.
        """
        parts = self.in_parts(efforts)
        if len(parts) > 1:
            filled, start = np.empty((self.n, len(efforts))), 0
            for some in parts:
                filled[:, start : start + len(some)] = self.leave_one_out(scores, some)
                start += len(some)
            return filled
        ranked = scores[self.order]
        counts = self.sizes[:, None]
        sums = np.add.reduceat(ranked, self.first)[:, None]
        ends = np.cumsum(self.sizes)
        tables = np.stack(
            [leave_one_out_table(self.n, int(k)) for k in efforts], axis=1
        )
        _, rest, own = mean_without(counts, sums, tables[ends], tables[ends - 1])
        without = np.empty_like(rest, shape=(self.n, rest.shape[1]))
        without[self.order] = (rest + own * sums)[self.group] - own[
            self.group
        ] * ranked[:, None]
        return without

    def in_parts(
        self, efforts: Sequence[int] | np.ndarray
    ) -> list[Sequence[int] | np.ndarray]:
        """Divides efforts, so that matrices of trials by efforts stay small."""
        length = max(CELLS // self.n, 1) if self.n > MANY else max(len(efforts), 1)
        return [
            efforts[start : start + length] for start in range(0, len(efforts), length)
        ]

    def highest(self, ranks: int) -> int:
        """Returns from which place in `order` on a resample fills its highest ranks.

        A resample draws about as many trials from some upper places as there are. So
        many more are taken that no resample in this universe draws fewer than `ranks`
        there (ten standard deviations), down to where a group of ties starts.
        """
        places = ranks + math.ceil(10 * math.sqrt(ranks)) + 100
        if places >= self.n:
            return 0
        return int(self.first[self.group[self.n - places]])

    def resampled(
        self,
        scores: np.ndarray,
        counts: np.ndarray,
        ranks: int | None = None,
        columns: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the scores of resampled searches in ascending order of validation.

        Nothing is sorted: a trial that was drawn c times fills c neighbouring
        ranks. So `resampled(...) @ rank_weights(n, efforts)` is D(k) of each
        resample, for all efforts at once.

        Args:
            scores: (n,) the score that counts.
            counts: (B, n) how often each trial was drawn; rows sum to n.
            ranks: How many of the highest ranks are wanted; None: all of them.
            columns: (n,) where in `counts` each trial stands, if that has only those
                trials that the ranks come from (`highest`).

        Returns:
            (B, ranks) float64; tied trials of a resample carry their mean.
        """
        start = 0 if ranks is None else self.highest(ranks)
        trials = self.order[start:]
        stand = trials if columns is None else columns[trials]
        drawn = counts[:, stand].astype(np.intp)
        ranked = scores[self.order]
        # Among equal scores it makes no difference which of them is picked.
        mixed = np.any(ranked != ranked[self.first][self.group])
        ranked = ranked[start:]
        if mixed:
            first = self.first[self.group[start] :] - start
            sums = np.add.reduceat(drawn * ranked, first, axis=1)
            drawn = np.add.reduceat(drawn, first, axis=1)
            values = sums / np.maximum(drawn, 1)
        else:
            values = np.broadcast_to(ranked, drawn.shape)
        if ranks is not None:
            above = np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1] - drawn
            drawn = np.clip(ranks - above, 0, drawn)
        return np.repeat(values.ravel(), drawn.ravel()).reshape(
            len(counts), self.n if ranks is None else ranks
        )


def confirm_indices(
    validations: Sequence[np.ndarray],
    effort: int,
    top: int | None = None,
    *,
    stratified: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the configurations that are trained again on fresh seeds.

    m_W is the smallest m whose m best trials carry the share W of the weight in
    D(k). Paired trials need the same configurations on every arm, and so the
    union.

    Args:
        validations: For each arm (n_arm,) validation scores, paired by index.
        effort: k.
        top: The number of best trials of each arm that are to be confirmed with
            all seeds, instead of m_.7.
        stratified: Whether the trials fill the space evenly.

    Returns:
        The indices for all fresh seeds: in the top m_.7 (or `top`) of some arm;
        and those for one fresh seed: the others in the top m_.99 of some arm.
        Both sorted. What remains carries at most 1 % of any arm's weight.
    """

    def best(share: float, at_least: int) -> set[int]:
        chosen: set[int] = set()
        for validation in validations:
            ranking = Ranking(validation, stratified=stratified)
            weights = ranking.weights([effort])[:, 0]
            order = np.argsort(-validation, kind="stable")
            # The sums of weights are off by rounding; the share itself is not
            # so precious that a trial more would be worth training for it.
            m = int(np.searchsorted(np.cumsum(weights[order]), share - 1e-9)) + 1
            chosen |= set(order[: max(m, at_least)].tolist())
        return chosen

    fully = best(0.7, 1) if top is None else best(0.0, top)
    once = best(0.99, 1) - fully
    return np.array(sorted(fully), dtype=int), np.array(sorted(once), dtype=int)


def best_trials(validation: np.ndarray, effort: int) -> np.ndarray:
    """Returns the ceil(n / k) best of n trials by validation, the best first."""
    return np.argsort(-validation, kind="stable")[: math.ceil(len(validation) / effort)]


def edge_pileup(
    positions: np.ndarray,
    validation: np.ndarray,
    effort: int,
    *,
    open_low: bool,
    open_high: bool,
    tests: int,
) -> Literal["low", "high"] | None:
    """Tells whether the best configurations crowd at an edge of a range.

    Where they do, the optimum probably lies outside and the arm was not given
    the space it needs. Among the ceil(n / k) best by validation, the number in
    the outer tenth of one side is compared with the Binomial(., .1) law that
    holds when the hyperparameter does not matter.

    Args:
        positions: (n,) where in the range each configuration lies, from 0 to 1.
        validation: (n,) validation scores, higher is better.
        effort: k.
        open_low: Whether the range could have been declared to reach lower.
        open_high: The same for its upper end.
        tests: How many sides are tested in the whole study; the level .01 is
            divided by it (Bonferroni).

    Returns:
        The side that is crowded (the more crowded of the two), or None.
    """
    best = best_trials(validation, effort)
    tails = {}
    for side, is_open, inside in (
        ("low", open_low, positions[best] <= 0.1),
        ("high", open_high, positions[best] >= 0.9),
    ):
        if is_open and inside.any():
            # P(X >= x) = P(X > x - 1)
            tails[side] = float(special.bdtrc(inside.sum() - 1, len(best), 0.1))
    if not tails:
        return None
    side = min(tails, key=lambda name: tails[name])
    if tails[side] * tests > 0.01:
        return None
    return "low" if side == "low" else "high"


@dataclasses.dataclass(frozen=True)
class TuningCurve:
    """The score to expect from a search, by its effort; each array is (K,)."""

    effort: np.ndarray
    """1, ..., K."""
    validation: np.ndarray
    """Expected validation score of the best trial."""
    low: np.ndarray
    high: np.ndarray
    """The band around `validation`, which holds for all efforts at once."""
    test: np.ndarray
    """D(k): the expected test score of the trial that is picked."""


def tuning_curve(
    validation: np.ndarray,
    test: np.ndarray,
    *,
    worst: float,
    best: float,
    alpha: float = 0.05,
    stratified: bool = False,
) -> TuningCurve:
    """Estimates one arm's tuning curve up to the effort n / 4.

    The band is that of Learned-Miller and DeStefano (2008) for the distribution
    of validation scores, equal-tailed, carried over to the mean of the best of k
    (Lourie, Cho and He 2023, as in `opda`). With probability at least
    1 - alpha / 2 it covers the true curve at all efforts; so the bands of two
    arms hold jointly with probability 1 - alpha. Exact for continuous scores,
    conservative for tied ones, and for more than a thousand trials (`_cdf_band`).

    Of more than 256 efforts, some a few per cent apart are computed. No search is
    expected to end lower than a smaller one, so between two of them the lower band
    is that of the smaller and the upper band that of the larger, and what they
    enclose is interpolated.

    Args:
        validation: (n,) validation scores, higher is better; n at least 4.
        test: (n,) test scores in the reading that counts.
        worst: The lowest score a trial can have.
        best: The highest score that the metric allows; infinite where it has no
            bound, and then so is the upper band.
        alpha: The error that two arms' bands share.
        stratified: Whether the trials fill the space evenly. The band, made for
            independent trials, is then wider than it need be.

    Returns:
        The curve at k = 1, ..., floor(n / 4), in the units of the scores.
    """
    n = len(validation)
    efforts = some_efforts(n // 4)
    ranking = Ranking(validation, stratified=stratified)
    lower, upper = _cdf_band(n, 1 - alpha / 2)
    ascending = np.sort(validation)
    worst, best = min(worst, ascending[0]), max(best, ascending[-1])
    found = TuningCurve(
        effort=efforts,
        validation=ranking.expected(validation, efforts),
        # The lower the distribution function, the higher the scores. Between
        # two scores the upper bound is that of the score above.
        low=_best_of(np.append(worst, ascending), np.append(upper, 1.0), efforts),
        high=_best_of(np.append(ascending, best), np.append(lower, 1.0), efforts),
        test=ranking.expected(test, efforts),
    )
    if len(efforts) == n // 4:
        return found
    every = np.arange(1, n // 4 + 1)
    at, looked_at = np.log(every), np.log(efforts)
    return TuningCurve(
        effort=every,
        validation=np.interp(at, looked_at, found.validation),
        low=found.low[np.searchsorted(efforts, every, side="right") - 1],
        high=found.high[np.searchsorted(efforts, every, side="left")],
        test=np.interp(at, looked_at, found.test),
    )


def _best_of(scores: np.ndarray, cdf: np.ndarray, efforts: np.ndarray) -> np.ndarray:
    """Returns the mean of the best of k draws from a discrete distribution, (K,)."""
    if len(cdf) > MANY + 1:
        expected = np.empty(len(efforts))
        for j, k in enumerate(efforts):
            # Nothing that counts lies below the score that all k draws lie below
            # with a chance of 10^-17 only.
            first = max(int(np.searchsorted(cdf, 10 ** (-17 / k))) - 1, 0)
            below = np.exp(k * np.log(cdf[first:]))
            expected[j] = product(scores[first:], np.diff(below, prepend=0.0))
        return expected
    chances = np.diff(cdf[:, None] ** efforts, axis=0, prepend=0.0)
    return np.asarray(np.sum(scores[:, None] * chances, axis=0))


@functools.lru_cache(maxsize=64)
def _cdf_band(n: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns bounds (n,), (n,) on the distribution function at the order statistics.

    The distribution function at the i-th order statistic is Beta(i, n + 1 - i).
    The equal-tailed intervals of these laws are widened, all by the same level,
    until they hold together. `opda` finds that level by simulation, in seconds;
    here it is computed exactly, in milliseconds, and needs no random numbers.

    Above a thousand trials that would take minutes. The level falls so slowly there,
    by as much with every doubling of n (to 1 / 1.36 of it from 1,024 trials to 4,096
    and to 1 / 1.66 to 12,500, at .975), that one which surely falls faster, by
    1 / (1 + log(n / 1,024) / 2), makes the band 3 to 4 % wider than it need be.
    """
    tail = _tail(min(n, MANY), confidence)
    if n > MANY:
        tail /= 1 + math.log(n / MANY) / 2
    return _intervals(n, tail)


def _intervals(n: int, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the n order statistics have `tail` of their law below and above."""
    i = np.arange(1, n + 1)
    return (
        special.betaincinv(i, n + 1 - i, tail),
        special.betaincinv(i, n + 1 - i, 1 - tail),
    )


@functools.lru_cache(maxsize=64)
def _tail(n: int, confidence: float) -> float:
    """Returns what n intervals leave out on either side to hold together."""

    def excess(log_tail: float) -> float:
        return _chance_inside(*_intervals(n, math.exp(log_tail))) - confidence

    # n intervals hold together at least as often as Bonferroni promises, and no
    # more often than one of them alone.
    lightest = math.log((1 - confidence) / (4 * n))
    heaviest = math.log((1 - confidence) / 2)
    return math.exp(scipy.optimize.brentq(excess, lightest, heaviest, xtol=1e-6))


def _chance_inside(low: np.ndarray, high: np.ndarray) -> float:
    """Returns the chance that n sorted uniform numbers lie in their intervals.

    The number of points below t is a Poisson process given that it ends at n.
    Its law is carried from one end of an interval to the next, and paths that
    leave the band are dropped (Moscovich and Nadler 2017, "Fast calculation of
    boundary crossing probabilities for Poisson processes", without their FFT).

    Args:
        low: (n,) ascending lower ends.
        high: (n,) ascending upper ends, each above its lower end.
    """
    n = len(low)
    times = np.sort(np.concatenate([low, high, [1.0]]))
    least = np.searchsorted(high, times, side="right")
    most = np.searchsorted(low, times, side="left")
    jumps = np.arange(np.max(most - np.append(0, least[:-1])) + 1)
    rates = n * np.diff(times, prepend=0.0)[:, None]
    steps = np.exp(special.xlogy(jumps, rates) - rates - special.gammaln(jumps + 1))
    law, start = np.ones(1), 0
    for step, fewest, largest in zip(steps, least, most, strict=True):
        # What `np.convolve` does, which leaves the order of its sums to BLAS.
        room = np.zeros(len(step) - 1)
        windows = np.lib.stride_tricks.sliding_window_view(
            np.concatenate([room, law, room]), len(step)
        )[fewest - start : largest - start + 1]
        law = np.einsum("ij,j->i", windows, step[::-1], optimize=False)
        start = fewest
    return float(law[-1] / math.exp(n * math.log(n) - n - special.gammaln(n + 1)))

"""Two arms at stated efforts: the gain, its interval, and the chance of no gain.

Three errors are kept apart and then put together: another n configurations
could have been drawn (the hull of a percentile and a jackknife-t interval), other
test examples (the variance of the difference by example), and a search could
have hit nothing but configurations that diverge (a bound on their share).

The gate is a permutation test of the studentised gain. The plain swap
permutation is exact only where the arms are the same in everything; where two
arms are equal at effort k but differ in how they get there, it rejects 20 to
28 % of the time at a nominal 5 %, and the studentised one 4 to 7 %.

Swapping the two arms turns gain and interval round and leaves p as it is, to
the last bit: no draw depends on which arm comes first or what it is called.

Shapes: n trials, K efforts, B resamples, P permutations, T test examples.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from archtrial.randomness import generator
from archtrial.statistics.search import Reading
from archtrial.statistics.stratified import Influences, Model
from archtrial.statistics.sums import product
from archtrial.statistics.tuning import (
    MANY,
    Ranking,
    first_rank_that_counts,
    leave_one_out_table,
    rank_weights_that_count,
)

__all__ = [
    "Estimate",
    "Expectation",
    "clopper_pearson",
    "equal_compute",
    "expectation",
    "gain",
    "gate",
    "holm",
    "resample_counts",
    "searches_won",
    "seeds_won",
]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    estimate: float
    low: float
    high: float


# --- what one arm's search is expected to end with -----------------------------


@dataclasses.dataclass(frozen=True)
class Expectation:
    """D(k) of one arm at K efforts, with all that is uncertain about it."""

    estimate: np.ndarray
    """(K,) D(k)."""
    influence: np.ndarray
    """(n, K) centred jackknife influence of each trial, scaled so that the squares
    sum to the squared standard error."""
    resampled: np.ndarray
    """(B, K) D(k) of resampled searches."""
    examples: np.ndarray | None
    """(T, K) the expected score of each test example; None if unknown."""
    fall: np.ndarray
    """(K,) how much lower D(k) may be because too few diverged trials were seen."""
    freedom: np.ndarray
    """(K,) degrees of freedom of the jackknife: 2 n / k - 1."""
    test_size: int | None = None
    """T, where it is all that is known of the test examples."""
    model: Influences | None = None
    """How far it is off as a model of the space sees it; None where none is fitted."""
    stratified: bool = False
    """Whether the trials fill the space evenly."""
    failing: np.ndarray | None = None
    """(K,) the part of the variance that seeds which fail make; None if unknown."""


def expectation(
    reading: Reading, efforts: Sequence[int] | np.ndarray, counts: np.ndarray
) -> Expectation:
    """Estimates D(k) at several efforts.

    Args:
        reading: The arm's trials.
        efforts: (K,) efforts from 1 to n - 1.
        counts: (B, n) how often each trial is drawn in each resample.
    """
    return expectations(reading, [efforts], counts)[0]


# Resampled scores that are looked at together: half a processor's second cache.
RESAMPLED = 2**15


def expectations(
    reading: Reading,
    several: Sequence[Sequence[int] | np.ndarray],
    counts: "np.ndarray | Drawn",
) -> list[Expectation]:
    """Estimates D(k) for several lists of efforts, resampling once for all of them.

    Each list is computed as if it stood alone, to the last bit. So where two arms
    have the same list, their difference turns round exactly with the arms, whatever
    else is asked of one of them.

    Args:
        reading: The arm's trials.
        several: Lists of (K,) efforts from 1 to n - 1.
        counts: (B, n) how often each trial is drawn in each resample; or of `needed`
            trials alone.
    """
    n = len(reading.validation)
    lists = [np.asarray(efforts) for efforts in several]
    ranking = reading.ranking
    resampled = resample(reading, lists, counts)
    filled = None
    if reading.examples is not None:
        # A stand-in says nothing of single examples, so it counts as the same on all.
        filled = np.where(
            np.isnan(reading.examples), reading.score[:, None], reading.examples
        ).T
    model = None
    if reading.places is not None:
        model = Model(
            reading.places,
            reading.validation,
            reading.score,
            reading.diverged,
            reading.worst,
        )
    estimated = []
    for efforts, found in zip(lists, resampled, strict=True):
        estimate = ranking.expected(reading.score, efforts)
        influence = ranking.leave_one_out(reading.score, efforts)
        # Leaving out has the mean of the unbiased form, whatever the weights.
        centre = np.mean(influence, axis=0) if reading.stratified else estimate
        # In place: of many trials these are the largest arrays of all.
        np.subtract(centre, influence, out=influence)
        influence *= math.sqrt((n - 1) / n)
        estimated.append(
            Expectation(
                estimate=estimate,
                influence=influence,
                resampled=found.T,
                examples=None
                if filled is None
                else product(filled, ranking.weights(efforts)),
                fall=np.zeros(len(efforts))
                if reading.stratified
                else allowance(reading, efforts),
                freedom=2 * n / efforts - 1,
                test_size=reading.test_size,
                model=None if model is None else model.influences(efforts),
                stratified=reading.stratified,
                failing=None
                if reading.failing is None
                else product(reading.failing, ranking.weights(efforts) ** 2),
            )
        )
    return estimated


def resample(
    reading: Reading, several: Sequence[np.ndarray], counts: "np.ndarray | Drawn"
) -> list[np.ndarray]:
    """Returns D(k) of resampled searches, (K, B) for each list of K efforts.

    The arguments are those of `expectations`.
    """
    n = len(reading.validation)
    drawn = counts if isinstance(counts, Drawn) else Drawn(counts, None)
    if reading.stratified:
        # No interval of an even design comes from resampling.
        drawn = Drawn(drawn.counts[:0], drawn.columns)
    weights = [rank_weights_that_count(n, efforts) for efforts in several]
    unused = min(first for parts in weights for _, first, _ in parts)
    found = [np.empty((len(efforts), len(drawn.counts))) for efforts in several]
    block = max(RESAMPLED // (n - unused), 16)
    for start in range(0, len(drawn.counts), block):
        rows = slice(start, start + block)
        ranked = reading.ranking.resampled(
            reading.score,
            drawn.counts[rows],
            n - unused if unused else None,
            drawn.columns,
        ).T
        for scores, parts in zip(found, weights, strict=True):
            for some, first, weight in parts:
                scores[some, rows] = product(weight, ranked[first - unused :])
    return found


def needed(reading: Reading, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the trials that resampled searches of some efforts can end with, (m,).

    Args:
        reading: The arm's trials.
        efforts: (K,) efforts from 1 to n - 1, at least one.
    """
    n = len(reading.validation)
    first = first_rank_that_counts(n, int(np.min(efforts)))
    start = reading.ranking.highest(n - first) if first else 0
    return reading.ranking.order[start:]


def allowance(reading: Reading, efforts: np.ndarray) -> np.ndarray:
    """Returns (K,) what an unlucky count of diverged trials may have hidden.

    A k-search that draws nothing but diverging configurations ends at the
    constant predictor. Resampling a handful of diverged trials says little about
    how often that happens, so their share is taken at its 90 % upper limit.
    """
    n, diverged = len(reading.diverged), int(reading.diverged.sum())
    if diverged in (0, n):
        return np.zeros(len(efforts))
    share = special.betaincinv(diverged + 1, n - diverged, 0.9)
    # C(f, k) / C(n, k) of the k-subsets have diverged as a whole.
    counted = np.array(
        [np.prod((diverged - np.arange(k)) / (n - np.arange(k))) for k in efforts]
    )
    # Not `**`, whose last bit is the processor's.
    powers = np.array([np.prod(np.full(int(k), share)) for k in efforts])
    missed = np.maximum(powers - np.maximum(counted, 0), 0)
    allowance: np.ndarray = missed * max(
        float(reading.score.max()) - reading.worst, 0.0
    )
    return allowance


@dataclasses.dataclass(frozen=True)
class Drawn:
    """How often some trials of a search are drawn in each resample."""

    counts: np.ndarray
    """(B, m) uint8."""
    columns: np.ndarray | None
    """(n,) the column of each trial; of no meaning for those without one. None: m is n
    and the columns are the trials."""


def resample_counts(
    seed: int, baseline: int, challenger: int, *, paired: bool, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws configurations with replacement.

    Args:
        seed: The protocol's seed.
        baseline: The number of the baseline's trials.
        challenger: The number of the challenger's trials; if paired, at most
            `baseline`.
        paired: Whether trial i of one arm has the draws of trial i of the other.
            Pairs are drawn as pairs; trials that the baseline has alone, among
            themselves.
        resamples: B, even.

    Returns:
        (B, baseline) and (B, challenger) uint8: how often each trial was drawn.
    """
    of_a, of_b = resample_some(
        seed,
        np.ones(baseline, dtype=bool),
        np.ones(challenger, dtype=bool),
        paired=paired,
        resamples=resamples,
    )
    return of_a.counts, of_b.counts


def resample_some(
    seed: int,
    baseline: np.ndarray,
    challenger: np.ndarray,
    *,
    paired: bool,
    resamples: int,
) -> tuple[Drawn, Drawn]:
    """Draws configurations with replacement, and counts those that are asked for.

    Args:
        seed: The protocol's seed.
        baseline: (n,) bool, of which of the baseline's trials the counts are wanted.
        challenger: The same of the challenger's; if paired, at most as many.
        paired: As for `resample_counts`.
        resamples: B, even.

    Returns:
        The counts of these trials at least. They are those of `resample_counts`.
    """

    def drawn(wanted: np.ndarray, rows: int, *names: str) -> np.ndarray:
        stream = generator(seed, "resample", *names)
        n, m = len(wanted), int(wanted.sum())
        # No trial is drawn more than 255 times: with n > 255, not in this universe.
        counts = np.empty((rows, m), dtype=np.uint8)
        column = np.cumsum(wanted) - 1
        block = max(2 * RESAMPLED // n, 1)
        for start in range(0, rows, block):
            some = counts[start : start + block]
            indices = stream.integers(0, n, (len(some), n))
            if m < n:
                found = wanted[indices]
                row = np.repeat(np.arange(len(some)), np.sum(found, axis=1))
                cells = column[indices[found]] + m * row
            else:
                indices += n * np.arange(len(some))[:, None]
                cells = indices.ravel()
            some[:] = np.bincount(cells, minlength=some.size).reshape(some.shape)
        return counts

    def told(counts: np.ndarray, wanted: np.ndarray) -> Drawn:
        return Drawn(counts, None if wanted.all() else np.cumsum(wanted) - 1)

    if paired:
        both = challenger | baseline[: len(challenger)]
        pairs = drawn(both, resamples, "pairs")
        if len(baseline) == len(challenger):
            return told(pairs, both), told(pairs, both)
        beyond = baseline[len(challenger) :]
        alone = drawn(beyond, resamples, "alone")
        return (
            told(np.concatenate([pairs, alone], axis=1), np.append(both, beyond)),
            told(pairs, both),
        )
    if len(baseline) == len(challenger):
        # Each two draws serve both ways round, so that it does not matter which
        # arm comes first.
        both = challenger | baseline
        one = drawn(both, resamples // 2, "one")
        other = drawn(both, resamples // 2, "other")
        return (
            told(np.concatenate([one, other]), both),
            told(np.concatenate([other, one]), both),
        )
    of_a, of_b = (
        told(drawn(wanted, resamples, str(len(wanted))), wanted)
        for wanted in (baseline, challenger)
    )
    return of_a, of_b


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
        variance = _variance(challenger.influence, baseline.influence, paired)
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
    reach = special.stdtrit(freedom, 1 - alpha / 2) * np.sqrt(variance)
    low = np.minimum(ordered[tail - 1], estimate - reach)
    high = np.maximum(ordered[-tail], estimate + reach)

    test_variance = variance_of_test(challenger, baseline)
    if test_variance is not None:
        floor = special.ndtri(1 - alpha / 2) ** 2 * test_variance
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
            modelled = _variance(first.trials, other.trials, paired)
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
    quantile = special.stdtrit(freedom, 1 - alpha / 2)
    normal = special.ndtri(1 - alpha / 2)
    reach = np.sqrt(quantile**2 * variance + normal**2 * examples)
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
        p = _two_sided(estimate, variance, freedom)
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


def _variance(challenger: np.ndarray, baseline: np.ndarray, paired: bool) -> np.ndarray:
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
        down to 1 of the costlier arm; empty where n allows none.
    """
    ratio = max(baseline_cost, challenger_cost) / min(baseline_cost, challenger_cost)
    pairs = [(round(costly * ratio), costly) for costly in range(effort, 0, -1)]
    return [
        (cheap, costly) if baseline_cost < challenger_cost else (costly, cheap)
        for cheap, costly in pairs
        if cheap <= trials // 4
    ]


# --- the gate ------------------------------------------------------------------

# Cells of a block of permutations: few enough for memory, and enough that the work
# on a row outweighs the call. Never a setting: how the draws are divided could alter
# them.
BLOCK = 2**22

# From as many independent searches of the effort as this in each of two large arms,
# the permutation distribution is Student's t for all that p tells (see `gate`).
SEARCHES = 64


def gate(
    challenger: Reading,
    baseline: Reading,
    effort: int,
    *,
    paired: bool,
    permutations: int,
    seed: int,
) -> float:
    """Returns p for the hypothesis that the gain is 0, both arms at one effort.

    Paired: whole pairs are swapped between the arms, both are ranked anew and the
    gain is studentised again. Exact if the arms are exchangeable (up to the choice
    of the configurations that were confirmed), approximate for a gain of 0. All
    2^n swaps are enumerated where that is no more work. Unpaired: the labels are
    shuffled instead.

    Above a thousand trials an arm (`tuning.MANY`) this would take minutes, and one
    of two things makes it unnecessary. Where n / k is at least 64, the studentised
    gain is a sum over so many trials that its permutation distribution is Student's
    t with 2 n / k - 1 degrees of freedom, from which p then comes without any draw.
    Otherwise the k-searches end among the best few hundred trials, and only these
    are dealt out: what is left out is less than the rounding.

    Args:
        challenger: Its n trials.
        baseline: Its trials; n if paired.
        effort: k.
        paired: Whether trial i of one arm shares draws with trial i of the other.
        permutations: P; p is at least 1 / (P + 1).
        seed: The protocol's seed.
    """
    n = len(challenger.score)
    fewer, most = sorted((n, len(baseline.score)))
    estimate = variance = 0.0
    if most > MANY:
        estimate, variance = _jackknifed(challenger, baseline, effort, paired)
        if estimate == 0 or fewer / effort >= SEARCHES:
            return _two_sided(estimate, variance, 2 * fewer / effort - 1)
    pool = _Pool(challenger, baseline, effort, paired)
    if pool.places < pool.size:
        # Before they are dealt out, arms may differ at places that are not held.
        observed = abs(estimate) / math.sqrt(variance) if variance else math.inf
    else:
        observed = abs(pool.studentised(pool.labels[:, None])[0])
    # Whole words of random bits, so that none is lost between two blocks.
    block = max(BLOCK // pool.places // 32, 1) * 32
    # Equal values must not be told apart by rounding.
    threshold = observed * (1 - 1e-10)

    if paired and 2**n <= permutations + 1:
        swaps = (np.arange(2**n) >> np.arange(n)[:, None]) % 2 == 1
        reached = sum(
            int(np.sum(np.abs(pool.swapped(swaps[:, i : i + block])) >= threshold))
            for i in range(0, 2**n, block)
        )
        return reached / len(swaps.T)

    stream = generator(seed, "permutation")
    reached = 0
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        if paired:
            drawn = stream.integers(0, 2, (rows, pool.units), dtype=np.bool_)
            ratios = pool.swapped(np.ascontiguousarray(drawn.T))
        else:
            # The smaller arm's labels are dealt, whichever arm that is.
            labels: int | np.ndarray = fewer
            if pool.places < pool.size:
                labels = stream.hypergeometric(
                    fewer, pool.size - fewer, pool.places, rows
                )
            dealt = _deal(stream, pool.places, rows, labels)
            ratios = pool.studentised(dealt if n == fewer else ~dealt)
        reached += int(np.sum(np.abs(ratios) >= threshold))
    return (1 + reached) / (1 + permutations)


def _jackknifed(
    challenger: Reading, baseline: Reading, effort: int, paired: bool
) -> tuple[float, float]:
    """Returns the gain at one effort and its jackknife variance."""
    estimates, influences = [], []
    for arm in (challenger, baseline):
        ranking = Ranking(arm.validation, arm.score)
        estimate = ranking.expected(arm.score, [effort])
        without = ranking.leave_one_out(arm.score, [effort])
        estimates.append(float(estimate[0]))
        influences.append((estimate - without) * math.sqrt(1 - 1 / ranking.n))
    variance = _variance(influences[0], influences[1], paired)
    return estimates[0] - estimates[1], float(variance[0])


def _two_sided(estimate: float, variance: float, freedom: float) -> float:
    """Returns p of Student's t."""
    if variance == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(estimate) / math.sqrt(variance)))


def _deal(
    stream: np.random.Generator, places: int, hands: int, labels: int | np.ndarray
) -> np.ndarray:
    """Deals a number of labels to places at random, (places, hands) bool.

    The number may be another in each hand, (hands,).

    Each place gets a label by a coin of its own. Where that makes too many or too
    few, labels are taken away or added at random until the number is right: of all
    ways to deal that many, each is as likely, since neither step prefers a place.
    """
    dealt = stream.random((places, hands), dtype=np.float32) < labels / places
    excess = np.sum(dealt, axis=0) - labels
    wrong = np.flatnonzero(excess)
    while len(wrong):
        place = stream.integers(0, places, len(wrong))
        many = excess[wrong] > 0
        fitting = dealt[place, wrong] == many
        place, corrected, many = place[fitting], wrong[fitting], many[fitting]
        dealt[place, corrected] = ~many
        excess[corrected] -= np.where(many, 1, -1)
        wrong = wrong[excess[wrong] != 0]
    return dealt


class _Pool:
    """The trials of both arms in one ranking, to be dealt out anew.

    Sorting once is enough: any subset of a sorted pool is sorted. Let c of an arm's
    trials lie at or below a place, t rise there by dt to the next place, and

        f(c) = C(c - 1, k - 1) / C(n - 1, k),    Y = sum of f(c) dt over lower places

    Leaving out a trial lowers D(k) by its Y less the mean of Y over the arm's trials
    (Abel summation of the leave-one-out sums), and D(k) is the highest score less
    (n - k) / k times what the highest Y exceeds that mean by. So one running sum for
    each arm gives the gain and its standard error, and neither needs to know which
    places are whose before it comes to them. It runs from place to place over all
    permutations at once; the columns of all arrays are permutations.

    Y_B - Y_A and Y_B + Y_A are kept instead of Y_B and Y_A, since a trial's signed Y
    is half of their sum or difference. Swapping the arms negates the one and leaves
    the other, to the last bit.

    Of large arms only the upper places are held. At the others Y is 0 but for less
    than what counts as rounding here, whoever's they are.
    """

    def __init__(
        self, challenger: Reading, baseline: Reading, effort: int, paired: bool
    ) -> None:
        score = np.concatenate([challenger.score, baseline.score])
        ranking = Ranking(
            np.concatenate([challenger.validation, baseline.validation]), score
        )
        self._arms = len(challenger.score), len(baseline.score)
        self._paired = paired
        self._effort = effort
        self._spread = float(np.ptp(score))
        self._tables = [leave_one_out_table(n, effort) for n in self._arms]
        self._steps = [np.diff(table, prepend=0.0) for table in self._tables]
        # So that the baseline's step can be looked up by the challenger's number:
        # the more places are the challenger's, the fewer are the baseline's.
        self._reversed = np.append(np.zeros(self._arms[0]), self._steps[1][::-1])

        self.size = len(score)
        self._below = 0
        if max(self._arms) > MANY:
            reached = int(np.searchsorted(ranking.first, self._lowest(), "right")) - 1
            self._below = int(ranking.first[reached])
        held = ranking.order[self._below :]
        self.places = len(held)
        """How many places are held."""
        self.labels = held < self._arms[0]
        """(places,) which of them the challenger's trials hold."""
        self._score = score[held]
        unit = np.arange(self.places)
        if paired:
            unit = np.unique(held % self._arms[0], return_inverse=True)[1]
        self.units = int(unit.max()) + 1
        """How many pairs, or trials if nothing is paired, hold a place."""
        self._unit = unit
        self._groups = []
        for start, m in zip(ranking.first.tolist(), ranking.sizes, strict=True):
            start -= self._below
            if start < 0:
                continue
            scores = self._score[start : start + m]
            mixed = bool(np.ptp(scores) > 0)
            level = float(np.mean(scores) if mixed else scores[0])
            self._groups.append((start, start + int(m), level, mixed))

    def _lowest(self) -> int:
        """Returns a place below which Y is nothing but rounding, however dealt.

        With both arms' share of the p places below, and 5 sqrt(p) more, which chance
        exceeds once in 10^21 times (Hoeffding), f is 10^-13 of its highest value. So
        Y there is less of the spread of all scores than `studentised` tells from 0.
        """
        places = np.arange(self.size + 1)
        lowest = self.size
        for n, step in zip(self._arms, self._steps, strict=True):
            most = np.ceil(places * (n / self.size) + 5 * np.sqrt(places)).astype(int)
            counts = step[np.minimum(most, n)] > 1e-13 * step[-1]
            lowest = min(lowest, int(np.argmax(counts)))
        return lowest

    def swapped(self, swaps: np.ndarray) -> np.ndarray:
        """Returns the studentised gains (P,) after swapping pairs, (units, P) bool."""
        # A place is the challenger's as before, unless its pair was swapped.
        return self.studentised(swaps[self._unit] ^ self.labels[:, None])

    def studentised(self, labels: np.ndarray) -> np.ndarray:
        """Returns the gain over its standard error.

        Args:
            labels: (places, P) bool, which are the challenger's; with those at the
                places that are not held, every column has as many as there are.

        Returns:
            (P,) float64; 0 where the gain is 0, infinite where only its error is.
        """
        gains, errors = self._gains(labels)
        # What is left of a difference of equal numbers is rounding.
        nothing = 1e-12 * self._spread
        gains[np.abs(gains) <= nothing] = 0.0
        exact = errors <= nothing
        limits = np.where(gains == 0, 0.0, np.copysign(np.inf, gains))
        ratios: np.ndarray = np.divide(gains, errors, out=limits, where=~exact)
        return ratios

    def _gains(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gains (P,) and their standard errors (P,)."""
        lowest, skipped = self._start(labels)
        labels = labels[skipped:]
        units, unit = np.unique(self._unit[skipped:], return_inverse=True)
        signs = np.where(labels, 1.0, -1.0)
        # Twice the signed Y of each unit: of a pair, both trials' together.
        signed = np.zeros((len(units), len(signs.T)))
        members = np.sum(labels, axis=0)
        count = self._arms[0] - members
        difference, total = np.zeros((2, len(signs.T)))
        level = self._groups[lowest][2]
        for start, end, here, mixed in self._groups[lowest:]:
            if here != level:
                of_difference, of_total = self._rise(self._below + start, here - level)
                difference += of_difference.take(count)
                total += of_total.take(count)
                level = here
            if mixed:
                block = slice(start - skipped, end - skipped)
                found, (less, fewer) = self._among_ties(
                    labels[block],
                    self._score[start:end] - level,
                    self._below + start,
                    count,
                )
                for own, sign, (apart, both) in zip(
                    unit[block], signs[block], found, strict=True
                ):
                    signed[own] += difference + apart + sign * (total + both)
                difference -= less
                total -= fewer
                count += np.sum(labels[block], axis=0)
                continue
            for place in range(start - skipped, end - skipped):
                own = signed[unit[place]]
                own += difference
                own += signs[place] * total
                np.add(count, labels[place], out=count)
        if self._paired:
            n, k = self._arms[0], self._effort
            mean = np.sum(signed, axis=0) / n
            signed -= mean
            squares = np.einsum("up,up->p", signed, signed)
            squares += (n - len(units)) * mean**2
            squares /= 4
            return (n - k) / k * (mean / 2 - difference), np.sqrt(squares * (n - 1) / n)
        return self._unpaired(signed, signs, members, difference, total)

    def _start(self, labels: np.ndarray) -> tuple[int, int]:
        """Returns the group to begin with, and how many held places lie below it.

        As these labels were dealt, f up to there is 10^-25 of its highest value, for
        either arm: what is left out is less than the rounding. What had to be held
        however they might be dealt (`_lowest`) is several times as much.
        """
        if not self._below:
            return 0, 0
        starts = np.array([start for start, *_ in self._groups])
        inside = np.add.reduceat(labels, starts, axis=0, dtype=np.int64)
        passed = np.cumsum(inside, axis=0) - inside
        passed += self._arms[0] - np.sum(labels, axis=0)
        most = np.max(passed, axis=1), self._below + starts - np.min(passed, axis=1)
        counts = [
            step[counted] > 1e-25 * step[-1]
            for step, counted in zip(self._steps, most, strict=True)
        ]
        group = max(int(np.argmax(counts[0] | counts[1])) - 1, 0)
        return group, int(starts[group])

    def _rise(self, place: int, rise: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns what Y_B - Y_A and Y_B + Y_A grow by, by the challenger's number.

        Args:
            place: How many places lie below, c of them the challenger's and the
                others the baseline's.
            rise: What the score grows by.

        Returns:
            Two tables, by c = 0, ..., min(place, n).
        """
        own = self._steps[0][: place + 1]
        others = self._reversed[self.size - place :][: len(own)]
        return (own - others) * rise, (own + others) * rise

    def _among_ties(
        self,
        labels: np.ndarray,
        deviations: np.ndarray,
        below: int,
        count: np.ndarray,
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
        """Adds what differs from a single trial where scores differ among ties.

        Tied trials of an arm count at their mean. With mean_g the deviation of that
        mean from the group's level, R of the arm's trials up to the group and m in
        it, the Y of a member with deviation d is higher by

            f(R - m) mean_g + [F(R - 1) - F(R - m)] (d - mean_g) / (m - 1)

        with F the running sum of f, and Y above the group is lower by
        [f(R) - f(R - m)] mean_g.

        Args:
            labels: (m, P) bool, of the group's places.
            deviations: (m,) of their scores from the group's level.
            below: How many places lie below.
            count: (P,) how many of them are the challenger's.

        Returns:
            For each place the excess (P,) of the difference and of the sum of both
            arms' Y, if the place is theirs; and what both are lower by above.
        """
        fixed, slopes, losses = [], [], []
        for arm, chosen in enumerate((labels, ~labels)):
            before = count if arm == 0 else below - count
            members = np.sum(chosen, axis=0)
            after = before + members
            mean = product(deviations, chosen) / np.maximum(members, 1)
            step, table = self._steps[arm], self._tables[arm]
            first = step.take(before)
            slope = table.take(np.maximum(after - 1, 0)) - table.take(before)
            slope /= np.maximum(members - 1, 1)
            fixed.append((first - slope) * mean)
            slopes.append(slope)
            losses.append((step.take(after) - first) * mean)
        (b, a), (of_b, of_a), (less_b, less_a) = fixed, slopes, losses
        members_found = [
            (b - a + (of_b - of_a) * d, b + a + (of_b + of_a) * d) for d in deviations
        ]
        return members_found, (less_b - less_a, less_b + less_a)

    def _unpaired(
        self,
        signed: np.ndarray,
        signs: np.ndarray,
        members: np.ndarray,
        difference: np.ndarray,
        total: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gains (P,) and their standard errors (P,), trials being units.

        Args:
            signed: (places, P) twice the signed Y of each place, by trial; overwritten.
            signs: (places, P) 1 where the challenger's, else -1.
            members: (P,) how many places are the challenger's.
            difference: (P,) the highest Y_B - Y_A.
            total: (P,) the highest Y_B + Y_A.
        """
        n_b, n_a = self._arms
        k = self._effort
        everyone = np.sum(signed, axis=0)
        by_sign = np.einsum("np,np->p", signed, signs)
        mean_b, mean_a = (by_sign + everyone) / 4 / n_b, (by_sign - everyone) / 4 / n_a
        gains = (n_a - k) / k * ((total - difference) / 2 - mean_a) - (n_b - k) / k * (
            (total + difference) / 2 - mean_b
        )
        signed -= mean_b - mean_a
        signed -= signs * (mean_b + mean_a)
        np.square(signed, out=signed)
        everyone = np.sum(signed, axis=0)
        by_sign = np.einsum("np,np->p", signed, signs)
        of_b, of_a = (everyone + by_sign) / 8, (everyone - by_sign) / 8
        of_b += (n_b - members) * mean_b**2
        of_a += (n_a - (len(signs) - members)) * mean_a**2
        return gains, np.sqrt(of_b * ((n_b - 1) / n_b) + of_a * ((n_a - 1) / n_a))


def gate_by_signs(
    challenger: Expectation,
    baseline: Expectation,
    *,
    paired: bool,
    permutations: int,
    seed: int,
) -> float:
    """Returns p for the hypothesis that the gain is 0, the arms at two efforts.

    At different efforts not even an arm and itself are exchangeable, so nothing
    can be swapped. Paired, the signs of the pseudo-values are flipped at random,
    studentised; unpaired, or with more than a thousand pairs (`tuning.MANY`), the
    gain over its standard error is compared with Student's t. Approximate.

    Args:
        challenger: At one effort.
        baseline: At one effort.
        paired: Whether trial i of one arm shares draws with trial i of the other.
        permutations: P; p is at least 1 / (P + 1) if paired.
        seed: The protocol's seed.
    """
    estimate = float(challenger.estimate[0] - baseline.estimate[0])
    if not paired or len(challenger.influence) > MANY:
        variance = _variance(challenger.influence, baseline.influence, paired)
        freedom = min(challenger.freedom[0], baseline.freedom[0])
        return _two_sided(estimate, float(variance[0]), float(freedom))
    influence = challenger.influence[:, 0] - baseline.influence[:, 0]
    n = len(influence)
    pseudo = estimate + influence * math.sqrt(n * (n - 1))
    squares = np.sum(pseudo**2)
    if squares == 0:
        return 1.0
    stream = generator(seed, "signs")
    reached = 0
    block = max(BLOCK // n, 1)
    # With fixed squares, the studentised mean grows with the mean alone.
    threshold = abs(np.sum(pseudo)) * (1 - 1e-10)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        signs = 1.0 - 2.0 * stream.integers(0, 2, (rows, n), dtype=np.bool_)
        reached += int(np.sum(np.abs(product(signs, pseudo)) >= threshold))
    return (1 + reached) / (1 + permutations)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for their number, step down (Holm 1979).

    Args:
        p_values: One for each hypothesis.

    Returns:
        Adjusted values in the same order; claiming those that are at most alpha
        makes any false claim with probability at most alpha.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


# --- the chance to win ---------------------------------------------------------


def clopper_pearson(
    successes: float, trials: float, alpha: float
) -> tuple[float, float]:
    """Returns the exact interval for a chance, at level 1 - alpha or more.

    Args:
        successes: From 0 to `trials`; ties may count half.
        trials: More than 0.
        alpha: Split evenly between both sides.

    Examples:
        >>> low, high = clopper_pearson(9, 10, 0.05)
        >>> round(low, 3), round(high, 3)
        (0.555, 0.997)
    """
    failures = trials - successes
    low, high = 0.0, 1.0
    if successes > 0:
        low = float(special.betaincinv(successes, failures + 1, alpha / 2))
    if failures > 0:
        high = float(special.betaincinv(successes + 1, failures, 1 - alpha / 2))
    return low, high


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
    variance = float(_variance(influences[0], -influences[1], paired)[0])
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

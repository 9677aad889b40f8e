"""What a search of effort k is expected to end with, and all that is uncertain of it.

Another n configurations could have been drawn (resamples, and the jackknife's
influences), other test examples (the expected score of each), and a search could have
hit nothing but configurations that diverge (a bound on their share).

Shapes: n trials, K efforts, B resamples, T test examples.
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
    first_rank_that_counts,
    rank_weights_that_count,
)

__all__ = ["Expectation", "allowance", "expectation", "expectations", "resample_counts"]


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
        columns = slice(None) if m == n else np.flatnonzero(wanted)
        block = max(2 * RESAMPLED // n, 1)
        for start in range(0, rows, block):
            some = counts[start : start + block]
            indices = stream.integers(0, n, (len(some), n))
            indices += n * np.arange(len(some))[:, None]
            everyone = np.bincount(indices.ravel(), minlength=indices.size)
            some[:] = everyone.reshape(indices.shape)[:, columns]
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

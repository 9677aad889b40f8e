"""How alike two layers represent the same examples: linear centred kernel alignment."""

import itertools
import math

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.intervals import Estimate, student

__all__ = ["alignment", "centred", "mean_of_pairs"]


def centred(features: np.ndarray) -> np.ndarray:
    """Returns what `alignment` compares of a layer's activations, as one row.

    It is the Gram matrix of the examples without its diagonal, with the means of rows and
    columns taken out so that the inner product of two of them is unbiased for the
    covariance of their kernels (the unbiased HSIC of Song et al. 2012, equation 4, as
    Szekely and Rizzo 2014 write it, "Partial distance correlation with methods for
    dissimilarities", definition 2), divided by its length.

    Args:
        features: (N, ...) activations for N >= 4 examples; they are flattened.

    Returns:
        (N (N - 1) / 2,) float32 of length 1: what lies above the diagonal; 0 where all
        examples have the same activations.

    Raises:
        ProtocolError: There are fewer than 4 examples, or an activation is not finite.
    """
    n = len(features)
    flat = np.asarray(features, dtype=np.float64).reshape(n, -1)
    if n < 4:
        raise ProtocolError("layers are compared on 4 examples at least", f"{n}")
    if not np.isfinite(flat).all():
        raise ProtocolError("activations are finite", "one that is not")
    # A Gram matrix without what all examples share is the same, but for rounding.
    flat = flat - flat.mean(axis=0)
    largest = np.abs(flat).max(initial=0.0)
    above = np.triu_indices(n, 1)
    if largest <= _ROUNDING * np.abs(features).max(initial=0.0):
        return np.zeros(len(above[0]), dtype=np.float32)
    flat /= largest
    gram = flat @ flat.T
    np.fill_diagonal(gram, 0.0)
    rows = gram.sum(axis=1)
    gram -= (rows[:, None] + rows[None, :]) / (n - 2)
    gram += rows.sum() / ((n - 1) * (n - 2))
    told: np.ndarray = gram[above]
    told = told / math.sqrt(np.sum(told**2))
    return told.astype(np.float32)


# What float32 leaves of activations that are the same for all examples.
_ROUNDING = 1e-6


def alignment(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the linear CKA of each layer with each other.

    1 for features that differ by a rotation, a reflection, a shift and one factor, about 0
    for independent ones, whatever their number: the HSIC is unbiased, so that few examples
    of many features look no more alike than they are, and values below 0 occur by chance
    (Kornblith et al. 2019, arXiv 1905.00414, section 3; Nguyen et al. 2021, arXiv
    2010.15327, equations 1 and 3).

    Args:
        first: (K, P) rows of `centred`, of the same examples as the second's.
        second: (L, P).

    Returns:
        (K, L) float64; NaN where either layer is the same for all examples.
    """
    found = (first @ second.T).astype(np.float64)
    ours, theirs = (np.any(rows != 0, axis=1) for rows in (first, second))
    return np.where(np.logical_and.outer(ours, theirs), found, math.nan)


def mean_of_pairs(values: np.ndarray, alpha: float) -> Estimate:
    """Returns the mean of a quantity of pairs of seeds, with an interval over seeds.

    Pairs that share a seed are not independent: the standard error is the jackknife's,
    which leaves out a seed with all its pairs (Arvesen 1969, "Jackknifing U-statistics"),
    and the interval Student's with S - 1 degrees of freedom.

    Args:
        values: (S, S), of which what lies above the diagonal counts; S >= 3.
        alpha: The interval has level 1 - alpha.

    Raises:
        ProtocolError: There are fewer than 3 seeds.
    """
    table = np.asarray(values, dtype=np.float64)
    seeds = len(table)
    if seeds < 3:
        raise ProtocolError("pairs have an interval from 3 seeds on", f"{seeds}")
    pairs = list(itertools.combinations(range(seeds), 2))
    estimate = float(np.mean([table[i, j] for i, j in pairs]))
    without = np.array(
        [
            np.mean([table[i, j] for i, j in pairs if seed not in (i, j)])
            for seed in range(seeds)
        ]
    )
    spread = (seeds - 1) / seeds * np.sum((without - without.mean()) ** 2)
    half = float(student(seeds - 1, alpha)) * math.sqrt(spread)
    return Estimate(estimate, estimate - half, estimate + half)

"""Many test examples as few: what the comparison takes from them, and no more.

From the scores of single test examples the verdict takes one thing alone: the variance
of weighted sums of runs, over the examples. These follow from the covariances of the
runs, so that any other examples with the same covariances do as well. For m runs there
are m + 1 such, however many examples there were.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["MANY_EXAMPLES", "condense"]

MANY_EXAMPLES = 20_000
"""Up to so many test examples their scores are taken as they are."""

# Scores that are looked at together.
_BLOCK = 2**22


def condense(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Returns m + 1 examples that stand for many.

    Args:
        scores: Of m runs, (T,) each: the score of every test example.

    Returns:
        (m, m + 1) float64 with rows of mean 0. For any weights w (m,) the variance of
        w @ result over its columns, divided by their number, is that of w @ scores
        divided by T (both with one degree of freedom less), to rounding.
    """
    m, many = len(scores), len(scores[0])
    product = np.zeros((m, m))
    total = np.zeros(m)
    size = max(_BLOCK // m, 1)
    for start in range(0, many, size):
        block = np.array([row[start : start + size] for row in scores], np.float64)
        # Right and wrong answers are 0 and 1: their products are whole numbers, the
        # same in whatever order a processor adds them.
        product += block @ block.T
        total += block.sum(axis=1)
    centred = product - np.outer(total, total) / many
    # What rounding leaves of other scores depends on that order: twelve digits do not.
    scale = np.sqrt(np.maximum(np.diag(centred), 0))
    scale[scale == 0] = 1
    alike = np.round(centred / np.outer(scale, scale), 12)
    root = _root(alike) * scale[:, None]
    # Columns that are orthogonal to each other and to the constant.
    contrast = np.zeros((m, m + 1))
    for row in range(m):
        contrast[row, : row + 1] = 1
        contrast[row, row + 1] = -(row + 1)
        contrast[row] /= np.sqrt((row + 1) * (row + 2))
    few = m * (m + 1) / (many * (many - 1))
    condensed: np.ndarray = np.einsum("ij,jk->ik", root, contrast) * np.sqrt(few)
    return condensed


def _root(matrix: np.ndarray) -> np.ndarray:
    """Returns lower triangular L with L L' = matrix, zeros where a row adds nothing.

    Cholesky's, with sums of a fixed order.
    """
    root = np.zeros_like(matrix)
    for column in range(len(matrix)):
        done = root[:, :column]
        left = matrix[:, column] - (done * done[column]).sum(axis=1)
        if left[column] > 1e-10:
            root[column:, column] = left[column:] / np.sqrt(left[column])
    return root

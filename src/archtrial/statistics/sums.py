"""Sums of products in an order that no processor changes.

BLAS adds in an order that depends on the processor's kernels, so its last digits do as
well, and with them the bytes of a verdict. What a verdict is computed from goes through
these functions; NumPy's own loops have one order.
"""

import numpy as np

__all__ = ["inverse", "product", "solve", "weighted"]


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the matrix product of arrays of one or two dimensions, as `@` does.

    >>> product(np.array([[1.0, 2.0]]), np.array([3.0, 4.0]))
    array([11.])
    """
    rows = "ni"[2 - left.ndim :]
    columns = "ip"[: right.ndim]
    found: np.ndarray = np.einsum(
        f"{rows},{columns}->{rows[:-1]}{columns[1:]}",
        np.asarray(left, dtype=np.float64),
        np.asarray(right, dtype=np.float64),
        optimize=False,
    )
    return found


def weighted(weights: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """Returns the sum of arrays of one shape, each times its weight."""
    total = np.zeros_like(parts[0], dtype=np.float64)
    for weight, part in zip(weights, parts, strict=True):
        total += weight * part
    return total


def solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solves (B, p, p) symmetric positive definite systems for (B, p), by elimination.

    Such matrices need no pivoting (Golub & Van Loan 2013, section 4.2).

    Returns:
        (B, p) float64.
    """
    left, found = matrices.astype(np.float64), right.astype(np.float64)
    p = left.shape[-1]
    for i in range(p):
        factor = left[:, i + 1 :, i] / left[:, i, i, None]
        left[:, i + 1 :] -= factor[:, :, None] * left[:, i, None]
        found[:, i + 1 :] -= factor * found[:, i, None]
    for i in reversed(range(p)):
        found[:, i] /= left[:, i, i]
        found[:, :i] -= left[:, :i, i] * found[:, i, None]
    return found


def inverse(matrices: np.ndarray) -> np.ndarray:
    """Inverts (B, p, p) symmetric positive definite matrices, by elimination.

    Gauss and Jordan's, in place and without pivoting, which such matrices do not need.

    Returns:
        (B, p, p) float64.
    """
    found = matrices.astype(np.float64)
    for i in range(found.shape[-1]):
        pivot = 1 / found[:, i, i, None]
        row, column = found[:, i] * pivot, found[:, :, i].copy()
        found -= column[:, :, None] * row[:, None]
        found[:, i] = row
        found[:, :, i] = -column * pivot
        found[:, i, i] = pivot[:, 0]
    return found

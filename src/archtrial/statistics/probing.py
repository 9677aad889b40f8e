"""What a linear map reads out of features: ridge regression with a chosen penalty."""

import dataclasses

import numpy as np

from archtrial.errors import ProtocolError

__all__ = ["Readout", "ridge"]

# Penalties as shares of the features' mean variance along their principal axes.
_PENALTIES = np.logspace(-6, 4, 41)
# What float32 leaves of features that never vary.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Readout:
    """A linear map from features to targets."""

    center: np.ndarray
    """(F,) taken off the features."""
    scale: np.ndarray
    """(F,) by which they are then divided."""
    weights: np.ndarray
    """(F, K)."""
    offset: np.ndarray
    """(K,)."""
    penalty: float
    """The chosen one, as a share of the features' mean variance."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns (N, K) for features (N, F)."""
        scaled = (features - self.center) / self.scale
        told: np.ndarray = scaled @ self.weights + self.offset
        return told


def ridge(features: np.ndarray, targets: np.ndarray) -> Readout:
    """Fits targets by ridge regression on standardised features.

    The penalty is one of 41, by generalised cross-validation (Golub, Heath and Wahba
    1979, equation 1.4): no example is held back for it, and none of those that the map is
    scored on has a part in it.

    Args:
        features: (N, F) of N >= 3 training examples; those that never vary get no weight.
        targets: (N, K); for classes one column each, 1 for the examples of the class.

    Raises:
        ProtocolError: There are fewer examples, or a number is not finite.
    """
    x, y = (np.asarray(a, dtype=np.float64) for a in (features, targets))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 3:
        raise ProtocolError(
            "features (N, F) and targets (N, K) are of the same 3 examples at least",
            f"{x.shape} and {y.shape}",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ProtocolError("features and targets are finite", "one that is not")
    n = len(x)
    center, offset = x.mean(axis=0), y.mean(axis=0)
    deviation = x.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(x).max(axis=0, initial=0.0)
    scale = np.where(varies, deviation, 1.0)
    x = np.where(varies, (x - center) / scale, 0.0)
    y = y - offset
    weights = np.zeros((x.shape[1], y.shape[1]))
    if not varies.any():
        return Readout(center, scale, weights, offset, float(_PENALTIES[-1]))
    # Of the smaller of x'x and xx': either has the singular values.
    wide = x.shape[1] > n
    values, axes = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > n * np.finfo(np.float64).eps * values[-1]
    values, axes = values[kept], axes[:, kept]
    left = axes if wide else x @ axes / np.sqrt(values)  # (N, rank)
    along = left.T @ y  # (rank, K)
    # Off the axes nothing is fitted; the mean takes a degree of freedom, too.
    off = np.sum(y**2) - np.sum(along**2)
    penalties = _PENALTIES * values.sum() / len(values)
    shrunk = values[:, None] / (values[:, None] + penalties)  # (rank, penalties)
    missed = off + np.sum((1 - shrunk) ** 2 * np.sum(along**2, 1)[:, None], axis=0)
    left_over = np.maximum(n - 1 - shrunk.sum(axis=0), _ROUNDING)
    best = int(np.argmin(missed / left_over**2))
    right = x.T @ left / np.sqrt(values)  # (F, rank)
    solved = np.sqrt(values) / (values + penalties[best])
    weights = right @ (solved[:, None] * along)
    return Readout(center, scale, weights, offset, float(_PENALTIES[best]))

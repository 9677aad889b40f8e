"""A number with its interval, and the chance that it is none: what all rooms here share."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

__all__ = ["Estimate", "clopper_pearson", "holm", "two_sided"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    estimate: float
    low: float
    high: float


def two_sided(estimate: float, variance: float, freedom: float) -> float:
    """Returns p of Student's t."""
    if variance == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * special.stdtr(freedom, -abs(estimate) / math.sqrt(variance)))


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

"""A number with its interval, and the chance that it is none: what all rooms here share."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

__all__ = [
    "Estimate",
    "clopper_pearson",
    "deviation",
    "half_width",
    "holm",
    "mean",
    "median",
    "normal",
    "student",
    "two_sided",
]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    estimate: float
    low: float
    high: float

    def turned(self, higher_is_better: bool) -> "Estimate":
        """Returns a score in the metric's own units."""
        if higher_is_better:
            return self
        return Estimate(-self.estimate, -self.high, -self.low)


def student(freedom: Any, alpha: float) -> Any:
    """Returns how many standard errors Student's interval reaches to either side.

    Args:
        freedom: Degrees of freedom, a number or an array.
        alpha: The interval has level 1 - alpha.
    """
    return special.stdtrit(freedom, 1 - alpha / 2)


def normal(alpha: float) -> Any:
    """Returns the same of an error whose size is known."""
    return special.ndtri(1 - alpha / 2)


def mean(scores: np.ndarray, alpha: float) -> Estimate:
    """Returns a mean with Student's interval, endless where one score is all there is.

    Args:
        scores: (S,) one a seed.
        alpha: The interval has level 1 - alpha.
    """
    estimate = float(np.mean(scores))
    if len(scores) < 2:
        return Estimate(estimate, -math.inf, math.inf)
    half = half_width(scores, alpha)
    return Estimate(estimate, estimate - half, estimate + half)


def median(values: np.ndarray, alpha: float) -> Estimate:
    """Returns a median with its exact interval, whatever the values' distribution.

    The interval reaches from one of the ordered values to another: the k-th smallest
    lies above the median of the distribution only where fewer than k of n values lie
    below it, and that is a matter of n coins (Conover 1999, Practical Nonparametric
    Statistics, section 3.2). Where there are so few values that even the least and the
    largest do not reach the level, it is endless.

    Args:
        values: (N,) at least one, drawn independently; infinite ones are allowed, and
            no NaN. Ties make the interval hold more often, not less.
        alpha: The interval has level 1 - alpha, or more.

    Examples:
        >>> median(np.array([3.0, 1.0, 2.0, 5.0, 4.0, np.inf]), 0.05)
        Estimate(estimate=3.5, low=1.0, high=inf)
        >>> median(np.array([3.0, 1.0, 2.0]), 0.05)
        Estimate(estimate=2.0, low=-inf, high=inf)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    # Between minus and plus infinity there is no middle: the lower of the two counts.
    low, high = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    middle = low if low == high or math.isinf(low) else (low + high) / 2
    below = special.bdtr(np.arange(n // 2 + 1), n, 0.5)
    # As many values may be left out at either end.
    left_out = int(np.searchsorted(below, alpha / 2, side="right"))
    if left_out == 0:
        return Estimate(middle, -math.inf, math.inf)
    return Estimate(middle, float(ordered[left_out - 1]), float(ordered[n - left_out]))


def half_width(scores: np.ndarray, alpha: float) -> float:
    """Returns half the width of Student's interval of a mean.

    Args:
        scores: (S,) at least two.
        alpha: The interval has level 1 - alpha.
    """
    quantile = float(student(len(scores) - 1, alpha))
    return quantile * float(np.std(scores, ddof=1)) / math.sqrt(len(scores))


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


def deviation(values: np.ndarray, alpha: float) -> Estimate:
    """Returns a standard deviation with the interval of normal values (chi squared).

    Args:
        values: (N,); of one there is no deviation, and the interval is endless.
        alpha: The interval has level 1 - alpha, split evenly between both sides.

    Examples:
        >>> found = deviation(np.array([1.0, 2.0, 3.0]), 0.05)
        >>> found.estimate, round(found.low, 3), round(found.high, 3)
        (1.0, 0.521, 6.285)
    """
    freedom = len(values) - 1
    if freedom < 1:
        return Estimate(0.0, 0.0, math.inf)
    spread = float(np.std(values, ddof=1))
    # chdtri takes what lies above a quantile.
    low, high = (
        spread * math.sqrt(freedom / float(special.chdtri(freedom, share)))
        for share in (alpha / 2, 1 - alpha / 2)
    )
    return Estimate(spread, low, high)

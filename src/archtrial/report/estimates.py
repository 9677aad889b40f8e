"""Estimates as a verdict's document has them: whether they are known, where they end.

An estimate is a mapping with "estimate", "low" and "high", each of which may be missing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.words.numbers import Metric

__all__ = [
    "all_ends",
    "ends_of",
    "estimate_of",
    "interval_of",
    "measured",
    "reach",
    "spread",
]


def measured(found: Mapping[str, Any] | None, *keys: str) -> bool:
    """Returns whether there is an estimate, here or in any of the entries below.

    Args:
        found: An estimate, a mapping of estimates, or None.
        keys: The entries below that count; all of them without.
    """
    if found is None:
        return False
    if "estimate" in found:
        estimate = found["estimate"]
        return estimate is not None and math.isfinite(estimate)
    return any(measured(found.get(key)) for key in keys or found)


def estimate_of(found: Mapping[str, Any] | None) -> float:
    """Returns an estimate, or NaN for want of it."""
    return float(found["estimate"]) if found and measured(found) else math.nan


def interval_of(found: Mapping[str, Any]) -> list[float] | None:
    """Returns both ends of an interval, or None where one is missing."""
    ends = [found.get("low"), found.get("high")]
    if any(end is None or not math.isfinite(end) for end in ends):
        return None
    return [float(end) for end in ends if end is not None]


def ends_of(found: Mapping[str, Any]) -> list[float]:
    """Returns an estimate, and both ends of its interval where there are any."""
    return [float(found["estimate"]), *(interval_of(found) or ())]


def all_ends(founds: Sequence[Mapping[str, Any] | None]) -> list[float]:
    """Returns the estimates that are known, with the ends of their intervals."""
    return [
        end for found in founds if found and measured(found) for end in ends_of(found)
    ]


def reach(
    founds: Sequence[Mapping[str, Any] | None], points: Sequence[float], metric: Metric
) -> tuple[float, float]:
    """Returns the scores between which a figure draws.

    One run whose score is out of all proportion, as a metric without a bound allows,
    would press all others into one line: it is marked at the edge instead.
    """
    shown = np.array([*all_ends(founds), *points])
    if len(shown) == 0:
        return 0.0, 1.0
    if metric.bounded:
        return float(shown.min()), float(shown.max())
    estimates = np.array([float(f["estimate"]) for f in founds if f and measured(f)])
    low, middle, high = np.quantile(estimates, [0.25, 0.5, 0.75])
    fence = 10 * (high - low) or 10 * abs(middle) or math.inf
    inside = shown[(shown >= low - fence) & (shown <= high + fence)]
    return float(inside.min()), float(inside.max())


def spread(count: int, first: Sequence[int], most: int) -> list[int]:
    """Returns so many of the indices 0, ..., count - 1 at most, ascending.

    Args:
        count: How many there are.
        first: Those that are taken first; both ends follow, and then, again and again,
            the one that lies farthest from all that were taken.
        most: How many are taken.
    """
    if count <= most:
        return list(range(count))
    taken = list(dict.fromkeys([*first, 0, count - 1]))
    while len(taken) < most:
        taken.append(max(range(count), key=lambda i: min(abs(i - j) for j in taken)))
    return sorted(taken[:most])

"""How numbers are written, the same on the page and in the terminal.

A number has the digits that its interval supports. Scores between 0 and 1 are
written as percentages, and differences between them as points; all others stay
in their own units.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

__all__ = [
    "Metric",
    "count",
    "difference",
    "differences",
    "duration",
    "estimated",
    "flops",
    "gained",
    "label",
    "money",
    "p_value",
    "probability",
    "rate",
    "roughly",
    "score",
    "scores",
    "shares",
    "size",
    "tick",
    "value",
]

_LABELS = {
    "auroc": "AUROC",
    "macro_f1": "macro F1",
    "mae": "mean absolute error",
    "r2": "R²",
    "rmse": "root mean squared error",
}
_MINUS = "\u2212"
_UNKNOWN = "not known"
# A smaller p is told as smaller: its own digits say nothing more.
_LEAST = 1e-9


class Metric(Protocol):
    """What writing a score needs to know of its metric."""

    @property
    def name(self) -> str:
        """The metric's name in a protocol, such as "balanced_accuracy"."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is the better one."""

    @property
    def bounded(self) -> bool:
        """Whether scores lie between 0 and 1, so that there are points of them."""


def label(metric: Metric) -> str:
    """Returns the metric's name in plain words ("balanced accuracy")."""
    return _LABELS.get(metric.name, metric.name.replace("_", " "))


def score(
    number: float | None,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a score.

    Args:
        number: The score in the metric's own units (accuracy .834); None or a
            number that is not finite is written as "not known".
        metric: Its metric.
        within: The score's interval, which decides the number of digits.

    Returns:
        Such as "83.4%" for accuracy, "0.127" for another metric.
    """
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    if metric.bounded:
        return _fixed(100 * number, _decimals(100, number, within)) + "%"
    return _fixed(number, _decimals(1, number, within))


def scores(low: float | None, high: float | None, metric: Metric) -> str:
    """Writes an interval of scores: "81.2 to 85.6%"."""
    if low is None or high is None:
        return _UNKNOWN
    lower = score(low, metric, (low, high)).removesuffix("%")
    return f"{lower} to {score(high, metric, (low, high))}"


def difference(
    number: float | None,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a difference of scores, with its sign.

    The arguments are those of `score`.

    Returns:
        Such as "+24.1 points" for accuracy, "+0.031" for another metric.
    """
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    factor, unit = (100, " points") if metric.bounded else (1, "")
    written = _fixed(factor * number, _decimals(factor, number, within))
    return (written if written.startswith(_MINUS) else f"+{written}") + unit


def differences(low: float | None, high: float | None, metric: Metric) -> str:
    """Writes an interval of differences: "+20.3 to +27.9 points"."""
    if low is None or high is None:
        return _UNKNOWN
    lower = difference(low, metric, (low, high)).removesuffix(" points")
    return f"{lower} to {difference(high, metric, (low, high))}"


def estimated(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a score with its interval: "63.3% (60.1 to 66.0%)"; "" for None."""
    if found is None or found["estimate"] is None:
        return ""
    within = (found["low"], found["high"])
    written = score(found["estimate"], metric, within)
    return written if None in within else f"{written} ({scores(*within, metric)})"


def gained(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a difference with its interval: "+24.1 (+20.3 to +27.9 points)"."""
    if found is None or found["estimate"] is None:
        return ""
    within = (found["low"], found["high"])
    written = difference(found["estimate"], metric, within)
    if None in within:
        return written
    return f"{written.removesuffix(' points')} ({differences(*within, metric)})"


def size(number: float, metric: Metric) -> str:
    """Writes a declared or estimated size, which has no sign: "0.5 points"."""
    if not metric.bounded:
        return f"{number:.3g}"
    written = f"{100 * number:.3g}"
    return f"{written} point" if written == "1" else f"{written} points"


def p_value(p: float | None) -> str:
    """Writes a p-value in plain words first: "about 3 times in 100 (p = .03)"."""
    if p is None or not math.isfinite(p):
        return "not computed"
    if p < _LEAST:
        return f"less than once in 1,000,000,000 {_bracket('.000000001', '<')}"
    if p >= 0.995:
        return f"practically always {_bracket(f'{p:.2f}')}"
    if p >= 0.01:
        times = round(100 * p)
        often = "about once in 100" if times == 1 else f"about {times} times in 100"
    else:
        often = f"about once in {_rounded(1 / p):,}"
    # Two significant digits; below .001 one, since permutations tell no more.
    size = math.floor(math.log10(p))
    digits = 2 if size >= -1 else 1 - size - (size < -3)
    return f"{often} {_bracket(f'{p:.{digits}f}')}"


def probability(number: float | None) -> str:
    """Writes a chance in per cent; never as certain when it is not."""
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    return f"{_percent(number)}%"


def shares(found: Mapping[str, Any]) -> str:
    """Writes a share with its interval: "31% (22 to 40%)"."""
    estimate, low, high = (found[end] for end in ("estimate", "low", "high"))
    if low is None or high is None:
        return f"{_percent(estimate)}%"
    # An end may be rounded, but no interval is written as 0 to 0 or 100 to 100.
    lower = _percent(low) if low > 0.99 else f"{100 * low:.0f}"
    upper = _percent(high) if high < 0.01 else f"{100 * high:.0f}"
    return f"{_percent(estimate)}% ({lower} to {upper}%)"


def rate(number: float) -> str:
    """Writes how often something happens, with two digits: "0.41%", "2.1%"."""
    if 0 < number < 0.995:
        # Through Decimal: a number below a millionth has no exponent.
        return f"{Decimal(f'{100 * number:.2g}'):f}%"
    return f"{_percent(number)}%"


def money(number: float) -> str:
    """Writes an amount in a currency that is not named: "0.40", "1,250"."""
    return f"{number:,.2f}" if number < 100 else f"{number:,.0f}"


def flops(number: float) -> str:
    """Writes a number of floating-point operations: "62.8 GFLOP"."""
    for power, prefix in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M")):
        # From 999.5 on, three digits round up to the next prefix.
        if number >= 0.9995 * 10**power:
            return f"{_three(number / 10**power)} {prefix}FLOP"
    return f"{number:,.0f} FLOP"


def duration(seconds: float) -> str:
    """Writes a time in its two largest units: "2 min 10 s", "3 d 4 h"."""
    if seconds < 1:
        return "under a second"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        whole, left = divmod(left, size)
        if whole or parts:
            parts.append((whole, unit))
    return " ".join(f"{whole} {unit}" for whole, unit in parts[:2] if whole)


def roughly(seconds: float) -> str:
    """Writes a time that is only guessed at, in one unit: "14 minutes", "1.6 hours"."""
    units = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((u for u in units if seconds >= 1.5 * u[0]), units[-1])
    amount = f"{seconds / size:.{0 if seconds >= 9.95 * size else 1}f}"
    return f"{amount.removesuffix('.0')} {unit}s"


def count(number: int, one: str, many: str | None = None) -> str:
    """Writes a number of things: "1 trial", "8 trials", "1,024 trials"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def tick(number: float, metric: Metric, *, signed: bool = False) -> str:
    """Writes a number beside an axis: "60%", or a difference's "+5" points."""
    if not metric.bounded:
        return _minus(f"{number:.4g}")
    shown = round(100 * number, 6) + 0.0
    if signed:
        return _minus(f"{shown:+g}") if shown else "0"
    return _minus(f"{shown:g}") + "%"


def value(number: object) -> str:
    """Writes a hyperparameter's value, reals with three significant digits."""
    if isinstance(number, bool):
        return "true" if number else "false"
    if isinstance(number, float):
        return f"{number:.3g}".replace("e-0", "e-").replace("e+0", "e+")
    return str(number)


def _percent(number: float) -> str:
    if 0.99 < number < 1:
        return "over 99"
    if 0 < number < 0.01:
        return "under 1"
    return f"{100 * number:.0f}"


def _decimals(
    factor: int, number: float, within: tuple[float | None, float | None] | None
) -> int:
    # Two significant digits of the interval's half-width: one digit more would
    # be noise, one digit fewer would hide its end. Shares never need more than
    # a hundredth of a point.
    most = 2 if factor == 100 else 6
    low, high = within or (None, None)
    if low is not None and high is not None and math.isfinite(high - low):
        half = factor * abs(high - low) / 2
        if half > 0:
            return min(max(1 - math.floor(math.log10(half)), 0), most)
    if factor == 100:
        return 1
    size = abs(number)
    return min(max(2 - math.floor(math.log10(size)), 0), most) if size > 0 else 2


def _fixed(number: float, decimals: int) -> str:
    written = f"{number:,.{decimals}f}"
    # "-0.0" is a zero that rounding made.
    return (
        written.removeprefix("-")
        if float(f"{number:.{decimals}f}") == 0
        else _minus(written)
    )


def _bracket(p: str, sign: str = "=") -> str:
    # No line breaks within it.
    return f"(p\u00a0{sign}\u00a0{p.removeprefix('0')})"


def _minus(written: str) -> str:
    return written.replace("-", _MINUS)


def _three(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def _rounded(number: float) -> int:
    size = math.floor(math.log10(number))
    return int(round(number, -size))

"""How numbers are written, the same on the page, in the terminal and in the JSON.

A number has the digits that its interval supports, and on one page all have the same
(`Rounded`). Scores between 0 and 1 are written as percentages, and differences between
them as points; all others stay in their own units. No zero stands before the point:
".5 points".

Of a difference there are six forms, each a function of its own, so that nobody takes
a unit or a sign off a text: `bare` (24.1), `signed` (+24.1), `difference` (+24.1
points), `amount` (24.1 points), `named` (24.1 points of accuracy) and, of what was declared, `size` (.5 points).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = [
    "LOSS",
    "MINUS",
    "PERCENT",
    "Metric",
    "Rounded",
    "Scored",
    "amount",
    "axis_unit",
    "bare",
    "count",
    "difference",
    "differences",
    "duration",
    "estimate",
    "estimated",
    "estimated_bare",
    "flops",
    "gained",
    "label",
    "level",
    "memory",
    "metric_of",
    "money",
    "multiple",
    "named",
    "p_bare",
    "p_value",
    "percent",
    "probability",
    "range_of",
    "rate",
    "roughly",
    "score",
    "scores",
    "seconds",
    "shares",
    "signed",
    "signed_estimate",
    "signed_range",
    "size",
    "sized",
    "tick",
    "times",
    "trials",
    "value",
]

_LABELS = {
    "auroc": "AUROC",
    "macro_f1": "macro F1",
    "mae": "mean absolute error",
    "r2": "R²",
    "rmse": "root mean squared error",
}
MINUS = "\u2212"
PERCENT = "\u00a0%"
"""With the space before it, at which no line breaks."""
_UNKNOWN = "not known"
_NO_TIME = "under a second"
# A smaller p is told as smaller: its own digits say nothing more.
_LEAST = 1e-9
# Ratios and numbers of trials above it are all the same to a reader: out of reach.
_MOST = 10_000


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


@dataclasses.dataclass(frozen=True)
class Scored:
    """What a verdict's document says of its metric."""

    name: str
    higher_is_better: bool
    bounded: bool


LOSS = Scored("loss", False, False)
"""How numbers that are no scores are written: in their own units."""


def metric_of(document: Mapping[str, Any]) -> Metric:
    """Returns the metric of an experiment's document."""
    found = document["metric"]
    return Scored(found["name"], found["higher_is_better"], found["bounded"])


@dataclasses.dataclass(frozen=True)
class Rounded:
    """A metric whose scores and differences all have the same number of decimals.

    An interval that is narrower than one such step keeps its own digits: as "62 to 62"
    it would say nothing.

    Args:
        metric: The metric itself.
        decimals: How many, of percentages where its scores are fractions.
    """

    metric: Metric
    decimals: int

    @classmethod
    def by(
        cls, metric: Metric, within: tuple[float | None, float | None]
    ) -> "Metric | Rounded":
        """Returns the metric with the digits that one interval of its scores supports."""
        low, high = within
        if low is None or high is None or not 0 < high - low < math.inf:
            return metric
        return cls(metric, _decimals(high - low, metric, within))

    @property
    def name(self) -> str:
        """The metric's name in a protocol."""
        return self.metric.name

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is the better one."""
        return self.metric.higher_is_better

    @property
    def bounded(self) -> bool:
        """Whether scores lie between 0 and 1, so that there are points of them."""
        return self.metric.bounded


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
        Such as "83.4 %" for accuracy, ".127" for another metric.
    """
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    return bare(number, metric, within) + (PERCENT if metric.bounded else "")


def scores(low: float | None, high: float | None, metric: Metric) -> str:
    """Writes an interval of scores: "81.2 to 85.6 %"."""
    if low is None or high is None:
        return _UNKNOWN
    within = (low, high)
    return f"{bare(low, metric, within)} to {score(high, metric, within)}"


def estimated(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a score with its interval: "63.3 % (60.1 to 66.0 %)"; "" for None."""
    if found is None or found["estimate"] is None:
        return ""
    within = (found["low"], found["high"])
    written = score(found["estimate"], metric, within)
    return written if None in within else f"{written} ({scores(*within, metric)})"


def estimate(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a score with the digits of its interval, which is not shown."""
    if found is None or found["estimate"] is None:
        return ""
    return score(found["estimate"], metric, (found["low"], found["high"]))


def estimated_bare(found: Mapping[str, Any], metric: Metric) -> str:
    """Writes a score with its interval, the unit once: "63.3 % (60.1 to 66.0)"."""
    within = (found["low"], found["high"])
    written = score(found["estimate"], metric, within)
    if None in within:
        return written
    low, high = (bare(end, metric, within) for end in within)
    return f"{written} ({low} to {high})"


def bare(
    number: float,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a score or a difference without unit: "24.1", with a minus where it is one.

    The arguments are those of `score`.
    """
    return _fixed(_factor(metric) * number, _decimals(number, metric, within))


def range_of(low: float, high: float, metric: Metric) -> str:
    """Writes an interval of differences without signs or unit: "21 to 37"."""
    return f"{bare(low, metric, (low, high))} to {bare(high, metric, (low, high))}"


def signed(
    number: float | None,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a difference with its sign and without unit: "+24.1"."""
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    written = bare(number, metric, within)
    unsigned = written == "0" or written.startswith(MINUS)
    return written if unsigned else f"+{written}"


def signed_range(low: float | None, high: float | None, metric: Metric) -> str:
    """Writes an interval of differences without unit: "+20.3 to +27.9"."""
    if low is None or high is None:
        return _UNKNOWN
    return f"{signed(low, metric, (low, high))} to {signed(high, metric, (low, high))}"


def signed_estimate(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a difference and its interval without unit: "+24.1 (+20.3 to +27.9)".

    It is "" for None, as it is of `gained`.
    """
    if found is None or found["estimate"] is None:
        return ""
    within = (found["low"], found["high"])
    written = signed(found["estimate"], metric, within)
    return written if None in within else f"{written} ({signed_range(*within, metric)})"


def difference(
    number: float | None,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a difference of scores, with its sign.

    The arguments are those of `score`.

    Returns:
        Such as "+24.1 points" for accuracy, "+.031" for another metric.
    """
    return _in_points(signed(number, metric, within), metric)


def differences(low: float | None, high: float | None, metric: Metric) -> str:
    """Writes an interval of differences: "+20.3 to +27.9 points"."""
    return _in_points(signed_range(low, high, metric), metric)


def gained(found: Mapping[str, Any] | None, metric: Metric) -> str:
    """Writes a difference with its interval: "+24.1 (+20.3 to +27.9 points)"."""
    if found is None or found["estimate"] is None:
        return ""
    within = (found["low"], found["high"])
    if None in within:
        return difference(found["estimate"], metric, within)
    written = signed(found["estimate"], metric, within)
    return f"{written} ({differences(*within, metric)})"


def amount(
    number: float,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
    *,
    unit: str = "point",
) -> str:
    """Writes how large a difference is, whichever its sign: "24.1 points".

    Args:
        number: The difference.
        metric: Its metric.
        within: Its interval.
        unit: What a hundredth is called, such as "percentage point".
    """
    written = bare(abs(number), metric, within)
    if not metric.bounded:
        return written
    return f"{written} {unit}" if written == "1" else f"{written} {unit}s"


def named(
    number: float,
    metric: Metric,
    within: tuple[float | None, float | None] | None = None,
) -> str:
    """Writes a difference with what it is one of: "24.1 points of accuracy"."""
    written = bare(number, metric, within)
    if not metric.bounded:
        return f"{written} in {label(metric)}"
    unit = "point" if written == "1" else "points"
    return f"{written} {unit} of {label(metric)}"


def sized(number: float, metric: Metric) -> str:
    """Writes a declared or estimated size without its unit, in up to three digits: ".5"."""
    return _significant(_factor(metric) * number, 3)


def size(number: float, metric: Metric) -> str:
    """Writes a declared or estimated size, which has no sign: ".5 points"."""
    written = sized(number, metric)
    if not metric.bounded:
        return written
    return f"{written} point" if written == "1" else f"{written} points"


def axis_unit(metric: Metric) -> str:
    """Returns what follows the name of a difference at an axis or above a column."""
    return ", points" if metric.bounded else ""


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


def p_bare(p: float | None) -> str:
    """Writes a p-value in a column of them: ".03", "under .001"; "" for None."""
    if p is None:
        return ""
    if p < 0.001:
        return "under .001"
    return f"{p:.2f}" if p >= 0.995 else f"{p:.2g}".removeprefix("0")


def percent(number: float, decimals: int = 0) -> str:
    """Writes a share that is no score, with at most so many decimals: "31 %".

    Never as nothing or all when it is not: "under 1 %", "over 99 %".
    """
    return _percent(number, decimals) + PERCENT


def level(alpha: float) -> str:
    """Writes the level of an interval: "95 %"; never as certain when it is not."""
    written = f"{100 * (1 - alpha):.4g}"
    if written == "100" and alpha > 0:
        written = f"{100 * (1 - alpha):.{1 - math.floor(math.log10(100 * alpha))}f}"
    return written + PERCENT


def probability(number: float | None) -> str:
    """Writes a chance in per cent; never as certain when it is not."""
    if number is None or not math.isfinite(number):
        return _UNKNOWN
    return percent(number)


def shares(found: Mapping[str, Any]) -> str:
    """Writes a share with its interval: "31 % (22 to 40 %)"."""
    estimate, low, high = (found[end] for end in ("estimate", "low", "high"))
    if low is None or high is None:
        return percent(estimate)
    # An end may be rounded, but no interval is written as 0 to 0 or 100 to 100.
    lower = _percent(low) if low > 0.99 else _fixed(100 * low, 0)
    upper = _percent(high) if high < 0.01 else _fixed(100 * high, 0)
    return f"{percent(estimate)} ({lower} to {upper}{PERCENT})"


def rate(number: float) -> str:
    """Writes how often something happens, with two digits: ".41 %", "2.1 %"."""
    if 0 < number < 0.995:
        return _significant(100 * number, 2) + PERCENT
    return percent(number)


def trials(number: int) -> str:
    """Writes a number of trials as a reader uses it: "64", "1,200", "more than 10,000".

    Above 1,000 with two digits.
    """
    if number > _MOST:
        return f"more than {_MOST:,}"
    return f"{number:,}" if number <= 1_000 else _significant(number, 2)


def times(ratio: float) -> str:
    """Writes a length of training beside another: "4\u00d7"."""
    return f"{_significant(ratio, 3)}\u00d7"


def multiple(ratio: float) -> str:
    """Writes a ratio of efforts: "2.2 times", "23 % of", "as much as".

    What it is a ratio to stands behind it: "2.2 times the compute of cnn".
    """
    if ratio > _MOST:
        return f"more than {_MOST:,} times"
    if ratio >= 0.995:
        times = _significant(ratio, 2)
        return "as much as" if times == "1" else f"{times} times"
    return f"{percent(ratio)} of" if ratio >= 0.01 else f"less than 1{PERCENT} of"


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


def memory(number: float) -> str:
    """Writes an amount of memory in bytes: "412 B", "1.21 MB", of 1,000 kB."""
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 0.9995 * 10**power:
            return f"{_three(number / 10**power)} {prefix}B"
    return f"{number:,.0f} B"


def seconds(number: float) -> str:
    """Writes a measured time, in three digits up to a minute: "3.21 ms", "12.4 s"."""
    if number >= 59.95:
        return duration(number)
    for power, prefix in ((0, ""), (-3, "m"), (-6, "\u00b5")):
        if number >= 0.9995 * 10**power:
            return f"{_three(number / 10**power)} {prefix}s"
    return f"{number * 1e9:,.0f} ns"


def duration(seconds: float) -> str:
    """Writes a time in its two largest units: "2 min 10 s", "3 d 4 h"."""
    if seconds < 1:
        return _NO_TIME
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        whole, left = divmod(left, size)
        if whole or parts:
            parts.append((whole, unit))
    return " ".join(f"{whole} {unit}" for whole, unit in parts[:2] if whole)


def roughly(seconds: float) -> str:
    """Writes a time that is only guessed at, in one unit: "14 minutes", "1.6 hours"."""
    if seconds < 1:
        return _NO_TIME
    units = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((u for u in units if seconds >= 1.5 * u[0]), units[-1])
    amount = f"{seconds / size:.{0 if seconds >= 9.95 * size else 1}f}"
    return f"{amount.removesuffix('.0')} {unit}s"


def count(number: int, one: str, many: str | None = None) -> str:
    """Writes a number of things: "1 trial", "8 trials", "1,024 trials"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def tick(number: float, metric: Metric, *, signed: bool = False) -> str:
    """Writes a number beside an axis: "60 %", or a difference's "+5" points."""
    if not metric.bounded:
        return _minus(_without_zero(f"{number:.4g}", number))
    shown = round(100 * number, 6) + 0.0
    written = _minus(_without_zero(f"{shown:g}", shown))
    if signed:
        return f"+{written}" if shown > 0 else written
    return written + PERCENT


def value(number: object) -> str:
    """Writes a hyperparameter's value, reals with three significant digits."""
    if isinstance(number, bool):
        return "true" if number else "false"
    if isinstance(number, float):
        written = f"{number:.3g}".replace("e-0", "e-").replace("e+0", "e+")
        return _without_zero(written, number)
    return str(number)


def _factor(metric: Metric) -> int:
    return 100 if metric.bounded else 1


def _in_points(written: str, metric: Metric) -> str:
    if not metric.bounded or written == _UNKNOWN:
        return written
    return f"{written} {'point' if written[1:] == '1' else 'points'}"


def _decimals(
    number: float, metric: Metric, within: tuple[float | None, float | None] | None
) -> int:
    # Rounding moves no end of an interval by more than a fifth of its half-width: one
    # digit more would be noise, one digit fewer would hide its end. Shares never need
    # more than a hundredth of a point.
    factor = _factor(metric)
    most = 2 if factor == 100 else 6
    common = metric.decimals if isinstance(metric, Rounded) else None
    low, high = within or (None, None)
    if low is not None and high is not None and math.isfinite(high - low):
        half = factor * abs(high - low) / 2
        if half > 0 and (common is None or half < 10.0**-common):
            return min(max(math.ceil(math.log10(2.5 / half) - 1e-9), 0), most)
    if common is not None:
        return common
    if factor == 100:
        return 1
    size = abs(number)
    return min(max(2 - math.floor(math.log10(size)), 0), most) if size > 0 else 2


def _fixed(number: float, decimals: int) -> str:
    written = f"{number:,.{decimals}f}"
    # "-0.0" is a zero that rounding made, and has no sign.
    if float(f"{number:.{decimals}f}") == 0:
        return "0"
    return _minus(_without_zero(written, number))


def _without_zero(written: str, number: float) -> str:
    """Takes off the zero before the point of a number below 1."""
    if abs(number) >= 1:
        return written
    whole = written.lstrip("-").startswith("0.")
    return written.replace("0.", ".", 1) if whole else written


def _percent(number: float, decimals: int = 0) -> str:
    step = 10.0**-decimals
    if 0 < number < step / 100:
        return f"under {_shortest(step, decimals)}"
    if 1 - step / 100 < number < 1:
        return f"over {_shortest(100 - step, decimals)}"
    return _shortest(100 * number, decimals)


def _shortest(number: float, decimals: int) -> str:
    """Writes a number with at most so many decimals, and none that are only zeros."""
    written = _fixed(number, decimals)
    return written.rstrip("0").rstrip(".") if "." in written else written


def _significant(number: float, digits: int) -> str:
    """Writes a number with so many significant digits, and none that are only zeros."""
    if number == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    rounded = round(number, decimals)
    written = f"{rounded:,.{max(decimals, 0)}f}"
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    return _minus(_without_zero(written, rounded))


def _bracket(p: str, sign: str = "=") -> str:
    # No line breaks within it.
    return f"(p\u00a0{sign}\u00a0{p.removeprefix('0')})"


def _minus(written: str) -> str:
    return written.replace("-", MINUS)


def _three(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def _rounded(number: float) -> int:
    size = math.floor(math.log10(number))
    return int(round(number, -size))

"""Axes of scores: their ticks, their grid and what is written above them."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from archtrial.report.drawing import LIGHT, SIZE
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import fitted

__all__ = [
    "above",
    "framed",
    "gain_axis",
    "grid",
    "over_labels",
    "score_axis",
    "score_ticks",
    "scored",
    "seed_points",
    "value_ticks",
]


def score_axis(axes: Axes, metric: Metric, which: str = "") -> None:
    """Makes the y axis one of scores, with the metric's name above it."""
    score_ticks(axes.yaxis, metric, 6)
    grid(axes)
    above(axes, scored(which, metric), 8, muted=True)


def grid(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """Draws the grid of one axis, below all else."""
    axes.grid(axis=which, color=LIGHT["line"], lw=1)
    axes.set_axisbelow(True)


def framed(axes: Axes, limits: tuple[float, float]) -> None:
    """Leaves some room above and below what is drawn, and draws the grid."""
    low, high = limits
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.01
    axes.set_ylim(low - pad, high + pad)
    grid(axes)


def gain_axis(
    axes: Axes, metric: Metric, margin: float, most: int, which: Literal["x", "y"] = "x"
) -> None:
    """Makes an axis one of differences, with 0 and the margin.

    Args:
        axes: Whose axis it is.
        metric: Of the scores.
        margin: The smallest gap worth having.
        most: So many ticks at most.
        which: The axis.
    """
    band, line, axis = (
        (axes.axvspan, axes.axvline, axes.xaxis)
        if which == "x"
        else (axes.axhspan, axes.axhline, axes.yaxis)
    )
    band(-margin, margin, color=LIGHT["muted"], alpha=0.16, lw=0, zorder=0)
    line(0, color=LIGHT["muted"], lw=1, zorder=1)
    score_ticks(axis, metric, most, signed=True)


def score_ticks(axis: Axis, metric: Metric, most: int, *, signed: bool = False) -> None:
    """Puts at most so many ticks on an axis of scores, or of their differences."""
    axis.set_major_locator(ticker.MaxNLocator(most, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda at, _: numbers.tick(at, metric, signed=signed))


def scored(which: str, metric: Metric) -> str:
    """Returns what an axis of scores is called: "test accuracy"."""
    text = f"{which} {numbers.label(metric)}".strip()
    return text if metric.higher_is_better else f"{text} (lower is better)"


def above(axes: Axes, text: str, offset: float, muted: bool = False) -> None:
    """Writes text above axes, where it is read without turning the head."""
    axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, offset),
        textcoords="offset points",
        color=LIGHT["muted" if muted else "ink"],
        size=SIZE - muted,
    )


def over_labels(axes: Axes, text: str) -> None:
    """Writes what the labels beside the lines are, above them."""
    axes.annotate(
        text,
        (1, 1),
        xycoords="axes fraction",
        xytext=(8, 8),
        textcoords="offset points",
        color=LIGHT["muted"],
        size=SIZE - 1,
        annotation_clip=False,
    )


def seed_points(
    axes: Axes,
    x: float,
    scores: Sequence[float],
    color: str,
    limits: tuple[float, float],
) -> None:
    """Draws every seed's score; one beyond the figure becomes an arrow at its edge."""
    low, high = limits
    for marker, chosen in (
        ("o", [s for s in scores if low <= s <= high]),
        ("v", [low for s in scores if s < low]),
        ("^", [high for s in scores if s > high]),
    ):
        if chosen:
            axes.scatter(
                [x] * len(chosen),
                chosen,
                s=14 if marker == "o" else 40,
                marker=marker,
                color=color,
                alpha=0.4 if marker == "o" else 0.9,
                lw=0,
                zorder=2,
            )


def value_ticks(axes: Axes, rates: Sequence[float]) -> None:
    """Labels the rates that were tried, as many as fit without touching."""
    written = fitted([numbers.value(float(rate)) for rate in rates], 8)
    texts = list(written.values())
    room = axes.get_window_extent().width
    span = math.log(rates[-1] / rates[0]) or 1.0
    shown, last = [], -math.inf
    for rate, text in zip(rates, texts, strict=True):
        x = room * math.log(rate / rates[0]) / span
        half = 4 * len(text)
        if x - half > last:
            last = x + half + 4
            shown.append(text)
        else:
            shown.append("")
    axes.set_xticks(list(rates), shown)

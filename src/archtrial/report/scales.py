"""Axes of scores: their ticks, their grid and what is written above them."""

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from archtrial.report.drawing import LIGHT, SIZE
from archtrial.words import numbers
from archtrial.words.numbers import Metric

__all__ = ["above", "score_axis", "score_ticks", "scored"]


def score_axis(axes: Axes, metric: Metric, which: str = "") -> None:
    """Makes the y axis one of scores, with the metric's name above it."""
    score_ticks(axes.yaxis, metric, 6)
    axes.grid(axis="y", color=LIGHT["line"], lw=1)
    axes.set_axisbelow(True)
    above(axes, scored(which, metric), 8, muted=True)


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

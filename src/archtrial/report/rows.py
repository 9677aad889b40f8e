"""Rows of points and intervals over one axis, with their names and numbers beside."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.report.drawing import LIGHT, SIZE, STYLE, WIDE, axes_at, blank
from archtrial.report.scales import gain_axis, grid
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import columns_of, shortened

__all__ = [
    "LINE",
    "Row",
    "draw_forest",
    "draw_gains",
    "draw_in_margins",
    "draw_rows",
    "estimated",
]

LINE = 15
"""The height of a line of words above an interval."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A name, a number in words, and where they lie: points, estimate, interval."""

    left: str
    right: str
    color: str
    points: np.ndarray
    estimate: float
    interval: tuple[float, float] | None
    filled: bool = True
    """A row of a forest whose estimate is not clear of what it is set against is
    hollow."""


def estimated(
    left: str,
    right: str,
    color: str,
    found: Mapping[str, Any],
    filled: bool = True,
) -> Row:
    """Returns the row of an estimate as a verdict has it, without points of its own."""
    ends = (found["low"], found["high"])
    interval = None if None in ends else ends
    return Row(left, right, color, np.array([]), found["estimate"], interval, filled)


def draw_rows(
    message: str,
    rows: Sequence[Row],
    width: int,
    height: int,
    include: tuple[float, ...] = (),
) -> tuple[Figure, Axes]:
    """Draws rows of points and intervals over one axis of scores."""
    margin = 18
    inner = width - 2 * margin
    # Where both do not fit on one line, as on a phone, the number has a line of its
    # own: without its interval it would claim too much.
    longest = max(columns_of(row.left) + columns_of(row.right) for row in rows)
    line = 0 if 0.58 * SIZE * (longest + 2) <= inner else LINE
    height += line
    figure, top = blank(message, width, height * len(rows) + 46)
    axes = axes_at(figure, margin, top + 4, inner, height * len(rows))
    shown = [*include, *(row.estimate for row in rows)]
    for row in rows:
        shown += [*row.points, *(row.interval or ())]
    low, high = min(shown), max(shown)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(height * len(rows), 0)  # pixels, from the top down
    per_pixel = (high - low + 2 * pad) / inner
    for i, row in enumerate(rows):
        head = height * i + 15
        # No grid line runs through the words.
        paper = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1}
        style: dict[str, Any] = {"va": "baseline", "bbox": paper}
        axes.text(low - pad, head, row.left, color=row.color, weight="bold", **style)
        at, align = (low - pad, "left") if line else (high + pad, "right")
        axes.text(at, head + line, row.right, ha=align, **style)
        middle = head + line + 12 + (height - line - 40) / 2
        if len(row.points):
            offsets, diameter = _swarm(
                row.points / per_pixel, 7.0, (height - line - 46) / 2
            )
            axes.scatter(
                row.points,
                middle - 5 + offsets,
                s=diameter**2,
                color=row.color,
                alpha=0.75 if len(row.points) < 100 else 0.45,
                lw=0,
                zorder=3,
            )
        under = height * (i + 1) - 14 if len(row.points) else middle
        if row.interval is not None:
            axes.plot(row.interval, [under, under], color=row.color, lw=2.4, zorder=4)
        axes.plot(
            [row.estimate],
            [under],
            "|" if len(row.points) else "o",
            ms=10 if len(row.points) else 7,
            mew=2.4 if len(row.points) else 1 if row.filled else 1.8,
            color=row.color if row.filled else LIGHT["paper"],
            markeredgecolor=(
                LIGHT["paper"] if row.filled and not len(row.points) else row.color
            ),
            zorder=5,
        )
    axes.set_yticks([])
    grid(axes, "x")
    return figure, axes


def draw_forest(
    message: str,
    rows: Sequence[Row],
    width: int,
    include: tuple[float, ...] = (),
    leading: bool = False,
) -> tuple[Figure, Axes]:
    """Draws many estimates under each other.

    Wide, a row is one line: name, interval, number. A phone has no room for three
    columns, so there name and number stand above the interval.

    Args:
        message: The title.
        rows: Without points.
        width: The figure's width.
        include: What the axis must reach.
        leading: Whether the first row is what the others are set against, in bold.
    """
    if width < WIDE:
        short = [dataclasses.replace(row, left=shortened(row.left, 38)) for row in rows]
        return draw_rows(message, short, width, height=46, include=include)
    written = max(columns_of(row.right) for row in rows)
    left = min(300.0, 24 + 0.58 * SIZE * max(columns_of(row.left) for row in rows))
    right = 16 + 0.56 * SIZE * written
    figure, top = blank(message, width, _PITCH * len(rows) + 50)
    inner = width - left - right
    axes = axes_at(figure, left, top + 4, inner, _PITCH * len(rows))
    shown = [*include, *(row.estimate for row in rows)]
    for row in rows:
        shown += row.interval or ()
    low, high = min(shown), max(shown)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(_PITCH * len(rows), 0)  # pixels, from the top down
    for i, row in enumerate(rows):
        middle = _PITCH * (i + 0.5)
        style: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "textcoords": "offset points",
            "va": "center",
            "weight": "bold" if leading and i == 0 else "normal",
            "annotation_clip": False,
        }
        name = shortened(row.left, int(left / (0.58 * SIZE)))
        axes.annotate(name, (0, middle), (6 - left, 0), color=row.color, **style)
        axes.annotate(row.right, (1, middle), (right - 6, 0), ha="right", **style)
        if row.interval is not None:
            axes.plot(row.interval, [middle, middle], color=row.color, lw=2.4, zorder=4)
        axes.plot(
            [row.estimate],
            [middle],
            "o",
            ms=7,
            mew=1 if row.filled else 1.8,
            color=row.color if row.filled else LIGHT["paper"],
            markeredgecolor=LIGHT["paper"] if row.filled else row.color,
            zorder=5,
        )
    axes.set_yticks([])
    grid(axes, "x")
    return figure, axes


_PITCH = 27


def draw_gains(
    message: str,
    gains: Mapping[str, Mapping[str, Any]],
    metric: Metric,
    margin: float,
    width: int,
    label: str,
) -> Figure:
    """Draws differences with their intervals, against 0 and the margin.

    Args:
        message: The title.
        gains: By name, "estimate", "low" and "high"; a filled point is clear of 0.
        metric: Of the scores.
        margin: The smallest gap worth having.
        width: The figure's width.
        label: What the differences are, below their axis.
    """
    color = LIGHT["challenger-1"]
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_forest(
            message,
            [
                estimated(
                    name,
                    numbers.signed_estimate(found, metric),
                    color,
                    found,
                    filled=not found["low"] <= 0 <= found["high"],
                )
                for name, found in gains.items()
            ],
            width,
            include=(0.0,),
        )
        gain_axis(axes, metric, margin, 6 if width >= WIDE else 4)
        axes.set_xlabel(label + numbers.axis_unit(metric))
    return figure


def draw_in_margins(
    message: str,
    gains: Mapping[str, tuple[Mapping[str, Any], float, str]],
    width: int,
) -> Figure:
    """Draws gains of different metrics over one axis, in multiples of their margins.

    Args:
        message: The title.
        gains: By name: "estimate", "low" and "high", more being better; the margin;
            and what is written beside it, in the metric's own units.
        width: The figure's width.
    """
    with matplotlib.rc_context(STYLE):
        rows = []
        for name, (found, margin, written) in gains.items():
            scaled = {end: value / margin for end, value in found.items()}
            clear = not found["low"] <= 0 <= found["high"]
            color = LIGHT["challenger-1"]
            rows.append(estimated(name, written, color, scaled, filled=clear))
        figure, axes = draw_forest(message, rows, width, include=(-1.0, 1.0))
        axes.axvspan(-1, 1, color=LIGHT["muted"], alpha=0.16, lw=0, zorder=0)
        axes.axvline(0, color=LIGHT["muted"], lw=1, zorder=1)
        axes.xaxis.set_major_formatter(
            lambda at, _: f"{at:+g}".replace("-", numbers.MINUS) if at else "0"
        )
        axes.set_xlabel("gain of the challenger, in margins")
    return figure


def _swarm(x: np.ndarray, diameter: float, room: float) -> tuple[np.ndarray, float]:
    """Returns offsets that keep points apart, and the diameter that this needs.

    Args:
        x: (S,) positions in pixels.
        diameter: Of a point, in pixels, where there is room.
        room: The largest offset to either side.
    """
    if len(x) > 100:
        diameter = 4.0
    column = np.round(x / diameter).astype(int)
    offsets = np.zeros(len(x))
    for place in np.unique(column):
        members = np.flatnonzero(column == place)
        # 0, 1, -1, 2, -2: each column grows from its middle to both sides.
        rank = np.arange(len(members))
        steps = (rank + 1) // 2 * np.where(rank % 2, 1, -1) * diameter
        highest = np.abs(steps).max()
        offsets[members] = steps * min(1.0, room / highest if highest else 1.0)
    return offsets, diameter

"""Rows of points and intervals over one axis, with their names and numbers beside."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.report.drawing import LIGHT, axes_at, blank

__all__ = ["Row", "draw_rows"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One arm in a figure of rows: names above, points and interval below."""

    left: str
    right: str
    color: str
    points: np.ndarray
    estimate: float
    interval: tuple[float, float] | None


def draw_rows(
    message: str,
    rows: Sequence[Row],
    width: int,
    height: int,
    include: tuple[float, ...] = (),
) -> tuple[Figure, Axes]:
    """Draws rows of points and intervals over one axis of scores."""
    figure, top = blank(message, width, height * len(rows) + 46)
    margin = 18
    inner = width - 2 * margin
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
        axes.text(high + pad, head, row.right, ha="right", **style)
        middle = head + 12 + (height - 40) / 2
        if len(row.points):
            offsets, diameter = _swarm(row.points / per_pixel, 7.0, (height - 46) / 2)
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
            mew=2.4 if len(row.points) else 1,
            color=row.color,
            markeredgecolor=row.color if len(row.points) else LIGHT["paper"],
            zorder=5,
        )
    axes.set_yticks([])
    axes.grid(axis="x", color=LIGHT["line"], lw=1)
    axes.set_axisbelow(True)
    return figure, axes


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

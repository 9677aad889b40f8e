"""Lines of estimates, one for each architecture, over an axis that may be logarithmic."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.report.drawing import (
    LIGHT,
    STYLE,
    WIDE,
    canvas,
    colors,
    label_ends,
    room_for,
)
from archtrial.report.scales import above, framed

__all__ = ["Line", "Scale", "draw_lines", "shades"]


@dataclasses.dataclass(frozen=True)
class Line:
    """Estimates at several places."""

    x: Sequence[float]
    found: Sequence[Mapping[str, Any] | None]
    """"estimate", "low" and "high" at each place; None leaves a gap."""
    fitted: tuple[np.ndarray, np.ndarray] | None = None
    """Places and values of a curve in place of straight lines between estimates."""
    dashed: bool = False
    """Whether it is the lesser one of two of an architecture; it has no name."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """An axis."""

    label: str
    log: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    """Places and what is written there; None: round ones, written by `written`."""
    written: Callable[[float], str] = "{:g}".format

    def place(self, value: float) -> float:
        """Returns where a value lies; of a logarithmic axis what is not above 0 nowhere."""
        if not self.log:
            return value
        return math.log10(value) if value > 0 else math.nan


def shades(names: Sequence[str]) -> dict[str, str]:
    """Returns each architecture's colour; none of several is the baseline."""
    roles = [role for role in LIGHT if role.startswith("challenger")]
    if len(names) <= len(roles):
        return {n: LIGHT[role] for n, role in zip(names, roles, strict=False)}
    return colors(names[0], names[1:])


def draw_lines(
    message: str,
    lines: Sequence[tuple[str, Line]],
    x: Scale,
    y: Scale,
    width: int,
    include: Sequence[float] = (),
) -> Figure:
    """Draws lines with their intervals and names.

    Args:
        message: The title.
        lines: By the architecture's name, which several may share.
        x: The axis below.
        y: The axis beside; its label stands above it.
        width: The figure's width.
        include: What the y axis must reach.
    """
    names = list(dict.fromkeys(name for name, _ in lines))
    color = shades(names)
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            message, width, body=320 if width >= WIDE else 290, left=58,
            right=room_for(names), bottom=46,
        )  # fmt: skip
        ends, reached = [], [y.place(value) for value in include]
        for name, line in lines:
            places = [x.place(at) for at in line.x]
            known = [
                (at, f)
                for at, f in zip(places, line.found, strict=True)
                if f is not None and f["estimate"] is not None
                and math.isfinite(y.place(f["estimate"]))
            ]  # fmt: skip
            if not known:
                continue
            at = [p for p, _ in known]
            middle = [y.place(f["estimate"]) for _, f in known]
            reached += middle
            style: dict[str, Any] = {"color": color[name], "zorder": 3}
            axes.plot(
                at, middle, marker="o", ms=4.5, lw=1.8 if line.fitted is None else 0,
                ls=(0, (4, 2)) if line.dashed else "-",
                alpha=0.65 if line.dashed else 1, **style,
            )  # fmt: skip
            for place, f in known:
                end = [y.place(f[e]) for e in ("low", "high") if f[e] is not None]
                finite = [e for e in end if math.isfinite(e)]
                if len(finite) == 2:
                    axes.plot([place] * 2, finite, lw=1.3, alpha=0.8, **style)
                    reached += finite
            if line.fitted is not None:
                along, value = line.fitted
                axes.plot(
                    [x.place(float(v)) for v in along],
                    [y.place(float(v)) for v in value], lw=1.6, **style,
                )  # fmt: skip
            if not line.dashed:
                ends.append((at[-1], middle[-1], name, color[name]))
        _x_axis(axes, x, sorted({at for _, line in lines for at in line.x}))
        framed(axes, (min(reached), max(reached)))
        _y_axis(axes, y)
        label_ends(axes, ends)
    return figure


def _x_axis(axes: Axes, scale: Scale, values: Sequence[float]) -> None:
    low, high = scale.place(values[0]), scale.place(values[-1])
    pad = 0.04 * (high - low) or 0.5
    axes.set_xlim(low - pad, high + pad)
    ticks = scale.ticks or [(v, scale.written(v)) for v in values]
    axes.set_xticks([scale.place(v) for v, _ in ticks], [t for _, t in ticks])
    axes.set_xlabel(scale.label)


def _y_axis(axes: Axes, scale: Scale) -> None:
    above(axes, scale.label, 8, muted=True)
    if not scale.log:
        axes.yaxis.set_major_formatter(lambda value, _: scale.written(value))
        return
    low, high = axes.get_ylim()
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps: Sequence[float] = (1, 2, 5) if high - low < 2.5 else (1,)
    if high - low < 0.6:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    every = -(-(math.ceil(high) - math.floor(low)) // 7)
    ticks = [
        (math.log10(step * 10.0**decade), scale.written(step * 10.0**decade))
        for decade, step in itertools.product(decades[::every], steps)
    ]
    axes.set_yticks(
        [at for at, _ in ticks if low <= at <= high],
        [text for at, text in ticks if low <= at <= high],
    )

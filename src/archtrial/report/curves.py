"""Lines over the steps of a training: scores, or whatever else is measured on the way."""

import dataclasses
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from archtrial.report.drawing import LIGHT, STYLE, WIDE, canvas, label_ends, room_for
from archtrial.report.scales import score_axis
from archtrial.words.numbers import Metric

__all__ = ["Line", "draw_lines"]


@dataclasses.dataclass(frozen=True)
class Line:
    """What one arm was worth after some steps."""

    name: str
    """At its end; "" for a line that stands beside another of its colour, dashed."""
    color: str
    steps: Sequence[float]
    values: Sequence[float]
    band: Sequence[float] | None = None
    """Half the height of a band around the line."""


def draw_lines(
    message: str,
    lines: Sequence[Line],
    width: int,
    *,
    scores: Metric | None = None,
    label: str = "",
    marks: Sequence[float] = (),
) -> Figure:
    """Draws lines over steps, each with its name at its end.

    Args:
        message: The title.
        lines: In the order in which they are drawn; those without points are left out.
        width: Of the figure.
        scores: Whose validation scores they are; None for something else.
        label: Of the axis, where they are no scores; it has a line at 0 then.
        marks: Steps to be marked, by a dotted line each.
    """
    drawn = [line for line in lines if len(line.steps)]
    names = [line.name for line in drawn if line.name]
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            message, width, body=340 if width >= WIDE else 300,
            left=62 if scores is None else 52, right=room_for(names), bottom=46,
        )  # fmt: skip
        for line in drawn:
            style, weight = ("-", 1.6) if line.name else ("--", 1.1)
            axes.plot(line.steps, line.values, style, color=line.color, lw=weight)
            if line.band is not None:
                pairs = list(zip(line.values, line.band, strict=True))
                axes.fill_between(
                    line.steps, [v - b for v, b in pairs], [v + b for v, b in pairs],
                    color=line.color, alpha=0.12, lw=0,
                )  # fmt: skip
        for step in marks:
            axes.axvline(step, color=LIGHT["muted"], lw=1, ls=":")
        axes.set_xlabel("steps")
        if scores is None:
            axes.axhline(0, color=LIGHT["muted"], lw=1)
            axes.set_ylabel(label)
        else:
            score_axis(axes, scores, "validation")
        label_ends(
            axes,
            [
                (own.steps[-1], own.values[-1], own.name, own.color)
                for own in drawn
                if own.name
            ],
        )
    return figure

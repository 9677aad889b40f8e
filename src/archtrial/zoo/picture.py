"""The family tree as a picture: a row for each family, a line from whom it took from."""

from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.report.drawing import LIGHT, SIZE, STYLE, WIDE, axes_at, blank
from archtrial.zoo.registry import Family, Lineage, families

__all__ = ["draw", "ordered"]

_ROW = 21
_LEFT, _RIGHT, _YEARS = 18, 128, 30
# The lines from one family share a colour, which tells them from their neighbours'.
_COLORS = ("challenger-1", "challenger-2", "challenger-3", "challenger-5", "baseline")


def ordered(known: Mapping[str, Family] | None = None) -> list[tuple[str, Lineage]]:
    """Returns the families, each below the one that it mainly took from.

    That is the first of the zoo's that its lineage names.

    Args:
        known: Families by name; the zoo's, where none are given.
    """
    known = families() if known is None else known
    told = {n: f.lineage for n, f in known.items() if f.lineage is not None}
    children: dict[str | None, list[str]] = {}
    for name in sorted(told, key=lambda n: (told[n].year, n)):
        parents = [whom for whom in told[name].took if whom in told]
        children.setdefault(parents[0] if parents else None, []).append(name)
    rows: list[tuple[str, Lineage]] = []
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        name = waiting.pop()
        rows.append((name, told[name]))
        waiting += reversed(children.get(name, []))
    return rows


def draw(width: int = WIDE) -> Figure:
    """Draws the tree; years in which nothing came stand for no room.

    Args:
        width: Of the figure, in pixels.
    """
    rows = ordered()
    years = sorted({lineage.year for _, lineage in rows})
    at = {name: (years.index(line.year), row) for row, (name, line) in enumerate(rows)}
    body = _ROW * len(rows)
    with matplotlib.rc_context(STYLE):
        title = "The families of the zoo by year: a line leads to who took from whom"
        figure, top = blank(title, width, body + _YEARS + 12)
        axes = axes_at(figure, _LEFT, top + _YEARS, width - _LEFT - _RIGHT, body)
        axes.set_xlim(-0.5, len(years) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for name, lineage in rows:
            parents = [whom for whom in lineage.took if whom in at]
            for place, whom in enumerate(parents):
                color = LIGHT[_COLORS[at[whom][1] % len(_COLORS)]]
                _line(axes, at[whom], at[name], color, main=place == 0)
        for name, (x, y) in at.items():
            axes.plot([x], [y], "o", ms=6, color=LIGHT["ink"], zorder=4)
            style: dict[str, Any] = {
                "xytext": (8, 0),
                "textcoords": "offset points",
                "va": "center",
            }
            box: dict[str, Any] = {
                "facecolor": LIGHT["paper"],
                "edgecolor": "none",
                "pad": 0.5,
            }
            axes.annotate(name, (x, y), size=SIZE - 1, bbox=box, zorder=5, **style)
        axes.xaxis.tick_top()
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks(range(len(years)), map(str, years))
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([])
        for x in range(len(years)):
            axes.axvline(x, color=LIGHT["line"], lw=0.8, zorder=0)
    return figure


def _line(
    axes: Axes, start: tuple[int, int], end: tuple[int, int], color: str, *, main: bool
) -> None:
    """Draws a line down from a family, then across to who took from it."""
    (x, y), (u, v) = start, end
    axes.plot(
        [x, x, u],
        [y, v, v],
        color=color,
        lw=1.6 if main else 0.9,
        ls="-" if main else (0, (1, 2)),
        zorder=3 if main else 2,
    )

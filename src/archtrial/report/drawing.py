"""How figures are drawn and written: sizes, colours, text, SVG.

All lengths are in CSS pixels at a figure's natural size, which are Matplotlib's
points.
"""

import contextlib
import html
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.errors import ProtocolError, RecordsError
from archtrial.files import write
from archtrial.words.phrases import columns_of, joined

__all__ = [
    "DARK",
    "LIGHT",
    "NARROW",
    "SIZE",
    "STYLE",
    "WIDE",
    "axes_at",
    "blank",
    "canvas",
    "chosen_figure",
    "colors",
    "label_ends",
    "panels",
    "room_for",
    "save",
    "to_svg",
]

WIDE, NARROW = 720, 340
"""Widths of a figure: for a page's column, and for a phone's."""

# A role's colour in light and in dark mode. Figures are drawn in the light ones,
# which must therefore differ from each other. As text they have a contrast of at
# least 4.5 on the paper; orange against blue, green, purple and grey stays apart
# under each kind of colour blindness (both are tested).
LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#5b6570",
    "line": "#e2e6ea",
    "baseline": "#b9560b",
    "challenger-1": "#0a5fb4",
    "challenger-2": "#0d7a6b",
    "challenger-3": "#8b37a6",
    "challenger-4": "#3b4656",
    "challenger-5": "#1f7396",
}
DARK = {
    "paper": "#15181c",
    "ink": "#e9ecef",
    "muted": "#a3acb6",
    "line": "#333a42",
    "baseline": "#f59e4c",
    "challenger-1": "#6db3ff",
    "challenger-2": "#3fc9ae",
    "challenger-3": "#d39bf0",
    "challenger-4": "#c6ced8",
    "challenger-5": "#8fd6f2",
}

SIZE = 13.0
_LINE = 18.0
STYLE: dict[Any, Any] = {
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "font.size": SIZE,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 72,
    "svg.fonttype": "none",
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a user's "$" is a dollar
    "xtick.color": LIGHT["muted"],
    "xtick.labelsize": SIZE - 1,
    "xtick.major.size": 4,
    "ytick.color": LIGHT["muted"],
    "ytick.labelsize": SIZE - 1,
    "ytick.major.size": 0,
}


def colors(baseline: str, challengers: Sequence[str]) -> dict[str, str]:
    """Returns each arm's colour, the baseline first; what every figure takes.

    A sixth challenger and those after it share the colours of the first ones.
    """
    roles = [role for role in LIGHT if role.startswith("challenger")]
    return {baseline: LIGHT["baseline"]} | {
        arm: LIGHT[roles[i % len(roles)]] for i, arm in enumerate(challengers)
    }


def _title_height(lines: int) -> int:
    return 14 + 20 * lines


def blank(message: str, width: int, body: float) -> tuple[Figure, float]:
    """Returns a figure with its title, and the height that the title takes."""
    lines = _wrapped(message, int((width - 12) / 8.6))
    top = _title_height(len(lines))
    figure = Figure(figsize=(width / 72, (top + body) / 72), dpi=72)
    figure.set_label(message)
    figure.text(
        6 / width,
        1 - 4 / (top + body),
        "\n".join(lines),
        va="top",
        size=SIZE + 1,
        weight="bold",
        linespacing=1.2,
    )
    return figure, top


def axes_at(
    figure: Figure, left: float, top: float, width: float, height: float
) -> Axes:
    """Returns new axes at a place counted from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches() * 72
    return figure.add_axes(
        (
            left / whole_width,
            1 - (top + height) / whole_height,
            width / whole_width,
            height / whole_height,
        ),
        facecolor="none",
    )


def canvas(
    message: str, width: int, body: float, left: float, right: float, bottom: float
) -> tuple[Figure, Axes]:
    """Returns a figure with one pair of axes and room for labels on three sides."""
    figure, top = blank(message, width, body)
    inner = body - bottom - 24
    return figure, axes_at(figure, left, top + 24, width - left - right, inner)


def panels(
    message: str,
    width: int,
    heights: Sequence[int],
    right: float,
    head: int = 26,
    shared: bool = False,
    left: float = 52,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with panels below each other.

    Args:
        message: The title.
        width: The figure's width.
        heights: Of each panel's axes.
        right: Room for labels beside the axes.
        head: Room above the first panel.
        shared: Whether the panels have one axis at the bottom in common; else each
            has its own, and as much room above as the first.
        left: Room for what is written beside the axes.
    """
    foot = 46
    between = 32 if shared else foot + head
    whole = head + sum(heights) + between * (len(heights) - 1) + foot
    figure, top = blank(message, width, whole)
    several, at = [], top + head
    for height in heights:
        several.append(axes_at(figure, left, at, width - left - right, height))
        at += height + between
    return figure, several


def label_ends(
    axes: Axes,
    ends: Sequence[tuple[float, float, str, str]],
    *,
    leading: bool = False,
) -> None:
    """Writes names beside the right ends of lines, apart from each other.

    Args:
        axes: With the limits that they will keep.
        ends: Of each line: x, y, its name and its colour.
        leading: Whether a thin line leads from each end to its name.
    """
    low, high = axes.get_ylim()
    per_pixel = (high - low) / axes.get_window_extent().height
    placed: list[float] = []
    for _, y, _, _ in sorted(ends, key=lambda end: end[1]):
        lowest = placed[-1] + _LINE * per_pixel if placed else -math.inf
        placed.append(max(y, lowest))
    # A stack that grew out of the top is pushed down as a whole.
    excess = max(0.0, placed[-1] - high) if placed else 0.0
    for y, (x, end, name, color) in zip(
        placed, sorted(ends, key=lambda end: end[1]), strict=True
    ):
        leader = None
        if leading:
            leader = {"arrowstyle": "-", "color": color, "lw": 0.8, "alpha": 0.7}
            leader |= {"relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4}
        axes.annotate(
            name,
            (x, end if leading else y - excess),
            xytext=(22, (y - excess - end) / per_pixel) if leading else (10, 0),
            textcoords="offset points",
            va="center",
            color=color,
            weight="bold",
            arrowprops=leader,
            annotation_clip=False,
        )


def room_for(names: Iterable[str]) -> float:
    """Returns the width that labels beside a line need."""
    return 20 + 0.68 * SIZE * max(map(columns_of, names))


def _wrapped(text: str, columns: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and columns_of(f"{lines[-1]} {word}") > columns:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def chosen_figure(
    name: str,
    names: Sequence[str],
    drawable: Mapping[str, Callable[[int], Figure]],
    obstacle: str,
) -> Callable[[int], Figure]:
    """Returns the function that draws one figure from a width.

    Args:
        name: Which one.
        names: Those that there are.
        drawable: Those that can be drawn from what is known.
        obstacle: Why others cannot, in a few words, or "".

    Raises:
        ProtocolError: There is no such figure.
        RecordsError: What is known does not suffice for it.
    """
    if name not in names:
        raise ProtocolError(
            "a figure has one of the names that figures have",
            repr(name),
            f"They are {joined(names)}.",
        )
    if name not in drawable:
        raise RecordsError(
            f"the figure {name} needs records that are not there",
            obstacle,
            f"These can be drawn: {joined(list(drawable))}."
            if drawable
            else "None can be drawn from these records.",
        )
    return drawable[name]


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as SVG or PNG, in light colours and with its title.

    Args:
        figure: One of this module's figures.
        path: Where to; its ending decides the format.

    Raises:
        ProtocolError: The ending is neither `.svg` nor `.png`.
    """
    path = Path(path)
    if path.suffix == ".svg":
        write(path, _drawn(figure, titled=True))
    elif path.suffix == ".png":
        with matplotlib.rc_context(STYLE), _any_glyph():
            drawn = BytesIO()
            figure.savefig(
                drawn, format="png", dpi=144, facecolor=LIGHT["paper"], metadata={}
            )
        write(path, drawn.getvalue())
    else:
        raise ProtocolError(
            "a figure is saved as svg or png",
            path.name,
            "Let the file's name end in .svg or .png.",
        )


def to_svg(figure: Figure, *, titled: bool = False) -> str:
    """Returns a figure as an SVG element for a page.

    Its colours are `var(--ROLE, LIGHT[ROLE])`, its words are text in the page's
    font (`var(--figure-font)`), and its message is its accessible name. The same
    figure gives the same bytes.

    Args:
        figure: One of this module's figures.
        titled: Whether the message is also drawn; a page writes it itself.
    """
    return re.sub(r"<[^<>]+>", _themed, _drawn(figure, titled))


def _themed(tag: re.Match[str]) -> str:
    # Only inside tags: a user may well call an arm "#ffffff".
    themed = tag[0]
    if not themed.startswith("<svg"):
        for role, color in LIGHT.items():
            themed = themed.replace(color, f"var(--{role}, {color})")
        themed = themed.replace("sans-serif", "var(--figure-font, sans-serif)")
    return themed


def _drawn(figure: Figure, titled: bool) -> str:
    message = str(figure.get_label())
    (title,) = figure.texts
    width, height = (round(side * 72) for side in figure.get_size_inches())
    top = 0 if titled else _title_height(title.get_text().count("\n") + 1)
    # Ids are hashes; the salt keeps figures of one page apart.
    style = STYLE | {"svg.hashsalt": f"{message} {width} {height}"}
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    written = StringIO()
    title.set_visible(titled)
    try:
        with matplotlib.rc_context(style), _any_glyph():
            figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    finally:
        title.set_visible(True)
    svg = written.getvalue()
    # A page has one element of each name: Matplotlib's "axes_1" would be several.
    svg = re.sub(r' *<g id="[^"]*"/>\n', "", svg[svg.index("<svg") :])
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    # Matplotlib's own font is for measuring; it is wider than what readers have.
    svg = re.sub(r"(<text style=\"[^\"]*)'DejaVu Sans'[^\";]*", r"\1sans-serif", svg)
    svg = re.sub(r"<[^<>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    svg = re.sub(r'<use [^>]*( style="[^"]*")/>\s*(?:<use [^>]*\1/>\s*)+', _shared, svg)
    name = html.escape(message)
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink" role="img"'
        f' viewBox="0 {top} {width} {height - top}" width="{width}"'
        f' height="{height - top}" aria-label="{name}">\n <title>{name}</title>'
    )
    return opening + svg[svg.index(">") + 1 :]


def _shared(points: re.Match[str]) -> str:
    # A thousand points say their colour once: a page is half as long for it.
    return f"<g{points[1]}>{points[0].replace(points[1], '')}</g>"


@contextlib.contextmanager
def _any_glyph() -> Iterator[None]:
    # Matplotlib warns of characters that its own font lacks. In SVG it only
    # measures with that font, and the reader's fonts draw; in PNG they are boxes.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield

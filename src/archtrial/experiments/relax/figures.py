"""Figures of relaxing a convolutional prior, drawn from its verdict's document.

When is a CNN best turned into its fully connected equivalent, and what becomes of
it then? (d'Ascoli, Sagun, Biroli and Bruna 2019, "Finding the needle in the haystack
with convolutions".) Each figure takes the document and a width, says one thing, and
carries it as its title. What was not measured is left out.

The CNN has the baseline's colour everywhere, the network that came from it the first
challenger's, and the one from a random start is grey.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.experiments.relax.titles import (
    LEFT,
    arm_name,
    curvature_message,
    deviation_message,
    lead_message,
    left_by,
    names_of,
    parts_message,
    path_message,
    peak_message,
    rates_message,
    rises_of,
    share,
    tried,
)
from archtrial.report.drawing import (
    LIGHT,
    STYLE,
    WIDE,
    chosen_figure,
    label_ends,
    panels,
    room_for,
)
from archtrial.report.estimates import (
    all_ends,
    ends_of,
    estimate_of,
    interval_of,
    measured,
    reach,
    spread,
)
from archtrial.report.log_axes import AmountAxis, TimeAxis
from archtrial.report.scales import (
    above,
    framed,
    gain_axis,
    grid,
    over_labels,
    score_axis,
    score_ticks,
    scored,
    seed_points,
    value_ticks,
)
from archtrial.words import numbers
from archtrial.words.numbers import LOSS, Metric, Scored, metric_of
from archtrial.words.phrases import shortened

__all__ = [
    "NAMES",
    "chosen_times",
    "draw",
    "drawable",
]

NAMES = (
    "relax_times",
    "gains",
    "gains_over_fresh",
    "deviation",
    "parts",
    "path",
    "curvature",
    "learning_rates",
)
"""The figures, in a page's order; each is a function of this module."""

COLORS = {
    "relaxed": LIGHT["challenger-1"],
    "cnn": LIGHT["baseline"],
    "fresh": LIGHT["muted"],
}
PERCENTAGES = Scored("accuracy", True, True)
PATHS = 5
"""So many relax times at most have a line in the figure of paths."""


Document: TypeAlias = Mapping[str, Any]


def drawable(document: Document) -> dict[str, Callable[[int], Figure]]:
    """Returns those of `NAMES` that the document suffices for.

    Returns:
        A function from a width to the figure, for each name.
    """
    times = document["times"]

    def any_of(*names: str) -> bool:
        return any(measured(entry[name]) for entry in times for name in names)

    known = {
        "relax_times": any(measured(_scores(entry, document)) for entry in times),
        "gains": any_of("gain"),
        "gains_over_fresh": any_of("gain_over_fresh"),
        "deviation": any_of(*LEFT),
        "parts": left_by(document) == "deviation"
        and any(measured(entry["validation"], *_PARTS) for entry in times),
        "path": any(_has_path(entry) for entry in times),
        "curvature": any_of(*_SHARPNESS),
        "learning_rates": any(tried(arm) for arm in document["learning_rates"]),
    }
    functions: dict[str, Callable[[Document, int], Figure]] = {
        "relax_times": relax_times,
        "gains": lambda document, width: gains(document, "gain", "cnn", width),
        "gains_over_fresh": lambda document, width: gains(
            document, "gain_over_fresh", "fresh", width
        ),
        "deviation": deviation,
        "parts": parts,
        "path": path,
        "curvature": curvature,
        "learning_rates": learning_rates,
    }

    def bound(name: str) -> Callable[[int], Figure]:
        def styled(width: int) -> Figure:
            with matplotlib.rc_context(STYLE):
                return functions[name](document, width)

        return styled

    return {name: bound(name) for name in NAMES if known[name]}


def draw(name: str, document: Document, width: int = WIDE) -> Figure:
    """Draws one figure; see `drawing.chosen_figure` for what it raises.

    Args:
        name: One of `NAMES`.
        document: The verdict.
        width: The figure's width.
    """
    return chosen_figure(name, NAMES, drawable(document), "")(width)


# ------------------------------------------------------------- over the relax times


@dataclasses.dataclass(frozen=True)
class _Line:
    """What is known at each relax time of one network, or of one part of it."""

    label: str
    founds: Sequence[Mapping[str, Any] | None]
    color: str = COLORS["relaxed"]
    dashed: bool = False
    banded: bool = True
    points: Sequence[Sequence[float]] = ()
    """Every seed's score, by relax time."""
    nudge: int = 0
    """How far its points stand beside their relax time, in pixels."""


@dataclasses.dataclass(frozen=True)
class _Panel:
    lines: Sequence[_Line]
    height: int
    heading: str = ""
    ticks: int = 6
    amount: Callable[[float], str] | None = None
    """How an amount, from 0 on, is written at its axis; None where it is a score."""


def _over_times(
    message: str,
    document: Document,
    width: int,
    stack: Sequence[_Panel],
    below: int = 0,
    room: Sequence[str] = (),
) -> tuple[Figure, list[Axes]]:
    """Draws panels that have the relax times in common.

    Args:
        message: The title.
        document: The verdict.
        width: The figure's width.
        stack: From the top down.
        below: The height of one more panel, which has an axis of its own.
        room: Labels that it has beside its axes.

    Returns:
        The figure, and the axes of that panel, if any.
    """
    metric = metric_of(document)
    figure, several = panels(
        message,
        width,
        [*(panel.height for panel in stack), *([below] if below else [])],
        right=room_for(
            [*room, *(line.label for panel in stack for line in panel.lines)]
        ),
        head=48 if below else 26,
        shared=not below,
        left=_left(metric) if stack[0].amount is None else _left(PERCENTAGES),
    )
    for axes, panel in zip(several, stack, strict=False):
        over = _time_axis(axes, document)
        founds = [found for line in panel.lines for found in line.founds]
        ends = []
        if panel.amount is None:
            every = [s for line in panel.lines for own in line.points for s in own]
            limits = reach(founds, every, metric)
            for line in panel.lines:
                for entry, own in zip(document["times"], line.points, strict=False):
                    x = over.place(entry["relax_time"]) + line.nudge * over.per_pixel
                    seed_points(axes, x, own, line.color, limits)
                ends += over.line(
                    line.founds,
                    line.color,
                    line.label,
                    limits=limits,
                    dashed=line.dashed,
                    banded=line.banded,
                )
            framed(axes, limits)
            score_ticks(axes.yaxis, metric, panel.ticks)
        else:
            scale = AmountAxis.of(all_ends(founds))
            for line in panel.lines:
                placed = [scale.placed(one) for one in line.founds]
                ends += over.line(placed, line.color, line.label, dashed=line.dashed)
            scale.finish(axes, panel.amount)
        if panel.heading:
            above(axes, panel.heading, 8, muted=True)
        over.finish(_epochs(document, width), labelled=panel is stack[-1])
        label_ends(axes, ends)
    return figure, several[len(stack) :]


def relax_times(document: Document, width: int = WIDE) -> Figure:
    """Draws the test score by relax time: every seed, means and their intervals.

    Where points were published, they have a panel and axes of their own below: other
    sizes and other data make another experiment of it.
    """
    metric, names = metric_of(document), names_of(document, width)
    entries, published = document["times"], document["published"]
    lines = [
        _Line(
            names[arm],
            [_scores(entry, document)[arm] for entry in entries],
            COLORS[arm],
            dashed=arm == "fresh",
            points=[_points(entry, document).get(arm, ()) for entry in entries],
            nudge=nudge,
        )
        for arm, nudge in (("fresh", 0), ("cnn", -5), ("relaxed", 5))
    ]
    figure, others = _over_times(
        peak_message(document, metric),
        document,
        width,
        [_Panel(lines, 270, scored("test", metric))],
        below=0 if published is None else 150,
        room=["CNN"],
    )
    for lower in others:
        above(figure.axes[0], f"here: {shortened(str(document['data']), 24)}", 26)
        _published(lower, published, width)
    return figure


def gains(document: Document, which: str, other: str, width: int = WIDE) -> Figure:
    """Draws a gain by relax time, with simultaneous intervals.

    Args:
        document: The verdict.
        which: The entry with the gain: "gain" or "gain_over_fresh".
        other: Whom it is a gain over: "cnn" or "fresh".
        width: The figure's width.
    """
    metric, names = metric_of(document), names_of(document, width)
    margin, color = document["margin"], COLORS["relaxed"]
    figure, (axes,) = panels(
        lead_message(document, which, other), width, [200], right=20, left=_left(metric)
    )
    over = _time_axis(axes, document)
    shown = [0.0, margin, -margin]
    for entry in document["times"]:
        gain = entry[which]
        if not measured(gain):
            continue
        x, within = over.place(entry["relax_time"]), interval_of(gain)
        shown += ends_of(gain)
        clear = within is not None and not within[0] <= 0 <= within[1]
        if within is not None:
            axes.plot([x, x], within, color=color, lw=2.4, zorder=3)
        axes.plot(
            [x],
            [gain["estimate"]],
            "o",
            ms=8,
            mew=1.8,
            color=color if clear else LIGHT["paper"],
            markeredgecolor=color,
            zorder=5,
        )
    framed(axes, (min(shown), max(shown)))
    gain_axis(axes, metric, margin, 6, "y")
    unit = numbers.axis_unit(metric)
    above(axes, f"gain over {names[other]}{unit}", 8, muted=True)
    over.finish(_epochs(document, width))
    return figure


def deviation(document: Document, width: int = WIDE) -> Figure:
    """Draws what share of the weights' norm has left the convolutional subspace."""
    lines = [
        _Line(label, founds, dashed=kind == "untied")
        for kind, label in LEFT.items()
        if any(map(measured, founds := [entry[kind] for entry in document["times"]]))
    ]
    panel = _Panel(
        lines,
        210,
        "share of the norm of all weights",
        amount=lambda at: share(at, tick=True),
    )
    return _over_times(deviation_message(document), document, width, [panel])[0]


def parts(document: Document, width: int = WIDE) -> Figure:
    """Draws validation scores of the whole, of its parts alone, and of the average.

    The off-local part has a panel of its own: it is often so much worse that the
    others would lie on one line.
    """
    metric, names = metric_of(document), names_of(document, width)
    off_local = "off_local_alone"
    labels = {
        "relaxed": f"whole {names['relaxed']}" if width >= WIDE else "whole",
        "average_of_outputs": "average",
        "cnn": names["cnn"],
        "local_alone": "local alone",
        off_local: "off-local alone" if width >= WIDE else "off-local",
    }
    colors = {"average_of_outputs": LIGHT["ink"], "cnn": COLORS["cnn"]}
    lines = {
        part: _Line(
            label,
            founds,
            colors.get(part, COLORS["relaxed"]),
            dashed=part in ("local_alone", off_local),
            banded=part in ("relaxed", "cnn", off_local),
        )
        for part, label in labels.items()
        if any(
            map(
                measured,
                founds := [
                    (entry["validation"] or {}).get(part) for entry in document["times"]
                ],
            )
        )
    }
    together = [line for part, line in lines.items() if part != off_local]
    stack = [_Panel(together, 210, ticks=6 if len(together) > 1 else 3)]
    if off_local in lines:
        stack.append(_Panel([lines[off_local]], 70, ticks=3))
    stack = [panel for panel in stack if panel.lines]
    stack[0] = dataclasses.replace(stack[0], heading=scored("validation", metric))
    return _over_times(parts_message(document, metric), document, width, stack)[0]


def curvature(document: Document, width: int = WIDE) -> Figure:
    """Draws the largest eigenvalue of the Hessian, and the gradient's norm."""
    entries, short = document["times"], width < WIDE
    stack = [
        _Panel(
            [
                _Line(
                    when if short else f"at the {when}",
                    [(entry[what] or {}).get(when) for entry in entries],
                    COLORS["relaxed"] if when == "end" else LIGHT["muted"],
                    dashed=when == "start",
                )
                for when in ("start", "end")
            ],
            150,
            heading,
            amount=lambda at: numbers.tick(at, LOSS),
        )
        for what, heading in _SHARPNESS.items()
        if any(measured(entry[what]) for entry in entries)
    ]
    return _over_times(curvature_message(document), document, width, stack)[0]


# ------------------------------------------------------------------ over other things


def path(document: Document, width: int = WIDE) -> Figure:
    """Draws loss and score on the straight line from the CNN to what came from it."""
    metric, names = metric_of(document), names_of(document, width)
    drawn = chosen_times(document)
    entries = [entry for entry in document["times"] if entry["relax_time"] in drawn]
    units = {
        "loss": (LOSS, "training loss"),
        "score": (metric, scored("validation", metric)),
    }
    known = [
        panel
        for panel in units
        if any(measured(one) for entry in entries for one in entry["path"][panel])
    ]
    figure, several = panels(
        path_message(document),
        width,
        [150] * len(known),
        right=max(room_for(f"{time:,}" for time in drawn), 100),
        shared=True,
        left=_left(metric),
    )
    for axes, panel in zip(several, known, strict=True):
        unit, heading = units[panel]
        every = [one for entry in entries for one in entry["path"][panel]]
        limits = reach(
            [{"estimate": one and one["estimate"]} for one in every], [], unit
        )
        ends = []
        for i, entry in enumerate(entries):
            alpha, color = _strength(i, len(entries)), COLORS["relaxed"]
            x = np.array(entry["path"]["position"], dtype=float)
            y = np.clip([estimate_of(one) for one in entry["path"][panel]], *limits)
            axes.plot(x, y, color=color, lw=2.2, alpha=alpha, zorder=3)
            finite = np.flatnonzero(np.isfinite(y))
            if len(finite):
                first, last = finite[[0, -1]]
                label = f"{entry['relax_time']:,}"
                ends.append((float(x[last]), float(y[last]), label, color))
                for at, role in ((first, "cnn"), (last, "relaxed")):
                    axes.plot(x[at], y[at], "o", ms=5, color=COLORS[role], zorder=4)
        framed(axes, limits)
        axes.set_xlim(-0.03, 1.03)
        score_ticks(axes.yaxis, unit, 5)
        above(axes, heading, 8, muted=True)
        if axes is several[0]:
            over_labels(axes, "relaxed after")
        texts = [names["cnn"], "half way", names["relaxed"]]
        axes.set_xticks([0, 0.5, 1], texts if axes is several[-1] else [""] * 3)
        for tick, role in zip(axes.get_xticklabels(), _WAY, strict=True):
            tick.set_color(COLORS.get(role, LIGHT["muted"]))
            tick.set_fontweight("bold" if role in COLORS else "normal")
        label_ends(axes, ends, leading=True)
    return figure


def learning_rates(document: Document, width: int = WIDE) -> Figure:
    """Draws validation scores over the learning rates that each arm was given."""
    metric = metric_of(document)
    arms = [
        arm
        for arm in document["learning_rates"]
        if tried(arm) and arm["role"] != "kept"  # these are for the table
    ]
    relaxed = [arm for arm in arms if arm["role"] == "relaxed"]
    # Of many lines that lie close, the first and the last say which way they go.
    named = relaxed if len(relaxed) < 4 else [relaxed[0], relaxed[-1]]
    labels = {
        arm["arm"]: arm_name(document, arm, 22 if width >= WIDE else 13)
        for arm in arms
        if arm in named or arm["relax_time"] is None
    }
    figure, (axes,) = panels(
        rates_message(document),
        width,
        [230],
        right=room_for(labels.values()),
        left=_left(metric),
    )
    limits = reach(
        [{"estimate": score} for arm in arms for _, score in tried(arm)], [], metric
    )
    ends = []
    for arm in arms:
        rates, scores = zip(*tried(arm), strict=True)
        y, color, of_relaxed = (
            np.clip(scores, *limits),
            COLORS[arm["role"]],
            arm in relaxed,
        )
        alpha = _strength(relaxed.index(arm), len(relaxed)) if of_relaxed else 1.0
        style: dict[str, Any] = {"alpha": alpha, "zorder": 3 if of_relaxed else 4}
        axes.plot(rates, y, "o-", color=color, lw=1.8, ms=4, **style)
        for rate, score in zip(rates, y, strict=True):
            if rate == arm["chosen"]:
                large: dict[str, Any] = {"ms": 10, "markeredgecolor": LIGHT["paper"]}
                axes.plot([rate], [score], "o", color=color, zorder=5, **large)
        if arm["arm"] in labels:
            ends.append((rates[-1], float(y[-1]), labels[arm["arm"]], color))
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    value_ticks(axes, sorted({rate for arm in arms for rate, _ in tried(arm)}))
    axes.set_xlabel("learning rate")
    framed(axes, limits)
    score_axis(axes, metric, "validation")
    label_ends(axes, ends, leading=True)
    return figure


# ------------------------------------------------- from the document to what is drawn

_ARMS = ("relaxed", "cnn", "fresh")
_PARTS = ("relaxed", "cnn", "local_alone", "off_local_alone", "average_of_outputs")
_WAY = ("cnn", "", "relaxed")
_SHARPNESS = {
    "curvature": "largest eigenvalue of the Hessian",
    "gradient_norm": "norm of the gradient",
}


def chosen_times(document: Document) -> list[int]:
    """Returns the relax times whose paths are drawn: all, or `PATHS` of them.

    The one with the largest gain is among them, the one with the highest rise of the
    loss, both ends, and what lies farthest between.
    """
    known = [e["relax_time"] for e in document["times"] if _has_path(e)]
    rises = rises_of(document)
    telling = [document["best_time"], max(rises)[-1] if rises else None]
    first = [known.index(time) for time in telling if time in known]
    return [known[i] for i in spread(len(known), first, PATHS)]


def _scores(
    entry: Mapping[str, Any], document: Document
) -> dict[str, Mapping[str, Any] | None]:
    """Returns the scores of all three arms in the declared reading."""
    found = (entry["scores"] or {}).get(document["reading"]) or {}
    return {arm: found.get(arm) for arm in _ARMS}


def _points(entry: Mapping[str, Any], document: Document) -> dict[str, list[float]]:
    found = (entry["points"] or {}).get(document["reading"]) or {}
    return {
        arm: [s for s in scores or () if s is not None and math.isfinite(s)]
        for arm, scores in found.items()
    }


def _has_path(entry: Mapping[str, Any]) -> bool:
    found = entry["path"]
    return found is not None and any(
        measured(one) for what in ("loss", "score") for one in found[what]
    )


def _strength(i: int, count: int) -> float:
    """Returns how opaque the i-th of so many relax times is: later ones more."""
    return 1.0 if count < 2 else 0.3 + 0.7 * i / (count - 1)


# -------------------------------------------------------------------- drawing


def _time_axis(axes: Axes, document: Document) -> TimeAxis:
    times = [entry["relax_time"] for entry in document["times"]]
    return TimeAxis(axes, times, document["best_time"])


def _left(metric: Metric) -> float:
    """Returns the room beside an axis: scores in units of their own have many digits."""
    return 52 if metric.bounded else 64


def _epochs(document: Document, width: int) -> str:
    """Returns the name of the axis of relax times, which says what an epoch is."""
    # The last batch of an epoch may be shorter than the others.
    steps = f"{document['batches_per_epoch']:,.6g}"
    if width < WIDE:
        return f"relax time, steps ({steps} an epoch)"
    cnn = shortened(document["names"]["cnn"], 16)
    return f"relax time (steps of the {cnn} before it is relaxed; an epoch has {steps})"


def _published(axes: Axes, published: Mapping[str, Any], width: int) -> None:
    """Draws other people's points on axes of their own."""
    known = [one for one in published["times"] if one["score"] is not None]
    over = TimeAxis(axes, [one["epoch"] for one in known], None)
    color = LIGHT["muted"]
    axes.plot(
        [over.place(one["epoch"]) for one in known],
        [one["score"] for one in known],
        "o-",
        color=color,
        lw=1,
        ms=6,
        mew=1.4,
        markerfacecolor=LIGHT["paper"],
        zorder=3,
    )
    # Beside the axes, where the dashed lines have ended.
    right = axes.get_xlim()[1] - 4 * over.per_pixel
    ends = [(right, known[-1]["score"], "eFCN", color)] if known else []
    for arm, name in (("cnn", "CNN"), ("fresh", "FCN")):
        if published[arm] is not None:
            axes.axhline(published[arm], color=color, lw=1, ls=(0, (4, 3)), zorder=1)
            ends.append((right, published[arm], name, color))
    score_ticks(axes.yaxis, PERCENTAGES, 4)
    grid(axes)
    columns = 84 if width >= WIDE else 38
    # The whole source stands in the caption; here its authors name it.
    source, *_ = published["source"].split(" (")
    above(axes, shortened(f"elsewhere: {source}", columns), 26)
    above(axes, "test accuracy", 8, muted=True)
    over.finish("relax time, epochs")
    label_ends(axes, ends)

"""Figures of relaxing a convolutional prior, drawn from its verdict's document.

When is a CNN best turned into its fully connected equivalent, and what becomes of
it then? (d'Ascoli, Sagun, Biroli and Bruna 2019, "Finding the needle in the haystack
with convolutions".) Each figure takes the document and a width, says one thing, and
carries it as its title. What was not measured is left out.

The CNN has the baseline's colour everywhere, the network that came from it the first
challenger's, and the one from a random start is grey.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.errors import ProtocolError, RecordsError
from archtrial.experiments.relax.titles import (
    LEFT,
    LOSS,
    Scored,
    arm_name,
    curvature_message,
    deviation_message,
    estimate_of,
    interval_of,
    lead_message,
    left_by,
    measured,
    metric_of,
    names_of,
    parts_message,
    path_message,
    peak_message,
    rates_message,
    rises_of,
    share,
    spread,
    tried,
)
from archtrial.report.drawing import (
    LIGHT,
    STYLE,
    WIDE,
    axes_at,
    blank,
    label_ends,
    room_for,
)
from archtrial.report.log_axes import AmountAxis, TimeAxis
from archtrial.report.scales import above, score_axis, score_ticks, scored
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import fitted, joined, shortened

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
PATHS = 5
"""So many relax times at most have a line in the figure of paths."""


def drawable(document: Mapping[str, Any]) -> dict[str, Callable[[int], Figure]]:
    """Returns those of `NAMES` that the document suffices for.

    Returns:
        A function from a width to the figure, for each name.
    """
    times = document["times"]
    known = {
        "relax_times": any(measured(_scores(entry, document)) for entry in times),
        "gains": any(measured(entry["gain"]) for entry in times),
        "gains_over_fresh": any(measured(entry["gain_over_fresh"]) for entry in times),
        "deviation": any(
            measured(entry["deviation"]) or measured(entry["untied"]) for entry in times
        ),
        "parts": left_by(document) == "deviation"
        and any(
            measured(entry["validation"], part) for entry in times for part in _PARTS
        ),
        "path": any(_has_path(entry) for entry in times),
        "curvature": any(
            measured(entry[what]) for entry in times for what in _SHARPNESS
        ),
        "learning_rates": any(tried(arm) for arm in document["learning_rates"]),
    }
    functions: dict[str, Callable[[Mapping[str, Any], int], Figure]] = {
        "relax_times": relax_times,
        "gains": gains,
        "gains_over_fresh": gains_over_fresh,
        "deviation": deviation,
        "parts": parts,
        "path": path,
        "curvature": curvature,
        "learning_rates": learning_rates,
    }

    def bound(name: str) -> Callable[[int], Figure]:
        return lambda width: functions[name](document, width)

    return {name: bound(name) for name in NAMES if known[name]}


def draw(name: str, document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws one figure.

    Args:
        name: One of `NAMES`.
        document: The verdict.
        width: The figure's width.

    Raises:
        ProtocolError: There is no such figure.
        RecordsError: What it shows was not measured.
    """
    if name not in NAMES:
        raise ProtocolError(
            "a figure has one of the names that figures have",
            repr(name),
            f"Those of relaxing are {joined(NAMES)}.",
        )
    found = drawable(document)
    if name not in found:
        raise RecordsError(
            f"the figure {name} needs measures that are not there",
            "",
            f"These can be drawn: {joined(list(found))}."
            if found
            else "None can be drawn from this verdict.",
        )
    return found[name](width)


# ------------------------------------------------------------------ the scores


def relax_times(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws the test score by relax time: every seed, means and their intervals.

    Where points were published, they have a panel and axes of their own below: other
    sizes and other data make another experiment of it.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    metric = metric_of(document)
    names = names_of(document, width)
    entries = document["times"]
    published = document["published"]
    heights = [270] if published is None else [270, 150]
    with matplotlib.rc_context(STYLE):
        figure, (axes, *others) = _stacked(
            peak_message(document, metric),
            width,
            heights,
            right=room_for([*names.values(), "CNN"]),
            head=26 if published is None else 48,
            metric=metric,
        )
        over = _over_times(axes, document)
        every = [
            score
            for entry in entries
            for points in _points(entry, document).values()
            for score in points
        ]
        means = [_scores(entry, document)[arm] for entry in entries for arm in _ARMS]
        low, high = _reach(means, every, metric)
        ends = []
        for arm, nudge in (("fresh", 0), ("cnn", -5), ("relaxed", 5)):
            for entry in entries:
                _dots(
                    axes,
                    over.place(entry["relax_time"]) + nudge * over.per_pixel,
                    _points(entry, document).get(arm, ()),
                    COLORS[arm],
                    (low, high),
                )
            found = [_scores(entry, document)[arm] for entry in entries]
            ends += over.line(
                found,
                COLORS[arm],
                names[arm],
                limits=(low, high),
                dashed=arm == "fresh",
            )
        _framed(axes, (low, high))
        score_axis(axes, metric, "test")
        if published is not None:
            above(axes, f"here: {shortened(str(document['data']), 24)}", 26)
        over.finish(_epochs(document, width))
        label_ends(axes, ends)
        for lower in others:
            _published(lower, published, width)
    return figure


def gains(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws the gain over the CNN by relax time, with simultaneous intervals.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    return _gains(document, "gain", "cnn", width)


def gains_over_fresh(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws the gain over the same network from a random start, as `gains` does.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    return _gains(document, "gain_over_fresh", "fresh", width)


def _gains(document: Mapping[str, Any], which: str, other: str, width: int) -> Figure:
    metric, names = metric_of(document), names_of(document, width)
    found = [entry[which] for entry in document["times"]]
    margin = document["margin"]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _stacked(
            lead_message(document, which, other),
            width,
            [200],
            right=20,
            metric=metric,
        )
        over = _over_times(axes, document)
        shown = [0.0, margin, -margin]
        for entry, gain in zip(document["times"], found, strict=True):
            if not measured(gain):
                continue
            x, color = over.place(entry["relax_time"]), COLORS["relaxed"]
            shown += _ends(gain)
            within = interval_of(gain)
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
        _framed(axes, (min(shown), max(shown)))
        axes.axhspan(-margin, margin, color=LIGHT["muted"], alpha=0.16, lw=0, zorder=0)
        axes.axhline(0, color=LIGHT["muted"], lw=1, zorder=1)
        score_ticks(axes.yaxis, metric, 6, signed=True)
        unit = numbers.axis_unit(metric)
        above(axes, f"gain over {names[other]}{unit}", 8, muted=True)
        over.finish(_epochs(document, width))
    return figure


# ----------------------------------------------------------- what relaxing does


def deviation(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws what share of the weights' norm has left the convolutional subspace.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    entries = document["times"]
    known = {
        kind: [entry[kind] for entry in entries]
        for kind in LEFT
        if any(measured(entry[kind]) for entry in entries)
    }
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _stacked(
            deviation_message(document), width, [210], right=room_for(LEFT.values())
        )
        over = _over_times(axes, document)
        scale = AmountAxis.of([end for found in known.values() for end in _all(found)])
        ends = []
        for kind, found in known.items():
            placed = [scale.placed(one) for one in found]
            ends += over.line(
                placed, COLORS["relaxed"], LEFT[kind], dashed=kind == "untied"
            )
        scale.finish(axes, lambda at: share(at, tick=True))
        above(axes, "share of the norm of all weights", 8, muted=True)
        over.finish(_epochs(document, width))
        label_ends(axes, ends)
    return figure


def parts(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws validation scores of the whole, of its parts alone, and of the average.

    The off-local part has a panel of its own: it is often so much worse that the
    others would lie on one line.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    metric, entries = metric_of(document), document["times"]
    names = names_of(document, width)
    labels = {
        "relaxed": f"whole {names['relaxed']}" if width >= WIDE else "whole",
        "average_of_outputs": "average",
        "cnn": names["cnn"],
        "local_alone": "local alone",
        "off_local_alone": "off-local alone" if width >= WIDE else "off-local",
    }
    known = {
        part: [(entry["validation"] or {}).get(part) for entry in entries]
        for part in labels
        if any(measured(entry["validation"], part) for entry in entries)
    }
    panels = [
        [part for part in known if part != "off_local_alone"],
        [part for part in known if part == "off_local_alone"],
    ]
    panels = [panel for panel in panels if panel]
    heights = [210 if "off_local_alone" not in panel else 70 for panel in panels]
    with matplotlib.rc_context(STYLE):
        figure, several = _stacked(
            parts_message(document, metric),
            width,
            heights,
            right=room_for(labels[part] for part in known),
            shared=True,
            metric=metric,
        )
        for axes, panel in zip(several, panels, strict=True):
            over = _over_times(axes, document)
            limits = _reach([one for part in panel for one in known[part]], [], metric)
            ends = []
            for part in panel:
                ends += over.line(
                    known[part],
                    COLORS["cnn" if part == "cnn" else "relaxed"]
                    if part != "average_of_outputs"
                    else LIGHT["ink"],
                    labels[part],
                    limits=limits,
                    dashed=part in ("local_alone", "off_local_alone"),
                    banded=part in ("relaxed", "cnn", "off_local_alone"),
                )
            _framed(axes, limits)
            score_ticks(axes.yaxis, metric, 6 if len(panel) > 1 else 3)
            if axes is several[0]:
                above(axes, scored("validation", metric), 8, muted=True)
            over.finish(_epochs(document, width), labelled=axes is several[-1])
            label_ends(axes, ends)
    return figure


def path(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws loss and score on the straight line from the CNN to what came from it.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    metric, names = metric_of(document), names_of(document, width)
    drawn = chosen_times(document)
    entries = [entry for entry in document["times"] if entry["relax_time"] in drawn]
    labels = {time: f"{time:,}" for time in drawn}
    panels = {"loss": "training loss", "score": scored("validation", metric)}
    known = [
        panel
        for panel in panels
        if any(measured(one) for entry in entries for one in entry["path"][panel])
    ]
    with matplotlib.rc_context(STYLE):
        figure, several = _stacked(
            path_message(document),
            width,
            [150] * len(known),
            right=max(room_for(labels.values()), 100),
            shared=True,
            metric=metric,
        )
        for axes, panel in zip(several, known, strict=True):
            every = [one for entry in entries for one in entry["path"][panel]]
            low, high = _reach(
                [_middle(one) for one in every],
                [],
                metric if panel == "score" else LOSS,
            )
            ends = []
            for i, entry in enumerate(entries):
                line = entry["path"][panel]
                alpha = _strength(i, len(entries))
                x = np.array(entry["path"]["position"], dtype=float)
                y = np.array([estimate_of(one) for one in line])
                y = np.clip(y, low, high)
                color = COLORS["relaxed"]
                axes.plot(x, y, color=color, lw=2.2, alpha=alpha, zorder=3)
                finite = np.flatnonzero(np.isfinite(y))
                if len(finite):
                    at = finite[-1]
                    label = labels[entry["relax_time"]]
                    ends.append((float(x[at]), float(y[at]), label, color))
                    for place, role in ((finite[0], "cnn"), (at, "relaxed")):
                        axes.plot(
                            x[place], y[place], "o", ms=5, color=COLORS[role], zorder=4
                        )
            _framed(axes, (low, high))
            axes.set_xlim(-0.03, 1.03)
            if panel == "score":
                score_ticks(axes.yaxis, metric, 5)
            else:
                axes.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
                axes.yaxis.set_major_formatter(lambda at, _: numbers.tick(at, LOSS))
            above(axes, panels[panel], 8, muted=True)
            if axes is several[0]:
                _over_right(axes, "relaxed after")
            last = axes is several[-1]
            texts = [names["cnn"], "half way", names["relaxed"]] if last else [""] * 3
            axes.set_xticks([0, 0.5, 1], texts)
            for tick, role in zip(axes.get_xticklabels(), _WAY, strict=True):
                tick.set_color(COLORS.get(role, LIGHT["muted"]))
                tick.set_fontweight("bold" if role in COLORS else "normal")
            label_ends(axes, ends, leading=True)
    return figure


def curvature(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws the largest eigenvalue of the Hessian, and the gradient's norm.

    Args:
        document: The verdict.
        width: The figure's width.
    """
    entries = document["times"]
    known = [
        what for what in _SHARPNESS if any(measured(entry[what]) for entry in entries)
    ]
    labels = {"start": "at the start", "end": "at the end"}
    if width < WIDE:
        labels = {"start": "start", "end": "end"}
    with matplotlib.rc_context(STYLE):
        figure, several = _stacked(
            curvature_message(document),
            width,
            [150] * len(known),
            right=room_for(labels.values()),
            shared=True,
        )
        for axes, what in zip(several, known, strict=True):
            over = _over_times(axes, document)
            found = {
                when: [(entry[what] or {}).get(when) for entry in entries]
                for when in labels
            }
            scale = AmountAxis.of(
                [end for line in found.values() for end in _all(line)]
            )
            ends = []
            for when, line in found.items():
                placed = [scale.placed(one) for one in line]
                ends += over.line(
                    placed,
                    COLORS["relaxed"] if when == "end" else LIGHT["muted"],
                    labels[when],
                    dashed=when == "start",
                )
            scale.finish(axes, lambda at: numbers.tick(at, LOSS))
            above(axes, _SHARPNESS[what], 8, muted=True)
            over.finish(_epochs(document, width), labelled=axes is several[-1])
            label_ends(axes, ends)
    return figure


def learning_rates(document: Mapping[str, Any], width: int = WIDE) -> Figure:
    """Draws validation scores over the learning rates that each arm was given.

    Args:
        document: The verdict.
        width: The figure's width.
    """
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
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _stacked(
            rates_message(document),
            width,
            [230],
            right=room_for(labels.values()),
            metric=metric,
        )
        every = [{"estimate": score} for arm in arms for _, score in tried(arm)]
        low, high = _reach(every, [], metric)
        ends = []
        for arm in arms:
            rates, scores = zip(*tried(arm), strict=True)
            y = np.clip(scores, low, high)
            i = relaxed.index(arm) if arm in relaxed else 0
            role = arm["role"]
            alpha = _strength(i, len(relaxed)) if role == "relaxed" else 1.0
            color = COLORS[role]
            style: dict[str, Any] = {"marker": "o", "ms": 4, "alpha": alpha}
            style |= {"zorder": 3 if role == "relaxed" else 4}
            axes.plot(rates, y, color=color, lw=1.8, **style)
            for rate, score in zip(rates, y, strict=True):
                if rate == arm["chosen"]:
                    axes.plot(
                        [rate],
                        [score],
                        "o",
                        ms=10,
                        color=color,
                        markeredgecolor=LIGHT["paper"],
                        zorder=5,
                    )
            if arm["arm"] in labels:
                ends.append((rates[-1], float(y[-1]), labels[arm["arm"]], color))
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        _rate_ticks(axes, sorted({rate for arm in arms for rate, _ in tried(arm)}))
        axes.set_xlabel("learning rate")
        _framed(axes, (low, high))
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


def chosen_times(document: Mapping[str, Any]) -> list[int]:
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
    entry: Mapping[str, Any], document: Mapping[str, Any]
) -> dict[str, Mapping[str, Any] | None]:
    """Returns the scores of all three arms in the declared reading."""
    found = (entry["scores"] or {}).get(document["reading"]) or {}
    return {arm: found.get(arm) for arm in _ARMS}


def _points(
    entry: Mapping[str, Any], document: Mapping[str, Any]
) -> dict[str, list[float]]:
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


def _middle(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns an estimate without its interval."""
    return {"estimate": None if found is None else found["estimate"]}


def _ends(found: Mapping[str, Any]) -> list[float]:
    return [float(found["estimate"]), *(interval_of(found) or ())]


def _all(founds: Sequence[Mapping[str, Any] | None]) -> list[float]:
    return [
        end for found in founds if found and measured(found) for end in _ends(found)
    ]


def _reach(
    founds: Sequence[Mapping[str, Any] | None], points: Sequence[float], metric: Metric
) -> tuple[float, float]:
    """Returns the scores between which a figure draws.

    One run whose score is out of all proportion, as a metric without a bound allows,
    would press all others into one line: it is marked at the edge instead.
    """
    shown = np.array([*_all(founds), *points])
    if len(shown) == 0:
        return 0.0, 1.0
    if metric.bounded:
        return float(shown.min()), float(shown.max())
    estimates = np.array([float(f["estimate"]) for f in founds if f and measured(f)])
    low, middle, high = np.quantile(estimates, [0.25, 0.5, 0.75])
    fence = 10 * (high - low) or 10 * abs(middle) or math.inf
    inside = shown[(shown >= low - fence) & (shown <= high + fence)]
    return float(inside.min()), float(inside.max())


def _strength(i: int, count: int) -> float:
    """Returns how opaque the i-th of so many relax times is: later ones more."""
    return 1.0 if count < 2 else 0.3 + 0.7 * i / (count - 1)


# -------------------------------------------------------------------- drawing


def _stacked(
    message: str,
    width: int,
    heights: Sequence[int],
    right: float,
    head: int = 26,
    shared: bool = False,
    metric: Metric | None = None,
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
        metric: Whose scores are written beside the panels, if any: those in units of
            their own may need many digits.
    """
    left, foot = 52 if metric is None or metric.bounded else 64, 46
    between = 32 if shared else foot + head
    whole = head + sum(heights) + between * (len(heights) - 1) + foot
    figure, top = blank(message, width, whole)
    several, at = [], top + head
    for height in heights:
        several.append(axes_at(figure, left, at, width - left - right, height))
        at += height + between
    return figure, several


def _framed(axes: Axes, limits: tuple[float, float]) -> None:
    """Leaves some room around what is drawn, and draws the grid."""
    low, high = limits
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.01
    axes.set_ylim(low - pad, high + pad)
    axes.grid(axis="y", color=LIGHT["line"], lw=1)
    axes.set_axisbelow(True)


def _over_times(axes: Axes, document: Mapping[str, Any]) -> TimeAxis:
    times = [entry["relax_time"] for entry in document["times"]]
    return TimeAxis(axes, times, document["best_time"])


def _epochs(document: Mapping[str, Any], width: int) -> str:
    """Returns the name of the axis of relax times, which says what an epoch is."""
    # The last batch of an epoch may be shorter than the others.
    steps = f"{document['batches_per_epoch']:,.6g}"
    if width < WIDE:
        return f"relax time, steps ({steps} an epoch)"
    cnn = shortened(document["names"]["cnn"], 16)
    return f"relax time (steps of the {cnn} before it is relaxed; an epoch has {steps})"


def _dots(
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
    score_ticks(axes.yaxis, Scored("accuracy", True, True), 4)
    axes.grid(axis="y", color=LIGHT["line"], lw=1)
    axes.set_axisbelow(True)
    columns = 84 if width >= WIDE else 38
    # The whole source stands in the caption; here its authors name it.
    source, *_ = published["source"].split(" (")
    above(axes, shortened(f"elsewhere: {source}", columns), 26)
    above(axes, "test accuracy", 8, muted=True)
    over.finish("relax time, epochs")
    label_ends(axes, ends)


def _over_right(axes: Axes, text: str) -> None:
    """Writes what the labels beside the lines are, above them."""
    axes.annotate(
        text,
        (1, 1),
        xycoords="axes fraction",
        xytext=(8, 8),
        textcoords="offset points",
        color=LIGHT["muted"],
        size=STYLE["font.size"] - 1,
        annotation_clip=False,
    )


def _rate_ticks(axes: Axes, rates: Sequence[float]) -> None:
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

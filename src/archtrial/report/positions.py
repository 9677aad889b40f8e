"""Where in the search space the scores lie, and whether the best pile up at an edge."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.records.table import Run, rank
from archtrial.report.drawing import (
    SIZE,
    STYLE,
    WIDE,
    axes_at,
    blank,
)
from archtrial.report.evidence import (
    of_stage,
)
from archtrial.report.scales import above, grid, score_ticks, scored
from archtrial.space import Choice, Dimension, Integer, Space
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import shortened

__all__ = ["POINTS", "drawn_every", "search_positions"]

POINTS = {"fresh_seeds": 1_000, "search_positions": 300}
"""Above so many points of an arm only every third, fifth, ... one is drawn: a page of
100,000 runs stays a page. Titles and means are of all of them."""


def drawn_every(name: str, count: int) -> int:
    """Returns 1 where a figure shows all of an arm's points, 3 for every third, ...

    Args:
        name: A key of `POINTS`.
        count: How many points the arm has.
    """
    every = math.ceil(count / POINTS[name]) or 1
    # Every second point of a Sobol sequence lies in the same half of the space.
    return every + 1 if every % 2 == 0 else every


def search_positions(
    arms: Mapping[str, str],
    runs: Sequence[Run],
    spaces: Mapping[str, Space],
    metric: Metric,
    effort: int,
    edges: Mapping[str, Mapping[str, str]],
    width: int = WIDE,
) -> Figure:
    """Draws validation scores over each hyperparameter; the best are filled.

    "Best" are the n / effort configurations with the best validation score. An
    edge where they pile up is shaded.

    Args:
        arms: Each arm's colour, the baseline first.
        runs: The table of runs.
        spaces: Each arm's search space; at least one has a dimension.
        metric: The metric of the scores.
        effort: The declared effort.
        edges: Of each arm and dimension, the side ("low" or "high") where the
            best configurations pile up.
        width: The figure's width.
    """
    panels = _panels(arms, spaces)
    searched = {arm: of_stage(runs, arm, "search") for arm in arms}
    best = {arm: _best(searched[arm], metric, effort) for arm in arms}
    known = [run.validation for arm in arms for run in searched[arm]]
    # A run that diverged may have no score; it then has no place either.
    scores = [score for score in known if math.isfinite(score)] or [0.0]
    pad = 0.08 * (max(scores) - min(scores)) or 0.01
    columns = 3 if width >= WIDE else 2
    # Above a panel its name and, under that, who piles up at its edge.
    head = 40 if any(edges.get(arm) for arm in arms) else 24
    pitch = head + 138
    rows = math.ceil(len(panels) / columns)
    left, gap = 48, 18
    panel_width = (width - left - 8 - gap * (columns - 1)) / columns
    with matplotlib.rc_context(STYLE):
        message = _edges_message(list(arms), edges) or _choices_message(
            {arm: (searched[arm], spaces.get(arm, {})) for arm in arms}, best
        )
        figure, top = blank(message, width, 24 + pitch * rows)
        for i, (name, dimension, owners) in enumerate(panels):
            row, column = divmod(i, columns)
            axes = axes_at(
                figure,
                left + column * (panel_width + gap),
                top + 24 + head + pitch * row,
                panel_width,
                100,
            )
            alone = len(owners) == 1 and sum(name == panel[0] for panel in panels) > 1
            owner = f" ({shortened(owners[0], 10)})" if alone else ""
            title = shortened(name, max(8, int(panel_width / 8) - len(owner)))
            above(axes, title + owner, head - 15)
            if i == 0:
                above(axes, scored("validation", metric), head + 6, muted=True)
            for j, arm in enumerate(owners):
                lane = j - (len(owners) - 1) / 2
                # Wherever draws come from, those in such steps are a fair sample.
                shown = searched[arm][
                    :: drawn_every("search_positions", len(searched[arm]))
                ]
                _scatter(axes, name, dimension, shown, best[arm], arms[arm], lane)
                if name in edges.get(arm, {}):
                    _shade_edge(axes, edges[arm][name], arm, arms[arm])
            axes.set_xlim(-0.04, 1.04)
            axes.set_ylim(min(scores) - pad, max(scores) + pad)
            _position_ticks(axes, dimension, panel_width)
            score_ticks(axes.yaxis, metric, 3)
            grid(axes)
            axes.tick_params(labelleft=column == 0)
    return figure


def _best(searched: Sequence[Run], metric: Metric, effort: int) -> set[int]:
    sign = 1 if metric.higher_is_better else -1
    ranked = sorted(searched, key=lambda run: -rank(run, sign))
    return {run.pair for run in ranked[: math.ceil(len(ranked) / effort)]}


def _edges_message(arms: Sequence[str], edges: Mapping[str, Mapping[str, str]]) -> str:
    found = [
        (arm, dimension, side)
        for arm in arms
        for dimension, side in edges.get(arm, {}).items()
    ]
    if not found:
        return ""
    arm, dimension, side = found[0]
    message = (
        f"The best {shortened(arm, 24)} configurations pile up at the {side} end of"
        f" {shortened(dimension, 24)}: a wider space may change the verdict"
    )
    more = len(found) - 1
    return message + (f" ({numbers.count(more, 'more edge')})" if more else "")


def _choices_message(
    searched: Mapping[str, tuple[Sequence[Run], Space]], best: Mapping[str, set[int]]
) -> str:
    """Says whether the best configurations lie inside their ranges.

    A choice has no edge where configurations pile up; but where most of the best ones
    have the largest of its numbers, a larger one may be better still.
    """
    largest = []
    for arm, (runs, space) in searched.items():
        chosen = [run.configuration for run in runs if run.pair in best[arm]]
        for name, dimension in sorted(space.items()):
            if not isinstance(dimension, Choice):
                continue
            numbered = [
                option
                for option in dimension.options
                if isinstance(option, (int, float)) and not isinstance(option, bool)
            ]
            if len(numbered) < max(2, len(dimension.options)):
                continue
            at_most = sum(own[name] == max(numbered) for own in chosen if name in own)
            if 2 * at_most > len(chosen):
                largest.append((arm, name, max(numbered)))
    if not largest:
        return "The best configurations lie inside their ranges"
    arm, name, value = largest[0]
    more = len(largest) - 1
    return (
        f"Most of the best {shortened(arm, 24)} configurations have the largest"
        f" {shortened(name, 24)} that was tried, {numbers.value(value)}"
        + (f" ({numbers.count(more, 'more such choice')})" if more else "")
    )


# -------------------------------------------------------------------- drawing


def _scatter(
    axes: Axes,
    name: str,
    dimension: Dimension,
    searched: Sequence[Run],
    best: set[int],
    color: str,
    lane: float,
) -> None:
    """Draws scores over one hyperparameter, filled for the best configurations."""
    # Options are few: arms side by side, or they would hide each other.
    shift = 0.28 * lane / len(dimension.options) if isinstance(dimension, Choice) else 0
    for chosen in (False, True):
        group = [
            run
            for run in searched
            if name in run.configuration and (run.pair in best) is chosen
        ]
        axes.scatter(
            [dimension.position(run.configuration[name]) + shift for run in group],
            [run.validation for run in group],
            s=26 if len(searched) <= 100 else 8,
            facecolors=color if chosen else "none",
            edgecolors=color,
            linewidths=1.1,
            alpha=0.9 if chosen else 0.5,
            zorder=3 + chosen,
            clip_on=False,
        )


def _shade_edge(axes: Axes, side: str, arm: str, color: str) -> None:
    low, high = (0.9, 1.04) if side == "high" else (-0.04, 0.1)
    axes.axvspan(low, high, color=color, alpha=0.18, lw=0)
    text = f"{shortened(arm, 12)} at the {side} end"
    axes.annotate(
        text,
        (1 if side == "high" else 0, 1),
        xycoords="axes fraction",
        xytext=(0, 7),
        textcoords="offset points",
        ha="right" if side == "high" else "left",
        color=color,
        size=SIZE - 2,
    )


def _position_ticks(axes: Axes, dimension: Dimension, width: float) -> None:
    if isinstance(dimension, Choice):
        options = dimension.options
        # As many labels as fit; the others are read from their neighbours.
        columns = max(3, int(width / 8 / min(len(options), 4)) - 1)
        every = math.ceil(len(options) / 4)
        at = [dimension.position(option) for option in options[::every]]
        texts = [shortened(numbers.value(o), columns) for o in options[::every]]
    else:
        # One digit is enough for a tick, and fits.
        middle = float(f"{dimension.value(0.5):.1g}")
        at = [0.0, dimension.position(middle), 1.0]
        ends: list[float] = [dimension.low, middle, dimension.high]
        if isinstance(dimension, Integer) and dimension.high - dimension.low < 2:
            at, ends = [0.0, 1.0], [dimension.low, dimension.high]
        texts = [numbers.value(end) for end in ends]
    axes.set_xticks(at, texts)
    for position, tick in zip(at, axes.get_xticklabels(), strict=True):
        # The outermost labels stay within their panel.
        tick.set_horizontalalignment(
            "left" if position == 0 else "right" if position == 1 else "center"
        )


def _panels(
    arms: Mapping[str, str], spaces: Mapping[str, Space]
) -> list[tuple[str, Dimension, list[str]]]:
    """Returns name, dimension and the arms that share it; shared ones first."""
    panels: list[tuple[str, Dimension, list[str]]] = []
    for arm in arms:
        for name, dimension in sorted(spaces.get(arm, {}).items()):
            for other, known, owners in panels:
                if (other, known) == (name, dimension):
                    owners.append(arm)
                    break
            else:
                panels.append((name, dimension, [arm]))
    return sorted(panels, key=lambda panel: (-len(panel[2]), panel[0]))

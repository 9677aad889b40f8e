"""Figures that each say one thing, and carry it as their title.

Every function takes records and returns a Matplotlib figure; `save` writes it
to a file, `to_svg` turns it into SVG for a page. Colours stand for roles:
`colors` gives the baseline and each challenger the one they keep on every
figure. In a page's SVG they are CSS variables, so that the same drawing serves
light and dark mode; text stays text.

All lengths are in CSS pixels at a figure's natural size (one Matplotlib point).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.records.table import Run
from archtrial.report import explanations
from archtrial.report.drawing import (
    LIGHT,
    NARROW,
    SIZE,
    STYLE,
    WIDE,
    canvas,
    chosen_figure,
    colors,
    label_ends,
    room_for,
    save,
    to_svg,
)
from archtrial.report.evidence import (
    Evidence,
    fresh_runs,
    mean_interval,
    of_stage,
    presented,
    tuned_pair,
)
from archtrial.report.positions import POINTS, drawn_every, search_positions
from archtrial.report.rows import Row, draw_rows
from archtrial.report.scales import gain_axis, score_axis, score_ticks, scored
from archtrial.statistics.learning import Rise
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import fitted, joined, shortened

__all__ = [
    "MANY",
    "NAMES",
    "NARROW",
    "POINTS",
    "WIDE",
    "colors",
    "draw",
    "drawable",
    "drawn_every",
    "effects",
    "fresh_seeds",
    "learning_curves",
    "save",
    "search_positions",
    "to_svg",
    "tuning_curves",
]


NAMES = (
    "effects",
    "tuning_curves",
    "ladder",
    "waterfall",
    "factorial",
    "fresh_seeds",
    "robustness",
    "shares",
    "probes",
    "search_positions",
    "learning_curves",
)
"""The figures, in a page's order; each is a function of this module or of
`explanations`."""

MANY = 60
"""Above so many learning curves an arm is drawn as a band instead of lines."""


def drawable(
    evidence: Evidence, comparisons: Sequence[Mapping[str, Any]]
) -> dict[str, Callable[[int], Figure]]:
    """Returns those of `NAMES` that the evidence suffices for.

    Args:
        evidence: What is known.
        comparisons: Some of the document's comparisons, whose arms are drawn.

    Returns:
        A function from a width to the figure, for each name.
    """
    everyone = evidence.document["comparisons"]
    color = colors(everyone[0]["baseline"], [c["challenger"] for c in everyone])
    challengers = [compared["challenger"] for compared in comparisons]
    arms = {arm: color[arm] for arm in (comparisons[0]["baseline"], *challengers)}
    runs, metric = evidence.runs, evidence.metric
    effort, margin = comparisons[0]["effort"], comparisons[0]["margin"]
    curves, spaces, edges = evidence.curves, evidence.spaces, evidence.edges
    searched = [arm for arm in arms if of_stage(runs, arm, "search")]
    study = evidence.document["study"]
    found: dict[str, Callable[[int], Figure]] = {}
    if any(compared["effect"]["estimate"] is not None for compared in comparisons):
        found["effects"] = lambda width: effects(arms, comparisons, metric, width)
    if all(arm in curves for arm in arms):
        found["tuning_curves"] = lambda width: tuning_curves(
            arms, curves, metric, effort, width
        )
    if all(fresh_runs(runs, arm, metric) for arm in arms):
        found["fresh_seeds"] = lambda width: fresh_seeds(arms, runs, metric, width)
    if any(spaces.get(arm) for arm in searched):
        found["search_positions"] = lambda width: search_positions(
            arms, runs, spaces, metric, effort, edges, width
        )
    if any(_tuned_curve(runs, arm, metric) is not None for arm in arms):
        found["learning_curves"] = lambda width: learning_curves(
            arms, runs, metric, margin, width, evidence.rises
        )
    if any(_climbed(compared) for compared in comparisons):
        found["ladder"] = lambda width: explanations.ladder(
            arms, comparisons, metric, width
        )
    # Published numbers are of one challenger.
    published = [c for c in comparisons if c.get("published") and _decomposed(c)]
    if published:
        found["waterfall"] = lambda width: explanations.waterfall(
            arms, published[0], metric, width
        )
    if any(compared.get("robustness") for compared in comparisons):
        found["robustness"] = lambda width: explanations.robustness(
            arms, comparisons, metric, width
        )
    if study.get("factorial"):
        found["factorial"] = lambda width: explanations.factorial(
            study["factorial"]["effects"], margin, metric, width
        )
    if study.get("attribution"):
        found["shares"] = lambda width: explanations.shares(
            study["attribution"]["shares"], width
        )
    if study.get("probes"):
        found["probes"] = lambda width: explanations.probes(
            arms, comparisons[0], study["probes"], metric, width
        )
    return {name: found[name] for name in NAMES if name in found}


def draw(name: str, evidence: Evidence, width: int = WIDE) -> Figure:
    """Draws one figure of all arms together.

    Args:
        name: One of `NAMES`.
        evidence: What is known.
        width: The figure's width.

    Raises:
        ProtocolError: There is no such figure.
        RecordsError: The evidence does not suffice for it.
    """
    evidence = presented(evidence)
    compared = evidence.document["comparisons"]
    judged = any(one["verdict"] != "not_assessable" for one in compared)
    obstacle = "" if judged else "no comparison here can be judged"
    return chosen_figure(name, NAMES, drawable(evidence, compared), obstacle)(width)


# ---------------------------------------------------------------- the figures


def tuning_curves(
    arms: Mapping[str, str],
    curves: Mapping[str, Any],
    metric: Metric,
    effort: int,
    width: int = WIDE,
) -> Figure:
    """Draws the score that a search of k trials ends with, over k.

    Args:
        arms: Each arm's colour, the baseline first.
        curves: Of each arm, a tuning curve with arrays of shape (K,), in the
            metric's own units: `effort`, which is 1, ..., K; `test`, the expected test score, or
            NaN where there is none; `validation` with its band `low`, `high`.
        metric: The metric of the scores.
        effort: The declared effort, marked in the figure.
        width: The figure's width.
    """
    drawn = [arm for arm in arms if arm in curves]
    scores = {arm: _expected(curves[arm]) for arm in drawn}
    names = fitted(drawn, 22 if width >= WIDE else 12)
    message = _tuning_message(
        drawn, scores, curves, metric, [fitted([a], 30)[a] for a in drawn]
    )
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            message, width, 340, left=50, right=room_for(names.values()), bottom=46
        )
        longest = max(int(curves[arm].effort[-1]) for arm in drawn)
        ends = []
        bottom, top = _reach(curves[arm] for arm in drawn)
        for arm in drawn:
            curve, color = curves[arm], arms[arm]
            k = np.asarray(curve.effort, dtype=float)
            at = _sampled(len(k))
            k, middle = k[at], np.asarray(curve.validation)[at]
            low, high = (
                np.clip(np.asarray(band)[at], bottom, top)
                for band in (curve.low, curve.high)
            )
            if len(k) == 1:  # one effort is a point with its interval, not a line
                axes.errorbar(
                    k,
                    middle,
                    [middle - low, high - middle],
                    color=color,
                    alpha=0.5,
                )
            axes.fill_between(k, low, high, color=color, alpha=0.16, lw=0)
            axes.plot(k, middle, color=color, lw=1, ls=(0, (4, 3)), alpha=0.8)
            dots = "o" if longest <= 32 else None
            line = scores[arm][at]
            axes.plot(k, line, color=color, lw=2.2, marker=dots, ms=6, zorder=4)
            ends.append((k[-1], line[-1], names[arm], color))
        if longest > 16:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_minor_locator(ticker.NullLocator())
            axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%d"))
        else:
            axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, nbins=8))
        if longest == 1:
            axes.set_xlim(0.5, 1.5)
        axes.set_xlabel("effort: search trials spent before picking the best")
        if width < WIDE:
            axes.set_xlabel("effort: search trials spent")
        score_axis(axes, metric)
        label_ends(axes, ends)
        if effort <= longest:  # more than that, n configurations cannot tell
            _mark_effort(axes, effort, drawn, scores, metric)
    return figure


def fresh_seeds(
    arms: Mapping[str, str],
    runs: Sequence[Run],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws the test scores of each arm's tuned configuration on fresh seeds.

    Args:
        arms: Each arm's colour, the baseline first.
        runs: The table of runs; at least one arm has fresh ones with a test score.
        metric: The metric of the scores.
        width: The figure's width.
    """
    fresh = {arm: fresh_runs(runs, arm, metric) for arm in arms}
    drawn = [arm for arm in arms if fresh[arm]]
    names = fitted(drawn, 40 if width >= WIDE else 14)
    message = _seeds_message(drawn, fresh, metric)
    rows = []
    for arm in drawn:
        tests = np.array([run.test for run in fresh[arm]])
        within = mean_interval(tests)
        written = numbers.score(float(tests.mean()), metric, within)
        if within is not None:
            low, high = (numbers.bare(end, metric, within) for end in within)
            written += f" ({low} to {high})"
        shown = tests[:: drawn_every("fresh_seeds", len(tests))]
        rows.append(
            Row(f"tuned {names[arm]}", written, arms[arm], shown, tests.mean(), within)
        )
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_rows(message, rows, width, height=84)
        score_ticks(axes.xaxis, metric, 6 if width >= WIDE else 4)
        axes.set_xlabel(scored("test", metric))
    return figure


def effects(
    arms: Mapping[str, str],
    comparisons: Sequence[Mapping[str, Any]],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws each challenger's gain over the baseline, its interval and the margin.

    Args:
        arms: Each arm's colour, the baseline first.
        comparisons: As in `verdict.json`; at least one has an effect.
        metric: The metric of the scores.
        width: The figure's width.
    """
    drawn = [c for c in comparisons if c["effect"]["estimate"] is not None]
    names = fitted([c["challenger"] for c in drawn], 34 if width >= WIDE else 12)
    rows = []
    for comparison in drawn:
        effect = comparison["effect"]
        within = (effect["low"], effect["high"])
        written = numbers.signed_estimate(effect, metric)
        rows.append(
            Row(
                names[comparison["challenger"]],
                written,
                arms[comparison["challenger"]],
                np.array([]),
                effect["estimate"],
                within,
            )
        )
    margin = max(c["margin"] for c in drawn)
    baseline = shortened(next(iter(arms)), 24)
    unit = numbers.axis_unit(metric)
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_rows(
            _effects_message(drawn, metric), rows, width, height=52, include=(0.0,)
        )
        gain_axis(axes, metric, margin, 6 if width >= WIDE else 4)
        axes.set_xlabel(f"gain over {baseline} in {numbers.label(metric)}{unit}")
    return figure


def learning_curves(
    arms: Mapping[str, str],
    runs: Sequence[Run],
    metric: Metric,
    margin: float,
    width: int = WIDE,
    rises: Mapping[str, Rise] | None = None,
) -> Figure:
    """Draws validation scores over training: every search run, the tuned ones bold.

    Above `MANY` search runs an arm has a band of its middle 80 % instead.

    Args:
        arms: Each arm's colour, the baseline first.
        runs: The table of runs; some have a learning curve.
        metric: The metric of the scores.
        margin: The smallest gap worth having, for the title.
        width: The figure's width.
        rises: How each arm was learning while its learning rate was high, as far as
            that is known.
    """
    found = {arm: _tuned_curve(runs, arm, metric) for arm in arms}
    tuned = {arm: curve for arm, curve in found.items() if curve is not None}
    drawn = list(tuned)
    names = fitted(drawn, 22 if width >= WIDE else 12)
    message = _learning_message(drawn, tuned, metric, margin, rises or {})
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            message, width, 320, left=50, right=room_for(names.values()), bottom=46
        )
        ends = []
        for arm in drawn:
            curves = [
                r.curve for r in of_stage(runs, arm, "search") if len(r.curve) > 1
            ]
            if len(curves) > MANY:
                steps, values = _stacked(curves)
                low, high = np.quantile(values, [0.1, 0.9], axis=0)
                axes.fill_between(steps, low, high, color=arms[arm], alpha=0.16, lw=0)
            else:
                for curve in curves:
                    steps, values = _stacked([curve])
                    axes.plot(steps, values[0], color=arms[arm], lw=0.9, alpha=0.35)
            steps, mean = tuned[arm]
            axes.plot(steps, mean, color=arms[arm], lw=2.6, zorder=4)
            ends.append((float(steps[-1]), float(mean[-1]), names[arm], arms[arm]))
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.set_xlim(left=0)
        score_axis(axes, metric, "validation")
        label_ends(axes, ends)
    return figure


# ------------------------------------------------- from the runs to what is drawn


def _climbed(comparison: Mapping[str, Any]) -> bool:
    rungs = (comparison.get("ladder") or {}).get("rungs", ())
    return any(rung["baseline_score"] is not None for rung in rungs)


def _decomposed(comparison: Mapping[str, Any]) -> bool:
    return comparison["baseline_score"]["estimate"] is not None


def _turned(score: float, metric: Metric) -> float:
    return score if metric.higher_is_better else -score


def _expected(curve: Any) -> np.ndarray:
    """Returns a curve's test scores, or its validation scores for want of them."""
    test = np.asarray(curve.test, dtype=float)
    known = bool(np.isfinite(test).all())
    return test if known else np.asarray(curve.validation, dtype=float)


def _sampled(length: int) -> np.ndarray:
    """Returns the indices of a curve that are drawn: all, or 200 evenly on a log axis."""
    if length <= 200:
        return np.arange(length)
    return np.unique(np.geomspace(1, length, 200).round().astype(int)) - 1


def _reach(curves: Iterable[Any]) -> tuple[float, float]:
    """Returns the scores between which bands are drawn.

    A metric without a bound has bands without an end; so has one whose worst
    score is out of all proportion. They run out of the figure instead.
    """
    curves = list(curves)
    inner = np.concatenate([[*c.validation, *_expected(c)] for c in curves])
    outer = np.concatenate([[*c.low, *c.high] for c in curves])
    outer = outer[np.isfinite(outer)]
    low, high = float(inner.min()), float(inner.max())
    span = 2 * (high - low) or abs(high) or 1.0
    return (
        max(float(outer.min(initial=low)), low - span),
        min(float(outer.max(initial=high)), high + span),
    )


def _stacked(curves: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps (S,) and validation scores (R, S) of curves.

    Runs that diverged end early; only curves as long as the longest are taken.
    """
    longest = max(len(curve) for curve in curves)
    whole = [curve for curve in curves if len(curve) == longest]
    steps = np.array([point.step for point in whole[0]], dtype=float)
    return steps, np.array([[p.validation for p in curve] for curve in whole])


def _tuned_curve(
    runs: Sequence[Run], arm: str, metric: Metric
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns steps and mean validation score of the tuned configuration's runs."""
    pair = tuned_pair(runs, arm, metric)
    curves = [
        run.curve
        for run in runs
        if run.arm == arm and run.pair == pair and len(run.curve) > 1
    ]
    if not curves:
        return None
    steps, values = _stacked(curves)
    return steps, values.mean(axis=0)


# ------------------------------------------------------- messages, from the data


def _tuning_message(
    arms: Sequence[str],
    scores: Mapping[str, np.ndarray],
    curves: Mapping[str, Any],
    metric: Metric,
    names: Sequence[str],
) -> str:
    k = min(len(scores[arm]) for arm in arms)
    effort = np.asarray(curves[arms[0]].effort[:k], dtype=int)
    turned = np.array([_turned(1, metric) * scores[arm][:k] for arm in arms])
    if len(arms) == 1:
        return f"What more tuning gains for {names[0]}"
    first = turned.argmax(axis=0)
    reach = (
        f"every effort up to {effort[-1]} trials" if k > 1 else "an effort of 1 trial"
    )
    if np.ptp(turned, axis=0).max() == 0:
        return f"{joined(names)} score the same at {reach}"
    changes = np.flatnonzero(np.diff(first))
    if len(changes) == 0:
        ahead, others = names[first[0]], "all others" if len(arms) > 2 else None
        others = others or names[1 - first[0]]
        message = f"{ahead} is ahead of {others} at {reach}"
    elif len(changes) == 1:
        before, after = names[first[changes[0]]], names[first[-1]]
        last = numbers.count(int(effort[changes[0]]), "trial")
        return f"{before} is ahead up to {last}, {after} with more"
    else:
        return f"The lead between {joined(names)} changes with the effort"
    return message


def _seeds_message(
    arms: Sequence[str], fresh: Mapping[str, Sequence[Run]], metric: Metric
) -> str:
    name = fitted(arms, 30)
    if len(arms) == 1:
        return f"Seeds alone move the tuned {name[arms[0]]} this far"
    if len(arms) > 2:
        mean = {arm: np.mean([run.test for run in fresh[arm]]) for arm in arms}
        best = max(arms, key=lambda arm: _turned(float(mean[arm]), metric))
        return f"The tuned {name[best]} has the best mean over fresh seeds"
    baseline, challenger = arms
    of_seed = {run.seed: run.test for run in fresh[baseline]}
    pairs = [(of_seed.get(run.seed), run.test) for run in fresh[challenger]]
    gains = np.array(
        [_turned(b - a, metric) for a, b in pairs if a is not None and b is not None]
    )
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    ahead, behind = (baseline, challenger) if losses > wins else (challenger, baseline)
    if len(gains) == 0:
        return f"The tuned {name[baseline]} and {name[challenger]} on fresh seeds"
    if wins == losses == 0:
        return f"The tuned {name[baseline]} and {name[challenger]} score the same"
    if wins == losses:
        return (
            f"The tuned {name[baseline]} and {name[challenger]} each win on"
            f" {wins} of {numbers.count(len(gains), 'fresh seed')}"
        )
    won, count = max(wins, losses), len(gains)
    which = f"{won} of {count} fresh seeds"
    if won == count:
        which = {1: "the one fresh seed", 2: "both fresh seeds"}.get(
            count, f"all {count} fresh seeds"
        )
    return f"The tuned {name[ahead]} beats the tuned {name[behind]} on {which}"


def _effects_message(comparisons: Sequence[Mapping[str, Any]], metric: Metric) -> str:
    name = fitted([c["challenger"] for c in comparisons], 30)
    baseline = fitted([comparisons[0]["baseline"]], 30)[comparisons[0]["baseline"]]
    if len(comparisons) == 1:
        effect = comparisons[0]["effect"]
        gain = numbers.amount(
            effect["estimate"], metric, (effect["low"], effect["high"])
        )
        challenger = name[comparisons[0]["challenger"]]
        if effect["estimate"] < 0:
            return f"{challenger} falls {gain} short of {baseline}"
        return f"{challenger} gains {gain} over {baseline}"
    above = [
        name[c["challenger"]]
        for c in comparisons
        if c["effect"]["low"] is not None and c["effect"]["low"] > 0
    ]
    if not above:
        return f"No challenger's gain over {baseline} is clear of 0"
    if len(above) == len(comparisons):
        return f"Every challenger's gain over {baseline} is clear of 0"
    if len(above) > 3:
        return (
            f"{len(above)} of {len(comparisons)} challengers gain over {baseline}"
            " clear of 0"
        )
    return f"Of {len(comparisons)} challengers, {joined(above)} gain over {baseline}"


def _learning_message(
    arms: Sequence[str],
    tuned: Mapping[str, tuple[np.ndarray, np.ndarray]],
    metric: Metric,
    margin: float,
    rises: Mapping[str, Rise],
) -> str:
    name = fitted(arms, 30)
    late = {}
    for arm in arms:
        steps, mean = tuned[arm]
        at = float(np.interp(0.8 * steps[-1], steps, mean))
        late[arm] = _turned(float(mean[-1]) - at, metric)
    rising = [arm for arm in arms if late[arm] > margin]
    before = [arm for arm in arms if arm in rises and rises[arm].rises(margin)]
    if not rising and before:
        gains = joined(
            [
                f"{name[arm]} ({numbers.difference(rises[arm].last, metric)})"
                for arm in before
            ]
        )
        return f"Still improving until the learning rate fell: {gains}"
    if not rising and len(rises) < len(arms):
        return "The last fifth of training gains less than the margin"
    if not rising:
        return (
            f"{'Both have' if len(arms) == 2 else 'All have'} levelled off: the last"
            " fifth of training gains less than the margin"
        )
    gains = joined(
        [f"{name[arm]} ({numbers.difference(late[arm], metric)})" for arm in rising]
    )
    return f"Still improving in the last fifth of training: {gains}"


def _mark_effort(
    axes: Axes,
    effort: int,
    arms: Sequence[str],
    scores: Mapping[str, np.ndarray],
    metric: Metric,
) -> None:
    """Marks the declared effort, and writes the gap of two arms at it."""
    axes.axvline(effort, color=LIGHT["muted"], lw=1, ls=(0, (2, 3)), zorder=1)
    lines = [f"declared effort: {effort:,}"]
    if len(arms) == 2 and all(len(scores[arm]) >= effort for arm in arms):
        first, second = (float(scores[arm][effort - 1]) for arm in arms)
        gap = numbers.difference(_turned(second - first, metric), metric)
        lines.insert(0, f"gap there: {gap}")
    left, right = axes.get_xlim()
    middle = (
        math.sqrt(left * right) if axes.get_xscale() == "log" else (left + right) / 2
    )
    leftwards = effort > middle
    bottom, top = axes.get_ylim()
    # Room below all curves, so that the words cross no line.
    axes.set_ylim(bottom - 0.16 * (top - bottom), top)
    for i, line in enumerate(lines):
        axes.annotate(
            line,
            (effort, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-6 if leftwards else 6, 6 + 15 * i),
            textcoords="offset points",
            ha="right" if leftwards else "left",
            color=LIGHT["muted"],
            size=SIZE - 1,
        )

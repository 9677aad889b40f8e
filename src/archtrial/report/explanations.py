"""Figures of what stands beside the primary gain, drawn from the verdict's document.

Where a published gap comes from, what longer training brings, whether the gain
holds elsewhere, what a factorial of tweaks found, where the spread of scores comes from, and
how far other tuners get. None of them needs the runs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.report.drawing import (
    LIGHT,
    STYLE,
    WIDE,
    axes_at,
    blank,
    canvas,
    label_ends,
    room_for,
)
from archtrial.report.rows import LINE, Row, draw_forest, estimated
from archtrial.report.scales import gain_axis, grid, score_axis, score_ticks, scored
from archtrial.words import findings, numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined, shortened

__all__ = ["factorial", "ladder", "probes", "robustness", "shares", "waterfall"]

SPREAD = {
    "architecture": "the architecture",
    "hyperparameters": "the hyperparameters",
    "interaction": "which hyperparameters suit which architecture",
    "seed": "the seed",
}
"""What the spread of scores comes from, in words."""


# ------------------------------------------------------------- of one comparison


def waterfall(
    arms: Mapping[str, str],
    comparison: Mapping[str, Any],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws the way from the published baseline to the published challenger.

    Args:
        arms: Each arm's colour.
        comparison: With a published gap and the baseline's tuned score.
        metric: The metric of the scores.
        width: The figure's width.
    """
    published = comparison["published"]
    columns = 30 if width >= WIDE else 18
    baseline = shortened(comparison["baseline"], columns)
    challenger = shortened(comparison["challenger"], columns)
    sign = 1 if metric.higher_is_better else -1
    parts = (
        ("tuning", f"tuning {baseline} better", arms[comparison["baseline"]]),
        ("architecture", "the architecture", arms[comparison["challenger"]]),
        ("selection_luck", f"luck in selecting {challenger}", LIGHT["muted"]),
    )
    start = (
        comparison["baseline_score"]["estimate"]
        - sign * published["tuning"]["estimate"]
    )
    end = start + sign * published["gap"]
    # On a phone, names and numbers have a line each.
    line = 0 if width >= WIDE else LINE
    pitch, margin = 46 + line, 18
    with matplotlib.rc_context(STYLE):
        message = _published_message(comparison, metric)
        figure, top = blank(message, width, pitch * 5 + 46)
        axes = axes_at(figure, margin, top + 4, width - 2 * margin, pitch * 5)
        reached = [start]
        shown = [start, end]
        for part, _, _ in parts:
            found = published[part]
            shown += [
                reached[-1] + sign * found[bound]
                for bound in ("low", "high", "estimate")
                if found[bound] is not None
            ]
            reached.append(reached[-1] + sign * found["estimate"])
        low, high = min(shown), max(shown)
        pad = 0.05 * (high - low) or 0.05
        axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(pitch * 5, 0)  # pixels, from the top down

        def write(row: int, left: str, right: str, color: str) -> float:
            paper = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1}
            style: dict[str, Any] = {"va": "baseline", "bbox": paper, "zorder": 6}
            head = pitch * row + 15
            axes.text(low - pad, head, left, color=color, weight="bold", **style)
            at, align = (low - pad, "left") if line else (high + pad, "right")
            axes.text(at, head + line, right, ha=align, **style)
            return head + line + 15.0

        for row, name, value, color in (
            (0, baseline, start, arms[comparison["baseline"]]),
            (4, challenger, end, arms[comparison["challenger"]]),
        ):
            score = numbers.score(value, metric)
            y = write(row, f"{name}, as published", score, color)
            axes.plot([value], [y], "o", ms=8, color=color, zorder=5)
        for row, (part, words, color) in enumerate(parts, 1):
            found, begins = published[part], reached[row - 1]
            y = write(row, words, numbers.signed_estimate(found, metric), color)
            # A connector from the row above says where this part begins.
            axes.plot([begins, begins], [y - pitch, y], color=LIGHT["muted"], lw=1)
            axes.barh(
                y, reached[row] - begins, 12, begins, color=color, alpha=0.45, zorder=3
            )
            if None not in (found["low"], found["high"]):
                ends = [begins + sign * found[bound] for bound in ("low", "high")]
                axes.plot(ends, [y, y], color=color, lw=2.4, zorder=4)
        axes.plot([end, end], [y, y + pitch], color=LIGHT["muted"], lw=1)
        axes.set_yticks([])
        grid(axes, "x")
        score_ticks(axes.xaxis, metric, 6 if width >= WIDE else 4)
        axes.set_xlabel(scored(comparison["scored_on"], metric))
    return figure


def ladder(
    arms: Mapping[str, str],
    comparisons: Sequence[Mapping[str, Any]],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws scores over the length of training, and the target of the baseline.

    Args:
        arms: Each arm's colour, the baseline first.
        comparisons: Some of the document's; at least one has a ladder.
        metric: The metric of the scores.
        width: The figure's width.
    """
    climbed = [c for c in comparisons if c.get("ladder")]
    columns = 22 if width >= WIDE else 12
    baseline = climbed[0]["baseline"]
    name = {
        arm: shortened(arm, columns)
        for arm in (baseline, *(c["challenger"] for c in climbed))
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            _ladder_message(climbed),
            width,
            330,
            left=50,
            right=room_for([*name.values(), "target"]),
            bottom=46,
        )
        # The baseline's own rungs are the same beside every challenger.
        ends = _climbed(
            axes, climbed[0], "baseline", arms[baseline], 0.0, name[baseline]
        )
        guess = climbed[0]["ladder"]["extrapolated"]
        if guess is not None:
            x, y, _, _ = ends[0]
            at, score = math.log2(guess["rung"]), guess["baseline_score"]
            color = arms[baseline]
            axes.plot([x, at], [y, score["estimate"]], color=color, lw=1.4, ls=":")
            _whisker(axes, at, score, color, alpha=0.5)
            axes.plot(
                [at],
                [score["estimate"]],
                "o",
                ms=7,
                mew=1.8,
                color=LIGHT["paper"],
                markeredgecolor=color,
                zorder=5,
            )
            ends[0] = (at, score["estimate"], name[baseline], color)
        for i, comparison in enumerate(climbed, 1):
            challenger = comparison["challenger"]
            color = arms[challenger]
            ends += _climbed(
                axes, comparison, "challenger", color, 0.03 * i, name[challenger]
            )
            target = comparison["ladder"]["target"]["estimate"]
            axes.axhline(target, color=color, lw=1, ls=(0, (2, 3)), zorder=1)
        rungs = {rung["rung"] for c in climbed for rung in c["ladder"]["rungs"]} | (
            {guess["rung"]} if guess is not None else set()
        )
        last = math.log2(max(rungs))
        if len(climbed) == 1:
            ends.append((last + 0.15, target, "target", LIGHT["muted"]))
        axes.set_xlim(-0.15, last + 0.15)
        axes.set_xticks(
            [math.log2(rung) for rung in sorted(rungs)],
            [f"{rung:g}\u00d7" for rung in sorted(rungs)],
        )
        axes.set_xlabel(
            "length of training, tuned anew at each"
            if width >= WIDE
            else "length of training"
        )
        score_axis(axes, metric, climbed[0]["scored_on"])
        label_ends(axes, ends)
    return figure


def robustness(
    arms: Mapping[str, str],
    comparisons: Sequence[Mapping[str, Any]],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws the gain of the whole study and, below, of its parts and other readings.

    A row whose gain is lost is hollow; one where the baseline is better has the
    baseline's colour.

    Args:
        arms: Each arm's colour, the baseline first.
        comparisons: Some of the document's; at least one has its robustness.
        metric: The metric of the scores.
        width: The figure's width.
    """
    checked = [c for c in comparisons if c.get("robustness")]
    several = len(checked) > 1
    rows = []
    for comparison in checked:
        challenger = comparison["challenger"]
        lead = f"{shortened(challenger, 12)}: " if several else ""
        color = arms[challenger]
        effect = comparison["effect"]
        rows.append(
            estimated(
                f"{lead}the whole study",
                numbers.signed_estimate(effect, metric),
                color,
                effect,
            )
        )
        for row in comparison["robustness"]["rows"]:
            rows.append(
                estimated(
                    f"{lead}{row['part']}",
                    numbers.signed_estimate(row["effect"], metric),
                    arms[comparison["baseline"]]
                    if row["standing"] == "opposite"
                    else color,
                    row["effect"],
                    filled=row["standing"] not in ("lost", "too few"),
                )
            )
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_forest(
            _robustness_message(checked), rows, width, include=(0.0,), leading=True
        )
        effect = checked[0]["effect"]
        if not several and None not in (effect["low"], effect["high"]):
            axes.axvspan(
                effect["low"], effect["high"], color=rows[0].color, alpha=0.1, lw=0
            )
        _gains_axis(axes, checked[0], metric, width)
    return figure


# ------------------------------------------------------------------ of the study


def factorial(
    effects: Sequence[Mapping[str, Any]],
    margin: float,
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws main effects and interactions; those that are not claimed are hollow.

    Args:
        effects: As in the document's factorial.
        margin: The smallest gap worth having.
        metric: The metric of the scores.
        width: The figure's width.
    """
    ordered = sorted(effects, key=lambda effect: len(effect["factors"]))
    rows = [
        estimated(
            found["name"],
            numbers.signed_estimate(found["effect"], metric),
            # No arm's colour: an effect is of all arms that have the tweak.
            LIGHT["ink" if len(found["factors"]) == 1 else "muted"],
            found["effect"],
            filled=found["claimed"],
        )
        for found in ordered
    ]
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_forest(
            findings.claimed_effects(ordered, metric), rows, width, include=(0.0,)
        )
        gain_axis(axes, metric, margin, 6 if width >= WIDE else 4)
        axes.set_xlabel(f"effect on {numbers.label(metric)}{numbers.axis_unit(metric)}")
    return figure


def shares(found: Mapping[str, Mapping[str, Any]], width: int = WIDE) -> Figure:
    """Draws what share of the spread of scores comes from where.

    Args:
        found: The document's attribution: of each source, its share with an interval,
            or None where it cannot be told.
        width: The figure's width.
    """
    known = {source: found[source] for source in SPREAD if found.get(source)}
    ordered = sorted(known, key=lambda source: -known[source]["estimate"])
    rows = [
        estimated(
            "interaction of both" if source == "interaction" else source,
            numbers.shares(known[source]),
            LIGHT["ink"],
            known[source],
        )
        for source in ordered
    ]
    largest = ordered[0]
    most = numbers.probability(known[largest]["estimate"])
    message = (
        f"{most[0].upper()}{most[1:]} of the spread of scores comes from"
        f" {SPREAD[largest]}"
    )
    if largest != "architecture" and "architecture" in known:
        share = numbers.probability(known["architecture"]["estimate"])
        message += f", {share} from the architecture"
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_forest(message, rows, width, include=(0.0, 1.0))
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set_xticks(ticks, [numbers.percent(tick) for tick in ticks])
        axes.set_xlabel("share of the variance of scores in the search")
    return figure


def probes(
    arms: Mapping[str, str],
    comparison: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    metric: Metric,
    width: int = WIDE,
) -> Figure:
    """Draws how far other tuners bring the baseline, between both searches of the study.

    Args:
        arms: Each arm's colour.
        comparison: The one whose challenger is to be reached.
        found: The document's probes.
        metric: The metric of the scores.
        width: The figure's width.
    """
    color = arms[comparison["baseline"]]
    effort = numbers.count(comparison["effort"], "trial")
    rows: list[Row] = []
    for role in ("challenger", "baseline"):
        score = comparison[f"{role}_score"]
        if score["estimate"] is not None:
            arm = comparison[role]
            rows.append(
                estimated(
                    f"{shortened(arm, 16)}, the study's search, {effort}",
                    numbers.estimated_bare(score, metric),
                    arms[arm],
                    score,
                )
            )
    for probe in found:
        trials = numbers.count(probe["trials"], "trial")
        rows.append(
            estimated(
                f"{shortened(comparison['baseline'], 16)}, {probe['tuner']}, {trials}",
                numbers.estimated_bare(probe["score"], metric),
                color,
                probe["score"],
                filled=False,
            )
        )
    with matplotlib.rc_context(STYLE):
        figure, axes = draw_forest(_probes_message(comparison, found), rows, width)
        score_ticks(axes.xaxis, metric, 6 if width >= WIDE else 4)
        axes.set_xlabel(scored(comparison["scored_on"], metric))
    return figure


# ------------------------------------------------------- messages, from the data


def _published_message(comparison: Mapping[str, Any], metric: Metric) -> str:
    published = comparison["published"]
    gap = published["gap"]
    parts = {
        "tuning": "tuning",
        "architecture": "the architecture",
        "selection_luck": "luck in selecting",
    }
    if gap <= 0:
        return "What the published gap is made of"
    largest = max(parts, key=lambda part: float(published[part]["estimate"]))
    share = published[largest]["estimate"]
    if share > gap:
        whole = numbers.size(gap, metric)
        return f"{parts[largest].capitalize()} makes more than the published {whole}"
    whole, part = numbers.sized(gap, metric), numbers.sized(share, metric)
    if not metric.bounded:
        return f"Of a published gap of {whole}, {part} is {parts[largest]}"
    noun = "point" if whole == "1" else "points"
    return f"Of {whole} published {noun}, {part} {_verb(part)} {parts[largest]}"


def _verb(amount: str) -> str:
    return "was" if amount == "1" else "were"


def _ladder_message(climbed: Sequence[Mapping[str, Any]]) -> str:
    if len(climbed) > 1:
        return "What longer training, tuned anew, brings"
    comparison, found = climbed[0], climbed[0]["ladder"]
    baseline = shortened(comparison["baseline"], 24)
    challenger = shortened(comparison["challenger"], 24)
    longest, rung = found["longest"], found["rung"]
    if found["reaches"] == "yes":
        length = rung["high"] or longest
        return (
            f"Trained {length:g}\u00d7 as long, {baseline} comes within the margin of"
            f" {challenger}"
        )
    if found["reaches"] == "no":
        return (
            f"Even trained {longest:g}\u00d7 as long, {baseline} stays behind"
            f" {challenger}"
        )
    if rung["estimate"] is not None and rung["estimate"] > 1:
        return (
            f"Trained {rung['estimate']:g}\u00d7 as long, {baseline} may reach"
            f" {challenger}, but the intervals leave it open"
        )
    return f"Whether {baseline} reaches {challenger} by longer training is open"


def _robustness_message(checked: Sequence[Mapping[str, Any]]) -> str:
    rows = [row for c in checked for row in c["robustness"]["rows"]]
    if all(c["verdict"] == "not_assessable" for c in checked):
        return "The sensitivity analyses cannot be judged either"
    opposite = [row["part"] for row in rows if row["standing"] == "opposite"]
    lost = [row["part"] for row in rows if row["standing"] == "lost"]
    if opposite:
        return (
            f"The sign turns in {_few(opposite)}: the verdict depends on the search"
            " space"
        )
    if lost:
        return f"In {_few(lost)} the gain is lost; nowhere does its sign turn"
    told = sum(row["standing"] != "too few" for row in rows)
    if told < len(rows):
        return (
            f"{numbers.count(told, *_ANALYSES)}"
            f" {'gives' if told == 1 else 'give'} the same answer;"
            f" {len(rows) - told} {'has' if len(rows) - told == 1 else 'have'} too few"
            " configurations to tell"
        )
    if len(rows) == 1:
        return "The sensitivity analysis gives the same answer"
    return f"All {numbers.count(len(rows), *_ANALYSES)} give the same answer"


_ANALYSES = ("sensitivity analysis", "sensitivity analyses")


def _few(names: Sequence[str]) -> str:
    """Returns names where they are few, and their number where they are many."""
    short = [f"\u201c{shortened(name, 40)}\u201d" for name in names]
    return joined(short) if len(short) < 3 else f"{len(short)} parts"


def _probes_message(
    comparison: Mapping[str, Any], found: Sequence[Mapping[str, Any]]
) -> str:
    baseline = shortened(comparison["baseline"], 24)
    challenger = shortened(comparison["challenger"], 24)
    reaching = [probe["tuner"] for probe in found if probe["reaches"]]
    if reaching:
        brings = "brings" if len(reaching) == 1 else "bring"
        return f"{joined(reaching)} {brings} {baseline} up to {challenger}"
    if all(probe["reaches"] is False for probe in found):
        return f"No other tuner brings {baseline} up to {challenger}"
    return f"Whether another tuner brings {baseline} up to {challenger} is open"


# -------------------------------------------------------------------- drawing


def _climbed(
    axes: Axes,
    comparison: Mapping[str, Any],
    role: str,
    color: str,
    shift: float,
    name: str,
) -> list[tuple[float, float, str, str]]:
    """Draws one arm's rungs; returns the end of its line, if there is one."""
    known = [
        (math.log2(rung["rung"]) + shift, rung[f"{role}_score"])
        for rung in comparison["ladder"]["rungs"]
        if rung[f"{role}_score"] is not None
    ]
    xs = [x for x, _ in known]
    ys = [score["estimate"] for _, score in known]
    axes.plot(xs, ys, color=color, lw=2.2, marker="o", ms=7, zorder=4)
    for x, score in known:
        _whisker(axes, x, score, color)
    return [(xs[-1], ys[-1], name, color)] if known else []


def _whisker(
    axes: Axes, x: float, score: Mapping[str, Any], color: str, alpha: float = 0.6
) -> None:
    if None not in (score["low"], score["high"]):
        ends = [score["low"], score["high"]]
        axes.plot([x, x], ends, color=color, lw=2, alpha=alpha, zorder=3)


def _gains_axis(
    axes: Axes, comparison: Mapping[str, Any], metric: Metric, width: int
) -> None:
    """Makes the x axis one of gains over the baseline, with 0 and the margin."""
    gain_axis(axes, metric, comparison["margin"], 6 if width >= WIDE else 4)
    baseline = shortened(comparison["baseline"], 20)
    axes.set_xlabel(
        f"gain over {baseline} in {numbers.label(metric)}{numbers.axis_unit(metric)}"
    )

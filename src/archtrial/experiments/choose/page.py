"""The page of a choice, and what a terminal shows."""

import functools
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archtrial.experiments.choose import words
from archtrial.experiments.choose.protocol import LIMITS
from archtrial.judge.experiment import GLOSSARY, Finding, Records
from archtrial.report.article import (
    Brief,
    Exhibit,
    Fact,
    Plate,
    Section,
    Table,
)
from archtrial.report.drawing import (
    LIGHT,
    SIZE,
    STYLE,
    WIDE,
    axes_at,
    blank,
    canvas,
    label_ends,
    room_for,
)
from archtrial.report.rows import draw_gains
from archtrial.report.scales import grid, score_axis
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import columns_of, joined

__all__ = ["finding"]

Found = Mapping[str, Any]

_GLOSSARY = {
    **GLOSSARY,
    "arm": "An architecture with what is searched of its training.",
    "ladder": "The arms from simple to complex; of two that are as good the simpler is"
    " taken.",
    "look": "A declared number of configurations, at which arms may leave.",
    "finalist": "An arm that is left after the searches. It is trained anew with its tuned"
    " configuration, on fresh seeds.",
    "effort": "How many configurations are tried before the best is picked (k).",
}


def finding(
    document: Found,
    records: Records,
    answers: Mapping[str, Mapping[str, float]],
    seconds: float,
    use: Found,
) -> Finding:
    """Returns what was found with its page.

    Args:
        document: The verdict.
        records: What it was read off.
        answers: By arm, what one answer takes on the machine of the study.
        seconds: That the study took there.
        use: "folder" of the study, "lines" that use what was trained and the file
            "next" of a protocol to go on with, where they are there.
    """
    metric = records.metric
    figures: dict[str, Any] = {
        "front": functools.partial(_front, document, metric, answers),
        "path": functools.partial(_path, document, metric),
    }
    if document["gaps"]:
        gaps = {f"{gap['to']} over {gap['from']}": gap for gap in document["gaps"]}
        figures["gaps"] = functools.partial(
            draw_gains, f"How much better could another be than {document['arm']}?",
            gaps, metric, document["margin"],
            label=f"gain in test {numbers.label(metric)}",
        )  # fmt: skip
    level = numbers.level(document["alpha"])
    captions = {
        "front": f"Filled: finalists, {numbers.label(metric)} on the test set; hollow: arms"
        " that left before, on validation rows and after short trainings on a part of the"
        f" data, so that the two do not compare. {level} intervals, each by itself; a ring:"
        " what is recommended. Estimators, whose operations nobody counts, are not shown.",
        "path": f"What {document['effort']} trials of each arm end with on validation rows,"
        " at each look; the simplest arm first. A cross: who cannot win any more, with the"
        " arm that it had lost to.",
        "gaps": "What counts are the upper ends, which hold together for all of them: each"
        f" interval has {numbers.level(document['level'])}. Grey: within the margin.",
    }
    plates = {name: Plate(draw, captions[name]) for name, draw in figures.items()}
    table = _arms(document, metric)
    return records.finding(
        document,
        title="Where to start",
        sections=[
            Section(
                "",
                figures=[plates[n] for n in ("gaps", "front") if n in plates],
                tables=[table],
            ),
            Section(
                "What exactly is claimed?",
                [words.claim(document, metric), *words.checks(document, metric)],
            ),
            Section(
                "How was it found?",
                figures=[plates["path"]],
                tables=[_configurations(document)],
            ),
            Section("What does each take?", tables=_costs(document, answers)),
            Section("What was not tried?", tables=_left_out(document)),
            *_using(document, use),
            Section("The time", facts=_time(document, seconds)),
        ],
        figures=figures,
        brief=Brief.of(
            table,
            "arms",
            verdict=document["verdict"],
            ranks=(0, 3, 2, 0, 1),
            best=[e["name"] for e in document["arms"]].index(document["arm"]),
        ),
        numbers=_three(document, metric),
        glossary=_GLOSSARY,
    )


def _three(document: Found, metric: Metric) -> list[Fact]:
    """Returns the numbers that the sentence rests on."""
    taken = words.entry(document, document["arm"])
    facts = [
        Fact(
            document["arm"],
            numbers.estimate(taken["final"], metric),
            f"of test {numbers.label(metric)}, mean of"
            f" {numbers.count(document['seeds'], 'fresh seed')}",
        )
    ]
    if document["gaps"]:
        facts.append(
            Fact(
                "Another may be better by at most",
                numbers.size(document["behind"], metric),
                f"the margin is {numbers.size(document['margin'], metric)}"
                + (", by default" if document["margin_assumed"] else ""),
            )
        )
    plain = document["plain"]
    if plain["score"] is not None:
        facts.append(
            Fact(
                f"{plain['name']}, not tuned",
                numbers.estimate(plain["score"], metric),
                "scikit-learn on the same rows",
            )
        )
    return facts


def _arms(document: Found, metric: Metric) -> Exhibit:
    arms, plain = document["arms"], document["plain"]
    rows = [
        [
            arm["name"],
            f"{arm['parameters']:,}" if arm["parameters"] else "",
            numbers.estimated(arm["search"], metric),
            numbers.estimated(arm["final"], metric),
            _outcome(document, arm, metric),
        ]
        for arm in arms
    ]
    rows.append(
        [
            f"{plain['name']}, not tuned",
            "",
            "",
            numbers.estimated(plain["score"], metric),
            "beside" if plain["error"] is None else "failed",
        ]
    )
    level = numbers.level(document["alpha"])
    return Exhibit(
        f"{numbers.label(metric).capitalize()}, from simple to complex",
        Table(["arm", "parameters", "search", "test", "outcome"], rows),
        f'"search": what {document["effort"]} trials end with on'
        f" {document['rows']['seen']:,} validation rows, trained on"
        f" {document['rows']['search']:,} rows for {document['steps']['search']:,} steps."
        f' "test": {numbers.count(document["seeds"], "fresh seed")} of the tuned'
        f" configuration, trained on {document['rows']['final']:,} rows for"
        f" {document['steps']['final']:,} steps; {level} over seeds and test examples. The last row:"
        " scikit-learn's estimator as it comes, on the same training rows, with an"
        " interval over the test examples.",
    )


def _outcome(document: Found, arm: Found, metric: Metric) -> str:
    if arm["name"] == document["arm"]:
        return "recommended" if document["verdict"] == "recommended" else "best so far"
    if arm["left"] is None:
        return "finalist"
    gap = numbers.difference(arm["left"]["gap"]["estimate"], metric)
    return f"left at n = {arm['configurations']}: {gap} to {arm['left']['to']}"


def _configurations(document: Found) -> Exhibit:
    arms = document["arms"]
    names = sorted({name for arm in arms for name in arm["configuration"]})
    columns = {
        "arm": [arm["name"] for arm in arms],
        "n": [str(arm["configurations"]) for arm in arms],
        "trainings": [str(arm["trainings"]) for arm in arms],
        "diverged": [str(arm["diverged"]) for arm in arms],
    } | {
        name.replace("_", " "): [
            numbers.value(arm["configuration"].get(name, "")) for arm in arms
        ]
        for name in names
    }
    return Exhibit("What each was tuned to", Table.of(columns))


def _costs(
    document: Found, answers: Mapping[str, Mapping[str, float]]
) -> list[Exhibit]:
    arms = [arm for arm in document["arms"] if arm["name"] in answers]
    if not arms:
        return []
    columns = {
        "arm": [arm["name"] for arm in arms],
        **{
            heading: [written(answers[arm["name"]][key]) for arm in arms]
            for key, heading, written in (
                ("max_parameters", "parameters", lambda x: f"{x:,.0f}"),
                ("max_flops", "one answer", numbers.flops),
                ("max_latency", "ms", numbers.value),
                ("max_memory", "MiB", numbers.value),
            )
        },
        "one training": [numbers.flops(arm["flops_of_training"]) for arm in arms],
    }
    return [
        Exhibit(
            "",
            Table.of(columns),
            "FLOPs are 2 x multiply-adds. The time of one answer is the median of many on"
            " the machine that the study ended on; memory is that of weights and of what"
            " the layers of one answer write.",
        )
    ]


def _left_out(document: Found) -> list[Exhibit]:
    out = document["left_out"]
    if not out:
        return []
    kinds = {"data": "cannot read these data", "limit": "limit", "time": "time"}
    columns = {
        "arm": [each["name"] for each in out],
        "why": [kinds[each["reason"]] for each in out],
        "": [each["why"] for each in out],
    }
    return [Exhibit("", Table.of(columns))]


def _using(document: Found, use: Found) -> list[Section]:
    lines = [*use.get("lines", ())]
    sections = []
    if lines:
        sections.append(
            Section(
                "How do I use it?",
                [
                    f"{document['arm']} with the weights of the best by validation of its"
                    " first three fresh seeds. It takes inputs as they stand in the data."
                ],
                code="\n".join(lines),
                note="For ONNX, torch.onnx.export takes model.module; it needs the package"
                " onnx, which archtrial does not.",
            )
        )
    if "next" in use:
        sections.append(
            Section(
                "How do I go on?",
                [
                    "A trial at equal tuning effort, on another division of the rows: is"
                    " the gap one of the architectures, and does more tuning change it?"
                ],
                code=f"archtrial run {shlex.quote(use['next'])}",
            )
        )
    return sections


def _time(document: Found, seconds: float) -> list[Fact]:
    looks = joined([str(n) for n in document["looks"]])
    stops = document["stops"]
    return [
        Fact("declared", numbers.duration(document["budget"])),
        Fact(
            "spent",
            numbers.duration(seconds),
            "on the machine that the study ran on, as far as it ran in one go",
        ),
        Fact("looks", f"n = {looks}"),
        Fact(
            "seeds of finalists",
            str(document["seeds"]),
            f"the time was over before {joined(stops)}" if stops else "",
        ),
    ]


# --- figures -------------------------------------------------------------------


def _front(
    document: Found,
    metric: Metric,
    answers: Mapping[str, Mapping[str, float]],
    width: int,
) -> Figure:
    """Draws score against cost, with intervals."""
    known = [arm for arm in document["arms"] if arm["parameters"]]
    counted = all(arm["name"] in answers for arm in known)
    names = [arm["name"] for arm in known]
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            "Score against cost", width, body=340 if width >= WIDE else 300, left=52,
            right=room_for([*names, "arms"]), bottom=46,
        )  # fmt: skip
        axes.set_xscale("log")
        ends = []
        for arm in known:
            found = arm["final"] or arm["search"]
            x = answers[arm["name"]]["max_flops"] if counted else arm["parameters"]
            finalist = arm["final"] is not None
            color = LIGHT["challenger-1"] if finalist else LIGHT["muted"]
            off = [
                [abs(found[end] - found["estimate"])]
                if found[end] is not None
                else [0.0]
                for end in ("low", "high")
            ]
            axes.errorbar(
                [x], [found["estimate"]], off, color=color, marker="o", ms=7, lw=2,
                mfc=color if finalist else LIGHT["paper"], zorder=4,
            )  # fmt: skip
            if arm["name"] == document["arm"]:
                axes.plot(
                    [x], [found["estimate"]], "o", ms=15, mfc="none", mew=2,
                    color=LIGHT["baseline"], zorder=5,
                )  # fmt: skip
            ends.append((x, found["estimate"], arm["name"], color))
        axes.set_xlabel(LIMITS["max_flops"] if counted else "parameters")
        score_axis(axes, metric)
        _decades(axes, [x for x, *_ in ends])
        edge = axes.get_xlim()[1]
        label_ends(axes, [(edge, y, name, color) for _, y, name, color in ends])
        for x, y, _, color in ends:
            axes.plot([x, edge], [y, y], color=color, lw=0.6, ls=":", zorder=1)
    return figure


def _decades(axes: Axes, amounts: Sequence[float]) -> None:
    """Gives an axis of amounts a tick at each power of ten, in words."""
    low, high = min(amounts) / 1.5, max(amounts) * 1.5
    axes.set_xlim(low, high)
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    units = ("", "k", "M", "G", "T", "P")
    written = [f"{10 ** (power % 3)}{units[power // 3]}" for power in powers]
    axes.set_xticks([10.0**power for power in powers], written)
    axes.minorticks_off()


def _path(document: Found, metric: Metric, width: int) -> Figure:
    """Draws a lane for each arm, from look to look, and who left."""
    arms, looks = document["arms"], document["looks"]
    stations = [*(f"n = {n}" for n in looks), "test"]
    said = {arm["name"]: _short(document, arm, metric) for arm in arms}
    lane, left, right = 46, 24, 40
    with matplotlib.rc_context(STYLE):
        figure, top = blank(
            "The path: who was tried, and who left", width, lane * len(arms) + 34
        )
        axes = axes_at(figure, left, top + 4, width - left - right, lane * len(arms))
        axes.set_ylim(lane * len(arms), 0)
        axes.set_xlim(-0.3, len(stations) - 0.7)
        for i, arm in enumerate(arms):
            y, last = lane * i + 30, looks.index(arm["configurations"])
            finalist = arm["left"] is None
            taken = arm["name"] == document["arm"]
            color = LIGHT[
                "baseline" if taken else "challenger-1" if finalist else "muted"
            ]
            end = len(stations) - 1 if finalist else last
            axes.plot([-0.3, end], [y, y], color=color, lw=2.4 if finalist else 1.6)
            axes.plot(range(last + 1), [y] * (last + 1), "o", ms=5, color=color)
            if finalist:
                axes.plot([end], [y], "o", ms=9, color=color, zorder=5)
            else:
                axes.plot([end], [y], "x", ms=9, mew=2.2, color=color, zorder=5)
            axes.text(-0.3, y - 10, arm["name"], color=color, weight="bold")
            fits = (
                0.58 * SIZE * (columns_of(arm["name"]) + columns_of(said[arm["name"]]))
            )
            if fits < width - left - right:
                axes.text(
                    len(stations) - 0.7, y - 10, said[arm["name"]], ha="right",
                    color=LIGHT["ink"], size=SIZE - 1,
                )  # fmt: skip
        axes.set_yticks([])
        axes.set_xticks(range(len(stations)), stations)
        grid(axes, "x")
        for side in axes.spines.values():
            side.set_visible(False)
    return figure


def _short(document: Found, arm: Found, metric: Metric) -> str:
    if arm["name"] == document["arm"]:
        return "recommended" if document["verdict"] == "recommended" else "best so far"
    if arm["left"] is None:
        return "finalist"
    behind = numbers.size(-arm["left"]["gap"]["estimate"], metric)
    return f"lost to {arm['left']['to']} by {behind}"

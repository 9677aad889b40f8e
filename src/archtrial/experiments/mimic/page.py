"""The page of an experiment with teachers and students, and what a terminal shows."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from archtrial.experiments.mimic.words import layers
from archtrial.judge.experiment import GLOSSARY, Finding, Records
from archtrial.report.article import Brief, Exhibit, Plate, Section, Table
from archtrial.report.drawing import LIGHT, STYLE, WIDE, canvas, label_ends, room_for
from archtrial.report.gains import gain_plate, three_numbers
from archtrial.report.scales import score_axis
from archtrial.words import numbers
from archtrial.words.numbers import Metric

__all__ = ["finding"]

_GLOSSARY = {
    **GLOSSARY,
    "teacher": "The average, before the softmax, of the logits of the best networks of"
    " the teachers' search by validation.",
    "student": "A network that is tuned twice with equal effort: to what its teacher says"
    " of the transfer set, and to the labels of those examples that have one.",
    "transfer set": "What students see: training examples, augmented once, and inputs"
    " without labels where there are any.",
    "gap": "By how much one student is better than another of equal size, each with its"
    " teacher or without, as validation says.",
}


def finding(
    document: Mapping[str, Any], records: Records, latency: Mapping[str, Any] | None
) -> Finding:
    """Returns what was found with its page.

    Args:
        document: The verdict.
        records: What it was read off.
        latency: How long teacher and students took on the machine of the study.
    """
    metric = records.metric
    table = _students(document, metric)
    plates: dict[str, Plate] = {}
    if any(student["budget"] for student in document["students"]):
        plates["budgets"] = Plate(
            functools.partial(_budgets, document, metric),
            f"The {_effort(document)}, {numbers.level(document['alpha'])} intervals. Solid:"
            " with a teacher; dashed: the same students tuned to the labels. Triangles have"
            " no convolution."
            + (
                " Squares: Urban et al. 2017, table 2." if document["published"] else ""
            ),
        )
    gains = {s["name"]: s["gain"] for s in document["students"]}
    known = {name: gain for name, gain in gains.items() if gain["estimate"] is not None}
    if known:
        plates["gains"] = gain_plate(
            "What a teacher brings each student", known, document, metric,
            "that hold together for all students",
        )  # fmt: skip
    gaps = {
        f"{gap['to']} over {gap['from']}": gap
        for name in ("convolution", "depth")
        for gap in document[name]["gaps"]
        if gap["estimate"] is not None
    }
    if gaps:
        plates["gaps"] = gain_plate(
            "What convolution and depth bring at equal size", gaps, document, metric,
            "that hold together for all gaps of convolution, and for all of depth; each"
            " student with its teacher or without, as validation says", what="gap",
        )  # fmt: skip
    told = {**gaps, **known}
    return records.finding(
        document,
        title="Teachers and students",
        sections=[
            Section("", figures=[plates[n] for n in ("budgets", "gaps") if n in plates]),
            Section(
                "What does the teacher bring?",
                figures=[plates["gains"]] if known else [],
                tables=[table],
            ),
            Section("Who is the teacher?", tables=_teacher(document, metric)),
            Section(
                "How large and how fast are they?",
                tables=[_latency(document, latency)] if latency else [],
                note="On the machine that the study ended on: the median of many answers.",
            ),
        ],
        figures={name: plate.draw for name, plate in plates.items()},
        brief=Brief.of(
            table, "students", verdict=document["verdict"],
            ranks=(0, 4, 2, 1, 0, 3),
        ),
        numbers=three_numbers(next(iter(told), None), told, document, metric),
        glossary=_GLOSSARY,
    )  # fmt: skip


def _effort(document: Mapping[str, Any]) -> str:
    if document["tuner"] == "sobol":
        return f"best of {document['effort']} trials"
    return (
        f"best of {document['configurations']} trials of Bayesian optimisation,"
        f" {document['searches']} searches"
    )


def _students(document: Mapping[str, Any], metric: Metric) -> Exhibit:
    students = document["students"]
    columns = {
        "student": [s["name"] for s in students],
        "parameters": [f"{s['parameters']:,}" for s in students],
        "with labels": [numbers.estimated(s["without"], metric) for s in students],
        "with a teacher": [numbers.estimated(s["with"], metric) for s in students],
        "gain": [numbers.gained(s["gain"], metric) for s in students],
    }
    if document["teacher"] is not None:
        columns["to its teacher"] = [
            numbers.gained(s["to_teacher"], metric) for s in students
        ]
    return Exhibit(
        f"Test {numbers.label(metric)} of the {_effort(document)}",
        Table.of(columns),
        f"Intervals at {numbers.level(document['alpha'])}, of gains and of differences to"
        " the teacher for all students at once, each by itself. What differs from the"
        " teacher, and has the parameters, is the best of all trials with it.",
    )


def _teacher(document: Mapping[str, Any], metric: Metric) -> list[Exhibit]:
    teacher = document["teacher"]
    if teacher is None:
        return []
    members = teacher["members"]
    names = sorted({name for m in members for name in m["configuration"]})
    columns = {"member": [m["name"] for m in members]} | {
        name: [numbers.value(m["configuration"].get(name, "")) for m in members]
        for name in names
    }
    score = numbers.estimated(teacher["score"], metric)
    return [
        Exhibit(
            f"The best {len(members)} of {teacher['candidates']} by validation",
            Table.of(columns),
            f"Their averaged logits score {score} on the test set, an interval over its"
            f" examples; {teacher['parameters']:,} parameters together.",
        )
    ]


def _latency(document: Mapping[str, Any], measured: Mapping[str, Any]) -> Exhibit:
    parameters = {s["name"]: s["parameters"] for s in document["students"]}
    if document["teacher"] is not None:
        parameters = {"teacher": document["teacher"]["parameters"], **parameters}
    known = [name for name in parameters if name in measured]
    columns = {
        "network": known,
        "parameters": [f"{parameters[name]:,}" for name in known],
        **{
            f"{batch} at once, ms": [
                numbers.value(1000 * measured[name][batch]["median"]) for name in known
            ]
            for batch in measured[known[0]]
        },
    }
    return Exhibit("Time to answer", Table.of(columns))


def _budgets(document: Mapping[str, Any], metric: Metric, width: int) -> Figure:
    """Draws scores by number of parameters, a line a layout."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for student in document["students"]:
        if student["budget"] is not None and student["with"]["estimate"] is not None:
            lines.setdefault(student["layout"], []).append(student)
    names = {layout: layers(layout) for layout in lines}
    roles = [role for role in LIGHT if role.startswith("challenger")]
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(
            "Test scores by size, with and without a teacher", width,
            body=330 if width >= WIDE else 300, left=52,
            right=room_for([*names.values(), "teacher"]), bottom=46,
        )  # fmt: skip
        axes.set_xscale("log")
        _sizes(axes, sorted({s["budget"] for own in lines.values() for s in own}))
        ends = []
        for layout, students in lines.items():
            # Layouts of a kind have a marker, and each a colour, always the same.
            color = LIGHT[roles[int(layout[-1]) - 1]]
            marker = "o" if layout.startswith("conv") else "^"
            students = sorted(students, key=lambda s: int(s["budget"]))
            x = [s["budget"] for s in students]
            for form, style in (("without", (0, (4, 2))), ("with", "-")):
                y = [s[form]["estimate"] for s in students]
                off = [
                    [abs(s[form][end] - s[form]["estimate"]) for s in students]
                    for end in ("low", "high")
                ]
                taught = form == "with"
                axes.errorbar(
                    x, y, off, color=color, ls=style, marker=marker, ms=5 if taught else 4,
                    lw=2 if taught else 1.3, elinewidth=1.2, zorder=4 if taught else 3,
                    alpha=1 if taught else 0.7,
                )  # fmt: skip
            ends.append((x[-1], students[-1]["with"]["estimate"], names[layout], color))
            points = [
                p
                for p in document["published"]
                if p["layout"] == layout and p["taught"]
            ]
            axes.plot(
                [p["parameters"] for p in points], [p["score"] for p in points],
                color=color, marker="s", ls=":", ms=4, lw=1,
            )  # fmt: skip
        teacher = document["teacher"]
        if teacher is not None:
            score = teacher["score"]["estimate"]
            axes.axhline(score, color=LIGHT["muted"], lw=1.2, zorder=2)
        score_axis(axes, metric, "test")
        if teacher is not None:
            ends.append((axes.get_xlim()[1], score, "teacher", LIGHT["muted"]))
        label_ends(axes, ends)
    return figure


def _sizes(axes: Any, budgets: Sequence[int]) -> None:
    low, high = min(budgets), max(budgets)
    axes.set_xlim(low / 1.25, high * 1.25)
    axes.set_xticks(budgets, list(map(_short, budgets)), minor=False)
    axes.minorticks_off()
    axes.set_xlabel("parameters")


def _short(parameters: int) -> str:
    """Returns "3k", "31.6M"."""
    if parameters >= 1e6:
        return f"{parameters / 1e6:.3g}M"
    return f"{parameters / 1e3:.3g}k" if parameters >= 1e3 else str(parameters)

"""The page of a study of procedures with few labels, and what a terminal shows of it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from archtrial.experiments.mpl.protocol import AUGMENTED
from archtrial.experiments.mpl.words import NAMES, gain_of
from archtrial.judge.experiment import GLOSSARY, Finding, Records
from archtrial.report.article import Brief, Exhibit, Plate, Section, Table
from archtrial.report.curves import Line, draw_lines
from archtrial.report.drawing import LIGHT
from archtrial.report.gains import gain_plate, three_numbers
from archtrial.words import numbers
from archtrial.words.numbers import Metric

__all__ = ["finding"]

Found = Mapping[str, Any]

_GLOSSARY = {
    **GLOSSARY,
    "labels alone": "Training on labelled examples, weakly changed; strong augmentation is"
    " the same on strongly changed ones.",
    "pseudo labels": "The network's own answers, where it is confident, are labels of the"
    " other examples, too (Lee 2013).",
    "UDA": "Consistency training: the network answers for a strongly changed example as for"
    " a weakly changed one (Xie et al. 2020, arXiv 1904.12848).",
    "MPL": "Meta pseudo labels: a student learns from the pseudo labels of a teacher, who learns"
    " as in UDA and from h (Pham et al. 2021, arXiv 2003.10580).",
    "h": "The student's feedback: by how much its step on pseudo labels lowered its loss on"
    " labelled examples. The teacher's loss has it, less its mean so far, as the weight of"
    " the pseudo labels that it gave; labels weigh 1.",
    "finetuning": "Over the last steps the student learns from labels alone.",
}


def finding(document: Found, records: Records) -> Finding:
    """Returns what was found with its page.

    Args:
        document: The verdict.
        records: What it was read off.
    """
    metric = records.metric
    told: dict[str, Found] = {}
    plates = {}
    for name, message, own in (
        (
            "feedback",
            "What the student's feedback brings",
            _named(document["feedback"]),
        ),
        ("gains", "What each procedure brings", _named(document["gains"])),
    ):
        if own:
            plates[name] = gain_plate(
                message, own, document, metric,
                "over labelled subsets and seeds, which hold together",
            )  # fmt: skip
            told |= own
    plates["curves"] = Plate(
        functools.partial(_curves, document, metric),
        f"Mean validation {numbers.label(metric)} of the tuned configuration over its fresh"
        " seeds, each with labels of its own. Dashed: teachers. Dotted: where finetuning of"
        " students begins.",
    )
    taught = [p for p in document["procedures"] if "h" in p]
    if taught:
        plates["h"] = Plate(
            functools.partial(_feedback, taught),
            "Mean of h since the evaluation before, over the fresh seeds; the band is its"
            " standard deviation from step to step. The teacher's loss has h less its mean"
            " so far, so that the band shows what weighs there, where labels weigh 1.",
        )
    table = _table(document, metric)
    return records.finding(
        document,
        title="Few labels",
        sections=[
            Section("", figures=[plates[n] for n in ("feedback",) if n in plates]),
            Section(
                "Which procedure?",
                figures=[plates[n] for n in ("gains",) if n in plates],
                tables=[table],
            ),
            Section(
                "How do they learn?",
                figures=[plates[n] for n in ("curves", "h") if n in plates],
                tables=[_tuned(document)],
            ),
            Section(
                "What was published?",
                tables=[_published(document, metric)],
                note="Pham et al. 2021, table 2, and what stands beside it there: CIFAR-10"
                " with 4,000 labels and SVHN with 1,000, by a WRN-28-2 in 300,000 steps,"
                " each procedure with hyperparameters of its own. Nothing here is held to"
                " them.",
            ),
        ],
        figures={name: plate.draw for name, plate in plates.items()},
        brief=Brief.of(
            table, "procedures", verdict=document["verdict"],
            ranks=(0, 0, 1, 2, 3),
        ),
        numbers=three_numbers(next(iter(told), None), told, document, metric),
        glossary=_GLOSSARY,
    )  # fmt: skip


def _named(gains: Sequence[Found]) -> dict[str, Found]:
    return {gain_of(gain): gain for gain in gains if gain["estimate"] is not None}


def _table(document: Found, metric: Metric) -> Exhibit:
    procedures = document["procedures"]
    first = procedures[0]["name"]
    gains = {g["to"]: g for g in document["gains"] if g["from"] == first}
    columns = {
        "procedure": [NAMES[p["name"]] for p in procedures],
        f"test {numbers.label(metric)}": [
            numbers.estimated(p["score"], metric) for p in procedures
        ],
        f"over {NAMES[first]}": [
            numbers.gained(gains[p["name"]], metric) if p["name"] in gains else ""
            for p in procedures
        ],
        "finetuning brings": [
            numbers.gained(p["finetuning"], metric) if p.get("finetuning") else ""
            for p in procedures
        ],
        "FLOPs": [numbers.flops(p["flops"]) for p in procedures],
    }
    return Exhibit(
        f"Test {numbers.label(metric)} of the best of"
        f" {numbers.count(document['effort'], 'trial')}",
        Table.of(columns),
        f"{numbers.level(document['alpha'])} intervals over labelled subsets and seeds."
        " Gains hold together; what finetuning brings is of the validation score, from"
        " where it begins to the end, on fresh seeds. FLOPs are of one training.",
    )


def _tuned(document: Found) -> Exhibit:
    procedures = document["procedures"]
    names = list(dict.fromkeys(name for p in procedures for name in p["configuration"]))
    columns = {
        "procedure": [NAMES[p["name"]] for p in procedures],
        **{
            name.replace("_", " "): [
                numbers.value(p["configuration"][name])
                if name in p["configuration"]
                else ""
                for p in procedures
            ]
            for name in names
        },
    }
    return Exhibit("Tuned configurations", Table.of(columns), "Chosen by validation.")


def _published(document: Found, metric: Metric) -> Exhibit:
    procedures = {NAMES[p["name"]]: p for p in document["procedures"]}
    ours = {
        "supervised on the few labels": "labels alone",
        "pseudo labels": "pseudo labels",
        "UDA": "UDA",
        "meta pseudo labels": "MPL",
    }
    rows = document["published"]
    columns = {
        "method": [row["method"] for row in rows],
        "CIFAR-10": [f"{row['cifar10_4000_labels_percent']} %" for row in rows],
        "SVHN": [f"{row['svhn_1000_labels_percent']} %" for row in rows],
        f"{document['data']}, here": [
            numbers.estimated(procedures[ours[row["method"]]]["score"], metric)
            if ours.get(row["method"]) in procedures
            else ""
            for row in rows
        ],
    }
    return Exhibit("Beside: the paper of meta pseudo labels", Table.of(columns))


def _curves(document: Found, metric: Metric, width: int) -> Figure:
    """Draws learning curves, of students and, dashed, of their teachers."""
    procedures = document["procedures"]
    lines = [
        _line(procedure, key, NAMES[procedure["name"]] if key == "curve" else "")
        for procedure in procedures
        for key in ("curve", "teacher")
    ]
    marks = {p["finetuned_from"] for p in procedures if p.get("finetuned_from")}
    message = "Validation scores while they learn"
    return draw_lines(message, lines, width, scores=metric, marks=sorted(marks))


def _feedback(taught: Sequence[Found], width: int) -> Figure:
    """Draws h over time, with how far it is from its mean from step to step."""
    lines = [
        dataclasses.replace(
            _line(procedure, "h", NAMES[procedure["name"]]),
            band=[point["mean"] for point in procedure["h_deviation"]],
        )
        for procedure in taught
    ]
    label = "h, in units of the loss"
    return draw_lines("The student's feedback h over time", lines, width, label=label)


def _line(procedure: Found, key: str, name: str) -> Line:
    points = procedure.get(key, [])
    steps, values = ([point[of] for point in points] for of in ("step", "mean"))
    return Line(name, LIGHT[_COLORS[procedure["name"]]], steps, values)


_COLORS = {
    "mpl": "challenger-1",
    "mpl_h0": "challenger-2",
    "mpl_negated": "challenger-3",
    "uda": "challenger-4",
    "pseudo_labels": "challenger-5",
    "supervised": "baseline",
    AUGMENTED: "muted",
}
"""By procedure, the same whichever others there are."""

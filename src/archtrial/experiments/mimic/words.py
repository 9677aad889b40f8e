"""What was found of teachers and students, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["budget", "layers", "told"]

_CLEAR = ("architecture", "tuning")
Found = Mapping[str, Any]


def layers(layout: str) -> str:
    """Returns what a layout has: "2 convolutions", "1 hidden layer"."""
    kind = "convolution" if layout[:-1] == "conv" else "hidden layer"
    return numbers.count(int(layout[-1]), kind)


def budget(parameters: float) -> str:
    """Returns a number of parameters: "10,000 parameters", "3.16 million parameters"."""
    if parameters >= 1e6:
        return f"{parameters / 1e6:.3g} million parameters"
    return f"{parameters:,.0f} parameters"


def told(document: Found, metric: Metric) -> dict[str, Any]:
    """Returns the verdict in a few words, its sentence, and what warns of it."""
    answers = {name: document[name]["answer"] for name in ("convolution", "depth")}
    asked = [f"{name} {answer}" for name, answer in answers.items() if answer]
    sentences = [
        *_convolution(document, metric),
        *_depth(document, metric),
        *_teaching(document, metric),
        *_to_teacher(document, metric),
    ]
    return {
        "verdict": ", ".join(asked) or _of_gains(document["students"]),
        "sentence": " ".join(sentences) or "Nothing can be told of any student.",
        "warnings": list(_warnings(document, metric)),
    }


def _of_gains(students: Sequence[Found]) -> str:
    found = {student["gain"]["verdict"] for student in students}
    if found <= set(_CLEAR):
        return "the teacher helps"
    if found <= {"equivalent", "baseline"}:
        return "the teacher brings nothing"
    return "undecided"


def _names(document: Found) -> dict[str, Found]:
    return {student["name"]: student for student in document["students"]}


def _convolution(document: Found, metric: Metric) -> Iterator[str]:
    found, students = document["convolution"], _names(document)
    gaps = found["gaps"]
    if found["answer"] == "needed":
        least = min(gaps, key=lambda gap: float(gap["low"]))
        within = (least["low"], least["high"])
        sizes = joined([f"{gap['budget']:,}" for gap in gaps])
        yield (
            f"Convolution is needed: at {sizes} parameters, no student without it comes"
            f" within {numbers.amount(least['low'], metric, within)} of the one with"
            f" {layers(students[least['to']]['layout'])}, of the same size."
        )
    elif found["answer"] == "not needed":
        yield f"Convolution is not needed: {_close(gaps, students, metric)}."
    elif found["answer"] == "undecided":
        yield f"Whether convolution is needed stays open: {_open(gaps, students, metric)}."


def _depth(document: Found, metric: Metric) -> Iterator[str]:
    found, students = document["depth"], _names(document)
    gaps = found["gaps"]
    if found["answer"] == "needed":
        said = [_gap(gap, students, metric) for gap in gaps]
        yield f"Depth is needed: {joined(said)}."
    elif found["answer"] == "not needed":
        yield f"Depth is not needed: {_close(gaps, students, metric)}."
    elif found["answer"] == "undecided":
        yield f"Whether depth is needed stays open: {_open(gaps, students, metric)}."


def _gap(gap: Found, students: Mapping[str, Found], metric: Metric) -> str:
    first, second = (students[gap[end]]["layout"] for end in ("from", "to"))
    return (
        f"at {budget(gap['budget'])} {second} differs from {first} by"
        f" {numbers.gained(gap, metric)}"
    )


def _close(gaps: Sequence[Found], students: Mapping[str, Found], metric: Metric) -> str:
    reached = [gap for gap in gaps if gap["verdict"] in ("equivalent", "baseline")]
    return _gap(reached[0], students, metric)


def _open(gaps: Sequence[Found], students: Mapping[str, Found], metric: Metric) -> str:
    left = [gap for gap in gaps if gap["verdict"] not in _CLEAR] or gaps
    known = [_gap(gap, students, metric) for gap in left if gap["estimate"] is not None]
    return joined(known) or "the gap cannot be told"


def _teaching(document: Found, metric: Metric) -> Iterator[str]:
    students = document["students"]
    helped = [s for s in students if s["gain"]["verdict"] in _CLEAR]
    harmed = [s for s in students if s["gain"]["verdict"] == "baseline"]
    known = [s["gain"] for s in students if s["gain"]["estimate"] is not None]
    if not known:
        return
    low, high = (pick(g["estimate"] for g in known) for pick in (min, max))
    between = numbers.differences(low, high, metric) if len(known) > 1 else ""
    of = "the labels as their teacher" if document["teacher"] is None else "a teacher"
    if len(known) == 1:
        yield f"With {of} it gains {numbers.gained(known[0], metric)}."
        return
    some = f"{len(helped)} of {len(students)}" if helped else f"none of {len(students)}"
    how = f"a gain is shown for {some} students"
    if harmed:
        how += f" and a loss for {len(harmed)}"
    yield f"With {of}, tuned as well as without, {how}: the differences are {between}."


def _to_teacher(document: Found, metric: Metric) -> Iterator[str]:
    if document["teacher"] is None:
        return
    sign = 1 if metric.higher_is_better else -1
    best = max(document["students"], key=lambda s: sign * s["to_teacher"]["estimate"])
    behind = best["to_teacher"]
    where = "ahead of" if sign * behind["estimate"] > 0 else "behind"
    within = (behind["low"], behind["high"])
    yield (
        f"The best student, {best['name']}, is"
        f" {numbers.amount(behind['estimate'], metric, within)} {where} its teacher, at"
        f" {numbers.estimated(document['teacher']['score'], metric)}."
    )


def _warnings(document: Found, metric: Metric) -> Iterator[str]:
    sign = 1 if metric.higher_is_better else -1
    if document["teacher"] is not None:
        better = [
            s["name"]
            for s in document["students"]
            if min(sign * s["to_teacher"][end] for end in ("low", "high")) > 0
        ]
        if better:
            yield (
                f"{joined(better)} {'are' if better[1:] else 'is'} better than the"
                " teacher: it was no better at what it taught, so that gaps between"
                " students say less of what they could learn. Search it further"
                " (--teacher-configurations), or take another --teacher."
            )
    reasons: dict[str, list[str]] = {}
    for student in document["students"]:
        if reason := student["gain"]["reason"]:
            reasons.setdefault(reason, []).append(f"the gain of {student['name']}")
    for name in ("convolution", "depth"):
        for gap in document[name]["gaps"]:
            if gap["reason"]:
                what = f"the gap of {name} at {budget(gap['budget'])}"
                reasons.setdefault(gap["reason"], []).append(what)
    for reason, untold in reasons.items():
        yield f"Not told: {joined(untold)}, since {reason}."

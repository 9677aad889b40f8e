"""What was found of teachers and students, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archtrial.words import numbers
from archtrial.words.gains import cautions
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["budget", "layers", "told"]

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
        *_answered("depth", document["depth"], metric),
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
    if found <= {"architecture"}:
        return "the teacher helps"
    if found <= {"baseline"}:
        return "the teacher harms"
    return "the teacher brings nothing" if found <= {"equivalent"} else "undecided"


def _convolution(document: Found, metric: Metric) -> Iterator[str]:
    found = document["convolution"]
    gaps = [gap for gap in found["gaps"] if gap["estimate"] is not None]
    if found["answer"] != "needed":
        yield from _answered("convolution", found, metric)
        return
    sizes = joined([f"{size['budget']:,}" for size in found["budgets"]])
    least = min(gaps, key=lambda gap: float(gap["low"]))
    within = (least["low"], least["high"])
    best = joined(list(dict.fromkeys(gap["to"].partition("-")[0] for gap in gaps)))
    yield (
        f"Convolution is needed: at {sizes} parameters, no student without it comes"
        f" within {numbers.amount(least['low'], metric, within)} of {best}, of the same"
        " size."
    )


def _answered(what: str, found: Found, metric: Metric) -> Iterator[str]:
    """Yields an answer with the gaps that it rests on, at each size."""
    leads = {
        "needed": f"{what.capitalize()} is needed",
        "not needed": f"{what.capitalize()} is not needed",
        "depends on the size": f"Whether {what} is needed depends on the size",
        "undecided": f"Whether {what} is needed stays open",
    }
    if found["answer"] is None:
        return
    said = []
    for size in found["budgets"]:
        own = [g for g in found["gaps"] if g["budget"] == size["budget"]]
        decisive = [g for g in own if g["verdict"] in _DECIDES[size["answer"]]]
        told = [_gap(g, metric) for g in decisive or own if g["estimate"] is not None]
        if told:
            said.append(f"at {budget(size['budget'])} {joined(told)}")
    yield f"{leads[found['answer']]}: {joined(said) or 'no gap can be told'}."


# The verdicts on gaps that an answer at one size rests on; else all of them.
_DECIDES = {
    "needed": ("architecture",),
    "not needed": ("equivalent", "baseline"),
    "undecided": ("inconclusive", "tuning"),
}


def _gap(gap: Found, metric: Metric) -> str:
    first, second = (gap[end].partition("-")[0] for end in ("from", "to"))
    said = f"{second} differs from {first} by {numbers.gained(gap, metric)}"
    if gap["verdict"] == "tuning":
        return f"{said}, which up to 4 times the trials would close"
    if gap["verdict"] == "inconclusive" and gap["p_value_adjusted"] is not None:
        return f"{said}, p = {numbers.p_bare(gap['p_value_adjusted'])}"
    return said


# Of one student, and of several.
_COUNTED = {
    "architecture": ("gains", "gain"),
    "tuning": (
        "gains what more trials would bring",
        "gain what more trials would bring",
    ),
    "equivalent": ("is the same within the margin", "are the same within the margin"),
    "baseline": ("loses", "lose"),
    "inconclusive": ("stays open", "stay open"),
}


def _teaching(document: Found, metric: Metric) -> Iterator[str]:
    students = document["students"]
    known = [s for s in students if s["gain"]["estimate"] is not None]
    if not known:
        return
    of = "the labels as their teacher" if document["teacher"] is None else "a teacher"
    if len(students) == 1:
        (only,) = known
        gain = numbers.gained(only["gain"], metric)
        yield f"With {of} {only['name']} differs by {gain} from what it is without."
        return
    found = [s["gain"]["verdict"] for s in known]
    counts = []
    for verdict, said in _COUNTED.items():
        count = found.count(verdict)
        if count:
            every = "all" if count == len(students) else count
            counts.append(f"{every} {said[count > 1]}")
    low, high = (pick(s["gain"]["estimate"] for s in known) for pick in (min, max))
    yield (
        f"With {of}, tuned as well as without, of {len(students)} students"
        f" {joined(counts)} (differences of {numbers.differences(low, high, metric)})."
    )


def _to_teacher(document: Found, metric: Metric) -> Iterator[str]:
    if document["teacher"] is None:
        return
    sign = 1 if metric.higher_is_better else -1
    # By validation: nothing is picked by what it scores on the test set.
    best = max(
        document["students"], key=lambda s: float(sign * s["tuned"]["validation"])
    )
    yield (
        f"The best student by validation, {best['name']} tuned by all its trials, scores"
        f" {numbers.estimate(best['tuned']['score'], metric)} and differs from its"
        f" teacher by {numbers.gained(best['to_teacher'], metric)}; the teacher scores"
        f" {numbers.estimated(document['teacher']['score'], metric)}."
    )


def _warnings(document: Found, metric: Metric) -> Iterator[str]:
    students = document["students"]
    if document["teacher"] is not None:
        better = [s["name"] for s in students if s["to_teacher"]["low"] > 0]
        if better:
            yield (
                f"{joined(better)} {'are' if better[1:] else 'is'} better than the"
                " teacher: it was no better at what it taught, so that gaps between"
                " students say less of what they could learn. Search it further"
                " (--teacher-configurations), or take another --teacher."
            )
    harmed = [s["name"] for s in students if s["gain"]["verdict"] == "baseline"]
    if harmed:
        yield (
            f"The teacher harms {joined(harmed)}: where validation says so, students are"
            " compared as they are without it."
        )
    told = [(f"the gain of {s['name']}", s["gain"]) for s in students]
    told += [
        (f"the gap between {gap['from']} and {gap['to']}", gap)
        for name in ("convolution", "depth")
        for gap in document[name]["gaps"]
    ]
    yield from cautions(told)

"""What was found of a network that grows, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from archtrial.words import numbers
from archtrial.words.gains import cautions
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["factors", "times", "told"]

Found = Mapping[str, Any]

_GREEK = {"depth": "alpha", "width": "beta", "resolution": "gamma"}

_VERDICTS = {
    "compound": "compound scaling pays",
    "one axis": "one axis alone is better",
    "no need": "one axis alone is enough",
    "undecided": "undecided",
}


def times(ratio: float) -> str:
    """Returns "2.1 times"."""
    return f"{ratio:.1f} times"


def factors(found: Mapping[str, float]) -> str:
    """Returns by how much each axis grows: "depth 1.5, width 1.3"."""
    return ", ".join(f"{axis} {factor:.2f}" for axis, factor in found.items())


def told(document: Found, metric: Metric) -> dict[str, Any]:
    """Returns the verdict in a few words, its sentence, and what warns of it."""
    last = document["sizes"][-1]
    sentences = [*_over(document, last, metric), *_chosen(document)]
    sentences += _growth(document, last, metric)
    return {
        "verdict": _VERDICTS[document["answer"]],
        "sentence": " ".join(sentences),
        "warnings": list(_warnings(document)),
    }


def _form(document: Found, name: str) -> Found:
    found: Found = next(form for form in document["forms"] if form["name"] == name)
    return found


def _over(document: Found, size: Found, metric: Metric) -> Iterator[str]:
    """Yields the answer at the largest size with the differences that it rests on."""
    every = joined(list(document["axes"]))
    leads = {
        "compound": f"Growing {every} together is better than growing one of them",
        "one axis": f"Growing {every} together is worse than growing one of them",
        "no need": f"Growing {every} together is not needed",
        "undecided": f"Whether {every} grow best together stays open",
    }
    decisive = {
        "compound": ("architecture",),
        "one axis": ("baseline",),
        "no need": ("equivalent",),
        "undecided": ("architecture", "tuning", "equivalent", "inconclusive"),
    }[document["answer"]]
    known = [
        f"{numbers.gained(gain, metric)} from {gain['axis']} alone"
        for gain in size["over"]
        if gain["estimate"] is not None and gain["verdict"] in decisive
    ]
    ratio = _form(document, size["compound"])["flops_of_base"]
    yield (
        f"{leads[document['answer']]}: at {times(ratio)} the FLOPs of"
        f" {document['architecture']} on {document['data']}, the compound form differs by"
        f" {joined(known)}."
        if known
        else f"{leads[document['answer']]}: no difference can be told."
    )


def _chosen(document: Found) -> Iterator[str]:
    first = document["sizes"][0]["compound"]
    chosen = _form(document, first)["factors"]
    named = [f"{_GREEK[axis]} = {factor:.2f}" for axis, factor in chosen.items()]
    scores = {point["validation"] for point in document["grid"]}
    count = numbers.count(len(document["grid"]), "division")
    if len(document["grid"]) == 1:
        yield f"One division of the growth could be had: {joined(named)}."
    elif len(scores) == 1:
        yield f"No division of the growth was better than another: {joined(named)} is one."
    else:
        yield (
            f"Of {count} of the growth between the axes, {joined(named)} was best by"
            " validation; each axis alone had one form, so that compound is favoured by"
            " that choice."
        )


def _growth(document: Found, size: Found, metric: Metric) -> Iterator[str]:
    gain = size["over_base"]
    if gain["estimate"] is None:
        return
    said = numbers.gained(gain, metric)
    if gain["verdict"] in ("architecture", "tuning"):
        yield f"Growth itself brings {said}."
    elif gain["verdict"] == "equivalent":
        yield f"Growth itself brings nothing worth having: {said}."
    elif gain["verdict"] == "baseline":
        yield f"The larger network is worse than the base: {said}."
    else:
        yield f"Whether growth brings anything at all stays open: {said}."


def _warnings(document: Found) -> Iterator[str]:
    unequal = [
        f"{form['name']} ({times(form['flops_of_base'])})"
        for form in document["forms"]
        if form["phi"]
        and not 1 / 1.1
        < form["flops_of_base"] / document["growth"] ** form["phi"]
        < 1.1
    ]
    if unequal:
        yield (
            f"FLOPs are not equal to a tenth, since axes go in steps: {joined(unequal)} in"
            f" place of {times(document['growth'])} for each step of phi."
        )
    yield from cautions(
        (f"{size['compound']} over {other}", gain)
        for size in document["sizes"]
        for other, gain in (
            *((gain["form"], gain) for gain in size["over"]),
            ("the base", size["over_base"]),
        )
    )

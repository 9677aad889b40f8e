"""What was found of procedures that use few labels, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from archtrial.words import numbers
from archtrial.words.gains import cautions
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["NAMES", "gain_of", "told"]

Found = Mapping[str, Any]

NAMES = {
    "supervised": "labels alone",
    "augmented": "strong augmentation",
    "pseudo_labels": "pseudo labels",
    "uda": "UDA",
    "mpl": "MPL",
    "mpl_h0": "MPL with h = 0",
    "mpl_negated": "MPL with \N{MINUS SIGN}h",
}
"""By procedure, as sentences call it."""

_VERDICTS = {
    "helps": "h helps",
    "harms": "h harms",
    "does not matter": "h does not matter",
    "brings nothing": "h brings nothing",
    "undecided": "whether h matters stays open",
}

_LEADS = {
    "helps": "The student's feedback makes its teacher better",
    "harms": "The student's feedback makes its teacher worse",
    "does not matter": "The student's feedback to its teacher does not matter, whatever its"
    " sign",
    "brings nothing": "The student's feedback to its teacher brings nothing",
    "undecided": "Whether the student's feedback to its teacher matters stays open",
}


def gain_of(gain: Found) -> str:
    """Returns what a gain is of: "UDA over labels alone"."""
    return f"{NAMES[gain['to']]} over {NAMES[gain['from']]}"


def told(document: Found, metric: Metric) -> dict[str, Any]:
    """Returns the verdict in a few words, its sentence, and what warns of it."""
    sentences = [*_feedback(document, metric), *_gains(document, metric)]
    answer = document["answer"]
    return {
        "verdict": _of_gains(document) if answer is None else _VERDICTS[answer],
        "sentence": " ".join(sentences) or "Nothing can be told of any procedure.",
        "warnings": list(_warnings(document)),
    }


def _feedback(document: Found, metric: Metric) -> Iterator[str]:
    """Yields whether h matters, with the differences that say so."""
    if document["answer"] is None:
        return
    known = [
        f"{_gain(gain, metric)} {_other(gain)}"
        for gain in document["feedback"]
        if gain["estimate"] is not None
    ]
    seen = _seen(document)
    yield (
        f"{_LEADS[document['answer']]}: {seen} of {document['data']}, meta pseudo labels"
        f" (MPL) with h as derived differ by {joined(known)}."
        if known
        else f"{_LEADS[document['answer']]}: no difference can be told."
    )


def _other(gain: Found) -> str:
    """Returns what a gain of meta pseudo labels is held against."""
    return {"mpl_h0": "from h = 0", "mpl_negated": "from its negative"}[gain["from"]]


def _seen(document: Found) -> str:
    if document["labels"] is None:
        return (
            f"with {document['training_rows']:,} labels and {document['more_rows']:,} more"
            " examples"
        )
    return f"with {document['labels']:,} labels"


def _gain(gain: Found, metric: Metric) -> str:
    said = numbers.gained(gain, metric)
    if gain["verdict"] == "tuning":
        return f"{said}, which up to 4 times the trials would close,"
    return said


def _gains(document: Found, metric: Metric) -> Iterator[str]:
    """Yields what each procedure gains over the first one, in groups by verdict."""
    first = document["procedures"][0]["name"]
    groups: dict[str, list[str]] = {}
    for gain in document["gains"]:
        if gain["from"] == first and gain["estimate"] is not None:
            said = f"{NAMES[gain['to']]} by {numbers.gained(gain, metric)}"
            groups.setdefault(gain["verdict"], []).append(said)
    clauses = [
        f"{said}, {joined(groups[verdict])}"
        for verdict, said in _CLAUSES.items()
        if verdict in groups
    ]
    if clauses:
        yield f"Against {NAMES[first]}: {'; '.join(clauses)}."


_CLAUSES = {
    "architecture": "better",
    "tuning": "better, but no more than 4 times the trials would be",
    "equivalent": "the same within the margin",
    "baseline": "worse",
    "inconclusive": "open",
}


def _of_gains(document: Found) -> str:
    """Returns the verdict where nobody asked for h."""
    first = document["procedures"][0]["name"]
    better = [
        NAMES[g["to"]]
        for g in document["gains"]
        if g["from"] == first and g["verdict"] == "architecture"
    ]
    return f"{joined(better)} better" if better else "no procedure is better"


def _warnings(document: Found) -> Iterator[str]:
    return cautions(
        (
            gain_of(gain),
            {**gain, "learning": [NAMES[name] for name in gain["learning"]]},
        )
        for gain in (*document["feedback"], *document["gains"])
    )

"""What a verdict's document on relaxing says: its names, estimates and messages.

The messages are the titles of the figures, true to the numbers that they show.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.experiments.relax.words import after
from archtrial.report.drawing import WIDE
from archtrial.report.estimates import estimate_of, interval_of, measured
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined, shortened

__all__ = [
    "LEFT",
    "arm_name",
    "compared",
    "curvature_message",
    "deviation_message",
    "lead_message",
    "left_by",
    "names_of",
    "parts_message",
    "path_message",
    "peak_message",
    "rates_message",
    "relaxed_after",
    "rises_of",
    "share",
    "tried",
]


def compared(document: Mapping[str, Any]) -> int:
    """Returns at how many relax times there is a gain."""
    return sum(measured(entry["gain"]) for entry in document["times"])


LEFT = {"deviation": "off-local", "untied": "untied"}


def left_by(document: Mapping[str, Any]) -> str:
    """Returns which share tells how far weights have left what a CNN can be.

    In a locally connected network nothing is off-local.
    """
    off_local = (e["deviation"] for e in document["times"] if measured(e["deviation"]))
    return "deviation" if any(found["estimate"] for found in off_local) else "untied"


def relaxed_after(time: int) -> str:
    """Returns a relax time in words: "relaxed after 93 steps"."""
    return f"relaxed {after([time], [time])}"


def share(number: float, *, tick: bool = False) -> str:
    """Writes a share of a norm with two digits: ".41 %", "16 %".

    Args:
        number: Between 0 and 1.
        tick: Whether it stands beside an axis, where it is exact.
    """
    return numbers.percent(number, 6) if tick else numbers.rate(number)


def tried(arm: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Returns the learning rates of an arm, ascending, with their validation scores."""
    return sorted(
        (one["learning_rate"], one["validation"])
        for one in arm["tried"]
        if one["validation"] is not None and math.isfinite(one["validation"])
    )


def names_of(document: Mapping[str, Any], width: int = WIDE) -> dict[str, str]:
    """Returns what CNN, eFCN and FCN are called, as a figure of that width says it."""
    columns = 16 if width >= WIDE else 10
    return {role: shortened(name, columns) for role, name in document["names"].items()}


def arm_name(
    document: Mapping[str, Any], arm: Mapping[str, Any], columns: int = 40
) -> str:
    """Returns what an arm that was tuned is called, in so many columns: "eFCN, 93"."""
    if arm["relax_time"] is None:
        return shortened(document["names"][arm["role"]], columns)
    of = "cnn" if arm["role"] == "kept" else "relaxed"
    name = shortened(document["names"][of], max(columns - 7, 6))
    return f"{name}, {arm['relax_time']:,}"


def rises_of(document: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Returns how far the loss rises between two networks: the barrier.

    It is how far the loss lies above the straight line between its two ends (Entezari
    et al. 2022, arXiv 2110.06296, equation 1).

    Returns:
        For each relax time whose barrier was measured: the barrier, the higher loss of
        both ends, and the relax time.
    """
    rises = []
    for entry in document["times"]:
        found = entry["path"]
        if found is None or not measured(found["barrier"]):
            continue
        ends = [found["loss"][0], found["loss"][-1]]
        higher = max((estimate_of(e) for e in ends if measured(e)), default=0.0)
        rises.append((estimate_of(found["barrier"]), higher, entry["relax_time"]))
    return rises


# ------------------------------------------------------- messages, from the data


def peak_message(document: Mapping[str, Any], metric: Metric) -> str:
    """Says when the largest gain is reached, and how large it is."""
    names, best = names_of(document), document["best_time"]
    relaxed, cnn = names["relaxed"], names["cnn"]
    entry = next((e for e in document["times"] if e["relax_time"] == best), None)
    judged = document["verdict"] != "not_assessable"
    if entry is None or not judged or not measured(entry["gain"]):
        return f"Test scores of {joined(list(names.values()))} by relax time"
    gain = entry["gain"]
    amount = numbers.amount(gain["estimate"], metric, (gain["low"], gain["high"]))
    several = len(document["times"]) > 1
    if gain["estimate"] <= 0:
        return (
            f"At every relax time the {relaxed} ends no better than the {cnn}"
            if several
            else f"The {relaxed} ends no better than the {cnn}"
        )
    when = "gains most when " if several else ""
    message = f"The {relaxed} {when}{relaxed_after(best)}"
    message += (
        f": {amount} over the {cnn}" if several else f" ends {amount} above the {cnn}"
    )
    if gain["low"] is None or gain["low"] <= 0:
        message += ", which chance may have made"
    return message


def lead_message(document: Mapping[str, Any], which: str, other: str) -> str:
    """Says at how many relax times a gain is clear of the margin, or of 0.

    Args:
        document: The verdict.
        which: The entry with the gain: "gain" or "gain_over_fresh".
        other: Whom it is a gain over: "cnn" or "fresh".
    """
    names = names_of(document)
    relaxed, behind = names["relaxed"], names[other]
    told = [
        (entry["relax_time"], entry[which])
        for entry in document["times"]
        if measured(entry[which]) and interval_of(entry[which]) is not None
    ]
    count = len(document["times"])
    if not told:
        return f"One seed leaves open whether the {relaxed} beats the {behind}"
    margin = document["margin"]
    worth = [time for time, gain in told if gain["low"] > margin]
    clear = [time for time, gain in told if gain["low"] > 0]
    lost = [time for time, gain in told if gain["high"] < 0]
    if worth:
        beyond = _at(worth, count)
        return f"{beyond} the {relaxed} beats the {behind} by more than the margin"
    if clear:
        return (
            f"{_at(clear, count)} the {relaxed} beats the {behind}, but not surely"
            " by the margin"
        )
    if lost:
        return f"{_at(lost, count)} the {relaxed} falls short of the {behind}"
    return f"At no relax time is the {relaxed} clearly ahead of the {behind}"


def _at(times: Sequence[int], count: int) -> str:
    """Returns which of so many relax times: "Relaxed after 93 steps"."""
    if len(times) == 1:
        words = relaxed_after(times[0])
        return f"{words[0].upper()}{words[1:]},"
    if len(times) == count:
        return f"At all {count} relax times"
    return f"At {len(times)} of {count} relax times"


def deviation_message(document: Mapping[str, Any]) -> str:
    """Says how far the network leaves, relaxed early and late."""
    names = names_of(document)
    kinds = {"deviation": "is off-local", "untied": "is no longer tied"}
    for kind in kinds:
        known = [
            (entry["relax_time"], entry[kind])
            for entry in document["times"]
            if measured(entry[kind])
        ]
        # A locally connected network has no off-local weights: it can only untie.
        if any(estimate_of(found) for _, found in known):
            break
    else:
        return f"The {names['relaxed']} stays in the convolutional subspace"
    (first, early), (last, late) = known[0], known[-1]
    begins = f"{share(estimate_of(early))} of the norm {kinds[kind]}"
    if len(known) == 1:
        return f"{begins} when {relaxed_after(first)}"
    shares = f"{begins} when {relaxed_after(first)}, {share(estimate_of(late))} after"
    shares += f" {numbers.count(last, 'step')}"
    steps = np.diff([estimate_of(found) for _, found in known])
    if _apart(early, late) and ((steps <= 0).all() or (steps >= 0).all()):
        trend = "less" if steps[-1] < 0 or steps[0] < 0 else "more"
        return (
            f"The later it is relaxed, the {trend} it leaves the convolutional"
            f" subspace: {shares}"
        )
    return shares


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two intervals have nothing in common."""
    a, b = interval_of(one), interval_of(other)
    return a is not None and b is not None and (a[0] > b[1] or b[0] > a[1])


def parts_message(document: Mapping[str, Any], metric: Metric) -> str:
    """Says what the off-local weights are worth, where the gain is largest."""
    names = names_of(document)
    entries = [
        entry
        for entry in document["times"]
        if all(
            measured((entry["validation"] or {}).get(part))
            for part in ("relaxed", "local_alone")
        )
    ]
    if not entries:
        return f"What the parts of the {names['relaxed']} score on their own"
    entry = next(
        (e for e in entries if e["relax_time"] == document["best_time"]), entries[-1]
    )
    found = entry["validation"]
    sign = 1 if metric.higher_is_better else -1
    lost = sign * (found["relaxed"]["estimate"] - found["local_alone"]["estimate"])
    # As many digits as the score itself has.
    whole, ends = abs(lost), interval_of(found["relaxed"])
    half = (ends[1] - ends[0]) / 2 if ends else math.nan
    amount = numbers.amount(whole, metric, (whole - half, whole + half))
    when = relaxed_after(entry["relax_time"])
    if lost <= 0:
        return (
            f"Without its off-local weights the {names['relaxed']} loses nothing"
            f" ({when})"
        )
    return (
        f"Without its off-local weights the {names['relaxed']} loses {amount} ({when})"
    )


def path_message(document: Mapping[str, Any]) -> str:
    """Says how far the loss rises on the way."""
    names = names_of(document)
    line = f"the straight line from the {names['cnn']} to the {names['relaxed']}"
    way, rises = f"On {line}", rises_of(document)
    if not rises:
        return f"What lies on {line}"
    highest, _, time = max(rises)
    if all(rise <= 0.02 * abs(end) for rise, end, _ in rises):
        return f"{way} the loss rises by no more than {numbers.percent(0.02)}"
    message = f"{way} the loss rises by {highest:.2g}"
    if len(rises) == 1:
        return message
    return f"{message} when {relaxed_after(time)}, and less at the others"


def curvature_message(document: Mapping[str, Any]) -> str:
    """Says at how many relax times the loss ends flatter than it started."""
    name = names_of(document)["relaxed"]
    pairs = [
        (entry["curvature"]["start"], entry["curvature"]["end"])
        for entry in document["times"]
        if entry["curvature"]
        and measured(entry["curvature"].get("start"))
        and measured(entry["curvature"].get("end"))
    ]
    if not pairs:
        return f"How sharp the loss is where the {name} is"
    # What intervals leave open is no trend.
    clear = [estimate_of(b) < estimate_of(a) for a, b in pairs if _apart(a, b)]
    flatter, sharper, count = sum(clear), len(clear) - sum(clear), len(pairs)
    word = "flatter" if flatter >= sharper else "sharper"
    many = max(flatter, sharper)
    if not many:
        return f"The loss is neither clearly flatter nor sharper where the {name} ends"
    if count == 1:
        return f"The loss is {word} where the {name} ends than where it started"
    which = f"all {count}" if many == count else f"{many} of {count}"
    return (
        f"The loss is {word} where the {name} ends than where it started, at {which}"
        " relax times"
    )


def rates_message(document: Mapping[str, Any]) -> str:
    """Says whose learning rate lies at an edge of what was tried."""
    arms = [arm for arm in document["learning_rates"] if tried(arm)]
    edge = [arm_name(document, arm) for arm in arms if arm["at_edge"]]
    if all(len(arm["tried"]) == 1 for arm in arms):
        return "Every network was given one learning rate, and none was chosen"
    if not edge:
        return "Each chosen learning rate lies inside the range that was tried"
    if len(edge) > 3:
        return (
            f"{len(edge)} of {len(arms)} chosen learning rates lie at an edge of the"
            " range that was tried"
        )
    verb = "lies" if len(edge) == 1 else "lie"
    noun = "rate" if len(edge) == 1 else "rates"
    listed = "; ".join(edge)
    return (
        f"The chosen learning {noun} of {listed} {verb} at an edge of the range that"
        " was tried"
    )

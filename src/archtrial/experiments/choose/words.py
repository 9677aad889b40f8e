"""What was found of a choice, and what its time pays for, in words."""

from collections.abc import Iterator, Mapping
from typing import Any

from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["checks", "claim", "entry", "planned", "told"]

Found = Mapping[str, Any]

# Below it the order on half of the rows says little of that on all of them.
_STABLE = 0.5


def planned(resolved: Found) -> Iterator[str]:
    """Yields what the time pays for, a sentence each."""
    plan = resolved["plan"]
    rows = resolved["data"]["rows"]["training"]
    yield (
        f"The time of {numbers.duration(plan['seconds'])} pays for"
        f" {len(plan['arms'])} arms: {joined(plan['arms'])}. Each is searched with"
        f" {plan['looks'][0]} configurations, on {_of(plan['rows'], rows)} training rows"
        f" for {plan['steps']:,} steps; those that are left get up to"
        f" {plan['looks'][-1]}, and are trained on {_of(plan['final_rows'], rows)} rows"
        f" for {plan['final_steps']:,} steps."
    )
    for each in resolved["left_out"]:
        yield f"{each['name']} is left out: {each['why']}."
    for name, why in plan["too_large"].items():
        yield f"{name} is left out: it has {why}."
    if plan["too_long"]:
        yield f"The time does not pay for {joined(plan['too_long'])} as well."


def _of(rows: int, whole: int) -> str:
    return f"all {rows:,}" if rows == whole else f"{rows:,} of {whole:,}"


def told(document: Found, metric: Metric) -> dict[str, Any]:
    """Returns the sentence of a verdict, and what warns of it."""
    return {
        "sentence": " ".join(_sentences(document, metric)),
        "warnings": list(_warnings(document, metric)),
    }


def claim(document: Found, metric: Metric) -> str:
    """Returns what exactly the verdict says, and of what."""
    level = numbers.level(document["alpha"])
    margin = numbers.size(document["margin"], metric)
    looks = joined([str(n) for n in document["looks"]])
    return (
        f"With {level} confidence in all: no arm that was tried is better than the one"
        f" that is recommended by {margin} or more, the margin. What is compared of"
        " finalists are the configurations that their searches were tuned to, trained on"
        f" {document['rows']['final']:,} rows: their mean test"
        f" {numbers.label(metric)} over fresh seeds and examples. It is a claim about"
        " these networks, not about any tuning of their architectures. Whoever left"
        " before had lost by its search: what"
        f" {document['effort']} trials end with, on {document['rows']['search']:,}"
        f" training rows for {document['steps']['search']:,} steps, by"
        f" {document['rows']['seen']:,} validation rows, at n = {looks}. An arm that needs"
        " more rows or steps than that to be ahead has not been given them."
    )


def checks(document: Found, metric: Metric) -> Iterator[str]:
    """Yields what was checked of the part that is searched on, and of the validation."""
    order = document["order"]
    if order is not None:
        tau = order["tau"]
        yield (
            f"Do ranks stay as the rows grow? From half of the {order['rows']:,} rows to all"
            f" of them, the tuned arms' order has Kendall's tau {_plain(tau['estimate'])}"
            f" ({_plain(tau['low'])} to {_plain(tau['high'])} over seeds; 1 is the same"
            " order); in"
            f" {numbers.percent(order['first_stays'])} of such draws the first stays first."
        )
    error = document["validation_error"]
    if error is not None:
        yield (
            f"What a tuned arm scores on {document['rows']['seen']:,} validation rows has a"
            f" standard error of {numbers.size(error, metric)}; the margin is"
            f" {numbers.size(document['margin'], metric)}."
        )
    reach = document["test_reach"]
    if reach is not None:
        yield (
            f"Of a gap between finalists, {document['rows']['test']:,} test examples leave"
            f" up to {numbers.size(reach, metric)} to either side open, whatever the time."
        )


def entry(document: Found, name: str) -> Found:
    """Returns what was found of an arm."""
    found: Found = next(e for e in document["arms"] if e["name"] == name)
    return found


def _sentences(document: Found, metric: Metric) -> Iterator[str]:
    taken = entry(document, document["arm"])
    margin = numbers.size(document["margin"], metric)
    score = numbers.estimated(taken["final"], metric)
    if document["verdict"] == "not_assessable":
        yield "Nothing can be recommended: every training of the finalists diverged."
        return
    on = f"{numbers.label(metric)} of {score} on the test set"
    if document["verdict"] == "undecided":
        near = [gap for gap in document["gaps"] if gap["high"] >= document["margin"]]
        others = joined([gap["to"] for gap in near])
        yield (
            f"Undecided: {taken['name']} is the best so far, with {on}, and it is not"
            f" shown that no other is better by {margin}: {others} may be."
        )
        yield from _settling(document, metric)
        return
    if not document["gaps"]:
        left = [arm["left"] for arm in document["arms"] if arm["left"]]
        every = all(each["to"] == taken["name"] for each in left)
        # Or it has lost to one that has lost to it.
        beaten = "every other arm has lost to it" if every else "all others have left"
        yield f"Start with {taken['name']}: {beaten}."
        yield f"It has {on}."
        return
    if document["arm"] == document["best"]:
        yield f"Start with {taken['name']}: it is the best, with {on}."
    else:
        yield (
            f"Start with {taken['name']}: it is the simplest that comes within {margin} of"
            f" the best, with {on}."
        )
        yield _price(document, metric)
    most = max(document["gaps"], key=lambda gap: float(gap["high"]))
    if most["high"] > 0:
        yield (
            f"No other is better by more than"
            f" {numbers.size(most['high'], metric)} ({most['to']})."
        )


def _price(document: Found, metric: Metric) -> str:
    """Says what the best on average costs in place of what is recommended."""
    taken, best = (entry(document, document[name]) for name in ("arm", "best"))
    gap = next(gap for gap in document["gaps"] if gap["to"] == best["name"])
    costs = []
    for what, key in (
        ("parameters", "parameters"),
        ("FLOPs of training", "flops_of_training"),
    ):
        if taken[key] and best[key]:
            costs.append(f"{numbers.times(best[key] / taken[key])} the {what}")
    beside = f" for {joined(costs)}" if costs else ""
    return f"{best['name']} is at {numbers.gained(gap, metric)} to it{beside}."


def _settling(document: Found, metric: Metric) -> Iterator[str]:
    """Says what would decide it: more test examples, or more time."""
    reach = document["test_reach"]
    if reach is not None and reach >= document["margin"]:
        size = numbers.size(reach, metric)
        yield (
            f"The {document['rows']['test']:,} test examples alone leave {size} open:"
            " more of them, or a larger margin (--margin), would decide it."
        )
    else:
        yield "More time would decide it (--budget)."


def _warnings(document: Found, metric: Metric) -> Iterator[str]:
    order = document["order"]
    if order is not None and order["tau"]["estimate"] < _STABLE:
        tau = order["tau"]
        yield (
            f"The arms do not rank on half of the {order['rows']:,} rows as they do on all"
            f" of these (Kendall's tau {_plain(tau['estimate'])}, {_plain(tau['low'])} to"
            f" {_plain(tau['high'])}): on more rows another may be ahead."
        )
    error, margin = document["validation_error"], document["margin"]
    if error is not None and error > margin:
        yield (
            f"Validation scores have a standard error of {numbers.size(error, metric)} on"
            f" {document['rows']['seen']:,} rows, more than the margin of"
            f" {numbers.size(margin, metric)}: what is tuned by them may be tuned to luck."
        )
    plain = document["plain"]
    taken = entry(document, document["arm"])
    if plain["score"] is not None and taken["final"] is not None:
        sign = 1 if document["metric"]["higher_is_better"] else -1
        ahead = sign * (plain["score"]["estimate"] - taken["final"]["estimate"])
        if ahead > margin:
            yield (
                f"scikit-learn's {plain['name']} scores"
                f" {numbers.score(plain['score']['estimate'], metric)} without any tuning,"
                f" {numbers.size(ahead, metric)} more than {taken['name']}."
            )
    for arm, sides in document["edges"].items():
        for name, side in sides.items():
            yield (
                f"The best configurations of {arm} pile up at the {side} end of {name}:"
                " declare a wider range."
            )
    if document["rows"]["final"] < document["rows"]["training"]:
        yield (
            f"Finalists were trained on {document['rows']['final']:,} of"
            f" {document['rows']['training']:,} rows, the most that the time pays for."
        )


def _plain(number: float) -> str:
    return numbers.value(round(number, 2))

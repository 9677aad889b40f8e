"""From the records of a study of scale to what was found, without training anything."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archtrial import searches
from archtrial.experiments.scale import page, words
from archtrial.experiments.scale.protocol import COMPOUND
from archtrial.judge import experiment
from archtrial.judge.experiment import Finding, Records
from archtrial.judge.pairs import between, searched
from archtrial.records.table import Run, rank

__all__ = ["GRID", "chosen_shares", "compared", "judge"]

GRID = {"grid": True}
"""The further coordinates of trainings by which the shares are chosen."""


def judge(folder: str | Path) -> Finding:
    """Judges a study of scale from its folder.

    Raises:
        RecordsError: The folder holds no such study, or one whose test set has not been
            opened yet.
    """
    records = experiment.finished(folder, "scale", "archtrial scale --study")
    return page.finding(_document(records), records)


def chosen_shares(
    runs: Sequence[Run], resolved: Mapping[str, Any], sign: int
) -> tuple[int, ...]:
    """Returns the shares of the growth that the grid chose: the best mean validation score.

    Args:
        runs: Of the study, the grid's among them.
        resolved: The protocol.
        sign: 1 where a higher score is better, else -1.

    Returns:
        A number of parts for each axis; of equals the first.
    """
    grid = _grid(runs, resolved, sign)
    best = max(grid, key=lambda point: point["ranked"])
    return tuple(best["shares"])


def compared(
    resolved: Mapping[str, Any], shares: Sequence[int]
) -> list[Mapping[str, Any]]:
    """Returns the forms that are tuned: all but the candidates that were not chosen."""
    return [
        form
        for form in resolved["forms"]
        if form["kind"] != COMPOUND or tuple(form["shares"]) == tuple(shares)
    ]


def _grid(
    runs: Sequence[Run], resolved: Mapping[str, Any], sign: int
) -> list[dict[str, Any]]:
    """Returns each point of the grid with its mean score by validation."""
    points = []
    for form in resolved["forms"]:
        own = [r for r in runs if r.arm == form["name"] and r.coordinates == GRID]
        if not own:
            continue
        ranks = [rank(run, sign) for run in own]
        mean = math.fsum(ranks) / len(ranks)
        points.append(
            {
                "name": form["name"],
                "shares": form["shares"],
                "factors": form["factors"],
                "options": form["options"],
                "flops": form["flops"],
                "validation": sign * mean if math.isfinite(mean) else None,
                "ranked": mean,
            }
        )
    return points


def _document(records: Records) -> dict[str, Any]:
    resolved, metric = records.resolved, records.metric
    sign = 1 if metric.higher_is_better else -1
    shares = chosen_shares(records.runs, resolved, sign)
    forms = compared(resolved, shares)
    searchers = [searches.Searcher(form["name"], form["name"]) for form in forms]
    runs, of_margin = searched(searchers, records)
    margin = of_margin["margin"]
    described = {form["name"]: form["space"] for form in forms}
    sizes, scores = [], {}
    for phi in range(1, resolved["phi"] + 1):
        own = [form for form in forms if form["phi"] == phi]
        (compound,) = (form["name"] for form in own if form["kind"] == COMPOUND)
        against = [form for form in own if form["kind"] != COMPOUND]
        pairs = [(form["name"], compound) for form in (*against, forms[0])]
        gains = between(pairs, runs, described, records, margin)
        for (first, second), gain in zip(pairs, gains, strict=True):
            scores[first], scores[second] = gain.pop("first"), gain.pop("second")
        *over, growth = gains
        sizes.append(
            {
                "phi": phi,
                "compound": compound,
                "over": [
                    {"axis": form["kind"], "form": form["name"], **gain}
                    for form, gain in zip(against, over, strict=True)
                ],
                "over_base": growth,
            }
        )
    grid = _grid(records.runs, resolved, sign)
    for point in grid:
        del point["ranked"]
    document = {
        **records.document(),
        **of_margin,
        "architecture": resolved["architecture"]["name"],
        "axes": resolved["axes"],
        "growth": resolved["growth"],
        "effort": resolved["effort"],
        "configurations": resolved["configurations"],
        "shares": dict(zip(resolved["axes"], shares, strict=True)),
        "grid": grid,
        "forms": [
            {
                **{k: form[k] for k in _TOLD},
                "flops_of_base": form["flops"] / forms[0]["flops"],
                "score": scores[form["name"]],
            }
            for form in forms
        ],
        "sizes": sizes,
        "answer": _answer(sizes[-1]["over"]),
        "published": experiment.published("scale"),
    }
    return {**document, **words.told(document, metric)}


_TOLD = ("name", "kind", "phi", "options", "factors", "parameters", "flops")


def _answer(over: Sequence[Mapping[str, Any]]) -> str:
    """Returns whether growing along several axes is better than along one."""
    found = {gain["verdict"] for gain in over}
    if found <= {"architecture"}:
        return "compound"
    if "baseline" in found:
        return "one axis"
    return "no need" if "equivalent" in found else "undecided"

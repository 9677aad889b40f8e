"""What whole searches reached: paired by repeat, all comparisons of a kind at once.

Trials of a tuner depend on each other, so that no formula holds for them; repeats of the
whole search are independent, and as many as they are.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.judge.experiment import Records, entries, gained, paired
from archtrial.records.table import Run
from archtrial.statistics.intervals import mean
from archtrial.statistics.soundness import Tuned, clear_of, copies_move

__all__ = ["averaged", "compared"]


def averaged(runs: Sequence[Run], trials: int) -> list[Run]:
    """Returns each repeat of a search as one run, the mean of its fresh seeds.

    Args:
        runs: Those of the search, whose trials are numbered through.
        trials: Of each repeat.
    """
    repeats: dict[int, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if run.stage == "confirm":
            repeats.setdefault(run.pair // trials, []).append(run)
    return [
        dataclasses.replace(
            own[0],
            validation=float(np.mean([run.validation for run in own])),
            test=float(np.array([run.test for run in own], float).mean()),
            per_example=np.array([run.per_example for run in own], float).mean(0),
            diverged=all(run.diverged for run in own),
        )
        for _, own in sorted(repeats.items())
    ]


def compared(
    pairs: Sequence[tuple[str, str]],
    repeats: Mapping[str, Sequence[Run]],
    records: Records,
    margin: float,
) -> list[dict[str, Any]]:
    """Returns by how much the second search of each pair is better than the first.

    Intervals and p hold for all pairs together (`statistics.simultaneous`).

    Args:
        pairs: Names of searches.
        repeats: By name, what `averaged` returned.
        records: Of the experiment.
        margin: The smallest difference worth having.
    """
    if not pairs:
        return []
    alpha: float = records.resolved["alpha"]
    sign = 1 if records.metric.higher_is_better else -1
    found = paired([(repeats[a], repeats[b]) for a, b in pairs], records)
    told = []
    for j, names in enumerate(pairs):
        entry: dict[str, Any] = gained(entries(found)[j], sign)
        first, second = (
            dataclasses.asdict(
                mean(np.array([run.test for run in repeats[name]], dtype=float), alpha)
            )
            for name in names
        )
        reason = _untold(names, repeats, records, margin, entry["estimate"])
        if reason:
            verdict = "not_assessable"
            entry = dict.fromkeys(entry)
        elif -margin < entry["low"] and entry["high"] < margin:
            verdict = "equivalent"
        elif found.direction[j] and abs(entry["estimate"]) >= margin:
            verdict = "architecture" if entry["estimate"] > 0 else "baseline"
        else:
            verdict = "inconclusive"
        told.append(
            {**entry, "verdict": verdict, "reason": reason or None, "learning": [],
             "first": first, "second": second}
        )  # fmt: skip
    return told


def _untold(
    names: tuple[str, str],
    repeats: Mapping[str, Sequence[Run]],
    records: Records,
    margin: float,
    estimate: float,
) -> str:
    """Says why nothing can be told of two searches; "" where something can."""
    sign = 1 if records.metric.higher_is_better else -1
    tuned = {
        name: Tuned(
            sign * np.array([run.test for run in repeats[name]], dtype=float),
            sign
            * np.array([run.per_example for run in repeats[name]], dtype=float).mean(0),
        )
        for name in names
    }
    for name in names:
        if all(run.diverged for run in repeats[name]):
            return f"every run of {name} on fresh seeds diverged"
        level = records.constant
        if level is not None and not clear_of(
            sign * level, tuned[name], margin=margin, alpha=records.resolved["alpha"]
        ):
            return (
                f"{name} had learned nothing: it scores as the constant predictor does"
            )
    copies = records.resolved["data"].get("copies")
    if copies:
        first, second = (tuned[name].examples for name in names)
        gains = None if first is None or second is None else second - first
        count = copies["exact"] + copies["near"]
        fraction = bool(records.metric.bounded)
        moves = copies_move(count, copies["of"], gains, fraction=fraction)
        if moves > abs(abs(estimate) - margin):
            return f"{count} of {copies['of']} test examples were trained on"
    return ""

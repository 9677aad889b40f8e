"""From the records of a study of procedures to what was found, without training anything."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import searches
from archtrial.experiments.mpl import page, words
from archtrial.experiments.mpl.protocol import FEEDBACKS
from archtrial.judge import experiment
from archtrial.judge.experiment import Finding, Records
from archtrial.judge.pairs import between, searched
from archtrial.protocol import Procedure
from archtrial.records.table import Run
from archtrial.statistics.intervals import mean

__all__ = ["judge", "searchers_of"]


def judge(folder: str | Path) -> Finding:
    """Judges a study of procedures from its folder.

    Raises:
        RecordsError: The folder holds no such study, or one whose test set has not been
            opened yet.
    """
    records = experiment.finished(folder, "mpl", "archtrial mpl --study")
    return page.finding(_document(records), records)


def searchers_of(resolved: Mapping[str, Any]) -> list[searches.Searcher]:
    """Returns the search of each procedure; all are of one arm, so that they are paired."""
    arm = resolved["architecture"]["name"]
    names = [procedure["name"] for procedure in resolved["procedures"]]
    return [searches.Searcher(n, arm, {"procedure": n}) for n in names]


def _document(records: Records) -> dict[str, Any]:
    resolved, metric = records.resolved, records.metric
    searchers = searchers_of(resolved)
    runs, of_margin = searched(searchers, records)
    margin = of_margin["margin"]
    told = {procedure["name"]: procedure for procedure in resolved["procedures"]}
    described = {name: procedure["space"] for name, procedure in told.items()}
    scores: dict[str, Any] = {}

    def compared(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        found = []
        for (first, second), gain in zip(
            pairs, between(pairs, runs, described, records, margin), strict=True
        ):
            # Of a family of fewer comparisons the intervals of scores are narrower: those
            # of the first family stand.
            for name, end in ((first, "first"), (second, "second")):
                score = gain.pop(end)
                scores.setdefault(name, score)
            found.append({"from": first, "to": second, **gain})
        return found

    gains = compared(list(_gains(told)))
    feedback = compared(
        [(other, "mpl") for other in FEEDBACKS if {other, "mpl"} <= {*told}]
    )
    sign = 1 if metric.higher_is_better else -1
    procedures = []
    for name, own in runs.items():
        seeds = searches.tuned_runs(own, name, sign)
        procedures.append(
            {
                "name": name,
                "score": scores[name],
                "parameters": seeds[0].parameters,
                "flops": seeds[0].flops,
                "configuration": dict(seeds[0].configuration),
                "curve": experiment.over_steps(
                    (((p.step, p.validation) for p in r.curve) for r in seeds),
                    resolved["alpha"],
                ),
                **_of_teachers(seeds, told[name]["recipe"], resolved, sign),
            }
        )
    document = {
        **records.document(),
        **of_margin,
        "architecture": resolved["architecture"]["name"],
        "labels": resolved["labels"],
        "training_rows": resolved["data"]["rows"]["training"],
        "more_rows": (resolved["unlabelled"] or {"rows": 0})["rows"],
        "effort": resolved["effort"],
        "configurations": resolved["configurations"],
        "procedures": procedures,
        "gains": gains,
        "feedback": feedback,
        "answer": _answer(feedback),
        "published": experiment.published("mpl"),
    }
    return {**document, **words.told(document, metric)}


def _gains(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields what each procedure is held against: the first, and what it is built upon."""
    first, *others = names
    yield from ((first, other) for other in others)
    for before, after in (("augmented", "uda"), ("uda", "mpl")):
        if {before, after} <= {*others}:
            yield before, after


def _answer(feedback: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns whether h matters; None where that was not asked.

    It matters where the teacher that gets it is better than one that gets none, and not
    where it is the same within the margin, also as one that gets the negative.
    """
    found = {gain["from"]: gain["verdict"] for gain in feedback}
    if "mpl_h0" not in found:
        return None
    if found["mpl_h0"] == "architecture":
        return "helps"
    if found["mpl_h0"] == "baseline":
        return "harms"
    if found["mpl_h0"] == "equivalent":
        others = {verdict for name, verdict in found.items() if name != "mpl_h0"}
        return "does not matter" if others == {"equivalent"} else "brings nothing"
    return "undecided"


def _of_teachers(
    runs: Sequence[Run],
    recipe: Mapping[str, Any],
    resolved: Mapping[str, Any],
    sign: int,
) -> dict[str, Any]:
    """Returns what was measured of teachers, and what finetuning brought; {} of none.

    What it brought is turned so that more is better, as all gains are.
    """
    taught = [run for run in runs if run.measures.get("teacher")]
    if not taught:
        return {}
    alpha = resolved["alpha"]

    def over_time(name: str) -> list[dict[str, Any]]:
        readings = [
            [
                (step, value)
                for step, value in zip(
                    run.measures["step"], run.measures[name], strict=True
                )
                if value is not None
            ]
            for run in taught
        ]
        return experiment.over_steps(readings, alpha)

    # Those of the recipe's length, which the protocol's need not be.
    steps = max((p.step for run in taught for p in run.curve), default=0)
    begins = Procedure(**recipe["procedure"]).finetuned_from(steps)
    gained = []
    for run in taught:
        before = [p.validation for p in run.curve if p.step <= (begins or 0)]
        if before and not run.diverged:
            gained.append(sign * (run.curve[-1].validation - before[-1]))
    found = mean(np.array(gained), alpha) if len(gained) > 1 else None
    return {
        "teacher": over_time("teacher"),
        "h": over_time("h"),
        "h_deviation": over_time("h_deviation"),
        "finetuned_from": begins,
        "finetuning": None
        if found is None
        else {"estimate": found.estimate, "low": found.low, "high": found.high},
    }

"""From a table of runs to the verdict and its page, without training anything.

Everything here can be done again years later, from a study's store or from
somebody else's table.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import metrics, statistics
from archtrial import space as spaces
from archtrial.errors import RecordsError
from archtrial.protocol import HYPERPARAMETERS
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.report import Evidence, figures, page

__all__ = ["Judgement", "Score", "Verdict", "assess", "judge_study", "judge_table"]


@dataclasses.dataclass(frozen=True)
class Score:
    """What the scores of a table are, where all that is known is their direction."""

    name: str
    higher_is_better: bool = True
    task: str | None = None
    bounded: bool = False


class Verdict:
    """What a trial found: the content of verdict.json, with its sentence in front."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """Returns the document, as its JSON schema describes it."""
        copied: dict[str, Any] = json.loads(self.to_json())
        return copied

    def to_json(self) -> str:
        """Returns the document as the bytes of verdict.json."""
        return (
            json.dumps(self._document, indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )

    @property
    def comparisons(self) -> Sequence[Mapping[str, Any]]:
        """One for each challenger, in the protocol's order."""
        compared: Sequence[Mapping[str, Any]] = self._document["comparisons"]
        return compared

    @property
    def effect(self) -> Mapping[str, float]:
        """The first challenger's gain: "estimate", "low" and "high"."""
        gained: Mapping[str, float] = self.comparisons[0]["effect"]
        return gained

    @property
    def p_value(self) -> float:
        """How often a difference as large as the first arises by chance."""
        return float(self.comparisons[0]["p_value"])

    @property
    def sentence(self) -> str:
        """The verdict in plain words, a line for each challenger."""
        return "\n".join(compared["sentence"] for compared in self.comparisons)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return self.sentence


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict with the evidence that its page shows."""

    verdict: Verdict
    evidence: Evidence

    def page(self) -> str:
        """Returns the page: one self-contained HTML file."""
        return page.render(self.evidence)

    def figure(self, name: str) -> Any:
        """Returns one of the page's figures as a matplotlib `Figure`.

        Args:
            name: One of `report.figures.NAMES`.
        """
        return figures.draw(name, self.evidence)


def judge_study(folder: str | Path) -> Judgement:
    """Judges a study of ours from its store alone.

    Raises:
        RecordsError: There is no store, it is damaged, or its test set is sealed
            still: the study has not come to its end.
    """
    with Store(folder, read_only=True) as store:
        declared = store.protocol()
        opened = [
            json.loads(detail)
            for _, name, detail in store.events()
            if name == "opened the test set"
        ]
        if declared is None or not opened:
            raise RecordsError(
                "a study is judged when all its runs are done",
                f"the test set of {store.folder} is still sealed",
                "Give archtrial run with the same protocol again: it goes on where it"
                " stopped.",
            )
        _, resolved, _ = declared
        runs = store.runs()
        facts = {
            name: detail for _, name, detail in store.events() if name in _ENVIRONMENT
        }
    return assess(
        runs,
        protocol=resolved,
        constant=opened[0]["constant"],
        environment={
            key: value
            for detail in facts.values()
            for key, value in json.loads(detail).items()
        },
    )


_ENVIRONMENT = ("began on",)


def _arms(resolved: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [resolved["baseline"], *resolved["challengers"]]


def assess(
    runs: Sequence[Run],
    *,
    protocol: Mapping[str, Any],
    constant: float | None,
    environment: Mapping[str, str] | None = None,
) -> Judgement:
    """Judges the finished runs of a study.

    Args:
        runs: All runs, with test scores.
        protocol: The resolved protocol.
        constant: The constant predictor's test score; None where nobody knows it.
        environment: What stands on the page of versions and hardware.
    """
    metric: Any = (
        metrics.get(protocol["metric"])
        if protocol["metric"] in metrics.names()
        else Score(protocol["metric"])
    )
    arms = _arms(protocol)
    declared = {
        arm["name"]: {
            name: spaces.parse(name, dimension)
            for name, dimension in arm["space"].items()
        }
        for arm in arms
    }
    searches = [
        _search(arm["name"], runs, metric, constant, protocol["configurations"])
        for arm in arms
    ]
    edges = {
        arm["name"]: _edges(runs, arm["name"], declared, metric, protocol["effort"])
        for arm in arms
    }
    margin = protocol["margin"]
    assumed = margin is None
    if margin is None:
        margin = _default_margin(runs, metric, constant)
    comparisons = statistics.compare(
        searches[0],
        searches[1:],
        effort=protocol["effort"],
        margin=margin,
        alpha=protocol["alpha"],
        max_multiple=protocol["max_multiple"],
        estimand=protocol["estimand"],
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        seed=protocol["seed"],
        unsound=[
            f"the best configurations of {arm} pile up at the {side} end of {name}"
            for arm, found in edges.items()
            for name, side in found.items()
        ],
    )
    document = {
        "schema": 1,
        "study": _summary(protocol, runs, searches, metric, margin, assumed),
        "comparisons": [compared.to_dict() for compared in comparisons],
    }
    curves = {
        search.name: statistics.tuning_curve(
            search,
            alpha=protocol["alpha"],
            higher_is_better=metric.higher_is_better,
            estimand=protocol["estimand"],
        )
        for search in searches
    }
    verdict = Verdict(document)
    return Judgement(
        verdict,
        Evidence(
            document=document,
            runs=runs,
            metric=metric,
            spaces=declared,
            curves=curves,
            protocol=protocol,
            environment=environment or {},
            notes=protocol.get("notes", ()),
            edges=edges,
            loading={
                arm["name"]: arm["loading"] for arm in arms if arm.get("loading")
            },
        ),
    )

"""From the records of an experiment to what was found, without training anything."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial import searches
from archtrial.experiments.mimic import page, words
from archtrial.judge import experiment, repeated
from archtrial.judge.experiment import Finding, Records
from archtrial.judge.pairs import between
from archtrial.records.table import Run
from archtrial.searches import Searcher
from archtrial.statistics.intervals import mean

__all__ = ["LATENCY", "judge", "named", "searchers_of"]

LATENCY = "latency.json"
"""The file of a study that says how long its networks take on the machine it ran on."""

Pair: TypeAlias = tuple[tuple[str, bool], tuple[str, bool]]
"""Two searches: of which student, and whether with its teacher."""

_OTHERS = {
    "architecture": "needed",
    "equivalent": "not needed",
    "baseline": "not needed",
}


def searchers_of(resolved: Mapping[str, Any]) -> list[Searcher]:
    """Returns the searches of a resolved protocol: each student without, and with."""
    return [
        Searcher(named(student["name"], taught), student["name"], {"teacher": taught})
        for student in resolved["students"]
        for taught in (False, True)
    ]


def named(student: str, taught: bool) -> str:
    """Returns what a student's search is called."""
    return f"{student} with its teacher" if taught else f"{student} without a teacher"


def judge(folder: str | Path) -> Finding:
    """Judges an experiment from its folder.

    Raises:
        RecordsError: The folder holds no such experiment, or one whose test set has
            not been opened yet.
    """
    records = experiment.finished(folder, "mimic", "archtrial mimic --study")
    document = _Table(records).document()
    try:
        told = json.loads(Path(folder, LATENCY).read_text("utf-8"))
    except (OSError, ValueError):
        told = None  # it is of the machine, and no part of what was found
    return page.finding(document, records, told or None)


class _Table:
    """What students reached with, and without, their teacher."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._resolved = records.resolved
        self._metric = records.metric
        self._sign = 1 if self._metric.higher_is_better else -1
        searchers = searchers_of(self._resolved)
        self._runs, self._in_full = (
            {s.name: [run for run in known if run.arm == s.name] for s in searchers}
            for known in (
                searches.of(searches.condensed(records.runs), *searchers),
                # The teacher, whom students are compared with, has all its examples.
                searches.of(records.runs, *searchers),
            )
        )
        # Of whole searches, by name.
        self._repeats: dict[str, list[Run]] = {}
        if self._resolved["tuner"] == "gp":
            self._repeats = {
                name: repeated.averaged(own, self._resolved["configurations"])
                for name, own in self._in_full.items()
            }
        self._students = {s["name"]: s for s in self._resolved["students"]}
        declared: float | None = self._resolved["margin"]
        every = [run for own in self._runs.values() for run in own]
        self._margin = (
            searches.default_margin(every, self._metric, records.constant)
            if declared is None
            else declared
        )

    def document(self) -> dict[str, Any]:
        """Returns all that was found, as JSON."""
        students = self._resolved["students"]
        pairs = [((name, False), (name, True)) for name in self._students]
        gains = dict(zip(self._students, self._family(pairs), strict=True))
        entries = [
            {
                **{
                    k: s[k]
                    for k in ("name", "layout", "convolutions", "hidden", "budget")
                },
                "parameters": self._winner(s["name"], True).parameters,
                "without": gains[s["name"]].pop("first"),
                "with": gains[s["name"]].pop("second"),
                "gain": gains[s["name"]],
            }
            for s in students
        ]
        teacher = self._teacher()
        if teacher is not None:
            for entry, behind in zip(entries, self._behind(), strict=True):
                entry["to_teacher"] = behind
        document = {
            **self._records.document(),
            "margin": self._margin,
            "margin_assumed": self._resolved["margin"] is None,
            **{
                name: self._resolved[name]
                for name in ("tuner", "searches", "effort", "configurations", "imitate")
            },
            "teacher": teacher,
            "students": entries,
            "convolution": self._gaps(self._of_convolution),
            "depth": self._gaps(self._of_depth),
            "published": _published(self._resolved["data"]),
        }
        document |= {
            name: {"answer": _answer(document[name]), "gaps": document[name]}
            for name in ("convolution", "depth")
        }
        return {**document, **words.told(document, self._metric)}

    def _gaps(
        self, pair_of: Callable[[Sequence[str]], tuple[str, str] | None]
    ) -> list[dict[str, Any]]:
        """Returns the gap between two taught students at each budget where there are."""
        budgets: dict[int, list[str]] = {}
        for name, student in self._students.items():
            if student["budget"] is not None:
                budgets.setdefault(student["budget"], []).append(name)
        pairs = {b: pair for b, own in budgets.items() if (pair := pair_of(own))}
        family = [((a, True), (b, True)) for _, (a, b) in sorted(pairs.items())]
        found = []
        for budget, gap in zip(sorted(pairs), self._family(family), strict=True):
            first, second = pairs[budget]
            del gap["first"], gap["second"]
            found.append({"budget": budget, "from": first, "to": second, **gap})
        return found

    def _of_convolution(self, names: Sequence[str]) -> tuple[str, str] | None:
        """Returns the best student without convolution, and the one with the fewest."""
        without = [n for n in names if self._students[n]["convolutions"] == 0]
        with_some = self._convolutional(names)
        if not without or not with_some:
            return None
        # By validation: the test set has no part in any choice.
        best = max(without, key=lambda n: self._sign * self._validation(n))
        return best, with_some[0]

    def _of_depth(self, names: Sequence[str]) -> tuple[str, str] | None:
        """Returns the students with the fewest convolutions and with the most."""
        found = self._convolutional(names)
        return (found[0], found[-1]) if found[1:] else None

    def _convolutional(self, names: Sequence[str]) -> list[str]:
        some = [n for n in names if self._students[n]["convolutions"]]
        return sorted(some, key=lambda n: int(self._students[n]["convolutions"]))

    def _winner(self, student: str, taught: bool) -> Run:
        """Returns the best run of a search by validation."""
        name = named(student, taught)
        pair = searches.tuned_pair(self._runs[name], name, self._sign)
        return searches.trials(self._runs[name], name)[pair]

    def _validation(self, student: str) -> float:
        """Returns what a taught student reaches; of whole searches their mean."""
        repeats = self._repeats.get(named(student, True))
        if repeats is None:
            return self._winner(student, True).validation
        return float(np.mean([run.validation for run in repeats]))

    def _family(self, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
        """Compares pairs of searches at a level that holds for all together."""
        names = [(named(*first), named(*second)) for first, second in pairs]
        if self._repeats:
            return repeated.compared(names, self._repeats, self._records, self._margin)
        spaces = {
            named(name, taught): student["spaces"]["teacher" if taught else "labels"]
            for name, student in self._students.items()
            for taught in (False, True)
        }
        return between(names, self._runs, spaces, self._records, self._margin)

    def _teacher(self) -> dict[str, Any] | None:
        """Returns what the teacher is and scores; None where the labels are it."""
        own = [run for run in self._records.runs if run.arm == "teacher"]
        if not own:
            return None
        (run,) = own
        assert run.per_example is not None
        examples = run.per_example.astype(np.float64)
        found = mean(examples, self._resolved["alpha"])
        names = {arm["name"] for arm in self._resolved["teacher"]}
        return {
            "score": {"estimate": run.test, "low": found.low, "high": found.high},
            "validation": run.validation,
            "members": [
                {"name": m["arm"], "configuration": m["configuration"]}
                for m in run.configuration["members"]
            ],
            "parameters": run.parameters,
            "candidates": sum(r.arm in names for r in self._records.runs),
        }

    def _behind(self) -> list[dict[str, float]]:
        """Returns by how much each taught student differs from its teacher."""
        (teacher,) = (run for run in self._records.runs if run.arm == "teacher")
        groups: list[list[Run]] = []
        for student in self._students:
            if self._repeats:
                groups.append(self._repeats[named(student, True)])
                continue
            pair = self._winner(student, True).pair
            groups.append(
                [
                    run
                    for run in self._in_full[named(student, True)]
                    if run.pair == pair and run.stage in ("confirm", "winner")
                ]
            )
        same = [[teacher] * len(groups[0]), *groups]
        return experiment.entries(experiment.differences(same, self._records))


def _answer(gaps: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns whether something is needed at equal parameters; None if nobody asked.

    It is where the gap is claimed at every budget; it is not where a student without it
    is as good at one of them.
    """
    if not gaps:
        return None
    found = [_OTHERS.get(gap["verdict"], "undecided") for gap in gaps]
    if "not needed" in found:
        return "not needed"
    return "needed" if set(found) == {"needed"} else "undecided"


def _published(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the paper's points where the data are the paper's."""
    called = described["name"].lower().replace("-", "").replace("_", "")
    known = "cifar10" in called.replace("cifar100", "")
    if not known or described["input_shape"] != [3, 32, 32]:
        return []
    return list(_points())


def _points() -> Iterator[dict[str, Any]]:
    file = resources.files("archtrial.experiments.mimic").joinpath("published.csv")
    for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
        convolutions = int(row["conv_layers"])
        layers = int(row["hidden_layers"]) if convolutions == 0 else convolutions
        yield {
            "layout": f"{'conv' if convolutions else 'mlp'}{layers}",
            "parameters": 1e6 * float(row["parameters_millions"]),
            "taught": row["trained_on"] == "teacher logits",
            "score": float(row["test_accuracy_percent"]) / 100,
        }

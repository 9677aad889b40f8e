"""From the records of an experiment to what was found, without training anything."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import searches
from archtrial.experiments.mimic import page, words
from archtrial.experiments.mimic.protocol import ENDINGS, ENSEMBLE
from archtrial.judge import experiment, repeated
from archtrial.judge.experiment import Finding, Records, gained
from archtrial.judge.pairs import between
from archtrial.records.table import Run
from archtrial.searches import Searcher
from archtrial.statistics.intervals import mean
from archtrial.statistics.tuning import Ranking

__all__ = ["LATENCY", "judge", "named", "searchers_of"]

LATENCY = "latency.json"
"""The file of a study that says how long its networks take on the machine it ran on."""

_DESCRIBED = ("name", "layout", "convolutions", "hidden", "budget")
# Verdicts on a gap: the student without reaches the one with it.
_REACHED = {"equivalent", "baseline"}


def searchers_of(resolved: Mapping[str, Any]) -> list[Searcher]:
    """Returns the searches of a resolved protocol: each student without, and with."""
    return [
        Searcher(named(student["name"], taught), student["name"], {"teacher": taught})
        for student in resolved["students"]
        for taught in (False, True)
    ]


def named(student: str, taught: bool) -> str:
    """Returns what a student's search is called."""
    return student + ENDINGS[taught]


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
        pairs = [(named(name, False), named(name, True)) for name in self._students]
        gains = dict(zip(self._students, self._family(pairs), strict=True))
        entries = [
            {
                **{k: s[k] for k in _DESCRIBED},
                "parameters": self._winner(s["name"], True).parameters,
                "without": gains[s["name"]].pop("first"),
                "with": gains[s["name"]].pop("second"),
                "compared": "with" if self._taught(s["name"]) else "without",
                "gain": gains[s["name"]],
            }
            for s in students
        ]
        teacher = self._teacher()
        if teacher is not None:
            for entry, behind in zip(entries, self._behind(), strict=True):
                entry |= behind
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
            "convolution": self._question(self._of_convolution, _convolution_needed),
            "depth": self._question(self._of_depth, _depth_needed),
            "published": _published(self._resolved["data"]),
        }
        return {**document, **words.told(document, self._metric)}

    def _question(
        self,
        pairs_of: Callable[[Sequence[str]], Sequence[tuple[str, str]]],
        needed: Callable[[Set[str]], str],
    ) -> dict[str, Any]:
        """Returns whether something is needed at equal size, from all gaps together.

        Students are compared with their teacher or without, as validation says.

        Args:
            pairs_of: Which of a budget's students are compared.
            needed: The answer at one budget, from the verdicts on its gaps.
        """
        budgets: dict[int, list[str]] = {}
        for name, student in self._students.items():
            if student["budget"] is not None:
                budgets.setdefault(student["budget"], []).append(name)
        asked = [(b, p) for b in sorted(budgets) for p in pairs_of(budgets[b])]
        family = [tuple(named(n, self._taught(n)) for n in pair) for _, pair in asked]
        gaps = []
        for (budget, (first, second)), gap in zip(
            asked, self._family(family), strict=True
        ):
            del gap["first"], gap["second"]
            gaps.append({"budget": budget, "from": first, "to": second, **gap})
        answers = {
            b: needed({gap["verdict"] for gap in gaps if gap["budget"] == b})
            for b, _ in asked
        }
        found = set(answers.values())
        answer = None
        if len(found) == 1:
            (answer,) = found
        elif found:
            clear = {"needed", "not needed"} <= found
            answer = "depends on the size" if clear else "undecided"
        by_size = [{"budget": b, "answer": said} for b, said in answers.items()]
        return {"answer": answer, "budgets": by_size, "gaps": gaps}

    def _of_convolution(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Returns every student without convolution, beside the best that has some.

        The best by validation: the test set has no part in any choice.
        """
        without = [n for n in names if self._students[n]["convolutions"] == 0]
        with_some = self._convolutional(names)
        if not with_some:
            return []
        best = max(with_some, key=lambda n: self._reached(named(n, self._taught(n))))
        return [(name, best) for name in without]

    def _of_depth(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Returns the student with the fewest convolutions, beside each with more."""
        found = self._convolutional(names)
        return [(found[0], more) for more in found[1:]]

    def _convolutional(self, names: Sequence[str]) -> list[str]:
        some = [n for n in names if self._students[n]["convolutions"]]
        return sorted(some, key=lambda n: int(self._students[n]["convolutions"]))

    def _taught(self, student: str) -> bool:
        """Says whether a student is better with its teacher, by validation."""
        without, taught = (self._reached(named(student, t)) for t in (False, True))
        return taught >= without

    def _reached(self, name: str) -> float:
        """Returns what a search reaches on validation, higher is better.

        It is the expected best of k trials; of whole searches their mean.
        """
        if name in self._repeats:
            scores = [run.validation for run in self._repeats[name]]
            return self._sign * float(np.mean(scores))
        found = searches.search_scores(self._runs[name], name, self._sign)
        ranking = Ranking(found, stratified=True)
        weights = ranking.weights([self._resolved["effort"]])[:, 0]
        return math.fsum(weights * found)

    def _winner(self, student: str, taught: bool) -> Run:
        """Returns the best run of a search by validation."""
        name = named(student, taught)
        pair = searches.tuned_pair(self._runs[name], name, self._sign)
        return searches.trials(self._runs[name], name)[pair]

    def _family(self, pairs: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
        """Compares pairs of searches at a level that holds for all together."""
        names = [(first, second) for first, second in pairs]
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
        own = [run for run in self._records.runs if run.arm == ENSEMBLE]
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

    def _behind(self) -> list[dict[str, Any]]:
        """Returns of each taught student what its tuned configuration scores.

        That is the best of all its trials by validation, on fresh seeds; and by how much
        it is better than its teacher.
        """
        (teacher,) = (run for run in self._records.runs if run.arm == ENSEMBLE)
        groups: list[list[Run]] = []
        for student in self._students:
            if self._repeats:
                groups.append(self._repeats[named(student, True)])
                continue
            winner = self._winner(student, True).pair
            groups.append(
                [
                    run
                    for run in self._in_full[named(student, True)]
                    if run.pair == winner and run.stage in ("confirm", "winner")
                ]
            )
        same = [[teacher] * len(groups[0]), *groups]
        found = experiment.differences(same, self._records)
        return [
            {
                "tuned": {
                    "validation": self._winner(student, True).validation,
                    "score": self._records.score(runs),
                },
                "to_teacher": gained(entry, self._sign),
            }
            for student, runs, entry in zip(
                self._students, groups, experiment.entries(found), strict=True
            )
        ]


def _convolution_needed(verdicts: Set[str]) -> str:
    """Returns the answer at one size: needed where nobody does without it."""
    if verdicts & _REACHED:
        return "not needed"
    return "needed" if verdicts <= {"architecture"} else "undecided"


def _depth_needed(verdicts: Set[str]) -> str:
    """Returns the answer at one size: needed where any more of it is better."""
    if "architecture" in verdicts:
        return "needed"
    return "not needed" if verdicts <= _REACHED else "undecided"


def _published(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the paper's points where the data are the paper's."""
    called = described["name"].lower().replace("-", "").replace("_", "")
    known = "cifar10" in called.replace("cifar100", "")
    if not known or described["input_shape"] != [3, 32, 32]:
        return []
    return list(_points())


def _points() -> Iterator[dict[str, Any]]:
    for row in experiment.published("mimic"):
        convolutions = int(row["conv_layers"])
        layers = int(row["hidden_layers"]) if convolutions == 0 else convolutions
        yield {
            "layout": f"{'conv' if convolutions else 'mlp'}{layers}",
            "parameters": 1e6 * float(row["parameters_millions"]),
            "taught": row["trained_on"] == "teacher logits",
            "score": float(row["test_accuracy_percent"]) / 100,
        }

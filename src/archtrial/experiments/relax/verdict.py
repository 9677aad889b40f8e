"""From an experiment's records to its verdict and its page, without torch.

Everything here can be done again years later from the study's folder alone.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from archtrial import metrics
from archtrial.experiments.relax import page, statistics
from archtrial.experiments.relax.statistics import (
    ArmScores,
    RelaxReading,
    default_margin,
)
from archtrial.experiments.relax.words import NetNames, Telling
from archtrial.judge import experiment
from archtrial.judge.experiment import Verdict
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.report import article
from archtrial.statistics.intervals import mean
from archtrial.words.findings import at_edges

__all__ = [
    "Finding",
    "Kind",
    "Tried",
    "Verdict",
    "arm_of",
    "chosen",
    "judge",
    "rows_of",
    "tried",
]

Kind: TypeAlias = Literal["cnn", "kept", "relaxed", "fresh"]
"""The CNN from its start; at a relax time, what goes on from it as it is ("kept") and
relaxed; and the relaxed one's shape from a standard start."""

_NAMES = {
    "fcn": NetNames(),
    "lcn": NetNames("CNN", "eLCN", "LCN", "locally connected net"),
}
_ARMS: Mapping[str, Mapping[Kind, str]] = {
    "fcn": {"cnn": "cnn", "kept": "kept", "relaxed": "efcn", "fresh": "fcn"},
    "lcn": {"cnn": "cnn", "kept": "kept", "relaxed": "elcn", "fresh": "lcn"},
}
_OTHER = {"best": "last", "last": "best"}

CNN_DIVERGED = "a CNN that is trained on has come as far as its relax time"
"""How the error of a training begins whose CNN diverged before it: a finding, where any
other error is a failure."""


def arm_of(form: str, kind: Kind) -> str:
    """Returns what the records call a network; each row also has its relax time."""
    return _ARMS[form][kind]


def rows_of(store: Store, *, per_example: bool = True) -> list[Run]:
    """Returns an experiment's rows, each with the relax time at whose budget it is read.

    Releases before 0.3 wrote the relax time behind the arm's name, as in "efcn@93".
    """
    return list(map(_placed, store.runs(per_example=per_example)))


def _placed(run: Run) -> Run:
    if "@" not in run.arm:
        return run
    arm, _, time = run.arm.partition("@")
    return dataclasses.replace(run, arm=arm, coordinates={"relax_time": int(time)})


@dataclasses.dataclass(frozen=True)
class Finding:
    """A verdict with what its page shows besides."""

    verdict: Verdict
    protocol: Mapping[str, Any]
    """The resolved protocol."""
    environment: Mapping[str, str]
    """Where and with what it ran."""

    def page(self) -> str:
        """Returns the page, one self-contained HTML document."""
        return article.render(
            page.article(
                self.verdict.document,
                protocol=self.protocol,
                environment=self.environment,
            )
        )

    def figure(self, name: str) -> Figure:
        """Draws one figure of the page by its name.

        Raises:
            ProtocolError: There is no such figure.
            RecordsError: It needs what was not measured.
        """
        return page.draw(name, self.verdict.document)


def judge(folder: str | Path) -> Finding:
    """Judges an experiment from its folder.

    Raises:
        RecordsError: The folder holds no such experiment, or one whose test set has
            not been opened yet.
    """
    found = experiment.finished(folder, "relax", "archtrial relax --study")
    document = _document(found.hash, found.resolved, list(map(_placed, found.runs)))
    return Finding(Verdict(document), found.resolved, found.environment)


# --------------------------------------------------------------------- learning rates


@dataclasses.dataclass(frozen=True)
class Tried:
    """A learning rate that was tried on the tuning seeds."""

    rate: int
    """Which of the declared ones."""
    learning_rate: float
    validation: float
    """The mean validation score over the tuning seeds."""
    order: float
    """The same, turned so that higher is better."""
    failed: bool
    """Whether every run raised an error, and not all because their CNN had diverged."""


def tried(
    runs: Sequence[Run], arm: str, relax_time: int, reading: str, sign: int
) -> list[Tried]:
    """Returns what was tried for an arm, in the order of the learning rates.

    Args:
        runs: The experiment's.
        arm: Such as "efcn".
        relax_time: At whose budget it is read.
        reading: The one that is compared.
        sign: 1 where a higher score is better, else -1.
    """
    scores: dict[int, list[Run]] = {}
    for run in runs:
        here = (run.arm, run.coordinates["relax_time"]) == (arm, relax_time)
        if here and (run.stage, run.reading) == ("search", reading):
            scores.setdefault(run.pair, []).append(run)
    found = []
    for rate, own in sorted(scores.items()):
        # By seed: a sum does not depend on the order in which runs came back.
        own.sort(key=lambda run: run.seed)
        validation = float(np.mean([run.validation for run in own]))
        found.append(
            Tried(
                rate,
                float(own[0].configuration["learning_rate"]),
                validation,
                sign * validation,
                all(run.error is not None for run in own)
                and not all(str(run.error).startswith(CNN_DIVERGED) for run in own),
            )
        )
    return found


def chosen(known: Sequence[Tried]) -> int:
    """Returns which learning rate is best on validation; of equals the smallest."""
    return max(known, key=lambda one: (one.order, -one.rate)).rate


# ------------------------------------------------------------------------ the document


def _document(
    hash_: str, resolved: Mapping[str, Any], runs: Sequence[Run]
) -> dict[str, Any]:
    metric = metrics.get(resolved["metric"], resolved["task"])
    sign = 1 if metric.higher_is_better else -1
    form, reading = resolved["form"], resolved["reading"]
    times: list[int] = resolved["relax_times"]
    assumed = resolved["margin"] is None
    table = _Table(resolved, runs, metric)
    judged = statistics.judge_relaxation(
        table.read(reading),
        table.read(_OTHER[reading]),
        margin=table.margin() if assumed else resolved["margin"],
        margin_assumed=assumed,
        alpha=resolved["alpha"],
        seed=resolved["seed"],
        throughout=table.throughout(reading),
    )
    found = Telling(judged, metric, _NAMES[form], reading, _OTHER[reading]).document()
    rates = _learning_rates(resolved, runs, sign)
    rows = resolved["data"]["rows"]
    batches = rows["training"] / min(resolved["batch_size"], rows["training"])
    found["warnings"] += list(_at_edges(rates, _NAMES[form]))
    for entry in found["times"]:
        entry |= table.measured(entry["relax_time"], resolved["alpha"])
    trained = [
        run
        for run in runs
        if run.reading == "last"
        # The CNN and the fresh FCN are read at all budgets of one training.
        and (
            run.arm in (_ARMS[form]["kept"], _ARMS[form]["relaxed"])
            or run.coordinates["relax_time"] == times[-1]
        )
    ]
    sizes = resolved["parameters"]
    return {
        "schema": 1,
        **found,
        "metric": {
            "name": metric.name,
            "higher_is_better": metric.higher_is_better,
            "bounded": metric.bounded,
        },
        "data": resolved["data"]["name"],
        "architecture": resolved["architecture"]["name"],
        "seed": resolved["seed"],
        "protocol_hash": hash_,
        "steps": resolved["steps"],
        "batches_per_epoch": batches,
        "tuning_seeds": resolved["tuning_seeds"],
        "test_examples": rows["test"],
        "parameters": {
            "cnn": sizes["cnn"],
            "relaxed": sizes[form],
            "without_padding": sizes["fcn_without_padding"] if form == "fcn" else None,
        },
        "learning_rates": rates,
        "published": _published(resolved),
        "cost": {
            "flops": sum(run.flops for run in trained),
            "trainings": len(trained),
        },
    }


class _Table:
    """The fresh runs, as tables of seeds by relax times."""

    def __init__(
        self, resolved: Mapping[str, Any], runs: Sequence[Run], metric: metrics.Metric
    ) -> None:
        self._form: str = resolved["form"]
        self._reading: str = resolved["reading"]
        self._usual_units = bool(metric.bounded) or metric.name == "r2"
        self._times: list[int] = resolved["relax_times"]
        self._seeds = range(1, resolved["seeds"] + 1)
        self._sign = 1 if metric.higher_is_better else -1
        self._runs = {
            (run.arm, run.coordinates["relax_time"], run.seed, run.reading): run
            for run in runs
            if run.stage == "confirm"
        }

    def run(self, kind: Kind, time: int, seed: int, reading: str) -> Run:
        return self._runs[arm_of(self._form, kind), time, seed, reading]

    def read(self, reading: str) -> RelaxReading:
        """Returns all test scores in one reading, turned so that higher is better."""
        return RelaxReading(
            self._times,
            relaxed=self._scores("relaxed", reading, self._times),
            cnn=self._scores("kept", reading, self._times),
            fresh=self._scores("fresh", reading, self._times),
        )

    def throughout(self, reading: str) -> ArmScores:
        """Returns the CNN at one learning rate up to the longest budget."""
        return self._scores("cnn", reading, self._times[-1:])

    def _scores(self, kind: Kind, reading: str, times: Sequence[int]) -> ArmScores:
        rows = [
            [self.run(kind, time, seed, reading) for time in times]
            for seed in self._seeds
        ]
        examples = np.array(
            [[run.per_example for run in row] for row in rows], dtype=np.float64
        ).mean(0)
        return ArmScores(
            scores=self._sign
            * np.array([[run.test for run in row] for row in rows], dtype=np.float64),
            diverged=np.array([[run.diverged for run in row] for row in rows]),
            examples=self._sign * examples,
        )

    def margin(self) -> float:
        """Returns the margin where none was declared, from validation scores alone."""
        runs = [
            [self.run("cnn", time, seed, self._reading) for time in self._times]
            for seed in self._seeds
        ]
        return default_margin(
            np.array([[run.validation for run in row] for row in runs]),
            np.array([[run.diverged for run in row] for row in runs]),
            self._usual_units,
        )

    def measured(self, time: int, alpha: float) -> dict[str, Any]:
        """Returns what was measured at a relax time, with intervals over seeds."""
        each = [
            self.run("relaxed", time, seed, "last").measures for seed in self._seeds
        ]
        known = [dict(measures) for measures in each if "deviation" in measures]
        over = functools.partial(_over_seeds, alpha=alpha)
        if not known:
            absent = ("deviation", "untied", "path", "curvature", "gradient_norm")
            return {
                "measured": 0,
                **dict.fromkeys(absent),
                "validation": None,
                "deviation_by_layer": {},
            }
        paths = [m["path"] for m in known if m["path"] is not None]
        return {
            "measured": len(known),
            "deviation": over(m["deviation"] for m in known),
            "untied": over(m["untied"] for m in known),
            "deviation_by_layer": {
                layer: over(m["deviation_by_layer"][layer] for m in known)
                for layer in known[0]["deviation_by_layer"]
            },
            "validation": {
                name: over(m["validation"][name] for m in known)
                for name in known[0]["validation"]
            },
            "path": {
                "position": paths[0]["position"],
                "loss": [
                    over(at) for at in zip(*(p["loss"] for p in paths), strict=True)
                ],
                "score": [
                    over(at) for at in zip(*(p["score"] for p in paths), strict=True)
                ],
                "barrier": over(p["barrier"] for p in paths),
            }
            if paths
            else None,
            **{
                name: {
                    end: over(m[name][end] for m in known) for end in ("start", "end")
                }
                if name in known[0]
                else None
                for name in ("curvature", "gradient_norm")
            },
        }


def _over_seeds(values: Iterable[float | None], *, alpha: float) -> dict[str, Any]:
    """Returns the mean of what is known and Student's interval, as JSON."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return {"estimate": None, "low": None, "high": None}
    found = mean(known, alpha)
    return {
        end: value if math.isfinite(value) else None
        for end, value in dataclasses.asdict(found).items()
    }


def _learning_rates(
    resolved: Mapping[str, Any], runs: Sequence[Run], sign: int
) -> list[dict[str, Any]]:
    """Returns what was tried and chosen: for the CNN, the fresh FCN, each relax time."""
    form, times = resolved["form"], resolved["relax_times"]
    rates = resolved["learning_rates"]
    # Of what starts afresh, the rate is chosen for the longest training.
    afresh: tuple[Kind, ...] = ("cnn", "fresh")
    going_on: tuple[Kind, ...] = ("kept", "relaxed")
    asked: list[tuple[Kind, int | None]] = [
        *((kind, None) for kind in afresh),
        *itertools.product(going_on, times),
    ]
    found = []
    for role, time in asked:
        name = arm_of(form, role)
        at = times[-1] if time is None else time
        known = tried(runs, name, at, resolved["reading"], sign)
        best = chosen(known)
        found.append(
            {
                "arm": name if time is None else f"{name}@{time}",
                "role": role,
                "relax_time": time,
                "chosen": rates[best],
                "at_edge": len(rates) > 1 and best in (0, len(rates) - 1),
                "tried": [
                    {"learning_rate": one.learning_rate, "validation": one.validation}
                    for one in known
                ],
            }
        )
    return found


def _at_edges(rates: Sequence[Mapping[str, Any]], names: NetNames) -> Iterable[str]:
    called = {
        "cnn": names.cnn,
        "kept": names.cnn,
        "relaxed": names.relaxed,
        "fresh": names.fresh,
    }

    def named(entry: Mapping[str, Any]) -> str:
        time = entry["relax_time"]
        since = "" if time is None else f" from step {time:,} on"
        return f"{called[entry['role']]}{since} ({entry['chosen']:g})"

    return at_edges([named(entry) for entry in rates if entry["at_edge"]])


def _published(resolved: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the paper's points where the data are the paper's, else None."""
    data = resolved["data"]
    called = data["name"].lower().replace("-", "").replace("_", "")
    if "cifar10" not in called.replace("cifar100", "") or data["input_shape"] != [
        3, 32, 32,
    ]:  # fmt: skip
        return None
    rows = experiment.published("relax")
    whole = {r["relax_epoch"]: float(r["test_accuracy"]) for r in rows}
    return {
        "source": "d'Ascoli et al. 2019 (arXiv 1906.06766): VanillaCNN on CIFAR-10,"
        " 50,000 training images, best epoch on the test set, read off a plot",
        "cnn": whole["cnn"],
        "fresh": whole["fcn"],
        "times": [
            {
                "epoch": int(row["relax_epoch"]),
                "score": float(row["test_accuracy"]),
                "deviation": float(row["deviation"]),
            }
            for row in rows
            if row["relax_epoch"].isdigit()
        ],
    }

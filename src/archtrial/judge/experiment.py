"""What every experiment's judge shares: the records of its folder, and what was found.

An experiment's own judge reads the records (`finished`), makes a document of them, and
an `Article` of the document:

    def judge(folder):
        records = finished(folder, "my_kind", "python my_kind.py")
        found = differences([these, those], records)
        document = {**records.document(), "verdict": ..., "sentence": ...}
        return records.finding(document, title="Mine", numbers=..., sections=...)
"""

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from archtrial import metrics
from archtrial.errors import RecordsError
from archtrial.freezing import expect
from archtrial.judge.study import environment_of
from archtrial.records.store import OPENED, Store
from archtrial.records.table import Run
from archtrial.report import article
from archtrial.report.drawing import WIDE, chosen_figure
from archtrial.report.frame import cited
from archtrial.statistics import default_margin
from archtrial.statistics.intervals import mean
from archtrial.statistics.simultaneous import Decision, Simultaneous, simultaneous
from archtrial.words import numbers

__all__ = [
    "GLOSSARY",
    "Finding",
    "Records",
    "Verdict",
    "decide",
    "differences",
    "entries",
    "finished",
    "gained",
    "over_steps",
    "paired",
    "published",
    "runs_of",
]

GLOSSARY = {
    "fresh seeds": "Seeds of runs that had no part in any choice.",
    "margin": "The smallest difference worth having; declared, or by default the larger"
    " of half a point and one standard deviation over seeds.",
    "interval": "Numbers that fit the runs. Of several differences, all intervals hold"
    " together with the stated level.",
}
"""What the words of every experiment mean."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an experiment found; it prints as its sentence."""

    document: Mapping[str, Any]
    """As JSON, with "sentence" and "verdict"; numbers are finite or None."""

    def __str__(self) -> str:
        return str(self.document["sentence"])

    @property
    def verdict(self) -> str:
        """The verdict in one word, such as "inconclusive"."""
        return str(self.document["verdict"])

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict with all its numbers."""
        return dict(self.document)

    def to_json(self) -> str:
        """Returns the text of verdict.json: no clock, date, path or machine."""
        text = json.dumps(self.document, indent=2, ensure_ascii=False, allow_nan=False)
        return text + "\n"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A verdict with what its page and a terminal show."""

    verdict: Verdict
    article: article.Article
    figures: Mapping[str, Callable[[int], Figure]] = dataclasses.field(
        default_factory=dict
    )
    """By name, what draws a figure of a width."""

    def page(self) -> str:
        """Returns the page, one self-contained HTML document."""
        return article.render(self.article)

    def figure(self, name: str) -> Figure:
        """Draws one figure of the page by its name.

        Raises:
            ProtocolError: There is no such figure.
        """
        return chosen_figure(name, list(self.figures), self.figures, "")(WIDE)


@dataclasses.dataclass(frozen=True)
class Records:
    """All that the judge of an experiment reads."""

    hash: str
    """Of the protocol."""
    resolved: Mapping[str, Any]
    """The protocol, as it was frozen."""
    runs: Sequence[Run]
    """All of them, with test scores and each test example's share."""
    environment: Mapping[str, str]
    """Where and with what it ran: for the page, never for the verdict."""
    constant: float | None = None
    """The constant predictor's test score."""
    opened: bool = True
    """Whether the test set was opened; else there are no test scores."""
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """By name, what was measured beside the trainings (`workflow.Work.measure`)."""

    @property
    def metric(self) -> metrics.Metric:
        """Of all scores."""
        return metrics.get(self.resolved["metric"], self.resolved["task"])

    def of(self, stage: str, **coordinates: Any) -> list[Run]:
        """Returns the runs of a stage at some coordinates, by seed and key.

        Args:
            stage: One of `records.table.STAGES`.
            **coordinates: Such as `batch_size=100`.
        """
        return runs_of(self.runs, stage, **coordinates)

    def margin(self, runs: Sequence[Run]) -> float:
        """Returns the declared margin, or the default one.

        Args:
            runs: On fresh seeds, of one configuration that others are compared with;
                of these the validation scores count.
        """
        declared: float | None = self.resolved["margin"]
        if declared is not None:
            return declared
        scores = [run.validation for run in runs if not run.diverged]
        fractions = self.metric.bounded or not scores
        return default_margin(
            [scores], None if fractions else float(np.median(np.abs(scores)))
        )

    def score(self, runs: Sequence[Run]) -> dict[str, float]:
        """Returns the mean test score of runs with its interval over seeds."""
        scores = np.array([run.test for run in runs], dtype=np.float64)
        return dataclasses.asdict(mean(scores, self.resolved["alpha"]))

    def document(self) -> dict[str, Any]:
        """Returns what the document of every experiment has, whatever it found."""
        metric = self.metric
        return {
            "schema": 1,
            "data": self.resolved["data"]["name"],
            "metric": {
                "name": metric.name,
                "higher_is_better": metric.higher_is_better,
                "bounded": metric.bounded,
            },
            "alpha": self.resolved["alpha"],
            "seed": self.resolved["seed"],
            "protocol_hash": self.hash,
            "cost": {
                "trainings": len(self.runs),
                "flops": sum(run.flops for run in self.runs),
            },
        }

    def finding(
        self,
        document: Mapping[str, Any],
        *,
        title: str,
        sections: Sequence[article.Section],
        brief: article.Brief,
        figures: Mapping[str, Callable[[int], Figure]] | None = None,
        **more: Any,
    ) -> Finding:
        """Returns the finding of a document, with its page.

        Args:
            document: What `document` returned, with "verdict", "sentence" and whatever
                was found; "warnings", a sentence each, where there are any.
            title: Of the page.
            sections: From evidence to details; what it cost and was noticed follows.
            brief: What a terminal shows; below it stands what it cost.
            figures: What draws each figure, by name, for `archtrial report --figure`.
            **more: Other fields of `Article`: `numbers`; `glossary`, in place of
                `GLOSSARY`.
        """
        trainings = numbers.count(document["cost"]["trainings"], "training")
        spent = f"{trainings}, {numbers.flops(document['cost']['flops'])}"
        which = "test" if self.opened else "validation"
        laid_out = article.Article(
            title=title,
            verdict=str(document["verdict"]).replace("_", " "),
            about=[document["data"], f"{which} {numbers.label(self.metric)}"],
            sentence=document["sentence"],
            sections=[*sections, article.Section("What it cost", [spent])],
            citation=cited(title, document, self.environment),
            document=document,
            warnings=document.get("warnings", ()),
            notes=self.resolved["notes"],
            protocol=self.resolved,
            environment=self.environment,
            brief=dataclasses.replace(brief, closing=brief.closing or spent),
            **{"numbers": (), "glossary": GLOSSARY, **more},
        )
        return Finding(Verdict(document), laid_out, figures or {})


def published(experiment: str) -> list[dict[str, str]]:
    """Returns the figures of an experiment's paper, a row each, as they are written.

    Args:
        experiment: Its kind.
    """
    file = resources.files(f"archtrial.experiments.{experiment}") / "published.csv"
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def over_steps(
    readings: Iterable[Iterable[tuple[int, float]]], alpha: float
) -> list[dict[str, Any]]:
    """Returns by step the mean of what several runs read there, with its interval.

    Args:
        readings: Of each run, steps and what was read there; what is not finite is left
            out.
        alpha: The interval has level 1 - alpha.

    Returns:
        For each step "step", "mean", "low" and "high", which are None of one run, and how
        many "runs" there are.
    """
    by_step: dict[int, list[float]] = {}
    for run in readings:
        for step, value in run:
            if math.isfinite(value):
                by_step.setdefault(step, []).append(value)
    points = []
    for step, values in sorted(by_step.items()):
        found = mean(np.array(values), alpha)
        known = len(values) > 1
        points.append(
            {
                "step": step,
                "mean": found.estimate,
                "low": found.low if known else None,
                "high": found.high if known else None,
                "runs": len(values),
            }
        )
    return points


def runs_of(runs: Sequence[Run], stage: str, **coordinates: Any) -> list[Run]:
    """Returns the runs of a stage at some coordinates, by seed and key."""
    own = [
        run
        for run in runs
        if run.stage == stage and coordinates.items() <= run.coordinates.items()
    ]
    return sorted(own, key=lambda run: (run.seed, run.key))


def differences(groups: Sequence[Sequence[Run]], records: Records) -> Simultaneous:
    """Estimates by how much groups of runs differ from the first, all at once.

    Differences are in the metric's own units. Runs at the same place of two groups are
    a pair; the draw of the test examples counts in the intervals.

    Args:
        groups: Each as many runs on fresh seeds, in the order of the seeds.
        records: Of the experiment.
    """
    return paired([(groups[0], runs) for runs in groups[1:]], records)


def paired(
    pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]], records: Records
) -> Simultaneous:
    """Estimates by how much the second of two groups differs from the first, for all.

    It is as in `differences`, where each has a group of its own to be compared with.

    Args:
        pairs: All groups have as many runs.
        records: Of the experiment.
    """
    scores = np.array(
        [[[run.test for run in runs] for runs in pair] for pair in pairs],
        dtype=np.float64,
    )
    shares = np.array(
        [
            [
                np.array([run.per_example for run in runs], dtype=np.float64).mean(0)
                for runs in pair
            ]
            for pair in pairs
        ]
    )
    apart = shares[:, 1] - shares[:, 0]
    return simultaneous(
        (scores[:, 1] - scores[:, 0]).T,
        alpha=records.resolved["alpha"],
        seed=records.resolved["seed"],
        test_variance=np.var(apart, axis=1, ddof=1) / apart.shape[1],
    )


def decide(
    groups: Sequence[Sequence[Run]], found: Simultaneous, margin: float
) -> Decision | Literal["not_assessable"]:
    """Returns the verdict on groups that differ as `differences` says.

    It is "not_assessable" where all runs of a group diverged: they all stand at the
    constant predictor's score, and their differences say nothing.
    """
    if any(all(run.diverged for run in runs) for runs in groups):
        return "not_assessable"
    return found.decide(margin)


def entries(found: Simultaneous) -> list[dict[str, float]]:
    """Returns differences as a document has them, in order."""
    return [
        {
            **dataclasses.asdict(found.at(index)),
            "p_value_adjusted": float(found.p_value_adjusted[index]),
        }
        for index in range(len(found.estimate))
    ]


def gained(found: Mapping[str, Any], sign: int) -> dict[str, Any]:
    """Returns a difference turned so that more is better.

    Args:
        found: "estimate", "low" and "high", in the metric's own units; else as it is.
        sign: 1 where a higher score is better, else -1.
    """
    if sign > 0:
        return dict(found)
    ends = {"estimate": "estimate", "low": "high", "high": "low"}
    return {**found, **{end: -found[other] for end, other in ends.items()}}


def finished(
    folder: str | Path, experiment: str, command: str, *, opens: bool = True
) -> Records:
    """Reads the folder of an experiment that has been trained.

    Args:
        folder: The study's.
        experiment: Its kind, the "experiment" of its resolved protocol.
        command: How to go on with it; the folder is put behind.
        opens: Whether such a study opens the test set; one that does not ends by
            `workflow.Work.end_unopened`.

    Raises:
        RecordsError: The folder holds no store, another kind of study, or one that has
            not come to its end.
    """
    with Store(folder, read_only=True) as store:
        frozen = store.protocol()
        if frozen is not None:
            expect(frozen[1], experiment, folder)
        ended = store.test_is_open if opens else store.has_ended
        if frozen is None or not ended:
            raise RecordsError(
                "an experiment is judged when all of it has been trained",
                f"{folder} is not finished",
                f"Go on with it: {command} {folder}",
            )
        runs, events, measured = store.runs(), store.events(), store.measured()
    constant = None
    if opens:
        told = next(json.loads(detail) for _, name, detail in events if name == OPENED)
        constant = told.get("constant")
    environment = environment_of(runs, events)
    return Records(frozen[0], frozen[1], runs, environment, constant, opens, measured)

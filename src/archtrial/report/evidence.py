"""All that a page shows, and which runs of it are the tuned ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.records.table import Run, best_of
from archtrial.space import Space
from archtrial.statistics.intervals import mean
from archtrial.statistics.learning import Rise
from archtrial.words.findings import refusing, with_ranges
from archtrial.words.numbers import Metric
from archtrial.words.verdict import digits

__all__ = [
    "Evidence",
    "fresh_runs",
    "mean_interval",
    "of_stage",
    "presented",
    "tuned_pair",
]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All that a page shows."""

    document: Mapping[str, Any]
    """The content of `verdict.json`."""
    runs: Sequence[Run]
    metric: Metric
    spaces: Mapping[str, Space] = dataclasses.field(default_factory=dict)
    """Each arm's search space."""
    curves: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Each arm's tuning curve; see `figures.tuning_curves`."""
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The resolved protocol, as JSON."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Versions, hardware, threads, seconds: a name and a text each."""
    notes: Sequence[str] = ()
    """What was found in the data, a sentence each."""
    exploratory: Sequence[str] = ()
    """Why this is not what was declared, a sentence each: told above the verdict."""
    edges: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    """Of each arm and dimension, the side ("low" or "high") where the best
    configurations pile up."""
    rises: Mapping[str, Rise] = dataclasses.field(default_factory=dict)
    """Of each arm, how it was learning while its learning rate was high."""
    loading: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of each arm, the lines of Python that load its tuned model."""
    price_per_hour: float | None = None
    """What an hour of training costs, in any currency."""
    going_on: str = ""
    """The command that goes on with this study from its folder alone; "" where there
    is none."""

    @property
    def seconds(self) -> float:
        """What all runs took; 0 where nobody timed them."""
        return sum(run.seconds for run in self.runs)

    @property
    def trained_alike(self) -> bool:
        """Whether all arms have one recipe, as far as a protocol says."""
        arms = [self.protocol.get("baseline"), *self.protocol.get("challengers", ())]
        recipes = [arm.get("recipe") for arm in arms if isinstance(arm, Mapping)]
        return all(recipe == recipes[0] for recipe in recipes)


def presented(evidence: Evidence) -> Evidence:
    """Returns the evidence as a reader sees it, on a page or in a terminal.

    All scores have one number of digits, that of the sentence, halves of the space
    name their ranges, and what cannot be judged shows no gain.
    """
    document = refusing(evidence.document)
    named = [
        with_ranges(compared, evidence.spaces) for compared in document["comparisons"]
    ]
    return dataclasses.replace(
        evidence,
        metric=digits(evidence.document["comparisons"], evidence.metric),
        document={**document, "comparisons": named},
    )


def tuned_pair(runs: Sequence[Run], arm: str, metric: Metric) -> int | None:
    """Returns the index of an arm's tuned configuration; None without runs.

    It is the one whose extra seeds were run, at the last look if there were several,
    or, where there are none, the one with the best validation score in the search.
    """
    winners = of_stage(runs, arm, "winner")
    if winners:
        return max(winners, key=lambda run: run.look).pair
    searched = of_stage(runs, arm, "search")
    if not searched:
        return None
    sign = 1 if metric.higher_is_better else -1
    return best_of(sorted(searched, key=lambda run: run.pair), sign).pair


def fresh_runs(runs: Sequence[Run], arm: str, metric: Metric) -> list[Run]:
    """Returns the tuned configuration's runs on fresh seeds that have a test score."""
    pair = tuned_pair(runs, arm, metric)
    return [
        run
        for run in runs
        if run.arm == arm
        and run.pair == pair
        and run.stage in ("confirm", "winner")
        and run.test is not None
    ]


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Returns the 95 % t interval of a mean; None for fewer than two values.

    Args:
        values: (S,) one score a seed.
    """
    if len(values) < 2:
        return None
    found = mean(values, 0.05)
    return found.low, found.high


def of_stage(runs: Sequence[Run], arm: str, stage: str) -> list[Run]:
    """Returns an arm's runs that were made for one purpose; see `table.STAGES`."""
    return [run for run in runs if run.arm == arm and run.stage == stage]

"""What a group of measures is to the judge: numbers, sections, columns; without torch.

A group is a file here beside (`cost.py`) with a subclass of `Group`, and one with a subclass
of `measuring.Measuring` (`measuring_cost.py`); a line in `_JUDGES` below, one in
`measuring._MEASURING`, and a word in `protocol.Group`.
"""

import abc
import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure

from archtrial import metrics
from archtrial.judge.experiment import Records
from archtrial.records.table import Run, best_on_average
from archtrial.report.article import Column, Section

__all__ = ["Group", "Profiled", "group_of"]

_JUDGES: Mapping[str, tuple[str, str]] = {
    "cost": ("cost", "Cost"),
    "trainability": ("trainability", "Trainability"),
    "generalisation": ("generalisation", "Generalisation"),
    "representation": ("representation", "Representation"),
}
"""By group, the file beside this one and the class that judges it."""


@dataclasses.dataclass(frozen=True)
class Profiled:
    """What all groups read: the records, and what the shared trainings found."""

    records: Records
    machine: Mapping[str, Any]
    """By group, what was timed on the machine of the study: for the page alone, and
    empty where the file is gone."""

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The protocol, as it was frozen."""
        return self.records.resolved

    @property
    def metric(self) -> metrics.Metric:
        """Of all scores."""
        return self.records.metric

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1."""
        return 1 if self.metric.higher_is_better else -1

    @property
    def alpha(self) -> float:
        """Intervals hold at 1 - alpha."""
        return float(self.resolved["alpha"])

    @property
    def names(self) -> list[str]:
        """The architectures, in the order in which they were declared."""
        return [arm["name"] for arm in self.resolved["architectures"]]

    def tried(self, name: str) -> list[Run]:
        """Returns the shared trainings that tried an architecture's learning rates.

        A run's `pair` is the place of its rate among "learning_rates".
        """
        return _shared(self.records.of("search"), name)

    def tuned(self, name: str) -> int:
        """Returns the place of an architecture's best learning rate, by validation."""
        return best_on_average(self.tried(name), self.sign)

    def fresh(self, name: str) -> list[Run]:
        """Returns an architecture's shared trainings on fresh seeds, by seed."""
        return _shared(self.records.of("confirm"), name)

    def of_group(self, group: str, stage: str, **coordinates: Any) -> list[Run]:
        """Returns the runs that a group planned itself, by seed and key.

        Args:
            group: Its name, the coordinate "group" of its items.
            stage: One of `records.table.STAGES`.
            **coordinates: Others, such as `rows=1000`.
        """
        return self.records.of(stage, group=group, **coordinates)

    def measured(self, group: str, name: str) -> Any:
        """Returns what a group measured of an architecture (`Measuring.record`)."""
        return self.records.measured[f"{group}/{name}"]


def _shared(runs: Sequence[Run], name: str) -> list[Run]:
    return [run for run in runs if run.arm == name and "group" not in run.coordinates]


class Group(abc.ABC):
    """What a group of measures found; it reads the records alone.

    Args:
        profiled: What all groups read.
    """

    title = ""
    """What the group asks, as the heading of its section."""
    glossary: ClassVar[Mapping[str, str]] = {}
    """What its words mean."""

    def __init__(self, profiled: Profiled) -> None:
        self.profiled = profiled

    @abc.abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Returns all that the group found, as JSON: numbers are finite or None.

        It stands in the document under the group's name. What is timed stays out of it.
        By custom "architectures" is a list of one entry for each, with its "name", and
        a number with an interval is {"estimate", "low", "high"}.
        """

    @abc.abstractmethod
    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns the group's finding in one sentence, from what `numbers` returned."""

    @abc.abstractmethod
    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns what the page shows of it, the first under the group's title."""

    @abc.abstractmethod
    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns columns of the terminal's table, a cell for each architecture."""

    def figures(
        self, found: Mapping[str, Any]
    ) -> Mapping[str, Callable[[int], Figure]]:
        """Returns what draws each of its figures, for `archtrial report --figure`."""
        return {}

    def warnings(self, found: Mapping[str, Any]) -> Sequence[str]:
        """Returns what speaks against a number, a sentence each."""
        return ()


def group_of(name: str, profiled: Profiled) -> Group:
    """Returns a group by its name."""
    file, member = _JUDGES[name]
    package = __name__.rpartition(".")[0]
    kind: type[Group] = getattr(importlib.import_module(f"{package}.{file}"), member)
    return kind(profiled)

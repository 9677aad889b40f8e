"""What a group of measures is to a study: what it trains and what it measures beside.

The other side of a group, what it reads off the records, is `groups.Group`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archtrial import trainers, workflow
from archtrial.records.table import Run

if TYPE_CHECKING:
    from archtrial.experiments.profile.study import Study

__all__ = ["Measuring", "measuring_of"]

_MEASURING: Mapping[str, tuple[str, str]] = {
    "cost": ("measuring_cost", "Cost"),
    "trainability": ("measuring_trainability", "Trainability"),
    "generalisation": ("measuring_generalisation", "Generalisation"),
    "representation": ("measuring_representation", "Representation"),
}
"""By group, the file beside this one and the class that measures it."""


class Measuring:
    """What one group trains and measures, for every architecture of a study.

    All methods may be left out: a group that needs no more than the shared trainings
    has none. `study` has what is shared: `protocol`, `split`, `metric`, `sign`, `loops`
    (who trains the shared trainings; its `problem` and `architectures`), `fresh` (the
    shared trainings on fresh seeds) and `network`.

    Args:
        study: The study. When it is handed over, it has no folder yet.
    """

    name = ""
    """As in `protocol.Group`."""

    def __init__(self, study: "Study") -> None:
        self.study = study

    @property
    def trainer(self) -> trainers.Trainer | None:
        """Who carries out items whose coordinate "group" is this group's name.

        None: the study's loops, as if they were shared trainings. It pickles. What it
        measures of a training goes into `Run.measures`.
        """
        return None

    def resolved(self) -> Mapping[str, Any]:
        """Returns what the group adds to the resolved protocol, as JSON."""
        return {}

    def keeps_weights(self) -> bool:
        """Says whether it needs the weights of the shared trainings on fresh seeds."""
        return False

    def stages(self, work: workflow.Work) -> None:
        """Carries out the group's own stages, after the shared ones.

        Each by `work.carry_out(name, items)`, with `self.item` for items. What is
        measured beside, and follows from the protocol and the records, is recorded by
        `self.record`.
        """

    def on_machine(self, runs: Sequence[Run]) -> Mapping[str, Any]:
        """Returns what is timed, as JSON: it goes to machine.json, and to the page.

        It is called once, when all else has ended.

        Args:
            runs: All that were trained.
        """
        return {}

    def item(
        self,
        arm: str,
        pair: int,
        seed: int,
        stage: str,
        configuration: Mapping[str, Any],
        *,
        keep_weights: bool = False,
        **further: Any,
    ) -> trainers.Item:
        """Returns a training of this group.

        Args:
            arm: The architecture's name.
            pair: By custom the place of its learning rate.
            seed: Fresh seeds count from 1.
            stage: "search" or "confirm".
            configuration: Such as {"learning_rate": 0.01}.
            keep_weights: Whether its weights go to `Study.weights_file`.
            **further: What tells it from the group's others, such as `rows=1000`.
        """
        return trainers.Item(
            arm, pair, seed, stage, configuration, keep_weights,
            further={"group": self.name, **further},
        )  # fmt: skip

    def record(self, work: workflow.Work, name: str, compute: Callable[[], Any]) -> Any:
        """Returns what is measured of an architecture, computed and recorded once.

        Args:
            work: The study while it is carried out.
            name: The architecture's; with more behind it where there are several.
            compute: Returns it as JSON.
        """
        return work.measure(f"{self.name}/{name}", compute)


def measuring_of(name: str, study: "Study") -> Measuring:
    """Returns a group's side that trains, by its name."""
    file, member = _MEASURING[name]
    package = __name__.rpartition(".")[0]
    found = importlib.import_module(f"{package}.{file}")
    kind: type[Measuring] = getattr(found, member)
    return kind(study)

"""What is trained, and what comes of it, whoever trains."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import safetensors.torch

from archtrial import randomness
from archtrial import space as spaces
from archtrial.data import draw_labelled
from archtrial.errors import UserError
from archtrial.records.table import Run
from archtrial.training.outcome import Outcome
from archtrial.training.problem import Problem

__all__ = ["Finished", "Item", "Trainer", "finished", "labelled_rows"]

# Predictions of test examples that are saved with weights, so many at most.
_MOST_NOTED = 64


@dataclasses.dataclass(frozen=True)
class Item:
    """One run of the plan; the words are those of `records.table.Run`."""

    arm: str
    pair: int
    seed: int
    stage: str
    configuration: Mapping[str, spaces.Value]
    keep_weights: bool = False
    rung: int = 1
    look: int = 1
    tuner: str | None = None
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Coordinates of an experiment's own, as JSON: {"batch_size": 100}. Runs that differ
    in them alone have the same seeds, and so are paired."""

    @property
    def coordinates(self) -> dict[str, Any]:
        """Its place in the plan as JSON: the arguments of `records.table.key`."""
        place: dict[str, Any] = {"arm": self.arm, "pair": self.pair, "seed": self.seed}
        if self.rung != 1:
            place["rung"] = self.rung
        if self.tuner is not None:
            place["tuner"] = self.tuner
        return {**place, **self.further}

    @property
    def row(self) -> dict[str, Any]:
        """What the row of its `Run` says of the plan; all else is measured."""
        return {
            "arm": self.arm,
            "pair": self.pair,
            "seed": self.seed,
            "stage": self.stage,
            "rung": self.rung,
            "look": self.look,
            "tuner": self.tuner,
            "configuration": self.configuration,
            "coordinates": self.further,
        }

    @property
    def names(self) -> tuple[str | int, ...]:
        """What tells its random numbers from those of all other runs of its arm."""
        beyond = () if self.rung == 1 else (f"{self.rung}x",)
        return (self.pair, self.seed, *beyond, *filter(None, [self.tuner]))

    @property
    def shared_names(self) -> tuple[str | int, ...]:
        """What tells the random numbers that arms share, which is what pairs them.

        Winners are paired by position, whatever their configurations.
        """
        return ("winner", self.seed) if self.stage == "winner" else self.names


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run with what is sealed, and its weights where they were asked for."""

    run: Run
    sealed: np.ndarray
    """Predictions on the test inputs; of a user's own trainer the test score."""
    weights: bytes | None = None
    """In the safetensors format."""
    fault: UserError | None = None
    """What is wrong with the answer of a user's own trainer, if anything is."""

    @property
    def rows(self) -> list[tuple[Run, np.ndarray]]:
        """What is recorded."""
        return [(self.run, self.sealed)]


class Trainer(Protocol):
    """What a study needs of whoever trains; it pickles if there are workers."""

    def divide(self, items: Sequence[Item], /) -> list[tuple[Item, ...]]:
        """Returns the tasks, by a rule that looks at nothing but the items."""

    def __call__(self, task: Sequence[Item], /) -> list[Finished]:
        """Carries out one task."""


def labelled_rows(
    problem: Problem, labels: int | None, study_seed: int, item: Item
) -> np.ndarray | None:
    """Returns the training rows whose labels an item sees, (labels,); None: all.

    Every training draws its own, and trainings that are paired have the same.

    Args:
        problem: Its training labels.
        labels: How many are seen; None: all.
        study_seed: The protocol's seed.
        item: What is trained.
    """
    if labels is None:
        return None
    stream = randomness.generator(study_seed, "labels", *item.shared_names)
    return draw_labelled(problem.y_train, labels, stream)


def finished(item: Item, outcome: Outcome) -> Finished:
    """Returns a run of the plan with its outcome."""
    return Finished(
        run=outcome.run(**item.row),
        sealed=outcome.predictions,
        weights=None
        if outcome.weights is None
        else safetensors.torch.save(
            {name: w.contiguous() for name, w in outcome.weights.items()},
            # What a loaded model is compared with.
            {
                "seed": str(item.seed),
                "predictions": json.dumps(outcome.predictions[:_MOST_NOTED].tolist()),
            },
        ),
    )

"""A trainer for each value of a coordinate: runs that differ in more than their arm."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.trainers.runs import Finished, Item, Trainer

__all__ = ["ByCoordinate"]


@dataclasses.dataclass(frozen=True)
class ByCoordinate:
    """Hands each run to the trainer of its value of one coordinate.

    Args:
        name: The coordinate, one of `Item.further`.
        trainers: By its value.
    """

    name: str
    trainers: Mapping[Any, Trainer]

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Divides each trainer's runs as it does by itself, in the trainers' order."""
        tasks = []
        for value, trainer in self.trainers.items():
            own = [item for item in items if item.further[self.name] == value]
            tasks += trainer.divide(own)
        return tasks

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Carries out one task, whose runs have one value."""
        return self.trainers[task[0].further[self.name]](task)

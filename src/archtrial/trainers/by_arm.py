"""A trainer for each arm: networks by our own training, estimators by scikit-learn."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from archtrial.protocol import Recipe
from archtrial.trainers.estimators import Fits
from archtrial.trainers.loops import Loops
from archtrial.trainers.runs import Finished, Item, Trainer
from archtrial.training.problem import Problem

__all__ = ["ByArm"]


@dataclasses.dataclass(frozen=True)
class ByArm:
    """Hands each run to the trainer of its arm.

    Args:
        problem: What all runs share, in place of the trainers' own.
        loops: Of the networks.
        fits: Of the estimators.
    """

    problem: Problem
    loops: Loops
    fits: Fits

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Divides each trainer's runs as it does by itself, the networks' first."""
        fitted = [item for item in items if item.arm in self.fits.estimators]
        others = [item for item in items if item.arm not in self.fits.estimators]
        return [*self._loops.divide(others), *self._fits.divide(fitted)]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Carries out one task, whose runs are of one arm."""
        theirs = task[0].arm in self.fits.estimators
        trainer: Trainer = self._fits if theirs else self._loops
        return trainer(task)

    def problem_of(self, arm: str) -> Problem:
        """Returns the problem with an arm's own recipe."""
        return (
            self.problem if arm in self.fits.estimators else self._loops.problem_of(arm)
        )

    def initial_seed(self, arm: str, *names: str | int) -> int:
        """Returns the seed of a run; the names are the item's."""
        return self.loops.initial_seed(arm, *names)

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """Of the networks."""
        return self.loops.recipes

    @functools.cached_property
    def _loops(self) -> Loops:
        return dataclasses.replace(self.loops, problem=self.problem)

    @functools.cached_property
    def _fits(self) -> Fits:
        return dataclasses.replace(self.fits, problem=self.problem)

"""archtrial's own training, in loops and fleets."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence

from archtrial import randomness
from archtrial import space as spaces
from archtrial.data import Inputs
from archtrial.protocol import HYPERPARAMETERS, Recipe
from archtrial.trainers.runs import Finished, Item, finished, labelled_rows
from archtrial.training import choice, fleet, run
from archtrial.zoo.arms import Architecture

__all__ = ["Loops"]


@dataclasses.dataclass(frozen=True)
class Loops:
    """archtrial's own training: a fleet where the runs of a task are several.

    Args:
        problem: The data and the recipe, without test labels.
        architectures: By arm.
        inputs: What is known of them.
        study_seed: The protocol's seed.
        stacks: By arm, whether its modules train as a fleet.
        recipes: By arm, in place of the problem's; its length is a factor on the
            problem's steps.
        fleets: The protocol's `fleet`.
        labels: How many labels each training sees; None: all.
    """

    problem: run.Problem
    architectures: Mapping[str, Architecture]
    inputs: Inputs
    study_seed: int
    stacks: Mapping[str, bool]
    recipes: Mapping[str, Recipe]
    fleets: choice.Fleets = "auto"
    labels: int | None = None

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Runs of one structure share a fleet, in their order, in equal parts.

        Only those of equal length do, and none that tuners chose: which of those are
        planned at once is a matter of what was found.
        """
        alike: dict[str, list[Item]] = {}
        for item in items:
            name = json.dumps([item.arm, sorted(_structure(item).items())])
            if item.rung > 1:
                name = json.dumps([name, item.rung])
            if item.tuner is not None:
                name = json.dumps([name, item.tuner, item.pair, item.seed])
            alike.setdefault(name, []).append(item)
        return [
            task
            for group in alike.values()
            for task in choice.evenly(group, self.most_runs(group[0]))
        ]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Trains the task's runs."""
        outcomes = self.outcomes(task, [self.job(item) for item in task])
        return [
            finished(item, outcome)
            for item, outcome in zip(task, outcomes, strict=True)
        ]

    def outcomes(
        self, task: Sequence[Item], jobs: Sequence[run.Job]
    ) -> list[run.Outcome]:
        """Trains the task's runs as jobs say, for who asks more of them than a score.

        Args:
            task: One of those that `divide` returned.
            jobs: What `job` made of its items, with whatever an experiment changed.
        """
        problem = self.problem_of(task[0].arm, task[0].rung)
        # In a fleet, even of one, a run has the same bits whatever its company: which
        # that is, the number of configurations decides. A tuner's trials are alone.
        if len(task) == 1 and self.most_runs(task[0]) == 1:
            return [run.train(problem, jobs[0])]
        return fleet.train(problem, jobs)

    def most_runs(self, item: Item) -> int:
        """Returns how many runs of an item's structure share a fleet, 1 for the loop."""
        if not self.stacks[item.arm] or item.tuner is not None:
            return 1
        # Whatever may differ within a fleet is left out, but where it cannot be built so.
        name = json.dumps([item.arm, sorted(_structure(item).items())])
        if name not in self._sizes:
            alike = dataclasses.replace(item, configuration=_structure(item))
            sizes = (
                choice.fleet_size(self.problem_of(own.arm), self.job(own), self.fleets)
                for own in (alike, item)
            )
            self._sizes[name] = next(filter(None, sizes), 1)
        return self._sizes[name]

    @functools.cached_property
    def _sizes(self) -> dict[str, int]:
        return {}

    def problem_of(self, arm: str, rung: int = 1) -> run.Problem:
        """Returns the problem with an arm's own recipe and the steps of a rung."""
        recipe = self.recipes[arm]
        steps = max(1, round(self.problem.steps * recipe.length)) * rung
        return dataclasses.replace(self.problem, recipe=recipe, steps=steps)

    def rehearsal(self, arm: str, configuration: Mapping[str, spaces.Value]) -> run.Job:
        """Returns a job of a configuration whose seeds no run of the study has."""
        item = Item(arm, pair=0, seed=0, stage="rehearsal", configuration=configuration)
        seed = randomness.seed(self.study_seed, "rehearsal", arm)
        return dataclasses.replace(
            # Of a problem with fewer rows than it will be trained on.
            self.job(item), initial_seed=seed, order_seed=seed, noise_seed=seed, rows=None
        )  # fmt: skip

    def initial_seed(self, arm: str, *names: str | int) -> int:
        """Returns the seed of a run's initial weights; the names are the item's."""
        return randomness.seed(self.study_seed, "initialisation", arm, *names)

    def job(self, item: Item) -> run.Job:
        """Returns what an item trains."""
        architecture = self.architectures[item.arm]
        values = dict(item.configuration)
        hyperparameters = {
            name: float(values.pop(name))
            for name in HYPERPARAMETERS
            if name in values and name not in architecture.accepts
        }
        names = (item.arm, *item.names)
        # The order of batches is the arms' to share: it is part of the pairing.
        return run.Job(
            build=functools.partial(
                architecture.build, self.inputs, self.problem.num_outputs, values
            ),
            hyperparameters=hyperparameters,
            initial_seed=self.initial_seed(item.arm, *item.names),
            order_seed=randomness.seed(self.study_seed, "order", *item.shared_names),
            noise_seed=randomness.seed(self.study_seed, "noise", *names),
            keep_weights=item.keep_weights,
            rows=labelled_rows(self.problem, self.labels, self.study_seed, item),
        )


def _structure(item: Item) -> dict[str, spaces.Value]:
    """Returns what is no business of training itself: it makes another program."""
    return {
        name: value
        for name, value in item.configuration.items()
        if name not in HYPERPARAMETERS
    }

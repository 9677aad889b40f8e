"""How architectures generalise: trainings on parts, on wrong labels, without positions."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from archtrial import trainers, workflow
from archtrial.data.stored import Prepared
from archtrial.errors import ProtocolError
from archtrial.execution import few_threads
from archtrial.experiments.profile import variations
from archtrial.experiments.profile.measuring import Measuring
from archtrial.statistics.power_law import LEAST_SIZES
from archtrial.trainers.runs import finished
from archtrial.training import layers
from archtrial.training.run import Problem

__all__ = ["NOISE", "Generalisation", "Varied"]

NOISE = (0.2, 0.4)
"""The shares of training labels that are made wrong."""

# The smallest part of the training set is its sixteenth, or the smallest of halves,
# quarters, ... that still has so many examples.
_HALVINGS = 4
_FEWEST = 16
# Of trainings whose curve nobody reads; divergence is seen then, too.
_EVALUATIONS = 5
# Training examples whose score is compared with that of the validation set.
_SCORED = 2000


@dataclasses.dataclass(frozen=True)
class Varied:
    """Trains on varied data; what it varies stands in an item's coordinates.

    "rows": a stratified part of so many training examples, each seed's own, each within
    the next larger one; "noise": this share of training labels is wrong; "positions":
    inputs of all sets have their positions moved by one permutation.

    Args:
        loops: Who trains on the data as they are.
        axes: Along which inputs have positions, as `variations.sides` has it.
    """

    loops: trainers.Loops
    axes: int

    def divide(self, items: Sequence[trainers.Item]) -> list[tuple[trainers.Item, ...]]:
        """Divides items as `Loops` does, those of one variation together."""
        alike: dict[str, list[trainers.Item]] = {}
        for item in items:
            alike.setdefault(str(_variation(item)), []).append(item)
        return [task for own in alike.values() for task in self.loops.divide(own)]

    def __call__(self, task: Sequence[trainers.Item]) -> list[trainers.Finished]:
        """Trains the items of one task, whose variation is the same."""
        problem = dataclasses.replace(
            self.problem(_variation(task[0])), evaluations=_EVALUATIONS
        )
        loops = dataclasses.replace(self.loops, problem=problem)
        jobs = [
            dataclasses.replace(loops.job(item), rows=self.rows(item)) for item in task
        ]
        return [
            finished(item, outcome)
            for item, outcome in zip(task, loops.outcomes(task, jobs), strict=True)
        ]

    def problem(self, variation: Mapping[str, Any]) -> Problem:
        """Returns the problem with its labels or its positions changed."""
        problem, seed = self.loops.problem, self.loops.study_seed
        if "noise" in variation:
            y = variations.wrong_labels(
                problem.y_train, variation["noise"], problem.num_outputs, seed
            )
            return dataclasses.replace(problem, y_train=y)
        if "positions" in variation:
            train, validation, test = (
                variations.without_order(np.asarray(x), self.axes, seed)
                for x in (problem.x_train, problem.x_validation, problem.x_test)
            )
            return dataclasses.replace(
                problem, x_train=train, x_validation=validation, x_test=test
            )
        return problem

    def rows(self, item: trainers.Item) -> np.ndarray | None:
        """Returns which training examples an item sees; None: all."""
        count = item.further.get("rows")
        if count is None:
            return None
        problem = self.loops.problem
        order = variations.nested(
            problem.y_train, problem.task, self.loops.study_seed, item.seed
        )
        return order[:count]


def _variation(item: trainers.Item) -> dict[str, Any]:
    return {name: value for name, value in item.further.items() if name != "group"}


class Generalisation(Measuring):
    """The gap to the training set, learning curves, wrong labels, moved positions.

    Raises:
        ProtocolError: There are too few training examples for a learning curve.
    """

    name = "generalisation"

    @functools.cached_property
    def sizes(self) -> list[int]:
        """The parts of the training set that are trained on, from the smallest on."""
        rows = len(self.study.split.y_train)
        least = max(_FEWEST, self.study.split.num_outputs)
        halved = [rows >> times for times in range(_HALVINGS, -1, -1)]
        sizes = [size for size in halved if size >= least]
        if len(sizes) < LEAST_SIZES:
            needed = least << (LEAST_SIZES - 1)
            raise ProtocolError(
                f"a learning curve takes {needed} training examples at least: its"
                f" smallest part is an eighth of them, {least} or more",
                f"{rows} training examples",
                "Take more data, or leave the group out: name those that are wanted,"
                " as in --only cost.",
            )
        return sizes

    @property
    def noise(self) -> tuple[float, ...]:
        """The shares of wrong labels; none where targets are no classes."""
        return NOISE if self.study.split.task == "classification" else ()

    @property
    def axes(self) -> int:
        """Along how many axes positions are moved; 0: none are."""
        problem, inputs = self.study.loops.problem, self.study.loops.inputs
        if isinstance(problem.x_train, Prepared):
            return 0
        return variations.sides(inputs.shape, inputs.kind, inputs.lengths)

    @property
    def trainer(self) -> Varied:
        """Who trains on varied data."""
        return Varied(self.study.loops, self.axes)

    def resolved(self) -> Mapping[str, Any]:
        """Returns what is varied, and why something is not."""
        split, problem = self.study.split, self.study.loops.problem
        without = {}
        if not self.noise:
            without["noise"] = "targets are values, and no classes to take for others"
        if not self.axes:
            without["positions"] = (
                "inputs stay in files"
                if isinstance(problem.x_train, Prepared)
                else "the columns of a table have no order that a network reads"
                if split.kind == "table"
                else "sequences of unequal length have no positions in common"
            )
        return {
            "sizes": self.sizes,
            "noise": list(self.noise),
            "positions": bool(self.axes),
            "without": without,
            "scored": min(_SCORED, len(split.y_train)),
        }

    def keeps_weights(self) -> bool:
        """Says that trained networks are asked what they know of the training set."""
        return True

    def stages(self, work: workflow.Work) -> None:
        """Trains on parts, on wrong labels, without positions; scores training sets."""
        study = self.study
        runs = study.runs(work.store)
        varied: list[dict[str, Any]] = [{"rows": rows} for rows in self.sizes[:-1]]
        varied += [{"noise": share} for share in self.noise]
        varied += [{"positions": "moved"}] * bool(self.axes)
        work.carry_out(
            "generalisation",
            [
                self.item(
                    name, place, seed, "confirm", study.rate(place), **variation
                )
                for name in study.names
                for place in [study.tuned(runs, name)]
                for variation in varied
                for seed in range(1, study.protocol.seeds + 1)
            ],
        )  # fmt: skip
        for name in study.names:
            self.record(work, name, functools.partial(self._measured, work, name))

    def _measured(self, work: workflow.Work, name: str) -> dict[str, Any]:
        """Scores an architecture's trained networks on the training set."""
        study = self.study
        problem = study.loops.problem
        seen = variations.some(
            problem.y_train, problem.task, _SCORED, study.protocol.seed, "scored"
        )
        x, y = problem.x_train[seen], problem.y_train[seen]
        scores = []
        with few_threads(study.protocol.threads):
            for run in study.fresh(study.runs(work.store), name):
                item = trainers.Item(
                    name, run.pair, run.seed, "confirm", run.configuration
                )
                if run.diverged:
                    told = problem.metric.constant(
                        problem.y_train, len(y), problem.num_outputs
                    )
                else:
                    network = study.network(item, trained=True)
                    told = problem.metric.reduce(_presented(problem, network, x))
                scores.append(problem.metric.score(told, y))
            first = trainers.Item(name, 0, 1, "confirm", {})
            alike = _treats_alike(study.network(first, trained=False), problem)
        return {"train": scores, "treats_positions_alike": alike}


@torch.no_grad()
def _presented(problem: Problem, network: nn.Module, x: np.ndarray) -> np.ndarray:
    """Returns a network's predictions as a metric reads them, in evaluation mode."""
    network.eval()
    outputs = [network(torch.from_numpy(x[i : i + 500])) for i in range(0, len(x), 500)]
    return problem.minimised().presented(torch.cat(outputs))


def _treats_alike(network: nn.Module, problem: Problem) -> bool:
    """Says whether a network has a weight for each input value, all drawn alike.

    That is where the first layer is an nn.Linear that is given all values of an example
    as one row: a permutation of the inputs is one of the columns of its weights, whose
    law at the start and in training is the same without it.
    """
    x = torch.from_numpy(np.asarray(problem.x_train[:2]))
    names = list(layers.activations(network, x))
    first = dict(network.named_modules()).get(names[0])
    # A network that is one layer is called so.
    first = network if names[0] == "network" else first
    return isinstance(first, nn.Linear) and first.in_features == math.prod(x.shape[1:])

"""Trainings on parts of the rows: nested, of the same shares of classes."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from archtrial import randomness
from archtrial.trainers import Finished, Fits, Item
from archtrial.training.problem import Problem

__all__ = ["EVALUATIONS", "Once", "nested", "on_part"]

EVALUATIONS = 4
"""Validation scores on the way of each training."""


def nested(y: np.ndarray, task: str, seed: int, purpose: str) -> np.ndarray:
    """Returns an order of rows of which every beginning has all classes in their shares.

    So a smaller part lies within a larger one.

    Args:
        y: (N,) targets.
        task: "classification", or "regression", where rows come at random.
        seed: The study's.
        purpose: What tells this order from another.

    Returns:
        (N,) int64.
    """
    stream = randomness.generator(seed, "part", purpose)
    order = stream.permutation(len(y))
    if task != "classification":
        return order
    places = np.empty(len(y))
    for label in np.unique(y):
        own = order[y[order] == label]
        # A class's j-th row comes when that share of all rows has come.
        places[own] = (np.arange(len(own)) + stream.random()) / len(own)
    ordered: np.ndarray = np.argsort(places, kind="stable")
    return ordered


def on_part(
    problem: Problem,
    *,
    rows: np.ndarray,
    validation: np.ndarray,
    steps: int,
    tested: bool,
) -> Problem:
    """Returns a problem with some training and validation rows, and its own length.

    Args:
        problem: On all rows.
        rows: (n,) which of the training rows.
        validation: (V,) which of the validation rows.
        steps: Of every training.
        tested: Whether predictions of the test inputs are sealed; else those of the
            validation rows are, by whose examples searches are compared.
    """
    # In ascending order rows that stay in files are read once.
    chosen, seen = np.sort(rows), np.sort(validation)
    x_validation = problem.x_validation[seen]
    return dataclasses.replace(
        problem,
        x_train=problem.x_train
        if len(chosen) == len(problem.y_train)
        else problem.x_train[chosen],
        y_train=problem.y_train[chosen],
        x_validation=x_validation,
        y_validation=problem.y_validation[seen],
        x_test=problem.x_test if tested else x_validation,
        steps=steps,
        evaluations=EVALUATIONS,
    )


@dataclasses.dataclass(frozen=True)
class Once(Fits):
    """Estimators, of which those that use no seed are fitted once for all seeds.

    Args:
        seedless: The arms whose scores are the same for every seed.
    """

    seedless: frozenset[str] = frozenset()

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Each run is a task; of a seedless arm, all seeds of a configuration."""
        tasks: dict[str, list[Item]] = {}
        for item in items:
            told = json.dumps(dict(item.configuration), sort_keys=True)
            alone = "" if item.arm in self.seedless else f"{item.pair} {item.seed}"
            name = json.dumps([item.arm, told, item.stage, alone])
            tasks.setdefault(name, []).append(item)
        return [tuple(task) for task in tasks.values()]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Fits the first run of a task; what it came to is what the others come to."""
        first, *others = task
        (done,) = super().__call__([first])
        return [
            done,
            *(
                dataclasses.replace(
                    done, run=dataclasses.replace(done.run, **other.row)
                )
                for other in others
            ),
        ]

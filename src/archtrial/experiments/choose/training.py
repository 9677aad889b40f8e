"""Trainings on parts of the rows: nested, of the same shares of classes."""

import dataclasses

import numpy as np

from archtrial import randomness
from archtrial.training.problem import Problem

__all__ = ["EVALUATIONS", "nested", "on_part"]

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

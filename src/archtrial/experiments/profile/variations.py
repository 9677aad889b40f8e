"""The same data otherwise: parts of the training set, wrong labels, positions moved.

Each follows from a seed alone, and is the same for every architecture.
"""

import math
from collections.abc import Sequence

import numpy as np

from archtrial import randomness

__all__ = ["moved", "nested", "sides", "some", "without_order", "wrong_labels"]

# Strata of a regression's targets: tenths of the training set.
_PARTS = 10


def nested(y: np.ndarray, task: str, seed: int, *names: int | str) -> np.ndarray:
    """Returns training examples in an order of which each beginning is stratified.

    The first m have each class as often as all have, to within one example; so that
    parts of several sizes lie within each other. Of values, tenths take the place of
    classes.

    Args:
        y: (N,) labels or values.
        task: "classification" or "regression".
        seed: The study's.
        *names: What tells this order from others.

    Returns:
        (N,) int64 places.
    """
    generator = randomness.generator(seed, "part of the training set", *names)
    drawn = generator.permutation(len(y))
    strata = y[drawn]
    if task == "regression":
        ranks = np.empty(len(y), dtype=np.int64)
        ranks[np.argsort(y, kind="stable")] = np.arange(len(y))
        strata = ranks[drawn] * _PARTS // len(y)
    _, which, counts = np.unique(strata, return_inverse=True, return_counts=True)
    # Example i of a class's k stands at (i + 1/2) / k of the whole; those that stand at
    # the same place are in the order of the draw.
    place = np.empty(len(y))
    for stratum, count in enumerate(counts):
        own = which == stratum
        place[own] = (np.arange(count) + 0.5) / count
    return drawn[np.argsort(place, kind="stable")]


def some(y: np.ndarray, task: str, most: int, seed: int, name: str) -> np.ndarray:
    """Returns some examples, stratified: the first ones of a file may be one class's.

    Args:
        y: (N,) labels or values.
        task: "classification" or "regression".
        most: How many; all where there are no more.
        seed: The study's.
        name: What they are for.

    Returns:
        (min(N, most),) int64 places, ascending.
    """
    return np.sort(nested(y, task, seed, name)[:most])


def wrong_labels(y: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """Returns labels of which a share is another class's, drawn evenly from all others.

    Those that are wrong at a smaller share are wrong at a larger one, and the same.

    Args:
        y: (N,) int64 labels.
        share: Of the examples, from 0 to 1.
        classes: How many there are, at least 2.
        seed: The study's.
    """
    generator = randomness.generator(seed, "wrong labels")
    order = generator.permutation(len(y))
    further = generator.integers(1, classes, len(y))
    wrong = order[: round(share * len(y))]
    found = y.copy()
    found[wrong] = (y[wrong] + further[wrong]) % classes
    return found


def sides(shape: Sequence[int], kind: str, lengths: tuple[int, int] | None) -> int:
    """Returns along how many axes inputs have positions: the last so many of an example.

    Args:
        shape: Of one example.
        kind: "table", "sequence", "image" or "array".
        lengths: Of sequences: steps of the shortest and of the longest.

    Returns:
        0 for columns of a table, whose order means nothing, and for sequences of
        unequal length, which have no positions in common.
    """
    if kind == "table" or (lengths is not None and lengths[0] < lengths[1]):
        return 0
    return 2 if len(shape) == 3 else 1


def without_order(x: np.ndarray, axes: int, seed: int) -> np.ndarray:
    """Returns inputs whose positions have changed places, all inputs by one permutation.

    Channels at a position stay together.

    Args:
        x: (N, ...) inputs.
        axes: The last so many are positions.
        seed: The study's.
    """
    places = x.shape[-axes:]
    order = randomness.generator(seed, "order of positions").permutation(
        math.prod(places)
    )
    flat = x.reshape(*x.shape[:-axes], -1)
    return np.ascontiguousarray(flat[..., order].reshape(x.shape))


def moved(x: np.ndarray, axes: int, by: int) -> list[np.ndarray]:
    """Returns inputs moved by so many positions along each axis, both ways.

    What leaves at one end comes in at the other.

    Args:
        x: (N, ...) inputs.
        axes: The last so many are positions.
        by: Positions, at least 1.
    """
    return [
        np.roll(x, way * by, axis=-1 - axis) for axis in range(axes) for way in (1, -1)
    ]

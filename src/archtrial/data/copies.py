"""Test examples that were trained on: exact copies, near ones, and renumbered ones."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["NONE", "Copies", "search"]

_Array = np.ndarray[Any, np.dtype[Any]]

# A near copy lies so much closer to a training example than these lie to each other.
_NEAR = 0.02
# In few dimensions chance brings that about for one in seventy. What is not more than
# this share, and some, is taken for chance.
_BY_CHANCE, _SOME = 0.03, 3
# Examples are compared with their neighbours along a few directions, so many to either
# side.
_CANDIDATES = 4
_DIRECTIONS = 6
# The search works on so many values of an example at most, sums of its own: it costs
# the same for large images as for small ones. And it looks at so many test examples.
_WIDTH = 64
_LOOKED_AT = 20_000
# Typical distances are taken from so many training examples.
_SAMPLE = 2000


@dataclasses.dataclass(frozen=True)
class Copies:
    """How many of the test examples are in the training set as well.

    An example counts once, as exact before near.
    """

    exact: int
    """Byte for byte; 0 where they are no more than coarse inputs bring about."""
    near: int
    """But for a small change, or for one column, such as a number of the rows. Among
    more than 20,000 test examples estimated from so many."""
    of: int
    """Test examples."""
    notes: tuple[str, ...] = ()


NONE = Copies(0, 0, 0)


def search(parts: Sequence[_Array], y_train: _Array) -> Copies:
    """Looks for examples of the test set in the training set, and says so.

    A near copy's distance to its nearest training example is below a fiftieth of the
    median distance of training examples to their nearest. One column, whichever differs
    most, is not counted in the distances, so that a number of the rows hides no copy;
    unless training examples are alike without it themselves, as where a table is
    coarse. Candidates are the neighbours along a few fixed directions, so that the
    search takes n log n.

    Args:
        parts: The inputs for training, validation and test, (N, ...) each.
        y_train: (N,) the targets of the training examples.
    """
    flat = [part.reshape(len(part), -1) for part in parts]
    seen = [_digests(part) for part in flat]
    notes = []
    for first, second, a, b in (
        ("training", "validation", 0, 1),
        ("training", "test", 0, 2),
        ("validation", "test", 1, 2),
    ):
        shared = int(np.isin(seen[b], seen[a]).sum())
        if shared:
            notes.append(
                f"{shared} of {len(seen[b])} {second} examples have an exact copy of"
                f" their inputs in the {first} set."
            )
    exact = np.isin(seen[2], seen[0])
    counted = int(exact.sum())
    if counted and _coarse(seen[0], y_train, counted / len(exact)):
        counted = 0
        notes.append(
            "Training examples are as often alike among themselves, with other targets:"
            " that is chance, and counts as no copy."
        )
    near = 0
    rest = np.flatnonzero(~exact)
    if len(rest):
        looked = rest[:: -(-len(rest) // _LOOKED_AT)]
        test = flat[2][looked]
        found = _but_one_column(flat[0], test)
        found |= _near(flat[0], test)
        near = round(int(found.sum()) * len(rest) / len(looked))
    if near:
        notes.append(
            f"{near} of {len(exact)} test examples have a near copy in the training"
            " set: the same but for one input, or for less than a fiftieth of the"
            " distance that examples have to their nearest."
        )
    return Copies(counted, near, len(exact), tuple(notes))


def _coarse(seen: _Array, y: _Array, share: float) -> bool:
    """Whether inputs are so coarse that examples are alike by chance.

    Then training examples have a double among themselves about as often, and some
    doubles differ in the target, as copies do not.
    """
    _, first, group, sizes = np.unique(
        seen, return_index=True, return_inverse=True, return_counts=True
    )
    doubles = sizes[group] > 1
    differ = np.unique(group[y != y[first[group]]])
    own = float(doubles.mean())
    return share <= 1.5 * own + 0.02 and len(differ) >= 0.05 * (sizes > 1).sum() > 0


def _digests(part: _Array) -> _Array:
    return np.array(
        [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in part],
        dtype="S16",
    )


def _but_one_column(train: _Array, test: _Array) -> _Array:
    """Returns which test examples are copies but for one column: an id, a time.

    Only a column that differs in nearly every row is one, and only where the others
    tell the rows apart: without another, examples of a coarse table would be alike by
    chance.
    """
    none = np.zeros(len(test), dtype=bool)
    width = train.shape[1]
    if not 2 < width <= _WIDTH:
        return none
    # The sum of one fixed number for each value in each column, exact in integers:
    # without a column it is the sum less that column's.
    weights = np.random.Generator(np.random.PCG64(20250)).integers(
        1, 2**63, size=width, dtype=np.uint64
    ) | np.uint64(1)
    hashed = [_mixed(part) * weights for part in (train, test)]
    sums = [values.sum(axis=1, dtype=np.uint64) for values in hashed]
    sample = slice(None, None, -(-len(train) // _SAMPLE))
    best = none
    for column in range(width):
        keys = [
            total - values[:, column]
            for total, values in zip(sums, hashed, strict=True)
        ]
        some = hashed[0][sample, column]
        if min(len(np.unique(some)), len(np.unique(keys[0][sample]))) < 0.9 * len(some):
            continue
        found = np.isin(keys[1], keys[0])
        if found.sum() > best.sum():
            best = found
    return best


def _mixed(values: _Array) -> _Array:
    """Returns a 64-bit number for each value, equal where they are equal."""
    words = np.ascontiguousarray(values).astype(np.float64).view(np.uint64).copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    return words ^ (words >> np.uint64(31))


def _near(train: _Array, test: _Array) -> _Array:
    """Returns which test examples have a near copy among the training examples."""
    none = np.zeros(len(test), dtype=bool)
    if train.dtype.kind != "f" or len(train) < 2 * _CANDIDATES:
        return none  # names are alike or they are not
    stream = np.random.Generator(np.random.PCG64(20251))
    width = train.shape[1]
    if width > _WIDTH:
        # Sums of a few values each, with signs: what is near stays near.
        place = stream.integers(_WIDTH, size=width)
        signs = stream.choice(np.array([-1.0, 1.0]), size=width)
        train, test = (_folded(part, place, signs) for part in (train, test))
    else:
        train, test = train.astype(np.float64), test.astype(np.float64)
    width = train.shape[1]
    directions = stream.normal(size=(_DIRECTIONS, width))
    if width > 2:
        # Each column is left out of half of the directions.
        half = np.arange(width) % 2 == 0
        for index in range(0, _DIRECTIONS, 2):
            order = stream.permutation(width)
            directions[index, order[half]] = 0
            directions[index + 1, order[~half]] = 0
    sample = np.arange(0, len(train), -(-len(train) // _SAMPLE))
    known = _nearest(train, train[sample], directions, sample)
    found = _nearest(train, test, directions, None)
    for without_one in (True, False) if width > 2 else (False,):
        own = known[0 if without_one else 1]
        typical = float(np.median(own))
        limit = _NEAR * typical
        if typical > 0 and (own < limit).mean() <= _BY_CHANCE:
            near: _Array = found[0 if without_one else 1] < limit
            few = near.sum() <= _BY_CHANCE * len(test) + _SOME
            return none if few else near
    return none


def _nearest(
    train: _Array, queries: _Array, directions: _Array, own: _Array | None
) -> tuple[_Array, _Array]:
    """Returns the distance to the nearest candidate, without one column and with all.

    Args:
        train: (N, F).
        queries: (Q, F).
        directions: (D, F), along which candidates are neighbours.
        own: (Q,) the rows of `train` that the queries are, which are no candidates.
    """
    trimmed = np.full(len(queries), np.inf)
    whole = trimmed.copy()
    for direction in directions:
        # Sums of a fixed order, so that every machine finds the same.
        along = (train * direction).sum(axis=1)
        order = np.argsort(along, kind="stable")
        at = np.searchsorted(along[order], (queries * direction).sum(axis=1))
        for step in range(-_CANDIDATES, _CANDIDATES + 1):
            rows = order[np.clip(at + step, 0, len(order) - 1)]
            without_one, with_all = _distances(queries, train, rows)
            if own is not None:
                without_one[rows == own] = with_all[rows == own] = np.inf
            trimmed = np.minimum(trimmed, without_one)
            whole = np.minimum(whole, with_all)
    return trimmed, whole


def _folded(part: _Array, place: _Array, signs: _Array) -> _Array:
    folded = np.zeros((len(part), _WIDTH))
    for start in range(0, len(part), 4096):
        block = part[start : start + 4096] * signs
        for column in range(_WIDTH):
            folded[start : start + 4096, column] = block[:, place == column].sum(axis=1)
    return folded


def _distances(queries: _Array, train: _Array, rows: _Array) -> tuple[_Array, _Array]:
    trimmed, whole = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), 8192):
        stop = start + 8192
        apart = np.square(queries[start:stop] - train[rows[start:stop]])
        total, most = apart.sum(axis=1), apart.max(axis=1)
        whole[start:stop] = np.sqrt(total)
        trimmed[start:stop] = np.sqrt(np.maximum(total - most, 0))
    return trimmed, whole

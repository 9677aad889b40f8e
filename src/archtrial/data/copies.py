"""Test examples that were trained on: exact copies, near ones, and renumbered ones."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from archtrial.data import cache
from archtrial.data.stored import Examples, Prepared, blocks

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
# So many values of columns are in memory at once.
_TOGETHER = 2**25
# So many values of examples are folded at once.
_FOLDED = 2**22
# So many examples are laid along a direction at once.
_ALONG = 2**16


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


def search(parts: Sequence[Examples], y_train: _Array) -> Copies:
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
    seen = [_digests(part) for part in parts]
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
        found = _but_one_column(parts[0], parts[2], looked)
        found |= _near(parts[0], parts[2], looked)
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


def _digests(part: Examples) -> _Array:
    return np.array(
        [
            hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            for block in blocks(part)
            for row in block
        ],
        dtype="S16",
    )


def _flat(block: _Array) -> _Array:
    return block.reshape(len(block), -1)


def _but_one_column(part: Examples, others: Examples, looked: _Array) -> _Array:
    """Returns which test examples are copies but for one column: an id, a time.

    Only a column that differs in nearly every row is one, and only where the others
    tell the rows apart: without another, examples of a coarse table would be alike by
    chance.
    """
    best = np.zeros(len(looked), dtype=bool)
    width = math.prod(part.shape[1:])
    if not 2 < width <= _WIDTH:
        return best
    test = _flat(others[looked])
    # The sum of one fixed number for each value in each column, exact in integers:
    # without a column it is the sum less that column's.
    weights = np.random.Generator(np.random.PCG64(20250)).integers(
        1, 2**63, size=width, dtype=np.uint64
    ) | np.uint64(1)
    total = np.concatenate(
        [(_mixed(_flat(b)) * weights).sum(1, dtype=np.uint64) for b in blocks(part)]
    )
    own = _mixed(test) * weights
    own_total = own.sum(1, dtype=np.uint64)
    sample = np.arange(0, len(part), -(-len(part) // _SAMPLE))
    some = _mixed(_flat(part[sample])) * weights
    distinct = [
        min(len(np.unique(one)), len(np.unique(total[sample] - one))) for one in some.T
    ]
    ids = [c for c in range(width) if distinct[c] >= 0.9 * len(sample)]
    together = max(1, _TOGETHER // len(part))
    for start in range(0, len(ids), together):
        columns = ids[start : start + together]
        hashed = np.concatenate(
            [_mixed(_flat(b)[:, columns]) * weights[columns] for b in blocks(part)]
        )
        for place, column in enumerate(columns):
            found = np.isin(own_total - own[:, column], total - hashed[:, place])
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


def _near(part: Examples, others: Examples, looked: _Array) -> _Array:
    """Returns which test examples have a near copy among the training examples."""
    none = np.zeros(len(looked), dtype=bool)
    if part.dtype.kind != "f" or len(part) < 2 * _CANDIDATES:
        return none  # names are alike or they are not
    stream = np.random.Generator(np.random.PCG64(20251))
    width = math.prod(part.shape[1:])
    train: _Numbers
    test: _Array
    if width > _WIDTH:
        # Sums of a few values each, with signs: what is near stays near.
        place = stream.integers(_WIDTH, size=width)
        signs = stream.choice(np.array([-1.0, 1.0]), size=width)
        train = _folded(part, np.arange(len(part)), place, signs)
        test = _folded(others, looked, place, signs)[:]
    elif isinstance(part, Prepared):
        train, test = _Wide(part), _flat(others[looked]).astype(np.float64)
    else:
        train = _flat(part).astype(np.float64)
        test = _flat(others[looked]).astype(np.float64)
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


class _Wide:
    """Inputs in files as (N, F) float64, of which rows are read as they are needed."""

    def __init__(self, part: Prepared) -> None:
        self._part = part
        self.shape = (len(part), math.prod(part.shape[1:]))

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, rows: slice | _Array) -> _Array:
        return _flat(self._part[rows]).astype(np.float64)


_Numbers: TypeAlias = _Array | _Wide | cache.Scratch


def _nearest(
    train: _Numbers, queries: _Array, directions: _Array, own: _Array | None
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
        along = np.concatenate(
            [
                (train[start : start + _ALONG] * direction).sum(axis=1)
                for start in range(0, len(train), _ALONG)
            ]
        )
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


def _folded(part: Examples, rows: _Array, place: _Array, signs: _Array) -> _Numbers:
    """Returns (n, 64) float64 of some rows; of inputs in files in a file, too."""
    size = min(4096, max(2, _FOLDED // len(place)))
    sums = (
        np.stack([block[:, place == column].sum(axis=1) for column in range(_WIDTH)], 1)
        for start in range(0, len(rows), size)
        for block in [_flat(part[rows[start : start + size]]) * signs]
    )
    if isinstance(part, Prepared):
        parts = (np.ascontiguousarray(some, np.float64).tobytes() for some in sums)
        shape, dtype = (len(rows), _WIDTH), np.dtype(np.float64)
        return cache.Scratch("the search for copies", parts, shape, dtype)
    folded, start = np.empty((len(rows), _WIDTH)), 0
    for some in sums:
        folded[start : start + len(some)] = some
        start += len(some)
    return folded


def _distances(queries: _Array, train: _Numbers, rows: _Array) -> tuple[_Array, _Array]:
    trimmed, whole = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), 8192):
        stop = start + 8192
        apart = np.square(queries[start:stop] - train[rows[start:stop]])
        total, most = apart.sum(axis=1), apart.max(axis=1)
        whole[start:stop] = np.sqrt(total)
        trimmed[start:stop] = np.sqrt(np.maximum(total - most, 0))
    return trimmed, whole

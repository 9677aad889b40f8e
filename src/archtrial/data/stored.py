"""Arrays that stay in files: of their rows, those are read that are asked for."""

import dataclasses
import functools
import itertools
import math
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial.errors import DataError

__all__ = [
    "Array",
    "Examples",
    "Followed",
    "Opened",
    "Piece",
    "Prepared",
    "Stored",
    "blocks",
    "joined",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# Inputs are worked on in blocks of so many values, so that the float64 that sums need
# never exists for a whole data set.
_BLOCK = 2**22
# Bytes that are read in one piece where they cannot be read into place.
_AT_ONCE = 2**24
# So many float64 stay in a core's cache while they are scaled.
_CACHED = 2**16


@dataclasses.dataclass(frozen=True)
class Piece:
    """An array within a file. Any process can open it."""

    path: Path
    offset: int
    dtype: str
    """As a .npy file's header has it, with the order of bytes."""
    shape: tuple[int, ...]
    stamp: tuple[int, int]
    """Size and time of the file when it was read first."""
    fortran: bool = False
    """Whether the last axis is the slowest in the file."""

    @classmethod
    def of(
        cls,
        path: Path,
        offset: int,
        dtype: Any,
        shape: Sequence[int],
        *,
        fortran: bool = False,
    ) -> "Piece":
        """Returns that of a file as it is now."""
        path = path.resolve()
        return cls(
            path, offset, np.dtype(dtype).str, tuple(shape), _stamp(path), fortran
        )

    def take(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows, as the file has them."""
        return _opened(self).take(rows)


class Opened:
    """A piece as this process reads it.

    Rows are read, and files not mapped into memory: of a mapped one what was touched counts
    as the process's until the system takes it back, up to 2 MB for a row, and a file that
    is cut off ends the process. The system's cache of files serves all processes either
    way.
    """

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._dtype = np.dtype(piece.dtype)
        try:
            self._file = os.open(piece.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._file)
        except OSError as error:
            raise self._lost(str(error)) from error
        self._check_unchanged()

    def take(self, rows: slice | Array) -> Array:
        """Returns some rows, C-contiguous.

        Raises:
            DataError: The file was written to since its piece was made, or cannot be
                read.
        """
        taken = self._taken(rows)
        # Only now: what was written while it was being read is seen as well.
        self._check_unchanged()
        return taken

    def _check_unchanged(self) -> None:
        try:
            about = os.fstat(self._file)
        except OSError as error:
            raise self._lost(str(error)) from error
        if (about.st_size, about.st_mtime_ns) != self._piece.stamp:
            raise DataError(
                "data stay as they are while a study trains on them",
                f"{self._piece.path} has changed",
                "Give the same command again, and it is read anew.",
            )

    def _taken(self, rows: slice | Array) -> Array:
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(self._piece.shape[0])
            runs = [(0, start, stop - start)]
        else:
            # What follows each other is read at once.
            ends = np.flatnonzero(np.diff(rows) != 1) + 1
            places = [0, *ends.tolist(), len(rows)] if len(rows) else [0]
            runs = [
                (place, int(rows[place]), end - place)
                for place, end in itertools.pairwise(places)
            ]
        if self._piece.fortran:
            ((_, start, count),) = runs
            return self._columns(start, count)
        count = sum(run[2] for run in runs)
        taken: Array = np.empty((count, *self._piece.shape[1:]), self._dtype)
        width = math.prod(self._piece.shape[1:]) * self._dtype.itemsize
        content = taken.reshape(-1).view(np.uint8).data
        for place, row, length in runs:
            begin = place * width
            self._fill(content[begin : begin + length * width], row * width)
        return taken

    def _columns(self, start: int, count: int) -> Array:
        """Returns rows that follow each other, of which each lies in all columns."""
        total, *example = self._piece.shape
        columns = np.empty((math.prod(example), count), self._dtype)
        for index, column in enumerate(columns):
            place = (index * total + start) * self._dtype.itemsize
            self._fill(column.view(np.uint8).data, place)
        turned = columns.reshape(*reversed(example), count).T
        return np.ascontiguousarray(turned)

    def _fill(self, content: memoryview, place: int) -> None:
        """Reads from a place on until there is no room left."""
        while len(content):
            try:
                read = self._read(content, self._piece.offset + place)
            except OSError as error:
                raise self._lost(str(error)) from error
            if not read:
                raise self._lost("it was cut off")
            content, place = content[read:], place + read

    def _read(self, content: memoryview, place: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [content], place)
        os.lseek(self._file, place, os.SEEK_SET)  # Windows
        part = os.read(self._file, min(len(content), _AT_ONCE))
        content[: len(part)] = part
        return len(part)

    def _lost(self, why: str) -> DataError:
        return DataError(
            "data can be read while a study trains on them",
            f"{self._piece.path}: {why}",
            "Put the file back, and give the same command again.",
        )


@functools.lru_cache(maxsize=32)
def _opened(piece: Piece) -> Opened:
    return Opened(piece)


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """Examples (N, *example) in files, one piece's below the other's.

    Rows are read as C-contiguous arrays in the order of bytes of this machine. Nothing
    else of an array can be done: what needs all of them goes through `blocks`.
    """

    pieces: tuple[Piece, ...]
    example: tuple[int, ...]
    """The shape of one, as rows are read."""
    turned: bool = False
    """Whether the last axis of the files is read as the first of an example."""
    steps: int | None = None
    """How many places of an example's last axis are kept; None: all."""

    @classmethod
    def of(cls, piece: Piece) -> "Stored":
        """Returns the examples of one piece, as they stand."""
        return cls((piece,), piece.shape[1:])

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of all pieces together, as concatenating would make it."""
        whole = np.result_type(*(np.dtype(piece.dtype) for piece in self.pieces))
        return whole.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *example)."""
        last = self.example[-1:] if self.steps is None else (self.steps,)
        return (len(self), *self.example[:-1], *last)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return 1 + len(self.example)

    def __len__(self) -> int:
        return sum(piece.shape[0] for piece in self.pieces)

    def __getitem__(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows.

        Args:
            rows: A slice of step 1, or (n,) places from 0.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1 and len(self.pieces) == 1:
                return self._seen(self.pieces[0].take(slice(start, max(start, stop))))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows, np.int64)
        if len(self.pieces) == 1:
            return self._seen(self.pieces[0].take(rows))
        found = np.empty((len(rows), *self.pieces[0].shape[1:]), self.dtype)
        first = 0
        for piece in self.pieces:
            own = (rows >= first) & (rows < first + piece.shape[0])
            if own.any():
                found[own] = piece.take(rows[own] - first)
            first += piece.shape[0]
        return self._seen(found)

    def _seen(self, read: Array) -> Array:
        if self.turned:
            read = np.moveaxis(read, -1, 1)
        ordered = np.ascontiguousarray(read, self.dtype)
        whole = ordered.reshape(len(read), *self.example)
        if self.steps is None:
            return whole
        return np.ascontiguousarray(whole[..., : self.steps])

    def first(self, steps: int) -> "Stored":
        """Returns the first places of each example's last axis."""
        return dataclasses.replace(self, steps=steps)

    def channels_first(self) -> "Stored":
        """Returns the examples with their last axis as the first."""
        example = (self.example[-1], *self.example[:-1])
        return dataclasses.replace(self, example=example, turned=True)

    def reshape(self, *shape: int) -> "Stored":
        """Returns the examples in another shape, (N, *example) again."""
        return dataclasses.replace(self, example=shape[1:])


def joined(above: Any, below: Any) -> Any:
    """Returns examples with others below them, both arrays or both stored."""
    if isinstance(above, Stored):
        return dataclasses.replace(above, pieces=(*above.pieces, *below.pieces))
    return np.concatenate([above, below])


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """Some rows of raw inputs as modules receive them: made when they are asked for.

    Args:
        inputs: (N, *example), raw; in files or in memory.
        rows: (n,) which of them.
        moments: The mean that is subtracted and the scale that is divided by, if they
            are; both broadcast over examples.
        dtype: float32, or int64 for names.
        filled: Whether NaN, which is padding, becomes 0.
    """

    inputs: Array | Stored
    rows: Array
    moments: tuple[Array, Array] | None
    dtype: np.dtype[Any] = dataclasses.field(default=np.dtype(np.float32))
    filled: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, *example)."""
        return (len(self.rows), *self.inputs.shape[1:])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.inputs.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | Array) -> Array:
        """Returns an array of some of the rows, the same whichever others are asked for.

        Args:
            which: A slice, or (m,) places from 0 among the rows.
        """
        rows = self.rows[which]
        made = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers: Array | None = None
        # What 32 bits cannot hold is infinite, and no data set is made of it.
        with np.errstate(over="ignore"):
            for start, raw in _raw_blocks(self.inputs, rows, _CACHED):
                part = made[start : start + len(raw)]
                if self.moments is None:
                    part[:] = raw
                    continue
                mean, scale = self.moments
                if numbers is None:
                    numbers = np.empty(raw.shape)
                apart = numbers[: len(raw)]
                np.subtract(raw, mean, apart, dtype=np.float64, casting="unsafe")
                np.divide(apart, scale, part, casting="same_kind")
        if self.filled:
            made[np.isnan(made)] = 0
        return made


Examples: TypeAlias = Array | Prepared


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
    """Examples in files with others, in memory, below them; all as modules receive them.

    Args:
        above: (N, *example).
        below: (M, *example), of the same dtype.
    """

    above: Prepared
    below: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """(N + M, *example)."""
        return (len(self), *self.above.shape[1:])

    def __len__(self) -> int:
        return len(self.above) + len(self.below)

    def __getitem__(self, which: slice | Array) -> Array:
        """Returns an array of some of the rows.

        Args:
            which: A slice, or (m,) places from 0.
        """
        places = (
            np.arange(*which.indices(len(self))) if isinstance(which, slice) else which
        )
        first = places < len(self.above)
        found = np.empty((len(places), *self.shape[1:]), self.above.dtype)
        if first.any():
            found[first] = self.above[places[first]]
        found[~first] = self.below[places[~first] - len(self.above)]
        return found


def _raw_blocks(
    values: Array | Stored | Prepared, rows: Array, most: int
) -> Iterator[tuple[int, Array]]:
    """Yields rows, so many values at a time, each time with how many rows came before."""
    size = max(1, most // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        first, last = int(some[0]), int(some[-1])
        # One read where they follow each other.
        if last - first == len(some) - 1 and (np.diff(some) == 1).all():
            yield start, values[first : last + 1]
        else:
            yield start, values[some]


def blocks(
    values: Array | Stored | Prepared, rows: Array | None = None
) -> Iterator[Array]:
    """Yields rows some at a time, all of them unless it is said which."""
    chosen = np.arange(len(values)) if rows is None else rows
    for _, block in _raw_blocks(values, chosen, _BLOCK):
        yield block

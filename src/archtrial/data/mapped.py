"""Arrays that stay in files: of their rows, those are read that are asked for."""

import dataclasses
import functools
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial.errors import DataError

__all__ = [
    "Array",
    "Examples",
    "Mapped",
    "Opened",
    "Piece",
    "Prepared",
    "blocks",
    "joined",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# Inputs are worked on in blocks of so many values, so that the float64 that sums need
# never exists for a whole data set.
_BLOCK = 2**22
# Of each mapped file so many bytes stay in a process; the system keeps what it has
# room for beside it, for all processes together.
_RESIDENT = 256 * 2**20
# Touching one place brings that many bytes in (Linux's fault_around_bytes).
_AROUND = 2**16


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
    """A piece in this process's address space."""

    def __init__(self, piece: Piece) -> None:
        try:
            if _stamp(piece.path) != piece.stamp:
                raise DataError(
                    "data stay as they are while a study trains on them",
                    f"{piece.path} has changed",
                    "Give the same command again, and it is read anew.",
                )
            with piece.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(
                "data can be read while a study trains on them",
                f"{piece.path}: {error}",
                "They are mapped into the address space: lift its limit (ulimit -v), or"
                " put the file back.",
            ) from error
        self._values: Array = np.ndarray(
            piece.shape,
            piece.dtype,
            self._map,
            piece.offset,
            order="F" if piece.fortran else "C",
        )
        self._touched = 0

    def take(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows."""
        taken: Array = np.ascontiguousarray(self._values[rows])
        if np.may_share_memory(taken, self._values):
            taken = taken.copy()
        alone = 0 if isinstance(rows, slice) else _AROUND * len(taken)
        self._touched += max(taken.nbytes, alone)
        if self._touched > _RESIDENT:
            self._touched = 0
            if hasattr(self._map, "madvise"):  # not on Windows
                self._map.madvise(mmap.MADV_DONTNEED)
        return taken


@functools.lru_cache(maxsize=32)
def _opened(piece: Piece) -> Opened:
    return Opened(piece)


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


@dataclasses.dataclass(frozen=True, eq=False)
class Mapped:
    """Examples (N, *example) in files, one piece's below the other's.

    Rows are read as C-contiguous arrays in the order of bytes of this machine. Nothing
    else of an array can be done: what needs all of them goes through `blocks`.
    """

    pieces: tuple[Piece, ...]
    example: tuple[int, ...]
    """The shape of one, as rows are read."""
    turned: bool = False
    """Whether the last axis of the files is read as the first of an example."""

    @classmethod
    def of(cls, piece: Piece) -> "Mapped":
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
        return (len(self), *self.example)

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
        return ordered.reshape(len(read), *self.example)

    def channels_first(self) -> "Mapped":
        """Returns the examples with their last axis as the first."""
        example = (self.example[-1], *self.example[:-1])
        return dataclasses.replace(self, example=example, turned=True)

    def reshape(self, *shape: int) -> "Mapped":
        """Returns the examples in another shape, (N, *example) again."""
        return dataclasses.replace(self, example=shape[1:])


def joined(above: Any, below: Any) -> Any:
    """Returns examples with others below them, both arrays or both mapped."""
    if isinstance(above, Mapped):
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
    """

    inputs: Array | Mapped
    rows: Array
    moments: tuple[Array, Array] | None
    dtype: np.dtype[Any] = dataclasses.field(default=np.dtype(np.float32))

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
        # What 32 bits cannot hold is infinite, and no data set is made of it.
        with np.errstate(over="ignore"):
            for start, raw in _raw_blocks(self.inputs, rows):
                if self.moments is not None:
                    mean, scale = self.moments
                    raw = (raw.astype(np.float64) - mean) / scale
                made[start : start + len(raw)] = raw
        return made


Examples: TypeAlias = Array | Prepared


def _raw_blocks(
    values: Array | Mapped | Prepared, rows: Array
) -> Iterator[tuple[int, Array]]:
    """Yields the rows some at a time, each time with how many came before."""
    size = max(1, _BLOCK // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        first, last = int(some[0]), int(some[-1])
        # One read where they follow each other.
        if last - first == len(some) - 1 and (np.diff(some) == 1).all():
            yield start, values[first : last + 1]
        else:
            yield start, values[some]


def blocks(
    values: Array | Mapped | Prepared, rows: Array | None = None
) -> Iterator[Array]:
    """Yields rows some at a time, all of them unless it is said which."""
    chosen = np.arange(len(values)) if rows is None else rows
    for _, block in _raw_blocks(values, chosen):
        yield block

"""What was unpacked or decoded once, kept for the next study.

It lies in the folder `arrays` of $XDG_CACHE_HOME/archtrial, or of ~/.cache/archtrial.
All of it follows from the data and may be deleted at any time: it is made again when it
is needed. A study that is training on it may end with a message then, and goes on by
the same command.

An entry is an array, NAME.npy, and what is said of it, NAME.json, with a checksum of
both. NAME is a checksum of what it was made from, so that an entry is used as long as
its source is the same, and never afterwards; one that is damaged is made anew. Of
studies that make the same entry at the same time, the first to end leaves it, and the
others take it.
"""

import functools
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from archtrial import files
from archtrial.data.stored import Array, Opened, Piece
from archtrial.errors import DataError, StudyError

__all__ = ["Scratch", "Sink", "folder", "holds", "kept"]

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Returns the folder of what can be made again, as XDG says where.

    Raises:
        RuntimeError: Nobody's home folder is known.
    """
    # An unset or empty variable, or one that is no whole path, is as none.
    told = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(told).expanduser() / "archtrial"


def holds(path: Path) -> bool:
    """Says whether a file is an entry of the cache."""
    try:
        return path.parent == _arrays().resolve()
    except RuntimeError:
        return False


def _arrays() -> Path:
    return folder() / "arrays"


class Sink:
    """Where the values of an entry go; it counts and digests them.

    Args:
        file: Which they are written to.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.end = 0
        """Bytes so far."""

    def write(self, content: bytes) -> None:
        """Writes bytes behind those that were written before."""
        self._file.write(content)
        self._digest.update(content)
        self.end += len(content)

    def digest(self) -> str:
        """Returns the SHA-256 of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()


def kept(
    source: str,
    checksum: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    write: Callable[[Sink], Mapping[str, Any]],
) -> tuple[Piece, Mapping[str, Any]]:
    """Returns an array that is kept, made now if it is not there.

    Args:
        source: The name of what it is made from.
        checksum: Of all that it follows from, in hexadecimal.
        shape: Of the array.
        dtype: Of the array.
        write: Writes its values in C order, and returns what is to be said of them, as
            JSON.

    Raises:
        DataError: There is no room for it, or no permission; or it was deleted while it
            was made.
    """
    try:
        place = _arrays()
    except RuntimeError as error:
        raise _unkept(source, "the home folder is unknown") from error
    array, about = place / f"{checksum}.npy", place / f"{checksum}.json"

    def there() -> Any:
        return _said_of(array, about, shape, dtype)

    said = there()
    if said is None:
        needed = math.prod(shape) * dtype.itemsize
        try:
            _check_room(source, place, needed)
            if place.is_dir():
                files.tidy(place)
            _log.info("%s is unpacked into %s.", source, array)
            with files.writing(array, unless=lambda: there() is not None) as file:
                sink = Sink(file)
                np.lib.format.write_array_header_2_0(sink, _header(shape, dtype))
                told = write(sink)
                said = {
                    "about": told,
                    "end": sink.end,
                    "sha256": _sealed(sink.digest(), told),
                }
                # Before the array, which is whole from the moment it is there.
                if there() is None:
                    files.write(about, json.dumps(said))
        except StudyError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise _deleted(source, error.received) from error
            raise _unkept(source, error.received) from error
        except OSError as error:
            raise _unkept(source, f"{place}: {error.strerror}") from error
    offset = int(said["end"]) - math.prod(shape) * dtype.itemsize
    try:
        return Piece.of(array, offset, dtype, shape), said["about"]
    except FileNotFoundError as error:
        raise _deleted(source, f"{array}: {error.strerror}") from error


class Scratch:
    """Numbers (N, ...) that lie in a file for as long as this object is there.

    The file has no name: no other process meets it, and none is left behind.

    Args:
        source: What it is for.
        parts: The bytes of the values, some at a time.
        shape: Of all of them.
        dtype: Of each number.
        fortran: Whether the last axis is the slowest of the parts.

    Raises:
        DataError: There is no room for it, or no permission.
    """

    def __init__(
        self,
        source: str,
        parts: Iterable[bytes],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        fortran: bool = False,
    ) -> None:
        self.shape = shape
        try:
            place = _arrays()
            _check_room(source, place, math.prod(shape) * dtype.itemsize)
            place.mkdir(parents=True, exist_ok=True)
            files.tidy(place)
            with tempfile.NamedTemporaryFile(
                dir=place, prefix=".", suffix=files.UNFINISHED
            ) as file:
                for part in parts:
                    file.write(part)
                file.flush()
                # Once it is open it needs no name.
                piece = Piece.of(Path(file.name), 0, dtype, shape, fortran=fortran)
                self._open = Opened(piece)
        except RuntimeError as error:
            raise _unkept(source, "the home folder is unknown") from error
        except FileNotFoundError as error:
            raise _deleted(source, f"{place}: {error.strerror}") from error
        except OSError as error:
            raise _unkept(source, f"{place}: {error.strerror}") from error

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows."""
        return self.take(rows)

    def take(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows, as the parts had them."""
        return self._open.take(rows)


def _header(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {"descr": dtype.str, "fortran_order": False, "shape": tuple(shape)}


def _said_of(
    array: Path, about: Path, shape: Sequence[int], dtype: np.dtype[Any]
) -> Any:
    """Returns what is said of an entry, or None where it is not there or damaged."""
    try:
        said = json.loads(about.read_text())
        with array.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_2_0(file)
            begins = file.tell()
        whole = begins + math.prod(shape) * dtype.itemsize
        right = (
            version == (2, 0)
            and header == (tuple(shape), False, dtype)
            and said["end"] == array.stat().st_size == whole
            and isinstance(said["about"], dict)
            and said["sha256"] == _sealed(_digest_of(array), said["about"])
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return said if right else None


def _sealed(digest: str, about: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of an array, by its own, and of what is said of it."""
    words = json.dumps([digest, about], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def _digest_of(array: Path) -> str:
    known = array.stat()
    return _digest(array, known.st_ino, known.st_size, known.st_mtime_ns)


# Once in a process: what is written later has another time.
@functools.lru_cache(maxsize=256)
def _digest(array: Path, *_: int) -> str:
    with array.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_room(source: str, place: Path, needed: int) -> None:
    there = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise _unkept(
            source,
            f"{needed / 2**30:.3g} GiB are needed and {free / 2**30:.3g} GiB free in"
            f" {there}",
        )


def _deleted(source: str, received: str) -> DataError:
    return DataError(
        f"the cache stays while {source} is unpacked into it",
        received,
        "Give the same command again, and it is made anew.",
    )


def _unkept(source: str, received: str) -> DataError:
    return DataError(
        f"there is room for what {source} holds, unpacked once into the cache",
        received,
        "Make room or correct the permissions; or name another folder for the cache:"
        " XDG_CACHE_HOME=/path/of/a/larger/disk before the command.",
    )

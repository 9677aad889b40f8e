"""What was unpacked or decoded once, kept for the next study.

An entry is an array, NAME.npy, and what is said of it, NAME.json, which is written
last: without it the array is not there yet. NAME is a checksum of what it was made from,
so that an entry is used as long as its source is the same, and never afterwards.
"""

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

__all__ = ["Scratch", "folder", "kept"]

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Returns the folder of what can be made again, as XDG says where.

    Raises:
        RuntimeError: Nobody's home folder is known.
    """
    # An unset or empty variable, or one that is no whole path, is as none.
    told = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(told).expanduser() / "archtrial"


def kept(
    source: str,
    checksum: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    write: Callable[[IO[bytes]], Mapping[str, Any]],
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
        DataError: There is no room for it, or no permission.
    """
    try:
        place = folder() / "arrays"
    except RuntimeError as error:
        raise _unkept(source, "the home folder is unknown") from error
    array, about = place / f"{checksum}.npy", place / f"{checksum}.json"
    said = _said_of(array, about, shape, dtype)
    if said is None:
        needed = math.prod(shape) * dtype.itemsize
        try:
            _check_room(source, place, needed)
            if place.is_dir():
                files.tidy(place)
            _log.info("%s is unpacked into %s.", source, array)
            with files.writing(array) as file:
                np.lib.format.write_array_header_2_0(file, _header(shape, dtype))
                said = {"about": write(file), "end": file.tell()}
            files.write(about, json.dumps(said))
        except StudyError as error:
            raise _unkept(source, error.received) from error
        except OSError as error:
            raise _unkept(source, f"{place}: {error.strerror}") from error
    offset = int(said["end"]) - math.prod(shape) * dtype.itemsize
    return Piece.of(array, offset, dtype, shape), said["about"]


class Scratch:
    """Numbers (N, ...) that lie in a file for as long as this object is there.

    Args:
        parts: The rows, some at a time.
        shape: Of all of them.
        dtype: Of each number.

    Raises:
        DataError: There is no room for it, or no permission.
    """

    def __init__(
        self, parts: Iterable[Array], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.shape = shape
        source = "the search for copies"
        try:
            place = folder() / "arrays"
            _check_room(source, place, math.prod(shape) * dtype.itemsize)
            place.mkdir(parents=True, exist_ok=True)
            files.tidy(place)
            with tempfile.NamedTemporaryFile(
                dir=place, prefix=".", suffix=files.UNFINISHED
            ) as file:
                for part in parts:
                    file.write(np.ascontiguousarray(part, dtype).tobytes())
                file.flush()
                # Once it is open it needs no name.
                self._open = Opened(Piece.of(Path(file.name), 0, dtype, shape))
        except RuntimeError as error:
            raise _unkept(source, "the home folder is unknown") from error
        except OSError as error:
            raise _unkept(source, f"{place}: {error.strerror}") from error

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> Array:
        """Returns a copy of some rows."""
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
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return said if right else None


def _check_room(source: str, place: Path, needed: int) -> None:
    there = next(p for p in (place, *place.parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise _unkept(
            source,
            f"{needed / 2**30:.3g} GiB are needed and {free / 2**30:.3g} GiB free in"
            f" {there}",
        )


def _unkept(source: str, received: str) -> DataError:
    return DataError(
        f"there is room for what {source} holds, unpacked once into the cache",
        received,
        "Make room or correct the permissions; or name another folder for the cache:"
        " XDG_CACHE_HOME=/path/of/a/larger/disk before the command.",
    )

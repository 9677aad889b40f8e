"""The bytes of a file, packed by gzip or zip or not, up to a limit that is said.

A file that announces gigabytes, or unpacks to them, must not take the machine with it.
"""

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archtrial.errors import RecordsError

__all__ = ["MOST_UNPACKED", "MOST_WHOLE", "content_name", "opened", "text", "whole"]

MOST_UNPACKED = 8 << 30
"""Bytes that a .gz or .zip holds: they are streamed, so this is a limit on time."""
MOST_WHOLE = 1 << 30
"""Bytes of what has to be read whole: one JSON document, a file of settings."""

_DAMAGED = (
    OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError,
    struct.error,
)  # fmt: skip


def content_name(path: Path) -> str:
    """Returns the name of what a file holds: of a .zip that of its only member.

    Raises:
        RecordsError: A .zip is damaged, encrypted, or holds several files.
    """
    if path.suffix.lower() == ".gz":
        return path.name[:-3]
    return _member(path).filename if path.suffix.lower() == ".zip" else path.name


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens what a file holds, as bytes.

    Raises:
        RecordsError: It is damaged, encrypted or larger than the limit.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".gz":
            with gzip.open(path, "rb") as file:
                yield io.BufferedReader(_Limited(file, path))
        elif ending == ".zip":
            member = _member(path)
            with zipfile.ZipFile(path) as packed, packed.open(member) as file:
                yield io.BufferedReader(_Limited(file, path))
        else:
            with open(path, "rb") as plain:
                yield plain
    except _DAMAGED as error:
        raise RecordsError(
            "a file of runs is whole", f"{path}: {error or 'it is cut off'}"
        ) from None


@contextmanager
def text(path: Path) -> Iterator[IO[str]]:
    """Opens what a file holds, as text in UTF-8; a mark at its start is skipped."""
    with (
        opened(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as read,
    ):
        yield read


def whole(path: Path) -> str:
    """Returns what a file holds, as text.

    Raises:
        RecordsError: It is too large.
    """
    with text(path) as file:
        read = file.read(MOST_WHOLE + 1)
    if len(read) > MOST_WHOLE:
        raise RecordsError(
            f"what is read whole has up to {MOST_WHOLE >> 30} GiB",
            f"{path} holds more",
            "Write one JSON object a line: such a file is read in pieces.",
        )
    return read


def _member(path: Path) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(path) as packed:
            members = [
                member
                for member in packed.infolist()
                if not member.filename.endswith("/")
                and not re.match(r"(.*/)?(__MACOSX/|\.)", member.filename)
            ]
    except (*_DAMAGED, ValueError, IndexError) as error:
        raise RecordsError("a .zip is whole", f"{path}: {error}") from None
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:6])
        raise RecordsError(
            "a .zip holds one file of runs",
            f"{path} holds {f'{len(members)}: {names}' if members else 'none'}",
            "Unpack it, and give the folder." if members else "",
        )
    (member,) = members
    if member.flag_bits & 1:
        raise RecordsError(
            "a .zip is read without a password", f"{path} is encrypted", "Unpack it."
        )
    if member.file_size > MOST_UNPACKED:
        raise _too_large(path)
    return member


def _too_large(path: Path) -> RecordsError:
    return RecordsError(
        f"a packed file holds up to {MOST_UNPACKED >> 30} GiB",
        f"{path} holds more",
        "Unpack it, if that is what it shall hold.",
    )


class _Limited(io.RawIOBase):
    """Bytes that end in an error beyond the limit, whatever a header announced."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path, self._read = file, path, 0

    def readable(self) -> bool:
        """Says that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer, and counts."""
        found = self._file.read(len(buffer))
        self._read += len(found)
        if self._read > MOST_UNPACKED:
            raise _too_large(self._path)
        buffer[: len(found)] = found
        return len(found)

"""What a file holds: its bytes and its text, within bounds, or one message."""

import dataclasses
import gzip
import zipfile
import zlib
from pathlib import Path
from typing import IO

from archtrial.errors import DataError

__all__ = [
    "IN_MEMORY",
    "MOST_BYTES",
    "Reading",
    "bytes_of",
    "check_size",
    "damaged",
    "text_of",
]

# Inputs of so many GiB are held in memory, and larger ones stay in files, unless another
# number is declared: every process that trains holds its own.
IN_MEMORY = 1.0
# What cannot stay in a file, tables and targets above all, is refused beyond this.
MOST_BYTES = 8 * 2**30
# A text takes several times its length once it is divided into cells.
_MOST_TEXT = 2 * 2**30
_CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the user says of data; None where the data have to tell."""

    target: str | None = None
    """A table's column to predict; its last one if None."""
    task: str | None = None
    """"classification" or "regression"; found from the target if None."""
    channels: str | None = None
    """"first" or "last": where arrays of series or images have their channels."""
    decimal: str | None = None
    """"point" or "comma": the decimal sign of a table of texts."""
    dates: str | None = None
    """"day-first" or "month-first": the dates of a table of texts."""
    groups: str | None = None
    """A table's column that names each row's group."""
    categorical: tuple[str, ...] = ()
    """A table's columns whose cells are categories, whatever they look like."""
    text: str | None = None
    """A table's column of texts, which are read in place of its other columns."""
    tokens: str | None = None
    """"word" or "byte": what a text is divided into; None: words."""
    max_vocabulary: int | None = None
    """Words that are told apart; None: the `Text`'s own number."""
    max_tokens: int | None = None
    """Tokens that are read of a text; None: the `Text`'s own number."""
    lengths: str | int | None = None
    """Of series: "mask", "zeros", or how many steps are used of each."""
    memory: float = IN_MEMORY
    """GiB; inputs of more stay in files, and so never in memory as a whole."""

    def keeps(self, needed: int) -> bool:
        """Whether inputs of so many bytes are held in memory."""
        return needed <= self.memory * 2**30


def damaged(path: Path, error: Exception) -> DataError:
    """Returns what to raise for a file that ends too early or contradicts itself."""
    said = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{path.name} can be read to its end",
        said[:300],
        "The file is damaged or cut off: copy or download it again.",
    )


def check_size(what: str, needed: int) -> None:
    """Raises a DataError where what is held in memory would not fit."""
    if needed > MOST_BYTES:
        raise DataError(
            f"tables, series and targets fit into memory ({MOST_BYTES >> 30} GiB)",
            f"{what} need {needed / 2**30:.3g} GiB",
            "Use fewer examples; or save inputs that are numbers as x.npy and targets as"
            " y.npy in one folder: those may be larger than memory.",
        )


def bytes_of(path: Path, most: int | None = None) -> bytes:
    """Returns a file's content, gzip or a zip archive of one file undone.

    What is compressed is undone piece by piece, so that a small file which announces
    gigabytes is refused before they are there.
    """
    limit = MOST_BYTES if most is None else most
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return _bounded(path, stream, limit)
        if path.suffix == ".zip":
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(_only_member(path, archive)) as stream,
            ):
                return _bounded(path, stream, limit)
        with path.open("rb") as stream:
            return _bounded(path, stream, limit)
    except DataError:
        raise
    except (
        OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError,
        NotImplementedError, RuntimeError,  # an unknown or an encrypted archive
    ) as error:  # fmt: skip
        raise damaged(path, error) from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [
        info
        for info in archive.infolist()
        if not info.filename.endswith("/")
        and not info.filename.startswith("__MACOSX/")
        and not info.filename.rpartition("/")[2].startswith(".")
    ]
    if len(members) != 1:
        raise DataError(
            "a .zip of data holds one file",
            f"{len(members)} in {path.name}",
            "Unpack it, and give the path of the file or folder.",
        )
    return members[0]


def _bounded(path: Path, stream: IO[bytes] | gzip.GzipFile, most: int) -> bytes:
    parts, total = [], 0
    while part := stream.read(_CHUNK):
        total += len(part)
        if total > most:
            raise DataError(
                f"a file holds at most {most / 2**30:.3g} GiB",
                f"{path.name} holds more",
                "Use fewer examples; or save numbers as x.npy and targets as y.npy in one"
                " folder: those may be larger than memory.",
            )
        parts.append(part)
    return b"".join(parts)


def text_of(path: Path) -> str:
    """Returns a text file's content; UTF-8, or UTF-16 where its mark says so."""
    content = bytes_of(path, min(_MOST_TEXT, MOST_BYTES))
    encoding = "utf-8-sig"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is text in UTF-8",
            f"byte {error.start} is not",
            "Save it with the encoding UTF-8.",
        ) from error
    if not text.strip():
        raise DataError("a data file holds something", f"{path.name} is empty")
    return text

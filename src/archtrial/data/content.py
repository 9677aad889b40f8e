"""What a file holds: its bytes and its text, within bounds, or one message."""

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import IO

from archtrial.errors import DataError

__all__ = ["MOST_BYTES", "bytes_of", "check_size", "damaged", "text_of"]

# Data stay in memory while a study trains; as float32, more than this is refused.
MOST_BYTES = 8 * 2**30
# A text takes several times its length once it is divided into cells.
_MOST_TEXT = 2 * 2**30
_CHUNK = 2**22


def damaged(path: Path, error: Exception) -> DataError:
    """Returns what to raise for a file that ends too early or contradicts itself."""
    said = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f"{path.name} can be read to its end",
        said[:300],
        "The file is damaged or cut off: copy or download it again.",
    )


def check_size(what: str, needed: int, way_out: str = "") -> None:
    """Raises a DataError where data would not fit into memory as float32."""
    if needed > MOST_BYTES:
        raise DataError(
            f"data fit into memory ({MOST_BYTES >> 30} GiB as float32)",
            f"{what} need {needed / 2**30:.3g} GiB",
            way_out or "Use fewer examples or smaller ones.",
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
                "Use fewer examples, or save numbers as .npz.",
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

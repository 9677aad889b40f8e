"""Files that are whole or not there, whenever the process ends, and where they lie.

What is written never lands elsewhere: no link is followed, nothing but a file is
replaced, and the name under which a file is unfinished cannot be guessed.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from archtrial.errors import StudyError

__all__ = ["UNFINISHED", "check", "name_of", "tidy", "write", "writing"]

# What is still being written, and hidden, ends so.
UNFINISHED = ".unfinished"
# Of what a killed process left: no write takes as long.
_OLD = 3600.0
# Of a file's name, in bytes: file systems take 255, and an ending is to come. Names
# that earlier releases could write stay as they were.
_LONGEST = 228
# Windows keeps these names for devices, whatever their ending.
_RESERVED = {
    "con", "prn", "aux", "nul",
    *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)),
}  # fmt: skip


def write(path: Path, content: str | bytes, *, within: Path | None = None) -> None:
    """Writes a file whole or not at all, and makes its folder if need be.

    Args:
        path: Where to. A file that is there is replaced.
        content: Text goes as UTF-8.
        within: A folder above it: of those between, none may be a link.

    Raises:
        StudyError: The disk is full, the place cannot be written to, or something
            else than a file is there.
    """
    with writing(path, within=within) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(
    path: Path,
    *,
    within: Path | None = None,
    unless: Callable[[], bool] | None = None,
) -> Iterator[BinaryIO]:
    """Opens a file that is there, whole, once the block ends without an error.

    Args:
        path: As for `write`.
        within: As for `write`.
        unless: Says, once all is written, whether what is there by then stays instead.

    Raises:
        StudyError: As `write`; from the block too, whatever it cannot read or write.
    """
    check(path, within=within)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{secrets.token_hex(8)}{UNFINISHED}")
        try:
            with open(unfinished, "xb", opener=_made) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if unless is not None and unless():
                unfinished.unlink()
                return
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _keep_the_name(path.parent)
    except OSError as error:
        raise StudyError(
            "a file can be written",
            f"{path}: {error.strerror}",
            "Make room or correct the permissions, and give the same command again: it"
            " goes on where it stopped.",
        ) from error


def check(path: Path, *, within: Path | None = None) -> None:
    """Makes sure that nothing but a file would be replaced, and no link followed.

    Args:
        path: What is to be written.
        within: As for `write`.

    Raises:
        StudyError: A folder, a link, a device or a pipe is there.
    """
    for place in (path, *_between(path, within)):
        try:
            mode = os.lstat(place).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise StudyError("a file can be written", f"{place}: {error}") from error
        wanted = stat.S_ISREG if place == path else stat.S_ISDIR
        if not wanted(mode):
            rule = "what is written replaces nothing but a file"
            if place != path:
                rule = "what a study keeps lies in its folder"
            raise StudyError(
                rule,
                f"{place} is {_kind(mode)}",
                "Remove it, or name another place.",
            )


def _between(path: Path, within: Path | None) -> list[Path]:
    if within is None:
        return []
    return [place for place in path.parents if within in place.parents]


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for is_one, name in kinds if is_one(mode)), "a device")


def _made(path: str, flags: int) -> int:
    # Whoever the umask lets may read it, as any file that a program makes.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _keep_the_name(folder: Path) -> None:
    """Has a folder's new entry on the disk, where folders can be told so."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems have no such thing; they do it by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(handle)


def tidy(folder: Path) -> None:
    """Removes what writes that were killed left in a folder and in those below it.

    Somebody else may be writing: only what is older than any write is removed.
    """
    places = [
        folder,
        *(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()),
    ]
    for place in places:
        for left in place.glob(f".*{UNFINISHED}"):
            # Another process may have been quicker.
            with contextlib.suppress(FileNotFoundError):
                known = left.lstat()
                old = time.time() - known.st_mtime > _OLD
                if stat.S_ISREG(known.st_mode) and old:
                    left.unlink()


def name_of(name: str) -> str:
    """Returns a name for a file, to which an ending may be added, from any name.

        >>> name_of("mlp(width=8) + norm")
        'mlp(width=8) + norm'
        >>> name_of("../a b/c")
        '..%2Fa b%2Fc'

    Another name has another one. It is short enough for any file system, and no
    device's on Windows: where the name alone is not, a checksum goes with it.
    """
    quoted = urllib.parse.quote(name, safe=" ()=,+_-", errors="surrogatepass")
    first = quoted.partition(".")[0].rstrip(" ").lower()
    if len(quoted) <= _LONGEST and first not in _RESERVED:
        return quoted
    content = name.encode(errors="surrogatepass")
    # No quoting brings "%-".
    checksum = f"%-{hashlib.sha256(content).hexdigest()[:8]}"
    if first in _RESERVED:
        return f"{checksum}-{quoted[: _LONGEST - 11]}"
    return f"{quoted[: _LONGEST - 10]}{checksum}"

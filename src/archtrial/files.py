"""Files that are whole or not there, whenever the process ends."""

import os
from pathlib import Path

from archtrial.errors import StudyError

__all__ = ["write"]


def write(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, and makes its folder if need be.

    Raises:
        StudyError: The disk is full, or the place cannot be written to.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise StudyError(
            "a file can be written",
            f"{path}: {error.strerror}",
            "Make room or mend the permissions, and give the same command again: it"
            " goes on where it stopped.",
        ) from error

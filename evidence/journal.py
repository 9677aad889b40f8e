"""Results that grow chunk by chunk, so that a kill loses a chunk at most.

A journal is a file of JSON lines. Each holds what was counted in some chunks of one
cell, by what code and in how many seconds. What a chunk holds depends on the seed, the
cell and its number alone, so neither a kill nor the order of cells shows in the end.
"""

import dataclasses
import fcntl
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archtrial import statistics
from archtrial.calibration import CHUNK, Tally
from archtrial.files import write

RESULTS = Path(__file__).with_name("results")
SEED = 3


def digest(value: Any) -> str:
    """Returns a short name for a cell's definition."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def code() -> str:
    """Returns a short name for the statistics that judge, as they stand now."""
    folder = Path(statistics.__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return hashlib.blake2b(content, digest_size=6).hexdigest()


@dataclasses.dataclass(frozen=True)
class Found:
    """What a journal knows of one cell."""

    tally: Tally
    chunks: frozenset[int]
    seconds: float
    codes: frozenset[str]
    """Of the statistics that judged."""
    about: Mapping[str, Any]
    """What the cell's author wrote down beside the counts."""


class Journal:
    """One file of results.

    Args:
        name: The file's, without its ending.
        seed: Of all its cells.
    """

    def __init__(self, name: str, seed: int = SEED) -> None:
        self.path = RESULTS / f"{name}.jsonl"
        self.seed = seed

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        # What stands behind the last newline is half a line, of a run that was killed.
        whole = self.path.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def first(self, cell: str, definition: str) -> Tally | None:
        """Returns what was counted in a cell's first chunk."""
        for line in self._lines():
            known = line["cell"], line["definition"], line["chunks"]
            if known == (cell, definition, [0, 1]):
                return Tally(line["counts"])
        return None

    def found(self, cell: str, definition: str) -> Found | None:
        """Returns what is known of a cell as it is defined now."""
        lines = [
            line
            for line in self._lines()
            if (line["cell"], line["definition"]) == (cell, definition)
        ]
        if not lines:
            return None
        lines.sort(key=lambda line: line["chunks"])
        return Found(
            tally=Tally.of(Tally(line["counts"]) for line in lines),
            chunks=frozenset(c for line in lines for c in range(*line["chunks"])),
            seconds=sum(line["seconds"] for line in lines),
            codes=frozenset(line["code"] for line in lines),
            about=lines[0]["about"],
        )

    def fill(
        self,
        cell: str,
        definition: str,
        studies: int,
        count: Callable[[int], Tally],
        about: Mapping[str, Any],
        *,
        size: int = CHUNK,
    ) -> None:
        """Adds the chunks that a cell lacks.

        Args:
            cell: Its name.
            definition: The digest of what it is.
            studies: How many it shall have in all, a multiple of `size`.
            count: From a chunk's number to its tally.
            about: What stands beside the counts.
            size: Studies in a chunk.
        """
        known = self.found(cell, definition)
        done = known.chunks if known else frozenset()
        missing = [c for c in range(studies // size) if c not in done]
        if not missing:
            return
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path, "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(f"{self.path}: another process is filling it")
            _cut(self.path)
            judged_by = code()
            for number in missing:
                start = time.perf_counter()
                counts = count(number).counts
                line = {
                    "cell": cell,
                    "definition": definition,
                    "chunks": [number, number + 1],
                    "seconds": round(time.perf_counter() - start, 2),
                    "code": judged_by,
                    "seed": self.seed,
                    "about": about,
                    "counts": {name: float(n) for name, n in counts.items() if n},
                }
                file.write(json.dumps(line) + "\n")
                file.flush()
        print(f"{self.path.stem}: {cell}: {studies} studies", flush=True)

    def compact(self) -> None:
        """Joins the chunks of a cell that follow each other, all but the first.

        The first stays alone, so that later code can be held against it.
        """
        lines = sorted(
            self._lines(),
            key=lambda x: (x["cell"], x["definition"], x["code"], x["chunks"]),
        )
        joined: list[dict[str, Any]] = []
        for line in lines:
            last = joined[-1] if joined else None
            same = ("cell", "definition", "code", "seed")
            if (
                last is not None
                and all(last[key] == line[key] for key in same)
                and last["chunks"][1] == line["chunks"][0] > 1
            ):
                last["chunks"] = [last["chunks"][0], line["chunks"][1]]
                last["seconds"] = round(last["seconds"] + line["seconds"], 2)
                both = (Tally(last["counts"]), Tally(line["counts"]))
                last["counts"] = Tally.of(both).counts
            else:
                joined.append(line)
        if joined:
            write(self.path, "".join(json.dumps(line) + "\n" for line in joined))


def _cut(path: Path) -> None:
    """Cuts half a line off the end of a file."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(path, "r+b") as file:
            file.truncate(whole)

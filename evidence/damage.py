"""Stores that were damaged or altered: does one give another verdict in silence?

A finished study of known truth is copied, its copy is damaged in one of the ways below,
and the copy is judged. Allowed are the true verdict and one clear message; a traceback
or another verdict is a fault. Published in evidence/README.md:

    python evidence/damage.py --stores 1000

With `--study` the store of an existing study is damaged instead, such as one of an older
release, whose rows have no checksums.
"""

import argparse
import collections
import contextlib
import dataclasses
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import Protocol, Study, judge_study
from archtrial.errors import UserError
from archtrial.records.store import FILE_NAME, Store
from archtrial.testing import KnownTruth, Surface

Way = Callable[[Path, np.random.Generator], None]
WAL = f"{FILE_NAME}-wal"


def study(folder: Path, seed: int = 0) -> None:
    """Carries out a small study and leaves what its writer's last moment leaves."""
    trainer = KnownTruth(
        {"plain": Surface(peak=0.80, diverging=0.1), "tweak": Surface(peak=0.83)}
    )
    protocol = Protocol(
        data="known truth",
        baseline="plain",
        challengers=["tweak"],
        space=dict(trainer.space),
        configurations=16,
        steps=1000,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as place:
        Study(protocol, place, trainer=trainer).run()
        folder.mkdir()
        shutil.copy(Path(place, FILE_NAME), folder / FILE_NAME)


@contextlib.contextmanager
def changed(path: Path) -> Iterator[bytearray]:
    """Gives the bytes of a file, and writes them back."""
    content = bytearray(path.read_bytes())
    yield content
    path.write_bytes(content)


def bit(folder: Path, random: np.random.Generator, name: str = FILE_NAME) -> None:
    """Turns one bit round."""
    with changed(folder / name) as content:
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))


def byte(folder: Path, random: np.random.Generator) -> None:
    """Writes another byte."""
    with changed(folder / FILE_NAME) as content:
        content[random.integers(len(content))] ^= int(random.integers(1, 256))


def header(folder: Path, random: np.random.Generator) -> None:
    """Turns one bit of the file's first hundred bytes round."""
    with changed(folder / FILE_NAME) as content:
        content[random.integers(100)] ^= 1 << int(random.integers(8))


def cut(folder: Path, random: np.random.Generator, name: str = FILE_NAME) -> None:
    """Loses the file's end."""
    with changed(folder / name) as content:
        del content[random.integers(len(content)) :]


def zeros(folder: Path, random: np.random.Generator) -> None:
    """Overwrites a sector with zeros."""
    with changed(folder / FILE_NAME) as content:
        start = 512 * int(random.integers(len(content) // 512))
        content[start : start + 512] = bytes(512)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Opens a store as anybody can."""
    connection = sqlite3.connect(folder / FILE_NAME)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def chosen(
    connection: sqlite3.Connection, random: np.random.Generator
) -> tuple[str, int]:
    """Returns a table and the rowid of one of its rows."""
    table = str(random.choice(["study", "runs", "runs", "scores", "scores", "events"]))
    rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]  # noqa: S608
    return table, int(random.choice(rows))


def row(folder: Path, random: np.random.Generator) -> None:
    """Deletes a row."""
    with opened(folder) as connection:
        table, number = chosen(connection, random)
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))  # noqa: S608


def winner(folder: Path, random: np.random.Generator) -> None:
    """Deletes the best run of the search."""
    with opened(folder) as connection:
        connection.execute(
            "DELETE FROM runs WHERE key = (SELECT key FROM runs WHERE stage = 'search'"
            " ORDER BY validation DESC LIMIT 1)"
        )


def cell(folder: Path, random: np.random.Generator) -> None:
    """Alters one value."""
    with opened(folder) as connection:
        table, number = chosen(connection, random)
        columns = [d[1] for d in connection.execute(f"PRAGMA table_info({table})")]
        column = str(random.choice([c for c in columns if c != "number"]))
        place = f"FROM {table} WHERE rowid = ?"
        (old,) = connection.execute(
            f"SELECT {column} {place}",
            (number,),
        ).fetchone()
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = ?",  # noqa: S608
            # A key is no other row's.
            (f"{old}x" if column == "key" else another(old, random), number),
        )


def another(old: Any, random: np.random.Generator) -> Any:
    """Returns a value of the same kind that is not the same."""
    if isinstance(old, float):
        return old + float(random.choice([0.1, -0.1, 1e-9]))
    if isinstance(old, int):
        return old + 1
    if isinstance(old, str) and old:
        digits = [i for i, character in enumerate(old) if character.isdigit()]
        place = int(random.choice(digits or [0]))
        return old[:place] + ("7" if old[place] != "7" else "3") + old[place + 1 :]
    if isinstance(old, bytes) and old:
        return old[:-1] + bytes([old[-1] ^ 1])
    return 0.5


def exchanged(folder: Path, random: np.random.Generator) -> None:
    """Exchanges the test scores of two runs."""
    with opened(folder) as connection:
        rows = connection.execute("SELECT rowid, test FROM scores").fetchall()
        (one, a), (other, b) = random.permutation(np.array(rows, dtype=object))[:2]
        for number, test in ((one, b), (other, a)):
            connection.execute(
                "UPDATE scores SET test = ? WHERE rowid = ?", (test, number)
            )


def foreign_log(folder: Path, random: np.random.Generator, log: bytes) -> None:
    """Lays the write-ahead log of another study beside the store."""
    (folder / WAL).write_bytes(log)


def log_of(folder: Path, text: str) -> bytes:
    """Returns the write-ahead log of a store to which something has been added."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(folder / FILE_NAME, Path(place, FILE_NAME))
        with Store(place) as store:
            store.note("note", text)
            return Path(place, WAL).read_bytes()


def ways(folder: Path, other: Path | None) -> dict[str, Way]:
    """Returns the ways to damage a store, by name."""
    own = log_of(folder, "one more line")
    found: dict[str, Way] = {
        "a bit": bit, "a byte": byte, "a bit of the header": header, "cut off": cut,
        "512 zeros": zeros, "a row deleted": row, "the winner deleted": winner,
        "a cell altered": cell, "two scores exchanged": exchanged,
    }  # fmt: skip

    def in_log(damage: Callable[..., None]) -> Way:
        def apply(folder: Path, random: np.random.Generator) -> None:
            (folder / WAL).write_bytes(own)
            damage(folder, random, WAL)

        return apply

    found["a bit of the log"] = in_log(bit)
    found["the log cut off"] = in_log(cut)
    if other is not None:
        foreign = log_of(other, "another study's")
        found["another study's log"] = lambda folder, random: foreign_log(
            folder, random, foreign
        )
    return found


@dataclasses.dataclass
class Truth:
    """What the undamaged store says."""

    inputs: Any
    verdict: str

    @classmethod
    def of(cls, folder: Path) -> "Truth":
        """Reads it."""
        return cls(inputs(folder), judge_study(folder).verdict.to_json())


def inputs(folder: Path) -> Any:
    """Returns all that a verdict rests on."""
    with Store(folder, read_only=True) as store:
        runs = [
            {
                **vars(run),
                "per_example": None
                if run.per_example is None
                else run.per_example.tolist(),
            }
            for run in store.runs()
        ]
        opened = [event[1:] for event in store.events() if event[1] != "note"]
        return repr((store.protocol(), runs, opened))


def outcome(folder: Path, truth: Truth) -> str:
    """Says what becomes of a damaged store."""
    try:
        if inputs(folder) == truth.inputs:
            return "harmless"
        same = judge_study(folder).verdict.to_json() == truth.verdict
    except UserError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "TRACEBACK"
    return "harmless" if same else "ANOTHER VERDICT"


def damaged(
    folder: Path, truth: Truth, way: Way, random: np.random.Generator
) -> tuple[str, Path]:
    """Damages a copy and says what becomes of it; the copy is left for inspection."""
    place = Path(tempfile.mkdtemp()) / "study"
    place.mkdir()
    shutil.copy(folder / FILE_NAME, place / FILE_NAME)
    way(place, random)
    return outcome(place, truth), place


def main() -> None:
    """Damages stores and exits with 1 where one misleads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=int, default=1000)
    parser.add_argument("--study", type=Path, help="A study's folder.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder, other = options.study, None
        if folder is None:
            folder, other = Path(place, "study"), Path(place, "other")
            study(folder)
            study(other, seed=1)
        truth = Truth.of(folder)
        found = list(ways(folder, other).items())
        table: dict[str, collections.Counter[str]] = {
            name: collections.Counter() for name, _ in found
        }
        for i in range(options.stores):
            name, way = found[i % len(found)]
            said, copy = damaged(folder, truth, way, random)
            table[name][said] += 1
            if said.isupper():
                print(f"{i}: {name}: {said}: {copy}", flush=True)
            else:
                shutil.rmtree(copy.parent)
    total = sum(table.values(), collections.Counter())
    for name, counts in [*table.items(), ("all", total)]:
        print(f"{name:24}", *(f"{n} {said}  " for said, n in sorted(counts.items())))
    sys.exit(1 if any(said.isupper() for said in total) else 0)


if __name__ == "__main__":
    main()

"""The store of a study: one SQLite file, append-only, with one writer.

Everything that has finished is on disk when `add` returns. Nothing is ever
changed: opening the test set adds the scores beside the runs, in the same
transaction as the event that says so. It is opened once, or once at each look.
"""

import contextlib
import io
import json
import math
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from archtrial.errors import RecordsError, StudyError
from archtrial.records.table import CurvePoint, Run

__all__ = [
    "FILE_NAME",
    "OPENED",
    "SCHEMA",
    "EmptyStoreError",
    "Store",
    "frozen",
    "key",
]

FILE_NAME = "study.sqlite"
# 2: a run's details may hold its rung, look and tuner, which version 1 cannot read.
# 3: or a reading and measures, which version 2 cannot read.
# The tables are the same. A store begins with version 2, since without an experiment's
# runs the release before reads it, and becomes one of version 3 in the transaction that
# records the first of them: older releases then say that they are too old for it,
# instead of failing on a word they do not know. Else it keeps what it began with.
SCHEMA = 3
_BEGUN_WITH = 2
OPENED = "test set opened"
"""The event that says so."""

_TABLES = """
CREATE TABLE study (
    hash TEXT NOT NULL, resolved TEXT NOT NULL, declared TEXT NOT NULL
);
CREATE TABLE runs (
    key TEXT PRIMARY KEY, arm TEXT NOT NULL, pair INTEGER NOT NULL,
    seed INTEGER NOT NULL, stage TEXT NOT NULL, validation REAL,
    diverged INTEGER NOT NULL, error TEXT, details TEXT NOT NULL,
    sealed BLOB NOT NULL
);
CREATE TABLE scores (key TEXT PRIMARY KEY, test REAL, per_example BLOB);
CREATE TABLE events (
    time REAL NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL
);
"""

_RUNS = """
SELECT arm, pair, seed, stage, validation, diverged, error, details,
    scores.key IS NOT NULL, test, scores.per_example
FROM runs LEFT JOIN scores USING (key) ORDER BY arm, pair, seed, key
"""
# What a run is beyond a random draw trained for the declared steps, and when: kept
# only where it differs from this.
_PLAIN: Mapping[str, Any] = {
    "rung": 1, "look": 1, "tuner": None, "reading": "last", "measures": {},
}  # fmt: skip
_SINCE_3 = ("reading", "measures")

# Write-ahead logging needs memory shared between processes, which these do not
# offer; a rollback journal works there, only slower.
_MOUNTS = Path("/proc/mounts")
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "lustre", "beegfs", "gpfs", "ceph",
            "glusterfs", "fuse.sshfs", "virtiofs")  # fmt: skip


def key(
    arm: str,
    pair: int,
    seed: int,
    rung: int = 1,
    tuner: str | None = None,
    reading: str = "last",
) -> str:
    """Returns the name of a run inside its study.

    Those of a longer rung end in "/2x", those that a tuner chose in its name, and
    then the best readings in "/best".
    """
    name = f"{arm}/{pair}/{seed}"
    if tuner is not None:
        name = f"{name}/{tuner}"
    elif rung != 1:
        name = f"{name}/{rung}x"
    return name if reading == "last" else f"{name}/{reading}"


class EmptyStoreError(RecordsError):
    """A store that was killed before anything was declared in it."""


def frozen(
    folder: str | Path,
) -> tuple[str, dict[str, Any], dict[str, Any] | None] | None:
    """Returns what `Store.protocol` does, None where no study has begun.

    Raises:
        RecordsError: There is a store, but it cannot be read.
    """
    if not Path(folder, FILE_NAME).exists():
        return None
    try:
        with Store(folder, read_only=True) as store:
            return store.protocol()
    except EmptyStoreError:
        return None


class Store:
    """The records of one study, open for writing or, with `read_only`, for reading.

    Args:
        folder: The study's folder; made if it is not there and not `read_only`.
        read_only: Open an existing store without the right to write, beside its
            writer if need be.

    Raises:
        RecordsError: The file is damaged, is no store, or is of a newer version.
        StudyError: Another process is writing to it, or the disk is full.
    """

    def __init__(self, folder: str | Path, *, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / FILE_NAME
        self._lock: sqlite3.Connection | None = None
        if read_only:
            if not self.path.exists():
                raise RecordsError(
                    "a study's folder holds its store",
                    f"no {FILE_NAME} in {self.folder}",
                    "Name the folder that archtrial run printed.",
                )
            mode = "mode=ro"
            if not self.path.with_name(f"{FILE_NAME}-wal").exists():
                # Nobody is writing, and nothing waits to be merged: read the file as
                # it lies, also in a folder where no file may be made beside it.
                mode += "&immutable=1"
            self._connection = self._connect(f"{self.path.resolve().as_uri()}?{mode}")
        else:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock = self._claim()
            except OSError as error:
                raise StudyError(
                    "a study's folder can be written to", str(error)
                ) from None
            self._connection = self._connect(self.path.resolve().as_uri())
        try:
            with self._explained():
                self._prepare(read_only)
        except BaseException:
            self.close()
            raise

    def _claim(self) -> sqlite3.Connection:
        # An exclusive transaction on an empty database is a lock that every
        # system knows and that ends with the process, however it ends.
        lock = None
        try:
            lock = sqlite3.connect(
                self.folder / "lock", timeout=0, isolation_level=None
            )
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if lock is not None:
                lock.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise StudyError(
                    "a study's folder can be written to", f"{self.folder}: {error}"
                ) from error
            raise StudyError(
                "a study has one writer",
                f"another archtrial is at work in {self.folder}",
                "Wait for it, or name another folder with --study.",
            ) from None
        return lock

    @staticmethod
    def _connect(uri: str) -> sqlite3.Connection:
        # One writer, but reports are read while a study goes on: wait for them.
        return sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)

    def _prepare(self, read_only: bool) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise RecordsError(
                f"this archtrial reads stores up to version {SCHEMA}",
                f"{self.path} has version {version}",
                "Install the archtrial that wrote it, or a newer one.",
            )
        if version == 0:
            tables = self._connection.execute("SELECT name FROM sqlite_master")
            if tables.fetchone():
                raise RecordsError(
                    "a store was written by archtrial",
                    f"{self.path} is another database",
                )
            if read_only:
                raise EmptyStoreError(
                    "a store holds a study", f"{self.path} is empty: none has begun"
                )
        self.journal = "wal"
        if not read_only:
            self.journal = "delete" if _on_network(self.folder) else "wal"
            self._connection.execute(f"PRAGMA journal_mode={self.journal}")
            # A commit is on the disk, not merely with the operating system.
            self._connection.execute("PRAGMA synchronous=FULL")
            if version == 0:
                with self._transaction():
                    for statement in _TABLES.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version={_BEGUN_WITH}")
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise RecordsError("a store is whole", f"{self.path}: {found}", _MEND)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise StudyError(
                    "a study needs room on the disk",
                    f"the disk that holds {self.folder} is full",
                    "Make room and give the same command again: it goes on where it"
                    " stopped.",
                ) from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise RecordsError(
                    "a store is whole", f"{self.path}: {error}", _MEND
                ) from error
            raise StudyError(
                "a study's store can be read and written",
                f"{self.path}: {error}",
                "Look at the disk and at the folder's permissions, then give the same"
                " command again.",
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Closes the store and lets the next writer in."""
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def declare(
        self, hash_: str, resolved: str, declared: str, environment: str = "{}"
    ) -> None:
        """Freezes the protocol: its hash, its resolved form and what was declared.

        With it, in one transaction, goes the event of where the study began.
        """
        with self._transaction():
            self._connection.execute(
                "INSERT INTO study VALUES (?, ?, ?)", (hash_, resolved, declared)
            )
            self._event("began", environment)

    def protocol(self) -> tuple[str, dict[str, Any], dict[str, Any] | None] | None:
        """Returns (hash, resolved protocol, declared protocol), None before `declare`."""
        with self._explained():
            row = self._connection.execute("SELECT * FROM study").fetchone()
        return None if row is None else (row[0], json.loads(row[1]), json.loads(row[2]))

    def add(self, runs: Sequence[tuple[Run, np.ndarray]]) -> None:
        """Records finished runs, all or none of them.

        Args:
            runs: Each run with what is sealed until the test set is opened: its
                predictions on the test inputs, or its test score where a trainer
                of the user's own has scored it.
        """
        details = [_details(run) for run, _ in runs]
        with self._transaction():
            if any(name in own for own in details for name in _SINCE_3):
                self._connection.execute(f"PRAGMA user_version={SCHEMA}")
            self._connection.executemany(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        key(
                            run.arm,
                            run.pair,
                            run.seed,
                            run.rung,
                            run.tuner,
                            run.reading,
                        ),
                        run.arm,
                        run.pair,
                        run.seed,
                        run.stage,
                        run.validation,
                        run.diverged,
                        run.error,
                        # NaN and Infinity go and come back as Python writes them,
                        # though JSON has no word for them: none but us reads this.
                        json.dumps(own),
                        _pack(sealed),
                    )
                    for (run, sealed), own in zip(runs, details, strict=True)
                ],
            )

    def sealed(self) -> dict[str, np.ndarray]:
        """Returns what is sealed still, by the runs' keys."""
        with self._explained():
            rows = self._connection.execute(
                "SELECT key, sealed FROM runs WHERE key NOT IN (SELECT key FROM scores)"
            ).fetchall()
            return {name: _unpack(blob) for name, blob in rows}

    def open_test(
        self,
        scores: Mapping[str, tuple[float, np.ndarray | None]],
        detail: Mapping[str, Any],
    ) -> None:
        """Records test scores of runs and, with them, that the set has been opened.

        Args:
            scores: By key, (test score, its share by example) of the runs that had
                none yet.
            detail: What goes with the event.
        """
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO scores VALUES (?, ?, ?)",
                [
                    (name, test, None if examples is None else _pack(examples))
                    for name, (test, examples) in sorted(scores.items())
                ],
            )
            self._event(OPENED, json.dumps(detail))

    def runs(self, *, per_example: bool = True) -> list[Run]:
        """Returns all runs, ordered by arm, configuration, seed and key.

        Args:
            per_example: Also read the test scores by example.
        """
        select = _RUNS if per_example else _RUNS.replace("scores.per_example", "NULL")
        with self._explained():
            rows = self._connection.execute(select).fetchall()
            return [_run(row) for row in rows]

    def note(self, name: str, detail: str) -> None:
        """Records an event: it stands with its time in the store and on the page."""
        with self._transaction():
            self._event(name, detail)

    def _event(self, name: str, detail: str) -> None:
        self._connection.execute(
            "INSERT INTO events VALUES (?, ?, ?)", (time.time(), name, detail)
        )

    def events(self) -> list[tuple[float, str, str]]:
        """Returns (time in seconds since 1970, name, detail) in order."""
        with self._explained():
            return self._connection.execute("SELECT * FROM events").fetchall()

    @property
    def openings(self) -> int:
        """How often the test labels have been used: once, or once at each look."""
        return sum(name == OPENED for _, name, _ in self.events())

    @property
    def test_is_open(self) -> bool:
        """Whether the test labels have been used."""
        return self.openings > 0


_MEND = (
    "It was cut off or overwritten. Restore it from a copy, or remove the study's"
    " folder and run the protocol again: the same runs come out."
)


def _details(run: Run) -> dict[str, Any]:
    """Returns what of a run has no column of its own, plain values left out."""
    return {
        "configuration": dict(run.configuration),
        "flops": run.flops,
        "parameters": run.parameters,
        "seconds": run.seconds,
        "curve": [(point.step, point.loss, point.validation) for point in run.curve],
        **{
            name: getattr(run, name)
            for name, plain in _PLAIN.items()
            if getattr(run, name) != plain
        },
    }


def _run(row: Sequence[Any]) -> Run:
    arm, pair, seed, stage, validation, diverged, error, text, *scores = row
    is_open, test, examples = scores
    details = json.loads(text)
    curve = tuple(CurvePoint(*point) for point in details.pop("curve"))
    return Run(
        arm=arm,
        pair=pair,
        seed=seed,
        stage=stage,
        # SQLite keeps NaN, the score of a run that has none, as NULL.
        validation=math.nan if validation is None else validation,
        test=(math.nan if test is None else test) if is_open else None,
        per_example=None if examples is None else _unpack(examples),
        diverged=bool(diverged),
        error=error,
        curve=curve,
        **details,
    )


def _pack(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return zlib.compress(file.getvalue(), 1)


def _unpack(blob: bytes) -> np.ndarray:
    array: np.ndarray = np.load(io.BytesIO(zlib.decompress(blob)), allow_pickle=False)
    return array


def _on_network(folder: Path) -> bool:
    """Says whether a folder lies on a disk of another machine (Linux; else no)."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return False
    resolved = folder.resolve()
    longest, kind = "", ""
    for line in mounts:
        _, point, filesystem = line.split()[:3]
        point = point.replace("\\040", " ")
        if resolved.is_relative_to(point) and len(point) >= len(longest):
            longest, kind = point, filesystem
    return kind.startswith(_NETWORK)

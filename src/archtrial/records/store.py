"""The store of a study: one SQLite file, append-only, with one writer.

Everything that has finished is on disk when `add` returns. Nothing is ever
changed: opening the test set adds the scores beside the runs, in the same
transaction as the event that says so. It is opened once, or once at each look.

Each row has a number and a checksum, and each table a running checksum over all of
them, which changes in the transaction that adds a row. Whoever opens a store compares
them first: a row that was altered, lost or added by other hands is named, and no
verdict rests on the others. The protocol's hash is held against the protocol itself.
"""

import contextlib
import importlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from archtrial.errors import RecordsError, StudyError
from archtrial.protocol import digest, digest_before
from archtrial.records import checksums
from archtrial.records.layout import (
    CHECKED_SINCE,
    COLUMNS,
    EXPERIMENTS_SINCE,
    RUNS,
    SCHEMA,
    TABLES,
    TABLES_BEFORE,
    UNREADABLE,
    WITH_EXPERIMENTS,
    as_text,
    checked_run,
    details_of,
    packed_array,
    run_of,
    unpacked,
)
from archtrial.records.table import Run, key

__all__ = [
    "ENDED",
    "FILE_NAME",
    "GREW",
    "MEASURED",
    "OPENED",
    "SCHEMA",
    "EmptyStoreError",
    "Store",
    "frozen",
    "key",
]


Read = TypeVar("Read")

FILE_NAME = "study.sqlite"
_LOCK = "lock"
# What SQLite puts beside a store while it writes.
_BESIDE = ("-wal", "-shm", "-journal")
OPENED = "test set opened"
"""The event that says so."""
ENDED = "ended without a test set"
"""The event of a study that asks nothing of the test set, and has come to its end."""
MEASURED = "measured"
"""The event of what a study has measured beside its trainings."""
GREW = "study grew"
"""The event of a finished study that got more configurations than were declared."""

# Write-ahead logging needs memory shared between processes, which these do not
# offer; a rollback journal works there, only slower.
_MOUNTS = Path("/proc/mounts")
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "lustre", "beegfs", "gpfs", "ceph",
            "glusterfs", "fuse.sshfs", "virtiofs")  # fmt: skip


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
        there = self.path.exists()
        if read_only:
            if not there:
                raise RecordsError(
                    "a study's folder holds its store",
                    f"no {FILE_NAME} in {self.folder}",
                    "Name the folder that archtrial run printed.",
                )
            mode = "mode=ro"
            if not self._waits():
                # Nobody is writing, and nothing waits to be merged: read the file as
                # it lies, also in a folder where no file may be made beside it.
                mode += "&immutable=1"
            self._connection = self._connect(f"{self.path.resolve().as_uri()}?{mode}")
        else:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._refuse_links()
                self._lock = self._claim()
            except OSError as error:
                raise StudyError(
                    "a study's folder can be written to", str(error)
                ) from None
            self._connection = self._connect(self.path.resolve().as_uri())
        # What damage made of a text is found by its checksum, not by its decoder.
        self._connection.text_factory = as_text
        try:
            with self._explained(reading=True):
                self._prepare(read_only, there)
        except BaseException:
            self.close()
            raise

    def _waits(self) -> bool:
        """Says whether something beside the store waits to be merged into it."""
        beside = [
            place.stat().st_size
            for suffix in ("-wal", "-journal")
            if (place := self.path.with_name(FILE_NAME + suffix)).exists()
        ]
        # An empty one may be a writer's who has just begun.
        effective = os.access in os.supports_effective_ids
        return any(beside) or bool(
            beside and os.access(self.folder, os.W_OK, effective_ids=effective)
        )

    def _refuse_links(self) -> None:
        # What is written to a link lands wherever somebody else wants it.
        for name in (_LOCK, FILE_NAME, *(FILE_NAME + s for s in _BESIDE)):
            if (self.folder / name).is_symlink():
                raise StudyError(
                    "a study's files lie in its folder",
                    f"{self.folder / name} is a link",
                    "Put the file itself there, or name another folder with --study.",
                )

    def _claim(self) -> sqlite3.Connection:
        # An exclusive transaction on an empty database is a lock that every
        # system knows and that ends with the process, however it ends.
        lock = None
        try:
            lock = sqlite3.connect(self.folder / _LOCK, timeout=0, isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if lock is not None:
                lock.close()
            refused = _refused_lock(self.folder)
            if refused is not None:
                raise StudyError(
                    "a study's folder lies on a file system that locks files",
                    f"{self.folder} does not: {refused}",
                    "Name a folder on another disk, one of this machine, with --study;"
                    " what is there already can be copied to it.",
                ) from error
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
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

    def _prepare(self, read_only: bool, there: bool) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise RecordsError(
                f"this archtrial reads stores up to version {SCHEMA}",
                f"{self.path} has version {version}",
                "Install the archtrial that wrote it, or a newer one.",
            )
        made = [
            statement
            for name, statement in self._connection.execute(
                "SELECT name, sql FROM sqlite_master ORDER BY rowid"
            )
            # SQLite's own: indices, and statistics if somebody had them made.
            if not str(name).startswith("sqlite_")
        ]
        if version == 0:
            if made:
                raise RecordsError(
                    "a store was written by archtrial",
                    f"{self.path} is another database",
                )
            if there and (self.folder / "protocol.json").exists():
                # It is written after what it says was recorded.
                raise self._damaged("it is empty, and a study began here")
            if read_only:
                raise EmptyStoreError(
                    "a store holds a study", f"{self.path} is empty: none has begun"
                )
        elif made != list(TABLES if version >= CHECKED_SINCE else TABLES_BEFORE):
            raise self._damaged(f"its tables are not those of version {version}")
        self.journal = "wal"
        if not read_only:
            self.journal = "delete" if _on_network(self.folder) else "wal"
            self._connection.execute(f"PRAGMA journal_mode={self.journal}")
            # A commit is on the disk, not merely with the operating system.
            self._connection.execute("PRAGMA synchronous=FULL")
            if version == 0:
                version = SCHEMA
                with self._transaction():
                    for statement in TABLES:
                        self._connection.execute(statement)
                    self._connection.executemany(
                        "INSERT INTO checksums VALUES (?, 0, ?)",
                        [(table, checksums.BEGINNING) for table in COLUMNS],
                    )
                    self._connection.execute(f"PRAGMA user_version={SCHEMA}")
        self._version = version
        found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise self._damaged(" ".join(found.split()))
        faults = self._faults()
        if faults:
            more = f"; and {len(faults) - 3} faults more" if faults[3:] else ""
            raise self._damaged("; ".join(faults[:3]) + more)

    def _faults(self) -> checksums.Faults:
        # At one moment, though somebody may be writing.
        self._connection.execute("BEGIN")
        try:
            if self.checked:
                return checksums.verify(self._connection, list(COLUMNS))
            # Nothing is ever deleted, so that SQLite's own numbers have no gap.
            gaps = [
                f"rows of the table {table} are missing"
                for table in COLUMNS
                for count, last in self._connection.execute(
                    f"SELECT count(*), max(rowid) FROM {table}"  # noqa: S608
                )
                if count != (last or 0)
            ]
            orphans = self._connection.execute(
                "SELECT key FROM scores WHERE key NOT IN (SELECT key FROM runs)"
            )
            return gaps + [f"the run {name!r} is missing" for (name,) in orphans]
        finally:
            self._connection.execute("ROLLBACK")

    def _damaged(self, found: str) -> RecordsError:
        return RecordsError("a store is whole", f"{self.path}: {found}", _WAY_OUT)

    @contextlib.contextmanager
    def _explained(self, *, reading: bool = False) -> Iterator[None]:
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
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
                reading and code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG)
            ):
                raise self._damaged(str(error)) from error
            cannot = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if self._lock is None and code in cannot:
                raise StudyError(
                    "a store that its writer left in a hurry is read where files can"
                    " be made beside it",
                    f"{self.path}: {error}",
                    f"Copy the whole folder to such a place, {FILE_NAME}-wal with it,"
                    " and name the copy.",
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
            self._insert("study", [(hash_, resolved, declared)])
            self._event("began", environment)

    def grow(
        self, hash_: str, resolved: str, declared: str, detail: Mapping[str, Any]
    ) -> None:
        """Puts another protocol in force, beside those before it.

        Args:
            hash_: Its hash.
            resolved: Its resolved form.
            declared: What was declared.
            detail: What goes with the event, recorded in the same transaction.

        Raises:
            StudyError: The store is of an older version, whose readers know of one
                protocol only.
        """
        if not self.checked:
            raise StudyError(
                "a study that grows was begun by an archtrial whose rows have checksums",
                f"{self.path} was begun by archtrial 0.2 or before",
                "Begin a new study of that size: name another folder with --study, and"
                " another --seed.",
            )
        with self._transaction():
            self._insert("study", [(hash_, resolved, declared)])
            self._event(GREW, json.dumps(detail))

    def _insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows to a table, inside a transaction."""
        if self.checked:
            count, running = self._connection.execute(
                "SELECT count, running FROM checksums WHERE name = ?", (table,)
            ).fetchone()
            checked = []
            for number, row in enumerate(rows, count + 1):
                values = [checksums.stored(value) for value in row]
                checksum = checksums.of_row(table, number, values)
                running = checksums.following(running, checksum)
                checked.append((number, *values, checksum))
            rows = checked
            self._connection.execute(
                "UPDATE checksums SET count = ?, running = ? WHERE name = ?",
                (count + len(rows), running, table),
            )
        for row in rows:
            places = ", ".join("?" * len(row))
            # The table's name is one of ours.
            self._connection.execute(
                f"INSERT INTO {table} VALUES ({places})",  # noqa: S608
                row,
            )

    @property
    def checked(self) -> bool:
        """Whether its rows have checksums, so that what was altered is found."""
        return bool(self._version >= CHECKED_SINCE)

    def protocol(self) -> tuple[str, dict[str, Any], dict[str, Any] | None] | None:
        """Returns (hash, resolved protocol, declared protocol), None before `declare`.

        Of a study that grew it is the last one.

        Raises:
            RecordsError: The hash is another protocol's.
        """
        found = self.protocols()
        return found[-1] if found else None

    def protocols(
        self,
    ) -> list[tuple[str, dict[str, Any], dict[str, Any] | None]]:
        """Returns what `protocol` does of each that was in force, in their order.

        Raises:
            RecordsError: A hash is another protocol's.
        """
        with self._explained(reading=True):
            rows = self._connection.execute(
                "SELECT hash, resolved, declared FROM study ORDER BY rowid"
            ).fetchall()
        if rows[1:] and not self.checked:
            raise self._damaged("its protocol cannot be read: there are several")
        return [self._protocol(*row) for row in rows]

    def _protocol(
        self, hash_: str, resolved_text: str, declared_text: str
    ) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
        try:
            resolved, declared = json.loads(resolved_text), json.loads(declared_text)
            found = digest(resolved)
            if hash_ == digest_before(resolved):
                found = hash_
        except UNREADABLE as error:
            raise self._damaged(f"its protocol cannot be read: {error}") from error
        if found != hash_:
            raise self._damaged(
                f"its protocol is not the one that was declared: its hash is"
                f" {found[:8]}, and {str(hash_)[:8]} was recorded"
            )
        return hash_, resolved, declared

    def add(self, runs: Sequence[tuple[Run, np.ndarray]]) -> None:
        """Records finished runs, all or none of them.

        Args:
            runs: Each run with what is sealed until the test set is opened: its
                predictions on the test inputs, or its test score where a trainer
                of the user's own has scored it.
        """
        details = [details_of(run) for run, _ in runs]
        with self._transaction():
            if self._version < EXPERIMENTS_SINCE and any(
                name in own for own in details for name in WITH_EXPERIMENTS
            ):
                self._connection.execute(f"PRAGMA user_version={EXPERIMENTS_SINCE}")
            self._insert(
                "runs",
                [
                    (
                        run.key,
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
                        packed_array(sealed),
                    )
                    for (run, sealed), own in zip(runs, details, strict=True)
                ],
            )

    def sealed(self) -> dict[str, np.ndarray]:
        """Returns what is sealed still, by the runs' keys."""
        with self._explained(reading=True):
            rows = self._connection.execute(
                "SELECT key, sealed FROM runs WHERE key NOT IN (SELECT key FROM scores)"
            ).fetchall()
        return {
            name: self._read(f"what is sealed of {name!r}", unpacked, blob)
            for name, blob in rows
        }

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
        if self.has_ended:
            raise StudyError(
                "a study that ended without its test set leaves it sealed",
                f"{self.folder} has ended",
                "Begin another study in another folder (--study).",
            )
        with self._transaction():
            self._insert(
                "scores",
                [
                    (name, test, None if examples is None else packed_array(examples))
                    for name, (test, examples) in sorted(scores.items())
                ],
            )
            self._event(OPENED, json.dumps(detail))

    def runs(self, *, per_example: bool = True) -> list[Run]:
        """Returns all runs, ordered by arm, configuration, seed and key.

        Args:
            per_example: Also read the test scores by example.
        """
        select = RUNS if per_example else RUNS.replace("scores.per_example", "NULL")
        with self._explained(reading=True):
            rows = self._connection.execute(select).fetchall()
        # Without checksums, damage may have left a row that can still be read.
        how = run_of if self.checked else checked_run
        return [
            self._read("the run " + "/".join(map(str, row[:3])), how, row)
            for row in rows
        ]

    def _read(self, name: str, how: Callable[[Any], Read], content: Any) -> Read:
        """Reads what lies in a store; before version 4 nothing else finds damage."""
        try:
            return how(content)
        except UNREADABLE as error:
            raise self._damaged(f"{name} cannot be read: {error}") from error

    def note(self, name: str, detail: str) -> None:
        """Records an event: it stands with its time in the store and on the page."""
        with self._transaction():
            self._event(name, detail)

    def _event(self, name: str, detail: str) -> None:
        self._insert("events", [(time.time(), name, detail)])

    def events(self) -> list[tuple[float, str, str]]:
        """Returns (time in seconds since 1970, name, detail) in order."""
        with self._explained(reading=True):
            rows = self._connection.execute(
                "SELECT time, name, detail FROM events ORDER BY rowid"
            ).fetchall()
        return [self._read(f"the event {row[1]!r}", _event, row) for row in rows]

    @property
    def openings(self) -> int:
        """How often the test labels have been used: once, or once at each look."""
        return sum(name == OPENED for _, name, _ in self.events())

    def end_unopened(self) -> None:
        """Records that the study has come to its end, once; the test set stays sealed.

        Raises:
            StudyError: It has been opened.
        """
        if self.test_is_open:
            raise StudyError(
                "a study that ends without its test set never opened it",
                f"the test set of {self.folder} has been opened",
                "Judge what it found: archtrial report writes its page.",
            )
        if not self.has_ended:
            self.note(ENDED, "{}")

    @property
    def has_ended(self) -> bool:
        """Whether it came to its end without the test set."""
        return any(name == ENDED for _, name, _ in self.events())

    def measure(self, name: str, found: Any) -> None:
        """Records what was measured beside the trainings, once.

        Args:
            name: Of what was measured.
            found: As JSON; numbers may be NaN or infinite.

        Raises:
            ValueError: It was measured before.
        """
        if name in self.measured():
            raise ValueError(f"{name!r} was measured before")
        self.note(MEASURED, json.dumps({"name": name, "found": found}))

    def measured(self) -> dict[str, Any]:
        """Returns what was measured beside the trainings, by name."""
        told = [json.loads(d) for _, name, d in self.events() if name == MEASURED]
        return {each["name"]: each["found"] for each in told}

    @property
    def test_is_open(self) -> bool:
        """Whether the test labels have been used."""
        return self.openings > 0


_WAY_OUT = (
    "Restore the folder from a copy, study.sqlite-wal with it if there is one. Without"
    " a copy, rename the folder and give the command that began the study again: the"
    " same protocol trains the same runs."
)


def _refused_lock(folder: Path) -> str | None:
    """Says why a folder's file system locks no file; None where it does.

    SQLite says "busy" of a lock that somebody holds and of one that cannot be had.
    """
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:  # Windows
        return None
    # Another file than the lock: closing that here would give up a lock of our own.
    probe = folder / f".lock-{uuid.uuid4().hex}"
    try:
        file = open(probe, "xb")  # noqa: SIM115 - a failure here is no refused lock
    except OSError:
        return None
    with file:
        probe.unlink()
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror
    return None


def _event(row: tuple[float, str, str]) -> tuple[float, str, str]:
    time_, name, detail = row
    if not isinstance(time_, float):
        raise TypeError(f"its time is {time_!r}")
    if name in ("began", OPENED, MEASURED) and not isinstance(json.loads(detail), dict):
        raise TypeError(f"its detail is {detail!r}")
    return row


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

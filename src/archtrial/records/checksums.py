"""Rows that say whether they are still what was written.

A row's checksum is the SHA-256 of its table's name, its number and its values; a
table's running checksum is that of the one before and the row's. A row that was
altered, lost, added, exchanged or taken from another store is found by them. They
guard against accidents and careless hands, not against somebody who computes them anew.
"""

import hashlib
import math
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["BEGINNING", "Faults", "following", "of_row", "stored", "verify"]

BEGINNING = bytes(32)
"""The running checksum of a table without rows."""

Faults = list[str]


def stored(value: Any) -> Any:
    """Returns a value as SQLite gives it back."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        # It has no NaN and no negative zero.
        return None if math.isnan(value) else float(value) + 0.0
    return value


def of_row(table: str, number: int, values: Sequence[Any]) -> bytes:
    """Returns the checksum of a row.

    Args:
        table: Where it stands.
        number: Its own, counted from 1.
        values: As SQLite gives them back: None, int, float, str or bytes.
    """
    found = hashlib.sha256(f"{table} {number}".encode())
    for value in values:
        kind, content = type(value).__name__, b""
        if isinstance(value, str):
            content = value.encode(errors="surrogateescape")
        elif isinstance(value, bytes):
            content = value
        elif isinstance(value, float):
            content = struct.pack(">d", value)
        elif value is not None:
            content = str(value).encode()
        found.update(f" {kind} {len(content)} ".encode())
        found.update(content)
    return found.digest()


def following(running: bytes, checksum: bytes) -> bytes:
    """Returns the running checksum of a table after one more row."""
    return hashlib.sha256(running + checksum).digest()


def verify(connection: sqlite3.Connection, tables: Sequence[str]) -> Faults:
    """Compares every row with its checksum and every table with its running one.

    Args:
        connection: To a store whose rows have them.
        tables: Their names; columns are a number, the values, the checksum.

    Returns:
        What is wrong, a sentence each; nothing where all is as it was written.
    """
    recorded = {
        name: (count, running)
        for name, count, running in connection.execute("SELECT * FROM checksums")
    }
    return [
        fault
        for table in tables
        for fault in _faults(connection, table, recorded.get(table))
    ]


def _faults(
    connection: sqlite3.Connection, table: str, recorded: tuple[Any, Any] | None
) -> Iterator[str]:
    if recorded is None:
        yield f"the running checksum of the table {table} is missing"
        return
    count, expected = recorded
    running, last, whole = BEGINNING, 0, True
    # Names come from the list of tables alone.
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY number")  # noqa: S608
    for number, *values, checksum in rows:
        if number != last + 1:
            whole = False
            missing = f"row {last + 1}"
            if number > last + 2:
                missing = f"rows {last + 1} to {number - 1}"
            yield f"{missing} of the table {table} is missing"
        last = number
        if of_row(table, number, values) != checksum:
            whole = False
            yield f"{_named(table, number, values)} was altered"
        elif whole:
            running = following(running, checksum)
    if last != count:
        yield f"the table {table} has {last} rows, and {count} were recorded"
    elif whole and running != expected:
        yield f"the rows of the table {table} are not those that were recorded"


def _named(table: str, number: int, values: Sequence[Any]) -> str:
    row = f"row {number} of the table {table}"
    named = {"runs": 0, "scores": 0, "events": 1}
    if table not in named:
        return f"the protocol ({row})"
    kind = {"runs": "the run", "scores": "the test score of", "events": "the event"}
    return f"{kind[table]} {str(values[named[table]])[:80]!r} ({row})"

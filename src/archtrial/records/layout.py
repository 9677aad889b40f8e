"""How a study's tables are laid out, and how a run becomes a row and is read back."""

import io
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.records.table import CurvePoint, Run

__all__ = [
    "CHECKED_SINCE",
    "COLUMNS",
    "EXPERIMENTS_SINCE",
    "RUNS",
    "SCHEMA",
    "TABLES",
    "TABLES_BEFORE",
    "UNREADABLE",
    "WITH_EXPERIMENTS",
    "as_text",
    "checked_run",
    "details_of",
    "packed_array",
    "run_of",
    "unpacked",
]

# 2: a run's details may hold its rung, look and tuner, which version 1 cannot read.
# 3: or a reading and measures, which version 2 cannot read.
# 4: rows have numbers and checksums; a study that grew has a row for each protocol; an
# experiment's runs may have coordinates of their own.
# A store keeps what it began with, so that the release that began it goes on reading
# it; one of version 1 or 2 becomes one of version 3 in the transaction that records an
# experiment's first run: older releases then say that they are too old for it, instead
# of failing on a word they do not know.
SCHEMA = 4
CHECKED_SINCE = 4
EXPERIMENTS_SINCE = 3

COLUMNS = {
    "study": "hash TEXT NOT NULL, resolved TEXT NOT NULL, declared TEXT NOT NULL",
    "runs": """key TEXT NOT NULL UNIQUE, arm TEXT NOT NULL, pair INTEGER NOT NULL,
    seed INTEGER NOT NULL, stage TEXT NOT NULL, validation REAL,
    diverged INTEGER NOT NULL, error TEXT, details TEXT NOT NULL,
    sealed BLOB NOT NULL""",
    "scores": "key TEXT NOT NULL UNIQUE, test REAL, per_example BLOB",
    "events": "time REAL NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL",
}
TABLES = (
    *(
        f"CREATE TABLE {name} (number INTEGER PRIMARY KEY, {columns},"
        " checksum BLOB NOT NULL)"
        for name, columns in COLUMNS.items()
    ),
    "CREATE TABLE checksums (name TEXT NOT NULL UNIQUE, count INTEGER NOT NULL,"
    " running BLOB NOT NULL)",
)
# As they were before version 4, to the letter.
TABLES_BEFORE = (
    """CREATE TABLE study (
    hash TEXT NOT NULL, resolved TEXT NOT NULL, declared TEXT NOT NULL
)""",
    """CREATE TABLE runs (
    key TEXT PRIMARY KEY, arm TEXT NOT NULL, pair INTEGER NOT NULL,
    seed INTEGER NOT NULL, stage TEXT NOT NULL, validation REAL,
    diverged INTEGER NOT NULL, error TEXT, details TEXT NOT NULL,
    sealed BLOB NOT NULL
)""",
    "CREATE TABLE scores (key TEXT PRIMARY KEY, test REAL, per_example BLOB)",
    """CREATE TABLE events (
    time REAL NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL
)""",
)

RUNS = """
SELECT arm, pair, seed, stage, validation, diverged, error, details,
    scores.key IS NOT NULL, test, scores.per_example
FROM runs LEFT JOIN scores USING (key) ORDER BY arm, pair, seed, key
"""
# What a run is beyond a random draw trained for the declared steps, and when: kept
# only where it differs from this.
_PLAIN: Mapping[str, Any] = {
    "rung": 1, "look": 1, "tuner": None, "reading": "last", "measures": {},
    "coordinates": {},
}  # fmt: skip
WITH_EXPERIMENTS = ("reading", "measures")


# What a damaged value raises, whatever was made of it.
UNREADABLE = (
    ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, zlib.error,
    OverflowError, MemoryError, RecursionError,
)  # fmt: skip
_COUNTED = ("flops", "parameters", "seconds")


def as_text(content: bytes) -> str:
    """Returns text as SQLite has it, damaged or not."""
    return content.decode(errors="surrogateescape")


def details_of(run: Run) -> dict[str, Any]:
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


def run_of(row: Sequence[Any]) -> Run:
    """Returns the run of a row that `RUNS` selects."""
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
        per_example=None if examples is None else unpacked(examples),
        diverged=bool(diverged),
        error=error,
        curve=curve,
        **details,
    )


def checked_run(row: Sequence[Any]) -> Run:
    """Returns the run of a row; TypeError where a value is of another kind."""
    run = run_of(row)
    for name, (value, kind) in {
        "arm": (run.arm, str),
        "pair": (run.pair, int),
        "seed": (run.seed, int),
        "stage": (run.stage, str),
        "validation": (run.validation, float),
        "test": (run.test, float | None),
        "error": (run.error, str | None),
        "configuration": (run.configuration, dict),
        **{name: (getattr(run, name), int | float) for name in _COUNTED},
        **{
            f"{name} of its curve": (value, int | float)
            for point in run.curve
            for name, value in vars(point).items()
        },
    }.items():
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}")
    return run


def packed_array(array: np.ndarray) -> bytes:
    """Returns an array as bytes, compressed."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return zlib.compress(file.getvalue(), 1)


def unpacked(blob: bytes) -> np.ndarray:
    """Returns the array that `packed_array` made bytes of."""
    array: np.ndarray = np.load(io.BytesIO(zlib.decompress(blob)), allow_pickle=False)
    return array

"""From sources to one table: the rows that count, and which arm each belongs to."""

import collections
import dataclasses
import itertools
import shlex
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records import configurations, endings, scores
from archtrial.records.columns import Columns, Wanted
from archtrial.records.rows import Table

__all__ = [
    "Gathered",
    "check_places",
    "condition_list",
    "gather",
    "only_elsewhere",
    "place_name",
    "split_source",
]


MOST_RUNS = 1_000_000
"""More are not one comparison's, and would not fit into memory as runs."""
_MOST_BESIDE = 64
"""Columns that nobody asked for are read, so many, to tell copies of a row."""
_COMPACT = 500_000
"""Rows of learning curves at a time, before all but the last step are let go."""


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The rows of one source, one a run, with the columns named by their role."""

    table: Table
    columns: Columns
    frame: pd.DataFrame
    rows: int
    arm: str | None
    notes: list[str]


_TEXTS = (
    "seed", "configuration", "pair", "run", "repeat", "status", "tuner", "data", "metric",
)  # fmt: skip


_RUNS_TABLE = {"Name", "State", "Created", "Runtime"}
"""W&B's table of runs: a row is a run, whose name need not be its alone."""


def only_elsewhere(wanted: Wanted, table: Table, tables: Sequence[Table]) -> set[str]:
    """Returns hyperparameters that were named, and that only other sources have."""
    return {
        name
        for name in wanted.hyperparameters or ()
        if name not in table.columns and any(name in t.columns for t in tables)
    }


def gather(
    name: str | None,
    place: str,
    table: Table,
    wanted: Wanted,
    conditions: Sequence[tuple[str, str]],
    count: int,
    elsewhere: Collection[str],
) -> Gathered:
    """Reads one source, and keeps the rows that count.

    Args:
        name: The arm that the user gave it; None where a column says it.
        place: Where it lies.
        table: Its rows.
        wanted: The columns that the user named.
        conditions: The column and the value that a row must have.
        count: How many sources there are.
        elsewhere: Hyperparameters that were named, and that only others have.
    """
    if name is not None and wanted.arm is not None:
        raise RecordsError(
            "an arm is a source's name or a column's value",
            f"{name}={place} and --arm {wanted.arm}",
            "Give one of the two.",
        )
    found = naming.find(
        table.columns, wanted, place=table.place, arm=name is None, elsewhere=elsewhere
    )
    if name is None and "arm" not in found.roles:
        if count == 1:
            raise RecordsError(
                "a table has a column that says which arm a run belongs to",
                f"{place} has {', '.join(table.columns[:12])}",
                "Name it: --arm COLUMN; or give one source for each arm:"
                " NAME=PATH NAME=PATH.",
            )
        name = place_name(place).split(".")[0]
    filters = [
        (naming.known(column, table.columns, "--where", table.place), value)
        for column, value in conditions
    ]
    asked = {
        role: c
        for role, c in found.roles.items()
        if c not in (naming.ROW, naming.SOURCE)
    }
    needed = list(
        dict.fromkeys(
            [*asked.values(), *found.hyperparameters, *(c for c, _ in filters)]
        )
    )
    rows = kept = 0
    frames: list[pd.DataFrame] = []
    unread = collections.Counter[tuple[str, str]]()
    beside = [n for n in found.unused if "[" not in n and not naming.counting(n)]
    beside = sorted(beside)[:_MOST_BESIDE]
    swept = ["Sweep"] if {"Name", "Sweep"} <= set(table.columns) else []
    read = list(dict.fromkeys([*needed, *found.flags, *beside, *swept]))
    of_curves = "step" in found.roles and not set(table.columns) >= _RUNS_TABLE
    for batch in table.batches(read):
        rows += len(batch)
        chosen = _chosen(batch, filters)
        frame = pd.DataFrame({role: chosen[column] for role, column in asked.items()})
        frame["beside"] = _hashed(chosen, beside)
        for column in found.hyperparameters:
            frame[configurations.HYPER + naming.short(column)] = chosen[column]
        for column in swept:
            frame["sweep"] = scores.texts(chosen[column])
        unread.update(_flagged(frame, chosen, found.flags))
        _placed(frame, found, table.place, name)
        frames.append(frame)
        kept += len(frame)
        if kept > _COMPACT and of_curves:
            frames = [_last_steps(pd.concat(frames))]
            kept = len(frames[0])
        if kept > MOST_RUNS:
            raise RecordsError(
                f"a comparison has up to {MOST_RUNS:,} runs",
                f"{table.place} has more",
                "Read a part of it: --where COLUMN=VALUE; or, if it holds learning"
                " curves, name their step: --step COLUMN.",
            )
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if not rows:
        raise RecordsError(
            "a table of runs has rows", f"{table.place} has a header alone"
        )
    if frame.empty:
        _no_row_left(table, filters)
    notes = list(table.notes)
    notes += [
        f"{column} is {word!r} in {count} rows, which says nothing of how a run ended,"
        f" and is passed over. If it does: {shlex.join(['--status-column', column])}."
        for (column, word), count in unread.most_common(3)
    ]
    if of_curves:
        before = len(frame)
        frame = _last_steps(frame)
        if len(frame) < before:
            notes.append(
                f"{table.place} holds learning curves: of the rows of a run the one of"
                f" the last {found.roles['step']} counts."
            )
    elif "run" in found.roles:
        _check_one_row_each(frame, found.roles["run"], table.place)
    return Gathered(table, found, frame, rows, name, notes)


def _flagged(
    frame: pd.DataFrame, chosen: pd.DataFrame, flags: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Adds how each run ended by the columns that say so beside its status.

    Yields:
        Each column and a word in it that says nothing of that.
    """
    for column in flags:
        cells = scores.texts(chosen[column])
        ended = endings.flagged(naming.short(column), cells)
        bad = endings.events(naming.short(column), cells)
        if bad is not None:
            frame[endings.EVENTS + column] = bad
        yield from (
            (column, word) for word in endings.unread(naming.short(column), cells)
        )
        before = frame.get("flagged", "")
        # One that failed failed, whatever another column says.
        frame["flagged"] = np.where(ended == "failed", ended, before)
        frame["flagged"] = np.where(frame["flagged"] == "", ended, frame["flagged"])


def _placed(frame: pd.DataFrame, found: Columns, place: str, name: str | None) -> None:
    """Adds where each row stands and whose it is; what names something becomes text."""
    frame["row"] = frame.index
    frame["source"] = place
    for role, column in found.roles.items():
        if column in (naming.ROW, naming.SOURCE):
            frame[role] = frame[column].astype(str)
    frame["arm"] = name if name is not None else scores.texts(frame["arm"])
    for role in _TEXTS:
        if role in frame:
            frame[role] = scores.texts(frame[role])
    if "status" in found.roles:
        name_of = naming.short(found.roles["status"])
        frame["status"] = endings.counted_status(name_of, frame["status"])


def _hashed(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Returns what tells a row from a copy of another: a number for all other cells."""
    texts = pd.DataFrame({name: rows[name].astype(str) for name in columns})
    if not columns:
        return np.zeros(len(rows), dtype=np.uint64)
    hashed: np.ndarray = pd.util.hash_pandas_object(texts, index=False).to_numpy()
    return hashed


def split_source(source: str) -> tuple[str | None, str]:
    """Splits [NAME=]PATH; what is there as a file is a path."""
    name, equals, place = source.partition("=")
    if not equals or Path(source).exists() or "/" in name or not name.strip():
        return None, source
    return scores.clean(name.strip()), place


def check_places(split: Sequence[tuple[str | None, str]]) -> None:
    """Raises a RecordsError where two names are given to the very same runs."""
    arms: dict[str, list[str]] = {}
    for name, place in split:
        if name is not None:
            arms.setdefault(name, []).append(place)
    for one, other in itertools.combinations(arms, 2):
        if arms[one] == arms[other]:
            raise RecordsError(
                "arms are different runs",
                f"{one} and {other} are both {', '.join(arms[one])}",
                "Where it holds the runs of several arms, name it alone, with --arm"
                " COLUMN for the column that tells them apart.",
            )


def place_name(place: str) -> str:
    """Returns what a place is called: its file, or its study of a tuner."""
    return place.rpartition("#")[2] if "#" in place else Path(place).name


def condition_list(where: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the column and the value of each `COLUMN=VALUE`."""
    conditions = []
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals or not column:
            raise RecordsError("--where is COLUMN=VALUE", repr(condition))
        conditions.append((column, value))
    return conditions


def values_of(
    tables: Sequence[Table], column: str, where: Sequence[str]
) -> tuple[list[str], int]:
    """Returns the values of a column, in the order of the rows; and rows without one.

    Args:
        tables: The sources.
        column: By its name, or as a path into cells.
        where: `COLUMN=VALUE` each: only rows that have it count.

    Raises:
        RecordsError: One has no such column, no row that counts, or more values than
            anybody compares.
    """
    conditions = condition_list(where)
    seen: dict[str, None] = {}
    without = 0
    for table in tables:
        found = naming.known(column, table.columns, "--each", table.place)
        filters = [
            (naming.known(name, table.columns, "--where", table.place), value)
            for name, value in conditions
        ]
        for batch in table.batches(list(dict.fromkeys([found, *dict(filters)]))):
            cells = scores.texts(_chosen(batch, filters)[found])
            told = [text for text in cells if text.strip().lower() not in _NO_PROBLEM]
            seen.update(dict.fromkeys(told))
            without += len(cells) - len(told)
            if len(seen) > _MOST_PROBLEMS:
                raise RecordsError(
                    f"--each names a column of up to {_MOST_PROBLEMS} problems",
                    f"{column} of {table.place} has more values",
                    "Name the column of the data sets, or of the workloads.",
                )
        if not seen and filters:
            _no_row_left(table, filters)
    if not seen:
        raise RecordsError(
            "--each names a column with values", f"{column} has none in any row"
        )
    return list(seen), without


_MOST_PROBLEMS = 200
_NO_PROBLEM = {*scores.MISSING, "<na>"}


def _chosen(batch: pd.DataFrame, filters: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Returns the rows that have all values; equal as text or as numbers."""
    for column, value in filters:
        cells = batch[column]
        same = scores.texts(cells) == value
        try:
            number = float(value)
        except ValueError:
            pass
        else:
            same |= pd.to_numeric(cells, errors="coerce") == number
        batch = batch[same.to_numpy()]
    return batch


def _no_row_left(table: Table, filters: Sequence[tuple[str, str]]) -> None:
    """Refuses filters that leave nothing, with what there is to choose from."""
    column = filters[-1][0]
    seen: dict[str, None] = {}
    for batch in table.batches([column]):
        seen.update(dict.fromkeys(scores.texts(batch[column])))
    near = get_close_matches(filters[-1][1], list(seen), 1)
    raise RecordsError(
        "--where leaves some rows",
        f"{table.place} has none with "
        + " and ".join(f"{name}={value}" for name, value in filters),
        f"Did you mean {column}={near[0]}?"
        if near
        else f"{column} is one of {', '.join(itertools.islice(seen, 12))}.",
    )


def _last_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns one row for each run: that of its last step."""
    identity = ["source", "arm"]
    identity += [
        r for r in ("run", "seed", "configuration", "pair", "repeat") if r in frame
    ]
    if identity == ["source", "arm"]:
        identity += [name for name in frame if name.startswith(configurations.HYPER)]
    if len(identity) == 2:
        return frame  # nothing tells rows apart: each is a run
    steps = scores.numbers(frame, "step")
    # Trackers write training and validation scores of a step in rows of their own:
    # the last row that has a score counts, and of a run without any its last one.
    texts = frame["validation"].astype(str).str.strip()
    scored = frame["validation"].notna() & (texts != "")
    frame = frame.assign(step=steps, scored=scored.to_numpy())
    order = frame.sort_values(
        ["scored", "step"], kind="stable", na_position="first"
    ).drop(columns="scored")
    keys = order[identity].astype(str)
    return order[~keys.duplicated(keep="last").to_numpy()].sort_index()


def _check_one_row_each(frame: pd.DataFrame, column: str, place: str) -> None:
    """Refuses a run in several rows, where the column's name says that it is an id."""
    if "id" not in naming.words(column):
        return
    ids = frame["run"]
    again = ids[ids.duplicated() & (ids != "")]
    if len(again):
        one = again.iloc[0]
        rows = frame.loc[(ids == one).to_numpy(), "row"]
        raise RecordsError(
            "every run stands in the table once",
            f"{place}: {column} {one!r} in row {rows.iloc[0]} and in row {rows.iloc[1]}",
            "If these are the steps of a learning curve, name theirs: --step COLUMN.",
        )

"""Somebody's runs before they are read: a stream of rows, and paths into their cells.

A column may be a path into nested values:

    learning_curve[-1].top_1    of the last element of a list
    config.optimizer.lr         of an object in an object
    learning_curve[best].top_1  the list of all; who reads it picks the best
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from archtrial.errors import RecordsError

__all__ = ["Table", "flat", "follow", "from_rows", "loads", "root"]

BATCH = 20_000
"""Rows at a time."""
MOST_DEPTH = 64
"""Objects in objects in one row; more are no run's, and would exhaust the stack."""
MOST_COLUMNS = 100_000
"""Names in one source; more are no table's."""
_LONGEST_INTEGER = 25
"""Digits of a whole number that is kept exact: seeds of 64 bits have 20."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Somebody's runs, not read yet."""

    kind: str
    """What it is, in a word or two: "CSV"."""
    place: str
    """Where it is, for messages."""
    columns: tuple[str, ...]
    batches: Callable[[Sequence[str]], Iterator[pd.DataFrame]]
    """From columns or paths to batches that have them, indexed by the row's number in
    the source, counted from 1. Values are text, numbers, lists or missing."""
    lower_is_better: bool | None = None
    """None where the source does not say."""
    not_random: str | None = None
    """Why its runs cannot be taken for independent draws; None where nothing says so."""
    notes: tuple[str, ...] = ()


def from_rows(
    kind: str,
    place: str,
    rows: Callable[[], Iterator[Mapping[str, Any]]],
    **facts: Any,
) -> Table:
    """Returns a table of rows with names; they are read once for their names.

    Args:
        kind: What it is, in a word or two.
        place: Where it is.
        rows: Yields the rows, from the first one on each time that it is called.
        facts: The other fields of `Table`.

    Raises:
        RecordsError: There is no row, or one cannot be read.
    """
    names: dict[str, None] = {}
    for row in rows():
        names.update(dict.fromkeys(flat(row, place)))
        if len(names) > MOST_COLUMNS:
            raise RecordsError(
                f"a table of runs has up to {MOST_COLUMNS:,} columns",
                f"{place} has more",
            )
    if not names:
        raise RecordsError("a table of runs has rows", f"{place} has none")

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        read: list[list[Any]] = []
        first = 1
        for row in rows():
            read.append([follow(column, row) for column in columns])
            if len(read) == BATCH:
                yield _framed(read, columns, first)
                first += len(read)
                read = []
        yield _framed(read, columns, first)

    return Table(kind, place, tuple(names), batches, **facts)


def _framed(
    rows: Sequence[Sequence[Any]], columns: Sequence[str], first: int
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            # As objects: what a cell is, each reader decides for its own column.
            column: pd.Series([row[i] for row in rows], dtype=object)
            for i, column in enumerate(columns)
        },
        index=range(len(rows)),
    ).set_axis(range(first, first + len(rows)))


def flat(value: Any, place: str = "", name: str = "", depth: int = 0) -> Iterator[str]:
    """Yields the paths to all plain values, of lists to those of the last element.

    Raises:
        RecordsError: Objects lie too deep in one another.
    """
    if depth > MOST_DEPTH:
        raise RecordsError(
            f"objects of a run lie up to {MOST_DEPTH} deep in one another",
            f"{place} has deeper ones",
        )
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = f"{name}.{key}" if name else str(key)
            yield from flat(inner, place, path, depth + 1)
    elif isinstance(value, list):
        if value:
            yield from flat(value[-1], place, f"{name}[-1]", depth + 1)
    else:
        yield name


# --- JSON text -------------------------------------------------------------------


def loads(text: str) -> Any:
    """Returns the value of a JSON text; of halves of a character nothing is left.

    Raises:
        ValueError: It is no JSON, is nested too deep, or has a name twice.
    """
    try:
        value = json.loads(text, parse_int=_integer, object_pairs_hook=_once)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            value = _whole(value)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has {twice[:60]!a} twice")
    return read


def _whole(value: Any) -> Any:
    """Replaces halves of a character, which no file and no terminal can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value


# --- paths -----------------------------------------------------------------------


_STEP = re.compile(r"\[(-?\d{1,9}|best)\]|\.?([^.\[\]]+)")


def root(path: str) -> str:
    """Returns the column that a path begins with."""
    return re.split(r"[.\[]", path)[0]


def follow(path: str, value: Any) -> Any:
    """Returns what lies at a path in a nested value; None where it leads nowhere.

    After `[best]` it is the list of what lies at the rest of the path in each element.

        >>> follow("curve[-1].top_1", {"curve": [{"top_1": .1}, {"top_1": .3}]})
        0.3
        >>> follow("curve[best].top_1", {"curve": [{"top_1": .1}, {"top_1": .3}]})
        [0.1, 0.3]
        >>> follow("curve[-1].top_1", {"curve": []}) is None
        True

    Raises:
        RecordsError: The path cannot be read.
    """
    if isinstance(value, Mapping) and path in value:  # a name with a dot in it
        return value[path]
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise RecordsError(
                "a path is names and places in lists, such as curve[-1].accuracy",
                repr(path),
            )
        at = step.end()
        index, name = step.groups()
        if name is not None:
            if not isinstance(value, Mapping) or name not in value:
                # Names with dots in them, as "val/acc.top" in an object.
                rest = path[step.start() :].removeprefix(".")
                return (
                    value[rest]
                    if isinstance(value, Mapping) and rest in value
                    else None
                )
            value = value[name]
        elif not isinstance(value, list):
            return None
        elif index == "best":
            rest = path[at:].removeprefix(".")
            return [follow(rest, each) if rest else each for each in value]
        elif not -len(value) <= int(index) < len(value):
            return None
        else:
            value = value[int(index)]
    return value

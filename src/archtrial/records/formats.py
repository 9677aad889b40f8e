"""Files of runs as a stream of tables with the columns that are asked for.

Nothing is loaded whole: a file is read in batches, and of each batch only the columns
that somebody needs. A column may be a path into nested values:

    learning_curve[-1].top_1    of the last element of a list
    config.optimizer.lr         of an object in an object
    learning_curve[best].top_1  the list of all; who reads it picks the best

Every column may also be text that is JSON, as trackers write into a CSV.
"""

import csv
import dataclasses
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from archtrial.errors import RecordsError

__all__ = ["Table", "follow", "open_file"]

_BATCH = 20_000
"""Rows of JSON or Parquet at a time."""
_BLOCK = 8 << 20
"""Bytes of CSV at a time."""


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


def open_file(path: Path) -> Table:
    """Opens a CSV, a Parquet file or JSON lines, compressed by gzip or not.

    Raises:
        RecordsError: There is no such file, it is empty, or of another kind.
    """
    if path.is_dir():
        raise RecordsError("runs are read from a file", f"{path} is a folder")
    if not path.exists():
        raise RecordsError("there is no such file", str(path))
    if path.stat().st_size == 0:
        raise RecordsError("a table of runs has a header and rows", f"{path} is empty")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if kind in (".csv", ".tsv", ".txt"):
        return _open_csv(path)
    if kind in (".jsonl", ".ndjson", ".json"):
        return _open_json(path)
    if kind in (".parquet", ".pq"):
        return _open_parquet(path)
    raise RecordsError(
        "runs are read from .csv, .jsonl, .json (also .gz) or .parquet, from an Optuna"
        " storage (sqlite:///FILE#STUDY or a .journal or .log file) or from a study's"
        " folder",
        str(path),
        "Give the file the ending of what it is.",
    )


# --- CSV -------------------------------------------------------------------------


def _open_csv(path: Path) -> Table:
    try:
        with _stream(path) as file:
            head = file.readline()
        delimiter = max(",;\t", key=head.count) if head else ","
        names = next(csv.reader([head.rstrip("\r\n")], delimiter=delimiter))
        _check_quotes(path)
    except UnicodeError as error:
        raise _not_utf8(path, error) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise RecordsError(
            "a table of runs is a whole CSV in UTF-8", f"{path}: {error}"
        ) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecordsError(
            "every column has a name of its own", f"{path} has {twice[0]!r} twice"
        )

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        roots = [column if column in names else _root(column) for column in columns]
        wanted = list(dict.fromkeys(roots))
        try:
            with pa.csv.open_csv(
                path,
                read_options=pa.csv.ReadOptions(block_size=_BLOCK),
                parse_options=pa.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True
                ),
                # Text, so that what is no number can be shown as it stands there.
                convert_options=pa.csv.ConvertOptions(
                    column_types={name: pa.string() for name in wanted},
                    include_columns=wanted,
                ),
            ) as reader:
                yield from _batches(
                    ((batch.to_pandas(), batch.num_rows) for batch in reader),
                    columns,
                    roots,
                )
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error):
                raise _not_utf8(path, error) from None
            raise RecordsError(
                "every row has a value for every column",
                f"{path}: {_plain(error)}",
                "The file may have been cut off.",
            ) from None
        except OSError as error:
            raise RecordsError(
                "a table of runs is a whole CSV", f"{path}: {error}"
            ) from None

    return Table("CSV", str(path), tuple(names), batches)


def _check_quotes(path: Path) -> None:
    """Refuses a file whose last quote is open: it swallows all that follows it."""
    quotes = 0
    with _bytes(path) as file:
        while block := file.read(_BLOCK):
            quotes += block.count(b'"')
    if quotes % 2:
        raise csv.Error("a quote is left open")


def _not_utf8(path: Path, error: Exception) -> RecordsError:
    return RecordsError(
        "a table of runs is a CSV in UTF-8",
        f"{path}: {_plain(error)}",
        "Export it again as UTF-8; a spreadsheet calls it 'CSV UTF-8'.",
    )


def _plain(error: Exception) -> str:
    """Returns the part of a reader's message that a user can act on."""
    return re.sub(r"^CSV parse error: ", "", str(error)).splitlines()[0][:200]


# --- Parquet ---------------------------------------------------------------------


def _open_parquet(path: Path) -> Table:
    try:
        names = tuple(pa.parquet.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise RecordsError(
            "a .parquet file is whole", f"{path}: {_plain(error)}"
        ) from None

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        roots = [column if column in names else _root(column) for column in columns]
        wanted = list(dict.fromkeys(roots))
        try:
            with pa.parquet.ParquetFile(path) as file:
                yield from _batches(
                    (
                        (pd.DataFrame(batch.to_pydict()), batch.num_rows)
                        for batch in file.iter_batches(_BATCH, columns=wanted)
                    ),
                    columns,
                    roots,
                )
        except (pa.ArrowInvalid, OSError) as error:
            raise RecordsError(
                "a .parquet file is whole", f"{path}: {_plain(error)}"
            ) from None

    return Table("Parquet", str(path), names, batches)


def _batches(
    tables: Iterator[tuple[pd.DataFrame, int]],
    columns: Sequence[str],
    roots: Sequence[str],
) -> Iterator[pd.DataFrame]:
    """Yields tables with paths followed, rows numbered on from table to table."""
    before = 0
    for table, rows in tables:
        yield pd.DataFrame(
            {
                column: table[column].array
                if column == root
                else [follow(column, {root: _loaded(cell)}) for cell in table[root]]
                for column, root in zip(columns, roots, strict=True)
            },
            index=range(before + 1, before + rows + 1),
        )
        before += rows


def _loaded(cell: Any) -> Any:
    """Returns the value of a cell whose text is JSON; None of any other text."""
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return None


# --- JSON ------------------------------------------------------------------------


def _open_json(path: Path) -> Table:
    names: dict[str, None] = {}
    for row in _rows(path):
        names.update(dict.fromkeys(_flat(row)))
    if not names:
        raise RecordsError("a table of runs has rows", f"{path} has none")

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        read: list[list[Any]] = []
        first = 1
        for row in _rows(path):
            read.append([follow(column, row) for column in columns])
            if len(read) == _BATCH:
                yield _framed(read, columns, first)
                first += len(read)
                read = []
        yield _framed(read, columns, first)

    return Table("JSON lines", str(path), tuple(names), batches)


def _framed(
    rows: Sequence[Sequence[Any]], columns: Sequence[str], first: int
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            # As objects: what a cell is, each reader decides for its own column.
            column: pd.Series([row[i] for row in rows], dtype=object)
            for i, column in enumerate(columns)
        }
    ).set_axis(range(first, first + len(rows)))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the objects of a file: one a line, or the elements of one array."""
    try:
        with _stream(path) as file:
            begins = file.read(64).lstrip()[:1]
            file.seek(0)
            if begins == "[":
                yield from (
                    _object(path, i, v) for i, v in enumerate(json.load(file), 1)
                )
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(path, number, json.loads(line))
    except UnicodeError as error:
        raise RecordsError("JSON lines are UTF-8", f"{path}: {_plain(error)}") from None
    except json.JSONDecodeError as error:
        where = "" if begins == "[" else f", line {number}"
        raise RecordsError(
            "every line is one whole JSON object",
            f"{path}{where}: {error}",
            "The file may have been cut off.",
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise RecordsError("a file of runs is whole", f"{path}: {error}") from None


def _object(path: Path, number: int, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecordsError(
            "every run is a JSON object with names and values",
            f"{path}, line {number}: {str(value)[:60]!r}",
        )
    return value


def _flat(value: Any, name: str = "") -> Iterator[str]:
    """Yields the paths to all plain values, of lists to those of the last element."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        if value:
            yield from _flat(value[-1], f"{name}[-1]")
    else:
        yield name


# --- paths -----------------------------------------------------------------------


_STEP = re.compile(r"\[(-?\d+|best)\]|\.?([^.\[\]]+)")


def _root(path: str) -> str:
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
                return None
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


# --- bytes and text --------------------------------------------------------------


def _bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _stream(path: Path) -> Any:
    """Opens a file as text; gzip has its own reader, a mark at the start is skipped."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")

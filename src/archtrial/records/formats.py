"""Files of runs as a stream of tables with the columns that are asked for.

Nothing is loaded whole: a file is read in batches, and of each batch only the columns
that somebody needs. Every cell may also be text that is JSON, as trackers write into a
CSV; a path leads into it.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from archtrial.errors import RecordsError
from archtrial.records import packed
from archtrial.records.json_layouts import open_json
from archtrial.records.rows import Table, follow, loads, root

__all__ = ["ENDINGS", "Table", "follow", "open_file"]

ENDINGS = (
    ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq",
)  # fmt: skip
"""Of files that are read."""
_BATCH = 20_000
"""Rows of Parquet at a time."""
_BLOCK = 8 << 20
"""Bytes of CSV at a time."""
_SAMPLE = 1000
"""Lines from which is told how a CSV is written."""
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d*),\d+([eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def open_file(path: Path) -> Table:
    """Opens a CSV, a Parquet file or JSON, packed by gzip or zip or not.

    Raises:
        RecordsError: There is no such file, it is empty, damaged, or of another kind.
    """
    if path.is_dir():
        raise RecordsError("runs are read from a file", f"{path} is a folder")
    if not path.exists():
        raise RecordsError("there is no such file", str(path))
    if not path.is_file():
        raise RecordsError("runs are read from a file", f"{path} is a device")
    if path.stat().st_size == 0:
        raise RecordsError("a table of runs has a header and rows", f"{path} is empty")
    name = packed.content_name(path)
    # The last ending that says something: "runs.csv.bak" is a CSV.
    kind = next((s for s in reversed(Path(name.lower()).suffixes) if s in ENDINGS), "")
    if kind in (".csv", ".tsv", ".txt"):
        return _open_csv(path)
    if kind in (".jsonl", ".ndjson", ".json"):
        return open_json(path)
    if kind in (".parquet", ".pq") and path.suffix.lower() not in (".gz", ".zip"):
        return _open_parquet(path)
    raise RecordsError(
        "runs are read from .csv, .tsv, .jsonl, .json (also in .gz or .zip) or"
        " .parquet, from a tracker's folder or database, from an Optuna storage"
        " (sqlite:///FILE#STUDY or a .journal or .log file) or from a study's folder",
        str(path),
        "Give the file the ending of what it is.",
    )


# --- CSV -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Dialect:
    delimiter: str
    names: tuple[str, ...]
    skipped: int
    """Lines before that of the names."""
    comma: bool
    """Whether 1,5 is one and a half."""


def _open_csv(path: Path) -> Table:
    try:
        dialect = _dialect(path)
        _check_bytes(path)
    except UnicodeError as error:
        raise _not_utf8(path, error) from None
    except csv.Error as error:
        raise RecordsError(
            "a table of runs is a whole CSV in UTF-8", f"{path}: {error}"
        ) from None
    names = dialect.names
    _check_names(path, names)

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        roots = [column if column in names else root(column) for column in columns]
        wanted = list(dict.fromkeys(roots))
        try:
            with (
                packed.opened(path) as file,
                pa.csv.open_csv(
                    pa.PythonFile(file, mode="r"),
                    read_options=pa.csv.ReadOptions(
                        block_size=_BLOCK, skip_rows=dialect.skipped
                    ),
                    parse_options=pa.csv.ParseOptions(
                        delimiter=dialect.delimiter, newlines_in_values=True
                    ),
                    # Text, so that what is no number can be shown as it stands there.
                    convert_options=pa.csv.ConvertOptions(
                        column_types={name: pa.string() for name in wanted},
                        include_columns=wanted,
                    ),
                ) as reader,
            ):
                yield from _batches(
                    ((batch.to_pandas(), batch.num_rows) for batch in reader),
                    columns,
                    roots,
                    comma=dialect.comma,
                )
        except pa.ArrowException as error:
            if "UTF8" in str(error):
                raise _not_utf8(path, error) from None
            raise RecordsError(
                "every row has a value for every column",
                f"{path}: {_plain(error)}",
                "The file may have been cut off.",
            ) from None

    notes = (f"{path}: 1,5 is read as 1.5.",) if dialect.comma else ()
    return Table("CSV", str(path), names, batches, notes=notes)


def _dialect(path: Path) -> _Dialect:
    """Reads how a CSV is written from its first lines."""
    lines: list[str] = []
    with packed.text(path) as file:
        while len(lines) < _SAMPLE and (line := file.readline(_BLOCK)):
            lines.append(line)
    skipped = 0
    while len(lines) > skipped + 1 and _is_comment(lines[skipped], lines[skipped + 1]):
        skipped += 1
    while len(lines) > skipped + 1 and not lines[skipped].strip():
        skipped += 1
    head = lines[skipped] if lines else ""
    delimiter = max(",;\t|", key=head.count)
    rows = list(csv.reader(lines[skipped:], delimiter=delimiter))
    names = tuple(rows[0]) if rows else ()
    cells = [cell.strip() for row in rows[1:] for cell in row]
    return _Dialect(delimiter, names, skipped, delimiter != "," and _commas(cells))


def _is_comment(line: str, after: str) -> bool:
    return line.startswith("#") and (
        after.startswith("#")
        or all(
            line.count(mark) != after.count(mark) for mark in ",;\t|" if mark in after
        )
    )


def _commas(cells: Sequence[str]) -> bool:
    """Says whether the decimal mark is a comma: some cell can mean nothing else."""
    plain = any(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", cell) for cell in cells)
    found = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    # "1,234" alone may be a thousand; "0,123", "1,5" and "3,4e-05" may not.
    sure = any(not re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in found)
    return sure and not plain


def _check_bytes(path: Path) -> None:
    """Refuses a file whose last quote is open: it swallows all that follows it."""
    quotes = 0
    with packed.opened(path) as file:
        while block := file.read(_BLOCK):
            quotes += block.count(b'"')
            if b"\0" in block:
                raise csv.Error("it has zero bytes, which no text has")
    if quotes % 2:
        raise csv.Error("a quote is left open")


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuses a first line that holds no names, or one twice."""
    if not any(name.strip() for name in names):
        raise RecordsError(
            "the first line of a table of runs has the columns' names",
            f"that of {path} is empty",
        )
    if _is_row(names):
        shown = ",".join(names)[:60]
        raise RecordsError(
            "the first line of a table of runs has the columns' names",
            f"that of {path} looks like a run: {shown!a}",
            "Write the names above it, such as model,lr,seed,val_acc.",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecordsError(
            "every column has a name of its own", f"{path} has {twice[0]!a} twice"
        )
    charted = [name for name in names[1:] if re.search(r"\S - \S", name)]
    if len(names) > 2 and len(charted) == len(names) - 1:
        run, _, metric = charted[0].rpartition(" - ")
        raise RecordsError(
            "a table of runs tells each run's arm and hyperparameters",
            f"{path} is the export of a chart: it has {metric!a} of {run!a} along"
            f" {names[0]!a}, and no more",
            "Export the table of runs: in W&B open the project's Runs table, Download,"
            " CSV.",
        )


def _is_row(names: Sequence[str]) -> bool:
    """Says whether what should be names are the values of a run."""
    said = [name.strip() for name in names if name.strip()]
    numbers = [name for name in said if _NUMBER.fullmatch(name)]
    if any(re.search(r"[.,eE]", name) for name in numbers):
        return True
    if any(re.match(r"\d{4}-\d\d-\d\d([T ]\d|$)", name) for name in said):
        return True
    return 2 * len(numbers) >= len(said) and len(numbers) > 0


def _not_utf8(path: Path, error: Exception) -> RecordsError:
    return RecordsError(
        "a table of runs is a CSV in UTF-8",
        f"{path}: {_plain(error)}",
        "Export it again as UTF-8; a spreadsheet calls it 'CSV UTF-8'.",
    )


def _plain(error: Exception) -> str:
    """Returns the part of a reader's message that a user can act on."""
    return re.sub(
        r"^CSV parse error: ", "", str(error) or type(error).__name__
    ).splitlines()[0][:200]


# --- Parquet ---------------------------------------------------------------------


_DAMAGED = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What a reader may say of bytes that are no Parquet."""


def _open_parquet(path: Path) -> Table:
    try:
        with pa.parquet.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            described = file.metadata
            size = sum(
                described.row_group(i).total_byte_size
                for i in range(described.num_row_groups)
            )
    except _DAMAGED as error:
        raise RecordsError(
            "a .parquet file is whole", f"{path}: {_plain(error)}"
        ) from None
    if not 0 <= size <= packed.MOST_UNPACKED:
        raise RecordsError(
            f"a .parquet file holds up to {packed.MOST_UNPACKED >> 30} GiB",
            f"{path} says that it holds {size} bytes",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecordsError(
            "every column has a name of its own", f"{path} has {twice[0]!a} twice"
        )

    def batches(columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        roots = [column if column in names else root(column) for column in columns]
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
        except _DAMAGED as error:
            raise RecordsError(
                "a .parquet file is whole", f"{path}: {_plain(error)}"
            ) from None

    return Table("Parquet", str(path), names, batches)


def _batches(
    tables: Iterator[tuple[pd.DataFrame, int]],
    columns: Sequence[str],
    roots: Sequence[str],
    comma: bool = False,
) -> Iterator[pd.DataFrame]:
    """Yields tables with paths followed, rows numbered on from table to table."""
    before = 0
    for table, rows in tables:
        if comma:
            table = table.map(_with_point)
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


def _with_point(cell: Any) -> Any:
    if isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell.strip()):
        return cell.replace(".", "").replace(",", ".")
    return cell


def _loaded(cell: Any) -> Any:
    """Returns the value of a cell whose text is JSON; None of any other text."""
    if not isinstance(cell, str):
        return cell
    try:
        return loads(cell)
    except ValueError:
        return None

"""From a path to the reader of its format; tables. No reader unpickles."""

import dataclasses
import difflib
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from archtrial.data.arrays import is_folder_of_arrays, read_npy, read_npz
from archtrial.data.cells import Notation
from archtrial.data.content import Reading, check_size, damaged, text_of
from archtrial.data.dataset import Dataset, TargetError, assemble, repeats
from archtrial.data.delimited import listing, parse, without_indices
from archtrial.data.idx import NAME as IDX_NAME
from archtrial.data.idx import read_idx
from archtrial.data.images import read_folder
from archtrial.data.series import is_ucr, read_ts, read_ucr
from archtrial.data.tables import Column, columns_of, columns_of_texts
from archtrial.errors import DataError, asked_together

__all__ = ["read"]

_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".psv")
_TABLES = (*_TEXTS, ".parquet", *(f"{e}{z}" for e in _TEXTS for z in (".gz", ".zip")))


_OF_ARRAYS = (read_npz, read_npy, read_idx)
_OF_SERIES = (read_ts, read_ucr, read_npz, read_npy)


def read(path: Path, told: Reading) -> Dataset:
    """Reads a file or folder in the format that its name says.

    Args:
        path: What exists.
        told: What the user says of it.

    Raises:
        DataError: The format is unknown or the content cannot be used.
    """
    shown = path.resolve().name
    if not shown.isprintable():
        raise DataError(
            "the name of a data file has printable characters alone",
            ascii(shown),
            "Rename it.",
        )
    try:
        reader = _reader_of(path)
        _check_told(path, reader, told)
        return reader(path, told)
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(
            "data are a file or folder that can be read", str(error)
        ) from error
    except MemoryError as error:
        raise DataError(
            "data fit into memory",
            f"{path.name} does not",
            "Use fewer examples; of arrays and images also a smaller --memory: what is"
            " larger stays in files.",
        ) from error


def _check_told(path: Path, reader: Callable[..., Dataset], told: Reading) -> None:
    """Refuses what does not go with the format."""
    if reader is not _read_table and told.target is not None:
        raise DataError(
            "target names a column of a table (.csv, .parquet)",
            f"{told.target!r} for {path.name}",
            "Leave it out: these data bring their targets.",
        )
    of_texts = reader is _read_table
    for name in ("decimal", "dates", "categorical"):
        value = getattr(told, name)
        if value and not of_texts:
            shown = listing(list(value)) if isinstance(value, tuple) else value
            raise DataError(
                f"{name} is for tables of texts", f"{shown} for {path.name}",
                "Leave it out.",
            )  # fmt: skip
    if told.lengths is not None and reader not in _OF_SERIES:
        raise DataError(
            "lengths is for series (.ts, .tsv of the UCR archive, .npz, .npy)",
            f"{told.lengths} for {path.name}",
            "Leave it out.",
        )
    if told.channels is not None and reader not in _OF_ARRAYS:
        raise DataError(
            "channels is for arrays of three or four dimensions (.npz, .npy, IDX)",
            f"{told.channels} for {path.name}",
            "Leave it out.",
        )


def _reader_of(path: Path) -> Callable[..., Dataset]:
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir())
        if any(IDX_NAME.search(name) for name in names):
            return read_idx
        if any(name.endswith(".ts") for name in names):
            return read_ts
        if any(is_ucr(Path(name)) for name in names):
            return read_ucr
        if is_folder_of_arrays(path):
            return read_npy
        _check_folder(path, names)
        return read_folder
    if not path.is_file():
        raise DataError("data are a file or a folder", f"{path.name} is neither")
    if path.stat().st_size == 0:
        raise DataError("a data file holds something", f"{path.name} is empty")
    if IDX_NAME.search(path.name):
        return read_idx
    if is_ucr(path):
        return read_ucr
    name = path.name.lower()
    if name.endswith(_TABLES):
        return _read_table
    if name.endswith(".npz"):
        return read_npz
    if name.endswith(".npy"):
        return read_npy
    if name.endswith(".ts"):
        return read_ts
    raise DataError(
        "data files end in .npz, .npy, .csv, .tsv, .txt (also .gz and .zip), .parquet, .ts or"
        " idx?-ubyte",
        path.name,
        {
            ".pkl": "Pickles can run code and are never loaded: save the arrays with"
            " numpy.savez('data.npz', x=x, y=y).",
            ".xlsx": "Save the sheet as .csv.",
            ".zip": "Unpack it, and give the path of the file or folder.",
        }.get(path.suffix.lower(), "Save arrays as .npz and tables as .csv."),
    )


def _check_folder(path: Path, names: list[str]) -> None:
    """Says which file is meant where a folder holds data files and no folder."""
    readable = [n for n in names if n.lower().endswith((".npz", *_TABLES))]
    if readable and not any((path / name).is_dir() for name in names):
        raise DataError(
            "a folder of data holds a folder of images for each class",
            f"{path.name} holds {listing(readable)}",
            f"Give the path of the file: {path / readable[0]}.",
        )


# --- .csv and .parquet ----------------------------------------------------------------


def _read_table(path: Path, told: Reading) -> Dataset:
    kept = [name for name in (told.target, told.groups, *told.categorical) if name]
    if path.name.lower().endswith(".parquet"):
        columns, notes = _parquet_columns(path, told, kept)
        title = _find_target(path, [c.name for c in columns], told.target)
    else:
        table, separator, notes = parse(text_of(path), path.name)
        table, remarks = without_indices(table, kept, path.name)
        if not table:
            raise DataError(
                "a table has at least one column besides the target",
                "none that says anything",
                " ".join(remarks),
            )
        notation = Notation(told.decimal, told.dates, separator, told.categorical)
        columns, notes, title = (), [*notes, *remarks], ""
        with asked_together() as step:
            with step():
                title = _find_target(path, list(table), told.target)
            with step():
                columns = columns_of_texts(table, notation)
            if title and not columns:
                with step():
                    alone = columns_of_texts({title: table[title]}, notation)
                    _as_target(alone[0], told.task)
    _check_columns(path, "categorical", told.categorical, [c.name for c in columns])
    goal = next(column for column in columns if column.name == title)
    inputs = tuple(column for column in columns if column is not goal)
    if not inputs:
        raise DataError(
            "a table has at least one column besides the target",
            f"only {goal.name!r} in {path.name}",
            " ".join(notes),
        )
    if told.target is None:
        notes.append(f"Target: {goal.name}, the last column.")
    goal = _as_target(goal, told.task)
    for column in columns:
        notes += column.notes
    missing = goal.missing
    if missing.all():
        raise DataError("the target has values", f"column {goal.name!r} is empty")
    if missing.any():
        kept_rows = np.flatnonzero(~missing)
        inputs = tuple(c.take(kept_rows) for c in inputs)
        goal = goal.take(kept_rows)
        rows = "1 row" if missing.sum() == 1 else f"{missing.sum()} rows"
        notes.append(f"Dropped, since the target is missing: {rows}.")
    values = goal.values
    return assemble(
        path.name,
        inputs,
        values if goal.is_number else values.astype(str),
        kind="table",
        task=told.task,
        notes=tuple(notes),
    )


def _as_target(goal: Column, task: str | None) -> Column:
    """Returns the target as what the task takes it for.

    Raises:
        DataError: Among its numbers are words that may be classes or missing.
    """
    if goal.texts is None:
        return goal
    if task == "classification":
        return dataclasses.replace(goal, values=goal.texts, texts=None)
    if goal.doubtful and task is None:
        word, count = next(iter(goal.doubtful.items()))
        raise TargetError(
            "the target holds numbers throughout or texts throughout",
            f"{sum(goal.doubtful.values())} texts among numbers in column {goal.name!r},"
            f" such as {word[:40]!r} ({count})",
            "Empty those cells, or say what they are: --task regression drops their rows"
            + (
                ", --task classification makes them classes"
                if repeats(goal.texts[~goal.missing])
                else ""
            ),
        )
    distinct = {text for text in goal.texts.tolist() if text is not None}
    if not goal.doubtful and task is None and len(distinct) <= 20 and not goal.date:
        whole = [text for text in distinct if re.fullmatch(r"[+-]?\d{16,}", text)]
        if len(whole) == len(distinct):
            # A float would not hold their names.
            return dataclasses.replace(goal, values=goal.texts, texts=None)
    return goal


def _parquet_columns(
    path: Path, told: Reading, kept: list[str]
) -> tuple[tuple[Column, ...], list[str]]:
    import pyarrow.parquet as parquet

    try:
        about = parquet.read_metadata(path)
        cells = about.num_rows * max(1, about.num_columns)
        stored = sum(
            about.row_group(i).total_byte_size for i in range(about.num_row_groups)
        )
    # What pyarrow raises has a dozen classes, some of them Python's own.
    except Exception as error:
        raise damaged(path, error) from error
    check_size(f"{about.num_rows} rows of {about.num_columns} columns", 8 * cells)
    check_size(f"the columns of {path.name}", stored)
    try:
        table = parquet.read_table(path)
        table.validate(full=True)  # such as texts that are no UTF-8
        frame = table.to_pandas()
    except Exception as error:
        raise damaged(path, error) from error
    if frame.empty:
        raise DataError("a table has rows", f"{path.name} has none")
    labels = [str(label) for label in frame.columns]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DataError(
            f"the columns of {path.name} have names that differ", f"{twice[0]!r} twice"
        )
    frame.columns = labels
    # Only whole numbers and texts can number or name the rows.
    texts = {
        label: frame[label].astype(str).tolist()
        for label in labels
        if frame[label].dtype.kind in "iuO" or str(frame[label].dtype) == "str"
    }
    rest, notes = without_indices(texts, kept, path.name)
    if frame.index.name is not None or frame.index.nlevels > 1:
        names = [str(name) for name in frame.index.names if name is not None]
        notes.append(f"Left out, the index of the table: {listing(names)}.")
    frame = frame[[label for label in labels if label not in texts or label in rest]]
    if frame.empty:
        raise DataError(
            "a table has at least one column besides the target",
            "none",
            " ".join(notes),
        )
    notation = Notation(told.decimal, told.dates, "", told.categorical)
    return columns_of(frame, notation), notes


# What people call the column that is to be predicted, in lower case.
_TARGETS = ("target", "label", "labels", "class", "y", "outcome", "response")


def _find_target(path: Path, names: list[str], target: str | None) -> str:
    if target is None:
        called = [name for name in names if name.lower() in _TARGETS]
        if called and names[-1] not in called:
            raise DataError(
                f"the target of {path.name} is its last column, unless another is called"
                " so",
                f"{names[-1]!r} is the last, and there is {listing(called)}",
                f"Say which: --target {shlex.quote(called[0])} or --target"
                f" {shlex.quote(names[-1])} (in a protocol, target = ...).",
            )
        return names[-1]
    _check_columns(path, "target", [target], names)
    return target


def _check_columns(
    path: Path, what: str, named: Iterable[str], names: list[str]
) -> None:
    missing = next((name for name in named if name not in names), None)
    if missing is None:
        return
    near = difflib.get_close_matches(missing, names, 3, cutoff=0.5)
    raise DataError(
        f"{what} names a column of {path.name}",
        f"there is no {missing!r}",
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"The columns are {listing(names, 12)}.",
    )

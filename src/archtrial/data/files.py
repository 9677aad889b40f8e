"""From a path to the reader of its format; tables. No reader unpickles."""

import dataclasses
import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial.data.arrays import (
    is_folder_of_arrays,
    read_npy,
    read_npz,
    shape_of_inputs,
)
from archtrial.data.cells import Notation
from archtrial.data.content import Reading, check_size, damaged, text_of
from archtrial.data.dataset import Dataset, TargetError, assemble, repeats
from archtrial.data.delimited import listing, parse, without_indices
from archtrial.data.idx import NAME as IDX_NAME
from archtrial.data.idx import read_idx
from archtrial.data.images import read_folder, read_images
from archtrial.data.json_rows import columns_of_rows, read_rows
from archtrial.data.saved import Saved, is_saved, open_saved
from archtrial.data.series import is_ucr, read_ts, read_ucr
from archtrial.data.stored import Array, Stored
from archtrial.data.tables import (
    Column,
    columns_of,
    columns_of_texts,
    how_texts_are_read,
    is_prose,
)
from archtrial.data.texts import Text
from archtrial.errors import DataError, asked_together

__all__ = ["read"]

_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".psv")
_JSON = (".jsonl", ".ndjson", ".json")
_PACKED = ("", ".gz", ".zip")
_JSON_FILES = tuple(ending + packed for ending in _JSON for packed in _PACKED)
_TEXT_FILES = tuple(ending + packed for ending in _TEXTS for packed in _PACKED)
_TABLES = (*_TEXT_FILES, *_JSON_FILES, ".parquet")


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
    of_texts = reader in (_read_table, _read_saved)
    if not of_texts and told.target is not None:
        raise DataError(
            "target names a column of a table (.csv, .jsonl, .parquet)",
            f"{told.target!r} for {path.name}",
            "Leave it out: these data bring their targets.",
        )
    for name in ("decimal", "dates", "categorical", "text"):
        value = getattr(told, name)
        if value and not of_texts:
            shown = listing(list(value)) if isinstance(value, tuple) else value
            raise DataError(
                f"{name} is for tables of texts", f"{shown} for {path.name}",
                "Leave it out.",
            )  # fmt: skip
    _check_told_of_texts(told)
    if told.lengths is not None and reader not in _OF_SERIES:
        raise DataError(
            "lengths is for series (.ts, .tsv of the UCR archive, .npz, .npy)",
            f"{told.lengths} for {path.name}",
            "Leave it out.",
        )
    if told.channels is not None and reader not in (*_OF_ARRAYS, _read_saved):
        raise DataError(
            "channels is for arrays of three or four dimensions (.npz, .npy, IDX)",
            f"{told.channels} for {path.name}",
            "Leave it out.",
        )


def _check_told_of_texts(told: Reading) -> None:
    """Refuses what is said of texts where there are none, and what contradicts itself."""
    for name in ("tokens", "max_vocabulary", "max_tokens"):
        value = getattr(told, name)
        if value is not None and told.text is None:
            raise DataError(
                f"{name} says how a column of texts is read",
                f"{name} = {value}, and no column of texts is named",
                "Name it: --text COLUMN (in a protocol, text = ...), or leave"
                f" {name} out.",
            )
    if told.tokens not in (None, "word", "byte"):
        raise DataError("tokens are word or byte", repr(told.tokens))
    if told.tokens == "byte" and told.max_vocabulary is not None:
        raise DataError(
            "max_vocabulary is a number of words; of bytes there are 256",
            f"max_vocabulary = {told.max_vocabulary} and tokens = byte",
            "Leave one of the two out.",
        )


def _reader_of(path: Path) -> Callable[..., Dataset]:
    if path.is_dir():
        if is_saved(path):
            return _read_saved
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
        "data files end in .npz, .npy, .csv, .tsv, .txt, .jsonl, .json (also .gz and .zip),"
        " .parquet, .ts or idx?-ubyte",
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


# --- .csv, .jsonl and .parquet --------------------------------------------------------


def _read_table(path: Path, told: Reading) -> Dataset:
    kept = [*_as_they_are(told), *filter(None, (told.target, told.groups))]
    notation = Notation(told.decimal, told.dates, "", _as_they_are(told))
    name = path.name.lower()
    if name.endswith(".parquet"):
        frame, notes = _of_parquet(path, kept)
        chosen = _chosen(path, list(frame.columns), told)
        columns = columns_of(frame[chosen.names], notation)
    elif name.endswith(_JSON_FILES):
        rows, notes = _of_json(path, kept)
        chosen = _chosen(path, list(rows), told)
        columns = columns_of_rows({n: rows[n] for n in chosen.names}, notation)
    else:
        table, separator, notes = parse(text_of(path), path.name)
        table, remarks = without_indices(table, kept, path.name)
        if not table:
            raise DataError(
                "a table has at least one column besides the target",
                "none that says anything",
                " ".join(remarks),
            )
        notation = dataclasses.replace(notation, separator=separator)
        notes += remarks
        chosen, columns = _Chosen("", list(table)), ()
        with asked_together() as step:
            with step():
                chosen = _chosen(path, list(table), told)
            with step():
                wanted = {name: table[name] for name in chosen.names}
                columns = columns_of_texts(wanted, notation)
            if chosen.target and not columns:
                with step():
                    alone = {chosen.target: table[chosen.target]}
                    _as_target(columns_of_texts(alone, notation)[0], told.task)
    return _of_columns(path, told, columns, chosen, notes)


def _as_they_are(told: Reading) -> tuple[str, ...]:
    """Returns the columns whose cells are taken as texts, whatever they look like."""
    return (*told.categorical, *filter(None, [told.text]))


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """Which columns of a table are read."""

    target: str
    names: list[str]
    """In the order of the table, the target among them."""
    notes: tuple[str, ...] = ()


def _chosen(path: Path, names: list[str], told: Reading) -> _Chosen:
    """Finds the target, and leaves out what no arm reads.

    Raises:
        DataError: A column that was named is not there, or it is unclear which is the
            target.
    """
    target = _find_target(path, names, told)
    _check_columns(path, "categorical", told.categorical, names)
    notes: list[str] = []
    chosen = names
    if told.text is not None:
        chosen = [n for n in names if n in (told.text, target, told.groups)]
        if others := [name for name in names if name not in chosen]:
            said = f"only the texts of {told.text} are read: {listing(others)}."
            notes.append(f"Left out, since {said}")
    if told.target is None:
        beside = f" beside {told.text}" if told.text == names[-1] else ""
        notes.append(f"Target: {target}, the last column{beside}.")
    return _Chosen(target, chosen, tuple(notes))


def _of_columns(
    path: Path,
    told: Reading,
    columns: tuple[Column, ...],
    chosen: _Chosen,
    notes: list[str],
    given: Array | None = None,
) -> Dataset:
    """Returns the data set of a table's columns."""
    notes = [*notes, *chosen.notes]
    goal = next(column for column in columns if column.name == chosen.target)
    inputs = tuple(column for column in columns if column is not goal)
    if not inputs:
        raise DataError(
            "a table has at least one column besides the target",
            f"only {goal.name!r} in {path.name}",
            " ".join(notes),
        )
    if told.text is None:
        _check_prose(path, inputs, told)
    # The texts are first; beside them stand groups alone.
    inputs = tuple(sorted(inputs, key=lambda column: column.name != told.text))
    targets, rows, remarks = _targets(goal, told.task)
    for column in columns:
        notes += column.notes
    found = assemble(
        path.name,
        inputs if rows is None else tuple(c.take(rows) for c in inputs),
        targets,
        kind="table",
        task=told.task,
        notes=(*notes, *remarks),
        given=given if given is None or rows is None else given[rows],
    )
    if told.text is None:
        return found
    said = {
        name: getattr(told, name)
        for name in ("tokens", "max_vocabulary", "max_tokens")
        if getattr(told, name) is not None
    }
    # What its targets are was found as in any table.
    return dataclasses.replace(found, kind="sequence", text=Text(told.text, **said))


def _targets(
    goal: Column, task: str | None
) -> tuple[Array, Array | None, Sequence[str]]:
    """Returns the targets, in which rows they are where some are missing, and notes."""
    goal = _as_target(goal, task)
    missing, rows, notes = goal.missing, None, []
    if missing.all():
        raise DataError("the target has values", f"column {goal.name!r} is empty")
    if missing.any():
        rows = np.flatnonzero(~missing)
        goal = goal.take(rows)
        dropped = "1 row" if missing.sum() == 1 else f"{missing.sum()} rows"
        notes.append(f"Dropped, since the target is missing: {dropped}.")
    values = goal.values
    return values if goal.is_number else values.astype(str), rows, notes


def _check_prose(path: Path, inputs: tuple[Column, ...], told: Reading) -> None:
    """Asks what a table is read by whose only inputs are texts of several words."""
    read = [column for column in inputs if column.name != told.groups]
    prose = [c.name for c in read if c.name not in told.categorical and is_prose(c)]
    if not prose or len(prose) < len(read):
        return
    ways = how_texts_are_read(prose)
    # Where many of the training rows have a text of their own, it is no category.
    for column in read:
        values = [value for value in column.values.tolist() if value]
        if 4 * len(set(values)) <= len(values):
            ways.append(f"As categories: --categorical {shlex.quote(column.name)}.")
    raise DataError(
        "texts are read token by token, or as categories",
        f"{path.name} has no input but {listing(prose)}",
        " ".join(ways),
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


def _of_json(path: Path, kept: list[str]) -> tuple[dict[str, list[Any]], list[str]]:
    rows = read_rows(path)
    written = {name: [str(cell) for cell in cells] for name, cells in rows.items()}
    rest, notes = without_indices(written, kept, path.name)
    if not rest:
        raise DataError(
            "a table has at least one column besides the target",
            "none that says anything",
            " ".join(notes),
        )
    return {name: rows[name] for name in rest}, notes


def _of_parquet(path: Path, kept: list[str]) -> tuple[Any, list[str]]:
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
    return _without_indices(path, frame, kept)


def _without_indices(path: Path, frame: Any, kept: list[str]) -> tuple[Any, list[str]]:
    """Returns a frame without the columns that number its rows, and notes."""
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
    return frame, notes


def _read_saved(path: Path, told: Reading) -> Dataset:
    path = path.resolve()
    saved = open_saved(path)
    frame = saved.frame()
    names = [n for n in saved.names if n not in (*saved.images, *saved.arrays)]
    if told.target in (*saved.images, *saved.arrays) or not names:
        raise DataError(
            "the target is a column of plain values",
            f"{told.target or 'there is none'} in {path.name}",
            "The columns are " + listing(saved.names, 12) + ".",
        )
    classes = [name for name in saved.labels if name not in (told.text, told.groups)]
    if told.target is None and len(classes) > 1:
        ways = " or ".join(f"--target {shlex.quote(name)}" for name in classes)
        raise DataError(
            f"of the classes of {path.name} one is the target",
            listing(classes),
            f"Say which: {ways} (in a protocol, target = ...).",
        )
    notes = []
    if told.target is None and classes:
        told = dataclasses.replace(told, target=classes[0])
        notes.append(f"Target: {classes[0]}, the column of classes.")
    # A class is a name, whatever it looks like.
    own = tuple(name for name in saved.labels if name not in told.categorical)
    as_they_are = (*_as_they_are(told), *own)
    notation = Notation(told.decimal, told.dates, "", as_they_are)
    if told.text is None and (saved.images or saved.arrays):
        title = _find_target(path, names, told)
        notes += saved.notes(frame[title].isna().to_numpy())
        (goal,) = columns_of(frame[[title]], notation)
        return _of_examples(path, told, saved, goal, notes)
    kept = [*as_they_are, *filter(None, (told.target, told.groups))]
    frame, remarks = _without_indices(path, frame, kept)
    chosen = _chosen(path, list(frame.columns), told)
    notes += [*saved.notes(frame[chosen.target].isna().to_numpy()), *remarks]
    if others := [*saved.images, *saved.arrays]:
        notes.append(f"Left out, since texts are read: {listing(others)}.")
    columns = columns_of(frame[chosen.names], notation)
    return _of_columns(path, told, columns, chosen, notes, saved.given)


def _of_examples(
    path: Path, told: Reading, saved: Saved, goal: Column, notes: list[str]
) -> Dataset:
    """Returns the data set of a column of images, or of one of lists of numbers."""
    several = [*saved.images, *saved.arrays]
    if several[1:]:
        raise DataError(
            f"of the columns of {path.name} one holds the examples",
            listing(several),
            f"Keep one and the target, ds.select_columns([{several[0]!r},"
            f" {goal.name!r}]), and save it again.",
        )
    targets, rows, remarks = _targets(goal, told.task)
    notes = [*notes, *goal.notes, *remarks]
    others = [n for n in saved.names if n not in (several[0], goal.name)]
    if others:
        said = f"Left out, since only {several[0]} is read: {listing(others)}."
        notes.append(said)
    kept = np.arange(saved.table.num_rows) if rows is None else rows
    x: Array | Stored
    mode = None
    if saved.images and told.channels is not None:
        raise DataError(
            "channels is for arrays of three or four dimensions",
            f"{told.channels} for the images of {path.name}",
            "Leave it out.",
        )
    if saved.images:
        contents = saved.contents(several[0])
        x, more, mode = read_images(path.name, [contents[i] for i in kept], told)
        kind = "image"
    else:
        numbers = saved.numbers(several[0])[kept]
        x, kind, more = shape_of_inputs(path, numbers, told.channels)
    return assemble(
        path.name,
        x,
        targets,
        kind=kind,
        task=told.task,
        known_task="classification" if goal.name in saved.labels else None,
        notes=(*notes, *more),
        given=None if saved.given is None else saved.given[kept],
        pixels=mode,
    )


# What people call the column that is to be predicted, in lower case.
_TARGETS = ("target", "label", "labels", "class", "y", "outcome", "response")


def _find_target(path: Path, names: list[str], told: Reading) -> str:
    target = told.target
    if told.text is not None:
        _check_columns(path, "text", [told.text], names)
        if told.text in (target, told.groups):
            what = "target" if told.text == target else "groups"
            raise DataError(
                f"text names a column of inputs, and {what} another",
                f"{told.text!r} for both",
                "Name another column for one of them.",
            )
        names = [name for name in names if name != told.text]
        if not names:
            raise DataError(
                "a table of texts has a column of targets, too",
                f"only {told.text!r} in {path.name}",
            )
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

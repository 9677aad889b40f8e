"""Readers of files and folders, one format a section. None of them unpickles."""

import dataclasses
import difflib
import math
import re
import shlex
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from archtrial.data.cells import Notation
from archtrial.data.content import bytes_of, check_size, damaged, text_of
from archtrial.data.dataset import Dataset, TargetError, assemble, repeats
from archtrial.data.delimited import listing, parse, without_indices
from archtrial.data.images import read_folder
from archtrial.data.series import is_ucr, read_ts, read_ucr
from archtrial.data.split import TEST, TRAIN, VALIDATION, Array
from archtrial.data.tables import Column, columns_of, columns_of_texts
from archtrial.errors import DataError, asked_together

__all__ = ["Reading", "read"]

_IDX_NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".psv")
_TABLES = (*_TEXTS, ".parquet", *(f"{e}{z}" for e in _TEXTS for z in (".gz", ".zip")))


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the user says of data; None where the data have to tell."""

    target: str | None = None
    """A table's column to predict; its last one if None."""
    task: str | None = None
    """"classification" or "regression"; found from the target if None."""
    channels: str | None = None
    """"first" or "last": where arrays of series or images have their channels."""
    decimal: str | None = None
    """"point" or "comma": the decimal sign of a table of texts."""
    dates: str | None = None
    """"day-first" or "month-first": the dates of a table of texts."""
    groups: str | None = None
    """A table's column that names each row's group."""
    categorical: tuple[str, ...] = ()
    """A table's columns whose cells are categories, whatever they look like."""


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
        if reader is _read_table:
            return _read_table(path, told)
        if reader in (_read_npz, _read_idx):
            return reader(path, told.task, told.channels)
        return reader(path, told.task)
    except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(
            "data are a file or folder that can be read", str(error)
        ) from error
    except MemoryError as error:
        raise DataError(
            "data fit into memory", f"{path.name} does not", "Use fewer examples."
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
    if told.channels is not None and reader not in (_read_npz, _read_idx):
        raise DataError(
            "channels is for arrays of three or four dimensions (.npz, IDX)",
            f"{told.channels} for {path.name}",
            "Leave it out.",
        )


def _reader_of(path: Path) -> Callable[..., Dataset]:
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir())
        if any(_IDX_NAME.search(name) for name in names):
            return _read_idx
        if any(name.endswith(".ts") for name in names):
            return read_ts
        if any(is_ucr(Path(name)) for name in names):
            return read_ucr
        _check_folder(path, names)
        return read_folder
    if not path.is_file():
        raise DataError("data are a file or a folder", f"{path.name} is neither")
    if path.stat().st_size == 0:
        raise DataError("a data file holds something", f"{path.name} is empty")
    if _IDX_NAME.search(path.name):
        return _read_idx
    if is_ucr(path):
        return read_ucr
    name = path.name.lower()
    if name.endswith(_TABLES):
        return _read_table
    if name.endswith(".npz"):
        return _read_npz
    if name.endswith(".ts"):
        return read_ts
    raise DataError(
        "data files end in .npz, .csv, .tsv, .txt (also .gz and .zip), .parquet, .ts or"
        " idx?-ubyte",
        path.name,
        {
            ".npy": "Put x and y into one file: numpy.savez('data.npz', x=x, y=y).",
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


# --- .npz ---------------------------------------------------------------------------


def _aliases(part: str, *more: str) -> tuple[str, ...]:
    """Returns how arrays of a set are called: x_val, val_x, val_images, xval, ..."""
    which, _, words = part.partition(" ")
    return tuple(
        dict.fromkeys(
            name
            for word in words.split()
            for title in (which, which.upper())
            for name in (
                f"{title}_{word}", f"{word}_{title}", f"{title}{word}",
                f"{title}{word.capitalize()}",
            )
        )
    ) + more  # fmt: skip


_NPZ_NAMES = {
    "x": ("x", "X", *_aliases("x train"), "images", "train_images"),
    "y": ("y", "Y", *_aliases("y train"), "labels", "train_labels"),
    "x_test": _aliases("x test", "test_images", "test_data"),
    "y_test": _aliases("y test", "test_labels"),
    "x_validation": _aliases(
        "x validation val valid dev",
        *(
            f"{word}_{what}"
            for word in ("validation", "val", "valid", "dev")
            for what in ("images", "data")
        ),
    ),
    "y_validation": _aliases(
        "y validation val valid dev",
        *(f"{word}_labels" for word in ("validation", "val", "valid", "dev")),
    ),
    "groups": ("groups",),
}
_SETS = {"x_test": TEST, "x_validation": VALIDATION}


def _read_npz(path: Path, task: str | None, channels: str | None) -> Dataset:
    arrays, others = _npz_arrays(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(
                "a .npz file holds x and y",
                f"{path.name} has no {name}"
                + (f", but {listing(sorted(others))}" if others else ""),
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            )
    notes = [f"Not used from {path.name}: {listing(others)}."] if others else []
    for which in ("test", "validation"):
        if (f"x_{which}" in arrays) != (f"y_{which}" in arrays):
            only = "x" if f"x_{which}" in arrays else "y"
            raise DataError(
                f"x_{which} and y_{which} come together",
                f"{path.name} has only {only}_{which}",
                "Add the other, or leave both out and let the protocol draw a"
                f" {which} set.",
            )
    x, y = arrays["x"], _column_vector(path, "y", arrays["y"])
    count = _aligned(path, "x", x, "y", y)
    groups = arrays.get("groups")
    if groups is not None:
        groups = _column_vector(path, "groups", groups)
        _aligned(path, "x", x, "groups", groups)
    sizes, parts = [count], [TRAIN]
    for name, part in _SETS.items():
        if name in arrays:
            x, y = _joined(path, name, arrays, x, y)
            sizes.append(len(arrays[name]))
            parts.append(part)
            notes.append(f"The {name[2:]} set is that of {path.name}, as it comes.")
    given = None
    if len(parts) > 1:
        given = np.repeat(parts, sizes)
        if groups is not None:
            # Whose rows are in a given test set is not asked: it stays as it is.
            rest = np.full(sum(sizes[1:]), "")
            groups = np.concatenate([groups.astype(str), rest])
    x, kind, remarks = _shape_of_inputs(path, x, channels)
    return assemble(
        path.name,
        x,
        y,
        kind=kind,
        task=task,
        notes=(*notes, *remarks),
        given=given,
        groups=groups,
    )


def _joined(
    path: Path, name: str, arrays: Mapping[str, Array], x: Array, y: Array
) -> tuple[Array, Array]:
    """Returns the examples with those of another set below them."""
    labels = f"y_{name[2:]}"
    more, y_more = arrays[name], _column_vector(path, labels, arrays[labels])
    _aligned(path, name, more, labels, y_more)
    if x.shape[1:] != more.shape[1:]:
        raise DataError(
            f"the examples of x and {name} have the same shape",
            f"{x.shape[1:]} and {more.shape[1:]} in {path.name}",
        )
    for one, other, word in ((x, more, name), (y, y_more, labels)):
        if (one.dtype.kind in "US") != (other.dtype.kind in "US"):
            raise DataError(
                f"{word[0]} and {word} are both numbers or both texts",
                f"{one.dtype} and {other.dtype} in {path.name}",
            )
        if (one.dtype.kind in "biu") != (other.dtype.kind in "biu") and word == name:
            raise DataError(
                f"x and {name} have one type of numbers",
                f"{one.dtype} and {other.dtype} in {path.name}",
                "Whole numbers and fractions may be on different scales: save both"
                " alike.",
            )
    return np.concatenate([x, more]), np.concatenate([y, y_more])


def _npz_arrays(path: Path) -> tuple[dict[str, Array], list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _known_arrays(path, archive)
    except zipfile.BadZipFile as error:
        if path.read_bytes()[:6] == b"\x93NUMPY":
            raise DataError(
                "a .npz file holds several named arrays",
                f"{path.name} holds a single one",
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            ) from error
        raise damaged(path, error) from error
    except (OSError, EOFError, ValueError, NotImplementedError) as error:
        raise damaged(path, error) from error


def _known_arrays(
    path: Path, archive: zipfile.ZipFile
) -> tuple[dict[str, Array], list[str]]:
    """Returns the arrays by what they are, and the names of those that are unknown."""
    members = {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if not info.filename.endswith("/")
    }
    names = {}
    for name, aliases in _NPZ_NAMES.items():
        found = [alias for alias in aliases if alias in members]
        if len(found) > 1:
            raise DataError(
                f"one array of a .npz file is {name}",
                f"{' and '.join(found)} in {path.name}",
                "Leave one of them out.",
            )
        names.update(dict.fromkeys(found, name))
    arrays, needed = {}, 0
    for key, name in names.items():
        needed += members[key].file_size
        check_size(f"the arrays of {path.name}", needed)
        arrays[name] = _member(path, archive, members[key])
    return arrays, [_shown(key) for key in members if key not in names]


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:60]


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """Reads one array; no more is asked for than the archive says it holds."""
    title = _shown(info.filename.removesuffix(".npy"))
    formats = np.lib.format
    try:
        with archive.open(info) as stream:
            version = formats.read_magic(stream)
            if version == (1, 0):
                header = formats.read_array_header_1_0(stream)
            elif version == (2, 0):
                header = formats.read_array_header_2_0(stream)
            else:
                # UTF-8 in the names of fields, which no plain array has.
                raise ValueError(f"{title} is no plain array")
            shape, fortran, dtype = header
            if dtype.hasobject:
                raise DataError(
                    "arrays hold plain numbers or texts",
                    f"{title} in {path.name} holds Python objects",
                    "Objects would have to be unpickled, which can run code. Make it"
                    " an array of one type, for instance np.array(y, dtype=str).",
                )
            count = math.prod(shape)
            if dtype.itemsize == 0 or min(shape, default=0) < 0:
                raise ValueError(f"{title} is of the shape {shape} and type {dtype}")
            if count * dtype.itemsize > info.file_size:
                raise ValueError(f"{title} announces more than it holds")
            content = stream.read(count * dtype.itemsize)
            if len(content) < count * dtype.itemsize:
                raise ValueError(f"{title} is cut off")
            stream.read()  # to its end, where its checksum is compared
    except DataError:
        raise
    except (
        OSError, EOFError, ValueError, TypeError, SyntaxError, OverflowError,
        RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error,
        struct.error, UnicodeError, MemoryError, RecursionError, KeyError,
    ) as error:  # fmt: skip
        raise damaged(path, error) from error
    values = np.frombuffer(content, dtype)
    values = values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    return np.require(values, requirements="C").astype(
        dtype.newbyteorder("="), copy=False
    )


def _column_vector(path: Path, name: str, values: Array) -> Array:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"{name} holds one value for each example, shape (N,)",
            f"shape {values.shape} in {path.name}",
            "Turn one-hot classes into labels with y.argmax(axis=1); of several"
            " targets, choose one."
            if values.ndim == 2
            else "",
        )
    return values


def _aligned(path: Path, a: str, left: Array, b: str, right: Array) -> int:
    """Checks that two arrays are about the same rows, and returns how many."""
    length = len(left) if left.ndim else 0
    if length != len(right):
        raise DataError(
            f"{a} and {b} have the same length",
            f"{length} and {len(right)} in {path.name}",
        )
    if length == 0:
        raise DataError("a data file holds examples", f"{a} in {path.name} is empty")
    return length


def _shape_of_inputs(
    path: Path, x: Array, channels: str | None
) -> tuple[Array, str, list[str]]:
    """Returns the inputs with channels first, their kind and how they were read."""
    if x.ndim not in (1, 2, 3, 4) or 0 in x.shape:
        raise DataError(
            "x has two to four dimensions, none of them empty",
            f"shape {x.shape} in {path.name}",
            "Use (N, features), (N, channels, length) or (N, channels, height, width).",
        )
    if x.ndim < 3:
        if channels is not None:
            raise DataError(
                "channels is for arrays of three or four dimensions",
                f"{channels} for shape {x.shape} in {path.name}",
                "Leave it out.",
            )
        return x.reshape(len(x), -1), "array", []
    grey = x.dtype.itemsize == 1 or x.shape[1] == x.shape[2]
    if x.ndim == 3 and channels is None and grey:
        height, width = x.shape[1:]
        note = (
            f"Inputs read as grey images of {height} x {width} (channels = first or"
            " last if they are series)."
        )
        return x[:, None], "image", [note]
    first = channels or _place_of_channels(path, x.shape)
    if first == "last":
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    if x.ndim == 3:
        count, length = x.shape[1:]
        one = "1 channel" if count == 1 else f"{count} channels"
        return x, "sequence", [f"Inputs read as {one} of length {length}."]
    count, height, width = x.shape[1:]
    one = "1 channel" if count == 1 else f"{count} channels"
    return x, "image", [f"Inputs read as images of {one}, {height} x {width}."]


# So many channels has a picture: grey, with alpha, in colour, with both.
_FEW = (1, 2, 3, 4)


def _place_of_channels(path: Path, shape: tuple[int, ...]) -> str:
    """Returns "first" or "last".

    A series is longer than it has channels, twice at least. A picture has one to four
    channels, or is square; where both or neither say the same of both ends, or they
    contradict each other, it cannot be told.

    Raises:
        DataError: It cannot be told.
    """
    if len(shape) == 3:
        if shape[1] * 2 <= shape[2]:
            return "first"
        first, last = "(N, channels, length)", "(N, time, channels)"
        kind = "series"
    else:
        votes = set()
        if (shape[1] in _FEW) != (shape[3] in _FEW):
            votes.add("first" if shape[1] in _FEW else "last")
        if (shape[2] == shape[3]) != (shape[1] == shape[2]):
            votes.add("first" if shape[2] == shape[3] else "last")
        if len(votes) == 1:
            return votes.pop()
        first, last = "(N, channels, height, width)", "(N, height, width, channels)"
        kind = "images"
    raise DataError(
        f"of arrays of {kind} can be told where their channels are",
        f"shape {shape} in {path.name}",
        f"Say where: --channels first for {first}, --channels last for {last} (in a"
        ' protocol, channels = "first" or "last").',
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


# --- IDX ---------------------------------------------------------------------------------


def _read_idx(path: Path, task: str | None, channels: str | None) -> Dataset:
    if path.is_dir():
        names = [p for p in sorted(path.iterdir()) if _IDX_NAME.search(p.name)]
        train = [p for p in names if "images" in p.name and "train" in p.name]
        if len(train) != 1:
            raise DataError(
                "a folder of IDX files holds one file of training images",
                f"{len(train)} files named *train*images* in {path.name}",
                "Give the path of the file of images.",
            )
        path = train[0]
    images = _partner(path, "images")
    x, y = _idx_pair(images)
    given = None
    test = images.with_name(images.name.replace("train", "t10k"))
    if test != images and test.exists():
        x_test, y_test = _idx_pair(test)
        if x.shape[1:] != x_test.shape[1:]:
            raise DataError(
                "training and test images have the same shape",
                f"{x.shape[1:]} and {x_test.shape[1:]}",
            )
        given = np.repeat([TRAIN, TEST], [len(x), len(x_test)])
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
    x, kind, notes = _shape_of_inputs(images, x, channels)
    return assemble(
        images.name,
        x,
        y,
        kind=kind,
        task=task,
        known_task="classification",
        notes=tuple(notes),
        given=given,
    )


def _partner(path: Path, which: str) -> Path:
    """Returns the file of images or labels that belongs to one of either."""
    if which in path.name:
        return path
    other = {"images": "labels", "labels": "images"}[which]
    pattern = _IDX_NAME.sub("idx?-ubyte*", path.name).replace(other, which)
    found = sorted(path.parent.glob(pattern))
    if other in path.name and found:
        return found[0]
    raise DataError(
        "IDX files come in pairs, images and labels",
        f"no {which} beside {path.name}",
        "Name them as train-images-idx3-ubyte and train-labels-idx1-ubyte.",
    )


def _idx_pair(images: Path) -> tuple[Array, Array]:
    labels = _partner(images, "labels")
    x, y = _idx_array(images), _idx_array(labels)
    y = _column_vector(labels, "the file of labels", y)
    _aligned(images, "images", x, "labels", y)
    return x, y


def _idx_array(path: Path) -> Array:
    """Reads one IDX file (described on the MNIST page of Y. LeCun)."""
    content = bytes_of(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise DataError(
            "an IDX file starts with two zero bytes and a known type",
            f"{path.name} starts with {content[:4].hex(' ')}",
        )
    dtype, dimensions = np.dtype(_IDX_TYPES[content[2]]), content[3]
    if not 0 < dimensions <= 8:
        raise damaged(path, ValueError(f"it announces {dimensions} dimensions"))
    start = 4 + 4 * dimensions
    header = content[4:start].ljust(4 * dimensions, b"\0")
    shape = struct.unpack(f">{dimensions}I", header)
    needed = start + math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise damaged(
            path,
            ValueError(f"{len(content)} bytes and not the {needed:.12g} it announces"),
        )
    if 0 in shape:
        raise DataError("a data file holds examples", f"{path.name} has none")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))

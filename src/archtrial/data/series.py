"""Series of the UCR and UEA archives: .ts files, and the tables of UCR 2018.

Where series differ in length, the header of a .ts file says so, and a table ends in NaN.
What contradicts that is a question, which the option `lengths` settles.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archtrial.data import lengths
from archtrial.data.cells import is_number
from archtrial.data.content import Reading, text_of
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.delimited import listing
from archtrial.data.split import TEST, TRAIN, Array
from archtrial.errors import DataError

__all__ = ["is_ucr", "read_ts", "read_ucr"]


def read_ts(path: Path, told: Reading) -> Dataset:
    """Reads NAME_TRAIN.ts and the NAME_TEST.ts beside it, or a single such file.

    Raises:
        DataError: It is damaged, or its series differ in length and nothing says so.
    """
    if path.is_dir():
        train = sorted(path.glob("*_TRAIN.ts"))
        if len(train) != 1:
            raise DataError(
                "a folder of .ts files holds one NAME_TRAIN.ts",
                f"{len(train)} in {path.name}",
                "Give the path of the file.",
            )
        path = train[0]
    files = [_read_ts_file(path)]
    given, notes = None, []
    test = path.with_name(path.name.replace("_TRAIN.ts", "_TEST.ts"))
    if test != path and test.exists():
        files.append(_read_ts_file(test))
        given = np.repeat([TRAIN, TEST], [len(file.series) for file in files])
        notes.append(f"Test set: {test.name}, as it comes.")
    unequal = told.lengths is not None or any(file.unequal for file in files)
    _check_alike(files, unequal=unequal)
    if told.lengths is None:
        for file in files:
            _check_ends(file)
    x = lengths.padded([one for file in files for one in file.series])
    if x.shape[1] == 1:
        x = x[:, 0]
    return assemble(
        path.name.removesuffix(".ts").removesuffix("_TRAIN"),
        x,
        np.array([target for file in files for target in file.targets]),
        kind="sequence",
        task=told.task,
        known_task=files[0].task,
        notes=tuple(notes),
        given=given,
        told=told.lengths,
        padded=unequal,
    )


@dataclasses.dataclass(frozen=True)
class _Ts:
    """What a .ts file says."""

    name: str
    series: list[Array]
    """Each (C, L) float64."""
    targets: list[str]
    task: str
    unequal: bool
    """Whether the header says that they differ in length."""


def _unequal(received: str) -> DataError:
    return DataError(
        "all series of a file have the same length, unless it says that they differ"
        " (@equalLength false in the header of a .ts file, NaN at the end of a .tsv)",
        received,
        "The file may be cut off. If its series do differ in length, use --lengths mask"
        ' (in a protocol, lengths = "mask").',
    )


def _check_alike(files: Sequence[_Ts], *, unequal: bool) -> None:
    """Refuses series that differ in channels, or in length where nothing says so."""
    first = files[0].series[0].shape
    for file in files:
        for number, one in enumerate(file.series, 1):
            at = f"series {number} of {file.name}"
            if one.shape[0] != first[0]:
                raise DataError(
                    "all series have the same channels",
                    f"{first[0]} in the first, {one.shape[0]} in {at}",
                    "The file may be cut off.",
                )
            if unequal or one.shape == first:
                continue
            if file is not files[0] and number == 1:
                raise _unequal(
                    f"{first} in {files[0].name} and {one.shape} in {file.name}"
                )
            raise _unequal(f"(channels, length) is {first}, but {one.shape} in {at}")


def _check_ends(file: _Ts) -> None:
    """Asks about steps that are written, and missing in all channels, at an end."""
    for number, one in enumerate(file.series, 1):
        if np.isnan(one[:, -1]).all():
            raise DataError(
                "a series of a .ts file ends with its last value",
                f"series {number} of {file.name} ends in missing values",
                f"{lengths.MASK} Otherwise fill them in, or remove the series.",
            )


def _read_ts_file(path: Path) -> _Ts:
    header: dict[str, str] = {}
    examples: list[Array] = []
    targets: list[str] = []
    lines = iter(text_of(path).splitlines())
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "@data":
            break
        if word.startswith("@"):
            header[word.lower()] = rest.strip().lower()
    if header.get("@timestamps") == "true":
        raise DataError(
            "a .ts file holds series of equal steps, without time stamps",
            f"@timeStamps true in {path.name}",
        )
    known_task = "classification"
    if header.get("@targetlabel") == "true":
        known_task = "regression"
    elif not header.get("@classlabel", "").startswith("true"):
        raise DataError(
            "a .ts file names the class of each series",
            f"no @classLabel true in {path.name}",
        )
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        *channels, label = line.split(":")
        where = f"series {len(examples) + 1} of {path.name}"
        if not channels or not label.strip():
            raise DataError(
                "each line of a .ts file is a series, a colon and its class",
                where,
                "The file may be cut off.",
            )
        examples.append(_series(channels, where))
        targets.append(label.strip())
    if not examples:
        raise DataError("a .ts file holds series", f"none in {path.name}")
    unequal = header.get("@equallength") == "false"
    return _Ts(path.name, examples, targets, known_task, unequal)


def _series(channels: list[str], where: str) -> Array:
    try:
        rows = [
            np.array(channel.replace("?", "nan").split(","), dtype=np.float64)
            for channel in channels
        ]
    except ValueError as error:
        raise DataError("series are numbers", f"{error} in {where}") from error
    if len({len(row) for row in rows}) > 1:
        raise DataError(
            "the channels of a series have the same length",
            f"the channels of {where} differ: {listing([str(len(row)) for row in rows])}",
            "The file may be cut off. Otherwise fill the shorter channels in.",
        )
    return np.stack(rows)


# --- UCR 2018 -----------------------------------------------------------------------


def is_ucr(path: Path) -> bool:
    """Whether a file is called as those of the UCR archive of 2018 are."""
    return path.name.upper().endswith(tuple(_UCR))


_UCR = {
    f"_{part}{ending}": part
    for part in ("TRAIN", "TEST")
    for ending in (".TSV", ".TXT")
}


def read_ucr(path: Path, told: Reading) -> Dataset:
    """Reads NAME_TRAIN.tsv (or .txt) and the NAME_TEST beside it as one data set.

    The first column is the class, the others are the series.
    """
    if path.is_dir():
        train = [p for p in sorted(path.iterdir()) if is_ucr(p) and _part(p) == "TRAIN"]
        if len(train) != 1:
            raise DataError(
                "a folder of series holds one NAME_TRAIN.tsv",
                f"{len(train)} in {path.name}",
                "Give the path of the file.",
            )
        path = train[0]
    files = {_part(path): path}
    other = {"TRAIN": "TEST", "TEST": "TRAIN"}[_part(path)]
    stem, ending = path.name[: -len(_part(path)) - 4], path.name[-4:]
    for word in (other, other.lower(), other.capitalize()):
        if (beside := path.with_name(f"{stem}{word}{ending}")).exists():
            files.setdefault(other, beside)
    declared = told.lengths is not None
    parts = {part: _ucr_arrays(file, declared) for part, file in files.items()}
    notes = ["The first column is the class, as in the UCR archive."]
    given = None
    if len(parts) == 2:
        (x, y), (x_test, y_test) = parts["TRAIN"], parts["TEST"]
        if x.shape[1:] != x_test.shape[1:] and not declared:
            raise _unequal(
                f"{x.shape[1]} in {files['TRAIN'].name} and {x_test.shape[1]} in"
                f" {files['TEST'].name}"
            )
        given = np.repeat([TRAIN, TEST], [len(x), len(x_test)])
        x = lengths.padded([*x[:, None], *x_test[:, None]])[:, 0]
        y = np.concatenate([y, y_test])
        notes.append(f"Test set: {files['TEST'].name}, as it comes.")
    else:
        ((x, y),) = parts.values()
    return assemble(
        path.name[: -len(_part(path)) - 5],
        x,
        y,
        kind="sequence",
        task=told.task,
        known_task="classification",
        notes=tuple(notes),
        given=given,
        told=told.lengths,
        padded=True,
    )


def _part(path: Path) -> str:
    return next(p for end, p in _UCR.items() if path.name.upper().endswith(end))


def _ucr_arrays(path: Path, unequal: bool) -> tuple[Array, Array]:
    """Returns x (N, L) float64 and y (N,) of texts or numbers.

    Args:
        path: The file.
        unequal: Whether rows may have fewer values than others.
    """
    rows: list[list[str]] = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        fields = line.replace("\t", " ").replace(",", " ").split()
        if not fields:
            continue
        if rows and len(fields) != len(rows[0]) and not unequal:
            raise _unequal(
                f"row {number} of {path.name} has {len(fields) - 1} values, the first"
                f" {len(rows[0]) - 1}"
            )
        rows.append(fields)
        for column, field in enumerate(fields[1:], 2):
            if not is_number(field):
                raise DataError(
                    "series are numbers",
                    f"{field[:30]!r} in row {number}, column {column} of {path.name}",
                )
    if not rows or min(map(len, rows)) < 2:
        raise DataError(
            "each row of such a file is a class and then a series",
            f"{path.name} has one column" if rows else f"none in {path.name}",
            "The file may be cut off.",
        )
    x = lengths.padded([np.array([row[1:]], dtype=np.float64) for row in rows])[:, 0]
    labels = [row[0] for row in rows]
    if all(map(is_number, labels)):
        return x, np.array(labels, dtype=np.float64)
    return x, np.array(labels)

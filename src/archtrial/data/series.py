"""Series of the UCR and UEA archives: .ts files, and the tables of UCR 2018."""

from pathlib import Path

import numpy as np

from archtrial.data.cells import is_number
from archtrial.data.content import text_of
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.split import TEST, TRAIN, Array
from archtrial.errors import DataError

__all__ = ["is_ucr", "read_ts", "read_ucr"]


def read_ts(path: Path, task: str | None) -> Dataset:
    """Reads NAME_TRAIN.ts and the NAME_TEST.ts beside it, or a single such file.

    Raises:
        DataError: It is damaged, or its series differ in length.
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
    x, y, known_task = _ts_arrays(path)
    given, notes = None, []
    test = path.with_name(path.name.replace("_TRAIN.ts", "_TEST.ts"))
    if test != path and test.exists():
        x_test, y_test, _ = _ts_arrays(test)
        if x.shape[1:] != x_test.shape[1:]:
            raise _unequal(
                f"{x.shape[1:]} in {path.name} and {x_test.shape[1:]} in {test.name}"
            )
        given = np.repeat([TRAIN, TEST], [len(x), len(x_test)])
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
        notes.append(f"Test set: {test.name}, as it comes.")
    if x.shape[1] == 1:
        x = x[:, 0]
    return assemble(
        path.name.removesuffix(".ts").removesuffix("_TRAIN"),
        x,
        y,
        kind="sequence",
        task=task,
        known_task=known_task,
        notes=tuple(notes),
        given=given,
    )


def _unequal(received: str) -> DataError:
    return DataError(
        "all series of a file have the same length",
        received,
        "Cut or pad them to one length first, and say so where you report it.",
    )


def _ts_arrays(path: Path) -> tuple[Array, Array, str]:
    """Returns x (N, C, L) float64, y (N,) and the task that the header names."""
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
        if examples[-1].shape != examples[0].shape:
            first, this = examples[0].shape, examples[-1].shape
            raise _unequal(f"(channels, length) is {first}, but {this} in {where}")
    if not examples:
        raise DataError("a .ts file holds series", f"none in {path.name}")
    return np.stack(examples), np.array(targets), known_task


def _series(channels: list[str], where: str) -> Array:
    try:
        rows = [
            np.array(channel.replace("?", "nan").split(","), dtype=np.float64)
            for channel in channels
        ]
    except ValueError as error:
        raise DataError("series are numbers", f"{error} in {where}") from error
    if len({len(row) for row in rows}) > 1:
        raise _unequal(f"the channels of {where} differ in length")
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


def read_ucr(path: Path, task: str | None) -> Dataset:
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
    parts = {part: _ucr_arrays(file) for part, file in files.items()}
    notes = ["The first column is the class, as in the UCR archive."]
    given = None
    if len(parts) == 2:
        (x, y), (x_test, y_test) = parts["TRAIN"], parts["TEST"]
        if x.shape[1:] != x_test.shape[1:]:
            raise _unequal(
                f"{x.shape[1]} in {files['TRAIN'].name} and {x_test.shape[1]} in"
                f" {files['TEST'].name}"
            )
        given = np.repeat([TRAIN, TEST], [len(x), len(x_test)])
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
        notes.append(f"Test set: {files['TEST'].name}, as it comes.")
    else:
        ((x, y),) = parts.values()
    return assemble(
        path.name[: -len(_part(path)) - 5],
        x,
        y,
        kind="sequence",
        task=task,
        known_task="classification",
        notes=tuple(notes),
        given=given,
    )


def _part(path: Path) -> str:
    return next(p for end, p in _UCR.items() if path.name.upper().endswith(end))


def _ucr_arrays(path: Path) -> tuple[Array, Array]:
    """Returns x (N, L) float64 and y (N,) of texts or numbers."""
    rows: list[list[str]] = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        fields = line.replace("\t", " ").replace(",", " ").split()
        if not fields:
            continue
        if rows and len(fields) != len(rows[0]):
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
    if not rows or len(rows[0]) < 2:
        raise DataError(
            "each row of such a file is a class and then a series",
            f"{path.name} has one column" if rows else f"none in {path.name}",
            "The file may be cut off.",
        )
    x = np.array([row[1:] for row in rows], dtype=np.float64)
    if np.isnan(x[:, -1]).all():
        # The archive pads series of unequal length with NaN at their end.
        raise _unequal(f"the series of {path.name} end in missing values")
    labels = [row[0] for row in rows]
    if all(map(is_number, labels)):
        return x, np.array(labels, dtype=np.float64)
    return x, np.array(labels)

"""Readers of files and folders, one format a section. None of them unpickles."""

import collections
import csv
import difflib
import gzip
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from archtrial.data.dataset import Dataset, assemble
from archtrial.data.split import TEST, TRAIN, VALIDATION, Array
from archtrial.data.tables import Column, columns_of, listing, parse_csv
from archtrial.errors import DataError

__all__ = ["read"]

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
# Data stay in memory while a study trains; as float32, more than this is refused.
_MOST_BYTES = 8 * 2**30
_IDX_NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read(path: Path, target: str | None, task: str | None) -> Dataset:
    """Reads a file or folder in the format that its name says.

    Args:
        path: What exists.
        target: A table's column to predict; its last one if None.
        task: "classification" or "regression"; found from the target if None.

    Raises:
        DataError: The format is unknown or the content cannot be used.
    """
    reader = _reader_of(path)
    if reader is _read_table:
        return _read_table(path, target, task)
    if target is not None:
        raise DataError(
            "target names a column of a table (.csv, .parquet)",
            f"{target!r} for {path.name}",
            "Leave it out: these data bring their targets.",
        )
    return reader(path, task)


def _reader_of(path: Path) -> Callable[..., Dataset]:
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir())
        if any(_IDX_NAME.search(name) for name in names):
            return _read_idx
        if any(name.endswith(".ts") for name in names):
            return _read_ts
        return _read_folder
    if path.stat().st_size == 0:
        raise DataError("a data file holds something", f"{path.name} is empty")
    if _IDX_NAME.search(path.name):
        return _read_idx
    name = path.name.lower()
    for ending, reader in (
        (".npz", _read_npz),
        (".csv", _read_table),
        (".csv.gz", _read_table),
        (".parquet", _read_table),
        (".ts", _read_ts),
    ):
        if name.endswith(ending):
            return reader
    raise DataError(
        "data files end in .npz, .csv, .csv.gz, .parquet, .ts or idx?-ubyte",
        path.name,
        {
            ".npy": "Put x and y into one file: numpy.savez('data.npz', x=x, y=y).",
            ".pkl": "Pickles can run code and are never loaded: save the arrays with"
            " numpy.savez('data.npz', x=x, y=y).",
            ".xlsx": "Save the sheet as .csv.",
            ".tsv": "Rename it to .csv; tabs are recognised.",
        }.get(path.suffix.lower(), "Save arrays as .npz and tables as .csv."),
    )


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path.name} can be read to its end",
        str(error) or type(error).__name__,
        "The file is damaged or cut off: copy or download it again.",
    )


def _text(path: Path) -> str:
    """Returns a text file's content, gzip undone."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is text in UTF-8",
            f"byte {error.start} is not",
            "Save it with the encoding UTF-8.",
        ) from error
    if not text.strip():
        raise DataError("a data file holds something", f"{path.name} is empty")
    return text


# --- .npz ---------------------------------------------------------------------------

_NPZ_NAMES = {
    "x": ("x", "X", "x_train", "X_train", "images", "train_images"),
    "y": ("y", "Y", "y_train", "Y_train", "labels", "train_labels"),
    "x_test": ("x_test", "X_test", "test_images"),
    "y_test": ("y_test", "Y_test", "test_labels"),
    "groups": ("groups",),
}


def _read_npz(path: Path, task: str | None) -> Dataset:
    arrays, notes = _npz_arrays(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(
                "a .npz file holds x and y",
                f"{path.name} has no {name}",
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            )
    if ("x_test" in arrays) != ("y_test" in arrays):
        raise DataError(
            "x_test and y_test come together",
            f"{path.name} has only {'x_test' if 'x_test' in arrays else 'y_test'}",
            "Add the other, or leave both out and let the protocol draw a test set.",
        )
    x, y = arrays["x"], _column_vector(path, "y", arrays["y"])
    count = _aligned(path, "x", x, "y", y)
    groups = arrays.get("groups")
    if groups is not None:
        groups = _column_vector(path, "groups", groups)
        _aligned(path, "x", x, "groups", groups)
    given = None
    if "x_test" in arrays:
        x_test = arrays["x_test"]
        y_test = _column_vector(path, "y_test", arrays["y_test"])
        extra = _aligned(path, "x_test", x_test, "y_test", y_test)
        if x.shape[1:] != x_test.shape[1:]:
            raise DataError(
                "the examples of x and x_test have the same shape",
                f"{x.shape[1:]} and {x_test.shape[1:]} in {path.name}",
            )
        if (y.dtype.kind in "US") != (y_test.dtype.kind in "US"):
            raise DataError(
                "y and y_test are both numbers or both texts",
                f"{y.dtype} and {y_test.dtype} in {path.name}",
            )
        x, y = np.concatenate([x, x_test]), np.concatenate([y, y_test])
        given = np.repeat([TRAIN, TEST], [count, extra])
        if groups is not None:
            # Whose rows are in a given test set is not asked: it stays as it is.
            groups = np.concatenate([groups.astype(str), np.full(extra, "")])
    x, kind, remarks = _shape_of_inputs(path, x)
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


def _npz_arrays(path: Path) -> tuple[dict[str, Array], list[str]]:
    # Opened here, since NumPy leaves a damaged file open.
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(path, error) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(
                "a .npz file holds several named arrays",
                f"{path.name} holds a single one",
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            )
        return _known_arrays(path, archive)


def _known_arrays(
    path: Path, archive: np.lib.npyio.NpzFile
) -> tuple[dict[str, Array], list[str]]:
    names = {}
    for name, aliases in _NPZ_NAMES.items():
        found = [alias for alias in aliases if alias in archive.files]
        if len(found) > 1:
            raise DataError(
                f"one array of a .npz file is {name}",
                f"{' and '.join(found)} in {path.name}",
                "Leave one of them out.",
            )
        names.update(dict.fromkeys(found, name))
    arrays = {}
    for key, name in names.items():
        try:
            arrays[name] = archive[key]
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise _damaged(path, error) from error
            raise DataError(
                "arrays hold plain numbers or texts",
                f"{key} in {path.name} holds Python objects",
                "Objects would have to be unpickled, which can run code. Make it"
                " an array of one type, for instance np.array(y, dtype=str).",
            ) from error
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(path, error) from error
    unused = [key for key in archive.files if key not in names]
    return arrays, [f"Not used from {path.name}: {listing(unused)}."] if unused else []


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


def _shape_of_inputs(path: Path, x: Array) -> tuple[Array, str, list[str]]:
    """Returns the inputs with channels first, their kind and how they were read."""
    if x.ndim == 1:
        return x[:, None], "array", []
    if x.ndim == 2:
        return x, "array", []
    if x.ndim == 3:
        if x.dtype.itemsize == 1 or x.shape[1] == x.shape[2]:
            height, width = x.shape[1:]
            note = f"Inputs read as grey images of {height} x {width}."
            return x[:, None], "image", [note]
        channels, length = x.shape[1:]
        return (
            x,
            "sequence",
            [f"Inputs read as {channels} channels of length {length}."],
        )
    if x.ndim == 4:
        few = (1, 2, 3, 4)
        if x.shape[3] in few and x.shape[1] not in few:
            x = np.ascontiguousarray(np.moveaxis(x, 3, 1))
        channels, height, width = x.shape[1:]
        note = f"Inputs read as images of {channels} channels, {height} x {width}."
        return x, "image", [note]
    raise DataError(
        "x has two to four dimensions",
        f"shape {x.shape} in {path.name}",
        "Use (N, features), (N, channels, length) or (N, channels, height, width).",
    )


# --- .csv and .parquet ----------------------------------------------------------------


def _read_table(path: Path, target: str | None, task: str | None) -> Dataset:
    import pandas as pd

    notes: list[str] = []
    if path.name.lower().endswith(".parquet"):
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise _damaged(path, error) from error
        if frame.empty:
            raise DataError("a table has rows", f"{path.name} has none")
    else:
        text = _text(path)
        try:
            frame, notes = parse_csv(text, path.name)
        except (ValueError, csv.Error) as error:
            raise _damaged(path, error) from error
    columns = columns_of(frame)
    goal = _find_target(path, columns, target)
    inputs = tuple(column for column in columns if column is not goal)
    if not inputs:
        raise DataError(
            "a table has at least one column besides the target",
            f"only {goal.name!r} in {path.name}",
        )
    if target is None:
        notes.append(f"Target: {goal.name}, the last column.")
    missing = goal.missing
    if missing.all():
        raise DataError("the target has values", f"column {goal.name!r} is empty")
    if missing.any():
        kept = np.flatnonzero(~missing)
        inputs, goal = tuple(c.take(kept) for c in inputs), goal.take(kept)
        rows = "1 row" if missing.sum() == 1 else f"{missing.sum()} rows"
        notes.append(f"Dropped, since the target is missing: {rows}.")
    values = goal.values
    return assemble(
        path.name,
        inputs,
        values if goal.is_number else values.astype(str),
        kind="table",
        task=task,
        notes=tuple(notes),
    )


def _find_target(path: Path, columns: tuple[Column, ...], target: str | None) -> Column:
    if target is None:
        return columns[-1]
    names = [column.name for column in columns]
    if target in names:
        return columns[names.index(target)]
    near = difflib.get_close_matches(target, names, 3, cutoff=0.5)
    raise DataError(
        f"the target is a column of {path.name}",
        f"there is no {target!r}",
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"The columns are {listing(names, 12)}.",
    )


# --- a folder of images -----------------------------------------------------------------

_PARTS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
}


def _read_folder(path: Path, task: str | None) -> Dataset:
    children = [p for p in sorted(path.iterdir()) if _visible_folder(p)]
    given: list[int] | None = None
    parts = [(p, _PARTS[p.name.lower()]) for p in children if p.name.lower() in _PARTS]
    if parts and len(parts) == len(children) and TRAIN in {part for _, part in parts}:
        given = []
    else:
        parts = [(path, TRAIN)]
    found: list[Path] = []
    labels: list[str] = []
    skipped = 0
    for root, part in parts:
        for folder in filter(_visible_folder, sorted(root.iterdir())):
            for file in sorted(folder.rglob("*")):
                if file.suffix.lower() in _PICTURES and not file.name.startswith("."):
                    found.append(file)
                    labels.append(folder.name)
                    if given is not None:
                        given.append(part)
                elif file.is_file():
                    skipped += 1
    if not found:
        raise DataError(
            "a folder of data holds a folder of images for each class",
            f"no image in the folders of {path.name}",
            "Arrange the images as NAME/class_a/1.png, NAME/class_b/2.png, ...",
        )
    images, notes = _read_images(found)
    if skipped:
        notes.append(f"Files that are not images were left out: {skipped}.")
    return assemble(
        path.resolve().name,
        images,
        np.array(labels),
        kind="image",
        task=task,
        known_task="classification",
        notes=tuple(notes),
        given=None if given is None else np.array(given),
    )


def _visible_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_images(found: list[Path]) -> tuple[Array, list[str]]:
    """Returns (N, C, H, W) uint8: grey where all are grey, else three colours."""
    from PIL import Image

    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    grey = True
    try:
        for path in found:
            with Image.open(path) as image:  # reads the header alone
                sizes[image.size] += 1
                grey = grey and image.mode in ("1", "L", "I;16")
        # The commonest size; of equally common ones the smallest.
        width, height = min(sizes, key=lambda size: (-sizes[size], size))
        channels = 1 if grey else 3
        needed = 4 * len(found) * channels * height * width
        if needed > _MOST_BYTES:
            raise DataError(
                f"data fit into memory ({_MOST_BYTES >> 30} GiB as float32)",
                f"{len(found)} images of {width} x {height} need {needed >> 30} GiB",
                "Make the images smaller first.",
            )
        pixels = np.empty((len(found), channels, height, width), np.uint8)
        for index, path in enumerate(found):
            with Image.open(path) as image:
                plain = image.convert("L" if grey else "RGB")
                if plain.size != (width, height):
                    plain = plain.resize((width, height), Image.Resampling.BILINEAR)
                pixels[index] = np.atleast_3d(np.asarray(plain)).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three
        raise _damaged(path, error) from error
    notes = []
    other = len(found) - sizes[width, height]
    if other:
        notes.append(
            f"Resized to {width} x {height}, the commonest size: {other} of"
            f" {len(found)} images."
        )
    return pixels, notes


# --- IDX ---------------------------------------------------------------------------------


def _read_idx(path: Path, task: str | None) -> Dataset:
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
    x, kind, notes = _shape_of_inputs(images, x)
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
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise DataError(
            "an IDX file starts with two zero bytes and a known type",
            f"{path.name} starts with {content[:4].hex(' ')}",
        )
    dtype, dimensions = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * dimensions
    header = content[4:start].ljust(4 * dimensions, b"\0")
    shape = struct.unpack(f">{dimensions}I", header)
    needed = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) != needed or dimensions == 0:
        raise _damaged(
            path, ValueError(f"{len(content)} bytes and not the {needed} it announces")
        )
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


# --- UCR/UEA .ts ---------------------------------------------------------------------------


def _read_ts(path: Path, task: str | None) -> Dataset:
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
        "all series of a .ts file have the same length",
        received,
        "Cut or pad them to one length first, and say so where you report it.",
    )


def _ts_arrays(path: Path) -> tuple[Array, Array, str]:
    """Returns x (N, C, L) float64, y (N,) and the task that the header names."""
    header: dict[str, str] = {}
    examples: list[Array] = []
    targets: list[str] = []
    lines = iter(_text(path).splitlines())
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

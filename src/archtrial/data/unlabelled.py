"""More inputs, without labels: read, prepared as the data were, and none of them sealed."""

import zipfile
import zlib

import numpy as np

from archtrial.data.split import Split
from archtrial.data.stored import blocks
from archtrial.errors import DataError

__all__ = ["unlabelled"]


def unlabelled(path: str, split: Split) -> np.ndarray:
    """Reads inputs without labels and prepares them as the training rows were.

    Returns:
        (u, *input_shape), of the training rows' dtype.

    Raises:
        DataError: They cannot be read, have another shape, or are inputs that choose or
            test.
    """
    ways = "Give an .npz file with an array x, or an .npy file: numpy.savez(path, x=x)."
    x = _read(path, ways)
    if split.preparation is None or split.kind == "table" or split.lengths is not None:
        raise DataError(
            "more inputs are images, series of one length or arrays",
            f"the data are {split.kind if split.lengths is None else 'of unequal length'}",
            "Leave --unlabelled out.",
        )
    if x.dtype.kind not in "fiub" or not x.size or not np.isfinite(x).all():
        raise DataError(
            "more inputs are finite numbers, one example or more",
            f"{path} holds {x.shape} of type {x.dtype}",
            ways,
        )
    dtype = split.x_train.dtype
    if dtype.kind == "i":
        _check_ids(path, x, split)
    try:
        prepared: np.ndarray = split.preparation(x).numpy().astype(dtype)
    except DataError as error:
        raise DataError(
            f"{path} holds inputs as they stand in the data: {error.rule}",
            error.received,
            error.way_out,
        ) from error
    if prepared.dtype.kind == "f" and not np.isfinite(prepared).all():
        rows = np.flatnonzero(~np.isfinite(prepared.reshape(len(prepared), -1)).all(1))
        raise DataError(
            f"more inputs are finite numbers as networks read them ({dtype})",
            f"{len(rows):,} of the {len(prepared):,} inputs of {path} are not, the first"
            f" at row {rows[0]}, whose largest value is {np.abs(x[rows[0]]).max():g}",
            "Leave them out of the file.",
        )
    for name, rule, seen in (
        ("test", "a student never sees the test set", split.x_test),
        ("validation", "a student is chosen on what it never sees", split.x_validation),
    ):
        known = {row.tobytes() for block in blocks(seen) for row in block}
        copies = np.flatnonzero([row.tobytes() in known for row in prepared])
        if len(copies):
            raise DataError(
                rule,
                f"{len(copies):,} of the {len(prepared):,} inputs of {path} are {name}"
                f" examples, the first at row {copies[0]}",
                "Leave them out of the file.",
            )
    return prepared


def _check_ids(path: str, x: np.ndarray, split: Split) -> None:
    """Raises a DataError unless they are ids that the data have."""
    if split.names is not None:
        raise DataError(
            "more inputs are arrays as the data are",
            "the data are texts, whose tokens have ids of their own",
            "Leave --unlabelled out.",
        )
    if x.dtype.kind == "f" and (x != np.trunc(x)).any():
        raise DataError(
            "ids are whole numbers, as those of the data",
            f"{path} holds {x[x != np.trunc(x)][0]:g}",
            "Give ids, or use --scale if the data are amounts.",
        )
    known = split.vocabulary
    if known is not None and not 0 <= x.min() <= x.max() < known:
        rows = x.reshape(len(x), -1)
        row = int(np.flatnonzero(((rows < 0) | (rows >= known)).any(1))[0])
        raise DataError(
            f"ids are those that the data have, 0 to {known - 1:,}",
            f"row {row} of {path} has {rows[row].min():.0f} to {rows[row].max():.0f}",
            "Leave such rows out of the file.",
        )


def _read(path: str, ways: str) -> np.ndarray:
    """Returns the array of a file, whatever is in it."""
    try:
        with open(path, "rb") as file:
            packed = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            if not packed:
                return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
            with np.load(file, allow_pickle=False) as archive:
                if "x" not in archive:
                    held = ", ".join(archive) or "no array"
                    raise DataError(
                        "more inputs are called x", f"{path} holds {held}", ways
                    )
                return np.asarray(archive["x"])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            "more inputs are an array that can be read", f"{path}: {said}", ways
        ) from error

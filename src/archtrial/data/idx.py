"""IDX files, as those of MNIST: images and labels in pairs."""

import gzip
import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from archtrial.data import cache
from archtrial.data.arrays import (
    Inputs,
    aligned,
    column_vector,
    shape_of_inputs,
    sizes_of,
)
from archtrial.data.content import Reading, check_size, damaged
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.split import TEST, TRAIN
from archtrial.data.stored import Array, Piece, Stored, joined
from archtrial.errors import DataError

__all__ = ["NAME", "read_idx"]

NAME = re.compile(r"idx\d-ubyte(\.gz)?$")
_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_CHUNK = 2**22


def read_idx(path: Path, told: Reading) -> Dataset:
    """Reads a pair of IDX files, and the test pair beside it.

    Raises:
        DataError: One is damaged, or its partner is not there.
    """
    if path.is_dir():
        names = [p for p in sorted(path.iterdir()) if NAME.search(p.name)]
        train = [p for p in names if "images" in p.name and "train" in p.name]
        if len(train) != 1:
            raise DataError(
                "a folder of IDX files holds one file of training images",
                f"{len(train)} files named *train*images* in {path.name}",
                "Give the path of the file of images.",
            )
        path = train[0]
    images = _partner(path, "images")
    test = images.with_name(images.name.replace("train", "t10k"))
    given, pairs = None, [images]
    if test != images and test.exists():
        pairs.append(test)
    headers = [_header(file) for file in pairs]
    in_memory = told.keeps(sum(sizes_of(h.shape, h.dtype) for h in headers))
    (x, y), *others = (_pair(file, in_memory=in_memory) for file in pairs)
    for x_test, y_test in others:
        if x.shape[1:] != x_test.shape[1:]:
            raise DataError(
                "training and test images have the same shape",
                f"{x.shape[1:]} and {x_test.shape[1:]}",
            )
        given = np.repeat([TRAIN, TEST], [len(x), len(x_test)])
        x, y = joined(x, x_test), np.concatenate([y, y_test])
    x, kind, notes = shape_of_inputs(images, x, told.channels)
    return assemble(
        images.name,
        x,
        y,
        kind=kind,
        task=told.task,
        known_task="classification",
        notes=tuple(notes),
        given=given,
    )


def _partner(path: Path, which: str) -> Path:
    """Returns the file of images or labels that belongs to one of either."""
    if which in path.name:
        return path
    other = {"images": "labels", "labels": "images"}[which]
    pattern = NAME.sub("idx?-ubyte*", path.name).replace(other, which)
    found = sorted(path.parent.glob(pattern))
    if other in path.name and found:
        return found[0]
    raise DataError(
        "IDX files come in pairs, images and labels",
        f"no {which} beside {path.name}",
        "Name them as train-images-idx3-ubyte and train-labels-idx1-ubyte.",
    )


def _pair(images: Path, *, in_memory: bool) -> tuple[Inputs, Array]:
    labels = _partner(images, "labels")
    x: Inputs = _array(images) if in_memory else _left_there(images)
    about = _header(labels)
    check_size(f"the labels of {labels.name}", about.end)
    y = column_vector(labels, "the file of labels", _array(labels))
    aligned(images, "images", x, "labels", y)
    return x, y


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    """Where the values begin."""

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


# What undoing a damaged gzip file raises.
_DAMAGE = (OSError, EOFError, ValueError, zlib.error)


def _header(path: Path) -> _Header:
    """Reads what an IDX file announces (described on the MNIST page of Y. LeCun)."""
    try:
        with _opened(path) as stream:
            content = stream.read(4 + 4 * 255)
    except _DAMAGE as error:
        raise damaged(path, error) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(
            "an IDX file starts with two zero bytes and a known type",
            f"{path.name} starts with {content[:4].hex(' ')}",
        )
    dtype, dimensions = np.dtype(_TYPES[content[2]]), content[3]
    if not 0 < dimensions <= 8:
        raise damaged(path, ValueError(f"it announces {dimensions} dimensions"))
    start = 4 + 4 * dimensions
    header = content[4:start].ljust(4 * dimensions, b"\0")
    return _Header(dtype, struct.unpack(f">{dimensions}I", header), start)


def _parts(path: Path, header: _Header) -> Iterator[bytes]:
    """Yields the values' bytes.

    Raises:
        DataError: There are more or fewer than were announced.
    """
    read = 0
    try:
        with _opened(path) as stream:
            while part := stream.read(_CHUNK):
                skipped = max(0, header.start - read)
                read += len(part)
                if read > header.end:
                    break
                yield part[skipped:]
    except _DAMAGE as error:
        raise damaged(path, error) from error
    if read != header.end:
        count = f"more than {header.end}" if read > header.end else str(read)
        raise damaged(
            path,
            ValueError(f"{count} bytes and not the {header.end:.12g} it announces"),
        )
    if 0 in header.shape:
        raise DataError("a data file holds examples", f"{path.name} has none")


def _array(path: Path) -> Array:
    header = _header(path)
    values = np.frombuffer(bytearray().join(_parts(path, header)), header.dtype)
    return values.reshape(header.shape).astype(header.dtype.newbyteorder("="))


def _left_there(path: Path) -> Stored:
    """Returns an array that stays in its file, or in the cache if it is packed."""
    header = _header(path)
    if path.suffix != ".gz":
        if path.stat().st_size != header.end or 0 in header.shape:
            for _ in _parts(path, header):  # which says what is wrong
                pass
        return Stored.of(Piece.of(path, header.start, header.dtype, header.shape))

    def unpacked(sink: cache.Sink) -> dict[str, Any]:
        for part in _parts(path, header):
            sink.write(part)
        return {}

    with path.open("rb") as packed:
        checksum = hashlib.file_digest(packed, "sha256").hexdigest()
    piece, _ = cache.kept(path.name, checksum, header.shape, header.dtype, unpacked)
    return Stored.of(piece)

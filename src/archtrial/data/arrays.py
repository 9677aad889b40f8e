"""Arrays: .npz files, and folders of .npy files; in memory, or where they are."""

import dataclasses
import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from archtrial.data import cache
from archtrial.data.content import Reading, check_size, damaged
from archtrial.data.dataset import Dataset, assemble
from archtrial.data.delimited import listing
from archtrial.data.split import TEST, TRAIN, VALIDATION
from archtrial.data.stored import Array, Piece, Stored, joined
from archtrial.errors import DataError

__all__ = [
    "Inputs",
    "aligned",
    "column_vector",
    "is_folder_of_arrays",
    "read_npy",
    "read_npz",
    "shape_of_inputs",
    "sizes_of",
]

Inputs: TypeAlias = Array | Stored

# What is unpacked goes through memory in parts of so many bytes.
_CHUNK = 2**22
# An array whose last axis is the slowest is turned in parts of so many values: of each,
# a stretch of every column is read.
_TURNED = 2**25


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


_NAMES = {
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


def read_npz(path: Path, told: Reading) -> Dataset:
    """Reads a .npz file.

    Raises:
        DataError: It is damaged, or an array that is needed is not there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            stored = [
                _Member.within(path, archive, info)
                for info in archive.infolist()
                if not info.filename.endswith("/")
            ]
            arrays, others = _known(path, stored, told)
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            single = file.read(6) == b"\x93NUMPY"
        if single:
            raise DataError(
                "a .npz file holds several named arrays",
                f"{path.name} holds a single one",
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            ) from error
        raise damaged(path, error) from error
    except (OSError, EOFError, ValueError, NotImplementedError) as error:
        raise damaged(path, error) from error
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(
                "a .npz file holds x and y",
                f"{path.name} has no {name}"
                + (f", but {listing(sorted(others))}" if others else ""),
                "Save it with numpy.savez('data.npz', x=x, y=y).",
            )
    return _assembled(path, arrays, others, told)


def read_npy(path: Path, told: Reading) -> Dataset:
    """Reads a folder of .npy files that are called as the arrays of a .npz file.

    Args:
        path: The folder, or the file x.npy in it.
        told: What the user says of it.

    Raises:
        DataError: One is damaged, or an array that is needed is not there.
    """
    folder = path
    if not path.is_dir():
        folder = path.parent
        beside = {p.stem for p in _npy_files(folder)}
        if path.stem not in _NAMES["x"] or beside.isdisjoint(_NAMES["y"]):
            raise DataError(
                "a .npy file holds one array; a data set has its inputs in x.npy and its"
                " targets in y.npy beside it",
                path.name,
                "Call them so and give the path of their folder; or put both into one"
                " file: numpy.savez('data.npz', x=x, y=y).",
            )
    arrays, others = _known(
        folder, [_Member.alone(p) for p in _npy_files(folder)], told
    )
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(
                "a folder of .npy files holds x.npy and y.npy",
                f"{folder.resolve().name} has no {name}.npy"
                + (f", but {listing(sorted(others))}" if others else ""),
                "Save the inputs with numpy.save('x.npy', x), the targets with"
                " numpy.save('y.npy', y).",
            )
    return _assembled(folder.resolve(), arrays, others, told)


def is_folder_of_arrays(path: Path) -> bool:
    """Whether a folder holds .npy files and no folders."""
    return bool(_npy_files(path)) and not any(
        child.is_dir() for child in path.iterdir()
    )


def _npy_files(folder: Path) -> list[Path]:
    return [
        child
        for child in sorted(folder.iterdir())
        if child.suffix.lower() == ".npy" and not child.name.startswith(".")
    ]


def _assembled(
    path: Path, arrays: Mapping[str, Any], others: list[str], told: Reading
) -> Dataset:
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
    x, y = arrays["x"], column_vector(path, "y", arrays["y"])
    count = aligned(path, "x", x, "y", y)
    groups = arrays.get("groups")
    if groups is not None:
        groups = column_vector(path, "groups", groups)
        aligned(path, "x", x, "groups", groups)
    sizes, parts = [count], [TRAIN]
    for name, part in _SETS.items():
        if name in arrays:
            x, y = _below(path, name, arrays, x, y)
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
    series = told.lengths is not None
    x, kind, remarks = shape_of_inputs(path, x, told.channels, series=series)
    return assemble(
        path.name,
        x,
        y,
        kind=kind,
        task=told.task,
        notes=(*notes, *remarks),
        given=given,
        groups=groups,
        told=told.lengths,
    )


def _below(
    path: Path, name: str, arrays: Mapping[str, Any], x: Inputs, y: Array
) -> tuple[Inputs, Array]:
    """Returns the examples with those of another set below them."""
    labels = f"y_{name[2:]}"
    more, y_more = arrays[name], column_vector(path, labels, arrays[labels])
    aligned(path, name, more, labels, y_more)
    if x.shape[1:] != more.shape[1:]:
        raise DataError(
            f"the examples of x and {name} have the same shape",
            f"{x.shape[1:]} and {more.shape[1:]} in {path.name}",
            "Fill the shorter series with NaN behind their end, and use --lengths mask."
            if x.ndim == more.ndim < 4
            else "",
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
    return joined(x, more), np.concatenate([y, y_more])


# --- where they are stored ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Member:
    """A .npy file, by itself or within a .npz."""

    name: str
    """Without its ending."""
    path: Path
    """The file that it is, or lies in."""
    size: int
    """Bytes, its header included."""
    open: Callable[[], IO[bytes]]
    begins: int
    """Where it lies in that file."""
    packed: int | None = None
    """The bytes that it takes there, where it is compressed."""

    @classmethod
    def alone(cls, path: Path) -> "_Member":
        size = path.stat().st_size
        return cls(path.stem, path, size, lambda: path.open("rb"), 0)

    @classmethod
    def within(
        cls, path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo
    ) -> "_Member":
        with path.open("rb") as file:
            file.seek(info.header_offset)
            head = file.read(30)
        if len(head) < 30:
            raise zipfile.BadZipFile("an entry lies beyond the end")
        # Names and extra fields are as long as the entry itself says, not the directory.
        begins = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
        plain = info.compress_type == zipfile.ZIP_STORED
        return cls(
            info.filename.removesuffix(".npy"),
            path,
            info.file_size,
            lambda: archive.open(info),
            begins,
            None if plain else info.compress_size,
        )

    @property
    def title(self) -> str:
        return "".join(c if c.isprintable() else "?" for c in self.name)[:60]


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a .npy file says of its array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes of the header itself."""

    @property
    def held(self) -> int:
        """Bytes of the values as they stand."""
        return math.prod(self.shape) * self.dtype.itemsize


def sizes_of(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Returns the bytes that inputs take, as they stand or as 32-bit numbers."""
    return math.prod(shape) * max(4, dtype.itemsize)


# What reading a damaged array may raise, in zipfile, zlib, NumPy and struct.
_DAMAGE = (
    OSError, EOFError, ValueError, TypeError, SyntaxError, OverflowError, RuntimeError,
    NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error, UnicodeError,
    MemoryError, RecursionError, KeyError,
)  # fmt: skip


def _known(
    path: Path, stored: Sequence[_Member], told: Reading
) -> tuple[dict[str, Any], list[str]]:
    """Returns the arrays by what they are, and the names of those that are unknown.

    Inputs that are too large for memory are `Stored`; all else is read.
    """
    members = {member.name: member for member in stored}
    names: dict[str, str] = {}
    for name, aliases in _NAMES.items():
        found = [alias for alias in aliases if alias in members]
        if len(found) > 1:
            raise DataError(
                f"one array of a data set is {name}",
                f"{' and '.join(found)} in {path.name}",
                "Leave one of them out.",
            )
        names.update(dict.fromkeys(found, name))
    headers = {key: _header(members[key]) for key in names}
    inputs = [key for key, name in names.items() if name[0] == "x"]
    taken = sum(sizes_of(headers[key].shape, headers[key].dtype) for key in inputs)
    in_memory = told.keeps(taken)
    others = [key for key in names if key not in inputs]
    check_size(f"the targets of {path.name}", sum(headers[key].held for key in others))
    arrays: dict[str, Any] = {}
    for key, name in names.items():
        read = _read if in_memory or key in others else _left_there
        arrays[name] = read(members[key], headers[key])
    return arrays, [members[key].title for key in members if key not in names]


def _header(member: _Member) -> _Header:
    """Reads a header, and checks that the file may hold what it announces."""
    formats = np.lib.format
    title = member.title
    try:
        with member.open() as stream:
            version = formats.read_magic(stream)
            if version == (1, 0):
                header = formats.read_array_header_1_0(stream)
            elif version == (2, 0):
                header = formats.read_array_header_2_0(stream)
            else:
                # UTF-8 in the names of fields, which no plain array has.
                raise ValueError(f"{title} is no plain array")
            length = stream.tell()
        shape, fortran, dtype = header
        if dtype.hasobject:
            raise DataError(
                "arrays hold plain numbers or texts",
                f"{title} in {member.path.name} holds Python objects",
                "Objects would have to be unpickled, which can run code. Make it an"
                " array of one type, for instance np.array(y, dtype=str).",
            )
        if dtype.itemsize == 0 or min(shape, default=0) < 0:
            raise ValueError(f"{title} is of the shape {shape} and type {dtype}")
        if math.prod(shape) * dtype.itemsize > member.size - length:
            raise ValueError(f"{title} announces more than it holds")
    except DataError:
        raise
    except _DAMAGE as error:
        raise damaged(member.path, error) from error
    # An array of one axis is the same in both orders.
    return _Header(shape, fortran and len(shape) > 1, dtype, length)


def _read(member: _Member, header: _Header) -> Array:
    """Reads one array; no more is asked for than its file may hold."""
    content = bytearray()
    for part in _parts(member, header):
        content += part
    values = np.frombuffer(content, header.dtype)
    shape = header.shape
    values = values.reshape(shape[::-1]).T if header.fortran else values.reshape(shape)
    return np.require(values, requirements="C").astype(
        header.dtype.newbyteorder("="), copy=False
    )


def _parts(member: _Member, header: _Header) -> Iterator[bytes]:
    """Yields an array's bytes as they stand, and reads on to where their checksum is.

    Raises:
        DataError: They end too early, or are not those that were written.
    """
    left = header.held
    try:
        with member.open() as stream:
            stream.read(header.length)
            while left:
                part = stream.read(min(left, _CHUNK))
                if not part:
                    raise ValueError(f"{member.title} is cut off")
                left -= len(part)
                yield part
            while stream.read(_CHUNK):
                pass
    except _DAMAGE as error:
        raise damaged(member.path, error) from error


def _left_there(member: _Member, header: _Header) -> Inputs:
    """Returns an array that stays in its file, or in the cache if it cannot."""
    if not header.shape or 0 in header.shape:
        return _read(member, header)  # no examples, as whoever asks will say
    if member.packed is None:
        if member.begins:
            for _ in _parts(member, header):  # its checksum
                pass
        if not header.fortran:
            return Stored.of(_where_it_is(member, header))
    return Stored.of(_unpacked(member, header))


def _where_it_is(member: _Member, header: _Header) -> Piece:
    return Piece.of(
        member.path,
        member.begins + header.length,
        header.dtype,
        header.shape,
        fortran=header.fortran,
    )


def _unpacked(member: _Member, header: _Header) -> Piece:
    """Returns an array as the cache keeps it: not compressed, rows one after another."""
    source = f"{member.title} of {member.path.name}"
    # As it is before its checksum is taken: what is written later is not unpacked.
    unpacked = _where_it_is(member, header) if member.packed is None else None
    length = member.size if member.packed is None else member.packed
    checksum = _checksum(member.path, member.begins, length)

    def as_it_stands(sink: cache.Sink) -> dict[str, Any]:
        for part in _parts(member, header):
            sink.write(part)
        return {}

    if not header.fortran:
        return cache.kept(source, checksum, header.shape, header.dtype, as_it_stands)[0]

    def turned(sink: cache.Sink) -> dict[str, Any]:
        columns = unpacked or cache.Scratch(
            source, _parts(member, header), header.shape, header.dtype, fortran=True
        )
        size = max(1, _TURNED // max(1, math.prod(header.shape[1:])))
        for start in range(0, header.shape[0], size):
            sink.write(columns.take(slice(start, start + size)).tobytes())
        return {}

    return cache.kept(source, f"{checksum}-rows", header.shape, header.dtype, turned)[0]


def _checksum(path: Path, begins: int, length: int) -> str:
    """Returns the SHA-256 of a part of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(begins)
        while length > 0 and (part := file.read(min(length, _CHUNK))):
            digest.update(part)
            length -= len(part)
    return digest.hexdigest()


# --- what they mean ------------------------------------------------------------


def column_vector(path: Path, name: str, values: Array) -> Array:
    """Returns one value for each example, (N,).

    Raises:
        DataError: There are several.
    """
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


def aligned(path: Path, a: str, left: Inputs, b: str, right: Array) -> int:
    """Checks that two arrays are about the same rows, and returns how many.

    Raises:
        DataError: They are not, or there are none.
    """
    length = len(left) if left.ndim else 0
    if length != len(right):
        raise DataError(
            f"{a} and {b} have the same length",
            f"{length} and {len(right)} in {path.name}",
        )
    if length == 0:
        raise DataError("a data file holds examples", f"{a} in {path.name} is empty")
    return length


def shape_of_inputs(
    path: Path, x: Inputs, channels: str | None, *, series: bool = False
) -> tuple[Inputs, str, list[str]]:
    """Returns the inputs with channels first, their kind and how they were read.

    Args:
        path: Of the file.
        x: As it stands there.
        channels: "first" or "last", where that is declared.
        series: Whether it is declared that these are series.

    Raises:
        DataError: They have another number of dimensions, or it cannot be told where
            their channels are.
    """
    if x.ndim not in (1, 2, 3, 4) or 0 in x.shape:
        raise DataError(
            "x has two to four dimensions, none of them empty",
            f"shape {x.shape} in {path.name}",
            "Use (N, features), (N, channels, length) or (N, channels, height, width).",
        )
    if series and x.ndim not in (2, 3):
        raise DataError(
            "lengths is for series: (N, length), (N, channels, length) or (N, length,"
            " channels)",
            f"shape {x.shape} in {path.name}",
            "Leave it out.",
        )
    if x.ndim < 3:
        if channels is not None:
            raise DataError(
                "channels is for arrays of three or four dimensions",
                f"{channels} for shape {x.shape} in {path.name}",
                "Leave it out.",
            )
        if series:
            return x, "sequence", ["Inputs read as series of one channel."]
        return (x.reshape(len(x), 1) if x.ndim == 1 else x), "array", []
    grey = not series and (x.dtype.itemsize == 1 or x.shape[1] == x.shape[2])
    if x.ndim == 3 and channels is None and grey:
        height, width = x.shape[1:]
        note = (
            f"Inputs read as grey images of {height} x {width} (channels = first or"
            " last if they are series)."
        )
        return x.reshape(len(x), 1, height, width), "image", [note]
    first = channels or _place_of_channels(path, x.shape)
    if first == "last":
        x = (
            x.channels_first()
            if isinstance(x, Stored)
            else np.ascontiguousarray(np.moveaxis(x, -1, 1))
        )
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

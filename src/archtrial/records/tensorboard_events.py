"""Scalars and hyperparameters from TensorBoard's event files, without TensorBoard.

An event file is a sequence of records (length, checksum, bytes, checksum), each a
protocol buffer: Event {1 wall_time, 2 step, 5 Summary {1 Value {1 tag,
2 simple_value, 8 TensorProto, 9 metadata}}}. Hyperparameters lie in the metadata of
the plugin "hparams". Fields that are not known are passed over.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archtrial.errors import RecordsError
from archtrial.records import packed

__all__ = ["read"]

_MOST_RECORD = 256 << 20
"""Bytes of a record; an image or a histogram is smaller."""
_MOST_CHECKED = 1 << 16
"""Bytes of a record whose checksum is computed; one of scalars is smaller."""


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any], bool]:
    """Returns the rows, one a step, the hyperparameters, and whether it is cut off.

    Raises:
        RecordsError: The file is damaged.
    """
    rows: dict[int, dict[str, Any]] = {}
    said: dict[str, Any] = {}
    cut = False
    try:
        for record in _records(path):
            if record is None:
                cut = True
                continue
            step, values = 0, []
            for number, value in _fields(record):
                if number == 2 and isinstance(value, int):
                    step = value
                elif number == 5 and isinstance(value, bytes):
                    values += [v for n, v in _fields(value) if n == 1]
            for value in values:
                _value(value, rows.setdefault(step, {"step": step}), said)
    except (struct.error, IndexError, UnicodeError, TypeError, ValueError) as error:
        raise RecordsError(
            "an event file of TensorBoard's is whole", f"{path}: {error}"
        ) from None
    return [row for row in rows.values() if len(row) > 1], said, cut


def _records(path: Path) -> Iterator[bytes | None]:
    """Yields the records; None where the last one is cut off, as of a live run."""
    with packed.opened(path) as file:
        while head := file.read(12):
            if len(head) < 12:
                yield None
                return
            length, checksum = struct.unpack("<QI", head)
            if _masked(head[:8]) != checksum:
                raise ValueError("a record's length does not agree with its checksum")
            if length > _MOST_RECORD:
                raise ValueError(f"a record of more than {_MOST_RECORD >> 20} MiB")
            data = file.read(length)
            tail = file.read(4)
            if len(data) < length or len(tail) < 4:
                yield None
                return
            if (
                length <= _MOST_CHECKED
                and _masked(data) != struct.unpack("<I", tail)[0]
            ):
                raise ValueError("a record does not agree with its checksum")
            yield data


def _value(value: Any, row: dict[str, Any], said: dict[str, Any]) -> None:
    tag, number, metadata = "", None, b""
    for field, found in _fields(value):
        if field == 1:
            tag = found.decode()
        elif field == 2 and isinstance(found, bytes):
            (number,) = struct.unpack("<f", found)
        elif field == 8:
            number = _tensor(found)
        elif field == 9:
            metadata = found
    if tag == "_hparams_/session_start_info":
        said.update(_hyperparameters(metadata))
    elif number is not None and not tag.startswith("_hparams_/"):
        row[tag] = number


def _tensor(value: bytes) -> float | None:
    """Returns a tensor's value, if it has one alone and is of floats."""
    kind, forms = 0, ("<f", 4)
    read: list[float] = []
    for field, found in _fields(value):
        if field == 1:
            kind = found
            if kind not in (1, 2):  # float, double
                return None
            forms = ("<f", 4) if kind == 1 else ("<d", 8)
        elif field in (4, 5, 6) and isinstance(found, bytes):
            form, size = ("<f", 4) if field == 5 else ("<d", 8) if field == 6 else forms
            read += [
                v for (v,) in struct.iter_unpack(form, found) if len(found) % size == 0
            ]
    return read[0] if len(read) == 1 and kind else None


def _hyperparameters(metadata: bytes) -> dict[str, Any]:
    """Returns the values that `add_hparams` or the plugin wrote of a run."""
    found: dict[str, Any] = {}
    for content in _inside(metadata, 1, 2, 3):
        for field, entry in _fields(content):
            if field != 1:
                continue
            pair = dict(_fields(entry))
            name, value = pair.get(1, b"").decode(), dict(_fields(pair.get(2, b"")))
            if 2 in value:
                found[name] = struct.unpack("<d", value[2])[0]
            elif 3 in value:
                found[name] = value[3].decode()
            elif 4 in value:
                found[name] = bool(value[4])
    return found


def _inside(data: bytes, *path: int) -> Iterator[bytes]:
    if not path:
        yield data
        return
    for field, found in _fields(data):
        if field == path[0] and isinstance(found, bytes):
            yield from _inside(found, *path[1:])


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yields the fields of a protocol buffer: whole numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number - (1 << 64) if number >> 63 else number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the kind {kind}, which there is not")
        if at + size > len(data):
            raise ValueError("a field is longer than its record")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (1 << 64) - 1, at
    raise ValueError("a number of more than 64 bits")


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _table()


def _masked(data: bytes) -> int:
    """Returns the checksum of a TFRecord: CRC-32C, turned and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

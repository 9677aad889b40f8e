"""Damaged files of every format: one message, never a traceback."""

import gzip
import io
import os
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archtrial.data import load
from archtrial.errors import UserError
from archtrial.protocol import Splits

SECONDS = float(os.environ.get("ARCHTRIAL_FUZZ_SECONDS", "2"))

# What damaged numbers, quotes and marks of formats begin with.
_TOKENS = (
    b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b'"', b"'", b",", b";", b"\n", b"\r", b"\t",
    b"#", b"1e400", b"-1e400", b"nan", b"9" * 400, b"0x1p3", b"1_000", b"\xef\xbb\xbf",
    b"\xff\xfe", b"{'descr': '|O'", b"(1000000000000,)", b"-1", b"%", b"@", b"?", b"",
    b"31/31/2031", b"99.99.9999", b"1.234,5", b"1,234.5", b"PK\x03\x04", b"\x1f\x8b",
)  # fmt: skip


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes with a few of them changed, cut, doubled or put in."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) + 1))
        kind = int(rng.integers(6))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and at < len(data):
            data[at] = int(rng.integers(256))
        elif kind == 2:
            data[at : at + int(rng.integers(64))] = b""
        elif kind == 3:
            data[at:at] = _TOKENS[int(rng.integers(len(_TOKENS)))]
        elif kind == 4:
            data[at : at + 4] = struct.pack("<I", int(rng.integers(2**32)))
        elif len(data) < 2**16:
            part = data[at : at + int(rng.integers(256))]
            data[at:at] = part * int(rng.integers(1, 4))
    if rng.integers(8) == 0:
        data = data[: int(rng.integers(len(data) + 1))]
    return bytes(data)


def _reads(path: Path) -> None:
    load(path).split(Splits(), 0)


def _arrays() -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    np.savez(file, x=rng.normal(size=(30, 3)), y=np.arange(30) % 2, x_test=rng.normal(
        size=(9, 3)), y_test=np.arange(9) % 2)  # fmt: skip
    return file.getvalue()


def _packed() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(120.0).reshape(30, 4), y=np.arange(30) % 3)
    return file.getvalue()


def _table() -> bytes:
    lines = ["id,when,a,b,c,y"] + [
        f'{i},{1 + i % 28}/{1 + i % 12}/2020,"{i * 7 % 31 + 1},500",{i * 3 % 17 / 4},'
        f"{'?' if i == 4 else 'uvw'[i % 3]},{'pn'[i % 2]}"
        for i in range(40)
    ]
    return "\n".join(lines).encode()


def _frame() -> bytes:
    file = io.BytesIO()
    pd.DataFrame(
        {"a": np.arange(40) * 7 % 31 / 4, "t": list("uvwx") * 10, "y": [0, 1] * 20}
    ).to_parquet(file)
    return file.getvalue()


def _idx(values) -> bytes:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def _ts() -> bytes:
    lines = ["@problemName toy", "@timeStamps false", "@classLabel true 0 1", "@data"]
    lines += [
        ":".join([",".join(str(v) for v in range(i, i + 6)), str(i % 2)])
        for i in range(30)
    ]
    return "\n".join(lines).encode()


def _ucr() -> bytes:
    return "\n".join(
        "\t".join([str(1 + i % 2), *(f"{(i * j) % 13 / 3:.4f}" for j in range(1, 9))])
        for i in range(30)
    ).encode()


def _image(kind: str, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(1)
    shape = (6, 5, 3) if mode == "RGB" else (6, 5)
    pixels = rng.integers(256, size=shape, dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) if mode == "I;16" else pixels)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, format=kind, **({"exif": exif} if kind == "JPEG" else {}))
    return file.getvalue()


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", _table())
    return file.getvalue()


WHOLE: dict[str, bytes] = {
    "a.npz": _arrays(),
    "packed.npz": _packed(),
    "t.csv": _table(),
    "t.csv.gz": gzip.compress(_table(), mtime=0),
    "t.csv.zip": _zipped(),
    "t.parquet": _frame(),
    "train-images-idx3-ubyte": _idx(np.arange(480).reshape(24, 4, 5) % 251),
    "train-labels-idx1-ubyte": _idx(np.arange(24) % 2),
    "toy.ts": _ts(),
    "Toy_TRAIN.tsv": _ucr(),
    "i.png": _image("PNG"),
    "i.jpg": _image("JPEG"),
    "i.gif": _image("GIF", "L"),
    "i.bmp": _image("BMP"),
    "i.tif": _image("TIFF"),
    "deep.tif": _image("TIFF", "I;16"),
    "i.webp": _image("WEBP"),
}


def _idx_pair(path: Path) -> None:
    other = {"images": "labels", "labels": "images"}[path.name.split("-")[1]]
    beside = next(name for name in WHOLE if f"train-{other}" in name)
    path.with_name(beside).write_bytes(WHOLE[beside])
    _reads(path)


def _one_of_a_folder(path: Path) -> None:
    folder = path.parent / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(4):
            whole = folder / name / f"{index}{path.suffix}"
            whole.write_bytes(WHOLE[path.name])
    (folder / "cat" / f"9{path.suffix}").write_bytes(path.read_bytes())
    _reads(folder)


READERS: dict[str, Callable[[Path], None]] = {
    name: _idx_pair
    if "idx" in name
    else _one_of_a_folder
    if name.partition(".")[0] in ("i", "deep")
    else _reads
    for name in WHOLE
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_whole_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name])
    READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_what_is_damaged_is_read_or_refused(tmp_path, name):
    seed = sum(name.encode())
    began, tried, refused, longest = time.monotonic(), 0, 0, 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while tried < 40 or (tried < 2000 and time.monotonic() - began < SECONDS):
            damaged = mutate(WHOLE[name], np.random.default_rng([seed, tried]))
            (tmp_path / name).write_bytes(damaged)
            tried += 1
            try:
                READERS[name](tmp_path / name)
            except UserError as error:
                refused += 1
                longest = max(longest, len(str(error)))
            except Exception as error:
                raise AssertionError(f"seed {[seed, tried - 1]}: {error!r}") from error
    assert refused > 0
    assert longest < 2000

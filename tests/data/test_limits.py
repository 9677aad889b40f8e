"""Small files that announce gigabytes, and files that are not what they are called."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest

from archtrial.data import content, load
from archtrial.errors import DataError


def refused(path, words, **options):
    with pytest.raises(DataError, match=words):
        load(path, **options)


def member(shape, dtype="<f8", payload=b""):
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + payload


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, payload in members.items():
            file.writestr(f"{name}.npy", payload)
    return path


def test_arrays_that_announce_more_than_they_hold(tmp_path):
    y = member((4,), "<i8", bytes(32))
    for shape in ((10**12,), (10**6, 10**6), (2**62, 4), (-1, 3)):
        path = archive(tmp_path / "a.npz", x=member(shape), y=y)
        refused(path, "can be read to its end")
    refused(archive(tmp_path / "a.npz", x=b"no array", y=y), "can be read to its end")
    refused(
        archive(tmp_path / "a.npz", x=member((4,), "|O", b"x"), y=y),
        "unpickled|Objects",
    )
    refused(archive(tmp_path / "a.npz", x=member((0,)), y=member((0,))), "is empty")


def test_what_is_packed_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MOST_BYTES", 10**6)
    text = b"a,y\n" + b"1,2\n" * 500_000
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text))
    refused(tmp_path / "t.csv.gz", "holds more")
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("t.csv", text)
    refused(tmp_path / "t.csv.zip", "holds more")
    np.savez_compressed(
        tmp_path / "a.npz", x=np.zeros((300_000, 2)), y=np.zeros(300_000)
    )
    refused(tmp_path / "a.npz", "fit into memory")
    pd.DataFrame({"a": np.zeros(200_000), "y": [0, 1] * 100_000}).to_parquet(
        tmp_path / "t.parquet"
    )
    refused(tmp_path / "t.parquet", "fit into memory")


@pytest.mark.parametrize(
    "head",
    [
        struct.pack(">BBBBI", 0, 0, 8, 1, 0),
        struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**31, 2**31),
        struct.pack(">BBBB3I", 0, 0, 14, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        struct.pack(">BBBB", 0, 0, 8, 255),
        struct.pack(">BBBB", 0, 0, 8, 0),
        b"\0\0",
    ],
)
def test_idx_of_no_size_or_any(tmp_path, head):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(head)
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\0\1"
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(DataError):
        load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a,b\0c,y\n1,2,3\n", "zero bytes"),
        (b"a,y\n" + b"1e400,2.5\n1,3.5\n" * 20, "finite"),
        (b'a,y\n"1,2\n' + b"3,4\n" * 90_000, "quotation mark|as many fields"),
        (b"a,y\n1,2\n\xe9,3\n", "UTF-8"),
        (b"\n\n \n", "is empty"),
    ],
)
def test_texts_that_are_none(tmp_path, text, words):
    (tmp_path / "t.csv").write_bytes(text)
    refused(tmp_path / "t.csv", words)


def test_a_zip_of_several_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as file:
        file.writestr("a.csv", "a,y\n1,2\n")
        file.writestr("b.csv", "a,y\n1,2\n")
    refused(tmp_path / "t.csv.zip", "holds one file: 2")


def test_what_is_no_file(tmp_path):
    import os

    os.mkfifo(tmp_path / "p.csv")
    refused(tmp_path / "p.csv", "is neither")
    refused("x" * 5000, "file, a folder or a built-in")


def test_an_entry_of_an_archive_without_a_name_is_one_message(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"")
    # A name ends where it has a zero byte.
    path.write_bytes(path.read_bytes().replace(b"x.npy", b"\0.npy"))
    with pytest.raises(DataError):
        load(str(path))


def test_texts_of_a_parquet_file_that_are_no_utf8_are_one_message(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = tmp_path / "t.parquet"
    offsets, letters = (
        pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0])),
        pa.py_buffer(b"\xff"),
    )
    texts = pa.Array.from_buffers(pa.string(), 1, [None, offsets, letters])
    parquet.write_table(pa.table({"x": [1.0], "y": texts}), path)
    with pytest.raises(DataError, match="damaged"):
        load(str(path), target="y")

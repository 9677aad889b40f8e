"""Inputs that stay in files: the same data set, whatever it is read from."""

import gzip
import os
import pickle
import shutil
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from archtrial.data import load
from archtrial.data.cache import kept
from archtrial.data.stored import Opened, Piece, Prepared, Stored
from archtrial.errors import DataError
from archtrial.protocol import Splits


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "archtrial" / "arrays"


def labels(count, classes=2):
    return np.arange(count) % classes


def saved(root, form, **arrays):
    """Saves arrays as one of three forms, and returns the path."""
    if form == "npy":
        (root / "data").mkdir()
        for name, values in arrays.items():
            np.save(root / "data" / f"{name}.npy", values)
        return root / "data"
    save = np.savez if form == "npz" else np.savez_compressed
    save(root / "data.npz", **arrays)
    return root / "data.npz"


def both(path, *, scale=True, names=False, splits=None, **told):
    """Returns the split of data in memory, and of the same data in files."""
    datasets = [load(path, memory=memory, **told) for memory in (1, 0)]
    assert isinstance(datasets[0].inputs, np.ndarray)
    assert isinstance(datasets[1].inputs, Stored)
    return [
        data.split(splits or Splits(), 0, scale=scale, names=names) for data in datasets
    ]


def check_alike(held, stored):
    assert stored.digest == held.digest
    assert stored.notes == held.notes
    assert stored.copies == held.copies
    assert stored.preparation == held.preparation
    assert stored.input_shape == held.input_shape
    assert (stored.y_train == held.y_train).all()
    for part in ("x_train", "x_validation", "x_test"):
        there, here = getattr(held, part), getattr(stored, part)
        assert isinstance(here, Prepared)
        assert (here.shape, here.ndim, here.dtype) == (
            there.shape,
            there.ndim,
            there.dtype,
        )
        assert here[:].tobytes() == there.tobytes()
        some = np.array([len(there) - 1, 0, 1, 0])
        assert here[some].tobytes() == there[some].tobytes()
        assert here[1:4].tobytes() == there[1:4].tobytes()


SHAPES = [
    ((90, 7), None),
    ((90,), None),
    ((90, 2, 9), None),
    ((90, 9, 2), "last"),
    ((90, 6, 6), None),
    ((90, 3, 6, 5), None),
    ((90, 6, 5, 3), None),
    ((90, 9, 9, 3), "last"),
]


@pytest.mark.parametrize("form", ["npz", "compressed", "npy"])
@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_the_same_split_of_any_shape(tmp_path, form, shape, channels):
    x = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    path = saved(tmp_path, form, x=x, y=labels(90, 3))
    check_alike(*both(path, channels=channels))


@pytest.mark.parametrize("form", ["npz", "compressed", "npy"])
@pytest.mark.parametrize(
    "dtype", ["?", "u1", "<u2", ">u2", "<i8", ">i4", "<f2", ">f4", "<f8", ">f8", "i1"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_same_split_of_any_type(tmp_path, form, dtype, order):
    x = np.random.default_rng(0).integers(0, 120, (60, 3, 8, 8)).astype(dtype)
    path = saved(tmp_path, form, x=np.array(x, order=order), y=labels(60))
    check_alike(*both(path))


@pytest.mark.parametrize("block", [64, 1000])
def test_blocks_change_nothing(tmp_path, monkeypatch, block):
    monkeypatch.setattr("archtrial.data.stored._BLOCK", block)
    monkeypatch.setattr("archtrial.data.copies._ALONG", 7)
    monkeypatch.setattr("archtrial.data.copies._TOGETHER", 150)
    monkeypatch.setattr("archtrial.data.leaks._COLUMNS", 100)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5))
    x[100:110] = x[:10]  # copies
    x[110:120] = x[10:20] + 1e-5  # near ones
    path = saved(tmp_path, "npz", x=x, y=rng.normal(size=120))
    held, stored = both(path, splits=Splits(kind="time"))
    check_alike(held, stored)
    assert held.copies.exact
    assert held.copies.near


def test_wide_inputs_are_searched_for_copies(tmp_path, cache):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3, 16, 16)).astype(np.float32)
    x[160:] = x[:40] + 1e-4
    path = saved(tmp_path, "npz", x=x, y=labels(200))
    held, stored = both(path, splits=Splits(kind="time"))
    check_alike(held, stored)
    assert held.copies.near > 5
    assert list(cache.iterdir()) == []  # what was needed for it is gone


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_sets_that_come_divided_lie_below_each_other(tmp_path, form):
    rng = np.random.default_rng(0)
    path = saved(
        tmp_path,
        form,
        x_train=rng.integers(0, 255, (60, 8, 8), dtype=np.uint8),
        y_train=labels(60),
        x_val=rng.integers(0, 255, (20, 8, 8), dtype=np.uint8),
        y_val=labels(20),
        x_test=rng.integers(0, 255, (30, 8, 8), dtype=np.uint8),
        y_test=labels(30),
        remarks=np.zeros(3),
    )
    held, stored = both(path)
    check_alike(held, stored)
    assert (len(stored.x_train), len(stored.x_validation), stored.test_size) == (
        60, 20, 30,
    )  # fmt: skip
    assert any("Not used" in note and "remarks" in note for note in stored.notes)


def test_groups_stay_together(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 4))
    path = saved(tmp_path, "npz", x=x, y=labels(90), groups=np.arange(90) // 9)
    check_alike(*both(path))


def test_names_stay_whole_numbers(tmp_path):
    x = np.random.default_rng(0).integers(0, 50, (90, 12))
    path = saved(tmp_path, "npy", x=x, y=labels(90))
    held, stored = both(path, names=True)
    check_alike(held, stored)
    assert stored.x_train.dtype == np.int64
    x = x.astype(np.uint64)
    x[80, 3] = 2**63
    np.save(path / "x.npy", x)
    with pytest.raises(DataError, match="64 bits"):
        load(path, memory=0).split(Splits(), 0, names=True)


def test_inputs_that_are_not_scaled(tmp_path):
    x = np.random.default_rng(0).normal(5, 2, size=(90, 12))
    check_alike(*both(saved(tmp_path, "npz", x=x, y=labels(90)), scale=False))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_feature_that_gives_the_target_away_is_named(tmp_path, task):
    rng = np.random.default_rng(0)
    y = labels(700, 3) if task == "classification" else rng.normal(size=700)
    x = rng.normal(size=(700, 6))
    x[:, 1] = 4.5  # constant
    x[:, 2] = y * 2 + 3
    x[:, 4] = np.where(np.arange(700) < 600, y, rng.normal(size=700))
    path = saved(tmp_path, "npz", x=x, y=y)
    held, stored = both(path, task=task, splits=Splits(kind="random"))
    check_alike(held, stored)
    (note,) = [note for note in stored.notes if "read off" in note]
    assert "feature 2:" in note
    assert any("Constant in the training rows: feature 1." in n for n in stored.notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_counted_and_placed(tmp_path, value, monkeypatch):
    monkeypatch.setattr("archtrial.data.stored._BLOCK", 30)
    x = np.zeros((90, 12))
    x[70, 3] = x[80, 1] = value
    path = saved(tmp_path, "npy", x=x, y=labels(90))
    with pytest.raises(DataError, match=r"2 NaN or infinite, the first at \[70, 3\]"):
        load(path, memory=0)


def test_numbers_beyond_32_bits(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 12))
    x[5, 3] = 1e300
    path = saved(tmp_path, "npy", x=x, y=labels(90))
    with pytest.raises(DataError, match="32 bits can hold"):
        load(path, memory=0).split(Splits(), 0, scale=False)


def test_where_inputs_lie_is_said_and_is_no_part_of_the_study(tmp_path, cache):
    x = np.zeros((90, 3, 6, 6)) + labels(90)[:, None, None, None]
    path = saved(tmp_path, "compressed", x=x, y=labels(90))
    held, stored = both(path)
    assert held.here == ()
    (said,) = stored.here
    assert str(cache) in said
    assert "may be deleted at any time" in said
    assert said not in stored.notes


# --- IDX ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("code", [8, 11, 13, 14])
def test_idx_files(tmp_path, ending, code):
    rng = np.random.default_rng(0)
    dtype = {8: ">u1", 11: ">i2", 13: ">f4", 14: ">f8"}[code]
    for prefix, count in (("train", 60), ("t10k", 20)):
        x = rng.integers(0, 99, (count, 6, 5)).astype(dtype)
        for name, values, kind in (
            ("images-idx3", x, code),
            ("labels-idx1", labels(count).astype(">u1"), 8),
        ):
            head = struct.pack(">BBBB", 0, 0, kind, values.ndim)
            head += struct.pack(f">{values.ndim}I", *values.shape)
            content = head + values.tobytes()
            file = tmp_path / f"{prefix}-{name}-ubyte{ending}"
            file.write_bytes(gzip.compress(content) if ending else content)
    channels = "first" if code != 8 else None
    check_alike(*both(tmp_path, channels=channels))
    file = tmp_path / f"train-images-idx3-ubyte{ending}"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    with pytest.raises(DataError, match="can be read to its end"):
        load(tmp_path, memory=0, channels=channels)


# --- images, decoded once ------------------------------------------------------------


def pictures(root, mode="RGB", count=20):
    rng = np.random.default_rng(0)
    for i in range(count):
        place = root / "ab"[i % 2] / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == "I;16":
            pixels = rng.integers(0, 2**16, (6, 5), dtype=np.uint16)
        else:
            channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
            pixels = rng.integers(0, 255, (6 + (i == 3), 5, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    return root


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_images_are_decoded_once(tmp_path, cache, mode):
    root = pictures(tmp_path / "pictures", mode)
    check_alike(*both(root))
    (entry,) = cache.glob("*.npy")
    assert np.load(entry).shape == (20, 3 if "RGB" in mode else 1, 6, 5)
    made = entry.stat().st_mtime_ns
    again = load(root, memory=0)
    assert entry.stat().st_mtime_ns == made
    assert list(cache.glob("*.npy")) == [entry]
    assert again.notes == load(root).notes


def test_the_cache_is_made_anew_once_its_source_has_changed(tmp_path, cache):
    root = pictures(tmp_path / "pictures")
    load(root, memory=0)
    Image.new("RGB", (5, 6), "red").save(root / "a" / "00.png")
    check_alike(*both(root))
    assert len(list(cache.glob("*.npy"))) == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "unsaid", "other", "words"])
def test_a_damaged_entry_is_made_anew(tmp_path, cache, damage):
    root = pictures(tmp_path / "pictures")
    load(root, memory=0)
    (entry,) = cache.glob("*.npy")
    whole = entry.read_bytes()
    if damage == "cut":
        entry.write_bytes(whole[:-100])
    elif damage == "gone":
        entry.unlink()
    elif damage == "other":
        np.save(entry, np.zeros(1))
    else:
        about = entry.with_suffix(".json")
        about.write_text("[]") if damage == "words" else about.unlink()
    check_alike(*both(root))
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("what", ["array", "words"])
def test_an_entry_with_one_flipped_bit_is_made_anew(tmp_path, cache, what):
    root = pictures(tmp_path / "pictures", "RGBA")
    load(root, memory=0)
    (entry,) = cache.glob("*.npy")
    damaged = entry if what == "array" else entry.with_suffix(".json")
    whole = damaged.read_bytes()
    changed = bytearray(whole)
    # A digit of what is counted stays one.
    place = -7 if what == "array" else whole.index(b"20")
    changed[place] ^= 1
    damaged.write_bytes(changed)
    check_alike(*both(root))
    assert damaged.read_bytes() == whole


def test_an_entry_is_digested_once_in_a_process(tmp_path, cache, monkeypatch):
    root = pictures(tmp_path / "pictures")
    load(root, memory=0)
    load(root, memory=0)
    monkeypatch.delattr("hashlib.file_digest")
    assert isinstance(load(root, memory=0).inputs, Stored)


def test_of_two_studies_that_make_an_entry_the_first_leaves_it(cache):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    first = []

    def write(sink):
        sink.write(values.tobytes())
        return {}

    def slower(sink):  # than another study, which begins later and ends before
        first.append(kept("x", "abc", values.shape, values.dtype, write)[0])
        return write(sink)

    second, _ = kept("x", "abc", values.shape, values.dtype, slower)
    for piece in (*first, second):
        assert (piece.take(slice(0, 3)) == values).all()
    assert sorted(path.name for path in cache.iterdir()) == ["abc.json", "abc.npy"]


def test_columns_that_two_studies_unpack_at_once(tmp_path, cache, monkeypatch):
    x = np.random.default_rng(0).normal(size=(90, 7))
    path = saved(tmp_path, "compressed", x=np.asfortranarray(x), y=labels(90))
    opened, other = Opened.__init__, []

    def later(self, piece):
        if not other:  # the other study comes and ends before the columns are read
            other.append(None)
            other.append(load(path, memory=0).inputs)
        opened(self, piece)

    monkeypatch.setattr(Opened, "__init__", later)
    own = load(path, memory=0).inputs
    assert own[:].tobytes() == other[1][:].tobytes() == x.tobytes()
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_is_deleted_is_not_called_full(tmp_path, cache, monkeypatch):
    root = pictures(tmp_path / "pictures")
    replace = os.replace

    def deleted(source, target):
        shutil.rmtree(cache)
        replace(source, target)

    monkeypatch.setattr("os.replace", deleted)
    with pytest.raises(DataError, match=r"(?s)cache stays.*Give the same command"):
        load(root, memory=0)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    check_alike(*both(root))


def test_one_broken_image_leaves_nothing_in_the_cache(tmp_path, cache):
    root = pictures(tmp_path / "pictures")
    content = (root / "b" / "11.png").read_bytes()
    (root / "b" / "11.png").write_bytes(content[:70])
    with pytest.raises(DataError, match=r"11\.png can be read to its end"):
        load(root, memory=0)
    assert not list(cache.glob("*"))


def test_what_a_killed_study_left_is_removed_and_made_anew(tmp_path, cache):
    root = pictures(tmp_path / "pictures")
    cache.mkdir(parents=True)
    left = cache / ".0123456789abcdef.unfinished"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 9999,) * 2)
    check_alike(*both(root))
    assert not left.exists()


def test_no_room_is_one_message(tmp_path, monkeypatch):
    root = pictures(tmp_path / "pictures")
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        DataError, match=r"(?s)room for what pictures.*free.*XDG_CACHE_HOME"
    ):
        load(root, memory=0)


def test_a_disk_that_becomes_full_is_one_message(tmp_path, cache, monkeypatch):
    root = pictures(tmp_path / "pictures")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"(?s)No space left.*XDG_CACHE_HOME"):
        load(root, memory=0)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_one_message(tmp_path, monkeypatch):
    root = pictures(tmp_path / "pictures")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="XDG_CACHE_HOME=/path"):
        load(root, memory=0)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # nobody is known
    with pytest.raises(DataError, match=r"(?s)home folder is unknown.*XDG_CACHE_HOME"):
        load(root, memory=0)


# --- arrays that cannot be used ---------------------------------------------------------


@pytest.mark.parametrize("memory", [0, 1])
def test_arrays_that_are_damaged(tmp_path, memory):
    x = np.random.default_rng(0).normal(size=(90, 12))
    path = saved(tmp_path, "npy", x=x, y=labels(90))
    whole = (path / "x.npy").read_bytes()
    for content, words in (
        (whole[:-1], "more than it holds"),
        (whole[:50], "can be read to its end"),
        (b"", "can be read to its end"),
        (whole.replace(b"(90, 12)", b"(99, 12)"), "more than it holds"),
        (whole.replace(b"'<f8'", b"'|O' "), "Python objects"),
        (whole.replace(b"(90, 12)", b"(90, -2)"), "can be read to its end"),
        (whole.replace(b"(90, 12)", b"(89, 12)"), "same length: 89 and 90"),
        (whole.replace(b"(90, 12)", b"(90, 0) "), "none of them empty"),
        (whole.replace(b"(90, 12)", b"()      "), "same length"),
        (whole.replace(b"'<f8'", b"'<U2'"), "inputs are numbers"),
        (whole.replace(b"'<f8'", b"'<c8'"), "inputs are numbers"),
        (whole.replace(b"NUMPY\x01", b"NUMPY\x03"), "no plain array"),
    ):
        (path / "x.npy").write_bytes(content)
        with pytest.raises(DataError, match=words):
            load(path, memory=memory)


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("form", ["npz", "compressed"])
def test_archives_that_are_damaged(tmp_path, memory, form):
    x = np.random.default_rng(0).normal(size=(90, 12))
    path = saved(tmp_path, form, x=x, y=labels(90))
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[3000] ^= 255
    for content in (whole[:-30], whole[:2000], bytes(changed)):
        path.write_bytes(content)
        with pytest.raises(DataError, match="can be read to its end"):
            load(path, memory=memory)


def test_folders_of_arrays_that_lack_something(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 2)))
    with pytest.raises(DataError, match=r"(?s)has no y\.npy.*numpy\.save"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"targets in y\.npy beside it: x\.npy"):
        load(tmp_path / "x.npy")
    np.save(tmp_path / "targets.npy", np.arange(9))
    with pytest.raises(DataError, match=r"has no y\.npy, but targets"):
        load(tmp_path)
    (tmp_path / "targets.npy").rename(tmp_path / "y.npy")
    np.save(tmp_path / "Y.npy", np.arange(9))
    with pytest.raises(DataError, match=r"y and Y|Y and y"):
        load(tmp_path)
    (tmp_path / "Y.npy").unlink()
    assert len(load(tmp_path / "x.npy", task="regression").targets) == 9
    np.save(tmp_path / "x_test.npy", np.zeros((9, 2)))
    with pytest.raises(DataError, match="x_test and y_test come together"):
        load(tmp_path)
    np.save(tmp_path / "y_test.npy", np.arange(9))
    np.save(tmp_path / "x_test.npy", np.zeros((9, 3)))
    with pytest.raises(DataError, match="same shape"):
        load(tmp_path, memory=0)


def test_an_entry_without_a_head_is_one_message(tmp_path):
    path = saved(tmp_path, "npz", x=np.zeros((9, 2)), y=np.arange(9))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 42 : place + 46] = struct.pack("<I", len(content))
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="can be read to its end"):
        load(path, memory=0)
    assert zipfile.is_zipfile(path)


# --- in the process that trains ---------------------------------------------------------


def test_a_file_that_changes_while_a_study_trains_is_one_message(tmp_path):
    path = saved(tmp_path, "npy", x=np.zeros((90, 3)), y=labels(90))
    piece = Piece.of(path / "x.npy", 128, "<f8", (90, 3))
    np.save(path / "x.npy", np.zeros((80, 3)))
    with pytest.raises(DataError, match=r"stay as they are.*x\.npy has changed"):
        piece.take(slice(0, 2))
    (path / "x.npy").unlink()
    with pytest.raises(DataError, match="can be read while"):
        piece.take(slice(0, 2))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_written_anew_behind_an_open_one_is_one_message(tmp_path, order):
    x = np.zeros((90, 3), order=order)
    path = saved(tmp_path, "npy", x=x, y=labels(90)) / "x.npy"
    piece = Piece.of(path, 128, "<f8", (90, 3), fortran=order == "F")
    assert not piece.take(slice(0, 2)).any()
    inode = path.stat().st_ino
    time.sleep(0.02)  # file systems count time in steps
    np.save(path, x + 1)
    assert path.stat().st_ino == inode
    with pytest.raises(DataError, match=r"stay as they are.*x\.npy has changed"):
        piece.take(slice(0, 2))


def test_a_system_that_reads_no_bytes_into_place(tmp_path, monkeypatch):
    monkeypatch.delattr("os.preadv")
    monkeypatch.setattr("archtrial.data.stored._AT_ONCE", 100)
    x = np.random.default_rng(0).normal(size=(90, 12))
    check_alike(*both(saved(tmp_path, "npy", x=x, y=labels(90))))


@pytest.mark.parametrize("rows", [slice(3, 60), np.array([4, 80, 5, 6])])
def test_a_file_that_is_cut_off_while_a_study_trains_is_one_message(tmp_path, rows):
    path = saved(tmp_path, "npy", x=np.zeros((90, 3)), y=labels(90))
    piece = Piece.of(path / "x.npy", 128, "<f8", (90, 3))
    assert not piece.take(rows).any()
    os.truncate(path / "x.npy", 300)
    with pytest.raises(DataError, match=r"can be read while.*cut off"):
        piece.take(rows)


def test_other_processes_are_sent_the_path_and_not_the_array(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 40, 40))
    path = saved(tmp_path, "npy", x=x, y=labels(90))
    split = load(path, memory=0).split(Splits(), 0)
    sent = pickle.dumps(split.x_train)
    assert len(sent) < 3000
    assert pickle.loads(sent)[:].tobytes() == split.x_train[:].tobytes()


def test_memory_is_bounded(tmp_path):
    """What is traced is what NumPy allocates."""
    values = np.lib.format.open_memmap(
        tmp_path / "x.npy", "w+", np.uint8, (1000, 1, 250, 250)
    )
    for start in range(0, 1000, 100):
        values[start : start + 100] = np.random.default_rng(start).integers(
            0, 255, (100, 1, 250, 250), dtype=np.uint8
        )
    del values
    np.save(tmp_path / "y.npy", labels(1000))
    tracemalloc.start()
    try:
        split = load(tmp_path, memory=0.1).split(Splits(), 0)
        for start in range(0, 600, 60):
            assert split.x_train[start : start + 60].shape == (60, 1, 250, 250)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 140 * 2**20  # of 240 MiB as float32, which is what it took

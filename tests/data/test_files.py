import gzip
import re
import struct
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archtrial.data import load
from archtrial.errors import DataError
from archtrial.protocol import Splits


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def labels(count=60, classes=2):
    return np.arange(count) % classes


def refused(path, words, **options):
    with pytest.raises(DataError, match=re.compile(words, re.DOTALL)) as caught:
        load(path, **options)
    # No message shows the machinery.
    assert "Traceback" not in str(caught.value)
    return caught.value


# --- any file -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.npy", r"holds one array.*x\.npy.*a\.npy.*numpy\.savez"),
        ("a.pkl", "never loaded"),
        ("a.xlsx", r"as \.csv"),
        ("a.xyz", r"arrays as \.npz"),
    ],
)
def test_formats_that_are_not_read(tmp_path, name, words):
    (tmp_path / name).write_text("something")
    refused(tmp_path / name, words)


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.csv.gz", "a.parquet", "a.ts"])
def test_empty_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    refused(tmp_path / name, "holds something.*is empty")


def test_a_file_that_is_not_there_names_its_neighbours(tmp_path):
    (tmp_path / "houses.csv").write_text("a,b\n1,2\n")
    refused(tmp_path / "house.csv", r"there is no '.*house\.csv'.*mean .*houses\.csv")


def test_only_tables_have_a_target_column(tmp_path):
    np.savez(tmp_path / "a.npz", x=noise(60, 2), y=labels())
    refused(tmp_path / "a.npz", r"column of a table.*'price'", target="price")


# --- .npz -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "kind", "input_shape"),
    [
        (noise(60), "array", (1,)),
        (noise(60, 7), "array", (7,)),
        (noise(60, 3, 9), "sequence", (3, 9)),
        (noise(60, 9, 9), "image", (1, 9, 9)),
        (np.uint8(noise(60, 5, 9) * 9 + 90), "image", (1, 5, 9)),
        (noise(60, 3, 8, 9), "image", (3, 8, 9)),
        (noise(60, 8, 9, 3), "image", (3, 8, 9)),
        (noise(60, 13, 9, 9), "image", (13, 9, 9)),
        (noise(60, 9, 9, 13), "image", (13, 9, 9)),
        (noise(60, 1, 3, 3), "image", (1, 3, 3)),
    ],
)
def test_the_shape_of_arrays_says_what_they_are(tmp_path, x, kind, input_shape):
    np.savez(tmp_path / "a.npz", x=x, y=labels())
    split = load(tmp_path / "a.npz").split(Splits(), 0)
    assert (split.kind, split.input_shape) == (kind, input_shape)
    assert split.task == "classification"


def test_channels_that_come_last_are_moved_to_the_front(tmp_path):
    x = noise(60, 8, 9, 3)
    np.savez(tmp_path / "a.npz", x=x, y=labels())
    data = load(tmp_path / "a.npz")
    assert (data.inputs[5, 2] == x[5, :, :, 2]).all()
    assert "Inputs read as images of 3 channels, 8 x 9." in data.notes


@pytest.mark.parametrize(
    "names",
    [
        ("x", "y", "x_test", "y_test"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("images", "labels", "test_images", "test_labels"),
    ],
)
def test_a_test_set_in_the_file_is_kept(tmp_path, names):
    x, y, x_test, y_test = noise(60, 2), labels(), noise(30, 2, seed=1), labels(30)
    arrays = dict(zip(names, (x, y[:, None], x_test, y_test), strict=True))
    np.savez(tmp_path / "a.npz", **arrays, extra=np.zeros(3))
    data = load(tmp_path / "a.npz")
    split = data.split(Splits(kind="given"), 0)
    assert (len(split.x_train), len(split.x_validation), split.test_size) == (
        48,
        12,
        30,
    )
    assert (data.inputs[60:] == x_test).all()
    assert "Not used from a.npz: extra." in split.notes


def test_groups_in_the_file_stay_together(tmp_path):
    groups = np.arange(60) // 6
    x = groups[:, None] + np.zeros((60, 2))
    x[:, 1] = noise(60)
    np.savez(tmp_path / "a.npz", x=x, y=labels(), groups=groups)
    split = load(tmp_path / "a.npz").split(Splits(), 0)
    sides = [
        set(np.round(part[:, 0], 3).tolist())
        for part in (split.x_train, split.x_validation, split.x_test)
    ]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 10


def test_groups_with_a_test_set_in_the_file(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x=noise(60, 2),
        y=labels(),
        groups=np.arange(60) // 6,
        x_test=noise(20, 2, seed=1),
        y_test=labels(20),
    )
    split = load(tmp_path / "a.npz").split(Splits(), 0)
    assert (len(split.x_validation), split.test_size) == (12, 20)


X, Y = noise(60, 2), labels()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "holds x and y.*a.npz has no y.*savez"),
        ({"y": Y}, "a.npz has no x"),
        ({"x": X, "y": Y[:50]}, "same length: 60 and 50"),
        ({"x": X, "X": X, "y": Y}, "one array.*is x: x and X"),
        ({"x": X, "y": Y, "x_test": X}, "come together.*has only x_test"),
        ({"x": X, "y": Y, "y_test": Y}, "come together.*has only y_test"),
        (
            {"x": X, "y": Y, "x_test": noise(9, 3), "y_test": Y[:9]},
            r"same shape: \(2,\) and \(3,\)",
        ),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y[:9]}, "x_test and y_test have"),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y.astype(str)},
            "both numbers or both",
        ),
        ({"x": X, "y": Y, "groups": Y[:9]}, "x and groups have the same length"),
        ({"x": X, "y": np.eye(2)[Y]}, r"shape \(60, 2\).*argmax"),
        ({"x": X[:0], "y": Y[:0]}, "holds examples: x in a.npz is empty"),
        ({"x": np.zeros((60, 2, 2, 2, 2)), "y": Y}, "two to four dimensions"),
        ({"x": X.astype(str), "y": Y}, "inputs are numbers: texts"),
        ({"x": np.where(X > 2, np.nan, X), "y": Y}, r"finite numbers: \d NaN"),
        ({"x": X, "y": np.zeros(60)}, "at least two classes"),
        ({"x": np.float64(3), "y": Y}, "same length: 0 and 60"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", words)


class _Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_objects_are_never_unpickled(tmp_path):
    bomb = np.array([_Bomb(tmp_path / "exploded")] * 60, dtype=object)
    np.savez(tmp_path / "a.npz", x=X, y=bomb, allow_pickle=True)
    refused(tmp_path / "a.npz", r"plain numbers.*y in a\.npz holds Python objects.*run")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_cut_off_npz(tmp_path, compressed, share):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "whole.npz", x=noise(500, 9), y=labels(500))
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "a.npz", r"a\.npz can be read to its end.*cut off")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_npz(tmp_path, compressed):
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "a.npz", x=noise(500, 9), y=labels(500))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[2000:2100] = bytes(100)
    (tmp_path / "a.npz").write_bytes(content)
    refused(tmp_path / "a.npz", "can be read to its end")


def test_an_archive_whose_member_is_cut_off(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00")
        archive.writestr("y.npy", b"")
    refused(tmp_path / "a.npz", "can be read to its end")


def test_an_npy_under_another_name(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, noise(3))
    refused(tmp_path / "a.npz", "several named arrays")


# --- .csv and .parquet ------------------------------------------------------------


def table(count=80):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "area": rng.uniform(size=count),
            "rooms": rng.integers(1, 6, size=count),
            "street": rng.choice(["north", "south"], size=count),
            "price": rng.normal(size=count),
        }
    )


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_tables(tmp_path, name):
    frame = table()
    if name == "t.parquet":
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False)
    data = load(tmp_path / name)
    split = data.split(Splits(), 0)
    assert (split.task, split.kind, split.input_shape) == ("regression", "table", (4,))
    assert "Target: price, the last column." in split.notes
    assert data.targets == pytest.approx(frame["price"].to_numpy())
    other = load(tmp_path / name, target="street")
    assert (other.task, other.classes) == ("classification", ("north", "south"))
    assert [column.name for column in other.inputs] == ["area", "rooms", "price"]


def test_rows_without_a_target_are_dropped_and_counted(tmp_path):
    frame = table()
    frame.loc[[3, 9], "price"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = load(tmp_path / "t.csv")
    assert len(data.targets) == 78
    assert len(data.inputs[2].values) == 78
    assert "Dropped, since the target is missing: 2 rows." in data.notes
    assert data.targets[3] == pytest.approx(frame["price"][4])


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a,price\n1,2\n", {"target": "prize"}, "there is no 'prize'.*mean price"),
        ("a,b\n1,2\n", {"target": "zzz"}, "The columns are a and b"),
        ("a\n1\n2\n", {}, "besides the target"),
        ("a,b\n1,\n2,\n", {}, "column 'b' is empty"),
        ("\n\n", {}, "is empty"),
        ("a,b\n1,2\n3", {}, "cut off"),
        (
            "a,b\n" + "1,x\n2,y\n" * 20,
            {"task": "regression"},
            "the text 'x' in data row 1",
        ),
        ("a,b\n" + "1,7\n2,7\n" * 20, {}, "at least two classes"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, options, words):
    (tmp_path / "t.csv").write_text(text)
    refused(tmp_path / "t.csv", words, **options)


def test_damaged_tables(tmp_path):
    frame = table(2000)
    for name in ("t.csv.gz", "t.parquet"):
        save = frame.to_parquet if name == "t.parquet" else frame.to_csv
        save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        refused(tmp_path / name, f"{name} can be read to its end.*cut off")
    (tmp_path / "t.csv.gz").write_bytes(b"a,b\n1,2\n")
    refused(tmp_path / "t.csv.gz", "can be read to its end")
    (tmp_path / "t.csv").write_bytes("a,b\nä,1\n".encode("latin-1"))
    refused(tmp_path / "t.csv", "text in UTF-8")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1.5,2.5\n3.5,4.5\n", encoding="utf-8-sig")
    (column,) = load(tmp_path / "t.csv").inputs
    assert column.name == "a"


# --- a folder of images -------------------------------------------------------------


def pictures(root, count=10, size=(6, 5), mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for index in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = rng.integers(256, size=shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02}.png")


def test_a_folder_for_each_class(tmp_path):
    pictures(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "._00.png").write_text("x")
    data = load(tmp_path / "pets")
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.inputs.shape == (20, 3, 5, 6)
    expected = np.asarray(Image.open(tmp_path / "pets" / "dog" / "03.png"))
    assert (data.inputs[13] == expected.transpose(2, 0, 1)).all()
    assert data.notes == ("Files that are not images were left out: 1.",)


def test_grey_images_have_one_channel_unless_one_is_coloured(tmp_path):
    pictures(tmp_path, mode="L")
    assert load(tmp_path).inputs.shape == (20, 1, 5, 6)
    Image.new("RGB", (6, 5), (9, 99, 199)).save(tmp_path / "cat" / "03.png")
    assert load(tmp_path).inputs[3, :, 0, 0].tolist() == [9, 99, 199]


def test_images_of_another_size_are_resized_and_counted(tmp_path):
    pictures(tmp_path)
    for index in (2, 5):
        Image.new("RGB", (12, 9), (10, 20, 30)).save(
            tmp_path / "dog" / f"{index:02}.png"
        )
    data = load(tmp_path)
    assert data.inputs.shape == (20, 3, 5, 6)
    assert data.inputs[12, :, 2, 2].tolist() == [10, 20, 30]
    assert data.notes == ("Resized to 6 x 5, the commonest size: 2 of 20 images.",)


def test_given_folders_are_used_as_given(tmp_path):
    pictures(tmp_path / "train", 10)
    pictures(tmp_path / "val", 3, seed=1)
    pictures(tmp_path / "test", 4, seed=2)
    split = load(tmp_path).split(Splits(kind="given"), 0)
    assert [len(split.x_train), len(split.x_validation), split.test_size] == [20, 6, 8]
    assert split.y_validation.tolist() == [0, 0, 0, 1, 1, 1]


def test_classes_that_happen_to_be_called_test(tmp_path):
    pictures(tmp_path / "data")
    (tmp_path / "data" / "cat").rename(tmp_path / "data" / "train")
    refused(tmp_path / "data", "division of the data.*rename.*train to train_class")
    (tmp_path / "data" / "train").rename(tmp_path / "data" / "train_class")
    assert load(tmp_path / "data").classes == ("dog", "train_class")


def test_folders_that_cannot_be_used(tmp_path):
    refused(tmp_path, "folder of images for each class")
    (tmp_path / "cat").mkdir()
    refused(tmp_path, "no image in the folders")
    pictures(tmp_path / "pets")
    whole = (tmp_path / "pets" / "cat" / "00.png").read_bytes()
    (tmp_path / "pets" / "cat" / "00.png").write_bytes(whole[:60])
    refused(tmp_path / "pets", r"00\.png can be read to its end")
    (tmp_path / "pets" / "cat" / "00.png").write_bytes(b"text")
    refused(tmp_path / "pets", r"00\.png can be read to its end")


# --- IDX ----------------------------------------------------------------------------


def idx(values, code=8):
    head = struct.pack(">BBBB", 0, 0, code, values.ndim)
    dtype = {8: ">u1", 12: ">i4", 13: ">f4"}[code]
    return (
        head
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(dtype).tobytes()
    )


def idx_files(root, ending="", test=True):
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20))[: 1 + test]:
        x = rng.integers(256, size=(count, 5, 4))
        for name, values in (("images-idx3", x), ("labels-idx1", labels(count))):
            content = idx(values)
            if ending == ".gz":
                content = gzip.compress(content)
            (root / f"{prefix}-{name}-ubyte{ending}").write_bytes(content)
    return root / f"train-images-idx3-ubyte{ending}"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_find_each_other(tmp_path, ending):
    images = idx_files(tmp_path, ending)
    for path in (
        images,
        images.with_name(f"train-labels-idx1-ubyte{ending}"),
        tmp_path,
    ):
        data = load(path)
        assert data.inputs.shape == (80, 1, 5, 4)
        split = data.split(Splits(kind="given"), 0)
        assert (len(split.x_train), split.test_size) == (48, 20)
        assert split.classes == ("0", "1")


def test_idx_without_a_test_set(tmp_path):
    split = load(idx_files(tmp_path, test=False)).split(Splits(), 0)
    assert (len(split.x_train), split.test_size) == (36, 12)


def test_the_official_test_file_alone_is_plain_data(tmp_path):
    idx_files(tmp_path)
    assert load(tmp_path / "t10k-images-idx3-ubyte").inputs.shape == (20, 1, 5, 4)


def test_idx_numbers_are_big_endian(tmp_path):
    x = noise(60, 3).astype(np.float32)
    (tmp_path / "train-images-idx2-ubyte").write_bytes(idx(x, 13))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels() * 1000, 12))
    data = load(tmp_path)
    assert (data.inputs == x).all()
    assert data.classes == ("0", "1000")


def test_idx_that_cannot_be_used(tmp_path):
    images = idx_files(tmp_path)
    whole = images.read_bytes()
    for content in (whole[:-1], whole + b"\0", whole[:9]):
        images.write_bytes(content)
        refused(images, "can be read to its end.*bytes and not the .* it announces")
    images.write_bytes(b"text")
    refused(images, "two zero bytes.*74 65 78 74")
    images.write_bytes(idx(np.zeros((9, 5, 4))))
    refused(images, "images and labels have the same length: 9 and 60")
    images.write_bytes(idx(np.zeros((60, 5, 5))))
    refused(images, "same shape")
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    images.write_bytes(whole)
    refused(images, "come in pairs.*no labels beside")
    images.unlink()
    refused(tmp_path, "0 files named")
    zipped = tmp_path / "train-images-idx3-ubyte.gz"
    zipped.write_bytes(gzip.compress(whole)[:40])
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels()))
    refused(zipped, "can be read to its end")


# --- .ts ----------------------------------------------------------------------------

HEAD = "# text\n@problemName Toy\n@timeStamps false\n@classLabel true a b\n@data\n"


def series(count, channels=1, length=4, seed=0):
    x = noise(count, channels, length, seed=seed)
    return "".join(
        ":".join(",".join(f"{v:.5f}" for v in row) for row in one) + f":{'ab'[i % 2]}\n"
        for i, one in enumerate(x)
    )


@pytest.mark.parametrize(("channels", "shape"), [(1, (4,)), (3, (3, 4))])
def test_ts_files(tmp_path, channels, shape):
    path = tmp_path / "Toy_TRAIN.ts"
    path.write_text(HEAD + series(30, channels))
    split = load(path).split(Splits(), 0)
    assert (split.kind, split.input_shape, split.test_size) == ("sequence", shape, 6)
    (tmp_path / "Toy_TEST.ts").write_text(HEAD + series(10, channels, seed=1))
    for place in (path, tmp_path):
        data = load(place)
        split = data.split(Splits(kind="given"), 0)
        assert data.name == "Toy"
        assert (len(split.x_train), split.test_size) == (24, 10)
        assert "Test set: Toy_TEST.ts, as it comes." in split.notes
    expected = noise(30, channels, 4)[7]
    assert load(path).inputs[7] == pytest.approx(np.squeeze(expected), abs=1e-5)


def test_ts_with_amounts_is_a_regression(tmp_path):
    head = HEAD.replace("@classLabel true a b", "@targetLabel true")
    lines = "".join(f"{i},{i + 1.5},{i % 7}:{i % 5}\n" for i in range(40))
    (tmp_path / "a.ts").write_text(head + lines)
    assert load(tmp_path / "a.ts").task == "regression"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "1,2,3:a\n1,2:b\n", r"same length.*\(1, 3\), but \(1, 2\) in series 2"),
        (HEAD + "1,2,3:1,2:a\n", "same length.*channels of series 1"),
        (HEAD + "1,?,3:a\n1,2,3:b\n" * 9, "finite numbers: 9 NaN"),
        (HEAD + "1,NaN,3:a\n1,2,3:b\n" * 9, "finite numbers: 9 NaN"),
        (HEAD + "1,x,3:a\n", "series are numbers.*'x'.*series 1"),
        (HEAD + "1,2,3:a\n1,2\n", "a colon and its class.*series 2.*cut off"),
        (HEAD, "holds series: none"),
        (HEAD.replace("@classLabel true a b", "@classLabel false"), "names the class"),
        (HEAD.replace("Stamps false", "Stamps true"), "without time stamps"),
    ],
)
def test_ts_that_cannot_be_used(tmp_path, text, words):
    (tmp_path / "a.ts").write_text(text)
    refused(tmp_path / "a.ts", words)


def test_ts_pairs_that_differ(tmp_path):
    (tmp_path / "Toy_TRAIN.ts").write_text(HEAD + series(30))
    (tmp_path / "Toy_TEST.ts").write_text(HEAD + series(30, length=5))
    refused(tmp_path, r"same length.*\(1, 4\) in Toy_TRAIN\.ts and \(1, 5\)")
    (tmp_path / "Other_TRAIN.ts").write_text(HEAD + series(30))
    refused(tmp_path, r"holds one NAME_TRAIN\.ts: 2 in")


# --- real files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "task", "input_shape", "sizes"),
    [
        (
            "regression/ames/kaggle_house_pred_train.csv",
            {"target": "SalePrice"},
            "regression",
            None,
            (876, 292, 292),
        ),
        (
            "regression/california/housing.csv",
            {"target": "median_house_value"},
            "regression",
            (13,),
            (12384, 4128, 4128),
        ),
        ("regression/uci/yacht/data.csv.gz", {}, "regression", (6,), (184, 62, 62)),
        (
            "sequences/GunPoint/GunPoint_TRAIN.ts",
            {},
            "classification",
            (150,),
            (40, 10, 150),
        ),
        ("sequences/BasicMotions", {}, "classification", (6, 100), (32, 8, 40)),
        ("cifar10/test.npz", {}, "classification", (3, 32, 32), (6000, 2000, 2000)),
    ],
)
def test_real_data(real, name, options, task, input_shape, sizes):
    split = load(real(name), **options).split(Splits(), 0)
    assert split.task == task
    assert input_shape is None or split.input_shape == input_shape
    assert (len(split.x_train), len(split.x_validation), split.test_size) == sizes
    assert np.isfinite(split.x_train).all()
    assert np.isfinite(split.x_test).all()


def test_what_is_said_of_real_tables(real):
    ames = load(real("regression/ames/kaggle_house_pred_train.csv"))
    notes = " ".join(ames.split(Splits(), 0).notes)
    assert "they number or name the rows: Id." in notes
    assert "LotFrontage (259, median)" in notes
    california = load(real("regression/california/housing.csv"))
    assert california.classes is not None  # the last column is where the house lies
    notes = " ".join(california.split(Splits(), 0).notes)
    assert "total_bedrooms (207, median)" in notes
    assert "Classes with fewer than 10 examples: ISLAND (5)." in notes


def test_seventy_thousand_images_take_seconds(real):
    path = real("fashion_mnist/pool70000.npz")
    start = time.perf_counter()
    split = load(path).split(Splits(), 0)
    assert time.perf_counter() - start < 30  # about 2 on an idle core
    assert split.x_train.shape == (42000, 1, 28, 28)
    assert split.num_outputs == 10

"""Data sets of Hugging Face saved to disk: read as they stand, or one message.

The folders `saved_*` among the cases were written by datasets 5.2.0.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from archtrial.data import inputs_of, load
from archtrial.errors import DataError
from archtrial.protocol import Splits

CASES = Path(__file__).parents[1] / "cases" / "data"


def test_texts_and_their_division():
    found = load(CASES / "saved_text", text="text")
    # A label of -1 says that there is none: the test set has no labels.
    assert (len(found.targets), found.classes) == (80, ("neg", "pos"))
    assert "Dropped, since the target is missing: 20 rows." in found.notes
    assert "Sets that are none of these were left out: unsupervised." in found.notes
    assert "The validation set is that of saved_text, as it comes." in found.notes
    assert "The test set of saved_text has no targets" in " ".join(found.notes)
    assert "Target: label, the column of classes." in found.notes
    split = found.split(Splits(), 0)
    assert (len(split.x_train), len(split.x_validation), len(split.x_test)) == (
        48, 20, 12,
    )  # fmt: skip
    assert inputs_of(split).lengths == (4, 8)
    own = load(CASES / "saved_text" / "train", text="text", tokens="byte")
    assert len(own.targets) == 60
    with pytest.raises(DataError, match="--text text"):
        load(CASES / "saved_text")


def test_images_are_those_that_were_saved():
    found = load(CASES / "saved_images")
    assert (found.kind, found.classes, found.inputs.shape) == (
        "image", ("cat", "dog"), (28, 3, 4, 4),
    )  # fmt: skip
    split = found.split(Splits(kind="given"), 0)
    assert (split.test_size, split.preparation.pixels) == (8, "RGB")
    rng = np.random.default_rng(0)
    for index in range(28):
        pixels = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        assert np.array_equal(found.inputs[index], pixels.transpose(2, 0, 1))


def test_lists_of_equal_length():
    found = load(CASES / "saved_sequences")
    assert (found.kind, found.inputs.shape, found.classes) == (
        "sequence", (30, 2, 6), ("a", "b"),
    )  # fmt: skip
    assert len(found.split(Splits(), 0).x_train) == 18
    assert load(CASES / "saved_sequences", channels="last").inputs.shape == (30, 6, 2)


# --- folders that are made here, as save_to_disk lays them out -----------------------


def saved(folder, columns, features=None, files=1):
    folder.mkdir(parents=True)
    table = pa.table(columns)
    size, names = -(-table.num_rows // files), []
    for index in range(files):
        names.append(f"data-{index:05}-of-{files:05}.arrow")
        with pa.ipc.new_stream(str(folder / names[-1]), table.schema) as sink:
            sink.write_table(table.slice(index * size, size))
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def divided(folder, **sets):
    for name, columns in sets.items():
        saved(folder / name, columns)
    about = {"splits": list(sets)}
    (folder / "dataset_dict.json").write_text(json.dumps(about))
    return folder


def table(count=40):
    return {
        "a": [i * i % 31 / 4 for i in range(count)],
        "b": ["xyz"[i % 3] for i in range(count)],
        "y": ["pn"[i % 2] for i in range(count)],
    }


CLASSES = {"y": {"names": ["n", "p"], "_type": "ClassLabel"}}


def test_plain_values_are_a_table(tmp_path):
    found = load(saved(tmp_path / "d", table(), files=3))
    assert [c.name for c in found.inputs] == ["a", "b"]
    assert found.inputs[0].values.tolist() == table()["a"]
    assert (found.kind, found.name, found.classes) == ("table", "d", ("n", "p"))
    assert [c.name for c in load(tmp_path / "d", target="b").inputs] == ["a", "y"]


def test_classes_are_names_whatever_they_look_like(tmp_path):
    columns = {"y": [i % 2 for i in range(40)], "k": [i % 3 for i in range(40)],
               "a": table()["a"]}  # fmt: skip
    features = {**CLASSES, "k": {"names": ["1", "2", "3"], "_type": "ClassLabel"}}
    with pytest.raises(DataError, match="--target y or --target k"):
        load(saved(tmp_path / "d", columns, features))
    for target in "yk":
        found = load(tmp_path / "d", target=target)
        assert found.task == "classification"
        (other,) = [c for c in found.inputs if c.name != "a"]
        assert not other.is_number
    assert load(tmp_path / "d", target="a").task == "regression"


def test_sets_are_below_each_other(tmp_path):
    found = load(divided(tmp_path / "d", test=table(12), train=table(30), dev=table(8)))
    split = found.split(Splits(), 0)
    assert (len(split.x_train), len(split.x_validation), len(split.x_test)) == (
        30,
        8,
        12,
    )
    with pytest.raises(DataError, match="one set each for train"):
        load(divided(tmp_path / "e", test=table(), other=table()))
    with pytest.raises(DataError, match="one set each for train"):
        load(divided(tmp_path / "f", train=table(), val=table(), valid=table()))
    with pytest.raises(DataError, match="train and test differ"):
        load(divided(tmp_path / "g", train=table(), test={"a": [1.0], "y": ["p"]}))


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        ([[1.0, 2.0], [1.0]] * 20, "one length: from 1 to 2"),
        ([[1.0, None], [1.0, 2.0]] * 20, "hold numbers: one is missing"),
        ([["a", "b"], ["c", "d"]] * 20, "hold numbers: string"),
        ([None, [1.0, 2.0]] * 20, "one length: from 0 to 2"),
        ([[[1.0], [2.0]], [[1.0, 3.0], [2.0, 4.0]]] * 20, "one length: from 1 to 2"),
    ],
)
def test_lists_that_are_no_arrays_are_one_message(tmp_path, lists, says):
    with pytest.raises(DataError, match=says):
        load(saved(tmp_path / "d", {"x": lists, "y": table()["y"]}))


def test_columns_beside_the_examples(tmp_path):
    columns = {"x": [[float(i % 7), 1.0 + i] for i in range(40)], **table()}
    found = load(saved(tmp_path / "d", columns))
    assert "Left out, since only x is read: a and b." in found.notes
    columns["z"] = columns["x"]
    with pytest.raises(DataError, match="select_columns"):
        load(saved(tmp_path / "e", columns))
    with pytest.raises(DataError, match="the target is a column of plain values: x"):
        load(tmp_path / "d", target="x")
    with pytest.raises(DataError, match="plain values: there is none"):
        load(saved(tmp_path / "f", {"x": columns["x"]}))


def test_images_that_lie_elsewhere_are_one_message(tmp_path):
    cells = [{"bytes": None, "path": "/far/a.png"}] * 40
    features = {"x": {"_type": "Image"}}
    with pytest.raises(DataError, match=r"row 1 is the file /far/a\.png"):
        load(saved(tmp_path / "d", {"x": cells, "y": table()["y"]}, features))
    cells = [{"bytes": b"no image", "path": None}] * 40
    with pytest.raises(DataError, match="x 1 can be read to its end"):
        load(saved(tmp_path / "e", {"x": cells, "y": table()["y"]}, features))
    with pytest.raises(DataError, match="channels is for arrays"):
        load(CASES / "saved_images", channels="last")


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("state.json", "{", "damaged"),
        ("state.json", "[]", "damaged"),
        ("state.json", "{}", "names no files"),
        (
            "state.json",
            '{"_data_files": [{"filename": "../x.arrow"}]}',
            "names no files",
        ),
        ("state.json", '{"_data_files": [{"filename": "no.arrow"}]}', "damaged"),
        (
            "state.json",
            '{"_data_files": [], "_indices_data_files": [1]}',
            "flatten_ind",
        ),
        ("dataset_info.json", "\x00", "damaged"),
        ("data-00000-of-00001.arrow", "text", "damaged"),
        ("data-00000-of-00001.arrow", "", "damaged"),
    ],
)
def test_damage_is_one_message(tmp_path, file, content, says):
    folder = saved(tmp_path / "d", table())
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=says):
        load(folder)


def test_a_folder_that_is_cut_off(tmp_path):
    shutil.copytree(CASES / "saved_text", tmp_path / "d")
    path = tmp_path / "d" / "train" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "d", text="text")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["../d"]}')
    with pytest.raises(DataError, match="names no sets"):
        load(tmp_path / "d", text="text")


def test_the_library_itself_saves_what_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(table()).shuffle(seed=1)
    made.save_to_disk(tmp_path / "d")
    assert load(tmp_path / "d").inputs[0].values.tolist() == list(made["a"])

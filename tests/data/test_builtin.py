import pickle
import random

import numpy as np
import pytest

from archtrial.data import BUILTIN, load
from archtrial.errors import DataError
from archtrial.protocol import Splits


@pytest.mark.parametrize(
    ("name", "task", "kind", "input_shape", "sizes"),
    [
        ("mnist1d", "classification", "sequence", (40,), (3200, 800, 1000)),
        ("mnist1d-shuffled", "classification", "sequence", (40,), (3200, 800, 1000)),
        ("digits", "classification", "image", (1, 8, 8), (1078, 360, 359)),
        ("diabetes", "regression", "table", (10,), (265, 89, 88)),
        ("house-prices", "regression", "table", (1,), (60, 20, 20)),
        ("house-prices(houses=500)", "regression", "table", (1,), (300, 100, 100)),
    ],
)
def test_what_comes_with_the_package(name, task, kind, input_shape, sizes):
    split = load(name).split(Splits(), 0)
    assert (split.task, split.kind, split.input_shape) == (task, kind, input_shape)
    assert (len(split.x_train), len(split.x_validation), split.test_size) == sizes
    assert split.num_outputs == (10 if task == "classification" else 1)
    assert split.x_test.dtype == np.float32
    assert split.digest == load(name).split(Splits(), 0).digest
    scaled = "Inputs are scaled: each channel has mean 0"
    assert [note[: len(scaled)] for note in split.notes] == (
        [scaled] if name == "digits" else []
    )


def test_every_builtin_name_loads():
    assert {load(name).name for name in BUILTIN} == set(BUILTIN)


class _NumpyAlone(pickle.Unpickler):
    """Reads the published file of MNIST-1D, admitting arrays and nothing else."""

    def find_class(self, module, name):
        assert module.split(".")[0] == "numpy", (module, name)
        return super().find_class(module, name)


def test_mnist1d_is_the_published_one(real):
    with real("mnist1d/mnist1d_data.pkl").open("rb") as file:
        published = _NumpyAlone(file).load()
    data = load("mnist1d")
    assert (data.targets[:4000] == published["y"]).all()
    assert (data.targets[4000:] == published["y_test"]).all()
    assert data.inputs[:4000] == pytest.approx(published["x"], abs=1e-12)
    assert data.inputs[4000:] == pytest.approx(published["x_test"], abs=1e-12)


def test_mnist1d_keeps_its_test_set_and_its_scale():
    data = load("mnist1d")
    split = data.split(Splits(validation=0.1, test=0.5), 7)
    assert (split.x_test == data.inputs[4000:].astype(np.float32)).all()
    assert len(split.x_validation) == 400


def test_shuffling_moves_the_positions_and_nothing_else():
    plain, shuffled = load("mnist1d"), load("mnist1d-shuffled")
    assert (np.sort(plain.inputs, axis=1) == np.sort(shuffled.inputs, axis=1)).all()
    assert (plain.targets == shuffled.targets).all()
    moved = [
        int(np.flatnonzero((plain.inputs == column[:, None]).all(axis=0))[0])
        for column in shuffled.inputs.T
    ]
    assert sorted(moved) == list(range(40))
    assert moved != list(range(40))


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_mnist1d_is_made_once_and_disturbs_no_random_numbers(fresh_cache, monkeypatch):
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    expected = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = load("mnist1d")
    assert (np.random.get_state()[1].tolist(), random.getstate()) == expected  # noqa: NPY002
    (kept,) = (fresh_cache / "archtrial").iterdir()
    assert kept.suffix == ".npz"

    def again():
        raise AssertionError("made twice")

    monkeypatch.setattr("archtrial.data.builtin._generate_mnist1d", again)
    assert (load("mnist1d").inputs == first.inputs).all()


@pytest.fixture
def quick(monkeypatch):
    """MNIST-1D in no time: noise of its shape."""
    made = []

    def generate():
        made.append(1)
        rng = np.random.default_rng(0)
        return rng.normal(size=(5000, 40)), np.arange(5000) % 10

    monkeypatch.setattr("archtrial.data.builtin._generate_mnist1d", generate)
    return made


@pytest.mark.parametrize("damage", ["cut", "altered", "other", "empty"])
def test_a_damaged_cache_is_made_anew(fresh_cache, quick, damage):
    first = load("mnist1d")
    (kept,) = (fresh_cache / "archtrial").iterdir()
    content = kept.read_bytes()
    if damage == "altered":
        with np.load(kept) as arrays:
            changed = dict(arrays)
        changed["x"][3, 3] += 1
        np.savez(kept, **changed)
    elif damage == "other":
        np.savez(kept, a=np.zeros(3))
    else:
        kept.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    second = load("mnist1d")
    assert (second.inputs == first.inputs).all()
    assert len(quick) == 2
    assert load("mnist1d").notes == ()
    assert len(quick) == 2


def test_a_cache_that_cannot_be_written_is_logged_and_no_note(
    tmp_path, quick, monkeypatch, caplog
):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    data = load("mnist1d")
    assert len(data.inputs) == 5000
    # Notes enter the study's hash and its verdict, and this is the machine's matter.
    assert data.notes == ()
    (said,) = caplog.messages
    assert "made anew each time" in said
    assert "Not a directory" in said


def test_nobodys_home_folder_is_logged_and_no_note(quick, monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert load("mnist1d").notes == ()
    assert caplog.messages == [
        "MNIST-1D is made anew each time: there is no home folder."
    ]


def test_a_cache_that_fails_half_way_leaves_nothing(
    fresh_cache, quick, monkeypatch, caplog
):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert load("mnist1d").notes == ()
    assert "No space left on device" in caplog.text
    assert list((fresh_cache / "archtrial").iterdir()) == []


def test_house_prices_are_a_line_and_noise():
    data = load("house-prices(houses=100_000)")
    (area,) = data.inputs
    slope, intercept = np.polyfit(area.values, data.targets, 1)
    residual = data.targets - 100 - 150 * area.values
    # Standard errors: .18, .4 and .11.
    assert slope == pytest.approx(150, abs=0.8)
    assert intercept == pytest.approx(100, abs=1.7)
    assert residual.std() == pytest.approx(50, abs=0.5)
    assert area.values.min() == pytest.approx(0.5, abs=0.001)
    assert area.values.max() == pytest.approx(3.5, abs=0.001)
    fewer = load("house-prices")
    assert (fewer.targets == data.targets[:100]).all()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("house-prices(houses=3)", r"(?s)at least ten houses.*houses = 3"),
        ("house-prices(houses='many')", "houses = 'many'"),
        ("house-prices(house=30)", r"options of house-prices are: houses: 'house'"),
        ("digits(size=3)", "options of digits are: none: 'size'"),
        ("house-prices(30)", r"(?s)name\(option=value\).*houses=200"),
        ("house-prices(houses=)", r"name\(option=value\)"),
        ("house-prices(**{})", r"name\(option=value\)"),
        ("mnist", r"(?s)there is no 'mnist'.*Did you mean mnist1d"),
        ("quxquux", r"(?s)there is no 'quxquux'.*Built in are mnist1d, mnist1d-shuff"),
    ],
)
def test_names_that_cannot_be_loaded(source, words):
    with pytest.raises(DataError, match=words):
        load(source)


def test_a_builtin_data_set_has_its_own_target():
    with pytest.raises(DataError, match=r"(?s)'s5' for diabetes.*Leave it out"):
        load("diabetes", target="s5")


def test_the_task_of_a_builtin_data_set_can_be_declared():
    split = load("digits", task="regression").split(Splits(), 0)
    assert split.y_train.dtype == np.float64
    assert split.num_outputs == 1
    assert split.classes is None

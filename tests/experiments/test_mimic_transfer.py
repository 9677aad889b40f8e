"""What students see, and what their teacher says of it: made once, kept in blocks."""

import dataclasses
import shlex
import subprocess

import numpy as np
import pytest

from archtrial.data import unlabelled
from archtrial.data.stored import Prepared
from archtrial.errors import DataError, StudyError
from archtrial.experiments.mimic import transfer
from archtrial.experiments.mimic.training import labels_as_logits

from . import mimicked


@pytest.fixture(scope="module")
def study(mimic_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    np.savez(folder / "more.npz", x=mimicked.series(30, seed=1)[0])
    return mimicked.begun(
        folder / "study",
        mimic_data,
        unlabelled=str(folder / "more.npz"),
        passes=3,
        recipe={"augmentation": ["noise"]},
    )


@pytest.fixture
def whole(study, tmp_path, monkeypatch):
    """A transfer set of three passes over 72 rows and 30 more, in blocks of 40."""
    monkeypatch.setattr(transfer, "_BLOCK", 40 * 12)
    return dataclasses.replace(study.trainer.transfer, folder=tmp_path / "transfer")


class Teacher:
    """Answers with sums, and counts what it was asked."""

    def __init__(self, most=None):
        self.asked, self._most = 0, most

    def __call__(self, inputs, labels):
        assert len(inputs) == len(labels)
        if self._most is not None and self.asked + len(inputs) > self._most:
            raise KeyboardInterrupt
        self.asked += len(inputs)
        return np.stack([inputs.sum((1, 2)), inputs[:, 0, 0]], 1)


def files(made):
    return {file.name: file.read_bytes() for file in made.folder.iterdir()}


def test_each_pass_has_every_row_augmented_anew(whole, study):
    whole.make(Teacher(), "sums")
    assert len(whole) == len(whole.inputs) == len(whole.labels) == 3 * (72 + 30)
    split = study.split
    for start in (0, 102, 204):
        np.testing.assert_array_equal(whole.labels[start : start + 72], split.y_train)
        assert (whole.labels[start + 72 : start + 102] == -1).all()
        seen = whole.inputs[start : start + 102]
        plain = np.concatenate([split.x_train, whole.unlabelled])
        assert 0.02 < np.abs(seen - plain).mean() < 0.08  # of normal noise of .05
    assert (
        not np.isclose(whole.inputs[:102], whole.inputs[102:204]).all(axis=(1, 2)).any()
    )
    np.testing.assert_array_equal(
        whole.logits[:, 0], whole.inputs.sum((1, 2)), strict=True
    )


def test_it_is_the_same_whenever_it_is_made(whole, tmp_path):
    again = dataclasses.replace(whole, folder=tmp_path / "again")
    for made in (whole, again):
        made.make(Teacher(), "sums")
    assert files(whole) == files(again)
    other = dataclasses.replace(whole, folder=tmp_path / "other", seed=1)
    other.make(Teacher(), "sums")
    assert files(other)["inputs-00000.npy"] != files(whole)["inputs-00000.npy"]


def test_whoever_learns_labels_sees_the_same_inputs_without_unlabelled_ones(whole):
    whole.make(Teacher(), "sums")
    known = whole.labels >= 0
    assert known.sum() == len(whole.labelled) == 3 * 72
    np.testing.assert_array_equal(whole.labelled, whole.inputs[known], strict=True)


def test_without_augmentation_it_is_the_training_rows(whole, study, tmp_path):
    plain = dataclasses.replace(
        whole,
        folder=tmp_path / "plain",
        passes=1,
        unlabelled=None,
        problem=dataclasses.replace(
            whole.problem, recipe=study.protocol.recipe.model_copy(
                update={"augmentation": ()}
            )
        ),
    )  # fmt: skip
    plain.make(Teacher(), "sums")
    np.testing.assert_array_equal(plain.inputs, study.split.x_train, strict=True)


def test_too_large_for_memory_it_is_read_from_its_files(whole, tmp_path):
    whole.make(Teacher(), "sums")
    assert isinstance(whole.inputs, np.ndarray)
    within = 4 * 306 * 12 / 2**30
    for memory, kind in ((within, np.ndarray), (0.99 * within, Prepared)):
        other = dataclasses.replace(whole, memory=memory)
        assert isinstance(other.inputs, kind)
        assert isinstance(other.labelled, kind)
        rows = np.array([305, 0, 41, 39])
        for name in ("inputs", "labelled"):
            there, here = getattr(other, name), getattr(whole, name)
            np.testing.assert_array_equal(there[:], here, strict=True)
            np.testing.assert_array_equal(
                there[rows % len(here)], here[rows % len(here)], strict=True
            )


def test_whole_numbers_stay_such(whole):
    names = np.arange(72 * 12).reshape(72, 1, 12)
    problem = dataclasses.replace(
        whole.problem, x_train=names,
        recipe=whole.problem.recipe.model_copy(update={"augmentation": ()}),
    )  # fmt: skip
    for memory in (0.0, 1.0):
        made = dataclasses.replace(
            whole, problem=problem, unlabelled=None, memory=memory
        )
        made.make(Teacher(), "sums")
        np.testing.assert_array_equal(made.inputs[:72], names, strict=True)


def test_what_was_answered_is_not_asked_again(whole, tmp_path):
    interrupted = Teacher(most=130)
    with pytest.raises(KeyboardInterrupt):
        whole.make(interrupted, "sums")
    # Blocks of 40, 40 and 22: what is there is whole.
    assert interrupted.asked == 102
    assert len(list(whole.folder.glob("logits-*.npy"))) == 3
    goes_on = Teacher()
    whole.make(goes_on, "sums")
    assert interrupted.asked + goes_on.asked == 306
    nothing = Teacher(most=0)
    whole.make(nothing, "sums")
    apart = dataclasses.replace(whole, folder=tmp_path / "apart")
    apart.make(Teacher(), "sums")
    assert files(whole) == files(apart)
    assert not list(whole.folder.glob("*.unfinished"))


@pytest.mark.parametrize("name", ["inputs-00001.npy", "logits-00002.npy"])
@pytest.mark.parametrize("harm", ["cut", "changed", "no checksum", "other checksum"])
def test_a_damaged_block_is_told_and_removing_it_is_the_way_out(whole, name, harm):
    whole.make(Teacher(), "sums")
    before, place = files(whole), whole.folder / name
    content, told = place.read_bytes(), place.with_suffix(".sha256")
    match harm:
        case "cut":
            place.write_bytes(content[: len(content) // 2])
        case "changed":
            place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "no checksum":
            told.unlink()
        case _:
            told.write_bytes(b"\xff\xfe")
    fresh = dataclasses.replace(whole)
    teacher = Teacher()
    with pytest.raises(StudyError) as caught:
        fresh.make(teacher, "sums")
    assert str(place) in caught.value.received
    assert teacher.asked == 0
    command = caught.value.way_out.partition("(")[2].partition(")")[0]
    assert command == f"rm {shlex.quote(str(place))}"
    subprocess.run(command, shell=True, check=True)
    fresh.make(teacher, "sums")
    assert teacher.asked == (0 if name.startswith("inputs") else 22)
    assert files(fresh) == before


@pytest.mark.parametrize("kept", ["all", "inputs alone"])
@pytest.mark.parametrize("other", ["study", "teacher"])
def test_blocks_of_another_study_or_teacher_are_told_and_not_used(whole, other, kept):
    whole.make(Teacher(), "sums")
    if kept == "inputs alone":
        for place in whole.folder.glob("logits-*"):
            place.unlink()
    before = files(whole)
    fresh = dataclasses.replace(
        whole, study="other" if other == "study" else whole.study
    )
    name = "means" if other == "teacher" else "sums"
    asked = Teacher()
    if (other, kept) == ("teacher", "inputs alone"):
        fresh.make(asked, name)  # inputs are the study's, whoever answers
        assert asked.asked == 306
        return
    with pytest.raises(StudyError, match=f"written for another {other}") as caught:
        fresh.make(asked, name)
    if other == "study":
        with pytest.raises(StudyError, match="written for another study"):
            fresh.check()
    else:
        fresh.check()
    assert (asked.asked, files(fresh)) == (0, before)
    command = caught.value.way_out.partition("(")[2].partition(")")[0]
    assert command == f"rm -r {shlex.quote(str(whole.folder))}"
    subprocess.run(command, shell=True, check=True)
    fresh.make(asked, name)
    assert asked.asked == 306


def test_a_block_under_another_ones_name_is_not_used(whole):
    whole.make(Teacher(), "sums")
    for ending in ("npy", "sha256"):
        first, second = (whole.folder / f"logits-0000{i}.{ending}" for i in (0, 1))
        second.write_bytes(first.read_bytes())
    with pytest.raises(StudyError, match=r"logits-00001\.npy was written for another"):
        whole.make(Teacher(), "sums")


def test_the_disk_has_room_for_it(whole, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: Free(whole.size))
    assert whole.size == 306 * (12 + 2) * 4
    whole.check_room()
    whole.make(Teacher(), "sums")
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: Free(0))
    whole.check_room()  # it is there
    (whole.folder / "inputs-00000.npy").unlink()
    (whole.folder / "inputs-00001.npy").unlink()
    with pytest.raises(StudyError, match="the disk has room") as caught:
        whole.check_room()
    assert "306 examples, 3 of each" in caught.value.received
    assert "--passes 1" in caught.value.way_out


@dataclasses.dataclass
class Free:
    free: int


def test_nothing_is_written_through_a_link(whole, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    whole.folder.symlink_to(elsewhere)
    with pytest.raises(StudyError):
        whole.make(Teacher(), "sums")
    whole.folder.unlink()
    whole.folder.mkdir()
    (whole.folder / "inputs-00000.npy").symlink_to(elsewhere / "there.npy")
    with pytest.raises(StudyError):
        whole.make(Teacher(), "sums")
    assert not list(elsewhere.iterdir())


def test_labels_as_a_teacher_are_as_sure_as_a_network_may_be():
    said = labels_as_logits(3)(np.zeros((4, 1)), np.array([2, 0, 1, 2]))
    assert said.dtype == np.float32
    assert said.argmax(1).tolist() == [2, 0, 1, 2]
    np.testing.assert_allclose(said.sum(1), 0, atol=1e-5)
    shares = np.exp(said) / np.exp(said).sum(1, keepdims=True)
    assert (shares.max(1) > 0.999).all()


# ------------------------------------------------------------------ more inputs


def test_more_inputs_are_prepared_as_the_training_rows_were(study, tmp_path):
    np.save(tmp_path / "more.npy", mimicked.series(9, seed=2)[0])
    read = unlabelled(str(tmp_path / "more.npy"), study.split)
    prepared = study.split.preparation(mimicked.series(9, seed=2)[0]).numpy()
    np.testing.assert_array_equal(read, prepared, strict=True)
    assert not np.allclose(read, mimicked.series(9, seed=2)[0])


def written(folder, values):
    np.savez(folder / "more.npz", **values)
    return folder / "more.npz"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"z": np.zeros((2, 1, 12))}, ("called x", "holds z", "numpy.savez")),
        ({"x": np.zeros((0, 1, 12))}, ("one example or more", "(0, 1, 12)")),
        ({"x": np.zeros((2, 1, 11))}, ("1x12", "(2, 1, 11)")),
        ({"x": np.zeros((2, 12))}, ("1x12", "(2, 12)")),
        ({"x": np.float32(3)}, ("several examples",)),
        ({"x": np.full((2, 1, 12), np.nan)}, ("finite numbers",)),
        (
            {"x": np.full((2, 1, 12), 1e39) * [[[0.0]], [[1.0]]]},
            ("as networks read them (float32)", "1 of the 2", "row 1", "1e+39"),
        ),
        ({"x": np.full((2, 1, 12), 1j)}, ("finite numbers", "complex")),
        ({"x": np.array([{}])}, ("can be read", "Object arrays")),
        ({"x": np.array(["a", "b"])}, ("finite numbers", "<U1")),
    ],
)
def test_more_inputs_that_cannot_be_used(study, tmp_path, values, says):
    place = written(tmp_path, values)
    with pytest.raises(DataError) as caught:
        unlabelled(str(place), study.split)
    for part in (*says, "more.npz"):
        assert part in str(caught.value)
    assert caught.value.way_out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"hello", "half"])
def test_more_inputs_that_are_no_arrays(study, tmp_path, content):
    place = written(tmp_path, {"x": np.zeros((20, 1, 12))})
    if content == "half":
        content = place.read_bytes()[:1000]
    place.write_bytes(content)
    for path in (place, tmp_path, tmp_path / "nowhere.npz"):
        with pytest.raises(DataError, match="an array that can be read") as caught:
            unlabelled(str(path), study.split)
        assert "numpy.savez(path, x=x)" in caught.value.way_out
        assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("name", ["test", "validation"])
def test_no_student_sees_what_tests_or_chooses(study, tmp_path, name):
    x, _ = mimicked.series(120)
    held = {row.tobytes() for row in getattr(study.split, f"x_{name}")}
    among = [row.tobytes() in held for row in study.split.preparation(x).numpy()]
    assert sum(among) == 24
    more = np.concatenate([mimicked.series(5, seed=3)[0], x[among][:2]])
    with pytest.raises(DataError) as caught:
        unlabelled(str(written(tmp_path, {"x": more})), study.split)
    assert f"2 of the 7 inputs of {tmp_path / 'more.npz'} are {name} examples" in str(
        caught.value
    )
    assert "the first at row 5" in caught.value.received
    unlabelled(str(written(tmp_path, {"x": more[:5]})), study.split)

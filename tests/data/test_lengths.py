"""Series of unequal length: what is padding, what is missing, and what is asked."""

import copy
import re

import numpy as np
import pytest
import torch

from archtrial.data import inputs_of, load
from archtrial.data.preparation import Preparation
from archtrial.errors import DataError
from archtrial.protocol import Splits

HEAD = "@problemName Toy\n@timeStamps false\n@equalLength {}\n@classLabel true a b\n@data\n"
SAY_SO = "--lengths mask"


def lengths(count, shortest=3, longest=8, seed=0):
    found = np.random.default_rng(seed).integers(shortest, longest + 1, count)
    found[:2] = shortest, longest
    return found


def series(count=40, channels=2, seed=0, **ends):
    generator = np.random.default_rng(seed)
    return [
        generator.normal(3 * i % 2, 2, size=(channels, n)).round(5)
        for i, n in enumerate(lengths(count, seed=seed, **ends))
    ]


def written(rows):
    return "".join(
        ":".join(",".join(map(str, channel)) for channel in row) + f":{'ab'[i % 2]}\n"
        for i, row in enumerate(rows)
    )


def padded(rows, steps=None):
    x = np.full(
        (len(rows), len(rows[0]), steps or max(r.shape[1] for r in rows)), np.nan
    )
    for place, row in zip(x, rows, strict=True):
        place[:, : row.shape[1]] = row
    return x


def labels(count=40):
    return np.arange(count) % 2


def refused(path, words, **options):
    with pytest.raises(DataError, match=re.compile(words, re.DOTALL)) as caught:
        load(path, **options)
    return str(caught.value)


# --- .ts ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_that_says_so_has_series_of_unequal_length(tmp_path, channels):
    rows = series(channels=channels)
    (tmp_path / "a.ts").write_text(HEAD.format("false") + written(rows))
    data = load(tmp_path / "a.ts")
    expected = padded(rows) if channels > 1 else padded(rows)[:, 0]
    np.testing.assert_array_equal(data.inputs, expected)
    split = data.split(Splits(), 0)
    assert split.lengths == inputs_of(split).lengths == (3, 8)
    assert inputs_of(split).unequal
    assert any("Series have 3 to 8 steps." in note for note in split.notes)


def test_a_test_set_may_have_the_longest_series(tmp_path):
    train, test = series(), series(20, longest=11, seed=1)
    (tmp_path / "Toy_TRAIN.ts").write_text(HEAD.format("false") + written(train))
    (tmp_path / "Toy_TEST.ts").write_text(HEAD.format("false") + written(test))
    split = load(tmp_path).split(Splits(kind="given"), 0)
    assert (split.input_shape, split.lengths) == ((2, 11), (3, 11))
    assert np.isnan(split.x_train[..., 8:]).all()
    assert (~np.isnan(split.x_test[:, 0])).sum(1).tolist() == [r.shape[1] for r in test]


@pytest.mark.parametrize("said", ["true", None])
def test_what_the_header_does_not_say_is_asked(tmp_path, said):
    head = HEAD.format(said) if said else HEAD.replace("@equalLength {}\n", "")
    (tmp_path / "a.ts").write_text(head + written(series()))
    message = refused(tmp_path / "a.ts", r"\(2, 3\), but \(2, 8\) in series 2 of a\.ts")
    assert SAY_SO in message
    assert load(tmp_path / "a.ts", lengths="mask").steps.tolist() == [
        row.shape[1] for row in series()
    ]


def test_files_of_different_length_are_asked_about(tmp_path):
    for part, steps in (("TRAIN", 5), ("TEST", 7)):
        rows = [np.ones((1, steps)) + i for i in range(30)]
        (tmp_path / f"T_{part}.ts").write_text(HEAD.format("true") + written(rows))
    message = refused(tmp_path, r"\(1, 5\) in T_TRAIN\.ts and \(1, 7\) in T_TEST\.ts")
    assert SAY_SO in message
    split = load(tmp_path, lengths="mask").split(Splits(), 0)
    assert split.lengths == (5, 7)


def test_a_question_mark_is_missing_and_at_the_end_it_is_asked(tmp_path):
    head = HEAD.format("false")
    good = written(series())
    (tmp_path / "a.ts").write_text(head + good + "1,?,3:1,2,3:a\n")
    refused(tmp_path / "a.ts", r"finite numbers: 1 NaN.*\[40, 0, 1\]")
    refused(tmp_path / "a.ts", "finite numbers: 1 NaN", lengths="mask")
    # In one channel alone it is missing, wherever it stands.
    (tmp_path / "a.ts").write_text(head + good + "1,2,?:1,2,3:a\n")
    refused(tmp_path / "a.ts", "finite numbers: 1 NaN")
    # In all of them it may be either.
    (tmp_path / "a.ts").write_text(head + good + "1,2,?:1,2,?:a\n")
    message = refused(tmp_path / "a.ts", "series 41 of a.ts ends in missing values")
    assert SAY_SO in message
    assert load(tmp_path / "a.ts", lengths="mask").steps[-1] == 2
    (tmp_path / "a.ts").write_text(head + good + "?,?:?,?:a\n")
    refused(tmp_path / "a.ts", "a step at least: series 41", lengths="mask")


@pytest.mark.parametrize("told", [None, "mask"])
def test_channels_agree(tmp_path, told):
    head = HEAD.format("false") + written(series())
    (tmp_path / "a.ts").write_text(head + "1,2,3:1,2:a\n")
    refused(tmp_path / "a.ts", "channels of series 41 .*differ: 3 and 2", lengths=told)
    (tmp_path / "a.ts").write_text(head + "1,2,3:a\n")
    refused(tmp_path / "a.ts", "same channels: 2 in the first, 1 in", lengths=told)


# --- UCR ----------------------------------------------------------------------------


def test_ucr_pads_with_nan(tmp_path):
    rows = series(channels=1)
    table = padded(rows, steps=10)[:, 0]  # as the archive has it: beyond the longest
    lines = [
        "\t".join([str(1 + i % 2), *map(str, r)]).replace("nan", "NaN")
        for i, r in enumerate(table)
    ]
    path = tmp_path / "Toy_TRAIN.tsv"
    path.write_text("\n".join(lines))
    data = load(path)
    np.testing.assert_array_equal(data.inputs, table[:, :8])
    assert data.split(Splits(), 0).lengths == (3, 8)
    # Missing within is missing.
    path.write_text("\n".join([*lines, "1\t2\tNaN\t" + "\t".join("12345678")]))
    refused(path, r"finite numbers: 1 NaN")
    # Rows of other length may be cut off.
    path.write_text("\n".join([*lines, "1\t2\t3"]))
    assert SAY_SO in refused(path, "row 41 of Toy_TRAIN.tsv has 2 values, the first 10")
    assert load(path, lengths="mask").steps[-1] == 2


# --- arrays -------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_nan_at_the_end_of_arrays_is_asked_about(tmp_path, turned):
    x = padded(series())
    path = tmp_path / "a.npz"
    np.savez(path, x=x.transpose(0, 2, 1) if turned else x, y=labels())
    where = {"channels": "last"} if turned else {}
    words = "NaN or infinite.*all behind the end of the examples"
    assert SAY_SO in refused(path, words, **where)
    data = load(path, lengths="mask", **where)
    np.testing.assert_array_equal(data.inputs, x)
    # A gap within is missing, whatever is said.
    x[5, :, 0] = np.nan
    np.savez(path, x=x, y=labels())
    for told in (None, "mask", "zeros", 8):
        assert SAY_SO not in refused(
            path, "finite numbers", lengths=told, channels="first"
        )


def test_two_dimensions_are_series_where_lengths_are_declared(tmp_path):
    x = padded(series(channels=1))[:, 0]
    np.savez(tmp_path / "a.npz", x=x, y=labels())
    assert SAY_SO in refused(tmp_path / "a.npz", "finite numbers")
    split = load(tmp_path / "a.npz", lengths="mask").split(Splits(), 0)
    assert (split.kind, split.input_shape, split.lengths) == ("sequence", (8,), (3, 8))


def test_square_series_are_no_images_where_lengths_are_declared(tmp_path):
    rows = series(channels=8)
    np.savez(tmp_path / "a.npz", x=padded(rows), y=labels())
    refused(tmp_path / "a.npz", "where their channels are", lengths="mask")
    data = load(tmp_path / "a.npz", lengths="mask", channels="first")
    assert data.kind == "sequence"


def test_ids_are_padded_with_0_where_that_is_declared(tmp_path):
    generator = np.random.default_rng(0)
    ends = lengths(40)
    x = generator.integers(1, 9, (40, 8)) * (np.arange(8) < ends[:, None])
    np.savez(tmp_path / "a.npz", x=x, y=labels())
    data = load(tmp_path / "a.npz")
    assert data.split(Splits(), 0, names=True).lengths is None  # 0 may be a word
    data = load(tmp_path / "a.npz", lengths="mask")
    assert data.steps.tolist() == ends.tolist()
    split = data.split(Splits(), 0, names=True)
    assert (split.lengths, split.vocabulary, split.x_train.dtype) == (
        (3, 8),
        9,
        np.int64,
    )
    with pytest.raises(DataError, match="whole numbers that are amounts"):
        data.split(Splits(), 0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones((40, 3, 8, 8)), "y": labels()}, "lengths is for series"),
        ({"x": np.ones(40), "y": labels()}, "lengths is for series"),
    ],
)
def test_lengths_are_of_series(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", words, lengths="mask")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n" * 40)
    refused(tmp_path / "t.csv", "lengths is for series", lengths="mask")
    refused("mnist1d", "lengths says how a file is read", lengths="mask")


# --- what becomes of them ---------------------------------------------------------


@pytest.fixture
def unequal(tmp_path):
    rows = series(60, channels=3, shortest=2, longest=9)
    rows = [row * [[1], [10], [100]] + [[0], [5], [-7]] for row in rows]
    np.savez(tmp_path / "a.npz", x=padded(rows), y=labels(60))
    return tmp_path / "a.npz", rows


def test_scaling_is_by_the_steps_that_series_have(unequal):
    path, rows = unequal
    split = load(path, lengths="mask").split(Splits(), 0)
    zeros = load(path, lengths="zeros").split(Splits(), 0)
    # The slow twin: the training rows one behind the other.
    raw = load(path, lengths="mask").split(Splits(), 0, scale=False)
    places = [
        next(i for i, row in enumerate(rows) if np.isclose(row[0, 0], x[0, 0]))
        for x in raw.x_train
    ]
    whole = np.concatenate([rows[i] for i in places], axis=1)
    mean, scale = whole.mean(1, keepdims=True), whole.std(1, keepdims=True)
    for x, filled, i in zip(split.x_train, zeros.x_train, places, strict=True):
        n = rows[i].shape[1]
        np.testing.assert_allclose(x[:, :n], (rows[i] - mean) / scale, atol=1e-5)
        assert np.isnan(x[:, n:]).all()
        np.testing.assert_array_equal(filled[:, :n], x[:, :n])
        assert (filled[:, n:] == 0).all()
    assert inputs_of(zeros).lengths == (9, 9)
    assert not inputs_of(zeros).unequal


def test_series_are_cut_to_what_is_declared(unequal):
    path, rows = unequal
    cut = load(path, lengths=4)
    np.testing.assert_array_equal(cut.inputs, padded(rows)[..., :4])
    split = cut.split(Splits(), 0)
    assert (split.input_shape, split.lengths) == ((3, 4), (2, 4))
    equal = load(path, lengths=2).split(Splits(), 0)
    assert (equal.input_shape, equal.lengths) == ((3, 2), None)
    assert np.isfinite(equal.x_train).all()
    # What is cut off has no part in the scale.
    first = np.concatenate([split.x_train[:, :, :2], equal.x_train])
    assert np.isfinite(first).all()
    np.testing.assert_allclose(equal.x_train.mean((0, 2)), 0, atol=1e-5)
    refused(path, "the longest in a.npz has 9 steps: lengths = 10", lengths=10)


def test_each_way_is_another_data_set(unequal):
    path, _ = unequal
    digests = {
        load(path, lengths=told).split(Splits(), 0).digest for told in ("mask", 4, 2)
    }
    assert len(digests) == 3
    again = padded(unequal[1])
    again[np.isnan(again)] = -np.float64(np.nan)
    np.savez(path, x=again, y=labels(60))
    assert load(path, lengths="mask").split(Splits(), 0).digest in digests


def test_copies_are_found_whatever_their_length(tmp_path):
    rows = series(60)
    test = [copy.copy(row) for row in rows[:10]]  # of which each was trained on
    steps = max(row.shape[1] for row in rows)
    np.savez(
        tmp_path / "a.npz", x=padded(rows, steps), y=labels(60), x_test=padded(test, steps),
        y_test=labels(10), x_val=padded(series(20, seed=5), steps), y_val=labels(20),
    )  # fmt: skip
    split = load(tmp_path / "a.npz", lengths="mask").split(Splits(kind="given"), 0)
    assert (split.copies.exact, split.copies.of) == (10, 10)
    noisy = [row + 1e-4 for row in test] * 3
    np.savez(
        tmp_path / "a.npz", x=padded(rows, steps), y=labels(60), x_test=padded(noisy, steps),
        y_test=labels(30), x_val=padded(series(20, seed=5), steps), y_val=labels(20),
    )  # fmt: skip
    split = load(tmp_path / "a.npz", lengths="mask").split(Splits(kind="given"), 0)
    assert split.copies.near == 30


@pytest.mark.parametrize("told", ["mask", "zeros", 4, 2])
def test_series_that_stay_in_files_are_the_same(unequal, told):
    path, _ = unequal
    here = load(path, lengths=told).split(Splits(), 0)
    there = load(path, lengths=told, memory=0).split(Splits(), 0)
    assert (here.digest, here.lengths, here.notes) == (
        there.digest, there.lengths, there.notes,
    )  # fmt: skip
    for name in ("x_train", "x_validation", "x_test"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name)[:])
    assert here.preparation == there.preparation


# --- the same again, for a model that is loaded -------------------------------------


@pytest.mark.parametrize("told", ["mask", "zeros", 4, 2])
@pytest.mark.parametrize("tensors", [False, True])
def test_raw_series_become_what_the_model_was_trained_on(unequal, told, tensors):
    path, rows = unequal
    data = load(path, lengths=told)
    split = data.split(Splits(), 0)
    prepared = Preparation.from_dict(split.preparation.to_dict())
    # Which is found by its scaled values.
    every = prepared([torch.from_numpy(row) for row in rows] if tensors else rows)
    arrays = prepared(padded(rows, 12) if told != "mask" else padded(rows))
    np.testing.assert_array_equal(every, arrays)
    found = every.numpy()
    for x in split.x_test:
        apart = np.abs(np.nan_to_num(found) - np.nan_to_num(x)).max((1, 2))
        assert apart.min() < 1e-5
        np.testing.assert_array_equal(np.isnan(found[apart.argmin()]), np.isnan(x))


def test_raw_series_that_cannot_be_prepared(unequal):
    path, rows = unequal
    masked = load(path, lengths="mask").split(Splits(), 0).preparation
    cut = load(path, lengths=2).split(Splits(), 0).preparation
    gap = rows[1].copy()
    gap[:, 3] = np.nan
    for prepared, given, words in (
        (masked, [np.ones((3, 10))], "9 steps at most.*series 0 has 10"),
        (masked, [rows[0], np.ones((2, 4))], "series 1 has the shape"),
        (masked, [gap], "NaN before it"),
        (masked, [np.full((3, 4), np.nan)], "series 0 has none"),
        (masked, [], "none"),
        (masked, 3, "an object of type int"),
        (masked, [["a"]], "numbers"),
        (cut, [np.ones((3, 1))], "have 2 steps: series 0 has 1"),
    ):
        with pytest.raises(DataError, match=re.compile(words, re.DOTALL)):
            prepared(given)


# --- real files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "ends"),
    [
        ("JapaneseVowels", (12, 29), (7, 29)),
        ("PickupGestureWiimoteZ", (361,), (29, 361)),
    ],
)
def test_real_series_of_unequal_length(real, name, shape, ends):
    split = load(real(f"sequences/{name}")).split(Splits(), 0)
    assert (split.input_shape, split.lengths) == (shape, ends)
    inside = split.x_train[~np.isnan(split.x_train)]
    assert inside.mean() == pytest.approx(0, abs=1e-6)
    assert inside.std() == pytest.approx(1, abs=1e-6)

"""Parts, wrong labels, positions: what changes, and what stays."""

import numpy as np
import pytest

from archtrial.experiments.profile.variations import (
    moved,
    nested,
    sides,
    without_order,
    wrong_labels,
)
from archtrial.experiments.profile.variations import (
    some as some_of,
)


def labels(counts=(50, 30, 17, 3), seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(4), counts))


def test_each_beginning_of_the_order_is_stratified():
    y = labels()
    order = nested(y, "classification", 0, 1)
    assert sorted(order) == list(range(100))
    for m in range(1, 101):
        counts = np.bincount(y[order[:m]], minlength=4)
        assert np.abs(counts - m * np.array([0.5, 0.3, 0.17, 0.03])).max() <= 1


def test_parts_of_values_have_all_tenths():
    y = np.random.default_rng(0).lognormal(size=200)
    order = nested(y, "regression", 0, 1)
    assert sorted(order) == list(range(200))
    tenths = np.argsort(np.argsort(y)) // 20
    assert np.bincount(tenths[order[:50]], minlength=10).tolist() == [5] * 10


def test_orders_follow_from_their_names():
    y = labels()
    once = nested(y, "classification", 0, 1)
    assert np.array_equal(once, nested(y, "classification", 0, 1))
    assert not np.array_equal(once, nested(y, "classification", 0, 2))
    assert not np.array_equal(once, nested(y, "classification", 1, 1))
    # Within a class the draw decides, and not the place in the data.
    assert not np.array_equal(once[y[once] == 0], np.flatnonzero(y == 0))


@pytest.mark.parametrize("classes", [2, 10])
def test_wrong_labels_are_another_class_as_often_as_declared(classes):
    y = np.random.default_rng(0).integers(0, classes, 5000)
    before = y.copy()
    some, more = (wrong_labels(y, share, classes, 0) for share in (0.2, 0.4))
    assert np.array_equal(y, before)
    assert np.count_nonzero(some != y) == 1000
    assert np.count_nonzero(more != y) == 2000
    changed = some != y
    assert np.array_equal(more[changed], some[changed])
    assert set(more) == set(range(classes))
    # Each other class is as likely: chi squared of the offset, p > .001.
    offsets = np.bincount((more - y)[more != y] % classes, minlength=classes)[1:]
    expected = 2000 / (classes - 1)
    assert np.sum((offsets - expected) ** 2 / expected) < 27.9
    assert np.array_equal(wrong_labels(y, 0.0, classes, 0), y)


@pytest.mark.parametrize(
    ("shape", "kind", "lengths", "axes"),
    [
        ((40,), "sequence", (40, 40), 1),
        ((2, 40), "sequence", (40, 40), 1),
        ((2, 40), "sequence", (7, 40), 0),
        ((1, 8, 8), "image", None, 2),
        ((13,), "table", None, 0),
        ((40,), "array", None, 1),
    ],
)
def test_which_inputs_have_positions(shape, kind, lengths, axes):
    assert sides(shape, kind, lengths) == axes


@pytest.mark.parametrize(("shape", "axes"), [((40,), 1), ((3, 20), 1), ((2, 5, 7), 2)])
def test_positions_change_places_alike_in_all_inputs_and_channels(shape, axes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, *shape)).astype(np.float32)
    found = without_order(x, axes, 0)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    flat, told = (v.reshape(*v.shape[:-axes], -1) for v in (x, found))
    # One permutation: it turns the places themselves into what it made of them.
    places = np.arange(flat.shape[-1], dtype=np.float32).reshape((1, *shape[-axes:]))
    order = without_order(places, axes, 0).reshape(-1).astype(int)
    assert np.array_equal(told, flat[..., order])
    assert sorted(order) == list(range(flat.shape[-1]))
    assert not np.array_equal(order, np.arange(len(order)))
    assert not np.array_equal(found, without_order(x, axes, 1))


def test_inputs_move_both_ways_along_each_axis():
    x = np.arange(12).reshape(1, 1, 3, 4)
    found = moved(x, 2, 1)
    assert len(found) == 4
    assert found[0][0, 0, 0].tolist() == [3, 0, 1, 2]
    assert found[1][0, 0, 0].tolist() == [1, 2, 3, 0]
    assert found[2][0, 0, :, 0].tolist() == [8, 0, 4]
    assert found[3][0, 0, :, 0].tolist() == [4, 8, 0]
    assert len(moved(np.ones((2, 5)), 1, 2)) == 2


def test_some_examples_of_a_sorted_file_are_of_all_classes():
    y = np.repeat([0, 1, 2], [600, 300, 100])
    some = some_of(y, "classification", 100, 0, "scored")
    assert np.bincount(y[some]).tolist() == [60, 30, 10]
    assert (np.diff(some) > 0).all()
    assert some_of(y, "classification", 5000, 0, "scored").tolist() == [*range(1000)]

"""Few labels: which rows have them, and what is refused."""

import re

import numpy as np
import pytest

from archtrial.data import check_labels, draw_labelled
from archtrial.data.dataset import assemble
from archtrial.data.labelled import _quotas
from archtrial.errors import DataError, ProtocolError
from archtrial.protocol import Splits

Y = np.repeat([0, 1, 2], [70, 25, 5])


def test_classes_have_their_shares_and_rows_are_drawn():
    seen = set()
    for seed in range(50):
        rows = draw_labelled(Y, 20, np.random.default_rng(seed))
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert np.bincount(Y[rows]).tolist() == [14, 5, 1]
        seen |= set(rows.tolist())
    assert seen == set(range(100))
    again = draw_labelled(Y, 20, np.random.default_rng(3))
    assert np.array_equal(again, draw_labelled(Y, 20, np.random.default_rng(3)))


@pytest.mark.parametrize("count", [1, 7, 33, 99, 100])
def test_as_many_are_drawn_as_are_asked_for(count):
    rows = draw_labelled(Y, count, np.random.default_rng(0))
    assert len(rows) == count
    shares = count * np.bincount(Y) / len(Y)
    assert (np.abs(np.bincount(Y[rows], minlength=3) - shares) < 1).all()


def split_of(y, task="classification"):
    x = np.random.default_rng(0).normal(size=(len(y), 40))
    names = np.array(["cat", "dog", "elk"])[y] if task == "classification" else y
    whole = assemble("pets", x, names, kind="sequence", task=task, known_task=task)
    return whole.split(Splits(), 0)


def test_enough_labels_of_each_class_pass():
    split = split_of(np.repeat([0, 1, 2], [140, 50, 10]))
    check_labels(split, 20)
    check_labels(split, len(split.y_train))


def test_what_cannot_be_seen_is_refused_with_a_number_that_can():
    split = split_of(np.repeat([0, 1, 2], [140, 50, 10]))
    rows = len(split.y_train)
    with pytest.raises(ProtocolError, match=rf"(?s){rows + 1} training rows|{rows}"):
        check_labels(split, rows + 1)
    with pytest.raises(ProtocolError, match=r"none is of class elk") as told:
        check_labels(split, 5)
    typed = int(re.search(r"--labels (\d+)", str(told.value))[1])
    check_labels(split, typed)
    with pytest.raises(ProtocolError):
        check_labels(split, typed - 1)


def test_a_class_without_a_training_row_has_no_label():
    split = split_of(np.repeat([0, 1, 2], [140, 50, 10]))
    without = split.y_train != 2
    object.__setattr__(split, "y_train", split.y_train[without])
    object.__setattr__(split, "x_train", split.x_train[without])
    with pytest.raises(DataError, match="none of class elk"):
        check_labels(split, 30)


def test_numbers_are_no_labels():
    y = np.random.default_rng(0).normal(size=80)
    with pytest.raises(ProtocolError, match="Leave --labels out"):
        check_labels(split_of(y, "regression"), 20)


def test_what_rounding_leaves_over_goes_to_the_largest_remainders():
    # 6.3, 2.25 and .45 rows.
    assert _quotas(np.bincount(Y), 9).tolist() == [6, 2, 1]


def test_least_shares_of_many_classes():
    assert _quotas(np.ones(10), 4).sum() == 4
    assert _quotas(np.ones(10), 10).tolist() == [1] * 10

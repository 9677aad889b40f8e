import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archtrial import metrics
from archtrial.data.dataset import assemble
from archtrial.data.split import TEST, TRAIN, VALIDATION, draw
from archtrial.errors import DataError, ProtocolError
from archtrial.protocol import Splits


def arrays(count=100, classes=2, seed=0, **options):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    y = np.arange(count) % classes
    return assemble("arrays", x, y, kind="array", task="classification", **options)


def sets(rows):
    return [set(members.tolist()) for members in rows]


# --- the division of the rows ---------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(["auto", "stratified", "random", "grouped", "time"]),
    count=st.integers(30, 120),
    seed=st.integers(0, 2**31),
    test=st.sampled_from([0.1, 0.2, 0.4]),
    divided=st.booleans(),
)
def test_each_row_is_in_one_set(kind, count, seed, test, divided):
    y = np.arange(count) % 3
    parts = np.repeat([TRAIN, TEST], [count - 9, 9]) if divided else None
    groups = np.arange(count) // 3 if kind == "grouped" else None
    rows = draw(
        Splits(kind=kind, test=test),
        y,
        "classification",
        seed,
        given=parts,
        groups=groups,
    )
    together = np.concatenate(rows)
    assert np.sort(together).tolist() == list(range(count))
    assert all((np.diff(members) > 0).all() for members in rows)


@pytest.mark.parametrize("kind", ["auto", "stratified", "random", "time"])
def test_shares_are_of_all_rows(kind):
    rows = draw(
        Splits(kind=kind, validation=0.1, test=0.3),
        np.arange(1000) % 2,
        "classification",
        0,
    )
    assert [len(members) for members in rows] == [600, 100, 300]


def test_with_a_given_test_set_validation_is_a_share_of_the_others():
    parts = np.repeat([TRAIN, TEST], [100, 400])
    rows = draw(
        Splits(validation=0.2), np.arange(500) % 2, "classification", 0, given=parts
    )
    assert [len(members) for members in rows] == [80, 20, 400]
    assert rows.test.tolist() == list(range(100, 500))


def test_a_given_validation_set_is_kept():
    parts = np.array([TRAIN, VALIDATION, TEST] * 20)
    rows = draw(
        Splits(kind="given"), np.arange(60) % 2, "classification", 0, given=parts
    )
    assert rows.validation.tolist() == list(range(1, 60, 3))
    assert rows.train.tolist() == list(range(0, 60, 3))


def test_stratified_splits_keep_the_shares_of_the_classes():
    y = np.repeat([0, 1, 2], [800, 190, 10])
    rows = draw(Splits(), y, "classification", 3)
    assert np.bincount(y[rows.train]).tolist() == [480, 114, 6]
    assert np.bincount(y[rows.validation]).tolist() == [160, 38, 2]
    assert np.bincount(y[rows.test]).tolist() == [160, 38, 2]


def test_the_sizes_are_exact_whatever_the_classes():
    y = np.repeat(np.arange(7), [11, 12, 13, 14, 15, 16, 19])
    rows = draw(Splits(), y, "classification", 0)
    assert [len(members) for members in rows] == [60, 20, 20]


def test_three_rows_of_a_class_reach_all_three_sets():
    y = np.repeat([0, 1], [97, 3])
    rows = draw(Splits(test=0.05, validation=0.05), y, "classification", 0)
    assert all(1 in y[members] for members in rows)


def test_declared_stratified_splits_refuse_a_class_that_cannot_reach_all_sets():
    y = np.repeat([0, 1], [98, 2])
    with pytest.raises(DataError, match=r"(?s)at least 3 rows.*: 2 of class.*random"):
        draw(Splits(kind="stratified"), y, "classification", 0)
    rows = draw(Splits(), y, "classification", 0)
    assert 1 in y[rows.train]
    assert 1 in y[rows.test]


def test_time_keeps_the_order_of_the_file():
    rows = draw(Splits(kind="time"), np.arange(50.0), "regression", 0)
    assert rows.train.tolist() == list(range(30))
    assert rows.validation.tolist() == list(range(30, 40))
    assert rows.test.tolist() == list(range(40, 50))


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_on_one_side(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(12, size=300)
    rows = draw(Splits(), np.arange(300.0), "regression", seed, groups=groups)
    sides = [set(groups[members].tolist()) for members in rows]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    # Twelve groups of about 25 rows: as close to a fifth as whole groups come.
    assert 40 <= len(rows.test) <= 80
    assert 40 <= len(rows.validation) <= 80


def test_the_seed_decides_which_groups_are_tested():
    groups = np.arange(100) // 10
    tested = {
        frozenset(
            groups[
                draw(Splits(), np.arange(100.0), "regression", seed, groups=groups).test
            ].tolist()
        )
        for seed in range(10)
    }
    assert len(tested) > 5


def test_three_groups_are_one_for_each_set():
    groups = np.repeat(["a", "b", "c"], [5, 60, 35])
    rows = draw(Splits(), np.arange(100.0), "regression", 0, groups=groups)
    assert sorted(len(members) for members in rows) == [5, 35, 60]
    with pytest.raises(DataError, match=r"(?s)one group for each.*only 2 in all"):
        draw(Splits(), np.arange(50.0), "regression", 0, groups=np.arange(50) % 2)


def test_the_seed_alone_decides():
    y = np.arange(200) % 4
    first, same, other = (draw(Splits(), y, "classification", s) for s in (1, 1, 2))
    assert sets(first) == sets(same)
    assert sets(first) != sets(other)


@pytest.mark.parametrize(
    ("kind", "task", "error", "words"),
    [
        ("given", "classification", ProtocolError, r"(?s)bring a test set.*x_test"),
        ("grouped", "classification", ProtocolError, r"(?s)no groups.*groups = "),
        ("stratified", "regression", ProtocolError, r"(?s)task is regression.*random"),
    ],
)
def test_a_kind_that_does_not_go_with_the_data(kind, task, error, words):
    with pytest.raises(error, match=words):
        draw(Splits(kind=kind), np.arange(50) % 2, task, 0)


def test_too_few_rows():
    with pytest.raises(DataError, match=r"(?s)at least two rows.*1 of 5 rows"):
        draw(Splits(), np.arange(5.0), "regression", 0)


# --- the seal -------------------------------------------------------------------


def test_the_test_labels_leave_as_scores_alone():
    split = arrays().split(Splits(), 0)
    accuracy = metrics.get("accuracy")
    zeros, ones = np.zeros(20, np.uint16), np.ones(20, np.uint16)
    scores = split.open_test(accuracy, [zeros, ones])
    assert [score.dtype for score in scores] == [np.float32, np.float32]
    assert (scores[0] + scores[1] == 1).all()
    assert scores[0].mean() == 0.5
    assert not hasattr(split, "y_test")
    assert split.test_size == 20


@pytest.mark.parametrize(
    "copied",
    [
        lambda split: pickle.loads(pickle.dumps(split)),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_no_copy_carries_the_test_labels(copied):
    split = arrays().split(Splits(), 0)
    twin = copied(split)
    assert (twin.x_test == split.x_test).all()
    assert twin.y_train.tolist() == split.y_train.tolist()
    with pytest.raises(RuntimeError, match="no test labels"):
        twin.open_test(metrics.get("accuracy"), [])
    # The test targets of this data set, as bytes, are nowhere in the pickle.
    values = np.random.default_rng(5).normal(size=50)
    data = assemble("a", np.arange(50.0)[:, None] ** 2, values, kind="array")
    secret = data.split(Splits(), 0)
    rows = draw(Splits(), data.targets, "regression", 0)
    raw = pickle.dumps(copied(secret))
    assert values[rows.validation].tobytes() in raw
    assert values[rows.test].tobytes() not in raw


def test_the_seal_opens_after_copies_were_made():
    split = arrays().split(Splits(), 0)
    pickle.dumps(split)
    assert len(split.open_test(metrics.get("accuracy"), [np.zeros(20)])) == 1


def test_a_metric_without_a_value_is_found_before_anything_is_trained():
    data = assemble(
        "sorted",
        np.random.default_rng(0).normal(size=(100, 2)),
        np.repeat([0, 1, 0], [5, 70, 25]),
        kind="array",
        task="classification",
    )
    split = data.split(Splits(kind="time"), 0)
    with pytest.raises(DataError, match="AUROC needs examples of every class"):
        split.check(metrics.get("auroc"))
    arrays().split(Splits(), 0).check(metrics.get("auroc"))

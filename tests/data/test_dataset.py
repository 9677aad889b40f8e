import numpy as np
import pytest

from archtrial.data.dataset import assemble
from archtrial.data.split import TEST, TRAIN
from archtrial.data.tables import Column
from archtrial.errors import DataError, ProtocolError
from archtrial.protocol import Splits


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def labels(count, classes=2):
    return np.arange(count) % classes


def texts(values):
    return np.array(values, dtype=object)


# --- the task -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "kind", "task", "classes"),
    [
        (labels(100), "array", "classification", ("0", "1")),
        (labels(100).astype(bool), "array", "classification", ("False", "True")),
        (labels(100).astype(float) + 3, "table", "classification", ("3", "4")),
        (np.array(["dog", "cat"] * 50), "array", "classification", ("cat", "dog")),
        (
            np.array([b"dog", b"caf\xe9"] * 50),
            "array",
            "classification",
            ("café", "dog"),
        ),
        (labels(1000, 100), "image", "classification", None),
        (labels(1000, 100), "table", "regression", None),
        (labels(100, 21), "array", "regression", None),
        (labels(100) + 0.5, "array", "regression", None),
        (np.arange(100), "image", "regression", None),
    ],
)
def test_the_task_is_found_from_the_target_and_said(targets, kind, task, classes):
    data = assemble("d", noise(len(targets), 2), targets, kind=kind)
    assert data.task == task
    assert data.notes[0].startswith(f"Task: {task}, since the target")
    if classes:
        assert data.classes == classes
    assert data.targets.dtype == (np.int64 if task == "classification" else np.float64)


def test_the_users_task_wins_over_the_sources_and_the_guess():
    options = {"kind": "array", "known_task": "classification"}
    assert assemble("d", noise(100, 2), labels(100), **options).task == "classification"
    data = assemble("d", noise(100, 2), labels(100), task="regression", **options)
    assert data.task == "regression"
    assert data.notes == ()
    with pytest.raises(DataError, match="'clustering'"):
        assemble("d", noise(100, 2), labels(100), task="clustering", **options)


@pytest.mark.parametrize(
    ("targets", "task", "words"),
    [
        (np.zeros(50), None, r"(?s)at least two classes.*every target is 0"),
        (np.zeros(50), "regression", r"(?s)target varies.*all 50 are 0"),
        (
            np.array([f"id{i}" for i in range(50)]),
            None,
            r"(?s)several examples each.*50 distinct targets.*'id0'",
        ),
        (
            np.array(["1.5", "2.5", "oops"] * 20),
            "regression",
            r"(?s)is a number.*'oops' in data row 3",
        ),
        (
            np.array(["1.5", "2.5", "?"] * 20),
            None,
            r"(?s)throughout.*20 texts among numbers, the first '\?' in data row 3",
        ),
        (np.array([1.0, np.nan] * 20), None, r"(?s)finite.*20 NaN.*\[1\]"),
        (np.array([1.5, np.inf] * 20), None, r"(?s)finite.*20 NaN or inf.*\[1\]"),
        (np.array([1, 1j] * 20), None, "complex"),
        (np.array(["2020-01-01"] * 40, dtype="M8[D]"), None, "datetime64"),
    ],
)
def test_targets_that_cannot_be_used(targets, task, words):
    with pytest.raises(DataError, match=words):
        assemble("d", noise(len(targets), 2), targets, kind="array", task=task)


def test_numbers_written_as_texts_can_be_a_regression():
    targets = np.array([f"{i / 7}" for i in range(40)])
    data = assemble("d", noise(40, 2), targets, kind="array", task="regression")
    assert data.targets == pytest.approx(np.arange(40) / 7)


# --- the inputs -----------------------------------------------------------------


def test_nan_and_infinity_are_counted_and_placed(monkeypatch):
    monkeypatch.setattr("archtrial.data.stored._BLOCK", 100)  # several blocks
    x = noise(60, 4, 5)
    x[7, 2, 3], x[9, 0, 0], x[50] = np.nan, np.inf, -np.inf
    with pytest.raises(
        DataError, match=r"(?s)inputs of d are finite.*22 NaN or.*7, 2, 3"
    ):
        assemble("d", x, labels(60), kind="sequence")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([["a"], ["b"]] * 10), "texts in the inputs of d"),
        (noise(20, 2).astype(complex), "complex128 in the inputs"),
        (noise(19, 2), "19 examples and 20 targets"),
    ],
)
def test_inputs_that_cannot_be_used(x, words):
    with pytest.raises(DataError, match=words):
        assemble("d", x, labels(20), kind="array")


@pytest.mark.parametrize(
    ("kind", "shape", "axes"),
    [
        ("array", (300, 5), (0,)),
        ("sequence", (300, 9), (0, 1)),
        ("sequence", (300, 4, 9), (0, 2)),
        ("image", (300, 3, 6, 5), (0, 2, 3)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_inputs_are_standardised_by_the_training_rows(
    kind, shape, axes, dtype, monkeypatch
):
    monkeypatch.setattr("archtrial.data.stored._BLOCK", 1000)  # several blocks
    x = (np.random.default_rng(0).uniform(0, 250, shape) ** 1.0).astype(dtype)
    split = assemble("d", x, labels(300), kind=kind).split(Splits(kind="time"), 0)
    train = x[:180].astype(float)
    mean, deviation = train.mean(axes, keepdims=True), train.std(axes, keepdims=True)
    assert split.x_train.dtype == np.float32
    assert split.input_shape == shape[1:]
    assert split.x_train == pytest.approx((train - mean) / deviation, abs=1e-5)
    assert split.x_validation == pytest.approx(
        (x[180:240].astype(float) - mean) / deviation, abs=1e-5
    )
    assert split.x_test == pytest.approx(
        (x[240:].astype(float) - mean) / deviation, abs=1e-5
    )


def test_small_changes_around_a_large_mean_survive():
    x = 1.6e9 + np.arange(100.0)[:, None]
    split = assemble("d", x, labels(100), kind="array").split(Splits(kind="time"), 0)
    assert len(np.unique(split.x_train)) == 60


def test_inputs_on_their_final_scale_are_left_alone():
    x = noise(100, 4) * 7 + 3
    data = assemble("d", x, labels(100), kind="sequence", standardise=False)
    split = data.split(Splits(kind="time"), 0)
    assert (split.x_train == x[:60].astype(np.float32)).all()


# --- what is reported -----------------------------------------------------------


def notes_of(data, splits=None):
    return " ".join(data.split(splits or Splits(), 0).notes)


def test_constant_features_are_reported_and_become_zero():
    x = noise(100, 4)
    x[:, 1], x[:, 3] = 0.1, -7e8
    split = assemble("d", x, labels(100), kind="array").split(Splits(), 0)
    assert "Constant in the training rows: features 1 and 3." in split.notes
    assert (split.x_train[:, [1, 3]] == 0).all()


def test_copies_across_the_sets_are_counted():
    x = noise(100, 3)
    x[95] = x[3]  # test and training
    x[96] = x[65]  # test and validation
    x[66] = x[4]  # validation and training
    x[70] = x[71]  # within one set: no matter
    data = assemble("d", x, labels(100), kind="array")
    notes = data.split(Splits(kind="time"), 0).notes
    copies = [note for note in notes if "exact copy" in note]
    assert [note.split(" have")[0] for note in copies] == [
        "1 of 20 validation examples",
        "1 of 20 test examples",
        "1 of 20 test examples",
    ]
    assert (
        notes_of(assemble("d", noise(100, 3), labels(100), kind="array")).count("copy")
        == 0
    )


def test_rare_and_absent_classes_are_reported():
    y = np.array(["a", "d"] * 30 + ["b"] * 38 + ["c"] * 2)
    data = assemble("d", noise(100, 3), y, kind="array")
    found = notes_of(data, Splits(kind="time"))
    assert "Classes with fewer than 10 examples: c (2)." in found
    assert "Classes without an example in the training set: b and c." in found
    assert "Classes without an example in the validation set: a, c and d." in found


@pytest.mark.parametrize(
    ("task", "leak"),
    [
        ("regression", lambda y: 3 * y - 2),
        ("regression", lambda y: y),
        ("classification", lambda y: 7.0 - y),
    ],
)
def test_an_input_that_gives_the_target_away_is_reported(task, leak):
    y = np.random.default_rng(1).integers(3, size=100).astype(float)
    x = noise(100, 3)
    x[:, 2] = leak(y)
    data = assemble("d", x, y, kind="array", task=task)
    assert "The target can be read off feature 2" in notes_of(data)
    columns = (Column("fine", x[:, 0].copy()), Column("leak", x[:, 2].copy()))
    data = assemble("d", columns, y, kind="table", task=task)
    assert "The target can be read off column leak" in notes_of(data)


def test_what_only_resembles_the_target_is_not_reported():
    y = noise(200)
    x = np.stack(
        [y + noise(200, seed=1) * 0.05, np.ones(200), noise(200, seed=2)], axis=1
    )
    x_gaps = x[:, 0].copy()
    x_gaps[7] = np.nan
    columns = (
        Column("a", x[:, 0].copy()),
        Column("c", x_gaps),
        Column("d", np.ones(200)),
    )
    for data in (
        assemble("d", x, y, kind="array"),
        assemble("d", columns, y, kind="table"),
    ):
        assert "read off" not in notes_of(data)


def test_a_leak_is_sought_among_the_training_rows():
    y = noise(100)
    x = y[:, None] + np.zeros((100, 2))
    x[60:] = noise(40, 2, seed=1)
    data = assemble("d", x, y, kind="array")
    assert "read off feature 0 and feature 1" in notes_of(data, Splits(kind="time"))


def test_a_category_that_names_the_class_is_reported():
    y = labels(1200, 2)
    other = texts([None if i % 7 == 0 else "xyz"[i % 3] for i in range(1200)])
    # The same as the class but for one row in twelve hundred: no leak.
    almost = texts(["ab"[i % 2] for i in range(1200)])
    almost[700] = "b"
    exact = texts(["ab"[i % 2] for i in range(1200)])
    columns = (Column("almost", almost), Column("exact", exact), Column("other", other))
    data = assemble("d", columns, y, kind="table", task="classification")
    found = data.split(Splits(kind="time"), 0).notes
    assert any("read off column exact:" in note for note in found)


def test_training_rows_of_one_class_are_refused():
    data = assemble("d", noise(100, 3), np.repeat([0, 1], [80, 20]), kind="array")
    with pytest.raises(DataError, match=r"(?s)more than one value.*all 60.*sorted"):
        data.split(Splits(kind="time"), 0)
    amounts = np.repeat([0.5, 1.5, 2.5], [60, 20, 20])
    data = assemble("d", noise(100, 3), amounts, kind="array")
    with pytest.raises(DataError, match="more than one value"):
        data.split(Splits(kind="time"), 0)


# --- groups ---------------------------------------------------------------------


def patients():
    names = texts([f"patient {i // 5}" for i in range(100)])
    columns = (Column("patient", names), Column("age", noise(100)))
    return assemble("d", columns, labels(100), kind="table")


def test_a_tables_column_of_groups_is_no_input():
    split = patients().split(Splits(groups="patient"), 0)
    assert split.input_shape == (1,)
    assert "Column patient names the groups and is no input." in split.notes
    assert [len(x) for x in (split.x_train, split.x_validation, split.x_test)] == [
        60,
        20,
        20,
    ]


@pytest.mark.parametrize(
    ("splits", "error", "words"),
    [
        ({"groups": "doctor"}, DataError, r"(?s)'doctor'.*patient and age"),
        ({"kind": "grouped"}, ProtocolError, "there are no groups"),
    ],
)
def test_groups_that_are_not_there(splits, error, words):
    with pytest.raises(error, match=words):
        patients().split(Splits(**splits), 0)


def test_groups_by_column_are_for_tables():
    data = assemble("d", noise(100, 3), labels(100), kind="array")
    with pytest.raises(ProtocolError, match=r"(?s)column of a table.*`groups`"):
        data.split(Splits(groups="patient"), 0)


def test_groups_torn_by_another_kind_of_split_are_reported():
    data = assemble(
        "d", noise(100, 3), labels(100), kind="array", groups=np.arange(100) // 10
    )
    assert "groups have rows in more than one set" in notes_of(
        data, Splits(kind="random")
    )
    assert "groups have rows" not in notes_of(data)


def test_groups_divide_the_rest_of_a_given_test_set():
    given = np.repeat([TRAIN, TEST], [80, 20])
    groups = np.array([f"g{i // 10}" for i in range(80)] + [""] * 20)
    data = assemble(
        "d", noise(100, 3), labels(100), kind="array", given=given, groups=groups
    )
    split = data.split(Splits(validation=0.25), 0)
    assert len(split.x_validation) == 20
    assert not any("groups have rows" in note for note in split.notes)
    assert "8 groups have rows in more than one set." in notes_of(
        data, Splits(kind="random", validation=0.4)
    )


# --- the digest -----------------------------------------------------------------


def test_the_digest_changes_with_what_matters_and_with_nothing_else():
    x, y = noise(100, 3), labels(100)

    def digest(x=x, y=y, seed=0, kind="array", **splits):
        return assemble("d", x, y, kind=kind).split(Splits(**splits), seed).digest

    base = digest()
    assert len(base) == 64
    assert digest(x.copy(), y.astype(np.int8)) == base
    assert digest(x + 1e-15) == base  # the last bit, where data are generated
    changed = x.copy()
    changed[99, 2] += 0.1
    others = [
        digest(changed),
        digest(y=np.roll(y, 1)),
        digest(seed=1),
        digest(test=0.25),
        digest(kind="sequence"),
        digest(x[:, ::-1]),
    ]
    assert len({base, *others}) == 7


def test_the_digest_of_a_table_covers_names_and_texts():
    def digest(name="c", last="b"):
        values = texts(["a", "b"] * 49 + ["a", last])
        columns = (Column(name, values), Column("n", noise(100)))
        return (
            assemble("d", columns, labels(100), kind="table").split(Splits(), 0).digest
        )

    assert digest() == digest()
    assert len({digest(), digest(name="d"), digest(last="a"), digest(last=None)}) == 4

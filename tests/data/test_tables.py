import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from archtrial.data.delimited import listing, parse
from archtrial.data.tables import Column, columns_of, encode
from archtrial.errors import DataError


def column(values, name="c"):
    if any(isinstance(value, str) for value in values):
        return Column(name, np.array(values, dtype=object))
    return Column(name, np.array(values, dtype=np.float64))


def first_rows(count):
    return np.arange(count)


# --- reading --------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_recognised(separator):
    text = 'a,b,c\n1,x,2.5\n2, "y, z",3.5\n'.replace(",", separator)
    table, found, notes = parse(text, "f.csv")
    assert found == separator
    assert table == {
        "a": ["1", "2"],
        "b": ["x", f"y{separator} z"],
        "c": ["2.5", "3.5"],
    }
    assert notes == []


def test_a_file_without_names_gets_some_and_says_so():
    table, _, notes = parse("1,2.5\n3,-4e3\n", "f.csv")
    assert table == {"column_1": ["1", "3"], "column_2": ["2.5", "-4e3"]}
    assert notes == [
        "f.csv has no line of names: its columns are column_1, column_2, ..."
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3\n", r"(?s)as many fields.*row 3 has 1 and not 2.*cut off"),
        ("a,b\n1,2\n3,4,5\n", r"row 3 has 3 and not 2"),
        ("a,b\n", "no rows"),
        ("a,a\n1,2\n", "'a' twice"),
    ],
)
def test_malformed_csv(text, words):
    with pytest.raises(DataError, match=words):
        parse(text, "f.csv")


def test_what_columns_become():
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "gap": [1.5, np.nan, 3],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "truth": [True, False, True],
            "text": ["a", None, " c "],
            "grade": pd.Categorical(["x", "y", None]),
            "day": ["1970-01-02", None, "1970-01-03T12:00:00"],
            "moment": pd.to_datetime(["1970-01-11", "1970-01-12", None]),
            "date": [datetime.date(1970, 1, 6)] * 3,
            "money": [decimal.Decimal("1.25"), None, decimal.Decimal("2")],
            "span": pd.to_timedelta([1, 2, 3], unit="D"),
            "nothing": [None, None, None],
        }
    )
    found = {c.name: c for c in columns_of(frame)}
    assert found["whole"].values.tolist() == [1, 2, 3]
    assert found["gap"].missing.tolist() == [False, True, False]
    assert found["nullable"].missing.tolist() == [False, True, False]
    assert found["truth"].values.tolist() == [1, 0, 1]
    assert found["text"].values.tolist() == ["a", None, "c"]
    assert found["text"].missing.tolist() == [False, True, False]
    assert found["grade"].values.tolist() == ["x", "y", None]
    assert found["day"].values[[0, 2]].tolist() == [1, 2.5]
    assert found["day"].date
    assert found["moment"].values[:2].tolist() == [10, 11]
    assert found["date"].values.tolist() == [5, 5, 5]
    assert found["money"].values[[0, 2]].tolist() == [1.25, 2]
    assert found["span"].values.tolist() == [1, 2, 3]
    assert found["nothing"].missing.all()


def test_texts_that_only_begin_like_dates_stay_texts():
    (found,) = columns_of(pd.DataFrame({"c": ["2020-01-01", "2020-13-77"]}))
    assert found.values.tolist() == ["2020-01-01", "2020-13-77"]
    assert not found.date


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, np.inf, -np.inf], r"(?s)finite.*2 infinite, the first in data row 2"),
        ([[1], [2], [3]], "column 'c' holds mixed"),
        ([b"a", b"b", b"c"], "column 'c' holds bytes"),
    ],
)
def test_cells_that_cannot_be_used(values, words):
    with pytest.raises(DataError, match=words):
        columns_of(pd.DataFrame({"c": values}))


# --- encoding -------------------------------------------------------------------


def test_numbers_are_scaled_and_imputed_from_the_training_rows_alone():
    x, notes = encode((column([1, 2, np.nan, 9, np.nan, 1000]),), first_rows(4))
    train = np.array([1, 2, 2, 9])  # the median of 1, 2 and 9 is 2
    expected = (np.array([1, 2, 2, 9, 2, 1000]) - train.mean()) / train.std()
    assert x[:, 0] == pytest.approx(expected, rel=1e-6)
    assert x.dtype == np.float32
    assert notes == ["Missing values, replaced from the training rows: c (2, median)."]


def test_a_category_is_one_input_for_each_value_seen_in_training():
    values = ["b", "a", None, "b", "a", "b", "new"]
    x, notes = encode((column(values),), first_rows(6))
    # The commonest first: b, a, missing; "new" was never seen.
    assert x.tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]
    assert notes == [
        "Missing values, replaced from the training rows: c (1, as a category)."
    ]


def test_a_text_that_says_missing_is_not_a_missing_text():
    x, _ = encode((column(["missing", None, "missing", None]),), first_rows(4))
    assert x.shape == (4, 2)


def test_rare_categories_share_one_input():
    values = [f"v{i % 40:02}" for i in range(400)] + ["v00"] * 5
    x, notes = encode((column(values),), first_rows(405))
    assert x.shape == (405, 33)
    assert (x.sum(axis=1) == 1).all()
    assert x[:, 0].sum() == 15
    assert x[:, 32].sum() == 80
    assert notes == ["Rare values share one input beyond the 32 commonest: c (8)."]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([5.0, 5, 5, 5, 6], "constant in the training rows"),
        (["a", "a", "a", "a", "b"], "constant in the training rows"),
        ([5, np.nan, 5, np.nan, 6], "constant in the training rows"),
        ([np.nan] * 4 + [1], "empty in the training rows"),
        ([7, 8, 9, 10, 11], "they count the rows"),
        (["p", "q", "r", "s", "s"], "nearly every row has a text of its own"),
    ],
)
def test_columns_that_say_nothing_are_dropped_and_named(values, reason):
    useful = column([1.0, 4, 2, 8, 1], "useful")
    x, notes = encode((column(values), useful), first_rows(4))
    assert x.shape == (5, 1)
    assert notes == [f"Dropped, since {reason}: c."]
    with pytest.raises(DataError, match=r"(?s)none is left.*Dropped"):
        encode((column(values),), first_rows(4))


def test_a_text_that_is_present_or_missing_says_something():
    x, _ = encode((column(["yes", None, "yes", None]),), first_rows(4))
    assert x.shape == (4, 2)
    x, _ = encode((column(["yes", None, "no", "yes"]),), first_rows(4))
    assert x.shape == (4, 3)


def test_dates_are_said_to_be_days():
    dates = Column("built", np.array([3.0, 1, 4, 1]), date=True)
    _, notes = encode((dates,), first_rows(4))
    assert notes == ["Dates enter as a number of days: built."]


def test_lists_are_shortened():
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(list("abcdef")) == "a, b, c, d, e and f"
    assert listing(list("abcdefg")) == "a, b, c, d, e and 2 more"

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.space import Choice, Integer, Real

DIMENSIONS = [
    Real(-1.0, 2.0),
    Real(1e-4, 1e-1, log=True),
    Integer(1, 6),
    Integer(1, 64, log=True),
    Choice((16, 32, 64)),
    Choice(("relu", "gelu")),
    Choice((True, False)),
]


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=str)
def test_what_is_described_is_parsed_back(dimension):
    assert spaces.parse("width", spaces.describe(dimension)) == dimension
    assert spaces.parse("width", dimension) is dimension


@given(
    st.sampled_from([d for d in DIMENSIONS if isinstance(d, Real)]),
    st.floats(0, 1),
)
def test_position_is_the_inverse_of_value(dimension, quantile):
    value = dimension.value(quantile)
    assert dimension.low <= value <= dimension.high
    assert dimension.position(value) == pytest.approx(quantile, abs=1e-9)


@given(
    st.sampled_from([d for d in DIMENSIONS if not isinstance(d, Real)]),
    st.floats(0, 1),
)
def test_whole_numbers_and_choices_stay_inside(dimension, quantile):
    value = dimension.value(quantile)
    if isinstance(dimension, Choice):
        assert value in dimension.options
    else:
        assert isinstance(value, int)
        assert dimension.low <= value <= dimension.high
    assert 0 <= dimension.position(value) <= 1


def test_every_whole_number_is_as_likely_as_the_next():
    drawn = [Integer(1, 4).value(q) for q in np.linspace(0, 1, 4000, endpoint=False)]
    np.testing.assert_array_equal(np.bincount(drawn)[1:], [1000] * 4)


def test_every_option_is_as_likely_as_the_next():
    drawn = [Choice((1, 2, 3)).value(q) for q in np.linspace(0, 1, 300, endpoint=False)]
    np.testing.assert_array_equal(np.bincount(drawn)[1:], [100] * 3)


def test_log_ranges_are_uniform_in_the_logarithm():
    space = {"learning_rate": Real(1e-4, 1e-1, log=True)}
    drawn = [spaces.sample(space, 0, i)["learning_rate"] for i in range(500)]
    assert stats.kstest(np.log10(drawn), stats.uniform(-4, 3).cdf).pvalue > 0.01
    # and not uniform in themselves
    assert stats.kstest(drawn, stats.uniform(1e-4, 1e-1).cdf).pvalue < 1e-6


def test_arms_share_the_draws_of_the_dimensions_they_share():
    rate = Real(1e-4, 1e-1, log=True)
    one = {"learning_rate": rate, "width": Choice((50, 100))}
    other = {"learning_rate": rate, "depth": Integer(1, 3), "width": Choice((8, 16))}
    pairs = [(spaces.sample(one, 3, i), spaces.sample(other, 3, i)) for i in range(60)]
    assert all(a["learning_rate"] == b["learning_rate"] for a, b in pairs)
    # A dimension of the same name but another range is another dimension.
    same = [(a["width"] == 50) == (b["width"] == 8) for a, b in pairs]
    assert 10 < sum(same) < 50


def test_draws_of_different_indices_and_names_are_independent():
    space = {"a": Real(0, 1), "b": Real(0, 1)}
    drawn = [spaces.sample(space, 0, i) for i in range(400)]
    a, b = np.array([d["a"] for d in drawn]), np.array([d["b"] for d in drawn])
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(400)
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 4 / math.sqrt(400)
    assert spaces.sample(space, 1, 0) != drawn[0]


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"low": 1e-1, "high": 1e-4}, "Swap them"),
        ({"low": 2, "high": 2}, "Fix the value"),
        ({"low": 0, "high": 1, "log": True}, "starts above 0"),
        ({"low": 0.5, "high": 3, "integer": True}, "whole numbers"),
        ({"low": 0}, "no 'high'"),
        ({"low": "a", "high": 1}, "numbers"),
        ({"low": True, "high": 2}, "numbers"),
        ({"low": 0, "high": 1, "log": "yes"}, "true or false"),
        ({"low": 0, "hgih": 1}, "'hgih'"),
        ({"low": 0, "high": math.inf}, "finite"),
        ({"low": 1, "high": math.inf, "integer": True}, "finite"),
        ([], "at least one"),
        ([1, 1], "differ"),
        ([[1]], "option is a number"),
        (3, "range or a list"),
    ],
)
def test_impossible_dimensions_are_one_clear_message(declared, says):
    with pytest.raises(ProtocolError) as caught:
        spaces.parse("width", declared)
    assert says in str(caught.value)
    assert "'width'" in str(caught.value)


def test_integer_positions_run_from_0_to_1():
    assert Integer(2, 6).position(2) == 0
    assert Integer(2, 6).position(6) == 1
    assert Integer(1, 64, log=True).position(8) == pytest.approx(0.5)


def test_a_range_too_wide_for_its_width_is_refused():
    with pytest.raises(ProtocolError, match="64 bits"):
        Real(-1e308, 1.7e308)


@pytest.mark.parametrize("high", [2**53 + 1, 10**400], ids=["53 bits", "400 digits"])
@pytest.mark.parametrize("integer", [True, False])
def test_a_whole_number_beyond_64_bits_is_refused(high, integer):
    with pytest.raises(ProtocolError, match="at most 2\\^53"):
        spaces.parse("x", {"low": -high, "high": 3, "integer": integer})
    with pytest.raises(ProtocolError, match="at most 2\\^53"):
        Integer(0, high)


def test_the_largest_whole_number_is_one_of_a_range():
    assert spaces.parse("x", {"low": 0, "high": 2**53, "integer": True}).high == 2**53

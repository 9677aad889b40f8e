import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archtrial.report import numbers

from .conftest import Score

ACCURACY = Score()
RMSE = Score("rmse", False, False)


@pytest.mark.parametrize(
    ("value", "metric", "within", "expected"),
    [
        (0.8342, ACCURACY, None, "83.4%"),
        (0.8342, ACCURACY, (0.79, 0.87), "83.4%"),
        (0.8342, ACCURACY, (0.6, 0.97), "83%"),
        (0.8342, ACCURACY, (0.8339, 0.8345), "83.42%"),
        (0.8342, ACCURACY, (0.8, None), "83.4%"),
        (12.3456, RMSE, None, "12.3"),
        (12.3456, RMSE, (12.31, 12.38), "12.346"),
        (0.00123456, RMSE, None, "0.00123"),
        (123456.7, RMSE, (110000.0, 140000.0), "123,457"),
        (-0.5, Score("r2", bounded=False), None, "\u22120.500"),
        (0.0, RMSE, None, "0.00"),
        (None, ACCURACY, None, "not known"),
        (math.nan, RMSE, None, "not known"),
    ],
)
def test_score_has_the_digits_that_its_interval_supports(
    value, metric, within, expected
):
    assert numbers.score(value, metric, within) == expected


def test_intervals_of_scores_say_their_unit_once():
    assert numbers.scores(0.812, 0.856, ACCURACY) == "81.2 to 85.6%"
    assert numbers.scores(12.31, 12.38, RMSE) == "12.310 to 12.380"
    assert numbers.scores(0.8, None, ACCURACY) == "not known"


@pytest.mark.parametrize(
    ("value", "metric", "within", "expected"),
    [
        (0.2412, ACCURACY, (0.203, 0.279), "+24.1 points"),
        (-0.004, ACCURACY, (-0.03, 0.02), "\u22120.4 points"),
        (-0.0000001, ACCURACY, None, "+0.0 points"),
        (0.0312, RMSE, None, "+0.0312"),
        (None, RMSE, None, "not known"),
    ],
)
def test_differences_carry_their_sign(value, metric, within, expected):
    assert numbers.difference(value, metric, within) == expected


def test_an_interval_of_differences_has_two_signs_and_one_unit():
    assert numbers.differences(-0.012, 0.034, ACCURACY) == "\u22121.2 to +3.4 points"
    assert numbers.differences(None, 0.034, ACCURACY) == "not known"


@pytest.mark.parametrize(
    ("value", "metric", "expected"),
    [
        (0.005, ACCURACY, "0.5 points"),
        (0.01, ACCURACY, "1 point"),
        (0.0118, ACCURACY, "1.18 points"),
        (0.31, RMSE, "0.31"),
    ],
)
def test_sizes_have_no_sign(value, metric, expected):
    assert numbers.size(value, metric) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.0001, "about once in 10,000 (p = .0001)"),
        (0.0044, "about once in 200 (p = .0044)"),
        (0.012, "about once in 100 (p = .012)"),
        (0.031, "about 3 times in 100 (p = .031)"),
        (0.4, "about 40 times in 100 (p = .40)"),
        (1.0, "practically always (p = 1.00)"),
        (2e-9, "about once in 500,000,000 (p = .000000002)"),
        (1e-15, "less than once in 1,000,000,000 (p < .000000001)"),
        (0.0, "less than once in 1,000,000,000 (p < .000000001)"),
        (None, "not computed"),
        (math.nan, "not computed"),
    ],
)
def test_p_values_come_in_plain_words_first(p, expected):
    assert numbers.p_value(p).replace("\u00a0", " ") == expected


@given(st.floats(1e-6, 0.99))
def test_the_p_in_brackets_is_the_p_within_its_digits(p):
    shown = float(numbers.p_value(p).rsplit("\u00a0", 1)[1].removesuffix(")"))
    assert shown == pytest.approx(p, rel=0.5, abs=0.005)
    assert shown > 0


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        (0.987, "99%"),
        (0.999, "over 99%"),
        (1.0, "100%"),
        (0.004, "under 1%"),
        (0.0, "0%"),
        (None, "not known"),
    ],
)
def test_a_chance_is_certain_only_when_it_is(chance, expected):
    assert numbers.probability(chance) == expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.003, 0.0, 0.004), "under 1% (0 to under 1%)"),
        ((0.004, 0.002, 0.03), "under 1% (0 to 3%)"),
        ((0.996, 0.9, 0.998), "over 99% (90 to 100%)"),
        ((0.998, 0.996, 0.999), "over 99% (over 99 to 100%)"),
        ((0.002, None, None), "under 1%"),
    ],
)
def test_a_share_is_nothing_or_all_only_when_it_is(ends, expected):
    assert (
        numbers.shares(dict(zip(("estimate", "low", "high"), ends, strict=True)))
        == expected
    )


@pytest.mark.parametrize(
    ("often", "expected"),
    [
        (0.0, "0%"),
        (2.04e-9, "0.0000002%"),
        (0.0001, "0.01%"),
        (0.0055, "0.55%"),
        (0.05, "5%"),
        (0.99, "99%"),
        (0.9999, "over 99%"),
        (1.0, "100%"),
        (1.5, "150%"),
    ],
)
def test_a_rate_has_two_digits_whatever_its_size(often, expected):
    assert numbers.rate(often) == expected


@given(st.floats(1e-12, 0.994))
def test_no_rate_is_written_as_none_or_with_an_exponent(often):
    written = numbers.rate(often)
    assert re.fullmatch(r"[0-9.]+%", written)
    assert float(written.removesuffix("%")) == pytest.approx(100 * often, rel=0.051)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (812, "812 FLOP"),
        (6.2834e10, "62.8 GFLOP"),
        (9.996e8, "1.00 GFLOP"),
        (3.5e15, "3.50 PFLOP"),
    ],
)
def test_flops_have_three_digits_and_a_prefix(operations, expected):
    assert numbers.flops(operations) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "under a second"),
        (45.4, "45 s"),
        (130, "2 min 10 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (277_000, "3 d 4 h"),
    ],
)
def test_durations_have_two_units(seconds, expected):
    assert numbers.duration(seconds) == expected


def test_small_things():
    assert numbers.count(1, "trial") == "1 trial"
    assert numbers.count(1024, "entry", "entries") == "1,024 entries"
    assert numbers.value(True) == "true"
    assert numbers.value(8.294e-05) == "8.29e-5"
    assert numbers.value(64) == "64"
    assert numbers.value("<b>") == "<b>"
    assert numbers.label(Score("balanced_accuracy")) == "balanced accuracy"
    assert numbers.label(Score("auroc")) == "AUROC"
    assert numbers.tick(0.25, ACCURACY) == "25%"
    assert numbers.tick(-0.05, ACCURACY, signed=True) == "\u22125"
    assert numbers.tick(0.0, ACCURACY, signed=True) == "0"
    assert numbers.tick(1.5, RMSE) == "1.5"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0.4 seconds"),
        (42, "42 seconds"),
        (89, "89 seconds"),
        (95, "1.6 minutes"),
        (360, "6 minutes"),
        (820, "14 minutes"),
        (5400, "1.5 hours"),
        (129_600, "1.5 days"),
    ],
)
def test_guessed_times_have_one_unit(seconds, expected):
    assert numbers.roughly(seconds) == expected


def test_estimates_carry_their_interval_where_they_have_one():
    found = {"estimate": 0.6331, "low": 0.601, "high": 0.66}
    alone = {"estimate": 0.6331, "low": None, "high": None}
    assert numbers.estimated(found, ACCURACY) == "63.3% (60.1 to 66.0%)"
    assert numbers.estimated(alone, ACCURACY) == "63.3%"
    assert numbers.estimated(None, ACCURACY) == ""
    assert numbers.gained(found, ACCURACY) == "+63.3 (+60.1 to +66.0 points)"
    assert numbers.gained(alone, RMSE) == "+0.633"
    assert numbers.shares(found) == "63% (60 to 66%)"
    assert numbers.shares(alone) == "63%"
    assert (numbers.rate(0.0041), numbers.rate(0.021)) == ("0.41%", "2.1%")
    assert (numbers.money(0.4), numbers.money(1250)) == ("0.40", "1,250")

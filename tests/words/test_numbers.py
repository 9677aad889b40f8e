import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archtrial.words import numbers
from tests.report.conftest import Score

ACCURACY = Score()
RMSE = Score("rmse", False, False)


@pytest.mark.parametrize(
    ("value", "metric", "within", "expected"),
    [
        (0.8342, ACCURACY, None, "83.4\u00a0%"),
        (0.8342, ACCURACY, (0.79, 0.87), "83\u00a0%"),
        (0.8342, ACCURACY, (0.6, 0.97), "83\u00a0%"),
        (0.8342, ACCURACY, (0.8339, 0.8345), "83.42\u00a0%"),
        (0.8342, ACCURACY, (0.8, None), "83.4\u00a0%"),
        (12.3456, RMSE, None, "12.3"),
        (12.3456, RMSE, (12.31, 12.38), "12.35"),
        (0.00123456, RMSE, None, ".00123"),
        (123456.7, RMSE, (110000.0, 140000.0), "123,457"),
        (-0.5, Score("r2", bounded=False), None, "\u2212.500"),
        (0.0, RMSE, None, "0"),
        (None, ACCURACY, None, "not known"),
        (math.nan, RMSE, None, "not known"),
    ],
)
def test_score_has_the_digits_that_its_interval_supports(
    value, metric, within, expected
):
    assert numbers.score(value, metric, within) == expected


def test_intervals_of_scores_say_their_unit_once():
    assert numbers.scores(0.812, 0.856, ACCURACY) == "81.2 to 85.6\u00a0%"
    assert numbers.scores(12.31, 12.38, RMSE) == "12.31 to 12.38"
    assert numbers.scores(0.8, None, ACCURACY) == "not known"


@pytest.mark.parametrize(
    ("value", "metric", "within", "expected"),
    [
        (0.2412, ACCURACY, (0.203, 0.279), "+24 points"),
        (-0.004, ACCURACY, (-0.026, 0.018), "\u2212.4 points"),
        (-0.0000001, ACCURACY, None, "0 points"),
        (0.0312, RMSE, None, "+.0312"),
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
        (0.005, ACCURACY, ".5 points"),
        (0.01, ACCURACY, "1 point"),
        (0.0118, ACCURACY, "1.18 points"),
        (0.31, RMSE, ".31"),
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
        (0.987, "99\u00a0%"),
        (0.999, "over 99\u00a0%"),
        (1.0, "100\u00a0%"),
        (0.004, "under 1\u00a0%"),
        (0.0, "0\u00a0%"),
        (None, "not known"),
    ],
)
def test_a_chance_is_certain_only_when_it_is(chance, expected):
    assert numbers.probability(chance) == expected


@pytest.mark.parametrize(
    ("share", "decimals", "expected"),
    [
        (0.02, 0, "2\u00a0%"),
        (0.006, 0, "under 1\u00a0%"),
        (0.994, 0, "over 99\u00a0%"),
        (0.006, 1, ".6\u00a0%"),
        (0.0004, 1, "under .1\u00a0%"),
        (0.9996, 1, "over 99.9\u00a0%"),
        (0.0, 1, "0\u00a0%"),
        (1.0, 1, "100\u00a0%"),
        (0.7, 6, "70\u00a0%"),
    ],
)
def test_no_decimals_make_a_share_nothing_or_all(share, decimals, expected):
    assert numbers.percent(share, decimals) == expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.003, 0.0, 0.004), "under 1\u00a0% (0 to under 1\u00a0%)"),
        ((0.004, 0.002, 0.03), "under 1\u00a0% (0 to 3\u00a0%)"),
        ((0.996, 0.9, 0.998), "over 99\u00a0% (90 to 100\u00a0%)"),
        ((0.998, 0.996, 0.999), "over 99\u00a0% (over 99 to 100\u00a0%)"),
        ((0.002, None, None), "under 1\u00a0%"),
    ],
)
def test_a_share_is_nothing_or_all_only_when_it_is(ends, expected):
    found = dict(zip(("estimate", "low", "high"), ends, strict=True))
    assert numbers.shares(found) == expected


@pytest.mark.parametrize(
    ("often", "expected"),
    [
        (0.0, "0\u00a0%"),
        (2.04e-9, ".0000002\u00a0%"),
        (0.0001, ".01\u00a0%"),
        (0.0055, ".55\u00a0%"),
        (0.05, "5\u00a0%"),
        (0.99, "99\u00a0%"),
        (0.9999, "over 99\u00a0%"),
        (1.0, "100\u00a0%"),
        (1.5, "150\u00a0%"),
    ],
)
def test_a_rate_has_two_digits_whatever_its_size(often, expected):
    assert numbers.rate(often) == expected


@given(st.floats(1e-12, 0.994))
def test_no_rate_is_written_as_none_or_with_an_exponent(often):
    written = numbers.rate(often)
    assert re.fullmatch(r"[0-9.]+\u00a0%", written)
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
    ("size", "expected"),
    [
        (0, "0 B"), (999, "999 B"), (999.6, "1.00 kB"), (16_000, "16.0 kB"),
        (610_248, "610 kB"), (999_600, "1.00 MB"), (2.5e9, "2.50 GB"), (3e13, "30.0 TB"),
    ],
)  # fmt: skip
def test_memory_has_three_digits_and_a_prefix(size, expected):
    assert numbers.memory(size) == expected


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (3.6e-8, "36 ns"), (3.62e-5, "36.2 \u00b5s"), (0.0009996, "1.00 ms"),
        (0.00317, "3.17 ms"), (0.5, "500 ms"), (12.34, "12.3 s"), (59.9, "59.9 s"),
        (59.96, "1 min"), (130, "2 min 10 s"),
    ],
)  # fmt: skip
def test_measured_times_have_three_digits_up_to_a_minute(taken, expected):
    assert numbers.seconds(taken) == expected


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
    assert numbers.value(0.25) == ".25"
    assert numbers.value("<b>") == "<b>"
    assert numbers.label(Score("balanced_accuracy")) == "balanced accuracy"
    assert numbers.label(Score("auroc")) == "AUROC"
    assert numbers.tick(0.25, ACCURACY) == "25\u00a0%"
    assert numbers.tick(-0.05, ACCURACY, signed=True) == "\u22125"
    assert numbers.tick(0.0, ACCURACY, signed=True) == "0"
    assert numbers.tick(1.5, RMSE) == "1.5"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "under a second"),
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
    assert numbers.estimated(found, ACCURACY) == "63\u00a0% (60 to 66\u00a0%)"
    assert numbers.estimated(alone, ACCURACY) == "63.3\u00a0%"
    assert numbers.estimated(None, ACCURACY) == ""
    assert numbers.gained(found, ACCURACY) == "+63 (+60 to +66 points)"
    assert numbers.gained(alone, RMSE) == "+.633"
    assert numbers.shares(found) == "63\u00a0% (60 to 66\u00a0%)"
    assert numbers.shares(alone) == "63\u00a0%"
    assert (numbers.rate(0.0041), numbers.rate(0.021)) == (".41\u00a0%", "2.1\u00a0%")
    assert (numbers.money(0.4), numbers.money(1250)) == ("0.40", "1,250")


def test_nobody_takes_a_unit_off_a_text():
    found = {"estimate": 0.2412, "low": 0.203, "high": 0.279}
    within = (found["low"], found["high"])
    assert numbers.bare(0.2412, ACCURACY, within) == "24"
    assert numbers.signed(0.2412, ACCURACY, within) == "+24"
    assert numbers.signed_range(*within, ACCURACY) == "+20 to +28"
    assert numbers.signed_estimate(found, ACCURACY) == "+24 (+20 to +28)"
    assert numbers.range_of(*within, ACCURACY) == "20 to 28"
    assert numbers.estimated_bare(found, ACCURACY) == "24\u00a0% (20 to 28)"
    assert numbers.amount(-0.2412, ACCURACY, within) == "24 points"
    assert numbers.amount(0.01, ACCURACY, (0.0, 0.06), unit="percentage point") == (
        "1 percentage point"
    )
    assert numbers.amount(0.3, RMSE, (0.1, 0.5)) == ".30"
    assert numbers.sized(0.005, ACCURACY) == ".5"
    assert (numbers.axis_unit(ACCURACY), numbers.axis_unit(RMSE)) == (", points", "")
    for missing in (None, math.nan):
        assert numbers.signed(missing, ACCURACY) == "not known"
        assert numbers.difference(missing, ACCURACY) == "not known"


def test_no_number_is_written_with_a_power_of_ten():
    assert numbers.size(1.0, ACCURACY) == "100 points"
    assert numbers.size(0.996, ACCURACY) == "99.6 points"
    assert numbers.size(12345.0, RMSE) == "12,300"
    assert numbers.rate(2e-9) == ".0000002\u00a0%"
    assert numbers.times(128) == "128\u00d7"
    assert numbers.times(2.5) == "2.5\u00d7"


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.00023, "less than 1\u00a0% of"),
        (0.234, "23\u00a0% of"),
        (0.996, "as much as"),
        (2.25, "2.2 times"),
        (24.6, "25 times"),
        (1234, "1,200 times"),
        (10_001, "more than 10,000 times"),
        (142_052, "more than 10,000 times"),
    ],
)
def test_ratios_of_effort_are_rounded_to_what_a_reader_uses(ratio, expected):
    assert numbers.multiple(ratio) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "1"),
        (1000, "1,000"),
        (1024, "1,000"),
        (1234, "1,200"),
        (142_052, "more than 10,000"),
    ],
)
def test_numbers_of_trials_are_rounded_to_what_a_reader_uses(count, expected):
    assert numbers.trials(count) == expected


def test_all_scores_of_a_page_have_one_number_of_digits():
    page = numbers.Rounded.by(ACCURACY, (0.21, 0.37))
    assert numbers.score(0.9134, page, (0.9, 0.93)) == "91\u00a0%"
    assert numbers.difference(0.2912, page, (0.281, 0.305)) == "+29 points"
    assert numbers.score(0.9134, page) == "91\u00a0%"
    # As "91 to 91 %" an interval would say nothing.
    assert numbers.scores(0.911, 0.916, page) == "91.1 to 91.6\u00a0%"
    assert (page.name, page.higher_is_better, page.bounded) == ("accuracy", True, True)
    unknown = numbers.Rounded.by(ACCURACY, (None, 0.3))
    assert unknown is ACCURACY


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.05, "95"),
        (0.025, "97.5"),
        (0.05 / 3, "98.33"),
        (0.0001, "99.99"),
        (0.0001 / 4, "99.9975"),  # four challengers at an early look
        (1e-6, "99.99990"),
        (0.0, "100"),
    ],
)
def test_an_interval_is_certain_only_when_it_is(alpha, expected):
    assert numbers.level(alpha) == f"{expected}\u00a0%"

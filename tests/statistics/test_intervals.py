"""Intervals of a median: against coins counted one by one, and against draws."""

import itertools
import math

import numpy as np
import pytest

from archtrial.statistics import intervals
from archtrial.statistics.simultaneous import seeds_needed


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.125, 0.2, 0.5])
@pytest.mark.parametrize("n", range(1, 13))
def test_an_interval_of_a_median_is_the_narrowest_that_coins_allow(n, alpha):
    """All ways in which n values can lie below or above the median, one by one."""
    found = intervals.median(np.arange(1.0, n + 1), alpha)
    assert found.estimate == (n + 1) / 2

    def missed(k):
        """How often the k-th smallest lies above the median, or the k-th largest below."""
        sides = itertools.product([0, 1], repeat=n)
        return sum(not k <= sum(side) <= n - k for side in sides) / 2**n

    allowed = [k for k in range(1, n // 2 + 1) if missed(k) <= alpha]
    if not allowed:
        assert (found.low, found.high) == (-math.inf, math.inf)
    else:
        assert (found.low, found.high) == (max(allowed), n + 1 - max(allowed))


def test_of_sixteen_values_the_fourth_to_the_thirteenth():
    """At most 3 of 16 coins: 697 / 65,536 = .0106; at most 4: .0384, over .025."""
    found = intervals.median(np.random.default_rng(0).permutation(16) + 1.0, 0.05)
    assert (found.estimate, found.low, found.high) == (8.5, 4, 13)


def test_it_holds_as_often_as_it_says_and_hardly_more_often():
    rng = np.random.default_rng(7)
    draws = rng.exponential(size=(4000, 25))
    held = [
        found.low <= math.log(2) <= found.high
        for found in (intervals.median(row, 0.1) for row in draws)
    ]
    # 25 coins: between 8 and 17 of them with probability .957, 9 to 16 with .892.
    assert 0.945 <= np.mean(held) <= 0.969


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_it_takes_as_many_values_as_any_claim_takes_seeds(alpha):
    enough = seeds_needed(alpha)
    assert math.isfinite(intervals.median(np.zeros(enough), alpha).low)
    assert math.isinf(intervals.median(np.zeros(enough - 1), alpha).low)


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([1, 2, math.inf], 2),
        ([1, math.inf], math.inf),
        ([math.inf] * 4, math.inf),
        ([-math.inf, math.inf], -math.inf),
        ([5], 5),
    ],
)
def test_what_never_ends_has_its_place_in_the_order(values, middle):
    assert intervals.median(np.array(values, dtype=float), 0.05).estimate == middle


def test_many_values_take_no_time_and_overflow_nothing():
    found = intervals.median(np.arange(100_001.0), 0.05)
    assert found.estimate == 50_000
    # The normal approximation: n/2 +- 1.96 sqrt(n) / 2.
    assert found.high - found.low == pytest.approx(1.96 * math.sqrt(100_001), rel=0.01)


def test_a_deviations_interval_is_that_of_chi_squared():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    found = intervals.deviation(values, 0.05)
    assert found.estimate == pytest.approx(np.std(values, ddof=1))
    # 5 degrees of freedom: the quantiles are .8312 and 12.8325.
    assert found.low == pytest.approx(found.estimate * math.sqrt(5 / 12.8325), rel=1e-5)
    assert found.high == pytest.approx(
        found.estimate * math.sqrt(5 / 0.831212), rel=1e-5
    )
    assert intervals.deviation(np.ones(1), 0.05).high == math.inf

"""Power laws of the size of the training set: known laws, coverage, degenerate data."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize

from archtrial.errors import ProtocolError
from archtrial.statistics.power_law import power_law

SIZES = np.array([250.0, 500, 1000, 2000, 4000])


def errors(law, runs=5, spread=0.01, seed=0, sizes=SIZES):
    a, b, c = law
    noise = np.random.default_rng(seed).normal(size=(len(sizes), runs))
    return (a + b * sizes**-c)[:, None] + spread * noise


def fitted(table, sizes=SIZES, **given):
    return power_law(sizes, table, alpha=0.05, **given)


# --- known answers -----------------------------------------------------------------


@pytest.mark.parametrize("law", [(0.05, 5.0, 0.5), (0.0, 2.0, 0.3), (0.1, 100.0, 1.0)])
def test_a_law_without_noise_is_recovered(law):
    a, b, c = law
    found = fitted(errors(law, spread=1e-7), ahead=(8000.0, 40_000.0))
    assert found.reason is None
    assert found.limit.estimate == pytest.approx(a, abs=1e-5)
    assert found.factor == pytest.approx(b, rel=1e-3)
    assert found.exponent.estimate == pytest.approx(c, rel=1e-3)
    for estimate, size in zip(found.ahead, (8000.0, 40_000.0), strict=True):
        assert estimate.estimate == pytest.approx(a + b * size**-c, rel=1e-3)


def test_the_fit_is_that_of_a_general_optimiser_on_the_same_weights():
    table = errors((0.08, 9.0, 0.6), runs=6, spread=0.006, seed=4)
    found = fitted(table)
    spread = table.var(axis=1, ddof=1)
    # The median of chi squared with 5 degrees of freedom is 4.351.
    weights = 1 / np.maximum(spread, np.median(spread) / (4.35146 / 5))

    def squares(parts):
        a, b, c = parts
        law = a + b * (SIZES / 4000) ** -c
        return np.sum(weights * (table.mean(axis=1) - law) ** 2)

    best = min(
        (
            optimize.minimize(squares, start, bounds=[(0, 1), (0, 1), (0.01, 4)])
            for start in itertools.product((0.01, 0.1), (0.05, 0.5), (0.2, 1.0))
        ),
        key=lambda done: done.fun,
    )
    a, _, c = best.x
    assert found.limit.estimate == pytest.approx(a, abs=2e-4)
    assert found.exponent.estimate == pytest.approx(c, rel=5e-3)


def test_an_intervals_ends_are_where_the_best_law_with_them_fits_just_nearly_as_well():
    table = errors((0.08, 9.0, 0.6), spread=0.004, seed=1)
    found = fitted(table, ahead=(8000.0,))
    spread = table.var(axis=1, ddof=1)
    weights = 5 / np.maximum(spread, np.median(spread) / (3.35669 / 4))
    means = table.mean(axis=1)

    def least(share, end):
        """Returns the least sum of squares of laws that are `end` at a share."""
        found = []
        for c in np.linspace(0.2, 1.5, 5001):
            # a = end - b s leaves a straight line through 0 in b.
            s = share**-c if share else 0.0
            x = (SIZES / 4e3) ** -c - s
            b = np.sum(weights * x * (means - end)) / np.sum(weights * x * x)
            if end - b * s >= 0:
                found.append(np.sum(weights * (means - end - b * x) ** 2))
        return min(found)

    def least_at(c):
        x = np.stack([np.ones(5), (SIZES / 4e3) ** -c], 1)
        root = np.sqrt(weights)
        return optimize.nnls(root[:, None] * x, root * means)[1] ** 2

    free = min(map(least_at, np.linspace(0.2, 1.5, 5001)))
    rise = 4.35124  # F(1, 20) at 95 %
    for end in (found.exponent.low, found.exponent.high):
        assert least_at(end) - free == pytest.approx(rise, rel=1e-3)
    for share, estimate in ((0, found.limit), (2.0, found.ahead[0])):
        assert 0 < estimate.low < estimate.estimate < estimate.high
        for end in (estimate.low, estimate.high):
            assert least(share, end) - free == pytest.approx(rise, rel=2e-3)


def test_scaled_errors_have_scaled_laws():
    table = errors((0.08, 9.0, 0.6), spread=0.004)
    once, tenfold = fitted(table, ahead=(8000.0,)), fitted(10 * table, ahead=(8000.0,))
    assert tenfold.exponent.low == pytest.approx(once.exponent.low, rel=1e-5)
    assert tenfold.exponent.high == pytest.approx(once.exponent.high, rel=1e-5)
    for end in ("estimate", "low", "high"):
        for one, ten in (
            (once.limit, tenfold.limit),
            (once.ahead[0], tenfold.ahead[0]),
        ):
            expected = 10 * getattr(one, end)
            assert getattr(ten, end) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_the_limit_never_falls_below_0_nor_does_an_error_ahead():
    found = fitted(errors((0.0, 2.0, 0.3), spread=0.01, seed=2), ahead=(1e6,))
    assert found.limit.low == 0
    assert 0 <= found.ahead[0].low < found.ahead[0].high


def test_means_that_no_power_law_fits_have_a_small_p():
    broken = np.array([0.5, 0.49, 0.48, 0.2, 0.19])[:, None]
    noise = np.random.default_rng(0).normal(size=(5, 5))
    assert fitted(broken + 0.005 * noise).misfit < 1e-6
    assert fitted(errors((0.05, 5.0, 0.5), seed=3)).misfit > 0.01


def test_what_the_data_do_not_bound_is_endless():
    # A logarithm fits as well, and a law so steep that the first size alone is off.
    falling = np.array([0.900, 0.897, 0.894, 0.891, 0.888])[:, None]
    noise = np.random.default_rng(1).normal(size=(5, 3))
    assert fitted(falling + 0.001 * noise).exponent.low == 0
    steep = np.array([0.40, 0.20, 0.20, 0.20, 0.20])[:, None]
    found = fitted(steep + 0.002 * noise)
    assert found.exponent.high == math.inf
    assert found.exponent.estimate <= 4


# --- how often intervals cover -----------------------------------------------------


def test_intervals_cover_as_often_as_they_say():
    """200 studies: were the coverage 85 %, 180 hits had a chance of 2 in 100."""
    law, hits = (0.05, 5.0, 0.5), np.zeros(3)
    truth = (0.05, 0.5, 0.05 + 5 * 8000**-0.5)
    for study in range(200):
        found = fitted(errors(law, runs=3, spread=0.015, seed=study), ahead=(8000.0,))
        told = (found.limit, found.exponent, *found.ahead)
        hits += [e.low <= t <= e.high for e, t in zip(told, truth, strict=True)]
    assert (hits >= 180).all(), hits


# --- degenerate data ---------------------------------------------------------------


def test_an_error_that_does_not_fall_has_no_law():
    flat = errors((0.3, 0.0, 1.0), spread=0.01)
    rising = errors((0.3, 0.0, 1.0), spread=0.001) + np.arange(5)[:, None] / 50
    for table in (flat, rising):
        found = fitted(table)
        assert found.reason == "not_falling"
        assert found.limit is found.exponent is found.factor is found.misfit is None


def test_runs_that_never_differ_say_nothing_of_how_sure_a_fit_is():
    table = np.repeat(errors((0.05, 5.0, 0.5), runs=1, spread=0), 3, axis=1)
    assert fitted(table).reason == "no_spread"
    # One size whose runs agree is none: its variance counts as the others'.
    table = errors((0.05, 5.0, 0.5))
    table[0] = table[0, 0]
    assert fitted(table).reason is None


@pytest.mark.parametrize(
    ("sizes", "table", "rule"),
    [
        (SIZES, np.ones(5), "a table of sizes by runs"),
        (SIZES[:4], np.ones((5, 3)), "a table of sizes by runs"),
        (SIZES[:3], np.ones((3, 3)), "4 sizes and 2 runs"),
        (SIZES, np.ones((5, 1)), "4 sizes and 2 runs"),
        (SIZES[::-1], np.ones((5, 3)), "ascend"),
        (SIZES - 250, np.ones((5, 3)), "ascend from above 0"),
        (SIZES, np.full((5, 3), math.nan), "finite and not negative"),
        (SIZES, -np.ones((5, 3)), "finite and not negative"),
    ],
)
def test_what_cannot_be_fitted_is_refused(sizes, table, rule):
    with pytest.raises(ProtocolError, match=rule):
        fitted(table, sizes=sizes)

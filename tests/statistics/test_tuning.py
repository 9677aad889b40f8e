import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

from archtrial.statistics import confirm_indices, edge_pileup, tuning_curve
from archtrial.statistics import tuning as module
from archtrial.statistics.tuning import Ranking, rank_weights, subset_chance

# Small integers, so that ties of all kinds occur.
SCORES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-8, 8)), min_size=3, max_size=9
)


def by_enumeration(validation, score, k):
    """D(k) as it is defined: over all k-subsets, ties settled at random."""
    picked = []
    for subset in itertools.combinations(range(len(validation)), k):
        chosen = list(subset)
        best = validation[chosen] == validation[chosen].max()
        picked.append(score[chosen][best].mean())
    return np.mean(picked)


@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 5), (20, 7), (300, 75)])
def test_subset_chance_is_a_ratio_of_binomials(n, k):
    exact = [math.comb(r, k) / math.comb(n, k) for r in range(n + 1)]
    np.testing.assert_allclose(subset_chance(n, k), exact, rtol=1e-12, atol=0)


def test_rank_weights_survive_numbers_whose_binomials_do_not():
    weights = rank_weights(5000, [1, 1250])
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1)
    np.testing.assert_allclose(weights[:, 0], 1 / 5000, rtol=1e-9)


@given(SCORES, st.data())
def test_expected_score_is_the_mean_over_all_subsets(trials, data):
    validation, score = np.array(trials, dtype=float).T
    k = data.draw(st.integers(1, len(trials)))
    expected = Ranking(validation).expected(score, [k])[0]
    assert expected == pytest.approx(by_enumeration(validation, score, k), abs=1e-12)


@given(SCORES, st.data())
def test_leave_one_out_is_what_is_left_out(trials, data):
    validation, score = np.array(trials, dtype=float).T
    n = len(trials)
    efforts = [data.draw(st.integers(1, n - 1)), 1]
    ranking = Ranking(validation)
    without = ranking.leave_one_out(score, efforts)
    for column, k in enumerate(efforts):
        for i in range(n):
            others = np.delete(validation, i), np.delete(score, i)
            assert without[i, column] == pytest.approx(
                by_enumeration(*others, k), abs=1e-12
            )
    # The mean of a U-statistic's leave-one-outs is the U-statistic.
    np.testing.assert_allclose(
        without.mean(axis=0), ranking.expected(score, efforts), atol=1e-12
    )


@given(SCORES, st.data())
def test_resampled_searches_are_those_that_sorting_gives(trials, data):
    validation, score = np.array(trials, dtype=float).T
    n = len(trials)
    seed = data.draw(st.integers(0, 99))
    drawn = np.random.default_rng(seed).integers(0, n, (5, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
    k = data.draw(st.integers(1, n))
    fast = Ranking(validation).resampled(score, counts) @ rank_weights(n, [k])
    slow = [Ranking(validation[i]).expected(score[i], [k]) for i in drawn]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_multinomial_weights_are_those_of_the_formula():
    n, k = 12, 3
    counts = np.random.default_rng(0).multinomial(n, [1 / n] * n)
    upto = np.cumsum(counts)
    formula = [
        (math.comb(s, k) - math.comb(s - c, k)) / math.comb(n, k)
        for s, c in zip(upto, counts, strict=True)
    ]
    score = np.random.default_rng(1).normal(size=n)
    resampled = Ranking(np.arange(n)).resampled(score, counts[None])
    assert (resampled @ rank_weights(n, [k]))[0, 0] == pytest.approx(score @ formula)


def test_a_long_tuning_curve_encloses_the_one_of_every_effort(monkeypatch):
    scores = np.random.default_rng(0).beta(4, 2, 1000)
    every = tuning_curve(scores, scores**2, worst=0.0, best=1.0)
    monkeypatch.setattr(module, "EFFORTS", 60)
    some = tuning_curve(scores, scores**2, worst=0.0, best=1.0)
    np.testing.assert_array_equal(some.effort, every.effort)
    np.testing.assert_allclose(some.validation, every.validation, atol=2e-4)
    np.testing.assert_allclose(some.test, every.test, atol=2e-4)
    assert (some.low <= every.low).all()
    assert (some.high >= every.high).all()
    at = module.some_efforts(250) - 1
    assert len(at) < 60
    assert (some.low[at] == every.low[at]).all()
    assert (some.high[at] == every.high[at]).all()


def test_the_best_of_many_draws_is_summed_where_it_counts(monkeypatch):
    scores = np.sort(np.random.default_rng(0).normal(size=301))
    cdf = np.linspace(0.001, 1.0, 301)
    efforts = np.arange(1, 76)
    whole = module._best_of(scores, cdf, efforts)
    monkeypatch.setattr(module, "MANY", 299)
    found = module._best_of(scores, cdf, efforts)
    np.testing.assert_allclose(found, whole, rtol=1e-12)


def test_the_band_of_many_trials_is_a_little_wider_than_the_exact_one(monkeypatch):
    monkeypatch.setattr(module, "MANY", 256)
    for n in (512, 1024):
        tail, exact = module._tail(256, 0.975), module._tail(n, 0.975)
        assert 0.75 * exact < tail / (1 + math.log(n / 256) / 2) < exact
        low, high = module._cdf_band.__wrapped__(n, 0.975)
        assert 0.975 <= module._chance_inside(low, high) < 0.99


def test_the_band_of_very_many_trials_holds():
    n, times = 50_000, 400
    low, high = module._cdf_band(n, 0.95)
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(times):
        drawn = np.sort(rng.random(n))
        inside += bool(((drawn >= low) & (drawn <= high)).all())
    # 95 % are promised, and too wide a band would hold always.
    assert times > inside > times * (0.95 - 3 * math.sqrt(0.95 * 0.05 / times))


def test_tuning_curve_of_validation_scores_agrees_with_opda():
    scores = np.random.default_rng(3).random(40)
    curve = tuning_curve(scores, scores**2, worst=0.0, best=1.0)
    theirs = EmpiricalDistribution(scores).u_tuning_curve(curve.effort)
    np.testing.assert_allclose(curve.validation, theirs)
    # Choosing by x or by x^2 is the same.
    theirs = EmpiricalDistribution(scores**2).u_tuning_curve(curve.effort)
    np.testing.assert_allclose(curve.test, theirs)


@pytest.mark.parametrize("n", [16, 60])
def test_band_agrees_with_opda(n):
    scores = np.random.default_rng(n).random(n)
    curve = tuning_curve(scores, scores, worst=0.0, best=1.0, alpha=0.05)
    lower, _, upper = EmpiricalDistribution.confidence_bands(
        scores,
        0.975,
        a=0.0,
        b=1.0,
        generator=np.random.default_rng(0),
        method="ld_equal_tailed",
        n_jobs=1,
    )
    # opda simulates the critical value: 100,000 trials leave about 2 % of 1 - c.
    np.testing.assert_allclose(
        curve.high, lower.average_tuning_curve(curve.effort), atol=0.003
    )
    np.testing.assert_allclose(
        curve.low, upper.average_tuning_curve(curve.effort), atol=0.003
    )
    assert (curve.low < curve.validation).all()
    assert (curve.validation < curve.high).all()


def test_band_holds_as_often_as_it_says():
    # 20,000 draws: sees with 90 % probability a coverage off by .005.
    low, high = module._cdf_band(24, 0.9)
    draws = np.sort(np.random.default_rng(0).random((20_000, 24)), axis=1)
    held = ((low <= draws) & (draws <= high)).all(axis=1).mean()
    assert held == pytest.approx(0.9, abs=3.1 * math.sqrt(0.9 * 0.1 / 20_000))


def test_band_without_an_upper_bound_is_open():
    scores = np.random.default_rng(0).random(16)
    curve = tuning_curve(scores, scores, worst=-1.0, best=np.inf)
    assert np.isposinf(curve.high).all()
    assert np.isfinite(curve.low).all()


@settings(max_examples=30)
@given(st.integers(8, 40), st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_what_stays_unconfirmed_weighs_at_most_one_per_cent(n, arms, seed, tied):
    rng = np.random.default_rng(seed)
    validations = [rng.normal(size=n) for _ in range(arms)]
    if tied:
        validations = [np.round(v) for v in validations]
    effort = max(n // 8, 1)
    fully, once = confirm_indices(validations, effort)
    assert not set(fully) & set(once)
    for validation in validations:
        weights = Ranking(validation).weights([effort])[:, 0]
        assert weights[fully].sum() >= 0.7 - 1e-6
        rest = np.setdiff1d(np.arange(n), np.concatenate([fully, once]))
        assert weights[rest].sum() <= 0.01 + 1e-6


def test_confirmed_configurations_are_the_fewest():
    validation = np.arange(16.0)
    fully, once = confirm_indices([validation], 4)
    weights = Ranking(validation).weights([4])[:, 0]
    assert weights[fully[1:]].sum() < 0.7
    assert weights[np.concatenate([fully, once])].sum() - weights[once[0]] < 0.99
    assert list(fully) == list(range(16 - len(fully), 16))


def test_the_number_to_confirm_can_be_declared():
    first, second = np.arange(16.0), np.arange(16.0)[::-1]
    fully, once = confirm_indices([first, second], 4, top=2)
    assert list(fully) == [0, 1, 14, 15]
    assert len(once) > 0


def pileup(positions, validation, **given):
    terms = {"open_low": True, "open_high": True, "tests": 4} | given
    return edge_pileup(np.asarray(positions), np.asarray(validation), 4, **terms)


def test_a_crowd_of_the_best_at_an_edge_is_found():
    h = np.linspace(0, 1, 32) ** 0.4
    assert pileup(h, h) == "high"
    assert pileup(1 - h, h) == "low"
    # The best 8 of 32; at even distances no more than 4 lie in the outer tenth.
    even = np.linspace(0, 1, 32)
    assert (even[-8:] >= 0.9).sum() == 4
    assert pileup(even, even) is None


def test_a_crowd_is_no_fault_where_the_range_could_not_be_wider():
    h = np.linspace(0, 1, 32) ** 0.4
    assert pileup(h, h, open_high=False) is None
    assert pileup(1 - h, h, open_low=False) is None


def test_optima_inside_or_few_at_the_edge_are_no_crowd():
    h = np.linspace(0, 1, 32)
    assert pileup(h, -np.abs(h - 0.5)) is None
    scattered = np.array([0.95, 0.5, 0.4, 0.3, 0.6, 0.7, 0.2, 0.55])
    assert pileup(np.concatenate([scattered, h[:24]]), -np.arange(32.0)) is None


def test_the_level_is_shared_by_all_sides_tested():
    h = np.linspace(0, 1, 32) ** 0.4
    inside = int((h[-8:] >= 0.9).sum())
    tail = stats.binomtest(inside, 8, 0.1, alternative="greater").pvalue
    assert pileup(h, h, tests=math.floor(0.01 / tail)) == "high"
    assert pileup(h, h, tests=math.floor(0.01 / tail) + 1) is None

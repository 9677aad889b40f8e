import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics import (
    configurations_for,
    confirm_indices,
    detectable_effects,
    effect_spread,
    largest_study,
    minimum_detectable_effect,
    plan_runs,
    seed_spread,
    settlement,
)
from archtrial.statistics.planning import least_p
from archtrial.statistics.tuning import Ranking


def test_a_detectable_effect_is_detected_four_times_in_five():
    n, k, alpha = 64, 4, 0.05
    effect = minimum_detectable_effect(0.01, n, k, alpha=alpha)
    t = stats.t(2 * n / k - 1)
    assert effect == pytest.approx(0.01 * (t.ppf(0.975) + t.ppf(0.8)))
    estimates = np.random.default_rng(0).normal(effect, 0.01, 20_000)
    assert np.mean(estimates > t.ppf(0.975) * 0.01) == pytest.approx(0.8, abs=0.02)


def test_a_claim_also_needs_an_estimate_of_the_margin():
    plain = minimum_detectable_effect(0.01, 32, 4)
    assert minimum_detectable_effect(0.01, 32, 4, margin=0.001) == plain
    assert minimum_detectable_effect(0.01, 32, 4, margin=0.1) > 0.1
    with_examples = minimum_detectable_effect(0.003, 32, 4, test_variance=0.004**2)
    assert with_examples == pytest.approx(minimum_detectable_effect(0.005, 32, 4))


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_guessed_spread_is_that_of_normal_scores(correlation):
    n, k = 4000, 4
    rng = np.random.default_rng(0)
    shared = rng.normal(size=n) * math.sqrt(correlation)
    errors = []
    for _ in range(2):
        own = rng.normal(size=n) * math.sqrt(1 - correlation)
        score = 0.1 * (shared + own)
        without = Ranking(score).leave_one_out(score, [k])[:, 0]
        errors.append(without)
    pseudo = (n - 1) * (errors[0] - errors[1])
    guess = effect_spread(0.1, k, correlation)
    if correlation == 0:
        assert pseudo.std() == pytest.approx(guess, rel=0.1)
    else:
        # Influences correlate less than scores: the guess is not too high.
        assert guess < pseudo.std() < guess * 1.3


def test_enough_configurations_settle_a_clear_gap():
    found = settlement(0.03, 0.02, 16, 4, margin=0.005)
    n = found.configurations
    assert n % 8 == 0
    assert found.times_cost == n / 16
    assert found.test_examples is None

    def detectable(n):
        return minimum_detectable_effect(0.02 * math.sqrt(16 / n), n, 4)

    assert detectable(n) <= 0.03 < detectable(n - 8)


def test_a_gap_inside_the_margin_is_settled_by_equivalence():
    found = settlement(0.001, 0.004, 16, 4, margin=0.005)
    n = found.configurations
    room = 0.004
    assert minimum_detectable_effect(0.004 * math.sqrt(16 / n), n, 4) <= room


def test_settling_takes_more_than_there_are():
    assert settlement(0.2, 0.01, 16, 4, margin=0.005).configurations == 24


def test_no_number_of_configurations_helps_a_small_test_set():
    found = settlement(0.01, 0.004, 32, 4, margin=0.005, test_variance=0.01**2)
    assert found.configurations is None
    assert found.times_cost is None
    settled = settlement(
        0.01, 0.004, 32, 4, margin=0.005, test_variance=0.01**2 / found.test_examples
    )
    assert settled.configurations is not None


def test_spread_over_seeds_is_the_median_of_configurations():
    fresh = [np.array([1.0, 3.0]), [0.0, 0.0], [5.0, 6.0], [7.0]]
    assert seed_spread(fresh) == pytest.approx(math.sqrt(0.5))
    assert seed_spread([]) == 0.0


@pytest.mark.parametrize(("n", "k"), [(16, 4), (32, 4), (64, 8)])
def test_planned_runs_are_enough_for_those_that_come(n, k):
    rng = np.random.default_rng(0)
    plan = plan_runs(n, k, arms=2)
    for _ in range(20):
        fully, once = confirm_indices([rng.random(n), rng.random(n)], k)
        assert 3 * len(fully) + len(once) <= plan.confirm
    same = rng.random(n)
    alone = plan_runs(n, k, arms=1)
    fully, once = confirm_indices([same], k)
    assert alone.confirm == 3 * len(fully) + len(once)
    assert plan.runs == n + plan.confirm + 10


def test_a_declared_top_is_planned_for():
    assert plan_runs(16, 4, arms=1, top=2, confirm_seeds=5).confirm >= 10


def test_the_largest_study_fits_and_the_next_does_not():
    plan = largest_study(1000.0, [1.0, 2.5])
    assert plan.runs * 3.5 <= 1000 < plan_runs(plan.configurations + 1, 4).runs * 3.5
    assert plan.configurations >= 16


def test_too_small_a_budget_says_what_the_smallest_study_takes():
    smallest = plan_runs(16, 4)
    with pytest.raises(ProtocolError) as caught:
        largest_study(smallest.runs * 2 - 1, [1.0, 1.0])
    assert "16 configurations" in str(caught.value)
    assert largest_study(smallest.runs * 2, [1.0, 1.0]) == smallest


def test_a_table_of_sizes_is_the_detectable_effect_at_each():
    terms = {"margin": 0.01, "test_variance": 0.004**2, "alpha": 0.01}
    found = detectable_effects([16, 24, 64], 0.08, 4, **terms)
    assert found == [
        minimum_detectable_effect(0.08 / math.sqrt(n), n, 4, **terms)
        for n in (16, 24, 64)
    ]
    assert found == sorted(found, reverse=True)


def test_a_size_without_claims_detects_nothing():
    with pytest.raises(ProtocolError, match="16 configurations"):
        detectable_effects([32, 15], 0.08, 4)


@given(
    spread=st.floats(0.001, 1),
    times=st.floats(1.05, 50),
    effort=st.integers(1, 16),
    margin=st.sampled_from([0.0, 0.005]),
    test=st.sampled_from([0.0, 0.004**2]),
)
def test_the_size_for_an_effect_is_the_first_that_detects_it(
    spread, times, effort, margin, test
):
    terms = {"margin": margin, "test_variance": test}
    (beyond_all,) = detectable_effects([10**9], spread, effort, **terms)
    effect = times * beyond_all
    n = configurations_for(effect, spread, effort, **terms)
    assert n % 8 == 0
    assert n >= 4 * effort
    assert detectable_effects([n], spread, effort, **terms)[0] <= effect
    if n - 8 >= 4 * effort:
        assert detectable_effects([n - 8], spread, effort, **terms)[0] > effect


def test_no_size_is_enough_for_less_than_the_margin_or_a_small_test_set():
    assert configurations_for(0.01, 0.05, 4, margin=0.01) is None
    assert configurations_for(0.02, 0.05, 4, margin=0.01) is not None
    assert configurations_for(0.02, 0.05, 4, test_variance=0.01**2) is None
    # However little the configurations spread.
    assert configurations_for(0.02, 0.0, 4) == 16
    assert configurations_for(0.02, 0.0, 4, test_variance=0.01**2) is None


def test_a_settling_size_is_one_at_which_a_claim_is_possible():
    few = settlement(0.2, 0.001, 4, 1, margin=0.01, alpha=0.05)
    assert few.configurations is not None
    assert least_p(few.configurations, few.configurations, paired=True) <= 0.05
    # With this little error 8 pairs would do, but never at such a level.
    strict = settlement(0.2, 0.001, 4, 1, margin=0.01, alpha=0.005)
    assert strict.configurations > few.configurations

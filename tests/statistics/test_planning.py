import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from archtrial.errors import ProtocolError
from archtrial.statistics import (
    EvenError,
    Search,
    Settlement,
    compare,
    configurations_for,
    confirm_indices,
    detectable_effects,
    effect_spread,
    even_settlement,
    largest_study,
    minimum_detectable_effect,
    plan_runs,
    seed_spread,
    settlement,
    worthwhile_seeds,
)
from archtrial.statistics.planning import least_p, seed_variance
from archtrial.statistics.stratified import MOST
from archtrial.statistics.tuning import Ranking, plug_in_weights


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


# --- draws that fill the space evenly ------------------------------------------


def test_the_error_of_an_even_design_falls_in_two_parts():
    even = EvenError.of(16, 0.013, 0.03, [0.00005, 0.000094])
    assert even.at(16) == pytest.approx(0.013)
    design = 0.013**2 - 0.000144
    assert even.at(32) == pytest.approx(math.sqrt(0.000144 / 2 + design / 4))
    assert even.at(128) == pytest.approx(math.sqrt(0.000144 / 8 + design / 64))
    # No model is fitted to more trials: what is left is the plain jackknife.
    assert even.at(2 * MOST) == pytest.approx(0.03 * math.sqrt(8 / MOST))


def test_the_error_never_exceeds_the_plain_jackknife():
    rough = EvenError(16, seeds=0.0001, design=0.04, jackknife=0.01)
    assert rough.at(16) == pytest.approx(0.1)
    assert rough.at(32) == pytest.approx(math.sqrt(0.005))
    assert rough.at(256) == pytest.approx(math.sqrt(0.0001 / 16 + 0.04 / 256))


@pytest.mark.parametrize("seeds", [[None, 0.0001], [0.5, 0.5]])
def test_what_is_not_known_to_be_the_design_falls_like_seeds(seeds):
    # Nothing is known of one arm's seeds, or seeds alone would make more than all.
    even = EvenError.of(16, 0.02, 0.02, seeds)
    assert even.at(64) == pytest.approx(0.01)


@pytest.mark.parametrize(("r", "top"), [(1, None), (3, None), (8, None), (3, 2)])
def test_guessed_variance_of_seeds_is_that_of_repeated_studies(r, top):
    n, k = 16, 4
    rng = np.random.default_rng(0)
    # Of trials so far apart that seeds never change their ranks.
    fully, once = confirm_indices([np.arange(n)], k, top, stratified=True)
    counts = np.ones(n)
    counts[fully], counts[once] = r, 1
    luck = rng.normal(size=(20_000, n)) / np.sqrt(counts)
    levels = 0.01 * luck @ plug_in_weights(n, [k])[:, 0]
    guess = EvenError.guess(
        n, k, difference_spread=0.0, seed_spreads=[0.01], confirm_seeds=r, top=top
    )
    assert guess.seeds == pytest.approx(np.var(levels), rel=0.05)
    assert guess.design == 0
    assert guess.at(n) == pytest.approx(math.sqrt(guess.seeds))
    both = EvenError.guess(
        n, k, difference_spread=0.1, seed_spreads=[0.01] * 2, confirm_seeds=r, top=top
    )
    assert both.seeds == pytest.approx(2 * guess.seeds)
    # Far less than independent draws leave, and ever less with more of them.
    plain = effect_spread(0.1, k, 0.5) / math.sqrt(n)
    assert 0 < math.sqrt(both.design) < plain / 2
    more = EvenError.guess(32, k, difference_spread=0.1, seed_spreads=[0.0])
    assert more.design == pytest.approx(both.design / 4)


def _search(fresh):
    n = len(fresh)
    scores = np.array([np.mean(f) if len(f) else np.nan for f in fresh])
    return Search(
        name="arm",
        validation=np.linspace(0.5, 0.9, n),
        test=scores,
        test_run=np.linspace(0.5, 0.9, n),
        diverged=np.zeros(n, dtype=bool),
        cost=np.ones(n),
        worst=0.1,
        fresh=fresh,
        stratified=True,
    )


def test_variance_of_seeds_is_that_of_repeated_seeds():
    n, k, counts = 16, 4, [0] * 3 + [1] * 7 + [3] * 6
    rng = np.random.default_rng(0)
    quality = np.linspace(0.5, 0.9, n)
    found = {"configuration": [], "run": []}
    levels = []
    for _ in range(2000):
        fresh = [
            q + 0.01 * rng.normal(size=r) for q, r in zip(quality, counts, strict=True)
        ]
        search = _search(fresh)
        for reading, each in found.items():
            each.append(seed_variance(search, k, reading))
        reading = search.reading("configuration")
        levels.append(reading.ranking.expected(reading.score, [k])[0])
    weights = plug_in_weights(n, [k])[:, 0]
    # Those without a fresh seed count at the single run that stands in for them.
    standing_in = 0.01**2 * np.sum(weights[:3] ** 2)
    assert np.mean(found["configuration"]) == pytest.approx(
        np.var(levels) + standing_in, rel=0.1
    )
    assert np.mean(found["run"]) == pytest.approx(
        0.01**2 * np.sum(weights**2), rel=0.05
    )


def test_seeds_that_fail_count_at_what_all_seeds_say_of_them():
    n = 16
    fresh = [np.full(3, 0.8) for _ in range(n)]
    steady = seed_variance(_search(fresh), 4, "configuration")
    assert steady == pytest.approx(0)
    fresh[0] = np.array([0.8, 0.8, 0.1])  # a trial of hardly any weight
    failing = seed_variance(_search(fresh), 4, "configuration")
    assert failing > 100 * np.var(fresh[0]) * plug_in_weights(n, [4])[0, 0] ** 2


def test_nothing_is_known_of_seeds_from_one_each():
    assert seed_variance(_search([np.array([0.8])] * 16), 4, "configuration") is None
    assert seed_variance(_search([]), 4, "run") is None


@given(
    a=st.floats(0.1, 10),
    b=st.floats(0, 100),
    u=st.floats(0.05, 1),
    least=st.integers(1, 3),
)
def test_seeds_are_worth_what_the_formula_says(a, b, u, least):
    found = worthwhile_seeds(lambda r: a + b / r, lambda r: 1000 * (1 + u * r), least)
    best = min(max(math.sqrt(b / (a * u)), least), 12)
    assert abs(found - best) < 1


def test_seeds_beyond_a_dozen_are_kept_where_they_were_declared():
    assert worthwhile_seeds(lambda r: 1 + 1 / r, lambda r: 10 + r, 20) == 20


EVEN = EvenError.of(16, 0.012, 0.05, [0.00002, 0.00002])


def _settles(estimate, n, margin, examples=0.0):
    """How often fresh studies of n settle the question if the estimate is the truth."""
    rng = np.random.default_rng(0)
    error = EVEN.at(n)
    found = estimate + rng.normal(size=20_000) * math.sqrt(error**2 + examples)
    quantile = stats.t(2 * n / 4 - 1).ppf(0.975)
    reach = math.sqrt((quantile * error) ** 2 + stats.norm.ppf(0.975) ** 2 * examples)
    claimed = (np.abs(found) >= margin) & (np.abs(found) > reach)
    within = np.abs(found) + reach < margin
    return np.mean(claimed | within)


@pytest.mark.parametrize(
    ("estimate", "margin", "examples"),
    [
        (0.02, 0.01, 0.0),
        (-0.02, 0.01, 0.0),
        (0.012, 0.01, 0.0),
        (0.004, 0.01, 0.0),
        (0.0, 0.01, 0.0),
        (0.02, 0.01, 0.002**2),
        (0.0, 0.01, 0.002**2),
    ],
)
def test_an_even_design_is_settled_by_the_power_of_two_that_does(
    estimate, margin, examples
):
    found = even_settlement(estimate, EVEN, 4, margin=margin, test_variance=examples)
    n = found.configurations
    assert n in (32, 64, 128, 256)
    assert found.times_cost == n / 16
    assert found.test_examples is None
    assert _settles(estimate, n, margin, examples) > 0.78
    if n > 32:
        assert _settles(estimate, n // 2, margin, examples) < 0.83


def test_what_settles_an_even_design_lies_beyond_its_size():
    assert even_settlement(0.1, EVEN, 4, margin=0.01).configurations == 32
    # From a size between two powers, the next one.
    other = dataclasses.replace(EVEN, configurations=24)
    assert even_settlement(0.1, other, 4, margin=0.01).configurations == 32
    # Less than what seeds leave of 1,024 trials: the jackknife of far more.
    assert even_settlement(0.0, EVEN, 4, margin=0.002).configurations > MOST
    # No p is this small from 32 pairs.
    strict = even_settlement(0.5, EVEN, 4, margin=0.01, alpha=1e-10)
    assert strict.configurations == 64
    nothing = EvenError(16, 0.0, 0.0, 0.0)
    assert even_settlement(0.02, nothing, 4, margin=0.01).configurations == 32


def test_what_no_number_of_configurations_settles_is_said():
    # At the margin itself, half of all studies fall to either side.
    assert even_settlement(0.01, EVEN, 4, margin=0.01) == Settlement(None, None, None)
    small = {"margin": 0.01, "test_variance": 0.01**2}
    assert even_settlement(0.01, EVEN, 4, **small) == Settlement(None, None, None)
    found = even_settlement(0.02, EVEN, 4, **small)
    assert found.configurations is None
    assert found.times_cost is None
    small["test_variance"] /= found.test_examples
    assert even_settlement(0.02, EVEN, 4, **small).configurations is not None


def test_an_even_design_sees_more_and_its_sizes_are_powers_of_two():
    even = EvenError.guess(16, 4, difference_spread=0.08, seed_spreads=[0.01, 0.01])
    found = detectable_effects([16, 32, 64], even, 4)
    assert found == [minimum_detectable_effect(even.at(n), n, 4) for n in (16, 32, 64)]
    plain = detectable_effects([16, 32, 64], effect_spread(0.08, 4, 0.5), 4)
    assert all(3 * new < old for new, old in zip(found[1:], plain[1:], strict=True))
    for effect in (0.03, 0.01, 0.005):
        n = configurations_for(effect, even, 4)
        assert n & (n - 1) == 0
        assert detectable_effects([n], even, 4)[0] <= effect
        assert n == 16 or detectable_effects([n // 2], even, 4)[0] > effect
    assert configurations_for(0.1, even, 5) == 32
    assert configurations_for(0.1, even, 4) == 16
    assert configurations_for(0.01, even, 4, margin=0.01) is None


def _even_arm(name, optimum, seeds, **changes):
    n = 16
    places = qmc.Sobol(2, rng=5).random_base2(4)
    random = np.random.default_rng(seeds)
    quality = 0.8 - np.sum((places - np.array([optimum, 0.6])) ** 2, axis=1)
    fresh = [q + 0.01 * random.normal(size=3) for q in quality]
    search = Search(
        name=name,
        validation=quality + 0.01 * random.normal(size=n),
        test=np.mean(fresh, axis=1),
        test_run=None,
        diverged=np.zeros(n, dtype=bool),
        cost=np.ones(n),
        worst=0.1,
        fresh=fresh,
        stratified=True,
        positions={"lr": places[:, 0], "width": places[:, 1]},
    )
    return dataclasses.replace(search, **changes)


def test_an_open_question_is_settled_as_its_own_error_falls():
    def found(**changes):
        arms = [_even_arm("a", 0.35, 1, **changes), _even_arm("b", 0.45, 2, **changes)]
        (found,) = compare(
            arms[0], arms[1:], effort=4, margin=0.01, metric="accuracy", seed=0
        )
        assert found.verdict == "inconclusive"
        return found, found.would_settle.configurations

    def least(found, rate):
        estimate = found.effect.estimate
        error = found.standard_error**2
        even = (
            EvenError(16, error, 0.0, error)
            if rate == 1
            else EvenError(16, 0.0, error, 1.0)
        )
        return even_settlement(estimate, even, 4, margin=0.01).configurations

    (modelled, n), (blind, more) = found(), found(positions={})
    assert modelled.standard_error < blind.standard_error
    assert least(modelled, 2) <= n <= least(modelled, 1)
    assert n < more
    # Without a model of the space, or with one seed each, of which nothing is known:
    # all of the error falls like 1/n.
    assert more == least(blind, 1)
    lone, n = found(fresh=[])
    assert n == least(lone, 1)

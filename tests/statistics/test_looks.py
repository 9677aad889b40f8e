import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics import (
    Estimate,
    Look,
    Search,
    compare,
    decide_look,
    declare_looks,
    permutations_needed,
    spend,
)

# --- levels --------------------------------------------------------------------


def test_known_levels():
    found = spend([16, 32, 64], 0.05)
    assert [round(level, 4) for level in found] == [0.0001, 0.0055, 0.0444]
    z = stats.norm.ppf(0.975)
    assert found[1] == pytest.approx(
        2 * stats.norm.sf(z / math.sqrt(0.5)) - 2 * stats.norm.sf(2 * z)
    )


@given(
    looks=st.lists(st.integers(8, 2000), min_size=1, max_size=8, unique=True),
    alpha=st.floats(0.001, 0.2),
)
def test_levels_grow_out_of_nothing_and_sum_to_alpha(looks, alpha):
    levels = spend(sorted(looks), alpha)
    assert len(levels) == len(looks)
    assert all(level >= 0 for level in levels)
    assert sum(levels) == pytest.approx(alpha)


def test_permutations_that_a_level_takes():
    assert permutations_needed(0.05) == 200
    assert permutations_needed(0.0444) == 226
    # 10 / .1 is 100, whatever the last bit says.
    assert permutations_needed(0.1) == 100
    assert permutations_needed(0.1 * 0.3 / 0.3) == 100


# --- what may be declared ------------------------------------------------------


def test_each_look_has_its_level_and_its_permutations():
    looks = declare_looks([16, 32, 64], configurations=64, effort=4)
    assert [look.configurations for look in looks] == [16, 32, 64]
    assert [look.level for look in looks] == spend([16, 32, 64], 0.05)
    assert all(look.permutations * look.level >= 10 for look in looks)


def test_a_look_without_permutations_claims_nothing_and_spends_nothing():
    looks = declare_looks(
        [16, 32, 64], configurations=64, effort=4, permutations=10_000
    )
    assert looks[0] == Look(16, None, None)
    assert looks[1].level == pytest.approx(sum(spend([16, 32, 64], 0.05)[:2]))
    assert sum(look.level or 0 for look in looks) == pytest.approx(0.05)
    # So early that the level is 0 in floating point.
    first, _ = declare_looks([16, 8192], configurations=8192, effort=4)
    assert first.level is None


def test_several_challengers_take_more_permutations():
    one, three = (
        declare_looks([32, 64], configurations=64, effort=4, challengers=j)
        for j in (1, 3)
    )
    assert [look.level for look in three] == [look.level for look in one]
    assert three[1].permutations == permutations_needed(one[1].level / 3)


@pytest.mark.parametrize(
    ("looks", "complaint"),
    [
        ([], "last look is at the study's own number of configurations: none"),
        ([16, 32], "last look is at the study's own"),
        ([32, 16, 64], "more configurations than the one before: 32, 16, 64"),
        ([16, 16, 64], "more configurations than the one before"),
        ([8, 64], "first look is at 16 configurations or more"),
    ],
)
def test_looks_that_cannot_be(looks, complaint):
    with pytest.raises(ProtocolError) as caught:
        declare_looks(looks, configurations=64, effort=4)
    assert complaint in str(caught.value)


def test_a_last_look_that_cannot_claim_is_refused():
    # It has the parts of all looks before it that make no claim either.
    with pytest.raises(ProtocolError, match="200 permutations"):
        declare_looks([16, 32, 64], configurations=64, effort=4, permutations=199)
    looks = declare_looks([16, 32, 64], configurations=64, effort=4, permutations=200)
    assert [look.level for look in looks] == [None, None, pytest.approx(0.05)]


# --- claims and futility -------------------------------------------------------

FIRST, LAST = declare_looks([32, 64], configurations=64, effort=4)


def decided(low, high, verdict="inconclusive", error=None, **given):
    estimate = (low + high) / 2
    terms = {"effort": 4, "margin": 0.01} | given
    error = (high - low) / 4.2 if error is None else error
    return decide_look(
        verdict, Estimate(estimate, low, high), error, FIRST, LAST, **terms
    )


@pytest.mark.parametrize(
    "verdict", ["architecture", "tuning", "baseline", "equivalent"]
)
def test_a_verdict_at_the_level_of_the_look_is_a_claim(verdict):
    assert decided(0.01, 0.05, verdict) == "claim"
    assert decided(-0.2, -0.1, verdict) == "claim"


@pytest.mark.parametrize("verdict", [None, "inconclusive", "not_assessable"])
def test_whoever_may_still_win_goes_on(verdict):
    assert decided(-0.05, 0.02, verdict) == "go on"
    assert decided(-0.5, 0.01, verdict) == "go on"
    assert decided(0.02, 0.1, verdict) == "go on"


def test_whoever_can_neither_win_nor_be_as_good_is_dropped():
    assert decided(-0.1, -0.02) == "futile"
    # With half the error at the last look, zero would still not be told from .01.
    assert decided(-0.05, 0.009) == "futile"


def test_whoever_may_be_as_good_goes_on_to_show_it():
    assert decided(-0.012, 0.008) == "go on"
    # The estimate counts for nothing, only what the interval leaves.
    assert decided(-0.02, -0.001, error=0.001) == "go on"
    assert decided(-0.03, -0.0099, error=0.001) == "futile"


def test_what_more_configurations_leave_decides_what_is_in_reach():
    # The interval of a gain of 0 at the last look.
    t = stats.t(2 * 64 / 4 - 1).ppf(1 - LAST.level / 2)
    just = 0.01 / t * math.sqrt(2)
    assert decided(-0.04, 0.005, error=0.99 * just) == "go on"
    assert decided(-0.04, 0.005, error=1.01 * just) == "futile"
    # Which test examples do not shrink with.
    assert decided(-0.04, 0.005, error=0.5 * just) == "go on"
    rest = (0.01 / t) ** 2 - (0.5 * just) ** 2 / 2
    for times, expected in ((0.99, "go on"), (1.01, "futile")):
        given = {"error": 0.5 * just, "test_variance": times * rest}
        assert decided(-0.04, 0.005, **given) == expected


# --- errors over all looks -----------------------------------------------------


def paths(looks, gain, repetitions, seed=0):
    """Means (R, looks) of n normal numbers of spread 1 around the gain."""
    sums = np.random.default_rng(seed).normal(0, 1, (repetitions, len(looks)))
    sums *= np.sqrt(np.diff(looks, prepend=0))
    return gain + np.cumsum(sums, axis=1) / np.array(looks)


def test_false_claims_over_all_looks_are_alpha_at_most():
    # 200,000 repetitions know the rate to .0005; would miss one time in ten: 5.1 %.
    n = np.array([16, 32, 48, 64])
    z = np.abs(paths(n, 0.0, 200_000)) * np.sqrt(n)
    critical = stats.norm.isf(np.array(spend(n, 0.05)) / 2)
    rate = np.mean((z >= critical).any(axis=1))
    assert rate <= 0.05
    # What four looks have in common is given away; to look without a plan is worse.
    assert rate >= 0.035
    assert np.mean((z >= 1.96).any(axis=1)) > 0.11


def test_looks_save_runs_and_cost_little_power():
    n = np.array([16, 32, 64])
    gain = (1.96 + 0.84) / 8
    z = np.abs(paths(n, gain, 50_000)) * np.sqrt(n)
    critical = stats.norm.isf(np.array(spend(n, 0.05)) / 2)
    claimed = z >= critical
    power, fixed = np.mean(claimed.any(axis=1)), np.mean(z[:, -1] >= 1.96)
    assert fixed == pytest.approx(0.8, abs=0.01)
    assert fixed - 0.02 < power < fixed
    stopped = np.where(claimed.any(axis=1), n[np.argmax(claimed, axis=1)], 64)
    assert stopped.mean() < 0.9 * 64


@pytest.mark.parametrize("gain", [0.1, 0.2])
def test_a_gain_worth_having_is_rarely_dropped(gain):
    # 4,000 repetitions; would miss one time in ten: 3.7 % instead of 2.5 %.
    means = paths([32, 64], gain, 4000)[:, 0]
    error = 1 / math.sqrt(32)
    reach = stats.norm.ppf(0.975) * error
    futile = sum(
        decided(mean - reach, mean + reach, error=error, margin=0.1) == "futile"
        for mean in means
    )
    assert futile <= stats.binom.ppf(0.999, 4000, 0.025)


def test_an_arm_that_is_much_worse_is_dropped_at_once():
    means = paths([32, 64], -0.6, 1000)[:, 0]
    error = 1 / math.sqrt(32)
    futile = sum(
        decided(mean - 2 * error, mean + 2 * error, error=error, margin=0.1) == "futile"
        for mean in means
    )
    assert futile > 950


REPETITIONS = 200


def run(name, quality, rng):
    luck = rng.normal(0, 0.01, (3, len(quality)))
    return Search(
        name,
        validation=quality + luck[0] + luck[1],
        test=quality + luck[2],
        test_run=None,
        diverged=np.zeros(len(quality), dtype=bool),
        cost=np.ones(len(quality)),
        worst=0.1,
    )


def first(arm, n):
    return Search(
        arm.name,
        arm.validation[:n],
        arm.test[:n],
        None,
        arm.diverged[:n],
        arm.cost[:n],
        arm.worst,
    )


def looked(seed, gain):
    """Returns where a study stopped, and with which verdict at its look's level."""
    rng = np.random.default_rng(seed)
    quality = 0.8 - (rng.random(48) - 0.5) ** 2
    a, b = run("a", quality, rng), run("b", quality + gain, rng)
    for look in declare_looks([24, 32, 48], configurations=48, effort=4):
        n = look.configurations
        (found,) = compare(
            first(a, n),
            [first(b, n)],
            effort=4,
            margin=0.001,
            metric="accuracy",
            seed=seed,
            alpha=look.level,
            permutations=max(look.permutations, 499),
            resamples=400,
        )
        if found.verdict != "inconclusive":
            break
    return n, found.verdict


def test_studies_of_nothing_that_look_three_times_rarely_claim_something():
    # Would miss one time in ten: false claims in 13.8 % instead of at most 5 %.
    found = [looked(study, 0.0)[1] for study in range(REPETITIONS)]
    claims = sum(v in ("architecture", "baseline", "tuning") for v in found)
    assert claims <= stats.binom.ppf(0.999, REPETITIONS, 0.05)


def test_studies_of_something_stop_early():
    found = [looked(study, 0.03) for study in range(40)]
    assert sum(v in ("architecture", "tuning") for _, v in found) >= 36
    assert np.mean([n for n, _ in found]) < 40

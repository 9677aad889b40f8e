import itertools
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
    grown_looks,
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


# --- studies that grow -----------------------------------------------------------


def levels(sizes, **declared):
    return [look.level for look in grown_looks(sizes, **declared)]


def test_each_growth_and_each_doubling_halves_the_level():
    assert levels([16]) == [0.05]
    assert levels([16, 32, 64]) == [0.05, 0.025, 0.0125]
    # Who goes further at once takes the level that is there for so many.
    assert levels([16, 64]) == [0.05, 0.0125]
    assert levels([16, 33]) == [0.05, 0.0125]
    # Who goes on by small steps gets no more than by large ones.
    assert levels([16, 17, 18, 32]) == [0.05, 0.025, 0.0125, 0.00625]
    assert levels([12, 24], alpha=0.1) == [0.1, 0.05]
    looks = grown_looks([16, 32], challengers=3)
    assert [look.configurations for look in looks] == [16, 32]
    assert [look.permutations for look in looks] == [600, 1200]


@given(
    st.integers(4, 64), st.lists(st.floats(1.01, 4.0), max_size=8), st.floats(0.01, 0.4)
)
def test_all_growths_together_add_less_than_alpha(first, factors, alpha):
    sizes = [first]
    for factor in factors:
        sizes.append(math.ceil(sizes[-1] * factor) + (factor < 1.02))
    sizes = sorted(set(sizes))
    found = levels(sizes, alpha=alpha, permutations=10**9)
    assert found[0] == alpha
    assert sum(found[1:]) < alpha
    assert all(now <= before for before, now in itertools.pairwise(found))
    assert all(level <= alpha / 2**i for i, level in enumerate(found))


def test_there_is_an_end_to_growing():
    assert levels([16, 16 * 2**9])
    with pytest.raises(ProtocolError, match="204,800 permutations"):
        grown_looks([16, 16 * 2**10])
    with pytest.raises(ProtocolError, match="another --seed"):
        grown_looks(list(range(16, 27)))


def test_what_growing_does_to_the_level_is_as_it_is_told():
    # 200,000 repetitions know the rate to .0006.
    n = np.array([16, 32, 64, 128, 256])
    z = np.abs(paths(n, 0.0, 200_000)) * np.sqrt(n)
    claimed = z >= stats.norm.isf(np.array(levels(n.tolist())) / 2)
    rates = [claimed[:, :looks].any(axis=1).mean() for looks in (1, 2, 3, 5)]
    assert rates == pytest.approx([0.05, 0.064, 0.071, 0.077], abs=0.002)
    full = [np.mean((z[:, :looks] >= 1.96).any(axis=1)) for looks in (2, 3, 5)]
    assert full == pytest.approx([0.083, 0.113, 0.170], abs=0.003)


def test_choosing_the_size_by_what_was_seen_gains_little():
    sizes = np.array([*range(17, 65), 80, 96, 128, 256, 512])
    beyond = stats.norm.isf(np.array([levels([16, int(n)])[1] for n in sizes]) / 2)
    share = np.sqrt(16 / sizes)
    rest = np.sqrt(1 - share**2)
    # (Z,): the chance of a claim at the size where it is largest, given what was seen.
    seen = np.linspace(-1.96, 1.96, 2001)[:, None]
    chance = (
        stats.norm.sf((beyond - share * seen) / rest)
        + stats.norm.cdf((-beyond - share * seen) / rest)
    ).max(axis=1)
    total = 0.05 + np.trapezoid(stats.norm.pdf(seen[:, 0]) * chance, seen[:, 0])
    assert 0.064 < total < 0.067


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

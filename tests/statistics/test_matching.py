import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from archtrial.statistics import tuning
from archtrial.statistics.expectation import expectation, resample_counts
from archtrial.statistics.gain import gain
from archtrial.statistics.matching import efforts_to_scan, match, standing_of
from archtrial.statistics.search import Reading


def matched(baseline, challenger, effort=4, **given):
    terms = {
        "margin": 0.01,
        "max_multiple": 4.0,
        "cost_ratio": 1.0,
        "alpha": 0.05,
        "paired": True,
    } | given
    counts = resample_counts(
        0,
        len(baseline.score),
        len(challenger.score),
        paired=terms["paired"],
        resamples=400,
    )
    efforts = efforts_to_scan(baseline)
    target = expectation(challenger, [effort], counts[1])
    common = {name: terms[name] for name in ("margin", "alpha")}
    standing = standing_of(
        target,
        expectation(baseline, efforts, counts[0]),
        paired=terms.pop("paired"),
        **common,
    )
    return match(standing, target, efforts, baseline, effort, **terms)


def climbing(n, gain=0.0, spread=1.0, seed=0):
    """Trials whose score is spread evenly, so the tuning curve climbs far."""
    score = (
        np.random.default_rng(seed).permutation(np.linspace(0, 1, n)) * spread + gain
    )
    return Reading(score, score, None, np.zeros(n, dtype=bool), 0.0)


def test_an_arm_catches_itself_up_at_the_same_effort():
    arm = climbing(64)
    found = matched(arm, arm)
    # Within .01 of the best of 4 of a uniform score, 4 / 5.
    assert found.trials.estimate == 4
    assert found.multiple.estimate == 1.0
    assert found.reportable_up_to == 4.0
    assert found.trials.low <= 4 <= found.trials.high


def test_the_estimate_is_the_first_effort_that_reaches_the_target():
    found = matched(climbing(64), climbing(64, gain=0.1), margin=0.001)
    # E[best of k] = k / (k + 1) >= .8 + .1 - .001 at k = 9, for a large sample.
    assert found.trials.estimate == 9
    assert found.multiple.estimate == 9 / 4


def test_limits_scan_from_both_ends():
    a, b = climbing(64), climbing(64, gain=0.08)
    counts = resample_counts(0, 64, 64, paired=True, resamples=400)
    curve = expectation(a, np.arange(1, 17), counts[0])
    ahead = gain(curve, expectation(b, [4], counts[1]), alpha=0.05, paired=True)
    found = matched(a, b)
    low = next(k for k in range(1, 17) if ahead.high[k - 1] + 0.01 >= 0)
    assert found.trials.low == low > 1
    if found.trials.high is not None:
        assert all(ahead.low[k - 1] + 0.01 > 0 for k in range(found.trials.high, 17))


def test_yes_when_the_whole_interval_lies_within_the_multiple():
    found = matched(
        climbing(64, spread=0.1, gain=1.0), climbing(64, spread=0.1, gain=1.0)
    )
    assert found.catch_up == "yes"
    assert found.multiple.high <= 4


def test_cheap_trials_buy_more_of_them():
    arm = climbing(64, spread=0.1, gain=1.0)
    dear = matched(arm, arm, cost_ratio=20.0)
    assert dear.catch_up == "no"
    assert dear.multiple.low == dear.trials.low * 20 / 4
    assert dear.reportable_up_to == 80


def test_no_when_the_baseline_never_comes_near():
    found = matched(climbing(64), climbing(64, gain=3.0))
    assert found.catch_up == "no"
    assert found.trials.estimate is None
    assert found.trials.high is None
    assert found.trials.low == 17
    assert found.multiple.low > 4


def test_few_trials_cannot_tell():
    found = matched(climbing(16), climbing(16, gain=0.1))
    assert found.catch_up == "unknown"
    assert found.reportable_up_to == 1.0


def test_without_a_hit_n_is_at_least_a_quarter_of_the_trials():
    # One run of A in ten is good, and none is as good as B. Of so rare a score the
    # curve is so uncertain that the scan stops early.
    n = 128
    rng = np.random.default_rng(0)
    score = np.where(np.arange(n) < 13, 0.94, 0.0)
    validation = score + rng.normal(0, 1e-3, n)
    a = Reading(validation, score, None, np.zeros(n, dtype=bool), 0.0)
    b = Reading(validation, np.full(n, 1.0), None, np.zeros(n, dtype=bool), 0.0)
    chance = stats.binomtest(0, n).proportion_ci(0.9, method="exact").high
    bound = math.log(0.5) / math.log1p(-chance)
    assert bound == pytest.approx(n / 4.32, rel=0.02)
    assert matched(a, b, margin=0.05).trials.low == math.ceil(bound)
    # With a hit among them the bound is lower, and the scan is all there is.
    assert matched(a, b, margin=0.07).trials.low < bound


def test_trials_that_the_baseline_has_alone_reach_further():
    found = matched(climbing(64), climbing(16))
    assert found.reportable_up_to == 4.0
    unpaired = matched(climbing(64), climbing(16), paired=False)
    assert unpaired.reportable_up_to == 4.0


# --- efforts that the scores do not tell of ------------------------------------


def unconfirmed(arm, lowest, score=None):
    """The arm with stand-ins for the test scores of its lowest trials."""
    stand_in = np.argsort(np.argsort(arm.validation)) < lowest
    return dataclasses.replace(
        arm,
        score=np.where(stand_in, arm.score if score is None else score, arm.score),
        stand_in=stand_in,
    )


def test_stand_ins_tell_of_the_efforts_that_do_not_pick_them():
    arm = unconfirmed(climbing(64), 20)
    efforts = np.arange(1, 17)
    shares = [math.comb(20, k) / math.comb(64, k) for k in efforts]
    assert arm.unconfirmed(efforts) == pytest.approx(shares)
    assert arm.tells(efforts).tolist() == [k >= 4 for k in efforts]
    assert climbing(64).tells(efforts).all()


def test_the_scans_pass_over_efforts_that_rest_on_stand_ins():
    # So near that one trial is enough, if only its score were known.
    arm = climbing(64, spread=0.1)
    assert matched(arm, arm, margin=0.5).trials.high == 1
    found = matched(unconfirmed(arm, 20), arm, margin=0.5)
    assert (found.trials.estimate, found.trials.low, found.trials.high) == (4, 1, 4)
    # Nor do stand-ins beyond every score prove that it catches up.
    lucky = matched(unconfirmed(climbing(64), 20, score=9.0), climbing(64, gain=3.0))
    assert lucky.catch_up == "no"
    assert lucky.trials.low == 17


def test_an_estimate_next_to_an_unknown_effort_is_at_most_that():
    arm = climbing(64, spread=0.1)
    found = matched(unconfirmed(arm, 20), arm, margin=0.5)
    assert found.trials.estimate == 4
    assert found.trials.at_most
    assert found.multiple.at_most
    # Of all efforts known the first is 1; and a known one that falls short is a bound.
    assert not matched(arm, arm, margin=0.5).trials.at_most
    farther = climbing(64, gain=0.15)
    found = matched(unconfirmed(climbing(64), 20), farther)
    assert found.trials.estimate > 5
    assert not found.trials.at_most
    never = matched(climbing(64), climbing(64, gain=3.0))
    assert not never.trials.at_most


def test_of_many_efforts_those_in_equal_ratios_are_looked_at(monkeypatch):
    a, b = climbing(256), climbing(256, gain=0.1)
    every = matched(a, b)
    monkeypatch.setattr(tuning, "EFFORTS", 16)
    efforts = efforts_to_scan(a)
    assert len(efforts) < 16
    assert (efforts[0], efforts[-1]) == (1, 64)
    some = matched(a, b)
    assert some.reportable_up_to == every.reportable_up_to
    # The limits are wider, and by no more than what lies between two efforts.
    assert some.trials.low <= every.trials.low <= efforts[efforts >= some.trials.low][0]
    assert (
        some.trials.high >= every.trials.high > efforts[efforts < some.trials.high][-1]
    )
    assert some.trials.estimate >= every.trials.estimate
    assert some.trials.at_most


def test_the_lower_limit_climbs_from_the_first_effort_that_is_known():
    a, b = climbing(64), climbing(64, gain=0.15)
    plain, found = matched(a, b), matched(unconfirmed(a, 20), b)
    assert found.trials.low == plain.trials.low > 4
    # A known effort that may be near says nothing against smaller ones.
    nearer = climbing(64, gain=-0.1)
    assert matched(a, nearer).trials.low > 1
    assert matched(unconfirmed(a, 20), nearer).trials.low == 1


def test_nothing_is_reported_beyond_the_efforts_that_are_known():
    # The best trial carries k / n of the weight.
    arm = climbing(256)
    unknown = dataclasses.replace(arm, stand_in=arm.validation == arm.validation.max())
    found = matched(unknown, arm, effort=2)
    assert found.reportable_up_to == 1.0
    assert matched(arm, arm, effort=2).reportable_up_to == 32.0


def test_a_stand_in_may_be_a_hit():
    n = 128
    good = np.arange(n) < 13
    validation = np.where(good, 0.94, 0.0) + np.linspace(0, 1e-3, n)
    score = np.where(good, 0.94, 0.0)
    a = Reading(validation, score, None, np.zeros(n, dtype=bool), 0.0)
    b = dataclasses.replace(a, score=np.full(n, 1.0))
    bound = math.ceil(n / 4.32)
    assert matched(a, b, margin=0.05).trials.low == pytest.approx(bound, abs=1)
    assert matched(unconfirmed(a, 10), b, margin=0.05).trials.low < bound - 5

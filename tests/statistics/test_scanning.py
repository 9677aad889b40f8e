"""A large arm's curve against a target: what the jackknife tells, and the rest."""

import dataclasses

import numpy as np
import pytest

from archtrial.statistics import compare, measuring, scanning
from archtrial.statistics.expectation import (
    expectation,
    expectations,
    needed,
    resample,
    resample_counts,
    resample_some,
)
from archtrial.statistics.gain import gain
from archtrial.statistics.matching import efforts_to_scan
from archtrial.statistics.scanning import scan, spread
from archtrial.statistics.search import Reading, Search
from archtrial.statistics.tuning import Ranking

N = 1500


def arm(seed, n=N, shift=0.0, digits=3, noise=0.02):
    """Trials of a hyperparameter that all arms draw alike, with ties."""
    drawn = np.random.default_rng(0).random(n)
    rng = np.random.default_rng([1, seed])
    score = shift - (drawn - 0.5) ** 2 + rng.normal(0, noise, (2, n))
    validation, test = np.round(score, digits)
    return Reading(validation, test, None, np.zeros(n, dtype=bool), -1.0)


def counted(a, b, paired, resamples=2000):
    return resample_counts(
        0, len(a.score), len(b.score), paired=paired, resamples=resamples
    )


def terms(paired=True, margin=0.002, alpha=0.05):
    return {"margin": margin, "alpha": alpha, "paired": paired}


def both_ways(a, b, effort, **given):
    """Returns where each effort lies by the whole curve, and by the scan."""
    declared = terms(**given)
    counts = counted(a, b, declared["paired"])
    efforts = efforts_to_scan(a)
    target = expectation(b, [effort], counts[1])
    ahead = gain(
        expectation(a, efforts, counts[0]),
        target,
        alpha=declared["alpha"],
        paired=declared["paired"],
    )
    margin = declared["margin"]
    whole = (
        ahead.estimate + margin >= 0, ahead.high + margin < 0, ahead.low + margin > 0
    )  # fmt: skip
    looked = scan(a, efforts, target, **declared)
    np.testing.assert_allclose(looked.ahead, ahead.estimate + margin, atol=1e-12)
    np.testing.assert_allclose(looked.error, ahead.standard_error, rtol=1e-6)
    some = looked.open(
        *spread(target.resampled[:, 0], target.estimate[0], declared["alpha"])
    )
    gains = np.empty((0, 0))
    if len(some):
        gains = resample(a, [some], counts[0])[0].T - target.resampled + margin
    return whole, looked.standing(some, gains, declared["alpha"]), some, looked


def climbs(behind, reached):
    """Returns how far the two scans come."""
    return (
        int(np.argmin(np.append(behind, False))),
        int(np.argmin(np.append(reached[::-1], False))),
    )


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("shift", [-0.2, -0.02, -0.002, 0.0, 0.002, 0.02, 0.2])
@pytest.mark.parametrize("effort", [4, 100])
def test_a_scan_finds_what_the_whole_curve_finds(shift, effort, paired):
    whole, found, some, looked = both_ways(
        arm(1), arm(2, shift=shift), effort, paired=paired
    )
    np.testing.assert_array_equal(found.near, whole[0])
    assert climbs(found.behind, found.reached) == climbs(*whole[1:])
    # Far away nothing is resampled.
    assert len(some) < len(looked.efforts)
    if abs(shift) == 0.2:
        assert len(some) == 0


def test_trials_without_a_partner_and_sizes_of_test_sets_enter_a_scan():
    a, b = arm(1), arm(2, n=1200, shift=0.01)
    a, b = (dataclasses.replace(each, test_size=50_000) for each in (a, b))
    a = dataclasses.replace(a, score=a.score + 0.8, diverged=np.arange(N) < 30)
    b = dataclasses.replace(b, score=b.score + 0.8, diverged=np.arange(1200) < 20)
    whole, found, some, looked = both_ways(a, b, 40)
    assert (looked.floor > 0).all()
    assert (looked.fall > 0).any()
    assert looked.rise > 0
    np.testing.assert_array_equal(found.near, whole[0])
    assert climbs(found.behind, found.reached) == climbs(*whole[1:])
    assert len(some)


def test_a_percentile_counts_where_it_lies_outside_the_jackknife():
    looked = scan(
        arm(1), np.array([10, 20]), expectation(arm(2), [20], counted(arm(1), arm(2), True)[1]),
        **terms(),
    )  # fmt: skip
    wide = np.linspace(-1, 1, 2001)[:, None]
    found = looked.standing(np.array([20]), wide, 0.05)
    assert not found.behind[1]
    assert not found.reached[1]


def test_an_end_on_the_target_is_left_to_exact_sums():
    a = arm(1)
    b = dataclasses.replace(a, score=a.score + 0.002)
    efforts = efforts_to_scan(a)
    target = expectation(b, [int(efforts[5])], counted(a, b, True)[1])
    looked = scan(a, efforts, target, **terms())
    # At the same effort the arms are a margin apart, and their error is rounding.
    assert abs(looked.ahead[5]) < 1e-12
    assert looked.error[5] < 1e-8
    assert looked.standing(np.array([], dtype=int), np.empty((0, 0)), 0.05) is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("sizes", [(N, N), (N, 1200)])
def test_counts_of_some_trials_are_those_of_all(paired, sizes):
    a, b = arm(1, sizes[0]), arm(2, sizes[1])
    whole = counted(a, b, paired, 40)
    wanted = [np.zeros(n, dtype=bool) for n in sizes]
    wanted[0][needed(a, [200])] = True
    wanted[1][needed(b, [300, 250])] = True
    some = resample_some(0, *wanted, paired=paired, resamples=40)
    for counts, drawn, asked in zip(whole, some, wanted, strict=True):
        assert drawn.counts.shape[1] < counts.shape[1] / 2
        trials = np.flatnonzero(asked)
        np.testing.assert_array_equal(
            drawn.counts[:, drawn.columns[trials]], counts[:, trials]
        )
    for reading, counts, drawn, k in zip((a, b), whole, some, (200, 250), strict=True):
        (one,) = expectations(reading, [[k]], counts)
        (other,) = expectations(reading, [[k]], drawn)
        np.testing.assert_array_equal(one.resampled, other.resampled)


@pytest.mark.parametrize("digits", [2, 12])
def test_the_highest_ranks_of_a_resample_are_the_same_bits(digits):
    reading = arm(1, digits=digits)
    counts = counted(reading, reading, True, 50)[0]
    ranking = Ranking(reading.validation, reading.score)
    whole = ranking.resampled(reading.score, counts)
    for ranks in (1, 40, 400, N - 1):
        found = ranking.resampled(reading.score, counts, ranks)
        np.testing.assert_array_equal(found, whole[:, -ranks:])


def compared(gap=0.004, **changes):
    def search(seed, shift):
        reading = arm(seed, shift=shift)
        return Search(
            f"arm {seed}", validation=reading.validation, test=np.full(N, np.nan),
            test_run=reading.score, diverged=reading.diverged, cost=np.ones(N),
            worst=-1.0,
        )  # fmt: skip

    declared = {
        "effort": 60, "margin": 0.002, "metric": "score", "seed": 0, "estimand": "run",
    } | changes  # fmt: skip
    (found,) = compare(search(1, 0.0), [search(2, gap)], **declared)
    return found.to_dict()


@pytest.mark.parametrize("gap", [0.004, 0.3])
@pytest.mark.parametrize("paired", [True, False])
def test_a_verdict_is_the_same_however_little_was_resampled(paired, gap, monkeypatch):
    found = compared(gap, paired=paired)
    # All efforts are drawn for that were not thought to be open.
    with monkeypatch.context() as patch:
        patch.setattr(scanning.Scan, "guess", lambda *_: np.array([], dtype=int))
        assert compared(gap, paired=paired) == found
    # The whole curve, in exact sums.
    with monkeypatch.context() as patch:
        patch.setattr(scanning.Scan, "standing", lambda *_: None)
        assert compared(gap, paired=paired) == found
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "MANY", 10**6)
        assert compared(gap, paired=paired) == found


def test_permutations_begin_where_places_count(monkeypatch):
    from archtrial.statistics import gate

    found = compared(effort=370)["p_value"]
    skipped = []
    start = gate._Pool._start

    def watched(pool, labels):
        skipped.append(start(pool, labels)[1])
        return start(pool, labels)

    with monkeypatch.context() as patch:
        patch.setattr(gate._Pool, "_start", watched)
        assert compared(effort=370)["p_value"] == found
    assert max(skipped) > 100
    monkeypatch.setattr(gate._Pool, "_start", lambda *_: (0, 0))
    assert compared(effort=370)["p_value"] == found

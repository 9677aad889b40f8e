"""Whether an arm had finished learning, told from curves whose end is known."""

import math

import numpy as np
import pytest

from archtrial.statistics import learning


def curve(steps, schedule, pace, *, points=20, top=0.9, floor=0.25):
    """A model that learns with the learning rate it has spent: floor to top.

    Decay adds a little at the end, as annealing does, and then nothing is left to
    gain: the curve is flat there however little was learnt.
    """
    share = learning.rates(schedule, 0.05, steps)
    spent = np.cumsum(share)
    score = floor + (top - floor) * (1 - np.exp(-spent / pace))
    at = np.linspace(steps / points, steps, points).round().astype(int)
    return at, score[at - 1][None], share


@pytest.mark.parametrize("schedule", ["cosine", "constant", "step"])
def test_a_short_training_still_rises_and_a_long_one_does_not(schedule):
    short = learning.rise(*curve(60, schedule, pace=300))
    assert short.rises(0.005)
    # What four times the training really brings is within what is said of it.
    gained = curve(240, schedule, 300)[1][0, -1] - curve(60, schedule, 300)[1][0, -1]
    assert short.further(0.005) > gained / 2
    long = learning.rise(*curve(12000, schedule, pace=300))
    assert not long.rises(0.005)
    assert long.further(0.005) == 0


def test_a_curve_that_a_schedule_flattened_is_not_called_flat():
    steps, scores, share = curve(400, "cosine", pace=400)
    late = scores[0, -1] - scores[0, -5]
    assert late < 0.015
    found = learning.rise(steps, scores, share)
    assert found.last > 5 * late


def test_gains_that_do_not_shrink_have_no_limit():
    steps, scores, share = curve(60, "cosine", pace=1e5)
    assert math.isinf(learning.rise(steps, scores, share).further(1e-6))
    slowing = learning.rise(*curve(800, "cosine", pace=100))
    assert slowing.before > slowing.last
    assert slowing.further(0.001) == pytest.approx(2 * slowing.last)


def test_points_that_begin_late_tell_less_or_nothing():
    share = np.ones(100)
    scores = np.array([[0.1, 0.2, 0.3]])
    found = learning.rise(np.array([40, 70, 100]), scores, share)
    assert found.before is None
    assert math.isinf(found.further(0.01))
    assert learning.rise(np.array([60, 80, 100]), scores, share) is None


def test_noise_over_seeds_is_no_rise():
    generator = np.random.default_rng(0)
    steps = np.arange(5, 101, 5)
    noisy = 0.5 + 0.1 * generator.normal(size=(4, 20))
    found = learning.rise(steps, noisy, np.ones(100))
    assert found.error > 0
    assert not found.rises(0.0) or found.last > 2 * found.error
    risen = noisy / 100 + np.linspace(0, 0.5, 20)
    assert learning.rise(steps, risen, np.ones(100)).rises(0.005)


def test_rates_are_those_of_the_recipe():
    assert learning.rates("constant", 0.0, 4).tolist() == [1, 1, 1, 1]
    assert learning.rates("constant", 0.5, 4).tolist() == [0.5, 1, 1, 1]
    assert learning.rates("step", 0.0, 4).tolist() == [1, 1, 0.1, 0.01]
    cosine = learning.rates("cosine", 0.0, 4)
    assert cosine[0] == 1
    assert np.all(np.diff(cosine) < 0)

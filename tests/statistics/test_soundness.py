"""What makes a comparison unsound before any test is computed."""

import math
from itertools import combinations

import numpy as np
import pytest

from archtrial.statistics.soundness import (
    Tuned,
    clear_of,
    copies_move,
    equal_over_seeds,
    little_learned,
)

TERMS = {"margin": 0.005, "alpha": 0.05}


def test_chance_is_rarely_called_clear_and_learning_is():
    generator = np.random.default_rng(0)
    clear = 0
    for _ in range(400):
        # Guesses on 500 examples of four classes, ten seeds.
        right = generator.random((10, 500)) < 0.25
        tuned = Tuned(right.mean(axis=1), right.mean(axis=0))
        clear += clear_of(0.25, tuned, **TERMS)
    # At most 2.5 % nominally; 20 of 400 has a chance below .003 there.
    assert clear <= 20
    right = generator.random((10, 500)) < 0.4
    assert clear_of(0.25, Tuned(right.mean(axis=1), right.mean(axis=0)), **TERMS)


def test_both_sides_of_metrics_and_single_scores():
    # An error turned round: the constant's is 2, the arm's 1.
    assert clear_of(-2.0, Tuned(np.array([-1.0, -1.1])), **TERMS)
    assert not clear_of(-2.0, Tuned(np.array([-2.5, -2.4])), **TERMS)
    assert not clear_of(0.25, Tuned(np.array([0.2525])), **TERMS)
    assert clear_of(0.25, Tuned(np.array([0.27])), **TERMS)
    one = Tuned(np.array([0.27]), np.array([0.27]))
    assert clear_of(0.25, one, **TERMS)


def test_little_learned():
    assert little_learned(0.25, 0.27, 0.44)
    assert not little_learned(0.25, 0.40, 0.44)
    assert not little_learned(0.25, 0.27, 0.20)


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([[(0.5, 0.5)] * 2] * 2, "everywhere"),
        ([[(0.5, 0.5)]] * 3, ""),
        ([[(0.5, 0.5)] * 2, [(0.6, 0.6)] * 3], "over seeds"),
        ([[(0.5, 0.5)] * 2, [(0.6, 0.6), (0.6, 0.61)]], ""),
        ([[(0.5, 0.5)] * 2, [(0.5, 0.5)] * 2, [(0.1, 0.1)]], ""),
        ([[(0.5, 0.5)], [(0.6, 0.6)]], ""),
    ],
)
def test_scores_that_hang_on_nothing(runs, says):
    assert equal_over_seeds(runs) == says


def test_what_copies_can_make_of_a_gain():
    gains = np.array([1.0, 1.0, 0.0, -1.0])
    assert copies_move(1, 4, gains, fraction=True) == pytest.approx(2 / 3 - 0.25)
    assert math.isinf(copies_move(4, 4, gains, fraction=True))
    assert copies_move(1, 101, None, fraction=True) == pytest.approx(0.02)
    assert math.isinf(copies_move(1, 100, None, fraction=False))
    assert math.isinf(copies_move(48, 48, None, fraction=True))
    # By brute force: no choice of copies leaves the others further away.
    gains = np.random.default_rng(1).normal(size=7)
    most = max(
        abs(np.mean(np.delete(gains, list(some))) - gains.mean())
        for some in combinations(range(7), 3)
    )
    assert copies_move(3, 7, gains, fraction=False) == pytest.approx(most)

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from archtrial.errors import ArmError
from archtrial.space import Real, sample
from archtrial.testing import KnownTruth, Surface

ARM = SimpleNamespace(name="a")
BEST = {"learning_rate": 0.01}


def test_the_same_arguments_give_the_same_scores():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    once = truth(ARM, BEST, 5, 100)
    assert pickle.loads(pickle.dumps(truth))(ARM, BEST, 5, 100) == once
    assert truth(ARM, BEST, 6, 100) != once
    assert truth(ARM, BEST, 5, 200) != once
    # Two names of one architecture are two initialisations.
    assert truth(SimpleNamespace(name="b"), BEST, 5, 100) != once


def test_scores_spread_around_the_surface():
    truth = KnownTruth({"a": Surface(lag=20.0)})
    scores = [truth(ARM, BEST, seed, 1000) for seed in range(400)]
    test = np.array([s["test"] for s in scores])
    noise = np.array([s["validation"] for s in scores]) - test
    assert test.mean() == pytest.approx(0.78, abs=0.002)
    assert test.std() == pytest.approx(0.01, rel=0.1)
    assert noise.std() == pytest.approx(0.01, rel=0.1)
    worse = truth(ARM, {"learning_rate": 1e-4}, 0, 1000)
    assert worse["test"] == pytest.approx(0.1 - 0.02, abs=0.05)


def test_a_configuration_may_leave_hyperparameters_out():
    truth = KnownTruth({"a": Surface(seed_spread=0.0)}, validation_noise=0.0)
    # The middle of 1e-4 to 1e-1 lies half a decade from the optimum.
    expected = 0.1 + 0.7 * (1 - (0.5 / 2) ** 2)
    assert truth(ARM, {}, 0, 1)["test"] == pytest.approx(expected)


def test_runs_diverge_and_seeds_fail_as_often_as_said():
    truth = KnownTruth({"a": Surface(diverging=0.25, failing_seeds=0.3)})
    scores = [truth(ARM, sample(truth.space, 0, i), i, 100)["test"] for i in range(600)]
    diverged = np.isnan(scores)
    assert diverged.mean() == pytest.approx(0.25, abs=0.06)
    failed = np.array(scores)[~diverged] == 0.1
    assert failed.mean() == pytest.approx(0.3, abs=0.06)
    assert all(
        math.isnan(truth(ARM, {"learning_rate": 0.09}, s, 9)["validation"])
        for s in (1, 2)
    )


@pytest.mark.parametrize(
    "surface",
    [
        Surface(),
        Surface(width=1.0, failing_seeds=0.3, diverging=0.2),
        Surface(lag=50.0),
    ],
)
def test_the_truth_is_what_searches_end_with(surface):
    truth = KnownTruth({"a": surface})
    effort, searches = 3, 1500
    ends = []
    for study in range(searches):
        drawn = [sample(truth.space, study, i) for i in range(effort)]
        runs = [truth(ARM, c, 10 * study, 500)["validation"] for c in drawn]
        picked = drawn[int(np.argmax(np.nan_to_num(runs, nan=surface.floor)))]
        fresh = truth(ARM, picked, 10 * study + 1, 500)["test"]
        ends.append(surface.floor if math.isnan(fresh) else fresh)
    error = np.std(ends) / math.sqrt(searches)
    assert truth.expected(effort, "a", steps=500) == pytest.approx(
        np.mean(ends), abs=4 * error
    )


def test_arms_that_are_the_same_differ_by_nothing():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    assert truth.delta(4, "a", "b") == 0
    assert truth.expected(16, "a") > truth.expected(1, "a") + 0.1


def test_several_hyperparameters_can_matter():
    space = {
        "learning_rate": Real(1e-4, 1e-1, log=True),
        "weight_decay": Real(1e-6, 1e-2, log=True),
    }
    optimum = {"learning_rate": 0.01, "weight_decay": 1e-4}
    one, two = Surface(), Surface(optimum=optimum)
    truth = KnownTruth({"one": one, "two": two}, space)
    assert truth.delta(4, "one", "two") < -0.05


def test_an_arm_without_a_surface_is_the_users_mistake():
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    with pytest.raises(ArmError, match="'c'") as caught:
        truth(SimpleNamespace(name="c"), BEST, 0, 1)
    assert "a or b" in str(caught.value)

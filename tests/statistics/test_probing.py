"""Ridge regression with a chosen penalty, against known maps and leaving one out."""

import numpy as np
import pytest

from archtrial.errors import ProtocolError
from archtrial.statistics import probing
from archtrial.statistics.probing import ridge


def drawn(n=80, f=6, k=2, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, f)) * np.arange(1, f + 1) + 5
    weights = rng.normal(size=(f, k))
    return x, x @ weights + 3 + noise * rng.normal(size=(n, k))


def test_a_linear_map_is_recovered():
    x, y = drawn(noise=0.0)
    assert ridge(x, y)(x) == pytest.approx(y, abs=1e-3)


@pytest.mark.parametrize("shape", [(40, 6), (20, 50)])
def test_the_fit_is_that_of_the_normal_equations_at_the_chosen_penalty(shape):
    n, f = shape
    x, y = drawn(n, f, noise=2.0)
    found = ridge(x, y)
    z = (x - x.mean(0)) / x.std(0)
    rank = min(f, n - 1)
    penalty = found.penalty * np.sum(z**2) / rank
    weights = np.linalg.solve(z.T @ z + penalty * np.eye(f), z.T @ (y - y.mean(0)))
    assert found.weights == pytest.approx(weights, rel=1e-5, abs=1e-8)
    assert found.offset == pytest.approx(y.mean(0))


def test_the_penalty_is_the_one_with_the_least_generalised_cross_validation():
    x, y = drawn(30, 12, k=1, noise=30.0)
    z = (x - x.mean(0)) / x.std(0)

    def criterion(share):
        penalty = share * np.sum(z**2) / 12
        hat = z @ np.linalg.solve(z.T @ z + penalty * np.eye(12), z.T)
        missed = np.sum(((y - y.mean(0)) - hat @ (y - y.mean(0))) ** 2)
        return missed / (30 - 1 - np.trace(hat)) ** 2

    best = min(probing._PENALTIES, key=criterion)
    assert ridge(x, y).penalty == pytest.approx(best)
    assert probing._PENALTIES[0] < best < probing._PENALTIES[-1]


def test_features_that_say_nothing_get_no_weight():
    x, y = drawn()
    x[:, 2] = 7.0
    found = ridge(x, y)
    assert not found.weights[2].any()
    nothing = ridge(np.ones((80, 3)), y)
    assert nothing(np.ones((1, 3))) == pytest.approx(y.mean(0)[None])


def test_of_pure_noise_next_to_nothing_is_learned():
    rng = np.random.default_rng(1)
    y = rng.normal(size=(60, 1))
    found = ridge(rng.normal(size=(60, 40)), y)
    fresh = rng.normal(size=(500, 40))
    assert np.std(found(fresh)) < 0.5 * np.std(y)


def test_what_cannot_be_fitted_is_refused():
    x, y = drawn()
    for bad in ((x[:2], y[:2]), (x[:5], y[:6]), (x[:, 0], y), (x, y[:, 0])):
        with pytest.raises(ProtocolError, match="3 examples"):
            ridge(*bad)
    with pytest.raises(ProtocolError, match="finite"):
        ridge(np.where(x == x[0, 0], np.nan, x), y)

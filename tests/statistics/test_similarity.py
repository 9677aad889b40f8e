"""CKA: its invariances, its ends, its lack of bias; intervals over pairs of seeds."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from archtrial.errors import ProtocolError
from archtrial.statistics.similarity import alignment, centred, mean_of_pairs


def features(seed, n=60, p=8):
    return np.random.default_rng(seed).normal(size=(n, p))


def cka(x, y):
    return float(alignment(centred(x)[None], centred(y)[None])[0, 0])


def by_definition(x, y):
    """Nguyen et al. 2021, equation 3, letter by letter."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones(n)
        return (
            np.trace(k @ m)
            + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ m @ one)
        ) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("n", [5, 7, 60])
def test_it_is_what_the_equation_says(n):
    x = features(0, n)
    y = x[:, :4] + 0.5 * features(1, n, p=4)
    assert cka(x, y) == pytest.approx(by_definition(x, y), abs=1e-5)


def test_equal_features_are_alike_whatever_turns_shifts_or_scales_them():
    x = features(0)
    turned = x @ ortho_group.rvs(8, random_state=0)
    for other in (x, turned, 1e3 * turned + 50, x.reshape(60, 2, 4)):
        assert cka(x, other) == pytest.approx(1, abs=1e-5)
    # No such thing for another factor for each feature.
    assert cka(x, x * np.array([10, *[1] * 7])) < 0.9


def test_independent_features_are_not_alike_also_where_they_outnumber_the_examples():
    """A biased HSIC gives .9 here: any two wide layers would look alike."""
    found = [cka(features(s, 40, 200), features(1000 + s, 40, 200)) for s in range(50)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(50)
    assert abs(np.mean(found)) < 0.05


def test_a_layer_that_says_the_same_of_all_examples_is_like_none():
    constant = np.full((60, 3), 0.1, dtype=np.float32)
    assert not centred(constant).any()
    assert not centred(np.zeros((60, 3))).any()
    assert np.isnan(cka(constant, features(0)))


def test_each_layer_is_compared_with_each():
    rows = np.stack([centred(features(s)) for s in range(3)])
    found = alignment(rows[:2], rows)
    assert found.shape == (2, 3)
    assert np.diag(found) == pytest.approx(1, abs=1e-5)
    assert found[0, 1] == pytest.approx(found[1, 0], abs=1e-6)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ProtocolError, match="4 examples"):
        centred(features(0, n=3))
    with pytest.raises(ProtocolError, match="finite"):
        centred(np.full((5, 2), np.nan))


def test_an_interval_over_pairs_is_that_of_their_seeds():
    # h(i, j) = (v_i + v_j) / 2: the mean of the pairs is that of the seeds, and so is
    # its error.
    v = np.array([0.2, 0.5, 0.9, 0.4])
    found = mean_of_pairs((v[:, None] + v[None, :]) / 2, 0.05)
    error = v.std(ddof=1) / 2
    assert found.estimate == pytest.approx(v.mean())
    assert found.high - found.estimate == pytest.approx(3.18245 * error, rel=1e-5)
    assert found.estimate - found.low == pytest.approx(3.18245 * error, rel=1e-5)


def test_of_two_seeds_there_is_one_pair_and_no_interval():
    with pytest.raises(ProtocolError, match="3 seeds"):
        mean_of_pairs(np.ones((2, 2)), 0.05)

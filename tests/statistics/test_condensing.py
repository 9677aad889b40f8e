import numpy as np
import pytest

from archtrial.statistics.condensing import condense


def spread(scores, weights):
    """The variance of the mean, as the comparison computes it."""
    return np.var(weights @ scores, ddof=1) / scores.shape[1]


@pytest.mark.parametrize("kind", ["right or wrong", "errors", "alike"])
def test_few_examples_have_the_variances_of_many(kind):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(7, 3000)) + rng.normal(size=3000)
    if kind == "right or wrong":
        scores = (scores > 0).astype(np.float32)
    if kind == "alike":  # two runs the same, one a sum of others, one constant
        scores[3], scores[4], scores[5] = scores[0], scores[1] - scores[2], 0.25
    few = condense(list(scores))
    assert few.shape == (7, 8)
    assert few.mean(axis=1) == pytest.approx(np.zeros(7), abs=1e-12)
    for _ in range(20):
        weights = rng.normal(size=7)
        wanted = spread(scores.astype(np.float64), weights)
        assert spread(few, weights) == pytest.approx(wanted, rel=1e-7)
    same = np.array([1.0, 0, 0, -1, 0, 0, 0])
    if kind == "alike":
        assert spread(few, same) == pytest.approx(0, abs=1e-12)


def test_the_examples_order_and_division_alter_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    scores = (rng.random(size=(5, 1000)) < 0.7).astype(np.float32)
    whole = condense(list(scores))
    monkeypatch.setattr("archtrial.statistics.condensing._BLOCK", 64)
    assert (condense(list(scores[:, rng.permutation(1000)])) == whole).all()

import numpy as np
import pytest

from archtrial.statistics import Search
from archtrial.statistics.search import Reading


@pytest.fixture(scope="session")
def make_reading():
    """Builds trials whose validation and test scores are related, ties on request."""

    def build(seed, n=16, tied=False, shift=0.0, diverged=0):
        rng = np.random.default_rng(seed)
        score = rng.normal(0.7, 0.1, n) + shift
        validation = score + rng.normal(0, 0.03, n)
        if tied:
            validation = np.round(validation, 1)
        stopped = np.arange(n) < diverged
        validation[stopped] = score[stopped] = 0.1
        return Reading(validation, score, None, stopped, 0.1)

    return build


@pytest.fixture(scope="session")
def make_search():
    """Builds the search of an arm on a surface of one hyperparameter."""

    def build(name, seed, n=16, gain=0.0, examples=200, draws=0, diverged=0, **given):
        rng = np.random.default_rng(seed)
        # The draws of the hyperparameter are shared by arms of one `draws`.
        h = np.random.default_rng(draws).random(n)
        quality = 0.75 - 0.6 * (h - 0.6) ** 2 + gain
        fields = {
            "validation": quality + rng.normal(0, 0.01, n),
            "diverged": np.arange(n) < diverged,
            "cost": np.ones(n),
            "winner_seeds": quality.max() + rng.normal(0, 0.01, 10),
        }
        fields["validation"][:diverged] = 0.1
        for kind in ("examples", "examples_run"):
            fields[kind] = 1.0 * (rng.random((n, examples)) < quality[:, None])
        fields["test"] = fields["examples"].mean(axis=1)
        fields["test_run"] = fields["examples_run"].mean(axis=1)
        return Search(name=name, worst=0.1, **{**fields, **given})

    return build

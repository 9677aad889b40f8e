import sys

import numpy as np
import pytest
from opda.parametric import NoisyQuadraticDistribution
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics.ceiling import _noisy_quadratic, _Tail, ceiling
from archtrial.statistics.search import Search


def search(scores, hyperparameters=1, **given):
    n = len(scores)
    fields = {
        "validation": scores,
        "test": np.full(n, np.nan),
        "test_run": scores,
        "diverged": np.zeros(n, dtype=bool),
        "cost": np.ones(n),
        "worst": 0.0,
        # Whose number bounds that of those that matter.
        "positions": {str(i): np.zeros(n) for i in range(hyperparameters)},
    }
    return Search(name="arm", **(fields | given))


def drawn(n, seed, shape=1, noise=0.01):
    truth = NoisyQuadraticDistribution(0.5, 0.8, shape, noise)
    return truth.sample(n, generator=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def found():
    return ceiling(search(drawn(128, 0)))


def test_the_optimum_of_a_known_surface_is_found(found):
    assert found.kind == "model"
    assert found.scored_on == "test"
    assert found.trials == 128
    assert found.reason is None
    # Well below the best score seen, which has the luck of its noise.
    assert found.score.estimate == pytest.approx(0.8, abs=0.01)
    assert drawn(128, 0).max() > 0.81
    assert found.score.low < found.score.estimate < found.score.high
    assert found.score.high - found.score.low < 0.03
    assert found.hyperparameters == 1
    assert found.noise == pytest.approx(0.01, abs=0.004)
    assert found.back_test.effort == 32
    assert found.back_test.passed


def test_the_order_of_the_trials_does_not_show(found):
    scores = np.random.default_rng(0).permutation(drawn(128, 0))
    assert ceiling(search(scores)) == found


def test_the_unit_of_the_score_does_not_show(found):
    there = ceiling(search(100 * drawn(128, 0) - 30))
    for end in ("estimate", "low", "high"):
        mine = 100 * getattr(found.score, end) - 30
        assert getattr(there.score, end) == pytest.approx(mine, abs=0.05)


def test_of_what_lies_below_the_tail_the_number_alone_counts(found):
    scores = drawn(128, 0)
    diverged = scores < np.quantile(scores, 0.3)
    stopped = np.where(diverged, -5.0, scores)
    there = ceiling(search(stopped, diverged=diverged))
    assert there.score == found.score


def test_the_tail_starts_above_the_runs_that_diverged():
    # Even where the constant predictor does better than half of the trials.
    diverged = np.arange(128) < 10
    scores = np.where(diverged, 0.76, drawn(128, 0))
    above = np.sort(scores[scores > 0.76])
    assert len(above) < 64 - 10
    tail = _Tail(above, 128 - len(above), 0.76, range(1, 2), float("inf"))
    found = ceiling(search(scores, diverged=diverged))
    assert found.score == tail.interval(0.05)[1]


def test_no_ceiling_above_what_the_metric_allows():
    there = ceiling(search(drawn(64, 1)), best=0.803)
    assert there.score.estimate <= there.score.high <= 0.803


def test_without_test_scores_it_is_that_of_validation(found):
    scores = drawn(128, 0)
    there = ceiling(search(scores, test_run=None))
    assert there.scored_on == "validation"
    assert there.score == found.score


# --- refusals ------------------------------------------------------------------


def test_few_trials_get_no_ceiling():
    there = ceiling(search(drawn(63, 0)))
    assert there.reason == "a ceiling takes 64 trials, and there are 63"
    assert (there.score, there.back_test, there.noise) == (None, None, None)


def test_few_different_scores_get_no_ceiling():
    there = ceiling(search(np.round(drawn(64, 0), 2)))
    assert "24 different scores" in there.reason
    assert there.score is None


def test_without_opda_it_says_what_to_install(monkeypatch):
    _noisy_quadratic.cache_clear()
    monkeypatch.setitem(sys.modules, "opda.parametric", None)
    with pytest.raises(ProtocolError, match=r"archtrial\[ceiling\]"):
        ceiling(search(drawn(64, 0)))


# --- the back-test -------------------------------------------------------------


def test_a_jackpot_is_not_foretold():
    # One trial in twelve is far beyond all others: no smooth optimum.
    scores = drawn(96, 0)
    scores[:8] = 1.2 + drawn(8, 1)
    assert not ceiling(search(scores)).back_test.passed


def test_scores_that_stop_short_are_not_foretold():
    # Most trials climb steeply, and the best ones end at a wall.
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.uniform(0, 0.9, 104), rng.uniform(0.9, 0.901, 24)])
    there = ceiling(search(scores)).back_test
    assert there.predicted > there.found.high
    assert not there.passed


# --- the fit -------------------------------------------------------------------


@pytest.mark.parametrize("shape", [1, 2])
def test_the_fit_is_as_good_as_that_of_opda(shape):
    scores = np.sort(drawn(64, 3, shape))
    limit = scores[31]
    tail = _Tail(
        scores[32:], below=32, limit=limit, shapes=range(1, 3), best=float("inf")
    )
    ours = tail.fit()
    theirs = NoisyQuadraticDistribution.fit(
        scores,
        limits=(limit, np.inf),
        constraints={"convex": False, "c": (1, 2)},
        generator=np.random.default_rng(0),
    )
    edges, counts = tail._edges
    spacings = np.diff(theirs.cdf(edges), prepend=0.0, append=1.0)
    assert ours.spacings >= float(np.log(spacings) @ counts) - 0.1
    assert ours.distribution.cdf(edges) == pytest.approx(theirs.cdf(edges), abs=0.02)


def test_the_interval_covers_the_ceiling():
    # Would miss one time in ten: a coverage of 68 % instead of at least 93 %.
    held = 0
    for study in range(20):
        scores = np.sort(drawn(64, study))
        tail = _Tail(scores[32:], 32, scores[31], range(1, 2), float("inf"))
        # What `interval` looks for the ends of, without looking for them.
        lost = tail.fit().spacings - tail.profile(0.8).spacings
        held += lost <= stats.chi2.ppf(0.95, 1) / 2
    assert held >= stats.binom.ppf(0.001, 20, 0.93)


def test_the_ends_of_the_interval_are_where_the_fit_is_that_much_worse():
    scores = np.sort(drawn(64, 1))
    tail = _Tail(scores[32:], 32, scores[31], range(1, 2), float("inf"))
    fit, score = tail.interval(0.05)
    for end in (score.low, score.high):
        # Halved five times, the end is a little outside.
        lost = fit.spacings - tail.profile(end).spacings
        assert 1.92 < lost < 4

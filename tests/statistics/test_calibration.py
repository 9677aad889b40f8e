"""How often the method errs, on surfaces whose truth is known and on real records.

Every test is deterministic. A bound is set so that the claim, if it holds, passes
with 99.9 %; each test says which larger fault it would still miss one time in ten.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from archtrial import space as spaces
from archtrial.statistics import Search, compare
from archtrial.statistics.tuning import Ranking
from archtrial.testing import KnownTruth, Surface

REPETITIONS = 300


def at_most(rate, repetitions=REPETITIONS):
    return stats.binom.ppf(0.999, repetitions, rate)


def at_least(rate, repetitions=REPETITIONS):
    return stats.binom.ppf(0.001, repetitions, rate)


def search(truth, name, study, n):
    """A whole search with one fresh seed for every configuration."""
    arm = SimpleNamespace(name=name)
    surface = truth.surfaces[name]
    runs = []
    for i in range(n):
        drawn = spaces.sample(truth.space, study, i)
        runs.append([truth(arm, drawn, 1000 * study + seed, 1000) for seed in (0, 1)])
    scores = np.array([[list(run.values()) for run in pair] for pair in runs])
    diverged = np.isnan(scores[:, 0, 0])
    scores = np.where(np.isnan(scores), surface.floor, scores)
    return Search(
        name=name,
        validation=scores[:, 0, 0],
        test=scores[:, 1, 1],
        test_run=None,
        diverged=diverged,
        cost=np.ones(n),
        worst=surface.floor,
    )


def studies(truth, n, effort, margin, repetitions=REPETITIONS):
    for study in range(repetitions):
        (found,) = compare(
            search(truth, "a", study, n),
            [search(truth, "b", study, n)],
            effort=effort,
            margin=margin,
            metric="accuracy",
            seed=study,
            permutations=199,
            resamples=800,
        )
        yield found


def covered(found, truth):
    return found.effect.low <= truth <= found.effect.high


def test_an_arm_against_itself_is_rarely_called_better():
    # Would miss one time in ten: false claims in 9.9 % instead of at most 5 %.
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    found = list(studies(truth, 16, 4, margin=0.001))
    claims = sum(f.verdict in ("architecture", "baseline", "tuning") for f in found)
    assert claims <= at_most(0.05)
    assert sum(f.p_value <= 0.05 for f in found) <= at_most(0.06)
    assert sum(covered(f, 0.0) for f in found) >= at_least(0.93)


def test_equal_arms_of_different_tunability_are_rarely_told_apart():
    # The optimum of b is narrow; its peak makes up for that at effort 4 exactly. The
    # plain swap permutation rejects here in a quarter of the studies.
    broad, narrow = Surface(peak=0.8, width=4.0), Surface(peak=0.8, width=1.2)
    gap = KnownTruth({"a": broad, "b": narrow}).delta(4, "a", "b")
    # To first order the search's score is proportional to peak - floor.
    reached = KnownTruth({"b": narrow}).expected(4, "b")
    peak = 0.1 + 0.7 * (1 - gap / (reached - 0.1))
    truth = KnownTruth({"a": broad, "b": Surface(peak=peak, width=1.2)})
    delta = truth.delta(4, "a", "b")
    assert abs(delta) < 0.001
    found = list(studies(truth, 16, 4, margin=0.002))
    # A side; would miss one time in ten: 6.3 % instead of 2.5 %.
    better = sum(f.verdict in ("architecture", "tuning") for f in found)
    worse = sum(f.verdict == "baseline" for f in found)
    assert better <= at_most(0.025)
    assert worse <= at_most(0.025)
    assert sum(covered(f, delta) for f in found) >= at_least(0.93)


def test_divergence_of_one_arm_stays_inside_the_interval():
    # Would miss one time in ten: a coverage of 87.8 % instead of at least 93 %.
    truth = KnownTruth({"a": Surface(), "b": Surface(diverging=0.2)})
    delta = truth.delta(4, "a", "b")
    found = list(studies(truth, 16, 4, margin=0.005))
    assert sum(covered(f, delta) for f in found) >= at_least(0.93)


def test_a_true_effect_is_seen_where_it_should_be():
    truth = KnownTruth({"a": Surface(peak=0.8), "b": Surface(peak=0.83)})
    delta = truth.delta(4, "a", "b")
    assert delta == pytest.approx(0.029, abs=0.002)
    found = list(studies(truth, 32, 4, margin=0.005, repetitions=60))
    claims = sum(f.verdict in ("architecture", "tuning") for f in found)
    assert claims >= 54
    assert sum(covered(f, delta) for f in found) >= at_least(0.93, 60)
    # The power is promised at the effect that is said to be detectable.
    assert np.median([f.minimum_detectable_effect for f in found]) < delta


def published_gap(truth, study, tried):
    """What a paper says: A as it came, B the best of many, each by its own run."""
    scores = {}
    for name, count in (("a", 1), ("b", tried)):
        # Papers have draws of their own, which no study sees.
        found = search(truth, name, 10_000 + study, count)
        scores[name] = float(found.validation.max())
    return scores


def taken_apart(truth, repetitions, margin):
    for study in range(repetitions):
        published = published_gap(truth, study, 20)
        (found,) = compare(
            search(truth, "a", study, 48),
            [search(truth, "b", study, 48)],
            effort=8,
            margin=margin,
            metric="accuracy",
            seed=study,
            permutations=199,
            resamples=800,
            published=published,
        )
        yield published["b"] - published["a"], found


def test_a_gap_between_untuned_and_best_of_twenty_comes_out_as_tuning():
    # The same architecture twice: whatever gap is published, nothing of it is left.
    truth = KnownTruth({"a": Surface(), "b": Surface()})
    found = list(taken_apart(truth, 60, margin=0.02))
    wide = [(gap, f) for gap, f in found if gap >= 0.02]
    assert len(wide) > 30
    assert np.median([gap for gap, _ in wide]) > 0.03
    verdicts = [f.verdict for _, f in wide]
    # Would miss one time in ten: false claims in 14 % instead of at most 5 %.
    assert sum(v in ("architecture", "baseline") for v in verdicts) <= at_most(
        0.05, len(wide)
    )
    assert verdicts.count("tuning") >= 0.8 * len(wide)
    assert set(verdicts) <= {"tuning", "inconclusive", "architecture", "baseline"}
    reached = truth.expected(8, "a")
    covered = {"tuning": 0, "architecture": 0, "selection_luck": 0}
    for gap, f in found:
        parts = f.published
        assert sum(parts[part]["estimate"] for part in covered) == pytest.approx(
            gap, abs=1e-12
        )
        old = reached - (f.baseline_score.estimate - parts["tuning"]["estimate"])
        luck = (f.challenger_score.estimate + parts["selection_luck"]["estimate"]) - (
            reached
        )
        for part, truth_of in (
            ("tuning", old),
            ("architecture", 0.0),
            ("selection_luck", luck),
        ):
            covered[part] += parts[part]["low"] <= truth_of <= parts[part]["high"]
    # Would miss one time in ten: a coverage of 84 % instead of at least 93 %.
    for part, times in covered.items():
        assert times >= at_least(0.93, len(found)), part


def test_a_gain_of_three_points_over_a_tuned_baseline_is_the_architecture():
    truth = KnownTruth({"a": Surface(peak=0.8), "b": Surface(peak=0.83)})
    # Both were tuned alike, so the published gap is the true one.
    published = {name: truth.expected(20, name) for name in "ab"}
    found = []
    for study in range(40):
        (compared,) = compare(
            search(truth, "a", study, 32),
            [search(truth, "b", study, 32)],
            effort=4,
            margin=0.01,
            metric="accuracy",
            seed=study,
            permutations=199,
            resamples=800,
            published=published,
        )
        found.append(compared)
        parts = compared.published
        assert parts["architecture"]["estimate"] == compared.effect.estimate
    assert sum(f.verdict == "architecture" for f in found) >= 36
    assert sum(f.verdict in ("tuning", "equivalent") for f in found) == 0


# --- real records --------------------------------------------------------------


@pytest.fixture(scope="module")
def records():
    root = Path(__file__).parents[2]
    data = Path(os.environ.get("ARCHTRIAL_DATA", root.parent / "shared" / "data"))
    found = {}
    for arm, file in (("alexnet", "alexnet"), ("convnext", "convnext-tiny")):
        path = data / "tuning_records" / arm / f"{file}_tuning.results.jsonl"
        if not path.exists():
            pytest.skip(f"the tuning records are not there: {path}")
        curves = [
            json.loads(line)["learning_curve"] for line in path.read_text().splitlines()
        ]
        found[arm] = np.array([c[-1]["top_1"] if c else 0.0 for c in curves])
    return found


def drawn(records, arm, runs):
    score = records[arm][runs]
    n = len(score)
    return Search(
        name=arm,
        validation=score,
        test=np.full(n, np.nan),
        test_run=score,
        diverged=np.zeros(n, dtype=bool),
        cost=np.ones(n),
        worst=0.0,
    )


def judged(a, b, effort, seed):
    (found,) = compare(
        a,
        [b],
        effort=effort,
        margin=0.005,
        metric="accuracy",
        seed=seed,
        estimand="run",
        paired=False,
        scored_on="validation",
        permutations=199,
        resamples=800,
    )
    return found


def test_the_populations_of_the_real_records(records):
    best = {arm: Ranking(s).expected(s, [8])[0] for arm, s in records.items()}
    assert best["convnext"] - best["alexnet"] == pytest.approx(0.136, abs=5e-4)


# An independent implementation of the same steps claimed ConvNeXt better in these
# shares of 300 subsamples. With 80, each is known to about .05.
@pytest.mark.parametrize(("n", "effort", "power"), [(16, 4, 0.09), (32, 8, 0.63)])
def test_real_arms_are_told_apart_as_often_as_elsewhere(records, n, effort, power):
    best = {arm: Ranking(s).expected(s, [effort])[0] for arm, s in records.items()}
    delta = best["convnext"] - best["alexnet"]
    rng = np.random.default_rng(0)
    claims, held = 0, 0
    for study in range(80):
        a, b = (
            drawn(records, arm, rng.choice(512, n, replace=False))
            for arm in ("alexnet", "convnext")
        )
        found = judged(a, b, effort, study)
        assert found.verdict != "baseline"
        claims += found.verdict in ("architecture", "tuning")
        held += covered(found, delta)
    low, high = stats.binom.ppf([0.0005, 0.9995], 80, power)
    assert low <= claims <= high
    assert held >= at_least(0.95, 80)


@pytest.mark.parametrize("arm", ["alexnet", "convnext"])
def test_halves_of_a_real_arm_are_rarely_told_apart(records, arm):
    # Would miss one time in ten: false claims in 12 % instead of at most 5 %.
    rng = np.random.default_rng(0)
    found = []
    for study in range(150):
        runs = rng.permutation(512)[:64]
        halves = (drawn(records, arm, half) for half in np.split(runs, 2))
        found.append(judged(*halves, 8, study))
    claims = sum(f.verdict in ("architecture", "baseline", "tuning") for f in found)
    assert claims <= at_most(0.05, 150)
    assert sum(covered(f, 0.0) for f in found) >= at_least(0.95, 150)

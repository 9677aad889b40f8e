import dataclasses
import importlib.resources
import json
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archtrial.errors import ProtocolError, RecordsError
from archtrial.statistics import (
    Estimate,
    Robustness,
    Row,
    Search,
    compare,
    comparison,
    decide,
    holm,
    measuring,
)
from archtrial.statistics.comparison import FRACTIONS
from archtrial.statistics.planning import least_p
from archtrial.statistics.verdict import Copies
from archtrial.words import verdict as words

SCHEMA = json.loads(
    (
        importlib.resources.files("archtrial.statistics") / "verdict.schema.json"
    ).read_text()
)
TERMS = {
    "effort": 4,
    "margin": 0.005,
    "metric": "accuracy",
    "seed": 7,
    "permutations": 499,
    "resamples": 800,
}


def judged(baseline, *challengers, **given):
    return compare(baseline, challengers, **(TERMS | given))


def metric_of(comparison):
    """What the words need to know of its scores."""
    return SimpleNamespace(
        name=comparison.metric,
        higher_is_better=comparison.higher_is_better,
        bounded=comparison.metric in FRACTIONS,
    )


def told(comparison):
    """The comparison in words."""
    document = comparison.to_dict()
    metric = words.digits([document], metric_of(comparison))
    return words.sentence(document, metric=metric).replace("\u00a0", " ")


def warned(comparison):
    """What a reader must know beside it, in words."""
    metric = metric_of(comparison)
    return [words.warning(caution, metric) for caution in comparison.cautions]


def checked(comparison):
    """The comparison's document, after the schema has seen it."""
    said = {"sentence": told(comparison), "warnings": warned(comparison)}
    document = {
        "schema": 2,
        "study": {"protocol_hash": "0", "data": "d", "seed": 0},
        "comparisons": [comparison.to_dict() | said],
    }
    again = json.loads(json.dumps(document, allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(again)
    return again["comparisons"][0]


# --- the table, row by row -----------------------------------------------------


def decided(low, estimate, high, p=0.001, **given):
    terms = {"alpha": 0.05, "margin": 0.01, "catch_up": "unknown"} | given
    return decide(Estimate(estimate, low, high), p, **terms)


@pytest.mark.parametrize(
    ("effect", "given", "verdict"),
    [
        ((0.02, 0.03, 0.04), {"sound": False}, "not_assessable"),
        ((-0.009, 0.0, 0.009), {"published_gap": 0.01}, "tuning"),
        ((-0.009, 0.0, 0.009), {"published_gap": 0.009}, "equivalent"),
        ((-0.009, 0.0, 0.009), {}, "equivalent"),
        ((0.001, 0.005, 0.009), {}, "equivalent"),
        ((-0.009, 0.0, 0.01), {}, "inconclusive"),
        ((-0.01, 0.0, 0.009), {}, "inconclusive"),
        ((-0.04, -0.03, -0.02), {}, "baseline"),
        ((-0.04, -0.01, -0.001), {}, "baseline"),
        ((-0.04, -0.009, -0.001), {}, "inconclusive"),
        ((-0.04, -0.03, 0.0), {}, "inconclusive"),
        ((-0.04, -0.03, -0.02), {"p": 0.051}, "inconclusive"),
        ((-0.04, -0.03, -0.02), {"published_gap": 0.1}, "baseline"),
        ((0.02, 0.03, 0.04), {"catch_up": "yes"}, "tuning"),
        ((0.02, 0.03, 0.04), {"catch_up": "no"}, "architecture"),
        ((0.02, 0.03, 0.04), {}, "architecture"),
        ((0.02, 0.03, 0.04), {"p": 0.05}, "architecture"),
        ((0.02, 0.03, 0.04), {"p": 0.051}, "inconclusive"),
        ((0.0, 0.03, 0.04), {}, "inconclusive"),
        ((0.001, 0.009, 0.04), {}, "inconclusive"),
        ((0.02, 0.03, 0.04), {"published_gap": 0.1}, "architecture"),
    ],
)
def test_each_row_of_the_table(effect, given, verdict):
    assert decided(*effect, **given) == verdict


def test_nothing_is_decided_without_numbers():
    terms = {"alpha": 0.05, "margin": 0.01, "catch_up": "unknown"}
    assert decide(None, None, **terms) == "not_assessable"
    assert decide(Estimate(0, 0, 0), None, **terms) == "not_assessable"


# --- from searches to verdicts -------------------------------------------------


def test_a_clear_gain_is_the_architecture(make_search):
    (found,) = judged(make_search("mlp", 1), make_search("cnn", 2, gain=0.2))
    assert (found.verdict, found.strong, found.catch_up) == (
        "architecture",
        True,
        "unknown",
    )
    assert told(found) == (
        "Yes, the architecture matters. After 4 tries each, cnn reaches"
        f" {100 * found.challenger_score.estimate:.0f} %, mlp"
        f" {100 * found.baseline_score.estimate:.0f} %:"
        f" {100 * found.effect.estimate:.0f} percentage points more"
        f" ({100 * found.effect.low:.0f} to {100 * found.effect.high:.0f}). Whether mlp"
        " gets there with more tuning is not settled; 64 settings would test 4 times"
        " cnn's effort."
    )
    document = checked(found)
    assert document["effect"]["low"] > 0.005
    assert document["tuning_to_match"]["would_settle"] == 64
    assert document["other_reading"]["verdict"] == "architecture"
    assert document["would_settle"] is None


def test_a_clear_loss_is_the_baselines(make_search):
    (found,) = judged(make_search("mlp", 1, gain=0.2), make_search("cnn", 2))
    assert found.verdict == "baseline"
    assert told(found).startswith(
        "No, the baseline is better. After 4 tries each, mlp reaches"
    )
    assert told(found).endswith("The change of architecture does harm.")
    assert not found.strong
    checked(found)


def test_the_same_arm_twice_is_equivalent_within_a_wide_margin(make_search):
    a, b = (make_search(n, s, examples=4000) for n, s in (("a", 1), ("b", 2)))
    (found,) = judged(a, b, margin=0.05)
    assert found.verdict == "equivalent"
    assert "No difference worth having." in told(found)
    assert "b and a end within 5 points of each other" in told(found)
    assert "ahead" not in told(found)
    checked(found)


@pytest.mark.parametrize(("gain", "leader"), [(0.03, "b"), (-0.03, "a")])
def test_a_real_but_small_effect_is_equivalent_and_says_so(make_search, gain, leader):
    a, b = (
        make_search("a", 1, examples=4000),
        make_search("b", 2, gain=gain, examples=4000),
    )
    (found,) = judged(a, b, margin=0.06)
    assert found.verdict == "equivalent"
    assert f"{leader} is ahead, but by less than is worth having." in told(found)


def test_a_small_study_is_inconclusive_and_says_what_would_settle_it(make_search):
    (found,) = judged(make_search("a", 1), make_search("b", 2, gain=0.03))
    assert found.verdict == "inconclusive"
    assert found.reason is None
    assert "Undecided. b looks " in told(found)
    document = checked(found)
    settled = document["would_settle"]
    assert settled["configurations"] or settled["test_examples"]
    assert document["minimum_detectable_effect"] > 0.03


def test_an_inconclusive_study_without_examples_asks_for_configurations(make_search):
    arms = [
        dataclasses.replace(make_search(n, s, gain=g), examples=None, examples_run=None)
        for n, s, g in (("a", 1, 0.0), ("b", 2, 0.02))
    ]
    (found,) = judged(*arms)
    assert found.verdict == "inconclusive"
    assert (
        f"About {found.would_settle.configurations} settings would settle it"
        in told(found)
    )
    assert found.test_set_floor is None
    assert any("this very test set" in w for w in warned(found))
    checked(found)


def test_a_baseline_that_gets_there_with_more_trials_makes_it_tuning():
    # B is always good; A is as good, but only in three trials of ten.
    n = 256
    rng = np.random.default_rng(0)
    good = rng.random(n) < 0.3
    quality = np.where(good, 0.9, 0.6) + rng.normal(0, 0.005, n)
    a = plain("a", quality)
    b = plain("b", np.full(n, 0.9) + rng.normal(0, 0.005, n))
    (found,) = judged(a, b, margin=0.03, max_multiple=12, estimand="run")
    assert found.catch_up == "yes"
    assert found.verdict == "tuning"
    assert "No, it is the tuning." in told(found)
    assert found.tuning_to_match["multiple"]["high"] <= 12
    checked(found)


def test_a_baseline_that_never_gets_there(make_search):
    (found,) = judged(
        make_search("a", 1, n=80, examples=2000),
        make_search("b", 2, n=80, gain=0.2, examples=2000),
    )
    assert found.catch_up == "no"
    assert told(found).endswith(
        "Even 4 times the tuning does not bring a within half a point of b."
    )
    checked(found)


def plain(name, score, **given):
    score = np.asarray(score, dtype=float)
    n = len(score)
    fields = {
        "validation": score,
        "test": np.full(n, np.nan),
        "test_run": score,
        "diverged": np.zeros(n, dtype=bool),
        "cost": np.ones(n),
        "worst": 0.0,
    }
    return Search(name=name, **(fields | given))


def test_published_numbers_that_nobody_tuned_for_are_tuning(make_search):
    # The user's own case: A as it came, B the best of 20, and no true difference.
    a, b = (make_search(n, s, examples=4000) for n, s in (("a", 1), ("b", 2)))
    (found,) = judged(a, b, margin=0.03, published={"a": 0.65, "b": 0.77})
    assert found.verdict == "tuning"
    assert told(found).startswith(
        "No, it is the tuning. The published gap of 12.0 percentage points comes from"
    )
    parts = checked(found)["published"]
    total = sum(
        parts[part]["estimate"] for part in ("tuning", "architecture", "selection_luck")
    )
    assert total == pytest.approx(parts["gap"]) == pytest.approx(0.12)
    assert parts["tuning"]["low"] > 0.05
    for part in ("tuning", "selection_luck"):
        assert parts[part]["low"] < parts[part]["estimate"] < parts[part]["high"]


def test_published_numbers_of_arms_as_tuned_do_not_hide_a_gain(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.2)
    (found,) = judged(a, b, published={"a": 0.75, "b": 0.95})
    assert found.verdict == "architecture"


def test_published_numbers_of_others_say_nothing(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.2)
    (found,) = judged(a, b, published={"a": 0.75})
    assert found.published is None
    with pytest.raises(ProtocolError, match="include the baseline's"):
        judged(a, b, published={"b": 0.75})


def test_published_numbers_keep_the_metrics_own_direction(make_search):
    # Errors: what was published as .35 and .23 is a gain of .12. The caller turns
    # scores round, so the searches hold what is left to 0.
    def errors(name, seed):
        found = make_search(name, seed, examples=4000)
        return dataclasses.replace(
            found,
            **{
                field: getattr(found, field) - 1
                for field in (
                    *("validation", "test", "test_run", "worst"),
                    *("examples", "examples_run", "winner_seeds"),
                )
            },
        )

    (found,) = judged(
        errors("a", 1),
        errors("b", 2),
        margin=0.03,
        metric="error_rate",
        fraction=True,
        higher_is_better=False,
        published={"a": 0.35, "b": 0.23},
    )
    assert found.verdict == "tuning"
    parts = checked(found)["published"]
    assert parts["gap"] == pytest.approx(0.12)
    # Tuned, the baseline's error is lower than published: a gain by tuning.
    assert found.baseline_score.estimate < 0.3
    assert parts["tuning"]["estimate"] == pytest.approx(
        0.35 - found.baseline_score.estimate
    )
    assert parts["tuning"]["low"] == pytest.approx(0.35 - found.baseline_score.high)
    assert parts["selection_luck"]["low"] == pytest.approx(
        found.challenger_score.low - 0.23
    )
    total = sum(parts[p]["estimate"] for p in parts if p != "gap")
    assert total == pytest.approx(parts["gap"], abs=1e-12)


def test_parts_of_a_published_gap_allow_for_the_test_set(make_search):
    small, large = (
        judged(
            *(make_search(n, s, examples=size) for n, s in (("a", 1), ("b", 2))),
            published={"a": 0.6, "b": 0.8},
        )[0].published
        for size in (50, 5000)
    )
    for part in ("tuning", "architecture", "selection_luck"):
        widths = [p[part]["high"] - p[part]["low"] for p in (small, large)]
        assert widths[0] > 1.5 * widths[1]


# --- a test set of which only the size is known --------------------------------


def without_examples(search):
    return dataclasses.replace(search, examples=None, examples_run=None)


def test_a_known_size_of_the_test_set_widens_every_interval(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.1)
    (exact,) = judged(a, b)
    bare = without_examples(a), without_examples(b)
    (unknown,) = judged(*bare)
    (bounded,) = judged(*bare, test_size=200)
    assert unknown.test_set_floor is None
    assert bounded.test_set_floor > exact.test_set_floor > 0
    for score in ("effect", "baseline_score", "challenger_score"):
        widths = [
            getattr(found, score).high - getattr(found, score).low
            for found in (unknown, exact, bounded)
        ]
        assert widths == sorted(widths)
        assert len(set(widths)) == 3
    assert bounded.minimum_detectable_effect > unknown.minimum_detectable_effect
    assert not any("this very test set" in w for w in warned(bounded))
    assert any("a test set of 200 examples can" in w for w in warned(bounded))
    checked(bounded)
    # What the examples themselves tell is better than a bound.
    assert judged(a, b, test_size=200)[0].effect == exact.effect


def test_a_small_test_set_of_known_size_is_what_an_open_question_hangs_on(make_search):
    arms = [
        without_examples(make_search(n, s, gain=g, examples=4000))
        for n, s, g in (("a", 1, 0.0), ("b", 2, 0.02))
    ]
    (found,) = judged(*arms, test_size=300)
    assert found.verdict == "inconclusive"
    assert found.would_settle.configurations is None
    assert found.would_settle.test_examples > 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test_size": 1}, "a test set has at least 2 examples"),
        ({"test_size": 100, "metric": "rmse"}, "the metric rmse"),
        ({"test_size": 100, "metric": "auroc"}, "the metric auroc"),
        ({"test_size": 100, "metric": "f1", "fraction": True}, "the metric f1"),
        ({"test_size": 100, "scored_on": "validation"}, "there are no test scores"),
    ],
)
def test_where_a_size_bounds_nothing_it_is_refused(make_search, given, message):
    a, b = make_search("a", 1), make_search("b", 2)
    with pytest.raises(ProtocolError, match=message):
        judged(a, b, **given)
    percent = dataclasses.replace(without_examples(b), test=100 * b.test)
    with pytest.raises(ProtocolError, match=r"a test score of .* in b"):
        judged(a, percent, test_size=100)


def test_too_few_configurations_are_not_assessable(make_search):
    (found,) = judged(make_search("a", 1, n=15), make_search("b", 2, n=15))
    assert found.verdict == "not_assessable"
    assert found.effect is None
    assert told(found) == (
        "No verdict. b and a cannot be compared: an effort of 4 takes 16 configurations of each"
        " arm at least, and there are 15."
    )
    assert checked(found)["effect"] == {"estimate": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("n", "paired", "least"),
    [(4, True, 1 / 8), (6, True, 1 / 32), (4, False, 1 / 35), (5, False, 1 / 126)],
)
def test_no_gain_is_large_enough_for_too_few_configurations(
    make_search, n, paired, least
):
    a, b = make_search("a", 1, n=n), make_search("b", 2, n=n, gain=0.5)
    (found,) = judged(a, b, effort=1, paired=paired)
    # All labels are dealt at random, so this p is known by chance alone.
    assert found.p_value == pytest.approx(least, rel=1e-9 if paired else 0.6)
    assert least_p(n, n, paired=paired) == pytest.approx(least)
    assert (found.minimum_detectable_effect is None) == (least > 0.05)
    assert ("no gap is ever claimed" in told(found)) == (least > 0.05)
    if least > 0.05:
        assert found.verdict == "inconclusive"
        assert found.would_settle.configurations == 8
    checked(found)


def test_what_would_settle_it_can_be_claimed_among_many(make_search):
    arms = [make_search(str(j), j, n=8, gain=0.5 * (j > 0)) for j in range(9)]
    (found, *_) = judged(arms[0], *arms[1:], effort=1)
    assert found.p_value == pytest.approx(2 / 2**8)
    assert (found.verdict, found.minimum_detectable_effect) == ("inconclusive", None)
    assert found.would_settle.configurations == 16


def test_an_unsound_comparison_has_numbers_but_no_verdict(make_search):
    (found,) = judged(
        make_search("a", 1), make_search("b", 2, gain=0.2), unsound=["x piles up"]
    )
    assert found.verdict == "not_assessable"
    assert told(found) == "No verdict. b and a cannot be compared: x piles up."
    assert found.effect.low > 0
    checked(found)


def test_a_reading_by_run_that_fresh_seeds_contradict_is_inconclusive(make_search):
    a, b = make_search("a", 1), make_search("b", 2)
    # The runs that b's search picks are lucky; on fresh seeds it fails.
    b = dataclasses.replace(
        b,
        test=b.test - 0.3,
        examples=b.examples - 0.3,
        test_run=b.test_run + 0.2,
        examples_run=b.examples_run + 0.2,
    )
    (found,) = judged(a, b, estimand="run")
    assert found.effect.low > 0
    assert found.verdict == "inconclusive"
    assert found.reason == (
        "depends on seed failure: by run the verdict is architecture, by configuration"
        " baseline"
    )
    assert "Undecided. The answer depends on seed failure" in told(found)
    assert found.would_settle is None
    assert checked(found)["other_reading"]["estimand"] == "configuration"
    # Nor are independent draws decided by fresh seeds alone.
    (both,) = judged(a, b)
    assert both.verdict == "inconclusive"
    assert both.reason == (
        "depends on seed failure: by configuration the verdict is baseline, by run"
        " architecture"
    )


def test_where_trials_fill_the_space_evenly_fresh_seeds_decide(make_search):
    a, b = make_search("a", 1), make_search("b", 2)
    b = dataclasses.replace(
        b,
        test=b.test - 0.3,
        examples=b.examples - 0.3,
        test_run=b.test_run + 0.2,
        examples_run=b.examples_run + 0.2,
    )
    even = [dataclasses.replace(each, stratified=True) for each in (a, b)]
    (fresh,) = judged(*even)
    assert (fresh.verdict, fresh.reason) == ("baseline", None)
    assert warned(fresh)[0] == (
        "By run, the seeds that were picked included, the verdict would be architecture,"
        " which tells of seed failure; fresh seeds decide."
    )
    (run,) = judged(*even, estimand="run")
    assert run.verdict == "inconclusive"


def test_several_challengers_share_the_level(make_search):
    a = make_search("a", 1)
    arms = [make_search(name, s, gain=0.03) for name, s in (("b", 2), ("c", 3))]
    both = judged(a, *arms)
    for found, arm in zip(both, arms, strict=True):
        (alone,) = judged(a, arm)
        (halved,) = judged(a, arm, alpha=0.025)
        assert found.p_value == alone.p_value
        assert found.effect == halved.effect
        assert found.effect.low < alone.effect.low
        level = words.beside(found.to_dict(), 2)
        assert level.startswith("97.5\u00a0% interval")
        checked(found)
    assert [f.p_value_adjusted for f in both] == holm([f.p_value for f in both])


def test_stand_ins_are_validation_scores_and_never_test_runs(make_search):
    a, b = make_search("a", 1), make_search("b", 2)

    def unconfirmed(search, **given):
        lowest = np.argsort(search.validation)[:6]
        test, examples = search.test.copy(), search.examples.copy()
        test[lowest] = examples[lowest] = np.nan
        return dataclasses.replace(search, test=test, examples=examples, **given)

    (found,) = judged(unconfirmed(a), unconfirmed(b))
    moved = {"test_run": None, "examples_run": None}
    (without,) = judged(unconfirmed(a, **moved), unconfirmed(b, **moved))
    assert found.effect == without.effect
    assert without.other_reading is None
    checked(found)


def test_the_reading_must_be_allowed_by_the_records(make_search):
    a, b = make_search("a", 1), make_search("b", 2)
    bare = dataclasses.replace(b, test=np.full(16, np.nan), examples=None)
    with pytest.raises(ProtocolError, match="reading by configuration") as caught:
        judged(a, bare)
    assert "Choose the reading by run." in str(caught.value)
    (found,) = judged(a, bare, estimand="run")
    assert any("luck of the seeds" in w for w in warned(found))
    neither = dataclasses.replace(bare, test_run=None)
    with pytest.raises(ProtocolError, match="reading by run") as caught:
        judged(a, neither, estimand="run")
    assert "Choose" not in str(caught.value)
    with pytest.raises(ProtocolError, match="by run needs the test scores"):
        neither.reading("run")


def test_scores_on_validation_are_called_that(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.2)
    (found,) = judged(a, b, scored_on="validation")
    assert " reaches a validation accuracy of " in told(found)
    assert any("There are no test scores" in w for w in warned(found))
    checked(found)


def test_a_metric_of_which_less_is_better_keeps_its_units(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.2)
    (up,) = judged(a, b)
    # The caller turns scores round, so the arrays are the same.
    (down,) = judged(a, b, metric="log_loss", higher_is_better=False)
    assert down.effect == up.effect
    assert down.baseline_score.estimate == -up.baseline_score.estimate
    assert down.baseline_score.low == -up.baseline_score.high
    assert " reaches a log loss of " in told(down)
    assert "points" not in told(down)
    checked(down)


def test_arms_of_different_cost(make_search):
    a = make_search("a", 1, n=32)
    b = make_search("b", 2, n=32, gain=0.2, cost=np.full(32, 2.0))
    (found,) = judged(a, b)
    equal = checked(found)["effect_at_equal_compute"]
    assert (equal["baseline_effort"], equal["challenger_effort"]) == (8, 4)
    assert equal["estimate"] != found.effect.estimate
    assert found.tuning_to_match["reportable_up_to"] == 1.0
    assert found.tuning_to_match["would_settle"] == 128
    (unpaired,) = judged(a, b, paired=False)
    assert unpaired.effect_at_equal_compute["p_value"] > 0
    checked(unpaired)


def test_arms_that_cannot_be_had_at_equal_compute(make_search):
    a = make_search("a", 1)
    b = make_search("b", 2, gain=0.2, cost=np.full(16, 50.0))
    (found,) = judged(a, b)
    assert found.effect_at_equal_compute is None
    assert any("no comparison at equal compute" in w for w in warned(found))
    checked(found)


@pytest.mark.parametrize("own", ["a", "b", "ab"])
def test_arms_whose_compute_has_no_unit_in_common(make_search, own):
    """Such as operations of a network and seconds of a random forest."""
    unit = np.full(32, np.nan)
    a = make_search("a", 1, n=32, **({"cost": unit} if "a" in own else {}))
    b = make_search("b", 2, n=32, gain=0.2, **({"cost": unit} if "b" in own else {}))
    (found,) = judged(a, b)
    (same,) = judged(make_search("a", 1, n=32), make_search("b", 2, n=32, gain=0.2))
    document = checked(found)
    assert document["effect_at_equal_compute"] is None
    assert document["tuning_to_match"] == {**same.tuning_to_match, "unit": "trials"}
    assert "unit" not in same.tuning_to_match
    assert (found.verdict, found.effect) == (same.verdict, same.effect)
    said = [w for w in warned(found) if "has no unit in common" in w]
    assert said == [
        "What a and b cost has no unit in common: how they compare at equal compute is"
        " not assessable, and their tuning is compared in tries."
    ]
    assert "compute)" not in told(found)
    checked(judged(a, b, paired=False)[0])


def test_costs_are_of_one_unit_in_an_arm(make_search):
    half = np.where(np.arange(16) < 8, np.nan, 1.0)
    with pytest.raises(RecordsError, match="positive number"):
        make_search("a", 1, cost=half)


def without_seeds(search, ranks):
    """The search without fresh seeds at some ranks, 0 the lowest validation."""
    chosen = np.argsort(search.validation)[ranks]
    test, examples = search.test.copy(), search.examples.copy()
    test[chosen] = examples[chosen] = np.nan
    return dataclasses.replace(search, test=test, examples=examples)


def test_no_effect_at_equal_compute_rests_on_stand_ins(make_search):
    # 15 of 1,820 searches of 4 end among the lowest 6 of 16, but 15 of 120 of 2.
    a = without_seeds(make_search("a", 1), slice(6))
    b = without_seeds(make_search("b", 2, gain=0.2, cost=np.full(16, 2.0)), slice(6))
    for paired in (True, False):
        (found,) = judged(a, b, paired=paired)
        assert found.effect.low > 0
        assert checked(found)["effect_at_equal_compute"] is None
        assert (
            "At equal compute (a best of 4, b best of 2) nothing is claimed: 12.5\u00a0% of"
            " an arm's expected score would rest on configurations that were not"
            " trained again on fresh seeds."
        ) in warned(found)
    (turned,) = judged(b, a)
    assert turned.effect_at_equal_compute is None
    (by_run,) = judged(a, b, estimand="run")
    assert by_run.effect_at_equal_compute["challenger_effort"] == 2


def test_equal_compute_goes_down_to_efforts_that_are_known(make_search):
    # The best trial carries k / n of the weight: too much at 4, not at 2.
    a = without_seeds(make_search("a", 1, n=256), [-1])
    b = make_search("b", 2, n=256, gain=0.1, cost=np.full(256, 2.0))
    equal = judged(a, b, effort=2)[0].effect_at_equal_compute
    assert (equal["baseline_effort"], equal["challenger_effort"]) == (2, 1)


def test_claims_at_equal_compute_share_the_level(make_search, monkeypatch):
    monkeypatch.setattr(measuring, "gate_by_signs", lambda *_, **__: 0.04)
    a = make_search("a", 1, n=32)
    b, c = (make_search(n, 2, n=32, gain=0.2, cost=np.full(32, 2.0)) for n in "bc")
    costly = make_search("d", 3, n=32, gain=0.2, cost=np.full(32, 50.0))

    def another(found):
        assert found.verdict == "architecture"
        return any("another one" in warning for warning in warned(found))

    assert not another(judged(a, b)[0])
    assert all(another(found) for found in judged(a, b, c))
    # One that cannot be had at equal compute is still one of two.
    assert another(judged(a, b, costly)[0])


def test_a_verdict_that_compute_turns_round_is_warned_of():
    rng = np.random.default_rng(0)
    h = rng.random(64)
    a = plain("a", 0.9 - 0.5 * h)
    b = plain("b", 0.93 - 0.5 * h, cost=np.full(64, 4.0))
    (found,) = judged(a, b, estimand="run", margin=0.01)
    # Sixteen cheap trials cost what four dear ones do, and A is there with them.
    assert found.verdict == "tuning"
    assert any(
        "At equal compute (a best of 16, b best of 4)" in w for w in warned(found)
    )


def test_baseline_trials_without_a_partner_serve_catching_up(make_search):
    a, b = make_search("a", 1, n=64), make_search("b", 2, gain=0.2)
    (found,) = judged(a, b)
    assert found.configurations == 16
    assert found.tuning_to_match["reportable_up_to"] == 4.0
    assert found.tuning_to_match["would_settle"] is None
    first = {
        f.name: getattr(a, f.name)[:16]
        for f in dataclasses.fields(a)
        if isinstance(getattr(a, f.name), np.ndarray) and f.name != "winner_seeds"
    }
    (short,) = judged(dataclasses.replace(a, **first), b)
    assert (found.effect, found.p_value) == (short.effect, short.p_value)
    checked(found)


def test_challenger_trials_without_a_partner_are_left_out_aloud(make_search):
    (found,) = judged(make_search("a", 1), make_search("b", 2, n=20))
    assert any("last 4 trials of b" in w for w in warned(found))
    assert found.configurations == 16


def test_unpaired_searches(make_search):
    a, b = make_search("a", 1, n=20), make_search("b", 2, n=16, gain=0.2, draws=1)
    (found,) = judged(a, b, paired=False)
    assert found.verdict == "architecture"
    assert any("not paired" in w for w in warned(found))
    checked(found)


def test_divergence_is_told(make_search):
    (found,) = judged(make_search("a", 1, diverged=3), make_search("b", 2))
    assert any("3 of 16 trials of a diverged" in w for w in warned(found))
    checked(found)


def test_winners_without_extra_seeds(make_search):
    a = make_search("a", 1, winner_seeds=None)
    (found,) = judged(a, make_search("b", 2))
    assert found.probability_better["seeds"] is None
    checked(found)


@pytest.mark.parametrize(
    "given",
    [
        {"effort": 0},
        {"margin": 0.0},
        {"margin": float("nan")},
        {"alpha": 0.0},
        {"alpha": 0.5},
        {"max_multiple": 0.0},
    ],
)
def test_impossible_terms_are_refused(make_search, given):
    with pytest.raises(ProtocolError, match=next(iter(given))):
        judged(make_search("a", 1), make_search("b", 2), **given)


def test_a_comparison_needs_a_challenger(make_search):
    with pytest.raises(ProtocolError, match="at least one challenger"):
        judged(make_search("a", 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test": np.ones(3)}, "one value of each kind"),
        ({"validation": np.full(16, np.nan)}, "validation scores of a are finite"),
        ({"test": np.full(16, np.inf)}, "test scores of a are finite"),
        ({"cost": np.zeros(16)}, "positive number"),
    ],
)
def test_scores_that_are_none_are_refused(make_search, given, message):
    with pytest.raises(RecordsError, match=message):
        make_search("a", 1, **given)


# --- laws ----------------------------------------------------------------------

ARMS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "n": st.integers(8, 12),
        "tied": st.booleans(),
        "paired": st.booleans(),
        "diverged": st.integers(0, 2),
    }
)
QUICK = {"effort": 2, "permutations": 99, "resamples": 400, "estimand": "run"}


def two_arms(terms):
    rng = np.random.default_rng(terms["seed"])
    n = terms["n"]
    arms = []
    for name, gain in (("a", 0.0), ("b", rng.normal(0, 0.1))):
        score = rng.normal(0.6, 0.1, n) + gain
        validation = np.round(score + rng.normal(0, 0.02, n), 1 if terms["tied"] else 9)
        stopped = np.arange(n) < terms["diverged"]
        validation[stopped] = score[stopped] = 0.1
        arms.append(
            plain(
                name,
                validation,
                test_run=score,
                diverged=stopped,
                worst=0.1,
                cost=rng.uniform(1, 2, n),
                examples_run=score[:, None] + rng.normal(0, 0.1, (n, 20)),
            )
        )
    return arms


@settings(max_examples=40, deadline=None)
@given(ARMS)
def test_swapping_the_labels_turns_everything_round(terms):
    a, b = two_arms(terms)
    there = judged(a, b, paired=terms["paired"], **QUICK)[0]
    back = judged(b, a, paired=terms["paired"], **QUICK)[0]
    assert back.effect == Estimate(
        -there.effect.estimate, -there.effect.high, -there.effect.low
    )
    assert back.p_value == there.p_value
    assert back.baseline_score == there.challenger_score
    mirrored = {"baseline": "architecture", "architecture": "baseline"}
    if "tuning" not in (there.verdict, back.verdict):
        assert back.verdict == mirrored.get(there.verdict, there.verdict)
    assert back.effect_at_equal_compute["p_value"] == pytest.approx(
        there.effect_at_equal_compute["p_value"]
    )


@settings(max_examples=40, deadline=None)
@given(ARMS, st.randoms(use_true_random=False))
def test_the_order_of_the_trials_changes_nothing(terms, random):
    a, b = two_arms(terms)
    there = judged(a, b, paired=terms["paired"], **QUICK)[0]
    n = terms["n"]
    order = np.array(random.sample(range(n), n))

    def reordered(search):
        return dataclasses.replace(
            search,
            **{
                f.name: getattr(search, f.name)[order]
                for f in dataclasses.fields(search)
                if isinstance(getattr(search, f.name), np.ndarray)
            },
        )

    again = judged(reordered(a), reordered(b), paired=terms["paired"], **QUICK)[0]
    assert again.effect.estimate == pytest.approx(there.effect.estimate, abs=1e-12)
    assert again.effect.low == pytest.approx(there.effect.low, abs=1e-12)
    assert again.p_value == there.p_value
    assert again.verdict == there.verdict
    assert again.catch_up == there.catch_up


@settings(max_examples=30, deadline=None)
@given(ARMS, st.integers(-6, 6))
def test_the_unit_of_the_score_changes_nothing(terms, exponent):
    a, b = two_arms(terms)
    unit = 2.0**exponent

    def scaled(search):
        return dataclasses.replace(
            search,
            validation=search.validation * unit,
            test_run=search.test_run * unit,
            examples_run=search.examples_run * unit,
            worst=search.worst * unit,
        )

    there = judged(a, b, paired=terms["paired"], **QUICK)[0]
    other = judged(
        scaled(a),
        scaled(b),
        paired=terms["paired"],
        **(QUICK | {"margin": 0.005 * unit}),
    )[0]
    assert other.verdict == there.verdict
    assert other.p_value == there.p_value
    assert other.effect.low == pytest.approx(there.effect.low * unit)


@settings(max_examples=40, deadline=None)
@given(ARMS, st.integers(0, 7), st.floats(0, 1))
def test_better_runs_never_lower_the_effect(terms, which, gain):
    a, b = two_arms(terms)
    score, examples = b.test_run.copy(), b.examples_run.copy()
    score[which] += gain
    examples[which] += gain
    better = dataclasses.replace(b, test_run=score, examples_run=examples)
    there = judged(a, b, paired=terms["paired"], **QUICK)[0]
    then = judged(a, better, paired=terms["paired"], **QUICK)[0]
    assert then.effect.estimate >= there.effect.estimate - 1e-12
    everywhere = dataclasses.replace(
        b,
        test_run=b.test_run + gain,
        examples_run=b.examples_run + gain,
        worst=0.1 + gain,
    )
    shifted = judged(a, everywhere, paired=terms["paired"], **QUICK)[0]
    assert shifted.effect.low == pytest.approx(there.effect.low + gain)
    assert shifted.effect.high == pytest.approx(there.effect.high + gain)


@settings(max_examples=10, deadline=None)
@given(ARMS)
def test_the_same_seed_gives_the_same_bytes_and_names_do_not_matter(terms):
    a, b = two_arms(terms)
    there, again = (
        json.dumps(judged(a, b, paired=terms["paired"], **QUICK)[0].to_dict())
        for _ in range(2)
    )
    assert there == again
    renamed = [dataclasses.replace(s, name=n) for s, n in ((a, "z"), (b, "y"))]
    other = judged(*renamed, paired=terms["paired"], **QUICK)[0]
    assert other.effect == judged(a, b, paired=terms["paired"], **QUICK)[0].effect


def test_another_seed_gives_other_draws(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.01)
    one, other = (judged(a, b, seed=seed)[0] for seed in (1, 2))
    assert one.p_value != other.p_value
    assert one.effect.estimate == other.effect.estimate


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({"schema": 2})


@pytest.mark.parametrize(
    ("gain", "opposite", "expected"),
    [
        (0.2, -0.05, "inconclusive"),
        (0.2, -0.001, "inconclusive"),
        (0.0005, -0.05, "inconclusive"),
        # Too small to be worth having, it contradicts no equivalence.
        (0.0005, -0.001, "equivalent"),
    ],
)
def test_a_sign_that_turns_elsewhere_leaves_the_question_open(
    make_search, monkeypatch, gain, opposite, expected
):
    row = Row(
        name="learning_rate, upper half", kind="half", hyperparameter="learning_rate",
        trials=8, effort=2, estimand="configuration",
        effect=Estimate(opposite, opposite - 0.0005, opposite + 0.0005),
        p_value=0.001, p_value_adjusted=0.001, whole=gain, finding="opposite",
    )  # fmt: skip
    found = Robustness(Estimate(gain, 0, 1), 0.5, (row,), ())
    monkeypatch.setattr(comparison, "robustness", lambda *_, **__: found)
    a = make_search("a", 1)
    b = dataclasses.replace(
        a, name="b", test=a.test + gain, test_run=a.test_run + gain,
        examples=None, examples_run=None,
    )  # fmt: skip
    a = dataclasses.replace(a, examples=None, examples_run=None)
    (compared,) = judged(a, b, elsewhere=True, margin=0.01)
    assert compared.verdict == expected
    said = "the sign of the gain turns (learning_rate, upper half)"
    assert (said in told(compared)) == (expected == "inconclusive")


def test_a_baseline_may_climb_alone(make_search):
    longer = make_search("a", 4, gain=0.1)
    a = make_search("a", 1, rungs={2: longer})
    (found,) = judged(a, make_search("b", 2, gain=0.2))
    first, second = checked(found)["ladder"]["rungs"]
    assert (first["rung"], second["rung"]) == (1, 2)
    assert first["challenger_score"] is not None
    assert second["challenger_score"] is second["effect"] is None
    assert second["baseline_score"]["estimate"] > first["baseline_score"]["estimate"]


def test_a_baseline_that_gets_there_by_longer_training_was_not_beaten(make_search):
    alike = {4: make_search("a", 1, gain=0.21)}
    (found,) = judged(
        make_search("a", 1, rungs=alike), make_search("b", 2, gain=0.2), margin=0.05
    )
    assert (found.verdict, found.catch_up) == ("tuning", "yes")
    assert "but trained 4 times as long, " in told(found)
    checked(found)


# --- test examples that were trained on ------------------------------------------


@pytest.mark.parametrize(
    ("moves", "verdict", "says"),
    [
        (0.01, "architecture", "too few to turn this verdict"),
        (0.4, "not_assessable", "which can move the gain by up to 40 points"),
        (np.inf, "not_assessable", "how much of the gain they make cannot be told"),
    ],
)
def test_copies_undo_what_they_may_have_made(make_search, moves, verdict, says):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.2)
    copies = Copies(3, 200, {"b": moves})
    reasons = {"b": words.copied(copies, "b", SimpleNamespace(bounded=True))}
    copies = dataclasses.replace(copies, reasons=reasons)
    (found,) = judged(a, b, copies=copies)
    assert found.verdict == verdict
    assert sum("3 of 200" in warning for warning in warned(found)) == (moves < 0.1)
    said = (found.reason, *warned(found))
    assert any(says in clause for clause in said if clause is not None)
    checked(found)


def test_a_gain_is_undone_by_what_reaches_the_margin():
    copies = Copies(3, 200, {"b": 0.02})
    # Gains of either sign, and those that are too small to be worth having.
    for gained, decides in [(0.1, False), (0.06, True), (-0.06, True), (0.04, True)]:
        assert copies.decides("b", gained, 0.05) is decides
    assert not copies.decides("b", 0.0, 0.05)

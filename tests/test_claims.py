"""What a study may claim: never that an arm is better which nothing was learnt of."""

import json
import math
from importlib import resources

import jsonschema
import numpy as np
import pytest

from archtrial import Protocol, Study, judge, judge_study
from archtrial.errors import ProtocolError, RecordsError
from archtrial.records.store import Store
from archtrial.records.table import CurvePoint, Run
from archtrial.space import Real
from archtrial.testing import KnownTruth, Surface

SPACE = {"learning_rate": {"type": "real", "low": 1e-4, "high": 1e-1, "log": True}}
RECIPE = {"schedule": "cosine", "warmup": 0.05}


def schema():
    text = resources.files("archtrial.statistics").joinpath("verdict.schema.json")
    return json.loads(text.read_text())


def runs(
    scores, *, n=16, seeds=13, examples=400, curve=None, seed=0, rungs=(1,), lower=False
):
    """Makes the runs of arms: a name and the expected score, or a function of it.

    Single test examples are right by chance with the run's score.
    """
    generator = np.random.default_rng(seed)
    made = []
    for arm, level in scores.items():
        for rung in rungs:
            for pair in range(n):
                at = level(rung) if callable(level) else level
                for number in range(seeds):
                    stage = (
                        "search" if number == 0
                        else "confirm" if number < 4 else "winner"
                    )  # fmt: skip
                    if rung > 1:
                        stage = "ladder" if number == 0 else "ladder confirm"
                    quality = at - 0.001 * pair * (1 - 2 * lower)
                    right = (generator.random(examples) < quality).astype(np.float32)
                    points = curve(arm) if curve else ()
                    made.append(
                        Run(
                            arm, pair, number, stage, {"learning_rate": 10 ** -(1 + pair / 8)},
                            validation=quality + 0.002 * generator.normal(),
                            test=float(right.mean()), per_example=right, curve=points,
                            rung=rung,
                        )
                    )  # fmt: skip
    return made


def protocol(*challengers, **changes):
    return {
        "data": {"name": "made"}, "metric": "accuracy", "higher_is_better": True,
        "fractions": True, "baseline": {"name": "a", "space": {}},
        "challengers": [{"name": c, "space": {}} for c in challengers or ("b",)],
        "margin": 0.005, "alpha": 0.05, "effort": 4, "configurations": 16,
        "max_multiple": 4.0, "estimand": "configuration", "seed": 0, "steps": 60,
        "notes": [], "trainer": "archtrial", "recipe": RECIPE, **changes,
    }  # fmt: skip


def assessed(made, *challengers, constant=0.25, **changes):
    judgement = judge.assess(
        made, protocol=protocol(*challengers, **changes), constant=constant
    )
    jsonschema.validate(judgement.verdict.to_dict(), schema())
    assert judgement.page()
    return judgement


def curved(fast, slow):
    """A curve for each arm under a cosine that flattens both ends."""

    def of(arm):
        pace = {"a": slow, "b": fast}[arm]
        spent = np.cumsum(0.5 * (1 + np.cos(np.pi * np.arange(60) / 60)))
        score = 0.25 + 0.65 * (1 - np.exp(-spent / pace))
        return tuple(
            CurvePoint(step, 1.0, float(score[step - 1])) for step in range(3, 61, 3)
        )

    return of


def test_a_baseline_at_chance_is_no_baseline():
    (found,) = assessed(runs({"a": 0.26, "b": 0.44})).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert not found["strong"]
    assert "a had learned nothing" in found["sentence"]
    assert "--ladder 1,4" in found["sentence"]
    (found,) = assessed(runs({"a": 0.60, "b": 0.70})).verdict.comparisons
    assert (found["verdict"], found["strong"]) == ("architecture", True)
    # Nor is a challenger at chance shown to be worse.
    (found,) = assessed(runs({"a": 0.60, "b": 0.25})).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    # Of several challengers only that one is.
    first, other = assessed(
        runs({"a": 0.60, "b": 0.25, "c": 0.7}), "b", "c"
    ).verdict.comparisons
    assert first["verdict"] == "not_assessable"
    assert other["verdict"] == "architecture"


def test_an_arm_that_learns_when_trained_longer_can_be_judged():
    grown = {"a": lambda rung: 0.26 if rung == 1 else 0.85, "b": 0.44}
    (found,) = assessed(runs(grown, rungs=(1, 4))).verdict.comparisons
    assert found["verdict"] == "tuning"
    (found,) = assessed(runs({"a": 0.26, "b": 0.44}, rungs=(1, 4))).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "--ladder 1,16" in found["sentence"]


def test_an_arm_that_still_learns_is_no_strong_finding():
    made = runs({"a": 0.5, "b": 0.7}, curve=curved(fast=5, slow=200))
    judgement = assessed(made)
    (found,) = judgement.verdict.comparisons
    assert (found["verdict"], found["strong"]) == ("architecture", False)
    assert found["warnings"][0].startswith("a was still learning")
    assert "--ladder 1,4" in found["warnings"][0]
    assert "a was still learning" in str(judgement.verdict)
    page = judgement.page()
    assert "levelled off" not in page
    assert page.index("a was still learning") < page.index("<figure")
    done = runs({"a": 0.5, "b": 0.7}, curve=curved(fast=1, slow=1))
    judgement = assessed(done)
    (found,) = judgement.verdict.comparisons
    assert found["strong"]
    assert not any("still learning" in warning for warning in found["warnings"])
    assert "levelled off" in judgement.page()


def test_hardly_begun_with_so_many_examples_that_chance_is_ruled_out():
    made = runs({"a": 0.29, "b": 0.6}, examples=20000, curve=curved(5, 2000))
    (found,) = assessed(made).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "had only begun to learn" in found["sentence"]


@pytest.mark.parametrize("which", ["a", "b", "both"])
def test_nothing_but_divergence(which):
    made = [
        run
        if which not in (run.arm, "both")
        else Run(
            run.arm, run.pair, run.seed, run.stage, run.configuration, math.nan,
            test=0.25, diverged=True, per_example=np.full(400, 0.25, np.float32),
        )
        for run in runs({"a": 0.5, "b": 0.6})
    ]  # fmt: skip
    (found,) = assessed(made).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "diverged" in found["reason"]


@pytest.mark.parametrize("kind", ["everywhere", "seeds"])
def test_scores_that_hang_on_nothing(kind):
    level = {"everywhere": lambda pair: 0.5, "seeds": lambda pair: 0.5 - pair / 100}
    made = [
        run
        if run.arm == "b"
        else Run(
            run.arm, run.pair, run.seed, run.stage, run.configuration,
            level[kind](run.pair), test=level[kind](run.pair), per_example=run.per_example,
        )
        for run in runs({"a": 0.5, "b": 0.6})
    ]  # fmt: skip
    (found,) = assessed(made).verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "the same" in found["reason"]
    assert "trainer" in found["reason"]


@pytest.mark.parametrize("size", [1e160, -1e200, 1e-170])
def test_scores_whose_squares_are_no_numbers_are_refused(size):
    made = [
        Run(r.arm, r.pair, r.seed, r.stage, r.configuration, size * (1 + r.pair), test=size)
        for r in runs({"a": 0.5, "b": 0.6})
    ]  # fmt: skip
    with pytest.raises(RecordsError, match="squares"):
        assessed(made, metric="mae", constant=None)


def test_copies_in_the_test_set():
    made = runs({"a": 0.50, "b": 0.62})

    def judged(exact, near=0):
        copies = {"exact": exact, "near": near, "of": 400}
        (found,) = assessed(
            made, data={"name": "made", "copies": copies}
        ).verdict.comparisons
        return found

    assert judged(400)["verdict"] == "not_assessable"
    assert "400 of 400 test examples are copies" in judged(400)["reason"]
    few = judged(2, 2)
    assert few["verdict"] == "architecture"
    assert any("4 of 400 test examples" in warning for warning in few["warnings"])
    assert judged(0)["warnings"] == assessed(made).verdict.comparisons[0]["warnings"]
    # An equivalence is undone by fewer.
    equal = runs({"a": 0.5, "b": 0.5})
    (found,) = assessed(
        equal, margin=0.1, data={"name": "made", "copies": {"exact": 250, "near": 0, "of": 400}}
    ).verdict.comparisons  # fmt: skip
    assert found["verdict"] == "not_assessable"


def test_a_command_that_returns_nothing_but_nan(tmp_path):
    def trainer(arm, configuration, seed, steps):
        if arm.name == "plain":
            return {"validation": math.nan, "test": math.nan}
        noise = np.random.default_rng(seed).normal(scale=0.01)
        return {"validation": 0.8 + noise, "test": 0.8 + noise}

    declared = Protocol(
        data="mine", baseline="plain", challengers=["tweak"], steps=10,
        space={"learning_rate": Real(1e-4, 1e-1, log=True)}, configurations=16,
    )  # fmt: skip
    study = Study(declared, tmp_path / "study", trainer=trainer)
    study.run()
    (found,) = study.verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "plain" in found["reason"]
    assert study.report(tmp_path / "page.html").exists()


def study(folder, **changes):
    trainer = KnownTruth({"plain": Surface(peak=0.80), "tweak": Surface(peak=0.83)})
    declared = Protocol(
        data="known truth", baseline="plain", challengers=["tweak"],
        space=dict(trainer.space), configurations=16, steps=100, **changes,
    )  # fmt: skip
    made = Study(declared, folder, trainer=trainer)
    made.run()
    return made


def test_other_settings_are_recorded_and_counted(tmp_path):
    study(tmp_path / "study")
    declared = (tmp_path / "study" / "verdict.json").read_text()
    plain = judge_study(tmp_path / "study")
    assert not any("Exploratory" in note for note in plain.evidence.notes)
    judge_study(tmp_path / "study", margin=0.02)
    again = judge_study(tmp_path / "study", seed=5)
    assert any("judged 2 times" in note for note in again.evidence.notes)
    later = judge_study(tmp_path / "study")
    assert any("judged 2 times" in note for note in later.evidence.notes)
    assert later.verdict.to_json() == declared
    with Store(tmp_path / "study", read_only=True) as store:
        details = [
            json.loads(d) for _, name, d in store.events() if name == judge.EXPLORED
        ]
    assert details == [{"margin": 0.02}, {"seed": 5}]


def test_a_folder_that_cannot_be_written_is_judged(tmp_path):
    study(tmp_path / "study")
    with Store(tmp_path / "study"):
        # Its one writer is at work.
        found = judge_study(tmp_path / "study", margin=0.02)
    assert any("not recorded" in note for note in found.evidence.notes)


def test_a_margin_in_percent_is_refused(tmp_path):
    with pytest.raises(ProtocolError, match=r"1 in percent is 0\.01"):
        study(tmp_path / "study", margin=1)
    assert not (tmp_path / "study").exists()


def closed_form(arm, configuration, seed, steps):
    """A method without randomness beside one with it."""
    distance = math.log10(configuration["learning_rate"]) + 2.5
    score = 0.8 - 0.05 * distance**2
    if arm.name == "tweak":
        score += 0.05 + 0.005 * np.random.default_rng(seed).normal()
    return {"validation": score, "test": score}


def test_a_method_without_randomness_is_declared(tmp_path):
    declared = Protocol(
        data="mine", baseline="plain", challengers=["tweak"], steps=10,
        space={"learning_rate": Real(1e-4, 1e-1, log=True)},
        configurations=16,
    )  # fmt: skip
    asked = Study(declared, tmp_path / "asked", trainer=closed_form)
    asked.run()
    (found,) = asked.verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "--deterministic plain" in found["reason"]
    # What was declared otherwise afterwards is exploratory, and counts the same.
    later = judge_study(tmp_path / "asked", deterministic=["plain"])
    (other,) = later.verdict.comparisons
    assert other["verdict"] == "architecture"
    assert any("deterministic differ" in note for note in later.evidence.notes)
    settled = Study(
        declared.replace(deterministic=["plain"]),
        tmp_path / "settled",
        trainer=closed_form,
    )
    settled.run()
    (found,) = settled.verdict.comparisons
    assert found["verdict"] == "architecture"
    assert found["effect"] == other["effect"]


def test_only_arms_of_the_trial_are_deterministic():
    with pytest.raises(ProtocolError, match=r"deterministic = .*plane"):
        Protocol(
            data="mine", baseline="plain", challengers="tweak", deterministic="plane"
        )

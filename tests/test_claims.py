"""What a study may claim: never that an arm is better which nothing was learnt of."""

import json
import math
import os
import shutil
import subprocess
import sys
from importlib import resources

import jsonschema
import numpy as np
import pytest

from archtrial import Protocol, Study, cli, judge, judge_study
from archtrial.errors import ProtocolError, RecordsError, StudyError
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
    assert not plain.evidence.exploratory
    judge_study(tmp_path / "study", margin=0.02)
    again = judge_study(tmp_path / "study", seed=5)
    assert any("judged 2 times" in note for note in again.evidence.exploratory)
    later = judge_study(tmp_path / "study")
    assert any("judged 2 times" in note for note in later.evidence.exploratory)
    assert later.verdict.to_json() == declared
    with Store(tmp_path / "study", read_only=True) as store:
        details = [
            json.loads(d)
            for _, name, d in store.events()
            if name == judge.study.EXPLORED
        ]
    assert details == [{"margin": 0.02}, {"seed": 5}]


def test_a_folder_that_cannot_be_written_is_judged(tmp_path):
    study(tmp_path / "study")
    with Store(tmp_path / "study"):
        # Its one writer is at work.
        found = judge_study(tmp_path / "study", margin=0.02)
    assert any("not recorded" in note for note in found.evidence.exploratory)


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
    assert any("deterministic differ" in note for note in later.evidence.exploratory)
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


NETS = '''
from torch import nn


class Slow(nn.Module):
    """Its inputs are scaled down: it learns little in few steps."""

    def __init__(self, num_inputs, num_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_inputs, 32), nn.ReLU(), nn.Linear(32, num_outputs)
        )

    def forward(self, x):
        return self.layers(0.05 * x)


class Still(Slow):
    def forward(self, x):
        return self.layers(0.001 * x)


class Fast(Slow):
    def forward(self, x):
        return self.layers(x)
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of one's own with two architectures and a data set of four classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 8)).astype(np.float32)
    y = 2 * (x[:, 0] > 0) + (x[:, 1] > 0)
    np.savez(tmp_path / "four.npz", x=x, y=y)
    return tmp_path


@pytest.fixture
def typed(monkeypatch, capsys):
    """Runs a command line; returns its exit status and what it printed."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["archtrial", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        return left.value.code, printed.out, printed.err

    return call


SMALL = ("--configurations", "8", "--effort", "2", "--workers", "1")
ARMS = ("--baseline", "nets.py:Slow", "--challenger", "nets.py:Fast")


def lines(text):
    return " ".join(text.split())


def test_a_study_too_short_says_what_settles_it_and_that_works(here, typed):
    short = ("run", "--data", "four.npz", *ARMS, "--steps", "15", *SMALL)
    status, printed, _ = typed(*short, "--study", "short")
    assert status == 0
    first = lines(printed)
    assert first.startswith("warning: Slow was still learning")
    said = first.index("--ladder 1,4, with the same command and another --study")
    assert said < first.index("Fast reaches ")
    assert "(strong)" not in first
    page = (here / "short" / "report.html").read_text()
    assert "levelled off" not in page
    assert page.index("--ladder 1,4") < page.index("<figure")
    # What it says to type is typed.
    status, printed, _ = typed(*short, "--ladder", "1,4", "--study", "longer")
    assert status == 0
    (found,) = json.loads((here / "longer" / "verdict.json").read_text())["comparisons"]
    assert [rung["rung"] for rung in found["ladder"]["rungs"]] == [1, 4]
    # So few configurations leave it open: it is no strong finding still.
    assert found["ladder"]["reaches"] == "unknown"
    assert not found["strong"]
    first = lines(printed)
    assert first.startswith("warning: Slow was still learning")
    assert "--ladder 1,16, with the same command and another --study" in first


def test_a_baseline_that_learned_nothing_is_not_compared(here, typed):
    status, printed, _ = typed(
        "run", "--data", "four.npz", "--baseline", "nets.py:Still", "--challenger",
        "nets.py:Fast", "--steps", "15", *SMALL, "--study", "still",
    )  # fmt: skip
    assert status == 0
    first = lines(printed)
    assert first.startswith("No verdict. Fast and Still cannot be compared: Still had")
    assert "--ladder 1,4, with the same command and another --study" in first
    page = (here / "still" / "report.html").read_text()
    assert "levelled off" not in page
    assert "the answer is the same" not in page
    assert page.index("--ladder 1,4") < page.index("<figure")


def test_enough_steps_need_no_such_warning(here, typed):
    status, printed, _ = typed(
        "run", "--data", "four.npz", *ARMS, "--steps", "800", *SMALL, "--study", "long"
    )
    assert status == 0
    assert "learned nothing" not in printed
    assert "only begun" not in printed
    assert "--ladder" not in printed


def leaking(place, *, copies, tests, learnable=False):
    """Writes a data set of which some test rows are rows of training."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(600 + tests, 8)).astype(np.float32)
    y = (x[:, 0] > 0 if learnable else generator.random(len(x)) > 0.5).astype(int)
    x[600 : 600 + copies], y[600 : 600 + copies] = x[:copies], y[:copies]
    np.savez(
        place, x_train=x[:500], y_train=y[:500], x_validation=x[500:600],
        y_validation=y[500:600], x_test=x[600:], y_test=y[600:],
    )  # fmt: skip


def of_arrays(place, folder):
    declared = Protocol(
        data=str(place), baseline="linear", challengers=["mlp(width=64)"], steps=80,
        configurations=8, effort=2,
    )  # fmt: skip
    made = Study(declared, folder)
    made.run()
    return made


def test_a_test_set_of_copies_is_no_test_set(tmp_path):
    leaking(tmp_path / "leak.npz", copies=48, tests=48)
    (found,) = of_arrays(tmp_path / "leak.npz", tmp_path / "leak").verdict.comparisons
    assert found["verdict"] == "not_assessable"
    assert "48 of 48 test examples are copies" in found["reason"]
    assert "48 of 48 test examples are copies" in found["sentence"]


def test_a_single_copy_is_a_warning(tmp_path):
    leaking(tmp_path / "one.npz", copies=1, tests=500, learnable=True)
    (found,) = of_arrays(tmp_path / "one.npz", tmp_path / "one").verdict.comparisons
    assert "copies" not in (found["reason"] or "")
    assert any("1 of 500 test examples" in warning for warning in found["warnings"])


def test_shares_in_percent_are_refused_wherever_they_are_typed(here, typed):
    status, _, said = typed("run", "--data", "four.npz", *ARMS, "--margin", "1")
    assert (status, "0.01" in said) == (2, True)
    assert not (here / "studies").exists()
    rows = ["arm,seed,learning_rate,val_acc,test_acc"]
    for arm, gain in (("a", 0.0), ("b", 0.1)):
        rows += [
            f"{arm},{i},{0.001 * (i + 1)},{0.5 + gain + i / 100},{0.5 + gain + i / 99}"
            for i in range(16)
        ]
    (here / "runs.csv").write_text("\n".join(rows))
    judged = ("judge", "runs.csv", "--baseline", "a", "--tuner", "random")
    status, _, said = typed(*judged, "--margin", "1")
    assert (status, "0.01" in said) == (2, True)
    status, _, said = typed(*judged, "--percent")
    assert status == 2
    assert "percent" in said
    status, _, said = typed(*judged, "--margin", "0.01")
    assert (status, said) == (0, "")


def test_the_baseline_that_was_taken_is_said(tmp_path, typed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, said = typed("run", "--challenger", "cnn", "--steps", "2", *SMALL)
    assert status == 0
    assert said.startswith("baseline: mlp, since none was named (--baseline)")


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (lambda arm, seed: math.nan, "diverged"),
        (lambda arm, seed: 0.5, "the same"),
        (
            lambda arm, seed: math.nan if arm == "plain" else 0.5 + seed % 97 / 1e3,
            "plain",
        ),
    ],
)
def test_nothing_to_tell_is_told_twice(tmp_path, score, says):
    def trainer(arm, configuration, seed, steps):
        return {"validation": score(arm.name, seed), "test": score(arm.name, seed)}

    declared = Protocol(
        data="mine", baseline="plain", challengers=["tweak"], steps=10, effort=2,
        configurations=8,
    )  # fmt: skip
    for _ in range(2):
        made = Study(declared, tmp_path / "study", trainer=trainer)
        made.run()
        (found,) = made.verdict.comparisons
        assert found["verdict"] == "not_assessable"
        assert says in found["reason"]
        assert says in made.report(tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("size", "works"), [(1e99, True), (1e155, False), (1e300, False)]
)
def test_values_of_any_size_are_judged_or_refused(tmp_path, size, works):
    def trainer(arm, configuration, seed, steps):
        level = 1.0 if arm.name == "tweak" else 2.0
        noise = np.random.default_rng(seed).normal()
        return {"validation": size * (level + noise / 99), "test": size * level + noise}

    declared = Protocol(
        data="mine", baseline="plain", challengers=["tweak"], steps=10, effort=2,
        configurations=8, metric="mae",
    )  # fmt: skip
    made = Study(declared, tmp_path / "study", trainer=trainer)
    if not works:
        with pytest.raises((RecordsError, StudyError), match=r"size|squares"):
            made.run()
        return
    made.run()
    assert made.verdict.effect["estimate"] > 0.1 * size


def test_parts_of_the_space_with_four_pairs_are_too_few(tmp_path):
    trainer = KnownTruth({"plain": Surface(peak=0.80), "tweak": Surface(peak=0.85)})
    declared = Protocol(
        data="known truth", baseline="plain", challengers=["tweak"],
        space=dict(trainer.space), configurations=8, effort=2, steps=100,
    )  # fmt: skip
    made = Study(declared, tmp_path / "study", trainer=trainer)
    made.run()
    (found,) = made.verdict.comparisons
    assert found["verdict"] == "architecture"
    few = [row for row in found["robustness"]["rows"] if row["kind"] == "half"]
    assert few
    assert all(row["p_value"] > 0.05 for row in few)
    assert all(row["standing"] == "too few" for row in few)
    assert found["robustness"]["lost"] == []
    page = made.report(tmp_path / "page.html").read_text()
    assert "the gain is lost" not in page
    assert "loses the gain" not in page
    assert "too few configurations" in page


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs a second user"
)
def test_a_folder_of_another_user_is_judged_though_it_cannot_be_recorded(tmp_path):
    study(tmp_path / "study")
    shutil.copytree(tmp_path / "study", tmp_path / "twin")
    for place in (tmp_path, *tmp_path.parents):
        if place != place.parent:
            place.chmod(place.stat().st_mode | 0o055)
    before = {path.name: path.read_bytes() for path in (tmp_path / "study").glob("*.*")}
    script = (
        "import os, sys\n"
        "from archtrial import judge_study\n"
        "judge_study(sys.argv[1])\n"
        # What is loaded when it is first used may lie where only root can read.
        "judge_study(sys.argv[2], margin=0.02)\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "found = judge_study(sys.argv[1], margin=0.02)\n"
        "print(*found.evidence.exploratory, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "study", tmp_path / "twin"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not recorded in the study" in done.stdout
    assert "was judged once with other settings" in done.stdout
    after = {path.name: path.read_bytes() for path in (tmp_path / "study").glob("*.*")}
    assert after == before

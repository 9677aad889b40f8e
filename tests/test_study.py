"""Studies end to end, with a trainer that takes no time."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import archtrial
from archtrial import freezing, judge, randomness, searches, statistics, workflow
from archtrial.errors import ArmError, ProtocolError, StudyError
from archtrial.protocol import Protocol
from archtrial.records.store import Store, frozen
from archtrial.report.evidence import tuned_pair
from archtrial.space import Design, Real, sample
from archtrial.study import Study
from archtrial.testing import KnownTruth, Surface

PROTOCOL = Protocol(
    data="made up",
    baseline="plain",
    challengers=["tweak"],
    configurations=16,
    effort=4,
    margin=0.01,
)


def trainer(arm, configuration, seed, steps):
    """The tweak is worth three points, whatever the learning rate."""
    noise = randomness.generator(seed, "noise").normal(scale=0.002, size=2)
    peak = 0.83 if arm.name.startswith("tweak") else 0.80
    height = peak - 0.02 * (math.log10(configuration["learning_rate"]) + 2.5) ** 2
    return {"validation": height + noise[0], "test": height + noise[1], "cost": steps}


def test_a_planted_effect_is_found(tmp_path):
    study = Study(PROTOCOL, tmp_path / "study", trainer=trainer)
    verdict = study.run()
    assert verdict.comparisons[0]["verdict"] == "architecture"
    assert verdict.effect["low"] < 0.03 < verdict.effect["high"]
    assert verdict.p_value <= 0.05
    assert "tweak" in str(verdict)
    written = json.loads((tmp_path / "study" / "verdict.json").read_text())
    assert written == verdict.to_dict() == study.verdict.to_dict()
    page = study.report(tmp_path / "page.html").read_text()
    assert verdict.sentence.split(":")[0] in page


def test_every_stage_has_its_runs(tmp_path):
    Study(PROTOCOL, tmp_path, trainer=trainer).run()
    with Store(tmp_path, read_only=True) as store:
        runs = store.runs()
        assert store.test_is_open
    for arm in ("plain", "tweak"):
        own = [run for run in runs if run.arm == arm]
        searched = [run for run in own if run.stage == "search"]
        assert [run.pair for run in searched] == list(range(16))
        assert {run.seed for run in searched} == {0}
        winner = max(searched, key=lambda run: run.validation).pair
        seeds = [run.seed for run in own if run.stage == "winner"]
        assert seeds == list(range(4, 14))
        assert {run.pair for run in own if run.stage == "winner"} == {winner}
        again = [r.seed for r in own if r.stage == "confirm" and r.pair == winner]
        assert again == [1, 2, 3]
    # The same configurations are confirmed on every arm: the union of the tops.
    confirmed = [
        {run.pair for run in runs if run.arm == arm and run.stage == "confirm"}
        for arm in ("plain", "tweak")
    ]
    assert confirmed[0] == confirmed[1]
    # Searches are paired: the same draw at the same index.
    drawn = [
        {r.pair: r.configuration for r in runs if r.arm == arm and r.stage == "search"}
        for arm in ("plain", "tweak")
    ]
    assert drawn[0] == drawn[1]


def test_equal_compute_has_its_fresh_seeds(tmp_path):
    def costly(arm, configuration, seed, steps):
        scores = trainer(arm, configuration, seed, steps)
        return {**scores, "cost": 2.0 if arm.name == "tweak" else 1.0}

    protocol = PROTOCOL.replace(configurations=32)
    (found,) = Study(protocol, tmp_path, trainer=costly).run().comparisons
    at_equal = found["effect_at_equal_compute"]
    assert (at_equal["baseline_effort"], at_equal["challenger_effort"]) == (8, 4)
    protocol = protocol.replace(effort=8)
    (found,) = Study(protocol, tmp_path / "8", trainer=costly).run().comparisons
    at_equal = found["effect_at_equal_compute"]
    assert (at_equal["baseline_effort"], at_equal["challenger_effort"]) == (8, 4)


def test_test_scores_stay_sealed_until_all_runs_are_done(tmp_path):
    seen = []

    def looking(arm, configuration, seed, steps):
        if len(seen) % 20 == 0:
            with Store(tmp_path, read_only=True) as store:
                assert not store.test_is_open
                assert all(run.test is None for run in store.runs())
        seen.append(seed)
        return trainer(arm, configuration, seed, steps)

    Study(PROTOCOL, tmp_path, trainer=looking).run()
    assert len(seen) > 60


def test_seeds_differ_between_arms_configurations_and_repetitions(tmp_path):
    seen = []

    def noting(arm, configuration, seed, steps):
        seen.append(seed)
        return trainer(arm, configuration, seed, steps)

    Study(PROTOCOL, tmp_path, trainer=noting).run()
    assert len(set(seen)) == len(seen)
    assert max(seen) < 2**31


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stopped_after", [0, 1, 17, 32, 40, 70])
def test_an_interrupted_study_ends_with_the_same_bytes(tmp_path, stopped_after):
    Study(PROTOCOL, tmp_path / "whole", trainer=trainer).run()
    calls = []

    def watch(standing):
        calls.append(standing)
        if len(calls) == stopped_after + 1:
            raise StoppedError

    study = Study(PROTOCOL, tmp_path / "parts", trainer=trainer)
    with pytest.raises(StoppedError):
        study.run(watch=watch)
    again = []

    def counted(arm, configuration, seed, steps):
        again.append(seed)
        return trainer(arm, configuration, seed, steps)

    # The trainer's source is part of the protocol: the same one, counted inside.
    counted_study = Study(PROTOCOL, tmp_path / "parts", trainer=trainer)
    object.__setattr__(counted_study.trial.trainer, "function", counted)
    counted_study.run()
    with Store(tmp_path / "parts", read_only=True) as store:
        assert len(store.runs()) == len(again) + stopped_after_runs(calls)
    for name in ("verdict.json", "protocol.json"):
        whole, parts = (tmp_path / f / name for f in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def stopped_after_runs(calls):
    last = calls[-1]
    search = max((c.planned for c in calls if c.stage == "search"), default=0)
    return last.done + (search if last.stage == "confirm" else 0)


def test_a_finished_study_trains_nothing_again(tmp_path):
    first = Study(PROTOCOL, tmp_path, trainer=trainer)
    first.run()
    before = (tmp_path / "verdict.json").read_bytes()
    again = Study(PROTOCOL, tmp_path, trainer=trainer)

    def never(arm, configuration, seed, steps):
        raise AssertionError

    object.__setattr__(again.trial.trainer, "function", never)
    again.run()
    assert (tmp_path / "verdict.json").read_bytes() == before


def test_a_changed_protocol_is_refused_with_the_difference(tmp_path):
    Study(PROTOCOL, tmp_path, trainer=trainer).run()
    changed = PROTOCOL.replace(margin=0.02, seed=1)
    with pytest.raises(StudyError) as caught:
        Study(changed, tmp_path, trainer=trainer).run()
    assert "margin: 0.01 -> 0.02" in str(caught.value)
    assert "seed: 0 -> 1" in str(caught.value)


def test_the_number_of_workers_changes_nothing(tmp_path):
    one = Study(PROTOCOL, tmp_path / "one", trainer=trainer).run()
    two = Study(PROTOCOL, tmp_path / "two", trainer=trainer).run(workers=2)
    assert one.to_json() == two.to_json()


def test_the_verdict_can_be_reached_again_from_the_store_alone(tmp_path):
    verdict = Study(PROTOCOL, tmp_path / "a", trainer=trainer).run()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert judge.judge_study(tmp_path / "b").verdict.to_json() == verdict.to_json()
    other = judge.judge_study(tmp_path / "b", margin=0.2)
    assert other.verdict.comparisons[0]["verdict"] == "equivalent"
    assert "Exploratory: margin" in other.verdict.to_dict()["study"]["notes"][-1]
    first, *counted = other.evidence.exploratory
    assert first == "Exploratory: margin differ from what was declared."
    assert "judged once with other settings" in counted[0]
    assert not any("Exploratory" in note for note in other.evidence.notes)
    assert first in other.evidence.protocol["notes"]
    turned = judge.judge_study(tmp_path / "b", baseline="tweak")
    assert turned.verdict.comparisons[0]["challenger"] == "plain"
    assert turned.verdict.effect["estimate"] == -verdict.effect["estimate"]
    with pytest.raises(archtrial.UserError, match="Did you mean 'tweak'"):
        judge.judge_study(tmp_path / "b", baseline="tweek")
    with pytest.raises(archtrial.UserError, match="named twice"):
        judge.judge_study(tmp_path / "b", challengers=["tweak", "tweak"])
    with pytest.raises(archtrial.UserError, match="effort is at least 1"):
        judge.judge_study(tmp_path / "b", effort=0)
    # At another effort other configurations weigh: the records may not allow it.
    smaller = judge.judge_study(tmp_path / "b", effort=1)
    assert smaller.verdict.comparisons[0]["estimand"] == "run"
    assert any(
        "reading by run" in n for n in smaller.verdict.to_dict()["study"]["notes"]
    )
    with pytest.raises(TypeError, match="no argument"):
        judge.judge_study(tmp_path / "b", marign=0.2)


def test_a_study_that_is_not_done_has_no_verdict(tmp_path):
    def watch(standing):
        if standing.done == 5:
            raise StoppedError

    study = Study(PROTOCOL, tmp_path, trainer=trainer)
    with pytest.raises(StoppedError):
        study.run(watch=watch)
    with pytest.raises(archtrial.UserError, match="still sealed"):
        _ = study.verdict


def test_runs_that_fail_are_kept_with_their_error(tmp_path):
    def fails(arm, configuration, seed, steps):
        if configuration["learning_rate"] > 0.01:
            raise ValueError("too fast")
        return trainer(arm, configuration, seed, steps)

    verdict = Study(PROTOCOL, tmp_path, trainer=fails).run()
    with Store(tmp_path, read_only=True) as store:
        failed = [run for run in store.runs() if run.error]
    assert failed
    assert all("ValueError: too fast (test_study.py" in run.error for run in failed)
    assert all(run.diverged for run in failed)
    assert verdict.to_dict()["study"]["arms"][0]["failed"] > 0


def test_runs_that_diverge_count_at_the_worst(tmp_path):
    def diverges(arm, configuration, seed, steps):
        scores = trainer(arm, configuration, seed, steps)
        if configuration["learning_rate"] > 0.01:
            return {"validation": math.nan, "test": math.inf}
        return scores

    verdict = Study(PROTOCOL, tmp_path, trainer=diverges).run()
    arm = verdict.to_dict()["study"]["arms"][0]
    assert arm["diverged"] > 0
    assert arm["failed"] == 0


def test_the_one_configuration_that_did_not_diverge_is_the_tuned_one(tmp_path):
    """Runs without a score stand at the lowest known one, and here it is its own."""
    Study(PROTOCOL, tmp_path / "all", trainer=trainer).run()
    with Store(tmp_path / "all", read_only=True) as store:
        searched = searches.trials(store.runs(), "tweak")
    only = searched[3].configuration["learning_rate"]

    def diverges(arm, configuration, seed, steps):
        scores = trainer(arm, configuration, seed, steps)
        if not arm.name.startswith("tweak"):
            return scores
        if configuration["learning_rate"] != only:
            return {"validation": math.nan, "test": math.nan}
        return {name: 0.1 * score for name, score in scores.items()}

    study = Study(PROTOCOL, tmp_path / "one", trainer=diverges)
    verdict = study.run().to_dict()
    told = verdict["study"]["arms"][1]
    assert told["configuration"]["learning_rate"] == only
    assert told["tuned"]["estimate"] == pytest.approx(0.08, abs=0.02)
    with Store(study.folder, read_only=True) as store:
        runs = store.runs()
    own = [r for r in runs if (r.arm, r.stage) == ("tweak", "winner")]
    assert {run.pair for run in own} == {3}


@pytest.mark.parametrize("limit", [1e-3, 3e-3, 1e-2])
def test_any_share_of_diverged_draws_can_be_judged(tmp_path, limit):
    # Whoever carries weight in the verdict must have been confirmed.
    def diverges(arm, configuration, seed, steps):
        if configuration["learning_rate"] > limit:
            return {"validation": math.nan, "test": math.nan}
        return trainer(arm, configuration, seed, steps)

    for seed in range(4):
        study = Study(
            PROTOCOL.replace(seed=seed), tmp_path / str(seed), trainer=diverges
        )
        assert study.run().comparisons[0]["estimand"] == "configuration"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (0.5, "mapping of scores, not float"),
        ({"validation": 0.5}, "'test' score"),
        ({"validation": "good", "test": 0.5}, "is a number, not 'good'"),
        ({"validation": True, "test": 0.5}, "is a number, not True"),
        ({"validation": 83.0, "test": 81.0}, "not per cent"),
        ({"validation": 0.5, "test": 0.5, "cost": math.nan}, "cost is finite"),
        ({"validation": 0.5, "test": 0.5, "cost": -1}, "cost is finite"),
    ],
)
def test_an_answer_of_another_form_stops_the_study_at_its_first_run(
    tmp_path, answer, says
):
    asked = []

    def answers(arm, *_):
        asked.append(arm.name)
        return answer

    with pytest.raises(StudyError) as caught:
        Study(PROTOCOL, tmp_path, trainer=answers).run()
    assert says in str(caught.value)
    assert "the first run of plain" in str(caught.value)
    assert asked == ["plain"]
    with Store(tmp_path, read_only=True) as store:
        assert store.runs() == []  # mended, the same study goes on


def test_several_challengers(tmp_path):
    protocol = PROTOCOL.replace(challengers=["tweak", "tweak2=other", "same=plain"])
    verdict = Study(protocol, tmp_path, trainer=trainer).run()
    found = {c["challenger"]: c for c in verdict.comparisons}
    assert found["tweak"]["verdict"] == found["tweak2"]["verdict"] == "architecture"
    assert found["same"]["verdict"] == "equivalent"
    assert found["same"]["p_value_adjusted"] >= found["same"]["p_value"]


def test_errors_where_less_is_better(tmp_path):
    def errors(arm, configuration, seed, steps):
        scores = trainer(arm, configuration, seed, steps)
        return {name: 100 - scores[name] for name in ("validation", "test")}

    protocol = PROTOCOL.replace(metric="rmse", task="regression")
    verdict = Study(protocol, tmp_path, trainer=errors).run()
    assert verdict.comparisons[0]["verdict"] == "architecture"
    assert verdict.effect["estimate"] == pytest.approx(0.03, abs=0.01)
    assert verdict.comparisons[0]["challenger_score"]["estimate"] < 99.2


def test_a_default_margin_is_said_to_be_assumed(tmp_path):
    protocol = Protocol(**{**PROTOCOL.describe(), "margin": None})
    verdict = Study(protocol, tmp_path, trainer=trainer).run()
    study = verdict.to_dict()["study"]
    assert study["margin_assumed"]
    assert study["margin"] == 0.005
    assert any("No margin was declared" in note for note in study["notes"])


COMMAND = (
    '{python} -c \'import json, sys; print("hello");'
    " rate = float(sys.argv[1]); print(json.dumps("
    '{{"validation": rate, "test": rate + .5 * (sys.argv[2] == "b")}}))\''
)


def command(tail):
    return COMMAND.replace("{python}", sys.executable) + tail


SMALL = Protocol(
    data="own", baseline="a", challengers=["b"], configurations=4, effort=1, margin=0.1,
    metric="accuracy",
)  # fmt: skip


def test_a_command_trains(tmp_path):
    study = Study(SMALL, tmp_path, command=command(" {learning_rate} {arm}"))
    verdict = study.run(workers=2)
    assert verdict.effect["estimate"] == pytest.approx(0.5)
    # It goes on from its folder, command and all.
    declared = frozen(tmp_path)[2]
    assert declared.pop("command") == study.command
    assert Protocol(**declared) == SMALL


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("train {lerning_rate}", "{lerning_rate}"),
        ("train 'unclosed", "Close every quote"),
        ("train {", "Close every quote"),
        ("", "at least one word"),
    ],
)
def test_a_command_that_cannot_be_filled_in(tmp_path, template, says):
    with pytest.raises(ProtocolError) as caught:
        Study(SMALL, tmp_path, command=template)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("false {arm}", "status 1"),
        ("echo hello {arm}", "JSON object"),
        ("echo [1] {arm}", "JSON object"),
        ("true {arm}", "JSON object"),
        ("no-such-program-anywhere {arm}", "FileNotFoundError"),
    ],
)
def test_a_command_that_fails_is_one_message(tmp_path, template, says):
    with pytest.raises(StudyError) as caught:
        Study(SMALL, tmp_path, command=template).run()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "cpu"}, "device is declared"),
        ({"epochs": 2.0}, "epochs is declared"),
        ({"target": "y"}, "target is declared"),
        ({"recipe": {"optimizer": "sgd"}}, "recipe is declared"),
        ({"task": "regression", "metric": "accuracy"}, "metric of classification"),
    ],
)
def test_what_an_own_trainer_cannot_honour_is_refused(tmp_path, changes, says):
    with pytest.raises(ProtocolError) as caught:
        Study(PROTOCOL.replace(**changes), tmp_path, trainer=trainer)
    assert says in str(caught.value)


def test_a_trainer_that_cannot_be_sent_is_one_message(tmp_path):
    study = Study(PROTOCOL, tmp_path, trainer=lambda *_: {"validation": 0, "test": 0})
    with pytest.raises(StudyError, match="take one worker"):
        study.run(workers=2)


@pytest.mark.parametrize("statement", ["declare", "protocol.json", "verdict.json"])
def test_killed_before_a_file_is_written_it_still_goes_on(
    tmp_path, monkeypatch, statement
):
    def stop(*_):
        raise StoppedError

    whole = Study(PROTOCOL, tmp_path / "whole", trainer=trainer).run()
    with monkeypatch.context() as patched:
        if statement == "declare":
            patched.setattr(Store, "declare", stop)
        else:
            room = freezing if statement == "protocol.json" else workflow.study
            patched.setattr(room, "write", stop)
        with pytest.raises(StoppedError):
            Study(PROTOCOL, tmp_path / "parts", trainer=trainer).run()
    parts = Study(PROTOCOL, tmp_path / "parts", trainer=trainer).run()
    assert parts.to_json() == whole.to_json()
    assert (tmp_path / "parts" / "protocol.json").exists()


def test_threads_are_told_to_a_command(tmp_path):
    told = (
        f"{sys.executable} -c 'import json, os;"
        ' n = int(os.environ["OMP_NUM_THREADS"]);'
        ' print(json.dumps({{"validation": n / 10, "test": n / 10}}))\' {arm}'
    )
    Study(SMALL.replace(threads=3), tmp_path, command=told).run()
    with Store(tmp_path, read_only=True) as store:
        assert {run.validation for run in store.runs()} == {0.3}


def test_no_command_outlives_its_study(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    lives_on = (
        f"{sys.executable} -c 'import os, sys, time;"
        f' open("{folder}/" + str(os.getpid()), "w").close(); time.sleep(600)\' {{arm}}'
    )
    code = (
        "import sys; from archtrial import Study, Protocol\n"
        "if __name__ == '__main__':\n"
        "    Study(Protocol(data='x', baseline='a', challengers=['b'], effort=1,\n"
        "        configurations=4, metric='accuracy'), sys.argv[1], command=sys.argv[2]).run(workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, script, tmp_path / "s", lives_on])
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.1)
        assert process.poll() is None
    process.kill()
    process.wait()
    for mark in folder.iterdir():
        for _ in range(100):
            if not Path("/proc", mark.name).exists():
                break
            time.sleep(0.1)
        assert not Path("/proc", mark.name).exists()


def test_seeds_that_diverge_stay_in_the_table_of_arms(tmp_path):
    def fails_at_times(arm, configuration, seed, steps):
        scores = trainer(arm, configuration, seed, steps)
        return {"validation": math.nan, "test": math.nan} if seed % 3 == 0 else scores

    verdict = Study(PROTOCOL, tmp_path, trainer=fails_at_times).run()
    tuned = verdict.to_dict()["study"]["arms"][1]["tuned"]
    assert tuned["seeds"] == 13
    assert tuned["estimate"] < 0.82


@pytest.mark.parametrize("workers", [1, 2])
def test_too_little_memory_is_one_message_and_no_run(tmp_path, workers):
    study = Study(PROTOCOL, tmp_path, trainer=greedy)
    with pytest.raises(StudyError, match="fits into memory"):
        study.run(workers=workers)
    with Store(tmp_path, read_only=True) as store:
        assert store.runs() == []


def greedy(arm, configuration, seed, steps):
    raise MemoryError("not enough of it")


def test_a_study_has_one_trainer(tmp_path):
    with pytest.raises(ProtocolError, match="one trainer"):
        Study(SMALL, tmp_path, command="true", trainer=trainer)


def test_the_standing_says_how_far_it_is(tmp_path):
    shown = []
    Study(PROTOCOL, tmp_path, trainer=trainer).run(watch=shown.append)
    assert [s.stage for s in shown][-2:] == ["test", "judge"]
    search = [s for s in shown if s.stage == "search"]
    assert [s.done for s in search] == list(range(33))
    assert search[-1].planned == 32
    assert search[-1].best["tweak"] > search[-1].best["plain"] > 0.7
    assert search[0].seconds_left is None
    assert search[-1].seconds_left == 0
    best = [s.best.get("plain", -1) for s in search]
    assert best == sorted(best)


def test_arm_errors_reach_the_user_before_anything_is_trained(tmp_path):
    with pytest.raises(ArmError):
        Study(Protocol(data="digits", baseline="mlp", challengers=["mpl"]), tmp_path)
    assert not list(tmp_path.iterdir())


# Training longer.

LADDER = PROTOCOL.replace(
    effort=2, ladder=[1, 2, 4], ladder_configurations=8, steps=1000
)
TRUTH = KnownTruth(
    # The baseline is slower, and as good in the end.
    {
        "plain": Surface(lag=40.0, seed_spread=0.001),
        "tweak": Surface(lag=2.0, seed_spread=0.001),
    },
    space={"learning_rate": Real(3e-4, 1e-1, log=True)},
    validation_noise=0.001,
)


def runs_of(folder, stage):
    with Store(folder, read_only=True) as store:
        return [run for run in store.runs() if run.stage == stage]


def test_each_rung_retunes_the_first_draws_with_longer_schedules(tmp_path):
    told = {}

    def noting(arm, configuration, seed, steps):
        told.setdefault(steps, []).append(seed)
        return trainer(arm, configuration, seed, steps)

    Study(LADDER, tmp_path, trainer=noting).run()
    drawn = {
        (run.arm, run.pair): run.configuration for run in runs_of(tmp_path, "search")
    }
    retuned = runs_of(tmp_path, "ladder")
    for rung in (2, 4):
        for arm in ("plain", "tweak"):
            own = [run for run in retuned if (run.arm, run.rung) == (arm, rung)]
            assert [run.pair for run in own] == list(range(8))
            assert {run.seed for run in own} == {0}
            for run in own:
                assert run.configuration == drawn[arm, run.pair]
                assert run.flops == rung * 1000
                assert run.test is not None
    assert sorted(told) == [1000, 2000, 4000]
    seeds = [seed for seeds in told.values() for seed in seeds]
    assert len(set(seeds)) == len(seeds)
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["study"]["flops"] == sum(s * len(told[s]) for s in told)


def test_each_rung_is_confirmed_by_its_own_scores(tmp_path):
    def turning(arm, configuration, seed, steps):
        # What is best when trained shortly is worst when trained for long.
        rate = configuration["learning_rate"]
        height = 0.5 + (rate if steps < 4000 else -rate)
        return {"validation": height, "test": height}

    Study(LADDER, tmp_path, trainer=turning).run()
    retuned = runs_of(tmp_path, "ladder")
    confirmed = runs_of(tmp_path, "ladder confirm")
    tops = []
    for rung in (2, 4):
        scores = [
            np.array([r.validation for r in retuned if (r.arm, r.rung) == (arm, rung)])
            for arm in ("plain", "tweak")
        ]
        top, rest = statistics.confirm_indices(scores, 2, stratified=True)
        tops.append(set(top))
        for arm in ("plain", "tweak"):
            seeds = {}
            for run in confirmed:
                if (run.arm, run.rung) == (arm, rung):
                    seeds.setdefault(run.pair, []).append(run.seed)
            assert seeds == {**{i: [1, 2, 3] for i in top}, **{i: [1] for i in rest}}
    assert not tops[0] & tops[1]


def test_a_longer_rung_is_what_the_statistics_are_given(tmp_path):
    Study(LADDER.replace(configurations=32), tmp_path, trainer=TRUTH).run()
    with Store(tmp_path, read_only=True) as store:
        runs = store.runs()
    at_2 = searches.search(runs, "plain", 1, 0.1).rungs
    assert {rung: found.n for rung, found in at_2.items()} == {2: 8, 4: 8}
    first = searches.search(runs, "plain", 1, 0.1)
    for rung, gained in ((2, 0.02), (4, 0.03)):
        better = np.median(at_2[rung].validation - first.validation[:8])
        assert better == pytest.approx(gained, abs=0.002)
        assert at_2[rung].readings(2) == ("configuration", "run")


@pytest.mark.parametrize("stopped_after", [75, 110])
def test_an_interrupted_ladder_ends_with_the_same_bytes(tmp_path, stopped_after):
    Study(LADDER, tmp_path / "whole", trainer=trainer).run(workers=2)
    calls = []

    def watch(standing):
        calls.append(standing)
        if len(calls) == stopped_after + 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        Study(LADDER, tmp_path / "parts", trainer=trainer).run(watch=watch)
    Study(LADDER, tmp_path / "parts", trainer=trainer).run()
    whole, parts = (tmp_path / f / "verdict.json" for f in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")


def assert_same_runs(one, other):
    def all_of(folder):
        with Store(folder, read_only=True) as store:
            return [
                dataclasses.replace(run, seconds=0.0, per_example=None)
                for run in store.runs()
            ]

    assert all_of(one) == all_of(other)


def test_without_a_ladder_the_protocol_is_the_one_that_it_always_was():
    plain = Study(PROTOCOL, "s", trainer=trainer)
    assert not {"ladder", "looks", "probes"} & set(plain.trial.resolved)
    for changes in ({"ladder": [1, 2]}, {"looks": [8, 16], "effort": 2}, {"probes": 4}):
        assert Study(PROTOCOL.replace(**changes), "s", trainer=trainer).hash != (
            plain.hash
        )


def test_a_command_is_told_the_rungs_steps(tmp_path):
    told = (
        f"{sys.executable} -c 'import json, sys; n = int(sys.argv[1]) / 100;"
        ' print(json.dumps({{"validation": n, "test": n}}))\' {steps} {arm}'
    )
    protocol = SMALL.replace(steps=10, ladder=[1, 3], configurations=8)
    Study(protocol, tmp_path, command=told).run(workers=2)
    assert {run.validation for run in runs_of(tmp_path, "search")} == {0.1}
    assert {run.validation for run in runs_of(tmp_path, "ladder")} == {0.3}


def test_fleets_climb_the_ladder(tmp_path):
    protocol = Protocol(
        data="digits", baseline="linear", challengers=["mlp"], configurations=8,
        effort=1, steps=5, ladder=[1, 2],
    )  # fmt: skip
    study = Study(protocol, tmp_path)
    study.run()
    for arm in ("linear", "mlp"):
        short, long = (
            [run for run in runs_of(tmp_path, stage) if run.arm == arm]
            for stage in ("search", "ladder")
        )
        assert [run.configuration for run in short] == [
            run.configuration for run in long
        ]
        assert long[0].flops == pytest.approx(2 * short[0].flops)
        # Its own initialisation, and a schedule of twice the length.
        assert long[0].curve[-1].step == 10
        assert [run.validation for run in short] != [run.validation for run in long]
    planned = study._plan_search(study.trial.arms, 1) + study._plan_ladder()
    tasks = study.trial.trainer.divide(planned)
    assert all(len({item.rung for item in task}) == 1 for task in tasks)
    linear = [t for t in tasks if (t[0].arm, t[0].rung) == ("linear", 2)]
    assert [len(task) for task in linear] == [8]


# Looks.

LOOKS = Protocol(
    data="known truth",
    baseline="plain",
    challengers=["tweak", "close", "worse"],
    space={"learning_rate": Real(1e-3, 1e-1, log=True)},
    effort=2,
    looks=[8, 16, 32],
    margin=0.02,
)
SURFACES = KnownTruth(
    {
        "plain": Surface(peak=0.8, seed_spread=0.004),
        # One that is settled early, one that is open to the end, one without hope.
        "tweak": Surface(peak=0.9, seed_spread=0.004),
        "close": Surface(peak=0.82, seed_spread=0.004),
        "worse": Surface(peak=0.6, seed_spread=0.004),
    },
    space=dict(LOOKS.space),
    validation_noise=0.004,
)


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looked")
    Study(LOOKS, folder, trainer=SURFACES).run()
    return folder


def searched(folder, arm):
    return [run for run in runs_of(folder, "search") if run.arm == arm]


def test_an_arm_whose_question_is_settled_gets_no_more_runs(looked):
    n = {arm.name: len(searched(looked, arm.name)) for arm in LOOKS.arms}
    assert n["plain"] == max(n.values()) > n["worse"]
    document = json.loads((looked / "verdict.json").read_text())
    looks = document["study"]["looks"]
    assert [look["configurations"] for look in looks] == [8, 16, 32][: len(looks)]
    assert [look["alpha"] for look in looks] == [
        level.level or 0.0
        for level in statistics.declare_looks(
            [8, 16, 32], configurations=32, effort=2, challengers=3
        )
    ][: len(looks)]
    found = {each["challenger"]: each for each in document["comparisons"]}
    assert list(found) == ["tweak", "close", "worse"]
    for name, each in found.items():
        # Each is judged where it stopped, at the level of that look.
        decided = [look["decisions"].get(name) for look in looks]
        stopped = next(i for i, d in enumerate(decided) if d != "go on" or i == 2)
        assert decided[stopped + 1 :] == [None] * (len(looks) - stopped - 1)
        assert n[name] == each["configurations"] == (8, 16, 32)[stopped]
        if decided[stopped].startswith("claim"):
            assert decided[stopped] == f"claim: {each['verdict']}"
    assert found["tweak"]["verdict"] == "architecture"
    assert found["worse"]["verdict"] != "architecture"


def test_each_look_has_its_runs_and_its_opening(looked):
    with Store(looked, read_only=True) as store:
        runs, events = store.runs(), store.events()
    looks = max(run.look for run in runs)
    assert [json.loads(d)["look"] for _, name, d in events if "opened" in name] == list(
        range(1, looks + 1)
    )
    assert all(run.test is not None for run in runs)
    sizes = (0, 8, 16, 32)
    for run in runs:
        if run.stage == "search":
            assert sizes[run.look - 1] <= run.pair < sizes[run.look]
    # Who wins at a look is run again there; nothing is run twice.
    winners = {(r.arm, r.pair) for r in runs if r.stage == "winner"}
    for look in range(1, looks + 1):
        known = [run for run in runs if run.look <= look]
        for arm in {run.arm for run in runs if run.look == look}:
            own = [r for r in known if (r.arm, r.stage) == (arm, "search")]
            best = max(own, key=lambda run: run.validation)
            assert (arm, best.pair) in winners
            extra = [r for r in known if (r.arm, r.pair, r.stage) == (
                arm, best.pair, "winner")]  # fmt: skip
            assert [run.seed for run in extra] == list(range(4, 14))


def test_the_page_shows_the_winner_of_the_last_look(looked):
    evidence = judge.judge_study(looked).evidence
    several = 0
    for arm in ("plain", "tweak", "close", "worse"):
        own = searched(looked, arm)
        best = max(own, key=lambda run: run.validation).pair
        assert tuned_pair(evidence.runs, arm, evidence.metric) == best
        wins = {r.pair for r in runs_of(looked, "winner") if r.arm == arm}
        several += len(wins) > 1
    assert several > 0


def test_what_was_known_at_a_look_can_be_judged_again(looked):
    with Store(looked, read_only=True) as store:
        runs, resolved = store.runs(), store.protocol()[1]
    for look, n in ((1, 8), (2, 16)):
        known, then = judge.at_look(runs, resolved, look)
        assert then["configurations"] == n
        still = {arm["name"] for arm in then["challengers"]}
        assert {run.arm for run in known} == still | {"plain"}
        for arm in still | {"plain"}:
            pairs = [r.pair for r in known if (r.arm, r.stage) == (arm, "search")]
            assert pairs == list(range(n))
        # What came later changes nothing.
        until = [run for run in runs if run.look <= look]
        assert judge.decisions(until, resolved, look, None) == judge.decisions(
            runs, resolved, look, None
        )


@pytest.mark.parametrize("stopped_at", [("confirm", 10), "between", "second"])
def test_an_interrupted_look_ends_with_the_same_bytes(
    looked, tmp_path, monkeypatch, stopped_at
):
    opened = []

    def watch(standing):
        opened.extend([1] if standing.stage == "test" else [])
        if (standing.stage, standing.done) == stopped_at:
            raise StoppedError
        if stopped_at == "second" and len(opened) == 1 and standing.stage == "confirm":
            raise StoppedError

    def stop(*_):
        raise StoppedError

    with monkeypatch.context() as patched:
        if stopped_at == "between":
            patched.setattr(judge, "decisions", stop)
        with pytest.raises(StoppedError):
            Study(LOOKS, tmp_path, trainer=SURFACES).run(watch=watch)
    with pytest.raises(archtrial.UserError, match="still sealed"):
        judge.judge_study(tmp_path)
    Study(LOOKS, tmp_path, trainer=SURFACES).run()
    assert_same_runs(looked, tmp_path)
    name = "verdict.json"
    assert (tmp_path / name).read_bytes() == (looked / name).read_bytes()


def test_one_challenger_is_looked_at_on_its_own(looked, tmp_path):
    protocol = LOOKS.replace(challengers=["close"])
    verdict = Study(protocol, tmp_path, trainer=SURFACES).run()
    # In another company, the same runs.
    one, other = (
        [run.validation for run in searched(folder, "close")]
        for folder in (looked, tmp_path)
    )
    assert all(a == b for a, b in zip(one, other, strict=False))
    (found,) = verdict.comparisons
    assert found["configurations"] == len(searched(tmp_path, "close"))
    page = Study(protocol, tmp_path, trainer=SURFACES).judgement.page()
    assert "go on" in page


def test_looks_with_our_own_training_keep_the_tuned_weights(tmp_path):
    protocol = Protocol(
        data="digits", baseline="linear", challengers=["mlp"], looks=[4, 8],
        effort=1, steps=5, confirm_seeds=2,
    )  # fmt: skip
    study = Study(protocol, tmp_path)
    study.run()
    for arm in ("linear", "mlp"):
        assert archtrial.load_tuned(tmp_path, arm) is not None
        own = searched(tmp_path, arm)
        best = max(own, key=lambda run: run.validation)
        kept = json.loads((tmp_path / "tuned" / f"{arm}.json").read_text())
        assert kept["configuration"] == best.configuration
        # Fleets of a look leave nothing out that an earlier one has in part.
        seeds = {
            stage: [
                run.seed
                for run in runs_of(tmp_path, stage)
                if (run.arm, run.pair) == (arm, best.pair)
            ]
            for stage in ("confirm", "winner")
        }
        assert seeds == {"confirm": [1, 2], "winner": list(range(3, 13))}
    again = judge.judge_study(tmp_path).verdict.to_json()
    assert again == (tmp_path / "verdict.json").read_text()


def test_what_longer_training_makes_up_for_is_tuning(tmp_path):
    slow = KnownTruth(
        {
            "plain": Surface(lag=30.0, seed_spread=0.001),
            "tweak": Surface(seed_spread=0.001),
        },
        space=dict(TRUTH.space),
        validation_noise=0.001,
    )
    protocol = LADDER.replace(
        space=dict(TRUTH.space), configurations=32, ladder_configurations=32
    )
    (found,) = Study(protocol, tmp_path / "a", trainer=slow).run().comparisons
    assert found["ladder"]["reaches"] == "yes"
    assert found["catch_up"] == "yes"
    assert found["verdict"] == "tuning"
    # One that is no slower, but worse, does not get there.
    worse = KnownTruth(
        {
            "plain": Surface(peak=0.7, seed_spread=0.001),
            "tweak": Surface(seed_spread=0.001),
        },
        space=dict(TRUTH.space),
        validation_noise=0.001,
    )
    (found,) = Study(protocol, tmp_path / "b", trainer=worse).run().comparisons
    assert found["ladder"]["reaches"] == "no"
    assert found["verdict"] == "architecture"


# The design of the draws.


def test_a_study_draws_one_sobol_sequence(tmp_path):
    protocol = PROTOCOL.replace(
        challengers=["tweak", {"architecture": "tweak2", "space": {"own": [1, 2]}}],
        looks=(16, 32), configurations=32, ladder=(1, 2),
    )  # fmt: skip
    study = Study(protocol, tmp_path, trainer=trainer)
    study.run()
    assert study.trial.resolved["sampling"] == "sobol"
    design = Design(study.trial.spaces, protocol.seed, "sobol")
    with Store(tmp_path, read_only=True) as store:
        runs = [run for run in store.runs() if run.stage != "default"]
    stages = {"search", "confirm", "winner", "ladder", "ladder confirm"}
    assert {run.stage for run in runs} == stages
    for run in runs:
        assert run.configuration == design.configuration(run.arm, run.pair)
    owned = [r for r in runs if r.arm == "tweak2" and r.stage == "ladder"]
    assert {run.configuration["own"] for run in owned} == {1, 2}


def test_the_statistics_are_told_how_a_study_was_drawn(tmp_path, monkeypatch):
    told = []
    made = searches.search

    def noting(*args, **options):
        found = made(*args, **options)
        told.extend(s.stratified for s in (found, *found.rungs.values()))
        return found

    monkeypatch.setattr(searches, "search", noting)
    for sampling in ("sobol", "random"):
        told.clear()
        protocol = LADDER.replace(sampling=sampling)
        Study(protocol, tmp_path / sampling, trainer=TRUTH).run()
        assert len(told) >= 6
        assert set(told) == {sampling == "sobol"}


def test_a_study_of_independent_draws_goes_on_with_them(tmp_path):
    """Before Sobol sequences no protocol said how it drew."""
    old = PROTOCOL.replace(sampling="random")
    begun = Study(old, tmp_path, trainer=trainer)
    begun.run()
    assert "sampling" not in begun.trial.resolved
    with Store(tmp_path, read_only=True) as store:
        for run in store.runs():
            space = begun.trial.spaces[run.arm]
            assert run.configuration == sample(space, 0, run.pair)
    again = Study(PROTOCOL, tmp_path, trainer=trainer)
    assert again.hash == begun.hash
    assert again.run().to_json() == (tmp_path / "verdict.json").read_text()
    with pytest.raises(StudyError, match='sampling: "random" -> "sobol"'):
        Study(PROTOCOL.replace(sampling="sobol"), tmp_path, trainer=trainer).run()
    # Where nothing has begun, the sequence is drawn.
    assert Study(PROTOCOL, tmp_path / "new", trainer=trainer).hash != begun.hash


def test_a_study_goes_on_with_what_decayed_in_it(tmp_path):
    """Before biases were left out no protocol said that they decay."""
    unsaid = Protocol(
        data="digits", baseline="linear", challengers=["mlp(width=8)"], steps=4,
        configurations=4, effort=1, confirm_seeds=1, recipe={"momentum": 0.8},
    )  # fmt: skip
    old, new = (
        unsaid.replace(recipe={"weight_decay_on": said, "momentum": 0.8})
        for said in ("all", "weights")
    )
    begun = Study(old, tmp_path / "old")
    begun.run()
    assert "weight_decay_on" not in begun.trial.resolved["recipe"]
    again = Study(unsaid, tmp_path / "old")
    assert again.hash == begun.hash
    assert again.trial.problem.recipe.weight_decay_on == "all"
    assert again.run().to_json() == (tmp_path / "old" / "verdict.json").read_text()
    with pytest.raises(StudyError, match='weight_decay_on: "all" -> "weights"') as e:
        Study(new, tmp_path / "old").run()
    assert "sampling" not in str(e.value)
    # Where nothing has begun, biases do not decay; nor is that said twice.
    fresh = Study(unsaid, tmp_path / "new")
    assert fresh.trial.problem.recipe.weight_decay_on == "weights"
    assert fresh.trial.resolved["recipe"]["weight_decay_on"] == "weights"
    assert Study(new, tmp_path / "new").hash == fresh.hash


def test_a_trainer_of_ones_own_has_no_recipe(tmp_path):
    """So its protocol keeps the hash that it had before there was a word on biases."""
    study = Study(PROTOCOL, tmp_path, trainer=trainer)
    assert "weight_decay_on" not in study.trial.resolved["recipe"]


def test_a_study_says_where_its_draws_are_not_balanced(tmp_path):
    def said(**changes):
        study = Study(PROTOCOL.replace(**changes), tmp_path, trainer=trainer)
        return [note for note in study.notes if "Sobol" in note]

    assert said() == said(configurations=24, sampling="random") == []
    (note,) = said(configurations=24)
    assert "24 is none, 16 and 32 are" in note
    (note,) = said(configurations=24, effort=6)
    assert "24 is none, 32 is." in note
    assert said(configurations=24, space={}) == []

"""A profile as it is carried out: stages, records, what goes on, and what costs are read."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from archtrial import experiments
from archtrial.errors import RecordsError, StudyError
from archtrial.experiments.profile import cost as judged
from archtrial.experiments.profile.study import Study
from archtrial.records.store import Store
from archtrial.records.table import CurvePoint, Run
from archtrial.training.run import Job, train

from . import profiled


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return profiled.saved(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def study(data, tmp_path_factory):
    """The small study, carried out once."""
    begun = profiled.begun(tmp_path_factory.mktemp("profiles") / "small", data)
    profiled.carried_out(begun)
    return begun


def recorded(folder):
    with Store(folder, read_only=True) as store:
        return store.runs(), store.events(), store.measured()


def costs(study):
    found = study.verdict.to_dict()["groups"]["cost"]
    return {entry["name"]: entry for entry in found["architectures"]}


def test_each_learning_rate_is_tried_and_the_best_trained_afresh(study):
    runs, _, _ = recorded(study.folder)
    tried = [run for run in runs if run.stage == "search"]
    assert {(r.arm, r.pair, r.seed) for r in tried} == {
        (arm, pair, 0) for arm in ("linear", "wide") for pair in (0, 1)
    }
    rates = {run.pair: run.configuration["learning_rate"] for run in tried}
    assert rates == {0: 0.01, 1: 0.1}
    for arm in ("linear", "wide"):
        best = max((r for r in tried if r.arm == arm), key=lambda r: r.validation)
        fresh = [r for r in runs if r.arm == arm and r.stage == "confirm"]
        assert [r.seed for r in fresh] == [1, 2, 3, 4, 5, 6]
        assert {r.pair for r in fresh} == {best.pair}
        assert costs(study)[arm]["learning_rate"] == rates[best.pair]
        assert all(len(r.curve) == 8 for r in fresh)


def test_the_test_set_stays_sealed_for_good(study):
    runs, events, _ = recorded(study.folder)
    assert {run.test for run in runs} == {None}
    names = [name for _, name, _ in events]
    assert names.count("ended without a test set") == 1
    assert "test set opened" not in names
    assert "test" not in json.dumps(study.verdict.to_dict())
    page = study.judgement.page()
    assert "validation accuracy" in page
    assert "test accuracy" not in page


def test_counts_are_of_the_networks_that_were_trained(study):
    found = costs(study)
    rows = found["linear"]["batch"]
    assert rows == min(100, len(study.split.y_train))
    assert found["linear"]["parameters"] == 6 * 2 + 2
    assert found["linear"]["answer_flops"] == 2 * 6 * 2
    # Forward, and the weights' gradient.
    assert found["linear"]["step_flops"] == 2 * 2 * rows * 6 * 2
    assert found["linear"]["kept"] == 4 * rows * 6
    for name, entry in found.items():
        runs = [r for r in recorded(study.folder)[0] if r.arm == name]
        assert {r.parameters for r in runs} == {entry["parameters"]}
        assert {r.flops for r in runs} == {entry["step_flops"] * 40}
        assert entry["kept"] < entry["peak"]


def test_the_price_of_a_target_is_read_off_learning_curves(study):
    runs, _, _ = recorded(study.folder)
    found = study.verdict.to_dict()["groups"]["cost"]
    fresh = {
        name: [r for r in runs if r.arm == name and r.stage == "confirm"]
        for name in ("linear", "wide")
    }
    ends = {n: sorted(r.validation for r in own)[2] for n, own in fresh.items()}
    target = min(ends.values())
    assert found["target"]["score"] == target
    assert ends[found["target"]["ends_lowest"]] == target
    for name, own in fresh.items():
        steps = [
            next((p.step for p in r.curve if p.validation >= target), math.inf)
            for r in own
        ]
        entry = costs(study)[name]
        assert entry["reached"] == sum(map(math.isfinite, steps)) >= 4
        middle = sorted(steps)[2:4]
        assert entry["steps_to_target"]["estimate"] == sum(middle) / 2
        # Of six values the exact interval reaches from the least to the largest.
        assert entry["steps_to_target"]["low"] == min(steps)
        last = entry["steps_to_target"]["high"]
        assert last == (None if math.isinf(max(steps)) else max(steps))
        for end in ("estimate", "low"):
            assert (
                entry["flops_to_target"][end]
                == entry["steps_to_target"][end] * entry["step_flops"]
            )


def test_what_is_timed_is_no_part_of_what_was_found(study, tmp_path):
    told = json.loads((study.folder / "machine.json").read_text())
    assert set(told["cost"]) == {"linear", "wide"}
    for entry in told["cost"].values():
        assert set(entry) == {"one", "batch", "step", "peak"}
        assert entry["one"]["batch"] == 1
        assert entry["step"]["median"] > 0
        assert entry["peak"] > 0
    assert "a step" in study.judgement.page()
    copy = shutil.copytree(study.folder, tmp_path / "copy")
    (copy / "machine.json").unlink()
    without = experiments.judge(copy)
    assert without.verdict.to_json() == (study.folder / "verdict.json").read_text()
    assert "On the machine" in study.judgement.page()
    assert "On the machine" not in without.page()
    (copy / "machine.json").write_text("{half")
    assert experiments.judge(copy).verdict.to_json() == without.verdict.to_json()


def test_it_is_the_same_with_workers_or_without_and_after_an_interruption(
    study, data, tmp_path
):
    class StoppedError(Exception):
        pass

    def stop(standing):
        if standing.stage == "fresh seeds" and standing.done:
            raise StoppedError

    interrupted = profiled.begun(tmp_path / "study", data)
    with pytest.raises(StoppedError):
        profiled.carried_out(interrupted, watch=stop)
    with pytest.raises(RecordsError, match="archtrial profile --study"):
        experiments.judge(tmp_path / "study")
    profiled.carried_out(profiled.begun(tmp_path / "study", data), workers=2)
    expected = (study.folder / "verdict.json").read_bytes()
    assert (tmp_path / "study" / "verdict.json").read_bytes() == expected


def test_a_finished_one_trains_counts_and_times_nothing_again(study, data, tmp_path):
    copy = shutil.copytree(study.folder, tmp_path / "copy")
    before = recorded(copy), (copy / "machine.json").read_bytes()
    again = profiled.begun(copy, data)
    again.run()
    assert [r.key for r in recorded(copy)[0]] == [r.key for r in before[0][0]]
    assert recorded(copy)[1] == before[0][1]
    assert (copy / "machine.json").read_bytes() == before[1]
    with Store(copy) as store, pytest.raises(StudyError, match="leaves it sealed"):
        store.open_test({}, {})


def test_a_network_is_the_one_that_was_trained(data, tmp_path):
    study = profiled.begun(tmp_path / "study", data)
    item = study.first("wide")
    untrained = study.network(item, trained=False)
    again = study.network(item, trained=False)
    for one, other in zip(untrained.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(StudyError, match="stay where they were written"):
        study.network(item, trained=True)
    # The weights that a training kept are those that it ended with.
    kept = study.first("wide")
    job = study.loops._job(kept)
    outcome = train(
        study.loops.problem_of("wide"),
        Job(
            **{
                **{f: getattr(job, f) for f in job.__dataclass_fields__},
                "keep_weights": True,
            }
        ),
    )
    from archtrial.trainers.runs import finished

    done = finished(kept, outcome)
    place = study.weights_file(done)
    place.parent.mkdir(parents=True)
    place.write_bytes(done.weights)
    network = study.network(kept, trained=True)
    for name, value in network.state_dict().items():
        assert torch.equal(value, outcome.weights[name])


def test_a_declared_target_that_nobody_reaches(data, tmp_path):
    study = profiled.begun(tmp_path / "study", data, target_score=1.0, steps=8)
    profiled.carried_out(study)
    verdict = study.verdict.to_dict()
    found = verdict["groups"]["cost"]
    assert found["target"] == {"score": 1.0, "ends_lowest": None}
    for entry in found["architectures"]:
        assert entry["reached"] == 0
        assert set(entry["flops_to_target"].values()) == {None}
    assert verdict["sentence"].startswith("None reaches 100.0")
    page = study.judgement.page()
    assert "not reached" in page
    assert "None reaches 100.0" in page
    for width in (760, 360):
        study.judgement.figures["cost"](width)


def test_one_architecture_alone_needs_no_figure(data, tmp_path):
    study = profiled.begun(tmp_path / "study", data, architectures="linear", steps=8)
    profiled.carried_out(study)
    assert str(study.verdict).startswith("linear has ")
    assert study.judgement.figures == {}
    assert "The price of" in study.judgement.page()


def test_numbers_without_bounds_are_profiled_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(160, 6)).astype(np.float32)
    np.savez(tmp_path / "numbers.npz", x=x, y=x[:, 0] * 3 + x[:, 1])
    study = profiled.begun(
        tmp_path / "study", tmp_path / "numbers.npz", metric="rmse", steps=8
    )
    profiled.carried_out(study)
    found = study.verdict.to_dict()["groups"]["cost"]
    lowest = found["target"]["ends_lowest"]
    # Lower is better: whoever ends lowest has the largest error.
    ends = {e["name"]: e["score"]["estimate"] for e in found["architectures"]}
    assert lowest == max(ends, key=ends.get)


# ---------------------------------------------------------------- reading by hand


def a_run(scores, seed=1, diverged=False):
    curve = tuple(CurvePoint(10 * i, 1.0, s) for i, s in enumerate(scores, 1))
    return Run(
        "mlp", 0, seed, "confirm", {}, scores[-1], diverged=diverged, curve=curve
    )


def test_a_target_is_reached_at_the_first_score_that_has_it():
    runs = [
        a_run([0.1, 0.5, 0.4, 0.6]),
        a_run([0.1, 0.2, 0.3, 0.4]),
        a_run([0.5, 0.4, 0.4, 0.4]),
        a_run([0.9, 0.9], diverged=True),
    ]
    assert list(judged.at_target(runs, 0.5, 1)) == [20, math.inf, 10, math.inf]
    # Of errors the lower ones are better.
    assert list(judged.at_target(runs, 0.2, -1)) == [10, 10, math.inf, math.inf]


@pytest.mark.parametrize(("seeds", "have_it"), [(6, 4), (7, 4), (1, 1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_by_default_most_seeds_of_the_lowest_reach_the_target(seeds, have_it, sign):
    scores = np.arange(1, seeds + 1) / 100
    fresh = {
        "low": [a_run([sign * s]) for s in scores],
        "high": [a_run([sign * (s + 0.5)]) for s in scores],
    }
    target, name = judged.default_target(fresh, sign)
    assert name == "low"
    steps = judged.at_target(fresh["low"], target, sign)
    assert np.isfinite(steps).sum() == have_it


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ((30, 10, 40), "30 kB (10 to 40)"),
        ((30, 10, 4000), "30 kB (10 kB to 4 MB)"),
        ((30, 4000, 9000), "30 kB (4 to 9 MB)"),
        ((30, 30, 30), "30 kB"),
        ((30, 10, None), "30 kB (10 kB or more)"),
        ((None, 10, None), "not reached"),
    ],
)
def test_an_interval_says_its_unit_once(found, written):
    def unit(number):
        return f"{number} kB" if number < 1000 else f"{number // 1000} MB"

    entry = dict(zip(("estimate", "low", "high"), found, strict=True))
    assert judged._between(entry, unit) == written


@pytest.mark.parametrize(
    ("power", "written"),
    [
        (0, "1 FLOP"),
        (4, "10 kFLOP"),
        (8, "100 MFLOP"),
        (9, "1 GFLOP"),
        (20, "100 EFLOP"),
    ],
)
def test_powers_of_ten_have_prefixes(power, written):
    assert judged._power(power) == written


def test_from_python_a_folder_has_a_name_of_its_own(data):
    assert str(Study(profiled.declared(data)).folder).startswith("studies/")

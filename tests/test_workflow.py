"""What every study shares: plans that are recorded, stages that go on."""

import json
import shutil
from pathlib import Path

import pytest

from archtrial import Protocol, Study, cli, progress, workflow
from archtrial.console import process
from archtrial.experiments import relax
from archtrial.experiments.relax.study import Study as Relaxing
from archtrial.protocol import digest
from archtrial.records.store import Store
from archtrial.testing import KnownTruth, Surface


class StoppedError(Exception):
    pass


def declared(**more):
    return Protocol(
        data="made up", baseline="plain", challengers=["tweak"], metric="accuracy",
        **{"configurations": 16, "effort": 4, **more},
    )  # fmt: skip


def truth():
    return KnownTruth({"plain": Surface(peak=0.8), "tweak": Surface(peak=0.83)})


def test_what_is_planned_is_recorded_before_and_what_finished_after(tmp_path):
    def watch(standing):
        if standing.stage == "search" and standing.done == 10:
            raise StoppedError

    with pytest.raises(StoppedError):
        Study(declared(), tmp_path, trainer=truth()).run(watch=watch)
    with Store(tmp_path, read_only=True) as store:
        (search,) = progress.stages(store)
    assert search == progress.Stage("search", 32, 10)
    Study(declared(), tmp_path, trainer=truth()).run()
    with Store(tmp_path, read_only=True) as store:
        found = progress.stages(store)
        plans = [d for _, name, d in store.events() if name == "stage planned"]
    # Whoever went on with the search planned the same, and recorded nothing again.
    assert [json.loads(plan)["stage"] for plan in plans] == ["search", "confirm"]
    assert [stage.name for stage in found] == ["search", "confirm"]
    assert all(stage.finished == stage.planned > 0 for stage in found)
    assert json.loads(plans[0])["trainings"][0] == {
        "arm": "plain",
        "pair": 0,
        "seed": 0,
    }


def test_each_look_adds_to_its_stages(tmp_path):
    looked = declared(looks=(16, 32), configurations=32)
    same = KnownTruth({"plain": Surface(peak=0.8), "tweak": Surface(peak=0.8)})
    Study(looked, tmp_path, trainer=same).run()
    with Store(tmp_path, read_only=True) as store:
        counted = {stage.name: stage for stage in progress.stages(store)}
        searched = sum(run.stage == "search" for run in store.runs())
    assert counted["search"].planned == counted["search"].finished == searched == 64


def test_an_experiments_coordinates_are_data(tmp_path):
    protocol = relax.Protocol(
        data="digits", architecture="cnn(width=2, depth=2)", steps=1, relax_times=(0, 1),
        seeds=2, learning_rates=(0.1,), tuning_seeds=1, curvature_examples=0,
    )  # fmt: skip
    Relaxing(protocol, tmp_path).run()
    with Store(tmp_path, read_only=True) as store:
        stages, runs = progress.stages(store), store.runs(per_example=False)
    assert all(stage.finished == stage.planned for stage in stages)
    # The CNN and the fresh net, at one rate; both on two seeds; what goes on, at both
    # times; and each of these on two seeds.
    assert [stage.planned for stage in stages] == [2, 4, 4, 4, 4]
    assert {run.arm for run in runs} == {"cnn", "fcn", "kept", "efcn"}
    assert {run.coordinates["relax_time"] for run in runs} == {0, 1}


class Counting(workflow.Study):
    """A study of three trainings that are numbers."""

    sign = 1

    def __init__(self, folder, judged):
        self.protocol = declared()
        self.resolved = {"experiment": "counting", "notes": ["three"]}
        self.folder, self.judged, self.trainer = folder, judged, self
        self.finished = False

    def divide(self, items):
        return [(item,) for item in items]

    def __call__(self, task):
        raise StoppedError

    def stages(self, work):
        work.carry_out("count", iter(range(3)))

    def coordinates(self, item):
        return {"arm": "number", "pair": item, "seed": 0, "half": item / 2}

    def alike(self, item):
        return None

    def weights_file(self, done):
        raise AssertionError("nothing was left")

    def judge(self):
        return self.judged

    def finish(self, store):
        self.finished = True


def test_a_kind_of_study_of_ones_own_is_planned_in_its_own_coordinates(tmp_path):
    study = Counting(tmp_path, None)
    with pytest.raises(StoppedError):
        study.run()
    with Store(tmp_path, read_only=True) as store:
        assert progress.stages(store) == [progress.Stage("count", 3, 0)]
    assert study.notes == ("three",)
    assert not study.finished


def test_a_study_under_the_defaults_of_before_is_pointed_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = Study(declared(sampling="random"), trainer=truth())
    before.folder.mkdir(parents=True)
    (note,) = [n for n in Study(declared(), trainer=truth()).notes if "--study" in n]
    assert f"--study {before.folder}" in note
    again = Study(declared(sampling="random"), trainer=truth())
    assert not [n for n in again.notes if "--study" in n]


@pytest.mark.parametrize("arm", ["mlp", "mlp(recipe=modern)"])
def test_a_network_of_before_is_pointed_to_also_where_everything_decayed(
    tmp_path, monkeypatch, arm
):
    monkeypatch.chdir(tmp_path)
    now = Protocol(data="digits", baseline="linear", challengers=[arm])
    before = now.replace(recipe={"weight_decay_on": "all"}, sampling="random")
    folder = Study(before).folder
    folder.mkdir(parents=True)
    assert any(f"--study {folder}" in note for note in Study(now).notes)


def test_where_runs_cannot_share_fleets_a_study_has_the_same_hash(tmp_path):
    """A numerical comparison on this machine is no part of what is asked."""
    study = Study(Protocol(data="digits", baseline="linear", challengers=["mlp"]))
    elsewhere = json.loads(json.dumps(study.resolved))
    elsewhere["challengers"][0]["fleet"] = not elsewhere["challengers"][0]["fleet"]
    elsewhere["device"] = "cpu:0"
    assert digest(elsewhere) == study.hash
    elsewhere["challengers"][0]["options"]["depth"] = 9
    assert digest(elsewhere) != study.hash


def test_how_a_study_is_carried_out_may_be_said_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = Protocol(
        data="digits", baseline="linear", challengers=["mlp(width=8)"], steps=2,
        configurations=4, effort=1, confirm_seeds=1,
    )  # fmt: skip
    Study(small, tmp_path / "kept").run()
    before = (tmp_path / "kept/verdict.json").read_bytes()
    arguments = [
        "run",
        "--study",
        "kept",
        "--fleet",
        "never",
        "--memory",
        "2",
        "--json",
    ]
    process.called(cli.program(), arguments)
    told = capsys.readouterr()
    assert "archtrial:" not in told.err
    assert told.out.encode() == before


def test_status_tells_of_a_relaxing_study_from_before(tmp_path, capsys):
    from archtrial.experiments import relax

    old = Path(__file__).parent / "experiments/before_coordinates"
    shutil.copytree(old, tmp_path / "old")
    declared_then = relax.begun(tmp_path / "old")
    Relaxing(declared_then, tmp_path / "old").run()
    process.called(cli.program(), ["status", str(tmp_path / "old"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "relax"
    assert all(one["planned"] == one["finished"] > 0 for one in found["stages"])

"""The experiment end to end: real networks on real data, small."""

import collections
import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from archtrial import equivalents, execution, workflow
from archtrial.errors import ArmError, RecordsError, StudyError
from archtrial.experiments import relax
from archtrial.experiments.relax import training
from archtrial.experiments.relax.study import Study
from archtrial.files import write
from archtrial.records.store import Store
from archtrial.workflow import work as working

from .relaxed import SEEDS, TIMES, Recorded, runs_of


def test_every_stage_has_its_rows(trained, rows):
    counted = collections.Counter(
        (r.stage, r.arm, r.reading) for r in rows.values()
    )  # fmt: skip
    wanted = {}
    for reading in ("best", "last"):
        # As many rates, by as many tuning seeds, for the CNN that goes on.
        for arm in (
            "cnn@6", "fcn@6", "kept@0", "kept@3", "kept@6", "efcn@0", "efcn@3", "efcn@6",
        ):  # fmt: skip
            wanted["search", arm, reading] = 2 * 2  # rates by tuning seeds
        for arm, time in itertools.product(("cnn", "fcn", "kept", "efcn"), TIMES):
            wanted["confirm", f"{arm}@{time}", reading] = 6
    assert counted == wanted
    assert {r.seed for r in rows.values() if r.stage == "search"} == {0, -1}
    assert {r.seed for r in rows.values() if r.stage == "confirm"} == set(SEEDS)


def test_trainings_are_forecast_and_counted(trained, document):
    forecast = trained.forecast()
    # 2 rates by 2 tuning seeds, at each relax time for what goes on; then 6 seeds.
    assert forecast["trainings"] == {"cnn": 10, "fresh": 10, "kept": 30, "relaxed": 30}
    assert document["cost"]["trainings"] == 80
    # What is kept has the CNN's cost of a step, for half as many steps.
    assert forecast["flops"]["kept"] == 3 * forecast["flops"]["cnn"] / 2
    assert forecast["flops"]["relaxed"] == 3 * forecast["flops"]["fresh"] / 2
    assert document["cost"]["flops"] == sum(forecast["flops"].values())


def test_the_test_set_is_opened_once_and_when_all_has_been_trained(trained, rows):
    with Store(trained.folder, read_only=True) as store:
        assert store.openings == 1
        assert not store.sealed()
    opened, judged = trained.standings[-2:]
    assert (opened.stage, judged.stage) == ("test", "judge")
    assert opened.done == judged.done == len(rows)
    assert all(run.test is not None for run in rows.values())


def test_the_watcher_sees_five_stages_come_to_their_end(trained):
    stages = collections.defaultdict(list)
    for standing in trained.standings:
        stages[standing.stage].append((standing.done, standing.planned))
    assert [seen[-1] for seen in stages.values()] == [
        (8, 8), (12, 12), (24, 24), (18, 18), (18, 18), (208, 0), (208, 0),
    ]  # fmt: skip
    for seen in stages.values():
        assert seen == sorted(seen)
    trained_in = {
        name: s for name, s in stages.items() if name not in ("test", "judge")
    }
    assert all(seen[0][0] == 0 for seen in trained_in.values())


def test_the_folder_has_the_verdict_and_the_page(trained, document):
    assert document == trained.verdict.to_dict()
    assert str(trained.verdict) == document["sentence"]
    page = (trained.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert document["sentence"].split(",")[0] in page
    assert not list(trained.folder.glob("**/*.unfinished"))


@pytest.mark.parametrize("name", ["trained", "amount_study"])
def test_weights_are_counted_as_each_network_trains_them(name, request):
    trainer = request.getfixturevalue(name).trainer
    for kind in ("cnn", "kept", "relaxed", "fresh"):
        held = sum(p.numel() for p in trainer.network(kind).parameters())
        assert trainer.parameters[kind] == held


def test_no_path_clock_or_machine_stands_in_the_verdict(trained):
    text = (trained.folder / "verdict.json").read_text()
    assert str(trained.folder) not in text
    assert "seconds" not in text
    assert "began" not in text


class StoppedError(Exception):
    pass


def never(*_):
    raise AssertionError("nothing is left to train")


def test_a_finished_study_trains_nothing_again(trained, small, monkeypatch):
    before = (trained.folder / "verdict.json").read_bytes()
    monkeypatch.setattr(training.Trainer, "__call__", never)
    again = Study(small, trained.folder)
    assert again.run().to_dict() == trained.verdict.to_dict()
    assert (trained.folder / "verdict.json").read_bytes() == before
    with Store(trained.folder, read_only=True) as store:
        assert store.openings == 1


def test_interrupted_within_every_stage_it_ends_with_the_same_bytes(
    trained, small, tmp_path
):
    seen, trainings, written = set(), [], []
    whole = training.Trainer.__call__

    def counting(self, task):
        trainings.extend(task)
        return whole(self, task)

    def watch(standing):
        within = standing.done > 0 and standing.done != standing.planned
        # When the verdict is reached, all has been trained.
        if within and standing.stage not in {"judge", *seen}:
            seen.add(standing.stage)
            raise StoppedError

    def writing(path, content, **where):
        written.append(path)
        if len(written) == 2:
            raise StoppedError
        write(path, content, **where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "__call__", counting)
        patch.setattr(working, "write", writing)
        for stopped in (True,) * 7 + (False,):
            study = Study(small, tmp_path)
            if stopped:
                with pytest.raises(StoppedError):
                    study.run(watch=watch)
                with pytest.raises(RecordsError, match="archtrial relax --study"):
                    _ = study.verdict
            else:
                study.run(watch=watch)
    assert len(seen) == 6
    # What had been recorded was not trained again; what had not, as its weights could
    # not be written, was.
    assert trainings[:4] == trainings[4:8]
    assert len(trainings[4:]) == len(set(trainings)) == 80
    for name in ("verdict.json", "protocol.json"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_the_number_of_workers_changes_nothing(trained, small, tmp_path, monkeypatch):
    asked, executor = [], execution.executor

    def counted(setup, **how):
        asked.append(how)
        return executor(setup, **how)

    monkeypatch.setattr(execution, "executor", counted)
    Study(small, tmp_path).run(workers=2)
    assert asked == [{"workers": 2, "threads": 1}]
    for name in ("verdict.json", "protocol.json"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_each_stage_goes_on_with_the_rate_that_was_chosen_for_it(
    small, tmp_path, monkeypatch
):
    best, planned = {"cnn": 1, "fresh": 0, "kept": 0, "relaxed": 0}, []

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr(Study, "_chosen", lambda self, kind, *_: best[kind])
    monkeypatch.setattr(
        workflow.Work, "carry_out", lambda _, stage, items: planned.append(list(items))
    )
    monkeypatch.setattr(workflow.Work, "open_test", stop)
    with pytest.raises(StoppedError):
        Study(small, tmp_path).run()
    _, fresh, tuning, kept, relaxed = planned
    assert {(item.kind, item.rate) for item in fresh} == {("cnn", 1), ("fresh", 0)}
    assert {item.cnn_rate for item in itertools.chain(tuning, kept, relaxed)} == {1}
    assert {(item.kind, item.rate) for item in kept} == {("kept", 0)}
    assert {(item.kind, item.rate) for item in relaxed} == {("relaxed", 0)}


def test_global_generators_are_left_as_they_were(small, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - what is looked at
    few = {"relax_times": (0,), "seeds": 1, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(**few), tmp_path)
    study.run()
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    # One seed decides nothing, and one learning rate lies at no edge.
    document = study.verdict.to_dict()
    assert document["verdict"] == "not_assessable"
    assert not any("edge" in warning for warning in document["warnings"])
    assert document["times"][0]["scores"]["best"]["cnn"]["low"] is None
    assert study.report(tmp_path / "page.html").read_text().startswith("<!doctype")


def test_another_declaration_in_the_same_folder_is_refused(trained, small):
    with pytest.raises(StudyError) as caught:
        Study(small.replace(seeds=7, margin=0.01), trained.folder).run()
    assert "seeds: 6 -> 7" in str(caught.value)
    assert "margin: 0.05 -> 0.01" in str(caught.value)


CHANGES = {
    "data": "amounts",
    "task": "regression",
    "metric": "balanced_accuracy",
    "splits": {"kind": "random"},
    "architecture": "cnn(width=2, depth=1)",
    "form": "lcn",
    "batch_norm": "folded",
    "steps": 7,
    "relax_times": (0, 2, 6),
    "seeds": 7,
    "learning_rates": (0.1, 0.3),
    "tuning_seeds": 3,
    "reading": "last",
    "evaluations": 2,
    "curvature_examples": 10,
    "recipe": {"momentum": 0.5},
    "batch_size": 50,
    "margin": 0.04,
    "alpha": 0.1,
    "seed": 1,
    "threads": 2,
    "scale": False,
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_declaration_has_another_hash(
    trained, small, tmp_path, monkeypatch, request, name
):
    """So that none goes on silently in the folder of another."""
    # It takes most of the time, and finds none here.
    monkeypatch.setattr(Study, "_obstacle", lambda self, kind: None)
    value = CHANGES[name]
    if name == "data":
        value = request.getfixturevalue(value)
    assert Study(small.replace(**{name: value}), tmp_path).hash != trained.hash


def test_every_field_that_changes_results_is_looked_at(trained, small, monkeypatch):
    monkeypatch.setattr(Study, "_obstacle", lambda self, kind: None)
    assert Study(small, trained.folder).hash == trained.hash
    # A table's column, a GPU, where inputs lie, other ways to say how many steps there are, and how data
    # are read that are written otherwise, whose digest then differs.
    left = {"target", "device", "memory", "epochs", "last_relax_time"}
    left |= {"categorical", "channels", "dates", "decimal", "lengths"}
    left |= {"max_tokens", "max_vocabulary", "text", "tokens"}  # texts are refused
    assert set(relax.Protocol.model_fields) - left == set(CHANGES)


def test_the_declaration_goes_on_from_its_folder(trained, small):
    assert relax.begun(trained.folder) == small
    assert Study(relax.begun(trained.folder), trained.folder).hash == trained.hash


def test_what_is_trained_at_once_fits_into_memory(small, tmp_path, monkeypatch):
    study = Study(small.replace(curvature_examples=0), tmp_path)
    one = 4 * study.trainer.parameters["relaxed"]  # bytes of its weights
    # Four train at once; without a curvature that is the most there is.
    held = 5 * 4 * one
    monkeypatch.setattr(equivalents, "available_memory", lambda device: held)
    study.check(workers=1)
    with pytest.raises(StudyError, match="Take fewer workers"):
        study.run(workers=2)
    Study(small, tmp_path, force=True).check(workers=2)
    # One that is measured takes more than four in training.
    sought = Study(small, tmp_path)
    with pytest.raises(StudyError, match="curvature_examples = 0"):
        sought.check(workers=1)
    held = 25 * one
    sought.check(workers=1)
    held -= 1
    with pytest.raises(StudyError, match=r"fits into memory \(cpu\)"):
        sought.check(workers=1)


def test_what_measures_a_curvature_lies_with_the_processor_too(
    small, tmp_path, monkeypatch
):
    study = Study(small, tmp_path)
    one = 4 * study.trainer.parameters["relaxed"]
    free = {"cuda": 1e12, "cpu": 25 * one}
    study.protocol = small.replace(device="cuda")
    monkeypatch.setattr(equivalents, "available_memory", free.__getitem__)
    study.check(workers=1)
    with pytest.raises(StudyError, match=r"fits into memory \(cpu\)"):
        study.check(workers=2)
    free |= {"cuda": 25 * one - 1, "cpu": 1e12}
    with pytest.raises(StudyError, match=r"fits into memory \(cuda\)"):
        study.check(workers=1)
    # What trains there takes nothing of the host's.
    study.protocol = small.replace(device="cuda", curvature_examples=0)
    free |= {"cuda": 20 * one, "cpu": 5 * one}
    study.check(workers=1)


@pytest.mark.parametrize(("name", "better"), [("trained", 1), ("amount_study", -1)])
def test_what_is_trained_on_is_chosen_by_the_declared_reading(name, better, request):
    """Both readings never agree, nor does the lowest score with the highest."""
    study = request.getfixturevalue(name)
    turned = [
        dataclasses.replace(
            found,
            validation=better
            * float((found.pair == 1) == (found.reading == study.protocol.reading)),
        )
        for found in runs_of(study.folder)
    ]
    for kind in ("cnn", "fresh"):
        assert study._chosen(kind, Recorded(turned)) == 1
    for kind, time in itertools.product(("kept", "relaxed"), study.times):
        assert study._chosen(kind, Recorded(turned), time) == 1


@pytest.mark.parametrize("architecture", ["mlp", "linear"])
@pytest.mark.parametrize("form", ["fcn", "lcn"])
def test_a_network_that_is_its_own_equivalent_is_refused(
    small, tmp_path, architecture, form
):
    with pytest.raises(ArmError) as caught:
        Study(small.replace(architecture=architecture, form=form), tmp_path)
    assert f"{architecture} does not: its equivalent is itself" in str(caught.value)
    assert "such as cnn" in str(caught.value)


def notes_of(declared, folder):
    return " ".join(Study(declared, folder).notes)


def test_what_can_be_told_beforehand_is_told(trained, small, tmp_path):
    few = notes_of(small.replace(seeds=5), tmp_path)
    assert (
        "There will be no verdict: it takes 6 seeds at least, and there are 5." in few
    )
    assert "no verdict" in notes_of(small.replace(alpha=0.01), tmp_path)
    plain = " ".join(trained.notes)
    assert "no verdict" not in plain
    assert "chosen by validation on 2 tuning seeds; no interval" in plain
    one = notes_of(small.replace(tuning_seeds=1), tmp_path)
    assert "chosen by validation on 1 tuning seed; no interval" in one
    assert "last relax time" not in plain
    late = notes_of(small.replace(relax_times=(0, 7)), tmp_path)
    assert (
        "The last relax time is step 7: the CNN and the fresh network train 13 steps."
        in late
    )
    assert "optimiser" not in plain
    with_momentum = notes_of(small.replace(recipe={"momentum": 0.9}), tmp_path)
    assert "both begin without what the optimiser remembered" in with_momentum
    adam = Study(small.replace(recipe={"optimizer": "adam"}), tmp_path)
    assert any("what the optimiser remembered" in note for note in adam.notes)
    of_data = adam.split.notes
    adam.split = copy.copy(adam.split)
    object.__setattr__(adam.split, "notes", ("A row is odd.",))
    resolved = adam._resolve("digits", dict.fromkeys(adam.trainer.stacks))
    beside = [note for note in adam.notes if note not in of_data]
    assert resolved["notes"] == ["A row is odd.", *beside]


def test_arms_that_fail_throughout_stop_the_study(small, tmp_path):
    failing = []

    def net(input_shape, num_outputs):
        if failing:  # in training, and not when it is rehearsed
            raise ValueError("not today")
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
        )

    study = Study(small.replace(architecture=net), tmp_path)
    failing.append(True)
    with pytest.raises(StudyError) as caught:
        study.run()
    assert "cnn@6 comes to its end: all 4 failed" in str(caught.value)
    with Store(tmp_path, read_only=True) as store:
        assert all("ValueError: not today" in run.error for run in store.runs())


class Lazy(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(1, 2, 3),
            torch.nn.LazyBatchNorm2d(),
            torch.nn.Flatten(),
            torch.nn.LazyLinear(10),
        )


def test_a_network_with_lazy_layers_is_relaxed_like_any(small, tmp_path):
    few = {"relax_times": (2,), "seeds": 1, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(architecture=Lazy, **few), tmp_path)
    assert study.sizes.module == 2 * 9 + 2 + 4 + 72 * 10 + 10
    (entry,) = study.run().to_dict()["times"]
    assert entry["diverged"] == 0
    assert entry["validation"]["start"]["estimate"] is not None
    assert not any(found.error for found in runs_of(tmp_path))


def test_folded_batch_normalisation_is_part_of_the_weights(small, tmp_path):
    study = Study(small.replace(architecture=Lazy, batch_norm="folded"), tmp_path)
    module = study._untrained()
    folded, apart = (
        equivalents.sizes(module, (1, 8, 8), batch_norm=how)
        for how in ("folded", "per_position")
    )
    assert study.sizes == folded != apart
    for network in (study._equivalent(module), study.trainer.network("relaxed")):
        held = sum(p.numel() for p in network.parameters())
        assert held == folded.fcn_without_padding != apart.fcn_without_padding


@pytest.mark.parametrize("kind", ["kept", "relaxed"])
def test_what_goes_on_and_fails_as_a_whole_stops_the_study(
    small, tmp_path, monkeypatch, kind
):
    """Whatever its reason, unless it is that the CNN had diverged."""

    def broken(self, item):
        raise RuntimeError("a slip")

    monkeypatch.setattr(training.Trainer, kind, broken)
    few = {"relax_times": (2,), "seeds": 6, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(**few), tmp_path)
    with pytest.raises(StudyError) as caught:
        study.run()
    arm = {"kept": "kept@2", "relaxed": "efcn@2"}[kind]
    assert f"{arm} comes to its end: all 2 failed" in str(caught.value)

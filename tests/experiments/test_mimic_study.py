"""Teachers, what they say, students with and without them: real networks, small."""

import copy
import dataclasses
import itertools
import json
import shutil
import subprocess

import numpy as np
import pytest
import safetensors.torch
import torch

import archtrial
from archtrial.errors import RecordsError, StudyError
from archtrial.experiments.mimic import training
from archtrial.records.store import Store
from archtrial.trainers import Item
from archtrial.training.latency import Latency
from archtrial.training.objective import SoftTargets

from . import mimicked

STUDENTS = ("mlp1-200", "conv1-200")


def runs_of(study):
    with Store(study.folder, read_only=True) as store:
        return store.runs()


def bytes_of(folder):
    return (folder / "verdict.json").read_bytes()


def members_of(study):
    (teacher,) = [run for run in runs_of(study) if run.arm == "teacher"]
    return teacher.configuration["members"]


def test_every_stage_has_its_rows(mimic_study):
    counted = mimicked.counted(runs_of(mimic_study))
    assert counted["search", "mlp(width=8)", None] == 3
    assert counted["confirm", "teacher", None] == 1
    for student, taught in itertools.product(STUDENTS, (False, True)):
        assert counted["search", student, taught] == 4
        assert counted["confirm", student, taught] >= 1
        assert counted["winner", student, taught] == 10
    # With and without a teacher the same effort is spent.
    for student in STUDENTS:
        first, second = (
            [(r.pair, r.seed) for r in runs_of(mimic_study)
             if r.arm == student and r.stage == "search"
             and r.coordinates["teacher"] is taught]
            for taught in (False, True)
        )  # fmt: skip
        assert first == second


def test_with_and_without_a_teacher_the_same_is_drawn(mimic_study):
    drawn = {}
    for run in runs_of(mimic_study):
        if run.arm == "conv1-200" and run.stage == "search":
            drawn[run.pair, run.coordinates["teacher"]] = run.configuration
    for pair in range(4):
        with_labels, taught = drawn[pair, False], drawn[pair, True]
        assert set(with_labels) - set(taught) == {"weight_decay", "dropout"}
        assert {name: with_labels[name] for name in taught} == taught


def test_the_verdict_and_the_page_are_there(mimic_study):
    document = json.loads(bytes_of(mimic_study.folder))
    assert document == mimic_study.verdict.to_dict()
    assert [student["name"] for student in document["students"]] == [*STUDENTS]
    text = bytes_of(mimic_study.folder).decode()
    for left_out in (str(mimic_study.folder), "seconds", "began", "threads"):
        assert left_out not in text
    assert (mimic_study.folder / "report.html").read_text().startswith("<!doctype")
    assert not list(mimic_study.folder.glob("**/*.unfinished"))
    assert not list(mimic_study.folder.glob("**/.seeds"))


def test_test_inputs_are_nowhere_in_the_transfer_set(mimic_study):
    seen = {row.tobytes() for row in mimic_study.trainer.transfer.inputs}
    for held in (mimic_study.split.x_test, mimic_study.split.x_validation):
        assert not seen & {row.tobytes() for row in held}
    assert len(seen) == len(mimic_study.split.x_train)


def test_what_is_chosen_depends_on_validation_alone(mimic_study, mimic_data, tmp_path):
    study = mimicked.begun(tmp_path, mimic_data)
    turned = 1 - study.split._sealed()
    object.__setattr__(study.split, "_Split__labels", turned)
    seen = []

    def watch(standing):
        if standing.stage not in ("test", "judge"):
            seen.extend(run.test for run in runs_of(study))

    mimicked.carried_out(study, watch=watch)
    assert seen
    assert set(seen) == {None}
    with Store(study.folder, read_only=True) as store:
        assert store.openings == 1

    def told(of):
        return [
            (r.stage, r.key, r.configuration, r.validation) for r in runs_of(of)
        ]  # fmt: skip

    assert told(study) == told(mimic_study)
    assert [r.test for r in runs_of(study)] != [r.test for r in runs_of(mimic_study)]
    for other in (study, mimic_study):
        assert sorted(p.name for p in (other.folder / "teachers").iterdir()) == sorted(
            training.place_of(other.folder, Item(**m, seed=0, stage="search")).name
            for m in members_of(mimic_study)
        )


class StoppedError(Exception):
    pass


def test_interrupted_in_every_stage_it_ends_with_the_same_bytes(
    mimic_study, mimic_data, tmp_path, monkeypatch
):
    stopped, answered = set(), []
    whole = training.Ensemble.answers

    def answers(self, inputs):
        answered.append(len(inputs))
        if "answer" not in stopped and len(answered) == 3:
            stopped.add("answer")
            raise StoppedError
        return whole(self, inputs)

    def watch(standing):
        if standing.done and standing.stage not in {"judge", *stopped}:
            stopped.add(standing.stage)
            raise StoppedError

    monkeypatch.setattr(training.Ensemble, "answers", answers)
    monkeypatch.setattr("archtrial.experiments.mimic.transfer._BLOCK", 30 * 12)
    for _ in range(6):
        study = mimicked.begun(tmp_path, mimic_data)
        with pytest.raises(StoppedError):
            mimicked.carried_out(study, watch=watch)
        with pytest.raises(RecordsError, match="archtrial mimic --study"):
            _ = study.verdict
    mimicked.carried_out(mimicked.begun(tmp_path, mimic_data), watch=watch)
    assert {"answer", "teachers: search", "students: search", "test"} < stopped
    # 30 + 30 before the third block was interrupted; then that, validation and test.
    assert answered == [30, 30, 12, 12, 24, 24]
    assert bytes_of(tmp_path) == bytes_of(mimic_study.folder)
    # Nothing is left to do, and nothing is done.
    monkeypatch.setattr(training.Trainer, "__call__", None)
    mimicked.carried_out(mimicked.begun(tmp_path, mimic_data))
    assert bytes_of(tmp_path) == bytes_of(mimic_study.folder)


def test_a_block_that_was_removed_later_is_answered_again(
    mimic_study, mimic_data, tmp_path
):
    study = mimicked.begun(tmp_path, mimic_data)

    def stop(standing):
        if standing.stage == "students: search":
            raise StoppedError

    with pytest.raises(StoppedError):
        mimicked.carried_out(study, watch=stop)
    for name in ("inputs-00000.npy", "logits-00000.npy"):
        (tmp_path / "transfer" / name).unlink()
    mimicked.carried_out(mimicked.begun(tmp_path, mimic_data))
    assert bytes_of(tmp_path) == bytes_of(mimic_study.folder)
    for place in (tmp_path / "transfer").iterdir():
        before = mimic_study.folder / "transfer" / place.name
        assert place.read_bytes() == before.read_bytes()


def test_workers_and_where_inputs_lie_change_nothing(mimic_study, mimic_data, tmp_path):
    """Two processes, which read the transfer set from its files."""
    study = mimicked.begun(tmp_path, mimic_data, memory=0.0)
    assert study.hash == mimic_study.hash
    mimicked.carried_out(study, workers=2)
    assert bytes_of(tmp_path) == bytes_of(mimic_study.folder)


# ---------------------------------------------------------------------- teachers


def test_the_teacher_is_the_mean_logits_of_the_best_by_validation(mimic_study):
    runs = [r for r in runs_of(mimic_study) if r.arm == "mlp(width=8)"]
    best = sorted(runs, key=lambda r: (-r.validation, r.pair))[:2]
    members = members_of(mimic_study)
    assert [member["pair"] for member in members] == [run.pair for run in best]
    assert [member["configuration"] for member in members] == [
        run.configuration for run in best
    ]
    trainer = mimic_study.trainer
    x = torch.from_numpy(mimic_study.split.x_train)
    alone = [
        trainer.restored(Item(**m, seed=0, stage="search"))(x).detach().numpy()
        for m in members
    ]
    assert not np.allclose(*alone)
    np.testing.assert_allclose(
        trainer.transfer.logits, (alone[0] + alone[1]) / 2, rtol=1e-5, atol=1e-6
    )
    # The score is that of the same average.
    (teacher,) = [run for run in runs_of(mimic_study) if run.arm == "teacher"]
    ensemble = trainer.ensemble(members)
    split = mimic_study.split
    right = ensemble.answers(split.x_test).argmax(1) == split._sealed()
    assert teacher.test == pytest.approx(right.mean())
    chosen = ensemble.answers(split.x_validation).argmax(1) == split.y_validation
    assert teacher.validation == pytest.approx(chosen.mean())
    assert teacher.parameters == sum(run.parameters for run in best)
    kept = sorted((mimic_study.folder / "teachers").iterdir())
    assert len(kept) == 2


def test_teachers_that_diverged_are_no_members(mimic_study, tmp_path):
    runs = runs_of(mimic_study)
    members = mimic_study._members(runs)
    without = [
        dataclasses.replace(run, diverged=True)
        if run.arm == "mlp(width=8)" and run.pair == members[0]["pair"]
        else run
        for run in runs
    ]
    left = [m["pair"] for m in mimic_study._members(without)]
    assert members[0]["pair"] not in left
    assert left[0] == members[1]["pair"]
    few = [
        dataclasses.replace(run, diverged=run.pair > 0)
        if run.arm == "mlp(width=8)"
        else run
        for run in runs
    ]
    with pytest.raises(StudyError) as caught:
        mimic_study._members(few)
    assert "ensemble = 2, and 1 of 3 did" in str(caught.value)
    assert "Lower the learning rates" in caught.value.way_out


def test_a_member_whose_weights_are_gone_is_told(mimic_study, tmp_path):
    elsewhere = dataclasses.replace(mimic_study.trainer, folder=tmp_path)
    with pytest.raises(StudyError, match="stay where they were written") as caught:
        elsewhere.ensemble(members_of(mimic_study))
    assert str(tmp_path) in caught.value.received


LOADED = """
import pathlib

import torch
from torch import nn


class Loaded(nn.Sequential):
    def __init__(self, input_shape, num_outputs):
        super().__init__(nn.Flatten(), nn.Linear(12, num_outputs), nn.Dropout(0.5))
        weights = pathlib.Path(__file__).with_name("weights.pt")
        self[1].load_state_dict(torch.load(weights))
        self.register_buffer("seen", torch.zeros(()))


class Frozen(Loaded):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.requires_grad_(False)


class Four(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(12, 4))


class Rule(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()

    def forward(self, x):
        gap = x[:, 0, :6].sum(1) - x[:, 0, 6:].sum(1)
        return torch.stack([-gap, gap], 1)
"""


@pytest.fixture
def net(tmp_path):
    """A file of networks, of which one loads weights that answer perfectly."""
    layer = torch.nn.Linear(12, 2)
    with torch.no_grad():
        layer.bias.zero_()
        layer.weight[1] = torch.tensor([1.0] * 6 + [-1.0] * 6)
        layer.weight[0] = -layer.weight[1]
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "net.py").write_text(LOADED)
    return tmp_path / "net.py"


@pytest.mark.parametrize("name", ["Loaded", "Rule", "Frozen"])
def test_a_teacher_of_ones_own_answers_as_it_is_built(net, mimic_data, tmp_path, name):
    study = mimicked.begun(
        tmp_path / "study", mimic_data, teacher=f"{net}:{name}",
        teacher_configurations=0, ensemble=1, layouts="mlp1", labels_space={},
        recipe={"initial_scale": 3.0},
    )  # fmt: skip
    assert study.forecast()[name]["flops"] == 0
    assert not any(name in note for note in study.notes)
    document = mimicked.carried_out(study).to_dict()
    x = study.split.x_train[:, 0]
    gap = x[:, :6].sum(1) - x[:, 6:].sum(1)
    np.testing.assert_allclose(
        study.trainer.transfer.logits, np.stack([-gap, gap], 1), rtol=1e-4, atol=1e-4
    )
    # Inputs are scaled by the training rows, so that it may miss a case at the border.
    assert document["teacher"]["score"]["estimate"] > 0.9
    assert document["teacher"]["candidates"] == 0


@pytest.mark.parametrize("configurations", [0, 2])
def test_a_teacher_of_other_classes_is_refused_before_anything_is_trained(
    net, mimic_data, tmp_path, configurations
):
    with pytest.raises(archtrial.UserError) as caught:
        mimicked.begun(
            tmp_path / "study", mimic_data, teacher=f"{net}:Four", ensemble=1,
            teacher_configurations=configurations,
        )  # fmt: skip
    assert "(batch, 2) outputs" in str(caught.value)
    assert "have 2 outputs" in caught.value.way_out
    assert not (tmp_path / "study").exists()


def typed(error):
    """Types what a message says to, in parentheses."""
    command = error.way_out.partition("(")[2].partition(")")[0]
    assert command.startswith("rm -r ")
    subprocess.run(command, shell=True, check=True)


def contents(place):
    if place.suffix != ".safetensors":
        return place.read_bytes()
    # What stands beside the weights is in no order.
    weights = safetensors.torch.load_file(place)
    return {name: tensor.tolist() for name, tensor in weights.items()}


def test_what_another_study_left_in_the_folder_is_not_used(
    mimic_study, mimic_data, tmp_path
):
    """Its rows for learning may be rows of the test set here."""
    folder, changes = tmp_path / "study", {"seed": 1, "teacher": "mlp(width=5)"}
    shutil.copytree(mimic_study.folder, folder)
    (folder / "study.sqlite").unlink()
    with pytest.raises(StudyError, match="written for another study") as caught:
        mimicked.carried_out(mimicked.begun(folder, mimic_data, **changes))
    assert str(folder / "transfer") in caught.value.way_out
    assert not runs_of(mimicked.begun(folder, mimic_data, **changes))
    typed(caught.value)
    study = mimicked.begun(folder, mimic_data, **changes)
    mimicked.carried_out(study)
    apart = mimicked.begun(tmp_path / "apart", mimic_data, **changes)
    mimicked.carried_out(apart)
    assert bytes_of(folder) == bytes_of(apart.folder)
    for name in ("teachers", "transfer", "tuned"):
        there, here = (
            {p.name: contents(p) for p in (s.folder / name).iterdir()}
            for s in (study, apart)
        )
        assert there == here
    measured, before = (
        (s.folder / "latency.json").read_text() for s in (study, mimic_study)
    )
    assert measured != before


def test_a_teacher_whose_weights_changed_is_another_one(
    net, mimic_data, tmp_path, monkeypatch
):
    weights, folder = net.with_name("weights.pt"), tmp_path / "study"
    before = weights.read_bytes()
    monkeypatch.setattr("archtrial.experiments.mimic.transfer._BLOCK", 30 * 12)

    def begun():
        return mimicked.begun(
            folder, mimic_data, teacher=f"{net}:Loaded", teacher_configurations=0,
            ensemble=1, layouts="mlp1",
        )  # fmt: skip

    def stopping(stage):
        def stop(standing):
            if standing.stage == stage and standing.done:
                raise StoppedError

        return stop

    whole = training.Ensemble.answers

    def answers(self, inputs):
        if (folder / "transfer" / "logits-00001.npy").exists():
            raise StoppedError
        return whole(self, inputs)

    # Between two blocks of answers.
    with monkeypatch.context() as patch:
        patch.setattr(training.Ensemble, "answers", answers)
        with pytest.raises(StoppedError):
            mimicked.carried_out(begun())
    torch.save({k: v + 1 for k, v in torch.load(weights).items()}, weights)
    with pytest.raises(StudyError, match="written for another teacher") as caught:
        mimicked.carried_out(begun())
    typed(caught.value)
    with pytest.raises(StoppedError):
        mimicked.carried_out(begun(), watch=stopping("students: search"))
    # After all of them: some students have learned from it.
    changed = weights.read_bytes()
    weights.write_bytes(before)
    with pytest.raises(StudyError, match="weights stay as they were") as caught:
        mimicked.carried_out(begun())
    assert "Put its weights back" in caught.value.way_out
    weights.write_bytes(changed)
    mimicked.carried_out(begun())


@pytest.mark.parametrize("where", ["train", "validation"])
def test_a_teacher_that_answers_no_number_is_told_by_name(
    net, mimic_data, tmp_path, where
):
    """Only for some examples, so that two of them do not give it away."""
    study = mimicked.begun(tmp_path / "first", mimic_data)
    rows = getattr(study.split, f"x_{where}")
    assert rows[5:, 0, 0].max() > rows[:5, 0, 0].max()
    highest = float(rows[:, 0, 0].max())
    assert (study.split.x_train[:2, 0, 0] < highest).all()
    net.write_text(
        LOADED
        + f"""

class Odd(Rule):
    def forward(self, x):
        said = super().forward(x)
        odd = (x[:, :1, 0] - {highest}).abs() < 1e-6
        return torch.where(odd, torch.full_like(said, float("nan")), said)
"""
    )
    study = mimicked.begun(
        tmp_path / "study", mimic_data, teacher=[f"{net}:Rule", f"{net}:Odd"],
        teacher_configurations=0, ensemble=2, layouts="mlp1",
    )  # fmt: skip
    with pytest.raises(StudyError) as caught:
        mimicked.carried_out(study)
    assert "Odd" in caught.value.received
    assert "Rule" not in caught.value.received
    assert "NaN for 1 of " in caught.value.received
    assert not [run for run in runs_of(study) if run.arm == "teacher"]
    if where == "train":
        assert not list(study.folder.glob("transfer/logits*"))
    net.write_text(LOADED)
    typed(caught.value)
    assert not study.folder.exists()


def test_a_teacher_of_no_numbers_at_all_is_refused_before_anything(
    net, mimic_data, tmp_path
):
    net.write_text(LOADED.replace("[-gap, gap]", "[-gap / 0, gap]"))
    with pytest.raises(
        archtrial.UserError, match="answers with finite numbers"
    ) as caught:
        mimicked.begun(
            tmp_path / "study", mimic_data, teacher=f"{net}:Rule",
            teacher_configurations=0, ensemble=1, layouts="mlp1",
        )  # fmt: skip
    assert "infinity for 2 of 2 examples" in caught.value.received


# ---------------------------------------------------------------------- students


@pytest.fixture(scope="module")
def told(mimic_data, tmp_path_factory):
    """A study whose students search what they learn of their teacher."""
    folder = tmp_path_factory.mktemp("told")
    np.savez(folder / "more.npz", x=mimicked.series(30, seed=1)[0])
    study = mimicked.begun(
        folder / "study", mimic_data, layouts="mlp1", imitate="probabilities",
        unlabelled=str(folder / "more.npz"),
        teacher_space={"temperature": [1.0, 4.0], "label_weight": [0.0, 0.5]},
    )  # fmt: skip
    mimicked.carried_out(study)
    return study


def searched(study, taught):
    """Returns the items of the one student's search."""
    return [
        Item(run.arm, run.pair, 0, "search", run.configuration,
             further={"teacher": taught})
        for run in runs_of(study)
        if run.stage == "search" and run.coordinates.get("teacher") is taught
    ]  # fmt: skip


def by_pair(study, taught):
    return {
        run.pair: run.validation
        for run in runs_of(study)
        if run.stage == "search" and run.coordinates.get("teacher") is taught
    }


def test_students_minimise_what_their_own_configuration_says(told):
    loops, transfer = told.trainer.loops, told.trainer.transfer
    seen = set()
    for item in searched(told, taught=True):
        learns = {k: item.configuration[k] for k in ("temperature", "label_weight")}
        seen.add(tuple(learns.values()))
        alone = dataclasses.replace(
            loops,
            problem=dataclasses.replace(
                loops.problem, x_train=transfer.inputs,
                objective=SoftTargets(
                    transfer.logits, "cross_entropy", labels=transfer.labels, **learns
                ),
            ),
        )  # fmt: skip
        plain = {k: v for k, v in item.configuration.items() if k not in learns}
        (done,) = alone([dataclasses.replace(item, configuration=plain)])
        assert done.run.validation == by_pair(told, taught=True)[item.pair]
    assert len(seen) > 1
    for item in searched(told, taught=False):
        assert not {"temperature", "label_weight"} & set(item.configuration)
        alone = dataclasses.replace(
            loops,
            problem=dataclasses.replace(loops.problem, x_train=transfer.labelled),
        )
        (done,) = alone([item])
        assert done.run.validation == by_pair(told, taught=False)[item.pair]


def test_in_whatever_company_a_student_learns_the_same(told):
    trainer = told.trainer
    items = searched(told, taught=True)
    tasks = trainer.divide(items)
    assert sorted(i.pair for task in tasks for i in task) == [0, 1, 2, 3]
    for task in tasks:
        assert len({trainer._told(item) for item in task}) == 1
    alone = [trainer((item,))[0] for item in items]
    together = {done.run.pair: done for task in tasks for done in trainer(task)}
    for done in alone:
        np.testing.assert_array_equal(done.sealed, together[done.run.pair].sealed)
        assert done.run.configuration == together[done.run.pair].run.configuration


def test_logits_are_learned_by_squared_error(mimic_study):
    objective = mimic_study.trainer._objective(Item("mlp1-200", 0, 0, "search", {}))
    assert (objective.kind, objective.label_weight) == ("squared_error", 0)
    assert objective.logits is mimic_study.trainer.transfer.logits


def test_all_networks_are_measured_on_the_protocol_s_device(
    mimic_study, tmp_path, monkeypatch
):
    asked = []

    def latency(module, examples, *, threads):
        places = {tensor.device.type for tensor in (*module.parameters(), examples)}
        asked.append(places)
        return Latency(len(examples), 1.0, 1.0, 1.0, 1, threads, "meta")

    monkeypatch.setattr("archtrial.experiments.mimic.study.latency", latency)
    study = copy.copy(mimic_study)
    study.folder, study.protocol = tmp_path, study.protocol.replace(device="meta")
    study._measure({"student": lambda: torch.nn.Linear(12, 2)})
    assert asked == [{"meta"}] * 2


@pytest.mark.parametrize("arm", STUDENTS)
def test_the_distilled_student_takes_raw_inputs(mimic_study, mimic_data, arm):
    model = archtrial.load_tuned(mimic_study.folder, arm)
    x, y = mimicked.series(120)
    prepared = mimic_study.split.preparation(x).numpy()
    test = {row.tobytes() for row in mimic_study.split.x_test}
    among = np.array([row.tobytes() in test for row in prepared])
    taught = [
        run
        for run in runs_of(mimic_study)
        if run.arm == arm and run.coordinates["teacher"] and run.stage == "confirm"
    ]
    kept = json.loads((mimic_study.folder / "tuned" / f"{arm}.json").read_text())
    (run,) = [
        run
        for run in taught
        if run.seed == kept["seed"]
        and run.configuration.items() >= kept["configuration"].items()
    ]
    assert (model.predict(x[among]) == y[among]).mean() == pytest.approx(run.test)
    measured = json.loads((mimic_study.folder / "latency.json").read_text())
    assert [*measured] == ["teacher", *STUDENTS]
    assert sum(p.numel() for p in model.parameters()) == run.parameters


def test_a_student_that_always_diverges_ends_in_words(mimic_data, tmp_path):
    study = mimicked.begun(
        tmp_path, mimic_data, layouts="mlp1", steps=5, recipe={"optimizer": "sgd"},
        teacher_space={"learning_rate": {"low": 1e20, "high": 1e30, "log": True}},
    )  # fmt: skip
    document = mimicked.carried_out(study).to_dict()
    assert "diverged" in " ".join(document["warnings"])
    assert study.report(tmp_path / "page.html").read_text().startswith("<!doctype")


def test_networks_without_dropout_are_compared_without_being_asked(
    net, mimic_data, tmp_path
):
    """Nobody declared that dropout is searched."""
    net.write_text(
        LOADED
        + """

class Plain(nn.Sequential):
    def __init__(self, input_shape, num_outputs, width=3):
        super().__init__(nn.Flatten(), nn.Linear(12, width), nn.Linear(width, num_outputs))
"""
    )
    study = mimicked.begun(
        tmp_path / "study", mimic_data, teacher=f"deep={net}:Plain(width=9)", layouts=(), budgets=(),
        students=f"{net}:Plain",
    )  # fmt: skip
    (student,) = study.resolved["students"]
    assert [*student["spaces"]["labels"]] == ["learning_rate", "weight_decay"]
    assert any("does not take dropout" in note for note in study.notes)
    with pytest.raises(archtrial.UserError, match="'dropout' is neither"):
        mimicked.begun(
            tmp_path / "other", mimic_data, teacher=f"deep={net}:Plain", layouts=(), budgets=(),
            students=f"{net}:Plain", labels_space={"dropout": [0.0, 0.1]},
        )  # fmt: skip


# ------------------------------------------------- what a teacher can, and cannot, bring


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_as_a_teacher_bring_nothing(mimic_data, tmp_path, seed):
    study = mimicked.begun(
        tmp_path, mimic_data, **mimicked.OF_LABELS, imitate="probabilities", seed=seed,
        layouts="mlp1", labels_space={}, steps=60, configurations=8, effort=2,
        confirm_seeds=2, margin=0.05,
    )  # fmt: skip
    document = mimicked.carried_out(study).to_dict()
    (student,) = document["students"]
    assert document["teacher"] is None
    assert student["gain"]["low"] < 0.01
    assert student["gain"]["high"] > -0.01
    assert student["gain"]["verdict"] not in ("architecture", "tuning")
    # Same seeds, same batches, nearly the same targets.
    runs = {taught: by_pair(study, taught) for taught in (False, True)}
    assert all(abs(runs[True][p] - runs[False][p]) < 0.1 for p in range(8))


def test_what_makes_labels_another_teacher_is_noted(mimic_data, tmp_path):
    def notes(**changes):
        study = mimicked.begun(
            tmp_path, mimic_data, layouts="mlp1", **mimicked.OF_LABELS, **changes
        )
        (student,) = study.resolved["students"]
        alike = student["spaces"]["labels"] == student["spaces"]["teacher"]
        found = [n for n in study.notes if "differ from those without one" in n]
        assert len(found) <= 1
        return alike, " ".join(found)

    assert notes() == (True, "")
    assert notes(labels_space={}) == (True, "")
    for changes, alike, says in (
        ({"imitate": "logits"}, True, "squared error"),
        ({"temperature": 2.0}, True, "a temperature"),
        ({"teacher_space": {}}, False, "(dropout, weight_decay)"),
        ({"teacher_space": {"momentum": [0.5, 0.9]}}, False, "momentum"),
        ({"labels_space": {"label_smoothing": [0, 0.1]}}, False, "label_smoothing"),
        ({"recipe": {"label_smoothing": 0.1}}, True, "label smoothing"),
    ):
        found = notes(**changes)
        assert found[0] is alike
        assert says in found[1]


def test_a_large_transfer_set_is_noted_and_has_room_before_anything_is_trained(
    mimic_data, tmp_path, monkeypatch
):
    assert not any("GiB" in n for n in mimicked.begun(tmp_path, mimic_data).notes)
    # 72 rows of 12 values and 2 logits.
    study = mimicked.begun(tmp_path / "s", mimic_data, passes=10**6)
    assert (
        "the transfer set takes 3.8 GiB of the disk: 72,000,000 examples"
        in " ".join(study.notes)
    )

    @dataclasses.dataclass
    class Free:
        free: int = 10**9

    monkeypatch.setattr("shutil.disk_usage", lambda _: Free())
    with pytest.raises(StudyError, match="the disk has room") as caught:
        study.run()
    assert "0.9 GiB free" in caught.value.received
    assert not study.folder.exists()


def test_a_good_teacher_helps_where_labels_are_scarce(net, tmp_path):
    """20 labels and 400 inputs without one, of a rule that its teacher knows."""
    x, y = mimicked.series(400)
    part = np.repeat([0, 1, 2], [20, 80, 300])
    np.savez(
        tmp_path / "few.npz", x_train=x[part == 0], y_train=y[part == 0],
        x_validation=x[part == 1], y_validation=y[part == 1],
        x_test=x[part == 2], y_test=y[part == 2],
    )  # fmt: skip
    np.savez(tmp_path / "more.npz", x=mimicked.series(400, seed=1)[0])
    study = mimicked.begun(
        tmp_path / "study", tmp_path / "few.npz", teacher=f"{net}:Loaded",
        teacher_configurations=0, ensemble=1, layouts="mlp1", steps=100,
        unlabelled=str(tmp_path / "more.npz"), configurations=8, effort=2,
        confirm_seeds=2, batch_size=20,
    )  # fmt: skip
    document = mimicked.carried_out(study).to_dict()
    (student,) = document["students"]
    assert student["gain"]["low"] > 0.02
    assert student["gain"]["verdict"] in ("architecture", "tuning")

"""Whether runs share a fleet, and how many: by what a step takes, and by nothing else."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics, protocol
from archtrial.errors import ProtocolError
from archtrial.protocol import Protocol, Recipe
from archtrial.records.store import Store
from archtrial.study import Study
from archtrial.training import choice, cost, run
from archtrial.zoo import registry


def posed(shape=(40,), batch_size=100):
    x = np.zeros((120, *shape), np.float32)
    y = np.arange(120) % 10
    return run.Problem(
        x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x,
        task="classification", num_outputs=10,
        metric=metrics.default("classification"), recipe=Recipe(),
        steps=10, batch_size=batch_size,
    )  # fmt: skip


def size(given, build, fleets="auto", **hyperparameters):
    return choice.fleet_size(given, run.Job(build, hyperparameters, 0, 0, 0), fleets)


def zoo(name, shape, **options):
    return lambda: registry.get(name).function(shape, 10, **options)


def test_small_steps_share_a_fleet_and_large_ones_do_not():
    image = (3, 32, 32)
    assert size(posed(), zoo("mlp", (40,))) == 16
    assert size(posed(), zoo("gru", (40,))) == 16
    assert 4 <= size(posed(), zoo("cnn", (40,))) < 16
    assert size(posed(image), zoo("cnn", image)) == 1
    # As an example has less to do, the same network is worth a fleet.
    assert size(posed(image, batch_size=4), zoo("cnn", image)) == 16
    # Few values, but much work for each of them.
    assert size(posed((4096,)), zoo("mlp", (4096,), width=512)) == 1


def test_a_protocol_overrules_it():
    image = (3, 32, 32)
    assert size(posed(), zoo("mlp", (40,)), "never") == 1
    assert size(posed(image), zoo("cnn", image), "always") == 16


@pytest.mark.parametrize("fleets", ["auto", "always"])
def test_a_fleet_is_limited_by_memory(fleets):
    wide = (2000,)
    given = posed(wide, batch_size=1)
    most = size(given, zoo("mlp", wide, depth=3, width=1000), fleets)
    module = zoo("mlp", wide, depth=3, width=1000)()
    kept = 5 * cost.parameters(module)
    # 512 MB in values of 4 bytes.
    assert 4 * kept * most <= 2**29 < 4 * kept * (most + 2)
    huge = size(given, zoo("mlp", wide, depth=2, width=8000), fleets)
    assert huge == {"auto": 1, "always": 2}[fleets]


def test_on_a_gpu_fleets_are_larger_and_images_share_them(monkeypatch):
    monkeypatch.setattr(choice, "limits", lambda _: choice.GPU)
    image, wide = (3, 32, 32), (4096,)
    assert size(posed(), zoo("mlp", (40,))) == 64
    assert size(posed(image), zoo("cnn", image)) == 64
    assert size(posed(wide), zoo("mlp", wide, width=512)) == 64
    # 1.1 GFLOP of a step for each of its operations share a fleet, and 2.9 do not.
    assert 4 <= size(posed(wide), zoo("mlp", wide, width=2048)) < 64
    assert size(posed(wide), zoo("mlp", wide, width=4096)) == 1
    assert size(posed(wide), zoo("mlp", wide, width=4096), "always") > 1


@pytest.mark.parametrize(("gigabytes", "kept"), [(80, 2**31), (16, 2**31), (4, 2**29)])
def test_a_fleet_takes_half_of_a_small_gpu(monkeypatch, gigabytes, kept):
    def properties(device):
        assert device == "cuda:1"
        return types.SimpleNamespace(total_memory=gigabytes * 2**30)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    found = choice.limits("cuda:1")
    assert found == dataclasses.replace(choice.GPU, kept=kept)
    assert choice.limits("cpu") == choice.CPU


def test_what_cannot_be_built_or_carried_out_has_no_size():
    def broken():
        raise ValueError

    assert size(posed(), broken) is None
    assert size(posed(), lambda: nn.Linear(7, 10)) is None
    with pytest.raises(ProtocolError):
        size(posed(), zoo("mlp", (40,)), unheard_of=1.0)


def test_a_step_is_counted_by_what_its_operations_write():
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Flatten(), nn.Linear(6, 3))
    step = cost.step(module, torch.zeros(5, 4))
    assert step == cost.Step(
        # Of the first layer's input no gradient is asked for.
        flops=2 * 5 * (2 * 4 * 6 + 3 * 6 * 3),
        values=5 * (6 + 6 + 3),
        operations=3,
    )
    assert cost.training(module, torch.zeros(5, 4), 7) == 7 * step.flops


TRIAL = Protocol(
    data="digits", baseline="mlp(width=8)", challengers=["mlp(width=16)"],
    configurations=4, effort=1, steps=4, confirm_seeds=1, space={}, sampling="random",
)  # fmt: skip


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    made = {}
    for fleet in ("auto", "always", "never"):
        folder = tmp_path_factory.mktemp(fleet)
        made[fleet] = Study(TRIAL.replace(fleet=fleet), folder)
        made[fleet].run()
    return made


def test_the_choice_is_no_part_of_what_a_study_asks(studies):
    assert len({protocol.digest(study.resolved) for study in studies.values()}) == 1
    largest = {
        fleet: max(
            map(len, made.trial.trainer.divide(made._plan_search(made.trial.arms, 1)))
        )
        for fleet, made in studies.items()
    }
    assert largest["never"] == 1
    assert largest["auto"] == largest["always"] > 1


def test_a_folder_recalls_it_and_another_choice_goes_on_with_the_study(studies):
    folder = studies["never"].folder
    Study(TRIAL, folder).run()
    with Store(folder, read_only=True) as store:
        declared = store.protocol()[2]
        notes = [(name, detail) for _, name, detail in store.events()]
    assert declared["fleet"] == "never"
    assert any("never" in detail for name, detail in notes if name == "began")
    assert ("went on elsewhere", '{"fleets": "auto"}') in notes


@pytest.mark.parametrize("word", ["sometimes", True, ""])
def test_there_is_no_other_choice(word):
    with pytest.raises(ProtocolError, match="fleet"):
        TRIAL.replace(fleet=word)


def test_a_study_goes_on_with_fleets_of_another_size(tmp_path):
    """One run of a fleet is there already, and neither lost nor trained once more."""
    planned = Study(TRIAL, tmp_path / "whole")
    planned.run()
    parts = Study(TRIAL.replace(fleet="never"), tmp_path / "parts")
    carried_out = []

    def stop_after_two(standing):
        carried_out.append(standing)
        if standing.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts.run(watch=stop_after_two)
    Study(TRIAL, tmp_path / "parts").run()
    keys = []
    for name in ("whole", "parts"):
        with Store(tmp_path / name, read_only=True) as store:
            keys.append([(r.arm, r.pair, r.seed, r.stage) for r in store.runs()])
    assert sorted(keys[0]) == sorted(keys[1])
    assert len(set(keys[1])) == len(keys[1])

"""How long a module takes to answer, measured as it is used and with nothing left behind."""

import json
import time

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training.latency import Latency, latency, step_latency
from archtrial.training.problem import Job, Problem


class Sleeper(nn.Module):
    """Takes at least so long; remembers how it was called."""

    def __init__(self, seconds=0.0, fault=None):
        super().__init__()
        self.layer, self.drop = nn.Linear(3, 2), nn.Dropout(0.5)
        self.seconds, self.fault, self.calls = seconds, fault, []

    def forward(self, x):
        self.calls.append(
            (
                len(x), self.training, self.drop.training,
                torch.is_inference_mode_enabled(), torch.get_num_threads(),
            )
        )  # fmt: skip
        if self.fault is not None:
            raise self.fault
        time.sleep(self.seconds)
        return self.layer(x)


def test_it_takes_as_long_as_it_sleeps():
    module = Sleeper(0.005)
    found = latency(module, torch.zeros(7, 3), seconds=0.1)
    assert 0.005 <= found.lower_quartile <= found.median <= found.upper_quartile
    assert (found.batch, found.threads, found.device) == (7, 1, "cpu")
    assert found.throughput == 7 / found.median <= 1400
    assert 0.005 <= found.low <= found.median <= found.high
    # What is measured is measured after a warm-up.
    assert 3 <= found.repetitions <= len(module.calls) - 2


def test_it_is_measured_as_it_is_used():
    module = Sleeper()
    latency(module, torch.zeros(2, 3), threads=2, seconds=0.01)
    assert set(module.calls) == {(2, False, False, True, 2)}


@pytest.mark.parametrize(("repetitions", "known"), [(5, False), (6, True)])
def test_a_medians_interval_takes_six_repetitions(repetitions, known):
    found = latency(Sleeper(), torch.zeros(1, 3), seconds=1000, most=repetitions)
    assert (found.low is not None, found.high is not None) == (known, known)


def a_problem(**changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    y = rng.integers(0, 2, 40)
    return Problem(
        **{
            "x_train": x, "y_train": y, "x_validation": x, "y_validation": y,
            "x_test": x, "task": "classification", "num_outputs": 2,
            "metric": metrics.get("accuracy", "classification"), "recipe": Recipe(),
            "steps": 5, "batch_size": 10, **changes,
        }
    )  # fmt: skip


def test_a_step_learns_from_batches_of_training_by_itself():
    module = Sleeper(0.005)
    job = Job(lambda: module, {"learning_rate": 0.1}, 0, 0, 0)
    before = module.layer.weight.clone()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = step_latency(a_problem(), job, threads=threads + 1, seconds=1000, most=8)
    assert 0.005 <= found.low <= found.median <= found.high
    assert (found.batch, found.threads, found.device) == (10, threads + 1, "cpu")
    # The batch's examples, in training mode, with gradients.
    assert set(module.calls) == {(10, True, True, False, threads + 1)}
    # More steps than the training has, each of which moved the weights.
    assert found.repetitions == 8
    assert not torch.equal(module.layer.weight, before)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("limits", "repetitions", "calls"),
    [({"seconds": 0}, 3, 5), ({"seconds": 1000, "most": 4}, 4, 8)],
)
def test_it_ends_at_its_limits_and_not_before_it_knows_something(
    limits, repetitions, calls
):
    module = Sleeper()
    assert latency(module, torch.zeros(1, 3), **limits).repetitions == repetitions
    assert len(module.calls) == calls


@pytest.mark.parametrize("fault", [None, RuntimeError("it cannot")])
def test_nothing_is_left_behind(fault):
    module = Sleeper(fault=fault).train()
    module.layer.eval()  # as where a layer is frozen
    threads = torch.get_num_threads()
    if fault is None:
        latency(module, torch.zeros(1, 3), threads=threads + 1, seconds=0)
    else:
        with pytest.raises(RuntimeError, match="it cannot"):
            latency(module, torch.zeros(1, 3), threads=threads + 1, seconds=0)
    assert {call[-1] for call in module.calls} == {threads + 1}
    assert torch.get_num_threads() == threads
    assert (module.training, module.layer.training, module.drop.training) == (
        True, False, True,
    )  # fmt: skip
    assert not torch.is_inference_mode_enabled()


def test_an_ensemble_takes_as_long_as_its_members_together():
    members = [Sleeper(0.002) for _ in range(3)]

    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.members = nn.ModuleList(members)

        def forward(self, x):
            return torch.stack([member(x) for member in self.members]).mean(0)

    found = latency(Ensemble(), torch.zeros(1, 3), seconds=0.05)
    assert found.median >= 0.006
    assert len({len(member.calls) for member in members}) == 1


def test_a_module_without_parameters_is_measured_where_the_examples_are():
    assert latency(nn.ReLU(), torch.zeros(2, 3), seconds=0).device == "cpu"


def test_it_is_written_as_json():
    told = Latency(100, 0.02, 0.01, 0.04, 50, 2, "cpu").to_dict()
    assert json.loads(json.dumps(told)) == {
        "batch": 100, "median": 0.02, "lower_quartile": 0.01, "upper_quartile": 0.04,
        "repetitions": 50, "threads": 2, "device": "cpu", "throughput": 5000.0,
        "low": None, "high": None,
    }  # fmt: skip


def test_no_examples_have_no_latency():
    with pytest.raises(ValueError, match="at least one example"):
        latency(Sleeper(), torch.zeros(0, 3))

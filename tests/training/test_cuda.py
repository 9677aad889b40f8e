"""Training on a GPU: what holds on the CPU holds there.

Each test is one of the CPU's as well, so that where there is no GPU its own lines are
carried out all the same.
"""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import trial
from archtrial.errors import ProtocolError
from archtrial.protocol import Recipe, load
from archtrial.study import Study
from archtrial.training import choice, fleet, module, redirected, run, stacked, stacking
from archtrial.training.device import exact
from archtrial.training.latency import latency
from archtrial.training.loop import Loop
from archtrial.training.source import Source
from archtrial.tuned import load_tuned
from tests.training import test_choice, test_engine, test_fleet

RUNS = test_fleet.RUNS


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    return request.param


class Residual(nn.Module):
    """Two convolutions with batch normalisation beside a shortcut."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(6)])
        self.shortcut = nn.Conv2d(2, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h = self.norms[0](self.first(x)).relu()
        h = (self.norms[1](self.second(h)) + self.shortcut(x)).relu()
        return self.head(h.mean((2, 3)))


class Attention(nn.Module):
    """A layer of a transformer on pairs of numbers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(self.embed(x.unflatten(1, (-1, 2)))).mean(1))


class Words(nn.Module):
    """Ids of words, embedded."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.embed(x).mean(1))


MODULES = {
    **test_fleet.MODULES,
    "residual": Residual,
    "attention": Attention,
    "words": Words,
}


def posed(name, device, **recipe):
    """Returns a problem for one of the modules, by SGD, whose step shows all rounding."""
    build = MODULES[name]
    shape = (2, 8, 8) if build is Residual else test_fleet.shape_for(build)
    given = test_fleet.problem(
        shape=shape, device=device, recipe=Recipe(**{"optimizer": "sgd", **recipe})
    )
    if build is Words:
        random = np.random.default_rng(0)
        words = [
            random.integers(0, 50, x.shape)
            for x in (given.x_train, given.x_validation, given.x_test)
        ]
        given = dataclasses.replace(
            given, x_train=words[0], x_validation=words[1], x_test=words[2]
        )
    return given


@pytest.mark.parametrize("name", MODULES)
def test_a_fleets_step_is_the_loops(device, name):
    """From the loop's own state: relative 1e-3 or absolute 1e-5, as on the CPU."""
    given = posed(name, device)
    made = test_fleet.jobs(MODULES[name])
    with exact(device):
        data = Source(given)
        loops = [Loop(given, [job], [module.build(given, job)]) for job in made]
        for index, loop in enumerate(loops):
            for start in (0, 15, 30):
                rows = slice(start + index, start + index + 20)
                loop.step(data.x_train[rows][None], data.y_train[rows][None], 1.0)
        stack = test_fleet.stack_in_the_loops_state(given, made, loops)
        rows = torch.stack([torch.arange(20) + 7 * index for index in range(RUNS)])
        rows = rows.to(device)
        losses = stack.step(data.x_train[rows], data.y_train[rows], 0.5)
        evaluated = stack.predict(data.x_validation)
        near = functools.partial(torch.testing.assert_close, rtol=1e-3, atol=1e-5)
        for index, loop in enumerate(loops):
            x, y = data.x_train[rows[index]], data.y_train[rows[index]]
            near(losses[index], loop.step(x[None], y[None], 0.5)[0])
            near(stack.values[index], loop.values[0])
            near(stack.optimizer.state[:, index], loop.optimizer.state[:, 0])
            for buffer, value in loop.module.named_buffers():
                near(stack.buffers[buffer][index], value)
            near(evaluated[index], loop.predict(data.x_validation)[0], atol=1e-3)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_keeps_it_out_of_a_fleet(device, name):
    assert stacking.obstacle(posed(name, device), MODULES[name]) is None


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "name", [n for n in MODULES if n.startswith(("cnn", "image", "mlp", "resi"))]
)
def test_nor_does_what_a_gpu_computes_otherwise(name, large, monkeypatch):
    """On the CPU, in the forms that are the fastest on a GPU."""
    monkeypatch.setattr(stacked, "_on_a_gpu", lambda _: True)
    if large:
        monkeypatch.setattr(stacked, "_MOST_WINDOW_VALUES", 0)
    assert stacking.obstacle(posed(name, "cpu"), MODULES[name]) is None


def weights(outcome):
    assert outcome.error is None
    return torch.cat([w.flatten().double() for w in outcome.weights.values()])


@pytest.mark.parametrize("name", MODULES)
def test_a_training_has_the_same_bits_whenever_it_is_carried_out(device, name):
    given = posed(name, device, optimizer="adamw", weight_averaging=0.3)
    made = [
        dataclasses.replace(job, keep_weights=True)
        for job in test_fleet.jobs(MODULES[name])
    ]
    once, again = run.train(given, made[0]), run.train(given, made[0])
    assert torch.equal(weights(once), weights(again))
    assert once.curve == again.curve
    fleets = fleet.train(given, made), fleet.train(given, made)
    for one, other in zip(*fleets, strict=True):
        assert torch.equal(weights(one), weights(other))
        assert one.curve == other.curve


class Flattening(test_fleet.Sequence):
    """Has its recurrent layer put its weights beside each other before each pass."""

    def forward(self, x):
        self.cell.flatten_parameters()
        return super().forward(x)


def moves_its_weights(layer):
    """Does on any device what `flatten_parameters` does on a GPU."""
    weights = [w.detach() for w in layer._flat_weights]
    assert len({w.data_ptr() for w in weights}) == len(weights)
    row = torch.cat([w.flatten() for w in weights])
    parts = row.split([w.numel() for w in weights])
    for weight, part in zip(layer._flat_weights, parts, strict=True):
        weight.data = part.view(weight.shape)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent_weights_stay_in_their_row(device, kind, monkeypatch, caplog):
    """In a loop and in a fleet, whoever asks the layer to move them."""
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", moves_its_weights)
    build = functools.partial(Flattening, kind)
    given = test_fleet.problem(device=device)
    assert stacking.obstacle(given, build) is None
    made = test_fleet.jobs(build)
    for outcome in (*fleet.train(given, made), run.train(given, made[0])):
        assert outcome.error is None
    assert test_fleet.stays_a_fleet(caplog)
    with exact(device):
        data = Source(given)
        loop = Loop(given, made[:1], [module.build(given, made[0])])
        loop.step(data.x_train[None, :20], data.y_train[None, :20], 1.0)
    assert not loop.displaced


def test_attention_is_the_same_with_every_token_count(device):
    """Also where its fused forms ask for more tokens or heads than there are."""
    generator = torch.Generator().manual_seed(0)
    for tokens in (1, 3, 8, 33):
        x = torch.randn(test_fleet.RUNS, 4, 2, tokens, 4, generator=generator)
        x = x.to(device).requires_grad_()
        with exact(device):
            mine = redirected._attention(x, x, x)
            theirs = torch.stack(
                [nn.functional.scaled_dot_product_attention(q, q, q) for q in x]
            )
            seen = torch.randn(x.shape, generator=generator).to(device)
            pair = [torch.autograd.grad(y, x, seen)[0] for y in (mine, theirs)]
            again = torch.autograd.grad(redirected._attention(x, x, x), x, seen)[0]
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)
        assert torch.equal(again, pair[0])


def image(device, **recipe):
    given = test_engine.problem(**{"optimizer": "sgd", **recipe})
    return dataclasses.replace(given, device=device)


def test_float32_is_float32(device):
    """Not the 10 bits of mantissa that cuDNN takes where it is left to itself."""
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 3).to(device)
    x = torch.randn(8, 64, 16, 16, device=device)
    with exact(device), torch.no_grad():
        found = layer(x).double().cpu()
        wanted = layer.cpu().double()(x.cpu().double())
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


def told():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.enabled,
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.cudnn_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
    )


def test_what_torch_was_told_stands_afterwards():
    """That needs no GPU."""
    before = told()
    with exact("cpu"):
        assert told() == before
    with exact("cuda"):
        settled = (True, True, False, False, False, True, True)
        assert told() == (*settled, False, False, False, True)
    assert told() == before

    def stop():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), exact("cuda:0"):
        stop()
    assert told() == before


def test_16_bits_channels_last(device):
    (job,) = test_engine.jobs(1)
    recipe = {"precision": "bfloat16", "memory_format": "channels_last"}
    whole = run.train(image(device), job)
    rounded = run.train(image(device, **recipe), job)
    assert not torch.equal(weights(whole), weights(rounded))
    assert test_engine.apart(whole, rounded) < 0.02
    assert test_engine.weights(rounded).dtype == torch.float32


def test_a_batch_in_parts_takes_the_step_of_the_whole(device):
    (job,) = test_engine.jobs(1)
    whole = run.train(image(device), job)
    divided = run.train(image(device, accumulate=3), job)
    assert test_engine.apart(whole, divided) < 1e-5


def test_a_gpu_computes_what_a_processor_does(device):
    (job,) = test_engine.jobs(1)
    assert (
        test_engine.apart(run.train(image("cpu"), job), run.train(image(device), job))
        < 1e-4
    )


@pytest.mark.parametrize("runs", [1, 2])
def test_a_training_goes_on_from_its_middle(device, runs):
    """Without momentum, so that weights and batches are all that it takes along."""
    constant = {"schedule": "constant", "warmup": 0.0}
    given = image(device, **constant)
    plain = {"momentum": 0.0, "learning_rate": 1e-2}
    made = [
        dataclasses.replace(job, hyperparameters=plain, keep_at=(5,))
        for job in test_engine.jobs(runs)
    ]

    def train(given, jobs):
        return fleet.train(given, jobs) if runs > 1 else [run.train(given, jobs[0])]

    whole = train(given, made)

    def second_half(outcome):
        net = test_engine.Net()
        net.load_state_dict(outcome.kept[5])
        return net

    rest = [
        run.Job(functools.partial(second_half, outcome), plain, 0, job.order_seed, 0,
                keep_weights=True, skip=5)
        for outcome, job in zip(whole, made, strict=True)
    ]  # fmt: skip
    shorter = dataclasses.replace(given, steps=7)
    for one, other in zip(whole, train(shorter, rest), strict=True):
        assert torch.equal(weights(one), weights(other))


def wide(width, device="cpu"):
    given = test_choice.posed((2000,), batch_size=1)
    given = dataclasses.replace(given, device=device)
    build = test_choice.zoo("mlp", (2000,), depth=3, width=width)
    return given, run.Job(build, {}, 0, 0, 0)


@pytest.mark.parametrize("fleets", ["auto", "always"])
def test_a_fleet_is_limited_by_memory(device, fleets):
    """512 MB, 8 GB of a GPU, and what torch itself needs beside them."""
    given, job = wide({"cpu": 1000, "cuda": 2000}[device], device)
    allowed = choice.limits(device)
    size = choice.fleet_size(given, job, fleets)
    assert 1 < size < allowed.most_runs
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        jobs = [dataclasses.replace(job, initial_seed=seed) for seed in range(size)]
        for outcome in fleet.train(given, jobs):
            assert outcome.error is None
        taken = torch.cuda.max_memory_allocated() - before
        print(f"a fleet of {size} took {taken / 2**20:.0f} MB")
        assert taken < 2 * 4 * allowed.kept


# ------------------------------------------------------------------ whole studies

TRIAL = """
data = "digits"
device = "{device}"
steps = 6
configurations = 4
effort = 1
confirm_seeds = 1
baseline = "mlp(width=8)"
challengers = ["cnn(width=4)"]
"""


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return archtrial


def test_a_trial_from_its_first_line_to_its_page(device, archtrial, tmp_path):
    declared = tmp_path / "trial.toml"
    declared.write_text(TRIAL.format(device=device))
    status, out, err = archtrial("run", declared, "--study", tmp_path / "study")
    assert status == 0, err
    verdict = json.loads((tmp_path / "study" / "verdict.json").read_text())
    assert verdict["comparisons"][0]["verdict"] in out
    status, out, err = archtrial("report", tmp_path / "study", "--output", "page.html")
    assert status == 0, err
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    # Loaded on the CPU, it says of examples what it said where it was trained.
    assert load_tuned(tmp_path / "study", "cnn(width=4)") is not None


def test_a_study_goes_on_where_it_was_interrupted(device, tmp_path):
    declared = tmp_path / "trial.toml"
    declared.write_text(TRIAL.format(device=device))
    protocol = load(declared)
    Study(protocol, tmp_path / "whole").run()

    def stop(standing):
        if standing.stage == "search" and standing.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(protocol, tmp_path / "parts").run(watch=stop)
    Study(protocol, tmp_path / "parts").run()
    Study(protocol, tmp_path / "side by side").run(workers=2)
    texts = {
        (tmp_path / name / "verdict.json").read_bytes()
        for name in ("whole", "parts", "side by side")
    }
    assert len(texts) == 1


def test_relaxing_from_its_first_line_to_its_page(device, archtrial, tmp_path):
    status, _, err = archtrial(
        "relax", "digits", "--architecture", "cnn(width=2, depth=2)", "--steps", 2,
        "--relax-times", "0,2", "--seeds", 2, "--learning-rates", ".1", "--workers", 1,
        "--device", device, "--study", tmp_path / "study",
    )  # fmt: skip
    assert status == 0, err
    assert (tmp_path / "study" / "report.html").exists()


# ------------------------------------------------------------- what is not there


@pytest.mark.parametrize("command", ["run", "plan", "relax"])
def test_without_a_gpu_it_is_one_message(archtrial, monkeypatch, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = {
        "run": ["--data", "digits", "--baseline", "linear", "--challenger", "mlp"],
        "plan": ["--data", "digits", "--baseline", "linear", "--challenger", "mlp"],
        "relax": ["digits", "--architecture", "cnn(width=2, depth=2)"],
    }[command]
    status, out, err = archtrial(command, *arguments, "--device", "cuda")
    assert (status, out) == (2, "")
    assert "there is no GPU" in err
    assert "Traceback" not in err


def test_nor_is_a_gpu_there_that_was_not_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    trial.check_device("cuda")
    trial.check_device("cuda:1")
    with pytest.raises(
        ProtocolError, match=r"'cuda:2', but there are 2: cuda:0 to cuda:1"
    ):
        trial.check_device("cuda:2")


def test_an_answer_is_waited_for(device):
    """What a GPU has only been told to do has taken no time yet."""
    module = nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(4))).to(device)
    one = latency(module, torch.zeros(1, 1024), seconds=0.1)
    many = latency(module, torch.zeros(8192, 1024), seconds=0.1)
    # A thousand times the work is at least a little more of it.
    assert many.median > one.median
    assert (device == "cpu") == (one.device == "cpu")
    assert next(module.parameters()).device.type == device

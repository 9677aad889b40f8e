"""Each habit of writing modules: trained as in plain PyTorch, or refused by name."""

import dataclasses
import functools
import io
import json
import random
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from archtrial import metrics, trial
from archtrial.errors import ArmError, FormError
from archtrial.experiments import relax
from archtrial.experiments.relax.study import Study as RelaxStudy
from archtrial.protocol import Protocol, Recipe
from archtrial.space import Choice
from archtrial.training import cost, fleet, rehearsal, run
from archtrial.training.module import build
from archtrial.trial import rehearsing
from archtrial.zoo import arms
from tests import plain_pytorch

CASES = Path(__file__).parents[1] / "cases" / "modules"
SHAPE = (1, 8, 8)


def problem(task="classification", whole=False, **changes):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(243, *SHAPE)).astype(np.float32)
    if whole:
        x = generator.integers(0, 50, size=(243, 12))
    if task == "classification":
        y = generator.integers(0, 10, size=243)
    else:
        y = 100 + 7 * generator.normal(size=243)
    values = {
        "x_train": x[:120],
        "y_train": y[:120],
        "x_validation": x[120:180],
        "y_validation": y[120:180],
        "x_test": x[180:],
        "task": task,
        "num_outputs": 10 if task == "classification" else 1,
        "metric": metrics.default(task),
        "recipe": Recipe(learning_rate=1e-2, weight_decay=0.1),
        "steps": 10,
        "batch_size": 20,
        "evaluations": 2,
    }
    return run.Problem(**(values | changes))


def job(build, **changes):
    values = {
        "hyperparameters": {},
        "initial_seed": 1,
        "order_seed": 2,
        "noise_seed": 3,
        "keep_weights": True,
    }
    return run.Job(build, **(values | changes))


def found(name, file="faulty.py"):
    return arms.find(f"{CASES / file}:{name}")


def build_of(arm, given):
    return functools.partial(arm.build, given.x_train.shape[1:], given.num_outputs, {})


def rehearsed(name, file="faulty.py", given=None, **changes):
    given = given or problem()
    arm = found(name, file)
    return rehearsal.rehearse(
        name, given, {"": job(build_of(arm, given), **changes)}, arm.place
    )


def classes(file):
    text = (CASES / file).read_text()
    return re.findall(
        r"^class (\w+)\((?:Plain|nn\.Module|nn\.Sequential)\)", text, re.M
    )


def tensor_of(returned):
    """The outputs, as whoever wrote the module would take them."""
    if isinstance(returned, dict):
        returned = returned.get("logits", returned.get("out"))
    if isinstance(returned, (list, tuple)):
        (returned,) = [r for r in returned if r is not None and r.shape[1] == 10]
    return getattr(returned, "logits", returned).float()


@pytest.mark.parametrize("name", classes("sound.py"))
def test_ten_steps_are_those_of_plain_pytorch(name):
    given = problem()
    one = job(build_of(found(name, "sound.py"), given))
    outcome = run.train(given, one)
    assert outcome.error is None
    module, outputs, *_ = plain_pytorch.trained(given, one, tensor_of)
    weights, probabilities = module.state_dict(), outputs.softmax(-1).numpy()
    assert outcome.weights.keys() == weights.keys()
    for key, expected in weights.items():
        tolerance = 2e-2 if name == "Half" else 2e-5
        torch.testing.assert_close(
            outcome.weights[key], expected, rtol=tolerance, atol=tolerance
        )
    assert np.abs(outcome.predictions - given.metric.reduce(probabilities)).max() < 2e-2


@pytest.mark.parametrize("name", classes("sound.py"))
def test_what_is_sound_rehearses_and_leaves_everything_as_it_was(name):
    given = problem()
    arrays = (given.x_train, given.x_validation, given.x_test)
    before = [array.copy() for array in arrays]
    random.seed(1)
    states = (
        random.getstate(),
        repr(np.random.get_state(legacy=False)),  # noqa: NPY002 - a user's habit
        torch.get_rng_state(),
    )
    seen = rehearsed(name, "sound.py", given)
    assert random.getstate() == states[0]
    assert repr(np.random.get_state(legacy=False)) == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    run.train(given, job(build_of(found(name, "sound.py"), given)))
    assert all(map(np.array_equal, arrays, before))
    unusual = {"Pair", "WithLoss", "Inverse", "Logits", "Attribute", "Segmentation"}
    assert bool(seen.notes) == (name in unusual), seen.notes


REFUSED = {
    "LayersInList": [
        "parameters()",
        "layers[0].weight is not",
        "self.layers =",
        "ModuleList",
    ],
    "LayersInDict": ["branches['skip'].weight", "self.branches ="],
    "LayersInTuple": ["pair[1][0].weight", "self.pair ="],
    "LayerInObject": ["holder.layer.weight", "self.holder ="],
    "TensorAsAttribute": ["shift is not", "self.shift ="],
    "LayerOutside": ["a tensor of shape (10,", "kept outside"],
    "LayerMadeInForward": ["made in forward", "nn.Linear(h.shape[1]"],
    "ParameterMadeInForward": ["first.weight is another", "nn.Parameter(self.first"],
    "ParameterAddedInForward": ["gain is another after forward", "self.gain ="],
    "Detached": ["no gradient reaches any", ".detach() is called", "detach()"],
    "WithoutGradient": ["gradients are turned off", "sound.py"],
    "Evaluates": ["its forward calls eval() on the module itself"],
    "Trains": ["its forward calls train() on the module itself"],
    "ThroughNumpy": ["RuntimeError: Can't call numpy()", "np.tanh("],
    "ThroughNumpyAtTheEnd": ["no gradient reaches any"],
    "View": ["turned is a view of first.weight", "self.turned ="],
    "BufferIsWeight": ["part is a view of first.weight", "BufferIsWeight"],
    "SharedMemory": ["first.weight and other.weight share theirs"],
    "DropoutInList": ["eval()", "noise[0] is none", "self.noise ="],
    "DropoutMadeInForward": ["eval()", "Dropout is none", "nn.Dropout(0.5)(self"],
    "TooFew": ["(batch, 10) outputs", "(20, 9) for a batch of 20", "class TooFew"],
    "Column": ["(20, 1, 10) for a batch of 20"],
    "Labels": ["(20,) for a batch of 20"],
    "Nothing": ["an object of type NoneType"],
    "TwoCandidates": ["{coarse: (20, 10), fine: (20, 10)}"],
    "NotANumber": ["finite before the first step", "class NotANumber"],
    "Infinite": ["finite before the first step"],
    "NeedsMore": [
        "forward() missing 1 required positional argument: 'mask'",
        "class NeedsMore",
    ],
    "OnTheGPU": ["CUDA", "x.to("],
    "FixedBatch": ["evaluated on batches of size 3", "x.reshape(20, -1)"],
    "Unseeded": ["two rehearsals with one seed differ", "default_rng"],
    "BuiltByTheClock": ["differ in its weights when it is built", "no clock"],
    "FromTheSystem": ["differ in what it computes"],
    "NoGradientAtAll": ["gradient is zero at every weight"],
    "SavesAnObject": ["can be saved"],
    "UnregisteredDouble": ["dtype", "sound.py, line "],
}
REFUSED |= {
    "KeepsItsGraph": [
        "backward through the graph a second time",
        "class KeepsItsGraph",
    ],
    "KeepsItsBatch": ["evaluated on batches of size 3", "(self.state + h)"],
    "Sparse": ["indices", "self.words(x"],
    "Raises": ["ValueError (", "raise ValueError"],
    "OnlyInTraining": ["outputs: (3,) for a batch of 3", "class OnlyInTraining"],
}
NOTED = {
    "DropsAlways": ["in evaluation its outputs differ", "training=self.training"],
    "Softmax": ["probabilities already", "sums to 1"],
    "Sigmoid": ["ends in a sigmoid"],
    "Unused": ["no gradient reaches 2 of its parameters: spare.weight, spare.bias"],
    "FrozenBelow": ["no gradient reaches 2 of its parameters: first.weight"],
}


def test_every_faulty_module_has_its_answer():
    assert {*classes("faulty.py")} == {*REFUSED, *NOTED}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_train_otherwise_is_refused_by_name(name):
    with pytest.raises(ArmError) as raised:
        rehearsed(name)
    said = str(raised.value)
    # A word that is a line of the file stands for "file, line N".
    lines = (CASES / "faulty.py").read_text().splitlines()
    for word in REFUSED[name]:
        numbers = [n for n, line in enumerate(lines, 1) if word in line]
        named = [f"faulty.py, line {n})" for n in numbers]
        assert word in said or any(place in said for place in named), said
    assert "faulty.py, line " in said or "sound.py, line " in said, said
    assert name in said


@pytest.mark.parametrize("name", NOTED)
def test_what_might_not_be_meant_is_noted(name):
    (note,) = rehearsed(name).notes
    assert all(word in note for word in [name, *NOTED[name]]), note


class Ends(nn.Module):
    """A regression, or anything else, with a last layer of one's own."""

    def __init__(self, end, outputs=1):
        super().__init__()
        self.line = nn.Linear(64, outputs)
        self.end = end

    def forward(self, x):
        return self.end(self.line(x.flatten(1)))


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (torch.relu, "a ReLU"),
        (torch.sigmoid, "a sigmoid"),
        (torch.tanh, "a tanh"),
        (nn.Softplus(), "a softplus"),
    ],
)
def test_a_regression_that_cannot_reach_its_targets_is_noted(end, word):
    given = problem("regression")
    (note,) = rehearsal.rehearse(
        "ends", given, {"": job(functools.partial(Ends, end))}
    ).notes
    assert f"ends in {word}" in note
    assert "standardised" in note


def test_one_value_an_example_needs_no_axis():
    given = problem("regression")
    flat, column = (
        run.train(given, job(functools.partial(Ends, end)))
        for end in (nn.Flatten(0), nn.Identity())
    )
    assert flat.error is None
    assert np.array_equal(flat.predictions, column.predictions)


def test_a_softmax_of_one_output_is_refused():
    given = problem("regression")
    with pytest.raises(ArmError, match="gradient is zero at every weight"):
        rehearsal.rehearse(
            "ends", given, {"": job(functools.partial(Ends, nn.Softmax(1)))}
        )


class Deep(nn.Module):
    """Overflows where it is deep; fails where it is deeper."""

    def __init__(self, depth):
        super().__init__()
        self.scale = 10.0**depth
        self.line = nn.Linear(64, 10, device="cpu" if depth < 100 else "nowhere")

    def forward(self, x):
        return self.line(x.flatten(1) * self.scale).exp()


def test_a_configuration_that_diverges_is_no_fault_and_one_that_fails_is_named():
    jobs = {f"depth = {d}": job(functools.partial(Deep, d)) for d in (0, 5, 100)}
    shallow, deep, impossible = jobs.items()
    rehearsal.rehearse("deep", problem(), dict([shallow, deep]))
    rehearsal.rehearse("deep", problem(), dict([deep, shallow]))
    with pytest.raises(ArmError, match="finite before the first step"):
        rehearsal.rehearse("deep", problem(), dict([deep]))
    with pytest.raises(ArmError, match="deep with depth = 100 can be built") as raised:
        rehearsal.rehearse("deep", problem(), dict([shallow, impossible]))
    assert f"{__file__}, line " in str(raised.value)


def test_a_configuration_that_the_architecture_refuses_is_named():
    def refuses():
        raise ArmError("width is a multiple of heads", "width = 5", "Take 4.")

    jobs = {"": job(functools.partial(Deep, 0)), "heads = 3": job(refuses)}
    with pytest.raises(ArmError) as raised:
        rehearsal.rehearse("deep", problem(), jobs)
    first, last = str(raised.value).splitlines()
    assert first == "width is a multiple of heads: width = 5 (with heads = 3)"
    assert last == "Take 4."


class Squeezes(Ends):
    """Loses the axis of a batch of one example."""

    def __init__(self):
        super().__init__(torch.squeeze, 10)


def test_a_last_example_that_is_predicted_alone_is_rehearsed():
    given = problem()
    rehearsal.rehearse("squeezes", given, {"": job(Squeezes)})
    rows = np.resize(given.x_test, (1001, *SHAPE))
    given = dataclasses.replace(given, x_test=rows)
    with pytest.raises(ArmError, match=r"\(10,\) for a batch of 1"):
        rehearsal.rehearse("squeezes", given, {"": job(Squeezes)})


# ---------------------------------------------------------------------- whole numbers


class Bag(nn.Module):
    def __init__(self, cast=False):
        super().__init__()
        self.cast = cast
        self.words, self.last = nn.Embedding(50, 8), nn.Linear(8, 10)

    def forward(self, x):
        assert x.dtype == (torch.float32 if self.cast else torch.int64)
        return self.last(self.words(x.long()).mean(1))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int16"])
def test_whole_numbers_reach_the_module_as_they_are(dtype):
    given = problem(whole=True)
    changed = {
        name: getattr(given, name).astype(dtype)
        for name in ("x_train", "x_validation", "x_test")
    }
    ours = dataclasses.replace(given, **changed)
    seen = rehearsal.rehearse("bag", ours, {"": job(Bag)})
    assert seen == rehearsal.Rehearsed((), None)
    whole = run.train(ours, job(Bag))
    assert whole.error is None
    # The same ids as floats, which the module turns back: nothing is lost.
    changed = {name: x.astype(np.float32) for name, x in changed.items()}
    floats = dataclasses.replace(given, **changed)
    cast = run.train(floats, job(functools.partial(Bag, cast=True)))
    assert np.array_equal(whole.predictions, cast.predictions)
    together = fleet.train(ours, [job(Bag), job(Bag, initial_seed=9)])
    assert together[0].error is None
    assert np.mean(together[0].predictions == whole.predictions) > 0.9


def test_a_module_of_real_numbers_is_told_what_whole_numbers_are():
    with pytest.raises(ArmError) as raised:
        rehearsal.rehearse("line", problem(whole=True), {"": job(lambda: nn.Linear(12, 10))})  # fmt: skip
    assert "nn.Embedding, or with x.float()" in str(raised.value)
    float_first = functools.partial(nn.Linear, 12, 10)
    cast = job(lambda: nn.Sequential(Float(), float_first()))
    rehearsal.rehearse("line", problem(whole=True), {"": cast})


class Float(nn.Module):
    def forward(self, x):
        return x.float()


# ------------------------------------------------------------------- complex and moved


AVERAGED = Recipe(learning_rate=1e-2, weight_averaging=0.5)


@pytest.mark.parametrize(
    "name", ["Spectral", "Rotary", "Constrained", "Counts", "Lazy"]
)
def test_averages_and_saved_weights_are_those_of_the_module(name):
    given = problem(recipe=AVERAGED)
    one = job(build_of(found(name, "sound.py"), given))
    outcome = run.train(given, one)
    assert outcome.error is None
    saved = safetensors.torch.save(
        {k: w.contiguous() for k, w in outcome.weights.items()}
    )
    module = one.build().eval()
    with torch.no_grad():
        module(torch.from_numpy(given.x_test.copy()))  # makes lazy layers
        module.load_state_dict(safetensors.torch.load(saved))
        outputs = module(torch.from_numpy(given.x_test.copy())).softmax(-1).numpy()
    assert (given.metric.reduce(outputs) == outcome.predictions).mean() > 0.99


def test_a_complex_weight_keeps_both_its_parts():
    given = problem()
    one = job(build_of(found("Spectral", "sound.py"), given))
    weights = run.train(given, one).weights
    begun = build(given, one).state_dict()
    assert weights["w"].dtype == torch.complex64
    moved = weights["w"] - begun["w"]
    assert (moved.real.abs() > 0).all()
    assert (moved.imag[1:-1].abs() > 0).all()
    assert cost.parameters(build(given, one)) == 33 + 33 + 650


def test_double_precision_becomes_single_and_complex_too():
    module = build(problem(), job(lambda: Spectral128().double()))
    dtypes = {n: p.dtype for n, p in module.named_parameters()}
    assert dtypes == {
        "w": torch.complex64, "line.weight": torch.float32, "line.bias": torch.float32,
    }  # fmt: skip
    assert module.turns.dtype == torch.complex64


class Spectral128(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(64, dtype=torch.cdouble))
        self.register_buffer("turns", torch.ones(64, dtype=torch.cdouble))
        self.line = nn.Linear(64, 10)

    def forward(self, x):
        return self.line((x.flatten(1) * self.w * self.turns).real)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Constrained", "gives weights other memory"),
        ("SetsMemory", "gives weights other memory"),
        ("AddsNumpysNoise", "global generator"),
        ("Spectral", None),
        ("Renormalised", None),
        ("Plain", None),
    ],
)
def test_what_a_fleet_would_not_notice_is_an_obstacle(name, words):
    obstacle = rehearsed(name, "sound.py").obstacle
    assert obstacle is None if words is None else words in obstacle


def test_a_weight_that_is_replaced_late_stops_the_run():
    with pytest.raises(FormError, match=r"others in their place: last\.weight"):
        run.train(problem(), job(Late))


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.calls = nn.Linear(64, 10), 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 4:
            self.last.weight = nn.Parameter(self.last.weight.detach())
        return self.last(x.flatten(1))


# -------------------------------------------------------------------- in a whole study


def declared(name, file="sound.py", **changes):
    return Protocol(
        data="digits",
        baseline="linear",
        challengers=[{"name": "own", "architecture": f"{CASES / file}:{name}"}],
        steps=3,
        configurations=4,
        effort=1,
        margin=0.1,
        **changes,
    )


def test_a_study_refuses_before_it_begins_and_says_its_notes():
    with pytest.raises(ArmError, match=r"layers\[0\]\.weight is not"):
        trial.Zoo.of(declared("LayersInList", "faulty.py"))
    (note,) = [
        n for n in trial.Zoo.of(declared("Softmax", "faulty.py")).resolved["notes"]
        if "faulty.py" in n and "trains one run" not in n
    ]  # fmt: skip
    assert "probabilities already" in note


def test_corners_of_a_space_are_a_handful():
    space = {
        "depth": Choice(tuple(range(1, 40))),
        "kind": Choice(("a", "b", "c", "d", "e", "f", "g")),
        "skip": Choice((True, False)),
    }
    corners = rehearsing.corners(space, {"depth": 3, "kind": "a", "skip": True})
    assert next(iter(corners.items())) == ("", {"depth": 3, "kind": "a", "skip": True})
    depths = sorted(v["depth"] for said, v in corners.items() if "depth" in said)
    assert depths == [1, 11, 20, 29, 39]
    assert [said for said in corners if "kind" in said] == [
        f'kind = "{kind}"' for kind in "bcdefg"
    ]
    assert corners["skip = false"]["skip"] is False


def test_prints_go_to_standard_error(capsys):
    out = io.StringIO()
    with redirect_stdout(out):
        trial.Zoo.of(declared("Prints"))
    assert out.getvalue() == ""
    said = capsys.readouterr().err
    assert "number of parameters: 1210" in said
    assert "forward torch.Size" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_json_stays_one_document_whatever_a_module_prints(tmp_path, workers):
    done = subprocess.run(
        [
            sys.executable, "-c", "from archtrial.cli import main; main()", "run", "--data", "digits",
            "--baseline", "linear", "--challenger", f"own={CASES}/sound.py:Prints",
            "--steps", "3", "--configurations", "4", "--effort", "1",
            "--workers", str(workers), "--json", "--study", tmp_path / "study",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    json.loads(done.stdout)
    assert "number of parameters" in done.stderr


def test_what_is_to_be_relaxed_is_rehearsed_too(tmp_path):
    protocol = relax.Protocol(
        data="digits", architecture=f"{CASES}/faulty.py:LayersInList", steps=1,
        relax_times=(0,), seeds=2, learning_rates=(0.1,), tuning_seeds=1,
        curvature_examples=0,
    )  # fmt: skip
    with pytest.raises(ArmError, match=r"layers\[0\]\.weight is not"):
        RelaxStudy(protocol, tmp_path)
    assert not any(tmp_path.iterdir())


def test_counting_a_step_leaves_the_global_generators_alone():
    given = problem()
    module = build(given, job(build_of(found("AddsNumpysNoise", "sound.py"), given)))
    before = random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    # A batch of a size that no other test counts: what is counted once is remembered.
    assert cost.training(module, torch.from_numpy(given.x_train[:19]), 1) > 0
    after = random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002
    assert after == before


class Words(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.words, self.line = nn.Embedding(count, 4), nn.Linear(4, 10)

    def forward(self, x):
        return self.line(self.words(x).mean(1))


@pytest.mark.parametrize("part", ["x_train", "x_validation", "x_test"])
@pytest.mark.parametrize("row", [0, -1])
def test_the_largest_word_is_rehearsed_wherever_it_stands(part, row):
    x = np.random.default_rng(0).integers(0, 20, (900, 6))
    parts = dict(
        zip(("x_train", "x_validation", "x_test"), (x, x[:40], x[:40]), strict=True)
    )
    parts[part] = parts[part].copy()
    parts[part][row, 3] = 29
    y = np.arange(900) % 10
    given = dataclasses.replace(
        problem(), **parts, y_train=y, y_validation=y[:40], batch_size=20
    )
    with pytest.raises(ArmError, match="from 0 to 29") as raised:
        rehearsal.rehearse("words", given, {"": job(functools.partial(Words, 29))})
    assert "at least 30 words" in raised.value.way_out
    assert rehearsal.rehearse("words", given, {"": job(functools.partial(Words, 30))})

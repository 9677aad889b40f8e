"""A fleet against the loop, which defines what a run is."""

import copy
import dataclasses
import functools
import importlib
import logging
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._C import _functorch
from torch.nn import functional

from archtrial import metrics
from archtrial.errors import ArmError, FormError, ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import fleet, module, run, stacking
from archtrial.training.loop import Loop
from archtrial.training.source import Source
from archtrial.training.structure import structure
from archtrial.zoo import attention
from archtrial.zoo import lengths as of_lengths
from archtrial.zoo.depth import StochasticDepth
from archtrial.zoo.layers import Resize

RUNS = 3
LENGTH = 16


def problem(task="classification", recipe=None, shape=(LENGTH,), **changes):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, *shape)).astype(np.float32)
    flat = x.reshape(len(x), -1)
    if task == "classification":
        y = np.digitize(flat[:, 0] + flat[:, 1], [-0.6, 0.6]).astype(np.int64)
    else:
        y = 7 + 3 * flat[:, 0]
    values = {
        "x_train": x[:60],
        "y_train": y[:60],
        "x_validation": x[60:75],
        "y_validation": y[60:75],
        "x_test": x[75:],
        "task": task,
        "num_outputs": 3 if task == "classification" else 1,
        "metric": metrics.default(task),
        "recipe": recipe or Recipe(),
        "steps": 12,
        "batch_size": 20,
        "evaluations": 3,
    }
    return run.Problem(**(values | changes))


def jobs(build, count=RUNS, **hyperparameters):
    """Runs that differ in all that may differ inside a fleet."""
    return [
        run.Job(
            build,
            {
                "learning_rate": 1e-3 * (1 + index),
                "weight_decay": 0.05 * index,
                "momentum": 0.9 - 0.2 * index,
                "label_smoothing": 0.1 * index,
                **{name: values[index] for name, values in hyperparameters.items()},
            },
            initial_seed=index,
            order_seed=10 + index,
            noise_seed=20 + index,
        )
        for index in range(count)
    ]


class Users(nn.Module):
    """Layers and habits that the zoo does not have."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv1d(1, 6, 3, padding="same", padding_mode="circular")
        self.depthwise = nn.Conv1d(6, 6, 3, groups=6, bias=False)
        self.norm = nn.LayerNorm(6)
        self.scale = nn.Parameter(torch.ones(6))
        self.offset = nn.Parameter(torch.zeros(6), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("smooth", torch.zeros(6))
        self.tied = nn.Linear(6, 6, bias=False)
        self.twin = nn.Linear(6, 6, bias=False)
        self.twin.weight = self.tied.weight
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h = functional.gelu(self.encoder(x.unsqueeze(1)))
        h = functional.max_pool1d(self.depthwise(h), 2)
        h = self.norm(h.transpose(1, 2)) * self.scale + self.offset
        if self.training:
            self.seen += 1
            self.smooth = 0.9 * self.smooth + 0.1 * h.detach().mean((0, 1))
        h = functional.dropout(self.twin(torch.tanh(self.tied(h))), 0.2, self.training)
        weight = torch.softmax(h.sum(-1, keepdim=True), 1)
        return self.head((weight * h).sum(1))


class Image(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1, bias=False),
            norm(4),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1, groups=2),
            nn.BatchNorm2d(6, affine=False),
            nn.AdaptiveAvgPool2d((2, 1)),
            nn.MaxPool2d((2, 1)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.body(x)


class Sequence(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.cell = kind(2, 5, batch_first=True, **options)
        width = 10 if self.cell.bidirectional else 5
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        states, _ = self.cell(x.unflatten(1, (-1, 2)))
        return self.head(states.mean(1))


class Layers(nn.Module):
    """One layer between a convolution and the head, of a series or of an image."""

    def __init__(self, layer, shape):
        super().__init__()
        kind = nn.Conv1d if len(shape) == 2 else nn.Conv2d
        self.first = kind(shape[0], 8, 3, padding=1)
        self.layer = layer()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = self.layer(self.first(torch.zeros(2, *shape)))
        self.head = nn.Linear(y[0].numel(), 3)

    def forward(self, x):
        return self.head(torch.tanh(self.layer(self.first(x))).flatten(1))


class ChannelsLast(nn.Module):
    """A norm over the channels of each position."""

    def __init__(self, **options):
        super().__init__()
        self.norm = nn.LayerNorm(8, **options)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Masked(nn.Module):
    """A block of the zoo's encoder, with tokens that are not there."""

    def __init__(self, **options):
        super().__init__()
        self.read = nn.Linear(1, 8)
        self.block = attention.EncoderBlock(8, 2, 12, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        lengths = (x > 0).sum(1).clamp(min=1)
        within = of_lengths.mask(lengths, LENGTH)
        h = self.block(self.read(x.unsqueeze(-1)), within)
        return self.head(of_lengths.mean_over_steps(h.mT, lengths))


def series(layer, *args, **options):
    build = functools.partial(layer, *args, **options)
    return functools.partial(Layers, build, (2, 12))


def images(layer, *args, **options):
    build = functools.partial(layer, *args, **options)
    return functools.partial(Layers, build, (2, 9, 10))


def zoo(family, name, **options):
    function = getattr(
        importlib.import_module(f"archtrial.zoo.architectures.{family}"), name
    )
    return functools.partial(function, (LENGTH,), 3, **options)


MODULES = {
    "linear": zoo("linear", "linear"),
    "mlp": zoo("mlp", "mlp", width=8, dropout=0.3),
    "mlp batch norm": zoo("mlp", "mlp", width=8, norm="batch", dropout=0.3),
    "mlp layer norm": zoo("mlp", "mlp", width=8, norm="layer"),
    "cnn": zoo("cnn", "cnn", width=6, dropout=0.3),
    "cnn batch norm, max": zoo("cnn", "cnn", width=6, norm="batch", pooling="max"),
    "cnn group norm, average": zoo(
        "cnn", "cnn", width=6, norm="group", pooling="average", residual=True
    ),
    "cnn layer norm": zoo("cnn", "cnn", width=6, norm="layer", residual=True),
    "gru": zoo("recurrent", "gru", dropout=0.3),
    "lstm": zoo("recurrent", "lstm"),
    "rnn": zoo("recurrent", "rnn", bidirectional=False),
    "deep gru": zoo("recurrent", "gru", depth=2),
    "image, instance norm": functools.partial(Image, nn.InstanceNorm2d),
    "image, batch norm": functools.partial(Image, nn.BatchNorm2d),
    "gru without biases": functools.partial(
        Sequence, nn.GRU, bidirectional=True, bias=False
    ),
    "lstm of two layers": functools.partial(Sequence, nn.LSTM, num_layers=2),
    "relu rnn": functools.partial(Sequence, nn.RNN, nonlinearity="relu"),
    "a user's": Users,
    "series, batch norm": series(nn.BatchNorm1d, 8),
    "series, layer norm": series(nn.LayerNorm, [8, 12]),
    "series, layer norm of a side": series(nn.LayerNorm, 12),
    "series, layer norm of channels": series(ChannelsLast, eps=1e-6),
    "series, layer norm without weights": series(
        ChannelsLast, elementwise_affine=False
    ),
    "series, group norm": series(nn.GroupNorm, 2, 8),
    "series, root mean square norm": series(nn.RMSNorm, 12),
    "series, stochastic depth": series(StochasticDepth, 0.3),
    "series, to 1": series(nn.AdaptiveAvgPool1d, 1),
    "series, to 5": series(nn.AdaptiveAvgPool1d, 5),
    "series, to 5 by the largest": series(nn.AdaptiveMaxPool1d, 5),
    "series, resized up": series(Resize, 20),
    "series, resized down": series(Resize, 7),
    "series, depthwise": series(nn.Conv1d, 8, 8, 7, padding=3, groups=8),
    "series, dilated": series(nn.Conv1d, 8, 8, 3, padding=6, dilation=6),
    "series, both": series(nn.Conv1d, 8, 16, 3, dilation=2, groups=8, bias=False),
    "image, layer norm": images(nn.LayerNorm, [8, 9, 10]),
    "image, layer norm of channels": images(ChannelsLast),
    "image, group norm": images(nn.GroupNorm, 4, 8),
    "image, group norm of all": images(nn.GroupNorm, 1, 8, affine=False),
    "image, response norm": images(nn.LocalResponseNorm, 5),
    "image, stochastic depth": images(StochasticDepth, 0.3),
    "image, to 1": images(nn.AdaptiveAvgPool2d, 1),
    "image, to 3": images(nn.AdaptiveAvgPool2d, 3),
    "image, to 7": images(nn.AdaptiveAvgPool2d, 7),
    "image, to 2 by all": images(nn.AdaptiveAvgPool2d, (2, None)),
    "image, to 3 by the largest": images(nn.AdaptiveMaxPool2d, 3),
    "image, resized up": images(Resize, 20),
    "image, resized down": images(Resize, 5),
    "image, depthwise": images(nn.Conv2d, 8, 8, 7, padding=3, groups=8),
    "image, depthwise with strides": images(nn.Conv2d, 8, 16, 3, stride=2, groups=8),
    "image, dilated": images(nn.Conv2d, 8, 8, 3, padding=2, dilation=2),
    "image, both": images(nn.Conv2d, 8, 8, 3, dilation=2, groups=8, bias=False),
    "masked attention": functools.partial(Masked, stochastic_depth=0.2),
    "masked attention, dropout": functools.partial(
        Masked, attention_dropout=0.3, dropout=0.2, gated=True
    ),
    "masked attention, batch norm": functools.partial(
        Masked, norm="batch", norm_first=False
    ),
    "vit": zoo("vit", "vit", depth=1, width=12, attention_dropout=0.2),
    "mixer": zoo("mixer", "mixer", depth=1, width=12, dropout=0.2),
    "convnext": zoo("convnext", "convnext", width=8, stochastic_depth=0.3),
    "convnext, group norm": zoo("convnext", "convnext", width=16, norm="group"),
}


def shape_for(build):
    kind = getattr(build, "func", None)
    if kind is Layers:
        return build.args[1]
    return (2, 8, 8) if kind is Image else (LENGTH,)


def stack_in_the_loops_state(given, made, loops):
    """Returns a fleet whose every run is where its loop is."""
    stack = fleet.Stack(given, made, [copy.deepcopy(loop.module) for loop in loops])
    stack.optimizer.state.copy_(torch.cat([loop.optimizer.state for loop in loops], 1))
    stack.optimizer.steps = loops[0].optimizer.steps
    for generator, loop in zip(stack.generators, loops, strict=True):
        generator.set_state(loop.noise.generator.get_state())
    if stack.average is not None:
        own = [loop.average for loop in loops]
        stack.average.steps = own[0].steps
        stack.average.values.copy_(torch.cat([average.values for average in own]))
        for name in stack.average.buffers:
            means = [average.buffers[name] for average in own]
            stack.average.buffers[name] = torch.stack(means)
    return stack


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("name", MODULES)
def test_a_fleets_step_from_the_loops_own_state_is_the_loops_step(name, optimizer):
    """The oracle of the fleet, never to be skipped.

    Tolerance: relative 1e-3 or absolute 1e-5. Values whose gradient is nothing but
    rounding (a bias before a normalisation) are left out: Adam divides it by its
    own size.
    """
    build = MODULES[name]
    given = problem(shape=shape_for(build), recipe=Recipe(optimizer=optimizer))
    made = jobs(build)
    data = Source(given)
    loops = [Loop(given, [job], [module.build(given, job)]) for job in made]
    for index, loop in enumerate(loops):
        for start in (0, 15, 30):
            rows = slice(start + index, start + index + 20)
            loop.step(data.x_train[rows][None], data.y_train[rows][None], 1.0)
    stack = stack_in_the_loops_state(given, made, loops)
    batches = [torch.arange(20) + 7 * index for index in range(RUNS)]
    rows = torch.stack(batches)
    losses = stack.step(data.x_train[rows], data.y_train[rows], 0.5)
    evaluated = stack.predict(data.x_validation)
    for index, loop in enumerate(loops):
        own = loop.step(
            data.x_train[rows[index]][None], data.y_train[rows[index]][None], 0.5
        )
        near = functools.partial(torch.testing.assert_close, rtol=1e-3, atol=1e-5)
        near(losses[index], own[0])
        near(stack.optimizer.state[:, index], loop.optimizer.state[:, 0])
        moved = loop.optimizer.state[0, 0].abs() > 1e-6
        assert moved.any()
        near(stack.values[index][moved], loop.values[0][moved])
        for buffer, value in loop.module.named_buffers():
            near(stack.buffers[buffer][index], value)
        near(evaluated[index], loop.predict(data.x_validation)[0], atol=1e-3)


@pytest.mark.parametrize("name", ["cnn batch norm, max", "gru", "a user's"])
def test_a_fleet_averages_weights_as_the_loop_does(name):
    """From the loop's own state and at the tolerance of the step itself."""
    build = MODULES[name]
    given = problem(recipe=Recipe(optimizer="sgd", weight_averaging=0.3))
    made = jobs(build)
    data = Source(given)
    loops = [Loop(given, [job], [module.build(given, job)]) for job in made]
    for loop in loops:
        for start in (0, 15, 30):
            rows = slice(start, start + 20)
            loop.step(data.x_train[rows][None], data.y_train[rows][None], 1.0)
    stack = stack_in_the_loops_state(given, made, loops)
    rows = torch.stack([torch.arange(20) + 7 * index for index in range(RUNS)])
    stack.step(data.x_train[rows], data.y_train[rows], 0.5)
    evaluated = stack.predict(data.x_validation)
    last = stack.values.clone()
    stack.finish()  # now with the averages in their place
    near = functools.partial(torch.testing.assert_close, rtol=1e-3, atol=1e-5)
    for index, loop in enumerate(loops):
        loop.step(data.x_train[rows[index]][None], data.y_train[rows[index]][None], 0.5)
        near(evaluated[index], loop.predict(data.x_validation)[0], atol=1e-3)
        near(last[index], loop.values[0])
        loop.exchange()
        near(stack.values[index], loop.values[0])
        assert not torch.allclose(last[index], loop.values[0])
        for buffer, value in loop.module.named_buffers():
            near(stack.buffers[buffer][index], value)
            near(dict(stack._modules[index].named_buffers())[buffer], value)


@pytest.mark.parametrize("name", MODULES)
def test_averaging_is_no_obstacle(name):
    build = MODULES[name]
    given = problem(shape=shape_for(build), recipe=Recipe(weight_averaging=0.5))
    assert stacking.obstacle(given, build) is None


@pytest.mark.parametrize("name", MODULES)
def test_what_the_zoo_and_users_build_has_no_obstacle(name):
    build = MODULES[name]
    given = problem(shape=shape_for(build))
    before = torch.get_rng_state()
    assert stacking.obstacle(given, build) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_regression_has_no_obstacle_and_gives_values():
    given = problem("regression", steps=150, recipe=Recipe(learning_rate=2e-2))
    build = functools.partial(nn.Linear, LENGTH, 1)
    assert stacking.obstacle(given, build) is None
    made = [run.Job(build, {}, seed, seed, seed) for seed in range(2)]
    for outcome, job in zip(fleet.train(given, made), made, strict=True):
        own = run.train(given, job)
        assert outcome.predictions == pytest.approx(own.predictions, rel=1e-3, abs=1e-3)
        assert outcome.validation == pytest.approx(own.validation, abs=1e-3)


def same(first, second):
    return (
        first.validation == second.validation
        and first.diverged == second.diverged
        and first.curve == second.curve
        and np.array_equal(first.predictions, second.predictions)
    )


def stays_a_fleet(caplog):
    """Whether no fleet fell back to the loop."""
    return not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ["mlp", "cnn batch norm, max", "gru", "a user's"])
def test_the_same_fleet_twice_gives_the_same_bytes(name, caplog):
    given, made = problem(), jobs(MODULES[name])
    for first, second in zip(
        fleet.train(given, made), fleet.train(given, made), strict=True
    ):
        assert same(first, second)
        assert first.error is None
    assert stays_a_fleet(caplog)


def test_a_fleet_gives_what_the_loop_gives(caplog):
    """Over few steps; over many, rounding sets trajectories apart."""
    given, made = problem(), jobs(MODULES["mlp"], dropout=(0.0, 0.3, 0.6))
    for outcome, job in zip(fleet.train(given, made), made, strict=True):
        own = run.train(given, job)
        assert [point.step for point in outcome.curve] == [4, 8, 12]
        for mine, theirs in zip(outcome.curve, own.curve, strict=True):
            assert mine.loss == pytest.approx(theirs.loss, abs=1e-3)
        assert outcome.flops == own.flops
        assert outcome.parameters == own.parameters
    assert stays_a_fleet(caplog)


def test_global_generators_are_untouched():
    before = torch.get_rng_state()
    fleet.train(problem(), jobs(MODULES["mlp"]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_diverges_does_not_disturb_the_others(caplog):
    recipe = Recipe(optimizer="sgd", gradient_clip=None)
    given, build = problem(recipe=recipe), MODULES["cnn batch norm, max"]
    calm = jobs(build, learning_rate=(1e-2, 1e-2, 1e-2))
    wild = jobs(build, learning_rate=(1e-2, 1e38, 1e-2))
    alone, beside = fleet.train(given, calm), fleet.train(given, wild)
    assert same(alone[0], beside[0])
    assert same(alone[2], beside[2])
    assert not beside[0].diverged
    assert beside[1].diverged
    assert beside[1].error is None
    assert len(np.unique(beside[1].predictions)) == 1
    assert all(math.isfinite(point.loss) for point in beside[1].curve)
    assert stays_a_fleet(caplog)


def test_a_fleet_of_diverged_runs_ends():
    recipe = Recipe(optimizer="sgd", gradient_clip=None, learning_rate=1e38)
    made = jobs(MODULES["mlp"], learning_rate=(1e38,) * 3)
    outcomes = fleet.train(problem(recipe=recipe), made)
    assert all(outcome.diverged for outcome in outcomes)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(weight_averaging=0.5)])
def test_kept_weights_are_a_runs_own(recipe, caplog):
    given = problem(recipe=recipe)
    made = [
        run.Job(Users, {}, seed, seed, seed, keep_weights=seed != 1)
        for seed in range(3)
    ]
    outcomes = fleet.train(given, made)
    assert outcomes[1].weights is None
    for outcome in (outcomes[0], outcomes[2]):
        module = Users()
        module.load_state_dict(outcome.weights)
        assert torch.equal(module.tied.weight, outcome.weights["twin.weight"])
        averaged = recipe.weight_averaging > 0  # buffers of real numbers are, too
        assert (float(module.seen) == given.steps) != averaged
        with torch.no_grad():
            labels = module.eval()(torch.from_numpy(given.x_test)).argmax(1)
        assert np.array_equal(labels.numpy(), outcome.predictions)
    assert not torch.equal(
        outcomes[0].weights["head.weight"], outcomes[2].weights["head.weight"]
    )
    assert stays_a_fleet(caplog)


class BreaksForSomeSeeds(nn.Module):
    """All that a state_dict may hold; two runs give no numbers from some step on."""

    def __init__(self):
        super().__init__()
        self.users = Users()
        self.norm = nn.BatchNorm1d(3)
        end = {1: 6, 4: 2}.get(torch.initial_seed(), 1000)
        self.register_buffer("end", torch.tensor(end))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.steps = self.steps + 1
        return self.norm(self.users(x)) + torch.where(
            self.steps < self.end, 0.0, math.nan
        )


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_a_fleet_reads_and_keeps_what_the_loop_does(averaging, caplog):
    recipe = Recipe(optimizer="sgd", learning_rate=0.05, weight_averaging=averaging)
    given = problem(recipe=recipe, read_at=(3, 9), metric=metrics.get("auroc"))
    made = [
        dataclasses.replace(job, keep_at=keep_at, skip=skip, hyperparameters={})
        for job, keep_at, skip in zip(
            jobs(BreaksForSomeSeeds, 5),
            [(0, 5, 12), (0, 7, 8), (), (5,), (1, 4)],
            [0, 2, 5, 2, 0],
            strict=True,
        )
    ]
    outcomes = fleet.train(given, made)
    assert stays_a_fleet(caplog)
    assert [outcome.diverged for outcome in outcomes] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert [sorted(o.kept) for o in outcomes] == [[0, 5, 12], [0, 7], [], [5], [1]]
    near = functools.partial(
        torch.testing.assert_close, rtol=1e-3, atol=1e-4, equal_nan=True
    )
    for outcome, job in zip(outcomes, made, strict=True):
        own = run.train(given, job)
        assert list(outcome.readings) == list(own.readings) == [3, 9]
        for step, read in own.readings.items():
            for name, reading in read.items():
                mine = outcome.readings[step][name]
                assert mine.step == reading.step
                assert mine.validation == pytest.approx(reading.validation, abs=1e-3)
                np.testing.assert_allclose(
                    mine.predictions, reading.predictions, atol=1e-4
                )
        assert outcome.kept.keys() == own.kept.keys()
        for step, weights in own.kept.items():
            assert list(outcome.kept[step]) == list(weights)
            for name, weight in weights.items():
                near(outcome.kept[step][name], weight)
    assert [o.readings[9]["last"].step for o in outcomes] == [9, 0, 9, 9, 0]
    assert [o.readings[9]["best"].step for o in outcomes[1::3]] == [3, 0]


@pytest.mark.parametrize("name", ["cnn batch norm, max", "gru", "a user's"])
def test_to_read_and_to_keep_changes_nothing_of_a_fleet(name, caplog):
    given = problem(recipe=Recipe(weight_averaging=0.3))
    plain = fleet.train(given, jobs(MODULES[name]))
    read = fleet.train(
        dataclasses.replace(given, read_at=(4, 12)),
        [dataclasses.replace(job, keep_at=(0, 3, 12)) for job in jobs(MODULES[name])],
    )
    for mine, theirs in zip(read, plain, strict=True):
        assert same(mine, theirs)
    assert stays_a_fleet(caplog)


def test_jobs_of_other_structure_form_fleets_of_their_own(caplog):
    given = problem()
    wide, narrow = (zoo("mlp", "mlp", width=width) for width in (8, 6))
    mixed = [
        run.Job(build, {}, seed, seed, seed)
        for seed, build in enumerate([wide, narrow, wide, narrow])
    ]
    outcomes = fleet.train(given, mixed)
    for apart, kind in zip(
        fleet.train(given, mixed[0::2]), outcomes[0::2], strict=True
    ):
        assert same(apart, kind)
    assert outcomes[0].parameters != outcomes[1].parameters
    assert stays_a_fleet(caplog)


def breaks_for_one_seed(error):
    if torch.initial_seed() == 1:
        raise error
    return nn.Linear(LENGTH, 3)


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (RuntimeError("no luck"), "RuntimeError: no luck ("),
        (ArmError("it can be built", "no luck", "Try again."), "it can be built: no l"),
    ],
)
def test_a_builder_that_raises_fails_its_own_run_alone(error, recorded):
    outcomes = fleet.train(
        problem(), jobs(functools.partial(breaks_for_one_seed, error))
    )
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert outcomes[1].error.startswith(recorded)
    assert "\n" not in outcomes[1].error
    assert [outcome.diverged for outcome in outcomes] == [False, True, False]


class TakesAllMemory(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        # More than any process can address; on the meta device it costs nothing.
        return self.linear(x) + torch.zeros(2**50, device=x.device)[0]


def beyond_memory():
    return nn.Linear(2**30, 2**30)


@pytest.mark.parametrize("build", [TakesAllMemory, beyond_memory])
def test_a_result_never_depends_on_free_memory(build, caplog):
    """Neither that of a run, nor whether runs are trained as a fleet or a loop."""
    with pytest.raises(MemoryError, match="not enough memory to train: "):
        fleet.train(problem(), jobs(build))
    with pytest.raises(MemoryError, match="not enough memory to train: "):
        stacking.obstacle(problem(), build)
    assert stays_a_fleet(caplog)


def test_an_impossible_hyperparameter_is_the_users_mistake():
    with pytest.raises(ProtocolError, match="momentum is at least 0 and below 1"):
        fleet.train(problem(), jobs(MODULES["mlp"], momentum=(0.9, 1.5, 0.9)))


def raises_without_a_word():
    raise ValueError


def test_an_obstacle_names_nothing_of_the_machine():
    """It becomes a note of the study, which its hash covers."""
    assert "/" not in stacking.obstacle(problem(), LooksAtValues)
    found = stacking.obstacle(problem(), raises_without_a_word)
    assert found.startswith("ValueError:  (test_fleet.py, line ")


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        return self.linear(x if x.sum() > 0 else -x)


class DrawsNoise(nn.Module):
    """What torch's public layers draw: noise, whole paths, and in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
            x = x * x.new_empty(len(x), 1).bernoulli_(0.8)
            x = x * (torch.rand(len(x), 1) < 0.9)
            x = functional.alpha_dropout(x, 0.1, self.training)
            x = x * functional.gumbel_softmax(x)
        return self.linear(x)


class KeepsATensorAside(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)
        self.aside = torch.randn(LENGTH)

    def forward(self, x):
        return self.linear(x * self.aside)


class LooksAhead(nn.Module):
    """Draws in evaluation, where the loop's batches are of another size."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        return self.linear(x + torch.randn_like(x))


class HangsOnOthers(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(LENGTH, track_running_stats=False)
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        return self.linear(self.norm(x))


class HasNoRule(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(LENGTH, 3)

    def forward(self, x):
        return self.linear(x).renorm(2, 0, 1.0)


def _lengths_of_values(x):
    return (x.reshape(len(x), 4, 4).sum(2) > 0).sum(1).clamp(min=1)


class Packs(nn.Module):
    def __init__(self, lengths=lambda x: torch.full((len(x),), 4)):
        super().__init__()
        self.rnn = nn.GRU(4, 5, batch_first=True)
        self.linear = nn.Linear(5, 3)
        self.lengths = lengths

    def forward(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(
            x.reshape(len(x), 4, 4), self.lengths(x), True, enforce_sorted=False
        )
        return self.linear(self.rnn(packed)[1][-1])


class Transforms(nn.Module):
    """Calls torch.vmap itself, with dropout inside."""

    def __init__(self, transform=lambda f: torch.vmap(f, randomness="different")):
        super().__init__()
        self.linear, self.drop = nn.Linear(LENGTH, 3), nn.Dropout(0.5)
        self.transform = transform

    def forward(self, x):
        return self.transform(lambda row: self.drop(self.linear(row)))(x)


def test_a_module_with_masks_of_its_own_vmap_trains():
    once, again = (run.train(problem(), jobs(Transforms)[0]) for _ in range(2))
    assert not once.diverged
    assert same(once, again)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Packs, "it packs its sequences (pack_padded_sequence), whose"),
        (functools.partial(Packs, _lengths_of_values), "it packs its sequences"),
        (Transforms, "it transforms functions itself (torch.vmap, torch.func)"),
        (LooksAtValues, "__bool__ (test_fleet.py, line "),
        (KeepsATensorAside, "its runs differ in self.aside (a tensor of (16,)"),
        (LooksAhead, "randn_like (test_fleet.py, line "),
        (HangsOnOthers, "the others of the same batch"),
    ],
)
def test_an_obstacle_is_found_by_trying(build, reason):
    found = stacking.obstacle(problem(), build)
    assert reason in found
    assert "\n" not in found


class Rounds(nn.Module):
    """Makes much of rounding, as a ReLU does of a value that is nearly 0."""

    def __init__(self, single=False, wrong=0.0):
        super().__init__()
        self.first, self.norm = nn.Linear(LENGTH, 40), nn.BatchNorm1d(40)
        self.last = nn.Linear(40, 3)
        self.single, self.wrong = single, wrong

    def forward(self, x):
        assert not self.single or x.dtype == torch.float32
        h = torch.sin(1e5 * self.norm(self.first(x)))
        if self.wrong and not _functorch.is_batchedtensor(self.last.bias):
            h = h + self.wrong  # alone
        return self.last(h)


def test_rounding_alone_is_no_obstacle(monkeypatch):
    """What differs by it in single precision is looked at in double precision."""
    assert stacking.obstacle(problem(), Rounds) is None
    alone = functools.partial(Rounds, single=True)
    assert "is not what it is alone" in stacking.obstacle(problem(), alone)
    for wrong in (0.1, 1e-3):
        differs = functools.partial(Rounds, wrong=wrong)
        assert "is not what it is alone" in stacking.obstacle(problem(), differs)
    monkeypatch.setattr(stacking, "_only_rounding", lambda *_: False)
    assert "is not what it is alone" in stacking.obstacle(problem(), Rounds)


def test_a_fleet_that_cannot_go_on_is_trained_by_the_loop(caplog):
    made = jobs(LooksAtValues)
    outcomes = fleet.train(problem(), made)
    assert "goes on as a loop" in caplog.text
    for outcome, job in zip(outcomes, made, strict=True):
        assert same(outcome, run.train(problem(), job))


def test_outputs_of_the_wrong_shape_stop_at_the_first_fleet():
    with pytest.raises(FormError, match=r"\(batch, 3\) outputs: \(20, 5\)"):
        fleet.train(problem(), jobs(functools.partial(nn.Linear, LENGTH, 5)))


def test_structures_of_one_architecture_are_alike():
    build = MODULES["a user's"]
    assert structure(build()) == structure(build())


class Attends(nn.Module):
    """Calls torch's attention as public code does, with one of several masks."""

    def __init__(self, mask, rank):
        super().__init__()
        self.mask, self.rank = mask, rank
        self.read, self.out = nn.Linear(1, 12), nn.Linear(4, 3)
        self.bias = nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x):
        q, k, v = self.read(x.unsqueeze(-1)).chunk(3, -1)
        causal = torch.ones(16, 16, dtype=torch.bool, device=x.device).tril()
        options = {
            "none": {},
            "causal": {"is_causal": True},
            "scaled": {"scale": 0.1},
            "of positions": {"attn_mask": causal},
            "of examples": {"attn_mask": ((x > -1) | (x == x[:, :1])).unsqueeze(1)},
            "learnt": {"attn_mask": self.bias},
        }[self.mask]
        if self.rank == 4:  # two heads
            q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in (q, k, v))
            if self.mask == "of examples":
                options["attn_mask"] = options["attn_mask"].unsqueeze(1)
        elif self.mask == "learnt":
            options["attn_mask"] = self.bias[0]
        h = functional.scaled_dot_product_attention(q, k, v, **options)
        if self.rank == 4:
            h = h.transpose(1, 2).flatten(2)
        return self.out(h.mean(1))


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize(
    "mask", ["none", "causal", "scaled", "of positions", "of examples", "learnt"]
)
def test_attention_of_all_runs_is_each_runs_own(mask, rank):
    build = functools.partial(Attends, mask, rank)
    assert stacking.obstacle(problem(), build) is None

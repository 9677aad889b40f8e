"""How a step is carried out: in parts, in 16 bits, in another order of memory."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial import metrics
from archtrial.errors import ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import fleet, module, objective, run, stacking

SIDE = 8


class Net(nn.Module):
    """Convolutions on images, without batch normalisation unless it is asked for."""

    def __init__(self, norm=False):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if norm else nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.body(x)
        return self.head(functional.adaptive_avg_pool2d(h, 1).flatten(1))


class Looks(Net):
    """Remembers how its images lay in memory."""

    def __init__(self):
        super().__init__()
        self.formats = set()

    def forward(self, x):
        self.formats.add(x.is_contiguous(memory_format=torch.channels_last))
        return super().forward(x)


def problem(task="classification", **recipe):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3, SIDE, SIDE)).astype(np.float32)
    brightness = x.mean((1, 2, 3))
    y = np.digitize(brightness, np.quantile(brightness, [1 / 3, 2 / 3]))
    if task == "regression":
        y = 9 + 5 * brightness
    return run.Problem(
        **{"x_train": x[:60], "x_validation": x[60:75], "x_test": x[75:]},
        **{"y_train": y[:60], "y_validation": y[60:75]},
        task=task,
        num_outputs=3 if task == "classification" else 1,
        metric=metrics.default(task),
        recipe=Recipe(learning_rate=3e-3, **recipe),
        steps=12,
        batch_size=20,
        evaluations=3,
    )


def jobs(count=2, build=Net, **values):
    return [
        run.Job(build, values, index, 5 + index, 9 + index, keep_weights=True)
        for index in range(count)
    ]


def weights(outcome):
    assert outcome.error is None
    return torch.cat([w.flatten() for w in outcome.weights.values()])


def apart(first, second):
    """Returns how far two trainings ended from each other, as a share of the move."""
    began = torch.cat([w.flatten() for w in Net().state_dict().values()])
    distance = torch.linalg.vector_norm(weights(first) - weights(second))
    return float(distance / torch.linalg.vector_norm(began))


# Adam divides a gradient that is only rounding by its own size; SGD does not.
SGD = {"optimizer": "sgd"}


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_a_batch_in_parts_takes_the_step_of_the_whole(parts):
    (job,) = jobs(1)
    whole = run.train(problem(**SGD), job)
    divided = run.train(problem(accumulate=parts, **SGD), job)
    assert apart(whole, divided) < 1e-5
    for one, other in zip(whole.curve, divided.curve, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_batch_normalisation_sees_a_part():
    (job,) = jobs(1, functools.partial(Net, norm=True))
    whole = run.train(problem(**SGD), job)
    divided = run.train(problem(accumulate=4, **SGD), job)
    means = [o.weights["body.1.num_batches_tracked"].item() for o in (whole, divided)]
    assert means == [12, 48]


@pytest.mark.parametrize(
    "recipe",
    [
        {"accumulate": 3},
        {"weight_decay_on": "weights"},
        {"class_weights": "balanced"},
    ],
)
def test_a_fleet_does_what_the_loop_does(recipe):
    given = problem(**recipe, **SGD)
    made = jobs(2, weight_decay=0.3)
    assert stacking.obstacle(given, Net) is None
    for mine, job in zip(fleet.train(given, made), made, strict=True):
        alone = run.train(given, job)
        assert apart(mine, alone) < 1e-5
        assert apart(mine, run.train(problem(**SGD), job)) > 1e-5 or (
            "accumulate" in recipe
        )


def test_16_bits_are_near_32_and_not_the_same():
    (job,) = jobs(1)
    exact = run.train(problem(**SGD), job)
    rounded = run.train(problem(precision="bfloat16", **SGD), job)
    assert not torch.equal(weights(exact), weights(rounded))
    assert apart(exact, rounded) < 0.02
    assert weights(rounded).dtype == torch.float32
    assert rounded.curve[-1].loss == pytest.approx(exact.curve[-1].loss, rel=0.05)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_images_lie_as_declared_and_the_result_stays(layout):
    given = problem(memory_format=layout, **SGD)
    (job,) = jobs(1)
    seen = []

    def build():
        seen.append(Looks())
        return seen[-1]

    outcome = run.train(given, run.Job(build, {}, 0, 5, 9, keep_weights=True))
    # The net that trained was also counted, on contiguous examples, as a copy.
    assert seen[0].formats == {layout == "channels_last"}
    assert apart(outcome, run.train(problem(**SGD), job)) < 1e-5


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"memory_format": "channels_last"}, "channels last in memory"),
        ({"precision": "bfloat16"}, "float32, and not in bfloat16"),
    ],
)
def test_what_no_fleet_can_do_is_trained_run_by_run(recipe, reason):
    assert reason in stacking.obstacle(problem(**recipe), Net)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_biases_and_factors_do_not_decay(optimizer):
    """Against torch's optimisers with two groups of parameters."""
    recipe = Recipe(
        optimizer=optimizer, weight_decay_on="weights", gradient_clip=None, warmup=0.0
    )
    torch.manual_seed(0)
    mine, theirs = (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)) for _ in "ab")
    theirs.load_state_dict(mine.state_dict())
    groups = [
        {"params": [p for p in theirs.parameters() if p.dim() >= 2]},
        {"params": [p for p in theirs.parameters() if p.dim() < 2], "weight_decay": 0},
    ]
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    oracle = (
        torch.optim.SGD(groups, 1e-2, 0.9, weight_decay=0.2, nesterov=True)
        if optimizer == "sgd"
        else kinds[optimizer](groups, 1e-2, (0.9, 0.999), weight_decay=0.2)
    )
    of_both = module.matrices(mine)
    values, gradient = module.flatten(mine)
    chosen = {"learning_rate": 1e-2, "weight_decay": 0.2, "momentum": 0.9}
    own, _ = run.recipe.settings(recipe, [chosen], values, of_both)
    x = torch.randn(5, 4)
    for _ in range(4):
        gradient.zero_()
        (mine(x) ** 3).sum().backward()
        own.step(gradient, 1.0)
        oracle.zero_grad()
        (theirs(x) ** 3).sum().backward()
        oracle.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_row_of_complex_numbers_has_twice_their_places():
    layers = nn.ParameterList(
        [torch.zeros(3), torch.zeros(2, 2, dtype=torch.complex64), torch.zeros(1, 4)]
    )
    assert module.matrices(layers).tolist() == [True] * 8 + [False] * 3 + [True] * 4


def test_values_have_no_classes_to_weigh():
    with pytest.raises(ProtocolError, match="classification alone"):
        problem("regression", class_weights="balanced")


class Inner(Net):
    """Has a backward pass of its own in forward, as meta-learners do."""

    def forward(self, x):
        outputs = super().forward(x)
        if self.training:
            super().forward(x).square().mean().backward()
        return outputs


def test_what_forward_leaves_in_the_gradient_is_no_part_of_the_step():
    whole, inner, parts, inner_parts = (
        run.train(problem(accumulate=count, **SGD), jobs(1, build)[0])
        for count in (1, 3)
        for build in (Net, Inner)
    )
    assert torch.equal(weights(whole), weights(inner))
    assert torch.equal(weights(parts), weights(inner_parts))
    assert not torch.equal(weights(whole), weights(parts))


def test_there_are_as_many_parts_as_declared_and_examples_at_most():
    seen = []

    class Counts(Net):
        def forward(self, x):
            if self.training and x.device.type == "cpu":
                seen.append(len(x))
            return super().forward(x)

    for count, sizes in ((13, [2] * 7 + [1] * 6), (50, [1] * 20)):
        seen.clear()
        run.train(problem(accumulate=count, **SGD), jobs(1, Counts)[0])
        assert seen[: len(sizes)] == sizes


def test_class_weights_and_an_objective_are_not_both_declared():
    given = problem()
    with pytest.raises(ValueError, match=r"Labels\.balanced"):
        dataclasses.replace(
            given,
            objective=objective.Labels(given.y_train),
            recipe=Recipe(class_weights="balanced"),
        )

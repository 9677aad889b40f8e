import itertools
import math

import numpy as np
import pytest
import torch

from archtrial.errors import ProtocolError
from archtrial.protocol import Recipe
from archtrial.training import recipe as recipes

RUNS = [
    {"learning_rate": 1e-2, "weight_decay": 0.1, "momentum": 0.8},
    {"learning_rate": 1e-3, "weight_decay": 0.0, "momentum": 0.95},
    {"learning_rate": 3e-2, "weight_decay": 0.01, "momentum": 0.5},
]


def torch_optimizer(name, parameter, own):
    rate, decay, momentum = (
        own["learning_rate"],
        own["weight_decay"],
        own["momentum"],
    )
    if name == "sgd":
        return torch.optim.SGD(
            [parameter], rate, momentum, weight_decay=decay, nesterov=True
        )
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind([parameter], rate, betas=(momentum, 0.999), weight_decay=decay)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_the_update_is_that_of_torch_optim(name, clip):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 7, generator=generator)
    gradients = torch.randn(20, 3, 7, generator=generator)
    gradients[::2] *= 0.1  # some below the limit of their norm, some above
    shares = np.linspace(1, 0.1, 20)
    recipe = Recipe(optimizer=name, gradient_clip=clip)
    values = start.clone()
    optimizer, _ = recipes.settings(recipe, RUNS, values)
    for gradient, share in zip(gradients, shares, strict=True):
        optimizer.step(gradient.clone(), share)
    for run, own in enumerate(RUNS):
        parameter = torch.nn.Parameter(start[run].clone())
        oracle = torch_optimizer(name, parameter, own)
        for gradient, share in zip(gradients, shares, strict=True):
            parameter.grad = gradient[run].clone()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_([parameter], clip)
            oracle.param_groups[0]["lr"] = own["learning_rate"] * share
            oracle.step()
        torch.testing.assert_close(values[run], parameter.data, rtol=1e-5, atol=1e-6)


def test_a_run_of_nan_leaves_the_others_alone():
    recipe = Recipe()
    alone, beside = torch.ones(1, 4), torch.ones(3, 4)
    own = [RUNS[0]]
    first, _ = recipes.settings(recipe, own, alone)
    second, _ = recipes.settings(recipe, own * 3, beside)
    gradient = torch.tensor([[1.0, -2.0, 0.5, 0.0]])
    sick = torch.full((1, 4), math.nan)
    for _ in range(3):
        first.step(gradient.clone(), 1.0)
        second.step(torch.cat([sick, gradient, sick]), 1.0)
    assert torch.equal(beside[1], alone[0])
    assert beside[0].isnan().all()


def test_the_rate_rises_and_then_follows_its_schedule():
    cosine = recipes.rates(Recipe(warmup=0.1), 100)
    assert cosine[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert cosine[10] == 1
    assert cosine[55] == pytest.approx(0.5)
    assert 0 < cosine[-1] < 0.001
    assert (np.diff(cosine[10:]) < 0).all()
    steps = recipes.rates(Recipe(schedule="step", warmup=0.0), 100)
    assert steps[[0, 49, 50, 74, 75, 99]] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    constant = recipes.rates(Recipe(schedule="constant", warmup=0.05), 100)
    assert constant[5:] == pytest.approx(np.ones(95))
    assert recipes.rates(Recipe(), 1) == pytest.approx([1])


def test_an_epoch_holds_every_row_once_and_batches_wrap_over_its_end():
    order = recipes.batches(Recipe(), 10, 4, order_seed=3)
    rows = np.concatenate(list(itertools.islice(order, 5)))
    assert sorted(rows[:10]) == list(range(10))
    assert sorted(rows[10:]) == list(range(10))
    assert (rows[:10] != rows[10:]).any()


def test_a_fixed_order_repeats_its_permutation():
    order = recipes.batches(Recipe(order="fixed"), 10, 5, order_seed=3)
    rows = np.concatenate(list(itertools.islice(order, 4)))
    assert sorted(rows[:10]) == list(range(10))
    assert (rows[:10] == rows[10:]).all()


def test_the_order_follows_from_its_seed_alone():
    first, again, other = (
        np.stack(list(itertools.islice(recipes.batches(Recipe(), 20, 6, seed), 7)))
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("hyperparameters", "message"),
    [
        ({"learning_rat": 0.1}, "'learning_rat', which neither knows"),
        ({"momentum": 1.0}, "momentum is at least 0 and below 1: 1.0"),
        ({"learning_rate": -1.0}, "learning_rate is at least 0: -1.0"),
        ({"weight_decay": math.nan}, "weight_decay is at least 0: nan"),
    ],
)
def test_an_impossible_hyperparameter_is_the_users_mistake(hyperparameters, message):
    with pytest.raises(ProtocolError) as error:
        recipes.settled(Recipe(), hyperparameters)
    assert message in str(error.value)


def test_a_run_overrides_the_recipe():
    settled = recipes.settled(Recipe(momentum=0.7), {"learning_rate": 0.2})
    assert settled["learning_rate"] == 0.2
    assert settled["momentum"] == 0.7


@pytest.mark.parametrize("memory", [1.0, 4.0, 50.0])
def test_an_average_of_weights_is_the_closed_form(memory):
    generator = torch.Generator().manual_seed(0)
    visited = [torch.randn(2, 5, generator=generator) for _ in range(12)]
    seen = {"mean": torch.zeros(3), "mask": torch.full((2,), -math.inf), "count": None}
    average = recipes.WeightAverage(
        memory,
        torch.full((2, 5), 100.0),  # where it begins has no weight
        {**seen, "count": torch.tensor(0)},
    )
    for step, values in enumerate(visited, 1):
        seen = {
            **seen,
            "mean": torch.full((3,), float(step)),
            "count": torch.tensor(step),
        }
        average.add(values, seen)
    decay, steps = 1 - 1 / memory, len(visited)
    shares = np.array(
        [decay ** (steps - s) * (1 - decay) for s in range(1, steps + 1)]
    ) / (1 - decay**steps)
    assert shares.sum() == pytest.approx(1)
    expected = sum(
        share * values for share, values in zip(shares, visited, strict=True)
    )
    torch.testing.assert_close(
        average.values.double(), expected.double(), atol=1e-5, rtol=1e-5
    )
    assert average.buffers["mean"][0] == pytest.approx(
        (shares * np.arange(1, steps + 1)).sum(), rel=1e-5
    )
    assert average.buffers["mask"].tolist() == [-math.inf] * 2
    assert average.buffers["count"] == steps


def test_an_average_changes_places_with_the_last_weights_and_back():
    average = recipes.WeightAverage(4.0, torch.zeros(1, 2), {"mean": torch.zeros(1)})
    for value in (1.0, 3.0):
        average.add(torch.full((1, 2), value), {"mean": torch.full((1,), value)})
    values, buffers = torch.full((1, 2), 3.0), {"mean": torch.full((1,), 3.0)}
    parameter = values[0, :1]  # as a module sees it
    average.exchange(values, buffers)
    mean = (0.75 * 1 + 3) / 1.75
    assert parameter.item() == pytest.approx(mean)
    assert buffers["mean"].item() == pytest.approx(mean)
    average.exchange(values, buffers)
    assert (parameter.item(), buffers["mean"].item()) == (3.0, 3.0)
    assert average.values[0, 0] == pytest.approx(mean)

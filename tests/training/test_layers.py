"""What layers are given and which gradients reach them, against what is known by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from archtrial.training.layers import OUTPUTS, activations, gradient_norms
from archtrial.training.objective import Labels, Values


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def values(n):
    return Values(np.random.default_rng(0).normal(size=n))


# --- what layers are given -----------------------------------------------------------


def test_each_layer_is_given_what_all_before_it_have_made():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)
    )
    x = inputs(7, 2, 3)
    found = activations(network, x)
    assert list(found) == ["1", "4", OUTPUTS]
    network.eval()
    assert found["1"] == pytest.approx(x.flatten(1).numpy())
    assert found["4"] == pytest.approx(network[:4](x).detach().numpy())
    assert found[OUTPUTS] == pytest.approx(network(x).detach().numpy())


def test_more_examples_than_are_carried_through_at_once_are_the_same(monkeypatch):
    network = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 2))
    x = inputs(23, 5)
    whole = activations(network, x, most=8, seed=3)
    monkeypatch.setattr("archtrial.training.layers._AT_ONCE", 5)
    parts = activations(network, x, most=8, seed=3)
    for name in whole:
        assert parts[name] == pytest.approx(whole[name], abs=1e-5)


class InPlace(nn.Module):
    """Changes in place what its second layer was given, and carries one out twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.beside, self.third = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = self.first(x)
        told = self.second(h) + self.beside(h)
        h.relu_()
        return self.first(self.third(h)) + told


def test_what_is_changed_in_place_is_seen_as_it_was_given():
    network, x = InPlace(), inputs(6, 4)
    found = activations(network, x)
    # `beside` is given the same as `second`; `first` counts when it is first given.
    assert list(found) == ["first", "second", "third", OUTPUTS]
    assert found["first"] == pytest.approx(x.numpy())
    given = network.first(x).detach()
    assert found["second"] == pytest.approx(given.numpy())
    assert found["third"] == pytest.approx(given.relu().numpy())


class Odd(nn.Module):
    """Reads ids, lays steps first, then all steps of all examples as rows."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 3)
        self.steps = nn.GRU(3, 2)
        self.rows = nn.Linear(2, 2)
        self.shared = nn.Linear(5, 2)

    def forward(self, x):
        states, _ = self.steps(self.table(x).transpose(0, 1))  # (L, N, 2)
        rows = self.rows(states.transpose(0, 1).reshape(-1, 2))  # (N L, 2)
        return rows.view(len(x), -1, 2).sum(1) + self.shared(torch.ones(5))


def test_layouts_of_all_kinds_are_told_by_example():
    network, x = Odd(), torch.arange(28).view(7, 4) % 9
    found = activations(network, x)
    # Ids are no activations, and what all examples share is no example's.
    assert list(found) == ["steps", "rows", OUTPUTS]
    embedded = network.table(x).detach()
    assert found["steps"] == pytest.approx(embedded.flatten(1).numpy())
    states, _ = network.steps(embedded.transpose(0, 1))
    assert found["rows"] == pytest.approx(
        states.transpose(0, 1).flatten(1).detach().numpy(), abs=1e-6
    )


def test_projected_features_keep_inner_products_on_average():
    x = inputs(10, 3000)
    network = nn.Linear(3000, 2)
    told = activations(network, x, most=1000, seed=1)["network"]
    assert told.shape == (10, 1000)
    lengths = np.square(told).sum(1) / np.square(x.numpy()).sum(1)
    assert lengths == pytest.approx(1, abs=5 * math.sqrt(2 / 1000))
    again = activations(network, x, most=1000, seed=2)["network"]
    assert not np.allclose(told, again)


def test_a_network_is_left_as_it_was():
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    before = {name: t.clone() for name, t in network.state_dict().items()}
    activations(network.train(), inputs(8, 4))
    assert network.training
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    gradient_norms(network.eval(), inputs(8, 4), torch.zeros(8), values(8), 0)
    assert not network.training
    assert all(p.grad is None for p in network.parameters())
    assert not any(layer._forward_pre_hooks for layer in network.modules())


# --- gradients -----------------------------------------------------------------------


def chain(depth, gain, activation=nn.Identity, width=12):
    layers = []
    for _ in range(depth):
        layer = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(layer.weight, gain=gain)
        layers += [layer, activation()]
    return nn.Sequential(*layers, nn.Linear(width, 1, bias=False))


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.7])
def test_a_chain_that_multiplies_lengths_multiplies_gradients(gain):
    torch.manual_seed(0)
    network = chain(10, gain)
    x = inputs(30, 12)
    found = list(gradient_norms(network, x, torch.zeros(30), values(30), 0).values())
    # Of the inputs, of what each layer gives, and of the outputs.
    assert len(found) == 12
    assert found[0] / found[10] == pytest.approx(gain**10, rel=1e-3)
    for before, after in itertools.pairwise(found[:11]):
        assert before / after == pytest.approx(gain, rel=1e-3)


def test_saturated_units_let_gradients_vanish_faster_than_their_weights_do():
    torch.manual_seed(0)
    x = inputs(30, 12)
    given = x, torch.zeros(30), values(30), 0
    first, *_, last = gradient_norms(chain(10, 0.9, nn.Tanh), *given).values()
    plain = [*gradient_norms(chain(10, 0.9), *given).values()]
    assert first / last < 0.9 * plain[0] / plain[-1]


def test_gradients_are_those_of_each_example_by_itself():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))
    x, y = inputs(8, 5), np.arange(8) % 3
    objective = Labels(y)
    found = gradient_norms(network, x, torch.from_numpy(y), objective, 0)
    squares = []
    for row, label in zip(x, torch.from_numpy(y), strict=True):
        row = row[None].clone().requires_grad_()
        loss = nn.functional.cross_entropy(network(row), label[None])
        (gradient,) = torch.autograd.grad(loss, row)
        squares.append(float(gradient.square().sum()))
    assert found["0"] == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-4)
    softmax = network(x).softmax(1).detach().numpy() - np.eye(3)[y]
    assert found[OUTPUTS] == pytest.approx(
        math.sqrt(np.mean(np.sum(softmax**2, 1))), rel=1e-4
    )


def test_of_ids_there_is_no_gradient_and_of_what_is_not_finite_none():
    network, x = Odd(), torch.arange(28).view(7, 4) % 9
    y = torch.zeros(7, dtype=torch.int64)
    objective = Labels(y.numpy())
    found = gradient_norms(network, x, y, objective, 0)
    assert list(found) == ["steps", "rows", OUTPUTS]
    with torch.no_grad():
        network.rows.weight.fill_(math.nan)
    assert gradient_norms(network, x, y, objective, 0)["steps"] is None


def test_dropouts_masks_follow_from_the_seed():
    network = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 1))
    given = inputs(8, 5), torch.zeros(8), values(8)
    once = gradient_norms(network, *given, 1)
    assert once == gradient_norms(network, *given, 1)
    assert once != gradient_norms(network, *given, 2)

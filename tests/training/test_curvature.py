"""The curvature of a loss, against whole Hessians and a quadratic of known spectrum."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import archtrial
from archtrial.training import curvature as measures
from archtrial.training import objective


def curvature(network, x, y, seed):
    task = "regression" if y.is_floating_point() else "classification"
    wanted = objective.default(task, y.numpy())
    return measures.curvature(network, x, y, seed, wanted)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def dense_hessian(network, x, y):
    """Returns the whole Hessian of the mean loss, (P, P), in double precision."""
    network = copy.deepcopy(network).double().eval()
    x = x.double()
    names = [n for n, p in network.named_parameters() if p.requires_grad]
    sizes = [network.get_parameter(n).numel() for n in names]
    shapes = [network.get_parameter(n).shape for n in names]
    values = torch.cat([network.get_parameter(n).detach().reshape(-1) for n in names])

    def loss(flat):
        pieces = torch.split(flat, sizes)
        weights = {n: p.view(s) for n, p, s in zip(names, pieces, shapes, strict=True)}
        outputs = torch.func.functional_call(network, weights, x)
        if y.is_floating_point():
            return nn.functional.mse_loss(outputs[:, 0], y.double())
        return nn.functional.cross_entropy(outputs, y)

    hessian = torch.autograd.functional.hessian(loss, values)
    gradient = torch.autograd.functional.jacobian(loss, values)
    return hessian.numpy(), float(torch.linalg.vector_norm(gradient))


class Hill(nn.Module):
    """Below its target: the square bends the loss down, the other weight up."""

    def __init__(self):
        super().__init__()
        self.squared = nn.Parameter(torch.tensor([0.1]))
        self.added = nn.Parameter(torch.tensor([0.5, 0.2]))

    def forward(self, x):
        return self.squared**2 * x[:, :1] + self.added[:1] + 0.1 * self.added[1:]


def examples(classes=None):
    x = torch.randn(40, 4, generator=seeded())
    if classes is None:
        return x, torch.randn(40, generator=seeded(1))
    return x, torch.randint(0, classes, (40,), generator=seeded(1))


class Bowl(nn.Module):
    """Squared error of w'a_i, whose Hessian is 2 A'A / N for whatever w there is."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x):
        return (x @ self.weights).unsqueeze(1)


@pytest.mark.parametrize("start", [[0.0, 0.0, 0.0], [3.0, -1.0, 0.5]])
def test_the_curvature_of_a_quadratic_is_that_of_its_known_spectrum(start):
    """Eigenvalues 8, 2 and 0.5, in a basis that is turned."""
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    x = np.sqrt(3 / 2) * np.diag(np.sqrt([8.0, 2.0, 0.5])) @ turned.T
    found, _ = curvature(
        Bowl(start), torch.from_numpy(x.astype(np.float32)), torch.zeros(3), 0
    )
    assert found == pytest.approx(8.0, rel=0.01)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("classes", [3, None])
def test_the_curvature_is_the_hessians_largest_eigenvalue(seed, classes):
    x, y = examples(classes)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, classes or 1))
    hessian, norm = dense_hessian(network, x, y)
    found, gradient = curvature(network, x, y, seed)
    assert found == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)
    assert gradient == pytest.approx(norm, rel=1e-4)


def test_a_negative_eigenvalue_of_larger_size_misleads_nobody():
    x, y = torch.ones(10, 1), torch.full((10,), 5.0)
    network = Hill()
    hessian, norm = dense_hessian(network, x, y)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert -eigenvalues[0] > 5 * eigenvalues[-1] > 0
    found, gradient = curvature(network, x, y, 3)
    assert found == pytest.approx(eigenvalues[-1], rel=0.02)
    assert gradient == pytest.approx(norm, rel=1e-4)


def test_the_curvature_of_an_equivalent():
    torch.manual_seed(0)
    cnn = nn.Sequential(
        nn.Conv1d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )
    network = archtrial.equivalent_fcn(cnn, (1, 4))
    for parameter in network.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    x, y = examples(3)
    x = x.unsqueeze(1)
    hessian, norm = dense_hessian(network, x, y)
    found, gradient = curvature(network, x, y, 0)
    assert found == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)
    assert gradient == pytest.approx(norm, rel=1e-3)


def test_the_curvature_is_that_of_evaluation_and_leaves_the_network_as_it_was():
    x, y = examples(3)
    network = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)
    )
    network[1].running_mean.fill_(0.3)
    network[0].bias.requires_grad_(False)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    found, _ = curvature(network.train(), x, y, 0)
    hessian, _ = dense_hessian(network, x, y)
    assert found == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=0.02)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None for p in network.parameters())


def test_the_curvature_follows_from_its_seed():
    x, y = examples(3)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert curvature(network, x, y, 5) == curvature(network, x, y, 5)


def test_where_every_answer_is_certain_the_loss_is_flat():
    x, _ = examples(3)
    network = nn.Linear(4, 3)
    with torch.no_grad():
        network.weight.mul_(1e6)
        y = network(x).argmax(1)
    assert curvature(network, x, y, 0) == (0.0, 0.0)


def test_what_is_not_finite_is_none():
    x, y = examples(3)
    broken = nn.Linear(4, 3)
    with torch.no_grad():
        broken.weight[0, 0] = math.nan
    assert curvature(broken, x, y, 0) == (None, None)
    # First derivatives that float32 can hold, second ones that it cannot.
    steep = nn.Linear(4, 1)
    for parameter in steep.parameters():
        nn.init.zeros_(parameter)
    found, norm = curvature(steep, 1e25 * x, torch.full((40,), 1e-10), 0)
    assert found is None
    assert norm > 1e10


def test_an_eigenvalue_that_is_not_found_is_none(monkeypatch):
    def fails(*_, **__):
        raise measures.ArpackError(-9999)

    x, y = examples(3)
    network = nn.Linear(4, 3)
    _, norm = dense_hessian(network, x, y)
    monkeypatch.setattr(measures, "eigsh", fails)
    assert curvature(network, x, y, 0) == (None, pytest.approx(norm, rel=1e-4))

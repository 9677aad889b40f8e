"""Habits of public modules, each in a fleet as in the loop, or with the reason why not."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as users write it
from torch.nn.utils import parametrizations
from torch.utils import checkpoint

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import fleet, redirected, run, stacking
from tests import plain_pytorch


def problem(steps=10, batch_size=12, shape=(64,), tokens=False):
    random = np.random.default_rng(0)
    x = random.normal(size=(60, *shape)).astype(np.float32)
    y = (x.reshape(60, -1)[:, 0] > 0).astype(np.int64)
    if tokens:
        x = random.integers(0, 20, size=(60, *shape))
        y = (x[:, 0] > 9).astype(np.int64)
    return run.Problem(
        x_train=x[:36], y_train=y[:36], x_validation=x[36:48], y_validation=y[36:48],
        x_test=x[48:], task="classification", num_outputs=2,
        metric=metrics.default("classification"),
        recipe=Recipe(),
        steps=steps, batch_size=batch_size, evaluations=2,
    )  # fmt: skip


@dataclasses.dataclass
class Config:
    rate: float


KEPT = {
    "dict": (lambda rate: {"rate": rate}, lambda kept: kept["rate"], "['rate']"),
    "nested": (lambda r: {"a": [{"p": r}]}, lambda k: k["a"][0]["p"], "['a'][0]['p']"),
    "dataclass": (Config, lambda kept: kept.rate, ".rate"),
    "namespace": (lambda r: types.SimpleNamespace(p=r), lambda kept: kept.p, ".p"),
    "tuple": (lambda rate: ("x", rate), lambda kept: kept[1], "[1]"),
    "closure": (lambda rate: lambda: rate, lambda kept: kept(), "rate of self.kept"),
    "float": (float, lambda kept: kept, "self.kept"),
}


class Keeps(nn.Module):
    def __init__(self, how, rate):
        super().__init__()
        make, self.read, _ = KEPT[how]
        self.kept = make(rate)
        self.first, self.out = nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, x):
        h = F.dropout(self.first(x).relu(), self.read(self.kept), self.training)
        return self.out(h)


def job(build, seed=1, **hyperparameters):
    return run.Job(build, hyperparameters, seed, seed, seed, keep_weights=True)


@pytest.mark.parametrize("how", KEPT)
def test_a_rate_that_a_fleet_would_share_is_named_and_each_run_trains_with_its_own(how):
    builds = [lambda rate=rate: Keeps(how, rate) for rate in (0.0, 0.9)]
    jobs = [job(builds[0], 1), job(builds[1], 2)]
    found = stacking.obstacle(problem(), builds[0], jobs)
    assert f"{KEPT[how][2]} (0.0 and 0.9)" in found
    assert stacking.obstacle(problem(), builds[0]) is None
    equal(fleet.train(problem(), jobs), [run.train(problem(), each) for each in jobs])


class OfTheClass(nn.Module):
    rate = 0.0

    def __init__(self, rate):
        super().__init__()
        OfTheClass.rate = rate
        self.first, self.out = nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, x):
        return self.out(F.dropout(self.first(x).relu(), self.rate, self.training))


def test_a_rate_kept_by_the_class_is_found_by_training():
    jobs = [job(lambda rate=rate: OfTheClass(rate)) for rate in (0.0, 0.9)]
    assert "is not what it is alone" in stacking.obstacle(problem(), None, jobs)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(64, 32), nn.Linear(32, 2)

    def forward(self, x):
        return self.out(self.first(x).relu())


# What rounding does to a ReLU is some hundredths of a gradient, and gone in double.
@pytest.mark.parametrize(
    ("single", "double", "refused"),
    [
        (1.0, 1.0, False),
        (1.003, 1.0, False),
        (1.003, 1.003, True),
        (1.2, 1.0, True),
    ],
)
def test_a_small_difference_is_looked_at_again_in_double(
    monkeypatch, single, double, refused
):
    own = redirected._RULES[F.linear]

    def off(x, *args):
        return own(x, *args) * (double if x.dtype == torch.float64 else single)

    monkeypatch.setitem(redirected._RULES, F.linear, off)
    found = stacking.obstacle(problem(), Plain)
    assert (found is not None) == refused
    assert found is None or "a run in a fleet is not what it is alone" in found


def test_what_cannot_compute_in_double_is_refused_as_it_was(monkeypatch):
    own = redirected._RULES[F.linear]

    def off(x, *args):
        assert x.dtype == torch.float32
        return own(x, *args) * 1.003

    monkeypatch.setitem(redirected._RULES, F.linear, off)
    found = stacking.obstacle(problem(), Plain)
    assert "a run in a fleet is not what it is alone" in found


def equal(fleets, loops):
    """Weights after ten steps: AdamW divides by the gradient's size, so 1e-2 of them."""
    for mine, theirs in zip(fleets, loops, strict=True):
        assert mine.error is None
        assert theirs.error is None
        for name, weight in theirs.weights.items():
            if weight.is_floating_point() or weight.is_complex():
                apart = (mine.weights[name] - weight).norm()
                assert apart <= 1e-2 * weight.norm() + 1e-3, (name, apart)


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 8), nn.Linear(64, 8), nn.Linear(8, 2)
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.out(self.a(x).relu() + self.alpha * self.b(x))


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 2)
        self.w = nn.Parameter(torch.randn(33, dtype=torch.cfloat))

    def forward(self, x):
        return self.out(torch.fft.irfft(torch.fft.rfft(x) * self.w, n=64))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(8, 16), nn.Linear(16, 2)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2)

    def forward(self, x):
        return self.out(self.enc(self.inp(x.reshape(-1, 8, 8))).mean(1))


class Causal(nn.Module):
    """As nanoGPT: tokens, tied weights, dropout inside the attention."""

    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(20, 16), nn.Embedding(8, 16)
        self.attn, self.head = nn.Linear(16, 48, bias=False), nn.Linear(16, 20)
        self.head.weight = self.wte.weight
        self.out = nn.Linear(20, 2)

    def forward(self, idx):
        h = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        q, k, v = (
            t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2)
            for t in self.attn(h).split(16, dim=2)
        )
        p = 0.1 if self.training else 0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        h = h + y.transpose(1, 2).contiguous().view(h.shape)
        return self.out(self.head(h[:, -1]))


class Residual(nn.Module):
    """As pytorch-cifar's ResNet: in-place shortcut and activations."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1, self.act = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.linear = nn.Linear(16, 2)

    def forward(self, x):
        h = self.act(self.bn1(self.conv1(x.view(-1, 1, 8, 8))))
        out = self.conv2(h)
        out += h
        F.relu_(out)
        return self.linear(F.avg_pool2d(out, 4).flatten(1))


class Temporal(nn.Module):
    """As TCN: weight normalisation, padding that is cut off again, dilation."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            parametrizations.weight_norm(nn.Conv1d(i, 4, 3, padding=2 * d, dilation=d))
            for i, d in ((1, 1), (4, 2))
        )
        self.drop, self.out = nn.Dropout(0.2), nn.Linear(4, 2)

    def forward(self, x):
        h = x.unsqueeze(1)
        for conv in self.convs:
            h = self.drop(conv(h)[..., : -conv.padding[0]].contiguous().relu())
        return self.out(h[..., -1])


class Scan(nn.Module):
    """As mamba-minimal: a state that is written step by step into new memory."""

    def __init__(self):
        super().__init__()
        self.dt, self.bc = nn.Linear(8, 8), nn.Linear(8, 8)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, 5).repeat(8, 1)))
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = x.view(-1, 8, 8)
        delta, (B, C) = F.softplus(self.dt(x)), self.bc(x).split(4, -1)
        dA = torch.exp(torch.einsum("bld,dn->bldn", delta, -self.A_log.exp()))
        dBu = torch.einsum("bld,bln,bld->bldn", delta, B, x)
        h, y = torch.zeros(len(x), 8, 4), torch.zeros(x.shape)
        for i in range(8):
            h = dA[:, i] * h + dBu[:, i]
            y[:, i] = torch.einsum("bdn,bn->bd", h, C[:, i])
        return self.out((y + x).mean(1))


class DropsPaths(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(64, 64), nn.Linear(64, 2)
        self.gru = nn.GRU(8, 4, num_layers=2, dropout=0.3, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        keep = x.new_empty(len(x), 1)
        h = self.a(x)
        if self.training:
            h = h * keep.bernoulli_(0.8) / 0.8 + 0.1 * torch.randn_like(h)
        return self.out(x + h) + self.last(self.gru(h.view(-1, 8, 8))[0][:, -1])


class Masks(nn.Module):
    """Writes through masks, which are other ones in each run."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(64, 16), nn.Linear(16, 2)

    def forward(self, x):
        h = self.inp(x).clone()
        h[h < -1] = 0
        h[h > 1] = self.out.bias[0]
        h[:, :8][h[:, :8] > 0.5] = 0.1
        return self.out(h)


class OddComplex(nn.Module):
    """Complex weights in a row of odd width."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(8, 3, 3, dtype=torch.cfloat)
        self.scale, self.out = nn.Parameter(torch.ones(1)), nn.Linear(18, 2)

    def forward(self, x):
        h = self.conv(x.view(-1, 8, 8).to(torch.cfloat)).abs()
        return self.out(self.scale * h.flatten(1))


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(64, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.out(checkpoint.checkpoint(self.inp, x, use_reentrant=False))


def test_what_a_fleet_cannot_compute_twice_is_named():
    found = stacking.obstacle(problem(), Checkpointed)
    assert found == (
        "it takes up a tensor again when its forward is over, as torch.utils.checkpoint"
        " does"
    )


def spectral_norm():
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(64, 8)), nn.ReLU(), nn.Linear(8, 2)
    )


def orthogonal():
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(64, 8)), nn.Linear(8, 2))


@pytest.mark.parametrize("batch_size", [4, 12])
@pytest.mark.parametrize(
    "build",
    [Scalar, Spectral, Encoder, Causal, Residual, Temporal, Scan, DropsPaths,
     spectral_norm, orthogonal, Masks, OddComplex],
)  # fmt: skip
def test_a_fleet_trains_as_the_loop(build, batch_size, caplog):
    given = problem(
        batch_size=batch_size,
        shape=(8,) if build is Causal else (64,),
        tokens=build is Causal,
    )
    assert stacking.obstacle(given, build) is None
    jobs = [job(build, seed) for seed in (1, 2, 3)]
    fleets = fleet.train(given, jobs)
    assert "goes on as a loop" not in caplog.text
    equal(fleets, [run.train(given, each) for each in jobs])


@pytest.mark.parametrize("build", [Scalar, Residual, Scan, spectral_norm, orthogonal])
def test_the_loop_trains_as_plain_pytorch(build):
    given = problem()
    own = job(build, 1, learning_rate=3e-3, weight_decay=0.0)
    trained = run.train(given, own)
    module, *_ = plain_pytorch.trained(given, own)
    for name, weight in module.state_dict().items():
        torch.testing.assert_close(
            trained.weights[name], weight, rtol=1e-3, atol=1e-4, msg=name
        )

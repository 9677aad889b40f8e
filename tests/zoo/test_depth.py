"""Stochastic depth and the dropout of attention: in a fleet exactly what they are alone."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import fleet, module, run, stacking
from archtrial.training.noise import Noise
from archtrial.training.structure import difference, structure
from archtrial.zoo.depth import StochasticDepth, rising


class Deep(nn.Module):
    """Blocks of a rate each, the branch of an image or of a sequence."""

    def __init__(self, rate=0.3, blocks=3, images=False):
        super().__init__()
        self.stem = nn.Linear(16, 16)
        self.images = images
        layer = functools.partial(nn.Conv2d, 1, 1, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                layer() if images else nn.Linear(16, 16),
                nn.ReLU(),
                StochasticDepth(p),
            )
            for p in rising(rate, blocks)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        h = self.stem(x)
        if self.images:
            h = h.view(-1, 1, 4, 4)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h.flatten(1))


class Attention(nn.Module):
    """Tokens of 4 values that look at each other; `kept` reads its weights, too."""

    def __init__(self, rate=0.4, kept=False, batch_first=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(
            4, 2, dropout=rate, batch_first=batch_first
        )
        self.kept = kept
        self.first = batch_first
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        h = x.unflatten(1, (4, 4))
        h = h if self.first else h.transpose(0, 1)
        attended, weights = self.attention(h, h, h, need_weights=self.kept)
        h = h + attended
        h = h if self.first else h.transpose(0, 1)
        if self.kept:
            h = h + weights.mean()
        return self.head(h.flatten(1))


class Encoder(nn.Module):
    def __init__(self, rate=0.2, norm_first=True):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            4, 2, 8, rate, batch_first=True, norm_first=norm_first
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.layers(x.unflatten(1, (4, 4))).flatten(1))


KINDS = {
    "stochastic depth": Deep,
    "of images": functools.partial(Deep, images=True),
    "attention": Attention,
    "attention and its weights": functools.partial(Attention, kept=True),
    "attention, batch last": functools.partial(Attention, batch_first=False),
    "encoder": Encoder,
    "encoder, norm last": functools.partial(Encoder, norm_first=False),
}


def problem(steps=6):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 16)).astype(np.float32)
    y = np.digitize(x[:, 0] + x[:, 1], [-0.6, 0.6]).astype(np.int64)
    return run.Problem(
        x_train=x[:48], y_train=y[:48], x_validation=x[48:64], y_validation=y[48:64],
        x_test=x[64:], task="classification", num_outputs=3,
        metric=metrics.get("log_loss"), recipe=Recipe(learning_rate=0.01), steps=steps,
        batch_size=16, evaluations=2,
    )  # fmt: skip


def jobs(build, rates=(None, None, None)):
    return [
        run.Job(
            build if rate is None else functools.partial(build, rate=rate),
            {"learning_rate": 0.003 * (1 + index)},
            initial_seed=index,
            order_seed=index + 10,
            noise_seed=index + 20,
        )
        for index, rate in enumerate(rates)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rates", [(None, None, None), (0.1, 0.5, 0.3), (0.0, 0.6, 0.2)], ids=str
)
def test_a_fleet_trains_what_the_loop_trains(kind, rates):
    given, made = problem(), jobs(KINDS[kind], rates)
    modules = [module.build(given, job) for job in made]
    assert structure(modules[0]) == structure(modules[1]), difference(*modules[:2])
    assert stacking.obstacle(given, KINDS[kind], made[:2]) is None
    together = fleet.train(given, made)
    for job, outcome in zip(made, together, strict=True):
        alone = run.train(given, job)
        assert alone.error is outcome.error is None
        assert outcome.validation == pytest.approx(alone.validation, rel=1e-4)
        np.testing.assert_allclose(outcome.predictions, alone.predictions, atol=1e-4)
        for mine, theirs in zip(outcome.curve, alone.curve, strict=True):
            assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)


@pytest.mark.parametrize("kind", ["stochastic depth", "attention", "encoder"])
def test_a_rate_makes_a_difference(kind):
    """Else the tests above would hold for modules that drop nothing out."""
    given = problem()
    some, none = (run.train(given, jobs(KINDS[kind], (p,))[0]) for p in (0.6, 0.0))
    assert abs(some.curve[-1].loss - none.curve[-1].loss) > 1e-3


def test_a_fleet_is_no_loop_in_disguise(monkeypatch):
    def unexpected(*_):
        raise AssertionError("the loop was asked")

    monkeypatch.setattr(run, "train", unexpected)
    for kind in KINDS.values():
        outcomes = fleet.train(problem(), jobs(kind, (0.1, 0.5, 0.3)))
        assert [outcome.error for outcome in outcomes] == [None] * 3


def test_a_subclass_of_attention_may_read_its_rate_and_is_told_apart():
    class Own(nn.MultiheadAttention):
        pass

    one, other = Own(4, 2, dropout=0.1), Own(4, 2, dropout=0.2)
    assert "dropout" in difference(one, other)
    plain = [nn.MultiheadAttention(4, 2, dropout=p) for p in (0.1, 0.2)]
    assert difference(*plain) is None


def test_examples_are_left_out_whole_and_the_others_scaled():
    layer = StochasticDepth(0.4).train()
    x = torch.rand(2000, 3, 2, 2) + 1
    with Noise(torch.Generator().manual_seed(0)):
        y = layer(x)
    left_out = (y == 0).flatten(1).all(1)
    assert float(left_out.float().mean()) == pytest.approx(0.4, abs=0.04)
    torch.testing.assert_close(y[~left_out], x[~left_out] / 0.6, rtol=1e-4, atol=0)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(StochasticDepth(0.0).train()(x), x)
    assert "p=0.4" in repr(layer)


def test_the_loop_draws_its_own_masks_and_repeats_them():
    given = problem()
    (job,) = jobs(Deep, (0.5,))
    one, again = run.train(given, job), run.train(given, job)
    assert np.array_equal(one.predictions, again.predictions)


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_a_branch_that_never_stays_is_a_mistake(p):
    with pytest.raises(ValueError, match="with a probability below 1"):
        StochasticDepth(p)


@pytest.mark.parametrize(
    ("blocks", "rates"), [(1, [0.3]), (2, [0.0, 0.3]), (4, [0.0, 0.1, 0.2, 0.3])]
)
def test_rates_rise_to_that_of_the_last_block(blocks, rates):
    assert rising(0.3, blocks) == pytest.approx(rates)


def test_it_is_plain_pytorch_outside_of_archtrial():
    torch.manual_seed(0)
    y = StochasticDepth(0.5).train()(torch.ones(200, 2))
    assert set(y.unique().tolist()) == {0.0, 2.0}

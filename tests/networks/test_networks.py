"""Public networks, each written in its author's manner: in the loop, and in a fleet."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import fleet, rehearsal, run, stacking
from archtrial.zoo import arms
from tests import plain_pytorch

FOLDER = Path(__file__).parents[1] / "cases" / "networks"
IMAGE, SERIES, COLUMNS, WORDS = (1, 8, 8), (2, 16), (10,), (8,)


@dataclasses.dataclass(frozen=True)
class Network:
    spec: str
    shape: tuple[int, ...]
    small: dict  # without dropout
    other: dict  # differs in every value, with dropout where there can be any
    dropped: dict = dataclasses.field(default_factory=dict)  # small, with dropout
    layers: bool = False  # whether dropout, if any, is all in layers of torch
    task: str = "classification"


NETWORKS = [
    Network("resnet.py:ResNet18", IMAGE, {"width": 2}, {"width": 3}),
    Network(
        "mobilenetv2.py:MobileNetV2", IMAGE,
        {"width": 0.5, "dropout": 0.0}, {"width": 0.75, "dropout": 0.3},
        {"dropout": 0.2}, layers=True,
    ),
    Network(
        "densenet.py:DenseNet", IMAGE,
        {"nblocks": (1, 2), "growth_rate": 3, "reduction": 0.5},
        {"nblocks": (2, 1), "growth_rate": 4, "reduction": 0.7},
    ),
    Network(
        "nanogpt.py:NextWord", WORDS,
        {"n_embd": 8, "n_layer": 1, "dropout": 0.0},
        {"n_embd": 12, "n_layer": 2, "dropout": 0.3},
        {"dropout": 0.2},
    ),
    Network(
        "vit.py:ViT", IMAGE,
        {"dim": 8, "depth": 1, "pool": "cls", "dropout": 0.0, "emb_dropout": 0.0},
        {"dim": 12, "depth": 2, "pool": "mean", "dropout": 0.3, "emb_dropout": 0.2},
        {"dropout": 0.2, "emb_dropout": 0.1}, layers=True,
    ),
    Network(
        "ft_transformer.py:FTTransformer", COLUMNS,
        {"n_layers": 1, "d_token": 8, "attention_dropout": 0.0, "ffn_dropout": 0.0,
         "residual_dropout": 0.0},
        {"n_layers": 2, "d_token": 12, "attention_dropout": 0.3, "ffn_dropout": 0.2,
         "residual_dropout": 0.1},
        {"n_layers": 2, "attention_dropout": 0.2, "ffn_dropout": 0.1,
         "residual_dropout": 0.05},
        task="regression",
    ),
    Network(
        "tcn.py:TCN", SERIES,
        {"channels": 4, "levels": 2, "kernel_size": 2, "dropout": 0.0},
        {"channels": 6, "levels": 3, "kernel_size": 3, "dropout": 0.3},
        {"dropout": 0.2}, layers=True,
    ),
    Network(
        "tcn.py:EarlierTCN", SERIES,
        {"channels": 4, "levels": 2, "kernel_size": 2, "dropout": 0.0},
        {"channels": 6, "levels": 3, "kernel_size": 3, "dropout": 0.3},
        {"dropout": 0.2}, layers=True,
    ),
    Network(
        "inception_time.py:InceptionTime", SERIES,
        {"nf": 2, "depth": 3, "ks": 8}, {"nf": 3, "depth": 4, "ks": 12},
    ),
    Network(
        "efficient_kan.py:KAN", COLUMNS,
        {"width": 4, "grid_size": 3, "scale_noise": 0.1},
        {"width": 6, "grid_size": 5, "scale_noise": 0.2},
        task="regression",
    ),
    Network(
        "fno.py:FNO2d", IMAGE,
        {"modes": 2, "width": 4, "depth": 1}, {"modes": 3, "width": 5, "depth": 2},
    ),
    Network(
        "mamba.py:Mamba", WORDS,
        {"d_model": 6, "n_layer": 1, "d_state": 3},
        {"d_model": 8, "n_layer": 2, "d_state": 4},
    ),
    Network(
        "lstm_attention.py:AttentionLSTM", WORDS,
        {"embed_dim": 6, "hidden_size": 4, "dropout": 0.0},
        {"embed_dim": 8, "hidden_size": 5, "dropout": 0.3},
        {"dropout": 0.2}, layers=True,
    ),
    Network(
        "mlp_mixer.py:MLPMixer", IMAGE,
        {"patch_size": 4, "dim": 8, "depth": 1, "dropout": 0.0},
        {"patch_size": 2, "dim": 12, "depth": 2, "dropout": 0.3},
        {"dropout": 0.2}, layers=True,
    ),
    Network(
        "unet.py:UNet", IMAGE,
        {"width": 2, "bilinear": False}, {"width": 4, "bilinear": True},
    ),
]  # fmt: skip
TWELVE = pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda network: network.spec.partition(":")[2]
)
# torch says since 2.0 that its earlier weight_norm will go; TCN was written with it.
EARLIER = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")


def problem(network):
    random = np.random.default_rng(0)
    words = network.shape == WORDS
    if words:
        x = random.integers(0, 20, size=(60, *WORDS))
    else:
        x = random.normal(size=(60, *network.shape)).astype(np.float32)
    outputs, rate = 20 if words else 3, 3e-3
    y = x.reshape(60, -1)[:, 0] if words else random.integers(0, outputs, size=60)
    if network.task == "regression":
        # Whatever is worse than a constant on a metric without bounds counts as such.
        outputs, rate, y = 1, 3e-2, 100 + 7 * x.sum(1).astype(float)
    return run.Problem(
        x_train=x[:36], y_train=y[:36], x_validation=x[36:48], y_validation=y[36:48],
        x_test=x[48:], task=network.task, num_outputs=outputs,
        metric=metrics.default(network.task),
        recipe=Recipe(learning_rate=rate, weight_decay=0.1),
        steps=10, batch_size=12, evaluations=2,
    )  # fmt: skip


def job(network, given, seed, hyperparameters=None, **values):
    build = functools.partial(
        arms.find(f"{FOLDER}/{network.spec}").build,
        given.x_train.shape[1:],
        given.num_outputs,
        {**network.small, **values},
    )
    return run.Job(
        build, hyperparameters or {}, seed, seed, seed, keep_weights=True, keep_at=(0,)
    )


def moved_alike(mine, theirs, before, driven, share=1e-2):
    """Checks that two runs moved each tensor alike, to a share of how far it moved.

    The same sums in another order differ by some 1e-7, AdamW divides by the size of the
    gradient, and ten steps carry that on: 1e-4 of the movement is usual, and 1e-2 is
    what single ReLUs that fall out otherwise may make of it (`rounding` measures it). A
    wrong mask, rate, order or weight changes it by a tenth and more. AdamW moves as far
    as others those values whose gradient is nothing but rounding (a bias before batch
    normalisation, or of an attention's keys), in a direction of its own: only `driven`
    values are compared.
    """
    for name, apart, moved in differences(mine, theirs, before, driven):
        assert apart <= share * moved + 1e-6, (name, float(apart / moved))


def differences(mine, theirs, before, driven):
    """Yields each tensor's name, how far apart it is, and how far it moved."""
    assert mine.keys() == theirs.keys()
    buffers = []
    for name, weight in theirs.items():
        if not (weight.is_floating_point() or weight.is_complex()):
            assert torch.equal(mine[name], weight), name
        elif name in driven:
            those = driven[name]
            moved = (weight - before[name])[those].norm()
            yield name, (mine[name] - weight)[those].norm(), moved
        else:
            buffers.append((mine[name] - weight, weight - before[name]))
    # All at once, since some are means of what such undriven values alone move.
    if buffers:
        apart, moved = (
            torch.cat([part.flatten() for part in parts]).norm()
            for parts in zip(*buffers, strict=True)
        )
        yield "buffers and others", apart, moved


def rounding(given, one, theirs, driven):
    """Measures how far apart runs end that begin a rounding of float32 apart.

    Returns:
        Three times the largest share of a tensor's movement over three such runs, at
        least 1e-2 and at most 5e-2: still half of what a real fault makes.
    """
    shares = []
    for seed in range(3):
        nudged = run.train(given, dataclasses.replace(one, build=Nudged(one, seed)))
        found = differences(nudged.weights, theirs.weights, theirs.kept[0], driven)
        shares += [float((apart - 1e-6) / moved) for _, apart, moved in found if moved]
    return min(max(1e-2, 3 * max(shares)), 5e-2)


@dataclasses.dataclass(frozen=True)
class Nudged:
    """Builds a job's module with each weight about one rounding away."""

    one: run.Job
    seed: int

    def __call__(self):
        module = self.one.build()
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for weight in module.parameters():
                if not isinstance(weight, torch.nn.UninitializedParameter):
                    noise = torch.randn(weight.shape, generator=generator)
                    weight.mul_(1 + 6e-8 * noise)
        return module


def first_of(returned):
    return returned[0] if isinstance(returned, tuple) else returned


@TWELVE
@EARLIER
def test_the_loop_is_plain_pytorch(network):
    given = problem(network)
    one = job(network, given, 1)
    mine = run.train(given, one)
    assert mine.error is None
    assert not mine.diverged
    module, outputs, before, driven = plain_pytorch.trained(given, one, first_of)
    moved_alike(mine.weights, module.state_dict(), before, driven)
    expected = given.minimised().presented(outputs.reshape(len(outputs), -1))
    np.testing.assert_allclose(
        mine.predictions, given.metric.reduce(expected), rtol=1e-3, atol=1e-4
    )


SETTINGS = [
    {"learning_rate": 1e-3, "weight_decay": 0.0, "momentum": 0.9},
    {"learning_rate": 1e-2, "weight_decay": 0.3, "momentum": 0.8},
    {"learning_rate": 3e-3, "weight_decay": 0.1, "momentum": 0.95},
]


def same(network, given, jobs, together):
    for one, mine in zip(jobs, together, strict=True):
        assert mine.error is None
        theirs = run.train(given, one)
        *_, driven = plain_pytorch.trained(given, one, first_of)
        share = rounding(given, one, theirs, driven)
        moved_alike(mine.weights, theirs.weights, theirs.kept[0], driven, share)
        np.testing.assert_allclose(
            mine.predictions, theirs.predictions, rtol=share, atol=share / 10
        )


@TWELVE
@EARLIER
def test_runs_in_a_fleet_are_what_they_are_alone(network, caplog):
    given = problem(network)
    settings = [dict(each) for each in SETTINGS]
    if given.task == "classification":
        for own, smoothing in zip(settings, (0.0, 0.1, 0.2), strict=True):
            own["label_smoothing"] = smoothing
    if network.layers:
        for own, dropout in zip(settings, (0.1, 0.3, 0.0), strict=True):
            own["dropout"] = dropout
    jobs = [
        job(network, given, seed, own, **network.dropped)
        for seed, own in enumerate(settings, 1)
    ]
    assert rehearsal.rehearse("it", given, {"": jobs[0]}).obstacle is None
    assert stacking.obstacle(given, jobs[0].build, jobs[:2]) is None
    together = fleet.train(given, jobs)
    assert "goes on as a loop" not in caplog.text
    same(network, given, jobs, together)


@TWELVE
@EARLIER
def test_configurations_that_differ_in_every_value_do_not_mix(network, caplog):
    given = problem(network)
    assert network.small.keys() == network.other.keys()
    assert not any(network.small[name] == v for name, v in network.other.items())
    first = job(network, given, 1, SETTINGS[0])
    jobs = [first, job(network, given, 2, SETTINGS[1], **network.other)]
    together = fleet.train(given, jobs)
    assert "goes on as a loop" not in caplog.text
    same(network, given, jobs, together)
    pair = stacking.obstacle(given, first.build, jobs)
    assert pair.startswith("its runs differ in ")
    assert pair.endswith(", which one program for all would share")


def test_a_resnet_of_full_width_can_be_stacked():
    network = dataclasses.replace(NETWORKS[0], small={"width": 64})
    given = problem(network)
    given = dataclasses.replace(given, x_validation=given.x_validation[:4])
    one = job(network, given, 1)
    assert sum(p.numel() for p in one.build().parameters()) > 11_000_000
    assert stacking.obstacle(given, one.build) is None

"""Families of sequences: padding reaches nothing, and each network is its paper's."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

from archtrial import metrics, testing, zoo
from archtrial.data import Inputs
from archtrial.errors import ArmError
from archtrial.protocol import Recipe
from archtrial.training import fleet, redirected, run, stacking
from archtrial.zoo import arms
from archtrial.zoo.lengths import Padded, mask
from archtrial.zoo.sequences import StepNorm, Steps, last_step

RECURRENT = ["rnn", "lstm", "gru"]
NORMS = ["none", "batch", "layer", "group"]

# Of what the outputs of an example are independent of the steps that a batch has.
ANY_STEPS = [
    *((name, {"head": head}) for name in RECURRENT for head in ("average", "last")),
    *((name, {"head": "last", "depth": 3}) for name in RECURRENT),
    *((name, {"head": "last", "bidirectional": False}) for name in RECURRENT),
    *(("tcn", {"norm": norm}) for norm in [*NORMS, "weight"]),
    *(("tcn", {"norm": norm, "causal": False}) for norm in [*NORMS, "weight"]),
    ("tcn", {"head": "average", "skip": False, "causal": False, "kernel": 4}),
    ("tcn", {"head": "average", "dilation": 1}),
    *(("inception_time", {"norm": norm}) for norm in NORMS),
    ("inception_time", {"skip": False, "kernels": (4, 9), "bottleneck": False}),
    ("inception_time", {"depth": 6, "activation": "tanh", "width": 4}),
    *(("transformer", {"norm": norm}) for norm in NORMS),
    *(("transformer", {"head": head}) for head in ("average", "last")),
    *(("transformer", {"positions": p}) for p in ("sinusoidal", "none")),
    ("transformer", {"norm_first": False, "gated": True, "norm": "batch"}),
]
ALL_STEPS = [
    *((name, {"depth": 2}) for name in RECURRENT),
    *((name, {"bidirectional": False}) for name in RECURRENT),
    *(("inception_time", {"head": "flatten", "norm": norm}) for norm in NORMS),
]
LENGTHS = torch.tensor([20, 1, 7, 13, 2, 19])


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


def build(name, shape=(3, 20), outputs=4, **options):
    torch.manual_seed(0)
    return zoo.get(name).function(shape, outputs, **options)


def batch(behind=0.0):
    """Returns sequences (6, 3, 20) of `LENGTHS`, the same whatever stands behind."""
    x = 1 + torch.randn(6, 3, 20, generator=torch.Generator().manual_seed(1))
    within = mask(LENGTHS, 20).unsqueeze(1)
    return torch.where(within, x, behind)


@pytest.mark.parametrize(("name", "options"), ANY_STEPS, ids=str)
@pytest.mark.parametrize("behind", [0.0, 1e4])
def test_each_sequence_is_read_as_if_it_were_alone(name, options, behind):
    network = build(name, **options)
    network(batch(), LENGTHS)  # running statistics of their own, too
    network.eval()
    together = network(batch(behind), LENGTHS)
    for index, length in enumerate(LENGTHS.tolist()):
        alone = network(batch()[index : index + 1, :, :length])
        torch.testing.assert_close(together[index], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), ALL_STEPS, ids=str)
def test_a_weight_for_each_step_reads_zeros_behind_the_end(name, options):
    network = build(name, **options)
    network(batch(), LENGTHS)
    network.eval()
    together = network(batch(1e4), LENGTHS)
    torch.testing.assert_close(together, network(batch(), LENGTHS))
    for index in range(len(LENGTHS)):
        only = slice(index, index + 1)
        alone = network(batch()[only], LENGTHS[only])
        torch.testing.assert_close(together[only], alone, rtol=1e-4, atol=1e-5)
    network.head.bias.data.zero_()
    weights = network.head.weight.data
    read = weights.unflatten(1, (20, -1) if name in RECURRENT else (-1, 20))
    steps = read if name in RECURRENT else read.mT  # (outputs, 20, channels)
    steps[:, 1:] = 0
    assert not torch.equal(network(batch(), LENGTHS)[1], torch.zeros(4))
    steps[:, :1] = 0
    assert torch.equal(network(batch(), LENGTHS)[1], torch.zeros(4))


@pytest.mark.parametrize(("name", "options"), ANY_STEPS + ALL_STEPS, ids=str)
def test_no_gradient_comes_from_behind_an_end(name, options):
    network = build(name, **options)
    x = batch(1e4).requires_grad_()
    network(x, LENGTHS).square().sum().backward()
    within = mask(LENGTHS, 20).unsqueeze(1).expand_as(x)
    assert x.grad.isfinite().all()
    assert torch.equal(x.grad[~within], torch.zeros_like(x.grad[~within]))
    assert x.grad[within].abs().sum() > 0
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("name", "options"), ANY_STEPS, ids=str)
def test_a_training_does_not_depend_on_how_far_its_batches_are_padded(name, options):
    few = LENGTHS.clamp(max=11)
    outputs, gradients, buffers = [], [], []
    for steps in (11, 20):
        network = build(name, **options)
        y = network(batch(1e4)[:, :, :steps], few)
        y.square().sum().backward()
        outputs.append(y)
        gradients.append({n: p.grad for n, p in network.named_parameters()})
        buffers.append({n: b for n, b in network.named_buffers() if "table" not in n})
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(*buffers, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), ANY_STEPS + ALL_STEPS, ids=str)
def test_lengths_that_are_all_the_same_change_nothing(name, options):
    results = []
    for lengths in (None, torch.full((6,), 20)):
        network = build(name, **options)
        y = network(batch(0.5), lengths)
        network.eval()
        results.append((y, network(batch(0.5), lengths), network.state_dict()))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_statistics_are_those_of_the_steps_within(norm):
    layer, plain = StepNorm(norm, 12), StepNorm(norm, 12).norm
    for module in (layer.norm, plain):
        for place, parameter in enumerate(module.parameters()):
            parameter.data += torch.arange(12) * 0.1 + place
    x = 2 + torch.randn(6, 12, 20)
    inside = mask(LENGTHS, 20).unsqueeze(1)
    y = layer(x, inside)
    if norm == "batch":  # all that there is, one after another
        steps = torch.cat([v[:, :n] for v, n in zip(x, LENGTHS, strict=True)], 1)
        whole = plain(steps.unsqueeze(0))[0]
        got = torch.cat([v[:, :n] for v, n in zip(y, LENGTHS, strict=True)], 1)
        torch.testing.assert_close(got, whole)
        assert layer.norm.running_mean.abs().min() > 0.1
        torch.testing.assert_close(layer.norm.state_dict(), plain.state_dict())
        return
    for value, given, length in zip(y, x, LENGTHS.tolist(), strict=True):
        alone = plain(given[None, :, :length])[0]
        torch.testing.assert_close(value[:, :length], alone, rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_step_has_no_variance_and_leaves_no_nan():
    layer = StepNorm("batch", 2)
    y = layer(torch.ones(1, 2, 5), mask(torch.tensor([1]), 5).unsqueeze(1))
    assert y.isfinite().all()
    assert all(value.isfinite().all() for value in layer.norm.state_dict().values())


@pytest.mark.parametrize("cell", RECURRENT)
@pytest.mark.parametrize("depth", [1, 3])
def test_recurrent_reads_what_torch_reads_of_packed_sequences(cell, depth):
    network = build(cell, depth=depth, width=5)
    packed = rnn.pack_padded_sequence(
        batch().mT, LENGTHS, batch_first=True, enforce_sorted=False
    )
    states, last = network.cell(packed)
    states, _ = rnn.pad_packed_sequence(states, batch_first=True, total_length=20)
    torch.testing.assert_close(network._states(batch(7.0).mT, LENGTHS), states)
    last = last[0] if cell == "lstm" else last  # (layers x directions, N, width)
    read = build(cell, depth=depth, width=5, head="last")
    ends = read._read(states, LENGTHS)
    torch.testing.assert_close(ends, torch.cat([last[-2], last[-1]], 1))
    torch.testing.assert_close(read(batch(), LENGTHS), read.head(ends))


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_last_head_reads_what_each_direction_ends_with(cell):
    network = build(cell, (40,), head="last")
    x = torch.randn(3, 40)
    _, last = network.cell(x.unsqueeze(2))
    last = last[0] if cell == "lstm" else last
    torch.testing.assert_close(network(x), network.head(torch.cat([*last], 1)))


def test_series_of_one_number_a_step_take_lengths_too():
    x, lengths = torch.randn(2, 20), torch.tensor([20, 6])
    for name in [*RECURRENT, "tcn", "inception_time", "transformer"]:
        heads = {"head": "last"} if name in RECURRENT else {}
        network = build(name, (20,), **heads).eval()
        alone = network(x[1:, :6])
        torch.testing.assert_close(network(x, lengths)[1:], alone, rtol=1e-4, atol=1e-5)


def test_the_rows_of_an_image_are_steps():
    x = torch.randn(2, 3, 4, 5)
    read = Steps()(x)
    assert read.shape == (2, 15, 4)
    assert torch.equal(read[1, :, 2], x[1, :, 2].flatten())
    assert torch.equal(read.mT, x.movedim(2, 1).flatten(2))  # as recurrent networks do


def test_the_last_step_is_each_sequences_own():
    x = torch.arange(2 * 3 * 20.0).view(2, 3, 20)
    assert torch.equal(last_step(x, None), x[:, :, 19])
    picked = last_step(x, torch.tensor([20, 4]))
    assert torch.equal(picked, torch.stack([x[0, :, 19], x[1, :, 3]]))


# --------------------------------------------------------------------------- in fleets


def unexpected(*_):
    raise AssertionError("runs were carried out one by one")


def made(name, options, vocabulary=None, **values):
    shape = (20,) if vocabulary else (3, 20)
    given = Inputs.of_shape(shape, vocabulary)
    unequal = dataclasses.replace(given, lengths=(1, 20))
    network = arms.find(name, options).build(unequal, 3, values)
    assert isinstance(network, Padded)
    return network


def problem(vocabulary=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 3, 20)).astype(np.float32)
    y = np.digitize(x[:, 0, 0], [-0.5, 0.5]).astype(np.int64)
    if vocabulary:
        x = rng.integers(1, vocabulary, (96, 20))
        y = x[:, 0] % 3
    for row, length in zip(x, rng.integers(1, 21, 96), strict=True):
        row[..., length:] = 0 if vocabulary else np.nan
    return run.Problem(
        x_train=x[:48], y_train=y[:48], x_validation=x[48:72], y_validation=y[48:72],
        x_test=x[72:], task="classification", num_outputs=3,
        metric=metrics.get("log_loss"), recipe=Recipe(optimizer="sgd"), steps=4,
        batch_size=16, evaluations=2,
    )  # fmt: skip


FLEETS = [
    *((name, {"head": "flatten"}) for name in RECURRENT),
    *((name, {"head": "last", "depth": 2}) for name in RECURRENT),
    ("gru", {"head": "average", "bidirectional": False}),
    *(("tcn", {"norm": norm, "activation": "silu"}) for norm in [*NORMS, "weight"]),
    ("tcn", {"causal": False, "head": "average", "activation": "silu"}),
    *(("inception_time", {"norm": norm, "activation": "silu"}) for norm in NORMS),
    ("inception_time", {"head": "flatten", "activation": "silu"}),
    *(("transformer", {"norm": norm, "activation": "silu"}) for norm in NORMS),
    ("transformer", {"head": "average", "attention_dropout": 0.3}),
    ("transformer", {"head": "last", "stochastic_depth": 0.4, "depth": 3}),
]


def jobs(name, options, vocabulary):
    of = functools.partial(made, name, options, vocabulary)
    return [
        run.Job(
            functools.partial(of, dropout=rate),
            {"learning_rate": 0.03 * (1 + index)},
            initial_seed=index,
            order_seed=index + 10,
            noise_seed=index + 20,
        )
        for index, rate in enumerate((0.0, 0.3, 0.1))
    ]


@pytest.mark.parametrize(
    ("name", "options", "vocabulary"),
    [
        *((name, options, None) for name, options in FLEETS),
        *((name, {"head": "last"}, 9) for name in RECURRENT),
        *((name, {}, 9) for name in ("tcn", "inception_time", "transformer")),
    ],
    ids=str,
)
def test_runs_on_sequences_share_a_fleet(name, options, vocabulary, monkeypatch):
    monkeypatch.setattr(redirected.Redirected, "_each_alone", unexpected)
    two = jobs(name, options, vocabulary)[:2]
    assert stacking.obstacle(problem(vocabulary), two[0].build, two) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gru", {"head": "last", "depth": 2}),
        ("tcn", {"norm": "batch"}),
        ("inception_time", {}),
        ("transformer", {"stochastic_depth": 0.4, "attention_dropout": 0.3}),
    ],
    ids=str,
)
def test_a_fleet_trains_on_sequences_what_the_loop_trains(name, options, monkeypatch):
    given, three = problem(), jobs(name, options, None)
    with monkeypatch.context() as patched:  # it is no loop in disguise
        patched.setattr(run, "train", unexpected)
        together = fleet.train(given, three)
    for job, outcome in zip(three, together, strict=True):
        alone = run.train(given, job)
        assert alone.error is outcome.error is None
        assert outcome.validation == pytest.approx(alone.validation, rel=1e-3)
        np.testing.assert_allclose(outcome.predictions, alone.predictions, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lstm", {"head": "average"}),
        ("gru", {"head": "last", "bidirectional": False}),
        ("tcn", {"norm": "batch"}),
        ("tcn", {"skip": False, "causal": False, "dilation": 3, "head": "average"}),
        ("inception_time", {"norm": "group", "head": "flatten", "skip": False}),
        ("inception_time", {"bottleneck": False, "kernels": (2,), "norm": "none"}),
        ("transformer", {"positions": "none", "head": "average", "norm": "none"}),
        (
            "transformer",
            {"norm_first": False, "gated": True, "positions": "sinusoidal"},
        ),
        ("transformer", {"head": "last", "attention_dropout": 0.2, "skip": False}),
    ],
    ids=str,
)
def test_switches_hold_the_contract(name, options):
    testing.check_architecture(name, [(2, 9)], num_outputs=(3,), options=options)


@pytest.mark.parametrize("name", ["tcn", "inception_time", "transformer", *RECURRENT])
def test_families_hold_the_contract_on_ids(name):
    checked = testing.check_architecture(name, [(9,)], num_outputs=(3,), vocabulary=5)
    assert not checked.obstacles


# ----------------------------------------------------------------- what each paper has


@pytest.mark.parametrize("name", ["tcn", "inception_time", "transformer"])
def test_a_shape_that_is_no_sequence_is_refused(name):
    with pytest.raises(ArmError, match=f"{name} needs sequences") as caught:
        build(name, (1, 2, 3, 4))
    assert "(1, 2, 3, 4)" in str(caught.value)
    for named in ("mlp", "linear"):
        build(named, (1, 2, 3, 4))


def test_no_step_of_a_causal_tcn_sees_what_comes_after_it():
    for norm in ("none", "weight"):
        network = build("tcn", (1, 40), norm=norm, depth=3, width=4)
        x = torch.randn(1, 1, 40)
        h, changed = x, torch.cat([x[..., :25], x[..., 25:] + 1], 2)
        for block in network.blocks:
            h, changed = block(h, None), block(changed, None)
        assert torch.equal(h[..., :25], changed[..., :25])
        assert not torch.equal(h[..., 25:], changed[..., 25:])
    seen = build("tcn", (1, 40), causal=False, norm="none")
    assert not torch.allclose(seen.blocks[0](x, None)[..., 5], x[..., 5])
    ahead = torch.cat([x[..., :25], x[..., 25:] + 1], 2)
    first = seen.blocks[0]
    assert not torch.equal(first(x, None)[..., 24], first(ahead, None)[..., 24])


@pytest.mark.parametrize(
    ("kernel", "depth", "dilation", "field"),
    [(3, 3, 2, 29), (2, 2, 3, 9), (3, 4, 1, 17), (7, 2, 2, 37)],
)
def test_a_tcn_sees_as_many_steps_as_its_page_says(kernel, depth, dilation, field):
    options = {"kernel": kernel, "depth": depth, "dilation": dilation}
    network = build("tcn", (1, 60), activation="tanh", **options)
    x = torch.randn(1, 1, 60, requires_grad=True)
    network(x)[0, 0].backward()
    assert torch.equal(x.grad[0, 0] != 0, torch.arange(60) >= 60 - field)


def test_a_dilation_beyond_the_series_is_the_same_function():
    network = build("tcn", (1, 12), depth=6, dilation=3, norm="none")
    x = torch.randn(4, 1, 12)
    with_cap = network(x)
    for index, block in enumerate(network.blocks):
        for layer in (block.first, block.second):
            layer.convolution.dilation = (3**index,)
            layer.padding = (2 * 3**index, 0)
    torch.testing.assert_close(network(x), with_cap)
    assert build("tcn", (1, 12), depth=100)(x).shape == (4, 4)


def test_tcn_is_the_papers():
    network = build("tcn", (2, 30), depth=2, width=5, kernel=3)
    x = h = torch.randn(3, 2, 30)
    for index, block in enumerate(network.blocks):
        branch = h
        for layer in (block.first, block.second):
            own = layer.convolution
            direction = own.direction
            weight = own.length * direction / direction.norm(dim=(1, 2), keepdim=True)
            padded = nn.functional.pad(branch, (2 * 2**index, 0))
            branch = nn.functional.conv1d(padded, weight, own.bias, dilation=2**index)
            branch = torch.relu(branch)
        h = torch.relu(branch + (block.shortcut(h) if index == 0 else h))
    torch.testing.assert_close(network(x), network.head(h[:, :, -1]))


def test_normalised_weights_start_as_the_convolutions_own():
    plain, normed = (build("tcn", norm=norm) for norm in ("none", "weight"))
    torch.testing.assert_close(normed(batch()), plain(batch()))
    layer = normed.blocks[0].first.convolution
    assert layer.length.shape == (25, 1, 1)
    layer.direction.data *= 3  # a direction has no length
    torch.testing.assert_close(normed(batch()), plain(batch()))
    layer.length.data *= 3
    assert not torch.allclose(normed(batch()), plain(batch()))


def test_dropout_of_a_tcn_leaves_whole_channels_out():
    network = build("tcn", (1, 30), depth=1, width=50, dropout=0.5, norm="none")
    layer = network.blocks[0].first
    layer.convolution.bias.data.fill_(10.0)  # nothing is zero but what is dropped
    h = layer(torch.randn(8, 1, 30), None)
    dropped = (h == 0).all(2)
    assert torch.equal(dropped, (h == 0).any(2))
    assert 0.3 < float(dropped.float().mean()) < 0.7


def test_inception_time_has_the_authors_layers():
    network = build("inception_time_large", (1, 100), 2)
    first, second = network.blocks[0], network.blocks[1]
    of = [b.convolution for b in second.branches]
    assert [c.kernel_size for c in of] == [(40,), (20,), (10,)]
    assert all(c.bias is None and c.out_channels == 32 for c in of)
    assert isinstance(first.bottleneck, nn.Identity)
    assert second.bottleneck.weight.shape == (32, 128, 1)
    modules = [32 * (70 * 1 + 1) + 256] + [32 * (128 + 70 * 32 + 128) + 256] * 5
    shortcuts = [1 * 128 + 256, 128 * 128 + 256]
    total = sum(modules) + sum(shortcuts) + 128 * 2 + 2
    assert sum(p.numel() for p in network.parameters()) == total == 420_450


def test_without_a_norm_each_convolution_of_inception_time_has_an_offset():
    """A norm brings one; `norm=none` would take two things away at once."""
    convolutions = [
        layer
        for layer in build("inception_time", (2, 30), norm="none").modules()
        if isinstance(layer, nn.Conv1d)
    ]
    # The bottleneck's would be one more in front of the next convolutions'.
    without = [layer for layer in convolutions if layer.bias is None]
    assert len(without) == 3
    assert all(layer.kernel_size == (1,) for layer in without)
    assert len(convolutions) == 3 * (3 + 1 + 1) + 1
    for layer in build("inception_time", (2, 30)).modules():
        assert not isinstance(layer, nn.Conv1d) or layer.bias is None


def test_inception_time_is_the_authors():
    network = build("inception_time", (2, 30), depth=3, width=4, kernels=(6, 3))
    x = torch.randn(5, 2, 30)
    h = x
    for block in network.blocks:
        inner = block.bottleneck(h)
        parts = [  # as TensorFlow pads: of an even kernel, one more behind
            nn.functional.conv1d(
                nn.functional.pad(inner, pad), branch.convolution.weight
            )
            for branch, pad in zip(block.branches, [(2, 3), (1, 1)], strict=True)
        ]
        parts.append(block.pooled(nn.functional.max_pool1d(h, 3, 1, 1)))
        joined = torch.cat(parts, 1)
        h = torch.relu(nn.functional.batch_norm(joined, None, None, training=True))
    around = network.shortcuts[0](x)
    h = torch.relu(h + nn.functional.batch_norm(around, None, None, training=True))
    torch.testing.assert_close(
        network(x), network.head(h.mean(2)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("depth", "identities"), [(2, 0), (3, 1), (5, 1), (6, 2)])
def test_an_identity_leads_around_every_three_modules(depth, identities):
    assert len(build("inception_time", depth=depth).shortcuts) == identities
    assert not build("inception_time", depth=depth, skip=False).shortcuts


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_transformer_is_torchs_own_encoder(norm_first):
    network = build("transformer", norm_first=norm_first, head="average").eval()
    x = batch()
    h = network.positions(network.project(x.mT))
    padding = ~mask(LENGTHS, 20)
    for block in network.blocks:
        layer = nn.TransformerEncoderLayer(
            32,
            4,
            128,
            0.0,
            batch_first=True,
            norm_first=norm_first,
            layer_norm_eps=1e-6,
        ).eval()
        ours = [
            *(block.attention.project, block.attention.output),
            *(block.feed_forward.expand, block.feed_forward.contract),
            *(block.first_norm, block.second_norm),
        ]
        theirs = [
            *(layer.self_attn, layer.self_attn.out_proj, layer.linear1, layer.linear2),
            *(layer.norm1, layer.norm2),
        ]
        for mine, other in zip(ours, theirs, strict=True):
            own = other is layer.self_attn
            weight = other.in_proj_weight if own else other.weight
            bias = other.in_proj_bias if own else other.bias
            weight.data.copy_(mine.weight)
            bias.data.copy_(mine.bias)
        h = layer(h, src_key_padding_mask=padding)
    h = network.norm(h)
    within = mask(LENGTHS, 20).unsqueeze(2)
    mean = torch.where(within, h, 0).sum(1) / LENGTHS.unsqueeze(1)
    expected = network.head(mean)
    torch.testing.assert_close(network(x, LENGTHS), expected, rtol=1e-4, atol=1e-5)


def test_transformer_base_has_the_papers_layers():
    with torch.device("meta"):
        network = build("transformer_base", (1, 512), 2)
    each = 4 * (512 * 512 + 512) + 2 * 512 * 2048 + 2048 + 512 + 2 * 2 * 512
    counted = sum(p.numel() for p in network.blocks.parameters())
    assert counted == 6 * each == 18_914_304
    assert isinstance(network.norm, nn.Identity)
    assert not network.blocks[0].norm_first
    assert network.positions.positions == "sinusoidal"


def test_stochastic_depth_needs_a_skip_connection():
    with pytest.raises(ArmError, match="stochastic depth leaves out") as caught:
        build("transformer", skip=False, stochastic_depth=0.1)
    assert "skip=true" in str(caught.value)
    build("transformer", skip=True, stochastic_depth=0.1)
    build("transformer", skip=False, stochastic_depth=0)

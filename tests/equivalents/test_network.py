"""What can be asked of an equivalent network, and whether it trains like any other."""

import functools
import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archtrial
from archtrial import equivalents, metrics, zoo
from archtrial.protocol import Recipe
from archtrial.training import run, stacking
from archtrial.training.structure import structure

FORMS = {"fcn": archtrial.equivalent_fcn, "lcn": archtrial.locally_connected}


def moved(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    return network


def norm(tensors):
    return sum(float(t.detach().double().square().sum()) for t in tensors)


class Mixed(nn.Module):
    """Every kind of layer that has an equivalent; some padding modes, and groups."""

    def __init__(self, mode="replicate"):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, padding_mode=mode, groups=2)
        self.batch = nn.BatchNorm2d(4)
        self.bend = nn.PReLU(4, init=0.125)
        self.wide = nn.Conv2d(4, 4, 2, dilation=2, stride=(1, 2), bias=False)
        self.group = nn.GroupNorm(2, 4)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.rows = nn.Linear(2, 3)
        self.drop = nn.Dropout2d(0.2)
        self.head = nn.Linear(36, 3)

    def forward(self, x):
        h = self.bend(self.batch(self.first(x)))
        h = self.group(self.wide(h)) * self.scale
        return self.head(torch.relu(self.rows(self.drop(h))).flatten(1))


MIXED = (2, 5, 6)


def small(shape=(16,), **options):
    return zoo.cnn(shape, 3, width=8, **options)


# ------------------------------------------------------------------------- three parts


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_a_fresh_map_is_all_tied(mode, form):
    network = FORMS[form](Mixed(mode), MIXED)
    parts = equivalents.parts(network)
    assert parts.off_local == parts.deviation == 0
    assert parts.untied <= 1e-14 * parts.total  # replicated weights are rounded sums
    if mode == "zeros":  # a mean of equal numbers is exact
        assert parts.untied == 0
    assert math.isclose(parts.total, norm(network.parameters()), rel_tol=1e-9)
    layers = ["first", "batch", "bend", "wide", "group", "scale", "rows", "head"]
    assert list(parts.by_layer) == layers


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(FORMS)),
    st.sampled_from(["zeros", "replicate", "reflect", "circular"]),
    st.integers(0, 100),
)
def test_the_three_parts_add_up(form, mode, seed):
    torch.manual_seed(seed)
    network = FORMS[form](Mixed(mode), MIXED)
    moved(network)
    parts = equivalents.parts(network)
    everything = norm(network.parameters())
    if form == "lcn":  # what reads zero padding counts nowhere
        for layer in network.layers:
            if hasattr(layer, "connections"):
                with torch.no_grad():
                    layer.weight.mul_(layer._exists(layer.weight))
        everything = norm(network.parameters())
        assert parts.off_local == 0
    else:
        assert parts.off_local > 0
        local = norm(
            (parameter * mask)
            for (name, mask) in equivalents.local_masks(network).items()
            for parameter in [network.get_parameter(name)]
        )
        masked = norm(map(network.get_parameter, equivalents.local_masks(network)))
        assert math.isclose(masked - local, parts.off_local, rel_tol=1e-6)
    assert parts.untied > 0
    assert math.isclose(parts.total, everything, rel_tol=1e-6)
    for part in ("tied", "untied", "off_local"):
        by_layer = sum(getattr(layer, part) for layer in parts.by_layer.values())
        assert math.isclose(getattr(parts, part), by_layer, rel_tol=1e-12)
    assert parts.by_layer["head"].untied == parts.by_layer["head"].off_local == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_tied_is_nearest_of_what_shared_weights_can_express(mode, form):
    """By brute force: least squares over all kernels of the layer."""
    conv = nn.Conv1d(2, 2, 3, padding=2, padding_mode=mode, bias=False)
    columns = []
    for index in range(conv.weight.numel()):
        with torch.no_grad():
            conv.weight.zero_().view(-1)[index] = 1.0
        (layer,) = FORMS[form](conv, (2, 4)).layers
        columns.append(layer.weight.detach().flatten().double())
    network = FORMS[form](conv, (2, 4))
    (layer,) = network.layers
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight))
        if form == "lcn":
            layer.weight.mul_(layer._exists(layer.weight))
    weight = layer.weight.detach().flatten().double()
    spanned = torch.stack(columns, 1)
    nearest = spanned @ torch.linalg.lstsq(spanned, weight).solution
    parts = equivalents.parts(network)
    assert math.isclose(parts.tied, norm([nearest]), rel_tol=1e-9)
    rest = norm([weight - nearest])
    assert math.isclose(parts.untied + parts.off_local, rest, rel_tol=1e-9)


def test_deviation_is_the_papers():
    network = archtrial.equivalent_fcn(nn.Conv1d(1, 1, 1, bias=False), (1, 2))
    with torch.no_grad():
        network.layers[0].weight.copy_(torch.tensor([[2.0, 1.0], [0.0, 2.0]]))
    parts = equivalents.parts(network)
    assert (parts.untied, parts.off_local) == (0.0, 1.0)
    assert math.isclose(parts.tied, 8.0)
    assert math.isclose(parts.deviation, 1 / 3)
    assert equivalents.Parts().deviation == 0


def test_a_part_alone_and_the_other_add_up():
    network = moved(archtrial.equivalent_fcn(Mixed(), MIXED))
    local = equivalents.with_part(network, "local").state_dict()
    other = equivalents.with_part(network, "off_local").state_dict()
    masks = equivalents.local_masks(network)
    assert len(masks) == 3  # two convolutions, and a linear layer at every position
    for name, value in network.state_dict().items():
        if name in masks:
            assert masks[name].any()
            assert not masks[name].all()
            assert torch.equal(local[name] + other[name], value)
            assert not local[name][~masks[name]].any()
            assert not other[name][masks[name]].any()
        else:  # biases, normalisations, the classifier
            assert torch.equal(local[name], value)
            assert torch.equal(other[name], value)


def test_a_fresh_map_is_its_local_part():
    module = small().eval()
    network = archtrial.equivalent_fcn(module, (16,))
    x = torch.randn(5, 16)
    assert torch.equal(equivalents.with_part(network, "local")(x), network(x))
    nothing = equivalents.with_part(network, "off_local")(x)
    assert not torch.allclose(nothing, network(x))
    torch.testing.assert_close(nothing, nothing[:1].expand_as(nothing))


def test_nothing_is_off_local_where_all_is_joined_or_all_is_local():
    joined = nn.Sequential(nn.Conv1d(2, 3, 4), nn.Flatten(), nn.Linear(3, 2))
    network = archtrial.equivalent_fcn(joined, (2, 4))
    assert equivalents.local_masks(network) == {}
    for part in ("local", "off_local"):
        copied = equivalents.with_part(network, part)
        assert norm(copied.parameters()) == norm(network.parameters())
    lcn = archtrial.locally_connected(small(), (16,))
    assert equivalents.local_masks(lcn) == {}
    left = equivalents.with_part(lcn, "off_local")
    assert norm(layer.weight for layer in left.layers if hasattr(layer, "keep")) == 0
    assert norm(left.layers[-1].parameters()) > 0


def test_what_joins_two_groups_is_off_local():
    network = archtrial.equivalent_fcn(nn.Conv1d(4, 2, 3, groups=2), (4, 3))
    (mask,) = equivalents.local_masks(network).values()
    expected = torch.zeros(2, 12, dtype=torch.bool)
    expected[0, :6] = expected[1, 6:] = True
    assert torch.equal(mask, expected)


# ------------------------------------------------------------------------- a new start


@pytest.mark.parametrize("form", FORMS)
def test_reset_starts_every_layer_as_its_kind_does(form):
    network = FORMS[form](Mixed("zeros"), MIXED)
    # Larger than any start, and statistics of a network that has trained.
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(7)
    torch.manual_seed(3)
    equivalents.reset(network)
    first, batch, bend, wide, group, scale, _, rows, head = network.layers
    for layer, fan_in in ((first, 60 if form == "fcn" else 9), (head, 36)):
        size = float(layer.weight.detach().abs().max())
        assert 0.9 / math.sqrt(fan_in) < size
        if layer is head or form == "fcn":
            assert size <= 1 / math.sqrt(fan_in)
    assert wide.bias is None
    assert float(rows.weight.detach().abs().max()) <= 1 / math.sqrt(
        rows.weight.shape[-1]
    )
    for layer in (batch.layer, group):
        assert torch.all(layer.weight == 1)
        assert torch.all(layer.bias == 0)
    assert torch.all(batch.layer.running_mean == 0)
    assert torch.all(batch.layer.running_var == 1)
    assert torch.all(bend.layer.weight == 0.125)
    assert torch.all(scale.value == 1)
    again = FORMS[form](Mixed("zeros"), MIXED)
    torch.manual_seed(3)
    equivalents.reset(again)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_dense_layer_starts_like_a_linear_one():
    network = archtrial.equivalent_fcn(nn.Conv1d(2, 5, 3), (2, 40))
    (layer,) = network.layers
    torch.manual_seed(0)
    equivalents.reset(network)
    linear = nn.Linear(80, 190)
    for name in ("weight", "bias"):
        mine, theirs = getattr(layer, name).detach(), getattr(linear, name).detach()
        assert mine.shape == theirs.shape
        assert math.isclose(mine.std(), theirs.std(), rel_tol=0.1)
        assert math.isclose(mine.abs().max(), theirs.abs().max(), rel_tol=0.05)


def test_each_window_starts_by_what_it_reads():
    conv = nn.Conv1d(1, 400, 3, padding=1)
    last = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Linear(1, 400))
    for module, shape, reads in ((conv, (1, 4), [2, 3, 3, 2]), (last, (4,), [1] * 4)):
        network = archtrial.locally_connected(module, shape)
        layer = network.layers[-1]
        equivalents.reset(network)
        biases = layer.bias.detach().view(layer.connections.shape_out)
        for position, count in enumerate(reads):
            bound = 1 / math.sqrt(count)
            weights = layer.weight.detach()[position]
            assert int((weights != 0).any(0).sum()) == count
            bias = biases[:, position] if module is conv else biases[position]
            for drawn in (weights, bias):
                assert 0.95 * bound < float(drawn.abs().max()) <= bound


# ----------------------------------------------------------------------------- training


def problem(shape, **changes):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, *shape)).astype(np.float32)
    y = np.digitize(x.reshape(len(x), -1)[:, 0], [-0.4, 0.4]).astype(np.int64)
    return run.Problem(
        x[:40], y[:40], x[40:50], y[40:50], x[50:], "classification", 3,
        metrics.default("classification"), Recipe(), **{"steps": 3, "batch_size": 20} | changes,
    )  # fmt: skip


def mapped(form, build, shape):
    return FORMS[form](build(), shape)


TRAINED = {
    "sequence": (functools.partial(small, dropout=0.3), (16,)),
    "batch norm": (functools.partial(small, norm="batch", pooling="max"), (16,)),
    "image": (functools.partial(small, (2, 8, 8), norm="layer", residual=True), (2, 8, 8)),
    "mixed": (Mixed, MIXED),
    "reflected": (functools.partial(Mixed, "reflect"), MIXED),
    "circular": (functools.partial(Mixed, "circular"), MIXED),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TRAINED)
def test_a_fleet_of_them_steps_as_the_loop_does(name, form):
    build, shape = TRAINED[name]
    builder = functools.partial(mapped, form, build, shape)
    assert stacking.obstacle(problem(shape), builder) is None


def test_runs_share_a_fleet_exactly_if_they_compute_the_same():
    one, other = (archtrial.equivalent_fcn(small(), (16,)) for _ in range(2))
    assert structure(one) == structure(other)
    # The same shapes throughout: what differs is what the windows read.
    plain, wider = (
        archtrial.locally_connected(
            nn.Conv1d(1, 2, 3, padding=step, dilation=step), (1, 9)
        )
        for step in (1, 2)
    )
    assert [p.shape for p in plain.parameters()] == [
        p.shape for p in wider.parameters()
    ]
    assert structure(plain) != structure(wider)


def test_weights_at_zero_padding_stay_zero_in_training():
    shape = (16,)
    outcome = run.train(
        problem(shape),
        run.Job(
            functools.partial(mapped, "lcn", small, shape),
            {},
            0,
            0,
            0,
            keep_weights=True,
        ),
    )
    assert outcome.error is None
    network = archtrial.locally_connected(small(), shape)
    before = equivalents.parts(network)
    network.load_state_dict(outcome.weights)
    after = equivalents.parts(network)
    assert after.untied > before.untied == 0
    layers = [layer for layer in network.layers if hasattr(layer, "keep")]
    assert not any(
        layer.weight.detach()[
            ~layer._exists(layer.weight).expand_as(layer.weight)
        ].any()
        for layer in layers
    )


def test_what_no_step_needs_any_more_is_let_go():
    network = archtrial.equivalent_fcn(small(norm="batch", residual=True), (16,)).eval()
    left, most = [], []

    def keep_an_eye(layer, inputs, output):
        left.append(weakref.ref(output))
        most.append(sum(reference() is not None for reference in left))

    for layer in network.layers:
        layer.register_forward_hook(keep_an_eye)
    with torch.no_grad():
        network(torch.randn(2, 16))
    assert len(most) > 10
    assert max(most) <= 4


def test_a_network_relaxes():
    """A step of training unties local weights, and moves off-local ones from zero."""
    shape = (16,)
    network = archtrial.equivalent_fcn(small(), shape)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network(torch.randn(8, *shape)).square().sum().backward()
    optimizer.step()
    parts = equivalents.parts(network)
    assert 0 < parts.deviation < 1
    assert parts.untied > 0

"""Both forms compute what the module computes, for whatever module."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archtrial
from archtrial import equivalents, zoo
from archtrial.equivalents.untied import Dense, LocallyConnected
from archtrial.errors import ArmError

# Torch warns, once in a process, that an even kernel with padding="same" copies.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

FORMS = {
    "fcn": archtrial.equivalent_fcn,
    "lcn": archtrial.locally_connected,
}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
INSTANCE_NORMS = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d}
ZERO_PADS = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d}
DROPOUTS = {1: nn.Dropout1d, 2: nn.Dropout2d}


class Block(nn.Module):
    """A layer of one kind, or several, with a shortcut where the shapes allow it."""

    def __init__(self, layers, residual):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x):
        h = self.layers(x)
        return h + x if self.residual else torch.cat([h, -h], 1)


class LastAxis(nn.Module):
    """A linear layer at every position."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, channels, bias=False)

    def forward(self, x):
        return self.linear(self.norm(x.movedim(1, -1))).movedim(-1, 1)


class Scaled(nn.Module):
    def __init__(self, channels, sides):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels, *(1 for _ in range(sides))))
        self.offset = nn.Parameter(torch.randn(channels))
        self.laid = (1, -1, *(1 for _ in range(sides)))

    def forward(self, x):
        return self.scale * x + self.offset.view(self.laid)


def shape_of(layers, shape):
    with torch.no_grad():
        return tuple(nn.Sequential(*layers).eval()(torch.zeros(2, *shape)).shape[1:])


@st.composite
def convolutions(draw, shape, plain=False):
    channels, *sides = shape
    groups = draw(st.sampled_from([1, channels] if channels > 1 else [1]))
    kernel = [draw(st.integers(1, min(4, side))) for side in sides]
    dilation = [
        draw(st.integers(1, 2 if 2 * (k - 1) < s else 1))
        for k, s in zip(kernel, sides, strict=True)
    ]
    mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
    stride = [draw(st.integers(1, 3)) for _ in sides]
    padding = draw(st.sampled_from(["same", "valid", "numbers"]))
    if padding == "same":
        stride = [1 for _ in sides]
        if mode in ("reflect", "circular"):
            mode = "zeros"
    if padding == "numbers":
        padding = tuple(draw(st.integers(0, min(2, side - 1))) for side in sides)
    return CONVOLUTIONS[len(sides)](
        channels,
        groups * draw(st.integers(1, 3)),
        tuple(kernel),
        stride=tuple(stride),
        padding=padding,
        dilation=tuple(dilation),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=mode,
    )


@st.composite
def layers(draw, shape, kinds):
    channels, *sides = shape
    n = len(sides)
    kind = draw(st.sampled_from(kinds))
    if kind == "convolution":
        return draw(convolutions(shape))
    if kind == "padding ahead":
        pads = [draw(st.integers(0, 2)) for _ in range(2 * n)]
        return nn.Sequential(ZERO_PADS[n](tuple(pads)), CONVOLUTIONS[n](channels, 2, 1))
    if kind == "block":
        inner = [CONVOLUTIONS[n](channels, channels, 3, padding=1), nn.Tanh()]
        return Block(inner, draw(st.booleans()))
    if kind == "pooling":
        pool = draw(st.sampled_from([MAX_POOLS[n], AVERAGE_POOLS[n]]))
        return pool(min(2, *sides)) if min(sides) > 1 else nn.Identity()
    if kind == "last axis":
        return LastAxis(channels)
    if kind == "scaled":
        return Scaled(channels, n)
    if kind == "activation":
        return draw(
            st.sampled_from([nn.ReLU(), nn.GELU(), nn.PReLU(), nn.PReLU(channels)])
        )
    if kind == "norm":
        norm = draw(
            st.sampled_from(
                [
                    nn.GroupNorm(1, channels),
                    nn.GroupNorm(channels, channels, affine=False),
                    nn.LayerNorm(shape),
                    nn.RMSNorm(shape[-1:]),
                    # Torch refuses a spread over one position.
                    *([INSTANCE_NORMS[n](channels, affine=True)] * (max(sides) > 1)),
                    BATCH_NORMS[n](channels),
                    BATCH_NORMS[n](channels, affine=False),
                    BATCH_NORMS[n](channels, track_running_stats=False),
                    DROPOUTS[n](0.5),
                ]
            )
        )
        return varied(norm)
    raise AssertionError(kind)


@torch.no_grad()
def varied(module):
    """Gives weights and statistics values that differ from each other."""
    for parameter in module.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            buffer.add_(torch.rand_like(buffer) + ("var" in name))
    return module


LINEAR_KINDS = ["convolution", "convolution", "padding ahead", "block", "pooling",
                "last axis", "scaled", "activation"]  # fmt: skip


@st.composite
def architectures(draw, kinds=(*LINEAR_KINDS, "norm")):
    """Returns a module and the shape of one example."""
    n = draw(st.integers(1, 2))
    channels = draw(st.integers(1, 3))
    sides = [draw(st.integers(3, 12 if n == 1 else 7)) for _ in range(n)]
    shape = (channels, *sides)
    torch.manual_seed(draw(st.integers(0, 5)))
    made = []
    for _ in range(draw(st.integers(1, 4))):
        here = shape_of(made, shape)
        if min(here[1:]) < 1 or here[0] * max(here[1:]) > 60:
            break
        made.append(draw(layers(here, kinds)))
    if draw(st.booleans()):
        made += [nn.Flatten(), nn.LazyLinear(3)]
    module = nn.Sequential(*made)
    with torch.no_grad():
        module.eval()(torch.zeros(2, *shape))
    return module, shape


def near(ours, theirs, rounding=1e-30):
    scale = float(theirs.detach().abs().max())
    torch.testing.assert_close(ours, theirs, atol=1e-4 * scale + rounding, rtol=0)


@settings(max_examples=80, deadline=None)
@given(architectures(), st.sampled_from(list(FORMS)))
def test_the_same_outputs_in_evaluation(architecture, form):
    module, shape = architecture
    network = FORMS[form](module, shape).double().eval()
    x = torch.randn(5, *shape, dtype=torch.float64)
    with torch.no_grad():
        # Where normalisations leave nothing of the input, the outputs are rounding.
        near(network(x.clone()), module.double().eval()(x.clone()), rounding=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_rounding_that_a_norm_blows_up_is_no_mistake(form):
    """Less its own mean, one number is rounding alone, and that is divided by .003."""
    torch.manual_seed(0)
    for offset in torch.linspace(0.01, 0.05, 40):
        module = nn.Sequential(nn.Conv1d(2, 1, 3), nn.GroupNorm(1, 1))
        module[1].bias.data.fill_(offset)
        network = FORMS[form](module, (2, 3))
        x = torch.randn(5, 2, 3, dtype=torch.float64)
        near(network.double()(x), module.double()(x))


@settings(max_examples=40, deadline=None)
@given(architectures(LINEAR_KINDS), st.sampled_from(list(FORMS)))
def test_the_same_in_training_and_every_weight_gets_its_gradient(architecture, form):
    module, shape = architecture
    module.train().double()  # gradients through a normalisation cancel
    network = FORMS[form](module, shape)
    assert network.training
    x = torch.randn(3, *shape, dtype=torch.float64)
    theirs, ours = module(x.clone()), network(x.clone())
    near(ours.detach(), theirs.detach())
    if not theirs.requires_grad:
        return
    towards = torch.randn_like(theirs)
    (theirs * towards).sum().backward()
    (ours * towards).sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    # What flows back to the input is the same, so all that comes before is reached.
    x1, x2 = (x.clone().requires_grad_() for _ in range(2))
    (module(x1 + 0) * towards).sum().backward()
    (network(x2 + 0) * towards).sum().backward()
    near(x2.grad, x1.grad)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["linear", "mlp", "cnn"])
@pytest.mark.parametrize("shape", [(40,), (3, 17), (1, 8, 8)], ids=str)
def test_the_zoo_has_equivalents(name, shape, form):
    options = {"linear": [{}], "mlp": [{"norm": "batch", "residual": True}]}.get(
        name,
        [
            {"norm": norm, "pooling": pooling, "residual": residual, "width": 6}
            for norm, pooling, residual in [
                ("none", "stride", False),
                ("batch", "max", True),
                ("layer", "average", False),
                ("group", "stride", True),
            ]
        ],
    )
    for each in options:
        module = varied(zoo.get(name).function(shape, 4, **each))
        network = FORMS[form](module, shape).eval()
        x = torch.randn(6, *shape)
        near(network(x), module.eval()(x))


def test_the_dense_weight_is_the_papers_by_hand():
    """W[o, i, :, i s : i s + k] = K[o], on an input whose padding was cut away."""
    conv = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1)
    network = archtrial.equivalent_fcn(conv, (2, 5, 4))
    (layer,) = network.layers
    expected = torch.zeros(3, 3, 5, 2, 7, 6)
    for i in range(3):
        for j in range(5):
            expected[:, i, j, :, 2 * i : 2 * i + 3, j : j + 2] = conv.weight.detach()
    without_padding = expected[..., 1:-1, 1:-1].reshape(45, 40)
    assert torch.equal(layer.weight.detach(), without_padding)
    assert torch.equal(layer.bias.detach(), conv.bias.detach().repeat_interleave(15))
    mask = equivalents.local_masks(network)["layers.0.weight"]
    inside = torch.zeros(3, 3, 5, 2, 7, 6, dtype=torch.bool)
    for i in range(3):
        for j in range(5):
            inside[:, i, j, :, 2 * i : 2 * i + 3, j : j + 2] = True
    assert torch.equal(mask, inside[..., 1:-1, 1:-1].reshape(45, 40))


def test_a_kernel_at_every_position_by_hand():
    conv = nn.Conv1d(2, 2, 3, padding=1, groups=2)
    (layer,) = archtrial.locally_connected(conv, (2, 4)).layers
    kernel = conv.weight.detach().flatten(1)
    first, last = kernel.clone(), kernel.clone()
    first[:, 0], last[:, 2] = 0, 0  # they read zero padding
    expected = torch.stack([first, kernel, kernel, last])
    assert torch.equal(layer.weight.detach(), expected)


@pytest.mark.parametrize("form", FORMS)
def test_lazy_layers_are_called_once_before(form):
    """Its outputs cannot be the module's, which has no weights yet."""
    module = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(ArmError) as caught:
        FORMS[form](module, (1, 8))
    assert "Sequential has lazy layers that were never called" in str(caught.value)
    assert "Call it once on an example first" in str(caught.value)
    x = torch.randn(4, 1, 8)
    expected = module(x)
    torch.testing.assert_close(FORMS[form](module, (1, 8))(x), expected)


@pytest.mark.parametrize("form", FORMS)
def test_pickles_and_copies(form):
    module = zoo.cnn((1, 8, 8), 3, norm="batch", residual=True, width=4)
    network = FORMS[form](module, (1, 8, 8)).eval()
    x = torch.randn(2, 1, 8, 8)
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert torch.equal(other(x), network(x))
        assert other.text == network.text
        other.load_state_dict(network.state_dict())


def test_the_module_is_left_as_it_was():
    module = zoo.cnn((40,), 10, norm="batch", width=4).train()
    module[2].eval()
    before = copy.deepcopy(module)
    state = torch.get_rng_state()
    network = archtrial.equivalent_fcn(module, (40,))
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert [m.training for m in module.modules()] == [
        m.training for m in before.modules()
    ]
    for one, other in zip(
        module.state_dict().values(), before.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    network.layers[1].weight.data.zero_()
    assert float(module[1].convolution.weight.detach().abs().sum()) > 0


def test_kinds_of_layers():
    module = zoo.cnn((40,), 10)
    for form, kind in (("fcn", Dense), ("lcn", LocallyConnected)):
        found = [
            type(m) for m in FORMS[form](module, (40,)).layers if list(m.parameters())
        ]
        assert found == [kind, kind, kind, nn.Linear]

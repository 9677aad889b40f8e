"""What a walk understands, and what it says where it cannot go on."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import archtrial
from archtrial import equivalents
from archtrial.equivalents.untied import Dense
from archtrial.errors import ArmError

FORMS = {"fcn": archtrial.equivalent_fcn, "lcn": archtrial.locally_connected}
SHAPE = (1, 12)


def message(module, shape=SHAPE, **options):
    with pytest.raises(ArmError) as caught:
        archtrial.equivalent_fcn(module, shape, **options)
    return str(caught.value)


def near(ours, theirs):
    scale = float(theirs.detach().abs().max())
    torch.testing.assert_close(ours, theirs, atol=1e-5 * scale, rtol=0)


def agrees(module, shape=SHAPE, form="fcn", **options):
    network = FORMS[form](module, shape, **options).eval()
    x = torch.randn(5, *shape)
    near(network(x.clone()), module.eval()(x.clone()))
    return network


@torch.fx.wrap
def halved(h):
    return h / 2 if float(h.detach().sum()) > -1e9 else h


nameless = lambda h: 2 * h  # noqa: E731 - a function that its name does not find
torch.fx.wrap("nameless")


class Written(nn.Module):
    """A convolution, and a forward pass from outside."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3, padding=1)
        self.written = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.written(self, x)


# ----------------------------------------------------------------- what is understood


@pytest.mark.parametrize("form", FORMS)
def test_a_module_that_is_a_layer(form):
    assert agrees(nn.Conv1d(1, 2, 3), form=form).names == ("Conv1d",)
    assert agrees(nn.Linear(12, 3), form=form).names == ("Linear",)


def kinds(network):
    return [type(layer) for layer in network.layers]


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_a_parametrised_layer_is_mapped_as_it_computes(norm):
    conv = getattr(parametrizations, norm)(nn.Conv1d(1, 4, 3))
    linear = getattr(parametrizations, norm)(nn.Linear(40, 2))
    network = agrees(nn.Sequential(conv, nn.Flatten(), linear))
    assert kinds(network) == [Dense, nn.Flatten, nn.Linear]


class Named(nn.Conv1d):
    pass


def test_a_subclass_that_computes_the_same_is_its_kind():
    assert kinds(agrees(nn.Sequential(Named(1, 2, 3)))) == [Dense]


def test_a_forward_that_was_put_in_place_counts():
    module = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Conv1d(2, 2, 3))
    module[0].forward = lambda x: torch.cat([x, -x], 1)
    assert kinds(agrees(module)) == [Dense]


def test_a_layer_that_is_called_twice_becomes_two():
    same = nn.Conv1d(4, 4, 3, padding=1)
    module = Written(lambda m, x: m.same(torch.relu(m.same(m.conv(x)))), same=same)
    network = agrees(module)
    assert network.names == ("conv", "same", "same@2")
    assert network.layers[1].weight is not network.layers[2].weight
    assert list(equivalents.parts(network).by_layer) == list(network.names)


def test_lazy_layers_are_counted_on_a_copy():
    module = nn.Sequential(
        nn.LazyConv1d(2, 3), nn.LazyBatchNorm1d(), nn.Flatten(), nn.LazyLinear(2)
    )
    state = torch.get_rng_state()
    counted = equivalents.sizes(module, SHAPE)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(module[0].weight, nn.UninitializedParameter)
    module(torch.randn(3, *SHAPE))
    assert counted == equivalents.sizes(module, SHAPE)
    assert counted.module == sum(p.numel() for p in module.parameters())


def test_input_may_be_given_by_its_name():
    agrees(Written(lambda m, x: m.conv(input=x)))


def test_frozen_weights_stay_frozen():
    module = nn.Sequential(
        nn.Conv1d(1, 2, 3),
        nn.BatchNorm1d(2),
        nn.PReLU(),
        nn.Flatten(),
        nn.Linear(20, 2),
    )
    module[0].weight.requires_grad_(False)
    module[1].bias.requires_grad_(False)
    module[2].requires_grad_(False)
    module[4].bias.requires_grad_(False)
    for build in FORMS.values():
        network = build(module, SHAPE)
        frozen = [n for n, p in network.named_parameters() if not p.requires_grad]
        assert frozen == [
            "layers.0.weight", "layers.1.layer.bias", "layers.2.layer.weight", "layers.4.bias",
        ]  # fmt: skip


def scaled(m, x):
    h = m.conv(x) * m.gain[:, None] + m.places
    return torch.sub(h, m.gain.view(1, -1, 1)) * m.mask - m.aside


def test_bare_parameters_become_one_per_unit():
    module = Written(
        scaled,
        gain=nn.Parameter(torch.randn(4)),
        places=nn.Parameter(torch.randn(1, 4, 12)),
    )
    module.register_buffer("mask", (torch.rand(12) > 0.3).float())
    module.aside = torch.randn(4, 1)  # neither parameter nor buffer
    network = agrees(module)
    values = dict(zip(network.names, network.layers, strict=True))
    assert values["gain"].value.shape == values["gain@2"].value.shape == (48,)
    assert (values["gain"].neutral, values["gain@2"].neutral) == (1, 0)
    assert torch.equal(values["places"].value, module.places.flatten())
    assert list(values["mask"].buffers())
    assert list(values["aside"].buffers())


def test_dropout_that_follows_the_mode_still_does():
    def forward(m, x):
        h = functional.dropout(m.conv(x), 0.5, m.training)
        return functional.dropout1d(h, p=0.25, training=m.training)

    network = agrees(Written(forward))
    assert [(type(d), d.p) for d in network.layers[1:]] == [
        (nn.Dropout, 0.5), (nn.Dropout1d, 0.25),
    ]  # fmt: skip
    x = torch.randn(3, *SHAPE)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_sizes_and_slices_in_the_forward_pass():
    def forward(m, x):
        n, _, length = x.shape
        h = m.conv(x)
        h = h[:, :, 1 : length - 1].reshape(n, -1, 2)
        return torch.cat([h, h.mean(2, keepdim=True)], dim=-1).view(x.size(0), -1)

    agrees(Written(forward))


class Shortcut(nn.Module):
    """Goes round a layer, through another one where the shapes ask for it."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv1d(2, channels, 3, padding=1)
        self.norm = nn.BatchNorm1d(channels)
        self.other = nn.Conv1d(2, channels, 1)

    def forward(self, x):
        assert x.ndim == 3, f"not {x.shape}"
        assert x.size(1) == 2
        h = self.norm(self.conv(x))
        if h.shape != x.shape:
            x = self.other(x)
        while h.shape[-1] > 4:
            h, x = h[:, :, ::2], x[:, :, ::2]
        return h + x if min(h.shape[1], 5) < 5 else h - x


@pytest.mark.parametrize("channels", [2, 3, 6])
@pytest.mark.parametrize("form", FORMS)
def test_what_shapes_decide_is_decided_as_the_module_does(form, channels):
    module = Shortcut(channels)
    module.norm.running_mean.fill_(0.3)
    before = copy.deepcopy(module.state_dict())
    network = agrees(module, (2, 12), form)
    # The layer beside is there if it is used, and conditions are not computed again.
    assert len(network.layers) == (2 if channels == 2 else 3)
    targets = " ".join(str(step.target) for step in network.steps)
    assert not any(condition in targets for condition in ("ne", "gt", "eq", "shape"))
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_function_that_is_not_to_be_traced_is_called():
    network = agrees(Written(lambda m, x: halved(m.conv(x))))
    assert network.steps[-1].target.endswith(":halved")


def test_tensors_that_the_forward_pass_makes():
    agrees(Written(lambda m, x: m.conv(x) * torch.arange(12.0) + torch.ones(4, 1)))


def test_operations_in_place():
    def forward(m, x):
        h = functional.relu(m.conv(x), inplace=True)
        h += 1
        return h.mul_(2)

    agrees(Written(forward))
    agrees(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(1)))


def pads():
    ahead = functional.pad
    return {
        "module": nn.Sequential(nn.ZeroPad1d((2, 1)), nn.Conv1d(1, 4, 3)),
        "constant": nn.Sequential(nn.ConstantPad1d((2, 1), 0.0), nn.Conv1d(1, 4, 3)),
        "function": Written(lambda m, x: m.conv(ahead(x, (2, 1)))),
        "before reflection": nn.Sequential(
            nn.ZeroPad1d((2, 1)), nn.Conv1d(1, 4, 3, padding=2, padding_mode="reflect")
        ),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", pads())
def test_zeros_that_stand_ahead_go_into_the_convolution(name, form):
    network = agrees(pads()[name], form=form)
    (layer,) = network.layers
    assert len(network.steps) == 1
    assert layer.connections.ahead == ((2, 1),)
    if form == "fcn":
        assert layer.weight.shape[1] == 12


def test_zeros_of_an_image_go_to_their_sides():
    module = nn.Sequential(nn.ZeroPad2d((3, 0, 1, 2)), nn.Conv2d(1, 2, 3))
    (layer,) = agrees(module, (1, 4, 5)).layers
    assert layer.connections.ahead == ((1, 2), (3, 0))
    assert equivalents.sizes(module, (1, 4, 5)).fcn == 2 * 5 * 6 * (7 * 8 + 1)


def kept_pads():
    ahead = functional.pad
    return {
        "another value": nn.Sequential(nn.ConstantPad1d(1, 0.5), nn.Conv1d(1, 4, 3)),
        "another user": Written(
            lambda m, x: m.conv(ahead(x, (1, 1))) + ahead(x, (1, 1))
        ),
        "twice used": Written(lambda m, x: (lambda h: m.conv(h) + h)(ahead(x, (1, 1)))),
        "channels": Written(
            lambda m, x: m.wide(ahead(x, (0, 0, 0, 1))), wide=nn.Conv1d(2, 2, 3)
        ),
        "circular": Written(lambda m, x: m.conv(ahead(x, (1, 1), "circular"))),
    }


@pytest.mark.parametrize("name", kept_pads())
def test_other_padding_is_carried_over(name):
    network = agrees(kept_pads()[name])
    dense = next(layer for layer in network.layers if isinstance(layer, Dense))
    assert dense.connections.ahead == () or name == "another user"
    assert len(network.steps) > 1


def normalised():
    return nn.Sequential(
        nn.Conv1d(1, 4, 3, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Conv1d(4, 4, 3, groups=2), nn.BatchNorm1d(4, affine=False), nn.Flatten(),
        nn.Linear(32, 5), nn.BatchNorm1d(5),
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_batch_normalisation_per_position_or_folded(form):
    module = normalised()
    for _ in range(3):  # statistics of its own
        module(1 + 2 * torch.randn(20, *SHAPE))
    folded = agrees(module, form=form, batch_norm="folded")
    assert not any(isinstance(m, nn.BatchNorm1d) for m in folded.modules())
    assert len(folded.layers) == 5
    each = agrees(module, form=form)
    norms = [m for m in each.modules() if isinstance(m, nn.BatchNorm1d)]
    assert [norm.num_features for norm in norms] == [40, 32, 5]
    assert int(norms[0].num_batches_tracked) == 3


def test_statistics_that_are_not_kept_stay_those_of_the_channel():
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    with torch.no_grad():
        norm.weight.uniform_()
    module = nn.Sequential(nn.Conv1d(1, 4, 3), norm)
    network = agrees(module)
    network.train()
    x = torch.randn(6, *SHAPE)
    near(network(x), module.train()(x))
    assert network.layers[1].weight.shape == (40,)


# ------------------------------------------------------------- what has no equivalent


def without(layer, *behind):
    return nn.Sequential(nn.Conv1d(1, 4, 1), layer, *behind)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (without(nn.ConvTranspose1d(4, 2, 3), nn.GRU(14, 3)), "1 (ConvTranspose1d)"),
        (without(nn.GRU(12, 3)), "1 (GRU)"),
        (without(nn.Unflatten(1, (1, 4, 1)), nn.Conv3d(1, 2, 1)), "2 (Conv3d)"),
        (without(nn.TransformerEncoderLayer(12, 2)), "1 (TransformerEncoderLayer)"),
        (
            without(nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
            "1 (InstanceNorm1d with running statistics)",
        ),
        (
            Written(
                lambda m, x: functional.conv1d(m.conv(x), m.own),
                own=nn.Parameter(torch.randn(1, 4, 3)),
            ),
            "own (an nn.Parameter in conv1d)",
        ),
        (
            Written(
                lambda m, x: m.conv(x) * m.gate.sigmoid(), gate=nn.Parameter(torch.ones(12))
            ),
            "gate (an nn.Parameter in sigmoid)",
        ),
        (
            Written(
                lambda m, x: m.conv(x) * m.gate + torch.exp(m.gate),
                gate=nn.Parameter(torch.ones(12)),
            ),
            "gate (an nn.Parameter in exp)",
        ),
        (
            Written(
                lambda m, x: m.conv(x) @ m.matrix,
                matrix=nn.Parameter(torch.randn(12, 12)),
            ),
            "matrix (an nn.Parameter in matmul)",
        ),
        (
            Written(
                lambda m, x: m.conv(x).mean(2, keepdim=True) * m.wider,
                wider=nn.Parameter(torch.randn(12)),
            ),
            "wider (an nn.Parameter in mul)",
        ),
    ],
)  # fmt: skip
def test_the_first_layer_without_an_equivalent_is_named(module, named):
    said = message(module)
    assert f"every layer with weights has a fully connected equivalent: {named}" in said
    assert "nn.Conv1d, nn.Conv2d, nn.Linear" in said


class Rescaling(nn.Conv1d):
    def forward(self, x):
        return functional.conv1d(x, self.weight / self.weight.std(), self.bias)


class Standardised(nn.Conv1d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight / weight.std(), bias)


def test_a_layer_that_computes_otherwise_is_no_convolution():
    assert "0 (Standardised) has none" in message(nn.Sequential(Standardised(1, 2, 3)))
    assert "0.weight (an nn.Parameter in" in message(nn.Sequential(Rescaling(1, 2, 3)))


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)

    def forward(self, x):
        if x.sum() > 0:
            return self.conv(x)
        return self.conv(-x)


class CountsPositions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        for _ in range(x.shape[2] // 4):
            x = self.conv(x)
        return x


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (LooksAtValues(), "if x.sum() > 0:"),
        (CountsPositions(), "for _ in range(x.shape[2] // 4):"),
        (Written(lambda m, x: m.conv(x) if bool(x.mean() > 0) else x), "bool(x.mean()"),
        (Written(lambda m, x: m.conv(x) if x.sum().item() else x), "x.sum().item()"),
        (Written(lambda m, x: m.conv(x) if len(x.shape) > 2 else x), "x.dim() tells"),
        (Written(lambda m, x: m.conv(x if x.shape[0] > 9 else -x)), "x.shape[0] > 9"),
        (Written(lambda m, x: m.conv(x if x.size(0) > 9 else -x)), "x.size(0) > 9"),
        (Written(lambda m, x: m.conv(x if x.shape[:1] == (3,) else -x)), "== (3,)"),
        (Written(lambda m, x: m.conv(x if x.size(dim=0) > 9 else -x)), "dim=0) > 9"),
    ],
)
def test_what_depends_on_the_data_is_told_by_its_line(module, line):
    said = message(module)
    assert "are the same for all inputs" in said
    assert __file__ in said
    assert line in said
    assert "Decide in __init__" in said


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + 1
        return self.conv(x)


def test_a_buffer_that_the_forward_pass_replaces_is_not_lost_in_silence():
    module = Counts()
    assert "leaves its buffers as they are: it replaces seen" in message(module)
    assert float(module.seen) == 0


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (
            lambda m, x: 2 * m.conv(x) if m.training else m.conv(x),
            "mul(2, conv) in training, output(conv) in evaluation",
        ),
        (
            lambda m, x: functional.rrelu(m.conv(x), training=m.training),
            "rrelu(conv, 0.125, 0.3333333333333333, True, False) in training, rrelu(",
        ),
    ],
)
def test_what_depends_on_the_mode_is_told(forward, words):
    said = message(Written(forward))
    assert "does the same in training and in evaluation, apart from dropout" in said
    assert words in said


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.conv(x) + torch.randn_like(x),
        lambda m, x: functional.dropout(m.conv(x), 0.5),
    ],
)
def test_networks_that_differ_are_not_handed_out(forward):
    said = message(Written(forward))
    assert "computes the same as Written: outputs of up to" in said
    assert "differ by up to" in said


def test_a_hook_that_changes_outputs_is_noticed():
    module = nn.Sequential(nn.Conv1d(1, 2, 3))
    module[0].register_forward_hook(lambda layer, x, y: 2 * y)
    assert "differ by up to" in message(module)


@pytest.mark.parametrize(
    ("module", "shape", "options", "words"),
    [
        (nn.Conv1d(3, 2, 3), SHAPE, {}, ["Conv1d can be called on inputs of shape (1, 12)", "3 channels"]),
        (nn.Embedding(4, 2), (3,), {}, ["Embedding can be called", "Long"]),
        (nn.Conv1d, SHAPE, {}, ["what is mapped is a module", "of type type", "Call the class first"]),
        ("cnn", SHAPE, {}, ["what is mapped is a module: 'cnn' is of type str"]),
        (nn.Conv1d(1, 2, 3), 12, {}, ["the shape of one example, as a tuple: 12", "(40,) for a signal"]),
        (nn.Conv1d(1, 2, 3), SHAPE, {"batch_norm": "fold"}, ["'per_position' or 'folded': 'fold'"]),
        (without(nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4)), SHAPE, {"batch_norm": "folded"}, ["right before it, whose only user it is: 3 has no such layer", "per_position"]),
        (without(nn.Linear(12, 4), nn.BatchNorm1d(4)), SHAPE, {"batch_norm": "folded"}, ["2 has no such layer"]),
        (without(nn.BatchNorm1d(4, track_running_stats=False)), SHAPE, {"batch_norm": "folded"}, ["1 has no running statistics"]),
        (Written(lambda m, x: m.norm(h := m.conv(x)) + h, norm=nn.BatchNorm1d(4)), SHAPE, {"batch_norm": "folded"}, ["norm has no such layer"]),
        (Written(lambda m, x: (m.conv(x), x)), SHAPE, {}, ["returns one tensor", "tuple"]),
        (Written(lambda m, x: m.conv(x.reshape(-1, 1, 4)).reshape(x.shape[0], -1)), SHAPE, {}, ["the first axis", "conv gets the shape (9, 1, 4) for 3 examples"]),
        (Written(lambda m, x: nameless(m.conv(x))), SHAPE, {}, ["can be found by its name", "<lambda>"]),
    ],
)  # fmt: skip
def test_other_mistakes_are_one_message(module, shape, options, words):
    said = message(module, shape, **options)
    for word in words:
        assert word in said


def test_weights_that_are_not_finite_are_told():
    module = nn.Conv1d(1, 2, 3)
    with torch.no_grad():
        module.weight.fill_(float("nan"))
    assert "outputs of a network that is mapped are finite" in message(module)


def test_what_cannot_be_copied_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it is to be this very one
        old = nn.utils.weight_norm(nn.Conv1d(1, 2, 3))
    said = message(nn.Sequential(old))
    assert "Sequential can be copied" in said
    assert "parametrizations.weight_norm" in said

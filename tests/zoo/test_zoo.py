"""Every architecture of the zoo: what holds for all, and what each one promises."""

import contextlib
import itertools
import sys

import pytest
import torch
from torch import nn

from archtrial import zoo
from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import norms, registry

# Published sizes of a hundred million parameters are counted (test_families.py); what
# they compute is what their small siblings compute.
NAMES = [
    name
    for name, entry in zoo.entries().items()
    if (entry.family if entry.variant is None else entry.variant).size.parameters < 2e6
]
SHAPES = [(40,), (3,), (3, 17), (1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 9)]
# What reads images of some size alone; everything else reads all shapes.
OWN_SHAPES = {
    "vanilla_cnn": [(1, 28, 28), (3, 32, 32), (2, 30, 41)],
    **{name: [(40,), (3,)] for name in ["ft_transformer", "ft_transformer_default"]},
    **{
        name: [(40,), (3, 17), (1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 14)]
        for name in ["convnext", "convnext_cifar", "vit", "mixer", "mixer_cifar"]
    },
    **{
        name: [(40,), (3, 17), (1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 9)]
        for name in ["nin", "nin_cifar", "googlenet", "googlenet_large", "squeezenet"]
    },
    **{
        name: [(40,), (3, 17), (1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 14)]
        for name in ["vgg", "vgg_large"]
    },
    **{
        name: [(40,), (3, 17), (1, 28, 28), (3, 32, 32), (2, 15, 19)]
        for name in ["alexnet", "alexnet_large"]
    },
    **{
        name: [(40,), (3, 25), (1, 28, 28), (3, 32, 32), (2, 21, 24)]
        for name in ["squeezenet1_0", "squeezenet1_1"]
    },
}


# A stem for large images does not read those of 32 x 32.
STEMS = {(name, "stem") for name in ("alexnet", "nin", "googlenet", "squeezenet")}


def shapes(name):
    return OWN_SHAPES.get(name, SHAPES)


# Values for each option; the first that is possible and no default is tried.
TWEAKS = {
    "activation": ("gelu", "relu", "tanh"),
    "attention_dropout": (0.25,),
    "bidirectional": (False,),
    "block": ("bottleneck",),
    "bottleneck": (False, 0.2),
    "causal": (False,),
    "channels": (0.3,),
    "compression": (0.25,),
    "convolution": ("full",),
    "convolutions": (2,),
    "depth": (4, 3),
    "depth_multiplier": (1.5,),
    "dilation": (1,),
    "dropout": (0.25,),
    "expansion": (2, 3),
    "gated": (True, False),
    "grid": (4, 3),
    "growth": (1.5,),
    "head": ("flatten", "average"),
    "heads": (3,),
    "hidden": ((24,), 3),
    "input_scale": (1.25,),
    "kernel": (5, 3),
    "kernels": ((7, 3),),
    "late": (False, True),
    "layer": ("kan", "linear"),
    "layer_scale": (0.5,),
    "linear": (False,),
    "norm": ("group",),
    "norm_first": (False, True),
    "overlap": (False,),
    "parallel": (False,),
    "parameters": (5_000,),
    "patch": (3,),
    "pointwise": (False, 0.25),
    "pooling": ("max", "stride", "average"),
    "positions": ("sinusoidal",),
    "preactivation": (True,),
    **{f"ratio_{place}": (2.0,) for place in (2, 3, 4, 5)},
    "reduction": (2,),
    "residual": (True, False),
    "residual_dropout": (0.25,),
    "resolution": (24, 16, 20),
    "shortcut": ("projection",),
    "skip": (False, True),
    "squeeze": (True, False),
    "stem": (1, "imagenet"),
    "stochastic_depth": (0.9, 0.25),
    "token_mixing": (False,),
    "widen": (3,),
    "width": (10, 12),
    "width_multiplier": (2.0,),
}
# What an option needs beside it.
BESIDE = {
    "grid": {"layer": "kan"},
    "channels": {"convolutions": 1},
    "growth": {"convolutions": 2},
    # At its own budget a layer has three units for 3 x 32 x 32, and ratios round.
    **{
        f"ratio_{place}": {"hidden": 5, "parameters": 100_000} for place in (2, 3, 4, 5)
    },
}


def tweak(name, option):
    entry = zoo.get(name)
    if isinstance(entry.options[option], bool):
        return not entry.options[option]
    for value in TWEAKS[option]:
        if value != entry.options[option]:
            with contextlib.suppress(ArmError):
                return entry.check_options({option: value})[option]
    raise AssertionError(f"no value of {option} for {name}")


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def a_shape(name):
    return OWN_SHAPES.get(name, [(40,)])[0]


def build(name, shape=None, outputs=10, **options):
    torch.manual_seed(0)
    shape = a_shape(name) if shape is None else shape
    return zoo.get(name).function(shape, outputs, **options)


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("outputs", [1, 7])
@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in NAMES for shape in shapes(name)],
    ids=str,
)
def test_trains_on_every_shape(name, shape, outputs):
    module = build(name, shape, outputs)
    x = torch.randn(5, *shape)
    before = x.clone()
    y = module(x)
    assert y.shape == (5, outputs)
    assert torch.equal(x, before)
    y.square().sum().backward()
    for parameter_name, parameter in module.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, parameter_name
        assert torch.isfinite(gradient).all(), parameter_name
        assert gradient.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(
    ("name", "option", "shape"),
    [
        (name, option, shape)
        for name in NAMES
        for option in zoo.get(name).options
        # Of token ids and of categories: test_families.py, test_tables.py.
        if option not in ("embedding", "categories")
        if (zoo.get(name).family.name, option) not in STEMS
        for shape in [(40,), (3, 32, 32)]
        if shape in shapes(name)
    ],
    ids=str,
)
def test_every_option_does_something(name, option, shape):
    beside = BESIDE.get(option, {})
    tweaked = build(name, shape, **{option: tweak(name, option)}, **beside)
    plain = build(name, shape, **{option: zoo.get(name).options[option]}, **beside)
    x = torch.randn(4, *shape)
    torch.manual_seed(1)
    one = tweaked(x)
    torch.manual_seed(1)
    other = plain(x)
    assert one.shape == other.shape == (4, 10)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_is_determined_by_the_seed(name):
    first, second = build(name).state_dict(), build(name).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_examples_do_not_mix(name):
    module = build(name).eval()
    x = torch.randn(6, *a_shape(name))
    # Before training, what 56 layers compute is of the order of 100.
    torch.testing.assert_close(module(x)[2:3], module(x[2:3]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_documented(name):
    entry = zoo.get(name)
    module_doc = sys.modules[entry.function.__module__].__doc__
    for word in ("Paper:", "Authors:", "Status:"):
        assert word in module_doc
    assert entry.summary.endswith(".")
    doc = entry.family.page
    if "options as in `gru`" not in doc:
        for option in entry.options:
            assert f"    {option}: " in doc


@pytest.mark.parametrize("name", NAMES)
def test_space_can_be_built_and_holds_no_hyperparameter_of_training(name):
    entry = zoo.get(name)
    assert entry.space.keys() <= entry.options.keys()
    for option, dimension in entry.space.items():
        if isinstance(dimension, Choice):
            assert len(dimension.options) <= 3
        else:
            assert (option, dimension) == ("dropout", Real(0.0, 0.5))
    sizes = {k: d for k, d in entry.space.items() if isinstance(d, Choice)}
    for values in itertools.product(*(d.options for d in sizes.values())):
        module = build(name, **dict(zip(sizes, values, strict=True)))
        assert module(torch.zeros(2, *a_shape(name))).shape == (2, 10)


# From the paper's own code, as its tables have them.
@pytest.mark.parametrize(
    ("name", "count"), [("linear", 410), ("mlp", 15210), ("cnn", 5210), ("gru", 5134)]
)
def test_has_the_papers_parameter_count_on_mnist1d(name, count):
    assert parameters(build(name)) == count


def test_lstm_and_rnn_count_by_hand():
    # gates x (inputs + state + two offsets) x 6 units x 2 directions, and the head
    assert parameters(build("lstm")) == 4 * (1 + 6 + 2) * 6 * 2 + 40 * 12 * 10 + 10
    assert parameters(build("rnn")) == 1 * (1 + 6 + 2) * 6 * 2 + 40 * 12 * 10 + 10


def test_vanilla_cnn_has_the_papers_parameter_count_on_cifar10():
    assert parameters(build("vanilla_cnn", (3, 32, 32))) == 143178


def test_default_vanilla_cnn_is_the_papers():
    module = build("vanilla_cnn", (3, 32, 32))
    *convolutions, head = [
        m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    h = x = torch.randn(2, 3, 32, 32)
    sides = []
    for convolution, (padding, stride) in zip(
        convolutions, [(2, 2), (2, 1), (1, 1)], strict=True
    ):
        h = nn.functional.pad(h, (padding,) * 4)
        h = nn.functional.conv2d(h, convolution.weight, convolution.bias, stride)
        h = nn.functional.max_pool2d(torch.relu(h), 3, 2)
        sides.append(h.shape[2])
    assert sides == [8, 3, 1]
    torch.testing.assert_close(module(x), head(h.flatten(1)))


@pytest.mark.parametrize("shape", [(40,), (3, 40), (1, 28, 27), (1, 8, 8)], ids=str)
def test_vanilla_cnn_refuses_what_it_cannot_pool(shape):
    with pytest.raises(ArmError, match="at least 28 positions") as caught:
        build("vanilla_cnn", shape)
    assert str(shape) in str(caught.value)
    assert "Take cnn" in str(caught.value)


def test_default_mlp_is_the_papers():
    module = build("mlp")
    first, second, last = [m for m in module.modules() if isinstance(m, nn.Linear)]
    x = torch.randn(3, 40)
    h = torch.relu(first(x))
    h = h + torch.relu(second(h))
    torch.testing.assert_close(module(x), last(h))


def test_default_cnn_is_the_papers():
    module = build("cnn")
    *convolutions, head = [
        m for m in module.modules() if isinstance(m, (nn.Conv1d, nn.Linear))
    ]
    shapes = [(c.kernel_size, c.stride, c.padding) for c in convolutions]
    assert shapes == [((5,), (2,), (1,)), ((3,), (2,), (1,)), ((3,), (2,), (1,))]
    x = torch.randn(3, 40)
    h = x.unsqueeze(1)
    for convolution in convolutions:
        h = torch.relu(convolution(h))
    torch.testing.assert_close(module(x), head(h.flatten(1)))


def test_gru_concatenates_the_states_of_all_steps():
    module = build("gru")
    x = torch.randn(3, 40)
    states, _ = module.cell(x.unsqueeze(2))
    torch.testing.assert_close(module(x), module.head(states.flatten(1)))


def test_recurrent_reads_the_rows_of_an_image_as_steps():
    module = build("rnn", (2, 4, 5), bidirectional=False)
    x = torch.randn(1, 2, 4, 5)
    changed = x.clone()
    changed[:, :, 3] += 1  # the last row, both channels
    states = [module.cell(v.movedim(2, 1).flatten(2))[0] for v in (x, changed)]
    assert module.cell.input_size == 10
    assert torch.equal(states[0][:, :3], states[1][:, :3])
    assert not torch.equal(module(x), module(changed))


@pytest.mark.parametrize("pooling", ["stride", "max", "average"])
@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("side", range(3, 34))
def test_cnn_never_runs_out_of_positions(side, depth, pooling):
    for shape in [(side,), (1, side, 3), (2, side, side)]:
        module = build("cnn", shape, width=2, depth=depth, pooling=pooling)
        assert module(torch.zeros(1, *shape)).shape == (1, 10)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("pooling", ["stride", "max", "average"])
@pytest.mark.parametrize("shape", [(40,), (1, 8, 8)], ids=str)
def test_cnn_options_combine(shape, pooling, residual, norm):
    module = build("cnn", shape, norm=norm, residual=residual, pooling=pooling)
    assert module(torch.randn(4, *shape)).shape == (4, 10)


def test_residual_cnn_adds_the_positions_that_the_stride_keeps():
    module = build("cnn", depth=2, residual=True)
    first, second = [m for m in module if hasattr(m, "convolution")]
    h = first(torch.randn(3, 1, 40))
    added = second(h) - torch.relu(second.convolution(h))
    torch.testing.assert_close(added, h[:, :, ::2])
    assert first.shortcut is None


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
def test_norm_takes_out_the_scale_of_the_input(name, norm):
    module = build(name, depth=1, norm=norm)
    x = torch.randn(8, 40)
    torch.testing.assert_close(module(10 * x), module(x), atol=1e-2, rtol=1e-2)
    plain = build(name, depth=1)
    assert (plain(10 * x) - plain(x)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("channels", "groups"), [(25, 5), (100, 5), (64, 8), (13, 1), (6, 6)]
)
def test_group_norm_divides_the_channels(channels, groups):
    layer = norms.norm_layer("group", channels, 1)
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


@pytest.mark.parametrize("width", [2, 3, 5, 6, 7, 8])
def test_group_norm_of_few_units_leaves_something_of_them(width):
    layer = norms.norm_layer("group", width, 0)
    assert layer(torch.randn(4, width)).abs().mean() > 0.5


@pytest.mark.parametrize("sides", [0, 1, 2])
def test_layer_norm_is_over_all_of_one_example(sides):
    x = 5 + 3 * torch.randn(4, 6, *(7,) * sides)
    y = norms.norm_layer("layer", 6, sides)(x).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        y.var(1, unbiased=False), torch.ones(4), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mlp", {"widht": 3}, ["no option 'widht'", "mean 'width'"]),
        ("linear", {"depth": 3}, ["linear has no option 'depth'", "none to choose"]),
        ("mlp", {"depth": 0}, ["depth of mlp", "at least 1", "0"]),
        ("mlp", {"depth": 2.5}, ["depth of mlp", "a whole number", "2.5"]),
        ("cnn", {"width": True}, ["width of cnn", "a whole number", "True"]),
        ("cnn", {"dropout": 1.0}, ["dropout of cnn", "at least 0 and below 1", "1.0"]),
        ("cnn", {"dropout": "much"}, ["dropout of cnn", "a number", "'much'"]),
        ("mlp", {"residual": 1}, ["residual of mlp", "true or false", "1"]),
        ("cnn", {"norm": "btach"}, ["norm of cnn", "none, batch, layer", "'btach'"]),
    ],
)
def test_impossible_option_is_one_message(name, options, words):
    with pytest.raises(ArmError) as caught:
        build(name, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (1, 8, 1), (1, 2, 3, 4), ()], ids=str)
def test_cnn_refuses_a_shape_that_it_cannot_read(shape):
    with pytest.raises(ArmError, match="at least 3 positions") as caught:
        build("cnn", shape)
    assert str(shape) in str(caught.value)
    assert "mlp or linear" in str(caught.value)


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_recurrent_refuses_a_shape_that_it_cannot_read(name):
    with pytest.raises(ArmError, match=f"{name} needs sequences"):
        build(name, (1, 2, 3, 4))


def test_unknown_name_is_one_message():
    with pytest.raises(ArmError, match=r"'mlpp'.*\n.*mean 'mlp'.*file.py:Name"):
        zoo.get("mlpp")


def test_entry_is_found_by_its_function():
    assert registry.entry_of(zoo.mlp) is zoo.get("mlp")

    def mlp():
        pass

    assert registry.entry_of(mlp) is None


# torch itself has no rule for its recurrent cells and its attention; a fleet brings one.
OF_FLEETS = ("ft_transformer", "gru", "lstm", "rnn", "transformer", "vit")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name in NAMES
        if zoo.get(name).family.name not in OF_FLEETS
        for shape in OWN_SHAPES.get(name, [(40,), (2, 17), (1, 8, 8)])
    ],
    ids=str,
)
def test_stacks_under_vmap(name, shape):
    plain = {"norm": "group", "dropout": 0.0}  # dropout draws: test_testing.py
    options = {k: v for k, v in plain.items() if k in zoo.get(name).options}
    # In float64: sums in another order add up over the layers of a deep network.
    modules = [zoo.get(name).function(shape, 3, **options).double() for _ in range(4)]
    stacked, buffers = torch.func.stack_module_state(modules)
    x = torch.randn(4, 5, *shape, dtype=torch.float64)

    def call(values, fixed, inputs):
        return torch.func.functional_call(modules[0], (values, fixed), (inputs,))

    together = torch.vmap(call, randomness="different")(stacked, buffers, x)
    alone = torch.stack([m(v) for m, v in zip(modules, x, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)

"""LeNet to SqueezeNet: what their papers say of them, and what their switches do."""

import itertools
import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial import zoo
from archtrial.errors import ArmError
from archtrial.specs import parse_spec
from archtrial.testing import check_architecture
from archtrial.zoo import arms
from archtrial.zoo.architectures.googlenet import _TABLE

FAMILIES = ["lenet", "alexnet", "nin", "vgg", "googlenet", "squeezenet"]
IMAGENET = (3, 224, 224)


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


def build(name, shape, outputs=10, **options):
    torch.manual_seed(0)
    return zoo.get(name).function(shape, outputs, **options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d))]


def linears(module):
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


def on_meta(name, shape=IMAGENET, outputs=1000, **options):
    """Returns a module, and the shape that each of its layers returns."""
    with torch.device("meta"):
        module = zoo.get(name).function(shape, outputs, **options)
        seen = {}
        for layer in module.modules():
            layer.register_forward_hook(
                lambda layer, _, out: seen.update({layer: tuple(out.shape[1:])})
            )
        module.eval()(torch.zeros(1, *shape))
    return module, seen


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet", (1, 32, 32), 10, 61_706),
        ("lenet", (1, 28, 28), 10, 61_706),
        ("lenet_relu", (1, 32, 32), 10, 61_706),
        ("alexnet_imagenet", IMAGENET, 1000, 61_100_840),
        ("nin_cifar", (3, 32, 32), 10, 966_986),
        ("nin_imagenet", IMAGENET, 1000, 7_595_176),
        ("vgg11", IMAGENET, 1000, 132_863_336),
        ("vgg13", IMAGENET, 1000, 133_047_848),
        ("vgg16", IMAGENET, 1000, 138_357_544),
        ("vgg19", IMAGENET, 1000, 143_667_240),
        ("googlenet_imagenet", IMAGENET, 1000, 6_998_552),
        ("squeezenet1_0", IMAGENET, 1000, 1_248_424),
        ("squeezenet1_1", IMAGENET, 1000, 1_235_496),
    ],
)
def test_has_the_published_parameters(name, shape, classes, count):
    module, seen = on_meta(name, shape, classes)
    assert parameters(module) == count
    assert seen[module] == (classes,)


# LeNet


def test_lenet_is_the_papers_with_full_connections():
    module = build("lenet", (1, 32, 32)).eval()
    first, second = convolutions(module)
    *hidden, last = linears(module)
    x = torch.randn(3, 1, 32, 32)
    h = functional.avg_pool2d(torch.tanh(first(x)), 2)
    assert h.shape == (3, 6, 14, 14)
    h = functional.avg_pool2d(torch.tanh(second(h)), 2)
    assert h.shape == (3, 16, 5, 5)
    h = h.flatten(1)
    for layer, units in zip(hidden, (120, 84), strict=True):
        h = torch.tanh(layer(h))
        assert h.shape == (3, units)
    torch.testing.assert_close(module(x), last(h))


@pytest.mark.parametrize(
    ("shape", "padding"),
    [
        ((1, 28, 28), (2, 2, 2, 2)),
        ((2, 31, 8), (12, 12, 0, 1)),
        ((3, 5, 40), (0, 0, 13, 14)),
        ((2, 9), (11, 12)),
        ((3,), (14, 15)),
    ],
    ids=str,
)
def test_lenet_has_small_inputs_in_the_middle_of_32_positions(shape, padding):
    module = build("lenet", shape)
    x = torch.randn(2, *shape)
    large = functional.pad(x, padding)
    own = build("lenet", tuple(large.shape[1:]))
    assert parameters(own) == parameters(module)
    torch.testing.assert_close(module(x), own(large))


def test_lenets_third_convolution_keeps_sides_and_channels():
    deep = build("lenet", (1, 32, 32), depth=3)
    assert [c.out_channels for c in convolutions(deep)] == [6, 16, 16]
    assert linears(deep)[0].in_features == 16 * 5 * 5
    flat = build("lenet", (1, 32, 32), depth=1)
    assert linears(flat)[0].in_features == 6 * 14 * 14


# AlexNet


def test_alexnet_has_the_papers_layers():
    module, seen = on_meta("alexnet_imagenet")
    shapes = [(c.kernel_size[0], c.stride[0]) for c in convolutions(module)]
    assert shapes == [(11, 4), (5, 1), (3, 1), (3, 1), (3, 1)]
    assert [seen[c] for c in convolutions(module)] == [
        (64, 55, 55), (192, 27, 27), (384, 13, 13), (256, 13, 13), (256, 13, 13),
    ]  # fmt: skip
    pools = [m for m in module.modules() if isinstance(m, nn.MaxPool2d)]
    assert [seen[p][1] for p in pools] == [27, 13, 6]
    assert {(p.kernel_size, p.stride) for p in pools} == {(3, 2)}
    assert [layer.in_features for layer in linears(module)] == [9216, 4096, 4096]
    drops = [m for m in module.modules() if isinstance(m, nn.Dropout)]
    assert [d.p for d in drops] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("depth", "channels", "pools"),
    [
        (1, [8], 1),
        (2, [8, 24], 2),
        (3, [8, 24, 48], 3),
        (6, [8, 24, 48, 32, 32, 32], 3),
    ],
)
def test_alexnets_depth_is_its_convolutions(depth, channels, pools):
    module = build("alexnet", (1, 28, 28), depth=depth)
    assert [c.out_channels for c in convolutions(module)] == channels
    found = [i for i, m in enumerate(module) if isinstance(m, nn.MaxPool2d)]
    assert len(found) == pools
    assert isinstance(module[found[-1] + 1], nn.Flatten)


def test_alexnets_poolings_overlap_unless_they_shall_not():
    for overlap, window in ((True, 3), (False, 2)):
        module = build("alexnet", (40,), overlap=overlap)
        pools = [m for m in module.modules() if isinstance(m, nn.MaxPool1d)]
        assert {(p.kernel_size, p.stride) for p in pools} == {(window, 2)}


# VGG


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("vgg11", "64 M 128 M 256 256 M 512 512 M 512 512 M"),
        ("vgg13", "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M"),
        ("vgg16", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
        (
            "vgg19",
            "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
        ),
    ],
)
def test_vgg_has_the_papers_plan(name, plan):
    module, seen = on_meta(name)
    found = []
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride) == ((3, 3), (1, 1))
            found.append(str(layer.out_channels))
        if isinstance(layer, nn.MaxPool2d):
            found.append("M")
            last = seen[layer]
    assert " ".join(found) == plan
    assert last == (512, 7, 7)
    assert len(found) - 5 + len(linears(module)) == int(name[3:])


def test_vggs_depth_is_of_each_stage():
    module = build("vgg", (40,), depth=[1, 3], width=4)
    assert [c.out_channels for c in convolutions(module)] == [4, 8, 8, 8]
    even = build("vgg", (40,), depth=2, width=4)
    assert [c.out_channels for c in convolutions(even)] == [4, 4, 8, 8, 16, 16]
    with pytest.raises(ArmError, match="a number for one stage at least"):
        build("vgg", (40,), depth=[])


def test_global_average_pooling_saves_vggs_parameters():
    averaged = on_meta("vgg16", head="average", hidden=[])[0]
    assert parameters(averaged) == 14_714_688 + 512 * 1000 + 1000
    assert parameters(on_meta("vgg16", hidden=[])[0]) == (
        14_714_688 + 7 * 7 * 512 * 1000 + 1000
    )


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg"])
def test_dropout_is_behind_hidden_layers_or_before_the_last(name):
    for hidden, dropped in (([], 1), ([7], 1), ([7, 5, 4], 3)):
        module = build(name, (1, 28, 28), hidden=hidden, dropout=0.25)
        drops = [m for m in module if isinstance(m, nn.Dropout)]
        assert [d.p for d in drops] == [0.25] * dropped
        assert [m.out_features for m in linears(module)] == [*hidden, 10]
        assert isinstance(module[-2], nn.Dropout)


# Network in network


def test_nin_averages_a_map_for_each_class():
    module = build("nin", (1, 28, 28)).eval()
    x = torch.randn(3, 1, 28, 28)
    maps = nn.Sequential(*module[:-2])(x)
    assert maps.shape == (3, 10, 7, 7)
    torch.testing.assert_close(module(x), maps.mean((2, 3)))
    assert linears(module) == []
    assert (module(x) < 0).any()  # as an amount may be


def test_nin_without_1_x_1_has_the_channels_that_those_return():
    plain = build("nin", (3, 32, 32), width=12, pointwise=False)
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convolutions(plain)] == [
        (3, 6, 5), (6, 12, 5), (12, 12, 3), (12, 10, 1),
    ]  # fmt: skip
    full = build("nin", (3, 32, 32), width=12)
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convolutions(full)] == [
        (3, 12, 5), (12, 10, 1), (10, 6, 1),
        (6, 12, 5), (12, 12, 1), (12, 12, 1),
        (12, 12, 3), (12, 12, 1), (12, 10, 1),
    ]  # fmt: skip


def test_nin_of_one_block_drops_something_too():
    module = build("nin", (40,), depth=1, dropout=0.9)
    x = torch.randn(4, 40)
    assert not torch.allclose(module(x), module(x))


def test_nin_imagenet_has_the_authors_sides():
    module, seen = on_meta("nin_imagenet")
    pools = [m for m in module.modules() if isinstance(m, nn.MaxPool2d)]
    assert [seen[p] for p in pools] == [(96, 27, 27), (256, 13, 13), (384, 6, 6)]
    assert [c.out_channels for c in convolutions(module)] == [
        *(96, 96, 96, 256, 256, 256, 384, 384, 384, 1024, 1024, 1000),
    ]


# GoogLeNet


def weights_of(inputs, row, five=5):
    """Returns what table 1 says of one block: its weights and its channels."""
    one, before3, three, before5, after5, pooled = row
    weights = (
        inputs * (one + before3 + before5 + pooled)
        + before3 * 9 * three
        + before5 * five**2 * after5
    )
    offsets = one + before3 + three + before5 + after5 + pooled
    return weights, offsets, one + three + after5 + pooled


def totals(five):
    rows = list(itertools.chain(*_TABLE))
    weights = 3 * 49 * 64 + 64 * 64 + 64 * 9 * 192
    offsets = 64 + 64 + 192
    channels, outputs = 192, []
    for row in rows:
        own, more, channels = weights_of(channels, row, five)
        weights, offsets = weights + own, offsets + more
        outputs.append(channels)
    assert outputs == [256, 480, 512, 512, 512, 528, 832, 832, 1024]  # of table 1
    return weights + 1024 * 1000, offsets


def test_googlenet_is_what_follows_from_table_1():
    weights, offsets = totals(5)
    assert (weights, offsets + 1000) == (6_990_272, 8_280)
    module = on_meta("googlenet_imagenet")[0]
    assert parameters(module) == weights + offsets + 1000
    # Of some blocks the paper's own column of them, in units of 1,024, agrees.
    for row, inputs, said in ((0, 192, 159), (1, 256, 380), (3, 512, 437)):
        own = weights_of(inputs, list(itertools.chain(*_TABLE))[row])[0]
        assert own / 1024 == pytest.approx(said, abs=2)


def test_googlenets_other_count_has_norms_for_offsets_and_kernels_of_3():
    weights, offsets = totals(3)
    assert weights + 2 * offsets + 1000 == 6_624_904  # torchvision's
    normed = on_meta("googlenet_imagenet", norm="batch")[0]
    assert parameters(normed) == totals(5)[0] + 2 * offsets + 1000


def test_googlenet_has_the_papers_sides():
    module, seen = on_meta("googlenet_imagenet")
    pools = [m for m in module if isinstance(m, nn.MaxPool2d)]
    assert [seen[p] for p in pools] == [
        (64, 56, 56), (192, 28, 28), (480, 14, 14), (832, 7, 7),
    ]  # fmt: skip
    blocks = [m for m in module if hasattr(m, "branches")]
    assert [seen[b][0] for b in blocks] == [
        *(256, 480, 512, 512, 512, 528, 832, 832, 1024),
    ]


@pytest.mark.parametrize("shape", [(40,), (3, 32, 32)], ids=str)
def test_an_inception_block_looks_through_kernels_side_by_side(shape):
    module = build("googlenet", shape)
    block = next(m for m in module if hasattr(m, "branches"))
    kernels = [[c.kernel_size[0] for c in convolutions(b)] for b in block.branches]
    assert kernels == [[1], [1, 3], [1, 5], [1]]
    x = torch.randn(2, 24, *(8,) * (len(shape) - 1 or 1))
    parts = [branch(x) for branch in block.branches]
    assert [part.shape[1] for part in parts] == [8, 16, 4, 4]  # of 64, 128, 32, 32
    torch.testing.assert_close(block(x), torch.cat(parts, 1))


def test_an_inception_block_without_bottlenecks_is_the_papers_naive_one():
    module = build("googlenet", (3, 32, 32), bottleneck=False)
    block = next(m for m in module if hasattr(m, "branches"))
    kernels = [[c.kernel_size[0] for c in convolutions(b)] for b in block.branches]
    assert kernels == [[1], [3], [5], []]
    x = torch.randn(2, 24, 8, 8)
    assert block(x).shape[1] == 8 + 16 + 4 + 24
    torch.testing.assert_close(block(x)[:, -24:], functional.max_pool2d(x, 3, 1, 1))
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_an_inception_block_of_one_branch_has_as_many_channels(bottleneck):
    several = build("googlenet", (3, 32, 32))
    single = build("googlenet", (3, 32, 32), parallel=False, bottleneck=bottleneck)
    widths = []
    for module in (several, single):
        x = nn.Sequential(*module[:3])(torch.randn(2, 3, 32, 32))
        block = next(m for m in module if hasattr(m, "branches"))
        widths.append(block(x).shape)
    assert widths[0] == widths[1]
    kernels = [c.kernel_size[0] for c in convolutions(block)]
    assert kernels == ([1, 3] if bottleneck else [3])


def test_googlenets_depth_is_blocks_of_each_stage_in_the_papers_order():
    def first_branches(**options):
        module = build("googlenet", (1, 32, 32), width=64, **options)
        blocks = [m for m in module if hasattr(m, "branches")]
        return [convolutions(b.branches[0])[0].out_channels for b in blocks]

    assert first_branches(depth=1) == [64, 192, 256]
    assert first_branches(depth=[2, 5, 2]) == [
        64,
        128,
        192,
        160,
        128,
        112,
        256,
        256,
        384,
    ]
    assert first_branches(depth=[3, 1, 1]) == [64, 128, 128, 192, 256]


# SqueezeNet


def fires(module):
    return [m for m in module if hasattr(m, "squeeze")]


def test_squeezenet_has_table_1():
    module, seen = on_meta("squeezenet1_0")
    rows = [
        (
            convolutions(fire.squeeze)[0].out_channels,
            *(convolutions(expand)[0].out_channels for expand in fire.expand),
        )
        for fire in fires(module)
    ]
    assert rows == [
        (16, 64, 64), (16, 64, 64), (32, 128, 128), (32, 128, 128),
        (48, 192, 192), (48, 192, 192), (64, 256, 256), (64, 256, 256),
    ]  # fmt: skip
    assert [seen[f][1] for f in fires(module)] == [54, 54, 54, 27, 27, 27, 27, 13]
    later, seen = on_meta("squeezenet1_1")
    assert [seen[f][1] for f in fires(later)] == [55, 55, 27, 27, 13, 13, 13, 13]
    assert convolutions(later)[0].kernel_size == (3, 3)


def test_squeezenets_bypass_is_around_what_changes_nothing():
    module = on_meta("squeezenet1_0", skip=True)[0]
    assert [f.skip for f in fires(module)] == [False, True] * 4  # fire3, 5, 7 and 9
    assert parameters(module) == 1_248_424
    fire = fires(build("squeezenet", (1, 28, 28), skip=True))[1]
    x = torch.randn(2, 48, 9, 9)
    expanded = torch.cat([expand(fire.squeeze(x)) for expand in fire.expand], 1)
    torch.testing.assert_close(fire(x), x + expanded)
    strided = build("squeezenet", (1, 28, 28), depth=8, skip=True, pooling="stride")
    # Those that halve the sides, third and seventh, change something anyway.
    assert [f.skip for f in fires(strided)] == [False, True] * 4
    early = build(
        "squeezenet", (1, 28, 28), depth=8, skip=True, late=False, pooling="stride"
    )
    assert [f.skip for f in fires(early)] == [False] * 5 + [True, False, True]


@pytest.mark.parametrize(
    ("options", "squeezed", "expanded"),
    [
        ({}, 6, [24, 24]),
        ({"reduction": 1}, 48, [24, 24]),
        ({"reduction": 1000}, 1, [24, 24]),
        ({"pointwise": 0.25}, 6, [12, 36]),
        ({"pointwise": 0}, 6, [48]),
        ({"pointwise": 0.999}, 6, [48]),
    ],
)
def test_a_fire_module_squeezes_and_expands(options, squeezed, expanded):
    fire = fires(build("squeezenet", (1, 28, 28), **options))[0]
    assert convolutions(fire.squeeze)[0].out_channels == squeezed
    found = [convolutions(expand)[0] for expand in fire.expand]
    assert [c.out_channels for c in found] == expanded
    sizes = [c.kernel_size[0] for c in found]
    assert sizes == (
        [1, 3] if len(expanded) == 2 else [1 if "0.9" in str(options) else 3]
    )


@pytest.mark.parametrize("depth", range(1, 10))
@pytest.mark.parametrize("late", [True, False])
def test_squeezenet_of_any_depth_halves_its_sides(depth, late):
    module = build("squeezenet", (1, 28, 28), depth=depth, late=late, width=2)
    pools = [m for m in module if isinstance(m, nn.MaxPool2d)]
    assert len(pools) == (1 if depth == 1 else 2)
    assert module(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


# What holds for all of them

SWITCHES = {
    "pooling": ["stride", "max", "average"],
    "norm": ["none", "batch", "layer", "group"],
    "head": ["average", "flatten"],
}


@pytest.mark.parametrize("shape", [(40,), (2, 41), (1, 28, 31)], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_switches_combine(name, shape):
    for values in itertools.product(*SWITCHES.values()):
        options = dict(zip(SWITCHES, values, strict=True))
        module = build(name, shape, width=4, **options)
        out = module(torch.randn(3, *shape))
        assert out.shape == (3, 10)
        out.sum().backward()
        assert all(p.grad is not None for p in module.parameters())
        has_offset = options["norm"] == "none"
        assert (convolutions(module)[0].bias is not None) == has_offset


STEMS = [
    ("alexnet", {"stem": "imagenet"}),
    ("nin", {"stem": "imagenet", "depth": 4}),
    ("googlenet", {"stem": "imagenet", "depth": (2, 5, 2)}),
    ("squeezenet", {"stem": "imagenet", "depth": 8}),
    ("squeezenet", {"stem": "imagenet1_1", "depth": 8, "late": False}),
]


@pytest.mark.parametrize("shape", [(3, 96, 97), (200,), (2, 224)], ids=str)
@pytest.mark.parametrize(("name", "options"), STEMS)
def test_stems_for_large_images_read_series_too(name, options, shape):
    for pooling in SWITCHES["pooling"]:
        module = build(name, shape, width=4, pooling=pooling, **options)
        small = build(name, shape, width=4, pooling=pooling)
        x = torch.randn(2, *shape)
        assert module(x).shape == (2, 10)
        assert parameters(module) != parameters(small)


LEAST = [
    ("alexnet", {}, 15),
    ("alexnet", {"overlap": False}, 8),
    ("alexnet", {"depth": 1}, 3),
    ("alexnet", {"depth": 2}, 7),
    ("alexnet", {"stem": "imagenet"}, 63),
    ("nin", {}, 4),
    ("nin", {"depth": 1}, 1),
    ("nin", {"depth": 5}, 16),
    ("nin", {"stem": "imagenet"}, 23),
    ("nin", {"stem": "imagenet", "pooling": "stride"}, 11),
    ("vgg", {}, 8),
    ("vgg", {"depth": (1, 1, 1, 1, 1)}, 32),
    ("vgg", {"pooling": "average"}, 8),
    ("googlenet", {}, 4),
    ("googlenet", {"stem": "imagenet"}, 31),
    ("squeezenet", {}, 4),
    ("squeezenet", {"depth": 1}, 2),
    ("squeezenet", {"stem": "imagenet"}, 21),
    ("squeezenet", {"stem": "imagenet1_1", "depth": 2}, 9),
    ("squeezenet", {"stem": "imagenet", "pooling": "stride"}, 7),
    ("lenet", {}, 1),
    *((name, {"pooling": "stride"}, 1) for name in FAMILIES),
]


@pytest.mark.parametrize(("name", "options", "least"), LEAST, ids=str)
@pytest.mark.parametrize("shape", ["({},)", "(2, {})", "(1, {0}, {0})", "(1, 70, {})"])
def test_the_least_input_is_read_and_a_smaller_one_refused(name, options, least, shape):
    def of(side):
        return tuple(map(int, re.findall(r"\d+", shape.format(side))))

    module = build(name, of(least), width=4, **options)
    assert module.eval()(torch.randn(2, *of(least))).shape == (2, 10)
    if least == 1:
        return
    with pytest.raises(ArmError) as caught:
        build(name, of(least - 1), width=4, **options)
    said = str(caught.value)
    assert said.startswith(f"{name} needs at least {least} positions along each side")
    assert str(of(least - 1)) in said
    (typed,) = re.findall(r"resolution=\d+", said)
    given = arms.find(*parse_spec(f"{name}({typed})")[1:])
    enlarged = given.build(of(least - 1), 10, {"width": 4, **options})
    assert enlarged(torch.randn(2, *of(least - 1))).shape == (2, 10)
    with pytest.raises(ArmError, match=f"Write resolution={least}, or more") as caught:
        build(name, of(300), resolution=least - 1, **options)
    assert f"resolution = {least - 1}" in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 2, 3, 4), ()], ids=str)
def test_what_is_no_series_and_no_image_is_refused(name, shape):
    with pytest.raises(ArmError, match=f"{name} needs sequences") as caught:
        build(name, shape)
    assert "Take mlp or linear" in str(caught.value)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "lenet"])
def test_weights_keep_the_scale_of_what_goes_through(name):
    depth = {"vgg": (2, 2, 4), "googlenet": (2, 2, 4), "nin": 4}.get(name, 8)
    options = {"depth": depth, "width": 32, "dropout": 0.0, "pooling": "stride"}
    module = build(name, (3, 64, 64), **options)
    x = torch.randn(4, 3, 64, 64)
    *before, _ = convolutions(module)
    for layer in before:
        assert layer.bias.abs().max() == 0
        variance = layer.weight.var().item()
        inputs = math.prod(layer.weight.shape[1:])
        assert variance == pytest.approx(2 / inputs, rel=0.5)
    seen = []
    before[-1].register_forward_hook(lambda _, given, out: seen.append(out.std()))
    module(x)
    assert 0.1 < seen[0] < 10


# Smooth, so that rounding lets no ReLU and no maximum fall out otherwise.
BOTH_WAYS = {
    "lenet": [{"pooling": "max"}, {"head": "average", "depth": 3, "norm": "batch"}],
    "alexnet": [{"overlap": False, "depth": 3}, {"head": "average", "hidden": [9]}],
    "nin": [{"pointwise": False}, {"head": "flatten", "depth": 1}],
    "vgg": [{"kernel": 5, "depth": [1, 2]}, {"head": "average", "hidden": []}],
    "googlenet": [{"parallel": False}, {"bottleneck": False, "head": "flatten"}],
    "squeezenet": [{"skip": True, "late": False}, {"pointwise": 0, "head": "flatten"}],
}


@pytest.mark.parametrize(
    ("name", "options"),
    [(n, o) for n, those in BOTH_WAYS.items() for o in those],
    ids=str,
)
def test_switches_pass_the_contract(name, options):
    options = {"activation": "silu", "pooling": "average", "width": 4, **options}
    options["resolution"] = 16
    found = check_architecture(name, [(1, 8, 8)], num_outputs=(3,), options=options)
    assert found.notes == ()
    assert found.obstacles == {}

"""Residual, wide, squeezed and dense networks, MobileNetV2 and EfficientNet."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial import zoo
from archtrial.errors import ArmError
from archtrial.specs import parse_spec
from archtrial.testing import check_architecture
from archtrial.zoo import arms
from archtrial.zoo.depth import StochasticDepth
from archtrial.zoo.layers import SqueezeExcitation

SWITCHES = {
    "resnet": {
        "depth": (1, 2), "block": "bottleneck", "stem": "imagenet", "skip": False,
        "shortcut": "projection", "preactivation": True, "activation": "gelu",
        "squeeze": True, "head": "flatten", "stochastic_depth": 0.3, "resolution": 8,
    },
    "se_resnet": {
        "block": "bottleneck", "stem": "imagenet", "squeeze": False, "reduction": 2,
        "skip": False, "shortcut": "projection", "activation": "gelu",
        "head": "flatten", "stochastic_depth": 0.3, "resolution": 8,
    },
    "wide_resnet": {
        "depth": (1, 2), "widen": 1, "skip": False, "activation": "gelu",
        "head": "flatten", "stochastic_depth": 0.3, "resolution": 8,
    },
    "densenet": {
        "depth": (1, 2), "stem": "imagenet", "bottleneck": False, "compression": 0.0,
        "skip": False, "activation": "gelu", "pooling": "max", "head": "flatten",
        "resolution": 8,
    },
    "mobilenet_v2": {
        "depth": (1, 2), "expansion": 2, "stem": "imagenet", "convolution": "full",
        "linear": False, "skip": False, "activation": "gelu", "head": "flatten",
        "resolution": 8,
    },
    "efficientnet": {
        "depth": (1, 2), "depth_multiplier": 1.5, "width_multiplier": 0.5,
        "expansion": 2, "stem": "imagenet", "convolution": "full", "squeeze": False,
        "skip": False, "activation": "gelu", "head": "flatten",
        "stochastic_depth": 0.3, "resolution": 8,
    },
}  # fmt: skip
FAMILIES = list(SWITCHES)
SETTINGS = [
    *((name, {}) for name in FAMILIES),
    *((n, {o: value}) for n in FAMILIES for o, value in SWITCHES[n].items()),
    *((n, {"norm": norm}) for n in FAMILIES for norm in ("none", "layer", "group")),
    ("resnet", {"preactivation": True, "shortcut": "projection", "squeeze": True}),
    ("resnet", {"block": "bottleneck", "shortcut": "projection", "norm": "none"}),
    ("densenet", {"pooling": "stride"}),
]
# Small, with one end of each dimension, so that all of them together take a minute.
SIZES = {
    "resnet": {"width": 4, "depth": 1},
    "se_resnet": {"width": 4, "depth": 1},
    "wide_resnet": {"width": 4, "depth": 1, "widen": 2},
    "densenet": {"width": 4, "depth": 2},
    "mobilenet_v2": {"width": 4, "depth": 2},
    "efficientnet": {"width": 4, "depth": 2},
}


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def build(written, shape=(3, 32, 32), outputs=10):
    _, name, options = parse_spec(written)
    torch.manual_seed(0)
    return arms.find(name, options).build(shape, outputs, {})


def blocks(module, kind="_Block"):
    return [layer for layer in module.modules() if type(layer).__name__ == kind]


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        (*setting, ((2, 6, 7), (12,))[index % 2])
        for index, setting in enumerate(SETTINGS)
    ],
    ids=str,
)
def test_each_switch_can_be_put_on_trial(name, options, shape):
    fixed = {**SIZES[name], **options}
    checked = check_architecture(name, [shape], num_outputs=(3,), options=fixed)
    assert not checked.obstacles


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet"])
def test_depthwise_convolutions_start_at_the_scale_of_full_ones(name):
    """With norms any scale does; without, outputs would vanish with the channels."""
    x = torch.randn(64, 3, 16, 16)
    spread = {}
    for convolution in ("depthwise", "full"):
        options = f"convolution={convolution}, norm=none, squeeze=false"
        options = options if name == "efficientnet" else options[: options.rindex(",")]
        module = build(f"{name}({options}, width=16)", (3, 16, 16)).eval()
        spread[convolution] = float(module(x).detach().std(0).mean())
        for layer in convolutions(module):
            fan_out = layer.out_channels // layer.groups * layer.kernel_size[0] ** 2
            expected = (2 / fan_out) ** 0.5
            assert float(layer.weight.detach().std()) == pytest.approx(
                expected, rel=0.25
            )
    assert spread["depthwise"] > spread["full"] / 10


# ------------------------------------------------------------------ the published ones

SIDES = {"efficientnet_b1": 240, "efficientnet_b2": 260}
OF_TORCHVISION = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "densenet121": "densenet121",
    "mobilenet_v2_imagenet": "mobilenet_v2",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_b1": "efficientnet_b1",
}


# The papers round; exact counts are those of torchvision and timm.
@pytest.mark.parametrize(
    ("name", "shape", "outputs", "count"),
    [
        ("resnet18", (3, 224, 224), 1000, 11_689_512),
        ("resnet34", (3, 224, 224), 1000, 21_797_672),
        ("resnet50", (3, 224, 224), 1000, 25_557_032),
        ("resnet20", (3, 32, 32), 10, 269_722),
        ("densenet121", (3, 224, 224), 1000, 7_978_856),
        ("densenet_bc100", (3, 32, 32), 10, 769_162),
        ("mobilenet_v2_imagenet", (3, 224, 224), 1000, 3_504_872),
        ("efficientnet_b0", (3, 224, 224), 1000, 5_288_548),
        ("efficientnet_b1", (3, 224, 224), 1000, 7_794_184),
        ("wide_resnet28_10", (3, 32, 32), 10, 36_479_194),
    ],
)
def test_has_the_published_parameter_count(name, shape, outputs, count):
    with torch.device("meta"):
        assert parameters(zoo.get(name).function(shape, outputs)) == count


def test_squeezing_adds_the_papers_parameters():
    with torch.device("meta"):
        plain, squeezed = (
            parameters(zoo.get(name).function((3, 224, 224), 1000))
            for name in ("resnet50", "se_resnet50")
        )
    stages = {256: 3, 512: 4, 1024: 6, 2048: 3}  # blocks by channels
    weights = sum(2 * c * c // 16 * count for c, count in stages.items())  # equation 5
    biases = sum((c + c // 16) * count for c, count in stages.items())
    assert weights == 2_514_944
    assert squeezed - plain == weights + biases


@pytest.mark.parametrize(("name", "theirs"), OF_TORCHVISION.items())
def test_computes_what_torchvision_does(name, theirs):
    models = pytest.importorskip(
        "torchvision.models", reason="torchvision is not installed"
    )
    side = SIDES.get(name, 64)  # what is smaller takes less time
    mine = zoo.get(name).function((3, side, side), 1000)
    other = getattr(models, theirs)(weights=None)
    for layer in other.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
    x = torch.randn(2, 3, side, side)
    other.train()(x)  # so that running statistics are no longer 0 and 1
    given = zip(mine.state_dict().items(), other.state_dict().values(), strict=True)
    mine.load_state_dict({name: value.view(own.shape) for (name, own), value in given})
    if "efficientnet_b0" in name:
        mine = nn.Sequential(*list(mine)[1:])  # without its resizing to 224
    with torch.no_grad():
        torch.testing.assert_close(mine.eval()(x), other.eval()(x))


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_keep_the_scale_of_what_goes_through(name):
    module = build(f"{name}(norm=none)").train()
    outputs = module(torch.randn(64, 3, 32, 32))
    assert 0.01 < outputs.std() < 100


# ------------------------------------------------------------------------------ ResNet


def test_default_resnet_is_the_papers_of_8_layers():
    module = build("resnet").eval()
    stem, *pairs, head = [
        m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 32, 32)
    first, *others = norms
    h = torch.relu(first(functional.conv2d(x, stem.weight, padding=1)))
    for index, (one, two) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        stride = 1 if index == 0 else 2
        f = functional.conv2d(h, one.weight, stride=stride, padding=1)
        f = torch.relu(others[2 * index](f))
        f = others[2 * index + 1](functional.conv2d(f, two.weight, padding=1))
        around = torch.zeros_like(f)
        around[:, : h.shape[1]] = h[:, :, ::stride, ::stride]
        h = torch.relu(f + around)
    assert h.shape == (2, 64, 8, 8)
    torch.testing.assert_close(module(x), head(h.mean((2, 3))))


@pytest.mark.parametrize("name", ["resnet", "resnet20", "se_resnet", "resnet(depth=2)"])
def test_without_its_skip_connections_a_network_is_the_same_but_for_these(name):
    with_them = build(name)
    without = build(f"{name.rstrip(')')}{', ' if '(' in name else '('}skip=false)")
    mine, theirs = with_them.state_dict(), without.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    first, second = blocks(with_them)[0], blocks(without)[0]
    x = torch.randn(2, 16, 32, 32)
    torch.testing.assert_close(first(x), torch.relu(first.branch(x) + x))
    torch.testing.assert_close(second(x), torch.relu(first.branch(x)))


def test_projections_go_with_the_skip_connections():
    with torch.device("meta"):
        function, shape = zoo.get("resnet50").function, (3, 224, 224)
        projections = [
            (64, 256), (256, 512), (512, 1024), (1024, 2048)
        ]  # fmt: skip
        added = sum(i * o + 2 * o for i, o in projections)
        both = parameters(function(shape, 1000))
        assert both - parameters(function(shape, 1000, skip=False)) == added
        padded = function(shape, 1000, shortcut="padding")
        assert parameters(padded) == both - added


def test_with_preactivation_a_path_of_identities_leads_through_a_stage():
    module = build("resnet(preactivation=true, depth=3)")
    stage = blocks(module)[:3]
    h = x = torch.randn(2, 16, 8, 8)
    for block in stage:
        h = block(h)
        for parameter in block.parameters():
            parameter.requires_grad_(False).zero_()
    assert not torch.allclose(h, x)
    for block in stage:
        h = block(x)
        torch.testing.assert_close(h, x)  # negative values, too


def test_a_projection_reads_what_the_branch_does_with_preactivation():
    module = build("resnet(preactivation=true, shortcut=projection)")
    block = blocks(module)[1]
    x = torch.randn(2, 16, 8, 8)
    h = block.first(x)
    torch.testing.assert_close(block(x), block.branch(h) + block.shortcut(h))


def test_depth_is_of_each_stage():
    for written, layers in [
        ("resnet(depth=3)", 20),
        ("resnet(depth=[3, 4, 6, 3])", 34),
        ("resnet(depth=[1, 1], block=bottleneck)", 8),
        ("resnet(depth=[2])", 6),
    ]:
        module = build(written)
        weighted = [
            m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))
        ]
        assert len(weighted) == layers


def test_stochastic_depth_rises_to_the_last_block():
    for name in ("resnet", "se_resnet", "wide_resnet", "efficientnet"):
        module = build(f"{name}(depth=2, stochastic_depth=.5)")
        rates = [m.p for m in module.modules() if isinstance(m, StochasticDepth)]
        rising = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
        if name == "efficientnet":
            # The first block of a stage changes the shape: there is no connection.
            rising[2] = rising[4] = 0.0
        assert rates == pytest.approx(rising)


@pytest.mark.parametrize(
    "name", ["resnet", "se_resnet", "wide_resnet", "efficientnet", "efficientnet_b0"]
)
def test_stochastic_depth_needs_skip_connections(name):
    with pytest.raises(ArmError, match="stochastic depth leaves out") as caught:
        build(f"{name}(skip=false, stochastic_depth=.2)")
    assert "Write stochastic_depth=0, or skip=true." in str(caught.value)
    build(f"{name}(skip=false, stochastic_depth=0)")
    build(f"{name}(skip=true, stochastic_depth=.2)")


# ------------------------------------------------------------------------- wide, squeezed


def test_a_wide_network_drops_between_the_convolutions_of_a_block():
    for block in blocks(build("wide_resnet(dropout=.3)")):
        kinds = [type(layer).__name__ for layer in block.branch]
        assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "Dropout", "Conv2d"]
        assert block.branch[3].p == 0.3


def test_a_network_of_no_greater_width_is_a_residual_one_with_preactivation():
    one = build("wide_resnet(width=16, widen=1)").eval()
    other = build("resnet(preactivation=true, shortcut=projection)").eval()
    assert parameters(one) == parameters(other)
    widths = [c.out_channels for c in convolutions(build("wide_resnet"))]
    assert widths == [8, 16, 16, 16, 32, 32, 32, 64, 64, 64]


def test_channels_are_scaled_by_what_all_of_them_are_on_average():
    module = build("se_resnet")
    squeezing = [m for m in module.modules() if isinstance(m, SqueezeExcitation)]
    assert [m.squeeze.out_features for m in squeezing] == [4, 8, 16]
    block = blocks(module)[0]
    x = torch.randn(2, 16, 8, 8)
    *branch, last = block.branch
    f = nn.Sequential(*branch)(x)
    hidden = torch.relu(last.squeeze(f.mean((2, 3))))
    scale = torch.sigmoid(last.excite(hidden))[:, :, None, None]
    torch.testing.assert_close(block(x), torch.relu(f * scale + x))


@pytest.mark.parametrize("written", ["resnet", "resnet20", "resnet(norm=group)"])
def test_without_squeezing_it_is_the_residual_network(written):
    options = {**zoo.get("resnet").options, **parse_spec(written)[2]}
    del options["preactivation"]
    if written == "resnet20":
        options["depth"] = 3
    module = zoo.get("se_resnet").function((3, 32, 32), 10, **options)
    assert parameters(module) == parameters(build(written))
    module.load_state_dict(build(written).state_dict())
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(module(x), build(written)(x))


# --------------------------------------------------------------------------------- dense


def test_a_dense_layer_reads_all_before_it():
    module = build("densenet(depth=3, width=5)")
    layers = blocks(module, "_Layer")
    x = torch.randn(2, 10, 8, 8)
    one = layers[0].layer(x)
    two = layers[1].layer(torch.cat([x, one], 1))
    both = layers[1](layers[0](x))
    torch.testing.assert_close(both, torch.cat([x, one, two], 1))
    read = [layer.layer[0].num_features for layer in layers]
    assert read == [10, 15, 20, 12, 17, 22, 13, 18, 23]  # halved between blocks


def test_a_layer_that_hands_on_its_own_channels_alone_reads_the_last():
    module = build("densenet(depth=3, width=5, skip=false, compression=0)")
    read = [layer.layer[0].num_features for layer in blocks(module, "_Layer")]
    assert read == [10, 5, 5, 5, 5, 5, 5, 5, 5]


def test_transitions_never_run_out_of_positions_or_channels():
    for side, pooling in itertools.product(range(1, 10), ["average", "max", "stride"]):
        module = build(
            f"densenet(depth=[1, 1, 1, 1, 1], width=2, compression=.9,"
            f" pooling={pooling}, norm=none)",
            (2, side, 3),
        )
        assert module(torch.randn(2, 2, side, 3)).isfinite().all()


def test_a_transition_averages_all_positions_of_an_odd_side():
    module = build("densenet(depth=[1, 1], width=2)", (1, 5, 5))
    pool = next(m for m in module.modules() if isinstance(m, nn.AvgPool2d))
    x = torch.arange(25.0).view(1, 1, 5, 5)
    y = pool(x)
    assert y.shape == (1, 1, 3, 3)
    assert y[0, 0, 2, 2] == 24
    assert y[0, 0, 0, 2] == (4 + 9) / 2


# ------------------------------------------------------------------- inverted residuals


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet"])
def test_a_block_is_narrow_at_its_ends_and_wide_inside(name):
    for block in blocks(build(f"{name}(depth=[1, 2, 2])")):
        *_, last = kernels = convolutions(block)
        filtering = kernels[-2]
        inside = filtering.in_channels
        assert filtering.groups == inside == filtering.out_channels
        assert inside == last.in_channels
        if len(kernels) == 3:
            assert inside == 6 * kernels[0].in_channels
        adds = (
            filtering.stride == (1, 1) and kernels[0].in_channels == last.out_channels
        )
        assert block.skip == adds
    added = [b.skip for b in blocks(build(f"{name}(depth=[1, 2, 2])"))]
    assert added == [False, False, True, False, True]
    full = build(f"{name}(convolution=full)")
    assert {c.groups for c in convolutions(full)} == {1}


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet"])
def test_a_skip_connection_adds_and_can_be_taken_out(name):
    with_it, without = build(name), build(f"{name}(skip=false)")
    assert parameters(with_it) == parameters(without)
    one, other = (
        [b for b in blocks(module) if convolutions(b)[-2].stride == (1, 1)][1]
        for module in (with_it, without)
    )
    x = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(one(x), one.branch(x) + x)
    torch.testing.assert_close(other(x), one.branch(x))


def test_nothing_follows_a_linear_projection_but_its_norm():
    for linear, last in [("true", nn.BatchNorm2d), ("false", nn.ReLU6)]:
        for block in blocks(build(f"mobilenet_v2(linear={linear})")):
            assert type(block.branch[-1]) is last


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet"])
def test_more_stages_than_the_table_has_are_refused(name):
    build(f"{name}(depth=[1, 1, 1, 1, 1, 1, 1], width=2)")
    for depth in ([1] * 8, []):
        with pytest.raises(ArmError, match=f"{name} has from 1 to 7 stages") as caught:
            build(f"{name}(depth={depth})")
        assert f"depth = {depth}" in str(caught.value)
    way_out = str(caught.value).partition("such as ")[2].rstrip(".")
    build(f"{name}({way_out})")


@pytest.mark.parametrize("name", ["resnet", "se_resnet", "wide_resnet", "densenet"])
def test_a_network_of_no_stages_is_refused(name):
    with pytest.raises(ArmError, match=f"{name} has at least one") as caught:
        build(f"{name}(depth=[])")
    assert "depth = []" in str(caught.value)
    way_out = str(caught.value).partition("such as ")[2].rstrip(".")
    build(f"{name}({way_out}, width=2)")


# By hand from the paper's rule: multiples of 8, no more than a tenth below.
@pytest.mark.parametrize(
    ("multiplier", "widths"),
    [
        (1.0, [16, 24, 40, 80, 112, 192, 320]),
        (1.1, [16, 24, 48, 88, 120, 208, 352]),
        (1.2, [24, 32, 48, 96, 136, 232, 384]),
        (0.5, [8, 16, 24, 40, 56, 96, 160]),
    ],
)
def test_width_grows_by_multiples_of_8(multiplier, widths):
    with torch.device("meta"):
        module = zoo.get("efficientnet_b0").function(
            (3, 32, 32), 10, width_multiplier=multiplier, depth=1, resolution=None
        )
        stages = zoo.get("efficientnet").function(
            (3, 32, 32), 10, width_multiplier=multiplier, depth=(1,) * 7, width=16
        )
    assert [convolutions(b)[-1].out_channels for b in blocks(stages)] == widths
    assert [convolutions(b)[-1].out_channels for b in blocks(module)] == widths[:3]


def test_depth_is_rounded_up():
    with torch.device("meta"):
        for name, count in [("b0", 16), ("b1", 23), ("b2", 23)]:
            module = zoo.get(f"efficientnet_{name}").function((3, 64, 64), 10)
            assert len(blocks(module)) == count


@pytest.mark.parametrize("option", ["depth_multiplier", "width_multiplier"])
def test_a_multiplier_is_a_number_that_leaves_something(option):
    build(f"efficientnet({option}=.1)")
    for value in ("0", "-1", "nan", "inf", "true", "big"):
        with pytest.raises(ArmError, match=f"{option} of efficientnet"):
            build(f"efficientnet({option}={value})")


# ------------------------------------------------------------------------------- inputs


@pytest.mark.parametrize("name", FAMILIES)
def test_refuses_a_shape_that_it_cannot_read(name):
    for shape in [(1, 2, 3, 4), ()]:
        with pytest.raises(ArmError, match=f"{name} needs sequences") as caught:
            build(name, shape)
        assert "mlp or linear" in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(1,), (2, 1), (1, 1, 5)], ids=str)
def test_reads_the_smallest_inputs(name, shape):
    module = build(f"{name}(norm=layer)", shape)
    assert module(torch.randn(3, *shape)).shape == (3, 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_reads_inputs_at_a_resolution(name):
    module = build(f"{name}(resolution=16)", (3, 20, 33))
    x = torch.randn(2, 3, 20, 33)
    resized = functional.interpolate(x, [16, 16], mode="bilinear")
    rest = nn.Sequential(*list(module)[1:])
    torch.testing.assert_close(module.eval()(x), rest.eval()(resized))

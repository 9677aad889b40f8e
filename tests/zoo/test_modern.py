"""ViT, MLP-Mixer and ConvNeXt, and the attention that they share with sequences."""

import functools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial import zoo
from archtrial.data import Inputs
from archtrial.errors import ArmError
from archtrial.specs import parse_spec
from archtrial.testing import check_architecture
from archtrial.training import cost
from archtrial.zoo import arms, attention
from archtrial.zoo.depth import StochasticDepth
from archtrial.zoo.layers import Spatial

FAMILIES = ["convnext", "mixer", "vit"]
SWITCHES = {
    "convnext": {
        "depth": (1, 2), "stem": 1, "kernel": 3, "convolution": "full", "skip": False,
        "activation": "silu", "squeeze": True, "layer_scale": 0.0, "head": "flatten",
        "stochastic_depth": 0.3, "resolution": 20,
    },
    "mixer": {
        "patch": 3, "token_mixing": False, "head": "flatten", "skip": False,
        "activation": "silu", "gated": True, "stochastic_depth": 0.3, "resolution": 20,
    },
    "vit": {
        "heads": 5, "patch": 3, "head": "average", "norm_first": False, "skip": False,
        "activation": "silu", "gated": True, "attention_dropout": 0.3,
        "stochastic_depth": 0.3, "resolution": 20,
    },
}  # fmt: skip
SETTINGS = [
    *((name, {}) for name in FAMILIES),
    *((n, {o: value}) for n in FAMILIES for o, value in SWITCHES[n].items()),
    *((n, {"norm": norm}) for n in FAMILIES for norm in ("none", "batch", "group")),
    *(("vit", {"positions": positions}) for positions in ("sinusoidal", "none")),
    ("vit", {"head": "flatten"}),
    ("vit", {"patch": 1, "resolution": 5}),
    ("vit", {"norm_first": False, "gated": True, "norm": "batch"}),
    ("convnext", {"norm": "batch", "activation": "relu", "convolution": "full"}),
]


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def build(written, shape=(3, 32, 32), outputs=10):
    _, name, options = parse_spec(written)
    return arms.find(name, options).build(shape, outputs, {})


# As torchvision and timm count them; the papers round.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("convnext_t", 28_589_128),
        ("convnext_s", 50_223_688),
        ("convnext_b", 88_591_464),
        ("vit_b16", 86_567_656),
        ("vit_l16", 304_326_632),
        ("mixer_b16", 59_880_472),
    ],
)
def test_has_the_published_parameter_count(name, count):
    with torch.device("meta"):
        assert parameters(zoo.get(name).function((3, 224, 224), 1000)) == count


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
def test_keeps_the_contract_and_shares_fleets(name, options):
    """With few dimensions of the search, which test_zoo.py goes through."""
    small = {"depth": 1, "width": 16, **options}
    for shape in [(2, 20), (1, 12, 13)]:
        checked = check_architecture(name, [shape], num_outputs=(3,), options=small)
        assert not checked.notes
        assert not checked.obstacles


@pytest.mark.parametrize("name", FAMILIES)
def test_reads_token_ids(name):
    checked = check_architecture(
        name, [(16,)], num_outputs=(3,), options={"depth": 1, "width": 16}, vocabulary=7
    )
    assert not checked.obstacles
    given = Inputs.of_shape((16,), vocabulary=7)
    module = arms.find(name, {"embedding": 5}).build(given, 3, {})
    assert module(torch.randint(0, 7, (4, 16))).shape == (4, 3)


# --------------------------------------------------------------------------- attention


def test_attention_is_torchs_own():
    own = attention.SelfAttention(12, 3)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(own.project.weight)
        theirs.in_proj_bias.copy_(own.project.bias.normal_())
        theirs.out_proj.weight.copy_(own.output.weight)
        theirs.out_proj.bias.copy_(own.output.bias.normal_())
    x = torch.randn(4, 7, 12)
    within = torch.arange(7) < torch.tensor([[7], [1], [3], [5]])
    for mask in (None, within):
        behind = None if mask is None else ~mask
        expected, _ = theirs(x, x, x, key_padding_mask=behind)
        torch.testing.assert_close(own(x, mask), expected, rtol=1e-4, atol=1e-5)
    # So are the weights that are made where something is dropped: of nearly nothing.
    own.attention_dropout.p = 1e-12
    for mask in (None, within):
        behind = None if mask is None else ~mask
        expected, _ = theirs(x, x, x, key_padding_mask=behind)
        torch.testing.assert_close(own.train()(x, mask), expected, rtol=1e-4, atol=1e-5)


def test_attention_drops_weights_in_training_alone():
    layer = attention.SelfAttention(8, 2, attention_dropout=0.5)
    x = torch.randn(4, 6, 8)
    assert torch.equal(layer.eval()(x), layer(x))
    assert not torch.allclose(layer.train()(x), layer(x))


@pytest.mark.parametrize(("width", "heads"), [(10, 4), (3, 5), (9, 2)])
def test_any_width_has_any_number_of_heads(width, heads):
    layer = attention.SelfAttention(width, heads)
    assert layer.output.in_features == heads * math.ceil(width / heads)
    assert layer(torch.randn(2, 5, width)).shape == (2, 5, width)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_what_is_not_within_reaches_no_token_that_is(norm, norm_first):
    block = attention.EncoderBlock(16, 2, 20, norm=norm, norm_first=norm_first).eval()
    x = torch.randn(3, 7, 16)
    within = torch.arange(7) < torch.tensor([[7], [1], [4]])
    other = torch.where(within.unsqueeze(2), x, 9.0)
    one, two = block(x, within), block(other, within)
    torch.testing.assert_close(one[within], two[within])
    assert not torch.allclose(block(x)[within], block(other)[within])


def test_norm_comes_first_or_last():
    first = attention.EncoderBlock(16, 2, 20, norm_first=True)
    last = attention.EncoderBlock(16, 2, 20, norm_first=False)
    last.load_state_dict(first.state_dict())
    x = 3 * torch.randn(3, 7, 16)
    h = x + first.attention(first.first_norm(x))
    expected = h + first.feed_forward(first.second_norm(h))
    torch.testing.assert_close(first(x), expected)
    h = last.first_norm(x + last.attention(x))
    expected = last.second_norm(h + last.feed_forward(h))
    torch.testing.assert_close(last(x), expected)
    mean, deviation = last(x).mean(2), last(x).std(2, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation, torch.ones_like(mean), atol=1e-3, rtol=0)


def test_a_gate_multiplies_and_costs_no_parameters():
    plain = attention.FeedForward(30, 120)
    gated = attention.FeedForward(30, 120, gated=True)
    assert parameters(gated) == pytest.approx(parameters(plain), rel=0.02)
    x = torch.randn(4, 30)
    units = functional.gelu(gated.expand(x)) * gated.gate(x)
    torch.testing.assert_close(gated(x), gated.contract(units))


def test_group_norm_of_a_token_is_over_groups_of_some_values():
    for width, groups in [(8, 1), (16, 2), (48, 6), (96, 8), (7, 1), (100, 5)]:
        norm = attention.token_norm("group", width)
        assert norm.norm.num_groups == groups
        x = torch.randn(2, 5, width)
        parts = norm(x).unflatten(2, (groups, -1))
        deviation = parts.std(3, correction=0)
        torch.testing.assert_close(
            deviation, torch.ones_like(deviation), atol=1e-2, rtol=0
        )


def test_sinusoids_are_the_papers():
    table = attention.sinusoids((50,), 16)
    for position in (0, 3, 49):
        for i in range(8):
            angle = position / 10_000 ** (2 * i / 16)
            assert float(table[position, 2 * i]) == pytest.approx(
                math.sin(angle), abs=1e-5
            )
            assert float(table[position, 2 * i + 1]) == pytest.approx(
                math.cos(angle), abs=1e-5
            )


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("sides", [(9,), (3, 4)])
def test_sinusoids_have_any_width(sides, width):
    table = attention.sinusoids(sides, width)
    assert table.shape == (math.prod(sides), width)
    assert table.isfinite().all()
    if width > 3:
        assert len(table.unique(dim=0)) == math.prod(sides)
    if len(sides) == 2 and width == 16:  # rows, then columns
        grid = table.view(3, 4, 16)
        assert torch.equal(grid[1, 0, :8], grid[1, 3, :8])
        assert torch.equal(grid[0, 2, 8:], grid[2, 2, 8:])


@pytest.mark.parametrize("shape", [(10,), (2, 9), (3, 6, 7)], ids=str)
def test_patches_are_cut_and_their_rest_is_filled_with_zeros(shape):
    spatial = Spatial.of("vit", shape, least=4)
    patches = attention.Patches(spatial, 4, 5)
    x = torch.randn(2, *((1, *shape) if len(shape) == 1 else shape))
    tokens = patches(x)
    assert patches.sides == tuple(-(-side // 4) for side in spatial.sides)
    assert tokens.shape == (2, math.prod(patches.sides), 5)
    if len(shape) == 3:
        last = functional.pad(x[:, :, 4:, 4:], (0, 1, 0, 2))  # of 3 rows, 3 columns
        weights = patches.project.weight.flatten(1)
        expected = last.flatten(1) @ weights.T
        torch.testing.assert_close(tokens[:, -1], expected, rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------- ViT


def test_vit_is_the_papers():
    """Equations 1 to 4, from its parameters."""
    module = build("vit(depth=2, width=24, heads=3)", (3, 8, 12))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(5, 3, 8, 12)
    conv = module.patches.project
    patches = x.unfold(2, 4, 4).unfold(3, 4, 4)  # (N, C, 2, 3, 4, 4)
    rows = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    z = rows @ conv.weight.flatten(1).T + conv.bias
    z = torch.cat([module.token.expand(5, 1, -1), z], 1) + module.positions.table
    for block in module.blocks:
        h = block.first_norm(z)
        q, k, v = (h @ w.T + b for w, b in zip(
            block.attention.project.weight.chunk(3),
            block.attention.project.bias.chunk(3),
            strict=True,
        ))  # fmt: skip
        heads = []
        for part in (slice(0, 8), slice(8, 16), slice(16, 24)):
            weights = torch.softmax(q[..., part] @ k[..., part].mT / math.sqrt(8), 2)
            heads.append(weights @ v[..., part])
        z = z + block.attention.output(torch.cat(heads, 2))
        h = block.second_norm(z)
        z = z + block.feed_forward.contract(
            functional.gelu(block.feed_forward.expand(h))
        )
    expected = module.head(module.norm(z)[:, 0])
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_positions_alone_tell_vit_where_patches_stand():
    x = torch.randn(4, 1, 8, 8)
    swapped = x.clone()
    swapped[..., :4], swapped[..., 4:] = x[..., 4:], x[..., :4]
    for positions in ("learned", "sinusoidal", "none"):
        for head in ("token", "average"):
            module = build(f"vit(positions={positions}, head={head})", (1, 8, 8)).eval()
            same = torch.allclose(module(x), module(swapped), atol=1e-5)
            assert same == (positions == "none")


@pytest.mark.parametrize("head", ["token", "average", "flatten"])
@pytest.mark.parametrize(
    "options", ["", ", resolution=22", ", norm=batch", ", patch=1"]
)
def test_vit_reads_series_up_to_their_ends(head, options):
    module = build(f"vit(head={head}{options})", (2, 11)).eval()
    x = torch.randn(4, 2, 11)
    lengths = torch.tensor([11, 1, 5, 8])
    within = torch.arange(11) < lengths[:, None]
    x = torch.where(within[:, None], x, 0)
    together = module(x, lengths)
    assert not torch.allclose(together[1:], module(x)[1:], atol=1e-6)
    torch.testing.assert_close(together[:1], module(x[:1]), rtol=1e-4, atol=1e-5)
    for index in range(4):
        alone = module(x[index : index + 1], lengths[index : index + 1])
        torch.testing.assert_close(together[index], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["token", "average"])
def test_padding_changes_nothing_of_what_vit_reads(head):
    module = build(f"vit(head={head})", (2, 12)).eval()
    x = torch.randn(3, 2, 12)
    lengths = torch.tensor([4, 5, 8])
    x = torch.where(torch.arange(12) < lengths[:, None, None], x, 0)
    there = torch.arange(3)[:, None] < -(-lengths // 4)[:, None, None]
    other = 5 * torch.randn(48)
    hook = module.patches.register_forward_hook(
        lambda _, __, tokens: torch.where(there, tokens, other)
    )
    changed = module(x, lengths)
    hook.remove()
    assert torch.equal(module(x, lengths), changed)


def test_what_attention_drops_changes_no_count_of_operations():
    x = torch.zeros(4, 1, 12, 12)
    none, some = (
        cost.training(build(f"vit(attention_dropout={p})", (1, 12, 12)), x, 1)
        for p in (0, 0.3)
    )
    assert none == some
    assert none > 2 * 3 * 4 * 9 * 48 * 48 * 3 * 12  # at the least its linear layers


# ------------------------------------------------------------------- Mixer, ConvNeXt


def test_mixer_mixes_tokens_or_treats_each_alone():
    x = torch.randn(4, 1, 8, 8)
    other = x.clone()
    other[..., :4, :4] += 1
    for mixes in (True, False):
        written = f"mixer(token_mixing={str(mixes).lower()})"
        patches, *blocks = build(written, (1, 8, 8))[:4]
        one, two = patches(x), patches(other)
        for block in blocks:
            one, two = block(one), block(two)
        assert torch.allclose(one[:, 1:], two[:, 1:], atol=1e-6) != mixes
        assert not torch.allclose(one[:, 0], two[:, 0])


def test_a_mixer_block_is_the_papers():
    block = build("mixer(depth=1, width=24)", (3, 8, 12))[1]
    x = torch.randn(4, 6, 24)
    tokens, channels = block.over_positions, block.over_channels
    assert (tokens.expand.in_features, tokens.expand.out_features) == (6, 12)
    assert channels.expand.out_features == 96
    u = x + tokens.contract(
        functional.gelu(tokens.expand(block.first_norm(x).transpose(1, 2)))
    ).transpose(1, 2)
    y = u + channels.contract(functional.gelu(channels.expand(block.second_norm(u))))
    torch.testing.assert_close(block(x), y)


@pytest.mark.parametrize("shape", [(2, 9), (3, 6, 7)], ids=str)
def test_a_convnext_block_is_the_papers(shape):
    spatial = Spatial.of("convnext", shape)
    module = build("convnext(depth=[1], width=16, stem=1)", shape)
    block = next(layer for layer in module if hasattr(layer, "feed_forward"))
    assert block.convolution.groups == 16
    x = torch.randn(4, 16, *spatial.sides)
    h = block.convolution(x).movedim(1, -1)
    h = functional.layer_norm(h, (16,), eps=1e-6)
    h = block.feed_forward.contract(functional.gelu(block.feed_forward.expand(h)))
    expected = x + (block.scale * h).movedim(-1, 1)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(block.scale, torch.full((16,), 0.1))


def test_convnexts_stages_halve_sides_and_double_channels():
    sides = []
    module = build("convnext(depth=[1, 2, 1], width=8)", (3, 32, 32))
    for layer in module:
        layer.register_forward_hook(lambda _, __, y: sides.append(tuple(y.shape[1:])))
    module(torch.zeros(2, 3, 32, 32))
    assert [s for s in dict.fromkeys(sides) if len(s) == 3] == [
        (8, 16, 16), (16, 8, 8), (32, 4, 4),
    ]  # fmt: skip
    assert sides[-1] == (10,)


def test_published_variants_have_the_papers_rates():
    module = build("convnext_t(width=8)", (3, 64, 64))
    rates = [m.p for m in module.modules() if isinstance(m, StochasticDepth)]
    assert rates == pytest.approx([0.1 * i / 17 for i in range(18)])
    scales = [m.scale for m in module if getattr(m, "scale", None) is not None]
    assert all((scale == 1e-6).all() for scale in scales)
    assert len(scales) == 18


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("written", "shape", "rule"),
    [
        ("vit(patch=16)", (1, 8, 8), "at least 16 positions"),
        ("vit_b16", (3, 15, 32), "at least 16 positions"),
        ("vit", (3,), "at least 4 positions"),
        ("vit", (2, 3), "at least 4 positions"),
        ("mixer", (1, 3, 8), "at least 4 positions"),
        ("mixer_s32", (3, 28, 28), "at least 32 positions"),
        ("convnext", (7,), "at least 8 positions"),
        ("convnext_t", (3, 28, 28), "at least 32 positions"),
        ("convnext(depth=[1, 1, 1, 1])", (1, 8, 8), "at least 16 positions"),
    ],
)
def test_a_side_that_is_too_short_is_one_message_whose_ways_out_work(
    written, shape, rule
):
    with pytest.raises(ArmError, match=rule) as caught:
        build(written, shape)
    said = str(caught.value)
    assert str(shape) in said
    _, name, options = parse_spec(written)
    resized = said.partition("Resize them: ")[2].partition(". ")[0]
    instead = said.rpartition(": ")[2].rstrip(".")
    for typed in (resized, instead):
        _, _, more = parse_spec(f"{name}({typed})")
        module = arms.find(name, {**options, **more}).build(shape, 3, {})
        assert module.eval()(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(
    "written", ["vit(patch=8, resolution=4)", "convnext(resolution=4)"]
)
def test_a_resolution_that_is_too_low_names_it(written):
    with pytest.raises(ArmError, match="resolution = 4") as caught:
        build(written)
    assert "Write resolution=8, or more." in str(caught.value)
    build(written.replace("resolution=4", "resolution=8"))


def test_a_convnext_without_a_stage_is_refused():
    with pytest.raises(ArmError, match="one stage at least"):
        build("convnext(depth=[])")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_has_no_channels_and_sides_is_refused(name):
    with pytest.raises(ArmError, match=f"{name} needs sequences") as caught:
        build(name, (1, 2, 3, 4))
    assert "mlp or linear" in str(caught.value)


@pytest.mark.parametrize("name", [*FAMILIES, "convnext_t"])
def test_no_branch_is_left_out_without_a_skip_connection(name):
    written = f"{name}(skip=false, stochastic_depth=0.1)"
    with pytest.raises(ArmError, match="stochastic depth leaves out") as caught:
        build(written)
    assert "stochastic_depth=0, or skip=true" in str(caught.value)
    find = functools.partial(build, shape=(1, 32, 32))
    if name != "convnext_t":
        find(f"{name}(skip=false, stochastic_depth=0)")
        find(f"{name}(skip=true, stochastic_depth=0.1)")

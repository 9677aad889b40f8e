"""Families for tables: KAN layers, categories that are looked up, residual MLP."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import nn

import archtrial
from archtrial import Protocol, data, zoo
from archtrial.data.inputs import Column, Inputs, inputs_of
from archtrial.errors import ArmError
from archtrial.protocol import Splits
from archtrial.specs import parse_spec
from archtrial.testing import check_architecture
from archtrial.trial import Zoo
from archtrial.zoo import arms
from archtrial.zoo.architectures.mlp import KanLayer

MIXED = Inputs(
    (6,),
    "table",
    columns=(Column("size", 0, None), Column("color", 1, 4), Column("new", 4, 3)),
)
NAMES = Inputs((5,), "table", columns=(Column("color", 0, 4), Column("new", 3, 3)))
NUMBERS = Inputs((2,), "table", columns=(Column("a", 0, None), Column("b", 1, None)))
EMBEDDED = [
    ("mlp", {"embedding": 3}),
    ("residual_mlp", {"embedding": 3}),
]
TABLES = [
    *EMBEDDED,
    ("mlp", {"layer": "kan", "width": 6, "embedding": 2}),
    ("ft_transformer", {"dropout": 0.2, "attention_dropout": 0.2}),
]


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def rows_of(inputs, count):
    """Returns examples as modules get them, every category among them."""
    x = torch.randn(count, *inputs.shape)
    for column in inputs.columns:
        if column.categories is not None:
            ids = torch.arange(count) % (column.categories - 1)
            own = nn.functional.one_hot(ids, column.width).float()
            x[:, column.start : column.start + column.width] = own
    return x


@pytest.mark.parametrize("grid", [1, 2, 5, 12])
def test_the_splines_of_a_kan_layer_are_b_splines(grid):
    x = torch.linspace(-8, 8, 201, dtype=torch.float64)
    layer = KanLayer(1, 1, grid).double()
    found = layer.splines(x.unsqueeze(1))[:, 0]
    step = 6 / grid
    knots = -3 + step * np.arange(-3, grid + 4)
    for place in range(grid + 3):
        own = knots[place : place + 5]
        spline = BSpline.basis_element(own, extrapolate=False)(x.numpy())
        expected = torch.from_numpy(np.nan_to_num(spline))
        torch.testing.assert_close(found[:, place], expected, atol=1e-6, rtol=0)
    inside = x.abs() <= 3
    torch.testing.assert_close(
        found.sum(1)[inside], torch.ones(int(inside.sum())).double(), atol=1e-6, rtol=0
    )
    assert (found[x.abs() >= 3 + 3 * step] == 0).all()


def test_a_kan_layer_is_the_papers_sum_of_curves():
    layer = KanLayer(3, 2, 5)
    with torch.no_grad():
        layer.spline_scale.normal_()
    x = torch.randn(4, 3)
    splines = layer.splines(x)
    expected = torch.zeros(4, 2)
    for example in range(4):
        for out in range(2):
            for place in range(3):
                base = nn.functional.silu(x[example, place])
                smooth = (
                    layer.coefficients[out, place] * splines[example, place]
                ).sum()
                expected[example, out] += (
                    layer.base_scale[out, place] * base
                    + layer.spline_scale[out, place] * smooth
                )
    torch.testing.assert_close(layer(x), expected)


def test_a_kan_costs_ten_numbers_for_each_pair():
    network = zoo.get("mlp").function((7,), 3, layer="kan", width=5, depth=1)
    assert parameters(network) == 10 * (7 * 5 + 5 * 3)
    finer = zoo.get("mlp").function((7,), 3, layer="kan", width=5, depth=1, grid=9)
    assert parameters(finer) == (9 + 3 + 2) * (7 * 5 + 5 * 3)


def test_a_kan_learns_a_curve_that_a_line_does_not():
    x = torch.linspace(-3, 3, 128).unsqueeze(1)
    y = torch.sin(2 * x)
    layer = KanLayer(1, 1, 8)
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (layer(x) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.01 < (y - y.mean()).square().mean()


def test_activation_of_kan_layers_is_their_base_function():
    network = zoo.get("mlp").function((4,), 2, layer="kan", activation="tanh")
    bases = [m.base for m in network.modules() if isinstance(m, KanLayer)]
    assert [type(base) for base in bases] == [nn.Tanh] * 3
    assert not any(isinstance(m, (nn.ReLU, nn.SiLU)) for m in network.modules())


def test_a_grid_without_kan_layers_is_refused_and_the_way_out_works():
    with pytest.raises(ArmError, match="a grid is of KAN layers") as caught:
        arms.find("mlp", {"grid": 7}).build((4,), 2, {})
    typed = caught.value.way_out.partition("write ")[2].rstrip(".")
    _, spec, options = parse_spec(typed)
    assert arms.find(spec, options).build((4,), 2, {})[1].linear.coefficients.shape == (
        100,
        4,
        10,
    )


def test_a_misspelt_layer_is_one_message():
    with pytest.raises(ArmError, match=r"layer of mlp is one of linear, kan.*'kam'"):
        arms.find("mlp", {"layer": "kam"})


@pytest.mark.parametrize(("name", "options"), TABLES)
@pytest.mark.parametrize("inputs", [MIXED, NAMES], ids=["mixed", "names"])
def test_categories_are_looked_up(name, options, inputs):
    network = arms.find(name, options).build(inputs, 3, {})
    x = rows_of(inputs, 8)
    assert network(x).shape == (8, 3)
    network(x).square().sum().backward()
    for own, parameter in network.named_parameters():
        assert parameter.grad is not None, own
        assert parameter.grad.abs().sum() > 0, own


@pytest.mark.parametrize(("name", "options"), TABLES)
def test_an_unseen_category_adds_nothing_of_its_own(name, options):
    network = arms.find(name, options).build(MIXED, 3, {})
    optimiser = torch.optim.AdamW(network.parameters(), 0.01, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        network(rows_of(MIXED, 12)).square().sum().backward()
        optimiser.step()
    values = next(m for m in network.modules() if isinstance(m, nn.Embedding))
    unseen = values.weight[[0, 4]]
    assert (unseen == 0).all()
    assert (values.weight[[1, 2, 3, 5, 6]] != 0).all()
    pink = rows_of(MIXED, 4)
    pink[:, 1:4] = 0
    assert torch.isfinite(network.eval()(pink)).all()


def test_mlp_joins_numbers_and_values_that_were_looked_up():
    network = arms.find("mlp", {"embedding": 3}).build(MIXED, 2, {})
    x = rows_of(MIXED, 5)
    numbers, ids = MIXED.parted(x)
    looked_up = network[0].categories.values.weight
    rows = [looked_up[ids[:, 0]], looked_up[ids[:, 1] + 4]]
    torch.testing.assert_close(network[0](x), torch.cat([numbers, *rows], 1))
    assert network[1].linear.in_features == 1 + 2 * 3


@pytest.mark.parametrize("inputs", [NUMBERS, (5,), (1, 8, 8), Inputs.of_shape((5,))])
@pytest.mark.parametrize(("name", "options"), EMBEDDED)
def test_an_embedding_without_categories_is_refused(name, options, inputs):
    with pytest.raises(
        ArmError, match=f"of {name}, whose inputs are numbers"
    ) as caught:
        arms.find(name, options).build(inputs, 2, {})
    assert "Leave embedding out" in str(caught.value)


@pytest.fixture
def table(tmp_path):
    """Two columns of numbers, of which one holds codes, and one of colours."""
    colors = ("red", "green", "blue")
    rows = [f"{i * 7 % 11},{i % 4},{colors[i % 3]},{i % 5 / 2}" for i in range(80)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["size,code,color,price", *rows]))
    return path


def test_a_column_of_numbers_that_holds_names_is_said_so(table):
    declared = {"data": str(table), "challengers": ["linear"], "configurations": 4,
                "effort": 1, "steps": 2, "baseline": "mlp(embedding=3)"}  # fmt: skip
    plain = Zoo.of(Protocol(**declared)).architectures["mlp(embedding=3)"]
    read = data.load(str(table), categorical=("code",)).split(Splits(), 0)
    said = inputs_of(read)
    assert [c.categories for c in said.columns] == [None, 5, 4]
    assert plain.build(said, 1, {})[1].linear.in_features == 1 + 2 * 3


@pytest.mark.parametrize(("name", "options"), TABLES)
def test_tables_train_and_share_a_fleet(name, options):
    found = check_architecture(name, [MIXED, NAMES], options=options, num_outputs=(3,))
    assert found.notes == ()
    assert found.obstacles == {}


def test_embeddings_start_as_published():
    network = arms.find("mlp", {"embedding": 16}).build(MIXED, 2, {})
    weight = network[0].categories.values.weight
    assert weight.abs().max() <= 1 / math.sqrt(16)
    assert weight.abs().max() > 0.9 / math.sqrt(16)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("skip", [True, False])
def test_the_residual_mlp_is_the_papers(norm, skip):
    network = zoo.get("residual_mlp").function((7,), 3, norm=norm, skip=skip, depth=1)
    first, expand, contract, last = [
        m for m in network.modules() if isinstance(m, nn.Linear)
    ]
    before, behind = network[2].norm, network[3]
    x = torch.randn(9, 7)
    h = first(x)
    branch = contract(torch.relu(expand(before(h))))
    h = h + branch if skip else branch
    torch.testing.assert_close(network(x), last(torch.relu(behind(h))))
    assert (expand.in_features, expand.out_features) == (64, 128)


def test_the_ft_transformer_is_the_papers():
    network = arms.find("ft_transformer", {"depth": 2}).build(MIXED, 3, {}).eval()
    x = rows_of(MIXED, 5)
    numbers, ids = MIXED.parted(x)
    own = network.tokenizer
    looked_up = own.categories.values.weight
    tokens = torch.stack(
        [
            own.of_class[0, 0].expand(5, -1),
            numbers[:, :1] * own.weight[0] + own.bias[0],
            looked_up[ids[:, 0]] + own.bias[1],
            looked_up[4 + ids[:, 1]] + own.bias[2],
        ],
        1,
    )
    torch.testing.assert_close(own(x), tokens)
    h = tokens
    for place, block in enumerate(network.blocks):
        normed = h if place == 0 else block.first_norm(h)
        h = h + block.attention(normed)
        forward, normed = block.feed_forward, block.second_norm(h)
        gated = torch.relu(forward.expand(normed)) * forward.gate(normed)
        h = h + forward.contract(gated)
    norm, _, last = network.head
    torch.testing.assert_close(network(x), last(torch.relu(norm(h[:, 0]))))


def test_its_default_size_is_counted_by_hand():
    width, units = 192, 256
    tokens = (1 + 2 * 8) * width
    attention = 4 * (width + 1) * width
    feed_forward = 2 * (width + 1) * units + (units + 1) * width
    norms = 2 * width * (2 * 3 - 1 + 1)  # not before the first branch; in the head
    head = width + 1
    count = tokens + 3 * (attention + feed_forward) + norms + head
    assert count == 894_913
    network = zoo.get("ft_transformer_default").function((8,), 1)
    assert parameters(network) == count


def test_the_order_of_columns_is_no_matter_to_the_transformer():
    inputs = Inputs(
        (4,), "table", columns=tuple(Column(n, i, None) for i, n in enumerate("abcd"))
    )
    network = arms.find("ft_transformer").build(inputs, 2, {}).eval()
    x = torch.randn(5, 4)
    before = network(x)
    order = [2, 0, 3, 1]
    with torch.no_grad():
        network.tokenizer.weight.copy_(network.tokenizer.weight[order].clone())
        network.tokenizer.bias.copy_(network.tokenizer.bias[order].clone())
    torch.testing.assert_close(network(x[:, order]), before)


@pytest.mark.parametrize("inputs", [NUMBERS, NAMES, MIXED, (2,)], ids=str)
@pytest.mark.parametrize("depth", [1, 2])
def test_the_transformer_reads_tables_of_every_kind(inputs, depth):
    network = arms.find("ft_transformer", {"depth": depth}).build(inputs, 3, {})
    known = inputs if isinstance(inputs, Inputs) else NUMBERS
    x = rows_of(known, 8)
    columns = len(known.columns)
    assert network.tokenizer(x).shape == (8, 1 + columns, 32)
    network(x).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.numel() > 0, name
        assert parameter.grad.abs().sum() > 0, name


def test_categories_can_be_tokens_of_their_own():
    network = arms.find("ft_transformer", {"categories": "one_hot"}).build(MIXED, 3, {})
    x = rows_of(MIXED, 8)
    assert network.tokenizer(x).shape == (8, 1 + 6, 32)
    assert not any(isinstance(m, nn.Embedding) for m in network.modules())


@pytest.mark.parametrize("inputs", [NUMBERS, (5,)])
def test_without_categories_there_is_nothing_to_be_kept_apart(inputs):
    with pytest.raises(ArmError, match="categories are a table's") as caught:
        arms.find("ft_transformer", {"categories": "one_hot"}).build(inputs, 2, {})
    assert "Leave categories out" in str(caught.value)


@pytest.mark.parametrize(
    "inputs",
    [
        (3, 9),
        (1, 8, 8),
        (),
        Inputs.of_shape((9,), vocabulary=5),
        Inputs((9,), "sequence"),
    ],
    ids=str,
)
def test_the_transformer_refuses_what_has_no_columns(inputs):
    with pytest.raises(ArmError, match="ft_transformer needs a table") as caught:
        arms.find("ft_transformer").build(inputs, 2, {})
    shape = inputs.shape if isinstance(inputs, Inputs) else inputs
    assert str(shape) in str(caught.value)
    for name in re.findall("mlp|residual_mlp", caught.value.way_out):
        arms.find(name).build(inputs, 2, {})


@pytest.mark.parametrize("data", ["mnist1d", "digits"])
def test_a_trial_on_sequences_or_images_says_who_reads_them(data):
    declared = Protocol(
        data=data, baseline="mlp", challengers=["ft_transformer"], configurations=4,
        effort=1, steps=2,
    )  # fmt: skip
    with pytest.raises(
        ArmError, match="ft_transformer needs a table, or an array"
    ) as caught:
        Zoo.of(declared)
    assert "residual_mlp" in caught.value.way_out


@pytest.mark.parametrize("name", ["cnn", "vit", "gru"])
def test_a_table_given_to_what_reads_an_order_says_who_reads_it(table, name):
    declared = Protocol(
        data=str(table), baseline="mlp", challengers=[name], configurations=4, effort=1,
        steps=2,
    )  # fmt: skip
    with pytest.raises(ArmError, match=f"{name} needs") as caught:
        Zoo.of(declared)
    assert "ft_transformer" in caught.value.way_out


def test_a_study_of_categories_alone_trains_and_predicts_what_it_never_saw(tmp_path):
    colors, answers = ("red", "green", "blue"), ("yes", "no")
    rows = [f"{colors[i % 3]},{answers[i % 5 % 2]},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["color,answer,class", *rows]))
    study = archtrial.Study(
        Protocol(
            data=str(tmp_path / "t.csv"), target="class", baseline="mlp(embedding=2)",
            challengers=["ft_transformer(depth=1, width=8)"], configurations=4, effort=1,
            confirm_seeds=1, steps=4,
        ),
        tmp_path / "study",
    )  # fmt: skip
    assert study.resolved["challengers"][0]["fleet"]
    study.run()
    for name in ("mlp(embedding=2)", "ft_transformer(depth=1, width=8)"):
        model = archtrial.load_tuned(tmp_path / "study", name)
        assert model.predict({"color": ["pink"], "answer": ["no"]}).shape == (1,)

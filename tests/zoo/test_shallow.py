"""The students of Urban et al.: layouts, and a budget of parameters that is met."""

import itertools
import math
import re
import time
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archtrial import zoo
from archtrial.data import Inputs
from archtrial.data.inputs import Column
from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.specs import parse_spec, write_value
from archtrial.testing import check_architecture
from archtrial.training.structure import structure
from archtrial.zoo import arms, sizes
from archtrial.zoo.architectures.shallow import Widths, least, space_of, widths

POOLS = {0: [], 1: [3], 2: [2, 2], 3: [2, 2, 2], 4: [2, None, 2, 2]}
LEAST_SIDE = {1: 3, 2: 4, 3: 8, 4: 8}
LAYOUTS = list(itertools.product(range(5), range(1, 6)))
TABLE = Inputs((12,), "table", tuple(Column(f"c{i}", i, None) for i in range(12)))


@pytest.fixture(autouse=True)
def _keep_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


def build(shape=(40,), outputs=10, **options):
    torch.manual_seed(0)
    return zoo.shallow(shape, outputs, **options)


def counted(module):
    return sum(p.numel() for p in module.parameters())


def plain(shape, outputs, filters, bottleneck, units):
    """The layout once more, in plain PyTorch; it is counted and not carried out."""
    channels, *sides = shape if len(shape) > 1 else (1, *shape)
    convolution = nn.Conv1d if len(sides) == 1 else nn.Conv2d
    made, taken = [], channels
    for given_, pool in zip(filters, POOLS[len(filters)], strict=True):
        made.append(convolution(taken, given_, 5))
        taken = given_
        sides = [side // (pool or 1) for side in sides]
    taken = taken * math.prod(sides) if filters else math.prod(shape)
    if bottleneck is not None:
        made.append(nn.Linear(taken, bottleneck, bias=False))
        taken = bottleneck
    for given_ in (*units, outputs):
        made.append(nn.Linear(taken, given_))
        taken = given_
    return made


def count_of(*layout):
    with torch.device("meta"):
        return sum(counted(layer) for layer in plain(*layout))


RATIOS = st.floats(0.001, 8, exclude_min=True) | st.sampled_from([0.1, 0.5, 1, 2])
SIDES = st.integers(8, 30)
SHAPES = (
    st.tuples(SIDES)
    | st.tuples(st.integers(1, 4), SIDES)
    | st.tuples(st.integers(1, 4), SIDES, SIDES)
)


@st.composite
def students(draw):
    """A shape, a number of outputs and options within their budget."""
    convolutions, hidden = draw(st.sampled_from(LAYOUTS))
    options = {"convolutions": convolutions, "hidden": hidden}
    names = [f"ratio_{place}" for place in range(2, hidden + 1)] + ["bottleneck"]
    names += ["channels"] * (convolutions > 0) + ["growth"] * (convolutions > 1)
    for name in names:
        if (value := draw(st.none() | RATIOS)) is not None:
            options[name] = value
    shape, outputs = draw(SHAPES), draw(st.integers(1, 12))
    layout = {"convolutions": convolutions, "hidden": hidden}
    smallest = least(shape, outputs, **layout, bottleneck="bottleneck" in options)
    more = draw(st.integers(0, 50) | st.integers(0, 100_000))
    return shape, outputs, options | {"parameters": smallest + more}


def relative(options):
    """Each layer's ratio, in the order of the layers."""
    ratios, last = [], Fraction(options.get("channels", 0.1))
    for _ in range(options["convolutions"]):
        ratios.append(last)
        last *= Fraction(options.get("growth", 1))
    if "bottleneck" in options:
        ratios.append(Fraction(options["bottleneck"]))
    ratios.append(Fraction(1))
    for place in range(2, options["hidden"] + 1):
        ratios.append(Fraction(options.get(f"ratio_{place}", 1)))
    return ratios


@given(students())
def test_a_plan_is_what_is_built_and_one_unit_more_exceeds_the_budget(student):
    shape, outputs, options = student
    plan = widths(shape, outputs, **options)
    with torch.device("meta"):
        module = build(shape, outputs, **options)
    layout = (shape, outputs, plan.filters, plan.bottleneck)
    assert plan.parameters == counted(module) == count_of(*layout, plan.units)
    wider = (*plan.units[:-1], plan.units[-1] + 1)
    assert count_of(*layout, wider) - plan.parameters == plan.unit_cost
    assert 0 <= options["parameters"] - plan.parameters < plan.unit_cost
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d))]
    assert tuple(layer.out_channels for layer in layers) == plan.filters
    linear = [m.out_features for m in module.modules() if isinstance(m, nn.Linear)]
    between = () if plan.bottleneck is None else (plan.bottleneck,)
    assert tuple(linear) == (*between, *plan.units, outputs)


@given(students())
def test_widths_are_the_ratios_at_the_largest_scale_within_the_budget(student):
    """There is a scale of all widths but the last one, and beyond it nothing fits."""
    shape, outputs, options = student
    plan = widths(shape, outputs, **options)
    ratios = relative(options)
    half = Fraction(1, 2)

    def at(scale):
        every = [max(1, math.floor(ratio * scale + half)) for ratio in ratios]
        filters, rest = every[: len(plan.filters)], every[len(plan.filters) :]
        between = None
        if plan.bottleneck is not None:
            between = min(rest.pop(0), reads(filters))
        return filters, between, rest

    def reads(filters):
        return plain(shape, outputs, filters, None, [1])[len(filters)].in_features

    have = [*plan.filters, *([plan.bottleneck] * (plan.bottleneck is not None))]
    have += plan.units[:-1]
    known = list(zip(have, ratios, strict=False))
    if plan.bottleneck is not None and plan.bottleneck == reads(plan.filters):
        del known[len(plan.filters)]  # its width says no more than that it is no less
    low = max(((w - half) / r for w, r in known if w > 1), default=Fraction(0))
    edge = min(((w + half) / r for w, r in known), default=None)
    filters, _, units = at(low)
    assert plan.filters == tuple(filters)
    assert plan.units[:-1] == tuple(units[:-1])
    assert plan.units[-1] >= units[-1]
    if edge is not None:
        assert low < edge
        assert count_of(shape, outputs, *at(edge)) > options["parameters"]


@given(students(), st.integers(1, 5_000))
def test_a_larger_budget_makes_no_layer_but_the_last_narrower(student, more):
    shape, outputs, options = student
    plan = widths(shape, outputs, **options)
    larger = options | {"parameters": options["parameters"] + more}
    wide = widths(shape, outputs, **larger)
    before = (*plan.filters, plan.bottleneck or 0, *plan.units[:-1])
    after = (*wide.filters, wide.bottleneck or 0, *wide.units[:-1])
    assert all(one <= other for one, other in zip(before, after, strict=True))
    assert wide.parameters >= options["parameters"] - plan.unit_cost


@pytest.mark.parametrize(("convolutions", "hidden"), LAYOUTS)
@pytest.mark.parametrize("bottleneck", [None, 0.3])
@pytest.mark.parametrize("shape", [(40,), (3, 32, 32)], ids=str)
def test_the_least_budget_is_met_and_its_message_can_be_typed(
    shape, bottleneck, convolutions, hidden
):
    layout = {"convolutions": convolutions, "hidden": hidden}
    smallest = least(shape, 10, **layout, bottleneck=bottleneck is not None)
    options = layout | ({} if bottleneck is None else {"bottleneck": bottleneck})
    plan = widths(shape, 10, **options, parameters=smallest)
    ones = ((1,) * convolutions, bottleneck and 1, (1,) * hidden)
    assert (plan.filters, plan.bottleneck, plan.units) == ones
    assert plan.parameters == smallest
    with pytest.raises(ArmError) as caught:
        build(shape, **options, parameters=smallest - 1)
    said = str(caught.value)
    assert f"{smallest} parameters at least" in said
    assert f"parameters = {smallest - 1}" in said
    assert counted(build(shape, **typed(caught.value, options))) == smallest


def typed(error, options):
    """Returns options as the way out has them, read as a specification is."""
    way = error.way_out
    written = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", way)}
    left = re.search(r"leave ([\w ]+) out", way)
    kept = {k: v for k, v in options.items() if not left or k not in left[1].split()}
    spec = ",".join(f"{k}={write_value(v)}" for k, v in (kept | written).items())
    return parse_spec(f"shallow({spec})")[2]


@pytest.mark.parametrize("options", [
    {"parameters": 30}, {"parameters": 30, "hidden": 5}, {}, {"channels": 0.2},
    {"bottleneck": 0.2, "channels": 0.2}, {"growth": 0.5, "channels": 0.2},
])  # fmt: skip
@pytest.mark.parametrize(
    ("inputs", "convolutions", "instead"),
    [
        (TABLE, 3, 0), (TABLE, 2, 0), (Inputs((1,), "table"), 4, 0),
        ((2,), 4, 0), ((3,), 2, 1), ((7,), 3, 2), ((7,), 4, 2), ((5, 7), 4, 2),
        ((3, 40, 2), 2, 0), ((3, 3, 40), 3, 1), ((2, 3, 4, 5), 2, 0),
    ],
)  # fmt: skip
def test_what_convolutions_cannot_read_has_a_way_out_that_works(
    inputs, convolutions, instead, options
):
    options = {"convolutions": convolutions, **options}
    for ask in (widths, build):
        with pytest.raises(ArmError) as caught:
            ask(inputs, 10, **options)
        said = str(caught.value)
        assert f"Write convolutions={instead}" in said
        module = build(inputs, **typed(caught.value, options))
        given_ = inputs.shape if isinstance(inputs, Inputs) else inputs
        assert module(torch.randn(4, *given_)).shape == (4, 10)
    with pytest.raises(ArmError, match="Write convolutions="):
        least(inputs, 10, convolutions=convolutions)


@pytest.mark.parametrize(("convolutions", "side"), LEAST_SIDE.items())
def test_the_shortest_sides_are_read(convolutions, side):
    for shape in [(side,), (2, side), (1, side, side + 1)]:
        module = build(shape, convolutions=convolutions)
        assert module(torch.randn(4, *shape)).shape == (4, 10)
    with pytest.raises(ArmError, match=f"needs at least {side} positions"):
        build((side - 1,), convolutions=convolutions)


@pytest.mark.parametrize(("options", "out", "instead"), [
    ({"channels": 0.2}, "channels", "convolutions=1"),
    ({"growth": 2.0}, "growth", "convolutions=2"),
    ({"growth": 2, "channels": 0.1}, "channels and growth", "convolutions=2"),
    ({"growth": 2, "channels": 0.1, "convolutions": 1}, "growth", "convolutions=2"),
    ({"ratio_2": 2.0}, "ratio_2", "hidden=2"),
    ({"ratio_5": 0.5, "hidden": 4}, "ratio_5", "hidden=5"),
    ({"ratio_5": 0.5, "ratio_2": 1, "ratio_3": 2.0, "hidden": 2},
     "ratio_3 and ratio_5", "hidden=5"),
])  # fmt: skip
def test_a_ratio_of_a_layer_that_is_not_there_is_refused(options, out, instead):
    with pytest.raises(ArmError, match=f"{out} of shallow (is|are) of") as caught:
        build(**options)
    assert caught.value.way_out == f"Leave {out} out, or write {instead}."
    build(**{k: v for k, v in options.items() if k not in out.split()})
    build(**options | parse_spec(f"shallow({instead})")[2])


@pytest.mark.parametrize("inputs", [TABLE, (2,), (3, 1, 9), (2, 3, 4, 5)])
def test_no_convolutions_are_offered_where_they_cannot_read(inputs):
    with pytest.raises(ArmError) as caught:
        build(inputs, channels=0.2)
    assert caught.value.way_out == "Leave channels out."
    with pytest.raises(ArmError) as caught:
        build((3,), growth=0.2, convolutions=1)
    assert caught.value.way_out == "Leave growth out."


@pytest.mark.parametrize(
    "options",
    [
        {"convolutions": 5}, {"convolutions": True}, {"hidden": 0}, {"hidden": 6},
        {"parameters": 0}, {"parameters": 1e4}, {"bottleneck": 0},
        {"bottleneck": math.nan}, {"hidden": 2, "ratio_2": math.inf},
        {"convolutions": 1, "channels": -1.0},
    ],
)  # fmt: skip
def test_impossible_values_are_one_message_before_anything_is_built(options):
    for ask in (widths, build):
        with pytest.raises(ArmError, match=f"{list(options)[-1]} of shallow is"):
            ask((40,), 10, **options)


def test_extreme_values_are_counted_in_no_time():
    start = time.process_time()
    for ratio in (0.001, 1e300):
        for parameters in (10_000, 10**30, 10**400):
            plan = widths(
                (3, 32, 32), 10, convolutions=4, hidden=3, parameters=parameters,
                channels=ratio, growth=ratio, bottleneck=ratio, ratio_2=ratio,
            )  # fmt: skip
            assert 0 <= parameters - plan.parameters < plan.unit_cost
    assert time.process_time() - start < 2


def test_a_bottleneck_is_no_wider_than_what_it_reads():
    assert widths((40,), 10, bottleneck=5.0, parameters=30_000).bottleneck == 40
    one = widths((40,), 10, convolutions=1, channels=0.01, bottleneck=1.0)
    assert one.bottleneck == 13 * one.filters[0]


@pytest.mark.parametrize("shape", [(40,), (2, 33), (1, 28, 28), (3, 17, 24)], ids=str)
@pytest.mark.parametrize("convolutions", range(5))
def test_layers_are_the_papers(convolutions, shape):
    """Kernels of 5 that keep the sides, ReLU, max-pooling, a bottleneck, hidden layers."""
    module = build(
        shape, convolutions=convolutions, hidden=2, bottleneck=0.2, input_scale=0.9
    )
    *layers, narrow, first, second, last = [
        m for m in module.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))
    ]
    x = torch.randn(3, *shape)
    h = 0.9 * x
    if convolutions:
        sides = len(shape) - 1 or 1
        h = h.unsqueeze(1) if len(shape) == 1 else h
        operate = nn.functional.conv1d if sides == 1 else nn.functional.conv2d
        pool = nn.functional.max_pool1d if sides == 1 else nn.functional.max_pool2d
        for layer, size in zip(layers, POOLS[convolutions], strict=True):
            assert layer.weight.shape[2:] == (5,) * sides
            h = nn.functional.pad(h, (2, 2) * sides)
            h = torch.relu(operate(h, layer.weight, layer.bias))
            h = h if size is None else pool(h, size)
    assert narrow.bias is None
    h = torch.relu(first(h.flatten(1) @ narrow.weight.T))
    torch.testing.assert_close(module(x), last(torch.relu(second(h))))


def test_dropout_stands_behind_each_pooling_and_hidden_layer_even_at_none():
    for rate in (0.0, 0.4):
        module = build(convolutions=4, hidden=2, dropout=rate)
        names = [type(m).__name__ for m in module]
        before = [names[i - 1] for i, name in enumerate(names) if name == "Dropout"]
        assert before == ["MaxPool1d"] * 3 + ["ReLU"] * 2
        assert {m.p for m in module if isinstance(m, nn.Dropout)} == {rate}


def test_weights_start_as_glorot_has_them():
    torch.manual_seed(0)
    module = build((3, 32, 32), convolutions=2, parameters=300_000)
    for layer in module:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            assert layer.bias.eq(0).all()
            area = layer.weight[0, 0].numel()
            fans = area * (layer.weight.shape[0] + layer.weight.shape[1])
            bound = math.sqrt(6 / fans)
            assert layer.weight.abs().max() <= bound
            std = layer.weight.std().item()
            assert std == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_an_input_scale_is_a_scale_of_the_inputs_and_is_saved():
    scaled, unscaled = build(input_scale=1.2), build()
    x = torch.randn(4, 40)
    torch.testing.assert_close(scaled(x), unscaled(1.2 * x))
    again = build()
    again.load_state_dict(scaled.state_dict())
    assert torch.equal(again(x), scaled(x))


def test_what_is_searched_in_training_leaves_the_structure_as_it_is():
    one = structure(build(convolutions=1, input_scale=0.8, dropout=0.3))
    assert one == structure(build(convolutions=1, input_scale=1.2))
    assert one != structure(build(convolutions=1, channels=0.3))


@pytest.mark.parametrize("convolutions", [1, 2, 3, 4])
def test_every_layout_can_be_put_on_trial_and_shares_fleets(convolutions):
    options = {"convolutions": convolutions, "hidden": 2, "parameters": 2_000}
    found = check_architecture(
        "shallow", [(40,), (2, 17), (1, 9, 8)], num_outputs=(3,), options=options
    )
    assert found.obstacles == {}
    assert found.notes == ()


def test_a_space_has_the_ratios_of_its_layout_and_no_other():
    for convolutions, hidden in LAYOUTS:
        expected = {"input_scale"}
        expected |= {"channels"} if convolutions else set()
        expected |= {"growth"} if convolutions > 1 else set()
        expected |= {"bottleneck"} if convolutions < 2 else set()
        expected |= {f"ratio_{place}" for place in range(2, hidden + 1)}
        space = space_of(convolutions, hidden)
        assert space.keys() == expected
        options = {key: dimension.value(0.5) for key, dimension in space.items()}
        build(convolutions=convolutions, hidden=hidden, **options)
    assert space_of(0, 1)["input_scale"] == Real(0.8, 1.25)


def test_at_no_end_of_a_space_has_a_layer_a_single_unit():
    """From a budget of 10,000 on, with as many hidden layers as the paper has."""
    for shape, budgets in [
        ((40,), (10_000, 30_000)),
        ((1, 28, 28), (10_000, 100_000)),
        ((3, 32, 32), (1_000_000, 10_000_000)),
    ]:
        for convolutions, hidden in LAYOUTS:
            if convolutions and hidden > 1:
                continue
            space = dict(space_of(convolutions, hidden))
            del space["input_scale"]
            for ends in itertools.product((0.0, 1.0), repeat=len(space)):
                options = {
                    name: dimension.value(end)
                    for (name, dimension), end in zip(space.items(), ends, strict=True)
                }
                for budget in budgets:
                    plan = widths(
                        shape, 10, convolutions=convolutions, hidden=hidden,
                        parameters=budget, **options,
                    )  # fmt: skip
                    assert min(plan.filters, default=2) >= 2
                    assert plan.bottleneck is None or plan.bottleneck >= 2
                    assert min(plan.units) >= 5


def test_a_matched_baseline_grows_by_its_budget():
    def arm(spec, **options):
        found = arms.find(spec, options, {})
        return sizes.Sized(spec, found, {})

    found = sizes.match(
        arm("shallow", parameters=1_000), [arm("mlp")], (40,), 10, 0, configurations=4
    )
    assert found.option == "parameters"
    assert found.parameters >= 15_210 > found.parameters - 51
    assert found.options["parameters"] < 15_300


def test_a_variant_of_convolutions_says_what_a_table_takes():
    with pytest.raises(ArmError, match="a table with convolutions = 2"):
        zoo.get("shallow_2conv_10m").function(TABLE, 3)
    arm = arms.find("shallow_2conv_10m", {"convolutions": 0, "parameters": 500})
    assert arm.build(TABLE, 3, {})(torch.randn(2, 12)).shape == (2, 3)


def test_the_familys_own_space_is_searched_within_that_of_its_layout():
    entry = zoo.get("shallow")
    wide = space_of(0, 1)
    for name, dimension in entry.space.items():
        if isinstance(dimension, Choice):
            assert all(
                wide[name].low <= o <= wide[name].high for o in dimension.options
            )


def test_a_plan_is_known():
    assert widths((3, 32, 32), 10, convolutions=2, parameters=1_000_000) == Widths(
        filters=(38, 38), bottleneck=None, units=(393,), parameters=999_135,
        unit_cost=2_443,
    )  # fmt: skip
    # By hand: 38 filters on 3 and on 38 channels, 8 x 8 positions, 10 classes.
    assert 38 * (3 * 25 + 1) + 38 * (38 * 25 + 1) + 393 * 2443 + 10 == 999_135

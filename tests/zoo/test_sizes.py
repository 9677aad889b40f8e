"""The baseline at a challenger's size."""

import math
import statistics
from typing import Literal

import pytest
from torch import nn

from archtrial import space as spaces
from archtrial import zoo
from archtrial.errors import ArmError
from archtrial.space import Choice, Integer, Real
from archtrial.zoo import arms, registry, sizes
from archtrial.zoo.registry import ANY, Count, register

N = 24
SHAPE = (40,)


def arm(name, spec="mlp", space=None, **options):
    found = arms.find(spec, options, space)
    return sizes.Sized(
        name, found, {**found.space, "learning_rate": Real(1e-3, 1e-1, log=True)}
    )


def match(baseline, *challengers):
    return sizes.match(baseline, challengers, SHAPE, 10, study_seed=0, configurations=N)


def mlp_parameters(depth, width):
    """40 inputs, 10 classes."""
    hidden = 41 * width + (depth - 1) * (width + 1) * width
    return hidden + (width + 1) * 10


def test_the_smallest_width_that_is_no_smaller_is_found():
    found = match(
        arm("a", space={}, depth=2, width=20), arm("b", space={}, depth=3, width=90)
    )
    target = mlp_parameters(3, 90)
    width = found.options["width"]
    assert found.target == pytest.approx(target)
    assert found.parameters == pytest.approx(mlp_parameters(2, width))
    assert mlp_parameters(2, width) >= target > mlp_parameters(2, width - 1)
    assert found.options == {"depth": 2, "width": width}
    assert "width" not in found.space


def test_what_is_searched_is_scaled_as_a_whole():
    baseline = arm("a", space={"width": [10, 20, 30], "depth": [1, 2]})
    challenger = arm("b", space={"width": [60, 120], "depth": [2]})
    found = match(baseline, challenger)
    factor = found.space["width"].options[1] / 20
    assert found.space["width"].options == tuple(
        round(width * factor) for width in (10, 20, 30)
    )
    assert found.space.keys() == baseline.space.keys()
    assert found.space["depth"] == baseline.space["depth"]
    drawn = [spaces.sample(baseline.space, 0, index) for index in range(N)]
    logs = [
        math.log(mlp_parameters(own["depth"], round(own["width"] * factor)))
        for own in drawn
    ]
    assert found.parameters == pytest.approx(math.exp(sum(logs) / N))
    assert found.target <= found.parameters < 1.1 * found.target


def test_a_range_of_whole_numbers_keeps_its_breadth():
    baseline = arm(
        "a", space={"width": {"low": 8, "high": 32, "log": True, "integer": True}}
    )
    found = match(baseline, arm("b", space={}, width=200))
    scaled = found.space["width"]
    assert isinstance(scaled, Integer)
    assert scaled.log
    assert scaled.high / scaled.low == pytest.approx(4, rel=0.02)


def test_a_default_is_scaled_where_nothing_else_says_a_width():
    found = match(arm("a", space={}), arm("b", space={}, width=300))
    assert found.options["width"] > 100
    assert found.challenger == "b"
    assert found.option == "width"


def test_the_largest_challenger_is_matched():
    small, large = arm("s", space={}, width=120), arm("l", space={}, width=240)
    found = match(arm("a", space={}), small, large)
    assert found.challenger == "l"
    assert found.options["width"] == 240


def test_a_baseline_that_is_no_smaller_stays():
    assert match(arm("a", space={}), arm("b", space={}, width=100)) is None
    assert match(arm("a", space={}), arm("b", space={}, width=50)) is None


def test_an_architecture_that_nothing_scales_says_so():
    with pytest.raises(ArmError, match="a has none of width, channels"):
        match(arm("a", "linear"), arm("b"))
    with pytest.raises(ArmError, match="none of width"):
        match(arm("a", unsized, hidden_dim=True), arm("b"))


def unsized(input_shape, num_outputs, hidden_dim=False, width=0.5):
    return nn.Linear(input_shape[0], num_outputs)


def deaf(input_shape, num_outputs, hidden=4):
    return nn.Linear(input_shape[0], num_outputs)


def test_an_option_that_changes_nothing_is_no_endless_search():
    with pytest.raises(ArmError, match=r"grows with the option.*hidden = .* 410 param"):
        match(arm("a", deaf), arm("b"))


class Lazy(nn.Module):
    def __init__(self, input_shape, num_outputs, units=3):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(units), nn.Linear(units, num_outputs))

    def forward(self, x):
        return self.layers(x)


def test_a_users_own_option_and_lazy_layers_are_counted():
    found = match(arm("a", Lazy), arm("b", space={}, depth=1, width=77))
    # 40 -> units -> 10, as the MLP of one hidden layer
    assert found.options == {"units": 77}
    assert found.parameters == mlp_parameters(1, 77)


def wrapped(input_shape, num_outputs, **options):
    """As public code passes options on; "hidden" is in no signature."""
    return nn.Sequential(
        nn.Flatten(), nn.LazyLinear(options["hidden"]), nn.LazyLinear(num_outputs)
    )


def test_what_is_passed_on_by_name_makes_a_size_of_its_own():
    big = arm("big", wrapped, {"hidden": [4, 64, 256]})
    found = match(arm("small", space={}, width=1, depth=1), big)
    hidden = [spaces.sample(big.space, 0, i)["hidden"] for i in range(N)]
    assert len(set(hidden)) == 3
    sized = statistics.geometric_mean(mlp_parameters(1, h) for h in hidden)
    assert found.target == pytest.approx(sized, abs=1e-3)


def test_an_option_of_a_few_widths_scales_nothing():
    def few(input_shape, num_outputs, *, width: Literal[8, 16] = 8, hidden: Count = 4):
        return zoo.mlp(input_shape, num_outputs, width=width + hidden, depth=1)

    try:
        register(space={}, kinds=ANY)(few)
        found = match(arm("a", "few"), arm("b", space={}, depth=1, width=77))
    finally:
        del registry._entries["few"], registry._families["few"]
    assert found.options == {"hidden": 69}


def test_the_middle_of_a_choice_must_be_a_whole_number():
    baseline = arm("a", space={"width": [10, 20], "depth": [1, 2]})
    assert sizes._scaling(baseline) == ("width", 20)
    odd = sizes.Sized("a", baseline.architecture, {"width": Choice((True, False))})
    with pytest.raises(ArmError):
        sizes._scaling(odd)

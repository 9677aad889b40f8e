"""Shallow: 0 to 4 convolutions and few hidden layers, as wide as a budget allows.

Paper: "Do Deep Convolutional Nets Really Need to be Deep and Convolutional?" (arXiv
    1603.05691), the students of tables 1 and 2.
Authors: Gregor Urban, Krzysztof J. Geras, Samira Ebrahimi Kahou, Ozlem Aslan, Shengjie
    Wang, Rich Caruana, Abdelrahman Mohamed, Matthai Philipose and Matt Richardson, 2017.
Status: the layouts, kernels of 5, poolings, ReLU, the linear bottleneck, budgets of
    parameters and Glorot's initial weights are the paper's. The widths that its searches
    found are not known here, so that no published count is compared. Ours are: ratios
    of widths for all layers (the paper has them for its deeper MLPs), the defaults of
    these ratios, padding that keeps the sides, no offset in the bottleneck, 1-D, tables,
    and several hidden layers behind convolutions. The paper's scale of the initial
    weights is `initial_scale`, which every architecture has in training.

What was new: a fair question about depth. Students of every depth have the same number of
parameters, imitate the same teacher, and are tuned each for itself. On CIFAR-10 students
without convolution stayed far behind, and one convolution did not reach two.
What it took: imitation of logits and the bottleneck from Ba and Caruana 2014, layers from
AlexNet.
What it costs: what `parameters` says, to within one unit of the last hidden layer. Few
convolutions make hidden layers wide, so that most weights lie in one matrix.
When to try it: where a deep network works and a smaller or simpler one is wanted, or
where the question is what depth and convolution are worth at equal size.

How it meets its budget: every layer has a width relative to that of the first hidden
layer. All widths grow together, rounded to whole numbers and at least 1, as long as the
network stays within the budget. The last hidden layer then takes what is left.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError
from archtrial.space import Choice, Real, Space
from archtrial.zoo.layers import Spatial
from archtrial.zoo.registry import (
    ANY,
    Count,
    Multiplier,
    Ratio,
    Shape,
    Share,
    get,
    register,
)

__all__ = ["Widths", "least", "shallow", "space_of", "widths"]

Convolutions: TypeAlias = Literal[0, 1, 2, 3, 4]
Hidden: TypeAlias = Literal[1, 2, 3, 4, 5]

_KERNEL = 5
# The max-pooling behind each convolution of a layout; 1 is none.
_POOLS: dict[int, tuple[int, ...]] = {
    0: (),
    1: (3,),  # c-mp-lfc-fc
    2: (2, 2),  # c-mp-c-mp-fc
    3: (2, 2, 2),  # c-mp-c-mp-c-mp-fc
    4: (2, 1, 2, 2),  # c-mp-c-c-mp-c-mp-fc
}
_BUDGET = 10_000
_CHANNELS = 0.1
_GROWTH = 1.0


@dataclasses.dataclass(frozen=True)
class Widths:
    """How wide each layer is, and what the network has in all."""

    filters: tuple[int, ...]
    """Of each convolution."""
    bottleneck: int | None
    """Units of the linear layer in front of the hidden ones; None: there is none."""
    units: tuple[int, ...]
    """Of each hidden layer; the last one is what meets the budget."""
    parameters: int
    """All weights and offsets."""
    unit_cost: int
    """What one more unit of the last hidden layer costs; the shortfall is less."""


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Layers without their widths, on inputs of a shape."""

    taken: int
    """What an example has: channels where there are convolutions, else values."""
    area: int
    """Weights of a convolution for each pair of channels."""
    positions: int
    """Behind the last pooling; 1 without convolutions."""
    outputs: int

    @classmethod
    def of(cls, shape: Shape, num_outputs: int, convolutions: int) -> "_Layout":
        if convolutions == 0:
            return cls(math.prod(shape), 1, 1, num_outputs)
        channels, *sides = shape if len(shape) > 1 else (1, *shape)
        shrunk = math.prod(_POOLS[convolutions])
        positions = math.prod(side // shrunk for side in sides)
        return cls(channels, _KERNEL ** len(sides), positions, num_outputs)

    def flat(self, filters: Sequence[int]) -> int:
        """Returns how many values the first fully connected layer reads."""
        return self.positions * (filters[-1] if filters else self.taken)

    def count(
        self, filters: Sequence[int], bottleneck: int | None, units: Sequence[int]
    ) -> int:
        """Returns the number of parameters, by arithmetic."""
        total, taken = 0, self.taken
        for given in filters:
            total += (taken * self.area + 1) * given
            taken = given
        taken = self.flat(filters)
        if bottleneck is not None:
            total += taken * bottleneck
            taken = bottleneck
        for given in (*units, self.outputs):
            total += (taken + 1) * given
            taken = given
        return total


def least(
    inputs: Inputs | Shape,
    num_outputs: int,
    *,
    convolutions: int = 0,
    hidden: int = 1,
    bottleneck: bool = False,
) -> int:
    """Returns the smallest budget that a layout can meet: all of its widths are 1.

    Args:
        inputs: What is known of them, or one example's shape alone.
        num_outputs: Classes, or 1 for regression.
        convolutions: As `shallow` has it.
        hidden: As `shallow` has it.
        bottleneck: Whether there is one.

    Raises:
        ArmError: A value is none of the option's, or convolutions cannot read such
            inputs.

    Example:
        >>> least((3, 32, 32), 10), least((3, 32, 32), 10, convolutions=2)
        (3093, 187)
    """
    get("shallow").check_options({"convolutions": convolutions, "hidden": hidden})
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    _check_inputs(known, num_outputs, convolutions, hidden, bottleneck)
    return _least(known.shape, num_outputs, convolutions, hidden, bottleneck)


def _least(
    shape: Shape, num_outputs: int, convolutions: int, hidden: int, bottleneck: bool
) -> int:
    layout = _Layout.of(shape, num_outputs, convolutions)
    return layout.count([1] * convolutions, 1 if bottleneck else None, [1] * hidden)


def widths(
    inputs: Inputs | Shape,
    num_outputs: int,
    *,
    convolutions: int = 0,
    hidden: int = 1,
    parameters: int = _BUDGET,
    channels: float | None = None,
    growth: float | None = None,
    bottleneck: float | None = None,
    ratio_2: float | None = None,
    ratio_3: float | None = None,
    ratio_4: float | None = None,
    ratio_5: float | None = None,
) -> Widths:
    """Returns the widest layers of these ratios whose parameters are within a budget.

    It counts and builds nothing. Numbers are exact, so that the same options have the
    same widths on every machine, and a larger budget has no smaller scale.

    Args:
        inputs: What is known of them, or one example's shape alone.
        num_outputs: Classes, or 1 for regression.
        convolutions: This and all others are options of `shallow`.
        hidden: Hidden layers.
        parameters: The budget.
        channels: Of the first convolution.
        growth: Of the others.
        bottleneck: Of the linear layer.
        ratio_2: Of the second hidden layer.
        ratio_3: Of the third one.
        ratio_4: Of the fourth one.
        ratio_5: Of the fifth one.

    Raises:
        ArmError: A value is none of the option's, convolutions cannot read such inputs, a
            ratio is of a layer that is not there, or the budget is too small for the
            layout.

    Example:
        >>> widths((40,), 10, convolutions=1, parameters=3_000)
        Widths(filters=(4,), bottleneck=None, units=(47,), parameters=2995, unit_cost=63)
    """
    ratios = {
        "channels": channels,
        "growth": growth,
        "ratio_2": ratio_2,
        "ratio_3": ratio_3,
        "ratio_4": ratio_4,
        "ratio_5": ratio_5,
    }
    get("shallow").check_options(
        {
            "convolutions": convolutions,
            "hidden": hidden,
            "parameters": parameters,
            "bottleneck": bottleneck,
            **ratios,
        }
    )
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    _check_ratios(known, convolutions, hidden, **ratios)
    given = [name for name, ratio in ratios.items() if ratio is not None]
    layout_of = (known, num_outputs, convolutions, hidden, bottleneck is not None)
    _check_inputs(*layout_of, parameters, given)
    smallest = _least(known.shape, *layout_of[1:])
    if parameters < smallest:
        raise ArmError(
            f"shallow has {smallest} parameters at least, {_named(convolutions, hidden)}"
            f" on inputs of the shape {known.shape}",
            f"parameters = {parameters}",
            f"Write parameters={smallest}, or more.",
        )
    layout = _Layout.of(known.shape, num_outputs, convolutions)
    first = Fraction(_CHANNELS if channels is None else channels)
    more = Fraction(_GROWTH if growth is None else growth)
    relative = [first * more**place for place in range(convolutions)]
    if bottleneck is not None:
        relative.append(Fraction(bottleneck))
    of_hidden = (1, ratio_2, ratio_3, ratio_4, ratio_5)[:hidden]
    relative += [Fraction(1 if ratio is None else ratio) for ratio in of_hidden]

    def parted(every: Sequence[int]) -> tuple[list[int], int | None, list[int]]:
        filters, rest = list(every[:convolutions]), list(every[convolutions:])
        # A layer that is wider than what it reads is no bottleneck.
        between = None if bottleneck is None else min(rest.pop(0), layout.flat(filters))
        return filters, between, rest

    filters, between, units = parted(
        _largest(relative, lambda every: layout.count(*parted(every)) <= parameters)
    )
    without = layout.count(filters, between, [*units[:-1], 0])
    unit_cost = layout.count(filters, between, [*units[:-1], 1]) - without
    units[-1] = (parameters - without) // unit_cost
    total = layout.count(filters, between, units)
    return Widths(tuple(filters), between, tuple(units), total, unit_cost)


def _largest(
    relative: Sequence[Fraction], fits: Callable[[Sequence[int]], bool]
) -> list[int]:
    """Returns whole widths in given ratios, at the largest scale at which they fit.

    Args:
        relative: A number above 0 for each layer.
        fits: What holds for all widths of 1, and for no scale above one at which it
            does not hold.
    """
    half = Fraction(1, 2)

    def at(scale: Fraction) -> list[int]:
        return [max(1, math.floor(ratio * scale + half)) for ratio in relative]

    low, high = Fraction(0), 1 / max(relative)
    while fits(at(high)):
        low, high = high, 2 * high
    while True:
        found = at(low)
        # The next scale at which a width grows: what fits up to there, and not there,
        # is the largest, and bisection need not guess how near to it is near enough.
        edge = min(
            (width + half) / ratio for width, ratio in zip(found, relative, strict=True)
        )
        if not fits(at(edge)):
            return found
        middle = (edge + high) / 2
        if fits(at(middle)):
            low = middle
        else:
            low, high = edge, middle


def space_of(convolutions: int, hidden: int) -> Space:
    """Returns what is searched of a layout, besides training.

    Args:
        convolutions: As `shallow` has it.
        hidden: As `shallow` has it.
    """
    # Chosen by their corners on 40 values at budgets of 3,000 to 30,000, on 1 x 28 x 28 at
    # 10,000 and 100,000 and on 3 x 32 x 32 at 1 and 10 million: from 10,000 on no layer
    # is left with a single unit. A filter in a hundred units, or a growth of 0.5, gives
    # small budgets one filter in some layer; four convolutions that double from as many
    # filters as there are units leave three units for ten classes. Where there are
    # several hidden layers the first is narrower, and what is relative to it wider.
    one = hidden == 1
    space: dict[str, Real] = {}
    if convolutions > 0:
        space["channels"] = Real(*((0.05, 0.3) if one else (0.1, 0.5)), log=True)
    if convolutions > 1:
        space["growth"] = Real(0.7, 2.0, log=True)
    if convolutions < 2:
        space["bottleneck"] = Real(0.03 if one else 0.1, 1.0, log=True)
    for place in range(2, hidden + 1):
        space[f"ratio_{place}"] = Real(0.5, 2.0, log=True)
    # The paper's range.
    space["input_scale"] = Real(0.8, 1.25)
    return space


@register(
    space={
        "bottleneck": Choice((0.03, 0.1, 0.3)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ANY,
)
def shallow(
    inputs: Inputs,
    num_outputs: int,
    *,
    convolutions: Convolutions = 0,
    hidden: Hidden = 1,
    parameters: Count = _BUDGET,
    channels: Ratio | None = None,
    growth: Ratio | None = None,
    bottleneck: Ratio | None = None,
    ratio_2: Ratio | None = None,
    ratio_3: Ratio | None = None,
    ratio_4: Ratio | None = None,
    ratio_5: Ratio | None = None,
    input_scale: Multiplier = 1.0,
    dropout: Share = 0.0,
) -> nn.Module:
    """Few convolutions and few wide hidden layers, within a budget of parameters.

    Args:
        inputs: Of any shape without convolutions, which flatten them. With convolutions:
            (L,), read as one channel; (C, L); or (C, H, W). One needs sides of at least
            3 positions, two need 4, three and four need 8. A table has no neighbours,
            and takes convolutions=0.
        num_outputs: Classes, or 1 for regression.
        convolutions: Layers of kernels of 5. A max-pooling of 2 follows each, but for
            the second one of four; one of 3 follows a single convolution.
        hidden: Fully connected layers with ReLU.
        parameters: The budget. The network is the largest of its ratios within it, and
            one more unit in the last hidden layer would exceed it.
        channels: Filters of the first convolution, relative to the units of the first
            hidden layer; 0.1 unless it is given.
        growth: Filters of each further convolution, relative to those of the one before
            it; 1 unless it is given.
        bottleneck: Units of a linear layer in front of the first hidden layer, relative
            to that one's, and never more than what it reads; None: there is none. It
            makes a product of two of the widest matrix. The paper has it with one
            convolution and without any.
        ratio_2: Units of the second hidden layer, relative to the first one's; 1 unless
            it is given.
        ratio_3: The same of the third one.
        ratio_4: The same of the fourth one.
        ratio_5: The same of the fifth one.
        input_scale: What inputs are multiplied by.
        dropout: The share that is dropped behind each pooling and each hidden layer.

    Raises:
        ArmError: Convolutions cannot read such inputs, a ratio is of a layer that is not
            there, or the budget is too small for the layout.

    Example:
        >>> module = shallow((3, 32, 32), 10, convolutions=2, parameters=1_000_000)
        >>> sum(p.numel() for p in module.parameters())
        999135
    """
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    plan = widths(
        known,
        num_outputs,
        convolutions=convolutions,
        hidden=hidden,
        parameters=parameters,
        channels=channels,
        growth=growth,
        bottleneck=bottleneck,
        ratio_2=ratio_2,
        ratio_3=ratio_3,
        ratio_4=ratio_4,
        ratio_5=ratio_5,
    )
    made: list[nn.Module] = [_Scaled(input_scale)]
    if convolutions:
        spatial = Spatial.of("shallow", known.shape)
        made += spatial.opening()
        taken = spatial.channels
        for filters, pool in zip(plan.filters, _POOLS[convolutions], strict=True):
            made += [spatial.convolution(taken, filters, _KERNEL), nn.ReLU()]
            if pool > 1:
                # Dropout stands there even at 0: one structure, one fleet.
                made += [spatial.max_pool(pool), nn.Dropout(dropout)]
            taken = filters
    made.append(nn.Flatten())
    taken = _Layout.of(known.shape, num_outputs, convolutions).flat(plan.filters)
    if plan.bottleneck is not None:
        # An offset would be one of the next layer's.
        made.append(nn.Linear(taken, plan.bottleneck, bias=False))
        taken = plan.bottleneck
    for units in plan.units:
        made += [nn.Linear(taken, units), nn.ReLU(), nn.Dropout(dropout)]
        taken = units
    made.append(nn.Linear(taken, num_outputs))
    for layer in made:
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*made)


class _Scaled(nn.Module):
    """Multiplies inputs by a fixed number.

    It is a buffer, so that runs with different numbers share a fleet, and it is saved
    with the weights, which were learnt for it.
    """

    scale: torch.Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the product."""
        return x * self.scale


def _named(convolutions: int, hidden: int) -> str:
    return f"with convolutions = {convolutions} and hidden = {hidden}"


def _reads(known: Inputs, convolutions: int) -> bool:
    """Says whether a layout has neighbours to read, and sides to pool."""
    if convolutions == 0:
        return True
    sides = known.shape[1:] if len(known.shape) > 1 else known.shape
    if known.kind == "table" or len(sides) not in (1, 2):
        return False
    return min(sides) >= math.prod(_POOLS[convolutions])


# The fewest convolutions of the layouts that have each of these ratios.
_OF_CONVOLUTIONS = {"channels": 1, "growth": 2}


def _check_ratios(known: Inputs, convolutions: int, hidden: int, **ratios: Any) -> None:
    """Raises an ArmError where a ratio is of a layer that is not there.

    Args:
        known: What is known of the inputs.
        convolutions: Of the layout.
        hidden: Of the layout.
        **ratios: By name; None: not given.
    """
    for option, have, needed in (
        ("convolutions", convolutions, _OF_CONVOLUTIONS),
        ("hidden", hidden, {f"ratio_{place}": place for place in range(2, 6)}),
    ):
        out = [
            n for n, least_ in needed.items() if ratios[n] is not None and have < least_
        ]
        if not out:
            continue
        enough = max(needed[name] for name in out)
        way = f"Leave {' and '.join(out)} out"
        if option == "hidden" or _reads(known, enough):
            way += f", or write {option}={enough}"
        raise ArmError(
            f"{' and '.join(out)} of shallow {'is' if len(out) == 1 else 'are'} of"
            f" layouts with {option} = {enough} or more",
            f"{', '.join(f'{name} = {ratios[name]}' for name in out)} with {option} ="
            f" {have}",
            f"{way}.",
        )


def _check_inputs(
    known: Inputs,
    num_outputs: int,
    convolutions: int,
    hidden: int,
    bottleneck: bool,
    parameters: int | None = None,
    given: Sequence[str] = (),
) -> None:
    """Raises an ArmError where convolutions cannot read inputs.

    Args:
        known: What is known of the inputs.
        num_outputs: Classes, or 1 for regression.
        convolutions: Of the layout.
        hidden: Of the layout.
        bottleneck: Whether it has one.
        parameters: The budget; None: there is none.
        given: Names of the ratios that are given.
    """
    if _reads(known, convolutions):
        return
    shape = known.shape
    # The deepest layout that reads them, and what else must be written with it.
    fewer = max(n for n in range(convolutions) if _reads(known, n))
    way = f"Write convolutions={fewer}"
    budget = _least(shape, num_outputs, fewer, hidden, bottleneck)
    if parameters is not None and parameters < budget:
        way += f" and parameters={budget}"
    out = [name for name, n in _OF_CONVOLUTIONS.items() if name in given and fewer < n]
    if out:
        way += f", and leave {' and '.join(out)} out"
    way += "." if fewer else ": hidden layers alone read any shape."
    if known.kind == "table" or len(shape) not in (1, 2, 3):
        raise ArmError(
            "convolutions of shallow read neighbours, in sequences (L,) or (C, L) or in"
            " images (C, H, W)",
            f"a table with convolutions = {convolutions}"
            if known.kind == "table"
            else f"one example has the shape {shape}",
            way,
        )
    raise ArmError(
        f"shallow with convolutions = {convolutions} needs at least"
        f" {math.prod(_POOLS[convolutions])} positions along each side",
        f"one example has the shape {shape}",
        way,
    )

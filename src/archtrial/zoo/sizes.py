"""The baseline at a challenger's size, so that more parameters pass for no better idea.

A size is the geometric mean of the numbers of parameters over as many configurations
as a study searches. They are independent draws whatever the study's design, in which
the matched baseline has its own part. The mean grows evenly with the width, where a
median would leap from one depth that is searched to the next. The tuned
configuration's own size would be nearer to the question, but it is known after the
search only, and what is trained is declared before it.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError
from archtrial.space import Choice, Dimension, Integer, Space, Value, sample
from archtrial.zoo.arms import Architecture, known
from archtrial.zoo.registry import Shape

__all__ = ["Matched", "Sized", "match"]

SCALING = ("width", "channels", "parameters", "hidden", "hidden_size", "hidden_dim",
           "units", "dim", "d_model", "features", "filters")  # fmt: skip
"""The options that are taken to scale an architecture, the first that it has."""

# A baseline that needs to be this much wider is not the same architecture any more,
# or its option does not scale it.
_WIDEST = 1024


@dataclasses.dataclass(frozen=True)
class Sized:
    """An arm whose size is looked at."""

    name: str
    architecture: Architecture
    space: Space
    """Everything that is searched."""


@dataclasses.dataclass(frozen=True)
class Matched:
    """The baseline, widened."""

    challenger: str
    """Whose size it has."""
    option: str
    """What was scaled."""
    options: Mapping[str, Value]
    """Its fixed options."""
    space: Space
    """What it searches, as widely on the new scale as on the old one."""
    parameters: float
    """Its size."""
    target: float
    """The challenger's."""


def match(
    baseline: Sized,
    challengers: Sequence[Sized],
    inputs: Inputs | Shape,
    num_outputs: int,
    study_seed: int,
    configurations: int,
) -> Matched | None:
    """Widens the baseline until it is at least as large as the largest challenger.

    Its scaling option, and every value of it that is searched, is multiplied by the
    smallest factor that does so.

    Args:
        baseline: What is widened.
        challengers: All others; the largest is matched.
        inputs: What is known of them.
        num_outputs: Classes, or 1 for regression.
        study_seed: The protocol's seed.
        configurations: How many independent draws a size is over.

    Returns:
        None where the baseline is no smaller as it is.

    Raises:
        ArmError: The baseline has no whole-numbered option that scales it.
    """

    def size(arm: Sized, option: str = "", factor: float = 1.0) -> float:
        counted: dict[tuple[Any, ...], int] = {}
        drawn = []
        for index in range(configurations):
            values = sample(arm.space, study_seed, index)
            options = dict(arm.architecture.options)
            if option:
                middle = arm.architecture.setting(option)
                options[option] = round(values.pop(option, middle) * factor)
            # Several draws have one structure, and building it takes time.
            own = arm.architecture.passed(values)
            structure = (*sorted(own.items()), options.get(option))
            if structure not in counted:
                scaled = dataclasses.replace(arm.architecture, options=options)
                module = scaled.build(inputs, num_outputs, values)
                counted[structure] = _parameters(module, known(inputs))
            drawn.append(counted[structure])
        # Equal sizes are equal, in whatever order their logarithms were added.
        return round(statistics.geometric_mean(drawn), 3)

    largest = max(challengers, key=size)
    target = size(largest)
    if size(baseline) >= target:
        return None
    option, unit = _scaling(baseline)

    def at(width: int) -> float:
        return size(baseline, option, width / unit)

    narrow, wide = unit, 2 * unit
    while at(wide) < target:
        narrow, wide = wide, 2 * wide
        if wide > _WIDEST * unit:
            raise ArmError(
                "a matched baseline grows with the option that scales it",
                f"{option} = {wide} of {baseline.name} has"
                f" {at(wide):,.0f} parameters, and {largest.name} {target:,.0f}",
                "Leave matched_baseline out, and declare a larger baseline as an arm.",
            )
    while wide - narrow > 1:
        middle = (narrow + wide) // 2
        if at(middle) >= target:
            wide = middle
        else:
            narrow = middle
    options, space = dict(baseline.architecture.options), dict(baseline.space)
    if option in space:
        space[option] = _scaled(space[option], wide / unit)
    else:
        options[option] = wide
    return Matched(largest.name, option, options, space, at(wide), target)


def _scaling(arm: Sized) -> tuple[str, int]:
    """Returns the option that scales an arm, and a value in the middle of its range."""
    for name in SCALING:
        if name in arm.space:
            middle: Any = _middle(arm.space[name])
        else:
            middle = arm.architecture.setting(name)
        if type(middle) is not int or middle <= 0:
            continue
        # Of a few widths alone, none may be the one that matches.
        if arm.architecture.allows(name, 2 * middle + 1):
            return name, middle
    raise ArmError(
        "a matched baseline has an option, a whole number, that scales its size",
        f"{arm.name} has none of {', '.join(SCALING)}",
        "Give it such a parameter, or leave matched_baseline out and declare a larger"
        " baseline as an arm.",
    )


def _middle(dimension: Dimension) -> Value | None:
    if isinstance(dimension, Choice):
        whole = all(type(option) is int for option in dimension.options)
        return sorted(dimension.options)[len(dimension.options) // 2] if whole else None
    return dimension.value(0.5) if isinstance(dimension, Integer) else None


def _scaled(dimension: Dimension, factor: float) -> Dimension:
    if isinstance(dimension, Choice):
        return Choice(
            tuple(round(float(option) * factor) for option in dimension.options)
        )
    return Integer(
        round(dimension.low * factor), round(dimension.high * factor), dimension.log
    )


def _parameters(module: nn.Module, inputs: Inputs) -> int:
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        with torch.no_grad():  # lazy layers learn their inputs' size from two examples
            whole = torch.int64 if inputs.vocabulary is not None else torch.float32
            module.eval()(torch.zeros(2, *inputs.shape, dtype=whole))
    return sum(p.numel() for p in module.parameters())

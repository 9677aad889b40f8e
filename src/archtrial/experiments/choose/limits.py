"""What one answer of a network takes, and which arms a user can afford."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archtrial.experiments.choose.protocol import LIMITS, Protocol
from archtrial.protocol import HYPERPARAMETERS
from archtrial.space import Choice, Space, Value
from archtrial.training import cost
from archtrial.training.latency import latency
from archtrial.words import numbers

__all__ = ["answer", "kept_within"]

# So many structures of an arm are looked at.
_MOST = 64


def answer(module: nn.Module, example: torch.Tensor, threads: int) -> dict[str, float]:
    """Returns what one answer takes: the keys of `protocol.LIMITS`, in their units.

    Args:
        module: On the CPU.
        example: (1, ...) one input, as the module takes it.
        threads: Of torch, while its latency is measured.
    """
    parameters = cost.parameters(module)
    two = example.repeat(2, *[1] * (example.dim() - 1))
    written = cost.step(module, two).values / 2
    timed = latency(module, example, threads=threads, seconds=0.2)
    return {
        "max_parameters": parameters,
        "max_flops": cost.forward(module, example),
        "max_latency": 1000 * timed.median,
        "max_memory": 4 * (parameters + written) / 2**20,
    }


def kept_within(
    declared: Protocol, space: Space, measured: Any
) -> tuple[Space, str | None]:
    """Narrows an arm's space to what the user can afford.

    Args:
        declared: With the limits.
        space: What the arm searches.
        measured: From a configuration's structure to what `answer` returns.

    Returns:
        The space, without those options of a choice that go beyond a limit; and None, or
        a clause that says which limit even the smallest structure goes beyond.
    """
    limits = {
        name: float(limit)
        for name in LIMITS
        if (limit := getattr(declared, name)) is not None
    }
    if not limits:
        return space, None
    kept = dict(space)
    known: dict[tuple[Value, ...], Mapping[str, float]] = {}
    while True:
        choices = {
            name: dimension.options
            for name, dimension in kept.items()
            if isinstance(dimension, Choice) and name not in HYPERPARAMETERS
        }
        every = list(itertools.product(*choices.values()))[:_MOST]
        for values in every:
            if values not in known:
                known[values] = measured(dict(zip(choices, values, strict=True)))
        beyond = {v: _beyond(known[v], limits) for v in every}
        over = {values: name for values, name in beyond.items() if name is not None}
        if not over:
            return kept, None
        name = _longest(choices)
        if name is None or len(over) == len(every):
            smallest = min(every, key=lambda v: known[v]["max_parameters"])
            first = beyond[smallest] or next(iter(over.values()))
            return space, (
                f"{_amount(known[smallest][first])} {LIMITS[first]}, and"
                f" {_amount(limits[first])} are allowed"
            )
        # The option whose structures go beyond most often.
        place = list(choices).index(name)
        worst = max(
            choices[name], key=lambda option: sum(v[place] == option for v in over)
        )
        left = tuple(option for option in choices[name] if option != worst)
        kept[name] = Choice(left)
        known = {v: found for v, found in known.items() if v[place] != worst}


def _beyond(found: Mapping[str, float], limits: Mapping[str, float]) -> str | None:
    return next((n for n, limit in limits.items() if found[n] > limit), None)


def _longest(choices: Mapping[str, Sequence[Value]]) -> str | None:
    """Returns the dimension with most options, where one has more than one."""
    several = [name for name, options in choices.items() if len(options) > 1]
    return max(several, key=lambda name: len(choices[name]), default=None)


def _amount(number: float) -> str:
    if number >= 1e6:
        return numbers.flops(number).removesuffix(" FLOPs")
    return f"{number:,.3g}" if number < 100 else f"{math.floor(number):,}"

"""An equivalent network, and what can be asked of it.

`Network` carries out the steps of a traced graph from a plain table. (A `GraphModule`
of torch.fx has a class of its own each time, so no two would train side by side.)
"""

import copy
import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from archtrial.equivalents.untied import Dense, LocallyConnected, Parts, squared_norm

__all__ = [
    "Network",
    "Step",
    "Value",
    "function_named",
    "local_masks",
    "parts",
    "reset",
    "with_part",
]


@dataclasses.dataclass(frozen=True)
class Value:
    """What a step of this number left; 0 is the input."""

    index: int

    def __repr__(self) -> str:
        return f"%{self.index}"


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: a layer, a function or a method with its arguments."""

    kind: Literal["layer", "function", "method"]
    target: int | str
    """The number of a layer, "module:function", or a method of the first argument."""
    args: tuple[Any, ...]
    """May hold a `Value` anywhere inside of tuples, lists, dicts and slices."""
    kwargs: Mapping[str, Any]


@functools.cache
def function_named(name: str) -> Callable[..., Any]:
    """Returns the function "module:name"."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


class Network(nn.Module):
    """Layers, and the steps that lead through them.

    Args:
        layers: What has weights, or is a module of its own.
        names: Of the layers, as they are called in the original module.
        steps: In their order.
        output: What is returned, with a `Value` in it.

    Attributes:
        text: The steps and layers in words. Two networks with the same text do the
            same with their weights.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        names: Sequence[str],
        steps: Sequence[Step],
        output: Any,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.names = tuple(names)
        self.steps = tuple(steps)
        self.output = output
        last = _last_uses(self.steps)
        kept = _indices(output)
        self._done_with = tuple(
            tuple(i for i, use in last.items() if use == number and i not in kept)
            for number in range(1, len(self.steps) + 1)
        )
        self.text = self._described()

    def forward(self, x: torch.Tensor) -> Any:
        """Carries out the steps on inputs (N, *input_shape)."""
        values: dict[int, Any] = {0: x}
        for number, (step, done_with) in enumerate(
            zip(self.steps, self._done_with, strict=True), 1
        ):
            args = _filled(step.args, values)
            kwargs = _filled(step.kwargs, values)
            if step.kind == "layer":
                assert isinstance(step.target, int)
                values[number] = self.layers[step.target](*args, **kwargs)
            elif step.kind == "function":
                values[number] = function_named(str(step.target))(*args, **kwargs)
            else:
                values[number] = getattr(args[0], str(step.target))(*args[1:], **kwargs)
            for index in done_with:  # without gradients their memory is free again
                del values[index]
        return _filled(self.output, values)

    def _described(self) -> str:
        lines = []
        for number, step in enumerate(self.steps, 1):
            target = str(step.target)
            if isinstance(step.target, int):
                layer = self.layers[step.target]
                joined = getattr(layer, "connections", "")
                target = f"{self.names[step.target]}: {type(layer).__name__} {joined}"
            lines.append(f"%{number} = {target} {step.args} {dict(step.kwargs)}")
        return "\n".join([*lines, f"return {self.output}"])


def _filled(argument: Any, values: Mapping[int, Any]) -> Any:
    """Returns an argument with each `Value` in it replaced by what it stands for."""
    if isinstance(argument, Value):
        return values[argument.index]
    if isinstance(argument, (tuple, list)):
        return type(argument)([_filled(item, values) for item in argument])
    if isinstance(argument, Mapping):
        return {name: _filled(item, values) for name, item in argument.items()}
    if isinstance(argument, slice):
        ends = (argument.start, argument.stop, argument.step)
        return slice(*(_filled(end, values) for end in ends))
    return argument


def _indices(argument: Any) -> set[int]:
    """Returns the number of every `Value` in an argument."""
    found: set[int] = set()

    class _Seen(dict[int, Any]):
        def __missing__(self, index: int) -> None:
            found.add(index)

    _filled(argument, _Seen())
    return found


def _last_uses(steps: Sequence[Step]) -> dict[int, int]:
    """Returns by number of a value the last step that needs it."""
    return {
        index: number
        for number, step in enumerate(steps, 1)
        for index in (*_indices((step.args, step.kwargs)), number)
    }


# ------------------------------------------------------------ what can be asked of it


def reset(network: Network) -> None:
    """Starts every layer afresh, as its own kind starts by default.

    Dense and locally connected layers start as nn.Linear does (uniform within
    1 / sqrt(inputs)), with the inputs that each unit really has; normalisations at
    1 and 0 with running statistics reset; a parameter that is added or multiplied, at
    what changes nothing. Drawn from torch's global generator, in the order of the
    layers.

    Example:
        >>> import archtrial
        >>> from archtrial import equivalents, zoo
        >>> network = archtrial.equivalent_fcn(zoo.cnn((40,), 10, width=4), (40,))
        >>> equivalents.reset(network)
        >>> equivalents.parts(network).deviation > 0.5  # most weights are off-local
        True
    """
    for layer in network.layers:
        restart = getattr(layer, "reset_parameters", None)
        if restart is not None:
            restart()


def local_masks(network: Network) -> dict[str, torch.Tensor]:
    """Returns which weights are local, by parameter name.

    Returns:
        bool tensors of the parameters' shapes and devices. Parameters that are wholly
        local are left out: biases, normalisations, layers that were fully connected
        before, and everything in a locally connected network.

    Example:
        >>> import archtrial
        >>> from archtrial import equivalents, zoo
        >>> network = archtrial.equivalent_fcn(zoo.cnn((40,), 10, width=4), (40,))
        >>> masks = equivalents.local_masks(network)
        >>> {name: round(float(mask.float().mean()), 2) for name, mask in masks.items()}
        {'layers.1.weight': 0.12, 'layers.4.weight': 0.15, 'layers.7.weight': 0.28}
    """
    masks = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Dense) and (mask := layer.local_mask()) is not None:
            masks[f"{name}.weight"] = mask
    return masks


def with_part(network: Network, part: Literal["local", "off_local"]) -> Network:
    """Returns a copy of which only one part of the weights is left.

    In the "local" part the off-local weights are 0, in the "off_local" part those that
    are local in what was a convolution. Biases, normalisations and layers that were
    fully connected before (the classifier) stay in both: without them the off-local
    weights alone could not speak. A locally connected network has nothing off-local,
    so that nothing of its convolutions is left in that part.
    """
    copied = copy.deepcopy(network)
    for layer in copied.layers:
        if isinstance(layer, (Dense, LocallyConnected)):
            layer.keep(part)
    return copied


def parts(network: Network) -> Parts:
    """Returns the squared norms of the three parts of a network's weights.

    All parameters count, biases too. Layers that were fully connected before count as
    tied. Weights at zero padding count nowhere: they do not exist, or stay 0.

    Returns:
        Over all, and by layer under the names of the original module's layers; a layer
        that was called twice is two here, the second with the ending "@2".

    Example:
        >>> import archtrial
        >>> from archtrial import equivalents, zoo
        >>> network = archtrial.equivalent_fcn(zoo.cnn((40,), 10, width=4), (40,))
        >>> parts = equivalents.parts(network)
        >>> parts.deviation
        0.0
        >>> list(parts.by_layer)
        ['1.convolution', '2.convolution', '3.convolution', '6']
    """
    by_layer = {}
    for name, layer in zip(network.names, network.layers, strict=True):
        measure = getattr(layer, "parts", None)
        if measure is not None:
            by_layer[name] = measure()
        elif weights := list(layer.parameters()):
            by_layer[name] = Parts(sum(map(squared_norm, weights)))
    total = functools.reduce(Parts.__add__, by_layer.values(), Parts())
    return dataclasses.replace(total, by_layer=by_layer)

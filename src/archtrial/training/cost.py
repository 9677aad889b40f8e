"""What a training costs, counted and not timed."""

import copy
import types
from collections.abc import Hashable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["parameters", "structure", "training"]


def parameters(module: nn.Module) -> int:
    """Returns the number of a module's parameters; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def structure(module: nn.Module) -> Hashable:
    """Returns what two modules share exactly if they compute the same function.

    That is, the same function of their inputs, parameters and buffers: the tree
    of layers with their plain attributes, and the shape of every tensor. The
    probabilities of dropout layers are left out.
    """
    layers = tuple(
        (name, type(layer), _plain_attributes(layer))
        for name, layer in module.named_modules()
    )
    tensors = tuple(
        (name, tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
        for group in (module.named_parameters, module.named_buffers)
        for name, tensor in group()
    )
    return layers, tensors


def _plain_attributes(layer: nn.Module) -> tuple[tuple[str, Hashable], ...]:
    is_dropout = isinstance(layer, nn.modules.dropout._DropoutNd)
    found: list[tuple[str, Hashable]] = []
    for name, value in sorted(vars(layer).items()):
        if name == "training" or (is_dropout and name == "p"):
            continue
        if isinstance(value, types.FunctionType):
            found.append((name, value.__code__))
        elif isinstance(value, types.BuiltinFunctionType):  # such as torch.relu
            found.append((name, value))
        elif _is_plain(value):
            found.append((name, repr(value)))
    return tuple(found)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


_INTERNAL = set(vars(nn.Module()))


def _tells_all(module: nn.Module) -> bool:
    """Says whether nothing that a forward pass may hang on is outside `structure`.

    A number kept in a dictionary, in an object of the user's own or in a closure is.
    """
    return all(
        name in _INTERNAL or _is_told(value)
        for layer in module.modules()
        for name, value in vars(layer).items()
    )


def _is_told(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        return not (value.__closure__ or value.__defaults__ or value.__kwdefaults__)
    if isinstance(value, (list, tuple)):
        return all(_is_told(item) for item in value)
    # Tensors in a list are parameters, as a recurrent layer keeps them.
    return isinstance(value, (types.BuiltinFunctionType, torch.Tensor)) or _is_plain(
        value
    )


_counted: dict[Hashable, int] = {}
"""FLOPs of a step, by structure and batch: counting a recurrent net takes seconds."""


def training(module: nn.Module, batch: torch.Tensor, steps: int) -> float:
    """Returns the floating-point operations of a whole training.

    Counted are those of matrix products, convolutions, recurrent cells and
    attention, forward and backward, a multiplication and an addition as two.
    Element-wise work, the loss and the optimiser are left out, as is customary.

    One step is counted on the meta device, which computes shapes only. There,
    in training mode and with gradients, recurrent layers and attention fall
    into the products they consist of; on the CPU fused kernels hide them. A
    module that cannot run there, since it looks at values, is counted where
    it is; fused kernels are then missed.

    Args:
        module: In any state; it is copied.
        batch: Inputs of one step, of the training's batch size.
        steps: Steps of the training.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    if not _tells_all(module):
        return float(_count(module, batch) * steps)
    key = (structure(module), tuple(batch.shape), batch.device)
    if key not in _counted:
        _counted[key] = _count(module, batch)
    return float(_counted[key] * steps)


def _count(module: nn.Module, batch: torch.Tensor) -> int:
    # Outside of `try`: where there is no memory for it, nothing else is counted.
    aside = copy.deepcopy(module)
    with torch.random.fork_rng([batch.device] if batch.is_cuda else []):
        try:
            return _step(aside.to("meta"), batch.to("meta"))
        except Exception:  # what a user's module raises on meta tensors is anything
            return _step(copy.deepcopy(module), batch)


def _step(module: nn.Module, batch: torch.Tensor) -> int:
    module.train()
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        module(batch).sum().backward()
    return int(counter.get_total_flops())

"""What a training costs, counted and not timed."""

import copy
from collections.abc import Hashable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archtrial import randomness
from archtrial.training.structure import structure, surroundings

__all__ = ["parameters", "training"]


def parameters(module: nn.Module) -> int:
    """Returns the number of a module's parameters; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


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
    key = (structure(module), surroundings(module), batch.shape, batch.device)
    if key not in _counted:
        _counted[key] = _count(module, batch)
    return float(_counted[key] * steps)


def _count(module: nn.Module, batch: torch.Tensor) -> int:
    # Outside of `try`: where there is no memory for it, nothing else is counted.
    aside = _copied(module)
    with (
        torch.random.fork_rng([batch.device] if batch.is_cuda else []),
        randomness.global_generators(0),
    ):
        try:
            return _step(aside.to("meta"), batch.to("meta"))
        except Exception:  # what a user's module raises on meta tensors is anything
            return _step(_copied(module), batch)


def _copied(module: nn.Module) -> nn.Module:
    """Returns a deep copy, also where layers keep what was computed from parameters.

    So does torch's earlier weight_norm, and torch itself copies no such tensor.
    """
    computed = {
        id(value): value.detach().clone()
        for layer in module.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def _step(module: nn.Module, batch: torch.Tensor) -> int:
    module.train()
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        module(batch).sum().backward()
    return int(counter.get_total_flops())

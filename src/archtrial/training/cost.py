"""What a training costs, counted and not timed."""

import copy
import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from archtrial import randomness
from archtrial.training.structure import structure, surroundings

__all__ = ["Step", "parameters", "step", "training"]


def parameters(module: nn.Module) -> int:
    """Returns the number of a module's parameters; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step of a training takes."""

    flops: int
    """As `training` counts them."""
    values: int
    """That the operations of the forward pass write; most are kept for the backward."""
    operations: int
    """Of the forward pass, views left out."""


_counted: dict[Hashable, Step] = {}
"""By structure and batch: counting a recurrent net takes seconds."""


def training(module: nn.Module, batch: torch.Tensor, steps: int) -> float:
    """Returns the floating-point operations of a whole training.

    Counted are those of matrix products, convolutions, recurrent cells and
    attention, forward and backward, a multiplication and an addition as two.
    Element-wise work, the loss and the optimiser are left out, as is customary.

    Args:
        module: In any state; it is copied.
        batch: Inputs of one step, of the training's batch size.
        steps: Steps of the training.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    return float(step(module, batch).flops * steps)


def step(module: nn.Module, batch: torch.Tensor) -> Step:
    """Returns what one step takes.

    It is counted on the meta device, which computes shapes only. There,
    in training mode and with gradients, recurrent layers and attention fall
    into the products they consist of; on the CPU fused kernels hide them. A
    module that cannot run there, since it looks at values, is counted where
    it is; fused kernels are then missed.

    Args:
        module: In any state; it is copied.
        batch: Inputs of one step, of the training's batch size.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    key = (structure(module), surroundings(module), batch.shape, batch.device)
    if key not in _counted:
        _counted[key] = _count(module, batch)
    return _counted[key]


class _Written(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that write values of their own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = 0
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carries an operation out and counts it."""
        returned = func(*args, **(kwargs or {}))
        if any(each.alias_info is None for each in func._schema.returns):
            self.operations += 1
            for tensor in torch.utils._pytree.tree_leaves(returned):
                if isinstance(tensor, torch.Tensor):
                    self.values += tensor.numel()
        return returned


def _count(module: nn.Module, batch: torch.Tensor) -> Step:
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


def _step(module: nn.Module, batch: torch.Tensor) -> Step:
    module.train()
    written = _Written()
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        with written:
            outputs = module(batch)
        outputs.sum().backward()
    return Step(int(counter.get_total_flops()), written.values, written.operations)

"""A user's own loss, found by its name as an architecture is."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.zoo import arms

__all__ = ["Loss", "find"]


@dataclasses.dataclass(frozen=True)
class Loss:
    """A function f(outputs, targets); it pickles by its spec, as architectures do."""

    spec: str
    """What it was found by: "path/loss.py:focal", "package.module:focal"."""
    source: str
    """The text of the file that defines it, and of what it imports from beside it."""

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> Any:
        """Returns what the user's function does."""
        return self._function(outputs, targets)

    @functools.cached_property
    def _function(self) -> Callable[..., Any]:
        return arms.again(self.spec, self.source)

    def __getstate__(self) -> dict[str, str]:
        return {"spec": self.spec, "source": self.source}


def find(spec: str) -> Loss:
    """Finds a loss.

    Raises:
        ArmError: There is no such thing, its file cannot be run, or it is no function
            of outputs and targets.
    """
    if ":" not in spec:
        raise ArmError(
            "a loss is a function in a file or a module",
            repr(spec),
            f"Write {spec}:NAME, where NAME is the function in it."
            if spec.endswith(".py")
            else 'Write loss = "path/to/file.py:NAME" or "package.module:NAME"; without'
            " a loss it is cross-entropy for classes and squared error for numbers.",
        )
    member, source = arms.named(spec)
    name = spec.rpartition(":")[2]
    if inspect.isclass(member):
        made = f"{name}(reduction='none')" if issubclass(member, nn.Module) else "..."
        raise ArmError(
            "a loss is a function of outputs and targets",
            f"{spec} is a class",
            f"Write a function: def loss(outputs, targets): return {made}"
            f"{'(outputs, targets)' if made != '...' else ''}.",
        )
    if not callable(member):
        raise ArmError(
            "a loss is a function of outputs and targets",
            f"{spec} is an object of type {type(member).__name__}",
        )
    if isinstance(member, nn.Module) and any(True for _ in member.parameters()):
        raise ArmError(
            "a loss has nothing to train",
            f"{spec} has parameters, which no optimiser moves",
            "Keep its constants as buffers, or let the architecture have them.",
        )
    return Loss(spec, source)

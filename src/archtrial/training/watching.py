"""What a module's own code does while it is rehearsed, and which tensors it holds."""

import contextlib
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from archtrial.errors import FormError
from archtrial.training.loop import Loop
from archtrial.training.module import described
from archtrial.zoo.userfile import is_library, line_of

__all__ = ["Watch", "held_tensors", "hidden_attributes", "untrained"]


def untrained(found: str | None) -> FormError:
    """Returns the refusal of a module that no gradient reaches."""
    return FormError(
        "outputs depend on weights that can be trained",
        "no gradient reaches any" + (f": {found}" if found else ""),
        "Look for torch.no_grad(), .detach(), .numpy() or .data, or for argmax and"
        " comparisons, which have no gradient.",
    )


# What takes a tensor out of its gradient; the last is the getter of .data.
_CUTS: dict[Any, str] = {
    torch.Tensor.detach: ".detach() is called",
    torch.Tensor.detach_: ".detach_() is called",
    torch.detach: "torch.detach is called",
    torch.Tensor.numpy: ".numpy() is called",
    torch.Tensor.tolist: ".tolist() is called",
    torch.argmax: "argmax is called",
    torch.Tensor.argmax: "argmax is called",
    torch.Tensor.data.__get__: ".data is taken",  # type: ignore[attr-defined]
}


class Watch(TorchFunctionMode):
    """Sees what a module calls, makes and returns while it is rehearsed."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.known = {id(layer) for layer in module.modules()}
        self.leaves: list[torch.Tensor] = []
        self.reached: set[int] = set()
        self.kept: list[torch.Tensor] = []
        self.input: torch.Tensor | None = None
        self.outputs: torch.Tensor | None = None
        self.end = ""
        self.unusual: str | None = None
        self.evaluated: list[tuple[nn.Module, str | None]] = []
        self.made_at: str | None = None
        self.rebound_at: str | None = None
        self.cut: str | None = None
        self._training: bool | None = None
        self._off = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Notes where a weight gets other memory, and lets everything pass."""
        if (
            getattr(func, "__name__", "") == "__set__"
            and getattr(func, "__self__", None) is torch.Tensor.data
            and isinstance(args[0], nn.Parameter)
        ):
            self.rebound_at = self.rebound_at or _running()
        if self._training:
            before, self._off = self._off, not torch.is_grad_enabled()
            said = _CUTS.get(func) if not self._off else "gradients are turned off"
            if said is not None and not (before and self._off):
                line = _running()
                self.cut = f"{said} ({line})" if line else said
        return func(*args, **(kwargs or {}))

    def called_with(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Notes what the module is called with, as it is set before its forward."""
        self.input = inputs[0]
        self._training = module.training

    def returned(self, _: nn.Module, inputs: Any, returned: Any) -> None:
        """Notes an answer that is no tensor."""
        if not isinstance(returned, torch.Tensor):
            self.unusual = (
                f"it returns {described(returned)}, of which 'logits' or the first"
                " that has the shape of outputs is trained"
            )

    def taken(self, module: nn.Module, inputs: Any, outputs: torch.Tensor) -> None:
        """Notes the outputs that are trained, and the weights that they come from."""
        training, self._training = self._training, None
        if module.training != training:
            called = "train()" if module.training else "eval()"
            raise FormError(
                "training and evaluation are switched by whoever calls a module",
                f"its forward calls {called} on the module itself",
                "Remove the call: training is in training mode, and all that is"
                " predicted in evaluation mode.",
            )
        if module.training:
            if not outputs.requires_grad:
                raise untrained(self.cut)
            self.leaves = list(_leaves(outputs))
            self.outputs = outputs.detach()
            self.end = type(outputs.grad_fn).__name__

    def calls(self, layer: nn.Module, inputs: Any) -> None:
        """Notes a layer that is none of the module's when it is called."""
        if not torch.is_grad_enabled() and id(layer) not in self.known:
            self.evaluated.append((layer, _running()))

    def makes(self, layer: nn.Module, name: str, parameter: Any) -> None:
        """Notes where a parameter is made."""
        self.made_at = _running() or self.made_at


_LOOP = Loop.outputs.__code__.co_filename


def _running() -> str | None:
    """Returns the line of the user's module that is being carried out."""
    frames = traceback.extract_stack()
    ours = [i for i, frame in enumerate(frames) if frame.filename == _LOOP]
    return line_of(frames[ours[0] :]) if ours else None


def _leaves(outputs: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the tensors that a gradient of the outputs ends in."""
    waiting = [outputs.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting.extend(following for following, _ in node.next_functions)


# ------------------------------------------------------------- what a module is made of


Place = tuple[str, str | None]
"""How a user writes an attribute ("self.layers[0].weight"), and the line that makes it."""

_OF_TORCH = frozenset(vars(nn.Module()))


def hidden_attributes(module: nn.Module) -> Iterator[tuple[Place, Any]]:
    """Yields tensors and layers in plain attributes, where torch does not see them."""
    registered = {id(layer) for layer in module.modules()}
    for prefix, layer in module.named_modules():
        for name, value in vars(layer).items():
            if name in _OF_TORCH:
                continue
            path = f"{prefix}.{name}" if prefix else name
            line = functools.partial(_assigned, type(layer), name)
            for inner, thing in _within(value, path, registered, set()):
                yield (inner, line()), thing


def _within(
    value: Any, path: str, registered: set[int], seen: set[int]
) -> Iterator[tuple[str, Any]]:
    if id(value) in seen or id(value) in registered or len(seen) > 10_000:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        yield path, value
        for group in (value.named_parameters(), value.named_buffers()):
            yield from ((f"{path}.{name}", tensor) for name, tensor in group)
        yield from ((f"{path}.{n}", m) for n, m in value.named_modules() if n)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _within(item, f"{path}[{key!r}]", registered, seen)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from _within(item, f"{path}[{index}]", registered, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        defined = inspect.getmodule(type(value))
        if not is_library(getattr(defined, "__file__", None)):
            for name, item in vars(value).items():
                yield from _within(item, f"{path}.{name}", registered, seen)


def held_tensors(module: nn.Module) -> Iterator[tuple[Place, torch.Tensor]]:
    """Yields a module's buffers, and tensors in plain attributes but for parameters."""
    own = {id(p) for p in module.parameters()}
    for name, buffer in module.named_buffers():
        yield (name, None), buffer
    for place, thing in hidden_attributes(module):
        if isinstance(thing, torch.Tensor) and id(thing) not in own:
            yield place, thing


def _assigned(kind: type, name: str) -> str | None:
    """Returns the line of a class that assigns to an attribute, else its first."""
    for owner in kind.__mro__:
        if is_library(getattr(inspect.getmodule(owner), "__file__", None)):
            continue
        with contextlib.suppress(OSError, TypeError):
            lines, first = inspect.getsourcelines(owner)
            for offset, line in enumerate(lines):
                if re.search(rf"\bself\.{re.escape(name)}\b[^=]*=", line):
                    return f"{inspect.getsourcefile(owner)}, line {first + offset}"
    return None

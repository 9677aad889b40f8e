"""What two modules share exactly if they compute the same function.

Runs that train as one program share all that is not a tensor: layers, options, and
whatever a user's code keeps, be it in a dict, a dataclass, a closure or a list. It is
described here in full, by where it lies, so that a difference can be named.
"""

import functools
import hashlib
import logging
import pickle
import sys
import types
import weakref
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from archtrial.zoo.depth import StochasticDepth
from archtrial.zoo.userfile import is_library

__all__ = ["RATES", "difference", "structure", "surroundings"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_VALUES = (torch.dtype, torch.device, torch.Size, torch.layout, range, slice)
_BUILTIN = (types.BuiltinFunctionType, types.MethodDescriptorType, np.ufunc)
# What torch keeps in every module; its hooks are numbered by a count of its own.
_OF_ALL = frozenset(vars(nn.Module()))
_APART = {"_parameters", "_buffers", "_modules", "training"}
_OF_CLASSES = {"__dict__", "__weakref__", "__module__", "__doc__"}


def structure(module: nn.Module) -> Hashable:
    """Returns what two modules share exactly if they compute the same function.

    That is, the same function of their inputs, parameters and buffers: the tree of
    layers with their attributes, and the shape of every tensor. The probabilities of
    layers that drop something out are left out, and tensors that were computed from parameters.
    """
    return tuple(_Description(module).parts.items())


def surroundings(module: nn.Module) -> Hashable:
    """Returns what decides which layers a module runs, and its structure leaves out.

    A builder may set an attribute of the class or a global variable in place of one of
    the module: what the module's own code reads by name is here, followed through its
    functions. So are whether dropout is on at all, and the values of buffers that are
    whole numbers, by which code may branch. A memo that grows makes a difference, too:
    good for a key of what is counted, and too much for one of what trains together.
    """
    told = _Description(nn.Module())
    for place, layer in enumerate(module.modules()):
        rate = _rate(layer)
        if rate is not None:
            told.parts[f"p {place}"] = getattr(layer, rate) > 0
        for name, buffer in layer._buffers.items():
            if buffer is not None and _branches(buffer):
                told.parts[f"{name} {place}"] = tuple(buffer.flatten().tolist())
    left: list[Any] = []
    for layer in module.modules():
        left += type(layer).__mro__
        left += [v for v in vars(layer).values() if isinstance(v, types.FunctionType)]
    seen: set[int] = set()
    while left:
        value = left.pop()
        if id(value) in seen or _is_theirs(value):
            continue
        seen.add(id(value))
        for name, read in _read_by(value):
            if isinstance(read, (type, types.FunctionType)):
                left.append(read)
            elif isinstance(read, (classmethod, staticmethod, types.MethodType)):
                left.append(read.__func__)
            elif isinstance(read, property) and read.fget is not None:
                left.append(read.fget)
            elif not isinstance(read, (types.ModuleType, nn.Module, torch.Tensor)):
                told._walk(f"{value.__module__}.{value.__qualname__}: {name}", read)
    return tuple(told.parts.items())


def _rate(layer: nn.Module) -> str | None:
    """Returns the attribute that is a layer's dropout probability, if it has one."""
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return "p"
    return RATES.get(type(layer))


RATES: Mapping[type, str] = {StochasticDepth: "p", nn.MultiheadAttention: "dropout"}
"""Layers that drop something out, beside torch's own of that name. Of a subclass, code
of somebody else's may read the attribute, too."""


def _branches(buffer: torch.Tensor) -> bool:
    """Says whether code may branch by a buffer; many whole numbers are indices."""
    rounded = not (buffer.is_floating_point() or buffer.is_complex())
    return rounded and buffer.numel() <= 64 and not buffer.is_meta


_CALLED = frozenset({"__call__", "__getattr__"})
_library = functools.cache(is_library)


def _is_theirs(value: Any) -> bool:
    """Says whether a class, function or module is no user's own."""
    if isinstance(value, types.FunctionType):
        return _library(value.__code__.co_filename)
    module = value
    if isinstance(value, type):
        module = sys.modules.get(value.__module__)
    if module is None or module.__name__ == "__main__":  # a file's, or a notebook's
        return False
    return _library(getattr(module, "__file__", None))


def _read_by(value: type | types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yields a class's members, or the global variables that a function may read."""
    if isinstance(value, type):
        for name, member in vars(value).items():
            if not name.startswith("__") or name in _CALLED:
                yield name, member
        return
    names: set[str] = set()
    codes = [value.__code__]
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    for name in sorted(names & value.__globals__.keys()):
        found = value.__globals__[name]
        yield name, found
        if isinstance(found, types.ModuleType) and not _is_theirs(found):
            for inner in sorted(names & vars(found).keys()):  # as in config.depth
                yield f"{name}.{inner}", vars(found)[inner]


def difference(one: nn.Module, other: nn.Module) -> str | None:
    """Names the first attribute in which two modules differ, with both its values.

    Returns:
        "self.cfg['dropout'] (0.1 and 0.9)"; None if their structure is the same.
    """
    mine, theirs = _Description(one), _Description(other)
    for path in {**mine.parts, **theirs.parts}:
        if mine.parts.get(path) != theirs.parts.get(path):
            values = [own.shown.get(path, "nothing") for own in (mine, theirs)]
            if values[0] == values[1]:
                return f"{path} ({values[0]}, with other contents in each run)"
            return f"{path} ({values[0]} and {values[1]})"
    return None


class _Description:
    """All parts of a module by path.

    Attributes:
        parts: What is compared.
        shown: What is told of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parts: dict[str, Hashable] = {}
        self.shown: dict[str, str] = {}
        self._seen: dict[int, str] = {}
        self._held: list[Any] = []  # or another object might get its number
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            self._remember(tensor, name)
            told = (tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
            self._add(f"self.{name}", told, f"a tensor of {told[0]}")
        self._module("self", module)

    def _add(self, path: str, part: Hashable, shown: str) -> None:
        self.parts[path] = part
        self.shown[path] = shown

    def _remember(self, value: Any, path: str) -> None:
        self._seen[id(value)] = path
        self._held.append(value)

    def _module(self, path: str, module: nn.Module) -> None:
        self._remember(module, path)
        kind = type(module)
        if parametrize.is_parametrized(module):  # a class of its own for each layer
            kind = kind.__bases__[0]
        self._type(path, kind)
        for name, value in sorted(vars(module).items()):
            if name in _APART or name == _rate(module):
                continue
            if name in _OF_ALL and isinstance(value, Mapping):
                value = list(value.values())
                if not value:
                    continue
            self._walk(f"{path}.{name}", value)
        for own in (module._parameters, module._buffers):
            for name, tensor in own.items():
                if tensor is None or id(tensor) in self._seen:
                    at = self._seen.get(id(tensor), "None")
                    self._add(f"{path}.{name} ", at, at)
                else:  # in a layer that is itself no member of the module
                    self._tensor(f"{path}.{name}", tensor)
        for name, layer in module._modules.items():
            self._walk(_inner(path, name), layer)

    def _type(self, path: str, kind: type) -> None:
        name = kind.__qualname__
        if "<locals>" not in name:
            self._add(path, kind, name)
            return
        # Made anew by each call of a function: it is what it says.
        self._add(path, (kind.__module__, name), name)
        self._walk(f"{path}'s class", kind)

    def _walk(self, path: str, value: Any) -> None:
        if isinstance(value, _PLAIN):
            self._add(path, (type(value), repr(value)), repr(value))
        elif isinstance(value, _VALUES):
            self._add(path, repr(value), repr(value))
        elif id(value) in self._seen:
            self._add(path, self._seen[id(value)], self._seen[id(value)])
        elif isinstance(value, nn.Module):
            self._module(path, value)
        else:
            self._remember(value, path)
            if isinstance(value, torch.Tensor):
                self._tensor(path, value)
            elif isinstance(value, np.ndarray) and value.dtype != object:
                content = hashlib.sha256(value.tobytes()).digest()
                self._add(path, (value.shape, value.dtype, content), "an array")
            elif isinstance(value, weakref.ref):
                self._walk(path, value())
            else:
                self._object(path, value)

    def _tensor(self, path: str, tensor: torch.Tensor) -> None:
        shown = f"a tensor of {tuple(tensor.shape)} that is no buffer"
        form = (tuple(tensor.shape), tensor.dtype, str(tensor.device))
        if (
            tensor.grad_fn is not None
            or tensor.is_meta
            or tensor.layout != torch.strided
        ):
            self._add(path, form, shown)  # it is computed again at each step
            return
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        self._add(path, (*form, hashlib.sha256(raw.tobytes()).digest()), shown)

    def _object(self, path: str, value: Any) -> None:
        parts = _parts(path, value)
        if parts is None:
            kind = f"an object of {type(value).__qualname__}"
            self._add(path, _content(value), kind)
            return
        if isinstance(value, (type, types.FunctionType, functools.partial)):
            shown = getattr(value, "__qualname__", "a function")
            self._add(path, type(value).__name__, shown)
        else:
            self._type(path, type(value))
        for inner, part in parts:
            if isinstance(part, types.CodeType):
                self._add(inner, part, f"code of {part.co_name}")
            else:
                self._walk(inner, part)


def _inner(path: str, name: str) -> str:
    return f"{path}[{name}]" if name.isdigit() else f"{path}.{name}"


def _parts(path: str, value: Any) -> list[tuple[str, Any]] | None:
    """Returns what an object consists of, by path; None if that cannot be told."""
    if isinstance(value, types.FunctionType):
        return list(_of_function(path, value))
    if isinstance(value, types.MethodType):
        return [(path, value.__func__), (f"{path}.__self__", value.__self__)]
    if isinstance(value, type):
        if "<locals>" not in value.__qualname__:
            return None
        members = vars(value).items()
        return [
            *((f"{path}'s base", base) for base in value.__bases__),
            *((f"{path}.{n}", member) for n, member in members if n not in _OF_CLASSES),
        ]
    if isinstance(value, (*_BUILTIN, types.ModuleType, logging.Logger)):
        return None
    if isinstance(value, functools.partial):
        given = [value.func, value.args, value.keywords]
        return [
            (path + end, v) for end, v in zip(("", ".args", ""), given, strict=True)
        ]
    parts: list[tuple[str, Any]] = []
    known = False
    if isinstance(value, Mapping):
        known = True
        parts += [(f"{path}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        known = True
        parts.append((path, sorted(map(repr, value))))
    elif isinstance(value, (list, tuple)) or type(value).__name__ == "deque":
        known = True
        parts += [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        parts.append((f"len({path})", len(value)))
    if isinstance(value, (classmethod, staticmethod)):
        return [(path, value.__func__)]
    if isinstance(value, property):
        return [(f"{path}.{n}", getattr(value, n)) for n in ("fget", "fset", "fdel")]
    if hasattr(value, "__dict__"):
        known = True
        parts += [(f"{path}.{name}", item) for name, item in vars(value).items()]
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                known = True
                parts.append((f"{path}.{name}", getattr(value, name)))
    return parts if known else None


def _of_function(path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    yield f"code of {path}", function.__code__
    if function.__defaults__:
        yield f"{path}'s defaults", function.__defaults__
    if function.__kwdefaults__:
        yield f"{path}'s defaults by name", function.__kwdefaults__
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield f"{name} of {path}", cell.cell_contents
        except ValueError:  # not filled
            continue


class _Itself:
    """What equals nothing else. It is held: a number like `id` is given out again."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)


def _content(value: Any) -> Hashable:
    """Returns what an opaque object is known by: its bytes, or that it is itself."""
    if isinstance(value, (type, types.ModuleType, *_BUILTIN)):
        return _Itself(value)
    try:
        return type(value), hashlib.sha256(pickle.dumps(value)).digest()
    except Exception:  # whatever an object's own pickling raises
        return type(value), _Itself(value)

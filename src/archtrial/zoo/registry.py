"""The register of the zoo: what each architecture is called, takes and searches.

A family is a plain function with a decorator. Its options are declared once, in
its signature; their types say which values are possible:

    @register(space={"width": Choice((50, 100, 200))}, kinds=ANY)
    def mlp(input_shape: Shape, num_outputs: int, *, width: Count = 100) -> nn.Module:

"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias, Union

from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Space, Value
from archtrial.specs import write_value

__all__ = [
    "ANY",
    "ORDERED",
    "Count",
    "Entry",
    "Kind",
    "Shape",
    "Share",
    "entries",
    "entry_of",
    "get",
    "nearest",
    "register",
]

Kind: TypeAlias = Literal["table", "sequence", "image", "array"]
ANY: tuple[Kind, ...] = ("table", "sequence", "image", "array")
# The columns of a table have no order; neighbours mean nothing there.
ORDERED: tuple[Kind, ...] = ("sequence", "image", "array")

Shape: TypeAlias = tuple[int, ...]
"""One example's shape, without the batch: (F,), (L,), (C, L) or (C, H, W)."""


@dataclasses.dataclass(frozen=True)
class _Range:
    """Bounds that a type alias carries: low <= value < below."""

    low: float
    below: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.below):
            return f"at least {self.low:g}"
        return f"at least {self.low:g} and below {self.below:g}"


Count: TypeAlias = Annotated[int, _Range(1)]
Share: TypeAlias = Annotated[float, _Range(0, 1)]


@dataclasses.dataclass(frozen=True)
class Entry:
    """An architecture of the zoo."""

    name: str
    function: Callable[..., nn.Module]
    """Builds it from `input_shape`, `num_outputs` and options, all checked."""
    space: Space
    """What is searched unless the protocol says otherwise."""
    kinds: tuple[Kind, ...]
    """The kinds of input that it has a sensible reading of."""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Value]:
        """Its options and their defaults."""
        return {
            parameter.name: parameter.default
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

    @property
    def values(self) -> dict[str, str]:
        """What each option may be, in words."""
        return {option: _described(self._hints[option]) for option in self.options}

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.function, include_extras=True)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns options as the function takes them, lists as tuples.

        Raises:
            ArmError: There is no such option, or the value is impossible.
        """
        known = self.options
        fitted = {}
        for option, value in options.items():
            if option not in known:
                raise ArmError(
                    f"{self.name} has no option {option!r}",
                    way_out=nearest(option, known),
                )
            fitted[option] = _fitted(
                f"{option} of {self.name}", value, self._hints[option]
            )
        return fitted


_entries: dict[str, Entry] = {}
_P = ParamSpec("_P")


def register(
    *, space: Space, kinds: tuple[Kind, ...]
) -> Callable[[Callable[_P, nn.Module]], Callable[_P, nn.Module]]:
    """Puts a function into the zoo under its own name.

    The options are the function's keyword-only arguments. Each value is held to
    its annotation before the function is called, so its body need not check them:
    `bool`, `int`, `float`, `str`, `Count`, `Share`, a `Literal` of any of these, a
    tuple, or a union such as `Count | None`. JSON and TOML have lists; the function
    gets tuples.
    """

    def decorate(function: Callable[_P, nn.Module]) -> Callable[_P, nn.Module]:
        @functools.wraps(function)
        def build(*args: _P.args, **options: _P.kwargs) -> nn.Module:
            given = options.keys() - {"input_shape", "num_outputs"}
            fitted = entry.check_options({option: options[option] for option in given})
            return function(*args, **{**options, **fitted})

        entry = Entry(function.__name__, build, space, kinds)
        _entries[entry.name] = entry
        return build

    return decorate


def _fitted(what: str, value: Any, annotation: Any) -> Any:
    """Returns a value as an annotation has it, a list as the tuple that it stands for.

    Raises:
        ArmError: It is not of the option's type, or not within its range.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        for member in inner:
            with contextlib.suppress(ArmError):
                return _fitted(what, value, member)
    elif origin is Literal:
        for allowed in inner:
            if _same(value, allowed):
                return allowed
    elif origin is tuple and isinstance(value, (list, tuple)):
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            return tuple(
                _fitted(f"{what}: each of its values", part, kind)
                if len(set(kinds)) == 1
                else _fitted(f"{what}: its value {place}", part, kind)
                for place, (part, kind) in enumerate(zip(value, kinds, strict=True), 1)
            )
    elif origin is Annotated:
        fitted = _fitted(what, value, inner[0])
        for bounds in inner[1:]:
            if isinstance(bounds, _Range) and not bounds.low <= fitted < bounds.below:
                raise ArmError(f"{what} is {bounds}", repr(value))
        return fitted
    # Python counts True as the number 1; an option does not.
    elif annotation in _WORDS and isinstance(value, bool) == (annotation is bool):
        kind = (int, float) if annotation is float else annotation
        if isinstance(value, kind):
            return value
    raise ArmError(f"{what} is {_described(annotation)}", repr(value))


def _same(value: Any, allowed: Any) -> bool:
    """Says whether a value is one that a Literal allows; 1 is not True, nor 1.0."""
    if isinstance(allowed, tuple) and isinstance(value, (list, tuple)):
        return len(value) == len(allowed) and all(map(_same, value, allowed))
    return type(value) is type(allowed) and bool(value == allowed)


def _described(annotation: Any) -> str:
    """Returns in words what an annotation allows."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin in (Union, types.UnionType):
        return " or ".join(_described(member) for member in inner)
    if origin is Literal:
        written = [write_value(allowed) for allowed in inner]
        return written[0] if len(written) == 1 else f"one of {', '.join(written)}"
    if origin is tuple and inner[1:] == (...,):
        return f"a list, each value {_described(inner[0])}"
    if origin is tuple:
        return f"a list of {len(inner)}: {'; '.join(map(_described, inner))}"
    if origin is Annotated:
        bounds = [str(each) for each in inner[1:] if isinstance(each, _Range)]
        return ", ".join([_described(inner[0]), *bounds])
    raise TypeError(
        f"an option's annotation is made of bool, int, float, str, None, Literal, tuple,"
        f" a union, Count and Share; this is {annotation!r}"
    )


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "None",
}


def entries() -> Mapping[str, Entry]:
    """Returns every architecture of the zoo by name, in the order of the names."""
    return {name: _entries[name] for name in sorted(_entries)}


def get(name: str) -> Entry:
    """Returns the architecture of this name.

    Raises:
        ArmError: The zoo has none.
    """
    if name not in _entries:
        raise ArmError(
            f"the zoo has no architecture {name!r}",
            way_out=nearest(name, entries())
            + " A file of your own is written path/to/file.py:Name.",
        )
    return _entries[name]


def entry_of(function: Callable[..., Any]) -> Entry | None:
    """Returns the entry that this function builds, or None."""
    entry = _entries.get(getattr(function, "__name__", ""))
    return entry if entry is not None and entry.function is function else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a way out of a misspelling: the closest name and the whole list."""
    names = list(known)
    if not names:
        return "There are none to choose from."
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"There are: {', '.join(names)}."
    return f"Did you mean {close[0]!r}? {listed}" if close else listed

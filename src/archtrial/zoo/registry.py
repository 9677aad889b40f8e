"""The register of the zoo: what each architecture is called, takes and searches.

A family is a plain function with a decorator. Its options are declared once, in
its signature; their types say which values are possible:

    @register(space={"width": Choice((50, 100, 200))}, kinds=ANY)
    def mlp(input_shape: Shape, num_outputs: int, *, width: Count = 100) -> nn.Module:

"""

import dataclasses
import difflib
import functools
import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias

from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Space, Value

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

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises an ArmError at an option that it lacks, or an impossible value."""
        types = typing.get_type_hints(self.function, include_extras=True)
        known = self.options
        for option, value in options.items():
            if option not in known:
                raise ArmError(
                    f"{self.name} has no option {option!r}",
                    way_out=nearest(option, known),
                )
            _check_value(f"{option} of {self.name}", value, types[option])


_entries: dict[str, Entry] = {}
_P = ParamSpec("_P")


def register(
    *, space: Space, kinds: tuple[Kind, ...]
) -> Callable[[Callable[_P, nn.Module]], Callable[_P, nn.Module]]:
    """Puts a function into the zoo under its own name.

    The options are the function's keyword-only arguments. Each value is held to
    its annotation (`Count`, `Share`, `bool`, a `Literal`) before the function is
    called, so its body need not check them.
    """

    def decorate(function: Callable[_P, nn.Module]) -> Callable[_P, nn.Module]:
        @functools.wraps(function)
        def build(*args: _P.args, **options: _P.kwargs) -> nn.Module:
            given = options.keys() - {"input_shape", "num_outputs"}
            entry.check_options({option: options[option] for option in given})
            return function(*args, **options)

        entry = Entry(function.__name__, build, space, kinds)
        _entries[entry.name] = entry
        return build

    return decorate


def _check_value(what: str, value: Any, annotation: Any) -> None:
    """Raises ArmError unless a value is of an option's type and within its range."""
    if typing.get_origin(annotation) is Literal:
        allowed = typing.get_args(annotation)
        if value not in allowed:
            raise ArmError(f"{what} is one of {', '.join(allowed)}", repr(value))
        return
    if annotation is bool:
        if not isinstance(value, bool):
            raise ArmError(f"{what} is true or false", repr(value))
        return
    number, bounds = typing.get_args(annotation)
    expected = "a whole number" if number is int else "a number"
    # Python counts True as the number 1; an option does not.
    if isinstance(value, bool) or not isinstance(
        value, int if number is int else (int, float)
    ):
        raise ArmError(f"{what} is {expected}", repr(value))
    if not bounds.low <= value < bounds.below:
        raise ArmError(f"{what} is {bounds}", repr(value))


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

"""The register of the zoo: what each architecture is called, takes and searches.

A family is a plain function with a decorator. Its options are declared once, in
its signature; their types say which values are possible:

    @register(space={"width": Choice((50, 100, 200))}, kinds=ANY)
    def mlp(input_shape: Shape, num_outputs: int, *, width: Count = 100) -> nn.Module:

Where a family comes from, and which variants it has, are rows of `tree/`. A variant
is the same function with other defaults. It is an architecture of the zoo by a name
of its own, on the command line as in TOML and in Python, and takes the same options:

    archtrial run --baseline mlp_small --challenger 'mlp_large(dropout=.1)'

"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias, Union

from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError
from archtrial.space import Space, Value
from archtrial.specs import write_value
from archtrial.zoo.embedding import Embedded

__all__ = [
    "ANY",
    "ORDERED",
    "Count",
    "Entry",
    "Family",
    "Kind",
    "Lineage",
    "Multiplier",
    "Names",
    "Ratio",
    "Shape",
    "Share",
    "Size",
    "Variant",
    "describe",
    "entries",
    "entry_of",
    "families",
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


Names: TypeAlias = Literal["never", "always", "embedded"]
"""Whether a family looks up whole numbers that are names, such as token ids. "embedded":
it reads sequences of numbers, and of names through an embedding in front of it."""


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
Multiplier: TypeAlias = Annotated[float, _Range(0.1)]
Ratio: TypeAlias = Annotated[float, _Range(0.001)]


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where a family comes from."""

    year: int
    paper: str
    """Authors, year and where it can be read."""
    new: str
    """What was new, in a few words."""
    took: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """From whom it took what; a family of the zoo by its name."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How many parameters an architecture has on inputs of a shape."""

    shape: Shape
    num_outputs: int
    parameters: int


@dataclasses.dataclass(frozen=True)
class Variant:
    """A family's function with other defaults, under a name of its own."""

    name: str
    """In the zoo, where it names nothing else: "mlp_small"."""
    summary: str
    """What it is, in one sentence."""
    options: Mapping[str, Any]
    """In place of the function's own defaults."""
    size: Size | None = None
    """The published one, or an example."""
    space: Space | None = None
    """What is searched; None: what the family searches, without its `options`."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Architectures that one function builds."""

    name: str
    function: Callable[..., nn.Module]
    """Builds it from `input_shape` or `inputs`, `num_outputs` and options."""
    space: Space
    """What is searched unless the protocol, or a variant, says otherwise."""
    kinds: tuple[Kind, ...]
    """The kinds of input that it has a sensible reading of."""
    names: Names = "never"
    """Whether it looks up whole numbers that are names."""
    lineage: Lineage | None = None
    """None where nobody has written it down."""
    size: Size | None = None
    """Of the function's defaults."""
    variants: Mapping[str, Variant] = dataclasses.field(default_factory=dict)
    """By name."""
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of the recipe that its authors, or whoever trained it, advise. They are
    shown and not applied: all arms of a trial share a recipe."""

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def page(self) -> str:
        """All that the file of the family says of it, and its function of its options."""
        module = inspect.getmodule(inspect.unwrap(self.function))
        said = [inspect.getdoc(module), inspect.getdoc(self.function)]
        if self.names == "embedded":
            said.append(_OF_EMBEDDING)
        return "\n\n".join(filter(None, said))


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a name of the zoo stands for: a family as it is, or one of its variants."""

    name: str
    function: Callable[..., nn.Module]
    """Builds it from `input_shape` or `inputs`, `num_outputs` and options, all checked."""
    space: Space
    """What is searched unless the protocol says otherwise."""
    kinds: tuple[Kind, ...]
    """The kinds of input that it has a sensible reading of."""
    variant: Variant | None = None
    """None: the family as it is."""
    names: Names = "never"
    """Whether it looks up whole numbers that are names."""

    @property
    def summary(self) -> str:
        """What it is, in one sentence."""
        if self.variant is not None:
            return self.variant.summary
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def family(self) -> Family:
        """What it belongs to."""
        return _families[inspect.unwrap(self.function).__name__]

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
        own = typing.get_type_hints(inspect.unwrap(self.function), include_extras=True)
        return {"embedding": Count | None, **own}

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


_families: dict[str, Family] = {}
_entries: dict[str, Entry] = {}
_P = ParamSpec("_P")


def register(
    *, space: Space, kinds: tuple[Kind, ...], names: Names = "never"
) -> Callable[[Callable[_P, nn.Module]], Callable[_P, nn.Module]]:
    """Puts a function into the zoo under its own name, as a family.

    The options are the function's keyword-only arguments. Each value is held to
    its annotation before the function is called, so its body need not check them:
    `bool`, `int`, `float`, `str`, `Count`, `Share`, a `Literal` of any of these, a
    tuple, or a union such as `Count | None`. JSON and TOML have lists; the function
    gets tuples.

    Args:
        space: What is searched unless a protocol says otherwise.
        kinds: The kinds of input that it has a sensible reading of.
        names: "always": it looks up whole numbers that are names, such as token ids, in
            place of multiplying its inputs; it then asks for `inputs: Inputs`.
            "embedded": it takes `input_shape`, of (L,) or (C, L) numbers, and is given
            an option `embedding`, the width of the layer that stands in front of it
            where the inputs are names.
    """

    def decorate(function: Callable[_P, nn.Module]) -> Callable[_P, nn.Module]:
        made = _embedded(function) if names == "embedded" else function
        entry = _checked(Entry(function.__name__, made, space, kinds, names=names))
        _entries[entry.name] = entry
        _families[entry.name] = Family(entry.name, entry.function, space, kinds, names)
        return entry.function

    return decorate


def describe(
    name: str,
    lineage: Lineage,
    *variants: Variant,
    size: Size | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> None:
    """Says of a family of the zoo where it comes from, and adds its variants.

    It is no part of the family's own file: that is part of what a study keeps of an
    architecture, and neither a better reference nor one variant more changes what the
    others compute.

    Args:
        name: Of the registered function.
        lineage: Where it comes from.
        *variants: Their names are new to the zoo.
        size: Of the function's defaults.
        recipe: What is advised; see `Family`.

    Raises:
        ArmError: A variant's option is not the function's.
        ValueError: A name is taken.
    """
    family = dataclasses.replace(
        _families[name],
        lineage=lineage,
        size=size,
        variants={variant.name: variant for variant in variants},
        recipe=dict(recipe or {}),
    )
    for variant in variants:
        if variant.name in _entries:
            raise ValueError(f"{variant.name} is in the zoo already")
        options = _entries[name].check_options(variant.options)
        free = {k: d for k, d in family.space.items() if k not in options}
        plain = Entry(
            variant.name,
            _with_defaults(family.function, variant, options),
            free if variant.space is None else variant.space,
            family.kinds,
            variant,
            family.names,
        )
        _entries[variant.name] = _checked(plain)
    _families[name] = family


_EMBEDDING = 32
_OF_EMBEDDING = f"""It reads token ids (L,), too, through an embedding in front of it:

    embedding: Values of each token; {_EMBEDDING} unless they are given."""


def _embedded(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Returns a function that also takes token ids, with an embedding in front."""

    @functools.wraps(function)
    def build(
        inputs: Inputs | Shape,
        num_outputs: int,
        *,
        embedding: int | None = None,
        **options: Any,
    ) -> nn.Module:
        known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
        if known.vocabulary is None:
            if embedding is not None:
                raise ArmError(
                    "an embedding is of names, such as token ids",
                    f"embedding = {embedding} of {function.__name__}, whose inputs are"
                    " numbers",
                    "Leave embedding out.",
                )
            return function(known.shape, num_outputs, **options)
        if len(known.shape) != 1:
            raise ArmError(
                f"{function.__name__} reads one sequence of token ids an example, (L,)",
                f"one example has the shape {known.shape}",
            )
        width = _EMBEDDING if embedding is None else embedding
        network = function((width, *known.shape), num_outputs, **options)
        return Embedded(known.vocabulary, width, network)

    own = inspect.signature(function)
    given = list(own.parameters.values())
    first = given[0].replace(name="inputs", annotation=Inputs)
    kind = inspect.Parameter.KEYWORD_ONLY
    width = inspect.Parameter("embedding", kind, default=None, annotation=Count | None)
    build.__signature__ = own.replace(parameters=[first, *given[1:], width])  # type: ignore[attr-defined]
    return build


def _with_defaults(
    function: Callable[..., nn.Module], variant: Variant, options: Mapping[str, Any]
) -> Callable[..., nn.Module]:
    """Returns a function with other defaults, which its signature shows."""

    @functools.wraps(function)
    def build(*args: Any, **given: Any) -> nn.Module:
        return function(*args, **{**options, **given})

    signature = inspect.signature(function)
    parameters = [
        parameter.replace(default=options.get(parameter.name, parameter.default))
        for parameter in signature.parameters.values()
    ]
    build.__name__ = build.__qualname__ = variant.name
    build.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return build


def _checked(plain: Entry) -> Entry:
    """Returns an entry whose function holds its options to their annotations."""
    function = plain.function

    @functools.wraps(function)
    def build(*args: Any, **options: Any) -> nn.Module:
        given = options.keys() - {"input_shape", "inputs", "num_outputs"}
        fitted = entry.check_options({option: options[option] for option in given})
        return function(*args, **{**options, **fitted})

    entry = dataclasses.replace(plain, function=build)
    return entry


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
        f" a union, Count, Share, Multiplier and Ratio; this is {annotation!r}"
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


def families() -> Mapping[str, Family]:
    """Returns every family of the zoo by name, in the order of the names."""
    return {name: _families[name] for name in sorted(_families)}


def get(name: str) -> Entry:
    """Returns the architecture of this name: a family, or a variant of one.

    Raises:
        ArmError: The zoo has none.
    """
    if name not in _entries:
        raise ArmError(
            f"the zoo has no architecture {name!r}",
            way_out=_way_out(name),
        )
    return _entries[name]


def _way_out(name: str) -> str:
    """Returns what somebody may have meant by a name that the zoo has not."""
    known = list(entries())
    # Variants are written in many ways: cnn-small, cnn:small, CNN.Small, small_cnn.
    plain = {_plain(other): other for other in known}
    close = plain.get(_plain(name))
    if close is None:
        found = difflib.get_close_matches(_plain(name), plain, n=1)
        close = plain[found[0]] if found else None
    meant = f"Did you mean {close!r}? " if close is not None else ""
    family = next((f for f in families() if name.lower().startswith(f)), None)
    if family is not None and (variants := _families[family].variants):
        listed = f"The variants of {family} are {', '.join(variants)}."
    else:
        listed = f"There are: {', '.join(families())}; archtrial zoo shows variants."
    return f"{meant}{listed} A file of your own is written path/to/file.py:Name."


def _plain(name: str) -> str:
    """Returns a name as it is whatever stands between its words, in any order."""
    return " ".join(sorted(re.findall("[a-z]+|[0-9]+", name.lower())))


def entry_of(function: Callable[..., Any]) -> Entry | None:
    """Returns the entry whose function this is, or None."""
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

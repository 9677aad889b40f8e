"""The options of a command, from the fields of what it declares.

An option is called as its field is, its help is the field's first sentence, its values
are those that the field takes: what a protocol's file can say, a command can, and once.
"""

import dataclasses
import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from archtrial.errors import ProtocolError

if TYPE_CHECKING:
    from archtrial.protocol import OnData

__all__ = [
    "DATA",
    "AsJson",
    "DryRun",
    "Margin",
    "Price",
    "Seed",
    "Source",
    "StudyFolder",
    "Trust",
    "Workers",
    "command",
    "declares",
]

DATA = (
    *("target", "task", "scale", "channels", "decimal", "dates", "categorical"),
    *("lengths", "text", "tokens", "max_vocabulary", "max_tokens", "memory"),
)
"""What any command that reads data declares of them, beside their place."""

AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output.")
]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the code an error arose.")
]
Source = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA|PROTOCOL",
        help="A built-in data set or a path, or a protocol in TOML; by default mnist1d.",
    ),
]
StudyFolder = Annotated[
    Path | None,
    typer.Option(help="The study's folder; alone: go on with what began there."),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; the results do not depend on it.", min=1),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Stop after what would be trained, and its cost."),
]
Price = Annotated[
    float | None, typer.Option(help="Of an hour of the machine, in any currency.")
]
Margin = Annotated[
    float | None, typer.Option(help="The smallest gap worth having: .005 is .5 points.")
]
Seed = Annotated[int | None, typer.Option(help="Of all that is drawn.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code and the command that a study's folder names, having seen"
        " them.",
    ),
]


def command(
    app: typer.Typer, function: Callable[..., None], *, whole: bool = True
) -> None:
    """Makes a function a command, with --traceback besides its own options.

    No command needs it: whoever calls the program looks for it, since an error may
    arise before any command is called.

    Args:
        app: The program.
        function: The command.
        whole: Whether it also gets the options that `declares` says; to list it beside
            the others it needs none, and what they are made of takes time to load.
    """
    options: Sequence[_Option] = ()
    declared: _Declared | None = getattr(function, "declared", None)
    if declared is not None and whole:
        options = [_option(declared.loaded(), field) for field in declared.fields]

    @functools.wraps(function)
    def called(*, show_traceback: bool, **given: Any) -> None:
        told = {}
        for option in options:
            value = given.pop(option.parameter.name)
            if value is not None and value != []:
                told[option.field] = option.read(value)
        function(**({} if declared is None else {"declared": told}), **given)

    own = inspect.signature(function)
    flag = inspect.Parameter(
        "show_traceback",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Traceback,
    )
    parameters = [option.parameter for option in options]
    parameters += [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in own.parameters.values()
        if declared is None or parameter.name != "declared"
    ]
    called.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*parameters, flag]
    )
    app.command()(called)


def declares(
    declaration: str, *fields: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command an option for each of some fields of a declaration.

    What was given of them becomes the command's first argument, `declared`: by field, of
    the type that the declaration takes.

    Args:
        declaration: Whose fields, as "module:class".
        *fields: Their names, in the order of the help; "recipe.loss" is a field of a
            field.
    """

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        function.declared = _Declared(declaration, fields)  # type: ignore[attr-defined]
        return function

    return decorated


@dataclasses.dataclass(frozen=True)
class _Declared:
    declaration: str
    fields: Sequence[str]

    def loaded(self) -> "type[OnData]":
        module, _, name = self.declaration.partition(":")
        found: type[OnData] = getattr(importlib.import_module(module), name)
        return found


@dataclasses.dataclass(frozen=True)
class _Option:
    field: str
    parameter: inspect.Parameter
    read: Callable[[Any], Any]


def _option(declaration: "type[OnData]", field: str) -> _Option:
    """Returns the option of one field."""
    from archtrial.protocol import Arm, members

    outer, _, name = field.rpartition(".")
    owner: Any = declaration.model_fields[outer].annotation if outer else declaration
    info = owner.model_fields[name]
    assert info.description, f"{declaration.__name__}.{field} says what it is"
    about = " ".join(info.description.replace("`", "").split())
    about = about.partition(". ")[0].rstrip(".") + "."
    example = ""
    if info.examples:
        example = f"{info.examples[0]}"
        about = f"{about[:-1]}, such as {example}."
    taken = [t for t in members(info.annotation) if t is not type(None)]
    several = [t for t in taken if typing.get_origin(t) is tuple]
    flags, kind = [], typing.cast(Any, str)
    read: Callable[[Any], Any] = _as_it_is
    extra: dict[str, Any] = {}
    if several:
        inner = typing.get_args(several[0])[0]
        numbers = [t for t in (int, float) if t in members(inner)]
        if numbers:
            read = functools.partial(
                _numbers, field, numbers[0], example, alone=len(taken) > 1
            )
            extra["metavar"] = "N,N,..."
        else:
            name, kind = name.removesuffix("s"), list[str]
            if inner is Arm:
                extra["metavar"] = "[NAME=]SPEC"
            about = f"{about[:-1]}; may be given several times."
    elif typing.get_origin(taken[0]) is dict:
        name, kind, read = name.removesuffix("s"), list[str], _factors
        extra["metavar"] = "OPTION=LEVEL,..."
        about = f"{about[:-1]}; may be given several times."
    elif typing.get_origin(taken[0]) is Literal:
        words = map(str, typing.get_args(taken[0]))
        extra["metavar"] = "|".join([*words, *("N" for t in taken[1:] if t is int)])
    elif taken[0] is Arm:
        extra["metavar"] = "[NAME=]SPEC"
    else:
        kind = taken[0]
    dashed = "--" + name.replace("_", "-")
    if kind is bool:
        off = f"--no-{dashed[2:]}"
        flags = [dashed if info.default is False else f"{dashed}/{off}"]
    option = typer.Option(*(flags or [dashed]), help=about, **extra)
    return _Option(
        field,
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, option],
        ),
        read,
    )


def _as_it_is(value: Any) -> Any:
    return value


def _numbers(field: str, kind: type, example: str, text: str, *, alone: bool) -> Any:
    """Reads numbers with commas between them, such as 16,32,64.

    Args:
        field: Whose they are.
        kind: int or float.
        example: What is right.
        text: What was given.
        alone: Whether one number without a comma stands for itself.
    """
    # A comma at the end makes one of several of what would be a number of them.
    parts = text.removesuffix(",").split(",")
    try:
        numbers = tuple(kind(part) for part in parts)
    except ValueError:
        words = field.replace("_", " ")
        whole = "whole numbers" if kind is int else "numbers"
        raise ProtocolError(
            f"{words} are {whole} with commas between them",
            repr(text),
            f"Write --{field.replace('_', '-')} {example}.",
        ) from None
    return numbers[0] if alone and "," not in text else numbers


def _factors(given: Sequence[str]) -> Mapping[str, Any]:
    """Reads factors and their levels."""
    from archtrial.specs import parse_factor

    read = [parse_factor(text) for text in given]
    names = [name for name, _ in read]
    if len(set(names)) < len(names):
        raise ProtocolError(
            "each factor is given once",
            ", ".join(names),
            "Write all its levels at once: depth=2,3,4.",
        )
    return dict(read)

"""What a network takes: options of its class, and ours for all networks of a package."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from archtrial.errors import ArmError
from archtrial.specs import write_spec, write_value
from archtrial.zoo.outside.packages import Library, Options, parted, sketch
from archtrial.zoo.registry import nearest

__all__ = [
    "OURS",
    "SIDES",
    "check_kind",
    "check_options",
    "ours_of",
    "parameters_of",
    "takes_size",
]

SIDES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)
"""The sides of inputs that are tried where a network does not take those of the data."""

OURS: Mapping[str, str] = {
    "resolution": "a whole number, at least 1: the side that inputs are resized to",
    "pretrained": "true or false: start from the published weights on this disk",
    "weights": "a text: start from the weights in this file, .safetensors or .pth",
    "gray": "repeat: an image of one channel is read as three that are alike",
}


def ours_of(library: Library) -> list[str]:
    """Returns the names of those of our options that networks of a package have."""
    return [o for o in OURS if o != "gray" or library.fixed_channels is not None]


def check_options(
    spec: str, options: Options, searched: Mapping[str, Sequence[Any]]
) -> None:
    """Checks that there is such a network, with these options.

    Args:
        spec: "timm:NAME" or "torchvision:NAME".
        options: Fixed options.
        searched: Values of each option that is searched.

    Raises:
        ArmError: There is no such network; an option is unknown, or its value is
            impossible.
    """
    library, name = parted(spec)
    library.check_name(name)
    shown = parameters_of(library, name)
    given = [
        *options.items(),
        *((o, v) for o, values in searched.items() for v in values),
    ]
    for option, value in given:
        if option in library.reserved:
            raise ArmError(
                f"{option} is no option of {spec} here",
                way_out=library.reserved[option],
            )
        if option in ours_of(library):
            _check_ours(spec, option, value)
        elif option not in shown and not _is_taken(library, name, option, value):
            known = [*ours_of(library), *sorted(shown)]
            raise ArmError(
                f"{spec} has no option {option!r}", way_out=nearest(option, known)
            )
        elif option in shown and _is_misread(shown[option].default, value):
            raise ArmError(
                f"{option} of {spec} is"
                f" {'true or false' if isinstance(shown[option].default, bool) else 'a number'}"
                f", such as {write_value(shown[option].default)}",
                repr(value),
            )
    for pretrained in searched.get("pretrained", (options.get("pretrained", False),)):
        named = options.get("weights") is not None or "weights" in searched
        if pretrained and named:
            raise ArmError(
                f"{spec} starts from one file of weights",
                "pretrained and weights are both given",
                f"Write {write_spec(None, spec, {k: v for k, v in options.items() if k != 'pretrained'})}"
                " if the file is meant.",
            )


def _is_misread(default: Any, value: Any) -> bool:
    """Says whether a text stands where a class has a number; a placeholder may."""
    text = isinstance(value, str) and not value.startswith("{")
    return text and isinstance(default, (bool, int, float))


def _check_ours(spec: str, option: str, value: Any) -> None:
    fits = {
        "resolution": value is None or (type(value) is int and value >= 1),
        "pretrained": isinstance(value, bool),
        "weights": value is None or (isinstance(value, str) and value != ""),
        "gray": value is None or value == "repeat",
    }
    if not fits[option]:
        raise ArmError(
            f"{option} of {spec} is {OURS[option].partition(':')[0]}", repr(value)
        )


def check_kind(spec: str, kind: str) -> None:
    """Raises an ArmError where the inputs of that kind are no images."""
    if kind in ("table", "sequence"):
        raise ArmError(
            f"{spec} needs images",
            f"a {kind}",
            f"Take {'mlp' if kind == 'table' else 'cnn, resnet or mlp'}.",
        )


def parameters_of(library: Library, name: str) -> dict[str, inspect.Parameter]:
    """Returns the parameters that a network's class shows, but for what is not asked."""
    shown: dict[str, inspect.Parameter] = {}
    for kind in type(sketch(library, name, {})).__mro__:
        if kind is nn.Module:
            break
        if "__init__" not in vars(kind):
            continue
        parameters = list(
            inspect.signature(vars(kind)["__init__"]).parameters.values()
        )[1:]
        for parameter in parameters:
            required = parameter.default is parameter.empty
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            # torchvision's own functions pass these, and they cannot be passed again.
            if required and library.package == "torchvision":
                continue
            shown.setdefault(parameter.name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    ours = {*OURS, "inputs", "input_shape", "num_outputs"}
    return {
        key: parameter
        for key, parameter in shown.items()
        if key not in library.reserved and key not in ours
    }


def _is_taken(library: Library, name: str, option: str, value: Any) -> bool:
    """Says whether a network takes an option that its class may not show.

    It is tried. A network that takes any name takes a misspelling as well, and is not
    believed.
    """
    try:
        sketch(library, name, {option: value})
    except TypeError:
        return False
    except Exception as error:
        return option not in str(error)  # it is taken, and its value is wrong
    try:
        sketch(library, name, {"no_network_has_this": 0})
    except Exception:
        return True
    return False


def takes_size(library: Library, name: str) -> bool:
    """Says whether a network is told the side of its inputs."""
    kinds = type(sketch(library, name, {})).__mro__
    shown = {
        parameter
        for kind in kinds
        if kind is not nn.Module and "__init__" in vars(kind)
        for parameter in inspect.signature(vars(kind)["__init__"]).parameters
    }
    if library.size_option in shown:
        return True
    return _is_taken(library, name, library.size_option, 64)

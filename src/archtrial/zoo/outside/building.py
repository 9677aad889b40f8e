"""Building a network for data: for their channels, their sides, and from its weights."""

import functools
import inspect
import json
import re
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError, StudyError
from archtrial.specs import write_spec
from archtrial.zoo.layers import Resize
from archtrial.zoo.outside.options import SIDES, parameters_of, takes_size
from archtrial.zoo.outside.packages import (
    Library,
    Options,
    imported,
    parted,
    sketch,
    version,
)
from archtrial.zoo.outside.pretrained import load_weights
from archtrial.zoo.registry import Shape

__all__ = ["again", "builder", "loaded"]

_BESIDE = ("resnet", "cnn")


class Repeat(nn.Module):
    """Repeats the one channel of (N, 1, H, W) images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (N, channels, H, W)."""
        return x.repeat(1, self.channels, 1, 1)


# By the module, of which it changes neither the layers nor the names of the weights.
_LOADED: weakref.WeakKeyDictionary[nn.Module, frozenset[str]] = (
    weakref.WeakKeyDictionary()
)


def loaded(module: nn.Module) -> frozenset[str]:
    """Returns the names of the parameters of a module that were loaded, not drawn."""
    return _LOADED.get(module, frozenset())


def builder(spec: str, source: str) -> Callable[..., nn.Module]:
    """Returns a function that builds a network for data, as arms are built.

    Args:
        spec: "timm:NAME" or "torchvision:NAME".
        source: What `source` returned: the weights are those of then.

    Raises:
        ArmError: The package is not installed, or has no such network.
    """
    library, name = parted(spec)
    library.check_name(name)

    def build(
        inputs: Inputs,
        num_outputs: int,
        resolution: int | None = None,
        pretrained: bool = False,
        weights: str | None = None,
        gray: str | None = None,
        **options: Any,
    ) -> nn.Module:
        written = {
            key: value
            for key, value in {
                "resolution": resolution, "pretrained": pretrained or None,
                "weights": weights, "gray": gray, **options,
            }.items()
            if value is not None
        }  # fmt: skip
        channels, opening = _channels(spec, inputs.shape, gray, written)
        sides = inputs.shape[1:]
        if resolution is not None:
            opening, sides = [*opening, Resize(resolution)], (resolution, resolution)
        told = {**options, **_sized(library, name, sides)}
        _check_size(spec, options, written, channels, sides)
        network = library.create(name, num_outputs, channels, told)
        kept: frozenset[str] = frozenset()
        if pretrained or weights is not None:
            kept = load_weights(
                spec, network, weights, source, channels, num_outputs, told, written
            )
        made = nn.Sequential(*opening, network) if opening else network
        before = f"{len(opening)}." if opening else ""
        _LOADED[made] = frozenset(f"{before}{key}" for key in kept)
        return made

    own = inspect.signature(build)
    shown = [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=p.annotation
        )
        for key, p in sorted(parameters_of(library, name).items())
    ]
    given = [
        parameter
        for parameter in own.parameters.values()
        if parameter.name != "gray" or library.fixed_channels is not None
    ]
    build.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*given[:-1], *shown, given[-1]]
    )
    return build


def again(spec: str, source: str) -> Callable[..., nn.Module]:
    """Returns what builds a network as it was when `source` said what it is.

    Raises:
        StudyError: The package has another version, or is not there any more.
    """
    package = spec.partition(":")[0]
    try:
        then, now = _versions(source, package), version(package)
        if then == now:
            return builder(spec, source)
    except ArmError as error:
        raise StudyError(error.rule, error.received, error.way_out) from error
    raise StudyError(
        f"{package} stays as it was when the study began",
        f"it was {then}, and is {now}",
        f"Install it again: pip install {package}=={then}; or start another study.",
    )


def _versions(source: str, package: str) -> str:
    found = re.match(rf"# {package} (\S*):", source)
    return found[1] if found else ""


def _channels(
    spec: str, shape: Shape, gray: str | None, written: Options
) -> tuple[int, list[nn.Module]]:
    """Returns how many channels the network reads, and what comes before it."""
    if len(shape) != 3:
        raise ArmError(
            f"{spec} needs images (C, H, W)",
            f"one example has the shape {tuple(shape)}",
            "Take mlp, which flattens its input.",
        )
    library, _ = parted(spec)
    channels, fixed = shape[0], library.fixed_channels
    if fixed is None or (channels == fixed and gray is None):
        return channels, []
    if gray is not None and channels != 1:
        less = {key: value for key, value in written.items() if key != "gray"}
        raise ArmError(
            f"gray of {spec} is for images of one channel",
            f"one example has the shape {tuple(shape)}",
            f"Write {write_spec(None, spec, less)}."
            if channels == fixed
            else f"Take {' or '.join(_BESIDE)}, which read any number of channels.",
        )
    if gray is not None:
        return fixed, [Repeat(fixed)]
    ways = f"Take {' or '.join(_BESIDE)}, or a network of timm, which read any number of channels."
    if channels == 1:
        repeated = write_spec(None, spec, {**written, "gray": "repeat"})
        ways = f"Write {repeated}, which reads the one channel as {fixed}. {ways}"
    raise ArmError(
        f"{spec} reads images of {fixed} channels",
        f"one example has the shape {tuple(shape)}",
        ways,
    )


def _sized(library: Library, name: str, sides: Shape) -> dict[str, Any]:
    """Returns the option that tells a network the sides of its inputs, if it takes one."""
    if not takes_size(library, name):
        return {}
    return {library.size_option: sides[0] if sides[0] == sides[1] else list(sides)}


def _check_size(
    spec: str, options: Options, written: Options, channels: int, sides: Shape
) -> None:
    """Raises an ArmError where a network cannot be built, or not for such sides."""
    library, name = parted(spec)
    try:
        sketch(library, name, options, channels=channels)
    except Exception as error:  # whatever its code raises
        raise ArmError(
            f"{spec} can be built with its options", f"{type(error).__name__}: {error}"
        ) from error
    told = json.dumps(dict(options), sort_keys=True)
    found = imported(library.package)
    why = _refusal(found, spec, told, channels, sides)
    if why is None:
        return
    largest = max(sides)
    others = sorted(set(SIDES) - set(sides if sides[0] == sides[1] else ()))
    # The next larger one; else the next smaller one.
    ordered = [s for s in others if s >= largest]
    ordered += [s for s in reversed(others) if s < largest]
    side = next(
        (s for s in ordered if not _refusal(found, spec, told, channels, (s, s))), None
    )
    takes = " or ".join(_BESIDE)
    raise ArmError(
        f"{spec} reads inputs of a size that it can take",
        f"{sides[0]} x {sides[1]}: {why}",
        f"Take {takes}."
        if side is None
        else f"Resize them: {write_spec(None, spec, {**written, 'resolution': side})}."
        f" Or take {takes}.",
    )


@functools.lru_cache(maxsize=64)
def _refusal(
    found: Any, spec: str, told: str, channels: int, sides: Shape
) -> str | None:
    """Returns what a network says against inputs of such sides, None if nothing."""
    library, name = parted(spec)
    try:
        options = {**json.loads(told), **_sized(library, name, sides)}
        module = sketch(library, name, options, channels=channels)
    except Exception as error:
        return _said(error)
    # What has no values raises for other reasons, too: those that are made tell.
    try:
        _pass(module, channels, sides)
        return None
    except Exception as error:
        if not _is_meta(module):
            return _said(error)
    try:
        with torch.random.fork_rng(devices=[]):
            _pass(library.create(name, 10, channels, options), channels, sides)
    except Exception as error:
        return _said(error)
    return None


def _pass(module: nn.Module, channels: int, sides: Shape) -> None:
    """Passes two images through a network, in evaluation and in training."""
    device = "meta" if _is_meta(module) else "cpu"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        x = torch.zeros(2, channels, *sides, device=device)
        module.eval()(x)
        module.train()(x)


def _is_meta(module: nn.Module) -> bool:
    return any(parameter.is_meta for parameter in module.parameters())


def _said(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__

"""Image classifiers of timm and torchvision as arms, written `timm:NAME(option=value)`.

    archtrial run --data D --baseline resnet --challenger timm:resnet18
    archtrial run --data D --baseline timm:resnet18 --challenger 'timm:resnet18(pretrained=true)'

Either package is imported when such an arm is looked up, and not before. Nothing is
downloaded. Pretrained weights are found where torch.hub and Hugging Face keep what was
downloaded once, or in a file of the user's; they are read without running code, and all
of them must fit, but for the classifier: it is new, and starts from random weights. A
digest of the file is part of an arm's source, and so of what a study keeps.

A pretrained network gets the inputs of every other arm: each channel has mean 0 and
standard deviation 1 over the training rows. ImageNet's images had that as well, under the
mean and the standard deviation that most published networks expect; where a network
expects others, the study says so.
"""

import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError, StudyError
from archtrial.specs import write_spec, write_value
from archtrial.zoo.layers import Resize
from archtrial.zoo.registry import Shape, nearest
from archtrial.zoo.weights import content_of, in_torch_hub, matched, on_hub, tensors_of

__all__ = [
    "again",
    "builder",
    "check_kind",
    "check_options",
    "described",
    "is_outside",
    "is_package",
    "loaded",
    "names",
    "on_weights",
    "page",
    "source",
    "without_weights",
]

Options = Mapping[str, Any]
Tensors = Mapping[str, torch.Tensor]

# A tag of timm follows the name: "resnet18.a1_in1k". Neither a path nor a place on a hub.
_SPEC = re.compile(r"(timm|torchvision):(?!\.)[\w.-]+", re.ASCII)
_BESIDE = ("resnet", "cnn")
_SIDES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)


def is_outside(spec: Any) -> bool:
    """Says whether an arm's architecture is written timm:NAME or torchvision:NAME."""
    return isinstance(spec, str) and _SPEC.fullmatch(spec) is not None


def is_package(name: str) -> bool:
    """Says whether a name is that of a package whose networks can be arms."""
    return name in _LIBRARIES


# --- the packages -----------------------------------------------------------------


class _Library(Protocol):
    """A package of image classifiers."""

    package: str
    size_option: str
    """What those networks call the side of their inputs that are told it."""
    reserved: Mapping[str, str]
    """What cannot be an option here, and what can be done instead."""
    fixed_channels: int | None
    """Channels that every network of it reads; None where that can be chosen."""

    def names(self) -> list[str]:
        """Returns all its networks."""

    def check_name(self, name: str) -> None:
        """Raises an ArmError unless it has a network of that name."""

    def create(
        self, name: str, num_outputs: int, channels: int, options: Options
    ) -> nn.Module:
        """Returns a network with random weights."""

    def converted(
        self, name: str, tensors: Tensors, channels: int, options: Options
    ) -> Tensors | None:
        """Returns tensors as the package itself makes the network's of them."""

    def published(self, name: str) -> tuple[list[Path], str]:
        """Returns where its weights lie once downloaded, and what downloads them."""

    def expects(self, name: str) -> str | None:
        """Returns the mean and the standard deviation that pretraining subtracted."""


_OF_DATA = "The data decide it: leave it out."
_SIZE = "Write resolution=..., to which the inputs are resized."
_WEIGHTS = "Write pretrained=true, or weights='path/to/model.safetensors'."
_OWN = "Call it in a function of your own, and name that: path/to/file.py:Name."


class _Timm:
    package = "timm"
    size_option = "img_size"
    fixed_channels: int | None = None
    reserved: Mapping[str, str] = {
        **dict.fromkeys(("num_classes", "in_chans"), _OF_DATA),
        "img_size": _SIZE,
        **dict.fromkeys(
            ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir",
             "pretrained_strict"), _WEIGHTS,
        ),
        **dict.fromkeys(
            ("features_only", "out_indices", "feature_cls", "scriptable", "exportable",
             "no_jit"), _OWN,
        ),
    }  # fmt: skip

    def names(self) -> list[str]:
        return list(_imported("timm").list_models())

    def check_name(self, name: str) -> None:
        timm = _imported("timm")
        bare, _, tag = name.partition(".")
        if not timm.is_model(bare):
            raise _unknown("timm", bare, self.names())
        if not tag:
            return
        tagged = list(timm.list_models(f"{bare}.*", include_tags=True))
        if name not in tagged:
            tags = [other.partition(".")[2] for other in tagged]
            raise ArmError(
                f"timm has no weights {tag!r} of {bare}", way_out=nearest(tag, tags)
            )

    def create(
        self, name: str, num_outputs: int, channels: int, options: Options
    ) -> nn.Module:
        made: nn.Module = _imported("timm").create_model(
            name, pretrained=False, num_classes=num_outputs, in_chans=channels,
            **options,
        )  # fmt: skip
        return made

    def converted(
        self, name: str, tensors: Tensors, channels: int, options: Options
    ) -> Tensors | None:
        # With as many classes as it was published with, or it would not be strict.
        count = _configuration(name).get("num_classes") or 1000
        try:
            with torch.random.fork_rng(devices=[]):
                made = _imported("timm").create_model(
                    name, pretrained=True, num_classes=count, in_chans=channels,
                    pretrained_cfg_overlay={"state_dict": dict(tensors)}, **options,
                )  # fmt: skip
        except (RuntimeError, TypeError, KeyError, ValueError, AttributeError):
            return None  # then what does not fit is said of the file as it is
        found: Tensors = made.state_dict()
        return found

    def published(self, name: str) -> tuple[list[Path], str]:
        told = _configuration(name)
        places: list[Path] = []
        if hub := told.get("hf_hub_id"):
            places += on_hub(str(hub), told.get("hf_hub_filename"))
        if url := told.get("url"):
            places.append(in_torch_hub(str(url)))
        fetch = f"import timm; timm.create_model('{name}', pretrained=True)"
        return places, fetch

    def expects(self, name: str) -> str | None:
        told = _configuration(name)
        mean, std = told.get("mean"), told.get("std")
        return f"mean {list(mean)}, deviation {list(std)}" if mean and std else None


class _Torchvision:
    package = "torchvision"
    size_option = "image_size"
    fixed_channels: int | None = 3
    reserved: Mapping[str, str] = {
        "num_classes": _OF_DATA,
        "image_size": _SIZE,
        **dict.fromkeys(("progress", "weights_backbone"), _WEIGHTS),
    }

    def names(self) -> list[str]:
        models = _imported("torchvision.models")
        return list(models.list_models(module=models))

    def check_name(self, name: str) -> None:
        known = self.names()
        if name in known:
            return
        if name in _imported("torchvision.models").list_models():
            raise ArmError(
                "an arm torchvision:NAME is an image classifier",
                f"{name} is none: it has another task, or reads videos, or is quantized",
                "archtrial zoo torchvision lists those that can be arms.",
            )
        raise _unknown("torchvision", name, known)

    def create(
        self, name: str, num_outputs: int, channels: int, options: Options
    ) -> nn.Module:
        made: nn.Module = _imported("torchvision.models").get_model(
            name, weights=None, num_classes=num_outputs, **options
        )
        return made

    def converted(
        self, name: str, tensors: Tensors, channels: int, options: Options
    ) -> Tensors | None:
        # The published files of DenseNet are older than the names of its layers.
        dotted = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
        return {dotted.sub(r"\1\2", key): value for key, value in tensors.items()}

    def published(self, name: str) -> tuple[list[Path], str]:
        models = _imported("torchvision.models")
        fetch = (
            "import torchvision;"
            f" torchvision.models.get_model('{name}', weights='DEFAULT')"
        )
        try:
            url = str(models.get_model_weights(name).DEFAULT.url)
        except (AttributeError, ValueError):  # nobody published any
            return [], fetch
        return [in_torch_hub(url)], fetch

    def expects(self, name: str) -> str | None:
        return None  # torchvision's classifiers expect ImageNet's own


_LIBRARIES: Mapping[str, _Library] = {"timm": _Timm(), "torchvision": _Torchvision()}


def _parted(spec: str) -> tuple[_Library, str]:
    package, _, name = spec.partition(":")
    return _LIBRARIES[package], name


def _imported(module: str) -> Any:
    """Returns a module of a package.

    Raises:
        ArmError: It is not installed, or cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module}.".startswith(f"{error.name}."):
            raise _not_importable(package, error) from error
        raise ArmError(
            f"an arm {package}:NAME needs {package}",
            f"{type(error).__name__}: {error}",
            f"Install it: pip install 'archtrial[{package}]'",
        ) from error
    except Exception as error:  # two packages that were built for different torches
        raise _not_importable(package, error) from error
    needed = {"timm": "create_model", "torchvision.models": "get_model"}.get(module, "")
    if needed and not hasattr(found, needed):
        raise ArmError(
            f"an arm {package}:NAME needs the package {package}, which has {needed}",
            f"{module} is {getattr(found, '__file__', None) or 'something else'}",
            "If it is a file of your own, write its path: path/to/file.py:Name. Else:"
            f" pip install 'archtrial[{package}]'",
        )
    return found


def _not_importable(package: str, error: Exception) -> ArmError:
    return ArmError(
        f"{package} can be imported",
        f"{type(error).__name__}: {error}",
        f"Install it again beside torch {torch.__version__}: pip install --upgrade"
        f" 'archtrial[{package}]'",
    )


def _version(package: str) -> str:
    own = getattr(_imported(package), "__version__", None)
    return str(own) if own is not None else importlib.metadata.version(package)


def _unknown(package: str, name: str, known: Sequence[str]) -> ArmError:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"Did you mean {package}:{close[0]}? " if close else ""
    return ArmError(
        f"{package} has no network {name!r}",
        way_out=f"{meant}archtrial zoo {package} lists all {len(known)}.",
    )


# --- what a network takes -----------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _sketched(
    found: Any, package: str, name: str, outputs: int, channels: int, told: str
) -> nn.Module:
    """Returns a network of which the shapes matter alone, on the meta device if it can.

    `found` is the package, so that nothing is remembered of another one of its name.
    """
    library, options = _LIBRARIES[package], json.loads(told)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return library.create(name, outputs, channels, options)
        except (
            Exception
        ):  # it may look at values, which are not there, while it is made
            return library.create(name, outputs, channels, options)


def _sketch(
    library: _Library,
    name: str,
    options: Options,
    outputs: int = 10,
    channels: int = 3,
) -> nn.Module:
    told = json.dumps(dict(options), sort_keys=True)
    found = _imported(library.package)
    return _sketched(found, library.package, name, outputs, channels, told)


def _configuration(name: str) -> dict[str, Any]:
    """Returns what timm says of a network's published weights."""
    told = getattr(_sketch(_LIBRARIES["timm"], name, {}), "pretrained_cfg", None)
    return dict(told) if isinstance(told, Mapping) else {}


def _shown(library: _Library, name: str) -> dict[str, inspect.Parameter]:
    """Returns the parameters that a network's class shows, but for what is not asked."""
    shown: dict[str, inspect.Parameter] = {}
    for kind in type(_sketch(library, name, {})).__mro__:
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
    ours = {*_OURS, "inputs", "input_shape", "num_outputs"}
    return {
        key: parameter
        for key, parameter in shown.items()
        if key not in library.reserved and key not in ours
    }


def _is_taken(library: _Library, name: str, option: str, value: Any) -> bool:
    """Says whether a network takes an option that its class may not show.

    It is tried. A network that takes any name takes a misspelling as well, and is not
    believed.
    """
    try:
        _sketch(library, name, {option: value})
    except TypeError:
        return False
    except Exception as error:
        return option not in str(error)  # it is taken, and its value is wrong
    try:
        _sketch(library, name, {"no_network_has_this": 0})
    except Exception:
        return True
    return False


def _takes_size(library: _Library, name: str) -> bool:
    kinds = type(_sketch(library, name, {})).__mro__
    shown = {
        parameter
        for kind in kinds
        if kind is not nn.Module and "__init__" in vars(kind)
        for parameter in inspect.signature(vars(kind)["__init__"]).parameters
    }
    if library.size_option in shown:
        return True
    return _is_taken(library, name, library.size_option, 64)


_OURS: Mapping[str, str] = {
    "resolution": "a whole number, at least 1: the side that inputs are resized to",
    "pretrained": "true or false: start from the published weights on this disk",
    "weights": "a text: start from the weights in this file, .safetensors or .pth",
    "gray": "repeat: an image of one channel is read as three that are alike",
}


def _ours(library: _Library) -> list[str]:
    return [o for o in _OURS if o != "gray" or library.fixed_channels is not None]


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
    library, name = _parted(spec)
    library.check_name(name)
    shown = _shown(library, name)
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
        if option in _ours(library):
            _check_ours(spec, option, value)
        elif option not in shown and not _is_taken(library, name, option, value):
            known = [*_ours(library), *sorted(shown)]
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
            f"{option} of {spec} is {_OURS[option].partition(':')[0]}", repr(value)
        )


def check_kind(spec: str, kind: str) -> None:
    """Raises an ArmError where the inputs of that kind are no images."""
    if kind in ("table", "sequence"):
        raise ArmError(
            f"{spec} needs images",
            f"a {kind}",
            f"Take {'mlp' if kind == 'table' else 'cnn, resnet or mlp'}.",
        )


# --- building -----------------------------------------------------------------------


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
    library, name = _parted(spec)
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
            kept = _load(
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
        for key, p in sorted(_shown(library, name).items())
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
    library, _ = _parted(spec)
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


def _sized(library: _Library, name: str, sides: Shape) -> dict[str, Any]:
    """Returns the option that tells a network the sides of its inputs, if it takes one."""
    if not _takes_size(library, name):
        return {}
    return {library.size_option: sides[0] if sides[0] == sides[1] else list(sides)}


def _check_size(
    spec: str, options: Options, written: Options, channels: int, sides: Shape
) -> None:
    """Raises an ArmError where a network cannot be built, or not for such sides."""
    library, name = _parted(spec)
    try:
        _sketch(library, name, options, channels=channels)
    except Exception as error:  # whatever its code raises
        raise ArmError(
            f"{spec} can be built with its options", f"{type(error).__name__}: {error}"
        ) from error
    told = json.dumps(dict(options), sort_keys=True)
    found = _imported(library.package)
    why = _refusal(found, spec, told, channels, sides)
    if why is None:
        return
    largest = max(sides)
    others = sorted(set(_SIDES) - set(sides if sides[0] == sides[1] else ()))
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
    library, name = _parted(spec)
    try:
        options = {**json.loads(told), **_sized(library, name, sides)}
        module = _sketch(library, name, options, channels=channels)
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


# --- weights ------------------------------------------------------------------------


def source(spec: str, options: Options, searched: Mapping[str, Sequence[Any]]) -> str:
    """Returns what a study keeps of a network: the package, its version, its weights.

    Args:
        spec: "timm:NAME" or "torchvision:NAME".
        options: Fixed options.
        searched: Values of each option that is searched.

    Raises:
        ArmError: The package is not installed; weights that it starts from are not on
            this disk.
    """
    library, name = _parted(spec)
    lines = [f"# {library.package} {_version(library.package)}: {name}"]
    started = [*searched.get("pretrained", ()), options.get("pretrained", False)]
    files = [*searched.get("weights", ()), options.get("weights")]
    named = [None] if any(started) else []
    for path in dict.fromkeys([*named, *(f for f in files if f is not None)]):
        digest = hashlib.sha256(content_of(_file(spec, path))).hexdigest()
        lines.append(f"# {_label(path)}: sha256 {digest}")
    return "".join(f"{line}\n" for line in lines)


def again(spec: str, source: str) -> Callable[..., nn.Module]:
    """Returns what builds a network as it was when `source` said what it is.

    Raises:
        StudyError: The package has another version, or is not there any more.
    """
    package = spec.partition(":")[0]
    try:
        then, now = _versions(source, package), _version(package)
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


def _label(path: str | None) -> str:
    return "pretrained" if path is None else f"weights {path!r}"


def _file(spec: str, path: str | None) -> Path:
    """Returns the file of weights: a user's own, or the published one on this disk."""
    if path is not None:
        found = Path(path).expanduser()
        if not found.is_file():
            raise ArmError(
                f"weights of {spec} are in a file", f"there is no file {path}"
            )
        return found
    library, name = _parted(spec)
    places, fetch = library.published(name)
    there = next((place for place in places if place.is_file()), None)
    if there is not None:
        return there
    own = write_spec(None, spec, {"weights": "path/to/model.safetensors"})
    file = f"If you have them in a file: {own}."
    if not places:
        raise ArmError(
            f"pretrained weights of {spec} lie on this disk",
            f"{library.package} says of none that were published",
            file,
        )
    looked = " or ".join(map(str, dict.fromkeys(place.parent for place in places)))
    raise ArmError(
        f"pretrained weights of {spec} lie on this disk, as nothing is downloaded here",
        f"no file {' or '.join(dict.fromkeys(p.name for p in places))} in {looked}",
        f'Fetch them once: python -c "{fetch}". {file}',
    )


def _load(
    spec: str,
    network: nn.Module,
    weights: str | None,
    source: str,
    channels: int,
    num_outputs: int,
    told: Options,
    written: Options,
) -> frozenset[str]:
    """Loads all but the classifier of a network; returns the names of its parameters.

    Raises:
        ArmError: There are none, or they do not fit.
        StudyError: They are not those that the source tells of.
    """
    library, name = _parted(spec)
    digests = dict(re.findall(r"^# (.+): sha256 (\w+)$", source, re.MULTILINE))
    label = _label(weights)
    if label not in digests:  # a configuration that no space tells of
        digests[label] = hashlib.sha256(content_of(_file(spec, weights))).hexdigest()
    tensors = tensors_of(_file(spec, weights), digests[label], spec)
    own = network.state_dict()
    # What grows with the number of outputs is the classifier.
    wider = _sketch(library, name, told, num_outputs + 1, channels).state_dict()
    head = {key for key in own if wider[key].shape != own[key].shape}
    fitting, wrong = matched(own, tensors, head, channels)
    if wrong:
        made = library.converted(name, tensors, channels, told)
        if made is not None:
            again, still = matched(own, made, head, channels)
            fitting, wrong = (again, still) if not still else (fitting, wrong)
    if wrong:
        raise ArmError(
            f"weights fit {spec}, but for its classifier",
            "; ".join(wrong),
            _resized(spec, tensors, channels, num_outputs, written)
            or "Name the network that the file is of, or another file.",
        )
    network.load_state_dict({**{key: own[key] for key in own}, **fitting})
    return frozenset(fitting.keys() & dict(network.named_parameters()).keys())


def _resized(
    spec: str, tensors: Tensors, channels: int, num_outputs: int, written: Options
) -> str | None:
    """Returns the way out where weights fit a network for inputs of their own size."""
    library, name = _parted(spec)
    if not _takes_size(library, name):
        return None
    options = {key: value for key, value in written.items() if key not in _OURS}
    for side in (224, *_SIDES):
        told = {**options, library.size_option: side}
        try:
            one, two = (
                _sketch(library, name, told, count, channels).state_dict()
                for count in (num_outputs, num_outputs + 1)
            )
        except Exception:  # noqa: S112 - a size that it cannot have is none to name
            continue
        head = {key for key in one if one[key].shape != two[key].shape}
        if not matched(one, tensors, head, channels)[1]:
            sized = write_spec(None, spec, {**written, "resolution": side})
            return f"Resize the inputs to what the file is for: {sized}."
    return None


def without_weights(spec: Any, values: Options) -> dict[str, Any]:
    """Returns options or a space without what a network starts from.

    For a network whose own weights are loaded afterwards.
    """
    if not is_outside(spec):
        return dict(values)
    return {k: v for k, v in values.items() if k not in ("pretrained", "weights")}


def on_weights(arm: str, spec: Any, source: str) -> Iterator[str]:
    """Yields what is to be said of an arm that starts from pretrained weights."""
    if not is_outside(spec):
        return
    digests = re.findall(r"^# .+: sha256 (\w+)$", source, re.MULTILINE)
    if not digests:
        return
    library, name = _parted(spec)
    expected = library.expects(name)
    yield (
        f"{arm} starts from weights that were trained before (sha256"
        f" {', '.join(digest[:12] for digest in digests)}), its classifier from random"
        " ones. Its inputs are scaled as those of every arm, by the training rows"
        + (f", and not by those of its pretraining ({expected})" if expected else "")
        + ". Whether test examples were among what it was trained on is not known here."
    )


# --- the page -----------------------------------------------------------------------


def names(package: str) -> list[str]:
    """Returns the networks of a package that can be arms.

    Raises:
        ArmError: It is not installed.
    """
    return _LIBRARIES[package].names()


_ON = {"input_shape": [3, 224, 224], "num_outputs": 1000}


def described(spec: str) -> dict[str, Any]:
    """Returns what there is to know of a network, as JSON.

    Raises:
        ArmError: The package is not installed, or has no such network.
    """
    library, name = _parted(spec)
    library.check_name(name)
    network = _sketch(library, name, {}, 1000, 3)
    places, _ = library.published(name)
    there = next((str(place) for place in places if place.is_file()), None)
    return {
        "package": library.package,
        "version": _version(library.package),
        "options": {option: _OURS[option] for option in _ours(library)},
        "options_of_the_package": sorted(_shown(library, name)),
        "space": {},
        "kinds": ["image"],
        "parameters": sum(p.numel() for p in network.parameters()),
        "parameters_on": _ON,
        "pretrained": there,
    }


def page(spec: str) -> Iterator[str]:
    """Yields the lines of what there is to know of a network.

    Raises:
        ArmError: The package is not installed, or has no such network.
    """
    told = described(spec)
    yield f"{spec}, an image classifier of {told['package']} {told['version']}"
    yield ""
    yield (
        "  Its code is not archtrial's: runs share a fleet where it can be stacked, and"
        " else train one at a time; the study says which, and why."
    )
    yield ""
    for option, allowed in told["options"].items():
        yield f"option   {option:18} {allowed}"
    yield f"passed   {', '.join(told['options_of_the_package']) or 'none are shown'}"
    yield (
        f"size     {told['parameters']:,} parameters with {_ON['num_outputs']} outputs"
        " and 3 channels"
    )
    there = told["pretrained"]
    yield f"weights  {there or 'the published ones are not on this disk'}"
    yield "space    {}"
    yield "inputs   image"

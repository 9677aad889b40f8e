"""The packages of networks: what is asked of either, and of a network without values."""

import difflib
import functools
import importlib
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.zoo.outside.weights import Tensors, in_torch_hub, on_hub
from archtrial.zoo.registry import nearest

__all__ = [
    "LIBRARIES",
    "Library",
    "Options",
    "imported",
    "is_outside",
    "is_package",
    "names",
    "parted",
    "sketch",
    "version",
]

Options = Mapping[str, Any]

# A tag of timm follows the name: "resnet18.a1_in1k". Neither a path nor a place on a hub.
_SPEC = re.compile(r"(timm|torchvision):(?!\.)[\w.-]+", re.ASCII)


def is_outside(spec: Any) -> bool:
    """Says whether an arm's architecture is written timm:NAME or torchvision:NAME."""
    return isinstance(spec, str) and _SPEC.fullmatch(spec) is not None


def is_package(name: str) -> bool:
    """Says whether a name is that of a package whose networks can be arms."""
    return name in LIBRARIES


def names(package: str) -> list[str]:
    """Returns the networks of a package that can be arms.

    Raises:
        ArmError: It is not installed.
    """
    return LIBRARIES[package].names()


class Library(Protocol):
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
        return list(imported("timm").list_models())

    def check_name(self, name: str) -> None:
        timm = imported("timm")
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
        made: nn.Module = imported("timm").create_model(
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
                made = imported("timm").create_model(
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
        models = imported("torchvision.models")
        return list(models.list_models(module=models))

    def check_name(self, name: str) -> None:
        known = self.names()
        if name in known:
            return
        if name in imported("torchvision.models").list_models():
            raise ArmError(
                "an arm torchvision:NAME is an image classifier",
                f"{name} is none: it has another task, or reads videos, or is quantized",
                "archtrial zoo torchvision lists those that can be arms.",
            )
        raise _unknown("torchvision", name, known)

    def create(
        self, name: str, num_outputs: int, channels: int, options: Options
    ) -> nn.Module:
        made: nn.Module = imported("torchvision.models").get_model(
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
        models = imported("torchvision.models")
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


LIBRARIES: Mapping[str, Library] = {"timm": _Timm(), "torchvision": _Torchvision()}


def parted(spec: str) -> tuple[Library, str]:
    """Returns the package and the name of the network that a spec is of."""
    package, _, name = spec.partition(":")
    return LIBRARIES[package], name


def imported(module: str) -> Any:
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
            f"Install it: pip install {package}",
        ) from error
    except Exception as error:  # two packages that were built for different torches
        raise _not_importable(package, error) from error
    needed = {"timm": "create_model", "torchvision.models": "get_model"}.get(module, "")
    if needed and not hasattr(found, needed):
        raise ArmError(
            f"an arm {package}:NAME needs the package {package}, which has {needed}",
            f"{module} is {getattr(found, '__file__', None) or 'something else'}",
            "If it is a file of your own, write its path: path/to/file.py:Name. Else:"
            f" pip install {package}",
        )
    return found


def _not_importable(package: str, error: Exception) -> ArmError:
    return ArmError(
        f"{package} can be imported",
        f"{type(error).__name__}: {error}",
        f"Install it again beside torch {torch.__version__}: pip install --upgrade"
        f" {package}",
    )


def version(package: str) -> str:
    """Returns the version of a package that is installed.

    Raises:
        ArmError: It is not, or cannot be imported.
    """
    own = getattr(imported(package), "__version__", None)
    return str(own) if own is not None else importlib.metadata.version(package)


def _unknown(package: str, name: str, known: Sequence[str]) -> ArmError:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"Did you mean {package}:{close[0]}? " if close else ""
    return ArmError(
        f"{package} has no network {name!r}",
        way_out=f"{meant}archtrial zoo {package} lists all {len(known)}.",
    )


# --- networks without values -------------------------------------------------------


@functools.lru_cache(maxsize=16)
def _sketched(
    found: Any, package: str, name: str, outputs: int, channels: int, told: str
) -> nn.Module:
    """Returns a network of which the shapes matter alone, on the meta device if it can.

    `found` is the package, so that nothing is remembered of another one of its name.
    """
    library, options = LIBRARIES[package], json.loads(told)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return library.create(name, outputs, channels, options)
        except (
            Exception
        ):  # it may look at values, which are not there, while it is made
            return library.create(name, outputs, channels, options)


def sketch(
    library: Library,
    name: str,
    options: Options,
    outputs: int = 10,
    channels: int = 3,
) -> nn.Module:
    """Returns a network of which the shapes matter alone; another call may return the same.

    Args:
        library: The package.
        name: The network.
        options: Of the package, none of ours.
        outputs: Classes.
        channels: Of its inputs.

    Raises:
        ArmError: The package is not installed.
        Exception: Whatever the network's own code raises.
    """
    told = json.dumps(dict(options), sort_keys=True)
    found = imported(library.package)
    return _sketched(found, library.package, name, outputs, channels, told)


def _configuration(name: str) -> dict[str, Any]:
    """Returns what timm says of a network's published weights."""
    told = getattr(sketch(LIBRARIES["timm"], name, {}), "pretrained_cfg", None)
    return dict(told) if isinstance(told, Mapping) else {}

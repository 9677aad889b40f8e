"""The weights that a network starts from: their file, their digest, and what of them fits."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from archtrial.errors import ArmError
from archtrial.specs import write_spec
from archtrial.zoo.outside.options import OURS, SIDES, takes_size
from archtrial.zoo.outside.packages import (
    Options,
    is_outside,
    parted,
    sketch,
    version,
)
from archtrial.zoo.outside.weights import Tensors, content_of, matched, tensors_of

__all__ = ["load_weights", "on_weights", "source", "without_weights"]


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
    library, name = parted(spec)
    lines = [f"# {library.package} {version(library.package)}: {name}"]
    started = [*searched.get("pretrained", ()), options.get("pretrained", False)]
    files = [*searched.get("weights", ()), options.get("weights")]
    named = [None] if any(started) else []
    for path in dict.fromkeys([*named, *(f for f in files if f is not None)]):
        digest = hashlib.sha256(content_of(_file(spec, path))).hexdigest()
        lines.append(f"# {_label(path)}: sha256 {digest}")
    return "".join(f"{line}\n" for line in lines)


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
    library, name = parted(spec)
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


def load_weights(
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
    library, name = parted(spec)
    digests = dict(re.findall(r"^# (.+): sha256 (\w+)$", source, re.MULTILINE))
    label = _label(weights)
    if label not in digests:  # a configuration that no space tells of
        digests[label] = hashlib.sha256(content_of(_file(spec, weights))).hexdigest()
    tensors = tensors_of(_file(spec, weights), digests[label], spec)
    own = network.state_dict()
    # What grows with the number of outputs is the classifier.
    wider = sketch(library, name, told, num_outputs + 1, channels).state_dict()
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
    library, name = parted(spec)
    if not takes_size(library, name):
        return None
    options = {key: value for key, value in written.items() if key not in OURS}
    for side in (224, *SIDES):
        told = {**options, library.size_option: side}
        try:
            one, two = (
                sketch(library, name, told, count, channels).state_dict()
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
    library, name = parted(spec)
    expected = library.expects(name)
    yield (
        f"{arm} starts from weights that were trained before (sha256"
        f" {', '.join(digest[:12] for digest in digests)}), its classifier from random"
        " ones. Its inputs are scaled as those of every arm, by the training rows"
        + (f", and not by those of its pretraining ({expected})" if expected else "")
        + ". Whether test examples were among what it was trained on is not known here."
    )

"""Weights that were trained before, as they lie on this disk.

Where torch.hub and Hugging Face keep what they downloaded; tensors of a file, read
without running anything in it; and which of them fit a network. Nothing is downloaded.
"""

import functools
import hashlib
import io
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import safetensors
import safetensors.torch
import torch

from archtrial.errors import ArmError, StudyError

__all__ = ["content_of", "in_torch_hub", "matched", "on_hub", "tensors_of"]

Tensors = Mapping[str, torch.Tensor]


def in_torch_hub(url: str) -> Path:
    """Returns where torch.hub keeps a file once downloaded."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)


def on_hub(identity: str, file: str | None) -> list[Path]:
    """Returns where Hugging Face's cache keeps a model's files once downloaded."""
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
    )
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    root = Path(cache) if cache else Path(home, "hub")
    model, _, revision = identity.partition("@")
    folder = root.expanduser() / f"models--{model.replace('/', '--')}"
    revision = revision or "main"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    published = file or "pytorch_model.bin"
    safe = published.replace("pytorch_model.bin", "model.safetensors")
    names = dict.fromkeys([safe, published])
    return [folder / "snapshots" / commit / name for name in names]


def content_of(path: Path) -> bytes:
    """Returns a file's bytes.

    Raises:
        ArmError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArmError("a file of weights can be read", f"{path}: {error}") from error


@functools.lru_cache(maxsize=2)  # many runs start from the same
def tensors_of(path: Path, digest: str, spec: str) -> Tensors:
    """Returns the tensors of a file by name, without running anything in it."""
    content = content_of(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise StudyError(
            f"the weights of {spec} stay as they were when the study began",
            f"{path} has changed since",
            "Put the file back, or start another study with the new one.",
        )
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load(content)
        else:
            found = torch.load(io.BytesIO(content), "cpu", weights_only=True)
    except (
        *(pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError),
        *(TypeError, AttributeError, IndexError, safetensors.SafetensorError),
    ) as error:
        raise ArmError(
            "weights are tensors, which are read without running code",
            f"{path}: {str(error).strip().partition(chr(10))[0] or type(error).__name__}",
            "Write them anew, where the network is:"
            " safetensors.torch.save_file(model.state_dict(), 'model.safetensors').",
        ) from error
    return _unpacked(path, found)


_NESTED = ("state_dict", "model", "state_dict_ema", "model_ema")


def _unpacked(path: Path, found: Any) -> Tensors:
    """Returns the tensors of a checkpoint, which may keep more than a network."""
    if isinstance(found, Mapping):
        inside = [key for key in _NESTED if isinstance(found.get(key), Mapping)]
        if len(inside) > 1:
            raise ArmError(
                "a file of weights holds one network",
                f"{path} holds {' and '.join(inside)}",
                "Write the one that is meant into a file of its own:"
                f" torch.save(torch.load('{path.name}')['{inside[0]}'], 'one.pth').",
            )
        found = found[inside[0]] if inside else found
    tensors = (
        {key: v for key, v in found.items() if isinstance(v, torch.Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise ArmError(
            "a file of weights holds tensors by name",
            f"{path} holds {type(found).__name__}",
            "Write model.state_dict() into it.",
        )
    if all(key.startswith("module.") for key in tensors):  # of DataParallel
        tensors = {key.removeprefix("module."): v for key, v in tensors.items()}
    return tensors


def matched(
    own: Tensors, tensors: Tensors, head: set[str], channels: int
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Returns the tensors that fit a network's own, and what does not fit, in words."""
    fitting: dict[str, torch.Tensor] = {}
    shapes, lacking = [], []
    for key, tensor in own.items():
        if key in head:
            continue
        if key not in tensors:
            # Of batches that were counted, of which files before 2018 know nothing.
            if not key.endswith("num_batches_tracked"):
                lacking.append(key)
            continue
        there = _adapted(tensors[key], tensor.shape, channels)
        if there.shape == tensor.shape:
            fitting[key] = there
        else:
            shapes.append(f"{key} ({tuple(there.shape)}, not {tuple(tensor.shape)})")
    kinds = {
        "the file lacks": lacking,
        "the network lacks": [key for key in tensors if key not in own],
        "of another shape are": shapes,
    }
    return fitting, [f"{w} {_listed(names)}" for w, names in kinds.items() if names]


def _listed(names: list[str]) -> str:
    first = ", ".join(names[:4])
    return first if len(names) <= 4 else f"{first} and {len(names) - 4} more"


def _adapted(tensor: torch.Tensor, shape: Sequence[int], channels: int) -> torch.Tensor:
    """Returns the first convolution's weights for another number of channels than 3.

    As timm adapts them: for one channel their sum, for others each in turn, scaled so
    that outputs keep their size.
    """
    if (
        tensor.dim() != 4
        or len(shape) != 4
        or (tensor.shape[1], shape[1]) != (3, channels)
        or channels == 3
    ):
        return tensor
    if channels == 1:
        return tensor.sum(1, keepdim=True)
    repeated = tensor.repeat(1, math.ceil(channels / 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)

"""What a study keeps of each arm: its tuned configuration and its best weights."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from archtrial.errors import ArmError, RecordsError
from archtrial.files import check, name_of, write
from archtrial.records.table import Run
from archtrial.zoo import arms

__all__ = ["keep", "load_tuned", "tidy", "weights_file"]


def _place(folder: Path, arm: str) -> Path:
    return folder / "tuned" / name_of(arm)


def weights_file(folder: Path, run: Run) -> Path:
    """Returns where the weights of one run are kept until the best is known."""
    # In a folder of their own: an arm may be called like another one's seed.
    place = _place(folder, run.arm)
    return place.parent / ".seeds" / f"{place.name}.{run.seed}.safetensors"


def keep(
    folder: Path, confirmed: Sequence[Run], sign: int, described: Mapping[str, Any]
) -> None:
    """Keeps one arm's tuned configuration and the weights of its best fresh seed.

    Args:
        folder: The study's.
        confirmed: The tuned configuration's runs on fresh seeds.
        sign: 1 where a higher score is better, else -1.
        described: What is needed to build the module again.
    """
    best = max(confirmed, key=lambda run: (sign * run.validation, -run.seed))
    place = _place(folder, best.arm)
    text = json.dumps({**described, "seed": best.seed}, indent=2, ensure_ascii=False)
    write(place.with_name(f"{place.name}.json"), text + "\n", within=folder)
    final = place.with_name(f"{place.name}.safetensors")
    check(final, within=folder)
    if weights_file(folder, best).exists():
        os.replace(weights_file(folder, best), final)


def tidy(folder: Path) -> None:
    """Removes the weights that are not kept, when those that are have been."""
    if not (folder / "tuned").is_symlink():
        shutil.rmtree(folder / "tuned" / ".seeds", ignore_errors=True)


def load_tuned(
    study: str | Path,
    arm: str,
    architecture: str | Callable[..., torch.nn.Module] | None = None,
) -> torch.nn.Module:
    """Loads an arm's tuned model with the weights of its best fresh seed.

    Args:
        study: The study's folder.
        arm: The arm's name.
        architecture: The class or function that builds it, or its spec; needed only
            where it was given in Python or its file has moved.

    Returns:
        The module in evaluation mode, on the CPU. Its inputs are scaled as the
        study's data were; a regression's outputs are standardised targets.

    Raises:
        RecordsError: The study keeps no such model.
        ArmError: The architecture cannot be found or does not fit the weights.
    """
    place = _place(Path(study), arm)
    try:
        text = place.with_name(f"{place.name}.json").read_text(encoding="utf-8")
        weights = place.with_name(f"{place.name}.safetensors").read_bytes()
    except OSError as error:
        raise RecordsError(
            f"the study keeps a tuned model of {arm!r}", f"{error}"
        ) from None
    kept = json.loads(text)
    spec = kept["architecture"] if architecture is None else architecture
    found = arms.find(spec, kept["options"], kept["space"])
    with torch.random.fork_rng(devices=[]):
        module = found.build(
            tuple(kept["input_shape"]), kept["num_outputs"], kept["configuration"]
        )
    try:
        module.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ArmError(
            f"the weights of {arm!r} fit its architecture", str(error)
        ) from None
    return module.eval()

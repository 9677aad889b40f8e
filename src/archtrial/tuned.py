"""What a study keeps of each arm: its tuned configuration and its best weights."""

import dataclasses
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from archtrial.data.inputs import Inputs
from archtrial.data.preparation import Preparation
from archtrial.errors import ArmError, RecordsError, StudyError
from archtrial.files import check, name_of, write
from archtrial.records.store import frozen
from archtrial.records.table import Run, rank
from archtrial.space import Value
from archtrial.training.module import prepared
from archtrial.training.noise import own_noise
from archtrial.zoo import arms
from archtrial.zoo import trust as trusted
from archtrial.zoo.arms import Architecture
from archtrial.zoo.outside import without_weights
from archtrial.zoo.registry import Shape

__all__ = ["Model", "best", "keep", "load_tuned", "restored", "tidy", "weights_file"]


def _place(folder: Path, arm: str) -> Path:
    return folder / "tuned" / name_of(arm)


def weights_file(folder: Path, run: Run) -> Path:
    """Returns where the weights of one run are kept until the best is known."""
    # In a folder of their own: an arm may be called like another one's seed.
    place = _place(folder, run.arm)
    return place.parent / ".seeds" / f"{place.name}.{run.seed}.safetensors"


def best(confirmed: Sequence[Run], sign: int) -> Run:
    """Returns the best of a tuned configuration's runs on fresh seeds.

    One that diverged has no weights to keep, whatever it is counted with.

    Args:
        confirmed: Those runs.
        sign: 1 where a higher score is better, else -1.
    """
    return max(
        confirmed, key=lambda run: (not run.diverged, rank(run, sign), -run.seed)
    )


def keep(folder: Path, chosen: Run, described: Mapping[str, Any]) -> Path:
    """Keeps one arm's tuned configuration and the weights of its best fresh seed.

    Args:
        folder: The study's.
        chosen: What `best` returned.
        described: What is needed to build the module again.

    Returns:
        The file of the weights, which is there unless the run left none.
    """
    place = _place(folder, chosen.arm)
    weights = weights_file(folder, chosen)
    kept = {**described, "seed": chosen.seed, **_noted(weights, chosen, place)}
    text = json.dumps(kept, indent=2, ensure_ascii=False)
    write(place.with_name(f"{place.name}.json"), text + "\n", within=folder)
    final = place.with_name(f"{place.name}.safetensors")
    check(final, within=folder)
    if weights.exists():
        os.replace(weights, final)
    return final


def _noted(weights: Path, chosen: Run, place: Path) -> dict[str, Any]:
    """Returns the predictions that were saved with a run's weights.

    A study that goes on after its models were kept finds them where they went.
    """
    for file in (weights, place.with_name(f"{place.name}.safetensors")):
        if file.exists():
            with safetensors.safe_open(file, "pt") as opened:
                noted = opened.metadata() or {}
            if "predictions" in noted and noted.get("seed") == str(chosen.seed):
                return {"predictions": json.loads(noted["predictions"])}
    return {}


def tidy(folder: Path) -> None:
    """Removes the weights that are not kept, when those that are have been."""
    if not (folder / "tuned").is_symlink():
        shutil.rmtree(folder / "tuned" / ".seeds", ignore_errors=True)


class Model(torch.nn.Module):
    """A tuned model that takes raw inputs.

    Attributes:
        module: The architecture itself, in evaluation mode: it takes inputs as the
            study prepared them, and a regression's outputs are standardised.
        preparation: What makes such inputs of raw ones; None where the study kept
            none, and then the model takes prepared inputs, too.
        classes: The classes' names in the order of the outputs; None for regression.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        preparation: Preparation | None,
        classes: Sequence[str] | None,
        center: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.module = module
        self.preparation = preparation
        self.classes = None if classes is None else tuple(classes)
        self._center, self._scale = center, scale

    def __getattr__(self, name: str) -> Any:
        """Looks up what only the module has, such as its layers."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def forward(self, inputs: Any) -> torch.Tensor:
        """Returns logits (N, classes), or values (N, 1) in the target's own units.

        Args:
            inputs: (N, ...), raw: as they stand in the data; of a table a
                pandas.DataFrame or a mapping of the columns' names to N cells.
        """
        if self.preparation is None:
            prepared = torch.as_tensor(inputs, dtype=torch.float32)
        else:
            prepared = self.preparation(inputs)
        place = next(self.module.parameters()).device
        outputs: torch.Tensor = self.module(prepared.to(place))
        if self.classes is not None:
            return outputs
        return outputs.reshape(len(outputs), 1).double() * self._scale + self._center

    @torch.no_grad()
    def predict(self, inputs: Any) -> np.ndarray:
        """Returns (N,) classes, or values in the target's own units.

        Classes are texts, but whole numbers (int64) or truth values (bool) where all of
        them are such: they can be compared with labels as they were given.
        """
        outputs = self(inputs).cpu().numpy()
        if self.classes is None:
            values: np.ndarray = outputs[:, 0]
            return values
        named: np.ndarray = _as_given(self.classes)[outputs.argmax(1)]
        return named


def _as_given(classes: Sequence[str]) -> np.ndarray:
    """Returns (C,) the classes as labels had them."""
    if all(re.fullmatch("0|-?[1-9][0-9]{0,17}", name) for name in classes):
        return np.array([int(name) for name in classes])
    if set(classes) <= {"True", "False"}:
        return np.array([name == "True" for name in classes])
    return np.array(classes)


def restored(
    architecture: Architecture,
    inputs: Inputs | Shape,
    num_outputs: int,
    configuration: Mapping[str, Value],
    initial_seed: int,
    weights: bytes | None,
    examples: torch.Tensor,
    *,
    name: str | None = None,
) -> torch.nn.Module:
    """Builds the module of a run again, and gives it the weights that the run kept.

    What its code draws while it is built, and keeps neither as a parameter nor as a
    buffer, comes from the run's own seed, as it did when it was trained.

    Args:
        architecture: The run's arm.
        inputs: What is known of the inputs, or one example's shape alone.
        num_outputs: Classes, or 1 for regression.
        configuration: The run's; hyperparameters of training are passed over.
        initial_seed: Of its initial weights (`trainers.Loops.initial_seed`).
        weights: What the run left (`trainers.Finished.weights`), in the safetensors
            format; None: it stays as it is built.
        examples: (N, ...) inputs as training prepares them; lazy layers take their
            shapes from the first two.
        name: What it is called in messages; by default the architecture's spec.

    Returns:
        The module in evaluation mode, on the CPU: from (N, ...) inputs to (N,
        num_outputs) float32, as in training.

    Raises:
        ArmError: It cannot be built, or does not fit the weights.
    """
    bare, values = architecture, configuration
    if weights is not None:  # what it was pretrained on is in them by now
        options, values = (
            without_weights(architecture.spec, some)
            for some in (architecture.options, configuration)
        )
        bare = dataclasses.replace(architecture, options=options)
    with own_noise(initial_seed, "cpu"):
        module = prepared(bare.build(inputs, num_outputs, values), num_outputs).eval()
        if any(
            isinstance(p, torch.nn.UninitializedParameter) for p in module.parameters()
        ):
            with torch.no_grad():
                module(examples[:2])
    if weights is None:
        return module
    try:
        module.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ArmError(
            f"the weights of {name or architecture.spec!r} fit its architecture",
            str(error),
        ) from None
    return module


def load_tuned(
    study: str | Path,
    arm: str,
    architecture: str | Callable[..., torch.nn.Module] | None = None,
    *,
    trust: bool = False,
) -> Model:
    """Loads an arm's tuned model with the weights of its best fresh seed.

    The architecture is built with the seeds of that run, and the model must predict
    for a few examples what it predicted in the study.

    Args:
        study: The study's folder.
        arm: The arm's name.
        architecture: The class or function that builds it, or its spec; needed only
            where it was given in Python or its file has moved.
        trust: Whether code may be run that the folder names and that is neither the
            zoo's nor a file of yours that is as the study kept it.

    Returns:
        The model in evaluation mode, on the CPU: `model(x)` takes raw inputs,
        `model.predict(x)` returns classes or values, `model.module` is the
        architecture alone.

    Raises:
        RecordsError: The study keeps no such model, or what it keeps is damaged.
        StudyError: It names code that is not trusted.
        ArmError: The architecture cannot be found, does not fit the weights, or does
            not predict what it did.
    """
    folder = Path(study)
    place = _place(folder, arm)
    try:
        text = place.with_name(f"{place.name}.json").read_text(encoding="utf-8")
        _check_kept(text, arm)
        weights = place.with_name(f"{place.name}.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        there = sorted(f.stem for f in (folder / "tuned").glob("*.safetensors"))
        raise RecordsError(
            f"the study keeps no tuned model of {arm!r}",
            f"it has {', '.join(there)}" if there else str(error),
        ) from None
    kept = _Kept.read(text, place.with_name(f"{place.name}.json"))
    if kept.preparation is None and _notes_of(weights):
        raise RecordsError(
            f"{place}.json belongs to the weights beside it",
            "the weights are of a later release than 0.2, and it is not",
            "Run the study's command again: it writes the file anew.",
        )
    if architecture is None:
        source = kept.source
        if source is None and ":" in kept.architecture:
            source = _frozen_source(folder, arm)
        why = trusted.objection(kept.architecture, source, folder)
        if why is not None and not trust:
            raise StudyError(
                "code that a folder names runs only where it is trusted",
                f"{trusted.shown(kept.architecture, kept.options)}: {why}",
                "Look at it; then pass trust=True, or the class itself as architecture.",
            )
    spec = kept.architecture if architecture is None else architecture
    options, space = (without_weights(spec, v) for v in (kept.options, kept.space))
    inputs = kept.inputs()
    module = restored(
        arms.find(spec, options, space),
        kept.known,
        kept.num_outputs,
        kept.configuration,
        kept.initial_seed or 0,
        weights,
        torch.zeros(2, *kept.input_shape) if inputs is None else inputs,
        name=arm,
    )
    model = Model(module, kept.preparation, kept.classes, kept.center, kept.scale)
    if kept.preparation is None:
        # Of a release that kept less.
        resolved = (frozen(folder) or (None, {}))[1]
        classes = resolved.get("data", {}).get("classes")
        model.classes = None if classes is None else tuple(classes)
        warnings.warn(
            f"the tuned model of {arm!r} was written by archtrial 0.2 or before: its"
            " inputs must be prepared as the study's were, a regression's outputs are"
            " standardised, and no predictions are kept to compare with",
            stacklevel=2,
        )
    else:
        _compare(arm, model, kept)
    return model


def _check_kept(text: str, arm: str) -> None:
    """Raises a RecordsError where what a study keeps of an arm has no weights."""
    try:
        fit_again = json.loads(text)["fit_again"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return  # it is a network's, or what is wrong with it is said when it is read
    raise RecordsError(
        f"the study keeps the tuned configuration of {arm!r}, and not what was fitted",
        "an estimator of scikit-learn is kept by pickle alone, which runs code when it is"
        " loaded",
        f"Fit it again: {fit_again}",
    )


def _notes_of(weights: bytes) -> bool:
    """Whether predictions were saved with weights, as none were up to 0.2."""
    try:
        length = int.from_bytes(weights[:8], "little")
        noted = json.loads(weights[8 : 8 + length]).get("__metadata__", {})
        return "predictions" in noted
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False  # they are no weights, which is said when they are loaded


def _frozen_source(folder: Path, arm: str) -> str | None:
    found = frozen(folder)
    if found is None:
        return None
    resolved = found[1]
    described = [
        resolved.get("baseline", {}),
        *resolved.get("challengers", []),
        resolved.get("matched", {}),
    ]
    return next((a.get("source") for a in described if a.get("name") == arm), None)


def _compare(arm: str, model: Model, kept: "_Kept") -> None:
    """Raises an ArmError unless a model predicts what it did in the study."""
    then = np.asarray(kept.predictions)
    with torch.no_grad():
        outputs = model(kept.raw())[: len(then)]
    if not torch.isfinite(outputs).all():
        different = np.ones(len(then), dtype=bool)
    elif model.classes is None:
        now = outputs[:, 0].numpy()
        different = np.abs(now - then) > 1e-2 * kept.scale
    elif then.dtype.kind in "iu":
        # A class that is as probable as another may change with the last digit.
        chosen = outputs.softmax(1).numpy()
        different = chosen.max(1) - chosen[np.arange(len(then)), then] > 1e-2
    else:
        chosen = outputs.softmax(1).numpy()
        now = chosen[:, 1] if then.ndim == 1 else chosen
        different = np.abs(now - then).reshape(len(then), -1).max(1) > 1e-2
    if different.any():
        raise ArmError(
            f"the loaded model of {arm!r} does not predict what it did in the study",
            f"{int(different.sum())} of {len(then)} test examples differ",
            "Something that it needs is neither among its weights nor drawn from a"
            " seed: constants from a file, the clock or the system's own random"
            " numbers. Keep it with register_buffer. After a study in bfloat16 rounding"
            " alone may do it: a model is loaded in float32.",
        )


@dataclasses.dataclass(frozen=True)
class _Kept:
    """What the folder says of a model: data, and nothing that runs."""

    architecture: str
    input_shape: Sequence[int]
    known: Inputs
    num_outputs: int
    options: Mapping[str, Any]
    space: Mapping[str, Any]
    configuration: Mapping[str, Any]
    source: str | None
    initial_seed: int | None
    preparation: Preparation | None
    classes: Sequence[str] | None
    center: float
    scale: float
    examples: Any
    predictions: Any

    @classmethod
    def read(cls, text: str, place: Path) -> "_Kept":
        """Reads the file.

        Raises:
            RecordsError: It is damaged.
        """
        try:
            kept = json.loads(text)
            described = kept.get("preparation")
            found = cls(
                architecture=kept["architecture"],
                input_shape=[int(size) for size in kept["input_shape"]],
                known=Inputs.from_dict(kept["inputs"])
                if "inputs" in kept
                else Inputs.of_shape([int(size) for size in kept["input_shape"]]),
                num_outputs=int(kept["num_outputs"]),
                options=dict(kept["options"]),
                space=dict(kept["space"]),
                configuration=dict(kept["configuration"]),
                source=kept.get("source"),
                initial_seed=kept.get("initial_seed"),
                preparation=None
                if described is None
                else Preparation.from_dict(described),
                classes=kept.get("classes"),
                center=float(kept.get("center", 0.0)),
                scale=float(kept.get("scale", 1.0)),
                examples=kept.get("examples"),
                predictions=kept.get("predictions"),
            )
            if not isinstance(found.architecture, str):
                raise TypeError("architecture is no text")
            found._check()
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise RecordsError(
                f"{place} is damaged",
                f"{type(error).__name__}: {error}",
                "Run the study's command again: it writes the file anew.",
            ) from None
        return found

    def _check(self) -> None:
        """Raises a ValueError where parts contradict one another."""
        seed, classes, outputs = self.initial_seed, self.classes, self.num_outputs
        if seed is not None and not (type(seed) is int and seed >= 0):
            raise ValueError(f"initial_seed is {seed!r}")
        if classes is not None and (
            not isinstance(classes, list) or len(classes) != outputs
        ):
            raise ValueError(f"classes are no list of {outputs}")
        if not (math.isfinite(self.center) and math.isfinite(self.scale)):
            raise ValueError("center or scale is no number")
        if self.preparation is None:
            # 0.2 kept none of these, and no comparison.
            if not (seed is self.examples is self.predictions is None):
                raise ValueError("the preparation is missing")
            return
        if self.predictions is None:
            raise ValueError("the predictions are missing, with which it is compared")
        predictions = np.asarray(self.predictions)
        if predictions.dtype.kind not in "iuf" or predictions.ndim not in (1, 2):
            raise ValueError("predictions are no numbers")
        if not isinstance(self.examples, list | dict):
            raise ValueError("there are predictions, and no examples")
        if (
            classes is not None
            and predictions.dtype.kind in "iu"
            and not ((predictions >= 0) & (predictions < outputs)).all()
        ):
            raise ValueError("predictions are no classes")

    def raw(self) -> Any:
        """Returns the raw examples."""
        return self.examples

    def inputs(self) -> torch.Tensor | None:
        """Returns the examples as the architecture gets them, where there are any."""
        if self.preparation is None or self.examples is None:
            return None
        return self.preparation(self.examples)

"""What an experiment on the convolutional prior declares before its first run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic

from archtrial.errors import ProtocolError
from archtrial.freezing import declared_in
from archtrial.protocol import Arm, Count, OnData, Positive, Recipe, loader
from archtrial.statistics.simultaneous import FLIPS

__all__ = ["RECIPE", "Protocol", "begun", "load"]

RECIPE: Mapping[str, Any] = {
    "optimizer": "sgd",
    "schedule": "constant",
    "warmup": 0.0,
    "gradient_clip": None,
    "momentum": 0.0,
    "weight_decay": 0.0,
}
"""The paper's training (appendix A of arXiv 1906.06766): plain SGD at a constant rate.

Without momentum an optimiser remembers nothing, so a network that is relaxed is trained
on exactly as the one that it came from. What a protocol's recipe declares is laid over
this."""

# Each is as many trainings as there are rates and seeds.
_MOST_TIMES = 1000


class Protocol(OnData):
    """What is the convolutional prior worth, and when?

    Only `data` has no default.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    architecture: Arm = Arm.model_validate("cnn")
    """The convolutional network, a zoo name or net.py:Net, with (options). In Python a
    class or function, too."""
    form: Literal["fcn", "lcn"] = "fcn"
    """What it becomes: fully connected, or locally connected."""
    batch_norm: Literal["per_position", "folded"] = "per_position"
    """What becomes of batch normalisation: one for each unit, or none any more."""
    relax_times: Annotated[
        Count | tuple[Annotated[int, pydantic.Field(ge=0)], ...],
        pydantic.Field(examples=["8 or 0,100,1000"]),
    ] = 8
    """The steps after which the network is relaxed, or how many there are. These are 0
    and then times that are spaced evenly in log time up to `last_relax_time`."""
    last_relax_time: Count | None = None
    """By default as many steps as are trained afterwards."""
    seeds: Count = 10
    """Fresh seeds of everything that is compared."""
    learning_rates: Annotated[
        tuple[Positive, ...], pydantic.Field(examples=[".03,.1,.3"])
    ] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """What is tried for the CNN, for the fresh FCN and, at each relax time, for the CNN
    that goes on and for what it is relaxed into."""
    tuning_seeds: Count = 2
    """Seeds on which each learning rate is tried; none of them counts afterwards."""
    reading: Literal["best", "last"] = "best"
    """Which weights of a training are compared: those with the best validation score on
    the way (early stopping), or those of the last step. What goes on from a relax time
    may stop only after it, the fresh FCN anywhere up to the same budget."""
    evaluations: Count = 20
    """Validation scores within `steps`, evenly spaced."""
    curvature_examples: Annotated[int, pydantic.Field(ge=0)] = 500
    """Training examples on which the Hessian's largest eigenvalue is sought; 0: not."""
    recipe: Recipe = Recipe(**RECIPE)
    default_steps: ClassVar[int] = 2000
    """`steps` are those that follow each relax time."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        times = declared.get("relax_times", 1)
        listed = times if isinstance(times, (tuple, list)) else (times,)
        whole = all(type(time) is int and time >= 0 for time in listed)
        if not whole or (listed == (times,) and not 1 <= times <= _MOST_TIMES):
            raise ProtocolError(
                "relax times are whole numbers of steps, or how many there are"
                f" (1 to {_MOST_TIMES:,})",
                f"relax_times = {times!r}",
                "Write relax_times = [0, 100, 1000], or relax_times = 8; for the start"
                " alone relax_times = [0], or --relax-times 0, with its comma.",
            )
        if isinstance(declared.get("recipe"), Mapping):
            declared["recipe"] = {**RECIPE, **declared["recipe"]}
        return declared

    @pydantic.model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        if self.architecture.recipe != "plain" or self.architecture.space:
            raise ProtocolError(
                "the network is one architecture with fixed options",
                "a recipe or a search space of its own is declared",
                "Declare the recipe beside it, and leave the space out: learning rates"
                " are all that is tuned here.",
            )
        for name in ("schedule", "warmup", "length", "weight_averaging"):
            if getattr(self.recipe, name) != getattr(Recipe(**RECIPE), name):
                raise ProtocolError(
                    "the rate is constant, so that a training can be relaxed at any"
                    " moment and be read at any length",
                    f"recipe.{name} = {getattr(self.recipe, name)!r}",
                    f"Leave {name} out of the recipe.",
                )
        if self.recipe.loss is not None:
            raise ProtocolError(
                "networks are relaxed and trained on by the task's own loss",
                f"recipe.loss = {self.recipe.loss!r}",
                "Leave loss out of the recipe.",
            )
        if self.alpha < 1 / (1 + FLIPS):
            raise ProtocolError(
                f"alpha is at least {1 / (1 + FLIPS):g}: flipped signs tell no less",
                f"alpha = {self.alpha:g}",
            )
        if "learning_rate" in self.recipe.model_fields_set:
            raise ProtocolError(
                "learning rates are tried, for each network and relax time",
                f"recipe.learning_rate = {self.recipe.learning_rate:g}",
                f"Write learning_rates = [{self.recipe.learning_rate:g}].",
            )
        rates = self.learning_rates
        if list(rates) != sorted(set(rates)) or not rates:
            raise ProtocolError(
                "learning rates are one or more, each larger than the one before",
                f"learning_rates = {list(rates)}",
                "Write learning_rates = [0.03, 0.1, 0.3].",
            )
        if isinstance(self.relax_times, tuple):
            if list(self.relax_times) != sorted(set(self.relax_times)) or not (
                self.relax_times
            ):
                raise ProtocolError(
                    "relax times are one or more, each later than the one before",
                    f"relax_times = {list(self.relax_times)}",
                    "Write relax_times = [0, 100, 1000], or how many: relax_times = 8.",
                )
            if self.last_relax_time is not None:
                raise ProtocolError(
                    "the last relax time is declared, or follows from the list",
                    f"last_relax_time = {self.last_relax_time} beside a list",
                    "Remove one of the two.",
                )
        return self

    def times(self, training_rows: int) -> tuple[int, ...]:
        """Returns the relax times in steps, on so many rows.

        Raises:
            ProtocolError: There are not as many whole steps to space.
        """
        if isinstance(self.relax_times, tuple):
            return self.relax_times
        last = self.last_relax_time or self.length(training_rows)
        if self.relax_times == 1:
            return (last,)
        # From a hundredth of the last on: earlier a network has hardly moved.
        # Backwards, since of a single one NumPy returns the beginning.
        spaced = np.geomspace(last, max(1, last / 100), self.relax_times - 1)
        times = (0, *sorted({round(float(time)) for time in spaced}))
        if len(times) < self.relax_times:
            raise ProtocolError(
                "relax times are different steps",
                f"{self.relax_times} of them up to step {last}",
                f"Declare at most {len(times)} relax times, or more steps.",
            )
        return times

    def describe(self) -> dict[str, Any] | None:
        """Returns what was declared as JSON, to be declared again from it."""
        described = super().describe()
        if described is not None and "recipe" in described:
            # A rate that nobody declared must not look like one that was.
            described["recipe"] = self.recipe.model_dump(
                mode="json", include=self.recipe.model_fields_set
            )
        return described


load = loader(Protocol, "one network that is relaxed")


def begun(folder: str | Path) -> Protocol | None:
    """Returns what was declared in a study's folder; None where nothing has begun.

    Raises:
        RecordsError: The folder holds another kind of study.
        StudyError: The architecture was given in Python.
    """
    return declared_in(folder, "relax", Protocol)

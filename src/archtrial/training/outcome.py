"""What becomes of a run: its learning curve, its readings, and how it ended."""

import dataclasses
import functools
import math
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from archtrial.errors import ArmError, FormError, UserError, is_out_of_memory
from archtrial.records.table import CurvePoint, Run
from archtrial.training.module import state
from archtrial.training.problem import Problem

__all__ = ["Account", "Outcome", "Reading", "pass_on"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a run's weights, as they were after a step, are worth."""

    step: int
    """After which the weights were so; 0 where it is the constant predictor that is
    read, in place of weights that diverged."""
    validation: float
    """The validation score, in the metric's own units."""
    predictions: np.ndarray
    """For the test inputs, in the form that `Metric.reduce` returns."""


@dataclasses.dataclass
class Outcome:
    """What a run leaves behind."""

    validation: float
    """The score after the last step; a diverged run's is the constant predictor's."""
    predictions: np.ndarray
    """For the test inputs, in the form that `Metric.reduce` returns."""
    diverged: bool
    error: str | None
    """What the run raised, and where; such a run counts as diverged."""
    flops: float
    """Of the whole training, forward and backward."""
    parameters: int
    seconds: float
    curve: tuple[CurvePoint, ...]
    weights: dict[str, torch.Tensor] | None
    """The module's state_dict on the CPU, if it was to be kept."""
    kept: dict[int, dict[str, torch.Tensor]] = dataclasses.field(default_factory=dict)
    """By step of `Job.keep_at`, what `weights` would be if the run had ended there;
    without the steps that a diverged run did not reach."""
    readings: dict[int, dict[Literal["last", "best"], Reading]] = dataclasses.field(
        default_factory=dict
    )
    """By step of `Problem.read_at`: "last" as the run was then, "best" as it was when
    its validation score was the best among all evaluations so far, the first of
    equals (early stopping). Weights that diverged are no candidates; with none left,
    and as "last", they count as the constant predictor."""
    measures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else was measured on the way, as JSON; see `Engine.measures`."""

    def run(self, **place: Any) -> Run:
        """Returns it as a row of the records, as the run ended.

        Args:
            **place: The other fields of the row: `arm`, `pair`, `seed`, `stage`,
                `configuration` and whatever else tells it from others.
        """
        return Run(
            **place,
            validation=self.validation,
            diverged=self.diverged,
            error=self.error,
            flops=self.flops,
            parameters=self.parameters,
            seconds=self.seconds,
            curve=self.curve,
            measures=self.measures,
        )


def pass_on(error: Exception) -> None:
    """Raises again what must not be recorded as the failure of a run.

    Returns for all else: such an error follows from the run's own configuration
    and seeds, and the next run may be spared it.

    Raises:
        UserError: The error itself, unless it is an ArmError that is no FormError: it
            is about what all runs share.
        MemoryError: Memory ran out, whatever class the error has. A machine with
            more of it would have had another result.
    """
    if isinstance(error, FormError) or (
        isinstance(error, UserError) and not isinstance(error, ArmError)
    ):
        raise error
    # An ArmError, like an error of the user's own, stands before its reason.
    reason: BaseException | None = error
    while reason is not None:
        if is_out_of_memory(reason):
            said = _first_line(reason) or type(reason).__name__
            raise MemoryError(f"not enough memory to train: {said}") from error
        reason = reason.__cause__ or reason.__context__


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


class Account:
    """Keeps what a run has shown so far, and says whether it diverged.

    Args:
        problem: Scores and the constant predictor's.
        started: The clock (time.perf_counter) when the run began.

    Attributes:
        curve: Points so far.
        diverged: Whether it has.
        flops: Of the whole training.
        parameters: How many.
        kept: Copies of the weights by step.
        measures: What else was measured.
    """

    def __init__(self, problem: Problem, started: float) -> None:
        self.problem = problem
        self.started = started
        self.curve: list[CurvePoint] = []
        self.diverged = False
        self.flops = 0.0
        self.parameters = 0
        self.kept: dict[int, dict[str, torch.Tensor]] = {}
        self.measures: Mapping[str, Any] = {}
        self._last_step = 0
        self._best: Reading | None = None
        self._readings: dict[int, dict[Literal["last", "best"], Reading]] = {}

    def evaluated(self, step: int, total_loss: float, presented: np.ndarray) -> None:
        """Adds a point to the learning curve, unless the run has diverged.

        Args:
            step: Steps taken.
            total_loss: Sum of the training loss since the last evaluation.
            presented: Predictions for the validation set.
        """
        if not (math.isfinite(total_loss) and np.isfinite(presented).all()):
            self.diverged = True
        if self.diverged:
            return
        metric = self.problem.metric
        self.curve.append(
            CurvePoint(
                step,
                total_loss / (step - self._last_step),
                metric.score(metric.reduce(presented), self.problem.y_validation),
            )
        )
        self._last_step = step

    def wants_reading(self, step: int) -> bool:
        """Says whether predictions for the test inputs matter after an evaluation.

        They do at the steps that are read, and where the validation score is the best
        so far: such weights are those of early stopping.
        """
        problem = self.problem
        if self.diverged or not problem.read_at:
            return False
        return step in problem.read_at or self._is_best(self.curve[-1].validation)

    def _is_best(self, validation: float) -> bool:
        sign = 1 if self.problem.metric.higher_is_better else -1
        return self._best is None or sign * validation > sign * self._best.validation

    def read(self, step: int, presented: np.ndarray) -> None:
        """Takes in what the run, as it was just evaluated, says of the test inputs.

        Nothing, unless it `wants_reading`.

        Args:
            step: Steps taken; that of the last point of the learning curve.
            presented: Predictions for the test inputs.
        """
        if not self.wants_reading(step):
            return
        metric = self.problem.metric
        validation = self.curve[-1].validation
        reading = None
        if not self._counts_as_constant(presented):
            reading = Reading(step, validation, metric.reduce(presented))
            if self._is_best(validation):
                self._best = reading
        if step in self.problem.read_at:
            self._readings[step] = self._with_best(reading)

    def finished(
        self, presented: np.ndarray, module: nn.Module | None, share: float = 1.0
    ) -> Outcome:
        """Returns the outcome of a run that has reached its end.

        Args:
            presented: Predictions for the test inputs.
            module: The trained module, if its weights are to be kept.
            share: The run's share of the time since it began.
        """
        weights = None if module is None else state(module)
        if self.diverged or self._counts_as_constant(presented):
            return self._outcome(self._constant, True, None, weights, share)
        last = Reading(
            self._last_step,
            self.curve[-1].validation,
            self.problem.metric.reduce(presented),
        )
        return self._outcome(last, False, None, weights, share)

    def failed(self, error: Exception) -> Outcome:
        """Returns the outcome of a run that raised."""
        return self._outcome(self._constant, True, _described(error), None, 1.0)

    def _counts_as_constant(self, presented: np.ndarray) -> bool:
        """Says whether what was last evaluated diverged, by its test predictions too.

        On a metric without bound, whatever is worse than the constant predictor did.
        """
        metric = self.problem.metric
        if not np.isfinite(presented).all():
            return True
        if metric.bounded:
            return False
        sign = 1 if metric.higher_is_better else -1
        return sign * self.curve[-1].validation < sign * self._constant.validation

    def _with_best(
        self, last: Reading | None
    ) -> dict[Literal["last", "best"], Reading]:
        """Returns both readings; the constant predictor's where there is none."""
        return {"last": last or self._constant, "best": self._best or self._constant}

    @functools.cached_property
    def _constant(self) -> Reading:
        """What the constant predictor is worth."""
        problem = self.problem
        on_validation, on_test = (
            problem.metric.constant(problem.y_train, len(x), problem.num_outputs)
            for x in (problem.x_validation, problem.x_test)
        )
        score = problem.metric.score(on_validation, problem.y_validation)
        return Reading(0, score, on_test)

    def _outcome(
        self,
        end: Reading,
        diverged: bool,
        error: str | None,
        weights: dict[str, torch.Tensor] | None,
        share: float,
    ) -> Outcome:
        return Outcome(
            validation=end.validation,
            predictions=end.predictions,
            diverged=diverged,
            error=error,
            flops=self.flops,
            parameters=self.parameters,
            seconds=(time.perf_counter() - self.started) * share,
            curve=tuple(self.curve),
            weights=weights,
            kept=self.kept,
            readings={
                step: self._readings.get(step) or self._with_best(None)
                for step in self.problem.read_at
            },
            measures=self.measures,
        )


def _described(error: Exception) -> str:
    """Returns an exception's type and message, and the user's line that raised it.

    An ArmError says all that in its first line.
    """
    if isinstance(error, ArmError):
        return _first_line(error)
    not_theirs = tuple(str(Path(file).parent) for file in (torch.__file__, __file__))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(not_theirs)]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{where}"

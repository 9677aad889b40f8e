"""What the driver asks of whoever carries out the steps: one run, or many at once."""

import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from archtrial.training import recipe
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Inputs

__all__ = ["Engine"]


class Engine(abc.ABC):
    """R >= 1 runs in training.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        values: All trainable values, (R, P); parameters are views of them.
        buffers: By name, of a module or of all runs.
        matrices: Which values belong to parameters of two or more dimensions, (P,).

    Attributes:
        values: Those.
        gradient: Of the step that is being taken, (R, P); `update` overwrites it.
        optimizer: Of `values`.
        smoothing: Of the labels, (R, 1).
        average: Of the weights, where the recipe asks for one.
        generators: Of each run, the source of dropout's masks.
    """

    gradient: torch.Tensor
    generators: Sequence[torch.Generator]
    _begun = False

    def __init__(
        self,
        problem: Problem,
        jobs: Sequence[Job],
        values: torch.Tensor,
        buffers: Mapping[str, torch.Tensor],
        matrices: torch.Tensor,
    ) -> None:
        self.values = values
        self.objective = problem.minimised()
        self.optimizer, self.smoothing = recipe.settings(
            problem.recipe, [job.hyperparameters for job in jobs], values, matrices
        )
        share = problem.recipe.weight_averaging
        self.average = (
            recipe.WeightAverage(share * problem.steps, values, buffers)
            if share
            else None
        )
        self._num_outputs = problem.num_outputs
        self._parts = problem.recipe.accumulate

    def step(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
        """Takes one step of every run on its own batch.

        Args:
            x: (R, batch, ...).
            y: (R, batch, ...), rows of the objective's targets.
            rate: The schedule's share of the learning rates.

        Returns:
            The mean losses before the step, (R,).
        """
        losses = x.new_zeros(len(x), dtype=torch.float32)
        self.forget()
        # Each part weighs as many examples as it has, so that all weigh alike.
        parts = min(self._parts, x.shape[1])
        for part, targets in zip(
            x.tensor_split(parts, 1), y.tensor_split(parts, 1), strict=True
        ):
            losses += self.differentiate(part, targets, part.shape[1] / x.shape[1])
        self.update(rate)
        return losses

    def forget(self) -> None:
        """Begins a step: what `gradient` holds is of another one."""
        self.gradient.zero_()
        self._begun = False

    def differentiate(
        self, x: torch.Tensor, y: torch.Tensor, share: float
    ) -> torch.Tensor:
        """Adds the gradient of a share of the mean losses to `gradient`.

        Args:
            x: (R, part, ...), a batch or a part of one.
            y: (R, part, ...).
            share: Of the batch's examples.

        Returns:
            That share of the mean losses, (R,).
        """
        outputs = self.outputs(x)
        losses = self.objective.losses(outputs, y, self.smoothing).mean(1) * share
        self.backward(losses)
        return losses.detach()

    @abc.abstractmethod
    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (R, batch, outputs) for inputs (R, batch, ...), in training.

        They remember what they were computed from; `gradient` stays as it is.
        """

    @abc.abstractmethod
    def backward(self, losses: torch.Tensor) -> None:
        """Adds the gradient of each run's loss, (R,), to `gradient`."""

    def update(self, rate: float) -> None:
        """Moves the values along `gradient`, which is overwritten."""
        self.optimizer.step(self.gradient, rate)
        if self.average is not None:
            self.average.add(self.values, self._buffers())

    @abc.abstractmethod
    def predict(self, x: Inputs) -> torch.Tensor:
        """Returns outputs (R, N, outputs) for inputs (N, ...), of averaged weights."""

    def watch(  # noqa: B027 - of an ordinary training there is nothing more
        self,
        step: int,
        x: Inputs,
        score: Callable[[torch.Tensor], Sequence[float]],
    ) -> None:
        """Takes note, when the runs are evaluated, of what else there is to know of them.

        Args:
            step: Steps taken.
            x: The validation inputs, (N, ...).
            score: Returns the validation score of each run's outputs, (R, N, outputs).
        """

    def measures(self) -> list[dict[str, Any]]:
        """Returns what was noted of each run, as `Run.measures` has it."""
        return [{} for _ in self.values]

    @abc.abstractmethod
    def states(self, those: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Returns copies of some runs' state_dicts, of averaged weights."""

    @abc.abstractmethod
    def finish(self) -> Sequence[nn.Module]:
        """Returns the trained modules, with averaged weights; no step follows."""

    def exchange(self) -> None:
        """Swaps the last step's weights with averaged ones, where there are any."""
        if self.average is not None:
            self.average.exchange(self.values, self._buffers())

    @abc.abstractmethod
    def _buffers(self) -> Mapping[str, torch.Tensor]:
        """Returns the buffers by name, of a module or of all runs."""

    def running(self) -> AbstractContextManager[None]:
        """Returns what surrounds the steps: global state that a module may read."""
        return nullcontext()

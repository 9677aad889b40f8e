"""What a training minimises: labels, values, soft targets, or a loss of the user's.

An objective is a value of the problem. It turns the declared targets into tensors,
gives each example's loss, and turns outputs into what a metric reads. Everything here
has a leading axis of runs, so that the loop and a fleet carry out the same arithmetic.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from archtrial.errors import FormError

__all__ = ["Labels", "Objective", "SoftTargets", "UsersLoss", "Values", "default"]


class Objective(abc.ABC):
    """What a training minimises."""

    @abc.abstractmethod
    def targets(self) -> torch.Tensor:
        """Returns the training targets (N, ...), in the order of the inputs."""

    @abc.abstractmethod
    def at(self, rows: np.ndarray) -> "Objective":
        """Returns the objective of some training examples alone."""

    @abc.abstractmethod
    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's loss, (runs, batch).

        Args:
            outputs: (runs, batch, outputs) float32.
            targets: (runs, batch, ...), rows of `targets()`.
            smoothing: Of the labels, (runs, 1).
        """

    @abc.abstractmethod
    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Turns outputs (..., outputs) into what a metric reads.

        Returns:
            (..., classes) float32 probabilities, or (...,) float64 values in
            the target's own units.
        """


@dataclasses.dataclass(frozen=True)
class Labels(Objective):
    """Cross-entropy of class labels.

    Its target puts 1 - smoothing on the label and spreads the rest evenly over all
    classes (Szegedy et al. 2016, section 7).
    """

    y: np.ndarray
    """(N,) int64."""
    weights: tuple[float, ...] | None = None
    """A factor on the loss of each class's examples; None: 1 for all."""

    @classmethod
    def balanced(cls, y: np.ndarray, classes: int) -> "Labels":
        """Weighs classes so that each has the same share of the mean loss.

        The weights are N / (classes x examples of the class), as in scikit-learn's
        "balanced"; those of a class without examples are 0.
        """
        counts = np.bincount(y, minlength=classes)
        present = np.count_nonzero(counts)
        with_none = np.where(counts > 0, len(y) / (present * np.maximum(counts, 1)), 0)
        return cls(y, tuple(with_none.tolist()))

    def targets(self) -> torch.Tensor:
        """Returns the labels, (N,) int64."""
        return torch.from_numpy(self.y)

    def at(self, rows: np.ndarray) -> "Labels":
        """Returns the objective of some examples; classes weigh what they weighed."""
        return Labels(self.y[rows], self.weights)

    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's loss; see `Objective.losses`."""
        log_probabilities = outputs.log_softmax(2)
        on_label = log_probabilities.gather(2, targets.unsqueeze(2)).squeeze(2)
        spread = log_probabilities.mean(2)
        losses = -torch.lerp(on_label, spread, smoothing)
        if self.weights is None:
            return losses
        return losses * outputs.new_tensor(self.weights)[targets]

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns probabilities (..., classes) float32."""
        return _probabilities(outputs)


@dataclasses.dataclass(frozen=True)
class Values(Objective):
    """Squared error of a real target, standardised by the training set.

    So a learning rate means the same whatever the target's unit. A target that never
    varies is learnt as it is.
    """

    y: np.ndarray
    """(N,), in the target's own units."""

    @functools.cached_property
    def center(self) -> float:
        """The mean of the training targets."""
        return float(self.y.astype(np.float64).mean())

    @functools.cached_property
    def scale(self) -> float:
        """Their standard deviation, or 1 where they do not vary."""
        return float(self.y.astype(np.float64).std()) or 1.0

    def targets(self) -> torch.Tensor:
        """Returns the standardised targets, (N,) float32."""
        standardised = (self.y.astype(np.float64) - self.center) / self.scale
        return torch.from_numpy(standardised.astype(np.float32))

    def at(self, rows: np.ndarray) -> "Values":
        """Returns the objective of some examples, standardised by them."""
        return Values(self.y[rows])

    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's squared error; `smoothing` has no part in it."""
        return (outputs.squeeze(2) - targets).square()

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns values (...,) float64 in the target's own units."""
        values: np.ndarray = outputs.squeeze(-1).double().cpu().numpy()
        return values * self.scale + self.center


@dataclasses.dataclass(frozen=True)
class SoftTargets(Objective):
    """What a teacher says of each training example, instead of its label.

    "cross_entropy": of softmax(outputs / T) with softmax(logits / T), times T^2 so
    that gradients keep their size whatever the temperature T (Hinton et al. 2015,
    arXiv 1503.02531, section 2). "squared_error": of the outputs and the logits
    themselves, half the sum over the classes (Ba and Caruana 2014, arXiv 1312.6184,
    equation 1; Urban et al. 2017, arXiv 1603.05691, section 2); no temperature then.
    """

    logits: np.ndarray
    """(N, classes) float32; may be memory-mapped."""
    kind: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not self.temperature > 0:
            raise ValueError(
                f"soft targets are (N, classes) at a temperature above 0:"
                f" {self.logits.shape}, {self.temperature}"
            )

    def targets(self) -> torch.Tensor:
        """Returns the teacher's logits, (N, classes) float32."""
        return torch.from_numpy(np.array(self.logits, np.float32))

    def at(self, rows: np.ndarray) -> "SoftTargets":
        """Returns the objective of some examples."""
        return dataclasses.replace(self, logits=self.logits[rows])

    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's loss; `smoothing` has no part in it."""
        if self.kind == "squared_error":
            return (outputs - targets).square().sum(2) / 2
        log_probabilities = (outputs / self.temperature).log_softmax(2)
        wanted = (targets / self.temperature).softmax(2)
        return -(wanted * log_probabilities).sum(2) * self.temperature**2

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns probabilities (..., classes) float32."""
        return _probabilities(outputs)


@dataclasses.dataclass(frozen=True)
class UsersLoss(Objective):
    """A loss of the user's own: f(outputs (N, outputs), targets (N, ...)) -> (N,)."""

    of: Objective
    """Whose targets it gets, and whose outputs a metric reads."""
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def targets(self) -> torch.Tensor:
        """Returns the targets of what it stands in for."""
        return self.of.targets()

    def at(self, rows: np.ndarray) -> "UsersLoss":
        """Returns the objective of some examples."""
        return UsersLoss(self.of.at(rows), self.function)

    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's loss; `smoothing` has no part in it.

        Raises:
            FormError: It returns something else than one real number for each example.
        """
        losses = [
            self.function(o, t) for o, t in zip(outputs, targets, strict=True)
        ]  # run by run: what it does to a batch is its own affair
        batch = outputs.shape[1]
        for loss in losses:
            shape = getattr(loss, "shape", None)
            if shape != (batch,):
                got = type(loss).__name__ if shape is None else str(tuple(shape))
                raise FormError(
                    "a loss returns one number for each example of a batch, and no mean",
                    f"{got} for a batch of {batch}",
                    "Leave out the mean: torch's own take reduction='none'.",
                )
        return torch.stack(losses)

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns what a metric reads of that."""
        return self.of.presented(outputs)


def _probabilities(outputs: torch.Tensor) -> np.ndarray:
    probabilities: np.ndarray = outputs.softmax(-1).cpu().numpy()
    return probabilities


def default(task: Literal["classification", "regression"], y: np.ndarray) -> Objective:
    """Returns what a task minimises where nothing else is declared."""
    return Labels(y) if task == "classification" else Values(y)

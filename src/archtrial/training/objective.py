"""What a training minimises: labels, values, soft targets, or a loss of the user's.

An objective is a value of the problem. It turns the declared targets into tensors,
gives each example's loss, and turns outputs into what a metric reads. Everything here
has a leading axis of runs, so that the loop and a fleet carry out the same arithmetic.
"""

import abc
import dataclasses
import functools
import traceback
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from archtrial.errors import FormError, ProtocolError, UserError, is_out_of_memory
from archtrial.training.noise import own_noise
from archtrial.zoo.userfile import line_of

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
    """What a teacher says of each training example, instead of its label or beside it.

    "cross_entropy": of softmax(outputs / T) with softmax(logits / T), times T^2 so
    that gradients keep their size whatever the temperature T (Hinton et al. 2015,
    arXiv 1503.02531, section 2). "squared_error": of the outputs and the logits
    themselves, half the sum over the classes (Ba and Caruana 2014, arXiv 1312.6184,
    equation 1; Urban et al. 2017, arXiv 1603.05691, section 2); no temperature then.
    With a weight w on the labels, the loss is 1 - w times that and w times the labels'
    cross-entropy; an example without a label has the teacher's part alone.
    """

    logits: np.ndarray
    """(N, classes) float32; may be memory-mapped."""
    kind: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    temperature: float = 1.0
    labels: np.ndarray | None = None
    """(N,) int64, -1 for none; needed where they have a weight."""
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not self.temperature > 0:
            raise ValueError(
                f"soft targets are (N, classes) at a temperature above 0:"
                f" {self.logits.shape}, {self.temperature}"
            )
        if not 0 <= self.label_weight < 1 or (self.label_weight and self._unlabelled):
            raise ValueError(
                "labels have a weight from 0 to below 1, and are known where it is"
                f" above 0: {self.label_weight}"
            )

    @property
    def _unlabelled(self) -> bool:
        return self.labels is None or len(self.labels) != len(self.logits)

    def targets(self) -> torch.Tensor:
        """Returns the teacher's logits, (N, classes) float32.

        Where labels have a weight, (N, classes + 1): the label stands behind them.
        """
        told = torch.from_numpy(np.array(self.logits, np.float32))
        if not self.label_weight:
            return told
        assert self.labels is not None
        labels = torch.from_numpy(self.labels.astype(np.float32))
        return torch.cat([told, labels.unsqueeze(1)], 1)

    def at(self, rows: np.ndarray) -> "SoftTargets":
        """Returns the objective of some examples."""
        labels = None if self.labels is None else self.labels[rows]
        return dataclasses.replace(self, logits=self.logits[rows], labels=labels)

    def losses(
        self, outputs: torch.Tensor, targets: torch.Tensor, smoothing: torch.Tensor
    ) -> torch.Tensor:
        """Returns each example's loss; `smoothing` has no part in it."""
        if not self.label_weight:
            return self._apart(outputs, targets)
        told, labels = targets[..., :-1], targets[..., -1].long()
        apart = self._apart(outputs, told)
        known = labels >= 0
        log_probabilities = outputs.log_softmax(2)
        on_label = log_probabilities.gather(2, labels.clamp(min=0).unsqueeze(2))
        mixed = torch.lerp(apart, -on_label.squeeze(2), self.label_weight)
        return torch.where(known, mixed, apart)

    def _apart(self, outputs: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Returns how far outputs are from what the teacher says, (runs, batch)."""
        if self.kind == "squared_error":
            return (outputs - told).square().sum(2) / 2
        log_probabilities = (outputs / self.temperature).log_softmax(2)
        wanted = (told / self.temperature).softmax(2)
        return -(wanted * log_probabilities).sum(2) * self.temperature**2

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns probabilities (..., classes) float32."""
        return _probabilities(outputs)


@dataclasses.dataclass(frozen=True)
class UsersLoss(Objective):
    """A loss of the user's own: f(outputs (N, outputs), targets (N, ...)) -> (N,)."""

    of: Objective
    """Whose targets it gets, and whose outputs a metric reads."""
    function: Callable[[torch.Tensor, torch.Tensor], Any]
    _alone: list[bool] = dataclasses.field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """Not empty once it was seen that it cannot be carried out for many runs at once."""

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
        if len(outputs) > 1 and not self._alone:
            try:
                return self._together(outputs, targets)
            except Exception as error:  # what a user's function raises is anything
                if is_out_of_memory(error):
                    raise
                # What it is that it does, it does run by run, or raises there again.
                self._alone.append(True)
        return torch.stack(
            [
                self._checked(self.function(o, t), o)
                for o, t in zip(outputs, targets, strict=True)
            ]
        )

    def _together(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the losses of all runs by one call."""

        def of_one(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self._checked(self.function(o, t), o)

        with warnings.catch_warnings():
            # Where vmap knows no rule for an operation it warns and goes slowly.
            warnings.filterwarnings("error", message="There is a performance drop")
            losses: torch.Tensor = torch.vmap(of_one)(outputs, targets)
        return losses

    def _checked(self, loss: Any, outputs: torch.Tensor) -> torch.Tensor:
        batch = len(outputs)
        if not isinstance(loss, torch.Tensor) or loss.shape != (batch,):
            raise FormError(
                "a loss returns one number for each example of a batch, and no mean",
                f"{described(loss)} for outputs {tuple(outputs.shape)} and {batch}"
                " targets",
                self._way_out(loss, batch),
            )
        if not loss.is_floating_point():
            raise FormError("a loss returns real numbers", f"{loss.dtype}")
        return loss.float()

    def _way_out(self, loss: Any, batch: int) -> str:
        if not isinstance(loss, torch.Tensor):
            return "Return the tensor itself."
        if loss.dim() == 0:
            return "Leave out the mean: torch's own take reduction='none'."
        if loss.shape == (batch, batch) and isinstance(self.of, Values):
            return "Outputs are (N, 1) and targets (N,): begin with outputs.squeeze(1)."
        if loss.dim() > 1 and len(loss) == batch:
            return "Add up over its other axes, as by .flatten(1).sum(1)."
        return ""

    def check(self, name: str, num_outputs: int) -> None:
        """Tries the loss on random outputs, before anything is trained.

        Raises:
            ProtocolError: It raises, returns something else than one finite real number
                for each example, or no gradient reaches the outputs.
        """
        targets = self.targets()[:7]
        generator = torch.Generator().manual_seed(0)
        outputs = torch.randn(len(targets), num_outputs, generator=generator)
        outputs.requires_grad_()
        try:
            with own_noise(0, "cpu"):
                loss = self._checked(
                    self.function(outputs * 1, targets.clone()), outputs
                )
        except FormError as error:
            raise ProtocolError(
                f"{name}: {error.rule}", error.received, error.way_out
            ) from error
        except Exception as error:  # what a user's function raises is anything
            if is_out_of_memory(error) or isinstance(error, UserError):
                raise
            line = line_of(traceback.extract_tb(error.__traceback__))
            raise ProtocolError(
                f"the loss {name} can be computed of outputs {tuple(outputs.shape)} and"
                f" targets {tuple(targets.shape)}, {str(targets.dtype)[6:]}",
                f"{type(error).__name__}: {error}" + (f" ({line})" if line else ""),
                "It is called as f(outputs, targets).",
            ) from error
        if not loss.isfinite().all():
            raise ProtocolError(
                f"the loss {name} is finite",
                "for random outputs it is not",
                "Look for a logarithm of zero or of negative numbers: outputs come before"
                " the softmax.",
            )
        reached = None
        if loss.requires_grad:
            (reached,) = torch.autograd.grad(loss.sum(), outputs, allow_unused=True)
        if reached is None or not reached.any() or not reached.isfinite().all():
            raise ProtocolError(
                f"the gradient of the loss {name} reaches the outputs and is finite",
                "none reaches them"
                if reached is None
                else "it is zero for random outputs"
                if not reached.any()
                else "for random outputs it is not finite",
                "Look for detach(), no_grad(), argmax, a comparison or numbers taken out"
                " of their tensors; no optimiser can go down such a loss.",
            )

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Returns what a metric reads of that."""
        return self.of.presented(outputs)


def _probabilities(outputs: torch.Tensor) -> np.ndarray:
    probabilities: np.ndarray = outputs.softmax(-1).cpu().numpy()
    return probabilities


def described(returned: Any) -> str:
    """Says what a function returned, in a few words."""
    if isinstance(returned, torch.Tensor):
        return str(tuple(returned.shape))
    return f"an object of type {type(returned).__name__}"


def default(task: Literal["classification", "regression"], y: np.ndarray) -> Objective:
    """Returns what a task minimises where nothing else is declared."""
    return Labels(y) if task == "classification" else Values(y)

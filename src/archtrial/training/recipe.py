"""From declared values to what happens at each step: order, rate, update, mean.

Everything here has a leading axis of runs. The loop (`run.py`) passes one run,
a fleet passes many, and both carry out the same arithmetic.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from archtrial.errors import ProtocolError
from archtrial.protocol import PROCEDURE_HYPERPARAMETERS, Procedure, Recipe
from archtrial.statistics import learning

__all__ = [
    "SEARCHABLE",
    "Optimizer",
    "WeightAverage",
    "batches",
    "rates",
    "settings",
    "settled",
]

SEARCHABLE = (
    "learning_rate",
    "weight_decay",
    "momentum",
    "label_smoothing",
    "initial_scale",
    *PROCEDURE_HYPERPARAMETERS,
)
"""What a run may set for itself; the recipe says it for all others."""

# The second beta and epsilon of Kingma and Ba (2015), as in torch.optim.
_BETA_2 = 0.999
_EPSILON = 1e-8


def settled(recipe: Recipe, hyperparameters: Mapping[str, float]) -> dict[str, float]:
    """Returns the real hyperparameters of a run: its own, else the recipe's.

    Raises:
        ProtocolError: A hyperparameter that training does not know, or a value
            outside its range.
    """
    unknown = sorted(set(hyperparameters) - {*SEARCHABLE, "dropout"})
    if unknown:
        raise ProtocolError(
            "a hyperparameter belongs to training or to the architecture",
            f"{unknown[0]!r}, which neither knows",
            f"Training knows {', '.join(SEARCHABLE)} and dropout; everything else"
            " must be a parameter of the architecture's function.",
        )
    values = {
        name: float(hyperparameters.get(name, getattr(_saying(recipe, name), name)))
        for name in SEARCHABLE
    }
    for name, value in values.items():
        below_one = name in ("momentum", "label_smoothing", "confidence_threshold")
        if not (0 <= value < (1 if below_one else math.inf)):
            raise ProtocolError(
                f"{name} is at least 0" + (" and below 1" if below_one else ""),
                str(value),
            )
    return values


def _saying(recipe: Recipe, name: str) -> Recipe | Procedure:
    """Returns what says a hyperparameter that a run does not: the recipe, its procedure."""
    return recipe.procedure if name in PROCEDURE_HYPERPARAMETERS else recipe


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    """Returns each step's share of the learning rate; see `learning.rates`."""
    return learning.rates(recipe.schedule, recipe.warmup, steps)


def batches(
    recipe: Recipe, count: int, batch_size: int, order_seed: int
) -> Iterator[np.ndarray]:
    """Yields the rows of one batch after another, without end.

    All batches have the same size, so the last one of an epoch is filled up
    from the next epoch.

    Args:
        recipe: Its `order` says whether each epoch is shuffled afresh.
        count: Number of training examples.
        batch_size: Examples in a batch, at most `count`.
        order_seed: Determines the order, and nothing else does.

    Yields:
        (batch_size,) int64 rows.
    """
    generator = np.random.default_rng(order_seed)
    epoch = generator.permutation(count)
    rest = epoch
    while True:
        if len(rest) < batch_size:
            if recipe.order == "shuffled":
                epoch = generator.permutation(count)
            rest = np.concatenate([rest, epoch])
        yield rest[:batch_size]
        rest = rest[batch_size:]


class Optimizer:
    """AdamW, Adam or SGD with Nesterov momentum, for many runs at once.

    All trainable values of a run lie in one row, so that a step is a handful of
    operations whatever the number of layers, and a norm is a row's norm. The
    updates are those of `torch.optim`, with one difference: a parameter that no
    gradient reached counts as having a gradient of zero.

    Args:
        recipe: Names the optimiser and limits the gradient's norm.
        values: (runs, P) float32, updated in place.
        learning_rate: (runs, 1).
        weight_decay: (runs, 1), or (runs, P) where values decay differently.
        momentum: (runs, 1): Nesterov's momentum, or the first beta.

    Attributes:
        state: (states, runs, P): SGD's velocity, or both moments of Adam.
        steps: Steps taken so far.
    """

    def __init__(
        self,
        recipe: Recipe,
        values: torch.Tensor,
        learning_rate: torch.Tensor,
        weight_decay: torch.Tensor,
        momentum: torch.Tensor,
    ) -> None:
        self.recipe = recipe
        self.values = values
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.state = values.new_zeros(
            1 if recipe.optimizer == "sgd" else 2, *values.shape
        )
        self.steps = 0
        self._decays = bool((weight_decay != 0).any())
        self._scratch = torch.empty_like(values)

    @torch.no_grad()
    def step(self, gradient: torch.Tensor, rate: float) -> None:
        """Takes one step.

        Args:
            gradient: (runs, P); overwritten.
            rate: The schedule's share of the learning rate.
        """
        self.steps += 1
        limit = self.recipe.gradient_clip
        if limit is not None:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient.mul_((limit / (norm + 1e-6)).clamp_(max=1))
        learning_rate = self.learning_rate * rate
        if self._decays:
            if self.recipe.optimizer == "adamw":
                self.values.mul_(1 - learning_rate * self.weight_decay)
            else:
                gradient.addcmul_(self.values, self.weight_decay)
        if self.recipe.optimizer == "sgd":
            self._sgd(gradient, learning_rate)
        else:
            self._adam(gradient, learning_rate)

    def _sgd(self, gradient: torch.Tensor, learning_rate: torch.Tensor) -> None:
        (velocity,) = self.state
        velocity.mul_(self.momentum).add_(gradient)
        gradient.addcmul_(velocity, self.momentum)
        self.values.addcmul_(gradient, learning_rate, value=-1)

    def _adam(self, gradient: torch.Tensor, learning_rate: torch.Tensor) -> None:
        first, second = self.state
        first.lerp_(gradient, 1 - self.momentum)
        second.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        # Both moments' corrections for their start at zero are moved into the
        # rate and into epsilon, which saves two passes over all values.
        correction = math.sqrt(1 - _BETA_2**self.steps)
        forgotten = 1 - self.momentum.double() ** self.steps
        rate = learning_rate * (correction / forgotten).float()
        denominator = torch.sqrt(second, out=self._scratch).add_(_EPSILON * correction)
        update = torch.div(first, denominator, out=self._scratch)
        self.values.addcmul_(update, rate, value=-1)


class WeightAverage:
    """The mean of weights over the steps so far, the latest weighing most.

    After t steps the weights of step s have the share d^(t - s) (1 - d) / (1 - d^t):
    an exponential moving average without the pull of the weights it began with
    (Kingma and Ba 2015, section 3). Buffers that training moves, such as those of
    batch normalisation, are averaged like weights.

    Args:
        memory: 1 / (1 - d), in steps; at 1 or below the mean is the last step's.
        values: (runs, P).
        buffers: By name, of a module or of all runs.
    """

    def __init__(
        self,
        memory: float,
        values: torch.Tensor,
        buffers: Mapping[str, torch.Tensor],
    ) -> None:
        self.memory = max(memory, 1.0)
        self.values = values.detach().clone()
        self.buffers = {name: b.detach().clone() for name, b in buffers.items()}
        self.steps = 0

    @torch.no_grad()
    def add(self, values: torch.Tensor, buffers: Mapping[str, torch.Tensor]) -> None:
        """Takes in what a step has led to."""
        self.steps += 1
        share = 1 / self.memory / (1 - (1 - 1 / self.memory) ** self.steps)
        self.values.lerp_(values, share)
        for name, buffer in buffers.items():
            mean = self.buffers.get(name)
            continuous = buffer.is_floating_point() or buffer.is_complex()
            # A module may make a buffer, or change its shape, after it was built.
            if continuous and mean is not None and mean.shape == buffer.shape:
                # What no step moves stays as it is, the infinities of a mask too.
                moved = torch.lerp(mean, buffer, share)
                self.buffers[name] = torch.where(mean == buffer, mean, moved)
            else:
                self.buffers[name] = buffer.clone()

    @torch.no_grad()
    def exchange(
        self, values: torch.Tensor, buffers: Mapping[str, torch.Tensor]
    ) -> None:
        """Swaps the means with what is there now; once more, and all is as before."""
        last = values.clone()
        values.copy_(self.values)
        self.values = last
        for name in self.buffers.keys() & buffers.keys():
            buffer = buffers[name]
            buffer.data, self.buffers[name] = self.buffers[name], buffer.data


def settings(
    recipe: Recipe,
    hyperparameters: Sequence[Mapping[str, float]],
    values: torch.Tensor,
    matrices: torch.Tensor | None = None,
) -> tuple[Optimizer, torch.Tensor]:
    """Returns the optimiser of many runs, and their label smoothing.

    Args:
        recipe: Says what a run does not.
        hyperparameters: Of each run.
        values: (runs, P).
        matrices: Which values belong to parameters of two or more dimensions, (P,)
            bool; None: all do.

    Returns:
        The optimiser of `values`, and (runs, 1) smoothing.
    """
    chosen = [settled(recipe, own) for own in hyperparameters]
    columns = {
        name: torch.tensor(
            [[own[name]] for own in chosen], dtype=values.dtype, device=values.device
        )
        for name in SEARCHABLE
    }
    weight_decay = columns["weight_decay"]
    if matrices is not None and recipe.weight_decay_on == "weights":
        weight_decay = weight_decay * matrices
    optimizer = Optimizer(
        recipe,
        values,
        columns["learning_rate"],
        weight_decay,
        columns["momentum"],
    )
    # As outputs and losses are, whatever the values' precision.
    return optimizer, columns["label_smoothing"].float()

"""What is trained: what all runs of a study share, and what is one run's own."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from torch import nn

from archtrial.data.stored import Examples, Followed
from archtrial.errors import ProtocolError
from archtrial.metrics import Metric
from archtrial.protocol import Recipe
from archtrial.training import objective as objectives

__all__ = ["Job", "Problem"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all runs of a study share.

    Inputs are (N, ...): float32, or whole numbers, such as the ids of words, which
    reach a module as int64; arrays, or `Prepared` from files. Targets are (N,): int64 labels, or
    float values in their original units. Test labels never come here.
    """

    x_train: Examples
    y_train: np.ndarray
    x_validation: Examples
    y_validation: np.ndarray
    x_test: Examples
    task: Literal["classification", "regression"]
    num_outputs: int
    metric: Metric
    recipe: Recipe
    steps: int
    batch_size: int
    """Examples in a batch; all training examples where there are fewer."""
    evaluations: int = 10
    """Validation scores on the way, evenly spaced, the last after the last step."""
    device: str = "cpu"
    read_at: tuple[int, ...] = ()
    """Steps after which a run is also read on the test inputs, from 1 to `steps`."""
    objective: objectives.Objective | None = None
    """What is minimised; None: what the task minimises by default."""
    losses: Mapping[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    """By the recipe's `loss`, the user's function, which stands in for the
    objective's."""
    names: int | None = None
    """How many ids there are, where a tokenizer made the inputs."""
    unlabelled: Examples | Followed | None = None
    """(U, ...) inputs that a procedure reads without labels; None: there are none."""

    def __post_init__(self) -> None:
        if not all(1 <= step <= self.steps for step in self.read_at):
            raise ValueError(f"read_at lies in 1..{self.steps}: {self.read_at}")
        if self.recipe.class_weights != "none" and self.objective is not None:
            raise ValueError("class weights are the objective's own: Labels.balanced")
        if self.recipe.loss is not None:
            self._check_own_loss(self.recipe.loss)
        if self.recipe.procedure.unlabelled:
            self._check_procedure(self.recipe.procedure.kind)
        if self.recipe.class_weights != "none" and self.task != "classification":
            raise ProtocolError(
                "classes are weighed in classification alone",
                f'class_weights = "{self.recipe.class_weights}" for {self.task}',
                'Take it out of [recipe], or declare task = "classification".',
            )

    def _check_procedure(self, kind: str) -> None:
        if self.unlabelled is None:
            raise ProtocolError(
                f"the procedure {kind!r} reads examples without labels",
                "all training rows have labels, and there are no others",
                "Say how many labels are seen, or where there are more examples:"
                " --labels 400, --unlabelled more.npz (in a protocol, labels = 400,"
                ' unlabelled = "more.npz"), as archtrial run and archtrial mpl have'
                " them.",
            )
        for refused, rule, received, way_out in (
            (
                self.task != "classification",
                f"pseudo labels are classes, and so the procedure {kind!r} is of"
                " classification",
                f"the task is {self.task}",
                'Leave procedure out, or declare task = "classification".',
            ),
            (
                self.objective is not None or self.recipe.loss is not None,
                f"the procedure {kind!r} minimises cross-entropy",
                "soft targets, or a loss of one's own",
                "Leave one of the two out.",
            ),
            (
                self.recipe.accumulate > 1,
                f"the procedure {kind!r} takes a batch as a whole",
                f"accumulate = {self.recipe.accumulate}",
                "Leave accumulate out of the recipe.",
            ),
        ):
            if refused:
                raise ProtocolError(rule, received, way_out)

    def _check_own_loss(self, loss: str) -> None:
        for name, neutral in (("class_weights", "none"), ("label_smoothing", 0.0)):
            if getattr(self.recipe, name) != neutral:
                raise ProtocolError(
                    f"{name} belongs to cross-entropy, and a loss of one's own sees"
                    " labels alone",
                    f"{name} = {getattr(self.recipe, name)!r} beside loss = {loss!r}",
                    f"Take {name} out of the recipe (recipe modern has label smoothing:"
                    ' { base = "modern", label_smoothing = 0 }), and see to it in the'
                    " loss.",
                )

    def minimised(self) -> objectives.Objective:
        """Returns the objective: the declared one, or the task's."""
        if self.objective is None and self.recipe.class_weights == "balanced":
            return objectives.Labels.balanced(self.y_train, self.num_outputs)
        objective = self.objective or objectives.default(self.task, self.y_train)
        if self.recipe.loss is None:
            return objective
        return objectives.UsersLoss(objective, self.losses[self.recipe.loss])

    def evaluation_steps(self) -> frozenset[int]:
        """Returns the steps after which the validation set is scored."""
        count = min(self.evaluations, self.steps)
        even = {round(i * self.steps / count) for i in range(1, count + 1)}
        # So that what finetuning brings is measured from where it begins.
        begins = self.recipe.procedure.finetuned_from(self.steps)
        return frozenset(even.union(self.read_at, [begins] if begins else []))


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: everything else that its result depends on."""

    build: Callable[[], nn.Module]
    """Makes the untrained module; picklable."""
    hyperparameters: Mapping[str, float]
    """Any of learning_rate, weight_decay, momentum, label_smoothing,
    initial_scale and dropout; the recipe says the rest."""
    initial_seed: int
    order_seed: int
    noise_seed: int
    keep_weights: bool = False
    keep_at: tuple[int, ...] = ()
    """Steps of this run after which its weights are kept; 0: before the first."""
    skip: int = 0
    """Batches that are passed over, since an earlier training has seen them: the
    first step is on batch skip + 1, augmented as it is for a run that got there
    step by step. The schedule and the noise begin at their beginning."""
    rows: np.ndarray | None = None
    """(n,) the training examples that this run sees, by their places; None: all. Runs
    that train side by side see as many as each other. Targets stay as they are: those of
    a regression are standardised by all training examples."""

    def __post_init__(self) -> None:
        if self.skip < 0 or any(step < 0 for step in self.keep_at):
            raise ValueError(f"steps are at least 0: {self.skip}, {self.keep_at}")

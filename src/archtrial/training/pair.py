"""A training of two models: a teacher, and the student that is evaluated.

A `Procedure` says what one step is. It moves both through what every engine offers:
`outputs`, `backward` and `update`. The driver sees one engine, the student's.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from archtrial.training.engine import Engine
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Inputs

__all__ = ["Pair", "Procedure", "paired"]

MakesEngine = Callable[[Problem, Sequence[Job], Sequence[nn.Module]], Engine]


class Procedure(abc.ABC):
    """What a step of two models is; one value for all runs, so that it keeps nothing."""

    @abc.abstractmethod
    def step(
        self,
        teacher: Engine,
        student: Engine,
        x: torch.Tensor,
        y: torch.Tensor,
        rate: float,
    ) -> torch.Tensor:
        """Moves the student, and the teacher if it learns.

        Each engine's step is `forget`, then `outputs` and `backward` for each of its
        losses, then `update`.

        Args:
            teacher: R teachers in training; `predict` is theirs in evaluation mode.
            student: As many students.
            x: (R, batch, ...), a batch of each run.
            y: (R, batch, ...), rows of the objective's targets.
            rate: The schedule's share of the learning rates.

        Returns:
            The students' mean losses before the step, (R,).
        """


class Pair(Engine):
    """R >= 1 pairs in training, as the driver takes them: what is asked is the student's.

    Args:
        procedure: What a step is.
        teacher: In training by the same engine; its rows are the runs'.
        student: That.
    """

    def __init__(self, procedure: Procedure, teacher: Engine, student: Engine) -> None:
        # No Engine.__init__: whatever an engine has, the student's has it.
        self.procedure, self.teacher, self.student = procedure, teacher, student
        self.values, self.optimizer = student.values, student.optimizer
        self.gradient = student.gradient
        self.objective, self.smoothing = student.objective, student.smoothing
        self.average = student.average

    def step(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
        """Takes one step of the procedure; see `Engine.step`."""
        return self.procedure.step(self.teacher, self.student, x, y, rate)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the student's outputs in training mode."""
        return self.student.outputs(x)

    def backward(self, losses: torch.Tensor) -> None:
        """Adds to the student's gradient."""
        self.student.backward(losses)

    def predict(self, x: Inputs) -> torch.Tensor:
        """Returns the student's outputs in evaluation mode."""
        return self.student.predict(x)

    def states(self, those: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Returns copies of the student's state_dicts."""
        return self.student.states(those)

    def finish(self) -> Sequence[nn.Module]:
        """Returns the trained students."""
        self.teacher.finish()
        return self.student.finish()

    def running(self) -> AbstractContextManager[None]:
        """Returns what surrounds the student's steps; the teacher draws there, too."""
        return self.student.running()

    def _buffers(self) -> Mapping[str, torch.Tensor]:
        return self.student._buffers()


def paired(
    procedure: Procedure,
    engine_of: MakesEngine,
    teachers: Sequence[Job],
    build: Callable[[Problem, Job], nn.Module],
) -> MakesEngine:
    """Returns what the driver makes its engine with: of each student with its teacher.

    Args:
        procedure: What a step is.
        engine_of: The loop, or a fleet.
        teachers: The job of each run's teacher, with hyperparameters and seeds of its
            own; the driver knows the students' alone.
        build: `module.build`.
    """

    def made(
        problem: Problem, jobs: Sequence[Job], modules: Sequence[nn.Module]
    ) -> Engine:
        # Its weights are nobody's score: no average of them is kept.
        bare = problem.recipe.model_copy(update={"weight_averaging": 0.0})
        theirs = dataclasses.replace(problem, recipe=bare)
        taught = [build(theirs, job) for job in teachers]
        return Pair(
            procedure,
            engine_of(theirs, teachers, taught),
            engine_of(problem, jobs, modules),
        )

    return made

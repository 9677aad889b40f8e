"""Training with examples without labels: pseudo labels, consistency, meta pseudo labels.

A procedure is an engine around one, or around two: the student, which is the run, and its
teacher. It moves them through what every engine offers (`outputs`, `backward`, `update`),
so that the loop and a fleet carry out the same lines, and the driver sees one engine. Each
step takes a labelled batch from the driver, and examples without labels from `Views`.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import torch
from torch import nn

from archtrial import randomness
from archtrial.training import cost, recipe
from archtrial.training.engine import Engine
from archtrial.training.module import build
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Inputs, Source, Views, unlabelled_batch

__all__ = ["MakesEngine", "flops", "guided"]

MakesEngine: TypeAlias = Callable[[Problem, Sequence[Job], Sequence[nn.Module]], Engine]

_MEMORY = 100
"""Steps that the mean of h remembers: its share of each new h is 1 / 100."""


def guided(
    problem: Problem,
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    engine_of: MakesEngine,
) -> Engine:
    """Returns what trains runs by the procedure of their recipe.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        modules: What `module.build` made of each.
        engine_of: The loop, for one run, or a fleet.
    """
    declared = problem.recipe.procedure
    student = engine_of(problem, jobs, modules)
    if not declared.unlabelled:
        return student
    if not declared.taught:
        kind = PseudoLabels if declared.kind == "pseudo_labels" else Consistency
        return kind(problem, jobs, student)
    taught_by = [_of_teacher(job) for job in jobs]
    # Its weights are nobody's score: no average of them is kept.
    bare = problem.recipe.model_copy(update={"weight_averaging": 0.0})
    theirs = dataclasses.replace(problem, recipe=bare)
    teachers = [build(theirs, job) for job in taught_by]
    teacher = engine_of(theirs, taught_by, teachers)
    return MetaPseudoLabels(problem, jobs, student, teacher)


def _of_teacher(job: Job) -> Job:
    """Returns the job of a run's teacher: the same but for its weights and its noise."""
    return dataclasses.replace(
        job,
        initial_seed=randomness.seed(job.initial_seed, "teacher"),
        noise_seed=randomness.seed(job.noise_seed, "teacher"),
        keep_weights=False,
        keep_at=(),
    )


class _Guided(Engine):
    """R >= 1 runs that also learn from examples without labels.

    What is asked of it is the run's own: of the student, where there is a teacher.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        student: Has their models in training.

    Attributes:
        views: Their examples without labels.
        taken: Steps so far.
    """

    def __init__(self, problem: Problem, jobs: Sequence[Job], student: Engine) -> None:
        # No Engine.__init__: whatever an engine has, the student's has it.
        self.student = student
        self.values, self.optimizer = student.values, student.optimizer
        self.gradient, self.generators = student.gradient, student.generators
        self.objective, self.smoothing = student.objective, student.smoothing
        self.average = student.average
        self.declared = problem.recipe.procedure
        self.views = Views(problem, jobs)
        self.taken = 0
        self._steps = problem.steps
        own = [recipe.settled(problem.recipe, job.hyperparameters) for job in jobs]
        self._weight, self._threshold, self._feedback = (
            student.values.new_tensor([each[name] for each in own])
            for name in (
                "unlabelled_weight", "confidence_threshold", "feedback_weight",
            )
        )  # fmt: skip

    def step(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
        """Takes one step of the procedure; see `Engine.step`."""
        self.taken += 1
        ramp = self.declared.ramp * self._steps
        weight = self._weight * (min(1.0, self.taken / ramp) if ramp else 1.0)
        return self._step(x, y, rate, weight)

    @abc.abstractmethod
    def _step(
        self, x: torch.Tensor, y: torch.Tensor, rate: float, weight: torch.Tensor
    ) -> torch.Tensor:
        """Takes a step in which the loss without labels has a weight, (R,)."""

    def _on_labels(
        self, engine: Engine, x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        """Returns an engine's mean losses on labelled examples, (R,)."""
        return _mean_loss(engine, engine.outputs(x), y)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the runs' outputs in training mode."""
        return self.student.outputs(x)

    def backward(self, losses: torch.Tensor) -> None:
        """Adds to the runs' gradient."""
        self.student.backward(losses)

    def predict(self, x: Inputs) -> torch.Tensor:
        """Returns the runs' outputs in evaluation mode."""
        return self.student.predict(x)

    def states(self, those: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Returns copies of the runs' state_dicts."""
        return self.student.states(those)

    def finish(self) -> Sequence[nn.Module]:
        """Returns the trained models."""
        return self.student.finish()

    def running(self) -> AbstractContextManager[None]:
        """Returns what surrounds the runs' steps; a teacher draws there, too."""
        return self.student.running()

    def _buffers(self) -> Mapping[str, torch.Tensor]:
        return self.student._buffers()


class PseudoLabels(_Guided):
    """A network's own answers for examples without labels are labels, too.

    Those are the most probable classes where the network is confident, anew at each step
    (Lee 2013, "Pseudo-Label", ICML workshop on challenges in representation learning).
    """

    def _step(
        self, x: torch.Tensor, y: torch.Tensor, rate: float, weight: torch.Tensor
    ) -> torch.Tensor:
        model = self.student
        weak, _ = next(self.views)
        model.forget()
        supervised = self._on_labels(model, x, y)
        model.backward(supervised)
        answers = model.outputs(weak)
        told = answers.detach()
        losses = model.objective.losses(answers, told.argmax(2), model.smoothing)
        model.backward(weight * (losses * _confident(told, self._threshold)).mean(1))
        model.update(rate)
        return supervised.detach()


class Consistency(_Guided):
    """A network answers for a strongly changed example as for a weakly changed one.

    Unsupervised data augmentation (Xie et al. 2020, arXiv 1904.12848, section 2): the
    answer for the weakly changed example is sharpened by the temperature, counts where the
    network is confident, and has no gradient. The annealing of labelled losses that they
    call TSA is left out.
    """

    def _step(
        self, x: torch.Tensor, y: torch.Tensor, rate: float, weight: torch.Tensor
    ) -> torch.Tensor:
        model = self.student
        weak, strong = next(self.views)
        model.forget()
        supervised = self._on_labels(model, x, y)
        model.backward(supervised)
        with torch.no_grad():
            told = model.outputs(weak)
        model.backward(weight * self._apart(told, model.outputs(strong)))
        model.update(rate)
        return supervised.detach()

    def _apart(self, weak: torch.Tensor, strong: torch.Tensor) -> torch.Tensor:
        """Returns how far answers for strong changes are from those for weak ones, (R,)."""
        wanted = (weak / self.declared.temperature).softmax(2)
        losses = -(wanted * strong.log_softmax(2)).sum(2)
        return (losses * _confident(weak, self._threshold)).mean(1)


class MetaPseudoLabels(Consistency):
    """A teacher that learns from what its pseudo labels do to its student.

    Pham et al. 2021, arXiv 2003.10580, section 2 and appendix A. At each step
    1. the teacher labels strongly changed examples,
    2. the student takes a step on those labels, and on nothing else,
    3. h = CE(labelled; student before) - CE(labelled; student after), to first order the
       learning rate times the product of the student's gradients on labels and on pseudo
       labels (equation 12 there, by REINFORCE),
    4. the teacher descends (h - b) CE(pseudo labels; teacher), b the mean of h before, and
       its own loss: labels, and consistency as in `Consistency`.
    Over the last steps the student learns from labels alone. The losses before and after
    have one mask of dropout; noise that a module draws by itself, outside of dropout, differs
    between them. The paper's h is of the whole batch, and so it is here. Each pass of a step
    moves the running statistics of batch normalisation, also those on labels that measure h.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        student: Has the students in training.
        teacher: As many teachers.
    """

    def __init__(
        self, problem: Problem, jobs: Sequence[Job], student: Engine, teacher: Engine
    ) -> None:
        super().__init__(problem, jobs, student)
        self.teacher = teacher
        sign = {"mpl": 1.0, "mpl_h0": 0.0, "mpl_negated": -1.0}[self.declared.kind]
        self._feedback = sign * self._feedback
        self._mean = _Mean(len(jobs), student.values.device)
        begins = self.declared.finetuned_from(self._steps)
        self._guided = self._steps if begins is None else begins
        self._drawn = [
            torch.Generator(student.values.device).manual_seed(
                randomness.seed(job.noise_seed, "pseudo labels")
            )
            for job in jobs
        ]
        self._seen: list[torch.Tensor] = []
        self._noted: list[dict[str, Any]] = [
            {"step": [], "h": [], "h_deviation": [], "teacher": []} for _ in jobs
        ]

    def _step(
        self, x: torch.Tensor, y: torch.Tensor, rate: float, weight: torch.Tensor
    ) -> torch.Tensor:
        student, teacher = self.student, self.teacher
        if self.taken > self._guided:
            return student.step(x, y, rate)
        weak, strong = next(self.views)
        teacher.forget()
        answers = teacher.outputs(strong)
        pseudo = self._labels(answers.detach())
        h, losses = self._learned(x, y, strong, pseudo, rate)
        pull = self._feedback * (h - self._mean.before(h))
        self._seen.append(h)
        with torch.no_grad():
            told = teacher.outputs(weak)
        own = self._on_labels(teacher, x, y) + weight * self._apart(told, answers)
        teacher.backward(pull * self._of_pseudo(teacher, answers, pseudo) + own)
        teacher.update(rate)
        return losses

    def _learned(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        strong: torch.Tensor,
        pseudo: torch.Tensor,
        rate: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Lets the student take its step; returns h and its losses on pseudo labels, (R,)."""
        student = self.student
        noise = [generator.get_state() for generator in student.generators]
        student.forget()
        with torch.no_grad():
            before = self._on_labels(student, x, y)
        losses = self._of_pseudo(student, student.outputs(strong), pseudo)
        student.backward(losses)
        student.update(rate)
        after_step = [generator.get_state() for generator in student.generators]
        _put_back(student.generators, noise)
        with torch.no_grad():
            after = self._on_labels(student, x, y)
        _put_back(student.generators, after_step)
        return before - after, losses.detach()

    def _labels(self, answers: torch.Tensor) -> torch.Tensor:
        """Returns what a teacher tells its student: classes (R, U), or their softmax."""
        match self.declared.pseudo_labels:
            case "soft":
                return answers.softmax(2)
            case "hard":
                return answers.argmax(2)
            case "sampled":
                # The largest of logits with Gumbel noise is a draw from their softmax.
                uniform = torch.stack(
                    [
                        torch.rand(own.shape, generator=g, device=own.device)
                        for own, g in zip(answers, self._drawn, strict=True)
                    ]
                )
                tiny = torch.finfo(uniform.dtype).tiny
                return (answers - (-uniform.clamp(min=tiny).log()).log()).argmax(2)

    def _of_pseudo(
        self, engine: Engine, outputs: torch.Tensor, pseudo: torch.Tensor
    ) -> torch.Tensor:
        """Returns the mean cross-entropy of pseudo labels, (R,)."""
        if self.declared.pseudo_labels == "soft":
            return -(pseudo * outputs.log_softmax(2)).sum(2).mean(1)
        return _mean_loss(engine, outputs, pseudo)

    def watch(
        self,
        step: int,
        x: Inputs,
        score: Callable[[torch.Tensor], Sequence[float]],
    ) -> None:
        """Notes h since the last evaluation, and what the teacher's answers score."""
        scores = score(self.teacher.predict(x))
        seen = torch.stack(self._seen).double() if self._seen else None
        self._seen = []
        for index, noted in enumerate(self._noted):
            own = None if seen is None else seen[:, index]
            noted["step"].append(step)
            noted["teacher"].append(scores[index])
            noted["h"].append(None if own is None else float(own.mean()))
            noted["h_deviation"].append(
                None if own is None else float(own.std(correction=0))
            )

    def measures(self) -> list[dict[str, Any]]:
        """Returns by run, at each evaluation, "step", "teacher" (its validation score), and
        of the steps since the last one the mean "h" and its "h_deviation"; None while the
        student is finetuned.
        """  # noqa: D205
        return self._noted

    def finish(self) -> Sequence[nn.Module]:
        """Returns the trained students."""
        self.teacher.finish()
        return self.student.finish()


class _Mean:
    """The exponential moving average of h over the steps before, without a bias to 0."""

    def __init__(self, runs: int, device: torch.device) -> None:
        self._sum = torch.zeros(runs, device=device)
        self._steps = 0

    def before(self, h: torch.Tensor) -> torch.Tensor:
        """Returns the mean, (R,), and takes in a new value; the first has a mean of 0."""
        kept = 1 - 1 / _MEMORY
        share = 1 - kept**self._steps
        mean = self._sum / share if self._steps else self._sum
        self._sum = kept * self._sum + h / _MEMORY
        self._steps += 1
        return mean


def _mean_loss(
    engine: Engine, outputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return engine.objective.losses(outputs, targets, engine.smoothing).mean(1)


def _confident(answers: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Returns 1. where the largest probability is above a run's threshold, (R, U)."""
    largest = answers.softmax(2).amax(2)
    return (largest > threshold.unsqueeze(1)).float()


def _put_back(
    generators: Sequence[torch.Generator], states: Sequence[torch.Tensor]
) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def flops(problem: Problem, module: nn.Module, source: Source, job: Job) -> float:
    """Returns the floating-point operations of a run's whole training.

    Args:
        problem: Its recipe's procedure, and the number of steps.
        module: The run's, which is copied.
        source: The problem's.
        job: The run's; batches are as large as it says.
    """
    declared, steps = problem.recipe.procedure, problem.steps
    labelled = source.x_train[: source.size_for(job)]
    if not declared.unlabelled:
        return cost.training(module, labelled, steps)
    # What is counted depends on the shape alone.
    count = unlabelled_batch(problem, job)
    batch = labelled[:1].expand(count, *labelled.shape[1:]).contiguous()
    of_labels, of_others = (cost.step(module, x).flops for x in (labelled, batch))
    if declared.kind == "pseudo_labels":
        return float(steps * (of_labels + of_others))
    weak = cost.forward(module, batch)
    if not declared.taught:
        return float(steps * (of_labels + of_others + weak))
    begins = declared.finetuned_from(steps)
    finetuned = 0 if begins is None else steps - begins
    teacher = of_labels + of_others + weak
    student = of_others + 2 * cost.forward(module, labelled)
    return float((steps - finetuned) * (teacher + student) + finetuned * of_labels)

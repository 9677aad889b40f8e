"""How architectures train: from many configurations, at many learning rates, on the way."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from archtrial import randomness, trainers, trial, workflow
from archtrial.execution import few_threads
from archtrial.experiments.profile import variations
from archtrial.experiments.profile.measuring import Measuring
from archtrial.protocol import describe_space
from archtrial.space import Design
from archtrial.trainers.runs import finished
from archtrial.training.curvature import curvature
from archtrial.training.layers import gradient_norms
from archtrial.training.module import build
from archtrial.training.objective import Objective
from archtrial.training.run import Job, Outcome, Problem
from archtrial.zoo import arms

__all__ = ["MOMENTS", "RATES", "Trainability", "Watched"]

RATES = tuple(float(f"{10 ** (half / 2):.3g}") for half in range(-8, 1))
"""The learning rates of which those that work are looked for, two a decade."""

# The more seeds, the narrower the interval; each costs a training of every rate.
_RATE_SEEDS = 4

MOMENTS = (0.0, 0.03, 0.1, 0.3, 1.0)
"""The shares of a training after which its loss's curvature is measured."""

_CURVATURE_SEEDS = 3
# Training examples that curvature, and gradients at the start, are of.
_EXAMPLES = 500
# What torch says where a gradient has no gradient of its own.
_ONCE = ("derivative", "not implemented")
# Of trainings whose curve nobody reads; divergence is seen then, too.
_EVALUATIONS = 5


@dataclasses.dataclass(frozen=True)
class Watched:
    """Trains, and measures the curvature of the loss on the way where that is asked.

    An item's coordinate "part" says what it is for: "space" and "rates" are scored, and of
    "curvature" `Run.measures` gets "curvature", a pair for each moment: the step, and the
    largest eigenvalue of the Hessian or None where it is not finite; or "obstacle", why
    the module has no second derivatives.

    Args:
        loops: Who trains.
    """

    loops: trainers.Loops

    def divide(self, items: Sequence[trainers.Item]) -> list[tuple[trainers.Item, ...]]:
        """Divides items as `Loops` does, those of one part together."""
        parts: dict[str, list[trainers.Item]] = {}
        for item in items:
            parts.setdefault(item.further["part"], []).append(item)
        return [task for own in parts.values() for task in self.loops.divide(own)]

    def __call__(self, task: Sequence[trainers.Item]) -> list[trainers.Finished]:
        """Trains the items of one task, which are of one part."""
        problem = dataclasses.replace(self.loops.problem, evaluations=_EVALUATIONS)
        loops = dataclasses.replace(self.loops, problem=problem)
        jobs = [loops.job(item) for item in task]
        own = loops.problem_of(task[0].arm)
        watched = task[0].further["part"] == "curvature"
        if watched:
            steps = tuple(sorted({round(share * own.steps) for share in MOMENTS}))
            jobs = [dataclasses.replace(job, keep_at=steps) for job in jobs]
        found = []
        for item, job, outcome in zip(
            task, jobs, loops.outcomes(task, jobs), strict=True
        ):
            done = finished(item, outcome)
            if watched:
                seed = randomness.seed(
                    loops.study_seed, "curvature", item.arm, item.seed
                )
                told = _curvatures(own, job, outcome, loops.study_seed, seed)
                done = dataclasses.replace(
                    done, run=dataclasses.replace(done.run, measures=told)
                )
            found.append(done)
        return found


def _curvatures(
    problem: Problem, job: Job, outcome: Outcome, study_seed: int, seed: int
) -> dict[str, Any]:
    """Returns the curvature at each moment of a training that left its weights."""
    if outcome.error is not None:
        return {"curvature": []}
    x, y, objective = _examples(problem, study_seed)
    module = build(problem, job)
    told = []
    for step, weights in sorted(outcome.kept.items()):
        module.load_state_dict(weights)
        try:
            # Its other forms have no second derivatives.
            with sdpa_kernel(SDPBackend.MATH):
                largest, _ = curvature(module, x, y, seed, objective)
        except (NotImplementedError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            if not any(word in said for word in _ONCE):
                raise
            return {"curvature": [], "obstacle": said}
        told.append([step, largest])
    return {"curvature": told}


def _examples(
    problem: Problem, seed: int
) -> tuple[torch.Tensor, torch.Tensor, Objective]:
    """Returns some training examples with their targets, on the device."""
    some = variations.some(problem.y_train, problem.task, _EXAMPLES, seed, "examples")
    objective = problem.minimised()
    x = torch.from_numpy(np.asarray(problem.x_train[some]))
    y = objective.targets()[torch.from_numpy(some)]
    return x.to(problem.device), y.to(problem.device), objective


class Trainability(Measuring):
    """What of the space trains, which rates work, gradients, curvature, steps needed."""

    name = "trainability"

    def __init__(self, study: Any) -> None:
        super().__init__(study)
        declared = study.protocol
        # Learning rates, and what is searched of the architecture itself.
        found = {
            arm.name: arms.find(arm.architecture, arm.options, None)
            for arm in declared.architectures
        }
        spaces, self.notes = trial.put_together(
            declared.architectures, declared.space, found, study.split,
            declared="space" in declared.model_fields_set,
        )  # fmt: skip
        # Independent draws: what is counted of them is binomial.
        self.design = Design(spaces, declared.seed, "random")

    @property
    def trainer(self) -> Watched:
        """Who trains and measures on the way."""
        return Watched(self.study.loops)

    def resolved(self) -> Mapping[str, Any]:
        """Returns what is searched and tried, and what the constant predictor scores."""
        problem = self.study.loops.problem
        constant = problem.metric.constant(
            problem.y_train, len(problem.y_validation), problem.num_outputs
        )
        return {
            "spaces": {n: describe_space(s) for n, s in self.design.spaces.items()},
            "rates": list(RATES),
            "rate_seeds": _RATE_SEEDS,
            "moments": list(MOMENTS),
            "curvature_seeds": _CURVATURE_SEEDS,
            "examples": min(_EXAMPLES, len(problem.y_train)),
            "constant": problem.metric.score(constant, problem.y_validation),
            "notes": list(self.notes),
        }

    def stages(self, work: workflow.Work) -> None:
        """Trains drawn configurations and all rates; measures gradients and curvature."""
        study = self.study
        declared, runs = study.protocol, study.runs(work.store)
        items = []
        for name in study.names:
            place = study.tuned(runs, name)
            items += [
                self.item(
                    name, index, 0, "search", self.design.configuration(name, index),
                    part="space",
                )
                for index in range(declared.configurations)
            ]  # fmt: skip
            items += [
                self.item(
                    name, place, seed, "confirm", {"learning_rate": rate},
                    part="rates", rate=index,
                )
                for index, rate in enumerate(RATES)
                for seed in range(1, _RATE_SEEDS + 1)
            ]  # fmt: skip
            items += [
                self.item(
                    name, place, seed, "confirm", study.rate(place), part="curvature"
                )
                for seed in range(1, _CURVATURE_SEEDS + 1)
            ]
        work.carry_out("trainability", items)
        for name in study.names:
            self.record(work, name, functools.partial(self._gradients, work, name))

    def _gradients(self, work: workflow.Work, name: str) -> dict[str, Any]:
        """Returns gradient norms at the start of each training on fresh seeds."""
        study = self.study
        problem = study.loops.problem_of(name)
        x, y, objective = _examples(problem, study.loops.study_seed)
        found: list[dict[str, float | None]] = []
        with few_threads(study.protocol.threads):
            for run in study.fresh(study.runs(work.store), name):
                item = trainers.Item(
                    name, run.pair, run.seed, "confirm", run.configuration
                )
                job = study.loops.job(item)
                found.append(
                    gradient_norms(build(problem, job), x, y, objective, job.noise_seed)
                )
        return {"layers": list(found[0]), "norms": [list(f.values()) for f in found]}

"""The training of models, from their seeds to their predictions: one driver for all.

`train` is the definition of what a run is. A fleet trains many at once through the same
driver, on another engine, and is held to the loop step by step.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from archtrial.training import cost, procedure, recipe
from archtrial.training.device import exact
from archtrial.training.engine import Engine
from archtrial.training.loop import Loop
from archtrial.training.module import build
from archtrial.training.outcome import Account, Outcome, Reading, pass_on
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Batches, Source

__all__ = ["Job", "Outcome", "Problem", "Reading", "drive", "train"]


def train(problem: Problem, job: Job) -> Outcome:
    """Trains one model and returns its outcome, whatever becomes of it.

    The outcome follows from the two arguments alone. The global generators of torch,
    NumPy and Python are left as they were.

    Raises:
        ProtocolError: A hyperparameter is unknown, or its value out of range.
        FormError: What the module returns, or does to its parameters, is of a form
            that no training can do with; the next run would fare no better.
        MemoryError: There is not enough memory. Whatever else the architecture
            raises, ArmErrors included, is recorded in the outcome instead.
    """
    account = Account(problem, time.perf_counter())
    try:
        (outcome,) = drive(problem, [job], [build(problem, job)], Loop, [account])
    except Exception as error:  # a user's module may raise anything
        pass_on(error)
        return account.failed(error)
    return outcome


def drive(
    problem: Problem,
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    engine_of: Callable[[Problem, Sequence[Job], Sequence[nn.Module]], Engine],
    accounts: Sequence[Account],
) -> list[Outcome]:
    """Takes R >= 1 untrained modules through all their steps.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        modules: What `build` made of each.
        engine_of: The loop, for one run, or a fleet.
        accounts: Take in what each run shows on the way.

    Raises:
        Exception: Whatever a module raises.
    """
    source = Source(problem)
    objective = problem.minimised()
    for account in accounts:
        account.parameters = cost.parameters(modules[0])
    # Counted before a module is put into an engine, where it no longer runs alone.
    flops = procedure.flops(problem, modules[0], source, jobs[0])
    for account in accounts:
        account.flops = flops
    engine = procedure.guided(problem, jobs, modules, engine_of)
    batches = Batches(problem, source, jobs)
    evaluations = problem.evaluation_steps()

    def scored(outputs: torch.Tensor) -> list[float]:
        return [_score(problem, own) for own in objective.presented(outputs)]

    total_losses = torch.zeros(len(jobs), device=problem.device)
    _keep(0, engine, jobs, accounts)
    with exact(problem.device), engine.running():
        for step, rate in enumerate(recipe.rates(problem.recipe, problem.steps), 1):
            x, y = next(batches)
            total_losses += engine.step(x, y, rate)
            if step in evaluations:
                presented = objective.presented(engine.predict(source.x_validation))
                for account, total, own in zip(
                    accounts, total_losses.tolist(), presented, strict=True
                ):
                    account.evaluated(step, total, own)
                engine.watch(step, source.x_validation, scored)
                if all(account.diverged for account in accounts):
                    break
                total_losses.zero_()
                if any(account.wants_reading(step) for account in accounts):
                    presented = objective.presented(engine.predict(source.x_test))
                    for account, own in zip(accounts, presented, strict=True):
                        account.read(step, own)
            _keep(step, engine, jobs, accounts)
        presented = objective.presented(engine.predict(source.x_test))
    for account, measured in zip(accounts, engine.measures(), strict=True):
        account.measures = measured
    trained = engine.finish()
    return [
        account.finished(own, module if job.keep_weights else None, 1 / len(jobs))
        for account, own, module, job in zip(
            accounts, presented, trained, jobs, strict=True
        )
    ]


def _score(problem: Problem, presented: np.ndarray) -> float:
    """Returns a validation score; NaN where predictions are no numbers."""
    if not np.isfinite(presented).all():
        return math.nan
    metric = problem.metric
    return float(metric.score(metric.reduce(presented), problem.y_validation))


def _keep(
    step: int, engine: Engine, jobs: Sequence[Job], accounts: Sequence[Account]
) -> None:
    """Copies the weights of those runs that keep them after a step."""
    those = [
        index
        for index, (job, account) in enumerate(zip(jobs, accounts, strict=True))
        if step in job.keep_at and not account.diverged
    ]
    if those:
        for index, weights in zip(those, engine.states(those), strict=True):
            accounts[index].kept[step] = weights

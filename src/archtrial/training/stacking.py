"""Whether the modules of several runs train as a fleet; its oracle is the loop."""

import dataclasses
import functools
import itertools
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from archtrial.training import noise, structure
from archtrial.training.device import exact
from archtrial.training.fleet import Stack
from archtrial.training.loop import Loop
from archtrial.training.module import build as build_module
from archtrial.training.outcome import pass_on
from archtrial.training.problem import Job, Problem
from archtrial.training.redirected import UnstackableError, place
from archtrial.training.source import Batches, Source

__all__ = ["obstacle"]


def obstacle(
    problem: Problem,
    build: Callable[[], nn.Module],
    jobs: Sequence[Job] | None = None,
) -> str | None:
    """Says why a module cannot be trained in a fleet, by trying it.

    Two runs with weights and noise of their own take two steps on the first batches,
    stacked and each on its own; losses, gradients, buffers and evaluation must agree.

    Args:
        problem: As it will be trained.
        build: Makes the module, where there are no jobs.
        jobs: Two runs of those that would share a fleet, which differ in every value
            that may differ there; their seeds are left aside.

    Returns:
        None if they do, else a sentence without its beginning or end.

    Raises:
        MemoryError: As `run.train`.
    """
    if problem.recipe.precision == "bfloat16":
        return "the fast forms of a fleet compute in float32, and not in bfloat16"
    if problem.recipe.memory_format == "channels_last":
        return "its images lie channels last in memory, which is an order of one run's"
    those = jobs or [Job(build, {}, 0, 0, 0)] * 2
    two = [
        Job(job.build, job.hyperparameters, seed, seed, seed)
        for seed, job in enumerate(those, 1)
    ]
    try:
        with exact(problem.device), warnings.catch_warnings():
            # Where vmap knows no rule for an operation it warns and goes slowly.
            warnings.filterwarnings("error", message="There is a performance drop")
            found = _disagreement(problem, two, _ROUNDING)
            if found is None or _only_rounding(problem, two):
                return None
            return found
    except UnstackableError as error:
        return str(error)
    except Exception as error:  # what a user's module raises is anything
        pass_on(error)
        # Where torch itself was compiled, which its warnings end with, is no reason.
        said = str(error).partition("\n")[0].partition(" (Triggered internally")[0]
        if "escaped from inside a function being vmapped" in said:
            return (
                "it takes up a tensor again when its forward is over, as"
                " torch.utils.checkpoint does"
            )
        frames = list(traceback.walk_tb(error.__traceback__))
        where = place(frames)
        at = where and f" ({where})"
        return f"{_known_reason(frames) or f'{type(error).__name__}: {said}'}{at}"


def _known_reason(frames: Sequence[tuple[types.FrameType, int]]) -> str | None:
    """Says of some ways of writing a module why torch raises there in a fleet."""
    for frame, _ in frames:
        file = Path(frame.f_code.co_filename)
        if file.parent.name == "_functorch" and file.name in (
            "apis.py",
            "eager_transforms.py",
        ):
            return (
                "it transforms functions itself (torch.vmap, torch.func), as a fleet does"
                " with it"
            )
        if file.parts[-3:] == ("nn", "utils", "rnn.py") or any(
            isinstance(value, nn.utils.rnn.PackedSequence)
            for value in frame.f_locals.values()
        ):
            return (
                "it packs its sequences (pack_padded_sequence), whose batches shrink from"
                " step to step"
            )
    return None


def _only_rounding(problem: Problem, jobs: Sequence[Job]) -> bool:
    """Says whether two runs are in a fleet what they are alone, but for rounding.

    In a small layer a single ReLU, or a maximum of two values that are nearly the same,
    falls out otherwise by rounding, and changes a gradient by more than `_ROUNDING`. In
    double precision, where that is a thousand million times as rare, a wrong mask, rate
    or weight is still wrong. Losses and outputs that are far apart are no rounding,
    whatever double precision says.
    """
    if _disagreement(problem, jobs, _FAR, gradients=False) is not None:
        return False
    try:
        double = torch.float64
        return _disagreement(problem, jobs, _ROUNDING_IN_DOUBLE, double) is None
    except Exception as error:  # a module may ask for its numbers in single precision
        pass_on(error)
        return False


# By how much a tensor of a run in a fleet may differ from the loop's, as a share of its
# norm. Sums in another order differ by about 1e-6 of it; where rounding makes a ReLU or
# a maximum fall out otherwise, single values differ wholly, and the norm of 16 million
# values by no more than 1e-3 if 16 of them do. A wrong mask, rate or weight changes it
# by a tenth and more.
_ROUNDING = 1e-3
_FAR = 0.1
# The same of double precision; outputs and losses are in single precision there, too.
_ROUNDING_IN_DOUBLE = 1e-5
# What is nothing but rounding itself, such as the gradient of a bias before batch
# normalisation, is compared with the norm of the whole gradient.
_NOTHING = 1e-5


def _disagreement(
    problem: Problem,
    jobs: Sequence[Job],
    share: float,
    precision: torch.dtype = torch.float32,
    *,
    gradients: bool = True,
) -> str | None:
    """Says what is another thing in a fleet, by more than a share of its norm."""
    # What happens to batches before a step, and to weights after it, stacks anyhow.
    bare = problem.recipe.model_copy(update={"weight_averaging": 0.0, "accumulate": 1})
    problem = dataclasses.replace(problem, recipe=bare)
    source = Source(problem)
    modules = [_built(problem, job, precision) for job in jobs]
    different = structure.difference(*modules)
    if different is not None:
        return f"its runs differ in {different}, which one program for all would share"
    following = Batches(problem, source, jobs)
    batches = [
        (_in_precision(x, precision), y) for x, y in itertools.islice(following, 2)
    ]
    examples = _in_precision(source.x_validation[:64], precision)
    agree = functools.partial(_agree, share=share)
    stack = Stack(problem, jobs, modules)
    steps = []
    # The fleet goes first: a module may keep its options where the next one's build
    # overwrites them, as in an attribute of its class.
    for x, y in batches:
        losses = stack.step(x, y, rate=1.0)
        momenta = stack.optimizer.state[0].clone()
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        steps.append((losses, momenta, buffers, stack.values.clone()))
    outputs = stack.predict(examples)
    for index, job in enumerate(jobs):
        with noise.own_noise(job.noise_seed, problem.device):
            loop = Loop(problem, [job], [_built(problem, job, precision)])
            torch.manual_seed(job.noise_seed)
            for (x, y), (losses, momenta, buffers, values) in zip(
                batches, steps, strict=True
            ):
                loss = loop.step(x[index : index + 1], y[index : index + 1], 1.0)
                # What the optimiser remembers of the gradient is linear in it; its
                # update is not, and would blow up rounding.
                momentum = loop.optimizer.state[0, 0]
                least = _NOTHING * float(momentum.norm())
                pairs = [("the loss", losses[index], loss[0], _NOTHING)]
                pairs += [
                    (f"the gradient of {name}", mine, theirs, least)
                    for (name, mine), (_, theirs) in zip(
                        stack.named(momenta[index].clone()),
                        stack.named(momentum),
                        strict=True,
                    )
                    if gradients
                ]
                pairs += [
                    (f"the buffer {name}", buffers[name][index], buffer, _NOTHING)
                    for name, buffer in loop.module.named_buffers()
                ]
                for name, mine, theirs, floor in pairs:
                    if not agree(mine, theirs, floor):
                        return f"{name} of a run in a fleet is not what it is alone"
                # The same trained values, so that what follows is compared alone.
                loop.values.copy_(values[index : index + 1])
            output = loop.predict(examples)[0]
            if not agree(outputs[index], output, _NOTHING):
                return "a run's outputs in evaluation are not what they are alone"
            halves = [loop.predict(half)[0] for half in examples.tensor_split(2)]
            if not agree(torch.cat(halves), output, _NOTHING):
                return (
                    "in evaluation its outputs for an example depend on the others of the"
                    " same batch, and a fleet's batches are of another size"
                )
    return None


def _built(problem: Problem, job: Job, precision: torch.dtype) -> nn.Module:
    module = build_module(problem, job)
    return module if precision == torch.float32 else module.to(precision)


def _in_precision(x: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    return x.to(precision) if x.is_floating_point() else x


def _agree(
    mine: torch.Tensor, theirs: torch.Tensor, floor: float, share: float
) -> bool:
    """Says whether two tensors are the same but for rounding, by the norm."""
    if not (mine.is_floating_point() or mine.is_complex()):
        return torch.equal(mine, theirs)
    finite = theirs.isfinite()
    if not torch.equal(mine.isfinite(), finite):
        return False
    norm = torch.linalg.vector_norm(theirs[finite].abs().double())
    apart = torch.linalg.vector_norm((mine - theirs)[finite].abs().double())
    return bool(apart <= max(share * float(norm), floor))

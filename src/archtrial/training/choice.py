"""Whether runs train side by side, and how many: by what one step of them takes.

A fleet shares among its runs what every operation costs besides its work, some ten
microseconds; on a GPU it is as much, and the work is done a thousand times as fast. Where
the work itself takes much longer there is nothing to gain, and on a CPU tensors of many
runs no longer fit into a core's cache, so the loop is faster. Nothing here is timed: the
answer follows from the module, the batch and the kind of device, on every machine; only a
GPU of less than 16 GB takes fewer runs at once.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch

from archtrial.training import cost
from archtrial.training.module import build
from archtrial.training.outcome import pass_on
from archtrial.training.problem import Job, Problem
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["Fleets", "evenly", "fleet_size"]

Item = TypeVar("Item")

Fleets = Literal["auto", "always", "never"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Of a fleet on one kind of device (benchmarks/README.md)."""

    most_runs: int
    """Large enough that a step's fixed cost is shared; a kill costs a whole fleet."""
    fewest_runs: int
    """Of fewer, a fleet is hardly faster than the loop."""
    work: int
    """FLOPs of one step of a run for each operation of its forward pass."""
    written: int | None
    """Values that a fleet's operation writes on average."""
    kept: int
    """Values that a fleet keeps: what its operations write, and for each parameter the
    value, its gradient, both moments and the update."""


# Some .3 ms of work; 1 MB, a core's cache; 512 MB.
CPU = Limits(16, fewest_runs=4, work=20_000_000, written=2**18, kept=2**27)
# Some .1 ms of work, where an operation of the loop takes .2 ms; 8 GB.
GPU = Limits(64, fewest_runs=2, work=2_000_000_000, written=None, kept=2**31)

_KEPT_OF_PARAMETER = 5


def limits(device: str) -> Limits:
    """Returns what holds for fleets on a device; they take half of a GPU's memory."""
    if torch.device(device).type != "cuda":
        return CPU
    half = torch.cuda.get_device_properties(device).total_memory // 2
    return dataclasses.replace(GPU, kept=min(GPU.kept, half // 4))


@prints_to_errors()
def fleet_size(problem: Problem, job: Job, fleets: Fleets = "auto") -> int | None:
    """Returns how many runs of a job's structure share a fleet at most.

    Args:
        problem: Its inputs and the size of its batches.
        job: What it builds counts, and nothing else of it.
        fleets: "never": no fleet. "always": a fleet, also where the loop is faster; its
            size is limited by memory alone.

    Returns:
        From 1, where the loop trains, to 16, and on a GPU to 64. None where the module
        cannot be built or carried out.

    Raises:
        UserError: As `run.train`.
        MemoryError: As `run.train`.
    """
    if fleets == "never":
        return 1
    try:
        module = build(problem, job)
        batch = torch.from_numpy(problem.x_train[: problem.batch_size])
        step = cost.step(module, batch.to(problem.device))
    except Exception as error:  # a user's module may raise anything
        pass_on(error)
        return None
    allowed = limits(problem.device)
    kept = step.values + _KEPT_OF_PARAMETER * cost.parameters(module)
    procedure = problem.recipe.procedure
    if procedure.unlabelled:  # what is written of those examples, and of a teacher
        kept *= (1 + procedure.ratio) * (2 if procedure.taught else 1)
    most = min(allowed.most_runs, allowed.kept // kept)
    if fleets == "always":
        return max(2, most)
    if step.flops > allowed.work * step.operations:
        return 1
    if allowed.written is not None:
        most = min(most, allowed.written * step.operations // max(1, step.values))
    return most if most >= allowed.fewest_runs else 1


def evenly(items: Sequence[Item], most: int) -> list[tuple[Item, ...]]:
    """Divides items, in their order, into parts of about the same size.

    Args:
        items: Trainings that may share a fleet.
        most: How many of them at most.

    Examples:
        >>> evenly("abcde", 2)
        [('a',), ('b', 'c'), ('d', 'e')]
    """
    parts = -(-len(items) // most)
    ends = [part * len(items) // parts for part in range(parts + 1)]
    return [tuple(items[i:j]) for i, j in itertools.pairwise(ends)]

"""Whether runs train side by side, and how many: by what one step of them takes.

A fleet shares among its runs what every operation costs besides its work, some ten
microseconds. Where the work itself takes much longer there is nothing to gain, and
tensors of many runs no longer fit into a core's cache, so the loop is faster. Nothing
here is timed: the answer follows from the module and the batch, on every machine.
"""

from typing import Literal

import torch

from archtrial.training import cost
from archtrial.training.module import build
from archtrial.training.outcome import pass_on
from archtrial.training.problem import Job, Problem
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["Fleets", "fleet_size"]

Fleets = Literal["auto", "always", "never"]

# Large enough that a step's fixed cost is shared, small enough that all cores have
# work and a kill costs little.
_MOST_RUNS = 16
# Of fewer, a fleet is hardly faster than the loop (benchmarks/README.md, as the next two).
_FEWEST_RUNS = 4
# Values that a fleet's operation writes on average: 1 MB, a core's cache.
_MOST_WRITTEN = 2**18
# FLOPs of one step of a run for each operation of its forward pass: some .3 ms of work.
_MOST_WORK = 20_000_000
# Values that a fleet keeps, 512 MB: what its operations write, and for each parameter the
# value, its gradient, both moments and the update.
_MOST_KEPT = 2**27
_KEPT_OF_PARAMETER = 5


@prints_to_errors()
def fleet_size(problem: Problem, job: Job, fleets: Fleets = "auto") -> int | None:
    """Returns how many runs of a job's structure share a fleet at most.

    Args:
        problem: Its inputs and the size of its batches.
        job: What it builds counts, and nothing else of it.
        fleets: "never": no fleet. "always": a fleet, also where the loop is faster; its
            size is limited by memory alone.

    Returns:
        From 1, where the loop trains, to 16. None where the module cannot be built or
        carried out.

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
    kept = step.values + _KEPT_OF_PARAMETER * cost.parameters(module)
    most = min(_MOST_RUNS, _MOST_KEPT // kept)
    if fleets == "always":
        return max(2, most)
    if problem.device == "cpu":
        if step.flops > _MOST_WORK * step.operations:
            return 1
        most = min(most, _MOST_WRITTEN * step.operations // max(1, step.values))
    return most if most >= _FEWEST_RUNS else 1

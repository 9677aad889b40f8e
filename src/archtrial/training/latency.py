"""How long a module takes to answer, and to learn: for a page, and never for a verdict.

Seconds are this machine's, at this moment: a page shows them beside FLOPs and
parameters, and no result depends on them.
"""

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from archtrial.statistics import intervals
from archtrial.training.device import exact
from archtrial.training.loop import Loop
from archtrial.training.module import build
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Batches, Source

__all__ = ["Latency", "latency", "step_latency"]

ALPHA = 0.05
"""Intervals of medians have level 1 - ALPHA."""


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a module takes for one batch, over many repetitions."""

    batch: int
    """Examples that are answered, or learned from, at once."""
    median: float
    """Seconds."""
    lower_quartile: float
    """Seconds."""
    upper_quartile: float
    """Seconds."""
    repetitions: int
    """How often it was measured, after the warm-up."""
    threads: int
    """Of torch, on a CPU; on a GPU they make next to no difference."""
    device: str
    """"cpu", or the GPU's name as its driver tells it."""
    low: float | None = None
    """Where the median's interval begins, in seconds, with level 95 % if repetitions are
    independent; None where there are fewer than six."""
    high: float | None = None
    """Where it ends."""

    @property
    def throughput(self) -> float:
        """Examples in a second, at the median."""
        return self.batch / self.median

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as JSON, with the throughput."""
        return {**dataclasses.asdict(self), "throughput": self.throughput}


def latency(
    module: nn.Module,
    examples: torch.Tensor,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    most: int = 1000,
) -> Latency:
    """Measures how long a module takes to answer for one batch.

    It answers in evaluation mode and without gradients, a few times before anything is
    measured, and then until `seconds` have passed or it has answered `most` times, at
    least three times however long that takes. On a GPU each answer is waited for. The
    median is what is usual: what else the machine does makes some answers late and none
    early. Modes of its modules, and torch's threads, are left as they were.

    Args:
        module: Any; an ensemble is a module of several.
        examples: (N, ...) the batch, as the module takes it; it is moved to where the
            module's parameters are, before the clock starts.
        threads: Of torch, while it is measured.
        seconds: About how long measuring takes; the warm-up takes a fifth of it.
        most: Repetitions, at most.

    Raises:
        ValueError: The batch is empty.
    """
    if len(examples) == 0:
        raise ValueError("a latency is that of at least one example")
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else examples.device
    examples = examples.to(device)

    with _as_used(module, threads), torch.inference_mode():
        taken = _timed(lambda: module(examples), device, seconds, most)
    return _summed_up(taken, len(examples), threads, device)


def step_latency(
    problem: Problem,
    job: Job,
    *,
    threads: int = 1,
    seconds: float = 1.0,
    most: int = 1000,
) -> Latency:
    """Measures how long one step of a training takes, by itself and not in a fleet.

    That is the forward pass, the loss, the backward pass and the update of the recipe, on
    batches as they come; what is measured and how is as in `latency`.

    Args:
        problem: What is trained on; the whole rate of the schedule at each step.
        job: The run; it leaves nothing behind.
        threads: Of torch, while it is measured.
        seconds: About how long measuring takes; the warm-up takes a fifth of it.
        most: Repetitions, at most.

    Raises:
        Exception: Whatever the module raises.
    """
    device = torch.device(problem.device)
    source = Source(problem)
    batches = Batches(problem, source, [job])
    engine = Loop(problem, [job], [build(problem, job)])

    def step() -> None:
        engine.step(*next(batches), 1.0)

    with _threads(threads), exact(problem.device), engine.running():
        taken = _timed(step, device, seconds, most)
    return _summed_up(taken, source.batch_size, threads, device)


def _timed(
    call: Callable[[], Any], device: torch.device, seconds: float, most: int
) -> list[float]:
    """Returns how long each call took, in seconds, once it was warm."""

    def once() -> float:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    def repeated(seconds: float, least: int) -> list[float]:
        taken: list[float] = []
        end = time.perf_counter() + seconds
        while len(taken) < least or (len(taken) < most and time.perf_counter() < end):
            taken.append(once())
        return taken

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    repeated(seconds / 5, 2)
    return repeated(seconds, 3)


def _summed_up(
    taken: list[float], batch: int, threads: int, device: torch.device
) -> Latency:
    lower, median, upper = statistics.quantiles(taken, n=4, method="inclusive")
    found = intervals.median(np.array(taken), ALPHA)
    known = math.isfinite(found.low)
    gpu = device.type == "cuda"
    return Latency(
        batch=batch,
        median=median,
        low=found.low if known else None,
        high=found.high if known else None,
        lower_quartile=lower,
        upper_quartile=upper,
        repetitions=len(taken),
        threads=threads,
        device=torch.cuda.get_device_name(device) if gpu else device.type,
    )


@contextlib.contextmanager
def _as_used(module: nn.Module, threads: int) -> Iterator[None]:
    """Puts a module into evaluation mode and torch to some threads, and both back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with _threads(threads):
            yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

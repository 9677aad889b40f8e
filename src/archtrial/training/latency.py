"""How long a module takes to answer: for a page, and never for a verdict.

Seconds are this machine's, at this moment: a page shows them beside FLOPs and
parameters, and no result depends on them.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["Latency", "latency"]


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long a module takes to answer for one batch, over many repetitions."""

    batch: int
    """Examples that are answered at once."""
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

    def answered() -> float:
        start = time.perf_counter()
        module(examples)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    def repeated(seconds: float, least: int) -> list[float]:
        taken: list[float] = []
        end = time.perf_counter() + seconds
        while len(taken) < least or (len(taken) < most and time.perf_counter() < end):
            taken.append(answered())
        return taken

    with _as_used(module, threads), torch.inference_mode():
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        repeated(seconds / 5, 2)
        taken = repeated(seconds, 3)
    low, median, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Latency(
        batch=len(examples),
        median=median,
        lower_quartile=low,
        upper_quartile=high,
        repetitions=len(taken),
        threads=threads,
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else device.type,
    )


@contextlib.contextmanager
def _as_used(module: nn.Module, threads: int) -> Iterator[None]:
    """Puts a module into evaluation mode and torch to some threads, and both back."""
    modes = [(part, part.training) for part in module.modules()]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        torch.set_num_threads(before)

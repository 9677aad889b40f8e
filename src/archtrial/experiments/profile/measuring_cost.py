"""What architectures cost: counted, and timed on this machine."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archtrial import workflow
from archtrial.experiments.profile.measuring import Measuring
from archtrial.records.table import Run
from archtrial.training import cost
from archtrial.training.latency import latency, step_latency
from archtrial.training.memory import counted_memory, measured_peak

__all__ = ["Cost"]

_SECONDS = 0.5
"""About how long each time is measured."""


class Cost(Measuring):
    """Parameters, FLOPs and memory are counted; memory and times are measured.

    All of it is of networks before their first step: what they cost does not depend on
    what they learned.
    """

    name = "cost"

    def stages(self, work: workflow.Work) -> None:
        """Counts what each architecture takes."""
        for name in self.study.names:
            self.record(work, name, functools.partial(self._counted, name))

    def _counted(self, name: str) -> dict[str, Any]:
        module, batch = self._untrained(name), self._batch()
        memory = counted_memory(module, batch)
        return {
            "parameters": cost.parameters(module),
            "batch": len(batch),
            "answer_flops": cost.forward(module, batch[:1]),
            "step_flops": cost.step(module, batch).flops,
            "kept": memory.kept,
            "peak": memory.peak,
        }

    def _untrained(self, name: str) -> torch.nn.Module:
        return self.study.network(self.study.first(name), trained=False)

    def _batch(self) -> torch.Tensor:
        """Returns a batch of training, on the CPU."""
        problem = self.study.loops.problem
        return torch.from_numpy(problem.x_train[: problem.batch_size])

    def on_machine(self, runs: Sequence[Run]) -> Mapping[str, Any]:
        """Times answers and steps, and measures the memory of a step."""
        return {name: self._measured(name) for name in self.study.names}

    def _measured(self, name: str) -> dict[str, Any]:
        loops, threads = self.study.loops, self.study.protocol.threads
        module = self._untrained(name).to(self.study.protocol.device)
        batch = self._batch()
        one, several = (
            latency(module, x, threads=threads, seconds=_SECONDS).to_dict()
            for x in (batch[:1], batch)
        )
        step = step_latency(
            loops.problem_of(name),
            loops.rehearsal(name, {}),
            threads=threads,
            seconds=_SECONDS,
        )
        return {
            "one": one,
            "batch": several,
            "step": step.to_dict(),
            "peak": measured_peak(module, batch),
        }

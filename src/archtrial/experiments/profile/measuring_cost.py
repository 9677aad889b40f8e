"""What architectures cost: counted, and timed on this machine."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archtrial import trainers, workflow
from archtrial.experiments.profile.measuring import Measuring
from archtrial.records.table import Run
from archtrial.training import cost
from archtrial.training.latency import latency

__all__ = ["Cost"]


class Cost(Measuring):
    """Parameters, FLOPs and memory are counted; latency and throughput are timed."""

    name = "cost"

    def stages(self, work: workflow.Work) -> None:
        """Counts what each architecture takes, as it is before training."""
        for name in self.study.names:
            self.record(work, name, functools.partial(self._counted, name))

    def _counted(self, name: str) -> dict[str, Any]:
        module = self._module(name)
        step = cost.step(module, self._batch())
        return {"parameters": cost.parameters(module), "step_flops": step.flops}

    def _module(self, name: str) -> torch.nn.Module:
        first = trainers.Item(name, 0, 1, "confirm", {})
        return self.study.network(first, trained=False)

    def _batch(self) -> torch.Tensor:
        rows = self.study.protocol.batch_size
        return torch.from_numpy(self.study.split.x_train[:rows])

    def on_machine(self, runs: Sequence[Run]) -> Mapping[str, Any]:
        """Times how long each architecture takes to answer."""
        x = self._batch()
        return {
            name: {
                str(batch): latency(
                    self._module(name), x[:batch], threads=self.study.protocol.threads
                ).to_dict()
                for batch in (1, len(x))
            }
            for name in self.study.names
        }

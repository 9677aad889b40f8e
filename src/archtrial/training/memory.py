"""What a step of training takes in memory beside its parameters: counted, and measured.

Counted is what torch keeps for the backward pass, and the most that is alive at once, on
the meta device, where tensors have sizes and no values: a number of the architecture and
its batch, the same on every machine. Measured is what the allocator of this machine hands
out, with what its kernels need on the way: for a page, and never for a verdict.
"""

import contextlib
import dataclasses
import itertools
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from archtrial.training.cost import counted

__all__ = ["Memory", "counted_memory", "measured_peak"]


@dataclasses.dataclass(frozen=True)
class Memory:
    """What one forward and backward pass takes, in bytes, without parameters."""

    kept: int
    """Activations: what the forward pass keeps for the backward pass, the batch with
    it where a layer needs it. Each piece of memory counts once, and whole."""
    peak: int
    """The most that is alive at once of what the passes make: activations, what is
    computed on the way, and gradients, those of the parameters among them."""


def counted_memory(module: nn.Module, batch: torch.Tensor) -> Memory:
    """Counts what a step takes in training mode, without the loss and the optimiser.

    As `cost.step` does, on the meta device, where recurrent layers and attention fall
    into the products they consist of: a fused kernel may keep less. A module that cannot
    run there is counted where it is.

    Args:
        module: In any state; it is copied.
        batch: (N, ...) inputs of one step.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    return counted(module, batch, _memory)


def measured_peak(module: nn.Module, batch: torch.Tensor) -> int:
    """Measures the most that a step takes here at once, in bytes, without parameters.

    It is what torch's allocator hands out in one forward and backward pass in training
    mode beyond what it had before: what `Memory.peak` counts, and what kernels need on
    the way. The loss and the optimiser are left out. What a kernel takes from elsewhere,
    torch does not know of.

    Args:
        module: Its gradients are given up, its modes left as they were; buffers, such as
            running means, move as in any step.
        batch: (N, ...) inputs of one step; moved to where the module's parameters are.

    Raises:
        Exception: Whatever the module raises.
    """
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else batch.device
    batch = batch.to(device)
    modes = [(part, part.training) for part in module.modules()]

    def step() -> None:
        outputs = module(batch)  # held to the end, as a loss holds them
        outputs.sum().backward()

    try:
        module.train()
        with torch.enable_grad():
            step()  # what is made once, is made now
            module.zero_grad(set_to_none=True)
            peak = _peak_on_gpu if device.type == "cuda" else _peak_on_cpu
            return peak(step, device)
    finally:
        module.zero_grad(set_to_none=True)
        for part, mode in modes:
            part.training = mode


def _peak_on_gpu(step: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


def _peak_on_cpu(step: Callable[[], None], _: torch.device) -> int:
    with (
        _quiet(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled,
    ):
        step()
    results: Any = profiled.profiler
    handed = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    handed.sort(key=lambda event: event.start_ns())  # equal moments stay in order
    # Negative where memory is given back.
    return int(max(itertools.accumulate((e.nbytes() for e in handed), initial=0)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the profiler, which is told so when it is first used, from printing."""
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ.setdefault(name, "99")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _memory(module: nn.Module, batch: torch.Tensor) -> Memory:
    module.train()
    lasting = {_storage(t) for t in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if _storage(tensor) not in lasting:
            kept[_storage(tensor)] = storage
        return tensor

    alive = _Alive()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.enable_grad(), alive:
        with hooks:
            outputs = module(batch)
        total = sum(storage.nbytes() for storage in kept.values())
        kept.clear()  # or nothing would be let go on the way back
        outputs.sum().backward()
    return Memory(total, alive.peak)


def _storage(tensor: torch.Tensor) -> int:
    """Returns what tells a piece of memory from others while it is held."""
    return int(tensor.untyped_storage()._cdata)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows how much of what operations made is alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carries an operation out and adds the memory that it made."""
        given = torch.utils._pytree.tree_leaves((args, kwargs))
        before = {_storage(t) for t in given if isinstance(t, torch.Tensor)}
        returned = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(returned):
            if isinstance(tensor, torch.Tensor) and _storage(tensor) not in before:
                self._add(tensor.untyped_storage())
        return returned

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._let_go, size)

    def _let_go(self, size: int) -> None:
        self.now -= size

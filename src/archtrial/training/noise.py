"""The noise of a run: what a module draws is the run's own, and repeats."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch._C import _functorch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from archtrial import randomness

__all__ = ["DROPOUTS", "Noise", "draw", "dropout", "own_noise"]


class Noise(TorchFunctionMode):
    """Takes the masks of dropout from a run's own generator, in any module.

    torch's own dropout reads the global generator, which many runs side by side
    would share.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Redirects dropout and lets everything else pass."""
        kwargs = kwargs or {}
        # A module that calls torch.vmap itself has masks as torch draws them there.
        own = func in DROPOUTS and not _functorch.is_functorch_wrapped_tensor(args[0])
        if own and args[0].dim() >= DROPOUTS[func]:
            return dropout(func, self.mask, *args, **kwargs)
        return func(*args, **kwargs)

    def mask(self, like: torch.Tensor, shape: Sequence[int], p: float) -> torch.Tensor:
        """Returns a mask of 0 with probability p, else 1 / (1 - p)."""
        return draw([p], [self.generator], shape, like.device)[0]


DROPOUTS: dict[Callable[..., Any], int] = {
    functional.dropout: 0,
    functional.dropout1d: 3,
    functional.dropout2d: 3,
    functional.dropout3d: 3,
}
"""The functions whose masks a run draws itself, and from how many dimensions on."""


def dropout(
    func: Callable[..., Any],
    mask: Callable[[torch.Tensor, Sequence[int], Any], torch.Tensor],
    x: torch.Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Stands in for one of `DROPOUTS`, with `mask` as the source of the masks."""
    if not training or p == 0:
        return x
    shape = x.shape
    if func is not functional.dropout:  # whole channels
        shape = torch.Size([*shape[:2], *(1 for _ in shape[2:])])
    factor = mask(x, shape, p)
    return x.mul_(factor) if inplace else x * factor


# A probability is one of so many equal parts: four masks from each number of 64 bits.
_PARTS = 2**16


def draw(
    probabilities: Sequence[float],
    generators: Sequence[torch.Generator],
    shape: Sequence[int],
    device: torch.device,
) -> torch.Tensor:
    """Returns many runs' masks of dropout, (runs, *shape).

    A value is 0 with the run's probability, else the reciprocal of the rest. Each run
    draws from its own generator, and as much as it does alone. (torch's own draws
    take three times as long; benchmarks/README.md.)

    Raises:
        ValueError: A probability lies outside of 0 to 1.
    """
    runs, count = len(generators), math.prod(shape)
    numbers = torch.empty(runs, -(-count // 4), dtype=torch.int64, device=device)
    dropped = []
    for p, row, generator in zip(probabilities, numbers, generators, strict=True):
        if not 0 <= p <= 1:
            raise ValueError(f"a dropout probability lies between 0 and 1, not {p}")
        if 0 < p < 1:
            row.random_(-(2**63), None, generator=generator)
        dropped.append(min(max(round(p * _PARTS), 1), _PARTS - 1))
    parts = numbers.view(torch.int16)[:, :count]  # from -_PARTS / 2 on
    masks = torch.empty(runs, count, device=device)
    if len(set(dropped)) == 1:
        torch.ge(parts, dropped[0] - _PARTS // 2, out=masks)
        masks.mul_(_PARTS / (_PARTS - dropped[0]))
    else:
        each = torch.tensor(dropped, device=device).unsqueeze(1)
        torch.ge(parts, (each - _PARTS // 2).to(torch.int16), out=masks)
        masks.mul_(_PARTS / (_PARTS - each))
    for p, mask in zip(probabilities, masks, strict=True):
        if p in (0, 1):
            mask.fill_(1 - p)
    return masks.view(runs, *shape)


@contextmanager
def own_noise(noise_seed: int, device: str) -> Iterator[None]:
    """Makes a run's own whatever a module draws from the global generators.

    Those of torch, NumPy and Python are seeded here and put back at the end.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices), randomness.global_generators(noise_seed):
        torch.manual_seed(noise_seed)
        yield

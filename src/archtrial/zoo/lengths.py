"""Sequences of unequal length: how a net learns where each of them ends.

A family that takes them has `forward(self, x, lengths=None)`: x (N, C, L) with zeros
behind each end, lengths (N,) int64, from 1 to L. None: all have L steps. So may a net
of one's own, or have `forward(self, x, mask)`: (N, L) bool, True within each sequence.

Batches are padded with NaN, or of token ids with 0, wherever they are on the way; what
makes lengths and zeros of that is `Padded`, in front of such a net.
"""

import inspect

import torch
from torch import nn

from archtrial.zoo.embedding import Embedded

__all__ = ["Padded", "mask", "mean_over_steps", "needs_lengths", "takes"]


def mask(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Returns (N, steps) bool: which steps are within each sequence."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)


def mean_over_steps(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Returns (N, C), the mean of x (N, C, L) over the steps within each sequence."""
    if lengths is None:
        return x.mean(2)
    within = mask(lengths, x.shape[2]).unsqueeze(1)
    return torch.where(within, x, 0).sum(2) / lengths.unsqueeze(1)


class Padded(nn.Module):
    """Tells a network where the sequences of a batch end, and has zeros behind that.

    Args:
        network: Is called with x and what it takes.
        names: Of its forward's parameters: "lengths", "mask", or both.
        padded: Whether sequences differ in length; else all have all steps.
    """

    def __init__(
        self, network: nn.Module, names: tuple[str, ...], *, padded: bool = True
    ) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self.padded = padded

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what the network makes of sequences.

        Args:
            x: (N, [C,] L), NaN in all channels behind each end; or ids, (N, L) int64,
                0 there.
        """
        steps = x.shape[-1]
        places = torch.arange(1, steps + 1, device=x.device)
        own = ~x.isnan() if x.is_floating_point() else x != 0
        if own.dim() == 3:
            own = own.any(1)  # (N, C, L) -> (N, L)
        if not self.padded:
            own = torch.ones_like(own)
        lengths = (own * places).amax(1).clamp(min=1)  # a text may have no words
        within = mask(lengths, steps)
        if x.is_floating_point():
            # Behind the end alone: NaN anywhere else has to be seen.
            x = torch.where(within if x.dim() == 2 else within.unsqueeze(1), x, 0)
        told = {"lengths": lengths, "mask": within}
        outputs: torch.Tensor = self.network(x, **{n: told[n] for n in self.names})
        return outputs


def takes(module: nn.Module) -> tuple[str, ...]:
    """Returns which of "lengths" and "mask" a module's forward has as parameters."""
    if isinstance(module, Embedded):
        return tuple(name for name in takes(module.network) if name == "lengths")
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        name
        for name in ("lengths", "mask")
        if name in (own := _parameters(module)) and own[name].kind in by_name
    )


def needs_lengths(module: nn.Module) -> bool:
    """Says whether a module cannot be called without lengths."""
    own = _parameters(module).get("lengths")
    return own is not None and own.default is inspect.Parameter.empty


def _parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):  # compiled code has none
        return {}

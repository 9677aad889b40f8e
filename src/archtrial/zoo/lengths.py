"""Sequences of unequal length: how a net learns where each of them ends.

A family that takes them has `forward(self, x, lengths=None)`: x (N, C, L) with zeros
behind each end, lengths (N,) int64, from 1 to L. None: all have L steps.
"""

import torch

__all__ = ["mask", "mean_over_steps"]


def mask(lengths: torch.Tensor, steps: int) -> torch.Tensor:
    """Returns (N, steps) bool: which steps are within each sequence."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)


def mean_over_steps(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Returns (N, C), the mean of x (N, C, L) over the steps within each sequence."""
    if lengths is None:
        return x.mean(2)
    within = mask(lengths, x.shape[2]).unsqueeze(1)
    return torch.where(within, x, 0).sum(2) / lengths.unsqueeze(1)

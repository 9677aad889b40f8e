"""What the families of sequences share: inputs as steps, and layers that know each end.

Whatever these families compute of an example does not depend on how far its batch is
padded: steps behind an end are zero where a layer looks at them, and no part of any
mean, variance or maximum.
"""

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.zoo import lengths as of_lengths
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import Shape

__all__ = [
    "StepNorm",
    "Steps",
    "batch_norm",
    "last_step",
    "steps_of",
    "within",
    "zeroed",
]


def steps_of(name: str, input_shape: Shape) -> tuple[int, int]:
    """Returns how many numbers a step has, and how many steps there are.

    Args:
        name: Of the family, for the message.
        input_shape: (L,), read as L steps of one number; (C, L), as L steps of C
            numbers; or (C, H, W), as H steps, each a row of C * W numbers.

    Raises:
        ArmError: The input has no such shape.
    """
    if len(input_shape) not in (1, 2, 3):
        raise ArmError(
            f"{name} needs sequences (L,) or (C, L), or images (C, H, W), whose rows"
            " are the steps",
            f"one example has the shape {tuple(input_shape)}",
            "Take mlp or linear, which flatten their input.",
        )
    channels, steps, *row = input_shape if len(input_shape) > 1 else (1, *input_shape)
    return channels * (row[0] if row else 1), steps


class Steps(nn.Module):
    """Turns inputs as `steps_of` reads them into (N, features, L)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (N, L) as (N, 1, L), (N, C, L) as it is, (N, C, H, W) by its rows."""
        if x.dim() == 2:
            return x.unsqueeze(1)
        return x if x.dim() == 3 else x.movedim(3, 2).flatten(1, 2)


def within(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor | None:
    """Returns (N, 1, L) bool, which steps of x (N, C, L) are within; None: all are."""
    if lengths is None:
        return None
    return of_lengths.mask(lengths, x.shape[2]).unsqueeze(1)


def zeroed(x: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
    """Returns x (N, C, L) with zeros at the steps that are not within."""
    return x if inside is None else torch.where(inside, x, 0)


def last_step(x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Returns (N, C), what x (N, C, L) is at the last step of each sequence."""
    if lengths is None:
        return x[:, :, -1]
    at = (lengths - 1).view(-1, 1, 1).expand(-1, x.shape[1], 1)
    return x.gather(2, at).squeeze(2)


class StepNorm(nn.Module):
    """A normalisation of (N, channels, L), with statistics over the steps within alone.

    Zeros behind short sequences would pull a mean towards zero, by more the more a
    batch is padded. Where all sequences have L steps, it is `norm_layer`'s own.

    Args:
        norm: Which normalisation; "none" changes nothing.
        channels: C.
    """

    def __init__(self, norm: Norm, channels: int) -> None:
        super().__init__()
        self.norm = norm_layer(norm, channels, 1)

    def forward(
        self, x: torch.Tensor, inside: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns x normalised.

        Args:
            x: (N, C, L).
            inside: (N, 1, L) bool, which steps are within each sequence; None: all.
        """
        norm = self.norm
        if inside is not None and isinstance(norm, nn.GroupNorm):
            return _group_norm(norm, x, inside)
        if inside is not None and isinstance(norm, nn.BatchNorm1d) and self.training:
            return batch_norm(norm, x, inside)
        y: torch.Tensor = norm(x)
        return y


def _group_norm(
    norm: nn.GroupNorm, x: torch.Tensor, inside: torch.Tensor
) -> torch.Tensor:
    # (N, groups, C / groups, L)
    groups = torch.unflatten(x, 1, (norm.num_groups, -1))
    inside = inside.unsqueeze(1)  # (N, 1, 1, L)
    count = inside.sum((2, 3), keepdim=True) * groups.shape[2]
    mean = torch.where(inside, groups, 0).sum((2, 3), keepdim=True) / count
    centred = torch.where(inside, groups - mean, 0)
    variance = centred.square().sum((2, 3), keepdim=True) / count
    y = (centred * torch.rsqrt(variance + norm.eps)).flatten(1, 2)
    return y * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)


def batch_norm(
    norm: nn.BatchNorm1d, x: torch.Tensor, inside: torch.Tensor
) -> torch.Tensor:
    """Applies a layer in training, with statistics over the steps within alone.

    Args:
        norm: Its running statistics change in place, as torch keeps them.
        x: (N, C, L).
        inside: (N, 1, L) bool, which steps are within each sequence.
    """
    count = inside.sum()
    mean = torch.where(inside, x, 0).sum((0, 2), keepdim=True) / count  # (1, C, 1)
    centred = torch.where(inside, x - mean, 0)
    variance = centred.square().sum((0, 2), keepdim=True) / count
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    unbiased = variance.detach() * (count / (count - 1).clamp(min=1))
    kept, share = 1 - norm.momentum, norm.momentum
    norm.running_mean.mul_(kept).add_(mean.detach().flatten(), alpha=share)
    norm.running_var.mul_(kept).add_(unbiased.flatten(), alpha=share)
    norm.num_batches_tracked.add_(1)
    y = centred * torch.rsqrt(variance + norm.eps)
    return y * norm.weight.unsqueeze(1) + norm.bias.unsqueeze(1)

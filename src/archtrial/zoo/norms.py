"""The four normalisations that families offer under one option, `norm`.

Batch: Ioffe and Szegedy 2015 (arXiv 1502.03167). Layer: Ba, Kiros and Hinton
2016 (arXiv 1607.06450). Group: Wu and He 2018 (arXiv 1803.08494).
"""

from typing import Literal, TypeAlias

from torch import nn

__all__ = ["Norm", "norm_layer"]

Norm: TypeAlias = Literal["none", "batch", "layer", "group"]


def norm_layer(norm: Norm, channels: int, sides: int) -> nn.Module:
    """Returns a layer for activations of shape (N, channels, *sides).

    "layer" takes its mean and variance over all channels and positions of one
    example, "group" over a group of channels: as many groups as divide the
    channels, up to 8, and hold two values. Where only 1 does, the two are the same.

    Args:
        norm: Which normalisation; "none" changes nothing.
        channels: The number of channels, or of hidden units.
        sides: 0 for vectors, 1 for sequences, 2 for images.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels) if sides == 2 else nn.BatchNorm1d(channels)
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    groups = max(
        count
        for count in range(1, 9)
        # Of a vector's only value in a group nothing would be left.
        if channels % count == 0 and (sides or count == 1 or count < channels)
    )
    return nn.GroupNorm(groups, channels)

"""EfficientNet: depth, width and resolution grow together, from a network found by search.

Paper: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv
    1905.11946).
Authors: Mingxing Tan and Quoc Le, 2019.
Status: efficientnet_b0 and efficientnet_b1 are the paper's, with 5,288,548 and 7,794,184
    parameters, exactly; efficientnet_b2 has 9,109,994. The default is their first three
    stages, two blocks each, behind a convolution that keeps the sides, and ours, as are
    the form for series and the other switches.

What was new: compound scaling. Of twice the computation a deeper, a wider or a sharper-eyed
network alone makes little use; all three should grow, by factors of about 1.2, 1.1 and
1.15 each time, which the paper found on its smallest network (depth_multiplier,
width_multiplier, resolution).

What it took: inverted residual blocks with depthwise convolutions from MobileNetV2, some
of 5 x 5, chosen by a search for what is accurate and cheap (MnasNet, Tan et al. 2018);
squeeze-and-excitation from SE-ResNet; stochastic depth (Huang et al. 2016); the
activation x sigmoid(x) (silu).

What it costs: the fewest parameters and multiplications of its time for an accuracy, and
more time and memory than these numbers promise: depthwise convolutions at large
resolutions are bound by memory.

When to try it: where parameters count. It needs long training and a small learning rate
of its own; on small data a ResNet is mostly as good and quicker.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.depth import StochasticDepth, check_branches, rising
from archtrial.zoo.layers import Activation, Head, Spatial, SqueezeExcitation
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import (
    ORDERED,
    Count,
    Multiplier,
    Shape,
    Share,
    register,
)

__all__ = ["efficientnet"]

Convolution: TypeAlias = Literal["depthwise", "full"]
Stem: TypeAlias = Literal["cifar", "imagenet"]

# Of each stage (table 1): its channels for each of the first stage's, its kernel and its
# stride.
_TABLE = (
    (1, 3, 1),
    (1.5, 3, 2),
    (2.5, 5, 2),
    (5, 3, 2),
    (7, 5, 1),
    (12, 5, 2),
    (20, 3, 1),
)
# The stages where `depth` is one number.
_STAGES = 3
# Channels that a block reads for each that squeeze-and-excitation has inside.
_REDUCTION = 4


class _Block(nn.Module):
    """MBConv of the paper, (N, inputs, *sides) -> (N, outputs, *sides / stride)."""

    def __init__(self, branch: nn.Module, skip: bool, stochastic_depth: float) -> None:
        super().__init__()
        self.branch = branch
        self.skip = skip
        self.stochastic_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f: torch.Tensor = self.branch(x)
        return x + self.stochastic_depth(f) if self.skip else f


def _scaled(channels: float, multiplier: float) -> int:
    """Returns channels times a multiplier, as a multiple of 8 that is 90% at least."""
    if multiplier == 1:
        return round(channels)
    wanted = channels * multiplier
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((6, 8, 12)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def efficientnet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 2,
    width: Count = 8,
    depth_multiplier: Multiplier = 1.0,
    width_multiplier: Multiplier = 1.0,
    resolution: Count | None = None,
    expansion: Count = 6,
    stem: Stem = "cifar",
    convolution: Convolution = "depthwise",
    squeeze: bool = True,
    skip: bool = True,
    norm: Norm = "batch",
    activation: Activation = "silu",
    head: Head = "average",
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
) -> nn.Module:
    """Stages of inverted residual blocks, scaled in depth, width and resolution.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of the first three stages; or those of each stage, of
            which there are seven at most.
        width: Channels of the first stage; those of the others are in the paper's
            proportions, 16 : 24 : 40 : 80 : 112 : 192 : 320. The convolution before
            has twice as many, the one behind four times those of the last stage.
        depth_multiplier: Each stage has `depth` times this many blocks, rounded up.
        width_multiplier: Each stage has this many times its channels, rounded to
            multiples of 8.
        resolution: The side that inputs are resized to.
        expansion: How many times its input's channels a block has inside, but in the
            first stage.
        stem: What comes before the stages: a convolution of 3 x 3. "cifar": it keeps
            the sides; "imagenet": it halves them.
        convolution: How a block filters: "depthwise": each channel by itself. "full":
            each with all others.
        squeeze: Whether blocks scale their inner channels by what these all are on
            average (squeeze-and-excitation).
        skip: Whether a block adds its input to what it computes, where both have one
            shape: from the second block of a stage on.
        norm: The normalisation after each convolution.
        activation: The activation after each convolution but the projections.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of the linear layer's inputs that is dropped.
        stochastic_depth: The probability that the last block's branch is left out in
            training, by example; it rises from 0 in the first.

    Raises:
        ArmError: The input has no such shape, there are more than seven stages, or
            stochastic depth has no skip connection to leave.
    """
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    if not 1 <= len(stages) <= len(_TABLE):
        raise ArmError(
            f"efficientnet has from 1 to {len(_TABLE)} stages",
            f"depth = {list(stages)}",
            "Give one number for each, such as depth=[1, 2, 2].",
        )
    check_branches("efficientnet", skip, stochastic_depth)
    spatial = Spatial.of("efficientnet", input_shape, resolution=resolution)

    def convolved(
        inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> list[nn.Module]:
        made = spatial.convolution(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=norm == "none",  # a norm brings an offset of its own
        )
        layers.he_fan_out(made)
        return [made, spatial.norm(norm, outputs)]

    def block(
        inputs: int, outputs: int, kernel: int, stride: int, expansion: int, rate: float
    ) -> nn.Module:
        inside = inputs * expansion
        branch: list[nn.Module] = []
        if expansion > 1:
            branch = [*convolved(inputs, inside, 1), layers.activation(activation)]
        groups = inside if convolution == "depthwise" else 1
        branch += [
            *convolved(inside, inside, kernel, stride, groups),
            layers.activation(activation),
        ]
        if squeeze:
            squeezed = max(1, inputs // _REDUCTION)
            branch.append(SqueezeExcitation(inside, squeezed, activation))
        branch += convolved(inside, outputs, 1)
        adds = skip and (stride, inputs) == (1, outputs)
        return _Block(nn.Sequential(*branch), adds, rate if adds else 0.0)

    channels = _scaled(2 * width, width_multiplier)
    body = [
        *convolved(spatial.channels, channels, 3, 2 if stem == "imagenet" else 1),
        layers.activation(activation),
    ]
    counts = [math.ceil(depth_multiplier * blocks) for blocks in stages]
    rates = iter(rising(stochastic_depth, sum(counts)))
    for stage, blocks in enumerate(counts):
        share, kernel, stride = _TABLE[stage]
        outputs = _scaled(share * width, width_multiplier)
        for index in range(blocks):
            body.append(
                block(
                    channels,
                    outputs,
                    kernel,
                    stride if index == 0 else 1,
                    expansion if stage > 0 else 1,
                    next(rates),
                )
            )
            channels = outputs
    body += [*convolved(channels, 4 * channels, 1), layers.activation(activation)]
    return nn.Sequential(
        *spatial.opening(),
        *body,
        *spatial.head(head, spatial.after(*body), num_outputs, dropout),
    )

"""ConvNeXt: a ResNet brought up to date step by step, until it matches a transformer.

Paper: "A ConvNet for the 2020s" (arXiv 2201.03545).
Authors: Zhuang Liu, Hanzi Mao, Chao-Yuan Wu, Christoph Feichtenhofer, Trevor Darrell and
    Saining Xie, 2022.
Status: convnext_t, convnext_s, convnext_b and convnext_l are the paper's, with 28,589,128,
    50,223,688, 88,591,464 and 197,767,336 parameters, exactly, with its layer scale and
    its stochastic depth for ImageNet-1K. The small forms, series and token ids, and the
    switches are ours. Their layer scale starts at 0.1, where the paper has 1e-6, with
    which blocks begin with next to no effect: a short training ends before they have one.

What was new: nothing of its own. It is the sum of small steps from ResNet-50 towards
Swin Transformer, each measured: patches as the stem, depthwise convolutions of 7 x 7 in
front of a feed-forward layer of four times the width, one norm and one activation a
block, layer norm, layers of their own that halve the sides.

What it took: depthwise convolutions and inverted bottlenecks, as in MobileNetV2; skip
connections from ResNet; patches, layer norm over the channels of each position and GELU,
as in ViT; layer scale from CaiT (Touvron et al. 2021, arXiv 2103.17239).

What it costs: a depthwise convolution has few products and many reads: on processors
that are fast at products it is slower than its count of operations says.

When to try it: where a ResNet is good and there is time for a long training with
augmentation. Each step can be undone: convolution=full, kernel=3, norm=batch,
activation=relu, layer_scale=0.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo.attention import FeedForward, token_norm
from archtrial.zoo.attention import head as last
from archtrial.zoo.depth import StochasticDepth, check_branches, rising
from archtrial.zoo.layers import Activation, Head, Spatial, SqueezeExcitation
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["convnext"]

Convolution: TypeAlias = Literal["depthwise", "full"]
Kernel: TypeAlias = Literal[3, 5, 7, 9, 11]

# Units of a block's feed-forward layer for each channel.
_EXPANSION = 4
# Where `depth` is one number.
_STAGES = 3
# Of the channels that squeeze-and-excitation makes one of, as in SE-ResNet; fewer units
# could all be 0 for all examples.
_REDUCTION = 16
_FEWEST_SQUEEZED = 4


class _Tokens(nn.Module):
    """Positions one after another, channels last, (N, C, *sides) -> (N, L, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).mT


class _Mean(nn.Module):
    """The mean over positions, (N, L, C) -> (N, 1, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True)


class _Norm(nn.Module):
    """A norm of each position, (N, C, *sides) -> same."""

    def __init__(self, norm: Norm, channels: int) -> None:
        super().__init__()
        self.norm = token_norm(norm, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.norm(x.flatten(2).mT)  # (N, L, C)
        return tokens.mT.reshape(x.shape)


class _Block(nn.Module):
    """A convolution over positions, then layers over channels, (N, C, *sides) -> same."""

    def __init__(
        self,
        spatial: Spatial,
        channels: int,
        *,
        kernel: int,
        convolution: Convolution,
        norm: Norm,
        skip: bool,
        activation: Activation,
        squeeze: bool,
        layer_scale: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        groups = channels if convolution == "depthwise" else 1
        self.convolution = spatial.convolution(
            channels, channels, kernel, groups=groups
        )
        squeezed = max(_FEWEST_SQUEEZED, channels // _REDUCTION)
        self.squeeze = SqueezeExcitation(channels, squeezed) if squeeze else None
        self.norm = token_norm(norm, channels)
        self.feed_forward = FeedForward(
            channels, _EXPANSION * channels, activation=activation
        )
        self.scale = None
        if layer_scale:
            self.scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.skip = skip
        self.stochastic_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.convolution(x)
        if self.squeeze is not None:
            h = self.squeeze(h)
        h = self.feed_forward(self.norm(h.flatten(2).mT))  # (N, L, C)
        if self.scale is not None:
            h = h * self.scale
        branch: torch.Tensor = self.stochastic_depth(h.mT.reshape(x.shape))
        return x + branch if self.skip else branch


@register(
    space={
        "depth": Choice((1, 2)),
        "width": Choice((8, 16, 24)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def convnext(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 1,
    width: Count = 16,
    stem: Count = 2,
    kernel: Kernel = 7,
    convolution: Convolution = "depthwise",
    norm: Norm = "layer",
    skip: bool = True,
    activation: Activation = "gelu",
    squeeze: bool = False,
    layer_scale: Share = 0.1,
    head: Head = "average",
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Stages of depthwise convolutions with feed-forward layers; each halves the sides.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Each side
            has at least one position where the stem and each stage after the first have
            made it smaller.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of three stages; or those of each stage, as [3, 3, 9, 3].
        width: Channels of the first stage; each stage doubles them.
        stem: Positions along each side of the patches that the stem makes one of.
        kernel: Side of the blocks' convolutions.
        convolution: "depthwise": each channel by itself; "full": each from all.
        norm: Of each position by itself: "layer" over its channels, as in the paper,
            "group" over groups of them; "batch" over all positions of a batch.
        skip: Whether a block adds its input to what it computes.
        activation: The one activation of a block.
        squeeze: Whether each block scales its channels by what all of them are on
            average; see `se_resnet`.
        layer_scale: What each channel of a branch is multiplied by at first; it is
            learnt. 0: by nothing.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of the linear layer's inputs that is dropped.
        stochastic_depth: The probability that the last block's branch is left out in
            training, by example; it rises from 0 in the first.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, there is no stage, or stochastic depth
            has no skip connection to leave.
    """
    check_branches("convnext", skip, stochastic_depth)
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    if not stages:
        raise ArmError(
            "depth of convnext has the blocks of one stage at least", "depth = []"
        )
    spatial = Spatial.of(
        "convnext",
        input_shape,
        least=stem * 2 ** (len(stages) - 1),
        resolution=resolution,
        instead="Or take fewer stages and a smaller stem: depth=[1], stem=1.",
    )

    def halved(inputs: int, outputs: int, side: int) -> nn.Module:
        return spatial.convolution(inputs, outputs, side, stride=side, padding=0)

    rates = iter(rising(stochastic_depth, sum(stages)))
    body = [halved(spatial.channels, width, stem), _Norm(norm, width)]
    for stage, blocks in enumerate(stages):
        channels = width * 2**stage
        if stage > 0:
            body += [_Norm(norm, channels // 2), halved(channels // 2, channels, 2)]
        body += [
            _Block(
                spatial,
                channels,
                kernel=kernel,
                convolution=convolution,
                norm=norm,
                skip=skip,
                activation=activation,
                squeeze=squeeze,
                layer_scale=layer_scale,
                stochastic_depth=next(rates),
            )
            for _ in range(blocks)
        ]
    positions = math.prod(spatial.after(*body)[1:]) if head == "flatten" else 1
    return nn.Sequential(
        *spatial.opening(),
        *body,
        _Tokens(),
        *([_Mean()] if head == "average" else []),
        token_norm(norm, channels),
        nn.Flatten(),
        nn.Dropout(dropout),  # there even at 0: one structure, one fleet
        last(positions * channels, num_outputs),
    )

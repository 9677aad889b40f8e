"""MobileNetV2: wide inside, narrow between blocks, and convolutions channel by channel.

Paper: "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381).
Authors: Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov and Liang-Chieh
    Chen, 2018.
Status: mobilenet_v2_imagenet is the paper's table 2, with 3,504,872 parameters, exactly.
    The default is its first three stages, two blocks each, behind a convolution that
    keeps the sides, and ours, as are the form for series and the other switches.

What was new: the inverted residual block. A 1 x 1 convolution expands few channels six
times, a depthwise 3 x 3 one filters each by itself, another 1 x 1 one projects them back;
the skip connection leads from narrow to narrow, where there is little to keep in memory.
The projection is linear: a ReLU would destroy what few channels hold.

What it took: depthwise separable convolutions from MobileNet (Howard et al. 2017) and
Xception; skip connections from ResNet, whose bottlenecks are narrow inside.

What it costs: few parameters and multiplications for what it reaches. Depthwise convolutions
are bound by memory, so that it is less fast than its count of them says.

When to try it: for small processors. convolution=full filters all channels together,
some hundred times the weights in that layer.
"""

from typing import Literal, TypeAlias

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["mobilenet_v2"]

Convolution: TypeAlias = Literal["depthwise", "full"]
Stem: TypeAlias = Literal["cifar", "imagenet"]

# Of each stage (table 2): its channels for each of the first stage's, and its stride.
_TABLE = ((1, 1), (1.5, 2), (2, 2), (4, 2), (6, 1), (10, 2), (20, 1))
# The stages where `depth` is one number.
_STAGES = 3


class _Block(nn.Module):
    """An inverted residual, (N, inputs, *sides) -> (N, outputs, *sides / stride)."""

    def __init__(self, branch: nn.Module, skip: bool) -> None:
        super().__init__()
        self.branch = branch
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f: torch.Tensor = self.branch(x)
        return x + f if self.skip else f


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((6, 8, 12)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def mobilenet_v2(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 2,
    width: Count = 8,
    expansion: Count = 6,
    stem: Stem = "cifar",
    convolution: Convolution = "depthwise",
    linear: bool = True,
    skip: bool = True,
    norm: Norm = "batch",
    activation: Activation = "relu6",
    head: Head = "average",
    dropout: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Stages of blocks that expand, filter and project, with narrow ends.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of the first three stages; or those of each stage, of
            which there are seven at most.
        width: Channels of the first stage; those of the others are in the paper's
            proportions, 16 : 24 : 32 : 64 : 96 : 160 : 320. The convolution before
            has twice as many, the one behind four times those of the last stage.
        expansion: How many times its input's channels a block has inside, but in the
            first stage.
        stem: What comes before the stages: a convolution of 3 x 3. "cifar": it keeps
            the sides; "imagenet": it halves them.
        convolution: How a block filters: "depthwise": each channel by itself. "full":
            each with all others.
        linear: Whether nothing but a norm follows the projection; else the activation
            does, too.
        skip: Whether a block adds its input to what it computes, where both have one
            shape: from the second block of a stage on.
        norm: The normalisation after each convolution.
        activation: The activation after each convolution but the projections.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of the linear layer's inputs that is dropped.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, or there are more than seven stages.
    """
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    if not 1 <= len(stages) <= len(_TABLE):
        raise ArmError(
            f"mobilenet_v2 has from 1 to {len(_TABLE)} stages",
            f"depth = {list(stages)}",
            "Give one number for each, such as depth=[1, 2, 3].",
        )
    spatial = Spatial.of("mobilenet_v2", input_shape, resolution=resolution)

    def convolved(
        inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> list[nn.Module]:
        made = spatial.convolution(
            inputs,
            outputs,
            kernel,
            stride=stride,
            groups=groups,
            bias=norm == "none",  # a norm brings an offset of its own
        )
        layers.he_fan_out(made)
        return [made, spatial.norm(norm, outputs)]

    def block(inputs: int, outputs: int, stride: int, expansion: int) -> nn.Module:
        inside = inputs * expansion
        branch: list[nn.Module] = []
        if expansion > 1:
            branch = [*convolved(inputs, inside, 1), layers.activation(activation)]
        groups = inside if convolution == "depthwise" else 1
        branch += [
            *convolved(inside, inside, 3, stride, groups),
            layers.activation(activation),
            *convolved(inside, outputs, 1),
        ]
        if not linear:
            branch.append(layers.activation(activation))
        return _Block(nn.Sequential(*branch), skip and (stride, inputs) == (1, outputs))

    channels = 2 * width
    body = [
        *convolved(spatial.channels, channels, 3, 2 if stem == "imagenet" else 1),
        layers.activation(activation),
    ]
    for stage, blocks in enumerate(stages):
        share, stride = _TABLE[stage]
        outputs = round(share * width)
        for index in range(blocks):
            body.append(
                block(
                    channels,
                    outputs,
                    stride if index == 0 else 1,
                    expansion if stage > 0 else 1,
                )
            )
            channels = outputs
    body += [*convolved(channels, 4 * channels, 1), layers.activation(activation)]
    return nn.Sequential(
        *spatial.opening(),
        *body,
        *spatial.head(head, spatial.after(*body), num_outputs, dropout),
    )

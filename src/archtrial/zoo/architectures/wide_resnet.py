"""Wide ResNet: fewer and wider residual blocks, with dropout inside.

Paper: "Wide Residual Networks" (arXiv 1605.07146).
Authors: Sergey Zagoruyko and Nikos Komodakis, 2016.
Status: wide_resnet16_4, wide_resnet40_4 and wide_resnet28_10 are the paper's WRN-16-4,
    WRN-40-4 and WRN-28-10 for CIFAR-10: 2.7, 8.9 and 36.5 million parameters in its table,
    2,748,890, 8,949,210 and 36,479,194 here. The default of 10 layers, the form for series
    and the other switches are ours.

What was new: `widen`. Of residual networks with equally many parameters, those of 16
channels and a hundred layers and more learn no better than those of 16 to 40 layers and
several times the channels, which train several times faster; and dropout between the two
convolutions of a block, which its skip connection leads around.

What it took: from ResNet the block, with norm and activation before each convolution
(preactivation), and three stages for images of 32 x 32.

What it costs: parameters and multiplications grow with the square of `widen`, in
large convolutions that processors are good at.

When to try it: in place of a deeper ResNet. widen=1 is a residual network of preactivation;
with depth=2 against widen=2 the same money goes into the one or the other.
"""

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.depth import StochasticDepth, check_branches, rising
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["wide_resnet"]

_STAGES = 3


class _Block(nn.Module):
    """B(3, 3) of the paper, (N, inputs, *sides) -> (N, outputs, *sides / stride)."""

    def __init__(
        self,
        spatial: Spatial,
        inputs: int,
        outputs: int,
        *,
        stride: int,
        skip: bool,
        norm: Norm,
        activation: Activation,
        dropout: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(
            spatial.norm(norm, inputs), layers.activation(activation)
        )
        self.branch = nn.Sequential(
            _convolution(spatial, inputs, outputs, 3, norm, stride),
            spatial.norm(norm, outputs),
            layers.activation(activation),
            nn.Dropout(dropout),
            _convolution(spatial, outputs, outputs, 3, norm),
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth)
        self.skip = skip
        self.projection = (
            _convolution(spatial, inputs, outputs, 1, norm, stride)
            if skip and (stride, inputs) != (1, outputs)
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        f: torch.Tensor = self.branch(h)
        if not self.skip:
            return f
        around: torch.Tensor = x if self.projection is None else self.projection(h)
        left: torch.Tensor = self.stochastic_depth(f)
        return left + around


def _convolution(
    spatial: Spatial,
    inputs: int,
    outputs: int,
    kernel: int,
    norm: Norm,
    stride: int = 1,
) -> nn.Module:
    made = spatial.convolution(
        inputs,
        outputs,
        kernel,
        stride=stride,
        bias=norm == "none",  # a norm brings an offset of its own
    )
    nn.init.kaiming_normal_(made.weight)
    return made


@register(
    space={
        "depth": Choice((1, 2)),
        "widen": Choice((1, 2, 3)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def wide_resnet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 1,
    width: Count = 8,
    widen: Count = 2,
    skip: bool = True,
    norm: Norm = "batch",
    activation: Activation = "relu",
    head: Head = "average",
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Three stages of wide residual blocks, each but the first halving the sides.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of three stages: the paper's networks have 6 depth + 4
            layers. Or those of each stage, as [4, 4, 4].
        width: Channels of the first convolution, 16 in the paper.
        widen: How many times `width` the first stage has, the paper's k; each stage
            doubles it.
        skip: Whether a block adds its input to what it computes.
        norm: The normalisation before each convolution.
        activation: The activation before each convolution.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of values that is dropped between a block's convolutions.
        stochastic_depth: The probability that the last block's branch is left out in
            training, by example; it rises from 0 in the first.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, there is no stage, or stochastic depth
            has no skip connection to leave.
    """
    if depth == ():
        raise ArmError(
            "wide_resnet has at least one stage",
            "depth = []",
            "Give the blocks of each, such as depth=[2, 2, 2].",
        )
    check_branches("wide_resnet", skip, stochastic_depth)
    spatial = Spatial.of("wide_resnet", input_shape, resolution=resolution)
    body = [_convolution(spatial, spatial.channels, width, 3, norm)]
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    rates = iter(rising(stochastic_depth, sum(stages)))
    channels = width
    for stage, blocks in enumerate(stages):
        outputs = width * widen * 2**stage
        for index in range(blocks):
            body.append(
                _Block(
                    spatial,
                    channels,
                    outputs,
                    stride=2 if stage > 0 and index == 0 else 1,
                    skip=skip,
                    norm=norm,
                    activation=activation,
                    dropout=dropout,
                    stochastic_depth=next(rates),
                )
            )
            channels = outputs
    body += [spatial.norm(norm, channels), layers.activation(activation)]
    return nn.Sequential(
        *spatial.opening(),
        *body,
        *spatial.head(head, spatial.after(*body), num_outputs),
    )

"""DenseNet: each layer reads what all layers before it in its block have made.

Paper: "Densely Connected Convolutional Networks" (arXiv 1608.06993).
Authors: Gao Huang, Zhuang Liu, Laurens van der Maaten and Kilian Weinberger, 2016.
Status: densenet121 and densenet169 are the paper's, with 7,978,856 and 14,149,480
    parameters, exactly; densenet_bc100 is its DenseNet-BC of 100 layers and 12 channels
    for CIFAR-10, 0.8 million in its table and 769,162 here. The default of 14 layers,
    the form for series and the other switches are ours.

What was new: in place of being added, what a layer makes is put beside its input. Every
layer reads the features of all before it, adds a few channels of its own (the growth
rate, `width`), and is as near to the loss as the last.

What it took: from ResNet connections around layers, norm and activation before each
convolution, and the 1 x 1 convolution before that of 3 x 3; a transition between
blocks halves channels and sides.

What it costs: few parameters for what it learns, but much memory and time: every layer
reads and normalises all channels again.

When to try it: where data are few and parameters should be, too. skip=false hands on a
layer's own channels alone: a plain network of `width` channels, which has fewer
parameters; give it a larger `width` for a comparison at equal size.
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

__all__ = ["densenet"]

Pooling: TypeAlias = Literal["stride", "max", "average"]
Stem: TypeAlias = Literal["cifar", "imagenet"]

_BLOCKS = 3
# Channels between a layer's two convolutions for each that it adds.
_BOTTLENECK = 4


class _Layer(nn.Module):
    """Makes a few channels, (N, C, *sides) -> (N, C + width, *sides), or (N, width, ...)."""

    def __init__(self, layer: nn.Module, skip: bool) -> None:
        super().__init__()
        self.layer = layer
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.layer(x)
        return torch.cat([x, h], 1) if self.skip else h


@register(
    space={
        "depth": Choice((2, 3, 4)),
        "width": Choice((6, 8, 12)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def densenet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 2,
    width: Count = 8,
    stem: Stem = "cifar",
    bottleneck: bool = True,
    compression: Share = 0.5,
    skip: bool = True,
    norm: Norm = "batch",
    activation: Activation = "relu",
    pooling: Pooling = "average",
    head: Head = "average",
    dropout: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Blocks of layers that add channels; between blocks, transitions halve them.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Layers of each of three blocks; or those of each block, as [6, 12, 24, 16].
        width: Channels that each layer adds, the paper's growth rate k; the first
            convolution makes twice as many.
        stem: What comes before the blocks. "cifar": a convolution of 3 x 3. "imagenet":
            one of 7 x 7 with stride 2, and a max-pooling with stride 2.
        bottleneck: Whether a layer has a convolution of 1 x 1 to 4 `width` channels before
            that of 3 x 3, the paper's B.
        compression: The share of its channels that a transition leaves out, the paper's
            1 - theta.
        skip: Whether a layer hands on its input beside what it makes of it.
        norm: The normalisation before each convolution.
        activation: The activation before each convolution.
        pooling: What halves the sides in a transition: the average or the largest of
            neighbours, or the convolution's own stride.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of what each layer adds that is dropped.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, or there is no block.
    """
    if depth == ():
        raise ArmError(
            "densenet has at least one block",
            "depth = []",
            "Give the layers of each, such as depth=[2, 2, 2].",
        )
    spatial = Spatial.of("densenet", input_shape, resolution=resolution)

    def convolution(
        inputs: int, outputs: int, kernel: int, stride: int = 1
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

    def normalised(channels: int) -> list[nn.Module]:
        return [spatial.norm(norm, channels), layers.activation(activation)]

    def layer(inputs: int) -> nn.Module:
        made: list[nn.Module] = []
        read = inputs
        if bottleneck:
            read = _BOTTLENECK * width
            made = [*normalised(inputs), convolution(inputs, read, 1)]
        made += [*normalised(read), convolution(read, width, 3), nn.Dropout(dropout)]
        return _Layer(nn.Sequential(*made), skip)

    def transition(inputs: int, outputs: int) -> list[nn.Module]:
        made = [*normalised(inputs)]
        # A side that is odd keeps its last position, so that none becomes 0.
        if pooling == "stride":
            return [*made, convolution(inputs, outputs, 1, stride=2)]
        pool = spatial.max_pool if pooling == "max" else spatial.average_pool
        return [*made, convolution(inputs, outputs, 1), pool(2, ceil=True)]

    channels = 2 * width
    if stem == "cifar":
        body = [convolution(spatial.channels, channels, 3)]
    else:
        body = [
            convolution(spatial.channels, channels, 7, stride=2),
            *normalised(channels),
            spatial.max_pool(3, 2, padding=1),
        ]
    blocks = (depth,) * _BLOCKS if isinstance(depth, int) else depth
    for index, count in enumerate(blocks):
        if index > 0:
            kept = max(1, int(channels * (1 - compression)))
            body += transition(channels, kept)
            channels = kept
        for _ in range(count):
            body.append(layer(channels))
            channels = channels + width if skip else width
    body += normalised(channels)
    return nn.Sequential(
        *spatial.opening(),
        *body,
        *spatial.head(head, spatial.after(*body), num_outputs),
    )

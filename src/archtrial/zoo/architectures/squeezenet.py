"""SqueezeNet: AlexNet's accuracy on ImageNet with a fiftieth of its parameters.

Paper: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
    size" (arXiv 1602.07360), table 1 and figure 2; sections 5 and 6 for the switches.
Authors: Forrest Iandola, Song Han, Matthew Moskewicz, Khalid Ashraf, William Dally and
    Kurt Keutzer, 2016.
Status: `squeezenet1_0` has the paper's 1,248,424 parameters on 3 x 224 x 224 with 1,000
    classes, `squeezenet1_1` the 1,235,496 of the authors' later release. One detail is
    ours: no ReLU behind the maps of the classes, so that an output can be negative. Norm,
    flat head, 1-D, the stem "cifar" and other depths are ours, too; weights are drawn
    after He et al. 2015.

What was new: parameters as what is saved. A fire module squeezes its input into few
channels with 1 x 1 before it expands them with 1 x 1 and 3 x 3 side by side; sides are
halved late, so that most layers see large maps.
What it took: the modular design and 1 x 1 before 3 x 3 from GoogLeNet; maps of the classes
and their average from network-in-network; skip connections, as a variant, from ResNet.
What it costs: .82 billion multiplications an image of 224 x 224 (`squeezenet1_0`, more
than AlexNet) or .35 billion (`squeezenet1_1`): few parameters are not few operations.
When to try it: where the size of the weights matters and time does not; to ask what a
bottleneck, late halving or 3 x 3 in place of 1 x 1 is worth.
"""

from typing import Literal

import torch
from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["squeezenet"]

# (kernel, stride, padding, channels in units of `width`) of the first convolution.
_STEMS = {
    "cifar": (3, 1, 1, 1.0),
    "imagenet": (7, 2, 0, 1.5),
    "imagenet1_1": (3, 2, 0, 1.0),
}


class _Fire(nn.Module):
    """Squeezes and expands, (N, C, *sides) -> (N, expanded, *sides)."""

    def __init__(
        self, squeeze: nn.Sequential, expand: list[nn.Sequential], skip: bool
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.expand = nn.ModuleList(expand)
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.squeeze(x)
        h = torch.cat([expand(s) for expand in self.expand], 1)
        return x + h if self.skip else h


@register(
    space={
        "depth": Choice((2, 4)),
        "width": Choice((12, 24, 48)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def squeezenet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 4,
    width: Count = 24,
    reduction: Count = 8,
    pointwise: Share = 0.5,
    late: bool = True,
    skip: bool = False,
    stem: Literal["cifar", "imagenet", "imagenet1_1"] = "cifar",
    activation: Activation = "relu",
    pooling: Literal["stride", "max", "average"] = "max",
    norm: Norm = "none",
    head: Head = "average",
    dropout: Share = 0.5,
    resolution: Count | None = None,
) -> nn.Module:
    """Fire modules, of few channels and then many; the mean of a map for each class.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). By default every
            side has at least 4 positions.
        num_outputs: Classes, or 1 for regression.
        depth: Fire modules; 8 in the paper.
        width: Half the channels that the first two fire modules return, 64 in the paper;
            each further pair returns as many more.
        reduction: How many channels that a fire module returns there are for each one
            that it squeezes its input into (the paper's squeeze ratio is 1/8).
        pointwise: The share of a fire module's channels that come of 1 x 1 rather than of
            3 x 3.
        late: Whether sides are halved behind 3/8 and 7/8 of the fire modules, as in 1.0,
            or behind 1/4 and 1/2, as in 1.1.
        skip: Whether a fire module that changes neither channels nor sides is added to
            its input (the paper's simple bypass).
        stem: What comes before the fire modules. "cifar": a convolution of 3 x 3.
            "imagenet": the paper's, of 7 x 7 with a stride of 2, and a pooling, for sides
            of about 224. "imagenet1_1": the same of 3 x 3, and of 2/3 of the channels.
        activation: What follows each convolution, except that whose maps are averaged.
        pooling: What halves the sides: the largest or the average of three neighbours
            along each side, or a stride of 2 in the convolutions before.
        norm: What stands between each convolution and its activation.
        head: What becomes of the maps of the classes. "average": the mean over positions;
            "flatten": a linear layer with a weight for each position.
        dropout: The share of what the maps of the classes are made of that is dropped.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape, or is too small.
    """
    halved = (
        {depth * 3 // 8, depth * 7 // 8} if late else {depth // 4, depth // 2}
    )  # behind how many fire modules
    kernel, step, padding, factor = _STEMS[stem]
    poolings = len(halved) if stem == "cifar" else len(halved - {0}) + 1
    least = 1 if pooling == "stride" else 2**poolings
    spatial = Spatial.of(
        "squeezenet",
        input_shape,
        least=max(1, step * (least - 1) + kernel - 2 * padding),
        resolution=resolution,
    )
    if stem != "cifar":
        halved |= {0}

    def convolution(
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
    ) -> list[nn.Module]:
        return [
            spatial.convolution(
                inputs,
                outputs,
                kernel,
                stride=stride,
                padding=padding,
                bias=norm == "none",  # a norm brings an offset of its own
            ),
            spatial.norm(norm, outputs),
            layers.activation(activation),
        ]

    def fire(inputs: int, outputs: int, stride: int) -> _Fire:
        squeezed = max(1, round(outputs / reduction))
        ones = round(outputs * pointwise)
        expand = [
            nn.Sequential(*convolution(squeezed, channels, size, stride))
            for channels, size in ((ones, 1), (outputs - ones, 3))
            if channels
        ]
        keeps = inputs == outputs and stride == 1
        squeeze = nn.Sequential(*convolution(inputs, squeezed, 1))
        return _Fire(squeeze, expand, skip and keeps)

    channels = max(1, round(width * factor))
    features: list[nn.Module] = []
    for index in range(depth + 1):
        halves = index in halved
        stride = 2 if halves and pooling == "stride" else 1
        if index == 0:
            features += convolution(
                spatial.channels, channels, kernel, step * stride, padding
            )
        else:
            outputs = 2 * width * (1 + (index - 1) // 2)
            features.append(fire(channels, outputs, stride))
            channels = outputs
        if halves and pooling == "max":
            features.append(spatial.max_pool(3, 2, ceil=True))
        elif halves and pooling == "average":
            features.append(spatial.average_pool(3, 2, ceil=True))
    features.append(nn.Dropout(dropout))  # there even at 0: one structure, one fleet
    layers.he_normal(*features)
    features.append(spatial.convolution(channels, num_outputs, 1))
    if head == "average":
        last = [spatial.to_side(1), nn.Flatten()]
    else:
        last = spatial.head("flatten", spatial.after(*features), num_outputs)
    return nn.Sequential(*spatial.opening(), *features, *last)

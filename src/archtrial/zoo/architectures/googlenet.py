"""GoogLeNet: Inception blocks, kernels of several sizes side by side.

Paper: "Going Deeper with Convolutions" (arXiv 1409.4842), table 1 and figures 2 and 3.
Authors: Christian Szegedy, Wei Liu, Yangqing Jia, Pierre Sermanet, Scott Reed, Dragomir
    Anguelov, Dumitru Erhan, Vincent Vanhoucke and Andrew Rabinovich, 2014.
Status: `googlenet_imagenet` has the channels of table 1, without the auxiliary heads,
    which are thrown away after training, and without the normalisation of local
    responses, which has no weights: 6,998,552 parameters on 3 x 224 x 224 with 1,000
    classes, 6,990,272 weights and 8,280 offsets. That is what follows from the columns of
    table 1, and what Caffe's bvlc_googlenet has; the column "params" of table 1 itself is
    rounded and adds up to 6.8 million. (torchvision counts 6,624,904: it has batch
    normalisation in place of offsets, and kernels of 3 where table 1 has 5.) The small
    form takes the first blocks of each stage. Norm, flat head, 1-D, the stem "cifar" and
    the switches are ours; weights are drawn after He et al. 2015.

What was new: a block that does not choose a kernel. Convolutions of 1, 3 and 5 and a
pooling look at the same input, and their channels are put one behind the other; a
convolution of 1 x 1 before each makes few channels of many, which is what makes it
affordable.
What it took: convolutions of 1 x 1 and global average pooling from network-in-network;
the idea of filters at several scales from Serre et al. 2007.
What it costs: 1.6 billion multiplications an image of 224 x 224 and a ninth of AlexNet's
parameters; on small inputs many small layers, which are slower than their multiplications
say.
When to try it: to ask whether several kernels at once are worth anything over one of the
same width (parallel=false), and what the bottlenecks cost (bottleneck=false).
"""

from typing import Literal

import torch
from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["googlenet"]

# Table 1, of each block in each stage: channels of 1 x 1; of 3 x 3, reduced and after it;
# of 5 x 5, reduced and after it; behind the pooling. Further blocks have the last row.
_TABLE = (
    (
        (64, 96, 128, 16, 32, 32),  # 3a
        (128, 128, 192, 32, 96, 64),
    ),
    (
        (192, 96, 208, 16, 48, 64),  # 4a
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    (
        (256, 160, 320, 32, 128, 128),  # 5a
        (384, 192, 384, 48, 128, 128),
    ),
)
_WIDTH = 64  # of the first convolution in table 1


class _Inception(nn.Module):
    """Branches side by side, (N, C, *sides) -> (N, channels of all, *sides)."""

    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


@register(
    space={
        "depth": Choice((1, 2)),
        "width": Choice((4, 8, 16)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def googlenet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, Count, Count] = 1,
    width: Count = 8,
    parallel: bool = True,
    bottleneck: bool = True,
    stem: Literal["cifar", "imagenet"] = "cifar",
    activation: Activation = "relu",
    pooling: Literal["stride", "max", "average"] = "max",
    norm: Norm = "none",
    head: Head = "average",
    dropout: Share = 0.4,
    resolution: Count | None = None,
) -> nn.Module:
    """Three stages of Inception blocks, global average pooling and one linear layer.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). By default every
            side has at least 4 positions.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks: so many in each of the three stages, or a number for each stage.
        width: Channels of the stem, 64 in the paper; those of all blocks are scaled alike.
        parallel: Whether a block looks through kernels of 1, 3 and 5 and a pooling side
            by side. Without: through one kernel of 3, with as many channels as those have
            together.
        bottleneck: Whether convolutions of 1 x 1 make few channels of many before kernels
            of 3 and 5, and behind a block's pooling. Without: the paper's naive block.
        stem: What comes before the blocks. "cifar": a convolution of 3 x 3. "imagenet":
            the paper's three convolutions and two poolings, for sides of about 224.
        activation: What follows each convolution.
        pooling: What halves the sides between stages, and in the stem: the largest or the
            average of three neighbours along each side, or a stride of 2 in the
            convolutions before. (A block's own pooling is always of the largest.)
        norm: What stands between each convolution and its activation.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of the linear layer's inputs that is dropped.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape, or is too small.
    """
    depths = (depth, depth, depth) if isinstance(depth, int) else depth
    poolings = 2 + (2 if stem == "imagenet" else 0)
    least = 1 if pooling == "stride" else 2**poolings
    spatial = Spatial.of(
        "googlenet",
        input_shape,
        least=2 * least - 1 if stem == "imagenet" else least,
        resolution=resolution,
    )

    def scaled(channels: int) -> int:
        return max(1, round(channels * width / _WIDTH))

    def convolution(
        inputs: int, outputs: int, kernel: int, stride: int = 1
    ) -> list[nn.Module]:
        return [
            spatial.convolution(
                inputs,
                outputs,
                kernel,
                stride=stride,
                bias=norm == "none",  # a norm brings an offset of its own
            ),
            spatial.norm(norm, outputs),
            layers.activation(activation),
        ]

    def halved() -> list[nn.Module]:
        if pooling == "max":
            return [spatial.max_pool(3, 2, ceil=True)]
        return [spatial.average_pool(3, 2, ceil=True)] if pooling == "average" else []

    def block(inputs: int, row: tuple[int, ...], stride: int) -> tuple[_Inception, int]:
        """Returns a block and the channels that it has in the end."""
        one, before3, three, before5, five, pooled = map(scaled, row)
        if not parallel:
            outputs, before = one + three + five + pooled, before3 + before5
            single = (
                [
                    *convolution(inputs, before, 1),
                    *convolution(before, outputs, 3, stride),
                ]
                if bottleneck
                else convolution(inputs, outputs, 3, stride)
            )
            return _Inception([nn.Sequential(*single)]), outputs
        largest = spatial.max_pool(3, stride, 1)
        if bottleneck:
            branches = [
                convolution(inputs, one, 1, stride),
                [
                    *convolution(inputs, before3, 1),
                    *convolution(before3, three, 3, stride),
                ],
                [
                    *convolution(inputs, before5, 1),
                    *convolution(before5, five, 5, stride),
                ],
                [largest, *convolution(inputs, pooled, 1)],
            ]
        else:
            pooled = inputs
            branches = [
                convolution(inputs, one, 1, stride),
                convolution(inputs, three, 3, stride),
                convolution(inputs, five, 5, stride),
                [largest],
            ]
        made = _Inception([nn.Sequential(*branch) for branch in branches])
        return made, one + three + five + pooled

    twice = 2 if pooling == "stride" else 1
    channels = scaled(192)
    if stem == "cifar":
        features = convolution(spatial.channels, channels, 3)
    else:
        features = [
            *convolution(spatial.channels, width, 7, 2 * twice),  # 224 -> 112
            *halved(),  # -> 56
            *convolution(width, width, 1),
            *convolution(width, channels, 3, twice),
            *halved(),  # -> 28
        ]
    for stage, (rows, blocks) in enumerate(zip(_TABLE, depths, strict=True)):
        for index in range(blocks):
            ends = index == blocks - 1 and stage < 2
            row = rows[min(index, len(rows) - 1)]
            made, channels = block(channels, row, twice if ends else 1)
            features.append(made)
        if stage < 2:
            features += halved()
    layers.he_normal(*features)
    shape = (
        (channels, *spatial.sides) if head == "average" else spatial.after(*features)
    )
    return nn.Sequential(
        *spatial.opening(), *features, *spatial.head(head, shape, num_outputs, dropout)
    )

"""Network in network: convolutions of 1 x 1, and an average in place of the classifier.

Paper: "Network In Network" (arXiv 1312.4400), sections 3 and 4.
Authors: Min Lin, Qiang Chen and Shuicheng Yan, 2013.
Status: the paper names no widths; those of the authors' own CIFAR-10 and ImageNet nets
    are here: 966,986 parameters on 3 x 32 x 32 with 10 classes (`nin_cifar`), 7,595,176
    on 3 x 224 x 224 with 1,000 (`nin_imagenet`). Two details are ours: no ReLU behind the
    maps of the classes, so that an output can be negative, and poolings of one kind, where
    the second of their CIFAR-10 net averages. Norm, 1-D and other depths are ours, too;
    weights are drawn after He et al. 2015.

What was new: a convolution of 1 x 1 is a fully connected layer at each position, which
makes more of a filter's answers than one ReLU; and global average pooling, one map for
each class, does without the fully connected layers that hold most of AlexNet's weights.
What it took: overlapping pooling, ReLU and dropout from AlexNet; a richer filter from
maxout (Goodfellow et al. 2013).
What it costs: .22 billion multiplications an image of 32 x 32 (`nin_cifar`), half as many
again as without the layers of 1 x 1; an eighth of AlexNet's parameters on ImageNet.
When to try it: to ask what global average pooling and layers of 1 x 1 are worth, both of
which became parts of GoogLeNet, SqueezeNet, ResNet and all that came after.
"""

from typing import Literal

from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["nin"]

# Of each block its kernel, and of its three layers the channels in units of `width`;
# further blocks have the last row.
_BLOCKS: dict[str, tuple[tuple[int, tuple[float, float, float]], ...]] = {
    "cifar": (
        (5, (1, 5 / 6, 1 / 2)),
        (5, (1, 1, 1)),
        (3, (1, 1, 1)),
    ),
    "imagenet": (
        (11, (1, 1, 1)),
        (5, (8 / 3, 8 / 3, 8 / 3)),
        (3, (4, 4, 4)),
        (3, (32 / 3, 32 / 3, 32 / 3)),
    ),
}


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((12, 24, 48)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def nin(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 3,
    width: Count = 24,
    pointwise: bool = True,
    stem: Literal["cifar", "imagenet"] = "cifar",
    activation: Activation = "relu",
    pooling: Literal["stride", "max", "average"] = "max",
    norm: Norm = "none",
    head: Head = "average",
    dropout: Share = 0.5,
    resolution: Count | None = None,
) -> nn.Module:
    """Blocks of a convolution and two of 1 x 1; the mean of a map for each class.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). By default every
            side has at least 4 positions.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks, with a pooling between each two.
        width: Channels of the first convolution. With the stem "cifar" all convolutions
            have as many, except those of 1 x 1 in the first block: 5/6 and 1/2; with
            "imagenet" those of further blocks have 8/3, 4 and 32/3 times as many.
        pointwise: Whether each block's convolution is followed by convolutions of 1 x 1.
            Without: it has the channels that those return.
        stem: The first blocks. "cifar": kernels of 5 and 5. "imagenet": of 11, with a
            stride of 4, and 5, for sides of about 224. Further ones have kernels of 3.
        activation: What follows each convolution, except that whose maps are averaged.
        pooling: What halves the sides between blocks: the largest or the average of three
            neighbours along each side, or a stride of 2 in the convolution before.
        norm: What stands between each convolution and its activation.
        head: What becomes of the maps of the classes. "average": the mean over positions;
            "flatten": a linear layer with a weight for each position.
        dropout: The share of what is dropped behind each pooling; of one block alone, of
            what the maps of the classes are made of.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape, or is too small.
    """
    least = 1 if pooling == "stride" else 2 ** (depth - 1)
    if stem == "imagenet":
        least = 4 * (least - 1) + 11
    spatial = Spatial.of("nin", input_shape, least=least, resolution=resolution)
    features: list[nn.Module] = []
    channels = spatial.channels

    def convolve(outputs: int, kernel: int, stride: int, padding: int) -> None:
        nonlocal channels
        convolution = spatial.convolution(
            channels,
            outputs,
            kernel,
            stride=stride,
            padding=padding,
            bias=norm == "none",  # a norm brings an offset of its own
        )
        features.extend(
            [convolution, spatial.norm(norm, outputs), layers.activation(activation)]
        )
        channels = outputs

    for index in range(depth):
        kernel, factors = _BLOCKS[stem][min(index, len(_BLOCKS[stem]) - 1)]
        first, *further = [max(1, round(width * factor)) for factor in factors]
        if not pointwise:
            first, further = further[-1], []
        ends = index == depth - 1
        opens = index == 0 and stem == "imagenet"
        stride = 2 if pooling == "stride" and not ends else 1
        convolve(
            first, kernel, stride * (4 if opens else 1), 0 if opens else kernel // 2
        )
        # In the last block the maps of the classes are the second of 1 x 1.
        for outputs in further[:1] if ends else further:
            convolve(outputs, 1, 1, 0)
        if not ends:
            if pooling == "max":
                features.append(spatial.max_pool(3, 2, ceil=True))
            elif pooling == "average":
                features.append(spatial.average_pool(3, 2, ceil=True))
        if not ends or depth == 1:
            features.append(
                nn.Dropout(dropout)
            )  # there even at 0: one structure, one fleet
    layers.he_normal(*features)
    features.append(spatial.convolution(channels, num_outputs, 1))
    if head == "average":
        last = [spatial.to_side(1), nn.Flatten()]
    else:
        last = spatial.head("flatten", spatial.after(*features), num_outputs)
    return nn.Sequential(*spatial.opening(), *features, *last)

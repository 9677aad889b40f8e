"""LeNet-5: two convolutions, each with a pooling, and three fully connected layers.

Paper: "Gradient-Based Learning Applied to Document Recognition", Proceedings of the
    IEEE 86 (1998), section II and figure 2.
Authors: Yann LeCun, Leon Bottou, Yoshua Bengio and Patrick Haffner, 1998.
Status: the common form with full connections, 61,706 parameters on 1 x 32 x 32 with 10
    classes. The paper's own has about 60,000: its second convolution reads only some of
    the first one's channels, each pooling has two trainable values a channel, and its
    outputs are distances to drawn digits. Neither has its initial weights, which are
    PyTorch's. Norm, dropout, average head, 1-D and other depths are ours.

What was new: gradients alone learn features and classifier, end to end, at the size of a
product that read cheques. Three ideas hold for all families since: local receptive
fields, weights shared over positions, and pooling, which gives up where something is.
What it took: its layers from LeCun et al. 1989; local fields and their alternation with
pooling from Fukushima's neocognitron of 1980, which did not learn by gradients.
What it costs: 0.4 million multiplications an image, nearly nothing.
When to try it: on small greyscale images, as the least that a convolutional network is.
"""

from typing import Literal

from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["lenet"]

# A digit of 28 x 28 stands in a field of 32 x 32, so that the ends of its strokes can be
# in the middle of a receptive field of the second convolution (page 7 of the paper).
_FIELD = 32


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((6, 12, 24)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def lenet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 6,
    hidden: tuple[Count, ...] = (120, 84),
    activation: Activation = "tanh",
    pooling: Literal["stride", "max", "average"] = "average",
    norm: Norm = "none",
    head: Head = "flatten",
    dropout: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Convolutions of 5 with tanh and average pooling, then fully connected layers.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Sides of less than
            32 positions stand in the middle of 32, with zeros around, as the paper's
            digits of 28 x 28 do.
        num_outputs: Classes, or 1 for regression.
        depth: Convolutions. The first two have no padding, and their sides are halved;
            those after them keep sides and channels.
        width: Channels of the first convolution; the others have 8/3 times as many.
        hidden: Units of the fully connected layers before the last; []: none.
        activation: What follows each convolution and hidden layer.
        pooling: What halves the sides: the largest or the average of two neighbours (of
            four, in an image), or a stride of 2 in the convolution before.
        norm: What stands between each convolution and its activation.
        head: "flatten": a weight for each position; "average": the mean over positions.
        dropout: The share of each hidden layer's units that is dropped; without hidden
            layers, of the last layer's inputs.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape.

    Example:
        >>> module = lenet((1, 32, 32), 10)
        >>> sum(p.numel() for p in module.parameters())
        61706
    """
    spatial = Spatial.of("lenet", input_shape, resolution=resolution)
    features = _field(spatial.sides)
    channels = spatial.channels
    for index in range(depth):
        outputs = width if index == 0 else max(1, round(width * 8 / 3))
        halves = index < 2
        features += [
            spatial.convolution(
                channels,
                outputs,
                5,
                stride=2 if halves and pooling == "stride" else 1,
                padding=0 if halves else 2,
                bias=norm == "none",  # a norm brings an offset of its own
            ),
            spatial.norm(norm, outputs),
            layers.activation(activation),
        ]
        if halves and pooling == "max":
            features.append(spatial.max_pool(2))
        elif halves and pooling == "average":
            features.append(spatial.average_pool(2))
        channels = outputs
    return nn.Sequential(
        *spatial.opening(),
        *features,
        *spatial.head(
            head,
            spatial.after(*features),
            num_outputs,
            dropout,
            hidden=hidden,
            between=activation,
        ),
    )


def _field(sides: Shape) -> list[nn.Module]:
    """Returns the zeros around inputs of less than 32 positions, if there are any."""
    missing = [max(0, _FIELD - side) for side in sides]
    # The last side comes first in a padding; of an odd number the end has one more.
    padding = [n for m in reversed(missing) for n in (m // 2, m - m // 2)]
    if not any(padding):
        return []
    if len(sides) == 1:
        return [nn.ZeroPad1d((padding[0], padding[1]))]
    return [nn.ZeroPad2d((padding[0], padding[1], padding[2], padding[3]))]

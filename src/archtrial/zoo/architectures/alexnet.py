"""AlexNet: five convolutions with ReLU, and most parameters in fully connected layers.

Paper: "One weird trick for parallelizing convolutional neural networks" (arXiv
    1404.5997), the one-column form; the network of "ImageNet Classification with Deep
    Convolutional Neural Networks" (NeurIPS 2012) is divided between two GPUs.
Authors: Alex Krizhevsky, 2014; Alex Krizhevsky, Ilya Sutskever and Geoffrey Hinton, 2012.
Status: `alexnet_imagenet` is the one-column form as it is implemented everywhere,
    61,100,840 parameters on 3 x 224 x 224 with 1,000 classes: with 256 channels in the
    fourth convolution, where the paper has 384, and without a normalisation of local
    responses. The stem "cifar", norm, average head, 1-D and other depths are ours;
    weights are drawn after He et al. 2015, where the authors have a standard deviation of
    .01 or .005 whatever the layer.

What was new: that depth, data and GPUs are enough. It took the error of the best five
guesses on ImageNet from 26 to 15 per cent. Its ReLU trains several times as fast as tanh;
dropout holds 59 million fully connected weights; its poolings overlap.
What it took: the alternation of convolution and pooling from LeNet; ReLU from Nair and
Hinton 2010; dropout from Hinton et al. 2012.
What it costs: .71 billion multiplications an image of 224 x 224, but 61 million
parameters, of which 2.5 million are in its convolutions.
When to try it: as the plain network with large kernels; to ask what ReLU, overlap or
dropout are worth. VGG and everything after it do more with less.
"""

from typing import Literal

from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["alexnet"]

# Of each convolution, in units of `width`; further ones have the last.
_CHANNELS = (1, 3, 6, 4, 4)
_KERNELS = (5, 3, 3, 3)  # from the second convolution on
# (kernel, stride, padding) of the first.
_STEMS = {"cifar": (5, 1, 2), "imagenet": (11, 4, 2)}


@register(
    space={"width": Choice((4, 8, 16)), "dropout": Real(0.0, 0.5)},
    kinds=ORDERED,
)
def alexnet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 5,
    width: Count = 8,
    hidden: tuple[Count, ...] = (64, 64),
    stem: Literal["cifar", "imagenet"] = "cifar",
    activation: Activation = "relu",
    pooling: Literal["stride", "max", "average"] = "max",
    overlap: bool = True,
    norm: Norm = "none",
    head: Head = "flatten",
    dropout: Share = 0.5,
    resolution: Count | None = None,
) -> nn.Module:
    """Convolutions with ReLU and overlapping pooling, then fully connected layers.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). By default every
            side has at least 15 positions.
        num_outputs: Classes, or 1 for regression.
        depth: Convolutions: the second with a kernel of 5, those after it of 3. The sides
            are halved behind the first, the second and the last.
        width: Channels of the first convolution; the others have 3, 6, 4 and 4 times as
            many, and further ones 4 times.
        hidden: Units of the fully connected layers before the last; []: none.
        stem: The first convolution. "cifar": of 5 x 5. "imagenet": the paper's, of
            11 x 11 with a stride of 4, for sides of about 224.
        activation: What follows each convolution and hidden layer.
        pooling: What halves the sides: the largest or the average of neighbours, or a
            stride of 2 in the convolution before.
        overlap: Whether poolings look at three neighbours along each side, and so share
            some, or at two.
        norm: What stands between each convolution and its activation.
        head: "flatten": a weight for each position; "average": the mean over positions.
        dropout: The share of each hidden layer's units that is dropped; without hidden
            layers, of the last layer's inputs.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape, or is too small.
    """
    kernel, step, padding = _STEMS[stem]
    window = 3 if overlap else 2
    halved = {0, min(1, depth - 1), depth - 1}  # those with a pooling behind them
    least = 1
    if pooling != "stride":
        for _ in halved:
            least = 2 * (least - 1) + window
    spatial = Spatial.of(
        "alexnet",
        input_shape,
        least=max(1, step * (least - 1) + kernel - 2 * padding),
        resolution=resolution,
    )
    features: list[nn.Module] = []
    channels = spatial.channels
    for index in range(depth):
        row = min(index, len(_CHANNELS) - 1)
        outputs = _CHANNELS[row] * width
        stride = 2 if index in halved and pooling == "stride" else 1
        features += [
            spatial.convolution(
                channels,
                outputs,
                kernel if index == 0 else _KERNELS[row - 1],
                stride=stride * (step if index == 0 else 1),
                padding=padding if index == 0 else None,
                bias=norm == "none",  # a norm brings an offset of its own
            ),
            spatial.norm(norm, outputs),
            layers.activation(activation),
        ]
        if index in halved and pooling == "max":
            features.append(spatial.max_pool(window, 2))
        elif index in halved and pooling == "average":
            features.append(spatial.average_pool(window, 2))
        channels = outputs
    *hidden_layers, last = spatial.head(
        head,
        spatial.after(*features),
        num_outputs,
        dropout,
        hidden=hidden,
        between=activation,
    )
    layers.he_normal(*features, *hidden_layers)
    return nn.Sequential(*spatial.opening(), *features, *hidden_layers, last)

"""VGG: nothing but convolutions of 3 x 3, in stages whose channels double.

Paper: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv
    1409.1556), configurations A, B, D and E of table 1.
Authors: Karen Simonyan and Andrew Zisserman, 2014.
Status: the paper's parameters on 3 x 224 x 224 with 1,000 classes, exactly: 132,863,336
    (`vgg11`), 133,047,848 (`vgg13`), 138,357,544 (`vgg16`) and 143,667,240 (`vgg19`). The
    paper trained the shallow form first and went on from its weights; here weights are
    drawn after He et al. 2015, which needs no such start. Norm, average head, 1-D and the
    small form of three stages are ours.

What was new: depth by itself. Two convolutions of 3 x 3 see what one of 5 x 5 sees, with
fewer weights and one more ReLU, so a plan of 19 layers is one rule instead of a list of
kernels. Doubling the channels where the sides are halved is everybody's rule since.
What it took: the plan, ReLU and dropout from AlexNet; small kernels from Ciresan et al.
2011.
What it costs: 15.5 billion multiplications an image (`vgg16`), most in the first stages;
124 of its 138 million parameters are fully connected, and head="average" with hidden=[]
does without.
When to try it: as the plain deep network that others are measured by. At 19
layers it gains no more; residual networks began with that.
"""

from typing import Literal

from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["vgg"]

_STAGES = 3  # of the small form
_WIDEST = 8  # times the first stage's channels


@register(
    space={
        "depth": Choice((1, 2)),
        "width": Choice((4, 8, 16)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def vgg(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 2,
    width: Count = 8,
    hidden: tuple[Count, ...] = (64, 64),
    kernel: Literal[3, 5, 7] = 3,
    activation: Activation = "relu",
    pooling: Literal["stride", "max", "average"] = "max",
    norm: Norm = "none",
    head: Head = "flatten",
    dropout: Share = 0.5,
    resolution: Count | None = None,
) -> nn.Module:
    """Stages of small convolutions, each ended by a pooling, and fully connected layers.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Every side has at
            least 8 positions, or 2 to the power of the number of stages.
        num_outputs: Classes, or 1 for regression.
        depth: Convolutions: so many in each of three stages, or a number for each stage.
        width: Channels of the first stage; each stage doubles them, up to 8 times.
        hidden: Units of the fully connected layers before the last; []: none.
        kernel: Of all convolutions.
        activation: What follows each convolution and hidden layer.
        pooling: What halves the sides behind each stage: the largest or the average of
            two neighbours (of four, in an image), or a stride of 2 in its last convolution.
        norm: What stands between each convolution and its activation.
        head: "flatten": a weight for each position; "average": the mean over positions.
        dropout: The share of each hidden layer's units that is dropped; without hidden
            layers, of the last layer's inputs.
        resolution: The side that inputs are resized to; None: they stay as they are.

    Raises:
        ArmError: The input has no such shape, or is too small.
    """
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    if not stages:
        raise ArmError("depth of vgg has a number for one stage at least", "[]")
    spatial = Spatial.of(
        "vgg",
        input_shape,
        least=1 if pooling == "stride" else 2 ** len(stages),
        resolution=resolution,
    )
    features: list[nn.Module] = []
    channels = spatial.channels
    for stage, convolutions in enumerate(stages):
        outputs = width * min(2**stage, _WIDEST)
        for index in range(convolutions):
            ends = index == convolutions - 1
            features += [
                spatial.convolution(
                    channels,
                    outputs,
                    kernel,
                    stride=2 if ends and pooling == "stride" else 1,
                    bias=norm == "none",  # a norm brings an offset of its own
                ),
                spatial.norm(norm, outputs),
                layers.activation(activation),
            ]
            channels = outputs
        if pooling == "max":
            features.append(spatial.max_pool(2))
        elif pooling == "average":
            features.append(spatial.average_pool(2))
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

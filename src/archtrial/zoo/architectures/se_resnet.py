"""SE-ResNet: each block scales its channels by what all of them are on average.

Paper: "Squeeze-and-Excitation Networks" (arXiv 1709.01507).
Authors: Jie Hu, Li Shen, Samuel Albanie, Gang Sun and Enhua Wu, 2017.
Status: se_resnet50 is the paper's, with 28,088,024 parameters: resnet50's 25,557,032,
    2,514,944 weights of the two linear layers in each block (the paper's equation 5 with a
    reduction of 16: 2 / 16 of the squared channels of 3 blocks of 256, 4 of 512, 6 of 1024
    and 3 of 2048), and their 16,048 biases. Small forms, series and switches are ours.

What was new: squeeze-and-excitation. A block's channels are averaged over all positions,
two small linear layers and a sigmoid make a factor from 0 to 1 of each, and the block's
output is multiplied by it: which features matter depends on the whole input.

What it took: all else from ResNet; gates, as highway networks and recurrent cells have.

What it costs: a tenth more parameters, most of them in the last stage, and hardly any
multiplications; two products too small for a GPU in each block.

When to try it: where a small convolution sees little of the input at once. squeeze=false
is the residual network without it.
"""

from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo.architectures.resnet import (
    Block,
    Shortcut,
    Stem,
    residual_network,
)
from archtrial.zoo.layers import Activation, Head
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["se_resnet"]


@register(
    space={
        "depth": Choice((1, 2)),
        "width": Choice((8, 12, 16)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def se_resnet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 1,
    width: Count = 16,
    block: Block = "basic",
    stem: Stem = "cifar",
    squeeze: bool = True,
    reduction: Count = 4,
    skip: bool = True,
    shortcut: Shortcut = "padding",
    norm: Norm = "batch",
    activation: Activation = "relu",
    head: Head = "average",
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """A residual network whose blocks scale their channels by what these all are.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of three stages; or those of each stage, as [2, 2, 2, 2].
        width: Channels of the stem and of the first stage; each stage doubles them.
        block: "basic": two convolutions of 3 x 3. "bottleneck": one between two of
            1 x 1, of which the last has four times the channels.
        stem: What comes before the stages. "cifar": a convolution of 3 x 3.
            "imagenet": one of 7 x 7 with stride 2, and a max-pooling with stride 2.
        squeeze: Whether blocks have squeeze-and-excitation.
        reduction: Channels that it squeezes into one; four are left at least.
        skip: Whether a block adds its input to what it computes.
        shortcut: How a skip connection changes the shape. "padding": positions are
            left out, channels of zeros are added. "projection": by a convolution of
            1 x 1.
        norm: The normalisation after each convolution.
        activation: The activation after each convolution, and between squeeze and
            excitation.
        head: "average": the mean over positions; "flatten": a weight for each position.
        dropout: The share of the linear layer's inputs that is dropped.
        stochastic_depth: The probability that the last block's branch is left out in
            training, by example; it rises from 0 in the first.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, there is no stage, or stochastic depth
            has no skip connection to leave.
    """
    return residual_network(
        "se_resnet",
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        block=block,
        stem=stem,
        skip=skip,
        shortcut=shortcut,
        preactivation=False,
        norm=norm,
        activation=activation,
        reduction=reduction if squeeze else None,
        head=head,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        resolution=resolution,
    )

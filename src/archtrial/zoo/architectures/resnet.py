"""ResNet: a block learns what to add to its input, which a skip connection carries on.

Paper: "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), and for
    preactivation "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027).
Authors: Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun, 2015 and 2016.
Status: resnet18, resnet34 and resnet50 are the paper's, with 11,689,512, 21,797,672 and
    25,557,032 parameters, exactly; a bottleneck has its stride in the 3 x 3 convolution,
    as everybody has it since, and not in the 1 x 1 before it. resnet20 and
    resnet56 are the paper's for CIFAR-10, whose shortcuts have no parameters. The
    default of 8 layers is their smallest sibling, and ours, as are the form for series
    and the other switches.

What was new: a stack of layers computes f(x) + x. Where nothing has to be changed f need
only become 0, and gradients reach the first layers through the identity. Before it,
networks of more than some 20 layers trained worse than shallower ones.

What it took: stages of 3 x 3 convolutions which halve the sides and double the channels,
as in VGG; batch normalisation after each; global average pooling in place of fully
connected layers, as in network-in-network. Highway networks had such connections, with
gates.

What it costs: no parameter with shortcut=padding, and no multiplication; the input of a
block is kept until its end.

When to try it: first, for images. skip=false is the same network without its skip
connections: the paper's plain network, which on CIFAR-10 came close with 20 layers and
fell behind with 56.
"""

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.depth import StochasticDepth, check_branches, rising
from archtrial.zoo.layers import Activation, Head, Spatial, SqueezeExcitation
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["residual_network", "resnet"]

Block: TypeAlias = Literal["basic", "bottleneck"]
Shortcut: TypeAlias = Literal["padding", "projection"]
Stem: TypeAlias = Literal["cifar", "imagenet"]

# Channels of a block's output for each of its 3 x 3 convolutions.
_EXPANSION = {"basic": 1, "bottleneck": 4}
# Where `depth` is one number.
_STAGES = 3
# Fewer ReLUs between squeeze and excitation could all be 0 for all examples.
_FEWEST_SQUEEZED = 4


class _Padding(nn.Module):
    """A shortcut without parameters, (N, C, *sides) -> (N, C + more, *sides / stride).

    It keeps the positions that a stride keeps; new channels are 0 (option A).
    """

    def __init__(self, spatial: Spatial, more: int, stride: int) -> None:
        super().__init__()
        self.positions = spatial.average_pool(1, stride)
        self.added = (0, 0) * spatial.dimensions + (0, more)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(self.positions(x), self.added)


class _Block(nn.Module):
    """A branch and what leads around it, (N, C, *sides) -> (N, outputs, *sides / stride).

    Args:
        first: What branch and projection share: the preactivation, or nothing.
        branch: f.
        shortcut: What leads around f, or nothing does.
        projects: Whether the shortcut is a projection.
        last: Comes after the addition.
        stochastic_depth: The probability that f is left out in training.
    """

    def __init__(
        self,
        first: nn.Module,
        branch: nn.Module,
        shortcut: nn.Module | None,
        projects: bool,
        last: nn.Module,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        self.first = first
        self.branch = branch
        self.shortcut = shortcut
        self.projects = projects
        self.last = last
        self.stochastic_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        f: torch.Tensor = self.branch(h)
        if self.shortcut is not None:
            f = self.stochastic_depth(f) + self.shortcut(h if self.projects else x)
        outputs: torch.Tensor = self.last(f)
        return outputs


def residual_network(
    name: str,
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: int | tuple[int, ...],
    width: int,
    block: Block,
    stem: Stem,
    skip: bool,
    shortcut: Shortcut,
    preactivation: bool,
    norm: Norm,
    activation: Activation,
    reduction: int | None,
    head: Head,
    dropout: float,
    stochastic_depth: float,
    resolution: int | None,
) -> nn.Module:
    """Returns a residual network: a stem, stages of blocks, a head.

    The options are those of `resnet`, which says what they are. `name` is that of the
    family, for messages; squeeze-and-excitation makes one channel of `reduction`, and
    is left out where that is None.

    Raises:
        ArmError: The input has no such shape, there is no stage, or stochastic depth
            has no skip connection to leave.
    """
    if depth == ():
        raise ArmError(
            f"{name} has at least one stage",
            "depth = []",
            "Give the blocks of each, such as depth=[2, 2, 2].",
        )
    check_branches(name, skip, stochastic_depth)
    spatial = Spatial.of(name, input_shape, resolution=resolution)

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
        layers.he_fan_out(made)
        return made

    def normalised(channels: int) -> list[nn.Module]:
        return [spatial.norm(norm, channels), layers.activation(activation)]

    def block_of(inputs: int, width: int, stride: int, rate: float) -> nn.Module:
        outputs = width * _EXPANSION[block]
        if block == "basic":
            branch = [
                convolution(inputs, width, 3, stride),
                *normalised(width),
                convolution(width, width, 3),
            ]
        else:
            branch = [
                convolution(inputs, width, 1),
                *normalised(width),
                convolution(width, width, 3, stride),
                *normalised(width),
                convolution(width, outputs, 1),
            ]
        keeps = stride == 1 and inputs == outputs
        around: list[nn.Module] = []
        if not keeps and shortcut == "padding":
            around = [_Padding(spatial, outputs - inputs, stride)]
        elif not keeps and skip:
            around = [convolution(inputs, outputs, 1, stride)]
        if not preactivation:
            branch.append(spatial.norm(norm, outputs))
            if not keeps and shortcut == "projection":
                around.append(spatial.norm(norm, outputs))
        if reduction is not None:
            squeezed = max(_FEWEST_SQUEEZED, outputs // reduction)
            branch.append(SqueezeExcitation(outputs, squeezed, activation))
        return _Block(
            nn.Sequential(*(normalised(inputs) if preactivation else [])),
            nn.Sequential(*branch),
            nn.Sequential(*around) if skip else None,
            not keeps and shortcut == "projection",
            nn.Identity() if preactivation else layers.activation(activation),
            rate,
        )

    if stem == "cifar":
        body = [convolution(spatial.channels, width, 3)]
        if not preactivation:
            body += normalised(width)
    else:
        body = [
            convolution(spatial.channels, width, 7, stride=2),
            *normalised(width),
            spatial.max_pool(3, 2, padding=1),
        ]
    stages = (depth,) * _STAGES if isinstance(depth, int) else depth
    rates = iter(rising(stochastic_depth, sum(stages)))
    channels = width
    for stage, blocks in enumerate(stages):
        inner = width * 2**stage
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            body.append(block_of(channels, inner, stride, next(rates)))
            channels = inner * _EXPANSION[block]
    if preactivation:
        body += normalised(channels)
    return nn.Sequential(
        *spatial.opening(),
        *body,
        *spatial.head(head, spatial.after(*body), num_outputs, dropout),
    )


@register(
    space={
        "depth": Choice((1, 2)),
        "width": Choice((8, 12, 16)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def resnet(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count | tuple[Count, ...] = 1,
    width: Count = 16,
    block: Block = "basic",
    stem: Stem = "cifar",
    skip: bool = True,
    shortcut: Shortcut = "padding",
    preactivation: bool = False,
    norm: Norm = "batch",
    activation: Activation = "relu",
    squeeze: bool = False,
    head: Head = "average",
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Stages of blocks that add to their input; each stage after the first halves it.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W).
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of each of three stages, the paper's n: depth=3 has 20 layers. Or
            those of each stage, as [2, 2, 2, 2].
        width: Channels of the stem and of the first stage; each stage doubles them.
        block: "basic": two convolutions of 3 x 3. "bottleneck": one between two of
            1 x 1, of which the last has four times the channels.
        stem: What comes before the stages. "cifar": a convolution of 3 x 3.
            "imagenet": one of 7 x 7 with stride 2, and a max-pooling with stride 2.
        skip: Whether a block adds its input to what it computes.
        shortcut: How a skip connection changes the shape. "padding": positions are
            left out, channels of zeros are added. "projection": by a convolution of
            1 x 1.
        preactivation: Whether norm and activation come before each convolution, and
            nothing after the addition.
        norm: The normalisation at each convolution.
        activation: The activation at each convolution.
        squeeze: Whether each block scales its channels by what all of them are on
            average; see `se_resnet`.
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
        "resnet",
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        block=block,
        stem=stem,
        skip=skip,
        shortcut=shortcut,
        preactivation=preactivation,
        norm=norm,
        activation=activation,
        reduction=16 if squeeze else None,
        head=head,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        resolution=resolution,
    )

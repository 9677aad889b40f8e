"""MLP-Mixer: patches as tokens, mixed by a network over positions, not by attention.

Paper: "MLP-Mixer: An all-MLP Architecture for Vision" (arXiv 2105.01601).
Authors: Ilya Tolstikhin, Neil Houlsby, Alexander Kolesnikov, Lucas Beyer, Xiaohua Zhai,
    Thomas Unterthiner, Jessica Yung, Andreas Steiner, Daniel Keysers, Jakob Uszkoreit,
    Mario Lucic and Alexey Dosovitskiy, 2021.
Status: mixer_s32, mixer_s16, mixer_b32, mixer_b16 and mixer_l16 are the paper's, with
    59,880,472 parameters in mixer_b16, exactly. The paper starts the head at zero; here
    it starts near it. The small forms, series and token ids, and the
    switches are ours.

What was new: neither convolution nor attention. In each block one small network mixes the
positions, the same for each channel, and another mixes the channels, the same for each
position.

What it took: patches, skip connections and layer normalisation from ViT; what its
attention does, a table of weights does here.

What it costs: a product that grows with the number of patches and not with its square;
weights that fit one number of patches alone, so that a series of another length needs
another network. Like ViT it needs many data.

When to try it: beside ViT, to see whether attention matters: it is the same network with
fixed weights in its place. token_mixing=false leaves them out: each patch is then read by
itself, and the mean of what was read decides.
"""

import math

import torch
from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo.attention import FeedForward, Patches, token_norm
from archtrial.zoo.attention import head as last
from archtrial.zoo.depth import StochasticDepth, check_branches, rising
from archtrial.zoo.layers import Activation, Head, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["mixer"]

# Units of the network over channels for each value of a token, and values of a token
# for each unit of the network over positions, in all sizes of the paper.
_EXPANSION = 4
_VALUES_FOR_A_UNIT = 2


class _Block(nn.Module):
    """Mixes positions, then channels, (N, L, width) -> same."""

    def __init__(
        self,
        tokens: int,
        width: int,
        *,
        token_mixing: bool,
        norm: Norm,
        skip: bool,
        activation: Activation,
        gated: bool,
        dropout: float,
        stochastic_depth: float,
    ) -> None:
        super().__init__()
        self.skip = skip
        self.over_positions = None
        if token_mixing:
            self.first_norm = token_norm(norm, width)
            self.over_positions = FeedForward(
                tokens,
                max(1, width // _VALUES_FOR_A_UNIT),
                activation=activation,
                gated=gated,
                dropout=dropout,
            )
            self.first_depth = StochasticDepth(stochastic_depth)
        self.second_norm = token_norm(norm, width)
        self.over_channels = FeedForward(
            width,
            _EXPANSION * width,
            activation=activation,
            gated=gated,
            dropout=dropout,
        )
        self.second_depth = StochasticDepth(stochastic_depth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.over_positions is not None:
            h = self.over_positions(self.first_norm(x).mT).mT
            x = self._added(x, self.first_depth(h))
        h = self.over_channels(self.second_norm(x))
        return self._added(x, self.second_depth(h))

    def _added(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return x + branch if self.skip else branch


class _Mean(nn.Module):
    """The mean of all tokens, (N, L, width) -> (N, width)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)


@register(
    space={
        "depth": Choice((2, 3, 4)),
        "width": Choice((24, 48, 96)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def mixer(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 3,
    width: Count = 48,
    patch: Count = 4,
    token_mixing: bool = True,
    head: Head = "average",
    norm: Norm = "layer",
    skip: bool = True,
    activation: Activation = "gelu",
    gated: bool = False,
    dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Patches as tokens; each block mixes positions, then channels; the mean of tokens.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Each side is at
            least one patch.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks.
        width: Values of a token. The network over channels has four times as many
            units, the one over positions half as many.
        patch: Positions along each side of a patch; a side that is no multiple of it
            goes on with zeros.
        token_mixing: Whether a block mixes positions at all.
        head: "average": the mean of all tokens; "flatten": a weight for each.
        norm: Of each token by itself: "layer" over its values, "group" over groups of
            them, "batch" over all tokens of a batch.
        skip: Whether what a network computes is added to its input.
        activation: The activation of both networks.
        gated: Whether both have gated linear units; with two thirds of the units, as
            many parameters.
        dropout: The share that is dropped of both networks' units and results.
        stochastic_depth: The probability that the last block's networks are left out in
            training, by example; it rises from 0 in the first.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, or stochastic depth has no skip
            connection to leave.
    """
    check_branches("mixer", skip, stochastic_depth)
    fewest = min(input_shape[1:] or input_shape, default=1)
    spatial = Spatial.of(
        "mixer",
        input_shape,
        least=patch,
        resolution=resolution,
        instead=f"Or take smaller patches: patch={fewest}.",
    )
    patches = Patches(spatial, patch, width)
    tokens = math.prod(patches.sides)
    blocks = [
        _Block(
            tokens,
            width,
            token_mixing=token_mixing,
            norm=norm,
            skip=skip,
            activation=activation,
            gated=gated,
            dropout=dropout,
            stochastic_depth=rate,
        )
        for rate in rising(stochastic_depth, depth)
    ]
    return nn.Sequential(
        *spatial.opening(),
        patches,
        *blocks,
        token_norm(norm, width),
        _Mean() if head == "average" else nn.Flatten(),
        last(width if head == "average" else tokens * width, num_outputs),
    )

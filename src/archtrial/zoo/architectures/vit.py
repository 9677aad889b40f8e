"""ViT: a transformer's encoder that reads patches of an image as tokens.

Paper: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale"
    (arXiv 2010.11929).
Authors: Alexey Dosovitskiy, Lucas Beyer, Alexander Kolesnikov, Dirk Weissenborn, Xiaohua
    Zhai, Thomas Unterthiner, Mostafa Dehghani, Matthias Minderer, Georg Heigold, Sylvain
    Gelly, Jakob Uszkoreit and Neil Houlsby, 2020.
Status: vit_b16, vit_b32 and vit_l16 are the paper's after fine-tuning, whose head is one
    linear layer, with 86,567,656, 88,224,232 and 304,326,632 parameters on ImageNet,
    exactly; vit_ti16 and vit_s16 are those of DeiT (arXiv 2012.12877). The paper starts
    the head at zero; here it starts near it. The small forms, series and
    token ids, the switches, and dropout of 0 are ours.

What was new: no convolution but the one that cuts the patches. Each layer sees the whole
image, and nothing but the position encodings says which patches are neighbours.

What it took: the encoder of the transformer (Vaswani et al. 2017), with normalisation
before each branch, GELU, and the class token of BERT. A series is cut into patches in the
same way; Nie et al. 2022 (arXiv 2211.14730) read series so.

What it costs: the attention of L patches takes L x L products in each head, so that
patches of half the side cost 4 times as much, and the attention itself 16 times. The
paper's networks were better than a ResNet only after training on 14 million images and
more; on small data expect less than of a convolution.

When to try it: where there are many data, or where what belongs together lies far
apart. positions=none is on trial whether the order of patches matters, head=average
whether the class token does, gated=true what gated linear units add. It takes series of
unequal length, whose patches behind the end are not looked at.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.space import Choice, Real
from archtrial.zoo import lengths as of_lengths
from archtrial.zoo.attention import (
    EncoderBlock,
    Patches,
    PositionEncoding,
    Positions,
    normalised,
    token_norm,
)
from archtrial.zoo.attention import head as last
from archtrial.zoo.depth import check_branches, rising
from archtrial.zoo.layers import Activation, Spatial
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["vit"]

TokenHead: TypeAlias = Literal["token", "average", "flatten"]

# Units of the feed-forward layers for each value of a token.
_EXPANSION = 4


class _ViT(nn.Module):
    """Patches, positions, blocks, a head, (N, *input_shape) -> (N, num_outputs)."""

    def __init__(
        self,
        spatial: Spatial,
        num_outputs: int,
        *,
        patch: int,
        width: int,
        positions: PositionEncoding,
        head: TokenHead,
        dropout: float,
        blocks: list[EncoderBlock],
        last_norm: nn.Module,
    ) -> None:
        super().__init__()
        self.opening = nn.Sequential(*spatial.opening())
        self.patches = Patches(spatial, patch, width)
        self.patch = patch
        sides = self.patches.sides
        self.token = None
        if head == "token":
            self.token = nn.Parameter(torch.zeros(1, 1, width))
        own = 0 if self.token is None else 1
        self.positions = Positions(positions, sides, width, before=own)
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        self.blocks = nn.ModuleList(blocks)
        self.norm = last_norm
        self.kind = head
        tokens = math.prod(sides) if head == "flatten" else 1
        self.head = last(tokens * width, num_outputs)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        steps = x.shape[-1]
        x = self.opening(x)
        if lengths is not None:
            resized = -(-lengths * x.shape[-1] // steps)
            lengths = -(-resized // self.patch)  # patches that begin within the series
        x = self.patches(x)  # (N, L, width)
        within = None if lengths is None else of_lengths.mask(lengths, x.shape[1])
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
            if within is not None:
                within = functional.pad(within, (1, 0), value=True)
        x = self.dropout(self.positions(x))
        for block in self.blocks:
            x = block(x, within)
        outputs: torch.Tensor = self.head(
            self._read(normalised(self.norm, x, within), lengths)
        )
        return outputs

    def _read(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Returns what the head reads of the tokens, (N, L, width) -> (N, ...)."""
        if self.kind == "token":
            return x[:, 0]
        if self.kind == "average":
            return of_lengths.mean_over_steps(x.mT, lengths)
        if lengths is not None:
            within = of_lengths.mask(lengths, x.shape[1]).unsqueeze(2)
            x = torch.where(within, x, 0)
        return x.flatten(1)


@register(
    space={
        "depth": Choice((2, 3, 4)),
        "width": Choice((24, 48, 96)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def vit(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 3,
    width: Count = 48,
    heads: Count = 4,
    patch: Count = 4,
    positions: PositionEncoding = "learned",
    head: TokenHead = "token",
    norm: Norm = "layer",
    norm_first: bool = True,
    skip: bool = True,
    activation: Activation = "gelu",
    gated: bool = False,
    dropout: Share = 0.0,
    attention_dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
    resolution: Count | None = None,
) -> nn.Module:
    """Patches as tokens, blocks of self-attention and feed-forward layers, a class token.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Each side is at
            least one patch.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks.
        width: Values of a token; the feed-forward layers have four times as many units.
        heads: Of the attention, each of width / heads values, rounded up.
        patch: Positions along each side of a patch; a side that is no multiple of it
            goes on with zeros. 1: each position is a token.
        positions: How a token knows where it stands: by learned values, by sines and
            cosines of row and column, or not at all.
        head: What is read in the end. "token": a token of its own, which has looked at
            the patches; "average": the mean of the patches; "flatten": a weight for each.
        norm: Of each token by itself: "layer" over its values, "group" over groups of
            them, "batch" over all tokens of a batch.
        norm_first: Whether norms come before the branches, as in the paper, or behind
            the additions, as in the first transformer.
        skip: Whether a branch is added to what goes into it.
        activation: The activation of the feed-forward layers.
        gated: Whether these have gated linear units; with two thirds of the units, as
            many parameters.
        dropout: The share that is dropped of tokens with their positions, of what each
            branch results in, and of the feed-forward layers' units.
        attention_dropout: The share of the attention's weights that is dropped.
        stochastic_depth: The probability that the last block's branches are left out in
            training, by example; it rises from 0 in the first.
        resolution: The side that inputs are resized to.

    Raises:
        ArmError: The input has no such shape, or stochastic depth has no skip
            connection to leave.
    """
    check_branches("vit", skip, stochastic_depth)
    fewest = min(input_shape[1:] or input_shape, default=1)
    spatial = Spatial.of(
        "vit",
        input_shape,
        least=patch,
        resolution=resolution,
        instead=f"Or take smaller patches: patch={fewest}.",
    )
    blocks = [
        EncoderBlock(
            width,
            heads,
            _EXPANSION * width,
            norm=norm,
            norm_first=norm_first,
            skip=skip,
            activation=activation,
            gated=gated,
            dropout=dropout,
            attention_dropout=attention_dropout,
            stochastic_depth=rate,
        )
        for rate in rising(stochastic_depth, depth)
    ]
    return _ViT(
        spatial,
        num_outputs,
        patch=patch,
        width=width,
        positions=positions,
        head=head,
        dropout=dropout,
        blocks=blocks,
        # Behind the additions there is one already.
        last_norm=token_norm(norm, width) if norm_first else nn.Identity(),
    )

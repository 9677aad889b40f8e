"""Transformer: an encoder of self-attention that reads the steps of a sequence as tokens.

Paper: "Attention Is All You Need" (arXiv 1706.03762).
Authors: Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N.
    Gomez, Lukasz Kaiser and Illia Polosukhin, 2017.
Status: the encoder alone, with a head; the paper translates, and has a decoder behind it.
    The six layers of `transformer_base` are those of the paper's base model, 18,914,304
    parameters in them; a linear layer in front of them reads numbers, and behind them a
    class token has looked at all steps, as in BERT (Devlin et al. 2018). The paper
    multiplies embeddings by the square root of their width; here they are read by that
    linear layer. The defaults are a small form with normalisation before each branch
    (Xiong et al. 2020) and learned positions, and ours.

New was to do without recurrence: what a step takes from another is a weighted mean,
with weights that the two compute from what they are, so that the first and the last step
are as near as neighbours, and all steps are computed at once. It took attention from
Bahdanau et al. (2014), where it stood beside a recurrent network; the identity around
each branch from ResNet; layer normalisation from Ba et al. (2016).

It costs steps^2 x width multiplications a layer beside 12 x steps x width^2, and it knows
the order of steps from its positions alone, so that it wants more data than `tcn` or
`gru`. Try it on tokens, and on series where distant steps belong together. positions=none
puts on trial whether order matters, norm_first=false the paper's own order, gated=true
gated linear units.
"""

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.space import Choice, Real
from archtrial.zoo.attention import (
    EncoderBlock,
    PositionEncoding,
    Positions,
    linear,
    normalised,
    token_norm,
)
from archtrial.zoo.attention import head as last_layer
from archtrial.zoo.depth import check_branches, rising
from archtrial.zoo.layers import Activation
from archtrial.zoo.lengths import mask, mean_over_steps
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register
from archtrial.zoo.sequences import Steps, last_step, steps_of

__all__ = ["transformer"]

StepHead: TypeAlias = Literal["token", "average", "last"]


class _Transformer(nn.Module):
    """Steps, positions, blocks, a head, (N, *input_shape) -> (N, num_outputs)."""

    def __init__(
        self,
        input_shape: Shape,
        num_outputs: int,
        *,
        width: int,
        positions: PositionEncoding,
        head: StepHead,
        dropout: float,
        blocks: list[EncoderBlock],
        last_norm: nn.Module,
    ) -> None:
        super().__init__()
        features, steps = steps_of("transformer", input_shape)
        self.steps = Steps()
        self.project = linear(features, width)
        self.token = None
        if head == "token":
            self.token = nn.Parameter(torch.empty(1, 1, width))
            nn.init.trunc_normal_(self.token, std=0.02)
        own = 0 if self.token is None else 1
        self.positions = Positions(positions, (steps,), width, before=own)
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        self.blocks = nn.ModuleList(blocks)
        self.norm = last_norm
        self.summary = head
        self.head = last_layer(width, num_outputs)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = self.project(self.steps(x).mT)  # (N, L, width)
        within = None if lengths is None else mask(lengths, x.shape[1])  # (N, L)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
            if within is not None:
                within = functional.pad(within, (1, 0), value=True)
        x = self.dropout(self.positions(x))
        for block in self.blocks:
            x = block(x, within)
        x = normalised(self.norm, x, within)
        if self.summary == "token":
            h = x[:, 0]
        elif self.summary == "average":
            h = mean_over_steps(x.mT, lengths)
        else:
            h = last_step(x.mT, lengths)
        outputs: torch.Tensor = self.head(h)
        return outputs


@register(
    space={
        "depth": Choice((1, 2, 3)),
        "width": Choice((16, 32, 64)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def transformer(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 32,
    heads: Count = 4,
    expansion: Count = 4,
    positions: PositionEncoding = "learned",
    head: StepHead = "token",
    norm: Norm = "layer",
    norm_first: bool = True,
    skip: bool = True,
    activation: Activation = "relu",
    gated: bool = False,
    dropout: Share = 0.0,
    attention_dropout: Share = 0.0,
    stochastic_depth: Share = 0.0,
) -> nn.Module:
    """Blocks of self-attention and feed-forward layers; every step looks at all.

    Args:
        input_shape: (L,), read as L steps of one number; (C, L), as L steps of C
            numbers; or (C, H, W), as H steps, each a row of C * W numbers.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks.
        width: Values of a step inside the network.
        heads: Of the attention, each of width / heads values, rounded up.
        expansion: How many times `width` the units of the feed-forward layers are.
        positions: How a step knows where it stands: by learned values, by sines and
            cosines, or not at all.
        head: What is read in the end. "token": a token of its own, which has looked at
            all steps; "average": the mean of the steps; "last": the last step.
        norm: Of each step by itself: "layer" over its values, "group" over groups of
            them; "batch" over the steps within all sequences of a batch.
        norm_first: Whether norms come before the branches, or behind the additions, as
            in the paper.
        skip: Whether a branch is added to what goes into it.
        activation: Of the feed-forward layers.
        gated: Whether these have gated linear units; with two thirds of the units, as
            many parameters.
        dropout: The share that is dropped of steps with their positions, of what each
            branch results in, and of the feed-forward layers' units.
        attention_dropout: The share of the attention's weights that is dropped.
        stochastic_depth: The probability that the last block's branches are left out in
            training, by example; it rises from 0 in the first.

    Raises:
        ArmError: The input has no such shape, or stochastic depth has no skip
            connection to leave.
    """
    check_branches("transformer", skip, stochastic_depth)
    blocks = [
        EncoderBlock(
            width,
            heads,
            expansion * width,
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
    return _Transformer(
        input_shape,
        num_outputs,
        width=width,
        positions=positions,
        head=head,
        dropout=dropout,
        blocks=blocks,
        # Behind the additions there is one already.
        last_norm=token_norm(norm, width) if norm_first else nn.Identity(),
    )

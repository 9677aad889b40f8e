"""FT-Transformer: each column of a table is a token, and attention lets them meet.

Paper: "Revisiting Deep Learning Models for Tabular Data" (arXiv 2106.11959), section
    3.3: a feature tokenizer and a transformer.
Authors: Yury Gorishniy, Ivan Rubachev, Valentin Khrulkov and Artem Babenko, 2021.
Status: `ft_transformer_default` is the paper's default size, 894,913 parameters on 8
    columns of numbers and one output, counted by hand from the paper. The tokenizer, the
    token of the class, normalisation before the branches but not before the first one,
    ReGLU and the head are the paper's. Ours: layers start as everywhere in this zoo
    (Glorot and Bengio 2010), one rate of dropout falls on the feed-forward units and on
    what each branch results in (the paper has a rate for each), and a category that
    training never saw is zeros.

What was new: columns of numbers become tokens, too, x_j w_j + b_j with a vector w_j and
b_j of each column's own; categories are looked up. From there on it is the transformer
of Vaswani et al. with the token of the class of BERT (Devlin et al. 2018), normalisation
before the branches (Xiong et al. 2020) and gated units (Shazeer 2020). Columns have no
order, so there are no positions. Every column passes every layer by itself, and all
pairs of columns meet in attention: work grows with their number, and from about 100
columns on with its square. Try it where columns act on each other; against gradient
boosting (sklearn:HistGradientBoostingRegressor) it wins on some tables and loses on
others.
"""

import math
from typing import Literal

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.attention import EncoderBlock
from archtrial.zoo.embedding import Categories
from archtrial.zoo.layers import Activation
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import Count, Share, register

__all__ = ["ft_transformer"]


def _start(*shape: int) -> nn.Parameter:
    """Returns values of tokens as the paper starts them, within 1 / sqrt(width)."""
    bound = 1 / math.sqrt(shape[-1])
    return nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound))


class _Tokenizer(nn.Module):
    """Makes a token of each column and one of the class, (N, F) -> (N, 1 + C, width).

    Args:
        inputs: What is known of the inputs.
        looked_up: Whether a column of categories is one token, its category's row of a
            table. If not, each of the F inputs is a token, as a number is.
        width: Values of a token.
    """

    def __init__(self, inputs: Inputs, looked_up: bool, width: int) -> None:
        super().__init__()
        columns = inputs.columns if looked_up else None
        self.inputs = None if columns is None else inputs
        categories = sum(c.categories is not None for c in columns or ())
        numbers = inputs.shape[0] if columns is None else len(columns) - categories
        self.of_class = _start(1, 1, width)
        # Of tables without numbers, or without categories, nothing is left empty.
        if numbers:
            self.weight = _start(numbers, width)
        if categories:
            self.categories = Categories(inputs, width)
        self.numbers, self.of_categories = numbers, categories
        self.bias = _start(numbers + categories, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        numbers, ids = (x, None) if self.inputs is None else self.inputs.parted(x)
        tokens = []
        if self.numbers:
            tokens.append(numbers.unsqueeze(2) * self.weight)  # (N, numbers, width)
        if self.of_categories:
            tokens.append(self.categories(ids))  # (N, columns of categories, width)
        columns = torch.cat(tokens, 1) + self.bias
        return torch.cat([self.of_class.expand(len(x), -1, -1), columns], 1)


class _FTTransformer(nn.Module):
    """Tokens, blocks, and a head on the token of the class."""

    def __init__(
        self, tokenizer: nn.Module, blocks: list[nn.Module], head: nn.Module
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.blocks = nn.Sequential(*blocks)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.blocks(self.tokenizer(x))  # (N, 1 + C, width)
        outputs: torch.Tensor = self.head(tokens[:, 0])
        return outputs


@register(
    space={
        "depth": Choice((1, 2, 3)),
        "width": Choice((16, 32, 64)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=("table", "array"),
)
def ft_transformer(
    inputs: Inputs,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 32,
    heads: Count = 4,
    gated: bool = True,
    activation: Activation = "relu",
    norm: Norm = "layer",
    norm_first: bool = True,
    skip: bool = True,
    dropout: Share = 0.0,
    attention_dropout: Share = 0.0,
    categories: Literal["embedded", "one_hot"] = "embedded",
) -> nn.Module:
    """A transformer whose tokens are the columns of a table.

    Args:
        inputs: (F,): a table, or an array, whose values are taken for columns of numbers.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of attention and a feed-forward layer.
        width: Values of a token.
        heads: How many look side by side in each attention.
        gated: Whether feed-forward units are gated, 4/3 of the width (ReGLU, if the
            activation is "relu"); if not, twice the width.
        activation: Of the feed-forward units, and before the last layer.
        norm: Of tokens, each by itself.
        norm_first: Whether tokens are normalised before the branches of a block, or
            after each sum.
        skip: Whether what goes into a branch is added to what comes out.
        dropout: The share that is dropped of feed-forward units and of each branch's
            results.
        attention_dropout: The share of the attention's weights that is dropped.
        categories: "embedded": a column of categories is one token, which is looked up;
            "one_hot": each category is a token, which is multiplied by 0 or 1.

    Raises:
        ArmError: An example is no row of columns, or there are no categories to be kept
            apart.
    """
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    if len(known.shape) != 1 or known.kind not in ("table", "array"):
        raise ArmError(
            "ft_transformer needs a table, or an array (F,): a number for each column",
            f"one example is of the shape {known.shape}, of the kind {known.kind}",
            "Take mlp or residual_mlp, which flatten their input.",
        )
    if categories == "one_hot" and not any(c.categories for c in known.columns or ()):
        raise ArmError(
            "categories are a table's",
            "categories = one_hot of ft_transformer, whose inputs are numbers",
            "Leave categories out. If a table's column of numbers holds names, say so:"
            " --categorical COLUMN.",
        )
    blocks = [
        EncoderBlock(
            width,
            heads,
            2 * width,
            norm=norm,
            norm_first=norm_first,
            skip=skip,
            activation=activation,
            gated=gated,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )
        for _ in range(depth)
    ]
    if norm_first:
        # The authors found it much worse where the tokens of numbers, whose length says
        # how large these are, are normalised before anything has read them.
        blocks[0].first_norm = nn.Identity()
    head = nn.Sequential(
        norm_layer(norm, width, sides=0),
        layers.activation(activation),
        nn.Linear(width, num_outputs),  # (N, num_outputs)
    )
    return _FTTransformer(
        _Tokenizer(known, categories == "embedded", width), [*blocks], head
    )

"""Residual MLP: what a ResNet is for tables, blocks of two layers with an identity around.

Paper: "Revisiting Deep Learning Models for Tabular Data" (arXiv 2106.11959), section
    3.2, where it is called ResNet.
Authors: Yury Gorishniy, Ivan Rubachev, Valentin Khrulkov and Artem Babenko, 2021.
Status: the paper's blocks and last layer, with batch normalisation; it tunes depth,
    width and rates of dropout for each table, so no one size is the paper's, and the
    small one of the defaults is ours. So are the other normalisations and activations.

What was new: nothing but the care of the comparison. A plain residual network, tuned
like the others, beat most architectures that had been made for tables. It took the
identity around two layers, and normalisation before the first of them, from ResNet, and
batch normalisation from Ioffe and Szegedy. A block costs 2 * expansion * width^2
weights. Try it on a table of numbers before anything that is named after tables; and
try gradient boosting (sklearn:HistGradientBoostingRegressor) before that.

Unlike `mlp`, whose hidden layers add h + relu(W h), it has two layers in each block, and
what runs along the identity never passes through an activation.
"""

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.embedding import flattened
from archtrial.zoo.layers import Activation
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import ANY, Count, Share, register

__all__ = ["residual_mlp"]


class _Block(nn.Module):
    """Two layers with an identity around them, (N, width) -> (N, width)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        norm: Norm,
        skip: bool,
        activation: Activation,
        dropout: float,
        residual_dropout: float,
    ) -> None:
        super().__init__()
        self.norm = norm_layer(norm, width, sides=0)
        self.expand = nn.Linear(width, hidden)
        self.activation = layers.activation(activation)
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        self.contract = nn.Linear(hidden, width)
        self.residual_dropout = nn.Dropout(residual_dropout)
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.dropout(self.activation(self.expand(self.norm(x))))  # (N, hidden)
        h = self.residual_dropout(self.contract(h))  # (N, width)
        result: torch.Tensor = x + h if self.skip else h
        return result


@register(
    space={
        "depth": Choice((1, 2, 4)),
        "width": Choice((32, 64, 128)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ANY,
)
def residual_mlp(
    inputs: Inputs,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 64,
    expansion: Count = 2,
    norm: Norm = "batch",
    skip: bool = True,
    activation: Activation = "relu",
    dropout: Share = 0.0,
    residual_dropout: Share = 0.0,
    embedding: Count | None = None,
) -> nn.Module:
    """Blocks of two fully connected layers, normalised before and added to their input.

    Args:
        inputs: Of any shape; they are flattened.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks.
        width: Values between blocks.
        expansion: Units of a block's first layer, as a multiple of the width.
        norm: What stands before each block and before the last layer.
        skip: Whether a block's input is added to what comes out of it.
        activation: Between a block's two layers, and before the last layer.
        dropout: The share of a block's units that is dropped.
        residual_dropout: The share of a block's results that is dropped.
        embedding: Values that are looked up for each category of a table's columns;
            None: one input for each category.

    Raises:
        ArmError: There is an embedding without categories.
    """
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    flat, features = flattened("residual_mlp", known, embedding)
    return nn.Sequential(
        flat,
        nn.Linear(features, width),
        *(
            _Block(
                width,
                expansion * width,
                norm=norm,
                skip=skip,
                activation=activation,
                dropout=dropout,
                residual_dropout=residual_dropout,
            )
            for _ in range(depth)
        ),
        norm_layer(norm, width, sides=0),
        layers.activation(activation),
        nn.Linear(width, num_outputs),  # (N, num_outputs)
    )

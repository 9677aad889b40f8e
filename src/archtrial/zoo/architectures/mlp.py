"""MLP: fully connected hidden layers, by default with residual connections.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the MLP
    baseline: 40-100-100-10, the second layer h + relu(W h).
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: the paper's 15,210 parameters on MNIST-1D, exactly. Norm, dropout and
    other depths are ours, not the paper's.
"""

import math

import torch
from torch import nn

from archtrial.space import Choice, Real
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import ANY, Count, Shape, Share, register

__all__ = ["mlp"]


class _Hidden(nn.Module):
    """One hidden layer, (N, inputs) -> (N, width)."""

    def __init__(
        self, inputs: int, width: int, norm: Norm, residual: bool, dropout: float
    ) -> None:
        super().__init__()
        # A norm brings an offset of its own.
        self.linear = nn.Linear(inputs, width, bias=norm == "none")
        self.norm = norm_layer(norm, width, sides=0)
        self.residual = residual
        # There even at 0, so that runs with and without it have one structure
        # and can share a fleet.
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.dropout(torch.relu(self.norm(self.linear(x))))
        return x + h if self.residual else h


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((50, 100, 200)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ANY,
)
def mlp(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 100,
    norm: Norm = "none",
    residual: bool = True,
    dropout: Share = 0.0,
) -> nn.Module:
    """Fully connected layers with ReLU; neighbours are no nearer than others.

    Args:
        input_shape: Any shape; it is flattened.
        num_outputs: Classes, or 1 for regression.
        depth: Hidden layers.
        width: Units of each hidden layer.
        norm: What stands between each hidden layer and its ReLU.
        residual: Whether every hidden layer after the first is added to its input.
        dropout: The share of each hidden layer's units that is dropped.
    """
    inputs = math.prod(input_shape)
    return nn.Sequential(
        nn.Flatten(),
        _Hidden(inputs, width, norm, residual=False, dropout=dropout),
        *(_Hidden(width, width, norm, residual, dropout) for _ in range(depth - 1)),
        nn.Linear(width, num_outputs),
    )

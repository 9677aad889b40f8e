"""MLP: fully connected hidden layers, by default with residual connections.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the MLP
    baseline: 40-100-100-10, the second layer h + relu(W h). Its KAN layers: "KAN:
    Kolmogorov-Arnold Networks", Liu et al. 2024, arXiv 2404.19756.
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: the paper's 15,210 parameters on MNIST-1D, exactly. Norm, dropout and
    other depths are ours, not the paper's. A KAN layer has the KAN paper's curves,
    cubic ones, and its start; the grid is ours: it stays from -3 to 3, where scaled
    inputs lie, while the paper moves it to the data during training.

With layer=kan there is no activation after a layer: each pair of an input and an
output has a curve of its own, and an output is the sum of its curves. A curve is

    w_b silu(x) + w_s (c_1 B_1(x) + c_2 B_2(x) + ...)

with cubic B-splines B on a grid of equal intervals, 5 unless `grid` says otherwise.
It costs grid + 3 coefficients and two scales where a linear layer has one weight: at
5, 10 times the parameters of the same width and 9 times the multiplications, so KANs
are made narrow (`mlp_kan`). Beyond the grid the splines fade out within three
intervals, and silu alone goes on; `norm` keeps hidden values on it. The KAN paper has
no identity around layers: residual=false. Try it where a few inputs enter smoothly
and each by itself, as in formulas.

A table's categories are one input for each value; with `embedding` they are looked up.
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo import layers
from archtrial.zoo.embedding import flattened
from archtrial.zoo.layers import Activation
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import ANY, Count, Share, register

__all__ = ["KanLayer", "mlp"]

_GRID = 5
_REACH = 3.0


class KanLayer(nn.Module):
    """A curve for each pair of an input and an output, (N, inputs) -> (N, outputs).

    A curve is a base function and a cubic spline, each with a scale (Liu et al. 2024,
    arXiv 2404.19756, section 2.2). At the start w_b is Xavier's, w_s is 1, and
    coefficients have a standard deviation of .1.

    Args:
        inputs: Values of an example.
        outputs: Sums of curves.
        grid: Equal intervals from -3 to 3.
        base: The base function; the paper has "silu".
    """

    centres: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, grid: int, base: Activation = "silu"
    ) -> None:
        super().__init__()
        self.step = 2 * _REACH / grid
        # A cubic B-spline spans four intervals; all that reach into the grid are there.
        centres = torch.arange(-1, grid + 2) * self.step - _REACH
        self.register_buffer("centres", centres, persistent=False)
        self.base = layers.activation(base)
        self.base_scale = nn.Parameter(torch.empty(outputs, inputs))
        self.spline_scale = nn.Parameter(torch.ones(outputs, inputs))
        self.coefficients = nn.Parameter(torch.empty(outputs, inputs, grid + 3))
        nn.init.xavier_uniform_(self.base_scale)
        nn.init.normal_(self.coefficients, std=0.1)

    def splines(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (N, inputs, grid + 3), each B-spline at each input.

        On equal intervals all are one curve, shifted, so that no recursion is needed.
        """
        distance = (x.unsqueeze(-1) - self.centres).abs() / self.step
        outer, inner = (2 - distance).relu(), (1 - distance).relu()
        return (outer.pow(3) - 4 * inner.pow(3)) / 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the sums of curves."""
        weights = self.spline_scale.unsqueeze(-1) * self.coefficients
        smooth = functional.linear(self.splines(x).flatten(1), weights.flatten(1))
        return functional.linear(self.base(x), self.base_scale) + smooth

    def extra_repr(self) -> str:
        """Returns the shape."""
        outputs, inputs, splines = self.coefficients.shape
        return f"{inputs}, {outputs}, grid={splines - 3}"


class _Hidden(nn.Module):
    """One hidden layer, (N, inputs) -> (N, width)."""

    def __init__(
        self,
        linear: nn.Module,
        norm: nn.Module,
        activation: nn.Module,
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm
        self.activation = activation
        self.residual = residual
        # There even at 0, so that runs with and without it have one structure
        # and can share a fleet.
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.dropout(self.activation(self.norm(self.linear(x))))
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
    inputs: Inputs,
    num_outputs: int,
    *,
    depth: Count = 2,
    width: Count = 100,
    norm: Norm = "none",
    residual: bool = True,
    dropout: Share = 0.0,
    activation: Activation | None = None,
    layer: Literal["linear", "kan"] = "linear",
    grid: Count | None = None,
    embedding: Count | None = None,
) -> nn.Module:
    """Fully connected layers with ReLU; neighbours are no nearer than others.

    Args:
        inputs: Of any shape; they are flattened.
        num_outputs: Classes, or 1 for regression.
        depth: Hidden layers.
        width: Units of each hidden layer.
        norm: What stands between each hidden layer and its activation.
        residual: Whether every hidden layer after the first is added to its input.
        dropout: The share of each hidden layer's units that is dropped.
        activation: After each hidden layer, "relu" unless it is given; with KAN layers
            the base function of every curve, "silu" unless it is given.
        layer: "linear": a weight for each pair of an input and an output; "kan": a
            curve, in the last layer, too.
        grid: Intervals of a KAN layer's splines from -3 to 3; 5 unless it is given.
        embedding: Values that are looked up for each category of a table's columns;
            None: one input for each category.

    Raises:
        ArmError: There is a grid without KAN layers, or an embedding without categories.
    """
    if layer == "linear" and grid is not None:
        raise ArmError(
            "a grid is of KAN layers",
            f"grid = {grid} of mlp, whose layers are linear",
            f"Leave grid out, or write mlp(layer=kan, grid={grid}).",
        )
    known = inputs if isinstance(inputs, Inputs) else Inputs.of_shape(inputs)
    flat, features = flattened("mlp", known, embedding)

    def connected(taken: int, given: int, bias: bool) -> nn.Module:
        if layer == "linear":
            return nn.Linear(taken, given, bias)
        return KanLayer(taken, given, grid or _GRID, activation or "silu")

    def hidden(taken: int, residual: bool) -> nn.Module:
        # A norm brings an offset of its own.
        return _Hidden(
            connected(taken, width, bias=norm == "none"),
            norm_layer(norm, width, sides=0),
            layers.activation(activation or "relu")
            if layer == "linear"
            else nn.Identity(),
            residual,
            dropout,
        )

    return nn.Sequential(
        flat,
        hidden(features, residual=False),
        *(hidden(width, residual) for _ in range(depth - 1)),
        connected(width, num_outputs, bias=True),
    )

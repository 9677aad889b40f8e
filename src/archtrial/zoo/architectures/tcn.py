"""TCN: dilated causal convolutions in residual blocks, as a network for sequences.

Paper: "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling" (arXiv 1803.01271).
Authors: Shaojie Bai, J. Zico Kolter and Vladlen Koltun, 2018.
Status: `tcn_mnist` is the network of the paper's sequential MNIST (eight blocks of 25
    channels, kernels of 7), which the paper gives as about 70,000 parameters; its layers
    have 66,910. Dropout leaves whole channels out, as the paper's text has it; the
    authors' code drops single values. The defaults are a small form, and ours. So are
    the normalisations other than that of weights, convolutions that look ahead, the
    average as a head and images read row by row.

New was the comparison more than a layer: a plain convolutional network, without gates
and without a context that is passed on, remembers longer than LSTM and GRU of its size
and trains in parallel over steps. Dilations that double from block to block, so that
what a step sees grows exponentially with depth, are WaveNet's (van den Oord et al.
2016); the identity around each block is from ResNet, the normalisation of weights from
Salimans and Kingma 2016.

It costs about kernel x width^2 multiplications a step and block, and all steps are kept
for the gradient. With `head="last"` the outputs see 1 + 2 (kernel - 1) (2^depth - 1)
steps back from the end at a dilation of 2: take as many blocks as reach over the series.
Try it where a recurrent network is too slow or forgets, and against one always.
"""

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.space import Choice, Real
from archtrial.zoo.layers import Activation
from archtrial.zoo.layers import activation as activation_layer
from archtrial.zoo.lengths import mean_over_steps
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register
from archtrial.zoo.sequences import (
    StepNorm,
    Steps,
    last_step,
    steps_of,
    within,
    zeroed,
)

__all__ = ["tcn"]

Normalised: TypeAlias = Literal["none", "batch", "layer", "group", "weight"]


class _WeightNormed(nn.Module):
    """A convolution of which each channel's weights are a length and a direction.

    torch's own (`parametrizations.weight_norm`) is an operation that a fleet would carry
    out run by run.
    """

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.direction = nn.Parameter(convolution.weight.detach().clone())
        self.length = nn.Parameter(_norm(self.direction).detach().clone())  # (C, 1, 1)
        self.bias = convolution.bias
        self.dilation = convolution.dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.direction * (self.length / _norm(self.direction))
        return functional.conv1d(x, weight, self.bias, dilation=self.dilation)


def _norm(weight: torch.Tensor) -> torch.Tensor:
    return weight.square().sum((1, 2), keepdim=True).sqrt()


class _Convolution(nn.Module):
    """A convolution with what follows it, (N, inputs, L) -> (N, width, L)."""

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        kernel: int,
        dilation: int,
        causal: bool,
        norm: Normalised,
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        reach = dilation * (kernel - 1)
        self.padding = (reach, 0) if causal else (reach // 2, reach - reach // 2)
        # A norm brings an offset of its own.
        bias = norm in ("none", "weight")
        layer = nn.Conv1d(inputs, width, kernel, dilation=dilation, bias=bias)
        self.convolution: nn.Module = layer
        if norm == "weight":
            self.convolution, norm = _WeightNormed(layer), "none"
        self.norm = StepNorm(norm, width)
        self.activation = activation_layer(activation)
        self.dropout = nn.Dropout1d(
            dropout
        )  # there even at 0: one structure, one fleet

    def forward(self, x: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        x = functional.pad(zeroed(x, inside), self.padding)
        h = self.activation(self.norm(self.convolution(x), inside))
        dropped: torch.Tensor = self.dropout(h)
        return dropped


class _Block(nn.Module):
    """Two convolutions, and the identity around both: the paper's figure 1 (b)."""

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        kernel: int,
        dilation: int,
        causal: bool,
        skip: bool,
        norm: Normalised,
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first, self.second = (
            _Convolution(
                channels,
                width,
                kernel=kernel,
                dilation=dilation,
                causal=causal,
                norm=norm,
                activation=activation,
                dropout=dropout,
            )
            for channels in (inputs, width)
        )
        self.shortcut: nn.Module | None = None
        if skip:
            fits = inputs == width
            self.shortcut = nn.Identity() if fits else nn.Conv1d(inputs, width, 1)
        self.activation = activation_layer(activation)

    def forward(self, x: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        h: torch.Tensor = self.second(self.first(x, inside), inside)
        if self.shortcut is not None:
            h = self.activation(h + self.shortcut(x))
        return h


class _Tcn(nn.Module):
    """Blocks over the steps of one example, then a linear layer on their summary."""

    def __init__(
        self,
        input_shape: Shape,
        num_outputs: int,
        *,
        depth: int,
        width: int,
        kernel: int,
        dilation: int,
        causal: bool,
        skip: bool,
        norm: Normalised,
        head: Literal["last", "average"],
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        features, steps = steps_of("tcn", input_shape)
        self.steps = Steps()
        self.blocks = nn.ModuleList(
            _Block(
                features if index == 0 else width,
                width,
                kernel=kernel,
                # From the number of steps on, all but one weight read padding, however
                # large the dilation is.
                dilation=min(dilation**index, steps),
                causal=causal,
                skip=skip,
                norm=norm,
                activation=activation,
                dropout=dropout,
            )
            for index in range(depth)
        )
        self.summary = head
        self.head = nn.Linear(width, num_outputs)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = self.steps(x)  # (N, features, L)
        inside = within(x, lengths)
        for block in self.blocks:
            x = block(x, inside)  # (N, width, L)
        last = self.summary == "last"
        h = last_step(x, lengths) if last else mean_over_steps(x, lengths)
        outputs: torch.Tensor = self.head(h)
        return outputs


@register(
    space={
        "depth": Choice((3, 4, 5)),
        "width": Choice((12, 25, 50)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def tcn(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 4,
    width: Count = 25,
    kernel: Count = 3,
    dilation: Count = 2,
    causal: bool = True,
    skip: bool = True,
    norm: Normalised = "weight",
    head: Literal["last", "average"] = "last",
    activation: Activation = "relu",
    dropout: Share = 0.0,
) -> nn.Module:
    """Dilated causal convolutions in residual blocks; no step sees what comes after it.

    Args:
        input_shape: (L,), read as L steps of one number; (C, L), as L steps of C
            numbers; or (C, H, W), as H steps, each a row of C * W numbers.
        num_outputs: Classes, or 1 for regression.
        depth: Blocks of two convolutions each.
        width: Channels of each convolution.
        kernel: Steps that each convolution reads.
        dilation: By how much the steps that a convolution reads lie further apart in
            each block than in the one before; 1: they are neighbours in all.
        causal: Whether a convolution reads its own step and those before it; else as
            many behind it.
        skip: Whether each block is added to its input.
        norm: "weight": each channel's weights have a length of their own, apart from
            their direction; or what stands between each convolution and its activation,
            with statistics over the steps within each sequence.
        head: What of all steps the outputs are computed from: the last one, or their
            mean.
        activation: After each convolution and each block.
        dropout: The share of each convolution's channels that is dropped.

    Raises:
        ArmError: The input has no such shape.
    """
    return _Tcn(
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        kernel=kernel,
        dilation=dilation,
        causal=causal,
        skip=skip,
        norm=norm,
        head=head,
        activation=activation,
        dropout=dropout,
    )

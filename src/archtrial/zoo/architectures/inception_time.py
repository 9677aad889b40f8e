"""InceptionTime: convolutions of several long kernels side by side, for time series.

Paper: "InceptionTime: Finding AlexNet for Time Series Classification"
    (arXiv 1909.04939), Data Mining and Knowledge Discovery 34.
Authors: Hassan Ismail Fawaz, Benjamin Lucas, Germain Forestier, Charlotte Pelletier,
    Daniel F. Schmidt, Jonathan Weber, Geoffrey I. Webb, Lhassane Idoumghar, Pierre-Alain
    Muller and Francois Petitjean, 2019.
Status: one network. The paper's InceptionTime is the mean of five of them that differ
    in their initial weights; a trial compares what one training reaches. The layers of
    `inception_time_large` are the authors' (six modules of 32 filters, kernels of 40, 20
    and 10, the identity around every three): 420,450 parameters on a univariate series
    with two classes. The paper states no count. The defaults are a small form, and ours.
    So are other normalisations, flattening and images read row by row.

New was how far one architecture, the same for all 85 data sets of the UCR archive, gets:
as accurate as the ensembles of its day, in hours instead of days. Parallel kernels
behind a bottleneck are GoogLeNet's, there of 1 to 5 pixels and here of up to 40 steps,
which see a whole pattern of a series at once; the identity around modules is from
ResNet, global average pooling from network-in-network.

It costs width^2 times the sum of the kernels multiplications a step and module. Try it
first for time series of a hundred examples and more.
"""

import torch
from torch import nn
from torch.nn import functional

from archtrial.space import Choice, Real
from archtrial.zoo.layers import Activation, Head
from archtrial.zoo.layers import activation as activation_layer
from archtrial.zoo.lengths import mean_over_steps
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register
from archtrial.zoo.sequences import StepNorm, Steps, steps_of, within, zeroed

__all__ = ["inception_time"]

_AROUND = 3  # modules that one identity leads around


class _Convolution(nn.Module):
    """A convolution that keeps the steps, with a kernel of any length."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool) -> None:
        super().__init__()
        # The one more that an even kernel needs lies behind, as in the authors' code.
        self.padding = ((kernel - 1) // 2, kernel // 2)
        self.convolution = nn.Conv1d(inputs, outputs, kernel, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.convolution(functional.pad(x, self.padding))
        return y


class _Module(nn.Module):
    """The paper's figure 2: (N, inputs, L) -> (N, width * (kernels + 1), L)."""

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        kernels: tuple[int, ...],
        bottleneck: bool,
        norm: Norm,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.bottleneck: nn.Module = nn.Identity()
        read = inputs
        if bottleneck and inputs > 1:  # one channel has nothing to mix
            self.bottleneck = nn.Conv1d(inputs, width, 1, bias=False)
            read = width
        bias = norm == "none"  # a norm brings an offset of its own
        self.branches = nn.ModuleList(
            _Convolution(read, width, kernel, bias) for kernel in kernels
        )
        self.pool = nn.MaxPool1d(3, stride=1, padding=1)
        self.pooled = nn.Conv1d(inputs, width, 1, bias=bias)
        self.norm = StepNorm(norm, width * (len(kernels) + 1))
        self.activation = activation_layer(activation)

    def forward(self, x: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        h = self.bottleneck(zeroed(x, inside))
        parts = [branch(h) for branch in self.branches]
        parts.append(self.pooled(self._largest(x, inside)))
        y: torch.Tensor = self.activation(self.norm(torch.cat(parts, 1), inside))
        return y

    def _largest(self, x: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        """Returns the largest of each three neighbours, of those within the sequence."""
        if inside is None:
            largest: torch.Tensor = self.pool(x)
            return largest
        lowest = torch.finfo(x.dtype).min
        return zeroed(self.pool(torch.where(inside, x, lowest)), inside)


class _InceptionTime(nn.Module):
    """Modules, the identity around every three, then a linear layer."""

    def __init__(
        self,
        input_shape: Shape,
        num_outputs: int,
        *,
        depth: int,
        width: int,
        kernels: tuple[int, ...],
        bottleneck: bool,
        skip: bool,
        norm: Norm,
        head: Head,
        activation: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        features, steps = steps_of("inception_time", input_shape)
        self.steps = Steps()
        wide = width * (len(kernels) + 1)
        self.blocks = nn.ModuleList(
            _Module(
                features if index == 0 else wide,
                width,
                kernels=kernels,
                bottleneck=bottleneck,
                norm=norm,
                activation=activation,
            )
            for index in range(depth)
        )
        groups = depth // _AROUND if skip else 0
        self.shortcuts = nn.ModuleList(
            nn.Conv1d(features if index == 0 else wide, wide, 1, bias=norm == "none")
            for index in range(groups)
        )
        self.norms = nn.ModuleList(StepNorm(norm, wide) for _ in range(groups))
        self.activation = activation_layer(activation)
        self.average = head == "average"
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        self.head = nn.Linear(wide if self.average else wide * steps, num_outputs)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        x = before = self.steps(x)  # (N, features, L)
        inside = within(x, lengths)
        for index, block in enumerate(self.blocks):
            x = block(x, inside)  # (N, wide, L)
            group, place = divmod(index, _AROUND)
            if place == _AROUND - 1 and group < len(self.shortcuts):
                shortcut = self.norms[group](self.shortcuts[group](before), inside)
                x = before = self.activation(x + shortcut)
        if self.average:
            h = mean_over_steps(x, lengths)
        else:
            h = zeroed(x, inside).flatten(1)
        outputs: torch.Tensor = self.head(self.dropout(h))
        return outputs


@register(
    space={
        "depth": Choice((3, 6)),
        "width": Choice((8, 16, 32)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
    names="embedded",
)
def inception_time(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 3,
    width: Count = 16,
    kernels: tuple[Count, ...] = (20, 10, 5),
    bottleneck: bool = True,
    skip: bool = True,
    norm: Norm = "batch",
    head: Head = "average",
    activation: Activation = "relu",
    dropout: Share = 0.0,
) -> nn.Module:
    """Inception modules for series: long kernels of several sizes side by side.

    Args:
        input_shape: (L,), read as L steps of one number; (C, L), as L steps of C
            numbers; or (C, H, W), as H steps, each a row of C * W numbers.
        num_outputs: Classes, or 1 for regression.
        depth: Modules.
        width: Filters of each kernel, of the bottleneck and of the pooled branch.
        kernels: Steps that the convolutions of a module read, one each.
        bottleneck: Whether a module's input is reduced to `width` channels before its
            kernels, where it has more than one.
        skip: Whether what came before is added after every third module; fewer than
            three have nothing around them either way.
        norm: What stands before each activation, with statistics over the steps within
            each sequence.
        head: "average": the mean over steps; "flatten": a weight for each step.
        activation: After each module.
        dropout: The share of the linear layer's inputs that is dropped.

    Raises:
        ArmError: The input has no such shape.
    """
    return _InceptionTime(
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        kernels=kernels,
        bottleneck=bottleneck,
        skip=skip,
        norm=norm,
        head=head,
        activation=activation,
        dropout=dropout,
    )

"""Recurrent networks: RNN, LSTM and GRU, read step by step from both ends.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the GRU
    baseline: one bidirectional layer of 6 units, the states of all 40 steps
    concatenated into a linear layer. The cells: Elman 1990 (RNN), Hochreiter and
    Schmidhuber 1997 (LSTM), Cho et al. 2014, arXiv 1406.1078 (GRU).
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: `gru` has the paper's 5,134 parameters on MNIST-1D, exactly. `lstm` and
    `rnn` are the same shape with another cell; the paper has neither.
"""

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real, Space
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["gru", "lstm", "rnn"]

_SPACE: Space = {"width": Choice((6, 12, 24)), "dropout": Real(0.0, 0.5)}


class _Recurrent(nn.Module):
    """A cell over the steps of one example, then a linear layer on all its states."""

    def __init__(
        self,
        cell: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU],
        input_shape: Shape,
        num_outputs: int,
        *,
        depth: int,
        width: int,
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if len(input_shape) not in (1, 2, 3):
            raise ArmError(
                f"{cell.__name__.lower()} needs sequences (L,) or (C, L), or images"
                " (C, H, W), whose rows are the steps",
                f"one example has the shape {tuple(input_shape)}",
                "Take mlp or linear, which flatten their input.",
            )
        channels, steps, *row = (
            input_shape if len(input_shape) > 1 else (1, *input_shape)
        )
        features = channels * (row[0] if row else 1)
        self.flat = len(input_shape) == 1
        self.cell = cell(
            features, width, depth, batch_first=True, bidirectional=bidirectional
        )
        directions = 2 if bidirectional else 1
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        self.head = nn.Linear(steps * directions * width, num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.flat:
            x = x.unsqueeze(1)  # (N, L) -> (N, 1, L)
        x = x.movedim(2, 1).flatten(2)  # (N, C, L, *row) -> (N, L, features)
        states, _ = self.cell(x)  # (N, L, directions * width)
        outputs: torch.Tensor = self.head(self.dropout(states.flatten(1)))
        return outputs


@register(space=_SPACE, kinds=ORDERED, names="embedded")
def gru(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 1,
    width: Count = 6,
    bidirectional: bool = True,
    dropout: Share = 0.0,
) -> nn.Module:
    """Gated recurrent units: a state that two gates renew or keep at each step.

    Args:
        input_shape: (L,), read as L steps of one number; (C, L), as L steps of C
            numbers; or (C, H, W), as H steps, each a row of C * W numbers.
        num_outputs: Classes, or 1 for regression.
        depth: Layers of cells, one upon another.
        width: Units of the state, in each direction.
        bidirectional: Whether a second cell reads from the end.
        dropout: The share of the linear layer's inputs that is dropped.

    Raises:
        ArmError: The input has no such shape.
    """
    return _Recurrent(
        nn.GRU,
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        bidirectional=bidirectional,
        dropout=dropout,
    )


@register(space=_SPACE, kinds=ORDERED, names="embedded")
def lstm(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 1,
    width: Count = 6,
    bidirectional: bool = True,
    dropout: Share = 0.0,
) -> nn.Module:
    """Long short-term memory: a gated memory beside the state; options as in `gru`."""
    return _Recurrent(
        nn.LSTM,
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        bidirectional=bidirectional,
        dropout=dropout,
    )


@register(space=_SPACE, kinds=ORDERED, names="embedded")
def rnn(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 1,
    width: Count = 6,
    bidirectional: bool = True,
    dropout: Share = 0.0,
) -> nn.Module:
    """A plain recurrent network: tanh of state and input; options as in `gru`."""
    return _Recurrent(
        nn.RNN,
        input_shape,
        num_outputs,
        depth=depth,
        width=width,
        bidirectional=bidirectional,
        dropout=dropout,
    )

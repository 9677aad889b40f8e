"""Recurrent networks: RNN, LSTM and GRU, read step by step from both ends.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the GRU
    baseline: one bidirectional layer of 6 units, the states of all 40 steps
    concatenated into a linear layer. The cells: Elman 1990 (RNN), Hochreiter and
    Schmidhuber 1997 (LSTM), Cho et al. 2014, arXiv 1406.1078 (GRU).
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: `gru` has the paper's 5,134 parameters on MNIST-1D, exactly. `lstm` and
    `rnn` are the same shape with another cell; the paper has neither. Heads that read
    the last states or the mean of all are ours, not the paper's.

New in each: Elman's network has a state that every step renews from its input and from
the state before; long short-term memory keeps a memory beside it, which is added to and
not overwritten, so that gradients reach far back; gated recurrent units do with two gates
and without the memory. A second cell that reads from the end is Schuster and Paliwal's
(1997).

They cost about width^2 multiplications a step, few, but the steps come one after another.
Try them on series whose present depends on what came before, of up to some hundred steps;
`tcn` and `transformer` read all steps at once.
"""

from typing import Literal, TypeAlias

import torch
from torch import nn

from archtrial.space import Choice, Real, Space
from archtrial.zoo.lengths import mask, mean_over_steps
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register
from archtrial.zoo.sequences import last_step, steps_of

__all__ = ["gru", "lstm", "rnn"]

StateHead: TypeAlias = Literal["flatten", "average", "last"]

_SPACE: Space = {"width": Choice((6, 12, 24)), "dropout": Real(0.0, 0.5)}


class _Recurrent(nn.Module):
    """A cell over the steps of one example, then a linear layer on its states."""

    def __init__(
        self,
        cell: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU],
        input_shape: Shape,
        num_outputs: int,
        *,
        depth: int,
        width: int,
        bidirectional: bool,
        head: StateHead,
        dropout: float,
    ) -> None:
        super().__init__()
        features, steps = steps_of(cell.__name__.lower(), input_shape)
        self.flat = len(input_shape) == 1
        self.cell = cell(
            features, width, depth, batch_first=True, bidirectional=bidirectional
        )
        directions = 2 if bidirectional else 1
        self.summary = head
        self.dropout = nn.Dropout(dropout)  # there even at 0: one structure, one fleet
        read = steps * directions * width if head == "flatten" else directions * width
        self.head = nn.Linear(read, num_outputs)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        if self.flat:
            x = x.unsqueeze(1)  # (N, L) -> (N, 1, L)
        x = x.movedim(2, 1).flatten(2)  # (N, C, L, *row) -> (N, L, features)
        states = self._states(x, lengths)  # (N, L, directions * width)
        outputs: torch.Tensor = self.head(self.dropout(self._read(states, lengths)))
        return outputs

    def _states(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Returns the last layer's states at all steps, zero behind each end."""
        if lengths is None:
            states: torch.Tensor = self.cell(x)[0]
            return states
        within = mask(lengths, x.shape[1]).unsqueeze(2)  # (N, L, 1)
        if not self.cell.bidirectional:
            return torch.where(within, self.cell(x)[0], 0)
        # The cell itself would begin backwards in the padding. torch's way around it,
        # packed sequences, has batches that shrink from step to step; a fleet has none.
        for layer in range(self.cell.num_layers):
            forwards = self._direction(x, f"l{layer}")
            backwards = self._direction(_reversed(x, lengths), f"l{layer}_reverse")
            x = torch.cat([forwards, _reversed(backwards, lengths)], 2)
        return torch.where(within, x, 0)

    def _direction(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Returns the states (N, L, width) of one of the layer's own two cells."""
        cell = self.cell
        weights = [
            getattr(cell, f"{kind}_{name}")
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        start = x.new_zeros(1, len(x), cell.hidden_size)
        # With biases, of one layer, without dropout, one direction, the batch first.
        how = (True, 1, 0.0, self.training, False, True)
        if isinstance(cell, nn.LSTM):
            return torch.lstm(x, (start, start), weights, *how)[0]
        read = torch.gru if isinstance(cell, nn.GRU) else torch.rnn_tanh
        return read(x, start, weights, *how)[0]

    def _read(self, states: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """Returns what the head reads of all states."""
        if self.summary == "flatten":
            return states.flatten(1)
        if self.summary == "average":
            return mean_over_steps(states.mT, lengths)
        forwards = states[:, :, : self.cell.hidden_size]
        last = last_step(forwards.mT, lengths)
        # The cell that reads from the end has read all at the first step.
        return torch.cat([last, states[:, 0, self.cell.hidden_size :]], 1)


def _reversed(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Returns x (N, L, C) with each sequence turned around; padding stays behind it."""
    step = torch.arange(x.shape[1], device=x.device)
    ends = lengths.unsqueeze(1)
    source = torch.where(step < ends, ends - 1 - step, step)  # (N, L)
    return x.gather(1, source.unsqueeze(2).expand(-1, -1, x.shape[2]))


@register(space=_SPACE, kinds=ORDERED, names="embedded")
def gru(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 1,
    width: Count = 6,
    bidirectional: bool = True,
    head: StateHead = "flatten",
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
        head: What of the states the outputs are computed from: those of all steps, a
            weight for each; their mean; or where each cell is when it has read all.
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
        head=head,
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
    head: StateHead = "flatten",
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
        head=head,
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
    head: StateHead = "flatten",
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
        head=head,
        dropout=dropout,
    )

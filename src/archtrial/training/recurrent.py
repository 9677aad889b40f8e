"""Recurrent layers for many runs at once, as `stacked.py` has all other layers.

Names of axes: R runs, D directions, G = R x D cells side by side, H units, T
steps, B batch. Steps come first and the batch last: what is worked on in one
step then lies in one piece, and so does each gate of a cell. A backward
direction reads its input flipped, so all cells take the same step together.

What a cell reads at a step is one matrix [x; h; 1] of I + H + 1 rows, so that
one product with [W_ih, W_hh, b] gives all its gates, and another one the
gradients of input and state. tanh(a) is 1 - 2 s with s = sigmoid(-2 a), and the
factor -2 lies in the weights: torch's own tanh takes three times as long as its
sigmoid, and so all gates pass through a single one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["CELLS", "forget_rooms", "recurrent"]


def recurrent(
    cell: type[torch.autograd.Function],
    x: torch.Tensor,
    hx: torch.Tensor | Sequence[torch.Tensor],
    parameters: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, ...]:
    """Applies `torch.gru`, `lstm`, `rnn_tanh` or `rnn_relu`.

    Args:
        cell: One of `CELLS`.
        x: (runs, batch, T, inputs), or T before batch.
        hx: (runs, layers x directions, batch, H); of an LSTM state and memory.
        parameters: For each layer and direction weight_ih, weight_hh and, if
            there are biases, bias_ih and bias_hh, each with a leading axis of runs.
        has_biases: Whether there are.
        num_layers: Layers.
        dropout: Of the values that pass between layers.
        train: Whether in training.
        bidirectional: Whether a second cell reads from the end.
        batch_first: The order of axes.

    Returns:
        All states of the last layer, and the last states of all layers.

    Raises:
        NotImplementedError: Projections of an LSTM, and dropout between layers.
    """
    D = 2 if bidirectional else 1
    each = 4 if has_biases else 2
    if len(parameters) != num_layers * D * each:
        raise NotImplementedError("an LSTM with projections (proj_size)")
    if train and dropout > 0 and num_layers > 1:
        raise NotImplementedError("dropout between the layers of a recurrent network")
    first = [hx] if isinstance(hx, torch.Tensor) else hx
    h = x.permute(2, 0, 3, 1) if batch_first else x.permute(1, 0, 3, 2)  # (T, R, I, B)
    lasts = []
    for index in range(num_layers):
        at = slice(index * D, (index + 1) * D)
        cells = [
            parameters[i * each : (i + 1) * each] for i in range(at.start, at.stop)
        ]
        # Both directions of a run beside each other: (R, D, ...) -> (G, ...).
        tensors = [
            torch.stack(pair, 1).flatten(0, 1) for pair in zip(*cells, strict=True)
        ]
        starts = [state[:, at].flatten(0, 1).mT for state in first]
        both = torch.stack([h, h.flip(0)], 2).flatten(1, 2) if bidirectional else h
        result = cell.apply(  # type: ignore[no-untyped-call]
            both, _weights(cell, *tensors), *starts
        )
        states, *last = result if isinstance(result, tuple) else (result,)
        if bidirectional:
            forwards, backwards = torch.unflatten(states, 1, (-1, 2)).unbind(2)
            h = torch.cat([forwards, backwards.flip(0)], 2)  # (T, R, D H, B)
        else:
            h = states
        lasts.append([torch.unflatten(s.mT, 0, (-1, D)) for s in (states[-1], *last)])
    output = h.permute(1, 3, 0, 2) if batch_first else h.permute(1, 0, 3, 2)
    return output, *(torch.cat(group, 1) for group in zip(*lasts, strict=True))


def _weights(
    cell: type[torch.autograd.Function],
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None = None,
    bias_hh: torch.Tensor | None = None,
) -> torch.Tensor:
    """Returns [W_ih, W_hh, b], in the order of gates that the cell wants.

    Args:
        cell: As in `recurrent`.
        weight_ih: (G, gates x H, I).
        weight_hh: (G, gates x H, H).
        bias_ih: (G, gates x H).
        bias_hh: (G, gates x H).

    Returns:
        (G, gates' x H, I + H + 1).
    """
    if bias_ih is None or bias_hh is None:
        bias_ih = bias_hh = weight_ih.new_zeros(weight_ih.shape[:2])
    if cell is _Gru:
        # r multiplies what the candidate n takes from h, not what it takes from x.
        r_z = slice(0, 2 * weight_hh.shape[2])
        n = slice(r_z.stop, None)
        no_x, no_h = (
            torch.zeros_like(weight_ih[:, n]),
            torch.zeros_like(weight_hh[:, n]),
        )
        weight_ih = torch.cat([no_x, weight_ih[:, r_z], -2 * weight_ih[:, n]], 1)
        weight_hh = torch.cat([-2 * weight_hh[:, n], weight_hh[:, r_z], no_h], 1)
        both = bias_ih[:, r_z] + bias_hh[:, r_z]
        bias = torch.cat([-2 * bias_hh[:, n], both, -2 * bias_ih[:, n]], 1)
        return torch.cat([weight_ih, weight_hh, bias.unsqueeze(2)], 2)
    weights = torch.cat([weight_ih, weight_hh, (bias_ih + bias_hh).unsqueeze(2)], 2)
    if cell is _Lstm:
        i, f, g, o = weights.chunk(4, 1)
        return torch.cat([i, f, o, -2 * g], 1)
    return -2 * weights if cell is _Tanh else weights


def _read(x: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Returns room for [x; h; 1] of all steps, (1 + T, G, I + H + 1, B).

    Filled in are x, the ones and, at step 0, the first state; after the last
    step there is a state alone.
    """
    T, G, inputs, B = x.shape
    H = first.shape[1]
    room = x.new_empty(1 + T, G, inputs + H + 1, B)
    room[:T, :, :inputs] = x
    room[T, :, :inputs] = 0
    room[0, :, inputs:-1] = first
    room[:, :, -1] = 1
    return room


def _weight_gradient(for_gates: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """Sums over steps and batch: (T, G, gates, B) by (1 + T, G, *, B) -> (G, gates, *)."""
    each = torch.bmm(for_gates.flatten(0, 1), read[:-1].flatten(0, 1).mT)
    return torch.unflatten(each, 0, (len(for_gates), -1)).sum(0)


_free: dict[tuple[Any, ...], list[torch.Tensor]] = {}


def _room(like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Returns a tensor with undefined values, one that was given back if possible.

    A fleet's gates take megabytes at each step, and to touch as much fresh memory
    takes longer than to compute what is written there.
    """
    rooms = _free.get((shape, like.device, like.dtype))
    return rooms.pop() if rooms else like.new_empty(shape)


def _give_back(*rooms: torch.Tensor) -> None:
    """Takes tensors for `_room`, which nobody may hold any more."""
    for room in rooms:
        key = (tuple(room.shape), room.device, room.dtype)
        _free.setdefault(key, []).append(room)


def forget_rooms() -> None:
    """Frees what is kept from one step for the next."""
    _free.clear()


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class _Gru(torch.autograd.Function):
    """h' = n + z (h - n), with r, z = sigmoid(...), n = tanh(x's part + r (h's part)).

    Gates: -2 times what n takes from h; r; z; and s, where n = 1 - 2 s.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weights: torch.Tensor, first: torch.Tensor
    ) -> torch.Tensor:
        T, G, inputs, B = x.shape
        H = first.shape[1]
        read = _read(x, first)
        h = read[:, :, inputs:-1]
        gates = _room(x, T, G, 4 * H, B)
        from_h, r, z, s = gates.chunk(4, 2)
        r_z = gates[:, :, H : 3 * H]
        one = x.new_ones(())
        for t in range(T):
            torch.bmm(weights, read[t], out=gates[t])
            r_z[t].sigmoid_()
            s[t].addcmul_(r[t], from_h[t]).sigmoid_()
            n = torch.sub(one, s[t], alpha=2)
            torch.lerp(n, h[t], z[t], out=h[t + 1])
        ctx.save_for_backward(weights, read, gates)
        ctx.inputs = inputs
        return h[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weights, read, gates = ctx.saved_tensors
        h = read[:, :, ctx.inputs : -1]
        from_h, r, z, s = gates.chunk(4, 2)
        T, G, H, B = s.shape
        r_z = gates[:, :, H : 3 * H]
        for_x = read.new_empty(T, G, ctx.inputs, B)
        for_h = torch.zeros_like(s[0])
        for_r_z = torch.empty_like(r_z[0])
        one = read.new_ones(())
        # A step's gates give place to their gradients.
        for t in reversed(range(T)):
            for_h = for_h + gradients[0][t]
            kept = for_h * z[t]
            n = torch.sub(one, s[t], alpha=2)
            torch.mul(for_h, h[t] - n, out=for_r_z[:, H:])
            _sigmoid_backward((kept - for_h).mul_(2), s[t], grad_input=s[t])
            torch.mul(s[t], from_h[t], out=for_r_z[:, :H])
            torch.mul(s[t], r[t], out=from_h[t])
            _sigmoid_backward(for_r_z, r_z[t], grad_input=r_z[t])
            for_read = torch.bmm(weights.mT, gates[t])
            for_x[t] = for_read[:, : ctx.inputs]
            for_h = kept.add_(for_read[:, ctx.inputs : -1])
        for_weights = _weight_gradient(gates, read)
        _give_back(gates)
        return for_x, for_weights, for_h


class _Lstm(torch.autograd.Function):
    """c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid(...), g = tanh(...).

    Gates: i; f; o; and s, where g = 1 - 2 s. Likewise tanh(c') = 1 - 2 s_c.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weights: torch.Tensor,
        first: torch.Tensor,
        memory: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        T, G, inputs, B = x.shape
        H = first.shape[1]
        read = _read(x, first)
        h = read[:, :, inputs:-1]
        c = _room(x, 1 + T, G, H, B)
        c[0] = memory
        s_c = _room(x, T, G, H, B)
        gates = _room(x, T, G, 4 * H, B)
        i, f, o, s = gates.chunk(4, 2)
        for t in range(T):
            torch.bmm(weights, read[t], out=gates[t]).sigmoid_()
            torch.addcmul(i[t], f[t], c[t], out=c[t + 1])
            c[t + 1].addcmul_(i[t], s[t], value=-2)
            torch.mul(c[t + 1], -2, out=s_c[t]).sigmoid_()
            torch.addcmul(o[t], o[t], s_c[t], value=-2, out=h[t + 1])
        ctx.save_for_backward(weights, read, gates, c, s_c)
        ctx.inputs = inputs
        return h[1:], c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        for_states, for_c = gradients
        weights, read, gates, c, s_c = ctx.saved_tensors
        i, f, o, s = gates.chunk(4, 2)
        for_x = torch.empty_like(read[1:, :, : ctx.inputs])
        for_h = torch.zeros_like(for_c)
        for_gates = torch.empty_like(gates[0])
        for_i, for_f, for_o, for_s = for_gates.chunk(4, 1)
        for t in reversed(range(len(for_x))):
            for_h = for_h + for_states[t]
            through_c = _sigmoid_backward(
                for_h * o[t], s_c[t], grad_input=torch.empty_like(for_h)
            )
            for_c = torch.add(for_c, through_c, alpha=4)
            torch.addcmul(for_c, for_c, s[t], value=-2, out=for_i)
            torch.mul(for_c, c[t], out=for_f)
            torch.addcmul(for_h, for_h, s_c[t], value=-2, out=for_o)
            torch.mul(for_c, i[t], out=for_s).mul_(-2)
            for_c = for_c * f[t]
            # The gates give place to their gradients.
            _sigmoid_backward(for_gates, gates[t], grad_input=gates[t])
            for_read = torch.bmm(weights.mT, gates[t])
            for_x[t] = for_read[:, : ctx.inputs]
            for_h = for_read[:, ctx.inputs : -1]
        for_weights = _weight_gradient(gates, read)
        _give_back(gates, c, s_c)
        return for_x, for_weights, for_h, for_c


class _Tanh(torch.autograd.Function):
    """h' = tanh(...); its one gate is -2 times what h' is the tanh of."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weights: torch.Tensor, first: torch.Tensor
    ) -> torch.Tensor:
        read = _read(x, first)
        h = read[:, :, x.shape[2] : -1]
        one = x.new_ones(())
        for t in range(len(x)):
            s = torch.bmm(weights, read[t]).sigmoid_()
            torch.sub(one, s, alpha=2, out=h[t + 1])
        ctx.save_for_backward(weights, read)
        ctx.inputs = x.shape[2]
        return h[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weights, read = ctx.saved_tensors
        h = read[:, :, ctx.inputs : -1]
        slope = (h[1:] * h[1:] - 1).mul_(0.5)
        return _elman_backward(weights, read, slope, gradients[0])


class _Relu(torch.autograd.Function):
    """h' = relu(...)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weights: torch.Tensor, first: torch.Tensor
    ) -> torch.Tensor:
        read = _read(x, first)
        h = read[:, :, x.shape[2] : -1]
        for t in range(len(x)):
            h[t + 1] = torch.bmm(weights, read[t]).relu_()
        ctx.save_for_backward(weights, read)
        ctx.inputs = x.shape[2]
        return h[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weights, read = ctx.saved_tensors
        slope = (read[1:, :, ctx.inputs : -1] > 0).to(read.dtype)
        return _elman_backward(weights, read, slope, gradients[0])


def _elman_backward(
    weights: torch.Tensor, read: torch.Tensor, slope: torch.Tensor, for_h: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Goes back through time where a state has a single gate, `slope` its slope."""
    T, G, H, B = slope.shape
    inputs = read.shape[2] - H - 1
    for_x = read.new_empty(T, G, inputs, B)
    carried = torch.zeros_like(slope[0])
    gates = torch.empty_like(slope)
    for t in reversed(range(T)):
        torch.mul(carried + for_h[t], slope[t], out=gates[t])
        for_read = torch.bmm(weights.mT, gates[t])
        for_x[t] = for_read[:, :inputs]
        carried = for_read[:, inputs:-1]
    return for_x, _weight_gradient(gates, read), carried


CELLS: dict[Callable[..., Any], type[torch.autograd.Function]] = {
    torch.gru: _Gru,
    torch.lstm: _Lstm,
    torch.rnn_tanh: _Tanh,
    torch.rnn_relu: _Relu,
}
"""The cell of each of torch's recurrent functions."""

"""Layers for many runs at once: the forms in which they are fast side by side.

Each function takes what its namesake in torch takes, with a leading axis of
runs on every tensor: run r's input meets run r's weights. A run's values never
enter another's, so one that has become NaN stays alone with it.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch.nn import functional

__all__ = [
    "batch_norm",
    "convolution",
    "gru_layer",
    "linear",
    "lstm_layer",
    "recurrent",
    "relu_layer",
    "tanh_layer",
]


def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Applies `torch.nn.functional.linear`.

    Args:
        x: (runs, ..., inputs).
        weight: (runs, outputs, inputs).
        bias: (runs, outputs).
    """
    rows = x.reshape(x.shape[0], -1, x.shape[-1])
    if bias is None:
        product = torch.bmm(rows, weight.mT)
    else:
        product = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
    return product.view(*x.shape[:-1], weight.shape[1])


def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Applies `torch.nn.functional.batch_norm`; running statistics change in place.

    Args:
        x: (runs, batch, channels, *sides).
        running_mean: (runs, channels), like the other three tensors.
        running_var: With the unbiased variance, as torch keeps it.
        weight: Scale.
        bias: Offset.
        training: Whether the batch's own statistics are used.
        momentum: The new batch's share of the running statistics.
        eps: Added to the variance.
    """

    def per_channel(values: torch.Tensor) -> torch.Tensor:
        return values.view(values.shape[0], 1, -1, *(1 for _ in x.shape[3:]))

    if training:
        others = (1, *range(3, x.dim()))
        count = math.prod(x.shape[axis] for axis in others)
        if count == 1:
            raise ValueError("batch_norm: more than 1 value per channel is needed")
        variance, mean = torch.var_mean(x, others, correction=0, keepdim=True)
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean.view_as(running_mean), momentum)
            if running_var is not None:
                unbiased = variance * (count / (count - 1))
                running_var.lerp_(unbiased.view_as(running_var), momentum)
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, variance = per_channel(running_mean), per_channel(running_var)
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * per_channel(weight)
    centred = x - mean
    if bias is None:
        return centred * scale
    return torch.addcmul(per_channel(bias), centred, scale)


# --------------------------------------------------------------------- convolution

# Up to this many values of windows a run (4 MB), one product of windows and
# kernels for all runs is faster than torch's own convolution run by run; beyond
# it, torch's is as fast and needs less memory (benchmarks/README.md).
_MOST_WINDOW_VALUES = 1_000_000


def convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Applies `torch.conv1d`, `conv2d` or `conv3d`.

    Args:
        x: (runs, batch, channels, *sides).
        weight: (runs, outputs, channels / groups, *kernel).
        bias: (runs, outputs).
        stride: As in torch, like the rest.
        padding: Positions on both ends, or "same" or "valid".
        dilation: Distance between the positions that a kernel reads.
        groups: Blocks of channels that do not see each other.

    Returns:
        (runs, batch, outputs, *sides); in memory the channels come last, which
        is the order that the next convolution reads fastest.
    """
    kernel = weight.shape[3:]
    strides = _each(stride, len(kernel))
    dilations = _each(dilation, len(kernel))
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    elif padding == "valid":
        pads = [(0, 0) for _ in kernel]
    else:
        assert not isinstance(padding, str)
        pads = [(p, p) for p in _each(padding, len(kernel))]
    outputs = [
        (side + sum(pad) - d * (k - 1) - 1) // s + 1
        for side, pad, d, k, s in zip(
            x.shape[3:], pads, dilations, kernel, strides, strict=True
        )
    ]
    windows = math.prod(outputs) * x.shape[1] * x.shape[2] * math.prod(kernel)
    if windows > _MOST_WINDOW_VALUES:
        function = (functional.conv1d, functional.conv2d, functional.conv3d)
        return torch.stack(
            [
                function[len(kernel) - 1](
                    x[run],
                    weight[run],
                    None if bias is None else bias[run],
                    stride,
                    padding,
                    dilation,
                    groups,
                )
                for run in range(len(x))
            ]
        )
    result: torch.Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, strides, pads, dilations, groups, outputs
    )
    return result


def _each(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * count
    return tuple(value) * (count if len(value) == 1 else 1)


class _Convolution(torch.autograd.Function):
    """One matrix product for each run and group: windows of the input by kernels.

    Names of axes: R runs, g groups, B batch, K positions of the kernel, C
    channels of a group, F filters of a group, N = B x positions of the output.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        strides: tuple[int, ...],
        pads: list[tuple[int, int]],
        dilations: tuple[int, ...],
        groups: int,
        outputs: list[int],
    ) -> torch.Tensor:
        R, B, channels, *sides = x.shape
        padded = [side + sum(pad) for side, pad in zip(sides, pads, strict=True)]
        last = x.movedim(2, -1)  # (R, B, *sides, channels)
        if any(sum(pad) for pad in pads):
            room = x.new_zeros(R, B, *padded, channels)
            room[_inside(pads, sides)] = last
            last = room
        kernel = weight.shape[3:]
        ctx.windows = (kernel, strides, dilations, groups, outputs)
        windows = _windows(last, *ctx.windows)
        K, C, F = math.prod(kernel), channels // groups, weight.shape[1] // groups
        columns = windows.reshape(R * groups, -1, K * C)  # (R g, N, K C)
        kernels = (  # (R g, K C, F)
            weight.reshape(R, groups, F, C, K)
            .permute(0, 1, 4, 3, 2)
            .reshape(R * groups, K * C, F)
        )
        if bias is None:
            product = torch.bmm(columns, kernels)
        else:
            product = torch.baddbmm(
                bias.reshape(R * groups, 1, F), columns, kernels
            )  # (R g, N, F)
        ctx.save_for_backward(columns, kernels)
        ctx.shapes = (x.shape, weight.shape, pads, padded)
        return (
            product.view(R, groups, B, *outputs, F)
            .movedim(1, -2)
            .reshape(R, B, *outputs, groups * F)
            .movedim(-1, 2)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients  # (R, B, g F, *outputs)
        columns, kernels = ctx.saved_tensors
        x_shape, weight_shape, pads, padded = ctx.shapes
        kernel, _, _, groups, outputs = ctx.windows
        R, B, channels, *sides = x_shape
        K, C, F = math.prod(kernel), channels // groups, weight_shape[1] // groups
        rows = (  # (R g, N, F)
            gradient.movedim(2, -1)
            .reshape(R, B, *outputs, groups, F)
            .movedim(-2, 1)
            .reshape(R * groups, -1, F)
        )
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            spread = torch.bmm(rows, kernels.mT)  # (R g, N, K C)
            spread = spread.view(R, groups, B, *outputs, *kernel, C)
            room = gradient.new_zeros(R, B, *padded, channels)
            windows = _windows(room, *ctx.windows)
            # Windows overlap, but not where they read the same position of the
            # kernel.
            for position in itertools.product(*map(range, kernel)):
                at: tuple[Any, ...] = (..., *position, slice(None))
                windows[at] += spread[at]
            for_x = room[_inside(pads, sides)].movedim(-1, 2)
        if ctx.needs_input_grad[1]:
            for_weight = (
                torch.bmm(columns.mT, rows)  # (R g, K C, F)
                .view(R, groups, K, C, F)
                .permute(0, 1, 4, 3, 2)
                .reshape(weight_shape)
            )
        if ctx.needs_input_grad[2]:
            for_bias = rows.sum(1).view(R, groups * F)
        return for_x, for_weight, for_bias, None, None, None, None, None


def _inside(pads: list[tuple[int, int]], sides: list[int]) -> tuple[Any, ...]:
    """Returns the index of what is not padding, of (R, B, *sides, channels)."""
    inside = (
        slice(before, before + side)
        for (before, _), side in zip(pads, sides, strict=True)
    )
    return (slice(None), slice(None), *inside)


def _windows(
    x: torch.Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
    outputs: Sequence[int],
) -> torch.Tensor:
    """Returns what each output position reads, as a view without any copy.

    Args:
        x: (R, B, *sides, channels), padded.
        kernel: Its sides.
        strides: Of the convolution.
        dilations: Of the convolution.
        groups: Of the convolution.
        outputs: Sides of the output.

    Returns:
        (R, g, B, *outputs, *kernel, channels / g).
    """
    R, B, *_, channels = x.shape
    run, example, *position, channel = x.stride()
    C = channels // groups
    return x.as_strided(
        (R, groups, B, *outputs, *kernel, C),
        (
            run,
            C * channel,
            example,
            *(p * s for p, s in zip(position, strides, strict=True)),
            *(p * d for p, d in zip(position, dilations, strict=True)),
            channel,
        ),
        x.storage_offset(),
    )


# ---------------------------------------------------------------- recurrent layers
#
# Names of axes: R runs, D directions, G = R x D cells side by side, H units, T
# steps, B batch. The batch comes last, so that the gates of a cell are slices
# whose values lie next to each other. A backward direction reads its input
# flipped, hence all cells take the same step together.


# A layer takes its input (G, inputs, T, B), the weights and biases of its cells
# (G, gates, inputs), (G, gates, H) and twice (G, gates, 1) or None, and the first
# states, each (G, H, B). It returns all states (G, H, T, B) and the last ones.
_Layer: TypeAlias = Callable[..., tuple[torch.Tensor, tuple[torch.Tensor, ...]]]


def recurrent(
    layer: _Layer,
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
        layer: `gru_layer`, `lstm_layer`, `tanh_layer` or `relu_layer`.
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
    h = x.permute(0, 3, 2, 1) if batch_first else x.permute(0, 3, 1, 2)  # (R, *, T, B)
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
        biases = [b.unsqueeze(2) for b in tensors[2:]] if has_biases else [None, None]
        starts = [state[:, at].flatten(0, 1).mT for state in first]
        both = torch.stack([h, h.flip(2)], 1).flatten(0, 1) if bidirectional else h
        states, last = layer(both, *tensors[:2], *biases, *starts)
        if bidirectional:
            forwards, backwards = torch.unflatten(states, 0, (-1, 2)).unbind(1)
            h = torch.cat([forwards, backwards.flip(2)], 1)  # (R, D H, T, B)
        else:
            h = states
        lasts.append([torch.unflatten(state.mT, 0, (-1, D)) for state in last])
    output = h.permute(0, 3, 2, 1) if batch_first else h.permute(0, 2, 3, 1)
    return output, *(torch.cat(group, 1) for group in zip(*lasts, strict=True))


def _projected(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Returns what the input adds to the gates, at all steps at once: (G, gates, T, B)."""
    flat = x.reshape(*x.shape[:2], -1)
    if bias is None:
        product = torch.bmm(weight, flat)
    else:
        product = torch.baddbmm(bias, weight, flat)
    return product.view(*product.shape[:2], *x.shape[2:])


def gru_layer(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None,
    bias_hh: torch.Tensor | None,
    first: torch.Tensor,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """One layer of gated recurrent units (Cho et al. 2014); see `recurrent`."""
    if bias_hh is None:
        bias_hh = weight_hh.new_zeros(*weight_hh.shape[:2], 1)
    states = _Gru.apply(  # type: ignore[no-untyped-call]
        _projected(x, weight_ih, bias_ih), weight_hh, bias_hh, first
    )
    return states, (states[:, :, -1],)


def lstm_layer(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None,
    bias_hh: torch.Tensor | None,
    first: torch.Tensor,
    memory: torch.Tensor,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """One layer of Hochreiter and Schmidhuber's (1997) cells; see `recurrent`."""
    bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    states, last_memory = _Lstm.apply(  # type: ignore[no-untyped-call]
        _projected(x, weight_ih, bias), weight_hh, first, memory
    )
    return states, (states[:, :, -1], last_memory)


def tanh_layer(
    x: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None,
    bias_hh: torch.Tensor | None,
    first: torch.Tensor,
    activation: Callable[[torch.Tensor], torch.Tensor] = torch.tanh_,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """One layer of Elman's (1990) cells; see `recurrent`."""
    bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    states = _Rnn.apply(  # type: ignore[no-untyped-call]
        _projected(x, weight_ih, bias), weight_hh, first, activation
    )
    return states, (states[:, :, -1],)


relu_layer: _Layer = functools.partial(tanh_layer, activation=torch.relu_)


def _with_first(first: torch.Tensor, steps: int) -> torch.Tensor:
    """Returns room for the states (G, H, 1 + T, B), the first one filled in."""
    G, H, B = first.shape
    room = first.new_empty(G, H, 1 + steps, B)
    room[:, :, 0] = first
    return room


def _weight_gradient(gates: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Sums over steps and batch: (G, gates, T, B) by (G, H, T, B) -> (G, gates, H)."""
    return torch.bmm(gates.flatten(2), states.flatten(2).mT)


class _Gru(torch.autograd.Function):
    """h' = n + z (h - n), with r, z = sigmoid(...), n = tanh(i_n + r (W_n h + b_n))."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        first: torch.Tensor,
    ) -> torch.Tensor:
        G, gates, T, B = projected.shape
        H = gates // 3
        h = _with_first(first, T)
        rz = projected.new_empty(G, 2 * H, T, B)
        n, from_h = projected.new_empty(2, G, H, T, B)
        steps = zip(
            projected[:, : 2 * H].unbind(2),
            projected[:, 2 * H :].unbind(2),
            rz.unbind(2),
            n.unbind(2),
            from_h.unbind(2),
            h[:, :, :-1].unbind(2),
            h[:, :, 1:].unbind(2),
            strict=True,
        )
        for into_rz, into_n, rz_t, n_t, from_h_t, h_t, h_next in steps:
            product = torch.baddbmm(bias, weight, h_t)
            torch.add(into_rz, product[:, : 2 * H], out=rz_t).sigmoid_()
            from_h_t.copy_(product[:, 2 * H :])
            torch.addcmul(into_n, rz_t[:, :H], from_h_t, out=n_t).tanh_()
            torch.lerp(n_t, h_t, rz_t[:, H:], out=h_next)
        ctx.save_for_backward(weight, h, rz, n, from_h)
        return h[:, :, 1:]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weight, h, rz, n, from_h = ctx.saved_tensors
        r, z = rz.chunk(2, 1)
        G, H, T, B = n.shape
        # What d h' is multiplied with, for all steps at once.
        by_n = (1 - z) * (1 - n * n)
        by_z = (h[:, :, :-1] - n) * z * (1 - z)
        by_r = from_h * r * (1 - r)
        # d of W h + b for r, z and n; that of the projected input differs in n.
        d_recurrent = n.new_empty(G, 3 * H, T, B)
        d_n = torch.empty_like(n)
        steps = zip(
            gradients[0].unbind(2),
            by_n.unbind(2),
            by_z.unbind(2),
            by_r.unbind(2),
            r.unbind(2),
            z.unbind(2),
            d_n.unbind(2),
            d_recurrent.unbind(2),
            strict=True,
        )
        d_h = torch.zeros_like(h[:, :, 0])
        for g_t, by_n_t, by_z_t, by_r_t, r_t, z_t, d_n_t, d_all in reversed([*steps]):
            d_r, d_z, d_from_h = d_all.chunk(3, 1)
            d_h = d_h + g_t
            torch.mul(d_h, by_n_t, out=d_n_t)
            torch.mul(d_h, by_z_t, out=d_z)
            torch.mul(d_n_t, by_r_t, out=d_r)
            torch.mul(d_n_t, r_t, out=d_from_h)
            d_h = torch.baddbmm(d_h * z_t, weight.mT, d_all)
        d_projected = torch.cat([d_recurrent[:, : 2 * H], d_n], 1)
        return (
            d_projected,
            _weight_gradient(d_recurrent, h[:, :, :-1]),
            d_recurrent.sum((2, 3)).unsqueeze(2),
            d_h,
        )


class _Lstm(torch.autograd.Function):
    """c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid(...), g = tanh(...)."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: torch.Tensor,
        weight: torch.Tensor,
        first: torch.Tensor,
        memory: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        G, four, T, B = projected.shape
        H = four // 4
        h, c = _with_first(first, T), _with_first(memory, T)
        gates = projected.new_empty(G, four, T, B)
        tanh_c = projected.new_empty(G, H, T, B)
        steps = zip(
            projected.unbind(2),
            gates.unbind(2),
            h[:, :, :-1].unbind(2),
            h[:, :, 1:].unbind(2),
            c[:, :, :-1].unbind(2),
            c[:, :, 1:].unbind(2),
            tanh_c.unbind(2),
            strict=True,
        )
        for into, gates_t, h_t, h_next, c_t, c_next, tanh_t in steps:
            torch.baddbmm(into, weight, h_t, out=gates_t)
            gates_t[:, : 2 * H].sigmoid_()
            gates_t[:, 3 * H :].sigmoid_()
            i, f, g, o = gates_t.chunk(4, 1)
            g.tanh_()
            torch.mul(f, c_t, out=c_next).addcmul_(i, g)
            torch.tanh(c_next, out=tanh_t)
            torch.mul(o, tanh_t, out=h_next)
        ctx.save_for_backward(weight, h, c, gates, tanh_c)
        return h[:, :, 1:], c[:, :, -1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        for_states, for_memory = gradients
        weight, h, c, gates, tanh_c = ctx.saved_tensors
        i, f, g, o = gates.chunk(4, 1)
        # What d c' and, for o, d h' are multiplied with, for all steps at once.
        by_all = torch.cat(
            [
                g * i * (1 - i),
                c[:, :, :-1] * f * (1 - f),
                i * (1 - g * g),
                tanh_c * o * (1 - o),
            ],
            1,
        )
        by_c = o * (1 - tanh_c * tanh_c)
        by_all = torch.unflatten(by_all, 1, (4, -1))  # (G, 4, H, T, B)
        d_gates = torch.empty_like(by_all)
        steps = zip(
            for_states.unbind(2),
            by_c.unbind(2),
            f.unbind(2),
            by_all[:, :3].unbind(3),
            by_all[:, 3].unbind(2),
            d_gates[:, :3].unbind(3),
            d_gates[:, 3].unbind(2),
            d_gates.flatten(1, 2).unbind(2),
            strict=True,
        )
        d_h, d_c = torch.zeros_like(for_memory), for_memory
        for g_t, by_c_t, f_t, by_ifg, by_o, d_ifg, d_o, d_all in reversed([*steps]):
            d_h = d_h + g_t
            d_c = torch.addcmul(d_c, d_h, by_c_t)
            torch.mul(by_ifg, d_c.unsqueeze(1), out=d_ifg)
            torch.mul(by_o, d_h, out=d_o)
            d_h = torch.bmm(weight.mT, d_all)
            d_c = d_c * f_t
        d_projected = d_gates.flatten(1, 2)
        return d_projected, _weight_gradient(d_projected, h[:, :, :-1]), d_h, d_c


class _Rnn(torch.autograd.Function):
    """h' = activation(W h + ...), the activation being tanh or relu, in place."""

    @staticmethod
    def forward(
        ctx: Any,
        projected: torch.Tensor,
        weight: torch.Tensor,
        first: torch.Tensor,
        activation: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        h = _with_first(first, projected.shape[2])
        states = h.unbind(2)
        for into, h_t, h_next in zip(
            projected.unbind(2), states[:-1], states[1:], strict=True
        ):
            activation(torch.baddbmm(into, weight, h_t, out=h_next))
        ctx.save_for_backward(weight, h)
        ctx.is_tanh = activation is torch.tanh_
        return h[:, :, 1:]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        weight, h = ctx.saved_tensors
        after = h[:, :, 1:]
        slope = 1 - after * after if ctx.is_tanh else (after > 0).to(h.dtype)
        d_projected = torch.empty_like(slope)
        steps = zip(
            gradients[0].unbind(2), slope.unbind(2), d_projected.unbind(2), strict=True
        )
        d_h = torch.zeros_like(h[:, :, 0])
        for g_t, slope_t, d_t in reversed([*steps]):
            torch.mul(d_h + g_t, slope_t, out=d_t)
            d_h = torch.bmm(weight.mT, d_t)
        return d_projected, _weight_gradient(d_projected, h[:, :, :-1]), d_h, None

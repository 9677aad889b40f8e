"""Layers for many runs at once: the forms in which they are fast side by side.

Each function takes what its namesake in torch takes, with a leading axis of
runs on every tensor: run r's input meets run r's weights. A run's values never
enter another's, so one that has become NaN stays alone with it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional

__all__ = [
    *("CELLS", "batch_norm", "convolution", "embedding", "linear", "pooling"),
    "recurrent",
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
    if x.dim() > 3:
        # Of tokens or positions: what follows reads the values of each side by side.
        rows = x.reshape(x.shape[0], -1, x.shape[-1])
        if bias is None:
            product = torch.bmm(rows, weight.mT)
        else:
            product = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
        return product.view(*x.shape[:-1], weight.shape[1])
    # With the batch last, the weights' gradient comes out in the weights' own order.
    rows = x.reshape(x.shape[0], -1, x.shape[-1]).mT
    if bias is None:
        product = torch.bmm(weight, rows)
    else:
        product = torch.baddbmm(bias.unsqueeze(2), weight, rows)
    return product.mT.reshape(*x.shape[:-1], weight.shape[1])


def embedding(
    rows: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> torch.Tensor:
    """Applies `torch.nn.functional.embedding`.

    Args:
        rows: (runs, ...), whole numbers.
        weight: (runs, words, values).
        padding_idx: The word that no gradient reaches.
        max_norm: As in torch, like the rest.
        norm_type: Of `max_norm`.
        scale_grad_by_freq: By how often a word occurs.
        sparse: The gradient.

    Raises:
        NotImplementedError: Whatever is more than to look up rows.
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError("an embedding that changes weights or gradients")
    runs, words, values = weight.shape
    if padding_idx is not None:
        # One table for all runs has as many rows of padding as there are runs.
        padding = torch.arange(words, device=weight.device) == padding_idx % words
        weight = torch.where(padding.unsqueeze(1), weight.detach(), weight)
    table = weight.reshape(runs * words, values)
    starts = torch.arange(runs, device=rows.device) * words
    return functional.embedding(rows + starts.view(-1, *[1] * (rows.dim() - 1)), table)


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
        count = x.shape[1] * math.prod(x.shape[3:])
        if count == 1:
            raise ValueError("batch_norm: more than 1 value per channel is needed")
        if _on_a_gpu(x):
            # torch's own there reads x twice; all values of a channel lie in one piece.
            last = x.movedim(1, -1)
            rows = last.reshape(1, x.shape[0] * x.shape[2], -1)
            together = functional.batch_norm(
                rows,
                None if running_mean is None else running_mean.view(-1),
                None if running_var is None else running_var.view(-1),
                None if weight is None else weight.reshape(-1),
                None if bias is None else bias.reshape(-1),
                True,
                momentum,
                eps,
            )
            return together.view(last.shape).movedim(-1, 1)
        scale = None if weight is None else per_channel(weight)
        offset = None if bias is None else per_channel(bias)
        result, mean, variance = _BatchNorm.apply(x, scale, offset, eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean.view_as(running_mean), momentum)
            if running_var is not None:
                unbiased = variance * (count / (count - 1))
                running_var.lerp_(unbiased.view_as(running_var), momentum)
        normalised: torch.Tensor = result
        return normalised
    assert running_mean is not None
    assert running_var is not None
    scale = torch.rsqrt(per_channel(running_var) + eps)
    if weight is not None:
        scale = scale * per_channel(weight)
    centred = x - per_channel(running_mean)
    if bias is None:
        return centred * scale
    return torch.addcmul(per_channel(bias), centred, scale)


# About so many values (512 KB) go through all of a layer's passes before the next ones
# do: they are still in the cache then.
_AT_ONCE = 2**17


class _BatchNorm(torch.autograd.Function):
    """Batch normalisation by simple passes, which are faster than torch's own.

    torch adds up a channel value by value, in its layer as in `var_mean`; its sums and
    products take several at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        scale: torch.Tensor | None,
        offset: torch.Tensor | None,
        eps: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        others = (1, *range(3, x.dim()))
        standard, out = torch.empty_like(x), torch.empty_like(x)
        mean = x.new_empty(len(x), 1, x.shape[2], *(1 for _ in x.shape[3:]))
        variance, inverse = torch.empty_like(mean), torch.empty_like(mean)
        for part in _parts(x):
            own, result = standard[part], out[part]
            torch.mean(x[part], others, keepdim=True, out=mean[part])
            torch.sub(x[part], mean[part], out=own)
            torch.mul(own, own, out=result)
            torch.mean(result, others, keepdim=True, out=variance[part])
            torch.add(variance[part], eps, out=inverse[part]).rsqrt_()
            own.mul_(inverse[part])
            if scale is None:
                result.copy_(own)
            else:
                torch.mul(own, scale[part], out=result)
            if offset is not None:
                result.add_(offset[part])
        ctx.mark_non_differentiable(mean, variance)
        ctx.save_for_backward(standard, inverse, scale)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        standard, inverse, scale = ctx.saved_tensors
        rows = gradients[0]
        others = (1, *range(3, rows.dim()))
        count = rows.shape[1] * math.prod(rows.shape[3:])
        for_x = torch.empty_like(standard)
        for_scale, for_offset = torch.empty_like(inverse), torch.empty_like(inverse)
        for part in _parts(rows):
            result, own = for_x[part], standard[part]
            torch.sum(rows[part], others, keepdim=True, out=for_offset[part])
            torch.mul(rows[part], own, out=result)
            torch.sum(result, others, keepdim=True, out=for_scale[part])
            torch.mul(own, for_scale[part] / -count, out=result)
            result.add_(rows[part]).sub_(for_offset[part] / count)
            slope = inverse[part]
            result.mul_(slope if scale is None else slope * scale[part])
        needs = ctx.needs_input_grad
        return (
            for_x,
            for_scale if needs[1] else None,
            for_offset if needs[2] else None,
            None,
        )


def _parts(x: torch.Tensor) -> Iterator[tuple[slice, ...]]:
    """Divides runs, or the channels of each, so that few values are in a part."""
    runs, _, channels = x.shape[:3]
    of_channel = max(1, x[0, :, 0].numel())
    if of_channel * channels <= _AT_ONCE:
        count = _AT_ONCE // (of_channel * channels)
        for start in range(0, runs, count):
            yield (slice(start, start + count),)
        return
    count = max(1, _AT_ONCE // of_channel)
    for run, start in itertools.product(range(runs), range(0, channels, count)):
        yield slice(run, run + 1), slice(None), slice(start, start + count)


# --------------------------------------------------------------------- convolution

# Up to this many values of windows a run (4 MB), one product of windows and
# kernels for all runs is faster than torch's own convolution run by run; beyond
# it, torch's is as fast and needs less memory (benchmarks/README.md).
_MOST_WINDOW_VALUES = 1_000_000
# On a GPU the product is faster for all layers, of so many values of windows (1 GB) at
# once; beyond the number above they are made again for the gradient, and not kept.
_MOST_WINDOW_VALUES_ON_A_GPU = 2**28
# Nor is an input of more values turned so that its batch comes last: the shortcut of a
# residual block would meet the block's own path in another order of memory.
_MOST_VALUES_TURNED = 2**18


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
        (runs, batch, outputs, *sides); in memory the batch comes last, which is
        the order that the next layer of this module reads fastest, or it is
        contiguous where the layer is large.
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
    if _on_a_gpu(x):
        separate = windows > _MOST_WINDOW_VALUES_ON_A_GPU
    else:
        stays = x.is_contiguous() and x[0].numel() > _MOST_VALUES_TURNED
        separate = windows > _MOST_WINDOW_VALUES or stays
    if separate:
        function = (functional.conv1d, functional.conv2d, functional.conv3d)
        own = function[len(kernel) - 1]
        # `unbind`, since the gradient of each x[run] would be as large as x.
        biases = [None] * len(x) if bias is None else bias.unbind()
        runs = zip(x.unbind(), weight.unbind(), biases, strict=True)
        return torch.stack(
            [own(*each, stride, padding, dilation, groups) for each in runs]
        )
    product: torch.Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, strides, pads, dilations, groups, outputs
    )
    # Viewed here and not in the function, whose views must not be changed in place.
    return product.view(x.shape[0], -1, *outputs, x.shape[1]).movedim(-1, 1)


def _on_a_gpu(x: torch.Tensor) -> bool:
    return x.is_cuda


def _each(value: int | Sequence[int], count: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * count
    return tuple(value) * (count if len(value) == 1 else 1)


class _Convolution(torch.autograd.Function):
    """One matrix product for each run and group: kernels by windows of the input.

    Names of axes: R runs, g groups, B batch, K positions of the kernel, C
    channels of a group, F filters of a group, N = positions of the output x B.
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
        R, B, channels = x.shape[:3]
        ctx.windows = (weight.shape[3:], strides, dilations, groups, outputs)
        ctx.shapes = (x.shape, weight.shape, pads)
        kernels = weight.reshape(R * groups, weight.shape[1] // groups, -1)
        N = math.prod(outputs) * B
        windows = channels * math.prod(weight.shape[3:]) * N
        keeps = windows <= _MOST_WINDOW_VALUES
        at_once = R if keeps else max(1, _MOST_WINDOW_VALUES_ON_A_GPU // windows)
        biases = None if bias is None else bias.reshape(R * groups, -1, 1)
        products = []
        for start in range(0, R, at_once):
            runs = slice(start, start + at_once)
            own = slice(start * groups, (start + at_once) * groups)
            columns = _columns(x[runs], pads, ctx.windows)  # (R g, C K, N)
            if biases is None:
                products.append(torch.bmm(kernels[own], columns))
            else:
                products.append(torch.baddbmm(biases[own], kernels[own], columns))
        ctx.at_once = at_once
        ctx.save_for_backward(kernels, columns if keeps else None, None if keeps else x)
        return _joined(products)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        kernels, kept, x = ctx.saved_tensors
        x_shape, weight_shape, pads = ctx.shapes
        kernel, _, _, groups, _ = ctx.windows
        R, B, channels, *sides = x_shape
        rows = gradients[0]
        needs = ctx.needs_input_grad
        for_x = for_weight = for_bias = None
        if needs[0]:
            room = rows.new_zeros(R, channels, *_padded(pads, sides), B)
            windows = _windows(room, *ctx.windows)
            for_x = room[_inside(pads, sides)].movedim(-1, 1)
        for_weights = []
        for start in range(0, R, ctx.at_once):
            runs = slice(start, start + ctx.at_once)
            own = slice(start * groups, (start + ctx.at_once) * groups)
            if needs[0]:
                spread = torch.bmm(kernels[own].mH, rows[own])  # (R g, C K, N)
                spread = spread.view(-1, groups, *windows.shape[2:])
                # Windows overlap, but not where they read the same position of the
                # kernel.
                for position in itertools.product(*map(range, kernel)):
                    at: tuple[Any, ...] = (*[slice(None)] * 3, *position)
                    windows[runs][at].add_(spread[at])
            if needs[1]:
                columns = kept
                if kept is None:
                    columns = _columns(x[runs], pads, ctx.windows)
                for_weights.append(torch.bmm(rows[own], columns.mH))
        if needs[1]:
            for_weight = _joined(for_weights).view(weight_shape)
        if needs[2]:
            for_bias = rows.sum(2).view(R, -1)
        return for_x, for_weight, for_bias, None, None, None, None, None


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _columns(
    x: torch.Tensor, pads: list[tuple[int, int]], windows: tuple[Any, ...]
) -> torch.Tensor:
    """Returns the windows of an input (R, B, channels, *sides), (R g, C K, N)."""
    R, B, channels, *sides = x.shape
    last = x.movedim(1, -1)  # (R, channels, *sides, B)
    if any(sum(pad) for pad in pads):
        room = x.new_zeros(R, channels, *_padded(pads, sides), B)
        room[_inside(pads, sides)] = last
        last = room
    kernel, _, _, groups, outputs = windows
    rows = channels // groups * math.prod(kernel)
    return _windows(last, *windows).reshape(R * groups, rows, math.prod(outputs) * B)


def _padded(pads: list[tuple[int, int]], sides: list[int]) -> list[int]:
    return [side + sum(pad) for side, pad in zip(sides, pads, strict=True)]


def _inside(pads: list[tuple[int, int]], sides: list[int]) -> tuple[Any, ...]:
    """Returns the index of what is not padding, of (R, channels, *sides, B)."""
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
        x: (R, channels, *sides, B), padded.
        kernel: Its sides.
        strides: Of the convolution.
        dilations: Of the convolution.
        groups: Of the convolution.
        outputs: Sides of the output.

    Returns:
        (R, g, C, *kernel, *outputs, B).
    """
    R, channels, *_, B = x.shape
    run, channel, *position, example = x.stride()
    C = channels // groups
    return x.as_strided(
        (R, groups, C, *kernel, *outputs, B),
        (
            run,
            C * channel,
            channel,
            *(p * d for p, d in zip(position, dilations, strict=True)),
            *(p * s for p, s in zip(position, strides, strict=True)),
            example,
        ),
        x.storage_offset(),
    )


# ------------------------------------------------------------------------- pooling


def pooling(
    own: Callable[..., torch.Tensor], function: Callable[..., torch.Tensor], sides: int
) -> Callable[..., Any]:
    """Returns the stacked form of a pooling function of one or two sides.

    The batch is the last axis in memory wherever a layer of this module came
    before. There a pooling of one side more does the work, which takes the batch
    for a side with a window of one; elsewhere runs stand beside the examples.

    Args:
        own: The function that it stands for.
        function: torch's, of `sides` + 1 sides.
        sides: Of `own`.
    """

    def pooled(
        x: torch.Tensor,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        # Of one side more torch has no pooling for a GPU whose gradient is always the same.
        if x.is_contiguous() or (sides == 2 and _on_a_gpu(x)):
            beside = x.flatten(0, 1)
            beside = own(beside, kernel_size, stride, padding, *args, **kwargs)
            return torch.unflatten(beside, 0, x.shape[:2])
        kernel = _each(kernel_size, sides)
        steps = kernel if not stride else _each(stride, sides)
        pads = _each(padding, sides)
        if "dilation" in kwargs:
            kwargs["dilation"] = (*_each(kwargs["dilation"], sides), 1)
        last = x.movedim(1, -1)
        return function(
            last, (*kernel, 1), (*steps, 1), (*pads, 0), *args, **kwargs
        ).movedim(-1, 1)

    return pooled


# ---------------------------------------------------------------- recurrent layers
#
# Names of axes: R runs, D directions, G = R x D cells side by side, H units, T
# steps, B batch. Steps come first and the batch last: what is worked on in one
# step then lies in one piece, and so does each gate of a cell. A backward
# direction reads its input flipped, so all cells take the same step together.
#
# What a cell reads at a step is one matrix [x; h; 1] of I + H + 1 rows, so that
# one product with [W_ih, W_hh, b] gives all its gates, and another one the
# gradients of input and state. tanh(a) is 1 - 2 s with s = sigmoid(-2 a), and the
# factor -2 lies in the weights: torch's own tanh takes three times as long as its
# sigmoid, and so all gates pass through a single one.


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

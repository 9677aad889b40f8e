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

__all__ = ["batch_norm", "convolution", "embedding", "linear", "pooling"]


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
        kernel = _each(kernel_size, sides)
        # Of three sides torch averages no input that is smaller than the kernel; of one
        # side more it has no pooling for a GPU whose gradient is always the same.
        small = any(side < k for side, k in zip(x.shape[3:], kernel, strict=True))
        if x.is_contiguous() or small or (sides == 2 and _on_a_gpu(x)):
            beside = x.flatten(0, 1)
            beside = own(beside, kernel_size, stride, padding, *args, **kwargs)
            return torch.unflatten(beside, 0, x.shape[:2])
        steps = kernel if not stride else _each(stride, sides)
        pads = _each(padding, sides)
        if "dilation" in kwargs:
            kwargs["dilation"] = (*_each(kwargs["dilation"], sides), 1)
        last = x.movedim(1, -1)
        return function(
            last, (*kernel, 1), (*steps, 1), (*pads, 0), *args, **kwargs
        ).movedim(-1, 1)

    return pooled

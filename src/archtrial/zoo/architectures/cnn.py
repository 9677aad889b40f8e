"""CNN: a plain stack of convolutions, 1-D and 2-D from one definition.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the CNN
    baseline: kernels of 5, 3 and 3, stride 2 and padding 1 each, 25 channels,
    flattened into a linear layer.
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: the paper's 5,210 parameters on MNIST-1D, exactly. The 2-D form, other
    depths, norm, residual, pooling and dropout are ours, not the paper's.
"""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice, Real
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import ORDERED, Count, Shape, Share, register

__all__ = ["cnn"]

Pooling: TypeAlias = Literal["stride", "max", "average"]

# A side of at most this many positions is not halved any more. The paper's own
# 40 -> 19 -> 10 -> 5 is not touched by it, and deep stacks on small images go on
# at 3 or 4 positions instead of one.
_SHORT = 4


_LAYERS: dict[int, tuple[Callable[..., nn.Module], ...]] = {
    1: (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d),
    2: (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d),
}


class _Convolution(nn.Module):
    """One convolution with what follows it, (N, C, *sides) -> (N, width, *sides)."""

    def __init__(
        self,
        channels: int,
        width: int,
        sides: Shape,
        *,
        kernel: int,
        norm: Norm,
        residual: bool,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        convolution, largest, average = _LAYERS[len(sides)]
        halved = tuple(2 if side > _SHORT else 1 for side in sides)
        kept = (1,) * len(sides)
        stride, window = (halved, kept) if pooling == "stride" else (kept, halved)
        self.convolution = convolution(
            channels,
            width,
            kernel,
            stride=stride,
            padding=1,
            bias=norm == "none",  # a norm brings an offset of its own
        )
        self.norm = norm_layer(norm, width, len(sides))
        # The identity at the positions that the stride keeps (He et al. 2016,
        # arXiv 1512.03385, option A).
        self.shortcut = average(1, stride=stride) if residual else None
        self.pool: nn.Module = nn.Identity()
        if pooling != "stride":
            self.pool = largest(window) if pooling == "max" else average(window)
        self.sides = tuple(  # of the output
            ((side + 2 - kernel) // step + 1) // pooled
            for side, step, pooled in zip(sides, stride, window, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = torch.relu(self.norm(self.convolution(x)))
        if self.shortcut is not None:
            h = h + self.shortcut(x)
        pooled: torch.Tensor = self.pool(h)
        return pooled


@register(
    space={
        "depth": Choice((2, 3)),
        "width": Choice((12, 25, 50)),
        "dropout": Real(0.0, 0.5),
    },
    kinds=ORDERED,
)
def cnn(
    input_shape: Shape,
    num_outputs: int,
    *,
    depth: Count = 3,
    width: Count = 25,
    norm: Norm = "none",
    residual: bool = False,
    pooling: Pooling = "stride",
    dropout: Share = 0.0,
) -> nn.Module:
    """Convolutions with ReLU, each halving the sides, then one linear layer.

    Args:
        input_shape: (L,), read as one channel; (C, L); or (C, H, W). Every side
            has at least 3 positions.
        num_outputs: Classes, or 1 for regression.
        depth: Convolutions: the first with a kernel of 5, the others of 3. Sides
            of at most 4 positions are not halved any more.
        width: Channels of each convolution.
        norm: What stands between each convolution and its ReLU.
        residual: Whether every convolution after the first is added to its input.
        pooling: What halves the sides: the convolution's own stride, or the
            largest or the average of two neighbours (of four, in an image).
        dropout: The share of the linear layer's inputs that is dropped.

    Raises:
        ArmError: The input has no such shape.
    """
    channels, *rest = input_shape if len(input_shape) > 1 else (1, *input_shape)
    sides = tuple(rest)
    if len(sides) not in (1, 2) or min(sides) < 3:
        raise ArmError(
            "cnn needs sequences (L,) or (C, L), or images (C, H, W), of at least 3"
            " positions along each side",
            f"one example has the shape {tuple(input_shape)}",
            "Take mlp or linear, which flatten their input.",
        )
    layers: list[nn.Module] = []
    if len(input_shape) == 1:
        layers.append(nn.Unflatten(1, (1, -1)))  # (N, L) -> (N, 1, L)
    for index in range(depth):
        layer = _Convolution(
            channels,
            width,
            sides,
            kernel=5 if index == 0 else 3,
            norm=norm,
            residual=residual and index > 0,
            pooling=pooling,
        )
        layers.append(layer)
        channels, sides = width, layer.sides
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Dropout(dropout),  # there even at 0: one structure, one fleet
        nn.Linear(width * math.prod(sides), num_outputs),
    )

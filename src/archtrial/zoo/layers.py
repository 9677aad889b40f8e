"""What convolutional families share: their layers for one dimension and for two.

A family that is written with `Spatial` reads images and series from one definition:

    spatial = Spatial.of("net", input_shape, least=8)
    return nn.Sequential(
        *spatial.opening(),
        spatial.convolution(spatial.channels, 16, 3),
        spatial.norm("batch", 16),
        activation("relu"),
        *spatial.head(head, 16, ...),
    )
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.errors import ArmError
from archtrial.zoo.norms import Norm, norm_layer
from archtrial.zoo.registry import Shape

__all__ = [
    "Activation",
    "Head",
    "Resize",
    "Spatial",
    "SqueezeExcitation",
    "activation",
    "he_fan_out",
    "he_normal",
]

Activation: TypeAlias = Literal["relu", "relu6", "leaky_relu", "gelu", "silu", "tanh"]
Head: TypeAlias = Literal["average", "flatten"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: Activation) -> nn.Module:
    """Returns the layer of an option `activation`."""
    return _ACTIVATIONS[name]()


def he_normal(*modules: nn.Module) -> None:
    """Draws the weights of all linear layers and convolutions anew; offsets are 0.

    From a normal distribution of variance 2 / inputs, which keeps the scale of what goes
    through layers with ReLU: He, Zhang, Ren and Sun 2015, arXiv 1502.01852, section 2.2.
    """
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def he_fan_out(convolution: nn.Conv1d | nn.Conv2d) -> None:
    """Draws a convolution's weights anew, of variance 2 / the outputs of an input.

    It keeps the scale of gradients, as `he_normal` keeps that of activations (the same
    section). Of several groups an input has the outputs of its own; torch's
    `kaiming_normal_` counts those of all, and leaves depthwise convolutions too small
    by the root of their channels.
    """
    outputs = convolution.out_channels // convolution.groups
    fan_out = outputs * math.prod(convolution.kernel_size)
    nn.init.normal_(convolution.weight, std=math.sqrt(2) / math.sqrt(fan_out))


@dataclasses.dataclass(frozen=True)
class Spatial:
    """Inputs as convolutions read them, (N, channels, *sides)."""

    channels: int
    sides: Shape
    """(L,) of series, (H, W) of images."""
    flat: bool
    """Whether examples are (L,), without an axis of channels."""
    resolution: int | None = None
    """The side that inputs are resized to."""

    @classmethod
    def of(
        cls,
        name: str,
        input_shape: Shape,
        *,
        least: int = 1,
        resolution: int | None = None,
        instead: str = "Take cnn, which reads shorter sides, or mlp, which flattens.",
    ) -> "Spatial":
        """Reads the shape of one example.

        Args:
            name: Of the family, for messages.
            input_shape: (L,), (C, L) or (C, H, W).
            least: Positions that every side has at least.
            resolution: The side that inputs are resized to, by linear interpolation.
            instead: What the message recommends.

        Raises:
            ArmError: The input has no such shape, or a side is too short.
        """
        channels, *sides = input_shape if len(input_shape) > 1 else (1, *input_shape)
        if len(sides) not in (1, 2):
            raise ArmError(
                f"{name} needs sequences (L,) or (C, L), or images (C, H, W)",
                f"one example has the shape {tuple(input_shape)}",
                "Take mlp or linear, which flatten their input.",
            )
        given = sides if resolution is None else [resolution for _ in sides]
        if min(given) < least:
            raise ArmError(
                f"{name} needs at least {least} positions along each side",
                f"one example has the shape {tuple(input_shape)}"
                if resolution is None
                else f"resolution = {resolution}",
                f"Resize them: resolution={least}. {instead}"
                if resolution is None
                else f"Write resolution={least}, or more.",
            )
        return cls(channels, tuple(given), len(input_shape) == 1, resolution)

    @property
    def dimensions(self) -> int:
        """1 or 2."""
        return len(self.sides)

    def opening(self) -> list[nn.Module]:
        """Returns what comes before the first layer: (N, *input_shape) -> as read."""
        layers: list[nn.Module] = [nn.Unflatten(1, (1, -1))] if self.flat else []
        return layers if self.resolution is None else [*layers, Resize(self.resolution)]

    def convolution(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> nn.Conv1d | nn.Conv2d:
        """Returns a convolution; without `padding` a stride of 1 keeps the sides."""
        kind = nn.Conv1d if self.dimensions == 1 else nn.Conv2d
        same = dilation * (kernel - 1) // 2
        return kind(
            inputs, outputs, kernel, stride, same if padding is None else padding,
            dilation, groups, bias,
        )  # fmt: skip

    def norm(self, norm: Norm, channels: int) -> nn.Module:
        """Returns a normalisation of `channels`."""
        return norm_layer(norm, channels, self.dimensions)

    def max_pool(
        self,
        kernel: int,
        stride: int | None = None,
        padding: int = 0,
        ceil: bool = False,
    ) -> nn.Module:
        """Returns a pooling by the largest."""
        kind = nn.MaxPool1d if self.dimensions == 1 else nn.MaxPool2d
        return kind(kernel, stride, padding, ceil_mode=ceil)

    def average_pool(
        self,
        kernel: int,
        stride: int | None = None,
        padding: int = 0,
        ceil: bool = False,
    ) -> nn.Module:
        """Returns a pooling by the average."""
        kind = nn.AvgPool1d if self.dimensions == 1 else nn.AvgPool2d
        step = kernel if stride is None else stride
        return kind(kernel, step, padding, ceil_mode=ceil)

    def to_side(self, side: int) -> nn.Module:
        """Returns an adaptive average pooling to `side` positions along each side."""
        return (
            nn.AdaptiveAvgPool1d(side)
            if self.dimensions == 1
            else nn.AdaptiveAvgPool2d(side)
        )

    def after(self, *layers: nn.Module) -> Shape:
        """Returns (channels, *sides) of what layers make of these inputs.

        It carries them out once, on zeros, in evaluation.
        """
        before = [layer.training for layer in layers]
        parameter = next((p for layer in layers for p in layer.parameters()), None)
        device = None if parameter is None else parameter.device
        with torch.no_grad():
            x = torch.zeros(1, self.channels, *self.sides, device=device)
            for layer, training in zip(layers, before, strict=True):
                x = layer.eval()(x)
                layer.train(training)
        return tuple(x.shape[1:])

    def head(
        self,
        head: Head,
        shape: Shape,
        num_outputs: int,
        dropout: float = 0.0,
        hidden: Sequence[int] = (),
        between: Activation = "relu",
    ) -> list[nn.Module]:
        """Returns what turns activations into outputs, (N, *shape) -> (N, num_outputs).

        Args:
            head: "average": the mean over all positions, one value a channel (Lin et
                al. 2013, arXiv 1312.4400); "flatten": a weight for each position.
            shape: (channels, *sides) of the activations.
            num_outputs: Classes, or 1 for regression.
            dropout: The share of each hidden layer's units that is dropped; without
                hidden layers, of the linear layer's inputs.
            hidden: Units of the fully connected layers before the last.
            between: The activation of those.
        """
        channels, *sides = shape
        pooled = [self.to_side(1)] if head == "average" else []
        width = channels if head == "average" else channels * math.prod(sides)
        made: list[nn.Module] = []
        for units in hidden:
            made += [nn.Linear(width, units), activation(between), nn.Dropout(dropout)]
            width = units
        return [
            *pooled,
            nn.Flatten(),
            # Dropout stands there even at 0: one structure, one fleet.
            *(made or [nn.Dropout(dropout)]),
            nn.Linear(width, num_outputs),
        ]


class Resize(nn.Module):
    """Resizes (N, C, *sides) to `side` along each side, by linear interpolation."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns (N, C, side) or (N, C, side, side)."""
        mode = "linear" if x.dim() == 3 else "bilinear"
        sides = [self.side] * (x.dim() - 2)
        return functional.interpolate(x, sides, mode=mode, align_corners=False)

    def extra_repr(self) -> str:
        """Returns the side."""
        return f"side={self.side}"


class SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels are on average, (N, C, *sides) -> same.

    Paper: "Squeeze-and-Excitation Networks", Hu, Shen, Albanie, Sun and Wu 2017,
        arXiv 1709.01507.

    Args:
        channels: C.
        squeezed: Of the layer between.
        activation: Of the layer between; EfficientNet has "silu".
    """

    def __init__(
        self, channels: int, squeezed: int, activation: Activation = "relu"
    ) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeezed)
        self.activation = _ACTIVATIONS[activation]()
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns x with each channel scaled by a number from 0 to 1."""
        mean = x.flatten(2).mean(2)  # (N, C)
        scale = torch.sigmoid(self.excite(self.activation(self.squeeze(mean))))
        return x * scale.view(*scale.shape, *[1] * (x.dim() - 2))

"""VanillaCNN: three convolutions with overlapping max-pooling, for images.

Paper: "Finding the Needle in the Haystack with Convolutions: on the benefits of
    architectural bias" (arXiv 1906.06766), the VanillaCNN: kernels of 4, 5 and 3, the
    first with stride 2, each followed by ReLU and a max-pooling of 3 with stride 2,
    64 channels, flattened into a linear layer.
Authors: Stephane d'Ascoli, Levent Sagun, Joan Bruna and Giulio Biroli, 2019.
Status: the paper's 143,178 parameters on CIFAR-10, exactly. Other widths and sides are
    ours, not the paper's.
"""

import math

from torch import nn

from archtrial.errors import ArmError
from archtrial.space import Choice
from archtrial.zoo.registry import Count, Shape, register

__all__ = ["vanilla_cnn"]

# (padding, kernel, stride) of each convolution.
_CONVOLUTIONS = ((2, 4, 2), (2, 5, 1), (1, 3, 1))
# The last pooling has a window of 3 left to look at from this side on.
_SMALLEST = 28


@register(space={"width": Choice((32, 64, 128))}, kinds=("image",))
def vanilla_cnn(
    input_shape: Shape, num_outputs: int, *, width: Count = 64
) -> nn.Module:
    """Three convolutions, each with ReLU and max-pooling, then one linear layer.

    Args:
        input_shape: (C, H, W), both sides of at least 28.
        num_outputs: Classes, or 1 for regression.
        width: Channels of each convolution.

    Raises:
        ArmError: The input has no such shape.

    Example:
        >>> module = vanilla_cnn((3, 32, 32), 10)
        >>> sum(p.numel() for p in module.parameters())
        143178
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < _SMALLEST:
        raise ArmError(
            f"vanilla_cnn needs images (C, H, W) of at least {_SMALLEST} positions"
            " along each side",
            f"one example has the shape {tuple(input_shape)}",
            "Take cnn, which reads smaller images and sequences, too.",
        )
    channels, *sides = input_shape
    layers: list[nn.Module] = []
    for padding, kernel, stride in _CONVOLUTIONS:
        layers += [
            nn.Conv2d(channels, width, kernel, stride, padding),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        ]
        convolved = [(side + 2 * padding - kernel) // stride + 1 for side in sides]
        channels, sides = width, [(side - 3) // 2 + 1 for side in convolved]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(width * math.prod(sides), num_outputs)
    )

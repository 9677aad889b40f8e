"""Linear: one weight for each input and output, the floor of every comparison.

Paper: "Scaling Down Deep Learning with MNIST-1D" (arXiv 2011.14439), the linear
    baseline; multinomial logistic regression, and linear regression, are older
    than neural networks.
Authors: Sam Greydanus and Dmitry Kobak, 2020 and 2024.
Status: the paper's 410 parameters on MNIST-1D, exactly.
"""

import math

from torch import nn

from archtrial.zoo.registry import ANY, Shape, register

__all__ = ["linear"]


@register(space={}, kinds=ANY)
def linear(input_shape: Shape, num_outputs: int) -> nn.Module:
    """A weighted sum of the inputs for each output; nothing hidden, no options.

    Args:
        input_shape: Any shape; it is flattened.
        num_outputs: Classes, or 1 for regression.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(input_shape), num_outputs),  # (N, num_outputs)
    )

"""Stochastic depth: in training whole residual branches are left out, by example.

Paper: "Deep Networks with Stochastic Depth", Huang, Sun, Liu, Sedra and Weinberger 2016,
    arXiv 1603.09382. As in torchvision and timm ("drop path"), a branch that stays is
    scaled by the reciprocal of its probability, so that nothing changes in evaluation.
"""

import torch
from torch import nn
from torch.nn import functional

from archtrial.errors import ArmError

__all__ = ["StochasticDepth", "check_branches", "rising"]


class StochasticDepth(nn.Module):
    """Leaves a residual branch out, (N, ...) -> (N, ...): x + StochasticDepth(p)(f(x)).

    Its masks are drawn as those of dropout are, from the run's own generator, so that
    runs of different rates train in one fleet.

    Args:
        p: The probability that an example's branch is left out.

    Raises:
        ValueError: It is no probability below 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a branch is left out with a probability below 1: {p}")
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the branch, of some examples 0."""
        ones = torch.ones([len(x), *(1 for _ in x.shape[1:])], device=x.device)
        kept = functional.dropout(ones, self.p, self.training)
        return x * kept.to(x.dtype)

    def extra_repr(self) -> str:
        """Returns the rate."""
        return f"p={self.p}"


def rising(last: float, blocks: int) -> list[float]:
    """Returns a rate for each block, from 0 in the first to `last` in the last.

    The paper's linear rule: early layers, on which all others rest, stay. Of one block
    the rate is `last`, or the option would do nothing.

    Args:
        last: Of the last block.
        blocks: How many there are.
    """
    if blocks == 1:
        return [last]
    return [last * index / (blocks - 1) for index in range(blocks)]


def check_branches(name: str, skip: bool, stochastic_depth: float) -> None:
    """Raises an ArmError where a branch is left out that nothing leads around.

    Args:
        name: Of the family, for the message.
        skip: Whether branches have skip connections.
        stochastic_depth: The probability that one is left out.
    """
    if stochastic_depth and not skip:
        raise ArmError(
            "stochastic depth leaves out what a skip connection leads around",
            f"skip = False and stochastic_depth = {stochastic_depth} of {name}",
            "Write stochastic_depth=0, or skip=true.",
        )

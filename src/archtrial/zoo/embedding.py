"""Token ids in front of a sequence's network: an embedding, learnt with it."""

import torch
from torch import nn

__all__ = ["Embedded"]


class Embedded(nn.Module):
    """Looks up token ids, (N, L) int64, and hands (N, width, L) to a network.

    Args:
        vocabulary: Ids are from 0 to below it.
        width: Values of each id.
        network: Takes (N, width, L).
    """

    def __init__(self, vocabulary: int, width: int, network: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.network = network

    def forward(
        self, ids: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns what the network makes of the ids' values."""
        x = self.embedding(ids).mT  # (N, L, width) -> (N, width, L)
        outputs: torch.Tensor = (
            self.network(x) if lengths is None else self.network(x, lengths=lengths)
        )
        return outputs

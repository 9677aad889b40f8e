"""Names in front of a network that reads numbers: an embedding, learnt with it.

Token ids of a sequence are looked up by `Embedded`, a table's categories by `Categories`.
"""

import itertools
import math

import torch
from torch import nn

from archtrial.data.inputs import Inputs
from archtrial.errors import ArmError

__all__ = ["Categories", "Embedded", "EmbeddedColumns", "flattened"]


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
        """Returns what the network makes of the ids' values; 0 is behind each end.

        Args:
            ids: (N, L).
            lengths: (N,) int64, from 1 to L; None: the network is not told of ends, and
                the id 0 behind them has values as any other has.
        """
        x = self.embedding(ids).mT  # (N, L, width) -> (N, width, L)
        told = {}
        if lengths is not None:
            steps = torch.arange(ids.shape[1], device=ids.device)
            x = torch.where((steps < lengths.unsqueeze(1)).unsqueeze(1), x, 0)
            told["lengths"] = lengths
        outputs: torch.Tensor = self.network(x, **told)
        return outputs


class Categories(nn.Module):
    """Looks up a table's categories, (N, columns) int64 -> (N, columns, width).

    All columns share one table, each with rows of its own, uniform within
    1 / sqrt(width) at the start. A value that training never saw is zeros: no gradient
    ever reaches its row, which a random start would leave random.

    Args:
        inputs: Of known columns, of which one at least has categories.
        width: Values of each category.
    """

    starts: torch.Tensor

    def __init__(self, inputs: Inputs, width: int) -> None:
        super().__init__()
        counts = [c.categories for c in inputs.columns or () if c.categories]
        *starts, rows = itertools.accumulate(counts, initial=0)
        self.values = nn.Embedding(rows, width)
        bound = 1 / math.sqrt(width)
        nn.init.uniform_(self.values.weight, -bound, bound)
        with torch.no_grad():
            self.values.weight[starts] = 0
        self.register_buffer("starts", torch.tensor(starts), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns the values of ids as `Inputs.parted` tells them."""
        values: torch.Tensor = self.values(ids + self.starts)
        return values


class EmbeddedColumns(nn.Module):
    """A table's numbers, and `width` values for each column of categories.

    (N, F) -> (N, numbers + width * columns of categories).

    Args:
        inputs: Of known columns, of which one at least has categories.
        width: Values of each category.
    """

    def __init__(self, inputs: Inputs, width: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.categories = Categories(inputs, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns numbers first, then the values of the categories."""
        numbers, ids = self.inputs.parted(x)
        return torch.cat([numbers, self.categories(ids).flatten(1)], 1)


def flattened(
    name: str, inputs: Inputs, embedding: int | None
) -> tuple[nn.Module, int]:
    """Returns what makes vectors of examples, and how long these are.

    Args:
        name: Of the family, for messages.
        inputs: What is known of the inputs.
        embedding: Values of each category of a table; None: one input for each.

    Raises:
        ArmError: No column is known to have categories.
    """
    if embedding is None:
        return nn.Flatten(), math.prod(inputs.shape)
    columns = inputs.columns or ()
    categories = sum(column.categories is not None for column in columns)
    if not categories:
        raise ArmError(
            "an embedding is of names, here of a table's categories",
            f"embedding = {embedding} of {name}, whose inputs are numbers",
            "Leave embedding out. If a table's column of numbers holds names, say so:"
            " --categorical COLUMN.",
        )
    width = len(columns) - categories + categories * embedding
    return EmbeddedColumns(inputs, embedding), width

"""What families that read tokens share: attention, feed-forward layers, positions.

Tokens are (N, L, width): the patches of an image or of a series, or the steps of a
sequence. A transformer's encoder is `Positions`, then blocks:

    x = Positions("learned", (tokens,), width)(x)
    for block in blocks:  # EncoderBlock(width, heads, hidden)
        x = block(x, within)

`within` (N, L) bool says which tokens there are; None: all. What stands at the others
reaches none of these.

Papers: "Attention Is All You Need", Vaswani et al. 2017, arXiv 1706.03762. Normalisation
    before the branches: Xiong et al. 2020, arXiv 2002.04745. Gated linear units: Shazeer
    2020, arXiv 2002.05202.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from archtrial.zoo import sequences
from archtrial.zoo.depth import StochasticDepth
from archtrial.zoo.layers import Activation, Spatial, activation
from archtrial.zoo.norms import Norm
from archtrial.zoo.registry import Shape

__all__ = [
    "EncoderBlock",
    "FeedForward",
    "Patches",
    "PositionEncoding",
    "Positions",
    "SelfAttention",
    "TokenNorm",
    "head",
    "linear",
    "normalised",
    "sinusoids",
    "token_norm",
]

PositionEncoding: TypeAlias = Literal["learned", "sinusoidal", "none"]
"""The option `positions` of a family."""


def linear(inputs: int, outputs: int, *, parts: int = 1) -> nn.Linear:
    """Returns a linear layer that starts as a transformer's: Glorot and Bengio 2010.

    Args:
        inputs: Values of a token.
        outputs: Values of a token.
        parts: How many layers it stands for, side by side; each starts by itself.
    """
    layer = nn.Linear(inputs, outputs)
    for part in layer.weight.chunk(parts):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(layer.bias)
    return layer


def head(inputs: int, outputs: int) -> nn.Linear:
    """Returns a last layer that starts near zero, so that no class is preferred yet."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


class Patches(nn.Module):
    """Cuts inputs into patches, a token each, (N, channels, *sides) -> (N, L, width).

    A side that is no multiple of the patch goes on with zeros. The rows of an image's
    patches follow each other.

    Args:
        spatial: Of the inputs.
        patch: Positions along each side of a patch.
        width: Values of a token.

    Attributes:
        sides: How many patches there are along each side.
    """

    def __init__(self, spatial: Spatial, patch: int, width: int) -> None:
        super().__init__()
        self.sides = tuple(-(-side // patch) for side in spatial.sides)
        self.patch = patch
        self.project = spatial.convolution(
            spatial.channels, width, patch, stride=patch, padding=0
        )
        values = spatial.channels * patch**spatial.dimensions
        nn.init.trunc_normal_(self.project.weight, std=math.sqrt(1 / values))
        assert self.project.bias is not None
        nn.init.zeros_(self.project.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the tokens; a batch may be of shorter sides."""
        added = [  # the last side comes first
            zeros for side in reversed(x.shape[2:]) for zeros in (0, -side % self.patch)
        ]
        if any(added):
            x = functional.pad(x, added)
        tokens: torch.Tensor = self.project(x).flatten(2).mT
        return tokens


class TokenNorm(nn.Module):
    """Applies a normalisation of vectors to each token, (N, L, width) -> same."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(
        self, x: torch.Tensor, within: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns the tokens, normalised; `within` as in `SelfAttention`."""
        norm = self.norm
        if within is not None and isinstance(norm, nn.BatchNorm1d) and self.training:
            return sequences.batch_norm(norm, x.mT, within.unsqueeze(1)).mT
        rows: torch.Tensor = norm(x.flatten(0, 1))  # (N L, width)
        return rows.view(x.shape)


# Of a group of one value nothing would be left, of one of two the signs.
_LEAST_GROUP = 8


def token_norm(norm: Norm, width: int) -> nn.Module:
    """Returns a normalisation of tokens (N, L, width), of each by itself.

    Args:
        norm: "layer" takes mean and variance over the values of a token, "group" over a
            group of at least 8 of them; "batch" over all tokens of a batch; "none"
            changes nothing.
        width: Values of a token.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "layer":
        return nn.LayerNorm(width, eps=1e-6)
    if norm == "batch":
        return TokenNorm(nn.BatchNorm1d(width))
    counts = [n for n in range(1, 9) if width % n == 0 and width // n >= _LEAST_GROUP]
    return TokenNorm(nn.GroupNorm(max(counts, default=1), width))


def normalised(
    norm: nn.Module, x: torch.Tensor, within: torch.Tensor | None
) -> torch.Tensor:
    """Applies a `token_norm`; statistics over a batch are of the tokens there are."""
    y: torch.Tensor = norm(x, within) if isinstance(norm, TokenNorm) else norm(x)
    return y


class SelfAttention(nn.Module):
    """Each token looks at all, through several heads, (N, L, width) -> same.

    Args:
        width: Values of a token.
        heads: How many look side by side, each at width / heads values (rounded up).
        dropout: The share of the results that is dropped.
        attention_dropout: The share of the weights that is dropped.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner = heads * -(-width // heads)
        self.heads = heads
        self.project = linear(width, 3 * inner, parts=3)  # queries, keys, values
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.output = linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, within: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns for each token what it has seen.

        Args:
            x: (N, L, width).
            within: (N, L) bool, the tokens that may be looked at, at least one of each
                example; None: all.
        """
        each = self.project(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = each.permute(2, 0, 3, 1, 4).unbind()  # (N, heads, L, inner / heads)
        mask = None if within is None else within[:, None, None, :]
        # The weights are made where something is dropped of them, so that each run of a
        # fleet has masks of its own; a rate may then be one for each run.
        if self.training and self.attention_dropout.p != 0:
            scores = q @ k.mT / math.sqrt(q.shape[-1])  # (N, heads, L, L)
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            seen = self.attention_dropout(torch.softmax(scores, -1)) @ v
        else:
            seen = functional.scaled_dot_product_attention(q, k, v, mask)
        joined = seen.transpose(1, 2).flatten(2)  # (N, L, inner)
        result: torch.Tensor = self.dropout(self.output(joined))
        return result


class FeedForward(nn.Module):
    """Two layers, the same at each token, (..., width) -> same.

    Args:
        width: Values of a token.
        hidden: Units between.
        activation: Of these.
        gated: Whether each unit is multiplied by another, linear one (gated linear
            units); two thirds of the units are then as many parameters.
        dropout: The share that is dropped, of the units and of the results.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: Activation = "gelu",
        gated: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        units = max(1, round(2 * hidden / 3)) if gated else hidden
        self.expand = linear(width, units)
        self.gate = linear(width, units) if gated else None
        self.activation = _activation(activation)
        self.first_dropout = nn.Dropout(dropout)
        self.contract = linear(units, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what the layers make of each token."""
        h = self.activation(self.expand(x))
        if self.gate is not None:
            h = h * self.gate(x)
        result: torch.Tensor = self.dropout(self.contract(self.first_dropout(h)))
        return result


_activation = activation  # `FeedForward` has an argument of this name


class EncoderBlock(nn.Module):
    """Attention, then a feed-forward layer, (N, L, width) -> same.

    Args:
        width: Values of a token.
        heads: Of the attention.
        hidden: Units of the feed-forward layer.
        norm: See `token_norm`.
        norm_first: Whether tokens are normalised at the beginning of each of the two
            branches, or behind the sum of a branch and what went into it.
        skip: Whether what goes into a branch is added to what comes out.
        activation: Of the feed-forward layer.
        gated: Whether its units are gated.
        dropout: The share that is dropped of what each branch results in, and of the
            feed-forward layer's units.
        attention_dropout: The share of the attention's weights that is dropped.
        stochastic_depth: The probability that an example's branch is left out.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        norm: Norm = "layer",
        norm_first: bool = True,
        skip: bool = True,
        activation: Activation = "gelu",
        gated: bool = False,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.skip = skip
        self.first_norm = token_norm(norm, width)
        self.attention = SelfAttention(
            width, heads, dropout=dropout, attention_dropout=attention_dropout
        )
        self.first_depth = StochasticDepth(stochastic_depth)
        self.second_norm = token_norm(norm, width)
        self.feed_forward = FeedForward(
            width, hidden, activation=activation, gated=gated, dropout=dropout
        )
        self.second_depth = StochasticDepth(stochastic_depth)

    def forward(
        self, x: torch.Tensor, within: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns the tokens after the block; `within` as in `SelfAttention`."""
        if self.norm_first:
            h = self.attention(normalised(self.first_norm, x, within), within)
            x = self._added(x, self.first_depth(h))
            h = self.feed_forward(normalised(self.second_norm, x, within))
            return self._added(x, self.second_depth(h))
        h = self.attention(x, within)
        x = self._added(x, self.first_depth(h))
        x = normalised(self.first_norm, x, within)
        h = self.feed_forward(x)
        x = self._added(x, self.second_depth(h))
        return normalised(self.second_norm, x, within)

    def _added(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return x + branch if self.skip else branch


class Positions(nn.Module):
    """Adds to each token where it stands, (N, L, width) -> same.

    Args:
        positions: "learned": values of its own for each position; "sinusoidal": sines
            and cosines of it; "none": nothing.
        sides: (L,) of a sequence, (H, W) of the patches of an image, whose rows follow
            each other. A batch may have fewer tokens.
        width: Values of a token.
        before: Tokens without a place, such as that of the class, in front of them.
    """

    def __init__(
        self, positions: PositionEncoding, sides: Shape, width: int, before: int = 0
    ) -> None:
        super().__init__()
        self.positions = positions
        if positions == "learned":
            table = torch.empty(before + math.prod(sides), width)
            self.table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        elif positions == "sinusoidal":
            table = functional.pad(sinusoids(sides, width), (0, 0, before, 0))
            self.register_buffer("table", table, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the tokens with their positions."""
        return x if self.positions == "none" else x + self.table[: x.shape[1]]

    def extra_repr(self) -> str:
        """Returns the kind."""
        return repr(self.positions)


def sinusoids(sides: Shape, width: int) -> torch.Tensor:
    """Returns (positions, width): waves of 2 pi to 20,000 pi positions (section 3.5).

    In an image the first half of the values is of the row, the second of the column.
    """
    parts = []
    grid = torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij")
    for index, place in enumerate(grid):
        share = width * (index + 1) // len(sides) - width * index // len(sides)
        pairs = torch.arange(-(-share // 2)) / max(1, share / 2)
        angle = place.reshape(-1, 1) * 10_000.0**-pairs
        waves = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
        parts.append(waves[:, :share])
    return torch.cat(parts, 1)

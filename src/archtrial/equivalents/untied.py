"""The layers of an equivalent network: each weight that was shared, one per position.

A convolution is a linear map from all its inputs to all its outputs. Its weights are
tied over positions, and between inputs and outputs that no window joins they are zero
("off-local"). `Connections` knows which input each weight reads; it asks torch, by
sending an image of indices through the same padding and the same windows. `Dense` holds
the whole linear map as one matrix, off-local weights among the others: once they are
trained none of them is zero, and one product of matrices is the fastest form.
`LocallyConnected` holds only what the windows join. Weights that would read zero padding
do not exist in the one, and stay zero in the other: they never get a gradient.

Source: d'Ascoli, Sagun, Bruna and Biroli 2019, "Finding the needle in the haystack with
convolutions" (arXiv 1906.06766), section 2.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional

__all__ = [
    "Connections",
    "Constant",
    "Dense",
    "LocallyConnected",
    "Parts",
    "PerUnit",
    "Rescaled",
    "Shared",
    "Values",
    "squared_norm",
]

Pairs: TypeAlias = tuple[tuple[int, int], ...]
"""What is added before and after each side."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """Squared norms of weights, in three parts that are orthogonal to each other."""

    tied: float = 0.0
    """Of what shared weights could express: over positions, the mean."""
    untied: float = 0.0
    """Of the other local weights: how far they left their mean."""
    off_local: float = 0.0
    """Of the weights between inputs and outputs that no window joins."""
    by_layer: Mapping[str, "Parts"] = dataclasses.field(default_factory=dict)
    """The same by layer, under the names of the original module's layers."""

    @property
    def total(self) -> float:
        """The squared norm of all weights."""
        return self.tied + self.untied + self.off_local

    @property
    def deviation(self) -> float:
        """The paper's delta, ||off-local|| / ||all||: 0 in a network just mapped."""
        return math.sqrt(self.off_local / self.total) if self.total else 0.0

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(
            self.tied + other.tied,
            self.untied + other.untied,
            self.off_local + other.off_local,
        )


# ------------------------------------------------------ which input each weight reads


@dataclasses.dataclass(frozen=True)
class Connections:
    """Which inputs a shared linear map joins with which outputs.

    A convolution, or a linear layer that is applied at every position: a kernel of
    one, with the channels last. `taps` is the number of weights of a window.
    """

    channels_in: int
    channels_out: int
    sides: tuple[int, ...]
    """Of the input, without the channels; none where there are no positions."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs
    mode: str = "constant"
    """Of the padding, as `torch.nn.functional.pad` calls it."""
    ahead: Pairs = ()
    """Zero padding that came before, as an operation of its own."""
    groups: int = 1
    channels_last: bool = False

    @property
    def zero_padded(self) -> tuple[int, ...]:
        """The sides with every zero that is added to them."""
        added = [*([self.ahead] if self.ahead else [])]
        if self.mode == "constant":
            added.append(self.padding)
        return tuple(
            side + sum(sum(pairs[axis]) for pairs in added)
            for axis, side in enumerate(self.sides)
        )

    @property
    def sides_out(self) -> tuple[int, ...]:
        """The sides of the output."""
        before = self.ahead or ((0, 0),) * len(self.sides)
        return tuple(
            (side + sum(zeros) + sum(padding) - dilation * (kernel - 1) - 1) // stride
            + 1
            for side, zeros, padding, kernel, stride, dilation in zip(
                self.sides,
                before,
                self.padding,
                self.kernel,
                self.stride,
                self.dilation,
                strict=True,
            )
        )

    @property
    def shape_out(self) -> tuple[int, ...]:
        """One example's output."""
        if self.channels_last:
            return (*self.sides_out, self.channels_out)
        return (self.channels_out, *self.sides_out)

    @property
    def shared(self) -> tuple[int, ...]:
        """The shape of what is shared over positions, as it broadcasts."""
        ones = (1,) * len(self.sides)
        return (
            (*ones, self.channels_out)
            if self.channels_last
            else (self.channels_out, *ones)
        )

    @property
    def units_in(self) -> int:
        """Numbers in one example's input."""
        return self.channels_in * math.prod(self.sides)

    @property
    def units_out(self) -> int:
        """Numbers in one example's output."""
        return self.channels_out * math.prod(self.sides_out)

    def windows(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what each window reads.

        Args:
            x: (N, channels, *sides).

        Returns:
            (N, channels, positions, taps).
        """
        for pairs, mode in ((self.ahead, "constant"), (self.padding, self.mode)):
            if any(any(pair) for pair in pairs):
                flat = [count for pair in reversed(pairs) for count in pair]
                x = functional.pad(x, flat, mode)
        for axis, (kernel, stride, dilation) in enumerate(
            zip(self.kernel, self.stride, self.dilation, strict=True), 2
        ):
            x = x.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
        return x.flatten(2, 1 + len(self.sides)).flatten(3)

    def reads(self) -> torch.Tensor:
        """Returns the place of the input that each tap reads.

        Returns:
            (positions, taps) int64, counted over the sides of one channel; -1 where
            it reads zero padding.
        """
        # Not every padding mode takes whole numbers; these are exact up to 2^53.
        places = torch.arange(1, math.prod(self.sides) + 1, dtype=torch.float64)
        return self.windows(places.view(1, 1, *self.sides))[0, 0].long() - 1

    def blocks(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns a view of a dense weight, without what would join two groups.

        Args:
            weight: (units_out, units_in).

        Returns:
            (positions out, positions in, groups, channels out, channels in), the
            channels being those of one group.
        """
        p, q = math.prod(self.sides_out), math.prod(self.sides)
        if self.channels_last:
            return weight.view(p, self.channels_out, q, self.channels_in).permute(
                0, 2, 1, 3
            )[:, :, None]
        groups = self.groups
        split = weight.view(groups, -1, p, groups, self.channels_in // groups, q)
        return split.diagonal(dim1=0, dim2=3).permute(1, 3, 4, 0, 2)

    def local(self) -> torch.Tensor:
        """Returns (units_out, units_in) bool: whether a window joins the two."""
        mask = torch.zeros(self.units_out, self.units_in, dtype=torch.bool)
        output, _, place = self._entries()
        self.blocks(mask)[output, place] = True
        return mask

    def joins_all(self) -> bool:
        """Returns whether every output reads every input, so that none is off-local."""
        if self.groups > 1:
            return False
        places = math.prod(self.sides)
        return all(len(set(row) - {-1}) == places for row in self.reads().tolist())

    def spread(self, kernel: torch.Tensor) -> torch.Tensor:
        """Returns the dense weight (units_out, units_in) that computes the same.

        Args:
            kernel: (channels_out, channels_in / groups, taps).
        """
        weight = kernel.new_zeros(self.units_out, self.units_in)
        output, tap, place = self._entries(kernel.device)
        each = torch.unflatten(kernel, 0, (self.groups, -1)).permute(3, 0, 1, 2)[tap]
        # Replicate padding lets several taps read one input: they add up.
        self.blocks(weight).index_put_((output, place), each, accumulate=True)
        return weight

    def parts(self, weight: torch.Tensor) -> Parts:
        """Returns the parts of a dense weight (units_out, units_in)."""
        output, tap, place = self._entries(weight.device)
        pairs, entry_of = torch.unique(
            torch.stack([output, place]), dim=1, return_inverse=True
        )
        rest = weight.clone()
        blocks = self.blocks(rest)
        local = blocks[pairs[0], pairs[1]].double()  # (pairs, groups, out, in)
        blocks[pairs[0], pairs[1]] = 0.0
        # The shared weights that come nearest to the local ones, by least squares.
        # Where no two taps read one input at one position, these are the means.
        taps = math.prod(self.kernel)
        sums = local.new_zeros(taps, *local.shape[1:])
        sums.index_add_(0, tap, local[entry_of])
        times = torch.bincount(tap, minlength=taps).double()
        if len(entry_of) == pairs.shape[1]:
            nearest = sums / times.clamp(min=1).view(-1, 1, 1, 1)
        else:
            count = local.new_zeros(len(local), taps)
            count[entry_of, tap] = 1.0
            inverse = torch.linalg.pinv(count.T @ count, hermitian=True)
            nearest = torch.einsum("st,t...->s...", inverse, sums)
        tied = torch.zeros_like(local).index_add_(0, entry_of, nearest[tap])
        return Parts(squared_norm(tied), squared_norm(local - tied), squared_norm(rest))

    def _entries(
        self, device: torch.device | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns (position out, tap, position in) of every read that is no padding."""
        reads = self.reads().to(device)
        output, tap = (reads >= 0).nonzero(as_tuple=True)
        return output, tap, reads[output, tap]


def squared_norm(x: torch.Tensor) -> float:
    """Returns the sum of squares in double precision, of a tensor of any size."""
    pieces = torch.split(
        x.detach().reshape(-1), 2**22
    )  # not all twice as large at once
    return sum(float(piece.double().square().sum()) for piece in pieces)


def _parts_over_positions(
    values: torch.Tensor, units: Sequence[int], shared: Sequence[int]
) -> Parts:
    """Returns the parts of numbers of which there is one per unit.

    Args:
        values: (units,), flat.
        units: One example's shape.
        shared: The shape that they had before, which broadcasts to that of units.
    """
    owner = torch.arange(math.prod(shared), device=values.device)
    owner = owner.view(tuple(shared)).expand(tuple(units)).reshape(-1)
    exact = values.detach().double()
    sums = exact.new_zeros(math.prod(shared)).index_add_(0, owner, exact)
    tied = (sums / torch.bincount(owner, minlength=len(sums)))[owner]
    return Parts(squared_norm(tied), squared_norm(exact - tied))


# --------------------------------------------------------------------- linear maps


@dataclasses.dataclass(frozen=True)
class Shared:
    """A linear map whose weights are shared over positions, before it is untied."""

    connections: Connections
    kernel: torch.Tensor
    """(channels_out, channels_in / groups, taps)."""
    bias: torch.Tensor | None
    """(channels_out,)."""

    @property
    def in_all(self) -> int:
        """Parameters of the dense form."""
        shape = self.connections
        return shape.units_out * (shape.units_in + (self.bias is not None))

    @property
    def in_all_with_padding(self) -> int:
        """The same, with the weights that would read zero padding."""
        shape = self.connections
        inputs = shape.channels_in * math.prod(shape.zero_padded)
        return shape.units_out * (inputs + (self.bias is not None))

    @property
    def in_windows(self) -> int:
        """Parameters of the locally connected form, with those at zero padding."""
        shape = self.connections
        window = self.kernel.shape[1] * self.kernel.shape[2]
        return shape.units_out * (window + (self.bias is not None))

    def untied(self, form: str) -> nn.Module:
        """Returns the layer that computes the same: "fcn" or "lcn"."""
        shape = self.connections
        layer: nn.Linear | Dense | LocallyConnected
        with torch.no_grad():
            bias = self.bias
            if bias is not None:
                bias = bias.view(shape.shared).expand(shape.shape_out).flatten()
            if not shape.sides:
                layer = _linear(self.kernel.flatten(1), bias)
            elif form == "fcn":
                layer = Dense(shape, shape.spread(self.kernel), bias)
            else:
                layer = LocallyConnected(shape, self.kernel, bias)
        layer.weight.requires_grad_(self.kernel.requires_grad)
        if self.bias is not None and layer.bias is not None:
            layer.bias.requires_grad_(self.bias.requires_grad)
        return layer


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta")
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


class Dense(nn.Module):
    """Every input joined with every output, (N, *shape_in) -> (N, *shape_out).

    Args:
        connections: Which of its weights are local.
        weight: (units_out, units_in).
        bias: (units_out,).
    """

    def __init__(
        self,
        connections: Connections,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> None:
        super().__init__()
        self.connections = connections
        self.shape_out = connections.shape_out
        # Just computed: a copy would double what a large network needs.
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes (N, *shape_out)."""
        outputs = functional.linear(x.flatten(1), self.weight, self.bias)
        return torch.unflatten(outputs, 1, self.shape_out)

    def extra_repr(self) -> str:
        """Says how many inputs and outputs it has, and how they are laid out."""
        return f"{self.weight.shape[1]} -> {self.shape_out}"

    def reset_parameters(self) -> None:
        """Draws weights and biases as nn.Linear does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def local_mask(self) -> torch.Tensor | None:
        """Returns which weights are local; None where all are."""
        if self.connections.joins_all():
            return None
        return self.connections.local().to(self.weight.device)

    @torch.no_grad()
    def keep(self, part: str) -> None:
        """Sets the weights of the other part to 0: "local" or "off_local"."""
        mask = self.local_mask()
        if mask is not None:
            self.weight.masked_fill_(~mask if part == "local" else mask, 0.0)

    @torch.no_grad()
    def parts(self) -> Parts:
        """Returns the parts of weights and biases."""
        parts = self.connections.parts(self.weight)
        if self.bias is not None:
            shared = self.connections.shared
            parts += _parts_over_positions(self.bias, self.shape_out, shared)
        return parts


class LocallyConnected(nn.Module):
    """The windows of a convolution with weights of their own at each position.

    Args:
        connections: What each window reads.
        kernel: (channels_out, channels_in / groups, taps), where each window starts.
        bias: (units_out,).

    Attributes:
        weight: (positions, channels_out, channels_in / groups * taps). What reads
            zero padding is 0 and never gets a gradient.
    """

    def __init__(
        self, connections: Connections, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.connections = connections
        self.weight = nn.Parameter(kernel.flatten(1) * self._exists(kernel))
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes (N, *shape_out)."""
        shape = self.connections
        windows = shape.windows(x.movedim(-1, 1) if shape.channels_last else x)
        grouped = torch.unflatten(
            windows, 1, (shape.groups, -1)
        )  # (N, groups, C, P, taps)
        rows = grouped.permute(3, 1, 0, 2, 4).flatten(3)  # (P, groups, N, C * taps)
        own_weight = torch.unflatten(self.weight, 1, (shape.groups, -1))
        outputs = rows @ own_weight.mT  # (P, groups, N, out)
        order = (2, 0, 1, 3) if shape.channels_last else (2, 1, 3, 0)
        flat = outputs.permute(order).flatten(1)
        if self.bias is not None:
            flat = flat + self.bias
        return torch.unflatten(flat, 1, shape.shape_out)

    def extra_repr(self) -> str:
        """Says how many windows of which size it has, and how outputs are laid out."""
        positions, _, window = self.weight.shape
        return f"{positions} windows of {window} -> {self.connections.shape_out}"

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws weights and biases as nn.Linear does, of what each window reads."""
        shape = self.connections
        exists = self._exists(self.weight)
        fan_in = exists.sum(2).clamp(min=1)  # (positions, 1)
        bound = fan_in.to(self.weight.dtype).rsqrt()
        self.weight.uniform_(-1, 1).mul_(bound[:, :, None] * exists)
        if self.bias is not None:
            # (positions, 1) in the order of the outputs.
            each = bound.expand(-1, shape.channels_out)
            each = each if shape.channels_last else each.T
            self.bias.uniform_(-1, 1).mul_(each.reshape(-1))

    def local_mask(self) -> None:
        """Returns None: all its weights are local."""
        return

    @torch.no_grad()
    def keep(self, part: str) -> None:
        """Sets the weights of the other part to 0: "local" or "off_local"."""
        if part == "off_local" and not self.connections.joins_all():
            self.weight.zero_()

    @torch.no_grad()
    def parts(self) -> Parts:
        """Returns the parts of weights and biases; none is off-local."""
        exact = self.weight.double()
        exists = self._exists(self.weight)
        mean = (exact * exists).sum(0) / exists.sum(0).clamp(min=1)
        parts = Parts(
            squared_norm(mean * exists), squared_norm((exact - mean) * exists)
        )
        if self.bias is not None:
            shape = self.connections
            parts += _parts_over_positions(self.bias, shape.shape_out, shape.shared)
        return parts

    def _exists(self, like: torch.Tensor) -> torch.Tensor:
        """Returns (positions, 1, window) bool: what reads no zero padding."""
        shape = self.connections
        inside = shape.reads().to(like.device) >= 0
        return inside.repeat(1, shape.channels_in // shape.groups)[:, None]


# ------------------------------------------------------------- one weight per unit


class PerUnit(nn.Module):
    """A layer whose channels are the units, (N, *units) -> (N, *units).

    Args:
        layer: Made for (N, prod(units)): nn.BatchNorm1d or nn.PReLU.
        units: One example's shape.
        shared: The shape that its weights had, which broadcasts to that of units.
    """

    def __init__(
        self, layer: nn.Module, units: Sequence[int], shared: Sequence[int]
    ) -> None:
        super().__init__()
        self.layer = layer
        self.units = tuple(units)
        self.shared = tuple(shared)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes (N, *units)."""
        outputs: torch.Tensor = self.layer(x.flatten(1))
        return torch.unflatten(outputs, 1, self.units)

    def reset_parameters(self) -> None:
        """Lets the layer start as its kind does."""
        restart = self.layer.reset_parameters
        assert callable(restart)
        restart()

    def parts(self) -> Parts:
        """Returns the parts of its weights."""
        return _parts_of(self, self.units, self.shared)


class Rescaled(nn.Module):
    """A normalisation with its statistics as they are, and weights for each unit.

    Args:
        norm: Without weights.
        weight: (prod(units),), or None.
        bias: The same.
        units: One example's shape.
        shared: The shape that the weights had, which broadcasts to that of units.
    """

    def __init__(
        self,
        norm: nn.Module,
        weight: nn.Parameter | None,
        bias: nn.Parameter | None,
        units: Sequence[int],
        shared: Sequence[int],
    ) -> None:
        super().__init__()
        self.norm = norm
        # Flat, as biases and the weights of any normalisation are.
        self.weight = weight
        self.bias = bias
        self.units = tuple(units)
        self.shared = tuple(shared)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Computes (N, *units)."""
        outputs: torch.Tensor = self.norm(x)
        if self.weight is not None:
            outputs = outputs * self.weight.view(self.units)
        if self.bias is not None:
            outputs = outputs + self.bias.view(self.units)
        return outputs

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Sets weights to 1 and offsets to 0."""
        if self.weight is not None:
            self.weight.fill_(1.0)
        if self.bias is not None:
            self.bias.fill_(0.0)

    def parts(self) -> Parts:
        """Returns the parts of its weights."""
        return _parts_of(self, self.units, self.shared)


class Values(nn.Module):
    """A parameter that is added to activations or multiplied with them.

    Args:
        value: (prod(units),).
        units: One example's shape.
        shared: The shape that it had, which broadcasts to that of units.
        neutral: What changes nothing: 0 where it is added, 1 where it multiplies.
    """

    def __init__(
        self,
        value: nn.Parameter,
        units: Sequence[int],
        shared: Sequence[int],
        neutral: float,
    ) -> None:
        super().__init__()
        self.value = value
        self.units = tuple(units)
        self.shared = tuple(shared)
        self.neutral = neutral

    def forward(self) -> torch.Tensor:
        """Returns them as (*units,)."""
        return self.value.view(self.units)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Sets it to what changes nothing: how its module starts it is not known."""
        self.value.fill_(self.neutral)

    def parts(self) -> Parts:
        """Returns its parts."""
        return _parts_of(self, self.units, self.shared)


def _parts_of(
    layer: nn.Module, units: tuple[int, ...], shared: tuple[int, ...]
) -> Parts:
    each = [_parts_over_positions(p, units, shared) for p in layer.parameters()]
    return functools.reduce(Parts.__add__, each, Parts())


class Constant(nn.Module):
    """A tensor that is not trained, carried along.

    Args:
        value: Any shape.
    """

    value: torch.Tensor

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.detach().clone())

    def forward(self) -> torch.Tensor:
        """Returns it."""
        return self.value

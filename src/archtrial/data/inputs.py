"""What an architecture may ask of the data besides the shape of one example."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archtrial.data.split import Split

__all__ = ["Column", "Inputs", "inputs_of"]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table, as it lies in an example."""

    name: str
    start: int
    """The place of its first value."""
    categories: int | None
    """How many categories `Inputs.parted` tells apart, those that training never saw
    as one of them; None for a column of numbers."""

    @property
    def width(self) -> int:
        """How many values of an example are its own: 1, or one for each category."""
        return 1 if self.categories is None else self.categories - 1


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is known of the inputs; what does not apply to them is None.

    A builder gets it by a parameter of this name and type:

        def net(inputs: archtrial.Inputs, num_outputs): ...

    """

    shape: tuple[int, ...]
    """Of one example: (F,), (L,), (C, L) or (C, H, W)."""
    kind: str
    """"table", "sequence", "image" or "array"."""
    columns: tuple[Column, ...] | None = None
    """Of a table whose columns are known, in their order."""
    lengths: tuple[int, int] | None = None
    """Of sequences: steps of the shortest and of the longest; `shape` has the longest.
    Where they differ, inputs are NaN in all channels behind each end, or of ids 0."""
    vocabulary: int | None = None
    """Of whole numbers that are names, such as token ids: they are 0 to below this."""

    @property
    def unequal(self) -> bool:
        """Whether sequences differ in length."""
        return self.lengths is not None and self.lengths[0] < self.lengths[1]

    def cut(self, steps: int) -> "Inputs":
        """Returns those of sequences that all have so many steps."""
        shape = (*self.shape[:-1], steps)
        return dataclasses.replace(self, shape=shape, lengths=(steps, steps))

    @classmethod
    def of_shape(cls, shape: Sequence[int], vocabulary: int | None = None) -> "Inputs":
        """Returns what a shape alone says, for modules that are built without data.

        Args:
            shape: Three sides are read as an image, two as a sequence of several
                channels, one as an array; names (ids) as a sequence.
            vocabulary: How many names there are, where the inputs are such.
        """
        kinds = {2: "sequence", 3: "image"}
        plain = "array" if vocabulary is None else "sequence"
        kind = kinds.get(len(shape), plain)
        lengths = (shape[-1], shape[-1]) if kind == "sequence" else None
        return cls(tuple(shape), kind, lengths=lengths, vocabulary=vocabulary)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Inputs":
        """Returns what `to_dict` described, be it read from JSON.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is not what it should be.
        """
        columns, lengths = described["columns"], described["lengths"]
        return cls(
            shape=tuple(described["shape"]),
            kind=described["kind"],
            columns=None
            if columns is None
            else tuple(Column(**column) for column in columns),
            lengths=None if lengths is None else (int(lengths[0]), int(lengths[1])),
            vocabulary=described["vocabulary"],
        )

    def parted(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Parts a table's examples into numbers and whole-numbered categories.

        Args:
            x: (N, F), as a module gets it: a category has one place for each value.

        Returns:
            (N, columns of numbers) float32; and (N, columns of categories) int64, each
            from 0, a value that training never saw, to below its column's
            `categories`. Both in the order of the columns.

        Raises:
            ValueError: The columns are not known.
        """
        if self.columns is None:
            raise ValueError(f"inputs of the kind {self.kind!r} have no columns")
        numbers = [c.start for c in self.columns if c.categories is None]
        ids = [
            _category(x[:, column.start : column.start + column.width])
            for column in self.columns
            if column.categories is not None
        ]
        none = torch.zeros(len(x), 0, dtype=torch.int64, device=x.device)
        return x[:, numbers], torch.stack(ids, 1) if ids else none


def _category(places: torch.Tensor) -> torch.Tensor:
    """Returns (N,) which of the places holds the 1, from 1 on; 0 where none does."""
    strongest, place = places.max(1)
    return torch.where(strongest > 0.5, place + 1, 0)


def inputs_of(split: Split) -> Inputs:
    """Returns what is known of a split's inputs."""
    columns = None
    prepared = split.preparation
    if split.kind == "table" and prepared is not None:
        columns = _columns(prepared.columns)
    steps = split.input_shape[-1]
    return Inputs(
        shape=split.input_shape,
        kind=split.kind,
        columns=columns,
        lengths=(split.lengths or (steps, steps)) if split.kind == "sequence" else None,
        vocabulary=split.vocabulary,
    )


def _columns(described: Sequence[Any]) -> tuple[Column, ...]:
    columns, start = [], 0
    for column in described:
        categories = column["inputs"] + 1 if "places" in column else None
        columns.append(Column(column["name"], start, categories))
        start += columns[-1].width
    return tuple(columns)

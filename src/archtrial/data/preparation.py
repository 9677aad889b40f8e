"""What was done to raw inputs before a model was trained on them, to be done again."""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from archtrial.data.cells import Notation
from archtrial.data.delimited import listing
from archtrial.data.stored import Array, Examples, Stored
from archtrial.data.tables import Column, columns_of
from archtrial.data.texts import Tokenizer
from archtrial.errors import DataError

__all__ = ["Preparation"]

# As many examples are kept with a model as make up so many numbers.
_MOST_EXAMPLES, _MOST_NUMBERS = 64, 2**16


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How raw inputs become a model's; it is JSON throughout.

    Args:
        kind: "table", "sequence", "image" or "array".
        shape: Of one raw example; of a table the number of its columns.
        mean: What is subtracted, broadcast over examples.
        scale: What is divided by; None for a constant, which becomes 0.
        columns: Of a table, what becomes of each.
        whole: Whether the model's inputs are whole numbers.
        examples: The first raw examples of the test set: an array as lists, or a
            table's columns.
        pixels: Of files of images, the mode in which they were read.
        text: Of texts, "column", their name, and "tokenizer".
        padding: What is behind the end of series of unequal length: "mask", NaN for
            which modules get zeros and are told of it, or "zeros"; None where all have
            one length.
        cut: Whether of longer series the first steps are used.
    """

    kind: str
    shape: tuple[int, ...]
    mean: Any = 0.0
    scale: Any = 1.0
    columns: tuple[Mapping[str, Any], ...] = ()
    whole: bool = False
    examples: Any = None
    pixels: str | None = None
    padding: str | None = None
    cut: bool = False
    text: Mapping[str, Any] | None = None

    @classmethod
    def of_texts(
        cls, column: Column, tokenizer: Tokenizer, rows: Array
    ) -> "Preparation":
        """Returns that of texts.

        Args:
            column: Of N texts.
            tokenizer: What reads them.
            rows: Of the test set.
        """
        few: list[str] = []
        for text in column.values[rows[:_MOST_EXAMPLES]].tolist():
            few.append(text or "")
            if sum(map(len, few)) > _MOST_NUMBERS:
                break
        return cls(
            "sequence",
            (tokenizer.steps,),
            whole=True,
            examples=few,
            text={"column": column.name, "tokenizer": tokenizer.to_dict()},
        )

    @classmethod
    def of_array(
        cls,
        inputs: Array | Stored,
        prepared: Examples,
        kind: str,
        moments: tuple[Array, Array] | None,
        rows: Array,
        steps: Array | None = None,
        told: str | int | None = None,
    ) -> "Preparation":
        """Returns that of numbers.

        Args:
            inputs: (N, *shape), raw.
            prepared: The same, or a part, as models receive it.
            kind: Of the inputs.
            moments: Mean and scale by which it was scaled, if it was.
            rows: Of the test set.
            steps: (N,) where series end that differ in length.
            told: What is declared of lengths.
        """
        size = max(1, int(np.prod(inputs.shape[1:])))
        few = rows[: max(1, min(_MOST_EXAMPLES, _MOST_NUMBERS // size))]
        mean, scale = (None, None) if moments is None else moments
        return cls(
            kind=kind,
            shape=tuple(inputs.shape[1:]),
            mean=0.0 if mean is None else mean.tolist(),
            scale=1.0 if scale is None else _finite(scale.tolist()),
            whole=prepared.dtype.kind in "iu",
            examples=inputs[few].tolist()
            if steps is None
            # NaN is no JSON.
            else [
                one[..., :end].tolist()
                for one, end in zip(inputs[few], steps[few], strict=True)
            ],
            padding=None if steps is None else "zeros" if told == "zeros" else "mask",
            cut=isinstance(told, int),
        )

    @classmethod
    def of_table(
        cls,
        columns: tuple[Column, ...],
        described: Sequence[Mapping[str, Any]],
        rows: Array,
    ) -> "Preparation":
        """Returns that of columns, as `tables.fitted` describes them."""
        few = rows[:_MOST_EXAMPLES]
        names = {column["name"] for column in described}
        examples = {
            column.name: [_cell(value) for value in column.values[few].tolist()]
            for column in columns
            if column.name in names
        }
        return cls(
            "table", (len(described),), columns=tuple(described), examples=examples
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON, without the examples."""
        described = dataclasses.asdict(self)
        del described["examples"]
        return {**described, "shape": list(self.shape), "columns": list(self.columns)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Preparation":
        """Returns what `to_dict` described."""
        return cls(
            **{
                **described,
                "shape": tuple(described["shape"]),
                "columns": tuple(described["columns"]),
            }
        )

    def __post_init__(self) -> None:
        # A tokenizer that is damaged is told when it is read, not when it is used.
        tokenizer = (
            None if self.text is None else Tokenizer.from_dict(self.text["tokenizer"])
        )
        object.__setattr__(self, "_tokenizer", tokenizer)

    def __call__(self, inputs: Any) -> torch.Tensor:
        """Returns raw inputs as a model receives them.

        Args:
            inputs: (N, *shape) numbers; of images also (N, H, W, channels), and N paths
                where the data were files of images. Of series of unequal length N
                arrays, each as long as it is, or one with NaN behind each end. Of a
                table a pandas.DataFrame, or a mapping of the columns' names to N cells.
                Where texts were read, N texts, or such a table with their column.

        Raises:
            DataError: They have another shape, or a column is not there.
        """
        if self.text is not None:
            tokenizer: Tokenizer = self.__dict__["_tokenizer"]
            raw = _texts(inputs, self.text["column"])
            return torch.from_numpy(tokenizer(raw).ids)
        if self.kind == "table":
            texts = {c["name"] for c in self.columns if "places" in c}
            return torch.from_numpy(self._of_columns(_cells(inputs, texts)))
        if _are_paths(inputs):
            inputs = self._read(inputs)
        if self.padding is not None or self.cut:
            numbers = self._series(inputs)
        elif isinstance(inputs, torch.Tensor):
            numbers = inputs
        else:
            read = np.asarray(inputs)
            if read.dtype.kind not in "biuf":
                raise DataError("raw inputs are numbers", f"{read.dtype}")
            kept = np.int64 if self.whole else np.float64
            numbers = torch.from_numpy(read.astype(kept))
        numbers = self._in_order(numbers)
        if self.whole:
            return numbers.long()
        mean = torch.tensor(self.mean, dtype=torch.float64, device=numbers.device)
        scale = torch.tensor(
            _infinite(self.scale), dtype=torch.float64, device=numbers.device
        )
        made = ((numbers.double() - mean) / scale).float()
        return made.where(~made.isnan(), 0) if self.padding == "zeros" else made

    def _series(self, inputs: Any) -> torch.Tensor:
        """Returns series (N, *shape) with padding behind the end of each.

        Raises:
            DataError: One has other channels, no step, more than the study's longest,
                or a missing value before its end.
        """
        most = self.shape[-1]
        if not isinstance(inputs, list | tuple) and not np.ndim(inputs):
            raise DataError(
                "raw inputs are several series, in a list or an array",
                f"an object of type {type(inputs).__name__}",
            )
        made = [self._read_series(one, number) for number, one in enumerate(inputs)]
        if not made:
            raise DataError("raw inputs are several series", "none")
        padding = 0 if self.whole else torch.nan
        return torch.stack(
            [
                functional.pad(one, (0, most - one.shape[-1]), value=padding)
                for one in made
            ]
        )

    def _read_series(self, given: Any, number: int) -> torch.Tensor:
        """Returns one series ([C,] steps) up to its end."""
        if not isinstance(given, torch.Tensor):
            read = np.asarray(given)
            if read.dtype.kind not in "biuf":
                raise DataError("raw inputs are numbers", f"{read.dtype}")
            given = torch.from_numpy(
                read.astype(np.int64 if self.whole else np.float64)
            )
        one: torch.Tensor = given.long() if self.whole else given.double()
        most = self.shape[-1]
        if one.dim() != len(self.shape) or one.shape[:-1] != self.shape[:-1]:
            said = "x".join([*map(str, self.shape[:-1]), "steps"])
            raise DataError(
                f"raw inputs are several series, each {said}",
                f"series {number} has the shape {tuple(one.shape)}",
                "A single series is [x].",
            )
        if self.cut:
            one = one[..., :most]
        own = one != 0 if self.whole and self.padding is not None else ~one.isnan()
        places = (own if one.dim() == 1 else own.any(0)).nonzero()
        steps = int(places[-1]) + 1 if len(places) else 0
        if steps > most or (self.padding is None and steps < most):
            raise DataError(
                f"raw series have {most} steps"
                + (" at most, as the longest of the study" if self.padding else ""),
                f"series {number} has {steps}",
                f"Cut it: x[..., :{most}]." if steps > most else "",
            )
        one = one[..., :steps]
        if not self.whole and (not steps or one.isnan().any()):
            raise DataError(
                "a raw series has a step at least, and is NaN in all channels behind its"
                " end alone",
                f"series {number} has {'NaN before it' if steps else 'none'}",
                "Fill missing values in, or leave the series out.",
            )
        return one

    def _read(self, paths: Sequence[Any]) -> Array:
        if self.pixels is None:
            raise DataError(
                "raw inputs are numbers, or paths where the data were files of images",
                f"{len(paths)} paths or texts",
                "Read them into an array as that of the study was made.",
            )
        # Not above: images are read into data sets, which have preparations.
        from archtrial.data.images import read_like

        size = (self.shape[2], self.shape[1])
        return read_like([os.fspath(path) for path in paths], self.pixels, size)

    def _in_order(self, numbers: torch.Tensor) -> torch.Tensor:
        if tuple(numbers.shape[1:]) == self.shape and numbers.dim() > 0:
            return numbers
        if self.kind == "image" and numbers.dim() == len(self.shape) + 1:
            turned = numbers.movedim(-1, 1)
            if tuple(turned.shape[1:]) == self.shape:
                return turned
        if self.kind == "image" and self.shape[:1] == (1,) and numbers.dim() == 3:
            grey = numbers.unsqueeze(1)
            if tuple(grey.shape[1:]) == self.shape:
                return grey
        said = "x".join(map(str, self.shape))
        raise DataError(
            f"raw inputs are several examples, N of {said}",
            f"the shape {tuple(numbers.shape)}",
            "A single example is x[None].",
        )

    def _of_columns(self, cells: Mapping[str, Sequence[Any]]) -> Array:
        parts = []
        for column in self.columns:
            name = column["name"]
            if name not in cells:
                raise DataError(
                    f"the raw inputs have the column {name!r}",
                    f"they have {', '.join(map(repr, cells)) or 'none'}",
                )
            values = cells[name]
            parts.append(
                _number(column, values) if "mean" in column else _places(column, values)
            )
        return np.concatenate(parts, axis=1, dtype=np.float32)


def _texts(inputs: Any, column: str) -> list[str]:
    """Returns raw texts; what is missing is empty."""
    if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):
        if column not in inputs:
            raise DataError(
                f"the raw inputs have the column {column!r}",
                f"they have {listing([repr(str(name)) for name in inputs]) or 'none'}",
            )
        inputs = inputs[column]
    if isinstance(inputs, str | bytes) or not hasattr(inputs, "__iter__"):
        raise DataError(
            "raw inputs are several texts",
            f"an object of type {type(inputs).__name__}",
            "A single text is [text].",
        )
    import pandas as pd

    found = []
    for text in inputs:
        if not isinstance(text, str) and np.ndim(text) == 0 and pd.isna(text):
            text = ""
        if not isinstance(text, str):
            raise DataError(
                "raw inputs are texts", f"an object of type {type(text).__name__}"
            )
        found.append(text.strip())
    return found


def _are_paths(inputs: Any) -> bool:
    return (
        isinstance(inputs, list | tuple)
        and len(inputs) > 0
        and all(isinstance(path, str | os.PathLike) for path in inputs)
    )


def _number(column: Mapping[str, Any], values: Sequence[Any]) -> Array:
    try:
        numbers = np.array([np.nan if v is None else v for v in values], np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"column {column['name']!r} holds numbers", "it holds texts"
        ) from None
    filled = np.where(np.isnan(numbers), column["median"], numbers)
    scaled: Array = ((filled - column["mean"]) / column["scale"])[:, None]
    return scaled


def _places(column: Mapping[str, Any], values: Sequence[Any]) -> Array:
    encoded = np.zeros((len(values), column["inputs"]), np.float32)
    for row, value in enumerate(values):
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a column of whole numbers as pandas has it
        place = column["missing"] if value is None else column["places"].get(str(value))
        if place is not None:  # a value that training never saw is all zeros
            encoded[row, place] = 1
    return encoded


def _cells(inputs: Any, texts: Collection[str]) -> Mapping[str, Sequence[Any]]:
    if hasattr(inputs, "columns") and hasattr(inputs, "items"):
        named = [
            str(name) for name, series in inputs.items()
            if str(name) in texts and series.dtype.kind not in "iufb"
        ]  # fmt: skip
        notation = Notation(separator="", categorical=tuple(named))
        return {
            column.name: [_cell(value) for value in column.values.tolist()]
            for column in columns_of(inputs, notation)
        }
    if isinstance(inputs, Mapping):
        return {str(name): [_cell(v) for v in cells] for name, cells in inputs.items()}
    raise DataError(
        "the raw inputs of a table are a pandas.DataFrame, or a mapping of names to"
        " cells",
        f"an object of type {type(inputs).__name__}",
    )


def _cell(value: Any) -> Any:
    """Returns a cell as JSON has it; what is not a number is missing."""
    return None if isinstance(value, float) and np.isnan(value) else value


def _finite(scale: Any) -> Any:
    """Replaces the infinite scale of a constant, which JSON has not."""
    if isinstance(scale, list):
        return [_finite(part) for part in scale]
    return None if np.isinf(scale) else scale


def _infinite(scale: Any) -> Any:
    if isinstance(scale, list):
        return [_infinite(part) for part in scale]
    return np.inf if scale is None else scale

"""Tables: columns as they are read, and as numbers fitted on the training rows."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.data.cells import Found, Notation, read_cells
from archtrial.data.delimited import listing
from archtrial.data.split import Array
from archtrial.errors import DataError

__all__ = [
    "Column",
    "columns_of",
    "columns_of_texts",
    "encode",
    "fitted",
    "how_texts_are_read",
    "is_prose",
]

# A category's rarer values share one input, so that a column of a thousand
# post codes does not become a thousand inputs with a handful of rows each.
_MOST_CATEGORIES = 32
_OWN_TEXT = "nearly every row has a text of its own"


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One column as it was read.

    Numbers are float64 with NaN where a value is missing; texts are objects, str or
    None. True and false are 1 and 0; dates are days since 1970.
    """

    name: str
    values: Array
    date: bool = False
    texts: Array | None = None
    """(N,) str and None: the cells as they stand, where numbers do not say it all."""
    doubtful: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How often which words stand in a column of numbers that may mean more than that
    nothing was observed."""
    notes: tuple[str, ...] = ()
    """What is to be said of how it was read."""

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers, not texts."""
        return self.values.dtype == np.float64

    @property
    def missing(self) -> Array:
        """(N,) bool."""
        if self.is_number:
            return np.isnan(self.values)
        return np.array([value is None for value in self.values], dtype=bool)

    def take(self, rows: Array) -> "Column":
        """Returns the column with some of its rows."""
        texts = None if self.texts is None else self.texts[rows]
        return dataclasses.replace(self, values=self.values[rows], texts=texts)


# --- reading -------------------------------------------------------------------


def columns_of_texts(
    table: Mapping[str, Sequence[str]], notation: Notation
) -> tuple[Column, ...]:
    """Returns columns of cells as they were written as numbers, dates and texts.

    Raises:
        DataError: It cannot be told what a number or a date says, or one is infinite.
    """
    return tuple(
        _as_column(name, found) for name, found in read_cells(table, notation).items()
    )


def _as_column(name: str, found: Found) -> Column:
    return Column(
        name,
        found.values,
        date=found.date,
        texts=found.texts,
        doubtful=found.doubtful,
        notes=found.notes,
    )


def columns_of(frame: Any, notation: Notation | None = None) -> tuple[Column, ...]:
    """Returns a pandas.DataFrame's columns as numbers and texts.

    Raises:
        DataError: A cell holds something other than a number, a text, a truth value
            or a date, or a number is infinite.
    """
    columns: dict[str, Column | None] = {}
    written: dict[str, list[str]] = {}
    for label, series in frame.items():
        name = str(label)
        named = notation is not None and name in notation.categorical
        found = None if named else _column(name, series)
        if named:
            _check_plain(name, series)
        if found is None:
            written[name] = _as_written(series)
        columns[name] = found
    read = {
        column.name: column
        for column in columns_of_texts(written, notation or Notation(separator=""))
    }
    return tuple(column or read[name] for name, column in columns.items())


def _column(name: str, series: Any) -> Column | None:
    """Returns a column of numbers or dates; None for one of texts."""
    import pandas as pd

    types = pd.api.types
    inferred = types.infer_dtype(series, skipna=True)
    if inferred == "empty" or types.is_numeric_dtype(series) or inferred == "decimal":
        values = series.astype("Float64").to_numpy(np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise DataError(
                f"column {name!r} holds finite numbers",
                f"{np.isinf(values).sum()} infinite, the first in data row"
                f" {int(np.isinf(values).argmax()) + 1}",
                "Correct the values, or leave the cells empty to have them imputed.",
            )
        return Column(name, values)
    if inferred in ("datetime64", "datetime", "date"):
        return Column(name, _days(pd.to_datetime(series, utc=True)), date=True)
    if inferred in ("timedelta64", "timedelta"):
        return Column(name, (series / pd.Timedelta(days=1)).to_numpy(np.float64))
    if inferred not in ("string", "categorical", "boolean", "mixed-integer"):
        raise DataError(
            "a cell holds a number, a text, a truth value or a date",
            f"column {name!r} holds {inferred}",
            "Remove the column, or spread it over columns of plain values.",
        )
    return None


def _check_plain(name: str, series: Any) -> None:
    """Raises a DataError where cells that are taken as texts are none."""
    odd = next(
        (v for v in series.tolist() if isinstance(v, bytes | list | dict | np.ndarray)),
        None,
    )
    if odd is not None:
        raise DataError(
            "a cell that is read as a text or a category is a plain value",
            f"column {name!r} holds {type(odd).__name__}",
            "Decode bytes as texts, and join what is a list.",
        )


def _as_written(series: Any) -> list[str]:
    present = series.notna().to_numpy()
    return [
        str(value).strip() if there else ""
        for value, there in zip(series.tolist(), present.tolist(), strict=True)
    ]


def _days(dates: Any) -> Array:
    import pandas as pd

    epoch = pd.Timestamp("1970-01-01", tz="UTC")
    days: Array = ((dates - epoch) / pd.Timedelta(days=1)).to_numpy(np.float64)
    return days


# --- encoding ------------------------------------------------------------------


def encode(
    columns: tuple[Column, ...], train: Array, *, scale: bool = True
) -> tuple[Array, list[str]]:
    """Returns the columns as inputs; what is fitted is fitted on the training rows.

    Numbers have the training rows' mean 0 and standard deviation 1, missing ones
    their median. A category becomes one input of 0 or 1 for each of its values, the
    rarest of many together; missing is a value of its own. Columns that say nothing
    (constant, empty, a number that counts the rows) or that name every row (keys,
    free text) are dropped.

    Args:
        columns: Of N rows each.
        train: The training rows' indices.
        scale: False leaves numbers in their own units.

    Returns:
        (N, F) float32, and notes on what was done.

    Raises:
        DataError: No column is left.
    """
    inputs: list[Array] = []
    dropped: dict[str, list[str]] = {}
    imputed, merged, dates = [], [], []
    for column in columns:
        reason = _useless(column, train)
        if reason:
            dropped.setdefault(reason, []).append(column.name)
            continue
        missing = int(column.missing.sum())
        if column.is_number:
            inputs.append(_scaled(column, train, scale)[:, None])
            dates += [column.name] if column.date else []
        else:
            encoded, rest = _one_hot(column, train)
            inputs.append(encoded)
            merged += [f"{column.name} ({rest})"] if rest else []
        if missing:
            how = "median" if column.is_number else "as a category"
            imputed.append(f"{column.name} ({missing}, {how})")
    texts = dropped.get(_OWN_TEXT, [])
    prose = [c.name for c in columns if c.name in texts and is_prose(c)]
    notes = [
        f"Dropped, since {reason}: {listing(names)}."
        for reason, names in dropped.items()
    ]
    if inputs:
        notes += [
            f"Column {name} may be read as texts, in place of the others: --text"
            f" {shlex.quote(name)}."
            for name in prose[:3]
        ]
    if imputed:
        notes.append(
            f"Missing values, replaced from the training rows: {listing(imputed)}."
        )
    if dates:
        notes.append(f"Dates enter as a number of days: {listing(dates)}.")
    if merged:
        notes.append(
            f"Rare values share one input beyond the {_MOST_CATEGORIES} commonest:"
            f" {listing(merged)}."
        )
    if not inputs:
        raise DataError(
            "at least one column says something about the target",
            "none is left",
            " ".join([*notes, *how_texts_are_read(texts)]),
        )
    return np.concatenate(inputs, axis=1, dtype=np.float32), notes


def _useless(column: Column, train: Array) -> str:
    """Returns why a column is dropped, or an empty string."""
    seen = column.take(train)
    present = ~seen.missing
    distinct = len(set(seen.values[present].tolist()))
    if distinct == 0:
        return "empty in the training rows"
    if distinct == 1 and (column.is_number or present.all()):
        return "constant in the training rows"
    if column.is_number:
        counted = not column.date and len(column.values) > 2
        if counted and (np.diff(column.values) == 1).all():
            return "they count the rows"
    elif distinct > 2 and distinct * 2 > present.sum():
        return _OWN_TEXT
    return ""


def is_prose(column: Column) -> bool:
    """Whether a column holds texts of several words, more than a category has values."""
    if column.is_number:
        return False
    present = [value for value in column.values.tolist() if value]
    several = sum(len(value.split(None, 2)) > 2 for value in present)
    return several * 2 > len(present) and len(set(present)) > _MOST_CATEGORIES


def how_texts_are_read(names: Sequence[str]) -> list[str]:
    """Says how a column that was dropped is an input."""
    if not names:
        return []
    ways = " or ".join(f"--text {shlex.quote(name)}" for name in names[:3])
    return [f"If it is to be read as a text: {ways} (in a protocol, text = ...)."]


def _scaled(column: Column, train: Array, scale: bool) -> Array:
    values = column.values
    seen = values[train]
    median = np.median(seen[~np.isnan(seen)])
    filled: Array = np.where(np.isnan(values), median, values)
    if not scale:
        return filled
    mean, deviation = filled[train].mean(), filled[train].std()
    scaled: Array = (filled - mean) / (deviation or 1.0)
    return scaled


def _one_hot(column: Column, train: Array) -> tuple[Array, int]:
    """Returns (N, inputs) of 0 and 1, and how many rare values share the last."""
    texts = [
        "missing" if value is None else f"={value}" for value in column.values.tolist()
    ]
    values, counts = np.unique([texts[row] for row in train], return_counts=True)
    # The commonest first; ties in the order of the alphabet.
    ranked = values[np.argsort(-counts, kind="stable")].tolist()
    place = {value: min(rank, _MOST_CATEGORIES) for rank, value in enumerate(ranked)}
    encoded = np.zeros((len(texts), max(place.values()) + 1), np.float32)
    for row, text in enumerate(texts):
        if text in place:  # a value that training never saw is all zeros
            encoded[row, place[text]] = 1
    return encoded, max(len(ranked) - _MOST_CATEGORIES, 0)


def fitted(
    columns: tuple[Column, ...], train: Array, encoded: Array
) -> list[dict[str, Any]]:
    """Describes, as JSON, what `encode` makes of each column that it keeps.

    Args:
        columns: Of N rows each, as `encode` got them.
        train: The training rows' indices.
        encoded: (training rows, F), what `encode` made of them.
    """
    described: list[dict[str, Any]] = []
    start = 0
    for column in columns:
        if _useless(column, train):
            continue
        seen = column.values[train]
        if column.is_number:
            median = float(np.median(seen[~np.isnan(seen)]))
            filled = np.where(np.isnan(seen), median, seen)
            mean, scale = float(filled.mean()), float(filled.std() or 1.0)
            own = encoded[:, start].astype(np.float64)
            # Declared to be left in its own unit.
            if np.allclose(own, filled.astype(np.float32), rtol=1e-6, atol=0):
                mean, scale = 0.0, 1.0
            described.append(
                {"name": column.name, "median": median, "mean": mean, "scale": scale}
            )
            start += 1
            continue
        texts = [None if value is None else str(value) for value in seen.tolist()]
        width = min(len(set(texts)), _MOST_CATEGORIES + 1)
        block = encoded[:, start : start + width].argmax(1).tolist()
        places = dict(zip(texts, block, strict=True))
        missing = places.pop(None, None)
        described.append(
            {"name": column.name, "inputs": width, "missing": missing, "places": places}
        )
        start += width
    return described

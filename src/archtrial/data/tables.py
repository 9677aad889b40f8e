"""Tables: columns as they are read, and as numbers fitted on the training rows."""

import csv
import dataclasses
import io
import re
from typing import Any

import numpy as np

from archtrial.data.split import Array
from archtrial.errors import DataError

__all__ = [
    "Column",
    "columns_of",
    "encode",
    "fitted",
    "is_number",
    "listing",
    "parse_csv",
]

# A category's rarer values share one input, so that a column of a thousand
# post codes does not become a thousand inputs with a handful of rows each.
_MOST_CATEGORIES = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One column as it was read.

    Numbers are float64 with NaN where a value is missing; texts are objects, str or
    None. True and false are 1 and 0; dates are days since 1970.
    """

    name: str
    values: Array
    date: bool = False

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
        return dataclasses.replace(self, values=self.values[rows])


def listing(items: list[str], most: int = 5) -> str:
    """Returns "a, b and c", shortened to "a, b and 7 more" where there are many."""
    if len(items) > most + 1:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if items[1:] else items)


# --- reading -------------------------------------------------------------------


def parse_csv(text: str, name: str) -> tuple[Any, list[str]]:
    """Reads the text of a CSV file, with or without a line of names.

    Args:
        text: The whole file. Fields are separated by comma, semicolon or tab.
        name: The file's name, for messages.

    Returns:
        A pandas.DataFrame, and notes.

    Raises:
        DataError: There are no rows, rows of different lengths, or two columns of
            one name.
    """
    import pandas as pd

    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(",;\t", key=first.count)
    names: list[str] = []
    count = 0
    lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    for row in lines:
        if not row:
            continue
        if not names:
            names = row
        count += 1
        if len(row) != len(names):
            raise DataError(
                f"every row of {name} has as many fields as its first",
                f"row {count} has {len(row)} and not {len(names)}",
                "The file may be cut off; or put texts that contain the separator"
                " into quotes.",
            )
    # A first row of numbers alone is data: column names are words.
    headed = not all(is_number(field) for field in names)
    names = [field.strip() for field in names]
    for field in names if headed else ():
        if names.count(field) > 1 or not field:
            raise DataError(
                f"the columns of {name} have names that differ",
                f"{field!r} twice" if field else "a column without a name",
                "Rename them in the first line.",
            )
    if count - headed < 1:
        raise DataError(
            f"{name} has a line of column names and rows below it", "no rows"
        )
    frame = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=0 if headed else None,
        skipinitialspace=True,
        low_memory=False,
    )
    if headed:
        frame.columns = names
        return frame, []
    frame.columns = [f"column_{i + 1}" for i in range(frame.shape[1])]
    note = f"{name} has no line of names: its columns are column_1, column_2, ..."
    return frame, [note]


def is_number(field: str) -> bool:
    """Returns whether a text can be read as a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def columns_of(frame: Any) -> tuple[Column, ...]:
    """Returns a pandas.DataFrame's columns as numbers and texts.

    Raises:
        DataError: A cell holds something other than a number, a text, a truth value
            or a date, or a number is infinite.
    """
    return tuple(_column(str(name), series) for name, series in frame.items())


def _column(name: str, series: Any) -> Column:
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
    present = series.notna().to_numpy()
    texts = np.full(len(series), None, dtype=object)
    texts[present] = [str(value).strip() for value in series[present]]
    # pandas leaves dates in a CSV file as texts.
    if present.any() and re.match(r"\d{4}-\d{2}-\d{2}", texts[present][0]):
        dates = pd.to_datetime(
            pd.Series(texts), format="ISO8601", utc=True, errors="coerce"
        )
        if dates.notna().to_numpy()[present].all():
            return Column(name, _days(dates), date=True)
    return Column(name, texts)


def _days(dates: Any) -> Array:
    import pandas as pd

    epoch = pd.Timestamp("1970-01-01", tz="UTC")
    days: Array = ((dates - epoch) / pd.Timedelta(days=1)).to_numpy(np.float64)
    return days


# --- encoding ------------------------------------------------------------------


def encode(columns: tuple[Column, ...], train: Array) -> tuple[Array, list[str]]:
    """Returns the columns as inputs; what is fitted is fitted on the training rows.

    Numbers have the training rows' mean 0 and standard deviation 1, missing ones
    their median. A category becomes one input of 0 or 1 for each of its values, the
    rarest of many together; missing is a value of its own. Columns that say nothing
    (constant, empty, a number that counts the rows) or that name every row (keys,
    free text) are dropped.

    Args:
        columns: Of N rows each.
        train: The training rows' indices.

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
            inputs.append(_scaled(column, train)[:, None])
            dates += [column.name] if column.date else []
        else:
            encoded, rest = _one_hot(column, train)
            inputs.append(encoded)
            merged += [f"{column.name} ({rest})"] if rest else []
        if missing:
            how = "median" if column.is_number else "as a category"
            imputed.append(f"{column.name} ({missing}, {how})")
    notes = [
        f"Dropped, since {reason}: {listing(names)}."
        for reason, names in dropped.items()
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
            " ".join(notes),
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
        if len(column.values) > 2 and (np.diff(column.values) == 1).all():
            return "they count the rows"
    elif distinct > 2 and distinct * 2 > present.sum():
        return "nearly every row has a text of its own"
    return ""


def _scaled(column: Column, train: Array) -> Array:
    values = column.values
    seen = values[train]
    median = np.median(seen[~np.isnan(seen)])
    filled = np.where(np.isnan(values), median, values)
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

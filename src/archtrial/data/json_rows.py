"""Rows of JSON: one object a line, or a list of objects, as the columns of a table."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from archtrial.data.cells import Notation
from archtrial.data.content import damaged, text_of
from archtrial.data.tables import Column, columns_of, columns_of_texts
from archtrial.errors import DataError

__all__ = ["Cell", "columns_of_rows", "read_rows"]

Cell: TypeAlias = str | int | float | bool | None

_HALF = re.compile("[\ud800-\udfff]")


class _TwiceError(ValueError):
    """An object names a key twice."""


def read_rows(path: Path) -> dict[str, list[Cell]]:
    """Returns the columns of a file of objects; a key that a row has not is missing there.

    Args:
        path: A text file, which may be packed. It holds one object a line, or one list of
            objects.

    Raises:
        DataError: It holds something else.
    """
    text = text_of(path)
    if "\0" in text:
        raise DataError(
            f"{path.name} is text",
            "it holds zero bytes",
            "It may be another kind of file, or saved as UTF-16: save it as UTF-8.",
        )
    columns: dict[str, list[Cell]] = {}
    count = 0
    for where, row in _objects(path, text):
        if not isinstance(row, dict):
            raise DataError(
                f"each row of {path.name} is an object of names and values",
                f"{where} is {_called(row)}",
                'Write it as {"text": "...", "label": "..."}.',
            )
        for name, cell in row.items():
            title = "".join(c for c in name if c.isprintable()).strip()
            if not title:
                raise DataError(
                    f"the columns of {path.name} have names", f"{where} has {name!r}"
                )
            _check_text(path, where, title, cell)
            cells = columns.setdefault(title, [])
            if len(cells) > count:
                raise DataError(
                    f"the columns of {path.name} have names that differ",
                    f"{title!r} twice in {where}",
                )
            cells += [None] * (count - len(cells))
            cells.append(cell)
        count += 1
    if not columns:
        raise DataError("a table has rows", f"{path.name} has none")
    for cells in columns.values():
        cells += [None] * (count - len(cells))
    return columns


def _objects(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yields where each row stands, and what it is."""
    if text.lstrip().startswith("["):
        try:
            rows = _loaded(path, "the list", text)
        except DataError:
            # Lines, of which the first is a list: that is said of it.
            if not text.strip().partition("\n")[0].rstrip().endswith("]"):
                raise
        else:
            yield from ((f"row {i}", row) for i, row in enumerate(rows, 1))
            return
    lines = text.split("\n")  # other ends of lines may stand within a text
    whole = [line for line in lines if line.strip()]
    if len(whole) > 1 and whole[0].strip() == "{":
        # One object over several lines: not rows, and no line of it can be read.
        row = _loaded(path, "the object", text)
        raise DataError(
            f"{path.name} holds one object a line, or a list of objects",
            f"one object with {len(row)} names",
            "Save the rows: in pandas df.to_json(path, orient='records', lines=True).",
        )
    if len(whole) == 1:
        row = _loaded(path, "line 1", whole[0])
        if isinstance(row, dict) and any(
            isinstance(c, list | dict) for c in row.values()
        ):
            raise DataError(
                f"{path.name} holds one object a line, or a list of objects",
                f"one object, whose {next(iter(row))!r} is {_called(next(iter(row.values())))}",
                "Save the rows: in pandas df.to_json(path, orient='records', lines=True).",
            )
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"line {number}", _loaded(path, f"line {number}", line)


def _loaded(path: Path, where: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise DataError(
            f"the columns of {path.name} have names that differ",
            f"{error} twice in {where}",
        ) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, ValueError(f"{where}: {error}")) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(repr(next(n for n in names if names.count(n) > 1)))
    return found


def _called(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return kinds.get(type(value), "a number")


def _check_text(path: Path, where: str, name: str, cell: Any) -> None:
    if isinstance(cell, str) and _HALF.search(cell):
        raise DataError(
            "a text is made of whole characters",
            f"{name!r} in {where} of {path.name} has half of a surrogate pair",
            "Write the character itself, or both halves.",
        )


def columns_of_rows(
    rows: Mapping[str, Sequence[Cell]], notation: Notation
) -> tuple[Column, ...]:
    """Returns columns as a table of texts or of numbers would have them.

    Args:
        rows: By name the cells.
        notation: What is known of how numbers in texts are written.

    Raises:
        DataError: A cell is no plain value; or it cannot be told what a number or a date
            says, or one is infinite.
    """
    import pandas as pd

    numbers: dict[str, Any] = {}
    written: dict[str, list[str]] = {}
    for name, cells in rows.items():
        _check_plain(name, cells)
        if name not in notation.categorical and _are_numbers(cells):
            numbers[name] = [math.nan if c is None else float(c) for c in cells]
        else:
            written[name] = [_as_written(cell) for cell in cells]
    found = {
        column.name: column
        for column in (
            *columns_of(pd.DataFrame(numbers, dtype=np.float64)),
            *(columns_of_texts(written, notation) if written else ()),
        )
    }
    return tuple(found[name] for name in rows)


def _check_plain(name: str, cells: Sequence[Any]) -> None:
    """Refuses objects and lists; of columns that nobody reads they do not matter."""
    for row, cell in enumerate(cells, 1):
        if isinstance(cell, list | dict):
            raise DataError(
                "a cell holds a number, a text, a truth value or nothing",
                f"{name!r} in row {row} is {_called(cell)}",
                "Leave it out, or spread it over names of plain values.",
            )


def _are_numbers(cells: Sequence[Cell]) -> bool:
    """Whether all that is there are numbers, and a float holds each of them."""
    present = [cell for cell in cells if cell is not None]
    return bool(present) and all(
        type(cell) is float or (type(cell) is int and abs(cell) <= 2**53)
        for cell in present
    )


def _as_written(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell).strip()

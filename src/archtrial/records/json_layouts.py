"""Runs from JSON, in the layouts that people write.

one object a line                         JSON lines
[{...}, {...}]                            an array of runs
{"runs": [{...}, {...}]}                  an array in a wrapper
{"mlp": [{...}, ...], "cnn": [...]}       an array for each arm
{"run0": {...}, "run1": {...}}            runs by their names
{"lr": {"0": .1}, ...}, and the others    what pandas' `to_json` writes
{...}                                     one run
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from archtrial.errors import RecordsError
from archtrial.records import packed
from archtrial.records.rows import Table, from_rows, loads

__all__ = ["is_lines", "open_json", "rows_of"]

_WRAPPERS = {
    "runs", "results", "trials", "experiments", "data", "rows", "records", "items",
    "jobs", "entries", "table", "list", "values", "configurations", "evaluations",
}  # fmt: skip
# Parts of one run, where an object holds objects.
_PARTS = {
    "config", "configuration", "params", "parameters", "hyperparameters", "hparams",
    "args", "arguments", "settings", "metrics", "results", "result", "summary", "scores",
    "train", "val", "valid", "validation", "test", "eval", "info", "data", "model",
    "optimizer", "meta", "metadata", "history", "timing", "best", "final", "last",
}  # fmt: skip


def open_json(path: Path) -> Table:
    """Opens a file of JSON, whatever its layout.

    Raises:
        RecordsError: It is no JSON, is cut off, or has a layout that is not known.
    """
    if is_lines(path):
        return from_rows("JSON lines", str(path), lambda: _lines(path))
    rows = rows_of(_document(path), str(path))
    return from_rows("JSON", str(path), lambda: iter(rows))


def is_lines(path: Path) -> bool:
    """Says whether a file has an object a line: its first line is whole JSON."""
    try:
        with packed.text(path) as file:
            lines = (line for line in file if line.strip())
            first = next(lines, "").lstrip()
            if first[:1] != "{":
                return first[:1] != "["
            try:
                loads(first)
            except ValueError:
                return first.rstrip()[-1:] == "}" and len(first.strip()) > 1
            return next(lines, None) is not None
    except UnicodeError as error:
        raise _not_utf8(path, error) from None


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    number = 0
    try:
        with packed.text(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(path, number, loads(line))
    except UnicodeError as error:
        raise _not_utf8(path, error) from None
    except ValueError as error:
        raise RecordsError(
            "every line is one whole JSON object",
            f"{path}, line {number}: {error}",
            "The file may have been cut off.",
        ) from None


def _document(path: Path) -> Any:
    try:
        return loads(packed.whole(path))
    except UnicodeError as error:
        raise _not_utf8(path, error) from None
    except ValueError as error:
        cut = isinstance(error, json.JSONDecodeError)
        raise RecordsError(
            "a file of runs is whole JSON",
            f"{path}: {error}",
            "The file may have been cut off." if cut else "",
        ) from None


def _not_utf8(path: Path, error: Exception) -> RecordsError:
    return RecordsError("JSON is UTF-8", f"{path}: {str(error)[:200]}")


def _object(path: Path | str, number: int, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecordsError(
            "every run is a JSON object with names and values",
            f"{path}, line {number}: {str(value)[:60]!a}",
        )
    return value


# --- layouts -----------------------------------------------------------------------


def rows_of(value: Any, place: str) -> Sequence[Mapping[str, Any]]:
    """Returns the runs of one JSON document, a mapping each.

    Raises:
        RecordsError: Its layout is not known.
    """
    if isinstance(value, list):
        return [_named(_object(place, i, row)) for i, row in enumerate(value, 1)]
    if not isinstance(value, Mapping):
        raise RecordsError(
            "a file of runs holds objects with names and values",
            f"{place}: {str(value)[:60]!a}",
        )
    split = _split(value)
    if split is not None:
        return split
    for key, inner in value.items():
        if _objects(inner) and (len(value) == 1 or str(key).lower() in _WRAPPERS):
            return rows_of(inner, place)
    if len(value) == 1:
        (inner,) = value.values()
        if isinstance(inner, Mapping) and (
            _runs_by_name(inner) or len(inner) == 1 or _split(inner) is not None
        ):
            return rows_of(inner, place)
    if len(value) > 1 and all(_objects(inner) for inner in value.values()):
        return [
            {"arm": key, **row}
            for key, inner in value.items()
            for row in rows_of(inner, place)
        ]
    lists = list(value.values())
    if (
        len(value) > 1
        and all(isinstance(v, list) for v in lists)
        and len({len(v) for v in lists}) == 1
        and not any(map(_objects, lists))
    ):
        return [
            dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)
        ]
    if _by_column(value):
        keys = dict.fromkeys(key for inner in value.values() for key in inner)
        return [
            {"run": key, **{name: inner.get(key) for name, inner in value.items()}}
            for key in keys
        ]
    if _runs_by_name(value):
        rows = []
        for key, inner in value.items():
            if not isinstance(inner, Mapping):
                continue
            if _runs_by_name(inner):  # runs by their names, by their arms
                rows += [
                    {"arm": key, "run": f"{key}/{name}", **_named(row)}
                    for name, row in inner.items()
                    if isinstance(row, Mapping)
                ]
            else:
                rows.append({"run": key, **_named(inner)})
        return rows
    return [_named(value)]


def _objects(value: Any) -> bool:
    """Says whether a value is a list of objects."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, Mapping) for each in value)
    )


def _split(value: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Returns the rows of names and lists of cells: pandas' "split", W&B's tables."""
    names, cells = value.get("columns"), value.get("data")
    if not (
        isinstance(names, list)
        and isinstance(cells, list)
        and all(isinstance(name, str) for name in names)
        and all(isinstance(row, list) and len(row) == len(names) for row in cells)
    ):
        return None
    return [dict(zip(names, row, strict=True)) for row in cells]


def _kind(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def _alike(inner: Mapping[str, Any]) -> bool:
    return len({_kind(v) for v in inner.values() if v is not None}) <= 1


def _by_column(value: Mapping[str, Any]) -> bool:
    """Says whether objects are columns, as pandas writes them when nobody says how."""
    inners = list(value.values())
    if len(inners) < 2 or not all(isinstance(i, Mapping) and i for i in inners):
        return False
    if any(isinstance(v, Mapping) for i in inners for v in i.values()):
        return False
    keys = [set(inner) for inner in inners]
    if any(each != keys[0] for each in keys):
        return False
    if all(str(name).isdigit() for name in keys[0]):
        return not all(str(name).isdigit() for name in value)
    if not all(_alike(inner) for inner in inners):
        return False
    return len({_kind(v) for i in inners for v in i.values() if v is not None}) > 1


def _runs_by_name(value: Mapping[str, Any]) -> bool:
    """Says whether objects are runs: several, with the same names in them."""
    inners = [inner for inner in value.values() if isinstance(inner, Mapping) and inner]
    if len(inners) < 2 or {str(name).lower() for name in value} & _PARTS:
        return False
    shared = set(inners[0]).intersection(*inners)
    every = set().union(*inners)
    if len(inners) < len(value) and len(shared) < 2:
        return False
    by_arm = all(isinstance(v, Mapping) for inner in inners for v in inner.values())
    if by_arm and not shared & _PARTS:
        return all(_runs_by_name(inner) for inner in inners)
    return 2 * len(shared) >= len(every)


def _named(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a row whose lists of {"key": ..., "value": ...} are objects (MLflow)."""
    found: dict[str, Any] = {}
    for name, inner in row.items():
        if _objects(inner) and all({"key", "value"} <= set(each) for each in inner):
            found[name] = {str(each["key"]): each["value"] for each in inner}
        elif isinstance(inner, Mapping) and name in ("data", "info"):
            found[name] = _named(inner)
        else:
            found[name] = inner
    return found

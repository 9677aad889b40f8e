"""Data sets of Hugging Face as `save_to_disk` leaves them: Arrow files and their JSON.

They are read as they stand, so that none of the library's code runs and nothing of it
need be installed. https://huggingface.co/docs/datasets, `Dataset.save_to_disk`.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archtrial.data.content import check_size, damaged
from archtrial.data.delimited import listing
from archtrial.data.images import PARTS, Content
from archtrial.data.split import TRAIN, Array
from archtrial.errors import DataError

__all__ = ["Saved", "is_saved", "open_saved"]

_STATE, _ABOUT, _SETS = "state.json", "dataset_info.json", "dataset_dict.json"


def is_saved(path: Path) -> bool:
    """Whether a folder is a saved Dataset or DatasetDict."""
    single = (path / _STATE).is_file() and (path / _ABOUT).is_file()
    return single or (path / _SETS).is_file()


@dataclasses.dataclass(frozen=True, eq=False)
class Saved:
    """The rows of all sets, one below the other."""

    name: str
    table: Any
    """A pyarrow.Table."""
    features: Mapping[str, Mapping[str, Any]]
    """By column what is said of it; nothing where there is no more than its type."""
    given: Array | None
    """(N,) of TRAIN, VALIDATION and TEST, where the data come divided."""
    sets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By the name of a set TRAIN, VALIDATION or TEST."""
    others: tuple[str, ...] = ()
    """Sets that are none of these."""

    def notes(self, unlabelled: Array) -> list[str]:
        """Says what became of the sets.

        Args:
            unlabelled: (N,) bool: which rows have no target.
        """
        notes = []
        for one, part in self.sets.items():
            if part == TRAIN or self.given is None:
                continue
            notes.append(
                f"The {one} set of {self.name} has no targets, and is drawn from the"
                " training rows instead."
                if unlabelled[self.given == part].all()
                else f"The {one} set is that of {self.name}, as it comes."
            )
        if self.others:
            said = (
                f"Sets that are none of these were left out: {listing([*self.others])}."
            )
            notes.append(said)
        return notes

    def _of(self, kind: str) -> list[str]:
        return [n for n in self.names if self.features.get(n, {}).get("_type") == kind]

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [str(name) for name in self.table.column_names]

    @property
    def labels(self) -> list[str]:
        """The columns whose values are classes."""
        return self._of("ClassLabel")

    @property
    def images(self) -> list[str]:
        """The columns of images."""
        return self._of("Image")

    @property
    def arrays(self) -> list[str]:
        """The columns of lists."""
        import pyarrow as pa

        return [
            field.name
            for field in self.table.schema
            if isinstance(field.type, pa.BaseExtensionType)
            or pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
            or pa.types.is_fixed_size_list(field.type)
        ]

    def frame(self) -> Any:
        """Returns a pandas.DataFrame of the columns of plain values, classes by name."""
        other = {*self.images, *self.arrays}
        plain = self.table.select([n for n in self.names if n not in other])
        frame = plain.to_pandas()
        for name in self.labels:
            classes = self.features[name].get("names") or []
            # A label of -1 is how a test set without labels is published.
            frame[name] = [
                classes[int(place)] if place == place and 0 <= place < len(classes) else None
                for place in frame[name].fillna(-1).tolist()
            ]  # fmt: skip
        return frame

    def contents(self, name: str) -> list[Content]:
        """Returns a column's images as they were saved.

        Raises:
            DataError: One is missing, or lies elsewhere.
        """
        found = []
        for row, cell in enumerate(self.table[name].to_pylist(), 1):
            content = cell.get("bytes") if isinstance(cell, dict) else None
            if not content:
                where = cell.get("path") if isinstance(cell, dict) else None
                raise DataError(
                    f"the images of {self.name} lie in its own files",
                    f"that of row {row} is "
                    + (f"the file {str(where)[:80]}" if where else "missing"),
                    "Leave such rows out, or cast the column to Image, and save it again"
                    " with save_to_disk.",
                )
            found.append(Content(f"{name} {row}", content))
        return found

    def numbers(self, name: str) -> Array:
        """Returns a column of lists of equal length, (N, ...).

        Raises:
            DataError: They are of several lengths, or hold something else.
        """
        import pyarrow as pa
        import pyarrow.compute as compute

        column = self.table[name].combine_chunks()
        shape = [len(column)]
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        while hasattr(column.type, "value_type"):
            lengths = compute.unique(compute.list_value_length(column)).to_pylist()
            if len(lengths) != 1 or lengths[0] in (None, 0):
                present = sorted(length or 0 for length in lengths)
                raise DataError(
                    f"the lists of column {name!r} have one length",
                    f"from {present[0]} to {present[-1]} in {self.name}",
                    "Pad them to one length, or leave the shorter ones out.",
                )
            shape.append(lengths[0])
            column = column.flatten()
        kind = column.type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if column.null_count or not (numeric or pa.types.is_boolean(kind)):
            raise DataError(
                f"the lists of column {name!r} hold numbers",
                "one is missing" if column.null_count else str(kind),
                "Fill them in, or leave the column out with remove_columns.",
            )
        values: Array = column.to_numpy(zero_copy_only=False).reshape(shape)
        return values


def open_saved(path: Path) -> Saved:
    """Reads a folder that `save_to_disk` wrote.

    Raises:
        DataError: It is damaged, or its sets do not belong together.
    """
    import pyarrow as pa

    name = path.resolve().name
    if not (path / _SETS).is_file():
        return Saved(name, *_one(path), None)
    sets = _json(path / _SETS).get("splits")
    if not isinstance(sets, list) or not all(_is_plain(s) for s in sets):
        raise damaged(path / _SETS, ValueError("it names no sets"))
    known = {s: PARTS[s.lower()] for s in sets if s.lower() in PARTS}
    if TRAIN not in known.values() or len(set(known.values())) < len(known):
        raise DataError(
            "data that come divided have one set each for train, validation and test",
            f"{listing(sets) or 'none'} in {name}",
            f"Give the path of one of them: {path / sets[0]}." if sets else "",
        )
    tables: list[Any] = []
    parts: list[Array] = []
    first = next(s for s, part in known.items() if part == TRAIN)
    features: Mapping[str, Mapping[str, Any]] = {}
    for one in sorted(known, key=lambda s: known[s]):
        table, own = _one(path / one)
        if one == first:
            features = own
        elif own != features or table.column_names != tables[0].column_names:
            raise DataError(
                f"the sets of {name} have the same columns, of the same classes",
                f"{first} and {one} differ",
                "Make them alike with cast() or remove_columns(), and save them again.",
            )
        tables.append(table)
        parts.append(np.full(table.num_rows, known[one]))
    try:
        together = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise damaged(path, error) from error
    others = [s for s in sets if s not in known]
    given = np.concatenate(parts) if len(parts) > 1 else None
    return Saved(name, together, features, given, known, tuple(others))


def _one(folder: Path) -> tuple[Any, Mapping[str, Mapping[str, Any]]]:
    """Returns the table of one set, and what is said of its columns."""
    import pyarrow as pa

    state, about = _json(folder / _STATE), _json(folder / _ABOUT)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"the rows of {folder.name} stand in its files in their order",
            "they are chosen by a file of indices, as old releases saved them",
            "Load and save it once more: flatten_indices(), then save_to_disk().",
        )
    files = state.get("_data_files")
    names = [str(f.get("filename")) for f in files or [] if isinstance(f, dict)]
    if not names or not all(_is_plain(name) for name in names):
        raise damaged(folder / _STATE, ValueError("it names no files beside it"))
    paths = [folder / name for name in names]
    tables: list[Any] = []
    try:
        check_size(folder.name, sum(file.stat().st_size for file in paths))
        for file in paths:
            with pa.memory_map(str(file)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        table = pa.concat_tables(tables)
        table.validate(full=True)  # such as texts that are no UTF-8
    # What pyarrow raises has a dozen classes, some of them Python's own.
    except (OSError, pa.ArrowException, ValueError) as error:
        raise damaged(folder, error) from error
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError("a data set has rows", f"{folder.name} has none")
    twice = [n for n in table.column_names if table.column_names.count(n) > 1]
    if twice:
        raise DataError(
            f"the columns of {folder.name} have names that differ",
            f"{twice[0]!r} twice",
        )
    features = about.get("features") or {}
    told = features.items() if isinstance(features, dict) else ()
    return table, {name: f for name, f in told if isinstance(f, dict)}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    if not isinstance(found, dict):
        raise damaged(path, ValueError("it is no object"))
    return found


def _is_plain(name: Any) -> bool:
    """Whether a name is that of something beside the file that names it."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", "..")

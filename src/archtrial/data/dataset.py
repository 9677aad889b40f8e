"""A data set as it was read: checked, its task known, ready to be split."""

import dataclasses
import functools
import hashlib
import json
from typing import Any, TypeAlias

import numpy as np

from archtrial.data import cache, lengths, scaling
from archtrial.data.cells import is_number
from archtrial.data.copies import search
from archtrial.data.delimited import listing
from archtrial.data.leaks import leaks
from archtrial.data.preparation import Preparation
from archtrial.data.split import Rows, Split, draw
from archtrial.data.stored import Array, Prepared, Stored, blocks
from archtrial.data.tables import Column, encode, fitted
from archtrial.data.texts import Text, Tokenizer, tokenized
from archtrial.errors import DataError, ProtocolError
from archtrial.metrics import TASKS
from archtrial.protocol import Splits

__all__ = ["Dataset", "TargetError", "assemble", "repeats"]

# Whole numbers with at most this many distinct values are taken for classes.
_MOST_CLASSES = {"table": 20, "array": 20, "sequence": 1000, "image": 1000}
# Below this many examples a class is called rare.
_FEW = 10
_DELETABLE = (
    " They were unpacked or decoded into this folder from the data; it may be deleted at"
    " any time, and is made again when it is needed."
)


class TargetError(DataError):
    """A target that does not go with its task, or does not say which it is for.

    Args:
        rule: As of every error.
        received: As of every error.
        way_out: What else can be done.
        instead: The task that it may go with.
    """

    def __init__(
        self, rule: str, received: str = "", way_out: str = "", instead: str = ""
    ) -> None:
        self.without, self.instead = way_out, instead
        other = f"{way_out}, or use --task {instead}." if instead else f"{way_out}."
        super().__init__(rule, received, other)


Inputs: TypeAlias = Array | Stored | tuple[Column, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Examples before they are divided; made by `assemble`."""

    name: str
    inputs: Inputs
    """(N, *input_shape) numbers, in memory or in files, or the columns of a table."""
    targets: Array
    """(N,) int64 labels or float64 values."""
    task: str
    kind: str
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    given: Array | None
    """(N,) of TRAIN, VALIDATION, TEST, where the data come divided."""
    groups: Array | None
    standardise: bool
    """False where the inputs are on their final scale already."""
    task_guessed: bool = False
    """Whether the task was found from the target's values alone."""
    pixels: str | None = None
    """Of files of images, the mode in which they were read: "L", "RGB" or "F"."""
    text: Text | None = None
    """How texts are read, where the inputs are a column of them (and one of groups)."""
    steps: Array | None = None
    """(N,) int64, where each series ends; None where all have the same length."""
    told: str | int | None = None
    """What is declared of lengths: "mask", "zeros" or what series are cut to."""

    @property
    def whole(self) -> bool:
        """Whether the inputs are whole numbers and no image: counts, or names (ids)."""
        return (
            not isinstance(self.inputs, tuple)
            and self.kind in ("array", "sequence")
            and self.inputs.dtype.kind in "iu"
        )

    def split(
        self, splits: Splits, seed: int, *, scale: bool = True, names: bool = False
    ) -> Split:
        """Divides the rows, scales the inputs and seals the test labels.

        What is fitted (means, medians, categories) is fitted on the training rows.

        Args:
            splits: As the protocol declares.
            seed: The protocol's seed.
            scale: False leaves the inputs on the scale that they have.
            names: Whether whole numbers, if the inputs are such, stay what they are,
                int64, as an embedding wants them.

        Raises:
            DataError: The rows do not allow such a division.
            ProtocolError: The declared kind of split does not go with the data.
        """
        inputs, groups = self._grouping(splits)
        self._check_padding(names)
        rows = draw(
            splits, self.targets, self.task, seed, given=self.given, groups=groups
        )
        y_train, y_validation, y_test = (self.targets[members] for members in rows)
        if (y_train == y_train[0]).all():
            raise DataError(
                "the training rows hold more than one value of the target",
                f"all {len(y_train)} have the same",
                "Choose another kind of split: rows in file order may be sorted by"
                " the target.",
            )
        notes = list(self.notes)
        notes += _class_notes(self.targets, self.classes, rows)
        notes += leaks(inputs, self.targets, self.task, rows.train)
        if splits.groups is not None:
            notes.append(f"Column {splits.groups} names the groups and is no input.")
        parts: list[Any]
        moments = None
        tokenizer, span = None, self._lengths()
        if self.text is not None:
            assert isinstance(inputs, tuple)
            tokenizer, parts, span, remarks = tokenized(
                inputs[0].values, rows, self.text
            )
        elif isinstance(inputs, tuple):
            encoded, remarks = encode(inputs, rows.train, scale=scale)
            parts = [encoded[members] for members in rows]
        else:
            remarks = []
            dtype: np.dtype[Any] = np.dtype(np.float32)
            if self.whole and names:
                _check_names(self.name, inputs)
                dtype = np.dtype(np.int64)
                remarks = [
                    "Inputs are whole numbers and reach the modules as they are (scale ="
                    " true if they are amounts)."
                ]
            elif self.standardise and scale:
                moments = scaling.moments_of(inputs, rows, self.kind, self.steps)
                remarks = scaling.notes_on(moments, self.kind)
            elif not scale:
                remarks = ["Inputs are not scaled, as declared."]
            filled = self.steps is not None and self.told == "zeros"
            parts = [
                Prepared(inputs, members, moments, dtype, filled) for members in rows
            ]
            if not isinstance(inputs, Stored):
                parts = [part[:] for part in parts]
        _check_float32(self.name, parts, self._ends(rows))
        copies = search(parts if self.steps is None else _filled(parts), y_train)
        notes += [*remarks, *copies.notes]
        if groups is not None:
            notes += _torn_groups(groups, rows)
        return Split(
            preparation=self._preparation(inputs, rows, parts, moments, tokenizer),
            x_train=parts[0],
            x_validation=parts[1],
            x_test=parts[2],
            y_train=y_train,
            y_validation=y_validation,
            y_test=y_test,
            input_shape=parts[0].shape[1:],
            num_outputs=len(self.classes) if self.classes else 1,
            task=self.task,
            kind=self.kind,
            classes=self.classes,
            notes=tuple(notes),
            digest=self._digest(rows),
            copies=copies,
            names=None if tokenizer is None else tokenizer.vocabulary,
            here=_where(inputs),
            lengths=span,
        )

    def _lengths(self) -> tuple[int, int] | None:
        """Returns the steps of the shortest and the longest series that modules see."""
        if self.steps is None or self.told == "zeros":
            return None
        return int(self.steps.min()), int(self.steps.max())

    def _ends(self, rows: Rows) -> list[Array] | None:
        """Returns where the series of each set end, if NaN stands behind that."""
        if self.steps is None or self.told == "zeros":
            return None
        return [self.steps[members] for members in rows]

    def _check_padding(self, names: bool) -> None:
        if self.steps is not None and self.whole and not names:
            raise DataError(
                "series of unequal length are padded with NaN, and token ids with 0",
                f"{self.name} holds whole numbers that are amounts",
                "Save them as floating-point numbers, with NaN behind each end.",
            )

    def _preparation(
        self,
        inputs: Inputs,
        rows: Rows,
        parts: list[Any],
        moments: tuple[Array, Array] | None,
        tokenizer: Tokenizer | None,
    ) -> Preparation:
        """Returns what was done to the inputs, to be done again to others."""
        if tokenizer is not None:
            assert isinstance(inputs, tuple)
            return Preparation.of_texts(inputs[0], tokenizer, rows.test)
        if isinstance(inputs, tuple):
            described = fitted(inputs, rows.train, parts[0])
            return Preparation.of_table(inputs, described, rows.test)
        prepared = parts[2]
        if moments is None and self.standardise:
            moments = scaling.moments_of(inputs, rows, self.kind, self.steps)
        again = functools.partial(
            Preparation.of_array, inputs, prepared, self.kind, rows=rows.test,
            steps=self.steps, told=self.told,
        )  # fmt: skip
        found = again(moments)
        made = found(inputs[rows.test[:2]]).numpy()
        if not np.allclose(made, prepared[:2], atol=1e-6, equal_nan=True):
            found = again(None)
        return dataclasses.replace(found, pixels=self.pixels)

    def _grouping(self, splits: Splits) -> tuple[Inputs, Array | None]:
        """Returns the inputs without the column of groups, and each row's group."""
        if not isinstance(self.inputs, tuple):
            if splits.groups is not None:
                raise ProtocolError(
                    "splits.groups names a column of a table",
                    f"{splits.groups!r} for {self.name}",
                    "Put an array `groups` into the .npz file instead.",
                )
            return self.inputs, self.groups
        if splits.groups is None:
            return self.inputs, None
        if splits.kind not in ("auto", "grouped", "given"):
            raise ProtocolError(
                "groups are for grouped splits",
                f"kind = {splits.kind!r} and groups = {splits.groups!r}",
                'Use kind = "grouped", or leave groups out.',
            )
        for column in self.inputs:
            if column.name == splits.groups:
                break
        else:
            raise DataError(
                "the column of groups is in the table, and is not the target",
                repr(splits.groups),
                f"The columns are {listing([c.name for c in self.inputs], 12)}.",
            )
        # A group is not an input: no arm may learn what it never meets again.
        others = tuple(c for c in self.inputs if c is not column)
        texts = np.array([str(value) for value in column.values.tolist()])
        return others, texts

    def _digest(self, rows: Rows) -> str:
        digest = hashlib.sha256()
        about: list[Any] = [self.kind, self.task, self.classes]
        if isinstance(self.inputs, tuple):
            about += [[c.name, c.is_number] for c in self.inputs]
        if self.text is not None:
            about.append([self.text.tokens, self.text.max_vocabulary, self.text.most])
        digest.update(json.dumps(about).encode())
        if isinstance(self.inputs, tuple):
            for column in self.inputs:
                if column.is_number:
                    digest.update(column.values.tobytes())
                else:
                    digest.update(json.dumps(column.values.tolist()).encode())
        else:
            digest.update(json.dumps(self.inputs.shape).encode())
            for block in blocks(self.inputs):
                # As float32, since the last bit of generated data differs between
                # machines.
                single = block.astype(np.float64).astype(np.float32)
                if self.steps is not None:
                    single[np.isnan(single)] = np.nan  # of many bit patterns one
                digest.update(single.tobytes())
        digest.update(self.targets.tobytes())
        for members in rows:
            digest.update(np.append(members, -1).astype(np.int64).tobytes())
        return digest.hexdigest()


# --- from what a reader found to a Dataset --------------------------------------


def assemble(
    name: str,
    inputs: Inputs,
    targets: Array,
    *,
    kind: str,
    task: str | None = None,
    known_task: str | None = None,
    notes: tuple[str, ...] = (),
    given: Array | None = None,
    groups: Array | None = None,
    standardise: bool = True,
    pixels: str | None = None,
    told: str | int | None = None,
    padded: bool = False,
) -> Dataset:
    """Checks what a reader found and settles the task.

    Args:
        name: What the data set is called in messages and on the page.
        inputs: (N, *input_shape) numbers, or columns of N rows.
        targets: (N,) numbers, truth values or texts.
        kind: "table", "sequence", "image" or "array".
        task: The task that the user declares, which settles it.
        known_task: The task that the source itself names.
        notes: The reader's notes.
        given: (N,) of TRAIN, VALIDATION, TEST.
        groups: (N,) of any values.
        standardise: Whether inputs are scaled by the training rows.
        pixels: Of files of images, the mode in which they were read.
        told: What is declared of lengths: "mask", "zeros" or what series are cut to.
        padded: Whether the source itself says that what stands behind the end of a
            series is padding: NaN in all channels, or the id 0.

    Raises:
        DataError: The data cannot be used.
    """
    if task is not None and task not in TASKS:
        raise DataError(
            "the task is classification or regression",
            repr(task),
            "Leave it out to have it found from the target.",
        )
    _check_inputs(name, inputs, len(targets))
    remarks: list[str] = []
    steps = None
    if not isinstance(inputs, tuple):
        if told is not None or padded:
            inputs, steps, remarks = lengths.settle(
                name, inputs, told, ids=padded or told == "mask"
            )
        if inputs.dtype.kind == "f":
            series = kind in ("sequence", "array") and inputs.ndim in (2, 3)
            _check_finite(f"the inputs of {name}", inputs, steps, series=series)
    if targets.dtype.kind == "S":
        targets = np.char.decode(targets, "latin-1")
    if targets.dtype.kind not in "biufU":
        raise DataError(
            "targets are numbers, truth values or texts",
            f"{targets.dtype} in {name}",
        )
    guessed = task is None and known_task is None
    if guessed:
        task, reason = _find_task(targets, kind)
        remarks.insert(0, f"Task: {task}, since {reason}.")
    task = task or known_task
    if task == "classification":
        labels, classes = _labels(targets, kind)
    else:
        labels, classes = _values(targets), None
    return Dataset(
        name=name,
        inputs=inputs,
        targets=labels,
        task=str(task),
        kind=kind,
        classes=classes,
        notes=(*remarks, *notes),
        given=given,
        groups=groups,
        standardise=standardise,
        task_guessed=guessed,
        pixels=pixels,
        steps=steps,
        told=told,
    )


def _check_inputs(name: str, inputs: Inputs, count: int) -> None:
    if isinstance(inputs, tuple):
        return  # a table has been checked cell by cell
    if len(inputs) != count:
        raise DataError(
            "there is one target for each example",
            f"{len(inputs)} examples and {count} targets in {name}",
        )
    if inputs.dtype.kind not in "biuf":
        what = "texts" if inputs.dtype.kind in "US" else str(inputs.dtype)
        raise DataError(
            "inputs are numbers",
            f"{what} in the inputs of {name}",
            "Turn them into numbers; a .csv or .parquet file may hold texts.",
        )


def _check_finite(
    what: str,
    values: Array | Stored,
    steps: Array | None = None,
    *,
    series: bool = False,
) -> None:
    """Refuses what is not finite.

    Args:
        what: Is looked at.
        values: (N, ...).
        steps: (N,) beyond which there is padding.
        series: Whether they may be series, and NaN at their common end padding.
    """
    start, count, first, behind = 0, 0, None, 0
    # In blocks: the mask of a whole data set is large.
    for block in blocks(values):
        bad = ~np.isfinite(block)
        if steps is not None:
            bad &= lengths.before(steps[start : start + len(block)], block)
        if first is None and bad.any():
            row, *place = np.argwhere(bad)[0].tolist()
            first = ", ".join(str(i) for i in (start + row, *place))
        count += int(bad.sum())
        if series and steps is None and bad.any():
            behind += int((bad & ~lengths.before(lengths.steps_of(block), block)).sum())
        start += len(block)
    if count:
        raise DataError(
            f"{what} are finite numbers",
            f"{count} NaN or infinite, the first at [{first}]"
            + (", all behind the end of the examples" if behind == count else ""),
            f"{lengths.MASK} Otherwise fill them in, or remove those examples."
            if behind == count
            else "Remove those examples or fill the values in; only tables (.csv,"
            " .parquet) are imputed.",
        )


def _check_names(name: str, inputs: Array | Stored) -> None:
    if inputs.dtype.kind != "u":
        return
    most = max(block.max() for block in blocks(inputs))
    if most > np.iinfo(np.int64).max:
        raise DataError(
            "whole numbers that reach a module have 64 bits",
            f"{most} in the inputs of {name}",
            "Number the names from 0, or use --scale.",
        )


def _check_float32(name: str, parts: list[Any], ends: list[Array] | None) -> None:
    """Refuses inputs that are numbers, but none that float32 holds."""
    for index, part in enumerate(parts):
        if part.dtype != np.float32:
            continue
        start = 0
        for block in blocks(part):
            held = np.isfinite(block)
            if ends is not None:
                held |= ~lengths.before(ends[index][start : start + len(block)], block)
            start += len(block)
            if not held.all():
                raise DataError(
                    f"the inputs of {name} are numbers that 32 bits can hold",
                    "some are beyond 3.4e38, or their spread is",
                    "Use another unit, or their logarithms.",
                )


def _filled(parts: list[Any]) -> list[Any]:
    """Returns inputs with 0 in place of padding, by which they can be compared."""
    return [
        dataclasses.replace(part, filled=True)
        if isinstance(part, Prepared)
        else np.nan_to_num(part, nan=0.0)
        for part in parts
    ]


def _find_task(targets: Array, kind: str) -> tuple[str, str]:
    """Returns the task and the reason."""
    if targets.dtype.kind == "U":
        _check_texts(targets)
        return "classification", "the target holds texts"
    if targets.dtype.kind == "b":
        return "classification", "the target is true or false"
    distinct = len(np.unique(targets))
    whole = bool((np.isfinite(targets) & (targets == np.floor(targets))).all())
    if not whole:
        return "regression", "the target holds fractions"
    enough = distinct * 5 <= len(targets)
    if distinct <= _MOST_CLASSES[kind] and enough:
        return (
            "classification",
            f"the target holds {distinct} distinct whole numbers in"
            f" {len(targets)} rows (--task regression, or a metric of regression, if they are amounts)",
        )
    return (
        "regression",
        f"the target holds {distinct} distinct whole numbers in"
        f' {len(targets)} rows (task = "classification" if they are classes)',
    )


def _check_texts(targets: Array) -> None:
    """Refuses numbers among which some cells hold words: what is meant is unclear."""
    words = [row for row, text in enumerate(targets) if not is_number(text)]
    if 0 < len(words) < len(targets) / 2:
        raise TargetError(
            "the target holds numbers throughout or texts throughout",
            f"{len(words)} texts among numbers, the first {str(targets[words[0]])!r}"
            f" in data row {words[0] + 1}",
            "Correct or empty those cells",
            "classification",
        )


def _labels(targets: Array, kind: str) -> tuple[Array, tuple[str, ...]]:
    if targets.dtype.kind == "f":
        _check_finite("the targets", targets)
    values, labels = np.unique(targets, return_inverse=True)
    if len(values) == 1:
        raise DataError(
            "classification needs at least two classes",
            f"every target is {values[0]}",
            "Check which column is the target, or add examples of another class.",
        )
    if not repeats(targets):
        read = [is_number(str(value)) for value in values.tolist()]
        # Of a table's numbers, rows with a word are left out.
        numbers = all(read) or (kind == "table" and sum(read) * 2 > len(read))
        raise TargetError(
            "classes have several examples each",
            f"{len(values)} distinct targets in {len(targets)} rows, such as"
            f" {str(values[0])!r}",
            "Choose another target"
            if numbers
            else "Choose another target; if it is meant to be an amount, empty the cells"
            " that are not a number",
            "regression" if numbers else "",
        )
    whole = values.dtype.kind == "f" and (values == np.floor(values)).all()
    names = values.astype(np.int64) if whole else values
    return labels.astype(np.int64), tuple(str(value) for value in names.tolist())


def repeats(targets: Array) -> bool:
    """Whether targets may be classes, which have several examples each."""
    return len(set(targets.tolist())) * 2 <= len(targets)


def _values(targets: Array) -> Array:
    if targets.dtype.kind == "U":
        words = [row for row, text in enumerate(targets) if not is_number(text)]
        if words:
            raise TargetError(
                "the target of a regression is a number",
                f"the text {str(targets[words[0]])!r} in data row {words[0] + 1}",
                "Correct the value, choose another target",
                "classification" if repeats(targets) else "",
            )
    values: Array = targets.astype(np.float64)
    _check_finite("the targets", values)
    if (values == values[0]).all():
        raise DataError(
            "the target varies",
            f"all {len(values)} are {values[0]:g}",
            "Check which column is the target.",
        )
    return values


# --- what the user should know ---------------------------------------------------


def _class_notes(y: Array, classes: tuple[str, ...] | None, rows: Rows) -> list[str]:
    if classes is None:
        return []
    notes = []
    counts = np.bincount(y, minlength=len(classes))
    rare = [f"{classes[c]} ({counts[c]})" for c in np.flatnonzero(counts < _FEW)]
    if rare:
        notes.append(f"Classes with fewer than {_FEW} examples: {listing(rare)}.")
    for name, members in zip(("training", "validation", "test"), rows, strict=True):
        absent = np.setdiff1d(np.arange(len(classes)), y[members])
        if len(absent):
            named = listing([classes[c] for c in absent])
            notes.append(f"Classes without an example in the {name} set: {named}.")
    return notes


def _torn_groups(groups: Array, rows: Rows) -> list[str]:
    """Reports groups on both sides, where the kind of split allowed it."""
    sides = [set(groups[members].tolist()) for members in rows]
    torn = (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
    if not torn:
        return []
    return [f"{len(torn)} groups have rows in more than one set."]


def _where(inputs: Inputs) -> tuple[str, ...]:
    """Says which inputs stay in files, and where those lie."""
    if not isinstance(inputs, Stored):
        return ()
    folders = listing(sorted({str(piece.path.parent) for piece in inputs.pieces}))
    needed = np.prod(inputs.shape) * max(4, inputs.dtype.itemsize)
    return (
        f"Inputs stay in files, in {folders}, and are read as batches need them: they"
        f" would take {needed / 2**30:.3g} GiB of memory. Results are the same."
        + (_DELETABLE if any(cache.holds(p.path) for p in inputs.pieces) else ""),
    )

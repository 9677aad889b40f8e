"""Which rows train, choose and test; and the seal on the test labels."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from archtrial import randomness
from archtrial.data.copies import NONE, Copies
from archtrial.data.stored import Array, Examples, blocks
from archtrial.errors import DataError, ProtocolError
from archtrial.metrics import Metric
from archtrial.protocol import Splits

__all__ = ["TEST", "TRAIN", "VALIDATION", "Array", "Rows", "Split", "draw"]

# What a given division says of each row.
TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets as every arm receives them, the test labels sealed.

    The test labels leave through `open_test` alone, as scores. Before anything is
    trained, `check` and the notes look at which classes occur among them and how
    often, and tell no example's label. A pickled or copied split has none, so no
    worker process can ever see them.
    """

    x_train: Examples
    """(N, *input_shape) float32, or int64 where the inputs are names, like `x_validation` and `x_test`."""
    x_validation: Examples
    x_test: Examples
    y_train: Array
    """(N,) int64 labels 0..C-1, or float64 values in their own units."""
    y_validation: Array
    y_test: dataclasses.InitVar[Array]
    input_shape: tuple[int, ...]
    """(F,) for tables and arrays, (L,) or (C, L) for sequences, (C, H, W) for images."""
    num_outputs: int
    """The number of classes; 1 for regression."""
    task: str
    kind: str
    """"table", "sequence", "image" or "array"."""
    classes: tuple[str, ...] | None
    """The classes' names in the order of their labels; None for regression."""
    notes: tuple[str, ...]
    """What the user should know before anything is trained, in plain sentences."""
    preparation: Any = dataclasses.field(default=None, repr=False, kw_only=True)
    """The `Preparation` that made raw inputs of these."""
    digest: str
    """SHA-256 of inputs, targets and the division of the rows, in hexadecimal."""
    copies: Copies = NONE
    """Test examples that are in the training or validation set as well."""
    names: int | None = None
    """How many ids there may be, where a tokenizer made them."""
    here: tuple[str, ...] = ()
    """Where the inputs lie on this machine, which is no part of any result."""
    lengths: tuple[int, int] | None = None
    """Of series and texts of unequal length the steps, or tokens, of the shortest and of the
    longest. Behind the end of each its inputs are NaN in all channels, or of ids 0. None where they
    have one length."""

    def __post_init__(self, y_test: Array) -> None:
        object.__setattr__(self, "_Split__labels", y_test)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_Split__labels"] = None
        return state

    @property
    def test_size(self) -> int:
        """The number of test examples."""
        return len(self.x_test)

    @functools.cached_property
    def vocabulary(self) -> int | None:
        """How many ids there are; None where inputs are no ids from 0 on.

        Where no tokenizer made them, one more than the largest. Counted once: inputs may
        be larger than memory.
        """
        if self.names is not None:
            return self.names
        if not np.issubdtype(self.x_train.dtype, np.integer):
            return None
        parts = (self.x_train, self.x_validation, self.x_test)
        ends = [(block.min(), block.max()) for part in parts for block in blocks(part)]
        if min(int(low) for low, _ in ends) < 0:
            return None
        return max(int(high) for _, high in ends) + 1

    def check(self, metric: Metric) -> None:
        """Makes sure, before anything is trained, that a metric can be computed.

        Raises:
            DataError: It has no value on the validation or the test set, as AUROC
                where a class is absent.
        """
        for y in (self.y_validation, self._sealed()):
            metric.score(metric.constant(self.y_train, len(y), self.num_outputs), y)

    def open_test(self, metric: Metric, predictions: Sequence[Array]) -> list[Array]:
        """Scores the stored test predictions of all runs at once.

        Args:
            metric: The declared metric.
            predictions: What `metric.reduce` returned for each run, in the order of
                `x_test`.

        Returns:
            For each run its per-example scores, (test_size,) float32.

        Raises:
            RuntimeError: This is a copy without test labels, such as workers hold.
        """
        y = self._sealed()
        return [
            metric.per_example(stored, y).astype(np.float32) for stored in predictions
        ]

    def _sealed(self) -> Array:
        labels: Array | None = self.__dict__["_Split__labels"]
        if labels is None:
            raise RuntimeError("a copy of a split holds no test labels")
        return labels


class Rows(NamedTuple):
    """The rows of each set: int64 indices in ascending order."""

    train: Array
    validation: Array
    test: Array


def draw(
    splits: Splits,
    y: Array,
    task: str,
    seed: int,
    *,
    given: Array | None = None,
    groups: Array | None = None,
) -> Rows:
    """Divides the rows as the protocol declares.

    A given test (or validation) set is always kept as it is; the declared kind says
    how the others are drawn. "auto" keeps groups together where there are groups,
    keeps the shares of the classes for classification, and draws at random
    otherwise.

    Args:
        splits: The declaration.
        y: (N,) targets.
        task: "classification" or "regression".
        seed: The protocol's seed.
        given: (N,) of `TRAIN`, `VALIDATION` and `TEST`, where the data come divided.
        groups: (N,) of any values; rows of a group stay on one side.

    Raises:
        DataError: The rows do not allow such a division.
        ProtocolError: The declared kind does not go with the data.
    """
    kind = _resolve(splits, task, given, groups)
    if splits.kind == "stratified":
        _check_strata(y, given)
    parts = np.full(len(y), TRAIN) if given is None else given
    train = np.flatnonzero(parts == TRAIN)
    validation = np.flatnonzero(parts == VALIDATION)
    test = np.flatnonzero(parts == TEST)
    share = splits.validation
    if len(test) == 0:
        stream = randomness.generator(seed, "split", "test")
        train, test = _carve(kind, train, splits.test, y, groups, stream)
        share /= 1 - splits.test  # of the rows that are left
    if len(validation) == 0:
        stream = randomness.generator(seed, "split", "validation")
        train, validation = _carve(kind, train, share, y, groups, stream)
    rows = Rows(train, validation, test)
    for name, members in zip(("training", "validation", "test"), rows, strict=True):
        if len(members) < 2:
            raise DataError(
                "the training, validation and test sets hold at least two rows each",
                f"{len(members)} of {len(y)} rows for the {name} set",
                "Use more rows, or larger shares in the protocol's splits.",
            )
    return rows


def _check_strata(y: Array, given: Array | None) -> None:
    drawn = y if given is None else y[given == TRAIN]
    needed = 3 if given is None else 2
    labels, counts = np.unique(drawn, return_counts=True)
    if counts.min() < needed:
        raise DataError(
            f"stratified splits need at least {needed} rows of each class",
            f"{counts.min()} of class number {labels[counts.argmin()]}",
            'Join or remove rare classes, or use kind = "random".',
        )


def _resolve(
    splits: Splits, task: str, given: Array | None, groups: Array | None
) -> str:
    """Returns how rows are drawn: stratified, random, grouped or time."""
    if splits.kind == "given" and (given is None or not (given == TEST).any()):
        raise ProtocolError(
            'splits of the kind "given" need data that bring a test set',
            "there is none",
            "Add x_test and y_test to the .npz file, put a file NAME_TEST beside"
            ' NAME_TRAIN, or use kind = "auto".',
        )
    if splits.kind == "grouped" and groups is None:
        raise ProtocolError(
            "grouped splits need to know the group of each row",
            "there are no groups",
            "Add an array `groups` to the .npz file, or name a table's column:"
            ' splits = { kind = "grouped", groups = "patient" }.',
        )
    if splits.kind == "stratified" and task == "regression":
        raise ProtocolError(
            "stratified splits keep the shares of classes",
            "the task is regression",
            'Use kind = "random" or "auto".',
        )
    if splits.kind not in ("auto", "given"):
        return splits.kind
    if groups is not None:
        return "grouped"
    return "stratified" if task == "classification" else "random"


def _carve(
    kind: str,
    pool: Array,
    share: float,
    y: Array,
    groups: Array | None,
    stream: np.random.Generator,
) -> tuple[Array, Array]:
    """Takes a share of the pool's rows; returns the rows left and the rows taken."""
    if kind == "time":
        return np.split(pool, [len(pool) - _count(share, len(pool))])  # type: ignore[return-value]
    order = stream.permutation(pool)
    if kind == "random":
        taken = order[: _count(share, len(pool))]
    elif kind == "stratified":
        taken = _by_class(order, share, y)
    else:
        assert groups is not None
        taken = _by_group(order, share, groups)
    return np.setdiff1d(pool, taken), np.sort(taken)


def _count(share: float, total: int) -> int:
    return int(share * total + 0.5)


def _by_class(order: Array, share: float, y: Array) -> Array:
    """Takes the share of every class, at least one row, and leaves at least one."""
    labels, sizes = np.unique(y[order], return_counts=True)
    quotas = share * sizes
    counts = np.floor(quotas).astype(np.int64)
    # What rounding down leaves over goes to the largest remainders.
    left_over = _count(share, len(order)) - int(counts.sum())
    counts[np.argsort(counts - quotas, kind="stable")[:left_over]] += 1
    counts = np.minimum(np.maximum(counts, 1), sizes - 1)
    return np.concatenate(
        [
            order[y[order] == label][:count]
            for label, count in zip(labels, counts, strict=True)
        ]
    )


def _by_group(order: Array, share: float, groups: Array) -> Array:
    """Takes whole groups, as many as come closest to the share."""
    names, first, size = np.unique(groups[order], return_index=True, return_counts=True)
    if len(names) < 2:
        raise DataError(
            "grouped splits need at least one group for each of training, validation"
            " and test",
            f"only {len(np.unique(groups))} in all",
            "Use another kind of split, or a finer group.",
        )
    turn = np.argsort(first)  # the rows come in random order, so the groups do too
    reached = np.cumsum(size[turn])[:-1]
    count = int(np.abs(reached - share * len(order)).argmin()) + 1
    return order[np.isin(groups[order], names[turn[:count]])]

"""Columns and features that give the target away, as the training rows show."""

import numpy as np

from archtrial.data import scaling
from archtrial.data.delimited import listing
from archtrial.data.stored import Array, Stored, blocks
from archtrial.data.tables import Column

__all__ = ["leaks"]

# So many values of features are looked at together, of inputs that stay in files.
_COLUMNS = 2**25
# Of so many rows those features are looked at first that may give a class away.
_SEEN_FIRST = 500


def leaks(
    inputs: Array | Stored | tuple[Column, ...], y: Array, task: str, train: Array
) -> list[str]:
    """Names the columns that give the target away in the training rows.

    Args:
        inputs: (N, *input_shape) numbers, in memory or in files, or columns of a table.
        y: (N,) int64 labels or float64 values.
        task: "classification" or "regression".
        train: (M,) int64, the training rows.

    Returns:
        Notes: one, or none where no column does.
    """
    if isinstance(inputs, tuple):
        found = [
            f"column {c.name}"
            for c in inputs
            if _gives_away(c.values[train], y[train], task)
        ]
    elif inputs.ndim == 2:
        found = [f"feature {i}" for i in _telling(inputs, y, task, train)]
    else:
        return []
    if not found:
        return []
    return [
        f"The target can be read off {listing(found)}: remove what is not known when"
        " a prediction is needed."
    ]


def _telling(inputs: Array | Stored, y: Array, task: str, train: Array) -> list[int]:
    """Returns which features give the target away, some at a time."""
    if task == "regression":
        likely = _in_line(inputs, y, train)
    else:
        # A few hundred rows tell almost every feature.
        few = train[:_SEEN_FIRST]
        first = inputs[few]
        likely = [
            index
            for index in range(inputs.shape[1])
            if _gives_away(first[:, index], y[few], task)
        ]
    size = max(1, _COLUMNS // len(train))
    found: list[int] = []
    for start in range(0, len(likely), size):
        some = likely[start : start + size]
        columns = np.concatenate([block[:, some] for block in blocks(inputs, train)])
        found += [
            index
            for place, index in enumerate(some)
            if _gives_away(columns[:, place], y[train], task)
        ]
    return found


def _in_line(inputs: Array | Stored, y: Array, train: Array) -> list[int]:
    """Returns the features whose correlation with a number is nearly one."""
    mean = sum(b.sum(0) for b in scaling.numbers(inputs, train)) / len(train)
    off = y[train] - y[train].mean()
    start, own, shared = 0, np.zeros(inputs.shape[1]), np.zeros(inputs.shape[1])
    for block in scaling.numbers(inputs, train):
        apart = block - mean
        own += np.square(apart).sum(0)
        shared += off[start : start + len(apart)] @ apart
        start += len(apart)
    # What overflows is looked at more closely.
    far = np.square(shared) < (1 - 1e-6) * own * np.square(off).sum()
    return np.flatnonzero(~far & (own != 0)).tolist()


def _gives_away(values: Array, y: Array, task: str) -> bool:
    """Whether a feature is the target under another name or in another unit."""
    if task == "regression":
        if values.dtype.kind == "O":
            return False
        numbers = values.astype(np.float64)
        if np.ptp(numbers) == 0:
            return False
        return bool(abs(np.corrcoef(numbers, y)[0, 1]) > 1 - 1e-9)
    # One to one with the classes; a few hundred rows tell almost every column.
    for count in (_SEEN_FIRST, len(y)):
        texts = map(str, values[:count].tolist())
        pairs = set(zip(texts, y[:count].tolist(), strict=True))
        left, right = {a for a, _ in pairs}, {b for _, b in pairs}
        if not len(pairs) == len(left) == len(right):
            return False
    return True

"""How inputs get mean 0 and deviation 1 over the training rows."""

from collections.abc import Iterator

import numpy as np

from archtrial.data.delimited import listing
from archtrial.data.split import Rows
from archtrial.data.stored import Array, Stored, blocks

__all__ = ["moments_of", "notes_on", "numbers"]


def notes_on(moments: tuple[Array, Array], kind: str) -> list[str]:
    """Says how inputs get mean 0 and deviation 1 over the training rows.

    Arrays (N, F) are scaled per feature; sequences (N, C, L) and images
    (N, C, H, W) per channel, and sequences (N, L) as one channel.
    """
    unit = "feature" if kind == "array" else "channel"
    still = np.flatnonzero(np.isinf(moments[1])).tolist()
    notes = [
        f"Inputs are scaled: each {unit} has mean 0 and standard deviation 1 over the"
        " training rows."
    ]
    if still:
        one = f"{unit}s" if still[1:] else unit
        named = listing([str(index) for index in still])
        notes.append(f"Constant in the training rows: {one} {named}.")
    return notes


def moments_of(
    inputs: Array | Stored, rows: Rows, kind: str, steps: Array | None = None
) -> tuple[Array, Array]:
    """Returns the training rows' mean, and the deviation or infinity for a constant.

    Of series of unequal length, over the steps that they have.
    """
    axes: tuple[int, ...]
    if kind == "array":
        axes = (0,)
    elif inputs.ndim == 2:
        axes = (0, 1)
    else:
        axes = (0, *range(2, inputs.ndim))
    count = len(rows.train) * int(np.prod([inputs.shape[a] for a in axes[1:]]))
    add = np.sum
    if steps is not None:
        count, add = int(steps[rows.train].sum()), np.nansum
    total = sum(add(b, axes, keepdims=True) for b in numbers(inputs, rows.train))
    mean = total / count
    squares = sum(
        add(np.square(b - mean), axes, keepdims=True)
        for b in numbers(inputs, rows.train)
    )
    deviation = np.sqrt(squares / count)
    # Rounding leaves a constant's deviation slightly above 0.
    constant = deviation <= 1e-12 * np.abs(mean)
    # What training never saw vary is 0 in all sets, as a table's column is dropped.
    return mean, np.where(constant, np.inf, deviation)


def numbers(inputs: Array | Stored, rows: Array) -> Iterator[Array]:
    """Yields some rows as float64, a block at a time."""
    # C order, whatever that of the inputs: sums depend on it in their last bits.
    return (np.ascontiguousarray(b, np.float64) for b in blocks(inputs, rows))

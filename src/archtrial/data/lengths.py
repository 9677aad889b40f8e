"""Where series end that differ in length: what lies behind is padding, and no data.

Series of numbers are padded with NaN in all channels, so that nothing can take padding
for data in silence; token ids with 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from archtrial.data.content import check_size
from archtrial.data.stored import Array, Stored, blocks
from archtrial.errors import DataError

__all__ = ["MASK", "before", "cut", "padded", "settle", "steps_of"]

MASK = (
    "Say so if they are series of unequal length: --lengths mask (in a protocol, lengths"
    ' = "mask").'
)
"""How to say that NaN behind the end is padding."""


def padded(series: Sequence[Array]) -> Array:
    """Returns series (C, steps) as one array (N, C, longest) with NaN behind each end."""
    longest = max(one.shape[1] for one in series)
    size = len(series) * len(series[0]) * longest * 8
    check_size(f"{len(series)} series of up to {longest} steps", size)
    x = np.full((len(series), len(series[0]), longest), np.nan)
    for row, one in zip(x, series, strict=True):
        row[:, : one.shape[1]] = one
    return x


def before(steps: Array, block: Array) -> Array:
    """Returns (n, [1,] L) bool, which places of (n, [C,] L) are before an end."""
    found: Array = np.less(np.arange(block.shape[-1]), steps[:, None])
    return found if block.ndim == 2 else found[:, None]


def _within(block: Array) -> Array:
    """Returns (n, L) bool: where some channel of (n, [C,] L) holds more than padding."""
    own: Array = block != 0 if block.dtype.kind in "biu" else ~np.isnan(block)
    return own if own.ndim == 2 else np.asarray(own.any(axis=1))


def steps_of(inputs: Array | Stored) -> Array:
    """Returns (N,) int64, how many steps each series (N, [C,] L) has before padding."""
    places = np.arange(1, inputs.shape[-1] + 1)
    return np.concatenate(
        [(_within(block) * places).max(axis=1) for block in blocks(inputs)]
    )


def cut(inputs: Any, steps: int) -> Any:
    """Returns the first steps of each series, of an array or of what stays in files."""
    if inputs.shape[-1] == steps:
        return inputs
    if isinstance(inputs, Stored):
        return inputs.first(steps)
    return np.ascontiguousarray(inputs[..., :steps])


def settle(
    name: str, inputs: Array | Stored, declared: str | int | None, *, ids: bool
) -> tuple[Array | Stored, Array | None, list[str]]:
    """Finds where series end, and cuts them where that is declared.

    Args:
        name: Of the data set, for messages.
        inputs: (N, [C,] L); NaN in all channels behind an end is padding.
        declared: "mask", "zeros" or a number of steps; None as "mask".
        ids: Whether 0 behind an end is padding of whole numbers.

    Returns:
        The inputs, L the steps of the longest; (N,) int64 the steps of each where
        they differ, else None; and what was found and done, in sentences.

    Raises:
        DataError: A series has no step, or is declared longer than any is.
    """
    notes = []
    whole = inputs.dtype.kind in "biu"
    if isinstance(declared, int):
        longest = inputs.shape[-1]
        if declared > longest:
            raise DataError(
                f"lengths cuts series, of which the longest in {name} has {longest}"
                " steps",
                f"lengths = {declared}",
                f"Use --lengths {longest} at most, or leave it out.",
            )
        if declared < longest:
            notes.append(
                f"Series are cut to their first {declared} steps, as declared; the"
                f" longest has {longest}."
            )
        inputs = cut(inputs, declared)
    if whole and not ids:
        return inputs, None, notes
    steps = steps_of(inputs)
    if whole:
        steps = np.maximum(steps, 1)  # a text may have no words
    elif not steps.all():
        raise DataError(
            "each series has a step at least",
            f"series {int(steps.argmin()) + 1} of {name} has none, or NaN alone",
            "Remove it.",
        )
    shortest, longest = int(steps.min()), int(steps.max())
    inputs = cut(inputs, longest)
    if shortest == longest:
        return inputs, None, notes
    what = (
        "Zeros behind their end are read as data, as declared."
        if declared == "zeros"
        else "Behind their end modules get zeros, and those that take lengths or a mask"
        " are told where it is."
    )
    return inputs, steps, [*notes, f"Series have {shortest} to {longest} steps. {what}"]

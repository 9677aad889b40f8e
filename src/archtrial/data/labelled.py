"""Which training rows have labels that are seen, where there are to be few."""

import numpy as np

from archtrial.data.split import Split
from archtrial.errors import DataError, ProtocolError

__all__ = ["check_labels", "draw_labelled"]


def draw_labelled(
    y: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws rows whose labels are seen, each class by its share.

    Args:
        y: (N,) int64 labels.
        count: Of rows, at most N.
        generator: Decides which rows of a class, and nothing else.

    Returns:
        (count,) int64, in ascending order.
    """
    order = generator.permutation(len(y))
    parts = [
        order[y[order] == label][:quota]
        for label, quota in enumerate(_quotas(np.bincount(y), count))
    ]
    return np.sort(np.concatenate(parts))


def check_labels(split: Split, count: int) -> None:
    """Makes sure that so many labels can be seen, some of each class.

    Raises:
        ProtocolError: The task is a regression, or there are fewer rows.
        DataError: A class would have no label.
    """
    y = split.y_train
    if split.task != "classification":
        raise ProtocolError(
            "labels are seen or not where they are classes",
            f"labels = {count}, and the task is {split.task}",
            "Leave --labels out.",
        )
    rows = len(y)
    if count > rows:
        raise ProtocolError(
            "at most as many labels are seen as there are training rows",
            f"labels = {count:,}, and {rows:,} training rows",
            f"Write --labels {rows} (in a protocol, labels = {rows}), or fewer.",
        )
    present = np.bincount(y, minlength=split.num_outputs)
    quotas = _quotas(present, count)
    without = np.flatnonzero(quotas == 0)
    if not len(without):
        return
    names = split.classes or tuple(map(str, range(split.num_outputs)))
    named = ", ".join(names[label] for label in without[:3])
    more = f" and {len(without) - 3} more" if len(without) > 3 else ""
    if not present[without].all():
        raise DataError(
            "each class has a training row, so that its label can be seen",
            f"none of class {named}{more}",
            "Take the class out of the data, or give it more rows.",
        )
    least = next(n for n in range(count, rows + 1) if _quotas(present, n).all())
    raise ProtocolError(
        "each class has a label that is seen, by its share of the training rows",
        f"labels = {count}, and none is of class {named}{more}",
        f"Write --labels {least} (in a protocol, labels = {least}).",
    )


def _quotas(present: np.ndarray, count: int) -> np.ndarray:
    """Returns how many rows of each class are drawn, of those present, (classes,).

    What rounding down leaves over goes to the largest remainders.
    """
    shares = count * present / present.sum()
    quotas: np.ndarray = np.floor(shares).astype(np.int64)
    left = count - int(quotas.sum())
    quotas[np.argsort(quotas - shares, kind="stable")[:left]] += 1
    return quotas

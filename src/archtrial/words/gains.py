"""What is said of several gains at once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from archtrial.words.phrases import joined

__all__ = ["cautions"]


def cautions(compared: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Yields which gains cannot be told, and why; and who was still learning.

    Args:
        compared: What each gain is of, and the gain as `judge.pairs.between` returns it.
            What is compared with several others may be there several times.
    """
    reasons: dict[str, dict[str, None]] = {}
    learning: dict[str, None] = {}
    for what, gain in compared:
        if gain["reason"]:
            reasons.setdefault(gain["reason"], {})[what] = None
        learning |= dict.fromkeys(gain["learning"])
    for reason, whats in reasons.items():
        yield f"Not told: {joined(list(whats))}, since {reason}."
    if learning:
        yield (
            f"Still learning when training ended: {joined(list(learning))}. Longer training"
            " (--steps) may change what is said of them."
        )

"""Names as they stand in sentences and in columns: enumerated, shortened, measured."""

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["columns_of", "fitted", "joined", "quoted", "shortened"]


def joined(names: Sequence[str]) -> str:
    """Returns an enumeration: "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + f" and {names[-1]}"


def columns_of(text: str) -> int:
    """Returns how many letters wide a text is."""
    # East Asian characters and emoji are twice as wide as letters.
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, columns: int) -> str:
    """Returns text on one line, without control characters, cut in its middle."""
    clean = "".join(
        " " if c.isspace() else "\ufffd" if unicodedata.category(c)[0] == "C" else c
        for c in text
    )
    if columns_of(clean) <= columns:
        return clean
    head, tail = clean, clean
    while columns_of(head) > columns - columns // 3 - 1:
        head = head[:-1]
    while columns_of(tail) > columns // 3:
        tail = tail[1:]
    return f"{head}…{tail}"


def fitted(names: Iterable[str], columns: int) -> dict[str, str]:
    """Returns each name as it is written where there are so many columns."""
    return {name: shortened(name, columns) for name in names}


def quoted(parts: Sequence[str]) -> str:
    """Returns an enumeration of what others wrote: “a” and “b”."""
    return joined([f"\u201c{part}\u201d" for part in parts])

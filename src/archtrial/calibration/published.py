"""What the evidence found, as the package carries it: calibration.json.

Written by `python evidence/calibration.py`; docs/calibration.md has the whole of it.
"""

import functools
import importlib.resources
import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["published_error"]


def published_error(
    configurations: int, effort: int, paired: bool, *, sampling: str = "random"
) -> dict[str, Any] | None:
    """Tells how often simulated studies of about this size claim what is not there.

    Args:
        configurations: n.
        effort: k.
        paired: Whether the arms share their draws.
        sampling: How configurations were drawn, "sobol" or "random".

    Returns:
        "configurations", "effort" and "paired" of the nearest size that was
        simulated; "settings" and "studies" there, all of a true gain of 0;
        "architecture" and "baseline", the shares that were called so; and "worst",
        "worst_setting", the larger of the two where it was largest. None where no
        size is near: n within a factor of 2, and k too.
    """

    def doublings(size: Mapping[str, Any]) -> tuple[float, float]:
        return (
            abs(math.log2(configurations / size["configurations"])),
            abs(math.log2(effort / size["effort"])),
        )

    near = [
        size
        for size in _null_sizes()
        if (size["paired"], size.get("sampling", "random")) == (paired, sampling)
        and max(doublings(size)) <= 1
    ]
    found = min(near, key=lambda size: sum(doublings(size)), default=None)
    return None if found is None else dict(found)


@functools.cache
def _null_sizes() -> list[dict[str, Any]]:
    text = importlib.resources.files("archtrial.calibration") / "calibration.json"
    sizes: list[dict[str, Any]] = json.loads(text.read_text(encoding="utf-8"))["null"]
    return sizes

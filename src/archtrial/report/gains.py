"""Gains as the pages of experiments show them: their figure, and the numbers of one."""

import functools
from collections.abc import Mapping
from typing import Any

from archtrial.report.article import Fact, Plate
from archtrial.report.frame import gain_facts
from archtrial.report.rows import draw_gains
from archtrial.words import numbers
from archtrial.words.numbers import Metric

__all__ = ["gain_plate", "three_numbers"]

Found = Mapping[str, Any]


def gain_plate(
    message: str,
    gains: Mapping[str, Found],
    document: Found,
    metric: Metric,
    holding: str,
    *,
    what: str = "gain",
) -> Plate:
    """Returns the figure of gains that hold together.

    Args:
        message: Its title.
        gains: By name, each with "estimate", "low" and "high".
        document: With "alpha" and "margin".
        metric: Of the scores.
        holding: What the intervals hold for, as "that hold together".
        what: What the differences are.
    """
    return Plate(
        functools.partial(
            draw_gains, message, gains, metric, document["margin"],
            label=f"{what} in test {numbers.label(metric)}",
        ),
        f"{numbers.level(document['alpha'])} intervals {holding}; grey: within the"
        " margin.",
    )  # fmt: skip


def three_numbers(
    name: str | None,
    gains: Mapping[str, Found],
    document: Found,
    metric: Metric,
    *,
    of: str = "at equal tuning effort",
    adjusted: str = "adjusted for all of its kind",
) -> list[Fact]:
    """Returns the three numbers of one gain; none where there is none.

    Args:
        name: Which one; None where there is none to name.
        gains: By name, each with its interval and "p_value_adjusted".
        document: With "alpha" and "margin".
        metric: Of the scores.
        of: Under which terms it was reached.
        adjusted: What p is adjusted for.
    """
    if name is None:
        return []
    return gain_facts(
        name, gains[name], metric, alpha=document["alpha"], margin=document["margin"],
        of=of, adjusted=adjusted,
    )  # fmt: skip

"""What makes a comparison unsound before any test is computed.

An arm that learned nothing, whose runs all failed or are all the same, and test
examples that were trained on: a difference between such scores is no matter of the
architecture, however small its p.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from archtrial.statistics.intervals import half_width, normal

__all__ = ["Tuned", "clear_of", "copies_move", "equal_over_seeds", "little_learned"]

# An arm that has come less than this share of the way that the other has, away from
# the constant predictor, has hardly begun to learn.
HARDLY = 0.2


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What an arm's tuned configuration scored on fresh seeds, higher is better."""

    scores: np.ndarray
    """(S,) test scores."""
    examples: np.ndarray | None = None
    """(T,) the mean score of each test example; None if unknown."""

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.scores))


def clear_of(constant: float, tuned: Tuned, *, margin: float, alpha: float) -> bool:
    """Says whether a tuned score is clear of the constant predictor's.

    That is, more than the margin above it, and its interval at level 1 - alpha does
    not reach down to it. The interval has two independent errors, that of the seeds
    (Student's t) and that of the test examples (normal), which add in squares; one
    that is unknown counts as none.

    Args:
        constant: The constant predictor's test score, higher is better.
        tuned: The arm's.
        margin: The smallest gap worth having.
        alpha: Of both sides together.
    """
    squares = 0.0
    seeds = len(tuned.scores)
    if seeds > 1:
        squares += half_width(tuned.scores, alpha) ** 2
    if tuned.examples is not None and len(tuned.examples) > 1:
        critical = float(normal(alpha))
        variance = float(np.var(tuned.examples.astype(np.float64), ddof=1))
        squares += critical**2 * variance / len(tuned.examples)
    above = tuned.mean - constant
    return above > margin and above > math.sqrt(squares)


def little_learned(constant: float, arm: float, other: float) -> bool:
    """Says whether an arm has come a fifth of the other's way from the constant.

    Args:
        constant: The constant predictor's score, higher is better.
        arm: The arm's tuned score.
        other: The other arm's.
    """
    return arm - constant < HARDLY * (other - constant)


def equal_over_seeds(configurations: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Says whether scores depend on nothing: "everywhere", "over seeds" or "".

    Args:
        configurations: Of each configuration, its runs' (validation, test) scores.

    Returns:
        "everywhere" where all runs of all configurations, at least four, score the
        same; "over seeds" where at least two configurations were trained from several
        seeds each, none of them shows any difference between seeds, and they differ
        from one another. (Configurations that all score the same from every seed, as
        at the best score there is, tell nothing of seeds.)
    """
    runs = [run for each in configurations for run in each]
    if len(runs) >= 4 and len(set(runs)) == 1:
        return "everywhere"
    several = [set(each) for each in configurations if len(each) > 1]
    if any(len(each) > 1 for each in several):
        return ""
    return "over seeds" if len({each.pop() for each in several}) > 1 else ""


def copies_move(
    copies: int,
    of: int,
    gains: np.ndarray | None,
    *,
    fraction: bool,
) -> float:
    """Returns at most how far a gain is from that on examples that are no copies.

    Which examples are copies of others that were trained on is unknown here, so they
    are taken to be those that favour one arm most. Where the scores of single
    examples are unknown but fractions, a share c of copies moves the mean of the
    others by at most 2 c / (1 - c).

    Args:
        copies: How many test examples are copies.
        of: T, the number of test examples.
        gains: (T,) what the challenger is better by on each; None if unknown.
        fraction: Whether scores are fractions.

    Returns:
        Infinite where nothing limits it, as where all are copies.
    """
    share = min(copies / of, 1.0)
    if gains is None:
        return 2 * share / (1 - share) if fraction and share < 1 else math.inf
    size = len(gains)
    some = min(math.ceil(share * size), size)
    if some == size:
        return math.inf
    ascending = np.sort(gains.astype(np.float64))
    whole = float(np.mean(ascending))
    return max(
        whole - float(np.mean(ascending[: size - some])),
        float(np.mean(ascending[some:])) - whole,
    )

"""The table of runs: what every later room reads, whoever trained them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["CPU_SECONDS", "STAGES", "CurvePoint", "Run", "best_of", "key", "rank"]

# What a run was made for. "search": configuration i, once. "confirm": the same
# configurations on fresh seeds. "winner": ten more seeds of each arm's tuned
# configuration. "default": the architecture as it comes, for the table of arms.
# "ladder" and "ladder confirm": search and fresh seeds at a longer rung. "probe": a
# trial of an adaptive tuner, outside all tests, and "probe confirm" its best again.
STAGES = (
    "search", "confirm", "winner", "default",
    "ladder", "ladder confirm", "probe", "probe confirm",
)  # fmt: skip


CPU_SECONDS = "cpu_seconds"
"""The measure of a run whose cost nobody counts in operations."""


def key(
    arm: str,
    pair: int,
    seed: int,
    rung: int = 1,
    tuner: str | None = None,
    reading: str = "last",
    **coordinates: Any,
) -> str:
    """Returns the name of a run inside its study.

    Those of a longer rung end in "/2x", those that a tuner chose in its name, those
    of an experiment in coordinates of their own ("/relax_time=93"), and then the best
    readings in "/best". A name tells runs apart; nobody reads coordinates out of it.
    """
    name = f"{arm}/{pair}/{seed}"
    if tuner is not None:
        name = f"{name}/{tuner}"
    elif rung != 1:
        name = f"{name}/{rung}x"
    for coordinate, value in sorted(coordinates.items()):
        name = f"{name}/{coordinate}={value}"
    return name if reading == "last" else f"{name}/{reading}"


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve."""

    step: int
    loss: float
    """Mean training loss since the point before."""
    validation: float
    """The validation score, in the metric's own units."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one configuration with one seed.

    Scores are in the metric's own units (accuracy .83 is .83; a mean absolute
    error is not turned round).
    """

    arm: str
    pair: int
    """The configuration's index, the same in every arm; -1 for the default."""
    seed: int
    """0 for the search run; fresh seeds count from 1."""
    stage: str
    """One of `STAGES`."""
    configuration: Mapping[str, Any]
    validation: float
    test: float | None = None
    """None until the test set has been opened."""
    per_example: np.ndarray | None = None
    """(T,) float32 whose mean is `test`, where the records have it."""
    diverged: bool = False
    """Counted at the score of the constant predictor."""
    error: str | None = None
    """What the run raised; such a run is also `diverged`."""
    flops: float = 0.0
    """Floating-point operations (2 x multiply-adds) of the whole training."""
    parameters: int = 0
    seconds: float = 0.0
    curve: tuple[CurvePoint, ...] = ()
    rung: int = 1
    """How many times the protocol's steps it was trained for; 1 but on a ladder."""
    look: int = 1
    """At which declared look it was planned, counted from 1."""
    tuner: str | None = None
    """Who chose the configuration of a probe, such as "TPE"; None: a random draw."""
    reading: str = "last"
    """Whose weights are scored: "last", those of the last step, or "best", those with
    the best validation score on the way."""
    measures: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else an experiment measured of the run, as JSON has it: strings for keys,
    lists for sequences. Numbers may be NaN or infinite, as they are in diverged runs."""
    coordinates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Where else an experiment has placed the run, as JSON: {"relax_time": 93}."""

    @property
    def key(self) -> str:
        """Its name inside its study."""
        return key(
            self.arm, self.pair, self.seed, self.rung, self.tuner, self.reading,
            **self.coordinates,
        )  # fmt: skip


def rank(run: Run, sign: int) -> float:
    """Returns what runs are ordered by: the validation score, higher is better.

    A run without a score comes last: no comparison with NaN holds, so that a plain
    maximum would keep whatever comes first.

    Args:
        run: Any.
        sign: 1 where a higher score is better, else -1.
    """
    return sign * run.validation if math.isfinite(run.validation) else -math.inf


def best_of(runs: Iterable[Run], sign: int) -> Run:
    """Returns the run with the best validation score, the first of equals.

    Args:
        runs: At least one.
        sign: 1 where a higher score is better, else -1.
    """
    return max(runs, key=lambda run: rank(run, sign))

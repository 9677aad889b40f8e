"""What trainings take on this machine, from a few short ones that are thrown away.

The pace decides what a time pays for, and so it is frozen with the plan before the first
training that counts. Nothing is read off it afterwards but how far a plan goes.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archtrial import execution, randomness
from archtrial import space as spaces
from archtrial.experiments.choose.training import Once
from archtrial.trainers import Item, Loops
from archtrial.training import choice
from archtrial.training.problem import Problem

__all__ = ["Pace", "measure", "takes"]

# Steps of the shorter training: as many as there are evaluations, so that both have all.
_SHORT = 4
# What the longer one has beyond the shorter.
_LEAST, _MOST_STEPS = 12, 64
# The share of a training's time that is surely its steps'.
_SURELY = 0.3
# Of the trainings of a seedless arm, the share that are fits of their own.
_FITTED = 0.7
# The length that fleets and single runs are compared at.
_USUAL = 300


@dataclasses.dataclass(frozen=True)
class Pace:
    """What the trainings of one arm take, in seconds.

    A fleet of g runs takes once + once_each g + (step + step_each g) S for S steps. Of an
    estimator `once_each` is what one fit takes, whatever the steps.
    """

    most: int
    """Runs in a fleet at most."""
    once: float
    once_each: float
    step: float
    step_each: float
    cold: float
    """What a process's first training of the arm takes beside."""
    rows: int = 0
    """Of an estimator the rows that a fit was measured on; 0 for networks."""

    def fleet(self, runs: int, steps: int, rows: int) -> float:
        """Returns the seconds of one fleet, or of one fit."""
        if self.rows:
            return self.once_each * max(rows / self.rows, 0.2) * runs
        each = self.once + self.once_each * runs
        return each + (self.step + self.step_each * runs) * steps

    def tasks(self, runs: int, steps: int, rows: int) -> list[float]:
        """Returns the seconds of each task that so many runs are divided into."""
        parts = choice.evenly(range(runs), self.most) if runs else []
        return [self.fleet(len(part), steps, rows) for part in parts]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON, with four significant digits."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


def takes(tasks: Sequence[float], workers: int) -> float:
    """Returns how long workers take for tasks that they begin in this order.

    Examples:
        >>> takes([3.0, 1.0, 1.0], 2)
        3.0
    """
    busy = [0.0] * workers
    for seconds in tasks:
        busy[busy.index(min(busy))] += seconds
    return max(busy)


@dataclasses.dataclass(frozen=True)
class _Timer:
    """Times short trainings of arms; it pickles, for workers that are timed together."""

    loops: Loops
    fits: Once
    design: spaces.Design
    seconds: float
    patience: float
    runs: int

    def __call__(self, task: Sequence[str]) -> list[tuple[str, Pace, bool, float]]:
        """Returns of each arm its pace, whether it is faster alone, and seconds spent."""
        told = []
        for arm in task:
            start = time.perf_counter()
            paced, alone = self._paced(arm)
            told.append((arm, paced, alone, time.perf_counter() - start))
        return told

    def _paced(self, arm: str) -> tuple[Pace, bool]:
        items = [
            Item(arm, i, 0, "search", self.design.configuration(arm, i))
            for i in range(self.runs)
        ]
        if arm in self.fits.estimators:
            return _of_fits(self.fits, items), False
        single = dataclasses.replace(self.loops, fleets="never")
        one = _of_networks(single, items, 1, self.seconds, self.patience)
        most = min(self.loops.most_runs(items[0]), self.runs)
        if most == 1:
            return one, False
        together = _of_networks(self.loops, items, most, self.seconds, self.patience)
        ahead, behind = (
            sum(pace.tasks(self.runs, _USUAL, 0)) for pace in (together, one)
        )
        return (together, False) if ahead < behind else (one, True)


def measure(
    loops: Loops,
    fits: Once,
    problem: Problem,
    design: spaces.Design,
    arms: Sequence[str],
    *,
    seconds: float,
    patience: float,
    threads: int,
    runs: int,
    workers: int,
) -> tuple[dict[str, Pace], list[str], float]:
    """Times short trainings of each arm, in as many processes as there will be.

    Processes that train at once slow each other down, and so does whatever else the
    machine does.

    Args:
        loops: Of the networks; whether they are faster in fleets is found out.
        fits: Of the estimators.
        problem: On the part of the rows that is searched on.
        design: Has the arms' spaces.
        arms: Their names.
        seconds: About as long each of the longer trainings takes.
        patience: An arm of which a few steps take longer is not timed any further.
        threads: Of each training.
        runs: Of an arm's search.
        workers: Processes.

    Returns:
        The pace of each arm; those that are faster one run at a time; and the seconds
        that processes take to start.
    """
    timer = _Timer(
        dataclasses.replace(loops, problem=problem),
        dataclasses.replace(fits, problem=problem),
        spaces.Design(design.spaces, randomness.seed(design.seed, "pace"), "sobol"),
        seconds,
        patience,
        runs,
    )
    found: dict[str, Pace] = {}
    alone: list[str] = []
    spent: list[float] = []
    start = time.perf_counter()
    with execution.executor(
        functools.partial(execution.as_sent, timer),
        workers=min(workers, len(arms)),
        threads=threads,
    ) as executor:
        # Those that take longest first, as far as their place on the ladder tells.
        for _, told in executor.carry_out([(arm,) for arm in reversed(arms)]):
            for arm, paced, single, took in told:
                found[arm] = paced
                alone += [arm] if single else []
                spent.append(took)
    beside = time.perf_counter() - start - takes(spent, min(workers, len(arms)))
    return (
        {arm: found[arm] for arm in arms},
        [arm for arm in arms if arm in alone],
        max(beside, 0.0),
    )


def _of_fits(fits: Once, items: Sequence[Item]) -> Pace:
    start = time.perf_counter()
    fits(items[:1])
    first = time.perf_counter() - start
    few = items[1:4]
    start = time.perf_counter()
    for item in few:
        fits([item])
    each = (time.perf_counter() - start) / len(few)
    if items[0].arm in fits.seedless:
        each *= _FITTED
    rows = len(fits.problem.y_train)
    return Pace(1, 0.0, each, 0.0, 0.0, max(first - each, 0.0), rows)


def _of_networks(
    loops: Loops, items: Sequence[Item], most: int, seconds: float, patience: float
) -> Pace:
    """Times a fleet of two sizes, each for two lengths; the loop by one run alone.

    Where the very first training takes longer than `patience`, it is all that is timed:
    of such an arm the time does not pay for hundreds.
    """
    first = _timed(loops, items[:most], _SHORT)
    if first > patience:
        return Pace(most, 0.0, 0.0, 0.0, first / most / _SHORT, 0.0)
    fitted = {}
    for size in sorted({most, max(1, most // 4)}, reverse=True):
        whole = _timed(loops, items[:size], _SHORT)
        short = _timed(loops, items[:size], _SHORT, evaluations=1)
        further = min(max(math.ceil(seconds * _SHORT / short), _LEAST), _MOST_STEPS)
        long = _timed(loops, items[:size], _SHORT + further, evaluations=1)
        # Where something else held the shorter one up, the difference says nothing.
        step = max((long - short) / further, _SURELY * long / (_SHORT + further))
        fitted[size] = max(whole - step * _SHORT, 0.0), step, whole
    once, once_each = _line({size: found[0] for size, found in fitted.items()})
    step, step_each = _line({size: found[1] for size, found in fitted.items()})
    cold = max(first - fitted[most][2], 0.0)
    return Pace(most, once, once_each, step, step_each, cold)


def _line(known: Mapping[int, float]) -> tuple[float, float]:
    """Returns what a size of 0, and one more, takes; neither is less than nothing."""
    (large, most), *others = sorted(known.items(), reverse=True)
    if not others:
        return 0.0, most / large
    ((small, least),) = others
    each = max((most - least) / (large - small), 0.0)
    return max(most - each * large, 0.0), min(each, most / large)


def _timed(
    loops: Loops, items: Sequence[Item], steps: int, evaluations: int | None = None
) -> float:
    """Returns the seconds of one fleet for some steps, by default with all evaluations."""
    problem = dataclasses.replace(loops.problem, steps=steps)
    if evaluations is not None:
        problem = dataclasses.replace(problem, evaluations=evaluations)
    trainer = dataclasses.replace(loops, problem=problem)
    start = time.perf_counter()
    for task in trainer.divide(items):
        trainer(task)
    if torch.cuda.is_available():  # pragma: no cover - where there is a GPU
        torch.cuda.synchronize()
    return time.perf_counter() - start

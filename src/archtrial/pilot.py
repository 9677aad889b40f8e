"""What a study will cost and see, from a few short trainings, before any is spent.

A pilot trains eight configurations of each arm for a small share of the steps.
Its runs are thrown away: none enters a study.
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import protocol, statistics, trial
from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.execution import Crew
from archtrial.protocol import Protocol
from archtrial.records.store import frozen
from archtrial.report import numbers
from archtrial.trainers import Finished, Item, Loops

__all__ = ["Forecast", "fit", "plan"]

# Enough to see a spread, few enough to cost little.
CONFIGURATIONS = 8
# Shares of the steps: the spread is read off the longer one, and the difference of
# both is the pace without what every fleet spends once.
SHORT, LONG = 0.02, 0.06
# What several workers cost at the start: each loads torch.
START_SECONDS = 6.0


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a study will cost and see."""

    protocol: Protocol
    metric: str
    runs: int
    """Of all arms, at most."""
    seconds: float
    """With the workers asked for."""
    workers: int
    flops: float
    run_seconds: Mapping[str, float]
    """Of one run of each arm, on one core."""
    minimum_detectable_effect: Mapping[str, float]
    """By challenger: the smallest gain seen with a chance of 80 %, roughly."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the forecast as JSON."""
        return {
            "configurations": self.protocol.configurations,
            "effort": self.protocol.effort,
            "confirm_seeds": self.protocol.confirm_seeds,
            "metric": self.metric,
            "runs": self.runs,
            "seconds": self.seconds,
            "workers": self.workers,
            "flops": self.flops,
            "run_seconds": dict(self.run_seconds),
            "minimum_detectable_effect": dict(self.minimum_detectable_effect),
        }

    def __str__(self) -> str:
        declared = self.protocol
        lines = [
            f"{declared.configurations} configurations of each arm, effort"
            f" {declared.effort}, {declared.confirm_seeds} fresh seeds: at most"
            f" {self.runs} runs",
            f"about {numbers.duration(self.seconds)} with"
            f" {numbers.count(self.workers, 'worker')}, {numbers.flops(self.flops)}",
        ]
        lines += [
            f"smallest gain of {name} that it will see: about {size:.2g} of"
            f" {self.metric} (chance 80 %; a rough guess from short trainings)"
            for name, size in self.minimum_detectable_effect.items()
        ]
        return "\n".join(lines)


def plan(declared: Protocol, *, workers: int = 1) -> Forecast:
    """Forecasts cost and minimum detectable effect from short trainings.

    Args:
        declared: What is to be carried out.
        workers: How many processes the study will have.

    Raises:
        UserError: The protocol cannot be carried out.
    """
    prepared = trial.Zoo(declared)
    seconds, flops, scores = _pilot(declared, prepared)
    runs = _runs(declared)
    total = runs * sum(seconds.values())
    baseline = scores[declared.baseline.name]
    return Forecast(
        protocol=declared,
        metric=prepared.metric.name,
        runs=runs * len(prepared.arms),
        seconds=total / workers + (START_SECONDS if workers > 1 else 0.0),
        workers=workers,
        flops=runs * sum(flops.values()),
        run_seconds=seconds,
        minimum_detectable_effect={
            arm.name: _smallest_effect(declared, baseline, scores[arm.name])
            for arm in declared.challengers
        },
    )


def fit(
    declared: Protocol, budget: float, folder: Path | None, *, workers: int = 1
) -> tuple[Protocol, Path]:
    """Chooses the largest n that a time pays for; k and r stay sound.

    The number is frozen with the study: the same command goes on with it, however
    long the machine takes on another day.

    Args:
        declared: The protocol; its configurations are replaced.
        budget: Seconds.
        folder: The study's folder; by default one that the protocol and the budget
            determine.
        workers: How many processes the study will have.

    Returns:
        The protocol with its number of configurations, and the study's folder.

    Raises:
        ProtocolError: Not even the smallest sound study fits; the message says what
            that one would take.
    """
    sound = declared.replace(
        effort=max(declared.effort, 4), confirm_seeds=max(declared.confirm_seeds, 3),
        configurations=max(declared.configurations, 4 * declared.effort, 16),
    )  # fmt: skip
    if folder is None:
        resolved = {**trial.Zoo(sound).resolved, "configurations": f"{budget:g} s"}
        folder = Path("studies", protocol.digest(resolved)[:8])
    begun = frozen(folder)
    if begun is not None:
        return sound.replace(configurations=begun[1]["configurations"]), folder
    seconds, _, _ = _pilot(sound, trial.Zoo(sound))
    start = START_SECONDS if workers > 1 else 0.0
    smallest = sound.replace(configurations=4 * sound.effort)
    least = _runs(smallest) * sum(seconds.values()) / workers + start
    if least > budget:
        raise ProtocolError(
            "a budget pays for the smallest sound study at least",
            f"{numbers.duration(budget)} for one that takes about"
            f" {numbers.duration(least)}",
            f"That one has {smallest.configurations} configurations of each arm, effort"
            f" {sound.effort} and {sound.confirm_seeds} fresh seeds. Raise the budget, or"
            " train for fewer steps.",
        )
    chosen = statistics.largest_study(
        (budget - start) * workers,
        list(seconds.values()),
        effort=sound.effort,
        confirm_seeds=sound.confirm_seeds,
        winner_seeds=statistics.planning.WINNER_SEEDS + sound.confirm_seeds,
    )
    return sound.replace(configurations=chosen.configurations), folder


def _runs(declared: Protocol) -> int:
    """Returns how many runs of each arm a study takes, at most."""
    planned = statistics.plan_runs(
        declared.configurations,
        declared.effort,
        arms=len(declared.arms) + declared.matched_baseline,
        confirm_seeds=declared.confirm_seeds,
        top=declared.top,
        # The defaults are run on r seeds, too.
        winner_seeds=statistics.planning.WINNER_SEEDS + declared.confirm_seeds,
    )
    return planned.runs


def _pilot(
    declared: Protocol, prepared: trial.Zoo
) -> tuple[dict[str, float], dict[str, float], dict[str, np.ndarray]]:
    """Trains a few configurations for a few steps.

    Returns:
        By arm: seconds and operations of a whole run, and validation scores after
        the short training, higher is better.
    """
    steps = prepared.problem.steps
    lengths = [min(max(2, math.ceil(share * steps)), steps) for share in (SHORT, LONG)]
    seconds: dict[str, float] = {}
    flops: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    for arm in prepared.arms:
        # Draws of their own: index 0 of the study is not among them.
        items = [
            Item(
                arm.name,
                index,
                0,
                "search",
                spaces.sample(prepared.spaces[arm.name], declared.seed, -1 - index),
            )
            for index in range(CONFIGURATIONS)
        ]
        took = []
        for length in lengths:
            problem = dataclasses.replace(prepared.problem, steps=length)
            loops = dataclasses.replace(prepared.trainer, problem=problem)
            start = time.perf_counter()
            finished = _carried_out(loops, items, declared.threads)
            took.append(time.perf_counter() - start)
        per_step = max(took[1] - took[0], 0.0) / max(lengths[1] - lengths[0], 1)
        once = max(took[1] - per_step * lengths[1], 0.0)
        if lengths[0] == lengths[1]:
            per_step, once = took[1] / lengths[1], 0.0
        seconds[arm.name] = (once + per_step * steps) / CONFIGURATIONS
        runs = [done.run for done in finished]
        flops[arm.name] = float(np.mean([run.flops for run in runs])) * (
            steps / lengths[1]
        )
        scores[arm.name] = prepared.sign * np.array([run.validation for run in runs])
    return seconds, flops, scores


def _carried_out(loops: Loops, items: list[Item], threads: int) -> list[Finished]:
    by_pair: dict[int, Finished] = {}
    with Crew(lambda: loops, threads=threads) as crew:
        for _, finished in crew.carry_out(loops.divide(items)):
            by_pair |= {done.run.pair: done for done in finished}
    return [by_pair[item.pair] for item in items]


def _smallest_effect(
    declared: Protocol, baseline: np.ndarray, challenger: np.ndarray
) -> float:
    spread = float(
        np.hypot(baseline.std(ddof=1), challenger.std(ddof=1)) / math.sqrt(2)
    )
    both = baseline.std() > 0 and challenger.std() > 0
    alike = float(np.corrcoef(baseline, challenger)[0, 1]) if both else 0.0
    n = declared.configurations
    pseudo = statistics.effect_spread(spread, declared.effort, max(alike, 0.0))
    return statistics.minimum_detectable_effect(
        pseudo / math.sqrt(n),
        n,
        declared.effort,
        margin=declared.margin or 0.0,
        alpha=declared.alpha / len(declared.challengers),
    )

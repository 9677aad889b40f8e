"""What a time pays for: how many arms, on how many rows, for how many steps.

The plan is made of the pace alone, before the first training, and frozen with it. It says
what is done at each look, and what the next one takes; whether that is still paid for is
reckoned by the same pace.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.errors import ProtocolError
from archtrial.experiments.choose.pace import Pace, takes
from archtrial.statistics import plan_runs
from archtrial.words import numbers

__all__ = ["LOOKS", "SEEDS", "Plan", "make"]

LOOKS = (1, 2, 3, 4)
"""Looks, in multiples of the first one's configurations."""
SEEDS = (3, 6, 9, 12, 16, 24, 32, 48)
"""Fresh seeds that a finalist has, after each part of their trainings."""

# Lengths of the searches' trainings that are tried, the longest first, and what is still
# long enough where all arms can have it. Every one of them has batches of 8 passes.
_STEPS = (1500, 1000, 700, 500, 350, 250, 180, 120, 80, 50)
_ENOUGH = 350
_PASSES = 8
_FEW_ARMS = 5
# The share of the time for the first look with its checks, and for three seeds of all
# arms as finalists: what is left pays for more configurations and seeds.
_FIRST, _FINAL = 0.45, 0.25
# Opening the test set, judging and the page.
_CLOSING, _CLOSING_EACH = 4.0, 1.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done in a time."""

    arms: tuple[str, ...]
    """That are tried, the simplest first."""
    too_long: tuple[str, ...]
    """That the time does not pay for."""
    looks: tuple[int, ...]
    """Configurations of each arm at each look."""
    steps: int
    """Of every training of the searches."""
    rows: int
    """Training rows that the searches see."""
    final_steps: int
    """Of every training of a finalist."""
    final_rows: int
    """Training rows that finalists see."""
    fresh: int
    """Trainings on fresh seeds that a look takes of each arm, at most."""
    seeds: tuple[int, ...]
    """Of each finalist, after each part of their trainings."""
    workers: int
    """That the time was reckoned for."""
    began: float
    """Seconds that had passed before the first training."""
    seconds: float
    """The budget."""
    paces: Mapping[str, Pace]
    spaces: Mapping[str, Any]
    """By arm, what is searched, as JSON."""
    alone: tuple[str, ...]
    """Arms whose runs are faster one at a time than side by side."""
    too_large: Mapping[str, str]
    """Arms that go beyond what the user can afford, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON."""
        told = {
            k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()
        }
        told["began"] = round(self.began, 1)
        told["paces"] = {name: pace.to_dict() for name, pace in self.paces.items()}
        return told

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Plan":
        """Reads it from JSON."""
        read: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        read["paces"] = {name: Pace(**own) for name, own in told["paces"].items()}
        return cls(**read)

    @property
    def closing(self) -> float:
        """Seconds that are kept for the end."""
        return _CLOSING + _CLOSING_EACH * len(self.arms)

    def searching(self, runs: Mapping[str, int]) -> float:
        """Returns the seconds of so many trainings of the searches, by arm."""
        return self._takes(runs, self.steps, self.rows)

    def finals(self, runs: Mapping[str, int]) -> float:
        """Returns the seconds of so many trainings of finalists, by arm."""
        return self._takes(runs, self.final_steps, self.final_rows)

    def _takes(self, runs: Mapping[str, int], steps: int, rows: int) -> float:
        return _spent(self.paces, runs, steps, rows, self.workers)


def make(
    paces: Mapping[str, Pace],
    searched: Mapping[str, Any],
    *,
    too_large: Mapping[str, str],
    alone: Sequence[str],
    seconds: float,
    began: float,
    workers: int,
    rows: int,
    batch_size: int,
    effort: int,
    seeds: int,
    first: int,
    most_steps: int,
) -> Plan:
    """Plans what a time pays for.

    At first all arms, as long as their trainings have 350 steps. Else those that take
    longest are left out as long as five are left; then trainings are shorter; and then
    there are fewer arms. Every arm that is tried has n, k and r in full.

    Args:
        paces: Of the arms, the simplest first.
        searched: What is searched of them, as JSON.
        too_large: Arms that go beyond a limit, and why.
        alone: Arms whose runs are faster one at a time.
        seconds: The budget.
        began: What of it has passed.
        workers: Processes.
        rows: Training rows.
        batch_size: Of a step.
        effort: k.
        seeds: r.
        first: n at the first look.
        most_steps: Of any training.

    Raises:
        ProtocolError: The time does not pay for two arms; the message says what does.
    """
    at_look = plan_runs(
        first, effort, arms=1, confirm_seeds=seeds, top=None, winner_seeds=0,
        stratified=True,
    )  # fmt: skip
    each = at_look.search + at_look.confirm
    closing = _CLOSING + _CLOSING_EACH * len(paces)
    left = seconds - began - closing

    def part(steps: int) -> int:
        enough = max(steps * min(batch_size, rows) // _PASSES, min(rows, 100))
        # Nearly all is all: there is nothing to save.
        return rows if enough > 0.7 * rows else enough

    def spent(some: Mapping[str, Pace], steps: int) -> tuple[float, float]:
        runs = dict.fromkeys(some, each + seeds)
        return (
            sum(pace.cold for pace in some.values())
            + _spent(some, runs, steps, part(steps), workers),
            _spent(some, dict.fromkeys(some, SEEDS[0]), steps, rows, workers),
        )

    def pays(some: Mapping[str, Pace], steps: int) -> bool:
        first_look, final = spent(some, steps)
        return first_look <= _FIRST * left and final <= _FINAL * left

    lengths = [s for s in _STEPS if s < most_steps]
    lengths = [min(most_steps, _STEPS[0]), *lengths]
    by_time = _longest_last(paces)
    all_of = len(paces)
    enough = [steps for steps in lengths if steps >= _ENOUGH] or lengths[:1]
    wishes = (
        (count, steps)
        for fewest, allowed in (
            *((all_of, enough), (_FEW_ARMS, enough)),
            *((all_of, lengths), (_FEW_ARMS, lengths), (2, lengths)),
        )
        for count in range(all_of, min(fewest, all_of) - 1, -1)
        for steps in allowed
    )
    chosen = next(
        (
            (some, steps)
            for count, steps in wishes
            if pays(
                some := {n: p for n, p in paces.items() if n in by_time[:count]}, steps
            )
        ),
        None,
    )
    if chosen is None:
        two = {name: paces[name] for name in paces if name in by_time[:2]}
        taken = spent(two, lengths[-1])
        raise _too_short(two, taken, seconds, began + closing)
    some, steps = chosen
    # The longest that three seeds of all arms can have.
    longer = range(most_steps, steps, -max(1, most_steps // 30))
    final_steps = next(
        (
            s
            for s in longer
            if _spent(some, dict.fromkeys(some, SEEDS[0]), s, rows, workers)
            <= _FINAL * left
        ),
        steps,
    )
    return Plan(
        arms=tuple(some),
        too_long=tuple(name for name in paces if name not in some),
        looks=tuple(first * times for times in LOOKS),
        steps=steps,
        rows=part(steps),
        final_steps=final_steps,
        fresh=at_look.confirm,
        # Each row is met once at least.
        final_rows=min(rows, final_steps * batch_size),
        seeds=SEEDS,
        workers=workers,
        began=began,
        seconds=seconds,
        paces=dict(some),
        spaces={name: searched[name] for name in some},
        alone=tuple(name for name in alone if name in some),
        too_large=dict(too_large),
    )


def _longest_last(paces: Mapping[str, Pace]) -> list[str]:
    return sorted(paces, key=lambda name: sum(paces[name].tasks(16, _ENOUGH, 1000)))


def _spent(
    paces: Mapping[str, Pace],
    runs: Mapping[str, int],
    steps: int,
    rows: int,
    workers: int,
) -> float:
    """Returns the seconds of so many trainings of each arm, on all workers."""
    tasks = [
        each
        for name, count in runs.items()
        for each in paces[name].tasks(count, steps, rows)
    ]
    return takes(tasks, workers)


def _too_short(
    paces: Mapping[str, Pace],
    spent: tuple[float, float],
    seconds: float,
    beside: float,
) -> ProtocolError:
    """Returns the refusal of a time that does not pay for two arms.

    Args:
        paces: Of the two fastest.
        spent: What their searches take, and what they take as finalists.
        seconds: The budget.
        beside: What all else takes.
    """
    needed = 1.15 * (max(spent[0] / _FIRST, spent[1] / _FINAL) + beside)
    # In whole units, as somebody would type it.
    unit, size = ("s", 10) if needed < 120 else ("m", 60)
    count = math.ceil(needed / size)
    written = f"{count * size}s" if unit == "s" else f"{count}m"
    return ProtocolError(
        "a budget pays for two arms at least, with 16 configurations or more of each, an"
        " effort of 4 and 3 fresh seeds",
        f"{numbers.duration(seconds)}, and {' and '.join(paces)} take about"
        f" {numbers.duration(needed)}",
        f'Write --budget {written} (in a protocol, budget = "{written}").',
    )

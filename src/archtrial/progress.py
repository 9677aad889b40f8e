"""How far a stage is, for whoever watches."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

from archtrial.records.store import key
from archtrial.records.table import Run

__all__ = ["Clock", "Standing", "Watch", "key_of"]


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a study is."""

    stage: str
    """One of `records.table.STAGES`, a stage of an experiment, "test" while the test
    set is opened, or "judge" while the verdict is reached."""
    done: int
    planned: int
    best: Mapping[str, float]
    """The best validation score so far, by arm."""
    seconds_left: float | None
    """For this stage; None until something is known."""


Watch = Callable[[Standing], None]


def key_of(run: Run) -> str:
    """Returns the name under which the store keeps a run."""
    return key(run.arm, run.pair, run.seed, run.rung, run.tuner, run.reading)


class Clock:
    """Turns what has finished into a `Standing`.

    Args:
        stage: What is under way.
        planned: By the key of each run of the stage, what it shares with those that
            take as long.
        recorded: The runs that the store has.
        watch: Is told.
        sign: 1 where a higher score is better, else -1.
        searching: The stage whose runs count for the best score so far.
    """

    def __init__(
        self,
        stage: str,
        planned: Mapping[str, Hashable],
        recorded: Sequence[Run],
        watch: Watch,
        sign: int,
        searching: str = "search",
    ) -> None:
        self._stage = stage
        self._planned = planned
        self._watch = watch
        self._sign = sign
        self._searching = searching
        self._left = Counter(planned.values())
        self._best: dict[str, float] = {}
        self._seconds: dict[Hashable, list[float]] = {}
        self._began = time.monotonic()
        self._trained = 0.0
        self._count(run for run in recorded if key_of(run) in planned)
        for run in recorded:
            self._compare(run)

    def _compare(self, run: Run) -> None:
        if run.stage == self._searching and not run.diverged:
            best = self._best.get(run.arm, run.validation)
            self._best[run.arm] = self._sign * max(
                self._sign * best, self._sign * run.validation
            )

    def _count(self, runs: Iterable[Run]) -> None:
        for run in runs:
            alike = self._planned[key_of(run)]
            self._left[alike] -= 1
            self._seconds.setdefault(alike, []).append(run.seconds)
            self._compare(run)

    def finished(self, runs: Sequence[Run]) -> None:
        """Counts the runs of a task that has just come back."""
        self._count(runs)
        self._trained += sum(run.seconds for run in runs)
        self.show()

    def show(self) -> None:
        """Tells the watcher."""
        seconds_left = None
        if self._trained and all(alike in self._seconds for alike in self._left):
            # Several workers finish more than a second of training in a second.
            pace = self._trained / (time.monotonic() - self._began)
            seconds_left = (
                sum(
                    count * float(np.mean(self._seconds[alike]))
                    for alike, count in self._left.items()
                )
                / pace
            )
        self._watch(
            Standing(
                stage=self._stage,
                done=len(self._planned) - self._left.total(),
                planned=len(self._planned),
                best=dict(self._best),
                seconds_left=seconds_left,
            )
        )

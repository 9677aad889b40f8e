"""How far a study is: for whoever watches it, and for whoever looks at its folder.

What a stage will train is recorded before its first training begins, and each training
when it has finished, so that the folder of a study that goes on elsewhere, or was
interrupted, tells as much as the terminal of the one who began it.
"""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.records.store import Store
from archtrial.records.table import Run, key

__all__ = ["Clock", "Stage", "Standing", "Watch", "plan", "stages"]

_PLANNED = "stage planned"


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


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage as a study's records have it."""

    name: str
    planned: int
    """How many trainings."""
    finished: int


def plan(store: Store, stage: str, trainings: Sequence[Mapping[str, Any]]) -> None:
    """Records what a stage trains; whoever goes on with it records nothing again.

    Args:
        store: The study's, open for writing.
        stage: Its name.
        trainings: The coordinates of each, the arguments of `records.table.key`.
    """
    detail = json.dumps({"stage": stage, "trainings": list(trainings)})
    known = ((name, told) for _, name, told in store.events())
    if trainings and (_PLANNED, detail) not in known:
        store.note(_PLANNED, detail)


def stages(store: Store, runs: Iterable[Run] | None = None) -> list[Stage]:
    """Returns what was planned and how much of it has finished, in order.

    A study of a release that recorded no plans has none.

    Args:
        store: The study's.
        runs: Its rows, where its kind reads those of earlier releases anew.
    """
    planned: dict[str, dict[str, None]] = {}
    for _, name, detail in store.events():
        if name == _PLANNED:
            told = json.loads(detail)
            own = planned.setdefault(told["stage"], {})
            own.update(dict.fromkeys(key(**place) for place in told["trainings"]))
    rows = store.runs(per_example=False) if runs is None else runs
    finished = {run.key for run in rows}
    return [
        Stage(name, len(own), len(own.keys() & finished))
        for name, own in planned.items()
    ]


class Clock:
    """Turns what has finished into a `Standing`.

    Args:
        stage: What is under way.
        planned: By the key of each training of the stage, what it shares with those
            that take as long.
        recorded: The runs that the store has, also of other stages.
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
        self._count(recorded)
        for run in recorded:
            self._compare(run)

    def _compare(self, run: Run) -> None:
        # The best readings are of no other trainings than the last ones.
        last = run.reading == "last"
        if run.stage == self._searching and last and not run.diverged:
            best = self._best.get(run.arm, run.validation)
            self._best[run.arm] = self._sign * max(
                self._sign * best, self._sign * run.validation
            )

    def _count(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if run.key not in self._planned:
                continue
            alike = self._planned[run.key]
            self._left[alike] -= 1
            self._seconds.setdefault(alike, []).append(run.seconds)
            self._compare(run)

    def finished(self, runs: Sequence[Run]) -> None:
        """Counts the rows of a task that has just come back."""
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

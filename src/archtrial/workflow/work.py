"""A stage of keyed trainings, carried out or gone on with."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from archtrial import progress
from archtrial.errors import UserError
from archtrial.execution import Executor
from archtrial.files import write
from archtrial.records.store import Store
from archtrial.records.table import Run, key

if TYPE_CHECKING:
    from archtrial.workflow.study import Study

__all__ = ["Finished", "Opened", "Trainer", "Work"]

Opened: TypeAlias = tuple[
    Mapping[str, tuple[float, np.ndarray | None]], Mapping[str, Any]
]
"""What `Store.open_test` takes: scores by key, and what goes with the event."""


class Finished(Protocol):
    """What one training leaves behind; it pickles."""

    @property
    def rows(self) -> Sequence[tuple[Run, np.ndarray]]:
        """Each reading with what is sealed until the test set is opened."""

    @property
    def weights(self) -> bytes | None:
        """What is kept of its weights, in the safetensors format."""


class Trainer(Protocol):
    """Whoever trains; it pickles if there are several workers."""

    def divide(self, items: Sequence[Any], /) -> Sequence[tuple[Any, ...]]:
        """Returns the tasks, by a rule that looks at nothing but the items.

        An item is one training of a plan, as data; it pickles.
        """

    def __call__(self, task: Sequence[Any], /) -> Sequence[Finished]:
        """Carries out one task."""


@dataclasses.dataclass(frozen=True)
class Work:
    """A study while it is carried out.

    Args:
        study: Says who trains and what an item is.
        store: Where runs go.
        executor: Who carries tasks out.
        watch: Is told how far it is.
    """

    study: "Study[Any, Any]"
    store: Store
    executor: Executor
    watch: progress.Watch

    def carry_out(self, stage: str, items: Iterable[Any]) -> None:
        """Carries out those trainings of a stage that have not finished.

        What is planned is recorded first, a task when it has finished, as a whole.
        """
        items, recorded = list(items), self.study.runs(self.store)
        clock = self.begin(stage, items, recorded)
        self.train(self._missing(items, recorded), clock)

    def begin(
        self, stage: str, items: Sequence[Any], recorded: Sequence[Run]
    ) -> progress.Clock:
        """Records what a stage trains; returns the clock that tells how far it is.

        Args:
            stage: Its name.
            items: All of it.
            recorded: What the store has, `Study.runs`.
        """
        study = self.study
        planned = [study.coordinates(item) for item in items]
        progress.plan(self.store, stage, planned)
        clock = progress.Clock(
            stage,
            {
                key(**coordinates): study.alike(item)
                for coordinates, item in zip(planned, items, strict=True)
            },
            recorded,
            self.watch,
            study.sign,
            study.searching,
        )
        if items:
            clock.show()
        return clock

    def _missing(
        self, items: Sequence[Any], recorded: Sequence[Run]
    ) -> list[tuple[Any, ...]]:
        """Returns the tasks that have not finished, in parts where they have in part.

        A task is recorded as a whole or not at all, but the study may have begun with
        tasks of another size.
        """
        study = self.study
        there = {run.key for run in recorded}
        tasks = [
            tuple(item for item in task if key(**study.coordinates(item)) not in there)
            for task in study.trainer.divide(items)
        ]
        return [task for task in tasks if task]

    def train(self, tasks: Sequence[tuple[Any, ...]], clock: progress.Clock) -> None:
        """Carries out tasks and records each when it has finished."""
        if not self.study.rehearsed:
            tasks = self._first(tasks, clock)
        for _, finished in self.executor.carry_out(tasks):
            for done in finished:
                if done.weights is not None:
                    place = self.study.weights_file(done)
                    write(place, done.weights, within=self.store.folder)
            rows = [row for done in finished for row in done.rows]
            self.store.add(rows)
            clock.finished([run for run, _ in rows])

    def _first(
        self, tasks: Sequence[tuple[Any, ...]], clock: progress.Clock
    ) -> list[tuple[Any, ...]]:
        """Carries out the first run of each arm that has none; returns what is left.

        A fault of form in it would be one of all others, too. It is not recorded, so
        that the study goes on when it is corrected.

        Raises:
            UserError: A first run has a fault; of several that of the first arm.
        """
        begun = {run.arm for run in self.study.runs(self.store)}
        first: list[tuple[Any, ...]] = []
        left: list[tuple[Any, ...]] = []
        for task in tasks:
            if task[0].arm in begun:
                left.append(task)
            else:
                begun.add(task[0].arm)
                first.append(task)
        faults: dict[str, UserError | None] = {}
        done: Any
        for task, (done,) in self.executor.carry_out(first):
            faults[task[0].arm] = done.fault
            if done.fault is None:
                self.store.add(done.rows)
                clock.finished([run for run, _ in done.rows])
            # Whoever is done first, what is said is the fault of the first arm.
            for (item,) in first:
                if item.arm not in faults:
                    break
                if (fault := faults[item.arm]) is not None:
                    raise fault
        return left

    def measure(self, name: str, compute: Callable[[], Any]) -> Any:
        """Returns what is measured beside the trainings, computed and recorded once.

        Args:
            name: Of what is measured; another name for whatever else.
            compute: Returns it as JSON; it follows from the protocol and the records.
        """
        known = self.store.measured()
        if name not in known:
            self.store.measure(name, compute())
            known = self.store.measured()
        return known[name]

    def end_unopened(self) -> None:
        """Ends a study that asks nothing of the test set, which stays sealed for good."""
        self.store.end_unopened()

    def open_test(
        self,
        score: Callable[[Store], Opened],
        look: int = 1,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Uses the test labels, once, or once at each look.

        Args:
            score: Returns the scores of all that is sealed.
            look: Counted from 1.
            detail: What goes with the event beside what `score` says.
        """
        if self.store.openings < look:
            runs = len(self.study.runs(self.store))
            self.watch(progress.Standing("test", runs, 0, {}, None))
            scores, told = score(self.store)
            self.store.open_test(scores, {**told, **(detail or {})})

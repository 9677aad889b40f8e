"""What is true of every study: declared, frozen, carried out in one folder, judged."""

import abc
import functools
import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from archtrial import execution, freezing
from archtrial.files import name_of, write
from archtrial.progress import Standing, Watch
from archtrial.protocol import OnData
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.workflow.work import Trainer, Work

__all__ = ["Study"]

Declared = TypeVar("Declared", bound=OnData)
Judgement = TypeVar("Judgement", bound=Any)


class Study(abc.ABC, Generic[Declared, Judgement]):
    """One declaration, carried out in one folder.

    A subclass plans stages, names who trains, and says who judges; its constructor
    sets the attributes.

    Attributes:
        protocol: What was declared.
        resolved: All that the results depend on, as JSON.
        folder: Where the store, the verdict and the page are kept.
        trainer: Who carries out tasks.
        sign: 1 where a higher score is better, else -1.
    """

    protocol: Declared
    resolved: Mapping[str, Any]
    folder: Path
    trainer: Trainer
    sign: int
    searching = "search"
    """The stage of runs whose best score is shown on the way."""
    rehearsed = True
    """Whether each arm was tried before; if not, its first training goes first."""
    _judgement: Judgement | None = None

    @abc.abstractmethod
    def stages(self, work: Work) -> None:
        """Carries out all stages, up to the opening of the test set.

        Or, where the study asks nothing of it, up to `work.end_unopened()`.

        Every call of `work.carry_out` names a stage and all of its trainings, also of
        those that have finished: what goes on is planned as it was the first time.
        """

    @abc.abstractmethod
    def judge(self) -> Judgement:
        """Reads the verdict, with all its evidence, off the folder's records."""

    def freeze(self, store: Store) -> None:
        """Begins in the folder, or makes sure that this is the study that began there.

        Raises:
            StudyError: The folder holds another one.
        """
        freezing.freeze(
            store,
            self.resolved,
            self.protocol.describe(),
            device=self.protocol.device,
            threads=self.protocol.threads,
        )

    def check(self, workers: int) -> None:
        """Raises StudyError where so many workers cannot carry the study out."""

    def finish(self, store: Store) -> None:
        """Keeps what is kept of a study that has been trained, and lets the rest go."""

    # What an item is. Of `trainers.Item` it is known; another kind says so here.

    def coordinates(self, item: Any, /) -> Mapping[str, Any]:
        """Returns an item's place as JSON: the arguments of `records.table.key`.

        It is the key of a row that is there when, and only when, it has finished.
        """
        place: Mapping[str, Any] = item.coordinates
        return place

    def alike(self, item: Any, /) -> Hashable:
        """Returns what an item shares with those that take as long."""
        return json.dumps([item.arm, item.further], sort_keys=True)

    def runs(self, store: Store) -> list[Run]:
        """Returns what has finished, without scores by example."""
        return store.runs(per_example=False)

    def weights_file(self, done: Any, /) -> Path:
        """Returns where in the folder the weights go that a training leaves."""
        return self.folder / "weights" / f"{name_of(done.run.key)}.safetensors"

    # What all of them do.

    def run(self, *, workers: int = 1, watch: Watch | None = None) -> Any:
        """Carries the study out, or goes on where it was interrupted.

        Args:
            workers: Processes; the results do not depend on it. With more than one,
                a script calls this under `if __name__ == "__main__"`.
            watch: Called with the `Standing` whenever something has finished.

        Returns:
            The verdict, also written to verdict.json in the study's folder.

        Raises:
            StudyError: It cannot go on here; what had finished is recorded.
        """
        watch = watch or (lambda standing: None)
        self.check(workers)
        with Store(self.folder) as store:
            self.freeze(store)
            with execution.executor(
                functools.partial(execution.as_sent, self.trainer),
                workers=workers,
                threads=self.protocol.threads,
            ) as executor:
                self.stages(Work(self, store, executor, watch))
            self.finish(store)
            watch(Standing("judge", len(self.runs(store)), 0, {}, None))
        self._judgement = self.judge()
        write(self.folder / "verdict.json", self._judgement.verdict.to_json())
        return self._judgement.verdict

    @property
    def notes(self) -> Sequence[str]:
        """What was noticed about the data and the arms before anything is trained."""
        return tuple(self.resolved["notes"])

    @property
    def judgement(self) -> Judgement:
        """The verdict with all its evidence."""
        if self._judgement is None:
            self._judgement = self.judge()
        return self._judgement

    @property
    def verdict(self) -> Any:
        """What the study found; it prints as its sentence."""
        return self.judgement.verdict

    def report(self, path: str | Path) -> Path:
        """Writes the page to `path` and returns it."""
        write(Path(path), self.judgement.page())
        return Path(path)

"""A profile's stages: a learning rate for each, fresh seeds, then each group's own.

from archtrial.experiments import profile
study = profile.Study(profile.Protocol(data="mnist1d", architectures=["mlp", "cnn"]))
study.run()
study.verdict
study.report("report.html")
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from archtrial import protocol, trainers, trial, tuned, workflow
from archtrial.errors import ProtocolError, StudyError
from archtrial.experiments.profile.measuring import Measuring, measuring_of
from archtrial.experiments.profile.protocol import Protocol
from archtrial.experiments.profile.verdict import MACHINE, judge
from archtrial.files import write
from archtrial.freezing import folder_of
from archtrial.judge.experiment import Finding
from archtrial.records.store import Store
from archtrial.records.table import Run, best_on_average
from archtrial.zoo import outside

__all__ = ["ByGroup", "Study"]


@dataclasses.dataclass(frozen=True)
class ByGroup:
    """Hands each run to the trainer of its group.

    Args:
        loops: Of the shared trainings, and of groups without a trainer.
        groups: The trainers of other groups, by name.
    """

    loops: trainers.Loops
    groups: Mapping[str, trainers.Trainer]

    def divide(self, items: Sequence[trainers.Item]) -> list[tuple[trainers.Item, ...]]:
        """Divides each trainer's runs as it does by itself, in the groups' order."""
        by_group: dict[str | None, list[trainers.Item]] = {}
        for item in items:
            by_group.setdefault(item.further.get("group"), []).append(item)
        return [
            task
            for name, own in by_group.items()
            for task in self._of(name).divide(own)
        ]

    def __call__(self, task: Sequence[trainers.Item]) -> list[trainers.Finished]:
        """Carries out one task, whose runs are of one group."""
        return self._of(task[0].further.get("group"))(task)

    def _of(self, name: str | None) -> trainers.Trainer:
        return self.loops if name is None else self.groups.get(name, self.loops)


class Study(workflow.Study[Protocol, Finding]):
    """One declared profile, carried out in one folder.

    Args:
        declared: What is asked.
        folder: Where the store, the verdict and the page are kept; by default
            `studies/` and the declaration's short hash.

    Attributes:
        split: The data; test labels stay sealed.
        metric: Of all scores.
        loops: Who trains what all groups share; of it each architecture is found.
        measuring: The groups, by name.

    Raises:
        UserError: Something declared cannot be used; its subclasses say what.
    """

    trainer: ByGroup

    def __init__(self, declared: Protocol, folder: str | Path | None = None) -> None:
        self.protocol = declared
        trial.check_device(declared.device)
        name, self.split, self.metric = trial.load(declared)
        self.sign = 1 if self.metric.higher_is_better else -1
        self._check_target()
        self.loops, notes = self._rehearsed()
        self.measuring: dict[str, Measuring] = {
            group: measuring_of(group, self) for group in declared.only
        }
        self.resolved: dict[str, Any] = {
            **trial.resolve(declared, name, self.split, self.metric),
            **declared.own(),
            "experiment": "profile",
            "architectures": [
                {
                    **arm.describe(),
                    "source": self.loops.architectures[arm.name].source,
                    "fleet": self.loops.stacks[arm.name],
                }
                for arm in declared.architectures
            ],
            "notes": [*self.split.notes, *notes],
        }
        for group, own in self.measuring.items():
            if told := own.resolved():
                self.resolved[group] = told
        self.hash = protocol.digest(self.resolved)
        self.folder = folder_of(self.resolved) if folder is None else Path(folder)
        own_trainers = {name: own.trainer for name, own in self.measuring.items()}
        self.trainer = ByGroup(
            self.loops, {name: own for name, own in own_trainers.items() if own}
        )

    def _check_target(self) -> None:
        target = self.protocol.target_score
        if target is None or not self.metric.bounded or 0 <= target <= 1:
            return
        example = target / 100 if 1 < target <= 100 else 0.8
        raise ProtocolError(
            f"{self.metric.name} lies between 0 and 1",
            f"target_score = {target:g}",
            f"Write --target-score {example:g} (in a protocol, target_score ="
            f" {example:g}).",
        )

    def _rehearsed(self) -> tuple[trainers.Loops, list[str]]:
        """Tries every architecture as it will be trained; returns who trains them all."""
        every, notes = [], []
        for arm in self.protocol.architectures:
            loops, said = trial.rehearsed(self.protocol, arm, self.split, self.metric)
            every.append(loops)
            found = loops.architectures[arm.name]
            for note in (
                *said,
                *outside.on_weights(arm.name, found.spec, found.source),
            ):
                if note not in notes:
                    notes.append(note)
        first = every[0]
        problem = dataclasses.replace(
            first.problem, evaluations=self.protocol.evaluations
        )
        return dataclasses.replace(
            first,
            problem=problem,
            architectures={k: v for own in every for k, v in own.architectures.items()},
            stacks={k: v for own in every for k, v in own.stacks.items()},
            recipes={k: v for own in every for k, v in own.recipes.items()},
        ), notes

    @property
    def names(self) -> list[str]:
        """The architectures, in the order in which they were declared."""
        return [arm.name for arm in self.protocol.architectures]

    # The stages.

    def stages(self, work: workflow.Work) -> None:
        """Tries learning rates, trains the best afresh, lets groups go on; and ends."""
        declared = self.protocol
        work.carry_out(
            "learning rates",
            [
                trainers.Item(name, place, -seed, "search", {"learning_rate": rate})
                for name in self.names
                for place, rate in enumerate(declared.learning_rates)
                for seed in range(declared.tuning_seeds)
            ],
        )
        runs = self.runs(work.store)
        keep = any(own.keeps_weights() for own in self.measuring.values())
        work.carry_out(
            "fresh seeds",
            [
                trainers.Item(
                    name, place, seed, "confirm", self.rate(place), keep_weights=keep
                )
                for name in self.names
                for place in [self.tuned(runs, name)]
                for seed in range(1, declared.seeds + 1)
            ],
        )
        for own in self.measuring.values():
            own.stages(work)
        work.end_unopened()

    def rate(self, place: int) -> dict[str, float]:
        """Returns the configuration of a learning rate by its place."""
        return {"learning_rate": self.protocol.learning_rates[place]}

    def tuned(self, runs: Sequence[Run], name: str) -> int:
        """Returns the place of an architecture's best learning rate, by validation."""
        tried = [
            run
            for run in runs
            if run.arm == name and run.stage == "search" and not run.coordinates
        ]
        return best_on_average(tried, self.sign)

    def fresh(self, runs: Sequence[Run], name: str) -> list[Run]:
        """Returns an architecture's shared trainings on fresh seeds, by seed."""
        own = [
            run
            for run in runs
            if run.arm == name and run.stage == "confirm" and not run.coordinates
        ]
        return sorted(own, key=lambda run: run.seed)

    def first(self, name: str) -> trainers.Item:
        """Returns a training of an architecture as it is declared, seed 1."""
        return trainers.Item(name, 0, 1, "confirm", {})

    def network(self, item: trainers.Item, *, trained: bool) -> torch.nn.Module:
        """Returns the network of a training, in evaluation mode, on the CPU.

        Args:
            item: The training; of it the arm, pair, seed, configuration and
                coordinates count.
            trained: With the weights that it kept, or as it was before its first step.

        Raises:
            StudyError: Its weights are gone.
        """
        weights = None
        if trained:
            run = Run(**item.row, validation=0.0)
            place = self.weights_file(trainers.Finished(run, None))  # type: ignore[arg-type]
            try:
                weights = place.read_bytes()
            except OSError as error:
                raise StudyError(
                    "the weights of a training stay where they were written",
                    f"{place}: {error.strerror}",
                    "Put the file back, or begin in another folder (--study): what has"
                    " been trained is not trained again in this one.",
                ) from error
        loops = self.loops
        return tuned.restored(
            loops.architectures[item.arm],
            loops.inputs,
            loops.problem.num_outputs,
            item.configuration,
            loops.initial_seed(item.arm, *item.names),
            weights,
            torch.from_numpy(loops.problem.x_train[:2]),
        )

    def finish(self, store: Store) -> None:
        """Times what is timed, once."""
        place = self.folder / MACHINE
        if place.exists():
            return
        runs = self.runs(store)
        told = {name: own.on_machine(runs) for name, own in self.measuring.items()}
        write(place, json.dumps(told, indent=2) + "\n", within=self.folder)

    def judge(self) -> Finding:
        """Reads the profile, with all its evidence, off the folder's records."""
        return judge(self.folder)

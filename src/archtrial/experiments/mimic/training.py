"""Who trains: teachers and students on labels, students on what their teacher says."""

import dataclasses
import hashlib
import itertools
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archtrial import tuned
from archtrial.errors import ArmError, FormError, StudyError, UserError
from archtrial.experiments.mimic.protocol import ENSEMBLE, OF_TEACHER, Protocol
from archtrial.experiments.mimic.transfer import TransferSet
from archtrial.files import name_of
from archtrial.records.table import Run, key
from archtrial.trainers import Finished, Item, Loops
from archtrial.training.objective import SoftTargets

__all__ = ["Ensemble", "Trainer", "bare", "labels_as_logits", "place_of"]

# How far a label stands above the other classes where labels are the teacher: their
# softmax is within a thousandth of the label itself.
_SURE = 10.0
# Inputs that are answered at once.
_AT_ONCE = 500


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Hands each item to whoever carries it out.

    Args:
        loops: Trains on labels, each arm with its recipe.
        students: Of the arms, those that learn from the transfer set.
        transfer: What they learn.
        declared: How they learn from their teacher, where that is not searched.
        folder: Where weights are.
    """

    loops: Loops
    students: frozenset[str]
    transfer: TransferSet
    declared: Protocol
    folder: Path

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Divides items as `Loops` does, apart by what their students minimise."""
        groups: dict[Any, list[Item]] = {}
        for item in items:
            alone = item.coordinates if item.arm == ENSEMBLE else None
            told = item.further.get("teacher"), self._told(item), str(alone)
            groups.setdefault(told, []).append(item)
        tasks: list[tuple[Item, ...]] = []
        for group in groups.values():
            if group[0].arm == ENSEMBLE:
                tasks.append(tuple(group))
                continue
            whole = {key(**item.coordinates): item for item in group}
            for task in self.loops.divide(list(map(bare, group))):
                tasks.append(tuple(whole[key(**item.coordinates)] for item in task))
        return tasks

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Carries out a task, whose items are of one kind."""
        first = task[0]
        if first.arm == ENSEMBLE:
            return [self._teach(first)]
        if first.arm not in self.students:
            return self.loops(task)
        taught = bool(first.further["teacher"])
        objective = self._objective(first) if taught else None
        inputs = self.transfer.inputs if taught else self.transfer.labelled
        labels = self.transfer.labels
        problem = dataclasses.replace(
            self.loops.problem,
            x_train=inputs,
            y_train=labels[labels >= 0],
            objective=objective,
        )
        trained = dataclasses.replace(self.loops, problem=problem)(
            list(map(bare, task))
        )
        # What is recorded also says how it learned from its teacher.
        return [
            dataclasses.replace(
                done,
                run=dataclasses.replace(done.run, configuration=item.configuration),
            )
            for item, done in zip(task, trained, strict=True)
        ]

    def _told(self, item: Item) -> tuple[float, ...]:
        """Returns the temperature and the labels' weight of an item."""
        return tuple(
            float(item.configuration.get(name, getattr(self.declared, name)))
            for name in OF_TEACHER
        )

    def _objective(self, item: Item) -> SoftTargets:
        temperature, weight = self._told(item)
        squared = self.declared.imitate == "logits"
        return SoftTargets(
            self.transfer.logits,
            "squared_error" if squared else "cross_entropy",
            temperature,
            self.transfer.labels,
            weight,
        )

    def _teach(self, item: Item) -> Finished:
        """Lets the ensemble answer the transfer set, then what it is measured on."""
        began = time.perf_counter()
        members: Any = item.configuration["members"]
        ensemble = self.ensemble(members)
        teacher = ensemble.digest()
        self.transfer.make(lambda inputs, _: ensemble.answers(inputs), teacher)
        problem = self.loops.problem
        seen, sealed = (
            problem.metric.reduce(_probabilities(ensemble.answers(x)))
            for x in (problem.x_validation, problem.x_test)
        )
        # Whoever goes on finds out whether its teacher is the one that answered.
        told = {**item.configuration, "weights": teacher}
        run = Run(
            **{**item.row, "configuration": told},
            validation=problem.metric.score(seen, problem.y_validation),
            parameters=sum(p.numel() for p in ensemble.parameters()),
            seconds=time.perf_counter() - began,
        )
        return Finished(run, sealed)

    def ensemble(self, members: Sequence[Mapping[str, Any]]) -> "Ensemble":
        """Returns teachers with their weights.

        Args:
            members: Their "arm", "pair" and "configuration"; a pair of -1: as built.
        """
        items = [Item(**member, seed=0, stage="search") for member in members]
        ensemble = Ensemble(
            {key(i.arm, i.pair, i.seed): self.restored(i) for i in items}, self.folder
        )
        return ensemble.to(self.loops.problem.device)

    def check_as_built(self, arm: str) -> None:
        """Makes sure that a teacher that is not trained answers for classes.

        Raises:
            ArmError: It cannot be built, or answers something else.
        """
        spec = self.loops.architectures[arm].spec
        x = torch.from_numpy(self.loops.problem.x_train[:2])
        try:
            with torch.no_grad():
                said = self.restored(Item(arm, -1, 0, "search", {}))(x)
        except FormError as error:
            raise ArmError(
                f"{spec}: {error.rule}", error.received, error.way_out
            ) from error
        except UserError:
            raise
        except Exception as error:  # a user's module may raise anything
            raise ArmError(
                f"{spec} answers for a batch of shape {tuple(x.shape)} as it is built",
                f"{type(error).__name__}: {error}",
                "Correct it, or let it be trained: --teacher-configurations 16.",
            ) from error
        if not torch.isfinite(said).all():
            raise ArmError(
                f"{spec} answers with finite numbers as it is built",
                f"{_infinite(said.float().numpy())} at the first training rows",
                "Correct it, or let it be trained: --teacher-configurations 16.",
            )

    def restored(self, item: Item, place: Path | None = None) -> torch.nn.Module:
        """Returns the module of a training with its weights, in evaluation mode.

        Args:
            item: The training; of a pair of -1 the module as it is built.
            place: The file of its weights; by default a teacher's.
        """
        if place is None and item.pair >= 0:
            place = place_of(self.folder, item)
        try:
            weights = None if place is None else place.read_bytes()
        except OSError as error:
            raise StudyError(
                "the weights of a training stay where they were written",
                f"{place}: {error.strerror}",
                "Put the file back, or begin in another folder (--study): what has been"
                " trained is not trained again in this one.",
            ) from error
        return tuned.restored(
            self.loops.architectures[item.arm],
            self.loops.inputs,
            self.loops.problem.num_outputs,
            item.configuration,
            self.loops.initial_seed(item.arm, *item.names),
            weights,
            torch.from_numpy(self.loops.problem.x_train[:2]),
        )


class Ensemble(torch.nn.Module):
    """The mean of what several networks answer, before the softmax.

    Args:
        members: The networks, by what they are called.
        folder: Of the study that asks them.
    """

    def __init__(self, members: Mapping[str, torch.nn.Module], folder: Path) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members.values())
        self._names = tuple(members)
        self._folder = folder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits, (N, classes)."""
        return torch.stack([member(x) for member in self.members]).mean(0)

    @torch.no_grad()
    def answers(self, inputs: Any) -> np.ndarray:
        """Returns (N, classes) float32 for N prepared inputs, some at a time.

        Raises:
            StudyError: One of them is NaN or infinity.
        """
        self.eval()
        held = itertools.chain(self.parameters(), self.buffers())
        device = next((tensor.device for tensor in held), "cpu")
        said = []
        for start in range(0, len(inputs), _AT_ONCE):
            x = torch.from_numpy(inputs[start : start + _AT_ONCE]).to(device)
            answered = self(x).float()
            if not torch.isfinite(answered).all():
                raise self._not_finite(x)
            said.append(answered.cpu().numpy())
        return np.concatenate(said)

    def digest(self) -> str:
        """Returns a SHA-256, in hexadecimal, of all weights and buffers."""
        found = hashlib.sha256()
        for name, tensor in (*self.named_parameters(), *self.named_buffers()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            whole = tensor.detach().cpu().contiguous().reshape(-1)
            found.update(whole.view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def _not_finite(self, x: torch.Tensor) -> StudyError:
        """Returns what says whose answers to inputs are no numbers to learn."""
        said = {
            name: member(x).float().cpu().numpy()
            for name, member in zip(self._names, self.members, strict=True)
        }
        guilty = [n for n, own in said.items() if not np.isfinite(own).all()]
        told = [f"{name} answers {_infinite(said[name])}" for name in guilty]
        return StudyError(
            "students learn finite numbers of their teacher",
            "; ".join(told) or f"the mean of {', '.join(said)} is infinite",
            "Correct it, or take another --teacher, and remove the study"
            f" (rm -r {shlex.quote(str(self._folder))}).",
        )


def labels_as_logits(classes: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns a teacher that says the label of each example, and no more."""
    even = np.full((classes, classes), -_SURE / classes, np.float32)
    said = even + np.float32(_SURE) * np.eye(classes, dtype=np.float32)
    return lambda _, labels: said[labels]


def place_of(folder: Path, item: Item | Run) -> Path:
    """Returns where the weights of a teacher are kept."""
    name = key(item.arm, item.pair, item.seed)
    return folder / "teachers" / f"{name_of(name)}.safetensors"


def bare(item: Item) -> Item:
    """Returns an item without what only says how it learns from its teacher."""
    configuration = {k: v for k, v in item.configuration.items() if k not in OF_TEACHER}
    return dataclasses.replace(item, configuration=configuration)


def _infinite(answers: np.ndarray) -> str:
    """Returns what answers hold that is no finite number."""
    wrong = answers[~np.isfinite(answers)]
    rows = int((~np.isfinite(answers)).any(axis=1).sum())
    kinds = sorted({"NaN" if np.isnan(value) else "infinity" for value in wrong})
    return f"{' and '.join(kinds)} for {rows:,} of {len(answers):,} examples"


def _probabilities(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = torch.from_numpy(logits).softmax(1).numpy()
    return found

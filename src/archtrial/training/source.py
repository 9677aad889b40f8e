"""Where batches come from: tensors in memory, or inputs that stay in files."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch

from archtrial import randomness
from archtrial.data.stored import Examples, Followed, Prepared
from archtrial.training import recipe
from archtrial.training.augmentation import Augmentation
from archtrial.training.problem import Job, Problem

__all__ = ["Batches", "InFiles", "Inputs", "Source", "Views", "unlabelled_batch"]


class InFiles:
    """Inputs that stay in files, to those who take a tensor (N, ...) apart.

    What is asked for is read, scaled and put on the device then, and has the bits that
    the tensor would have had.

    Args:
        prepared: The inputs.
        device: Where tensors are wanted.
    """

    def __init__(self, prepared: Prepared | Followed, device: str) -> None:
        self._prepared = prepared
        self._device = torch.device(device)

    @property
    def shape(self) -> torch.Size:
        """(N, ...)."""
        return torch.Size(self._prepared.shape)

    @property
    def is_cuda(self) -> bool:
        """Whether what is asked for is on a GPU."""
        return self._device.type == "cuda"

    def __len__(self) -> int:
        return len(self._prepared)

    def __getitem__(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """Returns the examples at places (...), in as many leading dimensions."""
        if isinstance(rows, slice):
            return self._placed(self._prepared[rows])
        read = self._prepared[rows.flatten().numpy()]
        return self._placed(read).view(*rows.shape, *read.shape[1:])

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """Yields the examples in order, as many at a time; see `torch.Tensor.split`."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def _placed(self, read: np.ndarray) -> torch.Tensor:
        examples = torch.from_numpy(read)
        if not self.is_cuda:
            return examples.to(self._device)
        # From pinned memory it is copied while the GPU is still at the step before.
        return examples.pin_memory().to(self._device, non_blocking=True)


Inputs: TypeAlias = torch.Tensor | InFiles


class Source:
    """A problem's inputs and targets, its targets as tensors on its device.

    Attributes:
        x_train: (N, ...), a tensor on the device, or in files.
        y_train: (N, ...), the objective's targets.
        x_validation: (M, ...).
        x_test: (T, ...).
        batch_size: Examples in a batch, at most N.
    """

    def __init__(self, problem: Problem) -> None:
        device = problem.device
        self.x_train = _within_reach(problem.x_train, device)
        self.x_validation = _within_reach(problem.x_validation, device)
        self.x_test = _within_reach(problem.x_test, device)
        self.y_train = problem.minimised().targets().to(device)
        self.batch_size = min(problem.batch_size, len(problem.x_train))

    def size_for(self, job: Job) -> int:
        """Returns how many examples a run's batches have: at most as many as it sees."""
        return min(
            self.batch_size, self.batch_size if job.rows is None else len(job.rows)
        )

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns copies of training examples and their targets.

        Args:
            rows: (runs, batch) places, on the CPU.
        """
        there = rows.to(self.y_train.device)
        x = self.x_train
        return x[rows if isinstance(x, InFiles) else there], self.y_train[there]


def _within_reach(examples: Examples | Followed, device: str) -> Inputs:
    if isinstance(examples, (Prepared, Followed)):
        return InFiles(examples, device)
    return torch.from_numpy(examples).to(device)


class Batches:
    """The batches of many runs one after another, without end.

    Args:
        problem: Its recipe says how examples are ordered and augmented.
        source: The problem's.
        jobs: Of the runs; each has its own order, and may have passed over a part.
    """

    def __init__(self, problem: Problem, source: Source, jobs: Sequence[Job]) -> None:
        self._source = source
        self._orders = [_order(problem, source, job) for job in jobs]
        # Runs that pass over as many batches as each other are augmented together.
        together = len({job.skip for job in jobs}) == 1
        parts = [jobs] if together else [[job] for job in jobs]
        self._augmentations = [_augmentation(problem, source, part) for part in parts]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs (runs, batch, ...) and targets (runs, batch, ...)."""
        rows = np.stack([next(order) for order in self._orders])
        x, y = self._source.batch(torch.from_numpy(rows))
        if len(self._augmentations) == 1:
            return self._augmentations[0](x), y
        changed = zip(self._augmentations, torch.split(x, 1), strict=True)
        return torch.cat([augment(own) for augment, own in changed]), y


def _order(problem: Problem, source: Source, job: Job) -> Iterator[np.ndarray]:
    """Returns the places of a run's training examples, (batch,) after (batch,)."""
    own = job.rows
    seen = len(source.x_train) if own is None else len(own)
    size = source.size_for(job)
    order = recipe.batches(problem.recipe, seen, size, job.order_seed)
    left = itertools.islice(order, job.skip, None)
    return left if own is None else (own[places] for places in left)


def _augmentation(
    problem: Problem, source: Source, jobs: Sequence[Job]
) -> Augmentation:
    """Returns the augmentation of runs that pass over equally many batches."""
    augmentation = Augmentation(
        problem.recipe.augmentation, [job.order_seed for job in jobs]
    )
    # What is drawn depends on the shape alone, and here nothing is computed from it.
    shape = (len(jobs), source.size_for(jobs[0]), *source.x_train.shape[1:])
    unseen = torch.empty(shape, device="meta")
    for _ in range(jobs[0].skip if problem.recipe.augmentation else 0):
        augmentation(unseen)
    return augmentation


class Views:
    """Examples without labels of many runs, changed weakly and strongly, without end.

    Each run has an order of its own, which follows from that of its labelled batches, so
    that procedures that are paired meet the same examples, changed in the same way.

    Args:
        problem: Its recipe's augmentation is the weak change, its procedure's the strong.
        jobs: Of the runs.
    """

    def __init__(self, problem: Problem, jobs: Sequence[Job]) -> None:
        assert problem.unlabelled is not None  # or the problem would have refused it
        declared = problem.recipe.procedure
        self._x = _within_reach(problem.unlabelled, problem.device)
        self._device = problem.device
        size = unlabelled_batch(problem, jobs[0])
        seeds = [randomness.seed(job.order_seed, "unlabelled") for job in jobs]
        self._orders = [
            recipe.batches(problem.recipe, len(self._x), size, seed) for seed in seeds
        ]
        self._weakly = Augmentation(problem.recipe.augmentation, seeds)
        again = [randomness.seed(job.order_seed, "strong") for job in jobs]
        self._strongly = Augmentation(declared.strong, again)
        self._compares = declared.compares_views

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs (runs, U, ...), changed weakly, and the same changed strongly.

        Where a procedure compares no views, both are changed weakly.
        """
        rows = torch.from_numpy(np.stack([next(order) for order in self._orders]))
        x = self._x
        read = x[rows if isinstance(x, InFiles) else rows.to(self._device)]
        weak = self._weakly(read)
        return weak, self._strongly(read) if self._compares else weak


def unlabelled_batch(problem: Problem, job: Job) -> int:
    """Returns how many examples without labels a batch of a run has."""
    assert problem.unlabelled is not None
    seen = len(problem.x_train) if job.rows is None else len(job.rows)
    labelled = min(problem.batch_size, seen)
    return min(labelled * problem.recipe.procedure.ratio, len(problem.unlabelled))

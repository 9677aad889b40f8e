"""Where batches come from."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from archtrial.training import recipe
from archtrial.training.augmentation import Augmentation
from archtrial.training.problem import Job, Problem

__all__ = ["Batches", "Source"]


class Source:
    """A problem's inputs and targets as tensors on its device.

    Attributes:
        x_train: (N, ...).
        y_train: (N, ...), the objective's targets.
        x_validation: (M, ...).
        x_test: (T, ...).
        batch_size: Examples in a batch, at most N.
    """

    def __init__(self, problem: Problem) -> None:
        device = problem.device
        self.x_train = torch.from_numpy(problem.x_train).to(device)
        self.x_validation = torch.from_numpy(problem.x_validation).to(device)
        self.x_test = torch.from_numpy(problem.x_test).to(device)
        self.y_train = problem.minimised().targets().to(device)
        self.batch_size = min(problem.batch_size, len(problem.x_train))


class Batches:
    """The batches of many runs one after another, without end.

    Args:
        problem: Its recipe says how examples are ordered and augmented.
        source: The problem's.
        jobs: Of the runs; each has its own order, and may have passed over a part.
    """

    def __init__(self, problem: Problem, source: Source, jobs: Sequence[Job]) -> None:
        self._source = source
        self._orders = [
            itertools.islice(
                recipe.batches(
                    problem.recipe,
                    len(source.x_train),
                    source.batch_size,
                    job.order_seed,
                ),
                job.skip,
                None,
            )
            for job in jobs
        ]
        # Runs that pass over as many batches as each other are augmented together.
        together = len({job.skip for job in jobs}) == 1
        parts = [jobs] if together else [[job] for job in jobs]
        self._augmentations = [_augmentation(problem, source, part) for part in parts]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs (runs, batch, ...) and targets (runs, batch, ...)."""
        rows = torch.from_numpy(np.stack([next(order) for order in self._orders]))
        rows = rows.to(self._source.x_train.device)
        x, y = self._source.x_train[rows], self._source.y_train[rows]  # copies
        if len(self._augmentations) == 1:
            return self._augmentations[0](x), y
        changed = zip(self._augmentations, torch.split(x, 1), strict=True)
        return torch.cat([augment(own) for augment, own in changed]), y


def _augmentation(
    problem: Problem, source: Source, jobs: Sequence[Job]
) -> Augmentation:
    """Returns the augmentation of runs that pass over equally many batches."""
    augmentation = Augmentation(
        problem.recipe.augmentation, [job.order_seed for job in jobs]
    )
    # What is drawn depends on the shape alone, and here nothing is computed from it.
    shape = (len(jobs), source.batch_size, *source.x_train.shape[1:])
    unseen = torch.empty(shape, device="meta")
    for _ in range(jobs[0].skip if problem.recipe.augmentation else 0):
        augmentation(unseen)
    return augmentation

"""The transfer set: what students see, and what their teacher says of it.

Inputs are augmented once and the teacher answers once. Both are kept in blocks, files
that are whole or not there, so that whoever goes on after an interruption computes no
answer again; and every student reads the same.
"""

import dataclasses
import functools
import hashlib
import io
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from archtrial import randomness
from archtrial.data.stored import Examples, Piece, Prepared, Stored
from archtrial.errors import StudyError
from archtrial.files import check, write
from archtrial.training.augmentation import Augmentation
from archtrial.training.problem import Problem

__all__ = ["TransferSet"]

_GIB = 2**30
# Values of a block's inputs: 64 MB. A kill costs the answers to as many.
_BLOCK = 2**24


@dataclasses.dataclass(frozen=True)
class TransferSet:
    """N = passes x (n + u) examples, of n training rows and u without labels.

    Args:
        folder: Where it is kept.
        problem: The training rows, and how they are augmented.
        unlabelled: (u, ...) more inputs, prepared as the training rows are.
        passes: How often each example is there, each time augmented anew.
        seed: The study's.
        memory: GiB that inputs may take in memory; larger ones are read from files.
    """

    folder: Path
    problem: Problem
    unlabelled: np.ndarray | None
    passes: int
    seed: int
    memory: float

    def __len__(self) -> int:
        return self.passes * self._once

    @property
    def _once(self) -> int:
        more = 0 if self.unlabelled is None else len(self.unlabelled)
        return len(self.problem.y_train) + more

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64 labels, -1 where there is none."""
        unknown = np.full(self._once - len(self.problem.y_train), -1)
        return np.tile(np.concatenate([self.problem.y_train, unknown]), self.passes)

    @functools.cached_property
    def inputs(self) -> Examples:
        """(N, *input_shape), of the data's dtype, in memory where there is room for them."""
        pieces = [_piece(self._file("inputs", i)) for i in range(len(self._blocks))]
        stored = Stored(tuple(pieces), tuple(self.problem.x_train.shape[1:]))
        whole = Prepared(stored, np.arange(len(self)), None, stored.dtype)
        taken = stored.dtype.itemsize * math.prod(whole.shape)
        return whole[:] if taken <= self.memory * _GIB else whole

    @functools.cached_property
    def labelled(self) -> Examples:
        """The inputs that have labels, in their order."""
        known = np.flatnonzero(self.labels >= 0)
        if isinstance(self.inputs, Prepared):
            return dataclasses.replace(self.inputs, rows=known)
        return self.inputs[known]

    @functools.cached_property
    def logits(self) -> np.ndarray:
        """(N, classes) float32, what the teacher says."""
        files = (self._file("logits", i) for i in range(len(self._blocks)))
        whole: np.ndarray = np.concatenate([np.load(file) for file in files])
        return whole

    def make(self, answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        """Writes what is not there yet; of blocks that are, nothing is computed again.

        Args:
            answer: From inputs (m, ...) and labels (m,) to logits (m, classes).

        Raises:
            StudyError: A block is not what was written.
        """
        self.check()
        for index, (number, rows) in enumerate(self._blocks):
            inputs, logits = (self._file(n, index) for n in ("inputs", "logits"))
            if not inputs.exists():
                self._write(inputs, self._augmented(number, rows))
            if not logits.exists():
                start = number * self._once + rows.start
                labels = self.labels[start : start + len(rows)]
                said = answer(np.load(inputs), labels)
                self._write(logits, said.astype(np.float32, copy=False))

    def check(self) -> None:
        """Makes sure that the blocks that are there are what was written.

        Raises:
            StudyError: One is not, or is a link.
        """
        for place in sorted(self.folder.glob("*.npy")):
            check(place, within=self.folder.parent)
            told = self._told(place)
            content = place.read_bytes()
            if not told.exists() or told.read_bytes() != _digest(content).encode():
                raise StudyError(
                    "the transfer set is what was written: each file has its checksum"
                    " beside it",
                    f"{place} is another one, of {len(content):,} bytes, or was cut off",
                    f"Remove it (rm {shlex.quote(str(place))}) and give the same command"
                    " again: what was in it is computed again, and nothing else.",
                )

    def _write(self, place: Path, values: np.ndarray) -> None:
        """Writes an array, its checksum first: a file that is there has one."""
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(values))
        content = buffer.getvalue()
        write(self._told(place), _digest(content), within=self.folder.parent)
        write(place, content, within=self.folder.parent)

    def _told(self, place: Path) -> Path:
        return place.with_suffix(".sha256")

    def _file(self, name: str, index: int) -> Path:
        return self.folder / f"{name}-{index:05}.npy"

    @functools.cached_property
    def _blocks(self) -> list[tuple[int, range]]:
        """Which pass and rows of it each block has."""
        size = max(1, _BLOCK // max(1, int(np.prod(self.problem.x_train.shape[1:]))))
        return [
            (number, range(start, min(start + size, self._once)))
            for number in range(self.passes)
            for start in range(0, self._once, size)
        ]

    def _augmented(self, number: int, rows: range) -> np.ndarray:
        """Returns a block's inputs."""
        n = len(self.problem.y_train)
        parts = [self.problem.x_train[rows.start : min(rows.stop, n)]]
        if self.unlabelled is not None and rows.stop > n:
            parts.append(self.unlabelled[max(0, rows.start - n) : rows.stop - n])
        seed = randomness.seed(self.seed, "transfer", number, rows.start)
        augment = Augmentation(self.problem.recipe.augmentation, [seed])
        x = torch.from_numpy(np.concatenate(parts)).unsqueeze(0)
        changed: np.ndarray = augment(x)[0].numpy()
        return changed


def _piece(path: Path) -> Piece:
    """Returns where an .npy file has its array."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0), version
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return Piece.of(path, file.tell(), dtype, shape)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

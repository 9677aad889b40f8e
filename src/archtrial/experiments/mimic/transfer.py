"""The transfer set: what students see, and what their teacher says of it.

Inputs are augmented once and the teacher answers once. Both are kept in blocks, files
that are whole or not there, so that whoever goes on after an interruption computes no
answer again; and every student reads the same.
"""

import dataclasses
import functools
import hashlib
import io
import itertools
import math
import shlex
import shutil
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
        study: What tells the study from every other one, its hash.
    """

    folder: Path
    problem: Problem
    unlabelled: np.ndarray | None
    passes: int
    seed: int
    memory: float
    study: str

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

    @property
    def size(self) -> int:
        """Bytes of all inputs and logits."""
        x = self.problem.x_train
        one = x.dtype.itemsize * math.prod(x.shape[1:]) + 4 * self.problem.num_outputs
        return len(self) * one

    def check_room(self) -> None:
        """Makes sure that the disk has room for what is not there yet.

        Raises:
            StudyError: It has not.
        """
        there = sum(p.stat().st_size for p in self.folder.glob("*.npy") if p.is_file())
        above = next(p for p in self.folder.absolute().parents if p.is_dir())
        free = shutil.disk_usage(above).free
        if self.size - there > free:
            raise StudyError(
                "the disk has room for the transfer set, which is made once and kept",
                f"{self.size / _GIB:,.1f} GiB ({len(self):,} examples,"
                f" {self.passes:,} of each), {free / _GIB:,.1f} GiB free at {above}",
                "Make room, or name a folder elsewhere (--study)"
                + (", or write --passes 1." if self.passes > 1 else "."),
            )

    def make(
        self, answer: Callable[[np.ndarray, np.ndarray], np.ndarray], teacher: str
    ) -> None:
        """Writes what is not there yet; of blocks that are, nothing is computed again.

        Args:
            answer: From inputs (m, ...) and labels (m,) to logits (m, classes).
            teacher: What tells who answers from every other teacher.

        Raises:
            StudyError: A block is not what was written, or of another study or teacher.
        """
        self.check(teacher)
        for index, (number, rows) in enumerate(self._blocks):
            inputs, logits = (self._file(n, index) for n in ("inputs", "logits"))
            if not inputs.exists():
                self._write(inputs, self._augmented(number, rows), self.study)
            if not logits.exists():
                start = number * self._once + rows.start
                labels = self.labels[start : start + len(rows)]
                said = answer(np.load(inputs), labels).astype(np.float32, copy=False)
                self._write(logits, said, self.study, teacher)

    def check(self, teacher: str | None = None) -> None:
        """Makes sure that the blocks that are there were written for this study.

        Args:
            teacher: As for `make`; None where it is not known yet.

        Raises:
            StudyError: One was not, or is not what was written, or is a link.
        """
        for name, index in itertools.product(
            ("inputs", "logits"), range(len(self._blocks))
        ):
            place = self._file(name, index)
            check(place, within=self.folder.parent)
            if not place.exists():
                continue
            content = place.read_bytes()
            told = self._told(place)
            lines = told.read_bytes().splitlines() if told.exists() else []
            if lines[:1] != [_digest(content).encode()]:
                raise StudyError(
                    "the transfer set is what was written: each file has its checksum"
                    " beside it",
                    f"{place} is another one, of {len(content):,} bytes, or was cut off",
                    f"Remove it (rm {shlex.quote(str(place))}) and give the same command"
                    " again: what was in it is computed again, and nothing else.",
                )
            # A block under another one's name is another one, too.
            of = f"{place.stem} of {self.study}".encode()
            answered = name == "logits" and teacher is not None
            other = answered and lines[2:] != [str(teacher).encode()]
            if lines[1:2] != [of] or other:
                whose = "teacher" if lines[1:2] == [of] else "study"
                raise StudyError(
                    "students learn from the transfer set of their own study and"
                    " teacher",
                    f"{place} was written for another {whose}",
                    f"Remove all of it (rm -r {shlex.quote(str(self.folder))}) and give"
                    " the same command again: it is made anew.",
                )

    def _write(self, place: Path, values: np.ndarray, *of: str) -> None:
        """Writes an array, first its checksum and whose it is: a file there has both."""
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(values))
        content = buffer.getvalue()
        told = "\n".join([_digest(content), f"{place.stem} of {of[0]}", *of[1:]])
        write(self._told(place), told, within=self.folder.parent)
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

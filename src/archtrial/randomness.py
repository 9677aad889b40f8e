"""Independent streams of random numbers, each from a name.

Nothing in archtrial reads global random state. Whoever needs chance asks for a
stream by saying what it is for; the same names give the same stream on every
machine, in every process, in any order of asking. Where a user's code draws from
the global generators, they are seeded for it and put back.

    >>> generator(0, "search", "learning_rate", 3).integers(100) == generator(
    ...     0, "search", "learning_rate", 3
    ... ).integers(100)
    np.True_
"""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["generator", "global_generators", "seed"]


def _digest(study_seed: int, purpose: str, names: tuple[str | int, ...]) -> bytes:
    # JSON keeps ("a", "b") apart from ("ab",) and "1" apart from 1.
    text = json.dumps([study_seed, purpose, *names])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def generator(study_seed: int, purpose: str, *names: str | int) -> np.random.Generator:
    """Returns the NumPy generator of one purpose.

    Args:
        study_seed: The seed that the protocol declares.
        purpose: What the numbers are for ("search", "order", "permutation").
        *names: What tells this stream from others of the same purpose, such
            as an arm's name and a configuration's index.
    """
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(_digest(study_seed, purpose, names), "little"))
    )


def seed(study_seed: int, purpose: str, *names: str | int) -> int:
    """Returns a seed in [0, 2^63) for libraries with generators of their own.

    The arguments are those of `generator`.
    """
    return int.from_bytes(_digest(study_seed, purpose, names)[:8], "little") >> 1


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Seeds the global generators of Python and NumPy, and puts them back at the end.

    Args:
        seed: From 0; equal seeds give equal numbers.
    """
    bits = np.random.MT19937(np.random.SeedSequence(seed))
    # NumPy's global generator is set by its state alone: users' code reads it.
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.set_state(dict(bits.state))  # noqa: NPY002
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002

"""Keyed tasks carried out, here or in several processes.

What a task's result is never depends on where it is carried out, nor on how many
others are: each runs in a process of the same kind with the same number of
threads. Only the order in which results come back differs.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import threadpoolctl
import torch

from archtrial.errors import StudyError
from archtrial.progress import Watch
from archtrial.records.store import Store
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["Crew", "Work", "as_sent", "ends_with_us", "few_threads"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Trainer = TypeVar("Trainer")

# What a process of the crew has started and must not leave behind.
_children: set[subprocess.Popen[str]] = set()
# The work of a process of the crew: made once, when the process starts.
_work: Callable[[Any], Any] | None = None


class Crew:
    """Those who carry out a study's tasks; a context manager.

    Args:
        setup: Makes the function that turns a task into its result. With several
            workers it is called once in each of them and must pickle.
        workers: How many processes; 1 means this one.
        threads: Of torch and of BLAS, for each task.
    """

    def __init__(
        self,
        setup: Callable[[], Callable[[Any], Any]],
        *,
        workers: int = 1,
        threads: int = 1,
    ) -> None:
        self._setup = setup
        self._workers = workers
        self._threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def __enter__(self) -> "Crew":
        if self._workers > 1:
            _check_it_pickles(self._setup)
            # A forked process would inherit locked locks of torch's threads.
            context = multiprocessing.get_context("spawn")
            end, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=context,
                initializer=_begin,
                initargs=(self._setup, self._threads, end),
            )
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None and self._lifeline is not None:
            if failure is None:
                self._pool.shutdown()  # nothing is under way: let them leave in order
            # Else what is under way is not recorded and starts whole next time.
            self._lifeline.close()
            self._pool.shutdown(cancel_futures=True)

    def carry_out(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yields (task, result) as they finish; what a task raises is raised.

        Raises:
            StudyError: A worker's process ended without a result, or a task did not
                fit into memory.
        """
        try:
            yield from self._here(tasks) if self._pool is None else self._there(tasks)
        except MemoryError as error:
            raise StudyError(
                "a task fits into memory",
                str(error) or "it did not",
                "What had finished is recorded. Give the same command again with fewer"
                " --workers, or on a machine with more memory.",
            ) from error

    def _here(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        with prints_to_errors():
            work = self._setup()
        for task in tasks:
            with few_threads(self._threads), prints_to_errors():
                result = work(task)
            yield task, result

    def _there(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        assert self._pool is not None
        try:
            with _uninterrupted():  # submitting is what starts the processes
                waiting = {self._pool.submit(_carry_out, task): task for task in tasks}
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            raise StudyError(
                "a worker's process lives until its work is done",
                "one was ended from outside, most often for want of memory",
                "What had finished is recorded. Give the same command again, with"
                " fewer --workers.",
            ) from error


@dataclasses.dataclass(frozen=True)
class Work:
    """Where a study's runs go, who carries them out, and who watches."""

    store: Store
    crew: Crew
    watch: Watch


def as_sent(trainer: Trainer) -> Trainer:
    """What each worker of a crew starts with: the trainer that was sent to it."""
    return trainer


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts an interruption off: a process that is half made would complain of it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def few_threads(count: int) -> Iterator[None]:
    """Gives torch and BLAS so many threads, for results that do not depend on the machine.

    Sums that are divided otherwise differ in their last digits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpoolctl.threadpool_limits(count, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


def _check_it_pickles(setup: Callable[[], Any]) -> None:
    try:
        pickle.dumps(setup)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise StudyError(
            "what several workers carry out can be sent to them",
            str(error),
            "Define it at the top of a module that can be imported, or take one worker.",
        ) from None


@contextlib.contextmanager
def ends_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends a process that was started here when this one ends, or is told to."""
    _children.add(process)
    try:
        yield
    finally:
        _children.discard(process)
        process.kill()
        process.wait()


def _begin(
    setup: Callable[[], Callable[[Any], Any]], threads: int, lifeline: Connection
) -> None:
    global _work
    # What a task prints, or a program that it starts, is no part of our answer.
    with contextlib.suppress(OSError, ValueError):  # without a standard error
        os.dup2(sys.stderr.fileno(), 1)
        sys.stdout = sys.stderr
    # The coordinator decides what an interruption means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(threads)
    _work = setup()
    # Now that what it needs is loaded: what is not there yet is not limited.
    threadpoolctl.threadpool_limits(threads, "blas")


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the coordinator has let go, however it went."""
    lifeline.poll(None)
    for process in list(_children):
        process.kill()
    os._exit(0)


def _carry_out(task: Any) -> Any:
    assert _work is not None
    return _work(task)

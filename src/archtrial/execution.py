"""Keyed tasks carried out, here or in several processes.

What a task's result is never depends on where it is carried out, nor on how many
others are: each runs in a process of the same kind with the same number of
threads. Only the order in which results come back differs.

Each process has a connection of its own: when it dies, at whatever moment, that
connection ends, and nobody waits for the rest of what it was saying.
"""

import abc
import collections
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Self, TypeVar

import threadpoolctl
import torch

from archtrial.errors import StudyError
from archtrial.zoo.userfile import prints_to_errors

__all__ = [
    "Executor",
    "InProcesses",
    "InThisProcess",
    "as_sent",
    "ends_with_us",
    "executor",
    "few_threads",
]

_log = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
Trainer = TypeVar("Trainer")

# What a worker's process has started and must not leave behind.
_children: set[subprocess.Popen[str]] = set()
# How long those who are told to leave may take, in seconds.
_PATIENCE = 10.0
# How often a task is tried again whose process was lost.
_RETRIES = 2


class Executor(abc.ABC):
    """Carries out keyed tasks; a context manager.

    What a cluster or a queue would need is another one of these, and nothing else.
    """

    @abc.abstractmethod
    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yields (task, result) as they finish; what a task raises is raised."""

    def carry_out(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yields (task, result) as they finish; what a task raises is raised.

        Raises:
            StudyError: A task's process was lost again and again, or a task did not
                fit into memory.
        """
        try:
            yield from self.results(tasks)
        except MemoryError as error:
            raise StudyError(
                "a task fits into memory",
                str(error) or "it did not",
                "What had finished is recorded. Give the same command again with fewer"
                " --workers, or on a machine with more memory.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Lets go of whatever carries out the tasks."""
        self.close(in_order=failure is None)

    @abc.abstractmethod
    def close(self, *, in_order: bool) -> None:
        """Lets everything end; at once, unless it is in order."""


def executor(
    setup: Callable[[], Callable[[Any], Any]], *, workers: int = 1, threads: int = 1
) -> Executor:
    """Returns who carries out a study's tasks on this machine.

    Args:
        setup: Makes the function that turns a task into its result. With several
            workers it is called once in each of them and must pickle.
        workers: How many processes; 1 means this one.
        threads: Of torch and of BLAS, for each task.
    """
    if workers == 1:
        return InThisProcess(setup, threads)
    return InProcesses(setup, workers, threads)


class InThisProcess(Executor):
    """Carries out one task after another, here."""

    def __init__(self, setup: Callable[[], Callable[[Any], Any]], threads: int) -> None:
        self._setup = setup
        self._threads = threads

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yields (task, result), in the order of the tasks."""
        with prints_to_errors():
            work = self._setup()
        for task in tasks:
            with few_threads(self._threads), prints_to_errors():
                result = work(task)
            yield task, result

    def close(self, *, in_order: bool) -> None:
        """Does nothing: nothing was started."""


class InProcesses(Executor):
    """Carries out tasks in several processes, any of which may be lost.

    A task whose process was lost is tried again in another one, twice.
    """

    def __init__(
        self, setup: Callable[[], Callable[[Any], Any]], workers: int, threads: int
    ) -> None:
        self._sent = _pickled(setup)
        self._workers = workers
        self._threads = threads
        self._members: list[_Member] = []
        # Ends in every process when this one does, however it does.
        self._lifeline: tuple[Connection, Connection] | None = None

    def close(self, *, in_order: bool) -> None:
        """Lets all processes end: at once, but with what they have started."""
        if self._lifeline is None:
            return
        members, self._members = self._members, []
        lifeline, self._lifeline = self._lifeline, None
        for member in members if in_order else ():
            member.connection.close()
        if not in_order:
            # What is under way is not recorded and starts whole next time.
            lifeline[1].close()
        until = time.monotonic() + (_PATIENCE if in_order else _PATIENCE / 4)
        try:
            for member in members:
                member.process.join(max(0.0, until - time.monotonic()))
        finally:  # also where somebody does not want to wait for it
            for member in members:
                member.process.kill()
        for member in members:
            member.process.join()
            member.connection.close()
        for end in lifeline:
            end.close()

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yields (task, result) as they finish."""
        waiting = collections.deque(range(len(tasks)))
        losses: collections.Counter[int] = collections.Counter()
        busy: dict[_Member, int] = {}
        finished: list[tuple[Task, Any]] = []
        failure: Exception | None = None
        try:
            while True:
                if failure is None:
                    self._start(min(self._workers, len(busy) + len(waiting)))
                    for member in self._members:
                        if waiting and member not in busy:
                            busy[member] = waiting.popleft()
                            member.send(pickle.dumps(tasks[busy[member]]))
                yield from finished
                finished = []
                if failure is not None:
                    raise failure
                if not busy:
                    return
                ready = wait([member.connection for member in busy], timeout=1.0)
                for member in list(busy):
                    if member.connection not in ready and member.lives():
                        continue
                    index = busy.pop(member)
                    try:
                        finished.append((tasks[index], member.result()))
                    except _LostError as lost:
                        self._remove(member)
                        losses[index] += 1
                        if losses[index] > _RETRIES:
                            failure = lost.told(losses[index])
                            break
                        _log.warning("%s; its task is tried again", lost)
                        waiting.append(index)
                    except Exception as error:  # what a task raises is anything
                        failure = error
                        break
        finally:
            if busy:  # nobody is left who would take their results
                self.close(in_order=False)

    def _remove(self, member: "_Member") -> None:
        self._members.remove(member)
        member.process.kill()
        member.process.join()
        member.connection.close()

    def _start(self, count: int) -> None:
        # A forked process would inherit locked locks of torch's threads.
        context = multiprocessing.get_context("spawn")
        if self._lifeline is None:
            self._lifeline = context.Pipe(duplex=False)
        new = []
        while len(self._members) < count:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, self._threads, self._lifeline[0])
            )
            member = _Member(process, ours)
            with _uninterrupted():
                process.start()
                self._members.append(member)
            # Else its death would not end the connection.
            theirs.close()
            new.append(member)
        # What starts a process is small; what it works with is not, and goes by a
        # connection that ends with it.
        for member in new:
            member.send(self._sent)


@dataclasses.dataclass(frozen=True, eq=False)
class _Member:
    """A worker's process, as its coordinator sees it."""

    process: Any
    connection: Connection

    def send(self, content: bytes) -> None:
        # That it has ended is found where its result is waited for.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(content)

    def lives(self) -> bool:
        """Says whether it may still answer, whoever else holds its connection."""
        return self.process.is_alive() or self.connection.poll()

    def result(self) -> Any:
        """Returns a task's result, or raises what the task raised.

        Raises:
            _LostError: The process has ended.
        """
        try:
            if not self.lives():
                raise EOFError
            content = self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            self.process.join(_PATIENCE)
            raise _LostError(self.process.exitcode) from error
        done, result = pickle.loads(content)  # noqa: S301 - from a process of ours
        if not done:
            raise result
        return result


class _LostError(Exception):
    """A worker's process ended before its task did."""

    def __init__(self, status: int | None) -> None:
        if status is None:
            how = "a worker closed its connection"
        elif status < 0:
            how = (
                f"a worker was ended from outside ({signal.Signals(-status).name}), most"
                " often for want of memory"
            )
        else:
            how = f"a worker ended with status {status}; what it printed says why"
        super().__init__(how)

    def told(self, times: int) -> StudyError:
        """Returns the error of a task that was tried so many times."""
        return StudyError(
            "a worker's process lives until its work is done",
            f"{self}; the same task was tried {times} times",
            "What had finished is recorded. Give the same command again, with"
            " fewer --workers.",
        )


def as_sent(trainer: Trainer) -> Trainer:
    """What each worker starts with: the trainer that was sent to it."""
    return trainer


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts an interruption off: a process that is half made would complain of it.

    It is masked for the process that is made, which inherits the mask, and remembered
    here, where another thread may be the one that gets it.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Its own start, which the first of ours would bring, takes the mask off.
    resource_tracker.ensure_running()
    told: list[int] = []
    handlers: dict[int, Any] = {}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _INTERRUPTIONS:
                handlers[number] = signal.signal(number, lambda n, _: told.append(n))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for number in told[:1]:
        signal.raise_signal(number)


_INTERRUPTIONS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


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


def _pickled(setup: Callable[[], Any]) -> bytes:
    try:
        return pickle.dumps(setup)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise StudyError(
            "what several workers carry out can be sent to them",
            str(error),
            "Define it at the top of a module that can be imported, or take one worker.",
        ) from None


@contextlib.contextmanager
def ends_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends a process that was started here when this one ends, or is told to.

    Where it leads a group (`start_new_session`), what it has started ends with it.
    """
    _children.add(process)
    try:
        yield
    finally:
        _children.discard(process)
        _end(process)
        process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    # It is not waited for yet, so that its number is still its own.
    if hasattr(os, "killpg") and os.getpgid(process.pid) == process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _serve(connection: Connection, threads: int, lifeline: Connection) -> None:
    """Carries out tasks that come through a connection, until it ends."""
    # What a task prints, or a program that it starts, is no part of our answer.
    with contextlib.suppress(OSError, ValueError):  # without a standard error
        os.dup2(sys.stderr.fileno(), 1)
        sys.stdout = sys.stderr
    # The coordinator decides what an interruption means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: _leave(128 + number))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if hasattr(os, "register_at_fork"):
        # Else what a task forks would keep the connection open when this one dies.
        os.register_at_fork(after_in_child=connection.close)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        content = connection.recv_bytes()
        try:
            work = pickle.loads(content)()  # noqa: S301 - from our coordinator
        except Exception as error:
            _answer(connection, False, _unusable(error))
            return
        del content
        # Now that what it needs is loaded: what is not there yet is not limited.
        threadpoolctl.threadpool_limits(threads, "blas")
        while True:
            task = pickle.loads(connection.recv_bytes())  # noqa: S301 - as above
            try:
                result = work(task)
            except Exception as error:
                error.add_note(f"In a worker:\n{traceback.format_exc()}")
                _answer(connection, False, error)
            else:
                _answer(connection, True, result)
    except (EOFError, ConnectionError):
        return  # the coordinator needs nobody any more


def _unusable(error: Exception) -> Exception:
    if isinstance(error, MemoryError):
        return error
    return StudyError(
        "what several workers carry out can be loaded by them",
        f"{type(error).__name__}: {error}",
        "Define it at the top of a module that can be imported, or take one worker.",
    )


def _answer(connection: Connection, done: bool, result: Any) -> None:
    try:
        content = pickle.dumps((done, result))
        if not done:
            # Many an error cannot be made again from its message.
            pickle.loads(content)  # noqa: S301 - ours
    except Exception as error:
        words = "".join(traceback.format_exception_only(error if done else result))
        content = pickle.dumps((False, RuntimeError(words.strip())))
    connection.send_bytes(content)


def _end_with(lifeline: Connection) -> None:
    """Ends this process when the coordinator has let go, however it went."""
    lifeline.poll(None)
    _leave(0)


def _leave(status: int) -> None:
    for process in list(_children):
        _end(process)
    os._exit(status)

"""From the program's arguments to its exit status, whatever happens on the way."""

import contextlib
import errno
import io
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import typer

from archtrial.console import output
from archtrial.errors import UserError, printable

__all__ = ["called", "main"]

# typer carries a copy of click in some versions and imports it in others.
_UsageError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def main(program: Callable[[list[str]], typer.Typer]) -> None:
    """Runs the command line and turns what went wrong into an exit status.

    0: done, whatever the verdict. 1: our fault. 2: the user's input is wrong, or what
    was found cannot be written. 130: interrupted; 143 and 129: told to end, by SIGTERM
    and by a terminal that was closed. 141: whoever read the output has left.

    Args:
        program: Returns the command line for some arguments.
    """
    _prepare_streams()
    arguments = sys.argv[1:]
    told: list[int] = []
    with _signals(told):
        try:
            status = called(program(arguments), arguments)
        except _ClosedPipeError:
            status = 128 + 13
        except BaseException:
            if not told:
                raise
            status = 128 + told[0]
        # typer makes a status of an interruption where it is the first to know.
        if told or status == _INTERRUPTED:
            for number in told:
                signal.signal(number, signal.SIG_IGN)
            status = 128 + told[0] if told else _INTERRUPTED
            name = "Interrupted"
            if status != _INTERRUPTED:
                name = f"Ended by {signal.Signals(told[0]).name}"
            again = shlex.join(["archtrial", *arguments])
            # The terminal itself may be what is gone.
            with contextlib.suppress(OSError):
                output.say(f"\n{name}. To go on: {again}")
    sys.exit(_flushed(status))


_INTERRUPTED = 130
_NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class _EndedError(BaseException):
    """The process was told to end."""


class _ClosedPipeError(BaseException):
    """Nobody reads the output any more."""


def called(app: typer.Typer, arguments: list[str]) -> int:
    """Calls a command; returns the exit status."""
    try:
        return app(arguments, standalone_mode=False) or 0
    except _UsageError as error:
        said = io.StringIO()
        error.show(file=said)
        output.say(said.getvalue().rstrip("\n"))
    except UserError as error:
        if "--traceback" in arguments:
            output.say(traceback.format_exc())
        output.say(f"archtrial: {error}")
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError as error:
        raise _ClosedPipeError from error
    except OSError as error:
        if error.errno in _NO_NAME and error.filename is not None:
            name = printable(str(error.filename)[:60])
            output.say(
                f"archtrial: a file can have the name: {name}...: {error.strerror}"
            )
            return 2
        # A file would have a name.
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        output.say(f"archtrial: the output can be written: {error.strerror}")
    except SystemExit as error:
        # typer's and rich's answer to a closed pipe.
        if isinstance(error.__context__, BrokenPipeError):
            raise _ClosedPipeError from error
        raise
    return 2


@contextlib.contextmanager
def _signals(told: list[int]) -> Iterator[None]:
    """Lets whatever is under way be left in order when the process is told to end.

    Args:
        told: Gets the numbers of the signals that came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: Any) -> None:
        told.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else _EndedError

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # nohup and a shell's background have some ignored; that stays.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        if not told:
            for number, handler in before.items():
                signal.signal(number, handler)


def _prepare_streams() -> None:
    """Makes sure that there is something to print to, whatever it can encode."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened, such as a store, would be taken for
            # it. The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flushed(status: int) -> int:
    """Prints what is not printed yet; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python would try again at its very end, and complain.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                status = status or 128 + 13
            elif not status:
                with contextlib.suppress(OSError):
                    output.say(
                        f"archtrial: the output can be written: {error.strerror}"
                    )
                status = 2
    return status

"""What a user can do wrong.

Every message has the same three parts: the rule that was broken, the value
that was received, and the way out. The command line prints it as it is and
exits with status 2; the Python API raises it. Names in it come from files that others
made, so that no character of a message commands the terminal that shows it.
"""

import contextlib
import unicodedata
from collections.abc import Callable, Iterator

__all__ = [
    "ArmError",
    "DataError",
    "FormError",
    "ProtocolError",
    "RecordsError",
    "StudyError",
    "UserError",
    "asked_together",
    "is_out_of_memory",
    "printable",
]


def printable(text: str) -> str:
    """Returns a text in which no character commands the terminal that shows it.

    Control characters, marks that turn the direction of writing round, halves of
    surrogate pairs and what Unicode has not assigned become U+FFFD; lines stay lines.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        or character in "\n\u200c\u200d"  # joiners, which Persian and Hindi need
        or unicodedata.category(character) == "Zs"
        else " "
        if character == "\t"
        else "\ufffd"
        for character in text
    )


class UserError(Exception):
    """The user's input cannot be used as it is.

    Args:
        rule: What must hold, as a statement ("effort is at most n / 4").
        received: What was found instead, or an empty string where the rule
            already says it.
        way_out: What the user can do now.
    """

    def __init__(self, rule: str, received: str = "", way_out: str = "") -> None:
        self.rule = rule
        self.received = received
        self.way_out = way_out
        super().__init__(rule, received, way_out)

    def __str__(self) -> str:
        first = f"{self.rule}: {self.received}" if self.received else self.rule
        return printable(f"{first}\n{self.way_out}" if self.way_out else first)


class ProtocolError(UserError):
    """A protocol, or an option of the command line, that cannot be carried out."""


class DataError(UserError):
    """Data that cannot be read, or that no honest study can be built on."""


@contextlib.contextmanager
def asked_together() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Asks in one message what several steps ask, so that nobody asks in turns.

        with asked_together() as step:
            with step():
                ...
            with step():
                ...

    Raises:
        UserError: At least one step did; its class is the first one's.
    """
    asked: list[UserError] = []

    @contextlib.contextmanager
    def step() -> Iterator[None]:
        try:
            yield
        except UserError as error:
            if str(error) not in map(str, asked):
                asked.append(error)

    yield step
    if len(asked) == 1:
        raise asked[0]
    if asked:
        raise type(asked[0])(
            "; and ".join(error.rule for error in asked),
            "; and ".join(error.received for error in asked if error.received),
            " ".join(error.way_out for error in asked if error.way_out),
        )


class ArmError(UserError):
    """An architecture that cannot be found, built or called."""


class FormError(ArmError):
    """What a module returns or does to its parameters fits no training.

    It follows from how the module is written and not from a run's configuration.
    """


class RecordsError(UserError):
    """A store or a table of runs that cannot be read."""


class StudyError(UserError):
    """A study that cannot go on: another protocol, a full disk, all runs failed."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, whatever its class."""
    if isinstance(error, MemoryError):
        return True
    # Torch has a class of its own, which is known by its name since nothing here loads
    # torch; and on the CPU it has none, and says so in these words.
    words = ("DefaultCPUAllocator", "alloc_cpu", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError) and (
        any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
        or any(word in str(error) for word in words)
    )

"""What a command prints, on which stream.

All that is printed goes through this file. What others wrote, such as the name of an arm
or of a column, does not command the terminal.
"""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archtrial.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "console", "print_json", "say", "show", "show_json"]


class Progress:
    """Shows a study's standing on a terminal; elsewhere nothing."""

    def __enter__(self) -> "Progress":
        from rich.live import Live

        terminal = console(to_errors=True)
        self._live = (
            Live(console=terminal, transient=True) if terminal.is_terminal else None
        )
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, standing: Any) -> None:
        """Shows a `progress.Standing`."""
        if self._live is not None:
            from archtrial.report import terminal

            self._live.update(_Plain(terminal.standing(standing)))


def say(line: str) -> None:
    """Prints a line to standard error."""
    print(printable(line), file=sys.stderr)


def show(value: Any) -> None:
    """Prints a result."""
    print(printable(str(value)))


def print_json(value: Any) -> None:
    """Prints a result as JSON."""
    show_json(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def show_json(text: str) -> None:
    """Prints a JSON document: what a terminal or its encoding cannot have is escaped."""
    encoding = sys.stdout.encoding or "ascii"

    def escaped(character: str) -> str:
        if character in "\n\t\r" or (
            printable(character) == character
            and character.encode(encoding, "ignore").decode(encoding) == character
        ):
            return character
        units = character.encode("utf-16-be", "surrogatepass")
        pairs = (units[i : i + 2].hex() for i in range(0, len(units), 2))
        return "".join(f"\\u{unit}" for unit in pairs)

    # Beyond ASCII, and so only within strings.
    sys.stdout.write(
        text if text.isascii() and "\x7f" not in text else "".join(map(escaped, text))
    )


class _Plain:
    """Something that rich renders, without characters that command the terminal."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: "Console", options: Any) -> Iterator[Any]:
        from rich.segment import Segment

        for segment in console.render(self.inner, options):
            yield (
                segment
                if segment.control
                else Segment(printable(segment.text), segment.style)
            )


class _PlainHook:
    """Makes all plain that a console prints."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Plain(one) for one in renderables]


def console(*, to_errors: bool = False) -> "Console":
    """Returns where tables and lines with colours go."""
    from rich.console import Console

    made = Console(stderr=to_errors, highlight=False)
    if made.width < 20:  # as where COLUMNS is 0: nothing would be printed
        made = Console(stderr=to_errors, highlight=False, width=80)
    made.push_render_hook(_PlainHook())  # type: ignore[arg-type]
    return made

"""The command line: each command parses, calls and prints.

Nothing heavy is imported before a command needs it: `--help` and `judge` never load
torch.
"""

from collections.abc import Collection
from importlib import metadata
from typing import Annotated

import typer

from archtrial.cli import folders, judging, simulating, starting, trials
from archtrial.console import output, process
from archtrial.console.options import command
from archtrial.experiments.choose.command import choose
from archtrial.experiments.mimic.command import mimic
from archtrial.experiments.mpl.command import mpl
from archtrial.experiments.profile.command import profile
from archtrial.experiments.relax.command import relax
from archtrial.experiments.scale.command import scale

__all__ = ["main", "program"]

_COMMANDS = (
    *(trials.run, trials.plan, judging.judge, choose, profile, relax, mimic, mpl),
    *(scale, simulating.calibrate, folders.status, folders.report),
    *(starting.zoo, starting.init),
)


def program(arguments: Collection[str] | None = None) -> typer.Typer:
    """Returns the command line.

    Args:
        arguments: The only ones that it will be called with: commands that these do not
            name come without all of their options, which take time to load.
    """
    app = typer.Typer(
        name="archtrial",
        help="Controlled trials for neural network architectures: is it the"
        " architecture, or just the tuning?",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    for function in _COMMANDS:
        whole = arguments is None or function.__name__ in arguments
        command(app, function, whole=whole)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        output.show(f"archtrial {metadata.version('archtrial')}")
        raise typer.Exit


def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    process.main(program)

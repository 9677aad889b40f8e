"""Where to start: the architectures that there are, and a protocol to fill in."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from archtrial.console import output
from archtrial.console.options import AsJson
from archtrial.errors import ProtocolError
from archtrial.files import write

__all__ = ["init", "zoo"]


def zoo(
    name: Annotated[str | None, typer.Argument(help="One family or variant.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the family tree into this .svg or .png.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The families of architectures; of one name its options, variants and space."""
    from archtrial.zoo import catalogue

    if figure is not None:
        from archtrial.report import drawing
        from archtrial.zoo import picture

        if name is not None:
            raise ProtocolError(
                "the tree has all families", f"--figure with {name}", "Leave one out."
            )
        drawing.save(picture.draw(), figure)
        if not as_json:
            output.show(f"figure: {figure}")
            return
    if as_json:
        output.print_json(catalogue.described(name))
        return
    for line in catalogue.table() if name is None else catalogue.page(name):
        output.show(line)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path(
        "trial.toml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented protocol to start from."""
    from archtrial import protocol as room

    if path.exists():
        raise ProtocolError(
            "init writes a new file", f"{path} exists", "Name another one."
        )
    write(path, room.template())
    if as_json:
        output.print_json({"protocol": str(path)})
    else:
        output.show(f"{path}\nEdit it, then: archtrial run {shlex.quote(str(path))}")

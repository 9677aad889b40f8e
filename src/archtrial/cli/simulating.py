"""How often verdicts are wrong, by simulation."""

from pathlib import Path
from typing import Annotated, Any

import typer

from archtrial.console import output
from archtrial.console.beginning import cores
from archtrial.console.options import AsJson, Seed, declares

__all__ = ["calibrate"]


@declares(
    "archtrial.protocol:Protocol", "configurations", "effort", "margin", "sampling"
)
def calibrate(
    declared: dict[str, Any],
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROTOCOL|STUDY",
            help="A protocol in TOML, or a study's folder, whose records then say how"
            " scores vary; without either, what the options say.",
        ),
    ] = None,
    spread: Annotated[
        list[float] | None,
        typer.Option(
            help="Standard deviation of scores over configurations: .1. Given twice,"
            " like those below: of the baseline, of the challenger."
        ),
    ] = None,
    seed_spread: Annotated[
        list[float] | None, typer.Option(help="The same over seeds: .01.")
    ] = None,
    diverging: Annotated[
        list[float] | None, typer.Option(help="The share of draws that diverge: 0.")
    ] = None,
    failing_seeds: Annotated[
        list[float] | None,
        typer.Option(help="The share of seeds that end at the constant predictor: 0."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="What a validation score adds, standard deviation: .01."),
    ] = None,
    correlation: Annotated[
        float | None,
        typer.Option(help="Of the arms' scores on shared draws, without noise: .9."),
    ] = None,
    test_size: Annotated[
        int | None,
        typer.Option(help="Test examples; by default test scores are exact."),
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="The arms do not share their draws.")
    ] = False,
    effect: Annotated[
        list[float] | None,
        typer.Option(
            help="A true gain to simulate; may be given several times. By default"
            " multiples of the margin, until one is claimed in 80 % of studies."
        ),
    ] = None,
    studies: Annotated[
        int, typer.Option(help="Simulated studies of each true gain.", min=1)
    ] = 400,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; the results do not depend on it.", min=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How often a study of this design would be wrong, and what it would see."""
    from archtrial import calibration as room

    setting, notes = room.design(
        source,
        spread=spread,
        seed_spread=seed_spread,
        noise=noise,
        diverging=diverging,
        failing_seeds=failing_seeds,
        correlation=correlation,
        test_size=test_size,
        unpaired=unpaired,
        **declared,
    )
    found = room.calibrate(
        setting,
        effects=effect,
        studies=studies,
        seed=0 if seed is None else seed,
        workers=workers or cores(),
        notes=notes,
    )
    output.say(f"{found.seconds:.0f} seconds")
    if as_json:
        output.print_json(found.to_dict())
    else:
        output.show(found)

"""archtrial choose."""

from typing import Annotated, Any

import typer

from archtrial.console import output
from archtrial.console.beginning import workers_for
from archtrial.console.experiments import asked, conclude, show_notes
from archtrial.console.options import (
    DATA,
    AsJson,
    Source,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.errors import ProtocolError
from archtrial.experiments import choose as room

__all__ = ["choose"]


@declares(
    "archtrial.experiments.choose.protocol:Protocol",
    *("budget", "arms", "max_parameters", "max_flops", "max_latency", "max_memory"),
    *(*DATA, "steps", "epochs", "metric", "margin", "alpha"),
    *("effort", "confirm_seeds", "seed", "threads", "device"),
)
def choose(
    declared: dict[str, Any],
    source: Source = None,
    study: StudyFolder = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop after the plan of the time.")
    ] = False,
    scale_up: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Then make what was taken larger, as far as this time pays for, such as"
            " 30m: along depth, width and resolution, alone and together.",
        ),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Which architecture to start from? The simplest within the margin of the best.

    archtrial choose mnist1d --budget 10m

    archtrial choose my.csv --target price --arm linear --arm mlp --arm net.py:Net
    """
    protocol = asked(
        "choose", room.Protocol, source, study, declared, trust=trust, load=room.load
    )
    if scale_up is not None:
        from archtrial.experiments.choose.protocol import seconds_of

        seconds_of(
            scale_up, "--scale-up"
        )  # before the choice, which takes its own time
        if as_json:
            raise ProtocolError(
                "--json prints one document",
                f"--json beside --scale-up {scale_up}",
                "Leave --json out: each study has a verdict.json in its folder.",
            )
    processes = workers or workers_for(protocol)
    experiment = room.Study(protocol, study, workers=processes)
    show_notes(experiment)
    if dry_run:
        if as_json:
            output.print_json({"protocol": experiment.resolved})
        return
    conclude(experiment, processes, as_json)
    if scale_up is not None:
        from archtrial.experiments.choose.growing import grown

        larger = grown(experiment, scale_up)
        output.say(
            f"note: scaling up to phi = {larger.protocol.phi} in {larger.folder}; what"
            " has begun there goes on as it began, whatever the time."
        )
        show_notes(larger)
        conclude(larger, processes, as_json)

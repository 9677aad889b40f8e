"""archtrial mpl."""

from typing import Annotated, Any

import typer

from archtrial.console import output
from archtrial.console.experiments import asked, conclude, show_forecast
from archtrial.console.options import (
    DATA,
    AsJson,
    Source,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.experiments import mpl as room

__all__ = ["mpl"]


@declares(
    "archtrial.experiments.mpl.protocol:Protocol",
    *("labels", "unlabelled", "architecture", "procedures", "weak", "strong", *DATA),
    *("steps", "epochs", "batch_size", "effort", "configurations", "confirm_seeds"),
    *("metric", "margin", "seed", "device"),
)
def mpl(
    declared: dict[str, Any],
    source: Source = None,
    study: StudyFolder = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Stop after the procedures and their cost."),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Does a teacher that learns from its student teach better, with few labels?

    archtrial mpl mnist1d --labels 400

    archtrial mpl my.npz --labels 1000 --architecture net.py:Net --strong shift --strong noise
    """
    protocol = asked(
        "mpl", room.Protocol, source, study, declared, trust=trust, load=room.load
    )
    experiment = room.Study(protocol, study)
    for note in experiment.notes:
        output.say(f"note: {note}")
    if dry_run:
        show_forecast(experiment, as_json)
    else:
        conclude(experiment, workers, as_json)

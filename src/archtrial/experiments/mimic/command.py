"""archtrial mimic."""

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
from archtrial.experiments import mimic as room

__all__ = ["mimic"]


@declares(
    "archtrial.experiments.mimic.protocol:Protocol",
    *("teacher", "students", "layouts", "budgets", *DATA, "steps", "epochs"),
    *("teacher_configurations", "ensemble", "imitate", "temperature", "label_weight"),
    *("passes", "unlabelled", "tuner", "effort", "searches", "configurations"),
    *("confirm_seeds", "metric", "margin", "seed", "device"),
)
def mimic(
    declared: dict[str, Any],
    source: Source = None,
    study: StudyFolder = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop after the students and their cost.")
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Need they be deep and convolutional? Students of a teacher, and without one.

    archtrial mimic mnist1d --layout mlp2 --layout conv1 --layout conv3

    archtrial mimic my.npz --teacher net.py:Deep --student lenet --student net.py:Small
    """
    protocol = asked(
        "mimic", room.Protocol, source, study, declared, trust=trust, load=room.load
    )
    experiment = room.Study(protocol, study)
    for note in experiment.notes:
        output.say(f"note: {note}")
    if dry_run:
        show_forecast(experiment, as_json)
    else:
        conclude(experiment, workers, as_json)

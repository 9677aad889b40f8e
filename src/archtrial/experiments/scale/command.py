"""archtrial scale."""

from typing import Any

from archtrial.console.experiments import asked, forecast_or_conclude
from archtrial.console.options import (
    DATA,
    AsJson,
    DryRun,
    Source,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.experiments import scale as room

__all__ = ["scale"]


@declares(
    "archtrial.experiments.scale.protocol:Protocol",
    *("architecture", "depth", "width", "resolution", "growth", "phi", "grid"),
    *("grid_seeds", *DATA, "steps", "epochs", "effort", "configurations"),
    *("confirm_seeds", "metric", "margin", "seed", "device"),
)
def scale(
    declared: dict[str, Any],
    source: Source = None,
    study: StudyFolder = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Do depth, width and resolution grow best together, at equal FLOPs?

    archtrial scale mnist1d --architecture cnn

    archtrial scale my.npz --architecture 'net.py:Net' --depth blocks --width channels
    """
    protocol = asked(
        "scale", room.Protocol, source, study, declared, trust=trust, load=room.load
    )
    experiment = room.Study(protocol, study)
    forecast_or_conclude(experiment, workers, dry_run, as_json)

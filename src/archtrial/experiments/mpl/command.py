"""archtrial mpl."""

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
    dry_run: DryRun = False,
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
    forecast_or_conclude(experiment, workers, dry_run, as_json)

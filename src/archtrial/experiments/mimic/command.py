"""archtrial mimic."""

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
    dry_run: DryRun = False,
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
    forecast_or_conclude(experiment, workers, dry_run, as_json)

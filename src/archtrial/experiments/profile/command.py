"""archtrial profile."""

from typing import Annotated, Any

import typer

from archtrial.console.experiments import asked, conclude, show_notes
from archtrial.console.options import (
    DATA,
    AsJson,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.experiments import profile as room

__all__ = ["profile"]


@declares(
    "archtrial.experiments.profile.protocol:Protocol",
    *(
        "only",
        *DATA,
        "steps",
        "epochs",
        "learning_rates",
        "seeds",
        "configurations",
        "target_score",
    ),
    *("metric", "seed", "device"),
)
def profile(
    declared: dict[str, Any],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]SPEC...|PROTOCOL",
            help="Architectures: zoo names or net.py:Net, with (options); or a protocol"
            " in TOML.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="A built-in data set's name or a path."),
    ] = None,
    study: StudyFolder = None,
    workers: Workers = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """What do architectures cost, and what can they do? Measured side by side.

    archtrial profile linear mlp cnn --data mnist1d --only cost

    archtrial profile cnn wide=cnn(width=64) net.py:Net --data my.npz
    """
    given = declared if data is None else {**declared, "data": data}
    source = None
    if names and names[0].endswith(".toml") and not names[1:]:
        source = names[0]
    elif names:
        given, source = {**given, "architectures": tuple(names)}, ""
    protocol = asked(
        "profile",
        room.Protocol,
        source,
        study,
        given,
        trust=trust,
        load=room.load,
        default=None,
        example="mlp cnn --data mnist1d",
    )
    experiment = room.Study(protocol, study)
    show_notes(experiment)
    conclude(experiment, workers, as_json)

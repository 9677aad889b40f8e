"""How any study begins or goes on: whether its code may run, how many processes."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archtrial.console import output
from archtrial.errors import StudyError

if TYPE_CHECKING:
    from archtrial.protocol import Arm, OnData

__all__ = ["ask_for_trust", "cores", "workers_for"]


def ask_for_trust(
    verb: str,
    study: Path,
    sources: Mapping[Any, str | None],
    arms: "Sequence[Arm]",
    command: str | None,
    trust: bool,
    more: str = "",
    losses: Sequence[tuple[str | None, str | None]] = (),
) -> None:
    """Shows what a folder names and somebody else may have written, before it runs."""
    from archtrial.zoo import trust as trusted

    found = []
    if command is not None:
        found.append(f"the command {command}")
    for arm in arms if command is None else ():
        spec = str(arm.architecture)
        why = trusted.objection(spec, sources.get(arm.name), study)
        if why is not None:
            found.append(f"{arm.name} = {trusted.shown(spec, arm.options)}: {why}")
    for loss, source in losses:
        why = None
        if loss is not None:
            why = trusted.objection_to_loss(loss, source, study)
        if why is not None:
            found.append(f"loss = {loss}: {why}")
    if not found:
        return
    if trust:
        for line in found:
            output.say(f"trusted: {line}")
        return
    raise StudyError(
        "what a study's folder names runs only when it is trusted",
        "\n  ".join(["", *found]) if found[1:] else found[0],
        f"Look at it; then: archtrial {verb} --study {shlex.quote(str(study))}{more}"
        " --trust",
    )


def workers_for(declared: "OnData") -> int:
    """As many trainings at once as there are cores for; one on a GPU."""
    if declared.device != "cpu":
        return 1
    return max(1, cores() // declared.threads)


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

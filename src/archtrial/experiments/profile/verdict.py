"""From the records of a profile to what was found, without training anything."""

import json
from pathlib import Path
from typing import Any

from archtrial.experiments.profile import page
from archtrial.experiments.profile.groups import Profiled, group_of
from archtrial.judge import experiment
from archtrial.judge.experiment import Finding
from archtrial.words import numbers
from archtrial.words.findings import at_edges

__all__ = ["MACHINE", "judge"]

MACHINE = "machine.json"
"""The file of a study that has what was timed on the machine that it ended on."""


def judge(folder: str | Path) -> Finding:
    """Judges a profile from its folder.

    Raises:
        RecordsError: The folder holds no profile, or one that has not come to its end.
    """
    records = experiment.finished(
        folder, "profile", "archtrial profile --study", opens=False
    )
    try:
        machine = json.loads(Path(folder, MACHINE).read_text("utf-8"))
    except (OSError, ValueError):
        machine = {}  # it is of the machine, and no part of what was found
    profiled = Profiled(records, machine if isinstance(machine, dict) else {})
    groups = {name: group_of(name, profiled) for name in records.resolved["only"]}
    found = {name: group.numbers() for name, group in groups.items()}
    document: dict[str, Any] = {
        **records.document(),
        "verdict": "profiled",
        "sentence": " ".join(
            group.sentence(found[name]) for name, group in groups.items()
        ),
        "architectures": profiled.names,
        "groups": found,
        "warnings": [
            *at_edges(_at_edges(profiled)),
            *(said for name in groups for said in groups[name].warnings(found[name])),
        ],
    }
    return page.finding(document, profiled, groups)


def _at_edges(profiled: Profiled) -> list[str]:
    """Returns whose best learning rate is the lowest or highest of several, and which."""
    rates = profiled.resolved["learning_rates"]
    if len(rates) == 1:
        return []
    chosen = {name: rates[profiled.tuned(name)] for name in profiled.names}
    return [
        f"{name} ({numbers.value(rate)})"
        for name, rate in chosen.items()
        if rate in (rates[0], rates[-1])
    ]

"""The page of a profile, and what a terminal shows."""

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from archtrial.experiments.profile.groups import Group, Profiled
from archtrial.judge.experiment import GLOSSARY, Finding
from archtrial.report.article import Brief, Column, Section

__all__ = ["finding"]

_GLOSSARY = {
    "fresh seeds": GLOSSARY["fresh seeds"],
    "interval": "Numbers that fit the runs. Each interval holds by itself with the stated"
    " level.",
}


def finding(
    document: Mapping[str, Any], profiled: Profiled, groups: Mapping[str, Group]
) -> Finding:
    """Returns what was found with its page.

    Args:
        document: The verdict.
        profiled: What it was read off.
        groups: By name, who shows what.
    """
    found = document["groups"]
    columns = [Column("architecture", profiled.names)]
    glossary = dict(_GLOSSARY)
    sections: list[Section] = []
    figures: dict[str, Callable[[int], Figure]] = {}
    for name, group in groups.items():
        columns += group.columns(found[name])
        sections += group.sections(found[name])
        figures |= group.figures(found[name])
        glossary |= group.glossary
    return profiled.records.finding(
        document,
        title="Profile",
        sections=sections,
        figures=figures,
        brief=Brief(document["verdict"], "", "architectures", columns),
        glossary=glossary,
    )

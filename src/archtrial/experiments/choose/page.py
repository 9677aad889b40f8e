"""The page of a choice, and what a terminal shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archtrial.experiments.choose import words
from archtrial.judge.experiment import GLOSSARY, Finding, Records
from archtrial.report.article import Brief, Exhibit, Section, Table
from archtrial.words import numbers

__all__ = ["finding"]


def finding(
    document: Mapping[str, Any],
    records: Records,
    answers: Mapping[str, Any],
    seconds: float,
    folder: Path,
) -> Finding:
    """Returns what was found with its page."""
    metric = records.metric
    arms = document["arms"]
    table = Exhibit(
        "Arms",
        Table.of(
            {
                "arm": [a["name"] for a in arms],
                "search": [numbers.estimated(a["search"], metric) for a in arms],
                "test": [numbers.estimated(a["final"], metric) for a in arms],
            }
        ),
    )
    return records.finding(
        document,
        title="Choice",
        sections=[Section("", [words.claim(document, metric)], tables=[table])],
        brief=Brief.of(table, "arms"),
        glossary=GLOSSARY,
    )

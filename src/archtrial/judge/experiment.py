"""What every experiment's judge shares: the records of its folder, and what was found.

An experiment's own judge reads the records (`finished`), makes a document of them, and
an `Article` of the document:

    def judge(folder):
        records = finished(folder, "my_kind", "python my_kind.py")
        document = ...
        return Finding(Verdict(document), Article(...), figures)
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from archtrial.errors import RecordsError
from archtrial.freezing import expect
from archtrial.judge.study import environment_of
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.report import article
from archtrial.report.drawing import WIDE, chosen_figure

__all__ = ["Finding", "Records", "Verdict", "finished"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an experiment found; it prints as its sentence."""

    document: Mapping[str, Any]
    """As JSON, with "sentence" and "verdict"; numbers are finite or None."""

    def __str__(self) -> str:
        return str(self.document["sentence"])

    @property
    def verdict(self) -> str:
        """The verdict in one word, such as "inconclusive"."""
        return str(self.document["verdict"])

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict with all its numbers."""
        return dict(self.document)

    def to_json(self) -> str:
        """Returns the text of verdict.json: no clock, date, path or machine."""
        text = json.dumps(self.document, indent=2, ensure_ascii=False, allow_nan=False)
        return text + "\n"


@dataclasses.dataclass(frozen=True)
class Finding:
    """A verdict with what its page and a terminal show."""

    verdict: Verdict
    article: article.Article
    figures: Mapping[str, Callable[[int], Figure]] = dataclasses.field(
        default_factory=dict
    )
    """By name, what draws a figure of a width."""

    def page(self) -> str:
        """Returns the page, one self-contained HTML document."""
        return article.render(self.article)

    def figure(self, name: str) -> Figure:
        """Draws one figure of the page by its name.

        Raises:
            ProtocolError: There is no such figure.
        """
        return chosen_figure(name, list(self.figures), self.figures, "")(WIDE)


@dataclasses.dataclass(frozen=True)
class Records:
    """All that the judge of an experiment reads."""

    hash: str
    """Of the protocol."""
    resolved: Mapping[str, Any]
    """The protocol, as it was frozen."""
    runs: Sequence[Run]
    """All of them, with test scores and each test example's share."""
    environment: Mapping[str, str]
    """Where and with what it ran: for the page, never for the verdict."""


def finished(folder: str | Path, experiment: str, command: str) -> Records:
    """Reads the folder of an experiment that has been trained.

    Args:
        folder: The study's.
        experiment: Its kind, the "experiment" of its resolved protocol.
        command: How to go on with it; the folder is put behind.

    Raises:
        RecordsError: The folder holds no store, another kind of study, or one whose
            test set has not been opened yet.
    """
    with Store(folder, read_only=True) as store:
        frozen = store.protocol()
        if frozen is not None:
            expect(frozen[1], experiment, folder)
        if frozen is None or not store.test_is_open:
            raise RecordsError(
                "an experiment is judged when all of it has been trained",
                f"{folder} is not finished",
                f"Go on with it: {command} {folder}",
            )
        runs, events = store.runs(), store.events()
    return Records(frozen[0], frozen[1], runs, environment_of(runs, events))

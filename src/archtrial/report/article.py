"""The page of an experiment: a sentence, its numbers, and sections of evidence.

What an experiment found is laid out as an `Article`, in plain values and figures;
`render` makes one self-contained HTML file of it, in the frame of every page.
Nothing here knows of any one experiment.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from archtrial.report import frame
from archtrial.report.frame import Fact, Table

__all__ = ["Article", "Exhibit", "Fact", "Plate", "Section", "Table", "render"]


@dataclasses.dataclass(frozen=True)
class Plate:
    """A figure, whose message is its title, and what stands under it."""

    draw: Callable[[int], Figure]
    """From a width (`drawing.WIDE`, `drawing.NARROW`) to the figure."""
    caption: str


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """A table, with a title above it and words below."""

    title: str
    table: Table
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """What a page shows on one question; parts that are empty are left out.

    The parts stand in the order of the fields.
    """

    heading: str
    """The question; "" for what belongs to the sentence itself."""
    paragraphs: Sequence[str] = ()
    figures: Sequence[Plate] = ()
    facts: Sequence[Fact] = ()
    tables: Sequence[Exhibit] = ()
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show beside a heading and a note."""
        return not (self.paragraphs or self.figures or self.facts or self.tables)


@dataclasses.dataclass(frozen=True)
class Article:
    """All that the page of an experiment shows."""

    title: str
    """What a browser calls the page."""
    verdict: str
    """The verdict in a few words, above the sentence."""
    about: Sequence[str]
    """What the experiment was done on, a few words each: the data, the metric."""
    sentence: str
    """The verdict; its first sentence is set in large type."""
    numbers: Sequence[Fact]
    """The three that the sentence rests on; none where nothing was estimated."""
    sections: Sequence[Section]
    """From evidence to details; those that are empty are left out."""
    glossary: Mapping[str, str]
    """What the words mean."""
    citation: str
    document: Mapping[str, Any]
    """The verdict, as JSON."""
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What was declared, as JSON."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Versions, hardware, threads, seconds: a name and a text each."""


def render(article: Article) -> str:
    """Returns the page, one HTML document; the same article gives the same bytes."""
    headline, lead = frame.split(article.sentence)
    return frame.render(
        "article.html",
        title=f"{article.title}: {headline}",
        headline=headline,
        lead=lead,
        exploratory=(),
        warnings=article.warnings,
        notes=article.notes,
        protocol=article.protocol,
        environment=article.environment,
        citation=article.citation,
        document=article.document,
        verdict=article.verdict,
        about=article.about,
        numbers=article.numbers,
        sections=[
            {
                "heading": section.heading,
                "paragraphs": section.paragraphs,
                "figures": [
                    (frame.drawn(plate.draw), plate.caption)
                    for plate in section.figures
                ],
                "facts": section.facts,
                "tables": section.tables,
                "note": section.note,
            }
            for section in article.sections
            if not section.empty
        ],
        glossary=article.glossary,
    )

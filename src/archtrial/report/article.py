"""The page of an experiment: a sentence, its numbers, and sections of evidence.

What an experiment found is laid out as an `Article`, in plain values and figures;
`render` makes one self-contained HTML file of it, in the frame of every page, and
`show` a few lines for a terminal, in the same order. Nothing here knows of any one
experiment.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich import table as tables
from rich.console import Console
from rich.text import Text

from archtrial.report import frame
from archtrial.report.estimates import spread
from archtrial.report.frame import Fact, Table
from archtrial.words import numbers

__all__ = [
    "LINES",
    "Article",
    "Brief",
    "Column",
    "Exhibit",
    "Fact",
    "Plate",
    "Section",
    "Table",
    "render",
    "show",
]

LINES = 25
"""A terminal gets so many lines at most."""


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

    The parts stand in the order of the fields; facts without a value are left out.
    """

    heading: str
    """The question; "" for what belongs to the sentence itself."""
    paragraphs: Sequence[str] = ()
    figures: Sequence[Plate] = ()
    facts: Sequence[Fact] = ()
    tables: Sequence[Exhibit] = ()
    code: str = ""
    """Lines to type, as they are."""
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show beside a heading and a note."""
        known = any(fact.value for fact in self.facts)
        return not (
            self.paragraphs or self.figures or known or self.tables or self.code
        )


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a terminal's table."""

    heading: str
    cells: Sequence[str]
    rank: int = 0
    """Where the console is too narrow, columns of the highest rank go first; those of
    rank 0 stay."""


@dataclasses.dataclass(frozen=True)
class Brief:
    """What a terminal shows beside the sentence and the warnings."""

    verdict: str
    """In the document's own words."""
    title: str
    """Above the table."""
    rows: str
    """What its rows are, as a noun in the plural."""
    columns: Sequence[Column]
    best: int | None = None
    """The row that stays whatever else is left out, in bold."""
    closing: str = ""
    """A line below the table."""

    @classmethod
    def of(
        cls,
        exhibit: Exhibit,
        rows: str,
        *,
        verdict: str = "",
        ranks: Sequence[int] | None = None,
        best: int | None = None,
    ) -> "Brief":
        """Returns what shows a table of the page.

        Args:
            exhibit: The table.
            rows: What its rows are, as a noun in the plural.
            verdict: In the document's own words; by default there is no line of it.
            ranks: Of the first columns, by `Column.rank`; those beyond are left out. By
                default all columns are of rank 0.
            best: The row that stays whatever else is left out.
        """
        columns = [
            Column(heading, cells, rank)
            for heading, cells, rank in zip(
                exhibit.table.headings,
                zip(*exhibit.table.rows, strict=True),
                [0] * len(exhibit.table.headings) if ranks is None else ranks,
                strict=False,
            )
        ]
        return cls(verdict, exhibit.title, rows, columns, best)


@dataclasses.dataclass(frozen=True)
class Article:
    """All that the page of an experiment shows, and what a terminal shows of it."""

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
    brief: Brief | None = None
    """None where a terminal shows the verdict alone."""


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
                "facts": [fact for fact in section.facts if fact.value],
                "tables": section.tables,
                "code": section.code,
                "note": section.note,
            }
            for section in article.sections
            if not section.empty
        ],
        glossary=article.glossary,
    )


def show(article: Article, console: Console) -> None:
    """Prints an article in at most `LINES` lines, in the order of its page.

    Where there are too many rows for that, some are left out; so are warnings that do
    not fit, and columns where the console is too narrow.

    Args:
        article: What was found.
        console: Where to; its width decides where lines break.
    """
    brief = article.brief or Brief(article.verdict, "", "", [Column("", [])])
    # Text, not markup: names come from the user.
    above = [Text(), Text(brief.verdict, style="bold"), Text(article.sentence)]
    warnings = [Text(f"warning: {said}", style="yellow") for said in article.warnings]
    below = [Text(brief.closing)] if brief.closing else []

    def height(texts: Sequence[Text]) -> int:
        return sum(len(console.render_lines(text)) for text in texts)

    count = len(brief.columns[0].cells)
    # A table has its title, a head, a rule and two blank lines beside its rows.
    least = 5 + min(count, 4) if count else 0
    room = LINES - height([*above, *below]) - least
    for i, warning in enumerate(warnings):
        left = len(warnings) - i
        if height([warning]) + (left > 1) > room:
            more = numbers.count(left, "more warning" if i else "warning")
            above.append(Text(f"{more}: see the page", style="yellow"))
            break
        above.append(warning)
        room -= height([warning])
    for text in above:
        console.print(text)
    if count:
        first = [] if brief.best is None else [brief.best]
        most = max(LINES - 5 - height([*above, *below]), 1)
        kept = spread(count, first, most)
        some = f"; {len(kept)} of {count} {brief.rows}" if len(kept) < count else ""
        console.print(Text(brief.title + some), _table(brief, kept, console), sep="\n")
    for text in below:
        console.print(text)


def _table(brief: Brief, kept: Sequence[int], console: Console) -> tables.Table:
    """Returns a brief's table, with as many columns as there is room for."""

    def laid(columns: Sequence[Column]) -> tables.Table:
        table = tables.Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for column in columns:
            table.add_column(Text(column.heading), justify="right", no_wrap=True)
        for i in kept:
            cells = [Text(column.cells[i]) for column in columns]
            table.add_row(*cells, style="bold" if i == brief.best else "")
        return table

    wide = console.options.update(width=1_000)
    columns = list(brief.columns)
    while console.measure(laid(columns), options=wide).maximum > console.width:
        last = max(columns, key=lambda column: column.rank)
        if last.rank == 0:
            break
        columns.remove(last)
    return laid(columns)

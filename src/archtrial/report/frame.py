"""What every page shares: its frame, its figures, facts and tables, and its last pages.

A page is one self-contained HTML file and asks nothing of the network.
`frame.html` is what all have around their content, `macros.html` what the content
is made of; a page's own template extends the one and imports the other.
"""

import dataclasses
import importlib.resources
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
from matplotlib.figure import Figure

from archtrial.errors import printable
from archtrial.report import drawing
from archtrial.words import findings, numbers
from archtrial.words.numbers import Metric

__all__ = [
    "Drawing",
    "Fact",
    "Table",
    "cited",
    "drawn",
    "flat",
    "gain_facts",
    "render",
    "split",
]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure as a page carries it, once for each width."""

    message: str
    wide: markupsafe.Markup
    narrow: markupsafe.Markup


@dataclasses.dataclass(frozen=True)
class Fact:
    """A number, in words: what it is, its value, what it tells."""

    term: str
    value: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Texts under headings; the first of a row is its name."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def drawn(draw: Callable[[int], Figure]) -> Drawing:
    """Returns a figure in both widths.

    Args:
        draw: From a width to the figure.
    """
    wide = draw(drawing.WIDE)
    # Text in a drawing shrinks with it, so a phone gets a drawing of its own.
    narrow = draw(drawing.NARROW)
    return Drawing(
        message=str(wide.get_label()),
        # to_svg escapes every text that came from a user.
        wide=markupsafe.Markup(drawing.to_svg(wide)),  # noqa: S704
        narrow=markupsafe.Markup(drawing.to_svg(narrow)),  # noqa: S704
    )


def split(sentence: str) -> tuple[str, str]:
    """Returns the verdict's first sentence, for large type, and what follows it."""
    parts = re.split(r"(?<=[a-z)][.!?]) (?=[A-Z])", sentence, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns nested JSON, such as a protocol, as dotted names and texts."""
    found: dict[str, str] = {}
    for key, item in tree.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            found |= flat(item, f"{name}.")
        elif isinstance(item, str):
            found[name] = item
        elif isinstance(item, Sequence) and any(isinstance(i, Mapping) for i in item):
            for i, entry in enumerate(item):
                found |= flat({str(i): entry}, f"{name}.")
        elif isinstance(item, Sequence):
            found[name] = ", ".join(
                i if isinstance(i, str) else json.dumps(i) for i in item
            )
        else:
            found[name] = json.dumps(item)
    return found


def cited(what: str, study: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Returns how a study is cited.

    Args:
        what: Its kind: "Controlled trial".
        study: Its `data`, `protocol_hash` and `seed`; the first two may be None.
        environment: Names the version of archtrial, where that is known.
    """
    version = environment.get("archtrial")
    parts = [
        f"{what} with archtrial{f' {version}' if version else ''}",
        f"data {study['data']}" if study["data"] else "",
        f"protocol {study['protocol_hash']}" if study["protocol_hash"] else "",
        f"seed {study['seed']}",
    ]
    return ", ".join(part for part in parts if part) + "."


def render(
    template: str,
    *,
    title: str,
    headline: str,
    lead: str,
    exploratory: Sequence[str],
    warnings: Sequence[str],
    notes: Sequence[str],
    protocol: Mapping[str, Any],
    environment: Mapping[str, str],
    citation: str,
    document: Mapping[str, Any],
    **content: Any,
) -> str:
    """Returns a page, one HTML document; the same arguments give the same bytes.

    Args:
        template: A file of this room that extends `frame.html`.
        title: What a browser calls the page.
        headline: The sentence in large type.
        lead: What follows it, "" for nothing.
        exploratory: What was not declared beforehand, said under the sentence.
        warnings: What speaks against the verdict, a sentence each.
        notes: What else was found, a sentence each.
        protocol: What was declared, as JSON.
        environment: Where it ran: a name and a text each.
        citation: How to cite it.
        document: The verdict, as JSON.
        content: What the template itself asks for.
    """
    # What names hold besides text would be no document that every tool reads.
    return printable(
        _templates()
        .get_template(template)
        .render(
            css=markupsafe.Markup(_text("page.css")),  # noqa: S704 - the package's own file
            palette=_palette(),
            title=title[:150],
            headline=headline,
            lead=lead,
            exploratory=exploratory,
            warnings=warnings,
            notes=notes,
            protocol=flat(protocol),
            environment=environment,
            citation=citation,
            json=json.dumps(document, indent=2, ensure_ascii=False),
            **content,
        )
    )


def _palette() -> markupsafe.Markup:
    """Returns the figures' colours as CSS variables, for light and dark mode."""

    def variables(colors: Mapping[str, str]) -> str:
        return "".join(f"--{role}:{color};" for role, color in colors.items())

    return markupsafe.Markup(  # noqa: S704 - constants only
        f":root{{{variables(drawing.LIGHT)}}}"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{:root{{{variables(drawing.DARK)}}}}}"
    )


def _text(name: str) -> str:
    file = importlib.resources.files("archtrial.report").joinpath(name)
    return file.read_text(encoding="utf-8")


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        # Templates name each other: what one extends is a file beside it.
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def gain_facts(
    term: str,
    gain: Mapping[str, Any],
    metric: Metric,
    *,
    alpha: float,
    margin: float,
    of: str,
    jointly: str = "",
    adjusted: str = "",
) -> list[Fact]:
    """Returns the three numbers that a sentence rests on; none without an estimate.

    Args:
        term: Whose gain it is, and over whom.
        gain: With its interval and "p_value_adjusted".
        metric: Of the scores.
        alpha: The interval has level 1 - alpha.
        margin: The smallest gap worth having.
        of: Under which terms it was reached.
        jointly: What the interval holds for at once.
        adjusted: What p is adjusted for.
    """
    if gain["estimate"] is None:
        return []
    within = (gain["low"], gain["high"])
    return [
        Fact(
            term,
            numbers.difference(gain["estimate"], metric, within),
            f"of {numbers.label(metric)}, {of}",
        ),
        Fact(
            f"{numbers.level(alpha)} interval{jointly}",
            numbers.differences(*within, metric),
            findings.beside_margin(gain, margin, metric),
        ),
        Fact(
            "How often chance alone makes a gain this large",
            numbers.p_value(gain["p_value_adjusted"]),
            adjusted,
        ),
    ]

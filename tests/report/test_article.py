import io
import re

import jinja2
import matplotlib
import pytest
from rich.console import Console

from archtrial.report import article, frame, page
from archtrial.report.article import (
    Article,
    Brief,
    Column,
    Exhibit,
    Fact,
    Plate,
    Section,
    Table,
)
from archtrial.report.drawing import LIGHT, STYLE, axes_at, blank

from .test_page import HOSTILE, Reader, judged


def draw(width):
    with matplotlib.rc_context(STYLE):
        figure, top = blank("Taller is taller", width, 100)
        axes = axes_at(figure, 10, top, width - 20, 80)
        axes.plot([0, 1], color=LIGHT["baseline"])
    return figure


def made(**changes):
    return Article(
        **{
            "title": "Mimicking",
            "verdict": "It can be mimicked",
            "about": ["mnist1d", "accuracy"],
            "sentence": "The small net mimics the large one. It needs no labels.",
            "numbers": [Fact("Gap", "0.3 points", "of accuracy")],
            "sections": [
                Section("", figures=[Plate(draw, "Each point is a net.")]),
                Section(
                    "How small can it be?",
                    paragraphs=["Down to a tenth."],
                    facts=[Fact("Parameters", "500")],
                    tables=[
                        Exhibit("By size", Table(("size", "gap"), [("1", "")]), "n")
                    ],
                    note="Exploratory.",
                ),
                Section("Nothing was measured here", note="never shown"),
            ],
            "glossary": {"Mimic": "A net that learns from another."},
            "citation": "Cite me.",
            "document": {"kind": "mimic"},
        }
        | changes
    )


def test_a_page_shows_what_it_was_given_in_order():
    reader = Reader(article.render(made(warnings=["Beware."], notes=["By the way."])))
    order = [
        "Mimicking: The small net mimics the large one.",
        "It can be mimicked",
        "mnist1d accuracy 1 warning",
        "The small net mimics the large one.",
        "It needs no labels.",
        "Warnings Beware.",
        "What the words mean Mimic A net that learns from another.",
        "Gap 0.3 points of accuracy",
        "Taller is taller",
        "Each point is a net.",
        "How small can it be?",
        "Down to a tenth.",
        "Parameters 500",
        "By size size gap 1 \u2013 n",
        "Exploratory.",
        "Notes By the way.",
        "How to cite Cite me.",
        '{ "kind": "mimic" }',
    ]
    at = -1
    for words in order:
        at = reader.text.index(words, at + 1)
    assert not reader.open


def test_what_is_empty_has_no_heading():
    text = Reader(article.render(made())).text
    for words in (
        "Nothing was measured",
        "never shown",
        "Warnings",
        "Notes",
        "The protocol",
        "Where it ran",
    ):
        assert words not in text, words
    bare = article.render(made(numbers=[], sections=[], glossary={}))
    assert "<svg" not in bare
    assert 'class="numbers"' not in bare


def test_both_kinds_of_page_share_their_head():
    def head(rendered):
        above = rendered[: rendered.index("<body>")]
        return re.sub("<title>.*?</title>", "", above)

    assert head(article.render(made())) == head(page.render(judged()))


def test_every_word_of_an_article_is_escaped():
    name = HOSTILE
    hostile = Article(
        title=name,
        verdict=name,
        about=[name],
        sentence=name,
        numbers=[Fact(name, name, name)],
        sections=[
            Section(
                name,
                [name],
                [Plate(draw, name)],
                [Fact(name, name, name)],
                [Exhibit(name, Table((name, name), [(name, name)]), name)],
                name,
            )
        ],
        glossary={name: name},
        citation=name,
        document={name: name},
        warnings=[name],
        notes=[name],
        protocol={name: name},
        environment={name: name},
    )
    rendered = article.render(hostile)
    reader = Reader(rendered)
    assert "<script" not in rendered
    assert not reader.open
    assert reader.text.count(HOSTILE) > 20


def test_a_template_that_asks_for_what_was_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="verdict"):
        frame.render(
            "article.html",
            title="",
            headline="",
            lead="",
            exploratory=(),
            warnings=(),
            notes=(),
            protocol={},
            environment={},
            citation="",
            document={},
        )


def test_a_study_is_cited_with_what_is_known_of_it():
    study = {"data": "mnist1d", "protocol_hash": "5f2c", "seed": 0}
    assert frame.cited("Experiment", study, {"archtrial": "0.2.0"}) == (
        "Experiment with archtrial 0.2.0, data mnist1d, protocol 5f2c, seed 0."
    )
    unknown = {"data": None, "protocol_hash": None, "seed": 3}
    assert (
        frame.cited("Experiment", unknown, {}) == "Experiment with archtrial, seed 3."
    )


def told(found, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    article.show(found, console)
    return console.export_text()


def test_a_terminal_gets_the_verdict_without_a_table_too():
    text = told(made(warnings=["Beware."]))
    assert text.split("\n")[1:4] == [
        "It can be mimicked",
        "The small net mimics the large one. It needs no labels.",
        "warning: Beware.",
    ]


def test_a_narrow_terminal_loses_columns_by_rank_and_a_long_table_rows():
    sizes = [str(1_000 + i) for i in range(40)]
    brief = Brief(
        "mimicked",
        "by size",
        "sizes",
        [
            Column("size", sizes),
            Column("score" * 5, sizes, 1),
            Column("note" * 9, sizes, 2),
        ],
        best=17,
        closing="That is all.",
    )
    wide, middle, narrow = (told(made(brief=brief), width) for width in (80, 50, 20))
    assert "note" in wide
    assert "score" in middle
    assert "note" not in middle
    assert "score" not in narrow
    for text in (wide, middle):
        assert re.search(r"by size; \d+ of 40 sizes", text)
        assert len(text.splitlines()) <= article.LINES
        # Both ends and the best stay.
        assert all(size in text for size in ("1000", "1017", "1039"))
        assert text.splitlines()[-1] == "That is all."

import html
import io
import json
import re

import pytest
from rich.console import Console

from archtrial.experiments.relax import figures, page
from archtrial.experiments.relax.titles import share
from archtrial.records.table import Run
from archtrial.report import article

from .relaxations import est, make_document
from .test_page import HOSTILE, Reader, chromium, measured  # noqa: F401 - a fixture
from .test_relaxation_figures import MANY


@pytest.fixture(scope="module")
def document():
    return make_document(published=True)


@pytest.fixture(scope="module")
def rendered(document):
    found = page.article(
        document,
        protocol={"steps": 2000},
        environment={"archtrial": "0.2.0", "processor": "two cores"},
    )
    return article.render(found)


def told(document, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    page.show(document, console)
    return console.export_text().split("\n")[:-1]


def sections(document, **changes):
    """Returns the page's sections by heading, without drawing anything."""
    return {s.heading: s for s in page.article(document, **changes).sections}


# ------------------------------------------------------------------------ the page


def test_the_sentence_comes_first_then_evidence_then_details(rendered):
    text = Reader(rendered).text
    order = [
        "It pays to relax the prior cnn on mnist1d test accuracy 10 seeds 1 warning",
        "Relaxed after 93 steps, the eFCN beats the CNN",
        "At the other relax times no gain",
        "Warnings",
        "Largest gain of the eFCN over the CNN +1.8 points of accuracy, relaxed after"
        " 93 steps",
        "95 % interval, for all 8 relax times at once +1.1 to +2.4 points all of it"
        " above the margin of .5 points",
        "How often chance alone makes a gain this large about once in 30,000",
        "adjusted for having looked at 8 relax times",
        "The eFCN gains most when relaxed after 93 steps: 1.8 points over the CNN",
        "with the weights that scored best on the validation set on the way",
        "Hollow, on axes of their own: d'Ascoli et al. 2019 (arXiv 1906.06766): VanillaCNN"
        " on CIFAR-10, read off a plot.",
        "When does the eFCN gain over the CNN?",
        "Bars: 95 % intervals that hold for all 8 relax times at once",
        "Gain relaxed after 93 steps, in the other reading each network with the weights"
        " of its last step +2.0 (+.5 to +3.4 points)",
        "What is it worth against the FCN?",
        "At all 8 relax times the eFCN beats the FCN by more than the margin",
        "The CNN over the FCN a prior that held throughout",
        "Does it leave the convolutional subspace?",
        "Without its off-local weights the eFCN loses 2.5 points",
        "Off-local share of the norm, layer by layer",
        "2,000 .079 % .16 % .24 %",
        "Are they the same solution?",
        "Of 8 relax times 5 are drawn",
        "Barrier of the loss, relaxed after 93 steps",
        "The average of both outputs, relaxed after 93 steps",
        "How sharp is the place where it ends?",
        "Were all tuned alike?",
        "Relax time by relax time",
        "relax time, steps epochs gain over CNN",
        "93 3.0 +1.8 (+1.1 to +2.4 points) under .001 74.3 % (73.9 to 74.7 %)",
        "How it was done",
        "were each given 4 learning rates, and the validation set chose",
        "the CNN trains 2,000 steps more twice, as it is and as the eFCN that computes"
        " the same, on the very same batches",
        "its gap is not the prior's alone",
        "The test set was opened once",
        "Parameters of the CNN 5,210",
        "Parameters of the eFCN and the FCN 171,110 without the weights that read"
        " padding 190,810",
        "Trainings 310 TFLOP in all 230",
        "Notes",
        "The protocol",
        "Where it ran",
        "Relaxing experiment with archtrial 0.2.0, data mnist1d, protocol 5f2c9e, seed 0",
        '"kind": "relax"',
    ]
    at = 0
    for words in order:
        assert words in text, words
        at = text.index(words, at)


def test_the_page_asks_nothing_of_the_network_and_is_well_formed(rendered):
    reader = Reader(rendered)
    assert not reader.open
    assert not {"script", "img", "iframe", "object"} & set(reader.tags)
    for _, name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith(("#", "data:")), value
    assert not re.search(r"url\((?!#)|@import", rendered)
    ids = [value for _, name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    # Eight figures, each for a wide and a narrow screen.
    assert rendered.count('role="img"') == 16


def test_the_document_on_the_page_is_the_document(document, rendered):
    (text,) = re.findall(
        r"<summary>The verdict as JSON</summary>.*?>(.*?)</pre>", rendered, re.S
    )
    assert json.loads(html.unescape(text)) == document


def test_the_same_document_gives_the_same_bytes():
    document = make_document(times=(12, 93), measured=False)
    first = article.render(page.article(document))
    assert article.render(page.article(document)) == first


def test_what_a_user_named_is_escaped():
    names = {"cnn": HOSTILE, "relaxed": f"{HOSTILE}2", "fresh": f"{HOSTILE}3"}
    document = make_document(
        times=(12, 93),
        measured=False,
        names=names,
        data=HOSTILE,
        architecture=HOSTILE,
        sentence=HOSTILE,
        warnings=[HOSTILE],
        notes=[HOSTILE],
        protocol_hash=HOSTILE,
    )
    document["times"][0]["deviation_by_layer"] = {HOSTILE: est([0.1, 0.2])}
    rendered = article.render(page.article(document, protocol={HOSTILE: HOSTILE}))
    reader = Reader(rendered)
    assert "<script" not in rendered
    assert not reader.open
    assert reader.text.count(HOSTILE) > 40


def test_what_was_not_measured_has_no_section():
    found = sections(make_document(times=(12, 93), measured=False))
    empty = {heading for heading, section in found.items() if section.empty}
    assert empty == {
        "Does it leave the convolutional subspace?",
        "Are they the same solution?",
        "How sharp is the place where it ends?",
    }


def test_nothing_estimated_means_no_numbers():
    document = make_document(
        times=(12, 93),
        measured=False,
        verdict="not_assessable",
        best_time=None,
        learning_rates=[],
        fresh_gap={"estimate": None, "low": None, "high": None},
    )
    for entry in document["times"]:
        for key in ("scores", "points", "gain", "gain_other", "gain_over_fresh"):
            entry[key] = None
    assert page.article(make_document(verdict="not_assessable")).numbers == []
    assert figures.drawable(document) == {}
    found = page.article(document)
    assert found.numbers == []
    text = Reader(article.render(found)).text
    assert "This cannot be judged" in text
    assert "not known" not in text
    assert "relax time" in "\n".join(told(document))


def test_one_relax_time_is_not_adjusted_for_several():
    found = page.article(make_document(times=(93,)))
    largest, interval, chance = found.numbers
    assert largest.term == "Gain of the eFCN over the CNN"
    assert interval.term == "95\u00a0% interval"
    assert chance.note == ""
    assert "8 relax times" not in found.glossary["Simultaneous interval"]


def test_one_seed_has_no_interval_and_says_so():
    found = page.article(make_document(times=(12, 93), seeds=1))
    largest, interval, chance = found.numbers
    assert largest.value.startswith("+")
    assert interval.value == "not known"
    assert chance.value == "not computed"


def test_scores_keep_the_units_of_their_metric():
    document = make_document(
        times=(12, 93), metric="rmse", higher_is_better=False, bounded=False
    )
    found = page.article(document)
    assert found.numbers[0].value == "+.024"
    assert found.numbers[0].note == (
        "of root mean squared error, relaxed after 93 steps"
    )
    (by_time,) = sections(document)["Relax time by relax time"].tables
    assert "points" not in str(by_time.table.rows)
    assert "%" not in str(by_time.table.rows[0][2:-1])


def test_runs_tell_what_the_trainings_took():
    document = make_document(times=(93,), measured=False)
    runs = [
        Run(
            "cnn",
            0,
            seed,
            "winner",
            {},
            validation=0.7,
            seconds=40.0,
            diverged=seed > 0,
        )
        for seed in range(3)
    ]
    facts = {
        f.term: f.value for f in sections(document, runs=runs)["How it was done"].facts
    }
    assert facts["Of the runs, diverged"] == "2"
    assert facts["Time in training"] == "2 min"
    without = {f.term for f in sections(document)["How it was done"].facts if f.value}
    assert not {"Of the runs, diverged", "Time in training"} & without


def test_learning_rates_are_listed_with_what_was_chosen():
    document = make_document(times=(12, 93))
    document["learning_rates"][5]["at_edge"] = True
    document["learning_rates"][3]["chosen"] = 0.03
    (exhibit,) = sections(document)["Were all tuned alike?"].tables
    assert exhibit.table.headings == ("", "chosen", ".01", ".03", ".1", ".3")
    assert [row[:2] for row in exhibit.table.rows] == [
        ("CNN", ".1"),
        ("FCN", ".1"),
        ("CNN from 12 on", ".1"),
        ("CNN from 93 on", ".03"),
        ("eFCN, relaxed after 12 steps", ".1"),
        ("eFCN, relaxed after 93 steps", ".1 (at the edge)"),
    ]


def test_diverged_trainings_are_counted_where_there_were_any():
    document = make_document(times=(12, 93))
    name = "Relax time by relax time"
    assert "diverged" not in sections(document)[name].tables[0].table.headings
    document["times"][1]["diverged"] = 3
    table = sections(document)[name].tables[0].table
    assert table.headings[-1] == "diverged"
    assert [row[-1] for row in table.rows] == ["0", "3"]


# -------------------------------------------------------------------- the terminal


def test_the_terminal_tells_the_same_in_the_same_order(document):
    lines = told(document)
    text = "\n".join(lines)
    order = [
        "relaxed better (strong)",
        "Relaxed after 93 steps, the eFCN beats the CNN",
        "warning: No margin was declared",
        "test accuracy, mean of 10 seeds",
        "relax time    eFCN     CNN      FCN  gain over CNN, points  off-local",
        "93  74.3\u00a0%  72.5\u00a0%   55.0\u00a0%    +1.8 (+1.1 to +2.4)      2.8\u00a0%",
        "2,000  69.2\u00a0%",
        "learning rates: CNN .1, FCN .1, eFCN .1",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert len(lines) <= article.LINES


@pytest.mark.parametrize(
    "changes",
    [
        {"times": (93,)},
        {"times": MANY},
        {"seeds": 1},
        {"measured": False},
        {"metric": "rmse", "higher_is_better": False, "bounded": False},
        {"metric": "mae", "higher_is_better": False, "bounded": False, "scale": 1e9},
        {
            "names": {
                "cnn": HOSTILE,
                "relaxed": f"{HOSTILE}2",
                "fresh": "[bold]x[/bold]",
            }
        },
        {"warnings": [f"Warning number {i} is about {'this ' * 20}" for i in range(9)]},
        {"times": MANY, "warnings": ["Mind this."] * 30},
    ],
)
def test_the_terminal_has_80_columns_and_25_lines(changes):
    document = make_document(**changes)
    lines = told(document)
    assert len(lines) <= article.LINES
    for line in lines:
        assert len(line.rstrip()) <= 80
    rows = [line for line in lines if re.match(r" +[\d,]+  ", line)]
    # One line for each relax time that is shown, and its gain whole.
    assert len(rows) >= min(len(document["times"]), 4)
    assert not any("\u2026" in row for row in rows)
    if document["seeds"] > 1:
        assert all(
            re.search(r"\([\u2212+][\d.,]+ to [\u2212+][\d.,]+\)", row) for row in rows
        )


def test_relax_times_that_are_left_out_are_counted_and_the_best_stays():
    document = make_document(times=MANY)
    text = "\n".join(told(document))
    shown, every = re.search(r"; (\d+) of (\d+) relax times", text).groups()
    assert int(every) == len(MANY)
    assert 4 <= int(shown) < len(MANY)
    for time in (0, document["best_time"], 20_000):
        assert re.search(rf"^ +{time:,}  ", text, re.M)


def test_warnings_that_are_left_out_are_counted():
    document = make_document(warnings=["Mind this."] * 30)
    text = "\n".join(told(document))
    shown = text.count("warning: Mind this.")
    assert 1 <= shown < 30
    assert f"{30 - shown} more warnings: see the page" in text


def test_names_are_no_markup():
    names = {"cnn": "[bold]x", "relaxed": "[red]y", "fresh": "[/]z"}
    document = make_document(times=(93,), names=names, sentence="[bold]Sure[/bold].")
    text = "\n".join(told(document))
    for words in ("[bold]Sure[/bold].", "[red]y", "[/]z", "gain over [bold]x"):
        assert words in text


def test_a_rate_that_differs_between_relax_times_is_a_range():
    document = make_document(times=(12, 93))
    document["learning_rates"][5] |= {"chosen": 0.3, "at_edge": True}
    assert told(document)[-1].rstrip() == (
        "learning rates: CNN .1, FCN .1, eFCN .1 to .3; 1 of 6 at an edge"
    )
    # From the start and from each relax time on, it is one CNN.
    document["learning_rates"][2]["chosen"] = 0.03
    assert told(document)[-1].startswith("learning rates: CNN .03 to .1, FCN .1, eF")


def test_where_nothing_can_be_off_local_untied_weights_take_its_place():
    """As in a locally connected network."""
    local = make_document(names={"cnn": "CNN", "relaxed": "eLCN", "fresh": "LCN"})
    for entry in local["times"]:
        entry["deviation"] = dict.fromkeys(("estimate", "low", "high"), 0.0)
        entry["deviation_by_layer"] = dict.fromkeys(
            entry["deviation_by_layer"], entry["deviation"]
        )
    left = sections(local)["Does it leave the convolutional subspace?"]
    assert [plate.caption.partition(",")[0] for plate in left.figures] == [
        "Share of the norm of the eLCN's weights"
    ]
    assert not left.tables
    (exhibit,) = sections(local)["Relax time by relax time"].tables
    assert exhibit.table.headings[-1] == "untied"
    untied = local["times"][0]["untied"]["estimate"]
    assert exhibit.table.rows[0][-1] == share(untied)
    assert any(line.rstrip().endswith("untied") for line in told(local))
    assert not any("off-local" in line for line in told(local))


def test_relax_times_at_which_nothing_is_compared_are_left_out_of_the_count():
    document = make_document(times=(12, 93, 250))
    document["times"][2]["gain"] = dict.fromkeys(document["times"][2]["gain"])
    document["times"][2]["gain_over_fresh"] = document["times"][2]["gain"]
    (exhibit,) = sections(document)["Relax time by relax time"].tables
    assert "for having looked at 2 relax times." in exhibit.caption
    assert exhibit.table.rows[2][2:4] == ("", "")
    found = page.article(document)
    assert "for all 2 relax times at once" in found.numbers[1].term
    (plate,) = sections(document)["When does the eFCN gain over the CNN?"].figures
    assert "hold for all 2 relax times at once" in plate.caption
    plate.draw(390)


def test_captions_say_which_rate_was_whose():
    found = sections(make_document(times=(12, 93)))
    captions = {
        heading: " ".join(figure.caption for figure in section.figures)
        for heading, section in found.items()
    }
    left = captions["Does it leave the convolutional subspace?"]
    assert "Learning rates differ between relax times, and with them how far" in left
    assert "CNN: trained on for as long." in left
    same = captions["Are they the same solution?"]
    assert "those of the CNN trained on for as long and those of the eFCN." in same
    assert captions["Were all tuned alike?"].endswith(
        "What was tried for the CNN that goes on stands in the table."
    )


# ------------------------------------------------------------- in a real browser


def test_no_width_scrolls_sideways(chromium, tmp_path, rendered):  # noqa: F811
    for width in (320, 1280):
        found = measured(chromium, tmp_path, rendered, width)
        assert found["scroll"] <= width
        assert (found["wide"], found["narrow"]) == ((0, 8) if width < 600 else (8, 0))
        assert found["errors"] == 0

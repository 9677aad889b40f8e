import copy
import dataclasses
import html.parser
import importlib.resources
import json
import re
import shutil
import subprocess

import pytest
from rich.console import Console

from archtrial.errors import RecordsError
from archtrial.report import Evidence, figures, page, terminal

from .conftest import (
    LADDER,
    Score,
    estimate,
    make_comparison,
    make_evidence,
    make_row,
    make_runs,
    make_whole_evidence,
)

HOSTILE = "<script>alert(1)</script>\"' & $x$ 卷积🎉"


class Reader(html.parser.HTMLParser):
    """Collects tags, attributes and the words outside of style sheets."""

    # What has no end tag in HTML.
    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def judged(**changes):
    """Returns what a table of somebody else's runs gives: no more than scores."""
    runs = [
        dataclasses.replace(run, configuration={}, parameters=0, flops=0.0)
        for run in make_runs(curves=False)
        if run.stage == "search"
    ]
    unknown = {"estimate": None, "low": None, "high": None}
    comparison = make_comparison(
        effect_at_equal_compute=None,
        probability_better={
            "searches": {"estimate": 0.9, "low": 0.8, "high": 1.0},
            "seeds": None,
        },
        other_reading=None,
        test_set_floor=None,
        tuning_to_match=None,
        baseline_score=unknown,
        estimand="run",
        **changes,
    )
    study = {"protocol_hash": None, "data": "runs.csv", "seed": 0}
    document = {"schema": 2, "study": study, "comparisons": [comparison]}
    return Evidence(document=document, runs=runs, metric=Score())


@pytest.fixture(scope="module")
def rendered():
    return page.render(make_evidence())


@pytest.fixture(scope="module")
def complete():
    return page.render(make_whole_evidence())


@pytest.mark.parametrize("which", ["evidence", "whole"])
def test_the_fixture_is_a_verdict_as_its_schema_describes_it(which, request):
    evidence = request.getfixturevalue(which)
    jsonschema = pytest.importorskip("jsonschema")
    schema = importlib.resources.files("archtrial.statistics") / "verdict.schema.json"
    if not schema.is_file():
        pytest.skip("the schema is not there")
    jsonschema.validate(evidence.document, json.loads(schema.read_text("utf-8")))


def test_the_sentence_comes_first_and_details_last(rendered):
    text = Reader(rendered).text
    order = [
        "Yes, the architecture matters. After 4 tries each, cnn reaches 87 %, mlp 63 %: 24"
        " percentage points more (20 to 28).",
        "The best of all 16 mlp settings reaches 64 %, so tuning this far did not help",
        "Warnings",
        "What the words mean",
        "Gain of cnn over mlp +24 points",
        "95 % interval +20 to +28 points",
        "How often chance alone makes a gain this large about once in 5,000",
        "cnn gains 24 points over mlp",
        "Would more tuning of mlp make up for it?",
        "cnn is ahead of mlp at every effort up to 4 trials",
        "The tuned cnn beats the tuned mlp on all 13 fresh seeds",
        "The same comparison, read in other ways",
        "The arms",
        "The tuned configuration",
        "To load the tuned cnn",
        "Notes",
        "The protocol",
        "Where it ran",
        "How to cite",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_evidence_stands_before_robustness_and_both_before_details(complete):
    text = Reader(complete).text
    order = [
        "Yes, the architecture matters.",
        "How often chance alone makes a gain this large",
        "cnn gains 24 points over mlp",
        "In simulations of such studies (16 paired configurations, effort 4), a null"
        " effect is called \u201carchitecture\u201d in .41 % (10,000 studies)",
        "The winner, on new seeds",
        "cnn was the best. Its tuned configuration, trained again from seeds that"
        " had no part in choosing it, scores 87 % (85 to 88 %), +23 (+20 to"
        " +26 points) over the baseline's; of its first lead",
        "Only the effect of residual is clear of chance: +3 points",
        "Would more tuning of mlp make up for it?",
        "cnn is ahead of mlp at every effort up to 4 trials",
        "Would training longer make up for it?",
        "No: even trained 4\u00d7 as long and tuned anew, mlp stays behind cnn at 1\u00d7.",
        "Even trained 4\u00d7 as long, mlp stays behind cnn",
        "4\u00d7 16 69 % (66 to 72 %) \u2013 \u221218 (\u221222 to \u221214)",
        "Of 3 published points, 2.4 were tuning",
        "Does it hold in other analyses? (sensitivity analysis)",
        "In \u201clabel_smoothing above .1\u201d the gain is lost",
        "The same comparison, read in other ways",
        "55 % of the spread of scores comes from the hyperparameters, 31 % from the"
        " architecture",
        "Which hyperparameter mattered for which arm",
        "learning_rate 71 % (50 to 82 %) 82 % (66 to 90 %)",
        "Outside the tests: can mlp reach it at all?",
        "No other tuner brings mlp up to cnn",
        "A model of the ceiling",
        "mlp: 70 % (67 to 75 %)",
        "cnn: not estimated : 16 configurations are fewer than 64",
        "When it was looked at",
        "16 for futility only go on 32 .55 % claim",
        "The arms",
        "The protocol",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_what_is_exploratory_is_said_under_the_sentence():
    note = "Exploratory: margin and effort differ from what was declared."
    named = "Exploratory column: 3 cells are empty."  # what a user calls something
    evidence = make_evidence(notes=[named, "Something else."], exploratory=[note])
    text = Reader(page.render(evidence)).text
    assert text.index(note) < text.index("Gain of cnn over mlp")
    assert text.count(note) == text.count(named) == 1
    assert text.index("Something else.") > text.index("The arms")
    assert text.index(named) > text.index("The arms")


@pytest.mark.parametrize(
    ("alpha", "level"), [(0.05, "95"), (0.000025, "99.9975"), (1e-6, "99.99990")]
)
def test_no_interval_is_called_certain(alpha, level):
    evidence = make_evidence()
    evidence.document["comparisons"][0]["alpha"] = alpha
    assert f"{level} % interval +20" in Reader(page.render(evidence)).text


def test_an_early_look_says_its_own_level_however_small():
    evidence = make_whole_evidence()
    evidence.document["study"]["looks"][0]["alpha"] = 0.00000012
    text = Reader(page.render(evidence)).text
    assert "level of this look" in text
    assert "16 .000012 % go on 32 .55 % claim" in text
    assert " 0 % " not in text[text.index("level of this look") :][:60]


def test_an_open_question_says_what_would_settle_it_in_time_and_money():
    evidence = make_whole_evidence()
    evidence.document["comparisons"][0]["verdict"] = "inconclusive"
    # 82 runs of 2.5 seconds, four times: 820 seconds, at 2.50 an hour.
    assert len(evidence.runs) == 82
    text = Reader(page.render(evidence)).text
    assert (
        "64 configurations an arm, about 14 minutes of training: 0.57 at 2.50 an hour,"
        " would probably settle cnn against mlp." in text
    )


def test_a_page_of_a_hundred_thousand_runs_is_small_and_says_what_it_left_out():
    searched = [run for run in make_runs() if run.stage == "search"]
    runs = [
        dataclasses.replace(run, pair=16 * i + run.pair, curve=())
        for i in range(3_125)
        for run in searched
    ]
    assert len(runs) == 100_000
    rendered = page.render(make_evidence(runs=runs))
    assert len(rendered) < 2_000_000
    assert "(of the arm with most, one in 167 is drawn)" in Reader(rendered).text
    assert rendered.count("<use") < 20_000


@pytest.mark.parametrize("which", ["rendered", "complete"])
def test_the_page_is_well_formed_and_asks_nothing_of_the_network(which, request):
    rendered = request.getfixturevalue(which)
    reader = Reader(rendered)
    assert not reader.open
    assert rendered.startswith("<!doctype html>")
    assert not {"script", "img", "iframe", "object"} & set(reader.tags)
    for _, name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith(("#", "data:")), value
    assert not re.search(r"url\((?!#)|@import", rendered)
    # The browser is told so, too.
    assert "default-src 'none'" in rendered


@pytest.mark.parametrize("which", ["rendered", "complete"])
def test_ids_are_unique_and_links_lead_somewhere(which, request):
    rendered = request.getfixturevalue(which)
    attributes = Reader(rendered).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {
        value[1:]
        for _, name, value in attributes
        if name in ("href", "xlink:href") and value.startswith("#")
    }
    assert {"warnings"} < targets <= set(ids)


def test_figures_are_named_for_those_who_do_not_see_them(rendered):
    attributes = Reader(rendered).attributes
    drawings = sum(a == ("svg", "role", "img") for a in attributes)
    names = [v for tag, name, v in attributes if (tag, name) == ("svg", "aria-label")]
    # Five figures, each for a wide and a narrow screen.
    assert drawings == len(names) == 10
    assert all(names)
    assert ("html", "lang", "en") in attributes


def test_the_same_evidence_gives_the_same_bytes(rendered):
    assert page.render(make_evidence()) == rendered


def test_what_was_not_passed_has_no_section():
    text = Reader(page.render(judged())).text
    for words in (
        "fresh seeds",
        "declared space",
        "last fifth of training",
        "Would more tuning",
        "The protocol",
        "Where it ran",
        "To load",
        "Warnings",
        "Notes",
        "The tuned configuration",
        "parameters",
        "equal compute",
        "floating-point operations of training",
        "not known",
    ):
        assert words not in text, words
    # Without tuning curves the interval is what shows why.
    assert "cnn gains 24 points over mlp" in text
    assert "configurations searched 16 16" in text


def test_a_comparison_that_cannot_be_judged_has_no_numbers():
    unknown = {"estimate": None, "low": None, "high": None}
    evidence = judged(
        verdict="not_assessable",
        strong=False,
        reason="n is too small",
        sentence="No verdict. cnn and mlp cannot be compared: n is too small.",
        effect=unknown,
        p_value=None,
        p_value_adjusted=None,
        challenger_score=unknown,
        minimum_detectable_effect=None,
    )
    evidence.document["comparisons"][0]["probability_better"] = None
    text = Reader(page.render(evidence)).text
    assert "No verdict." in text
    assert "cannot be compared: n is too small." in text
    assert "Gain of" not in text
    assert "not known" not in text


def test_a_refusal_shows_no_gain_beneath_it():
    evidence = make_whole_evidence()
    (comparison,) = evidence.document["comparisons"]
    comparison |= {
        "verdict": "not_assessable",
        "strong": False,
        "reason": "mlp was never trained",
        "sentence": "No verdict. cnn and mlp cannot be compared: mlp was never trained.",
    }
    before = copy.deepcopy(evidence.document)
    told = Reader(page.render(evidence)).text
    shown, _, recorded = told.partition('{ "schema"')
    console = Console(width=100, highlight=False)
    with console.capture() as captured:
        terminal.show(evidence, console)
    for text in (shown, captured.get().replace("\u00a0", " ")):
        assert "cannot be compared: mlp was never trained." in text
        for words in (
            "Gain of", "+24", "gains 24 points", "interval;", "(p =", "above the margin",
            "64 configurations", "more tuning of", "simulations", "ahead of", "gap there",
            "clear of chance", "was the best", "TPE", "loses the gain", "trained 4\u00d7",
            "of the spread of scores",
        ):  # fmt: skip
            assert words not in text, words
    # The record has all of it.
    assert evidence.document == before
    assert '"estimate": 0.2412' in recorded
    with pytest.raises(RecordsError, match="no comparison here can be judged"):
        figures.draw("effects", evidence)


def test_one_refusal_among_several_takes_nothing_from_the_others():
    evidence = make_whole_evidence()
    (judged_one,) = evidence.document["comparisons"]
    refused = judged_one | {
        "challenger": "vit",
        "verdict": "not_assessable",
        "reason": "vit is dead",
        "sentence": "No verdict. vit and mlp cannot be compared: vit is dead.",
    }
    evidence.document["comparisons"] = [judged_one, refused]
    evidence.document["study"]["winner"] = {
        "arm": "vit",
        "score": estimate(0.9, 0.8, 1.0),
        "rerun": estimate(0.9, 0.8, 1.0, seeds=3),
        "lead": estimate(0.3, 0.2, 0.4),
        "gain": estimate(0.3, 0.2, 0.4),
        "luck": None,
    }
    text = Reader(page.render(evidence)).text
    assert "Gain of cnn over mlp" in text
    assert "Gain of vit" not in text
    assert "vit was the best" not in text
    assert "In simulations" in text


def hostile_evidence(name):
    """Returns evidence of everything, in which all that a user names is called so."""
    runs = [
        dataclasses.replace(
            run,
            arm={"mlp": name, "cnn": "cnn"}[run.arm],
            configuration={name: name, **run.configuration},
        )
        for run in make_runs()
    ]
    evidence = make_whole_evidence()
    study = evidence.document["study"] | {
        "protocol_hash": name,
        "data": name,
        "winner": evidence.document["study"]["winner"] | {"arm": name},
        "attribution": {
            "shares": evidence.document["study"]["attribution"]["shares"],
            "importance": {name: {name: estimate(0.5, 0.4, 0.6)}},
        },
        "factorial": {
            "effects": [
                {
                    "name": name,
                    "factors": [name, name],
                    "effect": estimate(0.1, 0.05, 0.15),
                    "p_value": 0.01,
                    "p_value_adjusted": 0.01,
                    "claimed": True,
                }
            ]
        },
        "looks": [{"configurations": 16, "alpha": 0.01, "decisions": {"cnn": name}}],
        "probes": [
            {
                "tuner": name,
                "trials": 8,
                "best_validation": 0.5,
                "score": estimate(0.5, 0.4, 0.6, seeds=3),
                "reaches": True,
            }
        ],
        "ceilings": {name: {"reason": name}},
    }
    (old,) = evidence.document["comparisons"]
    comparison = make_comparison(
        name,
        "cnn",
        warnings=[name],
        ladder=LADDER
        | {"rungs": [*LADDER["rungs"][:2], LADDER["rungs"][2] | {"reason": name}]},
        robustness={
            "rows": [make_row(name, estimate(0.1, -0.1, 0.3), "lost")],
            "opposite": [],
            "lost": [name],
            "skipped": [name],
        },
        published=old["published"],
    )
    return dataclasses.replace(
        evidence,
        document={"schema": 2, "study": study, "comparisons": [comparison]},
        runs=runs,
        curves={name: evidence.curves["mlp"], "cnn": evidence.curves["cnn"]},
        spaces={name: evidence.spaces["mlp"], "cnn": evidence.spaces["cnn"]},
        edges={name: {"learning_rate": "low"}},
        protocol={name: {name: [name]}},
        environment={name: name},
        notes=[name],
        exploratory=[f"Exploratory: {name}"],
        loading={name: name},
    )


def test_every_name_is_escaped():
    rendered = page.render(hostile_evidence(HOSTILE))
    reader = Reader(rendered)
    assert "script" not in reader.tags
    assert "<script" not in rendered
    assert reader.text.count(HOSTILE) > 30
    assert not reader.open


def test_several_challengers_have_a_section_each():
    names = ["cnn", "gru", "lstm", "rnn", "linear"]
    verdicts = [
        "architecture",
        "architecture",
        "equivalent",
        "inconclusive",
        "baseline",
    ]
    comparisons = [
        make_comparison(challenger=name, verdict=verdict)
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    evidence = judged()
    evidence.document["comparisons"][:] = comparisons
    rendered = page.render(evidence)
    text = Reader(rendered).text
    assert (
        "cnn and gru gain over mlp by architecture; lstm is as good as mlp; linear is"
        " worse than mlp; rnn is undecided." in text
    )
    for name in names:
        assert f"{name} against mlp" in text
    # Each interval is one of five, and says so.
    assert text.count("99 % interval +") == 5
    assert text.count("adjusted for 5 challengers") == 5
    assert rendered.count("<h3>Every challenger&#39;s gain over mlp is clear of 0") == 1


def test_architectures_and_recipes_that_were_crossed_are_weighed():
    evidence = judged()
    evidence.document["comparisons"][:] = [
        make_comparison(challenger=name) for name in ("cnn", "cnn + modern")
    ]
    evidence.document["study"]["factorial"] = {
        "effects": [
            {
                "name": f"{factor}: {levels}",
                "factors": [factor],
                "effect": effect,
                "p_value": 0.001,
                "p_value_adjusted": 0.002,
                "claimed": True,
            }
            for factor, levels, effect in (
                ("architecture", "cnn rather than mlp", estimate(0.3, 0.2, 0.4)),
                ("recipe", "modern rather than plain", estimate(0.1, 0.05, 0.15)),
            )
        ]
    }
    arms = [{"name": "cnn"}, {"name": "cnn + modern", "recipe": {"length": 2.0}}]
    alike = dataclasses.replace(evidence, protocol={"baseline": arms[0]})
    evidence = dataclasses.replace(
        evidence,
        protocol={
            **evidence.protocol,
            "baseline": {"name": "mlp"},
            "challengers": arms,
        },
    )
    text = Reader(page.render(evidence)).text
    assert "cnn and cnn + modern gain over mlp beyond what tuning explains." in text
    assert "What matters more The architecture matters more than the recipe:" in text
    assert "architecture: cnn rather than mlp" in text
    assert not evidence.trained_alike
    assert alike.trained_alike
    assert "What matters more" not in Reader(page.render(judged())).text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.2, 0.3, "all of it above the margin of .5 points"),
        (-0.3, -0.2, "all of it below the margin of \u2212.5 points"),
        (-0.004, 0.004, "all of it within the margin of ±.5 points"),
        (-0.1, 0.3, "the margin, the smallest gap worth having, is .5 points"),
    ],
)
def test_the_interval_is_set_beside_the_margin(low, high, words):
    effect = {"estimate": (low + high) / 2, "low": low, "high": high}
    assert words in Reader(page.render(judged(effect=effect))).text


@pytest.mark.parametrize(
    ("catch_up", "multiple", "words"),
    [
        (
            "yes",
            {"estimate": 1.5, "low": 1.0, "high": 3.0},
            "Yes: with more tuning, mlp comes within the margin of cnn. These runs tell of"
            " up to 16 tries of mlp, 4 times the compute that cnn was tuned with; the best"
            " guess is that mlp needs 6 tries (1.5 times that compute), at least 4 tries"
            " (as much as that compute) and at most 12 tries (3 times that compute).",
        ),
        (
            "no",
            {"estimate": None, "low": 5.0, "high": None},
            "No: more tuning of mlp does not make up for the gap. These runs tell of up to 16"
            " tries of mlp, 4 times the compute that cnn was tuned with; mlp needs at least"
            " 20 tries (5 times that compute).",
        ),
    ],
)
def test_catching_up_is_told_in_words(catch_up, multiple, words):
    evidence = judged(catch_up=catch_up)
    evidence.document["comparisons"][0]["tuning_to_match"] = {
        "multiple": multiple,
        "trials": {end: n and 4 * n for end, n in multiple.items()},
        "reportable_up_to": 4.0,
        "would_settle": None,
    }
    assert words in Reader(page.render(evidence)).text


def test_nested_protocols_are_laid_flat():
    evidence = dataclasses.replace(
        judged(),
        protocol={
            "arms": [{"name": "a", "space": {}}, {"name": "b"}],
            "margin": None,
            "fixed": True,
            "sizes": [1, 2.5, "x"],
            "source": "def f():\n    pass",
        },
    )
    text = Reader(page.render(evidence)).text
    for words in (
        "arms.0.name a arms.0.space {} arms.1.name b",
        "margin null fixed true",
        "sizes 1, 2.5, x",
        "source show 17 characters def f(): pass",
    ):
        assert words in text


def test_one_seed_has_no_interval():
    evidence = judged()
    run = next(run for run in evidence.runs if run.arm == "mlp")
    default = dataclasses.replace(run, stage="default", pair=-1, test=0.5)
    evidence = dataclasses.replace(evidence, runs=[*evidence.runs, default])
    assert "score as it comes 50 % \u2013" in Reader(page.render(evidence)).text


def test_a_published_gap_is_taken_apart():
    part = {"estimate": 0.01, "low": 0.0, "high": 0.02}
    evidence = judged(
        published={
            "gap": 0.03,
            "tuning": part,
            "architecture": part,
            "selection_luck": part,
        }
    )
    text = Reader(page.render(evidence)).text
    assert "Of the published gap of +3 points: tuning mlp better" in text
    assert "+1 point (0 to +2 points)" in text


# ------------------------------------------------------------- in a real browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    profile = tmp_path_factory.mktemp("profile")

    def dump(path, *options):
        finished = subprocess.run(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--allow-file-access-from-files",
                f"--user-data-dir={profile}",
                "--virtual-time-budget=5000",
                *options,
                "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return finished.stdout

    return dump


# A window of a browser is never as narrow as a phone: the page is put into a
# frame, and measured from outside.
FRAME = """<!doctype html><body style="margin:0">
<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  const shown = (name) => [...page.querySelectorAll(name)].filter(
    (element) => element.getBoundingClientRect().width > 0).length;
  const style = (name) => getComputedStyle(page.querySelector(name));
  document.title = JSON.stringify({{
    scroll: page.documentElement.scrollWidth,
    wide: shown(".wide svg"), narrow: shown(".narrow svg"),
    paper: style("body").backgroundColor,
    words: style("svg text").fill,
    font: style("svg text").fontFamily,
    heading: page.querySelector("h1").getBoundingClientRect().bottom,
    errors: page.querySelectorAll("parsererror").length,
  }});
}});
</script>"""


def measured(chromium, tmp_path, rendered, width, *options):
    (tmp_path / "page.html").write_text(rendered, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    dumped = chromium(frame, *options)
    (title,) = re.findall("<title>(.*?)</title>", dumped)
    return json.loads(html.unescape(title))


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_width_scrolls_sideways(chromium, tmp_path, complete, width):
    found = measured(chromium, tmp_path, complete, width)
    assert found["scroll"] <= width
    assert (found["wide"], found["narrow"]) == ((0, 11) if width < 600 else (11, 0))
    assert found["errors"] == 0
    # The sentence is read without scrolling.
    assert 0 < found["heading"] < 600


def test_long_names_do_not_widen_a_phone(chromium, tmp_path):
    long = "ResidualNetworkWithoutAnySpaceInItsName" * 3
    evidence = make_evidence()
    runs = [
        dataclasses.replace(run, arm=long) if run.arm == "cnn" else run
        for run in evidence.runs
    ]
    evidence = dataclasses.replace(
        evidence,
        document=evidence.document
        | {"comparisons": [make_comparison(challenger=long)]},
        runs=runs,
        curves={"mlp": evidence.curves["mlp"], long: evidence.curves["cnn"]},
        protocol={"a" * 80: "b" * 150},
    )
    found = measured(chromium, tmp_path, page.render(evidence), 390)
    assert found["scroll"] <= 390


def test_dark_mode_turns_page_and_figures(chromium, tmp_path, rendered):
    light = measured(chromium, tmp_path, rendered, 390)
    dark = measured(
        chromium, tmp_path, rendered, 390, "--blink-settings=preferredColorScheme=0"
    )
    assert light["paper"] == "rgb(255, 255, 255)"
    assert dark["paper"] == "rgb(21, 24, 28)"
    assert light["words"] != dark["words"]
    assert "DejaVu" not in light["font"]


def test_the_browser_reads_the_page_as_it_was_written(chromium, tmp_path, rendered):
    path = tmp_path / "page.html"
    path.write_text(rendered, encoding="utf-8")
    dumped = chromium(path)
    assert dumped.count("<svg") == 10
    assert "</main>" in dumped
    assert Reader(dumped).text == Reader(rendered).text


@pytest.mark.parametrize(
    "name",
    [
        "<script>document.title='ran'</script>",
        '"><img src=x onerror="document.title=\'ran\'">',
        "'><svg onload=document.title='ran'>",
        "{{ 7 * 7 }} ${7*7} javascript:document.title='ran'",
        '=HYPERLINK("https://example.org","x")',
    ],
)
def test_no_name_runs_anything_in_a_browser(chromium, tmp_path, name):
    path = tmp_path / "page.html"
    # Without the policy that forbids scripts, so that escaping alone is tested.
    rendered = page.render(hostile_evidence(name))
    assert "Content-Security-Policy" in rendered
    path.write_text(
        rendered.replace("Content-Security-Policy", "nothing"), encoding="utf-8"
    )
    dumped = Reader(chromium(path))
    assert not {"script", "img", "a-href"} & set(dumped.tags)
    assert not [n for _, n, _ in dumped.attributes if n.startswith("on")]
    links = [v for _, n, v in dumped.attributes if n in ("href", "xlink:href")]
    assert all(value.startswith(("#", "data:")) for value in links)
    (title,) = re.findall("<title>(.*?)</title>", chromium(path), re.DOTALL)[:1]
    assert title != "ran"
    assert name.split("(")[0] in dumped.text


def test_a_page_with_everything_on_it_is_a_few_sheets(chromium, tmp_path, complete):
    path = tmp_path / "page.html"
    path.write_text(complete, encoding="utf-8")
    printed = tmp_path / "page.pdf"
    chromium(path, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) <= 7

import pytest
from rich.console import Console

from archtrial.report import terminal
from archtrial.space import Integer, Real
from archtrial.words import findings
from tests.report.conftest import (
    LADDER,
    ROBUSTNESS,
    Score,
    estimate,
    make_comparison,
    make_evidence,
    make_row,
    make_whole_evidence,
)


def matching(**multiple):
    return make_comparison(
        catch_up="yes",
        tuning_to_match={
            "multiple": multiple,
            "trials": {
                end: 4 * value if type(value) is float else value
                for end, value in multiple.items()
            },
            "reportable_up_to": 4.0,
            "would_settle": None,
        },
    )


def test_an_upper_limit_is_not_called_a_best_guess_of_the_number_itself():
    at_most = matching(estimate=2.0, low=1.0, high=3.0, at_most=True)
    exactly = matching(estimate=2.0, low=1.0, high=3.0, at_most=False)
    assert (
        "by best guess 8 tries (2 times that compute) are enough for mlp, which may need"
        " fewer, since the scores do not tell of smaller efforts; it needs at least 4"
        " tries (as much as that compute) and at most 12 tries (3 times that compute)."
    ) in findings.catching_up(at_most).detail
    assert (
        "needs 8 tries (2 times that compute), at least 4 tries (as much as that compute)"
        " and at most 12 tries (3 times that compute)."
    ) in findings.catching_up(exactly).detail


def test_where_compute_has_no_unit_in_common_tries_are_told_alone():
    comparison = matching(estimate=2.0, low=1.0, high=3.0, at_most=False)
    comparison["tuning_to_match"]["unit"] = "trials"
    assert findings.catching_up(comparison).detail == (
        "These runs tell of up to 16 tries of mlp, 4 times the tries that cnn was tuned"
        " with; the best guess is that mlp needs 8 tries, at least 4 tries and at most 12"
        " tries."
    )


def test_a_cheap_arm_catches_up_by_many_tries_and_little_compute():
    comparison = matching(estimate=0.0002, low=0.0001, high=None, at_most=False)
    comparison["tuning_to_match"] |= {
        "trials": {"estimate": 30_000, "low": 15_000, "high": None},
        "reportable_up_to": 0.0003,
        "would_settle": 142_052,
    }
    detail = findings.catching_up(comparison).detail.replace("\u00a0", " ")
    assert detail == (
        "These runs tell of up to more than 10,000 tries of mlp, less than 1 % of the"
        " compute that cnn was tuned with; the best guess is that mlp needs more than"
        " 10,000 tries (less than 1 % of that compute), more than 10,000 tries"
        " (less than 1 % of that compute) and with no upper limit. More than 10,000"
        " configurations of each arm would tell."
    )


def test_what_longer_training_settled_is_not_said_of_more_trials():
    comparison = matching(estimate=None, low=1.0, high=None) | {
        "ladder": LADDER
        | {"reaches": "yes", "rung": {"estimate": 2, "low": 1, "high": 4}}
    }
    assert findings.catching_up(comparison).answer.startswith("Not settled")
    assert findings.longer_training(comparison, Score()).answer == (
        "Yes: trained 4\u00d7 as long and tuned anew, mlp comes within the margin of"
        " cnn at 1\u00d7."
    )


@pytest.mark.parametrize(
    ("changes", "answer", "detail"),
    [
        (
            {},
            "No: even trained 4\u00d7 as long and tuned anew, mlp stays behind cnn at"
            " 1\u00d7.",
            "At 4\u00d7 it is 18 points short of the target",
        ),
        (
            {"reaches": "unknown", "rung": {"estimate": 2, "low": 1, "high": None}},
            "Not settled: up to 4\u00d7 the training, it is open whether mlp comes"
            " within the margin of cnn at 1\u00d7.",
            "The best guess is 2\u00d7 the training, at least 1\u00d7 and no upper"
            " limit.",
        ),
    ],
)
def test_longer_training_is_told_in_words(changes, answer, detail):
    comparison = make_comparison(ladder=LADDER | changes)
    found = findings.longer_training(comparison, Score())
    assert found.answer == answer
    assert detail in found.detail
    assert "71\u00a0% at 8\u00d7: a model, not evidence." in found.detail
    assert findings.longer_training(make_comparison(), Score()) is None


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"lost": []}, "Yes: 8 sensitivity analyses give the same answer."),
        (
            {"lost": ["a", "b"]},
            "Not in every analysis: of 8 sensitivity analyses, \u201ca\u201d and"
            " \u201cb\u201d lose the gain; in none does its sign turn.",
        ),
        (
            {"opposite": ["a"]},
            "No: in \u201ca\u201d the sign of the gain turns, so the verdict depends on"
            " the search space.",
        ),
    ],
)
def test_sensitivity_analyses_are_told_in_words(changes, answer):
    comparison = make_comparison(robustness=ROBUSTNESS | changes)
    assert findings.sensitivity(comparison).answer == answer


def test_parts_that_were_not_looked_at_or_read_otherwise_are_named():
    rows = [make_row("a", estimate(0.1, 0.0, 0.2), estimand="run")]
    comparison = make_comparison(robustness=ROBUSTNESS | {"rows": rows})
    assert findings.sensitivity(comparison).detail == (
        "Nothing is said of \u201cnorm = batch\u201d: too few configurations lie there."
        " \u201ca\u201d is read by run, since too few of the best there have the"
        " scores of the other reading."
    )


OURS = {
    "trainer": "archtrial", "configurations": 16, "seed": 3, "alpha": 0.05,
    "challengers": [{}],
}  # fmt: skip
SETTLED = {"configurations": 64, "times_cost": 4.0, "test_examples": None}
GOING_ON = "archtrial run --study s"


def advised(protocol, settled=SETTLED, seconds=205.0, price=None, going_on=GOING_ON):
    comparison = make_comparison(verdict="inconclusive", would_settle=settled)
    return findings.next_step(
        comparison, protocol, seconds=seconds, price_per_hour=price, going_on=going_on
    )


def test_the_command_is_the_one_that_goes_on():
    found = advised(OURS)
    assert found.text == (
        "64 configurations an arm, about 14 minutes of training, would probably settle"
        " cnn against mlp:"
    )
    assert found.command == "archtrial run --study s --configurations 64"
    assert "in up to 6.2\u00a0% of such studies. Instead, a new study" in found.detail
    assert "with --looks 16,64, --seed 4 and another --study" in found.detail
    assert "in up to 10\u00a0% of such pairs." in found.detail
    again = advised({**OURS, "grown": [8]})
    assert "in up to 8.1\u00a0% of such studies" in again.detail
    assert "--looks 8,16,64," in again.detail


def test_where_the_study_cannot_go_on_there_is_no_command():
    # Looks share the whole level, and one may have stopped before the last.
    looking = advised({**OURS, "looks": [8, 16, 128]})
    assert looking.command == ""
    assert looking.detail.startswith("A new study, declared with --looks 8,16,64,128,")
    python = advised({**OURS, "trainer": "mine"}, going_on="")
    assert python.command == ""
    assert "configurations=64 in the same folder grows" in python.detail
    table = advised({})
    assert table.command == ""
    assert table.text.endswith("On the same test set that is a second look.")
    # Nobody trains so many.
    far = {"configurations": 142_052, "times_cost": 8_878.0, "test_examples": None}
    assert advised(OURS, far).command == ""
    assert advised(OURS, far).text.startswith("More than 10,000 configurations an arm,")


def test_what_would_settle_it_has_a_time_and_a_price():
    priced = advised(OURS, price=2.5)
    assert "about 14 minutes of training: 0.57 at 2.50 an hour, would" in priced.text
    # Nobody timed the runs of somebody else's table.
    assert "about 4 times this study's cost, would" in advised(OURS, seconds=0).text


def test_an_open_question_of_more_tuning_has_a_next_step():
    comparison = make_comparison()
    found = findings.next_step(comparison, OURS, seconds=205, going_on=GOING_ON)
    assert found.text.endswith(
        "would probably tell whether more tuning of mlp makes up for the gap:"
    )
    assert found.command == "archtrial run --study s --configurations 64"
    for settled in (
        make_comparison(catch_up="no"),
        make_comparison(tuning_to_match=None),
        make_comparison(verdict="equivalent"),
        make_comparison(verdict="inconclusive", would_settle=None),
    ):
        assert findings.next_step(settled, OURS, seconds=1, going_on=GOING_ON) is None
    assert findings.next_step(comparison, {}, seconds=1) is None


def test_a_test_set_that_is_too_small_is_said_so():
    settled = {"configurations": None, "times_cost": None, "test_examples": 2.4}
    assert advised(OURS, settled).text == (
        "2.4 times the test examples would settle cnn against mlp; more configurations"
        " would not."
    )
    assert advised(OURS, settled | {"test_examples": None}) is None


def test_halves_of_the_space_name_their_ranges():
    parts = (
        "learning_rate, lower half", "depth of mlp, upper half", "depth of cnn, lower half",
        "norm, batch", "width, upper half", "unknown, lower half",
    )  # fmt: skip
    rows = [make_row(part, estimate(0.1, 0.0, 0.2)) for part in parts]
    found = {"rows": rows, "lost": [parts[0]], "opposite": [], "skipped": [parts[1]]}
    comparison = make_comparison(robustness=found)
    rate = Real(1e-4, 1e-2, log=True)
    spaces = {
        "mlp": {"learning_rate": rate, "depth": Integer(1, 3), "width": Real(0.0, 0.5)},
        "cnn": {"learning_rate": rate, "width": Real(0.0, 0.4)},
    }
    named = findings.with_ranges(comparison, spaces)["robustness"]
    assert [row["part"] for row in named["rows"]] == [
        "learning_rate at most .001",
        "depth of mlp above 1",
        # Whoever has none, or others, keeps the name.
        *parts[2:],
    ]
    assert named["lost"] == ["learning_rate at most .001"]
    assert named["skipped"] == ["depth of mlp above 1"]
    same = make_comparison(robustness=None)
    assert findings.with_ranges(same, spaces) is same


def test_a_ceiling_is_a_model_and_says_when_it_failed():
    found = estimate(0.7, 0.6, 0.8, backtest={"passed": False, "error": 0.2})
    assert findings.ceiling("mlp", found, Score()) == findings.Answer(
        "mlp: 70\u00a0% (60 to 80\u00a0%)",
        "do not rely on it: the model did not predict the trials it had not seen",
    )


def test_a_ceiling_may_have_no_limit():
    found = {"estimate": 0.7, "low": 0.65, "high": None, "backtest": {"passed": True}}
    assert findings.ceiling("mlp", found, Score()).answer == (
        "mlp: 70.0\u00a0% (these trials set it no limit on one side)"
    )


def test_the_baseline_may_be_the_best():
    study = {
        "winner": {
            "arm": "mlp",
            "score": estimate(0.7, 0.6, 0.8),
            "rerun": estimate(0.69, 0.66, 0.72),
            "gain": None,
            "luck": None,
        }
    }
    assert findings.winner(study, Score()) == (
        "mlp was the best. Its tuned configuration, trained again from seeds that had no"
        " part in choosing it, scores 69\u00a0% (66 to 72\u00a0%); no challenger was ahead of"
        " it."
    )
    assert findings.winner({}, Score()) == ""


def test_shares_that_cannot_be_told_are_said_so():
    share = estimate(0.5, 0.4, 0.6)
    shares = {"architecture": share, "hyperparameters": share}
    hidden = findings.hidden_shares(
        {"attribution": {"shares": shares | {"interaction": None, "seed": None}}}
    )
    assert "do not share their draws" in hidden
    assert "hidden in the others" in hidden
    told = shares | {"interaction": share, "seed": share}
    assert findings.hidden_shares({"attribution": {"shares": told}}) == ""
    assert findings.hidden_shares({}) == ""


def shown(evidence):
    console = Console(width=100, highlight=False, record=True, quiet=False)
    with console.capture() as captured:
        terminal.show(evidence, console)
    return captured.get()


def test_the_terminal_says_the_same_in_the_same_order():
    evidence = make_whole_evidence()
    evidence.document["comparisons"][0]["verdict"] = "inconclusive"
    evidence.document["study"]["arms"] = [
        {
            "name": name,
            "parameters": 100,
            "default": None,
            "tuned": estimate(0.7, 0.6, 0.8),
            "flops_per_run": 1e9,
            "diverged": 0,
        }
        for name in ("mlp", "cnn")
    ]
    text = shown(evidence)
    order = [
        "warning: 2 of 16 configurations",
        "Yes, the architecture matters. After 4 tries each",
        "inconclusive (strong); 95",
        "In simulations of such studies",
        "70\u00a0% (60 to 80\u00a0%)",
        "training longer: No: even trained 4\u00d7",
        "sensitivity analysis: Not in every analysis",
        "the winner: cnn was the best. Its",
        "factors: Only the effect of residual is clear of chance: +3 points.",
        "outside the tests, other tuners: Not that we know: TPE and GP did not.",
        "next: 64 configurations an arm",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert len(text.splitlines()) <= 36


@pytest.mark.parametrize("width", range(40, 100, 4))
def test_no_line_of_a_terminal_begins_with_a_unit(width):
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        terminal.show(make_whole_evidence(), console)
    prose, _, _ = captured.get().partition(" arm ")
    lines = prose.splitlines()
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line.lstrip().startswith("%")] == []
    assert ".41\u00a0%" in prose


def test_a_terminal_of_a_plain_trial_stays_short():
    said = ["Exploratory: the margin differs."]
    text = shown(make_evidence(notes=["Exploratory column: x"], exploratory=said))
    assert "Exploratory: the margin differs." in text
    assert "Exploratory column" not in text
    assert len(text.splitlines()) <= 12
    for words in ("training longer", "sensitivity", "factors", "next:", "simulations"):
        assert words not in text


def crossed(*effects):
    """Returns a study with effects: names of factors, estimate, low, high, claimed."""
    told = {"architecture": "cnn rather than mlp", "recipe": "modern rather than plain"}
    return {
        "factorial": {
            "effects": [
                {
                    "name": f"{names}: {told.get(names, 'true rather than false')}"
                    if " x " not in names
                    else names,
                    "factors": names.split(" x "),
                    "effect": estimate(value, low, high),
                    "claimed": claimed,
                }
                for names, value, low, high, claimed in effects
            ]
        }
    }


@pytest.mark.parametrize(
    ("effects", "says"),
    [
        (
            [("architecture", 0.2, 0.15, 0.25, True), ("recipe", 0.05, 0.0, 0.1, False)],
            "The architecture matters more than the recipe: cnn rather than mlp +20 (+15"
            " to +25 points) and modern rather than plain +5 (0 to +10 points).",
        ),
        # A loss matters as a gain does.
        (
            [("recipe", -0.2, -0.25, -0.15, True), ("architecture", 0.05, 0.0, 0.1, False),
             ("architecture x recipe", 0.05, 0.01, 0.1, True)],
            "The recipe matters more than the architecture: cnn rather than mlp +5 (0 to"
            " +10 points) and modern rather than plain \u221220 (\u221225 to \u221215 points). What the"
            " one is worth depends on the other, so both are averages.",
        ),
        (
            [("architecture", 0.2, 0.15, 0.25, True), ("norm", 0.1, 0.0, 0.16, False),
             ("architecture x norm", 0.05, -0.01, 0.1, False)],
            "It is open whether the architecture or norm matters more: cnn rather than mlp"
            " +20 (+15 to +25 points) and norm: true rather than false +10 (0 to +16"
            " points).",
        ),
        # Of several levels the largest effect counts, whichever its interval's sign.
        (
            [("architecture", 0.02, 0.01, 0.03, True),
             ("architecture", -0.2, -0.22, -0.18, True), ("recipe", 0.1, None, 0.15, False)],
            "It is open whether the architecture or the recipe matters more: cnn rather"
            " than mlp \u221220.0 (\u221222.0 to \u221218.0 points) and modern rather than plain +10.0 points.",
        ),
        ([("norm", 0.2, 0.1, 0.3, True), ("recipe", 0.0, -0.1, 0.1, False)], ""),
        ([("architecture", 0.2, 0.1, 0.3, True)], ""),
        ([("architecture", None, None, None, False), ("recipe", 0, 0, 0, False)], ""),
    ],
)  # fmt: skip
def test_whether_the_architecture_or_another_factor_matters_more(effects, says):
    said = findings.matters_more(crossed(*effects), Score())
    assert said.replace("\u00a0", " ") == says
    assert findings.matters_more({}, Score()) == ""


def test_effects_of_names_are_called_by_them():
    study = crossed(
        ("architecture", 0.2, 0.1, 0.3, True), ("recipe", 0.1, 0.05, 0.2, True),
        ("norm", 0.0, -0.1, 0.1, False),
    )  # fmt: skip
    said = findings.claimed_effects(study["factorial"]["effects"], Score())
    assert said == (
        "The effects of cnn rather than mlp and modern rather than plain are clear of"
        " chance: +20.0 and +10.0 points"
    )
    said = findings.claimed_effects(
        crossed(("norm", 0.1, 0.05, 0.2, True))["factorial"]["effects"], Score()
    )
    assert (
        said
        == "Only the effect of norm: true rather than false is clear of chance: +10.0 points"
    )


def test_no_part_that_could_be_judged_is_no_agreement():
    rows = [{"part": "width, lower half", "standing": "too few"}]
    found = findings.sensitivity(
        {
            "robustness": {"opposite": [], "lost": [], "rows": rows, "skipped": []},
            "estimand": "configuration",
        }
    )
    assert found.answer.startswith("Nothing can be said")
    assert "width, lower half" in found.detail

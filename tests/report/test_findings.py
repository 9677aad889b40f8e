import pytest
from rich.console import Console

from archtrial.report import findings, terminal

from .conftest import (
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
            "trials": multiple,
            "reportable_up_to": 4.0,
            "would_settle": None,
        },
    )


def test_an_upper_limit_is_not_called_a_best_guess_of_the_number_itself():
    at_most = matching(estimate=2.0, low=1.0, high=3.0, at_most=True)
    exactly = matching(estimate=2.0, low=1.0, high=3.0, at_most=False)
    assert "2\u00d7 of it is enough for mlp by best guess, which may need less" in (
        findings.catching_up(at_most).detail
    )
    assert "needs 2\u00d7 of it, at least 1\u00d7 and at most 3\u00d7" in (
        findings.catching_up(exactly).detail
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
            "At 4\u00d7 it is 17.9 points short of the target",
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
    assert "71.4% at 8\u00d7: a model, not evidence." in found.detail
    assert findings.longer_training(make_comparison(), Score()) is None


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"lost": []}, "Yes: seen from 8 other sides, the answer is the same."),
        (
            {"lost": ["a", "b"]},
            "Not everywhere: of 8 other sides, \u201ca\u201d and \u201cb\u201d lose the"
            " gain; nowhere does its sign turn.",
        ),
        (
            {"opposite": ["a"]},
            "No: in \u201ca\u201d the sign of the gain turns, so the verdict depends on"
            " the search space.",
        ),
    ],
)
def test_other_sides_are_told_in_words(changes, answer):
    comparison = make_comparison(robustness=ROBUSTNESS | changes)
    assert findings.other_sides(comparison).answer == answer


def test_parts_that_were_not_looked_at_or_read_otherwise_are_named():
    rows = [make_row("a", estimate(0.1, 0.0, 0.2), estimand="run")]
    comparison = make_comparison(robustness=ROBUSTNESS | {"rows": rows})
    assert findings.other_sides(comparison).detail == (
        "Nothing is said of \u201cnorm = batch\u201d: too few configurations lie there."
        " \u201ca\u201d is read by run, since too few of the best there have the"
        " scores of the other reading."
    )


OURS = {
    "trainer": "archtrial", "configurations": 16, "seed": 3, "alpha": 0.05,
    "challengers": [{}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "words", "absent"),
    [
        ({"grown": [8]}, ("--looks 8,16,64 in", "--seed 4", "up to 8.1%"), ()),
        # Looks share the whole level, and one may have stopped before the last.
        (
            {"looks": [8, 16, 128]},
            ("--looks 8,16,64,128 in", "--seed 4"),
            ("go on from",),
        ),
    ],
)
def test_how_to_go_further_follows_from_the_looks_so_far(more, words, absent):
    settled = {"configurations": 64, "times_cost": 4.0, "test_examples": None}
    comparison = make_comparison(verdict="inconclusive", would_settle=settled)
    said = findings.settling(comparison, make_evidence(protocol={**OURS, **more}))
    assert all(each in said for each in words)
    assert not any(each in said for each in absent)


@pytest.mark.parametrize(
    ("price", "trainer", "words"),
    [
        (None, "archtrial", "(about 14 minutes of training), would"),
        (2.5, "archtrial", "(about 14 minutes of training: 0.57 at 2.50 an hour)"),
        (2.5, "archtrial", "A new study has the declared level for itself: archtrial run with"
         " --looks 16,64 in place of a number of configurations, --seed 4 and another"
         " --study. On the same test set it is a second look: in up to 10% of such pairs"
         " of studies one of both claims a gap that is not there. Or go on from this"
         " study, as a look that was not declared: the same command with"
         " --configurations 64; without any gap one is claimed in up to 6.2% of such"
         " studies."),
        (2.5, None, "cnn against mlp. On the same test set that is a second look."),
    ],
)  # fmt: skip
def test_what_would_settle_it_has_a_time_and_a_price(price, trainer, words):
    settled = {"configurations": 64, "times_cost": 4.0, "test_examples": None}
    comparison = make_comparison(verdict="inconclusive", would_settle=settled)
    protocol = {} if trainer is None else {**OURS, "trainer": trainer}
    evidence = make_evidence(price_per_hour=price, protocol=protocol)
    assert words in findings.settling(comparison, evidence)
    # Nobody timed the runs of somebody else's table.
    untimed = make_evidence(runs=[], price_per_hour=price)
    assert "about 4.0 times this study's cost, would" in (
        findings.settling(comparison, untimed)
    )


def test_a_test_set_that_is_too_small_is_said_so():
    settled = {"configurations": None, "times_cost": None, "test_examples": 2.4}
    comparison = make_comparison(verdict="inconclusive", would_settle=settled)
    assert findings.settling(comparison, make_evidence()) == (
        "About 2.4 times the test examples would settle cnn against mlp; more"
        " configurations would not."
    )
    assert findings.settling(make_comparison(), make_evidence()) == ""


def test_a_ceiling_is_a_model_and_says_when_it_failed():
    found = estimate(0.7, 0.6, 0.8, backtest={"passed": False, "error": 0.2})
    assert findings.ceiling("mlp", found, Score()) == findings.Answer(
        "mlp: 70% (60 to 80%)",
        "do not rely on it: the model did not foretell the trials it had not seen",
    )


def test_a_ceiling_may_have_no_limit():
    found = {"estimate": 0.7, "low": 0.65, "high": None, "backtest": {"passed": True}}
    assert findings.ceiling("mlp", found, Score()).answer == (
        "mlp: 70.0% (these trials set it no limit on one side)"
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
        " part in choosing it, scores 69.0% (66.0 to 72.0%); no challenger was ahead of"
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
        "inconclusive",
        "beats mlp by 24.1 points",
        "In simulations of such studies",
        "70% (60 to 80%)",
        "training longer: No: even trained 4\u00d7",
        "elsewhere: Not everywhere",
        "the winner: cnn was the best of 5",
        "tweaks: Only the effect of residual is clear of chance: +3.1 points.",
        "outside the tests, other tuners: Not that we know: TPE and GP did not.",
        "next: 64 configurations an arm",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert len(text.splitlines()) <= 32


def test_a_terminal_of_a_plain_trial_stays_short():
    said = ["Exploratory: the margin differs."]
    text = shown(make_evidence(notes=["Exploratory column: x"], exploratory=said))
    assert "Exploratory: the margin differs." in text
    assert "Exploratory column" not in text
    assert len(text.splitlines()) <= 12
    for words in ("training longer", "elsewhere", "tweaks", "next:", "simulations"):
        assert words not in text

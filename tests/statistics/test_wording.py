import pytest

from archtrial.statistics import Estimate, Settlement
from archtrial.statistics.ladder import Climb
from archtrial.statistics.matching import Limits, Matching
from archtrial.statistics.wording import Units, confidence, sentence

POINTS = Units("accuracy")


def said(verdict, effect=(0.02, 0.03, 0.04), **given):
    low, estimate, high = effect
    terms = {
        "baseline": "mlp",
        "challenger": "cnn",
        "units": POINTS,
        "effort": 4,
        "configurations": 16,
        "margin": 0.005,
        "alpha": 0.05,
        "effect": Estimate(estimate, low, high),
    } | given
    return sentence(verdict, **terms)


@pytest.mark.parametrize(
    ("units", "difference", "reach", "text"),
    [
        (POINTS, 0.2412, 0.038, "24.1"),
        (POINTS, 0.2412, 0.138, "24"),
        (POINTS, 0.24123, 0.0012, "24.12"),
        (POINTS, -0.00001, 0.01, "0.0"),
        (POINTS, 0.005, None, "0.5"),
        (POINTS, 0.03, 0.0, "3.00"),
        (Units("rmse"), 23456.78, 1200.0, "23,457"),
        (Units("log_loss"), -0.03141, 0.0024, "-0.0314"),
        (Units("my score", fraction=True), 0.1, 0.05, "10.0"),
        (Units("accuracy", fraction=False), 0.1, 0.05, "0.100"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_supports(
    units, difference, reach, text
):
    assert units.number(difference, reach) == text


@pytest.mark.parametrize(
    ("alpha", "text"),
    [
        (0.05, "95%"),
        (0.05 / 3, "98.33%"),
        (0.0001, "99.99%"),
        (0.0001 / 4, "99.9975%"),  # four challengers at an early look
        (1e-6, "99.99990%"),
        (0.0, "100%"),
    ],
)
def test_an_interval_is_certain_only_when_it_is(alpha, text):
    assert confidence(alpha) == text
    if alpha:
        assert f"({text} interval" in said("architecture", alpha=alpha)


def test_units_are_written_out():
    assert POINTS.gap(0.05, 0.02) == "5.0 points of accuracy"
    assert Units("log_loss").gap(0.05, 0.02) == "0.050 in log loss"
    assert Units("macro_f1", scored_on="validation").name == "validation macro f1"
    assert POINTS.size(0.005) == "0.5 points"
    assert Units("mae").size(12.0) == "12"


def test_more_tuning_may_be_open_for_other_reasons_than_n():
    assert said("architecture").endswith(
        "Whether mlp gets there with more tuning is not settled."
    )
    assert "best of 4 trials" in said("architecture")
    assert "(1 trial)" in said("architecture", effort=1)


def test_tuning_says_how_much_of_it():
    limits = Limits(1.5, 1.0, 2.25)
    words = said("tuning", matching=Matching(limits, limits, 4.0, "yes"))
    assert (
        "mlp comes within 0.5 points of that with at most 2.2 times the tuning" in words
    )


def test_published_numbers_may_favour_either_arm():
    assert "cnn is 0.10 points of accuracy worse than mlp" in said(
        "tuning", (-0.004, -0.001, 0.002), published_gap=0.03
    )


def test_inconclusive_says_as_much_as_is_known():
    open_question = (
        "With the same tuning effort (best of 4 trials), it remains open which of cnn"
        " and mlp is better: cnn is 3.0 points of accuracy better than mlp (95% interval"
        " -1.0 to 7.0)."
    )
    wide = (-0.01, 0.03, 0.07)
    assert said("inconclusive", wide, configurations=4) == (
        f"{open_question} With n = 4 configurations no gain is ever claimed."
    )
    missed = (
        f"{open_question} With n = 16 configurations an effect below 6 points is easily"
        " missed."
    )
    assert said("inconclusive", wide, detectable=0.06) == missed

    def settled(*given):
        return said(
            "inconclusive", wide, detectable=0.06, settlement=Settlement(*given)
        )

    assert settled(64, 4.0, None) == (
        f"{missed} About n = 64 would settle it, at 4 times the cost."
    )
    assert settled(None, None, 2.5) == (
        f"{missed} It takes at least 2.5 times as many test examples to settle it."
    )
    assert settled(None, None, None) == (
        f"{missed} The estimate is too near the margin for any n to settle it."
    )


def test_tuning_beside_published_numbers_names_what_made_up_for_the_gain():
    limits = Limits(1.5, 1.0, 2.25)
    words = said(
        "tuning", matching=Matching(limits, limits, 4.0, "yes"), published_gap=0.05
    )
    # A gain of 3 points is not "none", whatever was published.
    assert "counts as none" not in words
    assert "with at most 2.2 times the tuning" in words


def test_harm_is_done_by_what_the_challenger_has_other():
    worse = (-0.04, -0.03, -0.02)
    assert said("baseline", worse).endswith("the change of architecture does harm.")
    assert said("baseline", worse, cause="the training procedure").endswith(
        "the change of training procedure does harm."
    )


@pytest.mark.parametrize(
    ("tuning", "training", "words"),
    [
        ("no", "no", "of cnn. Nor does training mlp up to 4 times as long."),
        ("no", "unknown", " up to 4 times as long does is not settled."),
        (
            "unknown",
            "no",
            " Training it up to 4 times as long does not bring it there.",
        ),
        ("unknown", "unknown", " up to 4 times as long does is not settled either."),
    ],
)
def test_training_longer_goes_on_from_what_tuning_does(tuning, training, words):
    limits = Limits(None, 17.0, None)
    nothing = Estimate(0.0, 0.0, 0.0)
    climb = Climb(nothing, (), training, 4, None, None, None, None)
    matching = Matching(limits, limits, 4.0, tuning)
    assert said("architecture", matching=matching, climb=climb).endswith(words)

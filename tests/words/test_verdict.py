import pytest

from archtrial.statistics.verdict import Caution, Copies
from archtrial.words import verdict as words
from tests.report.conftest import Score, estimate

POINTS = Score()
LOSS = Score("log_loss", False, False)


def compared(verdict, effect=(0.021, 0.03, 0.041), **given):
    """Returns a comparison as a document has it."""
    low, middle, high = effect
    return {
        "verdict": verdict,
        "reason": None,
        "baseline": "mlp",
        "challenger": "cnn",
        "scored_on": "test",
        "margin": 0.005,
        "alpha": 0.05,
        "configurations": 16,
        "effort": 4,
        "effect": estimate(middle, low, high),
        "p_value_adjusted": 0.0002,
        "baseline_score": estimate(0.62, 0.6, 0.64),
        "challenger_score": estimate(0.62 + middle, 0.6 + middle, 0.64 + middle),
        "effect_at_equal_compute": None,
        "tuning_to_match": {
            "multiple": estimate(None, 1.0, None),
            "trials": estimate(None, 4.0, None),
            "reportable_up_to": 1.0,
            "would_settle": None,
        },
        "ladder": None,
        "catch_up": "unknown",
        "minimum_detectable_effect": 0.043,
        "would_settle": None,
        "published": None,
    } | given


def said(verdict, effect=(0.021, 0.03, 0.041), metric=POINTS, telling=None, **given):
    comparison = compared(verdict, effect, **given)
    text = words.sentence(
        comparison, metric=words.digits([comparison], metric), **(telling or {})
    )
    return text.replace("\u00a0", " ")


def matched(low, high, *, trials=None, needs=None):
    trials = trials or (4 * low, None if high is None else 4 * high)
    return {
        "multiple": estimate(low, low, high),
        "trials": estimate(trials[0], *trials),
        "reportable_up_to": 4.0,
        "would_settle": needs,
    }


def climbed(reaches, longest=4, high=None):
    rung = {"estimate": high, "low": None, "high": high}
    return {"reaches": reaches, "longest": longest, "rung": rung}


def test_a_gain_of_the_architecture_reads_like_a_finding():
    """The built-in trial's, with all that is known of it."""
    text = said(
        "architecture",
        (0.21, 0.29, 0.37),
        telling={"best": 0.64},
        tuning_to_match=matched(1.0, None, needs=64),
        effect_at_equal_compute=estimate(
            0.14, 0.05, 0.23, baseline_effort=4, challenger_effort=1
        ),
    )
    assert text == (
        "Yes, the architecture matters. After 4 tries each, cnn reaches 91 %, mlp 62 %:"
        " 29 percentage points more (21 to 37). The best of all 16 mlp settings reaches"
        " 64 %, so tuning this far did not help; 64 settings would test 4 times cnn's"
        " effort. For the same compute: 14 points more (5 to 23)."
    )
    headline, rest = words.split(text)
    assert headline == "Yes, the architecture matters."
    assert rest.startswith("After 4 tries each")


def test_an_open_question_says_what_fits_the_runs():
    text = said(
        "inconclusive",
        (-0.009, 0.013, 0.035),
        telling={"parameters": {"cnn": 122_402, "mlp": 3_002}},
        would_settle={"configurations": 240, "times_cost": 15.0, "test_examples": None},
    )
    assert text == (
        "Undecided. cnn looks 1.3 points better; anything from .9 worse to 3.5 better"
        " fits these runs. cnn has 122,402 parameters, mlp 3,002. With 16 settings a gap"
        " below 4.3 points is easily missed. About 240 settings would settle it, at 15"
        " times the cost."
    )


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ((-0.035, -0.013, 0.009), "looks 1.3 points worse; anything from 3.5 worse to"),
        (
            (0.002, 0.02, 0.046),
            "looks 2.0 points better; anything from .2 to 4.6 better",
        ),
        (
            (-0.046, -0.02, -0.002),
            "looks 2.0 points worse; anything from .2 to 4.6 wor",
        ),
    ],
)
def test_what_fits_the_runs_has_a_direction(effect, words):
    assert words in said("inconclusive", effect)


def test_two_arms_may_be_equally_good():
    assert said("equivalent", (-0.002, 0.0005, 0.003)) == (
        "No difference worth having. After 4 tries each, cnn and mlp end within half a"
        " point of each other (\u2212.2 to .3)."
    )
    ahead = said("equivalent", (0.001, 0.002, 0.004))
    assert ahead.endswith("cnn is ahead, but by less than is worth having.")
    assert "mlp is ahead" in said("equivalent", (-0.004, -0.002, -0.001))


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"cnn": 200, "mlp": 100}, True),
        ({"cnn": 100, "mlp": 200}, True),
        ({"cnn": 199, "mlp": 100}, False),
        ({"cnn": 200, "mlp": 0}, False),
        ({}, False),
    ],
)
def test_sizes_are_told_where_they_are_others(sizes, told):
    text = said("inconclusive", (-0.01, 0.0, 0.01), telling={"parameters": sizes})
    assert ("parameters" in text) == told


def test_inconclusive_says_as_much_as_is_known():
    wide = (-0.01, 0.03, 0.07)
    assert said(
        "inconclusive", wide, configurations=4, minimum_detectable_effect=None
    ).endswith(" With 4 settings no gap is ever claimed.")

    def settled(n, cost, examples):
        found = {"configurations": n, "times_cost": cost, "test_examples": examples}
        return said("inconclusive", wide, would_settle=found)

    assert settled(None, None, 2.5).endswith(
        " It takes at least 2.5 times as many test examples to settle it."
    )
    assert settled(None, None, None).endswith(
        " The estimate is too near the margin for any number of settings to settle it."
    )
    # Nobody uses 142,052 configurations.
    assert "About more than" not in settled(142_052, 8_878.0, None)
    assert "More than 10,000 settings would settle it" in settled(
        142_052, 8_878.0, None
    )
    depends = said("inconclusive", wide, reason="depends on seed failure: by run")
    assert depends.startswith(
        "Undecided. The answer depends on seed failure: by run. cn"
    )


def test_scores_that_are_no_accuracy_say_what_they_are():
    effect = (0.010, 0.024, 0.038)
    scores = {
        "baseline_score": estimate(0.151, 0.14, 0.16),
        "challenger_score": estimate(0.127, 0.12, 0.13),
    }
    text = said("architecture", effect, LOSS, **scores)
    assert "cnn reaches a log loss of .127, mlp .151: .024 less (.010 to .038)." in text
    assert "point" not in text
    validation = said("architecture", scored_on="validation")
    assert "cnn reaches a validation accuracy of 65.0 %" in validation
    assert "an AUROC of 65.0 %" in said("architecture", metric=Score("auroc"))
    assert "an R² of " in said("architecture", metric=Score("r2", True, False))
    assert "a macro F1 of 65.0 %" in said("architecture", metric=Score("macro_f1"))


def test_the_better_arm_comes_first_and_harm_has_a_cause():
    text = said("baseline", (-0.06, -0.04, -0.02))
    assert text == (
        "No, the baseline is better. After 4 tries each, mlp reaches 62.0 %, cnn 58.0 %: 4.0"
        " percentage points more (2.0 to 6.0). The change of architecture does harm."
    )
    telling = {"cause": "the training procedure"}
    assert said("baseline", (-0.06, -0.04, -0.02), telling=telling).endswith(
        "The change of training procedure does harm."
    )
    assert said("architecture", telling=telling).startswith(
        "Yes, the training procedure matters. "
    )


def test_one_try_is_no_tries():
    assert "After 1 try each," in said("architecture", effort=1)


def test_of_tuning_that_makes_up_tries_come_first_and_compute_second():
    text = said("tuning", catch_up="yes", tuning_to_match=matched(1.0, 2.25))
    assert text.startswith("No, it is the tuning. After 4 tries each, cnn reaches 65")
    assert text.endswith(
        "; but after at most 9 tries (2.2 times cnn's compute), mlp comes within half a"
        " point of cnn."
    )
    cheap = matched(0.0001, 0.00023, trials=(1, 3))
    assert "at most 3 tries (less than 1 % of cnn's compute)" in said(
        "tuning", catch_up="yes", tuning_to_match=cheap
    )


def test_tuning_beside_published_numbers_names_what_made_up_for_the_gain():
    published = {"gap": 0.05}
    text = said(
        "tuning", catch_up="yes", tuning_to_match=matched(1, 2), published=published
    )
    # A gain of 3 points is not "none", whatever was published.
    assert "counts as none" not in text
    assert "at most 8 tries" in text


def test_published_numbers_may_favour_either_arm():
    text = said("tuning", (-0.004, -0.001, 0.002), published={"gap": 0.03})
    assert text == (
        "No, it is the tuning. The published gap of 3.0 percentage points comes from"
        " tuning: after 4 tries each, cnn is .1 points worse than mlp (\u2212.4 to .2),"
        " and less than half a point counts as none."
    )


def test_longer_training_is_no_tuning():
    text = said(
        "tuning", catch_up="yes", ladder=climbed("yes", 4, high=2),
    )  # fmt: skip
    assert text.startswith("No, it is the length of training. ")
    assert text.endswith(
        "trained 2 times as long, mlp comes within half a point of cnn."
    )


@pytest.mark.parametrize(
    ("tuning", "training", "ending"),
    [
        ("no", "no", "of cnn. Nor does training mlp up to 4 times as long."),
        ("no", "unknown", " up to 4 times as long does is not settled."),
        (
            "unknown",
            "no",
            " Training mlp up to 4 times as long does not bring it there.",
        ),
        ("unknown", "unknown", " up to 4 times as long does is not settled either."),
    ],
)
def test_training_longer_goes_on_from_what_tuning_does(tuning, training, ending):
    text = said("architecture", catch_up=tuning, ladder=climbed(training))
    assert text.endswith(ending)
    assert "as long" not in said("architecture", ladder=climbed("no", longest=1))


def test_more_tuning_is_told_by_its_tries():
    assert "Even 4 times the tuning does not bring mlp within half a point of cnn." in (
        said("architecture", catch_up="no")
    )
    # A try of the baseline costs a tenth: as much compute is ten times the tries.
    dear = matched(1.0, None, trials=(40, None), needs=640)
    assert "Even 160 tries (4 times cnn's compute) do not bring mlp within" in said(
        "architecture", catch_up="no", tuning_to_match=dear
    )
    assert "; 640 settings would test 160 tries of mlp (4 times cnn's compute)." in (
        said("architecture", tuning_to_match=dear)
    )
    far = matched(1.0, None, trials=(35_513, None), needs=142_052)
    text = said("architecture", tuning_to_match=far)
    assert "142" not in text
    assert "more than 10,000 settings would test more than 10,000 tries" in text
    unknown = matched(0, None, trials=(0, None))
    assert "Even 4 times the tuning does" in said(
        "architecture", catch_up="no", tuning_to_match=unknown
    )


def test_the_best_of_all_may_be_as_good():
    text = said("architecture", telling={"best": 0.648})
    assert text.endswith(
        "The best of all 16 mlp settings reaches 64.8 %: whether more tuning makes up for"
        " the gap is not settled."
    )
    plain = said("architecture", telling={"best": 0.648}, configurations=4)
    assert plain.endswith("Whether mlp gets there with more tuning is not settled.")


def at_equal_compute(gain, low, high, **more):
    efforts = {"baseline_effort": 4, "challenger_effort": 1} | more
    return said(
        "architecture", effect_at_equal_compute=estimate(gain, low, high, **efforts)
    )


def test_equal_compute_has_a_direction():
    assert at_equal_compute(-0.03, -0.09, 0.04).endswith(
        " For the same compute: 3.0 points less (9.0 less to 4.0 more)."
    )
    assert at_equal_compute(-0.06, -0.09, -0.03).endswith(
        " 6.0 points less (3.0 to 9.0)."
    )
    assert at_equal_compute(0.03, -0.04, 0.09).endswith(" (4.0 less to 9.0 more).")
    assert "compute" not in at_equal_compute(0.03, 0.02, 0.04, challenger_effort=4)


def test_what_cannot_be_judged_says_why():
    text = said("not_assessable", reason="x piles up")
    assert text == "No verdict. cnn and mlp cannot be compared: x piles up."
    nothing = compared("inconclusive") | {"effect": estimate(None, None, None)}
    assert words.sentence(nothing, metric=POINTS).startswith("No verdict. ")
    assert words.digits([nothing], POINTS) is POINTS
    assert words.beside(nothing, 1) == ""


def test_arms_that_were_still_learning_are_named_last():
    text = said("architecture", telling={"learning": ["mlp"], "steps": 1500})
    assert text.endswith(
        " That is how they stand after 1,500 steps: mlp was still learning."
    )
    both = said("architecture", telling={"learning": ["mlp", "cnn"]})
    assert both.endswith(" That is how they stand: mlp and cnn were still learning.")


def test_several_challengers_are_summed_up_in_one_line():
    one = compared("architecture")
    others = [
        compared(verdict, challenger=name)
        for name, verdict in (
            ("b", "architecture"), ("c", "equivalent"), ("d", "not_assessable"),
        )
    ]  # fmt: skip
    assert words.overview([one, *others]) == (
        "cnn and b gain over mlp by architecture; c is as good as mlp; d cannot be"
        " judged."
    )
    # Where recipes differ, the gain may be theirs.
    assert words.overview([one, *others[:1]], alike=False) == (
        "cnn and b gain over mlp beyond what tuning explains."
    )


def test_the_terms_stand_beside_the_sentence():
    assert words.beside(compared("architecture"), 2).replace("\u00a0", " ") == (
        "97.5 % interval; by chance alone such a gap arises about once in 5,000"
        " (p = .0002)"
    )


def test_copies_say_how_far_they_reach():
    copies = Copies(3, 200, {"cnn": 0.015, "rnn": float("inf")})
    assert "move the gain by up to 1.5 points" in words.copied(copies, "cnn", POINTS)
    assert "cannot be told" in words.copied(copies, "rnn", POINTS)


THERE = {"baseline": "mlp", "challenger": "cnn", "efforts": (142_052, 4)}


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("other reading", {"verdict": "tuning", "failing": True}, "of seed failure;"),
        ("other reading", {"verdict": "tuning", "failing": False}, "of single seeds;"),
        ("copies", {"count": 1, "of": 1000}, "1 of 1,000 test examples are copies"),
        ("validation only", {}, "all numbers are validation scores"),
        ("test set bounded", {"size": 1000}, "a test set of 1,000 examples can have."),
        ("this test set", {}, "this very test set"),
        ("picked seeds", {}, "the luck of the seeds"),
        ("unpaired", {}, "are not paired"),
        ("no partner", {**THERE, "dropped": 3}, "last 3 trials of cnn have no partner"),
        ("diverged", {"count": 2, "of": 16, "arm": "mlp"}, "2 of 16 trials of mlp div"),
        ("no equal compute", {}, "differ so much in cost"),
        (
            "unconfirmed at equal compute",
            {**THERE, "share": 0.123},
            "(mlp best of more than 10,000, cnn best of 4) nothing is claimed: 12.3 % of",
        ),
        (
            "other verdict at equal compute",
            {**THERE, "effect": (0.01, -0.02, 0.041)},
            "the verdict is another one: a gain of +1 (\u22122 to +4 points).",
        ),
    ],
)  # fmt: skip
def test_every_caution_has_a_sentence(kind, values, said):
    text = words.warning(Caution(kind, values), POINTS).replace("\u00a0", " ")
    assert said in text
    assert text.endswith(".")


def test_still_learning_says_what_to_do():
    text = words.still_learning("mlp", 0.102, POINTS, "Train it longer")
    assert "brought 10.2 points of validation score" in text
    assert text.endswith("Train it longer.")


def test_where_compute_has_no_unit_in_common_tries_are_told_alone():
    text = said(
        "tuning",
        catch_up="yes",
        tuning_to_match=matched(1.0, 2.25) | {"unit": "trials"},
    )
    assert text.endswith(
        "; but after at most 9 tries, mlp comes within half a point of cnn."
    )

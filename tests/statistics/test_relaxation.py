import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics import Estimate, judge_relaxation, mean, simultaneous
from archtrial.statistics.relaxation import ArmScores, NetNames, RelaxReading
from archtrial.statistics.relaxation_sentences import Units, confidence

TIMES = (0, 4, 13, 40, 93, 210, 800, 2000)
FLAT = (0.0,) * 8
PEAK = (-0.01, 0.0, 0.004, 0.02, 0.03, 0.01, 0.0, 0.0)


def arm(scores, diverged=None, test_size=None):
    scores = np.asarray(scores, dtype=float)
    examples = None
    if test_size is not None:
        # The same examples are hard for every arm.
        ease = (np.arange(test_size) + 0.5) / test_size
        examples = 1.0 * (ease < scores.mean(axis=0)[:, None])
    if diverged is None:
        diverged = np.zeros(scores.shape, dtype=bool)
    return ArmScores(scores, diverged, examples)


def reading(
    gain=PEAK, seed=0, seeds=10, spread=0.004, lead=0.1, times=TIMES, test_size=10_000
):
    """Scores around .9; `lead` is the CNN's over the fresh net."""
    rng = np.random.default_rng(seed)
    m = len(gain)
    cnn = 0.9 + np.linspace(0, 0.02, m) + rng.normal(0, 0.01, (seeds, 1))
    relaxed = cnn + np.array(gain) + rng.normal(0, spread, (seeds, m))
    fresh = cnn - lead + rng.normal(0, spread, (seeds, m))
    return RelaxReading(
        times[:m], *(arm(scores, None, test_size) for scores in (relaxed, cnn, fresh))
    )


def judged(declared=None, other=None, **given):
    declared = reading() if declared is None else declared
    other = reading(seed=1) if other is None else other
    return judge_relaxation(
        declared, other, **{"metric": "accuracy", "margin": 0.005, **given}
    )


# --- the verdict, row by row -----------------------------------------------------------


def test_a_net_that_gains_from_being_relaxed():
    found = judged()
    assert found.verdict == "relaxed_better"
    assert found.strong
    assert found.best_time == 93
    assert found.claimed_times == (40, 93, 210)
    assert found.settling is None
    assert found.warnings == ()
    assert found.sentence == (
        "Relaxed after 93 steps, the fully connected net (eFCN) beats the CNN it came"
        " from, trained on for as long, by 3.02 points of accuracy (simultaneous 95%"
        " interval 2.34 to 3.69 over 8 relax times): there a convolutional start does more"
        " than the prior held throughout. It does so when relaxed after 40 and"
        " 210 steps, too. Relaxed before the first step it is clearly worse. Compared"
        " with the FCN from a standard start, the eFCN ends clearly better at all 8"
        " relax times, by 9.4 to 13.1 points of accuracy. Held throughout, the prior is"
        " worth 10.04 points of accuracy (95% interval 9.40 to 10.67), the lead of the CNN"
        " over that FCN."
    )


def test_freedom_is_not_called_the_worth_of_the_prior():
    # Where the prior is wrong, the fresh net is as good as the relaxed one, or better.
    for lead in (-0.03, -0.06):
        wrong = [reading((0.03,) * 8, seed, lead=lead) for seed in (0, 1)]
        found = judged(*wrong)
        assert found.verdict == "relaxed_better"
        assert (
            ": there it pays to let go of the convolutional prior. " in found.sentence
        )
        assert "convolutional start" not in found.sentence
        assert "Held throughout, the prior costs" in found.sentence


def test_a_gain_that_may_lie_below_the_margin_is_not_strong():
    found = judged(margin=0.029)
    assert found.verdict == "relaxed_better"
    assert not found.strong
    assert found.claimed_times == (93,)
    assert judged(margin=0.033).verdict == "inconclusive"
    # Of several that are claimed one is enough.
    found = judged(margin=0.015)
    assert found.claimed_times == (40, 93)
    assert found.gain.low[3] < 0.015 < found.gain.low[4]
    assert found.strong


def test_a_margin_that_is_just_reached_is_reached():
    gain = judged().gain
    assert judged(margin=float(gain.estimate[4])).claimed_times == (93,)
    flat, other = reading(FLAT, spread=0.002), reading(FLAT, seed=1, spread=0.002)
    edge = float(judged(flat, other).gain.high.max())
    assert judged(flat, other, margin=edge).verdict == "inconclusive"
    assert judged(flat, other, margin=1.0001 * edge).verdict == "no_gain"


def test_few_seeds_cannot_be_assessed():
    declared, other = reading(seeds=5), reading(seed=1, seeds=5)
    found = judged(declared, other)
    assert found.verdict == "not_assessable"
    assert found.sentence == (
        "The eFCN and the CNN cannot be compared: a p of 0.05 takes 6 seeds at least,"
        " and there are 5."
    )
    assert found.claimed_times == ()
    assert not found.strong
    # An alpha that five seeds reach.
    found = judged(declared, other, alpha=0.1)
    assert found.verdict == "relaxed_better"
    assert "90% interval" in found.sentence
    assert "95%" not in found.sentence
    entry = found.to_dict()["times"][4]
    by_hand = mean(declared.relaxed.scores[:, 4], 0.1)
    assert entry["scores"]["best"]["relaxed"] == dataclasses.asdict(by_hand)
    single = judged(reading(seeds=1), reading(seed=1, seeds=1))
    assert single.sentence.endswith("6 seeds at least, and there is 1.")
    gain = single.to_dict()["times"][0]["gain"]
    assert (gain["low"], gain["high"]) == (None, None)


@pytest.mark.parametrize(("name", "called"), [("relaxed", "eFCN"), ("cnn", "CNN")])
def test_an_arm_that_always_diverged_cannot_be_compared(name, called):
    declared = reading()
    failed = arm(np.full((10, 8), 0.1), np.ones((10, 8), dtype=bool))
    found = judged(dataclasses.replace(declared, **{name: failed}))
    assert found.verdict == "not_assessable"
    assert found.sentence.endswith(
        f"cannot be compared: every run of the {called} diverged."
    )
    assert found.claimed_times == ()
    assert not found.strong
    assert found.warnings[0].startswith(
        f"80 of 80 readings of the {called} are of runs"
    )


def test_runs_that_diverged_stay_in_and_are_told():
    declared = reading()
    scores, diverged = declared.relaxed.scores.copy(), declared.relaxed.diverged.copy()
    scores[0, 4], diverged[0, 4] = 0.1, True
    relaxed = dataclasses.replace(declared.relaxed, scores=scores, diverged=diverged)
    found = judged(dataclasses.replace(declared, relaxed=relaxed))
    assert found.verdict == "relaxed_better"
    assert "1 of 80 readings of the eFCN are of runs that diverged" in found.warnings[0]
    assert 93 not in found.claimed_times
    assert found.to_dict()["times"][4]["diverged"] == 1


def test_a_net_that_gains_nothing():
    found = judged(reading(FLAT, spread=0.002), reading(FLAT, seed=1, spread=0.002))
    assert found.verdict == "no_gain"
    assert (found.gain.high < 0.005).all()
    assert found.warnings == ()
    assert found.sentence.startswith(
        "At none of 8 relax times does the fully connected net (eFCN) beat the CNN"
        " trained on for as long by 0.5 points or more: the largest gain, after 210"
        " steps, is 0.13 points of accuracy (simultaneous 95% interval -0.11 to 0.38"
        " over 8 relax times). Compared with"
    )


def test_a_loss_and_a_small_gain_are_no_gain_and_said():
    gain = (-0.02, -0.02, *(0.0025,) * 6)
    found = judged(reading(gain, spread=0.0007), reading(gain, seed=1, spread=0.0007))
    assert found.verdict == "no_gain"
    assert (
        " Relaxed after 13 to 2,000 steps it is ahead, but by less than is worth"
        " having. Relaxed after 0 and 4 steps it is clearly worse." in found.sentence
    )
    lost = judged(reading((-0.02,) * 8), reading((-0.02,) * 8, seed=1))
    assert lost.verdict == "no_gain"
    assert " It is clearly worse at every one. Compared" in lost.sentence


def test_what_remains_open_says_what_would_settle_it():
    noisy = {"spread": 0.03, "test_size": None}
    found = judged(reading(PEAK, **noisy), reading(PEAK, 1, **noisy))
    assert found.verdict == "inconclusive"
    assert found.sentence.startswith(
        "It remains open whether the fully connected net (eFCN) beats the CNN trained"
        " on for as long by 0.5 points or more: the largest gain, relaxed after"
    )
    needed = found.settling.seeds
    assert f"At least {needed} seeds would settle it, if the gains" in found.sentence
    assert found.settling.test_examples is None
    assert "for this very test set" in found.warnings[0]


def test_contradicting_readings_leave_it_open():
    down = reading((-0.03,) * 8, seed=1)
    found = judged(reading(), down)
    assert found.verdict == "inconclusive"
    assert found.settling is None
    assert found.claimed_times == ()
    assert found.sentence.startswith(
        "The answer is open, since it depends on the reading: relaxed after 93 steps,"
        " the fully connected net (eFCN) beats the CNN it came from by 3.02 points of"
        " accuracy (simultaneous 95% interval 2.34 to 3.69 over 8 relax times) by the"
        " weights that were best on validation, and is worse by "
    )
    assert "by the weights of the last step. Compared" in found.sentence
    # Other names of readings are quoted.
    found = judged(reading(), down, other_reading="average")
    assert 'by the reading "average". Compared' in found.sentence


def test_a_time_that_the_other_reading_contradicts_does_not_count():
    other = (0, 0, 0, 0.02, -0.03, 0, 0, 0)
    found = judged(reading(), reading(other, seed=1))
    assert found.verdict == "relaxed_better"
    assert found.best_time == 93
    assert found.claimed_times == (40, 210)
    assert found.sentence.startswith("Relaxed after 40 steps")
    assert found.warnings == (
        "Relaxed after 93 steps, the eFCN is ahead as well, but clearly worse by the"
        " weights of the last step: not counted.",
    )


def test_a_reading_that_sees_no_gain_is_a_warning():
    found = judged(reading(), reading(FLAT, seed=1))
    assert found.verdict == "relaxed_better"
    assert found.warnings == ("The gain is not clear by the weights of the last step.",)
    # Nor does one help at a time that nobody claims.
    found = judged(reading(), reading((0, 0, 0, 0, 0, 0, 0.03, 0), seed=1))
    assert found.gain_other.direction.tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert found.warnings == ("The gain is not clear by the weights of the last step.",)


def test_a_gain_in_the_other_reading_alone_is_a_warning():
    found = judged(reading(FLAT, spread=0.002), reading(seed=1))
    assert found.verdict == "no_gain"
    assert found.warnings[0].startswith(
        "It depends on the reading: by the weights of the last step, the eFCN relaxed"
        " after 93 steps beats the CNN by "
    )


def test_the_other_reading_overrules_nothing_by_a_small_gain_or_an_open_answer():
    small = reading((0.0025,) * 8, seed=1, spread=0.0007)
    found = judged(reading(FLAT, spread=0.002), small)
    assert found.verdict == "no_gain"
    assert (found.gain_other.direction > 0).all()
    assert found.warnings == ()
    found = judged(reading(FLAT, spread=0.01), reading(seed=1))
    assert found.verdict == "inconclusive"
    assert found.warnings == ()


def test_the_cnn_throughout_is_what_the_fresh_net_is_set_against():
    declared, other = reading(), reading(seed=1)
    kept, held = judged(declared, other), declared.cnn.scores[:, [-1]] + 0.02
    found = judged(declared, other, throughout=arm(held))
    assert found.fresh_gap.estimate == pytest.approx(kept.fresh_gap.estimate + 0.02)
    by_hand = (held[:, 0] - declared.fresh.scores[:, -1]).mean()
    assert found.fresh_gap.estimate == pytest.approx(by_hand)
    # The gain is over the CNN that went on, whatever was held throughout.
    np.testing.assert_array_equal(found.gain.estimate, kept.gain.estimate)
    np.testing.assert_array_equal(found.gain_other.estimate, kept.gain_other.estimate)
    assert "Held throughout, the prior is worth 12.0" in found.sentence
    same = judged(declared, other, throughout=arm(declared.cnn.scores[:, [-1]]))
    assert same.fresh_gap.estimate == pytest.approx(kept.fresh_gap.estimate)


@pytest.mark.parametrize(
    ("scores", "diverged"), [((3, 1), (3, 1)), ((10, 8), (10, 8)), ((10, 1), (10, 8))]
)
def test_the_cnn_throughout_has_one_score_a_seed(scores, diverged):
    held = ArmScores(np.zeros(scores), np.zeros(diverged, dtype=bool))
    with pytest.raises(ProtocolError, match="throughout"):
        judged(throughout=held)


def dead_at(read, *columns):
    """Returns a reading in which both that go on diverged at some relax times."""
    dead = np.isin(np.arange(read.cnn.scores.shape[1]), columns)
    dead = np.broadcast_to(dead, read.cnn.scores.shape)
    relaxed, cnn = (
        arm(np.where(dead, 0.1, one.scores), dead, 10_000)
        for one in (read.relaxed, read.cnn)
    )
    return dataclasses.replace(read, relaxed=relaxed, cnn=cnn)


@pytest.mark.parametrize("gain", [PEAK, FLAT])
def test_where_both_diverged_in_every_run_nothing_is_compared(gain):
    """Both stand at the same constant: that is no evidence that they are level."""
    whole, other = reading(gain), reading(gain, 1)
    found = judged(dead_at(whole, 2, 6), dead_at(other, 2, 6))
    few = [0, 1, 3, 4, 5, 7]
    some, some_other = (
        RelaxReading(
            [TIMES[j] for j in few],
            *(arm(a.scores[:, few], None, 10_000) for a in (r.relaxed, r.cnn, r.fresh)),
        )
        for r in (whole, other)
    )
    alone = judged(some, some_other)
    assert found.verdict == alone.verdict
    assert found.sentence == alone.sentence
    assert found.compared_times == (0, 4, 40, 93, 210, 2000)
    np.testing.assert_array_equal(found.gain.low, alone.gain.low)
    assert found.warnings[0] == (
        "Relaxed after 13 and 800 steps, the CNN and the eFCN diverged in every run, so"
        " nothing is compared there."
    )
    assert not any("later on" in warning for warning in found.warnings)
    times = found.to_dict()["times"]
    for j, entry in enumerate(times):
        gains = [entry[name] for name in entry if name.startswith("gain")]
        assert len(gains) == 4
        assert all((each["p_value"] is None) == (j in (2, 6)) for each in gains)
        assert entry["diverged"] == (10 if j in (2, 6) else 0)
    assert (
        times[3]["gain"]["estimate"] == alone.to_dict()["times"][2]["gain"]["estimate"]
    )


def test_who_diverged_alone_is_compared():
    declared = reading(FLAT)
    dead = np.broadcast_to(np.arange(8) == 2, (10, 8))
    relaxed = arm(np.where(dead, 0.1, declared.relaxed.scores), dead, 10_000)
    found = judged(dataclasses.replace(declared, relaxed=relaxed))
    assert found.compared_times == TIMES
    assert found.gain.direction[2] == -1


def test_what_diverged_later_is_told_and_counted():
    declared, other = reading(), reading(seed=1)
    later = np.zeros((10, 8), dtype=bool)
    later[:4, 3] = True
    last = arm(np.where(later, 0.1, other.relaxed.scores), later, 10_000)
    found = judged(declared, dataclasses.replace(other, relaxed=last))
    assert found.warnings == (
        "4 of 80 readings of the eFCN are of runs that diverged later on; they stand at"
        " what they were before.",
    )
    assert [entry["diverged"] for entry in found.to_dict()["times"]] == [
        0, 0, 0, 4, 0, 0, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("failed", [0, 3, 10])
def test_a_cnn_that_diverges_throughout_is_told_of(failed):
    declared, other = reading(), reading(seed=1)
    diverged = np.arange(10)[:, None] < failed
    held = np.where(diverged, 0.1, declared.cnn.scores[:, [-1]])
    found = judged(declared, other, throughout=arm(held, diverged))
    assert found.verdict == "relaxed_better"
    told = [warning for warning in found.warnings if "throughout" in warning]
    assert told == [
        f"{failed} of 10 runs of the CNN that keeps its learning rate throughout"
        " diverged; they stand at the score of the constant predictor."
    ] * bool(failed)
    unknown = (
        "What the prior is worth when held throughout is not known: the CNN diverged in"
        " every run at the learning rate that it keeps."
    )
    assert found.sentence.endswith(unknown) == (failed == 10)
    assert ("the lead of the CNN" in found.sentence) == (failed < 10)
    assert (found.fresh_gap is None) == (failed == 10)
    plain = found.to_dict()["fresh_gap"]
    assert [value is None for value in plain.values()] == [failed == 10] * 3


def with_a_noisy_best(read, column, seed):
    """Returns a reading whose largest gain, in one column, is one of luck."""
    scores = read.relaxed.scores.copy()
    noise = np.random.default_rng(seed).normal(0, 0.2, len(scores))
    scores[:, column] = read.cnn.scores[:, column] + 0.08 + noise - noise.mean()
    return dataclasses.replace(read, relaxed=arm(scores, None, 10_000))


def test_the_time_that_contradicts_is_told_and_not_the_largest_gain():
    up, down = (0, 0, 0, 0.02, 0, 0, 0, 0), (0, 0, 0, -0.02, 0, 0, 0, 0)
    found = judged(with_a_noisy_best(reading(up), 6, 3), reading(down, seed=1))
    assert found.best_time == 800
    assert found.claimed_times == ()
    assert "depends on the reading: relaxed after 40 steps," in found.sentence


def test_the_time_that_only_the_other_reading_sees_is_told():
    up = with_a_noisy_best(reading((0, 0, 0, 0.02, 0, 0, 0, 0), seed=1), 6, 3)
    found = judged(reading(FLAT, spread=0.002), up)
    assert found.verdict == "no_gain"
    assert int(np.argmax(found.gain_other.estimate)) == 6
    assert "the eFCN relaxed after 40 steps beats the CNN by 1.90" in found.warnings[0]


def test_what_is_clearly_worse_is_said_of_an_open_answer():
    gain = (-0.05, *(0.0,) * 7)
    found = judged(reading(gain, spread=0.01), reading(gain, seed=1, spread=0.01))
    assert found.verdict == "inconclusive"
    assert "Relaxed before the first step it is clearly worse." in found.sentence


# --- the margin, and what would settle -------------------------------------------------


def test_the_margin_is_assumed_where_none_is_given():
    declared = reading()
    found = judged(declared, margin=None)
    spread = np.median(declared.cnn.scores.std(axis=0, ddof=1))
    assert found.margin == float(f"{spread:.2g}") > 0.005
    assert found.margin_assumed
    assert not judged().margin_assumed
    assert judged(margin_assumed=True).margin_assumed
    narrow = dataclasses.replace(declared, cnn=arm(np.full((10, 8), 0.9), None, 10_000))
    assert judged(narrow, margin=None).margin == 0.005
    assert judged(narrow, margin=None, metric="r2").margin == 0.005
    # Of a score that is no fraction, half a per cent.
    errors = dataclasses.replace(declared, cnn=arm(np.full((10, 8), -40.0)))
    assert judged(errors, margin=None, metric="rmse").margin == 0.2
    nothing = dataclasses.replace(declared, cnn=arm(np.zeros((10, 8))))
    assert judged(nothing, margin=None, metric="rmse").margin == 0.005
    dead = dataclasses.replace(
        declared, cnn=arm(np.zeros((10, 8)), np.ones((10, 8), dtype=bool))
    )
    assert judged(dead, margin=None, metric="rmse").margin == 0.005


def test_how_far_a_failure_falls_is_no_measure_of_a_gain():
    declared = reading()
    fallen, failed = declared.cnn.scores.copy(), np.zeros((10, 8), dtype=bool)
    fallen[2], failed[2] = 0.1, True
    found = judged(
        dataclasses.replace(declared, cnn=arm(fallen, failed, 10_000)), margin=None
    )
    rest = np.delete(declared.cnn.scores, 2, axis=0)
    assert found.margin == float(f"{np.median(rest.std(axis=0, ddof=1)):.2g}")


def half_width(found, column, seeds):
    """The half-width with so many seeds, all else as it is, from scratch."""
    level = 1 - 0.95 ** (1 / len(found.gain.estimate))
    error = found.gain.standard_error[column] * math.sqrt(found.gain.seeds / seeds)
    return math.hypot(
        stats.t.ppf(1 - level / 2, seeds - 1) * error,
        stats.norm.ppf(1 - level / 2) * math.sqrt(found.gain.test_variance[column]),
    )


@pytest.mark.parametrize(
    ("gain", "spread"), [(PEAK, 0.05), (FLAT, 0.01), (FLAT, 0.004)]
)
def test_so_many_seeds_settle_it_and_one_fewer_does_not(gain, spread):
    one, two = (reading(gain, seed, spread=spread) for seed in (2, 3))
    found = judged(one, two)
    assert found.verdict == "inconclusive"
    estimate, high = found.gain.estimate, found.gain.high
    if estimate.max() >= 0.005:
        rooms = {int(np.argmax(estimate)): estimate.max()}
    else:
        rooms = {j: 0.005 - estimate[j] for j in np.flatnonzero(high >= 0.005)}
    needed = found.settling.seeds
    assert needed > 10
    assert all(half_width(found, j, needed) < room for j, room in rooms.items())
    assert not all(half_width(found, j, needed - 1) < room for j, room in rooms.items())


def test_where_the_test_set_is_too_small_no_number_of_seeds_helps():
    few = {"spread": 0.002, "test_size": 20}
    found = judged(reading(PEAK, **few), reading(PEAK, 1, **few))
    assert found.verdict == "inconclusive"
    assert found.settling.seeds is None
    best = int(np.argmax(found.gain.estimate))
    floor = stats.norm.ppf((1 + 0.95 ** (1 / 8)) / 2) * math.sqrt(
        found.gain.test_variance[best]
    )
    # With so many, half of the variance that there is room for is left for the seeds.
    assert found.settling.test_examples == pytest.approx(
        2 * (floor / found.gain.estimate[best]) ** 2
    )
    assert " times as many test examples to settle it. Compared" in found.sentence


def test_one_test_example_says_nothing_of_the_others():
    found = judged(reading(test_size=1), reading(seed=1, test_size=1))
    assert found.gain.test_variance.tolist() == [0.0] * 8
    assert "for this very test set" in found.warnings[0]


# --- against a standard start -----------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "lead", "said"),
    [
        (
            (0.0, 0.0, 0.0, 0.03, 0.0, 0.0, 0.0, 0.0),
            0.0,
            "the eFCN ends clearly better at 1 of 8 relax times (after 40 steps), by"
            " 2.86 points of accuracy; at the rest the difference is not clear. Whether"
            " the prior is worth anything when held throughout is not clear: the lead"
            " of the CNN over that FCN is 0.",
        ),
        (
            (0.03, 0.03, 0.03, -0.03, -0.03, -0.03, -0.03, -0.03),
            0.0,
            "the eFCN ends clearly better at 3 of 8 relax times (after 0 to 13 steps),"
            " by ",
        ),
        (
            FLAT,
            -0.05,
            "the eFCN ends clearly worse at all 8 relax times, by 4.59 to 5.25 points of"
            " accuracy. Held throughout, the prior costs 4.96 points of accuracy (95%"
            " interval 4.47 to 5.45), by which the CNN ends behind that FCN.",
        ),
        (
            FLAT,
            0.0,
            "the eFCN ends neither clearly better nor clearly worse at any of 8 relax"
            " times. Whether",
        ),
        (
            (0.03,),
            0.1,
            "the eFCN ends clearly better, by 12.82 points of accuracy (95% interval",
        ),
        (
            (0.0,),
            0.0,
            "the eFCN ends neither clearly better nor clearly worse. Whether",
        ),
    ],
)
def test_what_is_said_of_the_fresh_net(gain, lead, said):
    declared, other = (reading(gain, seed, lead=lead) for seed in (0, 1))
    assert (
        f"Compared with the FCN from a standard start, {said}"
        in judged(declared, other).sentence
    )


def test_a_fresh_net_that_always_diverged_leaves_the_verdict_as_it_is():
    declared = reading()
    failed = arm(np.full((10, 8), 0.1), np.ones((10, 8), dtype=bool), 10_000)
    found = judged(dataclasses.replace(declared, fresh=failed))
    assert found.verdict == "relaxed_better"
    assert found.fresh_gap is None
    assert found.sentence.endswith(
        "The FCN from a standard start diverged in every run, so what the prior is"
        " worth against it is not known."
    )
    assert "it pays to let go of the convolutional prior." in found.sentence
    assert "80 of 80 readings of the FCN are of runs that diverged" in found.warnings[0]


def test_a_fresh_net_that_diverged_in_some_runs_is_compared():
    declared = reading()
    some = np.broadcast_to(np.arange(10)[:, None] < 2, (10, 8))
    fresh = arm(np.where(some, 0.1, declared.fresh.scores), some, 10_000)
    found = judged(dataclasses.replace(declared, fresh=fresh))
    assert found.fresh_gap is not None
    assert "diverged in every run" not in found.sentence
    assert "16 of 80 readings of the FCN are of runs that diverged" in found.warnings[0]


def test_what_the_start_did_is_said_of_the_time_that_is_best():
    """Elsewhere the relaxed net may beat a standard start; there it does not."""
    declared = reading()
    scores = declared.fresh.scores.copy()
    scores[:, 4] = declared.relaxed.scores[:, 4] + 0.02
    found = judged(dataclasses.replace(declared, fresh=arm(scores, None, 10_000)))
    assert found.best_time == 93
    assert found.gain_over_fresh.direction.tolist() == [1, 1, 1, 1, -1, 1, 1, 1]
    assert "there it pays to let go of the convolutional prior." in found.sentence


def test_the_gap_is_that_at_the_longest_budget():
    declared = reading()
    found = judged()
    apart = declared.cnn.examples[-1] - declared.fresh.examples[-1]
    expected = simultaneous(
        (declared.cnn.scores - declared.fresh.scores)[:, [-1]],
        alpha=0.05,
        seed=0,
        test_variance=np.var(apart, ddof=1, keepdims=True) / 10_000,
    )
    assert found.fresh_gap == expected.at(0)
    assert found.fresh_gap.estimate == pytest.approx(0.1, abs=0.01)


# --- wording -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "begins"),
    [
        ((0,), "Relaxed before the first step, the"),
        ((1,), "Relaxed after 1 step, the"),
        ((12_000,), "Relaxed after 12,000 steps, the"),
    ],
)
def test_one_relax_time_reads_without_many(times, begins):
    up = [reading((0.03,), seed, times=times) for seed in (0, 1)]
    found = judged(*up)
    assert found.sentence.startswith(begins)
    assert "simultaneous" not in found.sentence
    assert "relax times" not in found.sentence
    level = [reading((0.0,), seed, times=times, spread=0.001) for seed in (0, 1)]
    assert judged(*level).verdict == "no_gain"
    assert (
        "does not beat the CNN trained on for as long by 0.5 points or more: its"
        in (judged(*level).sentence)
    )
    down = [reading((-0.03,), seed, times=times) for seed in (0, 1)]
    assert " It is clearly worse. Compared" in judged(*down).sentence
    noisy = [reading((0.0,), seed, times=times, spread=0.03) for seed in (0, 1)]
    assert "by 0.5 points or more: its gain, relaxed" in judged(*noisy).sentence


@pytest.mark.parametrize(
    ("metric", "gain", "margin"),
    [
        ("rmse", "0.0302 in rmse (simultaneous 95% interval 0.0", "0.005 or more"),
        ("r2", "0.0302 in R² (simultaneous 95% interval 0.0", "0.005 or more"),
    ],
)
def test_unbounded_scores_have_no_points(metric, gain, margin):
    higher = metric == "r2"
    found = judged(metric=metric, higher_is_better=higher)
    assert f"beats the CNN it came from, trained on for as long, by {gain}" in (
        found.sentence
    )
    assert "point" not in found.sentence
    none = judged(
        reading(FLAT, spread=0.002), reading(FLAT, 1, spread=0.002), metric=metric
    )
    assert f"trained on for as long by {margin}: the largest gain" in none.sentence


def test_nets_have_the_names_that_they_are_given():
    names = NetNames("ResNet", "eLCN", "LCN", "locally connected net")
    found = judged(names=names)
    assert "the locally connected net (eLCN) beats the ResNet it" in found.sentence
    assert "Compared with the LCN from a standard start, the eLCN" in found.sentence
    assert "CNN" not in found.sentence.replace("eLCN", "")
    assert found.to_dict()["names"] == {
        "cnn": "ResNet",
        "relaxed": "eLCN",
        "fresh": "LCN",
    }


def test_the_note_says_what_so_many_seeds_may_miss():
    # .95 = 1 - (1 - .259)^10 of all studies see a failure of 25.9 %.
    (note,) = judged().notes
    assert note.startswith("A failure that befalls 26% of runs is missed by 10 seeds")
    (note,) = judged(reading(seeds=1), reading(seeds=1)).notes
    assert "95% of runs is missed by 1 seed in" in note
    (note,) = judged(reading(seeds=600), reading(seeds=600)).notes
    assert "befalls 0.5% of runs is missed by 600 seeds" in note


# --- laws ----------------------------------------------------------------------------


def swapped(read):
    return dataclasses.replace(read, relaxed=read.cnn, cnn=read.relaxed)


def test_swapping_relaxed_and_cnn_turns_the_gain_round_exactly():
    one = judged()
    other = judged(swapped(reading()), swapped(reading(seed=1)))
    for name in ("gain", "gain_other"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert np.array_equal(ours.estimate, -theirs.estimate)
        assert np.array_equal(ours.low, -theirs.high)
        assert np.array_equal(ours.high, -theirs.low)
        assert np.array_equal(ours.p_value_adjusted, theirs.p_value_adjusted)
    assert (one.verdict, other.verdict) == ("relaxed_better", "relaxed_better")
    assert (one.best_time, other.best_time) == (93, 0)


def moved(read, rows, columns):
    def taken(scored):
        return ArmScores(
            scored.scores[rows][:, columns],
            scored.diverged[rows][:, columns],
            scored.examples[columns],
        )

    return RelaxReading(
        [read.relax_times[j] for j in columns],
        taken(read.relaxed),
        taken(read.cnn),
        taken(read.fresh),
    )


@pytest.mark.parametrize("gain", [PEAK, FLAT])
def test_order_of_seeds_and_of_times_changes_nothing(gain):
    rows, columns = np.random.default_rng(0).permutation(10), [5, 2, 7, 0, 4, 3, 6, 1]
    one, two = reading(gain), reading(gain, seed=1)
    ours = judged(one, two).to_dict()
    theirs = judged(moved(one, rows, columns), moved(two, rows, columns)).to_dict()
    theirs["times"].sort(key=lambda time: time["relax_time"])
    for time in (*ours["times"], *theirs["times"]):
        for points in time.pop("points").values():
            assert all(len(seen) == 10 for seen in points.values())
        time.pop("scores")
    assert ours == theirs


def test_of_equal_gains_the_earliest_is_the_best():
    declared = reading()
    same = dataclasses.replace(declared, relaxed=declared.cnn)
    late = moved(same, np.arange(10), list(range(8))[::-1])
    for read in (same, late):
        found = judged(read, read)
        assert (found.verdict, found.best_time) == ("no_gain", 0)
        assert "largest gain, before the first step, is 0.00 points" in found.sentence


def test_the_same_seed_gives_the_same_bytes():
    many = [reading(seed=seed, seeds=16) for seed in (0, 1)]
    one, two, other = (judged(*many, seed=seed).to_dict() for seed in (5, 5, 6))
    assert json.dumps(one) == json.dumps(two) != json.dumps(other)


# --- as JSON --------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [True, False])
def test_the_document_turns_scores_back_and_leaves_gains(higher):
    found = judged(higher_is_better=higher)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    sign = 1 if higher else -1
    time = document["times"][4]
    scores = sign * reading().relaxed.scores[:, 4]
    assert time["relax_time"] == 93
    assert time["points"]["best"]["relaxed"] == scores.tolist()
    assert time["scores"]["best"]["relaxed"] == dataclasses.asdict(mean(scores, 0.05))
    assert (
        time["points"]["last"]["fresh"]
        == (sign * reading(seed=1).fresh.scores[:, 4]).tolist()
    )
    assert time["gain"]["estimate"] == found.gain.estimate[4] > 0
    assert time["gain"]["p_value_adjusted"] == found.gain.p_value_adjusted[4]
    one = int(np.argmax(found.gain.p_value_adjusted - found.gain.p_value))
    alone, together = found.gain.p_value[one], found.gain.p_value_adjusted[one]
    assert document["times"][one]["gain"]["p_value"] == alone < together
    assert document["times"][one]["gain"]["p_value_adjusted"] == together
    assert time["gain_other"]["low"] == found.gain_other.low[4]
    assert time["gain_over_fresh"]["high"] == found.gain_over_fresh.high[4]
    other = reading(seed=1)
    apart = other.relaxed.scores - other.fresh.scores
    assert time["gain_over_fresh_other"]["estimate"] == pytest.approx(
        apart[:, 4].mean(), rel=1e-12
    )
    assert document["fresh_gap"] == dataclasses.asdict(found.fresh_gap)
    assert document["settling"] is None
    assert (document["seeds"], document["test_examples"]) == (10, 10_000)
    assert (document["verdict"], document["best_time"]) == ("relaxed_better", 93)


def test_the_document_knows_what_is_not_known():
    noisy = {"spread": 0.03, "test_size": None}
    document = judged(reading(**noisy), reading(seed=1, **noisy)).to_dict()
    assert document["test_examples"] is None
    assert document["settling"]["seeds"] > 10
    assert document["settling"]["test_examples"] is None


# --- what does not fit ------------------------------------------------------------------


def broken(**fields):
    declared = reading()
    relaxed = dataclasses.replace(declared.relaxed, **fields)
    return dataclasses.replace(declared, relaxed=relaxed)


@pytest.mark.parametrize(
    ("declared", "rule"),
    [
        (dataclasses.replace(reading(), relax_times=()), "each relax time is there"),
        (
            dataclasses.replace(reading(), relax_times=(0, *TIMES[:-1])),
            "each relax time is there once",
        ),
        (
            dataclasses.replace(reading(), relax_times=TIMES[::-1]),
            "both readings have the same relax times",
        ),
        (reading(seeds=9), "each arm has a score for each seed"),
        (reading(seeds=0, test_size=None), "each arm has a score for each seed"),
        (broken(scores=np.zeros((10, 7))), "relaxed of shape"),
        (broken(diverged=np.zeros(10, dtype=bool)), "marked as diverged"),
        (broken(scores=np.full((10, 8), math.nan)), "constant predictor"),
        (broken(examples=np.zeros((8, 7))), "one shape for all arms"),
        (broken(examples=np.zeros((7, 10_000))), "one shape for all arms"),
        (broken(examples=np.zeros(8)), "one shape for all arms"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(declared, rule):
    with pytest.raises(ProtocolError, match=rule):
        judged(declared)


@pytest.mark.parametrize("margin", [0.0, -0.1, math.inf])
def test_a_margin_is_more_than_0(margin):
    with pytest.raises(ProtocolError, match="margin is more than 0"):
        judged(margin=margin)


def test_estimates_are_plain_numbers():
    assert judged().fresh_gap == Estimate(
        *(float(x) for x in dataclasses.astuple(judged().fresh_gap))
    )


@pytest.mark.parametrize(
    ("units", "difference", "reach", "text"),
    [
        (Units("accuracy"), 0.2412, 0.038, "24.1"),
        (Units("accuracy"), 0.24123, 0.0012, "24.12"),
        (Units("accuracy"), -0.00001, 0.01, "0.0"),
        (Units("accuracy"), 0.03, 0.0, "3.00"),
        (Units("rmse"), 23456.78, 1200.0, "23,457"),
        (Units("my score", fraction=True), 0.1, 0.05, "10.0"),
        (Units("accuracy", fraction=False), 0.1, 0.05, "0.100"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_supports(
    units, difference, reach, text
):
    assert units.number(difference, reach) == text


def test_units_are_written_out():
    assert Units("accuracy").gap(0.05, 0.02) == "5.0 points of accuracy"
    assert Units("log_loss").gap(0.05, 0.02) == "0.050 in log loss"
    assert Units("r2").name == "R²"
    assert Units("accuracy").size(0.005) == "0.5 points"
    assert Units("mae").size(12.0) == "12"


@pytest.mark.parametrize(
    ("alpha", "written"),
    [
        (0.05, "95"),
        (0.1, "90"),
        (0.025, "97.5"),
        (0.000025, "99.9975"),
        (1e-6, "99.99990"),
    ],
)
def test_an_interval_is_never_said_to_be_certain(alpha, written):
    assert confidence(alpha) == written

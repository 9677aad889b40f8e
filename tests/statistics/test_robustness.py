import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics import Search, robustness
from archtrial.statistics.gate import gate
from archtrial.statistics.robustness import _median
from archtrial.statistics.search import Reading, order_of_pairs

TERMS = {
    "effort": 4,
    "estimand": "configuration",
    "margin": 0.005,
    "alpha": 0.05,
    "seed": 0,
    "paired": True,
}


def quadratic(name, seed, positions, *, optimum=0.5, gain=0.0, own=(), **given):
    """A search whose score falls off with the square of each distance."""
    rng = np.random.default_rng(seed)
    distances = [values - 0.5 for values in positions.values()]
    distances[0] = next(iter(positions.values())) - optimum
    n = len(distances[0])
    quality = 0.8 + gain - 0.5 * np.sum(np.square(distances), axis=0)
    scores = quality + rng.normal(0, 0.01, (3, n))
    fields = {
        "validation": scores[0],
        "test": scores[1],
        "test_run": scores[2],
        "diverged": np.zeros(n, dtype=bool),
        "cost": np.ones(n),
        "worst": 0.1,
        "positions": {**positions, **dict(own)},
    }
    return Search(name=name, **{**fields, **given})


def draws(seed, n=32, names=("depth", "rate")):
    rng = np.random.default_rng(1000 + seed)
    return {name: rng.random(n) for name in names}


def shuffled(search, order):
    return Search(
        name=search.name,
        worst=search.worst,
        positions={name: v[order] for name, v in search.positions.items()},
        **{
            field: getattr(search, field)[order]
            for field in ("validation", "test", "test_run", "diverged", "cost")
        },
    )


def rows(found):
    return {row.name: row for row in found.rows}


def test_halves_are_searches_of_their_own():
    shared = draws(0)
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared, gain=0.02)
    found = robustness(a, b, **TERMS, permutations=499)
    assert [row.name for row in found.rows] == [
        "depth, lower half",
        "depth, upper half",
        "rate, lower half",
        "rate, upper half",
        "median instead of mean",
    ]
    chosen = np.flatnonzero(shared["rate"] >= 0.5)
    row = rows(found)["rate, upper half"]
    assert (row.trials, row.effort) == (len(chosen), min(4, len(chosen) // 4))
    of_a, of_b = (s.reading("configuration").take(chosen) for s in (a, b))
    order = order_of_pairs([of_a, of_b])
    p = gate(
        of_b.take(order),
        of_a.take(order),
        row.effort,
        paired=True,
        permutations=499,
        seed=0,
    )
    assert row.p_value == p


def test_an_arms_own_hyperparameter_drops_whole_pairs():
    shared = draws(0)
    own = {"dropout": np.random.default_rng(6).random(32)}
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared, own=own)
    held = int(np.sum(own["dropout"] < 0.5))
    assert held != 16
    paired = rows(robustness(a, b, **TERMS))["dropout of b, lower half"]
    assert (paired.hyperparameter, paired.trials) == ("dropout", held)
    # The same pairs, chosen by hand as a hyperparameter of both.
    both = [dataclasses.replace(s, positions=own) for s in (a, b)]
    assert rows(robustness(*both, **TERMS))["dropout, lower half"].effect == (
        paired.effect
    )
    # Unpaired, the other arm keeps all its trials.
    unpaired = rows(robustness(a, b, **{**TERMS, "paired": False}))
    row = unpaired["dropout of b, lower half"]
    chosen = b.reading("configuration").take(np.flatnonzero(own["dropout"] < 0.5))
    a_alone, b_alone = a.reading("configuration"), chosen
    assert row.p_value == gate(
        b_alone.take(order_of_pairs([b_alone])),
        a_alone.take(order_of_pairs([a_alone])),
        4,
        paired=False,
        permutations=999,
        seed=0,
    )


def test_a_name_with_other_values_is_another_hyperparameter():
    a = quadratic("a", 1, {"rate": draws(0)["rate"]})
    b = quadratic("b", 2, {"rate": draws(1)["rate"]})
    assert list(rows(robustness(a, b, **TERMS))) == [
        "rate of a, lower half",
        "rate of a, upper half",
        "rate of b, lower half",
        "rate of b, upper half",
        "median instead of mean",
    ]


def test_a_choice_is_split_by_option():
    shared = draws(0)
    # Where `space.Choice` puts three options.
    shared["norm"] = (np.arange(32) % 3 + 0.5) / 3
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared)
    options = {"norm": ("none", "batch", "layer")}
    found = rows(robustness(a, b, **TERMS, options=options))
    assert [found[f"norm, {o}"].trials for o in options["norm"]] == [11, 11, 10]
    assert found["norm, layer"].kind == "option"
    # Of another challenger.
    more = {**options, "activation": ("relu", "gelu")}
    assert rows(robustness(a, b, **TERMS, options=more)) == found


def test_small_parts_take_a_smaller_effort_or_are_skipped():
    shared = {
        "rate": np.where(np.arange(32) < 7, 0.2, 0.7),
        "depth": np.where(np.arange(32) < 3, 0.2, 0.7),
        "width": np.full(32, 0.7),
    }
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared)
    found = robustness(a, b, **TERMS)
    assert rows(found)["rate, lower half"].effort == 1
    assert rows(found)["rate, upper half"].effort == 4
    assert found.skipped == ("depth, lower half",)
    assert not any("width" in name for name in rows(found))


def test_a_part_without_fresh_seeds_is_judged_by_run():
    shared = draws(0)
    a, b = (quadratic(name, seed, shared) for seed, name in enumerate("ab"))
    best = np.argsort(-(a.validation + b.validation))[:20]
    kept = np.isin(np.arange(32), best)
    low = shared["rate"] < 0.5
    kept[np.flatnonzero(low)[np.argsort(a.validation[low])[-3:]]] = False

    def confirmed(search, **given):
        test = np.where(kept, search.test, np.nan)
        return dataclasses.replace(search, test=test, **given)

    def judge(a, b):
        # At the smallest effort the whole rests on test scores of all ranks.
        return robustness(a, b, **{**TERMS, "estimand": "run"})

    by_run = rows(judge(a, b))["rate, lower half"]
    whole = confirmed(a).reading("configuration").tells([8])[0]
    assert not whole
    with pytest.raises(ProtocolError, match="by configuration"):
        robustness(confirmed(a, test_run=None), confirmed(b, test_run=None), **TERMS)
    found = robustness(confirmed(a), confirmed(b), **TERMS)
    row = rows(found)["rate, lower half"]
    assert row.estimand == "run"
    assert row.effect == by_run.effect


def slow_median(reading, effort, counts):
    """The median of where all k-subsets of the drawn trials end, one by one."""
    drawn = np.repeat(np.arange(len(counts)), counts)
    ends = []
    for subset in itertools.combinations(drawn, effort):
        mine = np.array(subset)
        best = mine[reading.validation[mine] == reading.validation[mine].max()]
        ends += [(score, 1 / len(best)) for score in reading.score[best]]
    ends.sort()
    scores, weights = np.array(ends).T
    upto = np.cumsum(weights) / weights.sum()
    lower = scores[np.argmax(upto >= 0.5 - 1e-9)]
    return (lower + scores[np.argmax(upto > 0.5 + 1e-9)]) / 2


@pytest.mark.parametrize("tied", [False, True])
def test_median_is_that_of_all_subsets(make_reading, tied):
    reading = make_reading(3, 9, tied)
    counts = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), 20)
    # Ties share by configuration drawn, in the sum over all subsets as well.
    found = _median(reading, 3, counts)
    slow = [slow_median(reading, 3, row) for row in counts]
    np.testing.assert_allclose(found, slow)


def test_a_larger_baseline_is_one_more_row():
    shared = draws(0)
    a, b = quadratic("plain", 1, shared), quadratic("tweak", 2, shared, gain=0.03)
    larger = quadratic("wide", 3, shared, gain=0.08)
    found = robustness(a, b, **TERMS, matched=larger)
    row = found.rows[-1]
    assert (row.name, row.kind, row.finding) == ("against wide", "matched", "opposite")
    assert found.effect.low > 0 > row.effect.high
    assert row.whole == found.effect.estimate
    small = quadratic("small", 3, draws(0, 12))
    assert robustness(a, b, **TERMS, matched=small).skipped == ("against small",)


def test_swapping_the_arms_turns_everything_round():
    shared = draws(3)
    own = {"dropout": np.random.default_rng(5).random(32)}
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared, gain=0.01, own=own)
    for paired in (True, False):
        terms = {**TERMS, "paired": paired, "margin": 0.001}
        one, other = robustness(a, b, **terms), robustness(b, a, **terms)
        assert one.p_value == other.p_value
        for row in one.rows:
            back = rows(other)[row.name]
            assert row.effect.estimate == -back.effect.estimate
            assert (row.effect.low, row.effect.high) == (
                -back.effect.high,
                -back.effect.low,
            )
            assert (row.p_value, row.finding) == (back.p_value, back.finding)


def test_the_order_of_the_trials_changes_nothing():
    shared = draws(4)
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared, gain=0.01)
    order = np.random.default_rng(0).permutation(32)
    for paired in (True, False):
        terms = {**TERMS, "paired": paired}
        assert robustness(a, b, **terms) == robustness(
            shuffled(a, order), shuffled(b, order), **terms
        )


def test_a_gain_that_hangs_on_the_range_is_seen():
    # b's optimum lies higher up and is better; in the lower half a is far ahead.
    found = []
    for study in range(20):
        shared = draws(study, 64)
        a = quadratic("a", 2 * study, shared, optimum=0.1)
        b = quadratic("b", 2 * study + 1, shared, optimum=0.9, gain=0.06)
        found.append(robustness(a, b, **TERMS))
    claimed = [f for f in found if f.effect.low > 0]
    assert len(claimed) >= 14
    assert all([r.name for r in f.opposite] == ["depth, lower half"] for f in claimed)


def test_one_of_many_intervals_is_no_contradiction():
    doubtful = 0
    for study in range(30):
        shared = draws(study, names=("depth", "rate", "width", "decay"))
        a = quadratic("a", 2 * study, shared, optimum=0.45)
        b = quadratic("b", 2 * study + 1, shared, optimum=0.55)
        found = robustness(a, b, **TERMS)
        for row in found.rows:
            assert row.finding != "opposite" or row.p_value_adjusted <= 0.05
            against = -np.sign(found.effect.estimate) == -np.sign(row.whole)
            outside = row.effect.low > 0 or row.effect.high < 0
            turned = row.effect.estimate * found.effect.estimate < 0
            doubtful += turned and against and outside and row.p_value_adjusted > 0.05
    assert doubtful


def test_lost_is_what_would_not_have_been_claimed():
    shared = draws(7)
    shared["rate"] = np.where(np.arange(32) < 5, 0.2, 0.7)
    a, b = quadratic("a", 1, shared), quadratic("b", 2, shared, gain=0.03)
    found = robustness(a, b, **TERMS)
    # Five pairs cannot be significant, whatever they say.
    assert rows(found)["rate, lower half"].finding == "too few"
    assert "rate, lower half" not in [row.name for row in found.lost]
    assert rows(found)["rate, upper half"].finding == "holds"
    unclaimed = robustness(a, b, **{**TERMS, "margin": 0.5})
    assert unclaimed.lost == ()


def test_a_false_alarm_is_rare():
    # The bound passes with 99.9 % if rows are significant by chance in at most 5 % of
    # studies; would miss 14 % one time in ten.
    significant = alarms = 0
    for study in range(150):
        shared = draws(study, 32, ("depth", "rate", "width", "decay"))
        a = quadratic("a", 2 * study, shared)
        b = quadratic("b", 2 * study + 1, shared)
        found = robustness(
            a, b, **{**TERMS, "seed": study}, permutations=400, resamples=800
        )
        significant += any(row.p_value_adjusted <= 0.05 for row in found.rows)
        alarms += bool(found.opposite)
    assert significant <= stats.binom.ppf(0.999, 150, 0.05)
    assert alarms <= stats.binom.ppf(0.999, 150, 0.01)


def test_it_needs_a_quarter_of_the_trials(make_search):
    with pytest.raises(ProtocolError, match="quarter"):
        robustness(make_search("a", 1), make_search("b", 2), **{**TERMS, "effort": 5})


def test_order_of_pairs_does_not_depend_on_the_arms():
    rng = np.random.default_rng(0)
    # Few values, so that single keys tie.
    readings = [
        Reading(*rng.integers(0, 2, (2, 40)), None, np.zeros(40, dtype=bool), 0.0)
        for _ in range(3)
    ]
    order = order_of_pairs(readings)

    def content(arms, order):
        return [sorted((r.validation[i], r.score[i]) for r in arms) for i in order]

    assert content(readings, order) == content(readings, order_of_pairs(readings[::-1]))
    mixed = rng.permutation(40)
    again = [reading.take(mixed) for reading in readings]
    assert content(readings, order) == content(again, order_of_pairs(again))


def test_a_known_size_of_the_test_set_widens_every_row():
    shared = draws(0)
    arms = quadratic("a", 1, shared), quadratic("b", 2, shared, gain=0.02)
    alone, bounded = (
        robustness(*arms, **TERMS, test_size=size) for size in (None, 1000)
    )
    assert len(alone.rows) == 5
    for before, after in zip(alone.rows, bounded.rows, strict=True):
        assert after.effect.estimate == before.effect.estimate
        assert after.effect.low < before.effect.low - 0.01
        assert after.effect.high > before.effect.high + 0.01
    # What the test set leaves open was not claimed, so it cannot be lost.
    assert alone.effect.low > 0 > bounded.effect.low
    assert not bounded.lost


def test_a_matched_baseline_may_be_unpaired(make_search):
    a, b = make_search("a", 1), make_search("b", 2, gain=0.1, draws=1)
    larger = make_search("wide", 3, n=20, gain=0.05, draws=2)
    terms = TERMS | {"paired": False, "effort": 4}
    (row,) = (r for r in robustness(a, b, **terms, matched=larger).rows
              if r.kind == "matched")  # fmt: skip
    assert row.trials == 16
    assert 0 < row.effect.estimate < row.whole

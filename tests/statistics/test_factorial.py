import itertools
import math

import numpy as np
import pytest
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.statistics import Search, effects, factorial, winner
from archtrial.statistics.expectation import expectation, resample_counts
from archtrial.statistics.gain import gain
from archtrial.statistics.gate import gate_by_signs
from archtrial.statistics.search import order_of_pairs
from archtrial.statistics.tuning import Ranking

TERMS = {"effort": 4, "estimand": "configuration", "alpha": 0.05, "seed": 0}


def study(seed, sizes=(2, 2), n=16, *, paired=True, raised=lambda *cell: 0.0, **given):
    """The cells of a factorial, on a surface of one hyperparameter."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(n)
    searches, levels = [], []
    for cell in itertools.product(*(range(size) for size in sizes)):
        if not paired:
            drawn = rng.random(n)
        quality = 0.8 - 0.5 * (drawn - 0.5) ** 2 + raised(*cell)
        scores = quality + rng.normal(0, 0.01, (2, n))
        searches.append(
            Search(
                "".join(map(str, cell)),
                validation=scores[0],
                test=scores[1],
                test_run=None,
                diverged=np.zeros(n, dtype=bool),
                cost=np.ones(n),
                worst=0.1,
                winner_seeds=quality.max() + rng.normal(0, 0.01, 10),
                **given,
            )
        )
        levels.append(dict(zip("xyz", cell, strict=False)))
    return searches, levels


def found(searches, levels, paired=True, permutations=199, **terms):
    return {
        effect.name: effect
        for effect in effects(
            searches,
            levels,
            paired=paired,
            permutations=permutations,
            **{**TERMS, **terms},
        )
    }


def scored(search, effort=4):
    return Ranking(search.validation).expected(search.test, [effort])[0]


@pytest.mark.parametrize("paired", [True, False])
def test_interaction_is_a_difference_of_differences(paired):
    searches, levels = study(1, paired=paired)
    d = {search.name: scored(search) for search in searches}
    effect = found(searches, levels, paired)
    assert list(effect) == ["x: 1 rather than 0", "y: 1 rather than 0", "x x y"]
    assert effect["x x y"].effect.estimate == pytest.approx(
        (d["11"] - d["01"]) - (d["10"] - d["00"]), abs=1e-15
    )
    assert effect["x: 1 rather than 0"].effect.estimate == pytest.approx(
        (d["10"] + d["11"]) / 2 - (d["00"] + d["01"]) / 2, abs=1e-15
    )


def test_levels_are_set_against_the_first_and_averaged_over_the_others():
    searches, levels = study(2, (2, 3, 2))
    d = {search.name: scored(search) for search in searches}

    def mean(*pattern):
        return np.mean(
            [
                score
                for name, score in d.items()
                if all(p in ("*", c) for p, c in zip(pattern, name, strict=True))
            ]
        )

    effect = found(searches, levels)
    assert len(effect) == 1 + 2 + 1 + 2 + 1 + 2
    assert effect["y: 2 rather than 0"].effect.estimate == pytest.approx(
        mean("*", "2", "*") - mean("*", "0", "*")
    )
    name = "x: 1 rather than 0 x y: 2 rather than 0"
    assert effect[name].factors == ("x", "y")
    assert effect[name].effect.estimate == pytest.approx(
        (mean("1", "2", "*") - mean("0", "2", "*"))
        - (mean("1", "0", "*") - mean("0", "0", "*"))
    )


def test_swapping_the_levels_turns_the_sign_exactly():
    searches, levels = study(3, raised=lambda x, y: 0.02 * x * y)
    one = found(searches, levels)
    # The first cell says which level is the first.
    order = [2, 3, 0, 1]
    other = found([searches[i] for i in order], [levels[i] for i in order])
    for ours, theirs in (
        (one["x: 1 rather than 0"], other["x: 0 rather than 1"]),
        (one["x x y"], other["x x y"]),
    ):
        assert theirs.effect.estimate == -ours.effect.estimate
        assert (theirs.effect.low, theirs.effect.high) == (
            -ours.effect.high,
            -ours.effect.low,
        )
        assert theirs.p_value == ours.p_value
    assert other["y: 1 rather than 0"].effect.estimate == pytest.approx(
        one["y: 1 rather than 0"].effect.estimate, abs=1e-15
    )


@pytest.mark.parametrize("paired", [True, False])
def test_of_one_factor_it_is_the_gain_of_one_arm_over_the_other(paired):
    searches, levels = study(4, (2,), paired=paired)
    (effect,) = found(searches, levels, paired).values()
    readings = [search.reading("configuration") for search in searches]
    if paired:
        order = order_of_pairs(readings)
        readings = [reading.take(order) for reading in readings]
    counts = resample_counts(0, 16, 16, paired=True, resamples=2000)
    of = [expectation(reading, [4], counts[0]) for reading in readings]
    plain = gain(of[1], of[0], alpha=0.05, paired=paired)
    p = gate_by_signs(of[1], of[0], paired=paired, permutations=199, seed=0)
    assert effect.effect.estimate == pytest.approx(plain.estimate[0], abs=1e-15)
    assert effect.p_value == pytest.approx(p)
    if paired:
        assert effect.effect == plain.at(0)
    else:
        # Its resamples are others, its jackknife is the same.
        assert effect.effect.low == pytest.approx(plain.low[0], abs=0.005)


def test_unpaired_cells_of_unlike_size_err_independently():
    searches, levels = study(12, paired=False)
    searches[1] = study(13, n=24, paired=False)[0][1]
    effect = found(searches, levels, paired=False)["x x y"]
    cells = [
        expectation(s.reading("configuration"), [4], np.ones((2, s.n), dtype=int))
        for s in searches
    ]
    error = math.sqrt(sum(np.sum(cell.influence**2) for cell in cells))
    ratio = effect.effect.estimate / error
    assert effect.p_value == pytest.approx(2 * stats.t(2 * 16 / 4 - 1).sf(abs(ratio)))


def test_test_examples_widen_every_effect():
    rng = np.random.default_rng(0)
    searches, levels = study(5, examples=(rng.random((16, 50)) < 0.8) * 1.0)
    with_examples = [
        Search(**{**vars(s), "examples": (rng.random((16, 50)) < 0.8) * 1.0})
        for s in searches
    ]
    bare = [Search(**{**vars(s), "examples": None}) for s in searches]
    wide, narrow = found(with_examples, levels), found(bare, levels)
    weights = [Ranking(s.validation).weights([4])[:, 0] for s in with_examples]
    d = [s.examples.T @ w for s, w in zip(with_examples, weights, strict=True)]
    floor = np.var(d[3] - d[2] - d[1] + d[0], ddof=1) / 50
    z = stats.norm.ppf(1 - 0.05 / 3 / 2)
    one, other = wide["x x y"].effect, narrow["x x y"].effect
    assert one.high - one.estimate == pytest.approx(
        math.hypot(other.high - other.estimate, z * math.sqrt(floor))
    )


def test_the_order_of_the_trials_changes_nothing():
    searches, levels = study(6, (2, 3))
    order = np.random.default_rng(1).permutation(16)
    fields = ("validation", "test", "diverged", "cost")
    mixed = [
        Search(**{**vars(s), **{field: vars(s)[field][order] for field in fields}})
        for s in searches
    ]
    assert found(searches, levels) == found(mixed, levels)


def test_nothing_is_rarely_called_an_effect():
    # The bound passes with 99.9 % if any of six effects is claimed in at most 5 % of
    # studies; would miss 12 % one time in ten.
    false = significant = 0
    for seed in range(200):
        effect = found(*study(seed, (2, 2, 2)), seed=seed, resamples=800).values()
        assert len(effect) == 6
        false += any(e.claimed for e in effect)
        significant += any(e.p_value_adjusted <= 0.05 for e in effect)
    assert false <= stats.binom.ppf(0.999, 200, 0.05)
    assert significant <= stats.binom.ppf(0.999, 200, 0.06)


def test_what_is_there_is_found_and_nothing_else():
    seen = {"x: 1 rather than 0": 0, "x x y": 0}
    others = 0
    for seed in range(30):
        # x brings a point, and three more together with y.
        effect = found(
            *study(seed, n=32, raised=lambda x, y: 0.01 * x + 0.03 * x * y), seed=seed
        )
        for name in seen:
            seen[name] += effect[name].claimed and effect[name].effect.estimate > 0
        alone = found(*study(seed, n=32, raised=lambda x, y: 0.02 * x), seed=seed)
        others += alone["y: 1 rather than 0"].claimed or alone["x x y"].claimed
        seen["x: 1 rather than 0"] -= not alone["x: 1 rather than 0"].claimed
    assert seen["x: 1 rather than 0"] >= 28
    assert seen["x x y"] >= 28
    assert others <= stats.binom.ppf(0.999, 30, 0.05)


def test_adjusted_by_holm():
    effect = list(found(*study(7, raised=lambda x, y: 0.004 * x)).values())
    p = sorted(effect, key=lambda e: e.p_value)
    assert p[0].p_value_adjusted == pytest.approx(min(1, 3 * p[0].p_value))
    assert all(e.p_value_adjusted >= e.p_value for e in effect)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([{"x": 0, "y": 0}, {"x": 0, "y": 1}, {"x": 1, "y": 0}], "4 cells, 3"),
        ([{"x": 0}, {"x": 1}, {"y": 0}, {"x": 1}], "10 has y"),
        ([{"x": 0, "y": 0}] * 4, "x is 0 everywhere"),
        (
            [{"x": 0, "y": 0}, {"x": 0, "y": 1}, {"x": 1, "y": 0}, {"x": 1, "y": 0}],
            "x = 1, y = 0 is there 2 times",
        ),
    ],
)
def test_what_is_no_full_factorial_is_refused(levels, said):
    with pytest.raises(ProtocolError, match=said):
        found(study(8)[0], levels)


def test_true_and_one_are_two_levels():
    searches, _ = study(8, (2,))
    (effect,) = found(searches, [{"skip": 1}, {"skip": True}]).values()
    assert effect.name == "skip: true rather than 1"


def test_too_few_trials_or_seeds_are_refused():
    searches, levels = study(9)
    with pytest.raises(ProtocolError, match="quarter of every cell"):
        found(searches, levels, effort=5)
    searches[2] = Search(**{**vars(searches[2]), "test": np.full(16, np.nan)})
    with pytest.raises(ProtocolError, match="best configurations of 10"):
        found(searches, levels)


# --- the winner ------------------------------------------------------------------


def best(searches, **terms):
    return winner(searches, paired=True, **{**TERMS, **terms})


def test_the_winners_lead_splits_into_rerun_and_luck():
    searches, _ = study(10, raised=lambda x, y: 0.03 * x * y)
    won = best(searches)
    base, top = searches[0], searches[3]
    assert won.name == "11"
    assert won.score.estimate == pytest.approx(scored(top))
    assert won.lead.estimate == pytest.approx(scored(top) - scored(base))
    apart = top.winner_seeds - base.winner_seeds
    exact = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
    assert won.rerun_lead.estimate == pytest.approx(apart.mean())
    assert (won.rerun_lead.low, won.rerun_lead.high) == pytest.approx(tuple(exact))
    assert won.rerun.estimate == pytest.approx(top.winner_seeds.mean())
    assert won.seeds == 10
    assert won.luck.estimate == pytest.approx(
        won.lead.estimate - won.rerun_lead.estimate
    )
    assert won.luck.low < won.luck.estimate < won.luck.high


def test_the_best_of_equals_was_lucky():
    # Eight arms alike: the best of them leads by luck alone, and the rerun says so.
    leads, reruns = [], []
    for seed in range(40):
        won = best(study(100 + seed, (8,))[0], seed=seed, resamples=400)
        if won.lead is not None:
            leads.append(won.lead.estimate)
            reruns.append(won.rerun_lead.estimate)
    error = np.std(reruns, ddof=1) / math.sqrt(len(reruns))
    assert np.mean(leads) > 0.003
    assert abs(np.mean(reruns)) < 3 * error


def test_where_the_baseline_wins_nothing_is_compared():
    searches, _ = study(11, (2,), raised=lambda x: -0.05 * x)
    won = best(searches)
    assert (won.name, won.lead, won.rerun_lead, won.luck) == ("0", None, None, None)


def test_without_fresh_seeds_there_is_no_rerun():
    searches, _ = study(11, (2,), raised=lambda x: 0.05 * x)
    bare = [Search(**{**vars(s), "winner_seeds": None}) for s in searches]
    assert best(bare) is None
    mixed = best([bare[0], searches[1]])
    assert mixed.lead is None
    assert mixed.rerun.estimate == pytest.approx(searches[1].winner_seeds.mean())


def test_levels_are_written_as_a_protocol_writes_them():
    assert [factorial._written(v) for v in (True, False, 1, "True", 0.5)] == [
        "true", "false", "1", "True", "0.5",
    ]  # fmt: skip

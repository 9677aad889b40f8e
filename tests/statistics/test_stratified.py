"""Even designs: weights, influences and the design's error, against plain loops."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats import qmc

from archtrial.statistics import compare, sums
from archtrial.statistics.expectation import expectation
from archtrial.statistics.gain import gain
from archtrial.statistics.matching import furthest, trials_to_reach
from archtrial.statistics.robustness import robustness
from archtrial.statistics.search import Search, aligned
from archtrial.statistics.stratified import MOST, Model, Places
from archtrial.statistics.tuning import Ranking, plug_in_weights, rank_weights

EFFORTS = np.array([1, 2, 4])


def surface(places, peak=0.8, optimum=(0.4, 0.6)):
    return peak - 1.5 * np.sum((places[:, : len(optimum)] - np.array(optimum)) ** 2, 1)


def made(seed, n=16, dimensions=2, *, name="a", diverging=0.0, noise=0.01, **others):
    random = np.random.default_rng(seed)
    sequence = qmc.Sobol(dimensions, rng=others.pop("design", 5))
    places = sequence.random_base2(math.ceil(math.log2(n)))[:n]
    score = surface(places, **others)
    out = places[:, 0] > 1 - diverging
    validation = np.where(out, 0.1, score + noise * random.normal(size=n))
    fresh = random.normal(size=(3, n)).mean(axis=0)
    test = np.where(out, 0.1, score + noise * fresh)
    return Search(
        name=name,
        validation=validation,
        test=test,
        test_run=test + noise * random.normal(size=n) * ~out,
        diverged=out,
        cost=np.ones(n),
        worst=0.1,
        positions={f"h{j}": places[:, j] for j in range(dimensions)},
        stratified=True,
    )


def spaced(search):
    (told,) = aligned([search], {})
    reading = told.reading("configuration")
    assert reading.places is not None
    return reading


# --- weights ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 16, 33])
def test_plug_in_weights_are_chances_of_drawing_with_replacement(n):
    weights = plug_in_weights(n, [1, 3])
    np.testing.assert_allclose(weights[:, 0], 1 / n)
    chances = [(j / n) ** 3 - ((j - 1) / n) ** 3 for j in range(1, n + 1)]
    np.testing.assert_allclose(weights[:, 1], chances, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=0), 1)


def test_plug_in_weights_put_less_on_the_best_than_the_unbiased_ones():
    n, k = 16, 4
    assert plug_in_weights(n, [k])[-1, 0] == pytest.approx(1 - (15 / 16) ** 4)
    assert rank_weights(n, [k])[-1, 0] == pytest.approx(4 / 16)


def test_tied_trials_share_plug_in_weights():
    validation = np.array([0.2, 0.5, 0.5, 0.1])
    weights = Ranking(validation, stratified=True).weights([2])[:, 0]
    assert weights[1] == weights[2] == pytest.approx((5 + 7) / 16 / 2)
    assert weights[[3, 0]] == pytest.approx([1 / 16, 3 / 16])


# --- against a second implementation, refitting from scratch ----------------------


def matrices(trials, unordered):
    """All kernels of `Places`, written out, as functions of two places."""
    size = trials.shape[1]

    def distance(a, b, lengths):
        total = 0.0
        for j, length in enumerate(lengths):
            if math.isinf(length):
                continue
            apart = (a[j] - b[j]) ** 2
            if unordered[j]:
                apart = 0.25 if a[j] != b[j] else 0.0
            total += apart / length**2
        return total

    def product_of(lengths):
        return lambda a, b: (1 + distance(a, b, lengths) / 4) ** -2

    def mean_of(length):
        def kernel(a, b):
            parts = []
            for j in range(size):
                lengths = [math.inf] * size
                lengths[j] = length
                parts.append((1 + distance(a, b, lengths) / 4) ** -2)
            return sum(parts) / size

        return kernel

    found = [product_of([length] * size) for length in (0.3, 0.6, 1.2, 2.4)]
    if size > 1:
        for j in range(size):
            for length in (0.15, 0.4):
                others = [5 * length] * size
                others[j] = length
                found.append(product_of(others))
            alone = [math.inf] * size
            alone[j] = 0.3
            found.append(product_of(alone))
        found += [mean_of(0.3), mean_of(1.0)]
    return found


class Plain:
    """Smooths by solving one system for each prediction, never an inverse."""

    def __init__(self, places, known):
        self.places, self.rows = places, np.flatnonzero(known)
        self.kernels = matrices(places.trials, places.unordered)

    def predicted(self, kernel, noise, values, rows, at):
        x = self.places.trials[rows]
        gram = np.array([[kernel(a, b) + 100 for b in x] for a in x])
        weights = np.linalg.solve(gram + noise * np.eye(len(rows)), values[rows])
        across = np.array([[kernel(a, b) + 100 for b in x] for a in at])
        return across @ weights

    def fit(self, values):
        rows = self.rows
        others = [[r for r in rows if r != i] for i in rows]
        best, least = (
            None,
            np.mean(
                [
                    (values[i] - np.mean(values[o])) ** 2
                    for i, o in zip(rows, others, strict=True)
                ]
            ),
        )
        for kernel in self.kernels:
            for noise in (0.01, 0.1, 1.0):
                off = [
                    values[i]
                    - self.predicted(kernel, noise, values, o, self.places.trials[[i]])[
                        0
                    ]
                    for i, o in zip(rows, others, strict=True)
                ]
                if np.mean(np.square(off)) < least * (1 - 1e-9):
                    best, least = (kernel, noise), np.mean(np.square(off))
        without = np.empty(len(values))
        for i in range(len(values)):
            left = [r for r in rows if r != i]
            if best is None:
                without[i] = np.mean(values[left])
            else:
                at = self.places.trials[[i]]
                without[i] = self.predicted(*best, values, left, at)[0]
        if best is None:
            mean = np.mean(values[rows])
            size = len(self.places.points)
            return without, np.full(len(values), mean), np.full(size, mean), least
        return (
            without,
            self.predicted(*best, values, rows, self.places.trials),
            self.predicted(*best, values, rows, self.places.points),
            least,
        )


def picked(validation, score, k):
    """D(k): all draws with replacement, ties averaged."""
    n = len(validation)
    total = 0.0
    for level in np.unique(validation):
        upto, below = np.mean(validation <= level), np.mean(validation < level)
        total += (upto**k - below**k) * np.mean(score[validation == level])
    assert n
    return total


@pytest.mark.parametrize(
    ("dimensions", "n", "diverging", "unordered"),
    [(1, 9, 0.0, False), (2, 12, 0.0, True), (2, 16, 0.3, False)],
)
def test_influences_are_those_of_plain_loops(dimensions, n, diverging, unordered):
    search = made(
        1, n, dimensions, diverging=diverging, optimum=(0.4, 0.6)[:dimensions]
    )
    reading = spaced(search)
    places = dataclasses.replace(
        reading.places, unordered=np.array([unordered, *[False] * (dimensions - 1)])
    )
    if unordered:
        cells = (np.floor(places.trials[:, 0] * 3) + 0.5) / 3
        trials = np.column_stack([cells, places.trials[:, 1:]])
        places = dataclasses.replace(places, trials=trials)
    of = Model(
        places, reading.validation, reading.score, reading.diverged, 0.1
    ).influences(EFFORTS)
    found, design = of.trials, of.design
    known = ~reading.diverged
    of_validation = Plain(places, known).fit(reading.validation)
    of_score = Plain(places, known).fit(reading.score)
    stops = None
    if diverging:
        everyone = np.ones(n, dtype=bool)
        stops = Plain(places, everyone).fit(reading.diverged.astype(float))
    for j, k in enumerate(EFFORTS):
        whole = picked(reading.validation, reading.score, k)
        for i in range(n):
            validation, score = reading.validation.copy(), reading.score.copy()
            validation[i], score[i] = of_validation[0][i], of_score[0][i]
            if stops is not None and stops[0][i] > 0.5:
                validation[i] = score[i] = 0.1
            expected = whole - picked(validation, score, k)
            assert found[i, j] == pytest.approx(expected, abs=1e-8)
    # The design's error, with the same noise on the same points.
    from archtrial.statistics.stratified import _normal

    size, times = 1024, 1024 // n
    noise = math.sqrt(of_validation[3]) * _normal(max(size, times * n))
    space, ended = of_validation[2] + noise[0, :size], of_score[2].copy()
    own = np.repeat(of_validation[1], times) + noise[1, : times * n]
    own_ended = np.repeat(of_score[1], times)
    if stops is not None:
        out, own_out = stops[2] > 0.5, np.repeat(reading.diverged, times)
        space[out], ended[out] = -9.0, 0.1
        own[own_out], own_ended[own_out] = -9.0, 0.1
    for j, k in enumerate(EFFORTS):
        expected = picked(space, ended, k) - picked(own, own_ended, k)
        assert design[j] == pytest.approx(expected, abs=1e-8)
    # One diverged trial more, and one fewer, where the others tell least of it.
    if stops is None:
        assert (of.boundary == 0).all()
        return
    stopped, ran = np.flatnonzero(reading.diverged), np.flatnonzero(known)
    more = max(ran, key=lambda i: stops[0][i])
    fewer = min(stopped, key=lambda i: stops[0][i])
    for j, k in enumerate(EFFORTS):
        whole = picked(reading.validation, reading.score, k)
        changes = []
        for i, picks, ends in (
            (more, 0.1, 0.1),
            (fewer, of_validation[0][fewer], of_score[0][fewer]),
        ):
            validation, score = reading.validation.copy(), reading.score.copy()
            validation[i], score[i] = picks, ends
            changes.append((picked(validation, score, k) - whole) ** 2)
        assert of.boundary[j] == pytest.approx(max(changes), abs=1e-8)
        assert of.boundary[j] > 0


def test_where_divergence_begins_is_not_known_to_a_trial():
    """Boundaries anywhere, not where the sequence lies level: intervals hold."""

    def study(seed, share):
        runs, stops = (
            made(seed, 32, design=seed),
            made(seed + 1000, 32, design=seed, diverging=share, peak=0.9, name="b"),
        )
        both = [spaced(arm) for arm in (stops, runs)]
        return gain(
            *(expectation(r, [4], np.ones((1, 32), int)) for r in both),
            alpha=0.05,
            paired=True,
        )

    for share in (0.55, 0.7):
        found = [study(seed, share) for seed in range(60)]
        truth = np.mean([each.estimate[0] for each in found])
        covered = [each.low[0] <= truth <= each.high[0] for each in found]
        assert np.mean(covered) >= 0.93


def test_weighted_influences_are_those_of_weighted_scores():
    reading = spaced(made(7, diverging=0.3))
    places, out = reading.places, reading.diverged
    once = Model(places, reading.validation, reading.score, out, 0.1)
    thrice = Model(places, reading.validation, -3 * reading.score, out, -0.3)
    of, other = once.influences(EFFORTS).scaled(-3), thrice.influences(EFFORTS)
    np.testing.assert_allclose(of.trials[~out], other.trials[~out], atol=1e-12)
    assert (of.boundary >= 0).all()


def test_of_many_trials_the_first_choose_the_smoother(monkeypatch):
    from archtrial.statistics import stratified

    search = made(8, 24)
    reading = spaced(search)
    values, places = reading.score, reading.places
    every, first = np.ones(24, dtype=bool), np.arange(24) < 12
    monkeypatch.setattr(stratified, "_CHOSEN_AMONG", 12)
    found = stratified._Smoothers(places.trials, places.unordered, every)
    surface = found.fit(values, places.points)
    # The same smoother and noise as those twelve trials choose for themselves.
    own = stratified._Smoothers(places.trials, places.unordered, first)
    _, missed = own._solved(own._inverses, values[:12])
    best = int(np.argmin(np.mean(missed**2, axis=1)))
    plain = Plain(places, every)
    kernel, noise = plain.kernels[best // 3], (0.01, 0.1, 1.0)[best % 3]
    for i in (0, 13, 23):
        left = [j for j in range(24) if j != i]
        expected = plain.predicted(kernel, noise, values, left, places.trials[[i]])
        assert surface.without[i] == pytest.approx(expected[0], abs=1e-8)
    expected = plain.predicted(kernel, noise, values, range(24), places.points[:5])
    np.testing.assert_allclose(surface.points[:5], expected, atol=1e-8)
    assert found._inverse(best) is found._inverse(best)


def test_the_standard_error_is_that_of_repeated_studies():
    """Brute force: whole studies again, each with its own design and seeds."""

    def study(seed, design):
        a = made(2 * seed, 16, design=design, optimum=(0.4, 0.6))
        b = made(2 * seed + 1, 16, design=design, optimum=(0.5, 0.5), name="b")
        both = [spaced(arm) for arm in (b, a)]
        return gain(
            *(expectation(r, [4], np.ones((1, 16), int)) for r in both),
            alpha=0.05,
            paired=True,
        )

    found = [study(seed, seed) for seed in range(200)]
    gains = np.array([each.estimate[0] for each in found])
    errors = np.array([each.standard_error[0] for each in found])
    # Never too small, and not several times too large, as the jackknife's is.
    ratio = math.sqrt(np.mean(errors**2)) / gains.std()
    assert 1.0 <= ratio <= 1.6
    covered = [each.low[0] <= gains.mean() <= each.high[0] for each in found]
    assert np.mean(covered) >= 0.93


# --- which error bar counts -------------------------------------------------------


def test_the_smaller_error_bar_counts():
    reading = spaced(made(3, noise=0.3))  # nothing but noise
    of = expectation(reading, [4], np.ones((1, 16), int))
    jackknife = math.sqrt(np.sum(of.influence**2))
    modelled = math.sqrt(np.sum(of.model.trials**2) + of.model.design[0] ** 2)
    level = gain(of, alpha=0.05)
    assert level.standard_error[0] == pytest.approx(min(jackknife, modelled))
    smooth = expectation(spaced(made(3, noise=0.001)), [4], np.ones((1, 16), int))
    plain = math.sqrt(np.sum(smooth.influence**2))
    assert gain(smooth, alpha=0.05).standard_error[0] < plain / 2


def test_of_many_trials_the_jackknife_counts():
    search = made(4, MOST + 1)
    reading = search.reading("configuration")
    assert reading.stratified
    assert reading.places is None
    of = expectation(reading, [4], np.ones((1, MOST + 1), int))
    error = gain(of, alpha=0.05).standard_error[0]
    assert error == pytest.approx(math.sqrt(np.sum(of.influence**2)))


def test_independent_trials_have_the_plain_method():
    search = dataclasses.replace(made(5), stratified=False)
    reading = search.reading("configuration")
    of = expectation(reading, [4], np.ones((1, 16), int))
    assert of.model is None
    assert gain(of, alpha=0.05).p_value is None
    (expected,) = rank_weights(16, [4]).T @ np.sort(reading.score)[:, None]
    same = dataclasses.replace(reading, validation=reading.score)
    assert expectation(same, [4], np.ones((1, 16), int)).estimate == pytest.approx(
        expected
    )


# --- p and the interval -------------------------------------------------------------


@pytest.mark.parametrize("examples", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.02, 0.04, 0.3])
def test_p_is_the_level_at_which_the_interval_ends_at_0(examples, shift):
    arms = [made(6), made(7, peak=0.8 + shift, name="b")]
    readings = [spaced(arm) for arm in arms]
    if examples:
        random = np.random.default_rng(1)
        readings = [
            dataclasses.replace(
                r, examples=(random.random((16, 300)) < r.score[:, None]).astype(float)
            )
            for r in readings
        ]
    of = [expectation(r, [4], np.ones((1, 16), int)) for r in readings]
    found = gain(of[1], of[0], alpha=0.05, paired=True)
    p = float(found.p_value[0])
    assert 2.0**-15 <= p <= 1
    assert (p <= 0.05) == bool(found.low[0] > 0 or found.high[0] < 0)
    if 2.0**-15 < p < 0.49:
        at = gain(of[1], of[0], alpha=p, paired=True)
        nearest = min(abs(at.low[0]), abs(at.high[0]))
        assert nearest == pytest.approx(0, abs=1e-9)
    if not examples and 2.0**-15 < p < 1:
        t = found.estimate[0] / found.standard_error[0]
        assert p == pytest.approx(2 * stats.t.sf(abs(t), 2 * 16 / 4 - 1), rel=1e-9)


def test_no_gain_has_p_1_and_a_sure_one_the_least():
    search = made(8)
    of = expectation(spaced(search), [4], np.ones((1, 16), int))
    nothing = gain(of, of, alpha=0.05, paired=True)
    assert (nothing.estimate[0], nothing.p_value[0]) == (0, 1)
    better = dataclasses.replace(of, estimate=of.estimate + 0.1)
    assert gain(better, of, alpha=0.05, paired=True).p_value[0] == 2.0**-15
    with_examples = [
        dataclasses.replace(each, examples=np.linspace(0, s, 50)[:, None])
        for each, s in ((better, 1.0), (of, 0.99))
    ]
    sure = [dataclasses.replace(e, estimate=e.estimate * 0) for e in with_examples]
    sure[0] = dataclasses.replace(sure[0], estimate=np.array([5.0]))
    assert gain(*sure, alpha=0.05, paired=True).p_value[0] == 2.0**-15


# --- laws ----------------------------------------------------------------------------


def verdict(a, b, **others):
    given = {"effort": 4, "margin": 0.01, "metric": "accuracy", "seed": 3} | others
    (found,) = compare(a, [b], **given)
    return found


def test_swapping_the_arms_turns_the_gain_round_exactly():
    a, b = made(9, name="a"), made(10, name="b", optimum=(0.5, 0.5))
    there, back = verdict(a, b), verdict(b, a)
    assert there.effect.estimate == -back.effect.estimate
    assert (there.effect.low, there.effect.high) == (
        -back.effect.high,
        -back.effect.low,
    )
    assert there.p_value == back.p_value


def test_the_order_of_the_trials_changes_nothing():
    a, b = made(11, name="a"), made(12, name="b", diverging=0.3)
    order = np.random.default_rng(0).permutation(16)

    def shuffled(search):
        return dataclasses.replace(
            search,
            **{
                field: getattr(search, field)[order]
                for field in ("validation", "test", "test_run", "diverged", "cost")
            },
            positions={n: each[order] for n, each in search.positions.items()},
        )

    assert verdict(a, b).to_dict() == verdict(shuffled(a), shuffled(b)).to_dict()


def test_an_arm_against_itself_of_other_seeds_is_seldom_a_claim():
    found = [
        verdict(made(s, design=s), made(1000 + s, design=s, name="b")).verdict
        for s in range(60)
    ]
    assert sum(v in ("architecture", "baseline", "tuning") for v in found) <= 4
    assert found.count("equivalent") >= 0.3 * 60


def test_shared_hyperparameters_have_shared_points():
    a = made(13, dimensions=2)
    alone = made(14, dimensions=3, name="b")
    renamed = {
        "a0": alone.positions["h2"],
        **{f"h{j}": alone.positions[f"h{j}"] for j in (0, 1)},
    }
    b = dataclasses.replace(alone, positions=renamed)
    told = [each.reading("configuration").places for each in aligned([a, b], {})]
    assert told[1].trials.shape == (16, 3)
    np.testing.assert_array_equal(told[0].points, told[1].points[:, 1:])


def test_choices_have_points_of_their_own_options():
    search = made(15)
    (told,) = aligned([search], {"h0": ("relu", "gelu", "tanh"), "h1": ("1", "2")})
    places = told.reading("configuration").places
    np.testing.assert_allclose(np.unique(places.points[:, 0]), [1 / 6, 0.5, 5 / 6])
    np.testing.assert_allclose(np.unique(places.points[:, 1]), [0.25, 0.75])
    assert list(places.unordered) == [True, False]


def test_a_part_of_the_space_has_the_points_in_it():
    places = spaced(made(16)).places
    part = places.within(1, 0.5, 1.0)
    assert len(part.points) == pytest.approx(512, abs=1)
    assert part.points[:, 1].min() >= 0.5
    assert part.trials is places.trials


@pytest.mark.parametrize("runs", [5, 4, 2, 1, 0])
def test_few_or_no_trials_that_ended_have_a_flat_surface(runs):
    random = np.random.default_rng(0)
    places = Places.of(random.random((5, 1)), [0], 1, [0], [False])
    out = np.arange(5) >= runs
    score = np.where(out, 0.1, [0.3, 0.4, 0.5, 0.6, 0.7])
    found = Model(places, score, score, out, 0.1).influences(EFFORTS)
    assert np.isfinite(found.trials).all()
    assert np.isfinite(found.design).all()
    assert (np.abs(found.trials).max() > 0) == (runs > 0)


def test_inverses_are_those_of_lapack():
    random = np.random.default_rng(1)
    parts = random.normal(size=(7, 12, 12))
    matrices = parts @ parts.transpose(0, 2, 1) + np.eye(12)
    np.testing.assert_allclose(
        sums.inverse(matrices), np.linalg.inv(matrices), atol=1e-9
    )


def test_normal_quantiles_are_all_there():
    from archtrial.statistics.stratified import _normal

    expected = special.ndtri((np.arange(100) + 0.5) / 100)
    for row in _normal(100):
        np.testing.assert_allclose(np.sort(row), expected)


# --- catching up -----------------------------------------------------------------


@pytest.mark.parametrize("n", [16, 64])
def test_even_draws_tell_of_efforts_up_to_two_thirds_of_their_number(n):
    low = made(1, n, peak=0.5)
    high = made(2, n, name="b")

    def catch_up(*arms):
        (found,) = compare(
            arms[0], [arms[1]], effort=4, margin=0.01, metric="accuracy", seed=1,
            max_multiple=(2 * n // 3) / 4, permutations=99,
        )  # fmt: skip
        return found.tuning_to_match, found.catch_up

    found, settled = catch_up(low, high)
    assert found["reportable_up_to"] == pytest.approx((2 * n // 3) / 4)
    assert (found["trials"]["estimate"], settled) == (None, "no")
    assert found["trials"]["low"] == 2 * n // 3 + 1
    assert found["would_settle"] is None
    plain = [dataclasses.replace(arm, positions={}) for arm in (low, high)]
    found, settled = catch_up(*plain)
    assert (found["reportable_up_to"], settled) == (n / 16, "unknown")
    assert found["would_settle"] == 4 * (2 * n // 3)


@pytest.mark.parametrize(
    ("effort", "modelled", "trials"),
    [(4, True, 8), (10, True, 16), (11, True, 32), (39, True, 64), (39, False, 156),
     (171, True, 512), (682, True, 1024), (683, True, 2732)],
)  # fmt: skip
def test_so_many_trials_tell_of_an_effort(effort, modelled, trials):
    assert trials_to_reach(effort, modelled=modelled) == trials
    if trials <= MOST:
        assert furthest(trials, modelled=modelled) >= effort


def test_beyond_a_quarter_of_the_trials_the_larger_error_bar_counts():
    told = aligned([made(1), made(2, name="b", optimum=(0.5, 0.6))], {})
    efforts = np.array([1, 4, 5, 10])
    counts = np.ones((2, 16), dtype=np.uint8)
    a, b = (expectation(x.reading("configuration"), efforts, counts) for x in told)
    plain = [dataclasses.replace(each, model=None) for each in (a, b)]
    unmodelled = gain(*plain, alpha=0.05, paired=True).standard_error
    found = gain(a, b, alpha=0.05, paired=True).standard_error
    models = a.model.trials - b.model.trials
    modelled = np.sqrt(
        np.sum(models**2, axis=0) + (a.model.design - b.model.design) ** 2
    )
    smaller, larger = np.sort([unmodelled, modelled], axis=0)
    np.testing.assert_allclose(found, [*smaller[:2], *larger[2:]])
    assert not np.allclose(smaller, larger)


# --- other arms, other parts ---------------------------------------------------------


def test_no_finding_depends_on_which_other_challengers_there_are():
    a, b = made(1), made(2, name="b", optimum=(0.5, 0.6))
    other = made(3, dimensions=3, name="c")
    terms = {"effort": 4, "margin": 0.01, "metric": "accuracy", "seed": 1}
    both, _ = compare(a, [b, other], alpha=0.1, **terms)
    (alone,) = compare(a, [b], alpha=0.05, **terms)
    assert (both.effect, both.p_value) == (alone.effect, alone.p_value)


def test_an_even_design_pairs_its_halves_by_quantile_and_has_no_median():
    a, b = made(1), made(2, name="b", peak=0.9)
    nearly = {name: np.nextafter(x, 1) for name, x in b.positions.items()}
    b = dataclasses.replace(b, positions=nearly)
    terms = {
        "effort": 4, "estimand": "configuration", "margin": 0.01, "seed": 1,
        "alpha": 0.05, "paired": True,
    }  # fmt: skip
    found = robustness(a, b, **terms)
    names = {f"h{j}, {half} half" for j in (0, 1) for half in ("lower", "upper")}
    assert {row.name for row in found.rows} == names
    plain = [dataclasses.replace(each, stratified=False) for each in (a, b)]
    found = robustness(*plain, **terms)
    assert "median instead of mean" in {row.name for row in found.rows}

"""What is said of a study before any of it is trained."""

import dataclasses
import math

import numpy as np
import pytest

from archtrial import Protocol, pilot
from archtrial.errors import ProtocolError


def declared(**changes):
    return Protocol(
        **{
            "data": "digits",
            "baseline": "linear",
            "challengers": ["mlp"],
            "steps": 60,
            "configurations": 16,
            "confirm_seeds": 2,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def forecast():
    return pilot.plan(declared(), price=2.0, effect=0.5)


def test_larger_studies_cost_more_and_see_more(forecast):
    assert [size.configurations for size in forecast.sizes] == [16, 32, 64, 128]
    assert forecast.declared == forecast.sizes[0]
    for smaller, larger in zip(forecast.sizes, forecast.sizes[1:], strict=False):
        assert smaller.runs < larger.runs
        assert smaller.flops < larger.flops
        assert smaller.seconds < larger.seconds
        least, less = (s.minimum_detectable_effect["mlp"] for s in (larger, smaller))
        assert 0 < least < less


def test_money_is_time_at_a_price(forecast):
    for size in forecast.sizes:
        assert size.price == pytest.approx(2.0 * size.seconds / 3600)
    assert pilot.plan(declared()).declared.price is None


def test_the_n_for_a_wanted_effect_sees_it(forecast):
    n = forecast.configurations_for_effect
    assert n is not None
    assert n % 8 == 0
    seen = {
        s.configurations: s.minimum_detectable_effect["mlp"] for s in forecast.sizes
    }
    if n in seen:
        assert seen[n] <= 0.5
    assert f"n = {n}" in str(forecast)
    # The test set alone hides a tenth of a point.
    hopeless = pilot.plan(declared(), effect=0.001)
    assert hopeless.configurations_for_effect is None
    assert "more test examples" in str(hopeless)


def test_the_pilot_says_what_it_saw(forecast):
    for name, seen in forecast.arms.items():
        assert 0 < seen.spread < 1
        assert 0 <= seen.seed_spread < seen.spread
        assert seen.diverged == 0
        assert seen.run_flops > 0
        assert f"{name}: " in str(forecast)


def test_everything_that_is_trained_is_counted():
    plain = pilot._trainings(declared())
    assert plain.rungs == {}
    assert plain.probes == 0
    # n, at most twice k's top of both arms on 2 seeds, ten of the winner, defaults.
    assert plain.runs > 16 + 10 + 2

    climbing = pilot._trainings(declared(ladder=(1, 2, 4)))
    assert climbing.at_1x == plain.at_1x
    assert set(climbing.rungs) == {2, 4}
    assert climbing.rungs[2] >= 16
    extra = climbing.equivalents(False) - plain.equivalents(False)
    assert extra == 2 * climbing.rungs[2] + 4 * climbing.rungs[4]

    probing = pilot._trainings(declared(probes=5))
    assert probing.probes == 2 * (5 + 2)
    assert probing.equivalents(True) == plain.equivalents(True) + 14
    assert probing.equivalents(False) == plain.equivalents(False)

    looking = pilot._trainings(declared(configurations=32, looks=(16, 32)))
    once = pilot._trainings(declared(configurations=32))
    assert looking.runs > once.runs


def test_what_cannot_be_planned_is_said():
    for wrong in ({"price": 0.0}, {"effect": -0.1}, {"effect": math.inf}):
        with pytest.raises(ProtocolError, match="more than 0"):
            pilot.plan(declared(), **wrong)


def test_a_budget_pays_for_longer_rungs_and_probes(tmp_path, monkeypatch):
    # A run of each arm takes a second.
    seconds = {"linear": 1.0, "mlp": 1.0}
    monkeypatch.setattr(pilot, "_pilot", lambda *_: (seconds, {}, {}))

    def fitted(budget, **changes):
        folder = tmp_path / "study"
        return pilot.fit(declared(**changes), budget, folder)[0]

    # Every n is as good as the next where draws are independent.
    plain = fitted(600.0, sampling="random")
    for changes in ({"ladder": (1, 2)}, {"probes": 20}):
        chosen = fitted(600.0, sampling="random", **changes)
        assert 16 <= chosen.configurations < plain.configurations
        # What is chosen fits, and a larger one would not.
        for n, fits in ((chosen.configurations, True), (plain.configurations, False)):
            trained = pilot._trainings(chosen.replace(configurations=n))
            spent = trained.equivalents(True) + trained.equivalents(False)
            assert (spent <= 600) == fits
    with pytest.raises(ProtocolError, match="smallest sound study"):
        fitted(200.0, ladder=(1, 2, 4))
    with pytest.raises(ProtocolError, match="Leave one of the two out"):
        fitted(600.0, configurations=32, looks=(16, 32))


@pytest.mark.parametrize(
    ("changes", "balanced"), [({}, True), ({"effort": 6}, True), ({"effort": 5}, False)]
)
def test_a_budget_buys_the_largest_balanced_study(
    tmp_path, monkeypatch, changes, balanced
):
    monkeypatch.setattr(pilot, "_pilot", lambda *_: ({"linear": 1, "mlp": 1}, {}, {}))

    def cost(n, chosen):
        return 2 * pilot._trainings(chosen.replace(configurations=n)).runs

    sizes = {}
    for sampling in ("sobol", "random"):
        whole = declared(
            sampling=sampling, confirm_seeds=3, **{"configurations": 32, **changes}
        )
        budget = cost(24 if not balanced else 45, whole)
        chosen = pilot.fit(whole, budget, tmp_path / sampling)[0]
        sizes[sampling] = chosen.configurations
    # Of effort 5 the least study has 20, and 32 are too many: 24 it is.
    assert sizes["random"] >= (45 if balanced else 24)
    assert sizes["sobol"] == (32 if balanced else sizes["random"])


def test_judging_many_test_examples_is_counted(forecast, monkeypatch):
    assert forecast.judging_seconds == 0
    assert "to judge" not in str(forecast)
    monkeypatch.setattr(pilot, "MANY_EXAMPLES", 100)
    seen = pilot._judging(pilot.trial.Zoo.of(declared()))
    assert 0 < 2 * seen(50) < seen(200)
    told = dataclasses.replace(forecast, judging_seconds=90.0)
    assert "to open the test set and to judge" in str(told)
    assert told.to_dict()["judging_seconds"] == 90


# --- how many fresh seeds ----------------------------------------------------------


def alike(**changes):
    """A study of two arms for which nothing but the number of seeds was left open."""
    return Protocol(
        **{
            "data": "mnist1d",
            "baseline": "linear",
            "challengers": ["mlp"],
            "steps": 60,
            "configurations": 16,
            "sampling": "sobol",
            **changes,
        }
    )


def known_pilot(monkeypatch, apart, seeds):
    """Stands in for trainings: what the arms differ by, and one seed's deviation."""
    luck = np.random.default_rng(0).normal(size=(2, pilot.CONFIGURATIONS))
    shared = np.linspace(0.3, 0.8, pilot.CONFIGURATIONS)
    bent = apart * np.tile([-1.0, 1.0], pilot.CONFIGURATIONS // 2)
    scores = {
        "linear": shared + seeds * luck[0],
        "mlp": shared + bent + seeds * luck[1],
    }
    seconds, flops = ({"linear": 1.0, "mlp": 1.0} for _ in range(2))
    monkeypatch.setattr(pilot, "_pilot", lambda *_: (seconds, flops, scores))
    monkeypatch.setattr(
        pilot,
        "_seeds",
        lambda *_: (dict.fromkeys(scores, seeds), dict.fromkeys(scores, 0)),
    )
    # So that test examples decide nothing.
    monkeypatch.setattr(pilot, "DISAGREEMENT", 0.0)


def test_more_seeds_are_proposed_where_seeds_make_the_spread(monkeypatch):
    known_pilot(monkeypatch, apart=0.0, seeds=0.02)
    found = pilot.plan(alike())
    proposed = found.allocation
    assert proposed.declared_seeds == 3
    assert 4 <= proposed.confirm_seeds <= 8
    assert proposed.seeds_share > 0.7
    assert f"--confirm-seeds {proposed.confirm_seeds}" in str(found)
    # What it says is what declaring it plans.
    typed = pilot.plan(alike(confirm_seeds=proposed.confirm_seeds))
    (before,), (after,) = (
        each.declared.minimum_detectable_effect.values() for each in (found, typed)
    )
    assert proposed.declared_effect == before
    assert proposed.minimum_detectable_effect == after < before
    assert proposed.more_runs == pytest.approx(
        typed.declared.runs / found.declared.runs - 1
    )
    # What was declared is kept without a word.
    assert typed.allocation is None
    assert "confirm_seeds" not in str(typed)
    assert found.to_dict()["allocation"]["confirm_seeds"] == proposed.confirm_seeds
    assert typed.to_dict()["allocation"] is None


def test_no_more_seeds_are_proposed_where_configurations_make_the_spread(monkeypatch):
    known_pilot(monkeypatch, apart=0.3, seeds=0.005)
    found = pilot.plan(alike())
    assert found.allocation.confirm_seeds == found.allocation.declared_seeds == 3
    assert found.allocation.more_runs == 0
    assert found.allocation.seeds_share < 0.2
    assert "would cost more in runs than they take off" in str(found)


def test_independent_draws_are_planned_as_ever(monkeypatch):
    known_pilot(monkeypatch, apart=0.1, seeds=0.02)
    found = pilot.plan(alike(sampling="random"), effect=0.2)
    assert found.allocation is None
    assert found.configurations_for_effect % 8 == 0
    even = pilot.plan(alike(), effect=0.2)
    assert even.configurations_for_effect in (16, 32, 64, 128)
    for new, old in zip(even.sizes, found.sizes, strict=True):
        assert (
            new.minimum_detectable_effect["mlp"] < old.minimum_detectable_effect["mlp"]
        )


def test_what_the_arms_have_in_common_is_no_spread_of_their_gain(monkeypatch):
    known_pilot(monkeypatch, apart=0.0, seeds=0.001)
    close = pilot.plan(alike()).declared.minimum_detectable_effect["mlp"]
    known_pilot(monkeypatch, apart=0.1, seeds=0.001)
    apart = pilot.plan(alike()).declared.minimum_detectable_effect["mlp"]
    assert close < apart / 5


def test_a_small_part_of_the_variance_is_not_written_as_none():
    kept = pilot.Allocation(3, 3, 0.004, 0.0, 0.01, 0.01)
    assert "seeds make under 1% of the variance" in str(kept)
    more = pilot.Allocation(3, 4, 0.997, 0.003, 0.01, 0.009)
    assert "for under 1% more runs, since seeds make over 99% of" in str(more)


def test_a_budget_goes_where_the_spread_is(tmp_path, monkeypatch):
    def chosen(apart, seeds, budget, **changes):
        known_pilot(monkeypatch, apart=apart, seeds=seeds)
        name = f"{apart}, {seeds}, {budget}, {len(changes)}"
        found = pilot.fit(alike(**changes), budget, tmp_path / name)[0]
        trained = pilot._trainings(found)
        assert trained.equivalents(True) + trained.equivalents(False) <= budget
        return found.configurations, found.confirm_seeds

    def cost(n, r):
        trained = pilot._trainings(alike(configurations=n, confirm_seeds=r))
        return trained.equivalents(True) + trained.equivalents(False)

    # Enough for 32 of three seeds, or for 16 of many.
    budget = cost(32, 3)
    assert chosen(0.3, 0.001, budget) == (32, 3)
    assert chosen(0.0, 0.02, budget) == (32, 3)
    # One run less does not pay for 32: what is left goes into seeds.
    less = chosen(0.0, 0.02, budget - 1)
    assert less[0] == 16
    assert cost(*less) <= budget - 1 < cost(16, less[1] + 1)
    # What was declared is kept.
    assert chosen(0.0, 0.02, budget - 1, confirm_seeds=3) == (16, 3)
    # Where configurations make the spread, no seeds make up for them.
    assert chosen(0.3, 0.001, cost(64, 3)) == (64, 3)


@pytest.mark.parametrize("changes", [{"top": 14}, {"top": 14, "effort": 5}])
def test_a_budget_pays_for_all_that_a_declared_top_takes(
    tmp_path, monkeypatch, changes
):
    known_pilot(monkeypatch, apart=0.0, seeds=0.02)
    study = alike(configurations=32, **changes)
    smallest = study.replace(configurations=4 * study.effort)
    trained = pilot._trainings(smallest)
    budget = 1.2 * (trained.equivalents(True) + trained.equivalents(False))
    found, _ = pilot.fit(study, budget, tmp_path / "s")
    trained = pilot._trainings(found)
    assert trained.equivalents(True) + trained.equivalents(False) <= budget
    assert found.configurations >= 4 * study.effort


def test_a_study_goes_on_with_the_seeds_that_its_budget_chose(tmp_path, monkeypatch):
    known_pilot(monkeypatch, apart=0.0, seeds=0.02)
    begun = {"configurations": 32, "confirm_seeds": 7}
    monkeypatch.setattr(pilot, "frozen", lambda folder: ("hash", begun, None))
    found, _ = pilot.fit(alike(), 100.0, tmp_path)
    assert (found.configurations, found.confirm_seeds) == (32, 7)
    declared, _ = pilot.fit(alike(confirm_seeds=4), 100.0, tmp_path)
    assert (declared.configurations, declared.confirm_seeds) == (32, 4)


def test_a_pilot_of_even_draws_is_paired_and_none_of_the_study(tmp_path):
    study = alike(challengers=["cnn"])
    prepared = pilot.trial.Zoo.of(study)
    drawn = pilot._draws(study, prepared)
    design = pilot.spaces.Design(prepared.spaces, study.seed, "sobol")
    shared = set(prepared.spaces["linear"]) & set(prepared.spaces["cnn"])
    assert shared
    for index in range(pilot.CONFIGURATIONS):
        one, other = (drawn(arm, index) for arm in ("linear", "cnn"))
        for name in shared:
            if prepared.spaces["linear"][name] == prepared.spaces["cnn"][name]:
                assert one[name] == other[name]
        assert one != design.configuration("linear", index)

"""The simulations themselves: do they draw what they say, and know their truth?"""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archtrial import calibration, statistics
from archtrial.calibration import (
    Landscape,
    Setting,
    Tally,
    calibrate,
    choices,
    chunk,
    design,
    landscape,
    published_error,
    simulate,
    truth,
)
from archtrial.calibration import simulation as module
from archtrial.errors import ProtocolError, RecordsError
from archtrial.randomness import generator

ROOT = Path(__file__).parents[1]
QUICK = {"permutations": 99, "resamples": 400}
DIFFERENT = Setting(
    "different",
    Landscape(optimum=(0.4,), fall=(1.0,), diverging=0.2),
    Landscape(failing=0.2, plateau=0.1, unevenness=3.0),
    effect=0.02,
    paired=False,
    validation_size=200,
    **QUICK,
)


def searches(setting, count=20):
    return list(module._studies(setting, truth(setting), generator(0, "test"), count))


# --- the truth -----------------------------------------------------------------


def ends(setting, arm, effort, times):
    """The search as one would do it: draw k, pick the best by validation."""
    rng = np.random.default_rng(0)
    shape = (times, effort)
    quality, diverged = arm.quality(rng.random((*shape, len(arm.optimum))))
    run = arm.runs(quality, rng.normal(size=shape), rng.random(shape))
    validation = run + setting.validation_noise * rng.normal(size=shape)
    if setting.validation_size:
        validation = np.round(validation * setting.validation_size)
        validation = validation / setting.validation_size
    for scores in (run, validation):
        scores[diverged] = arm.floor
    # Ties are settled at random.
    tiebreak = rng.random(shape)
    picked = np.lexsort((tiebreak, validation), axis=1)[:, -1]
    at = np.arange(times), picked
    again = arm.runs(quality[at], rng.normal(size=times), rng.random(times))
    fresh = np.where(diverged[at], arm.floor, again)
    return {"configuration": fresh, "run": run[at], "validation": validation[at]}


@pytest.mark.parametrize("reading", ["configuration", "run"])
@pytest.mark.parametrize("setting", [Setting("plain"), DIFFERENT])
def test_the_truth_is_what_searches_end_with(setting, reading):
    known = truth(setting)
    challenger = dataclasses.replace(setting.challenger, peak=known.peak)
    times = 200_000
    a, b = (
        ends(setting, arm, setting.effort, times)[reading]
        for arm in (setting.baseline, challenger)
    )
    error = math.sqrt((np.var(a) + np.var(b)) / times)
    assert known.gain[reading] == pytest.approx(b.mean() - a.mean(), abs=4 * error)
    assert known.error < 1e-4


def test_the_declared_reading_has_the_wanted_gain():
    for reading in ("configuration", "run"):
        known = truth(dataclasses.replace(DIFFERENT, estimand=reading))
        assert known.gain[reading] == pytest.approx(0.02, abs=1e-5)


def test_the_true_tuning_curve_and_the_trials_that_match():
    setting = dataclasses.replace(DIFFERENT, configurations=32, effect=0.007)
    known = truth(setting)
    curve = [
        ends(setting, setting.baseline, k, 100_000)["configuration"].mean()
        for k in range(1, 10)
    ]
    challenger = dataclasses.replace(setting.challenger, peak=known.peak)
    target = ends(setting, challenger, 4, 100_000)["configuration"].mean()
    near = [k for k, score in enumerate(curve, 1) if score >= target - 0.005]
    assert known.match["configuration"] == near[0] == 5
    best = ends(setting, setting.baseline, 3, 100_000)["validation"]
    assert known.curves[0][2] == pytest.approx(best.mean(), abs=0.002)
    far = truth(dataclasses.replace(setting, effect=0.2))
    assert far.match["configuration"] == math.inf


def test_an_effect_out_of_reach_is_refused():
    # The challenger's draws diverge more often than not: it cannot be that much better.
    hopeless = Setting("hopeless", challenger=Landscape(failing=0.99), effect=0.5)
    with pytest.raises(ProtocolError, match="some peak of the challenger"):
        truth(dataclasses.replace(hopeless, challenger=Landscape(diverging=1.0)))


def test_a_landscape_has_the_spread_it_was_asked_for():
    found = landscape(0.07, optimum=(0.3, 0.9), floor=-9.0)
    quality, diverged = found.quality(np.random.default_rng(0).random((400_000, 2)))
    assert quality.std() == pytest.approx(0.07, rel=0.01)
    assert not diverged.any()


# --- studies -------------------------------------------------------------------


def test_studies_are_what_a_study_leaves_behind():
    setting = Setting("plain", challenger=Landscape(diverging=0.3))
    for a, b, published in searches(setting):
        assert published is None
        fully, once = statistics.confirm_indices([a.validation, b.validation], 4)
        for arm in (a, b):
            assert np.flatnonzero(~np.isnan(arm.test)).tolist() == sorted(
                [*fully, *once]
            )
            assert arm.readings(4) == ("configuration", "run")
            assert (arm.validation[arm.diverged] == arm.worst).all()
            assert (arm.test_run[arm.diverged] == arm.worst).all()
        assert not a.diverged.any()
    diverged = np.concatenate([b.diverged for _, b, _ in searches(setting, 100)])
    assert diverged.mean() == pytest.approx(0.3, abs=0.04)


def test_paired_studies_share_their_draws_and_others_do_not():
    def together(setting):
        scores = [(a.validation, b.validation) for a, b, _ in searches(setting, 40)]
        return np.corrcoef(*np.concatenate(scores, axis=1))[0, 1]

    assert together(Setting("pairs")) > 0.9
    assert abs(together(Setting("none", paired=False))) < 0.15


def test_fresh_seeds_have_luck_of_their_own():
    setting = Setting("seeds", confirm_seeds=3, validation_noise=0.0)
    found = searches(setting, 100)
    # A configuration with all three seeds has a third of the variance of one seed.
    luck = np.concatenate([a.test - a.test_run for a, _, _ in found])
    fully = [
        statistics.confirm_indices([a.validation, b.validation], 4)[0]
        for a, b, _ in found
    ]
    # Far from the top the search run was not selected for its luck.
    low = np.concatenate(
        [
            (a.test - a.test_run)[sorted(set(np.flatnonzero(~np.isnan(a.test))) - {*f})]
            for (a, _, _), f in zip(found, fully, strict=True)
        ]
    )
    assert np.nanstd(low) == pytest.approx(0.01 * math.sqrt(2), rel=0.15)
    assert np.isnan(luck).any()


def test_test_examples_are_shared_and_right_as_often_as_the_score_says():
    setting = Setting("examples", test_size=4000)
    scores = [np.full((2, 2), 0.8), np.full((2, 2), 0.6)]
    a, b = module._examples(setting, scores, np.random.default_rng(0))
    assert a.shape == (2, 2, 4000)
    assert a.mean() == pytest.approx(0.8, abs=0.02)
    assert b.mean() == pytest.approx(0.6, abs=0.02)
    # Whatever the worse arm gets right, the better one mostly does, too.
    assert a[0, 0][b[0, 0] == 1].mean() > 0.97
    own, other = np.mean(a[0, 0] != a[0, 1]), np.mean(a[0, 0] != (b[0, 0]))
    assert 0.05 < own < 0.09 < other
    one, _, _ = searches(dataclasses.replace(setting, test_size=50), 1)[0]
    known = ~np.isnan(one.test)
    np.testing.assert_allclose(
        one.examples[known].mean(axis=1), one.test[known], atol=1e-6
    )
    np.testing.assert_allclose(one.examples_run.mean(axis=1), one.test_run, atol=1e-6)


def test_published_numbers_are_untuned_or_the_best_of_twenty():
    untuned = [p for *_, p in searches(Setting("p", published="untuned baseline"), 80)]
    low, high = (
        np.mean([p[arm] for p in untuned]) for arm in ("baseline", "challenger")
    )
    assert low == pytest.approx(0.76, abs=0.005)
    # Three points apart without any true gain.
    assert high - low == pytest.approx(0.03, abs=0.005)
    tuned = [p for *_, p in searches(Setting("p", published="tuned baseline"), 80)]
    assert np.mean([p["baseline"] for p in tuned]) == pytest.approx(high, abs=0.005)


# --- the count -----------------------------------------------------------------


def test_chunks_do_not_depend_on_each_other_or_on_their_length():
    setting = dataclasses.replace(DIFFERENT, test_size=30)
    known = truth(setting)
    short = chunk(setting, known, 0, 3, 4)
    assert chunk(setting, known, 0, 3, 4).counts == short.counts
    longer = chunk(setting, known, 0, 3, 6)
    assert longer.studies == 6
    assert all(longer.counts[k] >= v for k, v in short.counts.items() if "sum" not in k)
    # The estimates themselves tell whether the draws are others.
    for other in (chunk(setting, known, 0, 4, 4), chunk(setting, known, 1, 3, 4)):
        assert other.mean("estimate") != short.mean("estimate")


def test_the_tally_is_that_of_the_comparisons():
    setting = Setting("plain", effect=0.1, **QUICK)
    known = truth(setting)
    found = chunk(setting, known, 0, 0, 10)
    assert found.studies == 10
    verdicts = [f"verdict {v}" for v in ("architecture", "tuning", "inconclusive")]
    assert found.count(*verdicts) == 10
    assert found.count("verdict architecture") >= 8
    assert found.count("better") >= found.count("both better") >= 8
    assert found.mean("estimate") == pytest.approx(0.1, abs=0.02)
    rate = found.rate("verdict architecture")
    assert rate.low < rate.estimate <= rate.high
    assert Tally.of([found, found]).studies == 20


def counted(setting=None, gain=0.0, match=4.0, **found):
    known = module.Truth(
        0.8,
        {"configuration": gain, "run": 0.5},
        0.0,
        ((), ()),
        {"configuration": match},
    )
    given = {
        "verdict": "inconclusive",
        "effect": statistics.Estimate(0.1, 0.05, 0.2),
        "p_value": 0.01,
        "catch_up": "unknown",
        "tuning_to_match": {"trials": {"low": 3, "high": 5}},
        "minimum_detectable_effect": 0.1,
        "other_reading": None,
        **found,
    }
    return module._counted(
        setting or Setting("plain"), known, type("Comparison", (), given)()
    )


def test_what_is_counted_of_one_comparison():
    found = counted()
    assert found["alone architecture"] == 1
    assert found["better"] == 1
    assert found["worse"] == 0
    assert found["covered"] == 0
    assert found["truth below"] == 1
    assert found["match covered"] == 1
    assert counted(gain=0.1)["covered"] == 1
    for match, what in ((6.0, "match too few"), (2.0, "match too many")):
        assert counted(match=match)[what] == 1
        assert counted(match=match)["match covered"] == 0
    assert counted(p_value=0.06)["better"] == 0
    down = counted(effect=statistics.Estimate(-0.1, -0.2, -0.05))
    assert down["worse"] == 1
    assert down["alone baseline"] == 1
    other = {
        "estimand": "run",
        "effect": {"estimate": 0.4, "low": 0.3, "high": 0.6},
        "p_value": 0.01,
    }
    both = counted(other_reading=other)
    assert both["other covered"] == 1
    assert both["both better"] == 1
    assert counted(other_reading={**other, "p_value": 0.2})["both better"] == 0


def test_workers_change_nothing():
    setting = Setting("workers", **QUICK)
    alone = simulate(setting, 110, seed=1)
    assert simulate(setting, 110, seed=1, workers=2).counts == alone.counts
    assert alone.studies == 110
    # The first ones of more are the same.
    assert simulate(setting, 100, seed=1).studies == 100


# --- a user's own design -------------------------------------------------------


def test_a_design_says_what_was_assumed():
    setting, notes = design(margin=0.02, spread=[0.05, 0.2], test_size=500)
    assert (setting.configurations, setting.effort, setting.margin) == (32, 4, 0.02)
    assert setting.test_size == 500
    assert setting.paired
    assert notes[0].startswith("Assumed: configurations 32, effort 4, seed spread 0.01")
    rng = np.random.default_rng(0)
    spreads = [
        arm.quality(rng.random((100_000, 2)))[0].std()
        for arm in (setting.baseline, setting.challenger)
    ]
    assert spreads == pytest.approx([0.05, 0.2], rel=0.02)


@pytest.mark.parametrize("correlation", [1.0, 0.6, 0.0])
def test_arms_correlate_as_declared(correlation):
    setting, _ = design(correlation=correlation, spread=[0.05])
    shared = np.random.default_rng(0).random((200_000, 2))
    a, b = (arm.quality(shared)[0] for arm in (setting.baseline, setting.challenger))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(correlation, abs=0.02)


def test_a_protocol_says_how_the_study_is_done(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "linear"\nchallengers = ["mlp"]\n'
        "configurations = 20\neffort = 5\nmargin = 0.01\nalpha = 0.1\n"
        'confirm_seeds = 2\nestimand = "run"\n'
    )
    setting, notes = design(path)
    assert (setting.configurations, setting.effort, setting.margin) == (20, 5, 0.01)
    assert (setting.alpha, setting.confirm_seeds) == (0.1, 2)
    assert setting.estimand == "run"
    assert "configurations" not in notes[0]
    # What is given beside it goes before.
    assert design(path, effort=2)[0].effort == 2
    path.write_text(path.read_text().replace('["mlp"]', '["mlp", "big=mlp(width=99)"]'))
    setting, notes = design(path)
    assert setting.alpha == pytest.approx(0.05)
    assert "One of 2 challengers" in notes[0]


def test_a_study_says_how_its_scores_vary(tmp_path):
    study = shutil.copytree(ROOT / "tests" / "golden" / "0.1.0", tmp_path / "study")
    setting, notes = design(study)
    assert setting.configurations == 16
    assert "Estimated from the records of" in " ".join(notes)
    # The golden study is of a surface with a seed spread of .01.
    assert setting.baseline.seed_spread == pytest.approx(0.015, abs=0.008)
    assert setting.baseline.floor == pytest.approx(0.1, abs=0.03)
    assert design(study, seed_spread=[0.03])[0].baseline.seed_spread == 0.03


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"effort": 9}, "at most a quarter"),
        ({"margin": 0.0}, "margin is more than 0"),
        ({"spread": [-0.1]}, "spread is more than 0"),
        ({"diverging": [0.1, 1.0]}, "diverging is from 0"),
        ({"failing_seeds": [0.1, 0.2, 0.3]}, "one value for both arms"),
        ({"unpaired": True, "correlation": 0.5}, "unpaired arms share no draws"),
        ({"test_size": 1}, "test size is at least 2"),
    ],
)
def test_impossible_designs_are_the_users_mistake(given, rule):
    with pytest.raises(ProtocolError, match=rule):
        design(**given)


def test_a_folder_without_a_study_is_the_users_mistake(tmp_path):
    with pytest.raises(RecordsError):
        design(tmp_path)


@pytest.fixture(scope="module")
def calibrated():
    setting, notes = design(configurations=16, spread=[0.05])
    small = dataclasses.replace(setting, **QUICK)
    return calibrate(small, studies=30, seed=2, notes=notes)


def test_a_calibration_tells_truth_by_verdict(calibrated):
    effects = [row.effect for row in calibrated.rows]
    assert effects[:5] == pytest.approx([0, 0.0025, 0.005, 0.01, 0.015])
    # It went on until the effect was large enough to be seen.
    assert calibrated.rows[-1].power >= 0.8
    assert effects[-2] < calibrated.smallest_effect <= effects[-1]
    said = str(calibrated)
    assert "With this design a null effect is called `architecture`" in said
    assert "The smallest effect with a power of 80 % is" in said
    assert "Assumed: effort 4" in said
    document = json.loads(json.dumps(calibrated.to_dict()))
    assert document["rows"][0]["studies"] == 30
    assert 0.7 < document["rows"][0]["coverage"]["estimate"] <= 1
    assert "seconds" not in json.dumps(document)


def test_a_rare_verdict_is_not_written_as_none(calibrated):
    counts = {"studies": 10_000, "verdict architecture": 2, "covered": 9_999}
    rows = tuple(
        dataclasses.replace(row, tally=Tally(counts)) for row in calibrated.rows
    )
    said = str(dataclasses.replace(calibrated, rows=rows)).replace("\u00a0", " ")
    assert "`architecture` .02 % of the time (95 % interval .0024 % to .072 %)" in said
    assert " 0 %  " in said  # what never happened


def test_effects_of_ones_own(calibrated):
    found = calibrate(calibrated.setting, effects=[0.004], studies=5)
    assert [row.effect for row in found.rows] == [0.004]
    assert found.smallest_effect is None
    assert "null effect" not in str(found)
    assert "No effect up to 0.004 has a power of 80 %" in str(found)
    with pytest.raises(ProtocolError, match="at least one study"):
        calibrate(calibrated.setting, studies=0)


def test_the_command_prints_one_document(tmp_path):
    command = [str(Path(sys.executable).with_name("archtrial")), "calibrate", "--json"]
    command += ["--studies", "3", "--effect", "0.1", "--configurations", "16"]
    done = [
        subprocess.run([*command, "--workers", w], capture_output=True, text=True)
        for w in ("1", "2")
    ]
    assert done[0].returncode == 0, done[0].stderr
    assert done[0].stdout == done[1].stdout
    assert json.loads(done[0].stdout)["design"]["configurations"] == 16
    assert "seconds" in done[0].stderr


# --- what the evidence found ---------------------------------------------------


def test_the_published_error_is_that_of_the_nearest_size():
    found = published_error(30, 4, True)
    assert (found["configurations"], found["effort"]) == (32, 4)
    assert found["studies"] >= 1000
    assert 0 <= found["architecture"] <= found["worst"] < 0.1
    assert published_error(16, 4, False)["paired"] is False
    assert published_error(1000, 4, True) is None
    assert published_error(32, 1, True) is None


# --- the evidence's own files --------------------------------------------------


@pytest.fixture
def journals(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "evidence"))
    import journal

    monkeypatch.setattr(journal, "RESULTS", tmp_path)
    return journal


def filled(journals, studies, count=None):
    journal = journals.Journal("results")
    journal.fill("cell", "d", studies, count or counts_of, {"gain": 0.0})
    return journal


def counts_of(number):
    return Tally({"studies": 100, "hits": number})


def test_a_journal_goes_on_where_it_stopped(journals):
    def killed(number):
        if number == 2:
            raise KeyboardInterrupt
        return counts_of(number)

    with pytest.raises(KeyboardInterrupt):
        filled(journals, 500, killed)
    journal = journals.Journal("results")
    assert journal.found("cell", "d").chunks == {0, 1}
    # A kill in the middle of a line.
    with open(journal.path, "a") as file:
        file.write('{"cell": "cell", "chu')
    asked = []
    filled(journals, 500, lambda number: asked.append(number) or counts_of(number))
    assert asked == [2, 3, 4]
    found = journal.found("cell", "d")
    assert (found.tally.studies, found.tally.count("hits")) == (500, 10)
    journal.compact()
    # The first chunk stays alone, for later code to be held against it.
    assert len(journal.path.read_text().splitlines()) == 2
    assert journal.first("cell", "d").counts == {"studies": 100}
    assert journal.found("cell", "d").tally.counts == found.tally.counts
    assert journal.found("cell", "another definition") is None


def test_the_page_is_written_from_what_there_is(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "evidence"))
    if not any((ROOT / "evidence" / "results").glob("null.jsonl")):
        pytest.skip("the evidence has no results here")
    code = "import calibration; print(calibration.document())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT / "evidence",
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert "## Not to be trusted when" in done.stdout
    assert "The worst setting" in done.stdout


def test_the_room_says_what_it_offers():
    assert set(calibration.__all__) <= set(dir(calibration))


def test_choices_are_counted_and_depend_on_their_numbers_alone():
    setting = next(s for s in choices.SETTINGS if s.name == "two leaders")
    both = choices.choices(setting, 0, 0, 2)
    parts = [choices.choices(setting, 0, i, 1) for i in (0, 1)]
    assert Tally.of(parts).counts == both.counts
    assert both.studies == 2
    assert both.count("shown") + both.count("open") == 2
    assert 1 <= both.mean("finalists") <= 6


def test_what_a_search_is_worth_grows_with_its_trials_up_to_the_peak():
    setting = choices.SETTINGS[0]
    four, many = (choices.worth(setting, effort) for effort in (4, 32))
    assert (four < many).all()
    assert all(many < [arm.peak for arm in setting.arms])

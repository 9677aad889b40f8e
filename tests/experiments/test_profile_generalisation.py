"""How architectures generalise: what is varied, and a small study against its parts."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from archtrial.errors import ProtocolError
from archtrial.experiments import profile
from archtrial.experiments.profile import variations
from archtrial.experiments.profile.generalisation import Generalisation
from archtrial.experiments.profile.groups import Profiled
from archtrial.judge import experiment
from archtrial.records.store import Store
from archtrial.statistics.power_law import power_law
from archtrial.trainers import Item
from archtrial.training import run
from archtrial.training.source import Source


def saved(folder, rows=260, name="data.npz"):
    """Class 1 has a bump somewhere, class 0 has it torn apart."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    x = rng.normal(scale=0.3, size=(rows, 1, 12)).astype(np.float32)
    for i, at in enumerate(rng.integers(0, 8, rows)):
        x[i, 0, [at, at + 1, at + 2]] += [2, 2, 2] if y[i] else [2, -2, 2]
    np.savez(folder / name, x=x, y=y)
    return str(folder / name)


def declared(data, **changes):
    given = {
        "data": data, "architectures": ("linear", "cnn=cnn(width=4, depth=1)"), "steps": 12,
        "only": ("generalisation",), "learning_rates": (0.03,), "evaluations": 3,
    }  # fmt: skip
    return profile.Protocol(**{**given, **changes})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generalisation")
    begun = profile.Study(declared(saved(folder)), folder / "study")
    begun.run()
    return begun


@pytest.fixture(scope="module")
def found(study):
    document = json.loads(study.verdict.to_json())["groups"]["generalisation"]
    return {e["name"]: e for e in document["architectures"]}


def recorded(study, arm, **coordinates):
    """Returns runs by seed: of a variation, or the shared ones on fresh seeds."""
    with Store(study.folder, read_only=True) as store:
        return [
            r
            for r in store.runs()
            if (r.arm, r.stage) == (arm, "confirm")
            and coordinates.items() <= r.coordinates.items()
            and ("group" in r.coordinates) == bool(coordinates)
        ]


# --- what is varied ------------------------------------------------------------------


def item(**further):
    given = {"learning_rate": 0.03}
    return Item(
        "linear", 0, 3, "confirm", given, further={"group": "generalisation", **further}
    )


def test_each_seed_has_parts_of_its_own_that_lie_within_each_other(study):
    trainer = study.measuring["generalisation"].trainer
    small, large = (trainer.rows(item(rows=rows)) for rows in (20, 80))
    assert np.array_equal(large[:20], small)
    other = trainer.rows(dataclasses.replace(item(rows=20), seed=4))
    assert not np.array_equal(other, small)
    assert trainer.rows(item(noise=0.2)) is None
    y = study.split.y_train
    assert abs(y[small].mean() - y.mean()) < 1.5 / 20


def test_a_run_on_a_part_is_one_that_has_no_more(study, found):
    """It is carried out again, from the subset alone."""
    trainer, rows = (
        study.measuring["generalisation"].trainer,
        found["linear"]["curve"]["sizes"][0],
    )
    (r,) = [r for r in recorded(study, "linear", rows=rows) if r.seed == 3]
    own = trainer.rows(item(rows=rows))
    problem = study.loops.problem
    part = dataclasses.replace(
        problem, x_train=problem.x_train[own], y_train=problem.y_train[own]
    )
    alone = run.train(part, study.loops.job(item(rows=rows)))
    assert r.validation == pytest.approx(alone.validation, abs=0.02)


def test_wrong_labels_are_of_the_training_set_alone(study):
    trainer, plain = study.measuring["generalisation"].trainer, study.loops.problem
    problem = trainer.problem({"noise": 0.4})
    wrong = np.count_nonzero(problem.y_train != plain.y_train)
    assert wrong == round(0.4 * len(plain.y_train))
    assert np.array_equal(problem.y_validation, plain.y_validation)
    assert np.array_equal(problem.minimised().targets().numpy(), problem.y_train)


def test_positions_are_moved_alike_in_all_sets(study):
    trainer, plain = study.measuring["generalisation"].trainer, study.loops.problem
    problem = trainer.problem({"positions": "moved"})
    places = np.arange(12, dtype=np.float32).reshape(1, 1, 12)
    order = variations.without_order(places, 1, 0).reshape(-1).astype(int)
    for name in ("x_train", "x_validation", "x_test"):
        assert np.array_equal(getattr(problem, name), getattr(plain, name)[..., order])


def test_variations_are_paired_with_the_shared_trainings(study):
    loops = study.loops
    plain = Item("linear", 0, 3, "confirm", {"learning_rate": 0.03})
    for varied in (item(rows=20), item(noise=0.2), item(positions="moved")):
        ours, theirs = loops.job(plain), loops.job(varied)
        for name in ("initial_seed", "order_seed", "noise_seed"):
            assert getattr(ours, name) == getattr(theirs, name)


# --- what is read off ----------------------------------------------------------------


def test_the_gap_is_that_of_the_trained_networks(study, found):
    problem = study.loops.problem
    for name in study.names:
        gaps = []
        for r in recorded(study, name):
            own = Item(name, r.pair, r.seed, "confirm", r.configuration)
            outputs = study.network(own, trained=True)(Source(problem).x_train)
            presented = problem.minimised().presented(outputs.detach())
            train = np.mean(presented.argmax(1) == problem.y_train)
            gaps.append(train - r.validation)
        told = found[name]["gap"]
        assert told["estimate"] == pytest.approx(np.mean(gaps))
        half = stats.t.ppf(0.975, 5) * np.std(gaps, ddof=1) / np.sqrt(6)
        assert told["high"] - told["estimate"] == pytest.approx(half)


def test_curves_are_fitted_to_the_errors_of_all_sizes(study, found):
    rows = len(study.split.y_train)
    sizes = [rows >> times for times in (3, 2, 1, 0)]
    for name in study.names:
        told = found[name]["curve"]
        assert told["sizes"] == sizes
        scores = [
            [r.validation for r in recorded(study, name, rows=size)]
            for size in sizes[:-1]
        ]
        scores.append([r.validation for r in recorded(study, name)])
        assert [s["estimate"] for s in told["scores"]] == pytest.approx(
            np.mean(scores, axis=1)
        )
        law = power_law(np.array(sizes), 1 - np.array(scores), alpha=0.05)
        misfits = law.misfit is not None and law.misfit < 0.01
        assert told["law"]["reason"] == ("misfit" if misfits else law.reason)
        if told["law"]["reason"] is None:
            assert told["law"]["exponent"]["estimate"] == law.exponent.estimate
            assert told["law"]["limit_score"]["high"] == 1 - law.limit.low


def test_losses_are_paired_by_seed_and_hold_together(study, found):
    for name in study.names:
        plain = {r.seed: r.validation for r in recorded(study, name)}
        for told, coordinates in (
            (found[name]["positions"], {"positions": "moved"}),
            (found[name]["noise"][0], {"noise": 0.2}),
            (found[name]["noise"][1], {"noise": 0.4}),
        ):
            lost = [
                plain[r.seed] - r.validation
                for r in recorded(study, name, **coordinates)
            ]
            assert len(lost) == 6
            assert told["loss"]["estimate"] == pytest.approx(np.mean(lost))
            alone = stats.t.ppf(0.975, 5) * np.std(lost, ddof=1) / np.sqrt(6)
            assert told["loss"]["high"] - told["loss"]["estimate"] >= alone - 1e-12


def test_the_margin_is_of_seeds_and_not_of_architectures(study):
    document = study.verdict.to_dict()["groups"]["generalisation"]
    spreads = [
        np.std([r.validation for r in recorded(study, name)], ddof=1)
        for name in study.names
    ]
    assert document["margin"] <= max(0.005, *spreads)


def test_who_has_a_weight_for_each_position_is_told_apart(study, found):
    assert found["linear"]["positions"]["treated_alike"]
    assert not found["cnn"]["positions"]["treated_alike"]


def test_the_page_explains_who_loses_what(study):
    page = study.judgement.page()
    assert "linear has a weight for each position" in page
    assert "What is the order of positions worth to them?" in page
    for name in ("curve", "positions", "noise"):
        assert study.judgement.figure(name) is not None


# --- what cannot be asked ------------------------------------------------------------


def test_too_few_training_examples_are_refused_with_the_way_out(tmp_path):
    data = saved(tmp_path, rows=120)
    with pytest.raises(ProtocolError) as refused:
        profile.Study(declared(data), tmp_path / "study")
    assert "takes 128 training examples" in str(refused.value)
    assert "--only cost" in str(refused.value)
    # The way out works.
    profile.Study(declared(data, only=("cost",)), tmp_path / "study")


def test_of_values_in_a_table_neither_labels_nor_positions_are_varied(tmp_path):
    rng = np.random.default_rng(0)
    table = "\n".join(
        f"{a:.3f},{b:.3f},{a - 2 * b + 0.1 * c:.3f}"
        for a, b, c in rng.normal(size=(260, 3))
    )
    (tmp_path / "rows.csv").write_text("a,b,y\n" + table + "\n")
    given = declared(
        str(tmp_path / "rows.csv"), architectures=("linear",), target="y", steps=4
    )
    begun = profile.Study(given, tmp_path / "study")
    begun.run()
    document = begun.verdict.to_dict()["groups"]["generalisation"]
    assert set(document["without"]) == {"noise", "positions"}
    (entry,) = document["architectures"]
    assert entry["positions"] is None
    assert entry["noise"] == []
    page = begun.judgement.page()
    assert "no order that a network reads" in page
    assert "no classes to take for others" in page


def test_where_no_power_law_holds_none_is_followed_beyond_the_sizes(study):
    """An error that falls the faster, the more data there are already."""
    records = experiment.finished(study.folder, "profile", "", opens=False)
    rows = records.resolved["generalisation"]["sizes"]
    told = dict(zip(rows, (0.60, 0.55, 0.42, 0.10), strict=True))
    rng = np.random.default_rng(0)
    runs = [
        dataclasses.replace(
            r,
            validation=1
            - told[r.coordinates.get("rows", rows[-1])]
            + 0.004 * rng.normal(),
        )
        for r in records.runs
    ]
    broken = dataclasses.replace(records, runs=runs)
    group = Generalisation(Profiled(broken, {}))
    document = group.numbers()
    law = document["architectures"][0]["curve"]["law"]
    assert law["reason"] == "misfit"
    assert "twice" not in law
    assert "lie off any power law" in group.warnings(document)[0]
    (table,) = [t for t in group.sections(document)[0].tables if "Power" in t.title]
    assert "no power law fits" in str(table.table.rows)


def test_none_is_said_to_fall_fastest_where_a_law_of_another_does_not_hold():
    def entry(name, estimate, reason=None):
        exponent = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
        return {
            "name": name,
            "curve": {"law": {"exponent": exponent, "reason": reason}},
        }

    group = Generalisation(None)
    fast, slow = entry("fast", 1.0), entry("slow", 0.3)
    title = group._curves_title({"architectures": [fast, slow]})
    assert title == "The error of fast falls fastest with more data"
    for broken in (
        [entry("fast", 1.0, "misfit"), slow],
        [fast, entry("slow", 0.3, "misfit")],
    ):
        title = group._curves_title({"architectures": broken})
        assert title == "How errors fall with more data"

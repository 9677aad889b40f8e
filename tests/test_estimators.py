"""Estimators of scikit-learn as arms: found, searched, fitted, judged and refused."""

import dataclasses
import json
import pickle
import re
import sys

import numpy as np
import pytest

import archtrial
from archtrial import Protocol, Study, metrics, protocol, trainers
from archtrial.data.inputs import Column, Inputs
from archtrial.errors import (
    ArmError,
    ProtocolError,
    RecordsError,
    StudyError,
    UserError,
)
from archtrial.protocol import Recipe
from archtrial.space import Choice, Integer, Real
from archtrial.trainers.estimators import _columns_with_values
from archtrial.training.problem import Problem
from archtrial.trial import Zoo, prepare
from archtrial.zoo import arms, catalogue, estimators, trust
from archtrial.zoo.estimators import find, is_estimator

SMALL = {"configurations": 4, "effort": 1, "confirm_seeds": 1, "steps": 5}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """160 rows: the class follows the size and the colour, with noise."""
    rng = np.random.default_rng(0)
    colors = rng.choice(["red", "green", "blue"], 160)
    sizes = rng.random(160) * 10
    classes = np.where(
        sizes + 3 * (colors == "red") + rng.normal(size=160) > 6, "a", "b"
    )
    rows = [f"{s:.3f},{c},{k}" for s, c, k in zip(sizes, colors, classes, strict=True)]
    path = tmp_path_factory.mktemp("data") / "table.csv"
    path.write_text("\n".join(["size,color,class", *rows]))
    return path


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    declared = Protocol(
        data=str(table), target="class", baseline="mlp=mlp(width=8)",
        challengers=["hist=sklearn:HistGradientBoostingClassifier(max_iter=5)",
                     "forest=sklearn:RandomForestClassifier(n_estimators=5)"],
        **SMALL,
    )  # fmt: skip
    study = Study(declared, tmp_path_factory.mktemp("study") / "s")
    study.run()
    return study


def runs_of(study, arm):
    from archtrial.records.store import Store

    with Store(study.folder, read_only=True) as store:
        return [run for run in store.runs() if run.arm == arm]


# --------------------------------------------------------------------------- a study


def test_networks_and_estimators_are_arms_of_one_study(finished):
    assert isinstance(finished.trial.trainer, trainers.ByArm)
    for arm in ("mlp", "hist", "forest"):
        runs = runs_of(finished, arm)
        assert {run.stage for run in runs} == {"default", "search", "confirm", "winner"}
        assert all(run.error is None and not run.diverged for run in runs)
        assert all(0 <= run.test <= 1 and run.per_example is not None for run in runs)
    counted = {arm: runs_of(finished, arm)[0].flops > 0 for arm in ("mlp", "hist")}
    assert counted == {"mlp": True, "hist": False}
    assert all(run.measures["cpu_seconds"] > 0 for run in runs_of(finished, "forest"))
    assert all(run.measures == {} for run in runs_of(finished, "mlp"))
    # Each run has another configuration, or another seed.
    searched = [
        r.configuration for r in runs_of(finished, "hist") if r.stage == "search"
    ]
    assert len({json.dumps(c, sort_keys=True) for c in searched}) == 4
    assert searched[0].keys() == {
        "learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization",
    }  # fmt: skip


def test_the_page_and_the_verdict_say_that_compute_is_not_compared(finished):
    for found in finished.verdict.comparisons:
        assert found["effect_at_equal_compute"] is None
        assert found["tuning_to_match"]["unit"] == "trials"
        said = " ".join(found["warnings"])
        assert "has no unit in common" in said
        assert "same compute" not in found["sentence"]
    page = finished.report(finished.folder / "r.html").read_text()
    assert "that compute)" not in page
    assert "hist" in page


def test_arms_of_estimators_alone_are_not_compared_by_seconds(table, tmp_path):
    declared = Protocol(
        data=str(table), target="class", baseline="sklearn:LogisticRegression",
        challengers=["sklearn:KNeighborsClassifier"], **SMALL,
    )  # fmt: skip
    study = Study(declared, tmp_path / "s")
    found = study.run().comparisons[0]
    assert found["verdict"] != "not_assessable"
    assert found["effect_at_equal_compute"] is None
    assert any("has no unit in common" in warning for warning in found["warnings"])
    assert not any("does not take" in note for note in study.notes)
    assert study.resolved["deterministic"] == [
        "LogisticRegression", "KNeighborsClassifier",
    ]  # fmt: skip


def test_it_is_said_what_an_estimator_gets(finished):
    notes = "\n".join(finished.notes)
    assert "hist is fitted by scikit-learn: recipe, steps, batches" in notes
    assert "hist gets 1 columns as categories, not as inputs of 0 and 1." in notes
    assert "hist is the same for every seed." in notes
    assert "forest is the same" not in notes
    assert finished.resolved["deterministic"] == ["hist"]
    assert "not in fleets" not in notes


def test_a_plan_counts_no_operations_of_an_estimator(table):
    from archtrial import pilot

    declared = Protocol(
        data=str(table), target="class", baseline="linear",
        challengers=["nb=sklearn:GaussianNB"], **SMALL,
    )  # fmt: skip
    said = str(pilot.plan(declared))
    assert re.search(r"linear: .* and .*FLOP.? a run", said), said
    assert re.search(r"nb: [^,]*\d? ?(s|second) a run, spread", said), said


def test_workers_give_the_same_verdict(finished, tmp_path):
    again = Study(finished.protocol, tmp_path / "s")
    assert again.run(workers=2).to_json() == finished.verdict.to_json()


def test_what_was_tuned_is_fitted_again_and_not_unpickled(finished):
    assert not list(finished.folder.rglob("*.pkl"))
    with pytest.raises(RecordsError) as caught:
        archtrial.load_tuned(finished.folder, "hist")
    assert "pickle" in str(caught.value)
    assert caught.value.way_out.startswith("Fit it again: sklearn.ensemble.Hist")
    import sklearn.ensemble  # noqa: F401 - what is typed needs it

    typed = caught.value.way_out.removeprefix("Fit it again: ")
    made = eval(typed, {"sklearn": sys.modules["sklearn"]})
    assert made.get_params()["max_iter"] == 5
    assert archtrial.load_tuned(finished.folder, "mlp") is not None


def test_a_study_goes_on_from_its_folder_without_trust(finished):
    assert trust.objection("sklearn:SVC", None, finished.folder) is None
    again = Study(finished.protocol, finished.folder)
    assert again.run().to_json() == finished.verdict.to_json()


# ------------------------------------------------------------------ what it is fitted to


def problem_of(metric, x, y, task="classification", outputs=None, **recipe):
    return Problem(
        x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x, task=task,
        num_outputs=outputs or (1 if task == "regression" else int(y.max()) + 1),
        metric=metrics.get(metric), recipe=Recipe(**recipe), steps=1, batch_size=8,
    )  # fmt: skip


def fits_of(problem, spec, options=None, inputs=None, **beside):
    found = find(spec, options or {}, None)
    inputs = inputs or Inputs.of_shape(problem.x_train.shape[1:])
    return trainers.Fits(problem, {"a": found}, inputs, 0, **beside)


def run_of(fits, seed=0, **configuration):
    return fits([trainers.Item("a", 0, seed, "search", configuration)])[0]


@pytest.fixture
def blobs():
    rng = np.random.default_rng(1)
    y = np.arange(90) % 3
    x = (rng.normal(size=(90, 4)) + y[:, None]).astype(np.float32)
    return x, y


def test_columns_without_any_value_are_left_out(blobs):
    """Behind the ends of all training series; what others have there says nothing."""
    x, y = blobs
    padded = np.concatenate([x, np.full((90, 2), np.nan, np.float32)], 1)
    longer = padded.copy()
    longer[:, 4] = 1.0
    spec = "sklearn:HistGradientBoostingClassifier"
    problem = dataclasses.replace(
        problem_of("accuracy", padded, y), x_validation=longer, x_test=longer
    )
    without = run_of(fits_of(problem_of("accuracy", x, y), spec, {"max_iter": 5}))
    done = run_of(fits_of(problem, spec, {"max_iter": 5}))
    assert done.run.error is None
    assert done.run.validation == without.run.validation > 0.5
    inputs = Inputs(shape=(6,), kind="sequence", lengths=(4, 4))
    (note,) = fits_of(problem, spec, inputs=inputs)._remarks("a")
    assert "the 2 values of an example that no training row has" in note


def test_columns_that_options_tell_by_place_stay_where_they_are():
    table = np.array([[np.nan, 1.0, 2.0]])
    found = find("sklearn:HistGradientBoostingClassifier", {}, None)
    left = _columns_with_values(table, found.make({}, 0, 1))
    assert left.tolist() == [1, 2]
    told = found.make({"categorical_features": [1]}, 0, 1)
    assert _columns_with_values(table, told) == slice(None)


@pytest.mark.parametrize("metric", metrics.names("classification"))
@pytest.mark.parametrize(
    "spec", ["sklearn:LogisticRegression", "sklearn:RandomForestClassifier"]
)
def test_what_is_stored_scores_as_scikit_learn_scores(metric, spec, blobs):
    x, y = blobs
    fits = fits_of(problem_of(metric, x, y), spec)
    fits.check("a")
    done = run_of(fits, seed=3)
    assert done.run.error is None
    metric = metrics.get(metric)
    assert metric.score(done.sealed, y) == pytest.approx(done.run.validation)
    seed = fits.estimators["a"]
    assert done.run.validation > 0.6 or metric.name == "log_loss"
    assert seed.task == "classification"
    assert done.run.curve == ()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("spec", ["sklearn:SVC", "sklearn:LinearSVC"])
def test_margins_rank_where_there_are_no_probabilities(spec, classes, blobs):
    from sklearn.metrics import roc_auc_score
    from sklearn.multiclass import OneVsRestClassifier  # noqa: F401
    from sklearn.svm import SVC

    x, y = blobs
    x, y = x[y < classes], y[y < classes]
    done = run_of(fits_of(problem_of("auroc", x, y), spec))
    assert 0.5 < done.run.validation <= 1
    if classes == 2 and spec == "sklearn:SVC":
        margins = SVC().fit(x, y).decision_function(x)
        assert done.run.validation == pytest.approx(roc_auc_score(y, margins))


def test_a_class_that_training_has_not_seen_is_no_other_ones_column():
    x = np.array([[0.0], [0.1], [2.0], [2.1]], np.float32)
    y = np.array([0, 0, 2, 2])
    for metric in ("accuracy", "auroc", "log_loss"):
        problem = problem_of(metric, x, y, outputs=3)
        for spec in ("sklearn:LogisticRegression", "sklearn:LinearSVC"):
            if metric == "log_loss" and spec == "sklearn:LinearSVC":
                continue
            made = find(spec, {}, None).make({}, 0, 1).fit(x, y)
            scores = fits_of(problem, spec)._scores(made, x, False)
            assert scores.argmax(1).tolist() == [0, 0, 2, 2]
            assert (scores[:, 1] <= scores.min(1) + 1e-12).all()


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_targets_are_standardised_and_predictions_are_not(scale):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    y = (x @ [1.0, 2.0, -1.0] + 7) * scale
    problem = problem_of("r2", x, y, task="regression")
    done = run_of(fits_of(problem, "sklearn:SVR", {"C": 100.0}))
    assert done.run.validation > 0.95
    assert done.sealed.mean() == pytest.approx(y.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("sklearn:HistGradientBoostingRegressor", {"loss": "poisson"}),
        ("sklearn:RandomForestRegressor", {"criterion": "poisson", "n_estimators": 3}),
    ],
)
def test_a_loss_of_amounts_gets_amounts(spec, options):
    x = np.arange(80, dtype=np.float32)[:, None]
    y = np.exp(x[:, 0] / 20).astype(np.float64)
    problem = problem_of("mae", x, y, task="regression")
    assert run_of(fits_of(problem, spec, options)).run.error is None


def test_categories_reach_boosted_trees_as_categories(monkeypatch):
    inputs = Inputs(
        (5,), "table", (Column("c", 0, 4), Column("n", 3, None), Column("b", 4, None))
    )
    x = np.concatenate([np.eye(3)[np.arange(60) % 3], np.ones((60, 2))], 1)
    x[:, 3] = np.arange(60)
    problem = problem_of("accuracy", x.astype(np.float32), np.arange(60) % 2)
    for spec, width in (
        ("sklearn:HistGradientBoostingClassifier", 3),
        ("sklearn:KNeighborsClassifier", 5),
    ):
        fits = fits_of(problem, spec, inputs=inputs)
        estimator = fits.estimators["a"]
        places = fits._categories(estimator, {})
        assert fits._table(estimator, problem.x_train, places).shape == (60, width)
        assert places == ([2] if width == 3 else [])
        assert run_of(fits).run.error is None
    hist = "sklearn:HistGradientBoostingClassifier"
    fixed = fits_of(problem, hist, {"categorical_features": [0]}, inputs)
    assert fixed._categories(fixed.estimators["a"], {}) == []
    ids = fits_of(problem, hist, inputs=inputs)
    table = ids._table(ids.estimators["a"], problem.x_train, [2])
    assert table[:4, 2].tolist() == [1, 2, 3, 1]
    assert table[:4, 0].tolist() == [0, 1, 2, 3]


def test_seeds_make_runs_differ_and_repeat(blobs):
    x, y = blobs
    x = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    options = {"n_estimators": 3, "max_depth": 2}
    fits = fits_of(
        problem_of("log_loss", x, y), "sklearn:RandomForestClassifier", options
    )
    one, again, other = (run_of(fits, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.sealed, again.sealed)
    assert not np.array_equal(one.sealed, other.sealed)


def test_threads_are_those_declared():
    forest = find("sklearn:RandomForestClassifier", {}, None)
    assert forest.make({}, 5, 3).get_params()["n_jobs"] == 3
    assert forest.make({}, 5, 3).get_params()["random_state"] == 5
    fixed = find(
        "sklearn:RandomForestClassifier", {"n_jobs": 1, "random_state": 7}, None
    )
    assert fixed.make({}, 5, 3).get_params()["n_jobs"] == 1
    assert fixed.make({}, 5, 3).get_params()["random_state"] == 7


def test_what_an_estimator_raises_is_a_run_that_failed(blobs):
    x, y = blobs
    fits = fits_of(problem_of("accuracy", x, y), "sklearn:KNeighborsClassifier")
    done = run_of(fits, n_neighbors=1000)
    assert done.run.diverged
    assert "n_neighbors" in done.run.error
    assert done.run.validation == pytest.approx(1 / 3)


def test_class_weights_are_handed_on_or_refused(blobs):
    x, y = blobs
    y = np.where(y == 0, 0, 1)
    problem = problem_of("accuracy", x, y, class_weights="balanced")
    fits = fits_of(problem, "sklearn:LogisticRegression")
    fits.check("a")
    assert fits._with_weights("a", {}) == {"class_weight": "balanced"}
    assert any("class_weight" in note for note in fits._remarks("a"))
    with pytest.raises(ProtocolError, match="has no class_weight"):
        fits_of(problem, "sklearn:KNeighborsClassifier").check("a")
    plain = fits_of(problem_of("accuracy", x, y), "sklearn:LogisticRegression")
    assert plain._with_weights("a", {}) == {}


def test_images_are_flattened_with_a_note(tmp_path):
    declared = Protocol(
        data="digits", baseline="sklearn:GaussianNB", challengers=["linear"], **SMALL
    )
    found = prepare(declared)
    said = "GaussianNB gets the 64 values of an example (1 x 8 x 8) in one row"
    assert any(said in note for note in found.resolved["notes"])


def test_warnings_are_told_once_before_the_study(blobs, recwarn):
    x, y = blobs
    fits = fits_of(
        problem_of("accuracy", x, y), "sklearn:LogisticRegression", {"max_iter": 1}
    )
    _, notes = fits.rehearse("a", {"": {}, "C = 1": {"C": 1.0}})
    assert [n for n in notes if "ConvergenceWarning" in n][1:] == []
    assert run_of(fits).run.error is None
    assert not recwarn.list


# ------------------------------------------------------------------------------ its seed

# What is known of each row: options, and whether random_state is used at 90 rows.
SEEDS = [
    *(("HistGradientBoosting" + kind, options, uses)
      for kind in ("Classifier", "Regressor")
      for options, uses in (({}, False), ({"early_stopping": True}, True),
                            ({"max_features": 0.5}, True), ({"early_stopping": False}, False))),
    ("RandomForestClassifier", {"n_estimators": 3}, True),
    ("ExtraTreesRegressor", {"n_estimators": 3, "min_samples_leaf": 5}, True),
    *(("LogisticRegression", {"solver": solver, "max_iter": 5}, uses)
      for solver, uses in (("lbfgs", False), ("newton-cg", False),
                           ("newton-cholesky", False), ("sag", True), ("saga", True))),
    *((name, {"solver": solver}, False) for name in ("Ridge", "RidgeClassifier")
      for solver in ("auto", "svd", "cholesky", "lsqr", "sparse_cg")),
    ("Ridge", {"solver": "lbfgs", "positive": True}, False),
    ("Ridge", {"solver": "sag", "max_iter": 5}, True),
    *((name, {"alpha": 0.01, "selection": selection, "tol": 0.1}, selection == "random")
      for name in ("Lasso", "ElasticNet") for selection in ("cyclic", "random")),
    ("SVC", {}, False), ("SVC", {"probability": True}, True), ("SVR", {}, False),
    ("LinearSVC", {}, False), ("LinearSVC", {"dual": False}, False),
    ("LinearSVC", {"dual": True, "max_iter": 3}, True),
    ("LinearSVC", {"loss": "hinge", "max_iter": 3}, True),
    ("LinearSVC", {"penalty": "l1", "dual": False, "max_iter": 3}, True),
    ("LinearSVR", {"max_iter": 3}, True),
    ("LinearSVR", {"loss": "squared_epsilon_insensitive"}, False),
    ("LinearSVR", {"loss": "squared_epsilon_insensitive", "dual": True, "max_iter": 3}, True),
    *((name, {}, False) for name in ("LinearRegression", "KNeighborsClassifier",
                                     "KNeighborsRegressor", "GaussianNB", "DummyRegressor")),
    *(("DummyClassifier", {"strategy": strategy}, uses)
      for strategy, uses in (("prior", False), ("most_frequent", False),
                             ("stratified", True), ("uniform", True))),
    ("RandomForestClassifier", {"n_estimators": 3, "random_state": 7}, False),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # few iterations show where they start
@pytest.mark.parametrize(("name", "options", "uses"), SEEDS)
def test_what_is_known_of_a_seed_is_so(name, options, uses, blobs):
    x, y = blobs
    found = find(f"sklearn:{name}", options, None)
    if found.task == "regression":
        y = x @ np.array([1.0, 2.0, 0.5, -1.0]) + np.sin(9 * x[:, 0])
    assert found.uses_seed({}, 90, 4) is uses
    fits = fits_of(problem_of("accuracy", x, y, task=found.task), found.spec, options)
    finely = name != "DummyClassifier"  # whose probabilities are no guesses
    told = [
        fits._presented("a", {}, seed, np.arange(90), (x,), finely=finely)[0]
        for seed in (1, 2, 3)
    ]
    same = all(np.array_equal(told[0], other) for other in told[1:])
    assert same is not uses


def test_every_estimator_whose_seed_is_known_is_held_to_it():
    known = {name for name, row in estimators._ROWS.items() if row.is_seedless}
    assert known <= {name for name, _, _ in SEEDS}


@pytest.mark.parametrize("name", ["Classifier", "Regressor"])
def test_boosting_uses_its_seed_from_so_many_rows(name):
    found = find(f"sklearn:HistGradientBoosting{name}", {}, None)
    assert [found.uses_seed({}, n, 4) for n in (10_000, 10_001)] == [False, True]
    whole = {"early_stopping": False}
    assert not found.uses_seed(whole, 200_000, 4)
    assert found.uses_seed(whole, 200_001, 4)


def test_a_linear_machine_uses_its_seed_where_columns_outnumber_rows():
    found = find("sklearn:LinearSVC", {}, None)
    assert [found.uses_seed({}, 90, n) for n in (90, 91)] == [False, True]


def test_trees_and_what_nobody_knows_are_taken_to_be_random():
    for name in (
        "DecisionTreeClassifier",
        "GradientBoostingRegressor",
        "MLPClassifier",
    ):
        assert find(f"sklearn:{name}", {}, None).uses_seed({}, 90, 4)
    assert not find("sklearn:NearestCentroid", {}, None).uses_seed({}, 90, 4)


def test_stopping_early_on_many_rows_is_not_the_same_for_every_seed(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=20_000) > 0).astype(int)
    np.savez(tmp_path / "big.npz", x=x, y=y)
    declared = Protocol(
        data=str(tmp_path / "big.npz"), baseline="linear",
        challengers=["hist=sklearn:HistGradientBoostingClassifier(max_iter=5)"], **SMALL,
    )  # fmt: skip
    found = prepare(declared)
    assert len(found.problem.y_train) > 10_000
    assert "deterministic" not in found.resolved
    notes = "\n".join(found.resolved["notes"])
    assert "hist is the same for every seed." not in notes
    assert "hist was the same for two seeds when it was tried on few rows." in notes
    assert "--deterministic hist" in notes
    scores = {
        found.trainer((trainers.Item("hist", 0, seed, "confirm", {}),))[
            0
        ].run.validation
        for seed in (1, 2, 3)
    }
    assert len(scores) > 1


def test_what_is_hashed_does_not_hang_on_what_is_tried(table, monkeypatch):
    from archtrial.protocol import digest

    def resolved():
        return study_with(
            table, "sklearn:LogisticRegression",
            baseline="sklearn:DecisionTreeClassifier",
        ).resolved  # fmt: skip

    before = resolved()
    assert before["deterministic"] == ["LogisticRegression"]
    drawn = iter(range(10_000))
    monkeypatch.setattr(trainers.Fits, "_tried", lambda *_: np.array([next(drawn)]))
    assert digest(resolved()) == digest(before)
    monkeypatch.setattr(trainers.Fits, "_tried", lambda *_: np.zeros(1))
    assert digest(resolved()) == digest(before)


def test_a_trainer_for_each_arm_divides_and_pickles(finished):
    trainer = pickle.loads(pickle.dumps(finished.trial.trainer))
    items = [
        trainers.Item(arm, pair, 0, "search", {"dropout": 0.1} if arm == "mlp" else {})
        for arm in ("hist", "mlp")
        for pair in range(5)
    ]
    tasks = trainer.divide(items)
    assert sum(map(len, tasks)) == 10
    assert all(len(task) == 1 for task in tasks if task[0].arm == "hist")
    assert any(len(task) > 1 for task in tasks if task[0].arm == "mlp")
    shorter = dataclasses.replace(
        trainer, problem=dataclasses.replace(trainer.problem, steps=2)
    )
    assert shorter._loops.problem.steps == shorter._fits.problem.steps == 2


# ------------------------------------------------------------------- found and refused


@pytest.mark.parametrize("name", list(estimators._ROWS))
def test_every_row_can_be_searched_from_end_to_end(name, blobs):
    from archtrial.trial.rehearsing import corners

    x, y = blobs
    found = find(f"sklearn:{name}", {}, None)
    task = found.task
    y = y if task == "classification" else x @ np.array([1.0, 2.0, 0.5, -1.0])
    metric = "accuracy" if task == "classification" else "r2"
    smaller = {"n_estimators": 3, "max_iter": 20, "n_jobs": 1}
    options = {k: v for k, v in smaller.items() if k in found.accepts}
    fits = fits_of(problem_of(metric, x, y, task=task), f"sklearn:{name}", options)
    fits.check("a")
    from archtrial.space import sample

    first = sample(found.space, 0, 0)
    fits.rehearse("a", corners(found.space, first))
    assert run_of(fits, **first).run.error is None


@pytest.mark.parametrize(
    "spec",
    [
        "sklearn:SVC", "sklearn.svm:SVC",
    ],
)  # fmt: skip
def test_an_estimator_is_found_by_its_name_or_its_module(spec):
    assert is_estimator(spec)
    found = find(spec, {"gamma": "auto"}, None)
    assert (found.spec, found.module) == ("sklearn:SVC", "sklearn.svm")
    assert found.space == {"C": Real(1e-2, 1e3, log=True)}


def test_the_class_itself_is_an_arm(table):
    from sklearn.linear_model import RidgeClassifier

    declared = Protocol(
        data=str(table), target="class", baseline="linear",
        challengers=[RidgeClassifier], **SMALL,
    )  # fmt: skip
    trial = Zoo.of(declared)
    assert trial.architectures["RidgeClassifier"].spec == "sklearn:RidgeClassifier"


def test_what_is_no_estimator_is_not_taken_for_one():
    for spec in (
        *("cnn", "net.py:sklearn", "sklearn", "sklearnex:SVC", arms.find),
        *("sklearn.study/net.py:f", "sklearn.study/net:f", "sklearn:a/net.py:f"),
        *(
            "sklearn.py:Net",
            "sklearn.mine.py:Net",
            "sklearn\\net.py:f",
            "sklearn..svm:SVC",
        ),
        *(
            "sklearn:",
            "sklearn:SVC:f",
            "sklearn:SVC\n",
            "sklearn: SVC",
            "sklearn.1:SVC",
        ),
    ):
        assert not is_estimator(spec), spec


NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.flatten, self.out = nn.Flatten(), nn.LazyLinear(num_outputs)

    def forward(self, x):
        return self.out(self.flatten(x))
"""


def test_a_file_called_sklearn_is_ones_own(tmp_path, monkeypatch):
    (tmp_path / "sklearn.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    found = arms.find("sklearn.py:Net")
    assert found.source == NETWORK
    own = type("Net", (), {"__module__": "sklearn"})
    assert not is_estimator(own)
    study = tmp_path / "study"
    assert trust.objection("sklearn.py:Net", NETWORK, study) is None
    (tmp_path / "sklearn.py").write_text(NETWORK + "# other\n")
    assert "not what" in trust.objection("sklearn.py:Net", NETWORK, study)


def test_a_folder_whose_name_begins_like_scikit_learn_is_not_trusted(
    tmp_path, monkeypatch
):
    from archtrial.console.beginning import ask_for_trust
    from archtrial.protocol import Arm

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sklearn.study"
    folder.mkdir()
    (folder / "evil.py").write_text(NETWORK)
    spec = "sklearn.study/evil.py:Net"
    assert "came with" in trust.objection(spec, NETWORK, folder)
    arm = Arm(name="mlp", architecture=spec)
    with pytest.raises(StudyError) as caught:
        ask_for_trust("run", folder, {"mlp": NETWORK}, [arm], None, False)
    assert f"mlp = {spec}: the file came with the folder" in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "options", "says", "way_out"),
    [
        ("sklearn:HistGradientBostingClassifier", {}, "no estimator",
         "Did you mean sklearn:HistGradientBoostingClassifier?"),
        ("sklearn:MultinomialNBB", {}, "no estimator", "Did you mean sklearn:MultinomialNB?"),
        ("sklearn:KMeans", {}, "no estimator", "there are"),
        ("sklearn.cluster:KMeans", {}, "neither", "Take sklearn:"),
        # It is there, and it is not denied that it is.
        ("sklearn:KMeans", {}, "that predicts a target: it is neither a classifier nor"
         " a regressor: it finds clusters", "there are"),
        ("sklearn:IsolationForest", {}, "it finds outliers", "Take sklearn:"),
        ("sklearn:PCA", {}, "it transforms inputs", "there are"),
        ("sklearn:GaussianMixture", {}, "neither a classifier nor", "there are"),
        ("sklearn.preprocessing:StandardScaler", {}, "neither", "Take sklearn:"),
        ("sklearn.esemble:SVC", {}, "cannot be imported", "Write sklearn:SVC."),
        ("sklearn:", {}, "no estimator", "there are"),
        ("sklearn:SVC", {"gama": 1}, "has no option 'gama'", "Did you mean 'gamma'?"),
        ("sklearn:VotingClassifier", {}, "'estimators' has none", "trainer="),
    ],
)  # fmt: skip
def test_what_cannot_be_found_has_a_way_out(spec, options, says, way_out):
    with pytest.raises(ArmError) as caught:
        find(spec, options, None)
    assert says in str(caught.value)
    assert way_out in caught.value.way_out


def study_with(table, challenger, **changes):
    given = {
        "data": str(table), "target": "class", "baseline": "linear",
        "challengers": [challenger], **SMALL, **changes,
    }  # fmt: skip
    return Zoo.of(Protocol(**given))


@pytest.mark.parametrize(
    ("challenger", "changes", "says", "way_out"),
    [
        ("sklearn:SVR", {}, "is for regression", "Take sklearn:SVC."),
        ("sklearn:HistGradientBoostingRegressor", {}, "is for regression",
         "Take sklearn:HistGradientBoostingClassifier."),
        ("sklearn:Ridge", {}, "is for regression", "Take sklearn:RidgeClassifier."),
        ("sklearn:SVC", {"ladder": (1, 2), "configurations": 8}, "longer training", "Leave the ladder out."),
        ("sklearn:SVC", {"matched_baseline": True}, "as many parameters",
         "Leave matched_baseline out."),
        ("a=sklearn:SVC(recipe=modern)", {}, "how networks are trained", "options"),
        ("sklearn:LinearSVC", {"metric": "log_loss"}, "needs an estimator with",
         "sklearn:LogisticRegression"),
        ("sklearn:KNeighborsClassifier", {"recipe": {"class_weights": "balanced"}},
         "no class_weight", "Take class_weights"),
        ("sklearn:SVC(C=-1)", {}, "can be fitted", "other options"),
        ("sklearn:SVC(kernel=triangle)", {}, "can be fitted", "other options"),
        ("sklearn:BaggingClassifier", {}, "has none", "[[challengers]]"),
    ],
)  # fmt: skip
def test_what_means_nothing_to_an_estimator_is_refused(
    table, challenger, changes, says, way_out
):
    with pytest.raises(UserError) as caught:
        study_with(table, challenger, **changes)
    assert says in str(caught.value)
    assert way_out in caught.value.way_out


def test_what_the_refusal_says_works_when_it_is_typed(table, tmp_path):
    (tmp_path / "t.toml").write_text(
        f'data = "{table}"\ntarget = "class"\nbaseline = "linear"\neffort = 1\n'
        'configurations = 4\nsteps = 5\n[[challengers]]\nname = "BaggingClassifier"\n'
        'architecture = "sklearn:BaggingClassifier"\nspace = { n_estimators = [1, 2, 4] }\n'
    )
    trial = Zoo.of(protocol.load(tmp_path / "t.toml"))
    assert trial.spaces["BaggingClassifier"] == {"n_estimators": Choice((1, 2, 4))}
    study_with(
        table, {"architecture": "sklearn:LinearDiscriminantAnalysis", "space": {}}
    )


def test_a_shared_dimension_is_searched_where_it_is_the_same(table):
    searched = study_with(
        table,
        "hist=sklearn:HistGradientBoostingClassifier(max_iter=3)",
        space={"learning_rate": [0.1, 0.2], "max_depth": [2, 3]},
    )
    own = searched.spaces["hist"]
    assert own["max_depth"] == Choice((2, 3))
    assert own["learning_rate"] == Real(0.01, 0.5, log=True)  # of trees, no gradient's
    assert own["max_leaf_nodes"] == Integer(4, 128, log=True)
    assert "max_depth" not in searched.spaces["linear"]
    assert any(
        "hist does not take learning_rate" in note
        for note in searched.resolved["notes"]
    )


def test_without_scikit_learn_there_is_one_message(monkeypatch, table):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ArmError) as caught:
        study_with(table, "sklearn:SVC")
    assert caught.value.way_out == "Install it: pip install 'archtrial[sklearn]'"


def test_it_is_imported_when_it_is_needed_alone():
    import subprocess

    code = (
        "import sys; import archtrial.trial, archtrial.trainers, archtrial.zoo.estimators\n"
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_where_a_module_is_wanted_an_estimator_is_refused():
    with pytest.raises(ArmError, match="can be an arm of archtrial run alone"):
        arms.find("sklearn:SVC")


def test_the_catalogue_shows_its_space():
    lines = list(catalogue.page("sklearn:Ridge"))
    assert lines[0] == "sklearn:Ridge, an estimator of scikit-learn for regression"
    assert json.loads(lines[2].split(maxsplit=1)[1])["alpha"]["log"]
    assert list(catalogue.page("sklearn:BaggingClassifier"))[2].startswith(
        "space    none"
    )
    described = catalogue.described("sklearn:Ridge")["sklearn:Ridge"]
    assert described["task"] == "regression"


def test_names_that_are_looked_up_are_no_amounts(tmp_path):
    x = np.random.default_rng(0).integers(0, 9, (60, 5))
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(60) % 2)
    trial = Zoo.of(
        Protocol(data=str(tmp_path / "t.npz"), baseline="linear",
                 challengers=["sklearn:GaussianNB"], **SMALL)
    )  # fmt: skip
    assert trial.problem.x_train.dtype == np.float32


def test_none_for_a_seed_is_the_runs_own():
    """Else each fit would draw from NumPy's global generator."""
    found = estimators.find(
        "sklearn:RandomForestClassifier", {"random_state": None}, None
    )
    assert found.make({}, 7, 1).random_state == 7
    fixed = estimators.find("sklearn:RandomForestClassifier", {"random_state": 3}, None)
    assert fixed.make({}, 7, 1).random_state == 3

import pickle

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from archtrial import metrics
from archtrial.errors import DataError, ProtocolError

CLASSIFICATION = metrics.names("classification")
REGRESSION = metrics.names("regression")


def classification(seed, count=200, classes=4):
    """Probabilities and labels, with some ties and every class present."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=count)])
    logits = rng.normal(size=(len(y), classes)) + np.eye(classes)[y]
    outputs = np.round(np.exp(logits), 1) + 0.05
    return outputs / outputs.sum(axis=1, keepdims=True), y


def regression(seed, count=200):
    rng = np.random.default_rng(seed)
    y = rng.normal(100, 20, size=count)
    return y + rng.normal(3, 8, size=count), y


def example(metric, seed=0, **options):
    make = classification if metric.task == "classification" else regression
    return make(seed, **options)


def oracle(name, outputs, y):
    m = sklearn.metrics
    labels = outputs.argmax(axis=1) if outputs.ndim == 2 else None
    if name == "auroc":
        stored = outputs.astype(np.float32)
        areas = [m.roc_auc_score(y == c, stored[:, c]) for c in range(stored.shape[1])]
        return np.mean(areas if len(areas) > 2 else areas[1:])
    return {
        "accuracy": lambda: m.accuracy_score(y, labels),
        "balanced_accuracy": lambda: m.balanced_accuracy_score(y, labels),
        "macro_f1": lambda: m.f1_score(y, labels, average="macro"),
        "log_loss": lambda: m.log_loss(y, outputs),
        "r2": lambda: m.r2_score(y, outputs),
        "mae": lambda: m.mean_absolute_error(y, outputs),
        "rmse": lambda: m.root_mean_squared_error(y, outputs),
    }[name]()


@pytest.mark.parametrize("name", metrics.names())
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn(name, seed):
    metric = metrics.get(name)
    outputs, y = example(metric, seed)
    stored = metric.reduce(outputs)
    # Log loss is stored in single precision; all others agree to rounding.
    tolerance = 1e-6 if name == "log_loss" else 1e-12
    assert metric.score(stored, y) == pytest.approx(
        oracle(name, outputs, y), rel=tolerance
    )


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_scores_of_two_classes_equal_those_of_scikit_learn(name):
    metric = metrics.get(name)
    outputs, y = classification(7, classes=2)
    assert metric.score(metric.reduce(outputs), y) == pytest.approx(
        oracle(name, outputs, y), rel=1e-6
    )


def test_macro_f1_counts_a_class_that_is_predicted_but_absent():
    predicted, y = np.array([0, 2, 1, 1]), np.array([0, 0, 1, 1])
    assert metrics.get("macro_f1").score(predicted, y) == pytest.approx(
        sklearn.metrics.f1_score(y, predicted, average="macro")
    )


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(metrics.names()), st.integers(0, 2**32 - 1))
def test_shares_are_the_derivative_in_each_examples_weight(name, seed):
    # Repeating example e once moves the score of N examples by its influence over
    # N + 1, up to a second-order term: the definition of the influence function,
    # seen through many copies of the sample.
    metric = metrics.get(name)
    outputs, y = example(metric, seed, count=20)
    stored = metric.reduce(outputs)
    shares, score = metric.per_example(stored, y), metric.score(stored, y)
    assert shares.mean() == pytest.approx(score, abs=1e-9)
    copies, index = 400, seed % len(y)
    order = np.append(np.tile(np.arange(len(y)), copies), index)
    moved = metric.score(stored[order], y[order]) - score
    assert moved * len(order) == pytest.approx(
        shares[index] - score, rel=0.02, abs=0.02 * (1 + np.abs(shares).max())
    )


@pytest.mark.parametrize("name", metrics.names())
def test_the_variance_of_the_shares_is_the_scores_variance(name):
    # 1,000 test sets of 150 examples: the Monte-Carlo error of a standard
    # deviation is 2.2 %, the second-order term about 1 / 150.
    metric = metrics.get(name)
    rng = np.random.default_rng(11)
    outputs, y = example(metric, 3, count=20_000)
    stored = metric.reduce(outputs)
    scores, predicted = [], []
    for _ in range(1_000):
        rows = rng.integers(len(y), size=150)
        shares = metric.per_example(stored[rows], y[rows])
        scores.append(shares.mean())
        predicted.append(shares.var(ddof=1) / 150)
    assert np.sqrt(np.mean(predicted)) == pytest.approx(np.std(scores), rel=0.08)


def test_auroc_has_delongs_variance():
    outputs, y = classification(5, classes=2)
    values = outputs[:, 1].astype(np.float32)
    metric = metrics.get("auroc")
    shares = metric.per_example(metric.reduce(outputs), y)
    above = (values[y == 1][:, None] > values[y == 0]) + 0.5 * (
        values[y == 1][:, None] == values[y == 0]
    )
    # DeLong et al. 1988 by brute force over all pairs, with 1/n variances.
    expected = (
        above.mean(1).var() / (y == 1).sum() + above.mean(0).var() / (y == 0).sum()
    )
    assert shares.var() / len(y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("accuracy", np.uint16, (204,)),
        ("balanced_accuracy", np.uint16, (204,)),
        ("macro_f1", np.uint16, (204,)),
        ("auroc", np.float32, (204, 4)),
        ("log_loss", np.float32, (204, 4)),
        ("r2", np.float64, (200,)),
        ("mae", np.float64, (200,)),
        ("rmse", np.float64, (200,)),
    ],
)
def test_only_what_the_metric_needs_is_stored(name, dtype, shape):
    metric = metrics.get(name)
    outputs, y = example(metric)
    stored = metric.reduce(outputs)
    assert stored.dtype == dtype
    assert stored.shape == shape
    constant = metric.constant(y, len(y), 4 if metric.task == "classification" else 1)
    assert constant.dtype == dtype
    assert constant.shape == shape


def test_auroc_of_two_classes_stores_one_column():
    assert metrics.get("auroc").reduce(np.full((3, 2), 0.5)).shape == (3,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 4 / 6),
        ("balanced_accuracy", 0.5),
        ("auroc", 0.5),
        ("log_loss", -(4 * np.log(4 / 6) + 2 * np.log(2 / 6)) / 6),
        ("r2", 0.0),
        ("mae", 2 / 6),
        ("rmse", np.std([0, 0, 0, 0, 1, 1])),
    ],
)
def test_the_constant_predictor_is_the_best_constant(name, expected):
    metric = metrics.get(name)
    y = np.array([0, 0, 0, 0, 1, 1])
    y = y if metric.task == "classification" else y.astype(float)
    outputs = 2 if metric.task == "classification" else 1
    stored = metric.constant(y, len(y), outputs)
    assert metric.score(stored, y) == pytest.approx(expected, abs=1e-6)


def test_an_overconfident_mistake_costs_a_finite_log_loss():
    metric = metrics.get("log_loss")
    loss = metric.score(metric.reduce(np.array([[1.0, 0.0]])), np.array([1]))
    assert loss == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_a_perfect_regression_has_no_error_and_no_spread():
    y = np.array([1.0, 2.0, 5.0])
    assert metrics.get("rmse").per_example(y, y).tolist() == [0, 0, 0]
    assert metrics.get("r2").per_example(y, y).tolist() == [1, 1, 1]


@pytest.mark.parametrize("stored", [np.zeros((6, 3)), np.zeros(6)])
def test_auroc_without_a_class_is_the_datas_fault(stored):
    with pytest.raises(
        DataError, match=r"(?s)every class.*none of .*class.*stratified"
    ):
        metrics.get("auroc").score(stored, np.zeros(6, int))
    with pytest.raises(DataError, match="every class"):
        metrics.get("auroc").score(stored, np.ones(6, int))


def test_r2_of_a_constant_target_is_the_datas_fault():
    with pytest.raises(DataError, match=r"vary.*all 3 are 2\.0"):
        metrics.get("r2").score(np.zeros(3), np.full(3, 2.0))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ProtocolError, match=r"(?s)'acuracy'.*Did you mean accuracy"):
        metrics.get("acuracy")
    with pytest.raises(ProtocolError, match=r"(?s)'xyz'.*r2, mae, rmse"):
        metrics.get("xyz", "regression")


def test_a_metric_of_the_other_task_is_refused_with_the_way_out():
    assert metrics.get("r2", "regression").name == "r2"
    with pytest.raises(
        ProtocolError, match=r"(?s)r2 is a metric of regression.*accuracy"
    ):
        metrics.get("r2", "classification")


@pytest.mark.parametrize(
    "outputs", [np.zeros(3), np.array([[0.5, np.nan]]), np.array([[np.inf, 0]])]
)
def test_outputs_of_another_shape_or_not_finite_are_refused(outputs):
    with pytest.raises(ValueError, match="accuracy needs"):
        metrics.get("accuracy").reduce(outputs)


def test_as_many_predictions_as_targets():
    with pytest.raises(ValueError, match="one prediction for each target"):
        metrics.get("accuracy").score(np.zeros(3), np.zeros(4))


def test_defaults_and_directions():
    assert metrics.default("classification").name == "accuracy"
    assert metrics.default("regression").name == "r2"
    lower = {m for m in metrics.names() if not metrics.get(m).higher_is_better}
    assert lower == {"log_loss", "mae", "rmse"}
    unbounded = {m for m in metrics.names() if not metrics.get(m).bounded}
    assert unbounded == {"log_loss", "r2", "mae", "rmse"}


def test_a_metric_travels_to_another_process():
    metric = metrics.get("auroc")
    assert pickle.loads(pickle.dumps(metric)) == metric

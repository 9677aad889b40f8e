"""What a score is: its direction, its bounds, and each example's share of it.

A run stores the least that its metric needs of the model's outputs (`reduce`);
the score and its shares by example come from what was stored and the targets.

The verdict takes the uncertainty that stems from the test examples from the
variance of their shares. For a metric that is a mean, the share is the
example's own score. For all others it is the score plus the example's empirical
influence on it (the infinitesimal jackknife, or delta method: Efron, "The
Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapter 6), whose
mean is the score and whose variance over N is the score's to first order.

    >>> get("accuracy").score(np.array([0, 1, 1]), np.array([0, 1, 0]))
    0.6666666666666666
"""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from archtrial.errors import DataError, ProtocolError

__all__ = ["TASKS", "Metric", "check_margin", "default", "get", "names"]

TASKS = ("classification", "regression")

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score of predictions against targets."""

    name: str
    task: str
    """One of `TASKS`."""
    higher_is_better: bool
    bounded: bool
    """Whether there is a worst value, as of accuracy but not of R2 or a loss."""
    reduction: Callable[[Array], Array] = dataclasses.field(repr=False)
    """The model's outputs to what is stored."""
    shares: Callable[[Array, Array], Array] = dataclasses.field(repr=False)
    """What was stored and the targets to (N,) float64 shares of the score."""
    guess: Callable[[Array, int], Array] = dataclasses.field(repr=False)
    """Training targets and number of outputs to the constant output, (1, C) or (1,)."""

    @property
    def best(self) -> float:
        """The best score there is: 1 of a share or of R2, 0 of an error or a loss."""
        return 1.0 if self.higher_is_better else 0.0

    def reduce(self, outputs: Array) -> Array:
        """Returns the part of a model's outputs that this metric needs.

        Args:
            outputs: Classification: (N, C) float probabilities. Regression: (N,)
                float values in the units of the target.

        Returns:
            Accuracy, balanced accuracy, macro F1: (N,) uint16 labels. Log loss:
            (N, C) float32 probabilities. AUROC: the same, but for two classes
            (N,) float32, the probability of the second. Regression: (N,) float64.

        Raises:
            ValueError: The shape is another one, or a value is not finite: a run
                that diverged counts as the constant predictor (`constant`).
        """
        outputs = np.asarray(outputs)
        wanted = 2 if self.task == "classification" else 1
        if outputs.ndim != wanted:
            raise ValueError(f"{self.name} needs {wanted}-D outputs: {outputs.shape}")
        if not np.isfinite(outputs).all():
            raise ValueError(f"{self.name} needs finite outputs")
        return self.reduction(outputs)

    def score(self, stored: Array, y: Array) -> float:
        """Returns the score of stored predictions, in the metric's own units.

        Args:
            stored: What `reduce` or `constant` returned.
            y: (N,) targets: labels 0..C-1, or values.

        Raises:
            DataError: The metric has no value on these targets.
        """
        return float(self.per_example(stored, y).mean())

    def per_example(self, stored: Array, y: Array) -> Array:
        """Returns each example's share of the score: (N,) float64, mean = `score`.

        Args and errors are those of `score`; the module says what a share is.
        """
        y = np.asarray(y)
        if y.ndim != 1 or len(stored) != len(y) or len(y) == 0:
            raise ValueError(
                f"one prediction for each target: {stored.shape} for {y.shape}"
            )
        return self.shares(stored, y)

    def constant(self, y_train: Array, count: int, num_outputs: int) -> Array:
        """Returns what the best constant predictor would store for `count` examples.

        It answers with the majority class, the class frequencies, the mean, or for
        the mean absolute error the median of the training targets.

        Args:
            y_train: (M,) training targets.
            count: Number of examples to answer for.
            num_outputs: Number of classes; 1 for regression.
        """
        output = self.guess(np.asarray(y_train), num_outputs)
        return np.repeat(self.reduce(output), count, axis=0)


def check_margin(margin: float | None, fractions: bool) -> None:
    """Checks that a margin can be met by a gain.

    Args:
        margin: The smallest gap worth having; None where none is declared.
        fractions: Whether scores lie between 0 and 1.

    Raises:
        ProtocolError: It is no margin for fractions: above .2 it is one in percent.
    """
    if fractions and margin is not None and margin > 0.2:
        raise ProtocolError(
            "a margin is a fraction, also where scores are percentages, and at most .2",
            f"margin = {margin:g}",
            f"Half a point is .005; {margin:g} in percent is {margin / 100:g}.",
        )


def names(task: str | None = None) -> tuple[str, ...]:
    """Returns the metrics' names, all or those of one task, the default first."""
    return tuple(m.name for m in _METRICS if task is None or m.task == task)


def default(task: str) -> Metric:
    """Returns the metric of a task that declares none: accuracy, or R2."""
    return get(names(task)[0])


def get(name: str, task: str | None = None) -> Metric:
    """Returns a metric by name.

    Args:
        name: One of `names()`.
        task: Where given, the task that the metric must be made for.

    Raises:
        ProtocolError: There is no such metric, or it is one of another task.
    """
    for metric in _METRICS:
        if metric.name == name:
            break
    else:
        near = difflib.get_close_matches(name.lower(), names(task), 3, cutoff=0.5)
        raise ProtocolError(
            "a metric is one of those that archtrial knows",
            repr(name),
            f"Did you mean {' or '.join(near)}?"
            if near
            else f"Choose one of {', '.join(names(task))}.",
        )
    if task is not None and metric.task != task:
        raise ProtocolError(
            f"{name} is a metric of {metric.task}",
            f"the task is {task}",
            f"Choose one of {', '.join(names(task))}, or use --task {metric.task} (in a"
            f' protocol, task = "{metric.task}").',
        )
    return metric


# --- what is stored ------------------------------------------------------------


def _labels(outputs: Array) -> Array:
    dtype = np.uint16 if outputs.shape[1] <= 2**16 else np.uint32
    labels: Array = outputs.argmax(axis=1).astype(dtype)
    return labels


def _probabilities(outputs: Array) -> Array:
    return outputs.astype(np.float32)


def _rankings(outputs: Array) -> Array:
    # With two classes the second column ranks the examples both ways.
    return (outputs[:, 1] if outputs.shape[1] == 2 else outputs).astype(np.float32)


def _values(outputs: Array) -> Array:
    # float64, since targets such as years or amounts can vary little around a
    # large mean.
    return outputs.astype(np.float64)


# --- shares of the score -------------------------------------------------------


def _accuracy(predicted: Array, y: Array) -> Array:
    hit: Array = (predicted == y).astype(np.float64)
    return hit


def _balanced_accuracy(predicted: Array, y: Array) -> Array:
    """The mean over the classes in `y` of the share of their examples found."""
    _, label, count = np.unique(y, return_inverse=True, return_counts=True)
    hit = (predicted == y).astype(np.float64)
    recall = np.bincount(label, weights=hit) / count
    influence = (hit - recall[label]) * len(y) / (len(count) * count[label])
    shares: Array = recall.mean() + influence
    return shares


def _macro_f1(predicted: Array, y: Array) -> Array:
    """The mean of F1 = 2 TP / (predicted + actual) over all classes that occur.

    As a ratio r = a / b of means, F1 has the influence (a_e - r b_e) / b.
    """
    classes, label = np.unique(np.concatenate([predicted, y]), return_inverse=True)
    label_predicted, label_actual = label[: len(y)], label[len(y) :]
    count = len(classes)
    hit = label_predicted == label_actual
    found = np.bincount(label_actual[hit], minlength=count)
    total = np.bincount(label, minlength=count)  # predicted plus actual, never 0
    f1 = 2 * found / total
    of_predicted, of_actual = label_predicted, label_actual
    influence = (
        2 * hit / total[of_actual]
        - f1[of_predicted] / total[of_predicted]
        - f1[of_actual] / total[of_actual]
    )
    shares: Array = f1.mean() + influence * len(y) / count
    return shares


def _auroc(ranking: Array, y: Array) -> Array:
    """The area under the ROC curve; several classes: the mean of one against rest.

    An example's influence is its placement among the examples of the other side
    (DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988, equations 4 to 6), so the
    variance of the shares over N is DeLong's.
    """
    if ranking.ndim == 1:
        classes, columns = range(1, 2), ranking[:, None]
    else:
        classes, columns = range(ranking.shape[1]), ranking
    area = np.zeros(len(classes))
    influence = np.zeros(len(y))
    for index, label in enumerate(classes):
        positive = y == label
        inside, outside = int(positive.sum()), int((~positive).sum())
        if inside == 0 or outside == 0:
            missing = f"class {label}" if inside == 0 else f"another class than {label}"
            raise DataError(
                "AUROC needs examples of every class in each set that is scored",
                f"none of {missing} among {len(y)} examples",
                "Use stratified splits or a larger share, or choose another metric,"
                " such as accuracy.",
            )
        values = columns[:, index]
        placement = np.empty(len(y))
        placement[positive] = _share_below(values[positive], values[~positive])
        placement[~positive] = 1 - _share_below(values[~positive], values[positive])
        area[index] = placement[positive].mean()
        own = np.where(positive, inside, outside)
        influence += (placement - area[index]) * len(y) / own
    shares: Array = area.mean() + influence / len(classes)
    return shares


def _share_below(values: Array, others: Array) -> Array:
    """Returns for each value the share of the others below it, ties counted half."""
    others = np.sort(others)
    strictly = np.searchsorted(others, values, "left")
    at_most = np.searchsorted(others, values, "right")
    shares: Array = (strictly + at_most) / (2 * len(others))
    return shares


def _log_loss(probabilities: Array, y: Array) -> Array:
    # A probability that float32 cannot tell from 0 or 1 is taken at its precision,
    # so that one overconfident answer costs 16 and not infinity.
    limit = float(np.finfo(np.float32).eps)
    given = probabilities[np.arange(len(y)), y].astype(np.float64)
    return -np.log(np.clip(given, limit, 1 - limit))


def _squared_error(predicted: Array, y: Array) -> Array:
    return np.square(predicted.astype(np.float64) - y)


def _r2(predicted: Array, y: Array) -> Array:
    """1 - (mean squared error) / (variance of the targets).

    The ratio r = a / b has the influence (a_e - r b_e) / b; that of the estimated
    mean inside b is of second order.
    """
    spread = np.square(y - y.mean())
    variance = spread.mean()
    if variance == 0:
        raise DataError(
            "R2 needs targets that vary in each set that is scored",
            f"all {len(y)} are {y[0]}",
            "Use larger shares for validation and test, or choose mae or rmse.",
        )
    error = _squared_error(predicted, y)
    ratio = error.mean() / variance
    shares: Array = 1 - ratio - (error - ratio * spread) / variance
    return shares


def _absolute_error(predicted: Array, y: Array) -> Array:
    return np.abs(predicted.astype(np.float64) - y)


def _rmse(predicted: Array, y: Array) -> Array:
    """The root of the mean squared error; d sqrt(a) = da / (2 sqrt(a))."""
    error = _squared_error(predicted, y)
    root = np.sqrt(error.mean())
    if root == 0:
        return error
    shares: Array = root + (error - root**2) / (2 * root)
    return shares


# --- constant predictors -------------------------------------------------------


def _frequencies(y_train: Array, num_outputs: int) -> Array:
    return np.bincount(y_train, minlength=num_outputs)[None] / len(y_train)


def _mean(y_train: Array, num_outputs: int) -> Array:
    mean: Array = y_train.mean(dtype=np.float64, keepdims=True)
    return mean


def _median(y_train: Array, num_outputs: int) -> Array:
    return np.median(y_train, keepdims=True)


# A task's default comes first. The columns after the name: higher is better, bounded.
_METRICS = (
    Metric("accuracy", TASKS[0], True, True, _labels, _accuracy, _frequencies),
    Metric(
        "balanced_accuracy",
        TASKS[0],
        True,
        True,
        _labels,
        _balanced_accuracy,
        _frequencies,
    ),
    Metric("macro_f1", TASKS[0], True, True, _labels, _macro_f1, _frequencies),
    Metric("auroc", TASKS[0], True, True, _rankings, _auroc, _frequencies),
    Metric("log_loss", TASKS[0], False, False, _probabilities, _log_loss, _frequencies),
    Metric("r2", TASKS[1], True, False, _values, _r2, _mean),
    Metric("mae", TASKS[1], False, False, _values, _absolute_error, _median),
    Metric("rmse", TASKS[1], False, False, _values, _rmse, _mean),
)

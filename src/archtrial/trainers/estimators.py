"""Estimators of scikit-learn, fitted to the same rows as networks are trained on."""

import dataclasses
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import threadpoolctl
import torch

from archtrial import randomness
from archtrial.data import Inputs
from archtrial.data.content import check_size
from archtrial.errors import ArmError, ProtocolError
from archtrial.records.table import CPU_SECONDS
from archtrial.space import Value
from archtrial.trainers.runs import Finished, Item, finished, labelled_rows
from archtrial.training.outcome import Account, pass_on
from archtrial.training.problem import Problem
from archtrial.zoo.estimators import Estimator, sibling

__all__ = ["Fits"]

# So many rows show whether an estimator takes a configuration.
_MOST_REHEARSED = 400


@dataclasses.dataclass(frozen=True)
class Fits:
    """scikit-learn's own training.

    An estimator gets the training rows as networks do, each example's values in one
    row. Categories reach those that know of any as whole numbers, the others with one
    input for each value. Targets of a regression are standardised, as they are for
    networks, unless the loss is one of amounts.

    Args:
        problem: The data, without test labels, and the metric.
        estimators: By arm.
        inputs: What is known of the inputs.
        study_seed: The protocol's seed.
        threads: Of each fit.
        labels: How many labels each fit sees; None: all.
    """

    problem: Problem
    estimators: Mapping[str, Estimator]
    inputs: Inputs
    study_seed: int
    threads: int = 1
    labels: int | None = None

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Each run is a task."""
        return [(item,) for item in items]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Fits the task's runs; what an estimator raises is recorded with its run."""
        return [self._run(item) for item in task]

    def _run(self, item: Item) -> Finished:
        problem = self.problem
        account = Account(problem, time.perf_counter())
        start = time.process_time()
        # Most libraries take seeds of 31 bits.
        seed = randomness.seed(self.study_seed, "training", item.arm, *item.names) >> 32
        rows = labelled_rows(problem, self.labels, self.study_seed, item)
        seen = np.arange(len(problem.y_train)) if rows is None else rows
        try:
            # Said once, before the study (`rehearse`).
            with warnings.catch_warnings(action="ignore"):
                validation, test = self._presented(
                    item.arm,
                    item.configuration,
                    seed,
                    seen,
                    (problem.x_validation[:], problem.x_test[:]),
                )
            account.evaluated(1, 0.0, validation)
        except Exception as error:  # what an estimator raises is anything
            pass_on(error)
            outcome = account.failed(error)
        else:
            outcome = account.finished(test, None)
        # There are no steps, so there is no curve over them.
        done = finished(item, dataclasses.replace(outcome, curve=()))
        measures = {CPU_SECONDS: time.process_time() - start}
        return dataclasses.replace(
            done, run=dataclasses.replace(done.run, measures=measures)
        )

    def _presented(
        self,
        arm: str,
        values: Mapping[str, Value],
        seed: int,
        rows: np.ndarray,
        examined: Sequence[np.ndarray],
        *,
        finely: bool = False,
    ) -> list[np.ndarray]:
        """Fits an estimator to some training rows, and returns what it says of others.

        Returns:
            For each array of inputs (N, outputs) scores of the classes, or (N,) values.
        """
        estimator, problem = self.estimators[arm], self.problem
        made = estimator.make(self._with_weights(arm, values), seed, self.threads)
        places = self._categories(estimator, values)
        if places:
            made.set_params(categorical_features=places)
        y = problem.y_train[rows]
        center, scale = 0.0, 1.0
        if problem.task == "regression" and not estimator.takes_amounts:
            whole = problem.y_train.astype(np.float64)
            center, scale = float(whole.mean()), float(whole.std()) or 1.0
            y = (y - center) / scale
        with threadpoolctl.threadpool_limits(self.threads):
            table = self._table(made, problem.x_train[rows], places)
            known = _columns_with_values(table, made)
            made.fit(table[:, known], y)
            tables = [self._table(made, x, places)[:, known] for x in examined]
            if problem.task == "regression":
                said = [np.asarray(made.predict(x)) for x in tables]
                return [v.reshape(len(v)) * scale + center for v in said]
            return [self._scores(made, x, finely) for x in tables]

    def _with_weights(self, arm: str, values: Mapping[str, Value]) -> dict[str, Any]:
        balanced = self.problem.recipe.class_weights == "balanced"
        takes = balanced and self.estimators[arm].takes_weights
        return {**({"class_weight": "balanced"} if takes else {}), **values}

    def _categories(
        self, estimator: Estimator, values: Mapping[str, Value]
    ) -> list[int]:
        """Returns the places of categories in a table whose columns stand for themselves."""
        columns = self.inputs.columns or ()
        if not estimator.takes_categories or "categorical_features" in values:
            return []
        count = sum(column.categories is not None for column in columns)
        return list(range(len(columns) - count, len(columns)))

    def _table(self, made: Any, x: np.ndarray, places: Sequence[int]) -> Any:
        """Returns what an estimator gets of inputs: an array, or a sparse matrix."""
        if self.inputs.vocabulary is not None:
            return _bag_of_words(x, self._width, sparse=_takes_sparse(made))
        if not places:
            return np.asarray(x, dtype=np.float32).reshape(len(x), -1)
        numbers, ids = self.inputs.parted(torch.from_numpy(np.asarray(x)))
        return np.concatenate([numbers.numpy(), ids.numpy()], 1, dtype=np.float32)

    @property
    def _width(self) -> int:
        """Values of an example as estimators get it."""
        words = self.inputs.vocabulary
        # Of ids all but the padding are counted.
        return int(np.prod(self.inputs.shape)) if words is None else words - 1

    def _scores(self, made: Any, x: np.ndarray, finely: bool) -> np.ndarray:
        """Returns (N, classes) scores whose largest, or whose order, is what counts."""
        name, outputs = self.problem.metric.name, self.problem.num_outputs
        classes = np.asarray(made.classes_)
        scores = np.zeros((x.shape[0], outputs))
        ranks = hasattr(made, "predict_proba") or hasattr(made, "decision_function")
        if not (ranks and (finely or name in _RANKED)):
            scores[np.arange(x.shape[0]), made.predict(x)] = 1.0
            return scores
        if hasattr(made, "predict_proba"):
            scores[:, classes] = made.predict_proba(x)
            return scores
        margins = np.asarray(made.decision_function(x))
        if margins.ndim == 1:
            margins = np.stack([-margins, margins], 1)
        # A class that training has not seen is the last.
        scores[:] = margins.min() - 1
        scores[:, classes] = margins
        return scores

    # Before the study.

    def check(self, arm: str) -> None:
        """Says now what an estimator cannot do.

        Raises:
            ArmError: It is for the other task, or has no scores that the metric needs.
            ProtocolError: Something is declared that means nothing to it.
        """
        estimator, problem = self.estimators[arm], self.problem
        if estimator.task != problem.task:
            other = sibling(estimator)
            raise ArmError(
                f"{estimator.spec} is for {estimator.task}",
                f"the task is {problem.task}",
                f"Take {other}." if other else "Take an estimator of that task.",
            )
        # Of texts words are counted, however many there are.
        if self.inputs.unequal and self.inputs.vocabulary is None:
            assert self.inputs.lengths is not None
            shortest, longest = self.inputs.lengths
            raise ArmError(
                f"{estimator.spec} is fitted to rows of one length",
                f"series have {shortest} to {longest} steps",
                f"Give all series one length: --lengths {shortest} uses the first"
                f" {shortest} steps of each, --lengths zeros reads zeros behind the end"
                f' as data (in a protocol, lengths = {shortest} or lengths = "zeros").',
            )
        if problem.recipe.class_weights != "none" and not estimator.takes_weights:
            raise ProtocolError(
                "class_weights are of arms that weigh classes",
                f"{arm} ({estimator.spec}) has no class_weight",
                'Take class_weights = "balanced" out of [recipe], or the arm out.',
            )
        needed = _RANKED.get(problem.metric.name, ())
        if needed and not any(estimator.answers(method) for method in needed):
            raise ArmError(
                f"{problem.metric.name} needs an estimator with {' or '.join(needed)}",
                f"{estimator.spec} has none",
                "Take accuracy, balanced_accuracy or macro_f1 for a metric, or another"
                " estimator, such as sklearn:LogisticRegression.",
            )

    def rehearse(
        self, arm: str, configurations: Mapping[str, Mapping[str, Value]]
    ) -> tuple[bool, list[str]]:
        """Fits an estimator shortly at each of some configurations.

        What two seeds come to on these few rows is told and decides nothing: more rows,
        or another machine, may tell otherwise.

        Args:
            arm: Whose.
            configurations: By what tells them apart, "" for the first.

        Returns:
            Whether its seed may make a difference, as far as is known of it; and notes.

        Raises:
            ArmError: It cannot be fitted; the message names the configuration.
        """
        estimator = self.estimators[arm]
        few = self._few()
        said: dict[str, None] = {}
        random = any(
            estimator.uses_seed(values, len(self.problem.y_train), self._width)
            for values in configurations.values()
        )
        differ = False
        for where, values in configurations.items():
            with warnings.catch_warnings(record=True, action="always") as caught:
                try:
                    seeds = (1, 2) if random else (1,)
                    told = [self._tried(arm, values, seed, few) for seed in seeds]
                    differ = differ or not np.array_equal(told[0], told[-1])
                except Exception as error:  # what an estimator raises is anything
                    pass_on(error)
                    if isinstance(error, ArmError):
                        raise
                    at = f" with {where}" if where else ""
                    raise ArmError(
                        f"{estimator.spec} can be fitted{at}",
                        f"{type(error).__name__}: {_first_line(error)}",
                        "Declare another space for it, or other options.",
                    ) from error
            said |= {
                f"{w.category.__name__}: {_first_line(w.message)}": None for w in caught
            }
        return random, [
            f"{arm} is fitted by scikit-learn: recipe, steps, batches and augmentation"
            " are those of networks. What it costs is measured in seconds and not"
            " counted in operations, so it is compared at equal trials alone.",
            *self._remarks(arm),
            *self._on_seeds(arm, random, differ),
            *(f"{estimator.spec} warns: {warning}" for warning in said),
        ]

    def _on_seeds(self, arm: str, random: bool, differ: bool) -> Iterator[str]:
        if not random:
            yield f"{arm} is the same for every seed."
        elif not differ:
            yield (
                f"{arm} was the same for two seeds when it was tried on few rows. Where it"
                f" is so on all of them, declare that: --deterministic {shlex.quote(arm)}"
            )

    def _remarks(self, arm: str) -> Iterator[str]:
        estimator, inputs = self.estimators[arm], self.inputs
        if len(inputs.shape) > 1:
            sides = " x ".join(map(str, inputs.shape))
            yield (
                f"{arm} gets the {int(np.prod(inputs.shape)):,} values of an example"
                f" ({sides}) in one row: which are neighbours is lost."
            )
        if inputs.lengths is not None and inputs.vocabulary is None:
            ended = np.isnan(self.problem.x_train[:]).all(0)
            if ended.any():
                yield (
                    f"{arm} does not get the {int(ended.sum()):,} values of an example that"
                    " no training row has."
                )
        if inputs.vocabulary is not None:
            yield (
                f"{arm} gets how often each of {self._width:,} tokens occurs in a text (a"
                " bag of words): their order is lost."
            )
        if places := self._categories(estimator, {}):
            yield f"{arm} gets {len(places)} columns as categories, not as inputs of 0 and 1."
        if self.problem.recipe.class_weights == "balanced":
            yield f'{arm} has class_weight = "balanced", as the recipe declares.'
        if self.problem.device != "cpu":
            yield f"{arm} is fitted on the CPU."

    def _tried(
        self, arm: str, values: Mapping[str, Value], seed: int, few: np.ndarray
    ) -> np.ndarray:
        """Returns what an estimator says of some validation inputs, as finely as it can."""
        x = (self.problem.x_validation[:_MOST_REHEARSED],)
        try:
            return self._presented(arm, values, seed, few, x, finely=True)[0]
        except ValueError:
            # It may be that these rows are too few, as for a number of neighbours.
            everyone = np.arange(len(self.problem.y_train))
            return self._presented(arm, values, seed, everyone, x, finely=True)[0]

    def _few(self) -> np.ndarray:
        """Returns some training rows, of each class one at least."""
        y = self.problem.y_train
        count = min(len(y), _MOST_REHEARSED)
        rows = np.linspace(0, len(y) - 1, count).astype(np.int64)
        if self.problem.task == "classification":
            rows = np.concatenate([rows, np.unique(y, return_index=True)[1]])
        return np.unique(rows)


# Metrics that need more than the class that is chosen, and what tells it.
_RANKED = {
    "auroc": ("predict_proba", "decision_function"),
    "log_loss": ("predict_proba",),
}


# Options of estimators that tell columns by their places.
_BY_PLACE = ("categorical_features", "monotonic_cst", "interaction_cst")


def _columns_with_values(table: Any, made: Any) -> slice | np.ndarray:
    """Returns the columns of which a row has a value, unless options tell them by place.

    Where all training series have ended, columns hold NaN alone, which estimators that
    read NaN as missing refuse.
    """
    options = made.get_params(deep=False)
    # "from_dtype" and "no_interactions" name no place.
    named = any(not isinstance(options.get(name, ""), str | None) for name in _BY_PLACE)
    if named or not isinstance(table, np.ndarray):
        return slice(None)
    empty = np.isnan(table).all(0)
    return np.flatnonzero(~empty) if empty.any() else slice(None)


def _takes_sparse(made: Any) -> bool:
    import sklearn.utils

    # Up to scikit-learn 1.5 estimators did not say it in public.
    tags_of = getattr(sklearn.utils, "get_tags", None)
    return tags_of is not None and bool(tags_of(made).input_tags.sparse)


def _bag_of_words(ids: np.ndarray, width: int, *, sparse: bool) -> Any:
    """Counts ids from 1 on.

    Args:
        ids: (N, steps), 0 behind the end of a text.
        width: The largest id there may be.
        sparse: Whether a sparse matrix will do.

    Returns:
        (N, width) float32.
    """
    from scipy.sparse import csr_array

    rows, places = np.nonzero(ids)
    # Trees take no indices of 64 bits.
    at = (rows.astype(np.int32), (ids[rows, places] - 1).astype(np.int32))
    counts = csr_array((np.ones(len(rows), np.float32), at), shape=(len(ids), width))
    if sparse:
        return counts
    check_size(
        f"counts of {width:,} tokens in {len(ids):,} texts", 4 * len(ids) * width
    )
    return counts.toarray()


def _first_line(said: Any) -> str:
    return str(said).strip().partition("\n")[0]

"""Estimators of scikit-learn as arms, written `sklearn:NAME(option=value)`.

    archtrial run --baseline mlp --challenger 'sklearn:RandomForestClassifier(max_depth=3)'

The common ones have a search space here, a row each; any other needs one of its own.
scikit-learn is imported when such an arm is looked up, and not before.
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from archtrial import space as spaces
from archtrial.errors import ArmError, ProtocolError
from archtrial.space import Choice, Integer, Real, Space, Value
from archtrial.specs import write_spec
from archtrial.zoo.registry import nearest

__all__ = [
    "Estimator",
    "check_installed",
    "check_space",
    "find",
    "is_estimator",
    "sibling",
]

_TREES: Space = {
    "max_features": Real(0.1, 1.0),
    "min_samples_leaf": Integer(1, 20, log=True),
}
_BOOSTED: Space = {
    "learning_rate": Real(0.01, 0.5, log=True),
    "max_leaf_nodes": Integer(4, 128, log=True),
    "min_samples_leaf": Integer(2, 100, log=True),
}
_NEIGHBORS: Space = {
    "n_neighbors": Integer(1, 30, log=True),
    "weights": Choice(("uniform", "distance")),
    "p": Choice((1, 2)),
}
_TREE: Space = {
    "max_depth": Integer(1, 30, log=True),
    "min_samples_leaf": Integer(1, 50, log=True),
}
_C = Real(1e-3, 1e3, log=True)
_ALPHA = Real(1e-4, 1e4, log=True)
_KERNEL: Space = {"C": Real(1e-2, 1e3, log=True), "gamma": Real(1e-4, 10.0, log=True)}
# Of targets that are standardised.
_EPSILON = Real(1e-3, 1.0, log=True)
_PENALTY: Space = {"alpha": Real(1e-4, 10.0, log=True), "l1_ratio": Real(0.0, 1.0)}


@dataclasses.dataclass(frozen=True)
class _Row:
    """What is searched of an estimator, what is set, and when its seed is not used."""

    module: str
    space: Space
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What is set unless an arm's options say so."""
    is_seedless: Callable[[Mapping[str, Any], int, int], bool] | None = None
    """Whether it leaves its random_state unused, by its parameters and how many rows
    and columns it is fitted to; None where it is not known to."""


# When random_state is not used, as the sources of scikit-learn 1.5 to 1.9 have it. Each
# is a conjunction of conditions on one parameter, so a search space that breaks one
# breaks it at an end of that dimension. Trees are not here: they visit the columns in
# random order, so that the seed decides between splits that are equally good.


def _boosts_alike(given: Mapping[str, Any], rows: int, _: int) -> bool:
    stops = given["early_stopping"]  # by rows that are split off at random
    splits = rows > 10_000 if stops == "auto" else bool(stops)
    # From more rows than these the bins are found on a random sample.
    return not splits and rows <= 200_000 and given["max_features"] == 1.0


def _is_newtonian(given: Mapping[str, Any], *_: int) -> bool:
    return given["solver"] in ("lbfgs", "newton-cg", "newton-cholesky")


def _solves_alike(given: Mapping[str, Any], *_: int) -> bool:
    solvers = ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "lbfgs")
    return given["solver"] in solvers


def _is_cyclic(given: Mapping[str, Any], *_: int) -> bool:
    return bool(given["selection"] == "cyclic")


def _has_no_probabilities(given: Mapping[str, Any], *_: int) -> bool:
    return given.get("probability", False) in (False, "deprecated")


def _classifies_primal(given: Mapping[str, Any], rows: int, columns: int) -> bool:
    known = (given["penalty"], given["loss"], given["multi_class"])
    return known == ("l2", "squared_hinge", "ovr") and _is_primal(given, rows, columns)


def _regresses_primal(given: Mapping[str, Any], rows: int, columns: int) -> bool:
    squared = given["loss"] == "squared_epsilon_insensitive"
    return squared and _is_primal(given, rows, columns)


def _is_primal(given: Mapping[str, Any], rows: int, columns: int) -> bool:
    dual = given["dual"]
    return rows >= columns if dual == "auto" else not dual


def _guesses_alike(given: Mapping[str, Any], *_: int) -> bool:
    return given["strategy"] in ("most_frequent", "prior", "constant")


_MANY = {"max_iter": 1000}  # the default of 100 often ends too early
_VERY_MANY = {"max_iter": 10_000}
_BOOSTED_L2 = {**_BOOSTED, "l2_regularization": Real(1e-6, 10.0, log=True)}
_ROWS: Mapping[str, _Row] = {
    "HistGradientBoostingClassifier": _Row(
        "ensemble", _BOOSTED_L2, is_seedless=_boosts_alike
    ),
    "HistGradientBoostingRegressor": _Row(
        "ensemble", _BOOSTED_L2, is_seedless=_boosts_alike
    ),
    "GradientBoostingClassifier": _Row("ensemble", _BOOSTED),
    "GradientBoostingRegressor": _Row("ensemble", _BOOSTED),
    "RandomForestClassifier": _Row("ensemble", _TREES),
    "RandomForestRegressor": _Row("ensemble", _TREES),
    "ExtraTreesClassifier": _Row("ensemble", _TREES),
    "ExtraTreesRegressor": _Row("ensemble", _TREES),
    "DecisionTreeClassifier": _Row("tree", _TREE),
    "DecisionTreeRegressor": _Row("tree", _TREE),
    "LogisticRegression": _Row("linear_model", {"C": _C}, _MANY, _is_newtonian),
    "RidgeClassifier": _Row(
        "linear_model", {"alpha": _ALPHA}, is_seedless=_solves_alike
    ),
    "Ridge": _Row("linear_model", {"alpha": _ALPHA}, is_seedless=_solves_alike),
    "Lasso": _Row("linear_model", {"alpha": _PENALTY["alpha"]}, _VERY_MANY, _is_cyclic),
    "ElasticNet": _Row("linear_model", _PENALTY, _VERY_MANY, _is_cyclic),
    "LinearRegression": _Row("linear_model", {}),
    "SVC": _Row("svm", _KERNEL, is_seedless=_has_no_probabilities),
    "SVR": _Row("svm", {**_KERNEL, "epsilon": _EPSILON}),
    "LinearSVC": _Row("svm", {"C": _C}, _VERY_MANY, _classifies_primal),
    "LinearSVR": _Row(
        "svm", {"C": _C, "epsilon": _EPSILON}, _VERY_MANY, _regresses_primal
    ),
    "KNeighborsClassifier": _Row("neighbors", _NEIGHBORS),
    "KNeighborsRegressor": _Row("neighbors", _NEIGHBORS),
    "GaussianNB": _Row("naive_bayes", {"var_smoothing": Real(1e-12, 1.0, log=True)}),
    "DummyClassifier": _Row("dummy", {}, is_seedless=_guesses_alike),
    "DummyRegressor": _Row("dummy", {}),
}

_MODULES = (
    *("ensemble", "linear_model", "svm", "neighbors", "tree", "naive_bayes"),
    *("neural_network", "discriminant_analysis", "gaussian_process", "kernel_ridge"),
    *("dummy", "cross_decomposition", "calibration", "semi_supervised", "isotonic"),
    *("multiclass", "multioutput", "compose", "model_selection", "feature_selection"),
)

# Two of a kind, whose names do not say so.
_SIBLINGS = {
    "LogisticRegression": "Ridge",
    "LinearRegression": "LogisticRegression",
    "Ridge": "RidgeClassifier",
    "RidgeClassifier": "Ridge",
    "Lasso": "LogisticRegression",
    "ElasticNet": "LogisticRegression",
}

# Losses whose targets are amounts above 0, which standardising would take from them.
_AMOUNTS = ("poisson", "gamma", "tweedie")


@dataclasses.dataclass(frozen=True)
class Estimator:
    """An estimator with its fixed options and its search space."""

    spec: str
    """Such as "sklearn:SVC"."""
    module: str
    """Where scikit-learn has it."""
    options: Mapping[str, Any]
    """Fixed options."""
    space: Space
    """Its own search space, without what the options fix."""
    has_row: bool
    """Whether its search space is written down here."""
    source: str
    """What a study keeps of it beside its options: its name, and what is set here."""
    accepts: frozenset[str]
    """The names of its parameters that a configuration may set."""
    task: str
    """"classification" or "regression"."""

    @property
    def name(self) -> str:
        """Of its class."""
        return self.spec.rpartition(":")[2]

    def takes(self, option: str) -> bool:
        """Says whether it has such a parameter, whatever values that may have."""
        return option in self.accepts or option in self.options

    @property
    def takes_categories(self) -> bool:
        """Whether it wants to be told which columns are categories."""
        return "categorical_features" in self.accepts

    @property
    def takes_weights(self) -> bool:
        """Whether it weighs classes."""
        return "class_weight" in self.accepts

    @property
    def takes_amounts(self) -> bool:
        """Whether its targets have to stay in their own units."""
        said = [self.name, *(v for v in self.options.values() if isinstance(v, str))]
        return any(loss in text.lower() for loss in _AMOUNTS for text in said)

    def answers(self, method: str) -> bool:
        """Says whether it has a method, such as predict_proba, as it is set."""
        return hasattr(self.make({}, 0, 1), method)

    def make(self, values: Mapping[str, Value], seed: int, threads: int) -> Any:
        """Returns the estimator, not fitted.

        Args:
            values: A configuration.
            seed: Of its random numbers, where it draws any.
            threads: That it may use, where it can say so.

        Raises:
            ArmError: It cannot be made of these options.
        """
        kind = self._class()
        named = _named(kind)
        own: dict[str, Any] = {}
        if "random_state" in named:
            own["random_state"] = seed
        # Of a logistic regression it does nothing, and scikit-learn 1.8 says so.
        if "n_jobs" in named and "LogisticRegression" not in self.name:
            own["n_jobs"] = threads
        row = _ROWS.get(self.name)
        given = {**own, **(row.options if row else {}), **values, **self.options}
        if given.get("random_state", seed) is None:
            given["random_state"] = seed  # and not numpy's global generator
        try:
            return kind(**given)
        except Exception as error:  # what a class raises is anything
            raise ArmError(
                f"{self.spec} can be made of its options",
                f"{type(error).__name__}: {error}",
            ) from error

    def uses_seed(self, values: Mapping[str, Value], rows: int, columns: int) -> bool:
        """Says whether a fit may differ by its seed, without fitting anything.

        Args:
            values: A configuration.
            rows: That it is fitted to.
            columns: Of its table of inputs.

        Returns:
            False where it is known that its seed is not used: it takes none, another
            is fixed, or its row here says so. Else True.
        """
        if "random_state" not in _named(self._class()):
            return False
        if {**values, **self.options}.get("random_state") is not None:
            return False
        row = _ROWS.get(self.name)
        if row is None or row.is_seedless is None:
            return True
        given = self.make(values, 0, 1).get_params(deep=False)
        return not row.is_seedless(given, rows, columns)

    def written(self, values: Mapping[str, Value]) -> str:
        """Returns a configuration as Python makes it, without its seed."""
        row = _ROWS.get(self.name)
        given = {**(row.options if row else {}), **values, **self.options}
        said = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"{self.module}.{self.name}({said})"

    def _class(self) -> type:
        return _class_of(self.module, self.name)


@functools.cache
def _class_of(module: str, name: str) -> type:
    found: type = getattr(importlib.import_module(module), name)
    return found


# Nothing of it is a path: neither "sklearn.study/net.py:Net" nor "sklearn.py:Net".
_SPEC = re.compile(r"sklearn(\.(?!py:)[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def is_estimator(spec: str | Callable[..., Any]) -> bool:
    """Says whether an arm's architecture is an estimator of scikit-learn.

    That is "sklearn:NAME", "sklearn.module:NAME", or a class of one of its modules.
    """
    if isinstance(spec, str):
        return _SPEC.fullmatch(spec) is not None
    # A user's own file sklearn.py is a module without a dot.
    return isinstance(spec, type) and str(spec.__module__).startswith("sklearn.")


def find(
    spec: str | Callable[..., Any],
    options: Mapping[str, Any],
    space: Mapping[str, Any] | None,
) -> Estimator:
    """Finds an estimator.

    Args:
        spec: "sklearn:NAME", "sklearn.module:NAME" or the class itself.
        options: Fixed options.
        space: What is searched, in place of the row here.

    Raises:
        ArmError: There is no such estimator, none of its kind can be an arm, or it has
            no such option.
        ProtocolError: A dimension of the search space is impossible.
    """
    check_installed()
    if not isinstance(spec, str):
        spec = f"{spec.__module__}:{getattr(spec, '__name__', '')}"
    place, _, name = spec.partition(":")
    module, kind = _looked_up(place, name)
    task = _task(name, kind)
    named = _named(kind)
    _check_required(name, kind, options)
    for option in options:
        if option not in named:
            raise ArmError(
                f"sklearn:{name} has no option {option!r}",
                way_out=nearest(option, sorted(named)),
            )
    row = _ROWS.get(name)
    declared = (row.space if row else {}) if space is None else space
    if space is not None and (both := sorted(options.keys() & declared.keys())):
        raise ArmError(
            f"sklearn:{name}: an option is either fixed or searched",
            f"{both[0]!r} is both",
            f"Remove {both[0]!r} from the options or from the search space.",
        )
    free = {key: value for key, value in declared.items() if key not in options}
    for searched in free:
        if searched not in named:
            raise ArmError(
                f"sklearn:{name} has no parameter {searched!r}",
                way_out=nearest(searched, sorted(named)),
            )
    set_here = dict(row.options) if row else {}
    return Estimator(
        spec=f"sklearn:{name}",
        module=module,
        options=dict(options),
        space={key: spaces.parse(key, value) for key, value in free.items()},
        has_row=row is not None or space is not None,
        source=f"# scikit-learn: {name} {json.dumps(set_here, sort_keys=True)}\n",
        accepts=frozenset(named.difference(options)),
        task=task,
    )


def check_installed() -> None:
    """Raises an ArmError where there is no scikit-learn."""
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise ArmError(
            "an arm sklearn:NAME needs scikit-learn",
            f"{type(error).__name__}: {error}",
            "Install it: pip install 'archtrial[sklearn]'",
        ) from error


def _looked_up(place: str, name: str) -> tuple[str, type]:
    """Returns the public module of an estimator, and its class."""
    row = _ROWS.get(name)
    if place == "sklearn":
        modules = [f"sklearn.{m}" for m in ([row.module] if row else _MODULES)]
    else:
        modules = [place]
    for module in modules:
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError as error:
            raise ArmError(
                f"the module {module!r} cannot be imported",
                f"{type(error).__name__}: {error}",
                f"Write sklearn:{name}.",
            ) from error
        if inspect.isclass(found):
            return module, found
    known = list(_ROWS)
    if place == "sklearn" and (elsewhere := _anywhere(name)) is not None:
        if _task_of(elsewhere[1]) is not None:
            return elsewhere
        raise ArmError(
            f"scikit-learn has no estimator {name!r} that predicts a target",
            f"it is neither a classifier nor a regressor{_purpose(elsewhere[1])}",
            f"With a search space here there are: {', '.join(known)}.",
        )
    close = difflib.get_close_matches(name, known, n=1)
    if not close:
        close = difflib.get_close_matches(name, _all_names(), n=1)
    meant = f"Did you mean sklearn:{close[0]}? " if close else ""
    raise ArmError(
        f"scikit-learn has no estimator {name!r}",
        "" if place == "sklearn" else f"in {place}",
        f"{meant}With a search space here there are: {', '.join(known)}.",
    )


def _anywhere(name: str) -> tuple[str, type] | None:
    """Returns an estimator of any kind with its public module, which takes a while."""
    from sklearn.utils import all_estimators

    for other, kind in all_estimators():
        if other == name:
            return kind.__module__.partition("._")[0], kind
    return None


def _all_names() -> list[str]:
    """Returns the names of all classes that predict, which takes a while."""
    return [
        name
        for module in _MODULES
        for name, member in vars(importlib.import_module(f"sklearn.{module}")).items()
        if inspect.isclass(member) and hasattr(member, "predict")
    ]


def _task(name: str, kind: type) -> str:
    task = _task_of(kind)
    if task is None:
        raise ArmError(
            "an arm of scikit-learn is a classifier or a regressor",
            f"{name} is neither{_purpose(kind)}",
            f"Take {' or '.join(f'sklearn:{n}' for n in list(_ROWS)[:2])}.",
        )
    return task


def _task_of(kind: type) -> str | None:
    from sklearn.base import ClassifierMixin, RegressorMixin

    if issubclass(kind, ClassifierMixin):
        return "classification"
    return "regression" if issubclass(kind, RegressorMixin) else None


def _purpose(kind: type) -> str:
    """Returns what an estimator does in place of predicting, where it is known."""
    from sklearn import base

    if issubclass(kind, base.ClusterMixin):
        return ": it finds clusters"
    if issubclass(kind, base.OutlierMixin):
        return ": it finds outliers"
    if issubclass(kind, base.TransformerMixin):
        return ": it transforms inputs"
    return ""


def sibling(estimator: Estimator) -> str | None:
    """Returns the estimator of the same kind for the other task, if there is one."""
    name = estimator.name
    swaps = (("Classifier", "Regressor"), ("SVC", "SVR"))
    tried = [_SIBLINGS.get(name, "")]
    tried += [name.replace(a, b) for a, b in (*swaps, *((b, a) for a, b in swaps))]
    module = importlib.import_module(estimator.module)
    for other in tried:
        if other not in ("", name) and (other in _ROWS or hasattr(module, other)):
            return f"sklearn:{other}"
    return None


def _named(kind: type) -> set[str]:
    return {p.name for p in _parameters(kind)}


def _parameters(kind: type) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield parameter


def _check_required(name: str, kind: type, options: Mapping[str, Any]) -> None:
    for parameter in _parameters(kind):
        if parameter.default is parameter.empty and parameter.name not in options:
            raise ArmError(
                f"every parameter of sklearn:{name} has a value",
                f"{parameter.name!r} has none",
                f"Type sklearn:{name}({parameter.name}=...). If it is an estimator or"
                " several, train it by a function of your own (archtrial.Study(...,"
                " trainer=...)).",
            )


def check_space(estimator: Estimator, arm: str) -> None:
    """Raises a ProtocolError where nobody has said what is searched of an estimator."""
    if estimator.has_row:
        return
    written = write_spec(None, estimator.spec, dict(estimator.options))
    raise ProtocolError(
        "an estimator without a search space here is given one",
        f"{written} has none",
        "Declare it in a protocol file, where"
        f' [[challengers]] has name = "{arm}", architecture = "{estimator.spec}" and'
        " space = { PARAMETER = [1, 2, 4] }, or space = {} if nothing of it is"
        " searched. Those with a search space here:"
        f" {', '.join(_ROWS)}.",
    )

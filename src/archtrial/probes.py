"""Adaptive tuners that ask how far the baseline can get at all.

They begin with what the search has seen and go on from there, one trial at a
time. What a tuner proposes is a function of what it has been told and of a seed, and of
nothing else, so that a study goes on where it stopped without any state of theirs.

Their trials depend on each other, so that no formula of the verdict holds for them:
they stand beside it.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archtrial.errors import ProtocolError
from archtrial.execution import few_threads
from archtrial.space import Choice, Dimension, Integer, Space, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["RANDOM", "TUNERS", "check", "propose"]

TUNERS = ("TPE", "GP")
"""Tree-structured Parzen estimators (Bergstra et al. 2011) and Gaussian processes, as
Optuna has them."""

RANDOM = 10
"""So many of a tuner's first trials are drawn at random."""


def check(
    rule: str = "probes are trials of Optuna's tuners",
    otherwise: str = "declare probes = 0",
) -> None:
    """Raises a ProtocolError where Optuna is not installed.

    Args:
        rule: What Optuna is needed for.
        otherwise: How to do without.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ProtocolError(
            rule,
            "Optuna is not installed",
            f"pip install 'archtrial[optuna]', or {otherwise}.",
        )


def propose(
    tuner: str,
    space: Space,
    seen: Sequence[tuple[Mapping[str, Value], float]],
    seed: int,
    *,
    threads: int = 1,
    random: int = RANDOM,
) -> dict[str, Value]:
    """Returns the configuration that a tuner would try next.

    Args:
        tuner: One of `TUNERS`.
        space: What is searched.
        seen: The configurations tried so far, in their order, each with its score;
            higher is better.
        seed: Of the tuner's own random numbers, below 2^32.
        threads: Torch's, for the Gaussian process.
        random: With fewer configurations tried so far it is a random draw.
    """
    if not space:
        return {}
    import optuna

    dimensions = {name: _distribution(space[name]) for name in sorted(space)}
    samplers = {"TPE": optuna.samplers.TPESampler, "GP": optuna.samplers.GPSampler}
    with _quiet(), few_threads(threads):
        study = optuna.create_study(
            direction="maximize",
            sampler=samplers[tuner](seed=seed, n_startup_trials=random),
        )
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: configuration[name] for name in dimensions},
                    distributions=dimensions,
                    value=score,
                )
                for configuration, score in seen
            ]
        )
        proposed = study.ask(dimensions).params
    return {name: _inside(space[name], proposed[name]) for name in dimensions}


def _distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna import distributions

    if isinstance(dimension, Choice):
        return distributions.CategoricalDistribution(dimension.options)
    if isinstance(dimension, Integer):
        return distributions.IntDistribution(
            dimension.low, dimension.high, log=dimension.log
        )
    return distributions.FloatDistribution(
        dimension.low, dimension.high, log=dimension.log
    )


def _inside(dimension: Dimension, value: Any) -> Value:
    """Corrects the last digit: a logarithm and back may step over the end of a range."""
    if not isinstance(dimension, Choice):
        value = min(max(value, dimension.low), dimension.high)
    inside: Value = value
    return inside


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's log from the user."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

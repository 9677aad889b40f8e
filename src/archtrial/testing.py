"""For tests of one's own: a trainer whose true answer is known.

>>> from types import SimpleNamespace
>>> truth = KnownTruth({"plain": Surface(peak=0.8), "tweak": Surface(peak=0.83)})
>>> scores = truth(SimpleNamespace(name="plain"), {"learning_rate": 0.01}, 0, 1000)
>>> sorted(scores)
['test', 'validation']
>>> round(truth.delta(4, "plain", "tweak"), 2)
0.03
"""

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from archtrial.errors import ArmError
from archtrial.randomness import generator, seed
from archtrial.space import Real, Space, Value
from archtrial.statistics.tuning import Ranking

if TYPE_CHECKING:
    from archtrial.data import Inputs
    from archtrial.training.problem import Job, Problem
    from archtrial.zoo.arms import Architecture, Builder

__all__ = ["Checked", "KnownTruth", "Surface", "check_architecture"]


@dataclasses.dataclass(frozen=True)
class Surface:
    """How one arm's score depends on its hyperparameters: a noisy quadratic.

    The expected score of a run whose seed works is

        floor + (peak - floor) max(0, 1 - sum_h (log10(h / optimum_h) / width)^2)

    less what a short training costs.
    """

    peak: float = 0.8
    """The expected score at the optimum."""
    width: float = 2.0
    """Decades from the optimum at which nothing is learnt any more."""
    optimum: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"learning_rate": 0.01}
    )
    """The best value of each hyperparameter that matters; all are positive."""
    floor: float = 0.1
    """The constant predictor's score."""
    seed_spread: float = 0.01
    """Standard deviation over seeds, common to validation and test."""
    failing_seeds: float = 0.0
    """The share of seeds that end at the floor."""
    diverging: float = 0.0
    """The share of draws, those of the largest learning rates, that diverge."""
    lag: float = 0.0
    """A training of s steps loses lag / s."""


@dataclasses.dataclass(frozen=True)
class KnownTruth:
    """A trainer for `Study(trainer=...)` that computes its scores instead of training.

    Called with the same arguments it returns the same scores, on every machine. A
    run that diverges returns NaN.
    """

    surfaces: Mapping[str, Surface]
    """By the name of the arm."""
    space: Space = dataclasses.field(
        default_factory=lambda: {"learning_rate": Real(1e-4, 1e-1, log=True)}
    )
    """What the studies search, for the truth. Where a configuration leaves a
    hyperparameter out, the middle of its range."""
    validation_noise: float = 0.01
    """Standard deviation of what a validation score adds to the run's own quality."""

    def __call__(
        self, arm: Any, configuration: Mapping[str, Value], seed: int, steps: int
    ) -> dict[str, float]:
        """Returns the "validation" and the "test" score of one run.

        Args:
            arm: Anything with a `name`.
            configuration: Values of hyperparameters.
            seed: The run's seed.
            steps: The training's length, at least 1.

        Raises:
            ArmError: Nothing is known of an arm of this name.
        """
        surface = self._surface(arm.name)
        stream = generator(
            seed,
            "known truth",
            arm.name,
            json.dumps(configuration, sort_keys=True),
            steps,
        )
        luck, noise, failing = stream.normal(), stream.normal(), stream.random()
        positions = {
            name: np.array([float(configuration.get(name, dimension.value(0.5)))])
            for name, dimension in self.space.items()
        }
        if self._diverges(surface, positions)[0]:
            return {"validation": math.nan, "test": math.nan}
        if failing < surface.failing_seeds:
            quality = surface.floor
        else:
            expected = float(self._quality(surface, positions)[0])
            quality = expected - surface.lag / steps + surface.seed_spread * luck
        return {
            "validation": quality + self.validation_noise * noise,
            "test": quality,
        }

    def expected(
        self, effort: int, arm: str, *, steps: int = 1000, draws: int = 100_000
    ) -> float:
        """Returns the true D(k): where a search of effort k ends, on fresh seeds.

        Args:
            effort: k.
            arm: The arm's name.
            steps: The training's length.
            draws: Configurations that the expectation is taken over. The error is
                about (spread of the scores) sqrt(k / draws): at the defaults and
                k = 4, below .001.

        Raises:
            ArmError: Nothing is known of an arm of this name.
        """
        surface = self._surface(arm)
        # One stream for all arms: what two arms share cancels in the difference.
        stream = generator(0, "truth")
        positions = {
            name: np.array(
                [float(dimension.value(u)) for u in stream.random(draws).tolist()]
            )
            for name, dimension in sorted(self.space.items())
        }
        diverged = self._diverges(surface, positions)
        working = self._quality(surface, positions) - surface.lag / steps
        luck, noise = stream.normal(size=draws), stream.normal(size=draws)
        failed = stream.random(draws) < surface.failing_seeds
        run = np.where(failed, surface.floor, working + surface.seed_spread * luck)
        share = surface.failing_seeds
        validation = np.where(
            diverged, surface.floor, run + self.validation_noise * noise
        )
        fresh = np.where(
            diverged, surface.floor, share * surface.floor + (1 - share) * working
        )
        return float(Ranking(validation).expected(fresh, [effort])[0])

    def delta(
        self, effort: int, baseline: str, challenger: str, *, steps: int = 1000
    ) -> float:
        """Returns the true Delta(k), the challenger's gain at equal effort.

        Args:
            effort: k.
            baseline: An arm's name.
            challenger: An arm's name.
            steps: The training's length.
        """
        return self.expected(effort, challenger, steps=steps) - self.expected(
            effort, baseline, steps=steps
        )

    def _surface(self, name: str) -> Surface:
        if name not in self.surfaces:
            raise ArmError(
                "the truth is known of the arms that have a surface",
                repr(name),
                f"Name it {' or '.join(self.surfaces)}, or add a surface.",
            )
        return self.surfaces[name]

    def _quality(
        self, surface: Surface, positions: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        distance = np.zeros(len(next(iter(positions.values()))))
        for name, best in surface.optimum.items():
            distance += (np.log10(positions[name] / best) / surface.width) ** 2
        return surface.floor + (surface.peak - surface.floor) * np.maximum(
            1 - distance, 0
        )

    def _diverges(
        self, surface: Surface, positions: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        limit = self.space["learning_rate"].value(1 - surface.diverging)
        diverges: np.ndarray = positions["learning_rate"] > float(limit)
        return diverges


@dataclasses.dataclass(frozen=True)
class Checked:
    """What is allowed in an architecture, but might not be meant."""

    notes: tuple[str, ...]
    """One sentence each, of any shape of the inputs."""
    obstacles: Mapping[tuple[tuple[int, ...], int], str]
    """By shape and number of outputs, why runs cannot train in fleets; empty where all
    can."""


def check_architecture(
    architecture: "str | Builder",
    input_shapes: "Sequence[tuple[int, ...] | Inputs]",
    *,
    num_outputs: Sequence[int] = (2, 10),
    options: Mapping[str, Any] | None = None,
    task: Literal["classification", "regression"] = "classification",
    vocabulary: int | None = None,
    examples: int = 48,
) -> Checked:
    """Checks that an architecture can be put on trial, on random inputs.

    At each shape, with each number of outputs and at the ends of each dimension of its
    search space: it is built; its outputs are (batch, num_outputs); the loss is finite
    at the start; a gradient reaches its parameters; equal seeds give equal results;
    evaluation does not depend on the batch's size; it trains for two steps. Whether
    runs of it share a fleet, and take the loop's steps there, is said; it is tried at
    the same ends.

    Args:
        architecture: As an arm of a protocol names it, or a class or function.
        input_shapes: Of one example, without the axis of the batch; or `Inputs`, as of
            a table whose columns are numbers and categories, or of sequences whose
            `lengths` differ.
        num_outputs: Of classes; 1 for regression.
        options: Fixed options.
        task: "classification" or "regression".
        vocabulary: Inputs given as a shape are int64 ids below it; None: float32
            numbers.
        examples: In the training set; a batch has half of them.

    Raises:
        ArmError: Something is wrong; the message names the shape and the line.
        ValueError: The task, a shape, a number of outputs or of examples is none.
    """
    from archtrial.data import Inputs
    from archtrial.space import sample
    from archtrial.training import rehearsal, stacking
    from archtrial.trial.rehearsing import corners, others_of
    from archtrial.zoo import arms

    fewest = {"classification": 2, "regression": 1}
    if task not in fewest:
        raise ValueError(f"a task is one of {', '.join(fewest)}: {task!r}")
    kinds = (tuple, list, Inputs)
    if not input_shapes or not all(isinstance(s, kinds) for s in input_shapes):
        raise ValueError(f"there are input shapes, each a tuple: {input_shapes!r}")
    if not num_outputs or min(num_outputs) < fewest[task]:
        raise ValueError(f"num_outputs of {task} are {fewest[task]} at least")
    if task == "regression" and set(num_outputs) != {1}:
        raise ValueError("a regression has num_outputs=(1,)")
    if examples < 4:
        raise ValueError(f"two batches of two need 4 examples: {examples}")
    for given in input_shapes:
        if isinstance(given, Inputs) and given.lengths is not None:
            shortest, longest = given.lengths
            if not 1 <= shortest <= longest == given.shape[-1]:
                raise ValueError(
                    f"lengths are from 1 to the last of the shape: {given}"
                )
    found = arms.find(architecture, options)
    first = sample(found.space, 0, 0)
    ends = {
        said: values
        for said, values in corners(found.space, first).items()
        if said.partition(" = ")[0] in {"", "dropout", *found.accepts}
    }
    others = others_of(found.space, first)
    notes: dict[str, None] = {}
    obstacles = {}
    known = [
        given if isinstance(given, Inputs) else Inputs.of_shape(given, vocabulary)
        for given in input_shapes
    ]
    for inputs, outputs in itertools.product(known, num_outputs):
        problem = _random_problem(inputs, outputs, task, examples)
        job = functools.partial(_job, found, inputs, outputs)
        where = f"{found.spec} on inputs {inputs.shape} with {outputs} outputs"
        made = {said: job(values) for said, values in ends.items()}
        rehearsed = rehearsal.rehearse(where, problem, made, found.place)
        notes.update(dict.fromkeys(rehearsed.notes))
        why = rehearsed.obstacle
        for said, values in ends.items():
            pair = [job(values), job({**values, **others})]
            why = why or _told(said, stacking.obstacle(problem, pair[0].build, pair))
        if why is not None:
            obstacles[inputs.shape, outputs] = why
    return Checked(tuple(notes), obstacles)


def _told(where: str, obstacle: str | None) -> str | None:
    """Returns why runs share no fleet, with the configuration that it is so of."""
    if obstacle is None or not where:
        return obstacle
    return f"with {where}: {obstacle}"


def _random_problem(
    inputs: "Inputs",
    outputs: int,
    task: Literal["classification", "regression"],
    examples: int,
) -> "Problem":
    from archtrial import metrics
    from archtrial.protocol import Recipe
    from archtrial.training.problem import Problem

    rng = generator(0, "check", *inputs.shape, outputs)
    x: np.ndarray = rng.normal(size=(examples, *inputs.shape)).astype(np.float32)
    if inputs.vocabulary is not None:
        x = rng.integers(0, inputs.vocabulary, (examples, *inputs.shape))
    for column in inputs.columns or ():
        if column.categories is not None:  # one place for each, none for the unseen
            drawn = rng.integers(0, column.categories, examples)
            places = np.eye(column.categories, dtype=np.float32)[:, 1:]
            x[:, column.start : column.start + column.width] = places[drawn]
    if inputs.unequal:
        x = _cut_off(x, inputs, rng)
    y: np.ndarray = np.arange(examples) % outputs
    if task == "regression":
        y = rng.normal(size=examples)
    return Problem(
        x_train=x,
        y_train=y,
        x_validation=x,
        y_validation=y,
        x_test=x,
        task=task,
        num_outputs=outputs,
        metric=metrics.default(task),
        recipe=Recipe(),
        steps=2,
        batch_size=examples // 2,
    )


def _cut_off(x: np.ndarray, inputs: "Inputs", rng: np.random.Generator) -> np.ndarray:
    """Returns sequences that end anywhere from the shortest length to the longest."""
    assert inputs.lengths is not None
    shortest, longest = inputs.lengths
    ends = rng.integers(shortest, longest + 1, len(x))
    ends[:2] = inputs.lengths
    ends = ends.reshape(-1, *[1] * (x.ndim - 1))
    if inputs.vocabulary is not None:
        x = np.maximum(x, min(1, inputs.vocabulary - 1))  # 0 is padding alone
    return np.where(
        np.arange(x.shape[-1]) < ends, x, 0 if x.dtype.kind == "i" else np.nan
    ).astype(x.dtype)


def _job(
    architecture: "Architecture",
    inputs: "Inputs",
    outputs: int,
    values: Mapping[str, Value],
) -> "Job":
    from archtrial.training.problem import Job

    start = seed(0, "check", *inputs.shape, outputs)
    # Dropout that the module has no option for is set in its layers.
    in_layers = {"dropout"} & values.keys() - architecture.accepts
    own = {name: float(values[name]) for name in in_layers}
    build = functools.partial(architecture.build, inputs, outputs, values)
    return Job(build, own, start, start, start)

"""Who trains: our own loop and fleets, the user's function, the user's command.

A trainer divides the runs of a stage into tasks by a fixed rule, and carries a
task out wherever it is sent. All of them are told the same: which arm, which
configuration, which seeds.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import shlex
import string
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import safetensors.torch

from archtrial import randomness
from archtrial import space as spaces
from archtrial.errors import ArmError, ProtocolError
from archtrial.execution import ends_with_us
from archtrial.protocol import HYPERPARAMETERS, Arm, Recipe
from archtrial.records.table import Run
from archtrial.training import fleet, run
from archtrial.zoo.arms import Architecture

__all__ = ["Command", "Finished", "Function", "Item", "Loops", "Trainer"]


@dataclasses.dataclass(frozen=True)
class Item:
    """One run of the plan; the words are those of `records.table.Run`."""

    arm: str
    pair: int
    seed: int
    stage: str
    configuration: Mapping[str, spaces.Value]
    keep_weights: bool = False
    rung: int = 1
    look: int = 1
    tuner: str | None = None

    @property
    def names(self) -> tuple[str | int, ...]:
        """What tells its random numbers from those of all other runs of its arm."""
        beyond = () if self.rung == 1 else (f"{self.rung}x",)
        return (self.pair, self.seed, *beyond, *filter(None, [self.tuner]))


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run with what is sealed, and its weights where they were asked for."""

    run: Run
    sealed: np.ndarray
    """Predictions on the test inputs; of a user's own trainer the test score."""
    weights: bytes | None = None
    """In the safetensors format."""


class Trainer(Protocol):
    """What a study needs of whoever trains; it pickles if there are workers."""

    def divide(self, items: Sequence[Item], /) -> list[tuple[Item, ...]]:
        """Returns the tasks, by a rule that looks at nothing but the items."""

    def __call__(self, task: Sequence[Item], /) -> list[Finished]:
        """Carries out one task."""


@dataclasses.dataclass(frozen=True)
class Loops:
    """archtrial's own training: a fleet where the runs of a task are several.

    Args:
        problem: The data and the recipe, without test labels.
        architectures: By arm.
        input_shape: Of one example.
        study_seed: The protocol's seed.
        stacks: By arm, whether its modules train as a fleet.
        recipes: By arm, in place of the problem's; its length is a factor on the
            problem's steps.
    """

    problem: run.Problem
    architectures: Mapping[str, Architecture]
    input_shape: tuple[int, ...]
    study_seed: int
    stacks: Mapping[str, bool]
    recipes: Mapping[str, Recipe]

    # Large enough that a step's fixed cost is shared, small enough that both
    # cores have work and a kill costs little.
    most_runs = 16

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Runs of one structure share a fleet, in their order, in equal parts.

        Only those of equal length do, and none that tuners chose: which of those are
        planned at once is a matter of what was found.
        """
        alike: dict[str, list[Item]] = {}
        for item in items:
            structure = {
                name: value
                for name, value in item.configuration.items()
                if name not in HYPERPARAMETERS
            }
            name = json.dumps([item.arm, sorted(structure.items())])
            if item.rung > 1:
                name = json.dumps([name, item.rung])
            if not self.stacks[item.arm] or item.tuner is not None:
                name = json.dumps([name, item.tuner, item.pair, item.seed])
            alike.setdefault(name, []).append(item)
        tasks = []
        for group in alike.values():
            parts = math.ceil(len(group) / self.most_runs)
            for part in range(parts):
                start = part * len(group) // parts
                tasks.append(tuple(group[start : (part + 1) * len(group) // parts]))
        return tasks

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Trains the task's runs."""
        jobs = [self._job(item) for item in task]
        problem = self.problem_of(task[0].arm, task[0].rung)
        if len(jobs) == 1:
            outcomes = [run.train(problem, jobs[0])]
        else:
            outcomes = fleet.train(problem, jobs)
        return [
            _finished(item, outcome)
            for item, outcome in zip(task, outcomes, strict=True)
        ]

    def problem_of(self, arm: str, rung: int = 1) -> run.Problem:
        """Returns the problem with an arm's own recipe and the steps of a rung."""
        recipe = self.recipes[arm]
        steps = max(1, round(self.problem.steps * recipe.length)) * rung
        return dataclasses.replace(self.problem, recipe=recipe, steps=steps)

    def rehearsal(self, arm: str, configuration: Mapping[str, spaces.Value]) -> run.Job:
        """Returns a job of a configuration whose seeds no run of the study has."""
        item = Item(arm, pair=0, seed=0, stage="rehearsal", configuration=configuration)
        seed = randomness.seed(self.study_seed, "rehearsal", arm)
        return dataclasses.replace(
            self._job(item), initial_seed=seed, order_seed=seed, noise_seed=seed
        )

    def _job(self, item: Item) -> run.Job:
        architecture = self.architectures[item.arm]
        values = dict(item.configuration)
        hyperparameters = {
            name: float(values.pop(name))
            for name in HYPERPARAMETERS
            if name in values and name not in architecture.accepts
        }
        names = (item.arm, *item.names)
        # The order of batches is the arms' to share: it is part of the pairing.
        # Winners are paired by position, whatever their configurations.
        shared = ("winner", item.seed) if item.stage == "winner" else item.names
        return run.Job(
            build=functools.partial(
                architecture.build, self.input_shape, self.problem.num_outputs, values
            ),
            hyperparameters=hyperparameters,
            initial_seed=randomness.seed(self.study_seed, "initialisation", *names),
            order_seed=randomness.seed(self.study_seed, "order", *shared),
            noise_seed=randomness.seed(self.study_seed, "noise", *names),
            keep_weights=item.keep_weights,
        )


def _finished(item: Item, outcome: run.Outcome) -> Finished:
    return Finished(
        run=Run(
            arm=item.arm,
            pair=item.pair,
            seed=item.seed,
            stage=item.stage,
            rung=item.rung,
            look=item.look,
            tuner=item.tuner,
            configuration=item.configuration,
            validation=outcome.validation,
            diverged=outcome.diverged,
            error=outcome.error,
            flops=outcome.flops,
            parameters=outcome.parameters,
            seconds=outcome.seconds,
            curve=outcome.curve,
        ),
        sealed=outcome.predictions,
        weights=None
        if outcome.weights is None
        else safetensors.torch.save(
            {name: w.contiguous() for name, w in outcome.weights.items()}
        ),
    )


@dataclasses.dataclass(frozen=True)
class Function:
    """The user's own training loop.

    Args:
        function: `f(arm, configuration, seed, steps)`, where `arm` is the
            protocol's `Arm`. It returns a mapping with the scores "validation" and
            "test" (NaN or infinite: the run diverged), and optionally its "cost"
            in a unit of the user's own.
        arms: By name.
        steps: What the protocol declares.
        study_seed: The protocol's seed.
        shares: Whether the metric is one of shares, from 0 to 1.
    """

    function: Callable[[Arm, Mapping[str, spaces.Value], int, int], Mapping[str, float]]
    arms: Mapping[str, Arm]
    steps: int
    study_seed: int
    shares: bool

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Each run is a task."""
        return [(item,) for item in items]

    def __call__(self, task: Sequence[Item]) -> list[Finished]:
        """Calls the user's function; what it raises is recorded with the run."""
        return [self._train(item) for item in task]

    def _train(self, item: Item) -> Finished:
        # Most frameworks take seeds of 31 bits.
        seed = randomness.seed(self.study_seed, "training", item.arm, *item.names) >> 32
        start = time.perf_counter()
        error: str | None = None
        scores: Mapping[str, float] = {}
        try:
            scores = self.function(
                self.arms[item.arm],
                dict(item.configuration),
                seed,
                self.steps * item.rung,
            )
        except MemoryError:
            raise  # what becomes of a run does not depend on what else is running
        except Exception as raised:
            place = traceback.extract_tb(raised.__traceback__)[-1]
            error = (
                f"{type(raised).__name__}: {raised}"
                f" ({place.filename.rpartition('/')[2]}, line {place.lineno})"
            )
        else:
            error = _fault(scores, self.shares)
        if error is not None:
            scores = {"validation": math.nan, "test": math.nan}
        validation, test = float(scores["validation"]), float(scores["test"])
        diverged = not (math.isfinite(validation) and math.isfinite(test))
        return Finished(
            run=Run(
                arm=item.arm,
                pair=item.pair,
                seed=item.seed,
                stage=item.stage,
                rung=item.rung,
                look=item.look,
                tuner=item.tuner,
                configuration=item.configuration,
                validation=math.nan if diverged else validation,
                diverged=diverged,
                error=error,
                flops=float(scores.get("cost", 0.0)),
                seconds=time.perf_counter() - start,
            ),
            sealed=np.array(math.nan if diverged else test),
        )


def _fault(scores: Any, shares: bool) -> str | None:
    """Says what is wrong with a trainer's answer, or None."""
    if not isinstance(scores, Mapping):
        return f"a trainer returns a mapping of scores, not {type(scores).__name__}"
    for name in ("validation", "test"):
        if name not in scores:
            return f"a trainer returns a {name!r} score; it returned {sorted(scores)}"
    for name in sorted(scores.keys() & {"validation", "test", "cost"}):
        value = scores[name]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            return f"a trainer's {name!r} is a number, not {value!r}"
        if name == "cost" and not 0 <= value < math.inf:
            return f"a trainer's cost is finite and not negative, not {value}"
        if name != "cost" and shares and math.isfinite(value) and not 0 <= value <= 1:
            return (
                f"a share lies between 0 and 1, but {name!r} is {value}: not per cent"
            )
    return None


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line that trains one run, as a function for `Function`.

    Args:
        template: The command with names in braces: hyperparameters and options,
            `arm`, `seed` and `steps`. It is run without a shell. The last line of
            its output is a JSON object with the scores "validation" and "test".
        threads: Told to the usual libraries by their environment variables.

    Raises:
        ProtocolError: The template cannot be split or filled in.
    """

    template: str
    threads: int = 1

    def __post_init__(self) -> None:
        with self._explained():
            if not shlex.split(self.template):
                raise ProtocolError("a command has at least one word", "none")
            self.names()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ProtocolError(
                "a command is split into words as a shell would, with names in braces",
                f"{self.template!r}: {error}",
                "Close every quote; write a brace itself as {{ or }}.",
            ) from None

    def names(self) -> set[str]:
        """Returns the names that the template asks for."""
        parsed = string.Formatter().parse(self.template)
        return {name for _, name, _, _ in parsed if name is not None}

    def check(self, known: set[str]) -> None:
        """Raises a ProtocolError where the template asks for a name not in `known`."""
        for name in sorted(self.names() - known):
            raise ProtocolError(
                "a command asks for names that every arm has",
                f"{{{name}}}",
                f"The names are {', '.join(sorted(known))}; declare others in the"
                " search space or as options of the arms.",
            )

    def __call__(
        self,
        arm: Arm,
        configuration: Mapping[str, spaces.Value],
        seed: int,
        steps: int,
    ) -> Mapping[str, float]:
        """Runs the command once and reads the last line of its output."""
        values = {
            **arm.options,
            **configuration,
            "arm": arm.name,
            "seed": seed,
            "steps": steps,
        }
        words = [word.format_map(values) for word in shlex.split(self.template)]
        limits = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
            str(self.threads),
        )
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **limits},
        )
        with ends_with_us(process):
            output, complaints = process.communicate()
        if process.returncode != 0:
            last = (complaints.strip() or "no message").splitlines()[-1]
            raise ArmError(f"the command ended with status {process.returncode}", last)
        lines = output.strip().splitlines() or [""]
        try:
            scores = json.loads(lines[-1])
        except json.JSONDecodeError:
            raise ArmError(
                "the last line of the command's output is a JSON object",
                repr(lines[-1][:200]),
            ) from None
        if not isinstance(scores, dict):
            raise ArmError("the last line is a JSON object", repr(lines[-1][:200]))
        return scores

"""Who trains: the CNN, the fresh FCN, and what goes on from the CNN at a relax time.

That is the CNN itself, kept as it is, and its equivalent. Both go on from the same
weights, on the same batches, for as many steps, at a learning rate of their own.

A training is an `Item`; a task is a fleet of items of one kind and stage. One training
leaves several rows in the records: read at the budget of each relax time, as it was at
its best and as it was in the end.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from archtrial import equivalents, randomness
from archtrial.errors import ArmError, StudyError
from archtrial.experiments.relax import measures
from archtrial.experiments.relax.verdict import CNN_DIVERGED, Kind, arm_of
from archtrial.records.table import Run
from archtrial.training import fleet, run
from archtrial.zoo.arms import Architecture

__all__ = ["DivergedError", "Done", "Item", "Kind", "Trainer"]

# Enough that a step's fixed cost is shared (benchmarks/relax.py: eight are hardly faster
# than four), few enough that all cores have work and a kill costs little.
_MOST_RUNS = 4
# Beyond it a fleet's weights no longer share anything, and only take memory.
_MOST_VALUES = 16_000_000


@dataclasses.dataclass(frozen=True)
class Item:
    """One training."""

    kind: Kind
    rate: int
    """Which of the declared learning rates."""
    seed: int
    """Fresh seeds count from 1; learning rates are tried on 0, -1, -2, ..."""
    relax_time: int | None = None
    """Of what is kept or relaxed: how many steps the CNN had been trained for."""
    cnn_rate: int | None = None
    """Of what is kept or relaxed: which learning rate the CNN had until then."""

    @property
    def stage(self) -> str:
        """One of `records.table.STAGES`."""
        return "confirm" if self.seed > 0 else "search"


@dataclasses.dataclass(frozen=True)
class Done:
    """What a training leaves behind."""

    item: Item
    rows: tuple[tuple[Run, np.ndarray], ...]
    """Each reading with its predictions for the test inputs, which stay sealed."""
    weights: bytes | None = None
    """A CNN's at the steps where they are needed again, in the safetensors format."""


class DivergedError(ArmError):
    """A CNN that had diverged before the step at which it is needed."""


def _diverged(step: int) -> DivergedError:
    return DivergedError(CNN_DIVERGED, f"it diverged before step {step}")


def most_runs(parameters: int) -> int:
    """Returns how many networks of so many parameters may share a fleet."""
    return max(1, min(_MOST_RUNS, _MOST_VALUES // parameters))


def untrained(
    kind: Kind,
    architecture: Architecture,
    input_shape: tuple[int, ...],
    num_outputs: int,
    form: Literal["fcn", "lcn"],
    batch_norm: Literal["per_position", "folded"],
) -> nn.Module:
    """Builds a network, from torch's global generator.

    Args:
        kind: Which one.
        architecture: The CNN.
        input_shape: Of one example.
        num_outputs: Classes, or 1 for regression.
        form: "fcn" or "lcn".
        batch_norm: As `equivalents.equivalent_fcn` has it.
    """
    module = architecture.build(input_shape, num_outputs, {})
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        with torch.no_grad():
            module.eval()(torch.zeros(2, *input_shape))  # makes lazy layers
    module.train()
    if kind in ("cnn", "kept"):
        return module
    # Whether it fits was asked before the first training.
    network = equivalents.mapped(module, input_shape, form, batch_norm, force=True)
    if kind == "fresh":
        equivalents.reset(network)
    return network


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Carries out tasks, wherever it is sent.

    Args:
        problem: The data and the recipe, without test labels; its steps are those that
            follow a relax time, its evaluations those within them.
        architecture: The CNN.
        input_shape: Of one example.
        study_seed: The protocol's seed.
        folder: Of the study; the CNN's weights lie there.
        form: "fcn" or "lcn".
        batch_norm: As `equivalents.equivalent_fcn` has it.
        times: The relax times, ascending.
        learning_rates: What is tried.
        parameters: By kind, of one network.
        stacks: By kind, whether several train as a fleet.
        curvature_examples: As `measures.measure` has it.
    """

    problem: run.Problem
    architecture: Architecture
    input_shape: tuple[int, ...]
    study_seed: int
    folder: Path
    form: Literal["fcn", "lcn"]
    batch_norm: Literal["per_position", "folded"]
    times: tuple[int, ...]
    learning_rates: tuple[float, ...]
    parameters: Mapping[Kind, int]
    stacks: Mapping[Kind, bool]
    curvature_examples: int

    def most_runs(self, kind: Kind) -> int:
        """Returns how many trainings of a kind share a fleet, by their size alone."""
        return most_runs(self.parameters[kind]) if self.stacks[kind] else 1

    def divide(self, items: Sequence[Item]) -> list[tuple[Item, ...]]:
        """Returns the tasks, by a rule that looks at nothing but the items."""
        alike: dict[tuple[Kind, str], list[Item]] = {}
        for item in items:
            alike.setdefault((item.kind, item.stage), []).append(item)
        tasks = []
        for (kind, _), group in alike.items():
            parts = -(-len(group) // self.most_runs(kind))
            for part in range(parts):
                start = part * len(group) // parts
                tasks.append(tuple(group[start : (part + 1) * len(group) // parts]))
        return tasks

    def __call__(self, task: Sequence[Item]) -> list[Done]:
        """Trains the items of one task."""
        problem = self.problem_of(task[0])
        jobs = [self._job(item) for item in task]
        outcomes = (
            [run.train(problem, jobs[0])]
            if len(jobs) == 1
            else fleet.train(problem, jobs)
        )
        return [
            self._done(item, outcome)
            for item, outcome in zip(task, outcomes, strict=True)
        ]

    def problem_of(self, item: Item) -> run.Problem:
        """Returns the problem with the steps of an item, and where it is read."""
        steps = self.problem.steps
        if item.relax_time is not None:
            # Its weights are there already; only what starts afresh is scaled.
            recipe = self.problem.recipe.model_copy(update={"initial_scale": 1.0})
            return dataclasses.replace(self.problem, recipe=recipe, read_at=(steps,))
        total = self.times[-1] + steps
        return dataclasses.replace(
            self.problem,
            steps=total,
            # As densely as what is relaxed.
            evaluations=round(self.problem.evaluations * total / steps),
            read_at=tuple(time + steps for time in self.read_times(item)),
        )

    def read_times(self, item: Item) -> tuple[int, ...]:
        """Returns the relax times at whose budgets an item is read."""
        if item.relax_time is not None:
            return (item.relax_time,)
        # A learning rate is chosen for the longest training.
        return self.times if item.stage == "confirm" else self.times[-1:]

    # What a training begins with.

    def network(self, kind: Kind) -> nn.Module:
        """Builds a network, from torch's global generator."""
        return untrained(
            kind,
            self.architecture,
            self.input_shape,
            self.problem.num_outputs,
            self.form,
            self.batch_norm,
        )

    def kept(self, item: Item) -> nn.Module:
        """Returns the CNN as it was at an item's relax time.

        Raises:
            DivergedError: It had diverged before.
            StudyError: Its weights do not lie in the study's folder any more.
        """
        assert item.relax_time is not None
        assert item.cnn_rate is not None
        cnn = Item("cnn", item.cnn_rate, item.seed)
        return self._cnn(cnn, item.relax_time)

    def relaxed(self, item: Item) -> equivalents.Network:
        """Returns the equivalent of the CNN as it was at an item's relax time.

        Raises:
            DivergedError: The CNN had diverged before.
            StudyError: Its weights do not lie in the study's folder any more, or their
                equivalent computes something else.
        """
        assert item.relax_time is not None
        return self._relaxed(self.kept(item), item.relax_time)

    def trained_on(self, item: Item) -> equivalents.Network:
        """Returns the equivalent of what went on as it was from an item's relax time.

        Its own learning rate was chosen for it, so it is the CNN that a relaxed network
        is compared with.

        Raises:
            DivergedError: It diverged.
            StudyError: As `relaxed` does.
        """
        module = self._cnn(dataclasses.replace(item, kind="kept"), self.problem.steps)
        return self._relaxed(module, self.problem.steps)

    def _relaxed(self, module: nn.Module, step: int) -> equivalents.Network:
        try:
            return self._equivalent(module)
        except equivalents.OverflowingError as error:
            raise _diverged(step) from error
        except ArmError as error:
            # Before the first training it had an equivalent: this is no divergence.
            raise StudyError(error.rule, error.received, error.way_out) from error

    def _cnn(self, item: Item, step: int) -> nn.Module:
        """Returns what an item trains, a CNN or what is kept, as it was after a step."""
        with torch.random.fork_rng(devices=[]):
            # Weights are overwritten; what a module draws besides stays as it began.
            torch.default_generator.manual_seed(self._initial_seed("cnn", item.seed))
            module = self.network("cnn")
        path = self.weights_file(item)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                names = {name: f"{step}/{name}" for name in module.state_dict()}
                if not set(names.values()) <= set(file.keys()):
                    raise _diverged(step)
                module.load_state_dict(
                    {name: file.get_tensor(there) for name, there in names.items()}
                )
        except (OSError, safetensors.SafetensorError) as error:
            # It must not count as a training that failed.
            raise StudyError(
                "the weights of the CNN lie in the study's folder until it is done",
                f"{path}: {error}",
                "Restore them from a copy, or remove the folder and run the protocol"
                " again: the same runs come out.",
            ) from None
        if not all(torch.isfinite(tensor).all() for tensor in module.parameters()):
            raise _diverged(step)
        return module

    def _equivalent(self, module: nn.Module) -> equivalents.Network:
        # Whether it fits was asked before the first training.
        return equivalents.mapped(
            module, self.input_shape, self.form, self.batch_norm, force=True
        )

    def weights_file(self, item: Item) -> Path:
        """Returns where the weights lie that an item leaves: of a CNN, or of a kept one.

        What is kept has one learning rate on fresh seeds, which validation chose.
        """
        if item.kind == "kept":
            which = f"fresh_{item.seed}_from_{item.relax_time}"
        elif item.seed > 0:
            which = f"fresh_{item.seed}_rate_{item.rate}"
        else:
            which = f"search_{-item.seed}_rate_{item.rate}"
        return self.folder / item.kind / f"{which}.safetensors"

    def _initial_seed(self, kind: Kind, seed: int, relax_time: int = 0) -> int:
        return randomness.seed(
            self.study_seed, "initialisation", kind, relax_time, seed
        )

    def _job(self, item: Item) -> run.Job:
        rate = self.learning_rates[item.rate]
        time = item.relax_time or 0
        build: Callable[[], nn.Module]
        if item.kind == "relaxed":
            build = functools.partial(self.relaxed, item)
        elif item.kind == "kept":
            build = functools.partial(self.kept, item)
        else:
            build = functools.partial(self.network, item.kind)
        return run.Job(
            build=build,
            hyperparameters={"learning_rate": rate},
            initial_seed=self._initial_seed(item.kind, item.seed, time),
            # One order for all that shares a seed: it is part of the pairing.
            order_seed=randomness.seed(self.study_seed, "order", item.seed),
            noise_seed=randomness.seed(
                self.study_seed, "noise", item.kind, time, item.seed
            ),
            keep_weights=item.kind == "relaxed" and item.stage == "confirm",
            keep_at=self._needed_at(item),
            skip=time,
        )

    def _needed_at(self, item: Item) -> tuple[int, ...]:
        """Returns the steps at which somebody needs the weights of an item."""
        if item.kind == "cnn":
            return self.times
        if item.kind == "kept" and item.stage == "confirm":
            return (self.problem.steps,)
        return ()

    # What it leaves behind.

    def _done(self, item: Item, outcome: run.Outcome) -> Done:
        weights = None
        if self._needed_at(item):
            weights = safetensors.torch.save(
                {
                    f"{step}/{name}": tensor.contiguous()
                    for step, state in outcome.kept.items()
                    for name, tensor in state.items()
                }
            )
        return Done(item, tuple(self._rows(item, outcome)), weights)

    def _rows(
        self, item: Item, outcome: run.Outcome
    ) -> Iterator[tuple[Run, np.ndarray]]:
        measured = self._measured(item, outcome)
        total = self.problem_of(item).steps
        times = self.read_times(item)
        for time in times:
            budget = self.problem.steps
            if item.relax_time is None:
                budget += time
            whole = time == times[-1]
            for name, reading in self._readings(outcome, budget).items():
                last = name == "last"
                yield (
                    Run(
                        arm=arm_of(self.form, item.kind),
                        coordinates={"relax_time": time},
                        pair=item.rate,
                        seed=item.seed,
                        stage=item.stage,
                        configuration={"learning_rate": self.learning_rates[item.rate]},
                        validation=reading.validation,
                        diverged=reading.step == 0,
                        error=outcome.error,
                        # Of one training, what it cost stands in one row.
                        flops=outcome.flops * budget / total if last else 0.0,
                        parameters=outcome.parameters,
                        seconds=outcome.seconds if last and whole else 0.0,
                        curve=outcome.curve if last and whole else (),
                        reading=name,
                        measures=measured if last else {},
                    ),
                    reading.predictions,
                )

    def _readings(
        self, outcome: run.Outcome, budget: int
    ) -> Mapping[Literal["last", "best"], run.Reading]:
        if outcome.readings:
            return outcome.readings[budget]
        # What raised was never read.
        constant = run.Reading(0, outcome.validation, outcome.predictions)
        return {"last": constant, "best": constant}

    def _measured(self, item: Item, outcome: run.Outcome) -> dict[str, Any]:
        """Measures a relaxed network; nothing where it has diverged."""
        if outcome.weights is None or outcome.diverged:
            return {}
        assert item.relax_time is not None
        start = self.relaxed(item)
        relaxed = copy.deepcopy(start)
        relaxed.load_state_dict(outcome.weights)
        device = self.problem.device
        try:
            cnn = self.trained_on(item).to(device)
        except DivergedError:
            cnn = None
        return measures.measure(
            self.problem,
            start.to(device),
            relaxed.to(device),
            cnn,
            curvature_examples=self.curvature_examples,
            seed=randomness.seed(
                self.study_seed, "curvature", item.relax_time, item.seed
            ),
        )

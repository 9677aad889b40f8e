"""From a declared protocol to what can be carried out.

Here the data are loaded and split, the arms found and rehearsed, and their spaces put
together. What comes out is the *resolved*
protocol, whose hash names the study, and a trainer.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import torch

from archtrial import data, metrics, trainers
from archtrial.errors import ArmError, DataError, ProtocolError
from archtrial.protocol import HYPERPARAMETERS, Arm, OnData, Recipe, describe_space
from archtrial.protocol import Protocol as Declared
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.space import Choice, Space, Value, sample
from archtrial.training import augmentation, fleet, recipe, rehearsal
from archtrial.training.module import dropouts
from archtrial.training.recipe import SEARCHABLE
from archtrial.training.run import Problem
from archtrial.zoo import Kind, entries, sizes
from archtrial.zoo import arms as anybody
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["OwnTrainer", "Trial", "Zoo", "prepare"]

Scores: TypeAlias = dict[str, tuple[float, np.ndarray | None]]
Opened: TypeAlias = tuple[Scores, dict[str, Any]]


class Trial(Protocol):
    """What a study needs to know of those who train."""

    has_defaults: bool
    """Whether an arm can be trained without a configuration."""
    rehearsed: bool
    """Whether every arm was tried before the study; else its first run shows it."""
    arms: tuple[Arm, ...]
    """All that are trained: the protocol's, and a matched baseline where asked for."""

    @property
    def here(self) -> Sequence[str]:
        """What is to be said of this machine, which is no part of the study."""

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1."""

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The resolved protocol, as JSON."""

    @property
    def spaces(self) -> Mapping[str, Space]:
        """By arm, everything that is searched."""

    @property
    def trainer(self) -> trainers.Trainer:
        """Who trains."""

    def open_test(self, store: Store) -> Opened:
        """Returns the test scores of all runs, by key, and what to record with them."""

    def tuned(
        self, arm: Arm, configuration: Mapping[str, Value], chosen: Run
    ) -> dict[str, Any]:
        """Returns what is kept of an arm's tuned configuration and its chosen run."""


def prepare(
    declared: Declared,
    function: Callable[..., Mapping[str, float]] | None = None,
    command: str | None = None,
    patterns: Mapping[str, Any] | None = None,
    *,
    matched_over: int | None = None,
) -> Trial:
    """Makes a trial of a protocol, for our own training or for the user's.

    Args:
        declared: What is compared.
        function: The user's own training loop.
        command: The same as a command line.
        patterns: "validation_regex" and "test_regex", of a command.
        matched_over: Over how many draws the size of a matched baseline is, where
            that is not the number of configurations.
    """
    if function is not None and command is not None:
        raise ProtocolError("a study has one trainer", "a function and a command")
    if command is not None:
        own = trainers.Command(command, declared.threads, **(patterns or {}))
        return OwnTrainer(declared, own)
    if patterns:
        raise ProtocolError(
            "a regular expression finds the scores of a command",
            f"{' and '.join(sorted(patterns))} without a command",
            "Add --command, or leave it out.",
        )
    if function is not None:
        return OwnTrainer(declared, function)
    return Zoo.of(declared, matched_over=matched_over)


@dataclasses.dataclass
class Zoo:
    """A trial of modules, built in or the user's, trained by archtrial."""

    arms: tuple[Arm, ...]
    """The declared ones, and a matched baseline where asked for."""
    architectures: Mapping[str, anybody.Architecture]
    spaces: Mapping[str, Space]
    split: data.Split
    metric: metrics.Metric
    problem: Problem
    trainer: trainers.Loops
    resolved: Mapping[str, Any]

    has_defaults = True
    rehearsed = True

    @classmethod
    def of(cls, declared: Declared, *, matched_over: int | None = None) -> "Zoo":
        """Loads the data, finds the arms, and rehearses each one.

        Args:
            declared: What is compared.
            matched_over: Over how many draws the size of a matched baseline is, where
                that is not the number of configurations.

        Raises:
            UserError: The data or an arm cannot be used; its subclasses say what.
        """
        check_device(declared.device)
        arms = declared.arms
        architectures = {arm.name: _found(arm) for arm in arms}
        name, split, metric = load(declared, architectures)
        metrics.check_margin(declared.margin, metric.bounded)
        spaces, left_out = _put_together(declared, architectures, split)
        matched = None
        if declared.matched_baseline:
            draws = matched_over or declared.configurations
            matched = _match(declared, architectures, spaces, split, draws)
        if matched is not None:
            larger = _widened(declared, matched)
            arms = (*arms, larger)
            architectures[larger.name] = _found(larger)
            spaces[larger.name] = matched.space
        recipes = {arm.name: declared.recipe_of(arm, split.kind) for arm in arms}
        problem = pose(declared, split, metric)
        loops = trainers.Loops(
            problem=problem,
            architectures=architectures,
            input_shape=split.input_shape,
            study_seed=declared.seed,
            stacks=dict.fromkeys(architectures, False),
            recipes=recipes,
            fleets=declared.fleet,
        )
        tried = {arm.name: _try(arm, loops, spaces[arm.name], split) for arm in arms}
        obstacles = {name: why for name, (why, _) in tried.items()}
        stacks = {name: why is None for name, why in obstacles.items()}
        trainer = dataclasses.replace(loops, stacks=stacks)
        resolved: dict[str, Any] = {
            **_settings(declared, spaces),
            "data": describe_data(name, split, declared.scale),
            "task": split.task,
            "metric": metric.name,
            "steps": problem.steps,
            "trainer": "archtrial",
            "notes": [
                *split.notes,
                *_notes_on_parameters(architectures, spaces, split),
                *left_out,
                *_notes_on_design(declared, spaces),
                *_notes_on_recipes(declared, recipes, problem.steps),
                *_notes_on_matching(declared, matched),
                *(note for _, notes in tried.values() for note in notes),
                *(
                    f"{name} trains one run at a time, not in fleets: {why}"
                    for name, why in obstacles.items()
                    if why is not None
                ),
            ],
        }
        described = [resolved["baseline"], *resolved["challengers"]]
        if matched is not None:
            resolved["matched"] = {
                **_described(arms[-1], spaces[arms[-1].name]),
                "role": "matched",
                "matches": matched.challenger,
                "parameters": round(matched.parameters),
                "parameters_of_challenger": round(matched.target),
            }
            described.append(resolved["matched"])
        for arm, own in zip(arms, described, strict=True):
            own["source"] = architectures[arm.name].source
            own["fleet"] = stacks[arm.name]
            if arm.recipe != "plain":
                own["recipe"] = recipes[arm.name].describe()
                own["steps"] = trainer.problem_of(arm.name).steps
        return cls(
            arms, architectures, spaces, split, metric, problem, trainer, resolved
        )

    @property
    def here(self) -> Sequence[str]:
        """Says where inputs lie that are not in memory."""
        return self.split.here

    @property
    def sign(self) -> int:
        """1 where a higher score is better, else -1."""
        return 1 if self.metric.higher_is_better else -1

    def open_test(self, store: Store) -> Opened:
        """Has all stored predictions scored at once, the constant predictor's too."""
        return score(store, self.split, self.metric)

    def tuned(
        self, arm: Arm, configuration: Mapping[str, Value], chosen: Run
    ) -> dict[str, Any]:
        """Returns the configuration and what is needed to build and use its module."""
        architecture = self.architectures[arm.name]
        spec = architecture.lasting_spec
        kept: dict[str, Any] = {"source": architecture.source} if ":" in spec else {}
        preparation = self.split.preparation
        if preparation is not None:
            kept["preparation"] = preparation.to_dict()
            kept["examples"] = preparation.examples
        if self.split.task == "regression":
            # As they are standardised for training.
            targets = self.split.y_train.astype(np.float64)
            kept["center"] = float(targets.mean())
            kept["scale"] = float(targets.std()) or 1.0
        return {
            "architecture": spec,
            "classes": list(self.split.classes) if self.split.classes else None,
            "initial_seed": self.trainer.initial_seed(
                chosen.arm, chosen.pair, chosen.seed
            ),
            **kept,
            "input_shape": list(self.split.input_shape),
            "num_outputs": self.split.num_outputs,
            "options": dict(arm.options),
            "space": describe_space(architecture.space),
            "configuration": dict(configuration),
        }


@prints_to_errors()
def _try(
    arm: Arm, loops: trainers.Loops, space: Space, split: data.Split
) -> tuple[str | None, Sequence[str]]:
    """Says now, and not in the middle of a study, what cannot be trained.

    Returns:
        Why the arm cannot be trained in fleets, None if it can; what was noticed.

    Raises:
        UserError: It cannot be trained at all.
    """
    architecture, kind = loops.architectures[arm.name], cast(Kind, split.kind)
    problem = loops.problem_of(arm.name)
    augmentation.check(problem.recipe.augmentation, kind)
    # Whole numbers stand for names.
    if problem.recipe.augmentation and split.x_train.dtype.kind == "i":
        raise ProtocolError(
            "names, such as token ids, are not augmented",
            f"augmentation = {list(problem.recipe.augmentation)} for {arm.name}",
            "Leave augmentation out, or use --scale if they are amounts.",
        )
    # Any configuration will do. This one hangs on the arm alone, so that what is
    # found out about an arm is the same in every trial.
    first = sample(space, loops.study_seed, 0)
    anybody.check_kind(architecture, kind)
    jobs = {}
    for said, values in corners(space, first).items():
        given = {k: v for k, v in values.items() if k in SEARCHABLE}
        recipe.settled(problem.recipe, _numbers(arm.name, given))
        # What training alone sets changes no module.
        if said.partition(" = ")[0] not in SEARCHABLE:
            jobs[said] = loops.rehearsal(arm.name, values)
    rehearsed = rehearsal.rehearse(architecture.spec, problem, jobs, architecture.place)
    if rehearsed.obstacle is not None:
        return rehearsed.obstacle, rehearsed.notes
    # What differs between the runs of a fleet differs between these two.
    other = {**first, **others_of(space, first)}
    pair = [loops.rehearsal(arm.name, values) for values in (first, other)]
    return fleet.obstacle(problem, pair[0].build, pair), rehearsed.notes


def _notes_on_parameters(
    architectures: Mapping[str, anybody.Architecture],
    spaces: Mapping[str, Space],
    split: data.Split,
) -> Iterator[str]:
    """Yields what was passed to parameters with names of their own."""
    for name, architecture in architectures.items():
        told = architecture.told(
            split.input_shape, split.num_outputs, dict.fromkeys(spaces[name], 0)
        )
        if told:
            said = ", ".join(f"{key} = {value}" for key, value in told.items())
            yield f"{name} is told what the data have: {said}."


def _put_together(
    declared: Declared,
    architectures: Mapping[str, anybody.Architecture],
    split: data.Split,
) -> tuple[dict[str, Space], list[str]]:
    """Joins the shared space with each arm's own.

    Returns:
        What each arm searches; and a sentence for each shared dimension that an
        arm has no use for.

    Raises:
        ArmError: No arm has any use for a shared dimension.
    """
    joined: dict[str, Space] = {}
    unused: dict[str, list[str]] = {}
    for arm in declared.arms:
        architecture = architectures[arm.name]
        shared = {}
        for name, dimension in declared.space.items():
            if _takes(architecture, name, split):
                shared[name] = dimension
            else:
                unused.setdefault(name, []).append(arm.name)
        # What was declared for this arm, for all arms, or for nobody: the nearest.
        nearest = (
            {**shared, **architecture.space}
            if "space" in arm.model_fields_set
            else {**architecture.space, **shared}
        )
        joined[arm.name] = {
            name: dimension
            for name, dimension in nearest.items()
            if name not in arm.options
        }
    for name, arms in unused.items():
        if len(arms) == len(declared.arms):
            raise ArmError(
                "a dimension of the shared search space is one that some arm takes",
                f"{name!r} is neither a hyperparameter of training"
                f" ({', '.join(HYPERPARAMETERS)}) nor an option of any arm",
                "Correct its spelling or remove it from space.",
            )
    return joined, [
        f"{' and '.join(arms)} does not take {name}: it is not searched there."
        for name, arms in unused.items()
    ]


def _match(
    declared: Declared,
    architectures: Mapping[str, anybody.Architecture],
    spaces: Mapping[str, Space],
    split: data.Split,
    draws: int,
) -> sizes.Matched | None:
    """Widens the baseline to the size of the largest challenger, if it is smaller."""
    baseline, *challengers = (
        sizes.Sized(arm.name, architectures[arm.name], spaces[arm.name])
        for arm in declared.arms
    )
    with torch.random.fork_rng(devices=[]):
        return sizes.match(
            baseline,
            challengers,
            split.input_shape,
            split.num_outputs,
            declared.seed,
            draws,
        )


def _widened(declared: Declared, matched: sizes.Matched) -> Arm:
    return declared.baseline.model_copy(
        update={
            "name": declared.matched_name,
            "options": dict(matched.options),
            "space": dict(matched.space),
        }
    )


def _takes(architecture: anybody.Architecture, name: str, split: data.Split) -> bool:
    if name in architecture.accepts or name in set(HYPERPARAMETERS) - {"dropout"}:
        return True
    if name != "dropout":
        return False
    drawn = sample(architecture.space, 0, 0)
    with torch.random.fork_rng(devices=[]):
        module = architecture.build(split.input_shape, split.num_outputs, drawn)
    return bool(dropouts(module))


class OwnTrainer:
    """A trial whose runs the user's own function or command trains."""

    # Only they know what a run is without hyperparameters.
    has_defaults = False
    rehearsed = False
    here = ()

    def __init__(
        self, declared: Declared, function: Callable[..., Mapping[str, float]]
    ) -> None:
        theirs = ["target", "epochs", "batch_size", "recipe", "splits", "device",
                  "fleet", "matched_baseline", "scale", "channels", "decimal", "dates",
                  "categorical", "memory"]  # fmt: skip
        for field in theirs:
            if field in declared.model_fields_set:
                raise ProtocolError(
                    "data, recipe and device are the business of a study's own trainer",
                    f"{field} is declared",
                    f"Remove {field}, and let the trainer see to it.",
                )
        for arm in declared.arms:
            if arm.recipe != "plain":
                raise ProtocolError(
                    "a recipe is the business of a study's own trainer",
                    f"{arm.name} has one of its own",
                    "Give the arm an option, which the trainer is told.",
                )
        if declared.metric is None and isinstance(function, trainers.Command):
            raise ProtocolError(
                "what a command prints has a metric, which says whether more is better",
                "none was declared",
                "Add it: --metric accuracy, or for example --metric log_loss.",
            )
        metric = (
            metrics.default(declared.task or "classification")
            if declared.metric is None
            else metrics.get(declared.metric, declared.task)
        )
        name = metric.name
        metrics.check_margin(declared.margin, metric.bounded)
        self.sign = 1 if metric.higher_is_better else -1
        self.arms = declared.arms
        self.spaces: dict[str, Space] = {
            arm.name: {
                dimension: value
                for dimension, value in {**declared.space, **arm.space}.items()
                if dimension not in arm.options
            }
            for arm in declared.arms
        }
        unnamed: list[str] = []
        patterns: dict[str, str] = {}
        if isinstance(function, trainers.Command):
            function = dataclasses.replace(function, shares=metric.bounded)
            unnamed = self._leave_out(function)
            self._check_told_apart(function)
            if function.validation_regex and function.test_regex:
                patterns = {
                    "validation_regex": function.validation_regex,
                    "test_regex": function.test_regex,
                }
        else:
            searched = {name for space in self.spaces.values() for name in space}
            unnamed = [
                f"The trainer does not look up {name!r}: it is searched, and changes"
                " nothing unless the trainer learns of it elsewhere."
                for name in trainers.never_read(function, searched)
            ]
        steps = declared.length(training_rows=1)
        self.trainer = trainers.Function(
            function,
            arms={arm.name: arm for arm in declared.arms},
            steps=steps,
            study_seed=declared.seed,
            shares=metric.bounded,
        )
        self.resolved: dict[str, Any] = {
            **_settings(declared, self.spaces),
            "data": {"name": declared.data},
            "task": declared.task,
            "metric": name,
            "steps": steps,
            "trainer": function.template
            if isinstance(function, trainers.Command)
            else anybody.source_of(function),
            **patterns,
            "notes": [
                "The scores are those that the study's own trainer returned.",
                *unnamed,
                *_notes_on_design(declared, self.spaces),
            ],
        }

    def _check_told_apart(self, command: trainers.Command) -> None:
        """Raises a ProtocolError where two arms are one and the same command line."""
        told: dict[str, str] = {}
        for arm in self.arms:
            values: dict[str, Any] = {**self.spaces[arm.name], **arm.options}
            values["arm"] = arm.name
            line = repr({name: values.get(name) for name in sorted(command.names())})
            other = told.setdefault(line, arm.name)
            if other != arm.name:
                raise ProtocolError(
                    "a command is told which arm it trains",
                    f"{other} and {arm.name} have the same command line",
                    "Write {arm} where its name is wanted, such as --model {arm}; or"
                    " the name of an option that differs between the arms.",
                )

    def _leave_out(self, command: trainers.Command) -> list[str]:
        """Leaves out of the search what a command is not told; returns what to say."""
        named = command.names()
        notes = []
        unnamed: dict[str, list[str]] = {}
        for arm in self.arms:
            space = self.spaces[arm.name]
            command.check({"arm", "seed", "steps", *arm.options, *space})
            for name in space.keys() - named:
                unnamed.setdefault(name, []).append(arm.name)
            self.spaces[arm.name] = {k: v for k, v in space.items() if k in named}
        for name, arms in sorted(unnamed.items()):
            whose = "" if len(arms) == len(self.arms) else f" of {' and '.join(arms)}"
            notes.append(
                f"The command does not name {{{name}}}: it is not searched{whose}."
            )
        if not any(self.spaces.values()):
            notes.append(
                "The command names nothing that is searched: the configurations of an"
                " arm are the same, and differ by their seeds alone."
            )
        if "seed" not in named:
            notes.append(
                "The command does not name {seed}: its runs are independent only if it"
                " draws seeds of its own."
            )
        return notes

    def open_test(self, store: Store) -> Opened:
        """Uncovers the test scores that the trainer returned with each run."""
        return {key: (float(test), None) for key, test in store.sealed().items()}, {
            "constant": None
        }

    def tuned(
        self, arm: Arm, configuration: Mapping[str, Value], chosen: Run
    ) -> dict[str, Any]:
        """Returns the configuration."""
        return {
            "architecture": str(arm.architecture),
            "options": dict(arm.options),
            "configuration": dict(configuration),
        }


# Of a dimension of numbers no more are tried, the least and the largest among them.
_MOST_VALUES = 5


def corners(space: Space, first: Mapping[str, Value]) -> dict[str, Mapping[str, Value]]:
    """Returns a configuration, and it again with values of one dimension after another.

    By what tells it from the first; those are the ends of a range, all words, and a
    handful of numbers.
    """
    corners: dict[str, Mapping[str, Value]] = {"": first}
    for name, dimension in space.items():
        values: Sequence[Value]
        if not isinstance(dimension, Choice):
            values = (dimension.low, dimension.high)
        elif any(isinstance(option, str) for option in dimension.options):
            values = dimension.options
        else:
            ordered = sorted(dimension.options)
            places = np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST_VALUES))
            values = [ordered[round(place)] for place in places]
        for value in values:
            if value != first[name]:
                corners[f"{name} = {json.dumps(value)}"] = {**first, name: value}
    return corners


def others_of(space: Space, first: Mapping[str, Value]) -> dict[str, Value]:
    """Returns another value of each searched hyperparameter of training."""
    others: dict[str, Value] = {}
    for name in sorted(set(space) & set(HYPERPARAMETERS)):
        dimension = space[name]
        ends = (
            dimension.options
            if isinstance(dimension, Choice)
            else (dimension.low, dimension.high)
        )
        different = [value for value in ends if value != first[name]]
        others[name] = different[-1] if different else first[name]
    return others


def _numbers(arm: str, values: Mapping[str, Value]) -> dict[str, float]:
    for name, value in values.items():
        if isinstance(value, (str, bool)):
            raise ProtocolError(
                f"{name} is a hyperparameter of training, a number",
                f"{value!r} in the search space of {arm}",
            )
    return {name: float(value) for name, value in values.items()}


def _found(arm: Arm) -> anybody.Architecture:
    own_space = arm.space if "space" in arm.model_fields_set else None
    return anybody.find(arm.architecture, arm.options, own_space)


def _notes_on_design(
    declared: Declared, searched: Mapping[str, Space]
) -> Iterator[str]:
    if not declared.unbalanced or not any(searched.values()):
        return
    n = declared.unbalanced[-1]
    below = 1 << (n.bit_length() - 1)
    near = [m for m in (below, 2 * below) if m >= 4 * declared.effort]
    yield (
        f"The configurations are points of a Sobol sequence, which is balanced where"
        f" their number is a power of two: {n} is none,"
        f" {' and '.join(map(str, near))} {'are' if near[1:] else 'is'}."
    )


def _notes_on_recipes(
    declared: Declared, recipes: Mapping[str, Recipe], steps: int
) -> Iterator[str]:
    for arm in declared.arms:
        own = recipes[arm.name]
        changed = {
            name: value
            for name, value in own.model_dump(mode="json").items()
            if getattr(declared.recipe, name) != getattr(own, name)
        }
        if changed:
            said = ", ".join(f"{name} = {json.dumps(v)}" for name, v in changed.items())
            yield f"{arm.name} has a recipe of its own: {said}." + (
                f" It trains for {max(1, round(steps * own.length)):,} steps, and its"
                " cost counts them."
                if "length" in changed
                else ""
            )


def _notes_on_matching(
    declared: Declared, matched: sizes.Matched | None
) -> Iterator[str]:
    if matched is not None:
        yield (
            f"{declared.matched_name} is {declared.baseline.name} with its"
            f" {matched.option} scaled to the size of {matched.challenger}:"
            f" {matched.parameters:,.0f} parameters for {matched.target:,.0f}"
            " (geometric means over what is searched)."
        )
    elif declared.matched_baseline:
        yield (
            f"{declared.baseline.name} has as many parameters as any challenger: there"
            " is no larger one to match."
        )


def load(
    declared: OnData, arms: Mapping[str, anybody.Architecture] | None = None
) -> tuple[str, data.Split, metrics.Metric]:
    """Returns the name of the data, their division, and the metric, checked on them.

    Args:
        declared: The protocol.
        arms: Who is to be trained: modules of the user's get whole numbers that are no
            images as they are. None where the inputs have to be real numbers.
    """
    read = functools.partial(
        data.load,
        declared.data,
        target=declared.target,
        channels=declared.channels,
        decimal=declared.decimal,
        dates=declared.dates,
        categorical=declared.categorical,
        groups=declared.splits.groups,
        memory=declared.memory,
    )
    if declared.metric is None:
        dataset = read(task=declared.task)
    else:
        dataset = _read_for(metrics.get(declared.metric), declared.task, read)
    split = dataset.split(
        declared.splits,
        declared.seed,
        scale=declared.scale is not False,
        names=_are_names(declared, dataset, arms),
    )
    metric = (
        metrics.default(split.task)
        if declared.metric is None
        else metrics.get(declared.metric, split.task)
    )
    split.check(metric)
    return dataset.name, split, metric


def _read_for(
    metric: metrics.Metric, task: str | None, read: Callable[..., data.Dataset]
) -> data.Dataset:
    """Reads data for a declared metric, which is one of classes or of numbers.

    It says which these are where neither the user nor the source of the data does.

    Raises:
        ProtocolError: It is none of the task that was declared, or that the data have.
        DataError: The data cannot be used, or not for it.
    """

    def readable(other: str) -> bool:
        try:
            read(task=other)
        except DataError:
            return False
        return True

    settled = task
    if task is None:
        try:
            found = read(task=None)
        except data.TargetError:
            pass  # as what the metric says it may be read
        else:
            if found.task == metric.task:
                return found
            settled = None if found.task_guessed else found.task
    if settled in (None, metric.task):
        try:
            return read(task=metric.task)
        except data.TargetError as error:
            way_out = error.way_out
            if error.instead:
                beside = "" if task is None else f" with --task {error.instead}"
                way_out = (
                    f"{error.without}, or use another metric: --metric"
                    f" {metrics.default(error.instead).name}{beside}."
                )
            raise DataError(
                f"{error.rule}, and {metric.name} is a metric of {metric.task}",
                error.received,
                way_out,
            ) from None
    assert settled is not None
    ways = {
        settled: f"--metric {' or --metric '.join(metrics.names(settled))}",
        metric.task: f"--task {metric.task}",
    }
    possible = [way for other, way in ways.items() if readable(other)]
    if not possible:
        return read(task=settled)  # which says why
    raise ProtocolError(
        f"{metric.name} is a metric of {metric.task}",
        f"the task is {settled}, "
        + ("as declared" if task else "as the source of the data says"),
        f"Use {', or '.join(possible)}.",
    )


def _are_names(
    declared: OnData,
    dataset: data.Dataset,
    arms: Mapping[str, anybody.Architecture] | None,
) -> bool:
    """Whether whole numbers reach the modules as they are.

    Raises:
        ProtocolError: It cannot be told: some arms are the zoo's, which multiply
            their inputs, and some the user's own.
    """
    if arms is None or not dataset.whole:
        return False
    ours = [name for name, arm in arms.items() if arm.spec in entries()]
    if declared.scale is not None:
        if not declared.scale and ours:
            raise ProtocolError(
                "whole numbers that are not scaled are names, such as token ids, and go"
                " to modules that look them up",
                f"scale = false, and {ours[0]} multiplies its inputs",
                "Use --scale if they are amounts, or a module of your own in its place.",
            )
        return not declared.scale
    if ours and len(ours) < len(arms):
        theirs = next(name for name in arms if name not in ours)
        raise ProtocolError(
            "whole numbers are amounts, which are scaled, or names, such as token ids,"
            " which are looked up",
            f"{ours[0]} needs amounts, and {theirs} may need either, in {dataset.name}",
            "Say which: --scale if they are amounts (in a protocol, scale = true); if"
            f" they are names, take a module of your own in place of {ours[0]}.",
        )
    return not ours


def pose(declared: OnData, split: data.Split, metric: metrics.Metric) -> Problem:
    """Returns what all trainings share, without test labels."""
    return Problem(
        x_train=split.x_train,
        y_train=split.y_train,
        x_validation=split.x_validation,
        y_validation=split.y_validation,
        x_test=split.x_test,
        task=cast(Literal["classification", "regression"], split.task),
        num_outputs=split.num_outputs,
        metric=metric,
        recipe=declared.recipe,
        steps=declared.length(len(split.y_train)),
        batch_size=declared.batch_size,
        device=declared.device,
    )


def describe_data(
    name: str, split: data.Split, scale: bool | None = None
) -> dict[str, Any]:
    """Returns what a resolved protocol says of its data, as JSON.

    What is left out where it is not so came later: other protocols keep their hash.
    """
    beyond: dict[str, Any] = {}
    if scale is False:
        beyond["scale"] = False
    if split.x_train.dtype.kind == "i":
        beyond["inputs"] = "whole numbers"
    if split.copies.exact or split.copies.near:
        found = split.copies
        beyond["copies"] = {"exact": found.exact, "near": found.near, "of": found.of}
    return {
        **beyond,
        "name": name,
        "digest": split.digest,
        "kind": split.kind,
        "input_shape": list(split.input_shape),
        "classes": list(split.classes) if split.classes else None,
        "rows": {
            "training": len(split.y_train),
            "validation": len(split.y_validation),
            "test": split.test_size,
        },
    }


def score(store: Store, split: data.Split, metric: metrics.Metric) -> Opened:
    """Uses the test labels: has all sealed predictions scored at once.

    Returns:
        The test score of each run by its key, with its share by example; and, to be
        recorded with them, the constant predictor's score.
    """
    sealed = store.sealed()
    constant = metric.constant(split.y_train, split.test_size, split.num_outputs)
    keys = sorted(sealed)
    *examples, floor = split.open_test(
        metric, [*(sealed[key] for key in keys), constant]
    )
    scores: Scores = {
        key: (float(np.mean(scored, dtype=np.float64)), scored)
        for key, scored in zip(keys, examples, strict=True)
    }
    return scores, {"constant": float(np.mean(floor, dtype=np.float64))}


def check_device(device: str) -> None:
    """Raises a ProtocolError unless torch can train there."""
    try:
        place = torch.device(device)
        kind = place.type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise ProtocolError("a device is cpu or cuda", repr(device))
    if kind == "cuda" and not torch.cuda.is_available():
        raise ProtocolError(
            "a device is one that torch finds here",
            f"{device!r}, but there is no GPU, or this torch is built without CUDA",
            "Leave device out, or install a torch with CUDA.",
        )
    count = torch.cuda.device_count() if kind == "cuda" else 0
    if kind == "cuda" and (place.index or 0) >= count:
        raise ProtocolError(
            "a device is one that torch finds here",
            f"{device!r}, but there {'is one' if count == 1 else f'are {count}'}: cuda:0"
            + (f" to cuda:{count - 1}" if count > 1 else ""),
            'Leave the number out: device = "cuda".',
        )


def _settings(declared: Declared, searched: Mapping[str, Space]) -> dict[str, Any]:
    """The part of a resolved protocol that the data and the trainer do not change."""
    arms = [_described(arm, searched[arm.name]) for arm in declared.arms]
    for arm in arms if declared.factors else []:
        arm["levels"] = declared.levels[arm["name"]]
    return {
        "archtrial": metadata.version("archtrial"),
        "baseline": arms[0],
        "challengers": arms[1:],
        "recipe": declared.recipe.describe(),
        "splits": declared.splits.model_dump(),
        **{
            name: getattr(declared, name)
            for name in (
                "batch_size", "margin", "alpha", "effort", "configurations",
                "confirm_seeds", "top", "max_multiple", "estimand", "seed", "threads",
                "device",
            )
        },
        **_beyond(declared),
    }  # fmt: skip


def _described(arm: Arm, searched: Space) -> dict[str, Any]:
    return {
        "name": arm.name,
        "architecture": arm.describe()["architecture"],
        "options": dict(arm.options),
        "space": describe_space(searched),
    }


def _beyond(declared: Declared) -> dict[str, Any]:
    """What a study does beyond one search of each arm.

    Left out where nothing is: such a protocol has the hash that it always had. Its
    draws are independent.
    """
    beyond: dict[str, Any] = {}
    if declared.sampling != "random":
        beyond["sampling"] = declared.sampling
    if len(declared.ladder) > 1:
        beyond["ladder"] = list(declared.ladder)
        beyond["ladder_configurations"] = declared.retuned
    if declared.probes:
        beyond["probes"] = declared.probes
    if declared.looks:
        beyond["looks"] = list(declared.looks)
    if declared.deterministic:
        beyond["deterministic"] = list(declared.deterministic)
    if declared.factors:
        beyond["factors"] = {name: list(v) for name, v in declared.factors.items()}
    return beyond

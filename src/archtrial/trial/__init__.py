"""From a declared protocol to what can be carried out.

Here the data are loaded and split, the arms found and rehearsed, and their spaces put
together. What comes out is the *resolved*
protocol, whose hash names the study, and a trainer.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from archtrial import data, metrics, trainers
from archtrial.errors import DataError, ProtocolError
from archtrial.protocol import Arm, OnData, Recipe
from archtrial.protocol import Protocol as Declared
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.space import Space, Value
from archtrial.training.objective import UsersLoss
from archtrial.training.run import Problem
from archtrial.trial import arming, describing, notes
from archtrial.trial.arming import by_kind, check_estimators, put_together, widened
from archtrial.trial.describing import describe_data, network, resolve
from archtrial.trial.rehearsing import (
    check_device,
    check_names,
    pose,
    rehearsed,
    try_estimator,
    try_network,
    try_networks,
)
from archtrial.workflow import Opened
from archtrial.zoo import arms as anybody
from archtrial.zoo import entries, families
from archtrial.zoo.estimators import Estimator
from archtrial.zoo.outside import is_outside
from archtrial.zoo.registry import Names

__all__ = [
    "OwnTrainer",
    "Trial",
    "Zoo",
    "check_device",
    "check_names",
    "describe_data",
    "load",
    "network",
    "pose",
    "prepare",
    "put_together",
    "rehearsed",
    "resolve",
    "score",
    "try_network",
    "try_networks",
]


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
    architectures: Mapping[str, anybody.Architecture | Estimator]
    spaces: Mapping[str, Space]
    split: data.Split
    metric: metrics.Metric
    problem: Problem
    trainer: trainers.Loops | trainers.ByArm
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
        arming.check_factors(declared)
        architectures = {arm.name: arming.found(arm) for arm in arms}
        check_estimators(declared, architectures)
        called, split, metric = load(declared, architectures)
        metrics.check_margin(declared.margin, metric.bounded)
        recipes = {arm.name: declared.recipe_of(arm, split.kind) for arm in arms}
        spaces, left_out = put_together(
            arms,
            declared.space,
            architectures,
            split,
            declared="space" in declared.model_fields_set,
            recipes=recipes,
        )
        matched = None
        if declared.matched_baseline:
            draws = matched_over or declared.configurations
            matched = arming.match(declared, architectures, spaces, split, draws)
        if matched is not None:
            larger = widened(declared, matched)
            arms = (*arms, larger)
            architectures[larger.name] = arming.found(larger)
            spaces[larger.name] = matched.space
            recipes[larger.name] = declared.recipe_of(larger, split.kind)
        own_losses = arming.losses_of(declared, recipes, spaces)
        problem = dataclasses.replace(pose(declared, split, metric), losses=own_losses)
        networks, estimators = by_kind(architectures)
        loops = trainers.Loops(
            problem=problem,
            architectures=networks,
            inputs=data.inputs_of(split),
            study_seed=declared.seed,
            stacks=dict.fromkeys(networks, False),
            recipes=recipes,
            fleets=declared.fleet,
            labels=declared.labels,
        )
        for name in networks:
            minimised = loops.problem_of(name).minimised()
            if isinstance(minimised, UsersLoss):
                minimised.check(str(recipes[name].loss), problem.num_outputs)
        fits = trainers.Fits(
            problem,
            estimators,
            loops.inputs,
            declared.seed,
            declared.threads,
            declared.labels,
        )
        tried = {
            arm.name: try_network(arm, loops, spaces[arm.name], split)
            for arm in arms
            if arm.name in networks
        }
        fitted = {
            arm.name: try_estimator(arm, fits, spaces[arm.name], declared.seed)
            for arm in arms
            if arm.name in estimators
        }
        seedless = [name for name, (random, _) in fitted.items() if not random]
        obstacles = {name: why for name, (why, _) in tried.items()}
        stacks = {name: why is None for name, why in obstacles.items()}
        loops = dataclasses.replace(loops, stacks=stacks)
        trainer = trainers.ByArm(problem, loops, fits) if estimators else loops
        resolved: dict[str, Any] = {
            **describing.settings(declared, spaces),
            "data": describe_data(called, split, declared.scale),
            "task": split.task,
            "metric": metric.name,
            "steps": problem.steps,
            "trainer": "archtrial",
            "notes": [
                *split.notes,
                *notes.on_parameters(networks, spaces, split),
                *notes.on_weights(networks),
                *notes.on_switches(networks, spaces, recipes, split),
                *left_out,
                *notes.on_design(declared, spaces),
                *notes.on_recipes(declared, recipes, problem.steps),
                *notes.on_labels(declared, recipes, problem),
                *notes.on_matching(declared, matched),
                *(note for _, notes in tried.values() for note in notes),
                *(note for _, notes in fitted.values() for note in notes),
                *(
                    f"{name} trains one run at a time, not in fleets: {why}"
                    for name, why in obstacles.items()
                    if why is not None
                ),
                *(
                    f"{name} is fitted by its own loss: {recipes[name].loss} is what"
                    " networks minimise."
                    for name in estimators
                    if recipes[name].loss is not None
                ),
            ],
        }
        if declared.unlabelled is not None:
            resolved["unlabelled"] = describing.unlabelled_of(problem)
        if declared.recipe.loss is not None:
            resolved["loss_source"] = own_losses[declared.recipe.loss].source
        if seedless:
            without = {*declared.deterministic, *seedless}
            resolved["deterministic"] = [
                arm.name for arm in arms if arm.name in without
            ]
        described = [resolved["baseline"], *resolved["challengers"]]
        if matched is not None:
            resolved["matched"] = {
                **describing.described(arms[-1], spaces[arms[-1].name]),
                "role": "matched",
                "matches": matched.challenger,
                "parameters": round(matched.parameters),
                "parameters_of_challenger": round(matched.target),
            }
            described.append(resolved["matched"])
        for arm, own in zip(arms, described, strict=True):
            own["source"] = architectures[arm.name].source
            own["fleet"] = stacks.get(arm.name, False)
            if arm.recipe != "plain":
                own["recipe"] = recipes[arm.name].describe()
                if (loss := recipes[arm.name].loss) is not None:
                    own["loss_source"] = own_losses[loss].source
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
        if isinstance(architecture, Estimator):
            return {
                "architecture": architecture.spec,
                "options": dict(arm.options),
                "configuration": dict(configuration),
                "fit_again": architecture.written(configuration),
            }
        seed = self.trainer.initial_seed(chosen.arm, chosen.pair, chosen.seed)
        return describing.network(architecture, self.split, configuration, seed)


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
                  "categorical", "lengths", "text", "tokens", "max_vocabulary",
                  "max_tokens", "memory", "labels", "unlabelled"]  # fmt: skip
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
            **describing.settings(declared, self.spaces),
            "recipe": Recipe().describe(),  # that of none
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
                *notes.on_design(declared, self.spaces),
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


def load(
    declared: OnData, arms: Mapping[str, anybody.Architecture | Estimator] | None = None
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
        lengths=declared.lengths,
        text=declared.text,
        tokens=declared.tokens,
        max_vocabulary=declared.max_vocabulary,
        max_tokens=declared.max_tokens,
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
    arms: Mapping[str, anybody.Architecture | Estimator] | None,
) -> bool:
    """Whether whole numbers reach the modules as they are.

    Raises:
        ProtocolError: It cannot be told: some arms are the zoo's, which multiply
            their inputs, and some the user's own. Or the data are texts, and an arm
            cannot read them.
    """
    if dataset.text is not None:
        _check_reads_texts(declared, dataset.text.column, arms)
        return True
    if arms is None or not dataset.whole:
        return False
    reads = {name: _reads(arm) for name, arm in arms.items()}
    ours = [name for name, names in reads.items() if names == "never"]
    if declared.scale is not None:
        if not declared.scale and ours:
            raise ProtocolError(
                "whole numbers that are not scaled are names, such as token ids, and go"
                " to modules that look them up",
                f"scale = false, and {ours[0]} multiplies its inputs",
                "Use --scale if they are amounts, or a module of your own in its place.",
            )
        return not declared.scale
    theirs = next((name for name, names in reads.items() if names == "always"), None)
    if theirs is None and not ours:
        raise ProtocolError(
            "whole numbers are amounts, which are scaled, or names, such as token ids,"
            " which are looked up",
            f"{' and '.join(arms)} read either, in {dataset.name}",
            "Say which: --scale if they are amounts (in a protocol, scale = true),"
            " --no-scale if they are names (scale = false).",
        )
    if ours and theirs is not None:
        raise ProtocolError(
            "whole numbers are amounts, which are scaled, or names, such as token ids,"
            " which are looked up",
            f"{ours[0]} needs amounts, and {theirs} may need either, in {dataset.name}",
            "Say which: --scale if they are amounts (in a protocol, scale = true); if"
            f" they are names, take a module of your own in place of {ours[0]}.",
        )
    return not ours


def _check_reads_texts(
    declared: OnData,
    column: str,
    arms: Mapping[str, anybody.Architecture | Estimator] | None,
) -> None:
    """Raises a ProtocolError where the ids of texts would be taken for amounts."""
    if declared.scale:
        raise ProtocolError(
            "the tokens of texts have ids, which are names and not scaled",
            f"scale = true, and the texts of {column}",
            "Leave --scale out.",
        )
    able = [name for name, entry in families().items() if entry.names != "never"]
    ways = f"{', '.join(able)}, or a module of your own that looks ids up"
    if arms is None:
        raise ProtocolError(
            "this kind of study has inputs that are real numbers",
            f"the texts of {column}",
            "Use archtrial run, which compares architectures on texts. Where there are"
            " other columns, leave --text out.",
        )
    unable = [
        name
        for name, arm in arms.items()
        if not isinstance(arm, Estimator) and _reads(arm) == "never"
    ]
    if unable:
        raise ProtocolError(
            "the ids of tokens are looked up, and multiplying them means nothing",
            f"{' and '.join(unable)} multipl{'y' if unable[1:] else 'ies'} inputs, in"
            f" place of looking up the texts of {column}",
            f"Take {ways}; in archtrial run, a baseline that counts words is"
            " sklearn:LogisticRegression.",
        )


def _reads(arm: anybody.Architecture | Estimator) -> Names:
    """Says whether an arm looks whole numbers up; a module of the user's does."""
    if isinstance(arm, Estimator):
        return "never"
    if is_outside(arm.spec):
        return "never"
    return entries()[arm.spec].names if arm.spec in entries() else "always"


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
    scores: dict[str, tuple[float, np.ndarray | None]] = {
        key: (float(np.mean(scored, dtype=np.float64)), scored)
        for key, scored in zip(keys, examples, strict=True)
    }
    return scores, {"constant": float(np.mean(floor, dtype=np.float64))}

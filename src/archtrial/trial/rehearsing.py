"""Every arm tried before the study: at a configuration, and at the ends of its space.

With what is posed to it: the problem that all of its trainings share.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np
import torch

from archtrial import data, metrics, trainers
from archtrial.data.stored import Examples, Followed, Prepared
from archtrial.errors import ProtocolError
from archtrial.protocol import HYPERPARAMETERS, Arm, FewLabels, OnData, Recipe
from archtrial.space import Choice, Space, Value, sample
from archtrial.training import augmentation, recipe, rehearsal, stacking
from archtrial.training.objective import UsersLoss
from archtrial.training.problem import Problem
from archtrial.training.recipe import SEARCHABLE
from archtrial.trial import arming
from archtrial.zoo import Kind
from archtrial.zoo import arms as anybody
from archtrial.zoo.userfile import prints_to_errors

__all__ = [
    "check_device",
    "check_names",
    "corners",
    "others_of",
    "pose",
    "rehearsed",
    "try_estimator",
    "try_network",
    "try_networks",
]


@prints_to_errors()
def try_network(
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
    augmentation.check(problem.recipe.procedure.strong, kind, "procedure.strong")
    check_names(arm.name, problem.recipe, split)
    # Any configuration will do. This one depends on the arm alone, so that what is
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
    return stacking.obstacle(problem, pair[0].build, pair), rehearsed.notes


def try_networks(
    arms: Sequence[Arm],
    loops: trainers.Loops,
    spaces: Mapping[str, Space],
    split: data.Split,
) -> tuple[trainers.Loops, list[str]]:
    """Tries every network as it will be trained.

    Returns:
        Who trains them, in fleets where that is possible; what was noticed, each note once.

    Raises:
        UserError: One cannot be trained at all.
    """
    stacks = dict(loops.stacks)
    notes: dict[str, None] = {}
    for arm in arms:
        obstacle, said = try_network(arm, loops, spaces[arm.name], split)
        stacks[arm.name] = obstacle is None
        notes |= dict.fromkeys(said)
    return dataclasses.replace(loops, stacks=stacks), list(notes)


def check_names(arm: str, recipe: Recipe, split: data.Split) -> None:
    """Raises a ProtocolError where whole numbers, which stand for names, are changed."""
    if split.x_train.dtype.kind != "i":
        return
    procedure = recipe.procedure
    amounts = ", or use --scale if they are amounts" if split.names is None else ""
    if recipe.augmentation:
        raise ProtocolError(
            "names, such as token ids, are not augmented",
            f"augmentation = {list(recipe.augmentation)} for {arm}",
            f"Leave augmentation out{amounts}.",
        )
    if procedure.compares_views:
        raise ProtocolError(
            "names, such as token ids, are not augmented",
            f"the procedure {procedure.kind!r} of {arm}, which compares changed examples",
            f'Take "pseudo_labels", which changes none{amounts}.',
        )


@prints_to_errors()
def try_estimator(
    arm: Arm, fits: trainers.Fits, space: Space, seed: int
) -> tuple[bool, Sequence[str]]:
    """Says now what an estimator cannot be fitted to.

    Returns:
        Whether its seed may make a difference; what was noticed.

    Raises:
        UserError: It cannot be fitted at all.
    """
    fits.check(arm.name)
    configurations = corners(space, sample(space, seed, 0))
    return fits.rehearse(arm.name, configurations)


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


def check_device(device: str) -> None:
    """Raises a ProtocolError unless torch can train there."""
    try:
        place = torch.device(device)
        kind = place.type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda") or (kind == "cpu" and place.index):
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
        names=split.names,
        unlabelled=_without_labels(declared, split),
    )


def _without_labels(declared: OnData, split: data.Split) -> Examples | Followed | None:
    """Returns the inputs that procedures read without labels, (U, ...); None: there are none.

    Raises:
        UserError: So many labels cannot be seen, or more inputs cannot be read.
    """
    if not isinstance(declared, FewLabels):
        return None
    if declared.labels is not None:
        data.check_labels(split, declared.labels)
    if declared.unlabelled is not None:
        more = data.unlabelled(declared.unlabelled, split)
        if isinstance(split.x_train, Prepared):
            return Followed(split.x_train, more)
        return np.concatenate([split.x_train, more])
    return split.x_train if declared.labels is not None else None


def rehearsed(
    declared: OnData, arm: Arm, split: data.Split, metric: metrics.Metric
) -> tuple[trainers.Loops, Sequence[str]]:
    """Returns who trains one arm as a protocol declares it, once it has been tried.

    For experiments whose runs differ in more than arms: each problem has a trainer.

    Args:
        declared: The protocol; what it says of other arms does not matter.
        arm: What is trained; a configuration says no more than training understands.
        split: The data.
        metric: The score.

    Returns:
        The trainer, and what was noticed, a sentence each.

    Raises:
        UserError: It cannot be trained.
    """
    metrics.check_margin(declared.margin, metric.bounded)
    if arm.space or arm.recipe != "plain":
        raise ProtocolError(
            "the network is one architecture with fixed options",
            "a recipe or a search space of its own is declared",
            "Declare the recipe beside it, and leave the space out.",
        )
    check_device(declared.device)
    found = anybody.find(arm.architecture, arm.options, {})
    recipes = {arm.name: declared.recipe}
    own_losses = arming.losses_of(declared, recipes, {arm.name: {}})
    loops = trainers.Loops(
        problem=dataclasses.replace(pose(declared, split, metric), losses=own_losses),
        architectures={arm.name: found},
        inputs=data.inputs_of(split),
        study_seed=declared.seed,
        stacks={arm.name: False},
        recipes=recipes,
    )
    minimised = loops.problem_of(arm.name).minimised()
    if isinstance(minimised, UsersLoss):
        minimised.check(str(declared.recipe.loss), split.num_outputs)
    obstacle, notes = try_network(arm, loops, {}, split)
    return dataclasses.replace(loops, stacks={arm.name: obstacle is None}), notes

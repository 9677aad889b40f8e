"""Every arm tried before the study: at a configuration, and at the ends of its space."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from archtrial import data, trainers
from archtrial.errors import ProtocolError
from archtrial.protocol import HYPERPARAMETERS, Arm
from archtrial.space import Choice, Space, Value, sample
from archtrial.training import augmentation, recipe, rehearsal, stacking
from archtrial.training.recipe import SEARCHABLE
from archtrial.zoo import Kind
from archtrial.zoo import arms as anybody
from archtrial.zoo.userfile import prints_to_errors

__all__ = ["corners", "others_of", "try_estimator", "try_network"]


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
    return stacking.obstacle(problem, pair[0].build, pair), rehearsed.notes


@prints_to_errors()
def try_estimator(
    arm: Arm, fits: trainers.Fits, space: Space, seed: int
) -> tuple[bool, Sequence[str]]:
    """Says now what an estimator cannot be fitted to.

    Returns:
        Whether its seed makes a difference; what was noticed.

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

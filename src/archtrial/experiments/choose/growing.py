"""The arm that was taken, made larger: a study of scale, as far as a time pays for it."""

import math
from pathlib import Path
from typing import Any

from archtrial import data
from archtrial.errors import ProtocolError
from archtrial.experiments import scale
from archtrial.experiments.choose.continuing import SHARED
from archtrial.experiments.choose.protocol import seconds_of
from archtrial.experiments.choose.study import Study
from archtrial.experiments.scale.forms import axes_of
from archtrial.freezing import declared_in
from archtrial.protocol import Arm
from archtrial.statistics.planning import WINNER_SEEDS, plan_runs
from archtrial.words import numbers
from archtrial.zoo import arms
from archtrial.zoo.estimators import is_estimator

__all__ = ["FOLDER", "grown"]

FOLDER = "scale"
"""Where in the folder of a choice its study of scale lies."""

# Points of the grid that differ once they are rounded, about.
_POINTS = 8
# What is tried and counted before the first training, for each form about as long.
_BESIDE = 3.0
# Larger steps than these are no question of a time any more.
_MOST = 6


def grown(choice: Study, time: str) -> scale.Study:
    """Returns the study of scale that begins, or goes on, in the folder of a choice.

    The arm that was taken grows from what it was tuned to; how it trains is searched anew
    for each form. Its rows are divided anew, by the next seed: the choice has looked at
    its test set. phi is as large as the time pays for at the pace that the choice was
    planned with, and declared, so that whoever goes on goes on with it.

    Args:
        choice: One that has been carried out.
        time: Such as "30m".

    Raises:
        ProtocolError: The time is none, or does not pay for phi = 1; or what was taken
            has fewer than two axes.
    """
    seconds = seconds_of(time, "--scale-up")
    folder = Path(choice.folder, FOLDER)
    begun = declared_in(folder, "scale", scale.Protocol)
    if begun is not None:
        return scale.Study(begun, folder)
    document = choice.verdict.to_dict()
    if document["verdict"] == "not_assessable":
        raise ProtocolError(
            "what grows has been trained",
            f"{document['arm']} diverged on all fresh seeds",
            "Leave --scale-up out.",
        )
    taken = next(e for e in document["arms"] if e["name"] == document["arm"])
    arm = next(arm for arm in choice.arms if arm.name == taken["name"])
    if is_estimator(arm.architecture):
        raise ProtocolError(
            "networks have axes of scale",
            f"{arm.name}, which was taken, is an estimator",
            "Leave --scale-up out.",
        )
    shared = {
        name: getattr(choice.protocol, name)
        for name in (*SHARED, "data", "splits", "memory")
        if name in choice.protocol.model_fields_set
    }
    declared = scale.Protocol(
        **shared,
        recipe=choice.protocol.recipe,
        space=choice.protocol.space,
        configurations=choice.protocol.first_look,
        architecture=arm,
        steps=choice.plan.final_steps,
        margin=document["margin"],
        seed=choice.protocol.seed + 1,
    )
    found = arms.find(arm.architecture, arm.options)
    axes = axes_of(declared, found, data.inputs_of(choice.split))
    tuned: dict[str, Any] = {
        option: taken["configuration"][option]
        for option in axes.values()
        if option in taken["configuration"]
    }
    fields = {name: getattr(arm, name) for name in arm.model_fields_set}
    larger = Arm(**{**fields, "name": arm.name, "options": {**arm.options, **tuned}})
    phi = _affordable(choice, declared, len(axes), arm.name, seconds)
    return scale.Study(declared.replace(architecture=larger, phi=phi), folder)


def _affordable(
    choice: Study, declared: scale.Protocol, axes: int, arm: str, seconds: float
) -> int:
    """Returns the largest phi that a time pays for.

    Args:
        choice: Has the pace.
        declared: The study of scale, for phi = 1.
        axes: How many there are.
        arm: What grows.
        seconds: The time.
    """
    planned = plan_runs(
        declared.configurations, declared.effort, arms=1,
        confirm_seeds=declared.confirm_seeds, top=None, winner_seeds=WINNER_SEEDS,
        stratified=True,
    )  # fmt: skip
    each = planned.search + planned.confirm + planned.winner
    form = choice.plan.finals({arm: each})
    grid = form * _POINTS * declared.grid_seeds / each * declared.growth
    forms = axes + 1

    def takes(phi: int) -> float:
        sizes = math.fsum(declared.growth**step for step in range(1, phi + 1))
        beside = _BESIDE * (1 + phi * (axes + _POINTS))
        return beside + grid + form * (1 + forms * sizes)

    if takes(1) > seconds:
        minutes = math.ceil(takes(1) / 60)
        raise ProtocolError(
            f"a time pays for twice the FLOPs along {axes} axes and along all, each form"
            f" with {declared.configurations} configurations",
            f"{numbers.duration(seconds)}, and growing {arm} takes about"
            f" {numbers.duration(takes(1))}",
            f"Write --scale-up {minutes}m.",
        )
    return max(phi for phi in range(1, _MOST + 1) if takes(phi) <= seconds)

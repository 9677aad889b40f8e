"""The resolved protocol, but for what the data and the trainer say."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from archtrial.protocol import Arm, describe_space
from archtrial.protocol import Protocol as Declared
from archtrial.space import Space

__all__ = ["described", "settings"]


def settings(declared: Declared, searched: Mapping[str, Space]) -> dict[str, Any]:
    """Returns what of a resolved protocol neither data nor trainer change."""
    arms = [described(arm, searched[arm.name]) for arm in declared.arms]
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


def described(arm: Arm, searched: Space) -> dict[str, Any]:
    """Returns an arm with all that it searches."""
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

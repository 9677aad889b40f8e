"""What a resolved protocol says of its declaration and its data."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from archtrial import data, metrics
from archtrial.protocol import Arm, OnData, describe_space
from archtrial.protocol import Protocol as Declared
from archtrial.space import Space, Value
from archtrial.training.problem import Problem
from archtrial.zoo import losses
from archtrial.zoo.arms import Architecture

__all__ = [
    "describe_data",
    "described",
    "network",
    "resolve",
    "settings",
    "unlabelled_of",
]


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
    if declared.labels is not None:
        beyond["labels"] = declared.labels
    if declared.factors:
        named = declared.named_factors.items()
        beyond["factors"] = {name: list(levels) for name, levels in named}
    return beyond


def unlabelled_of(problem: Problem) -> dict[str, Any]:
    """Returns what a resolved protocol says of inputs beside those of training rows."""
    assert problem.unlabelled is not None
    more = np.ascontiguousarray(problem.unlabelled[len(problem.y_train) :])
    return {"rows": len(more), "sha256": hashlib.sha256(more.tobytes()).hexdigest()}


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
    if split.lengths is not None:
        beyond["lengths"] = list(split.lengths)
    elif split.preparation is not None and split.preparation.padding == "zeros":
        beyond["lengths"] = "zeros"
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


def resolve(
    declared: OnData, name: str, split: data.Split, metric: metrics.Metric
) -> dict[str, Any]:
    """Returns what the resolved protocol of every experiment has, as JSON.

    An experiment adds its kind as "experiment", all that it declares beside, and to the
    "notes" what else it noticed.

    Args:
        declared: The protocol.
        name: Of the data.
        split: Their division.
        metric: The declared metric, or the default.
    """
    loss = declared.recipe.loss
    return {
        **({} if loss is None else {"loss_source": losses.find(loss).source}),
        "archtrial": metadata.version("archtrial"),
        "data": describe_data(name, split, declared.scale),
        "task": split.task,
        "metric": metric.name,
        "recipe": declared.recipe.describe(),
        "steps": declared.length(len(split.y_train)),
        "splits": declared.splits.model_dump(),
        **{
            field: getattr(declared, field)
            for field in ("batch_size", "margin", "alpha", "seed", "threads", "device")
        },
        "notes": list(split.notes),
    }


def network(
    architecture: Architecture,
    split: data.Split,
    configuration: Mapping[str, Value],
    initial_seed: int,
) -> dict[str, Any]:
    """Returns what a study keeps of a network beside its weights, as JSON.

    With it `tuned.load_tuned` builds the module, and makes its inputs of raw ones.

    Args:
        architecture: What builds it.
        split: The data.
        configuration: The tuned one.
        initial_seed: Of the training whose weights are kept.
    """
    spec = architecture.lasting_spec
    kept: dict[str, Any] = {"source": architecture.source} if ":" in spec else {}
    inputs = data.inputs_of(split)
    ids = inputs.vocabulary is not None
    if architecture.asks_for_inputs or inputs.unequal or ids:
        kept["inputs"] = inputs.to_dict()
    preparation = split.preparation
    if preparation is not None:
        kept["preparation"] = preparation.to_dict()
        kept["examples"] = preparation.examples
    if split.task == "regression":
        # As they are standardised for training.
        targets = split.y_train.astype(np.float64)
        kept["center"] = float(targets.mean())
        kept["scale"] = float(targets.std()) or 1.0
    return {
        "architecture": spec,
        "classes": list(split.classes) if split.classes else None,
        "initial_seed": initial_seed,
        **kept,
        "input_shape": list(split.input_shape),
        "num_outputs": split.num_outputs,
        "options": dict(architecture.options),
        "space": describe_space(architecture.space),
        "configuration": dict(configuration),
    }

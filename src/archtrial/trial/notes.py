"""What is noticed about a trial before anything is trained."""

import json
from collections.abc import Iterator, Mapping

import torch

from archtrial import data
from archtrial.protocol import FewLabels, Recipe
from archtrial.protocol import Protocol as Declared
from archtrial.space import Space, sample
from archtrial.training.module import rates
from archtrial.training.problem import Problem
from archtrial.training.structure import structure
from archtrial.words.phrases import joined
from archtrial.zoo import arms as anybody
from archtrial.zoo import entries, outside, sizes

__all__ = [
    "on_design",
    "on_labels",
    "on_matching",
    "on_parameters",
    "on_recipes",
    "on_switches",
    "on_weights",
]

# Configurations of a space in which a switch may change something.
_LOOKED_AT = 4


def on_parameters(
    architectures: Mapping[str, anybody.Architecture],
    spaces: Mapping[str, Space],
    split: data.Split,
) -> Iterator[str]:
    """Yields what was passed to parameters with names of their own."""
    inputs = data.inputs_of(split)
    for name, architecture in architectures.items():
        told = architecture.told(
            inputs, split.num_outputs, dict.fromkeys(spaces[name], 0)
        )
        told = {key: value for key, value in told.items() if value is not inputs}
        if told:
            said = ", ".join(f"{key} = {value}" for key, value in told.items())
            yield f"{name} is told what the data have: {said}."


def on_weights(architectures: Mapping[str, anybody.Architecture]) -> Iterator[str]:
    """Yields which arms start from weights that were trained before."""
    for name, architecture in architectures.items():
        yield from outside.on_weights(name, architecture.spec, architecture.source)


def on_switches(
    architectures: Mapping[str, anybody.Architecture],
    spaces: Mapping[str, Space],
    recipes: Mapping[str, Recipe],
    split: data.Split,
) -> Iterator[str]:
    """Yields which arms are the same network, though their options differ.

    Some switches need others: of one block in each stage MobileNetV2 adds none to its
    input, and skip=false changes nothing. A verdict would then be about chance alone.
    """
    inputs = data.inputs_of(split)

    def same(one: str, other: str) -> bool:
        for index in range(_LOOKED_AT if spaces[one] else 1):
            values = sample(spaces[one], 0, index)
            found = []
            for name in (one, other):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    module = architectures[name].build(
                        inputs, split.num_outputs, values
                    )
                dropped = [getattr(layer, rate) for layer, rate in rates(module)]
                found.append((structure(module), dropped, module.state_dict()))
            (shape, drops, start), (its_shape, its_drops, its_start) = found
            if shape != its_shape or drops != its_drops:
                return False
            if not all(torch.equal(its_start[key], v) for key, v in start.items()):
                return False
        return True

    names = [name for name, own in architectures.items() if own.spec in entries()]
    for place, other in enumerate(names):
        for one in names[:place]:
            first, second = architectures[one], architectures[other]
            if (
                first.spec == second.spec
                and first.options != second.options
                and spaces[one] == spaces[other]
                and recipes[one] == recipes[other]
                and same(one, other)
            ):
                yield (
                    f"{one} and {other} are the same network on these inputs: the"
                    " options in which they differ change nothing here."
                )


def on_design(declared: Declared, searched: Mapping[str, Space]) -> Iterator[str]:
    """Yields that a number of configurations is not a balanced one."""
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


def on_recipes(
    declared: Declared, recipes: Mapping[str, Recipe], steps: int
) -> Iterator[str]:
    """Yields in what an arm's recipe differs from the protocol's."""
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


def on_labels(
    declared: FewLabels, recipes: Mapping[str, Recipe], problem: Problem
) -> Iterator[str]:
    """Yields what few labels mean for trainings and for their validation set."""
    reading = [name for name, own in recipes.items() if own.procedure.unlabelled]
    rows = len(problem.y_train)
    labels, chosen_by = declared.labels, len(problem.y_validation)
    if labels is not None:
        yield (
            f"Each training sees {labels:,} of {rows:,} labels, each class by its share,"
            " and draws its own, the same for all arms: intervals count which labels are"
            " seen."
        )
        if chosen_by > labels:
            yield (
                f"Configurations are chosen by {chosen_by:,} labels of the validation set,"
                f" more than the {labels:,} that a training sees: with as few labels in"
                " all, nobody could choose as well (Oliver et al. 2018, arXiv 1804.09170,"
                " section 4.6)."
            )
    if problem.unlabelled is not None:
        yield (
            f"{joined(reading)} also read"
            f"{'s' if len(reading) == 1 else ''} {len(problem.unlabelled):,} examples"
            " without labels."
            if reading
            else "No arm reads examples without labels: none has another procedure than"
            " supervised."
        )


def on_matching(declared: Declared, matched: sizes.Matched | None) -> Iterator[str]:
    """Yields what became of a matched baseline."""
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

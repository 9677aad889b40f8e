"""What is noticed about a trial before anything is trained."""

import json
from collections.abc import Iterator, Mapping

from archtrial import data
from archtrial.protocol import Protocol as Declared
from archtrial.protocol import Recipe
from archtrial.space import Space
from archtrial.zoo import arms as anybody
from archtrial.zoo import outside, sizes

__all__ = ["on_design", "on_matching", "on_parameters", "on_recipes", "on_weights"]


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

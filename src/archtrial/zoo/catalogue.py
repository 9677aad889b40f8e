"""The zoo as it is shown: a table of its families, and a page of each name."""

import json
from collections.abc import Iterator
from typing import Any

from archtrial.protocol import describe_space
from archtrial.specs import write_spec, write_value
from archtrial.zoo import outside
from archtrial.zoo.estimators import find as find_estimator
from archtrial.zoo.estimators import is_estimator
from archtrial.zoo.registry import Entry, Family, entries, families, get

__all__ = ["described", "page", "table"]


def described(name: str | None = None) -> dict[str, Any]:
    """Returns all names of the zoo, one of them, or those of a package, as JSON.

    Raises:
        ArmError: The zoo has no such name.
    """
    if name is None:
        return {entry.name: _described(entry) for entry in entries().values()}
    if is_estimator(name):
        found = find_estimator(name, {}, None)
        space = describe_space(found.space) if found.has_row else None
        return {found.spec: {"task": found.task, "space": space}}
    if outside.is_package(name):
        return {f"{name}:{network}": {} for network in outside.names(name)}
    if outside.is_outside(name):
        return {name: outside.described(name)}
    return {name: _described(get(name))}


def _described(entry: Entry) -> dict[str, Any]:
    family = entry.family
    lineage = family.lineage
    size = family.size if entry.variant is None else entry.variant.size
    return {
        "summary": entry.summary,
        "options": entry.options,
        "space": describe_space(entry.space),
        "kinds": list(entry.kinds),
        "family": family.name,
        "variants": list(family.variants),
        "year": lineage and lineage.year,
        "paper": lineage and lineage.paper,
        "new": lineage and lineage.new,
        "took": dict(lineage.took) if lineage else {},
        "recipe": dict(family.recipe),
        "parameters": size and size.parameters,
        "parameters_on": size
        and {
            "input_shape": list(size.shape),
            "num_outputs": size.num_outputs,
        },
    }


def table() -> Iterator[str]:
    """Yields the lines of the family tree, the oldest first."""
    rows = sorted(
        families().values(), key=lambda f: (f.lineage.year if f.lineage else 0, f.name)
    )
    width = max(len(family.name) for family in rows)
    yield f"{'family':{width}}  year  what was new; from whom; variants"
    for family in rows:
        lineage = family.lineage
        year = str(lineage.year) if lineage else ""
        new = lineage.new if lineage else family.summary
        yield f"{family.name:{width}}  {year:4}  {new}"
        after = []
        if lineage is not None:
            after += [whom for whom in lineage.took if whom in families()]
        said = [f"from {', '.join(after)}"] if after else []
        said += [", ".join(family.variants)] if family.variants else []
        if said:
            yield f"{'':{width}}        {'; '.join(said)}"
    yield ""
    yield (
        "archtrial zoo NAME shows one: its paper, its switches and its search space. Any"
        " name and NAME(option=value) can be an arm; so can an estimator of scikit-learn,"
        " such as sklearn:HistGradientBoostingClassifier, and an image classifier of timm"
        " or torchvision, such as timm:resnet18 (archtrial zoo timm lists them). --figure"
        " tree.svg draws the tree."
    )


def _lineage(family: Family) -> Iterator[str]:
    if family.lineage is None:
        return
    yield f"new      {family.lineage.new}"
    for whom, what in family.lineage.took.items():
        yield f"from     {whom}: {what}"


def page(name: str) -> Iterator[str]:
    """Yields the lines of what there is to know of one name.

    Raises:
        ArmError: The zoo has no such name.
    """
    if is_estimator(name):
        yield from _page_of_estimator(name)
        return
    if outside.is_package(name):
        yield from (f"{name}:{network}" for network in outside.names(name))
        return
    if outside.is_outside(name):
        yield from outside.page(name)
        return
    entry = get(name)
    family = entry.family
    yield f"{entry.name:8} {entry.summary}"
    if entry.variant is not None:
        options = dict(entry.variant.options)
        yield f"the same as {write_spec(None, family.name, options)}"
    yield ""
    yield from (f"  {line}".rstrip() for line in family.page.splitlines())
    yield ""
    if family.lineage is not None:
        yield f"paper    {family.lineage.year}: {family.lineage.paper}"
    yield from _lineage(family)
    for option, default in entry.options.items():
        shown = f"{option}={write_value(default)}"
        yield f"option   {shown:18} {entry.values[option]}"
    for variant in family.variants.values():
        yield f"variant  {variant.name:18} {_of_variant(variant.name)}"
    size = family.size if entry.variant is None else entry.variant.size
    if size is not None:
        sides = "x".join(map(str, size.shape))
        yield (
            f"size     {size.parameters:,} parameters on {sides} inputs with"
            f" {size.num_outputs} outputs"
        )
    yield from (f"recipe   {key} = {value}" for key, value in family.recipe.items())
    yield "space    " + json.dumps(describe_space(entry.space))
    yield "inputs   " + ", ".join(entry.kinds)


def _page_of_estimator(name: str) -> Iterator[str]:
    found = find_estimator(name, {}, None)
    yield f"{found.spec}, an estimator of scikit-learn for {found.task}"
    yield f"options  those of {found.module}.{found.name}"
    if found.has_row:
        yield "space    " + json.dumps(describe_space(found.space))
    else:
        yield "space    none here: declare one in a protocol file"


def _of_variant(name: str) -> str:
    entry = get(name)
    size = entry.variant.size if entry.variant is not None else None
    counted = f" ({size.parameters:,} parameters)" if size is not None else ""
    return f"{entry.summary}{counted}"

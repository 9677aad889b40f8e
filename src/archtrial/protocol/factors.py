"""The factors of a trial: the levels of each, and the arms that crossing them makes."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from archtrial import space as spaces
from archtrial import specs
from archtrial.errors import ProtocolError
from archtrial.protocol.arm import (
    LONGEST_NAME,
    Arm,
    as_text,
    check_name,
    check_recipe,
    cut,
    finite,
    parted,
    with_procedure,
)

__all__ = ["RESERVED", "crossed", "levels_of"]

RESERVED = ("architecture", "recipe", "procedure")
"""What a factor may cross beside options of architectures."""


def levels_of(declared: Any) -> dict[str, tuple[spaces.Value, ...]]:
    """Reads the levels of each factor."""
    if not isinstance(declared, Mapping):
        raise ProtocolError(
            "factors are a table of options and their levels",
            repr(declared),
            "Write factors = { residual = [false, true] }.",
        )
    for name, levels in declared.items():
        several = isinstance(levels, (list, tuple)) and len(levels) > 1
        if not several or len({json.dumps(v, default=str) for v in levels}) < len(
            levels
        ):
            raise ProtocolError(
                "a factor has two or more levels, each once, the baseline's first",
                f"{name} = {json.dumps(levels, default=str)}",
                f"Write for example {name} = [false, true].",
            )
        for level in levels:
            if not isinstance(level, (bool, int, float, str)) or not finite(level):
                raise ProtocolError(
                    "a level is a finite number, a text or true or false",
                    f"{name} = {level!r}",
                )
            if name == "recipe":
                check_recipe(level)
            elif name == "procedure":
                check_recipe({"procedure": level})
            elif name == "architecture" and not isinstance(level, str):
                raise ProtocolError(
                    "a level of the factor architecture is written as an arm is,"
                    " [NAME=]SPEC",
                    f"{name} = {level!r}",
                    'Write for example architecture = ["mlp", "cnn"].',
                )
    return {name: tuple(levels) for name, levels in declared.items()}


def crossed(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the baseline with the first level of each factor, and all other arms.

    Raises:
        ProtocolError: Challengers are declared as well, or the baseline, or one of the
            architectures that are crossed, has another level than the first.
    """
    factors: Mapping[str, Sequence[spaces.Value]] = declared["factors"]
    if "challengers" in declared:
        raise ProtocolError(
            "challengers are declared, or follow from factors",
            f"challengers and factors ({', '.join(factors)})",
            "Remove one of the two: a factorial's arms are the baseline's variations.",
        )
    levels = [str(level) for level in factors.get("architecture", ())]
    try:
        baseline = Arm.model_validate(declared.get("baseline", *levels[:1]))
    except pydantic.ValidationError:
        return {"challengers": ()}  # what is wrong with it, its own field says
    bases = {level: Arm.model_validate(level) for level in levels}
    _check_levels(baseline, bases, factors)
    for level in levels[:1]:
        bases[level] = baseline
    every = (
        dict(zip(factors, cell, strict=True))
        for cell in itertools.product(*factors.values())
    )
    arms = [
        _varied(bases.get(str(cell.get("architecture")), baseline), factors, cell)
        for cell in every
    ]
    return {"baseline": arms[0], "challengers": tuple(arms[1:])}


def _check_levels(
    baseline: Arm,
    bases: Mapping[str, Arm],
    factors: Mapping[str, Sequence[spaces.Value]],
) -> None:
    """Raises a ProtocolError where an arm that is crossed has another level than the first.

    Args:
        baseline: As it is declared.
        bases: By level of the factor architecture, the arm that it says.
        factors: All of them.
    """
    rule = "the baseline has the first level of each factor"
    for first, base in list(bases.items())[:1]:
        if (spec := _spec(baseline, factors)) != _spec(base, factors):
            raise ProtocolError(
                rule,
                f"architecture = {spec!r} in the baseline, {first!r} among the levels",
                "Leave the baseline out, or write it as the first level.",
            )
    for whose, base in (("the baseline", baseline), *bases.items()):
        fixed = _fixed(base)
        for name, levels in factors.items():
            own = fixed.get(name, levels[0])
            if name != "architecture" and json.dumps(own) != json.dumps(levels[0]):
                raise ProtocolError(
                    rule
                    if base is baseline
                    else "each architecture has the first level of every other factor",
                    f"{name} = {own!r} in {whose}, {levels[0]!r} among the levels",
                    f"Take {name} out of {whose}, or write its level first.",
                )


def _fixed(arm: Arm) -> dict[str, Any]:
    """Returns an arm's options, with its recipe and its procedure where it has its own."""
    recipe, procedure = parted(arm.recipe)
    own = {} if recipe == "plain" else {"recipe": recipe}
    if procedure is not None:
        own["procedure"] = procedure
    return {**arm.options, **own}


def _spec(arm: Arm, factors: Mapping[str, Any]) -> str:
    """Returns an arm without its name, as a spec writes it; without what is crossed."""
    fixed = sorted(_fixed(arm).items())
    kept = {name: value for name, value in fixed if name not in factors}
    return specs.write_spec(None, str(arm.architecture), kept)


def _varied(
    baseline: Arm,
    factors: Mapping[str, Sequence[spaces.Value]],
    levels: Mapping[str, spaces.Value],
) -> Arm:
    """Returns the arm of one combination, such as "mlp + residual + norm=layer"."""
    parts = [baseline.name]
    for factor, level in levels.items():
        # An architecture's arm is called after it.
        if level == factors[factor][0] or factor == "architecture":
            continue
        if level is True:
            parts.append(factor)
        elif factor in RESERVED:
            parts.append(str(level))
        else:
            parts.append(f"{factor}={as_text(level)}")
    name = " + ".join(parts)
    # A name that leaves no room for the levels is for its author to shorten.
    if len(baseline.name) <= LONGEST_NAME * 2 // 3:
        name = cut(name)
    check_name(name)
    options = {name: levels[name] for name in levels if name not in RESERVED}
    recipe, procedure = parted(baseline.recipe)
    recipe = levels.get("recipe", recipe)
    procedure = levels.get("procedure", procedure)
    changes = {
        "name": name,
        "options": {**baseline.options, **options},
        "recipe": recipe if procedure is None else with_procedure(recipe, procedure),
    }
    return baseline.model_copy(update=changes)

"""The protocol of a trial to go on with: two arms, tuned with equal effort."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archtrial.experiments.choose.protocol import Protocol
from archtrial.protocol import describe_space

__all__ = ["SHARED", "trial_of"]

# What a choice declares of its data and trainings, and a trial does as well.
SHARED = (
    *("target", "task", "scale", "channels", "decimal", "dates", "categorical", "text"),
    *("tokens", "max_vocabulary", "max_tokens", "lengths", "batch_size", "metric"),
    *("alpha", "threads", "device", "effort", "confirm_seeds"),
)


def trial_of(
    declared: Protocol, resolved: Mapping[str, Any], document: Mapping[str, Any]
) -> str:
    """Returns a trial's protocol, in TOML: what was taken, against the nearest other.

    Its rows are divided anew, by another seed: the test set of the choice has been
    looked at.

    Args:
        declared: The choice's protocol.
        resolved: As it was resolved.
        document: What was found.
    """
    arms = {arm["name"]: arm for arm in resolved["arms"]}
    given = {arm.name: arm for arm in declared.arms}
    taken = document["arm"]
    others = [gap["to"] for gap in document["gaps"]]
    if others:
        best = max(document["gaps"], key=lambda gap: float(gap["high"]))
        other = best["to"]
    else:
        sign = 1 if document["metric"]["higher_is_better"] else -1
        left = [arm for arm in document["arms"] if arm["name"] != taken]
        other = max(left, key=lambda arm: sign * arm["search"]["estimate"])["name"]
    # The simpler one is what the other is held against.
    first, second = sorted((taken, other), key=list(arms).index)

    def arm(name: str) -> str:
        spec = arms[name]["architecture"]
        if name in given:
            spec = _anchored(str(given[name].architecture))
        return _inline(
            {
                "name": name,
                "architecture": spec,
                "options": arms[name]["options"],
                # As it was searched, whatever defaults become.
                "space": {
                    n: v
                    for n, v in resolved["plan"]["spaces"][name].items()
                    if n not in declared.space
                },
            }
        )

    place = Path(declared.data)
    data = str(place.resolve()) if place.exists() else declared.data
    lines = [
        f"# Is it the architecture? {first} against {second}, tuned with equal effort.",
        f"# Written by archtrial choose; the rows are divided anew (seed ="
        f" {declared.seed + 1}).",
        f"data = {json.dumps(data)}",
        *(
            f"{name} = {_value(getattr(declared, name))}"
            for name in SHARED
            if name in declared.model_fields_set
        ),
        f"margin = {document['margin']!r}",
        f"steps = {resolved['plan']['final_steps']}",
        f"seed = {declared.seed + 1}",
        f"configurations = {max(32, 4 * declared.effort)}",
        f"baseline = {arm(first)}",
        f"challengers = [{arm(second)}]",
        f"space = {_inline(describe_space(declared.space))}",
        *_tables(declared),
    ]
    return "\n".join(lines) + "\n"


def _tables(declared: Protocol) -> list[str]:
    """Returns the recipe and the splits, where they are no defaults."""
    lines = []
    for name in ("recipe", "splits"):
        if name not in declared.model_fields_set:
            continue
        own = getattr(declared, name)
        lines.append(f"[{name}]")
        for field in sorted(own.model_fields_set):
            value = getattr(own, field)
            if value is not None:
                lines.append(f"{field} = {_value(value)}")
    return lines


def _anchored(spec: str) -> str:
    """Returns a spec whose file is found from any folder."""
    file, colon, member = spec.rpartition(":")
    if not (colon and file.endswith(".py")):
        return spec
    return f"{Path(file).resolve()}:{member}"


def _inline(table: Mapping[str, Any]) -> str:
    told = ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in table.items())
    return f"{{ {told} }}" if told else "{}"


def _value(value: Any) -> str:
    """Returns a value as TOML writes it; JSON's texts and numbers are TOML's."""
    if isinstance(value, Mapping):
        return _inline(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)

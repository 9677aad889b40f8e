"""What a protocol is once its data and its arms are known: its text, hash, differences.

What is hashed is the *resolved* protocol: with each arm's whole space, the source of the
user's modules and a digest of the data, and without any path.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["asked", "canonical", "differences", "digest", "digest_before"]


def canonical(resolved: Mapping[str, Any]) -> str:
    """Returns the one JSON text of a resolved protocol."""
    return json.dumps(resolved, sort_keys=True, ensure_ascii=False, allow_nan=False)


def asked(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what of a resolved protocol its results are asked of.

    How and where it is carried out is recorded beside it: what was noticed on the way
    ("notes"), whether the runs of an arm share fleets on this machine, which of its
    GPUs trains.
    """
    found = {
        name: _without_fleet(value)
        for name, value in resolved.items()
        if name not in ("notes", "fleets")
    }
    if isinstance(found.get("device"), str):
        found["device"] = found["device"].partition(":")[0]
    return found


def _without_fleet(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: inner for name, inner in value.items() if name != "fleet"}
    if isinstance(value, list):
        return [_without_fleet(inner) for inner in value]
    return value


def digest(resolved: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of what a resolved protocol asks, in hexadecimal."""
    return hashlib.sha256(canonical(asked(resolved)).encode()).hexdigest()


def digest_before(resolved: Mapping[str, Any]) -> str:
    """Returns the same as releases up to 0.2 had it, with whether runs share fleets."""
    declared = {name: value for name, value in resolved.items() if name != "notes"}
    return hashlib.sha256(canonical(declared).encode()).hexdigest()


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yields (key, old value, new value) wherever two resolved protocols differ."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted(before.keys() | after.keys()):
        one, other = before.get(key, "(absent)"), after.get(key, "(absent)")
        if one != other:
            yield key, _short(one), _short(other)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for inner in value:
            label = inner.get("name", value.index(inner))
            yield from _leaves(inner, f"{path}[{label}]")
    else:
        yield path, value


def _short(value: Any) -> str:
    text = value if value == "(absent)" else json.dumps(value, ensure_ascii=False)
    if len(text) <= 60:
        return text
    closing = '"' if text.startswith('"') else ""
    return f"{text[:40]}...{closing} ({len(text)} characters)"

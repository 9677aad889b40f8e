"""What speaks against a comparison before any test, or may undo it after longer training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial import searches, statistics
from archtrial.records.table import Run
from archtrial.statistics import soundness
from archtrial.statistics.learning import Rise

__all__ = [
    "longest_rung",
    "nothing_known",
    "rises_of",
    "train_longer",
    "unfinished_arms",
    "unsound_by",
]


def nothing_known(
    runs: Sequence[Run], arms: Sequence[str], constant: float | None
) -> list[str]:
    """Says of which arms no run has a score, where none can be put in its place."""
    if constant is not None:
        return []
    return [
        f"no run of {arm} has a score, and nobody knows what a failure is worth"
        for arm in arms
        if not any(
            math.isfinite(run.validation) for run in searches.trials(runs, arm).values()
        )
    ]


def unsound_by(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    constant: float | None,
    sign: int,
) -> dict[str, list[str]]:
    """Says of each challenger why nothing can be told of it and the baseline."""
    first = protocol["baseline"]["name"]
    names = [first, *(arm["name"] for arm in protocol["challengers"])]
    without_seeds = protocol.get("deterministic", ())
    dead = {
        name: searches.dead(runs, name, deterministic=name in without_seeds)
        for name in names
    }
    found = {}
    for name in names[1:]:
        clauses = [dead[arm] for arm in (first, name) if dead[arm]]
        if not clauses:
            clauses = _unlearned(runs, protocol, (first, name), constant, sign)
        found[name] = clauses
    return found


def _unlearned(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    pair: tuple[str, str],
    constant: float | None,
    sign: int,
) -> list[str]:
    """Says which of two arms has not left the constant predictor behind.

    At the longest training that was tried: where that is longer than the declared
    one, an arm that learned there has shown that it can.
    """
    if constant is None:
        return []
    level, margin = sign * constant, protocol["margin"]
    rises = rises_of(runs, protocol, sign)
    clauses = []
    for arm, other in (pair, pair[::-1]):
        rung = max(run.rung for run in runs if run.arm == arm)
        own, theirs = (
            searches.tuned(runs, name, sign, level, rung) for name in (arm, other)
        )
        if own is None:
            continue
        clear = soundness.clear_of(level, own, margin=margin, alpha=protocol["alpha"])
        rise = rises.get(arm)
        begun = clear and not (
            theirs is not None
            and soundness.little_learned(level, own.mean, theirs.mean)
            and rise is not None
            and math.isinf(rise.further(0.0))
            and rung == 1
        )
        if not begun:
            is_not = "had only begun to learn" if clear else "had learned nothing"
            clauses.append(
                f"{arm} {is_not}: its tuned {protocol['metric'].replace('_', ' ')} is"
                f" {sign * own.mean:.4g}, and answering always the same scores"
                f" {constant:.4g}. {train_longer(protocol, rung)}"
            )
    return ["; and ".join(clauses).rstrip(".")] if clauses else []


def train_longer(protocol: Mapping[str, Any], rung: int = 1) -> str:
    """Returns what to type to see whether longer training makes up for a gap."""
    if protocol.get("trainer") is None:
        return "Train it longer, or tune it further"
    least = max(8, 4 * protocol["effort"])
    more = f" --configurations {least}" if protocol["configurations"] < least else ""
    rungs = "1,4" if rung == 1 else f"1,{4 * rung}"
    return (
        f"To see whether longer training settles it: --ladder {rungs}{more}, with the"
        " same command and another --study"
    )


def rises_of(
    runs: Sequence[Run], protocol: Mapping[str, Any], sign: int
) -> dict[str, Rise]:
    """Returns, by arm, how it was learning, where curves and schedule are known."""
    found = {}
    for arm in (protocol["baseline"], *protocol["challengers"]):
        recipe = arm.get("recipe", protocol.get("recipe"))
        rise = searches.learned(runs, arm["name"], sign, recipe)
        if rise is not None:
            found[arm["name"]] = rise
    return found


def unfinished_arms(
    found: statistics.Comparison, rises: Mapping[str, Rise]
) -> list[str]:
    """Returns the arms whose longer training may turn a verdict.

    The arm behind could make up for the gap, if its curve goes on as it rose before
    the learning rate fell; or, where none is ahead, one of them has hardly begun. A
    ladder answers that better than any curve, unless it leaves it open.
    """
    if found.effect is None:
        return []
    if found.ladder is not None and found.ladder["reaches"] != "unknown":
        return []
    if found.verdict in ("architecture", "baseline", "tuning"):
        gap = abs(found.effect.estimate) - found.margin
        behind = [found.baseline if found.effect.estimate > 0 else found.challenger]
    elif found.verdict in ("equivalent", "inconclusive"):
        gap, behind = math.inf, [found.baseline, found.challenger]
    else:
        return []
    return [
        arm
        for arm in behind
        if arm in rises and rises[arm].further(found.margin) >= gap
    ]


def longest_rung(found: statistics.Comparison) -> int:
    """Returns the longest training that was tried."""
    return 1 if found.ladder is None else int(found.ladder["longest"])

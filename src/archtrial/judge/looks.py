"""What was known at each look, what was found there, and what followed from it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial import findings, searches, statistics
from archtrial.freezing import looks_of
from archtrial.judge.comparing import compare_arms, metric_of
from archtrial.records.table import Run
from archtrial.statistics.intervals import normal

__all__ = [
    "Looked",
    "all_looks",
    "at_look",
    "decisions",
    "growth_warning",
    "said_at",
    "shortest_look",
]


# Looks.


def at_look(
    runs: Sequence[Run], protocol: Mapping[str, Any], look: int
) -> tuple[list[Run], dict[str, Any]]:
    """Returns what was known at a look, and the protocol as it stood there.

    Args:
        runs: All runs of the study. Which challengers still were in the trial is read
            off them: those that were searched at this look, or later.
        protocol: The resolved protocol, with its looks or those before it grew.
        look: Counted from 1.

    Returns:
        The runs of the baseline and of these challengers that were planned at this
        look or before; and the protocol with these challengers and this look's
        number of configurations.
    """
    until = _last_looks(runs, protocol)
    still = [arm for arm in protocol["challengers"] if until[arm["name"]] >= look]
    gone = {arm["name"] for arm in protocol["challengers"]} - {a["name"] for a in still}
    known = [run for run in runs if run.look <= look and run.arm not in gone]
    return known, {
        **protocol,
        "challengers": still,
        "configurations": looks_of(protocol)[look - 1],
    }


def _last_looks(runs: Sequence[Run], protocol: Mapping[str, Any]) -> dict[str, int]:
    """Returns, by challenger, the last look that it can be compared at."""
    last: dict[str, int] = {}
    for run in runs:
        if run.stage == "search":
            last[run.arm] = max(run.look, last.get(run.arm, 1))
    most = last[protocol["baseline"]["name"]]
    return {
        arm["name"]: min(last[arm["name"]], most) for arm in protocol["challengers"]
    }


def shortest_look(runs: Sequence[Run], protocol: Mapping[str, Any]) -> int:
    """Returns the look at which the first challenger stopped."""
    return min(_last_looks(runs, protocol).values())


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was found at one look, and what followed from it."""

    look: statistics.Look
    found: Sequence[statistics.Comparison]
    """At the look's own level."""
    decisions: Mapping[str, statistics.Decision] | None
    """None where nothing followed: whoever let the study grow decided."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the look as the verdict's document has it."""
        found: dict[str, str] = {each.challenger: each.verdict for each in self.found}
        described = {
            "configurations": self.look.configurations,
            # 0 where the look is for futility only.
            "alpha": self.look.level or 0.0,
        }
        if self.decisions is None:
            return {**described, "verdicts": found}
        return {
            **described,
            "decisions": {
                name: f"claim: {found[name]}" if decision == "claim" else decision
                for name, decision in self.decisions.items()
            },
        }


def decisions(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    look: int,
    constant: float | None,
) -> Mapping[str, statistics.Decision]:
    """Returns, for each challenger still in the trial, what follows from a look.

    Args:
        runs: All runs so far, with test scores.
        protocol: The resolved protocol, with its looks.
        look: Counted from 1; a challenger goes on after the last one, too, where
            nothing was settled.
        constant: The constant predictor's test score; None where nobody knows it.
    """
    runs = searches.condensed(runs)
    margin = settled_margin(runs, protocol, constant)
    found = _look(runs, {**protocol, "margin": margin}, look, constant).decisions
    assert found is not None  # looks that are declared have some
    return found


def settled_margin(
    runs: Sequence[Run], protocol: Mapping[str, Any], constant: float | None
) -> float:
    """Returns the margin: the declared one, or that of the first look's runs."""
    margin: float | None = protocol["margin"]
    if margin is not None:
        return margin
    # Every look has the margin of the first.
    seen = at_look(runs, protocol, 1)[0] if len(looks_of(protocol)) > 1 else runs
    return searches.default_margin(seen, metric_of(protocol), constant)


def all_looks(
    runs: Sequence[Run], protocol: Mapping[str, Any], constant: float | None
) -> list[Looked]:
    """Returns what was found at every look that the runs reach."""
    last = max(_last_looks(runs, protocol).values())
    return [_look(runs, protocol, look, constant) for look in range(1, last + 1)]


def _look(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    number: int,
    constant: float | None,
) -> Looked:
    known, then = at_look(runs, protocol, number)
    challengers = len(protocol["challengers"])
    if "grown" in protocol:
        look = statistics.grown_looks(
            looks_of(protocol), alpha=protocol["alpha"], challengers=challengers
        )[number - 1]
        found = compare_arms(
            known,
            {**then, "alpha": look.level},
            constant=constant,
            permutations=max(look.permutations or 0, 9999),
        ).comparisons
        return Looked(look, found, None)
    looks = statistics.declare_looks(
        protocol["looks"],
        configurations=protocol["configurations"],
        effort=protocol["effort"],
        alpha=protocol["alpha"],
        challengers=challengers,
    )
    look = looks[number - 1]
    # Each challenger has its part of every level, also when others have stopped.
    part = len(then["challengers"]) / challengers
    level = look.level
    if level is None:
        # Nothing is claimed at a look for futility; what it finds is said with all
        # that no look before it has spent.
        spent = sum(other.level or 0.0 for other in looks[:number])
        level = sum(statistics.spend(protocol["looks"], protocol["alpha"])[:number])
        level = max(level - spent, 1e-6)
    found = compare_arms(
        known,
        {**then, "alpha": level * part},
        constant=constant,
        permutations=max(look.permutations or 0, 9999),
    ).comparisons
    whole = compare_arms(
        known,
        {**then, "alpha": protocol["alpha"] * part},
        constant=constant,
        permutations=99,
        elsewhere=False,
    ).comparisons
    return Looked(
        look,
        found,
        {
            each.challenger: _decide(
                each, wide, look, looks[-1], protocol["alpha"] / challengers
            )
            for each, wide in zip(found, whole, strict=True)
        },
    )


def _decide(
    found: statistics.Comparison,
    whole: statistics.Comparison,
    look: statistics.Look,
    last: statistics.Look,
    level: float,
) -> statistics.Decision:
    """Decides on a challenger by what was found at the look's and at the full level."""
    if whole.effect is None or whole.standard_error is None:
        return "go on"
    critical = float(normal(level))
    return statistics.decide_look(
        None if look.level is None else found.verdict,
        whole.effect,
        whole.standard_error,
        look,
        last,
        effort=whole.effort,
        margin=whole.margin,
        test_variance=((whole.test_set_floor or 0.0) / critical) ** 2,
    )


def said_at(looked: Looked) -> str:
    """Says what was found at a look, of several challengers at once."""
    verdicts = [each.verdict for each in looked.found]
    return " and ".join(dict.fromkeys(verdicts))


def growth_warning(
    found: statistics.Comparison,
    protocol: Mapping[str, Any],
    looked: Sequence[Looked],
) -> list[str]:
    """Returns a warning of the looks that were made before, where a study grew."""
    if "grown" not in protocol:
        return []
    before = [
        each.verdict
        for look in looked[:-1]
        for each in look.found
        if each.challenger == found.challenger
    ]
    return [findings.grew(protocol, before)]

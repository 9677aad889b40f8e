"""From runs to comparisons: the arrays that the statistics take, and the terms."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial import findings, metrics, searches, statistics
from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.judge.objections import nothing_known, unsound_by
from archtrial.records.table import Run
from archtrial.statistics import soundness
from archtrial.statistics.verdict import Copies
from archtrial.words import verdict as words

__all__ = ["Score", "compare_arms", "metric_of", "space_of"]


# Searches larger than this are judged as a whole alone: half a space of so many
# trials sees what nobody doubts, and takes minutes.
MANY = 4096


@dataclasses.dataclass(frozen=True)
class Score:
    """What the scores of a table are, where all that is known is their direction."""

    name: str
    higher_is_better: bool = True
    task: str | None = None
    bounded: bool = False
    """Whether all scores are fractions."""

    @property
    def best(self) -> float:
        """The best score there can be."""
        if self.bounded:
            return 1.0 if self.higher_is_better else 0.0
        return math.inf if self.higher_is_better else -math.inf


@dataclasses.dataclass(frozen=True)
class Compared:
    """What runs say: the arrays that the statistics take, and what these make of it."""

    arrays: Sequence[statistics.Search]
    edges: Mapping[str, Mapping[str, str]]
    estimand: statistics.Estimand
    comparisons: Sequence[statistics.Comparison]
    notes: Sequence[str]
    crowded: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """By arm, the edges at which its best configurations pile up, a clause each, where
    nobody declared a space: they are only those of what was tried."""


def compare_arms(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    *,
    constant: float | None,
    paired: bool = True,
    comparing: bool = True,
    permutations: int = 9999,
    elsewhere: bool = True,
) -> Compared:
    """Compares the arms of a protocol whose margin is known.

    Args:
        runs: Theirs.
        protocol: The resolved protocol.
        constant: The constant predictor's test score, if it is known.
        paired: Whether equal pairs mean equal draws.
        comparing: Whether the comparisons themselves are wanted.
        permutations: Of the gate, at least.
        elsewhere: Whether other parts of the space are looked at, too.
    """
    metric = metric_of(protocol)
    sign = 1 if metric.higher_is_better else -1
    arms = [protocol["baseline"], *protocol["challengers"]]
    # Where nobody knows the constant predictor's score, the lowest of the search.
    worst = searches.lowest(runs, sign) if constant is None else sign * constant
    declared = {arm["name"]: space_of(arm) for arm in arms}
    arrays = [
        searches.search(runs, name, sign, worst, space, stratified=stratified(protocol))
        for name, space in declared.items()
    ]
    effort = protocol["effort"]
    if effort < 1:
        raise ProtocolError("effort is at least 1", f"effort = {effort}")
    edges = searches.edges_reached(runs, declared, sign, effort)
    notes = []
    estimand, allowed = protocol["estimand"], [s.readings(effort) for s in arrays]
    if not all(estimand in readings for readings in allowed):
        estimand = "run" if estimand == "configuration" else "configuration"
        notes.append(
            f"The records allow the reading by {estimand} alone at effort {effort}: not"
            " every configuration that carries weight has the scores of the other."
        )
    if not comparing:
        return Compared(arrays, edges, estimand, [], notes)
    crowded = {
        arm: [
            f"the best configurations of {arm} pile up at the {side} end of {name}"
            for name, side in found.items()
        ]
        for arm, found in edges.items()
    }
    # Where nobody declared a space, its edges are only those of what was tried.
    inferred = protocol.get("spaces_inferred", False)
    comparisons = statistics.compare(
        arrays[0],
        arrays[1:],
        effort=effort,
        margin=protocol["margin"],
        alpha=protocol["alpha"],
        max_multiple=protocol["max_multiple"],
        estimand=estimand,
        paired=paired,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        fraction=bool(metric.bounded),
        scored_on="test" if searches.tested(runs) else "validation",
        seed=protocol["seed"],
        permutations=permutations,
        unsound=[
            *nothing_known(runs, list(declared), constant),
            *([] if inferred else (c for each in crowded.values() for c in each)),
        ],
        unsound_by=unsound_by(runs, protocol, constant, sign),
        copies=_copies(runs, protocol, sign, worst, bool(metric.bounded)),
        published=protocol.get("published"),
        test_size=protocol.get("test_size"),
        elsewhere=elsewhere and any(declared.values()) and arrays[0].n <= MANY,
        matched=_matched(runs, protocol, sign, worst),
        options=findings.options(declared),
    )
    return Compared(
        arrays, edges, estimand, comparisons, notes, crowded if inferred else {}
    )


def stratified(protocol: Mapping[str, Any]) -> bool:
    """Says whether a study's configurations fill the space evenly (`space.Design`).

    Tables and older studies say nothing of their draws; where nothing is searched there
    are seeds alone.
    """
    searched = any(
        space_of(arm) for arm in (protocol["baseline"], *protocol["challengers"])
    )
    return searched and protocol.get("sampling") == "sobol"


def space_of(arm: Mapping[str, Any]) -> dict[str, spaces.Dimension]:
    """Returns what an arm of a resolved protocol searches."""
    return {name: spaces.parse(name, found) for name, found in arm["space"].items()}


def _copies(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    sign: int,
    worst: float,
    fraction: bool,
) -> Copies | None:
    """Returns how many test examples were trained on; None where none is known."""
    known = protocol["data"].get("copies")
    count = known["exact"] + known["near"] if known else 0
    if not count:
        return None
    moves = {}
    first = searches.tuned(runs, protocol["baseline"]["name"], sign, worst)
    for arm in protocol["challengers"]:
        own = searches.tuned(runs, arm["name"], sign, worst)
        gains = None
        if own is not None and first is not None:
            both = own.examples, first.examples
            gains = None if both[0] is None or both[1] is None else both[0] - both[1]
        moves[arm["name"]] = soundness.copies_move(
            count, known["of"], gains, fraction=fraction
        )
    copies = Copies(count, known["of"], moves)
    metric = metric_of(protocol)
    reasons = {name: words.copied(copies, name, metric) for name in moves}
    return dataclasses.replace(copies, reasons=reasons)


def _matched(
    runs: Sequence[Run], protocol: Mapping[str, Any], sign: int, worst: float
) -> dict[str, statistics.Search]:
    """Returns, by challenger, the baseline that was made as large as it."""
    larger = protocol.get("matched")
    if larger is None:
        return {}
    space = {n: spaces.parse(n, d) for n, d in larger["space"].items()}
    found = searches.search(
        runs, larger["name"], sign, worst, space, stratified=stratified(protocol)
    )
    return {larger["matches"]: found}


def metric_of(protocol: Mapping[str, Any]) -> Any:
    """Returns the metric, or what is known of a table's score."""
    if protocol["metric"] in metrics.names():
        return metrics.get(protocol["metric"])
    return Score(
        protocol["metric"], protocol["higher_is_better"], bounded=protocol["fractions"]
    )

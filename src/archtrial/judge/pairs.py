"""Pairs of searches compared as the arms of trials, at a level that all of them share."""

from collections.abc import Mapping, Sequence
from typing import Any

from archtrial import searches
from archtrial.judge.comparing import compare_arms
from archtrial.judge.experiment import Records
from archtrial.judge.objections import rises_of, unfinished_arms
from archtrial.records.table import Run

__all__ = ["between", "searched"]

_OF_TRIALS = ("data", "metric", "seed", "effort", "configurations", "recipe")


def searched(
    searchers: Sequence[searches.Searcher], records: Records
) -> tuple[dict[str, list[Run]], dict[str, Any]]:
    """Returns by name the runs of each search, and what a document says of the margin.

    Args:
        searchers: Those that are compared.
        records: Of the experiment; a margin that it did not declare is the default of all
            of their runs.
    """
    runs = searches.of(searches.condensed(records.runs), *searchers)
    own = {s.name: [run for run in runs if run.arm == s.name] for s in searchers}
    every = [run for several in own.values() for run in several]
    declared: float | None = records.resolved["margin"]
    margin = (
        searches.default_margin(every, records.metric, records.constant)
        if declared is None
        else declared
    )
    return own, {"margin": margin, "margin_assumed": declared is None}


def between(
    pairs: Sequence[tuple[str, str]],
    runs: Mapping[str, Sequence[Run]],
    spaces: Mapping[str, Mapping[str, Any]],
    records: Records,
    margin: float,
) -> list[dict[str, Any]]:
    """Returns by how much the second search of each pair is better than the first.

    Each pair is judged by the rules of a trial, with 1 - alpha divided by the number of
    pairs, so that all intervals hold together (Bonferroni).

    Args:
        pairs: Names of searches.
        runs: By name, those of a search, told apart by `searches.of`.
        spaces: By name, what it searched, as a resolved protocol has it.
        records: Of the experiment.
        margin: The smallest difference worth having.

    Returns:
        For each pair "estimate", "low" and "high" of the gain, "p_value_adjusted",
        "verdict" and "reason" as a trial has them, which of both was still "learning",
        and both scores, "first" and "second". What is not assessable has no number.
    """
    told = []
    # A run without a score stands at the lowest of all that were planned together.
    every = searches.Runs(run for own in runs.values() for run in own)
    sign = 1 if records.metric.higher_is_better else -1
    for pair in pairs:
        baseline, challenger = ({"name": n, "space": spaces[n]} for n in pair)
        protocol = {
            **{name: records.resolved[name] for name in _OF_TRIALS},
            "baseline": baseline,
            "challengers": [challenger],
            "margin": margin,
            "alpha": records.resolved["alpha"] / len(pairs),
            "max_multiple": 4.0,
            "estimand": "configuration",
            "sampling": "sobol",
        }
        compared = compare_arms(every, protocol, constant=records.constant)
        (found,) = compared.comparisons
        entry = found.to_dict()
        p = entry["p_value"]
        if found.verdict == "not_assessable":  # what cannot be judged has no number
            entry["effect"], p = dict.fromkeys(entry["effect"]), None
        rises = rises_of(every, protocol, sign)
        told.append(
            {
                **entry["effect"],
                "learning": unfinished_arms(found, rises),
                "p_value_adjusted": None if p is None else min(1.0, len(pairs) * p),
                "verdict": found.verdict,
                "reason": found.reason,
                "first": entry["baseline_score"],
                "second": entry["challenger_score"],
            }
        )
    return told

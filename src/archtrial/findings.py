"""What is said of a study as a whole, beside its verdict.

Where the spread of scores comes from, which tweak of a factorial made the difference,
what is left of the best of many on fresh seeds, how far adaptive tuners took the
baseline, and how often verdicts on studies of this size are wrong. None of it enters
a verdict.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archtrial import searches, statistics
from archtrial import space as spaces
from archtrial.calibration import published_error
from archtrial.freezing import looks_of
from archtrial.records.table import Run
from archtrial.statistics import Comparison, Estimand, Estimate, Search
from archtrial.words import numbers

__all__ = ["ceilings", "going_on", "grew", "of_study", "options", "seen_before"]

# The first trials are a fair sample, however they were drawn; with this many, shares are
# known to a point or two.
ENOUGH = 2048


def of_study(
    runs: Sequence[Run],
    arrays: Sequence[Search],
    protocol: Mapping[str, Any],
    declared: Mapping[str, spaces.Space],
    *,
    sign: int,
    estimand: Estimand,
    paired: bool,
    comparison: Comparison,
) -> dict[str, Any]:
    """Returns what stands beside the verdict, each under the name of its section.

    Args:
        runs: All runs of the study.
        arrays: The baseline's search, then the challengers'.
        protocol: The resolved protocol.
        declared: Each arm's space.
        sign: 1 where a higher score is better, else -1.
        estimand: The reading of the verdict.
        paired: Whether trials are paired by index.
        comparison: The first, whose challenger the probes are to reach.
    """
    n = min(search.n for search in arrays)
    found: dict[str, Any] = {
        "attribution": _attribution(
            runs, arrays, declared, protocol["seed"], sign=sign, paired=paired
        ),
        "factorial": None,
        "winner": None,
        "probes": _probes(runs, sign, arrays[0].worst, comparison) or None,
        "calibration": None,
    }
    if n < 4 * protocol["effort"]:
        # Nothing is said of searches that are too small for the effort.
        return found
    # Only such studies were simulated: both readings, one challenger, one look.
    simulated = estimand == "configuration" and searches.tested(runs)
    if simulated and len(arrays) == 2 and len(looks_of(protocol)) == 1:
        found["calibration"] = published_error(
            n,
            protocol["effort"],
            paired,
            sampling=protocol.get("sampling", "random"),
        )
    arms = [protocol["baseline"], *protocol["challengers"]]
    crossed = [len(levels) for levels in (protocol.get("factors") or {}).values()]
    # Of some of the cells, as may be judged again later, no effect can be told.
    if crossed and len(arms) == math.prod(crossed):
        effects = statistics.effects(
            arrays,
            [arm["levels"] for arm in arms],
            effort=protocol["effort"],
            estimand=estimand,
            alpha=protocol["alpha"],
            seed=protocol["seed"],
            paired=paired,
        )
        found["factorial"] = {
            "effects": [dataclasses.asdict(effect) for effect in effects]
        }
    if len(arrays) > 2:
        best = statistics.winner(
            arrays,
            effort=protocol["effort"],
            estimand=estimand,
            alpha=protocol["alpha"],
            seed=protocol["seed"],
            paired=paired,
        )
        found["winner"] = None if best is None else _rerun(best, sign)
    return found


def going_on(protocol: Mapping[str, Any], folder: Path) -> str:
    """Says of a study that grows what it goes on from, before anything is trained.

    Args:
        protocol: The resolved protocol, with the looks that were made.
        folder: The study's.
    """
    last, asked = looks_of(protocol)[-2:]
    return (
        f"Goes on from the finished study of {last} configurations in {folder}, and adds"
        f" {asked - last} to each arm. {_price_of(protocol)}"
    )


def grew(protocol: Mapping[str, Any], before: Sequence[str]) -> str:
    """Says of a study that grew what that does to the level of its verdict.

    Args:
        protocol: The resolved protocol, with the looks that were made.
        before: What was found at each of them.
    """
    found = ", ".join(
        f"{verdict.replace('_', ' ')} at {n}"
        for verdict, n in zip(before, protocol["grown"], strict=True)
    )
    return (
        f"This study grew to {protocol['configurations']} configurations after it was"
        f" judged ({found}). {_price_of(protocol)}"
    )


def seen_before(protocol: Mapping[str, Any], folder: Path, *, same: bool) -> str:
    """Says of a study that it begins with draws whose outcome is known.

    Args:
        protocol: The resolved protocol of the study that has them.
        folder: That study's.
        same: Whether its arms are the same to the letter.
    """
    n = protocol["configurations"]
    if not same:
        return (
            f"{folder} is the same trial with {n} configurations and the same seed, but"
            " the text of a file that holds its arms was another one: this study does"
            " not go on from it."
        )
    return (
        f"{folder} is the same trial with {n} configurations and the same seed, and its"
        " verdict is known: this one trains runs of it again, and finds nothing that is"
        " independent of it. For that take another --seed."
    )


def _price_of(protocol: Mapping[str, Any]) -> str:
    """Says what looks cost that were not declared, and what to do the next time."""
    sizes, alpha = looks_of(protocol), protocol["alpha"]
    levels = [
        look.level or 0.0
        for look in statistics.grown_looks(
            sizes, alpha=alpha, challengers=len(protocol["challengers"])
        )
    ]
    each = " and ".join(
        f"{numbers.rate(level)} at {n}" for level, n in zip(levels, sizes, strict=True)
    )
    return (
        f"That is another look, which was not declared, at a level of its own ({each}):"
        f" without any gap one is claimed in up to {numbers.rate(sum(levels))} of such"
        f" studies, not {numbers.rate(alpha)}. For the next study: looks that are"
        f" declared before it begins (--looks {','.join(map(str, sizes))}) keep {numbers.rate(alpha)}."
    )


def ceilings(
    arrays: Sequence[Search], *, sign: int, best: float, alpha: float
) -> dict[str, Any]:
    """Returns, by arm, what a model says of the score at the best hyperparameters.

    Seconds each, so it is computed only where it is asked for.

    Args:
        arrays: The searches.
        sign: 1 where a higher score is better, else -1.
        best: The best score there can be, higher is better.
        alpha: The level of the intervals.
    """
    return {
        search.name: _ceiling(statistics.ceiling(search, alpha=alpha, best=best), sign)
        for search in arrays
    }


def _ceiling(found: statistics.Ceiling, sign: int) -> dict[str, Any]:
    if found.score is None or found.back_test is None:
        return {"reason": found.reason}

    def limit(value: float) -> float | None:
        return sign * value if math.isfinite(value) else None

    ends = [limit(found.score.low), limit(found.score.high)]
    low, high = ends if sign == 1 else ends[::-1]
    return {
        "estimate": sign * found.score.estimate,
        "low": low,
        "high": high,
        "hyperparameters": found.hyperparameters,
        "noise": found.noise,
        "backtest": {
            "passed": found.back_test.passed,
            "error": sign
            * (found.back_test.predicted - found.back_test.found.estimate),
            "effort": found.back_test.effort,
        },
    }


def options(declared: Mapping[str, spaces.Space]) -> dict[str, list[str]]:
    """Returns, of hyperparameters that are choices, what their options are called.

    One that is a choice for some arms only, or another choice, is left out.
    """
    named: dict[str, list[list[str]]] = {}
    for space in declared.values():
        for name, dimension in space.items():
            named.setdefault(name, []).append(
                [str(option) for option in dimension.options]
                if isinstance(dimension, spaces.Choice)
                else []
            )
    return {
        name: each[0]
        for name, each in named.items()
        if each[0] and all(other == each[0] for other in each)
    }


def _attribution(
    runs: Sequence[Run],
    arrays: Sequence[Search],
    declared: Mapping[str, spaces.Space],
    seed: int,
    *,
    sign: int,
    paired: bool,
) -> dict[str, Any] | None:
    """Takes the spread of the search's scores apart; None where there is too little."""
    if min(search.n for search in arrays) < 8:
        return None
    kept = {
        search.name: set(list(searches.trials(runs, search.name))[:ENOUGH])
        for search in arrays
    }
    seen = searches.seen_scores(runs, sign, arrays[0].worst)
    table = [
        run
        for run in runs
        if run.stage in ("search", "confirm") and run.pair in kept.get(run.arm, ())
    ]
    scores = np.array([seen(run) for run in table])
    # Without a spread in the search there is nothing to take apart.
    if np.ptp(scores[[run.stage == "search" for run in table]]) == 0:
        return None
    shares = statistics.shares(
        [run.arm for run in table],
        [run.pair for run in table],
        scores,
        np.array([run.stage == "confirm" for run in table]),
        seed=seed,
        paired=paired,
    )
    named = options(declared)
    return {
        "shares": {
            name: dataclasses.asdict(share)
            for name, share in (
                ("architecture", shares.architecture),
                ("hyperparameters", shares.hyperparameters),
                ("interaction", shares.interaction),
                ("seed", shares.seed),
            )
            if share is not None
        },
        "deviation": shares.deviation,
        "runs": shares.runs,
        "importance": {
            search.name: {
                name: dataclasses.asdict(share)
                for name, share in statistics.importance(
                    _first(search), seed=seed, options=named
                ).items()
            }
            for search in arrays
        },
    }


def _first(search: Search) -> Search:
    """Returns the first trials of a search, as many as shares need."""
    if search.n <= ENOUGH:
        return search

    def first(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[:ENOUGH]

    return dataclasses.replace(
        search,
        validation=search.validation[:ENOUGH],
        test=search.test[:ENOUGH],
        test_run=first(search.test_run),
        diverged=search.diverged[:ENOUGH],
        cost=search.cost[:ENOUGH],
        examples=None,
        examples_run=None,
        rungs={},
        positions={name: v[:ENOUGH] for name, v in search.positions.items()},
    )


def _rerun(best: statistics.Winner, sign: int) -> dict[str, Any]:
    def score(value: Estimate) -> dict[str, float]:
        low, high = sorted((sign * value.low, sign * value.high))
        return {"estimate": sign * value.estimate, "low": low, "high": high}

    return {
        "arm": best.name,
        "score": score(best.score),
        "rerun": {**score(best.rerun), "seeds": best.seeds},
        "lead": None if best.lead is None else dataclasses.asdict(best.lead),
        "gain": None
        if best.rerun_lead is None
        else dataclasses.asdict(best.rerun_lead),
        "luck": None if best.luck is None else dataclasses.asdict(best.luck),
    }


def _probes(
    runs: Sequence[Run], sign: int, worst: float, comparison: Comparison
) -> list[dict[str, Any]]:
    """Returns how far each adaptive tuner took the baseline."""
    tuners = sorted({r.tuner for r in runs if r.stage == "probe" and r.tuner})
    found = []
    for tuner in tuners:
        trials = [r for r in runs if r.stage == "probe" and r.tuner == tuner]
        again = [r for r in runs if r.stage == "probe confirm" and r.tuner == tuner]
        known = [r.validation for r in trials if math.isfinite(r.validation)]
        score = searches.over_seeds(again, sign * worst)
        found.append(
            {
                "tuner": tuner,
                "trials": len(trials),
                "best_validation": sign * max(sign * v for v in known)
                if known
                else None,
                "score": score,
                "reaches": _reaches(score, sign, comparison),
            }
        )
    return found


def _reaches(
    score: Mapping[str, Any] | None, sign: int, comparison: Comparison
) -> bool | None:
    """Says whether a score comes within the margin of the challenger's estimate.

    Yes or no where the whole interval over seeds does or does not; None between.
    """
    target = comparison.challenger_score
    if score is None or target is None or score["low"] is None:
        return None
    least = sign * target.estimate - comparison.margin
    ends = [sign * score[end] >= least for end in ("low", "high")]
    return ends[0] if ends[0] == ends[1] else None

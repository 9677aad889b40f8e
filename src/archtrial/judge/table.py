"""Somebody else's runs, judged as a study of independent draws."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from archtrial import metrics, searches
from archtrial.errors import ProtocolError, RecordsError
from archtrial.records.table import Run

if TYPE_CHECKING:
    from archtrial.records.columns import Wanted
    from archtrial.records.importers import Imported
from archtrial.judge.document import Judgement, assess
from archtrial.judge.study import known_arm

__all__ = ["judge_imported", "judge_sources", "without_baseline"]


def judge_sources(
    sources: Sequence[str | Path],
    *,
    baseline: str,
    challengers: Sequence[str] | None = None,
    columns: "Wanted | None" = None,
    where: Sequence[str] = (),
    tuner: Literal["random", "adaptive"] | None = None,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    percent: bool = False,
    status: Sequence[str] = (),
    failed_score: str | None = None,
    **declared: Any,
) -> Judgement:
    """Judges somebody else's runs: files, trackers' exports, studies of Optuna's.

        judge_sources(["runs.csv"], baseline="mlp", margin=0.01)

    Args:
        sources: `[NAME=]PATH` each; see `records.importers.read`, also for the
            arguments up to `percent`.
        baseline: The arm that the others are compared with.
        challengers: The others; by default all of them.
        columns: The columns that are not to be found by their usual names.
        where: `COLUMN=VALUE` each: only rows that have it count.
        tuner: "random" declares the runs independent draws.
        metric: The score's name.
        lower_is_better: Whether scores are errors.
        percent: Scores are percentages.
        status: `WORD=failed` and the like: what a status means that is in no list.
        failed_score: The score that stands for a run that failed, or "none".
        **declared: What `judge_imported` takes besides: `margin`, `effort`,
            `alpha`, `seed`, `deterministic`, `test_size` and `published`.

    Raises:
        RecordsError: The sources cannot be read, or no verdict can rest on them.
        ProtocolError: An effort or a margin that is impossible.
    """
    # A study of ours is judged without pandas.
    from archtrial.records.importers import read

    return judge_imported(
        read(
            sources,
            columns,
            baseline=baseline,
            challengers=challengers,
            where=where,
            tuner=tuner,
            metric=metric,
            lower_is_better=lower_is_better,
            percent=percent,
            status=status,
            failed_score=failed_score,
        ),
        **declared,
    )


def judge_imported(
    imported: "Imported",
    *,
    margin: float | None = None,
    effort: int | None = None,
    alpha: float | None = None,
    seed: int | None = None,
    deterministic: Sequence[str] | None = None,
    test_size: int | None = None,
    published: Mapping[str, float] | None = None,
    ceilings: bool = False,
) -> Judgement:
    """Judges runs that were read from other people's tables.

    Args:
        imported: The runs, and what was understood of them.
        margin: The smallest gap worth having, in the units of the scores.
        effort: k; by default n / 8 rounded down, at least 1. Of whole repeats of a
            tuner always 1.
        alpha: Intervals hold at 1 - alpha; by default .05.
        seed: Of the permutations and resamples.
        deterministic: The arms whose training uses no randomness.
        test_size: How many examples the test set has, where their scores are
            unknown: adds a bound on the error of the test set itself.
        published: Published scores by arm, the baseline's among them.
        ceilings: As for `judge_study`.

    Raises:
        RecordsError: The baseline was not named.
        ProtocolError: An effort, a margin or a published score that is impossible.
    """
    if imported.baseline is None:
        raise without_baseline(imported, f"Name one: --baseline {imported.arms[0]}.")
    if imported.repeats and effort not in (None, 1):
        raise ProtocolError(
            "of whole repeats of a tuner the effort is one of them",
            f"effort = {effort}",
        )
    metrics.check_margin(margin, imported.bounded)
    runs = searches.Runs(imported.runs)
    resolved = _resolved(imported, runs)
    if effort is None:
        effort = 1 if imported.repeats else max(1, resolved["configurations"] // 8)
    declared: dict[str, Any] = {
        "margin": margin,
        "alpha": 0.05 if alpha is None else alpha,
        "effort": effort,
        "seed": 0 if seed is None else seed,
        "test_size": test_size,
        "published": _published(imported, published),
    }
    if deterministic:
        declared["deterministic"] = [
            known_arm(name, imported.arms, imported.name) for name in deterministic
        ]
    found = assess(
        runs,
        protocol={**resolved, **declared},
        constant=None,
        paired=imported.paired,
        ceilings=ceilings,
    )
    if margin is None and not _has_a_zero(imported):
        equal = [c for c in found.verdict.comparisons if c["verdict"] == "equivalent"]
        if equal:
            raise ProtocolError(
                "whether two arms are equally good depends on the gap worth having",
                f"none was declared, and of {imported.measure.name!r} nobody knows what a small"
                " one is",
                "Declare it, in the units of the scores: --margin 0.01, or whatever it"
                " is.",
            )
    return found


def without_baseline(imported: "Imported", way_out: str) -> RecordsError:
    """Returns what is wrong with runs of which no arm is the baseline."""
    return RecordsError(
        "a comparison needs a baseline",
        f"{imported.name} has the arms {', '.join(imported.arms)}",
        way_out,
    )


def _resolved(imported: "Imported", runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what of a protocol a table tells by itself."""
    fresh = any(run.stage == "confirm" for run in runs)
    notes = list(imported.understood.notes)
    if not searches.tested(runs):
        notes.append(
            "There are no test scores: the verdict is about validation scores, which a"
            " search makes optimistic."
        )
    if not fresh and not imported.repeats:
        notes.append(
            "There are no fresh seeds: each score is that of the very run picked, its"
            " seed's luck included."
        )
    first, *others = (
        {"name": name, "space": imported.spaces[name]} for name in imported.arms
    )
    return {
        "data": {"name": imported.name, "digest": imported.digest},
        "metric": imported.measure.name,
        "higher_is_better": not imported.measure.lower_is_better,
        "fractions": imported.bounded,
        "baseline": first,
        "challengers": others,
        # Ranges that were tried, not declared: nobody knows what lies beyond.
        "spaces_inferred": True,
        "configurations": min(
            len(searches.trials(runs, name)) for name in imported.arms
        ),
        "max_multiple": 4.0,
        "estimand": "configuration" if fresh else "run",
        "notes": notes,
    }


def _has_a_zero(imported: "Imported") -> bool:
    """Says whether a small part of a score is a small gap: of a share, of a loss."""
    measure = imported.measure
    if imported.bounded or measure.name == "r2":
        return True
    lowest = min(
        (run.validation for run in imported.runs if not run.diverged), default=0.0
    )
    return bool(measure.lower_is_better) and lowest >= 0


def _published(
    imported: "Imported", published: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Returns published scores in the units of the table's, which may be percent."""
    if published is None:
        return None
    scaled = {}
    known = [abs(run.validation) for run in imported.runs if not run.diverged]
    largest = max(known, default=math.inf)
    for name, score in published.items():
        if not imported.bounded and abs(score) > 10 * largest:
            raise ProtocolError(
                "a published score is in the units of the table's",
                f"{name}: {score:g}, and the largest score here is {largest:g}",
                "Write it in their units; where they are another metric's, leave it"
                " out.",
            )
        if imported.scale != 1 and score > 1:
            score /= imported.scale
        if not math.isfinite(score) or (imported.bounded and not 0 <= score <= 1):
            raise ProtocolError(
                "a published score is in the units of the table's, as fractions",
                f"{name}: {score:g}",
                f"Write {score / 100:g}." if 1 < score <= 100 else "",
            )
        scaled[name] = score
    return scaled

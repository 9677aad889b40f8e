"""From a table of runs to the arrays that the statistics take.

Scores come out turned so that higher is better, and a run that has none stands at
the lowest score that is known.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from archtrial import space as spaces
from archtrial import statistics
from archtrial.errors import RecordsError
from archtrial.protocol import Recipe
from archtrial.records.table import CPU_SECONDS, Run, best_of
from archtrial.statistics import learning
from archtrial.statistics.condensing import MANY_EXAMPLES, condense
from archtrial.statistics.intervals import mean
from archtrial.statistics.soundness import Tuned, equal_over_seeds

__all__ = [
    "Runs",
    "Searcher",
    "check_sizes",
    "dead",
    "default_margin",
    "edges_reached",
    "learned",
    "lowest",
    "of",
    "over_seeds",
    "search",
    "search_scores",
    "seen_scores",
    "stages",
    "tested",
    "trial_costs",
    "trials",
    "tuned",
    "tuned_pair",
    "tuned_runs",
    "turned",
]

_T = TypeVar("_T")

# The squares of larger scores are no numbers any more, and those of smaller ones 0.
LARGEST, SMALLEST = 1e100, 1e-100


class Runs(list[Run]):
    """Runs that stay as they are, and what was found of all of them already.

    Of hundreds of thousands it takes seconds to go through them for each question.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        super().__init__(runs)
        self.known: dict[tuple[Any, ...], Any] = {}


def _once(
    runs: Sequence[Run], question: tuple[Any, ...], answer: Callable[[], _T]
) -> _T:
    """Answers a question about runs, and remembers it where they are `Runs`."""
    if not isinstance(runs, Runs):
        return answer()
    if question not in runs.known:
        runs.known[question] = answer()
    found: _T = runs.known[question]
    return found


@dataclasses.dataclass(frozen=True)
class Searcher:
    """One search of a study: an arm, and what tells it from other searches of that arm.

    Those of one arm share its seeds, and so are paired: {"teacher": true} and
    {"teacher": false}. A trial's arm is a search by itself.
    """

    name: str
    """By which it is known wherever an arm's name is asked for; no other has it."""
    arm: str
    """Of its runs."""
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All further coordinates of its runs, as JSON."""


def of(runs: Iterable[Run], *searchers: Searcher) -> Runs:
    """Returns the runs of some searches as if each were an arm of a trial.

    What selects by an arm's name, such as `search`, then takes the search's. A run
    without a score counts as the lowest of all that are there: whoever plans and
    whoever judges asks for the same searches.

    Args:
        runs: Of the whole study.
        searchers: Some of its searches, each with a name and coordinates of its own.

    Returns:
        The runs of those searches alone, in their order, with the search's name for
        their arm and no further coordinates.

    Raises:
        ValueError: Two searches have the same name or the same runs.
    """
    names = {_form(s.arm, s.further): s.name for s in searchers}
    if not len(names) == len(set(names.values())) == len(searchers):
        raise ValueError(
            f"searches differ in name and in arm or coordinates: {[*searchers]}"
        )
    named = ((run, names.get(_form(run.arm, run.coordinates))) for run in runs)
    return Runs(
        dataclasses.replace(run, arm=name, coordinates={})
        for run, name in named
        if name is not None
    )


def _form(arm: str, further: Mapping[str, Any]) -> str:
    # As JSON, where true is not 1 and a list is what a tuple has become.
    return json.dumps([arm, further], sort_keys=True)


def stages(rung: int) -> tuple[str, str]:
    """Returns the stages of a search and of its fresh seeds at a rung."""
    return ("search", "confirm") if rung == 1 else ("ladder", "ladder confirm")


def trials(
    runs: Sequence[Run], arm: str, stage: str = "search", rung: int = 1
) -> Mapping[int, Run]:
    """Returns an arm's search runs by their pair, in the order of the pairs."""

    def searched() -> Mapping[int, Run]:
        found = {
            run.pair: run
            for run in runs
            if run.arm == arm and run.stage == stage and run.rung == rung
        }
        return {pair: found[pair] for pair in sorted(found)}

    return _once(runs, ("trials", arm, stage, rung), searched)


def search_scores(
    runs: Sequence[Run], arm: str, sign: int, stage: str = "search", rung: int = 1
) -> np.ndarray:
    """Returns an arm's validation scores in search, higher is better, (n,).

    Who is confirmed and what is judged must follow from the same ranks: both use
    these. A run without a score stands at the lowest that any search run has.
    """
    return turned(list(trials(runs, arm, stage, rung).values()), runs, sign)


def tuned_pair(
    runs: Sequence[Run], arm: str, sign: int, stage: str = "search", rung: int = 1
) -> int:
    """Returns which configuration an arm is tuned to: the best in search."""
    return best_of(trials(runs, arm, stage, rung).values(), sign).pair


def tuned_runs(runs: Sequence[Run], arm: str, sign: int) -> list[Run]:
    """Returns the runs of an arm's tuned configuration on fresh seeds."""
    pair = tuned_pair(runs, arm, sign)
    fresh = ("confirm", "winner")
    return [r for r in runs if (r.arm, r.pair) == (arm, pair) and r.stage in fresh]


def turned(some: Sequence[Run], runs: Sequence[Run], sign: int) -> np.ndarray:
    """Returns the validation scores of some runs, (len(some),), higher is better.

    A run without a score stands at the lowest that any search run has.
    """
    scores = sign * np.array([run.validation for run in some])
    return np.where(np.isfinite(scores), scores, lowest(runs, sign))


def trial_costs(runs: Sequence[Run], arm: str) -> np.ndarray:
    """Returns the cost of each of an arm's search runs, (n,).

    1 where it is unknown; NaN where it was measured in seconds, which another machine
    measures otherwise.
    """
    return _costs(trials(runs, arm).values())


def _costs(searched: Iterable[Run]) -> np.ndarray:
    known = list(searched)
    if any(CPU_SECONDS in run.measures for run in known):
        return np.full(len(known), np.nan)
    return np.array([run.flops if run.flops > 0 else 1.0 for run in known])


def lowest(runs: Sequence[Run], sign: int) -> float:
    """Returns the lowest score of any search run; 0 where none has one."""

    def searched() -> float:
        scores = [sign * run.validation for run in runs if run.stage == "search"]
        return min((score for score in scores if math.isfinite(score)), default=0.0)

    return _once(runs, ("lowest", sign), searched)


def tested(runs: Sequence[Run]) -> bool:
    """Says whether every run has a test score."""
    return _once(runs, ("tested",), lambda: all(run.test is not None for run in runs))


def seen_scores(runs: Sequence[Run], sign: int, worst: float) -> Callable[[Run], float]:
    """Returns what a run counts with: its test score, turned, or else `worst`.

    Where not all runs have a test score the question is put to validation itself.
    """
    scored = tested(runs)

    def seen(run: Run) -> float:
        value = run.test if scored else run.validation
        return sign * value if value is not None and math.isfinite(value) else worst

    return seen


def search(
    runs: Sequence[Run],
    arm: str,
    sign: int,
    worst: float,
    space: spaces.Space | None = None,
    *,
    stratified: bool = False,
) -> statistics.Search:
    """Returns one arm's search, with what it reached when it was trained longer.

    Args:
        runs: Of all arms.
        arm: Its name.
        sign: 1 where a higher score is better, else -1.
        worst: The constant predictor's score, turned.
        space: The arm's dimensions, if they are known.
        stratified: Whether its trials are the first points of a Sobol sequence.
    """
    found = _at_rung(runs, arm, sign, worst, space or {}, 1, stratified)
    rungs = sorted({r.rung for r in runs if r.arm == arm and r.stage == "ladder"})
    return dataclasses.replace(
        found,
        rungs={
            rung: _at_rung(runs, arm, sign, worst, space or {}, rung, stratified)
            for rung in rungs
        },
    )


def _at_rung(
    runs: Sequence[Run],
    arm: str,
    sign: int,
    worst: float,
    space: spaces.Space,
    rung: int,
    stratified: bool,
) -> statistics.Search:
    first, second = stages(rung)
    searched = trials(runs, arm, first, rung)
    scores = search_scores(runs, arm, sign, first, rung)
    picked = tuned_pair(runs, arm, sign, first, rung)
    fresh: dict[int, list[Run]] = {pair: [] for pair in searched}
    winner: list[Run] = []
    for run in runs:
        if run.arm != arm or run.rung != rung:
            continue
        if run.stage == second and run.pair in fresh:
            fresh[run.pair].append(run)
        elif run.stage == "winner" and run.pair == picked:
            winner.append(run)
    seen = seen_scores(runs, sign, worst)
    none = np.array([])
    seeds = [
        np.array([seen(run) for run in again]) if again else none
        for again in fresh.values()
    ]
    shares = all(run.per_example is not None for run in runs)
    return statistics.Search(
        name=arm,
        validation=scores,
        test=_means(seeds),
        test_run=np.array([seen(run) for run in searched.values()]),
        diverged=np.array([run.diverged for run in searched.values()]),
        cost=_costs(searched.values()),
        worst=worst,
        examples=_examples(list(fresh.values()), sign) if shares else None,
        examples_run=_examples([[run] for run in searched.values()], sign)
        if shares
        else None,
        winner_seeds=np.array([seen(run) for run in winner]) if winner else None,
        fresh=seeds,
        positions={
            name: _places(
                dimension,
                [run.configuration[name] for run in searched.values()],
                stratified,
            )
            for name, dimension in space.items()
            if all(name in run.configuration for run in searched.values())
        },
        stratified=stratified,
    )


def _means(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of each group, (n,); NaN of an empty one."""
    means = np.full(len(groups), math.nan)
    sizes = np.array([len(group) for group in groups])
    for size in np.unique(sizes[sizes > 0]):
        some = np.flatnonzero(sizes == size)
        # Each row is summed as it would be alone.
        means[some] = np.mean(np.stack([groups[i] for i in some.tolist()]), axis=1)
    return means


def _places(
    dimension: spaces.Dimension, values: Sequence[spaces.Value], stratified: bool
) -> np.ndarray:
    """Returns where values lie in a range, (n,); of an even design by their quantiles."""
    if stratified and isinstance(dimension, spaces.Integer):
        return np.array([dimension.quantile(value) for value in values])
    return np.array(dimension.positions(values))


# The runs whose scores by example are compared.
_COMPARED = ("search", "confirm", "ladder", "ladder confirm")


def condensed(runs: Sequence[Run]) -> Sequence[Run]:
    """Returns the runs with few examples in place of more than `MANY_EXAMPLES`.

    The verdict's work would otherwise grow with them; it takes from them what
    `statistics.condensing` keeps.
    """
    known = [(r.stage, r.per_example) for r in runs if r.per_example is not None]
    if not known or len(known[0][1]) <= MANY_EXAMPLES:
        return runs
    compared = [scores for stage, scores in known if stage in _COMPARED]
    found = iter(condense(compared) if compared else ())
    nothing = np.zeros(len(compared) + 1)

    def few(run: Run) -> np.ndarray | None:
        if run.per_example is None:
            return None
        return next(found) if run.stage in _COMPARED else nothing

    return [dataclasses.replace(run, per_example=few(run)) for run in runs]


def _examples(groups: Sequence[Sequence[Run]], sign: int) -> np.ndarray:
    """Returns the mean test score of each example over each group's runs, (n, T)."""
    length = next(
        len(run.per_example)
        for group in groups
        for run in group
        if run.per_example is not None
    )
    averaged = np.full((len(groups), length), np.nan, dtype=np.float32)
    for row, group in zip(averaged, groups, strict=True):
        if group:
            known = [r.per_example for r in group if r.per_example is not None]
            row[:] = sign * np.mean(known, axis=0)
    return averaged


def check_sizes(runs: Sequence[Run]) -> None:
    """Checks that scores can be squared.

    Raises:
        RecordsError: The size of a score is beyond `LARGEST`, or all of them are
            within `SMALLEST` without being 0.
    """
    sizes = np.abs(
        [
            [run.validation for run in runs],
            [0.0 if run.test is None else run.test for run in runs],
        ]
    )
    sizes = np.max(np.where(np.isfinite(sizes), sizes, 0.0), axis=0, initial=0.0)
    largest = float(np.max(sizes, initial=0.0))
    if largest == 0:
        return
    run = runs[int(np.argmax(sizes))]
    if not SMALLEST <= largest <= LARGEST:
        raise RecordsError(
            f"scores are of a size from {SMALLEST:g} to {LARGEST:g}, or their squares"
            " are no numbers",
            f"{run.arm}, configuration {run.pair}, seed {run.seed}: {largest:g}",
            "Where that is a failed run, give its score as NaN; else choose another"
            " unit for the metric.",
        )


def dead(runs: Sequence[Run], arm: str, *, deterministic: bool = False) -> str:
    """Says why nothing can be learnt from an arm's runs; "" where something can.

    Either all of them failed, or their scores depend on neither seed nor configuration.

    Args:
        runs: Of all arms.
        arm: The arm's name.
        deterministic: Whether its scores depend on no seed by declaration.
    """
    searched = list(trials(runs, arm).values())
    if searched and all(run.diverged for run in searched):
        errors = [run.error for run in searched if run.error is not None]
        if errors:
            return f"every run of {arm} failed, the first with {errors[0]}"
        return (
            f"every run of {arm} diverged, as where the learning rates that are searched"
            " are all too high, or the model or its trainer returns no numbers: try it"
            " alone, with a lower learning rate"
        )
    own = [
        run
        for run in runs
        if run.arm == arm
        and run.stage in ("search", "confirm", "winner")
        and not run.diverged
    ]

    def scored(run: Run) -> tuple[float, float]:
        return run.validation, run.validation if run.test is None else run.test

    alone = len({run.pair for run in own}) == len(own)
    if alone and len({scored(run) for run in own[:4]}) > 1:
        return ""  # one run of each configuration, and they differ
    by_pair: dict[int, list[tuple[float, float]]] = {}
    for run in own:
        by_pair.setdefault(run.pair, []).append(scored(run))
    equal = equal_over_seeds(list(by_pair.values()))
    if equal == "everywhere":
        score = next(iter(by_pair.values()))[0][0]
        return (
            f"every run of {arm} scores the same, {score:.6g}, whatever its"
            " hyperparameters and its seed, as where training changes nothing, a trainer"
            " ignores what it is given, or any model solves the task"
        )
    if equal == "over seeds" and not deterministic:
        return (
            f"the scores of {arm} are the same for every seed, as where its trainer"
            " ignores the seed that it is given; where its training uses no randomness,"
            f" declare that: --deterministic {shlex.quote(arm)}"
        )
    return ""


def tuned(
    runs: Sequence[Run], arm: str, sign: int, worst: float, rung: int = 1
) -> Tuned | None:
    """Returns what an arm's tuned configuration scored on fresh seeds.

    Where there are none, the run of the search itself. None without test scores.
    """
    first, _ = stages(rung)
    searched = trials(runs, arm, first, rung)
    if not searched or not tested(runs):
        return None
    picked = tuned_pair(runs, arm, sign, first, rung)
    own = [
        run
        for run in runs
        if (run.arm, run.pair, run.rung) == (arm, picked, rung)
        and run.stage in ("confirm", "winner", "ladder confirm")
    ] or [searched[picked]]
    seen = seen_scores(runs, sign, worst)
    shares = [run.per_example for run in own if run.per_example is not None]
    return Tuned(
        np.array([seen(run) for run in own]),
        np.asarray(sign * np.mean(shares, axis=0, dtype=np.float64))
        if len(shares) == len(own)
        else None,
    )


def learned(
    runs: Sequence[Run], arm: str, sign: int, recipe: Mapping[str, Any] | None
) -> learning.Rise | None:
    """Returns how an arm's tuned configuration was learning, the schedule taken out.

    Args:
        runs: Of all arms.
        arm: Its name.
        sign: 1 where a higher score is better, else -1.
        recipe: What it was trained with; None where nobody knows.

    Returns:
        None where the schedule or the learning curves are unknown.
    """
    searched = trials(runs, arm)
    if recipe is None or not searched:
        return None
    picked = tuned_pair(runs, arm, sign)
    own = [
        run
        for run in runs
        if (run.arm, run.pair, run.rung) == (arm, picked, 1)
        and run.stage in ("search", "confirm", "winner")
        and not run.diverged
        and run.curve
    ]
    if not own:
        return None
    steps = [point.step for point in own[0].curve]
    scores = [[sign * point.validation for point in run.curve] for run in own]
    if any([point.step for point in run.curve] != steps for run in own):
        return None
    declared = Recipe(**recipe)
    return learning.rise(
        np.array(steps),
        np.array(scores),
        learning.rates(declared.schedule, declared.warmup, steps[-1]),
    )


def default_margin(runs: Sequence[Run], metric: Any, constant: float | None) -> float:
    """Returns the larger of half a point and one standard deviation over seeds.

    The deviation is that of validation scores: the margin stands before the test
    set is opened. Where the score is no fraction, half a point is half a per cent of
    the constant predictor's score or, where nobody knows it, of the median score.
    """
    groups: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        if run.stage in ("confirm", "winner") and math.isfinite(run.validation):
            groups.setdefault((run.arm, run.pair), []).append(run.validation)
    usual = None
    if not (metric.bounded or metric.name == "r2"):
        usual = constant
        if usual is None:
            known = [r.validation for r in runs if math.isfinite(r.validation)]
            usual = float(np.median(np.abs(known))) if known else 1.0
    return statistics.default_margin(list(groups.values()), usual)


def edges_reached(
    runs: Sequence[Run],
    declared: Mapping[str, spaces.Space],
    sign: int,
    effort: int,
) -> dict[str, dict[str, str]]:
    """Returns arm -> dimension -> side where the best configurations pile up."""
    sides = [
        (arm, name, dimension, *_open_sides(name, dimension))
        for arm, space in declared.items()
        for name, dimension in space.items()
    ]
    tests = sum(low + high for *_, low, high in sides)
    searched = {arm: list(trials(runs, arm).values()) for arm in declared}
    scores = {arm: turned(own, runs, sign) for arm, own in searched.items()}
    found: dict[str, dict[str, str]] = {}
    for arm, name, dimension, low, high in sides:
        if not (low or high):
            continue
        # Only where the best lie is looked at.
        best = statistics.best_trials(scores[arm], effort)
        positions = np.full(len(scores[arm]), 0.5)
        positions[best] = dimension.positions(
            [searched[arm][i].configuration[name] for i in best]
        )
        side = statistics.edge_pileup(
            positions,
            scores[arm],
            effort,
            open_low=low,
            open_high=high,
            tests=tests,
        )
        if side is not None:
            found.setdefault(arm, {})[name] = side
    return found


def _open_sides(name: str, dimension: spaces.Dimension) -> tuple[bool, bool]:
    """Returns whether a range could have been declared wider, below and above.

    A choice has no edge. Nor has a range an edge where its values end (no dropout
    is less than none), or where going on makes no difference: a weight decay that
    is smaller still does nothing.
    """
    if isinstance(dimension, spaces.Choice):
        return False, False
    least = {"dropout": 0, "label_smoothing": 0, "momentum": 0}
    low = name != "weight_decay" and dimension.low != least.get(name)
    return low, True


def over_seeds(runs: Sequence[Run], worst: float) -> dict[str, Any] | None:
    """Returns mean and 95 % t-interval of test scores over seeds; None without any.

    A run that diverged stays in, at the worst score, in the metric's own units.
    """
    seen = [run.validation if run.test is None else run.test for run in runs]
    scores = [score if math.isfinite(score) else worst for score in seen]
    if not scores:
        return None
    found = mean(np.array(scores), 0.05)
    known = len(scores) > 1
    return {
        "estimate": found.estimate,
        "low": found.low if known else None,
        "high": found.high if known else None,
        "seeds": len(scores),
    }

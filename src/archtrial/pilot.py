"""What a study will cost and see, from a few short trainings, before any is spent.

A pilot trains eight configurations of each arm for a small share of the steps.
Its runs are thrown away: none enters a study.
"""

import dataclasses
import math
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from archtrial import execution, probes, randomness, statistics, trial
from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.freezing import expect, folder_of
from archtrial.protocol import Protocol
from archtrial.records.store import frozen
from archtrial.statistics import EvenError
from archtrial.statistics.condensing import MANY_EXAMPLES, condense
from archtrial.statistics.planning import MOST_SEEDS
from archtrial.trainers import Finished, Item, Trainer
from archtrial.words import numbers
from archtrial.words.forecast import Allocation, Forecast, Seen, Size

__all__ = ["Allocation", "Forecast", "Seen", "Size", "fit", "plan"]


# Enough to see a spread, few enough to cost little.
CONFIGURATIONS = 8
# Shares of the steps: the spread is read off the longer one, and the difference of
# both is the pace without what every fleet spends once.
SHORT, LONG = 0.02, 0.06
# What several workers cost at the start: each loads torch.
START_SECONDS = 6.0
# The sizes of the table, beside the declared one.
SIZES = (16, 32, 64, 128)
# The share of test examples that one of two tuned arms gets right and the other does
# not, before anybody knows: with it a test set of 200 leaves 2.4 points open to either
# side, one of 1,000 leaves 1.1.
DISAGREEMENT = 0.03


def plan(
    declared: Protocol,
    *,
    workers: int = 1,
    price: float | None = None,
    effect: float | None = None,
) -> Forecast:
    """Forecasts cost and minimum detectable effect from short trainings.

    Args:
        declared: What is to be carried out.
        workers: How many processes the study will have.
        price: Of an hour of the machine, in any currency.
        effect: A gain that the study is to see, in the metric's units.

    Raises:
        UserError: The protocol cannot be carried out.
    """
    for name, value in (("a price an hour", price), ("a wanted effect", effect)):
        if value is not None and not 0 < value < math.inf:
            raise ProtocolError(f"{name} is more than 0", f"{value:g}")
    prepared = trial.Zoo.of(declared)
    seconds, flops, scores = _pilot(declared, prepared)
    reseeded, diverged = _seeds(declared, prepared)
    errors = _Errors(declared, scores, reseeded)
    judging = _judging(prepared)
    terms = {"margin": declared.margin or 0.0, **_terms(declared, prepared)}

    def sized(n: int) -> Size:
        of_n = declared.replace(
            configurations=n,
            looks=declared.looks if n == declared.configurations else (),
        )
        trainings = _trainings(of_n)
        spent = sum(
            trainings.equivalents(arm.name == declared.baseline.name)
            * seconds[arm.name]
            for arm in prepared.arms
        )
        spent = spent / workers + (START_SECONDS if workers > 1 else 0.0)
        runs = trainings.runs * len(prepared.arms) + trainings.probes
        # One process opens the test set and judges.
        spent += judging(runs)
        return Size(
            configurations=n,
            runs=runs,
            seconds=spent,
            flops=sum(
                trainings.equivalents(arm.name == declared.baseline.name)
                * flops[arm.name]
                for arm in prepared.arms
            ),
            price=None if price is None else price * spent / 3600,
            minimum_detectable_effect={
                name: statistics.detectable_effects(
                    [n], spread, declared.effort, **terms
                )[0]
                for name, spread in errors.of(of_n).items()
            },
        )

    least = 4 * declared.effort
    sizes = {n for n in SIZES if n >= least} | {declared.configurations}
    if declared.ladder_configurations is not None:
        sizes = {n for n in sizes if n >= declared.ladder_configurations}
    found = {n: sized(n) for n in sorted(sizes)}
    needed = None
    if effect is not None:
        each = [
            statistics.configurations_for(effect, spread, declared.effort, **terms)
            for spread in errors.of(declared).values()
        ]
        needed = None if None in each else max(n for n in each if n is not None)
    return Forecast(
        protocol=declared,
        metric=prepared.metric.name,
        workers=workers,
        declared=found[declared.configurations],
        sizes=list(found.values()),
        arms={
            arm.name: Seen(
                run_seconds=seconds[arm.name],
                run_flops=flops[arm.name],
                spread=float(scores[arm.name].std(ddof=1)),
                seed_spread=reseeded[arm.name],
                diverged=diverged[arm.name],
            )
            for arm in prepared.arms
        },
        effect=effect,
        configurations_for_effect=needed,
        judging_seconds=judging(found[declared.configurations].runs),
        allocation=_allocate(declared, errors, terms)
        if declared.sampling == "sobol"
        and "confirm_seeds" not in declared.model_fields_set
        else None,
    )


def _allocate(
    declared: Protocol, errors: "_Errors", terms: Mapping[str, float]
) -> Allocation:
    """Finds how many fresh seeds are worth their runs; never fewer than declared."""
    n, r = declared.configurations, declared.confirm_seeds
    fixed = terms["test_variance"]

    def variances(seeds: int) -> list[tuple[float, float]]:
        """Returns of each challenger the variance, and what seeds make of it."""
        found = errors.even(declared.replace(confirm_seeds=seeds)).values()
        return [(each.at(n) ** 2 + fixed, each.seeds) for each in found]

    def runs(seeds: int) -> int:
        trainings = _trainings(declared.replace(confirm_seeds=seeds))
        arms = len(declared.arms) + declared.matched_baseline
        return trainings.runs * arms + trainings.probes

    def detectable(seeds: int) -> float:
        found = errors.even(declared.replace(confirm_seeds=seeds)).values()
        return max(
            statistics.detectable_effects([n], each, declared.effort, **terms)[0]
            for each in found
        )

    more = statistics.worthwhile_seeds(lambda seeds: max(variances(seeds))[0], runs, r)
    total, of_seeds = max(variances(r))
    return Allocation(
        declared_seeds=r,
        confirm_seeds=more,
        seeds_share=min(of_seeds / total, 1.0) if total else 0.0,
        more_runs=runs(more) / runs(r) - 1,
        declared_effect=detectable(r),
        minimum_detectable_effect=detectable(more),
    )


def fit(
    declared: Protocol, budget: float, folder: Path | None, *, workers: int = 1
) -> tuple[Protocol, Path]:
    """Chooses the largest n that a time pays for; k and r stay sound.

    Of a Sobol sequence it is a power of two, where draws are balanced, unless none that
    is paid for has an interval (n >= 4 k). Where r was not declared, it is chosen
    together with n: of all pairs that are paid for the one that sees the smallest gain,
    as far as a pilot tells. With a declared r that is the largest n.

    Both are frozen with the study: the same command goes on with them, however long the
    machine takes on another day.

    Args:
        declared: The protocol; its configurations are replaced, and the fresh seeds
            that it does not declare.
        budget: Seconds.
        folder: The study's folder; by default one that the protocol and the budget
            determine.
        workers: How many processes the study will have.

    Returns:
        The protocol with its numbers of configurations and fresh seeds, and the
        study's folder.

    Raises:
        ProtocolError: Not even the smallest sound study fits; the message says what
            that one would take. Or looks are declared, and with them n.
    """
    if declared.looks:
        raise ProtocolError(
            "a budget takes the place of a number of configurations, which the last of"
            " the looks declares",
            f"a budget and looks = {list(declared.looks)}",
            "Leave one of the two out.",
        )
    # What was declared stays; what is a default stays sound.
    given = declared.model_fields_set
    effort = declared.effort if "effort" in given else max(declared.effort, 4)
    seeds = declared.confirm_seeds
    sound = declared.replace(
        effort=effort,
        confirm_seeds=seeds if "confirm_seeds" in given else max(seeds, 3),
        configurations=max(declared.configurations, 4 * effort),
    )
    if folder is None:
        resolved = {**trial.Zoo.of(sound).resolved, "configurations": f"{budget:g} s"}
        folder = folder_of(resolved)
    begun = frozen(folder)
    if begun is not None:
        expect(begun[1], None, folder)
        kept = {"configurations": begun[1]["configurations"]}
        if "confirm_seeds" not in given:
            kept["confirm_seeds"] = begun[1]["confirm_seeds"]
        return sound.replace(**kept), folder
    prepared = trial.Zoo.of(sound)
    seconds, _, scores = _pilot(sound, prepared)
    start = START_SECONDS if workers > 1 else 0.0
    smallest = sound.replace(configurations=4 * sound.effort)

    def takes(of: Protocol) -> float:
        trainings = _trainings(of)
        spent = sum(
            trainings.equivalents(name == declared.baseline.name) * each
            for name, each in seconds.items()
        )
        return spent / workers + start

    least = takes(smallest)
    if least > budget:
        raise ProtocolError(
            "a budget pays for the smallest sound study at least",
            f"{numbers.duration(budget)} for one that takes about"
            f" {numbers.duration(least)}",
            f"That one has {smallest.configurations} configurations of each arm, effort"
            f" {sound.effort} and {sound.confirm_seeds} fresh seeds. Raise the budget, or"
            " train for fewer steps.",
        )
    if sound.sampling == "random":
        trained = _trainings(smallest)
        # Longer rungs and probes cost the same whatever n is.
        beyond = sum(
            (trained.equivalents(name == declared.baseline.name) - trained.at_1x)
            * spent
            for name, spent in seconds.items()
        )
        chosen = statistics.largest_study(
            (budget - start) * workers - beyond,
            list(seconds.values()),
            effort=sound.effort,
            confirm_seeds=sound.confirm_seeds,
            winner_seeds=statistics.planning.WINNER_SEEDS + sound.confirm_seeds,
        )
        return sound.replace(configurations=chosen.configurations), folder

    def pays(n: int) -> bool:
        return takes(sound.replace(configurations=n)) <= budget

    n, sizes = 1 << (4 * sound.effort - 1).bit_length(), []
    while pays(n):
        sizes.append(n)
        n *= 2
    sizes = sizes or [max(filter(pays, range(4 * sound.effort, n)))]
    if "confirm_seeds" in given:
        return sound.replace(configurations=sizes[-1]), folder
    errors = _Errors(sound, scores, _seeds(sound, prepared)[0])
    terms = _terms(sound, prepared)

    def sees(of: Protocol) -> float:
        return max(
            statistics.detectable_effects(
                [of.configurations], each, of.effort, **terms
            )[0]
            for each in errors.of(of).values()
        )

    paid = [
        of
        for size in sizes
        for r in range(sound.confirm_seeds, MOST_SEEDS + 1)
        if takes(of := sound.replace(configurations=size, confirm_seeds=r)) <= budget
    ]
    return min(paid, key=lambda of: (sees(of), takes(of))), folder


def _terms(declared: Protocol, prepared: trial.Zoo) -> dict[str, float]:
    """Returns what a claim depends on beside its error and the margin."""
    # Accuracies are told apart by the examples on which the arms disagree.
    of_examples = DISAGREEMENT / prepared.split.test_size
    return {
        "test_variance": of_examples if prepared.metric.bounded else 0.0,
        "alpha": declared.alpha / len(declared.challengers),
    }


class _Errors:
    """What a pilot guesses of the errors of a study, whatever its size.

    Args:
        declared: Its protocol.
        scores: By arm, validation scores of the same draws.
        seed_spreads: By arm, one seed's standard deviation.
    """

    def __init__(
        self,
        declared: Protocol,
        scores: Mapping[str, np.ndarray],
        seed_spreads: Mapping[str, float],
    ) -> None:
        self._declared, self._scores = declared, scores
        self._seed_spreads = seed_spreads

    def of(self, study: Protocol) -> Mapping[str, float | EvenError]:
        """Returns by challenger what `statistics.detectable_effects` takes."""
        if study.sampling == "sobol":
            return self.even(study)
        baseline = self._scores[study.baseline.name]
        return {
            arm.name: _pseudo_spread(study.effort, baseline, self._scores[arm.name])
            for arm in study.challengers
        }

    def even(self, study: Protocol) -> dict[str, EvenError]:
        """Returns the same of draws that fill the space evenly.

        Pairing takes out what the arms have in common, so it is their difference on
        the same draws that spreads; what seeds make of that is taken out.
        """
        n, name = study.configurations, study.baseline.name
        found = {}
        for arm in study.challengers:
            seeds = [self._seed_spreads[name], self._seed_spreads[arm.name]]
            apart = self._scores[arm.name] - self._scores[name]
            variance = float(np.var(apart, ddof=1)) - sum(each**2 for each in seeds)
            found[arm.name] = EvenError.guess(
                n,
                study.effort,
                difference_spread=math.sqrt(max(variance, 0.0)),
                seed_spreads=seeds,
                confirm_seeds=study.confirm_seeds,
                top=None if study.top is None else min(study.top, n),
            )
        return found


@dataclasses.dataclass(frozen=True)
class _Trainings:
    """What a study trains, at most."""

    at_1x: int
    """Runs of each arm at the protocol's steps."""
    rungs: Mapping[int, int]
    """Runs of each arm at each longer rung."""
    probes: int
    """Runs of the baseline that adaptive tuners choose."""

    @property
    def runs(self) -> int:
        """Runs of each arm but for probes."""
        return self.at_1x + sum(self.rungs.values())

    def equivalents(self, baseline: bool) -> int:
        """Returns the runs of an arm, each counted as often as it is long."""
        longer = sum(rung * runs for rung, runs in self.rungs.items())
        return self.at_1x + longer + (self.probes if baseline else 0)


def _trainings(declared: Protocol) -> _Trainings:
    """Counts what a study trains if it runs to its last look."""
    arms = len(declared.arms) + declared.matched_baseline
    r, winner_seeds = declared.confirm_seeds, statistics.planning.WINNER_SEEDS
    confirmed = 0
    for n in declared.looks or (declared.configurations,):
        at_look = statistics.plan_runs(
            n,
            declared.effort,
            arms=arms,
            confirm_seeds=r,
            top=None if declared.top is None else min(declared.top, n),
            winner_seeds=winner_seeds,
            stratified=declared.sampling == "sobol",
        )
        confirmed += at_look.confirm + at_look.winner
    longer = 0
    if len(declared.ladder) > 1:
        rung = statistics.plan_runs(
            declared.retuned,
            declared.effort,
            arms=arms,
            confirm_seeds=r,
            top=None if declared.top is None else min(declared.top, declared.retuned),
            winner_seeds=0,
            stratified=declared.sampling == "sobol",
        )
        longer = rung.runs
    return _Trainings(
        # The defaults are run on r seeds, too.
        at_1x=declared.configurations + confirmed + r,
        rungs=dict.fromkeys(declared.ladder[1:], longer),
        probes=len(probes.TUNERS) * (declared.probes + r) if declared.probes else 0,
    )


def _pilot(
    declared: Protocol, prepared: trial.Zoo
) -> tuple[dict[str, float], dict[str, float], dict[str, np.ndarray]]:
    """Trains a few configurations for a few steps.

    Returns:
        By arm: seconds and operations of a whole run, and validation scores after
        the short training, higher is better.
    """
    steps = prepared.problem.steps
    lengths = [min(max(2, math.ceil(share * steps)), steps) for share in (SHORT, LONG)]
    seconds: dict[str, float] = {}
    flops: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    drawn = _draws(declared, prepared)
    for arm in prepared.arms:
        items = [
            Item(arm.name, index, 0, "search", drawn(arm.name, index))
            for index in range(CONFIGURATIONS)
        ]
        took = []
        for length in lengths:
            problem = dataclasses.replace(prepared.problem, steps=length)
            loops = dataclasses.replace(prepared.trainer, problem=problem)
            start = time.perf_counter()
            finished = _carried_out(loops, items, declared.threads)
            took.append(time.perf_counter() - start)
        per_step = max(took[1] - took[0], 0.0) / max(lengths[1] - lengths[0], 1)
        once = max(took[1] - per_step * lengths[1], 0.0)
        if lengths[0] == lengths[1]:
            per_step, once = took[1] / lengths[1], 0.0
        seconds[arm.name] = (once + per_step * steps) / CONFIGURATIONS
        runs = [done.run for done in finished]
        flops[arm.name] = float(np.mean([run.flops for run in runs])) * (
            steps / lengths[1]
        )
        scores[arm.name] = prepared.sign * np.array([run.validation for run in runs])
    return seconds, flops, scores


def _draws(
    declared: Protocol, prepared: trial.Zoo
) -> Callable[[str, int], dict[str, spaces.Value]]:
    """Returns draws of the pilot's own, by arm and index; none is of the study's.

    They are paired between arms as the study's are.
    """
    if declared.sampling == "sobol":
        seed = randomness.seed(declared.seed, "pilot")
        return spaces.Design(prepared.spaces, seed, "sobol").configuration
    return lambda arm, index: spaces.sample(
        prepared.spaces[arm], declared.seed, -1 - index
    )


# So many runs show what judging takes.
_JUDGED = 8


def _judging(prepared: trial.Zoo) -> Callable[[int], float]:
    """Measures what it takes to score, keep and compare runs on many test examples.

    The true labels stay sealed: training labels stand for them.

    Returns:
        From a number of runs to seconds.
    """
    split, metric = prepared.split, prepared.metric
    if split.test_size <= MANY_EXAMPLES:
        return lambda runs: 0.0
    y = np.resize(split.y_train, split.test_size)
    stored = metric.constant(split.y_train, split.test_size, split.num_outputs)
    start = time.perf_counter()
    scored = metric.per_example(stored, y).astype(np.float32)
    kept = zlib.compress(scored.tobytes(), 1)
    for _ in range(2):  # by the study, and by the judge
        zlib.decompress(kept)
    each = time.perf_counter() - start
    start = time.perf_counter()
    condense([scored] * _JUDGED)
    compared = time.perf_counter() - start
    return lambda runs: each * runs + compared * (runs / _JUDGED) ** 2


def _seeds(
    declared: Protocol, prepared: trial.Zoo
) -> tuple[dict[str, float], dict[str, float]]:
    """Trains a few configurations on three seeds each, shortly.

    Returns:
        By arm: one seed's standard deviation of the validation score, and the share
        of these trainings that diverged.
    """
    steps = prepared.problem.steps
    problem = dataclasses.replace(
        prepared.problem, steps=min(max(2, math.ceil(LONG * steps)), steps)
    )
    loops = dataclasses.replace(prepared.trainer, problem=problem)
    spreads, diverged = {}, {}
    drawn = _draws(declared, prepared)
    for arm in prepared.arms:
        items = [
            Item(arm.name, index, seed, "confirm", drawn(arm.name, index))
            for index in range(CONFIGURATIONS // 2)
            for seed in (1, 2, 3)
        ]
        runs = [done.run for done in _carried_out(loops, items, declared.threads)]
        groups: dict[int, list[float]] = {}
        for run in runs:
            if math.isfinite(run.validation):
                groups.setdefault(run.pair, []).append(run.validation)
        spreads[arm.name] = statistics.seed_spread(list(groups.values()))
        diverged[arm.name] = float(np.mean([run.diverged for run in runs]))
    return spreads, diverged


def _carried_out(loops: Trainer, items: list[Item], threads: int) -> list[Finished]:
    by_place: dict[tuple[int, int], Finished] = {}
    with execution.executor(lambda: loops, threads=threads) as executor:
        for _, finished in executor.carry_out(loops.divide(items)):
            by_place |= {(done.run.pair, done.run.seed): done for done in finished}
    return [by_place[item.pair, item.seed] for item in items]


def _pseudo_spread(effort: int, baseline: np.ndarray, challenger: np.ndarray) -> float:
    """Guesses the standard deviation of the gain's pseudo-values from pilot scores."""
    spread = float(
        np.hypot(baseline.std(ddof=1), challenger.std(ddof=1)) / math.sqrt(2)
    )
    both = baseline.std() > 0 and challenger.std() > 0
    alike = float(np.corrcoef(baseline, challenger)[0, 1]) if both else 0.0
    return statistics.effect_spread(spread, effort, max(alike, 0.0))

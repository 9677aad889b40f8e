"""One arm's search, as the statistics see it: arrays, higher is better."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from scipy import special

from archtrial.errors import ProtocolError, RecordsError
from archtrial.statistics.stratified import MOST, Places
from archtrial.statistics.tuning import Ranking

__all__ = ["Estimand", "Reading", "Search", "aligned", "cost_ratio", "order_of_pairs"]

Estimand: TypeAlias = Literal["configuration", "run"]
"""What the score of a search is: of the configuration picked, on fresh seeds; or of
the very run that was picked, with its seed's luck."""

# Up to this share of the weight may rest on configurations without a fresh seed.
UNCONFIRMED = 0.01


@dataclasses.dataclass(frozen=True)
class Reading:
    """A search with the test scores of one of the two readings."""

    validation: np.ndarray
    """(n,)."""
    score: np.ndarray
    """(n,) without NaN."""
    examples: np.ndarray | None
    """(n, T); rows of NaN where only a stand-in is known."""
    diverged: np.ndarray
    """(n,) bool."""
    worst: float
    stand_in: np.ndarray | None = None
    """(n,) bool, whose score is a validation score in place of an unknown test score;
    None if none is."""
    test_size: int | None = None
    """T, where the score is known to be a mean over T test examples of scores from 0
    to 1, and no more is known of them."""
    stratified: bool = False
    """Whether the trials fill the space evenly."""
    failing: np.ndarray | None = None
    """(n,) variance of each score that stems from seeds that fail; None if unknown."""
    places: Places | None = None
    """Where they lie, if they fill it evenly and a model of the space is fitted."""

    @functools.cached_property
    def ranking(self) -> Ranking:
        """The trials in the order of their validation scores."""
        return Ranking(self.validation, self.score, stratified=self.stratified)

    def unconfirmed(self, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns (K,) the share of D(k)'s weight on trials with a stand-in."""
        if self.stand_in is None:
            return np.zeros(len(efforts))
        ranking, stand_in = self.ranking, self.stand_in
        return np.concatenate(
            [
                ranking.weights(some)[stand_in].sum(axis=0)
                for some in ranking.in_parts(efforts)
            ]
        )

    def tells(self, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns (K,) bool, at which efforts D(k) rests on test scores.

        The smaller the effort, the more weight lies on trials of low rank, so that
        a search confirmed for one effort may say nothing of a smaller one.
        """
        # A little more than 1 %, for rounding in the sum of the weights.
        told: np.ndarray = self.unconfirmed(efforts) <= UNCONFIRMED + 1e-9
        return told

    def take(self, trials: np.ndarray) -> "Reading":
        """Returns the reading of some trials alone, in the order of their indices."""
        return Reading(
            self.validation[trials],
            self.score[trials],
            None if self.examples is None else self.examples[trials],
            self.diverged[trials],
            self.worst,
            None if self.stand_in is None else self.stand_in[trials],
            self.test_size,
            self.stratified,
            None if self.failing is None else self.failing[trials],
            None if self.places is None else self.places.take(trials),
        )


def order_of_pairs(readings: Sequence[Reading]) -> np.ndarray:
    """Returns an order of paired trials that their content alone decides.

    Random draws belong to places. In this order a place means the same pair however
    the records list the trials, and whichever arm comes first.

    Args:
        readings: Of every arm, paired by index; one arm is allowed.

    Returns:
        (n,) indices of the trials; n is that of the shortest reading.
    """
    n = min(len(reading.score) for reading in readings)
    # Sorted across arms, so that sums do not depend on which comes first.
    chosen = np.sort([reading.validation[:n] for reading in readings], axis=0)
    scored = np.sort([reading.score[:n] for reading in readings], axis=0)
    # Only pairs that agree in both may still differ in which score goes with which.
    products = np.sort([r.validation[:n] * r.score[:n] for r in readings], axis=0)
    order: np.ndarray = np.lexsort(
        (
            products.sum(axis=0),
            *scored[::-1],
            *chosen[::-1],
        )
    )
    return order


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """n independent random trials of one arm, scores turned so that higher is better.

    Raises:
        RecordsError: Arrays of different lengths, or scores that are not numbers.
    """

    name: str
    validation: np.ndarray
    """(n,) validation score of each trial; of a diverged one, `worst`."""
    test: np.ndarray
    """(n,) mean test score over fresh seeds; NaN where there was none."""
    test_run: np.ndarray | None
    """(n,) test score of the trial itself; None if unknown."""
    diverged: np.ndarray
    """(n,) bool."""
    cost: np.ndarray
    """(n,) floating-point operations of each trial; ones if unknown, NaN if in no unit
    that other arms share, so that arms cannot be compared at equal compute."""
    worst: float
    """The score of the constant predictor."""
    examples: np.ndarray | None = None
    """(n, T) score of each test example, whose mean over T is `test`."""
    examples_run: np.ndarray | None = None
    """(n, T) the same for `test_run`."""
    winner_seeds: np.ndarray | None = None
    """(s,) test scores of the tuned configuration on more fresh seeds, paired
    between arms by position."""
    fresh: Sequence[np.ndarray] = ()
    """(n,) test scores of each trial's fresh seeds, whose means are `test`; empty if
    they are unknown."""
    positions: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """By hyperparameter (n,) where each trial lies in its range, from 0 to 1. Arms
    that share a dimension have it under the same name, with the same values."""
    rungs: Mapping[int, "Search"] = dataclasses.field(default_factory=dict)
    """By rung above 1 the same arm trained that many times as long, retuned: its
    trial i has the draw of trial i here, and there may be fewer of them."""
    stratified: bool = False
    """Whether its trials are the first points of a scrambled Sobol sequence
    (`space.Design`)."""
    coordinates: tuple[str, ...] = ()
    """All hyperparameters of all arms (`aligned`); by default this arm's own."""
    options: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """By hyperparameter that is a choice, what its options are called."""

    def seeds_fail(self, effort: int) -> bool:
        """Says whether some seed of a configuration ended far from its others.

        That is, whether the run of the search and the mean over fresh seeds of a
        configuration among the n / k best lie apart by more than a quarter of what
        the best score is above the constant predictor's.

        Args:
            effort: k.
        """
        if self.test_run is None:
            return False
        best = np.argsort(-self.validation, kind="stable")[: math.ceil(self.n / effort)]
        again, once = self.test[best], self.test_run[best]
        known = np.isfinite(again)
        if not known.any():
            return False
        height = max(again[known].max(), once.max()) - self.worst
        return bool(np.any(np.abs(again - once)[known] > height / 4))

    def __post_init__(self) -> None:
        n = len(self.validation)
        for what, values in (
            ("test", self.test),
            ("test_run", self.test_run),
            ("diverged", self.diverged),
            ("cost", self.cost),
            ("examples", self.examples),
            ("examples_run", self.examples_run),
        ):
            if values is not None and len(values) != n:
                raise RecordsError(
                    f"every trial of {self.name} has one value of each kind",
                    f"{n} of validation, {len(values)} of {what}",
                )
        for what, values in (
            ("validation", self.validation),
            ("test_run", self.test_run),
            ("winner_seeds", self.winner_seeds),
        ):
            if values is not None and not np.isfinite(values).all():
                raise RecordsError(
                    f"the {what} scores of {self.name} are finite",
                    str(values[~np.isfinite(values)][0]),
                    "Count a run that diverged at the score of the constant predictor.",
                )
        if np.isinf(self.test).any():
            raise RecordsError(f"the test scores of {self.name} are finite", "inf")
        counted = (self.cost > 0) & np.isfinite(self.cost)
        if not (counted.all() or np.isnan(self.cost).all()):
            raise RecordsError(
                f"the cost of each trial of {self.name} is a positive number",
                str(self.cost.min()),
                "Give ones where the cost is unknown, NaN where it has another unit.",
            )

    @property
    def n(self) -> int:
        """The number of trials."""
        return len(self.validation)

    def knows_examples(self, estimand: Estimand) -> bool:
        """Tells whether the scores of several single test examples are known."""
        examples = self.examples_run if estimand == "run" else self.examples
        return examples is not None and examples.shape[1] > 1

    def readings(self, effort: int) -> tuple[Estimand, ...]:
        """Returns the readings that the scores allow at an effort."""
        allowed: list[Estimand] = []
        if self.reading("configuration").tells([effort])[0]:
            allowed.append("configuration")
        if self.test_run is not None:
            allowed.append("run")
        return tuple(allowed)

    def reading(self, estimand: Estimand) -> Reading:
        """Returns the trials with the scores of one reading.

        Raises:
            ProtocolError: The scores of the trials themselves are unknown.
        """
        if estimand == "run":
            if self.test_run is None:
                raise ProtocolError(
                    "the reading by run needs the test scores of the search runs",
                    f"{self.name} has none",
                    "Choose the reading by configuration.",
                )
            score, examples, stand_in = self.test_run, self.examples_run, None
            failing = None
        else:
            # A configuration that ranks too low to be trained again stands in
            # with its validation score. At that rank it was not selected for
            # being lucky, so the score is not optimistic. The test score of its
            # search run would be as good here, but mixing search runs into this
            # reading is what biases it where seeds fail, so none ever enters.
            stand_in = np.isnan(self.test)
            failing = self._failing() if self.stratified else None
            score = np.where(stand_in, self.validation, self.test)
            examples = self.examples
        return Reading(
            np.asarray(self.validation, dtype=np.float64),
            np.asarray(score, dtype=np.float64),
            examples,
            np.asarray(self.diverged, dtype=bool),
            self.worst,
            stand_in,
            stratified=self.stratified,
            failing=failing,
            places=self._places(),
        )

    def _failing(self) -> np.ndarray | None:
        """Returns (n,) the variance of each mean over fresh seeds that failures make.

        How often a seed fails is pooled over all fresh seeds of the arm: of three seeds
        none fails by luck in a third of the configurations where 30 % do, and their
        spread then tells nothing. A seed has failed where it ends nearer to the
        constant predictor than to the best run of the same configuration. Only
        configurations whose best run lies in the upper half of all scores are asked:
        of the others it cannot be told whether they fail or are merely bad.
        """
        trials = [
            i
            for i, seeds in enumerate(self.fresh)
            if len(seeds) and not self.diverged[i]
        ]
        if not self.fresh:
            return None
        best = {i: max(self.fresh[i].max(), self.validation[i]) for i in trials}
        highest = max(best.values(), default=self.worst)
        working = [i for i in trials if best[i] > (self.worst + highest) / 2]
        failed = {i: self.fresh[i] < (self.worst + best[i]) / 2 for i in working}
        variance = np.zeros(self.n)
        if failed:
            seeds = np.concatenate(list(failed.values()))
            share = 0.0
            if seeds.any() and not seeds.all():
                # A handful of seeds tells little of a share: its 90 % upper limit.
                count = int(seeds.sum())
                limit = special.betaincinv(count + 1, len(seeds) - count, 0.9)
                share = min(float(limit), 0.5)  # at which it varies most
            for i in working:
                worked = self.fresh[i][~failed[i]]
                height = (np.mean(worked) if len(worked) else best[i]) - self.worst
                variance[i] = share * (1 - share) * height**2 / len(self.fresh[i])
        return variance

    @property
    def modelled(self) -> bool:
        """Whether a model of the space is fitted to the trials."""
        return bool(self.stratified and self.positions and self.n <= MOST)

    def _places(self) -> Places | None:
        """Returns where the trials lie, if a model of the space is to be fitted."""
        if not self.modelled:
            return None
        names = sorted(self.positions)
        coordinates = self.coordinates or tuple(names)
        labels = [self.options.get(name, ()) for name in names]
        return Places.of(
            np.stack([self.positions[name] for name in names], axis=1),
            [coordinates.index(name) for name in names],
            len(coordinates),
            [len(each) for each in labels],
            [len(each) > 2 and not all(map(_is_number, each)) for each in labels],
        )


def aligned(
    searches: Sequence[Search], options: Mapping[str, Sequence[str]]
) -> list[Search]:
    """Returns searches that know of each other's hyperparameters.

    Args:
        searches: Of all arms.
        options: By hyperparameter that is a choice, what its options are called.
    """
    coordinates = tuple(sorted({name for each in searches for name in each.positions}))

    def told(search: Search) -> Search:
        return dataclasses.replace(
            search,
            coordinates=coordinates,
            options=options,
            rungs={rung: told(longer) for rung, longer in search.rungs.items()},
        )

    return [told(search) for search in searches]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def cost_ratio(baseline: Search, challenger: Search) -> float | None:
    """Returns the baseline's mean cost of a trial over the challenger's.

    Returns:
        None where one of them has a unit of its own.
    """
    ratio = float(np.mean(baseline.cost) / np.mean(challenger.cost))
    return None if np.isnan(ratio) else ratio

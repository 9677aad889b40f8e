"""A factorial of tweaks: which of them makes the difference, and with which other.

Every cell of {vanilla, tweaked} x {plain, modern} is an arm with a search of its own.
A main effect is how much D(k*) rises from one level of a factor to another, averaged
over all cells of the others; an interaction is by how much that rise differs between
two levels of another factor. Both are weighted sums of the cells' D(k*), so they have
the same influences, resamples and test examples as the gain of one arm over another,
and are judged by the same functions.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.randomness import seed as seed_of
from archtrial.space import Value
from archtrial.statistics.expectation import Expectation, expectation, resample_counts
from archtrial.statistics.gain import gain
from archtrial.statistics.gate import gate_by_signs
from archtrial.statistics.intervals import Estimate, holm, mean
from archtrial.statistics.search import Estimand, Search, aligned, order_of_pairs
from archtrial.statistics.stratified import Influences

__all__ = ["Effect", "Winner", "effects", "winner"]


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one tweak, or two together, do to D(k*)."""

    name: str
    """Such as "norm: batch rather than none", or "depth: 8 rather than 4, with norm:
    batch rather than none"."""
    factors: tuple[str, ...]
    """One for a main effect, two for an interaction."""
    effect: Estimate
    """With an interval at 1 - alpha over the number of effects: all hold together."""
    p_value: float
    p_value_adjusted: float
    """After Holm's adjustment for the number of effects."""
    claimed: bool
    """Whether the adjusted p is at most alpha, and the interval leaves out 0."""


def effects(
    searches: Sequence[Search],
    levels: Sequence[Mapping[str, Value]],
    *,
    effort: int,
    estimand: Estimand,
    alpha: float,
    seed: int,
    paired: bool,
    permutations: int = 9999,
    resamples: int = 2000,
) -> list[Effect]:
    """Estimates all main effects and two-way interactions of a full factorial.

    A factor's first level is the one that it has in the first cell; every other level
    is set against it (treatment contrasts). With D(x, y) the score of a cell, averaged
    over all other factors, and 0 the first levels,

        main effect of x     mean over y of D(x, y) - D(0, y)
        interaction of x, y  [D(x, y) - D(0, y)] - [D(x, 0) - D(0, 0)]

    Where an interaction is large, the main effects are averages over unlike cells: read
    the interaction first.

    Whatever effects there are, one that is none is claimed with probability `alpha` at
    most over the whole list (Holm), up to the approximation of `gate_by_signs`: in 1,000
    simulated 2 x 2 x 2 studies without any effect, n = 16 and 32, it was 0 to 2 %, for a
    claim takes the interval as well. Of paired cells, calling the other level of a
    two-level factor the first turns its effects round exactly.

    Args:
        searches: One for each cell; if paired, trial i of every cell has the same draw
            of the shared hyperparameters, and trials that some cell lacks are left out.
        levels: For each cell, the level of each factor.
        effort: k*, at most a quarter of the trials of any cell.
        estimand: The reading of the scores.
        alpha: The level that all effects share.
        seed: The protocol's seed.
        paired: Whether trials are paired by index.
        permutations: P of each test.
        resamples: B of the intervals, even; raised so that both tails of intervals
            that share `alpha` have resamples of their own.

    Returns:
        The main effects, then the interactions, in the order of the factors.

    Raises:
        ProtocolError: A cell is missing, double, or lacks a factor; a factor has one
            level; there are too few trials or no scores of the reading.

    References:
        Wu and Hamada (2009), "Experiments", chapter 4; Holm (1979), "A simple
        sequentially rejective multiple test procedure".
    """
    factors = _factors(searches, levels)
    cells = _expectations(
        searches,
        effort,
        estimand,
        seed,
        paired,
        2 * math.ceil(max(resamples / 2, 20 * len(searches) / alpha)),
    )
    contrasts = list(_contrasts(factors, levels))
    level = alpha / len(contrasts)
    found = []
    for name, involved, weights in contrasts:
        risen = _combined(cells, np.maximum(weights, 0), paired)
        fallen = _combined(cells, np.maximum(-weights, 0), paired)
        gained = gain(risen, fallen, alpha=level, paired=paired)
        p_value = (
            gate_by_signs(
                risen, fallen, paired=paired, permutations=permutations, seed=seed
            )
            if gained.p_value is None
            else float(gained.p_value[0])
        )
        found.append((name, involved, gained.at(0), p_value))
    adjusted = holm([p_value for *_, p_value in found])
    return [
        Effect(
            name=name,
            factors=involved,
            effect=effect,
            p_value=p_value,
            p_value_adjusted=p,
            claimed=p <= alpha and (effect.low > 0 or effect.high < 0),
        )
        for (name, involved, effect, p_value), p in zip(found, adjusted, strict=True)
    ]


def _factors(
    searches: Sequence[Search], levels: Sequence[Mapping[str, Value]]
) -> dict[str, list[Value]]:
    """Returns the levels of each factor, as they first appear.

    Raises:
        ProtocolError: The cells are no full factorial.
    """
    if len(levels) != len(searches) or not levels:
        raise ProtocolError(
            "every cell of a factorial has its levels",
            f"{len(searches)} cells, {len(levels)} sets of levels",
        )
    factors: dict[str, list[Value]] = {name: [] for name in levels[0]}
    for search, cell in zip(searches, levels, strict=True):
        if set(cell) != set(factors):
            raise ProtocolError(
                "all cells of a factorial have the same factors",
                f"{search.name} has {', '.join(sorted(cell)) or 'none'}",
                f"Give it a level of each of {', '.join(sorted(factors))}.",
            )
        for name, level in cell.items():
            if not _position(factors[name], level):
                factors[name].append(level)
    for name, seen in factors.items():
        if len(seen) < 2:
            raise ProtocolError(
                "a factor has two levels at least", f"{name} is {seen[0]!r} everywhere"
            )
    held = [_place(factors, cell) for cell in levels]
    for place in itertools.product(*(range(len(seen)) for seen in factors.values())):
        if (count := held.count(place)) != 1:
            missing = ", ".join(
                f"{name} = {seen[i]}"
                for (name, seen), i in zip(factors.items(), place, strict=True)
            )
            raise ProtocolError(
                "a factorial has each combination of levels once",
                f"{missing} is there {count} times",
                "Add the arm that is missing, or compare the arms one by one.",
            )
    return factors


def _written(level: Value) -> str:
    """Returns a level as a protocol writes it."""
    return str(level).lower() if isinstance(level, bool) else str(level)


def _position(seen: Sequence[Value], level: Value) -> int:
    """Returns the number of a level, from 1; 0 where it was not seen.

    To Python 1 and True are the same, to a factorial they are not.
    """
    return next(
        (
            i
            for i, other in enumerate(seen, start=1)
            if other == level and isinstance(other, bool) == isinstance(level, bool)
        ),
        0,
    )


def _place(
    factors: Mapping[str, Sequence[Value]], cell: Mapping[str, Value]
) -> tuple[int, ...]:
    """Returns which level of each factor a cell has, from 0."""
    return tuple(_position(seen, cell[name]) - 1 for name, seen in factors.items())


def _contrasts(
    factors: Mapping[str, Sequence[Value]], levels: Sequence[Mapping[str, Value]]
) -> list[tuple[str, tuple[str, ...], np.ndarray]]:
    """Lists the name, the factors and the weights of the cells, for each effect."""
    places = np.array([_place(factors, cell) for cell in levels])
    rises = {}
    for column, (name, seen) in enumerate(factors.items()):
        own = places[:, column]
        rises[name] = [
            (
                f"{name}: {_written(seen[level])} rather than {_written(seen[0])}",
                1.0 * (own == level) - 1.0 * (own == 0),
            )
            for level in range(1, len(seen))
        ]
    found: list[tuple[str, tuple[str, ...], np.ndarray]] = []
    for name, own_rises in rises.items():
        others = len(levels) / len(factors[name])
        found += [(title, (name,), rise / others) for title, rise in own_rises]
    for (one, of_one), (two, of_two) in itertools.combinations(rises.items(), 2):
        others = len(levels) / (len(factors[one]) * len(factors[two]))
        # Where both have two levels there is but one interaction to name.
        alone = len(of_one) == len(of_two) == 1
        found += [
            (
                f"{one} x {two}" if alone else f"{title} x {other}",
                (one, two),
                rise * second / others,
            )
            for title, rise in of_one
            for other, second in of_two
        ]
    return found


# --- weighted sums of cells --------------------------------------------------------


def _expectations(
    searches: Sequence[Search],
    effort: int,
    estimand: Estimand,
    seed: int,
    paired: bool,
    resamples: int,
) -> list[Expectation]:
    """Returns D(k) of every cell, resampled together if the cells are paired.

    Raises:
        ProtocolError: There are too few trials, or no scores of the reading.
    """
    fewest = min(search.n for search in searches)
    if not 1 <= effort <= fewest // 4:
        raise ProtocolError(
            "effort is at least 1 and at most a quarter of every cell's trials",
            f"{effort}, with {fewest} trials",
        )
    readings = [search.reading(estimand) for search in aligned(searches, {})]
    for search, reading in zip(searches, readings, strict=True):
        if not reading.tells([effort])[0]:
            raise ProtocolError(
                f"the reading by {estimand} needs its scores in every cell",
                f"the best configurations of {search.name} have no fresh seeds",
                "Choose the reading by run."
                if all(other.test_run is not None for other in searches)
                else "",
            )
    if paired:
        order = order_of_pairs(readings)
        counts = resample_counts(seed, fewest, fewest, paired=True, resamples=resamples)
        return [expectation(r.take(order), [effort], counts[0]) for r in readings]
    found = []
    for place, reading in enumerate(readings):
        n = len(reading.score)
        # Independent of the other cells' draws.
        counts = resample_counts(
            seed_of(seed, "cell", place), n, n, paired=True, resamples=resamples
        )
        ordered = reading.take(order_of_pairs([reading]))
        found.append(expectation(ordered, [effort], counts[0]))
    return found


def _combined(
    cells: Sequence[Expectation], weights: np.ndarray, paired: bool
) -> Expectation:
    """Returns a weighted sum of cells, as if it were one arm.

    Args:
        cells: All at one effort.
        weights: (cells,) none negative.
        paired: Whether trials are paired; if not, every trial of every cell is a unit
            of its own, so influences stand one below the other instead of adding up.
    """
    chosen = [(w, cell) for w, cell in zip(weights, cells, strict=True) if w > 0]
    scaled = [w * cell.influence for w, cell in chosen]
    examples = None
    if all(cell.examples is not None for cell in cells):
        examples = np.sum([w * cell.examples for w, cell in chosen], axis=0)
    model = None
    models = [(w, cell.model) for w, cell in chosen if cell.model is not None]
    if len(models) == len(chosen):
        parts = [each.scaled(w) for w, each in models]
        trials = [each.trials for each in parts]
        model = Influences(
            np.sum(trials, axis=0) if paired else np.concatenate(trials),
            np.sum([each.design for each in parts], axis=0),
            np.sum([each.boundary for each in parts], axis=0),
        )
    failing = [w**2 * cell.failing for w, cell in chosen if cell.failing is not None]
    return Expectation(
        estimate=np.sum([w * cell.estimate for w, cell in chosen], axis=0),
        influence=np.sum(scaled, axis=0) if paired else np.concatenate(scaled),
        resampled=np.sum([w * cell.resampled for w, cell in chosen], axis=0),
        examples=examples,
        fall=np.sum([w * cell.fall for w, cell in chosen], axis=0),
        freedom=np.min([cell.freedom for _, cell in chosen], axis=0),
        model=model,
        failing=np.sum(failing, axis=0) if len(failing) == len(chosen) else None,
        stratified=all(cell.stratified for _, cell in chosen),
    )


# --- the best of many ------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Winner:
    """The best of several arms, rerun on seeds that had no part in choosing it."""

    name: str
    score: Estimate
    """D(k*), as it was when the arm was chosen for it: too high on average."""
    rerun: Estimate
    """Mean test score of its tuned configuration over fresh seeds."""
    seeds: int
    lead: Estimate | None
    """Its D(k*) less the baseline's, too high on average; None if the baseline is the
    best."""
    rerun_lead: Estimate | None
    """The same between the tuned configurations of both, on fresh seeds."""
    luck: Estimate | None
    """How much of the lead the rerun did not bear out."""


def winner(
    searches: Sequence[Search],
    *,
    effort: int,
    estimand: Estimand,
    alpha: float,
    seed: int,
    paired: bool,
    resamples: int = 2000,
) -> Winner | None:
    """Finds the best arm by D(k*), and says what its rerun leaves of its lead.

    The best of many is best in part by luck, and so are the numbers that it was
    chosen for. Its fresh seeds had no part in that: `rerun` and `rerun_lead` are
    unbiased for the tuned configurations as they are. Their intervals (Student's t)
    know the seeds alone: another search would have ended at other configurations, and
    another test set would score them otherwise. So the luck is a description, not a
    test; it also holds whatever separates the two configurations at hand from what a
    k*-search finds on average.

    Args:
        searches: The baseline first, then any other arms.
        effort: k*, at most a quarter of any arm's trials.
        estimand: The reading of the scores.
        alpha: Each interval has level 1 - alpha.
        seed: The protocol's seed.
        paired: Whether trials are paired by index.
        resamples: B of the intervals of `score` and `lead`, even.

    Returns:
        The winner; None where it has fewer than two fresh seeds. What compares it with
        the baseline is None where the baseline has fewer than two.

    Raises:
        ProtocolError: There are too few trials, or no scores of the reading.
    """
    found = _expectations(searches, effort, estimand, seed, paired, resamples)
    best = int(np.argmax([float(cell.estimate[0]) for cell in found]))
    own, other = searches[best].winner_seeds, searches[0].winner_seeds
    if own is None or len(own) < 2:
        return None
    lead = rerun_lead = luck = None
    if best and other is not None and min(len(own), len(other)) > 1:
        s = min(len(own), len(other))
        one, two = (_combined([found[i]], np.ones(1), paired) for i in (best, 0))
        lead = gain(one, two, alpha=alpha, paired=paired).at(0)
        rerun_lead = mean(own[:s] - other[:s], alpha)
        gone = lead.estimate - rerun_lead.estimate
        # Seeds and searches err independently, so they add in squares.
        luck = Estimate(
            gone,
            gone
            - math.hypot(
                lead.estimate - lead.low, rerun_lead.high - rerun_lead.estimate
            ),
            gone
            + math.hypot(
                lead.high - lead.estimate, rerun_lead.estimate - rerun_lead.low
            ),
        )
    return Winner(
        name=searches[best].name,
        score=gain(found[best], alpha=alpha).at(0),
        rerun=mean(own, alpha),
        seeds=len(own),
        lead=lead,
        rerun_lead=rerun_lead,
        luck=luck,
    )

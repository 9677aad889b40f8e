"""Which of several arms to take: the simplest that comes within the margin of the best.

The arms are ordered from simple to complex. A choice has two parts, and its claim holds
with probability 1 - alpha for both together.

1. **Searches** of equal effort are compared at declared looks. An arm leaves that cannot
   be taken any more (`cannot_win`): one that is worse than another by more than the
   margin, or worse at all than a simpler one, both by what k trials end with
   (`of_searches`) and by what it is tuned to so far (`of_tuned`). The first alone would
   drop an arm that needs more trials than k to be tuned, and is the best then.
2. **Finalists**, the arms that are left, are trained anew with their tuned
   configurations, on seeds and test examples that had no part in any choice. The simplest
   is taken of which no other is better by more than the margin (`recommend`).

How often is the arm that is taken, r, worse than the best, b, by more than the margin?
Either b left in the first part, because an interval of b less some other arm lay below 0
although b is the best: one of m - 1 differences at each look. Or b is a finalist, and the
lower end of r less b lay above -margin although r less b is below: one of F - 1
differences. In each only one end of an interval can be at fault, so that an interval of
level 1 - l is with a chance of l / 2. A fifth of alpha is divided among the differences and
looks of the first part (`levels_of_searches`), the rest among those of the second
(`level_of_finalists`): few arms are near enough to the best to be dropped by mistake, and
what is close is left to the finalists. Who is compared was picked by what was seen, and b
was not: it does not depend on the records, so no further correction is due. (Bonferroni
over the differences to the one best arm; Hsu 1996, Multiple Comparisons, chapter 4, has
such comparisons with the best.)

Whoever has left is no better than a finalist: it left as worse than another arm, and so
has that one, if it left. So a claim over finalists is one over all arms.

Shapes: m arms, T examples. All scores come turned so that higher is better.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.expectation import Expectation, expectations
from archtrial.statistics.gain import gain
from archtrial.statistics.intervals import Estimate, normal, student
from archtrial.statistics.search import Search, aligned

__all__ = [
    "Choice",
    "Gaps",
    "Order",
    "agreement",
    "both",
    "cannot_win",
    "level_of_finalists",
    "levels_of_searches",
    "of_finalists",
    "of_searches",
    "of_tuned",
    "reached",
    "recommend",
    "standing",
]


@dataclasses.dataclass(frozen=True)
class Gaps:
    """By how much each of m arms is better than each other; every array is (m, m).

    Entry (i, j) is of arm i less arm j. `low` and `high` mirror each other: low[i, j] is
    -high[j, i]. The diagonal is 0.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, arm: int, other: int) -> Estimate:
        """Returns how much better an arm is than another."""
        place = arm, other
        return Estimate(
            float(self.estimate[place]), float(self.low[place]), float(self.high[place])
        )

    def take(self, arms: Sequence[int]) -> "Gaps":
        """Returns the gaps of some arms alone, in their order."""
        which = np.ix_(arms, arms)
        return Gaps(self.estimate[which], self.low[which], self.high[which])


_OF_SEARCHES = 0.2
"""The part of alpha that is for arms which leave before the finalists are compared."""


def levels_of_searches(looks: Sequence[int], alpha: float, arms: int) -> list[float]:
    """Returns the level of the intervals at each look: 1 - what is returned.

    Each look has the same part. A trial gives its early looks next to nothing
    (`looks.spend`), for it may claim a small gain at its last one. Here early looks are to
    tell which arms are far behind.

    Args:
        looks: The number of configurations at each look.
        alpha: Of the whole choice.
        arms: m, at least two.

    Raises:
        ProtocolError: There are no looks, or they do not increase.

    Examples:
        >>> [round(level, 4) for level in levels_of_searches([16, 32], 0.05, 3)]
        [0.005, 0.005]
    """
    if not looks or any(
        b <= a for a, b in zip(looks, [*looks[1:], math.inf], strict=True)
    ):
        raise ProtocolError(
            "looks are numbers of configurations, each larger than the one before",
            ", ".join(map(str, looks)) or "none",
            "Write them in ascending order, each once.",
        )
    return [2 * _OF_SEARCHES * alpha / len(looks) / (arms - 1)] * len(looks)


def level_of_finalists(alpha: float, finalists: int) -> float:
    """Returns the level of the intervals between finalists: 1 - what is returned.

    Args:
        alpha: Of the whole choice.
        finalists: F, at least one.

    Examples:
        >>> round(level_of_finalists(0.05, 3), 4)
        0.04
    """
    return 2 * (1 - _OF_SEARCHES) * alpha / max(finalists - 1, 1)


def of_searches(searches: Sequence[Search], effort: int, level: float) -> Gaps:
    """Compares searches pair by pair: what each ends with at an effort.

    The estimand is that of a trial: Delta(k), the expected score on fresh seeds of the
    configuration that k trials end with. So is the interval (`gain.gain`): of pairs, of
    draws that fill the space evenly, with the error of the examples.

    Args:
        searches: m, paired by index, with positions, whose trials fill the space evenly.
        effort: k, at most a quarter of the trials.
        level: Each interval has level 1 - level; two-sided.
    """
    m = len(searches)
    estimate, low, high = (np.zeros((m, m)) for _ in range(3))
    known: dict[tuple[int, tuple[str, ...]], Expectation] = {}
    for i in range(m):
        for j in range(i):
            # A pair's model is of its own hyperparameters, whoever else is there.
            pair = aligned([searches[j], searches[i]], {})
            for arm, search in zip((j, i), pair, strict=True):
                if (arm, search.coordinates) not in known:
                    known[arm, search.coordinates] = _expected(search, effort)
            one, other = (
                known[arm, search.coordinates]
                for arm, search in zip((j, i), pair, strict=True)
            )
            told = gain(other, one, alpha=level, paired=True).at(0)
            estimate[i, j], estimate[j, i] = told.estimate, -told.estimate
            low[i, j], high[j, i] = told.low, -told.low
            high[i, j], low[j, i] = told.high, -told.high
    return Gaps(estimate, low, high)


def reached(search: Search, effort: int, level: float) -> Estimate:
    """Returns what k trials of a search are expected to end with.

    Args:
        search: Of an arm, whose trials fill the space evenly.
        effort: k, at most a quarter of the trials.
        level: The interval has level 1 - level; two-sided.
    """
    return gain(_expected(search, effort), alpha=level).at(0)


def _expected(search: Search, effort: int) -> Expectation:
    """Returns what a search ends with at an effort; an even design resamples nothing."""
    reading = search.reading("configuration")
    nothing = np.empty((0, search.n), dtype=np.uint8)
    (found,) = expectations(reading, [[effort]], nothing)
    return found


def of_tuned(searches: Sequence[Search], level: float) -> Gaps:
    """Compares what searches are tuned to so far, in favour of whoever seems worse.

    The estimand is that of `of_finalists`: the mean score over seeds and examples of the
    configurations themselves. Which they are was chosen by the same validation scores, and
    whoever is picked out of several looks better than it is. So of each pair the arm that
    may leave counts with its best configuration by all fresh seeds, and the other with
    that which was best in the search, whose fresh seeds had no part in the choice. The
    spread over seeds is that of all configurations with as many seeds, taken together.

    Args:
        searches: m, with fresh seeds of their best configurations.
        level: Each interval has level 1 - level; two-sided.

    Returns:
        `high` says how much better an arm may be than another, `low` mirrors it.
    """
    tuned = [_Tuned.of(search) for search in searches]
    m = len(searches)
    estimate, high = np.zeros((m, m)), np.zeros((m, m))
    for i in range(m):
        for j in range(m):
            if i != j:
                one, other = tuned[i], tuned[j]
                gap = one.best - other.picked
                reach = _reach(
                    [one.square, other.square],
                    [one.freedom, other.freedom],
                    None
                    if one.best_shares is None or other.picked_shares is None
                    else one.best_shares - other.picked_shares,
                    level,
                )
                estimate[i, j], high[i, j] = gap, gap + reach
    return Gaps((estimate - estimate.T) / 2, -high.T, high)


@dataclasses.dataclass(frozen=True)
class _Tuned:
    """What a search is tuned to, by all fresh seeds and by the search alone."""

    best: float
    picked: float
    best_shares: np.ndarray | None
    picked_shares: np.ndarray | None
    square: float
    """The variance of each of these means over seeds."""
    freedom: float

    @classmethod
    def of(cls, search: Search) -> "_Tuned":
        counts = np.array([len(seeds) for seeds in search.fresh])
        fully = np.flatnonzero(counts == counts.max())
        best = int(fully[np.argmax(search.test[fully])])
        picked = int(fully[np.argmax(search.validation[fully])])
        seeds = int(counts.max())
        squares = [np.var(search.fresh[i], ddof=1) for i in fully.tolist()]
        shares = search.examples
        return cls(
            float(search.test[best]),
            float(search.test[picked]),
            None if shares is None else shares[best].astype(np.float64),
            None if shares is None else shares[picked].astype(np.float64),
            float(np.mean(squares)) / seeds,
            len(fully) * (seeds - 1),
        )


def _reach(
    squares: Sequence[float],
    freedoms: Sequence[float],
    apart: np.ndarray | None,
    level: float,
) -> float:
    """Returns how far an interval reaches: errors of seeds and of examples, in squares.

    Args:
        squares: Of both arms, the variance of the mean over seeds.
        freedoms: The degrees of freedom of each.
        apart: (T,) how the arms differ on each example; None where it is unknown.
        level: The interval has level 1 - level.
    """
    variance = math.fsum(squares)
    # Where no seed makes a difference, as with boosted trees, none is known.
    fourth = math.fsum(v**2 / f for v, f in zip(squares, freedoms, strict=True))
    freedom = variance**2 / fourth if fourth > 0 else math.inf
    critical = float(student(freedom, level) if fourth > 0 else normal(level))
    examples = 0.0 if apart is None else float(np.var(apart, ddof=1)) / len(apart)
    return math.sqrt(critical**2 * variance + float(normal(level)) ** 2 * examples)


def both(one: Gaps, other: Gaps) -> Gaps:
    """Returns the hull of two intervals of each gap, with the estimates of the first."""
    return Gaps(
        one.estimate, np.minimum(one.low, other.low), np.maximum(one.high, other.high)
    )


def cannot_win(gaps: Gaps, margin: float) -> dict[int, int]:
    """Returns the arms that leave, each with the arm that it is worse than.

    An arm leaves where the whole interval of its gap to another one lies below -margin;
    or below 0, where that other one is simpler. The first cannot be within the margin of
    the best. The second cannot be taken, for the simpler one is as near to whatever the
    best is.

    Args:
        gaps: Of arms in order, the simplest first.
        margin: The smallest gap worth having.

    Returns:
        By arm, of all that it is worse than in this sense the one that is ahead most.
        That one may leave as well; following them ends with an arm that stays.
    """
    left: dict[int, int] = {}
    for arm, highs in enumerate(gaps.high):
        worse = [
            other
            for other, high in enumerate(highs)
            if high < (0 if other < arm else -margin) and other != arm
        ]
        if worse:
            left[arm] = min(worse, key=lambda other: float(gaps.estimate[arm, other]))
    return left


def of_finalists(
    scores: Sequence[np.ndarray], shares: np.ndarray | None, level: float
) -> Gaps:
    """Compares tuned configurations pair by pair, on fresh seeds.

    The estimand is the mean score over seeds and examples of the very configurations
    that were found. Two errors add in squares: of the seeds, whose spread may differ
    between arms (Welch 1947, Biometrika 34), and of the test examples, which both arms
    share.

    Args:
        scores: For each arm (r,) test scores, at least two of each, one a seed.
        shares: (m, T) each arm's mean score of each test example over its seeds; None
            where they are unknown.
        level: Each interval has level 1 - level; two-sided.
    """
    means = np.array([np.mean(own) for own in scores])
    squares = [float(np.var(own, ddof=1)) / len(own) for own in scores]
    m = len(scores)
    reach = np.zeros((m, m))
    for i in range(m):
        for j in range(i):
            reach[i, j] = reach[j, i] = _reach(
                [squares[i], squares[j]],
                [len(scores[i]) - 1, len(scores[j]) - 1],
                None if shares is None else shares[i] - shares[j],
                level,
            )
    apart = means[:, None] - means[None, :]
    return Gaps(apart, apart - reach, apart + reach)


def standing(scores: np.ndarray, shares: np.ndarray | None, level: float) -> Estimate:
    """Returns the mean score of one finalist, over seeds and examples.

    Args:
        scores: (r,) test scores, at least two, one a seed.
        shares: (T,) the mean score of each test example; None where it is unknown.
        level: The interval has level 1 - level; two-sided.
    """
    square = float(np.var(scores, ddof=1)) / len(scores)
    reach = _reach([square], [len(scores) - 1], shares, level)
    middle = float(np.mean(scores))
    return Estimate(middle, middle - reach, middle + reach)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is taken of the finalists."""

    arm: int
    """The simplest that is shown to be within the margin of every other; where none is,
    the best on average."""
    shown: bool
    """Whether it is shown, with probability 1 - alpha."""
    best: int
    """The best on average."""
    behind: float
    """By how much some other finalist may be better, at most: the upper end of all
    intervals, 0 where there is no other."""


def recommend(gaps: Gaps, scores: Sequence[float], margin: float) -> Choice:
    """Takes the simplest arm of which no other is better by more than the margin.

    Args:
        gaps: Of the finalists in order, the simplest first.
        scores: (F,) their mean scores.
        margin: The smallest gap worth having.

    Examples:
        >>> import numpy as np
        >>> gap = np.array([[0.0, -0.002], [0.002, 0.0]])
        >>> recommend(Gaps(gap, gap - 0.002, gap + 0.002), [0.9, 0.902], 0.005).arm
        0
    """
    others = ~np.eye(len(scores), dtype=bool)
    behind = [
        max((-float(low) for low in row[own]), default=0.0)
        for row, own in zip(gaps.low, others, strict=True)
    ]
    best = int(np.argmax(scores))
    near = [arm for arm, most in enumerate(behind) if most < margin]
    arm = near[0] if near else best
    return Choice(arm, bool(near), best, max(behind[arm], 0.0))


@dataclasses.dataclass(frozen=True)
class Order:
    """How far two rankings of the same arms agree."""

    tau: Estimate
    """Kendall's rank correlation: the share of pairs in the same order less the share in
    opposite orders, with its 95 % interval over seeds."""
    first_stays: float
    """How often the best of one is the best of the other, over the same draws."""


def agreement(
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    stream: np.random.Generator,
    *,
    draws: int = 4000,
) -> Order:
    """Says whether arms rank alike under two conditions, as far as their seeds tell.

    The interval is that of the correlation where each mean is drawn from Student's
    distribution about what was seen, with the spread of its seeds: what would be seen
    again. So it also holds where arms are so close that their order is chance.

    Args:
        before: For each of at least two arms (r,) scores, at least two of each.
        after: The same under the other condition.
        stream: Of random numbers.
        draws: As many means are drawn.
    """
    means = [np.array([np.mean(own) for own in group]) for group in (before, after)]
    errors = [
        np.array([np.std(own, ddof=1) / math.sqrt(len(own)) for own in group])
        for group in (before, after)
    ]
    drawn = [
        mean
        + error * stream.standard_t([len(own) - 1 for own in group], (draws, len(mean)))
        for mean, error, group in zip(means, errors, (before, after), strict=True)
    ]
    found = _tau(*drawn)
    low, high = np.quantile(found, [0.025, 0.975])
    stays = np.mean(drawn[0].argmax(axis=1) == drawn[1].argmax(axis=1))
    (seen,) = _tau(means[0][None], means[1][None])
    return Order(Estimate(float(seen), float(low), float(high)), float(stays))


def _tau(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns (B,) Kendall's tau of (B, m) scores; a tie counts as neither."""
    i, j = np.triu_indices(one.shape[1], 1)
    signs = np.sign(one[:, i] - one[:, j]) * np.sign(other[:, i] - other[:, j])
    mean: np.ndarray = signs.mean(axis=1)
    return mean

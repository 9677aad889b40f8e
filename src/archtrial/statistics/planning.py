"""What a study will see and what it takes, before anything is spent.

The breadth of the search space, not the gap between the arms, decides what a
study can see. So the smallest effect that it detects is stated before and after,
and "inconclusive" comes with the number of configurations that would settle it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from archtrial.errors import ProtocolError
from archtrial.statistics.intervals import normal, student
from archtrial.statistics.search import Estimand, Search
from archtrial.statistics.stratified import MOST
from archtrial.statistics.tuning import plug_in_weights, rank_weights

__all__ = [
    "MOST_SEEDS",
    "EvenError",
    "Plan",
    "Settlement",
    "configurations_for",
    "default_margin",
    "detectable_effects",
    "effect_spread",
    "even_settlement",
    "largest_study",
    "minimum_detectable_effect",
    "plan_runs",
    "seed_spread",
    "seed_variance",
    "settlement",
    "worthwhile_seeds",
]

POWER = 0.8
SMALLEST_EFFORT = 4
WINNER_SEEDS = 10
_LARGEST = 2**20
"""Configurations beyond which nobody goes."""
MOST_SEEDS = 12
"""Fresh seeds beyond which one more of them changes next to nothing."""


def minimum_detectable_effect(
    standard_error: float,
    configurations: int,
    effort: int,
    *,
    margin: float = 0.0,
    test_variance: float = 0.0,
    alpha: float = 0.05,
) -> float:
    """Returns the smallest true gain that is claimed with a power of 80 %.

    A claim needs an interval without 0 and an estimate of at least the margin.

    Args:
        standard_error: Of the gain at this number of configurations.
        configurations: n, of each arm.
        effort: k.
        margin: The smallest gap worth having.
        test_variance: The part of the gain's variance that stems from the test
            examples.
        alpha: The level of the claim.
    """
    error = math.sqrt(standard_error**2 + test_variance)
    freedom = 2 * configurations / effort - 1
    reserve = float(special.stdtrit(freedom, POWER))
    critical = float(student(freedom, alpha))
    return max(critical * error, margin) + reserve * error


def least_p(baseline: int, challenger: int, *, paired: bool) -> float:
    """Returns the smallest p that `gate` gives any gain, however large.

    Of all swaps of pairs none is more extreme than none and all. Of all ways to deal
    the labels, one is the most extreme, and where the arms are of one size also its
    mirror image.

    Args:
        baseline: Its number of trials.
        challenger: Its number.
        paired: Whether trials are paired.

    Examples:
        >>> least_p(4, 4, paired=True)
        0.125
    """
    if paired:
        return 2.0 ** (1 - min(baseline, challenger))
    extreme = 2 if baseline == challenger else 1
    return extreme / float(special.binom(baseline + challenger, challenger))


def effect_spread(score_spread: float, effort: int, correlation: float = 0.0) -> float:
    """Guesses the standard deviation of the gain's pseudo-values from a pilot.

    With n configurations the gain's standard error is this over the root of n. It
    is exact to first order where the scores of both arms' configurations are
    normal with the same spread, and choosing by validation costs nothing. Where a
    space has a long tail of bad configurations the true value is lower, since a
    search of effort k leaves them behind.

    Args:
        score_spread: Standard deviation of the score over configurations.
        effort: k.
        correlation: Between the scores of the arms on the same draw, from 0
            (unpaired) towards 1.
    """
    # The influence of one trial with quantile u on the best of k is
    # k E[max(x_u, best of k - 1 others)], whose derivative in x is k u^(k-1).
    u = (np.arange(4096) + 0.5) / 4096
    x = special.ndtri(u)
    influence = np.cumsum(effort * u ** (effort - 1) * np.gradient(x))
    one_arm = float(influence.std()) * score_spread
    return one_arm * math.sqrt(2 * (1 - correlation))


# --- draws that fill the space evenly ------------------------------------------


_RATE = 2
"""What an even design leaves of the variance falls like n to the power of -2: in
nine simulated settings whose arms differ, from n = 16 to 128, by powers of 1.6 (half of
one arm's draws diverge) to 2.8, and 2.3 in the middle (evidence/error_bars.py)."""
_LEFT = 0.11
"""What it leaves at n = 4 k, as a share of the standard deviation that the difference
of the arms has over the space: .04 to .22 in the same settings, so it is a rough guess."""


@dataclasses.dataclass(frozen=True)
class EvenError:
    """How the gain's error falls with n where the trials fill the space evenly.

    Two parts of its variance fall at rates of their own. What the luck of fresh seeds
    makes is a mean over trials, and falls like 1/n. What the design leaves of the space,
    and no model of it knows, falls like 1/n^2. No error is larger than the plain
    jackknife's; of more than `stratified.MOST` trials it is that one.

    Each field is a variance of the gain at that number of configurations.
    """

    configurations: int
    """n, of each arm."""
    seeds: float
    """That stems from fresh seeds."""
    design: float
    """The rest, but for the test examples."""
    jackknife: float
    """The plain jackknife's."""

    @classmethod
    def of(
        cls,
        configurations: int,
        standard_error: float,
        jackknife: float,
        seeds: Sequence[float | None],
    ) -> "EvenError":
        """Takes the error of a study apart.

        Args:
            configurations: Its n.
            standard_error: Of the gain.
            jackknife: The plain jackknife's standard error.
            seeds: Of both arms, the part of the variance that stems from seeds; None
                where nothing is known of it, or no model is fitted: then all of it is
                taken to fall like 1/n.
        """
        variance = standard_error**2
        parts = [part for part in seeds if part is not None]
        known = min(sum(parts), variance) if len(parts) == len(seeds) else variance
        return cls(configurations, known, variance - known, jackknife**2)

    @classmethod
    def guess(
        cls,
        configurations: int,
        effort: int,
        *,
        difference_spread: float,
        seed_spreads: Sequence[float],
        confirm_seeds: int = 3,
        top: int | None = None,
    ) -> "EvenError":
        """Guesses the error of a study that has not begun, from a pilot. A rough guess.

        Args:
            configurations: n.
            effort: k.
            difference_spread: Standard deviation over configurations of the
                challenger's score less the baseline's on the same draw, without what
                seeds make.
            seed_spreads: Of both arms, one seed's standard deviation.
            confirm_seeds: r.
            top: How many are the top of each arm, instead of m_.7.
        """
        seeds = sum(spread**2 for spread in seed_spreads)
        seeds *= _seed_share(configurations, effort, confirm_seeds, top)
        left = _LEFT * difference_spread * (4 * effort / configurations)
        plain = effect_spread(difference_spread, effort, 0.5) ** 2 / configurations
        return cls(configurations, seeds, left**2, plain + seeds)

    def at(self, configurations: int) -> float:
        """Returns the standard error of a study of another size."""
        share = self.configurations / configurations
        variance = self.jackknife * share
        if configurations <= MOST:
            modelled = self.seeds * share + self.design * share**_RATE
            variance = min(variance, modelled)
        return math.sqrt(variance)


def _tops(
    configurations: int, effort: int, top: int | None, stratified: bool
) -> tuple[np.ndarray, int, int]:
    """Returns the weights, best first; how many have all seeds, and at least one."""
    weigh = plug_in_weights if stratified else rank_weights
    weights = weigh(configurations, [effort])[::-1, 0]
    cumulated = np.cumsum(weights)
    fully, weighty = (
        int(np.searchsorted(cumulated, share - 1e-9)) + 1 for share in (0.7, 0.99)
    )
    return weights, fully if top is None else top, weighty


def _seed_share(
    configurations: int, effort: int, confirm_seeds: int, top: int | None
) -> float:
    """Returns the variance of D(k) that seeds of variance 1 make, at most.

    At most, for the best configurations of the other arm have all seeds, too.
    """
    weights, fully, _ = _tops(configurations, effort, top, True)
    squares = weights**2
    return float(np.sum(squares[:fully]) / confirm_seeds + np.sum(squares[fully:]))


def seed_variance(search: Search, effort: int, estimand: Estimand) -> float | None:
    """Returns the part of D(k)'s variance that stems from seeds.

    A trial with a single seed is taken to vary as those with several do on average.

    Args:
        search: An arm's.
        effort: k.
        estimand: The reading.

    Returns:
        The variance; None where no trial has several fresh seeds.
    """
    seeds = np.array([len(scores) for scores in search.fresh])
    if not np.any(seeds > 1):
        return None
    spread = np.array(
        [
            np.var(scores, ddof=1) if len(scores) > 1 else np.nan
            for scores in search.fresh
        ]
    )
    spread = np.where(seeds > 1, spread, np.nanmean(spread))
    reading = search.reading(estimand)
    squares = reading.ranking.weights([effort])[:, 0] ** 2
    counted = np.ones(len(seeds)) if estimand == "run" else np.maximum(seeds, 1)
    found = float(np.sum(squares * spread / counted))
    if reading.failing is not None:
        found = max(found, float(np.sum(squares * reading.failing)))
    return found


def worthwhile_seeds(
    variance: Callable[[int], float], runs: Callable[[int], int], least: int
) -> int:
    """Returns how many fresh seeds are worth what they cost.

    That is the r with the least variance times cost. Where the variance is a + b / r and
    the cost 1 + u r, it is the square root of b / (a u): the more of the variance seeds
    make, the more of them.

    Args:
        variance: Of the gain, by r.
        runs: What a study takes, by r.
        least: The smallest r in question; the largest is `MOST_SEEDS`.

    Examples:
        >>> worthwhile_seeds(lambda r: 1 + 18 / r, lambda r: 10 + 5 * r, 3)
        6
    """
    allowed = range(least, max(least, MOST_SEEDS) + 1)
    return min(allowed, key=lambda r: (variance(r) * runs(r), r))


@dataclasses.dataclass(frozen=True)
class Settlement:
    """What would turn "inconclusive" into a claim, if the estimate is the truth."""

    configurations: int | None
    """n of each arm, a multiple of 8, or a power of two where trials fill the space
    evenly; None where the test set is too small for any n, or the estimate too near the
    margin for any that anybody has."""
    times_cost: float | None
    """The cost of such a study as a multiple of this one's."""
    test_examples: float | None
    """How many times the test examples it takes at least; None if these do, or no
    number of them would."""


def settlement(
    estimate: float,
    standard_error: float,
    configurations: int,
    effort: int,
    *,
    margin: float,
    test_variance: float = 0.0,
    alpha: float = 0.05,
    paired: bool = True,
) -> Settlement:
    """Finds the number of configurations that would settle the question.

    The question is settled by a gain that is worth having, or by an interval
    inside the margin, whichever the estimate is on the side of; with a power of
    80 %, if the true gain is the estimate.

    Args:
        estimate: The gain.
        standard_error: Its standard error from the draw of configurations.
        configurations: n, of each arm.
        effort: k.
        margin: The smallest gap worth having.
        test_variance: The gain's variance from the draw of test examples, which
            more configurations do not lower.
        alpha: The level of the claim.
        paired: Whether trials are paired.
    """
    size = abs(estimate)
    room = size if size >= margin else margin - size

    def settles(n: int) -> bool:
        if size >= margin and least_p(n, n, paired=paired) > alpha:
            return False
        error = standard_error * math.sqrt(configurations / n)
        return room >= minimum_detectable_effect(
            error, n, effort, test_variance=test_variance, alpha=alpha
        )

    critical = float(normal(alpha) + special.ndtri(POWER))
    floor = critical * math.sqrt(test_variance)
    if floor >= 0.99 * room:
        # So many examples that half the variance is left for the configurations.
        return Settlement(None, None, 2 * (floor / room) ** 2)
    enough = _fewest(settles, 8 * (configurations // 8))
    return Settlement(enough, enough / configurations, None)


def even_settlement(
    estimate: float,
    error: EvenError,
    effort: int,
    *,
    margin: float,
    test_variance: float = 0.0,
    alpha: float = 0.05,
) -> Settlement:
    """Finds the n that would settle the question where trials fill the space evenly.

    The smallest power of two at which a study claims a gain that is worth having or an
    interval inside the margin, with a chance of 80 % of one or the other, if the true
    gain is the estimate. The next power of two is more than that takes: of 460
    simulated studies of such a size, 94 % settled it (evidence/error_bars.py).

    Args:
        estimate: The gain.
        error: How its error falls.
        effort: k.
        margin: The smallest gap worth having.
        test_variance: The gain's variance from the draw of test examples, which
            more configurations do not lower.
        alpha: The level of the claim.
    """
    size = abs(estimate)

    def chance(of_search: float, examples: float, freedom: float) -> float:
        """Returns the chance of a claim or of an interval within the margin."""
        quantile = float(student(freedom, alpha))
        critical = float(normal(alpha))
        reach = math.sqrt(quantile**2 * of_search + critical**2 * examples)
        spread = math.sqrt(of_search + examples)
        if spread == 0:
            return 1.0
        claimed = special.stdtr(freedom, (size - max(reach, margin)) / spread)
        above = special.stdtr(freedom, (margin - reach - size) / spread)
        below = special.stdtr(freedom, (reach - margin - size) / spread)
        return float(claimed + max(above - below, 0.0))

    def settles(n: int) -> bool:
        if size >= margin and least_p(n, n, paired=True) > alpha:
            return False
        found = chance(error.at(n) ** 2, test_variance, 2 * n / effort - 1)
        return found >= POWER

    n = 1 << error.configurations.bit_length()
    while n <= _LARGEST:
        if settles(n):
            return Settlement(n, n / error.configurations, None)
        n *= 2
    # No search, however large, makes up for a small test set.
    if test_variance == 0 or chance(0.0, test_variance, math.inf) >= POWER:
        return Settlement(None, None, None)
    for times in np.geomspace(1, 50, 201):
        if chance(0.0, test_variance / times, math.inf) >= POWER:
            # So many that half the variance is left for the configurations.
            return Settlement(None, None, 2 * float(times))
    # An estimate so near to the margin, or to 0, is no ground for any number.
    return Settlement(None, None, None)


def _fewest(enough: Callable[[int], bool], above: int) -> int:
    """Returns the smallest multiple of 8 above a multiple of 8 that is enough."""
    few, many = above, above + 8
    while not enough(many):
        few, many = many, 2 * many
    while many - few > 8:
        middle = 8 * ((few + many) // 16)
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _balanced(enough: Callable[[int], bool], above: int) -> int:
    """Returns the smallest power of two above a number that is enough."""
    n = 1 << above.bit_length()
    while not enough(n):
        n *= 2
    return n


def seed_spread(fresh: Sequence[Sequence[float] | np.ndarray]) -> float:
    """Returns one seed's standard deviation: the median over configurations.

    Args:
        fresh: For each configuration (r,) scores on fresh seeds; those with fewer
            than two say nothing and are left out.

    Returns:
        The spread in units of the score; 0 where nothing is known of it.
    """
    spreads = [np.std(scores, ddof=1) for scores in fresh if len(scores) > 1]
    return float(np.median(spreads)) if spreads else 0.0


def default_margin(
    fresh: Sequence[Sequence[float] | np.ndarray], usual: float | None = None
) -> float:
    """Returns the smallest gap worth having where none was declared.

    That is the larger of half a point and one seed's standard deviation.

    Args:
        fresh: As for `seed_spread`; validation scores, since the margin stands before
            the test set is opened.
        usual: A usual score, of which half a point is half a per cent where scores
            are no fractions; None where they are.
    """
    half_a_point = 0.005 if usual is None else 0.005 * (abs(usual) or 1.0)
    # Two digits: the margin is a convention, and so it should look.
    return float(f"{max(half_a_point, seed_spread(fresh)):.2g}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many runs a study takes, of each arm."""

    configurations: int
    search: int
    confirm: int
    """At most: the top configurations of the arms may coincide."""
    winner: int

    @property
    def runs(self) -> int:
        """All runs of one arm, at most."""
        return self.search + self.confirm + self.winner


def plan_runs(
    configurations: int,
    effort: int,
    *,
    arms: int = 2,
    confirm_seeds: int = 3,
    top: int | None = None,
    winner_seeds: int = WINNER_SEEDS,
    stratified: bool = False,
) -> Plan:
    """Counts the runs of a study, of each arm.

    Args:
        configurations: n.
        effort: k, at most n.
        arms: How many arms the union of the best is taken over.
        confirm_seeds: r, fresh seeds of the top configurations.
        top: How many are the top of each arm, instead of m_.7.
        winner_seeds: More fresh seeds of the tuned configuration.
        stratified: Whether configurations fill the space evenly.
    """
    _, fully, weighty = _tops(configurations, effort, top, stratified)
    fully = min(arms * fully, configurations)
    once = max(min(arms * weighty, configurations) - fully, 0)
    return Plan(
        configurations, configurations, confirm_seeds * fully + once, winner_seeds
    )


def largest_study(
    budget: float,
    run_costs: Sequence[float],
    *,
    effort: int = SMALLEST_EFFORT,
    confirm_seeds: int = 3,
    winner_seeds: int = WINNER_SEEDS,
    stratified: bool = False,
) -> Plan:
    """Finds the largest n that a budget pays for.

    Args:
        budget: In any unit, such as seconds.
        run_costs: What one run of each arm costs, in the same unit.
        effort: k; n is never below 4 k.
        confirm_seeds: r.
        winner_seeds: More fresh seeds of the tuned configurations.
        stratified: Whether configurations fill the space evenly.

    Raises:
        ProtocolError: Not even n = 4 k fits.
    """
    total = sum(run_costs)

    def study(n: int) -> Plan:
        return plan_runs(
            n,
            effort,
            arms=len(run_costs),
            confirm_seeds=confirm_seeds,
            winner_seeds=winner_seeds,
            stratified=stratified,
        )

    smallest = study(4 * effort)
    if smallest.runs * total > budget:
        raise ProtocolError(
            "a budget pays for the smallest sound study at least",
            f"{budget:g}",
            f"The smallest one has {4 * effort} configurations, effort {effort} and"
            f" {confirm_seeds} fresh seeds: up to {smallest.runs} runs of each arm,"
            f" {smallest.runs * total:.3g} in all. Raise the budget, or train for"
            " fewer steps.",
        )
    few, many = 4 * effort, math.floor(budget / total) + 1
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (
            (middle, many) if study(middle).runs * total <= budget else (few, middle)
        )
    return study(few)


# --- what sizes see, and what size sees ----------------------------------------


def detectable_effects(
    sizes: Sequence[int],
    spread: float | EvenError,
    effort: int,
    *,
    margin: float = 0.0,
    test_variance: float = 0.0,
    alpha: float = 0.05,
) -> list[float]:
    """Returns the smallest gain that studies of several sizes claim four times in five.

    Args:
        sizes: n, the configurations of each arm; each at least 4 k.
        spread: Standard deviation of the gain's pseudo-values: of `effect_spread`,
            or from a study, its standard error times the root of its n. Where trials
            fill the space evenly, how the error falls instead.
        effort: k.
        margin: The smallest gap worth having.
        test_variance: The part of the gain's variance that stems from the test
            examples, the same at every size.
        alpha: The level of the claim.

    Returns:
        The minimum detectable effect at each size, in units of the score.

    Raises:
        ProtocolError: A size is below 4 k, where no study claims anything.

    Examples:
        >>> [round(effect, 3) for effect in detectable_effects([16, 32, 64], 0.1, 4)]
        [0.082, 0.053, 0.036]
    """
    for n in sizes:
        if n < 4 * effort:
            raise ProtocolError(
                f"an effort of {effort} takes {4 * effort} configurations of each arm"
                " at least",
                str(n),
            )
    return [
        minimum_detectable_effect(
            spread.at(n) if isinstance(spread, EvenError) else spread / math.sqrt(n),
            n,
            effort,
            margin=margin,
            test_variance=test_variance,
            alpha=alpha,
        )
        for n in sizes
    ]


def configurations_for(
    effect: float,
    spread: float | EvenError,
    effort: int,
    *,
    margin: float = 0.0,
    test_variance: float = 0.0,
    alpha: float = 0.05,
) -> int | None:
    """Returns the size of the smallest study that claims a gain four times in five.

    Args:
        effect: The true gain, more than 0, in units of the score.
        spread: As in `detectable_effects`.
        effort: k.
        margin: The smallest gap worth having.
        test_variance: As in `detectable_effects`.
        alpha: The level of the claim.

    Returns:
        n, a multiple of 8 (where trials fill the space evenly, a power of two) and at
        least 4 k. None where no number of configurations is enough: the gain does not
        exceed the margin, or the test set is too small to show it.
        `detectable_effects` of a huge n, with and without the test variance, tells
        which.
    """

    def claimed(n: int) -> bool:
        (detectable,) = detectable_effects(
            [n], spread, effort, margin=margin, test_variance=test_variance, alpha=alpha
        )
        return detectable <= effect

    # What infinitely many configurations would leave; what is nearer to it than a
    # hundredth would take more of them than anybody has.
    left = math.sqrt(test_variance)
    critical, reserve = normal(alpha), special.ndtri(POWER)
    if max(critical * left, margin) + reserve * left >= 0.99 * effect:
        return None
    if isinstance(spread, EvenError):
        return _balanced(claimed, 4 * effort - 1)
    return _fewest(claimed, 8 * (math.ceil(4 * effort / 8) - 1))

"""The chance of no gain: a permutation test of the studentised gain.

The plain swap permutation is exact only where the arms are the same in everything;
where two arms are equal at effort k but differ in how they get there, it rejects 20 to
28 % of the time at a nominal 5 %, and the studentised one 4 to 7 %.

Swapping the two arms leaves p as it is, to the last bit: no draw depends on which arm
comes first or what it is called.

Shapes: n trials, P permutations.
"""

import math

import numpy as np

from archtrial.randomness import generator
from archtrial.statistics.expectation import Expectation
from archtrial.statistics.gain import jackknife_variance
from archtrial.statistics.intervals import two_sided
from archtrial.statistics.search import Reading
from archtrial.statistics.sums import product
from archtrial.statistics.tuning import (
    MANY,
    Ranking,
    leave_one_out_table,
)

__all__ = ["gate"]


# Cells of a block of permutations: few enough for memory, and enough that the work
# on a row outweighs the call. Never a setting: how the draws are divided could alter
# them.
BLOCK = 2**22

# From as many independent searches of the effort as this in each of two large arms,
# the permutation distribution is Student's t for all that p tells (see `gate`).
SEARCHES = 64


def gate(
    challenger: Reading,
    baseline: Reading,
    effort: int,
    *,
    paired: bool,
    permutations: int,
    seed: int,
) -> float:
    """Returns p for the hypothesis that the gain is 0, both arms at one effort.

    Paired: whole pairs are swapped between the arms, both are ranked anew and the
    gain is studentised again. Exact if the arms are exchangeable (up to the choice
    of the configurations that were confirmed), approximate for a gain of 0. All
    2^n swaps are enumerated where that is no more work. Unpaired: the labels are
    shuffled instead.

    Above a thousand trials an arm (`tuning.MANY`) this would take minutes, and one
    of two things makes it unnecessary. Where n / k is at least 64, the studentised
    gain is a sum over so many trials that its permutation distribution is Student's
    t with 2 n / k - 1 degrees of freedom, from which p then comes without any draw.
    Otherwise the k-searches end among the best few hundred trials, and only these
    are dealt out: what is left out is less than the rounding.

    Args:
        challenger: Its n trials.
        baseline: Its trials; n if paired.
        effort: k.
        paired: Whether trial i of one arm shares draws with trial i of the other.
        permutations: P; p is at least 1 / (P + 1).
        seed: The protocol's seed.
    """
    n = len(challenger.score)
    fewer, most = sorted((n, len(baseline.score)))
    estimate = variance = 0.0
    if most > MANY:
        estimate, variance = _jackknifed(challenger, baseline, effort, paired)
        if estimate == 0 or fewer / effort >= SEARCHES:
            return two_sided(estimate, variance, 2 * fewer / effort - 1)
    pool = _Pool(challenger, baseline, effort, paired)
    if pool.places < pool.size:
        # Before they are dealt out, arms may differ at places that are not held.
        observed = abs(estimate) / math.sqrt(variance) if variance else math.inf
    else:
        observed = abs(pool.studentised(pool.labels[:, None])[0])
    # Whole words of random bits, so that none is lost between two blocks.
    block = max(BLOCK // pool.places // 32, 1) * 32
    # Equal values must not be told apart by rounding.
    threshold = observed * (1 - 1e-10)

    if paired and 2**n <= permutations + 1:
        swaps = (np.arange(2**n) >> np.arange(n)[:, None]) % 2 == 1
        reached = sum(
            int(np.sum(np.abs(pool.swapped(swaps[:, i : i + block])) >= threshold))
            for i in range(0, 2**n, block)
        )
        return reached / len(swaps.T)

    stream = generator(seed, "permutation")
    reached = 0
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        if paired:
            drawn = stream.integers(0, 2, (rows, pool.units), dtype=np.bool_)
            ratios = pool.swapped(np.ascontiguousarray(drawn.T))
        else:
            # The smaller arm's labels are dealt, whichever arm that is.
            labels: int | np.ndarray = fewer
            if pool.places < pool.size:
                labels = stream.hypergeometric(
                    fewer, pool.size - fewer, pool.places, rows
                )
            dealt = _deal(stream, pool.places, rows, labels)
            ratios = pool.studentised(dealt if n == fewer else ~dealt)
        reached += int(np.sum(np.abs(ratios) >= threshold))
    return (1 + reached) / (1 + permutations)


def _jackknifed(
    challenger: Reading, baseline: Reading, effort: int, paired: bool
) -> tuple[float, float]:
    """Returns the gain at one effort and its jackknife variance."""
    estimates, influences = [], []
    for arm in (challenger, baseline):
        ranking = Ranking(arm.validation, arm.score)
        estimate = ranking.expected(arm.score, [effort])
        without = ranking.leave_one_out(arm.score, [effort])
        estimates.append(float(estimate[0]))
        influences.append((estimate - without) * math.sqrt(1 - 1 / ranking.n))
    variance = jackknife_variance(influences[0], influences[1], paired)
    return estimates[0] - estimates[1], float(variance[0])


def _deal(
    stream: np.random.Generator, places: int, hands: int, labels: int | np.ndarray
) -> np.ndarray:
    """Deals a number of labels to places at random, (places, hands) bool.

    The number may be another in each hand, (hands,).

    Each place gets a label by a coin of its own. Where that makes too many or too
    few, labels are taken away or added at random until the number is right: of all
    ways to deal that many, each is as likely, since neither step prefers a place.
    """
    dealt = stream.random((places, hands), dtype=np.float32) < labels / places
    excess = np.sum(dealt, axis=0) - labels
    wrong = np.flatnonzero(excess)
    while len(wrong):
        place = stream.integers(0, places, len(wrong))
        many = excess[wrong] > 0
        fitting = dealt[place, wrong] == many
        place, corrected, many = place[fitting], wrong[fitting], many[fitting]
        dealt[place, corrected] = ~many
        excess[corrected] -= np.where(many, 1, -1)
        wrong = wrong[excess[wrong] != 0]
    return dealt


class _Pool:
    """The trials of both arms in one ranking, to be dealt out anew.

    Sorting once is enough: any subset of a sorted pool is sorted. Let c of an arm's
    trials lie at or below a place, t rise there by dt to the next place, and

        f(c) = C(c - 1, k - 1) / C(n - 1, k),    Y = sum of f(c) dt over lower places

    Leaving out a trial lowers D(k) by its Y less the mean of Y over the arm's trials
    (Abel summation of the leave-one-out sums), and D(k) is the highest score less
    (n - k) / k times what the highest Y exceeds that mean by. So one running sum for
    each arm gives the gain and its standard error, and neither needs to know which
    places are whose before it comes to them. It runs from place to place over all
    permutations at once; the columns of all arrays are permutations.

    Y_B - Y_A and Y_B + Y_A are kept instead of Y_B and Y_A, since a trial's signed Y
    is half of their sum or difference. Swapping the arms negates the one and leaves
    the other, to the last bit.

    Of large arms only the upper places are held. At the others Y is 0 but for less
    than what counts as rounding here, whoever's they are.
    """

    def __init__(
        self, challenger: Reading, baseline: Reading, effort: int, paired: bool
    ) -> None:
        score = np.concatenate([challenger.score, baseline.score])
        ranking = Ranking(
            np.concatenate([challenger.validation, baseline.validation]), score
        )
        self._arms = len(challenger.score), len(baseline.score)
        self._paired = paired
        self._effort = effort
        self._spread = float(np.ptp(score))
        self._tables = [leave_one_out_table(n, effort) for n in self._arms]
        self._steps = [np.diff(table, prepend=0.0) for table in self._tables]
        # So that the baseline's step can be looked up by the challenger's number:
        # the more places are the challenger's, the fewer are the baseline's.
        self._reversed = np.append(np.zeros(self._arms[0]), self._steps[1][::-1])

        self.size = len(score)
        self._below = 0
        if max(self._arms) > MANY:
            reached = int(np.searchsorted(ranking.first, self._lowest(), "right")) - 1
            self._below = int(ranking.first[reached])
        held = ranking.order[self._below :]
        self.places = len(held)
        """How many places are held."""
        self.labels = held < self._arms[0]
        """(places,) which of them the challenger's trials hold."""
        self._score = score[held]
        unit = np.arange(self.places)
        if paired:
            unit = np.unique(held % self._arms[0], return_inverse=True)[1]
        self.units = int(unit.max()) + 1
        """How many pairs, or trials if nothing is paired, hold a place."""
        self._unit = unit
        self._groups = []
        for start, m in zip(ranking.first.tolist(), ranking.sizes, strict=True):
            start -= self._below
            if start < 0:
                continue
            scores = self._score[start : start + m]
            mixed = bool(np.ptp(scores) > 0)
            level = float(np.mean(scores) if mixed else scores[0])
            self._groups.append((start, start + int(m), level, mixed))

    def _lowest(self) -> int:
        """Returns a place below which Y is nothing but rounding, however dealt.

        With both arms' share of the p places below, and 5 sqrt(p) more, which chance
        exceeds once in 10^21 times (Hoeffding), f is 10^-13 of its highest value. So
        Y there is less of the spread of all scores than `studentised` tells from 0.
        """
        places = np.arange(self.size + 1)
        lowest = self.size
        for n, step in zip(self._arms, self._steps, strict=True):
            most = np.ceil(places * (n / self.size) + 5 * np.sqrt(places)).astype(int)
            counts = step[np.minimum(most, n)] > 1e-13 * step[-1]
            lowest = min(lowest, int(np.argmax(counts)))
        return lowest

    def swapped(self, swaps: np.ndarray) -> np.ndarray:
        """Returns the studentised gains (P,) after swapping pairs, (units, P) bool."""
        # A place is the challenger's as before, unless its pair was swapped.
        return self.studentised(swaps[self._unit] ^ self.labels[:, None])

    def studentised(self, labels: np.ndarray) -> np.ndarray:
        """Returns the gain over its standard error.

        Args:
            labels: (places, P) bool, which are the challenger's; with those at the
                places that are not held, every column has as many as there are.

        Returns:
            (P,) float64; 0 where the gain is 0, infinite where only its error is.
        """
        gains, errors = self._gains(labels)
        # What is left of a difference of equal numbers is rounding.
        nothing = 1e-12 * self._spread
        gains[np.abs(gains) <= nothing] = 0.0
        exact = errors <= nothing
        limits = np.where(gains == 0, 0.0, np.copysign(np.inf, gains))
        ratios: np.ndarray = np.divide(gains, errors, out=limits, where=~exact)
        return ratios

    def _gains(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gains (P,) and their standard errors (P,)."""
        lowest, skipped = self._start(labels)
        labels = labels[skipped:]
        units, unit = np.unique(self._unit[skipped:], return_inverse=True)
        signs = np.where(labels, 1.0, -1.0)
        # Twice the signed Y of each unit: of a pair, both trials' together.
        signed = np.zeros((len(units), len(signs.T)))
        members = np.sum(labels, axis=0)
        count = self._arms[0] - members
        difference, total = np.zeros((2, len(signs.T)))
        level = self._groups[lowest][2]
        for start, end, here, mixed in self._groups[lowest:]:
            if here != level:
                of_difference, of_total = self._rise(self._below + start, here - level)
                difference += of_difference.take(count)
                total += of_total.take(count)
                level = here
            if mixed:
                block = slice(start - skipped, end - skipped)
                found, (less, fewer) = self._among_ties(
                    labels[block],
                    self._score[start:end] - level,
                    self._below + start,
                    count,
                )
                for own, sign, (apart, both) in zip(
                    unit[block], signs[block], found, strict=True
                ):
                    signed[own] += difference + apart + sign * (total + both)
                difference -= less
                total -= fewer
                count += np.sum(labels[block], axis=0)
                continue
            for place in range(start - skipped, end - skipped):
                own = signed[unit[place]]
                own += difference
                own += signs[place] * total
                np.add(count, labels[place], out=count)
        if self._paired:
            n, k = self._arms[0], self._effort
            mean = np.sum(signed, axis=0) / n
            signed -= mean
            squares = np.einsum("up,up->p", signed, signed)
            squares += (n - len(units)) * mean**2
            squares /= 4
            return (n - k) / k * (mean / 2 - difference), np.sqrt(squares * (n - 1) / n)
        return self._unpaired(signed, signs, members, difference, total)

    def _start(self, labels: np.ndarray) -> tuple[int, int]:
        """Returns the group to begin with, and how many held places lie below it.

        As these labels were dealt, f up to there is 10^-25 of its highest value, for
        either arm: what is left out is less than the rounding. What had to be held
        however they might be dealt (`_lowest`) is several times as much.
        """
        if not self._below:
            return 0, 0
        starts = np.array([start for start, *_ in self._groups])
        inside = np.add.reduceat(labels, starts, axis=0, dtype=np.int64)
        passed = np.cumsum(inside, axis=0) - inside
        passed += self._arms[0] - np.sum(labels, axis=0)
        most = np.max(passed, axis=1), self._below + starts - np.min(passed, axis=1)
        counts = [
            step[counted] > 1e-25 * step[-1]
            for step, counted in zip(self._steps, most, strict=True)
        ]
        group = max(int(np.argmax(counts[0] | counts[1])) - 1, 0)
        return group, int(starts[group])

    def _rise(self, place: int, rise: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns what Y_B - Y_A and Y_B + Y_A grow by, by the challenger's number.

        Args:
            place: How many places lie below, c of them the challenger's and the
                others the baseline's.
            rise: What the score grows by.

        Returns:
            Two tables, by c = 0, ..., min(place, n).
        """
        own = self._steps[0][: place + 1]
        others = self._reversed[self.size - place :][: len(own)]
        return (own - others) * rise, (own + others) * rise

    def _among_ties(
        self,
        labels: np.ndarray,
        deviations: np.ndarray,
        below: int,
        count: np.ndarray,
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]:
        """Adds what differs from a single trial where scores differ among ties.

        Tied trials of an arm count at their mean. With mean_g the deviation of that
        mean from the group's level, R of the arm's trials up to the group and m in
        it, the Y of a member with deviation d is higher by

            f(R - m) mean_g + [F(R - 1) - F(R - m)] (d - mean_g) / (m - 1)

        with F the running sum of f, and Y above the group is lower by
        [f(R) - f(R - m)] mean_g.

        Args:
            labels: (m, P) bool, of the group's places.
            deviations: (m,) of their scores from the group's level.
            below: How many places lie below.
            count: (P,) how many of them are the challenger's.

        Returns:
            For each place the excess (P,) of the difference and of the sum of both
            arms' Y, if the place is theirs; and what both are lower by above.
        """
        fixed, slopes, losses = [], [], []
        for arm, chosen in enumerate((labels, ~labels)):
            before = count if arm == 0 else below - count
            members = np.sum(chosen, axis=0)
            after = before + members
            mean = product(deviations, chosen) / np.maximum(members, 1)
            step, table = self._steps[arm], self._tables[arm]
            first = step.take(before)
            slope = table.take(np.maximum(after - 1, 0)) - table.take(before)
            slope /= np.maximum(members - 1, 1)
            fixed.append((first - slope) * mean)
            slopes.append(slope)
            losses.append((step.take(after) - first) * mean)
        (b, a), (of_b, of_a), (less_b, less_a) = fixed, slopes, losses
        members_found = [
            (b - a + (of_b - of_a) * d, b + a + (of_b + of_a) * d) for d in deviations
        ]
        return members_found, (less_b - less_a, less_b + less_a)

    def _unpaired(
        self,
        signed: np.ndarray,
        signs: np.ndarray,
        members: np.ndarray,
        difference: np.ndarray,
        total: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gains (P,) and their standard errors (P,), trials being units.

        Args:
            signed: (places, P) twice the signed Y of each place, by trial; overwritten.
            signs: (places, P) 1 where the challenger's, else -1.
            members: (P,) how many places are the challenger's.
            difference: (P,) the highest Y_B - Y_A.
            total: (P,) the highest Y_B + Y_A.
        """
        n_b, n_a = self._arms
        k = self._effort
        everyone = np.sum(signed, axis=0)
        by_sign = np.einsum("np,np->p", signed, signs)
        mean_b, mean_a = (by_sign + everyone) / 4 / n_b, (by_sign - everyone) / 4 / n_a
        gains = (n_a - k) / k * ((total - difference) / 2 - mean_a) - (n_b - k) / k * (
            (total + difference) / 2 - mean_b
        )
        signed -= mean_b - mean_a
        signed -= signs * (mean_b + mean_a)
        np.square(signed, out=signed)
        everyone = np.sum(signed, axis=0)
        by_sign = np.einsum("np,np->p", signed, signs)
        of_b, of_a = (everyone + by_sign) / 8, (everyone - by_sign) / 8
        of_b += (n_b - members) * mean_b**2
        of_a += (n_a - (len(signs) - members)) * mean_a**2
        return gains, np.sqrt(of_b * ((n_b - 1) / n_b) + of_a * ((n_a - 1) / n_a))


def gate_by_signs(
    challenger: Expectation,
    baseline: Expectation,
    *,
    paired: bool,
    permutations: int,
    seed: int,
) -> float:
    """Returns p for the hypothesis that the gain is 0, the arms at two efforts.

    At different efforts not even an arm and itself are exchangeable, so nothing
    can be swapped. Paired, the signs of the pseudo-values are flipped at random,
    studentised; unpaired, or with more than a thousand pairs (`tuning.MANY`), the
    gain over its standard error is compared with Student's t. Approximate.

    Args:
        challenger: At one effort.
        baseline: At one effort.
        paired: Whether trial i of one arm shares draws with trial i of the other.
        permutations: P; p is at least 1 / (P + 1) if paired.
        seed: The protocol's seed.
    """
    estimate = float(challenger.estimate[0] - baseline.estimate[0])
    if not paired or len(challenger.influence) > MANY:
        variance = jackknife_variance(challenger.influence, baseline.influence, paired)
        freedom = min(challenger.freedom[0], baseline.freedom[0])
        return two_sided(estimate, float(variance[0]), float(freedom))
    influence = challenger.influence[:, 0] - baseline.influence[:, 0]
    n = len(influence)
    pseudo = estimate + influence * math.sqrt(n * (n - 1))
    squares = np.sum(pseudo**2)
    if squares == 0:
        return 1.0
    stream = generator(seed, "signs")
    reached = 0
    block = max(BLOCK // n, 1)
    # With fixed squares, the studentised mean grows with the mean alone.
    threshold = abs(np.sum(pseudo)) * (1 - 1e-10)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        signs = 1.0 - 2.0 * stream.integers(0, 2, (rows, n), dtype=np.bool_)
        reached += int(np.sum(np.abs(product(signs, pseudo)) >= threshold))
    return (1 + reached) / (1 + permutations)

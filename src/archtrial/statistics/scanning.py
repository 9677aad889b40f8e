"""Where a large arm's tuning curve lies from a target, without resampling all of it.

The scan for catching up (`matching`) asks of each effort on which side of the target an
estimate and the ends of its interval lie, and nothing else. Of many trials most efforts
lie so far away that the jackknife alone tells, and only the others are resampled.

Shapes: n trials, K efforts.
"""

import dataclasses
import math

import numpy as np

from archtrial.statistics.expectation import Expectation, allowance
from archtrial.statistics.gain import variance_of_test
from archtrial.statistics.intervals import normal, student
from archtrial.statistics.search import Reading

__all__ = ["Scan", "Standing", "scan"]

# Standard errors of the jackknife, beyond which no percentile of resamples lies. How
# often each of many trials is drawn is as good as an independent Poisson number, and a
# sum of such is 5 standard errors off at most as often as one of them alone: 6 times in
# 10,000 (Bennett's inequality). Of 2,000 resamples 25 would have to be, or 10 of as many
# more as a smaller level takes. Should the jackknife be out by 1.6, it is 5 of these 8.
FAR = 8.0


@dataclasses.dataclass(frozen=True)
class Standing:
    """On which side of the target each effort of the baseline's curve lies, (K,) bool."""

    near: np.ndarray
    """The estimate comes within the margin."""
    behind: np.ndarray
    """The whole interval falls short of it."""
    reached: np.ndarray
    """The whole interval lies beyond."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """A curve less its target plus the margin, by the jackknife, at K efforts."""

    efforts: np.ndarray
    ahead: np.ndarray
    """(K,) the estimate."""
    error: np.ndarray
    """(K,) its standard error, paired."""
    own: np.ndarray
    """(K,) that of the curve alone."""
    theirs: float
    """That of the target alone."""
    reach: np.ndarray
    """(K,) half the jackknife's interval."""
    floor: np.ndarray
    """(K,) what the test set adds to the square of either half."""
    fall: np.ndarray
    """(K,) what the curve's diverged trials may have hidden."""
    rise: float
    """The same of the target."""
    slack: np.ndarray
    """(K,) how far rounding may take the numbers above, amply."""

    def _ends(self, below: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the interval that reaches so far below and above the estimate."""
        return (
            self.ahead - np.sqrt(below**2 + self.floor) - self.fall,
            self.ahead + np.sqrt(above**2 + self.floor) + self.rise,
        )

    def guess(self, quantile: float) -> np.ndarray:
        """Returns the efforts that `open` will return, and more, as a rule.

        Args:
            quantile: Of Student's t at the target's level and degrees of freedom.
        """
        beyond = 1.3 * quantile * self.theirs
        return self.open(beyond, beyond)

    def open(self, target_low: float, target_high: float) -> np.ndarray:
        """Returns the efforts at which resamples are needed, (k,).

        Args:
            target_low: How far below its estimate most resamples of the target are at
                most (`spread`).
            target_high: How far above.
        """
        low, high = self._ends(self.reach, self.reach)
        # As far as resamples of the curve and of its target lie apart from both.
        far = FAR * self.error
        below = np.minimum(far, FAR * self.own + target_high)
        above = np.minimum(far, FAR * self.own + target_low)
        sure = self._ends(
            np.maximum(below, self.reach) + self.slack,
            np.maximum(above, self.reach) + self.slack,
        )
        undecided = (sure[0] <= 0) & (sure[1] >= 0)
        # Neither climb goes beyond an effort where the jackknife's interval ends it.
        index = np.arange(len(self.ahead))
        stops = np.flatnonzero(high > self.slack)
        climbs = index < (stops[0] if len(stops) else len(index))
        stops = np.flatnonzero(low < -self.slack)
        descends = index > (stops[-1] if len(stops) else -1)
        found: np.ndarray = self.efforts[undecided & (climbs | descends)]
        return found

    def standing(
        self, some: np.ndarray, resampled: np.ndarray, alpha: float
    ) -> Standing | None:
        """Returns where each effort lies; None where only exact sums can tell.

        Args:
            some: (k,) the efforts that were open.
            resampled: (B, k) the gains of resamples there, plus the margin.
            alpha: As for `gain`, as is all that is done with them.
        """
        below, above = self.reach.copy(), self.reach.copy()
        if len(some):
            there = np.searchsorted(self.efforts, some)
            ordered = np.sort(resampled, axis=0)
            tail = _tail(len(ordered), alpha)
            ahead = self.ahead[there]
            below[there] = np.maximum(below[there], ahead - ordered[tail - 1])
            above[there] = np.maximum(above[there], ordered[-tail] - ahead)
        low, high = self._ends(below, above)
        if any((np.abs(each) <= self.slack).any() for each in (self.ahead, low, high)):
            return None
        return Standing(self.ahead > 0, high < 0, low > 0)


def spread(resampled: np.ndarray, estimate: float, alpha: float) -> tuple[float, float]:
    """Returns how far most resamples of a target lie below and above its estimate.

    Half as many lie beyond as beyond the interval of `gain`.
    """
    ordered = np.sort(resampled)
    few = -(-_tail(len(ordered), alpha) // 2)
    return estimate - float(ordered[few - 1]), float(ordered[-few]) - estimate


def _tail(resamples: int, alpha: float) -> int:
    return max(math.floor(alpha / 2 * (resamples + 1)), 1)


def scan(
    baseline: Reading,
    efforts: np.ndarray,
    target: Expectation,
    *,
    margin: float,
    alpha: float,
    paired: bool,
) -> Scan:
    """Looks at the baseline's curve by the jackknife.

    For independent trials whose scores by example are unknown. It is what `gain` does
    with the whole curve, but for rounding and for resamples.

    Args:
        baseline: Its n trials; if paired, those beyond the challenger's have no partner.
        efforts: (K,) ascending.
        target: The challenger's, at one effort; what it resampled is not looked at.
        margin: How close is close enough.
        alpha: As for `gain`.
        paired: Whether trial i of one arm shares draws with trial i of the other.
    """
    n = len(baseline.score)
    ranking, score = baseline.ranking, baseline.score[baseline.ranking.order]
    ends = np.cumsum(ranking.sizes)
    sums = np.add.reduceat(score, ranking.first)
    partner = np.zeros(n)
    own = target.influence[:, 0]
    if paired:
        partner[: len(own)] = own
    partner = partner[ranking.order]
    total, square = float(partner.sum()), float(np.sum(own**2))
    estimate, variance, size = np.empty((3, len(efforts)))
    for j, k in enumerate(efforts.tolist()):
        # C(r, k) / C(n, k) for the r from here on; below, (r / n)^k is 10^-17.
        low = math.floor(n * 10 ** (-17 / k))
        ranks = np.arange(n, low, -1.0)
        falling = np.cumprod(np.maximum(ranks - k, 0) / ranks)
        table = np.concatenate([[0.0], falling[::-1], [1.0]]) * (n / (n - k))
        group = int(ranking.group[low])
        start = int(ranking.first[group])
        upto = table[np.maximum(ends[group:] - low + 1, 0)]
        short = table[np.maximum(ends[group:] - low, 0)]
        counts, whole = ranking.sizes[group:], sums[group:]
        means = whole / counts
        below = np.append(0.0, upto[:-1])
        lower = np.cumsum((upto - below) * means)
        upper = np.cumsum((short - np.append(0.0, short[:-1])) * means)
        rest = upper[-1] - upper
        rest[1:] += lower[:-1]
        slope = (short - below) / np.maximum(counts - 1, 1)
        scale = math.sqrt((n - 1) / n)
        estimate[j] = lower[-1] * (n - k) / n
        without = np.repeat(rest + slope * whole, counts)
        without -= np.repeat(slope, counts) * score[start:]
        moved = (estimate[j] - without) * scale
        others = (estimate[j] - upper[-1]) * scale
        facing = partner[start:]
        size[j] = np.sum(moved**2) + start * others**2 + square
        variance[j] = size[j]
        if paired:
            variance[j] -= 2 * np.sum(moved * facing)
            variance[j] -= 2 * others * (total - float(facing.sum()))
    error = np.sqrt(np.maximum(variance, 0.0))
    freedom = np.minimum(2 * n / efforts - 1, target.freedom)
    quantile = student(freedom, alpha)
    curve = dataclasses.replace(
        target, estimate=estimate, examples=None, test_size=baseline.test_size
    )
    test_variance = variance_of_test(curve, target)
    critical = float(normal(alpha))
    scores = np.abs(baseline.score).max() + np.abs(target.estimate[0]) + margin
    return Scan(
        efforts=efforts,
        ahead=estimate - target.estimate + margin,
        error=error,
        own=np.sqrt(size - square),
        theirs=math.sqrt(square),
        reach=quantile * error,
        floor=np.zeros(len(efforts))
        if test_variance is None
        else critical**2 * test_variance,
        fall=allowance(baseline, efforts),
        rise=float(target.fall[0]),
        # The square root of a variance that is a difference has half of its digits.
        slack=1e-9 * scores + 1e-6 * quantile * np.sqrt(size),
    )

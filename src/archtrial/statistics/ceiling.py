"""What a model says of the score that no amount of tuning exceeds.

Near an optimum a smooth score is a quadratic of the hyperparameters, and a run adds
noise. So the best scores of a random search follow the tail of a noisy quadratic
distribution (Lourie, He and Cho 2024, "Hyperparameter loss surfaces are simple near
their optima", as in `opda`), whose upper end, freed of the noise, is the expected
score at the optimum: the ceiling.

That is an extrapolation by a model, never the only ground of a verdict. It needs many
trials, and it comes with a test: would the model, not shown the best trials, have
predicted them?
"""

import dataclasses
import functools
import math
from typing import Any, Literal

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial.errors import ProtocolError
from archtrial.statistics.intervals import Estimate, student
from archtrial.statistics.search import Search
from archtrial.statistics.sums import product
from archtrial.statistics.tuning import Ranking

__all__ = ["BackTest", "Ceiling", "ceiling"]

FEWEST = 64
"""Trials. At 32 the ceiling's standard deviation is three times that at 64."""
FITTED = 24
"""Trials in the tail, which has four parameters."""
TAIL = 0.5
"""The share of trials that the model is fitted to; of the others it is only known
that they lie below. The body of a distribution is no quadratic."""
HIDDEN = 0.1
"""The share of trials, the best, that the back-test hides."""
HYPERPARAMETERS = 5
"""As many that matter as are tried at most; real searches have one to three."""


@dataclasses.dataclass(frozen=True)
class BackTest:
    """What the model foretells of the best trials when it is not shown them."""

    effort: int
    """The largest one whose score the trials tell of: n / 4."""
    predicted: float
    """The expected score of a search of this effort, by the model."""
    found: Estimate
    """The same by all trials, without a model. Its interval is widened by the root of
    2, since the prediction rests on no more trials than the finding."""
    passed: bool
    """Whether the prediction lies in the interval."""


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """The score at the optimum of the hyperparameters, as a model has it."""

    kind: Literal["model"] = "model"
    scored_on: Literal["test", "validation"] = "test"
    trials: int = 0
    reason: str | None = None
    """Why there are no numbers."""
    score: Estimate | None = None
    """An end is infinite where the trials set no limit on that side."""
    hyperparameters: int | None = None
    """How many of them matter, as far as the shape of the tail tells."""
    noise: float | None = None
    """Standard deviation of one run around its configuration's mean."""
    back_test: BackTest | None = None
    """Where it failed, the numbers above are not to be trusted."""


def ceiling(search: Search, *, alpha: float = 0.05, best: float = math.inf) -> Ceiling:
    """Estimates the score that an arm's tuning cannot exceed.

    The distribution is `opda`'s, fitted by maximum product of spacings to the better
    half of the trials, which is done here by a search of our own: it takes seconds
    less than `opda`'s and yields the interval as well. The interval holds those
    ceilings at which the best fit is not much worse than at the estimate (a profile
    of the spacings, which like a likelihood's is compared with chi squared). It is
    approximate, and holds only as far as the model does.

    Scores are the test scores of the trials themselves, in whichever reading the
    study is judged: the model takes the seeds' luck apart. Where they are unknown,
    validation scores. Trials that diverged are only known to lie below the others.

    Args:
        search: An arm's trials.
        alpha: The interval has level 1 - alpha.
        best: The highest score that the metric allows.

    Returns:
        The ceiling; without numbers where there are fewer than 64 trials or fewer
        than 24 different scores in the better half.

    Raises:
        ProtocolError: `opda` is not installed.
    """
    scored_on: Literal["test", "validation"] = "test"
    scores = search.test_run
    if scores is None:
        scored_on, scores = "validation", search.validation
    n = search.n
    bare = Ceiling(scored_on=scored_on, trials=n)
    if n < FEWEST:
        return dataclasses.replace(
            bare, reason=f"a ceiling takes {FEWEST} trials, and there are {n}"
        )
    # An order statistic, not an interpolated one: the tail starts above a trial.
    limit = float(np.sort(scores)[n - round(TAIL * n) - 1])
    limit = max([limit, *scores[search.diverged]])
    above = np.sort(scores[scores > limit])
    different = len(np.unique(above))
    if different < FITTED:
        return dataclasses.replace(
            bare,
            reason=f"a ceiling takes {FITTED} different scores among the better half of"
            f" the trials, and there are {different}",
        )
    shapes = range(
        1, min(len(search.positions) or HYPERPARAMETERS, HYPERPARAMETERS) + 1
    )
    whole = _Tail(above, below=n - len(above), limit=limit, shapes=shapes, best=best)
    fit, score = whole.interval(alpha)

    effort = n // 4
    seen = above[: len(above) - round(HIDDEN * n)]
    hidden = dataclasses.replace(whole, scores=seen, above=len(above) - len(seen))
    predicted = float(hidden.fit().distribution.average_tuning_curve(effort))
    found = _best_of(scores, effort, alpha)
    return dataclasses.replace(
        bare,
        score=score,
        hyperparameters=fit.shape,
        noise=fit.noise,
        back_test=BackTest(
            effort, predicted, found, found.low <= predicted <= found.high
        ),
    )


def _best_of(scores: np.ndarray, effort: int, alpha: float) -> Estimate:
    """Returns the expected best score of k trials, its jackknife interval widened."""
    n = len(scores)
    ranking = Ranking(scores)
    (estimate,) = ranking.expected(scores, [effort])
    deviations = estimate - ranking.leave_one_out(scores, [effort])[:, 0]
    error = math.sqrt(2 * (n - 1) / n * np.sum(deviations**2))
    reach = float(student(2 * n / effort - 1, alpha)) * error
    return Estimate(float(estimate), float(estimate) - reach, float(estimate) + reach)


# --- the fit -------------------------------------------------------------------


@functools.cache
def _noisy_quadratic() -> Any:
    try:
        from opda.parametric import NoisyQuadraticDistribution
    except ImportError as error:
        raise ProtocolError(
            "a ceiling takes the distributions of opda",
            "opda is not installed",
            "Install archtrial[ceiling], or leave the ceiling out.",
        ) from error
    return NoisyQuadraticDistribution


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A noisy quadratic whose noiseless values reach from ceiling - width to ceiling.

    The floor so given is that of the tail drawn on downward, not the arm's.
    """

    spacings: float
    """The logarithm of the product of spacings: the larger, the better the fit."""
    ceiling: float
    shape: int
    """The effective number of hyperparameters."""
    log_width: float
    log_ratio: float
    """Of the noise over the width."""

    @property
    def noise(self) -> float:
        """The standard deviation of one run."""
        return math.exp(self.log_width + self.log_ratio)

    @property
    def distribution(self) -> Any:
        """The distribution, as `opda` has it."""
        floor = self.ceiling - math.exp(self.log_width)
        return _noisy_quadratic()(floor, self.ceiling, self.shape, self.noise)


# Where the fit is looked for. At a given ceiling all combinations are tried, and the
# best of the two best shapes are led on: a search downhill alone gets stuck.
LOG_RATIOS = (-8.0, -5.0, -4.0, -3.0, -2.0, -0.75)
LOG_WIDTHS = np.linspace(-2.5, 1.25, 12)
# Ceilings above the best score seen, in ranges of the scores that are fitted.
CEILINGS = (-0.6, -0.3, -0.15, -0.07, -0.02, 0.02, 0.07, 0.15, 0.3, 0.6, 1.2)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tail:
    """The scores that the distribution is fitted to, and how many lie outside."""

    scores: np.ndarray
    """Ascending, all above the limit."""
    below: int
    """Trials at the limit or below."""
    limit: float
    shapes: range
    best: float
    above: int = 0
    """Trials that are only known to lie above the scores."""

    @functools.cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends (E,) of the spacings, and (E + 1,) the trials in each.

        Ties share a spacing, and one trial more stands at the top (`opda`'s variant
        of maximum spacing).
        """
        different, counts = np.unique(self.scores, return_counts=True)
        edges = np.concatenate([[self.limit], different])
        return edges, np.concatenate([[self.below], counts, [self.above + 1]])

    @functools.cached_property
    def _grid(self) -> dict[tuple[int, float], Any]:
        return {
            (shape, ratio): _noisy_quadratic()(0.0, 1.0, shape, math.exp(ratio))
            for shape in self.shapes
            for ratio in LOG_RATIOS
        }

    def _spacings(self, distribution: Any, ceiling: float, width: Any) -> np.ndarray:
        """Returns the logarithm of the product of spacings for widths (W, 1) or one."""
        edges, counts = self._edges
        chances = np.sort(distribution.cdf((edges - ceiling) / width + 1), axis=-1)
        with np.errstate(divide="ignore"):
            logarithms = np.log(np.diff(chances, axis=-1, prepend=0.0, append=1.0))
        # A distribution that excludes a score is bad, but can still be worse.
        found: np.ndarray = product(np.maximum(logarithms, -1e6), counts)
        return found

    def profile(self, ceiling: float) -> _Fit:
        """Returns the best fit with a given ceiling."""
        reach = max(ceiling - self.limit, 0.1 * float(np.ptp(self.scores)))
        share = 1 - self.below / (self.below + len(self.scores) + self.above)
        candidates: dict[int, _Fit] = {}
        for (shape, ratio), distribution in self._grid.items():
            # Without noise, the share above the limit determines the width.
            log_widths = math.log(reach) - 2 / shape * math.log(share) + LOG_WIDTHS
            found = self._spacings(distribution, ceiling, np.exp(log_widths)[:, None])
            i = int(np.argmax(found))
            if shape not in candidates or found[i] > candidates[shape].spacings:
                candidates[shape] = _Fit(
                    float(found[i]), ceiling, shape, float(log_widths[i]), ratio
                )
        by_fit = sorted(candidates.values(), key=lambda fit: -fit.spacings)
        led_on = [self._led_on(candidate) for candidate in by_fit[:2]]
        return max(led_on, key=lambda fit: fit.spacings)

    def _led_on(self, fit: _Fit) -> _Fit:
        """Returns the best fit downhill from one of the same ceiling and shape."""

        def loss(point: np.ndarray) -> float:
            width, ratio = math.exp(point[0]), min(max(point[1], -12.0), 2.0)
            distribution = _noisy_quadratic()(0.0, 1.0, fit.shape, math.exp(ratio))
            return -float(self._spacings(distribution, fit.ceiling, width))

        start = np.array([fit.log_width, fit.log_ratio])
        found = scipy.optimize.minimize(
            loss,
            start,
            method="Nelder-Mead",
            options={
                "initial_simplex": start + np.array([[0, 0], [0.15, 0], [0, 0.4]]),
                "xatol": 0.01,
                "fatol": 0.005,
                "maxfev": 40,
            },
        )
        log_width, log_ratio = found.x
        log_ratio = min(max(log_ratio, -12.0), 2.0)
        return _Fit(
            -float(found.fun), fit.ceiling, fit.shape, float(log_width), log_ratio
        )

    @functools.cached_property
    def _scan(self) -> list[_Fit]:
        """The best fits along a line of ceilings."""
        line = self.scores[-1] + np.ptp(self.scores) * np.array(CEILINGS)
        line = np.unique(np.minimum(line, self.best))
        return [self.profile(float(ceiling)) for ceiling in line]

    def fit(self) -> _Fit:
        """Returns the best fit."""
        scan = self._scan
        i = max(range(len(scan)), key=lambda i: scan[i].spacings)
        between = scan[max(i - 1, 0)].ceiling, scan[min(i + 1, len(scan) - 1)].ceiling
        found = scipy.optimize.minimize_scalar(
            lambda ceiling: -self.profile(ceiling).spacings,
            bounds=between,
            method="bounded",
            options={"xatol": 0.003 * float(np.ptp(self.scores)), "maxiter": 6},
        )
        return max(scan[i], self.profile(float(found.x)), key=lambda f: f.spacings)

    def interval(self, alpha: float) -> tuple[_Fit, Estimate]:
        """Returns the best fit, and its ceiling with the interval."""
        fit = self.fit()
        least = fit.spacings - float(special.chdtri(1, alpha)) / 2
        known = sorted([*self._scan, fit], key=lambda each: each.ceiling)
        inside = [i for i, each in enumerate(known) if each.spacings >= least]
        low, high = -math.inf, self.best
        if inside[0] > 0:
            low = self._edge(known[inside[0] - 1], known[inside[0]], least)
        if inside[-1] < len(known) - 1:
            high = self._edge(known[inside[-1] + 1], known[inside[-1]], least)
        return fit, Estimate(fit.ceiling, low, high)

    def _edge(self, outside: _Fit, inside: _Fit, least: float) -> float:
        """Returns the ceiling next outside that still fits badly, by halving."""
        beyond, within = outside.ceiling, inside.ceiling
        for _ in range(5):
            middle = (beyond + within) / 2
            if self.profile(middle).spacings >= least:
                within = middle
            else:
                beyond = middle
        return beyond

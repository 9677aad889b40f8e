"""How an error falls with the size of the training set: a power law and its uncertainty.

    error(m) = a + b m^-c,  a, b >= 0,  c > 0

a is what remains with endless data, c says how fast the rest falls (Hestness et al. 2017,
arXiv 1712.00409, section 2; Rosenfeld et al. 2020, arXiv 1909.12673, equation 1). For a
given c the law is linear in a and b, so that the fit is one over c alone, and no start
can lead it astray.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
from scipy import optimize, special

from archtrial.errors import ProtocolError
from archtrial.statistics.intervals import Estimate

__all__ = ["LEAST_SIZES", "PowerLaw", "power_law"]

LEAST_SIZES = 4
"""Three numbers are fitted: of fewer sizes nothing would say whether they fit."""

# The exponents that are looked at: below .01 a tenfold set takes 2 % off, above 4 a
# doubled one leaves a sixteenth; published ones lie from .07 to 1 and a half.
_LOWEST, _HIGHEST = 0.01, 4.0
_EXPONENTS = np.geomspace(_LOWEST, _HIGHEST, 400)
_DENSE_AT_ENDS = (1 - np.cos(np.linspace(0, math.pi, 401))) / 2
# What rounding makes of equal errors.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """A fitted law; intervals have level 1 - alpha, each by itself."""

    reason: Literal["not_falling", "no_spread"] | None
    """Why there is no law: an error that is the same at all sizes fits as well; or runs
    of one size never differ, and nothing says how sure a fit would be."""
    limit: Estimate | None
    """a, what endless data leave."""
    factor: float | None
    """b."""
    exponent: Estimate | None
    """c. Endless to either side where the data do not bound it: `high` is infinite, or
    `low` is 0, where a logarithm fits as well."""
    misfit: float | None
    """p of the means at each size lying off the law by more than the seeds' spread
    (F test for lack of fit): small where no power law holds over these sizes."""
    ahead: tuple[Estimate, ...] = ()
    """The errors at the sizes that were asked for."""


def power_law(
    sizes: np.ndarray,
    errors: np.ndarray,
    *,
    alpha: float,
    ahead: tuple[float, ...] = (),
) -> PowerLaw:
    """Fits a power law to errors at several sizes of the training set.

    Means are weighed by their variances over runs, of which none counts as less than the
    median of all (as in `simultaneous`): that of a few runs is often too small by chance. An interval has all
    values that some law has which fits nearly as well as the best one: whose weighed sum
    of squares is larger by at most F(1, M (S - 1)) at 1 - alpha (profile likelihood; Bates
    and Watts 1988, "Nonlinear regression analysis", section 6.1). It knows that a and b
    are not negative, and of c no more than that it is from .01 to 4: where it reaches an
    end, it is endless.

    At a nominal 95 % intervals of a, of c and of the error at twice and at ten times the
    largest size covered in 94 to 99.5 % of simulated studies: 400 each, 5 sizes from n / 16
    to n, 3 and 5 runs, errors whose deviation is the same at all sizes, in proportion to
    the error, or falling with the root of the size, and laws with a from 0 to .1 and c from
    .3 to 1. Runs of one seed at different sizes may be correlated: at a correlation of .5
    they covered in 98 % and more. What all runs of a size share, such as one draw of the
    training examples, no run tells of: let each seed draw its own.

    Args:
        sizes: (M,) training examples, at least 4, ascending.
        errors: (M, S) of S runs at each size, at least 2; lower is better, and a perfect
            score is an error of 0. Runs of one size are independent.
        alpha: Of the intervals.
        ahead: Sizes at which the error is wanted, too.

    Raises:
        ProtocolError: There are fewer sizes or runs, an error is not finite or negative,
            or sizes do not ascend.
    """
    sizes, errors = (np.asarray(a, dtype=np.float64) for a in (sizes, errors))
    _check(sizes, errors)
    runs = errors.shape[1]
    means, spread = errors.mean(axis=1), errors.var(axis=1, ddof=1)
    spread[spread <= (_ROUNDING * means.max()) ** 2] = 0.0
    if not spread.any():
        return PowerLaw("no_spread", None, None, None, None)
    # Of normal errors the median variance of few runs is too small by a known factor.
    small = float(special.chdtri(runs - 1, 0.5)) / (runs - 1)
    floor = np.median(spread[spread > 0]) / small
    variance = np.maximum(spread, floor) / runs
    freedom = len(sizes) * (runs - 1)
    fit = _Fit(sizes / sizes[-1], means, variance)
    least, best = fit.best()
    allowed = least + float(special.fdtri(1, freedom, 1 - alpha))
    if fit.flat() <= allowed:
        return PowerLaw("not_falling", None, None, None, None)
    a, b = (float(scale) for scale in fit.scales(np.array([best]))[0])
    low, high = fit.exponents(best, allowed)
    first, last = max(low, _LOWEST), min(high, _HIGHEST)
    # Densest at both ends, where what fits nearly as well shrinks to a point.
    exponents = first + (last - first) * _DENSE_AT_ENDS
    over = len(sizes) - 3
    return PowerLaw(
        None,
        Estimate(a, *fit.reached(exponents, allowed, math.inf)),
        # Of sizes as they are, not as shares of the largest.
        float(b * sizes[-1] ** best),
        Estimate(best, low, high),
        float(special.fdtrc(over, freedom, least / over)),
        tuple(
            Estimate(a + b * share**-best, *fit.reached(exponents, allowed, share))
            for share in (float(size / sizes[-1]) for size in ahead)
        ),
    )


def _check(sizes: np.ndarray, errors: np.ndarray) -> None:
    if errors.ndim != 2 or sizes.shape != errors.shape[:1]:
        raise ProtocolError(
            "errors are a table of sizes by runs",
            f"sizes {sizes.shape}, errors {errors.shape}",
        )
    if len(sizes) < LEAST_SIZES or errors.shape[1] < 2:
        raise ProtocolError(
            f"a power law is fitted to {LEAST_SIZES} sizes and 2 runs of each at least",
            f"{len(sizes)} sizes, {errors.shape[1]} runs",
        )
    if not (sizes[0] > 0 and (np.diff(sizes) > 0).all()):
        raise ProtocolError("sizes ascend from above 0", f"{sizes.tolist()}")
    if not (np.isfinite(errors).all() and (errors >= 0).all()):
        raise ProtocolError("errors are finite and not negative", "one that is not")


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Weighed least squares of a + b m^-c to M means."""

    sizes: np.ndarray
    """As shares of the largest, so that m^-c is 1 there, whatever c is."""
    means: np.ndarray
    variance: np.ndarray

    def flat(self) -> float:
        """Returns the weighed sum of squares about one error for all sizes."""
        weights = 1 / self.variance
        mean = float(np.sum(weights * self.means) / np.sum(weights))
        return float(np.sum(weights * (self.means - mean) ** 2))

    def scales(self, exponents: np.ndarray) -> np.ndarray:
        """Returns (E, 2) the best a and b, both at least 0, for each exponent."""
        weights, y = 1 / self.variance, self.means
        x = self.sizes ** -exponents[:, None]  # (E, M)
        one, first, second = (
            weights.sum(),
            (weights * x).sum(1),
            (weights * x * x).sum(1),
        )
        level, along = (weights * y).sum(), (weights * x * y).sum(1)
        b = (one * along - first * level) / (one * second - first**2)
        a = (level - b * first) / one
        alone = along / second  # where a is 0
        a, b = np.where(a < 0, 0, a), np.where(a < 0, alone, b)
        # An error that rises is the same at all sizes, as far as a law can be.
        return np.where((b < 0)[:, None], [level / one, 0.0], np.stack([a, b], 1))

    def residual(self, exponents: np.ndarray) -> np.ndarray:
        """Returns (E,) the least weighed sum of squares for each exponent."""
        a, b = self.scales(exponents).T
        law = a[:, None] + b[:, None] * self.sizes ** -exponents[:, None]
        squares: np.ndarray = ((self.means - law) ** 2 / self.variance).sum(1)
        return squares

    def best(self) -> tuple[float, float]:
        """Returns the least weighed sum of squares, and its exponent."""
        profile = self.residual(_EXPONENTS)
        at = int(np.argmin(profile))
        ends = _EXPONENTS[max(at - 1, 0)], _EXPONENTS[min(at + 1, len(profile) - 1)]
        found = optimize.minimize_scalar(
            self._at, bounds=ends, method="bounded", options={"xatol": 1e-9}
        )
        if found.fun < profile[at]:
            return float(found.fun), float(found.x)
        return float(profile[at]), float(_EXPONENTS[at])

    def _at(self, exponent: float) -> float:
        return float(self.residual(np.array([exponent]))[0])

    def exponents(self, best: float, allowed: float) -> tuple[float, float]:
        """Returns the ends of the exponents that fit nearly as well as the best."""
        within = np.flatnonzero(self.residual(_EXPONENTS) <= allowed)
        # Between two points of the grid there may be none but the best itself.
        inside = [_EXPONENTS[i] for i in within[[0, -1]]] if len(within) else [best] * 2
        low, high = min(inside[0], best), max(inside[1], best)
        below, above = _EXPONENTS[low > _EXPONENTS], _EXPONENTS[high < _EXPONENTS]

        def crossing(inner: float, outer: float) -> float:
            return float(optimize.brentq(lambda c: self._at(c) - allowed, inner, outer))

        return (
            crossing(low, below[-1]) if len(below) else 0.0,
            crossing(high, above[0]) if len(above) else math.inf,
        )

    def reached(
        self, exponents: np.ndarray, allowed: float, share: float
    ) -> tuple[float, float]:
        """Returns the ends of what laws give at a size that fit nearly as well.

        For one exponent they are an ellipse of (a, b), of which the part with a >= 0
        counts. None has b = 0: a flat law does not fit as well. Either end of a + b s is
        where the ellipse has it, or where a is 0.

        Args:
            exponents: (E,).
            allowed: The weighed sum of squares that counts as nearly as well.
            share: Of the largest size; infinite for the limit.
        """
        weights, y = 1 / self.variance, self.means
        x = self.sizes ** -exponents[:, None]
        s = np.zeros(len(exponents)) if share == math.inf else share**-exponents
        one, first, second = (
            weights.sum(),
            (weights * x).sum(1),
            (weights * x * x).sum(1),
        )
        level, along = (weights * y).sum(), (weights * x * y).sum(1)
        determinant = one * second - first**2
        a = (second * level - first * along) / determinant
        b = (one * along - first * level) / determinant
        squares = (weights * y * y).sum() - a * level - b * along
        room = np.sqrt(np.maximum(allowed - squares, 0) / determinant)
        # Along the inverse of the matrix times (1, s), to either side of the best.
        da, db = second - first * s, one * s - first
        length = np.sqrt(second - 2 * first * s + one * s * s)
        found = []
        for sign in (-1, 1):
            at_a, at_b = a + sign * room * da / length, b + sign * room * db / length
            fits = (squares <= allowed) & (at_a >= 0) & (at_b > 0)
            found.append((at_a + at_b * s)[fits])
        # Where a is 0: squares = second b^2 - 2 along b + sum of w y^2.
        under = along**2 - second * ((weights * y * y).sum() - allowed)
        root = np.sqrt(np.maximum(under, 0))
        for sign in (-1, 1):
            at_b = (along + sign * root) / second
            found.append((at_b * s)[(under >= 0) & (at_b > 0)])
        every = np.concatenate(found)
        return float(every.min()), float(every.max())

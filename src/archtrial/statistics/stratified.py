"""A search whose configurations fill the space evenly: what it ends with, and its error.

The points of a scrambled Sobol sequence are each uniform on the space, so a search
over them has the same expectation as one over independent draws; but as a whole they
leave no gaps, so that repeated studies agree far better. The plain jackknife does not
see that: it asks what the estimate would be *without* a trial, as if its place had
been drawn by chance. Two parts replace it.

*Replacement.* Each trial's validation and test score are predicted from the arm's
other trials by a linear smoother over their places in the space; the prediction is
put in its place, and what that changes is the trial's influence. It holds what no
neighbour knows: seeds, and roughness. A bad smoother makes it larger, never smaller.

*Divergence* has a boundary that no smoother of scores follows, so it is predicted apart.
Where all trials are told apart rightly, the boundary still lies anywhere between two of
them: what one diverged trial more or fewer changes is added.

*The design's own error.* The same smoothers say what the space looks like. D(k) over
a large even sample of the modelled space, less D(k) over the design's own points in
it, is how far this very design is off. It moves no estimate; it widens the interval.

Where the space is too hard for any smoother the plain jackknife, which holds for
these draws as well, is the smaller of the two, and counts instead.

Shapes: n trials, D hyperparameters, K efforts, N points of the modelled space, M
smoothers.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial.randomness import generator
from archtrial.statistics.sums import inverse, product
from archtrial.statistics.tuning import plug_in_weights

__all__ = ["MOST", "Influences", "Model", "Places", "in_cells"]

MOST = 1024
"""Trials of an arm up to which a model of the space is fitted: its work grows with the
cube of their number."""

_CHOSEN_AMONG = 256
"""Trials, the first ones, among which the smoother is chosen; of a smoother that is
chosen already, one system is solved instead of dozens."""

_POINTS = 10
"""Log2 of N."""

# Isotropic smoothers; smoothers that look along one hyperparameter, with the others
# shrunk to a fifth; along one alone; and sums over all hyperparameters.
_LENGTHS = (0.3, 0.6, 1.2, 2.4)
_ALONG, _SHRUNK = (0.15, 0.4), 0.2
_ALONE = 0.3
_ADDED = (0.3, 1.0)
_NOISES = (0.01, 0.1, 1.0)
"""Variances of the noise, of which that of the smoothed surface is 1."""
_LEVEL = 100.0
"""The variance of the surface's level: so large that the data alone determine it."""
_APART = 0.25
"""The squared distance of two options that have no order."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the trials of one arm lie in its space, and points that fill it."""

    trials: np.ndarray
    """(n, D) from 0 to 1."""
    points: np.ndarray
    """(N, D) an even sample of the whole space, or of the part that is looked at."""
    unordered: np.ndarray
    """(D,) bool, whose values are options without an order."""

    @classmethod
    def of(
        cls,
        trials: np.ndarray,
        columns: Sequence[int],
        coordinates: int,
        options: Sequence[int],
        unordered: Sequence[bool],
    ) -> "Places":
        """Makes the places of an arm.

        Args:
            trials: (n, D) where each trial lies.
            columns: (D,) which coordinate of the points each hyperparameter has. Arms
                give those that they share the same, so that what the points miss is
                the same in both, and cancels.
            coordinates: How many there are over all arms.
            options: (D,) how many options a choice has; 0 for a range.
            unordered: (D,) whether they have no order.
        """
        points = in_cells(_points(coordinates)[:, list(columns)], options)
        return cls(trials, points, np.asarray(unordered, dtype=bool))

    def take(self, trials: np.ndarray) -> "Places":
        """Returns the places of some trials, in the same space."""
        return dataclasses.replace(self, trials=self.trials[trials])

    def within(self, column: int, low: float, high: float) -> "Places":
        """Returns the same trials in a part of the space: low <= position < high."""
        inside = (self.points[:, column] >= low) & (self.points[:, column] < high)
        return dataclasses.replace(self, points=self.points[inside])


def in_cells(positions: np.ndarray, options: Sequence[int]) -> np.ndarray:
    """Returns positions with each choice's in the middle of its option's share.

    Args:
        positions: (..., D) in [0, 1].
        options: (D,) how many options a choice has; 0 for a range. May be shorter.
    """
    found = positions.copy()
    for column, count in enumerate(options):
        if count:
            cell = np.minimum((found[..., column] * count).astype(int), count - 1)
            found[..., column] = (cell + 0.5) / count
    return found


@functools.lru_cache(maxsize=16)
def _points(coordinates: int) -> np.ndarray:
    stream = generator(0, "points of the space", coordinates)
    found: np.ndarray = scipy.stats.qmc.Sobol(coordinates, rng=stream).random_base2(
        _POINTS
    )
    return found


def _apart(places: np.ndarray, trials: np.ndarray, unordered: np.ndarray) -> np.ndarray:
    """Returns (D, places, n) squared distances along each hyperparameter."""
    apart: np.ndarray = places.T[:, :, None] - trials.T[:, None, :]
    apart *= apart
    apart[unordered] = _APART * (apart[unordered] > 0)
    return apart


def _shapes(size: int) -> list[tuple[np.ndarray, bool]]:
    """Returns (D,) inverse squared lengths, and whether the parts are added; M of both."""
    every = np.ones(size)
    shapes = [(every / length**2, False) for length in _LENGTHS]
    if size == 1:
        return shapes
    for each in np.eye(size):
        along = np.where(each > 0, 1.0, _SHRUNK**2)
        shapes += [(along / length**2, False) for length in _ALONG]
        shapes.append((each / _ALONE**2, False))
    return shapes + [(every / length**2, True) for length in _ADDED]


def _kernel(apart: np.ndarray, scales: np.ndarray, added: bool) -> np.ndarray:
    """Returns a rational quadratic kernel, or the mean of one for each hyperparameter.

    (1 + r^2 / 4)^-2 is, beside a Matern kernel, made of sums and quotients alone, whose
    last bit no processor changes (Rasmussen and Williams 2006, equation 4.19).
    """
    scaled = apart * scales[:, None, None] / 4
    if added:
        near = 1 + scaled
        return np.asarray(np.sum(1 / (near * near), axis=0) / len(scales))
    near = 1 + np.sum(scaled, axis=0)
    return np.asarray(1 / (near * near))


# --- smoothers --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Surface:
    """What the best of the smoothers makes of some values."""

    without: np.ndarray
    """(n,) at each trial, predicted from the others."""
    trials: np.ndarray
    """(n,) at each trial, predicted from all."""
    points: np.ndarray
    """(N,) at the points of the space."""
    variance: float
    """The mean square of what the prediction from the others is off."""


class _Smoothers:
    """All smoothers of an arm's space that learn from some of its trials.

    Args:
        trials: (n, D) where all trials lie.
        unordered: (D,) bool, whose values are options without an order.
        known: (n,) bool, which trials are learnt from.
    """

    def __init__(
        self, trials: np.ndarray, unordered: np.ndarray, known: np.ndarray
    ) -> None:
        self._trials, self._unordered = trials, unordered
        self._shapes = _shapes(trials.shape[1])
        self._rows = np.flatnonzero(known)
        self._first = self._rows[:_CHOSEN_AMONG]
        if len(self._rows) > 2:
            apart = _apart(trials[self._first], trials[self._first], unordered)
            own = np.stack([_kernel(apart, *each) for each in self._shapes]) + _LEVEL
            count = len(self._first)
            noise = np.eye(count) * np.array(_NOISES)[:, None, None]
            self._inverses = inverse((own[:, None] + noise).reshape(-1, count, count))
        self._of_all: dict[int, np.ndarray] = {}

    @classmethod
    def of(cls, places: Places, known: np.ndarray) -> "_Smoothers":
        """Returns the smoothers, which arms that share their draws have in common."""
        trials = np.ascontiguousarray(places.trials)
        return _smoothers(
            trials.tobytes(), trials.shape, places.unordered.tobytes(), known.tobytes()
        )

    def fit(self, values: np.ndarray, points: np.ndarray) -> _Surface:
        """Smooths values (n,) by the smoother with the least leave-one-out error.

        Args:
            values: (n,) at the trials.
            points: (N, D) where the surface is wanted, too.
        """
        n, learnt = len(values), values[self._rows]
        count = len(learnt)
        level = float(np.mean(learnt if count else values))
        without = np.full(n, level)
        if count > 1:
            without[self._rows] = (np.sum(learnt) - learnt) / (count - 1)
        off = learnt - without[self._rows]
        least = float(np.mean(off * off)) if count else 0.0
        flat = _Surface(without, np.full(n, level), np.full(len(points), level), least)
        if count < 3:
            return flat
        first = len(self._first)
        _, missed = self._solved(self._inverses, learnt[:first])
        errors = np.mean(missed * missed, axis=1)
        best = int(np.argmin(errors))
        if not errors[best] < np.mean(off[:first] ** 2):
            return flat
        (weights,), (missed,) = self._solved(self._inverse(best)[None], learnt)
        shape = self._shapes[best // len(_NOISES)]
        level = _LEVEL * float(np.sum(weights))

        def surface(places: np.ndarray) -> np.ndarray:
            across = _apart(places, self._trials[self._rows], self._unordered)
            return np.asarray(product(_kernel(across, *shape), weights) + level)

        trials = surface(self._trials)
        without = trials.copy()
        without[self._rows] = learnt - missed
        variance = float(np.mean(missed * missed))
        return _Surface(without, trials, surface(points), variance)

    def _solved(
        self, inverses: np.ndarray, learnt: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (B, n) weights of the trials, and what each misses without itself."""
        count = len(learnt)
        weights = product(inverses.reshape(-1, count), learnt).reshape(-1, count)
        return weights, weights / np.einsum("bii->bi", inverses)

    def _inverse(self, best: int) -> np.ndarray:
        """Returns the inverse (n, n) of one smoother and noise, of all trials."""
        if len(self._first) == len(self._rows):
            return np.asarray(self._inverses[best])
        if best not in self._of_all:
            trials = self._trials[self._rows]
            apart = _apart(trials, trials, self._unordered)
            own = _kernel(apart, *self._shapes[best // len(_NOISES)]) + _LEVEL
            own += np.eye(len(trials)) * _NOISES[best % len(_NOISES)]
            self._of_all[best] = inverse(own[None])[0]
        return self._of_all[best]


@functools.lru_cache(maxsize=4)
def _smoothers(
    trials: bytes, shape: tuple[int, int], unordered: bytes, known: bytes
) -> _Smoothers:
    """Makes smoothers once for all scores of the same trials."""
    return _Smoothers(
        np.frombuffer(trials).reshape(shape),
        np.frombuffer(unordered, dtype=bool),
        np.frombuffer(known, dtype=bool),
    )


# --- influences ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Influences:
    """How far D(k) may be off, of an arm or of a weighted sum of arms."""

    trials: np.ndarray
    """(n, K) D(k) less what it is with trial i replaced by its prediction; the squares
    sum to the squared standard error of all that is not predictable."""
    design: np.ndarray
    """(K,) D(k) over the modelled space, less that over the design's points in it."""
    boundary: np.ndarray
    """(K,) the variance that stems from where divergence begins, which lies somewhere
    between two trials: the larger squared change when one more or one fewer diverges."""

    def scaled(self, weight: float) -> "Influences":
        """Returns the influences of D(k) times a weight."""
        return Influences(
            weight * self.trials, weight * self.design, weight**2 * self.boundary
        )


class Model:
    """What the space of one arm looks like, to judge how far D(k) may be off.

    Divergence has a boundary that no smoother of scores follows, so it is predicted
    apart, and scores from the trials that did not diverge.

    Args:
        places: Of the trials.
        validation: (n,) higher is better.
        score: (n,) the score that counts.
        diverged: (n,) bool.
        worst: What a diverged trial scores.
    """

    def __init__(
        self,
        places: Places,
        validation: np.ndarray,
        score: np.ndarray,
        diverged: np.ndarray,
        worst: float,
    ) -> None:
        self._places, self._worst, self._diverged = places, worst, diverged
        self._validation, self._score = validation, score
        smoothers = _Smoothers.of(places, ~diverged)
        self._chosen = smoothers.fit(validation, places.points)
        self._seen = smoothers.fit(score, places.points)
        self._failing: _Surface | None = None
        if diverged.any() and not diverged.all():
            everyone = _Smoothers.of(places, np.ones(len(validation), dtype=bool))
            self._failing = everyone.fit(diverged.astype(np.float64), places.points)

    def influences(self, efforts: np.ndarray) -> Influences:
        """Returns what each trial does to D(k), and how far the whole design is off.

        Args:
            efforts: (K,).
        """
        n = len(self._validation)
        picked, ended = self._chosen.without, self._seen.without
        if self._failing is not None:
            fails = self._failing.without > 0.5
            picked = np.where(fails, self._worst, picked)
            ended = np.where(fails, self._worst, ended)
        weights = plug_in_weights(n, efforts)
        replaced = np.repeat(self._validation[None], n, axis=0)
        scores = np.repeat(self._score[None], n, axis=0)
        np.fill_diagonal(replaced, picked)
        np.fill_diagonal(scores, ended)
        whole = _ranked(self._validation[None], self._score[None], weights)
        return Influences(
            whole - _ranked(replaced, scores, weights),
            self._design_error(efforts),
            self._boundary(whole, weights),
        )

    def _boundary(self, whole: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Returns (K,) what one diverged trial more or fewer would change, squared.

        Of those that diverged and of those that did not, the one of which the others
        tell least is taken. A smoother that tells all of them apart says nothing of
        where between them the boundary lies.
        """
        if self._failing is None:
            return np.zeros(weights.shape[1])
        out = self._failing.without
        more = int(np.argmax(np.where(self._diverged, -np.inf, out)))
        fewer = int(np.argmin(np.where(self._diverged, out, np.inf)))
        validation = np.repeat(self._validation[None], 2, axis=0)
        score = np.repeat(self._score[None], 2, axis=0)
        validation[0, more] = score[0, more] = self._worst
        validation[1, fewer] = self._chosen.without[fewer]
        score[1, fewer] = self._seen.without[fewer]
        changed = _ranked(validation, score, weights) - whole
        found: np.ndarray = np.max(changed * changed, axis=0)
        return found

    def _design_error(self, efforts: np.ndarray) -> np.ndarray:
        """Returns (K,) D(k) over the modelled space, less that over the design in it.

        A search picks by noisy validation, so the noise that the smoother left is put
        back on both: on the space's points once, on each of the design's several times.
        """
        chosen, seen, worst = self._chosen, self._seen, self._worst
        size, n = len(self._places.points), len(self._validation)
        times = max(size // n, 1)
        noise = np.sqrt(chosen.variance) * _normal(max(size, times * n))
        picked, ended = chosen.points + noise[0, :size], seen.points
        own = np.repeat(chosen.trials, times) + noise[1, : times * n]
        own_ended = np.repeat(seen.trials, times)
        if self._failing is not None:
            # Below whatever the noise makes of the others.
            lowest = min(worst, float(picked.min()), float(own.min())) - 1.0
            out = self._failing.points > 0.5
            own_out = np.repeat(self._diverged, times)
            picked, ended = np.where(out, lowest, picked), np.where(out, worst, ended)
            own = np.where(own_out, lowest, own)
            own_ended = np.where(own_out, worst, own_ended)
        of_space = _ranked(picked[None], ended[None], plug_in_weights(size, efforts))
        of_design = _ranked(
            own[None], own_ended[None], plug_in_weights(len(own), efforts)
        )
        found: np.ndarray = (of_space - of_design)[0]
        return found


def _ranked(
    validation: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns (R, K) D(k) of R searches (R, n), tied trials at their mean."""
    order = np.argsort(validation, axis=1, kind="stable")
    chosen = np.take_along_axis(validation, order, axis=1)
    scores = np.take_along_axis(score, order, axis=1)
    starts = np.ones(chosen.shape, dtype=bool)
    starts[:, 1:] = chosen[:, 1:] > chosen[:, :-1]
    if not starts.all():
        group = np.cumsum(starts.ravel()) - 1
        sizes = np.bincount(group)
        means = np.bincount(group, scores.ravel()) / sizes
        scores = means[group].reshape(scores.shape)
    return product(scores, weights)


@functools.lru_cache(maxsize=16)
def _normal(size: int) -> np.ndarray:
    """Returns (2, size) standard normal quantiles, in two orders of their own."""
    stream = generator(0, "noise of the space", size)
    quantiles = special.ndtri((np.arange(size) + 0.5) / size)
    return np.stack([stream.permutation(quantiles), stream.permutation(quantiles)])

"""Settings whose truth is known: how an arm's score depends on its hyperparameters."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial.errors import ProtocolError
from archtrial.randomness import generator
from archtrial.statistics import Estimand
from archtrial.statistics.matching import furthest
from archtrial.statistics.stratified import in_cells
from archtrial.statistics.tuning import Ranking

__all__ = [
    "ARMS_OWN",
    "DIFFICULTY",
    "PUBLISHED_TRIALS",
    "Landscape",
    "Setting",
    "Truth",
    "landscape",
    "truth",
    "validated",
]


# Of the variance of what decides whether a run gets an example right: the share that
# is the example's own difficulty, and the arm's own way with it. At an accuracy of
# .8, runs of two arms then disagree on 10 % of the examples, and of one arm on 7 %.
DIFFICULTY, ARMS_OWN = 0.90, 0.05

# Runs behind a published "best of".
PUBLISHED_TRIALS = 20


@dataclasses.dataclass(frozen=True)
class Landscape:
    """How one arm's score depends on where a trial lies: a noisy quadratic.

    Every hyperparameter lies uniformly in [0, 1]. A run whose seed works scores

        max(floor, peak - sum_h fall_h max(0, |u_h - optimum_h| - plateau)^2) + luck

    less ridge (u_1 - optimum_1 + u_2 - optimum_2)^2 where the first two interact. With
    a second optimum the larger of two such surfaces counts. Of hyperparameters that are
    choices u_h is the middle of the option's share of [0, 1].
    """

    peak: float = 0.8
    optimum: tuple[float, ...] = (0.4, 0.6)
    """(D,)."""
    fall: tuple[float, ...] = (1.0, 1.0)
    """(D,) what is lost at the distance of a whole range."""
    plateau: float = 0.0
    """How far from the optimum nothing is lost."""
    floor: float = 0.1
    """The constant predictor's score."""
    seed_spread: float = 0.01
    """Standard deviation over seeds, common to a run's validation and test score."""
    unevenness: float = 0.0
    """How many times larger that is where everything is lost, less 1."""
    diverging: float = 0.0
    """The share of draws that diverge: the largest of the first hyperparameter."""
    failing: float = 0.0
    """The share of seeds that end at the floor."""
    ridge: float = 0.0
    """How steep the ridge is on which the first two hyperparameters trade off."""
    second: tuple[float, ...] = ()
    """(D,) another optimum; empty for none."""
    lower: float = 0.0
    """How much lower than the first it is."""
    choices: tuple[int, ...] = ()
    """(D,) how many options, without an order, each choice has; 0 for a range. Empty
    where there are only ranges. An option's score is that of its share of [0, 1]."""

    def quality(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (...) the score of a seed without luck, and (...) who diverges.

        Args:
            positions: (..., D or more) in [0, 1].
        """
        places = self.places(positions)
        lost = self._lost(places, self.optimum)
        if self.second:
            lost = np.minimum(lost, self.lower + self._lost(places, self.second))
        return (
            np.maximum(self.peak - lost, self.floor),
            positions[..., 0] > 1 - self.diverging,
        )

    def places(self, positions: np.ndarray) -> np.ndarray:
        """Returns (..., D) where trials lie, each option in the middle of its share."""
        return in_cells(positions[..., : len(self.optimum)], self.choices)

    def _lost(self, places: np.ndarray, optimum: tuple[float, ...]) -> np.ndarray:
        apart = places - np.array(optimum)
        lost = np.maximum(np.abs(apart) - self.plateau, 0) ** 2 @ np.array(self.fall)
        if self.ridge:
            lost += self.ridge * (apart[..., 0] + apart[..., 1]) ** 2
        return np.asarray(lost)

    def runs(
        self, quality: np.ndarray, luck: np.ndarray, chance: np.ndarray
    ) -> np.ndarray:
        """Returns the scores of runs on as many examples as there could be.

        Args:
            quality: (...).
            luck: (...) standard normal.
            chance: (...) uniform; below `failing` the seed fails.
        """
        lost = (self.peak - quality) / (self.peak - self.floor)
        spread = self.seed_spread * (1 + self.unevenness * lost)
        return np.where(chance < self.failing, self.floor, quality + spread * luck)


def landscape(
    spread: float, *, optimum: tuple[float, ...] = (0.4, 0.6), **others: Any
) -> Landscape:
    """Returns the landscape whose scores have a standard deviation over the space.

    Args:
        spread: Over configurations that do not diverge, where none lies at the floor.
        optimum: Of each hyperparameter; all matter alike.
        **others: Of `Landscape`.
    """
    places = np.array(optimum)
    second = ((1 - places) ** 3 + places**3) / 3
    fourth = ((1 - places) ** 5 + places**5) / 5
    fall = spread / math.sqrt(np.sum(fourth - second**2))
    return Landscape(optimum=optimum, fall=(fall,) * len(optimum), **others)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Two arms, and how a study of them is done."""

    name: str
    """What tells its streams from those of other settings. Settings of one name that
    differ in `effect` alone see the same draws."""
    baseline: Landscape = Landscape()
    challenger: Landscape = Landscape()
    """Its peak is moved until the true gain is `effect`."""
    configurations: int = 16
    effort: int = 4
    effect: float = 0.0
    """The true Delta(k) in the declared reading."""
    margin: float = 0.005
    alpha: float = 0.05
    estimand: Estimand = "configuration"
    paired: bool = True
    sampling: Literal["sobol", "random"] = "random"
    """Whether configurations are points of a scrambled Sobol sequence, or independent."""
    confirm_seeds: int = 3
    top: int | None = None
    max_multiple: float = 4.0
    validation_noise: float = 0.01
    """Standard deviation of what a validation score adds to the run's own quality."""
    validation_size: int | None = None
    """Validation scores are multiples of one over it, so that they tie."""
    test_size: int | None = None
    """T; None: test scores without any error, single examples unknown."""
    published: Literal["nothing", "untuned baseline", "tuned baseline"] = "nothing"
    """Published beside the study: of the challenger the best of 20 runs by its test
    score; of the baseline the same or, untuned, a run at a spot 4 points below its
    peak, which is about 3 points below the best of 20."""
    permutations: int = 999
    """A tenth of a verdict's; the gate has the same level, and a little less power."""
    resamples: int = 1000
    """Half of a verdict's; the percentiles are as unbiased, and a little noisier."""

    def __post_init__(self) -> None:
        if self.effort * 4 > self.configurations:
            raise ProtocolError(
                "effort is at most a quarter of the configurations (k <= n / 4)",
                f"effort = {self.effort}, configurations = {self.configurations}",
                f"Set configurations = {4 * self.effort} or more.",
            )


_POINTS = 15
"""Log2 of the points that fill the space, in each of `_SHIFTS` shifts of them."""
_SHIFTS = 4


@dataclasses.dataclass(frozen=True)
class Truth:
    """What a setting's estimates aim at."""

    peak: float
    """Of the challenger."""
    gain: Mapping[Estimand, float]
    """Delta(k) in each reading."""
    error: float
    """The standard error of the declared reading's gain."""
    curves: tuple[tuple[float, ...], tuple[float, ...]]
    """Expected best validation score at k = 1, ..., n / 4: baseline, challenger."""
    match: Mapping[Estimand, float]
    """The baseline's trials that come within the margin; infinite if more than one
    beyond the furthest effort, where no limit of `match` reaches."""


def truth(setting: Setting) -> Truth:
    """Computes the truth of a setting by quasi-Monte Carlo.

    Each of four randomly shifted Sobol sequences holds 32,768 trials. A search of
    effort k in so many trials is what `Ranking.expected` computes without drawing
    any, and the trials stand for the whole space.

    Raises:
        ProtocolError: No peak of the challenger has the wanted effect.
    """
    dimensions = max(len(setting.baseline.optimum), len(setting.challenger.optimum))
    sequence = scipy.stats.qmc.Sobol(dimensions + 3, scramble=False)
    grid = sequence.random_base2(_POINTS)
    shifts = generator(0, "truth").random((_SHIFTS, dimensions + 3))
    # No point at the very edge, where the normal quantile is infinite.
    points = [np.clip((grid + shift) % 1, 1e-9, 1 - 1e-9) for shift in shifts]
    k = setting.effort
    a = [_Population(setting, setting.baseline, each) for each in points]

    def challenger(peak: float) -> list[_Population]:
        arm = dataclasses.replace(setting.challenger, peak=peak)
        return [_Population(setting, arm, each) for each in points]

    def gains(b: Sequence[_Population], reading: Estimand) -> np.ndarray:
        return np.array(
            [
                two.expected(reading, [k])[0] - one.expected(reading, [k])[0]
                for one, two in zip(a, b, strict=True)
            ]
        )

    # All but linear in the peak, so a few secants suffice.
    peak, slope = setting.challenger.peak, 1.0
    b = challenger(peak)
    found = gains(b, setting.estimand)
    for _ in range(8):
        missing = setting.effect - float(np.mean(found))
        if abs(missing) < 1e-7:
            break
        step = missing / slope
        b = challenger(peak + step)
        moved = gains(b, setting.estimand)
        slope = float(np.mean(moved - found)) / step
        peak, found = peak + step, moved
        if not slope > 1e-3:
            break
    if not abs(float(np.mean(found)) - setting.effect) < 1e-5:
        raise ProtocolError(
            f"some peak of the challenger has a gain of {setting.effect:g}",
            f"at a peak of {peak:g} the gain is {np.mean(found):g}",
            "Choose smaller effects, or fewer diverging draws and failing seeds.",
        )
    largest = furthest(setting.configurations, modelled=setting.sampling == "sobol")
    efforts = np.arange(1, largest + 2)
    readings: tuple[Estimand, Estimand] = ("configuration", "run")
    match: dict[Estimand, float] = {}
    for reading in readings:
        curve = np.mean([each.expected(reading, efforts) for each in a], axis=0)
        target = np.mean([each.expected(reading, [k])[0] for each in b])
        near = curve >= target - setting.margin - 1e-5
        match[reading] = float(efforts[np.argmax(near)]) if near.any() else math.inf
    seen = efforts[: setting.configurations // 4]
    curves = [
        tuple(
            np.mean([x.expected("validation", seen) for x in arm], axis=0)
            .round(9)
            .tolist()
        )
        for arm in (a, b)
    ]
    return Truth(
        peak=peak,
        gain={reading: float(np.mean(gains(b, reading))) for reading in readings},
        error=float(np.std(found, ddof=1)) / math.sqrt(_SHIFTS),
        curves=(curves[0], curves[1]),
        match=match,
    )


class _Population:
    """All trials that an arm could have: one for each point."""

    def __init__(self, setting: Setting, arm: Landscape, points: np.ndarray) -> None:
        quality, diverged = arm.quality(points)
        luck, noise = special.ndtri(points[:, -3]), special.ndtri(points[:, -2])
        run = np.where(diverged, arm.floor, arm.runs(quality, luck, points[:, -1]))
        fresh = arm.failing * arm.floor + (1 - arm.failing) * quality
        validation = validated(setting, arm, run, noise, diverged)
        self._ranking = Ranking(validation)
        self._scores = {
            "validation": validation,
            "configuration": np.where(diverged, arm.floor, fresh),
            "run": run,
        }

    def expected(self, score: str, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._ranking.expected(self._scores[score], efforts)


def validated(
    setting: Setting,
    arm: Landscape,
    run: np.ndarray,
    noise: np.ndarray,
    diverged: np.ndarray,
) -> np.ndarray:
    """Returns validation scores, of as many examples as the setting has."""
    score = run + setting.validation_noise * noise
    if setting.validation_size is not None:
        score = np.round(score * setting.validation_size) / setting.validation_size
    return np.where(diverged, arm.floor, score)

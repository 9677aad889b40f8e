"""Simulated choices among arms whose truth is known: how often what is taken is right.

A choice is made as `archtrial choose` makes it: searches on one Sobol sequence, compared by
the examples of a validation set at each look; arms that leave; finalists on fresh seeds and
test examples; the simplest of which no other is better by more than the margin. The
functions that decide are those of the command (`statistics.choosing`).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial import statistics
from archtrial.calibration.landscapes import ARMS_OWN, DIFFICULTY, Landscape, landscape
from archtrial.calibration.simulation import Tally
from archtrial.randomness import generator
from archtrial.statistics import Search, choosing
from archtrial.statistics.tuning import Ranking

__all__ = ["SETTINGS", "ChoiceSetting", "choices", "worth"]


@dataclasses.dataclass(frozen=True)
class ChoiceSetting:
    """Arms in order, and how a choice among them is made."""

    name: str
    """What tells its streams from those of other settings."""
    arms: tuple[Landscape, ...]
    """From simple to complex."""
    looks: tuple[int, ...] = (16, 32, 48, 64)
    """Declared; the levels are divided among all of them."""
    paid: int = 2
    """How many of them the time pays for."""
    effort: int = 4
    confirm_seeds: int = 3
    final_seeds: int = 12
    validation_size: int = 1000
    test_size: int = 2000
    margin: float = 0.01
    alpha: float = 0.05


_PEAKS = {
    "ladder": (0.70, 0.78, 0.82, 0.84, 0.846, 0.848),
    "two leaders": (0.60, 0.70, 0.76, 0.80, 0.83, 0.83),
    "all equal": (0.80,) * 6,
    "just beyond the margin": (*(0.8285,) * 5, 0.84),
    "the simplest is best": (0.84, 0.83, 0.82, 0.80, 0.78, 0.75),
}


def _arms(peaks: Sequence[float], **given: Any) -> tuple[Landscape, ...]:
    """Returns arms with their optima apart, whose scores spread by 6 points."""
    return tuple(
        landscape(0.06, optimum=(0.3 + 0.07 * i, 0.65 - 0.05 * i), peak=peak, **given)
        for i, peak in enumerate(peaks)
    )


SETTINGS = (
    *(ChoiceSetting(name, _arms(peaks)) for name, peaks in _PEAKS.items()),
    ChoiceSetting("one look", _arms(_PEAKS["ladder"]), paid=1, final_seeds=6),
    ChoiceSetting(
        "few examples", _arms(_PEAKS["just beyond the margin"]),
        validation_size=300, test_size=300,
    ),
    ChoiceSetting(
        "a fifth diverges", _arms(_PEAKS["two leaders"], diverging=0.2)
    ),
    ChoiceSetting(
        "uneven tuning",
        tuple(
            landscape(spread, optimum=(0.35, 0.6), peak=peak)
            for spread, peak in zip(
                (0.01, 0.02, 0.04, 0.08, 0.12, 0.16),
                (0.80, 0.805, 0.812, 0.82, 0.83, 0.842),
                strict=True,
            )
        ),
    ),
)  # fmt: skip
"""Six arms each; the margin is one point. In "just beyond the margin" five arms are as far
below the best as an error takes."""


def worth(setting: ChoiceSetting, effort: int) -> np.ndarray:
    """Returns (m,) what a search of so many trials is expected to end with, by arm.

    By quasi-Monte Carlo, as `landscapes.truth`: the mean quality of the configuration that
    is best by the validation score of one run.
    """
    sequence = scipy.stats.qmc.Sobol(4, scramble=False).random_base2(15)
    shift = generator(0, "worth").random(4)
    points = np.clip((sequence + shift) % 1, 1e-9, 1 - 1e-9)
    found = []
    for arm in setting.arms:
        quality, diverged = arm.quality(points)
        run = arm.runs(quality, special.ndtri(points[:, -2]), np.ones(len(points)))
        noise = np.sqrt(run * (1 - run) / setting.validation_size)
        validation = run + noise * special.ndtri(points[:, -1])
        validation = np.where(diverged, arm.floor, validation)
        score = np.where(diverged, arm.floor, quality)
        found.append(float(Ranking(validation).expected(score, [effort])[0]))
    return np.array(found)


def choices(setting: ChoiceSetting, seed: int, first: int, count: int) -> Tally:
    """Makes choices number `first` to `first + count` - 1, and counts what came of them.

    Counted are "studies"; those that are "shown" and those that are not, "open"; of each
    those whose arm is more than the margin worse than the best: by the quality of the
    tuned configurations, which is what a choice claims ("shown, networks wrong"); and by
    what a search of as many trials as the time paid for is worth ("shown, arms wrong"), and
    one of effort k ("shown, arms wrong at k"), which no choice claims. "simplest" is how often the
    arm that is taken is the simplest that is within the margin, by the configurations.
    """
    efforts = setting.looks[setting.paid - 1], setting.effort
    values = [worth(setting, effort) for effort in efforts]
    return Tally.of(
        Tally(_counted(setting, values, generator(seed, "choices", setting.name, i)))
        for i in range(first, first + count)
    )


def _counted(
    setting: ChoiceSetting, values: Sequence[np.ndarray], stream: np.random.Generator
) -> dict[str, float]:
    m = len(setting.arms)
    searched = _Searched(setting, stream)
    levels = choosing.levels_of_searches(setting.looks, setting.alpha, m)
    still, tuned = list(range(m)), [0] * m
    for look in range(setting.paid):
        n = setting.looks[look]
        found = [searched.search(arm, n) for arm in still]
        for arm in still:
            tuned[arm] = searched.tuned(arm, n)
        gaps = choosing.both(
            choosing.of_searches(found, setting.effort, levels[look]),
            choosing.of_tuned(found, levels[look]),
        )
        gone = {still[i] for i in choosing.cannot_win(gaps, setting.margin)}
        still = [arm for arm in still if arm not in gone]
        if len(still) == 1:
            break
    quality = np.array([searched.quality[arm][tuned[arm]] for arm in range(m)])
    choice = _finals(setting, still, quality, stream)
    taken = still[choice.arm]
    state = "shown" if choice.shown else "open"
    near = np.flatnonzero(quality >= quality.max() - setting.margin)
    return {
        "studies": 1,
        state: 1,
        f"{state}, networks wrong": float(taken not in near),
        **{
            f"{state}, arms wrong{at}": float(
                worths[taken] < worths.max() - setting.margin
            )
            for at, worths in zip(("", " at k"), values, strict=True)
        },
        "simplest": float(taken == near[0]),
        "sum finalists": len(still),
    }


class _Searched:
    """What all searches of one choice come to, up to the last look."""

    def __init__(self, setting: ChoiceSetting, stream: np.random.Generator) -> None:
        self._setting = setting
        n, runs = setting.looks[-1], 1 + setting.confirm_seeds
        sequence = scipy.stats.qmc.Sobol(2, rng=stream)
        self._positions = sequence.random_base2(math.ceil(math.log2(n)))[:n]
        shared = _normal(stream, setting.validation_size)
        self.quality: list[np.ndarray] = []
        self._diverged: list[np.ndarray] = []
        self._examples: list[np.ndarray] = []
        for arm in setting.arms:
            quality, diverged = arm.quality(self._positions)
            score = arm.runs(
                quality[:, None],
                stream.standard_normal((n, runs)),
                stream.random((n, runs)),
            )
            score[diverged] = arm.floor
            self._examples.append(_right(score, shared, stream))
            self.quality.append(np.where(diverged, arm.floor, quality))
            self._diverged.append(diverged)

    def search(self, arm: int, n: int) -> Search:
        """Returns a search as it stands at n, by the examples of the validation set."""
        setting, examples = self._setting, self._examples[arm][:n]
        seen = examples.mean(axis=2, dtype=np.float64)
        fully, once = statistics.confirm_indices(
            [seen[:, 0]], setting.effort, stratified=True
        )
        test = np.full(n, np.nan)
        shares = np.full((n, setting.validation_size), np.nan, np.float32)
        fresh = [np.empty(0)] * n
        for some, last in ((fully, None), (once, 2)):
            test[some] = seen[some, 1:last].mean(axis=1)
            shares[some] = examples[some, 1:last].mean(axis=1)
            for i in some:
                fresh[i] = seen[i, 1:last]
        return Search(
            name=str(arm),
            validation=seen[:, 0],
            test=test,
            test_run=seen[:, 0],
            diverged=self._diverged[arm][:n],
            cost=np.ones(n),
            worst=setting.arms[arm].floor,
            examples=shares,
            examples_run=examples[:, 0],
            fresh=fresh,
            stratified=True,
            positions={
                f"h{j}": column[:n] for j, column in enumerate(self._positions.T)
            },
        )

    def tuned(self, arm: int, n: int) -> int:
        """Returns the best configuration on all its fresh seeds."""
        seen = self._examples[arm][:n].mean(axis=2, dtype=np.float64)
        fully, _ = statistics.confirm_indices(
            [seen[:, 0]], self._setting.effort, stratified=True
        )
        return int(fully[np.argmax(seen[fully, 1:].mean(axis=1))])


def _finals(
    setting: ChoiceSetting,
    still: Sequence[int],
    quality: np.ndarray,
    stream: np.random.Generator,
) -> choosing.Choice:
    """Trains the finalists on fresh seeds, and takes one."""
    shared = _normal(stream, setting.test_size)
    examples = [
        _right(
            setting.arms[arm].runs(
                quality[arm],
                stream.standard_normal(setting.final_seeds),
                stream.random(setting.final_seeds),
            ),
            shared,
            stream,
        )
        for arm in still
    ]
    scores = [own.mean(axis=1, dtype=np.float64) for own in examples]
    shares = np.array([own.mean(axis=0, dtype=np.float64) for own in examples])
    level = choosing.level_of_finalists(setting.alpha, len(still))
    gaps = choosing.of_finalists(scores, shares, level)
    return choosing.recommend(
        gaps, [float(np.mean(own)) for own in scores], setting.margin
    )


def _normal(stream: np.random.Generator, *shape: int) -> np.ndarray:
    return stream.standard_normal(shape, dtype=np.float32)


def _right(
    score: np.ndarray, shared: np.ndarray, stream: np.random.Generator
) -> np.ndarray:
    """Draws whether each run gets each example right, (..., T), as `simulation` does.

    Args:
        score: (...) of runs of one arm on as many examples as there could be.
        shared: (T,) how difficult each example is.
        stream: Of random numbers.
    """
    own = math.sqrt(DIFFICULTY) * shared + math.sqrt(ARMS_OWN) * _normal(
        stream, len(shared)
    )
    least = special.ndtri(np.clip(score, 1e-6, 1 - 1e-6)).astype(np.float32)
    rest = math.sqrt(1 - DIFFICULTY - ARMS_OWN) * _normal(
        stream, *score.shape, len(shared)
    )
    right: np.ndarray = (rest + own < least[..., None]).astype(np.float32)
    return right

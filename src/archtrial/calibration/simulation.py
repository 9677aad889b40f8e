"""Studies of two arms whose truth is known, drawn and judged.

The true gain is known from 131,072 points that fill the space evenly, with an
error far below that of any number of studies that one would wait for.

Shapes: S studies, n trials, r fresh seeds, T test examples, D hyperparameters.
"""

import concurrent.futures
import dataclasses
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial import statistics
from archtrial.errors import ProtocolError
from archtrial.randomness import generator
from archtrial.randomness import seed as seed_of
from archtrial.statistics import Comparison, Estimand, Estimate, Search, decide
from archtrial.statistics.matching import furthest
from archtrial.statistics.stratified import in_cells
from archtrial.statistics.tuning import Ranking

__all__ = [
    "CHUNK",
    "Landscape",
    "Setting",
    "Tally",
    "Truth",
    "chunk",
    "landscape",
    "simulate",
    "simulate_all",
    "truth",
]

CHUNK = 100
"""Studies that are drawn from one stream. A last chunk may hold fewer, which are the
first of a whole one."""

# Of the variance of what decides whether a run gets an example right: the share that
# is the example's own difficulty, and the arm's own way with it. At an accuracy of
# .8, runs of two arms then disagree on 10 % of the examples, and of one arm on 7 %.
_DIFFICULTY, _ARMS_OWN = 0.90, 0.05

# Runs behind a published "best of".
_PUBLISHED_TRIALS = 20


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


# --- the truth -----------------------------------------------------------------

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
        validation = _validated(setting, arm, run, noise, diverged)
        self._ranking = Ranking(validation)
        self._scores = {
            "validation": validation,
            "configuration": np.where(diverged, arm.floor, fresh),
            "run": run,
        }

    def expected(self, score: str, efforts: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._ranking.expected(self._scores[score], efforts)


def _validated(
    setting: Setting,
    arm: Landscape,
    run: np.ndarray,
    noise: np.ndarray,
    diverged: np.ndarray,
) -> np.ndarray:
    score = run + setting.validation_noise * noise
    if setting.validation_size is not None:
        score = np.round(score * setting.validation_size) / setting.validation_size
    return np.where(diverged, arm.floor, score)


# --- studies -------------------------------------------------------------------


def _studies(
    setting: Setting, known: Truth, stream: np.random.Generator, count: int
) -> Iterator[tuple[Search, Search, dict[str, float] | None]]:
    """Draws a whole chunk at once; yields its first studies.

    Returns:
        The baseline's search, the challenger's, and what was published.
    """
    arms = (
        setting.baseline,
        dataclasses.replace(setting.challenger, peak=known.peak),
    )
    n, seeds = setting.configurations, 1 + setting.confirm_seeds
    dimensions = max(len(arm.optimum) for arm in arms)
    positions = _positions(setting, stream, dimensions)
    validations, scores, stopped, places = [], [], [], []
    for arm in arms:
        quality, diverged = arm.quality(positions)
        shape = (CHUNK, n, seeds)
        run = arm.runs(
            quality[..., None], stream.standard_normal(shape), stream.random(shape)
        )
        run[diverged] = arm.floor
        noise = stream.standard_normal((CHUNK, n))
        validations.append(_validated(setting, arm, run[..., 0], noise, diverged))
        scores.append(run)
        stopped.append(diverged)
        places.append(arm.places(positions))
        if not setting.paired:
            positions = _positions(setting, stream, dimensions)
    published = {}
    if setting.published != "nothing":
        published = {
            "baseline": _published(
                arms[0], stream, tuned=setting.published == "tuned baseline"
            ),
            "challenger": _published(arms[1], stream, tuned=True),
        }
    names = ("baseline", "challenger")
    for s in range(count):
        seen = [validation[s] for validation in validations]
        # Trials that share their draws are confirmed together.
        ranked = [seen, seen] if setting.paired else [[seen[0]], [seen[1]]]
        examples = _examples(setting, [score[s] for score in scores], stream)
        found = [
            _search(
                names[i],
                seen[i],
                scores[i][s],
                stopped[i][s],
                statistics.confirm_indices(
                    ranked[i],
                    setting.effort,
                    setting.top,
                    stratified=setting.sampling == "sobol",
                ),
                arms[i].floor,
                examples[i],
                places[i][s] if setting.sampling == "sobol" else None,
            )
            for i in (0, 1)
        ]
        claimed = {name: float(published[name][s]) for name in published}
        yield found[0], found[1], claimed or None


def _search(
    name: str,
    validation: np.ndarray,
    scores: np.ndarray,
    diverged: np.ndarray,
    chosen: tuple[np.ndarray, np.ndarray],
    floor: float,
    examples: np.ndarray | None,
    positions: np.ndarray | None,
) -> Search:
    """Returns what a study leaves of one arm.

    Args:
        name: The arm's.
        validation: (n,).
        scores: (n, 1 + r) of the search run and r fresh seeds.
        diverged: (n,).
        chosen: The indices with all fresh seeds, and those with one.
        floor: The constant predictor's score.
        examples: (n, 1 + r, T) score of each test example; None if unknown.
        positions: (n, D) where trials that fill the space evenly lie; else None.
    """
    fully, once = chosen
    known = scores if examples is None else examples.mean(axis=2)
    test = np.full(len(validation), np.nan)
    test[fully] = known[fully, 1:].mean(axis=1)
    test[once] = known[once, 1]
    shares, shares_run = None, None
    if examples is not None:
        shares = np.full((len(validation), examples.shape[2]), np.nan, np.float32)
        shares[fully] = examples[fully, 1:].mean(axis=1)
        shares[once] = examples[once, 1]
        shares_run = examples[:, 0]
    return Search(
        name=name,
        validation=validation,
        test=test,
        test_run=known[:, 0],
        diverged=diverged,
        cost=np.ones(len(validation)),
        worst=floor,
        examples=shares,
        examples_run=shares_run,
        fresh=_fresh(known, fully, once),
        stratified=positions is not None,
        positions={}
        if positions is None
        else {f"h{j}": column for j, column in enumerate(positions.T)},
    )


def _fresh(known: np.ndarray, fully: np.ndarray, once: np.ndarray) -> list[np.ndarray]:
    """Returns the scores of each trial's fresh seeds, of (n, 1 + r) scores."""
    found = [np.empty(0)] * len(known)
    for i in fully:
        found[i] = known[i, 1:]
    for i in once:
        found[i] = known[i, 1:2]
    return found


def _positions(
    setting: Setting, stream: np.random.Generator, dimensions: int
) -> np.ndarray:
    """Draws where the trials of a whole chunk lie, (S, n, D)."""
    n = setting.configurations
    if setting.sampling == "random":
        return stream.random((CHUNK, n, dimensions))
    sequences = [
        scipy.stats.qmc.Sobol(dimensions, rng=each) for each in stream.spawn(CHUNK)
    ]
    size = math.ceil(math.log2(n))
    return np.stack([sequence.random_base2(size)[:n] for sequence in sequences])


def _examples(
    setting: Setting, scores: Sequence[np.ndarray], stream: np.random.Generator
) -> list[np.ndarray | None]:
    """Draws whether each run gets each test example right, (n, 1 + r, T) by arm.

    A run of accuracy q is right where a normal variable, made of the example's
    difficulty, the arm's own way with it and the run's, lies below the q-quantile.
    """
    if setting.test_size is None:
        return [None] * len(scores)

    def normal(*shape: int) -> np.ndarray:
        return stream.standard_normal(shape, dtype=np.float32)

    shared = math.sqrt(_DIFFICULTY) * normal(setting.test_size)
    found: list[np.ndarray | None] = []
    for score in scores:
        own = shared + math.sqrt(_ARMS_OWN) * normal(setting.test_size)
        least = special.ndtri(np.clip(score, 1e-6, 1 - 1e-6)).astype(np.float32)
        rest = normal(*score.shape, setting.test_size)
        rest *= math.sqrt(1 - _DIFFICULTY - _ARMS_OWN)
        rest += own
        found.append((rest < least[..., None]).astype(np.float32))
    return found


def _published(
    arm: Landscape, stream: np.random.Generator, *, tuned: bool
) -> np.ndarray:
    """Returns (S,) what somebody published of an arm."""
    shape = (CHUNK, _PUBLISHED_TRIALS)
    quality, diverged = arm.quality(stream.random((*shape, len(arm.optimum))))
    luck, chance = stream.standard_normal(shape), stream.random(shape)
    if not tuned:
        return arm.peak - 0.04 + arm.seed_spread * luck[:, 0]
    run = np.where(diverged, arm.floor, arm.runs(quality, luck, chance))
    best: np.ndarray = run.max(axis=1)
    return best


# --- the count -----------------------------------------------------------------


class Tally:
    """How often each thing happened, over studies of one setting.

    Args:
        counts: What was counted; "studies" is their number, sums start with "sum".
    """

    def __init__(self, counts: Mapping[str, float]) -> None:
        self.counts = dict(counts)

    @classmethod
    def of(cls, parts: Iterable["Tally"]) -> "Tally":
        """Adds tallies, in their order."""
        total: dict[str, float] = {}
        for part in parts:
            for what, count in part.counts.items():
                total[what] = total.get(what, 0) + count
        return cls(total)

    @property
    def studies(self) -> int:
        """The number of studies."""
        return int(self.counts.get("studies", 0))

    def count(self, *what: str) -> int:
        """Returns how often any of several exclusive things happened."""
        return int(sum(self.counts.get(each, 0) for each in what))

    def rate(self, *what: str) -> Estimate:
        """Returns the share of studies, with its exact 95 % interval."""
        happened = self.count(*what)
        low, high = statistics.clopper_pearson(happened, self.studies, 0.05)
        return Estimate(happened / self.studies, low, high)

    def mean(self, what: str) -> float:
        """Returns the mean over studies of what was summed."""
        return float(self.counts[f"sum {what}"] / self.studies)


def chunk(
    setting: Setting, known: Truth, seed: int, index: int, count: int = CHUNK
) -> Tally:
    """Carries out one chunk of studies: a pure function of its arguments.

    Args:
        setting: What is simulated.
        known: Its `truth`.
        seed: Of the whole calibration.
        index: The chunk's number, from 0.
        count: How many of its `CHUNK` studies, the first ones.
    """
    stream = generator(seed, "calibration", setting.name, index)
    parts = []
    for number, (a, b, published) in enumerate(_studies(setting, known, stream, count)):
        (found,) = statistics.compare(
            a,
            [b],
            effort=setting.effort,
            margin=setting.margin,
            metric="accuracy",
            seed=seed_of(seed, "study", setting.name, index, number),
            alpha=setting.alpha,
            max_multiple=setting.max_multiple,
            estimand=setting.estimand,
            paired=setting.paired,
            permutations=setting.permutations,
            resamples=setting.resamples,
            published=published,
            options=_options(setting),
        )
        counted = _counted(setting, known, found)
        counted["curves covered"] = all(
            _inside(setting, arm, true)
            for arm, true in zip((a, b), known.curves, strict=True)
        )
        parts.append(Tally(counted))
    return Tally.of(parts)


def _options(setting: Setting) -> dict[str, tuple[str, ...]]:
    """Returns what the options of each choice are called."""
    arms = (setting.baseline, setting.challenger)
    return {
        f"h{column}": tuple(f"option {i}" for i in range(count))
        for arm in arms
        for column, count in enumerate(arm.choices)
        if count
    }


def _inside(setting: Setting, arm: Search, true: tuple[float, ...]) -> bool:
    """Says whether the band of an arm's tuning curve holds the true curve."""
    # A band needs bounds of the scores; six deviations of all noise will do.
    landscape = setting.baseline if arm.name == "baseline" else setting.challenger
    reach = 6 * (landscape.seed_spread + setting.validation_noise)
    curve = statistics.tuning_curve(
        arm.validation,
        arm.validation,
        worst=arm.worst - reach,
        best=max(true[-1], float(arm.validation.max())) + reach,
        alpha=setting.alpha,
        stratified=arm.stratified,
    )
    values = np.array(true)
    return bool(np.all((curve.low <= values) & (values <= curve.high)))


def _counted(setting: Setting, known: Truth, found: Comparison) -> dict[str, float]:
    """Returns what one comparison adds to the tally."""
    effect, other = found.effect, found.other_reading
    assert effect is not None
    assert found.p_value is not None
    assert found.tuning_to_match is not None
    true = known.gain[setting.estimand]
    match, needed = found.tuning_to_match["trials"], known.match[setting.estimand]
    beyond = match["high"] is not None and match["high"] < needed
    alone = decide(
        effect,
        found.p_value,
        alpha=setting.alpha,
        margin=setting.margin,
        catch_up=found.catch_up,
    )
    # A claim, were the margin as small as can be.
    side = found.p_value <= setting.alpha and _side(effect.low, effect.high)
    added: dict[str, float] = {
        "studies": 1,
        f"verdict {found.verdict}": 1,
        f"alone {alone}": 1,
        f"catch up {found.catch_up}": 1,
        "rejected": found.p_value <= setting.alpha,
        "better": side == 1,
        "worse": side == -1,
        "covered": effect.low <= true <= effect.high,
        "truth below": true < effect.low,
        "match covered": match["low"] <= needed and not beyond,
        "match too many": match["low"] > needed,
        "match too few": beyond,
        "sum estimate": effect.estimate,
        "sum square": effect.estimate**2,
        "sum width": effect.high - effect.low,
        "sum detectable": found.minimum_detectable_effect or 0.0,
    }
    if other is not None:
        low, high = other["effect"]["low"], other["effect"]["high"]
        agrees = side if other["p_value"] <= setting.alpha else 0
        added |= {
            "other covered": low <= known.gain[other["estimand"]] <= high,
            "both better": agrees == 1 and low > 0,
            "both worse": agrees == -1 and high < 0,
        }
    return added


def _side(low: float, high: float) -> int:
    return int(low > 0) - int(high < 0)


def simulate(setting: Setting, studies: int, *, seed: int, workers: int = 1) -> Tally:
    """Carries out studies of one setting.

    The same arguments give the same tally, whatever the number of workers.

    Args:
        setting: What is simulated.
        studies: How many, at least 1.
        seed: Of the calibration.
        workers: Processes; 1 is this one.
    """
    return simulate_all([setting], studies, seed, workers)[0]


def simulate_all(
    settings: Sequence[Setting], studies: int, seed: int, workers: int
) -> list[Tally]:
    """Does what `simulate` does for several settings, in one pool of workers."""
    sizes = [min(CHUNK, studies - start) for start in range(0, studies, CHUNK)]
    tasks = [
        (setting, known, seed, index, size)
        for setting, known in ((each, truth(each)) for each in settings)
        for index, size in enumerate(sizes)
    ]
    if workers == 1:
        parts = [chunk(*task) for task in tasks]
    else:
        with concurrent.futures.ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            parts = list(pool.map(chunk, *zip(*tasks, strict=True)))
    each = len(sizes)
    return [Tally.of(parts[i * each : (i + 1) * each]) for i in range(len(settings))]

"""Simulated studies: their searches are made, judged as a user's are, and counted."""

import concurrent.futures
import dataclasses
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import scipy  # its statistics and optimisers load when they are first used
from scipy import special

from archtrial import statistics
from archtrial.calibration.landscapes import (
    ARMS_OWN,
    DIFFICULTY,
    PUBLISHED_TRIALS,
    Landscape,
    Setting,
    Truth,
    landscape,
    truth,
    validated,
)
from archtrial.randomness import generator
from archtrial.randomness import seed as seed_of
from archtrial.statistics import Comparison, Estimate, Search, decide

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
        validations.append(validated(setting, arm, run[..., 0], noise, diverged))
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

    shared = math.sqrt(DIFFICULTY) * normal(setting.test_size)
    found: list[np.ndarray | None] = []
    for score in scores:
        own = shared + math.sqrt(ARMS_OWN) * normal(setting.test_size)
        least = special.ndtri(np.clip(score, 1e-6, 1 - 1e-6)).astype(np.float32)
        rest = normal(*score.shape, setting.test_size)
        rest *= math.sqrt(1 - DIFFICULTY - ARMS_OWN)
        rest += own
        found.append((rest < least[..., None]).astype(np.float32))
    return found


def _published(
    arm: Landscape, stream: np.random.Generator, *, tuned: bool
) -> np.ndarray:
    """Returns (S,) what somebody published of an arm."""
    shape = (CHUNK, PUBLISHED_TRIALS)
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

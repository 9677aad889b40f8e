"""Studies that are looked at early: how many false claims in all, what is saved?

A study of 64 configurations of each arm (k = 4) is judged at 16, 32 and 64, each time
at the look's own level, and ends with the first claim. The looks are nested prefixes
of one search, and a configuration that was confirmed at one look keeps its seeds.
Futility stops nothing here, since a study may always go on: false claims are counted
at their most.

    python evidence/looks.py
"""

import argparse
import dataclasses
import functools
import json
import time

import numpy as np
from journal import RESULTS, SEED, Journal, digest
from scipy import special
from scipy.stats import qmc
from simulations import NULL, SAMPLING, described, journal

from archtrial.calibration import CHUNK, Landscape, Setting, Tally, Truth, truth
from archtrial.files import write
from archtrial.randomness import generator, seed
from archtrial.statistics import Search, compare, confirm_indices
from archtrial.statistics.expectation import expectation
from archtrial.statistics.gain import gain
from archtrial.statistics.looks import Look, declare_looks

LOOKS = (16, 32, 64)
EFFORT, ALPHA, SEEDS = 4, 0.05, 3
STUDIES = 1_000
CLAIMS = ("architecture", "tuning", "baseline", "equivalent")

_APART = {
    "baseline": Landscape(optimum=(0.35, 0.6)),
    "challenger": Landscape(optimum=(0.45, 0.6)),
}


def settings() -> list[Setting]:
    """Returns what is simulated; without a gain, and with one of 2 and of 3 points."""
    size = {"configurations": LOOKS[-1], "effort": EFFORT}
    null = (
        "an arm against itself",
        "broad against narrow optimum",
        "0 against 50 % of draws diverge",
        "0 against 30 % of seeds fail",
        "unpaired",
    )
    planted = {
        f"gain {effect:g}": {**_APART, "margin": 0.01, "effect": effect}
        for effect in (0.02, 0.03)
    }
    return [
        Setting(name, **{**setting, **size}, sampling=sampling)  # type: ignore[arg-type]
        for sampling in SAMPLING
        for name, setting in ({name: NULL[name] for name in null} | planted).items()
    ]


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """One arm's study: everything that any look could need."""

    name: str
    validation: np.ndarray
    """(n,)."""
    scores: np.ndarray
    """(n, 1 + r) of the search run and of fresh seeds."""
    diverged: np.ndarray
    floor: float
    positions: np.ndarray | None
    """(n, D) of draws that fill the space evenly; else None."""

    def search(self, n: int, fully: set[int], once: set[int]) -> Search:
        """Returns what is known of the arm at a look."""
        test = np.full(n, np.nan)
        fresh = [np.empty(0)] * n
        for i in once | fully:
            fresh[i] = self.scores[i, 1:] if i in fully else self.scores[i, 1:2]
            test[i] = fresh[i].mean()
        even = self.positions is not None
        return Search(
            name=self.name,
            validation=self.validation[:n],
            test=test,
            test_run=self.scores[:n, 0],
            diverged=self.diverged[:n],
            cost=np.ones(n),
            worst=self.floor,
            fresh=fresh if even else (),
            stratified=even,
            positions={}
            if self.positions is None
            else {f"h{j}": each[:n] for j, each in enumerate(self.positions.T)},
        )


def _drawn(
    setting: Setting, known: Truth, stream: np.random.Generator
) -> tuple[_Drawn, _Drawn]:
    n = setting.configurations
    challenger = dataclasses.replace(setting.challenger, peak=known.peak)
    even = setting.sampling == "sobol"

    def draw() -> np.ndarray:
        if not even:
            return stream.random((n, 2))
        sequence = qmc.Sobol(2, rng=stream.spawn(1)[0])
        return np.asarray(sequence.random(n))

    positions = draw()
    arms = []
    for name, arm in (("a", setting.baseline), ("b", challenger)):
        quality, diverged = arm.quality(positions)
        shape = (n, 1 + SEEDS)
        scores = arm.runs(
            quality[:, None], stream.standard_normal(shape), stream.random(shape)
        )
        scores[diverged] = arm.floor
        noise = setting.validation_noise * stream.standard_normal(n)
        validation = np.where(diverged, arm.floor, scores[:, 0] + noise)
        places = positions if even else None
        arms.append(_Drawn(name, validation, scores, diverged, arm.floor, places))
        if not setting.paired:
            positions = draw()
    return arms[0], arms[1]


def _may_claim(a: Search, b: Search, setting: Setting, look: Look) -> bool:
    """Says whether the jackknife-t interval alone allows a claim.

    The interval of a verdict contains it, so where it allows none, the hundred
    thousand permutations of an early look need not be drawn.
    """
    assert look.level is not None
    nothing = np.ones((2, a.n), dtype=np.int64)
    ends = [
        expectation(arm.reading("configuration"), [EFFORT], nothing) for arm in (b, a)
    ]
    found = gain(ends[0], ends[1], alpha=ALPHA, paired=setting.paired)
    size, error = abs(float(found.estimate[0])), float(found.standard_error[0])
    reach = error * special.stdtrit(2 * a.n / EFFORT - 1, 1 - look.level / 2)
    return bool(size > reach or size + reach < setting.margin)


def count(setting: Setting, known: Truth, number: int) -> Tally:
    """Carries out one chunk of studies."""
    stream = generator(SEED, "looks", setting.name, number)
    even = setting.sampling == "sobol"
    looks = declare_looks(LOOKS, configurations=LOOKS[-1], effort=EFFORT, alpha=ALPHA)
    parts = []
    for study in range(CHUNK):
        a, b = _drawn(setting, known, stream)
        confirmed: list[tuple[set[int], set[int]]] = [(set(), set()), (set(), set())]
        counts: dict[str, float] = {"studies": 1}
        for look in looks:
            n = look.configurations
            seen = [arm.validation[:n] for arm in (a, b)]
            for i in (0, 1):
                ranked = seen if setting.paired else [seen[i]]
                fully, once = confirm_indices(ranked, EFFORT, stratified=even)
                confirmed[i][0].update(fully.tolist())
                confirmed[i][1].update(once.tolist())
            counts["sum n"] = n
            one, two = (
                arm.search(n, *known_seeds)
                for arm, known_seeds in zip((a, b), confirmed, strict=True)
            )
            if look.level is None:
                continue
            if not even and not _may_claim(one, two, setting, look):
                continue
            assert look.permutations is not None
            (found,) = compare(
                one,
                [two],
                effort=EFFORT,
                margin=setting.margin,
                metric="accuracy",
                seed=seed(SEED, "look", setting.name, number, study),
                alpha=look.level,
                paired=setting.paired,
                permutations=max(look.permutations, 999),
            )
            if found.verdict in CLAIMS:
                counts |= {f"verdict {found.verdict}": 1, f"claimed at {n}": 1}
                break
        parts.append(Tally(counts))
    return Tally.of(parts)


def main() -> None:
    """Fills all cells and writes their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    options = parser.parse_args()
    start = time.perf_counter()
    rows = []
    for setting in settings():
        known = truth(setting)
        definition = digest([described(setting), LOOKS, ALPHA])
        found_in = Journal(journal("looks", setting.sampling))
        found_in.fill(
            setting.name,
            definition,
            options.studies,
            functools.partial(count, setting, known),
            {"gain": setting.effect},
        )
        found = found_in.found(setting.name, definition)
        assert found is not None
        tally = found.tally
        false = tally.rate(*(f"verdict {v}" for v in CLAIMS if v != "equivalent"))
        rows.append(
            {
                "setting": setting.name,
                "sampling": setting.sampling,
                "gain": setting.effect,
                "studies": tally.studies,
                "false": [false.estimate, false.low, false.high],
                "claimed": [tally.rate(f"claimed at {n}").estimate for n in LOOKS],
                "equivalent": tally.rate("verdict equivalent").estimate,
                "stopped": tally.rate(
                    *(f"claimed at {n}" for n in LOOKS[:-1])
                ).estimate,
                "mean_n": tally.mean("n"),
                "seconds": found.seconds,
            }
        )
        write(RESULTS / "looks.json", json.dumps(rows, indent=1) + "\n")
    for sampling in SAMPLING:
        Journal(journal("looks", sampling)).compact()
    print(f"looks: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

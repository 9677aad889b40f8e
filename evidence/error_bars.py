"""How the error of the gain falls with n where draws fill the space evenly.

What `archtrial.statistics.planning` assumes of it was read off here: the two parts of the
variance, what an even design leaves of the arms' difference, whether `would_settle`
keeps its word, and what more fresh seeds buy an arm against itself.

    python evidence/error_bars.py                  everything, about 20 minutes
    python evidence/error_bars.py --only parts     one of parts, seeds, settled
"""

import argparse
import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from journal import RESULTS, SEED, Journal, digest
from simulations import MARGIN, NULL

from archtrial.calibration import CHUNK, Landscape, Setting, Truth, chunk, truth
from archtrial.calibration.simulation import _studies
from archtrial.files import write
from archtrial.randomness import generator, seed
from archtrial.statistics import Comparison, Search, compare
from archtrial.statistics.expectation import expectation
from archtrial.statistics.gain import gain
from archtrial.statistics.planning import seed_variance
from archtrial.statistics.search import aligned

_QUIET = {"seed_spread": 0.002}
SETTINGS: dict[str, Mapping[str, Any]] = {
    **{
        name: NULL[name]
        for name in (
            "an arm against itself",
            "4 hyperparameters",
            "seeds noisier off the optimum",
            "optima a tenth of the range apart",
            "optima half the range apart",
            "broad against narrow optimum",
            "1 against 4 hyperparameters",
            "plateau against peak",
            "0 against 50 % of draws diverge",
        )
    },
    "a tenth apart, seeds of .2 points": {
        "baseline": Landscape(optimum=(0.35, 0.6), **_QUIET),
        "challenger": Landscape(optimum=(0.45, 0.6), **_QUIET),
        "validation_noise": 0.002,
    },
    "half the range apart, seeds of .2 points": {
        "baseline": Landscape(optimum=(0.25, 0.6), **_QUIET),
        "challenger": Landscape(optimum=(0.75, 0.6), **_QUIET),
        "validation_noise": 0.002,
    },
    "4 hyperparameters, a tenth apart": {
        "baseline": Landscape(optimum=(0.35, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
        "challenger": Landscape(optimum=(0.45, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
    },
}
# n, k and the number of studies.
SIZES = (
    (16, 4, 400),
    (32, 4, 200),
    (64, 4, 100),
    (128, 4, 50),
    (16, 2, 200),
    (32, 8, 200),
)
SEEDS = (3, 4, 5, 6, 8, 10, 12)
# Optima a tenth of the range apart, and what the challenger truly gains.
GAINS = (0.0, 0.01, 0.02)


def studies(
    setting: Setting, known: Truth, count: int
) -> Iterator[tuple[Search, Search]]:
    """Draws studies of a setting."""
    for number in range(math.ceil(count / CHUNK)):
        stream = generator(SEED, "error bars", setting.name, number)
        for a, b, _ in _studies(
            setting, known, stream, min(CHUNK, count - CHUNK * number)
        ):
            yield a, b


def difference(setting: Setting, known: Truth) -> float:
    """Returns the standard deviation of the arms' difference over the space."""
    arms = setting.baseline, dataclasses.replace(setting.challenger, peak=known.peak)
    places = generator(SEED, "places").random((20_000, 4))
    scores = []
    for arm in arms:
        quality, diverged = arm.quality(places)
        scores.append(np.where(diverged, arm.floor, quality))
    return float(np.std(scores[1] - scores[0]))


def parts() -> list[dict[str, Any]]:
    """The error and its two parts, in points, by setting and size."""
    found = []
    for (name, arms), (n, k, count) in (
        (setting, size) for setting in SETTINGS.items() for size in SIZES
    ):
        setting = Setting(name, configurations=n, effort=k, sampling="sobol", **arms)
        known = truth(setting)
        none = np.ones((0, n), dtype=np.uint8)
        estimates, variances, seeds = [], [], []
        for pair in studies(setting, known, count):
            a, b = aligned(pair, {})
            of_a, of_b = (
                expectation(arm.reading("configuration"), [k], none) for arm in (a, b)
            )
            gained = gain(of_b, of_a, alpha=0.05, paired=True)
            estimates.append(gained.estimate[0])
            variances.append(gained.standard_error[0] ** 2)
            seeds.append(
                sum(seed_variance(arm, k, "configuration") or 0.0 for arm in (a, b))
            )
        row = {
            "setting": name,
            "n": n,
            "k": k,
            "studies": count,
            "deviation": 100 * float(np.std(estimates)),
            "standard_error": 100 * math.sqrt(np.mean(variances)),
            "seeds": 100 * math.sqrt(np.mean(seeds)),
            "design": 100 * math.sqrt(max(np.mean(variances) - np.mean(seeds), 0)),
            "difference": 100 * difference(setting, known),
        }
        print(
            f"{name}, n = {n}, k = {k}: deviation {row['deviation']:.2f}, error"
            f" {row['standard_error']:.2f}, of seeds {row['seeds']:.2f}, of the design"
            f" {row['design']:.2f}, of the difference's {row['difference']:.1f}",
            flush=True,
        )
        found.append(row)
    return found


def seeds() -> list[dict[str, Any]]:
    """How often an arm against itself is equivalent, n = 16, by fresh seeds."""
    journal, found = Journal("error_bars"), []
    for r in SEEDS:
        name = f"an arm against itself, r = {r}"
        setting = Setting(name, sampling="sobol", margin=MARGIN, confirm_seeds=r)
        known, definition = truth(setting), digest(dataclasses.asdict(setting))
        journal.fill(
            name,
            definition,
            1000,
            functools.partial(_chunk, setting, known),
            {"gain": known.gain[setting.estimand]},
        )
        kept = journal.found(name, definition)
        assert kept is not None
        row = {
            "confirm_seeds": r,
            "studies": kept.tally.studies,
            "equivalent": kept.tally.rate("verdict equivalent").estimate,
            "better": kept.tally.rate("better").estimate,
            "worse": kept.tally.rate("worse").estimate,
            "covered": kept.tally.rate("covered").estimate,
        }
        print(row, flush=True)
        found.append(row)
    return found


def _chunk(setting: Setting, known: Truth, number: int) -> Any:
    return chunk(setting, known, SEED, number)


def judged(setting: Setting, a: Search, b: Search, *names: object) -> Comparison:
    """Compares one study's arms."""
    (found,) = compare(
        a,
        [b],
        effort=setting.effort,
        margin=setting.margin,
        metric="accuracy",
        seed=seed(SEED, "error bars", setting.name, *names),
    )
    return found


def settled() -> list[dict[str, Any]]:
    """Whether a study of the size that `would_settle` names settles the question.

    Of each inconclusive study of 16, a fresh one of that size whose true gain is the
    estimate of the first, up to n = 128.
    """
    arms, rows = NULL["optima a tenth of the range apart"], []
    for planted in GAINS:
        setting = Setting(
            f"settled, {planted:g}",
            sampling="sobol",
            margin=MARGIN,
            effect=planted,
            **arms,
        )
        known = truth(setting)
        outcomes: dict[int, list[bool]] = {}
        larger = 0
        for number, (a, b) in enumerate(studies(setting, known, 300)):
            first = judged(setting, a, b, number)
            if first.verdict != "inconclusive" or first.would_settle is None:
                continue
            n = first.would_settle.configurations
            if n is None or n > 128:
                larger += 1
                continue
            assert first.effect is not None
            # Beside the floor, what raises the peak raises the gain as much.
            moved = first.effect.estimate - planted
            again = dataclasses.replace(
                setting, name=f"{setting.name}, {number}", configurations=n
            )
            (pair,) = studies(
                again, dataclasses.replace(known, peak=known.peak + moved), 1
            )
            verdict = judged(again, *pair, number, "again").verdict
            outcomes.setdefault(n, []).append(verdict != "inconclusive")
        for n, each in sorted(outcomes.items()):
            rows.append(
                {
                    "gain": planted,
                    "would_settle": n,
                    "studies": len(each),
                    "settled": float(np.mean(each)),
                }
            )
            print(rows[-1], flush=True)
        print(f"gain {planted:g}: {larger} take more than 128", flush=True)
    return rows


PARTS = {"parts": parts, "seeds": seeds, "settled": settled}


def main() -> None:
    """Fills what is asked for, and keeps the rest as it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    path = RESULTS / "error_bars.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for name, part in PARTS.items():
        if options.only in (None, name):
            found[name] = part()
            write(path, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

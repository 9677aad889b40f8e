"""The ceiling that a model gives: how often does its interval hold the true optimum?

Searches of one arm on surfaces of 1 to 4 hyperparameters, on a plateau, and where
draws diverge; the truth is the expected score at the optimum.

    python evidence/ceilings.py
"""

import argparse
import functools
import itertools
import json
import math
import time

import numpy as np
from journal import RESULTS, SEED, Journal, digest

from archtrial.calibration import Landscape, Tally
from archtrial.files import write
from archtrial.randomness import generator
from archtrial.statistics import Search
from archtrial.statistics.ceiling import ceiling

# A ceiling takes two seconds.
STUDIES, CHUNK = 100, 20
SIZES = (64,)
SURFACES = {
    "1 hyperparameter": Landscape(optimum=(0.4,), fall=(1.0,)),
    "2 hyperparameters": Landscape(),
    "3 hyperparameters": Landscape(optimum=(0.4, 0.6, 0.5), fall=(1.0,) * 3),
    "4 hyperparameters": Landscape(optimum=(0.4, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
    "2, on a plateau": Landscape(plateau=0.2),
    "2, 20 % of draws diverge": Landscape(diverging=0.2),
    "2, seeds noisier off the optimum": Landscape(unevenness=9.0),
}


def count(surface: Landscape, n: int, number: int) -> Tally:
    """Estimates the ceilings of one chunk of searches."""
    stream = generator(SEED, "ceilings", json.dumps([str(surface), n]), number)
    parts = []
    for _ in range(CHUNK):
        quality, diverged = surface.quality(stream.random((n, len(surface.optimum))))
        run = surface.runs(quality, stream.standard_normal(n), stream.random(n))
        run = np.where(diverged, surface.floor, run)
        found = ceiling(
            Search("arm", run, run, run, diverged, np.ones(n), surface.floor), best=1.0
        )
        assert found.score is not None
        assert found.back_test is not None
        low, high = found.score.low, found.score.high
        holds, trusted = low <= surface.peak <= high, found.back_test.passed
        parts.append(
            Tally(
                {
                    "studies": 1,
                    "covered": holds,
                    "too high": low > surface.peak,
                    "back-test passed": trusted,
                    "passed and covered": trusted and holds,
                    "open": not math.isfinite(high) or high >= 1.0,
                    "sum estimate": found.score.estimate,
                    "sum square": found.score.estimate**2,
                }
            )
        )
    return Tally.of(parts)


def main() -> None:
    """Fills all cells and writes their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    options = parser.parse_args()
    start = time.perf_counter()
    journal = Journal("ceilings")
    rows = []
    for n, (name, surface) in itertools.product(SIZES, SURFACES.items()):
        cell, definition = f"{name}, n = {n}", digest([str(surface), n])
        journal.fill(
            cell,
            definition,
            options.studies,
            functools.partial(count, surface, n),
            {},
            size=CHUNK,
        )
        found = journal.found(cell, definition)
        assert found is not None
        tally = found.tally
        mean = tally.mean("estimate")
        held = tally.rate("covered")
        rows.append(
            {
                "setting": cell,
                "studies": tally.studies,
                "covered": [held.estimate, held.low, held.high],
                "too_high": tally.rate("too high").estimate,
                "passed": tally.rate("back-test passed").estimate,
                "open": tally.rate("open").estimate,
                "bias": mean - surface.peak,
                "spread": math.sqrt(max(tally.mean("square") - mean**2, 0.0)),
                "seconds": found.seconds,
            }
        )
        write(RESULTS / "ceilings.json", json.dumps(rows, indent=1) + "\n")
    journal.compact()
    print(f"ceilings: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

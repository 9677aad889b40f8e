"""Many paired differences at once: do their intervals hold together, what is claimed?

Simulated studies of S seeds by m columns whose means are known, each handed to
`archtrial.statistics.simultaneous.simultaneous` itself. Beside it stands plain
Student's t at Sidak's level, which differs in one thing: it has no floor under the
deviations. For the committed file, and for as many studies as the table in the
module's comment has (a part of the cells is a file of its own):

    python evidence/simultaneous.py
    python evidence/simultaneous.py --repetitions 10000
    python evidence/simultaneous.py --seeds 6 10 --columns 8 --output part.json
"""

import os

# Before numpy is imported, which reads it once: a study is too small for threads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from journal import RESULTS, SEED
from scipy import special

from archtrial.files import write
from archtrial.randomness import generator, seed
from archtrial.statistics import clopper_pearson
from archtrial.statistics.simultaneous import simultaneous

ALPHA = 0.05
REPETITIONS = 350
SEEDS, COLUMNS = (6, 10, 20), (1, 8, 20)
CORRELATIONS = (0.0, 0.5, 0.95)
KINDS = ("normal", "skewed", "heavy", "fail both", "fail one")
# A seed fails with this chance, and falls by so many deviations.
FAILING, FALL = 0.2, 10.0
COUNTED = ("covered", "false_claim", "t_covered", "t_false_claim")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One setting of the simulation."""

    kind: str
    seeds: int
    columns: int
    correlation: float
    """Of the columns, from a factor that they share."""
    spread: int
    """The largest standard deviation over the smallest; evenly in log between."""
    effect: float = 0.0
    """The mean of one column, `self.shifted`; all others have 0."""

    @property
    def shifted(self) -> int:
        """The column that alone may have a mean other than 0."""
        return self.columns // 2

    @property
    def means(self) -> np.ndarray:
        """(m,) what the columns' means truly are."""
        means = np.zeros(self.columns)
        means[self.shifted] = self.effect
        return means

    def study(self, stream: np.random.Generator) -> np.ndarray:
        """Returns (S, m) differences, one row a seed."""

        def correlated(
            draw: Callable[..., np.ndarray], *parameters: float
        ) -> np.ndarray:
            shared = draw(*parameters, size=(self.seeds, 1))
            own = draw(*parameters, size=(self.seeds, self.columns))
            weights = math.sqrt(self.correlation), math.sqrt(1 - self.correlation)
            mixed: np.ndarray = weights[0] * shared + weights[1] * own
            return mixed

        def failed() -> np.ndarray:
            threshold = float(special.ndtri(FAILING))
            return correlated(stream.standard_normal) < threshold

        match self.kind:
            case "normal":
                noise = correlated(stream.standard_normal)
            case "skewed":
                # Of an exponential the mean is 1, mixed as the draws are.
                mean = math.sqrt(self.correlation) + math.sqrt(1 - self.correlation)
                noise = correlated(stream.standard_exponential) - mean
            case "heavy":
                noise = correlated(stream.standard_t, 3)
            case "fail both":
                fallen = 1.0 * failed() - failed()
                noise = correlated(stream.standard_normal) - FALL * fallen
            case "fail one":
                fallen = failed() - FAILING
                noise = correlated(stream.standard_normal) - FALL * fallen
        return self.means + noise * np.geomspace(1, self.spread, self.columns)


def cells(seeds: list[int], columns: list[int]) -> list[Cell]:
    """Returns what is simulated, the cells of the power last."""
    null = [
        Cell(kind, s, m, correlation, spread)
        for m, kind, spread, s, correlation in itertools.product(
            columns, KINDS, (1, 10), seeds, CORRELATIONS
        )
        # One column is correlated with nothing, and as wide as itself.
        if m > 1 or (spread, correlation) == (1, 0.0)
    ]
    power = [
        Cell("normal", s, m, 0.5, 1, 1.5) for m in columns if m == 8 for s in seeds
    ]
    return null + power


def count(cell: Cell, repetitions: int) -> dict[str, int]:
    """Carries out a cell's studies; fewer of them are the first of more."""
    names = [str(value) for value in dataclasses.astuple(cell)]
    stream = generator(SEED, "simultaneous", *names)
    student = special.stdtrit(
        cell.seeds - 1, (1 + (1 - ALPHA) ** (1 / cell.columns)) / 2
    )
    means = cell.means
    totals = dict.fromkeys((*COUNTED, "found", "t_found"), 0)
    for number in range(repetitions):
        drawn = cell.study(stream)
        result = simultaneous(
            drawn, alpha=ALPHA, seed=seed(SEED, "flips of a study", *names, number)
        )
        middle = drawn.mean(axis=0)
        half = student * drawn.std(axis=0, ddof=1) / math.sqrt(cell.seeds)
        t_claims = (result.p_value_adjusted <= ALPHA) & (np.abs(middle) > half)
        for prefix, low, high, direction in (
            ("", result.low, result.high, result.direction),
            ("t_", middle - half, middle + half, t_claims * np.sign(middle)),
        ):
            inside = (low <= means) & (means <= high)
            wrong = (direction != 0) & (direction != np.sign(means))
            totals[f"{prefix}covered"] += bool(inside.all())
            totals[f"{prefix}false_claim"] += bool(wrong.any())
            totals[f"{prefix}found"] += bool(direction[cell.shifted] == 1)
    return totals


def rate(happened: int, repetitions: int) -> dict[str, float]:
    """Returns a share with its Monte-Carlo error and its exact 95 % interval."""
    share = happened / repetitions
    low, high = clopper_pearson(happened, repetitions, 0.05)
    found = {
        "estimate": share,
        "error": math.sqrt(share * (1 - share) / repetitions),
        "low": low,
        "high": high,
    }
    return {name: round(value, 5) for name, value in found.items()}


def save(
    path: Path, repetitions: int, seconds: float, rows: list[dict[str, Any]]
) -> None:
    """Writes what is counted so far, a cell a line."""
    about = {
        "repetitions": repetitions,
        "alpha": ALPHA,
        "seed": SEED,
        "threads": 1,
        "processor_seconds": round(seconds),
        "python": platform.python_version(),
        **{
            package: importlib.metadata.version(package)
            for package in ("archtrial", "numpy", "scipy")
        },
    }
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    head = json.dumps(about, indent=1).removesuffix("\n}")
    write(path, f'{head},\n "cells": [\n{lines}\n ]\n}}\n')


def main() -> None:
    """Counts every cell, prints the table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--columns", type=int, nargs="+", default=list(COLUMNS))
    parser.add_argument("--output", type=Path, default=RESULTS / "simultaneous.json")
    options = parser.parse_args()
    start = time.process_time()
    rows = []
    print(
        f"{options.repetitions} studies a cell; in per cent, with Monte-Carlo errors\n"
        f"{'kind':10} {'S':>2} {'m':>2}  rho  spread effect "
        + " ".join(f"{name:>14}" for name in (*COUNTED, "found", "t_found"))
    )
    for cell in cells(options.seeds, options.columns):
        totals = count(cell, options.repetitions)
        # Where nothing is, nothing can be found.
        counted = [*totals] if cell.effect else COUNTED
        rates = {name: rate(totals[name], options.repetitions) for name in counted}
        rows.append({**dataclasses.asdict(cell), **rates})
        print(
            f"{cell.kind:10} {cell.seeds:2} {cell.columns:2} {cell.correlation:4.2f} "
            f"{cell.spread:7} {cell.effect:6.1f} "
            + " ".join(
                f"{100 * each['estimate']:7.1f} +-{100 * each['error']:4.1f}"
                for each in rates.values()
            ),
            flush=True,
        )
        seconds = time.process_time() - start
        save(options.output, options.repetitions, seconds, rows)
    print(f"simultaneous: {seconds:.0f} s of processor time")


if __name__ == "__main__":
    main()

"""How long the method takes, beside other packages' way to the nearest number.

    pip install rliable "arch<8" "pandas<3"     in an environment of its own
    python benchmarks/compare.py

On one thread, for two paired arms of several sizes:

- the interval of one arm's D(k), by a percentile bootstrap of its trials: archtrial,
  arch, rliable and scipy;
- p of the gain, by swapping pairs: archtrial (studentised), and scipy with the plain
  gain, which is less work, and with the studentised one;
- `compare` as a whole: gate, hull of two intervals, matching and the rest, in one
  reading and in both.

The others get the quickest statistic that their interface takes, in numpy, over
batches where they take batches. Times are those of the processor, since the machine
may have other work; all take turns within a repetition, and a ratio is the median
over repetitions of what was measured side by side. A package that is not installed
is left out and said to be. Prints a table and writes benchmarks/compare.json.
"""

import os

# Before numpy is imported, which reads it once.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy

from archtrial.statistics import Search, compare
from archtrial.statistics.expectation import expectation, resample_counts
from archtrial.statistics.gain import gain
from archtrial.statistics.gate import gate
from archtrial.statistics.tuning import leave_one_out_table, rank_weights

MARGIN, ALPHA, SEED = 0.005, 0.05, 0


def make_arm(name: str, seed: int, n: int, advantage: float) -> Search:
    """Returns n trials on a surface of one hyperparameter that both arms share."""
    h = np.random.default_rng(0).random(n)
    rng = np.random.default_rng(seed)
    quality = 0.75 - 0.6 * (h - 0.6) ** 2 + advantage
    validation, test, test_run = quality + rng.normal(0, 0.01, (3, n))
    return Search(
        name=name,
        validation=validation,
        test=test,
        test_run=test_run,
        diverged=np.zeros(n, dtype=bool),
        cost=np.ones(n),
        worst=0.1,
    )


# --- the statistics, as other packages want them -------------------------------


def ranked(validation: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Returns test scores in ascending order of validation, along the last axis."""
    order = np.argsort(validation, axis=-1)
    return np.take_along_axis(test, order, axis=-1)


def best_of(k: int) -> Callable[..., np.ndarray]:
    """Returns D(k) as a function of validation and test scores (..., n)."""

    def expected(
        validation: np.ndarray, test: np.ndarray, axis: int = -1
    ) -> np.ndarray:
        weights = rank_weights(validation.shape[-1], [k])[:, 0]
        found: np.ndarray = ranked(validation, test) @ weights
        return found

    return expected


def swapped_gain(
    a: Search, b: Search, k: int, *, studentised: bool
) -> Callable[..., np.ndarray]:
    """Returns the gain as a function of which trials are B's and which are A's."""
    validation = np.concatenate([b.validation, a.validation])
    test = np.concatenate([b.test, a.test])
    n = len(a.test)
    weights = rank_weights(n, [k])[:, 0]
    steps = np.diff(leave_one_out_table(n, k))

    def gained(mine: np.ndarray, others: np.ndarray, axis: int = -1) -> np.ndarray:
        gains, influences = 0.0, 0.0
        for sign, trials in ((1, mine.astype(int)), (-1, others.astype(int))):
            order = np.argsort(validation[trials], axis=-1)
            scores = np.take_along_axis(test[trials], order, axis=-1)
            gains = gains + sign * (scores @ weights)
            if studentised:
                # What leaving out each trial changes, up to a constant.
                influence = np.zeros(scores.shape)
                np.cumsum(np.diff(scores) * steps[:-1], axis=-1, out=influence[..., 1:])
                back = np.argsort(order, axis=-1)
                influences = influences + sign * np.take_along_axis(
                    influence, back, axis=-1
                )
        if not studentised:
            return gains
        return gains / np.std(influences, axis=-1)

    return gained


# --- each package's way --------------------------------------------------------


def installed(package: str) -> bool:
    """Tells whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def interval_ways(a: Search, k: int, resamples: int) -> dict[str, Callable[[], object]]:
    """Returns who can give the interval of D(k), and how."""
    n, expected = a.n, best_of(k)
    reading = a.reading("configuration")
    trials = np.stack([a.validation, a.test], axis=-1)

    def archtrial() -> object:
        counts = resample_counts(SEED, n, n, paired=True, resamples=resamples)[0]
        return gain(expectation(reading, [k], counts), alpha=ALPHA).at(0)

    def of_scipy() -> object:
        return scipy.stats.bootstrap(
            (a.validation, a.test),
            expected,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=max(2**17 // n, 1),
            method="percentile",
            rng=np.random.default_rng(SEED),
        )

    ways: dict[str, Callable[[], object]] = {"archtrial": archtrial, "scipy": of_scipy}
    if installed("arch"):
        from arch.bootstrap import IIDBootstrap

        def of_arch() -> object:
            return IIDBootstrap(trials, seed=SEED).conf_int(
                lambda x: expected(x[:, 0], x[:, 1]), resamples, method="percentile"
            )

        ways["arch"] = of_arch
    if installed("rliable") and installed("arch"):
        from rliable import library

        def of_rliable() -> object:
            # Runs by tasks, of which there is one.
            return library.get_interval_estimates(
                {"a": trials[:, None, :]},
                lambda x: np.array([expected(x[:, 0, 0], x[:, 0, 1])]),
                reps=resamples,
                random_state=np.random.RandomState(SEED),
            )

        ways["rliable"] = of_rliable
    return ways


def permutation_ways(
    a: Search, b: Search, k: int, permutations: int
) -> dict[str, Callable[[], object]]:
    """Returns who can give p, and how."""
    readings = [arm.reading("configuration") for arm in (b, a)]

    def archtrial() -> object:
        return gate(*readings, k, paired=True, permutations=permutations, seed=SEED)

    def of_scipy(studentised: bool) -> object:
        return scipy.stats.permutation_test(
            (np.arange(a.n), a.n + np.arange(a.n)),
            swapped_gain(a, b, k, studentised=studentised),
            permutation_type="samples",
            vectorized=True,
            n_resamples=permutations,
            batch=max(2**17 // a.n, 1),
            rng=np.random.default_rng(SEED),
        )

    return {
        "archtrial": archtrial,
        "scipy, plain gain": lambda: of_scipy(False),
        "scipy, studentised": lambda: of_scipy(True),
    }


def whole_ways(
    a: Search, b: Search, k: int, permutations: int, resamples: int
) -> dict[str, Callable[[], object]]:
    """Returns `compare` with one reading and with both."""

    def compared(*arms: Search) -> object:
        return compare(
            arms[0],
            arms[1:],
            effort=k,
            margin=MARGIN,
            metric="accuracy",
            seed=SEED,
            permutations=permutations,
            resamples=resamples,
        )

    bare = [
        Search(arm.name, arm.validation, arm.test, None, arm.diverged, arm.cost, 0.1)
        for arm in (a, b)
    ]
    return {
        "both readings": lambda: compared(a, b),
        "one reading": lambda: compared(*bare),
    }


# --- measuring -----------------------------------------------------------------


def taking_turns(
    ways: dict[str, Callable[[], object]], repetitions: int
) -> dict[str, list[float]]:
    """Returns seconds of the processor for each way and repetition."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return taken


def summary(taken: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Returns medians, and how many times as long as the first each way takes."""
    first = next(iter(taken.values()))
    return {
        name: {
            "seconds": statistics.median(seconds),
            "times_the_first": statistics.median(
                s / f for s, f in zip(seconds, first, strict=True)
            ),
        }
        for name, seconds in taken.items()
    }


def machine() -> dict[str, object]:
    """Returns what the figures were taken on."""
    lines = Path("/proc/cpuinfo")
    models = (
        [v for v in lines.read_text().splitlines() if v.startswith("model name")]
        if lines.exists()
        else []
    )
    return {
        "processor": models[0].split(": ")[1] if models else platform.processor(),
        "cores": len(models) or None,
        "threads": 1,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        **{
            package: importlib.metadata.version(package)
            if installed(package)
            else "not installed"
            for package in ("numpy", "scipy", "pandas", "arch", "rliable")
        },
    }


def main() -> None:
    """Measures, prints and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 32, 64, 1024])
    parser.add_argument("--permutations", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--output", default=Path(__file__).with_suffix(".json"), type=Path
    )
    options = parser.parse_args()
    report: dict[str, object] = {
        **machine(),
        "permutations": options.permutations,
        "resamples": options.resamples,
        "repetitions": options.repetitions,
    }
    print(", ".join(f"{key} {value}" for key, value in report.items()))
    results = []
    for n in options.sizes:
        k = min(n // 4, 16)
        a, b = make_arm("a", 1, n, 0.0), make_arm("b", 2, n, 0.01)
        for what, ways in (
            ("interval of D(k)", interval_ways(a, k, options.resamples)),
            ("p of the gain", permutation_ways(a, b, k, options.permutations)),
            (
                "compare",
                whole_ways(a, b, k, options.permutations, options.resamples),
            ),
        ):
            found = summary(taking_turns(ways, options.repetitions))
            results.append({"n": n, "effort": k, "what": what, "ways": found})
            print(
                f"n = {n:5} k = {k:3} {what:17}",
                *(
                    f"| {name} {1e3 * f['seconds']:,.1f} ms ({f['times_the_first']:.3g})"
                    for name, f in found.items()
                ),
                flush=True,
            )
    options.output.write_text(
        json.dumps(report | {"results": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()

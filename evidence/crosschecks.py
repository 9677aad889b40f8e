"""The method's formulas against other people's code, and against full enumeration.

Every row is the largest difference over many random inputs, tied and untied.

    python evidence/crosschecks.py
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from journal import RESULTS, SEED
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

from archtrial.files import write
from archtrial.randomness import generator
from archtrial.statistics import clopper_pearson, holm, tuning_curve
from archtrial.statistics.expectation import expectation
from archtrial.statistics.gate import gate
from archtrial.statistics.search import Reading
from archtrial.statistics.tuning import Ranking


def _readings(
    stream: np.random.Generator, n: int, times: int
) -> Iterator[tuple[Reading, Reading]]:
    """Yields pairs of arms, every other one with ties."""
    for i in range(times):
        arms = []
        for _ in range(2):
            validation = stream.normal(0.7, 0.1, n)
            score = validation + stream.normal(0, 0.05, n)
            if i % 2:
                validation = np.round(validation, 1)
            nothing = np.zeros(n, dtype=bool)
            arms.append(Reading(validation, score, None, nothing, 0.0))
        yield arms[0], arms[1]


def _by_definition(validation: np.ndarray, score: np.ndarray, k: int) -> float:
    """D(k): over all k-subsets, ties settled at random."""
    ends = []
    for subset in itertools.combinations(range(len(validation)), k):
        chosen = list(subset)
        best = validation[chosen] == validation[chosen].max()
        ends.append(score[chosen][best].mean())
    return float(np.mean(ends))


def curve_against_subsets(stream: np.random.Generator) -> float:
    """D(k) against all k-subsets, n = 9."""
    return max(
        abs(
            Ranking(a.validation).expected(a.score, [k])[0]
            - _by_definition(a.validation, a.score, k)
        )
        for a, _ in _readings(stream, 9, 20)
        for k in range(1, 10)
    )


def curve_against_opda(stream: np.random.Generator) -> float:
    """The tuning curve against opda's `u_tuning_curve`, n = 16 to 128."""
    worst = 0.0
    for n in (16, 64, 128):
        scores = stream.random(n)
        curve = tuning_curve(scores, scores, worst=0.0, best=1.0)
        theirs = EmpiricalDistribution(scores).u_tuning_curve(curve.effort)
        worst = max(worst, float(np.max(np.abs(curve.validation - theirs))))
    return worst


def bands_against_opda(stream: np.random.Generator) -> float:
    """The simultaneous band against opda's (simulated) one, n = 16, 32, 64."""
    worst = 0.0
    for n in (16, 32, 64):
        scores = stream.random(n)
        curve = tuning_curve(scores, scores, worst=0.0, best=1.0)
        lower, _, upper = EmpiricalDistribution.confidence_bands(
            scores,
            0.975,
            a=0.0,
            b=1.0,
            generator=stream,
            method="ld_equal_tailed",
            n_jobs=1,
        )
        for ours, theirs in ((curve.high, lower), (curve.low, upper)):
            apart = np.abs(ours - theirs.average_tuning_curve(curve.effort))
            worst = max(worst, float(np.max(apart)))
    return worst


def leave_one_out_against_brute_force(stream: np.random.Generator) -> float:
    """D(k) without each trial, two running sums against n estimates, n = 16."""
    worst = 0.0
    for a, _ in _readings(stream, 16, 20):
        efforts = [1, 2, 4, 8]
        fast = Ranking(a.validation, a.score).leave_one_out(a.score, efforts)
        for i in range(16):
            rest = a.take(np.delete(np.arange(16), i))
            slow = Ranking(rest.validation).expected(rest.score, efforts)
            worst = max(worst, float(np.max(np.abs(fast[i] - slow))))
    return worst


def resamples_against_sorting(stream: np.random.Generator) -> float:
    """D(k) of resampled searches, weights against sorting them anew, n = 16."""
    worst = 0.0
    for a, _ in _readings(stream, 16, 10):
        counts = stream.multinomial(16, np.full(16, 1 / 16), 50)
        fast = expectation(a, [4], counts).resampled[:, 0]
        for row, value in zip(counts, fast, strict=True):
            drawn = np.repeat(np.arange(16), row)
            again = Ranking(a.validation[drawn])
            slow = again.expected(a.score[drawn], [4])[0]
            worst = max(worst, abs(float(value - slow)))
    return worst


def _studentised(b: Reading, a: Reading, k: int) -> float:
    """The gain over its standard error, from n leave-one-out estimates."""
    n = len(a.score)

    def gained(rows: np.ndarray) -> float:
        ends = [
            Ranking(arm.validation[rows]).expected(arm.score[rows], [k])[0]
            for arm in (b, a)
        ]
        return float(ends[0] - ends[1])

    every = np.arange(n)
    full = gained(every)
    pseudo = [n * full - (n - 1) * gained(np.delete(every, i)) for i in every]
    error = float(np.std(pseudo, ddof=1)) / math.sqrt(n)
    return full / error if error > 1e-12 else 0.0 if abs(full) < 1e-12 else math.inf


def gate_against_enumeration(stream: np.random.Generator) -> float:
    """The p-value against all 2^8 swaps, re-ranked and studentised by brute force."""
    worst = 0.0
    for a, b in _readings(stream, 8, 6):
        observed = abs(_studentised(b, a, 2))
        reached = []
        for flips in itertools.product([False, True], repeat=8):
            swap = np.array(flips)
            one, two = (
                Reading(
                    np.where(swap, y.validation, x.validation),
                    np.where(swap, y.score, x.score),
                    None,
                    x.diverged,
                    0.0,
                )
                for x, y in ((b, a), (a, b))
            )
            reached.append(abs(_studentised(one, two, 2)) >= observed * (1 - 1e-9))
        p = gate(b, a, 2, paired=True, permutations=9999, seed=0)
        worst = max(worst, abs(p - float(np.mean(reached))))
    return worst


def intervals_against_scipy(stream: np.random.Generator) -> float:
    """Clopper and Pearson's interval against `scipy.stats.binomtest`."""
    worst = 0.0
    for _ in range(200):
        trials = int(stream.integers(1, 200))
        successes = int(stream.integers(0, trials + 1))
        theirs = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
        ours = clopper_pearson(successes, trials, 0.05)
        worst = max(worst, abs(ours[0] - theirs.low), abs(ours[1] - theirs.high))
    return worst


def holm_against_bonferroni_of_subsets(stream: np.random.Generator) -> float:
    """Holm's p against the closed test of all intersections by Bonferroni, J = 5."""
    worst = 0.0
    for _ in range(50):
        p = stream.random(5) ** 3
        for j, ours in enumerate(holm(p)):
            closed = max(
                min(len(subset) * min(p[i] for i in subset), 1.0)
                for size in range(1, 6)
                for subset in itertools.combinations(range(5), size)
                if j in subset
            )
            worst = max(worst, abs(ours - closed))
    return worst


CHECKS: tuple[Callable[[np.random.Generator], float], ...] = (
    curve_against_subsets,
    curve_against_opda,
    bands_against_opda,
    leave_one_out_against_brute_force,
    resamples_against_sorting,
    gate_against_enumeration,
    intervals_against_scipy,
    holm_against_bonferroni_of_subsets,
)


def main() -> None:
    """Writes and prints the table."""
    rows = []
    for check in CHECKS:
        start = time.perf_counter()
        found = check(generator(SEED, "cross-check", check.__name__))
        said = (check.__doc__ or "").rstrip(".")
        rows.append(
            {
                "check": said,
                "largest_difference": found,
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
        print(f"{found:.1e}  {said}", flush=True)
    write(RESULTS / "crosschecks.json", json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Real tuning records: what the method says where nature drew the scores.

AlexNet and ConvNeXt, 512 random-search runs each on ImageNet (Lourie, Cho and He; CC
BY-SA 4.0), stand for two populations, and studies are drawn from them without
replacement: one arm against the other, and each against itself on disjoint runs.
DeepOBS (Schneider, Balles and Hennig; MIT) has ten seeds of the learning rate that won
a search of 36, so it shows what the winning seed's own score is worth.

    python evidence/records.py
"""

import argparse
import functools
import itertools
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from journal import RESULTS, SEED, Found, Journal, digest

from archtrial.calibration import CHUNK, Tally
from archtrial.files import write
from archtrial.randomness import generator
from archtrial.statistics import Search, compare
from archtrial.statistics.tuning import Ranking

SIZES = ((16, 4), (32, 8), (64, 8))
PAIRS = (("alexnet", "convnext"), ("alexnet", "alexnet"), ("convnext", "convnext"))
STUDIES = 1_000
MARGIN = 0.005


def folder() -> Path:
    """Returns where the records lie."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    found = Path(os.environ.get("ARCHTRIAL_DATA", beside)) / "tuning_records"
    if not found.exists():
        sys.exit(f"the tuning records are not there: {found}; set ARCHTRIAL_DATA")
    return found


@functools.cache
def scores(arm: str, epoch: str = "last") -> np.ndarray:
    """Returns (512,) top-1 accuracy at the last or the best epoch; 0 without any."""
    file = {"alexnet": "alexnet", "convnext": "convnext-tiny"}[arm]
    lines = (folder() / arm / f"{file}_tuning.results.jsonl").read_text().splitlines()
    curves = [json.loads(line)["learning_curve"] for line in lines]
    pick = (lambda tops: tops[-1]) if epoch == "last" else max
    return np.array(
        [pick([each["top_1"] for each in curve]) if curve else 0.0 for curve in curves]
    )


def delta(pair: tuple[str, str], effort: int, epoch: str = "last") -> float:
    """Returns the gain of the second arm over the first, over all of their runs."""
    ends = [
        float(Ranking(scores(arm, epoch)).expected(scores(arm, epoch), [effort])[0])
        for arm in pair
    ]
    return ends[1] - ends[0]


def cell(pair: tuple[str, str], n: int) -> str:
    """Returns the name of a cell."""
    what = "against its own halves" if pair[0] == pair[1] else f"against {pair[1]}"
    return f"{pair[0]} {what}, n = {n}"


def definition(pair: tuple[str, str], n: int, effort: int) -> str:
    """Returns the digest of a cell."""
    return digest([pair, n, effort, MARGIN, "last epoch's top-1", 999, 2000])


def _search(arm: str, runs: np.ndarray) -> Search:
    score = scores(arm)[runs]
    n = len(score)
    return Search(
        name=arm,
        validation=score,
        # The records have validation scores alone, and no fresh seeds.
        test=np.full(n, math.nan),
        test_run=score,
        diverged=np.zeros(n, dtype=bool),
        cost=np.ones(n),
        worst=0.0,
    )


def count(pair: tuple[str, str], n: int, effort: int, number: int) -> Tally:
    """Judges one chunk of subsamples."""
    stream = generator(SEED, "records", *pair, n, number)
    true = delta(pair, effort)
    parts = []
    for study in range(CHUNK):
        if pair[0] == pair[1]:
            drawn = np.split(stream.permutation(len(scores(pair[0])))[: 2 * n], 2)
        else:
            drawn = [stream.choice(len(scores(arm)), n, replace=False) for arm in pair]
        a, b = (_search(arm, runs) for arm, runs in zip(pair, drawn, strict=True))
        (found,) = compare(
            a,
            [b],
            effort=effort,
            margin=MARGIN,
            metric="accuracy",
            seed=CHUNK * number + study,
            estimand="run",
            paired=False,
            scored_on="validation",
            permutations=999,
            resamples=2000,
        )
        assert found.effect is not None
        parts.append(
            Tally(
                {
                    "studies": 1,
                    f"verdict {found.verdict}": 1,
                    "covered": found.effect.low <= true <= found.effect.high,
                    "sum estimate": found.effect.estimate,
                    "sum width": found.effect.high - found.effect.low,
                }
            )
        )
    return Tally.of(parts)


def found(pair: tuple[str, str], n: int, effort: int) -> Found | None:
    """Returns what is known of a cell."""
    return Journal("records").found(cell(pair, n), definition(pair, n, effort))


def deepobs() -> dict[str, Any]:
    """Returns what the seed that won is worth, in each problem and optimiser.

    DeepOBS picked the learning rate by the final test accuracy of one seed and then
    ran nine more, whose mean is what the configuration is worth without luck. Our
    estimate is the mean of three fresh seeds; it is held against the other six, for
    every choice of the three, and so is a single one against the other eight: seeds
    that now and then go wrong put most others above their mean, selected or not.
    """
    table = pd.read_csv(folder() / "deepobs" / "runs.csv")
    table = table.dropna(subset=["final_test_accuracies"])
    rows = []
    for (problem, optimizer), runs in table.groupby(["testproblem", "optimizer"]):
        searched = runs[runs["seed"] == 42]
        winner = searched.loc[searched["final_test_accuracies"].idxmax()]
        again = runs[(runs["seed"] != 42) & (runs["lr"] == winner["lr"])]
        fresh = again["final_test_accuracies"].to_numpy()
        tuned = float(winner["final_test_accuracies"])
        rows.append(
            {
                "problem": problem,
                "optimizer": optimizer.removesuffix("Optimizer"),
                "searched": len(searched),
                "reseeds": len(fresh),
                "tuned_seed": tuned,
                "mean_of_reseeds": float(fresh.mean()),
                "optimism": tuned - float(fresh.mean()),
                "one_seed": _left(fresh, 1),
                "three_seeds": _left(fresh, 3),
            }
        )
    optimism = np.array([row["optimism"] for row in rows])
    return {
        "cells": rows,
        "tuned_seed": {
            "mean": float(optimism.mean()),
            "standard_error": float(optimism.std(ddof=1) / math.sqrt(len(rows))),
            "above": int(np.sum(optimism > 0)),
            "of": len(rows),
        },
        **{
            kind: {
                "mean": float(np.mean([row[kind]["mean"] for row in rows])),
                "typical_error": float(np.mean([row[kind]["error"] for row in rows])),
                "above": float(np.sum([row[kind]["above"] for row in rows])),
                "of": len(rows),
            }
            for kind in ("one_seed", "three_seeds")
        },
    }


def _left(fresh: np.ndarray, size: int) -> dict[str, float]:
    """Holds the mean of some seeds against the others, over every choice of them."""
    apart = []
    for chosen in itertools.combinations(range(len(fresh)), size):
        others = np.delete(fresh, chosen)
        apart.append(fresh[list(chosen)].mean() - others.mean())
    return {
        "mean": float(np.mean(apart)),
        "error": float(np.sqrt(np.mean(np.square(apart)))),
        "above": float(np.mean(np.array(apart) > 0)),
    }


def main() -> None:
    """Fills all cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    options = parser.parse_args()
    start = time.perf_counter()
    write(RESULTS / "deepobs.json", json.dumps(deepobs(), indent=1) + "\n")
    journal = Journal("records")
    for n, effort in SIZES:
        for pair in PAIRS:
            journal.fill(
                cell(pair, n),
                definition(pair, n, effort),
                options.studies,
                functools.partial(count, pair, n, effort),
                {"effort": effort, "gain": delta(pair, effort)},
            )
    journal.compact()
    print(f"records: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

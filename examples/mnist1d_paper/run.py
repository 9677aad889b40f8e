"""MNIST-1D as the paper trained it: ten seeds of one fixed configuration an arm.

    python examples/mnist1d_paper/run.py

No search, no verdict, nothing held out for choosing: all 4,000 examples train, and
the test set is opened once, at the end. Each arm is one fleet of ten runs.
"""

import concurrent.futures
import csv
import functools
import math
import multiprocessing
import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import scipy.stats
import torch

from archtrial import data, metrics
from archtrial.protocol import Recipe, Splits
from archtrial.training import fleet, run
from archtrial.zoo import arms

HERE = Path(__file__).parent
# The slowest first, so that two processes end together.
ARMS = ("gru", "cnn", "mlp", "linear")
SEEDS = range(10)
# The paper's, to the letter; `momentum` is Adam's first beta, its default.
RECIPE = Recipe(
    optimizer="adam",
    schedule="constant",
    warmup=0.0,
    order="fixed",
    gradient_clip=None,
    learning_rate=1e-2,
    weight_decay=0.0,
    momentum=0.9,
)


def train(problem: run.Problem, arm: str) -> tuple[list[run.Outcome], float]:
    """Trains the ten runs of one arm as a fleet, with one thread.

    Returns:
        The outcomes in the order of the seeds, and seconds of processor time.
    """
    start = time.process_time()
    torch.set_num_threads(1)
    architecture = arms.find(arm)
    build = functools.partial(
        architecture.build, problem.x_train.shape[1:], problem.num_outputs, {}
    )
    # One fixed order of batches, as in the paper: only the initial weights differ.
    jobs = [
        run.Job(build, {}, initial_seed=seed, order_seed=0, noise_seed=seed)
        for seed in SEEDS
    ]
    return fleet.train(problem, jobs), time.process_time() - start


def main() -> None:
    """Trains all arms, opens the test set and prints a table beside the paper's."""
    start = time.perf_counter()
    split = data.load("mnist1d").split(Splits(), seed=0)
    x = np.concatenate([split.x_train, split.x_validation])
    y = np.concatenate([split.y_train, split.y_validation])
    metric = metrics.get("accuracy")
    problem = run.Problem(
        x_train=x,
        y_train=y,
        x_validation=x,  # there is none: what a run reports is its fit
        y_validation=y,
        x_test=split.x_test,
        task="classification",
        num_outputs=split.num_outputs,
        metric=metric,
        recipe=RECIPE,
        steps=6000,
        batch_size=100,
        evaluations=1,
    )
    with concurrent.futures.ProcessPoolExecutor(
        2, multiprocessing.get_context("spawn")
    ) as pool:
        trained = list(pool.map(functools.partial(train, problem), ARMS))
    outcomes = {arm: runs for arm, (runs, _) in zip(ARMS, trained, strict=True)}
    runs = [(arm, seed) for arm in ARMS for seed in SEEDS]
    opened = split.open_test(
        metric, [outcomes[arm][seed].predictions for arm, seed in runs]
    )
    tests = {
        key: 100 * float(scores.mean())
        for key, scores in zip(runs, opened, strict=True)
    }

    with (HERE / "results.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["arm", "seed", "train_accuracy_percent", "test_accuracy_percent"]
        )
        for arm, seed in runs:
            fit = 100 * outcomes[arm][seed].validation
            table.writerow([arm, seed, f"{fit:.2f}", f"{tests[arm, seed]:.2f}"])
    published = read_published()
    print("| arm | parameters | training | test, 95 % interval | published | |")
    print("|---|---|---|---|---|---|")
    for arm in reversed(ARMS):
        fits = [100 * outcome.validation for outcome in outcomes[arm]]
        scores = [tests[arm, seed] for seed in SEEDS]
        mean, half = statistics.mean(scores), half_interval(scores)
        low, high = min(published[arm]), max(published[arm])
        within = low - 2 <= mean <= high + 2
        print(
            f"| {arm} | {outcomes[arm][0].parameters:,} | {statistics.mean(fits):.1f} |"
            f" {mean:.1f} ({mean - half:.1f} to {mean + half:.1f}) |"
            f" {low:g} to {high:g} |"
            f" {'within' if within else 'outside'} the band plus or minus 2 |"
        )
    seconds = time.perf_counter() - start
    print(
        f"\n{seconds:.0f} s ({sum(busy for _, busy in trained):.0f} s of processor time)"
        f" in two processes of one thread on {platform.machine()},"
        f" {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()};"
        f" Python {platform.python_version()}, torch {torch.__version__},"
        f" numpy {np.__version__}, archtrial {metadata.version('archtrial')}"
    )


def read_published() -> dict[str, list[float]]:
    """Returns the published test accuracies of each arm, in percent."""
    accuracies: dict[str, list[float]] = {}
    with (HERE / "published.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            accuracy = float(row["test_accuracy_percent"])
            accuracies.setdefault(row["arm"], []).append(accuracy)
    return accuracies


def half_interval(scores: list[float]) -> float:
    """Returns half the width of the 95 % t-interval for the mean over seeds."""
    quantile: float = scipy.stats.t.ppf(0.975, len(scores) - 1)
    return quantile * statistics.stdev(scores) / math.sqrt(len(scores))


if __name__ == "__main__":
    main()

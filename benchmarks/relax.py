"""How much faster relaxed networks train side by side than one after another.

    python benchmarks/relax.py

The fully connected equivalent of MNIST-1D's CNN (171,110 weights), trained for some
steps of plain SGD on random data of that shape (batch 100): by the loop, one after
another, and in fleets of several sizes, taking turns. A ratio is the median over
repetitions of what was measured side by side, in processor time for each network.
Prints a table and writes benchmarks/relax.json.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import archtrial
from archtrial import metrics, zoo
from archtrial.experiments.relax.protocol import RECIPE
from archtrial.protocol import Recipe
from archtrial.training import fleet, run

SIZES = (2, 4, 8, 16)


def problem(steps: int) -> run.Problem:
    """Returns random data of MNIST-1D's shape."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3200, 40)).astype(np.float32)
    y = generator.integers(10, size=3200)
    return run.Problem(
        x_train=x,
        y_train=y,
        x_validation=x[:800],
        y_validation=y[:800],
        x_test=x[:1000],
        task="classification",
        num_outputs=10,
        metric=metrics.default("classification"),
        recipe=Recipe(**RECIPE),
        steps=steps,
        batch_size=100,
        evaluations=1,
    )


def relaxed() -> torch.nn.Module:
    """Builds the network."""
    return archtrial.equivalent_fcn(zoo.cnn((40,), 10), (40,))


def jobs(count: int) -> list[run.Job]:
    """Returns so many trainings."""
    return [
        run.Job(relaxed, {"learning_rate": 0.1}, seed, seed, seed)
        for seed in range(count)
    ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    work = problem(asked.steps)
    ratios: dict[int, list[float]] = {size: [] for size in SIZES}
    alone: list[float] = []
    for _ in range(asked.repetitions):
        began = time.process_time()
        for job in jobs(2):
            run.train(work, job)
        alone.append((time.process_time() - began) / 2)
        for size in SIZES:
            began = time.process_time()
            fleet.train(work, jobs(size))
            ratios[size].append(alone[-1] / ((time.process_time() - began) / size))
    found = {
        "times faster in fleets of": {
            str(size): round(statistics.median(own), 2) for size, own in ratios.items()
        },
        "milliseconds of a step in the loop": round(
            1000 * statistics.median(alone) / asked.steps, 2
        ),
        "steps": asked.steps,
        "repetitions": asked.repetitions,
        "threads": 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

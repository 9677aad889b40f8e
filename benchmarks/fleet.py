"""How much faster a fleet trains than a loop.

    python benchmarks/fleet.py

One training step of each built-in architecture on MNIST-1D's shapes (40 numbers,
10 classes, batch 100), as it is done

- in plain PyTorch, data in memory: torch.optim.AdamW, torch's loss and clipping;
- the same through a DataLoader;
- by archtrial's loop (training/run.py);
- by fleets of several sizes (training/fleet.py), divided by their size;

at one and at two threads. All take turns within a repetition; a ratio is the
median over repetitions of what was measured side by side. Prints a table and
writes benchmarks/fleet.json.
"""

import argparse
import functools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import fleet, run
from archtrial.training.loop import Loop
from archtrial.training.module import build
from archtrial.training.source import Source
from archtrial.zoo import registry

LENGTH, CLASSES, BATCH, EXAMPLES = 40, 10, 100, 3200
Step = Callable[[], object]


def make_problem() -> run.Problem:
    """Returns random data of MNIST-1D's shape, and the default recipe."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(EXAMPLES, LENGTH)).astype(np.float32)
    y = generator.integers(CLASSES, size=EXAMPLES)
    return run.Problem(
        x_train=x,
        y_train=y,
        x_validation=x[:1000],
        y_validation=y[:1000],
        x_test=x[:1000],
        task="classification",
        num_outputs=CLASSES,
        metric=metrics.default("classification"),
        recipe=Recipe(),
        steps=1500,
        batch_size=BATCH,
    )


def plain(problem: run.Problem, job: run.Job, loader: bool) -> Step:
    """Returns a step as one would write it without archtrial."""
    module = job.build().train()
    optimizer = torch.optim.AdamW(module.parameters())
    x, y = torch.from_numpy(problem.x_train), torch.from_numpy(problem.y_train)

    def from_memory():
        while True:
            order = torch.randperm(EXAMPLES)
            for rows in order.split(BATCH):
                yield x[rows], y[rows]

    def from_loader():
        batches = DataLoader(TensorDataset(x, y), BATCH, shuffle=True)
        while True:
            yield from batches

    batches = from_loader() if loader else from_memory()

    def step():
        inputs, labels = next(batches)
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs), labels).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def loop(problem: run.Problem, job: run.Job) -> Step:
    """Returns a step of archtrial's loop."""
    data, trained = Source(problem), Loop(problem, [job], [build(problem, job)])
    order = run.recipe.batches(problem.recipe, EXAMPLES, BATCH, job.order_seed)

    def step():
        rows = torch.from_numpy(next(order))
        trained.step(data.x_train[rows], data.y_train[rows], 1.0)

    return step


def fleet_of(problem: run.Problem, jobs: list[run.Job]) -> Step:
    """Returns a step of all runs of a fleet."""
    data = Source(problem)
    stack = fleet.Stack(problem, jobs, [build(problem, job) for job in jobs])
    orders = [
        run.recipe.batches(problem.recipe, EXAMPLES, BATCH, job.order_seed)
        for job in jobs
    ]

    def step():
        rows = torch.from_numpy(np.stack([next(order) for order in orders]))
        stack.step(data.x_train[rows], data.y_train[rows], 1.0)

    return step


def compared(steps: dict[str, Step], repetitions: int, seconds: float):
    """Returns each one's milliseconds a step in every repetition."""
    counts = {}
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        step()
        counts[name] = max(1, round(seconds / (time.perf_counter() - start)))
    taken = {name: [] for name in steps}
    for _ in range(repetitions):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                step()
            taken[name].append((time.perf_counter() - start) / counts[name] * 1e3)
    return taken


def measured(name: str, sizes: list[int], repetitions: int, seconds: float):
    """Returns what one architecture takes, at the present number of threads."""
    problem = make_problem()
    build = functools.partial(registry.get(name).function, (LENGTH,), CLASSES)
    jobs = [
        run.Job(build, {"learning_rate": 1e-3 * (1 + seed)}, seed, seed, seed)
        for seed in range(max(sizes))
    ]
    steps = {
        "plain": plain(problem, jobs[0], loader=False),
        "loader": plain(problem, jobs[0], loader=True),
        "loop": loop(problem, jobs[0]),
        **{str(size): fleet_of(problem, jobs[:size]) for size in sizes},
    }
    taken = compared(steps, repetitions, seconds)
    fleets = {}
    for size in sizes:
        each = [t / size for t in taken[str(size)]]
        fleets[size] = {
            "milliseconds_each": statistics.median(each),
            **{
                f"times_faster_than_{other}": statistics.median(
                    t / e for t, e in zip(taken[other], each, strict=True)
                )
                for other in ("plain", "loader", "loop")
            },
        }
    return {
        "milliseconds": {
            other: statistics.median(taken[other])
            for other in ("plain", "loader", "loop")
        },
        "fleets": fleets,
    }


def machine():
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
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def main() -> None:
    """Measures, prints and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--architectures", nargs="+", default=["mlp", "cnn", "gru", "lstm"]
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[4, 8, 16, 32])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="of each measurement"
    )
    parser.add_argument(
        "--output", default=Path(__file__).with_suffix(".json"), type=Path
    )
    options = parser.parse_args()
    report = {**machine(), "batch": BATCH, "results": []}
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print("ms a step and model; in brackets, times faster than plain PyTorch in memory")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.architectures:
            result = measured(name, options.sizes, options.repetitions, options.seconds)
            report["results"].append(
                {"architecture": name, "threads": threads, **result}
            )
            alone = result["milliseconds"]
            print(
                f"{name:5} {threads} thread{'s' if threads > 1 else ' '}",
                *(f"{other} {alone[other]:6.2f}" for other in alone),
                *(
                    f"| {size}: {f['milliseconds_each']:5.2f}"
                    f" ({f['times_faster_than_plain']:.1f})"
                    for size, f in result["fleets"].items()
                ),
                flush=True,
            )
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

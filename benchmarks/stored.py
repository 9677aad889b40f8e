"""What it costs to train on inputs that stay in a file: memory, preparation, steps.

    python benchmarks/stored.py [--gib 2] [--sparse] [--side 32] [--arm cnn] [--steps 200]
        [--limit GIB] [--only stored|held]

Writes images (N, 3, side, side) of float32 as x.npy beside y.npy, and trains an
architecture of the zoo on them in a process of its own: once with the inputs in memory, once with them in the
file. Prints a line for each: seconds until the first step (reading, checks, moments,
digest, search for copies), milliseconds a step and of that for the batch, and the peak of
resident memory; how much of it is the process's own and how much pages of files (torch's
code). `--limit` is on the process's own memory
(RLIMIT_DATA). `--sparse` writes one image of each hundred, so that the file takes no room.
"""

import argparse
import dataclasses
import functools
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

CLASSES = 10


def write(folder: Path, gib: float, side: int, *, sparse: bool) -> None:
    """Writes images of noise on a brightness that tells their class."""
    count = int(gib * 2**30 / (12 * side * side))
    shape = (count, 3, side, side)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, shape)
    y = np.arange(count) % CLASSES
    rng = np.random.default_rng(0)
    for row in range(0, count, 100):
        rows = slice(row, row + (1 if sparse else 100))
        noise = rng.standard_normal(x[rows].shape, np.float32)
        x[rows] = noise + y[rows, None, None, None]
    x.flush()
    np.save(folder / "y.npy", y)


class Watch(threading.Thread):
    """Looks at the process's memory ten times a second, by its kind."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = {"VmRSS": 0, "RssAnon": 0, "RssFile": 0}

    def run(self) -> None:
        """Looks until the process ends."""
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.most:
                    self.most[name] = max(self.most[name], int(value.split()[0]))
            time.sleep(0.1)


def train(given: argparse.Namespace) -> None:
    """Trains once, and prints what it took as JSON."""
    folder, steps = given.folder, given.steps
    if given.limit is not None:
        most = int(given.limit * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    import torch

    from archtrial import data, metrics, trial
    from archtrial.errors import UserError
    from archtrial.protocol import Protocol, Splits
    from archtrial.training import run
    from archtrial.training.problem import Job
    from archtrial.training.source import Batches, Source
    from archtrial.zoo import arms

    torch.set_num_threads(1)
    watch = Watch()
    watch.start()
    began = time.perf_counter()
    try:
        split = data.load(folder, memory=given.memory).split(Splits(), 0)
    except (UserError, MemoryError) as error:
        first = str(error).splitlines()[0] or "not enough memory"
        print(json.dumps({"ended": first}))
        return
    ready = time.perf_counter() - began
    declared = Protocol(
        data=str(folder), baseline="mlp", challengers=["cnn"], steps=steps
    )
    problem = trial.pose(declared, split, metrics.default(split.task))
    problem = dataclasses.replace(problem, evaluations=1)
    build = functools.partial(
        arms.find(given.arm, {}).build, split.input_shape, CLASSES, {}
    )
    job = Job(build, {"learning_rate": 0.01}, 1, 2, 3)
    source = Source(problem)
    batches = Batches(problem, source, [job])
    next(batches)
    began = time.perf_counter()
    for _ in range(steps):
        next(batches)
    batch = (time.perf_counter() - began) / steps
    began = time.perf_counter()
    outcome = run.train(problem, job)
    seconds = time.perf_counter() - began
    examples = steps * declared.batch_size
    evaluated = len(split.x_validation) + split.test_size
    print(
        json.dumps(
            {
                "examples": sum(map(len, (split.x_train, split.x_validation))),
                "ready": ready,
                "batch": batch,
                "training": seconds,
                "trained": examples,
                "evaluated": evaluated,
                "score": outcome.validation,
                "error": outcome.error,
                **watch.most,
            }
        )
    )


def main() -> None:
    """Trains twice, each time in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--arm", default="cnn")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--only", choices=("stored", "held"))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder is not None:
        train(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), given.gib, given.side, sparse=given.sparse)
        for name, memory in (("held", 1e6), ("stored", 0)):
            if given.only in (None, name):
                show(name, folder, memory, given)


def show(name: str, folder: str, memory: float, given: argparse.Namespace) -> None:
    """Trains in a process of its own, and prints its line."""
    command = [sys.executable, __file__, "--folder", folder, "--memory", str(memory)]
    command += ["--steps", str(given.steps), "--arm", given.arm]
    if given.limit is not None:
        command += ["--limit", str(given.limit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    if "ended" in found:
        print(f"{name:7} {found['ended']}")
        return
    print(
        f"{name:7} ready after {found['ready']:.0f} s; a batch in"
        f" {1000 * found['batch']:.2f} ms, {found['trained']:,} examples trained and"
        f" {found['evaluated']:,} evaluated in {found['training']:.1f} s; memory"
        f" {found['VmRSS'] / 2**20:.2f} GiB, of that own"
        f" {found['RssAnon'] / 2**20:.2f}, of files {found['RssFile'] / 2**20:.2f};"
        f" score {found['score']!r}"
    )


if __name__ == "__main__":
    main()

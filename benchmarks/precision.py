"""What bfloat16 and images that lie channels last are worth to a convolutional net.

    python benchmarks/precision.py [--threads 1] [--repetitions 9]

A step of archtrial's loop with a ResNet-8 of width 32 on batches of 64 images of
3 x 32 x 32, under four recipes that take turns within a repetition. With one thread it
is the processor's time that counts, else the clock. A ratio is the median over the
repetitions of what was measured side by side.
"""

import argparse
import dataclasses
import platform
import statistics
import time

import numpy as np
import torch
from fleet import CASES, loop, make_problem

from archtrial.protocol import Recipe
from archtrial.training import run

RECIPES = {
    "float32": Recipe(),
    "float32, channels last": Recipe(memory_format="channels_last"),
    "bfloat16": Recipe(precision="bfloat16"),
    "bfloat16, channels last": Recipe(
        precision="bfloat16", memory_format="channels_last"
    ),
}


def main() -> None:
    """Prints the milliseconds of a step and their ratio to float32."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    case = CASES["resnet8-32"]
    problem = make_problem(case)
    job = run.Job(case.build, {}, 0, 0, 0)
    steps = {
        name: loop(dataclasses.replace(problem, recipe=recipe), job)
        for name, recipe in RECIPES.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(given.repetitions + 1):
        for name, step in steps.items():
            began = clock()
            step()
            if repetition:  # the first one allocates
                taken[name].append(1000 * (clock() - began))
    print(
        f"{given.threads} thread(s), {platform.machine()}, torch {torch.__version__},"
        f" numpy {np.__version__}"
    )
    first = np.array(taken["float32"])
    for name, own in taken.items():
        ratio = float(np.median(first / np.array(own)))
        print(f"{name:24} {statistics.median(own):6.0f} ms  {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()

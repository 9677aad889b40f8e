"""Would runs of several widths gain by sharing a fleet?

    python benchmarks/widths.py

A fleet of several widths would pad each to the largest. What that costs at the least is a
fleet of as many runs, all of the largest width; what it saves is one fleet for each width.
Both take turns; processor time of one thread.
"""

import functools
import statistics
import time

import torch
from fleet import SERIES, Case, fleet_of, make_problem

from archtrial.training import run
from archtrial.zoo import registry

CLASSES = 10
WIDTHS = {"mlp": (50, 100, 200), "cnn": (12, 25, 50)}
"""What the zoo's own search spaces have."""
EACH, STEPS, REPETITIONS = 5, 30, 7


def steps_of(name: str, widths: tuple[int, ...], each: int):
    """Returns a step of one fleet of each width."""
    made = []
    for width in widths:
        function = registry.get(name).function
        build = functools.partial(function, SERIES, CLASSES, width=width)
        jobs = [
            run.Job(build, {"learning_rate": 1e-3}, seed, seed, seed)
            for seed in range(each)
        ]
        made.append(fleet_of(make_problem(Case(SERIES, build), "cpu"), jobs))

    def step():
        for one in made:
            one()

    return step


def taken(step) -> float:
    """Returns the milliseconds of processor time of a step."""
    start = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - start) / STEPS * 1e3


def main() -> None:
    """Prints both, and their ratio."""
    torch.set_num_threads(1)
    for name, widths in WIDTHS.items():
        padded = steps_of(name, widths[-1:], EACH * len(widths))
        apart = steps_of(name, widths, EACH)
        for step in (padded, apart):
            taken(step)
        pairs = [(taken(padded), taken(apart)) for _ in range(REPETITIONS)]
        ratio = statistics.median(apart / padded for padded, apart in pairs)
        wide, own = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(
            f"{name}: {len(widths)} fleets of {EACH} {own:.1f} ms, one padded fleet"
            f" {wide:.1f} ms a step: {ratio:.2f} times as fast padded"
        )


if __name__ == "__main__":
    main()

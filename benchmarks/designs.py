"""How long judging and calibrating take for stratified draws, beside independent ones.

    python benchmarks/designs.py

On one thread, in one run, both designs taking turns:

- `compare`, as a verdict has it: two arms on five hyperparameters, of which two are
  choices, three fresh seeds, 1,000 test examples, both readings, 9,999 permutations
  and the other parts of the space;
- 100 simulated studies, drawn and judged, as the calibration has them.

The aim for stratified draws is at most twice the time at n = 16. Times are those of the
processor, since the machine may have other work; a ratio is the median over repetitions
of what was measured side by side. Prints a table and writes benchmarks/designs.json.
"""

import os

# Before numpy is imported, which reads it once.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from compare import machine, summary, taking_turns

from archtrial.calibration import Setting, chunk, landscape, truth
from archtrial.space import Choice, Design, Real
from archtrial.statistics import Search, compare, confirm_indices

DESIGNS = ("random", "sobol")
"""Ratios are to the first."""
SPACE = {
    "learning_rate": Real(3e-4, 1e-1, log=True),
    "weight_decay": Real(1e-5, 1e-1, log=True),
    "dropout": Real(0.0, 0.5),
    "depth": Choice((2, 3)),
    "width": Choice((50, 100, 200)),
}
EFFORT, MARGIN, TESTED = 4, 0.01, 1_000


def make_study(sampling: str, n: int) -> list[Search]:
    """Returns the searches of two arms whose optima are a tenth of the range apart."""
    design = Design({"a": SPACE, "b": SPACE}, 0, sampling)
    stream = np.random.default_rng(0)
    difficulty = stream.normal(size=TESTED)
    runs = []
    for arm, advantage in (("a", 0.0), ("b", 0.02)):
        drawn = [design.configuration(arm, i) for i in range(n)]
        at = np.array(
            [[SPACE[name].position(each[name]) for name in SPACE] for each in drawn]
        )
        best = np.full(len(SPACE), 0.5 + 5 * advantage)
        quality = 0.8 + advantage - 0.4 * np.sum((at - best) ** 2, axis=1)
        # By trial, and by seed: that of the search, and three fresh ones.
        seeds = quality[:, None] + stream.normal(0, 0.01, (n, 4))
        luck = stream.normal(size=(n, 4, TESTED))
        right = 0.9 * difficulty + 0.4 * luck < 2.5 * (seeds[..., None] - 0.5)
        runs.append((arm, at, seeds[:, 0], right))
    top, rest = confirm_indices(
        [validation for _, _, validation, _ in runs],
        EFFORT,
        stratified=design.stratified,
    )
    searches = []
    for arm, at, validation, right in runs:
        tested = right.mean(axis=2)
        fresh = [np.empty(0)] * n
        examples = np.full((n, TESTED), np.nan, dtype=np.float32)
        for chosen, count in ((top, 3), (rest, 1)):
            for i in chosen:
                fresh[i] = tested[i, 1 : 1 + count]
                examples[i] = right[i, 1 : 1 + count].mean(axis=0)
        searches.append(
            Search(
                name=arm,
                validation=validation,
                test=np.array([s.mean() if len(s) else math.nan for s in fresh]),
                test_run=tested[:, 0],
                diverged=np.zeros(n, dtype=bool),
                cost=np.ones(n),
                worst=0.1,
                examples=examples,
                examples_run=right[:, 0].astype(np.float32),
                fresh=fresh,
                positions=dict(zip(SPACE, at.T, strict=True)),
                stratified=design.stratified,
            )
        )
    return searches


def judging(n: int) -> dict[str, Callable[[], object]]:
    """Returns by design what a verdict on one challenger computes."""
    options = {
        name: [str(option) for option in dimension.options]
        for name, dimension in SPACE.items()
        if isinstance(dimension, Choice)
    }

    def judged(first: Search, second: Search) -> Callable[[], object]:
        return lambda: compare(
            first,
            [second],
            effort=EFFORT,
            margin=MARGIN,
            metric="accuracy",
            seed=0,
            elsewhere=True,
            options=options,
        )

    return {sampling: judged(*make_study(sampling, n)) for sampling in DESIGNS}


def calibrating(
    n: int, studies: int, hyperparameters: int
) -> dict[str, Callable[[], object]]:
    """Returns by design the simulation of some studies."""
    others = (0.5,) * (hyperparameters - 2)

    def counted(sampling: str) -> Callable[[], object]:
        setting = Setting(
            "speed",
            landscape(0.1, optimum=(0.4, 0.6, *others)),
            landscape(0.1, optimum=(0.5, 0.7, *others)),
            configurations=n,
            effort=EFFORT,
            margin=MARGIN,
            sampling=sampling,
        )
        known = truth(setting)
        return lambda: chunk(setting, known, 0, 0, studies)

    return {sampling: counted(sampling) for sampling in DESIGNS}


def main() -> None:
    """Measures, prints and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--output", default=Path(__file__).with_suffix(".json"), type=Path
    )
    options = parser.parse_args()
    report: dict[str, object] = {**machine(), "repetitions": options.repetitions}
    print(", ".join(f"{key} {value}" for key, value in report.items()))
    results = []
    for n in options.sizes:
        simulated = {
            f"{options.studies} studies, {d} hyperparameters": calibrating(
                n, options.studies, d
            )
            for d in (2, 5)
        }
        for what, ways in {"compare": judging(n), **simulated}.items():
            taking_turns(ways, 1)  # what is computed once and kept
            found = summary(taking_turns(ways, options.repetitions))
            results.append({"n": n, "effort": EFFORT, "what": what, "ways": found})
            print(
                f"n = {n:3} {what:30}",
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

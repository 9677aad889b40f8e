"""An arm against itself, a thousand whole studies: how often is a difference claimed?

Two arms of one architecture under two names differ in their seeds alone. Each study
is a real one, with store, confirm runs and the opening of the test set; only the
training is `testing.KnownTruth`, which takes no time. Published in evidence/README.md:

    python evidence/same_arm.py --studies 1000
"""

import argparse
import collections
import json
import logging
import math
import multiprocessing
import tempfile
import time
from pathlib import Path

from archtrial import Protocol, Study
from archtrial.statistics import clopper_pearson
from archtrial.testing import KnownTruth, Surface

# Half of the settings are the method's own worst: seeds that fail, draws that diverge.
SETTINGS = {
    "plain": Surface(),
    "narrow optimum": Surface(width=1.0),
    "3 in 10 seeds fail": Surface(failing_seeds=0.3),
    "2 in 10 draws diverge": Surface(diverging=0.2),
}
CLAIMS = ("architecture", "baseline")


def study(task: tuple[str, int, str]) -> tuple[str, str, bool]:
    """Carries out one study; returns setting, verdict, and what one reading claims.

    With independent draws a verdict needs both readings (by configuration and by run)
    to agree. The last value says whether the declared one alone would have claimed a
    difference.
    """
    setting, seed, sampling = task
    surface = SETTINGS[setting]
    trainer = KnownTruth({"a": surface, "b": surface})
    protocol = Protocol(
        data="known truth",
        baseline="a=mlp",
        challengers=["b=mlp"],
        space=dict(trainer.space),
        configurations=16,
        effort=4,
        # So small that it protects from nothing: every false claim counts.
        margin=0.0005,
        steps=1000,
        seed=seed,
        sampling=sampling,
    )
    with tempfile.TemporaryDirectory() as folder:
        verdict = Study(protocol, Path(folder), trainer=trainer).run()
    found = verdict.comparisons[0]
    effect = found["effect"]
    alone = (
        found["p_value"] <= found["alpha"]
        and (effect["low"] > 0 or effect["high"] < 0)
        and abs(effect["estimate"]) >= found["margin"]
    )
    return setting, found["verdict"], alone


def main() -> None:
    """Runs the studies, a quarter of them in each setting, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--sampling", default="sobol", choices=("sobol", "random"))
    parser.add_argument(
        "--output", type=Path, help="by default same_arm-SAMPLING.json, here"
    )
    options = parser.parse_args()
    names = list(SETTINGS)
    tasks = [
        (names[seed % len(names)], seed, options.sampling)
        for seed in range(options.studies)
    ]
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        found = collections.Counter(pool.imap_unordered(study, tasks, chunksize=10))
    rows = []
    for name in [*names, "all"]:
        verdicts: collections.Counter[str] = collections.Counter()
        one_reading = 0
        for (setting, verdict, alone), count in found.items():
            if name in (setting, "all"):
                verdicts[verdict] += count
                one_reading += alone * count
        total = verdicts.total()
        false = sum(verdicts[claim] for claim in CLAIMS)
        low, high = clopper_pearson(false, total, 0.05)
        rows.append(
            {
                "setting": name,
                "studies": total,
                "false_claims": false,
                "rate": false / total,
                "monte_carlo_error": math.sqrt(false * (total - false) / total**3),
                "low": low,
                "high": high,
                "rate_of_one_reading_alone": one_reading / total,
                "verdicts": dict(sorted(verdicts.items())),
            }
        )
        print(
            f"{name:24} {false:4} false of {total:5}  {false / total:.3f}"
            f"  (95 % {low:.3f} to {high:.3f})  {dict(verdicts)};"
            f" one reading alone {one_reading / total:.3f}"
        )
    seconds = time.perf_counter() - start
    print(f"{seconds:.0f} s with {options.workers} workers")
    output = options.output or Path(__file__).with_name(
        f"same_arm-{options.sampling}.json"
    )
    output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.ERROR)
    main()

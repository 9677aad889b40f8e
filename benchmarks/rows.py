"""How long it takes to judge a table of many runs, and how much memory.

    python benchmarks/rows.py [--configurations 50000] [--seeds 1] [--effort K] [--page]

Writes a table of two arms with three shared hyperparameters, has it judged by the
command line in a process of its own, and prints one line: rows, seconds of the clock
and of the processor, start of the program included, and the peak of memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_table(path: Path, configurations: int, seeds: int) -> None:
    """Writes a CSV of two arms, the second better by 2 points everywhere."""
    rng = np.random.default_rng(1)
    rate = rng.uniform(-5, 0, configurations)
    decay = rng.uniform(-6, -1, configurations)
    dropout = rng.uniform(0, 0.5, configurations)
    surface = -0.05 * (rate + 2.5) ** 2 - 0.1 * (dropout - 0.2) ** 2
    with path.open("w") as table:
        table.write("architecture,config,seed,lr,wd,dropout,val,test\n")
        for arm, level in (("plain", 0.70), ("net", 0.72)):
            for seed in range(seeds):
                scores = (level + surface)[:, None] + rng.normal(
                    0, 0.01, (configurations, 2)
                )
                table.writelines(
                    f"{arm},{i},{seed},{10 ** rate[i]:.6g},{10 ** decay[i]:.6g},"
                    f"{dropout[i]:.4f},{validation:.4f},{test:.4f}\n"
                    for i, (validation, test) in enumerate(scores)
                )


def main() -> None:
    """Times one judgement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--effort", type=int)
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.csv"
        write_table(table, given.configurations, given.seeds)
        program = Path(sys.executable).with_name("archtrial")
        # Nothing about "val" says which scores are the better ones.
        told = ["--baseline", "plain", "--higher-is-better", "--json"]
        command = [str(program), "judge", str(table), *told]
        if given.effort is not None:
            command += ["--effort", str(given.effort)]
        if given.page:
            command += ["--report", str(Path(folder) / "page.html")]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # What this process alone used, not all that were started before it.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    kind = "default effort" if given.effort is None else f"effort {given.effort}"
    print(
        f"2 x {given.configurations:,} configurations x {given.seeds} seeds, {kind}"
        f"{', with page' if given.page else ''}: {seconds:.1f} s"
        f" ({used.ru_utime + used.ru_stime:.1f} s of processor),"
        f" {used.ru_maxrss / 2**20:.2f} GB"
    )


if __name__ == "__main__":
    main()

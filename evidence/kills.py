"""Killed at random moments and resumed: does the study end with the same bytes?

A study on the digits is carried out once without interruption. A second one, of the
same protocol, is started again and again and killed with SIGKILL after a random time,
then left to end. Both verdict.json must be the same. Published in evidence/README.md:

    python evidence/kills.py --kills 20
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = [
    "--data=digits",
    "--baseline=linear",
    "--challenger=mlp",
    "--configurations=16",
]


def command(folder: Path, steps: int) -> list[str]:
    """Returns the command that carries the study out in a folder."""
    archtrial = str(Path(sys.executable).with_name("archtrial"))
    return [archtrial, "run", *OPTIONS, "--steps", str(steps), "--study", str(folder)]


def killed(folder: Path, steps: int, seconds: float) -> bool:
    """Starts the study, kills it after a time; says whether it still ran then."""
    process = subprocess.Popen(
        command(folder, steps),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def main() -> None:
    """Compares the two studies and exits with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder, "whole"), Path(folder, "parts")
        start = time.perf_counter()
        subprocess.run(command(whole, options.steps), check=True, capture_output=True)
        length = time.perf_counter() - start
        print(f"uninterrupted: {length:.0f} s", flush=True)
        done = 0
        while done < options.kills:
            if not killed(parts, options.steps, moments.uniform(0.5, 0.5 * length)):
                print(f"ended by itself after {done} kills: begun anew", flush=True)
                (parts / "verdict.json").unlink()
                for left in parts.glob("study.sqlite*"):
                    left.unlink()
                continue
            done += 1
            print(f"kill {done}", flush=True)
        subprocess.run(command(parts, options.steps), check=True, capture_output=True)
        same = (whole / "verdict.json").read_bytes() == (
            parts / "verdict.json"
        ).read_bytes()
    print(f"{done} kills: verdict.json is {'the same' if same else 'ANOTHER'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()

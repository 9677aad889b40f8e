"""Every reader of what others wrote, given millions of damaged inputs.

A reader reads or refuses with one message (`UserError`); anything else, or more than a
minute for one input, is a fault. Readers and whole inputs are those of the tests
(`tests/data`, `tests/records`: `test_fuzz_readers.py`; `tests/test_fuzz_specs.py`,
`tests/test_fuzz_command.py`), which try a few hundred of each. An input follows from its
reader and its number alone, so a fault is made again by `--only READER --first NUMBER
--count 1`.

Some readers take twenty microseconds for an input, others twenty milliseconds: ten
million in about two hours of a core are

    python evidence/fuzz.py --only text --count 6500000 --store
    python evidence/fuzz.py --only data --count 3000000 --store
    python evidence/fuzz.py --only runs --count 480000 --store
    python evidence/fuzz.py --only typed --count 20000 --store
"""

import argparse
import collections
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from archtrial.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results") / "fuzz.json"
CHUNK = 1000
LONGEST = 60
"""Seconds for one input."""


def _module(path: str) -> types.ModuleType:
    """Loads a test's module, which no package holds."""
    name = "fuzz_" + path.replace("/", "_").removesuffix(".py")
    described = importlib.util.spec_from_file_location(name, ROOT / "tests" / path)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    sys.modules[name] = module
    described.loader.exec_module(module)
    return module


sys.path.insert(0, str(ROOT))
DATA = _module("data/test_fuzz_readers.py")
RUNS = _module("records/test_fuzz_readers.py")
TEXTS = _module("test_fuzz_specs.py")
TYPED = _module("test_fuzz_command.py")

NAMES = (
    *(f"text {name}" for name in TEXTS.READERS),
    *(f"data {name}" for name in DATA.READERS),
    *(f"runs {name}" for name in RUNS.READERS),
    *(f"typed {name}" for name in TYPED.READERS),
)


class TooLongError(Exception):
    """An input that a reader does not come to an end with."""


def _ring(number: int, frame: Any) -> None:
    raise TooLongError


def _tries(name: str, folder: Path) -> Callable[[int], None]:
    """Returns what reads the input of a number."""
    kind, _, reader = name.partition(" ")
    if kind == "text":
        return lambda number: TEXTS.READERS[reader](
            TEXTS.mutated(random.Random(f"{name} {number}"))  # noqa: S311 - no secret
        )
    if kind == "typed":
        TYPED.write_all(folder)
        os.chdir(folder)  # what is typed names files, and may write some
        return lambda number: TYPED.READERS[reader](
            TYPED.mutated(random.Random(f"{name} {number}"))  # noqa: S311 - no secret
        )
    if kind == "data":
        place = folder / "data" / reader
        place.parent.mkdir(parents=True, exist_ok=True)
        for other, whole in DATA.WHOLE.items():  # what comes in pairs or folders
            (place.parent / other).parent.mkdir(parents=True, exist_ok=True)
            (place.parent / other).write_bytes(whole)
        seed = NAMES.index(name)

        def reads_data(number: int) -> None:
            generator = np.random.default_rng([seed, number])
            place.write_bytes(DATA.mutate(DATA.WHOLE[reader], generator))
            DATA.READERS[reader](place)

        return reads_data
    (folder / "runs").mkdir()
    RUNS.write_all(folder / "runs")
    place = folder / "runs" / reader
    whole = place.read_bytes()

    def reads_runs(number: int) -> None:
        draw = random.Random(f"{name} {number}")  # noqa: S311 - no secret
        place.write_bytes(RUNS.mutate(whole, draw))
        RUNS.READERS[reader](place)

    return reads_runs


def chunk(task: tuple[str, int, int]) -> tuple[str, dict[str, int], list[list[Any]]]:
    """Tries the inputs of a reader from a first number on."""
    name, first, count = task
    outcomes: collections.Counter[str] = collections.Counter()
    faults: list[list[Any]] = []
    folder = Path(tempfile.mkdtemp())
    signal.signal(signal.SIGALRM, _ring)
    try:
        reads = _tries(name, folder)
        for number in range(first, first + count):
            signal.alarm(LONGEST)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore"
                    )  # those of libraries, about nonsense
                    reads(number)
                outcomes["read"] += 1
            except (UserError, pydantic.ValidationError):
                outcomes["refused"] += 1
            except (Exception, TooLongError) as error:
                outcomes["fault"] += 1
                last = traceback.extract_tb(error.__traceback__)[-1]
                said = f"{type(error).__name__}: {error}"[:200]
                faults.append([name, number, said, f"{last.filename}:{last.lineno}"])
            finally:
                signal.alarm(0)
    finally:
        os.chdir(ROOT)
        shutil.rmtree(folder, ignore_errors=True)
    return name, dict(outcomes), faults


def main() -> None:
    """Tries inputs of all readers in turn, and prints and stores what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="over all readers")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", help="a reader, or the first word of several")
    parser.add_argument("--store", action="store_true", help=f"add to {RESULTS.name}")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = [n for n in NAMES if arguments.only is None or n.startswith(arguments.only)]
    each = max(1, arguments.count // len(names))
    tasks = (
        (name, first, min(CHUNK, arguments.first + each - first))
        for first in range(arguments.first, arguments.first + each, CHUNK)
        for name in names
    )
    began = time.monotonic()
    found: dict[str, collections.Counter[str]] = {
        n: collections.Counter() for n in names
    }
    faults: list[list[Any]] = []
    with multiprocessing.Pool(arguments.processes, maxtasksperchild=50) as pool:
        for name, outcomes, wrong in pool.imap_unordered(chunk, tasks):
            found[name].update(outcomes)
            for fault in wrong:
                print(*fault, flush=True)
            faults += wrong
            if time.monotonic() - began > 60 * arguments.minutes:
                pool.terminate()
                break
    total = sum(sum(each.values()) for each in found.values())
    for name, outcomes in found.items():
        print(f"{name:40} {dict(outcomes)}")
    print(f"{total:,} inputs, {len(faults)} faults, {time.monotonic() - began:.0f} s")
    if arguments.store:
        # What was stored of these readers before is replaced, of others kept.
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        readers = dict.fromkeys(NAMES) | stored.get("readers", {})
        readers |= {n: dict(sorted(o.items())) for n, o in found.items()}
        kept = {n: o for n, o in readers.items() if o is not None and n in NAMES}
        others = [fault for fault in stored.get("faults", []) if fault[0] not in found]
        of_all = {
            "inputs": sum(sum(outcomes.values()) for outcomes in kept.values()),
            "readers": kept,
            "faults": [*others, *faults],
        }
        RESULTS.write_text(json.dumps(of_all, indent=1) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

"""Tables of runs whose truth is known: how often `judge` is wrong, right, or asks.

Each table is drawn by its number alone (`made_tables.py`): a metric from
the lists or from outside, status words, columns that count or measure, failures in
several disguises, seeds or none, grids, missing runs, rows and columns in any order, four
kinds of file. Arm B is truly better or worse by far more than the noise. Where `judge`
asks, the question is answered as a person who knows would, by typing what the message
says, and the table is judged again.

    python evidence/tables.py --count 10000
"""

import argparse
import collections
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from made_tables import judged, made

RESULTS = Path(__file__).with_name("results") / "tables.json"


def tried(number: int) -> dict[str, Any]:
    """Returns what became of one table; a traceback is an outcome, too."""
    with tempfile.TemporaryDirectory() as folder:
        table = made(number, Path(folder))
        try:
            found = judged(table)
        except Exception as error:  # counted, and shown by its number
            return {"number": number, "outcome": "traceback", "said": repr(error)[:200]}
    return {
        "number": number, "outcome": found.outcome, "asked": found.asked,
        "said": found.message[:200].replace(folder, ""), "verdict": found.verdict,
    }  # fmt: skip


def main() -> None:
    """Tries tables, and prints and stores what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.count)
    began = time.time()
    outcomes: collections.Counter[str] = collections.Counter()
    asked: collections.Counter[str] = collections.Counter()
    told: collections.Counter[str] = collections.Counter()
    with multiprocessing.Pool(arguments.processes) as pool:
        for done, found in enumerate(pool.imap_unordered(tried, numbers, 8), 1):
            outcomes[found["outcome"]] += 1
            asked.update(found.get("asked", ()))
            told["asked" if found.get("asked") else "never asked"] += 1
            if found["outcome"] not in ("right", "open"):
                print(json.dumps(found), flush=True)
            if done % 500 == 0:
                print(f"{done} of {len(numbers)}: {dict(outcomes)}", flush=True)
    counts = {
        "tables": len(numbers), "first": arguments.first, "outcomes": dict(outcomes),
        "questions": dict(asked), "tables asked about": told["asked"],
        "seconds": round(time.time() - began),
    }  # fmt: skip
    print(json.dumps(counts, indent=1))
    if arguments.store:
        RESULTS.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()

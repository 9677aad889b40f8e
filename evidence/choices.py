"""Choices among six arms of known truth: how often is the arm that is taken right?

Each choice is made as `archtrial choose` makes it, by the same functions: 16, then 32
configurations of each arm, compared on 1,000 validation examples; the arms that are left on
12 fresh seeds and 2,000 test examples. The margin is one point.

    python evidence/choices.py
"""

import argparse
import dataclasses
import functools
import json
import time

from journal import RESULTS, SEED, Journal, digest

from archtrial.calibration import Tally
from archtrial.calibration.choices import SETTINGS, ChoiceSetting, choices, worth
from archtrial.files import write
from archtrial.statistics import clopper_pearson

CHOICES = 200
CHUNK = 25


def count(setting: ChoiceSetting, index: int) -> Tally:
    """Makes one chunk of choices: a pure function of its arguments."""
    return choices(setting, SEED, index * CHUNK, CHUNK)


def row(setting: ChoiceSetting, tally: Tally) -> dict[str, object]:
    """Returns what came of a setting's choices, shares with exact 95 % intervals."""

    def share(of: int, what: str) -> list[float] | None:
        happened = tally.count(what)
        if of == 0:
            return None
        low, high = clopper_pearson(happened, of, 0.05)
        return [round(value, 4) for value in (happened / of, low, high)]

    every = tally.studies
    shown, left_open = tally.count("shown"), tally.count("open")
    return {
        "setting": setting.name,
        "choices": every,
        "worth": [
            round(float(value), 4)
            for value in worth(setting, setting.looks[setting.paid - 1])
        ],
        "shown": share(every, "shown"),
        "right where shown, of the networks": _right(
            shown, tally.count("shown, networks wrong")
        ),
        "right where shown, of the arms": _right(
            shown, tally.count("shown, arms wrong")
        ),
        "right where shown, of the arms at effort k": _right(
            shown, tally.count("shown, arms wrong at k")
        ),
        "right where undecided, of the networks": _right(
            left_open, tally.count("open, networks wrong")
        ),
        "the simplest within the margin": share(every, "simplest"),
        "finalists": round(tally.mean("finalists"), 2),
    }


def _right(of: int, wrong: int) -> list[float] | None:
    if of == 0:
        return None
    low, high = clopper_pearson(of - wrong, of, 0.05)
    return [round(value, 4) for value in ((of - wrong) / of, low, high)]


def main() -> None:
    """Fills all cells and writes their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choices", type=int, default=CHOICES)
    options = parser.parse_args()
    start = time.perf_counter()
    rows = []
    for setting in SETTINGS:
        definition = digest([dataclasses.asdict(setting)])
        found_in = Journal("choices")
        found_in.fill(
            setting.name,
            definition,
            options.choices,
            functools.partial(count, setting),
            {"margin": setting.margin},
            size=CHUNK,
        )
        found = found_in.found(setting.name, definition)
        assert found is not None
        rows.append({**row(setting, found.tally), "seconds": found.seconds})
        write(RESULTS / "choices.json", json.dumps(rows, indent=1) + "\n")
    Journal("choices").compact()
    print(f"choices: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

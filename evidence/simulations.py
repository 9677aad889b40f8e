"""Simulated studies: false claims, power, planted confounds, coverage.

Every cell is a `Setting` of `archtrial.calibration`, and its studies go through
`statistics.compare`. Resumable, and the same whatever the order or the interruptions:

    python evidence/simulations.py                 every cell, as often as it should be
    python evidence/simulations.py --studies 100   a first look at every cell
    python evidence/simulations.py --check         does the code of now count the same?
"""

import argparse
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator

from journal import RESULTS, SEED, Found, Journal, code, digest

from archtrial.calibration import Landscape, Setting, chunk, truth
from archtrial.files import write

OFTEN, SELDOM = 10_000, 1_000

_BROAD = Landscape(peak=0.6, fall=(0.3, 0.3))
_NARROW = Landscape(fall=(3.0, 3.0))
_MIDDLE, _NOTHING = (0.5,) * 4, (0.0,) * 4
_APART = (Landscape(optimum=(0.35, 0.6)), Landscape(optimum=(0.45, 0.6)))

# Two arms that come to the same score at effort k, and how they differ otherwise.
NULL: dict[str, dict[str, object]] = {
    "an arm against itself": {},
    "broad against narrow optimum": {"baseline": _BROAD, "challenger": _NARROW},
    "0 against 50 % of draws diverge": {"challenger": Landscape(diverging=0.5)},
    "20 against 50 % of draws diverge": {
        "baseline": Landscape(diverging=0.2),
        "challenger": Landscape(diverging=0.5),
    },
    # Where the boundary lies at no multiple of a power of two, as a half does.
    "0 against 60 % of draws diverge": {
        "baseline": Landscape(peak=0.7),
        "challenger": Landscape(diverging=0.6),
    },
    "0 against 30 % of seeds fail": {
        "baseline": Landscape(peak=0.55),
        "challenger": Landscape(failing=0.3),
    },
    "0 against 30 % of seeds fail, by run": {
        "challenger": Landscape(failing=0.3),
        "estimand": "run",
    },
    "30 % of seeds fail in both": {
        "baseline": Landscape(failing=0.3),
        "challenger": Landscape(failing=0.3),
    },
    "200 test examples": {"test_size": 200},
    "1,000 test examples": {"test_size": 1000},
    "unpaired": {"paired": False},
    "unpaired, broad against narrow": {
        "baseline": _BROAD,
        "challenger": _NARROW,
        "paired": False,
    },
    "optima a tenth of the range apart": {
        "baseline": _APART[0],
        "challenger": _APART[1],
    },
    "optima half the range apart": {
        "baseline": Landscape(optimum=(0.25, 0.6)),
        "challenger": Landscape(optimum=(0.75, 0.6)),
    },
    "1 against 4 hyperparameters": {
        "baseline": Landscape(peak=0.7, optimum=(0.4,), fall=(1.0,)),
        "challenger": Landscape(optimum=(0.4, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
    },
    "4 hyperparameters": {
        "baseline": Landscape(optimum=(0.4, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
        "challenger": Landscape(optimum=(0.4, 0.6, 0.5, 0.5), fall=(1.0,) * 4),
    },
    "accuracies tie (100 validation examples)": {"validation_size": 100},
    "seeds noisier off the optimum": {
        "baseline": Landscape(unevenness=9.0),
        "challenger": Landscape(unevenness=9.0),
    },
    "plateau against peak": {"baseline": Landscape(peak=0.7, plateau=0.2)},
    "6 hyperparameters, of which two matter": {
        "baseline": Landscape(optimum=(0.4, 0.6, *_MIDDLE), fall=(1.0, 1.0, *_NOTHING)),
        "challenger": Landscape(
            optimum=(0.5, 0.6, *_MIDDLE), fall=(1.0, 1.0, *_NOTHING)
        ),
    },
    "a dominating learning rate": {
        "baseline": Landscape(optimum=(0.35, 0.6, 0.5, 0.5), fall=(3.0, 0.1, 0.1, 0.1)),
        "challenger": Landscape(
            optimum=(0.45, 0.6, 0.5, 0.5), fall=(3.0, 0.1, 0.1, 0.1)
        ),
    },
    "choices among the hyperparameters": {
        "baseline": Landscape(
            optimum=(0.35, 0.5, 0.25), fall=(1.0, 1.0, 0.4), choices=(0, 3, 2)
        ),
        "challenger": Landscape(
            optimum=(0.45, 1 / 6, 0.75), fall=(1.0, 0.3, 0.4), choices=(0, 3, 2)
        ),
    },
    "a hyperparameter of one arm alone": {
        "baseline": _APART[0],
        "challenger": Landscape(optimum=(0.45, 0.6, 0.3), fall=(1.0, 1.0, 2.0)),
    },
    "a ridge along two hyperparameters": {
        "baseline": Landscape(optimum=(0.35, 0.6), fall=(0.2, 0.2), ridge=2.0),
        "challenger": Landscape(optimum=(0.45, 0.6), fall=(0.2, 0.2), ridge=2.0),
    },
    "two optima": {
        "baseline": Landscape(
            optimum=(0.2, 0.3), fall=(2.0, 2.0), second=(0.8, 0.7), lower=0.02
        ),
        "challenger": Landscape(
            optimum=(0.8, 0.6), fall=(2.0, 2.0), second=(0.25, 0.4), lower=0.02
        ),
    },
}

# Failures so rare that most studies see none: no method knows of what it has not seen.
RARE = (0.02, 0.05, 0.1)

SAMPLING = ("sobol", "random")
SIZES = ((16, 4), (32, 4))
# Other numbers of configurations and efforts: the first for every setting, the others
# for those that are hardest and the plain one.
MORE_SIZES = ((64, 8), (32, 8), (24, 4), (48, 4))
_MORE = (
    "an arm against itself",
    "broad against narrow optimum",
    "0 against 50 % of draws diverge",
    "0 against 30 % of seeds fail, by run",
    "200 test examples",
    "unpaired",
    "1 against 4 hyperparameters",
    "plateau against peak",
)

MARGIN = 0.01
# The multiples of the margin that are planted.
PLANTED = (0.0, 0.5, 1.0, 2.0, 3.0)
POWER: dict[str, dict[str, object]] = {
    "n = 16, k = 4": {"configurations": 16, "effort": 4},
    "n = 32, k = 4": {"configurations": 32, "effort": 4},
    "n = 64, k = 8": {"configurations": 64, "effort": 8},
    "n = 32, k = 4, unpaired": {"configurations": 32, "effort": 4, "paired": False},
    "n = 16, k = 4, the same optimum": {
        "configurations": 16,
        "effort": 4,
        "baseline": Landscape(),
        "challenger": Landscape(),
    },
    "n = 32, k = 4, the same optimum": {
        "configurations": 32,
        "effort": 4,
        "baseline": Landscape(),
        "challenger": Landscape(),
    },
}


_NEW = {"sampling", "ridge", "second", "lower", "choices"}


def described(setting: Setting) -> dict[str, object]:
    """Returns a setting as its digest is taken of.

    What settings had no word for at first is left out where it says nothing.
    """
    found = dataclasses.asdict(setting)
    for part, plain in (
        (found, Setting("plain")),
        (found["baseline"], Landscape()),
        (found["challenger"], Landscape()),
    ):
        for name in _NEW & part.keys():
            if part[name] == getattr(plain, name):
                del part[name]
    return found


@dataclasses.dataclass(frozen=True)
class Cell:
    """A setting, with where its results lie and how many studies it shall have."""

    journal: str
    name: str
    setting: Setting
    studies: int

    def fill(self, studies: int) -> None:
        """Brings the cell to a number of studies."""
        done = self.found()
        if done is not None and done.tally.studies >= studies:
            return
        known = truth(self.setting)
        Journal(self.journal).fill(
            self.name,
            self._definition,
            studies,
            lambda number: chunk(self.setting, known, SEED, number),
            {
                "gain": known.gain[self.setting.estimand],
                "gain_error": known.error,
                "match": known.match[self.setting.estimand],
            },
        )

    def found(self) -> Found | None:
        """Returns what is known of it."""
        return Journal(self.journal).found(self.name, self._definition)

    def stands(self) -> bool | None:
        """Says whether the code of now counts what was counted in the first chunk.

        None where nothing is known of the cell.
        """
        before = Journal(self.journal).first(self.name, self._definition)
        if before is None:
            return None
        now = chunk(self.setting, truth(self.setting), SEED, 0)
        names = {*before.counts, *now.counts}
        return all(
            before.counts.get(name, 0) == now.counts.get(name, 0)
            for name in names
            if not name.startswith("sum")  # whose last digits may be others
        )

    @property
    def size(self) -> tuple[int, int]:
        """Returns n and k."""
        return self.setting.configurations, self.setting.effort

    @property
    def _definition(self) -> str:
        return digest(described(self.setting))


def journal(kind: str, sampling: str) -> str:
    """Returns the journal's name; each way of drawing has its own."""
    return kind if sampling == "random" else f"{kind}-{sampling}"


def _cell(journal: str, name: str, studies: int, **setting: object) -> Cell:
    return Cell(journal, name, Setting(name, **setting), studies)  # type: ignore[arg-type]


def null_cells() -> Iterator[Cell]:
    """No true gain: who claims one is wrong."""
    for n, k in SIZES + MORE_SIZES:
        for name, setting in NULL.items():
            if (n, k) in (*SIZES, MORE_SIZES[0]) or name in _MORE:
                for sampling in SAMPLING:
                    yield _cell(
                        journal("null", sampling),
                        f"{name}, n = {n}, k = {k}",
                        OFTEN if (n, k) in SIZES else SELDOM,
                        configurations=n,
                        effort=k,
                        sampling=sampling,
                        **setting,
                    )


def rare_cells() -> Iterator[Cell]:
    """Seeds of one arm that fail so seldom that most studies see none that did."""
    for sampling, share in itertools.product(SAMPLING, RARE):
        yield _cell(
            journal("rare", sampling),
            f"0 against {share:.0%} of seeds fail, n = 16, k = 4",
            SELDOM,
            challenger=Landscape(failing=share),
            sampling=sampling,
        )


def power_cells() -> Iterator[Cell]:
    """Planted gains, between arms whose optima lie a tenth of the range apart."""
    arms = {"baseline": _APART[0], "challenger": _APART[1]}
    for sampling in SAMPLING:
        for (name, design), share in itertools.product(POWER.items(), PLANTED):
            # One name for all gains: the curve is drawn on the same studies.
            setting = Setting(
                f"power, {name}",
                **{**arms, **design},  # type: ignore[arg-type]
                margin=MARGIN,
                effect=share * MARGIN,
                sampling=sampling,
            )
            yield Cell(
                journal("power", sampling),
                f"{name}, gain {share:g} margins",
                setting,
                SELDOM,
            )


def confound_cells() -> Iterator[Cell]:
    """Published numbers 3 points apart: from tuning alone, and from a true gain."""
    arms = {"baseline": _APART[0], "challenger": _APART[1]}
    for sampling, (published, gain) in itertools.product(
        SAMPLING, (("untuned baseline", 0.0), ("tuned baseline", 0.03))
    ):
        for n, k, design in (
            *((n, k, {}) for n, k in ((16, 4), (32, 4), (64, 8))),
            (32, 4, arms),
        ):
            where = ", optima a tenth apart" if design else ""
            yield _cell(
                journal("confound", sampling),
                f"{published}, true gain {gain:g}, n = {n}, k = {k}{where}",
                SELDOM,
                configurations=n,
                effort=k,
                margin=MARGIN,
                published=published,
                effect=gain,
                sampling=sampling,
                **design,
            )


def coverage_cells() -> Iterator[Cell]:
    """The null cells' surfaces with a gain of 3 points, where the two must differ."""
    for sampling, name in itertools.product(SAMPLING, _MORE):
        yield _cell(
            journal("coverage", sampling),
            f"{name}, gain 0.03, n = 16, k = 4",
            SELDOM,
            effect=0.03,
            sampling=sampling,
            **NULL[name],
        )


def permutation_cells() -> Iterator[Cell]:
    """The same studies with fewer draws, and with as many as a verdict has."""
    for name, draws in itertools.product(
        ("an arm against itself", "broad against narrow optimum"),
        ((999, 1000), (9999, 2000)),
    ):
        setting = Setting(
            f"permutations, {name}",
            **NULL[name],  # type: ignore[arg-type]
            permutations=draws[0],
            resamples=draws[1],
        )
        yield Cell(
            "permutations", f"{name}, {draws[0]:,} and {draws[1]:,}", setting, SELDOM
        )


def cells() -> list[Cell]:
    """Returns all of them."""
    return [
        *null_cells(),
        *rare_cells(),
        *power_cells(),
        *confound_cells(),
        *coverage_cells(),
        *permutation_cells(),
    ]


def check() -> None:
    """Carries out the first chunk of every cell again, by the code of now.

    The statistics may have become faster or learnt more since a cell was simulated;
    the page says whether they still come to the same verdicts.
    """
    stands = {cell.name: cell.stands() for cell in cells()}
    known = {name: same for name, same in stands.items() if same is not None}
    other = [name for name, same in known.items() if not same]
    found = {"statistics": code(), "cells": len(known), "other": other}
    write(RESULTS / "check.json", json.dumps(found, indent=1) + "\n")
    print(f"check: {len(known)} cells, {len(other)} with other counts: {other}")


def main() -> None:
    """Fills all cells, so that each is known a little before any is known well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, help="at most this many of each cell")
    parser.add_argument("--only", help="one journal, such as null")
    parser.add_argument(
        "--check", action="store_true", help="does the code of now count the same?"
    )
    options = parser.parse_args()
    if options.check:
        check()
        return
    start = time.perf_counter()
    every = [cell for cell in cells() if options.only in (None, cell.journal)]
    most = options.studies or OFTEN
    smallest = [cell for cell in every if cell.size == SIZES[0]]
    usual = [cell for cell in every if cell.size in SIZES]
    more = [cell for cell in every if cell.size not in SIZES]
    # What tells most comes first.
    passes = ((usual, SELDOM), (more, SELDOM), (smallest, OFTEN), (usual, OFTEN))
    for part, limit in passes:
        for cell in part:
            cell.fill(min(cell.studies, limit, most))
    for name in {cell.journal for cell in every}:
        Journal(name).compact()
    print(f"simulations: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

"""Whether configurations look like independent draws.

A grid does not, nor what a tuner chose, nor the repeats of one draw.
"""

import math
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its statistics load when they are first used
from pandas.api.types import is_numeric_dtype
from scipy import special

from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records import scores
from archtrial.records.configurations import HYPER

__all__ = ["check_measured", "check_repeated", "noticed", "swept"]

_MOST_LEVELS = 12
"""Draws from a range have more values than that; a grid has fewer."""
_MOST_NUMBERS = 20
"""Repeats that are numbered have fewer numbers; what was measured has more."""
_AGAIN = {
    "fold", "split", "replicate", "replica", "rep", "reps", "repetition", "repeat",
    "repeats", "rerun", "init", "restart", "attempt",
}  # fmt: skip
"""Words of what was repeated; nobody tunes it."""
_MOSTLY = 0.75
_WHOLE = 0.8
"""A product of levels of which so much was tried is a grid."""
_LEVEL = 1e-4
"""How rarely random draws look like a tuner's, over all arms and hyperparameters."""


def noticed(
    frame: pd.DataFrame,
    names: Sequence[str],
    hyperparameters: Mapping[str, pd.Series],
    place: str,
) -> list[str]:
    """Returns a sentence where the configurations are a grid.

    Args:
        frame: Runs; those with "number" 0 are a search's, in the order of the table.
        names: The arms.
        hyperparameters: By name, a value for each run.
        place: The table, for messages.

    Raises:
        RecordsError: The draws of an arm close in on a part of the space, as those of
            an adaptive tuner do.
    """
    tests = max(1, len(names) * len(hyperparameters))
    notes = []
    for arm in names:
        own = frame[((frame["arm"] == arm) & (frame["number"] == 0)).to_numpy()]
        own = own.sort_values("row", kind="stable")
        drawn = {
            name: values.loc[own.index] for name, values in hyperparameters.items()
        }
        varied = {name: v for name, v in drawn.items() if v.nunique(dropna=False) > 1}
        levels = _grid(varied)
        if levels is not None:
            notes.append((arm, levels))
            continue
        cell = _crowded(varied, _LEVEL / max(1, len(names)))
        if cell is not None:
            raise RecordsError(
                "runs are independent random draws",
                f"{place}: {cell[1]} of {cell[2]} configurations of {arm} are the same"
                f" one ({cell[0]}), as an adaptive tuner's choices are",
                "If the search was random, say so: --tuner random; if a tuner chose,"
                " give whole repeats of it: --repeat-column COLUMN.",
            )
        for name, values in varied.items():
            if _closes_in(values, _LEVEL / tests):
                raise RecordsError(
                    "runs are independent random draws",
                    f"{place}: {name} of {arm} closes in on a part of its range, as an"
                    " adaptive tuner's choices do",
                    "If the search was random, say so: --tuner random; if a tuner chose,"
                    " give whole repeats of it: --repeat-column COLUMN.",
                )
    if not notes:
        return []
    arm, levels = notes[0]
    who = "each arm" if len(notes) == len(names) else ", ".join(a for a, _ in notes)
    shape = " x ".join(f"{count} of {name}" for name, count in levels.items())
    return [
        f"The configurations of {who} are a grid ({shape}), not random draws: the"
        " verdict is about trials drawn from these very values, and the interval does"
        " not know what lies between them."
    ]


def check_repeated(
    kept: Mapping[str, pd.Series],
    frame: pd.DataFrame,
    place: str,
    varied: Collection[str] = (),
) -> None:
    """Asks about a column that comes with all its values at each draw of all else.

    Draws from a range do not come twice, so it numbers repeats, folds or starts, or
    else was tried on purpose at each draw: as a part of the configuration it would
    multiply the trials that the verdict counts. Among the levels of a grid it is asked
    about where it may be a number of repeats, by its values and its name.

    Args:
        kept: By name, what may be hyperparameters, a value for each run.
        frame: The runs.
        place: The table, for messages.
        varied: Those of which a search's own export says that it varied them.

    Raises:
        RecordsError: There is such a column.
    """
    arms = frame["arm"]
    tuned = [name for name in kept if naming.tuned(name)]
    for name in [n for n in kept if n not in tuned and n not in varied]:
        values = kept[name]
        again = bool(_AGAIN & set(naming.words(name))) and not naming.chosen(name)
        every = values.groupby(arms).nunique().max()
        rest = [other for other in kept if other != name]
        for told in (rest, tuned):
            if not told:
                continue
            draws = _grouped(told, kept, arms)
            from_range = _most_levels(told, kept, arms) > _MOST_LEVELS
            cells = _grouped([*told, name], kept, arms)
            numbers = (
                _numbering(values)
                and not naming.chosen(name)
                # A number of a repeat comes once at each draw.
                and cells.duplicated().mean() < 1 - _MOSTLY
            )
            if not (again or from_range or numbers):
                continue
            found = values.groupby(draws).nunique()
            usual = found.mode().max()
            if usual < 2 or len(found) < 4 or (found == usual).mean() < _MOSTLY:
                continue
            if not (again or from_range) and usual < every:
                continue  # levels that come together by chance
            first = scores.texts(frame[HYPER + name]).iloc[0]
            where = shlex.join(["--where", f"{name}={first}"])
            ways = [f"if one of its values is enough: {where}"]
            if values.nunique() > _MOST_NUMBERS:
                ways = [f"if it was measured: {_tuned_were(rest)}"]
            elif not _seeded(cells, frame):
                ways.insert(0, _as_seeds(name))
            ways.append(f"if it was tuned: {_tuned_were(kept)}")
            raise _not_told(
                place,
                f"{name} takes {usual} values at each draw of {', '.join(told[:4])}, so"
                " that it may number repeats of one configuration",
                ways,
            )


def check_measured(
    kept: Mapping[str, pd.Series],
    frame: pd.DataFrame,
    place: str,
    given: Collection[str] = (),
) -> None:
    """Asks about columns that differ in every run while all else comes equally often.

    Measured, they leave repeats of one configuration; tuned, as many configurations
    as runs. Independent draws hardly come so evenly.

    Args:
        kept: By name, what may be hyperparameters, a value for each run.
        frame: The runs.
        place: The table, for messages.
        given: Those of which a tracker says that they were given to a run.

    Raises:
        RecordsError: There are such columns.
    """
    arms = frame["arm"]
    apart = [
        name
        for name, values in kept.items()
        if not naming.never_seen(name) and _own(values, arms, name in given)
    ]
    rest = [name for name in kept if name not in apart]
    if not apart or not rest:
        return
    draws = _grouped(rest, kept, arms)
    seeded = "seed" in frame and frame["seed"].nunique() > 1
    if (
        seeded
        and pd.DataFrame({"draw": draws, "seed": frame["seed"]}).duplicated().any()
    ):
        return  # all else does not tell the runs apart
    counts = draws.value_counts()
    usual = int(counts.mode().max())
    even = usual > 1 and counts.max() == usual and (counts == usual).mean() >= _MOSTLY
    if not even or draws.groupby(arms).nunique().min() < 4:
        return
    shown = ", ".join(apart[:4])
    it = "it was" if len(apart) == 1 else "they were"
    same = " --seed-column none" if "seed" in frame and not seeded else ""
    ways = [f"if {it} measured: {_tuned_were(rest)}{same}"]
    whole = all((kept[name] % 1 == 0).all() for name in apart)
    if len(apart) == 1 and whole and not seeded:
        ways.insert(0, _as_seeds(apart[0]))
    ways.append(f"if {it} tuned: {_tuned_were(kept)}")
    raise _not_told(
        place,
        f"but for {shown}, {usual} runs each are alike in {', '.join(rest[:4])}, so that"
        " they may be repeats of one configuration",
        ways,
    )


def _not_told(place: str, what: str, ways: Sequence[str]) -> RecordsError:
    way = "; ".join(ways)
    return RecordsError(
        "what a configuration is made of is told by the table",
        f"{place}: {what}",
        f"{way[0].upper()}{way[1:]}.",
    )


def _as_seeds(name: str) -> str:
    return f"if it numbers repeats: {shlex.join(['--seed-column', name])}"


def _grouped(
    names: Sequence[str], kept: Mapping[str, pd.Series], arms: pd.Series
) -> pd.Series:
    """Returns a number for each draw of some columns in each arm."""
    keys = pd.DataFrame({"arm": arms, **{name: kept[name] for name in names}})
    return keys.groupby(list(keys), dropna=False, sort=False).ngroup()


def _most_levels(
    names: Sequence[str], kept: Mapping[str, pd.Series], arms: pd.Series
) -> int:
    return max(int(kept[name].groupby(arms).nunique().max()) for name in names)


def _seeded(draws: pd.Series, frame: pd.DataFrame) -> bool:
    """Says whether draws come with several seeds each: their repeats are known."""
    if "seed" not in frame:
        return False
    return bool((frame["seed"].groupby(draws).nunique() > 1).mean() >= _MOSTLY)


def _numbering(values: pd.Series) -> bool:
    """Says whether levels may be the numbers of repeats: 0, 1, 2, or "r1", "r2".

    What grows by a constant factor is a range that was tried.
    """
    levels = sorted(values.dropna().unique())
    if not is_numeric_dtype(values):
        parts = [re.fullmatch(r"(.*?)(\d{1,9})", level) for level in levels]
        if len({part and part[1] for part in parts}) > 1 or not parts[0]:
            letters = [ord(level) for level in levels if len(level) == 1]
            return len(letters) == len(levels) and set(np.diff(letters)) == {1}
        levels = sorted(int(part[2]) for part in parts if part)
        return set(np.diff(levels)) == {1}
    if len(levels) > _MOST_LEVELS or any(level % 1 for level in levels):
        return False
    steps = len(levels) > 2 and min(levels) > 0 and np.diff(np.log(levels))
    return not (np.ndim(steps) and np.ptp(steps) < 1e-9)


def _own(values: pd.Series, arms: pd.Series, given: bool) -> bool:
    """Says whether (nearly) each run has a value of its own, as a measurement has.

    What two arms have in common was drawn, or else numbers their repeats.
    """
    if not is_numeric_dtype(values):
        return False
    whole = bool((values % 1 == 0).all())
    if given and not whole:
        return False
    each = [own.dropna() for _, own in values.groupby(arms)]
    if any(own.nunique() < max(2, _MOSTLY * len(own)) for own in each):
        return False
    common = set.intersection(*(set(own) for own in each))
    return whole or len(common) < _MOSTLY * min(len(own) for own in each)


def _tuned_were(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Returns the option that names what was tuned, as a shell takes it."""
    return shlex.join(["--hyperparameters", ",".join(names)])


def swept(frame: pd.DataFrame, paired: bool, place: str) -> list[str]:
    """Returns a sentence where one sweep of W&B's drew the same for all arms.

    W&B's table of runs names the sweep and not its method, which may be "bayes". Of
    one sweep over all arms such a method hardly repeats its draws arm by arm.

    Args:
        frame: Runs, with their "sweep" where the table has it; "" means none.
        paired: Whether the arms have the same draws.
        place: The table, for messages.

    Raises:
        RecordsError: The draws do not tell that the method is none that adapts.
    """
    if "sweep" not in frame:
        return []
    sweeps = list(dict.fromkeys(frame["sweep"].fillna("")))
    if sweeps == [""]:
        return []
    if len(sweeps) == 1 and paired:
        return [
            f"The method of the sweep {sweeps[0]} is not in the table. It gave all arms"
            " the same draws, which an adaptive one would not: they are taken for"
            " random draws or a grid."
        ]
    shown = ", ".join(sweep or "(none)" for sweep in sweeps[:6])
    raise RecordsError(
        "runs are independent random draws",
        f"{place} has runs of W&B's sweeps ({shown}), and does not say by which method"
        " they drew",
        "If it was random or grid, say so: --tuner random; if bayes, give whole repeats"
        " of it: --repeat-column COLUMN.",
    )


def _grid(varied: Mapping[str, pd.Series]) -> dict[str, int] | None:
    """Returns how many levels each hyperparameter has where all combinations stand."""
    levels = {name: int(v.nunique(dropna=False)) for name, v in varied.items()}
    if not levels or max(levels.values()) > _MOST_LEVELS:
        return None
    tried = pd.DataFrame(dict(varied)).drop_duplicates()
    cells = math.prod(levels.values())
    rows = len(next(iter(varied.values())))
    if len(levels) < 2:
        # One hyperparameter: as many runs at each of a few values.
        counts = next(iter(varied.values())).value_counts(dropna=False)
        return levels if counts.max() == counts.min() else None
    # Few cells are filled by random draws as well, but not once each.
    evenly = rows <= len(tried) * math.ceil(rows / cells)
    return levels if len(tried) >= _WHOLE * cells and evenly else None


def _crowded(
    varied: Mapping[str, pd.Series], level: float
) -> tuple[str, int, int] | None:
    """Returns the one combination of levels that stands there far too often."""
    if not varied:
        return None
    counts = pd.DataFrame(dict(varied)).value_counts(dropna=False)
    rows, most = int(counts.sum()), int(counts.iloc[0])
    if most < 4 or len(counts) < 2:
        return None
    chance = len(counts) * scipy.stats.binom.sf(most - 1, rows, 1 / len(counts))
    if chance >= level:
        return None
    shown = ", ".join(
        f"{name} {value}"
        for name, value in zip(counts.index.names, counts.index[0], strict=True)
    )
    return shown, most, rows


def _closes_in(values: pd.Series, level: float) -> bool:
    """Says whether the later draws crowd where the earlier ones were spread."""
    if not is_numeric_dtype(values) or values.isna().any() or len(values) < 16:
        return False
    known = values.to_numpy(np.float64)
    if (known > 0).all() and known.max() > 100 * known.min():
        known = np.log(known)
    if len(np.unique(known)) < len(known) / 2:
        return False  # levels, whose spread says little
    early, late = np.array_split(known, 2)
    ratio = np.var(late, ddof=1) / max(float(np.var(early, ddof=1)), 1e-300)
    return bool(
        ratio < 0.25 and special.fdtr(len(late) - 1, len(early) - 1, ratio) < level
    )

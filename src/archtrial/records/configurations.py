"""Which runs are one configuration, which of them its search, and what pairs two arms.

A row is one run. A configuration is told by its own column, by the pair's, or by
equal hyperparameters; where nothing tells it, each run is one. Fresh seeds are what
else a configuration has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records import scores
from archtrial.records.columns import Wanted

__all__ = [
    "HYPER",
    "check_searched",
    "configured",
    "hyperparameters",
    "paired",
    "plain_number",
    "repeats",
    "space",
]

HYPER = "hyperparameter "
"""Columns of a hyperparameter carry this before their name, so that none is a role."""
_MOST_OPTIONS = 20
"""A text with more values than this names something; it chooses nothing."""
_FEW_NUMBERS = 10
"""Up to so many different numbers are options: a tenth of a range holds none or all."""
_LOG_RATIO = 100
_LEAST_REPEATS = 4


def repeats(
    frame: pd.DataFrame, lower_is_better: bool, place: str
) -> tuple[pd.DataFrame, list[str]]:
    """Returns one row for each whole repeat of a tuner: its best by validation."""
    sign = -1 if lower_is_better else 1
    if (frame["repeat"] == "").any():
        row = frame.loc[(frame["repeat"] == "").to_numpy(), "row"].iloc[0]
        raise RecordsError("every run belongs to a repeat", f"{place}, row {row}: none")
    groups = frame.groupby(["arm", "repeat"], sort=False)
    turned = (sign * frame["validation"]).fillna(-np.inf)
    best = turned.groupby([frame["arm"], frame["repeat"]], sort=False).idxmax()
    trials = groups.size()
    found = frame.loc[best].reset_index(drop=True)
    if "cost" in frame:
        costs = pd.Series(scores.numbers(frame, "cost"), index=frame.index)
        found["cost"] = (
            costs.groupby([frame["arm"], frame["repeat"]], sort=False).sum().to_numpy()
        )
    found["configuration"] = found["repeat"]
    few = found["arm"].value_counts()
    if (few < _LEAST_REPEATS).any():
        arm = few.index[few < _LEAST_REPEATS][0]
        raise RecordsError(
            f"an arm has at least {_LEAST_REPEATS} whole repeats of its tuner",
            f"{place}: {arm} has {few[arm]}",
            "A repeat is one unit, however many trials it had: run the tuner again with"
            " other seeds.",
        )
    spent = sorted(set(trials))
    return found, [
        "Each unit is one whole run of a tuner"
        f" ({_span(spent)} trials), and its score that of its best by validation: effort"
        " 1 means one such run."
        + (
            " Repeats differ in their number of trials, which favours the longer ones."
            if len(spent) > 1
            else ""
        )
    ]


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def hyperparameters(
    frame: pd.DataFrame,
) -> tuple[dict[str, pd.Series], list[str]]:
    """Returns the columns that vary, as numbers or as texts, and the others' names."""
    found, others = {}, []
    for column in [name for name in frame if name.startswith(HYPER)]:
        name = column.removeprefix(HYPER)
        cells = frame[column]
        if scores.nested(cells):
            others.append(name)
            continue
        values = pd.to_numeric(cells, errors="coerce").astype(np.float64)
        unread = ~np.isfinite(values.to_numpy())
        if unread.any() and (scores.texts(cells[unread]) != "").any():
            texts = scores.texts(cells)
            values = texts.where(texts != "", None)
        different = values.nunique()
        if different < 2 or (
            not is_numeric_dtype(values) and different > _MOST_OPTIONS
        ):
            others.append(name)
        else:
            found[name] = values
    return found, others


def configured(
    frame: pd.DataFrame,
    hyperparameters: Mapping[str, pd.Series],
    wanted: Wanted,
    place: str,
) -> tuple[pd.DataFrame, list[str]]:
    """Says which runs are of one configuration, and which of them is its search."""
    notes: list[str] = []
    by = next((r for r in ("configuration", "pair") if r in frame), None)
    if by is not None:
        identity = frame[by]
        if (identity == "").any():
            row = frame.loc[(identity == "").to_numpy(), "row"].iloc[0]
            raise RecordsError(f"every run has a {by}", f"{place}, row {row}: none")
        key = pd.factorize(identity)[0]
    elif "seed" in frame and hyperparameters:
        key = (
            pd.DataFrame(dict(hyperparameters))
            .groupby(list(hyperparameters), dropna=False, sort=False)
            .ngroup()
            .to_numpy()
        )
        by = "hyperparameters"
    else:
        if "seed" in frame and (frame.groupby("arm")["seed"].nunique() > 1).any():
            raise RecordsError(
                "runs with different seeds say which configuration they are of",
                f"{place} has seeds, and neither a configuration nor hyperparameters",
                "If only the tuned models were run again, the search behind them is"
                " gone, and with it the answer: whether the architecture or its tuning"
                " made the difference cannot be told from seeds alone. Else name"
                " --configuration COLUMN or --hyperparameters A,B; if every row is a"
                f" configuration of its own: --configuration {naming.ROW}.",
            )
        key = np.arange(len(frame))
    frame = frame.assign(key=key, by=by)
    if "repeat" in frame and wanted.repeat is not None:
        return frame.assign(number=0), notes
    again = ["arm", "key", "seed"] if "seed" in frame else None
    if again is not None:
        _refuse_twice(frame, frame.duplicated(again, keep=False), again[1:], place)
    scored = [
        r
        for r in ("arm", "validation", "test", "configuration", "pair", "run", "seed")
        if r in frame
    ]
    if hyperparameters or by is not None:
        whole = pd.DataFrame(
            {**{role: frame[role] for role in scored}, **dict(hyperparameters)}
        )
        same = whole.duplicated(keep=False) & ~frame["diverged"]
        _refuse_twice(frame, same, None, place, whole)
    frame["number"] = _seed_numbers(frame)
    return frame, notes


def _refuse_twice(
    frame: pd.DataFrame,
    twice: pd.Series,
    by: Sequence[str] | None,
    place: str,
    whole: pd.DataFrame | None = None,
) -> None:
    if not twice.any():
        return
    first = frame[twice.to_numpy()].iloc[0]
    columns = (
        ["arm", *by] if by is not None else list(whole if whole is not None else ())
    )
    table = frame if whole is None else whole
    reference = table.loc[first.name, columns]
    same = (
        (table[columns] == reference) | (table[columns].isna() & reference.isna())
    ).all(axis=1)
    one, other, *_ = zip(
        frame.loc[same.to_numpy(), "source"],
        frame.loc[same.to_numpy(), "row"],
        strict=True,
    )
    what = f"arm {first['arm']}" + (
        f", seed {first['seed']}" if "seed" in frame else ""
    )
    again = f"row {other[1]}" + (f" of {other[0]}" if other[0] != one[0] else "")
    raise RecordsError(
        "every run stands in the table once",
        f"{one[0]}: {what} in row {one[1]} and again in {again}",
        "Remove the copy; or, if these are different runs, name the column that tells"
        " them apart: --configuration COLUMN or --seed-column COLUMN.",
    )


def _seed_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Returns 0 for the search run of each configuration, 1, 2, ... for fresh seeds.

    Where all configurations share a seed, that one was searched with: the winner's
    further seeds may stand before it in a table that shows the newest first.
    """
    late = np.zeros(len(frame))
    if "seed" in frame:
        for _, own in frame.groupby("arm", sort=False):
            counts = own["seed"].value_counts()
            if counts.iloc[0] > 1:
                late[own.index] = -own["seed"].map(counts).to_numpy()
    order = frame.assign(late=late).sort_values("late", kind="stable")
    numbers: np.ndarray = (
        order.groupby(["arm", "key"], sort=False).cumcount().sort_index().to_numpy()
    )
    return numbers


def check_searched(frame: pd.DataFrame, names: Sequence[str], place: str) -> None:
    """Refuses arms of which only the winner is reported."""
    counts = frame[frame["number"] == 0]["arm"].value_counts()
    for arm in names:
        n = int(counts.get(arm, 0))
        if n < 4:
            runs = int((frame["arm"] == arm).sum())
            raise RecordsError(
                "a verdict needs the search of every arm: 4 configurations at least",
                f"{place}: {arm} has {n}"
                + (f" with {runs} runs in all" if runs > n else ""),
                "Where only the winners are reported, the search behind them is gone,"
                " and nobody can tell any more how much of a score is tuning.",
            )


def paired(
    frame: pd.DataFrame,
    names: Sequence[str],
    hyperparameters: Mapping[str, pd.Series],
    wanted: Wanted,
    place: str,
) -> tuple[bool, str, list[str]]:
    """Numbers the configurations, the same in two arms where they have one draw.

    Returns:
        Whether the arms are paired, by what, and notes.
    """
    how = ""
    if wanted.repeat is None and "pair" in frame:
        how, keys = "pair", frame["pair"]
    elif wanted.repeat is None and hyperparameters:
        shared = pd.DataFrame(dict(hyperparameters))
        keys = shared.groupby(list(shared), dropna=False, sort=False).ngroup()
        how = "equal hyperparameters"
    else:
        keys = pd.Series(np.arange(len(frame)))
    searched = (frame["number"] == 0).to_numpy()
    of_arm = {
        arm: list(keys[searched & (frame["arm"] == arm).to_numpy()]) for arm in names
    }
    sets = {arm: set(found) for arm, found in of_arm.items()}
    once = all(len(sets[arm]) == len(of_arm[arm]) for arm in names)
    base, *others = names
    nested = (
        all(sets[a] == sets[others[0]] for a in others)
        and sets[others[0]] <= sets[base]
    )
    paired = bool(how) and once and nested
    notes = []
    if how == "pair":
        common = set.intersection(*sets.values())
        if not common and wanted.pair is not None:
            raise RecordsError(
                "a pair has a run in every arm",
                f"{place}: no value of the pair column stands in both {base} and"
                f" {others[0]}",
                "Name the column that says which runs have the same draw, or leave the"
                " pairs out: --pair none.",
            )
        if common:
            _check_same_draws(frame[searched], names, hyperparameters, place)
        if not once:
            raise RecordsError(
                "a pair is one configuration of each arm",
                f"{place}: a pair has several in one arm",
                "Name another column, or leave the pairs out: --pair none.",
            )
        if not paired:
            notes.append(
                f"{len(common) or 'No'} pairs stand in every arm: the arms are compared"
                " unpaired, which needs more runs to see the same."
            )
    elif not paired and wanted.repeat is None:
        notes.append(
            "The arms were searched with different pairs: they are compared unpaired,"
            " which needs more runs to see the same."
        )
    if paired:
        first = dict.fromkeys(k for k in of_arm[base] if k in sets[others[0]])
        order = {key: i for i, key in enumerate(dict.fromkeys([*first, *of_arm[base]]))}
        frame["pair_number"] = keys.map(order).to_numpy()
    else:
        frame["pair_number"] = frame.groupby(["arm", "key"], sort=False).ngroup()
    return paired, how if paired else "", notes


def _check_same_draws(
    searched: pd.DataFrame,
    names: Sequence[str],
    hyperparameters: Mapping[str, pd.Series],
    place: str,
) -> None:
    """Refuses pairs whose runs have nothing to do with one another.

    Pairs have equal draws in some hyperparameter: equal values or, where the ranges
    differ, values in the same order.
    """

    def rows(arm: str) -> pd.Series:
        """The row of each pair."""
        own = searched[searched["arm"] == arm]
        return (
            pd.Series(own.index, index=own["pair"]).groupby(level=0, sort=False).first()
        )

    base = rows(names[0])
    for arm in names[1:]:
        other = rows(arm)
        common = [pair for pair in base.index if pair in other.index]
        told = []
        for name, values in hyperparameters.items():
            one = values.loc[base[common]].reset_index(drop=True)
            two = values.loc[other[common]].reset_index(drop=True)
            if (
                one.isna().any()
                or two.isna().any()
                or min(one.nunique(), two.nunique()) < 2
            ):
                continue
            agree = float((one == two).mean())
            if is_numeric_dtype(values):
                agree = max(agree, float(one.rank().corr(two.rank())))
            told.append((agree, name, one.iloc[0], two.iloc[0]))
        if told and max(told)[0] < 0.5:
            _, name, here, there = max(told)
            raise RecordsError(
                "the runs of a pair have the same draw",
                f"{place}: in pair {common[0]}, {name} is {here} for {names[0]} and"
                f" {there} for {arm}",
                "Name the column that pairs them, or leave the pairs out: --pair none.",
            )


def space(
    own: pd.DataFrame, hyperparameters: Mapping[str, pd.Series]
) -> dict[str, Any]:
    """Returns the range that was tried of each hyperparameter that an arm has.

    Each is written as a protocol declares it. On a log scale lies what is positive
    and spans more than a factor of 100.
    """
    space: dict[str, Any] = {}
    for name, values in hyperparameters.items():
        tried = values.loc[own.index]
        different = tried.nunique()
        if tried.isna().any() or different < 2:
            continue
        if not is_numeric_dtype(tried):
            space[name] = sorted(tried.unique())
        elif different <= _FEW_NUMBERS:
            space[name] = [plain_number(v) for v in sorted(tried.unique())]
        else:
            low, high = float(tried.min()), float(tried.max())
            whole = bool((tried % 1 == 0).all())
            space[name] = {
                "low": int(low) if whole else low,
                "high": int(high) if whole else high,
                **({"log": True} if low > 0 and high > _LOG_RATIO * low else {}),
                **({"integer": True} if whole else {}),
            }
    return space


def plain_number(value: float) -> float | int:
    """Returns a whole number as an int."""
    return int(value) if float(value).is_integer() else float(value)

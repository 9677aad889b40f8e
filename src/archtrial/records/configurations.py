"""Which runs are one configuration, which of them its search, and what pairs two arms.

A row is one run. A configuration is told by its own column, by the pair's, or by
equal hyperparameters; where nothing tells it, each run is one. Fresh seeds are what
else a configuration has.
"""

import functools
import shlex
from collections import Counter
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
    "told_apart",
]

HYPER = "hyperparameter "
"""Columns of a hyperparameter carry this before their name, so that none is a role."""
_MOST_OPTIONS = 20
"""A text with more values than this names something; it chooses nothing."""
_FEW_NUMBERS = 10
"""Up to so many different numbers are options: a tenth of a range holds none or all."""
_LOG_RATIO = 100
_LEAST_REPEATS = 4
_MOSTLY = 0.75
"""So many of the draws have to be whole pairs for the rest to count as missing."""


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
        if (
            naming.names_a_score(name)
            and is_numeric_dtype(values)
            and (different > _FEW_NUMBERS or (values % 1 != 0).any())
        ):
            others.append(name)  # a loss of that name, not the name of a loss
        elif different < 2 or (
            not is_numeric_dtype(values) and different > _MOST_OPTIONS
        ):
            others.append(name)
        else:
            found[name] = values
    return found, others


def told_apart(
    frame: pd.DataFrame, values: Mapping[str, pd.Series], names: Sequence[str]
) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """Leaves out what varies between runs and yet was not tuned.

    A column that follows from the arm or counts the rows tells nothing. One that
    differs between runs that are alike in all else, but for their seeds, was measured:
    so was one that differs between the arms while all else pairs them exactly.

    Returns:
        The hyperparameters, and a sentence for each column that was left out.
    """
    kept, left = dict(values), dict[str, str]()
    for name in list(kept):
        if kept[name].groupby(frame["arm"]).nunique().max() < 2:
            kept.pop(name)
            left[name] = (
                f"{_shown(name)} follows from the arm: no hyperparameter, and what it"
                " changes counts as the arm's."
            )
        elif _counts_rows(name, kept[name], frame["arm"]):
            kept.pop(name)
            left[name] = f"{_shown(name)} counts the rows, and is left out." + _else(
                name
            )
    for name in _measured_over_seeds(kept, frame):
        kept.pop(name)
        left[name] = (
            f"{_shown(name)} differs between runs that are alike in all else: it"
            " was measured, and is left out." + _else(name)
        )
    apart = _not_paired(kept, frame, names)
    for name in apart:
        kept.pop(name)
        left[name] = (
            f"{_shown(name)} differs between the arms while all else pairs their runs:"
            " it was measured, and is left out." + _else(name)
        )
    return kept, left


def _shown(name: str) -> str:
    return f"Column {name!r}" if name.strip() else "A column without a name"


def _else(name: str) -> str:
    return " If it was tuned, name it among --hyperparameters." if name.strip() else ""


def _counts_rows(name: str, values: pd.Series, arms: pd.Series) -> bool:
    """Says whether a column is 0, 1, 2, ... over the table, in any order.

    Of a name that says no more than that it counts, each arm may begin anew.
    """
    if not is_numeric_dtype(values) or values.isna().any() or naming.tuned(name):
        return False

    def counter(own: pd.Series) -> bool:
        steps = np.diff(np.sort(own.to_numpy()))
        return len(own) > 3 and bool((steps == steps[0]).all()) and steps[0] > 0

    if not naming.counting(name):
        return counter(values) and bool((values % 1 == 0).all())
    return counter(values) or all(counter(own) for _, own in values.groupby(arms))


def _measured_over_seeds(
    kept: Mapping[str, pd.Series], frame: pd.DataFrame
) -> list[str]:
    """Returns columns that differ between runs that only their seeds tell apart.

    A column, or all but some, whose values come again with other seeds and never with
    the same one tells the configurations; what varies within these was measured.
    """
    if "seed" not in frame or frame["seed"].nunique() < 2:
        return []
    told = [name for name in kept if naming.tuned(name)]
    unsure = [name for name in kept if name not in told]
    # One by one, those with the most values last: what was measured never comes twice.
    unsure.sort(key=lambda n: (kept[n].groupby(frame["arm"]).nunique().max(), n))
    tries = [[name] for name in kept]
    tries += [told, *([*told, *unsure[:i]] for i in range(len(unsure), 0, -1))]
    tries += [[n for n in kept if n != name] for name in reversed(unsure)]
    for columns in tries:
        alike = _alike(columns, kept, frame)
        if alike is None:
            continue
        size = alike.map(alike.value_counts())
        found = []
        for name in unsure:
            varied = kept[name].groupby(alike).transform("nunique")[size > 1]
            if name not in columns and (varied > 1).mean() >= 0.5:
                found.append(name)
        return found
    return []


def _alike(
    columns: Sequence[str], kept: Mapping[str, pd.Series], frame: pd.DataFrame
) -> pd.Series | None:
    """Returns a number for each configuration; None where columns do not tell them."""
    if not columns:
        return None
    keys = pd.DataFrame({"arm": frame["arm"], **{n: kept[n] for n in columns}})
    alike = keys.groupby(list(keys), dropna=False, sort=False).ngroup()
    if pd.DataFrame({"key": alike, "seed": frame["seed"]}).duplicated().any():
        return None  # runs would stand there twice
    counts = alike.value_counts()
    # A few levels and a seed for each run would look alike by chance, and unevenly.
    even = bool((counts == counts.max()).mean() >= 0.5) and counts.max() > 1
    return alike if even and (alike.map(counts) > 1).mean() >= 0.5 else None


def _not_paired(
    kept: Mapping[str, pd.Series], frame: pd.DataFrame, names: Sequence[str]
) -> list[str]:
    """Returns columns that undo pairs which all others make exactly."""
    searched = frame
    if "seed" in frame and frame["seed"].nunique() > 1 and kept:
        keys = pd.DataFrame({"arm": frame["arm"], **kept})
        searched = frame[~keys.duplicated().to_numpy()]
        told = {n: v for n, v in kept.items() if naming.tuned(n)}
        if told and len(searched) == len(frame):
            keys = pd.DataFrame({"arm": frame["arm"], **told})
            searched = frame[~keys.duplicated().to_numpy()]
    arms = [searched.index[(searched["arm"] == arm).to_numpy()] for arm in names]

    def overlap(values: pd.Series) -> float:
        """The share of an arm's values that all others have as often."""
        counts = [Counter(map(str, values.loc[own])) for own in arms]
        common = functools.reduce(lambda one, other: one & other, counts)
        return common.total() / max(1, *(each.total() for each in counts))

    shared = [name for name, values in kept.items() if overlap(values) >= _MOSTLY]
    apart = [
        name
        for name, values in kept.items()
        if name not in shared
        and not naming.tuned(name)
        # What one arm alone has is its own hyperparameter.
        and all(values.loc[own].nunique() > 1 for own in arms)
    ]
    if not shared or not apart:
        return []
    rows = pd.DataFrame({name: kept[name] for name in shared})
    pairs = [rows.loc[own].map(str).agg("\0".join, axis=1) for own in arms]
    common = set.intersection(*(set(own) for own in pairs))
    whole = all(
        len(set(own)) == len(own) > 3 and len(common) >= _MOSTLY * len(own)
        for own in pairs
    )
    return apart if whole else []


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
        if hyperparameters and (again := _repeated(frame, hyperparameters)) is not None:
            key, by = again.to_numpy(), "hyperparameters"
            notes.append(
                "Runs that are alike in all hyperparameters are repeats of one"
                " configuration, although the table has no seeds; if each is a draw of"
                f" its own: --configuration {naming.ROW}."
            )
    frame = frame.assign(key=key, by=by)
    if by == "hyperparameters" and "seed" in frame:
        notes += _alone(frame, hyperparameters)
    if "repeat" in frame and wanted.repeat is not None:
        return frame.assign(number=0), notes
    again = ["arm", "key", "seed"] if "seed" in frame else None
    if again is not None:
        _refuse_twice(frame, frame.duplicated(again, keep=False), again[1:], place)
    scored = [
        r
        for r in (
            "arm",
            "validation",
            "test",
            "configuration",
            "pair",
            "run",
            "seed",
            "beside",
        )
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


def _repeated(
    frame: pd.DataFrame, hyperparameters: Mapping[str, pd.Series]
) -> pd.Series | None:
    """Returns a number for each configuration that was run as often as all others.

    A draw may come twice by chance, but hardly all of them equally often.
    """
    keys = pd.DataFrame({"arm": frame["arm"], **hyperparameters})
    alike = keys.groupby(list(keys), dropna=False, sort=False).ngroup()
    counts = alike.value_counts()
    usual = counts.mode().max()
    even = usual > 1 and (counts == usual).mean() >= _MOSTLY and (counts > 1).all()
    # Of an arm that nothing was tuned of, each run is a draw, as it stands there.
    searched = alike.groupby(frame["arm"]).nunique().min() > 3
    return alike if even and searched else None


def _alone(frame: pd.DataFrame, hyperparameters: Mapping[str, pd.Series]) -> list[str]:
    """Returns a warning where there are seeds, and no configuration has two."""
    seeds = frame.groupby("arm")["seed"].nunique()
    if seeds.max() < 2 or frame.duplicated(["arm", "key"]).any():
        return []
    by_one = [
        name
        for name in hyperparameters
        if len(hyperparameters) > 1
        and _alike([n for n in hyperparameters if n != name], hyperparameters, frame)
        is not None
    ]
    told = [n for n in hyperparameters if n not in by_one] or list(hyperparameters)
    which = f": {', '.join(by_one)} differs between them" if by_one else ""
    return [
        f"No two runs share a configuration although there are seeds{which}. If a column"
        " was measured and not tuned, name those that were tuned: "
        + shlex.join(["--hyperparameters", ",".join(told)])
        + "."
    ]


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

    Where configurations share a seed, the one that most of them have was searched with,
    and the smallest of several: in which order a table has its rows says nothing.
    """
    late = np.zeros(len(frame))
    if "seed" not in frame:
        # Which of several repeats was the search's is drawn by what stands in its row,
        # so that neither the table's order nor the height of a score decides.
        late = _content(frame).rank(method="dense").to_numpy()
    else:
        for _, own in frame.groupby("arm", sort=False):
            counts = own["seed"].value_counts()
            if counts.iloc[0] > 1:
                ranked = sorted(counts.index, key=lambda s: (-counts[s], *_in_order(s)))
                place = {seed: number for number, seed in enumerate(ranked)}
                late[own.index] = own["seed"].map(place).to_numpy()
    order = frame.assign(late=late).sort_values("late", kind="stable")
    numbers: np.ndarray = (
        order.groupby(["arm", "key"], sort=False).cumcount().sort_index().to_numpy()
    )
    return numbers


def _content(frame: pd.DataFrame) -> pd.Series:
    """Returns a number for what stands in each row, the same wherever the row stands."""
    cells = frame[[r for r in ("validation", "test", "beside") if r in frame]]
    return pd.util.hash_pandas_object(cells.astype(str), index=False)


def _in_order(text: str) -> tuple[float, str]:
    """Returns what sorts texts that are numbers as numbers, and others after them."""
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def _ordered(frame: pd.DataFrame, hyperparameters: Mapping[str, pd.Series]) -> pd.Index:
    """Returns the rows in an order that does not depend on the table's.

    Runs that nothing but their scores tells apart come in an order drawn by these, in
    which their height plays no part.
    """
    told = [r for r in ("pair", "configuration", "run", "seed") if r in frame]
    keys = pd.DataFrame(
        {
            **{
                role: frame[role].map(lambda t: "{:030.6f}{}".format(*_in_order(t)))
                for role in told
            },
            **{name: hyperparameters[name] for name in sorted(hyperparameters)},
            "by content": _content(frame),
        },
        index=frame.index,
    )
    return keys.sort_values(list(keys), kind="stable").index


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
) -> tuple[pd.DataFrame, bool, str, list[str]]:
    """Numbers the configurations, the same in two arms where they have one draw.

    Where some pairs are not whole, since a run of one arm is missing, those that are
    whole are compared.

    Returns:
        The runs, whether the arms are paired, by what, and notes.
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
    ordered = _ordered(frame, hyperparameters)
    searched = (frame["number"] == 0).to_numpy()
    in_turn, arms = ordered.to_numpy(), frame["arm"].to_numpy()
    of_arm = {
        arm: list(keys.loc[in_turn[searched[in_turn] & (arms[in_turn] == arm)]])
        for arm in names
    }
    sets = {arm: set(found) for arm, found in of_arm.items()}
    once = all(len(sets[arm]) == len(of_arm[arm]) for arm in names)
    base, *others = names
    nested = (
        all(sets[a] == sets[others[0]] for a in others)
        and sets[others[0]] <= sets[base]
    )
    notes = []
    whole = set.intersection(*sets.values())
    most = max(len(found) for found in sets.values())
    if how and once and not nested and len(whole) >= max(4, _MOSTLY * most):
        broken = [key for arm in others for key in sets[arm] - whole]
        rows = frame.loc[keys.isin(broken).to_numpy() & searched, ["arm", "row"]]
        lacking = [
            f"{arm}, row {row}" for arm, row in rows.itertuples(index=False, name=None)
        ]
        notes.append(
            f"Compared are the {len(whole)} pairs that are whole. Left out, since"
            f" another arm lacks the same draw: {'; '.join(lacking[:6])}"
            + (f" and {len(lacking) - 6} more." if len(lacking) > 6 else ".")
        )
        stay = ~keys.isin(broken).to_numpy() | (frame["arm"] == base).to_numpy()
        frame, keys, searched = frame[stay].copy(), keys[stay], searched[stay]
        for arm in others:
            of_arm[arm] = [key for key in of_arm[arm] if key in whole]
            sets[arm] = whole
        nested = True
    paired = bool(how) and once and nested
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
            "The arms were searched with different draws: they are compared unpaired,"
            " which needs more runs to see the same."
            + _undone_by(hyperparameters, frame, names)
        )
    if paired:
        first = dict.fromkeys(k for k in of_arm[base] if k in sets[others[0]])
        order = {key: i for i, key in enumerate(dict.fromkeys([*first, *of_arm[base]]))}
        frame["pair_number"] = keys.map(order).to_numpy()
    else:
        units = frame.loc[ordered[ordered.isin(frame.index)]]
        frame["pair_number"] = units.groupby(["arm", "key"], sort=False).ngroup()
    return frame, paired, how if paired else "", notes


def _undone_by(
    hyperparameters: Mapping[str, pd.Series], frame: pd.DataFrame, names: Sequence[str]
) -> str:
    """Returns a sentence on the one column without which all runs would be paired."""
    for name in hyperparameters if len(hyperparameters) > 1 else ():
        rest = pd.DataFrame({n: v for n, v in hyperparameters.items() if n != name})
        keys = rest.map(str).agg("\0".join, axis=1)
        of_arm = [sorted(set(keys[(frame["arm"] == arm).to_numpy()])) for arm in names]
        if len(of_arm[0]) > 3 and all(own == of_arm[0] for own in of_arm):
            others = shlex.quote(",".join(rest))
            return (
                f" But for {name!r} all draws are the same: if it was measured, not"
                f" tuned: --hyperparameters {others}."
            )
    return ""


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

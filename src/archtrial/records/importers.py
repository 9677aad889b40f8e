"""Other people's tables, read as runs.

A source is a file or a study of a tuner; several sources are put together. Which
column is what comes from `columns`, how a file is read from `formats` and
`optuna_studies`. Here it becomes runs: which rows are one run, which runs are one
configuration, which of them was its search and which are fresh seeds, and which
configurations of two arms have the same draw. All of that is said in `Understood`,
for whoever paid for the runs to check before believing a verdict.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from archtrial import metrics
from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records import configurations, draws, endings, scores
from archtrial.records.columns import Columns, Measure, Wanted
from archtrial.records.rows import Table
from archtrial.records.sources import open_source
from archtrial.records.table import Run

__all__ = ["Imported", "Understood", "read"]

MOST_RUNS = 1_000_000
"""More are not one comparison's, and would not fit into memory as runs."""
_MOST_BESIDE = 64
"""Columns that nobody asked for are read, so many, to tell copies of a row."""
_LONGER = 1.25
_COMPACT = 500_000
"""Rows of learning curves at a time, before all but the last step are let go."""


@dataclasses.dataclass(frozen=True)
class Understood:
    """What was made of somebody's table."""

    sources: tuple[tuple[str, str, int], ...]
    """Of each source its place, its kind and how many rows were read."""
    columns: tuple[tuple[str, str, str], ...]
    """Of each role its name, its column and how that was found."""
    arms: tuple[Mapping[str, Any], ...]
    """Of each arm "name", "configurations", "runs", "fresh_seeds" and "diverged"."""
    paired: bool
    notes: tuple[str, ...]
    """What is missing or was done to the runs, a sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "sources": [
                {"place": place, "kind": kind, "rows": rows}
                for place, kind, rows in self.sources
            ],
            "columns": {
                role: {"column": column, "found": how}
                for role, column, how in self.columns
            },
            "arms": [dict(arm) for arm in self.arms],
            "paired": self.paired,
            "notes": list(self.notes),
        }


@dataclasses.dataclass(frozen=True)
class Imported:
    """Runs, and what a verdict needs to know of them besides."""

    runs: list[Run]
    name: str
    """The sources', without their folders."""
    arms: tuple[str, ...]
    """The baseline first."""
    baseline: str | None
    """None where it is to be named yet."""
    digest: str
    measure: Measure
    bounded: bool
    """Whether all scores are fractions."""
    scale: float
    """What scores were divided by: 100 where they were percentages."""
    paired: bool
    repeats: bool
    """Whether each unit is one whole repeat of a tuner."""
    spaces: Mapping[str, Mapping[str, Any]]
    """Of each arm its hyperparameters with the range that was tried."""
    understood: Understood


def read(
    sources: Sequence[str | Path],
    wanted: Wanted | None = None,
    *,
    baseline: str | None = None,
    challengers: Sequence[str] | None = None,
    where: Sequence[str] = (),
    tuner: Literal["random", "adaptive"] | None = None,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    percent: bool = False,
    status: Sequence[str] = (),
    failed_score: str | None = None,
) -> Imported:
    """Reads runs from files and studies.

    Args:
        sources: `[NAME=]PATH` each, or `[NAME=]STORAGE#STUDY`: with a name, all its
            runs are that arm's; a name may come several times.
        wanted: The columns that are not to be found by their usual names.
        baseline: The arm that the others are compared with; None: to be named yet.
        challengers: The others; by default all of them.
        where: `COLUMN=VALUE` each: only rows that have it are read.
        tuner: "random" declares the runs independent draws, "adaptive" the
            opposite; by default what the source says.
        metric: The score's name; by default what its column says.
        lower_is_better: Whether scores are errors; by default what the metric's
            name or the study says.
        percent: Scores are percentages.
        status: `WORD=finished`, `WORD=failed` or `WORD=unfinished` each: what a
            status means that is in no list.
        failed_score: The score that stands for a run that failed; "none" where none
            does.

    Raises:
        RecordsError: A source cannot be read, a column is missing or has what does
            not belong there, or the runs are not what a verdict can rest on.
    """
    wanted = wanted or Wanted()
    if wanted.repeat == naming.NONE:
        wanted = dataclasses.replace(wanted, repeat=None)
    split = [_split(str(source)) for source in sources]
    tables = [open_source(place) for _, place in split]
    conditions = _condition_list(where)
    gathered = [
        _gather(
            name,
            place,
            table,
            wanted,
            conditions,
            len(tables),
            _elsewhere(wanted, table, tables),
        )
        for (name, place), table in zip(split, tables, strict=True)
    ]
    _check_same_question(gathered, metric)
    measure, told = _measured(gathered, metric, lower_is_better, tuner)
    lower = bool(measure.lower_is_better)
    _check_independent(gathered, tuner, wanted)
    frame = pd.concat([each.frame for each in gathered], ignore_index=True)
    notes = [note for each in gathered for note in each.notes]
    notes += [
        f"{column} is a training score by its name: it tells how well an arm remembers."
        for column in dict.fromkeys(e.columns.roles["validation"] for e in gathered)
        if naming.of_training(column)
    ]
    place = ", ".join(each.table.place for each in gathered)

    names = _arms(frame, baseline, challengers, place)
    frame = frame[frame["arm"].isin(names).to_numpy()].reset_index(drop=True)
    notes += _unequally_long(frame, gathered)
    frame, left_out = endings.ended(frame, endings.declared(status), place)
    notes += left_out
    _check_somewhere(frame, gathered)
    frame = scores.at_best_step(frame, lower)
    # What stands for a failure is no score, and settles no unit.
    frame = scores.as_numbers(frame)
    frame, said = endings.check_stand_ins(frame, lower, failed_score)
    notes += said
    notes += endings.went_on(frame)
    bounded, scale, said = scores.scaled(frame, measure, percent)
    notes += said
    frame = scores.with_examples(frame)
    frame, said = scores.with_tests(frame)
    notes += said
    if wanted.repeat is not None:
        frame, said = configurations.repeats(frame, lower, place)
        notes += said
    hyperparameters, unvarying = configurations.hyperparameters(frame)
    if wanted.hyperparameters is None:
        hyperparameters, left_away = configurations.told_apart(
            frame, hyperparameters, names
        )
        unvarying += [name for name in left_away if name not in unvarying]
        notes += left_away.values()
        if not {"configuration", "pair", "repeat"} & set(frame):
            given, varied = _given(gathered)
            draws.check_measured(hyperparameters, frame, place, given)
            draws.check_repeated(hyperparameters, frame, place, varied)
    if wanted.repeat is not None:
        # Those that a tuner ended with are no draws: their places tell nothing.
        hyperparameters, unvarying = {}, [*hyperparameters, *unvarying]
    frame, said = configurations.configured(frame, hyperparameters, wanted, place)
    notes += said
    configurations.check_searched(frame, names, place)
    frame, paired, how, said = configurations.paired(
        frame, names, hyperparameters, wanted, place
    )
    hyperparameters = {
        name: values.loc[frame.index] for name, values in hyperparameters.items()
    }
    notes += said
    if wanted.repeat is None and tuner is None:
        notes += draws.swept(frame, paired, place)
        notes += draws.noticed(frame, names, hyperparameters, place)
    spaces = {
        arm: configurations.space(frame[frame["arm"] == arm], hyperparameters)
        for arm in names
    }
    runs = _runs(frame, spaces, hyperparameters, lower)
    understood = Understood(
        sources=tuple(
            (each.table.place, each.table.kind, each.rows) for each in gathered
        ),
        columns=_said(gathered, measure, told, how, hyperparameters, unvarying),
        arms=tuple(_arm_summary(frame, arm) for arm in names),
        paired=paired,
        notes=tuple(dict.fromkeys(notes)),
    )
    return Imported(
        runs=runs,
        name=" + ".join(
            dict.fromkeys(_place_name(each.table.place) for each in gathered)
        ),
        arms=tuple(names),
        baseline=baseline,
        digest=_digest(frame, spaces),
        measure=measure,
        bounded=bounded,
        scale=scale,
        paired=paired,
        repeats=wanted.repeat is not None,
        spaces=spaces,
        understood=understood,
    )


# --- from a source to rows ---------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Gathered:
    """The rows of one source, one a run, with the columns named by their role."""

    table: Table
    columns: Columns
    frame: pd.DataFrame
    rows: int
    arm: str | None
    notes: list[str]


_TEXTS = (
    "seed", "configuration", "pair", "run", "repeat", "status", "tuner", "data", "metric",
)  # fmt: skip


_RUNS_TABLE = {"Name", "State", "Created", "Runtime"}
"""W&B's table of runs: a row is a run, whose name need not be its alone."""


def _elsewhere(wanted: Wanted, table: Table, tables: Sequence[Table]) -> set[str]:
    """Returns hyperparameters that were named, and that only other sources have."""
    return {
        name
        for name in wanted.hyperparameters or ()
        if name not in table.columns and any(name in t.columns for t in tables)
    }


def _gather(
    name: str | None,
    place: str,
    table: Table,
    wanted: Wanted,
    conditions: Sequence[tuple[str, str]],
    count: int,
    elsewhere: Collection[str],
) -> _Gathered:
    if name is not None and wanted.arm is not None:
        raise RecordsError(
            "an arm is a source's name or a column's value",
            f"{name}={place} and --arm {wanted.arm}",
            "Give one of the two.",
        )
    found = naming.find(
        table.columns, wanted, place=table.place, arm=name is None, elsewhere=elsewhere
    )
    if name is None and "arm" not in found.roles:
        if count == 1:
            raise RecordsError(
                "a table has a column that says which arm a run belongs to",
                f"{place} has {', '.join(table.columns[:12])}",
                "Name it: --arm COLUMN; or give one source for each arm:"
                " NAME=PATH NAME=PATH.",
            )
        name = _place_name(place).split(".")[0]
    filters = [
        (naming.known(column, table.columns, "--where", table.place), value)
        for column, value in conditions
    ]
    asked = {
        role: c
        for role, c in found.roles.items()
        if c not in (naming.ROW, naming.SOURCE)
    }
    needed = list(
        dict.fromkeys(
            [*asked.values(), *found.hyperparameters, *(c for c, _ in filters)]
        )
    )
    rows = kept = 0
    frames: list[pd.DataFrame] = []
    unread = collections.Counter[tuple[str, str]]()
    beside = [n for n in found.unused if "[" not in n and not naming.counting(n)]
    beside = sorted(beside)[:_MOST_BESIDE]
    swept = ["Sweep"] if {"Name", "Sweep"} <= set(table.columns) else []
    read = list(dict.fromkeys([*needed, *found.flags, *beside, *swept]))
    for batch in table.batches(read):
        rows += len(batch)
        chosen = _chosen(batch, filters)
        frame = pd.DataFrame({role: chosen[column] for role, column in asked.items()})
        frame["beside"] = _hashed(chosen, beside)
        for column in found.hyperparameters:
            frame[configurations.HYPER + naming.short(column)] = chosen[column]
        for column in swept:
            frame["sweep"] = scores.texts(chosen[column])
        for column in found.flags:
            cells = scores.texts(chosen[column])
            ended = endings.flagged(naming.short(column), cells)
            bad = endings.events(naming.short(column), cells)
            if bad is not None:
                frame[endings.EVENTS + column] = bad
            odd = endings.unread(naming.short(column), cells)
            unread.update((column, word) for word in odd)
            before = frame.get("flagged", "")
            # One that failed failed, whatever another column says.
            frame["flagged"] = np.where(ended == "failed", ended, before)
            frame["flagged"] = np.where(frame["flagged"] == "", ended, frame["flagged"])
        frame["row"] = frame.index
        frame["source"] = table.place
        for role, column in found.roles.items():
            if column in (naming.ROW, naming.SOURCE):
                frame[role] = frame[column].astype(str)
        frame["arm"] = name if name is not None else scores.texts(frame["arm"])
        for role in _TEXTS:
            if role in frame:
                frame[role] = scores.texts(frame[role])
        if "status" in found.roles:
            name_of = naming.short(found.roles["status"])
            frame["status"] = endings.counted_status(name_of, frame["status"])
        frames.append(frame)
        kept += len(frame)
        if (
            kept > _COMPACT
            and "step" in found.roles
            and not set(table.columns) >= _RUNS_TABLE
        ):
            frames = [_last_steps(pd.concat(frames))]
            kept = len(frames[0])
        if kept > MOST_RUNS:
            raise RecordsError(
                f"a comparison has up to {MOST_RUNS:,} runs",
                f"{table.place} has more",
                "Read a part of it: --where COLUMN=VALUE; or, if it holds learning"
                " curves, name their step: --step COLUMN.",
            )
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if not rows:
        raise RecordsError(
            "a table of runs has rows", f"{table.place} has a header alone"
        )
    if frame.empty:
        _no_row_left(table, filters)
    notes = list(table.notes)
    notes += [
        f"{column} is {word!r} in {count} rows, which says nothing of how a run ended,"
        f" and is passed over. If it does: {shlex.join(['--status-column', column])}."
        for (column, word), count in unread.most_common(3)
    ]
    if "step" in found.roles and not set(table.columns) >= _RUNS_TABLE:
        before = len(frame)
        frame = _last_steps(frame)
        if len(frame) < before:
            notes.append(
                f"{table.place} holds learning curves: of the rows of a run the one of"
                f" the last {found.roles['step']} counts."
            )
    elif "run" in found.roles:
        _check_one_row_each(frame, found.roles["run"], table.place)
    return _Gathered(table, found, frame, rows, name, notes)


def _hashed(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Returns what tells a row from a copy of another: a number for all other cells."""
    texts = pd.DataFrame({name: rows[name].astype(str) for name in columns})
    if not columns:
        return np.zeros(len(rows), dtype=np.uint64)
    hashed: np.ndarray = pd.util.hash_pandas_object(texts, index=False).to_numpy()
    return hashed


def _split(source: str) -> tuple[str | None, str]:
    """Splits [NAME=]PATH; what is there as a file is a path."""
    name, equals, place = source.partition("=")
    if not equals or Path(source).exists() or "/" in name or not name.strip():
        return None, source
    return scores.clean(name.strip()), place


def _place_name(place: str) -> str:
    return place.rpartition("#")[2] if "#" in place else Path(place).name


def _condition_list(where: Sequence[str]) -> list[tuple[str, str]]:
    conditions = []
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals or not column:
            raise RecordsError("--where is COLUMN=VALUE", repr(condition))
        conditions.append((column, value))
    return conditions


def _chosen(batch: pd.DataFrame, filters: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Returns the rows that have all values; equal as text or as numbers."""
    for column, value in filters:
        cells = batch[column]
        same = scores.texts(cells) == value
        try:
            number = float(value)
        except ValueError:
            pass
        else:
            same |= pd.to_numeric(cells, errors="coerce") == number
        batch = batch[same.to_numpy()]
    return batch


def _no_row_left(table: Table, filters: Sequence[tuple[str, str]]) -> None:
    """Refuses filters that leave nothing, with what there is to choose from."""
    column = filters[-1][0]
    seen: dict[str, None] = {}
    for batch in table.batches([column]):
        seen.update(dict.fromkeys(scores.texts(batch[column])))
    near = get_close_matches(filters[-1][1], list(seen), 1)
    raise RecordsError(
        "--where leaves some rows",
        f"{table.place} has none with "
        + " and ".join(f"{name}={value}" for name, value in filters),
        f"Did you mean {column}={near[0]}?"
        if near
        else f"{column} is one of {', '.join(itertools.islice(seen, 12))}.",
    )


def _last_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns one row for each run: that of its last step."""
    identity = ["source", "arm"]
    identity += [
        r for r in ("run", "seed", "configuration", "pair", "repeat") if r in frame
    ]
    if identity == ["source", "arm"]:
        identity += [name for name in frame if name.startswith(configurations.HYPER)]
    if len(identity) == 2:
        return frame  # nothing tells rows apart: each is a run
    steps = scores.numbers(frame, "step")
    # Trackers write training and validation scores of a step in rows of their own:
    # the last row that has a score counts, and of a run without any its last one.
    texts = frame["validation"].astype(str).str.strip()
    scored = frame["validation"].notna() & (texts != "")
    frame = frame.assign(step=steps, scored=scored.to_numpy())
    order = frame.sort_values(
        ["scored", "step"], kind="stable", na_position="first"
    ).drop(columns="scored")
    keys = order[identity].astype(str)
    return order[~keys.duplicated(keep="last").to_numpy()].sort_index()


def _check_one_row_each(frame: pd.DataFrame, column: str, place: str) -> None:
    """Refuses a run in several rows, where the column's name says that it is an id."""
    if "id" not in naming.words(column):
        return
    ids = frame["run"]
    again = ids[ids.duplicated() & (ids != "")]
    if len(again):
        one = again.iloc[0]
        rows = frame.loc[(ids == one).to_numpy(), "row"]
        raise RecordsError(
            "every run stands in the table once",
            f"{place}: {column} {one!r} in row {rows.iloc[0]} and in row {rows.iloc[1]}",
            "If these are the steps of a learning curve, name theirs: --step COLUMN.",
        )


def _given(gathered: Sequence[_Gathered]) -> tuple[set[str], set[str]]:
    """Returns what was given to runs as trackers say, and what a search varied."""
    marked = [
        (
            naming.short(column),
            each.table.kind.startswith("Optuna") or naming.searched(column),
        )
        for each in gathered
        for column in each.columns.hyperparameters
        if naming.marked(column)
    ]
    return {name for name, _ in marked}, {name for name, searched in marked if searched}


# --- checks of the whole -------------------------------------------------------------


def _check_same_question(gathered: Sequence[_Gathered], metric: str | None) -> None:
    """Refuses runs on different data or of different metrics.

    Args:
        gathered: The tables.
        metric: What was declared that both scores are, whose names need not say it.
    """
    for role, rule in (
        ("data", "all runs are on the same data"),
        ("metric", "all arms are scored by the same metric"),
    ):
        found: dict[str, str] = {}
        for each in gathered:
            if role in each.frame:
                for value in dict.fromkeys(each.frame[role]):
                    found.setdefault(value, each.columns.roles[role])
        if len(found) > 1:
            (value, column), *_ = found.items()
            raise RecordsError(
                rule,
                f"{column} is {', '.join(itertools.islice(found, 8))}",
                f"Judge one at a time: --where {column}={value}.",
            )
    seen = {
        naming.measure(each.columns.roles["validation"]).name: each for each in gathered
    }
    if len(seen) > 1:
        raise RecordsError(
            "all arms are scored by the same metric",
            "; ".join(
                f"{each.table.place} by {each.columns.roles['validation']}"
                for each in seen.values()
            ),
            "Name the column that all of them have: --validation COLUMN.",
        )
    for each in gathered:
        if "test" not in each.columns.roles:
            continue
        measured = [
            naming.measure(each.columns.roles[role]) for role in ("validation", "test")
        ]
        # A word that is no measure's contradicts nothing that was declared.
        said = {
            one.name
            for one in measured
            if one.name != "score"
            and (metric is None or one.lower_is_better is not None)
        }
        if len(said) > 1:
            unknown = any(one.lower_is_better is None for one in measured)
            raise RecordsError(
                "validation and test are scored by the same metric",
                f"{each.columns.roles['validation']} and {each.columns.roles['test']}",
                "Name the one that both hold: --metric NAME. Or leave the test scores"
                " out: --test none."
                if unknown
                else "Name two of one metric: --validation COLUMN --test COLUMN, or"
                " leave the test scores out: --test none.",
            )
    tested = {"test" in each.columns.roles for each in gathered}
    if len(tested) > 1:
        without = next(e for e in gathered if "test" not in e.columns.roles)
        raise RecordsError(
            "all arms have test scores, or none",
            f"{without.table.place} has none",
            "Compare validation scores: --test none.",
        )


def _measured(
    gathered: Sequence[_Gathered],
    metric: str | None,
    lower_is_better: bool | None,
    tuner: str | None,
) -> tuple[Measure, str]:
    """Returns what the scores are, and how their direction was told.

    Raises:
        RecordsError: Nothing tells the direction, or two things tell different ones.
    """
    roles = gathered[0].columns.roles
    column = naming.measure(roles["validation"])
    if metric is None and "metric" in gathered[0].frame:
        metric = str(gathered[0].frame["metric"].iloc[0])
    measure = naming.measure(metric) if metric is not None else column
    if metric is not None and measure.name == "score":
        measure = dataclasses.replace(measure, name=metric)
    elif measure.name == "score" and "test" in roles:
        measure = naming.measure(roles["test"])
    if measure.name in metrics.names():
        better = metrics.get(measure.name).higher_is_better
        measure = dataclasses.replace(measure, lower_is_better=not better)
    said = {
        each.table.lower_is_better: each
        for each in gathered
        if each.table.lower_is_better is not None
    }
    if len(said) > 1:
        raise RecordsError(
            "all arms are scored by the same metric",
            "one study minimises what another maximises",
        )
    source = next(iter(said), None)
    by_name = measure.lower_is_better
    if (
        metric is not None
        and lower_is_better is None
        and None not in (by_name, column.lower_is_better)
        and by_name != column.lower_is_better
    ):
        raise RecordsError(
            f"of {measure.name} a {_better(by_name)} score is better",
            f"the column {roles['validation']!r} sounds as if a"
            f" {_better(column.lower_is_better)} one were",
            "Name another --metric or, if the column does hold it, say so:"
            f" --{_better(by_name)}-is-better.",
        )
    if lower_is_better is not None:
        if by_name not in (None, lower_is_better) and measure.name != "score":
            raise RecordsError(
                f"of {measure.name} a {_better(by_name)} score is better",
                "the opposite was declared",
                "Give --metric NAME if the column holds something else.",
            )
        return dataclasses.replace(measure, lower_is_better=lower_is_better), "declared"
    if source is not None:
        # Of a study that minimises a "score", the study knows what it did.
        return dataclasses.replace(measure, lower_is_better=source), "as its study says"
    if by_name is None:
        raise RecordsError(
            "a verdict needs to know which scores are the better ones",
            f"{metric or roles['validation']!r} does not say whether that is the higher"
            " or the lower",
            "Say so: --lower-is-better or --higher-is-better"
            + (
                "; and, if its trials were random draws, --tuner random."
                if any(e.table.not_random for e in gathered) and tuner is None
                else "."
            ),
        )
    return measure, "by its name"


def _better(lower: bool | None) -> str:
    return "lower" if lower else "higher"


def _check_independent(
    gathered: Sequence[_Gathered], tuner: str | None, wanted: Wanted
) -> None:
    """Refuses runs of an adaptive tuner, unless they come as whole repeats."""
    if wanted.repeat is not None or tuner == "random":
        return
    why = "--tuner adaptive" if tuner == "adaptive" else None
    for each in gathered:
        why = why or each.table.not_random
        if why is None and "tuner" in each.frame:
            odd = [
                name
                for name in dict.fromkeys(each.frame["tuner"])
                if name and "random" not in name.lower()
            ]
            if odd:
                why = f"{each.table.place} has runs of {odd[0]!r}"
    if why is not None:
        raise RecordsError(
            "runs are independent random draws: those of an adaptive tuner follow from"
            " one another, and no interval can be had from them one by one",
            why,
            "Give whole repeats of the tuner: --repeat-column COLUMN, or several"
            f" sources an arm with --repeat-column {naming.SOURCE}; or, if the search"
            " was random, declare it: --tuner random.",
        )


def _arms(
    frame: pd.DataFrame,
    baseline: str | None,
    challengers: Sequence[str] | None,
    place: str,
) -> list[str]:
    """Returns the arms that are compared, the baseline first if it is known."""
    if (frame["arm"] == "").any():
        row = frame.loc[(frame["arm"] == "").to_numpy(), "row"].iloc[0]
        raise RecordsError("every run belongs to an arm", f"{place}, row {row}: none")
    there = list(dict.fromkeys(frame["arm"]))
    if len(there) < 2:
        raise RecordsError(
            "a comparison needs two arms", f"{place} has {there[0]!r} alone"
        )
    named = [*([] if baseline is None else [baseline]), *(challengers or [])]
    for name in named:
        if name not in there:
            near = get_close_matches(name, there, 1)
            raise RecordsError(
                f"{place} has no arm {name!r}",
                f"it has {', '.join(there[:20])}",
                f"Did you mean {near[0]!r}?" if near else "",
            )
    if len(set(named)) < len(named):
        raise RecordsError(
            f"no arm of {place} is compared with itself",
            f"{max(named, key=named.count)!r} is named twice",
        )
    if challengers and baseline is not None:
        return named
    spelled: dict[str, str] = {}
    for name in there:
        alike = spelled.setdefault(name.lower(), name)
        if alike != name:
            raise RecordsError(
                "arms differ in more than how they are written",
                f"{place} has {alike!r} and {name!r}",
                "Write one arm alike in all rows; or, if they are two, name what is"
                f" compared: --baseline {shlex.quote(alike)} --challenger"
                f" {shlex.quote(name)}.",
            )
    others = [name for name in there if name not in named]
    # A baseline that is still to be named is one of the others.
    return [*others, *named] if baseline is None else [*named, *others]


def _unequally_long(frame: pd.DataFrame, gathered: Sequence[_Gathered]) -> list[str]:
    """Returns a sentence where the arms' learning curves end at other steps."""
    if "step" not in frame:
        return []
    ends = pd.to_numeric(frame["step"], errors="coerce").groupby(frame["arm"]).median()
    if not ends.max() > _LONGER * ends.min():
        return []
    name = next(e.columns.roles["step"] for e in gathered if "step" in e.columns.roles)
    said = ", ".join(f"{arm} {end:g}" for arm, end in ends.items())
    return [
        f"The arms were not trained for as long (median of the last {name}: {said}): what"
        " that changes counts as the arm's."
    ]


def _check_somewhere(frame: pd.DataFrame, gathered: Sequence[_Gathered]) -> None:
    """Refuses a column, or a path, that holds nothing in any row."""
    for each in gathered:
        own = frame[(frame["source"] == each.table.place).to_numpy()]
        for role in ("validation", "test", "test_examples", "cost"):
            if role not in own or own.empty:
                continue
            empty = own[role].isna() | (own[role].astype(str).str.strip() == "")
            if empty.all() and not (role == "test" and role not in each.columns.named):
                raise RecordsError(
                    f"some row has a {role.replace('_', ' ')} score"
                    if role != "cost"
                    else "some row has a cost",
                    f"{each.columns.roles[role]} of {each.table.place} is empty in every"
                    " row",
                    _other_scores(each),
                )


def _other_scores(each: _Gathered) -> str:
    others = (*each.columns.others, *each.columns.unused)[:8]
    return f"It also has {', '.join(others)}." if others else ""


# --- from rows to runs ---------------------------------------------------------------------


def _runs(
    frame: pd.DataFrame,
    spaces: Mapping[str, Mapping[str, Any]],
    hyperparameters: Mapping[str, pd.Series],
    lower_is_better: bool,
) -> list[Run]:
    """Returns the runs, those of diverged ones without a score."""
    values = {
        arm: {
            name: _as_tried(hyperparameters[name].loc[own.index], declared)
            for name, declared in spaces[arm].items()
        }
        for arm, own in frame.groupby("arm", sort=False)
    }
    place_in_arm = frame.groupby("arm", sort=False).cumcount().tolist()
    tests = frame["test"].tolist() if "test" in frame else None
    costs = _costs(frame)
    parameters = (
        np.nan_to_num(scores.numbers(frame, "parameters")).astype(np.int64).tolist()
        if "parameters" in frame
        else [0] * len(frame)
    )
    examples = _examples(frame, lower_is_better)
    return [
        Run(
            arm=arm,
            pair=pair,
            seed=number,
            stage="confirm" if number else "search",
            configuration={name: tried[at] for name, tried in values[arm].items()},
            validation=validation,
            test=None if tests is None else tests[i],
            per_example=None if examples is None else examples[i],
            diverged=diverged,
            flops=costs[i],
            parameters=parameters[i],
        )
        for i, (arm, pair, number, validation, diverged, at) in enumerate(
            zip(
                frame["arm"].tolist(),
                frame["pair_number"].tolist(),
                frame["number"].tolist(),
                frame["validation"].tolist(),
                frame["diverged"].tolist(),
                place_in_arm,
                strict=True,
            )
        )
    ]


def _as_tried(values: pd.Series, declared: Any) -> list[Any]:
    whole = (
        is_numeric_dtype(values)
        and bool((values % 1 == 0).all())
        and (isinstance(declared, list) or "integer" in declared)
    )
    if whole:
        return [int(value) for value in values]
    if isinstance(declared, list) and is_numeric_dtype(values):
        return [configurations.plain_number(value) for value in values]
    return list(values.tolist())


def _costs(frame: pd.DataFrame) -> list[float]:
    """Returns the cost of each run; that of an unknown one is its arm's median."""
    if "cost" not in frame:
        return [0.0] * len(frame)
    costs = pd.Series(scores.numbers(frame, "cost"), index=frame.index)
    if (costs <= 0).any():
        first = frame[(costs <= 0).to_numpy()].iloc[0]
        raise RecordsError(
            "a cost is more than 0",
            f"{first['source']}, row {first['row']}: {first['cost']}",
            "Leave it empty where it is unknown.",
        )
    usual = costs.groupby(frame["arm"]).transform("median")
    return [float(cost) for cost in costs.fillna(usual).fillna(costs.median())]


def _examples(frame: pd.DataFrame, lower_is_better: bool) -> list[np.ndarray] | None:
    """Returns each run's scores by test example, (T,) float32; None without any.

    Those of a diverged run are the worst score that any run has.
    """
    if "test_examples" not in frame:
        return None
    scores = frame["validation"]
    worst = scores.max() if lower_is_better else scores.min()
    known = [
        None if diverged else listed
        for listed, diverged in zip(
            frame["test_examples"], frame["diverged"], strict=True
        )
    ]
    length = next(len(listed) for listed in known if listed is not None)
    stand_in = np.full(length, worst, dtype=np.float32)
    return [stand_in if listed is None else listed for listed in known]


def _digest(frame: pd.DataFrame, spaces: Mapping[str, Any]) -> str:
    """Returns what tells these runs from others: no path, no order of the columns."""
    found = hashlib.sha256(json.dumps(spaces, sort_keys=True).encode())
    for role in ("arm", "pair_number", "number", "validation", "test", "cost"):
        if role in frame:
            cells = frame[role]
            found.update(role.encode())
            if not is_numeric_dtype(cells):
                found.update("\0".join(map(str, cells)).encode())
            else:
                found.update(np.ascontiguousarray(cells.to_numpy(np.float64)).tobytes())
    return found.hexdigest()


# --- what is said of it ------------------------------------------------------------------------


_ROLES = {
    "arm": "arm", "validation": "validation score", "test": "test score",
    "test_examples": "test score by example", "seed": "seed",
    "configuration": "configuration", "pair": "pair", "repeat": "repeat of the tuner",
    "step": "step of a learning curve", "cost": "cost", "status": "status",
    "parameters": "parameters", "run": "run", "tuner": "tuner", "data": "data",
}  # fmt: skip


def _said(
    gathered: Sequence[_Gathered],
    measure: Measure,
    told: str,
    paired_by: str,
    hyperparameters: Mapping[str, Any],
    unvarying: Sequence[str],
) -> tuple[tuple[str, str, str], ...]:
    """Returns of each role its name, its column and how that was found."""
    said = []
    for role, title in _ROLES.items():
        found = {
            each.columns.roles[role]: role in each.columns.named
            for each in gathered
            if role in each.columns.roles
        }
        how = "as named" if all(found.values()) else "by its name"
        if found:
            said.append((title, ", ".join(found), how))
        elif role == "arm":
            said.append((title, "each source", "one arm each"))
        elif role == "pair" and paired_by:
            said.append((title, paired_by, "equal in all arms"))
        elif role == "test" and any(
            "test_examples" in e.columns.roles for e in gathered
        ):
            said.append((title, "the examples' mean", "from their scores"))
        elif role in ("test", "seed", "configuration", "pair"):
            said.append((title, "\u2013", _MISSING_MEANS[role]))
        if role == "validation":
            better = f"{_better(measure.lower_is_better)} is better, {told}"
            said.append(("metric", measure.name, better))
            others = list(dict.fromkeys(o for e in gathered for o in e.columns.others))
            if others:
                said.append(("", ", ".join(others[:6]), "not chosen"))
    said.append(
        (
            "hyperparameters",
            ", ".join(hyperparameters) or "\u2013",
            "vary between runs" if hyperparameters else "none found",
        )
    )
    unused = dict.fromkeys(
        [*unvarying, *(name for each in gathered for name in each.columns.unused)]
    )
    if unused:
        listed = list(unused)
        more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
        said.append(("not used", ", ".join(listed[:12]) + more, ""))
    return tuple(said)


_MISSING_MEANS = {
    "test": "the verdict is about validation",
    "seed": "one run of each configuration",
    "configuration": "each run, or equal hyperparameters",
    "pair": "unpaired",
}


def _arm_summary(frame: pd.DataFrame, arm: str) -> dict[str, Any]:
    own = frame[frame["arm"] == arm]
    searched = own["number"] == 0
    return {
        "name": arm,
        "configurations": int(searched.sum()),
        "runs": len(own),
        "fresh_seeds": int((~searched).sum()),
        "diverged": int(own["diverged"].sum()),
    }

"""Other people's tables, read as runs.

A source is a file or a study of a tuner; several sources are put together. Which
column is what comes from `columns`, how a file is read from `formats` and
`optuna_studies`. Here it becomes runs: which rows are one run, which runs are one
configuration, which of them was its search and which are fresh seeds, and which
configurations of two arms have the same draw. All of that is said in `Understood`,
for whoever paid for the runs to check before believing a verdict.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records import configurations, draws, endings, scores
from archtrial.records.columns import Measure, Wanted
from archtrial.records.comparable import (
    arms_of,
    better_side,
    check_independent,
    check_same_question,
    check_somewhere,
    given_by_user,
    measure_of,
    unequally_long,
)
from archtrial.records.gathering import (
    Gathered,
    check_places,
    condition_list,
    gather,
    only_elsewhere,
    place_name,
    split_source,
)
from archtrial.records.sources import open_source
from archtrial.records.table import Run

__all__ = ["Imported", "Understood", "read"]


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
    notes: Sequence[str] = (),
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
        notes: What is to be said with the verdict, a sentence each: how the runs were
            drawn, for example.

    Raises:
        RecordsError: A source cannot be read, a column is missing or has what does
            not belong there, or the runs are not what a verdict can rest on.
    """
    wanted = wanted or Wanted()
    if wanted.repeat == naming.NONE:
        wanted = dataclasses.replace(wanted, repeat=None)
    split = [split_source(str(source)) for source in sources]
    check_places(split)
    tables = [open_source(place) for _, place in split]
    conditions = condition_list(where)
    gathered = [
        gather(
            name,
            place,
            table,
            wanted,
            conditions,
            len(tables),
            only_elsewhere(wanted, table, tables),
        )
        for (name, place), table in zip(split, tables, strict=True)
    ]
    check_same_question(gathered, metric)
    measure, told = measure_of(gathered, metric, lower_is_better, tuner)
    lower = bool(measure.lower_is_better)
    check_independent(gathered, tuner, wanted)
    frame = pd.concat([each.frame for each in gathered], ignore_index=True)
    notes = [*notes, *(note for each in gathered for note in each.notes)]
    notes += [
        f"{column} is a training score by its name: it tells how well an arm remembers."
        for column in dict.fromkeys(e.columns.roles["validation"] for e in gathered)
        if naming.of_training(column)
    ]
    place = ", ".join(each.table.place for each in gathered)

    names = arms_of(frame, baseline, challengers, place)
    frame = frame[frame["arm"].isin(names).to_numpy()].reset_index(drop=True)
    frame, bounded, scale, said = _scored(
        frame, gathered, measure, endings.declared(status), failed_score, percent, place
    )
    notes += said
    if wanted.repeat is not None:
        frame, said = configurations.repeats(frame, lower, place)
        notes += said
    frame, hyperparameters, unvarying, said = _configured(
        frame, names, wanted, gathered, place
    )
    notes += said
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
            dict.fromkeys(place_name(each.table.place) for each in gathered)
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


# --- from rows to runs ---------------------------------------------------------------------


def _scored(
    frame: pd.DataFrame,
    gathered: Sequence[Gathered],
    measure: Measure,
    declared: Mapping[str, str],
    failed_score: str | None,
    percent: bool,
    place: str,
) -> tuple[pd.DataFrame, bool, float, list[str]]:
    """Makes runs that ended of rows, each with its score as a number.

    Returns:
        The runs; whether all scores are fractions; what they were divided by for that;
        and what a reader must know of it, a sentence each.
    """
    lower = bool(measure.lower_is_better)
    notes = list(unequally_long(frame, gathered))
    frame, said = endings.ended(frame, declared, place)
    notes += said
    check_somewhere(frame, gathered)
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
    return frame, bounded, scale, [*notes, *said]


def _configured(
    frame: pd.DataFrame,
    names: Sequence[str],
    wanted: Wanted,
    gathered: Sequence[Gathered],
    place: str,
) -> tuple[pd.DataFrame, dict[str, pd.Series], list[str], list[str]]:
    """Says which runs are one configuration, by the hyperparameters that vary.

    Returns:
        The runs; the values of each hyperparameter; the columns that are none after
        all; and what a reader must know of it, a sentence each.
    """
    notes: list[str] = []
    hyperparameters, unvarying = configurations.hyperparameters(frame)
    if wanted.hyperparameters is None:
        hyperparameters, left_away = configurations.told_apart(
            frame, hyperparameters, names
        )
        unvarying += [name for name in left_away if name not in unvarying]
        notes += left_away.values()
        if not {"configuration", "pair", "repeat"} & set(frame):
            given, varied = given_by_user(gathered)
            draws.check_measured(hyperparameters, frame, place, given)
            draws.check_repeated(hyperparameters, frame, place, varied)
    if wanted.repeat is not None:
        # Those that a tuner ended with are no draws: their places tell nothing.
        hyperparameters, unvarying = {}, [*hyperparameters, *unvarying]
    frame, said = configurations.configured(frame, hyperparameters, wanted, place)
    configurations.check_searched(frame, names, place)
    return frame, hyperparameters, unvarying, [*notes, *said]


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
    gathered: Sequence[Gathered],
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
            better = f"{better_side(measure.lower_is_better)} is better, {told}"
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

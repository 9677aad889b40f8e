"""Whether the rows of a table can be compared: one question, one measure, one effort."""

import dataclasses
import itertools
import shlex
from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd

from archtrial import metrics
from archtrial.errors import RecordsError
from archtrial.records import columns as naming
from archtrial.records.columns import Measure, Wanted
from archtrial.records.gathering import Gathered

__all__ = [
    "arms_of",
    "better_side",
    "check_independent",
    "check_same_question",
    "check_somewhere",
    "given_by_user",
    "measure_of",
    "unequally_long",
]

_LONGER = 1.25


def given_by_user(gathered: Sequence[Gathered]) -> tuple[set[str], set[str]]:
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


def check_same_question(gathered: Sequence[Gathered], metric: str | None) -> None:
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
                f"Judge one: --where {column}={value}; or each by itself: --each"
                f" {column}.",
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


def measure_of(
    gathered: Sequence[Gathered],
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
            f"of {measure.name} a {better_side(by_name)} score is better",
            f"the column {roles['validation']!r} sounds as if a"
            f" {better_side(column.lower_is_better)} one were",
            "Name another --metric or, if the column does hold it, say so:"
            f" --{better_side(by_name)}-is-better.",
        )
    if lower_is_better is not None:
        if by_name not in (None, lower_is_better) and measure.name != "score":
            raise RecordsError(
                f"of {measure.name} a {better_side(by_name)} score is better",
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


def better_side(lower: bool | None) -> str:
    """Says which scores are the better ones."""
    return "lower" if lower else "higher"


def check_independent(
    gathered: Sequence[Gathered], tuner: str | None, wanted: Wanted
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


def arms_of(
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


def unequally_long(frame: pd.DataFrame, gathered: Sequence[Gathered]) -> list[str]:
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


def check_somewhere(frame: pd.DataFrame, gathered: Sequence[Gathered]) -> None:
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


def _other_scores(each: Gathered) -> str:
    others = (*each.columns.others, *each.columns.unused)[:8]
    return f"It also has {', '.join(others)}." if others else ""

"""Cells of other people's tables as numbers and texts, and scores as fractions.

A column called "arm", "validation" and so on holds the cells of that role; "source"
and "row" say where each came from, for messages.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from archtrial.errors import RecordsError
from archtrial.records.endings import says_failed
from archtrial.records.measures import Measure

__all__ = [
    "MISSING",
    "as_numbers",
    "at_best_step",
    "clean",
    "nested",
    "numbers",
    "scaled",
    "texts",
    "with_examples",
    "with_tests",
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MISSING = ("", "nan", "none", "null", "na", "n/a")
"""Words of a cell in which nothing stands, in lower case."""
_NO_VALUE = (
    *MISSING,
    "inf",
    "-inf",
    "infinity",
    "-infinity",
    "-",
)


def clean(text: str) -> str:
    """Returns a text whose control characters a terminal would not obey."""
    return _CONTROL.sub("\ufffd", text)


def texts(cells: pd.Series) -> pd.Series:
    """Returns cells as text without blanks around it; "" where they are missing."""
    codes, values = pd.factorize(cells, use_na_sentinel=True)
    read = [clean(_as_text(value)) for value in values]
    return pd.Series(
        np.array([*read, ""], dtype=object)[codes], index=cells.index, dtype=object
    )


def _as_text(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))  # a column of whole numbers with a gap in it
    return str(value).strip()


def nested(cells: pd.Series) -> bool:
    """Says whether some cell holds more than one value."""
    return cells.dtype == object and any(
        isinstance(cell, (list, dict, np.ndarray)) for cell in cells
    )


def numbers(frame: pd.DataFrame, role: str) -> np.ndarray:
    """Returns (N,) float64; NaN where a cell is empty, missing or infinite.

    Raises:
        RecordsError: A cell is neither a number nor empty.
    """
    cells = frame[role]
    read = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    unread = np.flatnonzero(np.isnan(read))
    left = cells.iloc[unread]
    said = left.notna() & ~left.astype(str).str.strip().str.lower().isin(_NO_VALUE)
    if said.any():
        first = frame.iloc[unread[said.to_numpy()][0]]
        shown = clean(str(first[role]))[:60]
        score = role in ("validation", "test")
        raise RecordsError(
            f"a {'score' if score else role} is a number",
            f"{first['source']}, row {first['row']}, {role}: {shown!r}",
            _advice(shown, score),
        )
    return np.where(np.isfinite(read), read, np.nan)


def _advice(shown: str, score: bool) -> str:
    """Returns what to do about a cell that is no number."""
    ways = (
        (r"\s*\d+,\d+\s*", "Write numbers with a point."),
        (r".*\d\s*%\s*", "Leave the percent sign away, and add --percent."),
        (r".*\d.*(±|\+/?-).*\d.*", "Write the score alone, its spread into a column."),
    )
    for pattern, way in ways:
        if re.fullmatch(pattern, shown):
            return way
    return "Leave it empty where the run diverged." if score else ""


def at_best_step(frame: pd.DataFrame, lower_is_better: bool) -> pd.DataFrame:
    """Replaces lists along a curve by the value where validation was best."""
    validation = frame["validation"]
    if not nested(validation):
        return frame
    sign = -1 if lower_is_better else 1
    at: list[int | None] = []
    for cell in validation:
        scores = (
            sign
            * pd.to_numeric(
                pd.Series(list(cell), dtype=object), errors="coerce"
            ).to_numpy(np.float64)
            if isinstance(cell, (list, np.ndarray))
            else np.array([])
        )
        known = np.isfinite(scores)
        at.append(
            int(np.argmax(np.where(known, scores, -np.inf))) if known.any() else None
        )

    def pick(cell: Any, index: int | None) -> Any:
        if not isinstance(cell, (list, np.ndarray)):
            return cell
        return cell[index] if index is not None and index < len(cell) else None

    picked = {
        role: pd.Series(
            [pick(cell, i) for cell, i in zip(frame[role], at, strict=True)],
            index=frame.index,
            dtype=object,
        )
        for role in ("validation", "test")
        if role in frame
    }
    return frame.assign(**picked)


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns runs with numbers for scores; failed ones have none, whatever stands there.

    A cell may hold a word of failure, such as "OOM", in place of a score.
    """
    frame = frame.copy()
    for role in ("validation", "test"):
        if role not in frame:
            continue
        if not is_numeric_dtype(frame[role]):
            said = texts(frame[role])
            odd = pd.to_numeric(said, errors="coerce").isna() & (said != "")
            lost = {word for word in dict.fromkeys(said[odd]) if says_failed(word)}
            gone = said.isin(list(lost))
            frame["failed"] = frame["failed"] | gone
        frame[role] = frame[role].astype(object).where(~frame["failed"], None)
        frame[role] = numbers(frame, role)
    for role in ("validation", "test"):
        if role in frame:
            frame[role] = frame[role].where(~frame["failed"])
    return frame


def scaled(
    frame: pd.DataFrame, measure: Measure, percent: bool
) -> tuple[bool, float, list[str]]:
    """Reads scores as numbers in place, percentages as fractions.

    Returns:
        Whether all are fractions, what they were divided by, and notes.
    """
    roles = [role for role in ("validation", "test") if role in frame]
    scores = frame[roles].to_numpy(np.float64)
    known = scores[np.isfinite(scores)]
    inside = (known >= 0) & (known <= 1)
    if percent:
        _check_range(frame, roles, 0, 100, "a percentage lies between 0 and 100")
        # Where the column's name says percent as well, .5 may be half a percent.
        if inside.all() and (known > 0).any() and not measure.percent:
            raise RecordsError(
                "percentages go up to 100",
                f"--percent, and the largest score is {known.max():g}",
                "Leave --percent out: these scores are fractions.",
            )
        frame[roles] = scores / 100
        return True, 100.0, ["Scores are percentages: they are divided by 100."]
    if inside.all() and measure.percent and measure.fraction and known.size:
        raise RecordsError(
            "a percentage lies between 0 and 100, and mostly above 1",
            f"the column's name speaks of percent, and all scores are at most"
            f" {known.max():g}",
            f"If they are percentages: --percent; if they are fractions, name what they"
            f" are: --metric {measure.name}.",
        )
    if inside.all():
        # Values between 0 and 1 alone make no fraction: a small loss has them as well.
        return measure.fraction or measure.rate, 1.0, []
    if measure.fraction:
        _check_range(frame, roles, 0, 100, f"{measure.name} lies between 0 and 1")
        if ((known > 0) & (known <= 1)).any() and not measure.percent:
            _mixed(frame, roles)
        frame[roles] = scores / 100
        return (
            True,
            100.0,
            [f"{measure.name} is given in percent: it is divided by 100."],
        )
    odd = known[~inside]
    if (
        measure.name == "score"
        and not measure.lower_is_better
        and inside.mean() >= 0.9
        and (odd > 1).all()
        and (odd <= 100).all()
    ):
        _mixed(frame, roles)
    return False, 1.0, []


def _check_range(
    frame: pd.DataFrame, roles: Sequence[str], low: float, high: float, rule: str
) -> None:
    for role in roles:
        odd = ~(frame[role].isna() | frame[role].between(low, high))
        if odd.any():
            first = frame[odd.to_numpy()].iloc[0]
            raise RecordsError(
                rule, f"{first['source']}, row {first['row']}, {role}: {first[role]:g}"
            )


def _mixed(frame: pd.DataFrame, roles: Sequence[str]) -> None:
    """Refuses fractions among percentages, with a row of the rarer kind."""
    cells = frame[["source", "row", *roles]].melt(["source", "row"], var_name="role")
    cells = cells[(cells["value"] > 0).to_numpy()]
    small = bool((cells["value"] > 1).mean() > 0.5)
    odd = cells["value"] <= 1 if small else cells["value"] > 1
    first = cells[odd.to_numpy()].iloc[0]
    raise RecordsError(
        "all scores are fractions, or all are percentages",
        f"{first['source']}, row {first['row']}, {first['role']}: {first['value']:g}"
        f" among scores {'above' if small else 'up to'} 1",
        "Correct it; or say what the scores are: --percent, or --metric NAME if they"
        " are no shares of anything.",
    )


def with_examples(frame: pd.DataFrame) -> pd.DataFrame:
    """Reads the scores by test example, (T,) float32 each, whose mean is the test's."""
    if "test_examples" not in frame:
        return frame
    found: list[np.ndarray | None] = []
    length = None
    tests = frame["test"] if "test" in frame else [None] * len(frame)
    for cell, test, source, row in zip(
        frame["test_examples"], tests, frame["source"], frame["row"], strict=True
    ):
        listed = cell if isinstance(cell, (list, np.ndarray)) else _loaded_list(cell)
        if listed is None:
            found.append(None)
            continue
        where = f"{source}, row {row}"
        try:
            scores = np.asarray(listed, dtype=np.float32)
        except (TypeError, ValueError):
            scores = np.empty((0, 0), dtype=np.float32)
        if scores.ndim != 1 or scores.size == 0 or not np.isfinite(scores).all():
            raise RecordsError(
                "the scores by test example are a list of numbers",
                f"{where}: {clean(str(cell))[:60]}",
            )
        length = len(scores) if length is None else length
        if len(scores) != length:
            raise RecordsError(
                "all runs are scored on the same test examples",
                f"{where} has {len(scores)} of them, others {length}",
            )
        mean = float(scores.mean())
        if test is not None and abs(mean - test) > 1e-3 * max(1.0, abs(mean)):
            raise RecordsError(
                "the test score is the mean over the test examples",
                f"{where}: {test:g} against {mean:g}",
                "Leave the test column out to have it computed: --test none.",
            )
        found.append(scores)
    means = [np.nan if scores is None else float(scores.mean()) for scores in found]
    return frame.assign(
        test_examples=pd.Series(found, index=frame.index, dtype=object), test=means
    )


def _loaded_list(cell: Any) -> Any:
    """Returns the list in a cell of text; None where there is nothing."""
    if not isinstance(cell, str) or cell.strip().lower() in _NO_VALUE:
        return None
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def with_tests(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Settles which runs diverged, and whether test scores can be used at all."""
    notes = []
    known = np.isfinite(frame["validation"].to_numpy()) & ~frame["failed"].to_numpy()
    if "test" in frame:
        untested = known & ~np.isfinite(frame["test"].to_numpy())
        if known.any() and untested.sum() > 0.1 * known.sum():
            notes.append(
                f"{int(untested.sum())} of {int(known.sum())} runs with a validation"
                " score have no test score: test scores are set aside."
            )
            frame = frame.drop(columns="test")
        else:
            if untested.any():
                notes.append(
                    "With a validation score and no test score, and counted as diverged:"
                    f" {int(untested.sum())} of {len(frame)} runs."
                )
            known &= ~untested
    missing = ~np.isfinite(frame["validation"].to_numpy()) & ~frame["failed"].to_numpy()
    if missing.any():
        notes.append(
            "Without a validation score, and counted as diverged, at the worst score:"
            f" {int(missing.sum())} of {len(frame)} runs."
        )
    frame = frame.assign(diverged=~known)
    for role in ("validation", "test"):
        if role in frame:
            frame[role] = frame[role].where(known)
    if not known.any():
        raise RecordsError("some run has a score", "every run diverged")
    return frame, notes

"""Other people's tables, read as runs.

A table has one row for each run. The first row of a configuration is its search
run; later rows of the same configuration are fresh seeds of it.
"""

import csv
import math
from difflib import get_close_matches
from pathlib import Path

from archtrial.errors import RecordsError
from archtrial.records.table import Run

__all__ = ["read_csv"]

_REQUIRED = ("arm", "pair", "seed", "validation")


def read_csv(path: str | Path) -> list[Run]:
    """Reads runs from a CSV with the columns arm, pair, seed, validation and test.

    `pair` names the configuration; the same pair in two arms means that they were
    searched with the same draw. An empty, NaN or infinite score means that the run
    diverged. Without a column `test` the runs have no test score.

    Returns:
        The runs, search runs with seed 0 and fresh ones from 1 on, and pairs
        numbered from 0 in their order of appearance. Scores of diverged runs are
        NaN.

    Raises:
        RecordsError: The file is not there, is empty or cut off, has no such
            columns, a text where a number belongs, or the same run twice.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return _read(path, csv.DictReader(file, strict=True))
    except FileNotFoundError:
        raise RecordsError("there is no such file", str(path)) from None
    except IsADirectoryError:
        raise RecordsError("runs are read from a file", f"{path} is a folder") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordsError(
            "a table of runs is a CSV in UTF-8", f"{path}: {error}"
        ) from (None)


def _read(path: Path, rows: "csv.DictReader[str]") -> list[Run]:
    columns = list(rows.fieldnames or [])
    if not columns:
        raise RecordsError("a table of runs has a header and rows", f"{path} is empty")
    for name in _REQUIRED:
        if name not in columns:
            near = get_close_matches(name, columns, 1)
            raise RecordsError(
                f"a table of runs has a column {name!r}",
                f"{path} has {', '.join(columns)}",
                f"Rename {near[0]!r} to {name!r}." if near else "",
            )
    runs: list[Run] = []
    seen: set[tuple[str, str, str]] = set()
    seeds: dict[tuple[str, str], int] = {}
    pairs: dict[str, int] = {}
    for row in rows:
        line = rows.line_num
        if None in row or any(row[name] is None for name in columns):
            raise RecordsError(
                "every row has a value for every column",
                f"{path}, line {line}: not {len(columns)} values",
            )
        arm, pair, seed = (row[name].strip() for name in ("arm", "pair", "seed"))
        if (arm, pair, seed) in seen:
            raise RecordsError(
                "every run stands in the table once",
                f"{path}, line {line}: arm {arm}, pair {pair}, seed {seed} again",
            )
        seen.add((arm, pair, seed))
        number = seeds.get((arm, pair), 0)
        seeds[arm, pair] = number + 1
        validation = _score(path, line, "validation", row["validation"])
        test = _score(path, line, "test", row["test"]) if "test" in columns else None
        diverged = math.isnan(validation) or (test is not None and math.isnan(test))
        runs.append(
            Run(
                arm=arm,
                pair=pairs.setdefault(pair, len(pairs)),
                seed=number,
                stage="search" if number == 0 else "confirm",
                configuration={},
                validation=math.nan if diverged else validation,
                test=math.nan if diverged and test is not None else test,
                diverged=diverged,
            )
        )
    if not runs:
        raise RecordsError("a table of runs has rows", f"{path} has a header alone")
    return runs


def _score(path: Path, line: int, column: str, text: str) -> float:
    if not text.strip():
        return math.nan
    try:
        number = float(text)
    except ValueError:
        raise RecordsError(
            "a score is a number",
            f"{path}, line {line}, {column}: {text!r}",
            "Leave it empty where the run diverged.",
        ) from None
    return number if math.isfinite(number) else math.nan

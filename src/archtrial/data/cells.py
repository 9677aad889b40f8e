"""What the cells of a table say: numbers in several notations, dates, marks, texts."""

import collections
import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from archtrial.data.split import Array
from archtrial.data.units import CURRENCY, FEW, several_units, without_unit
from archtrial.errors import DataError, asked_together

__all__ = ["Found", "Notation", "is_missing", "is_number", "is_value", "read_cells"]

# What people write where there is no number, in lower case. Any other word among
# numbers is left out as well, and named; these do not count as cells of a column.
_MARKS = frozenset(
    [
        "?",
        "??",
        "-",
        "--",
        "---",
        ".",
        "..",
        "*",
        "na",
        "n/a",
        "n.a.",
        "n.a",
        "#n/a",
        "#na",
        "nan",
        "null",
        "nil",
        "none",
        "missing",
        "unknown",
        "undefined",
        "unavailable",
        "<na>",
        "nat",
        "#null!",
        "#value!",
        "#div/0!",
        "#ref!",
        "-nan",
        "1.#qnan",
        "(missing)",
        "(null)",
    ]
) | {"not available", "no data", "not applicable", "#n/a n/a"}
# Of these only the narrow ones say that a target was not observed; "none" and
# "unknown" may be classes.
_ABSENT = frozenset(
    ["?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "<na>", "-nan", "#na"]
)

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INFINITE = re.compile(r"[+-]?(inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+")
# Beyond it float64 does not hold every whole number.
_EXACT = 2**53
_SPACES = "[ \u00a0\u2007\u2009\u202f]"
_DRESSED = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-\u2212]?)\s*(?:{CURRENCY})?\s*(?P<minus>[\-\u2212]?)"
    rf"(?P<body>\d[\d.,'\u2019]*(?:{_SPACES}\d{{3}})*(?:[.,]\d+)?|[.,]\d+)"
    rf"(?P<power>[eE][+-]?\d+)?\s*(?P<percent>%)?\s*(?:{CURRENCY})?(?(open)\))"
)
_APART = re.compile(rf"(?<=\d)(?:{_SPACES}|['\u2019])(?=\d{{3}}(?!\d))")

Texts = Sequence[str]


@dataclasses.dataclass(frozen=True)
class Notation:
    """How the numbers and dates of a file are written.

    None is what its cells have to tell.
    """

    decimal: str | None = None
    """"point" or "comma"."""
    dates: str | None = None
    """"day-first" or "month-first"."""
    separator: str = ","
    """What stands between the fields of the file; "" where it is no text."""
    categorical: tuple[str, ...] = ()
    """The columns whose cells are taken as texts, whatever they look like."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a column turned out to hold."""

    values: Array
    """(N,) float64 with NaN where a value is missing, or str and None."""
    date: bool = False
    texts: Array | None = None
    """(N,) str and None: the cells as they stand, where numbers do not say it all."""
    odd: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Cells that are no numbers in a column of numbers, and how often they occur."""
    notes: tuple[str, ...] = ()

    @property
    def doubtful(self) -> dict[str, int]:
        """The odd cells that do not plainly say that nothing was observed."""
        return {t: n for t, n in self.odd.items() if t.lower() not in _ABSENT}


def is_number(field: str) -> bool:
    """Returns whether a text can be read as a number."""
    text = field.strip()
    return bool(
        _PLAIN.fullmatch(text) or _INFINITE.fullmatch(text) or text.lower() == "nan"
    )


def is_value(field: str) -> bool:
    """Returns whether a text is a number or a date in any notation, or a mark."""
    text = field.strip()
    return bool(
        is_number(text)
        or (is_missing(text) and not text.isalpha())
        or _body(text)
        or _YEAR_FIRST.fullmatch(text)
        or _YEAR_LAST.fullmatch(text)
    )


def is_missing(field: str) -> bool:
    """Returns whether a text is empty or a mark for a value that is not there."""
    return not field.strip() or field.strip().lower() in _MARKS


# --- a table ------------------------------------------------------------------------


def read_cells(columns: Mapping[str, Texts], notation: Notation) -> dict[str, Found]:
    """Finds out what each column holds.

    A column of which more than half of the cells are numbers (or dates) is one of
    numbers (or dates), its other cells are missing; marks such as "?" and "NA" do not
    count on either side. In a column of texts only an empty cell is missing.

    Args:
        columns: By name the cells as they stand, stripped, "" for an empty one.
        notation: What is known of how they are written.

    Raises:
        DataError: It cannot be told what a number or a date says.
    """
    distinct = {name: collections.Counter(cells) for name, cells in columns.items()}
    told = {
        name: {text: n for text, n in counter.items() if not is_missing(text)}
        for name, counter in distinct.items()
        if name not in notation.categorical
    }
    bare = {name: columns[name] for name in told}
    measured: dict[str, str] = {}
    found: dict[str, Found] = {}
    with asked_together() as step:
        for name, counts in told.items():
            with step():
                if amounts := without_unit(name, counts):
                    bare[name] = [amounts.get(cell, cell) for cell in columns[name]]
                    distinct[name] = collections.Counter(bare[name])
                    measured[name] = next(iter(amounts))
        decimal = notation.decimal or "point"
        if notation.decimal is None:
            with step():
                decimal = _decimal({n: distinct[n] for n in bare}, notation.separator)
        for name, cells in columns.items():
            with step():
                found[name] = (
                    _column(name, bare[name], distinct[name], decimal, notation)
                    if name in bare
                    else _texts(cells)
                )
    for name, text in measured.items():
        read, texts = found[name], _texts(columns[name])
        if read.values.dtype != np.float64:
            found[name] = texts
            continue
        value = read.values[columns[name].index(text)]
        said = f"Column {name}: {text!r} is read as {value:g}."
        found[name] = dataclasses.replace(
            read, texts=texts.values, notes=(said, *read.notes)
        )
    if decimal == "comma":
        first = next(iter(found))
        said = "Numbers are read with a decimal comma."
        found[first] = dataclasses.replace(
            found[first], notes=(said, *found[first].notes)
        )
    return found


def _column(
    name: str,
    cells: Texts,
    distinct: collections.Counter[str],
    decimal: str,
    notation: Notation,
) -> Found:
    told = {t: n for t, n in distinct.items() if not is_missing(t)}
    total = sum(told.values())
    if not told:
        # Nothing but marks: several say something, one says that nothing is there.
        if len(distinct) > 1:
            return _texts(cells)
        return Found(np.full(len(cells), math.nan))
    if all(text.lower() in ("true", "false") for text in told) and not any(
        text for text in distinct if text and is_missing(text)
    ):
        truth = {text: float(text.lower() == "true") for text in told}
        return Found(_placed(cells, truth))
    numbers, remarks = _numbers(name, told, decimal)
    count = sum(told[text] for text in numbers)
    if count * 2 > total:
        return _as_numbers(name, cells, distinct, numbers, remarks)
    days, remarks = _dates(name, told, notation.dates)
    if days and sum(told[text] for text in days) * 2 > total:
        odd = {t: n for t, n in distinct.items() if t and t not in days}
        return Found(
            _placed(cells, days), date=True, odd=odd, texts=_texts(cells).values,
            notes=(*remarks, *_on_odd(name, odd)),
        )  # fmt: skip
    return _texts(cells)


def _as_numbers(
    name: str,
    cells: Texts,
    distinct: collections.Counter[str],
    numbers: Mapping[str, float],
    remarks: Iterable[str],
) -> Found:
    infinite = [text for text, value in numbers.items() if math.isinf(value)]
    if infinite:
        row = next(i for i, cell in enumerate(cells) if cell in infinite)
        raise DataError(
            f"column {name!r} holds finite numbers",
            f"{sum(distinct[t] for t in infinite)} infinite, the first in data row"
            f" {row + 1}",
            "Correct the values, or leave the cells empty to have them imputed.",
        )
    odd = {t: n for t, n in distinct.items() if t and t not in numbers}
    # Whole numbers that one float cannot tell apart are names, and not amounts.
    whole = [text for text in numbers if _WHOLE.fullmatch(text)]
    exact = {int(text) for text in whole if len(text) < 400}
    merged = len(exact) > len({float(number) for number in exact})
    large = any(abs(number) > _EXACT for number in exact)
    if merged and len(whole) == len(numbers):
        return dataclasses.replace(
            _texts(cells),
            notes=(
                f"Column {name} holds whole numbers beyond 2^53 that differ by less"
                " than a number of 64 bits can say: each is taken as a name.",
            ),
        )
    return Found(
        _placed(cells, numbers),
        odd=odd,
        texts=_texts(cells).values if odd or large else None,
        notes=(*remarks, *_on_odd(name, odd)),
    )


def _on_odd(name: str, odd: Mapping[str, int]) -> list[str]:
    if not odd:
        return []
    ranked = sorted(odd.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{text[:30]!r} ({count})" for text, count in ranked[:6]]
    if ranked[6:]:
        said.append(f"{len(ranked) - 6} more")
    return [f"Column {name} holds numbers or dates; missing there: {', '.join(said)}."]


def _texts(cells: Texts) -> Found:
    texts = np.empty(len(cells), dtype=object)
    texts[:] = [cell or None for cell in cells]
    return Found(texts)


def _placed(cells: Texts, values: Mapping[str, float]) -> Array:
    return np.array([values.get(cell, math.nan) for cell in cells], dtype=np.float64)


# --- numbers ------------------------------------------------------------------------

_MANY_COMMAS = re.compile(r"\d{1,3}(,\d{3}){2,}(\.\d+)?|\d{1,3}(,\d{3})+\.\d+")
_MANY_POINTS = re.compile(r"\d{1,3}(\.\d{3}){2,}(,\d+)?|\d{1,3}(\.\d{3})+,\d+")
_ONE_COMMA = re.compile(r"[1-9]\d{0,2},\d{3}")
_ONE_POINT = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_COMMA = re.compile(r"\d*,\d+")
_POINT = re.compile(r"\d*\.\d+")


def _body(text: str) -> re.Match[str] | None:
    return _DRESSED.fullmatch(text)


def _marked(text: str) -> str:
    """Returns what a cell says of the notation, or an empty string.

    "comma" and "point" are the decimal sign; in capitals where the cell has groups of
    thousands as well, with which it is the other sign; "1,234" and "1.234" say either.
    """
    match = _body(text)
    if match is None:
        return ""
    body = _APART.sub("", match["body"])
    grouped = body != match["body"]
    for pattern, says in (
        (_MANY_COMMAS, "point"), (_MANY_POINTS, "COMMA"),
        (_ONE_COMMA, "1,234"), (_ONE_POINT, "1.234"),
        (_COMMA, "comma"), (_POINT, "point"),
    ):  # fmt: skip
        if pattern.fullmatch(body):
            if grouped or match["power"]:
                # 1 234,567 and 1,234e5: what is after the sign is a fraction.
                return {"1,234": "comma", "1.234": "point"}.get(says, says)
            return says
    return ""


def _decimal(distinct: Mapping[str, collections.Counter[str]], separator: str) -> str:
    """Finds the decimal sign of a file from all its cells.

    Raises:
        DataError: They contradict each other, or do not say it.
    """
    seen: dict[str, tuple[str, str]] = {}
    # A column of numbers alone has a say: "v1.5" and "Smith, 3,5" have none.
    for name, counter in distinct.items():
        told = {t: n for t, n in counter.items() if not is_missing(t)}
        if not any("," in text for text in told) and all(
            "." not in text for text in told
        ):
            continue
        says = {text: _marked(text) for text in told}
        readable = sum(n for t, n in told.items() if _body(t))
        if readable * 2 <= sum(told.values()):
            continue
        for text, what in says.items():
            if what:
                seen.setdefault(what, (text, name))
    commas = seen.get("comma") or seen.get("COMMA")
    points = seen.get("point")
    if commas and points:
        raise _undecided(
            f"{points[0]!r} in column {points[1]} and {commas[0]!r} in column"
            f" {commas[1]}"
        )
    if commas:
        if "1.234" in seen and "COMMA" not in seen:
            text, name = seen["1.234"]
            raise _undecided(
                f"{text!r} in column {name} beside {commas[0]!r} in column {commas[1]}"
            )
        return "comma"
    if not points and "1,234" in seen and ("1.234" in seen or separator != ","):
        # Where commas stand between fields, no decimal sign is one.
        text, name = seen["1,234"]
        raise _undecided(f"{text!r} in column {name}")
    return "point"


def _undecided(received: str) -> DataError:
    return DataError(
        "the numbers of a file have one decimal sign that can be told",
        received,
        "Say which: --decimal point or --decimal comma (in a protocol, decimal ="
        ' "point" or "comma").',
    )


def _numbers(
    name: str, told: Mapping[str, int], decimal: str
) -> tuple[dict[str, float], list[str]]:
    """Returns those texts that are numbers, and what is to be said of them."""
    plain: dict[str, float] = {}
    percent: dict[str, float] = {}
    point = decimal == "point"
    for text in told:
        if (
            _PLAIN.fullmatch(text) and (point or "." not in text)
        ) or _INFINITE.fullmatch(text):
            plain[text] = float(text)
        elif (value := _undressed(text, point)) is not None:
            (percent if "%" in text else plain)[text] = value
    notes = []
    if percent:
        scale = _of_percent(plain, percent)
        with_sign = sum(told[text] for text in percent)
        if scale is None and with_sign > FEW * sum(told.values()):
            examples = {
                next(iter(percent)): with_sign,
                next(iter(plain)): sum(told[text] for text in plain),
            }
            raise several_units(name, examples)
        if scale is not None:
            plain |= {text: value * scale for text, value in percent.items()}
            notes.append(
                f"Column {name} has {with_sign} percent signs:"
                f" {next(iter(percent))} is read as"
                f" {next(iter(percent.values())) * scale:g}."
            )
    other = next(
        (t for t in plain if not _PLAIN.fullmatch(t) and not _INFINITE.fullmatch(t)
         and t not in percent and (point or not _COMMA.fullmatch(t.lstrip("+-")))), None,
    )  # fmt: skip
    if other is not None:
        notes.append(f"Column {name}: {other} is read as {plain[other]:g}.")
    return plain, notes


def _undressed(text: str, point: bool) -> float | None:
    """Reads a number with thousands apart, a currency or a percent sign."""
    match = _body(text)
    if match is None:
        return None
    body = _APART.sub("", match["body"])
    thousands, sign = (",", ".") if point else (".", ",")
    whole, _, fraction = body.partition(sign)
    if thousands in whole:
        if not re.fullmatch(rf"\d{{1,3}}({re.escape(thousands)}\d{{3}})+", whole):
            return None
        whole = whole.replace(thousands, "")
    if not re.fullmatch(r"\d*", whole) or not re.fullmatch(r"\d*", fraction):
        return None
    if not whole and not fraction:
        return None
    value = float(f"{whole or 0}.{fraction or 0}{match['power'] or ''}")
    negative = bool(match["open"]) != (
        match["sign"] in ("-", "\u2212") or bool(match["minus"])
    )
    return -value if negative else value


def _of_percent(
    plain: Mapping[str, float], percent: Mapping[str, float]
) -> float | None:
    """Returns what a percent sign multiplies by: 1 or .01, or None: it is unclear."""
    if not plain:
        return 1.0
    # Among most of the other numbers, or else among all of them.
    for tail in (5, 0):
        low, high = np.percentile(list(plain.values()), [tail, 100 - tail])
        fits = [
            scale
            for scale in (1.0, 0.01)
            if all(low <= value * scale <= high for value in percent.values())
        ]
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


# --- dates --------------------------------------------------------------------------

_MONTHS = {
    month: number
    for number, months in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june",
         "jul july", "aug august", "sep sept september", "oct october",
         "nov november", "dec december"), 1)
    for month in months.split()
}  # fmt: skip
_CLOCK = r"(?:,?[ T]+(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2}(?:\.\d+)?))?\s*(?P<pm>[AaPp]\.?[Mm]\.?)?)?"
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + _CLOCK)
_YEAR_LAST = re.compile(
    r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d{2})" + _CLOCK
)
_DAY_NAMED = re.compile(
    r"(?P<d>\d{1,2})\.?[- ](?P<m>[A-Za-z]{3,9})\.?,?[- ](?P<y>\d{4})" + _CLOCK
)
_MONTH_NAMED = re.compile(
    r"(?P<m>[A-Za-z]{3,9})\.?[- ](?P<d>\d{1,2}),?[- ](?P<y>\d{4})" + _CLOCK
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ].*")


def _dates(
    name: str, told: Mapping[str, int], order: str | None
) -> tuple[dict[str, float], list[str]]:
    """Returns those texts that are dates, as days since 1970, and what is to be said.

    Raises:
        DataError: Day and month cannot be told apart.
    """
    matches: dict[str, re.Match[str]] = {}
    iso: list[str] = []
    open_order: dict[str, re.Match[str]] = {}
    for text in told:
        if len(text) > 40 or not any(c.isdigit() for c in text[:20]):
            continue
        for pattern in (_YEAR_FIRST, _DAY_NAMED, _MONTH_NAMED):
            if match := pattern.fullmatch(text):
                matches[text] = match
                break
        else:
            if match := _YEAR_LAST.fullmatch(text):
                open_order[text] = match
            elif _ISO.fullmatch(text):
                iso.append(text)
    count = sum(told[t] for t in (*matches, *open_order, *iso))
    if count * 2 <= sum(told.values()):
        return {}, []
    notes: list[str] = []
    day_first = True
    if open_order:
        day_first = _day_first(name, open_order.values(), order)
        text = next(iter(open_order))
        notes.append(
            f"Column {name}: dates are read as"
            f" {'day, month' if day_first else 'month, day'}, year, such as {text}."
        )
    days = _moments(iso)
    for text, match in matches.items():
        month = match["m"]
        number = _MONTHS.get(month.lower()) if month.isalpha() else int(month)
        days[text] = _day(int(match["y"]), number, int(match["d"]), match)
    for text, match in open_order.items():
        first, second = int(match["a"]), int(match["b"])
        day, month_number = (first, second) if day_first else (second, first)
        year = int(match["y"])
        if len(match["y"]) == 2:  # as Python and POSIX read them
            year += 2000 if year < 69 else 1900
        days[text] = _day(year, month_number, day, match)
    return {text: value for text, value in days.items() if value is not None}, notes


def _moments(texts: list[str]) -> dict[str, float | None]:
    """Reads ISO 8601 with a time of day, a time zone among it."""
    import pandas as pd

    if not texts:
        return {}
    found = pd.to_datetime(
        pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    epoch = pd.Timestamp("1970-01-01", tz="UTC")
    values = ((found - epoch) / pd.Timedelta(days=1)).to_numpy(np.float64)
    return {
        text: None if math.isnan(value) else float(value)
        for text, value in zip(texts, values.tolist(), strict=True)
    }


def _day_first(name: str, matches: Iterable[re.Match[str]], order: str | None) -> bool:
    matches = list(matches)
    if order is not None:
        return order == "day-first"
    days = [m for m in matches if int(m["a"]) > 12]
    months = [m for m in matches if int(m["b"]) > 12]
    if days and not months:
        return True
    if months and not days:
        return False
    # With points between them the day comes first, wherever that is written.
    if not days and all(m["sep"] == "." for m in matches):
        return True
    if not days and all(m["a"] == m["b"] for m in matches):
        return True
    received = f"{days[0][0]!r} and {months[0][0]!r}" if days else repr(matches[0][0])
    raise DataError(
        f"of the dates in column {name!r} can be told which number is the day",
        received,
        "Say which: --dates day-first or --dates month-first (in a protocol, dates ="
        ' "day-first" or "month-first").',
    )


def _day(year: int, month: int | None, day: int, match: re.Match[str]) -> float | None:
    if month is None:
        return None
    try:
        ordinal = datetime.date(year, month, day).toordinal()
    except ValueError:
        return None
    hour, minute = int(match["h"] or 0), int(match["mi"] or 0)
    if match["pm"]:
        hour = hour % 12 + 12 * match["pm"].lower().startswith("p")
    if hour > 24 or minute > 59:
        return None
    seconds = 3600 * hour + 60 * minute + float(match["s"] or 0)
    return ordinal - datetime.date(1970, 1, 1).toordinal() + seconds / 86400

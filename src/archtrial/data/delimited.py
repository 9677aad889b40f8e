"""Text files of rows: separator, comments, line of names, and columns that count."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence

from archtrial.data.cells import is_number, is_value
from archtrial.errors import DataError

__all__ = ["listing", "parse", "without_indices"]

_SEPARATORS = "\t;|,"
# So many rows tell the separator.
_LOOKED_AT = 100
_COMMENT = re.compile(r"\s*#")


def listing(items: list[str], most: int = 5) -> str:
    """Returns "a, b and c", shortened to "a, b and 7 more" where there are many."""
    if len(items) > most + 1:
        items = [*items[:most], f"{len(items) - most} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if items[1:] else items)


def parse(text: str, name: str) -> tuple[dict[str, list[str]], str, list[str]]:
    """Reads the text of a file of rows, with or without a line of names.

    Lines that begin with # are comments, unless they have as many fields as the
    others; a comment just above rows of numbers alone may hold their names.

    Args:
        text: The whole file. Fields are separated by commas, semicolons, tabs, bars
            or, where none of these is there, by spaces.
        name: The file's name, for messages.

    Returns:
        By name the cells of each column, stripped; what separates them; and notes.

    Raises:
        DataError: There are no rows, rows of different lengths, or two columns of
            one name.
    """
    if "\0" in text:
        raise DataError(
            f"{name} is text",
            "it holds zero bytes",
            "It may be another kind of file, or saved as UTF-16: save it as UTF-8.",
        )
    text, separator, comments = _beginning(text)
    rows = _rows(text, name, separator)
    first = next(rows, None)
    if first is None:
        raise DataError(
            f"{name} has a line of column names and rows below it", "no rows"
        )
    notes: list[str] = []
    skipped, repeated = len(comments), 0
    names, width = first, len(first)
    body: list[list[str]] = []
    for count, row in enumerate(rows, 2):
        if len(row) != width:
            if row[0].startswith("#"):
                skipped += 1
                continue
            if not body and len(row) == width + 1:
                # As R writes it: the rows' names have no name; or a separator ends
                # each row.
                names, width = ["", *names], width + 1
            else:
                raise DataError(
                    f"every row of {name} has as many fields as its first",
                    f"row {count} has {len(row)} and not {width}",
                    "The file may be cut off; or put texts that contain the separator"
                    " into quotes.",
                )
        if row == first:
            repeated += 1
        body.append(row)
    headed = _is_header(first, body)
    if not headed and len(first) != width:
        raise DataError(
            f"every row of {name} has as many fields as its first",
            f"row 2 has {width} and not {len(first)}",
            "Its first row holds values: write the names of the columns above it.",
        )
    if not headed:
        body.insert(0, first)
        above = _names_in(comments, separator, width)
        if above is not None:
            names, headed, skipped = above, True, skipped - 1
            notes.append(f"The names of the columns stand in a comment of {name}.")
    elif repeated:
        body = [row for row in body if row != first]
        notes.append(f"Left out of {name}: the line of names, {repeated} times more.")
    if not body:
        raise DataError(
            f"{name} has a line of column names and rows below it", "no rows"
        )
    if skipped:
        notes.append(f"Comments left out of {name}: {_lines(skipped)}.")
    if not headed:
        names = [f"column_{i + 1}" for i in range(width)]
        notes.append(
            f"{name} has no line of names: its columns are column_1, column_2, ..."
        )
    columns = [list(cells) for cells in zip(*body, strict=True)]
    if len(names) > len(first) and not any(columns[-1]) and headed:
        names = [*names[1:], ""]
    return _named(names, columns, name), separator, notes


def _is_header(first: list[str], body: list[list[str]]) -> bool:
    """Whether the first row holds the names of the columns, and no values.

    Names are words. A row with a fraction in it is data, and so is one of whose words
    at least half occur in their own columns again; unless the whole row does, as where
    files with their lines of names were put together.
    """
    words = [i for i, field in enumerate(first) if field and not is_value(field)]
    if not words:
        # What pandas calls the columns of an array: 0, 1, 2, ...
        filled = first[1:] if first and not first[0] else first
        counted = [str(i) for i in range(len(filled))]
        return len(filled) > 2 and len(first) > 2 and filled == counted
    if any(is_number(field) and "." in field for field in first):
        return False
    others = [row for row in body if row != first and len(row) == len(first)]
    again = sum(any(row[i] == first[i] for row in others) for i in words)
    return again * 2 < len(words)


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _beginning(text: str) -> tuple[str, str, list[str]]:
    """Returns the text below its comments, its separator, and those comments."""
    comments: list[str] = []
    text = text.lstrip("\r\n")
    declared = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)  # Excel's own line
    if declared:
        text = text[declared.end() :]
    rest = text
    while match := _COMMENT.match(rest):
        line, _, rest = rest.partition("\n")
        comments.append(line[match.end() :].strip())
        rest = rest.lstrip("\r\n")
    separator = declared[1] if declared else _separator(rest)
    if comments and rest:
        # "#,a,b" above "1,2,3" is a line of names, not a comment.
        last = text[: len(text) - len(rest)].rstrip("\r\n").rpartition("\n")[2]
        below = next(_fields(rest, separator, 1), [])
        named = _split(last, separator)
        if len(named) == len(below) > 1 and not all(map(is_number, below)):
            return rest, separator, comments
    return rest, separator, comments


def _names_in(comments: list[str], separator: str, width: int) -> list[str] | None:
    if not comments:
        return None
    names = [field.strip() for field in _split(comments[-1], separator)]
    good = len(names) == width > 1 and all(names) and len(set(names)) == width
    return names if good and not any(map(is_number, names)) else None


def _split(line: str, separator: str) -> list[str]:
    return next(_fields(line, separator, 1), [])


def _fields(text: str, separator: str, most: int) -> Iterator[list[str]]:
    """Yields the fields of the first rows; what is malformed ends them."""
    lines = text.split("\n", most + 1)[:most] if most else []
    if separator == " ":
        yield from (line.split() for line in lines if line.split())
        return
    try:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        yield from (row for row in reader if row)
    except csv.Error:
        return


def _separator(text: str) -> str:
    """Finds what separates the fields: what gives all rows the same number of them."""
    found: dict[str, list[list[str]]] = {}
    for separator in (*_SEPARATORS, " "):
        rows = [
            row
            for row in _fields(text, separator, _LOOKED_AT)
            if not row[0].startswith("#")
        ]
        widths = {len(row) for row in rows[1:]} or {len(row) for row in rows}
        if len(widths) == 1 and max(widths) > 1 and len(rows[0]) > 1:
            found[separator] = rows
    first = text.partition("\n")[0]
    if not found:
        return max(",;\t|", key=first.count)
    if "," in found and len(found) > 1:
        # "0,5;1,5": under another separator all fields are numbers with a comma.
        for separator, rows in found.items():
            if separator not in ", " and all(
                re.fullmatch(r"[+-]?\d*,?\d+([eE][+-]?\d+)?|", field.strip())
                for row in rows[1:]
                for field in row
            ):
                return separator
    if len(found) > 1:
        found.pop(" ", None)
    return max(found, key=lambda separator: len(found[separator][0]))


def _rows(text: str, name: str, separator: str) -> Iterator[list[str]]:
    """Yields the fields of each row, stripped; blank lines are none."""
    if separator == " ":
        yield from (line.split() for line in text.splitlines() if line.split())
        return
    if separator == "\t" and (lines := _with_quotes_in_texts(text)):
        yield from lines
        return
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator, skipinitialspace=True,
    )  # fmt: skip
    try:
        for row in reader:
            if len(row) > 1 or (row and row[0].strip()):
                yield [field.strip() for field in row]
    except csv.Error as error:
        if "field larger" in str(error):
            raise DataError(
                f"a cell of {name} holds at most {csv.field_size_limit():,} characters",
                f"one holds more, and ends in line {reader.line_num}",
                "A quotation mark may be missing. Longer texts are read from .jsonl and"
                " .parquet: in pandas df.to_json('data.jsonl', orient='records',"
                " lines=True).",
            ) from error
        raise DataError(
            f"{name} can be read row by row",
            f"{error} in line {reader.line_num}",
            "A quotation mark may be missing, or the file may be damaged.",
        ) from error


def _with_quotes_in_texts(text: str) -> list[list[str]]:
    """Returns the rows of a file with tabs whose quotation marks are parts of texts.

    Many programs write texts between tabs as they are. A mark at the beginning of one
    would then swallow the rows below it, up to the next mark. Where all lines have the
    same fields, and the marks would make fewer rows of them, lines are rows.

    Returns:
        No rows where marks stand around fields, or there are none.
    """
    if '"' not in text:
        return []
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [line.split("\t") for line in lines]
    widths = {len(row) for row in rows}
    if len(widths) > 1 or max(widths) < 2:
        return []
    try:
        quoted = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        if sum(len(row) > 1 or any(row) for row in quoted) == len(rows):
            return []
    except csv.Error:
        pass
    return [[_unquoted(field.strip()) for field in row] for row in rows]


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    whole = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner
    return field[1:-1].replace('""', '"') if whole else field


def _named(
    names: Sequence[str], columns: Sequence[list[str]], name: str
) -> dict[str, list[str]]:
    """Joins names and cells; columns without either are gone, nameless ones get one."""
    found: dict[str, list[str]] = {}
    names = ["".join(c for c in text if c.isprintable()).strip() for text in names]
    for index, (title, cells) in enumerate(zip(names, columns, strict=True)):
        if not title:
            if not any(cells):
                continue  # a separator at the end of every line
            title = f"Unnamed: {index}"
        if title in found:
            raise DataError(
                f"the columns of {name} have names that differ",
                f"{title!r} twice",
                "Rename them in the first line.",
            )
        found[title] = cells
    return found


# --- columns that number the rows ---------------------------------------------------

_NAMELESS = re.compile(
    r"Unnamed: ?\d+(_level_\d+)?|\.\.\.\d+|__index_level_\d+__|X(\.\d+)?"
)
_INDEX = re.compile(
    r"index|idx|level_\d+|rows?|row[_ .-]?(id|nr|no|num|number|index|names?)|rownames?"
    r"|id|ids|uid|uuid|guid|key|nr|no|\W?#|record([_ .-]?(id|no|number))?"
    r"|serial([_ .-]?(no|number))?|s\.? ?no\.?|.*[_ .-](id|uid|uuid|guid)|id[_ .-].*",
    re.IGNORECASE,
)
_CAMEL = re.compile(r".*[a-z](Id|ID)")
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0)?")


def without_indices(
    columns: Mapping[str, list[str]], kept: Sequence[str], name: str
) -> tuple[dict[str, list[str]], list[str]]:
    """Leaves out the columns that number or name the rows, and says so.

    These are columns without a name and those called index, id and the like, where
    every row has a value of its own, and any column that counts the rows.

    Args:
        columns: By name the cells of each.
        kept: What stays in any case: the target, and the column of groups.
        name: The file's name, for messages.

    Raises:
        DataError: A column without a name holds something else.
    """
    rest, left_out = dict(columns), []
    for title, cells in columns.items():
        if title in kept:
            continue
        counts = _counts(cells)
        nameless = bool(_NAMELESS.fullmatch(title)) and (
            title not in ("X",) or counts or title.startswith("X.")
        )
        own = len(set(cells)) == len(cells) > 1
        fits = nameless or _INDEX.fullmatch(title) or _CAMEL.fullmatch(title)
        if counts or (fits and own and _numbers_or_names(cells)):
            del rest[title]
            left_out.append(title)
        elif re.fullmatch(r"Unnamed: ?\d+", title):
            raise DataError(
                f"the columns of {name} have names",
                f"column {list(columns).index(title) + 1} has none, and its values are"
                " not those of an index",
                "Name it in the first line, or remove it.",
            )
    if not left_out:
        return rest, []
    shown = listing(["(no name)" if t.startswith("Unnamed") else t for t in left_out])
    return rest, [f"Left out, since they number or name the rows: {shown}."]


def _counts(cells: Sequence[str]) -> bool:
    """Whether a column counts the rows, up or down, from wherever."""
    if len(cells) < 3 or not all(map(_WHOLE.fullmatch, cells[:3])):
        return False
    if not all(map(_WHOLE.fullmatch, cells)):
        return False
    numbers = [int(float(cell)) if "." in cell else int(cell) for cell in cells]
    step = numbers[1] - numbers[0]
    return abs(step) == 1 and numbers == list(
        range(numbers[0], numbers[0] + step * len(numbers), step)
    )


def _numbers_or_names(cells: Sequence[str]) -> bool:
    """Whether no cell is a fraction: what is measured is no index."""
    return not any(is_number(c) and not _WHOLE.fullmatch(c) for c in cells)

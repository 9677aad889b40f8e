"""From a name or a path to a `Dataset`."""

import ast
import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from archtrial.data import builtin, files
from archtrial.data.content import IN_MEMORY, Reading
from archtrial.data.dataset import Dataset
from archtrial.errors import DataError

__all__ = ["BUILTIN", "load"]

BUILTIN: dict[str, Callable[..., Dataset]] = {
    "mnist1d": builtin.mnist1d,
    "mnist1d-shuffled": builtin.mnist1d_shuffled,
    "digits": builtin.digits,
    "diabetes": builtin.diabetes,
    "house-prices": builtin.house_prices,
}
_OPTIONS: dict[str, tuple[str, ...]] = {"house-prices": ("houses",)}


def load(
    source: str | Path,
    *,
    target: str | None = None,
    task: str | None = None,
    channels: str | None = None,
    decimal: str | None = None,
    dates: str | None = None,
    groups: str | None = None,
    categorical: Sequence[str] = (),
    text: str | None = None,
    tokens: str | None = None,
    max_vocabulary: int | None = None,
    max_tokens: int | None = None,
    lengths: str | int | None = None,
    memory: float = IN_MEMORY,
) -> Dataset:
    """Returns a data set that comes with the package, or one from a file or folder.

    A .npz file holds `x` (N, ...) and `y` (N,), and may hold `x_test`, `y_test`,
    `x_validation`, `y_validation` and `groups`. Two dimensions are an array of
    features; three are images (N, H, W) where they are square or bytes, else sequences
    (N, C, L); four are images, (N, C, H, W) or (N, H, W, C). A folder of .npy files of
    those names is the same. A .csv, .tsv, .txt, .jsonl or .json (also .gz and .zip) or a
    .parquet file is a table. A folder holds a folder of
    images for each class, or such folders inside `train`, `test` and `validation`; or
    IDX files; or one pair of .ts files or of NAME_TRAIN.tsv and NAME_TEST.tsv. Of
    these, the test set is the file of that name beside the training file. Series of .ts
    files and of the UCR archive may differ in length. Nothing is unpickled.

    Args:
        source: A key of `BUILTIN`, with options as in "house-prices(houses=200)",
            or a path.
        target: A table's column to predict; its last one if None.
        task: "classification" or "regression"; found from the target if None.
        channels: "first" or "last", where arrays of series or images have their
            channels; found from their shape if None.
        decimal: "point" or "comma", the decimal sign of a table of texts.
        dates: "day-first" or "month-first", of a table of texts.
        groups: A table's column that names each row's group.
        categorical: A table's columns whose cells are categories, whatever they look
            like.
        text: A table's column of texts, which become ids of their tokens; its other
            columns are left out.
        tokens: "word" or "byte"; words if None.
        max_vocabulary: Words that are told apart; 20,000 if None.
        max_tokens: Tokens that are read of a text; 256 words or 1024 bytes if None.
        lengths: Says that NaN in all channels behind the end of a series, or the id 0,
            is padding, and what becomes of it: "mask", modules are told where series
            end; "zeros", zeros are read as data; or a number, the steps that are used
            of each series. None: as "mask", where the format itself has padding.
        memory: GiB. Inputs that take more, as they stand or as 32-bit numbers, stay in
            their file and are read as they are needed; the same batches come of them.

    Raises:
        DataError: It cannot be read, or no honest study can be built on it.
    """
    name, options = _parse(str(source))
    path = Path(source).expanduser()
    # A built-in name wins over a file of that name; "./digits" means the file.
    if isinstance(source, str) and name in BUILTIN:
        if target is not None:
            raise DataError(
                "target names a column of a table in a file",
                f"{target!r} for {name}",
                "Leave it out: the target is part of the data set.",
            )
        for word, value in (
            ("channels", channels), ("decimal", decimal), ("dates", dates),
            ("categorical", ", ".join(categorical)), ("text", text),
            ("tokens", tokens), ("max_vocabulary", max_vocabulary),
            ("max_tokens", max_tokens), ("lengths", lengths),
        ):  # fmt: skip
            if value:
                raise DataError(
                    f"{word} says how a file is read", f"{value} for {name}",
                    "Leave it out.",
                )  # fmt: skip
        for option in options:
            if option not in _OPTIONS.get(name, ()):
                known = ", ".join(_OPTIONS.get(name, ())) or "none"
                raise DataError(
                    f"the options of {name} are: {known}",
                    repr(option),
                )
        return BUILTIN[name](task, **options)
    told = Reading(
        target=target,
        task=task,
        channels=channels,
        decimal=decimal,
        dates=dates,
        groups=groups,
        categorical=tuple(categorical),
        text=text,
        tokens=tokens,
        max_vocabulary=max_vocabulary,
        max_tokens=max_tokens,
        lengths=lengths,
        memory=memory,
    )
    try:
        if not path.exists():
            raise _not_found(path, name)
    except (OSError, ValueError) as error:  # too long a name, or a zero byte in it
        raise DataError(
            "data are a file, a folder or a built-in name", str(error)
        ) from error
    return files.read(path, told)


def _parse(source: str) -> tuple[str, dict[str, Any]]:
    """Splits "name(a=1, b=2)" into the name and its options."""
    match = re.fullmatch(r"([\w-]+)(?:\((.*)\))?", source.strip())
    if match is None:
        return source, {}
    name, inside = match[1], match[2] or ""
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        assert isinstance(call, ast.Call)
        options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        options, call = {}, None
    if call is None or call.args or "None" in options:
        raise DataError(
            "options are written name(option=value)",
            source,
            "For instance house-prices(houses=200).",
        )
    return name, options


def _not_found(path: Path, name: str) -> DataError:
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(name, BUILTIN, 2, cutoff=0.6)
    near += [
        str(path.parent / match)
        for match in difflib.get_close_matches(path.name, beside, 2, cutoff=0.7)
    ]
    return DataError(
        "data are a file, a folder or a built-in name",
        f"there is no {str(path)!r}",
        f"Did you mean {' or '.join(near)}?"
        if near
        else f"Built in are {', '.join(BUILTIN)}.",
    )

"""An arm as the command line writes it: `[NAME=]SPEC`, options in brackets; a factor.

>>> parse_spec("cnn")
(None, 'cnn', {})
>>> parse_spec("tweak=net.py:Net(skip=true, depth=20, act='relu')")
('tweak', 'net.py:Net', {'skip': True, 'depth': 20, 'act': 'relu'})
>>> parse_spec("net.py:Net(depths=[1, 1, 2], act=None, classes={num_outputs})")[2]
{'depths': [1, 1, 2], 'act': None, 'classes': '{num_outputs}'}
>>> parse_factor("norm=none,layer")
('norm', ['none', 'layer'])
>>> parse_factor("architecture=mlp,cnn(norm=batch, depth=3)")
('architecture', ['mlp', 'cnn(norm=batch, depth=3)'])
"""

import re
from collections.abc import Mapping
from typing import Any

from archtrial.errors import ArmError
from archtrial.space import Value

__all__ = ["parse_factor", "parse_spec", "write_spec", "write_value"]

# A path may hold brackets ("runs (2)/net.py:Net"), so what comes before ".py:"
# is never taken for options.
_ARM = re.compile(
    r"\s*(?:(?P<name>[^=(:/\\]*)=)?(?P<spec>.*?\.py:[^(]*|[^(]*)(?P<options>\(.*)?",
    re.DOTALL,
)
_OPTION_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1|\\).)*)\1""", re.DOTALL)
_BARE = re.compile(r"""[^\s,()\[\]="']+""")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "None": None}
_CLOSING = {"[": "]", "(": ")"}
_CLOSED = frozenset(_CLOSING.values())
# No architecture has lists in lists in lists deeper than this, nor longer numbers.
_DEEPEST, _MOST_DIGITS = 20, 300


def parse_spec(text: str) -> tuple[str | None, str, dict[str, Any]]:
    """Reads `[NAME=]SPEC`, where SPEC may end with options in brackets.

    Args:
        text: "cnn", "deep=mlp(depth=4)" or "net.py:Net(skip=true, act='relu')".
            A value is true or false, None, a number, a text with or without quotes,
            or a list of values in square or round brackets.

    Returns:
        The name, or None where none is given; what to look for; the options.

    Raises:
        ArmError: The text has another form; the message says at which character.
    """
    match = _ARM.fullmatch(text)
    if match is None or not match["spec"].strip():
        raise ArmError(
            "an arm is written [NAME=]SPEC",
            _shown(text),
            "SPEC is a name of the zoo, path/to/file.py:Name or"
            " package.module:Name, as in tweak=net.py:Net(skip=true).",
        )
    name = match["name"]
    if name is not None:
        name = name.strip()
        if not name:
            raise _unreadable(text, 0, "a name stands before '='")
    spec = match["spec"].strip()
    if match["options"] is None:
        return name, spec, {}
    return name, spec, _parse_options(text, match.start("options"))


def parse_factor(text: str) -> tuple[str, list[Value]]:
    """Reads `OPTION=LEVEL,LEVEL...`.

    Args:
        text: "residual=false,true" or "act='relu','gelu'"; a level is written like an
            option's value, and one of "architecture" like an arm; in quotes, where a
            comma outside of brackets belongs to it.

    Returns:
        The option and its levels.

    Raises:
        ArmError: The text has another form; the message says at which character.
    """
    way_out = "Write for example residual=false,true or norm=none,layer."
    named = _OPTION_NAME.match(text)
    if named is None:
        raise _unreadable(text, 0, "a factor is written option=level,level", way_out)
    levels, at = [], named.end()
    parse = _parse_arm if named[1] == "architecture" else _parse_value
    while True:
        level, at = parse(text, _skip_blanks(text, at))
        levels.append(level)
        at = _skip_blanks(text, at)
        if at == len(text):
            return named[1], levels
        if text[at] != ",":
            raise _unreadable(text, at, "levels are parted by commas", way_out)
        at += 1


def write_spec(name: str | None, spec: str, options: Mapping[str, Any]) -> str:
    """Writes what `parse_spec` reads back, letter by letter the same values."""
    inside = ", ".join(f"{key}={_written(value)}" for key, value in options.items())
    return (f"{name}=" if name else "") + spec + (f"({inside})" if inside else "")


def write_value(value: Any) -> str:
    """Writes a value as it can be typed, a text without quotes where it needs none."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(write_value, value))}]"
    bare = isinstance(value, str) and _BARE.fullmatch(value)
    # "18" without quotes would be read as a number.
    if bare and _parse_value(value, 0)[0] == value:
        return str(value)
    return _written(value)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    return repr(value)


def _parse_options(text: str, opening: int) -> dict[str, Any]:
    """Reads "(a=1, b=x)", whose bracket opens at `opening`, to the end of the text."""
    options: dict[str, Any] = {}
    at = _skip_blanks(text, opening + 1)
    if text[at : at + 1] == ")":
        _expect_end(text, at + 1)
        return options
    while True:
        named = _OPTION_NAME.match(text, at)
        if named is None:
            raise _unreadable(text, at, "an option is written name=value")
        option = named[1]
        if option in options:
            raise _unreadable(text, named.start(1), f"{option!r} is given once")
        options[option], at = _parse_value(text, named.end())
        if options[option] == "...":  # as messages write what is to be filled in
            raise _unreadable(text, named.end(), f"{option} has a value")
        at = _skip_blanks(text, at)
        following = text[at : at + 1]
        if following == ")":
            _expect_end(text, at + 1)
            return options
        if following != ",":
            raise _unreadable(text, at, "options are parted by commas and end with ')'")
        at += 1


def _parse_value(text: str, at: int, depth: int = 0) -> tuple[Any, int]:
    """Reads one value; returns it and where the text goes on."""
    if text[at : at + 1] in _CLOSING and at < len(text):
        return _parse_list(text, at, depth)
    if quoted := _QUOTED.match(text, at):
        return re.sub(r"\\(.)", r"\1", quoted[2]), quoted.end()
    if text[at : at + 1] in ("'", '"'):
        raise _unreadable(text, at, "a quoted text ends with the quote it began with")
    bare = _BARE.match(text, at)
    if bare is None:
        raise _unreadable(
            text, at, "a value is true or false, a number, or a text in quotes"
        )
    word = bare[0]
    value: Value | None = word
    if word in _WORDS:
        value = _WORDS[word]
    elif _NUMBER.fullmatch(word):
        if len(word) > _MOST_DIGITS:
            raise _unreadable(text, at, f"a number has {_MOST_DIGITS} digits at most")
        value = int(word) if _WHOLE.fullmatch(word) else float(word)
    return value, bare.end()


def _parse_arm(text: str, at: int) -> tuple[str, int]:
    """Reads `[NAME=]SPEC` up to a comma outside of brackets, or all that is in quotes."""
    if quoted := _QUOTED.match(text, at):
        return re.sub(r"\\(.)", r"\1", quoted[2]), quoted.end()
    begun, depth = at, 0
    while at < len(text) and (depth > 0 or text[at] != ","):
        if depth and (quoted := _QUOTED.match(text, at)):
            at = quoted.end()
            continue
        depth += (text[at] in _CLOSING) - (depth > 0 and text[at] in _CLOSED)
        at += 1
    arm = text[begun:at].rstrip()
    parse_spec(arm)  # what cannot be read is said here
    return arm, at


def _parse_list(text: str, opening: int, depth: int) -> tuple[list[Any], int]:
    """Reads "[1, 2]" or "(1, 2)"; JSON, which keeps protocols, has but lists."""
    if depth == _DEEPEST:
        raise _unreadable(text, opening, f"lists are nested {_DEEPEST} deep at most")
    closing = _CLOSING[text[opening]]
    values: list[Any] = []
    at = _skip_blanks(text, opening + 1)
    while text[at : at + 1] != closing:
        value, at = _parse_value(text, at, depth + 1)
        values.append(value)
        at = _skip_blanks(text, at)
        if text[at : at + 1] == ",":
            at = _skip_blanks(text, at + 1)
        elif text[at : at + 1] != closing:
            rule = f"values in a list are parted by commas and end with {closing!r}"
            raise _unreadable(text, at, rule)
    return values, at + 1


def _skip_blanks(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at


def _expect_end(text: str, at: int) -> None:
    at = _skip_blanks(text, at)
    if at < len(text):
        raise _unreadable(text, at, "nothing follows the closing bracket")


def _unreadable(
    text: str,
    at: int,
    rule: str,
    way_out: str = "Write for example tweak=net.py:Net(skip=true, depth=20, act=relu), in"
    " quotes so that the shell leaves the brackets alone.",
) -> ArmError:
    found = repr(text[at]) if at < len(text) else "the end"
    return ArmError(rule, f"{found} at character {at + 1} of {_shown(text)}", way_out)


def _shown(text: str) -> str:
    """Returns as much of a text as a message holds."""
    return repr(text) if len(text) <= 200 else f"{text[:200]!r}..."

"""What is searched: three kinds of dimension, and independent draws from them.

A space is a mapping from a hyperparameter's name to its dimension. Each value
is drawn from a stream named by the hyperparameter, its dimension and the
configuration's index alone. So two arms that share a dimension receive the same
draw (the searches are *paired*), and adding a dimension to one arm leaves all
others' draws as they were.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from archtrial import randomness
from archtrial.errors import ProtocolError

__all__ = [
    "Choice",
    "Dimension",
    "Integer",
    "Real",
    "Space",
    "Value",
    "describe",
    "parse",
    "sample",
]

Value: TypeAlias = float | int | str | bool


def _check_finite(low: float, high: float) -> None:
    # A whole number may be too large even to be asked whether it is finite.
    if any(isinstance(end, int) and abs(end) > 2**53 for end in (low, high)):
        raise ProtocolError(
            "the ends of a range are at most 2^53, up to which 64 bits hold every whole"
            " number",
            "a larger one",
            "Use another unit.",
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ProtocolError(
            "both ends of a range are finite", f"low = {low}, high = {high}"
        )


def _check_range(low: float, high: float, log: bool) -> None:
    _check_finite(low, high)
    if low >= high:
        raise ProtocolError(
            "a range runs from low to high",
            f"low = {low}, high = {high}",
            f"Swap them (low = {high}, high = {low}), or fix the value in the"
            " arm's options."
            if low > high
            else "Fix the value in the arm's options instead.",
        )
    if not math.isfinite(float(high) - float(low)):
        raise ProtocolError(
            "the width of a range is a number that 64 bits hold",
            f"low = {low}, high = {high}",
            "Use another unit.",
        )
    if log and low <= 0:
        raise ProtocolError(
            "a range on a log scale starts above 0",
            f"low = {low}",
            "Raise low, or set log = false.",
        )


@dataclasses.dataclass(frozen=True)
class Real:
    """A real number, uniform on [low, high] or, if `log`, uniform in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def value(self, quantile: float) -> float:
        """Returns the value at a quantile in [0, 1]."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            drawn = math.exp(low + quantile * (high - low))
        else:
            drawn = self.low + quantile * (self.high - self.low)
        return min(max(drawn, self.low), self.high)

    def position(self, value: Value) -> float:
        """Returns where a value lies: 0 at `low`, 1 at `high`; the inverse of `value`."""
        number = float(value)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def _edges(self) -> tuple[float, float]:
        # Each whole number owns the interval of half a unit around it, so that
        # both ends are drawn as often as their share of the scale says.
        return self.low - 0.5, self.high + 0.5

    def value(self, quantile: float) -> int:
        """Returns the value at a quantile in [0, 1]."""
        low, high = self._edges()
        if self.log:
            drawn = low * math.pow(high / low, quantile)
        else:
            drawn = low + quantile * (high - low)
        return min(max(math.floor(drawn + 0.5), self.low), self.high)

    def position(self, value: Value) -> float:
        """Returns where a value lies between 0 at `low` and 1 at `high`."""
        number = float(value)
        if self.log:
            return math.log(number / self.low) / math.log(self.high / self.low)
        return (number - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values, each as likely as the others."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(self.options) == 0:
            raise ProtocolError("a choice has at least one option", "[]")
        if len({json.dumps(option) for option in self.options}) < len(self.options):
            raise ProtocolError(
                "the options of a choice differ", json.dumps(list(self.options))
            )

    def value(self, quantile: float) -> Value:
        """Returns the option at a quantile in [0, 1]."""
        count = len(self.options)
        return self.options[min(int(quantile * count), count - 1)]

    def position(self, value: Value) -> float:
        """Returns the middle of the option's share of [0, 1]."""
        return (self.options.index(value) + 0.5) / len(self.options)


Dimension: TypeAlias = Real | Integer | Choice
Space: TypeAlias = Mapping[str, Dimension]


def parse(name: str, declared: Any) -> Dimension:
    """Reads one dimension as a protocol declares it.

    Args:
        name: The hyperparameter's name, for messages.
        declared: A dimension; a list of options; or a table with `low`, `high`
            and optionally `log` and `integer`.

    Raises:
        ProtocolError: It is none of these, or its range is impossible.
    """
    if isinstance(declared, (Real, Integer, Choice)):
        return declared
    try:
        if isinstance(declared, (list, tuple)):
            for option in declared:
                if not isinstance(option, (bool, int, float, str)):
                    raise ProtocolError(
                        "an option is a number, a text or true or false", repr(option)
                    )
            return Choice(tuple(declared))
        if isinstance(declared, Mapping):
            return _parse_range(declared)
    except ProtocolError as error:
        raise ProtocolError(
            f"search space of {name!r}: {error.rule}", error.received, error.way_out
        ) from None
    raise ProtocolError(
        f"search space of {name!r}: a dimension is a range or a list of options",
        repr(declared),
        f"Write {name} = {{ low = 1e-4, high = 1e-1, log = true }} or {name} ="
        " [1, 2, 4]; a fixed value belongs into the arm's options.",
    )


def _parse_range(declared: Mapping[str, Any]) -> Dimension:
    unknown = sorted(set(declared) - {"low", "high", "log", "integer"})
    if unknown:
        raise ProtocolError(
            "a range has the keys low, high, log and integer", f"{unknown[0]!r}"
        )
    for key in ("low", "high"):
        if key not in declared:
            raise ProtocolError("a range has a low and a high end", f"no {key!r}")
        number = declared[key]
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ProtocolError(
                "the ends of a range are numbers", f"{key} = {number!r}"
            )
    for key in ("log", "integer"):
        if not isinstance(declared.get(key, False), bool):
            raise ProtocolError(f"{key} is true or false", repr(declared[key]))
    low, high = declared["low"], declared["high"]
    _check_finite(low, high)
    log = declared.get("log", False)
    if declared.get("integer", False):
        if low != int(low) or high != int(high):
            raise ProtocolError(
                "the ends of an integer range are whole numbers",
                f"low = {low}, high = {high}",
            )
        return Integer(int(low), int(high), log)
    return Real(float(low), float(high), log)


def describe(dimension: Dimension) -> Any:
    """Returns the dimension as the JSON that `parse` reads back."""
    if isinstance(dimension, Choice):
        return list(dimension.options)
    described: dict[str, Any] = {"low": dimension.low, "high": dimension.high}
    if dimension.log:
        described["log"] = True
    if isinstance(dimension, Integer):
        described["integer"] = True
    return described


def sample(space: Space, study_seed: int, index: int) -> dict[str, Value]:
    """Draws configuration `index` of a space.

    Args:
        space: The dimensions to draw.
        study_seed: The protocol's seed.
        index: The configuration's number, from 0.

    Returns:
        A value for each dimension, in the order of the names.
    """
    drawn = {}
    for name in sorted(space):
        dimension = space[name]
        stream = randomness.generator(
            study_seed, "search", name, json.dumps(describe(dimension)), index
        )
        drawn[name] = dimension.value(stream.random())
    return drawn

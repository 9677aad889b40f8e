"""What is searched: three kinds of dimension, and the design of a study's draws.

A space is a mapping from a hyperparameter's name to its dimension. The
configurations of a study are the points of one scrambled Sobol sequence, which
spreads them evenly over the space, or independent draws. Either way two arms that
share a dimension receive the same value (the searches are *paired*), and
configuration i is the same however many there are.
"""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from archtrial import randomness
from archtrial.errors import ProtocolError

__all__ = [
    "IMPORTANCE",
    "Choice",
    "Design",
    "Dimension",
    "Integer",
    "Real",
    "Sampling",
    "Space",
    "Value",
    "balanced",
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


class _Interval:
    """Where the values of a range lie between its ends."""

    low: float
    high: float
    log: bool

    def position(self, value: Value) -> float:
        """Returns where a value lies: 0 at `low`, 1 at `high`."""
        (position,) = self.positions([value])
        return position

    def positions(self, values: Sequence[Value]) -> list[float]:
        """Returns where each of many values lies."""
        low, high = self.low, self.high
        if self.log:
            width = math.log(high / low)
            return [math.log(float(value) / low) / width for value in values]
        return [(float(value) - low) / (high - low) for value in values]


@dataclasses.dataclass(frozen=True)
class Real(_Interval):
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


@dataclasses.dataclass(frozen=True)
class Integer(_Interval):
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

    def quantile(self, value: Value) -> float:
        """Returns the middle of the quantiles in [0, 1] that have a value."""
        low, high = self._edges()
        ends = (float(value) - 0.5, float(value) + 0.5)
        if self.log:
            return math.log(ends[0] * ends[1] / low**2) / math.log(high / low) / 2
        return (sum(ends) / 2 - low) / (high - low)


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

    def positions(self, values: Sequence[Value]) -> list[float]:
        """Returns where each of many values lies."""
        return [self.position(value) for value in values]


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


Sampling: TypeAlias = Literal["sobol", "random"]
"""How configurations are drawn: the points of one scrambled Sobol sequence over all
arms, or each independently of the others."""

IMPORTANCE = (
    "learning_rate", "lr", "weight_decay", "wd",
    "width", "channels", "hidden", "hidden_size", "hidden_dim", "units", "dim",
    "d_model", "features", "filters",
    "depth", "layers", "num_layers", "n_layers", "blocks",
    "batch_size", "momentum", "dropout", "label_smoothing", "initial_scale",
)  # fmt: skip
"""What usually matters, the most important first: the first coordinates of a Sobol
sequence are the most even ones. A name that ends with one of these, or else contains
one, as whole words, such as "head_lr" or "lrBackbone", stands at its place."""


def balanced(n: int) -> bool:
    """Says whether the first n points of a Sobol sequence are balanced.

    They are where n is a power of two: then each half, each quarter and so on of
    every dimension has equally many of them.
    """
    return n & (n - 1) == 0


def sample(space: Space, study_seed: int, index: int) -> dict[str, Value]:
    """Draws configuration `index` of a space, independently of all others.

    Each value comes from a stream named by the hyperparameter, its dimension and the
    index alone, so that adding a dimension leaves the others' draws as they were.

    Args:
        space: The dimensions to draw.
        study_seed: The protocol's seed.
        index: The configuration's number. Those of a study begin with 0; negative
            ones are for whoever tries something before it.

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


class Design:
    """The configurations of a study, for all of its arms.

    "sobol": the points of one scrambled Sobol sequence (Owen 1998; Joe and Kuo 2008
    for its direction numbers) with a coordinate for each hyperparameter's *name*. Each
    point is uniform on the space, so that what is estimated is the same as with
    independent draws, and together they fill it evenly, so that it is estimated more
    exactly. Dimensions of one name are paired by quantile, also where their ranges
    differ between arms. The coordinates, which are the more even the earlier they
    come, go first to the names that several arms have, then to those of one arm
    alone; within both in the order of `IMPORTANCE`, the rest by alphabet. The order
    of the arms and their names make no difference.

    "random": independent draws (`sample`), paired where name and range are equal.

    Args:
        spaces: By arm, everything that is searched.
        seed: The protocol's.
        sampling: Which of the two.

    Raises:
        ProtocolError: More names are searched than a Sobol sequence has coordinates.
    """

    def __init__(
        self, spaces: Mapping[str, Space], seed: int, sampling: Sampling
    ) -> None:
        self.spaces = spaces
        self.seed = seed
        self.sampling = sampling
        arms = Counter(name for space in spaces.values() for name in space)
        self.names: tuple[str, ...] = tuple(
            sorted(arms, key=lambda name: (arms[name] < 2, _importance(name), name))
        )
        """The hyperparameters, in the order of the sequence's coordinates."""
        self._coordinates = {name: i for i, name in enumerate(self.names)}
        self._points = np.empty((0, len(self.names)))
        self._sequence: Any = None
        if sampling == "sobol" and self.names:
            # Late: it takes half a second, and who declares or judges needs none.
            from scipy.stats import qmc

            if len(self.names) > qmc.Sobol.MAXDIM:
                raise ProtocolError(
                    f"a Sobol sequence has {qmc.Sobol.MAXDIM:,} dimensions at most",
                    f"{len(self.names):,} hyperparameters are searched",
                    'Use --sampling random (in a protocol, sampling = "random").',
                )
            self._sequence = qmc.Sobol(
                len(self.names),
                scramble=True,
                rng=randomness.generator(seed, "search", "sobol"),
            )

    @property
    def stratified(self) -> bool:
        """Whether configurations fill the space evenly; runs of one alone are seeds."""
        return self.sampling == "sobol" and bool(self.names)

    def configuration(self, arm: str, index: int) -> dict[str, Value]:
        """Returns configuration `index` of an arm, by name, in the order of the names.

        Args:
            arm: Its name.
            index: From 0. A negative one is no part of the design: it is an
                independent draw.
        """
        space = self.spaces[arm]
        if self._sequence is None or index < 0:
            return sample(space, self.seed, index)
        while index >= len(self._points):
            # Doubled, for the sequence is balanced at powers of two only. What was
            # drawn before stays as it is.
            more = self._sequence.random(max(_FIRST, len(self._points)))
            self._points = np.concatenate([self._points, more])
        point = self._points[index]
        return {
            name: space[name].value(float(point[self._coordinates[name]]))
            for name in sorted(space)
        }


# Points that are drawn at first; a power of two.
_FIRST = 16


def _importance(name: str) -> int:
    """Returns a name's place in `IMPORTANCE`, behind all of them if it has none."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()
    # Its last words say what it is: "hidden_dropout" is a dropout.
    for place, known in enumerate(IMPORTANCE):
        if f"_{words}".endswith(f"_{known}"):
            return place
    for place, known in enumerate(IMPORTANCE):
        if f"_{known}_" in f"_{words}":
            return place
    return len(IMPORTANCE)

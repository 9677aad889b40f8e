"""What is said of relaxing, in sentences."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from archtrial.statistics.comparison import FRACTIONS
from archtrial.statistics.simultaneous import Simultaneous
from archtrial.words.numbers import confidence

__all__ = ["NetNames", "RelaxVerdict", "Settling", "Telling", "Units"]

RelaxVerdict: TypeAlias = Literal[
    "relaxed_better", "no_gain", "inconclusive", "not_assessable"
]

_READINGS = {
    "best": "by the weights that were best on validation",
    "last": "by the weights of the last step",
}


@dataclasses.dataclass(frozen=True)
class Units:
    """How differences of a score are written.

    Args:
        metric: Its name.
        fraction: Whether a hundredth is called a point; None to go by the name.
    """

    metric: str
    fraction: bool | None = None

    @property
    def points(self) -> bool:
        """Whether differences are written in points."""
        return self.metric in FRACTIONS if self.fraction is None else self.fraction

    @property
    def name(self) -> str:
        """The metric's name in a sentence."""
        return "R²" if self.metric == "r2" else self.metric.replace("_", " ")

    def number(self, difference: float, reach: float | None = None) -> str:
        """Writes a difference with the digits that its interval supports.

        Args:
            difference: In units of the score.
            reach: Half the interval's width, of which two digits are shown; None
                for three digits of the difference itself.
        """
        scale = 100.0 if self.points else 1.0
        value = difference * scale
        if reach is None:
            return f"{value:.3g}"
        width = reach * scale
        digits = 1 - math.floor(math.log10(width)) if width > 0 else 2
        text = f"{value:,.{min(max(digits, 0), 2 if self.points else 8)}f}"
        # A difference that rounds to nothing has no sign.
        return text if float(text.replace(",", "")) else text.lstrip("-")

    def gap(self, difference: float, reach: float | None = None) -> str:
        """Writes a difference with its unit: "24.1 points of accuracy"."""
        number = self.number(difference, reach)
        return (
            f"{number} points of {self.name}"
            if self.points
            else f"{number} in {self.name}"
        )

    def size(self, difference: float) -> str:
        """Writes a size without the metric: "0.5 points"."""
        return self.number(difference) + (" points" if self.points else "")


@dataclasses.dataclass(frozen=True)
class NetNames:
    """What the nets are called in a sentence."""

    cnn: str = "CNN"
    relaxed: str = "eFCN"
    fresh: str = "FCN"
    shape: str = "fully connected net"
    """What the relaxed net is, in plain words."""


@dataclasses.dataclass(frozen=True)
class Settling:
    """What it takes at least to settle an open question."""

    seeds: int | None
    """How many in all; None where no number of seeds is enough."""
    test_examples: float | None
    """How many times the test examples; None where these do."""


@dataclasses.dataclass(frozen=True)
class Telling:
    """What every sentence is written with."""

    names: NetNames
    units: Units
    times: list[int]
    margin: float
    alpha: float

    def best(self, gain: Simultaneous, among: np.ndarray | None = None) -> int:
        """Returns the column of the largest gain, of equal ones the earliest."""
        columns = [j for j in range(len(self.times)) if among is None or among[j]]
        return max(columns, key=lambda j: (float(gain.estimate[j]), -self.times[j]))

    def left_out(self, times: Sequence[int]) -> list[str]:
        """Says at which of all relax times nothing is compared."""
        whole = dataclasses.replace(self, times=[int(time) for time in times])
        dead = [j for j, time in enumerate(whole.times) if time not in self.times]
        if not dead:
            return []
        told = whole.after(dead)
        return [
            f"Relaxed {told}, the {self.names.cnn} and the {self.names.relaxed} diverged"
            " in every run, so nothing is compared there."
        ]

    def after(self, columns: Sequence[int] | np.ndarray) -> str:
        """Writes relax times: "after 93 steps", "after 0, 10 and 93 steps"."""
        chosen = sorted(self.times[j] for j in columns)
        if chosen == [0]:
            return "before the first step"
        first, last = (sorted(self.times).index(chosen[end]) for end in (0, -1))
        if len(chosen) > 2 and last - first == len(chosen) - 1:
            return f"after {chosen[0]:,} to {chosen[-1]:,} steps"
        before = ", ".join(f"{time:,}" for time in chosen[:-1])
        written = f"{before} and {chosen[-1]:,}" if before else f"{chosen[-1]:,}"
        return f"after {written} step{'' if chosen == [1] else 's'}"

    def gap(self, found: Simultaneous, column: int, sign: int = 1) -> str:
        """Writes a difference with its interval."""
        at = found.at(column)
        half = (at.high - at.low) / 2
        low, high = sorted((sign * at.low, sign * at.high))
        interval = (
            f"{confidence(self.alpha)}% interval {self.units.number(low, half)} to"
            f" {self.units.number(high, half)}"
        )
        if len(found.estimate) > 1:
            interval = f"simultaneous {interval} over {len(self.times)} relax times"
        return f"{self.units.gap(sign * at.estimate, half)} ({interval})"

    @property
    def net(self) -> str:
        """The relaxed net, in plain words first."""
        return f"the {self.names.shape} ({self.names.relaxed})"

    def unsound(self, reason: str) -> str:
        """Says why nothing is compared."""
        return (
            f"The {self.names.relaxed} and the {self.names.cnn} cannot be compared:"
            f" {reason}."
        )

    def better(
        self, gain: Simultaneous, claimed: np.ndarray, above_fresh: np.ndarray
    ) -> str:
        """Says where the relaxed net is better.

        Args:
            gain: Over the CNN.
            claimed: (m,) bool, the gains that are claimed.
            above_fresh: (m,) bool, where the relaxed net beats the fresh one as well.
        """
        best = self.best(gain, claimed)
        # Where a standard start does as well, the CNN's start is not what made the gain.
        means = (
            "there a convolutional start does more than the prior held throughout"
            if above_fresh[best]
            else "there it pays to let go of the convolutional prior"
        )
        said = (
            f"Relaxed {self.after([best])}, {self.net} beats the {self.names.cnn} it"
            f" came from, trained on for as long, by {self.gap(gain, best)}: {means}."
        )
        others = np.flatnonzero(claimed & (np.arange(len(claimed)) != best))
        if len(others):
            said += f" It does so when relaxed {self.after(others)}, too."
        return said + self._worse(gain)

    def no_gain(self, gain: Simultaneous) -> str:
        """Says that no gain is worth having."""
        best = self.best(gain)
        worth = f"by {self.units.size(self.margin)} or more"
        if len(self.times) == 1:
            said = (
                f"Relaxed {self.after([best])}, {self.net} does not beat the"
                f" {self.names.cnn} trained on for as long {worth}: its gain is"
                f" {self.gap(gain, best)}."
            )
        else:
            said = (
                f"At none of {len(self.times)} relax times does {self.net} beat the"
                f" {self.names.cnn} trained on for as long {worth}: the largest gain,"
                f" {self.after([best])}, is {self.gap(gain, best)}."
            )
        ahead = np.flatnonzero(gain.direction > 0)
        if len(ahead):
            said += (
                f" Relaxed {self.after(ahead)} it is ahead, but by less than is worth"
                " having."
            )
        return said + self._worse(gain)

    def contradiction(
        self,
        gain: Simultaneous,
        gain_other: Simultaneous,
        contradicted: np.ndarray,
        reading: str,
        other_reading: str,
    ) -> str:
        """Says that the two readings contradict each other where a gain is claimed."""
        best = self.best(gain, contradicted)
        return (
            "The answer is open, since it depends on the reading: relaxed"
            f" {self.after([best])}, {self.net} beats the {self.names.cnn} it came from"
            f" by {self.gap(gain, best)} {_read(reading)}, and is worse by"
            f" {self.gap(gain_other, best, -1)} {_read(other_reading)}."
        )

    def undecided(self, gain: Simultaneous, settling: Settling) -> str:
        """Says that the answer is open, and what would settle it."""
        best = self.best(gain)
        gains = "its gain" if len(self.times) == 1 else "the largest gain"
        said = (
            f"It remains open whether {self.net} beats the {self.names.cnn} trained on"
            f" for as long by {self.units.size(self.margin)} or more: {gains},"
            f" relaxed {self.after([best])}, is {self.gap(gain, best)}."
            f"{self._worse(gain)}"
        )
        if settling.seeds is not None:
            return (
                f"{said} At least {settling.seeds:,} seeds would settle it, if the gains"
                " stay as they are."
            )
        return (
            f"{said} It takes at least {settling.test_examples:.2g} times as many test"
            " examples to settle it."
        )

    def _worse(self, gain: Simultaneous) -> str:
        worse = np.flatnonzero(gain.direction < 0)
        if not len(worse):
            return ""
        if len(worse) < len(self.times):
            return f" Relaxed {self.after(worse)} it is clearly worse."
        return f" It is clearly worse{' at every one' * (len(worse) > 1)}."

    def against_fresh(
        self,
        over_fresh: Simultaneous,
        held: Simultaneous,
        fresh_failed: bool,
        held_failed: bool,
    ) -> str:
        """Says what the prior is worth against a standard start.

        Args:
            over_fresh: The relaxed net's gain over the fresh one at all relax times.
            held: The CNN's gain over the fresh one at the longest budget.
            fresh_failed: Whether every fresh run diverged.
            held_failed: Whether every run of that CNN diverged.
        """
        fresh, m = self.names.fresh, len(self.times)
        if fresh_failed:
            return (
                f"The {fresh} from a standard start diverged in every run, so what the"
                " prior is worth against it is not known."
            )
        parts = []
        for sign, word in ((1, "better"), (-1, "worse")):
            columns = np.flatnonzero(over_fresh.direction == sign)
            if not len(columns):
                continue
            if m == 1:
                parts.append(f"clearly {word}, by {self.gap(over_fresh, 0, sign)}")
                continue
            place = f"at all {m} relax times"
            if len(columns) < m:
                place = f"at {len(columns)} of {m} relax times"
                place += f" ({self.after(columns)})"
            parts.append(
                f"clearly {word} {place}, by {self._span(over_fresh, columns)}"
            )
        if not parts:
            parts = ["neither clearly better nor clearly worse"]
            parts[0] += f" at any of {m} relax times" if m > 1 else ""
        clear = int(np.sum(over_fresh.direction != 0))
        rest = "; at the rest the difference is not clear" if 0 < clear < m else ""
        said = (
            f"Compared with the {fresh} from a standard start, the {self.names.relaxed}"
            f" ends {' and '.join(parts)}{rest}."
        )
        if held_failed:
            return (
                f"{said} What the prior is worth when held throughout is not known: the"
                f" {self.names.cnn} diverged in every run at the learning rate that it"
                " keeps."
            )
        lead = f"the lead of the {self.names.cnn} over that {fresh}"
        worth = {
            1: f"Held throughout, the prior is worth {self.gap(held, 0)}, {lead}",
            -1: f"Held throughout, the prior costs {self.gap(held, 0, -1)}, by which the"
            f" {self.names.cnn} ends behind that {fresh}",
            0: "Whether the prior is worth anything when held throughout is not clear:"
            f" {lead} is {self.gap(held, 0)}",
        }[int(held.direction[0])]
        return f"{said} {worth}."

    def _span(self, found: Simultaneous, columns: np.ndarray) -> str:
        """Writes the sizes of several differences: "3.1 to 15.2 points of accuracy"."""
        order = sorted(columns, key=lambda j: abs(float(found.estimate[j])))
        half = float(np.median((found.high - found.low)[columns])) / 2
        ends = [abs(float(found.estimate[order[end]])) for end in (0, -1)]
        least, most = self.units.number(ends[0], half), self.units.gap(ends[1], half)
        return most if len(columns) == 1 else f"{least} to {most}"

    def overruled(
        self,
        verdict: RelaxVerdict,
        gain_other: Simultaneous,
        claimed: np.ndarray,
        contradicted: np.ndarray,
        other_reading: str,
    ) -> list[str]:
        """Says where the other reading does not bear the verdict out."""
        read = _read(other_reading)
        if verdict == "relaxed_better":
            found = []
            if contradicted.any():
                found.append(
                    f"Relaxed {self.after(np.flatnonzero(contradicted))}, the"
                    f" {self.names.relaxed} is ahead as well, but clearly worse {read}:"
                    " not counted."
                )
            if not np.any(claimed & (gain_other.direction > 0)):
                found.append(f"The gain is not clear {read}.")
            return found
        better = (gain_other.direction > 0) & (gain_other.estimate >= self.margin)
        if verdict == "no_gain" and better.any():
            best = self.best(gain_other, better)
            return [
                f"It depends on the reading: {read}, the {self.names.relaxed} relaxed"
                f" {self.after([best])} beats the {self.names.cnn} by"
                f" {self.gap(gain_other, best)}."
            ]
        return []


def _read(reading: str) -> str:
    return _READINGS.get(reading, f'by the reading "{reading}"')

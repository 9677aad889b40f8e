"""What relaxing found, in sentences: the verdict, what weakens it, what holds of any."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from archtrial.experiments.relax.statistics import (
    Relaxation,
    arms_of,
    test_variance,
)
from archtrial.statistics.simultaneous import Simultaneous, seeds_needed
from archtrial.words import numbers
from archtrial.words.numbers import Metric
from archtrial.words.phrases import joined

__all__ = ["NetNames", "Telling", "after"]

_READINGS = {
    "best": "by the weights that were best on validation",
    "last": "by the weights of the last step",
}


@dataclasses.dataclass(frozen=True)
class NetNames:
    """What the nets are called in a sentence."""

    cnn: str = "CNN"
    relaxed: str = "eFCN"
    fresh: str = "FCN"
    shape: str = "fully connected net"
    """What the relaxed net is, in plain words."""


@dataclasses.dataclass(frozen=True)
class Telling:
    """What was found, with all that a sentence about it is written with."""

    found: Relaxation
    metric: Metric
    names: NetNames
    reading: str = "best"
    """What the declared reading is called."""
    other_reading: str = "last"

    def document(self) -> dict[str, Any]:
        """Returns the verdict as plain JSON, in numbers and in words."""
        plain = self.found.to_dict(
            higher_is_better=self.metric.higher_is_better,
            reading=self.reading,
            other_reading=self.other_reading,
        )
        names = {
            role: getattr(self.names, role) for role in ("cnn", "relaxed", "fresh")
        }
        # A reader of the document finds the sentence beside the verdict.
        order = (
            *("kind", "verdict", "strong", "sentence", "warnings", "notes", "margin"),
            *("margin_assumed", "alpha", "reading", "other_reading", "names"),
        )
        return {
            **dict.fromkeys(order),
            **plain,
            "sentence": self.sentence,
            "warnings": self.warnings,
            "notes": self.notes,
            "names": names,
        }

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        found = self.found
        if found.verdict == "not_assessable":
            return self._unsound()
        if found.verdict == "relaxed_better":
            said = self._better()
        elif found.verdict == "no_gain":
            said = self._no_gain()
        elif found.settling is None:
            said = self._contradiction()
        else:
            said = self._undecided()
        return f"{said} {self._against_fresh()}"

    @property
    def warnings(self) -> list[str]:
        """What weakens this verdict, a sentence each."""
        return [*self._left_out(), *self._of_runs(), *self._overruled()]

    @property
    def notes(self) -> list[str]:
        """What holds of any such verdict, in this one's numbers."""
        seeds = self.found.gain.seeds
        missed = numbers.rate(1 - 0.05 ** (1 / seeds))
        return [
            f"A failure that befalls {missed} of runs is missed by"
            f" {numbers.count(seeds, 'seed')} in 1 of 20 studies; no interval knows of"
            " failures that were not seen."
        ]

    @property
    def _times(self) -> Sequence[int]:
        return self.found.compared_times

    def _of_runs(self) -> list[str]:
        """Says what the runs alone weaken: those that diverged, and what is not known."""
        found = self.found
        called = {
            role: getattr(self.names, role) for role in ("relaxed", "cnn", "fresh")
        }
        declared, other = arms_of(found.declared), arms_of(found.other)
        said = [
            f"{int(np.sum(arm.diverged))} of {arm.diverged.size} readings of the"
            f" {called[name]} are of runs that diverged; they stand at the score of the"
            " constant predictor."
            for name, arm in declared.items()
            if arm.diverged.any()
        ]
        for name, arm in declared.items():
            later = int(np.sum(other[name].diverged & ~arm.diverged))
            if later:
                said.append(
                    f"{later} of {arm.diverged.size} readings of the {called[name]} are"
                    " of runs that diverged later on; they stand at what they were"
                    " before."
                )
        held = found.throughout
        if held is not None and held.diverged.any():
            said.append(
                f"{int(np.sum(held.diverged))} of {held.diverged.size} runs of the"
                f" {self.names.cnn} that keeps its learning rate throughout diverged;"
                " they stand at the score of the constant predictor."
            )
        if test_variance(declared["relaxed"], declared["cnn"]) is None:
            said.append(
                "What single test examples were scored is not known, so the intervals"
                " are for this very test set."
            )
        return said

    def _left_out(self) -> list[str]:
        """Says at which of all relax times nothing is compared."""
        times = [int(time) for time in self.found.declared.relax_times]
        dead = [time for time in times if time not in self._times]
        if not dead:
            return []
        return [
            f"Relaxed {after(dead, times)}, the {self.names.cnn} and the"
            f" {self.names.relaxed} diverged in every run, so nothing is compared there."
        ]

    def after(self, columns: Sequence[int] | np.ndarray) -> str:
        """Writes relax times that are compared: "after 0, 10 and 93 steps"."""
        return after([self._times[j] for j in columns], self._times)

    def gap(self, found: Simultaneous, column: int, sign: int = 1) -> str:
        """Writes a difference with its interval."""
        at = found.at(column)
        low, high = sorted((sign * at.low, sign * at.high))
        said = numbers.named(sign * at.estimate, self.metric, (low, high))
        interval = (
            f"{numbers.level(self.found.alpha)} interval"
            f" {numbers.range_of(low, high, self.metric)}"
        )
        if len(found.estimate) > 1:
            interval = f"simultaneous {interval} over {len(self._times)} relax times"
        return f"{said} ({interval})"

    @property
    def net(self) -> str:
        """The relaxed net, in plain words first."""
        return f"the {self.names.shape} ({self.names.relaxed})"

    def _unsound(self) -> str:
        """Says why nothing is compared."""
        found, seeds = self.found, self.found.gain.seeds
        if found.obstacle == "seeds":
            reason = (
                f"a p of {numbers.value(found.alpha)} takes {seeds_needed(found.alpha)}"
                f" seeds at least, and there {'is' if seeds == 1 else 'are'} {seeds}"
            )
        else:
            called = getattr(self.names, str(found.obstacle))
            reason = f"every run of the {called} diverged"
        return (
            f"The {self.names.relaxed} and the {self.names.cnn} cannot be compared:"
            f" {reason}."
        )

    def _better(self) -> str:
        """Says where the relaxed net is better."""
        gain, claimed = self.found.gain, self.found.claimed
        best = self.found.best(gain, claimed)
        over_fresh = self.found.gain_over_fresh.direction[best] > 0
        # Where a standard start does as well, the CNN's start is not what made the gain.
        means = (
            "there a convolutional start does more than the prior held throughout"
            if over_fresh and not self.found.fresh_failed
            else "there it pays to let go of the convolutional prior"
        )
        said = (
            f"Relaxed {self.after([best])}, {self.net} beats the {self.names.cnn} it"
            f" came from, trained on for as long, by {self.gap(gain, best)}: {means}."
        )
        others = np.flatnonzero(claimed & (np.arange(len(claimed)) != best))
        if len(others):
            said += f" It does so when relaxed {self.after(others)}, too."
        return said + self._worse()

    @property
    def _worth(self) -> str:
        return f"by {numbers.size(self.found.margin, self.metric)} or more"

    def _no_gain(self) -> str:
        """Says that no gain is worth having."""
        gain, worth = self.found.gain, self._worth
        best = self.found.best(gain)
        if len(self._times) == 1:
            said = (
                f"Relaxed {self.after([best])}, {self.net} does not beat the"
                f" {self.names.cnn} trained on for as long {worth}: its gain is"
                f" {self.gap(gain, best)}."
            )
        else:
            said = (
                f"At none of {len(self._times)} relax times does {self.net} beat the"
                f" {self.names.cnn} trained on for as long {worth}: the largest gain,"
                f" {self.after([best])}, is {self.gap(gain, best)}."
            )
        ahead = np.flatnonzero(gain.direction > 0)
        if len(ahead):
            said += (
                f" Relaxed {self.after(ahead)} it is ahead, but by less than is worth"
                " having."
            )
        return said + self._worse()

    def _contradiction(self) -> str:
        """Says that the two readings contradict each other where a gain is claimed."""
        gain, other = self.found.gain, self.found.gain_other
        best = self.found.best(gain, self.found.contradicted)
        return (
            "The answer is open, since it depends on the reading: relaxed"
            f" {self.after([best])}, {self.net} beats the {self.names.cnn} it came from"
            f" by {self.gap(gain, best)} {_read(self.reading)}, and is worse by"
            f" {self.gap(other, best, -1)} {_read(self.other_reading)}."
        )

    def _undecided(self) -> str:
        """Says that the answer is open, and what would settle it."""
        gain, settling = self.found.gain, self.found.settling
        assert settling is not None  # else the readings contradict each other
        best = self.found.best(gain)
        gains = "its gain" if len(self._times) == 1 else "the largest gain"
        said = (
            f"It remains open whether {self.net} beats the {self.names.cnn} trained on"
            f" for as long {self._worth}: {gains},"
            f" relaxed {self.after([best])}, is {self.gap(gain, best)}."
            f"{self._worse()}"
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

    def _worse(self) -> str:
        worse = np.flatnonzero(self.found.gain.direction < 0)
        if not len(worse):
            return ""
        if len(worse) < len(self._times):
            return f" Relaxed {self.after(worse)} it is clearly worse."
        return f" It is clearly worse{' at every one' * (len(worse) > 1)}."

    def _against_fresh(self) -> str:
        """Says what the prior is worth against a standard start."""
        fresh, m = self.names.fresh, len(self._times)
        over_fresh, held = self.found.gain_over_fresh, self.found.held
        if self.found.fresh_failed:
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
        if self.found.held_failed:
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
        within = (-half, half)
        most = numbers.named(ends[1], self.metric, within)
        if len(columns) == 1:
            return most
        return f"{numbers.bare(ends[0], self.metric, within)} to {most}"

    def _overruled(self) -> list[str]:
        """Says where the other reading does not bear the verdict out."""
        verdict, gain_other = self.found.verdict, self.found.gain_other
        claimed, contradicted = self.found.claimed, self.found.contradicted
        read = _read(self.other_reading)
        if verdict == "relaxed_better":
            said = []
            if contradicted.any():
                said.append(
                    f"Relaxed {self.after(np.flatnonzero(contradicted))}, the"
                    f" {self.names.relaxed} is ahead as well, but clearly worse {read}:"
                    " not counted."
                )
            if not np.any(claimed & (gain_other.direction > 0)):
                said.append(f"The gain is not clear {read}.")
            return said
        better = (gain_other.direction > 0) & (gain_other.estimate >= self.found.margin)
        if verdict == "no_gain" and better.any():
            best = self.found.best(gain_other, better)
            return [
                f"It depends on the reading: {read}, the {self.names.relaxed} relaxed"
                f" {self.after([best])} beats the {self.names.cnn} by"
                f" {self.gap(gain_other, best)}."
            ]
        return []


def _read(reading: str) -> str:
    return _READINGS.get(reading, f'by the reading "{reading}"')


def after(chosen: Sequence[int], times: Sequence[int]) -> str:
    """Writes some of all relax times: "after 93 steps", "after 0, 10 and 93 steps"."""
    chosen, times = sorted(chosen), sorted(times)
    if chosen == [0]:
        return "before the first step"
    first, last = (times.index(chosen[end]) for end in (0, -1))
    if len(chosen) > 2 and last - first == len(chosen) - 1:
        return f"after {chosen[0]:,} to {chosen[-1]:,} steps"
    written = joined([f"{time:,}" for time in chosen])
    return f"after {written} step{'' if chosen == [1] else 's'}"

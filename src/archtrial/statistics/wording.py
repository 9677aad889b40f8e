"""The verdict in plain words."""

import dataclasses
import math
from typing import Literal

from archtrial.statistics.comparison import Estimate
from archtrial.statistics.ladder import Climb
from archtrial.statistics.matching import Matching
from archtrial.statistics.planning import Settlement

__all__ = ["Units", "confidence", "sentence"]

# Scores between 0 and 1 of which people say "points".
FRACTIONS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")


@dataclasses.dataclass(frozen=True)
class Units:
    """How differences of a score are written.

    Args:
        metric: Its name.
        fraction: Whether a hundredth is called a point; None to go by the name.
        scored_on: "test", or "validation" where there is no test score.
    """

    metric: str
    fraction: bool | None = None
    scored_on: Literal["test", "validation"] = "test"

    @property
    def points(self) -> bool:
        """Whether differences are written in points."""
        return self.metric in FRACTIONS if self.fraction is None else self.fraction

    @property
    def name(self) -> str:
        """The metric's name in a sentence."""
        plain = "R²" if self.metric == "r2" else self.metric.replace("_", " ")
        return f"validation {plain}" if self.scored_on == "validation" else plain

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


def confidence(alpha: float) -> str:
    """Writes an interval's level 1 - alpha: "95%"; never as certain when it is not."""
    written = f"{100 * (1 - alpha):.4g}"
    if written == "100" and alpha > 0:
        written = f"{100 * (1 - alpha):.{1 - math.floor(math.log10(100 * alpha))}f}"
    return f"{written}%"


def sentence(
    verdict: str,
    *,
    baseline: str,
    challenger: str,
    units: Units,
    effort: int,
    configurations: int,
    margin: float,
    alpha: float,
    effect: Estimate | None,
    matching: Matching | None = None,
    climb: Climb | None = None,
    cause: str = "the architecture",
    max_multiple: float = 4.0,
    matching_needs: int | None = None,
    detectable: float | None = None,
    settlement: Settlement | None = None,
    published_gap: float | None = None,
    reason: str | None = None,
) -> str:
    """Says what a comparison found.

    Args:
        verdict: One of the verdicts.
        baseline: Its name.
        challenger: Its name.
        units: How differences are written.
        effort: k*.
        configurations: n.
        margin: The smallest gap worth having.
        alpha: The interval has level 1 - alpha.
        effect: The challenger's gain, positive where it is better; None if unknown.
        matching: How the baseline catches up by tuning.
        climb: How it does by training longer; None where nobody tried.
        cause: What the challenger has other than the baseline.
        max_multiple: How much more tuning counts.
        matching_needs: The n that would tell whether it catches up; None if more
            configurations are not what is missing.
        detectable: The smallest effect with a power of 80 %; None if none has it.
        settlement: What would settle an inconclusive question.
        published_gap: Of published scores.
        reason: Why nothing can be said, for the verdicts that say so.
    """
    if effect is None or verdict == "not_assessable":
        return f"{challenger} and {baseline} cannot be compared: {reason}."
    reach = (effect.high - effect.low) / 2

    def interval(sign: int = 1) -> str:
        ends = sorted((sign * effect.low, sign * effect.high))
        return f"({confidence(alpha)} interval {' to '.join(units.number(e, reach) for e in ends)})"

    trials = f"best of {effort} trials" if effort > 1 else "1 trial"
    same = f"With the same tuning effort ({trials})"
    beats = (
        f"{challenger} beats {baseline} by {units.gap(effect.estimate, reach)}"
        f" {interval()}"
    )
    if verdict == "architecture":
        more = _more_tuning(
            baseline, challenger, units, margin, matching, max_multiple, matching_needs
        )
        longer = _longer(
            baseline, climb, shown=matching is not None and matching.catch_up == "no"
        )
        return f"{same}, {beats}: {cause} makes the difference. {more}{longer}"
    # A gain that more tuning makes up for is no matter of what was published.
    none_left = -margin < effect.low and effect.high < margin
    if verdict == "tuning" and not none_left:
        assert matching is not None
        near = f"{same}, {beats}, but {baseline} comes within {units.size(margin)}"
        if matching.catch_up == "yes":
            assert matching.multiple.high is not None
            return (
                f"{near} of that with at most {matching.multiple.high:.2g} times the"
                " tuning: it is the tuning that makes the difference."
            )
        assert climb is not None
        return (
            f"{near} of that when it is trained {climb.high} times as long: it is the"
            " training that makes the difference."
        )
    difference = (
        f"{challenger} is {units.gap(abs(effect.estimate), reach)}"
        f" {'better' if effect.estimate >= 0 else 'worse'} than {baseline} {interval()}"
    )
    if verdict == "tuning":
        assert published_gap is not None
        return (
            f"The published gap of {units.gap(published_gap)} comes from tuning: with"
            f" the same effort on both ({trials}), {difference}, and less than"
            f" {units.size(margin)} counts as none."
        )
    if verdict == "equivalent":
        ahead = ""
        if effect.low > 0 or effect.high < 0:
            leader = challenger if effect.low > 0 else baseline
            ahead = f" {leader} is ahead, but by less than is worth having."
        return (
            f"{same}, {challenger} and {baseline} are equally good: {difference}, and"
            f" less than {units.size(margin)} counts as none.{ahead}"
        )
    if verdict == "baseline":
        return (
            f"{same}, {baseline} beats {challenger} by"
            f" {units.gap(-effect.estimate, reach)} {interval(-1)}: the change of"
            f" {cause.removeprefix('the ')} does harm."
        )
    if reason is not None:
        return f"{same}, the answer is open, since it {reason}; {difference}."
    return (
        f"{same}, it remains open which of {challenger} and {baseline} is better:"
        f" {difference}.{_settling(units, configurations, detectable, settlement)}"
    )


def _more_tuning(
    baseline: str,
    challenger: str,
    units: Units,
    margin: float,
    matching: Matching | None,
    max_multiple: float,
    needs: int | None,
) -> str:
    if matching is not None and matching.catch_up == "no":
        return (
            f"Even {max_multiple:g} times the tuning does not bring {baseline} within"
            f" {units.size(margin)} of {challenger}."
        )
    open_question = f"Whether {baseline} gets there with more tuning is not settled"
    if needs is None:
        return f"{open_question}."
    return (
        f"{open_question}: n = {needs} configurations would tell up to"
        f" {max_multiple:g} times."
    )


def _longer(baseline: str, climb: Climb | None, *, shown: bool) -> str:
    """Goes on from what more tuning does, of which failure was shown, or nothing."""
    if climb is None or climb.longest == 1:
        return ""
    times = f"up to {climb.longest} times as long"
    if climb.reaches == "no":
        if shown:
            return f" Nor does training {baseline} {times}."
        return f" Training it {times} does not bring it there."
    either = "" if shown else " either"
    return f" Whether training {baseline} {times} does is not settled{either}."


def _settling(
    units: Units,
    configurations: int,
    detectable: float | None,
    settlement: Settlement | None,
) -> str:
    words = f" With n = {configurations} configurations no gain is ever claimed."
    if detectable is not None:
        words = (
            f" With n = {configurations} configurations an effect below"
            f" {units.size(detectable)} is easily missed."
        )
    if settlement is None:
        return words
    if settlement.configurations is None and settlement.test_examples is None:
        return f"{words} The estimate is too near the margin for any n to settle it."
    if settlement.configurations is None:
        return (
            f"{words} It takes at least {settlement.test_examples:.2g} times as many"
            " test examples to settle it."
        )
    return (
        f"{words} About n = {settlement.configurations:,} would settle it, at"
        f" {settlement.times_cost:,.3g} times the cost."
    )

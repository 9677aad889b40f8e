"""What a study will cost and see, as a table of sizes and in sentences."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from archtrial.protocol import Protocol
from archtrial.words import numbers

__all__ = ["Allocation", "Forecast", "Seen", "Size"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the pilot saw of one arm."""

    run_seconds: float
    """Of a run at the protocol's own steps, on one core."""
    run_flops: float
    spread: float
    """Standard deviation of the validation score over configurations, after the short
    training."""
    seed_spread: float
    """The same over seeds: the median over configurations."""
    diverged: float
    """The share of the short trainings that diverged; a long one may yet."""


@dataclasses.dataclass(frozen=True)
class Size:
    """What a study of n configurations costs and sees."""

    configurations: int
    runs: int
    """Of all arms, at most."""
    seconds: float
    """With the workers asked for."""
    flops: float
    price: float | None
    """In the currency of the price an hour; None where no price was given."""
    minimum_detectable_effect: Mapping[str, float]
    """By challenger: the smallest gain seen with a chance of 80 %, roughly."""


@dataclasses.dataclass(frozen=True)
class Allocation:
    """How many fresh seeds are worth their runs, at the declared n."""

    declared_seeds: int
    confirm_seeds: int
    seeds_share: float
    """Of the variance of the gain as declared, what fresh seeds make."""
    more_runs: float
    """What the proposed number takes beyond the declared one, as a share of its runs."""
    declared_effect: float
    """The smallest gain seen with the declared number, of the challenger for which it
    is largest."""
    minimum_detectable_effect: float
    """The same with the proposed number."""

    def __str__(self) -> str:
        r, more = self.declared_seeds, self.confirm_seeds
        seeds = f"seeds make {numbers.probability(self.seeds_share)} of the variance of the gain"
        if more == r:
            return (
                f"confirm_seeds = {r}: {seeds}, and more of them would cost more in runs"
                " than they take off the variance"
            )
        return (
            f"confirm_seeds = {more} sees a gain of {self.minimum_detectable_effect:.2g}"
            f" where {r} sees {self.declared_effect:.2g}, for {numbers.probability(self.more_runs)} more"
            f" runs, since {seeds}: --confirm-seeds {more}"
        )


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a study will cost and see, at its declared size and at others."""

    protocol: Protocol
    metric: str
    workers: int
    declared: Size
    sizes: Sequence[Size]
    """In ascending order, the declared one among them."""
    arms: Mapping[str, Seen]
    effect: float | None
    """A wanted gain, of every challenger."""
    configurations_for_effect: int | None
    """The n that sees it with a chance of 80 %; None where no effect was wanted or no n
    is enough."""
    judging_seconds: float = 0.0
    """What opening a large test set and reaching the verdict take of the declared
    study; 0 where it is no more than moments."""
    allocation: Allocation | None = None
    """How many fresh seeds are worth their runs; None where their number was declared,
    or draws are independent."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the forecast as JSON."""
        declared = dataclasses.asdict(self.declared)
        return {
            "effort": self.protocol.effort,
            "confirm_seeds": self.protocol.confirm_seeds,
            "metric": self.metric,
            "workers": self.workers,
            **declared,
            "sizes": [dataclasses.asdict(size) for size in self.sizes],
            "arms": {
                name: dataclasses.asdict(seen) for name, seen in self.arms.items()
            },
            "effect": self.effect,
            "configurations_for_effect": self.configurations_for_effect,
            "judging_seconds": self.judging_seconds,
            "allocation": None
            if self.allocation is None
            else dataclasses.asdict(self.allocation),
        }

    def __str__(self) -> str:
        declared = self.protocol
        lines = [
            f"{declared.configurations} configurations of each arm, effort"
            f" {declared.effort}, {numbers.count(declared.confirm_seeds, 'fresh seed')}:"
            " at most"
            f" {self.declared.runs} runs",
            f"about {numbers.duration(self.declared.seconds)} with"
            f" {numbers.count(self.workers, 'worker')},"
            f" {numbers.flops(self.declared.flops)}"
            + (
                f", {self.declared.price:.2f}"
                if self.declared.price is not None
                else ""
            ),
            *(
                [
                    f"about {numbers.duration(self.judging_seconds)} of it to open the"
                    " test set and to judge"
                ]
                if self.judging_seconds
                else []
            ),
            "",
            "what the pilot saw (short trainings, a rough guess)",
        ]
        lines += [
            f"  {name}: {numbers.duration(seen.run_seconds)}"
            # Nobody counts the operations of an estimator.
            f"{f' and {numbers.flops(seen.run_flops)}' if seen.run_flops else ''} a run,"
            f" spread of {self.metric}"
            f" {seen.spread:.2g} over configurations and {seen.seed_spread:.2g} over"
            f" seeds, {numbers.probability(seen.diverged)} diverged"
            for name, seen in self.arms.items()
        ]
        lines += [
            "",
            "the smallest gain that a study sees (chance 80 %), by its size n",
        ]
        lines += _table(self.sizes)
        if declared.unbalanced:
            sizes = ", ".join(map(str, declared.unbalanced))
            lines += ["", f"{sizes}: no power of two, at which draws are balanced"]
        if self.allocation is not None:
            lines += ["", str(self.allocation)]
        if not declared.looks:
            now, twice = declared.configurations, 2 * declared.configurations
            lines += [
                "",
                "to go further only where need be, at the same level: declare --looks"
                f" {now},{twice} before the study begins",
                f"(a finished study also grows, with --configurations {twice}, but its"
                " claims are then wrong more often)",
            ]
        if self.effect is not None:
            n = self.configurations_for_effect
            lines += [
                "",
                f"a gain of {self.effect:g} is seen with n = {n:,} configurations"
                if n is not None
                else f"no number of configurations sees a gain of {self.effect:g}: it"
                " takes more test examples, or a smaller margin",
            ]
        return "\n".join(lines)


def _table(sizes: Sequence[Size]) -> list[str]:
    """Returns the lines of a table: a row for each size."""
    priced = sizes[0].price is not None
    names = list(sizes[0].minimum_detectable_effect)
    header = ["n", "runs", "time", "cost", *(["price"] if priced else []), *names]
    rows = [
        [
            str(size.configurations),
            f"{size.runs:,}",
            numbers.duration(size.seconds),
            numbers.flops(size.flops),
            *([f"{size.price:.2f}"] if size.price is not None else []),
            *(f"{effect:.2g}" for effect in size.minimum_detectable_effect.values()),
        ]
        for size in sizes
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        "  " + "  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True))
        for row in (header, *rows)
    ]

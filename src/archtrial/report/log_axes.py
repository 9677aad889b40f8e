"""Axes that are logarithmic, and on which 0 has a place all the same."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from archtrial.report.drawing import LIGHT
from archtrial.report.scales import grid

__all__ = ["AmountAxis", "TimeAxis"]

_LETTER = 7.5
_GAP = 8.0


class TimeAxis:
    """An x axis of steps or epochs, spaced by their logarithm.

    0 has no logarithm. It lies to the left of the others, as far from the first of
    them as neighbours lie apart, and lines are dotted on the way there.

    Attributes:
        per_pixel: How far on the axis a pixel reaches.
    """

    def __init__(
        self, axes: Axes, times: Sequence[int], marked: int | None = None
    ) -> None:
        """Sets the limits of the axis.

        Args:
            axes: Whose x axis it is.
            times: The moments, ascending.
            marked: The one that is labelled whatever else is left out.
        """
        self._axes, self._times, self._marked = axes, list(times), marked
        logs = [math.log10(time) for time in times if time > 0]
        apart = float(np.median(np.diff(logs))) if len(logs) > 1 else 0.5
        self._zero = (logs[0] if logs else 0.0) - min(max(apart, 0.3), 1.0)
        places = [self.place(time) for time in times] or [0.0]
        span = places[-1] - places[0] or 1.0
        room = axes.get_window_extent().width
        # The outermost points keep clear of the axis' ends, by 14 pixels.
        self.per_pixel = span / max(room - 28, 1)
        pad = 14 * self.per_pixel if len(places) > 1 else 0.5
        axes.set_xlim(places[0] - pad, places[-1] + pad)

    def place(self, time: float) -> float:
        """Returns where a moment lies on the axis."""
        return math.log10(time) if time > 0 else self._zero

    def line(
        self,
        founds: Sequence[Mapping[str, Any] | None],
        color: str,
        name: str,
        *,
        limits: tuple[float, float] = (-math.inf, math.inf),
        dashed: bool = False,
        banded: bool = True,
    ) -> list[tuple[float, float, str, str]]:
        """Draws an estimate at each time, with its interval; None leaves a gap.

        Args:
            founds: An estimate a time.
            color: Of the line.
            name: What it is called.
            limits: Between which it is drawn; what lies outside stops at the edge.
            dashed: Whether the line is dashed.
            banded: Whether intervals are drawn.

        Returns:
            The end of the line and its name, as `drawing.label_ends` takes them.
        """
        x = np.array([self.place(time) for time in self._times])
        y, low, high = (
            np.clip([_number(found, end) for found in founds], *limits)
            for end in ("estimate", "low", "high")
        )
        known = np.isfinite(y)
        if not known.any():
            return []
        style = (0, (4, 2)) if dashed else "-"
        axes, after = self._axes, np.array([time > 0 for time in self._times])
        axes.plot(
            x[after], y[after], color=color, lw=2.2, ls=style, zorder=4, clip_on=False
        )
        axes.plot(x, y, "o", color=color, ms=5, zorder=4, clip_on=False)
        if not after.all() and after.any():
            axes.plot(x[:2], y[:2], color=color, lw=1.4, ls=":", zorder=3)
        sure = np.isfinite(low) & np.isfinite(high)
        in_band = after & (sum(after & sure) > 1)
        if banded:
            axes.fill_between(
                x[in_band], low[in_band], high[in_band], color=color, alpha=0.16, lw=0
            )
            # What is in no band has a line for its interval.
            for i in np.flatnonzero(sure & ~in_band):
                ends = [low[i], high[i]]
                axes.plot([x[i], x[i]], ends, color=color, lw=2, alpha=0.5, zorder=3)
        last = np.flatnonzero(known)[-1]
        return [(float(x[last]), float(y[last]), name, color)]

    def finish(self, label: str, *, labelled: bool = True) -> None:
        """Draws a tick at each time, and as many of their labels as fit.

        Args:
            label: What the axis is called.
            labelled: Whether there are labels at all, or ticks alone.
        """
        axes = self._axes
        places = [self.place(time) for time in self._times]
        shown = self._fitting() if labelled else set()
        texts = [f"{time:,}" if time in shown else "" for time in self._times]
        axes.set_xticks(places, texts)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        for tick, time in zip(axes.get_xticklabels(), self._times, strict=True):
            if time == self._marked:
                tick.set_color(LIGHT["ink"])
                tick.set_fontweight("bold")
        if 0 in self._times and len(self._times) > 1:
            self._break()
        if labelled:
            axes.set_xlabel(label)

    def _fitting(self) -> set[int]:
        """Returns the times whose labels do not touch, the marked one and ends first."""
        order = [self._marked, self._times[0], self._times[-1], *self._times]
        taken: dict[int, tuple[float, float]] = {}
        for time in order:
            if time is None or time in taken:
                continue
            x = self.place(time) / self.per_pixel
            half = (_LETTER * len(f"{time:,}") + _GAP) / 2
            if all(x + half <= a or x - half >= b for a, b in taken.values()):
                taken[time] = (x - half, x + half)
        return set(taken)

    def _break(self) -> None:
        """Marks on the axis that between 0 and the first time lies no logarithm."""
        # So tall in pixels, whatever the height of the axes.
        tall = 4 / self._axes.get_window_extent().height
        middle = (self.place(0) + self.place(self._times[1])) / 2
        for shift in (-2.5, 2.5):
            x = middle + shift * self.per_pixel
            slant = 2 * self.per_pixel
            self._axes.plot(
                [x - slant, x + slant],
                [-tall, tall],
                color=LIGHT["muted"],
                lw=1,
                transform=self._axes.get_xaxis_transform(),
                clip_on=False,
            )


def _number(found: Mapping[str, Any] | None, end: str) -> float:
    value = None if found is None else found.get(end)
    return math.nan if value is None else float(value)


@dataclasses.dataclass(frozen=True)
class AmountAxis:
    """The axis of an amount: logarithmic where it spans much, with a place for 0."""

    low: float
    """The least amount above 0."""
    high: float
    logarithmic: bool
    zero: bool
    """Whether 0, or less, has to have a place."""

    @classmethod
    def of(cls, amounts: Sequence[float]) -> "AmountAxis":
        """Returns the scale for some amounts; the ends of intervals are among them."""
        positive = [amount for amount in amounts if amount > 0]
        low, high = min(positive, default=1.0), max(positive, default=1.0)
        # An eigenvalue may be negative, and then there is no logarithm.
        spread = high / low > 20 and min(amounts) > -0.05 * high
        return cls(low, high, spread, any(amount <= 0 for amount in amounts))

    @property
    def floor(self) -> float:
        """Where 0 lies on a logarithmic axis: a third of a decade below the least."""
        return math.log10(self.low) - 0.4

    def placed(self, found: Mapping[str, Any] | None) -> dict[str, float | None]:
        """Returns an estimate and its interval as places on the axis."""
        ends = {end: _number(found, end) for end in ("estimate", "low", "high")}
        return {
            end: self._place(amount) if math.isfinite(amount) else None
            for end, amount in ends.items()
        }

    def _place(self, amount: float) -> float:
        if not self.logarithmic:
            return float(amount)
        return math.log10(amount) if amount > 0 else self.floor

    def finish(self, axes: Axes, written: Callable[[float], str]) -> None:
        """Draws ticks and grid."""
        if self.logarithmic:
            first = math.floor(math.log10(self.low))
            last = math.ceil(math.log10(self.high))
            fine = (1,) if last - first > 2 else (1, 3)
            at = [
                factor * 10.0**power
                for power in range(first, last + 1)
                for factor in fine
                if 0.7 * self.low <= factor * 10.0**power <= 1.4 * self.high
            ]
            ticks = [(math.log10(amount), written(amount)) for amount in at]
            if self.zero:
                ticks.insert(0, (self.floor, "0"))
            axes.set_yticks([y for y, _ in ticks], [text for _, text in ticks])
            bottom = self.floor if self.zero else math.log10(self.low) - 0.1
            axes.set_ylim(bottom - 0.05, math.log10(self.high) + 0.1)
        else:
            bottom = axes.get_ylim()[0]
            axes.set_ylim(bottom=min(0.0, bottom))
            axes.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_formatter(lambda at, _: written(at))
        grid(axes)

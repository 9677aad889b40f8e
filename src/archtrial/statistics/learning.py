"""Whether an arm had finished learning: its curve, with the schedule taken out.

A learning rate that decays flattens every curve, that of a model which has learned
next to nothing, too: how flat the end of a curve is says nothing of what longer
training brings. So a training is measured by the learning rate that it has spent,
and looked at only as far as the rate is at least half of its highest.

The rule: let S be what was spent by the last such step. The gain in validation from
S / 2 to S is what the last doubling of the training brought. The curve *still rises*
where that is more than the margin and more than twice its standard error over seeds.
Four times the training is two more doublings. Gains that shrink from one doubling to
the next bring at most twice the last one; where the last one was no smaller than the
one before, or the one before is unknown, no limit can be named.

This is a question put to a curve, and no evidence of what longer training does: the
ladder (`ladder.py`) is.
"""

import dataclasses
import math

import numpy as np

__all__ = ["Rise", "rates", "rise"]


def rates(schedule: str, warmup: float, steps: int) -> np.ndarray:
    """Returns each step's share of the learning rate, (steps,) float64.

    The rate rises linearly over the warm-up and is full at its end. From there
    `cosine` falls to 0 just after the last step, `step` divides by ten after
    half and after three quarters of all steps, and `constant` stays.

    Args:
        schedule: "cosine", "step" or "constant".
        warmup: The share of the steps over which the rate rises.
        steps: Of the whole training.
    """
    step = np.arange(steps)
    rising_for = round(warmup * steps)
    if schedule == "cosine":
        progress = (step - rising_for) / max(steps - rising_for, 1)
        share = 0.5 * (1 + np.cos(math.pi * np.clip(progress, 0, 1)))
    elif schedule == "step":
        share = np.where(
            step < steps / 2, 1.0, np.where(step < 0.75 * steps, 0.1, 0.01)
        )
    else:
        share = np.ones(steps)
    rising = (step + 1) / max(rising_for, 1)
    return np.where(step < rising_for, rising, share)


@dataclasses.dataclass(frozen=True)
class Rise:
    """What the doublings of a training brought while its rate was high."""

    last: float
    """The gain of the last doubling."""
    before: float | None
    """The gain of the doubling before it; None where the curve begins later."""
    error: float
    """The standard error of `last` over seeds; 0 for one."""

    def rises(self, margin: float) -> bool:
        """Says whether the curve still rises by more than the margin and its noise."""
        return self.last > max(margin, 2 * self.error)

    def further(self, margin: float) -> float:
        """Returns at most what four times the training may bring; 0, or infinite.

        Args:
            margin: The smallest gain worth having.
        """
        if not self.rises(margin):
            return 0.0
        if self.before is None or self.last >= self.before:
            return math.inf
        return 2 * self.last


def rise(steps: np.ndarray, scores: np.ndarray, share: np.ndarray) -> Rise | None:
    """Takes the schedule out of an arm's learning curve.

    Args:
        steps: (P,) steps taken at each point, ascending.
        scores: (S, P) validation scores of each seed, higher is better.
        share: (steps,) of the learning rate at each step (`rates`).

    Returns:
        None where the curve has no point in the first half of what was spent at a
        high rate.
    """
    spent = np.concatenate([[0.0], np.cumsum(share)])
    high = int(np.flatnonzero(share >= 0.5 * share.max())[-1]) + 1
    at = np.interp(steps, np.arange(len(spent)), spent)
    whole = float(spent[high])
    if at[0] > whole / 2:
        return None
    now, half, quarter = (
        np.array([np.interp(where, at, curve) for curve in scores])
        for where in (whole, whole / 2, whole / 4)
    )
    gains = now - half
    error = 0.0
    if len(gains) > 1:
        error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    return Rise(
        last=float(np.mean(gains)),
        before=float(np.mean(half - quarter)) if at[0] <= whole / 4 else None,
        error=error,
    )

"""Stopping early: looks at a study before all of its configurations are run.

Whoever looks again and again, and stops at the first difference that seems large,
finds one in a fifth of all studies of nothing. So the looks are declared before the
first run, and the level alpha is divided among them: each look has its own level,
and a claim made at that level anywhere is wrong with probability alpha at most in
all. The early looks get very little (Lan and DeMets 1983, with the spending function
that is close to O'Brien and Fleming's bounds), so that the last one is hardly weaker
than that of a study that never looked.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from scipy import special

from archtrial.errors import ProtocolError
from archtrial.statistics.intervals import Estimate, student
from archtrial.statistics.verdict import Verdict

__all__ = [
    "Decision",
    "Look",
    "decide_look",
    "declare_looks",
    "grown_looks",
    "permutations_needed",
    "spend",
]

Decision: TypeAlias = Literal["claim", "futile", "go on"]

PERMUTATIONS = 200_000
"""As many as a look may take by default: seconds at n = 64."""


def spend(looks: Sequence[int], alpha: float) -> list[float]:
    """Returns the level of each look.

    The part of alpha that is spent up to a share t of the configurations is

        a(t) = 2 - 2 Phi(z_{1 - alpha/2} / sqrt(t)),

    and a look has what is added since the one before. The levels sum to alpha, so
    that claims at these levels are wrong with probability alpha at most in all,
    however much or little the looks have in common.

    Args:
        looks: The number of configurations at each look, ascending and positive; the
            last one is that of the whole study.
        alpha: The level of the study.

    Examples:
        >>> [round(level, 4) for level in spend([16, 32, 64], 0.05)]
        [0.0001, 0.0055, 0.0444]
    """
    critical = -special.ndtri(alpha / 2)
    spent = [
        2 * float(special.ndtr(-critical / math.sqrt(n / looks[-1]))) for n in looks
    ]
    return [now - before for now, before in zip(spent, [0.0, *spent], strict=False)]


def permutations_needed(level: float) -> int:
    """Returns how many permutations a claim at a level takes at least: 10 / level.

    With P of them p is never below 1 / (P + 1), and near the level it is known to no
    more digits than its ten or so permutations beyond the observed gain allow.

    Examples:
        >>> permutations_needed(0.005)
        2000
    """
    return math.ceil(10 / level - 1e-9)


@dataclasses.dataclass(frozen=True)
class Look:
    """One declared look at a study."""

    configurations: int
    """n of each arm."""
    level: float | None
    """What a claim is made at; None where the look is for futility only."""
    permutations: int | None
    """How many the gate takes here at least; None where the look is for futility."""


def declare_looks(
    looks: Sequence[int],
    *,
    configurations: int,
    effort: int,
    alpha: float = 0.05,
    challengers: int = 1,
    permutations: int = PERMUTATIONS,
) -> tuple[Look, ...]:
    """Checks the declared looks and divides alpha among them.

    A look whose level takes more permutations than allowed makes no claim. It spends
    nothing, and the next look has its part as well.

    Args:
        looks: n at each look.
        configurations: n of the whole study.
        effort: k*.
        alpha: The level of the study, shared by all challengers; so is each look's,
            which is `compare`'s alpha there.
        challengers: J; a claim for one of them may need p below level / J.
        permutations: The most that a look may take.

    Raises:
        ProtocolError: The looks do not increase, do not end with the study, or begin
            before 4 k*; or the last one would take more permutations.
    """
    received = ", ".join(str(n) for n in looks) or "none"
    for rule, holds, way_out in (
        (
            "the last look is at the study's own number of configurations",
            bool(looks) and looks[-1] == configurations,
            f"End with {configurations}, or change the number of configurations.",
        ),
        (
            "each look is at more configurations than the one before",
            all(before < now for before, now in itertools.pairwise(looks)),
            "Give them in ascending order, each once.",
        ),
        (
            f"the first look is at {4 * effort} configurations or more (4 times the"
            " effort)",
            min(looks, default=0) >= 4 * effort,
            "Leave the earlier ones out, or lower the effort.",
        ),
    ):
        if not holds:
            raise ProtocolError(rule, received, way_out)
    declared = []
    unspent, needed = 0.0, 0
    for n, part in zip(looks, spend(looks, alpha), strict=True):
        level = part + unspent
        # So early that its level underflows, a look is not to divide by it.
        needed = permutations_needed(max(level, 1e-300) / challengers)
        claims = needed <= permutations
        declared.append(Look(n, level, needed) if claims else Look(n, None, None))
        unspent = 0.0 if claims else level
    if needed > permutations:
        raise ProtocolError(
            f"the last look takes {needed} permutations to make a claim",
            str(permutations),
            "Allow that many, or have fewer looks.",
        )
    return tuple(declared)


def grown_looks(
    sizes: Sequence[int],
    *,
    alpha: float = 0.05,
    challengers: int = 1,
    permutations: int = PERMUTATIONS,
) -> tuple[Look, ...]:
    """Returns the looks of a study that grew after its verdict was known.

    The first look was made at all of alpha, so nothing of it is left: whatever is
    claimed later adds to it. A later look has

        alpha / 2^i,  i the larger of its place (1 for the first growth) and of the
        doublings from the first look's n to its own, rounded up.

    At sizes that do not depend on what was seen, each claim is wrong with probability
    alpha / 2^i at most, so that all looks together are in the sum of their levels at
    most: .075 after one doubling, and below 2 alpha however often a study doubles. For
    looks whose errors are jointly normal it is .064 after one doubling, .071 after two
    and .077 after four (at the full level each time .083, .113 and .170). The bound is
    not proven where n itself is chosen by what was seen; simulated in the same way, a
    choice that makes a claim most likely has .066.

    Args:
        sizes: n at each look, ascending; the first one's was declared.
        alpha: The level of the study, shared by all challengers; so is each look's.
        challengers: J; a claim for one of them may need p below level / J.
        permutations: The most that a look may take.

    Raises:
        ProtocolError: The last look would take more permutations.

    Examples:
        >>> [round(look.level, 4) for look in grown_looks([16, 32, 128])]
        [0.05, 0.025, 0.0063]
    """
    first = sizes[0]
    looks = []
    for place, n in enumerate(sizes):
        doublings = (-(-n // first) - 1).bit_length()
        level = alpha / 2 ** max(place, doublings)
        looks.append(Look(n, level, permutations_needed(level / challengers)))
    needed = looks[-1].permutations
    assert needed is not None  # each look may claim
    if needed > permutations:
        raise ProtocolError(
            "each time that a study grows, or doubles, its next look has half the level",
            f"at {sizes[-1]} configurations after {first} a claim would take {needed:,}"
            f" permutations, more than {permutations:,}",
            "Begin a new study of that size, with another --seed and another --study.",
        )
    return tuple(looks)


def decide_look(
    verdict: Verdict | None,
    effect: Estimate,
    standard_error: float,
    look: Look,
    last: Look,
    *,
    effort: int,
    margin: float,
    test_variance: float = 0.0,
) -> Decision:
    """Says whether a challenger gets more runs after a look.

    "claim": the verdict at the look's own level is one that a study ends with. Other
    words for the same gain may still follow from more runs (whether the baseline
    catches up is settled by more trials), the gain itself is claimed.

    "futile": the challenger cannot win any more, and it cannot be shown to be as good
    either; what is left to find out is by how much it is worse. That is so if

    1. the interval at the *full* alpha lies below the margin: a gain worth having is
       ruled out as firmly as it ever would be; and
    2. `equivalent` is out of reach: at the last look, with the error that this many
       more configurations leave, no gain inside the present interval would have an
       interval within the margin.

    An arm whose gain does reach the margin is dropped with probability alpha / 2 a
    look at most. The rule is not binding: who goes on all the same makes no more
    false claims than the levels allow, since futility claims nothing.

    Args:
        verdict: At the look's level (alpha of `compare`); None where the look is
            for futility only.
        effect: The gain, with its interval at the full alpha.
        standard_error: Of the gain, from the draw of configurations alone.
        look: Where the study stands.
        last: The last look. There, "go on" is for whoever declares a new study.
        effort: k*.
        margin: The smallest gap worth having.
        test_variance: The gain's variance from the draw of test examples, which more
            configurations do not lower.
    """
    if verdict is not None and verdict not in ("inconclusive", "not_assessable"):
        return "claim"
    if effect.high >= margin:
        return "go on"
    assert last.level is not None  # `declare_looks` sees to it
    shrunk = standard_error**2 * look.configurations / last.configurations
    freedom = 2 * last.configurations / effort - 1
    reach = float(student(freedom, last.level)) * math.sqrt(shrunk + test_variance)
    nearest = max(effect.low, min(effect.high, 0.0))
    return "go on" if abs(nearest) + reach < margin else "futile"

"""All numbers of one comparison, in one reading of its records.

What is asked of the arms is known before anything is drawn (`ask`), so all readings
share the same resamples (`draw`), of those trials alone that any of them needs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.expectation import (
    Drawn,
    Expectation,
    expectations,
    needed,
    resample,
    resample_some,
)
from archtrial.statistics.gain import Gain, equal_compute, gain, searches_won
from archtrial.statistics.gate import gate, gate_by_signs
from archtrial.statistics.intervals import Estimate, student
from archtrial.statistics.ladder import Climb, climb
from archtrial.statistics.matching import (
    CatchUp,
    Matching,
    efforts_to_scan,
    match,
    standing_of,
)
from archtrial.statistics.planning import (
    EvenError,
    seed_variance,
)
from archtrial.statistics.scanning import Scan, scan, spread
from archtrial.statistics.search import Estimand, Reading, Search, cost_ratio
from archtrial.statistics.tuning import MANY
from archtrial.statistics.verdict import Copies

__all__ = ["Measured", "Terms", "ask", "draw", "measure", "readings_of"]


@dataclasses.dataclass(frozen=True)
class Terms:
    """What was declared of a comparison; the words are those of `compare`."""

    effort: int
    margin: float
    alpha: float
    level: float
    """alpha over the number of challengers: what each interval has."""
    max_multiple: float
    estimand: Estimand
    paired: bool
    seed: int
    permutations: int
    resamples: int
    higher_is_better: bool
    metric: str
    scored_on: Literal["test", "validation"]
    unsound: tuple[str, ...]
    published: Mapping[str, float] | None
    elsewhere: bool
    matched: Mapping[str, Search]
    options: Mapping[str, Sequence[str]]
    test_size: int | None
    copies: Copies | None

    def quantile(self, asked: "Asked") -> float:
        """Returns the quantile of Student's t of the challenger's own interval."""
        freedom = 2 * len(asked.b.score) / self.effort - 1
        return float(student(freedom, self.level))


@dataclasses.dataclass(frozen=True)
class Measured:
    """All numbers of one comparison in one reading; higher is better."""

    effect: Gain
    p_value: float
    baseline: Estimate
    challenger: Estimate
    searches: Estimate
    equal_efforts: tuple[int, int] | None
    """The baseline's and the challenger's; None where n allows none."""
    equal_unconfirmed: float
    """The share of an arm's weight there on configurations without a fresh seed; if
    it is too large, the effect is None."""
    equal_effect: Estimate | None
    equal_p_value: float | None
    matching: Matching
    climb: Climb | None
    """None where the baseline was not trained longer."""
    even: EvenError | None = None
    """How the error falls with n; None for independent draws."""

    @property
    def catch_up(self) -> CatchUp:
        """Whether the baseline gets there by more tuning or by longer training."""
        if self.climb is not None and self.climb.reaches == "yes":
            return "yes"
        return self.matching.catch_up


def readings_of(
    terms: Terms, baseline: Search, challengers: Sequence[Search]
) -> tuple[Estimand, ...]:
    """Returns the readings that all arms allow, the one declared first."""
    allowed = [search.readings(terms.effort) for search in (baseline, *challengers)]
    other: Estimand = "run" if terms.estimand == "configuration" else "configuration"
    common = [
        reading
        for reading in (terms.estimand, other)
        if all(reading in each for each in allowed)
    ]
    if terms.estimand not in common:
        missing = {
            "configuration": "the best configurations have no fresh seeds",
            "run": "the runs of the search have no test scores",
        }
        raise ProtocolError(
            f"the reading by {terms.estimand} needs its scores in every arm",
            missing[terms.estimand],
            f"Choose the reading by {other}." if common else "",
        )
    return tuple(common)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What one reading of one comparison needs to know of its arms."""

    everyone: Reading
    """The baseline's trials, those without a partner last."""
    a: Reading
    """The baseline's trials that are compared."""
    b: Reading
    """The challenger's."""
    equal: tuple[int, int] | None
    """The efforts of equal compute that are told of; None where there are none."""
    known: bool
    """Whether both arms tell of them."""
    pairs: Sequence[tuple[int, int]]
    """The efforts at which they are compared: k* of both first."""
    scanned: np.ndarray
    """(K,) the efforts at which the baseline's curve is looked at."""
    scan: Scan | None
    """What the jackknife says of the curve; None where it is to be resampled anyway."""


def ask(terms: Terms, baseline: Search, challenger: Search, reading: Estimand) -> Asked:
    """Returns what is asked of a comparison, before anything is drawn."""
    a, b = (
        dataclasses.replace(arm.reading(reading), test_size=terms.test_size)
        for arm in (baseline, challenger)
    )
    everyone, b, alone = _in_order_of_content(a, b, terms.paired)
    a = everyone.take(np.arange(len(b.score))) if alone else everyone
    same = (terms.effort, terms.effort)
    affordable = equal_compute(
        terms.effort,
        min(len(a.score), len(b.score)),
        float(np.mean(baseline.cost)),
        float(np.mean(challenger.cost)),
    )
    # A costly arm's smaller effort has weight on configurations of lower ranks,
    # which need not have been confirmed.
    told = (e for e in affordable if a.tells([e[0]])[0] and b.tells([e[1]])[0])
    known = next(told, None)
    equal = known or next(iter(affordable), None)
    scanned = efforts_to_scan(everyone, modelled=b.places is not None)
    by_jackknife = None
    if (
        max(len(everyone.score), len(b.score)) > MANY
        and everyone.examples is None
        and not everyone.stratified
    ):
        nothing = np.empty((0, len(b.score)), dtype=np.uint8)
        (target,) = expectations(b, [[terms.effort]], nothing)
        by_jackknife = scan(
            everyone,
            scanned,
            target,
            margin=terms.margin,
            alpha=terms.level,
            paired=terms.paired,
        )
    return Asked(
        everyone=everyone,
        a=a,
        b=b,
        equal=equal,
        known=known is not None,
        pairs=[same] if known in (None, same) else [same, known],
        scanned=scanned,
        scan=by_jackknife,
    )


def draw(terms: Terms, asked: Sequence[Asked]) -> tuple[Drawn, Drawn]:
    """Draws resamples for all readings, of those trials that any of them needs."""
    first = asked[0]
    of_a, of_b = (
        np.zeros(len(first.everyone.score), dtype=bool),
        np.zeros(len(first.b.score), dtype=bool),
    )
    for each in asked:
        of_b[needed(each.b, [e[1] for e in each.pairs])] = True
        of_a[needed(each.a, [e[0] for e in each.pairs])] = True
        scanned = each.scanned
        if each.scan is not None:
            scanned = each.scan.guess(terms.quantile(each))
        if len(scanned):
            of_a[needed(each.everyone, scanned)] = True
    return resample_some(
        terms.seed, of_a, of_b, paired=terms.paired, resamples=terms.resamples
    )


def measure(
    terms: Terms,
    baseline: Search,
    challenger: Search,
    reading: Estimand,
    asked: Asked,
    counts: tuple[Drawn, Drawn],
) -> Measured:
    """Measures one comparison in one reading, resampled as often as `counts` says."""
    everyone, a, b, scanned = asked.everyone, asked.a, asked.b, asked.scanned
    same, equal, known = asked.pairs[0], asked.equal, asked.known
    # All that is asked of an arm is asked at once.
    of_b = expectations(b, [[e[1]] for e in asked.pairs], counts[1])
    lists = [[e[0]] for e in asked.pairs]
    of_a: Sequence[Expectation]
    curve = None
    if asked.scan is None and a is everyone:
        *of_a, curve = expectations(a, [*lists, scanned], counts[0])
    else:
        of_a = expectations(a, lists, counts[0] if a is everyone else counts[1])
    matching = _match(
        terms,
        asked,
        curve,
        of_b[0],
        counts[0],
        # In trials, where compute has no unit in common.
        cost_ratio(baseline, challenger) or 1.0,
    )
    effect = gain(of_b[0], of_a[0], alpha=terms.level, paired=terms.paired)
    p_value = (
        gate(
            b,
            a,
            terms.effort,
            paired=terms.paired,
            permutations=terms.permutations,
            seed=terms.seed,
        )
        if effect.p_value is None
        else float(effect.p_value[0])
    )
    equal_unconfirmed, equal_effect, equal_p_value = 0.0, None, None
    if equal is not None:
        shares = a.unconfirmed([equal[0]])[0], b.unconfirmed([equal[1]])[0]
        equal_unconfirmed = float(max(shares))
    if known and equal == same:
        equal_effect, equal_p_value = effect.at(0), p_value
    elif known:
        gained = gain(of_b[1], of_a[1], alpha=terms.level, paired=terms.paired)
        equal_effect = gained.at(0)
        equal_p_value = (
            gate_by_signs(
                of_b[1],
                of_a[1],
                paired=terms.paired,
                permutations=terms.permutations,
                seed=terms.seed,
            )
            if gained.p_value is None
            else float(gained.p_value[0])
        )
    return Measured(
        effect=effect,
        p_value=p_value,
        baseline=gain(of_a[0], alpha=terms.level).at(0),
        challenger=gain(of_b[0], alpha=terms.level).at(0),
        searches=searches_won(
            b, a, terms.effort, alpha=terms.level, paired=terms.paired
        ),
        equal_efforts=equal,
        equal_unconfirmed=equal_unconfirmed,
        equal_effect=equal_effect,
        equal_p_value=equal_p_value,
        matching=matching,
        climb=climb(
            baseline,
            challenger,
            effort=terms.effort,
            estimand=reading,
            margin=terms.margin,
            alpha=terms.level,
            seed=terms.seed,
            paired=terms.paired,
            resamples=terms.resamples,
            test_size=terms.test_size,
        )
        if baseline.rungs
        else None,
        even=_even_error(terms, baseline, challenger, reading, effect, of_b[0], of_a[0])
        if b.stratified
        else None,
    )


def _match(
    terms: Terms,
    asked: Asked,
    curve: Expectation | None,
    target: Expectation,
    counts: Drawn,
    cost_ratio: float,
) -> Matching:
    """Says how much tuning brings the baseline there, with no more work than it takes.

    Args:
        terms: What was declared.
        asked: What is asked of the arms.
        curve: The baseline's at all efforts, if it is there already.
        target: The challenger's, at k* alone.
        counts: Of the baseline's trials.
        cost_ratio: As for `match`.
    """
    everyone, scanned, standing = asked.everyone, asked.scanned, None
    if asked.scan is not None:
        some = asked.scan.open(
            *spread(target.resampled[:, 0], float(target.estimate[0]), terms.level)
        )
        gains = np.empty((0, 0))
        if len(some):
            drawn = asked.scan.guess(terms.quantile(asked))
            if not len(drawn) or some[0] < drawn[0]:
                counts = _whole(terms, asked)
            (found,) = resample(everyone, [some], counts)
            gains = found.T - target.resampled + terms.margin
        standing = asked.scan.standing(some, gains, terms.level)
        if standing is None:
            # Some end lies on the target, or so close that rounding decides.
            counts = _whole(terms, asked)
    if standing is None:
        if curve is None:
            (curve,) = expectations(everyone, [scanned], counts)
        standing = standing_of(
            target, curve, margin=terms.margin, alpha=terms.level, paired=terms.paired
        )
    return match(
        standing,
        target,
        scanned,
        everyone,
        terms.effort,
        margin=terms.margin,
        max_multiple=terms.max_multiple,
        cost_ratio=cost_ratio,
        alpha=terms.level,
    )


def _whole(terms: Terms, asked: Asked) -> Drawn:
    """Returns how often each of the baseline's trials is drawn, whatever was needed."""
    counts, _ = resample_some(
        terms.seed,
        np.ones(len(asked.everyone.score), dtype=bool),
        np.ones(len(asked.b.score), dtype=bool),
        paired=terms.paired,
        resamples=terms.resamples,
    )
    return counts


def _even_error(
    terms: Terms,
    baseline: Search,
    challenger: Search,
    reading: Estimand,
    effect: Gain,
    of_b: Expectation,
    of_a: Expectation,
) -> EvenError:
    """Takes apart what makes the error of a gain whose trials fill the space evenly."""
    plain_b, plain_a = (dataclasses.replace(each, model=None) for each in (of_b, of_a))
    plain = gain(plain_b, plain_a, alpha=terms.level, paired=terms.paired)
    return EvenError.of(
        min(baseline.n, challenger.n),
        float(effect.standard_error[0]),
        float(plain.standard_error[0]),
        [
            None if each.model is None else seed_variance(search, terms.effort, reading)
            for search, each in ((baseline, of_a), (challenger, of_b))
        ],
    )


def _in_order_of_content(
    a: Reading, b: Reading, paired: bool
) -> tuple[Reading, Reading, int]:
    """Lists trials in an order that depends neither on the records nor on labels.

    Draws belong to places in this order. For pairs it must be the same whichever
    arm comes first: so sums, distances and the product of differences.

    Returns:
        The baseline's and the challenger's trials; and how many of the baseline's,
        the last ones, have no partner.
    """
    if not paired:
        return (
            a.take(np.lexsort((a.score, a.validation))),
            b.take(np.lexsort((b.score, b.validation))),
            0,
        )
    pairs = min(len(a.score), len(b.score))
    chosen = a.validation[:pairs], b.validation[:pairs]
    scored = a.score[:pairs], b.score[:pairs]
    apart = chosen[1] - chosen[0], scored[1] - scored[0]
    order = np.lexsort(
        (
            apart[0] * apart[1],
            np.abs(apart[1]),
            scored[0] + scored[1],
            np.abs(apart[0]),
            chosen[0] + chosen[1],
        )
    )
    alone = pairs + np.lexsort((a.score[pairs:], a.validation[pairs:]))
    return a.take(np.concatenate([order, alone])), b.take(order), len(alone)

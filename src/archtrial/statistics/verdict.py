"""The verdict: from two searches to one of six words, with everything behind it.

Two claims are kept apart: what swapping the architecture gains *at equal effort*,
and whether *more effort* on the baseline would make up for it (`catch_up`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy import special

from archtrial.errors import ProtocolError
from archtrial.statistics.comparison import (
    Drawn,
    Estimate,
    Expectation,
    Gain,
    equal_compute,
    expectations,
    gain,
    gate,
    gate_by_signs,
    holm,
    needed,
    resample,
    resample_some,
    searches_won,
    seeds_won,
)
from archtrial.statistics.ladder import Climb, climb
from archtrial.statistics.matching import (
    CatchUp,
    Matching,
    efforts_to_scan,
    match,
    matched,
    trials_to_reach,
)
from archtrial.statistics.planning import (
    EvenError,
    Settlement,
    even_settlement,
    least_p,
    minimum_detectable_effect,
    seed_variance,
    settlement,
)
from archtrial.statistics.robustness import Robustness, Row, robustness
from archtrial.statistics.scanning import Scan, scan, spread
from archtrial.statistics.search import Estimand, Reading, Search, aligned
from archtrial.statistics.tuning import MANY

__all__ = ["Caution", "Comparison", "Copies", "Verdict", "compare", "decide"]

# Scores between 0 and 1 that are means over examples, or nearly.
FRACTIONS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")

# Fractions that are no mean over examples of anything between 0 and 1, or need not be.
NOT_MEANS = (
    *("balanced_accuracy", "macro_f1", "auroc", "f1", "precision", "recall"),
    *("iou", "miou", "dice", "map", "wer", "cer"),
)

Verdict: TypeAlias = Literal[
    "not_assessable",
    "tuning",
    "equivalent",
    "baseline",
    "architecture",
    "inconclusive",
]


def decide(
    effect: Estimate | None,
    p_value: float | None,
    *,
    alpha: float,
    margin: float,
    catch_up: CatchUp,
    sound: bool = True,
    published_gap: float | None = None,
) -> Verdict:
    """Returns the first verdict whose rule holds.

    Args:
        effect: The challenger's gain at equal effort, with its interval; None where
            there are too few trials.
        p_value: Of a gain of 0, adjusted for the number of challengers.
        alpha: The level of claims.
        margin: delta, the smallest gap worth having.
        catch_up: Whether more tuning brings the baseline there.
        sound: Whether the comparison itself is sound.
        published_gap: Challenger less baseline as published, if it was given.
    """
    if not sound or effect is None or p_value is None:
        return "not_assessable"
    low, estimate, high = effect.low, effect.estimate, effect.high
    if -margin < low and high < margin:
        published = published_gap is not None and published_gap >= margin
        return "tuning" if published else "equivalent"
    if p_value <= alpha and high < 0 and estimate <= -margin:
        return "baseline"
    if p_value <= alpha and low > 0 and estimate >= margin:
        return "tuning" if catch_up == "yes" else "architecture"
    return "inconclusive"


@dataclasses.dataclass(frozen=True)
class Copies:
    """Test examples that lie among those that were trained on."""

    count: int
    of: int
    """T, the number of test examples."""
    moves: Mapping[str, float]
    """By challenger, how far they can move its gain at most (`copies_move`)."""
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By challenger, the clause that makes its comparison unsound where they decide."""

    def decides(self, challenger: str, gained: float, margin: float) -> bool:
        """Says whether without them the finding might have been another.

        A gain of at least the margin might have fallen short of it, and a smaller
        one exceeded it.
        """
        return self.moves[challenger] > abs(abs(gained) - margin)


CautionKind: TypeAlias = Literal[
    "other reading",
    "copies",
    "validation only",
    "test set bounded",
    "this test set",
    "picked seeds",
    "unpaired",
    "no partner",
    "diverged",
    "no equal compute",
    "unconfirmed at equal compute",
    "other verdict at equal compute",
]


@dataclasses.dataclass(frozen=True)
class Caution:
    """What a reader must know beside a verdict: its kind and its numbers, no sentence."""

    kind: CautionKind
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One challenger against the baseline.

    Scores are in the metric's own units. `effect` and all that is said of it are
    the *gain* of the challenger: positive where the challenger is better, also for
    metrics of which less is better.
    """

    verdict: Verdict
    strong: bool
    """Whether, besides `architecture`, the whole interval lies above the margin."""
    reason: str | None
    """Why nothing is claimed: for `not_assessable`, and where readings that must agree
    differ."""
    baseline: str
    challenger: str
    metric: str
    higher_is_better: bool
    scored_on: Literal["test", "validation"]
    margin: float
    alpha: float
    """Shared by all challengers: with J of them intervals have level 1 - alpha / J."""
    estimand: Estimand
    paired: bool
    configurations: int
    """n, in each arm; of the smaller one if the arms are not paired."""
    effort: int
    effect: Estimate | None = None
    standard_error: float | None = None
    """Of the effect, from the draw of configurations alone."""
    p_value: float | None = None
    p_value_adjusted: float | None = None
    """The same after Holm's adjustment for the number of challengers."""
    effect_at_equal_compute: dict[str, Any] | None = None
    baseline_score: Estimate | None = None
    """D(k*) of the baseline."""
    challenger_score: Estimate | None = None
    probability_better: dict[str, Any] | None = None
    tuning_to_match: dict[str, Any] | None = None
    ladder: dict[str, Any] | None = None
    """Where both arms stand when trained longer; None where nobody did."""
    catch_up: CatchUp = "unknown"
    test_set_floor: float | None = None
    """No interval is narrower to either side, however many configurations; None
    where neither the test examples nor their number is known."""
    minimum_detectable_effect: float | None = None
    """None where so few trials allow no claim of any gain."""
    would_settle: Settlement | None = None
    """For `inconclusive`."""
    other_reading: dict[str, Any] | None = None
    """What the other reading finds, where the records allow it."""
    robustness: dict[str, Any] | None = None
    """The gain in parts of the space, for the median, and at equal size."""
    published: dict[str, Any] | None = None
    """The published gap, taken apart; the split depends on the path."""
    cautions: tuple[Caution, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as `verdict.schema.json` describes it, without words.

        Its sentence and its warnings are made of this by `archtrial.words`.
        """
        document = dataclasses.asdict(self)
        del document["cautions"]
        for field in ("effect", "baseline_score", "challenger_score"):
            # A reader need not ask first whether there are numbers.
            if document[field] is None:
                document[field] = {"estimate": None, "low": None, "high": None}
        return document


def compare(
    baseline: Search,
    challengers: Sequence[Search],
    *,
    effort: int,
    margin: float,
    metric: str,
    seed: int,
    alpha: float = 0.05,
    max_multiple: float = 4.0,
    estimand: Estimand = "configuration",
    paired: bool = True,
    higher_is_better: bool = True,
    fraction: bool | None = None,
    scored_on: Literal["test", "validation"] = "test",
    permutations: int = 9999,
    resamples: int = 2000,
    unsound: Sequence[str] = (),
    unsound_by: Mapping[str, Sequence[str]] | None = None,
    copies: Copies | None = None,
    published: Mapping[str, float] | None = None,
    test_size: int | None = None,
    elsewhere: bool = False,
    matched: Mapping[str, Search] | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
) -> list[Comparison]:
    """Compares challengers with a baseline after equal tuning effort.

    Swapping baseline and challenger turns effect and interval round and leaves p
    as it is; the order of the trials and the names of the arms change nothing.
    The same seed gives the same result, bit for bit.

    Args:
        baseline: Its search. If paired, trials beyond a challenger's number serve
            the question of catching up alone.
        challengers: At least one; if paired, trial i of every arm has the same draw
            of the shared hyperparameters.
        effort: k*, at least 1. More than n / 4 is not assessable.
        margin: The smallest gap worth having, more than 0, in units of the score.
        metric: The metric's name.
        seed: The protocol's seed.
        alpha: Shared by all challengers.
        max_multiple: How much more tuning `catch_up` is about.
        estimand: The reading that the verdict is about. Where the trials fill the
            space evenly, "configuration" decides alone, and another verdict by "run"
            is a warning. In all other cases both readings must lead to the same
            verdict; else it is inconclusive.
        paired: Whether trials are paired by index.
        higher_is_better: The metric's direction; searches are turned already.
        fraction: Whether scores lie between 0 and 1; by default, whether the metric
            is known as such.
        scored_on: "validation" where no run was ever scored on a test set, and what
            stands for test scores are validation scores.
        permutations: P of the gate.
        resamples: B of the intervals, at least 2,000 for a result to report.
        unsound: What makes every comparison unsound, a clause each.
        unsound_by: By challenger, what makes its own comparison unsound.
        copies: Test examples that were trained on. Where they may decide, the
            comparison is unsound.
        published: Published scores by arm, in the metric's own units.
        test_size: T, the number of test examples, where their single scores are
            unknown and the test score is a mean over them of scores from 0 to 1. The
            interval then allows for the largest error that such a test set can have
            (`comparison.gain`); where single scores are known, they are used instead.
        elsewhere: Whether the gain is estimated again in other parts of the space
            (`robustness`). A significant gain of the other sign there makes the
            verdict inconclusive.
        matched: By challenger, the baseline made as large as it.
        options: By hyperparameter that is a choice, what its options are called.

    Returns:
        One comparison for each challenger, in their order.

    Raises:
        ProtocolError: A parameter is out of its range, or the records do not allow
            the reading.
    """
    for what, holds, received in (
        ("a comparison has at least one challenger", len(challengers) > 0, "none"),
        ("effort is at least 1", effort >= 1, effort),
        ("margin is more than 0", 0 < margin < math.inf, margin),
        ("alpha lies between 0 and .5", 0 < alpha < 0.5, alpha),
        ("max_multiple is more than 0", 0 < max_multiple < math.inf, max_multiple),
    ):
        if not holds:
            raise ProtocolError(what, str(received))
    if published is not None and baseline.name not in published:
        raise ProtocolError(
            "published scores include the baseline's",
            ", ".join(published),
            f"Add the published score of {baseline.name}.",
        )
    if test_size is not None:
        fractions = metric in FRACTIONS if fraction is None else fraction
        bound = fractions and metric not in NOT_MEANS
        _check_test_size(test_size, metric, bound, scored_on, (baseline, *challengers))
    level = alpha / len(challengers)
    terms = _Terms(
        effort=effort,
        margin=margin,
        alpha=alpha,
        level=level,
        max_multiple=max_multiple,
        estimand=estimand,
        paired=paired,
        seed=seed,
        permutations=permutations,
        # Each tail of the percentile interval needs some resamples of its own.
        resamples=2 * math.ceil(max(resamples / 2, 20 / level)),
        higher_is_better=higher_is_better,
        metric=metric,
        scored_on=scored_on,
        unsound=tuple(unsound),
        published=published,
        elsewhere=elsewhere,
        matched=matched or {},
        options=options or {},
        test_size=test_size,
        copies=copies,
    )
    own = {
        challenger.name: dataclasses.replace(
            terms,
            unsound=(*terms.unsound, *(unsound_by or {}).get(challenger.name, ())),
        )
        for challenger in challengers
    }
    if min(search.n for search in (baseline, *challengers)) < 4 * effort:
        return [
            _too_few(own[challenger.name], baseline, challenger)
            for challenger in challengers
        ]

    readings = _readings(terms, baseline, challengers)
    found: dict[Estimand, list[_Measured]] = {reading: [] for reading in readings}
    # Each pair alone, so that no finding depends on which other challengers there are.
    pairs = [
        aligned([baseline, challenger], terms.options) for challenger in challengers
    ]
    for one, challenger in pairs:
        asked = [_ask(terms, one, challenger, reading) for reading in readings]
        counts = _draw(terms, asked)
        for reading, each in zip(readings, asked, strict=True):
            measured = _measure(terms, one, challenger, reading, each, counts)
            found[reading].append(measured)
    adjusted = {
        reading: holm([measured.p_value for measured in each])
        for reading, each in found.items()
    }
    # A gain at equal compute that is unknown counts among them without a claim.
    at_equal_compute = holm(
        [
            1.0 if measured.equal_p_value is None else measured.equal_p_value
            for measured in found[terms.estimand]
        ]
    )
    return [
        _report(
            own[challenger.name],
            one,
            challenger,
            {reading: (found[reading][j], adjusted[reading][j]) for reading in found},
            at_equal_compute[j],
        )
        for j, (one, challenger) in enumerate(pairs)
    ]


# --- from searches to numbers --------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Terms:
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

    def quantile(self, asked: "_Asked") -> float:
        """Returns the quantile of Student's t of the challenger's own interval."""
        freedom = 2 * len(asked.b.score) / self.effort - 1
        return float(special.stdtrit(freedom, 1 - self.level / 2))


def _check_test_size(
    test_size: int,
    metric: str,
    bound: bool,
    scored_on: str,
    searches: Sequence[Search],
) -> None:
    """Raises ProtocolError where the bound on the test set's error does not hold."""
    if test_size < 2:
        raise ProtocolError("a test set has at least 2 examples", str(test_size))
    rule = "a test set's size bounds its error where the score is a mean of fractions"
    way_out = "Leave the size of the test set out."
    if scored_on == "validation":
        raise ProtocolError(rule, "there are no test scores", way_out)
    if not bound:
        raise ProtocolError(rule, f"the metric {metric}", way_out)
    for search in searches:
        for scores in (search.test, search.test_run):
            outside = None if scores is None else scores[np.abs(scores) > 1]
            if outside is not None and len(outside):
                raise ProtocolError(
                    rule, f"a test score of {outside[0]:g} in {search.name}", way_out
                )


@dataclasses.dataclass(frozen=True)
class _Measured:
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


def _readings(
    terms: _Terms, baseline: Search, challengers: Sequence[Search]
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
class _Asked:
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


def _ask(
    terms: _Terms, baseline: Search, challenger: Search, reading: Estimand
) -> _Asked:
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
    return _Asked(
        everyone=everyone,
        a=a,
        b=b,
        equal=equal,
        known=known is not None,
        pairs=[same] if known in (None, same) else [same, known],
        scanned=scanned,
        scan=by_jackknife,
    )


def _draw(terms: _Terms, asked: Sequence[_Asked]) -> tuple[Drawn, Drawn]:
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


def _measure(
    terms: _Terms,
    baseline: Search,
    challenger: Search,
    reading: Estimand,
    asked: _Asked,
    counts: tuple[Drawn, Drawn],
) -> _Measured:
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
        float(np.mean(baseline.cost) / np.mean(challenger.cost)),
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
    return _Measured(
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
    terms: _Terms,
    asked: _Asked,
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
    everyone, scanned = asked.everyone, asked.scanned
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
        if standing is not None:
            return matched(
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
        # Some end lies on the target, or so close that rounding decides.
        counts = _whole(terms, asked)
    if curve is None:
        (curve,) = expectations(everyone, [scanned], counts)
    return match(
        target,
        curve,
        scanned,
        everyone,
        terms.effort,
        margin=terms.margin,
        max_multiple=terms.max_multiple,
        cost_ratio=cost_ratio,
        alpha=terms.level,
        paired=terms.paired,
    )


def _whole(terms: _Terms, asked: _Asked) -> Drawn:
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
    terms: _Terms,
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


# --- from numbers to the verdict -----------------------------------------------


def _report(
    terms: _Terms,
    baseline: Search,
    challenger: Search,
    found: Mapping[Estimand, tuple[_Measured, float]],
    adjusted_at_equal_compute: float,
) -> Comparison:
    """Judges one comparison from its numbers in one or both readings.

    Args:
        terms: What was declared.
        baseline: Its search.
        challenger: Its search.
        found: For each reading the numbers, and p adjusted for all challengers.
        adjusted_at_equal_compute: The same p at equal compute; of no meaning where
            that is unknown.
    """
    measured, adjusted = found[terms.estimand]
    effect, matching = measured.effect.at(0), measured.matching
    decomposition = _decompose(terms, baseline, challenger, measured)
    copies = terms.copies
    if copies is not None and copies.decides(
        challenger.name, effect.estimate, terms.margin
    ):
        clause = copies.reasons.get(
            challenger.name, "test examples are copies of others that were trained on"
        )
        terms = dataclasses.replace(terms, unsound=(*terms.unsound, clause))

    def judged(
        gained: Estimate | None, p: float | None, catch_up: CatchUp = "unknown"
    ) -> Verdict:
        return decide(
            gained,
            p,
            alpha=terms.alpha,
            margin=terms.margin,
            catch_up=catch_up,
            sound=not terms.unsound,
            published_gap=None if decomposition is None else decomposition["gap"],
        )

    verdict = judged(effect, adjusted, measured.catch_up)
    reason = "; ".join(terms.unsound) or None
    other_reading = None
    another: Caution | None = None
    for reading, (other, p) in found.items():
        if reading == terms.estimand:
            continue
        elsewhere = judged(other.effect.at(0), p, other.catch_up)
        other_reading = {
            "estimand": reading,
            "verdict": elsewhere,
            "effect": dataclasses.asdict(other.effect.at(0)),
            "p_value": other.p_value,
        }
        if elsewhere == verdict:
            continue
        failing = any(arm.seeds_fail(terms.effort) for arm in (baseline, challenger))
        depends = "seed failure" if failing else "the luck of single seeds"
        alone = terms.estimand == "configuration" and baseline.stratified
        if not alone:
            # The very runs that were picked are lucky ones: what they show must hold
            # on fresh seeds, too. And of independent draws fresh seeds alone claim
            # more than is promised in some settings (docs/calibration.md).
            reason = (
                f"depends on {depends}: by {terms.estimand} the verdict is {verdict},"
                f" by {reading} {elsewhere}"
            )
            verdict = "inconclusive"
        else:
            another = Caution(
                "other reading", {"verdict": elsewhere, "failing": failing}
            )
    other_parts = _elsewhere(terms, baseline, challenger)
    if other_parts is not None and verdict not in ("inconclusive", "not_assessable"):
        # What is too small to be worth having contradicts no equivalence.
        least = 0.0 if abs(effect.estimate) >= terms.margin else terms.margin
        turned = [
            row for row in other_parts.opposite if abs(row.effect.estimate) >= least
        ]
        if turned:
            reason = _turning(turned)
            verdict = "inconclusive"

    n = min(baseline.n, challenger.n)
    error = float(measured.effect.standard_error[0])
    test_variance = (
        None
        if measured.effect.test_variance is None
        else float(measured.effect.test_variance[0])
    )
    detectable = None
    if least_p(baseline.n, challenger.n, paired=terms.paired) <= terms.level:
        detectable = minimum_detectable_effect(
            error,
            n,
            terms.effort,
            margin=terms.margin,
            test_variance=test_variance or 0.0,
            alpha=terms.level,
        )
    settling = None
    if verdict == "inconclusive" and reason is None:
        gained = float(measured.effect.estimate[0])
        if measured.even is None:
            settling = settlement(
                gained,
                error,
                n,
                terms.effort,
                margin=terms.margin,
                test_variance=test_variance or 0.0,
                alpha=terms.level,
                paired=terms.paired,
            )
        else:
            settling = even_settlement(
                gained,
                measured.even,
                terms.effort,
                margin=terms.margin,
                test_variance=test_variance or 0.0,
                alpha=terms.level,
            )
    # As many trials as tell of an effort that reaches the multiple.
    ratio = float(np.mean(baseline.cost) / np.mean(challenger.cost)) / terms.effort
    needs = trials_to_reach(
        math.ceil(terms.max_multiple / ratio - 1e-9),
        modelled=baseline.modelled and challenger.modelled,
    )
    needed = needs if matching.catch_up == "unknown" and needs > baseline.n else None
    equal = None
    if measured.equal_efforts is not None and measured.equal_effect is not None:
        equal = {
            **dataclasses.asdict(measured.equal_effect),
            "p_value": measured.equal_p_value,
            "baseline_effort": measured.equal_efforts[0],
            "challenger_effort": measured.equal_efforts[1],
        }
    seeds = None
    if baseline.winner_seeds is not None and challenger.winner_seeds is not None:
        s = min(len(baseline.winner_seeds), len(challenger.winner_seeds))
        won = seeds_won(
            challenger.winner_seeds[:s], baseline.winner_seeds[:s], terms.level
        )
        seeds = {**dataclasses.asdict(won), "pairs": s}
    at_equal_compute = judged(measured.equal_effect, adjusted_at_equal_compute)
    return Comparison(
        verdict=verdict,
        strong=verdict == "architecture"
        and float(measured.effect.low[0]) > terms.margin,
        reason=reason,
        baseline=baseline.name,
        challenger=challenger.name,
        metric=terms.metric,
        higher_is_better=terms.higher_is_better,
        scored_on=terms.scored_on,
        margin=terms.margin,
        alpha=terms.alpha,
        estimand=terms.estimand,
        paired=terms.paired,
        configurations=n,
        effort=terms.effort,
        effect=effect,
        standard_error=error,
        p_value=measured.p_value,
        p_value_adjusted=adjusted,
        effect_at_equal_compute=equal,
        baseline_score=_turned(measured.baseline, terms.higher_is_better),
        challenger_score=_turned(measured.challenger, terms.higher_is_better),
        probability_better={
            "searches": dataclasses.asdict(measured.searches),
            "seeds": seeds,
        },
        tuning_to_match={
            "multiple": dataclasses.asdict(matching.multiple),
            "trials": dataclasses.asdict(matching.trials),
            "reportable_up_to": matching.reportable_up_to,
            "would_settle": needed,
        },
        ladder=_ladder(measured.climb, terms.higher_is_better),
        catch_up=measured.catch_up,
        test_set_floor=None
        if test_variance is None
        else float(special.ndtri(1 - terms.level / 2)) * math.sqrt(test_variance),
        minimum_detectable_effect=detectable,
        would_settle=settling,
        other_reading=other_reading,
        robustness=None if other_parts is None else _described(other_parts),
        published=decomposition,
        cautions=_cautions(
            terms,
            baseline,
            challenger,
            measured=measured,
            differs_at_equal_compute=judged(effect, adjusted) != at_equal_compute,
            examples_known=baseline.knows_examples(terms.estimand)
            and challenger.knows_examples(terms.estimand),
            readings=len(found),
            another=another,
        ),
    )


def _too_few(terms: _Terms, baseline: Search, challenger: Search) -> Comparison:
    """Returns the comparison of searches that the effort is too large for.

    Without numbers: a difference with no interval would be read as a finding.
    """
    n = min(baseline.n, challenger.n)
    reason = "; ".join(
        (
            *terms.unsound,
            f"an effort of {terms.effort} takes {4 * terms.effort} configurations of"
            f" each arm at least, and there are {n}",
        )
    )
    return Comparison(
        verdict="not_assessable",
        strong=False,
        reason=reason,
        baseline=baseline.name,
        challenger=challenger.name,
        metric=terms.metric,
        higher_is_better=terms.higher_is_better,
        scored_on=terms.scored_on,
        margin=terms.margin,
        alpha=terms.alpha,
        estimand=terms.estimand,
        paired=terms.paired,
        configurations=n,
        effort=terms.effort,
    )


def _turned(score: Estimate, higher_is_better: bool) -> Estimate:
    """Returns a score in the metric's own units."""
    if higher_is_better:
        return score
    return Estimate(-score.estimate, -score.high, -score.low)


def _ladder(found: Climb | None, higher_is_better: bool) -> dict[str, Any] | None:
    """Returns what training longer does, scores in the metric's own units."""
    if found is None:
        return None

    def score(value: Estimate | None) -> dict[str, float] | None:
        if value is None:
            return None
        return dataclasses.asdict(_turned(value, higher_is_better))

    def difference(value: Estimate | None) -> dict[str, float] | None:
        return None if value is None else dataclasses.asdict(value)

    further = found.extrapolation
    return {
        "target": score(found.target),
        "rungs": [
            {
                "rung": rung.rung,
                "configurations": rung.trials,
                "multiple": rung.multiple,
                "reason": rung.reason,
                "baseline_score": score(rung.baseline_score),
                "challenger_score": score(rung.challenger_score),
                "ahead_of_target": difference(rung.ahead),
                "effect": difference(rung.gain),
            }
            for rung in found.rungs
        ],
        "reaches": found.reaches,
        "longest": found.longest,
        "rung": {"estimate": found.smallest, "low": found.low, "high": found.high},
        "extrapolated": None
        if further is None
        else {
            "rung": further.rung,
            "baseline_score": score(further.baseline_score),
            "ahead_of_target": difference(further.ahead),
        },
    }


def _elsewhere(
    terms: _Terms, baseline: Search, challenger: Search
) -> Robustness | None:
    """Repeats the analysis of the gain in other ways, if that was asked for."""
    if not terms.elsewhere:
        return None
    larger = terms.matched.get(challenger.name)
    return robustness(
        baseline,
        challenger,
        effort=terms.effort,
        estimand=terms.estimand,
        margin=terms.margin,
        alpha=terms.level,
        seed=terms.seed,
        paired=terms.paired,
        matched=larger,
        options=terms.options,
        resamples=terms.resamples,
        test_size=terms.test_size,
    )


def _turning(rows: Sequence[Row]) -> str:
    """Says on what the sign of the gain depends."""
    depends = [
        f"depends on {what}: the sign of the gain turns ({names})"
        for what, names in (
            (
                "the search space",
                ", ".join(row.name for row in rows if row.kind != "matched"),
            ),
            (
                "the number of parameters",
                ", ".join(row.name for row in rows if row.kind == "matched"),
            ),
        )
        if names
    ]
    return "; it ".join(depends)


def _described(found: Robustness) -> dict[str, Any]:
    return {
        "rows": [
            {
                "part": row.name,
                "kind": row.kind,
                "configurations": row.trials,
                "effort": row.effort,
                "estimand": row.estimand,
                "effect": dataclasses.asdict(row.effect),
                "p_value": row.p_value,
                "p_value_adjusted": row.p_value_adjusted,
                "standing": row.finding,
            }
            for row in found.rows
        ],
        "opposite": [row.name for row in found.opposite],
        "lost": [row.name for row in found.lost],
        "skipped": list(found.skipped),
    }


def _decompose(
    terms: _Terms, baseline: Search, challenger: Search, measured: _Measured
) -> dict[str, Any] | None:
    """Takes a published gap apart: tuning + architecture + luck of the selection.

    The three add up by construction; how the gap is split depends on the path,
    which here tunes the baseline first.
    """
    if terms.published is None or challenger.name not in terms.published:
        return None
    sign = 1 if terms.higher_is_better else -1
    old = sign * terms.published[baseline.name]
    new = sign * terms.published[challenger.name]
    a, b = measured.baseline, measured.challenger
    tuning = Estimate(a.estimate - old, a.low - old, a.high - old)
    luck = Estimate(new - b.estimate, new - b.high, new - b.low)
    return {
        "gap": new - old,
        "tuning": dataclasses.asdict(tuning),
        "architecture": dataclasses.asdict(measured.effect.at(0)),
        "selection_luck": dataclasses.asdict(luck),
    }


def _cautions(
    terms: _Terms,
    baseline: Search,
    challenger: Search,
    *,
    measured: _Measured,
    differs_at_equal_compute: bool,
    examples_known: bool,
    readings: int,
    another: Caution | None,
) -> tuple[Caution, ...]:
    """Returns what a reader of the verdict must know beside it."""
    found = [] if another is None else [another]
    copies = terms.copies
    if copies is not None and not any("copies" in clause for clause in terms.unsound):
        found.append(Caution("copies", {"count": copies.count, "of": copies.of}))
    if terms.scored_on == "validation":
        found.append(Caution("validation only"))
    elif not examples_known and terms.test_size is not None:
        found.append(Caution("test set bounded", {"size": terms.test_size}))
    elif not examples_known:
        found.append(Caution("this test set"))
    if readings == 1 and terms.estimand == "run":
        found.append(Caution("picked seeds"))
    if not terms.paired:
        found.append(Caution("unpaired"))
    names = {"baseline": baseline.name, "challenger": challenger.name}
    dropped = challenger.n - baseline.n
    if terms.paired and dropped > 0:
        found.append(Caution("no partner", {**names, "dropped": dropped}))
    for arm in (baseline, challenger):
        if count := int(np.sum(arm.diverged)):
            values = {"count": count, "of": arm.n, "arm": arm.name}
            found.append(Caution("diverged", values))
    if measured.equal_efforts is None:
        found.append(Caution("no equal compute"))
        return tuple(found)
    there = {**names, "efforts": measured.equal_efforts}
    equal = measured.equal_effect
    if equal is None:
        share = measured.equal_unconfirmed
        found.append(Caution("unconfirmed at equal compute", {**there, "share": share}))
    elif differs_at_equal_compute:
        effect = (equal.estimate, equal.low, equal.high)
        found.append(
            Caution("other verdict at equal compute", {**there, "effect": effect})
        )
    return tuple(found)

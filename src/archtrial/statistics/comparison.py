"""From searches to comparisons: the whole method in one call.

Every pair of challenger and baseline is measured in each reading (`measuring`), the
p-values are adjusted for the number of challengers, and what the numbers say is put
together: the verdict with its reason, and everything behind it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.gain import seeds_won
from archtrial.statistics.intervals import Estimate, holm, normal
from archtrial.statistics.matching import (
    CatchUp,
    Matching,
    trials_to_reach,
)
from archtrial.statistics.measuring import (
    Measured,
    Terms,
    ask,
    draw,
    measure,
    readings_of,
)
from archtrial.statistics.planning import (
    Settlement,
    even_settlement,
    least_p,
    minimum_detectable_effect,
    settlement,
)
from archtrial.statistics.robustness import Robustness, Row, robustness
from archtrial.statistics.search import Estimand, Search, aligned, cost_ratio
from archtrial.statistics.verdict import Caution, Comparison, Copies, Verdict, decide

__all__ = ["compare"]


# Scores between 0 and 1 that are means over examples, or nearly.
FRACTIONS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")

# Fractions that are no mean over examples of anything between 0 and 1, or need not be.
NOT_MEANS = (
    *("balanced_accuracy", "macro_f1", "auroc", "f1", "precision", "recall"),
    *("iou", "miou", "dice", "map", "wer", "cer"),
)


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
            (`gain`); where single scores are known, they are used instead.
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
    terms = Terms(
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

    readings = readings_of(terms, baseline, challengers)
    found: dict[Estimand, list[Measured]] = {reading: [] for reading in readings}
    # Each pair alone, so that no finding depends on which other challengers there are.
    pairs = [
        aligned([baseline, challenger], terms.options) for challenger in challengers
    ]
    for one, challenger in pairs:
        asked = [ask(terms, one, challenger, reading) for reading in readings]
        counts = draw(terms, asked)
        for reading, each in zip(readings, asked, strict=True):
            measured = measure(terms, one, challenger, reading, each, counts)
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


# --- from numbers to the verdict -----------------------------------------------


def _report(
    terms: Terms,
    baseline: Search,
    challenger: Search,
    found: Mapping[Estimand, tuple[Measured, float]],
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
    terms = _with_copies(terms, challenger, effect)
    rule = _Rule(terms, None if decomposition is None else decomposition["gap"])
    other_parts = _elsewhere(terms, baseline, challenger)
    concluded = _conclude(rule, baseline, challenger, found, other_parts)
    detectable, settling = _power(terms, baseline, challenger, measured, concluded)
    examples = measured.effect.test_variance
    at_equal_compute = rule.verdict(measured.equal_effect, adjusted_at_equal_compute)
    return Comparison(
        verdict=concluded.verdict,
        strong=concluded.verdict == "architecture"
        and float(measured.effect.low[0]) > terms.margin,
        reason=concluded.reason,
        **_stated(terms, baseline, challenger),
        effect=effect,
        standard_error=float(measured.effect.standard_error[0]),
        p_value=measured.p_value,
        p_value_adjusted=adjusted,
        effect_at_equal_compute=_at_equal_compute(measured),
        baseline_score=measured.baseline.turned(terms.higher_is_better),
        challenger_score=measured.challenger.turned(terms.higher_is_better),
        probability_better={
            "searches": dataclasses.asdict(measured.searches),
            "seeds": _seeds(terms, baseline, challenger),
        },
        tuning_to_match={
            "multiple": dataclasses.asdict(matching.multiple),
            "trials": dataclasses.asdict(matching.trials),
            "reportable_up_to": matching.reportable_up_to,
            "would_settle": _trials_that_tell(terms, baseline, challenger, matching),
            **({"unit": "trials"} if cost_ratio(baseline, challenger) is None else {}),
        },
        ladder=None
        if measured.climb is None
        else measured.climb.to_dict(terms.higher_is_better),
        catch_up=measured.catch_up,
        test_set_floor=None
        if examples is None
        else float(normal(terms.level)) * math.sqrt(float(examples[0])),
        minimum_detectable_effect=detectable,
        would_settle=settling,
        other_reading=concluded.other_reading,
        robustness=None if other_parts is None else other_parts.to_dict(),
        published=decomposition,
        cautions=_cautions(
            terms,
            baseline,
            challenger,
            measured=measured,
            differs_at_equal_compute=rule.verdict(effect, adjusted) != at_equal_compute,
            examples_known=baseline.knows_examples(terms.estimand)
            and challenger.knows_examples(terms.estimand),
            readings=len(found),
            another=concluded.another,
        ),
    )


def _stated(terms: Terms, baseline: Search, challenger: Search) -> dict[str, Any]:
    """Returns what a comparison has of its terms, whatever was found."""
    return {
        "baseline": baseline.name,
        "challenger": challenger.name,
        "metric": terms.metric,
        "higher_is_better": terms.higher_is_better,
        "scored_on": terms.scored_on,
        "margin": terms.margin,
        "alpha": terms.alpha,
        "estimand": terms.estimand,
        "paired": terms.paired,
        "configurations": min(baseline.n, challenger.n),
        "effort": terms.effort,
    }


def _with_copies(terms: Terms, challenger: Search, effect: Estimate) -> Terms:
    """Returns the terms, unsound where copies among the test examples may decide."""
    copies = terms.copies
    if copies is None or not copies.decides(
        challenger.name, effect.estimate, terms.margin
    ):
        return terms
    clause = copies.reasons.get(
        challenger.name, "test examples are copies of others that were trained on"
    )
    return dataclasses.replace(terms, unsound=(*terms.unsound, clause))


@dataclasses.dataclass(frozen=True)
class _Rule:
    """The table of verdicts, at the terms of one comparison."""

    terms: Terms
    published_gap: float | None

    def verdict(
        self, gained: Estimate | None, p: float | None, catch_up: CatchUp = "unknown"
    ) -> Verdict:
        return decide(
            gained,
            p,
            alpha=self.terms.alpha,
            margin=self.terms.margin,
            catch_up=catch_up,
            sound=not self.terms.unsound,
            published_gap=self.published_gap,
        )


@dataclasses.dataclass(frozen=True)
class _Concluded:
    """A verdict that both readings and the sensitivity analysis allow."""

    verdict: Verdict
    reason: str | None
    other_reading: dict[str, Any] | None
    another: Caution | None
    """Where the other reading says something else, and does not decide."""


def _conclude(
    rule: _Rule,
    baseline: Search,
    challenger: Search,
    found: Mapping[Estimand, tuple[Measured, float]],
    other_parts: Robustness | None,
) -> _Concluded:
    """Reaches the verdict: by the declared reading, unless another analysis overrules."""
    terms = rule.terms
    measured, adjusted = found[terms.estimand]
    effect = measured.effect.at(0)
    verdict = rule.verdict(effect, adjusted, measured.catch_up)
    reason = "; ".join(terms.unsound) or None
    other_reading = None
    another: Caution | None = None
    for reading, (other, p) in found.items():
        if reading == terms.estimand:
            continue
        elsewhere = rule.verdict(other.effect.at(0), p, other.catch_up)
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
    if other_parts is not None and verdict not in ("inconclusive", "not_assessable"):
        # What is too small to be worth having contradicts no equivalence.
        least = 0.0 if abs(effect.estimate) >= terms.margin else terms.margin
        turned = [
            row for row in other_parts.opposite if abs(row.effect.estimate) >= least
        ]
        if turned:
            reason = _turning(turned)
            verdict = "inconclusive"
    return _Concluded(verdict, reason, other_reading, another)


def _power(
    terms: Terms,
    baseline: Search,
    challenger: Search,
    measured: Measured,
    concluded: _Concluded,
) -> tuple[float | None, Settlement | None]:
    """Returns the minimum detectable effect, and what would settle an open answer."""
    n, effect = min(baseline.n, challenger.n), measured.effect
    error = float(effect.standard_error[0])
    given: dict[str, Any] = {
        "margin": terms.margin,
        "test_variance": 0.0
        if effect.test_variance is None
        else float(effect.test_variance[0]),
        "alpha": terms.level,
    }
    detectable = None
    if least_p(baseline.n, challenger.n, paired=terms.paired) <= terms.level:
        detectable = minimum_detectable_effect(error, n, terms.effort, **given)
    if concluded.verdict != "inconclusive" or concluded.reason is not None:
        return detectable, None
    gained = float(effect.estimate[0])
    if measured.even is not None:
        return detectable, even_settlement(gained, measured.even, terms.effort, **given)
    return detectable, settlement(
        gained, error, n, terms.effort, **given, paired=terms.paired
    )


def _trials_that_tell(
    terms: Terms, baseline: Search, challenger: Search, matching: Matching
) -> int | None:
    """Returns how many trials tell whether the baseline catches up; None if these do."""
    # As many trials as tell of an effort that reaches the multiple.
    costs = cost_ratio(baseline, challenger)
    ratio = (costs or 1.0) / terms.effort
    needs = trials_to_reach(
        math.ceil(terms.max_multiple / ratio - 1e-9),
        modelled=baseline.modelled and challenger.modelled,
    )
    return needs if matching.catch_up == "unknown" and needs > baseline.n else None


def _at_equal_compute(measured: Measured) -> dict[str, Any] | None:
    if measured.equal_efforts is None or measured.equal_effect is None:
        return None
    return {
        **dataclasses.asdict(measured.equal_effect),
        "p_value": measured.equal_p_value,
        "baseline_effort": measured.equal_efforts[0],
        "challenger_effort": measured.equal_efforts[1],
    }


def _seeds(terms: Terms, baseline: Search, challenger: Search) -> dict[str, Any] | None:
    """Returns how often the tuned challenger wins on fresh seeds; None without any."""
    if baseline.winner_seeds is None or challenger.winner_seeds is None:
        return None
    s = min(len(baseline.winner_seeds), len(challenger.winner_seeds))
    won = seeds_won(challenger.winner_seeds[:s], baseline.winner_seeds[:s], terms.level)
    return {**dataclasses.asdict(won), "pairs": s}


def _too_few(terms: Terms, baseline: Search, challenger: Search) -> Comparison:
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
        **_stated(terms, baseline, challenger),
    )


def _elsewhere(terms: Terms, baseline: Search, challenger: Search) -> Robustness | None:
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


def _decompose(
    terms: Terms, baseline: Search, challenger: Search, measured: Measured
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
    terms: Terms,
    baseline: Search,
    challenger: Search,
    *,
    measured: Measured,
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
    if cost_ratio(baseline, challenger) is None:
        found.append(Caution("other unit of compute", names))
        return tuple(found)
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

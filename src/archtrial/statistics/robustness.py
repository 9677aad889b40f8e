"""Whether the gain holds elsewhere: in parts of the space, in the middle, at equal size.

A gain may depend on how the search space was declared: with the learning rates a
decade higher the other arm might have won. So it is estimated again

- on each half of each hyperparameter's range, and for each option of a choice;
- for the median of where a k-search ends, in place of the mean, of independent draws
  (its bootstrap does not see how evenly others lie);
- against a larger baseline with the challenger's number of parameters.

A part of the space is declared before any score is seen, so the trials that lie in
it are a random search of that part, only a smaller one: they are judged like any
search, at the largest effort that a quarter of them allows.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from archtrial.errors import ProtocolError
from archtrial.statistics.expectation import expectation, resample_counts
from archtrial.statistics.gain import Gain, gain
from archtrial.statistics.gate import gate
from archtrial.statistics.intervals import Estimate, holm, normal
from archtrial.statistics.planning import least_p
from archtrial.statistics.search import (
    Estimand,
    Reading,
    Search,
    aligned,
    order_of_pairs,
)
from archtrial.statistics.tuning import Ranking, subset_chance

__all__ = ["Robustness", "Row", "robustness"]

Finding: TypeAlias = Literal["holds", "lost", "opposite", "too few"]


@dataclasses.dataclass(frozen=True)
class Row:
    """The gain again, seen from one other side."""

    name: str
    kind: Literal["half", "option", "median", "matched"]
    hyperparameter: str | None
    """That the part is of; None where the whole space is meant."""
    trials: int
    """Of each arm; of the smaller one if the arms are not paired."""
    effort: int
    """k*, or a quarter of the trials if that is less."""
    estimand: Estimand
    """The reading of the scores: the other one than declared where too few of the
    best trials here had fresh seeds."""
    effect: Estimate
    """The gain, with an interval of its own level 1 - alpha."""
    p_value: float
    p_value_adjusted: float
    """After Holm's adjustment for the number of rows."""
    whole: float
    """The gain over the whole space at this row's effort and reading; for the matched
    baseline, over the plain one."""
    finding: Finding
    """"opposite": a significant effect of the other sign; "lost": the whole study made
    a claim, and from here there would have been none; "too few": no gain, however large,
    could have been significant from here; else "holds"."""


@dataclasses.dataclass(frozen=True)
class Robustness:
    """The gain of the whole study, and the same from every other side."""

    effect: Estimate
    p_value: float
    rows: tuple[Row, ...]
    skipped: tuple[str, ...]
    """Parts with fewer than 4 trials of an arm (of a matched baseline, 4 k), or whose
    best trials have no test scores in either reading."""

    @property
    def opposite(self) -> tuple[Row, ...]:
        """The rows that contradict the whole: the verdict depends on them."""
        return tuple(row for row in self.rows if row.finding == "opposite")

    @property
    def lost(self) -> tuple[Row, ...]:
        """The rows that would not have made the claim: a warning, no contradiction."""
        return tuple(row for row in self.rows if row.finding == "lost")

    def to_dict(self) -> dict[str, Any]:
        """Returns the analysis as the verdict's document has it."""
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
                for row in self.rows
            ],
            "opposite": [row.name for row in self.opposite],
            "lost": [row.name for row in self.lost],
            "skipped": list(self.skipped),
        }


def robustness(
    baseline: Search,
    challenger: Search,
    *,
    effort: int,
    estimand: Estimand,
    margin: float,
    alpha: float,
    seed: int,
    paired: bool,
    matched: Search | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
    test_size: int | None = None,
    permutations: int = 999,
    resamples: int = 2000,
) -> Robustness:
    """Estimates the gain again in every part, for the median, and at equal size.

    A hyperparameter that both arms share, with the same values in a pair, selects
    pairs. One that an arm has to itself selects that arm's trials, and *pairs are
    dropped whole*: the other arm's draws were independent of it, so its partners are
    a random search of its own space still, and pairing is worth more than the trials
    dropped (at n = 32 it takes the power for one point from .15 to .88 where optima
    coincide). Unpaired arms are selected each by its own
    position; the arm that lacks the hyperparameter keeps all its trials.

    A row is called opposite where its adjusted p is at most `alpha`, its interval
    leaves out 0 too, and its sign is that of the whole study neither at k* nor at the
    row's own effort: an arm may be the worse one at small efforts in every part of the
    space alike, which is no matter of the space. Any such row is a false alarm with
    probability `alpha` at most, up to the approximations of `gate`. Half the trials
    at half the effort see only large reversals; a row that "holds" proves nothing.

    Swapping the arms turns all effects round and leaves p and findings as they are.

    Args:
        baseline: Its search, with `positions`.
        challenger: Its search.
        effort: k*, at most a quarter of either arm's trials.
        estimand: The reading. A part whose weight rests on trials without a fresh
            seed is judged by run, if the scores of the runs are known.
        margin: The smallest gap worth having; a claim is a gain of that much.
        alpha: The level of all rows together, and of each interval.
        seed: The protocol's seed.
        paired: Whether trial i of one arm has the shared draws of trial i of the
            other. Trials without a partner are left out.
        matched: The baseline made as large as the challenger, its trials paired as
            the baseline's are; skipped if they are fewer than 4 k.
        options: By hyperparameter that is a choice, what its options are called, in
            the order of their positions; each is a part. Others are cut at .5. Choices
            that neither arm has are passed over: another challenger may have them.
        test_size: T, the number of test examples, where their single scores are
            unknown (as in `compare`).
        permutations: P of each row; raised so that every p may be significant.
        resamples: B of each interval, even.

    Raises:
        ProtocolError: Fewer than 4 k trials, or no scores of the reading.

    References:
        Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    if matched is not None:
        matched, _ = aligned([matched, challenger], options or {})
    baseline, challenger = aligned([baseline, challenger], options or {})
    arms = (baseline, challenger)
    n = min(arm.n for arm in arms)
    if not 1 <= effort <= n // 4:
        raise ProtocolError(
            "effort is at least 1 and at most a quarter of the trials",
            f"{effort}, with {n} trials",
        )
    parts = list(_parts(baseline, challenger, paired, options or {}))
    rows = len(parts) + 1 + (matched is not None)
    study = _Study(
        estimand,
        alpha,
        seed,
        paired,
        max(permutations, math.ceil(2 * rows / alpha)),
        resamples,
        test_size,
    )
    everything = (np.arange(n), np.arange(n))
    if not paired:
        everything = (np.arange(baseline.n), np.arange(challenger.n))
    whole = study.judge(baseline, challenger, everything, effort)
    if whole is None:
        raise ProtocolError(
            f"the reading by {estimand} needs its scores in every arm",
            "the best trials have none",
        )
    seen: list[_Seen] = []
    skipped = []
    for part in parts:
        fewest = min(len(trials) for trials in part.trials)
        k = min(effort, fewest // 4)
        found = study.judge(baseline, challenger, part.trials, k, part) if k else None
        if found is None:
            skipped.append(part.name)
        else:
            seen.append(dataclasses.replace(found, part=part))
    if not baseline.stratified:
        seen.append(study.median(baseline, challenger, everything, effort, whole))
    if matched is not None:
        against = everything
        if paired:
            against = 2 * (np.arange(min(matched.n, challenger.n)),)
        else:
            against = (np.arange(matched.n), everything[1])
        enough = matched.n >= 4 * effort
        found = study.judge(matched, challenger, against, effort) if enough else None
        name = f"against {matched.name}"
        if found is None:
            skipped.append(name)
        else:
            part = _Part(name, "matched", None, against)
            seen.append(dataclasses.replace(found, part=part, whole=whole.whole))
    adjusted = holm([found.p_value for found in seen])
    claimed = _claims(whole.effect, whole.p_value, margin, alpha) and (
        whole.effect.low > 0 or whole.effect.high < 0
    )
    return Robustness(
        effect=whole.effect,
        p_value=whole.p_value,
        rows=tuple(
            Row(
                name=found.part.name,
                kind=found.part.kind,
                hyperparameter=found.part.hyperparameter,
                trials=min(len(trials) for trials in found.part.trials),
                effort=found.effort,
                estimand=found.estimand,
                effect=found.effect,
                p_value=found.p_value,
                p_value_adjusted=p,
                whole=found.whole,
                finding=_finding(
                    found, p, whole.effect.estimate, claimed, margin, alpha, paired
                ),
            )
            for found, p in zip(seen, adjusted, strict=True)
        ),
        skipped=tuple(skipped),
    )


def _claims(effect: Estimate, p_value: float, margin: float, alpha: float) -> bool:
    return p_value <= alpha and abs(effect.estimate) >= margin


def _finding(
    found: "_Seen",
    adjusted: float,
    gained: float,
    claimed: bool,
    margin: float,
    alpha: float,
    paired: bool,
) -> Finding:
    effect = found.effect
    sign = np.sign(effect.estimate)
    significant = adjusted <= alpha and (effect.low > 0 or effect.high < 0)
    if significant and sign == -np.sign(gained) == -np.sign(found.whole):
        return "opposite"
    # Whether this row alone would have made the claim, so its p as it is: the
    # adjusted one would be lost by the number of rows.
    if claimed and not (
        _claims(effect, found.p_value, margin, alpha) and sign == np.sign(gained)
    ):
        sizes = [len(trials) for trials in found.part.trials]
        few = found.part.kind != "median" and least_p(*sizes, paired=paired) > alpha
        return "too few" if few else "lost"
    return "holds"


# --- the parts of a space ------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Part:
    name: str
    kind: Literal["half", "option", "median", "matched"]
    hyperparameter: str | None
    trials: tuple[np.ndarray, np.ndarray]
    """Indices of the baseline's and of the challenger's; the same if paired."""
    low: float = 0.0
    high: float = 1.0
    """From where to where in the hyperparameter's range it reaches."""
    arms: tuple[bool, bool] = (False, False)
    """Whose hyperparameter it is."""


def _parts(
    baseline: Search,
    challenger: Search,
    paired: bool,
    options: Mapping[str, Sequence[str]],
) -> Iterator[_Part]:
    """Yields the halves and options of all hyperparameters that vary."""
    arms = (baseline, challenger)
    names = sorted(baseline.positions.keys() | challenger.positions.keys())
    pairs = min(arm.n for arm in arms)
    sizes = (pairs, pairs) if paired else (baseline.n, challenger.n)
    for name in names:
        labels = options.get(name, ("lower half", "upper half"))
        # Which of the equal cells of the range each trial lies in; None for an arm
        # that lacks the hyperparameter.
        cells = [
            np.minimum(
                (np.asarray(arm.positions[name])[:size] * len(labels)).astype(int),
                len(labels) - 1,
            )
            if name in arm.positions
            else None
            for arm, size in zip(arms, sizes, strict=True)
        ]
        a, b = cells
        together = a is not None and b is not None
        if together and paired and not (baseline.stratified and challenger.stratified):
            # The same name with other values is another hyperparameter. An even design
            # pairs by quantile, whatever the values.
            together = np.array_equal(
                baseline.positions[name][:pairs], challenger.positions[name][:pairs]
            )
        if together:
            choosers = [(name, a, b)]
        else:
            choosers = [
                (f"{name} of {arm.name}", of_a, of_b)
                for arm, of_a, of_b in ((baseline, a, None), (challenger, None, b))
                if of_a is not None or of_b is not None
            ]
        for title, of_a, of_b in choosers:
            known = [each for each in (of_a, of_b) if each is not None]
            if all(np.ptp(each) == 0 for each in known):
                # It never left one part, which is the whole study once more.
                continue
            for cell, label in enumerate(labels):
                trials = [
                    np.arange(size) if each is None else np.flatnonzero(each == cell)
                    for each, size in zip((of_a, of_b), sizes, strict=True)
                ]
                if paired:
                    trials = 2 * [np.flatnonzero(known[0] == cell)]
                yield _Part(
                    f"{title}, {label}",
                    "option" if name in options else "half",
                    name,
                    (trials[0], trials[1]),
                    cell / len(labels),
                    (cell + 1) / len(labels),
                    (of_a is not None, of_b is not None),
                )


# --- the gain, judged once more --------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Seen:
    """The gain from one side."""

    part: _Part
    effort: int
    estimand: Estimand
    effect: Estimate
    p_value: float
    whole: float
    of: Gain


@dataclasses.dataclass(frozen=True)
class _Study:
    """What was declared; the words are those of `robustness`."""

    estimand: Estimand
    alpha: float
    seed: int
    paired: bool
    permutations: int
    resamples: int
    test_size: int | None

    def reading(self, arm: Search, estimand: Estimand) -> Reading:
        """Returns an arm's trials in one reading."""
        return dataclasses.replace(arm.reading(estimand), test_size=self.test_size)

    def judge(
        self,
        baseline: Search,
        challenger: Search,
        trials: tuple[np.ndarray, np.ndarray],
        effort: int,
        part: _Part | None = None,
    ) -> _Seen | None:
        """Returns the gain among some trials, or None where no reading tells of it."""
        other: Estimand = "run" if self.estimand == "configuration" else "configuration"
        for estimand in (self.estimand, other):
            searches = (baseline, challenger)
            if estimand == "run" and any(s.test_run is None for s in searches):
                continue
            whole = [self.reading(search, estimand) for search in searches]
            within = whole if part is None else _within(part, searches, whole)
            a, b = self._ordered(
                *(r.take(t) for r, t in zip(within, trials, strict=True))
            )
            if all(reading.tells([effort])[0] for reading in (*whole, a, b)):
                break
        else:
            return None
        counts = self._counts(a, b)
        of = gain(
            expectation(b, [effort], counts[1]),
            expectation(a, [effort], counts[0]),
            alpha=self.alpha,
            paired=self.paired,
        )
        return _Seen(
            part=_Part("whole", "half", None, trials),
            effort=effort,
            estimand=estimand,
            effect=of.at(0),
            p_value=gate(
                b,
                a,
                effort,
                paired=self.paired,
                permutations=self.permutations,
                seed=self.seed,
            )
            if of.p_value is None
            else float(of.p_value[0]),
            whole=_expected(whole[1], effort) - _expected(whole[0], effort),
            of=of,
        )

    def median(
        self,
        baseline: Search,
        challenger: Search,
        trials: tuple[np.ndarray, np.ndarray],
        effort: int,
        whole: _Seen,
    ) -> _Seen:
        """Returns the gain in the median of where a k-search ends.

        The percentile bootstrap over configurations, and the smallest level at which
        its interval would leave out 0 (Efron and Tibshirani 1993, section 15.4). The
        jackknife fails for a median, so there is no hull here, and a search with few
        distinct scores has few distinct medians. The draw of the test examples
        moves a median about as much as a mean, and widens it by as much.
        """
        a, b = self._ordered(
            *(
                self.reading(search, whole.estimand).take(t)
                for search, t in zip((baseline, challenger), trials, strict=True)
            )
        )
        counts = self._counts(a, b)
        observed = [_median(r, effort, np.ones((1, len(r.score)), int)) for r in (a, b)]
        estimate = float(observed[1][0] - observed[0][0])
        drawn = _median(b, effort, counts[1]) - _median(a, effort, counts[0])
        ordered = np.sort(drawn)
        tail = max(math.floor(self.alpha / 2 * (len(ordered) + 1)), 1)
        low, high = float(ordered[tail - 1]), float(ordered[-tail])
        least = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
        p_value = min(1.0, 2 * float(1 + least) / (1 + len(drawn)))
        low, high = min(low, estimate), max(high, estimate)
        if whole.of.test_variance is not None:
            floor = normal(self.alpha) ** 2 * whole.of.test_variance[0]
            low = estimate - math.sqrt((estimate - low) ** 2 + floor)
            high = estimate + math.sqrt((high - estimate) ** 2 + floor)
        return _Seen(
            part=_Part("median instead of mean", "median", None, trials),
            effort=effort,
            estimand=whole.estimand,
            effect=Estimate(estimate, low, high),
            p_value=p_value,
            whole=whole.whole,
            of=whole.of,
        )

    def _ordered(self, a: Reading, b: Reading) -> tuple[Reading, Reading]:
        """Lists trials in an order that the records have no part in."""
        if self.paired:
            order = order_of_pairs([a, b])
            return a.take(order), b.take(order)
        return a.take(order_of_pairs([a])), b.take(order_of_pairs([b]))

    def _counts(self, a: Reading, b: Reading) -> tuple[np.ndarray, np.ndarray]:
        return resample_counts(
            self.seed,
            len(a.score),
            len(b.score),
            paired=self.paired,
            resamples=self.resamples,
        )


def _within(
    part: _Part, searches: Sequence[Search], readings: Sequence[Reading]
) -> list[Reading]:
    """Returns readings whose space is the part alone, for the arms that it is of."""
    found = []
    for search, reading, own in zip(searches, readings, part.arms, strict=True):
        if own and reading.places is not None and part.hyperparameter is not None:
            column = sorted(search.positions).index(part.hyperparameter)
            places = reading.places.within(column, part.low, part.high)
            reading = dataclasses.replace(reading, places=places)
        found.append(reading)
    return found


def _expected(reading: Reading, effort: int) -> float:
    return float(reading.ranking.expected(reading.score, [effort])[0])


def _median(reading: Reading, effort: int, counts: np.ndarray) -> np.ndarray:
    """Returns the median of where a k-search ends, of resampled searches.

    Args:
        reading: The n trials.
        effort: k.
        counts: (B, n) how often each was drawn; rows sum to n.

    Returns:
        (B,) the score in the middle of the law that gives each trial its weight in
        D(k); half way between two where the weight splits there exactly.
    """
    ranking = Ranking(reading.validation, reading.score)
    drawn = np.add.reduceat(counts[:, ranking.order], ranking.first, axis=1)
    chances = subset_chance(len(reading.score), effort)[np.cumsum(drawn, axis=1)]
    shares = np.diff(chances, axis=1, prepend=0.0) / np.maximum(drawn, 1)
    weights = np.empty(counts.shape)
    weights[:, ranking.order] = shares[:, ranking.group]
    weights *= counts
    ascending = np.argsort(reading.score, kind="stable")
    upto = np.cumsum(weights[:, ascending], axis=1)
    scores = reading.score[ascending]
    # Rounding must not decide between two scores.
    lower = np.argmax(upto >= 0.5 - 1e-12, axis=1)
    upper = np.argmax(upto > 0.5 + 1e-12, axis=1)
    middle: np.ndarray = (scores[lower] + scores[upper]) / 2
    return middle

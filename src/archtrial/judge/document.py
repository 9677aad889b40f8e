"""What a judgement is: the verdict's document, with the evidence that its page shows.

Here the comparisons of all arms, and what is said of the study as a whole, become one
document: the same for a study of ours and for somebody else's table.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archtrial import findings, searches, statistics
from archtrial.freezing import looks_of
from archtrial.judge.comparing import Compared, compare_arms, metric_of, space_of
from archtrial.judge.looks import (
    Looked,
    all_looks,
    at_look,
    growth_warning,
    said_at,
    settled_margin,
    shortest_look,
)
from archtrial.judge.objections import (
    longest_rung,
    rises_of,
    train_longer,
    unfinished_arms,
)
from archtrial.protocol import digest
from archtrial.records.table import Run
from archtrial.report import Evidence
from archtrial.words import verdict as words

__all__ = ["Judgement", "Verdict", "assess"]


class Verdict:
    """What a trial found: the content of verdict.json, with its sentence in front."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def to_dict(self) -> dict[str, Any]:
        """Returns the document, as its JSON schema describes it."""
        copied: dict[str, Any] = json.loads(self.to_json())
        return copied

    def to_json(self) -> str:
        """Returns the document as the bytes of verdict.json."""
        return (
            json.dumps(self._document, indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )

    @property
    def comparisons(self) -> Sequence[Mapping[str, Any]]:
        """One for each challenger, in the protocol's order."""
        compared: Sequence[Mapping[str, Any]] = self._document["comparisons"]
        return compared

    @property
    def effect(self) -> Mapping[str, float]:
        """The first challenger's gain: "estimate", "low" and "high"."""
        gained: Mapping[str, float] = self.comparisons[0]["effect"]
        return gained

    @property
    def p_value(self) -> float:
        """How often a difference as large as the first arises by chance."""
        return float(self.comparisons[0]["p_value"])

    @property
    def sentence(self) -> str:
        """The verdict in plain words, a line for each challenger."""
        return "\n".join(compared["sentence"] for compared in self.comparisons)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return self.sentence


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict with the evidence that its page shows."""

    verdict: Verdict
    evidence: Evidence
    beforehand: tuple[str, ...] = ()
    """What is to be said before the verdict: a sentence each."""

    def page(self) -> str:
        """Returns the page: one self-contained HTML file."""
        # Not every verdict is drawn, and matplotlib takes as long as all else here.
        from archtrial.report import page

        return page.render(self.evidence)

    def figure(self, name: str) -> Any:
        """Returns one of the page's figures as a matplotlib `Figure`.

        Args:
            name: One of `report.figures.NAMES`.
        """
        from archtrial.report import figures

        return figures.draw(name, self.evidence)


def assess(
    runs: Sequence[Run],
    *,
    protocol: Mapping[str, Any],
    constant: float | None,
    paired: bool = True,
    environment: Mapping[str, str] | None = None,
    ceilings: bool = False,
    exploratory: Sequence[str] = (),
) -> Judgement:
    """Judges finished runs.

    Args:
        runs: All runs, with test scores where there are any.
        protocol: The resolved protocol.
        constant: The constant predictor's test score; None where nobody knows it.
        paired: Whether equal pairs mean equal draws.
        environment: What stands on the page of versions and hardware.
        ceilings: Whether a model is asked how good each arm can get at all.
        exploratory: What of the protocol is not as it was declared, a sentence each.
    """
    declared_notes = protocol["notes"]
    if exploratory:
        protocol = {**protocol, "notes": [*declared_notes, *exploratory]}
    searches.check_sizes(runs)
    runs = searches.condensed(runs)
    if not isinstance(runs, searches.Runs):
        runs = searches.Runs(runs)
    metric = metric_of(protocol)
    sign = 1 if metric.higher_is_better else -1
    arms = [protocol["baseline"], *protocol["challengers"]]
    declared = {arm["name"]: space_of(arm) for arm in arms}
    assumed = protocol["margin"] is None
    margin = settled_margin(runs, protocol, constant)
    compared = {**protocol, "margin": margin}
    looked, common, reading = _compared(runs, compared, constant, paired)
    rises = rises_of(common, protocol, sign)
    unfinished = [unfinished_arms(each, rises) for each in reading.comparisons]
    # What longer training may undo is no strong finding.
    found = [
        dataclasses.replace(each, strong=False) if arms_learning else each
        for each, arms_learning in zip(reading.comparisons, unfinished, strict=True)
    ]
    worst = reading.arrays[0].worst
    notes = [*reading.notes]
    if "grown" in protocol:
        notes.append(findings.grew(protocol, [said_at(each) for each in looked[:-1]]))
    if assumed:
        notes.append(words.assumed_margin(margin, metric))
    summaries = [_summary(runs, name, sign, worst) for name in declared]
    in_digits = words.digits([each.to_dict() for each in found], metric)
    comparisons = []
    for each, learning in zip(found, unfinished, strict=True):
        longer = train_longer(protocol, longest_rung(each))
        # In the order of a page: what may undo the verdict stands first.
        before = [
            *(
                words.still_learning(arm, rises[arm].last, metric, longer)
                for arm in learning
            ),
            *growth_warning(each, protocol, looked),
        ]
        after = _of_edges(each, reading.crowded)
        comparisons.append(
            _told(
                each,
                protocol,
                summaries,
                in_digits,
                before=before,
                after=after,
                learning=learning,
            )
        )
    said_besides = findings.of_study(
        common,
        reading.arrays,
        protocol,
        declared,
        sign=sign,
        estimand=reading.estimand,
        paired=paired,
        comparison=found[0],
    )
    modelled = None
    if ceilings:
        modelled = findings.ceilings(
            reading.arrays, sign=sign, best=sign * metric.best, alpha=protocol["alpha"]
        )
    document = {
        "schema": 2,
        "study": {
            **_study(protocol, metric, margin, assumed, sum(run.flops for run in runs)),
            "arms": summaries,
            "notes": [*protocol["notes"], *notes],
            **({"looks": [each.to_dict() for each in looked]} if looked else {}),
            **said_besides,
            "ceilings": modelled,
        },
        "comparisons": comparisons,
    }
    evidence = Evidence(
        document=document,
        runs=_shown(runs, sign * worst),
        metric=metric,
        spaces={name: space for name, space in declared.items() if space},
        curves=_Curves(
            # A tuning curve is claimed up to n / 4.
            {s.name: s for s in reading.arrays if len(s.validation) >= 4},
            metric,
            reading.estimand,
            protocol["alpha"],
        ),
        protocol=protocol,
        environment=environment or {},
        notes=[*declared_notes, *notes],
        exploratory=exploratory,
        edges=reading.edges,
        rises=rises,
        loading=_loading(protocol, arms),
    )
    return Judgement(Verdict(document), evidence)


def _compared(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    constant: float | None,
    paired: bool,
) -> tuple[Sequence[Looked], Sequence[Run], Compared]:
    """Compares all arms, at every look if there are several.

    Returns:
        What was found at the looks; the runs that all arms have; and what these say,
        each challenger compared at the last look that it reached.
    """
    if len(looks_of(protocol)) < 2:
        return (), runs, compare_arms(runs, protocol, constant=constant, paired=paired)
    looked = all_looks(runs, protocol, constant)
    # What is said of all arms together is said of what all of them have.
    common, then = at_look(runs, protocol, shortest_look(runs, protocol))
    reading = compare_arms(common, then, constant=constant, comparing=False)
    last = {each.challenger: each for one in looked for each in one.found}
    found = [last[arm["name"]] for arm in protocol["challengers"]]
    return looked, common, dataclasses.replace(reading, comparisons=found)


def _study(
    protocol: Mapping[str, Any],
    metric: Any,
    margin: float,
    assumed: bool,
    flops: float,
) -> dict[str, Any]:
    """Returns what the document has of a study before anything was found."""
    return {
        "protocol_hash": digest(protocol),
        "data": protocol["data"]["name"],
        "seed": protocol["seed"],
        "task": protocol.get("task"),
        "metric": metric.name,
        "higher_is_better": metric.higher_is_better,
        "margin": margin,
        "margin_assumed": assumed,
        "effort": protocol["effort"],
        "configurations": protocol["configurations"],
        "steps": protocol.get("steps"),
        "flops": flops,
    }


def _shown(runs: Sequence[Run], worst: float) -> list[Run]:
    """Returns runs whose test scores can be drawn: one without stands at the worst."""
    return [
        run
        if run.test is None or math.isfinite(run.test)
        else dataclasses.replace(run, test=worst)
        for run in runs
    ]


def _of_edges(
    found: statistics.Comparison, crowded: Mapping[str, Sequence[str]]
) -> list[str]:
    """Returns a warning for each edge that the arms of a comparison crowd at."""
    return [
        f"{clause[0].upper()}{clause[1:]} of what was tried: beyond it may lie better"
        " ones."
        for arm in (found.baseline, found.challenger)
        for clause in crowded.get(arm, ())
    ]


def _told(
    found: statistics.Comparison,
    protocol: Mapping[str, Any],
    summaries: Sequence[Mapping[str, Any]],
    metric: Any,
    *,
    before: Sequence[str],
    after: Sequence[str],
    learning: Sequence[str],
) -> dict[str, Any]:
    """Returns a comparison as the document has it: its numbers, in words as well."""
    arms = {
        arm["name"]: arm for arm in (protocol["baseline"], *protocol["challengers"])
    }
    by_arm = {summary["name"]: summary for summary in summaries}
    best = by_arm[found.baseline]["tuned"]
    numbers = found.to_dict()
    sentence = words.sentence(
        numbers,
        metric=metric,
        cause=_cause(arms[found.baseline], arms[found.challenger]),
        max_multiple=protocol["max_multiple"],
        best=None if best is None else best["estimate"],
        parameters={name: arm["parameters"] for name, arm in by_arm.items()},
        learning=learning,
        steps=protocol.get("steps"),
    )
    warnings = [words.warning(caution, metric) for caution in found.cautions]
    said: dict[str, Any] = {}
    for name, value in numbers.items():
        said[name] = value
        if name == "reason":
            # Where a reader of the document looks for it: beside the verdict.
            said["sentence"] = sentence
    return {**said, "warnings": [*before, *warnings, *after]}


def _cause(baseline: Mapping[str, Any], challenger: Mapping[str, Any]) -> str:
    """Says what a challenger has other than the baseline."""

    def built(arm: Mapping[str, Any]) -> Any:
        return arm.get("architecture"), arm.get("options"), arm.get("source")

    if baseline.get("recipe") == challenger.get("recipe"):
        return "the architecture"
    if built(baseline) == built(challenger):
        return "the training procedure"
    return "the architecture with its training procedure"


# What the document and the page say of an arm.


def _summary(runs: Sequence[Run], arm: str, sign: int, worst: float) -> dict[str, Any]:
    own = [run for run in runs if run.arm == arm]
    trials = searches.trials(runs, arm)
    winner = searches.tuned_pair(runs, arm, sign)
    again = [
        run for run in own if run.pair == winner and run.stage in ("confirm", "winner")
    ]
    searched = [run for run in own if run.stage == "search"]
    return {
        "name": arm,
        "parameters": trials[winner].parameters,
        "configuration": dict(trials[winner].configuration),
        "tuned": searches.over_seeds(again or [trials[winner]], sign * worst),
        "default": searches.over_seeds(
            [run for run in own if run.stage == "default"], sign * worst
        ),
        "runs": len(own),
        "diverged": sum(run.diverged for run in searched),
        "failed": sum(run.error is not None for run in own),
        "flops_per_run": float(np.mean([run.flops for run in searched])),
        "flops": sum(run.flops for run in own),
    }


class _Curves(Mapping[str, statistics.TuningCurve]):
    """Each arm's tuning curve, computed when it is drawn."""

    def __init__(
        self,
        arms: Mapping[str, statistics.Search],
        metric: Any,
        estimand: statistics.Estimand,
        alpha: float,
    ) -> None:
        self._arms = arms
        self._terms = metric, estimand, alpha
        self._known: dict[str, statistics.TuningCurve] = {}

    def __getitem__(self, arm: str) -> statistics.TuningCurve:
        if arm not in self._known:
            self._known[arm] = _curve(self._arms[arm], *self._terms)
        return self._known[arm]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arms)

    def __len__(self) -> int:
        return len(self._arms)


def _curve(
    search: statistics.Search,
    metric: Any,
    estimand: statistics.Estimand,
    alpha: float,
) -> statistics.TuningCurve:
    """Returns an arm's tuning curve in the metric's own direction."""
    sign = 1 if metric.higher_is_better else -1
    curve = statistics.tuning_curve(
        search.validation,
        search.reading(estimand).score,
        worst=min(search.worst, float(search.validation.min())),
        best=sign * metric.best,
        alpha=alpha,
        stratified=search.stratified,
    )
    if sign == 1:
        return curve
    return dataclasses.replace(
        curve,
        validation=-curve.validation,
        low=-curve.high,
        high=-curve.low,
        test=-curve.test,
    )


def _loading(
    protocol: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Returns, for our own training, the lines that load each arm's tuned model."""
    if protocol.get("trainer") != "archtrial":
        return {}
    return {
        arm["name"]: "import archtrial\n"
        f"model = archtrial.load_tuned(STUDY, {arm['name']!r})"
        for arm in arms
    }

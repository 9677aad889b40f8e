"""From a table of runs to the verdict and its page, without training anything.

Everything here can be done again years later, from a study's store or from
somebody else's table.
"""

import dataclasses
import json
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from archtrial import findings, metrics, searches, statistics
from archtrial import space as spaces
from archtrial.errors import ProtocolError, RecordsError, StudyError
from archtrial.freezing import expect, looks_of
from archtrial.protocol import digest
from archtrial.records.store import GREW, OPENED, Store
from archtrial.records.table import Run
from archtrial.report import Evidence
from archtrial.statistics import soundness
from archtrial.statistics.learning import Rise
from archtrial.statistics.verdict import Copies
from archtrial.words import verdict as words

if TYPE_CHECKING:
    from archtrial.records.columns import Wanted
    from archtrial.records.importers import Imported

__all__ = [
    "Judgement",
    "Score",
    "Verdict",
    "assess",
    "at_look",
    "decisions",
    "judge_imported",
    "judge_sources",
    "judge_study",
]

# Searches larger than this are judged as a whole alone: half a space of so many
# trials sees what nobody doubts, and takes minutes.
MANY = 4096


@dataclasses.dataclass(frozen=True)
class Score:
    """What the scores of a table are, where all that is known is their direction."""

    name: str
    higher_is_better: bool = True
    task: str | None = None
    bounded: bool = False
    """Whether all scores are fractions."""

    @property
    def best(self) -> float:
        """The best score there can be."""
        if self.bounded:
            return 1.0 if self.higher_is_better else 0.0
        return math.inf if self.higher_is_better else -math.inf


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


def judge_study(
    folder: str | Path, *, ceilings: bool = False, **changes: Any
) -> Judgement:
    """Judges a study of ours from its store alone.

    Args:
        folder: The study's folder.
        ceilings: Whether a model is asked how good each arm can get at all; that
            takes seconds, and the extra `archtrial[ceiling]`.
        **changes: Any of `margin`, `effort`, `alpha`, `seed`, `baseline`,
            `challengers` and `deterministic` (names) that are to differ from what was
            declared. The verdict is then exploratory, and says so.

    Raises:
        RecordsError: There is no store, it is damaged, or its test set is sealed
            still: the study has not come to its end.
    """
    with Store(folder, read_only=True) as store:
        declared = store.protocols()
        events = store.events()
        opened = [json.loads(detail) for _, name, detail in events if name == OPENED]
        unfinished = RecordsError(
            "a study is judged when all its runs are done",
            f"the test set of {store.folder} is still sealed",
            "Give archtrial run with the same protocol again: it goes on where it"
            " stopped.",
        )
        if declared:
            expect(declared[0][1], None, folder)
        if not declared or not opened:
            raise unfinished
        # One that grows is what it was until its test set is opened again.
        _, resolved, given = declared[: len(opened)][-1]
        runs = store.runs()
        beforehand = [] if store.checked else [UNCHECKED]
    if len(declared) > len(opened):
        runs = [run for run in runs if run.look <= len(opened)]
        beforehand.append(_growing(store.folder, resolved, declared[-1][1]))
    if not searches.tested(runs):
        raise unfinished
    changed, exploratory = _changed(resolved, changes)
    metrics.check_margin(changes.get("margin"), bool(_metric(resolved).bounded))
    judgement = assess(
        runs,
        protocol=changed,
        constant=opened[0]["constant"],
        environment=_environment(runs, events),
        ceilings=ceilings,
        exploratory=exploratory,
    )
    looked = judgement.verdict.to_dict()["study"].get("looks")
    if looked and "go on" in looked[-1].get("decisions", {}).values():
        # What was changed may have ended later; what was declared has not ended yet.
        as_declared = all(value is None for value in changes.values())
        if as_declared and looked[-1]["configurations"] < resolved["configurations"]:
            raise unfinished
    evidence = judgement.evidence
    said = _exploratory(Path(folder), events, resolved, changed)
    return dataclasses.replace(
        judgement,
        beforehand=tuple(beforehand),
        evidence=dataclasses.replace(
            evidence,
            notes=[*evidence.notes, *beforehand],
            exploratory=[*evidence.exploratory, *said],
            going_on=_going_on(Path(folder), resolved, given),
        ),
    )


def _going_on(
    folder: Path, resolved: Mapping[str, Any], given: Mapping[str, Any] | None
) -> str:
    """Returns the command that goes on with a study; "" where its parts are Python's."""
    own = None if given is None else given.get("command")
    if given is None or resolved.get("trainer") not in ("archtrial", own):
        return ""
    # Its own command was run here before, and would be asked about again.
    trust = "" if own is None else " --trust"
    return f"archtrial run --study {shlex.quote(str(folder))}{trust}"


UNCHECKED = (
    "This study was recorded by a version without checksums (archtrial 0.2 or older):"
    " whether a score was altered since then cannot be told."
)


def _growing(folder: Path, resolved: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    return (
        f"This study grows from {resolved['configurations']} to"
        f" {more['configurations']} configurations and has not come to its end: this is"
        f" what it found before. To go on: archtrial run --study"
        f" {shlex.quote(str(folder))}, or the command that it was begun with, with"
        f" --configurations {more['configurations']}."
    )


EXPLORED = "judged with other settings"
"""The event of a study that was judged as it was not declared."""


def _exploratory(
    folder: Path,
    events: Sequence[tuple[float, str, str]],
    resolved: Mapping[str, Any],
    changed: Mapping[str, Any],
) -> list[str]:
    """Records that a study was judged with other settings; says how often it was.

    Nothing of it enters a verdict's document: what was declared keeps its bytes.
    """
    times = sum(name == EXPLORED for _, name, _ in events)
    other = {
        name: value for name, value in changed.items() if value != resolved.get(name)
    }
    said = []
    if other:
        times += 1
        try:
            with Store(folder) as store:
                store.note(EXPLORED, json.dumps(other))
        except StudyError as error:
            said.append(f"Exploratory, and not recorded in the study: {error}")
    if times:
        often = "once" if times == 1 else f"{times:,} times"
        said.append(
            f"Exploratory judgements: since its test set was opened, this study was"
            f" judged {often} with other settings than declared."
        )
    return said


def _changed(
    resolved: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[str]]:
    """Lays changes over a resolved protocol; returns it with a sentence that says so."""
    arms = {
        arm["name"]: arm for arm in (resolved["baseline"], *resolved["challengers"])
    }

    def arm(name: str) -> Any:
        return arms[_known(name, list(arms), "the study")]

    changed = dict(resolved)
    for name, value in changes.items():
        if value is None:
            continue
        if name == "baseline":
            changed["baseline"] = arm(value)
        elif name == "challengers":
            changed["challengers"] = [arm(challenger) for challenger in value]
        elif name == "deterministic":
            changed[name] = [_known(each, list(arms), "the study") for each in value]
        elif name in ("margin", "effort", "alpha", "seed"):
            changed[name] = value
        else:
            raise TypeError(f"judge_study has no argument {name!r}")
    if "baseline" in changes and changes.get("challengers") is None:
        first = changed["baseline"]["name"]
        changed["challengers"] = [a for name, a in arms.items() if name != first]
    names = [a["name"] for a in (changed["baseline"], *changed["challengers"])]
    _check_apart(names, "the study")
    different = [name for name in changed if changed[name] != resolved.get(name)]
    if not different:
        return changed, []
    said = f"Exploratory: {' and '.join(different)} differ from what was declared."
    return changed, [said]


def _check_apart(names: Sequence[str], place: str) -> None:
    if len(set(names)) < len(names):
        raise RecordsError(
            f"no arm of {place} is compared with itself",
            f"{max(names, key=names.count)!r} is named twice",
        )


def _known(name: str, names: Sequence[str], place: str) -> str:
    if name in names:
        return name
    near = get_close_matches(name, names, 1)
    raise RecordsError(
        f"{place} has no arm {name!r}",
        f"it has {', '.join(names)}",
        f"Did you mean {near[0]!r}?" if near else "",
    )


def judge_sources(
    sources: Sequence[str | Path],
    *,
    baseline: str,
    challengers: Sequence[str] | None = None,
    columns: "Wanted | None" = None,
    where: Sequence[str] = (),
    tuner: Literal["random", "adaptive"] | None = None,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    percent: bool = False,
    status: Sequence[str] = (),
    failed_score: str | None = None,
    **declared: Any,
) -> Judgement:
    """Judges somebody else's runs: files, trackers' exports, studies of Optuna's.

        judge_sources(["runs.csv"], baseline="mlp", margin=0.01)

    Args:
        sources: `[NAME=]PATH` each; see `records.importers.read`, also for the
            arguments up to `percent`.
        baseline: The arm that the others are compared with.
        challengers: The others; by default all of them.
        columns: The columns that are not to be found by their usual names.
        where: `COLUMN=VALUE` each: only rows that have it count.
        tuner: "random" declares the runs independent draws.
        metric: The score's name.
        lower_is_better: Whether scores are errors.
        percent: Scores are percentages.
        status: `WORD=failed` and the like: what a status means that is in no list.
        failed_score: The score that stands for a run that failed, or "none".
        **declared: What `judge_imported` takes besides: `margin`, `effort`,
            `alpha`, `seed`, `deterministic`, `test_size` and `published`.

    Raises:
        RecordsError: The sources cannot be read, or no verdict can rest on them.
        ProtocolError: An effort or a margin that is impossible.
    """
    # A study of ours is judged without pandas.
    from archtrial.records.importers import read

    return judge_imported(
        read(
            sources,
            columns,
            baseline=baseline,
            challengers=challengers,
            where=where,
            tuner=tuner,
            metric=metric,
            lower_is_better=lower_is_better,
            percent=percent,
            status=status,
            failed_score=failed_score,
        ),
        **declared,
    )


def judge_imported(
    imported: "Imported",
    *,
    margin: float | None = None,
    effort: int | None = None,
    alpha: float | None = None,
    seed: int | None = None,
    deterministic: Sequence[str] | None = None,
    test_size: int | None = None,
    published: Mapping[str, float] | None = None,
    ceilings: bool = False,
) -> Judgement:
    """Judges runs that were read from other people's tables.

    Args:
        imported: The runs, and what was understood of them.
        margin: The smallest gap worth having, in the units of the scores.
        effort: k; by default n / 8 rounded down, at least 1. Of whole repeats of a
            tuner always 1.
        alpha: Intervals hold at 1 - alpha; by default .05.
        seed: Of the permutations and resamples.
        deterministic: The arms whose training uses no randomness.
        test_size: How many examples the test set has, where their scores are
            unknown: adds a bound on the error of the test set itself.
        published: Published scores by arm, the baseline's among them.
        ceilings: As for `judge_study`.

    Raises:
        RecordsError: The baseline was not named.
        ProtocolError: An effort, a margin or a published score that is impossible.
    """
    if imported.baseline is None:
        raise RecordsError(
            "a comparison needs a baseline",
            f"{imported.name} has the arms {', '.join(imported.arms)}",
            f"Name one: --baseline {imported.arms[0]}.",
        )
    if imported.repeats and effort not in (None, 1):
        raise ProtocolError(
            "of whole repeats of a tuner the effort is one of them",
            f"effort = {effort}",
        )
    metrics.check_margin(margin, imported.bounded)
    runs = searches.Runs(imported.runs)
    n = min(len(searches.trials(runs, name)) for name in imported.arms)
    notes = list(imported.understood.notes)
    if not searches.tested(runs):
        notes.append(
            "There are no test scores: the verdict is about validation scores, which a"
            " search makes optimistic."
        )
    fresh = any(run.stage == "confirm" for run in runs)
    if not fresh and not imported.repeats:
        notes.append(
            "There are no fresh seeds: each score is that of the very run picked, its"
            " seed's luck included."
        )
    first, *others = imported.arms
    measure = imported.measure
    found = assess(
        runs,
        protocol={
            "data": {"name": imported.name, "digest": imported.digest},
            "metric": measure.name,
            "higher_is_better": not measure.lower_is_better,
            "fractions": imported.bounded,
            "baseline": {"name": first, "space": imported.spaces[first]},
            "challengers": [
                {"name": name, "space": imported.spaces[name]} for name in others
            ],
            # Ranges that were tried, not declared: nobody knows what lies beyond.
            "spaces_inferred": True,
            "margin": margin,
            "alpha": 0.05 if alpha is None else alpha,
            "effort": (1 if imported.repeats else max(1, n // 8))
            if effort is None
            else effort,
            "configurations": n,
            "max_multiple": 4.0,
            "estimand": "configuration" if fresh else "run",
            "seed": 0 if seed is None else seed,
            "test_size": test_size,
            "published": _published(imported, published),
            "notes": notes,
            **(
                {
                    "deterministic": [
                        _known(name, imported.arms, imported.name)
                        for name in deterministic
                    ]
                }
                if deterministic
                else {}
            ),
        },
        constant=None,
        paired=imported.paired,
        ceilings=ceilings,
    )
    if margin is None and not _has_a_zero(imported):
        equal = [c for c in found.verdict.comparisons if c["verdict"] == "equivalent"]
        if equal:
            raise ProtocolError(
                "whether two arms are equally good depends on the gap worth having",
                f"none was declared, and of {measure.name!r} nobody knows what a small"
                " one is",
                "Declare it, in the units of the scores: --margin 0.01, or whatever it"
                " is.",
            )
    return found


def _has_a_zero(imported: "Imported") -> bool:
    """Says whether a small part of a score is a small gap: of a share, of a loss."""
    measure = imported.measure
    if imported.bounded or measure.name == "r2":
        return True
    lowest = min(
        (run.validation for run in imported.runs if not run.diverged), default=0.0
    )
    return bool(measure.lower_is_better) and lowest >= 0


def _published(
    imported: "Imported", published: Mapping[str, float] | None
) -> dict[str, float] | None:
    """Returns published scores in the units of the table's, which may be percent."""
    if published is None:
        return None
    scaled = {}
    known = [abs(run.validation) for run in imported.runs if not run.diverged]
    largest = max(known, default=math.inf)
    for name, score in published.items():
        if not imported.bounded and abs(score) > 10 * largest:
            raise ProtocolError(
                "a published score is in the units of the table's",
                f"{name}: {score:g}, and the largest score here is {largest:g}",
                "Write it in their units; where they are another metric's, leave it"
                " out.",
            )
        if imported.scale != 1 and score > 1:
            score /= imported.scale
        if not math.isfinite(score) or (imported.bounded and not 0 <= score <= 1):
            raise ProtocolError(
                "a published score is in the units of the table's, as fractions",
                f"{name}: {score:g}",
                f"Write {score / 100:g}." if 1 < score <= 100 else "",
            )
        scaled[name] = score
    return scaled


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
    metric = _metric(protocol)
    sign = 1 if metric.higher_is_better else -1
    arms = [protocol["baseline"], *protocol["challengers"]]
    names = [arm["name"] for arm in arms]
    margin, assumed = protocol["margin"], False
    looking = len(looks_of(protocol)) > 1
    if margin is None:
        # Every look has the margin of the first.
        seen = at_look(runs, protocol, 1)[0] if looking else runs
        margin, assumed = searches.default_margin(seen, metric, constant), True
    declared = {arm["name"]: _space(arm) for arm in arms}
    compared = {**protocol, "margin": margin}
    looked: Sequence[_Looked] = ()
    common: Sequence[Run] = runs
    found: Sequence[statistics.Comparison]
    if looking:
        looked = _looks(runs, compared, constant)
        # What is said of all arms together is said of what all of them have.
        common, then = at_look(runs, compared, _shortest(runs, compared))
        reading = _read(common, then, constant=constant, comparing=False)
        last = {each.challenger: each for one in looked for each in one.found}
        found = [last[name] for name in names[1:]]
    else:
        reading = _read(runs, compared, constant=constant, paired=paired)
        found = reading.comparisons
    rises = _rises(common, protocol, sign)
    unfinished = [_unfinished(each, rises) for each in found]
    # What longer training may undo is no strong finding.
    found = [
        dataclasses.replace(each, strong=False) if arms_learning else each
        for each, arms_learning in zip(found, unfinished, strict=True)
    ]
    worst = reading.arrays[0].worst
    notes = [*reading.notes]
    if "grown" in protocol:
        notes.append(findings.grew(protocol, [_said(each) for each in looked[:-1]]))
    if assumed:
        notes.append(
            f"No margin was declared: {margin:g} is assumed, the larger of"
            + (
                " half a point"
                if metric.bounded or metric.name == "r2"
                else " half a per cent of a usual score"
            )
            + " and one standard deviation over seeds."
        )
    summaries = [_summary(runs, name, sign, worst) for name in names]
    in_digits = words.digits([each.to_dict() for each in found], metric)
    comparisons = [
        _told(
            each,
            protocol,
            summaries,
            in_digits,
            # In the order of a page: what may undo the verdict stands first.
            before=[
                *(
                    words.still_learning(
                        arm, rises[arm].last, metric, _longer(protocol, _rung(each))
                    )
                    for arm in learning
                ),
                *_of_growth(each, protocol, looked),
            ],
            after=_of_edges(each, reading.crowded),
            learning=learning,
        )
        for each, learning in zip(found, unfinished, strict=True)
    ]
    document = {
        "schema": 2,
        "study": {
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
            "flops": sum(run.flops for run in runs),
            "arms": summaries,
            "notes": [*protocol["notes"], *notes],
            **({"looks": [each.to_dict() for each in looked]} if looked else {}),
            **findings.of_study(
                common,
                reading.arrays,
                protocol,
                declared,
                sign=sign,
                estimand=reading.estimand,
                paired=paired,
                comparison=found[0],
            ),
            "ceilings": findings.ceilings(
                reading.arrays,
                sign=sign,
                best=sign * metric.best,
                alpha=protocol["alpha"],
            )
            if ceilings
            else None,
        },
        "comparisons": comparisons,
    }
    return Judgement(
        Verdict(document),
        Evidence(
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
        ),
    )


def _shown(runs: Sequence[Run], worst: float) -> list[Run]:
    """Returns runs whose test scores can be drawn: one without stands at the worst."""
    return [
        run
        if run.test is None or math.isfinite(run.test)
        else dataclasses.replace(run, test=worst)
        for run in runs
    ]


@dataclasses.dataclass(frozen=True)
class _Reading:
    """What runs say: the arrays that the statistics take, and what these make of it."""

    arrays: Sequence[statistics.Search]
    edges: Mapping[str, Mapping[str, str]]
    estimand: statistics.Estimand
    comparisons: Sequence[statistics.Comparison]
    notes: Sequence[str]
    crowded: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """By arm, the edges at which its best configurations pile up, a clause each, where
    nobody declared a space: they are only those of what was tried."""


def _read(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    *,
    constant: float | None,
    paired: bool = True,
    comparing: bool = True,
    permutations: int = 9999,
    elsewhere: bool = True,
) -> _Reading:
    """Compares the arms of a protocol whose margin is known.

    Args:
        runs: Theirs.
        protocol: The resolved protocol.
        constant: The constant predictor's test score, if it is known.
        paired: Whether equal pairs mean equal draws.
        comparing: Whether the comparisons themselves are wanted.
        permutations: Of the gate, at least.
        elsewhere: Whether other parts of the space are looked at, too.
    """
    metric = _metric(protocol)
    sign = 1 if metric.higher_is_better else -1
    arms = [protocol["baseline"], *protocol["challengers"]]
    # Where nobody knows the constant predictor's score, the lowest of the search.
    worst = searches.lowest(runs, sign) if constant is None else sign * constant
    declared = {arm["name"]: _space(arm) for arm in arms}
    arrays = [
        searches.search(
            runs, name, sign, worst, space, stratified=_stratified(protocol)
        )
        for name, space in declared.items()
    ]
    effort = protocol["effort"]
    if effort < 1:
        raise ProtocolError("effort is at least 1", f"effort = {effort}")
    edges = searches.edges_reached(runs, declared, sign, effort)
    notes = []
    estimand, allowed = protocol["estimand"], [s.readings(effort) for s in arrays]
    if not all(estimand in readings for readings in allowed):
        estimand = "run" if estimand == "configuration" else "configuration"
        notes.append(
            f"The records allow the reading by {estimand} alone at effort {effort}: not"
            " every configuration that carries weight has the scores of the other."
        )
    if not comparing:
        return _Reading(arrays, edges, estimand, [], notes)
    crowded = {
        arm: [
            f"the best configurations of {arm} pile up at the {side} end of {name}"
            for name, side in found.items()
        ]
        for arm, found in edges.items()
    }
    # Where nobody declared a space, its edges are only those of what was tried.
    inferred = protocol.get("spaces_inferred", False)
    comparisons = statistics.compare(
        arrays[0],
        arrays[1:],
        effort=effort,
        margin=protocol["margin"],
        alpha=protocol["alpha"],
        max_multiple=protocol["max_multiple"],
        estimand=estimand,
        paired=paired,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        fraction=bool(metric.bounded),
        scored_on="test" if searches.tested(runs) else "validation",
        seed=protocol["seed"],
        permutations=permutations,
        unsound=[
            *_nothing_known(runs, list(declared), constant),
            *([] if inferred else (c for each in crowded.values() for c in each)),
        ],
        unsound_by=_unsound_by(runs, protocol, constant, sign),
        copies=_copies(runs, protocol, sign, worst, bool(metric.bounded)),
        published=protocol.get("published"),
        test_size=protocol.get("test_size"),
        elsewhere=elsewhere and any(declared.values()) and arrays[0].n <= MANY,
        matched=_matched(runs, protocol, sign, worst),
        options=findings.options(declared),
    )
    return _Reading(
        arrays, edges, estimand, comparisons, notes, crowded if inferred else {}
    )


def _stratified(protocol: Mapping[str, Any]) -> bool:
    """Says whether a study's configurations fill the space evenly (`space.Design`).

    Tables and older studies say nothing of their draws; where nothing is searched there
    are seeds alone.
    """
    searched = any(
        _space(arm) for arm in (protocol["baseline"], *protocol["challengers"])
    )
    return searched and protocol.get("sampling") == "sobol"


def _space(arm: Mapping[str, Any]) -> dict[str, spaces.Dimension]:
    return {name: spaces.parse(name, found) for name, found in arm["space"].items()}


# Looks.


def at_look(
    runs: Sequence[Run], protocol: Mapping[str, Any], look: int
) -> tuple[list[Run], dict[str, Any]]:
    """Returns what was known at a look, and the protocol as it stood there.

    Args:
        runs: All runs of the study. Which challengers still were in the trial is read
            off them: those that were searched at this look, or later.
        protocol: The resolved protocol, with its looks or those before it grew.
        look: Counted from 1.

    Returns:
        The runs of the baseline and of these challengers that were planned at this
        look or before; and the protocol with these challengers and this look's
        number of configurations.
    """
    until = _last_looks(runs, protocol)
    still = [arm for arm in protocol["challengers"] if until[arm["name"]] >= look]
    gone = {arm["name"] for arm in protocol["challengers"]} - {a["name"] for a in still}
    known = [run for run in runs if run.look <= look and run.arm not in gone]
    return known, {
        **protocol,
        "challengers": still,
        "configurations": looks_of(protocol)[look - 1],
    }


def _last_looks(runs: Sequence[Run], protocol: Mapping[str, Any]) -> dict[str, int]:
    """Returns, by challenger, the last look that it can be compared at."""
    last: dict[str, int] = {}
    for run in runs:
        if run.stage == "search":
            last[run.arm] = max(run.look, last.get(run.arm, 1))
    most = last[protocol["baseline"]["name"]]
    return {
        arm["name"]: min(last[arm["name"]], most) for arm in protocol["challengers"]
    }


def _shortest(runs: Sequence[Run], protocol: Mapping[str, Any]) -> int:
    """Returns the look at which the first challenger stopped."""
    return min(_last_looks(runs, protocol).values())


@dataclasses.dataclass(frozen=True)
class _Looked:
    """What was found at one look, and what followed from it."""

    look: statistics.Look
    found: Sequence[statistics.Comparison]
    """At the look's own level."""
    decisions: Mapping[str, statistics.Decision] | None
    """None where nothing followed: whoever let the study grow decided."""

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, str] = {each.challenger: each.verdict for each in self.found}
        described = {
            "configurations": self.look.configurations,
            # 0 where the look is for futility only.
            "alpha": self.look.level or 0.0,
        }
        if self.decisions is None:
            return {**described, "verdicts": found}
        return {
            **described,
            "decisions": {
                name: f"claim: {found[name]}" if decision == "claim" else decision
                for name, decision in self.decisions.items()
            },
        }


def decisions(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    look: int,
    constant: float | None,
) -> Mapping[str, statistics.Decision]:
    """Returns, for each challenger still in the trial, what follows from a look.

    Args:
        runs: All runs so far, with test scores.
        protocol: The resolved protocol, with its looks.
        look: Counted from 1; a challenger goes on after the last one, too, where
            nothing was settled.
        constant: The constant predictor's test score; None where nobody knows it.
    """
    runs = searches.condensed(runs)
    margin = protocol["margin"]
    if margin is None:
        seen, _ = at_look(runs, protocol, 1)
        margin = searches.default_margin(seen, _metric(protocol), constant)
    found = _look(runs, {**protocol, "margin": margin}, look, constant).decisions
    assert found is not None  # looks that are declared have some
    return found


def _looks(
    runs: Sequence[Run], protocol: Mapping[str, Any], constant: float | None
) -> list[_Looked]:
    last = max(_last_looks(runs, protocol).values())
    return [_look(runs, protocol, look, constant) for look in range(1, last + 1)]


def _look(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    number: int,
    constant: float | None,
) -> _Looked:
    known, then = at_look(runs, protocol, number)
    challengers = len(protocol["challengers"])
    if "grown" in protocol:
        look = statistics.grown_looks(
            looks_of(protocol), alpha=protocol["alpha"], challengers=challengers
        )[number - 1]
        found = _read(
            known,
            {**then, "alpha": look.level},
            constant=constant,
            permutations=max(look.permutations or 0, 9999),
        ).comparisons
        return _Looked(look, found, None)
    looks = statistics.declare_looks(
        protocol["looks"],
        configurations=protocol["configurations"],
        effort=protocol["effort"],
        alpha=protocol["alpha"],
        challengers=challengers,
    )
    look = looks[number - 1]
    # Each challenger has its part of every level, also when others have stopped.
    part = len(then["challengers"]) / challengers
    level = look.level
    if level is None:
        # Nothing is claimed at a look for futility; what it finds is said with all
        # that no look before it has spent.
        spent = sum(other.level or 0.0 for other in looks[:number])
        level = sum(statistics.spend(protocol["looks"], protocol["alpha"])[:number])
        level = max(level - spent, 1e-6)
    found = _read(
        known,
        {**then, "alpha": level * part},
        constant=constant,
        permutations=max(look.permutations or 0, 9999),
    ).comparisons
    whole = _read(
        known,
        {**then, "alpha": protocol["alpha"] * part},
        constant=constant,
        permutations=99,
        elsewhere=False,
    ).comparisons
    return _Looked(
        look,
        found,
        {
            each.challenger: _decide(
                each, wide, look, looks[-1], protocol["alpha"] / challengers
            )
            for each, wide in zip(found, whole, strict=True)
        },
    )


def _decide(
    found: statistics.Comparison,
    whole: statistics.Comparison,
    look: statistics.Look,
    last: statistics.Look,
    level: float,
) -> statistics.Decision:
    """Decides on a challenger by what was found at the look's and at the full level."""
    if whole.effect is None or whole.standard_error is None:
        return "go on"
    critical = float(special.ndtri(1 - level / 2))
    return statistics.decide_look(
        None if look.level is None else found.verdict,
        whole.effect,
        whole.standard_error,
        look,
        last,
        effort=whole.effort,
        margin=whole.margin,
        test_variance=((whole.test_set_floor or 0.0) / critical) ** 2,
    )


def _said(looked: _Looked) -> str:
    """Says what was found at a look, of several challengers at once."""
    verdicts = [each.verdict for each in looked.found]
    return " and ".join(dict.fromkeys(verdicts))


def _of_growth(
    found: statistics.Comparison,
    protocol: Mapping[str, Any],
    looked: Sequence[_Looked],
) -> list[str]:
    """Returns a warning of the looks that were made before, where a study grew."""
    if "grown" not in protocol:
        return []
    before = [
        each.verdict
        for look in looked[:-1]
        for each in look.found
        if each.challenger == found.challenger
    ]
    return [findings.grew(protocol, before)]


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


def _nothing_known(
    runs: Sequence[Run], arms: Sequence[str], constant: float | None
) -> list[str]:
    """Says of which arms no run has a score, where none can be put in its place."""
    if constant is not None:
        return []
    return [
        f"no run of {arm} has a score, and nobody knows what a failure is worth"
        for arm in arms
        if not any(
            math.isfinite(run.validation) for run in searches.trials(runs, arm).values()
        )
    ]


def _unsound_by(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    constant: float | None,
    sign: int,
) -> dict[str, list[str]]:
    """Says of each challenger why nothing can be told of it and the baseline."""
    first = protocol["baseline"]["name"]
    names = [first, *(arm["name"] for arm in protocol["challengers"])]
    without_seeds = protocol.get("deterministic", ())
    dead = {
        name: searches.dead(runs, name, deterministic=name in without_seeds)
        for name in names
    }
    found = {}
    for name in names[1:]:
        clauses = [dead[arm] for arm in (first, name) if dead[arm]]
        if not clauses:
            clauses = _unlearned(runs, protocol, (first, name), constant, sign)
        found[name] = clauses
    return found


def _unlearned(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    pair: tuple[str, str],
    constant: float | None,
    sign: int,
) -> list[str]:
    """Says which of two arms has not left the constant predictor behind.

    At the longest training that was tried: where that is longer than the declared
    one, an arm that learned there has shown that it can.
    """
    if constant is None:
        return []
    level, margin = sign * constant, protocol["margin"]
    rises = _rises(runs, protocol, sign)
    clauses = []
    for arm, other in (pair, pair[::-1]):
        rung = max(run.rung for run in runs if run.arm == arm)
        own, theirs = (
            searches.tuned(runs, name, sign, level, rung) for name in (arm, other)
        )
        if own is None:
            continue
        clear = soundness.clear_of(level, own, margin=margin, alpha=protocol["alpha"])
        rise = rises.get(arm)
        begun = clear and not (
            theirs is not None
            and soundness.little_learned(level, own.mean, theirs.mean)
            and rise is not None
            and math.isinf(rise.further(0.0))
            and rung == 1
        )
        if not begun:
            is_not = "had only begun to learn" if clear else "had learned nothing"
            clauses.append(
                f"{arm} {is_not}: its tuned {protocol['metric'].replace('_', ' ')} is"
                f" {sign * own.mean:.4g}, and answering always the same scores"
                f" {constant:.4g}. {_longer(protocol, rung)}"
            )
    return ["; and ".join(clauses).rstrip(".")] if clauses else []


def _longer(protocol: Mapping[str, Any], rung: int = 1) -> str:
    """Returns what to type to see whether longer training makes up for a gap."""
    if protocol.get("trainer") is None:
        return "Train it longer, or tune it further"
    least = max(8, 4 * protocol["effort"])
    more = f" --configurations {least}" if protocol["configurations"] < least else ""
    rungs = "1,4" if rung == 1 else f"1,{4 * rung}"
    return (
        f"To see whether longer training settles it: --ladder {rungs}{more}, with the"
        " same command and another --study"
    )


def _rises(
    runs: Sequence[Run], protocol: Mapping[str, Any], sign: int
) -> dict[str, Rise]:
    """Returns, by arm, how it was learning, where curves and schedule are known."""
    found = {}
    for arm in (protocol["baseline"], *protocol["challengers"]):
        recipe = arm.get("recipe", protocol.get("recipe"))
        rise = searches.learned(runs, arm["name"], sign, recipe)
        if rise is not None:
            found[arm["name"]] = rise
    return found


def _unfinished(found: statistics.Comparison, rises: Mapping[str, Rise]) -> list[str]:
    """Returns the arms whose longer training may turn a verdict.

    The arm behind could make up for the gap, if its curve goes on as it rose before
    the learning rate fell; or, where none is ahead, one of them has hardly begun. A
    ladder answers that better than any curve, unless it leaves it open.
    """
    if found.effect is None:
        return []
    if found.ladder is not None and found.ladder["reaches"] != "unknown":
        return []
    if found.verdict in ("architecture", "baseline", "tuning"):
        gap = abs(found.effect.estimate) - found.margin
        behind = [found.baseline if found.effect.estimate > 0 else found.challenger]
    elif found.verdict in ("equivalent", "inconclusive"):
        gap, behind = math.inf, [found.baseline, found.challenger]
    else:
        return []
    return [
        arm
        for arm in behind
        if arm in rises and rises[arm].further(found.margin) >= gap
    ]


def _rung(found: statistics.Comparison) -> int:
    """Returns the longest training that was tried."""
    return 1 if found.ladder is None else int(found.ladder["longest"])


def _copies(
    runs: Sequence[Run],
    protocol: Mapping[str, Any],
    sign: int,
    worst: float,
    fraction: bool,
) -> Copies | None:
    """Returns how many test examples were trained on; None where none is known."""
    known = protocol["data"].get("copies")
    count = known["exact"] + known["near"] if known else 0
    if not count:
        return None
    moves = {}
    first = searches.tuned(runs, protocol["baseline"]["name"], sign, worst)
    for arm in protocol["challengers"]:
        own = searches.tuned(runs, arm["name"], sign, worst)
        gains = None
        if own is not None and first is not None:
            both = own.examples, first.examples
            gains = None if both[0] is None or both[1] is None else both[0] - both[1]
        moves[arm["name"]] = soundness.copies_move(
            count, known["of"], gains, fraction=fraction
        )
    copies = Copies(count, known["of"], moves)
    metric = _metric(protocol)
    reasons = {name: words.copied(copies, name, metric) for name in moves}
    return dataclasses.replace(copies, reasons=reasons)


def _cause(baseline: Mapping[str, Any], challenger: Mapping[str, Any]) -> str:
    """Says what a challenger has other than the baseline."""

    def built(arm: Mapping[str, Any]) -> Any:
        return arm.get("architecture"), arm.get("options"), arm.get("source")

    if baseline.get("recipe") == challenger.get("recipe"):
        return "the architecture"
    if built(baseline) == built(challenger):
        return "the training procedure"
    return "the architecture with its training procedure"


def _matched(
    runs: Sequence[Run], protocol: Mapping[str, Any], sign: int, worst: float
) -> dict[str, statistics.Search]:
    """Returns, by challenger, the baseline that was made as large as it."""
    larger = protocol.get("matched")
    if larger is None:
        return {}
    space = {n: spaces.parse(n, d) for n, d in larger["space"].items()}
    found = searches.search(
        runs, larger["name"], sign, worst, space, stratified=_stratified(protocol)
    )
    return {larger["matches"]: found}


def _metric(protocol: Mapping[str, Any]) -> Any:
    if protocol["metric"] in metrics.names():
        return metrics.get(protocol["metric"])
    return Score(
        protocol["metric"], protocol["higher_is_better"], bounded=protocol["fractions"]
    )


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


def _environment(
    runs: Sequence[Run], events: Sequence[tuple[float, str, str]]
) -> dict[str, str]:
    """Returns versions and hardware, and how long the trainings took."""
    described: dict[str, str] = {}
    for when, name, detail in events:
        if name == "began":
            described.update(json.loads(detail))
        elif name == GREW:
            grew = json.loads(detail)
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))
            described[f"grew to {grew['to']} configurations"] = day
        elif name == "went on elsewhere":
            described["went on with"] = ", ".join(
                f"{key} {value}" for key, value in json.loads(detail).items()
            )
    described["seconds of training"] = f"{sum(run.seconds for run in runs):,.0f}"
    return described


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

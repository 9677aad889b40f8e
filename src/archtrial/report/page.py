"""One self-contained page: the sentence first, then from evidence to details.

A page is built from what is passed and asks nothing of the network. What was
not passed has no section: a table of somebody else's runs has no search space
and no learning curves, and its page does without.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archtrial.records.table import Run
from archtrial.report import drawing, figures, frame
from archtrial.report.evidence import (
    Evidence,
    fresh_runs,
    mean_interval,
    of_stage,
    presented,
    tuned_pair,
)
from archtrial.report.frame import Fact, Table, drawn
from archtrial.words import findings, numbers
from archtrial.words import verdict as words
from archtrial.words.numbers import Metric

__all__ = ["render"]

# Figures that all comparisons share.
_OF_THE_STUDY = ("effects", "factorial", "shares", "probes")


def render(evidence: Evidence) -> str:
    """Returns the page, one HTML document; the same evidence gives the same bytes."""
    document = evidence.document
    evidence = presented(evidence)
    comparisons = evidence.document["comparisons"]
    colors = figures.colors(
        comparisons[0]["baseline"], [c["challenger"] for c in comparisons]
    )
    several = len(comparisons) > 1
    sections = [_section(evidence, compared) for compared in comparisons]
    headline, lead = (
        (words.overview(comparisons, evidence.trained_alike), "")
        if several
        else words.split(comparisons[0]["sentence"])
    )
    together = figures.drawable(evidence, comparisons)
    # The first figure has the very intervals that the sentence rests on.
    overview = drawn(together["effects"]) if "effects" in together else None
    warnings = {w: None for c in comparisons for w in c["warnings"]}
    study = evidence.document["study"]
    metric = evidence.metric
    probes = study.get("probes")
    return frame.render(
        "page.html",
        title=f"{' and '.join(a for a in colors)}: {headline}",
        headline=headline,
        lead=lead,
        study=study,
        several=several,
        overview=overview,
        exploratory=evidence.exploratory,
        error_rate=findings.error_rate(study),
        winner=findings.winner(study, metric),
        shared={
            name: drawn(together[name])
            for name in ("factorial", "shares", "probes")
            if name in together
        },
        factorial=_factorial(study, metric),
        matters=findings.matters_more(study, metric),
        importance=_importance(study, list(colors)),
        hidden=findings.hidden_shares(study),
        probing=findings.probing(comparisons[0], probes) if probes else None,
        ceilings=[
            findings.ceiling(arm, found, metric)
            for arm, found in (study.get("ceilings") or {}).items()
        ],
        looks=_looks(study, [c["challenger"] for c in comparisons]),
        grew="grown" in evidence.protocol,
        sections=sections,
        arms=_arms(colors),
        rows=_arm_rows(evidence, list(colors)),
        configurations=_configurations(evidence, colors),
        warnings=list(warnings),
        notes=evidence.notes,
        loading=evidence.loading,
        protocol=evidence.protocol,
        environment=evidence.environment,
        metric=numbers.label(metric),
        margin=numbers.size(comparisons[0]["margin"], metric),
        effort=comparisons[0]["effort"],
        estimand=comparisons[0]["estimand"],
        citation=frame.cited("Controlled trial", study, evidence.environment),
        document=document,
    )


# ------------------------------------------------------------ what a page shows


def _section(evidence: Evidence, comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the template shows of one comparison."""
    metric = evidence.metric
    possible = figures.drawable(evidence, [comparison])
    searched = [
        sum(
            len(r.curve) > 1 for r in of_stage(evidence.runs, comparison[arm], "search")
        )
        for arm in ("baseline", "challenger")
    ]
    first, rest = words.split(comparison["sentence"])
    refused = comparison["verdict"] == "not_assessable"
    return {
        "baseline": comparison["baseline"],
        "challenger": comparison["challenger"],
        "sentence": first,
        "rest": rest,
        "numbers": _three_numbers(comparison, metric, evidence.document),
        "catch_up": findings.catching_up(comparison),
        "longer": findings.longer_training(comparison, metric),
        "rungs": _rungs(comparison, metric),
        "sensitivity": findings.sensitivity(comparison),
        "next": findings.next_step(
            comparison,
            evidence.protocol,
            seconds=evidence.seconds,
            price_per_hour=evidence.price_per_hour,
            going_on=evidence.going_on,
        ),
        "readings": _readings(comparison, metric),
        "figures": {
            name: drawn(draw)
            for name, draw in possible.items()
            if name not in _OF_THE_STUDY
            # Its title and its mark tell the gap between both arms.
            and not (refused and name == "tuning_curves")
        },
        "thinned": _thinned(evidence, comparison),
        "scored_on": comparison["scored_on"],
        "banded": max(searched) > figures.MANY,
        "thin": min(searched) <= figures.MANY,
        "best": math.ceil(comparison["configurations"] / comparison["effort"]),
    }


def _thinned(evidence: Evidence, comparison: Mapping[str, Any]) -> dict[str, str]:
    """Returns, for the figures that may leave points out, words that say so."""
    words = {}
    for name in figures.POINTS:
        every = 1
        for arm in (comparison["baseline"], comparison["challenger"]):
            runs = (
                fresh_runs(evidence.runs, arm, evidence.metric)
                if name == "fresh_seeds"
                else of_stage(evidence.runs, arm, "search")
            )
            every = max(every, figures.drawn_every(name, len(runs)))
        words[name] = (
            "" if every == 1 else f" (of the arm with most, one in {every:,} is drawn)"
        )
    return words


def _three_numbers(
    comparison: Mapping[str, Any], metric: Metric, document: Mapping[str, Any]
) -> list[Fact]:
    share = len(document["comparisons"])
    return frame.gain_facts(
        f"Gain of {comparison['challenger']} over {comparison['baseline']}",
        comparison["effect"] | {"p_value_adjusted": comparison["p_value_adjusted"]},
        metric,
        alpha=comparison["alpha"] / share,
        margin=comparison["margin"],
        of="for the same tuning effort",
        adjusted=f"adjusted for {share} challengers" if share > 1 else "",
    )


def _readings(comparison: Mapping[str, Any], metric: Metric) -> list[Fact]:
    """Returns the numbers beside the primary one; those that are missing are left out."""
    baseline, challenger = comparison["baseline"], comparison["challenger"]
    scored = f"{comparison['scored_on']} {numbers.label(metric)}".capitalize()
    searching = numbers.count(comparison["effort"], "trial")
    facts: list[Fact | None] = [
        _scored(
            f"{scored} that tuning {arm} ends with",
            comparison[f"{role}_score"],
            metric,
            f"expected after a search of {searching}",
        )
        for role, arm in (("baseline", baseline), ("challenger", challenger))
    ]
    equal = comparison["effect_at_equal_compute"]
    if equal is not None:
        trials = numbers.count(equal["challenger_effort"], "trial")
        facts.append(
            _gained(
                "Gain at equal compute",
                equal,
                metric,
                f"{trials} of {challenger} cost as much as"
                f" {equal['baseline_effort']:,} of {baseline}",
            )
        )
    other = comparison["other_reading"]
    if other is not None:
        which = {
            "run": "of the very run picked, seed luck included",
            "configuration": "of the configuration picked, over fresh seeds",
        }[other["estimand"]]
        facts.append(
            _gained(f"Gain {which}", other["effect"], metric, "the other reading")
        )
    chances = comparison["probability_better"] or {}
    if chances.get("searches"):
        facts.append(
            _chance(
                f"How often a search of {challenger} ends above one of {baseline}",
                chances["searches"],
                f"each of {searching}",
            )
        )
    if chances.get("seeds"):
        pairs = numbers.count(chances["seeds"]["pairs"], "pair")
        facts.append(
            _chance(
                f"How often the tuned {challenger} beats the tuned {baseline}",
                chances["seeds"],
                f"seen on {pairs} of fresh seeds",
            )
        )
    published = comparison["published"]
    if published is not None:
        gap = numbers.difference(published["gap"], metric)
        for part, words in (
            ("tuning", f"tuning {baseline} better"),
            ("architecture", "the architecture"),
            ("selection_luck", f"luck in selecting {challenger}"),
        ):
            facts.append(
                _gained(
                    f"Of the published gap of {gap}: {words}",
                    published[part],
                    metric,
                    "the three parts add up; the split depends on the path",
                )
            )
    for key, term, note in (
        (
            "minimum_detectable_effect",
            "Smallest gap that this study was likely to see",
            f"with a chance of {numbers.percent(0.8)} (minimum detectable effect)",
        ),
        (
            "test_set_floor",
            "What the size of the test set alone leaves open",
            "to either side, however many runs there are",
        ),
    ):
        if comparison[key] is not None:
            found = comparison[key]
            amount = numbers.amount(found, metric, (0.0, 2 * found))
            facts.append(Fact(term, amount, note))
    return [fact for fact in facts if fact is not None]


def _rungs(comparison: Mapping[str, Any], metric: Metric) -> Table | None:
    """Returns what is known at each length of training; None without a ladder."""
    ladder = comparison.get("ladder")
    if not ladder:
        return None
    return Table(
        (
            "training",
            "configurations",
            comparison["baseline"],
            comparison["challenger"],
            "ahead of target",
        ),
        [
            (
                f"{rung['rung']:g}\u00d7",
                f"{rung['configurations']:,}",
                numbers.estimated(rung["baseline_score"], metric),
                numbers.estimated(rung["challenger_score"], metric),
                rung["reason"]
                or numbers.signed_estimate(rung["ahead_of_target"], metric),
            )
            for rung in ladder["rungs"]
        ],
    )


def _factorial(study: Mapping[str, Any], metric: Metric) -> Table | None:
    """Returns main effects and interactions; None without a factorial."""
    factorial = study.get("factorial")
    if not factorial:
        return None
    return Table(
        ("effect", "gain", "by chance, adjusted", "claimed"),
        [
            (
                found["name"],
                numbers.gained(found["effect"], metric),
                numbers.p_value(found["p_value_adjusted"]),
                "yes" if found["claimed"] else "no",
            )
            for found in sorted(
                factorial["effects"], key=lambda found: len(found["factors"])
            )
        ],
    )


def _importance(study: Mapping[str, Any], arms: Sequence[str]) -> Table | None:
    """Returns the share of each arm's spread that a hyperparameter makes."""
    found = (study.get("attribution") or {}).get("importance")
    if not found:
        return None
    known = [arm for arm in arms if arm in found]
    largest: dict[str, float] = {}
    for arm in known:
        for name, share in found[arm].items():
            largest[name] = max(largest.get(name, 0.0), share["estimate"])
    return Table(
        ("hyperparameter", *known),
        [
            (
                name,
                *(
                    numbers.shares(found[arm][name]) if name in found[arm] else ""
                    for arm in known
                ),
            )
            for name in sorted(largest, key=lambda name: (-largest[name], name))
        ],
    )


def _looks(study: Mapping[str, Any], challengers: Sequence[str]) -> Table | None:
    """Returns what was decided, or found, at each look."""
    looks = study.get("looks")
    if not looks:
        return None
    return Table(
        ("configurations", "level of this look", *challengers),
        [
            (
                f"{look['configurations']:,}",
                "for futility only"
                if not look["alpha"]
                else numbers.rate(look["alpha"]),
                *(_followed(look, arm) for arm in challengers),
            )
            for look in looks
        ],
    )


def _followed(look: Mapping[str, Any], arm: str) -> str:
    if "verdicts" in look:
        return str(look["verdicts"].get(arm, "")).replace("_", " ")
    return str(look["decisions"].get(arm, ""))


def _scored(
    term: str, found: Mapping[str, Any], metric: Metric, note: str
) -> Fact | None:
    if found["estimate"] is None:
        return None
    within = (found["low"], found["high"])
    interval = numbers.scores(*within, metric)
    return Fact(
        term, f"{numbers.score(found['estimate'], metric, within)} ({interval})", note
    )


def _gained(term: str, found: Mapping[str, Any], metric: Metric, note: str) -> Fact:
    within = (found["low"], found["high"])
    gain = numbers.difference(found["estimate"], metric, within)
    return Fact(term, f"{gain} ({numbers.differences(*within, metric)})", note)


def _chance(term: str, found: Mapping[str, Any], note: str) -> Fact:
    estimate, low, high = (
        numbers.probability(found[end]) for end in ("estimate", "low", "high")
    )
    interval = "" if low == high else f" ({low} to {high})"
    return Fact(term, f"{estimate}{interval}", note)


def _arms(colors: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns each arm's column in the table of arms."""
    roles = {color: role for role, color in drawing.LIGHT.items()}
    return [{"name": arm, "role": roles[colors[arm]]} for arm in colors]


def _arm_rows(evidence: Evidence, arms: Sequence[str]) -> dict[str, list[str]]:
    """Returns the rows of the table of arms: a name, and a text for each arm."""
    metric = evidence.metric
    columns = []
    for arm in arms:
        runs = [run for run in evidence.runs if run.arm == arm]
        searched = of_stage(runs, arm, "search")
        pair = tuned_pair(runs, arm, metric)
        size = next((r.parameters for r in runs if r.pair == pair), 0)
        diverged = sum(run.diverged for run in searched)
        cost = float(np.mean([run.flops for run in searched])) if searched else 0.0
        columns.append(
            {
                "parameters, tuned": f"{size:,}" if size else "",
                "score as it comes": _mean(of_stage(runs, arm, "default"), metric),
                "score when tuned": _mean(fresh_runs(runs, arm, metric), metric),
                "configurations searched": f"{len(searched):,}" if searched else "",
                "diverged": f"{diverged:,}" if diverged else "none" if searched else "",
                "cost of a search run": numbers.flops(cost) if cost else "",
                "cost of all runs": (
                    numbers.flops(sum(r.flops for r in runs)) if cost else ""
                ),
            }
        )
    rows = {name: [column[name] for column in columns] for name in columns[0]}
    return {name: texts for name, texts in rows.items() if any(texts)}


def _mean(runs: Sequence[Run], metric: Metric) -> str:
    """Writes the mean test score of runs, with the half-width of its interval."""
    tests = np.array([run.test for run in runs if run.test is not None])
    if len(tests) == 0:
        return ""
    within = mean_interval(tests)
    written = numbers.score(float(tests.mean()), metric, within)
    if within is None:
        return written
    return f"{written} ± {numbers.bare((within[1] - within[0]) / 2, metric, within)}"


def _configurations(
    evidence: Evidence, colors: Mapping[str, str]
) -> dict[str, list[str]]:
    """Returns each hyperparameter's tuned value in every arm, "" where it has none."""
    tuned: dict[str, Mapping[str, Any]] = {}
    for arm in colors:
        pair = tuned_pair(evidence.runs, arm, evidence.metric)
        for run in evidence.runs:
            if run.arm == arm and run.pair == pair:
                tuned[arm] = run.configuration
    names = sorted({name for values in tuned.values() for name in values})
    return {
        name: [
            numbers.value(tuned[arm][name]) if name in tuned.get(arm, {}) else ""
            for arm in colors
        ]
        for name in names
    }

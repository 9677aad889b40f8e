"""The verdict in a terminal: the page's order, in a dozen or twenty lines."""

import textwrap
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from archtrial.report.evidence import Evidence, presented
from archtrial.words import findings, numbers
from archtrial.words import verdict as words

__all__ = ["show", "standing"]


def show(evidence: Evidence, console: Console) -> None:
    """Prints the sentence, its numbers, a table of arms and what to do next."""
    evidence = presented(evidence)
    comparisons = evidence.document["comparisons"]
    study, metric = evidence.document["study"], evidence.metric
    for note in evidence.exploratory:
        _say(console, Text(note, style="yellow"))
    if len(comparisons) > 1:
        console.print()
        _say(
            console,
            Text(words.overview(comparisons, evidence.trained_alike), style="bold"),
        )
    for comparison in comparisons:
        verdict = comparison["verdict"].replace("_", " ")
        strong = " (strong)" if comparison["strong"] else ""
        console.print()
        # Text, not markup: names come from the user. What a reader must know stands
        # before what might be believed without it.
        for warning in comparison["warnings"]:
            _say(console, Text(f"warning: {warning}", style="yellow"))
        headline, rest = words.split(comparison["sentence"])
        _say(console, Text.assemble((headline, "bold"), f" {rest}"))
        terms = [f"{verdict}{strong}", words.beside(comparison, len(comparisons))]
        _say(console, Text("; ".join(filter(None, terms)), style="dim"))
    trust = findings.error_rate(study)
    if trust:
        _say(console, Text(trust, style="dim"))
    console.print()
    arms = study.get("arms", ())
    if arms:
        console.print(_arms(evidence, arms))
    several = len(comparisons) > 1
    for comparison in comparisons:
        of = f" ({comparison['challenger']})" if several else ""
        longer = findings.longer_training(comparison, metric)
        if longer:
            _say(console, Text(f"training longer{of}: {longer.answer}"))
        found = comparison.get("robustness")
        holds = findings.sensitivity(comparison)
        if holds and found and (found["lost"] or found["opposite"]):
            _say(
                console,
                Text(f"sensitivity analysis{of}: {holds.answer}", style="yellow"),
            )
    for heading, said in (
        ("the winner", findings.winner(study, metric)),
        ("factors", findings.tweaks(study, metric)),
    ):
        if said:
            _say(console, Text(f"{heading}: {said}"))
    if study.get("probes"):
        probing = findings.probing(comparisons[0], study["probes"])
        _say(console, Text(f"outside the tests, other tuners: {probing.answer}"))
    for arm, found in (study.get("ceilings") or {}).items():
        modelled = findings.ceiling(arm, found, metric)
        _say(
            console, Text(f"ceiling, by a model: {modelled.answer}; {modelled.detail}")
        )
    for comparison in comparisons:
        advice = findings.next_step(
            comparison,
            evidence.protocol,
            seconds=evidence.seconds,
            price_per_hour=evidence.price_per_hour,
            going_on=evidence.going_on,
        )
        if advice:
            _say(console, Text(f"next: {advice.text}"))
            if advice.command:
                # On a line of its own that nothing breaks, so that it can be pasted.
                console.print(Text(f"  {advice.command}"), soft_wrap=True)
            if advice.detail:
                _say(console, Text(advice.detail, style="dim"))


def _say(console: Console, text: Text) -> None:
    """Prints a paragraph whose lines break at spaces, and not before "%"."""
    # To rich a space at which no line breaks is one like all others.
    text.plain = textwrap.fill(
        text.plain,
        console.width,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(text)


def _arms(evidence: Evidence, arms: Any) -> Table:
    metric = evidence.metric
    comparisons = evidence.document["comparisons"]
    scored = comparisons[0].get("scored_on", "test")
    fresh = any(run.stage in ("confirm", "winner") for run in evidence.runs)
    whose = (
        "mean over fresh seeds (95 % interval)"
        if fresh
        else "of the very run that was picked"
    )
    # The gain is expected over searches of k trials; the table's last score is that
    # of the one winner of all n.
    expected = {c["baseline"]: c["baseline_score"] for c in comparisons} | {
        c["challenger"]: c["challenger_score"] for c in comparisons
    }
    searched = any(score["estimate"] is not None for score in expected.values())
    diverged = any(arm["diverged"] for arm in arms)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"{scored} {numbers.label(metric)}, {whose}",
        title_justify="left",
        title_style="",
    )
    table.add_column("arm", overflow="fold")
    known = any(arm["parameters"] for arm in arms)
    for heading in (
        *(["parameters"] if known else []),
        *(["default"] if any(arm["default"] for arm in arms) else []),
        *([f"best of {comparisons[0]['effort']}"] if searched else []),
        "best of all",
        *(["cost"] if any(arm["flops_per_run"] for arm in arms) else []),
        *(["diverged"] if diverged else []),
    ):
        table.add_column(heading, justify="right")
    for arm in arms:
        tuned, default = arm["tuned"], arm["default"]
        cells = [Text(arm["name"])]
        if known:
            cells.append(Text(f"{arm['parameters']:,}" if arm["parameters"] else "-"))
        if any(other["default"] for other in arms):
            cells.append(Text(numbers.estimate(default, metric)))
        if searched:
            cells.append(Text(numbers.estimate(expected.get(arm["name"]), metric)))
        cells.append(Text(numbers.estimated(tuned, metric)))
        if any(other["flops_per_run"] for other in arms):
            cost = arm["flops_per_run"]
            cells.append(Text(numbers.flops(cost) if cost else "not counted"))
        if diverged:
            cells.append(Text(str(arm["diverged"])))
        table.add_row(*cells)
    return table


def standing(now: Any, metric: numbers.Metric | None = None) -> RenderableType:
    """Returns how far a study is, for a live display.

    Args:
        now: A `study.Standing`.
        metric: Decides how scores are written; plain numbers without one.
    """
    left = (
        f"about {numbers.duration(now.seconds_left)} left in this stage"
        if now.seconds_left is not None
        else "measuring the pace"
    )
    best = "   ".join(
        f"{arm} {numbers.score(score, metric) if metric else format(score, '.4g')}"
        for arm, score in sorted(now.best.items())
    )
    return Group(
        Text(
            f"{_STAGES.get(now.stage, now.stage)}: {now.done} of {now.planned} runs, {left}"
        ),
        ProgressBar(total=max(now.planned, 1), completed=now.done, width=60),
        Text(f"best validation score so far: {best}" if best else ""),
    )


_STAGES = {
    "search": "search (1 of 2)",
    "confirm": "fresh seeds (2 of 2)",
    "ladder": "training longer",
    "ladder confirm": "training longer, fresh seeds",
    "probe": "adaptive tuners on the baseline",
    "probe confirm": "adaptive tuners on the baseline, fresh seeds",
    "test": "opening the test set",
    "judge": "reaching the verdict",
}

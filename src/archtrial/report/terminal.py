"""The verdict in a terminal: the page's order, in a dozen lines."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from archtrial.report import numbers
from archtrial.report.evidence import Evidence

__all__ = ["show", "standing"]


def show(evidence: Evidence, console: Console) -> None:
    """Prints the sentence, its numbers, a table of arms and what to do next."""
    comparisons = evidence.document["comparisons"]
    for comparison in comparisons:
        verdict = comparison["verdict"].replace("_", " ")
        strong = " (strong)" if comparison["strong"] else ""
        console.print()
        # Text, not markup: names come from the user.
        console.print(Text(f"{verdict}{strong}", style="bold"))
        console.print(Text(comparison["sentence"]))
        for warning in comparison["warnings"]:
            console.print(Text(f"warning: {warning}", style="yellow"))
    console.print()
    arms = evidence.document["study"].get("arms", ())
    if arms:
        console.print(_arms(evidence, arms))
    for comparison in comparisons:
        advice = _next(comparison)
        if advice:
            console.print(Text(advice))


def _arms(evidence: Evidence, arms: Any) -> Table:
    metric = evidence.metric
    scored = evidence.document["comparisons"][0].get("scored_on", "test")
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"{scored} {numbers.label(metric)}, mean over fresh seeds",
        title_justify="left",
        title_style="",
    )
    table.add_column("arm", overflow="fold")
    known = any(arm["parameters"] for arm in arms)
    for heading in (
        *(["parameters"] if known else []),
        *(["default"] if any(arm["default"] for arm in arms) else []),
        "tuned (95 % interval)",
        *(["cost"] if any(arm["flops_per_run"] for arm in arms) else []),
        "diverged",
    ):
        table.add_column(heading, justify="right")
    for arm in arms:
        tuned, default = arm["tuned"], arm["default"]
        cells = [Text(arm["name"])]
        if known:
            cells.append(Text(f"{arm['parameters']:,}"))
        if any(other["default"] for other in arms):
            cells.append(Text(_scored(default, metric, interval=False)))
        cells.append(Text(_scored(tuned, metric, interval=True)))
        if any(other["flops_per_run"] for other in arms):
            cells.append(Text(numbers.flops(arm["flops_per_run"])))
        cells.append(Text(str(arm["diverged"])))
        table.add_row(*cells)
    return table


def _scored(
    found: Mapping[str, Any] | None, metric: numbers.Metric, interval: bool
) -> str:
    if found is None:
        return ""
    within = (found["low"], found["high"])
    estimate = numbers.score(found["estimate"], metric, within)
    if not interval or None in within:
        return estimate
    return f"{estimate} ({numbers.scores(*within, metric)})"


def _next(comparison: Mapping[str, Any]) -> str:
    """Returns what would settle an open question, or nothing."""
    settled = comparison.get("would_settle")
    if comparison["verdict"] != "inconclusive" or not settled:
        return ""
    if settled["configurations"] is None:
        if settled["test_examples"] is None:
            return ""
        return (
            f"next: about {settled['test_examples']:.1f} times the test examples would"
            f" settle {comparison['challenger']} against {comparison['baseline']}."
        )
    return (
        f"next: {settled['configurations']} configurations an arm, about"
        f" {settled['times_cost']:.1f} times this study's cost, would probably settle"
        f" {comparison['challenger']} against {comparison['baseline']}:"
        f" --configurations {settled['configurations']}. On the same test set that is a"
        " second look."
    )


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
        Text(f"{_STAGES[now.stage]}: {now.done} of {now.planned} runs, {left}"),
        ProgressBar(total=max(now.planned, 1), completed=now.done, width=60),
        Text(f"best validation score so far: {best}" if best else ""),
    )


_STAGES = {
    "search": "search (1 of 2)",
    "confirm": "fresh seeds (2 of 2)",
    "ladder": "training longer",
    "ladder confirm": "training longer, fresh seeds",
    "test": "opening the test set",
}

"""archtrial relax."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from archtrial.console import output
from archtrial.console.beginning import ask_for_trust, workers_for
from archtrial.console.options import (
    DATA,
    AsJson,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.errors import StudyError
from archtrial.experiments import relax as room

__all__ = ["relax"]


@declares(
    "archtrial.experiments.relax.protocol:Protocol",
    *("architecture", "form", *DATA, "steps", "relax_times", "seeds"),
    *("learning_rates", "reading", "metric", "margin", "seed", "device"),
)
def relax(
    declared: dict[str, Any],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA|PROTOCOL",
            help="A built-in data set or a path, or a protocol in TOML; by default"
            " mnist1d.",
        ),
    ] = None,
    study: StudyFolder = None,
    workers: Workers = None,
    allow_large: Annotated[
        bool,
        typer.Option("--allow-large", help="Try even what does not fit into memory."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop after its size and cost.")
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """What is the convolutional prior worth, and when? A CNN, relaxed into an FCN.

    archtrial relax mnist1d --architecture cnn

    archtrial relax my.npz --architecture net.py:Net --seeds 6
    """
    begun = None
    if study is not None and source is None:
        begun = room.begun(study)
        if begun is None and not declared:
            raise StudyError(
                "--study alone goes on with what began in a folder",
                f"nothing began in {study}",
                "Name the data to begin there: archtrial relax mnist1d --study"
                f" {shlex.quote(str(study))}",
            )
    if begun is not None:
        from archtrial.records.store import frozen

        if (
            study is not None
            and (kept := frozen(study))
            and "architecture" not in declared
        ):
            arm = begun.architecture
            sources = {arm.name: kept[1].get("architecture", {}).get("source")}
            ask_for_trust("relax", study, sources, [arm], None, trust)
        # What is given beside it is told as the difference that it is.
        asked = begun.replace(**declared)
    elif source is not None and source.endswith(".toml"):
        asked = room.load(source, **declared)
    else:
        asked = room.Protocol(**{"data": source or "mnist1d", **declared})
    experiment = room.Study(asked, study, force=allow_large)
    for note in experiment.notes:
        output.say(f"note: {note}")
    if dry_run:
        forecast = experiment.forecast()
        if as_json:
            output.print_json({"protocol": experiment.resolved, "forecast": forecast})
        else:
            _show_forecast(forecast)
        return
    output.say(f"study: {experiment.folder}")
    with output.Progress() as progress:
        experiment.run(workers=workers or workers_for(asked), watch=progress.show)
    page = experiment.folder / "report.html"
    experiment.report(page)
    if as_json:
        output.show_json(experiment.verdict.to_json())
        return
    from archtrial.experiments.relax import page as pages

    console = output.console()
    pages.show(experiment.verdict.document, console)
    console.print(f"page: {page}", soft_wrap=True, markup=False)


def _show_forecast(forecast: "Mapping[str, Mapping[Any, float]]") -> None:
    """Prints how many trainings an experiment has, and what they cost."""
    from archtrial.words import numbers

    for kind, trainings in forecast["trainings"].items():
        flops = numbers.flops(forecast["flops"][kind])
        output.show(f"{kind:8} {trainings:5,.0f} trainings {flops:>12}")

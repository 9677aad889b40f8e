"""archtrial relax."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from archtrial.console import output
from archtrial.console.experiments import asked, carried_out, show_notes
from archtrial.console.options import (
    DATA,
    AsJson,
    Source,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.experiments import relax as room

__all__ = ["relax"]


@declares(
    "archtrial.experiments.relax.protocol:Protocol",
    *("architecture", "form", *DATA, "steps", "relax_times", "seeds"),
    *("learning_rates", "reading", "metric", "margin", "seed", "device"),
)
def relax(
    declared: dict[str, Any],
    source: Source = None,
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
    protocol = asked(
        "relax", room.Protocol, source, study, declared, trust=trust, load=room.load
    )
    experiment = room.Study(protocol, study, force=allow_large)
    show_notes(experiment)
    if dry_run:
        forecast = experiment.forecast()
        if as_json:
            output.print_json({"protocol": experiment.resolved, "forecast": forecast})
        else:
            _show_forecast(forecast)
        return
    page = carried_out(experiment, workers, as_json)
    if page is None:
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

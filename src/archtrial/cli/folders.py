"""Write pages again from records, and say how far a study is."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from archtrial.cli.concluding import priced
from archtrial.console import output
from archtrial.console.options import AsJson, Price
from archtrial.errors import ProtocolError
from archtrial.files import check, write

__all__ = ["report", "status"]


def report(
    study: Annotated[Path, typer.Argument(help="A study's folder.")],
    place: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Where to write it; by default report.html in the folder."
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(help="Write this figure alone, to --output as .svg or .png."),
    ] = None,
    price: Price = None,
    as_json: AsJson = False,
) -> None:
    """Write a study's page again, from its records alone."""
    from archtrial import experiments
    from archtrial.judge import Judgement
    from archtrial.report import drawing

    if place is not None:
        check(place)
    found = experiments.judge(study)
    if isinstance(found, Judgement):
        found = priced(found, price)
    elif price is not None:
        raise ProtocolError("a price is for a trial", f"{price:g} for {study}")
    kept = study / "verdict.json"
    if kept.is_file() and kept.read_bytes() != found.verdict.to_json().encode():
        output.say(
            f"note: {kept} is not what the records of the study give: it was altered,"
            " or another version of archtrial wrote it. The page rests on the records;"
            f" so does archtrial judge {shlex.quote(str(study))} --json."
        )
    if figure is None:
        path = place or study / "report.html"
        write(path, found.page())
    else:
        path = place or study / f"{figure}.svg"
        drawing.save(found.figure(figure), path)
    if as_json:
        output.print_json({"page": str(path)})
    else:
        output.show(path)


def status(
    study: Annotated[Path, typer.Argument(help="A study's folder.")],
    as_json: AsJson = False,
) -> None:
    """How far a study is: what each stage has planned, and what has finished."""
    from archtrial import experiments, progress
    from archtrial.records.store import Store

    kind = experiments.kind_of(study)
    with Store(study, read_only=True) as store:
        stages = progress.stages(store, experiments.rows(kind, store))
        openings, ended = store.openings, store.has_ended
    if as_json:
        output.print_json(
            {
                "kind": kind or "run",
                "stages": [
                    {"stage": s.name, "planned": s.planned, "finished": s.finished}
                    for s in stages
                ],
                "test_set_opened": openings,
            }
        )
        return
    for stage in stages:
        output.show(f"{stage.finished:6,} of {stage.planned:6,}  {stage.name}")
    if not stages:
        output.show("no stage is recorded: none has begun, or an earlier release began")
    if ended:
        output.show("The study has ended. It leaves the test set sealed.")
        return
    times = {0: "not been opened", 1: "been opened"}.get(
        openings, f"been opened at {openings} looks"
    )
    output.show(f"The test set has {times}.")

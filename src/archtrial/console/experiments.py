"""What the commands of all experiments share: what they are asked, and how they end."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from archtrial.console import output
from archtrial.console.beginning import ask_for_trust, workers_for
from archtrial.errors import StudyError

if TYPE_CHECKING:
    from archtrial.protocol import OnData
    from archtrial.workflow import Study

__all__ = ["asked", "carried_out", "conclude", "forecast_or_conclude", "show_notes"]

Declared = TypeVar("Declared", bound="OnData")


def asked(
    kind: str,
    declaration: type[Declared],
    source: str | None,
    study: Path | None,
    declared: Mapping[str, Any],
    *,
    trust: bool,
    load: "Callable[..., Declared]",
    default: str | None = "mnist1d",
    example: str = "mnist1d",
) -> Declared:
    """Returns what is to be carried out: what began in a folder, a file's, or the options'.

    Args:
        kind: Of the experiment, which is its command.
        declaration: Its protocol.
        source: Data or a protocol in TOML; None with a folder: what began there.
        study: The folder, where one is named.
        declared: What options say.
        trust: Whether code that the folder names may run.
        load: Reads a protocol from a file, with changes.
        default: The data where neither `source` nor `declared` names any; None: the
            declaration says what is missing.
        example: What stands behind the command of one that begins.

    Raises:
        StudyError: Nothing began in the folder, or what it names is not trusted.
        ProtocolError: It cannot be carried out.
    """
    if study is None or source is not None:
        if source is not None and source.endswith(".toml"):
            return load(source, **declared)
        return declaration(**{**_on(source or default), **declared})
    from archtrial.freezing import declared_in
    from archtrial.records.store import frozen

    begun = declared_in(study, kind, declaration)
    if begun is None:
        if not declared:
            raise StudyError(
                "--study alone goes on with what began in a folder",
                f"nothing began in {study}",
                f"Name the data to begin there: archtrial {kind} {example} --study"
                f" {shlex.quote(str(study))}",
            )
        return declaration(**{**_on(default), **declared})
    kept = frozen(study)
    sources = dict(_sources(kept[1])) if kept else {}
    arms = [
        arm
        for name, own in begun.arms_by_field().items()
        if name not in declared
        for arm in own
    ]
    ask_for_trust(kind, study, sources, arms, None, trust)
    # What is given beside it is told as the difference that it is.
    return begun.replace(**declared)


def _on(data: str | None) -> dict[str, str]:
    return {} if data is None else {"data": data}


def _sources(described: Any) -> Iterator[tuple[str, str | None]]:
    """Yields the source of every arm that a resolved protocol describes."""
    if isinstance(described, Mapping):
        if "architecture" in described and "name" in described:
            yield described["name"], described.get("source")
        for value in described.values():
            yield from _sources(value)
    elif isinstance(described, list):
        for value in described:
            yield from _sources(value)


def _show_forecast(experiment: "Study[Any, Any]", as_json: bool) -> None:
    """Shows what an experiment would train: by name parameters, trainings and FLOPs.

    Args:
        experiment: One with a `forecast`.
        as_json: Whether it is printed with the resolved protocol, as JSON.
    """
    forecast: Mapping[str, Mapping[str, float]] = experiment.forecast()  # type: ignore[attr-defined]
    if as_json:
        output.print_json({"protocol": experiment.resolved, "forecast": forecast})
        return
    from archtrial.words import numbers

    for name, cost in forecast.items():
        output.show(
            f"{name:24} {cost['parameters']:>11,} parameters"
            f" {cost['trainings']:5,} trainings {numbers.flops(cost['flops']):>13}"
        )


def forecast_or_conclude(
    experiment: "Study[Any, Any]", workers: int | None, dry_run: bool, as_json: bool
) -> None:
    """Shows what an experiment notices, and its forecast; or carries it out.

    Args:
        experiment: One with a `forecast`.
        workers: Processes, where their number is given.
        dry_run: Whether it stops after the forecast.
        as_json: Whether what is found is printed as JSON.
    """
    show_notes(experiment)
    if dry_run:
        _show_forecast(experiment, as_json)
    else:
        conclude(experiment, workers, as_json)


def show_notes(experiment: "Study[Any, Any]") -> None:
    """Shows what an experiment notices before it begins, a line each."""
    for note in experiment.notes:
        output.say(f"note: {note}")


def carried_out(
    experiment: "Study[Any, Any]", workers: int | None, as_json: bool
) -> Path | None:
    """Carries an experiment out and writes its page.

    Returns:
        The page; None where the verdict has been printed as JSON.
    """
    output.say(f"study: {experiment.folder}")
    with output.Progress() as progress:
        experiment.run(
            workers=workers or workers_for(experiment.protocol), watch=progress.show
        )
    page = experiment.report(experiment.folder / "report.html")
    if as_json:
        output.show_json(experiment.verdict.to_json())
        return None
    return page


def conclude(experiment: "Study[Any, Any]", workers: int | None, as_json: bool) -> None:
    """Carries an experiment out, and shows its article and where its page is."""
    page = carried_out(experiment, workers, as_json)
    if page is None:
        return
    from archtrial.report import article

    console = output.console()
    article.show(experiment.judgement.article, console)
    console.print(f"page: {page}", soft_wrap=True, markup=False)

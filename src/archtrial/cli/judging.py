"""Reach a verdict on runs that exist."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from archtrial.cli.concluding import conclude
from archtrial.console import output
from archtrial.console.options import AsJson, Margin
from archtrial.errors import ProtocolError, StudyError
from archtrial.files import check, write

__all__ = ["judge"]

Deterministic = Annotated[
    list[str] | None,
    typer.Option(
        help="The name of an arm whose training uses no randomness: its scores may be"
        " equal over seeds; several are allowed."
    ),
]


def judge(
    source: Annotated[
        list[str],
        typer.Argument(
            help="[NAME=]PATH of a .csv, .jsonl, .json (also .gz) or .parquet, or"
            " [NAME=]STORAGE#STUDY of Optuna's (sqlite:///FILE or a journal), or a"
            " study's folder. With a NAME all its runs are that arm's."
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="The baseline's name.")] = None,
    challenger: Annotated[
        list[str] | None, typer.Option(help="A challenger's name; several are allowed.")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            help="Column of the score that picks the best; as every COLUMN, also a path"
            " such as learning_curve[-1].top_1, or curve[best].acc for the best epoch."
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Column of the test score; none: use none.")
    ] = None,
    test_examples: Annotated[
        str | None,
        typer.Option(help="Column of a list: the score of each test example."),
    ] = None,
    test_size: Annotated[
        int | None,
        typer.Option(help="How many test examples; bounds the test set's own error."),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="Column that tells the arms apart.")
    ] = None,
    seed_column: Annotated[str | None, typer.Option(help="Column of seeds.")] = None,
    configuration: Annotated[
        str | None,
        typer.Option(help="Column equal in all runs of one configuration."),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(help="Column equal where two arms have the same draw."),
    ] = None,
    hyperparameters: Annotated[
        str | None, typer.Option(help="Columns that were tuned: A,B,...; or none.")
    ] = None,
    cost: Annotated[
        str | None, typer.Option(help="Column of a run's cost, in any unit.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(help="Column of a learning curve's step: the last counts."),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Column that tells runs of several rows apart.")
    ] = None,
    repeat_column: Annotated[
        str | None,
        typer.Option(help="Column of an adaptive tuner's whole repeats; or: source."),
    ] = None,
    tuner: Annotated[
        str | None,
        typer.Option(help="random: the runs are independent draws; or adaptive."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=VALUE: only such rows; several are allowed."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="WORD=finished, failed or unfinished: what a status means that is not"
            " understood; several are allowed."
        ),
    ] = None,
    status_column: Annotated[
        str | None, typer.Option(help="Column of how a run ended; none: use none.")
    ] = None,
    failed_score: Annotated[
        str | None,
        typer.Option(help="Scores that failed runs have: 0,9999; none: no others."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="The score's name; by default its column says.")
    ] = None,
    lower_is_better: Annotated[
        bool | None,
        typer.Option(
            "--lower-is-better/--higher-is-better",
            help="By default what the metric's name says.",
        ),
    ] = None,
    percent: Annotated[
        bool, typer.Option("--percent", help="Scores are percentages.")
    ] = False,
    published_baseline: Annotated[
        float | None, typer.Option(help="The baseline's score as it was published.")
    ] = None,
    published_challenger: Annotated[
        list[float] | None,
        typer.Option(help="A challenger's, in the order of the challengers."),
    ] = None,
    margin: Margin = None,
    effort: Annotated[
        int | None, typer.Option(help="k; by default n / 8 rounded down, at least 1.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Intervals hold at 1 - alpha: .05.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the permutations and resamples.")
    ] = None,
    deterministic: Deterministic = None,
    each: Annotated[
        str | None,
        typer.Option(
            help="COLUMN of problems, such as data sets: each is judged by itself, on one"
            " page; {COLUMN} in --baseline stands for the problem."
        ),
    ] = None,
    note: Annotated[
        list[str] | None,
        typer.Option(
            help="A sentence that is to be said with the verdict, such as how the runs"
            " were drawn; several are allowed."
        ),
    ] = None,
    margin_of: Annotated[
        list[str] | None,
        typer.Option(
            help="PROBLEM=MARGIN, with --each: the margin of one whose scores have other"
            " units; several are allowed."
        ),
    ] = None,
    ceiling: Annotated[
        bool,
        typer.Option(
            "--ceiling",
            help="Also ask a model how good each arm can get at all; takes seconds.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Stop after what was understood.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write the page to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Reach a verdict on runs that exist, without training anything.

    archtrial judge runs.csv --baseline A --challenger B --report page.html

    archtrial judge A=a.jsonl B=b.jsonl --validation 'curve[-1].acc' --baseline A
    """
    from archtrial import judge as room

    declared: dict[str, Any] = {
        "margin": margin,
        "effort": effort,
        "alpha": alpha,
        "seed": seed,
        "deterministic": deterministic,
    }
    named: dict[str, Any] = {
        "arm": arm,
        "validation": validation,
        "test": test,
        "test_examples": test_examples,
        "seed": seed_column,
        "configuration": configuration,
        "pair": pair,
        "run": run,
        "step": step,
        "cost": cost,
        "repeat": repeat_column,
        "status": status_column,
        "hyperparameters": None
        if hyperparameters is None
        else tuple(
            name.strip()
            for name in hyperparameters.split(",")
            if name.strip() != "none"
        ),
    }
    reading: dict[str, Any] = {
        "where": where or (),
        "tuner": tuner,
        "metric": metric,
        "lower_is_better": lower_is_better,
        "percent": percent,
        "status": status or (),
        "failed_score": failed_score,
        "notes": note or (),
    }
    folders = [place for place in source if _is_study_folder(place)]
    if report is not None:
        check(report)
    if tuner not in (None, "random", "adaptive"):
        raise ProtocolError("--tuner is random or adaptive", tuner)
    if margin_of and each is None:
        raise ProtocolError(
            "--margin-of is of one of several problems",
            f"--margin-of {margin_of[0]} without --each",
            "Use --margin, or name the column of the problems: --each COLUMN.",
        )
    if each is not None:
        alone: dict[str, Any] = {
            "--published-baseline": published_baseline,
            "--published-challenger": published_challenger,
            "--ceiling": ceiling,
            "--dry-run": dry_run,
            f"the study {(folders or [''])[0]}": folders,
        }
        _judge_each(
            source,
            each,
            {name: given for name, given in alone.items() if given},
            report,
            as_json,
            baseline=baseline,
            challengers=challenger,
            columns=named,
            reading=reading,
            margins=_margins(margin_of or ()),
            test_size=test_size,
            **declared,
        )
        return
    if folders:
        told = {
            **named, **reading, "test_size": test_size, "dry_run": dry_run,
            "published_baseline": published_baseline,
            "published_challenger": published_challenger,
        }  # fmt: skip
        _check_alone(folders[0], source, told)
        judgement = room.judge_study(
            folders[0],
            ceilings=ceiling,
            baseline=baseline,
            challengers=challenger,
            **declared,
        )
        for said in judgement.beforehand:
            output.say(f"note: {said}")
    else:
        from archtrial.records import columns, importers

        imported = importers.read(
            source,
            columns.Wanted(**named),
            baseline=baseline,
            challengers=challenger,
            **reading,
        )
        if dry_run and as_json:
            output.print_json(imported.understood.to_dict())
            return
        _show_understood(imported.understood, to_errors=as_json)
        if dry_run:
            return
        judgement = room.judge_imported(
            imported,
            **declared,
            test_size=test_size,
            ceilings=ceiling,
            published=_published(
                imported.arms, published_baseline, published_challenger
            ),
        )
    if report is not None:
        try:
            write(report, judgement.page())
        except StudyError:
            # What was found is not lost with its page.
            conclude(judgement, None, as_json)
            raise
    conclude(judgement, report, as_json)


def _judge_each(
    source: list[str],
    each: str,
    alone: "dict[str, Any]",
    report: Path | None,
    as_json: bool,
    *,
    columns: "dict[str, Any]",
    reading: "dict[str, Any]",
    **declared: Any,
) -> None:
    """Judges each problem of a table by itself, and shows them together."""
    if alone:
        raise ProtocolError(
            "--each judges every problem of a table, and shows them together",
            f"{next(iter(alone))} is of one comparison",
            f"Judge one problem alone: --where {each}=VALUE in place of --each.",
        )
    from archtrial.judge.each import judge_each
    from archtrial.records.columns import Wanted
    from archtrial.report import article

    found, _ = judge_each(
        source,
        each,
        columns=Wanted(**columns),
        where=reading.pop("where"),
        reading=reading,
        **declared,
    )
    if report is not None:
        write(report, found.page())
    if as_json:
        output.show_json(found.verdict.to_json())
        return
    document = found.verdict.document
    for note in document["notes"]:
        output.say(f"note: {note}")
    for problem in document["problems"]:
        for note in problem["notes"]:
            output.say(f"note: {each}={problem['value']}: {note}")
    console = output.console()
    article.show(found.article, console)
    if report is not None:
        console.print(f"page: {report}", soft_wrap=True, markup=False)


def _margins(written: Sequence[str]) -> "dict[str, float]":
    margins = {}
    for part in written:
        value, equals, number = part.rpartition("=")
        try:
            margins[value] = float(number)
        except ValueError:
            equals = ""
        if not equals or not value:
            raise ProtocolError(
                "--margin-of is PROBLEM=MARGIN", repr(part), "Such as wmt=.2."
            )
    return margins


def _is_study_folder(place: str) -> bool:
    """Says whether a place is a study of ours; another folder holds other runs."""
    marks = ("study.sqlite", "study.sqlite-wal", "protocol.json")
    return any(Path(place, mark).exists() for mark in marks)


def _check_alone(folder: str, sources: list[str], options: "dict[str, Any]") -> None:
    """Refuses what has no meaning for a study of ours, which declared all of it."""
    if len(sources) > 1:
        raise ProtocolError(
            "a study's folder is judged alone", f"{folder} beside others"
        )
    for name, value in options.items():
        if value not in (None, False, ()):
            raise ProtocolError(
                "a study's own records say what its runs are and what its metric says",
                f"{name} was given for {folder}",
                "Leave it out.",
            )


def _published(
    arms: "tuple[str, ...]", baseline: float | None, challengers: list[float] | None
) -> "dict[str, float] | None":
    """Returns the published score of each arm that has one."""
    if baseline is None and not challengers:
        return None
    if baseline is None or not challengers:
        raise ProtocolError(
            "a published gap has two ends",
            "--published-baseline and --published-challenger go together",
        )
    if len(challengers) > len(arms) - 1:
        raise ProtocolError(
            "a published score belongs to a challenger",
            f"{len(challengers)} scores for {', '.join(arms[1:])}",
        )
    return dict(zip(arms, [baseline, *challengers], strict=False))


def _show_understood(understood: Any, *, to_errors: bool) -> None:
    """Prints what was made of somebody's table, before anything rests on it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = output.console(to_errors=to_errors)
    for place, kind, rows in understood.sources:
        console.print(Text(f"{place}: {kind}, {rows:,} rows"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("what", "column", "how"):
        table.add_column(heading, overflow="fold")
    for row in understood.columns:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    headings = ("configurations", "runs", "fresh_seeds", "diverged")
    for heading in headings:
        table.add_column(heading.replace("_", " "), justify="right")
    for arm in understood.arms[:_MOST_ARMS]:
        table.add_row(
            Text(arm["name"]), *(Text(f"{arm[heading]:,}") for heading in headings)
        )
    console.print(table)
    if len(understood.arms) > _MOST_ARMS:
        console.print(Text(f"and {len(understood.arms) - _MOST_ARMS} arms more"))
    for note in understood.notes:
        console.print(Text(f"note: {note}", style="yellow"))


_MOST_ARMS = 20

"""The command line: parse, call, print.

Nothing heavy is imported before a command needs it: `--help` and `judge` never
load torch.
"""

import contextlib
import errno
import functools
import inspect
import io
import json
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archtrial.errors import ProtocolError, StudyError, UserError, printable
from archtrial.files import check, write

if TYPE_CHECKING:
    from rich.console import Console

    from archtrial.experiments.relax import Protocol as Relaxation
    from archtrial.judge import Judgement
    from archtrial.protocol import Arm, Protocol
    from archtrial.space import Value

app = typer.Typer(
    name="archtrial",
    help="Controlled trials for neural network architectures: is it the architecture,"
    " or just the tuning?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output.")
]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show where in the code an error arose.")
]
ProtocolFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="PROTOCOL",
        help="A protocol in TOML; without one, and without --data, the built-in trial:"
        " does convolution matter on MNIST-1D?",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="A built-in data set or a path; alone: linear against mlp."),
]
Target = Annotated[
    str | None, typer.Option(help="The column to predict; by default the last.")
]
Task = Annotated[
    str | None,
    typer.Option(help="classification or regression; by default the target says."),
]
Scale = Annotated[
    bool | None,
    typer.Option(
        "--scale/--no-scale",
        help="Whether inputs are scaled by the training rows; by default all but whole"
        " numbers (token ids) for modules of one's own.",
    ),
]
Channels = Annotated[
    str | None, typer.Option(help="first or last: where arrays have their channels.")
]
Decimal = Annotated[
    str | None, typer.Option(help="point or comma: the decimal sign of a table.")
]
Dates = Annotated[
    str | None, typer.Option(help="day-first or month-first: the dates of a table.")
]
Categorical = Annotated[
    list[str] | None,
    typer.Option(
        help="A table's column whose cells are categories, whatever they look like;"
        " several are allowed."
    ),
]
BaselineArm = Annotated[
    str | None,
    typer.Option(
        "--baseline", help="[NAME=]SPEC: a zoo name or net.py:Net, with (options)."
    ),
]
ChallengerArms = Annotated[
    list[str] | None,
    typer.Option("--challenger", help="[NAME=]SPEC; may be given several times."),
]
Factors = Annotated[
    list[str] | None,
    typer.Option(
        "--factor",
        help="OPTION=LEVEL,LEVEL: an option of the baseline's architecture, or recipe,"
        " in place of challengers; of several, such as residual=false,true and"
        " norm=none,layer, every combination is an arm.",
    ),
]
MatchedBaseline = Annotated[
    bool,
    typer.Option(
        "--matched-baseline",
        help="Also search the baseline at the size of the largest challenger.",
    ),
]
MetricName = Annotated[str | None, typer.Option(help="By default accuracy or r2.")]
Margin = Annotated[
    float | None, typer.Option(help="The smallest gap worth having: .005 is .5 points.")
]
Effort = Annotated[
    int | None, typer.Option(help="Trials before an experimenter picks the best (k).")
]
Configurations = Annotated[
    int | None,
    typer.Option(
        help="Configurations searched in each arm (n >= 4 k). A finished study with"
        " fewer grows."
    ),
]
Sampling = Annotated[
    str | None,
    typer.Option(
        help="How configurations are drawn: sobol (one scrambled Sobol sequence,"
        " balanced where n is 16, 32, 64 or 128) or random (independently)."
    ),
]
ConfirmSeeds = Annotated[
    int | None,
    typer.Option(help="Fresh seeds of the best configurations (r).", min=1),
]
Steps = Annotated[int | None, typer.Option(help="Training steps of every run.")]
Ladder = Annotated[
    str | None,
    typer.Option(
        help="Also retune every arm at longer rungs, such as 1,2,4: would the baseline"
        " get there, trained longer?"
    ),
]
Looks = Annotated[
    str | None,
    typer.Option(
        help="Judge at these numbers of configurations, such as 16,32,64, and stop as"
        " soon as it is settled; error rates are kept."
    ),
]
Probes = Annotated[
    int | None,
    typer.Option(
        help="Trials of each adaptive tuner (TPE, GP) on the baseline, outside all"
        " tests: can it get there at all?"
    ),
]
Price = Annotated[
    float | None, typer.Option(help="Of an hour of the machine, in any currency.")
]
Seed = Annotated[int | None, typer.Option(help="The study's seed.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.")]
Memory = Annotated[
    float | None,
    typer.Option(
        help="GiB that inputs may take in memory, by default 1; larger ones stay in"
        " files, with the same results."
    ),
]
Fleet = Annotated[
    str | None,
    typer.Option(
        help="Whether runs train side by side: auto (where that is faster), always or"
        " never."
    ),
]
OwnCommand = Annotated[
    str | None,
    typer.Option(
        "--command",
        help="Your own training: a command with names in braces, such as"
        " 'python train.py --model {arm} --lr {learning_rate} --seed {seed}', with"
        " --metric; the last line of"
        ' output is {"validation": ..., "test": ...}.',
    ),
]
ValidationRegex = Annotated[
    str | None,
    typer.Option(
        "--validation-regex",
        help="Of a command that prints its scores in words, what finds the validation"
        " score, such as 'val acc: ([0-9.]+)'; the last match counts.",
    ),
]
TestRegex = Annotated[
    str | None,
    typer.Option("--test-regex", help="The same of the test score."),
]
Deterministic = Annotated[
    list[str] | None,
    typer.Option(
        help="The name of an arm whose training uses no randomness: its scores may be"
        " equal over seeds; several are allowed."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the code and the command that a study's folder names, having seen"
        " them.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        _show(f"archtrial {metadata.version('archtrial')}")
        raise typer.Exit


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a function a command, with --traceback besides its own options.

    No command needs it: `_called` looks for it, since an error may arise before any
    command is called.
    """

    @functools.wraps(function)
    def command(*, show_traceback: bool, **options: Any) -> None:
        function(**options)

    own = inspect.signature(function)
    flag = inspect.Parameter(
        "show_traceback",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Traceback,
    )
    parameters = [*own.parameters.values(), flag]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    app.command()(command)
    return function


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    pass


@_command
def run(
    protocol: ProtocolFile = None,
    study: Annotated[
        Path | None,
        typer.Option(help="The study's folder; by default studies/ and a short hash."),
    ] = None,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    scale: Scale = None,
    channels: Channels = None,
    decimal: Decimal = None,
    dates: Dates = None,
    categorical: Categorical = None,
    baseline: BaselineArm = None,
    challenger: ChallengerArms = None,
    factor: Factors = None,
    matched_baseline: MatchedBaseline = False,
    metric: MetricName = None,
    margin: Margin = None,
    effort: Effort = None,
    configurations: Configurations = None,
    sampling: Sampling = None,
    confirm_seeds: ConfirmSeeds = None,
    steps: Steps = None,
    ladder: Ladder = None,
    looks: Looks = None,
    probes: Probes = None,
    deterministic: Deterministic = None,
    price: Price = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time to spend, such as 30m or 2h, in place of --configurations."
        ),
    ] = None,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; the results do not depend on it.", min=1),
    ] = None,
    device: Device = None,
    memory: Memory = None,
    fleet: Fleet = None,
    command: OwnCommand = None,
    validation_regex: ValidationRegex = None,
    test_regex: TestRegex = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Carry out a trial, or go on with one: search, confirm, test, verdict, page."""
    from archtrial import pilot
    from archtrial.study import Study

    options: dict[str, Any] = {
        "data": data,
        "target": target,
        "task": task,
        "scale": scale,
        "channels": channels,
        "decimal": decimal,
        "dates": dates,
        "categorical": categorical,
        "baseline": baseline,
        "challengers": challenger,
        "factors": _factors(factor),
        "matched_baseline": matched_baseline or None,
        "metric": metric,
        "margin": margin,
        "effort": effort,
        "configurations": configurations,
        "sampling": sampling,
        "confirm_seeds": confirm_seeds,
        "steps": steps,
        "ladder": _numbers("ladder", ladder),
        "looks": _numbers("looks", looks),
        "probes": probes,
        "deterministic": deterministic,
        "seed": seed,
        "device": device,
        "memory": memory,
        "fleet": fleet,
    }
    if looks is not None and configurations is None:
        # The last look is at all configurations, whatever a protocol's file says.
        options["configurations"] = options["looks"][-1]
    patterns: dict[str, Any] = {
        name: pattern
        for name, pattern in (
            ("validation_regex", validation_regex),
            ("test_regex", test_regex),
        )
        if pattern is not None
    }
    # A study that goes on may grow.
    besides = {k: v for k, v in options.items() if k != "configurations"}
    given = (protocol, command, validation_regex, test_regex, *besides.values())
    nothing = all(value is None for value in given)
    begun = (
        _goes_on(study, trust, configurations)
        if nothing and study is not None
        else None
    )
    if begun is not None:
        declared, command, patterns = begun
    else:
        declared = _declared(protocol, own=command is not None, **options)
        if study is not None and protocol is None and command is None:
            _same_data(study, declared)
    _check_price(price)
    # Nobody knows what a command takes of the machine: one at a time.
    processes = workers or (_workers(declared) if command is None else 1)
    if budget is not None:
        if command is not None:
            raise ProtocolError(
                "a budget is measured by short trainings of our own",
                "a budget and a command",
                "Declare --configurations instead.",
            )
        if configurations is not None:
            raise ProtocolError(
                "a budget takes the place of a number of configurations", "both given"
            )
        seeds_open = "confirm_seeds" not in declared.model_fields_set
        declared, study = pilot.fit(
            declared, _seconds(budget), study, workers=processes
        )
        _say(
            f"The budget allows {declared.configurations} configurations of each arm, at"
            f" effort {declared.effort} and with {declared.confirm_seeds} fresh"
            f" seeds{_chosen_how(declared, seeds_open)}."
        )
    trial = Study(declared, study, command=command, **patterns)
    for note in trial.notes:
        _say(f"note: {note}")
    _say(f"study: {trial.folder}")
    with _Progress() as progress:
        trial.run(workers=processes, watch=progress.show)
    judgement = _priced(trial.judgement, price)
    page = trial.folder / "report.html"
    write(page, judgement.page())
    _conclude(judgement, page, as_json)


def _chosen_how(declared: "Protocol", seeds_open: bool) -> str:
    """Says why a budget gives a number of configurations and no larger one."""
    if declared.sampling == "random":
        return ""
    if seeds_open:
        return "; of all such pairs that it pays for, this one sees the smallest gain"
    if not declared.unbalanced:
        return "; it pays for no larger power of two, at which draws are balanced"
    return ""


@_command
def plan(
    protocol: ProtocolFile = None,
    data: Data = None,
    target: Target = None,
    task: Task = None,
    scale: Scale = None,
    channels: Channels = None,
    decimal: Decimal = None,
    dates: Dates = None,
    categorical: Categorical = None,
    baseline: BaselineArm = None,
    challenger: ChallengerArms = None,
    factor: Factors = None,
    matched_baseline: MatchedBaseline = False,
    metric: MetricName = None,
    margin: Margin = None,
    effort: Effort = None,
    configurations: Configurations = None,
    sampling: Sampling = None,
    confirm_seeds: ConfirmSeeds = None,
    steps: Steps = None,
    ladder: Ladder = None,
    looks: Looks = None,
    probes: Probes = None,
    seed: Seed = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", min=1)] = None,
    device: Device = None,
    memory: Memory = None,
    fleet: Fleet = None,
    price: Price = None,
    effect: Annotated[
        float | None,
        typer.Option(help="A gain that the trial is to see: .01 is one point."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a trial will cost and the smallest effect that it can see, by its size."""
    from archtrial import pilot

    declared = _declared(
        protocol,
        data=data,
        target=target,
        task=task,
        scale=scale,
        channels=channels,
        decimal=decimal,
        dates=dates,
        categorical=categorical,
        baseline=baseline,
        challengers=challenger,
        factors=_factors(factor),
        matched_baseline=matched_baseline or None,
        metric=metric,
        margin=margin,
        effort=effort,
        configurations=configurations,
        sampling=sampling,
        confirm_seeds=confirm_seeds,
        steps=steps,
        ladder=_numbers("ladder", ladder),
        looks=_numbers("looks", looks),
        probes=probes,
        seed=seed,
        device=device,
        memory=memory,
        fleet=fleet,
    )
    planned = pilot.plan(
        declared,
        workers=workers or _workers(declared),
        price=price,
        effect=effect,
    )
    if as_json:
        _print_json(planned.to_dict())
    else:
        _show(planned)


@_command
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
    }
    folders = [place for place in source if _is_study_folder(place)]
    if report is not None:
        check(report)
    if tuner not in (None, "random", "adaptive"):
        raise ProtocolError("--tuner is random or adaptive", tuner)
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
        for note in judgement.beforehand:
            _say(f"note: {note}")
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
            _print_json(imported.understood.to_dict())
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
            _conclude(judgement, None, as_json)
            raise
    _conclude(judgement, report, as_json)


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

    console = _console(to_errors=to_errors)
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


@_command
def relax(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA|PROTOCOL",
            help="A built-in data set or a path, or a protocol in TOML; by default"
            " mnist1d.",
        ),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="The study's folder; alone: go on with what began there."),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="The CNN: a zoo name or net.py:Net, with (options)."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(help="What it becomes: fcn, or lcn (locally connected)."),
    ] = None,
    target: Target = None,
    task: Task = None,
    scale: Scale = None,
    channels: Channels = None,
    decimal: Decimal = None,
    dates: Dates = None,
    categorical: Categorical = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps after each relax time.")
    ] = None,
    relax_times: Annotated[
        str | None,
        typer.Option(help="How many, spaced in log time, such as 8; or 0,100,1000."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Fresh seeds of all that is compared.")
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option(
            help="What is tried for each network and relax time, such as .03,.1,.3."
        ),
    ] = None,
    reading: Annotated[
        str | None,
        typer.Option(help="Which weights are compared: best (on validation) or last."),
    ] = None,
    metric: MetricName = None,
    margin: Margin = None,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; the results do not depend on it.", min=1),
    ] = None,
    device: Device = None,
    memory: Memory = None,
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
    from archtrial.experiments import relax as room

    options: dict[str, Any] = {
        "architecture": architecture,
        "form": form,
        "target": target,
        "task": task,
        "scale": scale,
        "channels": channels,
        "decimal": decimal,
        "dates": dates,
        "categorical": categorical,
        "steps": steps,
        "relax_times": _relax_times(relax_times),
        "seeds": seeds,
        "learning_rates": _rates(learning_rates),
        "reading": reading,
        "metric": metric,
        "margin": margin,
        "seed": seed,
        "device": device,
        "memory": memory,
    }
    given = {name: value for name, value in options.items() if value is not None}
    begun = None
    if study is not None and source is None:
        begun = room.begun(study)
        if begun is None and not given:
            raise StudyError(
                "--study alone goes on with what began in a folder",
                f"nothing began in {study}",
                "Name the data to begin there: archtrial relax mnist1d --study"
                f" {shlex.quote(str(study))}",
            )
    if begun is not None:
        from archtrial.records.store import frozen

        if study is not None and (kept := frozen(study)) and architecture is None:
            arm = begun.architecture
            sources = {arm.name: kept[1].get("architecture", {}).get("source")}
            _ask_for_trust("relax", study, sources, [arm], None, trust)
        # What is given beside it is told as the difference that it is.
        declared = begun.replace(**given)
    elif source is not None and source.endswith(".toml"):
        declared = room.load(source, **given)
    else:
        declared = room.Protocol(**{"data": source or "mnist1d", **given})
    experiment = room.Study(declared, study, force=allow_large)
    for note in experiment.notes:
        _say(f"note: {note}")
    if dry_run:
        forecast = experiment.forecast()
        if as_json:
            _print_json({"protocol": experiment.resolved, "forecast": forecast})
        else:
            _show_forecast(forecast)
        return
    _say(f"study: {experiment.folder}")
    with _Progress() as progress:
        experiment.run(workers=workers or _workers(declared), watch=progress.show)
    page = experiment.folder / "report.html"
    experiment.report(page)
    if as_json:
        _show_json(experiment.verdict.to_json())
        return
    from archtrial.report import relaxation

    console = _console()
    relaxation.show(experiment.verdict.document, console)
    console.print(f"page: {page}", soft_wrap=True, markup=False)


def _show_forecast(forecast: "Mapping[str, Mapping[Any, float]]") -> None:
    """Prints how many trainings an experiment has, and what they cost."""
    from archtrial.words import numbers

    for kind, trainings in forecast["trainings"].items():
        flops = numbers.flops(forecast["flops"][kind])
        _show(f"{kind:8} {trainings:5,.0f} trainings {flops:>12}")


def _relax_times(text: str | None) -> "int | tuple[int, ...] | None":
    """Reads how many relax times there are, or which."""
    if text is None:
        return None
    times = _numbers("relax-times", text.removesuffix(","))
    # A comma at the end makes one time of what would be a number of times.
    return times[0] if times and "," not in text else times


def _rates(text: str | None) -> tuple[float, ...] | None:
    """Reads learning rates with commas between them."""
    if text is None:
        return None
    try:
        return tuple(float(rate) for rate in text.split(","))
    except ValueError:
        raise ProtocolError(
            "learning rates are numbers with commas between them",
            repr(text),
            "Write --learning-rates .03,.1,.3.",
        ) from None


@_command
def calibrate(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROTOCOL|STUDY",
            help="A protocol in TOML, or a study's folder, whose records then say how"
            " scores vary; without either, what the options say.",
        ),
    ] = None,
    configurations: Configurations = None,
    effort: Effort = None,
    margin: Margin = None,
    spread: Annotated[
        list[float] | None,
        typer.Option(
            help="Standard deviation of scores over configurations: .1. Given twice,"
            " like those below: of the baseline, of the challenger."
        ),
    ] = None,
    seed_spread: Annotated[
        list[float] | None, typer.Option(help="The same over seeds: .01.")
    ] = None,
    diverging: Annotated[
        list[float] | None, typer.Option(help="The share of draws that diverge: 0.")
    ] = None,
    failing_seeds: Annotated[
        list[float] | None,
        typer.Option(help="The share of seeds that end at the constant predictor: 0."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="What a validation score adds, standard deviation: .01."),
    ] = None,
    correlation: Annotated[
        float | None,
        typer.Option(help="Of the arms' scores on shared draws, without noise: .9."),
    ] = None,
    test_size: Annotated[
        int | None,
        typer.Option(help="Test examples; by default test scores are exact."),
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="The arms do not share their draws.")
    ] = False,
    sampling: Sampling = None,
    effect: Annotated[
        list[float] | None,
        typer.Option(
            help="A true gain to simulate; may be given several times. By default"
            " multiples of the margin, until one is claimed in 80 % of studies."
        ),
    ] = None,
    studies: Annotated[
        int, typer.Option(help="Simulated studies of each true gain.", min=1)
    ] = 400,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; the results do not depend on it.", min=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How often a study of this design would be wrong, and what it would see."""
    from archtrial import calibration as room

    setting, notes = room.design(
        source,
        configurations=configurations,
        effort=effort,
        margin=margin,
        spread=spread,
        seed_spread=seed_spread,
        noise=noise,
        diverging=diverging,
        failing_seeds=failing_seeds,
        correlation=correlation,
        test_size=test_size,
        unpaired=unpaired,
        sampling=sampling,
    )
    found = room.calibrate(
        setting,
        effects=effect,
        studies=studies,
        seed=0 if seed is None else seed,
        workers=workers or _cores(),
        notes=notes,
    )
    _say(f"{found.seconds:.0f} seconds")
    if as_json:
        _print_json(found.to_dict())
    else:
        _show(found)


@_command
def report(
    study: Annotated[Path, typer.Argument(help="A study's folder.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Where to write it; by default report.html in the folder."),
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

    if output is not None:
        check(output)
    found = experiments.judge(study)
    if isinstance(found, Judgement):
        found = _priced(found, price)
    elif price is not None:
        raise ProtocolError("a price is for a trial", f"{price:g} for {study}")
    kept = study / "verdict.json"
    if kept.is_file() and kept.read_bytes() != found.verdict.to_json().encode():
        _say(
            f"note: {kept} is not what the records of the study give: it was altered,"
            " or another version of archtrial wrote it. The page rests on the records;"
            f" so does archtrial judge {shlex.quote(str(study))} --json."
        )
    if figure is None:
        path = output or study / "report.html"
        write(path, found.page())
    else:
        path = output or study / f"{figure}.svg"
        drawing.save(found.figure(figure), path)
    if as_json:
        _print_json({"page": str(path)})
    else:
        _show(path)


@_command
def zoo(
    name: Annotated[str | None, typer.Argument(help="One architecture.")] = None,
    as_json: AsJson = False,
) -> None:
    """The architectures that can be arms, with their options and search spaces."""
    from archtrial import zoo as room
    from archtrial.protocol import describe_space
    from archtrial.specs import write_value

    entries = room.entries() if name is None else {name: room.get(name)}
    if as_json:
        _print_json(
            {
                entry.name: {
                    "summary": entry.summary,
                    "options": entry.options,
                    "space": describe_space(entry.space),
                    "kinds": list(entry.kinds),
                }
                for entry in entries.values()
            }
        )
        return
    for entry in entries.values():
        _show(f"{entry.name:8} {entry.summary}")
        if name is not None:
            _show(f"\n{_indented(entry.function.__doc__ or '')}")
            for option, default in entry.options.items():
                shown = f"{option}={write_value(default)}"
                _show(f"option   {shown:18} {entry.values[option]}")
            _show("space    " + json.dumps(describe_space(entry.space)))
            _show("inputs   " + ", ".join(entry.kinds))


@_command
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path(
        "trial.toml"
    ),
    as_json: AsJson = False,
) -> None:
    """Write a commented protocol to start from."""
    from archtrial import protocol as room

    if path.exists():
        raise ProtocolError(
            "init writes a new file", f"{path} exists", "Name another one."
        )
    write(path, room.template())
    if as_json:
        _print_json({"protocol": str(path)})
    else:
        _show(f"{path}\nEdit it, then: archtrial run {shlex.quote(str(path))}")


def _goes_on(
    study: Path, trust: bool, configurations: int | None = None
) -> "tuple[Protocol, str | None, dict[str, Any]] | None":
    """Returns the protocol of a study that has begun in a folder, and its command.

    Args:
        study: The folder.
        trust: Whether what it names may run unasked.
        configurations: Of each arm, where they are to be more than there are.

    Raises:
        StudyError: Its folder names code, or a command, that nobody has trusted; or it
            has as many configurations as its looks say.
    """
    from archtrial import protocol as room
    from archtrial.freezing import check_size, expect
    from archtrial.records.store import frozen

    begun = frozen(study)
    if begun is None:
        return None
    expect(begun[1], None, study)
    declared = begun[2]
    if declared is None or begun[1]["trainer"] not in (
        "archtrial",
        declared.get("command"),
    ):
        raise StudyError(
            "a study whose arms or trainer were given in Python goes on from Python",
            str(study),
            f"What it found is shown by archtrial report {shlex.quote(str(study))}; it"
            " goes on with archtrial.Study(protocol, folder, trainer=...).run().",
        )
    own = declared.pop("command", None)
    patterns: dict[str, Any] = {
        name: declared.pop(name)
        for name in ("validation_regex", "test_regex")
        if name in declared
    }
    # Releases before Sobol sequences did not say how they drew, nor does the hash.
    declared["sampling"] = begun[1].get("sampling", "random")
    if configurations is not None:
        check_size(study, begun[1], configurations)
        declared["configurations"] = configurations
    found = room.Protocol(**declared)
    described = [begun[1].get("baseline"), *(begun[1].get("challengers") or ())]
    sources = {
        arm.get("name"): arm.get("source") for arm in described if isinstance(arm, dict)
    }
    more = "" if configurations is None else f" --configurations {configurations}"
    _ask_for_trust("run", study, sources, found.arms, own, trust, more)
    return found, own, patterns


def _same_data(study: Path, declared: "Protocol") -> None:
    """Raises StudyError where options are laid over a trial that the folder has not."""
    from archtrial.records.store import frozen

    begun = frozen(study)
    held = None if begun is None or begun[2] is None else begun[2].get("data")
    if held is not None and held != declared.data:
        place = shlex.quote(str(study))
        raise StudyError(
            "a study keeps the data that it began with",
            f"{study} is about {held}, and these options about {declared.data}",
            "Give them with the command that it was begun with, or go on by archtrial"
            f" run --study {place} alone; with --configurations N it grows.",
        )


def _ask_for_trust(
    verb: str,
    study: Path,
    sources: Mapping[Any, str | None],
    arms: "Sequence[Arm]",
    command: str | None,
    trust: bool,
    more: str = "",
) -> None:
    """Shows what a folder names and somebody else may have written, before it runs."""
    from archtrial.zoo import trust as trusted

    found = []
    if command is not None:
        found.append(f"the command {command}")
    for arm in arms if command is None else ():
        spec = str(arm.architecture)
        why = trusted.objection(spec, sources.get(arm.name), study)
        if why is not None:
            found.append(f"{arm.name} = {trusted.shown(spec, arm.options)}: {why}")
    if not found:
        return
    if trust:
        for line in found:
            _say(f"trusted: {line}")
        return
    raise StudyError(
        "what a study's folder names runs only when it is trusted",
        "\n  ".join(["", *found]) if found[1:] else found[0],
        f"Look at it; then: archtrial {verb} --study {shlex.quote(str(study))}{more}"
        " --trust",
    )


def _declared(path: Path | None, *, own: bool = False, **options: Any) -> "Protocol":
    """Lays the options of the command line over a protocol file or a default."""
    from archtrial import protocol as room

    given = {name: value for name, value in options.items() if value is not None}
    if path is not None:
        return room.load(path, **given)
    if own:
        given = {"data": "the command's own", **given}
    if "data" not in given and not own:
        builtin = room.builtin()
        if "factors" not in given and given.keys() & {"baseline", "challengers"}:
            # Another question on the same data; the arms' spaces are their own.
            _say_taken(given, "mlp", "cnn")
            given = {"baseline": "mlp", "challengers": ["cnn"], **given}
        return builtin.replace(**given)
    if not own and "factors" in given:
        _say_taken(given, "mlp")
        given = {"baseline": "mlp", **given}
    elif not own:
        _say_taken(given, "linear", "mlp")
        given = {"baseline": "linear", "challengers": ["mlp"], **given}
    return room.Protocol(**given)


def _say_taken(
    given: "Mapping[str, Any]", baseline: str, challenger: str | None = None
) -> None:
    """Says which arm is taken where only what it is compared with was named.

    Factors, which have no challenger, are compared with the baseline.
    """
    opponent = challenger is None or "challengers" in given
    if opponent and "baseline" not in given:
        _say(f"baseline: {baseline}, since none was named (--baseline)")
    if not opponent and "baseline" in given:
        _say(f"challenger: {challenger}, since none was named (--challenger)")


def _factors(given: Sequence[str] | None) -> "dict[str, list[Value]] | None":
    """Reads the factors of the command line."""
    from archtrial.specs import parse_factor

    if not given:
        return None
    read = [parse_factor(text) for text in given]
    names = [name for name, _ in read]
    if len(set(names)) < len(names):
        raise ProtocolError(
            "each factor is given once",
            ", ".join(names),
            "Write all its levels at once: depth=2,3,4.",
        )
    return dict(read)


def _workers(declared: "Protocol | Relaxation") -> int:
    """As many trainings at once as there are cores for; one on a GPU."""
    if declared.device != "cpu":
        return 1
    return max(1, _cores() // declared.threads)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    """Reads whole numbers with commas between them, such as 16,32,64."""
    if text is None:
        return None
    examples = {"ladder": "1,2,4", "relax-times": "8 or 0,100,1000"}
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ProtocolError(
            f"{name} are whole numbers with commas between them",
            repr(text),
            f"Write --{name} {examples.get(name, '16,32,64')}.",
        ) from None


def _check_price(price: float | None) -> None:
    if price is not None and not 0 < price < float("inf"):
        raise ProtocolError("a price an hour is more than 0", f"{price:g}")


def _priced(judgement: "Judgement", price: float | None) -> "Judgement":
    """Returns a judgement whose page and table also speak of money."""
    import dataclasses

    _check_price(price)
    evidence = dataclasses.replace(judgement.evidence, price_per_hour=price)
    return dataclasses.replace(judgement, evidence=evidence)


def _seconds(budget: str) -> float:
    """Reads 90s, 30m, 2h or 1d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = budget[:-1], budget[-1:]
    try:
        seconds = float(number) * units[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ProtocolError(
            "a budget is a time such as 90s, 30m, 2h or 1d", repr(budget)
        )
    return seconds


def _conclude(judgement: "Judgement", page: Path | None, as_json: bool) -> None:
    """Prints the verdict: the sentence, a table of arms, the page, what is next."""
    if as_json:
        _show_json(judgement.verdict.to_json())
        return
    from archtrial.report import terminal

    console = _console()
    terminal.show(judgement.evidence, console)
    if page is not None:
        console.print(f"page: {page}", soft_wrap=True, markup=False)


class _Progress:
    """Shows a study's standing on a terminal; elsewhere nothing."""

    def __enter__(self) -> "_Progress":
        from rich.live import Live

        console = _console(to_errors=True)
        self._live = (
            Live(console=console, transient=True) if console.is_terminal else None
        )
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, standing: Any) -> None:
        """Shows a `progress.Standing`."""
        if self._live is not None:
            from archtrial.report import terminal

            self._live.update(_Plain(terminal.standing(standing)))


# All that is printed goes through these. What others wrote, such as the name of an arm
# or of a column, does not command the terminal.


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _show(value: Any) -> None:
    print(printable(str(value)))


def _print_json(value: Any) -> None:
    _show_json(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _show_json(text: str) -> None:
    """Prints a JSON document: what a terminal or its encoding cannot have is escaped."""
    encoding = sys.stdout.encoding or "ascii"

    def escaped(character: str) -> str:
        if character in "\n\t\r" or (
            printable(character) == character
            and character.encode(encoding, "ignore").decode(encoding) == character
        ):
            return character
        units = character.encode("utf-16-be", "surrogatepass")
        pairs = (units[i : i + 2].hex() for i in range(0, len(units), 2))
        return "".join(f"\\u{unit}" for unit in pairs)

    # Beyond ASCII, and so only within strings.
    sys.stdout.write(
        text if text.isascii() and "\x7f" not in text else "".join(map(escaped, text))
    )


class _Plain:
    """Something that rich renders, without characters that command the terminal."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: "Console", options: Any) -> Iterator[Any]:
        from rich.segment import Segment

        for segment in console.render(self.inner, options):
            yield (
                segment
                if segment.control
                else Segment(printable(segment.text), segment.style)
            )


class _PlainHook:
    """Makes all plain that a console prints."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Plain(one) for one in renderables]


def _console(*, to_errors: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=to_errors, highlight=False)
    if console.width < 20:  # as where COLUMNS is 0: nothing would be printed
        console = Console(stderr=to_errors, highlight=False, width=80)
    console.push_render_hook(_PlainHook())  # type: ignore[arg-type]
    return console


def _indented(text: str) -> str:
    import inspect

    return inspect.cleandoc(text)


# typer carries a copy of click in some versions and imports it in others.
_UsageError: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def main() -> None:
    """Runs the command line and turns what went wrong into an exit status.

    0: done, whatever the verdict. 1: our fault. 2: the user's input is wrong, or what
    was found cannot be written. 130: interrupted; 143 and 129: told to end, by SIGTERM
    and by a terminal that was closed. 141: whoever read the output has left.
    """
    _prepare_streams()
    arguments = sys.argv[1:]
    told: list[int] = []
    with _signals(told):
        try:
            status = _called(arguments)
        except _ClosedPipeError:
            status = 128 + 13
        except BaseException:
            if not told:
                raise
            status = 128 + told[0]
        # typer makes a status of an interruption where it is the first to know.
        if told or status == _INTERRUPTED:
            for number in told:
                signal.signal(number, signal.SIG_IGN)
            status = 128 + told[0] if told else _INTERRUPTED
            name = "Interrupted"
            if status != _INTERRUPTED:
                name = f"Ended by {signal.Signals(told[0]).name}"
            again = shlex.join(["archtrial", *arguments])
            # The terminal itself may be what is gone.
            with contextlib.suppress(OSError):
                _say(f"\n{name}. To go on: {again}")
    sys.exit(_flushed(status))


_INTERRUPTED = 130
_NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class _EndedError(BaseException):
    """The process was told to end."""


class _ClosedPipeError(BaseException):
    """Nobody reads the output any more."""


def _called(arguments: list[str]) -> int:
    """Calls a command; returns the exit status."""
    try:
        return app(arguments, standalone_mode=False) or 0
    except _UsageError as error:
        said = io.StringIO()
        error.show(file=said)
        _say(said.getvalue().rstrip("\n"))
    except UserError as error:
        if "--traceback" in arguments:
            _say(traceback.format_exc())
        _say(f"archtrial: {error}")
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError as error:
        raise _ClosedPipeError from error
    except OSError as error:
        if error.errno in _NO_NAME and error.filename is not None:
            name = printable(str(error.filename)[:60])
            _say(f"archtrial: a file can have the name: {name}...: {error.strerror}")
            return 2
        # A file would have a name.
        if error.filename is not None or error.errno not in _NO_ROOM:
            raise
        _say(f"archtrial: the output can be written: {error.strerror}")
    except SystemExit as error:
        # typer's and rich's answer to a closed pipe.
        if isinstance(error.__context__, BrokenPipeError):
            raise _ClosedPipeError from error
        raise
    return 2


@contextlib.contextmanager
def _signals(told: list[int]) -> Iterator[None]:
    """Lets whatever is under way be left in order when the process is told to end.

    Args:
        told: Gets the numbers of the signals that came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: Any) -> None:
        told.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else _EndedError

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        # nohup and a shell's background have some ignored; that stays.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        if not told:
            for number, handler in before.items():
                signal.signal(number, handler)


def _prepare_streams() -> None:
    """Makes sure that there is something to print to, whatever it can encode."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened, such as a store, would be taken for
            # it. The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flushed(status: int) -> int:
    """Prints what is not printed yet; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python would try again at its very end, and complain.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                status = status or 128 + 13
            elif not status:
                with contextlib.suppress(OSError):
                    _say(f"archtrial: the output can be written: {error.strerror}")
                status = 2
    return status


if __name__ == "__main__":
    main()

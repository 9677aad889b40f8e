"""Carry out a trial, or say what it will cost."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archtrial.cli.concluding import check_price, conclude, priced
from archtrial.console import output
from archtrial.console.beginning import ask_for_trust, workers_for
from archtrial.console.options import (
    DATA,
    AsJson,
    Price,
    StudyFolder,
    Trust,
    Workers,
    declares,
)
from archtrial.errors import ProtocolError, StudyError
from archtrial.files import write

if TYPE_CHECKING:
    from archtrial.protocol import Protocol

__all__ = ["plan", "run"]

_ASKED = (
    *("data", *DATA, "labels", "unlabelled"),
    *("baseline", "challengers", "factors", "matched_baseline"),
    *("metric", "margin", "effort", "configurations", "sampling", "confirm_seeds"),
    *(
        "steps",
        "epochs",
        "ladder",
        "looks",
        "probes",
        "deterministic",
        "seed",
        "device",
        "fleet",
    ),
    "recipe.loss",
)

# What may be said anew of a study that goes on: none of it is asked by the protocol.
_HOW = ("fleet", "memory", "device")

ProtocolFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="PROTOCOL",
        help="A protocol in TOML, or the name of a built-in data set; without either,"
        " and without --data, the built-in trial: does convolution matter on MNIST-1D?",
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


@declares("archtrial.protocol:Protocol", *_ASKED)
def run(
    declared: dict[str, Any],
    protocol: ProtocolFile = None,
    study: StudyFolder = None,
    price: Price = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Time to spend, such as 30m or 2h, in place of --configurations."
        ),
    ] = None,
    workers: Workers = None,
    command: OwnCommand = None,
    validation_regex: ValidationRegex = None,
    test_regex: TestRegex = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Carry out a trial, or go on with one: search, confirm, test, verdict, page."""
    from archtrial import pilot
    from archtrial.study import Study

    protocol = _file(protocol, declared)
    configurations = declared.get("configurations")
    if "looks" in declared:
        # The last look is at all configurations, whatever a protocol's file says.
        declared.setdefault("configurations", declared["looks"][-1])
    patterns: dict[str, Any] = {
        name: pattern
        for name, pattern in (
            ("validation_regex", validation_regex),
            ("test_regex", test_regex),
        )
        if pattern is not None
    }
    # A study that goes on may grow.
    nothing = (
        protocol is None
        and command is None
        and not patterns
        and not declared.keys() - {"configurations", *_HOW}
    )
    begun = (
        _goes_on(
            study,
            trust,
            configurations,
            {name: declared[name] for name in _HOW if name in declared},
        )
        if nothing and study is not None
        else None
    )
    if begun is None and nothing and study is not None:
        place = shlex.quote(str(study))
        raise StudyError(
            "--study alone goes on with what began in a folder",
            f"nothing began in {study}",
            "Name what is to begin there: --data and --challenger, or for the built-in"
            f" trial archtrial run --baseline mlp --challenger cnn --study {place}",
        )
    if begun is not None:
        asked, command, patterns = begun
    else:
        asked = _declared(protocol, declared, own=command is not None)
        if study is not None and protocol is None and command is None:
            _same_data(study, asked)
    check_price(price)
    # Nobody knows what a command takes of the machine: one at a time.
    processes = workers or (workers_for(asked) if command is None else 1)
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
        seeds_open = "confirm_seeds" not in asked.model_fields_set
        asked, study = pilot.fit(asked, _seconds(budget), study, workers=processes)
        output.say(
            f"The budget allows {asked.configurations} configurations of each arm, at"
            f" effort {asked.effort} and with {asked.confirm_seeds} fresh"
            f" seeds{_chosen_how(asked, seeds_open)}."
        )
    trial = Study(asked, study, command=command, **patterns)
    for note in trial.notes:
        output.say(f"note: {note}")
    output.say(f"study: {trial.folder}")
    with output.Progress() as progress:
        trial.run(workers=processes, watch=progress.show)
    judgement = priced(trial.judgement, price)
    page = trial.folder / "report.html"
    write(page, judgement.page())
    conclude(judgement, page, as_json)


def _chosen_how(asked: "Protocol", seeds_open: bool) -> str:
    """Says why a budget gives a number of configurations and no larger one."""
    if asked.sampling == "random":
        return ""
    if seeds_open:
        return "; of all such pairs that it pays for, this one sees the smallest gain"
    if not asked.unbalanced:
        return "; it pays for no larger power of two, at which draws are balanced"
    return ""


@declares("archtrial.protocol:Protocol", *_ASKED)
def plan(
    declared: dict[str, Any],
    protocol: ProtocolFile = None,
    workers: Workers = None,
    price: Price = None,
    effect: Annotated[
        float | None,
        typer.Option(help="A gain that the trial is to see: .01 is one point."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a trial will cost and the smallest effect that it can see, by its size."""
    from archtrial import pilot

    asked = _declared(_file(protocol, declared), declared)
    planned = pilot.plan(
        asked, workers=workers or workers_for(asked), price=price, effect=effect
    )
    if as_json:
        output.print_json(planned.to_dict())
    else:
        output.show(planned)


def _goes_on(
    study: Path,
    trust: bool,
    configurations: int | None = None,
    how: Mapping[str, Any] = MappingProxyType({}),
) -> "tuple[Protocol, str | None, dict[str, Any]] | None":
    """Returns the protocol of a study that has begun in a folder, and its command.

    Args:
        study: The folder.
        trust: Whether what it names may run unasked.
        configurations: Of each arm, where they are to be more than there are.
        how: What is said of how it is carried out, in place of what was said then.

    Raises:
        StudyError: Its folder names code, or a command, that nobody has trusted; or it
            has as many configurations as its looks say.
    """
    from archtrial import protocol as declaring
    from archtrial.freezing import as_begun, check_size, expect
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
    if configurations is not None:
        check_size(study, begun[1], configurations)
        declared["configurations"] = configurations
    found = as_begun(declaring.Protocol(**{**declared, **how}), begun[1])
    described = [begun[1].get("baseline"), *(begun[1].get("challengers") or ())]
    sources = {
        arm.get("name"): arm.get("source") for arm in described if isinstance(arm, dict)
    }
    more = "" if configurations is None else f" --configurations {configurations}"
    more += "".join(f" --{name} {shlex.quote(str(said))}" for name, said in how.items())
    # What is declared is what would run: what the folder says of it may be anything.
    of_losses = {
        arm.get("name"): arm.get("loss_source")
        for arm in described
        if isinstance(arm, dict)
    }
    losses = [(found.recipe.loss, begun[1].get("loss_source"))]
    losses += [
        (arm.recipe.get("loss"), of_losses.get(arm.name))
        for arm in found.arms
        if isinstance(arm.recipe, Mapping)
    ]
    ask_for_trust("run", study, sources, found.arms, own, trust, more, losses)
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


def _file(path: Path | None, declared: dict[str, Any]) -> Path | None:
    """Returns the protocol's file; None where its name is that of built-in data.

    Such a name is then declared as the data.
    """
    if path is None or "data" in declared or path.exists():
        return path
    from archtrial.data.sources import BUILTIN

    if str(path) not in BUILTIN:
        return path
    declared["data"] = str(path)
    return None


def _declared(
    path: Path | None, options: Mapping[str, Any], *, own: bool = False
) -> "Protocol":
    """Lays the options of the command line over a protocol file or a default."""
    given = dict(options)
    loss = given.pop("recipe.loss", None)
    declared = _but_for_loss(path, given, own)
    if loss is None:
        return declared
    # Only it is said of the recipe: all else stays as it was declared.
    told = declared.recipe.model_dump(include=declared.recipe.model_fields_set)
    return declared.replace(recipe={**told, "loss": loss})


def _but_for_loss(path: Path | None, given: dict[str, Any], own: bool) -> "Protocol":
    from archtrial import protocol as declaring

    if path is not None:
        return declaring.load(path, **given)
    if "architecture" in given.get("factors", {}):
        given = {"baseline": given["factors"]["architecture"][0], **given}
    if own:
        given = {"data": "the command's own", **given}
    if "data" not in given and not own:
        builtin = declaring.builtin()
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
    return declaring.Protocol(**given)


def _say_taken(
    given: "Mapping[str, Any]", baseline: str, challenger: str | None = None
) -> None:
    """Says which arm is taken where only what it is compared with was named.

    Factors, which have no challenger, are compared with the baseline.
    """
    opponent = challenger is None or "challengers" in given
    if opponent and "baseline" not in given:
        output.say(f"baseline: {baseline}, since none was named (--baseline)")
    if not opponent and "baseline" in given:
        output.say(f"challenger: {challenger}, since none was named (--challenger)")


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

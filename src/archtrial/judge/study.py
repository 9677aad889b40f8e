"""A study of ours, judged from its store alone, as it was declared or otherwise."""

import dataclasses
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from archtrial import metrics, searches
from archtrial.errors import RecordsError, StudyError
from archtrial.freezing import expect
from archtrial.judge.comparing import metric_of
from archtrial.judge.document import Judgement, assess
from archtrial.records.store import GREW, OPENED, Store
from archtrial.records.table import Run

__all__ = ["judge_study", "known_arm"]


def judge_study(
    folder: str | Path, *, ceilings: bool = False, **changes: Any
) -> Judgement:
    """Judges a study of ours from its store alone.

    Args:
        folder: The study's folder.
        ceilings: Whether a model is asked how good each arm can get at all; that
            takes seconds, and the extra `archtrial[ceiling]`.
        **changes: Any of `margin`, `effort`, `alpha`, `seed`, `baseline`,
            `challengers` and `deterministic` (names) that are to differ from what was
            declared. The verdict is then exploratory, and says so.

    Raises:
        RecordsError: There is no store, it is damaged, or its test set is sealed
            still: the study has not come to its end.
    """
    with Store(folder, read_only=True) as store:
        declared = store.protocols()
        events = store.events()
        opened = [json.loads(detail) for _, name, detail in events if name == OPENED]
        unfinished = RecordsError(
            "a study is judged when all its runs are done",
            f"the test set of {store.folder} is still sealed",
            "Give archtrial run with the same protocol again: it goes on where it"
            " stopped.",
        )
        if declared:
            expect(declared[0][1], None, folder)
        if not declared or not opened:
            raise unfinished
        # One that grows is what it was until its test set is opened again.
        _, resolved, given = declared[: len(opened)][-1]
        runs = store.runs()
        beforehand = [] if store.checked else [UNCHECKED]
    if len(declared) > len(opened):
        runs = [run for run in runs if run.look <= len(opened)]
        beforehand.append(_growing(store.folder, resolved, declared[-1][1]))
    if not searches.tested(runs):
        raise unfinished
    changed, exploratory = _changed(resolved, changes)
    metrics.check_margin(changes.get("margin"), bool(metric_of(resolved).bounded))
    judgement = assess(
        runs,
        protocol=changed,
        constant=opened[0]["constant"],
        environment=_environment(runs, events),
        ceilings=ceilings,
        exploratory=exploratory,
    )
    looked = judgement.verdict.to_dict()["study"].get("looks")
    if looked and "go on" in looked[-1].get("decisions", {}).values():
        # What was changed may have ended later; what was declared has not ended yet.
        as_declared = all(value is None for value in changes.values())
        if as_declared and looked[-1]["configurations"] < resolved["configurations"]:
            raise unfinished
    evidence = judgement.evidence
    said = _exploratory(Path(folder), events, resolved, changed)
    return dataclasses.replace(
        judgement,
        beforehand=tuple(beforehand),
        evidence=dataclasses.replace(
            evidence,
            notes=[*evidence.notes, *beforehand],
            exploratory=[*evidence.exploratory, *said],
            going_on=_going_on(Path(folder), resolved, given),
        ),
    )


def _going_on(
    folder: Path, resolved: Mapping[str, Any], given: Mapping[str, Any] | None
) -> str:
    """Returns the command that goes on with a study; "" where its parts are Python's."""
    own = None if given is None else given.get("command")
    if given is None or resolved.get("trainer") not in ("archtrial", own):
        return ""
    # Its own command was run here before, and would be asked about again.
    trust = "" if own is None else " --trust"
    return f"archtrial run --study {shlex.quote(str(folder))}{trust}"


UNCHECKED = (
    "This study was recorded by a version without checksums (archtrial 0.2 or older):"
    " whether a score was altered since then cannot be told."
)


def _growing(folder: Path, resolved: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    return (
        f"This study grows from {resolved['configurations']} to"
        f" {more['configurations']} configurations and has not come to its end: this is"
        f" what it found before. To go on: archtrial run --study"
        f" {shlex.quote(str(folder))}, or the command that it was begun with, with"
        f" --configurations {more['configurations']}."
    )


EXPLORED = "judged with other settings"
"""The event of a study that was judged as it was not declared."""


def _exploratory(
    folder: Path,
    events: Sequence[tuple[float, str, str]],
    resolved: Mapping[str, Any],
    changed: Mapping[str, Any],
) -> list[str]:
    """Records that a study was judged with other settings; says how often it was.

    Nothing of it enters a verdict's document: what was declared keeps its bytes.
    """
    times = sum(name == EXPLORED for _, name, _ in events)
    other = {
        name: value for name, value in changed.items() if value != resolved.get(name)
    }
    said = []
    if other:
        times += 1
        try:
            with Store(folder) as store:
                store.note(EXPLORED, json.dumps(other))
        except StudyError as error:
            said.append(f"Exploratory, and not recorded in the study: {error}")
    if times:
        often = "once" if times == 1 else f"{times:,} times"
        said.append(
            f"Exploratory judgements: since its test set was opened, this study was"
            f" judged {often} with other settings than declared."
        )
    return said


def _changed(
    resolved: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[Mapping[str, Any], list[str]]:
    """Lays changes over a resolved protocol; returns it with a sentence that says so."""
    arms = {
        arm["name"]: arm for arm in (resolved["baseline"], *resolved["challengers"])
    }

    def arm(name: str) -> Any:
        return arms[known_arm(name, list(arms), "the study")]

    changed = dict(resolved)
    for name, value in changes.items():
        if value is None:
            continue
        if name == "baseline":
            changed["baseline"] = arm(value)
        elif name == "challengers":
            changed["challengers"] = [arm(challenger) for challenger in value]
        elif name == "deterministic":
            changed[name] = [known_arm(each, list(arms), "the study") for each in value]
        elif name in ("margin", "effort", "alpha", "seed"):
            changed[name] = value
        else:
            raise TypeError(f"judge_study has no argument {name!r}")
    if "baseline" in changes and changes.get("challengers") is None:
        first = changed["baseline"]["name"]
        changed["challengers"] = [a for name, a in arms.items() if name != first]
    names = [a["name"] for a in (changed["baseline"], *changed["challengers"])]
    _check_apart(names, "the study")
    different = [name for name in changed if changed[name] != resolved.get(name)]
    if not different:
        return changed, []
    said = f"Exploratory: {' and '.join(different)} differ from what was declared."
    return changed, [said]


def _check_apart(names: Sequence[str], place: str) -> None:
    if len(set(names)) < len(names):
        raise RecordsError(
            f"no arm of {place} is compared with itself",
            f"{max(names, key=names.count)!r} is named twice",
        )


def known_arm(name: str, names: Sequence[str], place: str) -> str:
    """Returns the name; RecordsError where no arm of that place has it."""
    if name in names:
        return name
    near = get_close_matches(name, names, 1)
    raise RecordsError(
        f"{place} has no arm {name!r}",
        f"it has {', '.join(names)}",
        f"Did you mean {near[0]!r}?" if near else "",
    )


def _environment(
    runs: Sequence[Run], events: Sequence[tuple[float, str, str]]
) -> dict[str, str]:
    """Returns versions and hardware, and how long the trainings took."""
    described: dict[str, str] = {}
    for when, name, detail in events:
        if name == "began":
            described.update(json.loads(detail))
        elif name == GREW:
            grew = json.loads(detail)
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))
            described[f"grew to {grew['to']} configurations"] = day
        elif name == "went on elsewhere":
            described["went on with"] = ", ".join(
                f"{key} {value}" for key, value in json.loads(detail).items()
            )
    described["seconds of training"] = f"{sum(run.seconds for run in runs):,.0f}"
    return described

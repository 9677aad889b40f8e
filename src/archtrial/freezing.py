"""A study's folder keeps the protocol that it began with.

The first time a resolved protocol is frozen into the store; whenever the study goes
on, it is held to what was frozen. One thing may change when a trial has come to its end:
it may grow, that is, get more configurations. The protocol then in force is frozen beside
the one before, with a word on what was looked at already ("grown").
"""

import dataclasses
import json
import os
import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from archtrial import protocol
from archtrial.errors import RecordsError, StudyError
from archtrial.files import tidy, write
from archtrial.records.store import Store, frozen

__all__ = [
    "STUDIES",
    "Begun",
    "alike",
    "as_begun",
    "begun",
    "begun_with_other_defaults",
    "check_size",
    "declared_in",
    "expect",
    "extended",
    "folder_of",
    "freeze",
    "looks_of",
    "same_sources",
    "standing",
    "to_go_on_from",
]

Declared = TypeVar("Declared", bound=protocol.OnData)


def as_begun(declared: protocol.Protocol, held: Mapping[str, Any]) -> protocol.Protocol:
    """Returns a protocol that goes on as the study that was begun.

    A frozen protocol without a word on its draws has independent ones, and one without
    a word on what decays has all parameters decay.

    Args:
        declared: What it says itself stays as it is.
        held: The protocol that the study's folder holds, resolved.
    """
    if held.get("experiment"):
        return declared
    changes: dict[str, Any] = {}
    if "sampling" not in declared.model_fields_set:
        changes["sampling"] = held.get("sampling", "random")
    ours = held.get("trainer") == "archtrial"  # others have no recipe
    if ours and "weight_decay_on" not in declared.recipe.model_fields_set:
        decaying = held.get("recipe", {}).get("weight_decay_on", "all")
        changes["recipe"] = declared.recipe.model_copy(
            update={"weight_decay_on": decaying}
        )
    return declared.replace(**changes) if changes else declared


STUDIES = Path("studies")
"""Where studies lie whose folder nobody named."""


def folder_of(resolved: Mapping[str, Any]) -> Path:
    """Returns the folder of a study that nobody named: its protocol's short hash.

    A study that began there under the hash of an earlier release goes on there.
    """
    own = STUDIES / protocol.digest(resolved)[:8]
    before = STUDIES / protocol.digest_before(resolved)[:8]
    return before if before.exists() and not own.exists() else own


def begun_with_other_defaults(
    declared: protocol.Protocol, resolved: Mapping[str, Any]
) -> Path | None:
    """Returns the folder of the same trial under the defaults of an earlier release.

    Args:
        declared: What it says itself was no default.
        resolved: Its resolved protocol.
    """
    plain = dict(resolved)
    if "sampling" not in declared.model_fields_set:
        plain.pop("sampling", None)
    if "recipe" in plain and "weight_decay_on" not in declared.recipe.model_fields_set:
        plain["recipe"] = _all_decays(plain["recipe"])
        for name in ("baseline", "matched"):
            if "recipe" in plain.get(name, {}):
                own = _all_decays(plain[name]["recipe"])
                plain[name] = {**plain[name], "recipe": own}
        plain["challengers"] = [
            {**arm, "recipe": _all_decays(arm["recipe"])} if "recipe" in arm else arm
            for arm in plain["challengers"]
        ]
    before = folder_of(plain)
    return before if before.exists() and before != folder_of(resolved) else None


def _all_decays(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe as it was described when everything decayed."""
    return {name: told for name, told in recipe.items() if name != "weight_decay_on"}


def looks_of(resolved: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the configurations of each arm at each look at a trial.

    Args:
        resolved: Its protocol, with the looks that were declared, or with those that
            were made before it grew, or with neither.
    """
    n = int(resolved["configurations"])
    declared: list[int] | None = resolved.get("looks")
    return tuple(declared or [*resolved.get("grown", ()), n])


@dataclasses.dataclass(frozen=True)
class Begun:
    """The study that a folder holds."""

    folder: Path
    resolved: Mapping[str, Any]
    """The protocol in force."""
    opened: bool
    """Whether its test set was opened."""
    finished: bool
    """Whether it was opened for all that this protocol trains, or the study ended without."""


def begun(folder: str | Path) -> Begun | None:
    """Returns what a folder holds, None where no study has begun.

    Raises:
        RecordsError: There is a store, but it cannot be read.
    """
    if frozen(folder) is None:
        return None
    with Store(folder, read_only=True) as store:
        return standing(store)


def standing(store: Store) -> Begun | None:
    """Returns what an open store holds, None where no study has begun."""
    kept = store.protocol()
    if kept is None:
        return None
    resolved = kept[1]
    looks = 1 if resolved.get("experiment") else len(looks_of(resolved))
    times = store.openings
    finished = times >= looks or store.has_ended
    return Begun(store.folder, resolved, times > 0, finished)


def alike(resolved: Mapping[str, Any], studies: Path) -> list[Begun]:
    """Returns those of a folder of studies that are the same but for size and looks.

    Only those whose test set was opened: what they found is known. The text of the
    files that hold the arms may differ (`same_sources`).

    Args:
        resolved: A trial's protocol.
        studies: The folder.
    """
    found = []
    same = _but_for_sources(resolved)
    for file in sorted(studies.glob("*/protocol.json")):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not ours to repair; whoever names it is told
        if isinstance(told, dict) and _but_for_sources(told) == same:
            try:
                there = begun(file.parent)
            except RecordsError:
                continue
            if there is not None and there.opened:
                found.append(there)
    return found


def to_go_on_from(
    resolved: Mapping[str, Any], studies: Sequence[Begun]
) -> Begun | None:
    """Returns the study that a trial goes on from, if there is one.

    That is a finished one that is the same but for fewer configurations, or one that
    has grown to as many, or began to.

    Args:
        resolved: The trial's protocol.
        studies: What `alike` found.

    Raises:
        StudyError: Several are such studies.
    """
    found = [there for there in studies if "grown" in extended(resolved, there)]
    if found[1:]:
        places = [str(there.folder) for there in found]
        raise StudyError(
            "a trial that goes on with another number of configurations goes on from"
            " one study",
            f"{' and '.join(places)} are the same but for that number",
            "Name the one that is meant: "
            + ", or ".join(f"--study {shlex.quote(place)}" for place in places)
            + ".",
        )
    return found[0] if found else None


def extended(resolved: Mapping[str, Any], there: Begun | None) -> dict[str, Any]:
    """Returns a protocol as it goes on from what a folder holds.

    Args:
        resolved: What was resolved now.
        there: What the folder holds. Where that is finished and the same but for fewer
            configurations, the study grows; where it grew to as many before, it goes
            on; all else stays as it is, to be refused or not by `freeze`.
    """
    same = there is not None and _but_for_size(resolved) == _but_for_size(
        there.resolved
    )
    if there is None or not same or there.resolved.get("looks"):
        return dict(resolved)
    held, asked = there.resolved["configurations"], resolved["configurations"]
    grown = list(there.resolved.get("grown", ()))
    if asked > held and there.finished:
        grown.append(held)
    elif asked != held:
        return dict(resolved)
    return {**resolved, "grown": grown} if grown else dict(resolved)


def _but_for_size(resolved: Mapping[str, Any]) -> str:
    """Returns a protocol's hash without the number of its configurations.

    Without what follows from that number either: a matched baseline is matched over
    as many draws.
    """
    beside = ("configurations", "grown", "matched")
    return protocol.digest({k: v for k, v in resolved.items() if k not in beside})


def freeze(
    store: Store,
    resolved: Mapping[str, Any],
    declared: Mapping[str, Any] | None,
    *,
    device: str,
    threads: int,
    fleet: str = "auto",
    found: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Begins a study in its folder, or makes sure that it is the one that began there.

    A trial that `extended` says grows does so here.

    Args:
        store: The folder's store, open for writing.
        resolved: All that the results depend on, as JSON; its hash names the study.
        declared: What is needed to go on from the folder alone, as JSON; None where
            JSON cannot hold it.
        device: Where it is trained.
        threads: Of each training.
        fleet: Whether runs share fleets, as a protocol says it.
        found: Returns what is recorded, when the study grows, of what it had found.

    Raises:
        StudyError: The folder holds another study.
    """
    tidy(store.folder)
    hash_ = protocol.digest(resolved)
    there, here = standing(store), _environment(store, device, threads)
    here |= {"fleets": fleet, _ALONE: _alone(resolved)}
    here = {name: value for name, value in here.items() if _UNSAID.get(name) != value}
    if there is None:
        store.declare(
            hash_,
            protocol.canonical(resolved),
            json.dumps(declared),
            json.dumps(here),
        )
    else:
        if _grows(there.resolved, resolved):
            detail = {
                "from": there.resolved["configurations"],
                "to": resolved["configurations"],
                **found(),
            }
            store.grow(
                hash_, protocol.canonical(resolved), json.dumps(declared), detail
            )
        elif protocol.digest(there.resolved) != hash_:
            raise _another(there, resolved)
        # The same versions give the same bytes; others may not.
        (began,) = (json.loads(d) for _, name, d in store.events() if name == "began")
        before = {**_UNSAID, _ALONE: _alone(there.resolved), **began}
        changed = {
            name: value
            for name, value in {**_UNSAID, **here}.items()
            if name != "began" and before.get(name) != value
        }
        if changed:
            store.note("went on elsewhere", json.dumps(changed))
    # One that grew has an older protocol there until this is written.
    if "grown" in resolved or not (store.folder / "protocol.json").exists():
        text = json.dumps(resolved, indent=2, ensure_ascii=False)
        write(store.folder / "protocol.json", text + "\n")


def _grows(held: Mapping[str, Any], resolved: Mapping[str, Any]) -> bool:
    """Says whether a protocol is another one that has grown, as `extended` says."""
    more = {
        "grown": [*held.get("grown", ()), held.get("configurations")],
        "configurations": resolved.get("configurations"),
    }
    return protocol.digest({**held, **more}) == protocol.digest(resolved)


def _another(there: Begun, resolved: Mapping[str, Any]) -> StudyError:
    """Returns what is said of a protocol that a folder's study does not go on with."""
    folder, held = there.folder, there.resolved
    n, asked = (found.get("configurations", 0) for found in (held, resolved))
    trial = "experiment" not in held
    same = trial and _but_for_size(held) == _but_for_size(resolved)
    if same and asked < n and not there.finished:
        return StudyError(
            "a study does not shrink",
            f"that in {folder} goes on to {n} configurations of each arm, and {asked}"
            " are asked for",
            f"Go on with it: --configurations {n}. For a study of {asked}: {_ANEW}.",
        )
    if same and asked < n:
        return StudyError(
            "a study does not shrink: what was seen stays seen",
            f"{folder} holds {n} configurations of each arm, and {asked} are asked for",
            f"To see it as it stands: --configurations {n}, or {_report(folder)}. For a"
            f" study of {asked}: {_ANEW}.",
        )
    if same and asked > n:
        return StudyError(
            "a study grows when it has come to its end",
            f"that of {n} configurations in {folder} has not",
            f"Go on with it: --configurations {n}. Then give this command again.",
        )
    looks, other = (found.get("looks") for found in (held, resolved))
    if trial and looks != other and _but_for_looks(held) == _but_for_looks(resolved):
        if looks is None:
            return StudyError(
                "looks are declared before a study begins",
                f"looks = {other}, and that in {folder} began without any",
                f"Leave them out: --configurations {max(n, asked)} goes on with it. Or"
                f" {_ANEW}.",
            )
        with_looks = f"with looks = {other}" if other else "without looks"
        return _no_growth(folder, looks, f"{asked} configurations {with_looks}")
    # Nobody declares the one, and the other follows from what differs.
    unsaid = {"grown"}
    grows = trial and there.finished and looks is None and asked > n
    if grows:
        unsaid.add("configurations")
    different = [
        f"  {name}: {old} -> {new}"
        for name, old, new in protocol.differences(
            *(
                protocol.asked(_in_full(said) if trial else said)
                for said in (held, resolved)
            )
        )
        if name not in unsaid
    ]
    return StudyError(
        "a study keeps the protocol that it began with"
        + (", but for more configurations" if grows else ""),
        f"{folder} holds another one:\n" + "\n".join(different[:20]),
        "Go back to the old protocol, or name another folder with --study.",
    )


def _in_full(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Says what a trial leaves out where draws are independent and everything decays."""
    recipe = {"weight_decay_on": "all", **resolved.get("recipe", {})}
    return {"sampling": "random", **resolved, "recipe": recipe}


def check_size(folder: Path, held: Mapping[str, Any], configurations: int) -> None:
    """Raises a StudyError where a study with looks is to have more than they say."""
    looks = held.get("looks")
    if looks and configurations != held["configurations"]:
        raise _no_growth(folder, looks, f"{configurations} configurations")


def _no_growth(folder: Path, looks: Sequence[int], asked: str) -> StudyError:
    further = ",".join(map(str, [*looks, 2 * looks[-1]]))
    return StudyError(
        "a study with declared looks keeps them, and does not grow: they share all of"
        " its level",
        f"{folder} has looks = {list(looks)}, and asked for are {asked}",
        f"To see it as it stands: {_report(folder)}. To go further: {_ANEW}, with looks"
        f" that go as far as it may, such as --looks {further}.",
    )


_ANEW = "begin a new study, with another folder after --study and another --seed"


def _report(folder: Path) -> str:
    return f"archtrial report {shlex.quote(str(folder))}"


def _but_for_sources(resolved: Mapping[str, Any]) -> str:
    """Returns a protocol's hash without the texts of the user's files."""
    arms = [resolved.get("baseline"), *(resolved.get("challengers") or ())]
    bare = [
        {k: v for k, v in arm.items() if k not in ("source", "loss_source")}
        if isinstance(arm, dict)
        else arm
        for arm in arms
    ]
    beside = {name: told for name, told in resolved.items() if name != "loss_source"}
    return _but_for_looks({**beside, "baseline": bare[0], "challengers": bare[1:]})


def same_sources(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Says whether two such protocols hold the same texts of the user's files."""
    return _but_for_looks(one) == _but_for_looks(other)


def _but_for_looks(resolved: Mapping[str, Any]) -> str:
    return _but_for_size({k: v for k, v in resolved.items() if k != "looks"})


def expect(
    resolved: Mapping[str, Any], experiment: str | None, folder: str | Path
) -> None:
    """Makes sure that a folder holds the kind of study that somebody asks about.

    Args:
        resolved: The protocol that was frozen in it.
        experiment: Such as "relax"; None for a trial of architectures.
        folder: The study's.

    Raises:
        RecordsError: It holds another kind.
    """
    found = resolved.get("experiment")
    if found == experiment:
        return
    raise RecordsError(
        f"the folder holds a study of archtrial {experiment or 'run'}",
        f"{folder} holds one of archtrial {found or 'run'}",
        "archtrial report writes the page of either.",
    )


def declared_in(
    folder: str | Path, experiment: str, declaration: type[Declared]
) -> Declared | None:
    """Returns what was declared in an experiment's folder; None where nothing began.

    Raises:
        RecordsError: The folder holds another kind of study.
        StudyError: An architecture was given in Python.
    """
    found = frozen(folder)
    if found is None:
        return None
    expect(found[1], experiment, folder)
    if found[2] is None:
        raise StudyError(
            "an experiment whose architecture was given in Python goes on from Python",
            str(folder),
        )
    return declaration(**found[2])


_ALONE = "trained one by one"
# What an environment says by leaving it out, as before there was a choice.
_UNSAID = {"fleets": "auto", _ALONE: ""}


def _alone(resolved: Mapping[str, Any]) -> str:
    """Returns the arms whose runs cannot share fleets on this machine."""
    arms = [resolved.get("baseline"), *(resolved.get("challengers") or ())]
    arms.append(resolved.get("matched"))
    shared = {arm["name"]: arm.get("fleet", True) for arm in arms if arm}
    shared |= resolved.get("fleets", {})
    return ", ".join(sorted(name for name, may in shared.items() if not may))


def _environment(store: Store, device: str, threads: int) -> dict[str, str]:
    """What stands on the page, and nowhere in the verdict, of where runs were made."""
    return {
        **{
            name: metadata.version(name)
            for name in ("archtrial", "torch", "numpy", "scipy")
        },
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "threads of each training": str(threads),
        "device": device,
        "journal of the store": store.journal,
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }

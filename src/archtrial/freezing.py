"""A study's folder keeps the protocol that it began with.

The first time a resolved protocol is frozen into the store; whenever the study goes
on, it is held to what was frozen.
"""

import json
import os
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from archtrial import protocol
from archtrial.errors import RecordsError, StudyError
from archtrial.files import tidy, write
from archtrial.records.store import Store, frozen

__all__ = ["as_begun", "expect", "freeze"]


def as_begun(
    declared: protocol.Protocol, folder: str | Path | None
) -> protocol.Protocol:
    """Returns a protocol that goes on with the draws of the study that was begun.

    A frozen protocol without a word on its draws has independent ones.

    Args:
        declared: Where it says how configurations are drawn, it stays as it is.
        folder: The study's, if it was named; there may be nothing in it.
    """
    if folder is None or "sampling" in declared.model_fields_set:
        return declared
    begun = frozen(folder)
    if begun is None:
        return declared
    return declared.replace(sampling=begun[1].get("sampling", "random"))


def freeze(
    store: Store,
    resolved: Mapping[str, Any],
    declared: Mapping[str, Any] | None,
    *,
    device: str,
    threads: int,
) -> None:
    """Begins a study in its folder, or makes sure that it is the one that began there.

    Args:
        store: The folder's store, open for writing.
        resolved: All that the results depend on, as JSON; its hash names the study.
        declared: What is needed to go on from the folder alone, as JSON; None where
            JSON cannot hold it.
        device: Where it is trained.
        threads: Of each training.

    Raises:
        StudyError: The folder holds another study.
    """
    tidy(store.folder)
    hash_ = protocol.digest(resolved)
    frozen, here = store.protocol(), _environment(store, device, threads)
    if frozen is None:
        store.declare(
            hash_,
            protocol.canonical(resolved),
            json.dumps(declared),
            json.dumps(here),
        )
    elif frozen[0] != hash_:
        different = [
            f"  {name}: {old} -> {new}"
            for name, old, new in protocol.differences(frozen[1], resolved)
        ]
        raise StudyError(
            "a study keeps the protocol that it began with",
            f"{store.folder} holds another one:\n" + "\n".join(different[:20]),
            "Go back to the old protocol, or name another folder with --study.",
        )
    else:
        # The same versions give the same bytes; others may not.
        (began,) = (json.loads(d) for _, name, d in store.events() if name == "began")
        changed = {
            name: value
            for name, value in here.items()
            if name != "began" and began.get(name) != value
        }
        if changed:
            store.note("went on elsewhere", json.dumps(changed))
    if not (store.folder / "protocol.json").exists():
        text = json.dumps(resolved, indent=2, ensure_ascii=False)
        write(store.folder / "protocol.json", text + "\n")


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

"""The field's sharpest experiments on anybody's data, one folder each.

Whoever has a study's folder and wants its verdict or page asks `judge`: which kind of
study it is, and who judges it, stands here and nowhere else. A kind from elsewhere is
an entry point of an installed package, under the name that its resolved protocols have
as "experiment":

    [project.entry-points."archtrial.experiments"]
    my_kind = "my_package:judge"

Nothing that a folder says is imported: it names a kind, and who has installed that kind
trusts it.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from archtrial.errors import RecordsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from archtrial.records.store import Store
    from archtrial.records.table import Run

__all__ = ["GROUP", "JUDGES", "Judge", "Judged", "judge", "kind_of", "rows"]

JUDGES: Mapping[str | None, tuple[str, str]] = {
    None: ("archtrial.judge", "judge_study"),
    "relax": ("archtrial.experiments.relax.verdict", "judge"),
    "mimic": ("archtrial.experiments.mimic.verdict", "judge"),
    "profile": ("archtrial.experiments.profile.verdict", "judge"),
    "mpl": ("archtrial.experiments.mpl.verdict", "judge"),
    "scale": ("archtrial.experiments.scale.verdict", "judge"),
    "choose": ("archtrial.experiments.choose.verdict", "judge"),
}
"""By the "experiment" of a resolved protocol, of which a trial has none: the module and
function that turn a folder into what was found."""

_ROWS: Mapping[str | None, tuple[str, str]] = {
    "relax": ("archtrial.experiments.relax.verdict", "rows_of"),
}
"""Who reads the rows of kinds that earlier releases wrote otherwise."""

GROUP = "archtrial.experiments"
"""The entry points of other packages: a kind, and the function that judges it."""


class _Verdict(Protocol):
    def to_json(self) -> str:
        """Returns the text of verdict.json."""


class Judged(Protocol):
    """What was found, whatever the kind of study."""

    @property
    def verdict(self) -> _Verdict:
        """It prints as its sentence."""

    def page(self) -> str:
        """Returns the page, one self-contained HTML document."""

    def figure(self, name: str) -> "Figure":
        """Draws one figure of the page by its name."""


Judge: TypeAlias = Callable[[Path], Judged]
"""Turns a finished study's folder into what was found."""


def kind_of(folder: str | Path) -> str | None:
    """Returns which experiment a study's folder holds; None for a trial.

    Raises:
        RecordsError: There is no store, or it holds a kind that is not known here.
    """
    from archtrial.records.store import Store

    with Store(folder, read_only=True) as store:
        frozen = store.protocol()
    kind: str | None = None if frozen is None else frozen[1].get("experiment")
    if kind not in JUDGES and kind not in _installed():
        known = sorted({*filter(None, JUDGES), *_installed()})
        raise RecordsError(
            "a study is a trial or an experiment that is known here"
            f" ({', '.join(known)})",
            f"{folder} holds one of archtrial {kind}",
            "Read it with the release that wrote it, or a later one; an experiment of"
            f" somebody's own, with the package that declares {kind} among the entry"
            f" points {GROUP}.",
        )
    return kind


def rows(kind: str | None, store: "Store") -> "list[Run]":
    """Returns a study's rows as its kind reads them, without scores by example.

    Args:
        kind: What `kind_of` says of its folder.
        store: The study's.
    """
    if kind not in _ROWS:
        return store.runs(per_example=False)
    module, function = _ROWS[kind]
    found: list[Run] = getattr(importlib.import_module(module), function)(
        store, per_example=False
    )
    return found


def judge(folder: str | Path) -> Judged:
    """Judges the study in a folder, whatever its kind.

    Raises:
        RecordsError: There is none, it is of an unknown kind or not finished, or the
            package that judges its kind cannot be imported.
    """
    kind = kind_of(folder)
    if kind in JUDGES:
        module, function = JUDGES[kind]
        own: Judge = getattr(importlib.import_module(module), function)
        return own(Path(folder))
    assert kind is not None
    point, *others = _installed()[kind]
    if others:
        raise RecordsError(
            f"one package judges {kind}",
            f"{len(others) + 1} do: {point.value}, {others[0].value}",
            "Remove all but one, or let them call their kinds by other names.",
        )
    try:
        theirs: Judge = point.load()
    except Exception as error:  # a package may raise anything when it is imported
        raise RecordsError(
            f"the package that judges {kind} can be imported",
            f"{point.value}: {type(error).__name__}: {error}",
            "Repair its installation, or what it needs.",
        ) from error
    return theirs(Path(folder))


def _installed() -> dict[str, list[metadata.EntryPoint]]:
    """Returns who judges kinds from elsewhere; none takes the place of one of ours."""
    found: dict[str, dict[str, metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        # A package may be found twice, such as beside its own sources.
        found.setdefault(point.name, {})[point.value] = point
    return {kind: list(points.values()) for kind, points in found.items()}

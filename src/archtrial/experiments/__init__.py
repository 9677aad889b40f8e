"""The field's sharpest experiments on anybody's data, one folder each.

Whoever has a study's folder and wants its verdict or page asks `judge`: which kind of
study it is, and who judges it, stands here and nowhere else.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from archtrial.errors import RecordsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["JUDGES", "Judged", "judge", "kind_of"]

JUDGES: Mapping[str | None, tuple[str, str]] = {
    None: ("archtrial.judge", "judge_study"),
    "relax": ("archtrial.experiments.relax.verdict", "judge"),
}
"""By the "experiment" of a resolved protocol, of which a trial has none: the module and
function that turn a folder into what was found."""


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


def kind_of(folder: str | Path) -> str | None:
    """Returns which experiment a study's folder holds; None for a trial.

    Raises:
        RecordsError: There is no store, or it holds a kind that is not known here.
    """
    from archtrial.records.store import Store

    with Store(folder, read_only=True) as store:
        frozen = store.protocol()
    kind: str | None = None if frozen is None else frozen[1].get("experiment")
    if kind not in JUDGES:
        known = ", ".join(sorted(name for name in JUDGES if name is not None))
        raise RecordsError(
            f"a study is a trial or an experiment of this release ({known})",
            f"{folder} holds one of archtrial {kind}",
            "Read it with the release that wrote it, or a later one.",
        )
    return kind


def judge(folder: str | Path) -> Judged:
    """Judges the study in a folder, whatever its kind.

    Raises:
        RecordsError: There is none, it is of an unknown kind or not finished.
    """
    module, function = JUDGES[kind_of(folder)]
    found: Judged = getattr(importlib.import_module(module), function)(folder)
    return found

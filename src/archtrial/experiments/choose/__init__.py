"""Which architecture should I start from on my data, within the time that I have?

A ladder of arms from simple to complex is searched with equal effort on a part of the
data; who cannot win any more leaves at declared looks; the finalists are trained on all
of it, on fresh seeds; and the simplest that is within the margin of the best is taken.

    from archtrial.experiments import choose
    study = choose.Study(choose.Protocol(data="mnist1d", budget="10m"))
    study.run()
    study.verdict

`protocol` declares, `ladder` has the arms, `limits` what the user can afford, `pace`
measures what a training takes, `plan` what a time pays for; `training` and `study` carry
out, `verdict` reads the records and `page` shows them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archtrial.experiments.choose.protocol import Protocol, load
    from archtrial.experiments.choose.study import Study
    from archtrial.experiments.choose.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

_PLACES = {
    "Protocol": "protocol",
    "Study": "study",
    "judge": "verdict",
    "load": "protocol",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)

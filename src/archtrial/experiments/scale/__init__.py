"""Do depth, width and resolution grow best together?

A network is made larger along each of its axes of scale alone, and along all of them by
one rule, at equal FLOPs; each form is tuned with equal effort (Tan and Le 2019, arXiv
1905.11946, section 3).

    from archtrial.experiments import scale
    study = scale.Study(scale.Protocol(data="mnist1d", architecture="cnn"))
    study.run()
    study.verdict

`protocol` declares, `forms` are the arms, `study` carries out, `verdict` reads the records
and `page` shows them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archtrial.experiments.scale.protocol import Protocol, load
    from archtrial.experiments.scale.study import Study
    from archtrial.experiments.scale.verdict import judge

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

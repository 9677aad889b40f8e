"""What is the convolutional prior worth, and when?

A CNN is turned, at some moments of its training, into its exact fully connected
equivalent and trained on (d'Ascoli et al. 2019, arXiv 1906.06766).

    from archtrial.experiments import relax
    study = relax.Study(relax.Protocol(data="mnist1d", architecture="cnn"))
    study.run()
    study.verdict

`protocol` declares, `study` carries out, `training` and `measures` do the work, `verdict`
reads the records: that one needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archtrial.experiments.relax.protocol import Protocol, begun, load
    from archtrial.experiments.relax.study import Study
    from archtrial.experiments.relax.verdict import (
        Finding,
        Verdict,
        judge,
    )

__all__ = [
    "Finding",
    "Protocol",
    "Study",
    "Verdict",
    "begun",
    "judge",
    "load",
]

_PLACES = {
    "Finding": "verdict",
    "Protocol": "protocol",
    "Study": "study",
    "Verdict": "verdict",
    "begun": "protocol",
    "judge": "verdict",
    "load": "protocol",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)

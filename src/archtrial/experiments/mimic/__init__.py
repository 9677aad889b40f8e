"""Do networks need to be deep and convolutional?

Shallow and fully connected students imitate a deep convolutional teacher, at equal
numbers of parameters, each tuned with equal effort with and without its teacher (Urban
et al. 2017, arXiv 1603.05691).

    from archtrial.experiments import mimic
    study = mimic.Study(mimic.Protocol(data="mnist1d"))
    study.run()
    study.verdict

`protocol` declares, `students` are the arms, `transfer` has what a teacher says, `training`
and `study` carry out, `verdict` reads the records and `page` shows them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archtrial.experiments.mimic.protocol import Protocol, load
    from archtrial.experiments.mimic.study import Study
    from archtrial.experiments.mimic.verdict import judge

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

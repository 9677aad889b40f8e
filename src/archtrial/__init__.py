"""Controlled trials for neural network architectures.

    import archtrial
    study = archtrial.Study(archtrial.Protocol(
        data="mnist1d", baseline="mlp", challengers=["cnn"]))
    study.run()
    study.verdict

Names are resolved when they are first used: importing archtrial is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archtrial.data import Inputs
    from archtrial.equivalents import equivalent_fcn, locally_connected
    from archtrial.errors import UserError
    from archtrial.judge import Verdict, judge_sources, judge_study
    from archtrial.protocol import Arm, Protocol, Recipe, Splits
    from archtrial.space import Choice, Integer, Real
    from archtrial.study import Study
    from archtrial.tuned import load_tuned

__all__ = [
    "Arm",
    "Choice",
    "Inputs",
    "Integer",
    "Protocol",
    "Real",
    "Recipe",
    "Splits",
    "Study",
    "UserError",
    "Verdict",
    "equivalent_fcn",
    "judge_sources",
    "judge_study",
    "load_tuned",
    "locally_connected",
]

_ROOMS = {
    "Arm": "protocol",
    "Choice": "space",
    "Inputs": "data",
    "Integer": "space",
    "Protocol": "protocol",
    "Real": "space",
    "Recipe": "protocol",
    "Splits": "protocol",
    "Study": "study",
    "UserError": "errors",
    "Verdict": "judge",
    "judge_study": "judge",
    "judge_sources": "judge",
    "load_tuned": "tuned",
    "equivalent_fcn": "equivalents",
    "locally_connected": "equivalents",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'archtrial' has no attribute {name!r}")
    return getattr(importlib.import_module(f"archtrial.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

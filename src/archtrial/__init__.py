"""Controlled trials for neural network architectures.

    import archtrial
    study = archtrial.Study(archtrial.Protocol(
        data="mnist1d", baseline="mlp", challengers=["cnn"]))
    study.run()
    study.verdict

Names are resolved when they are first used: importing archtrial is cheap.
"""

from typing import TYPE_CHECKING

from archtrial.importing import lazily

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

__getattr__ = lazily(
    __name__,
    protocol=("Arm", "Protocol", "Recipe", "Splits"),
    space=("Choice", "Integer", "Real"),
    data=("Inputs",),
    study=("Study",),
    errors=("UserError",),
    judge=("Verdict", "judge_study", "judge_sources"),
    tuned=("load_tuned",),
    equivalents=("equivalent_fcn", "locally_connected"),
)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

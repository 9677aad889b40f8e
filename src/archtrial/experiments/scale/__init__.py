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

from typing import TYPE_CHECKING

from archtrial.importing import lazily

if TYPE_CHECKING:
    from archtrial.experiments.scale.protocol import Protocol, load
    from archtrial.experiments.scale.study import Study
    from archtrial.experiments.scale.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

__getattr__ = lazily(
    __name__, protocol=("Protocol", "load"), study=("Study",), verdict=("judge",)
)

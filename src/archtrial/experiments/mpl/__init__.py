"""Does a teacher that learns from its student teach better?

Few labels and many examples without them: procedures that use the others are tuned with
equal effort, and meta pseudo labels with the student's feedback h as derived, with none,
and with its negative (Pham et al. 2021, arXiv 2003.10580).

    from archtrial.experiments import mpl
    study = mpl.Study(mpl.Protocol(data="mnist1d", labels=400))
    study.run()
    study.verdict

`protocol` declares, `study` carries out, `verdict` reads the records and `page` shows them;
what a step of each procedure is stands in `training/procedure.py`.
"""

from typing import TYPE_CHECKING

from archtrial.importing import lazily

if TYPE_CHECKING:
    from archtrial.experiments.mpl.protocol import Protocol, load
    from archtrial.experiments.mpl.study import Study
    from archtrial.experiments.mpl.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

__getattr__ = lazily(
    __name__, protocol=("Protocol", "load"), study=("Study",), verdict=("judge",)
)

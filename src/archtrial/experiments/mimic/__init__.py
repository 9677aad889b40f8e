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

from typing import TYPE_CHECKING

from archtrial.importing import lazily

if TYPE_CHECKING:
    from archtrial.experiments.mimic.protocol import Protocol, load
    from archtrial.experiments.mimic.study import Study
    from archtrial.experiments.mimic.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

__getattr__ = lazily(
    __name__, protocol=("Protocol", "load"), study=("Study",), verdict=("judge",)
)

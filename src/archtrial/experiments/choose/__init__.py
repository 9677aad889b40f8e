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

from typing import TYPE_CHECKING

from archtrial.importing import lazily

if TYPE_CHECKING:
    from archtrial.experiments.choose.protocol import Protocol, load
    from archtrial.experiments.choose.study import Study
    from archtrial.experiments.choose.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

__getattr__ = lazily(
    __name__, protocol=("Protocol", "load"), study=("Study",), verdict=("judge",)
)

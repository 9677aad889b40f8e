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

from typing import TYPE_CHECKING

from archtrial.importing import lazily

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

__getattr__ = lazily(
    __name__,
    verdict=("Finding", "Verdict", "judge"),
    protocol=("Protocol", "begun", "load"),
    study=("Study",),
)

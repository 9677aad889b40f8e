"""What architectures cost and can do, measured side by side.

    from archtrial.experiments import profile
    study = profile.Study(profile.Protocol(data="mnist1d", architectures=["mlp", "cnn"]))
    study.run()
    study.verdict

What is measured comes in groups. `protocol` declares, `study` carries out what all groups
share: a learning rate for each architecture, and trainings with fresh seeds. A group has
two sides: `measuring` is what it trains and measures, `groups` what it reads off the
records, without torch. `verdict` puts the groups' numbers together and `page` shows them.
The test set stays sealed: a profile is no comparison on it.
"""

from typing import TYPE_CHECKING

from archtrial.importing import lazily

if TYPE_CHECKING:
    from archtrial.experiments.profile.protocol import Protocol, load
    from archtrial.experiments.profile.study import Study
    from archtrial.experiments.profile.verdict import judge

__all__ = ["Protocol", "Study", "judge", "load"]

__getattr__ = lazily(
    __name__, protocol=("Protocol", "load"), study=("Study",), verdict=("judge",)
)

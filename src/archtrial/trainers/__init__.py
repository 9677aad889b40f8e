"""Who trains: our own loops and fleets, scikit-learn, the user's function or command.

A trainer divides the runs of a stage into tasks by a fixed rule, and carries a
task out wherever it is sent. All of them are told the same: which arm, which
configuration, which seeds. `ByArm` has a trainer for each arm.
"""

from archtrial.trainers.by_arm import ByArm
from archtrial.trainers.estimators import Fits
from archtrial.trainers.loops import Loops
from archtrial.trainers.own import Command, Function, never_read
from archtrial.trainers.runs import Finished, Item, Trainer

__all__ = [
    "ByArm",
    "Command",
    "Finished",
    "Fits",
    "Function",
    "Item",
    "Loops",
    "Trainer",
    "never_read",
]

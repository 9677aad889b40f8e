"""What every study shares, whatever it asks.

A study declares something, plans stages of keyed trainings, carries them out, opens the
test set and reads the verdict off its records. `study.py` has what is true of all of
them, `work.py` carries a stage out and goes on with it after an interruption. A kind of
study is a subclass with its own stages, items and judge (`archtrial.study`,
`archtrial.experiments`).
"""

from archtrial.workflow.study import Study
from archtrial.workflow.work import Finished, Opened, Trainer, Work

__all__ = ["Finished", "Opened", "Study", "Trainer", "Work"]

"""Simulated studies whose truth is known: how often a verdict is wrong.

A `Setting` says how two arms score and how the study is done. Its studies are drawn
straight into `statistics.Search` arrays, as a study of ours would leave them (search,
fresh seeds for the union of the best, both readings), and go through
`statistics.compare`: what is counted are the errors of the very code that judges.

    >>> setting = Setting("an arm against itself", margin=0.02)
    >>> found = simulate(setting, 20, seed=0)
    >>> found.studies, found.rate("verdict architecture").estimate
    (20, 0.0)

- `simulation`: settings, their truth, and the count of verdicts.
- `design`: the same for a user's own declared study.
- `published`: what docs/calibration.md says, for the page.
"""

from archtrial.calibration.design import Calibration, Row, calibrate, design
from archtrial.calibration.published import published_error
from archtrial.calibration.simulation import (
    CHUNK,
    Landscape,
    Setting,
    Tally,
    Truth,
    chunk,
    landscape,
    simulate,
    truth,
)

__all__ = [
    "CHUNK",
    "Calibration",
    "Landscape",
    "Row",
    "Setting",
    "Tally",
    "Truth",
    "calibrate",
    "chunk",
    "design",
    "landscape",
    "published_error",
    "simulate",
    "truth",
]

"""What several tests of teachers and students need: small data, and a small study."""

import collections
import functools

import numpy as np
import pytest

from archtrial.experiments import mimic
from archtrial.experiments.mimic import study as mimic_study
from archtrial.experiments.mimic.study import Study
from archtrial.training.latency import latency

SMALL = {
    "teacher": "mlp(width=8)",
    "teacher_configurations": 3,
    "ensemble": 2,
    "layouts": ("mlp1", "conv1"),
    "budgets": (200,),
    "steps": 20,
    "configurations": 4,
    "effort": 1,
    "confirm_seeds": 1,
    "margin": 0.02,
}
OF_LABELS = {"teacher": "labels", "teacher_configurations": ..., "ensemble": ...}


def series(rows, seed=0):
    """Returns series (rows, 1, 12), and whether their first half has the larger sum."""
    x = np.random.default_rng(seed).normal(size=(rows, 1, 12)).astype(np.float32)
    return x, (x[:, 0, :6].sum(1) > x[:, 0, 6:].sum(1)).astype(np.int64)


def saved(folder, rows=120, seed=0, name="series.npz"):
    x, y = series(rows, seed)
    np.savez(folder / name, x=x, y=y)
    return folder / name


def declared(data, **changes):
    """Returns a small study's protocol; a change to ... leaves a field out."""
    told = {k: v for k, v in {**SMALL, **changes}.items() if v is not ...}
    return mimic.Protocol(data=data, **told)


def begun(folder, data, **changes):
    """Returns a study that has not been carried out."""
    return Study(declared(data, **changes), folder)


def carried_out(study, **how):
    """Carries a study out without measuring for seconds how fast networks are."""
    with pytest.MonkeyPatch.context() as patch:
        quick = functools.partial(latency, seconds=0.001, most=3)
        patch.setattr(mimic_study, "latency", quick)
        return study.run(**how)


def counted(runs):
    """Returns how many runs there are, by what tells searches apart."""
    return collections.Counter(
        (r.stage, r.arm, r.coordinates.get("teacher")) for r in runs
    )

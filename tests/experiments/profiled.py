"""What several tests of profiles need: small data, and a small study."""

import functools

import numpy as np
import pytest

from archtrial.experiments import profile
from archtrial.experiments.profile import measuring_cost
from archtrial.experiments.profile.study import Study
from archtrial.training.latency import latency, step_latency

SMALL = {
    "architectures": ("linear", "wide=mlp(width=16)"),
    "only": ("cost",),
    "steps": 40,
    "evaluations": 8,
    "learning_rates": (0.01, 0.1),
}


def saved(folder, rows=160, seed=0, name="rows.npz"):
    """Writes rows (rows, 6), and whether the first two numbers of each agree in sign."""
    x = np.random.default_rng(seed).normal(size=(rows, 6)).astype(np.float32)
    np.savez(folder / name, x=x, y=(x[:, 0] * x[:, 1] > 0).astype(np.int64))
    return folder / name


def declared(data, **changes):
    return profile.Protocol(data=str(data), **{**SMALL, **changes})


def begun(folder, data, **changes):
    """Returns a study that has not been carried out."""
    return Study(declared(data, **changes), folder)


def carried_out(study, **how):
    """Carries a study out without measuring for seconds how fast networks are."""
    with pytest.MonkeyPatch.context() as patch:
        for name, measured in (("latency", latency), ("step_latency", step_latency)):

            def quick(*given, measured=measured, **told):
                return measured(*given, **{**told, "seconds": 0.001, "most": 6})

            patch.setattr(measuring_cost, name, functools.wraps(measured)(quick))
        return study.run(**how)

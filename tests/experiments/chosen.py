"""What several tests of choices need: small data, a pace, and a small study."""

import contextlib

import numpy as np
import pytest

from archtrial.experiments import choose
from archtrial.experiments.choose import arms, limits, pace, plan, study
from archtrial.experiments.choose.pace import Pace

ARMS = ("linear", "mlp(depth=2,width=24)", "wide=mlp(depth=2,width=32)")


def saved(folder, rows=300, seed=0, name="signs.npz"):
    """Two classes that no line divides: whether two of four values have one sign."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    np.savez(folder / name, x=x, y=(x[:, 0] * x[:, 1] > 0).astype(np.int64))
    return folder / name


def declared(data, **changes):
    told = {"arms": ARMS, "budget": "10m", "steps": 40, "margin": 0.05, **changes}
    return choose.Protocol(data=str(data), **told)


def paced(seconds=0.0001):
    """Returns what takes the place of a measured pace: all arms alike."""

    def measure(loops, fits, problem, design, names, **_):
        return (
            {
                name: Pace(
                    16,
                    0.0,
                    0.001,
                    0.0,
                    seconds,
                    0.0,
                    rows=400 * (name in fits.estimators),
                )
                for name in names
            },
            [],
            0.0,
        )

    return measure


@contextlib.contextmanager
def quick(seconds=0.0001, looks=(1, 2), seeds=(3, 6)):
    """Lets studies be small, and take as long as a test says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pace, "measure", paced(seconds))
        patch.setattr(plan, "LOOKS", looks)
        patch.setattr(plan, "SEEDS", seeds)
        patch.setattr(
            limits,
            "latency",
            lambda module, example, **_: type("T", (), {"median": 0.002})(),
        )
        yield patch


def carried_out(protocol, folder, **how):
    with quick():
        found = study.Study(protocol, folder)
        found.run(**how)
    return found


__all__ = ["ARMS", "arms", "carried_out", "declared", "paced", "quick", "saved"]

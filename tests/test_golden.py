"""Stores written by each release still load and give the same verdict.

A release adds its own folder: `python tests/test_golden.py tests/golden/VERSION`.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archtrial import Protocol, Study, judge_study
from archtrial.testing import KnownTruth, Surface

JUDGED = """
import sys, archtrial
sys.stdout.write(archtrial.judge_study(sys.argv[1]).verdict.to_json())
"""

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("release", sorted(p.name for p in GOLDEN.iterdir()))
def test_an_old_store_gives_its_verdict(tmp_path, release):
    shutil.copytree(GOLDEN / release, tmp_path / "study")
    judgement = judge_study(tmp_path / "study")
    expected = json.loads((GOLDEN / release / "verdict.json").read_text())
    assert_within(expected, judgement.verdict.to_dict())
    assert judgement.page()


def assert_within(old, new, place=""):
    """A newer release may say more, but never something else."""
    if isinstance(old, dict):
        for key in old.keys() - {"schema"}:
            assert_within(old[key], new[key], f"{place}.{key}")
    elif isinstance(old, list) and not place.endswith(".warnings"):
        assert len(old) == len(new), place
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            assert_within(one, other, f"{place}[{i}]")
    elif isinstance(old, list):
        assert set(old) <= set(new), place
    elif isinstance(old, float):
        # Those were computed with BLAS, whose last digits its processor decided.
        assert new == pytest.approx(old, rel=1e-9, abs=1e-12), place
    else:
        assert old == new, place


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="these kernels are for x86-64"
)
def test_no_kernel_of_blas_changes_a_byte(tmp_path):
    """The kernels differ in the order in which they add."""
    release = sorted(p.name for p in GOLDEN.iterdir())[-1]
    found = {}
    for kernel in ("Prescott", "Sandybridge", "Haswell"):
        folder = tmp_path / kernel
        shutil.copytree(GOLDEN / release, folder)
        judged = subprocess.run(
            [sys.executable, "-c", JUDGED, str(folder)],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel},
            capture_output=True,
            check=True,
        )
        found[kernel] = judged.stdout
    assert len(set(found.values())) == 1
    assert json.loads(found["Haswell"])["comparisons"]


def write(folder):
    trainer = KnownTruth(
        {
            "plain": Surface(peak=0.80, diverging=0.1, lag=20.0),
            "tweak": Surface(peak=0.83),
            "odd": Surface(peak=0.80, failing_seeds=0.3),
        }
    )
    protocol = Protocol(
        data="known truth",
        baseline="plain",
        challengers=["tweak", "odd"],
        space=dict(trainer.space),
        configurations=16,
        steps=1000,
        ladder=(1, 2),
    )
    Study(protocol, folder, trainer=trainer).run()
    shutil.rmtree(folder / "tuned")
    (folder / "lock").unlink()
    (folder / "protocol.json").unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))

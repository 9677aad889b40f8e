"""Stores written by each release still load and give the same verdict.

A release adds its own folder: `python tests/test_golden.py tests/golden/VERSION`.
"""

import shutil
import sys
from pathlib import Path

import pytest

from archtrial import Protocol, Study, judge_study
from archtrial.testing import KnownTruth, Surface

GOLDEN = Path(__file__).with_name("golden")


@pytest.mark.parametrize("release", sorted(p.name for p in GOLDEN.iterdir()))
def test_an_old_store_gives_its_verdict(tmp_path, release):
    shutil.copytree(GOLDEN / release, tmp_path / "study")
    judgement = judge_study(tmp_path / "study")
    expected = (GOLDEN / release / "verdict.json").read_text()
    assert judgement.verdict.to_json() == expected
    assert judgement.page()


def write(folder):
    trainer = KnownTruth(
        {
            "plain": Surface(peak=0.80, diverging=0.1),
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
    )
    Study(protocol, folder, trainer=trainer).run()
    shutil.rmtree(folder / "tuned")
    (folder / "lock").unlink()
    (folder / "protocol.json").unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))

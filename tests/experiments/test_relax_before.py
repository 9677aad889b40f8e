"""Studies that were made when relax times stood behind the names of arms."""

import shutil
from pathlib import Path

import pytest

from archtrial.experiments import relax
from archtrial.experiments.relax import training
from archtrial.experiments.relax.study import Study
from archtrial.records.store import Store

BEFORE = Path(__file__).with_name("before_coordinates")


def numbers(text):
    """Returns a verdict but for how it sets its signs, which is another since 0.3.0."""
    return text.replace("\N{NO-BREAK SPACE}%", "%").replace("\N{MINUS SIGN}", "-")


EXPECTED = numbers((BEFORE / "verdict.json").read_text(encoding="utf-8"))


@pytest.fixture
def before(tmp_path):
    shutil.copytree(BEFORE, tmp_path / "study")
    (tmp_path / "study/verdict.json").unlink()
    return tmp_path / "study"


def test_one_is_judged_to_the_same_numbers(before):
    assert numbers(relax.judge(before).verdict.to_json()) == EXPECTED


def test_one_goes_on_and_trains_nothing_again(before, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr(training.Trainer, "__call__", never)
    with Store(before, read_only=True) as store:
        held = store.runs(per_example=False)
    assert {"efcn@0", "efcn@3"} < {run.arm for run in held}
    declared = relax.begun(before)
    assert declared is not None
    Study(declared, before).run()
    written = (before / "verdict.json").read_text(encoding="utf-8")
    assert numbers(written) == EXPECTED

"""The evidence's repeated studies: is what they keep enough to judge them again?"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from archtrial import Protocol, Study, judge
from archtrial.testing import KnownTruth, Surface

ROOT = Path(__file__).parents[1]
SEEDS = 2


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def evidence():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "evidence"))
        import real_studies
    return real_studies


@pytest.fixture(scope="module")
def folder(evidence, tmp_path_factory):
    """Whole studies of both designs whose training takes no time, and their records."""
    place = tmp_path_factory.mktemp("studies")
    arms = {
        # The lowest scores are its own, whichever challenger it is judged with.
        "mlp": Surface(width=1.0, diverging=0.2),
        "mlp(norm=layer)": Surface(peak=0.7, optimum={"learning_rate": 0.02}),
        "cnn": Surface(peak=0.9),
    }
    trainer = KnownTruth(arms)
    for seed in range(SEEDS):
        for design in evidence.DESIGNS:
            declared = Protocol(
                data="known truth",
                space=dict(trainer.space),
                sampling=design,
                seed=seed,
                **evidence.STUDY,
            )
            Study(declared, place / f"{design}-{seed}", trainer=trainer).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "RECORDS", place / "records")
        evidence.judge_again(place, SEEDS)
    return place


@pytest.fixture(autouse=True)
def results(evidence, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(evidence, "TABLE", tmp_path / "table")
    monkeypatch.setattr(evidence, "RECORDS", tmp_path / "records")
    evidence.RECORDS.write_bytes((folder / "records").read_bytes())


def test_a_record_gives_the_verdict_of_its_study(evidence, folder):
    records = evidence.Records.read()
    assert len(records.studies) == 2 * SEEDS
    for (design, seed), kept in records.studies.items():
        protocol = {**records.protocol, "sampling": design, "seed": seed}
        runs = evidence.runs_of(kept, protocol)
        assert any(run.diverged for run in runs)
        for shown, name in zip(kept["shown"], ("mlp(norm=layer)", "cnn"), strict=True):
            again = evidence.found(runs, protocol, kept["constant"], name)
            alone = judge.judge_study(folder / f"{design}-{seed}", challengers=[name])
            (compared,) = alone.verdict.comparisons
            assert again["verdict"] == shown["verdict"] == compared["verdict"]
            for found in (again, shown):
                for part in ("estimate", "low", "high"):
                    assert found["effect"][part] == pytest.approx(
                        compared["effect"][part], abs=1e-4
                    )


def test_the_table_sums_up_what_each_study_says(evidence, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["real_studies.py", "--only-table"])
    evidence.main()
    written = json.loads(evidence.TABLE.read_text())
    shown = {
        design: [
            kept["shown"][1]
            for (sampling, _), kept in evidence.Records.read().studies.items()
            if sampling == design
        ]
        for design in evidence.DESIGNS
    }
    everyone = np.mean([x["effect"]["estimate"] for s in shown.values() for x in s])
    rows = {
        row["sampling"]: row for row in written["rows"] if row["number"] == "cnn - mlp"
    }
    for design, studies in shown.items():
        effects = [each["effect"] for each in studies]
        estimates = [each["estimate"] for each in effects]
        errors = [each["standard_error"] for each in studies]
        row = rows[design]
        assert row["studies"] == SEEDS
        assert row["mean"] == pytest.approx(np.mean(estimates), abs=1e-4)
        assert row["deviation"] == pytest.approx(np.std(estimates, ddof=1), abs=1e-4)
        assert row["reported"] == pytest.approx(
            math.sqrt(np.mean(np.square(errors))), abs=1e-4
        )
        assert row["held_all"] == sum(
            e["low"] <= everyone <= e["high"] for e in effects
        )
        counted = [v for v in written["verdicts"] if v["sampling"] == design]
        assert all(sum(v["of_this_test_set"].values()) == SEEDS for v in counted)
    printed = capsys.readouterr().out
    assert f"| cnn - mlp | sobol | {100 * rows['sobol']['mean']:.1f} |" in printed


def test_intervals_that_miss_are_counted(evidence):
    numbers = [
        {"estimate": 0.1, "low": 0.0, "high": 0.2},
        {"estimate": 0.3, "low": 0.25, "high": 0.35},
    ]
    found = evidence.spread(numbers, [0.03, 0.04], 0.3)
    assert (found.held, found.held_all, found.studies) == (1, 1, 2)
    assert found.mean == pytest.approx(0.2)
    assert found.deviation == pytest.approx(0.2 / math.sqrt(2))
    assert found.reported == pytest.approx(0.05 / math.sqrt(2))
    assert found.width == pytest.approx(0.15)


def test_studies_that_are_recorded_are_not_trained_again(
    evidence, monkeypatch, tmp_path
):
    asked = []

    class Asked:
        def __init__(self, declared, place):
            asked.append((declared.sampling, declared.seed))

        def run(self):
            raise StoppedError

    monkeypatch.setattr(evidence, "Study", Asked)
    evidence.train(tmp_path, SEEDS)
    assert asked == []
    with pytest.raises(StoppedError):
        evidence.train(tmp_path, SEEDS + 1)
    assert asked == [("sobol", SEEDS)]


def test_studies_of_another_protocol_are_refused(evidence, folder):
    records = evidence.Records.read()
    other = dataclasses.replace(records, protocol={**records.protocol, "steps": 1_000})
    with pytest.raises(SystemExit, match="something else"):
        other.add(folder / "sobol-1")

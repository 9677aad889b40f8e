"""Verdicts on somebody else's runs."""

import json
import math
import os
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import archtrial
from archtrial import judge
from archtrial.errors import ProtocolError, RecordsError
from archtrial.records.columns import Wanted
from archtrial.records.importers import read

RECORDS = Path(
    os.environ.get("ARCHTRIAL_DATA")
    or Path(__file__).resolve().parents[2] / "shared" / "data"
).joinpath("tuning_records")
real = pytest.mark.skipif(
    not RECORDS.exists(), reason=f"the tuning records are not at {RECORDS}"
)


def schema():
    text = resources.files("archtrial.statistics").joinpath("verdict.schema.json")
    return json.loads(text.read_text())


def write(tmp_path, rows, header="arm,pair,seed,val_score,test_score"):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def table(n=32, *, gain=0.04, seeds=2, peak=0.80):
    """Returns rows of two arms with one draw, and the same spread."""
    generator = np.random.default_rng(0)
    rows = []
    for pair in range(n):
        height = generator.normal(scale=0.02)
        for arm, top in (("A", peak), ("B", peak + gain)):
            for seed in range(seeds):
                noise = generator.normal(scale=0.002, size=2)
                validation, test = top + height + noise
                rows.append(f"{arm},{pair},{seed},{validation:.6f},{test:.6f}")
    return rows


def test_a_table_is_judged(tmp_path):
    path = write(tmp_path, table())
    found = judge.judge_sources([path], baseline="A")
    (compared,) = found.verdict.comparisons
    assert (compared["verdict"], compared["effort"]) == ("architecture", 4)
    assert compared["effect"]["low"] < 0.04 < compared["effect"]["high"]
    jsonschema.validate(found.verdict.to_dict(), schema())
    assert "B" in found.page()
    # Errors are the same question turned round.
    turned = judge.judge_sources([path], baseline="B", challengers=["A"], margin=0.01)
    assert turned.verdict.comparisons[0]["verdict"] == "baseline"
    errors = judge.judge_sources(
        [path], baseline="B", margin=0.01, lower_is_better=True
    )
    assert errors.verdict.comparisons[0]["verdict"] == "architecture"
    with pytest.raises(TypeError):
        judge.judge_sources([path], baseline="A", margins=0.01)


def test_searches_without_any_spread_are_judged(tmp_path):
    rows = [
        f"{arm},{pair},{seed},0.8,{0.8 if seed == 0 else 0.79}"
        for arm in "AB"
        for pair in range(16)
        for seed in range(3)
    ]
    path = write(tmp_path, rows)
    # Of a score in no known unit nobody knows which gap is small.
    with pytest.raises(ProtocolError, match="--margin"):
        judge.judge_sources([path], baseline="A")
    found = judge.judge_sources([path], baseline="A", margin=0.01)
    document = found.verdict.to_dict()
    assert document["comparisons"][0]["verdict"] == "equivalent"
    # Fresh seeds differ from the search here, but that is no share of its spread.
    assert document["study"]["attribution"] is None


def test_what_a_table_lacks_is_said(tmp_path):
    rows = [f"{arm},{arm}{i},0,{0.5 + i / 100}" for arm in "AB" for i in range(16)]
    path = write(tmp_path, rows, "arm,pair,seed,val_score")
    found = judge.judge_sources([path], baseline="A")
    notes = " ".join(found.verdict.to_dict()["study"]["notes"])
    assert "compared unpaired" in notes
    assert "no test scores" in notes
    assert "no fresh seeds" in notes
    assert found.verdict.comparisons[0]["scored_on"] == "validation"
    assert not found.verdict.comparisons[0]["paired"]


def test_a_planted_confound_is_tuning_and_a_planted_effect_architecture(tmp_path):
    published = {"A": 0.80, "B": 0.83}
    equal = judge.judge_sources(
        [write(tmp_path, table(gain=0.0, peak=0.83))],
        baseline="A", margin=0.01, published=published,
    )  # fmt: skip
    (compared,) = equal.verdict.comparisons
    assert compared["verdict"] == "tuning"
    parts = compared["published"]
    assert parts["gap"] == pytest.approx(0.03)
    effect = judge.judge_sources(
        [write(tmp_path, table(gain=0.03))],
        baseline="A", margin=0.01, published=published,
    )  # fmt: skip
    assert effect.verdict.comparisons[0]["verdict"] == "architecture"


def test_percentages_reach_the_margin_and_the_published_scores_as_fractions(tmp_path):
    rows = []
    for row in table():
        *names, validation, test = row.split(",")
        rows.append(
            ",".join([*names, str(100 * float(validation)), str(100 * float(test))])
        )
    path = write(tmp_path, rows, "arm,pair,seed,val_acc,test_acc")
    fractions = judge.judge_sources(
        [path], baseline="A", margin=0.01, published={"A": 80.0, "B": 84.0}
    )
    (compared,) = fractions.verdict.comparisons
    assert compared["published"]["gap"] == pytest.approx(0.04)
    assert 0.03 < compared["effect"]["estimate"] < 0.05
    with pytest.raises(ProtocolError, match=r"1 in percent is 0\.01"):
        judge.judge_sources([path], baseline="A", margin=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"baseline": None}, "--baseline A"),
        ({"effort": 0}, "effort is at least 1"),
        ({"margin": -1}, "margin is more than 0"),
        ({"test_size": 1}, "at least 2 examples"),
        ({"published": {"A": 80.0, "B": 83.0}}, "Write 0.8"),
        ({"published": {"A": math.nan, "B": 0.8}}, "in the units"),
    ],
)
def test_what_cannot_be_judged(tmp_path, options, says):
    path = write(tmp_path, table(8), "arm,pair,seed,val_acc,test_acc")
    with pytest.raises(archtrial.UserError) as caught:
        judge.judge_sources([path], **{"baseline": "A", **options})
    assert says in str(caught.value)


def test_best_runs_at_an_edge_of_what_was_tried_are_a_warning(tmp_path):
    generator = np.random.default_rng(1)
    rows = []
    for arm, gain in (("A", 0.0), ("B", 0.05)):
        for width in generator.uniform(10, 1000, size=64):
            score = 0.5 + gain + width / 4000 + generator.normal(scale=0.001)
            rows.append(f"{arm},{width},{score},{score}")
    path = write(tmp_path, rows, "arm,width,val_acc,test_acc")
    found = judge.judge_sources([path], baseline="A", margin=0.01)
    (compared,) = found.verdict.comparisons
    assert compared["verdict"] != "not_assessable"
    edges = [warning for warning in compared["warnings"] if "pile up" in warning]
    assert len(edges) == 2
    assert "high end of width of what was tried" in edges[0]


def test_whole_repeats_are_judged_at_effort_one(tmp_path):
    generator = np.random.default_rng(2)
    rows = []
    for arm, top in (("A", 0.80), ("B", 0.84)):
        for repeat in range(8):
            for score in generator.normal(top, 0.005, size=10):
                rows.append(f"{arm},{repeat},{score},{score}")
    path = write(tmp_path, rows, "arm,rep,val_acc,test_acc")
    imported = read([path], Wanted(repeat="rep"), baseline="A")
    found = judge.judge_imported(imported, margin=0.01)
    (compared,) = found.verdict.comparisons
    assert (compared["effort"], compared["verdict"]) == (1, "architecture")
    assert found.verdict.to_dict()["study"]["configurations"] == 8
    notes = " ".join(found.verdict.to_dict()["study"]["notes"])
    assert "one whole run of a tuner (10 trials)" in notes
    with pytest.raises(ProtocolError, match="one of them"):
        judge.judge_imported(imported, effort=2)


def test_nothing_in_a_name_runs_in_the_page(tmp_path):
    evil = '=HYPERLINK("http://x")<script>alert(1)</script>'
    quoted = '"' + evil.replace('"', '""') + '"'
    rows = [row.replace("B,", f"{quoted},", 1) for row in table(16)]
    path = write(tmp_path, rows, "arm,pair,seed,val_acc,test_acc")
    found = judge.judge_sources([path], baseline="A")
    page = found.page()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@real
def test_alexnet_against_convnext_as_the_files_lie_there():
    found = judge.judge_sources(
        [
            f"alexnet={RECORDS / 'alexnet' / 'alexnet_tuning.results.jsonl'}",
            f"convnext={RECORDS / 'convnext' / 'convnext-tiny_tuning.results.jsonl'}",
        ],
        baseline="alexnet",
        columns=Wanted(validation="learning_curve[-1].top_1"),
        effort=8,
        margin=0.01,
    )
    (compared,) = found.verdict.comparisons
    assert compared["effect"]["estimate"] == pytest.approx(0.136, abs=5e-4)
    assert compared["verdict"] == "architecture"
    assert not compared["paired"]
    assert found.page()


@real
def test_the_best_epoch_of_a_curve():
    found = judge.judge_sources(
        [
            f"alexnet={RECORDS / 'alexnet' / 'alexnet_tuning.results.jsonl'}",
            f"convnext={RECORDS / 'convnext' / 'convnext-tiny_tuning.results.jsonl'}",
        ],
        baseline="alexnet",
        columns=Wanted(validation="learning_curve[best].top_1"),
        effort=8,
        margin=0.01,
    )
    estimate = found.verdict.comparisons[0]["effect"]["estimate"]
    assert estimate == pytest.approx(0.134, abs=5e-4)


@real
def test_optimisers_of_deepobs():
    path = RECORDS / "deepobs" / "runs.csv"
    wanted = Wanted(arm="optimizer", validation="final_test_accuracies", test="none")
    with pytest.raises(RecordsError, match="on the same data"):
        read([path], wanted)
    imported = read([path], wanted, where=["testproblem=fmnist_2c2d"])
    # 36 learning rates each, and the best one of them with ten seeds.
    assert {arm["configurations"] for arm in imported.understood.arms} == {36}
    assert all(arm["fresh_seeds"] >= 9 for arm in imported.understood.arms)
    assert imported.paired
    found = judge.judge_imported(
        read(
            [path],
            wanted,
            baseline="AdamOptimizer",
            where=["testproblem=fmnist_2c2d"],
        ),
        margin=0.01,
    )
    assert found.verdict.comparisons


@real
def test_rulesets_of_algoperf_on_one_workload():
    imported = read(
        [RECORDS / "algoperf" / "trials.csv"],
        Wanted(arm="ruleset"),
        where=["workload=imagenet_resnet_jax"],
    )
    assert imported.measure.name == "accuracy"
    assert [arm["name"] for arm in imported.understood.arms] == [
        "external_tuning", "self_tuning",
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [4, 40])
def test_the_digest_is_in_the_verdict(tmp_path, rows):
    path = write(tmp_path, table(rows))
    one = judge.judge_sources([path], baseline="A").verdict.to_dict()
    frame = pd.read_csv(path)
    frame.loc[0, "test_score"] += 0.01
    frame.to_csv(path, index=False)
    other = judge.judge_sources([path], baseline="A").verdict.to_dict()
    assert one["study"]["protocol_hash"] != other["study"]["protocol_hash"]
    assert str(tmp_path) not in json.dumps(one)


def test_an_arm_without_any_score_is_not_judged(tmp_path):
    rows = [row if row.startswith("B") else row[: row.rindex(",")] + "," for row in
            table(seeds=1)]  # fmt: skip
    rows = [row if row.startswith("B") else "A," + row.split(",")[1] + ",0,,"
            for row in rows]  # fmt: skip
    found = judge.judge_sources([write(tmp_path, rows)], baseline="A", margin=0.01)
    (compared,) = found.verdict.comparisons
    assert compared["verdict"] == "not_assessable"
    assert "no run of A has a score" in compared["sentence"]
    assert found.page()


def test_an_error_rate_is_told_of_studies_like_those_simulated(tmp_path):
    found = judge.judge_sources(
        [write(tmp_path, table(seeds=2))], baseline="A", effort=4
    )
    told = found.verdict.to_dict()["study"]["calibration"]
    assert (told["configurations"], told["effort"]) == (32, 4)
    # Without fresh seeds one reading alone guards the claim.
    alone = judge.judge_sources(
        [write(tmp_path, table(seeds=1))], baseline="A", effort=4
    )
    assert alone.verdict.to_dict()["study"]["calibration"] is None


def test_a_metric_of_the_other_direction_than_its_column_is_refused(tmp_path):
    header = "arm,pair,seed,val_accuracy,test_accuracy"
    path = write(tmp_path, table(seeds=1), header)
    with pytest.raises(RecordsError, match="of rmse a lower score is better"):
        judge.judge_sources([path], baseline="A", metric="rmse")
    (compared,) = judge.judge_sources(
        [path], baseline="A", metric="rmse", lower_is_better=True
    ).verdict.comparisons
    assert compared["effect"]["estimate"] < 0

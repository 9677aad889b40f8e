"""What an experiment with teachers and students makes of its records."""

import dataclasses
import json
import zlib

import numpy as np
import pytest

from archtrial import metrics
from archtrial import space as spaces
from archtrial.experiments.mimic import verdict as judging
from archtrial.judge import experiment
from archtrial.protocol import describe_space
from archtrial.records.table import Run
from archtrial.workflow import searching

SPACE = {"learning_rate": spaces.Real(1e-3, 1e-1, log=True)}
EXAMPLES = 1000
LAYOUTS = {"mlp1": (0, 1), "mlp2": (0, 2), "conv1": (1, 1), "conv3": (3, 1)}


def student(layout, budget):
    """Returns a student as a resolved protocol has it; without a budget, one's own."""
    convolutions, hidden = LAYOUTS.get(layout, (None, None))
    return {
        "name": f"{layout}-{budget}" if budget else layout,
        "layout": layout if budget else None,
        "convolutions": convolutions,
        "hidden": hidden,
        "budget": budget,
        "spaces": dict.fromkeys(("labels", "teacher"), describe_space(SPACE)),
    }


def by_example(score, bounded):
    """Returns (T,) scores of examples: a rising share is right, or a common loss."""
    if bounded:
        return (np.arange(EXAMPLES) + 0.5 < score * EXAMPLES).astype(np.float32)
    return np.linspace(0, 2 * score, EXAMPLES, dtype=np.float32)


@pytest.fixture
def judged(mimic_study, monkeypatch):
    """Judges students whose best scores, without and with a teacher, are given."""
    records = experiment.finished(mimic_study.folder, "mimic", "")

    def judge(truth, teacher=0.95, metric="accuracy", **changes):
        students = [
            student(*(n.split("-")[0], int(n.split("-")[1]) if "-" in n else None))
            for n in truth
        ]
        resolved = {
            **records.resolved, "students": students, "configurations": 16,
            "effort": 4, "margin": 0.02, "metric": metric, **changes,
        }  # fmt: skip
        measure = metrics.get(metric)
        sign = 1 if measure.higher_is_better else -1
        searchers = judging.searchers_of(resolved)
        design = spaces.Design({s.name: SPACE for s in searchers}, 0, "sobol")
        difficulty = np.linspace(0, 0.05, 16)

        def trained(item):
            best = truth[item.arm][item.further["teacher"]]
            own = (zlib.crc32(item.arm.encode()), item.pair, item.seed)
            rng = np.random.default_rng((*own, item.further["teacher"]))
            score = best - sign * difficulty[item.pair] + 0.002 * rng.normal()
            seen = by_example(score, measure.bounded)
            return Run(
                **item.row, validation=score, test=float(seen.mean()),
                per_example=seen, flops=1e6, parameters=item.pair + 100,
            )  # fmt: skip

        runs = [trained(i) for i in searching.searched(design, searchers, 0, 16)]
        told = judging.searches.of(runs, *searchers)
        runs += [
            trained(item)
            for item in searching.confirmed(
                design, searchers, told, effort=4, seeds=3, sign=sign
            )
        ]
        if teacher is None:
            resolved["teacher"] = []
        else:
            (own,) = [run for run in records.runs if run.arm == "teacher"]
            seen = by_example(teacher, measure.bounded)
            runs.append(
                dataclasses.replace(
                    own, validation=teacher, test=float(seen.mean()), per_example=seen
                )
            )
        constant = 0.1 if measure.bounded else 9.0
        made = dataclasses.replace(
            records, resolved=resolved, runs=runs, constant=constant
        )
        monkeypatch.setattr(judging, "LATENCY", "not there")
        monkeypatch.setattr(experiment, "finished", lambda *_: made)
        return judging.judge(mimic_study.folder)

    return judge


PLAIN = {
    "mlp1-1000": (0.60, 0.65), "mlp2-1000": (0.60, 0.60),
    "conv1-1000": (0.70, 0.75), "conv3-1000": (0.75, 0.85),
}  # fmt: skip


def gaps(document, name):
    return {
        (gap["budget"], gap["from"], gap["to"]): gap for gap in document[name]["gaps"]
    }


def test_convolution_and_depth_that_are_needed(judged):
    document = judged(PLAIN).verdict.to_dict()
    assert document["verdict"] == "convolution needed, depth needed"
    # Everybody without convolution against the best that has some.
    found = gaps(document, "convolution")
    assert [*found] == [(1000, f"mlp{i}-1000", "conv3-1000") for i in (1, 2)]
    (depth,) = gaps(document, "depth")
    assert depth == (1000, "conv1-1000", "conv3-1000")
    for gap, truth in zip(found.values(), (0.20, 0.25), strict=True):
        assert gap["low"] < truth < gap["high"]
        assert gap["estimate"] == pytest.approx(truth, abs=0.01)
    gains = {s["name"]: s["gain"] for s in document["students"]}
    for name, (without, taught) in PLAIN.items():
        assert gains[name]["estimate"] == pytest.approx(taught - without, abs=0.01)
    assert gains["mlp2-1000"]["verdict"] not in ("architecture", "tuning")
    assert gains["conv3-1000"]["verdict"] == "architecture"
    assert (
        "Convolution is needed: at 1,000 parameters, no student without it"
        in (document["sentence"])
    )
    assert "of 4 students 3 gain and 1 is the same" in document["sentence"]
    assert document["teacher"]["score"]["estimate"] == pytest.approx(0.95, abs=1e-3)


def test_what_a_student_without_it_reaches_is_not_needed(judged):
    truth = {
        "mlp1-1000": (0.60, 0.80), "conv1-1000": (0.7, 0.80), "conv3-1000": (0.7, 0.79),
    }  # fmt: skip
    document = judged(truth).verdict.to_dict()
    assert document["verdict"] == "convolution not needed, depth not needed"
    assert "Convolution is not needed: at 1,000 parameters" in document["sentence"]
    assert "Depth is not needed" in document["sentence"]


def test_sizes_that_disagree_are_all_told(judged):
    truth = {
        "mlp1-1000": (0.5, 0.60), "conv1-1000": (0.7, 0.80),
        "mlp1-9000": (0.5, 0.90), "conv1-9000": (0.7, 0.80),
    }  # fmt: skip
    document = judged(truth).verdict.to_dict()
    assert document["verdict"] == "convolution depends on the size"
    assert document["convolution"]["budgets"] == [
        {"budget": 1000, "answer": "needed"},
        {"budget": 9000, "answer": "not needed"},
    ]
    for said in ("at 1,000 parameters", "at 9,000 parameters"):
        assert said in document["sentence"]


def test_one_convolution_that_brings_nothing_answers_for_no_other(judged):
    truth = {
        "mlp1-1000": (0.6, 0.70), "conv1-1000": (0.6, 0.70), "conv3-1000": (0.8, 0.92),
    }  # fmt: skip
    document = judged(truth).verdict.to_dict()
    assert document["verdict"] == "convolution needed, depth needed"


def test_depth_is_of_every_depth(judged, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "conv2", (2, 1))
    truth = {
        "conv1-1000": (0.7, 0.80), "conv2-1000": (0.7, 0.92), "conv3-1000": (0.7, 0.80),
    }  # fmt: skip
    document = judged(truth).verdict.to_dict()
    assert document["verdict"] == "depth needed"
    assert [*gaps(document, "depth")] == [
        (1000, "conv1-1000", "conv2-1000"), (1000, "conv1-1000", "conv3-1000"),
    ]  # fmt: skip


def test_a_student_that_its_teacher_harms_is_compared_without(judged):
    truth = {"mlp1-1000": (0.85, 0.60), "conv1-1000": (0.85, 0.75)}
    document = judged(truth).verdict.to_dict()
    assert document["verdict"] == "convolution not needed"
    assert {s["compared"] for s in document["students"]} == {"without"}
    (said,) = [w for w in document["warnings"] if "harms" in w]
    assert "mlp1-1000 and conv1-1000" in said


def test_the_luck_of_one_run_chooses_nobody(judged):
    """Which form counts follows from the best of k, and not from a single run."""
    judged(PLAIN)
    found = judging._Table(experiment.finished("", "", ""))
    name = judging.named("conv1-1000", True)
    before = found._reached(name)
    runs = found._runs[name]
    best = max(range(16), key=lambda i: runs[i].validation)
    runs[best] = dataclasses.replace(runs[best], validation=0.99)
    assert before < found._reached(name) < 0.9


def test_what_lies_within_noise_stays_open(judged):
    truth = {"mlp1-1000": (0.6, 0.80), "conv1-1000": (0.7, 0.815)}
    document = judged(truth, margin=0.0155).verdict.to_dict()
    assert document["verdict"] == "convolution undecided"
    assert "Whether convolution is needed stays open" in document["sentence"]
    (gap,) = document["convolution"]["gaps"]
    assert gap["low"] < 0.0155 < gap["high"]


def test_nobody_asked_without_convolutional_layouts(judged):
    document = judged({"mlp1-1000": (0.6, 0.7), "mlp2-1000": (0.6, 0.7)}).verdict
    assert document.verdict == "the teacher helps"
    for name in ("convolution", "depth"):
        asked = document.to_dict()[name]
        assert asked == {"answer": None, "budgets": [], "gaps": []}
    assert "of 2 students all gain" in str(document)


@pytest.mark.parametrize(
    ("taught", "verdict"),
    [
        (0.7, "the teacher helps"),
        (0.6, "the teacher brings nothing"),
        (0.5, "the teacher harms"),
    ],
)
def test_ones_own_students_are_judged_by_what_they_gain(judged, taught, verdict):
    found = judged({"lenet": (0.6, taught)})
    document = found.verdict.to_dict()
    assert document["verdict"] == verdict
    (entry,) = document["students"]
    assert (entry["layout"], entry["budget"]) == (None, None)
    assert entry["gain"]["estimate"] == pytest.approx(taught - 0.6, abs=0.01)
    assert entry["to_teacher"]["estimate"] == pytest.approx(taught - 0.95, abs=0.01)
    assert "budgets" not in found.figures
    assert "differs from its teacher by \u2212" in document["sentence"]


def test_a_teacher_worse_than_its_student_is_told(judged):
    plain = judged(PLAIN).verdict.to_dict()
    assert not any("better than the teacher" in said for said in plain["warnings"])
    document = judged(PLAIN, teacher=0.72).verdict.to_dict()
    (said,) = [w for w in document["warnings"] if "better than the teacher" in w]
    assert said.startswith("conv1-1000 and conv3-1000 are better than the teacher")
    assert "mlp" not in said
    assert "--teacher-configurations" in said
    assert "differs from its teacher by +" in document["sentence"]
    for entry in document["students"]:
        expected = PLAIN[entry["name"]][1] - 0.72
        assert entry["to_teacher"]["estimate"] == pytest.approx(expected, abs=0.01)


def test_labels_as_a_teacher_have_no_score(judged):
    found = judged(PLAIN, teacher=None)
    document = found.verdict.to_dict()
    assert document["teacher"] is None
    assert "to_teacher" not in document["students"][0]
    assert "With the labels as their teacher" in document["sentence"]
    assert "Who is the teacher" not in found.page()


def test_a_loss_is_better_where_it_is_less(judged):
    truth = {"mlp1-1000": (0.9, 0.8), "mlp2-1000": (0.9, 0.7), "conv1-1000": (0.6, 0.3)}
    document = judged(
        truth, teacher=0.1, metric="log_loss", margin=0.05
    ).verdict.to_dict()
    assert document["verdict"] == "convolution needed"
    # A gain is better, whichever way the metric goes.
    for gap in document["convolution"]["gaps"]:
        assert gap["verdict"] == "architecture"
        assert gap["estimate"] > 0
    for entry in document["students"]:
        assert entry["gain"]["verdict"] == "architecture"
        assert entry["with"]["estimate"] < entry["without"]["estimate"]
    worse = judged(truth, teacher=0.5, metric="log_loss", margin=0.05).verdict.to_dict()
    (said,) = [w for w in worse["warnings"] if "better than the teacher" in w]
    assert said.startswith("conv1-1000 is better than the teacher")
    (best,) = [s for s in worse["students"] if s["name"] == "conv1-1000"]
    assert best["to_teacher"]["estimate"] == pytest.approx(0.2, abs=0.02)
    assert "by validation, conv1-1000" in worse["sentence"]


def test_intervals_and_chances_are_of_the_whole_family(judged):
    one = {"conv1-1000": (0.70, 0.709)}
    many = {
        **one,
        "mlp1-1000": (0.6, 0.6),
        "mlp2-1000": (0.6, 0.6),
        "lenet": (0.6, 0.6),
    }
    (alone,) = judged(one).verdict.to_dict()["students"]
    among = judged(many).verdict.to_dict()["students"][0]
    assert among["name"] == alone["name"]
    width = {
        name: entry["gain"]["high"] - entry["gain"]["low"]
        for name, entry in (("alone", alone), ("among", among))
    }
    assert width["among"] > 1.1 * width["alone"]
    first, again = (e["gain"]["p_value_adjusted"] for e in (alone, among))
    assert again == pytest.approx(min(1.0, 4 * first), rel=0.5)


def test_whoever_is_chosen_is_chosen_by_validation(judged, monkeypatch):
    """Scores on the test set may say whatever they like."""
    before = judged(PLAIN).verdict.to_dict()
    replace = dataclasses.replace

    def turned(of, **changes):
        if "runs" in changes:
            changes["runs"] = [
                run if run.arm == "teacher" else replace(
                    run, test=1 - run.test, per_example=1 - run.per_example
                )
                for run in changes["runs"]
            ]  # fmt: skip
        return replace(of, **changes)

    monkeypatch.setattr(dataclasses, "replace", turned)
    after = judged(PLAIN).verdict.to_dict()
    for name in ("convolution", "depth"):
        assert [*gaps(after, name)] == [*gaps(before, name)]
    for then, now in zip(before["students"], after["students"], strict=True):
        assert then["parameters"] == now["parameters"]
    assert after["verdict"] != before["verdict"]


def test_the_same_records_have_the_same_verdict_and_a_page(judged):
    found, again = judged(PLAIN), judged(PLAIN)
    assert found.verdict.to_json() == again.verdict.to_json()
    json.loads(found.verdict.to_json())
    assert set(found.figures) == {"budgets", "gains", "gaps"}
    page = found.page()
    for name in (*PLAIN, "Who is the teacher?", "Convolution is needed"):
        assert name in page
    assert page == again.page()


def test_the_papers_points_stand_beside_the_papers_data_alone(judged, mimic_study):
    assert judged(PLAIN).verdict.to_dict()["published"] == []
    data = mimic_study.resolved["data"]
    for called, shape, has in (
        ("cifar10", [3, 32, 32], True), ("CIFAR-10", [3, 32, 32], True),
        ("cifar100", [3, 32, 32], False), ("cifar10", [1, 32, 32], False),
    ):  # fmt: skip
        told = {**data, "name": called, "input_shape": shape}
        points = judged(PLAIN, data=told).verdict.to_dict()["published"]
        assert bool(points) is has, called
    points = judging._published({**data, "name": "cifar10", "input_shape": [3, 32, 32]})
    kinds = {(p["layout"], p["taught"]) for p in points}
    assert {("conv1", True), ("conv4", True)} <= kinds
    assert all(0.3 < p["score"] < 1 and p["parameters"] > 1e5 for p in points)
    assert not any(layout.startswith("conv0") for layout, _ in kinds)

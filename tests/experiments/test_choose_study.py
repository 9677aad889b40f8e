"""A choice is carried out: who leaves, who is trained on all rows, what is kept."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

import archtrial
from archtrial import progress
from archtrial import protocol as protocols
from archtrial.errors import StudyError
from archtrial.experiments import judge
from archtrial.experiments.choose import training
from archtrial.experiments.choose.protocol import PLAIN
from archtrial.experiments.choose.study import Study
from archtrial.experiments.choose.verdict import (
    CLOCK,
    FINAL_SEEDS,
    STOPPED,
    _Judged,
)
from archtrial.judge import experiment
from archtrial.records.store import Store
from archtrial.trainers import Item

from . import chosen


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return chosen.saved(tmp_path_factory.mktemp("choose"))


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A small choice, carried out once."""
    return chosen.carried_out(
        chosen.declared(data), tmp_path_factory.mktemp("choose") / "study"
    )


@pytest.fixture(scope="module")
def document(done):
    return done.verdict.to_dict()


def runs_of(done, **where):
    with Store(done.folder, read_only=True) as store:
        return [
            run
            for run in store.runs()
            if all(getattr(run, name) == value for name, value in where.items())
        ]


def parts(done, part, **where):
    return [r for r in runs_of(done, **where) if r.coordinates["part"] == part]


def test_a_line_leaves_where_no_line_divides_the_classes(document):
    (linear, *_) = document["arms"]
    assert linear["left"]["look"] == 1
    assert linear["left"]["to"] in ("mlp(depth=2, width=24)", "wide")
    assert linear["left"]["gap"]["high"] < -document["margin"]
    assert linear["final"] is None
    assert document["arm"] != "linear"
    assert document["verdict"] in ("recommended", "undecided")


def test_every_arm_has_n_k_and_r_in_full(done, document):
    for arm in document["arms"]:
        searched = parts(done, "search", arm=arm["name"], stage="search")
        assert len(searched) == arm["configurations"] >= 16
        confirmed = parts(done, "search", arm=arm["name"], stage="confirm")
        seeds = [run.seed for run in confirmed if run.pair == arm["pair"]]
        assert sorted(seeds) == [1, 2, 3]


def test_finalists_have_fresh_seeds_and_are_all_that_the_test_set_sees(done, document):
    finalists = [arm["name"] for arm in document["arms"] if arm["left"] is None]
    finals = [r for r in parts(done, "final") if r.stage == "confirm"]
    assert {run.arm for run in finals} == set(finalists)
    assert min(run.seed for run in finals) > FINAL_SEEDS
    assert len(done.split.x_test) == len(finals[0].per_example) == 60
    # What the searches are compared by are validation rows, of which there are others.
    assert {len(r.per_example) for r in parts(done, "search")} == {60}
    y = done.split.y_validation
    with Store(done.folder, read_only=True) as store:
        assert store.openings == 1
    run = parts(done, "search", stage="search")[0]
    assert run.test == pytest.approx(run.validation)
    assert set(np.unique(run.per_example)) <= {0.0, 1.0}
    assert len(y) == 60


def test_finalists_differ_by_what_their_runs_say(done, document):
    """The gap of the verdict is the difference of means over the finalists' runs."""
    for gap in document["gaps"]:
        means = [
            np.mean([r.test for r in parts(done, "final", arm=gap[end])])
            for end in ("to", "from")
        ]
        assert gap["estimate"] == pytest.approx(means[0] - means[1])
        assert gap["low"] < gap["estimate"] < gap["high"]


def test_the_estimator_that_is_not_tuned_stands_beside(done, document):
    (run,) = runs_of(done, stage="default")
    assert document["plain"]["name"] == "HistGradientBoostingClassifier"
    assert document["plain"]["score"]["estimate"] == pytest.approx(run.test)
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y = done.split.x_train, done.split.y_train
    fitted = HistGradientBoostingClassifier().fit(x[:], y)
    (scored,) = done.split.open_test(
        done.metric, [fitted.predict(done.split.x_test[:])]
    )
    assert np.mean(scored) == pytest.approx(run.test)


def test_a_page_is_written_from_the_records_alone(done):
    page = judge(done.folder).page()
    assert "What exactly is claimed?" in page
    assert "mean test accuracy over fresh seeds and examples" in page
    assert "not tuned" in page
    for name in ("front", "path"):
        done.judgement.figure(name)


def test_what_the_page_says_to_type_loads_and_predicts(done, document):
    page = judge(done.folder).page()
    lines = [
        "import archtrial",
        f"model = archtrial.load_tuned({str(done.folder)!r}, {document['arm']!r})",
        "model.predict(x)",
    ]
    for line in lines:
        assert line.replace("'", "&#39;") in page
    x = np.load(done.protocol.data)["x"]
    told = {"x": x}
    exec("\n".join(lines), told)
    assert told["model"].predict(x).shape == (300,)
    y = np.load(done.protocol.data)["y"]
    assert (
        np.mean(archtrial.load_tuned(done.folder, document["arm"]).predict(x) == y)
        > 0.7
    )


def test_the_protocol_to_go_on_with_is_a_trial_of_two_arms(done, document):
    found = protocols.load(done.folder / "next.toml")
    assert found.seed == done.protocol.seed + 1
    names = [arm.name for arm in found.arms]
    assert document["arm"] in names
    assert len(names) == 2
    assert found.margin == document["margin"]
    assert found.steps == done.plan.final_steps
    from archtrial import trial

    prepared = trial.Zoo.of(found)
    assert {*prepared.spaces[names[1]]} == {"learning_rate", "weight_decay", "dropout"}


def test_going_on_with_what_is_finished_changes_nothing(done):
    before = (done.folder / "verdict.json").read_text()
    with chosen.quick(seconds=1.0):  # another pace, which is not asked any more
        again = Study(done.protocol, done.folder)
        again.run()
    assert again.resolved == done.resolved
    assert (done.folder / "verdict.json").read_text() == before


def test_a_study_goes_on_where_it_was_interrupted(done, data, tmp_path):
    def watch(standing):
        if standing.stage == "finalists, 3 seeds":
            raise KeyboardInterrupt

    with chosen.quick():
        first = Study(chosen.declared(data), tmp_path / "study")
        with pytest.raises(KeyboardInterrupt):
            first.run(watch=watch)
        second = Study(chosen.declared(data), tmp_path / "study")
        second.run()
    ours, theirs = (
        json.loads((folder / "verdict.json").read_text())
        for folder in (tmp_path / "study", done.folder)
    )
    # The plan says how many seconds had passed, and so has another hash.
    assert {**ours, "protocol_hash": None} == {**theirs, "protocol_hash": None}


def test_a_look_is_planned_as_it_was_before_later_ones(data, tmp_path):
    def watch(standing):
        if standing.stage == "fresh seeds, look 2":
            raise KeyboardInterrupt

    def planned(folder):
        with Store(folder, read_only=True) as store:
            return {s.name: s.planned for s in progress.stages(store)}

    protocol = chosen.declared(data, arms=chosen.ARMS[1:])
    with chosen.quick():
        with pytest.raises(KeyboardInterrupt):
            Study(protocol, tmp_path / "study").run(watch=watch)
        before = planned(tmp_path / "study")
        Study(protocol, tmp_path / "study").run()
    after = planned(tmp_path / "study")
    assert {name: after[name] for name in before} == before


def test_two_workers_find_what_one_does(done, data, tmp_path):
    with chosen.quick():
        study = Study(chosen.declared(data), tmp_path / "study")
        study.run(workers=2)
    ours, theirs = study.verdict.to_dict(), done.verdict.to_dict()
    assert {**ours, "protocol_hash": None} == {**theirs, "protocol_hash": None}


def test_the_clock_stops_between_looks_and_is_heard_again(data, tmp_path):
    protocol = chosen.declared(data, arms=chosen.ARMS[1:])
    with chosen.quick() as patch:
        study = Study(protocol, tmp_path / "study")
        slow = study._clock
        patch.setattr(type(slow), "seconds", property(lambda self: 10_000.0))
        study.run()
        patch.undo()
    found = study.verdict.to_dict()
    assert found["looks"] == [16]
    assert found["seeds"] == 3
    assert found["stops"] == ["look 2", "6 seeds"]
    assert "the time was over before look 2 and 6 seeds" in study.judgement.page()
    with Store(study.folder, read_only=True) as store:
        assert [n for _, n, _ in store.events()].count(STOPPED) == 2
    with chosen.quick():
        again = Study(protocol, tmp_path / "study")
        again.run()  # with all the time there is
    assert again.verdict.to_dict() == found


def test_the_clock_goes_on_where_the_last_stage_ended(done):
    with Store(done.folder, read_only=True) as store:
        events = store.events()
    told = [json.loads(detail) for _, name, detail in events if name == CLOCK]
    assert [*map(sorted, told)] == [["seconds", "training"]] * len(told)
    assert told[0]["seconds"] < told[-1]["seconds"]
    clock = type(done._clock)()
    clock.go_on_from(**told[-1])
    assert clock.seconds >= told[-1]["seconds"]
    assert clock.training == told[-1]["training"] <= told[-1]["seconds"]


def test_an_estimator_that_failed_names_no_place_of_the_machine(done):
    records = experiment.finished(done.folder, "choose", "archtrial choose --study")
    failed = [
        dataclasses.replace(run, error="ValueError: no (/somewhere/a.py:3)")
        if run.arm == PLAIN
        else run
        for run in records.runs
    ]
    found = _Judged(dataclasses.replace(records, runs=failed), ()).document()
    assert found["plain"]["error"] == "ValueError"
    assert found["plain"]["score"] is None


def test_another_declaration_is_refused_in_a_folder(done, data):
    with chosen.quick(), pytest.raises(StudyError):
        Study(chosen.declared(data, margin=0.1), done.folder).run()


def test_nested_parts_have_all_classes_in_their_shares():
    y = np.repeat([0, 1, 2], [600, 300, 100])
    order = training.nested(y, "classification", 0, "training")
    assert sorted(order) == list(range(1000))
    for n in (20, 100, 500):
        assert np.bincount(y[order[:n]]) / n == pytest.approx([0.6, 0.3, 0.1], abs=0.05)
    other = training.nested(y, "classification", 1, "training")
    assert not np.array_equal(order, other)
    assert sorted(training.nested(np.zeros(9), "regression", 0, "t")) == list(range(9))


def test_an_arm_without_a_seed_is_fitted_once_for_all_seeds(data, tmp_path):
    protocol = chosen.declared(
        data, arms=("linear", "forest=sklearn:HistGradientBoostingClassifier")
    )
    with chosen.quick():
        study = Study(protocol, tmp_path / "study")
    fits = study.trainer.trainers["search"].fits
    assert fits.seedless == {"forest"}
    values = study.design.configuration("forest", 0)
    items = [
        Item("forest", pair, seed, "confirm", values, further={"part": "search"})
        for pair in (0, 1)
        for seed in (1, 2, 3)
    ]
    tasks = study.trainer.divide(items)
    assert tasks == [tuple(items)]  # both pairs have one configuration here
    alone = [study.trainer((item,))[0] for item in items]
    together = study.trainer(tasks[0])
    assert [done.run.key for done in together] == [done.run.key for done in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.run.validation == other.run.validation
        assert np.array_equal(one.sealed, other.sealed)


def test_what_judges_loads_no_torch(done):
    code = (
        "import sys; from archtrial.experiments import judge;"
        f" print(judge({str(done.folder)!r}).verdict); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip().endswith("False"), found.stderr

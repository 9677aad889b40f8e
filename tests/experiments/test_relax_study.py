"""The experiment end to end: real networks on real data, small."""

import collections
import copy
import dataclasses
import itertools
import json
import pickle
import re
import shutil
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import safetensors.torch
import torch
from scipy import stats

from archtrial import equivalents, execution, randomness
from archtrial.errors import ArmError, RecordsError, StudyError
from archtrial.experiments import relax
from archtrial.experiments.relax import measures, training
from archtrial.experiments.relax import study as studying
from archtrial.experiments.relax import verdict as judging
from archtrial.experiments.relax.study import Study
from archtrial.experiments.relax.training import Item
from archtrial.files import write
from archtrial.records.store import Store
from archtrial.records.table import Run
from archtrial.training import recipe, run

TIMES, SEEDS, RATES = (0, 3, 6), range(1, 7), (0.1, 0.4)


def runs_of(folder):
    with Store(folder, read_only=True) as store:
        return store.runs()


@pytest.fixture(scope="module")
def rows(trained):
    """By (arm, rate, seed, reading), what the store has."""
    return {(r.arm, r.pair, r.seed, r.reading): r for r in runs_of(trained.folder)}


@pytest.fixture(scope="module")
def document(trained):
    return json.loads((trained.folder / "verdict.json").read_text())


# ---------------------------------------------------------------------- what there is


def test_every_stage_has_its_rows(trained, rows):
    counted = collections.Counter(
        (r.stage, r.arm, r.reading) for r in rows.values()
    )  # fmt: skip
    wanted = {}
    for reading in ("best", "last"):
        # As many rates, by as many tuning seeds, for the CNN that goes on.
        for arm in (
            "cnn@6", "fcn@6", "kept@0", "kept@3", "kept@6", "efcn@0", "efcn@3", "efcn@6",
        ):  # fmt: skip
            wanted["search", arm, reading] = 2 * 2  # rates by tuning seeds
        for arm, time in itertools.product(("cnn", "fcn", "kept", "efcn"), TIMES):
            wanted["confirm", f"{arm}@{time}", reading] = 6
    assert counted == wanted
    assert {r.seed for r in rows.values() if r.stage == "search"} == {0, -1}
    assert {r.seed for r in rows.values() if r.stage == "confirm"} == set(SEEDS)


def test_trainings_are_forecast_and_counted(trained, document):
    forecast = trained.forecast()
    # 2 rates by 2 tuning seeds, at each relax time for what goes on; then 6 seeds.
    assert forecast["trainings"] == {"cnn": 10, "fresh": 10, "kept": 30, "relaxed": 30}
    assert document["cost"]["trainings"] == 80
    # What is kept has the CNN's cost of a step, for half as many steps.
    assert forecast["flops"]["kept"] == 3 * forecast["flops"]["cnn"] / 2
    assert forecast["flops"]["relaxed"] == 3 * forecast["flops"]["fresh"] / 2
    assert document["cost"]["flops"] == sum(forecast["flops"].values())


def test_the_test_set_is_opened_once_and_when_all_has_been_trained(trained, rows):
    with Store(trained.folder, read_only=True) as store:
        assert store.openings == 1
        assert not store.sealed()
    assert trained.standings[-1].stage == "test"
    assert trained.standings[-1].done == len(rows)
    assert all(run.test is not None for run in rows.values())


def test_the_watcher_sees_five_stages_come_to_their_end(trained):
    stages = collections.defaultdict(list)
    for standing in trained.standings:
        stages[standing.stage].append((standing.done, standing.planned))
    assert [seen[-1] for seen in stages.values()] == [
        (8, 8), (12, 12), (24, 24), (18, 18), (18, 18), (208, 0),
    ]  # fmt: skip
    for seen in stages.values():
        assert seen == sorted(seen)
    assert all(seen[0][0] == 0 for name, seen in stages.items() if name != "test")


def test_the_folder_has_the_verdict_and_the_page(trained, document):
    assert document == trained.verdict.to_dict()
    assert str(trained.verdict) == document["sentence"]
    page = (trained.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert document["sentence"].split(",")[0] in page
    assert not list(trained.folder.glob("**/*.unfinished"))


def test_the_document_is_as_its_schema_says(document, amount_study):
    text = resources.files(relax).joinpath("verdict.schema.json").read_text()
    schema = jsonschema.Draft202012Validator(json.loads(text))
    schema.check_schema(schema.schema)
    schema.validate(document)
    published = Path(__file__).parents[2] / "examples" / "relax" / "results"
    others = [json.loads(file.read_text()) for file in published.glob("*.json")]
    assert len(others) == 4
    for other in (*others, amount_study.verdict.to_dict()):
        schema.validate(other)
    # Nothing may be missing, and nothing may be there that is not described.
    for name in document:
        left = {key: value for key, value in document.items() if key != name}
        assert not schema.is_valid(left), name
    assert not schema.is_valid({**document, "more": 1})


def test_the_document_has_what_was_promised(document):
    assert {
        "schema", "kind", "verdict", "strong", "sentence", "warnings", "notes",
        "metric", "margin", "margin_assumed", "alpha", "reading", "other_reading",
        "names", "data", "architecture", "seed", "protocol_hash", "steps",
        "batches_per_epoch", "seeds", "test_examples", "parameters", "best_time",
        "times", "fresh_gap", "learning_rates", "published", "cost",
    } <= set(document)  # fmt: skip
    assert (document["schema"], document["kind"]) == (1, "relax")
    assert document["metric"] == {
        "name": "accuracy", "higher_is_better": True, "bounded": True,
    }  # fmt: skip
    assert (document["margin"], document["margin_assumed"]) == (0.05, False)
    assert (document["reading"], document["other_reading"]) == ("best", "last")
    assert document["published"] is None
    for entry, time in zip(document["times"], TIMES, strict=True):
        assert entry["relax_time"] == time
        assert {
            "relax_time", "scores", "points", "gain", "gain_other", "gain_over_fresh",
            "validation", "deviation", "untied", "deviation_by_layer", "path",
            "curvature", "gradient_norm", "diverged", "measured",
        } <= set(entry)  # fmt: skip
        assert set(entry["gain"]) == {
            "estimate", "low", "high", "p_value", "p_value_adjusted",
        }  # fmt: skip
        assert set(entry["validation"]) == {
            "start", "relaxed", "cnn", "local_alone", "off_local_alone",
            "average_of_outputs",
        }  # fmt: skip
        assert set(entry["path"]) == {"position", "loss", "score", "barrier"}
        for name in ("curvature", "gradient_norm"):
            assert set(entry[name]) == {"start", "end"}


def test_the_document_has_the_sizes_of_the_networks(trained, document):
    module = trained.architecture.build((1, 8, 8), 10, {})
    network = equivalents.equivalent_fcn(module, (1, 8, 8))
    assert document["parameters"]["cnn"] == sum(p.numel() for p in module.parameters())
    held = sum(p.numel() for p in network.parameters())
    assert document["parameters"]["without_padding"] == held
    assert document["parameters"]["relaxed"] == trained.sizes.fcn > held
    assert document["test_examples"] == trained.split.test_size
    assert document["protocol_hash"] == trained.hash
    assert any(f"{trained.sizes.fcn:,}" in note for note in trained.notes)
    assert f" {trained.sizes.fcn - held:,} would read padding" in trained.notes[0]


@pytest.mark.parametrize("name", ["trained", "amount_study"])
def test_weights_are_counted_as_each_network_trains_them(name, request):
    trainer = request.getfixturevalue(name).trainer
    for kind in ("cnn", "kept", "relaxed", "fresh"):
        held = sum(p.numel() for p in trainer.network(kind).parameters())
        assert trainer.parameters[kind] == held


def test_the_document_has_the_lengths_that_were_declared(trained, document):
    assert document["steps"] == 6
    assert document["tuning_seeds"] == 2
    assert document["batches_per_epoch"] == len(trained.split.y_train) / 100


def test_no_path_clock_or_machine_stands_in_the_verdict(trained):
    text = (trained.folder / "verdict.json").read_text()
    assert str(trained.folder) not in text
    assert "seconds" not in text
    assert "began" not in text


# -------------------------------------------------------------- what is made of the runs


def rate_by_hand(rows, arm, reading="best"):
    """Returns the learning rate with the best mean validation over tuning seeds."""
    means = [
        np.mean([rows[arm, rate, seed, reading].validation for seed in (0, -1)])
        for rate in range(len(RATES))
    ]
    return int(np.argmax(means)), means


def test_learning_rates_are_chosen_by_the_mean_validation_of_the_declared_reading(
    rows, document
):
    entries = {entry["arm"]: entry for entry in document["learning_rates"]}
    assert [(name, entry["role"]) for name, entry in entries.items()] == [
        ("cnn", "cnn"), ("fcn", "fresh"),
        ("kept@0", "kept"), ("kept@3", "kept"), ("kept@6", "kept"),
        ("efcn@0", "relaxed"), ("efcn@3", "relaxed"), ("efcn@6", "relaxed"),
    ]  # fmt: skip
    for name, entry in entries.items():
        arm = name if "@" in name else f"{name}@6"
        best, means = rate_by_hand(rows, arm)
        assert entry["chosen"] == RATES[best]
        assert [one["learning_rate"] for one in entry["tried"]] == list(RATES)
        assert [one["validation"] for one in entry["tried"]] == pytest.approx(means)
        assert entry["at_edge"]
        called = {"cnn": "CNN", "kept": "CNN", "fcn": "FCN", "efcn": "eFCN"}
        kind, _, time = name.partition("@")
        since = f" from step {time} on" if time else ""
        warned = f"{called[kind]}{since} ({RATES[best]:g})"
        assert re.search(rf"[ ,]{re.escape(warned)}[,:]", document["warnings"][-1])
    assert entries["efcn@3"]["relax_time"] == entries["kept@3"]["relax_time"] == 3
    assert entries["cnn"]["relax_time"] is entries["fcn"]["relax_time"] is None


def test_what_is_chosen_is_what_the_fresh_seeds_train_with(rows, document):
    chosen = {entry["arm"]: entry["chosen"] for entry in document["learning_rates"]}
    for (arm, rate, _, _), found in rows.items():
        if found.stage == "confirm":
            name = arm if arm in chosen else arm.partition("@")[0]
            assert found.configuration == {"learning_rate": chosen[name]}
            assert RATES[rate] == chosen[name]


def test_a_learning_rate_is_never_chosen_by_test_nor_by_the_other_reading(rows):
    def other(found, **changes):
        fields = {**vars(found), **changes}
        return type(found)(**fields)

    _, means = rate_by_hand(rows, "cnn@6")
    # Everything but the mean validation score of the declared reading is turned round.
    turned = [
        other(found, test=-found.test)
        if found.reading == "best" and found.stage == "search"
        else other(found, validation=-found.validation)
        for found in rows.values()
    ]
    known = judging.tried(turned, "cnn@6", "best", 1)
    assert [one.validation for one in known] == means
    assert judging.chosen(known) == rate_by_hand(rows, "cnn@6")[0]
    # An error is best where it is least; of equals the smallest rate is taken.
    fewest = judging.chosen(judging.tried(turned, "cnn@6", "best", -1))
    assert fewest == int(np.argmin(means))
    level = [other(found, validation=0.5) for found in rows.values()]
    assert judging.chosen(judging.tried(level, "cnn@6", "best", 1)) == 0


THREE = (0.1, 0.2, 0.4)
# By learning rate and tuning seed: the second has the best mean, the first the best
# median.
SCORES = ((0.5, 0.5, 0.5), (0.9, 0.4, 0.4), (0.1, 0.1, 0.1))


def tuned(arm, order=(0, 1, 2), errors=((None,) * 3,) * 3):
    """Returns three tuning runs at each of three learning rates."""
    return [
        Run(
            arm, rate, -seed, "search", {"learning_rate": THREE[rate]},
            SCORES[which][seed], error=errors[rate][seed], reading="best",
        )
        for rate, which in enumerate(order)
        for seed in range(3)
    ]  # fmt: skip


def test_the_mean_over_tuning_seeds_decides_and_may_lie_within_the_range():
    resolved = {
        "form": "fcn", "reading": "best", "relax_times": [3], "learning_rates": THREE,
    }  # fmt: skip
    runs = [
        *tuned("cnn@3"), *tuned("fcn@3", (1, 0, 2)), *tuned("kept@3", (2, 0, 1)),
        *tuned("efcn@3"),
    ]  # fmt: skip
    entries = judging._learning_rates(resolved, runs, 1)
    assert [(entry["chosen"], entry["at_edge"]) for entry in entries] == [
        (0.2, False), (0.1, True), (0.4, True), (0.2, False),
    ]  # fmt: skip
    means = [entry["validation"] for entry in entries[0]["tried"]]
    assert means == pytest.approx([0.5, 1.7 / 3, 0.1])


def test_a_learning_rate_failed_where_every_run_did_for_a_reason_of_its_own():
    slip, late = "ValueError: a slip", f"{judging.CNN_DIVERGED}: before step 3"
    errors = ((slip, None, None), (slip, slip, late), (late, late, late))
    known = judging.tried(tuned("efcn@3", errors=errors), "efcn@3", "best", 1)
    assert [one.failed for one in known] == [False, True, False]


def width(values, alpha=0.05):
    """Returns that of Student's interval."""
    quantile = stats.t.ppf(1 - alpha / 2, len(values) - 1)
    return 2 * quantile * np.std(values, ddof=1) / np.sqrt(len(values))


def test_scores_and_gains_are_means_over_paired_seeds(rows, document):
    chosen = {e["arm"]: RATES.index(e["chosen"]) for e in document["learning_rates"]}

    def scores(kind, time, reading):
        arm = {
            "relaxed": "efcn", "cnn": "kept", "fresh": "fcn", "throughout": "cnn",
        }[kind]  # fmt: skip
        rate = chosen[f"{arm}@{time}" if kind in ("relaxed", "cnn") else arm]
        return np.array(
            [rows[f"{arm}@{time}", rate, seed, reading].test for seed in SEEDS]
        )

    for entry in document["times"]:
        time = entry["relax_time"]
        for reading in ("best", "last"):
            for kind in ("relaxed", "cnn", "fresh"):
                own = scores(kind, time, reading)
                assert entry["points"][reading][kind] == own.tolist()
                found = entry["scores"][reading][kind]
                assert found["estimate"] == pytest.approx(own.mean())
                assert found["high"] - found["low"] == pytest.approx(width(own))
        for name, than, reading in (
            ("gain", "cnn", "best"),
            ("gain_other", "cnn", "last"),
            ("gain_over_fresh", "fresh", "best"),
        ):
            gain = (
                scores("relaxed", time, reading) - scores(than, time, reading)
            ).mean()
            assert entry[name]["estimate"] == pytest.approx(gain)
            assert entry[name]["low"] < gain < entry[name]["high"]
    # At one rate from its start to the longest budget: the prior held throughout.
    gap = (scores("throughout", 6, "best") - scores("fresh", 6, "best")).mean()
    assert document["fresh_gap"]["estimate"] == pytest.approx(gap)
    gains = [entry["gain"]["estimate"] for entry in document["times"]]
    assert document["best_time"] == TIMES[int(np.argmax(gains))]


@pytest.mark.parametrize("reading", ["best", "last"])
def test_the_gain_is_over_what_was_kept_and_the_prior_is_held_throughout(
    trained, reading, monkeypatch
):
    """With scores that no two networks share, whatever rates were chosen."""
    random = np.random.default_rng(0)
    scored = [
        dataclasses.replace(found, test=random.random(), validation=random.random())
        for found in sorted(
            runs_of(trained.folder),
            key=lambda run: (run.arm, run.pair, run.seed, run.reading),
        )
    ]
    resolved = {
        **trained.resolved, "reading": reading, "margin": None, "alpha": 0.1, "seed": 7,
    }  # fmt: skip
    asked, judge = [], judging.statistics.judge_relaxation

    def asking(*readings, **options):
        asked.append((*readings, options))
        return judge(*readings, **options)

    monkeypatch.setattr(judging.statistics, "judge_relaxation", asking)
    document = judging._document("", resolved, scored)
    ((declared, _, options),) = asked
    for given in (document, options):
        assert (given["alpha"], given["seed"]) == (0.1, 7)
    by_arm = collections.defaultdict(dict)
    validation = collections.defaultdict(dict)
    for found in scored:
        if found.stage == "confirm":
            by_arm[found.arm, found.reading][found.seed] = found.test
            validation[found.arm, found.reading][found.seed] = found.validation

    def of(arm, which, known=by_arm):
        return np.array([known[arm, which][seed] for seed in SEEDS])

    other = {"best": "last", "last": "best"}[reading]
    for entry in document["times"]:
        time = entry["relax_time"]
        for name, than, which in (
            ("gain", "kept", reading),
            ("gain_other", "kept", other),
            ("gain_over_fresh", "fcn", reading),
        ):
            gain = of(f"efcn@{time}", which) - of(f"{than}@{time}", which)
            assert entry[name]["estimate"] == pytest.approx(gain.mean())
        assert entry["points"][reading]["cnn"] == of(f"kept@{time}", reading).tolist()
        own = [
            found.measures["deviation"]
            for found in scored
            if (found.arm, found.stage, found.reading)
            == (f"efcn@{time}", "confirm", "last")
        ]
        apart = entry["deviation"]["high"] - entry["deviation"]["low"]
        assert apart == pytest.approx(width(own, 0.1))
    # Of the test examples' draw the intervals know by each one's mean over all seeds.
    assert not any("this very test set" in warning for warning in document["warnings"])
    for arm, known in (
        ("efcn", declared.relaxed), ("kept", declared.cnn), ("fcn", declared.fresh),
    ):  # fmt: skip
        for time, examples in zip(TIMES, known.examples, strict=True):
            own = [
                found.per_example
                for found in scored
                if (found.arm, found.stage, found.reading)
                == (f"{arm}@{time}", "confirm", reading)
            ]
            assert examples == pytest.approx(np.mean(own, 0))
    gap = of("cnn@6", reading) - of("fcn@6", reading)
    assert document["fresh_gap"]["estimate"] == pytest.approx(gap.mean())
    # The margin is of the CNN's validation scores, before anything goes on.
    spread = [of(f"cnn@{t}", reading, validation).std(ddof=1) for t in TIMES]
    assert document["margin_assumed"]
    assert document["margin"] == float(f"{np.median(spread):.2g}")


def test_measures_are_means_over_seeds(rows, document):
    for entry in document["times"]:
        own = [
            found.measures
            for (arm, _, seed, reading), found in rows.items()
            if (arm, reading) == (f"efcn@{entry['relax_time']}", "last") and seed > 0
        ]
        assert len(own) == 6

        def near(found, values):
            assert found["estimate"] == pytest.approx(np.mean(values))
            assert found["high"] - found["low"] == pytest.approx(width(values))
            assert found["low"] <= found["estimate"] <= found["high"]

        for name in ("deviation", "untied"):
            near(entry[name], [m[name] for m in own])
        for name in ("curvature", "gradient_norm"):
            for end in ("start", "end"):
                near(entry[name][end], [m[name][end] for m in own])
        for name in entry["validation"]:
            near(entry["validation"][name], [m["validation"][name] for m in own])
        for layer in ("0.convolution", "1.convolution"):
            near(
                entry["deviation_by_layer"][layer],
                [m["deviation_by_layer"][layer] for m in own],
            )
        for place in range(11):
            for what in ("loss", "score"):
                near(entry["path"][what][place], [m["path"][what][place] for m in own])
        near(entry["path"]["barrier"], [m["path"]["barrier"] for m in own])


def test_means_are_over_the_seeds_that_were_measured(trained, rows):
    rows = {
        (found.arm, found.seed, found.reading): found
        for found in rows.values()
        if found.stage == "confirm"
    } | {key: found for key, found in rows.items() if found.stage == "search"}
    own = {seed: rows["efcn@3", seed, "last"].measures for seed in SEEDS}
    own[1] = {}
    own[2] = {**own[2], "path": None, "curvature": {"start": None, "end": None}}
    for seed, known in own.items():
        rows["efcn@3", seed, "last"] = dataclasses.replace(
            rows["efcn@3", seed, "last"], measures=known
        )
    entry = judging._document("", trained.resolved, list(rows.values()))["times"][1]
    assert entry["measured"] == 5

    def near(found, first, read):
        values = [read(own[seed]) for seed in range(first, 7)]
        assert found["estimate"] == pytest.approx(np.mean(values))
        assert found["high"] - found["low"] == pytest.approx(width(values))

    near(entry["deviation"], 2, lambda m: m["deviation"])
    near(entry["validation"]["start"], 2, lambda m: m["validation"]["start"])
    near(entry["gradient_norm"]["end"], 2, lambda m: m["gradient_norm"]["end"])
    near(entry["curvature"]["end"], 3, lambda m: m["curvature"]["end"])
    near(entry["path"]["barrier"], 3, lambda m: m["path"]["barrier"])
    near(entry["path"]["score"][5], 3, lambda m: m["path"]["score"][5])


def test_only_the_last_reading_of_what_is_relaxed_carries_measures(rows):
    for (arm, _, seed, reading), found in rows.items():
        measured = arm.startswith("efcn") and reading == "last" and seed > 0
        assert bool(found.measures) == measured


def test_the_best_reading_is_the_best_on_the_way(rows):
    """And the CNN is read at the budget of each relax time, all of one training."""
    checked = 0
    for (arm, rate, seed, reading), found in rows.items():
        kind, _, time = arm.partition("@")
        # How long a training took stands in one of its rows, as its curve does.
        assert (found.seconds > 0) == bool(found.curve)
        if reading == "last" and found.curve:
            curve = {point.step: point.validation for point in found.curve}
            goes_on = kind in ("efcn", "kept")
            times = TIMES if not goes_on and seed > 0 else (int(time),)
            for each in times:
                budget = 6 + (0 if goes_on else each)
                last = rows[f"{kind}@{each}", rate, seed, "last"]
                best = rows[f"{kind}@{each}", rate, seed, "best"]
                assert last.validation == curve[budget]
                assert best.validation == max(
                    score for step, score in curve.items() if step <= budget
                )
                assert last.flops * max(curve) == pytest.approx(found.flops * budget)
                assert best.flops == 0
                checked += 1
    assert checked == 104
    assert any(
        rows[arm, rate, seed, "best"].validation > found.validation
        for (arm, rate, seed, reading), found in rows.items()
        if reading == "last"
    )


# --------------------------------------------------- whatever happens, the same verdict


class StoppedError(Exception):
    pass


def never(*_):
    raise AssertionError("nothing is left to train")


def test_a_finished_study_trains_nothing_again(trained, small, monkeypatch):
    before = (trained.folder / "verdict.json").read_bytes()
    monkeypatch.setattr(training.Trainer, "__call__", never)
    again = Study(small, trained.folder)
    assert again.run().to_dict() == trained.verdict.to_dict()
    assert (trained.folder / "verdict.json").read_bytes() == before
    with Store(trained.folder, read_only=True) as store:
        assert store.openings == 1


def test_interrupted_within_every_stage_it_ends_with_the_same_bytes(
    trained, small, tmp_path
):
    seen, trainings, written = set(), [], []
    whole = training.Trainer.__call__

    def counting(self, task):
        trainings.extend(task)
        return whole(self, task)

    def watch(standing):
        within = standing.done > 0 and standing.done != standing.planned
        if within and standing.stage not in seen:
            seen.add(standing.stage)
            raise StoppedError

    def writing(path, content):
        written.append(path)
        if len(written) == 2:
            raise StoppedError
        write(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "__call__", counting)
        patch.setattr(studying, "write", writing)
        for stopped in (True,) * 7 + (False,):
            study = Study(small, tmp_path)
            if stopped:
                with pytest.raises(StoppedError):
                    study.run(watch=watch)
                with pytest.raises(RecordsError, match="archtrial relax --study"):
                    _ = study.verdict
            else:
                study.run(watch=watch)
    assert len(seen) == 6
    # What had been recorded was not trained again; what had not, as its weights could
    # not be written, was.
    assert trainings[:4] == trainings[4:8]
    assert len(trainings[4:]) == len(set(trainings)) == 80
    for name in ("verdict.json", "protocol.json"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_the_number_of_workers_changes_nothing(trained, small, tmp_path, monkeypatch):
    crews = []

    class Counted(execution.Crew):
        def __init__(self, setup, **how):
            crews.append(how)
            super().__init__(setup, **how)

    monkeypatch.setattr(execution, "Crew", Counted)
    Study(small, tmp_path).run(workers=2)
    assert crews == [{"workers": 2, "threads": 1}]
    for name in ("verdict.json", "protocol.json"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_each_stage_goes_on_with_the_rate_that_was_chosen_for_it(
    small, tmp_path, monkeypatch
):
    best, planned = {"cnn": 1, "fresh": 0, "kept": 0, "relaxed": 0}, []

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr(Study, "_chosen", lambda self, kind, *_: best[kind])
    monkeypatch.setattr(
        Study, "_carry_out", lambda self, stage, items, work: planned.append(items)
    )
    monkeypatch.setattr(Study, "_open_test", stop)
    with pytest.raises(StoppedError):
        Study(small, tmp_path).run()
    _, fresh, tuning, kept, relaxed = planned
    assert {(item.kind, item.rate) for item in fresh} == {("cnn", 1), ("fresh", 0)}
    assert {item.cnn_rate for item in itertools.chain(tuning, kept, relaxed)} == {1}
    assert {(item.kind, item.rate) for item in kept} == {("kept", 0)}
    assert {(item.kind, item.rate) for item in relaxed} == {("relaxed", 0)}


def test_global_generators_are_left_as_they_were(small, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - what is looked at
    few = {"relax_times": (0,), "seeds": 1, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(**few), tmp_path)
    study.run()
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    # One seed decides nothing, and one learning rate lies at no edge.
    document = study.verdict.to_dict()
    assert document["verdict"] == "not_assessable"
    assert not any("edge" in warning for warning in document["warnings"])
    assert document["times"][0]["scores"]["best"]["cnn"]["low"] is None
    assert study.report(tmp_path / "page.html").read_text().startswith("<!doctype")


def test_another_declaration_in_the_same_folder_is_refused(trained, small):
    with pytest.raises(StudyError) as caught:
        Study(small.replace(seeds=7, margin=0.01), trained.folder).run()
    assert "seeds: 6 -> 7" in str(caught.value)
    assert "margin: 0.05 -> 0.01" in str(caught.value)


CHANGES = {
    "data": "amounts",
    "task": "regression",
    "metric": "balanced_accuracy",
    "splits": {"kind": "random"},
    "architecture": "cnn(width=2, depth=1)",
    "form": "lcn",
    "batch_norm": "folded",
    "steps": 7,
    "relax_times": (0, 2, 6),
    "seeds": 7,
    "learning_rates": (0.1, 0.3),
    "tuning_seeds": 3,
    "reading": "last",
    "evaluations": 2,
    "curvature_examples": 10,
    "recipe": {"momentum": 0.5},
    "batch_size": 50,
    "margin": 0.04,
    "alpha": 0.1,
    "seed": 1,
    "threads": 2,
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_declaration_has_another_hash(
    trained, small, tmp_path, monkeypatch, request, name
):
    """So that none goes on silently in the folder of another."""
    # It takes most of the time, and finds none here.
    monkeypatch.setattr(Study, "_obstacle", lambda self, kind: None)
    value = CHANGES[name]
    if name == "data":
        value = request.getfixturevalue(value)
    assert Study(small.replace(**{name: value}), tmp_path).hash != trained.hash


def test_every_field_that_changes_results_is_looked_at(trained, small, monkeypatch):
    monkeypatch.setattr(Study, "_obstacle", lambda self, kind: None)
    assert Study(small, trained.folder).hash == trained.hash
    # A table's column, a GPU, and other ways to say how many steps there are.
    left = {"target", "device", "epochs", "last_relax_time"}
    assert set(relax.Protocol.model_fields) - left == set(CHANGES)


def test_the_declaration_goes_on_from_its_folder(trained, small):
    assert relax.begun(trained.folder) == small
    assert Study(relax.begun(trained.folder), trained.folder).hash == trained.hash


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_cnn_whose_weights_are_gone_is_no_failed_training(trained, tmp_path, how):
    trainer = dataclasses.replace(trained.trainer, folder=tmp_path)

    def left(item):
        path = trainer.weights_file(item)
        path.unlink(missing_ok=True)
        if how == "cut":
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"cut")

    left(Item("cnn", 0, 1))
    for kind in ("relaxed", "kept"):
        one, other = Item(kind, 0, 1, 3, 0), Item(kind, 0, 2, 3, 0)
        for task in ((one,), (one, other)):
            with pytest.raises(StudyError, match="the same runs come out"):
                trainer(task)
    # Nor is one that went on, beside which a relaxed network is measured.
    with_weights(trained, tmp_path, dict)
    left(Item("kept", 0, 1, 3, 0))
    with pytest.raises(StudyError, match=r"(?s)kept.*the same runs come out"):
        trainer((Item("relaxed", 0, 1, 3, 0),))
    assert not trainer((Item("kept", 0, 1, 3, 0),))[0].rows[0][0].diverged


def test_what_is_trained_at_once_fits_into_memory(small, tmp_path, monkeypatch):
    study = Study(small.replace(curvature_examples=0), tmp_path)
    one = 4 * study.trainer.parameters["relaxed"]  # bytes of its weights
    # Four train at once; without a curvature that is the most there is.
    held = 5 * 4 * one
    monkeypatch.setattr(equivalents, "available_memory", lambda device: held)
    study._check_memory(workers=1)
    with pytest.raises(StudyError, match="Take fewer workers"):
        study.run(workers=2)
    Study(small, tmp_path, force=True)._check_memory(workers=2)
    # One that is measured takes more than four in training.
    sought = Study(small, tmp_path)
    with pytest.raises(StudyError, match="curvature_examples = 0"):
        sought._check_memory(workers=1)
    held = 25 * one
    sought._check_memory(workers=1)
    held -= 1
    with pytest.raises(StudyError, match=r"fits into memory \(cpu\)"):
        sought._check_memory(workers=1)


def test_what_measures_a_curvature_lies_with_the_processor_too(
    small, tmp_path, monkeypatch
):
    study = Study(small, tmp_path)
    one = 4 * study.trainer.parameters["relaxed"]
    free = {"cuda": 1e12, "cpu": 25 * one}
    study.protocol = small.replace(device="cuda")
    monkeypatch.setattr(equivalents, "available_memory", free.__getitem__)
    study._check_memory(workers=1)
    with pytest.raises(StudyError, match=r"fits into memory \(cpu\)"):
        study._check_memory(workers=2)
    free |= {"cuda": 25 * one - 1, "cpu": 1e12}
    with pytest.raises(StudyError, match=r"fits into memory \(cuda\)"):
        study._check_memory(workers=1)
    # What trains there takes nothing of the host's.
    study.protocol = small.replace(device="cuda", curvature_examples=0)
    free |= {"cuda": 20 * one, "cpu": 5 * one}
    study._check_memory(workers=1)


# ----------------------------------------------------------------------- what is trained


def network_by_hand(study, seed, step, rate):
    """Returns the equivalent of a CNN as its file keeps it after a step."""
    module = study.architecture.build((1, 8, 8), 10, {})
    path = study.folder / "cnn" / f"fresh_{seed}_rate_{rate}.safetensors"
    kept = safetensors.torch.load_file(path)
    module.load_state_dict(
        {name: kept[f"{step}/{name}"] for name in module.state_dict()}
    )
    return module, equivalents.equivalent_fcn(module, (1, 8, 8))


def right(network, x, y):
    with torch.no_grad():
        return float((network(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def fresh_rates(rows):
    """Returns by arm the learning rate of the fresh seeds, as an index."""
    return {arm: rate for (arm, rate, seed, _) in rows if seed > 0}


@pytest.mark.parametrize("time", TIMES)
def test_what_is_relaxed_starts_where_the_cnn_was(trained, rows, time):
    rates, split = fresh_rates(rows), trained.split
    trainer = pickle.loads(pickle.dumps(trained.trainer))  # as a worker has it
    for seed in SEEDS:
        cnn, network = network_by_hand(trained, seed, time, rates["cnn@6"])
        own = trainer.relaxed(
            Item("relaxed", rates[f"efcn@{time}"], seed, time, rates["cnn@6"])
        )
        for mine, theirs in zip(
            own.parameters(), network.parameters(), strict=True
        ):  # fmt: skip
            assert torch.equal(mine, theirs)
        there = right(cnn, split.x_validation, split.y_validation)
        measured = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"].measures
        assert measured["validation"]["start"] == there
        if time:
            curve = rows["cnn@6", rates["cnn@6"], seed, "last"].curve
            assert {p.step: p.validation for p in curve}.get(time, there) == there
            assert time != 6 or any(p.step == 6 for p in curve)


@pytest.mark.parametrize(("seed", "time"), [(1, 0), (2, 3), (6, 6)])
def test_what_is_relaxed_trains_on_the_batches_that_the_cnn_goes_on_with(
    trained, rows, seed, time
):
    """SGD written out, on the CNN's own order of batches, from its own weights."""
    rates, split = fresh_rates(rows), trained.split
    _, network = network_by_hand(trained, seed, time, rates["cnn@6"])
    order = recipe.batches(
        trained.protocol.recipe,
        len(split.x_train),
        100,
        randomness.seed(0, "order", seed),
    )
    found = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"]
    for batch in itertools.islice(order, time, time + 6):
        loss = torch.nn.functional.cross_entropy(
            network(torch.from_numpy(split.x_train[batch])),
            torch.from_numpy(split.y_train[batch]),
        )
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= found.configuration["learning_rate"] * parameter.grad
    there = right(network, split.x_validation, split.y_validation)
    assert found.validation == pytest.approx(there, abs=1.5 / len(split.y_validation))
    assert found.measures["validation"]["relaxed"] == found.validation
    assert found.measures["deviation"] == pytest.approx(
        equivalents.parts(network).deviation, rel=1e-3
    )
    with torch.no_grad():
        outputs = network(torch.from_numpy(split.x_test)).softmax(1).numpy()
    (shares,) = split.open_test(trained.metric, [trained.metric.reduce(outputs)])
    assert found.test == pytest.approx(shares.mean(), abs=1.5 / split.test_size)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("kind", ["relaxed", "kept"])
def test_the_batches_are_those_of_the_cnn(trained, kind, time):
    trainer = trained.trainer
    problem = trainer.problem
    data = run.Data(problem)
    cnn, going_on = (
        run.Batches(problem, data, [trainer._job(item)])
        for item in (Item("cnn", 0, 2), Item(kind, 1, 2, time, 0))
    )
    for _ in range(time):
        next(cnn)
    for _ in range(20):
        for mine, theirs in zip(next(going_on), next(cnn), strict=True):
            assert torch.equal(mine, theirs)


def test_it_is_measured_beside_what_was_kept_at_whatever_rate(trained, tmp_path):
    trainer = with_weights(trained, tmp_path, dict)
    ended = []
    for rate in (0, 1):
        (kept,) = trainer((Item("kept", rate, 1, 3, 0),))
        trainer.weights_file(kept.item).write_bytes(kept.weights)
        (done,) = trainer((Item("relaxed", 0, 1, 3, 0),))
        (last,) = (row for row, _ in kept.rows if row.reading == "last")
        (found,) = (row.measures for row, _ in done.rows if row.reading == "last")
        assert found["validation"]["cnn"] == last.validation
        ended.append(last.validation)
    assert ended[0] != ended[1]


def test_curvature_is_sought_on_as_many_examples_as_were_declared(trained, rows):
    rates = fresh_rates(rows)
    item = Item("relaxed", rates["efcn@3"], 1, 3, rates["cnn@6"])
    data = run.Data(trained.trainer.problem)
    found = measures.curvature(
        trained.trainer.relaxed(item),
        data.x_train[:20],
        data.y_train[:20],
        randomness.seed(0, "curvature", 3, 1),
    )
    recorded = rows["efcn@3", item.rate, 1, "last"].measures
    for name, value in zip(("curvature", "gradient_norm"), found, strict=True):
        assert recorded[name]["start"] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("time", TIMES)
def test_what_is_relaxed_is_measured_beside_what_it_is_compared_with(rows, time):
    """The CNN that went on at a rate of its own, not the one that kept its rate."""
    rates = fresh_rates(rows)
    for seed in SEEDS:
        kept = rows[f"kept@{time}", rates[f"kept@{time}"], seed, "last"]
        found = rows[f"efcn@{time}", rates[f"efcn@{time}"], seed, "last"].measures
        assert found["validation"]["cnn"] == kept.validation
        assert found["path"]["score"][0] == kept.validation


@pytest.mark.parametrize(("seed", "time"), [(1, 0), (2, 3), (6, 6)])
def test_kept_at_the_rate_that_it_had_it_is_the_cnn_trained_on(
    trained, rows, seed, time
):
    rate = fresh_rates(rows)["cnn@6"]
    trainer = trained.trainer
    item, whole = Item("kept", rate, seed, time, rate), Item("cnn", rate, seed)
    job = dataclasses.replace(trainer._job(whole), keep_at=(time + 6,))
    there = run.train(trainer.problem_of(whole), job).kept[time + 6]
    before, _ = network_by_hand(trained, seed, time, rate)
    (done,) = trainer((item,))
    ended = safetensors.torch.load(done.weights)
    assert set(ended) == {f"6/{name}" for name in there}
    for name, tensor in there.items():
        torch.testing.assert_close(ended[f"6/{name}"], tensor, rtol=1e-4, atol=1e-6)
    assert any(
        not torch.equal(ended[f"6/{name}"], was)
        for name, was in before.state_dict().items()
    )
    # As the experiment has it, whichever rate it chose: the reading of the last step.
    (last,) = (found for found, _ in done.rows if found.reading == "last")
    cnn = rows[f"cnn@{time}", rate, seed, "last"]
    assert last.validation == pytest.approx(cnn.validation, abs=0.01)
    assert last.arm == f"kept@{time}"
    assert last.parameters == cnn.parameters
    assert last.flops * (time + 6) == pytest.approx(cnn.flops * 6)


def test_both_that_go_on_are_tried_and_trained_alike(trained, rows):
    """As many trials, at the same rates, from the same weights, for as many steps."""

    def planned(items, kind):
        return [
            dataclasses.replace(item, kind="cnn") for item in items if item.kind == kind
        ]

    tuning = trained._tuning(1)
    assert planned(tuning, "kept") == planned(tuning, "relaxed")
    assert len(planned(tuning, "kept")) == len(TIMES) * len(RATES) * 2
    for kind in ("kept", "relaxed"):
        with Store(trained.folder, read_only=True) as store:
            fresh = list(trained._going_on(kind, 1, store))
        assert {item.kind for item in fresh} == {kind}
        own = {(item.seed, item.relax_time, item.cnn_rate) for item in fresh}
        assert own == set(itertools.product(SEEDS, TIMES, (1,)))
    trainer = trained.trainer
    # Twelve steps as densely as six.
    assert trainer.problem_of(Item("cnn", 0, 2)).evaluations == 6
    for time in TIMES:
        kept, relaxed = (
            Item(kind, 0, 2, time, fresh_rates(rows)["cnn@6"])
            for kind in ("kept", "relaxed")
        )
        a, b = (trainer.problem_of(item) for item in (kept, relaxed))
        assert (a.steps, a.evaluations, a.read_at) == (
            b.steps,
            b.evaluations,
            b.read_at,
        )
        assert a.evaluations == 3
        module = trainer.kept(kept)
        own = equivalents.equivalent_fcn(module, (1, 8, 8))
        for mine, theirs in zip(
            own.parameters(), trainer.relaxed(relaxed).parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)


def test_the_rate_of_what_is_kept_is_not_that_of_its_equivalent(trained, monkeypatch):
    """Each of both, at each relax time, has the best on its own tuning seeds."""
    best = {
        "kept@0": 0,
        "kept@3": 1,
        "kept@6": 0,
        "efcn@0": 1,
        "efcn@3": 0,
        "efcn@6": 0,
    }
    turned = [
        dataclasses.replace(found, validation=float(found.pair == best[found.arm]))
        if found.arm in best and found.stage == "search"
        else found
        for found in runs_of(trained.folder)
    ]

    planned = collections.defaultdict(set)
    for kind, arm in (("kept", "kept"), ("relaxed", "efcn")):
        for item in trained._going_on(kind, 0, Recorded(turned)):
            planned[f"{arm}@{item.relax_time}"].add(item.rate)
    assert planned == {arm: {rate} for arm, rate in best.items()}


def test_seeds_differ_where_they_should_and_only_there(trained, small, tmp_path):
    def job(*item):
        return trained.trainer._job(Item(*item))

    # Another study shares none.
    whole = Item("cnn", 0, 1)
    other = Study(small.replace(seed=1), tmp_path).trainer._job(whole)
    for name in ("initial_seed", "order_seed", "noise_seed"):
        assert getattr(other, name) != getattr(trained.trainer._job(whole), name)

    # One start for all learning rates, another for each seed and kind.
    assert job("cnn", 0, 1).initial_seed == job("cnn", 1, 1).initial_seed
    starts = [job("cnn", 0, 1), job("cnn", 0, 2), job("fresh", 0, 1), job("cnn", 0, 0)]
    assert len({one.initial_seed for one in starts}) == 4
    # One order for all that shares a seed.
    orders = {
        job(*item).order_seed
        for item in (
            ("cnn", 0, 1),
            ("fresh", 1, 1),
            ("relaxed", 0, 1, 6, 0),
            ("kept", 0, 1, 3, 0),
        )
    }
    assert len(orders) == 1
    assert job("cnn", 0, 2).order_seed not in orders
    # What is dropped out differs between trainings that are compared, as it should.
    noises = {
        job(*item).noise_seed
        for item in (
            ("cnn", 0, 1), ("cnn", 0, 2), ("fresh", 0, 1), ("kept", 0, 1, 3, 0),
            ("relaxed", 0, 1, 3, 0), ("relaxed", 0, 1, 6, 0), ("relaxed", 0, 2, 3, 0),
        )
    }  # fmt: skip
    assert len(noises) == 7
    assert job("cnn", 1, 1).noise_seed == job("cnn", 0, 1).noise_seed


def test_fresh_networks_start_from_a_standard_start(trained):
    (cnn, fresh) = (trained.trainer.network(kind) for kind in ("cnn", "fresh"))
    assert trained.trainer.network("relaxed").text == fresh.text
    assert equivalents.parts(fresh).deviation > 0.5
    assert len(list(cnn.parameters())) == len(list(fresh.parameters()))


def test_weights_of_the_cnn_are_kept_where_they_are_needed_again(trained, rows):
    names = set(trained.architecture.build((1, 8, 8), 10, {}).state_dict())
    rate = fresh_rates(rows)["cnn@6"]
    files = {path.name: path for path in (trained.folder / "cnn").iterdir()}
    # Those of the tuning seeds have gone when all is done.
    assert set(files) == {f"fresh_{seed}_rate_{rate}.safetensors" for seed in SEEDS}
    for path in files.values():
        kept = safetensors.torch.load_file(path)
        assert set(kept) == {f"{step}/{name}" for step in TIMES for name in names}
    # Of what goes on, where it ended: relaxed networks are measured beside it.
    files = {path.name: path for path in (trained.folder / "kept").iterdir()}
    assert set(files) == {
        f"fresh_{seed}_from_{time}.safetensors" for seed in SEEDS for time in TIMES
    }
    for path in files.values():
        kept = safetensors.torch.load_file(path)
        assert set(kept) == {f"6/{name}" for name in names}
    (done,) = trained.trainer((Item("cnn", 0, -1),))
    kept = safetensors.torch.load(done.weights)
    assert set(kept) == {f"{step}/{name}" for step in TIMES for name in names}
    (done,) = trained.trainer((Item("fresh", 0, 1),))
    assert done.weights is None


def test_only_what_starts_afresh_is_scaled_at_its_start(small, trained, tmp_path):
    study = Study(small.replace(recipe={"initial_scale": 3.0}), tmp_path)
    trainer = study.trainer
    cnn, fresh, relaxed = (
        Item("cnn", 0, 1), Item("fresh", 0, 1), Item("relaxed", 0, 1, 0, 0),
    )  # fmt: skip
    for item in (cnn, fresh):
        problem = trainer.problem_of(item)
        job = trainer._job(item)
        scaled = run.build(problem, job)
        plain = run.build(trained.trainer.problem_of(item), job)
        for mine, theirs in zip(scaled.parameters(), plain.parameters(), strict=True):
            factor = 3 if mine.dim() >= 2 else 1
            assert torch.equal(mine, factor * theirs)
    (done,) = trainer((cnn,))
    path = trainer.weights_file(cnn)
    path.parent.mkdir(parents=True)
    path.write_bytes(done.weights)
    kept = dataclasses.replace(relaxed, kind="kept")
    for item, own in (
        (relaxed, trainer.relaxed(relaxed)), (kept, trainer.kept(kept)),
    ):  # fmt: skip
        built = run.build(trainer.problem_of(item), trainer._job(item))
        for mine, theirs in zip(built.parameters(), own.parameters(), strict=True):
            assert torch.equal(mine, theirs)


# ------------------------------------------------------------------------ fleets


def items(kind, count, seed=1):
    return [Item(kind, 0, seed + index, 3, 0) for index in range(count)]


def test_at_most_four_share_a_fleet_and_kinds_and_stages_do_not_mix(trained):
    divide = trained.trainer.divide
    assert [len(task) for task in divide(items("cnn", 4))] == [4]
    assert [len(task) for task in divide(items("cnn", 5))] == [2, 3]
    assert [len(task) for task in divide(items("relaxed", 10))] == [3, 3, 4]
    mixed = items("cnn", 3) + items("fresh", 3) + items("cnn", 2, seed=-1)
    tasks = divide(mixed)
    assert sorted(len(task) for task in tasks) == [2, 3, 3]
    for task in tasks:
        assert len({(item.kind, item.stage) for item in task}) == 1
    assert sorted(map(str, itertools.chain(*tasks))) == sorted(map(str, mixed))
    assert divide([]) == []


def test_what_is_large_or_cannot_be_stacked_trains_alone(trained):
    def changed(**fields):
        return dataclasses.replace(trained.trainer, **fields)

    sizes = {"cnn": 10, "relaxed": 5_000_000, "fresh": 30_000_000}
    large = changed(parameters=sizes)
    assert [large.most_runs(kind) for kind in sizes] == [4, 3, 1]
    assert [len(task) for task in large.divide(items("relaxed", 7))] == [2, 2, 3]
    assert [len(task) for task in large.divide(items("fresh", 3))] == [1, 1, 1]
    alone = changed(stacks={"cnn": False, "relaxed": True, "fresh": True})
    assert [len(task) for task in alone.divide(items("cnn", 3))] == [1, 1, 1]
    assert [len(task) for task in alone.divide(items("relaxed", 3))] == [3]


def test_alone_or_in_a_fleet_a_training_ends_alike(trained, rows):
    rates = fresh_rates(rows)
    item = Item("relaxed", rates["efcn@3"], 4, 3, rates["cnn@6"])
    (alone,) = trained.trainer((item,))
    for found, _ in alone.rows:
        recorded = rows[found.arm, found.pair, found.seed, found.reading]
        assert found.validation == pytest.approx(recorded.validation, abs=0.01)
        assert found.flops == recorded.flops
        assert found.stage == "confirm"


# -------------------------------------------------------- other forms, data and readings


@pytest.fixture(scope="module")
def amounts(tmp_path_factory):
    """A sequence in, an amount out."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 1, 12)).astype(np.float32)
    y = 100 + 7 * x[:, 0, :3].sum(1) + generator.normal(size=200)
    path = tmp_path_factory.mktemp("data") / "amounts.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="module")
def amount_study(amounts, tmp_path_factory):
    """Locally connected, on a regression, compared by the last weights' error."""
    protocol = relax.Protocol(
        data=amounts, architecture="cnn(width=2, depth=2)", form="lcn", reading="last",
        metric="rmse", steps=6, relax_times=(2, 4), seeds=6, tuning_seeds=1,
        learning_rates=(0.01, 0.1), evaluations=2, curvature_examples=10,
    )  # fmt: skip
    study = Study(protocol, tmp_path_factory.mktemp("amounts"))
    study.run()
    return study


def test_a_locally_connected_network_on_a_regression(amount_study):
    document = amount_study.verdict.to_dict()
    assert document["names"] == {"cnn": "CNN", "relaxed": "eLCN", "fresh": "LCN"}
    assert document["parameters"]["relaxed"] == amount_study.sizes.lcn
    assert document["parameters"]["without_padding"] is None
    runs = runs_of(amount_study.folder)
    assert {run.arm for run in runs} == {
        f"{kind}@{time}" for kind in ("cnn", "kept", "elcn", "lcn") for time in (2, 4)
    }
    for entry in document["times"]:
        # Locally connected there is nothing off-local to deviate into.
        assert entry["deviation"]["estimate"] == 0
        assert entry["untied"]["estimate"] > 0
        alone, relaxed = (
            entry["validation"][name]["estimate"] for name in ("local_alone", "relaxed")
        )
        assert alone == pytest.approx(relaxed)
    assert "eLCN" in document["sentence"]


def test_an_error_counts_the_other_way_round(amount_study):
    document = amount_study.verdict.to_dict()
    assert not document["metric"]["higher_is_better"]
    for entry in document["times"]:
        points = entry["points"]["last"]
        better = np.mean(points["cnn"]) - np.mean(points["relaxed"])
        assert entry["gain"]["estimate"] == pytest.approx(better)
        assert all(score > 0 for score in points["cnn"])
    assert document["margin_assumed"]
    assert document["steps"] == 6  # and not the last relax time


def test_half_a_point_of_an_error_is_half_a_per_cent_of_it(amount_study):
    """Where seeds agree; of an accuracy it would be .005."""
    alike = [
        dataclasses.replace(found, validation=8.0 + 1e-4 * found.seed, diverged=False)
        for found in runs_of(amount_study.folder)
    ]
    large = {**amount_study.resolved, "batch_size": 10**6}
    document = judging._document("", large, alike)
    assert document["margin"] == 0.04
    # A batch has no more examples than there are.
    assert document["batches_per_epoch"] == 1


def test_by_the_last_weights_everything_is_chosen_by_them(amount_study):
    document = amount_study.verdict.to_dict()
    assert (document["reading"], document["other_reading"]) == ("last", "best")
    runs = runs_of(amount_study.folder)
    for entry in document["learning_rates"]:
        arm = entry["arm"] if "@" in entry["arm"] else f"{entry['arm']}@4"
        scores = {
            run.pair: run.validation
            for run in runs
            if (run.arm, run.stage, run.reading) == (arm, "search", "last")
        }
        assert entry["chosen"] == (0.01, 0.1)[min(scores, key=scores.__getitem__)]
        for found in runs:
            if found.stage == "confirm" and f"{found.arm}@".startswith(
                f"{entry['arm']}@"
            ):
                assert found.configuration == {"learning_rate": entry["chosen"]}
    points = document["times"][0]["points"]["last"]["relaxed"]
    recorded = [
        run.test
        for run in sorted(runs, key=lambda run: run.seed)
        if (run.arm, run.stage, run.reading) == ("elcn@2", "confirm", "last")
    ]
    assert points == recorded


class Recorded:
    """In a store's place, runs that were made up."""

    def __init__(self, runs):
        self._runs = runs

    def runs(self, *, per_example=True):
        return self._runs


@pytest.mark.parametrize(("name", "better"), [("trained", 1), ("amount_study", -1)])
def test_what_is_trained_on_is_chosen_by_the_declared_reading(name, better, request):
    """Both readings never agree, nor does the lowest score with the highest."""
    study = request.getfixturevalue(name)
    turned = [
        dataclasses.replace(
            found,
            validation=better
            * float((found.pair == 1) == (found.reading == study.protocol.reading)),
        )
        for found in runs_of(study.folder)
    ]
    for kind in ("cnn", "fresh"):
        assert study._chosen(kind, Recorded(turned)) == 1
    for kind, time in itertools.product(("kept", "relaxed"), study.times):
        assert study._chosen(kind, Recorded(turned), time) == 1


@pytest.mark.parametrize("rate", [10.0, 1e9])
def test_where_the_cnn_diverges_nothing_can_be_said(amounts, tmp_path, rate):
    protocol = relax.Protocol(
        data=amounts, architecture="cnn(width=2, depth=2)", learning_rates=(rate,),
        steps=4, relax_times=(0, 4), seeds=6, tuning_seeds=1, evaluations=2,
    )  # fmt: skip
    study = Study(protocol, tmp_path)
    document = study.run().to_dict()
    assert document["verdict"] == "not_assessable"
    assert "every run of the CNN diverged" in document["sentence"]
    constant = study.metric.constant(study.split.y_train, study.split.test_size, 1)
    (shares,) = study.split.open_test(study.metric, [constant])
    for entry in document["times"]:
        for kind in ("cnn", "relaxed", "fresh"):
            assert entry["points"]["best"][kind] == pytest.approx([shares.mean()] * 6)
        assert entry["diverged"] == 6
        assert entry["validation"] is entry["path"] is entry["curvature"] is None
    page = study.report(tmp_path / "page.html").read_text()
    assert "diverged" in page


def test_a_cnn_that_diverges_on_its_way_is_said_so(trained, tmp_path):
    """Its equivalent may live on, with nothing to be measured beside."""
    trainer = dataclasses.replace(
        trained.trainer, folder=tmp_path, learning_rates=(0.1, 1e30)
    )

    def leave(item, weights):
        path = trainer.weights_file(item)
        path.parent.mkdir()
        path.write_bytes(weights)

    (whole,) = trainer((Item("cnn", 0, 1),))
    leave(Item("cnn", 0, 1), whole.weights)
    (kept,) = trainer((Item("kept", 1, 1, 3, 0),))
    assert all(found.diverged for found, _ in kept.rows if found.reading == "last")
    leave(kept.item, kept.weights)
    (done,) = trainer((Item("relaxed", 0, 1, 3, 0),))
    (found,) = (found.measures for found, _ in done.rows if found.reading == "last")
    # What needs no CNN is measured all the same.
    assert found["deviation"] > 0
    assert found["validation"]["relaxed"] == done.rows[0][0].validation
    assert found["validation"]["cnn"] is found["path"] is None
    assert found["validation"]["average_of_outputs"] is None
    assert not any(found.diverged for found, _ in done.rows)
    for kind in ("relaxed", "kept"):
        (failed,) = trainer((Item(kind, 0, 1, 5, 0),))
        for found, _ in failed.rows:
            assert found.diverged
            assert "it diverged before step 5" in found.error
            assert found.validation == pytest.approx(0.1, abs=0.01)


def test_each_reading_diverged_where_it_is_the_constant_predictors(trained):
    """What diverged in the end may have had its best weights before."""
    item = Item("cnn", 0, 0)
    trainer = trained.trainer
    lived = run.train(trainer.problem_of(item), trainer._job(item))
    read = lived.readings[12]
    constant = dataclasses.replace(read["last"], step=0)
    for reading in ("last", "best"):
        ended = dataclasses.replace(
            lived, diverged=True, readings={12: {**read, reading: constant}}
        )
        found = {row.reading: row.diverged for row, _ in trainer._rows(item, ended)}
        assert found == {"last": False, "best": False} | {reading: True}


def with_weights(trained, folder, change):
    """Returns a trainer whose CNN of seed 1 has other weights than it was left with."""
    trainer = dataclasses.replace(trained.trainer, folder=folder)
    (there,) = (trained.folder / "cnn").glob("fresh_1_*")
    kept = change(safetensors.torch.load_file(there))
    path = trainer.weights_file(Item("cnn", 0, 1))
    path.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file(kept, path)
    shutil.copytree(trained.folder / "kept", folder / "kept", dirs_exist_ok=True)
    return trainer


def test_weights_that_are_not_finite_are_a_cnn_that_diverged(trained, tmp_path):
    def spoiled(kept):
        name = next(name for name in kept if name.startswith("3/"))
        return kept | {name: torch.full_like(kept[name], float("inf"))}

    trainer = with_weights(trained, tmp_path, spoiled)
    for kind in ("relaxed", "kept"):
        item = Item(kind, 0, 1, 3, 0)
        with pytest.raises(training.DivergedError, match="diverged before step 3"):
            getattr(trainer, kind)(item)
        (done,) = trainer((item,))
        assert all("diverged before step 3" in found.error for found, _ in done.rows)
        assert all(found.diverged for found, _ in done.rows)
        # Before and after, it is what it was.
        assert not any(
            found.diverged for found, _ in trainer((Item(kind, 0, 1, 0, 0),))[0].rows
        )


def test_weights_so_large_that_outputs_overflow_are_a_cnn_that_diverged(
    trained, tmp_path
):
    def huge(kept):
        return {
            name: 1e25 * tensor.sign() if name.startswith("3/") else tensor
            for name, tensor in kept.items()
        }

    trainer = with_weights(trained, tmp_path, huge)
    for kind in ("relaxed", "kept"):
        (done,) = trainer((Item(kind, 0, 1, 3, 0),))
        assert all(found.diverged for found, _ in done.rows)


def test_an_equivalent_that_computes_something_else_stops_the_study(
    trained, tmp_path, monkeypatch
):
    """It is the program's fault, and no training that failed."""
    trainer = with_weights(trained, tmp_path, dict)

    def wrong(*_, **__):
        raise ArmError("both compute the same", "outputs differ by up to 1")

    monkeypatch.setattr(equivalents, "mapped", wrong)
    with pytest.raises(StudyError, match="outputs differ by up to 1"):
        trainer((Item("relaxed", 0, 1, 3, 0),))
    # What is kept needs none.
    assert not trainer((Item("kept", 0, 1, 3, 0),))[0].rows[0][0].diverged


@pytest.mark.parametrize("architecture", ["mlp", "linear"])
@pytest.mark.parametrize("form", ["fcn", "lcn"])
def test_a_network_that_is_its_own_equivalent_is_refused(
    small, tmp_path, architecture, form
):
    with pytest.raises(ArmError) as caught:
        Study(small.replace(architecture=architecture, form=form), tmp_path)
    assert f"{architecture} does not: its equivalent is itself" in str(caught.value)
    assert "such as cnn" in str(caught.value)


def notes_of(declared, folder):
    return " ".join(Study(declared, folder).notes)


def test_what_can_be_told_beforehand_is_told(trained, small, tmp_path):
    few = notes_of(small.replace(seeds=5), tmp_path)
    assert (
        "There will be no verdict: it takes 6 seeds at least, and there are 5." in few
    )
    assert "no verdict" in notes_of(small.replace(alpha=0.01), tmp_path)
    plain = " ".join(trained.notes)
    assert "no verdict" not in plain
    assert "chosen by validation on 2 tuning seeds; no interval" in plain
    one = notes_of(small.replace(tuning_seeds=1), tmp_path)
    assert "chosen by validation on 1 tuning seed; no interval" in one
    assert "last relax time" not in plain
    late = notes_of(small.replace(relax_times=(0, 7)), tmp_path)
    assert (
        "The last relax time is step 7: the CNN and the fresh network train 13 steps."
        in late
    )
    assert "optimiser" not in plain
    with_momentum = notes_of(small.replace(recipe={"momentum": 0.9}), tmp_path)
    assert "both begin without what the optimiser remembered" in with_momentum
    adam = Study(small.replace(recipe={"optimizer": "adam"}), tmp_path)
    assert any("what the optimiser remembered" in note for note in adam.notes)
    adam.split = copy.copy(adam.split)
    object.__setattr__(adam.split, "notes", ("A row is odd.",))
    resolved = adam._resolve("digits", dict.fromkeys(adam.trainer.stacks))
    assert resolved["notes"] == ["A row is odd.", *adam.notes]


def test_arms_that_fail_throughout_stop_the_study(small, tmp_path):
    def net(input_shape, num_outputs):
        if torch.initial_seed() > 100:  # in training, and not when it is looked at
            raise ValueError("not today")
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
        )

    study = Study(small.replace(architecture=net), tmp_path)
    with pytest.raises(StudyError) as caught:
        study.run()
    assert "cnn@6 comes to its end: all 4 failed" in str(caught.value)
    with Store(tmp_path, read_only=True) as store:
        assert all("ValueError: not today" in run.error for run in store.runs())


class Lazy(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(1, 2, 3),
            torch.nn.LazyBatchNorm2d(),
            torch.nn.Flatten(),
            torch.nn.LazyLinear(10),
        )


def test_a_network_with_lazy_layers_is_relaxed_like_any(small, tmp_path):
    few = {"relax_times": (2,), "seeds": 1, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(architecture=Lazy, **few), tmp_path)
    assert study.sizes.module == 2 * 9 + 2 + 4 + 72 * 10 + 10
    (entry,) = study.run().to_dict()["times"]
    assert entry["diverged"] == 0
    assert entry["validation"]["start"]["estimate"] is not None
    assert not any(found.error for found in runs_of(tmp_path))


def test_folded_batch_normalisation_is_part_of_the_weights(small, tmp_path):
    study = Study(small.replace(architecture=Lazy, batch_norm="folded"), tmp_path)
    module = study._untrained()
    folded, apart = (
        equivalents.sizes(module, (1, 8, 8), batch_norm=how)
        for how in ("folded", "per_position")
    )
    assert study.sizes == folded != apart
    for network in (study._equivalent(module), study.trainer.network("relaxed")):
        held = sum(p.numel() for p in network.parameters())
        assert held == folded.fcn_without_padding != apart.fcn_without_padding


class Blurred(torch.nn.Sequential):
    """Has numbers that its state does not hold."""

    def __init__(self, blur=0.5):
        super().__init__(
            torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 10)
        )
        self.register_buffer("seen", torch.randn(8, 8), persistent=False)

    def forward(self, x):
        return super().forward(x * self.seen)


def test_what_its_state_does_not_hold_stays_as_it_began(small, tmp_path):
    trainer = Study(small.replace(architecture=Blurred), tmp_path).trainer
    whole = Item("cnn", 0, 1)
    began = run.build(trainer.problem_of(whole), trainer._job(whole))
    (done,) = trainer((whole,))
    trainer.weights_file(whole).parent.mkdir()
    trainer.weights_file(whole).write_bytes(done.weights)
    for time in TIMES:
        kept = trainer.kept(Item("kept", 1, 1, time, 0))
        assert torch.equal(kept.seen, began.seen)
    again = run.build(trainer.problem_of(whole), trainer._job(Item("cnn", 0, 2)))
    assert not torch.equal(again.seen, began.seen)


@pytest.mark.parametrize("kind", ["kept", "relaxed"])
def test_what_goes_on_and_fails_as_a_whole_stops_the_study(
    small, tmp_path, monkeypatch, kind
):
    """Whatever its reason, unless it is that the CNN had diverged."""

    def broken(self, item):
        raise RuntimeError("a slip")

    monkeypatch.setattr(training.Trainer, kind, broken)
    few = {"relax_times": (2,), "seeds": 6, "steps": 2, "learning_rates": (0.1,)}
    study = Study(small.replace(**few), tmp_path)
    with pytest.raises(StudyError) as caught:
        study.run()
    arm = {"kept": "kept@2", "relaxed": "efcn@2"}[kind]
    assert f"{arm} comes to its end: all 2 failed" in str(caught.value)


# ---------------------------------------------------------------- the published points


@pytest.mark.parametrize(
    ("name", "shape", "theirs"),
    [
        ("cifar10.npz", [3, 32, 32], True),
        ("CIFAR-10", [3, 32, 32], True),
        ("my_cifar_10_small.npz", [3, 32, 32], True),
        ("cifar10.npz", [3, 16, 16], False),
        ("cifar10.npz", [3072], False),
        ("cifar100.npz", [3, 32, 32], False),
        ("svhn.npz", [3, 32, 32], False),
        ("digits", [1, 8, 8], False),
    ],
)
def test_published_points_stand_beside_the_papers_data_alone(name, shape, theirs):
    found = judging._published({"data": {"name": name, "input_shape": shape}})
    assert (found is not None) == theirs
    if found:
        assert (found["cnn"], found["fresh"]) == (0.729, 0.577)
        epochs = [point["epoch"] for point in found["times"]]
        assert epochs == sorted(epochs)
        assert epochs[0] == 0
        assert {"epoch": 18, "score": 0.7475, "deviation": 0.02} in found["times"]
        assert "d'Ascoli" in found["source"]

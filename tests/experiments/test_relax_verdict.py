"""What an experiment makes of its records."""

import collections
import dataclasses
import json
import re
import shutil
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from scipy import stats

from archtrial import equivalents
from archtrial.experiments import relax
from archtrial.experiments.relax import verdict as judging
from archtrial.experiments.relax.study import Study
from archtrial.records.table import Run

from .relaxed import RATES, SEEDS, TIMES, placed, runs_of


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
    unread = f" {trained.sizes.fcn - held:,} would read padding"
    assert any(unread in note for note in trained.notes)


def test_the_document_has_the_lengths_that_were_declared(trained, document):
    assert document["steps"] == 6
    assert document["tuning_seeds"] == 2
    assert document["batches_per_epoch"] == len(trained.split.y_train) / 100


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
    known = judging.tried(placed(turned), "cnn", 6, "best", 1)
    assert [one.validation for one in known] == means
    assert judging.chosen(known) == rate_by_hand(rows, "cnn@6")[0]
    # An error is best where it is least; of equals the smallest rate is taken.
    fewest = judging.chosen(judging.tried(placed(turned), "cnn", 6, "best", -1))
    assert fewest == int(np.argmin(means))
    level = [other(found, validation=0.5) for found in rows.values()]
    assert judging.chosen(judging.tried(placed(level), "cnn", 6, "best", 1)) == 0


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
    entries = judging._learning_rates(resolved, placed(runs), 1)
    assert [(entry["chosen"], entry["at_edge"]) for entry in entries] == [
        (0.2, False), (0.1, True), (0.4, True), (0.2, False),
    ]  # fmt: skip
    means = [entry["validation"] for entry in entries[0]["tried"]]
    assert means == pytest.approx([0.5, 1.7 / 3, 0.1])


def test_a_learning_rate_failed_where_every_run_did_for_a_reason_of_its_own():
    slip, late = "ValueError: a slip", f"{judging.CNN_DIVERGED}: before step 3"
    errors = ((slip, None, None), (slip, slip, late), (late, late, late))
    known = judging.tried(placed(tuned("efcn@3", errors=errors)), "efcn", 3, "best", 1)
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
    document = judging._document("", resolved, placed(scored))
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
    entry = judging._document("", trained.resolved, placed(rows.values()))["times"][1]
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
    document = judging._document("", large, placed(alike))
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


def test_a_study_of_release_0_2_keeps_its_numbers(tmp_path):
    """Its sentence and its note have the units and digits of every page since 0.3."""
    golden = Path(__file__).with_name("golden")
    shutil.copy(golden / "study.sqlite", tmp_path)
    found = json.loads(judging.judge(tmp_path).verdict.to_json())
    before = json.loads((golden / "verdict.json").read_text())
    assert list(found) == list(before)
    said = found.pop("sentence"), found.pop("notes")
    assert before.pop("sentence").replace("0.5 points", ".5 points")[:180] in said[0]
    del before["notes"]
    assert found == before
    assert (
        "(simultaneous 95\u00a0% interval \u22121.0 to 2.0 over 2 relax times)"
        in said[0]
    )
    assert "befalls 39\u00a0% of runs is missed by 6 seeds" in said[1][0]

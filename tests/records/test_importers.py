"""Other people's tables: what is understood of them, and what is refused."""

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest

from archtrial.errors import RecordsError
from archtrial.records import gathering
from archtrial.records.columns import Wanted
from archtrial.records.importers import read
from archtrial.records.measures import measure
from archtrial.records.sources import open_source

HEAD = "arm,pair,seed,val_score,test_score\n"


def write(tmp_path, text, name="runs.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def searched(n=8, *, arms=("A", "B"), paired=False, seeds=1, seed=0):
    """Returns a table of random searches, as a tracker would export it."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        rate = 10 ** generator.uniform(-4, -1)
        for j, arm in enumerate(arms):
            if not paired:
                rate = 10 ** generator.uniform(-4, -1)
            score = 0.8 + 0.02 * j - 0.02 * (math.log10(rate) + 2) ** 2
            for k in range(seeds):
                rows.append(
                    {
                        "model": arm,
                        "trial": i,
                        "seed": k,
                        "lr": rate,
                        "val_acc": score + generator.normal(scale=0.003),
                        "test_acc": score + generator.normal(scale=0.003),
                    }
                )
    return pd.DataFrame(rows)


def csv(tmp_path, frame, name="runs.csv"):
    path = tmp_path / name
    frame.to_csv(path, index=False)
    return path


def refusal(*arguments, **options):
    with pytest.raises(RecordsError) as caught:
        read(*arguments, **options)
    assert caught.value.rule
    return str(caught.value)


def stages(found, arm):
    return [(run.pair, run.seed, run.stage) for run in found.runs if run.arm == arm]


# What is understood.


def test_the_first_seed_is_the_search_and_the_others_are_fresh(tmp_path):
    rows = [
        f"{arm},p{i},{seed},0.{i}{seed},.5" for arm in "ab" for i in range(4) for seed in (4, 7)
    ]  # fmt: skip
    found = read([write(tmp_path, HEAD + "\n".join(rows))])
    assert stages(found, "a")[:4] == [
        (0, 0, "search"), (0, 1, "confirm"), (1, 0, "search"), (1, 1, "confirm"),
    ]  # fmt: skip
    assert (found.runs[1].validation, found.runs[1].test) == (0.07, 0.5)
    assert found.paired
    assert found.arms == ("a", "b")
    assert found.understood.arms[0] == {
        "name": "a", "configurations": 4, "runs": 8, "fresh_seeds": 4, "diverged": 0,
    }  # fmt: skip


def test_the_seed_that_all_configurations_share_was_searched_with(tmp_path):
    # Trackers show the newest first: the winner's reseeds stand on top.
    rows = [f"{arm},3,{seed},.9,.9" for arm in "ab" for seed in (52, 51)]
    rows += [f"{arm},{i},42,.{i}5,.5" for arm in "ab" for i in (3, 2, 1, 0)]
    found = read([write(tmp_path, HEAD + "\n".join(rows))])
    search = [r for r in found.runs if r.arm == "a" and r.stage == "search"]
    assert sorted(run.validation for run in search) == [0.05, 0.15, 0.25, 0.35]
    again = [r for r in found.runs if r.arm == "a" and r.stage == "confirm"]
    assert sorted((run.validation, run.seed) for run in again) == [(0.9, 1), (0.9, 2)]


@pytest.mark.parametrize("score", ["", " ", "nan", "inf", "-inf", "None", "N/A"])
@pytest.mark.parametrize("column", ["validation", "test"])
def test_a_score_that_is_none_means_diverged(tmp_path, score, column):
    rows = [f"{arm},{i},0,.5{i},.5" for arm in "ab" for i in range(12)]
    rows[0] = f"a,0,0,{score},.5" if column == "validation" else f"a,0,0,.5,{score}"
    found = read([write(tmp_path, HEAD + "\n".join(rows))])
    run = found.runs[0]
    assert run.diverged
    assert math.isnan(run.validation)
    assert math.isnan(run.test)
    assert found.understood.arms[0]["diverged"] == 1


def test_test_scores_of_the_winners_alone_are_set_aside(tmp_path):
    frame = searched(16)
    frame.loc[2:, "test_acc"] = np.nan
    found = read([csv(tmp_path, frame)])
    assert all(run.test is None for run in found.runs)
    assert any("set aside" in note for note in found.understood.notes)


def test_usual_names_are_found_and_said(tmp_path):
    found = read([csv(tmp_path, searched(seeds=2))])
    said = found.understood.to_dict()
    assert said["columns"]["arm"] == {"column": "model", "found": "by its name"}
    assert said["columns"]["validation score"]["column"] == "val_acc"
    assert said["columns"]["test score"]["column"] == "test_acc"
    assert said["columns"]["hyperparameters"]["column"] == "lr"
    assert said["columns"]["metric"]["column"] == "accuracy"
    assert said["arms"][1]["fresh_seeds"] == 8
    assert json.loads(json.dumps(said)) == said
    assert not found.paired
    assert any("unpaired" in note for note in said["notes"])


def test_what_is_named_goes_before_what_would_be_found(tmp_path):
    frame = searched(paired=True).rename(columns={"test_acc": "holdout", "lr": "x"})
    frame["seconds"] = 3.5
    found = read(
        [csv(tmp_path, frame)],
        Wanted(test="none", cost="seconds", pair="trial", hyperparameters=("x",)),
    )
    assert found.runs[0].test is None
    assert found.runs[0].flops == 3.5
    assert found.paired
    assert list(found.runs[0].configuration) == ["x"]


def test_equal_hyperparameters_pair_two_arms(tmp_path):
    found = read([csv(tmp_path, searched(paired=True))])
    assert found.paired
    assert found.understood.columns
    by_arm = {arm: {r.pair: r for r in found.runs if r.arm == arm} for arm in "AB"}
    assert by_arm["A"].keys() == by_arm["B"].keys()
    for pair, run in by_arm["A"].items():
        assert run.configuration == by_arm["B"][pair].configuration


def test_a_baseline_with_more_pairs_comes_with_the_common_ones_first(tmp_path):
    frame = searched(12, paired=True)
    frame = frame[(frame["model"] == "A") | (frame["trial"] >= 6)]
    found = read([csv(tmp_path, frame)], Wanted(pair="trial"), baseline="A")
    assert found.paired
    assert sorted(r.pair for r in found.runs if r.arm == "B") == list(range(6))
    turned = read([csv(tmp_path, frame)], Wanted(pair="trial"), baseline="B")
    assert not turned.paired
    assert any("6 pairs" in note for note in turned.understood.notes)


def test_unpaired_arms_share_no_number(tmp_path):
    found = read([csv(tmp_path, searched())])
    numbers = [{r.pair for r in found.runs if r.arm == arm} for arm in "AB"]
    assert not numbers[0] & numbers[1]


def test_ranges_that_were_tried_are_inferred(tmp_path):
    frame = searched(20)
    frame["batch"] = [32, 64, 128, 256] * 10
    frame["act"] = ["relu", "tanh"] * 20
    frame["width"] = range(100, 140)
    frame["dropout"] = np.linspace(0, 0.5, 40)
    frame["fixed"] = 3
    frame["label"] = [f"run {i}" for i in range(40)]
    frame["only_b"] = np.where(frame["model"] == "B", np.arange(40.0), np.nan)
    spaces = read([csv(tmp_path, frame)]).spaces
    own = frame[frame["model"] == "A"]
    assert spaces["A"]["lr"] == {"low": own.lr.min(), "high": own.lr.max(), "log": True}
    assert spaces["A"]["batch"] == [32, 128]
    assert spaces["A"]["width"] == {"low": 100, "high": 138, "integer": True}
    assert set(spaces["A"]["dropout"]) == {"low", "high"}
    assert set(spaces["B"]) - set(spaces["A"]) == {"only_b"}
    assert not {"fixed", "label"} & set(spaces["B"])
    run = read([csv(tmp_path, frame)]).runs[0]
    assert run.configuration["batch"] == 32
    assert isinstance(run.configuration["width"], int)


def test_choices_that_vary_within_an_arm_are_options(tmp_path):
    frame = searched(20)
    frame["act"] = ["relu", "relu", "tanh", "tanh"] * 10
    frame["depth"] = ([0.5] * 2 + [2.0] * 2) * 10
    found = read([csv(tmp_path, frame)])
    assert found.spaces["A"]["act"] == ["relu", "tanh"]
    assert found.spaces["A"]["depth"] == [0.5, 2]
    assert found.runs[0].configuration["depth"] == 0.5


def test_several_sources_are_an_arm_each(tmp_path):
    frame = searched()
    for arm in "AB":
        csv(tmp_path, frame[frame.model == arm].drop(columns="model"), f"{arm}.csv")
    by_file = read([tmp_path / "A.csv", tmp_path / "B.csv"])
    assert by_file.arms == ("A", "B")
    named = read([f"x={tmp_path / 'A.csv'}", f"y={tmp_path / 'B.csv'}"], baseline="y")
    assert named.arms == ("y", "x")
    assert named.name == "A.csv + B.csv"
    # The same name twice: one arm of two files.
    both = read(
        [
            f"x={tmp_path / 'A.csv'}",
            f"y={tmp_path / 'B.csv'}",
            f"y={tmp_path / 'A.csv'}",
        ]
    )
    assert [arm["runs"] for arm in both.understood.arms] == [8, 16]


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    csv(tmp_path, searched(), "lr=3.csv")
    assert read(["lr=3.csv"]).arms == ("A", "B")


@pytest.mark.parametrize("value", ["7", "7.0"])
def test_where_keeps_the_rows_that_have_a_value(tmp_path, value):
    frame = pd.concat([searched().assign(task=7), searched(seed=1).assign(task=8)])
    path = csv(tmp_path, frame)
    assert len(read([path], where=[f"task={value}"]).runs) == 16
    assert "on the same data" in refusal([path])
    assert "--where task=7" in refusal([path])


def test_a_learning_curve_counts_with_its_last_step(tmp_path):
    rows = [
        {"run": f"{arm}{i}", "model": arm, "epoch": epoch, "lr": 0.1 + i, "val_acc": epoch / 10 + i / 100}
        for arm in "AB" for i in range(5) for epoch in range(3)
    ]  # fmt: skip
    frame = pd.DataFrame(rows).sample(frac=1, random_state=1)
    found = read([csv(tmp_path, frame)])
    last = sorted({round(run.validation, 6) for run in found.runs})
    assert last == [0.2, 0.21, 0.22, 0.23, 0.24]
    assert any("last epoch counts" in note for note in found.understood.notes)
    # Without a name of the run, what it was tuned to tells it.
    nameless = csv(tmp_path, frame.drop(columns="run"))
    assert len(read([nameless]).runs) == 10


def test_curves_are_let_go_of_while_they_are_read(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        [
            {"run_id": f"{arm}{i}", "model": arm, "step": step, "val_acc": step / 1000}
            for step in range(100)
            for arm in "AB"
            for i in range(5)
        ]
    )
    path = csv(tmp_path, frame)
    from archtrial.records import formats

    monkeypatch.setattr(formats, "_BLOCK", 1000)
    monkeypatch.setattr(gathering, "_COMPACT", 50)
    monkeypatch.setattr(gathering, "MOST_RUNS", 200)
    found = read([path])
    assert {run.validation for run in found.runs} == {0.099}
    with pytest.raises(RecordsError, match="up to 200 runs"):
        read([path], Wanted(step="none"))


def test_percentages_are_read_as_fractions_and_it_is_said(tmp_path):
    frame = searched()
    frame[["val_acc", "test_acc"]] *= 100
    found = read([csv(tmp_path, frame)])
    assert found.scale == 100
    assert found.bounded
    assert 0 < found.runs[0].validation < 1
    assert any("percent" in note for note in found.understood.notes)
    # Some of them at 0.1 %, as those that diverged on a thousand classes.
    frame.loc[3, ["val_acc", "test_acc"]] = 0.1
    assert "--percent" in refusal([csv(tmp_path, frame)])
    found = read([csv(tmp_path, frame)], percent=True)
    assert found.runs[3].validation == pytest.approx(0.001)


def test_the_name_of_the_metric_says_its_direction(tmp_path):
    frame = searched().rename(columns={"val_acc": "val_loss", "test_acc": "test_loss"})
    found = read([csv(tmp_path, frame)])
    assert found.measure.lower_is_better
    assert not found.bounded
    assert "the opposite" in refusal([csv(tmp_path, frame)], lower_is_better=False)
    plain = searched().rename(columns={"val_acc": "validation", "test_acc": "test"})
    assert "--lower-is-better or --higher-is-better" in refusal([csv(tmp_path, plain)])
    for lower in (False, True):
        found = read([csv(tmp_path, plain)], lower_is_better=lower)
        assert found.measure.lower_is_better == lower
    named = read([csv(tmp_path, plain)], metric="rmse").measure
    assert (named.name, named.lower_is_better) == ("rmse", True)
    made_up = read([csv(tmp_path, plain)], metric="Elo").measure
    assert made_up.name == "elo"


def test_a_table_in_long_form_names_its_metric(tmp_path):
    frame = searched().rename(columns={"val_acc": "validation", "test_acc": "test"})
    both = pd.concat([frame.assign(metric="f1"), frame.assign(metric="accuracy")])
    assert "same metric" in refusal([csv(tmp_path, both)])
    found = read([csv(tmp_path, both)], where=["metric=f1"])
    assert found.measure.name == "f1"


# Per-example scores, costs, parameters.


def test_scores_by_example_are_read_from_lists(tmp_path):
    rows = [
        {"arm": arm, "lr": i, "val_acc": 0.5, "correct": [1, 0, 1, float(i > 1)]}
        for arm in "AB" for i in range(5)
    ]  # fmt: skip
    rows[0]["val_acc"], rows[0]["correct"] = None, None
    path = write(tmp_path, "\n".join(json.dumps(row) for row in rows), "runs.jsonl")
    found = read([path], Wanted(test_examples="correct"))
    np.testing.assert_array_equal(found.runs[4].per_example, [1, 0, 1, 1])
    assert found.runs[4].test == 0.75
    # The diverged one stands at the worst score that there is.
    np.testing.assert_array_equal(found.runs[0].per_example, np.full(4, 0.5))
    table = pd.DataFrame(rows)
    table["correct"] = [json.dumps(row["correct"]) for row in rows]
    same = read([csv(tmp_path, table)], Wanted(test_examples="correct"))
    np.testing.assert_array_equal(same.runs[4].per_example, [1, 0, 1, 1])


@pytest.mark.parametrize(
    ("correct", "says"),
    [
        ([1, 0], "others 3"),
        ("[1, 0", "a list of numbers"),
        ([[1], [0], [1]], "a list of numbers"),
        ([1, 1, 1], "the mean over the test examples"),
    ],
)
def test_scores_by_example_that_do_not_fit(tmp_path, correct, says):
    rows = [
        {"arm": arm, "lr": i, "val_acc": 0.5, "test_acc": 2 / 3, "correct": [1, 0, 1]}
        for arm in "AB" for i in range(5)
    ]  # fmt: skip
    rows[-1]["correct"] = correct
    path = write(tmp_path, "\n".join(json.dumps(row) for row in rows), "runs.jsonl")
    assert says in refusal([path], Wanted(test_examples="correct"))


def test_costs_and_parameters(tmp_path):
    frame = searched()
    frame["flops"] = np.where(np.arange(16) < 12, 5.0, np.nan)
    frame["num_params"] = 1000
    found = read([csv(tmp_path, frame)])
    assert {run.flops for run in found.runs} == {5.0}
    assert {run.parameters for run in found.runs} == {1000}
    frame.loc[3, "flops"] = 0
    assert "more than 0" in refusal([csv(tmp_path, frame)])
    frame["flops"] = "much"
    assert "a cost is a number" in refusal([csv(tmp_path, frame)])


# Trackers.


def test_a_table_of_mlflows(tmp_path):
    frame = searched()
    exported = pd.DataFrame(
        {
            "Start Time": "2026-01-01",
            "Run ID": [f"{i:032x}" for i in range(len(frame))],
            "Name": "bold-fox",
            "Status": ["FINISHED"] * 14 + ["FAILED", "RUNNING"],
            "params.model": frame.model,
            "params.lr": frame.lr,
            "metrics.val_acc": frame.val_acc,
            "metrics.test_acc": frame.test_acc,
            "metrics.train_loss": 1.0,
            "tags.mlflow.user": "me",
        }
    )
    found = read([csv(tmp_path, exported)])
    assert len(found.runs) == 15
    assert found.runs[14].diverged
    assert list(found.spaces["A"]) == ["lr"]
    notes = " ".join(found.understood.notes)
    assert "1 of 16 runs" in notes
    assert "Not ended" in notes
    exported.loc[1, "Run ID"] = exported.loc[0, "Run ID"]
    assert "--step" in refusal([csv(tmp_path, exported)])


def test_a_table_of_weights_and_biases(tmp_path):
    frame = searched()
    exported = pd.DataFrame(
        {
            "Name": [f"sweep-{i}" for i in range(len(frame))],
            "State": "finished",
            "Tags": "",
            "Created": "2026-01-01T00:00:00",
            "model": frame.model,
            "lr": frame.lr,
            "val/accuracy": frame.val_acc * 100,
            "test/accuracy": frame.test_acc * 100,
            "train/loss": 1.0,
            "_step": 100,
            "_runtime": 3.0,
        }
    )
    found = read([csv(tmp_path, exported)])
    assert len(found.runs) == 16
    assert found.runs[0].test == pytest.approx(frame.test_acc[0])
    assert list(found.spaces["A"]) == ["lr"]
    exported["State"] = "running"
    assert "have ended" in refusal([csv(tmp_path, exported)])


# Adaptive tuners.


def repeated(repeats=4, trials=6):
    frame = pd.concat(
        [searched(trials, seed=i).assign(repeat=i) for i in range(repeats)]
    )
    return frame.assign(tuner="TPE", flops=2.0).drop(columns="seed")


def test_whole_repeats_of_a_tuner_are_one_unit_each(tmp_path):
    frame = repeated()
    path = csv(tmp_path, frame)
    assert "of 'TPE'" in refusal([path])
    assert "--tuner adaptive" in refusal([path], tuner="adaptive")
    found = read([path], Wanted(repeat="repeat"))
    assert found.repeats
    assert not found.paired
    assert found.spaces == {"A": {}, "B": {}}
    own = frame[(frame.model == "A") & (frame.repeat == 2)]
    best = own.loc[[own.val_acc.reset_index(drop=True).idxmax() == i for i in range(6)]]
    run = found.runs[4]
    assert (run.arm, run.validation) == ("A", own.val_acc.max())
    assert run.test == best.test_acc.item()
    assert run.flops == 12.0
    assert "one whole run of a tuner (6 trials)" in " ".join(found.understood.notes)
    assert len(read([path], tuner="random").runs) == 48


def test_repeats_that_are_too_few_unequal_or_nameless(tmp_path):
    wanted = Wanted(repeat="repeat")
    assert "A has 3" in refusal([csv(tmp_path, repeated(3))], wanted)
    frame = repeated(5)
    found = read([csv(tmp_path, frame.iloc[2:])], wanted)
    assert "5 to 6 trials" in " ".join(found.understood.notes)
    frame["repeat"] = [*[""] * 3, *frame["repeat"][3:]]
    assert "belongs to a repeat" in refusal([csv(tmp_path, frame)], wanted)
    lost = repeated()
    lost.loc[(lost.repeat == 1) & (lost.model == "A"), "val_acc"] = np.nan
    found = read([csv(tmp_path, lost.drop(columns="flops"))], wanted)
    assert sum(run.diverged for run in found.runs) == 1


def test_files_can_be_the_repeats(tmp_path):
    sources = []
    for i in range(4):
        for arm in "AB":
            frame = searched(5, arms=(arm,), seed=i).drop(columns="model")
            path = csv(tmp_path, frame, f"{arm}{i}.csv")
            sources.append(f"{arm}={path}")
    found = read(sources, Wanted(repeat="source"))
    assert [arm["configurations"] for arm in found.understood.arms] == [4, 4]


# What is refused.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (HEAD, "header alone"),
        ("x,y\n1,2\n", "--validation COLUMN"),
        ("x,val_acc,test_acc\n1,2,3\n", "--arm COLUMN"),
        ("arm,score_a,loss\nA,2,3\n", "--validation"),
        (HEAD + "a,0,0,good,.5\nb,0,0,1,1\n", "row 1, validation: 'good'"),
        (HEAD + 'a,0,0,"0,83",.5\nb,0,0,1,1\n', "with a point"),
        (HEAD + "a,0,0,.5\n", "Expected 5 columns, got 4"),
        (HEAD + "a,0,0,.5,.5,.5\n", "Expected 5 columns, got 6"),
        (HEAD + 'a,0,0,"5,.5\n', "a quote is left open"),
        ("arm,arm,validation\n", "'arm' twice"),
        (HEAD + "a,0,0,.5,.5\n", "needs two arms"),
        (HEAD + ",0,0,.5,.5\nb,0,0,.5,.5\n", "row 1: none"),
        (HEAD + "a,0,0,,\nb,0,0,,\n", "empty in every row"),
        (HEAD + "a,,0,.5,.5\nb,0,0,.5,.5\n", "has a pair"),
        (
            HEAD + "a,0,0,.5,.5\nb,0,0,.5,.5\na,0,0,.6,.6\n",
            "arm a, seed 0 in row 1 and again in row 3",
        ),
        ("arm,val_acc,val_f1\nA,1,1\n", None),
        (
            "arm,val_top_1,val_top_5\nA,1,1\n",
            "Name one: --validation val_top_1 or --validation val_top_5",
        ),
    ],
)
def test_mistakes_are_one_message(tmp_path, text, says):
    found = refusal([write(tmp_path, text)])
    assert (says or "two arms") in found


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"validation": "val_ac"}, "Did you mean 'val_acc'?"),
        ({"arm": "architectura"}, "--arm is a column"),
        ({"seed": "sed"}, "--seed-column"),
        ({"hyperparameters": ("rate",)}, "--hyperparameters"),
        ({"validation": "val_acc", "test": "lr"}, "the same metric"),
        ({"validation": "val_acc[-1].top_1"}, "empty in every row"),
        ({"validation": "acc_empty"}, "empty in every row"),
        ({"cost": "empty"}, "some row has a cost"),
        ({"pair": "row"}, "no value of the pair column"),
    ],
)
def test_columns_that_were_named_wrongly(tmp_path, wanted, says):
    frame = searched()
    frame["empty"] = frame["acc_empty"] = ""
    assert says in refusal([csv(tmp_path, frame)], Wanted(**wanted))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"baseline": "C"}, "no arm 'C': it has A, B"),
        ({"baseline": "AA"}, "has no arm 'AA'"),
        ({"baseline": "AA"}, "Did you mean 'A'?"),
        ({"baseline": "A", "challengers": ["A"]}, "'A' is named twice"),
        ({"where": ["lr"]}, "COLUMN=VALUE"),
        ({"where": ["=3"]}, "COLUMN=VALUE"),
        ({"where": ["modell=A"]}, "Did you mean 'model'?"),
        ({"where": ["model=a"]}, "leaves some rows"),
        ({"where": ["model=A", "lr=7"]}, "lr is one of"),
        ({"where": ["model=A"]}, "'A' alone"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, says):
    assert says in refusal([csv(tmp_path, searched())], **options)


def test_the_winners_alone_are_refused_with_the_reason(tmp_path):
    path = csv(tmp_path, pd.DataFrame({"model": ["A", "B"], "val_acc": [0.8, 0.83]}))
    assert "the search behind them is gone" in refusal([path])
    seeds = pd.DataFrame(
        {"model": ["A"] * 5 + ["B"] * 5, "seed": [*range(5)] * 2, "val_acc": [0.8] * 10}
    )
    assert "from seeds alone" in refusal([csv(tmp_path, seeds)])
    # Unless the user says that each row is a configuration of its own.
    assert len(read([csv(tmp_path, seeds)], Wanted(configuration="row")).runs) == 10
    one = seeds.assign(configuration="best")
    assert "A has 1 with 5 runs in all" in refusal([csv(tmp_path, one)])


def test_scores_out_of_range_are_refused_with_the_row(tmp_path):
    frame = searched(16)
    frame.loc[5, "val_acc"] = 79.0
    assert "row 6, validation: 79 among scores up to 1" in refusal(
        [csv(tmp_path, frame)]
    )
    frame.loc[5, "val_acc"] = 930.0
    assert "row 6, validation: 930" in refusal([csv(tmp_path, frame)])
    frame.loc[5, "val_acc"] = -0.5
    assert "accuracy lies between 0 and 1" in refusal([csv(tmp_path, frame)])
    plain = searched(16).rename(
        columns={"val_acc": "val_score", "test_acc": "test_score"}
    )
    plain.loc[5, "val_score"] = 79.0
    assert "row 6" in refusal([csv(tmp_path, plain)])
    assert not read([csv(tmp_path, plain)], metric="Elo").bounded
    plain["val_score"] = 100 + plain["val_score"]
    assert not read([csv(tmp_path, plain)], Wanted(test="none")).bounded


def test_rows_that_stand_twice_are_refused(tmp_path):
    frame = searched().drop(columns=["seed", "trial"])
    twice = pd.concat([frame, frame.iloc[[3]]])
    assert "row 4 and again in row 17" in refusal([csv(tmp_path, twice)])


def test_pairs_that_are_none_are_refused(tmp_path):
    frame = searched(16).drop(columns="seed")
    path = csv(tmp_path, frame)
    said = refusal([path], Wanted(pair="trial"))
    assert "have the same draw" in said
    assert "--pair none" in said
    # The same draw in another range lies at another value, in the same order.
    paired = searched(16, paired=True)
    paired.loc[paired.model == "B", "lr"] *= 7
    assert read([csv(tmp_path, paired)], Wanted(pair="trial")).paired
    several = pd.concat([paired, paired.assign(lr=paired.lr * 2, val_acc=0.5)])
    several["pair"] = several["trial"]
    several["configuration"] = range(len(several))
    assert "several in one arm" in refusal(
        [csv(tmp_path, several.drop(columns="seed"))]
    )


def test_arms_scored_in_different_ways_are_refused(tmp_path):
    one = csv(tmp_path, searched(arms=("A",)).drop(columns="model"), "a.csv")
    other = searched(arms=("B",)).drop(columns="model")
    loss = csv(
        tmp_path,
        other.rename(columns={"val_acc": "val_f1", "test_acc": "test_f1"}),
        "b.csv",
    )
    assert "the same metric" in refusal([one, loss])
    untested = csv(tmp_path, other.drop(columns="test_acc"), "c.csv")
    assert "--test none" in refusal([one, untested])
    assert "Give one of the two" in refusal([f"A={one}"], Wanted(arm="trial"))


def test_nothing_in_a_name_commands_a_terminal(tmp_path):
    frame = searched(arms=("\x1b[31mred", "=1+1<script>"))
    found = read([csv(tmp_path, frame)])
    assert found.arms == ("\ufffd[31mred", "=1+1<script>")


def test_the_digest_is_of_what_the_runs_say(tmp_path):
    frame = searched()
    plain = read([csv(tmp_path, frame)]).digest
    assert (
        read([csv(tmp_path, frame[frame.columns[::-1]], "other.csv")]).digest == plain
    )
    frame.loc[0, "val_acc"] += 1e-9
    assert read([csv(tmp_path, frame)]).digest != plain


def test_compressed_and_typed_files_say_the_same(tmp_path):
    frame = searched(seeds=2)
    plain = read([csv(tmp_path, frame)])
    with gzip.open(tmp_path / "runs.csv.gz", "wt") as file:
        file.write((tmp_path / "runs.csv").read_text())
    frame.to_parquet(tmp_path / "runs.parquet")
    frame.to_json(
        tmp_path / "runs.jsonl", lines=True, orient="records", double_precision=15
    )
    for name in ("runs.csv.gz", "runs.parquet", "runs.jsonl"):
        found = read([tmp_path / name])
        assert stages(found, "A") == stages(plain, "A")
        np.testing.assert_allclose(
            [run.validation for run in found.runs],
            [run.validation for run in plain.runs],
            rtol=1e-12,
        )


# Corners.


def test_the_best_epoch_of_nested_curves(tmp_path):
    curve = [[0.1, 0.6, 0.3], [0.2, None, 0.9], [], [None], [0.5], None]
    rows = [
        {
            "arm": arm,
            "lr": i,
            "widths": [i, 2],
            "curve": None if c is None else [{"val": v, "test": i / 10 + k / 100} for k, v in enumerate(c)],
        }
        for arm in "AB" for i, c in enumerate(curve)
    ]  # fmt: skip
    path = write(tmp_path, "\n".join(json.dumps(row) for row in rows), "runs.jsonl")
    wanted = Wanted(
        validation="curve[best].val", test="curve[best].test",
        hyperparameters=("lr", "widths"),
    )  # fmt: skip
    found = read([path], wanted, lower_is_better=False).runs[:6]
    assert [r.validation for r in found if not r.diverged] == [0.6, 0.9, 0.5]
    tests = [r.test for r in found if not r.diverged]
    assert tests == pytest.approx([0.01, 0.12, 0.4])
    assert list(found[0].configuration) == ["lr"]
    lowest = read([path], wanted, lower_is_better=True, failed_score="none").runs
    assert lowest[0].validation == 0.1


def test_columns_of_whole_numbers_with_gaps_are_the_same_texts(tmp_path):
    rows = [
        {"arm": arm, "seed": 7.0 if i else 7, "lr": i, "val_acc": 0.5}
        for arm in "AB" for i in range(5)
    ]  # fmt: skip
    path = write(tmp_path, "\n".join(json.dumps(row) for row in rows), "runs.jsonl")
    assert {run.seed for run in read([path]).runs} == {0}


def test_steps_without_anything_that_tells_runs_apart(tmp_path):
    frame = pd.DataFrame({"model": [*"AAAABBBB"], "epoch": 9, "val_acc": 0.5})
    assert len(read([csv(tmp_path, frame)]).runs) == 8


def test_what_was_not_chosen_is_said(tmp_path):
    frame = searched().assign(val_f1=0.5, sampler="RandomSampler")
    found = read([csv(tmp_path, frame)], baseline="B", challengers=["A"])
    assert found.arms == ("B", "A")
    assert ("", "val_f1", "not chosen") in found.understood.columns
    plain = frame.rename(columns={"val_acc": "validation", "test_acc": "test"})
    assert read([csv(tmp_path, plain)], metric="Score").measure.name == "Score"


def test_pairs_found_by_name_that_pair_nothing_are_left_out(tmp_path):
    frame = searched().drop(columns="seed")
    frame["pair"] = frame["model"] + frame["trial"].astype(str)
    found = read([csv(tmp_path, frame)])
    assert not found.paired
    assert any(note.startswith("No pairs") for note in found.understood.notes)


def test_pairs_may_agree_in_a_choice_alone(tmp_path):
    frame = searched().drop(columns="seed")
    frame["act"] = np.where(frame["trial"] % 2, "relu", "tanh")
    frame["only_b"] = np.where(frame["model"] == "B", frame["trial"], np.nan)
    assert read([csv(tmp_path, frame)], Wanted(pair="trial")).paired


def test_every_run_diverged(tmp_path):
    frame = searched().assign(status="crashed")
    assert "every run diverged" in refusal([csv(tmp_path, frame)])


def test_the_same_file_twice(tmp_path):
    path = csv(tmp_path, searched())
    frame = searched()
    frame.to_csv(tmp_path / "copy.csv", index=False)
    said = refusal([path, tmp_path / "copy.csv"])
    assert f"in row 1 and again in row 1 of {tmp_path / 'copy.csv'}" in said


def test_whole_numbers_of_a_column_with_gaps_are_written_as_such():
    from archtrial.records import scores

    assert [scores._as_text(value) for value in (3.0, 3.5, " a ")] == ["3", "3.5", "a"]


def test_a_training_score_that_was_named_is_told(tmp_path):
    frame = searched().rename(columns={"val_acc": "train/acc"})
    found = read([csv(tmp_path, frame)], Wanted(validation="train/acc"))
    assert any("training score" in note for note in found.understood.notes)
    plain = read([csv(tmp_path, searched(), "other.csv")])
    assert not any("training score" in note for note in plain.understood.notes)


def test_arms_that_were_not_trained_for_as_long_are_told(tmp_path):
    rows = [
        {"model": arm, "run": f"{arm}{i}", "lr": i / 10, "epoch": epoch, "val_acc": 0.5 + i / 50}
        for arm, last in (("A", 10), ("B", 3)) for i in range(8) for epoch in range(1, last + 1)
    ]  # fmt: skip
    told = read([csv(tmp_path, pd.DataFrame(rows))]).understood.notes
    assert any("A 10, B 3" in note for note in told)
    alike = [row for row in rows if row["epoch"] <= 3]
    told = read([csv(tmp_path, pd.DataFrame(alike), "other.csv")]).understood.notes
    assert not any("as long" in note for note in told)


def test_arms_that_differ_in_how_they_are_written_are_asked_about(tmp_path):
    frame = searched(16)
    frame.loc[frame["model"] == "B", "model"] = "a"
    path = csv(tmp_path, frame)
    assert "--baseline A --challenger a" in refusal([path])
    assert read([path], baseline="A", challengers=["a"]).arms == ("A", "a")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("81.5 %", "--percent"),
        ("0.80 ± 0.01", "the score alone"),
        ("0.80 +/- 0.01", "the score alone"),
        ("good", "Leave it empty"),
    ],
)
def test_a_score_that_is_no_number_is_told_how_to_be_one(tmp_path, cell, says):
    frame = searched().astype({"val_acc": object})
    frame.loc[2, "val_acc"] = cell
    assert says in refusal([csv(tmp_path, frame)])


def test_a_challenger_alone_is_read_beside_the_baseline_to_be_named(tmp_path):
    table = tmp_path / "runs.csv"
    rows = ["model,lr,val_acc"]
    rows += [f"{arm},{1 + i},{0.5 + i / 100}" for arm in "ab" for i in range(16)]
    table.write_text("\n".join(rows) + "\n")
    found = read([str(table)], challengers=["b"])
    assert found.arms == ("a", "b")
    assert "a" in str(found.understood.to_dict())


def test_columns_whose_names_say_nothing_hold_the_metric_that_is_declared(tmp_path):
    named = Wanted(validation="foo", test="bar")
    odd = searched().rename(columns={"val_acc": "foo", "test_acc": "bar"})
    said = refusal([csv(tmp_path, odd)], wanted=named)
    assert "foo and bar" in said
    assert "--metric NAME" in said
    found = read([csv(tmp_path, odd)], wanted=named, metric="accuracy")
    assert found.measure.name == "accuracy"
    assert [run.test for run in found.runs] == odd["bar"].tolist()
    # Names that say two measures contradict whatever is declared.
    known = odd.rename(columns={"foo": "val_loss", "bar": "test_acc"})
    both = Wanted(validation="val_loss", test="test_acc")
    said = refusal([csv(tmp_path, known)], wanted=both, metric="accuracy")
    assert "Name two of one metric" in said


def test_two_names_are_not_given_to_the_same_runs(tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("model,seed,lr,val_acc\n" + "A,0,.1,.8\nB,0,.1,.9\n" * 4)
    with pytest.raises(RecordsError, match=r"a and b are both(.|\n)*--arm COLUMN"):
        read([f"a={table}", f"b={table}"])


def test_the_values_of_a_column_stand_in_the_order_of_the_rows(tmp_path):
    text = "arm,base,kind,val_score\nA,wmt,x,.1\nA,,x,.1\nB,digits,y,.2\nB,wmt,y,.3\n"
    table = open_source(str(write(tmp_path, text)))
    assert gathering.values_of([table], "base", []) == (["wmt", "digits"], 1)
    found = gathering.values_of([table, table], "base", ["kind=y"])
    assert found == (["digits", "wmt"], 0)
    with pytest.raises(RecordsError, match="has none with kind=z"):
        gathering.values_of([table], "base", ["kind=z"])
    with pytest.raises(RecordsError, match="it has no 'bose'"):
        gathering.values_of([table], "bose", [])


def test_a_column_of_problems_has_values_and_not_too_many(tmp_path):
    empty = open_source(str(write(tmp_path, "arm,base,val_score\nA,,.1\n")))
    with pytest.raises(RecordsError, match="base has none in any row"):
        gathering.values_of([empty], "base", [])
    many = "".join(f"A,{i},.1\n" for i in range(201))
    table = open_source(str(write(tmp_path, "arm,base,val_score\n" + many)))
    with pytest.raises(RecordsError, match="up to 200 problems"):
        gathering.values_of([table], "base", [])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mean_average_precision", "average_precision"),
        ("avg_precision", "precision"),
        ("average_loss", "loss"),
    ],
)
def test_average_precision_is_no_average_of_precisions(name, said):
    assert measure(name).name == said

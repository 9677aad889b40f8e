"""Tables that were judged wrongly once, each for its kind: the right value, or a question.

Where a message says what to type, it is typed.
"""

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archtrial import judge
from archtrial.errors import RecordsError, UserError
from archtrial.records.columns import Wanted
from archtrial.records.importers import read

CASES = Path(__file__).parents[1] / "cases" / "tables"


def case(name):
    return str(CASES / name)


def compared(*sources, baseline="mlp", columns=None, **options):
    found = judge.judge_sources(
        sources, baseline=baseline, columns=columns, **options
    ).verdict
    (one,) = found.comparisons
    return one


def said(*sources, columns=None, **options):
    with pytest.raises(UserError) as caught:
        read(list(sources), columns, **options)
    return str(caught.value)


def notes(found):
    return " ".join(found.understood.notes)


# Direction.


def unknown_metric(tmp_path):
    """The case's table, and another that is better by far."""
    table = pd.read_csv(case("01_unknown_metric.tsv"), sep="\t")
    table["val_bpb"] -= 0.3
    table["commit"] = "c" + table["commit"]
    table.to_csv(tmp_path / "b.tsv", sep="\t", index=False)
    return [f"a={case('01_unknown_metric.tsv')}", f"b={tmp_path / 'b.tsv'}"]


def test_bits_per_byte_are_a_loss(tmp_path):
    sources = unknown_metric(tmp_path)
    found = compared(*sources, baseline="a", columns=Wanted(configuration="commit"))
    assert found["verdict"] == "architecture"
    assert not found.get("higher_is_better", False)


@pytest.mark.parametrize(
    ("lower", "verdict"), [(True, "architecture"), (False, "baseline")]
)
def test_a_name_in_neither_list_is_a_question(tmp_path, lower, verdict):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table = table.rename(columns={"val_acc": "val_zork", "test_acc": "test_zork"})
    table["val_zork"] = np.where(
        table.model == "cnn", table.val_zork - 0.4, table.val_zork
    )
    table["test_zork"] = np.where(
        table.model == "cnn", table.test_zork - 0.4, table.test_zork
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "--lower-is-better or --higher-is-better" in said(tmp_path / "t.csv")
    found = compared(tmp_path / "t.csv", lower_is_better=lower)
    assert found["verdict"] == verdict


# Tuners' exports.


def optuna_frames():
    return [
        f"{arm}={case(f'02_optuna_dataframe_{arm}.csv')}" for arm in ("mlp", "rvfl")
    ]


def test_a_data_frame_of_optunas_says_neither_direction_nor_sampler():
    message = said(*optuna_frames())
    assert "--lower-is-better or --higher-is-better" in message
    assert "--tuner random" in message
    message = said(*optuna_frames(), lower_is_better=True)
    assert "--tuner random" in message
    found = read(optuna_frames(), lower_is_better=True, tuner="random")
    assert found.measure.lower_is_better
    assert not any(run.test is not None for run in found.runs)


def test_cross_validated_scores_are_validation_scores():
    found = read([case("06_sklearn_cv_results.csv")])
    columns = found.understood.to_dict()["columns"]
    assert columns["validation score"]["column"] == "mean_test_score"
    assert all(run.test is None for run in found.runs)
    assert set(found.spaces["mlp"]) == {"alpha", "learning_rate_init"}
    named = read(
        [case("06_sklearn_cv_results.csv")], Wanted(validation="mean_test_score")
    )
    assert all(run.test is None for run in named.runs)


@pytest.mark.parametrize("column", ["val_acc", "test_acc"])
def test_one_column_is_never_validation_and_test(column):
    message = said(case("04_seeds.csv"), columns=Wanted(validation=column, test=column))
    assert "--test none" in message
    found = read([case("04_seeds.csv")], Wanted(validation=column, test="none"))
    assert all(run.test is None for run in found.runs)


# Failures.


def test_a_crash_is_no_loss_of_zero():
    found = read([case("03_crash_is_zero.csv")])
    assert [arm["diverged"] for arm in found.understood.arms] == [1, 1]
    assert "Failed (crash)" in notes(found)
    assert compared(case("03_crash_is_zero.csv"))["verdict"] == "architecture"


def crashing(tmp_path, word="crash", status=True, stand_in=0.0):
    table = pd.read_csv(case("03_crash_is_zero.csv"))
    failed = table.status == "crash"
    table.loc[failed, "status"] = word
    table.loc[failed, "val_loss"] = stand_in
    if not status:
        table = table.drop(columns="status")
    table.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.parametrize(
    "word",
    ["crashed", "OOM", "timeout", "timed out", "TIMEOUT", "killed", "aborted",
     "cancelled", "CANCELED", "failed", "Error", "preempted", "NODE_FAIL", "diverged",
     "CUDA out of memory", "nan", "OUT_OF_MEMORY", "Segfault"],
)  # fmt: skip
def test_words_of_failure(tmp_path, word):
    found = read([crashing(tmp_path, word)])
    assert [arm["diverged"] for arm in found.understood.arms] == [1, 1]


@pytest.mark.parametrize("word", ["blorp", "stopped", "no error", "phase 3"])
def test_an_unknown_status_is_a_question_with_three_answers(tmp_path, word):
    path = crashing(tmp_path, word, stand_in=0.12)
    message = said(path)
    typed = [
        t for t in shlex.split(message.replace(".", " ")) if t.startswith("--status=")
    ]
    assert len(typed) == 3
    counts = []
    for each in typed:
        found = read([path], status=(each.partition("=")[2],))
        counts.append((len(found.runs), sum(run.diverged for run in found.runs)))
    # The pairs of runs that have not ended are not whole.
    assert counts == [(48, 0), (48, 2), (45, 0)]


@pytest.mark.parametrize("stand_in", [0.0, -1.0, 999.0, 9999.0, 1e9, 1e38])
def test_a_number_in_place_of_a_score_is_a_question(tmp_path, stand_in):
    path = crashing(tmp_path, status=False, stand_in=stand_in)
    message = said(path)
    option = re.search(r"--failed-score=(\S+);", message).group(1)
    found = read([path], failed_score=option)
    assert sum(run.diverged for run in found.runs) == 2
    other = re.search(r"--failed-score=(\S*none)", message).group(1)
    assert not any(run.diverged for run in read([path], failed_score=other).runs)


def test_two_numbers_in_place_of_scores_are_two_questions(tmp_path):
    path = crashing(tmp_path, status=False)
    table = pd.read_csv(path)
    table.loc[5, "val_loss"] = 9999.0
    table.to_csv(path, index=False)
    first = re.search(r"--failed-score=(\S+);", said(path)).group(1)
    second = re.search(r"--failed-score=(\S+);", said(path, failed_score=first)).group(
        1
    )
    found = read([path], failed_score=second)
    assert sum(run.diverged for run in found.runs) == 3
    with pytest.raises(RecordsError, match="has numbers"):
        read([path], failed_score="much")
    with pytest.raises(RecordsError, match="of some run"):
        read([path], failed_score="0.77")


@pytest.mark.parametrize(
    ("name", "no", "yes"),
    [("crashed", "False", "True"), ("diverged", "0", "1"), ("exit_code", "0", "137"),
     ("success", "true", "false"), ("is_nan", "no", "yes"), ("exception", "", "OOM"),
     ("timed_out", "0", "1")],
)  # fmt: skip
def test_a_flag_tells_failed_runs(tmp_path, name, no, yes):
    path = crashing(tmp_path)
    table = pd.read_csv(path)
    table[name] = np.where(table.pop("status") == "crash", yes, no)
    table.to_csv(path, index=False)
    found = read([path])
    assert sum(run.diverged for run in found.runs) == 2
    # Who says that there is no status means these as well.
    assert "--failed-score" in said(path, columns=Wanted(status="none"))


def test_a_flag_of_unfinished_runs_and_a_column_that_is_none(tmp_path):
    path = crashing(tmp_path)
    table = pd.read_csv(path)
    table["finished"] = table["status"] != "crash"
    table.to_csv(path, index=False)
    assert sum(run.diverged for run in read([path]).runs) == 0
    table["finished"] = np.arange(len(table)) * 1.5  # a time
    table.to_csv(path, index=False)
    assert sum(run.diverged for run in read([path]).runs) == 2


def test_a_word_of_failure_in_place_of_a_score(tmp_path):
    path = crashing(tmp_path, status=False, stand_in=0.1)
    table = pd.read_csv(path).astype({"val_loss": object})
    table.loc[[1, 30], "val_loss"] = "OOM"
    table.to_csv(path, index=False)
    assert sum(run.diverged for run in read([path]).runs) == 2
    table.loc[3, "val_loss"] = "good"
    table.to_csv(path, index=False)
    assert "a score is a number" in said(path)


def test_arms_that_were_killed_unequally_often_are_a_question(tmp_path):
    path = crashing(tmp_path)
    table = pd.read_csv(path)
    table.loc[table.index[24:36], "status"] = "preempted"
    table.to_csv(path, index=False)
    message = said(path)
    assert "preempted=failed" in message
    worst = read([path], status=("preempted=failed",))
    assert sum(run.diverged for run in worst.runs) == 13
    left = read([path], status=("preempted=unfinished",))
    assert sum(run.diverged for run in left.runs) == 1
    # What diverged did so by itself.
    table["status"] = table["status"].replace("preempted", "diverged")
    table.to_csv(path, index=False)
    assert sum(run.diverged for run in read([path]).runs) == 13


def test_a_small_share_of_killed_runs_is_not_written_as_none(tmp_path):
    rows = [
        {"arm": arm, "lr": 0.001 * (i + 1), "seed": i, "val_accuracy": 0.5 + 0.0001 * i,
         "status": "preempted" if i < killed else "ok"}
        for arm, killed in (("a", 1), ("b", 100))
        for i in range(250)
    ]  # fmt: skip
    path = tmp_path / "killed.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert "of b, and of 0.4% of another arm's" in said(path)


def test_pruned_runs_count_with_what_they_reported(tmp_path):
    found = read([crashing(tmp_path, "PRUNED", stand_in=0.3)])
    assert not any(run.diverged for run in found.runs)
    assert "Pruned" in notes(found)
    assert "has a status 'zonk'" in said(tmp_path / "t.csv", status=("zonk=failed",))


def test_a_second_column_of_statuses_tells_failures_as_well(tmp_path):
    path = crashing(tmp_path)
    table = pd.read_csv(path)
    table["state"] = np.where(table["status"] == "crash", "killed", "done")
    table["status"] = "ok"
    table.to_csv(path, index=False)
    assert sum(run.diverged for run in read([path]).runs) == 2


def test_a_number_that_most_runs_have_is_their_score(tmp_path):
    path = crashing(tmp_path, status=False, stand_in=0.1)
    table = pd.read_csv(path)
    table.loc[table.index % 24 < 20, "val_loss"] = 0.0
    table.to_csv(path, index=False)
    assert not any(run.diverged for run in read([path]).runs)


def test_draws_that_close_in_are_a_tuners(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for arm in "ab":
        for i in range(40):
            width = 2.0 if i < 20 else 0.02
            rows.append(
                [arm, 10 ** (-2 + width * generator.uniform(-1, 1)), 0.5 + i / 99]
            )
    table = pd.DataFrame(rows, columns=["model", "lr", "val_acc"])
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "--tuner random" in said(tmp_path / "t.csv")
    assert len(read([tmp_path / "t.csv"], tuner="random").runs) == 80


# The identity of a configuration.


@pytest.mark.parametrize(
    "name", ["", "Unnamed: 0", "index", "level_0", "row", "#", "k", "serial", "job"]
)
@pytest.mark.parametrize("shuffled", [False, True])
def test_what_counts_the_rows_is_no_hyperparameter(tmp_path, name, shuffled):
    plain = compared(case("04_seeds.csv"))
    table = pd.read_csv(case("04_seeds.csv"))
    table.insert(0, name, np.arange(len(table)))
    if shuffled:
        table = table.sample(frac=1, random_state=1)
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read([tmp_path / "t.csv"]).understood.arms[0]["fresh_seeds"] == 48
    found = compared(tmp_path / "t.csv")
    assert found["effect"] == plain["effect"]


def test_the_index_of_pandas_is_said_to_be_left_out():
    found = read([case("04_seeds_with_pandas_index.csv")])
    assert found.understood.arms[0]["configurations"] == 24
    assert found.understood.arms[0]["fresh_seeds"] == 48
    assert "counts the rows" in notes(found)
    effect = compared(case("04_seeds_with_pandas_index.csv"))["effect"]
    assert (round(effect["low"], 4), round(effect["high"], 4)) == (0.0245, 0.0289)


def test_measured_columns_are_no_hyperparameters():
    found = read([case("05_measured_columns.csv")])
    assert found.paired
    assert set(found.spaces["mlp"]) == {"lr", "weight_decay"}


@pytest.mark.parametrize("seeds", [False, True])
@pytest.mark.parametrize("names", [["kurtosis"], ["kurtosis", "sharp"]])
@pytest.mark.parametrize("whole", [False, True])
def test_columns_of_unknown_names_that_were_measured(tmp_path, seeds, names, whole):
    table = pd.read_csv(case("04_seeds.csv" if seeds else "05_measured_columns.csv"))
    generator = np.random.default_rng(0)
    for name in names:
        table[name] = (
            generator.integers(1, 30, len(table))
            if whole
            else generator.normal(size=len(table))
        )
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert found.paired
    assert found.understood.arms[0]["fresh_seeds"] == (48 if seeds else 0)
    assert not set(names) & set(found.spaces["mlp"])
    assert "it was measured" in notes(found)


def test_repeats_without_seeds_are_of_one_configuration(tmp_path):
    table = pd.read_csv(case("04_seeds.csv")).drop(columns="seed")
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert found.understood.arms[0]["configurations"] == 24
    assert found.paired
    assert "--configuration row" in notes(found)
    typed = read([tmp_path / "t.csv"], Wanted(configuration="row"))
    assert typed.understood.arms[0]["configurations"] == 72


def test_seeds_that_one_column_undoes_are_told_with_what_to_type(tmp_path):
    table = pd.read_csv(case("04_seeds.csv"))
    # By its name this was tuned, so nobody but the user can say that it was not.
    table["batch_momentum"] = np.random.default_rng(0).normal(size=len(table))
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert "batch_momentum" in notes(found)
    (typed,) = re.findall(
        r"although there are seeds.*--hyperparameters (\S+)\.", notes(found)
    )
    again = read([tmp_path / "t.csv"], Wanted(hyperparameters=tuple(typed.split(","))))
    assert again.understood.arms[0]["fresh_seeds"] == 48
    assert again.paired


def test_a_seed_for_each_run_alone_is_said(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table["seed"] = np.arange(len(table)) * 7 % 101
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "No two runs share a configuration" in notes(read([tmp_path / "t.csv"]))


def test_names_of_losses_are_hyperparameters_and_losses_are_none(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table["loss"] = ["ce", "focal", "ce", "hinge"] * 12
    table["loss_weight"] = np.linspace(0, 1, 24).tolist() * 2
    table["optimizer_name"] = ["sgd", "adam", "adam"] * 16
    table["n_params"] = table["params_m"] = np.arange(48) * 31.7
    table["f1"] = np.linspace(0.1, 0.9, 48)
    table.to_csv(tmp_path / "t.csv", index=False)
    space = read([tmp_path / "t.csv"]).spaces["mlp"]
    assert set(space) == {"lr", "weight_decay", "loss", "loss_weight", "optimizer_name"}


# What the hints say can be typed.


def test_a_hint_offers_no_training_score_and_works_when_typed():
    message = said(case("07_no_validation_column.csv"))
    assert "train" not in message.split("Name it")[1]
    offered = re.findall(r"--validation (\S+?)(?= or |\.)", message)
    assert offered == ["test_loss", "test_acc"]
    for name in offered:
        found = read([case("07_no_validation_column.csv")], Wanted(validation=name))
        assert all(run.test is None for run in found.runs)


def test_a_hint_is_quoted_for_the_shell(tmp_path):
    table = pd.read_csv(case("07_no_validation_column.csv"))
    table = table.rename(columns={"test_acc": "test acc (top 1)"}).drop(
        columns="test_loss"
    )
    table["wall_time"] = 3.5
    table.to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    line = message.splitlines()[1].removeprefix("Name it: ").split(". If the best")[0]
    option, name = shlex.split(line)
    assert option == "--validation"
    assert len(read([tmp_path / "t.csv"], Wanted(validation=name)).runs) == 48


def test_settings_and_clocks_are_no_validation_scores(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    for name in ("val_split", "eval_every", "val_time", "eval_runtime", "val_acc_std"):
        table[name] = np.linspace(0.1, 0.5, len(table))
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"]).understood.to_dict()["columns"]
    assert found["validation score"]["column"] == "val_acc"
    assert "" not in found or "val_time" not in found[""]["column"]


# Units.


def test_a_small_loss_is_no_fraction():
    sources = [f"{arm}={case('09_small_loss.optuna.log')}#{arm}" for arm in "qh"]
    found = judge.judge_sources(sources, baseline="q", tuner="random")
    (one,) = found.verdict.comparisons
    assert one["verdict"] == "architecture"
    assert "points" not in one["sentence"]


@pytest.mark.parametrize("name", ["error", "mean_absolute_error", "distance", "ece"])
def test_errors_of_any_size_are_no_fractions(tmp_path, name):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table = table.rename(columns={"val_acc": f"val_{name}", "test_acc": f"test_{name}"})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert not read([tmp_path / "t.csv"]).bounded


def test_a_name_may_say_percent(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table = table.rename(columns={"val_acc": "val_acc_pct", "test_acc": "test_acc_pct"})
    table.to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    assert "--percent" in message
    assert "--metric accuracy" in message
    assert read([tmp_path / "t.csv"], percent=True).scale == 100
    assert read([tmp_path / "t.csv"], metric="accuracy").scale == 1
    table[["val_acc_pct", "test_acc_pct"]] *= 100
    table.loc[3, "val_acc_pct"] = 0.4
    table.to_csv(tmp_path / "t.csv", index=False)
    assert read([tmp_path / "t.csv"]).scale == 100


# Pairs, grids, copies, sources.


def test_whole_pairs_are_compared_and_the_others_named():
    found = read([case("10_wandb_runs_one_unfinished.csv")], baseline="mlp")
    assert found.paired
    assert [arm["configurations"] for arm in found.understood.arms] == [23, 23]
    assert "Compared are the 23 pairs that are whole" in notes(found)


def test_a_complete_grid_is_said_to_be_one():
    found = read([case("11_complete_grid.csv")])
    assert "are a grid (3 of lr x 3 of dropout)" in notes(found)


def test_one_cell_that_comes_far_too_often_is_a_tuners(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for arm in "ab":
        for i in range(40):
            level = (0.1, 2) if i > 12 else (10.0 ** -generator.integers(4), i % 5)
            rows.append([arm, *level, generator.uniform()])
    table = pd.DataFrame(rows, columns=["model", "lr", "depth", "val_acc"])
    table.to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    assert "--tuner random" in message
    assert len(read([tmp_path / "t.csv"], tuner="random").runs) == 80


def equal_scores():
    return [f"{arm}={case(f'16_equal_scores_{arm}.tsv')}" for arm in "ab"]


def test_a_copy_is_equal_in_all_columns(tmp_path):
    assert len(read(equal_scores()).runs) == 40
    table = pd.read_csv(case("16_equal_scores_b.tsv"), sep="\t")
    pd.concat([table, table.iloc[[4]]]).to_csv(
        tmp_path / "b.tsv", sep="\t", index=False
    )
    assert "stands in the table once" in said(
        equal_scores()[0], f"b={tmp_path / 'b.tsv'}"
    )


@pytest.mark.parametrize("named", [("batch_size",), ("lr", "batch_size"), ()])
def test_hyperparameters_of_any_source_or_of_none(named):
    sources = [f"{arm}={case(f'18_{arm}.csv')}" for arm in "ab"]
    found = read(sources, Wanted(hyperparameters=named))
    assert set(found.spaces["b"]) == set(named)
    assert "batch_size" not in found.spaces["a"]
    assert "--hyperparameters" in said(*sources, columns=Wanted(hyperparameters=("x",)))


# Order.


@pytest.mark.parametrize(
    "name", ["04_seeds.csv", "05_measured_columns.csv", "11_complete_grid.csv"]
)
@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_rows_or_columns_changes_the_verdict(tmp_path, name, seed):
    table = pd.read_csv(case(name))
    if seed == 2 and "seed" in table:
        table = table.drop(columns="seed")
        (tmp_path / "plain").mkdir()
        table.to_csv(tmp_path / "plain" / name, index=False)
    straight = tmp_path / "plain" / name
    straight = straight if straight.exists() else CASES / name
    shuffled = table.sample(frac=1, random_state=seed)
    shuffled = shuffled[np.random.default_rng(seed).permutation(list(table))]
    shuffled.to_csv(tmp_path / name, index=False)
    documents = [
        judge.judge_sources([path], baseline="mlp").verdict.to_dict()
        for path in (straight, tmp_path / name)
    ]
    assert documents[0]["comparisons"] == documents[1]["comparisons"]


# As it is typed.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--failed-score=0;"),
        (["--failed-score=0"], "architecture"),
        (["--failed-score", "0,none"], "verdict"),
        (["--failed-score=0", "--hyperparameters", "none"], "verdict"),
        (["--failed-score=0", "--hyperparameters", "lr"], "verdict"),
        (["--failed-score=0", "--lower-is-better"], "architecture"),
        (["--failed-score=0", "--higher-is-better"], "the opposite was declared"),
        (["--failed-score=0", "--status", "a=b"], "--status is WORD=finished"),
        (["--failed-score=0", "--status", "ok=failed"], "has none"),
    ],
)
def test_what_messages_say_can_be_typed(tmp_path, capsys, monkeypatch, options, says):
    from archtrial import cli

    path = crashing(tmp_path, status=False)
    arguments = ["judge", str(path), "--baseline", "mlp", "--json", *options]
    monkeypatch.setattr("sys.argv", ["archtrial", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    captured = capsys.readouterr()
    assert says in captured.out + captured.err


VARIANTS = Path(
    os.environ.get("ARCHTRIAL_DATA")
    or Path(__file__).resolve().parents[3] / "shared" / "data"
).joinpath("tuning_records", "algoperf_variants", "trials.csv.gz")


@pytest.mark.skipif(not VARIANTS.exists(), reason=f"no tuning records at {VARIANTS}")
@pytest.mark.parametrize(
    ("base", "margin", "verdict", "effect"),
    [
        ("fastmri", 0.002, "baseline", -0.0092),
        ("ogbg", 0.002, "baseline", -0.0149),
        ("criteo1tb", 0.002, "baseline", -0.0115),
        ("imagenet_resnet", 0.002, "inconclusive", None),
        ("librispeech_conformer", 0.002, "inconclusive", None),
        ("wmt", 0.2, "inconclusive", None),
    ],
)
def test_a_workload_and_its_variant_are_judged_in_one_command(
    base, margin, verdict, effect
):
    # archtrial judge trials.csv.gz --where base=BASE --baseline BASE --effort 6
    found = compared(
        VARIANTS, baseline=base, where=[f"base={base}"], effort=6, margin=margin
    )
    assert found["verdict"] == verdict
    assert found["paired"]
    if effect is not None:
        assert found["effect"]["estimate"] == pytest.approx(effect, abs=2e-4)


# What may number repeats, and endings in words.


def repeated(name, values=(0, 1, 2)):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table = table[["model", "lr", "weight_decay", "val_acc"]]
    return pd.concat(
        [
            table.assign(**{name: value, "val_acc": table["val_acc"] + 0.001 * i})
            for i, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    "name", ["replicate", "fold", "init", "cc", "variant", "rep_no", "k"]
)
def test_what_comes_at_every_draw_may_number_repeats(tmp_path, name):
    repeated(name).to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    assert f"--seed-column {name}" in message
    assert f"--where {name}=0" in message
    assert f"--hyperparameters lr,weight_decay,{name}" in message
    once = read([tmp_path / "t.csv"], wanted=Wanted(seed=name))
    assert [arm["configurations"] for arm in once.understood.arms] == [24, 24]
    assert read([tmp_path / "t.csv"], where=[f"{name}=0"]).paired
    every = ("lr", "weight_decay", name)
    tuned = read([tmp_path / "t.csv"], wanted=Wanted(hyperparameters=every))
    assert [arm["configurations"] for arm in tuned.understood.arms] == [72, 72]


def test_folds_beside_seeds_are_asked_about(tmp_path):
    table = repeated("seed")
    other = table.assign(fold=1, val_acc=table["val_acc"] + 0.003)
    pd.concat([table.assign(fold=0), other]).to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    assert "--where fold=0" in message
    assert "--seed-column" not in message
    assert read([tmp_path / "t.csv"], where=["fold=0"]).paired


def test_an_unknown_measurement_of_repeats_is_asked_about(tmp_path):
    table = repeated("seed").drop(columns="seed")
    table["zeta"] = np.random.default_rng(0).normal(size=len(table))
    table.to_csv(tmp_path / "t.csv", index=False)
    message = said(tmp_path / "t.csv")
    assert "If it was measured: --hyperparameters lr,weight_decay;" in message
    own = Wanted(hyperparameters=("lr", "weight_decay"))
    found = read([tmp_path / "t.csv"], wanted=own)
    assert [arm["configurations"] for arm in found.understood.arms] == [24, 24]


def test_a_grid_of_tuned_names_is_no_question(tmp_path):
    read([case("11_complete_grid.csv")])
    repeated("kernel", (3, 5, 7)).to_csv(tmp_path / "t.csv", index=False)
    assert read([tmp_path / "t.csv"]).paired


def test_a_flag_may_say_what_a_run_failed_of(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table["crashed"] = ""
    table.loc[30:38, "crashed"] = "oom"
    table.loc[39, "crashed"] = "strange"
    table["outcome"] = "fine"
    table["status"] = "finished"
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert [arm["diverged"] for arm in found.understood.arms] == [0, 9]
    assert "crashed is 'strange' in 1 rows" in notes(found)
    assert "outcome is 'fine' in 48 rows" in notes(found)
    assert "--status-column outcome" in notes(found)


def test_a_limit_of_time_is_no_failure(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table.assign(timeout=3600).to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert [arm["diverged"] for arm in found.understood.arms] == [0, 0]


def test_a_budget_that_follows_from_the_arm_is_said_to_count(tmp_path):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table["epochs"] = table["model"].map({"mlp": 20, "cnn": 100})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "'epochs' follows from the arm" in notes(read([tmp_path / "t.csv"]))
    assert "what it changes counts as the arm's" in notes(read([tmp_path / "t.csv"]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nans", 37), ("nan", 2), ("num_nan_steps", 37), ("n_oom", 1), ("nan_count", 5),
        ("crashes", 2), ("n_errors", 3), ("overflow_steps", 4), ("first_nan_step", 250),
        ("frac_nan", 0.5), ("metrics.diverged", 12),
    ],
)  # fmt: skip
@pytest.mark.parametrize("no", [0, ""])
def test_runs_that_went_on_after_what_went_wrong_are_said(tmp_path, name, value, no):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table = table.assign(**{name: no}).astype(object)
    table.loc[[3, 30, 31], name] = value
    table.loc[31, "val_acc"] = ""
    table.to_csv(tmp_path / "t.csv", index=False)
    found = read([tmp_path / "t.csv"])
    assert [arm["diverged"] for arm in found.understood.arms] == [0, 1]
    assert found.paired
    assert f"{name} is above 0 in 2 of 48 runs that have a score" in notes(found)
    option = shlex.split(re.search(r"--status-column \S+", notes(found))[0])[1][:-1]
    failed = read([tmp_path / "t.csv"], Wanted(status=option))
    assert [arm["diverged"] for arm in failed.understood.arms] == [1, 2]
    assert "is above 0" not in notes(failed)


@pytest.mark.parametrize(
    ("name", "values"),
    [("nans", [0]), ("nans", [3]), ("num_nan_steps", [0]), ("nan_policy", [0, 37]),
     ("n_errors", ["few", "many"])],
)  # fmt: skip
def test_what_tells_no_run_that_went_wrong_is_passed_over(tmp_path, name, values):
    table = pd.read_csv(case("05_measured_columns.csv"))
    table[name] = (values * 48)[:48]
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "is above 0" not in notes(read([tmp_path / "t.csv"]))

"""Every case of a table, judged as a user types it: the right value, or the question."""

import json
import re
import shlex
from pathlib import Path

import pytest

from archtrial import cli

CASES = Path(__file__).parents[1] / "cases"
TABLES, SOURCES = CASES / "tables", CASES / "sources"


@pytest.fixture
def judged(capsys, monkeypatch, tmp_path):
    """Runs `archtrial judge`; returns the exit status, the document and the rest."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        command = ["archtrial", "judge", *map(str, arguments), "--json"]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        document = json.loads(out)["comparisons"][0] if out else None
        return caught.value.code or 0, document, " ".join(err.split())

    return run


def pair(name, *arms, folder=TABLES):
    return [f"{arm}={folder}/{name.format(arm)}" for arm in arms]


def score(interval):
    return round(interval["low"], 4), round(interval["high"], 4)


ANSWERED = {
    "03": ([TABLES / "03_crash_is_zero.csv"], "architecture", "Failed (crash)"),
    "04": ([TABLES / "04_seeds.csv"], "architecture", ""),
    "04_index": (
        [TABLES / "04_seeds_with_pandas_index.csv"], "architecture", "counts the rows",
    ),
    "05": ([TABLES / "05_measured_columns.csv"], "architecture", ""),
    "06": (
        [SOURCES / "06_sklearn_cv_results.csv", "--validation", "mean_test_score"],
        "architecture", "",
    ),
    "08": (
        [SOURCES / "08_train_and_validation_rows.csv"], "architecture",
        "holds learning curves",
    ),
    "10": (
        [TABLES / "10_wandb_runs_one_unfinished.csv"], "architecture",
        "Compared are the 23 pairs that are whole",
    ),
    "11": ([TABLES / "11_complete_grid.csv"], None, "are a grid (3 of lr x 3 of dropout)"),
    "13_dict": ([SOURCES / "13_dict_of_runs.json"], "architecture", ""),
    "13_wrapped": ([SOURCES / "13_wrapped.json"], "architecture", ""),
    "14": ([SOURCES / "14_mlruns"], None, ""),
    "31": ([SOURCES / "31_decimal_comma.csv"], "architecture", "1,5 is read as 1.5"),
}  # fmt: skip
"""Of each case that is one file: what is typed, the verdict, and what is said."""


@pytest.mark.parametrize("name", ANSWERED)
def test_one_file_is_judged_and_what_was_assumed_is_said(judged, name):
    arguments, verdict, said = ANSWERED[name]
    status, document, notes = judged(*arguments, "--baseline", "mlp")
    assert status == 0, notes
    assert said in notes
    assert document["verdict"] == verdict or verdict is None
    if name not in ("06", "14"):
        assert document["paired"]
    if name in ("04", "04_index"):
        assert score(document["effect"]) == (0.0245, 0.0289)
    if name == "06":
        assert document["scored_on"] == "validation"


@pytest.mark.parametrize(
    ("name", "questions"),
    [
        ("07_no_validation_column.csv", ["--validation test_loss", "--validation test_acc"]),
        ("12_no_header.csv", ["looks like a run", "model,lr,seed,val_acc"]),
        ("17_wandb_chart.csv", ["export of a chart", "Runs table"]),
    ],
)  # fmt: skip
def test_one_file_that_is_a_question(judged, name, questions):
    place = next(f / name for f in (TABLES, SOURCES) if (f / name).exists())
    status, document, said = judged(place, "--baseline", "mlp")
    assert (status, document) == (2, None)
    for question in questions:
        assert question in said
        option = shlex.split(question)
        if option[0].startswith("--"):
            status, document, _ = judged(place, "--baseline", "mlp", *option)
            assert status == 0
            assert document["verdict"] == "architecture"


def test_bits_per_byte_of_two_files(judged, tmp_path):
    first = TABLES / "01_unknown_metric.tsv"
    head, *lines = first.read_text().splitlines()
    at = head.split("\t").index("val_bpb")
    moved = [head]
    for line in lines:
        cells = line.split("\t")
        cells[0], cells[at] = f"x{cells[0]}", str(float(cells[at]) - 0.3)
        moved.append("\t".join(cells))
    (tmp_path / "b.tsv").write_text("\n".join(moved) + "\n")
    typed = [f"a={first}", f"b={tmp_path / 'b.tsv'}", "--configuration", "commit"]
    status, document, said = judged(*typed, "--baseline", "a")
    assert status == 0, said
    assert document["verdict"] == "architecture"
    assert document["higher_is_better"] is False
    # Of a name that no list has, the question, and each answer.
    for place in (tmp_path / "a.tsv", tmp_path / "b.tsv"):
        text = (first if place.name == "a.tsv" else place).read_text()
        place.write_text(text.replace("val_bpb", "val_zeta"))
    typed = [*pair("{}.tsv", "a", "b", folder=tmp_path), *typed[2:], "--baseline", "a"]
    status, _, said = judged(*typed)
    assert status == 2
    assert "--lower-is-better or --higher-is-better" in said
    assert judged(*typed, "--lower-is-better")[1]["verdict"] == "architecture"
    assert judged(*typed, "--higher-is-better")[1]["verdict"] == "baseline"


def test_data_frames_of_optunas(judged):
    typed = [*pair("02_optuna_dataframe_{}.csv", "mlp", "rvfl"), "--baseline", "mlp"]
    status, _, said = judged(*typed)
    assert status == 2
    assert "--lower-is-better or --higher-is-better" in said
    answers = ["--lower-is-better", "--tuner", "random"]
    assert "--tuner random" in judged(*typed, answers[0])[2]
    status, document, _ = judged(*typed, *answers)
    assert status == 0
    assert document["higher_is_better"] is False


def test_a_small_loss_of_optunas(judged):
    typed = [f"{arm}={TABLES / '09_small_loss.optuna.log'}#{arm}" for arm in "qh"]
    assert "--tuner random" in judged(*typed, "--baseline", "q")[2]
    status, document, _ = judged(*typed, "--baseline", "q", "--tuner", "random")
    assert status == 0
    assert document["verdict"] == "architecture"
    assert "points" not in document["sentence"]


def test_equal_scores_are_not_equal_runs(judged):
    status, document, said = judged(
        *pair("16_equal_scores_{}.tsv", "a", "b"), "--baseline", "a"
    )
    assert status == 0, said
    assert document["configurations"]


@pytest.mark.parametrize("named", ["batch_size", "none"])
def test_hyperparameters_of_one_source_or_none(judged, named):
    typed = [*pair("18_{}.csv", "a", "b"), "--baseline", "a"]
    status, document, said = judged(*typed, "--hyperparameters", named)
    assert status == 0, said
    assert not document["paired"]


def test_no_case_is_left_out():
    here = Path(__file__).read_text()
    for folder in (TABLES, SOURCES):
        for case in folder.iterdir():
            generic = re.sub(r"_(mlp|rvfl|a|b)\.", "_{}.", case.name)
            assert case.name in here or generic in here, case

"""The command line: what it prints, where, and with which exit status."""

import ast
import html
import io
import itertools
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from archtrial import cli, judge_study, zoo
from archtrial.cli import trials
from archtrial.console import output
from archtrial.errors import UserError, printable
from archtrial.experiments.relax import command as relaxing
from archtrial.progress import Standing
from archtrial.records.store import Store
from tests.processes import heed_signals

SMALL = [
    "--data", "digits", "--baseline", "linear", "--challenger", "mlp",
    "--configurations", "4", "--effort", "1", "--steps", "10", "--workers", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "study"
    arguments, sys.argv = sys.argv, ["archtrial", "run", *SMALL, "--study", str(folder)]
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = arguments
    assert ended.value.code == 0
    return folder


def schema():
    text = resources.files("archtrial.statistics").joinpath("verdict.schema.json")
    return json.loads(text.read_text())


def test_run_leaves_everything_in_the_folder(study):
    assert {
        "lock", "protocol.json", "report.html", "study.sqlite", "tuned", "verdict.json",
    } <= {path.name for path in study.iterdir()}  # fmt: skip
    assert not list(study.glob("**/*.unfinished"))
    jsonschema.validate(json.loads((study / "verdict.json").read_text()), schema())


def test_run_prints_the_sentence_the_arms_and_the_page(archtrial, study):
    status, out, err = archtrial("run", *SMALL, "--study", study)
    assert status == 0
    sentence = json.loads((study / "verdict.json").read_text())["comparisons"][0][
        "sentence"
    ]
    assert " ".join(sentence.split()) in " ".join(out.split())
    assert "linear" in out
    assert f"page: {study / 'report.html'}" in out
    assert out.index(sentence[:20]) < out.index("default") < out.index("page:")
    assert f"study: {study}" in err


def test_the_command_of_the_next_step_works_as_it_is_printed(
    archtrial, study, tmp_path
):
    folder = tmp_path / "a study"
    shutil.copytree(study, folder)
    _, out, _ = archtrial("judge", folder)
    assert "next: " in out
    (command,) = [
        line for line in out.splitlines() if line.startswith("  archtrial run")
    ]
    _, *arguments = shlex.split(command)
    assert arguments[:3] == ["run", "--study", str(folder)]
    assert arguments[3] == "--configurations"
    more = int(arguments[4])
    assert more > 4
    # On the page, too.
    page = html.unescape(judge_study(folder).page())
    assert f'<pre tabindex="0">{command.strip()}</pre>' in page
    status, out, _ = archtrial(*arguments, "--workers", 1)
    assert status == 0
    with Store(folder, read_only=True) as store:
        assert len({run.pair for run in store.runs() if run.stage == "search"}) == more


def test_json_is_the_only_thing_on_standard_output(archtrial, study):
    status, out, _ = archtrial("run", *SMALL, "--study", study, "--json")
    assert status == 0
    assert out == (study / "verdict.json").read_text()


def test_a_study_goes_on_from_its_folder_alone(archtrial, study):
    status, out, _ = archtrial("run", "--study", study, "--json", "--workers", 1)
    assert status == 0
    assert out == (study / "verdict.json").read_text()


def test_other_options_on_an_old_study_are_refused(archtrial, study):
    status, _, err = archtrial("run", *SMALL, "--seed", 3, "--study", study)
    assert status == 2
    assert "seed: 0 -> 3" in err


def test_a_protocol_file_with_options_laid_over_it(archtrial, study, tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "linear"\nchallengers = ["mlp"]\neffort = 1\n'
        "configurations = 4\nsteps = 99\n"
    )
    status, out, _ = archtrial(
        "run", path, "--steps", 10, "--study", tmp_path / "s", "--json", "--workers", 1
    )
    assert status == 0
    assert out == (study / "verdict.json").read_text()


def test_judge_reads_a_study(archtrial, study, tmp_path):
    status, out, _ = archtrial("judge", study, "--json")
    assert (status, out) == (0, (study / "verdict.json").read_text())
    status, out, _ = archtrial(
        "judge", study, "--margin", 0.2, "--report", tmp_path / "page.html"
    )
    assert status == 0
    assert "Exploratory: margin differ" in " ".join(out.split())
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    status, _, err = archtrial("judge", study, "--lower-is-better")
    assert status == 2
    assert "metric says" in err


def test_judge_reads_a_table(archtrial, tmp_path):
    generator = np.random.default_rng(1)
    rows = ["arm,pair,seed,val_acc,test_acc"]
    for pair in range(16):
        for arm, peak in (("A", 0.7), ("<b>B</b>", 0.9)):
            for seed in range(2):
                score = peak + generator.normal(scale=0.02)
                rows.append(f"{arm},{pair},{seed},{score},{score}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows))
    page = tmp_path / "page.html"
    status, out, _ = archtrial(
        "judge", path, "--baseline", "A", "--challenger", "<b>B</b>", "--report", page
    )
    assert status == 0
    assert "architecture" in out
    assert f"page: {page}" in out
    assert "<b>B</b>" not in page.read_text()
    status, out, _ = archtrial("judge", path, "--baseline", "A", "--json")
    found = json.loads(out)
    jsonschema.validate(found, schema())
    assert found["comparisons"][0]["effort"] == 2
    status, _, err = archtrial("judge", path, "--baseline", "A", "--effort", 5)
    assert status in (0, 2)
    status, _, err = archtrial("judge", path)
    assert status == 2
    assert "--baseline A" in err


def test_judge_says_what_it_understood_before_anything_rests_on_it(archtrial, tmp_path):
    generator = np.random.default_rng(1)
    rows = ["model,lr,val_acc,test_acc"]
    for rate in 10 ** generator.uniform(-4, -1, size=16):
        for arm, peak in (("A", 0.7), ("[red]=B\x1b[31m", 0.9)):
            score = peak + generator.normal(scale=0.02)
            rows.append(f"{arm},{rate},{score},{score}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(rows))
    status, out, err = archtrial("judge", path, "--dry-run")
    assert (status, err) == (0, "")
    assert "val_acc" in out
    assert "equal hyperparameters" in out
    assert "[red]=B" in out
    assert "architecture" not in out
    assert "\x1b" not in out
    status, out, err = archtrial("judge", path, "--dry-run", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["columns"]["test score"]["column"] == "test_acc"
    status, out, err = archtrial("judge", path, "--baseline", "A", "--json")
    assert "val_acc" in err
    assert json.loads(out)["comparisons"][0]["paired"]
    status, out, err = archtrial(
        "judge", path, "--baseline", "A", "--test", "none", "--hyperparameters", "lr",
        "--published-baseline", 0.7, "--published-challenger", 0.9, "--json",
    )  # fmt: skip
    found = json.loads(out)["comparisons"][0]
    assert found["scored_on"] == "validation"
    assert found["published"]["gap"] == pytest.approx(0.2)
    status, out, err = archtrial(
        "judge", path, "--baseline", "A", "--test-size", 1000, "--json"
    )
    wider = json.loads(out)["comparisons"][0]["effect"]
    _, out, _ = archtrial("judge", path, "--baseline", "A", "--json")
    assert wider["low"] < json.loads(out)["comparisons"][0]["effect"]["low"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--published-baseline", 0.7], "go together"),
        (["--published-challenger", 0.7], "go together"),
        (
            [
                "--published-baseline",
                0.7,
                "--published-challenger",
                0.7,
                "--published-challenger",
                0.8,
            ],
            "2 scores for B",
        ),
        (["--validation", "val"], "--validation is a column"),
        (["--tuner", "grid"], "--tuner"),
        (["--repeat-column", "lr"], "at least 4 whole repeats"),
        (["--dry-run", "--where", "lr=7"], "leaves some rows"),
    ],
)
def test_options_of_judge_that_do_not_fit(archtrial, tmp_path, options, says):
    path = tmp_path / "runs.csv"
    rows = [f"{arm},{i % 3},0.{i}" for arm in "AB" for i in range(10, 20)]
    path.write_text("\n".join(["model,lr,val_acc", *rows]))
    status, out, err = archtrial("judge", path, "--baseline", "A", *options)
    assert status == 2
    assert says in err
    assert "Traceback" not in out + err


def test_many_arms_are_not_all_listed(archtrial, tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"a{arm},0.{i}" for arm in range(25) for i in range(10, 15)]
    path.write_text("\n".join(["model,val_acc", *rows]))
    status, out, _ = archtrial("judge", path, "--dry-run")
    assert status == 0
    assert "and 5 arms more" in out


def test_a_study_is_judged_alone_and_by_its_own_words(archtrial, study, tmp_path):
    status, _, err = archtrial("judge", study, tmp_path / "runs.csv")
    assert status == 2
    assert "judged alone" in err
    for option in (["--test-size", 9], ["--dry-run"], ["--where", "a=b"]):
        status, _, err = archtrial("judge", study, *option)
        assert status == 2
        assert "own records say" in err


def test_report_and_figures(archtrial, study, tmp_path):
    (study / "report.html").unlink()
    status, out, _ = archtrial("report", study)
    assert status == 0
    assert out.strip() == str(study / "report.html")
    assert (study / "report.html").exists()
    for name in ("curves.svg", "curves.png"):
        status, _, _ = archtrial(
            "report", study, "--figure", "tuning_curves", "--output", tmp_path / name
        )
        assert status == 0
        assert (tmp_path / name).stat().st_size > 1000
    status, out, _ = archtrial("report", study, "--json")
    assert json.loads(out) == {"page": str(study / "report.html")}
    status, _, err = archtrial("report", study, "--figure", "tunning_curves")
    assert status == 2
    assert "tuning_curves" in err
    status, _, err = archtrial("report", tmp_path / "nope")
    assert status == 2


def test_a_verdict_that_was_altered_is_told_and_not_used(archtrial, study, tmp_path):
    kept = study / "verdict.json"
    content = kept.read_bytes()
    assert archtrial("report", study)[2] == ""
    page = (study / "report.html").read_bytes()
    kept.write_bytes(content.replace(b'"schema"', b'"scheme"'))
    status, _, err = archtrial("report", study)
    assert status == 0
    assert "is not what the records of the study give" in err
    assert (study / "report.html").read_bytes() == page
    # What it says works.
    assert archtrial("judge", study, "--json")[1].encode() == content
    kept.write_bytes(content)


def test_a_damaged_study_is_one_message(archtrial, study, tmp_path):
    """And renaming its folder and starting again is the way out."""
    folder = tmp_path / "s"
    assert archtrial("run", *SMALL, "--study", folder)[0] == 0
    connection = sqlite3.connect(folder / "study.sqlite")
    with connection:
        connection.execute("UPDATE scores SET test = 1 WHERE number = 3")
    connection.close()
    for command in (
        ["judge", folder], ["report", folder], ["run", "--study", folder],
        ["run", *SMALL, "--study", folder], ["calibrate", folder],
        ["relax", "--study", folder],
    ):  # fmt: skip
        status, out, err = archtrial(*command)
        assert (status, out) == (2, "")
        assert "a store is whole" in err
        assert "(row 3 of the table scores) was altered" in err
        assert "rename the folder" in err
    folder.rename(tmp_path / "damaged")
    status, out, _ = archtrial("run", *SMALL, "--study", folder, "--json")
    assert (status, out) == (0, (study / "verdict.json").read_text())


def test_zoo(archtrial):
    status, out, _ = archtrial("zoo")
    assert status == 0
    rows = [line for line in out.splitlines() if line[:1].strip()]
    shown = [(int(row.split()[1]), row.split()[0]) for row in rows[1:-1]]
    assert shown == sorted(shown)
    assert {name for _, name in shown} == zoo.families().keys()
    assert [row for row in shown if row[0] < 1998] == [
        (1958, "linear"), (1986, "mlp"), (1990, "rnn"), (1997, "lstm"),
    ]  # fmt: skip
    assert "from lstm; gru_large" in out
    assert "cnn_small, cnn_large" in out
    assert "from     lstm: gates" in archtrial("zoo", "gru")[1].splitlines()
    status, out, _ = archtrial("zoo", "cnn_small")
    assert out.startswith(
        "cnn_small Two convolutions of 12 channels.\nthe same as cnn("
    )
    assert "variant  cnn_large" in out
    assert "1,726 parameters on 40 inputs with 10 outputs" in out
    status, out, _ = archtrial("zoo", "mlp", "--json")
    assert json.loads(out)["mlp"]["options"]["width"] == 100
    status, out, _ = archtrial("zoo", "mlp")
    assert "width=100" in out
    assert archtrial("zoo", "mpl")[0] == 2


def test_init_writes_a_protocol_that_runs(archtrial, tmp_path):
    path = tmp_path / "trial.toml"
    status, out, _ = archtrial("init", path)
    assert status == 0
    assert f"archtrial run {path}" in out
    status, out, _ = archtrial(
        "plan", path, "--steps", 10, "--configurations", 16, "--workers", 1, "--json"
    )
    assert status == 0
    assert json.loads(out)["configurations"] == 16
    status, _, err = archtrial("init", path)
    assert status == 2
    assert "exists" in err
    status, out, _ = archtrial("init", tmp_path / "b.toml", "--json")
    assert json.loads(out) == {"protocol": str(tmp_path / "b.toml")}


def test_ladder_looks_and_probes_are_options(archtrial, tmp_path):
    options = [
        "--data", "digits", "--baseline", "linear", "--challenger", "mlp", "--effort",
        1, "--steps", 5, "--workers", 1, "--ladder", "1,2", "--looks", "8,16",
        "--probes", 1, "--price", 3, "--study", tmp_path,
    ]  # fmt: skip
    status, out, err = archtrial("run", *options)
    assert status == 0, err
    assert "[I " not in err + out  # Optuna's log
    with Store(tmp_path, read_only=True) as store:
        runs, resolved = store.runs(), store.protocol()[1]
    assert resolved["ladder"] == [1, 2]
    assert resolved["looks"] == [8, 16]
    assert resolved["probes"] == 1
    assert {run.rung for run in runs} == {1, 2}
    assert {run.tuner for run in runs} == {None, "TPE", "GP"}
    written = json.loads((tmp_path / "verdict.json").read_text())
    jsonschema.validate(written, schema())
    assert written["study"]["looks"]
    assert written["comparisons"][0]["ladder"] is not None
    # From the folder alone, with the same bytes.
    status, out, err = archtrial("run", "--study", tmp_path, "--json", "--workers", 1)
    assert (status, json.loads(out)) == (0, written)


def test_plan_says_cost_and_smallest_effect(archtrial):
    status, out, _ = archtrial("plan", *SMALL)
    assert status == 0
    assert "1 worker" in out
    assert "the smallest gain that a study sees" in out
    status, out, _ = archtrial("plan", *SMALL, "--price", 3, "--effect", 0.4, "--json")
    planned = json.loads(out)
    assert planned["price"] == pytest.approx(3 * planned["seconds"] / 3600)
    wanted = planned["configurations_for_effect"]
    assert wanted & (wanted - 1) == 0
    assert archtrial("plan", *SMALL, "--price", 0)[0] == 2


def test_the_number_of_seeds_that_plan_names_can_be_typed(archtrial, monkeypatch):
    from archtrial import pilot

    # Arms that differ by nothing but seeds, on a test set without an error.
    luck = np.random.default_rng(0).normal(size=(2, 8)) * 0.02
    scores = {"linear": luck[0], "mlp": luck[1]}
    ones = {"linear": 1.0, "mlp": 1.0}
    monkeypatch.setattr(pilot, "_pilot", lambda *_: (ones, ones, scores))
    monkeypatch.setattr(
        pilot, "_seeds", lambda *_: (dict.fromkeys(ones, 0.02), dict.fromkeys(ones, 0))
    )
    monkeypatch.setattr(pilot, "DISAGREEMENT", 0.0)
    sizes = ["--configurations", 16, "--effort", 4]
    even = ["plan", *SMALL, *sizes, "--sampling", "sobol"]
    status, out, _ = archtrial(*even)
    assert status == 0
    (line,) = (line for line in out.splitlines() if "--confirm-seeds" in line)
    option = line[line.index("--confirm-seeds") :].split()
    status, typed, _ = archtrial(*even, *option)
    assert status == 0
    assert f"{option[1]} fresh seeds" in typed
    assert "--confirm-seeds" not in typed
    assert archtrial("run", *SMALL, "--confirm-seeds", 0)[0] == 2


def test_a_budget_chooses_n_and_keeps_it(archtrial, tmp_path):
    options = [
        "--data", "digits", "--baseline", "linear", "--challenger", "mlp", "--steps", 4,
        "--workers", 1, "--study", tmp_path / "s",
    ]  # fmt: skip
    status, out, err = archtrial("run", *options, "--budget", "20s", "--json")
    assert status == 0, err
    chosen = json.loads(out)["study"]["configurations"]
    assert chosen >= 16
    assert f"allows {chosen} configurations" in err
    with Store(tmp_path / "s", read_only=True) as store:
        assert store.protocol()[1]["configurations"] == chosen
    # On another day the same command goes on with the same number.
    status, again, _ = archtrial("run", *options, "--budget", "20s", "--json")
    assert (status, again) == (0, out)


def test_a_budget_that_is_too_small_says_what_it_would_take(archtrial, tmp_path):
    status, _, err = archtrial("run", *SMALL[:6], "--budget", "1s", "--workers", 1,
                               "--study", tmp_path / "s")  # fmt: skip
    assert status == 2
    assert "16 configurations" in err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--nope"], "No such option"),
        (["run", "--effort", "many"], "--effort"),
        (["run", "--workers", "0"], "--workers"),
        (["run", "nope.toml"], "no such protocol file"),
        (["run", "--data", "nope.npz"], "nope.npz"),
        (["run", "--budget", "soon"], "30m"),
        (["run", "--budget", "1h", "--configurations", "16"], "both"),
        (["run", "--margin", "0"], "margin"),
        (["run", "--effort", "9"], "k <= n / 4"),
        (["run", "--ladder", "1;2"], "--ladder 1,2,4"),
        (["run", "--ladder", "2,4"], "begins with 1"),
        (["run", "--looks", "16,32", "--configurations", "64"], "= 32"),
        (["run", "--looks", "all"], "--looks 16,32,64"),
        (["run", "--price", "0"], "price an hour"),
        (["run", "--command", "train {x}", "--challenger", "b"], "declares 'baseline'"),
        (
            ["run", "--command", "train {arm}", "--baseline=a", "--challenger=b"],
            "--metric log_loss",
        ),
        (
            [
                "run",
                "--command=train {seed}",
                "--metric=log_loss",
                "--baseline=a",
                "--challenger=b",
            ],
            "a and b have the same command line",
        ),
        (
            [
                "run",
                "--command",
                "train",
                "--budget",
                "1h",
                "--baseline",
                "a",
                "--challenger",
                "b",
            ],
            "a budget and a command",
        ),
        (
            [
                "run",
                "--command",
                "train",
                "--device",
                "cuda",
                "--baseline",
                "a",
                "--challenger",
                "b",
            ],
            "device is declared",
        ),
        (["run", "--factor", "depth"], "option=level,level"),
        (["run", "--factor", "depth=2"], "two or more levels"),
        (
            ["run", "--factor", "a=1,2", "--factor", "a=2,3"],
            "each factor is given once",
        ),
        (["run", "--factor", "residul=false,true"], "Did you mean 'residual'?"),
        (
            ["plan", "--factor", "a=1,2", "--challenger", "cnn"],
            "or follow from factors",
        ),
        (["run", "--challenger", "cnn(recipe=moden)"], "Did you mean 'modern'?"),
        (["judge", "nope.csv", "--baseline", "A"], "no such file"),
        (["walk"], "walk"),
    ],
)
def test_mistakes_are_one_message_and_status_2(archtrial, arguments, says):
    status, out, err = archtrial(*arguments)
    assert status == 2
    assert says in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "plan",
        "judge",
        "choose",
        "profile",
        "relax",
        "mimic",
        "mpl",
        "scale",
        "calibrate",
        "status",
        "report",
        "zoo",
        "init",
    ],
)
def test_traceback_shows_the_rest_of_every_command(archtrial, tmp_path, command):
    wrong = tmp_path / "nope.toml"
    if command == "init":
        wrong.write_text("is there already")
    status, _, err = archtrial(command, wrong, "--traceback")
    assert status == 2
    assert "Traceback (most recent call last)" in err
    plain = archtrial(command, wrong)
    assert plain[0] == 2
    assert "Traceback" not in plain[2]
    assert err.endswith(plain[2])
    status, out, _ = archtrial(command, "--help")
    assert (status, out.count("--traceback")) == (0, 1)
    assert "show-traceback" not in out


def test_every_command_is_tried_for_its_traceback():
    assert {each.callback.__name__ for each in cli.program().registered_commands} == {
        "run", "plan", "judge", "choose", "profile", "relax", "mimic", "mpl", "scale", "calibrate",
        "status", "report", "zoo", "init",
    }  # fmt: skip


def test_what_is_our_fault_is_not_hidden(monkeypatch):
    monkeypatch.setattr(trials, "_declared", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["archtrial", "run"])
    # Python ends with a traceback and status 1.
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_data_alone_means_linear_against_mlp():
    declared = trials._declared(None, {"data": "digits"})
    assert [arm.name for arm in declared.arms] == ["linear", "mlp"]
    assert declared.configurations == 32
    declared = trials._declared(None, {"challengers": ["mlp(depth=3)"]})
    assert [arm.name for arm in declared.arms] == ["mlp", "mlp(depth=3)"]
    assert declared.data == "mnist1d"
    declared = trials._declared(None, {})
    assert [arm.name for arm in declared.arms] == ["mlp", "cnn"]
    assert declared.configurations == 16


def test_factors_take_the_place_of_challengers():
    factors = {"residual": [False, True], "norm": ["none", "layer"]}
    declared = trials._declared(None, {"factors": factors})
    assert [arm.name for arm in declared.arms] == [
        "mlp", "mlp + norm=layer", "mlp + residual", "mlp + residual + norm=layer",
    ]  # fmt: skip
    assert declared.data == "mnist1d"
    declared = trials._declared(None, {"data": "digits", "factors": {"depth": [2, 3]}})
    assert [arm.name for arm in declared.arms] == ["mlp", "mlp + depth=3"]
    declared = trials._declared(
        None, {"baseline": "cnn", "factors": {"recipe": ["plain", "modern"]}}
    )
    assert [arm.name for arm in declared.arms] == ["cnn", "cnn + modern"]


def test_a_factorial_with_a_matched_baseline_from_the_command_line(archtrial, tmp_path):
    status, out, err = archtrial(
        "run", "--data", "digits", "--baseline", "mlp(width=8)", "--factor",
        "depth=1,2", "--factor", "recipe=plain,modern", "--matched-baseline",
        "--configurations", 4, "--effort", 1, "--steps", 5, "--workers", 1,
        "--study", tmp_path / "s", "--json",
    )  # fmt: skip
    assert status == 0, err
    names = [arm["name"] for arm in json.loads(out)["study"]["arms"]]
    assert {
        "mlp(width=8)",
        "mlp(width=8) + modern",
        "mlp(width=8) + depth=2",
        "mlp(width=8) + depth=2 + modern",
    } <= set(names)
    assert "note: mlp(width=8) (matched) is mlp(width=8) with its width scaled" in err
    # It goes on from its folder alone: factors and all were kept.
    status, again, _ = archtrial("run", "--study", tmp_path / "s", "--json")
    assert (status, again) == (0, out)


def test_architectures_and_recipes_are_crossed_from_the_command_line(
    archtrial, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    net = Path("net.py")
    net.write_text(
        "import torch\n"
        "def Net(input_shape, num_outputs):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 10))\n"
    )
    status, out, err = archtrial(
        "run", "mnist1d", "--factor", "architecture=net.py:Net,mlp(norm=batch, width=8)",
        "--factor", "recipe=plain,modern", "--configurations", 4, "--effort", 1,
        "--steps", 5, "--workers", 1, "--study", "s", "--json",
    )  # fmt: skip
    assert status == 0, err
    assert [arm["name"] for arm in json.loads(out)["study"]["arms"]] == [
        "Net",
        "Net + modern",
        "mlp(norm=batch, width=8)",
        "mlp(norm=batch, width=8) + modern",
    ]
    names = [
        found["name"] for found in json.loads(out)["study"]["factorial"]["effects"]
    ]
    assert names == [
        "architecture: mlp(norm=batch, width=8) rather than Net",
        "recipe: modern rather than plain",
        "architecture x recipe",
    ]
    # It goes on from its folder alone, and grows, while its file is what it was.
    assert archtrial("run", "--study", "s", "--json")[:2] == (0, out)
    grow = ("run", "--study", "s", "--configurations", 8, "--json")
    status, grown, err = archtrial(*grow)
    assert status == 0, err
    assert len(json.loads(grown)["study"]["arms"]) == 4
    net.write_text(net.read_text() + "# other\n")
    status, _, err = archtrial("run", "--study", "s", "--json")
    assert status == 2
    assert "Net + modern = net.py:Net: the file is not what the study kept of it" in err
    assert "runs only when it is trusted" in err


def test_the_first_architecture_is_the_baseline_where_none_is_named():
    crossed = {"architecture": ["cnn", "mlp"]}
    for given in ({}, {"data": "digits"}, {"baseline": "cnn"}):
        declared = trials._declared(None, {"factors": crossed, **given})
        assert [arm.name for arm in declared.arms] == ["cnn", "mlp"]
        assert not any(arm.space for arm in declared.arms)
    with pytest.raises(UserError, match="'mlp' in the baseline, 'cnn' among"):
        trials._declared(None, {"factors": crossed, "baseline": "mlp"})


def test_a_name_of_data_in_place_of_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {}
    assert trials._file(Path("digits"), given) is None
    assert given == {"data": "digits"}
    assert trials._file(None, {}) is None
    assert trials._file(Path("nope.toml"), {}) == Path("nope.toml")
    assert trials._file(Path("digits"), {"data": "mnist1d"}) == Path("digits")
    Path("digits").write_text('data = "mnist1d"')
    assert trials._file(Path("digits"), {}) == Path("digits")


def test_results_go_to_standard_output_and_progress_is_quiet(archtrial, tmp_path):
    _, out, err = archtrial("run", *SMALL, "--study", tmp_path / "s")
    assert "runs," not in out + err
    assert "\x1b" not in out + err


# What others wrote does not command the terminal.

EVIL = "B\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\x7f\u2066\ud800e"


def harmless(text):
    return printable(text) == text


@pytest.fixture
def evil(tmp_path):
    """A table whose arms, columns, metric, status words and file have such names."""
    generator = np.random.default_rng(1)
    name = EVIL.replace("\ud800", "")
    rows = [f"model,lr,{name}_val_acc,val_acc"]
    for rate in 10 ** generator.uniform(-4, -1, size=16):
        for arm, peak in (("A", 0.7), (name, 0.9)):
            score = peak + generator.normal(scale=0.02)
            rows.append(f"{arm},{rate},{score},{score}")
    path = tmp_path / "runs\x1b[31m.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "options",
    [
        ["--dry-run"],
        ["--baseline", "A", "--validation", "val_acc"],
        ["--baseline", "nope"],
        ["--baseline", "A", "--validation", EVIL.replace("\ud800", "")],
        ["--baseline", EVIL.replace("\ud800", ""), "--traceback", "--where", "model=1"],
        ["--baseline", "A", "--validation", "val_acc", "--dry-run", "--json"],
        ["--baseline", "A", "--validation", "val_acc", "--json"],
        [EVIL.replace("\ud800", "")],
        ["--\x1b[31m"],
        ["--report", "/nowhere/\x1b[31m/page.html", "--validation", "val_acc"],
    ],
)
def test_no_name_commands_the_terminal(archtrial, evil, options):
    _, out, err = archtrial("judge", evil, *options)
    assert harmless(out)
    assert harmless(err)
    if "--json" in options and "--dry-run" in options:
        text = json.dumps(json.loads(out), ensure_ascii=False)
        assert "\u202e" in text  # the data are what they were


def test_a_live_display_commands_nothing_but_its_own(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    written = io.StringIO()
    written.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", written)
    with output.Progress() as progress:
        standing = Standing("search", 1, 2, {EVIL: 0.5}, 3.0)
        progress.show(standing)
        progress._live.refresh()
    shown = written.getvalue()
    assert "search (1 of 2)" in shown
    assert "B\ufffd]0;owned" in shown
    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_a_message_of_the_python_api_is_plain_as_well():
    error = UserError(f"rule {EVIL}", EVIL, f"way {EVIL}\nout")
    assert harmless(str(error))
    assert str(error).count("\n") == 2
    assert error.received == EVIL
    kept = "Übergröße 网络 \u0645\u06cc\u200c\u062e a\u00a0b\u3000c 🙂"
    assert printable(kept) == kept
    assert printable("a\tb\r\x85") == "a b\ufffd\ufffd"


def test_all_that_is_printed_goes_through_one_place():
    commands = [*Path(cli.__file__).parent.glob("*.py"), Path(relaxing.__file__)]
    rooms = [*commands, *Path(output.__file__).parent.glob("*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in rooms]
    allowed = {"say", "show", "show_json", "console"}
    for function in itertools.chain.from_iterable(map(ast.walk, trees)):
        if isinstance(function, ast.FunctionDef) and function.name not in allowed:
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    assert called not in (
                        "print", "Console", "sys.stdout.write", "sys.stderr.write",
                        "typer.echo",
                    ), f"{function.name}: {called}"  # fmt: skip


# What there is to print to.


PROGRAM = os.path.join(os.path.dirname(sys.executable), "archtrial")


def started(*arguments, shell=None, **changes):
    """Runs the command line as a process of its own; bytes, as they come."""
    environment = {**os.environ, **changes.pop("env", {})}
    environment.pop("PYTHONUTF8", None)
    command = [PROGRAM, *map(str, arguments)]
    if shell is not None:
        command = ["bash", "-c", f"{shlex.join(command)} {shell}"]
    return subprocess.run(
        command, capture_output=True, timeout=300, env=environment, **changes
    )


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-16"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"COLUMNS": "0", "LINES": "0", "TERM": "dumb"},
        {"COLUMNS": "1"},
        {"COLUMNS": "many", "TERM": ""},
    ],
    ids=str,
)
def test_whatever_the_output_can_encode(tmp_path, env):
    rows = [f"{arm},0.{i}" for arm in ("网络 ±", "é") for i in range(10, 26)]
    path = tmp_path / "läufe.csv"
    path.write_text("\n".join(["model,val_acc", *rows]), encoding="utf-8")
    found = []
    for options in (["--json"], [], ["--test", "nope"]):
        done = started("judge", path, "--baseline", "é", *options, env=env)
        assert b"Traceback" not in done.stderr
        assert done.returncode == (2 if "nope" in options else 0), done.stderr
        found.append(done)
    encoding = env.get("PYTHONIOENCODING", "utf-8")
    document = json.loads(found[0].stdout.decode(encoding))
    assert document["comparisons"][0]["challenger"] == "网络 ±"
    assert found[1].stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("arguments", [["zoo"], ["zoo", "--json"], ["--help"]])
def test_a_reader_that_leaves_is_no_noise(arguments):
    for reader in ("| true", "| head -c 1", "2>&1 | true"):
        done = started(*arguments, shell=f"{reader}; exit ${{PIPESTATUS[0]}}")
        assert done.stderr == b""
        assert done.returncode in (0, 141)
    done = started(*arguments, shell="| (sleep 0; exec 0<&-; wait); exit 0")
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_output_that_cannot_be_written_is_one_message():
    for command in ("zoo", "zoo --json", "--help"):
        done = started(*command.split(), shell="> /dev/full")
        assert done.returncode == 2
        assert done.stderr == (
            b"archtrial: the output can be written: No space left on device\n"
        )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_without_any_output_the_work_is_done(tmp_path, study, closed):
    page = tmp_path / "page.html"
    done = started("report", study, "--output", page, shell=closed)
    assert done.returncode == 0, done.stderr
    assert page.read_text().rstrip().endswith("</html>")
    assert b"Traceback" not in done.stderr
    done = started("judge", study, shell=closed)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")
def test_nothing_but_a_file_is_replaced(archtrial, study, tmp_path):
    treasure = tmp_path / "treasure"
    treasure.write_text("mine")
    (tmp_path / "link").symlink_to(treasure)
    os.mkfifo(tmp_path / "pipe")
    for place, kind in (
        ("/dev/null", "a device"), ("/dev/stdout", "a link"),
        (tmp_path / "link", "a link"), (tmp_path / "pipe", "a pipe"),
        (tmp_path, "a folder"),
    ):  # fmt: skip
        for command in (
            ["report", study, "--output", place],
            ["judge", study, "--report", place],
        ):
            status, out, err = archtrial(*command)
            assert (status, out) == (2, "")
            assert f"{place} is {kind}" in err
            assert "name another place" in err
    assert treasure.read_text() == "mine"
    (tmp_path / "link.svg").symlink_to(treasure)
    status, _, err = archtrial(
        "report", study, "--figure", "tuning_curves", "--output", tmp_path / "link.svg"
    )
    assert status == 2
    assert treasure.read_text() == "mine"
    # What the study's folder itself may hold, too.
    (study / ".report.html.unfinished").symlink_to(treasure)
    status, _, _ = archtrial("report", study)
    assert (status, treasure.read_text()) == (0, "mine")
    (study / ".report.html.unfinished").unlink()
    status, _, err = archtrial("init", tmp_path / "link")
    assert (status, treasure.read_text()) == (2, "mine")


# Told to end.

# A script that has another program train, which marks that it has begun.
WAITS = """
{python} -c 'import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)' {mark}
true
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "status", "says"),
    [
        (signal.SIGINT, 130, "Interrupted. To go on: archtrial run --data x"),
        (signal.SIGTERM, 143, "Ended by SIGTERM. To go on: archtrial run --data x"),
        (signal.SIGHUP, 129, "Ended by SIGHUP. To go on: archtrial run --data x"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_end_it_leaves_nothing_running(tmp_path, number, status, says, workers):
    mark, script = tmp_path / "pid", tmp_path / "train.sh"
    script.write_text(WAITS.format(python=sys.executable, mark=mark))
    with subprocess.Popen(
        [PROGRAM, "run", "--data", "x", "--baseline", "a",
         "--challenger", "b", "--metric", "accuracy", "--command", f"sh {script} {{arm}}",
         "--study", tmp_path / "s", "--workers", str(workers)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_signals,
    ) as process:  # fmt: skip
        while not mark.exists() or not mark.read_text():
            time.sleep(0.05)
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        if number == signal.SIGINT:
            time.sleep(0.02)
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    for _ in range(100):
        if not Path("/proc", mark.read_text()).exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the command lives on")


@pytest.mark.parametrize("name", ["archtrial", "archtrial.cli"])
def test_python_runs_the_package_as_the_command(name):
    done = subprocess.run(
        [sys.executable, "-m", name, "judge", "nowhere.csv"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no such file: nowhere.csv" in done.stderr


def test_the_version_is_that_of_the_package(archtrial):
    assert archtrial("--version") == (0, f"archtrial {version('archtrial')}\n", "")


@pytest.mark.parametrize("command", [("judge",), ("report",), ("run", "--study")])
def test_a_name_that_no_file_can_have_is_one_message(archtrial, command):
    status, out, said = archtrial(*command, "a" * 5000)
    assert (status, out) == (2, "")
    assert said.startswith("archtrial: ")
    assert said.count("\n") <= 3
    assert len(said) < 400


def test_a_folder_alone_goes_on_with_what_decayed_in_it(archtrial, tmp_path):
    for said in ("all", "weights"):
        declared = tmp_path / f"{said}.toml"
        declared.write_text(
            'data = "digits"\nbaseline = "linear"\nchallengers = ["mlp"]\nsteps = 10\n'
            f'configurations = 4\neffort = 1\nrecipe = {{ weight_decay_on = "{said}" }}\n'
        )
        folder = tmp_path / said
        where = ["--study", folder, "--workers", 1, "--json"]
        status, out, err = archtrial("run", declared, *where)
        assert status == 0, err
        resolved = json.loads((folder / "protocol.json").read_text())
        assert resolved["recipe"].get("weight_decay_on", "all") == said
        assert trials._goes_on(folder, False)[0].recipe.weight_decay_on == said
        status, again, err = archtrial("run", *where)
        assert (status, again) == (0, out), err
        options = ["--data", "digits", "--baseline", "linear", "--challenger", "mlp"]
        sizes = ["--steps", 10, "--configurations", 4, "--effort", 1]
        status, again, err = archtrial("run", *options, *sizes, *where)
        assert (status, again) == (0, out), err


def test_how_configurations_are_drawn_is_an_option(archtrial, tmp_path):
    """And a study's folder alone goes on with what it began with."""
    for sampling in ("sobol", "random"):
        folder = tmp_path / sampling
        status, out, err = archtrial(
            "run", *SMALL, "--sampling", sampling, "--study", folder, "--json"
        )
        assert status == 0, err
        resolved = json.loads((folder / "protocol.json").read_text())
        assert resolved.get("sampling", "random") == sampling
        status, again, err = archtrial("run", "--study", folder, "--json")
        assert (status, again) == (0, out), err
    # As of an older release, whose protocols never say how they draw.
    store = sqlite3.connect(tmp_path / "random" / "study.sqlite")
    ((declared,),) = store.execute("SELECT declared FROM study").fetchall()
    store.close()
    assert json.loads(declared)["sampling"] == "random"
    status, again, err = archtrial(
        "run", *SMALL, "--study", tmp_path / "random", "--json"
    )
    assert (status, again) == (0, out), err
    status, _, err = archtrial("run", *SMALL, "--sampling", "halton")
    assert status == 2
    assert "'sobol' or 'random'" in err


def test_a_folder_in_which_nothing_began_is_asked_about(archtrial, tmp_path):
    """A slip in its name must not begin another study."""
    for more in ((), ("--configurations", 16)):
        status, _, err = archtrial("run", "--study", tmp_path / "typo", *more)
        assert status == 2
        assert "nothing began in" in err
        assert "--baseline mlp --challenger cnn --study" in err
    assert not (tmp_path / "typo").exists()

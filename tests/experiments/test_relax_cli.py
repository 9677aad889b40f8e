"""`archtrial relax` and `archtrial report`: what is printed, and what is refused."""

import json
import shutil
import sys

import numpy as np
import pytest

from archtrial import cli, equivalents
from archtrial.records.store import Store

# What tests/experiments/conftest.py declares as far as the command line can.
OPTIONS = [
    "--architecture", "cnn(width=2, depth=2)", "--steps", 6, "--relax-times", "0,3,6",
    "--seeds", 6, "--learning-rates", ".1,.4", "--margin", ".05", "--workers", 1,
]  # fmt: skip
QUICK = [
    "digits", "--architecture", "cnn(width=2, depth=2)", "--steps", 2, "--relax-times",
    "0,", "--seeds", 1, "--learning-rates", ".1", "--workers", 1,
]  # fmt: skip
TOML = """
data = "digits"
architecture = "cnn(width=2, depth=2)"
steps = 6
relax_times = [0, 3, 6]
seeds = 9
learning_rates = [0.1, 0.4]
evaluations = 3
curvature_examples = 20
margin = 0.05
"""


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a study lies that nobody named a folder for
    return archtrial


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of the small study's folder, to write into."""
    folder = tmp_path / "finished"
    shutil.copytree(trained.folder, folder)
    return folder


def bytes_of(folder):
    return (folder / "verdict.json").read_bytes()


# --------------------------------------------------------------------- what it prints


def test_a_dry_run_says_its_size_and_cost_and_leaves_nothing(archtrial, tmp_path):
    folder = tmp_path / "study"
    status, out, err = archtrial(
        "relax", "digits", *OPTIONS, "--study", folder, "--dry-run"
    )
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["cnn", "10", "trainings"],
        ["fresh", "10", "trainings"],
        ["kept", "30", "trainings"],
        ["relaxed", "30", "trainings"],
    ]
    assert "note: The CNN has 280 weights" in err
    assert not folder.exists()


def test_a_dry_run_as_json_is_the_resolved_protocol_and_the_forecast(
    archtrial, trained, tmp_path
):
    path = tmp_path / "relax.toml"
    path.write_text(TOML)
    status, out, _ = archtrial("relax", path, "--seeds", 6, "--dry-run", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["protocol"] == trained.resolved
    assert found["forecast"] == trained.forecast()


def test_a_study_from_its_first_line_to_its_page(archtrial, tmp_path):
    folder = tmp_path / "study"
    status, out, err = archtrial("relax", *QUICK, "--study", folder)
    assert status == 0
    assert f"study: {folder}" in err
    assert "note: " in err
    assert "cannot be compared" in " ".join(out.split())
    assert f"page: {folder / 'report.html'}" in out
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    protocol = json.loads((folder / "protocol.json").read_text())
    assert (protocol["steps"], protocol["relax_times"]) == (2, [0])


def test_the_sentence_and_the_page_are_printed(archtrial, finished):
    (finished / "report.html").unlink()
    status, out, err = archtrial("relax", "--study", finished, "--workers", 1)
    assert status == 0
    sentence = json.loads((finished / "verdict.json").read_text())["sentence"]
    assert " ".join(sentence.split()) in " ".join(out.split())
    assert (finished / "report.html").exists()
    assert f"study: {finished}" in err


def test_from_its_folder_alone_a_study_goes_on(archtrial, finished, trained):
    (finished / "verdict.json").unlink()
    status, out, _ = archtrial("relax", "--study", finished, "--json", "--workers", 1)
    assert status == 0
    assert out.encode() == bytes_of(trained.folder) == bytes_of(finished)


def test_what_is_given_beside_a_folder_is_all_that_differs(archtrial, finished):
    before = bytes_of(finished)
    status, out, err = archtrial("relax", "--study", finished, "--seeds", 7)
    assert status == 2
    assert out == ""
    assert "seeds: 6 -> 7" in " ".join(err.split())
    assert "mnist1d" not in err
    assert bytes_of(finished) == before
    # What is as it was is no difference.
    status, out, _ = archtrial(
        "relax", "--study", finished, "--seeds", 6, "--json", "--workers", 1
    )
    assert (status, out.encode()) == (0, before)


def test_a_folder_alone_in_which_nothing_began_is_refused(archtrial, tmp_path):
    folder = tmp_path / "not there"
    status, out, err = archtrial("relax", "--study", folder)
    said = " ".join(err.split())
    assert status == 2
    assert out == ""
    assert "nothing began in" in said
    assert "archtrial relax mnist1d --study '" in said
    assert not folder.exists()
    # With anything declared beside, it begins there.
    status, _, _ = archtrial("relax", *QUICK, "--study", folder, "--dry-run")
    assert status == 0


def test_options_lie_over_a_protocol_file(archtrial, finished, tmp_path):
    path = tmp_path / "relax.toml"
    path.write_text(TOML)
    status, out, _ = archtrial(
        "relax", path, "--seeds", 6, "--study", finished, "--json", "--workers", 1
    )
    assert status == 0
    assert out.encode() == bytes_of(finished)


def test_without_data_it_is_mnist1d(archtrial):
    status, out, _ = archtrial(
        "relax", "--steps", 8, "--relax-times", "0,", "--dry-run", "--json"
    )
    assert status == 0
    found = json.loads(out)["protocol"]
    assert found["data"]["name"] == "mnist1d"
    assert found["parameters"]["cnn"] == 5210
    assert found["parameters"]["fcn"] == 190810


def test_how_many_relax_times_or_which(archtrial):
    def times(text):
        status, out, _ = archtrial(
            "relax", "digits", "--steps", 100, "--relax-times", text, "--dry-run",
            "--json",
        )  # fmt: skip
        assert status == 0
        return json.loads(out)["protocol"]["relax_times"]

    assert times("3") == [0, 1, 100]
    assert times("3,") == [3]
    assert times("3,4") == [3, 4]


def test_report_writes_the_page_and_single_figures(archtrial, finished, tmp_path):
    page = (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    status, out, _ = archtrial("report", finished)
    assert (status, out.strip()) == (0, str(finished / "report.html"))
    assert (finished / "report.html").read_text() == page
    status, out, _ = archtrial("report", finished, "--figure", "relax_times")
    assert (status, out.strip()) == (0, str(finished / "relax_times.svg"))
    assert "<svg" in (finished / "relax_times.svg").read_text()
    picture = tmp_path / "path.png"
    status, out, _ = archtrial(
        "report", finished, "--figure", "path", "--output", picture, "--json"
    )
    assert (status, json.loads(out)) == (0, {"page": str(picture)})
    assert picture.read_bytes().startswith(b"\x89PNG")


# ------------------------------------------------------------------- what is refused


def refused(call, *arguments, says):
    """Asserts that a command ends with one message, and no traceback."""
    status, out, err = call(*arguments)
    assert status == 2, (out, err)
    assert "Traceback" not in err
    assert err.count("archtrial: ") == 1, err
    for part in (says,) if isinstance(says, str) else says:
        assert part in err, err
    assert out == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--architecture", "gru"], ("cell (GRU) has none", "in its place")),
        (["--architecture", "cn"], ("'cn'", "Did you mean")),
        (["--architecture", "nowhere.py:Net"], ("there is no file", "nowhere.py")),
        (["--architecture", "cnn(widht=3)"], ("widht", "width")),
        (["--form", "fnc"], ("'fcn' or 'lcn'", "fnc")),
        (["--reading", "first"], ("'best' or 'last'", "first")),
        (["--relax-times", "soon"], ("'soon'", "--relax-times 8 or 0,100,1000")),
        (["--relax-times", "0,-3"], ("whole numbers", "[0, 100, 1000]")),
        (["--relax-times", "9,3"], ("later than the one before", "= 8")),
        (["--relax-times", "40", "--steps", "5"], ("at most 6 relax times",)),
        (["--learning-rates", ".3,.1"], ("larger than the one before", "Write")),
        (["--learning-rates", ".1,fast"], ("'.1,fast'", "--learning-rates .03,.1,.3")),
        (["--learning-rates", "-1"], ("learning_rates", "greater than 0")),
        (["--metric", "acuracy"], ("'acuracy'", "accuracy")),
        (["--metric", "rmse"], ("metric of regression",)),
        (["--margin", "0"], ("margin",)),
        (["--seeds", "0"], ("seeds",)),
        (["--device", "gpu"], ("gpu",)),
    ],
)
def test_a_mistake_is_one_message(archtrial, tmp_path, options, says):
    folder = tmp_path / "study"
    refused(archtrial, "relax", "digits", *options, "--study", folder, says=says)
    assert not folder.exists()


NETS = """
import torch
from torch import nn


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.out = nn.Linear(72, 10)

    def forward(self, x):
        h = self.convolution(x)
        if x.sum() > 0:
            h = h.relu()
        return self.out(h.flatten(1))


class Fixed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 10))
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Branching", ("the same for all inputs", "__init__")),
        ("Fixed", ("shape",)),
        ("Nothing", ("has no 'Nothing'; it has",)),
    ],
)
def test_a_network_of_ones_own_that_cannot_be_mapped(archtrial, tmp_path, name, says):
    path = tmp_path / "net.py"
    path.write_text(NETS)
    refused(archtrial, "relax", "digits", "--architecture", f"{path}:{name}", says=says)


def test_data_that_cannot_be_relaxed_on(archtrial, tmp_path):
    refused(archtrial, "relax", "diggits", says=("'diggits'", "digits"))
    refused(archtrial, "relax", tmp_path / "no.npz", says="no.npz")
    refused(archtrial, "relax", tmp_path / "no.toml", says="no such protocol file")
    refused(archtrial, "relax", "diabetes", says=("table",))
    path = tmp_path / "relax.toml"
    path.write_text('data = "digits"\nstep = 3\n')
    refused(archtrial, "relax", path, says=("'step'", "Did you mean 'steps'?"))
    np.savez(tmp_path / "short.npz", x=np.eye(40)[:, :2], y=np.arange(40) % 2)
    refused(archtrial, "relax", tmp_path / "short.npz", says="at least 3 positions")


def test_an_equivalent_larger_than_memory_is_refused(archtrial, monkeypatch, tmp_path):
    sizes = sys.modules["archtrial.equivalents.sizes"]
    monkeypatch.setattr(sizes, "available_memory", lambda device: 5000)
    folder = tmp_path / "study"
    call = ["relax", *QUICK, "--study", folder]
    refused(archtrial, *call, says=("fits into memory", "1,702 parameters", "0.0 MB"))
    assert not folder.exists()
    # Two at once are more than one.
    monkeypatch.setattr(sizes, "available_memory", lambda device: 10**6)
    monkeypatch.setattr(equivalents, "available_memory", lambda device: 10**4)
    status, _, err = archtrial(*call)
    assert status == 2
    assert "--allow-large" in err
    assert archtrial(*call, "--allow-large")[0] == 0


def test_another_declaration_in_a_folder_is_refused(archtrial, finished):
    status, _, err = archtrial(
        "relax", "digits", *OPTIONS, "--seeds", 7, "--study", finished
    )
    assert status == 2
    assert "seeds: 6 -> 7" in err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """The folder of a trial of architectures."""
    folder = tmp_path_factory.mktemp("trial") / "study"
    arguments, sys.argv = sys.argv, [
        "archtrial", "run", "--data", "digits", "--baseline", "linear", "--challenger",
        "mlp", "--configurations", "4", "--effort", "1", "--steps", "2", "--workers",
        "1", "--study", str(folder),
    ]  # fmt: skip
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = arguments
    assert ended.value.code == 0
    return folder


@pytest.mark.parametrize("command", ["judge", "run", "calibrate"])
def test_what_is_for_trials_refuses_an_experiment(archtrial, finished, command):
    where = ["--study", finished] if command == "run" else [finished]
    refused(
        archtrial, command, *where,
        says=("a study of archtrial run", "one of archtrial relax", "archtrial report"),
    )  # fmt: skip


def test_a_trial_in_an_experiments_folder_is_refused(archtrial, finished, trial):
    before = bytes_of(finished)
    status, _, err = archtrial(
        "run", "--data", "digits", "--steps", 2, "--study", finished, "--workers", 1
    )
    assert status == 2
    assert "keeps the protocol that it began with" in err
    assert bytes_of(finished) == before
    refused(
        archtrial, "relax", "--study", trial,
        says=("a study of archtrial relax", "one of archtrial run"),
    )  # fmt: skip
    status, _, err = archtrial("relax", *QUICK, "--study", trial)
    assert status == 2
    assert "keeps the protocol that it began with" in err


def test_a_trials_page_is_still_its_own(archtrial, trial):
    status, out, _ = archtrial("report", trial)
    assert (status, out.strip()) == (0, str(trial / "report.html"))


def test_what_report_cannot_write(archtrial, finished, tmp_path):
    refused(
        archtrial, "report", finished, "--figure", "relaxtimes",
        says=("relaxtimes", "relax_times"),
    )  # fmt: skip
    refused(archtrial, "report", finished, "--price", 2, says="for a trial")
    refused(archtrial, "report", tmp_path, says="folder holds its store")


def test_a_study_that_is_not_finished_has_no_page(archtrial, tmp_path, small):
    from archtrial.experiments.relax.study import Study

    study = Study(small, tmp_path)

    def stop(standing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(watch=stop)
    refused(
        archtrial, "report", tmp_path,
        says=("not finished", f"archtrial relax --study {tmp_path}"),
    )  # fmt: skip
    with Store(tmp_path, read_only=True) as store:
        assert not store.test_is_open

"""`archtrial mimic`: what is printed, what is refused, and what a folder goes on with."""

import json
import shlex
import shutil

import numpy as np
import pytest

from archtrial.errors import printable
from archtrial.records.store import Store

from . import mimicked

TINY = [
    "--teacher", "mlp(width=8)", "--teacher-configurations", 3, "--ensemble", 2,
    "--layout", "mlp1", "--layout", "conv1", "--budgets", 200, "--steps", 20,
    "--configurations", 4, "--effort", 1, "--confirm-seeds", 1, "--margin", ".02",
]  # fmt: skip


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a study lies that nobody named a folder for
    return archtrial


@pytest.fixture
def finished(mimic_study, tmp_path):
    """A copy of the small study's folder, to write into."""
    return shutil.copytree(mimic_study.folder, tmp_path / "finished")


def test_a_dry_run_says_its_size_and_cost_and_leaves_nothing(
    archtrial, mimic_data, mimic_study, tmp_path
):
    status, out, _ = archtrial(
        "mimic", mimic_data, *TINY, "--dry-run", "--study", tmp_path / "study"
    )
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == ["mlp(width=8)", "mlp1-200", "conv1-200"]
    assert all("parameters" in line and "trainings" in line for line in lines)
    assert not (tmp_path / "study").exists()
    status, out, _ = archtrial("mimic", mimic_data, *TINY, "--dry-run", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["protocol"] == mimic_study.resolved
    assert found["forecast"] == mimic_study.forecast()


def test_labels_as_they_are_typed_bring_no_gain(archtrial, mimic_data, tmp_path):
    small = TINY[TINY.index("--budgets") :]
    command = ["mimic", mimic_data, "--teacher", "labels", "--layout", "mlp1", *small]
    folder = tmp_path / "null"
    status, out, err = archtrial(*command, "--study", folder, "--workers", 1, "--json")
    assert status == 0, err
    assert "differ from those without one" not in err
    (student,) = json.loads(out)["students"]
    assert student["gain"]["verdict"] not in ("architecture", "tuning")
    with Store(folder, read_only=True) as store:
        drawn = {
            taught: {r.pair: r.configuration for r in store.runs()
                     if r.stage == "search" and r.coordinates["teacher"] is taught}
            for taught in (False, True)
        }  # fmt: skip
    assert drawn[False] == drawn[True]
    assert {"learning_rate", "weight_decay", "dropout"} < set(drawn[True][0])


def test_from_its_folder_alone_a_study_goes_on(archtrial, finished, mimic_study):
    (finished / "verdict.json").unlink()
    status, out, _ = archtrial("mimic", "--study", finished, "--workers", 1, "--json")
    before = (mimic_study.folder / "verdict.json").read_bytes()
    assert (status, out.encode()) == (0, before)
    assert (finished / "verdict.json").read_bytes() == before
    status, out, err = archtrial("mimic", "--study", finished, "--workers", 1)
    assert status == 0
    assert " ".join(str(mimic_study.verdict).split()) in " ".join(out.split())
    assert f"page: {finished / 'report.html'}" in out
    assert f"study: {finished}" in err
    status, out, err = archtrial("mimic", "--study", finished, "--steps", 21)
    assert (status, out) == (2, "")
    assert "steps: 20 -> 21" in " ".join(err.split())


def test_report_and_status_know_the_folder(archtrial, finished, tmp_path):
    page = (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    status, out, _ = archtrial("report", finished)
    assert (status, out.strip()) == (0, str(finished / "report.html"))
    assert (finished / "report.html").read_text() == page
    for figure in ("budgets", "gains", "gaps"):
        status, out, _ = archtrial("report", finished, "--figure", figure)
        assert status == 0
        assert "<svg" in (finished / f"{figure}.svg").read_text()
    status, out, _ = archtrial("status", finished)
    assert status == 0
    for stage in ("teachers: search", "teachers: answers", "students: search"):
        assert stage in out
    assert "The test set has been opened." in out


# ------------------------------------------------------------------- what is refused


def refused(call, *arguments, says):
    """Asserts that a command ends with one message, and no traceback; returns it."""
    status, out, err = call(*arguments)
    assert status == 2, (out, err)
    assert "Traceback" not in err
    assert err.count("archtrial: ") == 1, err
    for part in says:
        assert part in err, err
    assert out == ""
    return err


def followed(call, err, *arguments):
    """Types the options that a message says to write; the command then works."""
    way = err.strip().splitlines()[-1].removeprefix("Write ").removesuffix(".")
    status, _, err = call(*arguments, *shlex.split(way.split(", or ")[0]))
    assert status == 0, err


def test_what_a_message_says_to_type_works(archtrial, mimic_data, tmp_path):
    x, y = mimicked.series(100)
    rows = ["a,b,c,kind", *(f"{a},{b},{c},{'ny'[k]}" for (a, b, c), k in zip(
        x[:, 0, :3], y, strict=True))]  # fmt: skip
    (tmp_path / "table.csv").write_text("\n".join(rows))
    np.savez(tmp_path / "short.npz", x=x[:, :, :5], y=y)
    for command, says in (
        (["table.csv"], ("the default teacher, conv1, conv3 on a table",)),
        (["table.csv", "--teacher", "mlp"], ("conv1, conv3 on a table",)),
        (["short.npz", "--teacher", "mlp"], ("conv3 on inputs of 1x5",)),
        ([mimic_data, "--budgets", 5], ("budgets of 5", "--budgets 24")),
    ):
        err = refused(archtrial, "mimic", *command, "--dry-run", says=says)
        if "--budgets" in command:
            command = command[:1]
        followed(archtrial, err, "mimic", *command, "--dry-run")


def test_series_of_unequal_length(archtrial, tmp_path):
    x, y = mimicked.series(60)
    lines = [
        ",".join(f"{v:.3f}" for v in row[0, : 8 + i % 5]) + f":{k}"
        for i, (row, k) in enumerate(zip(x, y, strict=True))
    ]
    head = "@problemName u\n@univariate true\n@equalLength false\n@classLabel true 0 1\n@data\n"
    (tmp_path / "u_TRAIN.ts").write_text(head + "\n".join(lines) + "\n")
    command = ["mimic", "u_TRAIN.ts", "--dry-run"]
    refused(archtrial, *command, says=("where a series ends", "8 to 12 steps"))
    for length in ("zeros", 8):
        assert archtrial(*command, "--lengths", length)[0] == 0
    (tmp_path / "told.toml").write_text(
        'data = "u_TRAIN.ts"\nlayouts = []\nteacher = "gru"\nstudents = ["lstm"]\n'
    )
    status, out, _ = archtrial("mimic", "told.toml", "--dry-run")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["gru", "lstm"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--teacher", "vg"], ("'vg'", "Did you mean")),
        (["--teacher", "nowhere.py:Net"], ("there is no file", "nowhere.py")),
        (["--teacher", "mlp(widht=3)"], ("widht", "width")),
        (["--student", "sklearn:LogisticRegression"], ("torch.nn.Module",)),
        (["--layout", "conv9"], ("'conv9'", "--layout mlp2 --layout conv3")),
        (["--budgets", "many"], ("'many'", "--budgets 10000,100000")),
        (["--imitate", "labels"], ("imitate", "labels")),
        (["--metric", "rmse"], ("classes", "--task classification --metric accuracy")),
        (["--teacher-configurations", -1], ("teacher_configurations",)),
        (["--passes", 0], ("passes",)),
        (["--label-weight", 1], ("label_weight",)),
        (["--unlabelled", "nowhere.npz"], ("nowhere.npz", "numpy.savez")),
        (["--unlabelled", "."], ("can be read", "numpy.savez")),
        (["--margin", 0], ("margin",)),
        (["--device", "gpu"], ("gpu",)),
    ],
)
def test_a_mistake_is_one_message(archtrial, mimic_data, tmp_path, options, says):
    folder = tmp_path / "study"
    refused(archtrial, "mimic", mimic_data, *options, "--study", folder, says=says)
    assert not folder.exists()


def test_data_that_no_teacher_answers_for(archtrial, tmp_path):
    x, y = mimicked.series(100)
    np.savez(tmp_path / "amounts.npz", x=x, y=x[:, 0, 0])
    texts = [f"{'red' if k else 'blue'} ox {i},{'ny'[k]}" for i, k in enumerate(y)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,kind", *texts]))
    run = "archtrial run"
    refused(archtrial, "mimic", "amounts.npz", says=("is regression", run))
    refused(
        archtrial, "mimic", "texts.csv", "--text", "text", says=("real numbers", run)
    )
    refused(archtrial, "mimic", "nowhere.npz", says=("nowhere.npz",))
    refused(archtrial, "mimic", "nowhere.toml", says=("no such protocol file",))
    (tmp_path / "trial.toml").write_text('data = "digits"\nbaseline = "mlp"\n')
    refused(archtrial, "mimic", "trial.toml", says=("archtrial run trial.toml",))


def test_a_transfer_set_that_was_cut_off_is_one_message(
    archtrial, finished, mimic_study
):
    place = finished / "transfer" / "logits-00000.npy"
    place.write_bytes(place.read_bytes()[:300])
    command = ["mimic", "--study", finished, "--workers", 1, "--json"]
    err = refused(archtrial, *command, says=("300 bytes", f"rm {place}"))
    assert printable(str(place)) in err
    place.unlink()
    status, out, _ = archtrial(*command)
    assert (status, out) == (0, (mimic_study.folder / "verdict.json").read_text())


def test_another_study_does_not_go_on_in_a_folder(archtrial, finished):
    refused(
        archtrial, "relax", "--study", finished, says=("archtrial mimic",)
    )  # fmt: skip
    refused(
        archtrial, "mimic", "--study", finished / "none", says=("nothing began in",)
    )

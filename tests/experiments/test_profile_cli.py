"""`archtrial profile`: what is printed, what is refused, and what a folder goes on with."""

import json
import shlex

import pytest

from archtrial.experiments.profile import measuring_cost

from . import profiled

TINY = [
    "--steps", 20, "--learning-rates", ".01,", "--only", "cost", "--workers", 1,
]  # fmt: skip


@pytest.fixture
def archtrial(archtrial, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a study lies that nobody named a folder for
    monkeypatch.setattr(measuring_cost, "_SECONDS", 0.001)
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(input_shape[0], num_outputs)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x)\n"
        "class Wrong(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(99, 2)\n"
    )
    profiled.saved(tmp_path)
    return archtrial


def test_architectures_are_shown_side_by_side_and_a_folder_goes_on(archtrial, tmp_path):
    command = ["profile", "linear", "own=net.py:Net", "--data", "rows.npz", *TINY]
    status, out, err = archtrial(*command, "--study", "study")
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    (head,) = [row for row in rows if row[:1] == ["architecture"]]
    assert "parameters" in head
    # The same network twice.
    for name in ("linear", "own"):
        (row,) = [row for row in rows[rows.index(head) :] if row[:1] == [name]]
        assert row[1] == "14"
    assert (tmp_path / "study" / "report.html").exists()
    status, out, err = archtrial("profile", "--study", "study", "--json")
    assert status == 0, err
    assert out == (tmp_path / "study" / "verdict.json").read_text()
    assert json.loads(out)["architectures"] == ["linear", "own"]
    # What the folder names, and has changed, is not run unasked.
    (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text() + "# more\n")
    status, out, err = archtrial("profile", "--study", "study")
    assert status == 2
    assert "--trust" in err
    status, out, err = archtrial("status", "study")
    assert status == 0
    assert "leaves the test set sealed" in out
    status, out, _ = archtrial("status", "study", "--json")
    assert json.loads(out)["test_set_opened"] == 0
    assert archtrial("report", "study", "--figure", "cost")[0] == 0
    assert (tmp_path / "study" / "cost.svg").exists()
    # Another kind does not go on with it, and the way out that is named works.
    status, _, err = archtrial("relax", "--study", "study")
    assert status == 2
    assert "archtrial profile" in err


def test_a_file_is_profiled_as_it_declares(archtrial, tmp_path):
    (tmp_path / "small.toml").write_text(
        'data = "rows.npz"\narchitectures = ["own=net.py:Net"]\nonly = ["cost"]\n'
        "steps = 8\nlearning_rates = [0.01]\n"
    )
    status, out, err = archtrial(
        "profile", "small.toml", "--seeds", 7, "--json", "--workers", 1
    )
    assert status == 0, err
    (found,) = json.loads(out)["groups"]["cost"]["architectures"]
    assert (found["name"], found["seeds"]) == ("own", 7)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ([], "a profile is of one or more architectures"),
        (["mlp"], "architectures are profiled on data"),
        (["--data", "rows.npz"], "a profile is of one or more architectures"),
        (["mpl", "--data", "rows.npz"], "the zoo has no architecture 'mpl'"),
        (["net.py:Not", "--data", "rows.npz"], "net.py has no 'Not'; it has Net"),
        (["mlp", "mlp", "--data", "rows.npz"], "told apart by their names"),
        (["mlp", "--data", "nope.npz"], "there is no 'nope.npz'"),
        (["net.py:Wrong", "--data", "rows.npz"], "net.py:Wrong"),
        (["mlp", "--data", "rows.npz", "--only", "costs"], "a group of measures"),
        (["mlp", "--data", "rows.npz", "--target-score", 80], "--target-score 0.8"),
        (["mlp", "--data", "rows.npz", "--seeds", 5], "--seeds 6"),
        (["sklearn:LogisticRegression", "--data", "rows.npz"], "scikit-learn"),
        (["mlp(recipe=modern)", "--data", "rows.npz"], "with fixed options"),
        (["nope.toml"], "there is no such protocol file"),
    ],
)
def test_a_mistake_gives_one_message(archtrial, tmp_path, arguments, rule):
    before = {path.name for path in tmp_path.iterdir()}
    status, out, err = archtrial("profile", *arguments)
    assert (status, out) == (2, "")
    assert rule in " ".join(err.split())
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == before


def test_where_nothing_began_what_is_named_to_type_begins_there(archtrial):
    status, _, err = archtrial("profile", "--study", "new")
    assert status == 2
    line = err.strip().splitlines()[-1]
    command = shlex.split(line[line.index("archtrial profile") :])[1:]
    command[command.index("mnist1d")] = "rows.npz"
    command.remove("cnn")  # which reads no rows
    status, _, err = archtrial(*command, *TINY, "--json")
    assert status == 0, err

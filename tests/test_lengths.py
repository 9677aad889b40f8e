"""A trial on series of unequal length, from the file to the loaded model."""

import re

import numpy as np
import pytest
import torch

import archtrial as package
from archtrial import data
from archtrial.errors import ProtocolError
from archtrial.protocol import Protocol
from archtrial.records.store import frozen

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, num_outputs, width=8):
        super().__init__()
        self.first = nn.Conv1d(input_shape[0], width, 1)
        self.last = nn.Linear(width, num_outputs)

class Masked(Net):
    def forward(self, x, mask):
        states = self.first(x).relu() * mask.unsqueeze(1)
        return self.last(states.sum(2) / mask.sum(1, keepdim=True))

class Untold(Net):
    def forward(self, x):
        return self.last(self.first(x).relu().mean(2))
"""
SMALL = [
    "--configurations", "4", "--effort", "1", "--confirm-seeds", "2", "--steps", "8",
    "--workers", "1",
]  # fmt: skip


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Three classes that the mean of the first channel tells apart; 2 to 7 steps."""
    generator = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    for part, count in (("TRAIN", 60), ("TEST", 30)):
        lines = ["@equalLength false", "@classLabel true a b c", "@data"]
        for i in range(count):
            x = generator.normal(size=(2, int(generator.integers(2, 8))))
            x[0] += 2 * (i % 3)
            channels = [",".join(f"{v:.4f}" for v in row) for row in x]
            lines.append(":".join([*channels, "abc"[i % 3]]))
        (tmp_path / f"Toy_{part}.ts").write_text("\n".join(lines))
    return tmp_path


def run(archtrial, *arguments, study="study"):
    return archtrial(
        "run", "--data", "Toy_TRAIN.ts", "--study", study, *SMALL, *arguments
    )


@pytest.mark.parametrize("fleet", ["always", "never"])
def test_a_trial_from_the_file_to_the_loaded_model(toy, archtrial, fleet):
    status, _, printed = run(
        archtrial, "--baseline", "gru", "--challenger", "net.py:Masked",
        "--challenger", "tcn(depth=2, norm=layer)", "--fleet", fleet,
    )  # fmt: skip
    assert status == 0, printed
    resolved = frozen(toy / "study")[1]
    assert resolved["data"]["lengths"] == [2, 7]
    found = data.load("Toy_TRAIN.ts")
    rows = [x[:, :n] for x, n in zip(found.inputs, found.steps, strict=True)]
    for arm in ("gru", "Masked"):
        # It is compared with what it predicted in the study, too.
        model = package.load_tuned(toy / "study", arm)
        alone = [model.predict([row])[0] for row in rows[:12]]
        assert model.predict(rows).tolist()[:12] == alone
        assert model.predict(found.inputs).tolist() == model.predict(rows).tolist()
        assert model.predict([torch.from_numpy(r) for r in rows]).tolist()[:12] == alone


def test_where_inputs_lie_changes_no_result(tmp_path, archtrial, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 2, 9))
    for row, end in zip(x, generator.integers(3, 10, 80), strict=True):
        row[:, end:] = np.nan
    x[::2] += 1
    np.savez("a.npz", x=x, y=np.arange(80) % 2)
    verdicts = []
    for study, where in (("here", ()), ("there", ("--memory", "0"))):
        status, _, printed = archtrial(
            "run", "--data", "a.npz", "--lengths", "mask", "--baseline", "gru",
            "--challenger", "lstm", "--study", study, *SMALL, *where,
        )  # fmt: skip
        assert status == 0, printed
        verdicts.append((tmp_path / study / "verdict.json").read_bytes())
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize(
    "arm", ["mlp", "cnn", "net.py:Untold", "sklearn:RandomForestClassifier"]
)
def test_what_is_not_told_is_refused_and_each_way_out_works(toy, archtrial, arm):
    arms = ["--baseline", "gru", "--challenger", arm]
    status, _, printed = run(archtrial, *arms)
    assert status == 2
    assert "Traceback" not in printed
    assert "series have 2 to 7 steps" in " ".join(printed.split())
    ways = re.findall(r"--lengths (\w+)", printed)
    assert ways == (["zeros"] if arm == "cnn" else ["2", "zeros"])  # it needs 3 steps
    for way in ways:
        status, _, printed = run(archtrial, *arms, "--lengths", way, study=way)
        assert status == 0, printed
    assert frozen(toy / "zeros")[1]["data"]["lengths"] == "zeros"
    if "2" in ways:
        said = frozen(toy / "2")[1]["data"]
        assert "lengths" not in said
        assert said["input_shape"] == [2, 2]


def test_a_network_on_series_of_unequal_length_is_not_relaxed(toy, archtrial):
    command = ["relax", "Toy_TRAIN.ts", "--architecture", "cnn"]
    status, _, printed = archtrial(*command, "--dry-run")
    assert status == 2
    assert "relaxed for inputs of one size" in " ".join(printed.split())
    (way,) = re.findall(r"--lengths \w+", printed)
    status, _, printed = archtrial(*command, *way.split(), "--dry-run")
    assert status == 0, printed


@pytest.mark.parametrize("told", ["foo", 0, -1, 2.5, True, "", []])
def test_impossible_lengths_are_one_message(told):
    with pytest.raises(ProtocolError, match="mask, zeros, or how many steps"):
        Protocol(data="a", baseline="gru", challengers=("tcn",), lengths=told)


def test_lengths_are_declared_as_a_command_line_has_them(archtrial):
    for told in ("mask", "zeros", 20):
        for given in (told, str(told)):
            declared = Protocol(
                data="a", baseline="gru", challengers=("tcn",), lengths=given
            )
            assert declared.lengths == told
    _, printed, _ = archtrial("run", "--help")
    assert "mask|zeros|N" in printed


def test_texts_of_unequal_length_are_fitted_as_they_were(tmp_path, archtrial):
    """A bag of words has one length, whatever the text's."""
    lines = ["text,label"]
    lines += [
        f"{'good ' if i % 2 else 'bad '}{'so ' * (i % 5)}it is,{i % 2}"
        for i in range(80)
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    status, _, printed = archtrial(
        "run", "--data", tmp_path / "t.csv", "--text", "text", "--target", "label",
        "--baseline", "gru", "--challenger", "sklearn:LogisticRegression",
        "--challenger", "mixer", "--study", tmp_path / "study", *SMALL,
    )  # fmt: skip
    assert status == 0, printed
    assert frozen(tmp_path / "study")[1]["data"]["lengths"] == [3, 7]

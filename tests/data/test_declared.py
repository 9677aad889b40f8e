"""What the protocol says of the data, from the command line to the split."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from archtrial import trial
from archtrial.errors import ArmError, DataError, ProtocolError, UserError
from archtrial.protocol import Protocol

NET = """
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self, input_shape, num_outputs, width=4):
        super().__init__()
        self.emb, self.out = nn.Embedding(50, width), nn.Linear(width, num_outputs)
    def forward(self, x):
        return self.out(self.emb(x).mean(1))

class Plain(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.out = nn.Linear(input_shape[0], num_outputs)
    def forward(self, x):
        return self.out(x)
"""


@pytest.fixture
def tokens(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, size=(120, 7))
    np.savez(tmp_path / "t.npz", x=x, y=(x[:, 0] > 24).astype(int))
    (tmp_path / "net.py").write_text(NET)

    def prepared(baseline, challenger, **declared):
        names = [
            f"{n}={tmp_path}/{s}" if "net.py" in s else f"{n}={s}"
            for n, s in (("one", baseline), ("other", challenger))
        ]
        return trial.prepare(
            Protocol(
                data=str(tmp_path / "t.npz"), baseline=names[0],
                challengers=[names[1]], steps=4, **declared,
            )
        )  # fmt: skip

    return prepared


def test_whole_numbers_reach_modules_of_ones_own_as_they_are(tokens):
    prepared = tokens("net.py:Bag", "net.py:Bag(width=8)")
    x = prepared.split.x_train
    assert x.dtype == np.int64
    assert (x.min(), x.max()) == (0, 49)
    assert prepared.resolved["data"]["inputs"] == "whole numbers"
    assert "reach the modules as they are" in " ".join(prepared.resolved["notes"])
    with pytest.raises(ArmError, match="--scale if they are amounts"):
        tokens("net.py:Plain", "net.py:Bag")
    with pytest.raises(ProtocolError, match="not augmented"):
        tokens("net.py:Bag", "net.py:Bag(width=8)", recipe={"augmentation": ["noise"]})


def test_whole_numbers_are_scaled_for_the_zoo_or_when_it_is_said(tokens):
    for arms, declared in (
        (("linear", "mlp"), {}),
        (("linear", "net.py:Plain"), {"scale": True}),
        (("net.py:Plain", "net.py:Plain"), {"scale": True}),
    ):
        prepared = tokens(*arms, **declared)
        assert prepared.split.x_train.dtype == np.float32
        assert prepared.split.x_train.std() == pytest.approx(1, abs=0.01)
        assert "inputs" not in prepared.resolved["data"]


def test_whole_numbers_for_the_zoo_and_ones_own_module_are_asked_for(tokens):
    with pytest.raises(ProtocolError, match=r"Say which: --scale"):
        tokens("linear", "net.py:Bag")
    with pytest.raises(ProtocolError, match="one multiplies its inputs"):
        tokens("linear", "net.py:Bag", scale=False)


def test_inputs_can_stay_on_their_scale(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, size=(100, 3)).astype(np.float32)
    y = np.arange(100) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    lines = ["a,b,c,y"] + [
        ",".join([*map(str, row), "pn"[k]])
        for row, k in zip(x.tolist(), y, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    for name in ("a.npz", "a.csv"):
        declared = Protocol(
            data=str(tmp_path / name), baseline="linear", challengers=["mlp"], steps=2,
            scale=False,
        )  # fmt: skip
        prepared = trial.prepare(declared)
        rows = {row.tobytes() for row in x}
        assert all(row.tobytes() in rows for row in prepared.split.x_train)
        assert prepared.resolved["data"]["scale"] is False
        usual = trial.prepare(declared.replace(scale=None))
        assert "scale" not in usual.resolved["data"]


def test_copies_are_in_the_resolved_protocol_where_there_are_any(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    y = np.arange(100) % 2
    for name, x_test in (("leaky", x[:30]), ("clean", rng.normal(size=(30, 3)))):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y, x_test=x_test, y_test=y[:30])
        data = trial.prepare(
            Protocol(data=str(tmp_path / f"{name}.npz"), baseline="linear",
                     challengers=["mlp"], steps=2)
        ).resolved["data"]  # fmt: skip
        if name == "clean":
            assert "copies" not in data
        else:
            assert data["copies"]["exact"] > 20
            assert data["copies"]["of"] == 30


def amounts(folder):
    lines = ["a,b,rating"] + [
        f"{i * i % 31 / 4},{i % 7},{1 + i % 5}" for i in range(80)
    ]
    (folder / "r.csv").write_text("\n".join(lines))
    return str(folder / "r.csv")


def test_the_metric_settles_the_task(tmp_path):
    def task(**declared):
        protocol = Protocol(
            data=amounts(tmp_path), baseline="linear", challengers=["mlp"], steps=2,
            **declared,
        )  # fmt: skip
        return trial.prepare(protocol).resolved["task"]

    assert task() == "classification"
    assert task(metric="r2") == task(task="regression") == "regression"
    assert task(metric="accuracy") == "classification"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--channels", "last"], "channels is for arrays"),
        (["--task", "regresion"], "classification"),
        (["--decimal", "dot"], "decimal"),
    ],
)
def test_options_of_the_command_line(tmp_path, options, says):
    done = subprocess.run(
        [sys.executable, "-c", "from archtrial.cli import main; main()", "plan",
         "--data", amounts(tmp_path), "--steps", "2", *options],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert says in done.stderr


def test_a_name_with_control_characters_is_one_message(tmp_path):
    path = tmp_path / "a\x1b[31m\n.csv"
    path.write_text("a,y\n1,2\n")
    declared = Protocol(data=str(path), baseline="linear", challengers=["mlp"])
    with pytest.raises(DataError, match="printable") as caught:
        trial.prepare(declared)
    assert "\x1b" not in str(caught.value)


# --- metric and task ---------------------------------------------------------------

METRICS = ["accuracy", "auroc", "log_loss", "r2", "mae", "rmse"]
TARGETS = {
    "texts": lambda i: "abc"[i % 3],
    "names": lambda i: f"name{i}",
    "labels": lambda i: i % 3,
    "fractions": lambda i: i * 37 % 60 + 0.5,
    "amounts": lambda i: i * 37 % 60,
    "one word": lambda i: "low" if i == 7 else i * 37 % 60 + 0.5,
    "words": lambda i: "low" if i % 7 == 0 else i % 3,
    "truth": lambda i: ["true", "false"][i % 2],
}


@pytest.mark.parametrize("source", [*TARGETS, "images", "digits"])
@pytest.mark.parametrize("task", [None, "classification", "regression"])
@pytest.mark.parametrize("metric", [None, *METRICS])
def test_what_a_message_on_the_task_says_to_type_works(tmp_path, source, task, metric):
    """Every metric with every kind of target: read, or a way out that is one."""
    if source == "images":
        for i in range(40):
            folder = tmp_path / "images" / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 255, (4, 4), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        path = tmp_path / "images"
    elif source == "digits":
        path = source
    else:
        rows = [f"{i % 9},{TARGETS[source](i)}" for i in range(60)]
        (tmp_path / "t.csv").write_text("\n".join(["a,y", *rows]))
        path = tmp_path / "t.csv"

    def load(**given):
        given = {name: value for name, value in given.items() if value}
        return trial.load(
            Protocol(data=path, baseline="linear", challengers=["mlp"], **given)
        )

    try:
        _, split, found = load(task=task, metric=metric)
    except UserError as error:
        ways = re.findall(
            r"--(task|metric) (\w+)(?: with --(task) (\w+))?", error.way_out
        )
        assert ways or source == "names"
        for option, value, other, more in ways:
            given = {"task": task, "metric": metric, option: value}
            if other:
                given[other] = more
            assert load(**given)
    else:
        assert found.task == split.task
        assert task in (None, split.task)
        assert metric in (None, found.name)


def test_a_trainer_of_ones_own_and_its_metric():
    def prepare(**given):
        declared = Protocol(data="d", baseline="a=x", challengers=["b=y"], **given)
        return trial.prepare(declared, lambda *_: {}).resolved["metric"]

    assert prepare() == prepare(task="classification") == "accuracy"
    assert prepare(task="regression") == "r2"
    with pytest.raises(ProtocolError, match="--task classification"):
        prepare(task="regression", metric="accuracy")

"""What is loaded of a study: models that take raw inputs, and no code of strangers."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import archtrial
from archtrial import data, trainers, tuned
from archtrial.errors import ArmError, DataError, RecordsError, StudyError
from archtrial.records.store import frozen
from archtrial.records.table import Run

CASE = Path(__file__).parent / "cases" / "modules" / "03-loaded-model-differs"
TINY = {"configurations": 4, "effort": 1, "confirm_seeds": 2, "steps": 20}
NET = """
import {module}
from torch import nn
class Net(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.index = {drawn}
        self.out = nn.Linear(16, num_outputs)
    def forward(self, x):
        return self.out(x.flatten(1)[:, self.index])
"""


def study(folder, source, *challengers, **changes):
    protocol = archtrial.Protocol(
        data=str(source), baseline="linear", challengers=challengers, **TINY, **changes
    )
    made = archtrial.Study(protocol, folder)
    made.run()
    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copy(CASE / "net.py", folder / "net.py")
    arms = [f"f={folder}/net.py:Fourier", f"m={folder}/net.py:Modes"]
    return study(folder / "study", "digits", *arms)


def test_constants_drawn_while_building_come_back(finished):
    """They are neither parameters nor buffers: the run's own seed draws them again."""
    for arm in ("f", "m", "linear"):
        model = archtrial.load_tuned(finished.folder, arm)
        split = finished.trial.split
        outputs = model.module(torch.from_numpy(split.x_validation))
        right = float((outputs.argmax(1).numpy() == split.y_validation).mean())
        kept = json.loads((finished.folder / f"tuned/{arm}.json").read_text())
        with archtrial.records.store.Store(finished.folder, read_only=True) as store:
            scores = [
                run.validation
                for run in store.runs()
                if (run.arm, run.seed, run.stage) == (arm, kept["seed"], "confirm")
                and run.configuration == kept["configuration"]
            ]
        assert [right] == pytest.approx(scores)


@pytest.mark.parametrize(
    "returned",
    ["(x.real, x)", "{'hidden': x, 'logits': x.real}", "x.real.bfloat16()"],
    ids=["a tuple", "a dictionary", "in half precision"],
)
def test_what_trains_is_loaded(tmp_path, returned):
    """Whatever form its outputs have, and with complex weights."""
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__()\n"
        "        weight = torch.randn(64, num_outputs, dtype=torch.cfloat)\n"
        "        self.weight = torch.nn.Parameter(weight / 8)\n"
        "    def forward(self, x):\n"
        "        x = x.flatten(1).to(torch.cfloat) @ self.weight\n"
        f"        return {returned}\n"
    )
    made = study(tmp_path / "study", "digits", f"n={tmp_path}/net.py:Net")
    model = archtrial.load_tuned(made.folder, "n")
    assert model.module.weight.is_complex()
    logits = model(data.load("digits").inputs[:3])
    assert (logits.shape, logits.dtype) == ((3, 10), torch.float32)


class Lazy(torch.nn.Module):
    """Has layers without a shape, an average over batches and a constant of its own."""

    def __init__(self, num_outputs, width=4):
        super().__init__()
        self.index = torch.randperm(64)[:32]  # neither a parameter nor a buffer
        self.layers = torch.nn.Sequential(
            torch.nn.LazyLinear(width), torch.nn.LazyBatchNorm1d(), torch.nn.ReLU(),
            torch.nn.Dropout(0.5), torch.nn.LazyLinear(num_outputs),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x.flatten(1)[:, self.index])


def trained_alone(folder, architecture, **configuration):
    """Trains one run by itself; returns what made it and what it left."""
    protocol = archtrial.Protocol(
        data="digits", baseline=architecture, challengers=["mlp"], **TINY
    )
    made = archtrial.Study(protocol, folder).trial
    arm = protocol.baseline.name
    item = trainers.Item(
        arm, 3, 2, "confirm", {"learning_rate": 0.01, "dropout": 0.1, **configuration},
        keep_weights=True,
    )  # fmt: skip
    (done,) = made.trainer([item])
    seed = made.trainer.initial_seed(arm, *item.names)
    split = made.split
    return made.architectures[arm], data.inputs_of(split), item, seed, done, split


@pytest.mark.parametrize(
    ("architecture", "configuration"),
    [("cnn(depth=2)", {"width": 3}), (Lazy, {"width": 6})],
)
def test_a_run_is_restored_from_the_weights_that_it_left(
    tmp_path, architecture, configuration
):
    """With all that its code drew, whatever torch's own generator is at."""
    found, inputs, item, seed, done, split = trained_alone(
        tmp_path, architecture, **configuration
    )
    torch.manual_seed(5)
    before = torch.get_rng_state()
    module = tuned.restored(
        found, inputs, split.num_outputs, item.configuration, seed, done.weights,
        torch.from_numpy(split.x_train[:7]),
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.training
    lazy = torch.nn.modules.lazy.LazyModuleMixin
    assert not any(isinstance(part, lazy) for part in module.modules())
    with torch.no_grad():
        predicted = module(torch.from_numpy(split.x_test)).argmax(1).numpy()
    np.testing.assert_array_equal(predicted, done.sealed)
    assert len(set(predicted.tolist())) > 3  # it has learnt something to be the same in


def test_weights_of_another_configuration_are_refused(tmp_path):
    found, inputs, item, seed, done, split = trained_alone(tmp_path, "mlp(depth=1)")
    other = {**item.configuration, "width": 7}
    examples = torch.from_numpy(split.x_train[:2])
    for values, weights in ((other, done.weights), (item.configuration, b"no tensors")):
        with pytest.raises(
            ArmError, match=r"the weights of 'mlp' fit its architecture"
        ):
            tuned.restored(
                found, inputs, split.num_outputs, values, seed, weights, examples
            )
    with pytest.raises(ArmError, match="the weights of 'a member' fit"):
        tuned.restored(
            found, inputs, split.num_outputs, other, seed, done.weights, examples,
            name="a member",
        )  # fmt: skip


def test_it_takes_raw_inputs_and_names_classes(finished):
    raw = data.load("digits")
    model = archtrial.load_tuned(finished.folder, "linear")
    predicted = model.predict(raw.inputs)
    # As labels were given: whole numbers, which can be compared with them.
    assert predicted.dtype == np.int64
    assert (
        predicted == np.array(list(map(int, raw.classes)))[raw.targets]
    ).mean() > 0.7
    logits = model(torch.as_tensor(raw.inputs[:3]))
    assert logits.shape == (3, 10)
    assert list(model.predict(raw.inputs[:3])) == [
        int(raw.classes[place]) for place in logits.argmax(1)
    ]
    with pytest.raises(DataError, match="several examples"):
        model(raw.inputs[0][0])


def test_a_table_is_taken_as_it_stands(tmp_path):
    import pandas as pd

    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": draw.normal(50, 10, 300),
            "kind": draw.choice(["a", "b", "c"], 300),
            "empty": 7,
        }
    )
    table["price"] = 1000 + 20 * table["size"] + 300 * (table["kind"] == "b")
    table.loc[::17, "size"] = np.nan
    table.to_csv(tmp_path / "t.csv", index=False)
    made = study(tmp_path / "s", tmp_path / "t.csv", "mlp")
    model = archtrial.load_tuned(made.folder, "linear")
    rows = table.drop(columns="price")
    values = model.predict(rows)
    assert np.corrcoef(values, table["price"])[0, 1] > 0.8
    assert abs(values.mean() - table["price"].mean()) < 0.3 * table["price"].mean()
    prepared = model.preparation({name: list(rows[name]) for name in rows})
    assert torch.equal(prepared, model.preparation(rows))
    x = np.concatenate([prepared.numpy(), table["price"].to_numpy()[:, None]], axis=1)
    split = made.trial.split
    then = np.concatenate([split.x_train, split.y_train[:, None]], axis=1)
    # Row by row what the study trained on, in some order.
    both = [np.array(sorted(map(tuple, np.round(part, 4)))) for part in (x, then)]
    assert set(map(tuple, both[1])) <= set(map(tuple, both[0]))
    with pytest.raises(DataError, match="the column 'kind'"):
        model.predict(rows.drop(columns="kind"))


def test_a_model_that_does_not_predict_what_it_did_is_not_handed_out(tmp_path):
    """What was read from a file when it was built is another thing now."""
    place = tmp_path / "constants.json"
    place.write_text(json.dumps(list(range(20, 36))))
    drawn = f"json.loads(pathlib.Path('{place}').read_text())"
    (tmp_path / "net.py").write_text(NET.format(module="json, pathlib", drawn=drawn))
    made = study(tmp_path / "s", "digits", f"n={tmp_path}/net.py:Net", seed=3)
    assert archtrial.load_tuned(made.folder, "n").classes
    place.write_text(json.dumps(list(range(36, 52))))
    with pytest.raises(
        ArmError, match=r"does not predict what it did.*\n.*register_buf"
    ):
        archtrial.load_tuned(made.folder, "n")


def test_a_folder_of_the_last_release_still_loads(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "old")
    place = tmp_path / "old/tuned/f.json"
    kept = json.loads(place.read_text())
    first = ("architecture", "input_shape", "num_outputs", "options", "space")
    old = {name: kept[name] for name in (*first, "configuration", "seed")}
    place.write_text(json.dumps(old))
    with pytest.raises(RecordsError, match="belongs to the weights"):
        archtrial.load_tuned(tmp_path / "old", "f")
    weights = place.with_suffix(".safetensors")
    safetensors.torch.save_file(safetensors.torch.load_file(weights), weights)
    with pytest.warns(UserWarning, match="inputs must be prepared"):
        model = archtrial.load_tuned(tmp_path / "old", "f")
    prepared = torch.from_numpy(finished.trial.split.x_validation[:2])
    assert torch.equal(model(prepared), model.module(prepared))
    assert set(model.predict(prepared)) <= set(range(10))


# ------------------------------------------------------------------ code of strangers


@pytest.fixture
def stranger(finished, tmp_path):
    """Returns a function that changes what a copied folder names."""
    shutil.copytree(finished.folder, tmp_path / "theirs")

    def change(**changes):
        place = tmp_path / "theirs/tuned/f.json"
        kept = json.loads(place.read_text())
        place.write_text(json.dumps({**kept, **changes}))
        return tmp_path / "theirs"

    return change


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("subprocess:getoutput", {"cmd": "touch MARK"}),
        ("os:system", {"command": "touch MARK"}),
        ("builtins:exec", {"source": "open('MARK', 'w')"}),
        ("runpy:run_path", {"path_name": "evil.py"}),
        ("torch.hub:load", {"repo_or_dir": ".", "source": "local"}),
        ("evil.py:Net", {}),
        ("./theirs/../evil.py:Net", {}),
        ("theirs/evil.py:Net", {}),
        ("theirs/link.py:Net", {}),
        ("into.py:Net", {}),
        ("evil:Net", {}),
        ("theirs.evil:Net", {}),
        (f"{subprocess.__file__}:getoutput", {"cmd": "touch MARK"}),
        ("no\0thing.py:Net", {}),
    ],
)
def test_code_that_a_folder_names_does_not_run(
    stranger, finished, tmp_path, monkeypatch, spec, options
):
    monkeypatch.chdir(tmp_path)
    evil = "open('MARK', 'w').close()\nclass Net: ...\n"
    folder = stranger(
        architecture=spec, options=options, source=finished.trial.resolved["challengers"][0]["source"]
    )  # fmt: skip
    for place in ("evil.py", "theirs/evil.py"):
        Path(place).write_text(evil)
    Path("theirs/link.py").symlink_to(tmp_path / "evil.py")
    Path("into.py").symlink_to(tmp_path / "theirs/evil.py")
    with pytest.raises(StudyError) as caught:
        archtrial.load_tuned(folder, "f")
    assert spec.replace("\0", "\ufffd") in str(caught.value)
    assert "trust=True" in str(caught.value)
    assert not Path("MARK").exists()


def test_a_file_in_the_folder_runs_only_when_trusted(stranger, finished, tmp_path):
    """Its source is the same as what the folder keeps: a stranger wrote both."""
    theirs = tmp_path / "theirs" / "net.py"
    source = finished.trial.resolved["challengers"][0]["source"]
    folder = stranger(architecture=f"{theirs}:Fourier", source=source)
    theirs.write_text(source)
    with pytest.raises(StudyError, match="came with the folder"):
        archtrial.load_tuned(folder, "f")
    assert archtrial.load_tuned(folder, "f", trust=True).out.out_features == 10
    spec = f"{finished.folder.parent}/net.py:Fourier"
    assert archtrial.load_tuned(folder, "f", spec).classes


def test_a_file_that_imports_what_it_names_does_not_run(stranger, tmp_path):
    net = tmp_path / "mine.py"
    net.write_text("from subprocess import getoutput\n")
    folder = stranger(
        architecture=f"{net}:getoutput", source=net.read_text(), options={"cmd": "true"}
    )
    with pytest.raises(StudyError, match="does not define getoutput"):
        archtrial.load_tuned(folder, "f")


def test_a_changed_file_or_neighbour_does_not_run(stranger, tmp_path):
    (tmp_path / "beside.py").write_text("WIDTH = 3\n")
    net = tmp_path / "mine.py"
    net.write_text("from beside import WIDTH\nclass Net: ...\n")
    source = net.read_text() + "\n# ---- imported from beside it: beside\nWIDTH = 3\n"
    folder = stranger(architecture=f"{net}:Net", source=source)
    (tmp_path / "beside.py").write_text("WIDTH = 3\nimport os\n")
    with pytest.raises(StudyError, match="not what the study kept"):
        archtrial.load_tuned(folder, "f")


@pytest.mark.parametrize("changes", [{"architecture": 3}, {"options": 3}, {"input_shape": [None]}, {"preparation": {"x": 1}}, {"initial_seed": "x"}, {"initial_seed": -5}, {"classes": 5}, {"classes": ["a"]}, {"scale": float("inf")}, {"predictions": "abc"}, {"predictions": [10**6]}, {"predictions": [[1], [2, 3]]}, {"examples": None}, {"predictions": None}, {"preparation": None}, {"preparation": None, "examples": None, "predictions": None}])  # fmt: skip
def test_a_damaged_description_is_one_message(stranger, changes):
    with pytest.raises(RecordsError, match="damaged"):
        archtrial.load_tuned(stranger(**changes), "f")


def test_weights_are_never_unpickled(stranger, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "MARK",))

    folder = stranger()
    torch.save({"x": Bomb()}, folder / "tuned/f.safetensors")
    with pytest.raises(ArmError, match="fit its architecture"):
        archtrial.load_tuned(folder, "f")
    assert not (tmp_path / "MARK").exists()


def test_a_command_that_a_folder_keeps_is_shown_and_waits_for_trust(tmp_path):
    mark = tmp_path / "MARK"
    template = (
        f'{sys.executable} -c \'import json, sys; open("{mark}", "w");'
        ' print(json.dumps({{"validation": float(sys.argv[1]), "test": .5}}))\''
        " {learning_rate} {seed} {arm}"
    )
    protocol = archtrial.Protocol(
        data="own", baseline="a", challengers=["b"], configurations=4, effort=1,
        metric="accuracy",
    )  # fmt: skip
    archtrial.Study(protocol, tmp_path / "s", command=template).run()
    assert frozen(tmp_path / "s")[2]["command"] == template
    mark.unlink()
    code = "from archtrial.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "--study", tmp_path / "s"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "open(" in refused.stderr
    assert "--trust" in refused.stderr
    assert not mark.exists()
    again = subprocess.run(
        [*command, "--trust"], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "trusted: the command" in again.stderr
    for other in (["report", tmp_path / "s"], ["judge", tmp_path / "s"]):
        subprocess.run([sys.executable, "-c", code, *other], check=True, capture_output=True)  # fmt: skip
    assert not mark.exists()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("0", "1", "-12"), [0, 1, -12]),
        (("False", "True"), [False, True]),
        (("01", "02"), ["01", "02"]),
        (("1.5", "2"), ["1.5", "2"]),
        (("True", "no"), ["True", "no"]),
        (("9" * 30, "1"), ["9" * 30, "1"]),
    ],
)
def test_classes_are_as_labels_had_them(classes, expected):
    found = tuned._as_given(classes)
    assert found.tolist() == expected
    assert type(found.tolist()[0]) is type(expected[0])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_seed_that_is_kept_has_weights(sign):
    """A run that diverged is counted with a score, which may be the best, or none."""

    def ended(seed, score, diverged):
        return Run("a", 0, seed, "confirm", {}, validation=score, diverged=diverged)

    better, worse = (0.9, 0.1) if sign == 1 else (0.1, 0.9)
    for counted in (better, math.nan):
        runs = [ended(1, counted, True), ended(2, worse, False), ended(3, 0.5, False)]
        assert tuned.best(runs, sign).seed == 3
        assert tuned.best(runs[:1], sign).seed == 1

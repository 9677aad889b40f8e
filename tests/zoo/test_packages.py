"""Files as public code has them: in packages, beside others, with names of their own."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from archtrial.errors import ArmError
from archtrial.zoo import arms

CASE = Path(__file__).parents[1] / "cases" / "modules" / "14-relative-imports"
NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self, {parameters}):
        super().__init__()
        self.got = dict({got})
        self.layer = torch.nn.Linear(8, 1)
    def forward(self, x):
        return self.layer(x)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CASE / "mypkg", tmp_path / "mypkg")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("spec", ["mypkg/net.py:Net", "mypkg.net:Net"])
def test_a_file_of_a_package_is_a_member_of_it(here, spec):
    before = set(sys.modules), list(sys.path)
    found = arms.find(spec)
    assert found.build((1, 8, 8), 4, {}).l.out_features == 4
    assert "import Linear as L" in found.source
    assert (set(sys.modules), list(sys.path)) == before
    assert arms.find(found.lasting_spec).source == found.source


@pytest.mark.parametrize(
    ("files", "spec"),
    [
        # Nested, with a star, from above, absolute, and called like Python's own.
        ({"p/__init__.py": "", "p/q/__init__.py": "", "p/q/layers.py": "W = 7",
          "p/q/net.py": "from .layers import *\n"}, "p/q/net.py:make"),
        ({"p/__init__.py": "", "p/q/__init__.py": "", "p/layers.py": "W = 7",
          "p/q/net.py": "from ..layers import W\n"}, "p.q.net:make"),
        ({"p/__init__.py": "", "p/layers.py": "W = 7",
          "p/net.py": "from p.layers import W\n"}, "p/net.py:make"),
        ({"p/__init__.py": "", "p/layers.py": "W = 7",
          "p/net.py": "from layers import W\n"}, "p/net.py:make"),
        ({"p/__init__.py": "W = 7", "p/net.py": "from . import W\n"}, "p.net:make"),
        ({"p/__init__.py": "from .net import make", "p/net.py": "W = 7\n"}, "p:make"),
        ({"p/__init__.py": "", "p/queue.py": "W = 7",
          "p/net.py": "from .queue import W\nimport queue\nqueue.Queue\n"}, "p/net.py:make"),
        # Without __init__.py; in src; beside the current folder's modules.
        ({"p/layers.py": "W = 7", "p/net.py": "from .layers import W\n"}, "p/net.py:make"),
        ({"p/layers.py": "W = 7", "p/net.py": "from p.layers import W\n"}, "p.net:make"),
        ({"src/p/__init__.py": "", "src/p/layers.py": "W = 7",
          "src/p/net.py": "from p.layers import W\n"}, "p.net:make"),
        ({"src/p/__init__.py": "", "src/p/layers.py": "W = 7",
          "src/p/net.py": "from .layers import W\n"}, "src/p/net.py:make"),
        ({"shared.py": "W = 7", "models/net.py": "from shared import W\n"}, "models/net.py:make"),
        ({"net.py": "W = 7\n"}, "net:make"),
    ],
)  # fmt: skip
def test_layouts(tmp_path, monkeypatch, files, spec):
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        made = "\ndef make(num_outputs):\n    import torch\n"
        made += "    return torch.nn.Linear(W, num_outputs)\n"
        write(tmp_path / name, text + made if name.endswith("net.py") else text)
    before = set(sys.modules)
    assert arms.find(spec).build((7,), 2, {}).in_features == 7
    left = set(sys.modules) - before
    assert all(name.startswith("archtrial_user_") for name in left)


def test_two_packages_of_one_name_stay_apart(tmp_path):
    for version in (1, 2):
        write(tmp_path / f"v{version}/p/__init__.py", "")
        write(tmp_path / f"v{version}/p/layers.py", f"W = {version}")
        text = "from .layers import W\ndef make(num_outputs):\n    import torch\n"
        text += "    from .layers import W as late\n"
        text += "    return torch.nn.Linear(W * late, num_outputs)\n"
        write(tmp_path / f"v{version}/p/net.py", text)
    first, second = (arms.find(f"{tmp_path}/v{v}/p/net.py:make") for v in (1, 2))
    assert first.build((1,), 1, {}).in_features == 1
    assert second.build((1,), 1, {}).in_features == 4
    assert first.build((1,), 1, {}).in_features == 1
    assert first.source != second.source


def test_what_is_wrong_is_said_and_nothing_points_in_a_circle(here):
    write(here / "mypkg/bad.py", "from .absent import X\n")
    for spec in ("mypkg.bad:Net", "mypkg/bad.py:Net"):
        with pytest.raises(ArmError) as caught:
            arms.find(spec)
        assert "No module named 'mypkg.absent'" in str(caught.value)
        assert "Write" not in str(caught.value)
    with pytest.raises(ArmError, match=r"no module .mypkgs\.net., neither installed"):
        arms.find("mypkgs.net:Net")
    with pytest.raises(ArmError, match=r"net\.py has no 'Nett'; it has Net\n.*'Net'\?"):
        arms.find("mypkg/net.py:Nett")
    with pytest.raises(ArmError, match=r"there is no file mypkg/nett\.py"):
        arms.find("mypkg/nett.py:Net")


def built(tmp_path, parameters, shape, outputs, options=None):
    names = re.findall(r"[A-Za-z_]\w*", parameters)
    got = ", ".join(f"{name}={name}" for name in names)
    write(tmp_path / "n.py", NET.format(parameters=parameters, got=got))
    return arms.find(f"{tmp_path}/n.py:Net", options).build(shape, outputs, {}).got


@pytest.mark.parametrize(
    ("parameters", "shape", "got"),
    [
        ("num_classes=10, in_channels=3", (1, 8, 8), {"num_classes": 4, "in_channels": 1}),
        ("n_classes, in_chans", (3, 8, 9), {"n_classes": 4, "in_chans": 3}),
        ("image_size, num_classes=1000", (3, 8, 8), {"image_size": 8, "num_classes": 4}),
        ("img_size=(224, 224)", (3, 8, 9), {"img_size": (8, 9)}),
        ("in_features, out_features", (8,), {"in_features": 8, "out_features": 4}),
        ("input_dim, hidden=3, output_dim=2", (8,), {"input_dim": 8, "hidden": 3, "output_dim": 4}),
        ("c_in, c_out, seq_len", (2, 50), {"c_in": 2, "c_out": 4, "seq_len": 50}),
        # A name with a default that may be a width stays what its author made it.
        ("num_outputs, channels=64, num_features=5", (3, 8, 8),
         {"num_outputs": 4, "channels": 64, "num_features": 5}),
        ("num_classes, out_dim=32", (8,), {"num_classes": 4, "out_dim": 32}),
        ("num_classes, input_size=28", (3, 8), {"num_classes": 4, "input_size": 28}),
    ],
)  # fmt: skip
def test_public_names_are_told_what_the_data_have(tmp_path, parameters, shape, got):
    assert built(tmp_path, parameters, shape, 4) == got


@pytest.mark.parametrize(
    ("parameters", "shape", "ways"),
    [
        ("num_classes, input_size", (2, 50), {"{channels}": 2, "{length}": 50, "{features}": 100}),
        ("num_classes, img_size", (3, 8, 9), {"{height}": 8, "{width}": 9}),
        ("num_classes, channels", (3, 8, 8), {"{channels}": 3}),
        ("num_classes, out_features", (3,), {"{num_outputs}": 4}),
    ],
)  # fmt: skip
def test_what_may_mean_two_things_is_a_question(tmp_path, parameters, shape, ways):
    name = parameters.rpartition(" ")[2]
    with pytest.raises(ArmError) as caught:
        built(tmp_path, parameters, shape, 4)
    assert repr(name) in str(caught.value)
    for placeholder, value in ways.items():
        # What it says to type works.
        assert f"({name}={placeholder}) for {value}" in str(caught.value)
        got = built(tmp_path, parameters, shape, 4, {name: placeholder})
        assert got[name] == value


def test_options_outrank_the_data_and_lists_come_as_they_are_taken(tmp_path):
    options = {"num_classes": 7, "depths": [1, 2], "kernel": [3, "{channels}"]}
    parameters = "num_classes=10, depths=[3], kernel=(1, 1)"
    assert built(tmp_path, parameters, (2, 8), 4, options) == {
        "num_classes": 7, "depths": [1, 2], "kernel": (3, 2),
    }  # fmt: skip
    with pytest.raises(
        ArmError, match=r"no \{height\}\nThey have \{num_outputs\} \(4\)"
    ):
        built(tmp_path, "num_classes", (2, 8), 4, {"num_classes": "{height}"})


def test_all_parameters_that_lack_a_value_are_listed(tmp_path):
    with pytest.raises(ArmError) as caught:
        built(tmp_path, "num_classes, vocab_size, heads", (8,), 4)
    assert "'vocab_size' and 'heads' have none" in str(caught.value)
    assert "Net(vocab_size=..., heads=...)" in str(caught.value)


def test_a_module_is_found_in_a_process_of_its_own(here):
    import pickle
    import subprocess

    found = arms.find("mypkg.net:Net")
    code = (
        "import pickle, sys\n"
        "arm = pickle.load(open('arm.pickle', 'rb'))\n"
        "sys.exit(arm.build((1, 8, 8), 3, {}).l.out_features)"
    )
    (here / "arm.pickle").write_bytes(pickle.dumps(found))
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=here)
    assert done.returncode == 3
    assert isinstance(found.build((1, 8, 8), 3, {}), torch.nn.Module)

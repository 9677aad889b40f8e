"""Finding, building and trying anybody's architecture."""

import functools
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from archtrial import metrics, zoo
from archtrial.errors import ArmError, ProtocolError, StudyError
from archtrial.protocol import Recipe
from archtrial.space import Choice, Integer, Real
from archtrial.training import rehearsal, run
from archtrial.zoo import arms

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        space = {"width": [8, 16]}

        def __init__(self, input_shape, num_outputs, width=8, skip=False):
            super().__init__()
            self.width, self.skip = width, skip
            self.first = nn.Linear(input_shape[0], width)
            self.drop = nn.Dropout(0.1)
            self.last = nn.Linear(width, num_outputs)

        def forward(self, x):
            return self.last(self.drop(torch.relu(self.first(x))))

    def make(num_outputs, *, hidden):
        return nn.Sequential(nn.Linear(40, hidden), nn.Linear(hidden, num_outputs))
"""


@pytest.fixture
def write(tmp_path):
    def _write(text, name="net.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    return _write


def check(architecture, values=None, shape=(40,), outputs=10, kind="sequence"):
    """Rehearses an architecture, as a study does before its first run."""
    arms.check_kind(architecture, kind)
    values = dict(values or {})
    hyperparameters = {
        name: values.pop(name)
        for name in ("learning_rate", "dropout")
        if name in values and name not in architecture.accepts
    }
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    task = "regression" if outputs == 1 else "classification"
    y = np.arange(8) / 7 if outputs == 1 else np.arange(8) % outputs
    problem = run.Problem(
        x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x, task=task,
        num_outputs=outputs, metric=metrics.default(task), recipe=Recipe(), steps=4,
        batch_size=2,
    )  # fmt: skip
    build = functools.partial(architecture.build, shape, outputs, values)
    job = run.Job(build, hyperparameters, 1, 1, 1)
    return rehearsal.rehearse(architecture.spec, problem, {"": job}, architecture.place)


def message(call, *args, **keywords):
    with pytest.raises(ArmError) as caught:
        call(*args, **keywords)
    return str(caught.value)


# -- the zoo --------------------------------------------------------------------


def test_zoo_arm_has_the_zoos_space_and_source():
    arm = arms.find("cnn")
    assert arm.spec == "cnn"
    assert arm.space == zoo.get("cnn").space
    assert "class _Convolution" in arm.source
    assert arm.accepts == set(zoo.get("cnn").options)


def test_fixed_option_is_not_searched_and_reaches_the_module():
    arm = arms.find("mlp", {"width": 7})
    assert "width" not in arm.space
    assert "width" not in arm.accepts
    assert "depth" in arm.space
    module = arm.build((40,), 3, {"depth": 4, "learning_rate": 0.1, "dropout": 0.5})
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [7, 7, 7, 7, 3]
    drops = [m.p for m in module.modules() if isinstance(m, nn.Dropout)]
    assert drops == [0.5] * 4


def test_declared_space_takes_the_place_of_the_zoos():
    arm = arms.find(
        "cnn", space={"width": [4, 8], "learning_rate": {"low": 1, "high": 2}}
    )
    assert arm.space == {"width": Choice((4, 8)), "learning_rate": Real(1.0, 2.0)}
    assert arms.find("cnn", space={}).space == {}


def test_function_of_the_zoo_is_its_entry():
    assert arms.find(zoo.gru) == arms.find("gru")


def published(name):
    entry = zoo.get(name)
    return (entry.family if entry.variant is None else entry.variant).size


# Published sizes of many millions of parameters are counted (test_families.py); what
# they compute is what their small siblings compute.
SMALL = [name for name in zoo.entries() if published(name).parameters < 2e6]


@pytest.mark.parametrize("name", SMALL)
def test_every_zoo_arm_passes_the_check(name):
    arm, kinds = arms.find(name), zoo.get(name).kinds
    if "sequence" in kinds:
        shape, kind = (40,), "sequence"
    elif "image" in kinds:
        shape, kind = (3, 32, 32), "image"
    else:
        shape, kind = published(name).shape, kinds[0]
    for quantile in (0.0, 0.5, 1.0):
        values = {key: d.value(quantile) for key, d in arm.space.items()}
        values |= {"learning_rate": 0.1}
        seen = check(arm, values, shape=shape, kind=kind)
        assert seen == rehearsal.Rehearsed((), None)


def test_a_sequence_is_refused_by_what_needs_images():
    said = message(check, arms.find("vanilla_cnn"))
    assert said.startswith("vanilla_cnn needs images: a sequence")
    named = said.partition("Take ")[2].removesuffix(".").split(" or ")
    assert "cnn" in named
    families = zoo.families().items()
    assert named == [name for name, other in families if "sequence" in other.kinds]


@pytest.mark.parametrize("name", ["cnn", "gru", "lstm", "rnn"])
def test_table_is_refused_by_what_needs_an_order(name):
    said = message(check, arms.find(name), kind="table")
    assert said.startswith(f"{name} needs inputs with an order")
    assert "a table" in said
    assert "linear or mlp" in said
    check(arms.find(name), kind="array")


def test_shape_that_the_zoo_refuses_is_said_in_its_words():
    said = message(check, arms.find("cnn"), shape=(2,))
    assert said.startswith("cnn needs sequences")


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_table_is_taken_by_what_needs_no_order(name):
    check(arms.find(name), kind="table")


# -- a user's file --------------------------------------------------------------


def test_file_is_found_with_its_own_space(write):
    arm = arms.find(write(NET) + ":Net", {"skip": True})
    assert arm.space == {"width": Choice((8, 16))}
    assert arm.source == textwrap.dedent(NET)
    assert arm.accepts == {"width"}
    module = arm.build((40,), 10, {"width": 16})
    assert (module.width, module.skip) == (16, True)
    check(arm, {"width": 8, "learning_rate": 0.1, "dropout": 0.3})


def test_function_is_called_with_what_its_signature_has(write):
    path = write(NET) + ":make"
    arm = arms.find(path, space={"hidden": {"low": 2, "high": 9, "integer": True}})
    assert arm.space == {"hidden": Integer(2, 9)}
    assert arm.build((40,), 10, {"hidden": 5})[0].out_features == 5
    said = message(arms.find(path).build, (40,), 10, {})
    assert "'hidden' has none" in said


def test_kwargs_take_what_is_declared_and_nothing_else(write):
    path = write("""
        from torch import nn
        seen = []
        def make(num_outputs, /, **rest):
            seen.append((num_outputs, rest))
            return nn.Linear(40, num_outputs)
    """)
    arm = arms.find(path + ":make", {"act": "relu"}, {"width": [1, 2]})
    arm.build((40,), 10, {"width": 2, "learning_rate": 0.1, "dropout": 0.1})
    assert arm._found().file.module.seen == [(10, {"width": 2, "act": "relu"})]


def test_momentum_of_a_signature_is_not_trainings(write):
    path = write("""
        from torch import nn
        def make(num_outputs, momentum=0.1):
            return nn.Sequential(nn.Linear(40, num_outputs),
                                 nn.BatchNorm1d(num_outputs, momentum=momentum))
    """)
    searched = arms.find(path + ":make", space={"momentum": [0.8, 0.9]})
    assert searched.accepts == frozenset()
    assert searched.build((40,), 10, {"momentum": 0.8})[1].momentum == 0.1
    fixed = arms.find(path + ":make", {"momentum": 0.5})
    assert fixed.build((40,), 10, {"momentum": 0.8})[1].momentum == 0.5


def test_loading_leaves_path_and_modules_as_they_were(write):
    write("WIDTH = 5", "blocks.py")
    write("LATE = 6", "late.py")
    path = write("""
        import blocks
        from torch import nn
        def make(num_outputs):
            import late
            return nn.Linear(40, num_outputs)
    """)
    before, folders = set(sys.modules), list(sys.path)
    arm = arms.find(path + ":make")
    arm.build((40,), 10, {})
    arm.build((40,), 10, {})
    assert sys.path == folders
    added = set(sys.modules) - before
    assert len(added) == 1
    assert added.pop().startswith("archtrial_user_net_")
    assert "WIDTH = 5" in arm.source


def test_import_inside_forward_is_found_out_before_the_study(write):
    write("SHIFT = 1", "blocks.py")
    path = write("""
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(40, 10)
            def forward(self, x):
                import blocks
                return self.linear(x) + blocks.SHIFT
    """)
    said = message(check, arms.find(path + ":Net"))
    assert "No module named 'blocks'" in said
    assert "line 8" in said


def test_two_versions_each_have_their_own_neighbours(write):
    net = """
        import blocks
        from torch import nn
        def make(num_outputs):
            import blocks as again
            assert again is blocks
            return nn.Sequential(nn.Linear(40, blocks.WIDTH),
                                 nn.Linear(blocks.WIDTH, num_outputs))
    """
    write("WIDTH = 5", "old/blocks.py")
    write("WIDTH = 9", "new/blocks/__init__.py")
    old = arms.find(write(net, "old/net.py") + ":make")
    new = arms.find(write(net, "new/net.py") + ":make")
    assert old.source != new.source
    for arm, width in [(old, 5), (new, 9), (old, 5)]:
        assert arm.build((40,), 10, {})[0].out_features == width


def test_module_of_the_same_name_steps_aside_and_comes_back(write, monkeypatch):
    elsewhere = type(sys)("blocks")
    monkeypatch.setitem(sys.modules, "blocks", elsewhere)
    write("WIDTH = 5", "blocks.py")
    path = write("""
        from blocks import WIDTH
        from torch import nn
        def make(num_outputs):
            return nn.Linear(40, num_outputs)
    """)
    arms.find(path + ":make")
    assert sys.modules["blocks"] is elsewhere


def test_neighbour_does_not_shadow_the_standard_library(write):
    write("raise RuntimeError('shadowed')", "json.py")
    path = write("import json\n" + textwrap.dedent(NET))
    assert arms.find(path + ":Net").space == {"width": Choice((8, 16))}


def test_changed_file_is_seen_by_find_and_refused_by_build(write):
    first = arms.find(write(NET) + ":Net")
    path = write(NET.replace('"width": [8, 16]', '"width": [4]'))
    second = arms.find(path + ":Net")
    assert first.space != second.space
    assert first.build((40,), 10, {"width": 8}).width == 8  # still loaded
    unpickled = pickle.loads(pickle.dumps(first))
    arms._loaded.clear()
    with pytest.raises(StudyError, match="has changed since"):
        unpickled.build((40,), 10, {"width": 8})
    assert second.build((40,), 10, {"width": 4}).width == 4
    Path(path).unlink()
    with pytest.raises(StudyError, match="there is no file"):
        unpickled.build((40,), 10, {"width": 8})


def test_pickled_architecture_is_found_again_in_another_process(write):
    write("WIDTH = 5", "blocks.py")
    path = write("import blocks\n" + textwrap.dedent(NET))
    pickled = pickle.dumps(arms.find(path + ":Net", {"skip": True}))
    code = """
import pickle, sys, torch
arm = pickle.loads(sys.stdin.buffer.read())
torch.manual_seed(3)
print(arm.build((40,), 10, {"width": 16})(torch.ones(2, 40)).shape, arm.accepts)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickled,
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert b"torch.Size([2, 10]) frozenset({'width'})" in done.stdout


def test_dataclass_module_in_a_file_works(write):
    # dataclasses look their class's module up by name.
    path = write("""
        from __future__ import annotations
        import dataclasses
        from torch import nn
        @dataclasses.dataclass
        class Size:
            width: int = 3
        def make(num_outputs):
            return nn.Linear(40, num_outputs, Size().width > 0)
    """)
    check(arms.find(path + ":make"))


# -- modules and objects --------------------------------------------------------


def test_installed_module_is_found(tmp_path, monkeypatch):
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    (tmp_path / "some_package" / "nets.py").write_text(textwrap.dedent(NET))
    monkeypatch.syspath_prepend(str(tmp_path))
    arm = arms.find("some_package.nets:Net")
    assert arm.source == textwrap.dedent(NET)
    check(arm, {"width": 8})
    assert "mean 'Net'" in message(arms.find, "some_package.nets:Nett")


def test_compiled_or_plain_torch_class_can_be_named():
    arm = arms.find("torch.nn:Bilinear", {"in1_features": 1})
    assert "class Bilinear" in arm.source
    assert "'in2_features' has none" in message(arm.build, (40,), 10, {})
    linear = arms.find("torch.nn:Linear").build((40,), 10, {})
    assert (linear.in_features, linear.out_features) == (40, 10)


def test_object_from_python_is_taken_as_it_is():
    def plain(num_outputs, width=3):
        return nn.Sequential(nn.Linear(40, width), nn.Linear(width, num_outputs))

    arm = arms.find(plain, space={"width": [4]})
    assert arm.spec.endswith("test_object_from_python_is_taken_as_it_is.<locals>.plain")
    assert "def plain" in arm.source
    check(arm, {"width": 4})
    check(arms.find(functools.partial(plain, width=6)))
    check(arms.find(lambda num_outputs: nn.Linear(40, num_outputs)))
    assert "6" in arms.find(functools.partial(plain, width=6)).source.partition("\n")[0]


def test_source_of_a_console_is_the_functions_own_or_says_so():
    space = {"__name__": "__main__"}
    exec("def typed(num_outputs): pass", space)
    assert arms.find(space["typed"]).source == "# __main__:typed: no source at hand\n"


# -- mistakes -------------------------------------------------------------------


def test_mistakes_of_a_spec(write, tmp_path):
    path = write(NET)
    assert f"Write {path}:Name" in message(arms.find, path)
    assert "mean 'net.py'" in message(arms.find, str(tmp_path / "nett.py") + ":Net")
    said = message(arms.find, path + ":Nett")
    assert "Did you mean 'Net'" in said
    assert "Net, make" in said
    said = message(arms.find, "no.such.module:Net")
    assert "ModuleNotFoundError: No module named 'no'" in said
    assert "neither installed nor below the current folder" in said
    assert "module.py" not in said  # where there is no such file
    assert "package.module:Name" in message(arms.find, path + ":")
    assert "Did you mean 'cnn'" in message(arms.find, "cnnn")
    assert "Did you mean 'tcn'" in message(arms.find, "cn")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import torch\ndef f(:\n", ["SyntaxError", "net.py, line 2"]),
        ("import no_such_thing", ["ModuleNotFoundError", "net.py, line 1"]),
        ("\n\n1 / 0", ["ZeroDivisionError: division by zero", "net.py, line 3"]),
        ("import sys\nsys.exit(3)", ["SystemExit: 3", "net.py, line 2"]),
        ("import broken", ["NameError", "broken.py, line 1"]),
    ],
)
def test_file_that_cannot_be_run(write, text, words):
    write("nonsense", "broken.py")
    before = set(sys.modules)
    said = message(arms.find, write(text) + ":Net")
    assert all(word in said for word in words), said
    assert set(sys.modules) == before


def test_file_that_is_no_text(tmp_path):
    (tmp_path / "net.py").write_bytes(b"\xff\xfe\x00")
    assert "UnicodeDecodeError" in message(arms.find, str(tmp_path / "net.py") + ":Net")


def test_things_that_are_no_architecture(write):
    path = write("NET = 3\nspace = 4\ndef make(): return 5\nclass Odd: pass")
    assert "an object of type int" in message(arms.find, path + ":NET")
    assert "an object of type int" in message(
        arms.find(path + ":make").build, (4,), 2, {}
    )
    assert "type Odd" in message(arms.find(path + ":Odd").build, (4,), 2, {})
    said = message(arms.find, nn.Linear(2, 3))
    assert "every run starts from fresh weights" in said
    assert "type Linear" in said


def test_a_function_that_returns_a_class_is_told_so():
    said = message(arms.find(lambda: nn.Linear).build, (4,), 2, {})
    assert "returned the class Linear" in said


def test_misspelled_options_and_dimensions(write):
    path = write(NET) + ":Net"
    assert "no option 'widht'" in message(arms.find, path, {"widht": 3})
    assert "mean 'width'" in message(arms.find, path, {"widht": 3})
    said = message(arms.find, path, {"learning_rate": 0.1})
    assert "set it in the recipe" in said
    said = message(arms.find, path, space={"learnign_rate": [0.1]})
    assert "mean 'learning_rate'" in said
    said = message(arms.find(path).build, (40,), 10, {"skpi": True})
    assert "mean 'skip'" in said
    said = message(arms.find, path, {"width": 3}, {"width": [1, 2]})
    assert "either fixed or searched" in said
    assert "input_shape" not in message(arms.find, path, {"input_shap": 3})


@pytest.mark.parametrize(
    "space", [{"depth": [2, 0]}, {"width": {"low": 0.5, "high": 3.0}}, {"norm": ["x"]}]
)
def test_impossible_values_of_the_zoo_are_found_before_the_study(space):
    assert "of cnn is" in message(arms.find, "cnn", space=space)


def test_impossible_space(write):
    path = write(NET)
    with pytest.raises(ProtocolError, match=r"'width'.*from low to high"):
        arms.find(path + ":Net", space={"width": {"low": 3, "high": 2}})
    odd = write("def make(): pass\nmake.space = 3", "odd.py")
    assert "attribute space" in message(arms.find, odd + ":make")


def test_dropout_needs_something_that_drops_out():
    check(
        arms.find(lambda: nn.Sequential(nn.Linear(40, 10), nn.Dropout())),
        {"dropout": 0.1},
    )
    said = message(check, arms.find(lambda: nn.Linear(40, 10)), {"dropout": 0.1})
    assert "has no nn.Dropout" in said


def test_errors_of_the_users_code_name_its_line(write):
    path = write("""
        import torch
        from torch import nn
        class Early(nn.Module):
            def __init__(self):
                super().__init__()
                raise KeyError("early")
        class Late(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(3, 4)
            def forward(self, x):
                return self.linear(x)
        def bare():
            return nn.Sequential(nn.Linear(3, 4))
        def silent():
            raise NotImplementedError
    """)
    said = message(check, arms.find(path + ":Early"))
    assert "KeyError: 'early'" in said
    assert f"({path}, line 7)" in said
    said = message(check, arms.find(path + ":Late"))
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in said
    assert f"({path}, line 13)" in said
    assert "trained on a batch of shape (2, 40)" in said
    said = message(check, arms.find(path + ":bare"))
    assert f"({path}, line 14)" in said
    assert "NotImplementedError (" in message(check, arms.find(path + ":silent"))


class Returns(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what
        self.linear = nn.Linear(40, 10)

    def forward(self, x):
        return self.what(self.linear(x))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            lambda y: y[:, :9],
            ["(batch, 10) outputs", "(2, 9) for", "10 outputs; it is told"],
        ),
        (lambda y: y[0], ["(10,) for a batch of 2"]),
        (lambda y: (y[0], y, y), ["tuple of (10,), (2, 10), (2, 10)"]),
        (lambda y: None, ["type NoneType"]),
        (lambda y: y.detach(), ["no gradient reaches any", ".detach()"]),
        (lambda y: y.argmax(1, keepdim=True).expand(2, 10), ["torch.int64"]),
    ],
)
def test_wrong_output(what, words):
    said = message(check, arms.find(lambda: Returns(what)))
    assert all(word in said for word in words), said


def test_one_output_is_a_column():
    said = message(check, arms.find(lambda: nn.Linear(1, 2)), shape=(1,), outputs=1)
    assert "(batch, 1) outputs: (2, 2)" in said
    assert "1 output;" in said


def test_check_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    check(arms.find("mlp"), {"dropout": 0.5})
    assert torch.equal(torch.get_rng_state(), state)

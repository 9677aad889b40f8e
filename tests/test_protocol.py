import json
import tomllib

import pytest

from archtrial import protocol as room
from archtrial.errors import ProtocolError, UserError
from archtrial.protocol import Arm, Protocol
from archtrial.space import Choice, Real

LEAST = {"data": "mnist1d", "baseline": "mlp", "challengers": ["cnn"]}


def test_only_data_and_arms_have_no_default():
    declared = Protocol(**LEAST)
    assert (declared.configurations, declared.effort, declared.confirm_seeds) == (
        32,
        4,
        3,
    )
    assert declared.max_multiple == 4
    assert [arm.name for arm in declared.arms] == ["mlp", "cnn"]
    for name in LEAST:
        with pytest.raises(ProtocolError, match=name):
            Protocol(**{key: value for key, value in LEAST.items() if key != name})


def test_toml_and_python_have_the_same_fields(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(
        """
        data = "digits"
        baseline = "mlp(depth=3)"
        margin = 0.01
        [[challengers]]
        name = "tweak"
        architecture = "cnn"
        options = { norm = "batch" }
        space = { width = [8, 16] }
        [space]
        learning_rate = { low = 1e-3, high = 1e-1, log = true }
        [recipe]
        optimizer = "sgd"
        [splits]
        test = 0.3
        """
    )
    assert room.load(path) == Protocol(
        data="digits",
        baseline=Arm(name="mlp(depth=3)", architecture="mlp", options={"depth": 3}),
        challengers=[
            Arm(
                name="tweak",
                architecture="cnn",
                options={"norm": "batch"},
                space={"width": Choice((8, 16))},
            )
        ],
        margin=0.01,
        space={"learning_rate": Real(1e-3, 1e-1, log=True)},
        recipe=room.Recipe(optimizer="sgd"),
        splits=room.Splits(test=0.3),
    )


def test_a_protocol_is_frozen():
    with pytest.raises(Exception, match="frozen"):
        Protocol(**LEAST).effort = 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"efort": 4}, ["'efort'", "Did you mean 'effort'?"]),
        ({"xyzzy": 4}, ["'xyzzy'", "The keys there are"]),
        ({"recipe": {"optimiser": "adam"}}, ["recipe.optimiser", "optimizer"]),
        ({"recipe": {"optimizer": "lion"}}, ["recipe.optimizer", '"lion"']),
        ({"baseline": {"architecture": "mlp", "sapce": {}}}, ["baseline.sapce"]),
        (
            {"challengers": [{"architecture": "mlp", "sapce": {}}]},
            ["challengers.0.sapce", "'space'"],
        ),
        ({"effort": 9}, ["k <= n / 4", "effort = 9", "configurations = 36"]),
        ({"effort": 1, "configurations": 3}, ["k <= n / 4", "configurations = 4"]),
        ({"effort": 0}, ["effort"]),
        ({"effort": 2.5}, ["effort", "2.5"]),
        ({"effort": "4"}, ["effort", '"4"']),
        ({"margin": 0}, ["margin", "greater than 0"]),
        ({"margin": -0.1}, ["margin"]),
        ({"alpha": 1.0}, ["alpha"]),
        ({"alpha": 0.5}, ["alpha"]),
        ({"max_multiple": float("inf")}, ["max_multiple"]),
        (
            {"baseline": {"architecture": "mlp", "options": {"x": float("nan")}}},
            ["x = nan"],
        ),
        ({"alpha": float("nan")}, ["alpha"]),
        ({"steps": 10, "epochs": 2.0}, ["not in both", "steps = 10"]),
        ({"steps": 0}, ["steps"]),
        ({"top": 33}, ["top = 33"]),
        ({"challengers": []}, ["at least one challenger"]),
        ({"challengers": ["mlp"]}, ["name of its own", "first=mlp"]),
        ({"baseline": "a=mlp", "challengers": ["a=cnn"]}, ["'a' twice"]),
        ({"baseline": " =mlp"}, ["name"]),
        ({"baseline": {"name": "x" * 61, "architecture": "mlp"}}, ["60 printable"]),
        ({"baseline": 3}, ["baseline"]),
        ({"task": "clustering"}, ["task", "'classification' or 'regression'"]),
        ({"splits": {"validation": 0.6, "test": 0.5}}, ["rows to train on"]),
        ({"splits": {"kind": "magic"}}, ["splits.kind"]),
        ({"space": {"width": {"low": 3, "high": 1}}}, ["'width'", "Swap them"]),
        ({"baseline": {"architecture": "mlp", "space": {"w": 3}}}, ["'w'"]),
        ({"seed": -1}, ["seed"]),
        ({"estimand": "luck"}, ["estimand"]),
        ({"max_multiple": 0.5}, ["max_multiple"]),
        ({"data": 3}, ["data"]),
    ],
)
def test_mistakes_name_the_key_the_value_and_the_way_out(changes, says):
    with pytest.raises(UserError) as caught:
        Protocol(**{**LEAST, **changes})
    for part in says:
        assert part in str(caught.value)


def test_a_file_cut_off_in_the_middle_is_one_message(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text('data = "digits"\nbaseline = "ml')
    with pytest.raises(ProtocolError, match="not complete TOML") as caught:
        room.load(path)
    assert "at end of document" in str(caught.value)


def test_no_such_file_and_no_text(tmp_path):
    with pytest.raises(ProtocolError, match="no such protocol file"):
        room.load(tmp_path / "nope.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProtocolError, match="cannot be read as text"):
        room.load(tmp_path / "binary.toml")
    with pytest.raises(ProtocolError, match="cannot be read as text"):
        room.load(tmp_path)


def test_paths_in_a_file_start_at_its_folder(tmp_path):
    (tmp_path / "my.npz").touch()
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "my.npz"\nbaseline = "a=net.py:Net(skip=true, act=\'relu\')"\n'
        'challengers = [{ architecture = "net.py:Other" }, "package.module:Net"]\n'
    )
    declared = room.load(path)
    assert declared.data == str(tmp_path / "my.npz")
    assert declared.baseline == Arm(
        name="a",
        architecture=f"{tmp_path / 'net.py'}:Net",
        options={"skip": True, "act": "relu"},
    )
    assert declared.challengers[0].architecture == f"{tmp_path / 'net.py'}:Other"
    assert declared.challengers[1].architecture == "package.module:Net"
    # A single challenger needs no list, and a built-in data set is no path.
    path.write_text('data = "digits"\nbaseline = "mlp"\nchallengers = "net.py:Net"\n')
    declared = room.load(path)
    assert declared.data == "digits"
    assert declared.challengers[0].architecture == f"{tmp_path / 'net.py'}:Net"


def test_what_is_wrong_in_a_file_is_said_before_its_paths_are(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text('data = 3\nbaseline = "mlp"\nchallengers = 4\n')
    with pytest.raises(ProtocolError, match="data"):
        room.load(path)
    path.write_text("effort = 4\n")
    with pytest.raises(ProtocolError, match="declares 'data'"):
        room.load(path)


def test_classes_and_functions_can_be_arms():
    class Net:
        pass

    declared = Protocol(data="digits", baseline=Net, challengers=[Arm(
        name="b", architecture=Net, options={"skip": True})])  # fmt: skip
    assert declared.baseline.name == "Net"
    assert declared.describe() is None
    assert declared.baseline.describe()["architecture"] == "Net (given in Python)"


def test_arms_are_named_after_what_they_are():
    declared = Protocol(
        data="digits", baseline="mlp", challengers=["net.py:Net", "mlp(norm='layer')"]
    )
    assert [arm.name for arm in declared.arms] == ["mlp", "Net", "mlp(norm=layer)"]


def test_a_table_may_write_its_options_in_either_place():
    declared = Protocol(
        data="digits",
        baseline={"architecture": "a=mlp(depth=3, width=8)", "options": {"width": 9}},
        challengers=[{"architecture": "mlp(depth=3)", "name": "b"}],
    )
    assert declared.baseline == Arm(
        name="a", architecture="mlp", options={"depth": 3, "width": 9}
    )
    assert declared.challengers[0].name == "b"


def test_paths_are_taken_as_well(tmp_path):
    assert Protocol(**{**LEAST, "data": tmp_path / "x.npz"}).data.endswith("x.npz")


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ProtocolError) as caught:
        Protocol(**{**LEAST, "effort": "x" * 500})
    assert len(str(caught.value)) < 200


def test_what_is_described_can_be_declared_again():
    declared = Protocol(
        data="digits",
        baseline={"architecture": "mlp", "space": {"width": [8, 16]}},
        challengers=["cnn(residual=true)"],
        space={"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
        recipe={"optimizer": "sgd"},
        epochs=2.5,
    )
    again = Protocol(**json.loads(json.dumps(declared.describe())))
    assert again == declared
    assert again.model_fields_set == declared.model_fields_set
    plain = Protocol(**LEAST)
    assert Protocol(**plain.describe()) == plain


def test_a_path_stands_in_no_description():
    arm = Arm(name="a", architecture="/home/someone/net.py:Net")
    assert arm.describe()["architecture"] == "net.py:Net"


def test_replace_validates_anew():
    declared = Protocol(**LEAST)
    assert declared.replace(effort=8).effort == 8
    with pytest.raises(ProtocolError, match="k <= n / 4"):
        declared.replace(effort=9)


def test_the_length_of_training():
    assert Protocol(**LEAST).length(3200) == 1500
    assert Protocol(**LEAST, steps=7).length(3200) == 7
    assert Protocol(**LEAST, epochs=2.0).length(3200) == 64
    # A batch is never larger than the training set.
    assert Protocol(**LEAST, epochs=2.0).length(30) == 2


def test_the_template_is_a_protocol_and_shows_the_defaults():
    declared = Protocol(**tomllib.loads(room.template()))
    plain = Protocol(data="digits", baseline="mlp", challengers=["cnn"])
    assert declared.replace(steps=None) == plain
    assert declared.steps == plain.length(10**6)


def test_the_built_in_trial_is_large_enough_to_be_honest():
    declared = room.builtin()
    assert declared.configurations >= 16
    assert declared.effort == 4
    assert declared.confirm_seeds >= 3
    assert declared.length(3200) >= 1500


def test_differences_are_shown_key_by_key():
    old = {"effort": 4, "arms": [{"name": "a", "source": "x" * 100}], "top": None}
    new = {"effort": 8, "arms": [{"name": "a", "source": "y" * 100}], "margin": 0.1}
    shown = list(room.differences(old, new))
    assert [key for key, _, _ in shown] == ["arms[a].source", "effort", "margin", "top"]
    assert shown[1] == ("effort", "4", "8")
    assert shown[2] == ("margin", "(absent)", "0.1")
    assert "102 characters" in shown[0][1]


def test_the_hash_is_of_the_content_alone():
    assert room.digest({"a": 1, "b": 2}) == room.digest({"b": 2, "a": 1})
    assert room.digest({"a": 1}) != room.digest({"a": 2})

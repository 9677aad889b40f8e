import importlib
import json
import tomllib
from typing import Any

import pytest

from archtrial import protocol as room
from archtrial.errors import ProtocolError, UserError
from archtrial.experiments import JUDGES
from archtrial.protocol import Arm, OnData, Protocol, read
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


def test_arms_of_the_trial_may_be_declared_deterministic():
    names = [arm.name for arm in Protocol(**LEAST).arms]
    assert Protocol(**LEAST, deterministic=names).deterministic == tuple(names)
    assert Protocol(**LEAST, deterministic=names[0]).deterministic == (names[0],)


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
        (
            {"recipe": {"procedure": {"xyzzy": 1}}},
            ["recipe.procedure.xyzzy", "The keys there are kind, ratio, strong,"],
        ),
        ({"ladder": 2}, ["ladder is a list: 2", "Write ladder = [2]."]),
        (
            {"recipe": {"augmentation": "shift"}},
            ["recipe.augmentation is a list", 'Write augmentation = ["shift"].'],
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
        ({"ladder": [2, 4]}, ["begins with 1", "[2, 4]", "[1, 2, 4]"]),
        ({"ladder": [1, 4, 2]}, ["longer than the one before"]),
        ({"ladder": [1, 2, 2]}, ["longer than the one before"]),
        ({"ladder": []}, ["begins with 1"]),
        ({"ladder": [1, 2.5]}, ["ladder", "2.5"]),
        ({"ladder": "1,2"}, ["ladder", '"1,2"']),
        ({"ladder_configurations": 8}, ["no ladder"]),
        (
            {"ladder": [1, 2], "ladder_configurations": 15},
            ["15 outside 16 to 32", "ladder_configurations = 16"],
        ),
        ({"ladder": [1, 2], "ladder_configurations": 33}, ["33 outside 16 to 32"]),
        (
            {"ladder": [1, 2], "effort": 1, "configurations": 4},
            ["4 in the search", "configurations = 8 at least"],
        ),
        (
            {"ladder": [1, 2], "ladder_configurations": 20, "looks": [16, 32]},
            ["20 outside 16 to 16", "first look"],
        ),
        ({"probes": -1}, ["probes"]),
        (
            {"deterministic": ["mlp2"]},
            ["declared deterministic", "deterministic = ['mlp2']", "the arms are"],
        ),
        ({"looks": [32, 16]}, ["larger than the one before"]),
        ({"looks": [16, 16, 32]}, ["larger than the one before"]),
        ({"looks": [32]}, ["two or more", "Leave looks out"]),
        ({"looks": [8, 32]}, ["n >= 4 k", "Begin with 16"]),
        (
            {"looks": [16, 64], "configurations": 32},
            ["last look", "Set configurations = 64"],
        ),
        ({"looks": 16}, ["looks", "16"]),
        ({"looks": ["a"]}, ["looks", '"a"']),
        ({"challengers": []}, ["at least one challenger"]),
        ({"challengers": ["mlp"]}, ["name of its own", "first=mlp"]),
        ({"baseline": "a=mlp", "challengers": ["a=cnn"]}, ["'a' twice"]),
        ({"baseline": "A=mlp", "challengers": ["b=cnn", "a=cnn"]}, ["'A' and 'a'"]),
        ({"challengers": ["n.py:net", "n.py:Net"]}, ["'Net'", "first=n.py:net."]),
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


def test_ladder_and_looks_have_their_numbers():
    declared = Protocol(**LEAST)
    assert (declared.ladder, declared.looks, declared.sizes) == ((1,), (), (32,))
    declared = Protocol(**LEAST, ladder=[1, 2, 4], looks=[16, 64], effort=2)
    assert declared.retuned == 8
    assert declared.sizes == (16, 64)
    # The last look says how many configurations there are.
    assert declared.configurations == 64
    described = json.loads(json.dumps(declared.describe()))
    assert Protocol(**described) == declared
    assert declared.replace(effort=4).retuned == 16


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


# Arms that differ in their recipe.


def test_an_arm_may_have_a_recipe_in_brackets_or_in_a_table():
    declared = Protocol(
        data="digits",
        baseline="mlp",
        challengers=[
            "mlp(recipe='modern')",
            "b=mlp(width=8, recipe=modern)",
            {"architecture": "mlp", "name": "c", "recipe": {"length": 3.0}},
        ],
    )
    assert [arm.recipe for arm in declared.arms] == [
        "plain", "modern", "modern", {"length": 3.0},
    ]  # fmt: skip
    assert declared.arms[1].name == "mlp(recipe=modern)"
    assert [arm.options for arm in declared.arms] == [{}, {}, {"width": 8}, {}]
    again = Protocol(**json.loads(json.dumps(declared.describe())))
    assert again == declared
    assert again.model_fields_set == declared.model_fields_set


def test_an_arms_recipe_is_laid_over_the_protocols():
    declared = Protocol(
        data="digits",
        baseline="mlp",
        challengers=[
            "modern=mlp(recipe='modern')",
            {"architecture": "mlp", "name": "own", "recipe": {"length": 3.0}},
            {
                "architecture": "mlp",
                "name": "both",
                "recipe": {"base": "modern", "augmentation": ["shift", "flip"]},
            },
        ],
        recipe={"optimizer": "sgd", "learning_rate": 0.1},
    )
    recipes = {arm.name: declared.recipe_of(arm, "image") for arm in declared.arms}
    assert recipes["mlp"] == declared.recipe
    for name in ("modern", "own", "both"):
        assert (recipes[name].optimizer, recipes[name].learning_rate) == ("sgd", 0.1)
    assert recipes["own"] == declared.recipe.model_copy(update={"length": 3.0})
    for name in ("modern", "both"):
        for field, value in room.MODERN.items():
            assert getattr(recipes[name], field) == value
    assert recipes["modern"].augmentation == ("shift",)
    assert recipes["both"].augmentation == ("shift", "flip")


@pytest.mark.parametrize(
    ("kind", "augmentation"),
    [("image", ("shift",)), ("sequence", ("shift", "scale")), ("table", ()), ("array", ())],
)  # fmt: skip
def test_modern_augments_what_has_neighbours_and_flips_nothing(kind, augmentation):
    declared = Protocol(**{**LEAST, "challengers": ["cnn(recipe='modern')"]})
    assert declared.recipe_of(declared.arms[1], kind).augmentation == augmentation


def test_a_recipe_keeps_the_hash_that_it_had():
    described = room.Recipe(optimizer="sgd").describe()
    assert set(described) == {
        "optimizer", "schedule", "warmup", "order", "gradient_clip", "learning_rate",
        "weight_decay", "momentum", "label_smoothing", "initial_scale",
    }  # fmt: skip
    for name, value in {
        "precision": "bfloat16", "memory_format": "channels_last", "accumulate": 4,
        "weight_decay_on": "weights", "class_weights": "balanced",
    }.items():  # fmt: skip
        assert room.Recipe(**{name: value}).describe()[name] == value
    whole = room.Recipe(augmentation=("shift",), length=2.0).describe()
    assert whole["augmentation"] == ["shift"]
    assert whole["length"] == 2.0
    assert "weight_averaging" not in whole


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("moden", ["plain, modern or a table", "'moden'", "Did you mean 'modern'?"]),
        (3, ["plain, modern or a table", "3"]),
        ({"base": "old"}, ["'old'"]),
        ({"lenght": 2.0}, ["a recipe has no such key", "Did you mean 'length'?"]),
        ({"length": 0}, ["length", "greater than 0"]),
        ({"weight_averaging": 1.0}, ["weight_averaging", "less than 1"]),
        ({"augmentation": ["shfit"]}, ["augmentation.0", "'shift'", '"shfit"']),
    ],
)
def test_a_mistake_in_an_arms_recipe(recipe, says):
    with pytest.raises(ProtocolError) as caught:
        Protocol(**{**LEAST, "baseline": {"architecture": "mlp", "recipe": recipe}})
    for part in says:
        assert part in str(caught.value)


# Factorials.

FACTORS = {"residual": [False, True], "norm": ["none", "layer"], "depth": [2, 3]}


def test_factors_are_crossed_and_the_first_levels_are_the_baseline():
    declared = Protocol(data="digits", baseline="mlp(width=8)", factors=FACTORS)
    assert declared.baseline.name == "mlp(width=8)"
    assert [arm.name for arm in declared.challengers] == [
        "mlp(width=8) + depth=3",
        "mlp(width=8) + norm=layer",
        "mlp(width=8) + norm=layer + depth=3",
        "mlp(width=8) + residual",
        "mlp(width=8) + residual + depth=3",
        "mlp(width=8) + residual + norm=layer",
        "mlp(width=8) + residual + norm=layer + depth=3",
    ]
    seen = set()
    for arm in declared.arms:
        levels = declared.levels[arm.name]
        assert arm.options == {"width": 8, **levels}
        assert list(levels) == list(FACTORS)
        seen.add(tuple(levels.values()))
    assert len(seen) == 8
    assert tuple(declared.levels["mlp(width=8)"].values()) == (False, "none", 2)
    assert Protocol(**LEAST).levels == {}


def test_a_recipe_is_a_factor_like_others():
    declared = Protocol(
        data="digits",
        baseline="mlp",
        factors={"residual": [True, False], "recipe": ["plain", "modern"]},
    )
    assert [(arm.name, arm.recipe) for arm in declared.arms] == [
        ("mlp", "plain"),
        ("mlp + modern", "modern"),
        ("mlp + residual=false", "plain"),
        ("mlp + residual=false + modern", "modern"),
    ]
    assert all("recipe" not in arm.options for arm in declared.arms)
    assert declared.levels["mlp + modern"] == {"residual": True, "recipe": "modern"}


def test_a_factorial_is_described_and_replaced(tmp_path):
    declared = Protocol(data="digits", baseline="mlp", factors=FACTORS)
    again = Protocol(**json.loads(json.dumps(declared.describe())))
    assert again == declared
    assert again.model_fields_set == declared.model_fields_set
    assert declared.replace(effort=2).arms == declared.arms
    assert [a.name for a in declared.replace(challengers=["cnn"]).arms] == [
        "mlp",
        "cnn",
    ]
    crossed = Protocol(**LEAST).replace(factors={"depth": [2, 3]})
    assert [arm.name for arm in crossed.arms] == ["mlp", "mlp + depth=3"]
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "mlp"\n[factors]\nresidual = [false, true]\n'
        'norm = ["none", "layer"]\ndepth = [2, 3]\n'
    )
    assert room.load(path) == declared


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"challengers": ["cnn"]}, ["challengers are declared, or follow from factors"]),
        ({"factors": {"depth": [2]}}, ["two or more levels", "depth = [2]"]),
        ({"factors": {"depth": [2, 2]}}, ["two or more levels", "depth = [2, 2]"]),
        ({"factors": {"depth": 2}}, ["two or more levels", "depth = 2"]),
        ({"factors": {"depth": [2, None]}}, ["a level is a finite number", "None"]),
        ({"factors": "depth"}, ["factors are a table", "'depth'"]),
        ({"factors": {"recipe": ["plain", "modrn"]}}, ["Did you mean 'modern'?"]),
        ({"factors": {}}, ["'challengers'"]),
        (
            {"baseline": "mlp(depth=3)"},
            ["the first level of each factor", "depth = 3 in the baseline, 2 among"],
        ),
        (
            {"baseline": "mlp(recipe='modern')", "factors": {"recipe": ["plain", "modern"]}},
            ["recipe = 'modern' in the baseline"],
        ),
        ({"baseline": {"architecture": "mlp", "sapce": {}}}, ["baseline.sapce"]),
        ({"baseline": "x" * 58 + "=mlp"}, ["60 printable"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_factorial(changes, says):
    given = {"data": "digits", "baseline": "mlp", "factors": {"depth": [2, 3]}}
    with pytest.raises(UserError) as caught:
        Protocol(**{**given, **changes})
    for part in says:
        assert part in str(caught.value)


# Whole architectures as the levels of a factor.

CROSSED = {"architecture": ["mlp", "cnn(norm=batch)"], "recipe": ["plain", "modern"]}


@pytest.mark.parametrize("given", [{}, {"baseline": "mlp"}])
@pytest.mark.parametrize("order", [1, -1])
def test_architectures_are_crossed_and_name_the_arms(given, order):
    factors = dict(list(CROSSED.items())[::order])
    declared = Protocol(data="mnist1d", factors=factors, **given)
    assert declared.baseline.name == "mlp"
    assert {(arm.name, arm.architecture, arm.recipe) for arm in declared.arms} == {
        ("mlp", "mlp", "plain"),
        ("mlp + modern", "mlp", "modern"),
        ("cnn(norm=batch)", "cnn", "plain"),
        ("cnn(norm=batch) + modern", "cnn", "modern"),
    }
    for arm in declared.arms:
        assert arm.options == ({"norm": "batch"} if arm.architecture == "cnn" else {})
        assert declared.levels[arm.name] == {
            "architecture": arm.name.removesuffix(" + modern"),
            "recipe": arm.recipe,
        }
    assert declared.named_factors == {
        "architecture": ("mlp", "cnn(norm=batch)"),
        "recipe": ("plain", "modern"),
    }


def test_architectures_are_called_by_name_and_keep_what_the_baseline_declares():
    declared = Protocol(
        data="mnist1d",
        baseline={"name": "base", "architecture": "mlp", "space": {"width": [8, 16]}},
        factors={"depth": [2, 3], "architecture": ["mlp", "wide=cnn(width=64)", "a/n.py:Net"]},
    )  # fmt: skip
    assert [arm.name for arm in declared.arms] == [
        "base", "wide", "Net", "base + depth=3", "wide + depth=3", "Net + depth=3",
    ]  # fmt: skip
    assert declared.levels["Net + depth=3"] == {"depth": 3, "architecture": "Net"}
    assert [arm.space != {} for arm in declared.arms] == [True, False, False] * 2
    assert declared.arms[4].options == {"width": 64, "depth": 3}


def test_a_factorial_of_architectures_is_described_and_replaced(tmp_path):
    factors = {
        "norm": ["none", "layer"],
        **CROSSED,
        "architecture": ["mlp", "n.py:Net"],
    }
    declared = Protocol(data="mnist1d", factors=factors)
    again = Protocol(**json.loads(json.dumps(declared.describe())))
    assert again == declared
    assert again.model_fields_set == declared.model_fields_set
    assert declared.replace(effort=2).arms == declared.arms
    other = declared.replace(baseline="cnn", factors={"architecture": ["cnn", "mlp"]})
    assert [arm.name for arm in other.arms] == ["cnn", "mlp"]
    # Paths start at the folder of the file that declares them.
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "mnist1d"\n[factors]\nnorm = ["none", "layer"]\n'
        'architecture = ["n.py:Net(depth=2)", "mlp", "other=n.py:Other"]\n'
    )
    read_ = room.load(path)
    assert [arm.architecture for arm in read_.arms[:3]] == [
        f"{tmp_path}/n.py:Net", "mlp", f"{tmp_path}/n.py:Other",
    ]  # fmt: skip
    assert [arm.name for arm in read_.arms[:3]] == ["Net(depth=2)", "mlp", "other"]
    path.write_text('data = "mnist1d"\nfactors = "architecture"\n')
    with pytest.raises(ProtocolError, match="factors are a table"):
        room.load(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"baseline": "cnn"},
            ["the baseline has the first level", "architecture = 'cnn' in the baseline, 'mlp'",
             "Leave the baseline out"],
        ),
        ({"baseline": "mlp(width=8)"}, ["architecture = 'mlp(width=8)' in the baseline"]),
        (
            {"baseline": "mlp(recipe=modern)", "factors": {"architecture": ["mlp", "cnn"]}},
            ["architecture = \"mlp(recipe='modern')\" in the baseline"],
        ),
        (
            {"baseline": "mlp(recipe=modern)"},
            ["recipe = 'modern' in the baseline, 'plain' among the levels"],
        ),
        (
            {"factors": {"architecture": ["mlp", "cnn(norm=batch)"], "norm": ["none", "batch"]}},
            ["each architecture has the first level of every other factor",
             "norm = 'batch' in cnn(norm=batch), 'none' among the levels",
             "Take norm out of cnn(norm=batch)"],
        ),
        ({"factors": {"architecture": ["mlp", 3]}}, ["[NAME=]SPEC", "architecture = 3"]),
        ({"factors": {"architecture": ["mlp", "cnn(x"]}}, ["an option is written name=value"]),
        ({"factors": {"architecture": ["mlp", "a.py:mlp"]}}, ["'mlp' twice", "first=mlp"]),
        ({"factors": {"architecture": ["mlp"]}}, ["two or more levels"]),
        ({"baseline": {"architecture": "mlp", "sapce": {}}}, ["baseline.sapce"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_factorial_of_architectures(changes, says):
    with pytest.raises(UserError) as caught:
        Protocol(**{"data": "mnist1d", "factors": CROSSED, **changes})
    for part in says:
        assert part in str(caught.value)


def test_no_arm_is_called_like_the_matched_baseline():
    with pytest.raises(ProtocolError, match="name of its own"):
        Protocol(
            data="digits",
            baseline="mlp",
            challengers=[{"name": "mlp (matched)", "architecture": "cnn"}],
            matched_baseline=True,
        )


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        ("\N{GRINNING FACE}" * 60 + "=mlp", "200 bytes at most"),
        ("a\x07=mlp", "printable"),
        ("x" * 4000 + "=mlp", "60 printable"),
        ("net.py:Net(a=1e999)", "finite"),
        ({"architecture": "n.py:N", "options": {"a": [[float("nan")]]}}, "finite"),
        ({"architecture": "n.py:N", "options": {"a": {"b": 1}}}, "a list of such"),
        ({"architecture": "n.py:N", "options": {"a": 10**400}}, "300 digits"),
        ({"architecture": "n.py:N", "options": {"a": "\ud800"}}, "Unicode"),
        ({"architecture": "n.py:N", "options": [1]}, "baseline.options"),
    ],
)
def test_an_arm_that_cannot_be_kept(arm, says):
    with pytest.raises(UserError) as caught:
        Protocol(data="digits", baseline=arm, challengers=["b=mlp"])
    assert says in str(caught.value)


def test_lists_nested_without_end_are_refused():
    deep = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(UserError, match="nested 20 deep"):
        Protocol(
            data="digits",
            baseline={"architecture": "n.py:N", "options": {"a": deep}},
            challengers=["mlp"],
        )


def test_a_name_that_archtrial_makes_is_short_and_still_tells_arms_apart():
    wide, deep = (
        Protocol(
            data="digits",
            baseline="mlp",
            challengers=[f"net.py:Net(stages={[width] * 60}, text='\x07\u6df1')"],
        )
        .challengers[0]
        .name
        for width in (1, 2)
    )
    assert wide != deep
    assert wide.startswith("Net(stages=[1,1")
    assert len(wide.encode()) <= 60
    assert wide.isprintable()


def test_lists_and_nothing_are_options_and_survive_json():
    protocol = Protocol(
        data="digits",
        baseline="mlp",
        challengers=["net.py:Net(depths=[1, 1, 2], kernel=(3, 3), act=None)"],
    )
    arm = protocol.challengers[0]
    assert arm.options == {"depths": [1, 1, 2], "kernel": [3, 3], "act": None}
    assert Protocol(**json.loads(json.dumps(protocol.describe()))) == protocol


@pytest.mark.parametrize(
    "text", [f"seed = {'9' * 5000}", "a = " + "[" * 3000 + "]" * 3000, "a = "]
)
def test_a_file_beyond_bounds_is_one_message(tmp_path, text):
    path = tmp_path / "trial.toml"
    path.write_text(text)
    with pytest.raises(ProtocolError) as caught:
        room.read(path)
    assert "trial.toml" in str(caught.value)


def test_a_key_called_self_is_an_unknown_key():
    with pytest.raises(ProtocolError, match="no such key"):
        Protocol(
            **{"self": 1, "data": "digits", "baseline": "mlp", "challengers": ["b=mlp"]}
        )


def test_a_file_keeps_the_texts_of_its_options(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "mlp"\n'
        r"""challengers = ["net.py:Net(act='\u00e9\\\\', skip=true, sizes=[1, 2])"]"""
    )
    options = room.load(path).challengers[0].options
    assert options == {"act": "\u00e9\\", "skip": True, "sizes": [1, 2]}


def test_new_protocols_draw_a_sobol_sequence():
    declared = Protocol(data="digits", baseline="mlp", challengers=["cnn"])
    assert declared.sampling == "sobol"
    assert "sampling" not in declared.describe()
    random = declared.replace(sampling="random")
    assert Protocol(**json.loads(json.dumps(random.describe()))) == random
    with pytest.raises(ProtocolError) as caught:
        declared.replace(sampling="halton")
    assert "sampling" in str(caught.value)
    assert "'sobol' or 'random'" in str(caught.value)


RECIPES = [
    {},
    {"recipe": {}},
    {"recipe": {"optimizer": "sgd", "weight_decay": 0.1}},
    {"recipe": room.Recipe(optimizer="adam")},
]


@pytest.mark.parametrize("given", RECIPES)
def test_weights_alone_decay_in_a_new_protocol(given):
    declared = Protocol(data="digits", baseline="mlp", challengers=["cnn"], **given)
    assert declared.recipe.weight_decay_on == "weights"
    # The frozen protocol says so, and the declared one has not said it.
    assert declared.recipe.describe()["weight_decay_on"] == "weights"
    assert "weight_decay_on" not in declared.recipe.model_fields_set
    assert declared.replace(effort=2).recipe == declared.recipe
    assert Protocol(**json.loads(json.dumps(declared.describe()))) == declared
    kept = getattr(given.get("recipe"), "optimizer", declared.recipe.optimizer)
    assert declared.recipe.optimizer == kept


def test_what_decays_can_be_said():
    recipe = {"weight_decay_on": "all"}
    for said in (recipe, room.Recipe(**recipe)):
        declared = Protocol(
            data="digits", baseline="mlp", challengers=["cnn"], recipe=said
        )
        assert declared.recipe.weight_decay_on == "all"
        assert "weight_decay_on" not in declared.recipe.describe()
        assert "weight_decay_on" in declared.recipe.model_fields_set


def test_an_arm_may_have_all_its_parameters_decay():
    own = {"architecture": "mlp", "name": "own", "recipe": {"weight_decay_on": "all"}}
    declared = Protocol(data="digits", baseline="mlp", challengers=[own, "cnn"])
    assert [
        declared.recipe_of(arm, "image").weight_decay_on for arm in declared.arms
    ] == ["weights", "all", "weights"]


@pytest.mark.parametrize(
    ("changes", "unbalanced"),
    [
        ({"configurations": 16}, ()),
        ({"configurations": 24}, (24,)),
        ({"looks": (16, 32)}, ()),
        ({"looks": (16, 24, 48)}, (24, 48)),
        ({"configurations": 24, "sampling": "random"}, ()),
    ],
)
def test_a_protocol_knows_where_its_draws_are_not_balanced(changes, unbalanced):
    declared = Protocol(data="digits", baseline="mlp", challengers=["cnn"], **changes)
    assert declared.unbalanced == unbalanced


@pytest.mark.parametrize("given", ["code", ["code"], ("code",)])
def test_columns_of_categories_are_one_or_several(given):
    declared = Protocol(
        data="d.csv", baseline="mlp", challengers=["linear"], categorical=given
    )
    assert declared.categorical == ("code",)


class Short(OnData):
    """A kind of protocol, as an experiment of one's own declares it."""

    epochs: float = 2.0
    architecture: Arm = Arm.model_validate("mlp")
    sizes: tuple[int, ...] = (1, 2)


class Shorter(Short):
    sizes: tuple[int, ...] = (1,)
    more: bool = False


def test_what_a_kind_of_protocol_has_of_its_own():
    mlp = Arm.model_validate("mlp").describe()
    own = {"epochs": 2.0, "architecture": mlp, "sizes": [1, 2]}
    assert Short(data="digits").own() == own
    # Their order is the same in every process.
    assert list(Short(data="digits").own()) == ["epochs", "architecture", "sizes"]
    assert Shorter(data="digits", seed=3).own() == {**own, "sizes": [1], "more": False}
    assert json.dumps(Short(data="digits", architecture=print).own())


class Several(OnData):
    students: tuple[Arm, ...] = (Arm.model_validate("mlp"), Arm.model_validate("cnn"))
    space: dict[str, Any] = {"width": Choice((1, 2)), "rate": Real(0.1, 1.0, log=True)}  # noqa: RUF012
    plain: dict[str, Any] = {"a": 1}  # noqa: RUF012


def test_arms_and_spaces_of_its_own_are_told_as_they_are_declared():
    told = Several(data="digits").own()
    assert told["students"] == [a.describe() for a in Several(data="d").students]
    assert told["space"] == {
        "rate": {"low": 0.1, "high": 1.0, "log": True},
        "width": [1, 2],
    }
    assert told["plain"] == {"a": 1}
    several = Several(data="digits", students=(Arm.model_validate("b=mlp"),))
    assert several.arms_by_field() == {"students": [Arm.model_validate("b=mlp")]}
    assert Several(data="digits").arms_by_field() == {}


def test_a_protocol_of_no_kind_has_nothing_of_its_own():
    assert OnData(data="digits").own() == {}


def test_a_loss_is_described_without_its_folder(tmp_path):
    assert room.Recipe(loss="deep/my.py:focal").describe()["loss"] == "my.py:focal"
    assert room.Recipe(loss="package.losses:focal").describe()["loss"] == (
        "package.losses:focal"
    )
    assert "loss" not in room.Recipe().describe()


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ('{ loss = "my.py:focal" }', "{folder}/my.py:focal"),
        ('{ loss = "package.losses:focal" }', "package.losses:focal"),
        ('{ optimizer = "sgd" }', None),
    ],
)
def test_a_loss_starts_at_its_protocols_folder(tmp_path, declared, found):
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "linear"\n'
        f"recipe = {declared}\n"
        f'[[challengers]]\narchitecture = "mlp"\nrecipe = {declared}\n'
        '[[challengers]]\narchitecture = "cnn"\nrecipe = "modern"\n'
    )
    protocol = room.load(path)
    wanted = found and found.format(folder=tmp_path)
    assert protocol.recipe.loss == wanted
    assert protocol.challengers[0].recipe.get("loss") == wanted
    assert protocol.challengers[1].recipe == "modern"


@pytest.mark.parametrize("wrong", [3, ["my.py:focal"], True])
def test_a_loss_is_a_text(tmp_path, wrong):
    path = tmp_path / "trial.toml"
    path.write_text(
        'data = "digits"\nbaseline = "linear"\nchallengers = ["mlp"]\n'
        f"recipe = {{ loss = {json.dumps(wrong)} }}\n"
    )
    with pytest.raises(ProtocolError, match=r"recipe\.loss"):
        room.load(path)


def test_what_every_experiment_declares_can_be_changed():
    changed = room.OnData(data="digits", steps=3).replace(seed=4)
    assert type(changed) is room.OnData
    assert (changed.data, changed.steps, changed.seed) == ("digits", 3, 4)


def test_how_and_where_a_study_is_carried_out_is_no_part_of_its_hash():
    asks = {"device": "cuda", "arms": [{"name": "a", "width": 3}], "effort": 4}
    told = {
        "device": "cuda:1",
        "arms": [{"name": "a", "width": 3, "fleet": True}],
        "effort": 4,
        "notes": ["said"],
        "fleets": "never",
    }
    assert room.asked(told) == asks
    assert room.digest(told) == room.digest(asks)
    assert room.digest_before(told) != room.digest_before(asks)
    assert room.digest_before({**asks, "notes": []}) == room.digest_before(asks)
    assert room.asked({"device": None}) == {"device": None}
    for name, other in (("device", "cpu"), ("effort", 5), ("arms", [])):
        assert room.digest({**told, name: other}) != room.digest(told)


def test_looks_that_fall_are_told_as_that():
    """And not by the number of configurations that follows from the last of them."""
    with pytest.raises(ProtocolError, match="each larger than the one before"):
        Protocol(data="digits", baseline="linear", challengers=["mlp"], looks=(16, 8))


@pytest.mark.parametrize(
    ("written", "read"),
    [("mask", "mask"), ("zeros", "zeros"), ("7", 7), (7, 7), (None, None)],
)
def test_lengths_are_words_or_steps(written, read):
    assert OnData(data="digits", lengths=written).lengths == read


@pytest.mark.parametrize("written", ["0", 0, -3, 2.5, "foo", "-3", True, ""])
def test_other_lengths_are_refused_with_what_can_be_typed(written):
    with pytest.raises(ProtocolError, match="lengths is mask, zeros, or how") as caught:
        OnData(data="digits", lengths=written)
    assert "--lengths mask, --lengths zeros or --lengths 20" in str(caught.value)


def test_a_trial_is_no_experiment_and_an_experiment_no_trial(tmp_path):
    trial, other = tmp_path / "trial.toml", tmp_path / "other.toml"
    trial.write_text('data = "mnist1d"\nbaseline = "mlp"\nchallengers = ["cnn"]\n')
    other.write_text('data = "mnist1d"\n')
    with pytest.raises(ProtocolError, match="the file declares a ladder") as refused:
        read(trial, "a ladder")
    assert f"Run it: archtrial run {trial}" in str(refused.value)
    assert read(trial)["baseline"] == "mlp"
    assert read(other, "a ladder") == {"data": "mnist1d"}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("choose", "arms"),
        ("mimic", "students"),
        ("mimic", "teacher"),
        ("mpl", "architecture"),
        ("profile", "architectures"),
        ("relax", "architecture"),
        ("scale", "architecture"),
    ],
)
def test_a_key_that_no_arm_has_is_told_with_those_that_it_has(kind, field):
    declared = importlib.import_module(f"archtrial.experiments.{kind}").Protocol
    arm = {"architecture": "mlp", "xyzzy": 1}
    with pytest.raises(ProtocolError) as refused:
        declared(
            **{"data": "mnist1d", field: arm if field == "architecture" else [arm]}
        )
    assert field in refused.value.received
    assert "xyzzy" in refused.value.received
    assert refused.value.way_out == (
        "The keys there are name, architecture, options, space, recipe."
    )


# What no field, or hardly any, can hold; and what some can.
ODD = [
    None, "", 0, -1, 1.5, True, [], {}, [{}], {"a": 1}, ["a"], [None], "cnn(", 2**70,
    float("nan"), {"learning_rate": []}, {"learning_rate": {"low": 1, "high": 0}}, {1: 2},
    [[1]], {"architecture": 1}, [{"architecture": "mlp", "options": 3}], {"loss": 3},
    {"procedure": {"kind": 3}}, {"procedure": []}, {"augmentation": ["shift", 3]},
    ["mlp", "mlp"], b"x", object(),
]  # fmt: skip


@pytest.mark.parametrize("kind", [None, *filter(None, JUDGES)])
def test_whatever_a_field_is_given_it_is_refused_in_words_or_taken(kind):
    declared: Any = Protocol
    given = {"data": "mnist1d"}
    if kind is None:
        given = dict(LEAST)
    else:
        declared = importlib.import_module(f"archtrial.experiments.{kind}").Protocol
    if kind == "profile":
        given["architectures"] = ["mlp"]
    refused = 0
    for field in declared.model_fields:
        for value in ODD:
            try:
                declared(**{**given, field: value})
            except UserError:
                refused += 1
    assert refused > len(declared.model_fields) * len(ODD) / 2

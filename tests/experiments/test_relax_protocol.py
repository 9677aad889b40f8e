"""What an experiment on the convolutional prior declares."""

import itertools
import json
from pathlib import Path

import pytest

from archtrial import experiments
from archtrial.errors import ProtocolError, RecordsError, StudyError, UserError
from archtrial.experiments import relax
from archtrial.experiments.relax.protocol import RECIPE
from archtrial.freezing import freeze
from archtrial.protocol import Recipe
from archtrial.records.store import Store

PLAIN = relax.Protocol(data="digits")


def test_the_defaults_are_the_papers_training_and_eight_times():
    assert PLAIN.architecture.architecture == "cnn"
    assert (PLAIN.form, PLAIN.batch_norm, PLAIN.reading) == (
        "fcn", "per_position", "best",
    )  # fmt: skip
    assert (PLAIN.seeds, PLAIN.tuning_seeds, PLAIN.relax_times) == (10, 2, 8)
    assert (PLAIN.evaluations, PLAIN.curvature_examples) == (20, 500)
    assert PLAIN.margin is None
    recipe = PLAIN.recipe
    assert (recipe.optimizer, recipe.schedule, recipe.warmup) == ("sgd", "constant", 0)
    assert (recipe.momentum, recipe.weight_decay) == (0, 0)
    assert recipe.gradient_clip is None


def test_what_a_recipe_declares_is_laid_over_the_papers():
    for recipe in ({"momentum": 0.9}, Recipe(**{**RECIPE, "momentum": 0.9})):
        declared = relax.Protocol(data="digits", recipe=recipe).recipe
        assert declared.momentum == 0.9
        assert (declared.optimizer, declared.schedule) == ("sgd", "constant")


def test_times_are_zero_and_then_evenly_spaced_in_log_time():
    times = PLAIN.times(1000)
    assert times == (0, 20, 43, 93, 200, 431, 928, 2000)
    ratios = [after / before for before, after in itertools.pairwise(times[1:])]
    assert max(ratios) < 1.05 * min(ratios)


@pytest.mark.parametrize(
    ("declared", "times"),
    [
        ({"relax_times": 1}, (2000,)),
        ({"relax_times": 2}, (0, 2000)),
        ({"relax_times": 3}, (0, 20, 2000)),
        ({"relax_times": 1, "last_relax_time": 7}, (7,)),
        ({"relax_times": 4, "last_relax_time": 900}, (0, 9, 90, 900)),
        ({"relax_times": 4, "steps": 3}, (0, 1, 2, 3)),
        ({"relax_times": 3, "steps": 5, "last_relax_time": 300}, (0, 3, 300)),
        ({"relax_times": [0, 4, 99]}, (0, 4, 99)),
        ({"relax_times": (5,)}, (5,)),
        ({"relax_times": 2, "epochs": 2.5}, (0, 25)),
    ],
)
def test_relax_times(declared, times):
    assert relax.Protocol(data="digits", **declared).times(1000) == times


def test_more_times_than_steps_are_refused_with_how_many_there_can_be():
    declared = PLAIN.replace(relax_times=6, steps=3)
    with pytest.raises(ProtocolError) as caught:
        declared.times(1000)
    assert "6 of them up to step 3" in str(caught.value)
    assert "at most 4 relax times, or more steps" in str(caught.value)
    assert declared.replace(relax_times=4).times(1000) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("declared", "rows", "steps"),
    [
        ({}, 1000, 2000),
        ({"steps": 7}, 1000, 7),
        ({"epochs": 3.0}, 1099, 30),
        ({"epochs": 0.25}, 1000, 2),
        ({"epochs": 0.001}, 1000, 1),
        ({"epochs": 4.0}, 60, 4),  # fewer rows than a batch
        ({"epochs": 1.0, "batch_size": 32}, 100, 3),
    ],
)
def test_the_length_of_training(declared, rows, steps):
    assert relax.Protocol(data="digits", **declared).length(rows) == steps


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"steps": 3, "epochs": 2.0}, ("steps = 3, epochs = 2.0", "Remove one of")),
        ({"learning_rates": [0.3, 0.1]}, ("[0.3, 0.1]", "[0.03, 0.1, 0.3]")),
        ({"learning_rates": [0.1, 0.1]}, ("larger than the one before", "Write")),
        ({"learning_rates": ()}, ("one or more", "Write")),
        ({"relax_times": [5, 0]}, ("relax_times = [5, 0]", "[0, 100, 1000]")),
        ({"relax_times": []}, ("one or more", "relax_times = 8")),
        ({"relax_times": [0, -1]}, ("whole numbers", "[0, -1]", "[0, 100, 1000]")),
        ({"relax_times": [0, 1.5]}, ("whole numbers", "[0, 1.5]", "= 8")),
        ({"relax_times": "8"}, ("whole numbers", "'8'", "= 8")),
        ({"relax_times": True}, ("whole numbers", "True")),
        ({"relax_times": 0}, ("(1 to 1,000)", "or --relax-times 0, with its comma")),
        ({"relax_times": 10**20}, ("(1 to 1,000)", f"relax_times = {10**20}")),
        (
            {"relax_times": [0, 5], "last_relax_time": 7},
            ("last_relax_time = 7 beside a list", "Remove one of"),
        ),
        ({"recipe": {"schedule": "cosine"}}, ("recipe.schedule", "Leave schedule out")),
        ({"recipe": {"warmup": 0.1}}, ("recipe.warmup = 0.1", "Leave warmup out")),
        (
            {"recipe": {"learning_rate": 0.5}},
            ("learning rates are tried", "learning_rates = [0.5]"),
        ),
        ({"recipe": {"length": 2.0}}, ("recipe.length", "Leave length out")),
        (
            {"recipe": {"weight_averaging": 0.1}},
            ("at any moment", "Leave weight_averaging out"),
        ),
        (
            {"architecture": {"architecture": "cnn", "recipe": "modern"}},
            ("one architecture with fixed options", "Declare the recipe beside it"),
        ),
        (
            {"architecture": {"architecture": "cnn", "space": {"width": [2, 4]}}},
            ("fixed options", "learning rates are all that is tuned"),
        ),
        ({"form": "fnc"}, ("'fcn' or 'lcn'",)),
        ({"reading": "first"}, ("'best' or 'last'",)),
        ({"margin": 0.0}, ("margin", "greater than 0")),
        ({"alpha": 5e-5}, ("alpha is at least 0.0001", "alpha = 5e-05")),
        ({"seeds": 0}, ("seeds", "greater than or equal to 1")),
        ({"curvature_examples": -1}, ("curvature_examples",)),
        ({"sedes": 3}, ("no such key: 'sedes'", "Did you mean 'seeds'?")),
        ({"recipe": {"momentun": 0.9}}, ("recipe.momentun", "'momentum'")),
        ({"splits": {"validaton": 0.1}}, ("splits.validaton", "'validation'")),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_the_way_out(declared, says):
    with pytest.raises(ProtocolError) as caught:
        relax.Protocol(**{"data": "digits", **declared})
    for part in says:
        assert part in str(caught.value)


def test_the_smallest_alpha_that_flipped_signs_can_tell():
    assert relax.Protocol(data="digits", alpha=1e-4).alpha == 1e-4
    with pytest.raises(ProtocolError, match="flipped signs tell no less"):
        relax.Protocol(data="digits", alpha=9.9e-5)


def test_data_have_no_default():
    with pytest.raises(ProtocolError, match='for example data = "mnist1d"'):
        relax.Protocol()


def test_a_change_is_validated_anew():
    assert PLAIN.replace(seeds=3).seeds == 3
    assert PLAIN.replace(seeds=3).replace(steps=5).seeds == 3
    with pytest.raises(ProtocolError, match="not in both"):
        PLAIN.replace(steps=5).replace(epochs=1.0)


TOML = """
data = "own.npz"
architecture = "net.py:Net(width=3)"
steps = 50
relax_times = [0, 10]
learning_rates = [0.1, 0.3]

[recipe]
momentum = 0.5

[splits]
test = 0.25
"""


def test_paths_of_a_file_start_at_its_folder(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"")
    path = tmp_path / "relax.toml"
    path.write_text(TOML)
    declared = relax.load(path)
    assert declared.data == str(tmp_path / "own.npz")
    assert declared.architecture.architecture == f"{tmp_path / 'net.py'}:Net"
    assert declared.architecture.options == {"width": 3}
    assert (declared.relax_times, declared.learning_rates) == ((0, 10), (0.1, 0.3))
    assert (declared.recipe.momentum, declared.recipe.optimizer) == (0.5, "sgd")
    assert declared.splits.test == 0.25
    over = relax.load(str(path), steps=9, learning_rates=(1.0,))
    assert (over.steps, over.learning_rates) == (9, (1.0,))
    assert over.data == declared.data


def test_a_built_in_data_set_stays_what_it_is(tmp_path):
    path = tmp_path / "relax.toml"
    path.write_text('data = "digits"\narchitecture = { architecture = "net.py:Net" }\n')
    declared = relax.load(path)
    assert declared.data == "digits"
    assert declared.architecture.architecture == f"{tmp_path / 'net.py'}:Net"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such protocol file"),
        ("data = ", "not complete TOML"),
        ('data = "digits"\nstep = 4\n', "Did you mean 'steps'?"),
        ('data = "digits"\nbaseline = "mlp"\n', "Run it: archtrial run "),
        ('data = "digits"\nchallengers = ["mlp"]\n', "Run it: archtrial run "),
    ],
)
def test_a_file_that_is_no_protocol(tmp_path, text, says):
    path = tmp_path / "relax.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProtocolError) as caught:
        relax.load(path)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"architecture": "small=cnn(width=2, norm=batch)", "steps": 40},
        {"architecture": {"name": "mine", "architecture": "cnn", "options": {"depth": 2}}},
        {"relax_times": (0, 3), "learning_rates": (0.1, 1.0), "margin": 0.02},
        {"recipe": {"momentum": 0.9, "augmentation": ["shift"]}, "epochs": 2.5},
        {"splits": {"kind": "random", "test": 0.3}, "form": "lcn", "reading": "last"},
        {"data": Path("somewhere/own.npz"), "target": "y", "task": "regression"},
    ],
)  # fmt: skip
def test_what_was_declared_can_be_declared_again_from_json(declared):
    protocol = relax.Protocol(**{"data": "digits", **declared})
    described = json.loads(json.dumps(protocol.describe()))
    assert relax.Protocol(**described) == protocol
    # A default that a later release changes must not be taken for a declaration.
    assert set(described) == {"data", *declared}


def net(input_shape, num_outputs):
    raise NotImplementedError


def test_json_cannot_hold_a_function():
    protocol = relax.Protocol(data="digits", architecture=net)
    assert protocol.architecture.name == "net"
    assert protocol.describe() is None


def begin(folder, resolved, declared):
    with Store(folder) as store:
        freeze(store, resolved, declared, device="cpu", threads=1)


def test_what_began_in_a_folder(tmp_path):
    assert relax.begun(tmp_path / "nothing") is None
    protocol = PLAIN.replace(steps=3, relax_times=(0, 2))
    begin(tmp_path / "ours", {"experiment": "relax"}, protocol.describe())
    assert relax.begun(tmp_path / "ours") == protocol
    assert experiments.kind_of(tmp_path / "ours") == "relax"
    begin(tmp_path / "python", {"experiment": "relax"}, None)
    with pytest.raises(StudyError, match="goes on from Python"):
        relax.begun(tmp_path / "python")
    begin(tmp_path / "other", {"steps": 3}, {"data": "digits"})
    assert experiments.kind_of(tmp_path / "other") is None
    with pytest.raises(RecordsError, match="one of archtrial run"):
        relax.begun(tmp_path / "other")
    with pytest.raises(UserError, match="folder holds its store"):
        experiments.kind_of(tmp_path / "nothing")
    begin(tmp_path / "later", {"experiment": "dream"}, {})
    for asks in (experiments.kind_of, experiments.judge):
        with pytest.raises(RecordsError, match="one of archtrial dream"):
            asks(tmp_path / "later")


def test_public_names_are_found_lazily():
    for name in relax.__all__:
        assert getattr(relax, name) is not None
    with pytest.raises(AttributeError, match="nope"):
        _ = relax.nope

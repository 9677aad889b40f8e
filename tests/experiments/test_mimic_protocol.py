"""What an experiment with teachers and students declares."""

import json

import numpy as np
import pytest

from archtrial.data.inputs import Inputs
from archtrial.errors import ProtocolError
from archtrial.experiments import mimic
from archtrial.experiments.mimic.students import check_layouts, students_of
from archtrial.experiments.mimic.verdict import named
from archtrial.space import Choice, Real
from archtrial.zoo.architectures.shallow import shallow

from . import mimicked

TOML = """
data = "series.npz"
teacher = ["mlp(width=8)", { name = "own", architecture = "net.py:Net" }]
students = "small=net.py:Net(width=3)"
layouts = ["mlp1", "conv1"]
budgets = 300
unlabelled = "more.npz"
imitate = "probabilities"
steps = 9
teacher_configurations = 2

[space]
learning_rate = { low = 0.001, high = 0.1, log = true }

[labels_space]
weight_decay = [0.0, 0.1]

[teacher_space]
temperature = [1.0, 4.0]
label_weight = { low = 0.0, high = 0.5 }
"""
NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, input_shape, num_outputs, width=4):
        super().__init__(nn.Flatten(), nn.Linear(12, width), nn.Linear(width, num_outputs))
"""


@pytest.fixture
def written(tmp_path):
    """A protocol in TOML beside its data, its network and more inputs."""
    mimicked.saved(tmp_path)
    np.savez(tmp_path / "more.npz", x=mimicked.series(20, seed=1)[0])
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "mimic.toml").write_text(TOML)
    return tmp_path / "mimic.toml"


def test_a_file_declares_what_options_do(written, tmp_path):
    places = written.parent
    own = f"{places / 'net.py'}:Net"
    options = mimic.Protocol(
        data=places / "series.npz",
        teacher=("mlp(width=8)", f"own={own}"),
        students=(f"small={own}(width=3)",),
        layouts=("mlp1", "conv1"),
        budgets=(300,),
        unlabelled=str(places / "more.npz"),
        imitate="probabilities",
        steps=9,
        teacher_configurations=2,
        space={"learning_rate": Real(0.001, 0.1, log=True)},
        labels_space={"weight_decay": Choice((0.0, 0.1))},
        teacher_space={
            "temperature": Choice((1.0, 4.0)), "label_weight": Real(0.0, 0.5),
        },
    )  # fmt: skip
    loaded = mimic.load(written)
    first, second = (
        mimic.Study(protocol, tmp_path / name)
        for protocol, name in ((loaded, "first"), (options, "second"))
    )
    assert first.resolved == second.resolved
    assert first.hash == second.hash
    assert first.resolved["unlabelled"]["rows"] == 20
    again = mimic.Protocol(**json.loads(json.dumps(loaded.describe())))
    assert again == loaded
    assert mimic.Study(again, tmp_path / "third").hash == first.hash
    over = mimic.load(written, budgets=(400,), steps=8)
    assert (over.budgets, over.steps, over.teacher) == ((400,), 8, loaded.teacher)


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": "labels"},
        {"teacher": {"name": "deep", "architecture": "cnn", "options": {"width": 2}}},
        {"students": ["lenet", "another=mlp(width=3)"], "layouts": []},
        {"layouts": "mlp2", "budgets": 500, "passes": 3},
        {"space": {}, "labels_space": {}, "teacher_space": {"weight_decay": [0, 0.1]}},
    ],
)
def test_what_was_declared_can_be_declared_again_from_json(changes):
    protocol = mimic.Protocol(data="digits", **changes)
    described = json.loads(json.dumps(protocol.describe()))
    assert mimic.Protocol(**described) == protocol
    assert set(described) == {"data", *changes}


# Each message, and what it says to declare instead, which works.
REFUSED = [
    ({"layouts": ["mlp6"]}, ("'mlp6'", "--layout mlp2"), {"layouts": ["mlp2", "conv3"]}),
    ({"layouts": ["conv0"]}, ("'conv0'",), {"layouts": ["mlp2", "conv3"]}),
    ({"layouts": []}, ("at least one student",), {"students": ["lenet"]}),
    ({"budgets": []}, ("at least one student",), {"students": ["lenet"]}),
    ({"budgets": [9, 9]}, ("all different", "budgets = [9]"), {"budgets": [9]}),
    (
        {"layouts": ["mlp1", "mlp1"]},
        ("all different", "layouts = ['mlp1']"),
        {"layouts": ["mlp1"]},
    ),
    (
        {"teacher": "teacher=mlp"},
        ("none is called", "--teacher another_mlp=mlp."),
        {"teacher": "another_mlp=mlp"},
    ),
    (
        {"students": "Teacher=mlp"},
        ("none is called", "--student another_mlp=mlp."),
        {"students": "another_mlp=mlp"},
    ),
    (
        {"students": "vgg"},
        ("'vgg' beside 'vgg'", "--student another_vgg=vgg."),
        {"students": "another_vgg=vgg"},
    ),
    (
        {"students": ["A=mlp", "a=linear"]},
        ("'a' beside 'A'", "--student another_linear=linear."),
        {"students": ["A=mlp", "another_linear=linear"]},
    ),
    (
        {"students": "CONV1-3000=net.py:Net"},
        ("'conv1-3000'", "--student another=net.py:Net."),
        {"students": "another=net.py:Net"},
    ),
    ({"students": "cnn(recipe=modern)"}, ("recipe of cnn", "[recipe]"), {"students": "cnn"}),
    (
        {"teacher": ["labels", "mlp"]},
        ("networks, or the labels alone", "--teacher cnn"),
        {"teacher": "cnn"},
    ),
    ({"teacher": []}, ("none", "--teacher labels alone"), {"teacher": "labels"}),
    ({"teacher": "labels(width=2)"}, ("no options",), {"teacher": "labels"}),
    (
        {"teacher": "labels", "unlabelled": "more.npz"},
        ("unlabelled = 'more.npz'", "Leave --unlabelled out"),
        {"unlabelled": None},
    ),
    (
        {"teacher_configurations": 3, "ensemble": 4},
        ("ensemble = 4, and 3 candidates", "--ensemble 3"),
        {"ensemble": 3},
    ),
    (
        {"teacher_configurations": 0, "ensemble": 2},
        ("and 1 candidate\n", "ensemble = 1"),
        {"ensemble": 1},
    ),
    (
        {"teacher": ["mlp", "cnn"], "teacher_configurations": 0, "ensemble": 1},
        ("ensemble = 1, and 2 teachers", "--ensemble 2"),
        {"ensemble": 2},
    ),
    (
        {"teacher": "labels", "ensemble": 4},
        ("ensemble = 4", "Leave --ensemble out"),
        {"ensemble": ...},
    ),
    (
        {"teacher": "labels", "teacher_configurations": 2, "ensemble": 1},
        ("Leave --ensemble and --teacher-configurations out",),
        {"ensemble": ..., "teacher_configurations": ...},
    ),
    (
        {"students": "lenet", "layouts": [], "budgets": [300]},
        ("budgets = [300] beside layouts = []", "Leave budgets out"),
        {"budgets": ...},
    ),
    (
        {"students": "lenet", "layouts": ["mlp1"], "budgets": []},
        ("layouts = ['mlp1'] beside budgets = []", "Leave layouts out"),
        {"layouts": ...},
    ),
    *(
        (
            {name: {"label_smoothing": [0.0, 0.1]}},
            (f"label_smoothing in the [{name}]", "under [labels_space]"),
            {name: {}, "labels_space": {"label_smoothing": [0.0, 0.1]}},
        )
        for name in ("space", "teacher_space")
    ),
    (
        {"students": {"architecture": "mlp", "space": {"label_smoothing": [0.0, 0.1]}}},
        ("label_smoothing in the space of mlp",),
        {"students": "mlp", "labels_space": {"label_smoothing": [0.0, 0.1]}},
    ),
    (
        {"students": "mlp1-3000 without a teacher=mlp"},
        ("'mlp1-3000 without a teacher'", "--student another_mlp=mlp."),
        {"students": "another_mlp=mlp"},
    ),
    (
        {"students": "cnn With Its Teacher=net.py:Net"},
        ("'cnn With Its Teacher'", "--student another=net.py:Net."),
        {"students": "another=net.py:Net"},
    ),
    ({"effort": 5}, ("effort = 5", "--configurations 20"), {"configurations": 20}),
    (
        {"temperature": 2.0},
        ("softens probabilities", "--imitate probabilities"),
        {"imitate": "probabilities"},
    ),
    (
        {"teacher_space": {"temperature": [1, 2]}},
        ("softens probabilities",),
        {"imitate": "probabilities"},
    ),
    (
        {"space": {"label_weight": [0.0, 0.5]}},
        ("label_weight in the [space]", "under [teacher_space]"),
        {"space": {}, "teacher_space": {"label_weight": [0.0, 0.5]}},
    ),
    (
        {"students": {"architecture": "mlp", "space": {"temperature": [1, 2]}}},
        ("temperature in the space of mlp",),
        {"students": "mlp"},
    ),
    (
        {"label_weight": 0.2, "teacher_space": {"label_weight": [0.0, 0.5]}},
        ("what is searched is not fixed", "Leave label_weight out"),
        {"teacher_space": {}},
    ),
    *(
        (
            {"imitate": "probabilities", "teacher_space": {name: searched}},
            (f"every {name} is a number", f"{name} = {value!r}", f"{name} = {way}"),
            {"teacher_space": {name: json.loads(way)}},
        )
        for name, searched, value, way in (
            ("temperature", [0, 1], 0, "[1.0, 4.0]"),
            ("temperature", {"low": -1.0, "high": 2.0}, -1.0, "[1.0, 4.0]"),
            ("temperature", ["hot", 1], "hot", "[1.0, 4.0]"),
            ("label_weight", {"low": 0.5, "high": 1.0}, 1.0, "[0.0, 0.5]"),
            ("label_weight", [False, 0.5], False, "[0.0, 0.5]"),
        )
    ),
    ({"recipe": {"class_weights": "balanced"}}, ("recipe.class_weights",), {"recipe": {}}),
    ({"label_weight": 1.0}, ("label_weight", "less than 1"), {"label_weight": 0.9}),
    ({"stduents": "mlp"}, ("'stduents'", "Did you mean 'students'?"), {"stduents": ...}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says", "mended"), REFUSED)
def test_what_cannot_be_carried_out_is_refused_with_a_way_that_works(
    changes, says, mended
):
    with pytest.raises(ProtocolError) as caught:
        mimic.Protocol(data="digits", **changes)
    for part in says:
        assert part in str(caught.value)
    assert caught.value.way_out or "Input should be" in caught.value.rule
    works = {k: v for k, v in {**changes, **mended}.items() if v is not ...}
    mimic.Protocol(data="digits", **works)


def test_what_was_not_declared_follows_from_the_candidates():
    for changes, members in (
        ({}, 4),
        ({"teacher_configurations": 2}, 2),
        ({"teacher": ["mlp", "cnn"], "teacher_configurations": 1}, 2),
        ({"teacher": [f"a{i}=mlp" for i in range(6)], "teacher_configurations": 0}, 6),
    ):
        protocol = mimic.Protocol(data="digits", **changes)
        assert protocol.ensemble == protocol.own()["ensemble"] == members
        assert "ensemble" not in protocol.describe()
        assert protocol.replace(teacher_configurations=9, teacher="mlp").ensemble == 4
    # Labels: as students without a teacher learn and search.
    labels = mimic.Protocol(data="digits", teacher="labels")
    assert labels.own()["imitate"] == "probabilities"
    assert labels.own()["teacher_space"] == labels.own()["labels_space"]
    assert labels.replace(teacher="mlp").imitate == "logits"
    assert not labels.replace(teacher="mlp").teacher_space
    declared = labels.replace(imitate="logits", teacher_space={})
    assert (declared.imitate, declared.teacher_space) == ("logits", {})


def test_a_student_s_searches_are_called_what_no_student_is():
    for taught in (False, True):
        with pytest.raises(ProtocolError, match="the records add"):
            mimic.Protocol(data="digits", students=f"{named('mlp1', taught)}=mlp")


def typed(message):
    """Returns the options of a message's way out, as a command line reads them."""
    words = message.way_out.split(", or ")[0].removesuffix(".").split()[1:]
    found = {"--layout": [], "--budgets": [], "--teacher": []}
    for option, value in zip(words[::2], words[1::2], strict=True):
        found[option] += value.split(",")
    names = {"--layout": "layouts", "--budgets": "budgets", "--teacher": "teacher"}
    made = {names[option]: values for option, values in found.items() if values}
    if "budgets" in made:
        made["budgets"] = [int(value) for value in made["budgets"]]
    return made


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        # What a layout needs at least, where a bottleneck is searched for it.
        ((1, 12), {"budgets": [5]}, ("budgets of 5", "mlp1 has 20", "--budgets 26.")),
        ((1, 12), {"budgets": [20, 500]}, ("conv3 has 26", "--budgets 26,500, or")),
        ((1, 12), {"layouts": ["mlp5"], "budgets": [9]}, ("mlp5 has 28",)),
        ((1, 6), {}, ("conv3 on inputs of 1x6", "Write --layout mlp1 --layout mlp2 ")),
        ((3, 2, 2), {"layouts": ["conv2"]}, ("conv2 on", "--layout mlp1 --layout mlp2.")),
        ((4,), {}, ("the default teacher, conv1, conv3 on a table", "--teacher mlp ")),
        ((4,), {"teacher": "mlp"}, ("conv1, conv3 on", "--layout mlp1 --layout mlp2.")),
        ((4,), {"layouts": ["mlp1"]}, ("the default teacher on", "Write --teacher mlp.")),
    ],
)  # fmt: skip
def test_layouts_that_do_not_fit_the_data_are_told_at_once(shape, changes, says):
    inputs = Inputs.of_shape(shape)
    if len(shape) == 1:
        inputs = Inputs(shape, "table")
    protocol = mimic.Protocol(data="digits", **changes)
    with pytest.raises(ProtocolError) as caught:
        check_layouts(protocol, inputs, 3)
    for part in says:
        assert part in str(caught.value)
    again = mimic.Protocol(data="digits", **{**changes, **typed(caught.value)})
    check_layouts(again, inputs, 3)
    # The smallest budget is one that the network has, and not one less.
    for student in students_of(again):
        built = shallow(inputs, 3, **student.arm.options, **(
            {"bottleneck": 0.1} if "bottleneck" in student.arm.space else {}
        ))  # fmt: skip
        assert sum(p.numel() for p in built.parameters()) <= student.budget


def test_layouts_are_not_told_where_series_end():
    unequal = Inputs((1, 12), "sequence", lengths=(7, 12))
    protocol = mimic.Protocol(data="digits")
    with pytest.raises(ProtocolError, match="--lengths zeros") as caught:
        check_layouts(protocol, unequal, 3)
    assert "--lengths 7 uses the first 7 steps" in str(caught.value)
    check_layouts(protocol, unequal.cut(12), 3)
    told = protocol.replace(layouts=[], teacher="gru", students=["lstm"])
    check_layouts(told, unequal, 3)


def test_students_are_the_layouts_at_each_budget_then_ones_own():
    protocol = mimicked.declared("digits", budgets=(300, 900), students="lenet")
    students = students_of(protocol)
    assert [s.arm.name for s in students] == [
        "mlp1-300", "mlp1-900", "conv1-300", "conv1-900", "lenet",
    ]  # fmt: skip
    assert [(s.convolutions, s.hidden) for s in students[1:3]] == [(0, 1), (1, 1)]
    assert students[-1].budget is None


def test_the_transfer_set_is_as_long_as_a_training_where_it_is_augmented():
    plain = mimic.Protocol(data="digits", steps=50, batch_size=10)
    assert plain.times(100) == 1
    augmented = plain.replace(recipe={"augmentation": ["noise"]})
    assert augmented.times(100) == 5
    assert augmented.times(101) == augmented.times(120) == 5
    assert augmented.times(3) == 50
    assert augmented.replace(passes=2).times(100) == 2


def test_public_names_are_found_lazily():
    for name in mimic.__all__:
        assert getattr(mimic, name) is not None
    with pytest.raises(AttributeError, match="nope"):
        _ = mimic.nope

"""What an option may be: its annotation says so, and messages can be typed."""

import json
from typing import Literal, Optional, TypeAlias, Union

import pytest
from torch import nn

from archtrial import protocol, specs
from archtrial.errors import ArmError
from archtrial.space import Choice
from archtrial.zoo import arms, registry
from archtrial.zoo.registry import ANY, Count, Share, register

Depth: TypeAlias = Literal[18, 34]
Blocks: TypeAlias = Literal[(2, 2), (3, 4)]


@pytest.fixture(scope="module")
def family():
    """An architecture with an option of each kind, which keeps what it is given."""

    def kept(
        input_shape,
        num_outputs,
        *,
        depth: Depth = 18,
        rate: Literal[0.5, 1.0] = 0.5,
        stage: Literal[0, 1] = 0,
        wide: Literal[True, "auto", 2] = "auto",
        name: Literal["18", "a b", "None"] = "18",
        blocks: Blocks = (2, 2),
        widths: tuple[Count, ...] = (64, 128),
        size: tuple[Count, Share] = (3, 0.5),
        pairs: tuple[tuple[int, int], ...] = (),
        heads: Count | None = None,
        groups: Optional[int] = None,  # noqa: UP045, as older code has it
        kernel: Union[Count, tuple[Count, Count]] = 3,  # noqa: UP007
        act: str = "relu",
        scale: float = 1.0,
        skip: bool = True,
        shift: int | float = 1,
        only: Literal["one"] = "one",
        start: Literal["zero"] | Share | None = None,
    ) -> nn.Module:
        """Keeps its options."""
        module = nn.Flatten()
        module.given = {k: v for k, v in locals().items() if k in TAKEN}
        return module

    try:
        yield register(space={}, kinds=ANY)(kept)
    finally:
        del registry._entries["kept"], registry._families["kept"]


TAKEN = {
    "depth": [18, 34],
    "rate": [0.5, 1.0],
    "stage": [0, 1],
    "wide": [True, "auto", 2],
    "name": ["18", "a b", "None"],
    "blocks": [(2, 2), (3, 4)],
    "widths": [(64, 128), (1,), ()],
    "size": [(3, 0.5), (1, 0)],
    "pairs": [(), ((1, 2), (3, 4))],
    "heads": [None, 4],
    "groups": [None, -1],
    "kernel": [3, (3, 5)],
    "act": ["relu", "gelu"],
    "scale": [1.0, 2],
    "skip": [True, False],
    "shift": [1, 0.5],
    "only": ["one"],
    "start": [None, "zero", 0.5],
}


def listed(value):
    """Returns a value as JSON and TOML have it."""
    return json.loads(json.dumps(value))


def alike(one, other):
    return (type(one), repr(one)) == (type(other), repr(other))


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, values in TAKEN.items() for v in values]
)
def test_a_possible_value_arrives_by_every_way(family, option, value):
    ways = {
        "Python": (family, {option: value}),
        "JSON": ("kept", {option: listed(value)}),
        "a command line": specs.parse_spec(
            specs.write_spec(None, "kept", {option: value})
        )[1:],
        "what messages say": specs.parse_spec(
            f"kept({option}={specs.write_value(value)})"
        )[1:],
        "a protocol": (
            "kept",
            protocol.Arm.model_validate(
                {"architecture": "kept", "options": {option: listed(value)}}
            ).options,
        ),
    }
    for way, (spec, options) in ways.items():
        module = arms.find(spec, options).build((40,), 10, {})
        assert alike(module.given[option], value), way
    assert alike(family((40,), 10, **{option: value}).given[option], value)
    assert alike(family((40,), 10, **{option: listed(value)}).given[option], value)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("depth", 20, "depth of kept is one of 18, 34"),
        ("depth", "18", "depth of kept is one of 18, 34"),
        ("depth", 18.0, "depth of kept is one of 18, 34"),
        ("depth", None, "depth of kept is one of 18, 34"),
        ("depth", [18], "depth of kept is one of 18, 34"),
        ("rate", 1, "rate of kept is one of 0.5, 1.0"),
        ("stage", True, "stage of kept is one of 0, 1"),
        ("wide", 1, "wide of kept is one of true, auto, 2"),
        ("wide", "true", "wide of kept is one of true, auto, 2"),
        ("name", 18, "name of kept is one of '18', 'a b', 'None'"),
        ("blocks", [2, 3], "blocks of kept is one of [2, 2], [3, 4]"),
        ("blocks", [2], "blocks of kept is one of [2, 2], [3, 4]"),
        (
            "widths",
            64,
            "widths of kept is a list, each value a whole number, at least 1",
        ),
        ("widths", [64, 0], "widths of kept: each of its values is at least 1"),
        ("widths", [True], "widths of kept: each of its values is a whole number"),
        (
            "size",
            [3],
            "size of kept is a list of 2: a whole number, at least 1; a number",
        ),
        ("size", [3, 2], "size of kept: its value 2 is at least 0 and below 1"),
        ("pairs", [[1]], "pairs of kept: each of its values is a list of 2: a whole"),
        ("heads", 0, "heads of kept is a whole number, at least 1 or None"),
        ("heads", "None", "heads of kept is a whole number, at least 1 or None"),
        ("groups", 0.5, "groups of kept is a whole number or None"),
        ("kernel", [3], "kernel of kept is a whole number, at least 1 or a list of 2"),
        ("act", 3, "act of kept is a text"),
        ("scale", True, "scale of kept is a number"),
        ("skip", 1, "skip of kept is true or false"),
        ("skip", None, "skip of kept is true or false"),
        ("shift", "far", "shift of kept is a whole number or a number"),
        ("only", "two", "only of kept is one"),
        ("start", "one", "start of kept is zero or a number, at least 0 and below 1"),
        (
            "start",
            1,
            "start of kept is zero or a number, at least 0 and below 1 or None",
        ),
    ],
)
def test_an_impossible_value_is_one_message(family, option, value, says):
    for spec, options in (("kept", {option: value}), (family, {option: value})):
        with pytest.raises(ArmError) as caught:
            arms.find(spec, options)
        assert says in str(caught.value)
        received = value[-1] if "its value" in says else value
        assert str(caught.value).endswith(repr(received))
    with pytest.raises(ArmError):
        family((40,), 10, **{option: value})


@pytest.mark.usefixtures("family")
def test_what_is_searched_is_held_to_the_annotation_throughout():
    found = arms.find("kept", {}, {"depth": [18, 34], "wide": [True, "auto"]})
    assert found.space["depth"] == Choice((18, 34))
    for searched in ({"low": 18, "high": 34, "integer": True}, [18, 20], [18, "34"]):
        with pytest.raises(ArmError, match="depth of kept is one of 18, 34"):
            arms.find("kept", {}, {"depth": searched})
    with pytest.raises(ArmError, match=r"rate of kept is one of 0\.5, 1\.0"):
        arms.find("kept", {}, {"rate": {"low": 0.5, "high": 1.0}})


@pytest.mark.usefixtures("family")
def test_options_are_described_as_they_are_typed():
    entry = registry.get("kept")
    assert entry.values.keys() == entry.options.keys() == TAKEN.keys()
    assert entry.values["depth"] == "one of 18, 34"
    assert entry.values["start"] == "zero or a number, at least 0 and below 1 or None"
    for option, default in entry.options.items():
        typed = f"kept({option}={specs.write_value(default)})"
        entry.check_options(specs.parse_spec(typed)[2])


def test_every_option_of_the_zoo_can_be_described():
    for entry in registry.entries().values():
        assert entry.values.keys() == entry.options.keys()
        assert entry.check_options(entry.options) == entry.options


def test_an_annotation_that_says_nothing_is_the_authors_mistake():
    def odd(input_shape, num_outputs, *, layers: dict = 3):  # type: ignore[type-arg]
        """Odd."""

    entry = registry.Entry("odd", odd, {}, ANY)
    with pytest.raises(TypeError, match=r"made of bool, int.*this is <class 'dict'>"):
        entry.check_options({"layers": 3})


def with_blocks(input_shape, num_outputs, *, blocks: Blocks | None = None):
    module = nn.Flatten()
    module.blocks = blocks
    return module


def test_a_users_own_literal_of_tuples_gets_a_tuple():
    module = arms.find(with_blocks, {"blocks": [3, 4]}).build((40,), 10, {})
    assert module.blocks == (3, 4)

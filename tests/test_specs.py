"""Reading `[NAME=]SPEC` with options in brackets."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archtrial.errors import ArmError
from archtrial.specs import parse_factor, parse_spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cnn", (None, "cnn", {})),
        ("a=mlp", ("a", "mlp", {})),
        (" a = mlp ( ) ", ("a", "mlp", {})),
        (
            "resnet(depth=20, skip=false)",
            (None, "resnet", {"depth": 20, "skip": False}),
        ),
        (
            'net.py:Net(skip=true, act="relu")',
            (None, "net.py:Net", {"skip": True, "act": "relu"}),
        ),
        (
            "x(a=1e-3,b=-2,c=.5,d=1.)",
            (None, "x", {"a": 1e-3, "b": -2, "c": 0.5, "d": 1.0}),
        ),
        ("x(norm=none, f=net.py)", (None, "x", {"norm": "none", "f": "net.py"})),
        ("x(a='b, c)=\"')", (None, "x", {"a": 'b, c)="'})),
        (r"x(a='it\'s \\ here')", (None, "x", {"a": r"it's \ here"})),
        ("x(a='')", (None, "x", {"a": ""})),
        ("pkg.nets:Net", (None, "pkg.nets:Net", {})),
        ("./a b/net.py:Net", (None, "./a b/net.py:Net", {})),
        ("t=runs (2)/x=1/net.py:N(a=1)", ("t", "runs (2)/x=1/net.py:N", {"a": 1})),
        ("/runs (2)/x=1/net.py:N", (None, "/runs (2)/x=1/net.py:N", {})),
    ],
)
def test_reads(text, expected):
    parsed = parse_spec(text)
    assert parsed == expected
    assert list(map(type, parsed[2].values())) == list(map(type, expected[2].values()))


@pytest.mark.parametrize(
    ("text", "rule", "at"),
    [
        ("cnn(depth=)", "a value is", 11),
        ("cnn(depth=3", "parted by commas", 12),
        ("cnn(depth 3)", "name=value", 5),
        ("cnn(", "name=value", 5),
        ("cnn(a=1,)", "name=value", 9),
        ("cnn(a=1 b=2)", "parted by commas", 9),
        ("cnn(a=1, a=2)", "'a' is given once", 10),
        ("cnn(a='x)", "ends with the quote", 7),
        ("cnn(a=1) more", "nothing follows", 10),
        ("cnn()x", "nothing follows", 6),
        ("=cnn", "a name stands before", 1),
        ("cnn(3=1)", "name=value", 5),
    ],
)
def test_says_where_a_text_cannot_be_read(text, rule, at):
    with pytest.raises(ArmError) as caught:
        parse_spec(text)
    assert rule in caught.value.rule
    assert f"at character {at} of {text!r}" in caught.value.received


@pytest.mark.parametrize("text", ["", "  ", "a=", "(a=1)", "a=(b=1)"])
def test_says_when_nothing_is_specified(text):
    with pytest.raises(ArmError, match=r"\[NAME=\]SPEC"):
        parse_spec(text)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z_0-9]*", fullmatch=True),
        st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        max_size=4,
    )
)
def test_reads_back_whatever_was_written(options):
    def written(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"
        return repr(value)

    inside = ", ".join(f"{name}={written(value)}" for name, value in options.items())
    assert parse_spec(f"a=net.py:Net({inside})") == ("a", "net.py:Net", options)


@given(st.text())
def test_reads_or_refuses_any_text(text):
    try:
        name, spec, options = parse_spec(text)
    except ArmError:
        return
    assert spec.strip() == spec != ""
    assert name is None or name
    assert isinstance(options, dict)


def test_needs_no_torch():
    code = "import sys, archtrial.specs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("residual=false,true", ("residual", [False, True])),
        (" depth = 2 , 3,4 ", ("depth", [2, 3, 4])),
        ("act='re,lu',\"gelu\"", ("act", ["re,lu", "gelu"])),
        ("scale=0.5,1e-3", ("scale", [0.5, 1e-3])),
        ("recipe=plain", ("recipe", ["plain"])),
        ("architecture=mlp, cnn ", ("architecture", ["mlp", "cnn"])),
        (
            "architecture=mlp(depth=2, act=[1,2]),wide=runs (2)/it's.py:Net(a=')',b=1),cnn",
            (
                "architecture",
                [
                    "mlp(depth=2, act=[1,2])",
                    "wide=runs (2)/it's.py:Net(a=')',b=1)",
                    "cnn",
                ],
            ),
        ),
        ("architecture='a, b.py:Net',cnn", ("architecture", ["a, b.py:Net", "cnn"])),
        ("architecture=mlp)(a=1,b=2),cnn", ("architecture", ["mlp)(a=1,b=2)", "cnn"])),
    ],
)
def test_a_factor_is_an_option_and_its_levels(text, read):
    assert parse_factor(text) == read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("residual", "a factor is written option=level,level: 'r' at character 1"),
        ("", "the end at character 1"),
        ("depth=", "a value is true or false, a number, or a text in quotes: the end"),
        ("depth=2,", "the end at character 9"),
        ("depth=2;3 4", "levels are parted by commas: '4' at character 11"),
        ("architecture=mlp,", "an arm is written [NAME=]SPEC: ''"),
        ("architecture=mlp(a=1,cnn", "an option is written name=value"),
        ("architecture='mlp'cnn", "levels are parted by commas: 'c'"),
    ],
)
def test_a_factor_that_cannot_be_read(text, says):
    with pytest.raises(ArmError) as caught:
        parse_factor(text)
    assert says in str(caught.value)

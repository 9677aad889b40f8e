"""Whatever text is given as a spec, a space or a protocol: read, or one message."""

import math
import random
import time
import tomllib
from collections.abc import Callable

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archtrial import protocol, space, specs
from archtrial.errors import ArmError, UserError

SEEDS = (
    "tweak=net.py:Net(skip=true, depth=20, act='relu')",
    "a=pkg.net:Net(depths=[1, (2, 3), []], x=None, n={num_outputs}, y=-1.5e-3)",
    "runs (2)/x=1/net.py:N(a=.5)",
    'data = "digits"\nbaseline = "mlp"\nchallengers = ["a=cnn(width=3)"]\n'
    "seed = 3\nmargin = 0.01\nsplits = { validation = 0.2, test = 0.2 }\n"
    "[space]\nlearning_rate = { low = 1e-4, high = 1e-1, log = true }\nwidth = [1, 2]\n"
    '[recipe]\noptimizer = "sgd"\n',
)
PIECES = (
    "(", ")", "[", "]", "{", "}", "'", '"', "\\", "=", ",", ":", ".py:", "\n", "\0", "\x1b[2J",
    "\ud800", "e\u0301", "\u6df1" * 30, "9" * 5000, "1e400", "-1e308", "1e-400", "1" * 3000 + "x",
    "nan", "inf", "true", "None", "**{}", "[" * 200, "(" * 200, "self", "\u0661", " ", "=" * 50,
    "2" * 400, "1.7e308",
)  # fmt: skip


def _protocol(text: str) -> None:
    try:
        declared = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    protocol.Protocol(**declared).describe()


def _space(text: str) -> None:
    values = [part for part in text.split(",") if part]
    numbers = [float(v) for v in values if _is_number(v)]
    low, high = [*numbers, 0.0, 1.0][:2]
    for declared in (
        values,
        {"low": low, "high": high},
        {"low": low, "high": high, "integer": True},
        {"low": abs(low), "high": abs(high), "log": True},
    ):
        space.sample({"x": space.parse("x", declared)}, 0, 0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[str], object]] = {
    "spec": specs.parse_spec,
    "factor": specs.parse_factor,
    "arm": lambda text: protocol.Arm.model_validate(text),
    "protocol": _protocol,
    "space": _space,
}


def mutated(draw: random.Random) -> str:
    text = draw.choice(SEEDS)
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(text))
        end = min(len(text), at + draw.choice((0, 0, 1, 5, 40)))
        text = text[:at] + draw.choice(PIECES) + text[end:]
    return text


@pytest.mark.parametrize("reader", READERS)
def test_each_text_is_read_or_is_one_message(reader):
    draw = random.Random(reader)
    until = time.monotonic() + 4
    for _ in range(1500):
        text = mutated(draw)
        try:
            READERS[reader](text)
        except (UserError, pydantic.ValidationError):  # the second Protocol explains
            pass
        except Exception as error:
            raise AssertionError(f"{text[:300]!a}") from error
        if time.monotonic() > until:
            break


@pytest.mark.parametrize(
    "text",
    [
        "n.py:N(a=" + "1" * 200_000 + "x)",
        "n.py:N(a=" + "[" * 200_000,
        "n.py:N(" + "a" * 200_000,
        "=" * 200_000,
        "a.py:" * 50_000,
        "n.py:N(a='" + "\\" * 200_000,
        " " * 200_000,
    ],
)
def test_a_long_text_takes_a_moment(text):
    start = time.process_time()
    said = ""
    try:
        specs.parse_spec(text)
    except ArmError as error:
        said = str(error)
    assert len(said) < 2000
    assert time.process_time() - start < 2


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**200), 10**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), _VALUES))
def test_what_is_written_is_read_back(options):
    name, spec, read = specs.parse_spec(specs.write_spec("arm", "n.py:N", options))
    assert (name, spec) == ("arm", "n.py:N")
    assert repr(read) == repr(options)
    assert all(math.isfinite(v) for v in read.values() if isinstance(v, float))

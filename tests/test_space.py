import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from archtrial import randomness
from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.space import Choice, Design, Integer, Real

DIMENSIONS = [
    Real(-1.0, 2.0),
    Real(1e-4, 1e-1, log=True),
    Integer(1, 6),
    Integer(1, 64, log=True),
    Choice((16, 32, 64)),
    Choice(("relu", "gelu")),
    Choice((True, False)),
]


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=str)
def test_what_is_described_is_parsed_back(dimension):
    assert spaces.parse("width", spaces.describe(dimension)) == dimension
    assert spaces.parse("width", dimension) is dimension


@given(
    st.sampled_from([d for d in DIMENSIONS if isinstance(d, Real)]),
    st.floats(0, 1),
)
def test_position_is_the_inverse_of_value(dimension, quantile):
    value = dimension.value(quantile)
    assert dimension.low <= value <= dimension.high
    assert dimension.position(value) == pytest.approx(quantile, abs=1e-9)


@given(
    st.sampled_from([d for d in DIMENSIONS if not isinstance(d, Real)]),
    st.floats(0, 1),
)
def test_whole_numbers_and_choices_stay_inside(dimension, quantile):
    value = dimension.value(quantile)
    if isinstance(dimension, Choice):
        assert value in dimension.options
    else:
        assert isinstance(value, int)
        assert dimension.low <= value <= dimension.high
    assert 0 <= dimension.position(value) <= 1


def test_every_whole_number_is_as_likely_as_the_next():
    drawn = [Integer(1, 4).value(q) for q in np.linspace(0, 1, 4000, endpoint=False)]
    np.testing.assert_array_equal(np.bincount(drawn)[1:], [1000] * 4)


def test_every_option_is_as_likely_as_the_next():
    drawn = [Choice((1, 2, 3)).value(q) for q in np.linspace(0, 1, 300, endpoint=False)]
    np.testing.assert_array_equal(np.bincount(drawn)[1:], [100] * 3)


def test_log_ranges_are_uniform_in_the_logarithm():
    space = {"learning_rate": Real(1e-4, 1e-1, log=True)}
    drawn = [spaces.sample(space, 0, i)["learning_rate"] for i in range(500)]
    assert stats.kstest(np.log10(drawn), stats.uniform(-4, 3).cdf).pvalue > 0.01
    # and not uniform in themselves
    assert stats.kstest(drawn, stats.uniform(1e-4, 1e-1).cdf).pvalue < 1e-6


def test_arms_share_the_draws_of_the_dimensions_they_share():
    rate = Real(1e-4, 1e-1, log=True)
    one = {"learning_rate": rate, "width": Choice((50, 100))}
    other = {"learning_rate": rate, "depth": Integer(1, 3), "width": Choice((8, 16))}
    pairs = [(spaces.sample(one, 3, i), spaces.sample(other, 3, i)) for i in range(60)]
    assert all(a["learning_rate"] == b["learning_rate"] for a, b in pairs)
    # A dimension of the same name but another range is another dimension.
    same = [(a["width"] == 50) == (b["width"] == 8) for a, b in pairs]
    assert 10 < sum(same) < 50


def test_draws_of_different_indices_and_names_are_independent():
    space = {"a": Real(0, 1), "b": Real(0, 1)}
    drawn = [spaces.sample(space, 0, i) for i in range(400)]
    a, b = np.array([d["a"] for d in drawn]), np.array([d["b"] for d in drawn])
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(400)
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 4 / math.sqrt(400)
    assert spaces.sample(space, 1, 0) != drawn[0]


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"low": 1e-1, "high": 1e-4}, "Swap them"),
        ({"low": 2, "high": 2}, "Fix the value"),
        ({"low": 0, "high": 1, "log": True}, "starts above 0"),
        ({"low": 0.5, "high": 3, "integer": True}, "whole numbers"),
        ({"low": 0}, "no 'high'"),
        ({"low": "a", "high": 1}, "numbers"),
        ({"low": True, "high": 2}, "numbers"),
        ({"low": 0, "high": 1, "log": "yes"}, "true or false"),
        ({"low": 0, "hgih": 1}, "'hgih'"),
        ({"low": 0, "high": math.inf}, "finite"),
        ({"low": 1, "high": math.inf, "integer": True}, "finite"),
        ([], "at least one"),
        ([1, 1], "differ"),
        ([[1]], "option is a number"),
        (3, "range or a list"),
    ],
)
def test_impossible_dimensions_are_one_clear_message(declared, says):
    with pytest.raises(ProtocolError) as caught:
        spaces.parse("width", declared)
    assert says in str(caught.value)
    assert "'width'" in str(caught.value)


def test_integer_positions_run_from_0_to_1():
    assert Integer(2, 6).position(2) == 0
    assert Integer(2, 6).position(6) == 1
    assert Integer(1, 64, log=True).position(8) == pytest.approx(0.5)


def test_a_range_too_wide_for_its_width_is_refused():
    with pytest.raises(ProtocolError, match="64 bits"):
        Real(-1e308, 1.7e308)


ARMS = {
    "mlp": {
        "learning_rate": Real(1e-4, 1e-1, log=True),
        "weight_decay": Real(1e-5, 1e-1, log=True),
        "width": Choice((50, 100)),
        "gate": Choice(("relu", "gelu")),
    },
    "cnn": {
        "learning_rate": Real(1e-4, 1e-1, log=True),
        "weight_decay": Real(1e-5, 1e-1, log=True),
        "width": Integer(8, 64, log=True),
        "a_kernel": Integer(1, 8),
        "dropout": Real(0, 0.5),
    },
}


def drawn(arm, n, *, arms=ARMS, seed=0, sampling="sobol"):
    design = Design(arms, seed, sampling)
    return [design.configuration(arm, i) for i in range(n)]


@pytest.mark.parametrize("n", [16, 32, 64])
@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_powers_of_two_of_a_sobol_sequence_are_balanced(n, arm, seed):
    found = drawn(arm, n, seed=seed)
    for name, dimension in ARMS[arm].items():
        if isinstance(dimension, Real):
            at = [dimension.position(values[name]) for values in found]
            # Each sixteenth of the range, and so each half and quarter.
            assert (np.bincount((np.array(at) * 16).astype(int)) == n // 16).all()
        elif isinstance(dimension, Choice):
            chosen = [values[name] for values in found]
            assert {chosen.count(o) for o in dimension.options} == {
                n // len(dimension.options)
            }
        else:
            quantiles = np.arange(4096) / 4096
            whole = [dimension.value(q) for q in quantiles]
            for number in range(dimension.low, dimension.high + 1):
                got = sum(values[name] == number for values in found)
                assert abs(got - n * whole.count(number) / 4096) < 2


def test_two_shared_dimensions_are_balanced_together():
    found = drawn("mlp", 16)
    first, second = (ARMS["mlp"][name] for name in ("learning_rate", "weight_decay"))
    cells = {
        (
            int(4 * first.position(values["learning_rate"])),
            int(4 * second.position(values["weight_decay"])),
        )
        for values in found
    }
    assert len(cells) == 16


def test_draws_that_are_independent_are_not_balanced():
    found = drawn("mlp", 16, sampling="random")
    at = [ARMS["mlp"]["learning_rate"].position(v["learning_rate"]) for v in found]
    assert len(set((np.array(at) * 16).astype(int))) < 16


@pytest.mark.parametrize("sampling", ["sobol", "random"])
def test_a_point_does_not_depend_on_how_many_are_drawn_nor_in_which_order(sampling):
    whole = drawn("cnn", 100, sampling=sampling)
    for n in (1, 7, 16, 17, 64):
        assert drawn("cnn", n, sampling=sampling) == whole[:n]
    backwards = Design(ARMS, 0, sampling)
    assert [backwards.configuration("cnn", i) for i in (99, 0, 40)] == [
        whole[99],
        whole[0],
        whole[40],
    ]
    assert drawn("cnn", 100, seed=1, sampling=sampling) != whole


def test_dimensions_of_one_name_are_paired_by_quantile():
    one, other = drawn("mlp", 64), drawn("cnn", 64)
    for name in ("learning_rate", "weight_decay"):
        assert [v[name] for v in one] == [v[name] for v in other]
    # Another range, and another kind of dimension: the wider half goes together.
    # (The middle of 8 to 64 on a log scale is 22.6.)
    assert [v["width"] == 100 for v in one] == [v["width"] > 22 for v in other]


def test_neither_the_order_of_the_arms_nor_their_names_change_a_draw():
    turned = dict(reversed(ARMS.items()))
    renamed = {"b": ARMS["mlp"], "a": ARMS["cnn"]}
    shuffled = {arm: dict(reversed(space.items())) for arm, space in ARMS.items()}
    for arm, other in (("mlp", "b"), ("cnn", "a")):
        assert drawn(arm, 20, arms=turned) == drawn(arm, 20)
        assert drawn(arm, 20, arms=shuffled) == drawn(arm, 20)
        assert drawn(other, 20, arms=renamed) == drawn(arm, 20)


def test_what_is_shared_and_matters_has_the_first_coordinates():
    assert Design(ARMS, 0, "sobol").names == (
        "learning_rate",
        "weight_decay",
        "width",
        "dropout",
        "a_kernel",
        "gate",
    )
    names = ("zeta", "lrBackbone", "hidden_dropout", "head-lr", "Learning Rate", "alr",
             "num_layers", "lr")  # fmt: skip
    space = {name: Real(0, 1) for name in names}
    assert Design({"a": space, "b": space}, 0, "sobol").names == (
        "Learning Rate", "head-lr", "lr", "lrBackbone", "num_layers",
        "hidden_dropout", "alr", "zeta",
    )  # fmt: skip


def test_random_draws_are_those_of_older_releases():
    design = Design(ARMS, 3, "random")
    for i in (0, 1, 40, -1):
        found = design.configuration("cnn", i)
        assert found == spaces.sample(ARMS["cnn"], 3, i)
    # Written down from release 0.2.0.
    assert design.configuration("mlp", 0) == {
        "gate": "relu",
        "learning_rate": 0.008557425458046865,
        "weight_decay": 2.9787394824237945e-05,
        "width": 100,
    }


def test_a_negative_index_is_no_part_of_the_design():
    design = Design(ARMS, 3, "sobol")
    assert design.configuration("mlp", -1) == spaces.sample(ARMS["mlp"], 3, -1)
    assert list(design.configuration("mlp", 0)) == sorted(ARMS["mlp"])


def test_the_sequence_is_scipys():
    from scipy.stats import qmc

    rng = randomness.generator(5, "search", "sobol")
    points = qmc.Sobol(6, scramble=True, rng=rng).random_base2(5)
    for i, values in enumerate(drawn("cnn", 32, seed=5)):
        assert values == {
            name: ARMS["cnn"][name].value(points[i, place])
            for place, name in enumerate(
                ("learning_rate", "weight_decay", "width", "dropout", "a_kernel")
            )
        }
    # And what it was when it was written: studies go on for years.
    assert drawn("mlp", 18)[17]["learning_rate"] == pytest.approx(
        0.011366697785812611, rel=1e-12
    )


@pytest.mark.parametrize("sampling", ["sobol", "random"])
def test_nothing_to_search_gives_nothing(sampling):
    assert drawn("a", 3, arms={"a": {}, "b": {}}, sampling=sampling) == [{}] * 3
    assert drawn("a", 3, arms={"a": {}, **ARMS}, sampling=sampling) == [{}] * 3


def test_more_names_than_a_sequence_has_are_refused():
    space = {f"x{i}": Real(0, 1) for i in range(21_202)}
    with pytest.raises(ProtocolError, match="--sampling random"):
        Design({"a": space}, 0, "sobol")
    assert len(Design({"a": space}, 0, "random").names) == 21_202


def test_powers_of_two_are_balanced():
    assert [n for n in range(1, 70) if spaces.balanced(n)] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("high", [2**53 + 1, 10**400], ids=["53 bits", "400 digits"])
@pytest.mark.parametrize("integer", [True, False])
def test_a_whole_number_beyond_64_bits_is_refused(high, integer):
    with pytest.raises(ProtocolError, match="at most 2\\^53"):
        spaces.parse("x", {"low": -high, "high": 3, "integer": integer})
    with pytest.raises(ProtocolError, match="at most 2\\^53"):
        Integer(0, high)


def test_the_largest_whole_number_is_one_of_a_range():
    assert spaces.parse("x", {"low": 0, "high": 2**53, "integer": True}).high == 2**53


@pytest.mark.parametrize("kind", [Real, Integer])
def test_a_range_made_in_python_is_finite_too(kind):
    with pytest.raises(ProtocolError, match="both ends of a range are finite"):
        kind(1, math.inf)


@pytest.mark.parametrize(
    "dimension", [Integer(1, 3), Integer(1, 8, log=True), Integer(-2, 5)]
)
def test_the_quantile_of_a_whole_number_is_the_middle_of_those_that_have_it(dimension):
    quantiles = (np.arange(100_000) + 0.5) / 100_000
    drawn = np.array([dimension.value(each) for each in quantiles])
    for value in range(dimension.low, dimension.high + 1):
        own = quantiles[drawn == value]
        middle = (own.min() + own.max()) / 2
        assert dimension.quantile(value) == pytest.approx(middle, abs=2e-5)


@pytest.mark.parametrize(
    "dimension",
    [
        Real(0, 3), Real(-1.5, 2), Real(1e-4, 0.3, log=True), Integer(1, 9),
        Integer(2, 300, log=True), Choice(("relu", "gelu", "tanh")),
    ],
)  # fmt: skip
def test_positions_of_many_values_are_those_of_each(dimension):
    values = [dimension.value(q) for q in np.linspace(0, 1, 41)]
    assert dimension.positions(values) == [dimension.position(v) for v in values]

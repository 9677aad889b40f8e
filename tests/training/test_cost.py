import collections
import dataclasses
import enum
import gc
import types

import pytest
import torch
from torch import nn

from archtrial.training import cost
from archtrial.training.structure import structure

BATCH = 6


def test_linear_layers():
    module = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    # Forward, weights' gradient, and the second layer's input gradient.
    multiply_adds = BATCH * (2 * 5 * 7 + 3 * 7 * 3)
    assert cost.training(module, torch.zeros(BATCH, 5), 10) == 2 * multiply_adds * 10


def test_a_convolution():
    module = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    # 8 x 8 -> 4 x 4; forward and the weights' gradient.
    multiply_adds = 2 * BATCH * 8 * 4 * 4 * 3 * 3 * 3
    assert cost.training(module, torch.zeros(BATCH, 3, 8, 8), 1) == 2 * multiply_adds


class States(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        return self.cell(x)[0]


@pytest.mark.parametrize(
    ("kind", "gates"),
    [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)],
    ids=["rnn", "gru", "lstm"],
)
def test_recurrent_layers(kind, gates):
    inputs, width, steps = 5, 4, 9
    module = States(kind(inputs, width, batch_first=True)).eval()
    counted = cost.training(module, torch.zeros(BATCH, steps, inputs), 1)
    recurrent = BATCH * steps * gates * width * width
    projected = BATCH * steps * gates * width * inputs
    # Forward, weights' gradient and, of the states alone, input gradient; torch
    # may leave out the first step's, whose state is no parameter.
    most = 2 * (3 * recurrent + 2 * projected)
    least = most - 2 * BATCH * gates * width * width
    assert least <= counted <= most


def multiply_adds(forward, step, module, shape, **options):
    """Holds the counts of answering and of a step against numbers of multiply-adds."""
    x = torch.zeros(BATCH, *shape, **options)
    assert cost.forward(module, x) == 2 * forward
    assert cost.step(module, x).flops == 2 * step


LENGTH, TAPS = 10, 3


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("transposed", [False, True], ids=["", "transposed"])
def test_convolutions_in_groups_forward_and_backward(groups, transposed):
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    module = nn.Sequential(nn.Linear(LENGTH, LENGTH), kind(4, 8, TAPS, groups=groups))
    linear = BATCH * 4 * LENGTH * LENGTH
    # Each input position of a transposed one, each output position of the other.
    positions = LENGTH if transposed else LENGTH - TAPS + 1
    convolution = BATCH * positions * TAPS * 4 * 8 // groups
    # The first layer has no gradient of its input.
    step = 2 * linear + 3 * convolution
    multiply_adds(linear + convolution, step, module, (4, LENGTH))


def test_depthwise_and_strided_convolutions_of_images():
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    multiply_adds(*(n * BATCH * 64 * 9 * 6 for n in (1, 2)), depthwise, (6, 8, 8))
    # 9 -> 5, and a weight of (12, 2, 3, 3): three groups of two channels.
    strided = nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3)
    multiply_adds(*(n * BATCH * 25 * 9 * 2 * 12 for n in (1, 2)), strided, (6, 9, 9))
    dilated = nn.Conv3d(2, 4, 3, dilation=2, groups=2)
    multiply_adds(*(n * BATCH * 27 * 4 for n in (1, 2)), dilated, (2, 5, 5, 5))


class Of(nn.Module):
    """What a function makes of the batch and of weights of some shapes."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(torch.zeros(shape) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.weights)


PRODUCTS = {
    # Forward and step; x is (6, 5) and has no gradient.
    "matmul": (Of(lambda x, w: x @ w, (5, 7)), 6 * 5 * 7, 2 * 6 * 5 * 7),
    "addmm": (
        Of(lambda x, w, b: torch.addmm(b, x, w), (5, 7), (7,)),
        *(6 * 5 * 7, 2 * 6 * 5 * 7),
    ),
    "addmm in place": (
        Of(lambda x, w, b: (b * 1).addmm_(x, w), (5, 7), (6, 7)),
        *(6 * 5 * 7, 2 * 6 * 5 * 7),
    ),
    "mv": (Of(lambda x, w: x @ w, (5,)), 6 * 5, 2 * 6 * 5),
    "addmv": (
        Of(lambda x, w, b: torch.addmv(b, x, w), (5,), (6,)),
        *(6 * 5, 2 * 6 * 5),
    ),
    "addmv in place": (
        Of(lambda x, w, b: (b * 1).addmv_(x, w), (5,), (6,)),
        *(6 * 5, 2 * 6 * 5),
    ),
    # The gradient of a dot product is a vector times a number: element-wise.
    "dot": (Of(lambda x, w: torch.dot(x[0], w), (5,)), 5, 5),
    "vdot": (Of(lambda x, w: torch.vdot(x[0], w), (5,)), 5, 5),
    "einsum": (
        Of(lambda x, w: torch.einsum("bi,ij->bj", x, w), (5, 7)),
        *(6 * 5 * 7, 2 * 6 * 5 * 7),
    ),
    "bmm": (
        Of(lambda x, w: x[None].expand(3, 6, 5) @ w, (3, 5, 7)),
        *(3 * 6 * 5 * 7, 2 * 3 * 6 * 5 * 7),
    ),
    "baddbmm": (
        Of(
            lambda x, w, b: torch.baddbmm(b, x[None].expand(3, 6, 5), w),
            *((3, 5, 7), (3, 6, 7)),
        ),
        *(3 * 6 * 5 * 7, 2 * 3 * 6 * 5 * 7),
    ),
    "addbmm": (
        Of(
            lambda x, w, b: torch.addbmm(b, x[None].expand(3, 6, 5), w),
            *((3, 5, 7), (6, 7)),
        ),
        *(3 * 6 * 5 * 7, 2 * 3 * 6 * 5 * 7),
    ),
    "outer": (Of(lambda x, w: torch.outer(x[0], w), (7,)), 0, 0),
    # x A, then times x again: by in1 x in2 x out and in2 x out. The gradient of A is
    # x with the outputs', then times x.
    "bilinear": (
        Of(lambda x, w: nn.functional.bilinear(x, x[:, :3], w), (7, 5, 3)),
        6 * 7 * 3 * (5 + 1),
        6 * 7 * 3 * (5 + 1) + 6 * 7 * 5 * (1 + 3),
    ),
    "conv_tbc": (
        # 6 steps of 1 example with 5 channels; its backward has both gradients.
        Of(lambda x, w, b: torch.conv_tbc(x[:, None], w, b), (3, 5, 7), (7,)),
        *(4 * 3 * 5 * 7, 3 * 4 * 3 * 5 * 7),
    ),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_of_matrices_and_vectors(product):
    module, forward, step = PRODUCTS[product]
    multiply_adds(forward, step, module, (5,))


def test_a_bilinear_layers_inputs_have_gradients_of_the_same_size():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 4), nn.Linear(5, 3)
            self.pair = nn.Bilinear(4, 3, 7)

        def forward(self, x):
            return self.pair(self.a(x), self.b(x))

    linear = BATCH * 5 * (4 + 3)
    forward = BATCH * 7 * 3 * (4 + 1)
    weight = BATCH * 7 * 4 * (1 + 3)
    # Of the first input: outputs x weight, then x second; of the second: x weight,
    # then x outputs.
    first = BATCH * 7 * 4 * 3 + BATCH * 4 * 3
    second = BATCH * 7 * 4 * 3 + BATCH * 7 * 3
    step = 2 * linear + forward + weight + first + second
    multiply_adds(linear + forward, step, Twice(), (5,))


def test_reading_ids_costs_nothing():
    module = nn.Sequential(nn.Embedding(11, 4), nn.BatchNorm1d(9), nn.GELU())
    multiply_adds(0, 0, module, (9,), dtype=torch.int64)


STEPS = 9


@pytest.mark.parametrize("bidirectional", [False, True], ids=["", "both ways"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "gates"),
    [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)],
    ids=["rnn", "gru", "lstm"],
)
def test_recurrent_layers_of_any_depth_and_direction(
    kind, gates, layers, bidirectional
):
    inputs, width, ways = 5, 4, 1 + bidirectional
    module = States(
        kind(inputs, width, layers, batch_first=True, bidirectional=bidirectional)
    )
    cells = BATCH * STEPS * ways * gates * width
    first, recurrent, between = cells * inputs, cells * width, cells * width * ways
    forward = first + layers * recurrent + (layers - 1) * between
    # The weights' gradients take as much again, and those of what is read as much
    # again, but for the batch's, and for the first states', which are no parameters.
    reading = (layers - 1) * between + layers * recurrent * (STEPS - 1) // STEPS
    multiply_adds(forward, 2 * forward + reading, module, (STEPS, inputs))


def test_an_lstm_with_a_projection():
    module = States(nn.LSTM(5, 4, batch_first=True, proj_size=3))
    forward = BATCH * STEPS * (4 * 4 * (5 + 3) + 4 * 3)
    reading = BATCH * ((STEPS - 1) * 4 * 4 * 3 + STEPS * 4 * 3)
    multiply_adds(forward, 2 * forward + reading, module, (STEPS, 5))


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("options", [{}, {"dropout": 0.1}, {"bias": False}])
def test_attention_counts_once_and_whole(options):
    tokens, width = 9, 8
    projected = BATCH * tokens * width * width
    attention = 2 * BATCH * tokens * tokens * width  # scores, and what they weigh
    forward = 4 * projected + attention
    # The batch has no gradient: three projections have one of their weights alone.
    step = forward + 3 * projected + 2 * projected + 2 * attention
    multiply_adds(forward, step, Attending(**options), (tokens, width))


class Scored(nn.Module):
    def __init__(self, looks=False):
        super().__init__()
        self.looks = looks
        self.query, self.steps = nn.Linear(8, 8), nn.LSTM(8, 8, batch_first=True)

    def forward(self, x):
        if self.looks and float(x.sum()) != 0:
            raise AssertionError
        q = self.query(x).unflatten(2, (2, 4)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
        return self.steps(mixed.transpose(1, 2).flatten(2))[0]


def test_fused_kernels_hide_nothing_wherever_a_module_is_counted():
    """One that looks at values cannot be counted on meta, and has the same products."""
    x = torch.zeros(BATCH, STEPS, 8)
    projected = BATCH * STEPS * 8 * 8
    attention = 2 * BATCH * STEPS * STEPS * 8
    for module in (Scored(), Scored(looks=True)):
        assert cost.forward(module, x) == 2 * (projected + attention + 8 * projected)
    assert cost.step(Scored(), x).flops == cost.step(Scored(looks=True), x).flops
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cuda.flash_sdp_enabled()


class Looking(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        assert float(x.sum()) == 0
        return self.inner(x)


def test_an_encoders_fast_path_hides_nothing():
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3
    )
    tokens = 9
    each = BATCH * tokens * (4 * 8 * 8 + 2 * tokens * 8 + 2 * 8 * 16)
    x = torch.zeros(BATCH, tokens, 8)
    with torch.no_grad():
        assert cost.forward(encoder, x) == 2 * 3 * each
        assert cost.forward(Looking(encoder), x) == 2 * 3 * each
    assert encoder.training


def test_what_is_answered_is_counted_in_evaluation_mode():
    assert cost.forward(OnlyInTraining(), torch.ones(3, 4)) == 2 * 3 * 4 * 4


def test_steps_and_batch_multiply():
    module = nn.Linear(5, 7)
    one = cost.training(module, torch.zeros(4, 5), 1)
    assert cost.training(module, torch.zeros(8, 5), 3) == 6 * one


def test_counting_leaves_module_and_global_generator_alone():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    before = torch.get_rng_state()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    cost.training(module, torch.zeros(3, 4), 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not module.training
    assert all(p.grad is None for p in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name])


class OnlyInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(self.linear(x)) if self.training else self.linear(x)


def test_what_is_counted_is_training():
    twice = cost.training(OnlyInTraining().eval(), torch.ones(3, 4), 1)
    assert twice == 2 * 5 * 3 * 4 * 4  # two forward, two for weights, one between


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        if float(x.sum()) > 0:
            x = x + torch.rand_like(x)
        return self.linear(x)


def test_a_module_that_looks_at_values_is_counted_where_it_is():
    module = LooksAtValues()
    before = torch.get_rng_state()
    counted = cost.training(module, torch.ones(3, 4), 1)
    assert counted == 2 * 2 * 3 * 4 * 2
    assert torch.equal(torch.get_rng_state(), before)


def test_shared_parameters_count_once():
    first = nn.Linear(4, 4, bias=False)
    assert cost.parameters(nn.Sequential(first, first)) == 16


def test_structure_tells_what_computes_differently():
    def made(**options):
        return structure(nn.Sequential(nn.Conv1d(2, 4, 3, **options), nn.Dropout(0.1)))

    assert made() == made()
    assert made() != made(stride=2)
    assert made() != made(bias=False)
    assert structure(nn.ReLU()) != structure(nn.GELU())


def test_structure_leaves_out_dropouts_probability():
    assert structure(nn.Dropout(0.1)) == structure(nn.Dropout(0.4))


class WithFunction(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.activation = activation


def test_structure_sees_functions_and_numbers_of_a_users_module():
    assert structure(WithFunction(lambda x: x + 1)) != structure(
        WithFunction(lambda x: x + 2)
    )
    assert structure(WithFunction(0.1)) != structure(WithFunction(0.2))
    assert structure(WithFunction(torch.relu)) != structure(WithFunction(torch.tanh))


class Repeated(nn.Module):
    """One layer, as often as somebody else says: its parameters never tell."""

    depth = 1

    def __init__(self, options=None):
        super().__init__()
        self.options = options
        self.layer = nn.Linear(4, 4)

    def times(self):
        return self.options["depth"]

    def forward(self, x):
        for _ in range(self.times()):
            x = self.layer(x)
        return x


@dataclasses.dataclass
class Options:
    depth: int


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    depth: int


Named = collections.namedtuple("Named", "depth")


class Sizes(enum.Enum):
    SMALL, LARGE = 1, 3


class ByAttribute(Repeated):
    def times(self):
        return self.options.depth


class ByValue(Repeated):
    def times(self):
        return self.options.value


class ByLength(Repeated):
    def times(self):
        return len(self.options)


class ByClass(Repeated):
    def times(self):
        return self.depth


class ByBuffer(Repeated):
    def __init__(self, depth):
        super().__init__()
        self.register_buffer("count", torch.tensor(depth))

    def times(self):
        return int(self.count)


class ByDropout(Repeated):
    def __init__(self, rate):
        super().__init__()
        self.drop = nn.Dropout(rate)

    def times(self):
        return 3 if self.drop.p else 1


DEPTH, SETTINGS = 1, {"depth": 1}


def settings():
    return SETTINGS["depth"]


class ByGlobal(Repeated):
    def times(self):
        return DEPTH


class ByHelper(Repeated):
    def times(self):
        return settings()


class ByProperty(Repeated):
    @property
    def repeats(self):
        return max(SETTINGS["depth"] for _ in "x")

    def times(self):
        return self.repeats


def by_class(depth):
    ByClass.depth = depth
    return ByClass()


def by_global(depth):
    global DEPTH
    DEPTH = depth
    return ByGlobal()


def by_settings(kind):
    def build(depth):
        SETTINGS["depth"] = depth
        return kind()

    return build


def by_local(depth):
    class Local(Repeated):
        def times(self):
            return depth

    return Local()


def by_closure(depth):
    module = Repeated()
    module.times = lambda: depth
    return module


BUILDERS = {
    "a dict": lambda d: Repeated({"depth": d}),
    "an ordered dict": lambda d: Repeated(collections.OrderedDict(depth=d)),
    "a default dict": lambda d: Repeated(collections.defaultdict(int, depth=d)),
    "a counter": lambda d: Repeated(collections.Counter(depth=d)),
    "a dataclass": lambda d: ByAttribute(Options(d)),
    "a frozen dataclass with slots": lambda d: ByAttribute(Frozen(d)),
    "a named tuple": lambda d: ByAttribute(Named(d)),
    "a namespace": lambda d: ByAttribute(types.SimpleNamespace(depth=d)),
    "a namespace in a dict in a list": lambda d: ByLength(
        [{"a": types.SimpleNamespace(depth=d)}] * d
    ),
    "an enumeration": lambda d: ByValue(Sizes(d)),
    "a set": lambda d: ByLength(set(range(d))),
    "a deque": lambda d: ByLength(collections.deque(range(d))),
    "bytes that change": lambda d: ByLength(bytearray(d)),
    "a class made by type()": lambda d: ByAttribute(type("Made", (), {"depth": d})),
    "a buffer": ByBuffer,
    "whether there is dropout": lambda d: ByDropout((d - 1) / 4),
    "an attribute of the class": by_class,
    "a global variable": by_global,
    "a global dict, through a function": by_settings(ByHelper),
    "a global dict, through a property": by_settings(ByProperty),
    "a local class": by_local,
    "a closure": by_closure,
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_each_configuration_has_its_own_count_whatever_was_counted_before(build):
    once = 2 * 2 * BATCH * 4 * 4  # forward, and the weights' gradient
    # Two more times: forward, weights' and inputs' gradient.
    expected = {1: once, 3: once + 2 * 2 * 3 * BATCH * 4 * 4}
    for depth in (1, 3, 1, 3):
        assert cost.training(build(depth), torch.ones(BATCH, 4), 1) == expected[depth]
        gc.collect()  # or what is gone keeps its number


def test_what_no_module_reads_is_counted_once(monkeypatch):
    counted = []
    monkeypatch.setattr(
        cost, "counted", lambda *_: counted.append(1) or cost.Step(1, 1, 1)
    )
    for rate in (0.1, 0.2, 0.3):
        module = nn.Sequential(nn.Linear(4, 11), nn.BatchNorm1d(11), nn.Dropout(rate))
        cost.training(module, torch.ones(BATCH, 4), 1)
    assert len(counted) == 1


class CopiedAtTheSecondTry(nn.Linear):
    tries = 0

    def __deepcopy__(self, memo):
        CopiedAtTheSecondTry.tries += 1
        if CopiedAtTheSecondTry.tries == 1:
            raise MemoryError
        return nn.Linear(6, 2)


def test_what_is_counted_never_depends_on_free_memory():
    """The second way of counting is for modules that cannot run on meta tensors."""
    with pytest.raises(MemoryError):
        cost.training(CopiedAtTheSecondTry(6, 2), torch.zeros(5, 6), 1)

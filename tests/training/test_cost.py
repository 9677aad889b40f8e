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
        cost, "_count", lambda *_: counted.append(1) or cost.Step(1, 1, 1)
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

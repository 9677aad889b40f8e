"""Each stacked layer against torch's own, run by run: outputs and all gradients."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from archtrial.training import recurrent, stacked

RUNS = 3


def agree(mine, theirs, inputs):
    """Holds two lists of outputs, and the gradients of `inputs`, to each other."""
    generator = torch.Generator().manual_seed(9)
    cotangents = [torch.randn(t.shape, generator=generator) for t in theirs]
    gradients = [
        torch.autograd.grad(outputs, inputs, cotangents, retain_graph=True)
        for outputs in (theirs, mine)
    ]
    for own, oracle in zip(
        (*mine, *gradients[1]), (*theirs, *gradients[0]), strict=True
    ):
        torch.testing.assert_close(own, oracle, rtol=1e-4, atol=1e-5)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(hash((shape, seed)) % 2**31)
    return torch.randn(shape, generator=generator).requires_grad_()


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 4), (4,)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear(shape, biased):
    x, weight = random(RUNS, *shape), random(RUNS, 6, 4)
    bias = random(RUNS, 6) if biased else None
    mine = stacked.linear(x, weight, bias)
    theirs = torch.stack(
        [
            functional.linear(x[r], weight[r], bias[r] if biased else None)
            for r in range(RUNS)
        ]
    )
    agree([mine], [theirs], [x, weight, *([bias] if biased else [])])


@pytest.mark.parametrize("shape", [(5,), (5, 4), ()])
@pytest.mark.parametrize("padding", [None, 0, 2, -1])
def test_embedding(shape, padding):
    weight = random(RUNS, 6, 4)
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(6, (RUNS, *shape), generator=generator)
    rows[0] = 5 if padding == -1 else padding or 0
    mine = stacked.embedding(rows, weight, padding)
    theirs = torch.stack(
        [functional.embedding(rows[r], weight[r], padding) for r in range(RUNS)]
    )
    agree([mine], [theirs], [weight])


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_of_complex_numbers(groups):
    x, weight = (
        torch.complex(random(*shape), random(*shape, seed=1)).detach().requires_grad_()
        for shape in ((RUNS, 5, 4, 7), (RUNS, 6, 4 // groups, 3))
    )
    mine = stacked.convolution(x, weight, None, 2, 1, 1, groups)
    theirs = torch.stack(
        [functional.conv1d(x[r], weight[r], None, 2, 1, 1, groups) for r in range(RUNS)]
    )
    agree([torch.view_as_real(mine)], [torch.view_as_real(theirs)], [x, weight])


@pytest.mark.parametrize(
    ("dims", "options"),
    [
        (1, {}),
        (1, {"stride": 2, "padding": 1}),
        (1, {"padding": "same", "dilation": 2}),
        (1, {"padding": "valid", "stride": 3}),
        (1, {"groups": 4}),
        (2, {"padding": 1}),
        (2, {"stride": (2, 1), "padding": (1, 2), "groups": 2}),
        (2, {"padding": "same", "dilation": (2, 1)}),
        (3, {"padding": 1, "stride": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "as on a gpu"])
@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("_MOST_WINDOW_VALUES", 1_000_000),
        ("_MOST_WINDOW_VALUES", 0),
        ("_MOST_WINDOW_VALUES_ON_A_GPU", 0),
        ("_MOST_VALUES_TURNED", 0),
    ],
    ids=["products", "run by run or made again", "run by run on a gpu", "not turned"],
)
def test_convolution(dims, options, biased, gpu, limit, most, monkeypatch):
    monkeypatch.setattr(stacked, "_on_a_gpu", lambda _: gpu)
    monkeypatch.setattr(stacked, limit, most)
    own = (functional.conv1d, functional.conv2d, functional.conv3d)[dims - 1]
    x = random(RUNS, 5, 4, *(9, 8, 7)[:dims])
    weight = random(RUNS, 8, 4 // options.get("groups", 1), *(3, 3, 2)[:dims])
    bias = random(RUNS, 8) if biased else None
    mine = stacked.convolution(x, weight, bias, **options)
    theirs = torch.stack(
        [
            own(x[r], weight[r], bias[r] if biased else None, **options)
            for r in range(RUNS)
        ]
    )
    agree([mine], [theirs], [x, weight, *([bias] if biased else [])])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("at_once", "parts"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (4, [3])]
)
def test_the_windows_of_so_many_runs_are_there_at_once(
    groups, at_once, parts, monkeypatch
):
    """On a GPU a large layer keeps its input, and makes the windows twice."""
    made = []
    columns = stacked._columns

    def counted(x, *others):
        made.append(len(x))
        return columns(x, *others)

    of_a_run = (9 * 8) * 5 * 4 * (3 * 3)  # positions, batch, channels, kernel
    monkeypatch.setattr(stacked, "_columns", counted)
    monkeypatch.setattr(stacked, "_on_a_gpu", lambda _: True)
    monkeypatch.setattr(stacked, "_MOST_WINDOW_VALUES", of_a_run - 1)
    monkeypatch.setattr(stacked, "_MOST_WINDOW_VALUES_ON_A_GPU", at_once * of_a_run)
    x, weight = random(RUNS, 5, 4, 9, 8), random(RUNS, 6, 4 // groups, 3, 3)
    bias = random(RUNS, 6)
    mine = stacked.convolution(x, weight, bias, padding=1, groups=groups)
    assert made == parts
    each = zip(x, weight, bias, strict=True)
    theirs = [functional.conv2d(*own, padding=1, groups=groups) for own in each]
    agree([mine], [torch.stack(theirs)], [x, weight, bias])
    assert made == 2 * parts


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (4, 3, 5, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
# All runs at once, one after another, two channels of each, and one.
@pytest.mark.parametrize("at_once", [2**17, 30, 20, 1])
@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "as on a gpu"])
@pytest.mark.parametrize("batch_last", [True, False])
def test_batch_norm(shape, training, affine, at_once, gpu, batch_last, monkeypatch):
    monkeypatch.setattr(stacked, "_on_a_gpu", lambda _: gpu)
    monkeypatch.setattr(stacked, "_AT_ONCE", at_once)
    x = random(RUNS, *shape)
    mean = random(RUNS, 3).detach()
    variance = random(RUNS, 3, seed=1).detach().square() + 0.5
    weight, bias = random(RUNS, 3, seed=2), random(RUNS, 3, seed=3)
    scale = (weight, bias) if affine else (None, None)
    oracle_mean, oracle_variance = mean.clone(), variance.clone()
    seen = x.movedim(1, -1).contiguous().movedim(-1, 1) if batch_last else x
    mine = stacked.batch_norm(seen, mean, variance, *scale, training, 0.2, 1e-3)
    theirs = torch.stack(
        [
            functional.batch_norm(
                x[r],
                oracle_mean[r],
                oracle_variance[r],
                *(s[r] if affine else None for s in scale),
                training,
                0.2,
                1e-3,
            )
            for r in range(RUNS)
        ]
    )
    agree([mine], [theirs], [x, *(scale if affine else ())])
    torch.testing.assert_close(mean, oracle_mean)
    torch.testing.assert_close(variance, oracle_variance)


@pytest.mark.parametrize(
    ("name", "sides", "options"),
    [
        ("max_pool1d", 1, {"kernel_size": 2}),
        ("max_pool1d", 1, {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
        ("max_pool2d", 2, {"kernel_size": (3, 2), "stride": (1, 2), "ceil_mode": True}),
        ("avg_pool1d", 1, {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
        ("avg_pool2d", 2, {"kernel_size": 2, "stride": 1, "padding": (1, 0)}),
        ("avg_pool1d", 1, {"kernel_size": 10, "ceil_mode": True}),
        ("avg_pool2d", 2, {"kernel_size": (2, 9), "ceil_mode": True}),
        ("max_pool2d", 2, {"kernel_size": (10, 9), "padding": 4, "ceil_mode": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_last", [True, False])
@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "as on a gpu"])
def test_pooling(name, sides, options, gpu, batch_last, monkeypatch):
    monkeypatch.setattr(stacked, "_on_a_gpu", lambda _: gpu)
    own = getattr(functional, name)
    more = getattr(functional, name.replace(f"{sides}d", f"{sides + 1}d"))
    x = random(RUNS, 5, 4, *(9, 8)[:sides])
    seen = x.movedim(1, -1).contiguous().movedim(-1, 1) if batch_last else x
    mine = stacked.pooling(own, more, sides)(seen, **options)
    agree([mine], [torch.stack([own(x[r], **options) for r in range(RUNS)])], [x])


KINDS = {
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "tanh": nn.RNN,
    "relu": functools.partial(nn.RNN, nonlinearity="relu"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bidirectional", "layers", "batch_first", "biased"),
    [
        (False, 1, True, True),
        (True, 1, True, True),
        (True, 2, False, True),
        (False, 3, True, False),
    ],
)
def test_recurrent(kind, bidirectional, layers, batch_first, biased):
    inputs, width, batch, steps = 3, 4, 5, 6
    module = KINDS[kind](
        inputs,
        width,
        layers,
        bias=biased,
        batch_first=batch_first,
        bidirectional=bidirectional,
    )
    function = getattr(torch, f"rnn_{kind}" if kind in ("tanh", "relu") else kind)
    x = random(RUNS, *((batch, steps) if batch_first else (steps, batch)), inputs)
    weights = [random(RUNS, *weight.shape) for weight in module._flat_weights]
    count = layers * (2 if bidirectional else 1)
    starts = [random(RUNS, count, batch, width, seed=s) for s in range(2)]
    starts = starts if kind == "lstm" else starts[:1]
    options = (biased, layers, 0.0, True, bidirectional, batch_first)
    mine = recurrent.recurrent(
        recurrent.CELLS[function],
        x,
        starts if kind == "lstm" else starts[0],
        weights,
        *options,
    )
    each = [
        function(
            x[r],
            [s[r] for s in starts] if kind == "lstm" else starts[0][r],
            [weight[r] for weight in weights],
            *options,
        )
        for r in range(RUNS)
    ]
    theirs = [torch.stack(outputs) for outputs in zip(*each, strict=True)]
    agree(list(mine), theirs, [x, *weights, *starts])


def test_one_runs_nan_stays_its_own():
    x, weight = random(RUNS, 5, 4, 9).detach(), random(RUNS, 6, 4, 3).detach()
    healthy = stacked.convolution(x, weight)
    x[1] = float("nan")
    beside = stacked.convolution(x, weight)
    assert torch.equal(beside[[0, 2]], healthy[[0, 2]])
    assert beside[1].isnan().all()

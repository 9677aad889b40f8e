"""What a first study compares: linear, fully connected, convolutional and recurrent."""

from archtrial.space import Choice, Real, Space
from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

_MNIST1D = "Greydanus and Kobak 2020, arXiv 2011.14439"

describe(
    "linear",
    Lineage(
        1958,
        "Cox 1958, J. R. Stat. Soc. B 20 (logistic regression); " + _MNIST1D,
        "Each class, or value, is a weighted sum of the inputs.",
    ),
    size=Size((40,), 10, 410),
)

describe(
    "mlp",
    Lineage(
        1986,
        "Rumelhart, Hinton and Williams 1986, Nature 323; " + _MNIST1D,
        "Hidden layers, trained by back-propagation.",
        {
            "linear": "the last layer",
            "He et al. 2016 (arXiv 1512.03385)": "the identity around hidden layers",
        },
    ),
    Variant(
        "mlp_small",
        "Two hidden layers of 50 units.",
        {"depth": 2, "width": 50},
        Size((40,), 10, 5_110),
    ),
    Variant(
        "mlp_large",
        "Three hidden layers of 400 units.",
        {"depth": 3, "width": 400},
        Size((40,), 10, 341_210),
    ),
    Variant(
        "mlp_plain",
        "Hidden layers one after another, without the identity around them.",
        {"residual": False},
        Size((40,), 10, 15_210),
    ),
    Variant(
        "mlp_kan",
        "A Kolmogorov-Arnold network: a curve for each pair of units, and 12 units.",
        {"layer": "kan", "residual": False, "width": 12},
        Size((40,), 10, 7_440),
    ),
    size=Size((40,), 10, 15_210),
)

describe(
    "cnn",
    Lineage(
        2020,
        _MNIST1D,
        "A small baseline of strided convolutions, for one dimension as for two.",
        {
            "lenet": "weights shared over positions",
            "Springenberg et al. 2014 (arXiv 1412.6806)": "strides in place of pooling",
        },
    ),
    Variant(
        "cnn_small",
        "Two convolutions of 12 channels.",
        {"depth": 2, "width": 12},
        Size((40,), 10, 1_726),
    ),
    Variant(
        "cnn_large",
        "Five convolutions of 100 channels, with batch normalisation and the identity"
        " around all but the first.",
        {"depth": 5, "width": 100, "norm": "batch", "residual": True},
        Size((40,), 10, 124_510),
    ),
    size=Size((40,), 10, 5_210),
)

describe(
    "vanilla_cnn",
    Lineage(
        2019,
        "d'Ascoli et al. 2019, arXiv 1906.06766",
        "A plain network whose fully connected equivalent is still of a size to train.",
        {"alexnet": "ReLU and overlapping max-pooling"},
    ),
    size=Size((3, 32, 32), 10, 143_178),
)

describe(
    "rnn",
    Lineage(
        1990,
        "Elman 1990, Cognitive Science 14; " + _MNIST1D,
        "A state that each step renews from the input and from itself.",
        {"Schuster and Paliwal 1997 (IEEE TSP 45)": "a second cell from the end"},
    ),
    size=Size((40,), 10, 4_918),
)

describe(
    "lstm",
    Lineage(
        1997,
        "Hochreiter and Schmidhuber 1997, Neural Computation 9; " + _MNIST1D,
        "A memory beside the state, which gates write, keep and read.",
        {"rnn": "the state", "Gers et al. 2000 (Neural Computation 12)": "forgetting"},
    ),
    Variant(
        "lstm_large",
        "Two layers of 64 units in each direction.",
        {"depth": 2, "width": 64},
        Size((40,), 10, 184_842),
    ),
    size=Size((40,), 10, 5_242),
)

describe(
    "gru",
    Lineage(
        2014,
        "Cho et al. 2014, arXiv 1406.1078; " + _MNIST1D,
        "Two gates and no memory of its own, for about the same.",
        {"lstm": "gates"},
    ),
    Variant(
        "gru_large",
        "Two layers of 64 units in each direction.",
        {"depth": 2, "width": 64},
        Size((40,), 10, 151_434),
    ),
    size=Size((40,), 10, 5_134),
)

# A budget of table 1 of the paper, whose widths it does not print.
_BUDGET = 10_000_000
_DROPOUT = Real(0.0, 0.5)
_FEW: Space = {"channels": Choice((0.05, 0.1, 0.2)), "dropout": _DROPOUT}
_SEVERAL: Space = {**_FEW, "growth": Choice((0.7, 1.0, 1.4))}
describe(
    "shallow",
    Lineage(
        2017,
        "Urban et al. 2017, ICLR, arXiv 1603.05691",
        "Networks of every depth with the same number of parameters.",
        {
            "mlp": "hidden layers",
            "lenet": "convolution and pooling in turn",
            "alexnet": "ReLU, max-pooling and dropout",
            "Ba and Caruana 2014 (arXiv 1312.6184)": "the linear bottleneck",
        },
    ),
    Variant(
        "shallow_mlp_10m",
        "Two hidden layers behind a bottleneck, of 10 million parameters.",
        {"hidden": 2, "bottleneck": 0.1, "parameters": _BUDGET},
        Size((3, 32, 32), 10, 9_997_714),
    ),
    Variant(
        "shallow_1conv_10m",
        "One convolution and a bottleneck, of 10 million parameters.",
        {"convolutions": 1, "bottleneck": 0.1, "parameters": _BUDGET},
        Size((3, 32, 32), 10, 9_999_972),
        _FEW,
    ),
    Variant(
        "shallow_2conv_10m",
        "Two convolutions, of 10 million parameters.",
        {"convolutions": 2, "bottleneck": None, "parameters": _BUDGET},
        Size((3, 32, 32), 10, 9_998_874),
        _SEVERAL,
    ),
    Variant(
        "shallow_3conv_10m",
        "Three convolutions, of 10 million parameters.",
        {"convolutions": 3, "bottleneck": None, "parameters": _BUDGET},
        Size((3, 32, 32), 10, 9_999_156),
        _SEVERAL,
    ),
    Variant(
        "shallow_4conv_10m",
        "Four convolutions, of 10 million parameters.",
        {"convolutions": 4, "bottleneck": None, "parameters": _BUDGET},
        Size((3, 32, 32), 10, 9_998_176),
        _SEVERAL,
    ),
    size=Size((40,), 10, 9_955),
)

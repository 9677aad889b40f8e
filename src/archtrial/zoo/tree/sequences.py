"""Sequences: convolutions over time, and attention."""

from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

describe(
    "tcn",
    Lineage(
        2018,
        "Bai, Kolter and Koltun 2018, arXiv 1803.01271",
        "A plain convolutional network remembers longer than recurrent ones of its size.",
        {
            "van den Oord et al. 2016 (arXiv 1609.03499)": "dilated causal convolutions",
            "resnet": "the identity around blocks",
            "Salimans and Kingma 2016 (arXiv 1602.07868)": "normalised weights",
        },
    ),
    Variant(
        "tcn_mnist",
        "Eight blocks of 25 channels with kernels of 7, the paper's for MNIST by pixels.",
        {"depth": 8, "width": 25, "kernel": 7, "dropout": 0.05},
        Size((784,), 10, 66_910),
    ),
    Variant(
        "tcn_large",
        "Five blocks of 64 channels.",
        {"depth": 5, "width": 64},
        Size((40,), 10, 112_842),
    ),
    size=Size((40,), 10, 13_910),
)

describe(
    "inception_time",
    Lineage(
        2019,
        "Ismail Fawaz et al. 2019, arXiv 1909.04939",
        "Convolutions of several long kernels side by side, one network for all series.",
        {
            "googlenet": "kernels side by side, bottlenecks",
            "resnet": "the identity around three modules",
            "nin": "global average pooling",
        },
    ),
    Variant(
        "inception_time_large",
        "Six modules of 32 filters with kernels of 40, 20 and 10: one of the paper's five.",
        {"depth": 6, "width": 32, "kernels": (40, 20, 10)},
        Size((1, 100), 2, 420_450),
    ),
    size=Size((40,), 10, 23_818),
)

describe(
    "transformer",
    Lineage(
        2017,
        "Vaswani et al. 2017, arXiv 1706.03762",
        "Attention without recurrence: each step takes from all others what it asks for.",
        {
            "Bahdanau et al. 2014 (arXiv 1409.0473)": "attention",
            "resnet": "the identity around branches",
            "Ba et al. 2016 (arXiv 1607.06450)": "layer normalisation",
        },
    ),
    Variant(
        "transformer_base",
        "Six layers of 512 values with eight heads: the encoder of the paper's base model.",
        {
            "depth": 6,
            "width": 512,
            "heads": 8,
            "positions": "sinusoidal",
            "norm_first": False,
            "dropout": 0.1,
        },
        Size((1, 512), 2, 18_916_866),
    ),
    Variant(
        "transformer_large",
        "Four blocks of 64 values.",
        {"depth": 4, "width": 64},
        Size((40,), 10, 203_530),
    ),
    size=Size((40,), 10, 27_210),
)

"""Families for tables: a residual network of vectors, and a transformer of columns."""

from archtrial.zoo.registry import Lineage, Size, Variant, describe

__all__: list[str] = []

_REVISITED = "Gorishniy, Rubachev, Khrulkov and Babenko 2021, arXiv 2106.11959"

describe(
    "residual_mlp",
    Lineage(
        2021,
        _REVISITED,
        "The residual block of images, for vectors, and tuned as well as its rivals.",
        {
            "mlp": "fully connected layers",
            "resnet": "identities that nothing stands on",
            "Ioffe and Szegedy 2015 (arXiv 1502.03167)": "batch normalisation",
        },
    ),
    Variant(
        "residual_mlp_large",
        "Six blocks of 128 values, with 256 units each.",
        {"depth": 6, "width": 128},
        Size((8,), 1, 398_593),
    ),
    size=Size((8,), 1, 34_177),
)

describe(
    "ft_transformer",
    Lineage(
        2021,
        _REVISITED,
        "Each column of a table becomes a token, columns of numbers like categories.",
        {
            "transformer": "attention between tokens",
            "Devlin et al. 2018 (arXiv 1810.04805)": "the token of the class",
            "Xiong et al. 2020 (arXiv 2002.04745)": "normalisation before the branches",
            "Shazeer 2020 (arXiv 2002.05202)": "gated units",
        },
    ),
    Variant(
        "ft_transformer_default",
        "The size that the paper takes where nothing is tuned.",
        {
            "depth": 3,
            "width": 192,
            "heads": 8,
            "dropout": 0.1,
            "attention_dropout": 0.2,
        },
        Size((8,), 1, 894_913),
    ),
    size=Size((8,), 1, 17_773),
)

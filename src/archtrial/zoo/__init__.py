"""Architectures, one family a file; `arms` finds and builds anybody's.

    >>> from archtrial import zoo
    >>> list(zoo.families())
    ['cnn', 'gru', 'linear', 'lstm', 'mlp', 'rnn', 'vanilla_cnn']
    >>> list(zoo.families()["cnn"].variants)
    ['cnn_small', 'cnn_large']
    >>> zoo.get("mlp").options["width"], zoo.get("mlp_small").options["width"]
    (100, 50)

To add a family: one file with a registered function, imported here, and its row in
`tree.py`, with its variants.
"""

from archtrial.zoo.cnn import cnn
from archtrial.zoo.linear import linear
from archtrial.zoo.mlp import mlp
from archtrial.zoo.recurrent import gru, lstm, rnn
from archtrial.zoo.registry import (
    Entry,
    Family,
    Kind,
    Lineage,
    Size,
    Variant,
    describe,
    entries,
    families,
    get,
    register,
)
from archtrial.zoo.vanilla import vanilla_cnn

from archtrial.zoo import tree  # isort: skip - of families that are there by now

__all__ = [
    "Entry",
    "Family",
    "Kind",
    "Lineage",
    "Size",
    "Variant",
    "cnn",
    "describe",
    "entries",
    "families",
    "get",
    "gru",
    "linear",
    "lstm",
    "mlp",
    "register",
    "rnn",
    "tree",
    "vanilla_cnn",
]

"""Architectures, one family a file; `arms` finds and builds anybody's.

    >>> from archtrial import zoo
    >>> list(zoo.entries())
    ['cnn', 'gru', 'linear', 'lstm', 'mlp', 'rnn', 'vanilla_cnn']
    >>> zoo.get("mlp").options["width"]
    100

To add a family: one file with a registered function, imported here.
"""

from archtrial.zoo.cnn import cnn
from archtrial.zoo.linear import linear
from archtrial.zoo.mlp import mlp
from archtrial.zoo.recurrent import gru, lstm, rnn
from archtrial.zoo.registry import Entry, Kind, entries, get, register
from archtrial.zoo.vanilla import vanilla_cnn

__all__ = [
    "Entry",
    "Kind",
    "cnn",
    "entries",
    "get",
    "gru",
    "linear",
    "lstm",
    "mlp",
    "register",
    "rnn",
    "vanilla_cnn",
]

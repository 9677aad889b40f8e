"""The families of the zoo, one a file: the paper, what it added, its switches."""

from archtrial.zoo.architectures.cnn import cnn
from archtrial.zoo.architectures.convnext import convnext
from archtrial.zoo.architectures.ft_transformer import ft_transformer
from archtrial.zoo.architectures.linear import linear
from archtrial.zoo.architectures.mixer import mixer
from archtrial.zoo.architectures.mlp import mlp
from archtrial.zoo.architectures.recurrent import gru, lstm, rnn
from archtrial.zoo.architectures.residual_mlp import residual_mlp
from archtrial.zoo.architectures.vanilla import vanilla_cnn
from archtrial.zoo.architectures.vit import vit

__all__ = [
    "cnn",
    "convnext",
    "ft_transformer",
    "gru",
    "linear",
    "lstm",
    "mixer",
    "mlp",
    "residual_mlp",
    "rnn",
    "vanilla_cnn",
    "vit",
]

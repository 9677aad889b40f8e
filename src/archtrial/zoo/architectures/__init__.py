"""The families of the zoo, one a file: the paper, what it added, its switches."""

from archtrial.zoo.architectures.cnn import cnn
from archtrial.zoo.architectures.convnext import convnext
from archtrial.zoo.architectures.inception_time import inception_time
from archtrial.zoo.architectures.linear import linear
from archtrial.zoo.architectures.mixer import mixer
from archtrial.zoo.architectures.mlp import mlp
from archtrial.zoo.architectures.recurrent import gru, lstm, rnn
from archtrial.zoo.architectures.resnet import resnet
from archtrial.zoo.architectures.tcn import tcn
from archtrial.zoo.architectures.transformer import transformer
from archtrial.zoo.architectures.vanilla import vanilla_cnn
from archtrial.zoo.architectures.vit import vit

__all__ = [
    "cnn",
    "convnext",
    "gru",
    "inception_time",
    "linear",
    "lstm",
    "mixer",
    "mlp",
    "resnet",
    "rnn",
    "tcn",
    "transformer",
    "vanilla_cnn",
    "vit",
]

"""The families of the zoo, one a file: the paper, what it added, its switches."""

from archtrial.zoo.architectures.alexnet import alexnet
from archtrial.zoo.architectures.cnn import cnn
from archtrial.zoo.architectures.googlenet import googlenet
from archtrial.zoo.architectures.lenet import lenet
from archtrial.zoo.architectures.linear import linear
from archtrial.zoo.architectures.mlp import mlp
from archtrial.zoo.architectures.nin import nin
from archtrial.zoo.architectures.recurrent import gru, lstm, rnn
from archtrial.zoo.architectures.squeezenet import squeezenet
from archtrial.zoo.architectures.vanilla import vanilla_cnn
from archtrial.zoo.architectures.vgg import vgg

__all__ = [
    "alexnet",
    "cnn",
    "googlenet",
    "gru",
    "lenet",
    "linear",
    "lstm",
    "mlp",
    "nin",
    "rnn",
    "squeezenet",
    "vanilla_cnn",
    "vgg",
]

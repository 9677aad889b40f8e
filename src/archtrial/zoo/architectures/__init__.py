"""The families of the zoo, one a file: the paper, what it added, its switches."""

from archtrial.zoo.architectures.cnn import cnn
from archtrial.zoo.architectures.densenet import densenet
from archtrial.zoo.architectures.efficientnet import efficientnet
from archtrial.zoo.architectures.linear import linear
from archtrial.zoo.architectures.mlp import mlp
from archtrial.zoo.architectures.mobilenet_v2 import mobilenet_v2
from archtrial.zoo.architectures.recurrent import gru, lstm, rnn
from archtrial.zoo.architectures.resnet import resnet
from archtrial.zoo.architectures.se_resnet import se_resnet
from archtrial.zoo.architectures.vanilla import vanilla_cnn
from archtrial.zoo.architectures.wide_resnet import wide_resnet

__all__ = [
    "cnn",
    "densenet",
    "efficientnet",
    "gru",
    "linear",
    "lstm",
    "mlp",
    "mobilenet_v2",
    "resnet",
    "rnn",
    "se_resnet",
    "vanilla_cnn",
    "wide_resnet",
]

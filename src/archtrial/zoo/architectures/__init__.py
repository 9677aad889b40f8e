"""The families of the zoo, one a file: the paper, what it added, its switches."""

from archtrial.zoo.architectures.alexnet import alexnet
from archtrial.zoo.architectures.cnn import cnn
from archtrial.zoo.architectures.convnext import convnext
from archtrial.zoo.architectures.densenet import densenet
from archtrial.zoo.architectures.efficientnet import efficientnet
from archtrial.zoo.architectures.ft_transformer import ft_transformer
from archtrial.zoo.architectures.googlenet import googlenet
from archtrial.zoo.architectures.inception_time import inception_time
from archtrial.zoo.architectures.lenet import lenet
from archtrial.zoo.architectures.linear import linear
from archtrial.zoo.architectures.mixer import mixer
from archtrial.zoo.architectures.mlp import mlp
from archtrial.zoo.architectures.mobilenet_v2 import mobilenet_v2
from archtrial.zoo.architectures.nin import nin
from archtrial.zoo.architectures.recurrent import gru, lstm, rnn
from archtrial.zoo.architectures.residual_mlp import residual_mlp
from archtrial.zoo.architectures.resnet import resnet
from archtrial.zoo.architectures.se_resnet import se_resnet
from archtrial.zoo.architectures.shallow import shallow
from archtrial.zoo.architectures.squeezenet import squeezenet
from archtrial.zoo.architectures.tcn import tcn
from archtrial.zoo.architectures.transformer import transformer
from archtrial.zoo.architectures.vanilla import vanilla_cnn
from archtrial.zoo.architectures.vgg import vgg
from archtrial.zoo.architectures.vit import vit
from archtrial.zoo.architectures.wide_resnet import wide_resnet

__all__ = [
    "alexnet",
    "cnn",
    "convnext",
    "densenet",
    "efficientnet",
    "ft_transformer",
    "googlenet",
    "gru",
    "inception_time",
    "lenet",
    "linear",
    "lstm",
    "mixer",
    "mlp",
    "mobilenet_v2",
    "nin",
    "residual_mlp",
    "resnet",
    "rnn",
    "se_resnet",
    "shallow",
    "squeezenet",
    "tcn",
    "transformer",
    "vanilla_cnn",
    "vgg",
    "vit",
    "wide_resnet",
]

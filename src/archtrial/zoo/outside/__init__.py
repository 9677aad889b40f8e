"""Image classifiers of timm and torchvision as arms, written `timm:NAME(option=value)`.

    archtrial run --data D --baseline resnet --challenger timm:resnet18
    archtrial run --data D --baseline timm:resnet18 --challenger 'timm:resnet18(pretrained=true)'

Either package is imported when such an arm is looked up, and not before. Nothing is
downloaded. Pretrained weights are found where torch.hub and Hugging Face keep what was
downloaded once, or in a file of the user's; they are read without running code, and all
of them must fit, but for the classifier: it is new, and starts from random weights. A
digest of the file is part of an arm's source, and so of what a study keeps.

A pretrained network gets the inputs of every other arm: each channel has mean 0 and
standard deviation 1 over the training rows. ImageNet's images had that as well, under the
mean and the standard deviation that most published networks expect; where a network
expects others, the study says so.
"""

from archtrial.zoo.outside.building import again, builder, loaded
from archtrial.zoo.outside.options import check_kind, check_options
from archtrial.zoo.outside.packages import is_outside, is_package, names
from archtrial.zoo.outside.pages import described, page
from archtrial.zoo.outside.pretrained import on_weights, source, without_weights

__all__ = [
    "again",
    "builder",
    "check_kind",
    "check_options",
    "described",
    "is_outside",
    "is_package",
    "loaded",
    "names",
    "on_weights",
    "page",
    "source",
    "without_weights",
]

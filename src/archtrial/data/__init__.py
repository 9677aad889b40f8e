"""Data: a name or a path becomes a `Dataset`, and that a `Split` with sealed labels."""

from archtrial.data.dataset import Dataset, TargetError
from archtrial.data.inputs import Inputs, inputs_of
from archtrial.data.labelled import check_labels, draw_labelled
from archtrial.data.sources import BUILTIN, load
from archtrial.data.split import Split
from archtrial.data.unlabelled import unlabelled

__all__ = [
    "BUILTIN",
    "Dataset",
    "Inputs",
    "Split",
    "TargetError",
    "check_labels",
    "draw_labelled",
    "inputs_of",
    "load",
    "unlabelled",
]

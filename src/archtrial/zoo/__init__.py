"""Architectures: families in `architectures/`, lineage and variants in `tree/`.

    >>> from archtrial import zoo
    >>> zoo.families()["lstm"].lineage.took["rnn"]
    'the state'
    >>> list(zoo.families()["cnn"].variants)
    ['cnn_small', 'cnn_large']
    >>> zoo.get("mlp").options["width"], zoo.get("mlp_small").options["width"]
    (100, 50)

`arms` finds and builds anybody's. To add a family: one file with a registered function
in `architectures/`, and its row in `tree/`, with its variants.
"""

from archtrial.zoo import architectures
from archtrial.zoo.architectures import *  # noqa: F403 - every family by its own name
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

from archtrial.zoo import tree  # isort: skip - of families that are there by now

__all__ = [
    "Entry",
    "Family",
    "Kind",
    "Lineage",
    "Size",
    "Variant",
    "describe",
    "entries",
    "families",
    "get",
    "register",
    "tree",
]
__all__ += architectures.__all__

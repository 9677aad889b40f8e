"""A network without shared weights that computes the same as one with them.

    >>> import archtrial
    >>> from archtrial import equivalents, zoo
    >>> cnn = zoo.cnn((40,), 10)
    >>> equivalents.sizes(cnn, (40,)).fcn
    190810
    >>> network = archtrial.equivalent_fcn(cnn, (40,))
    >>> equivalents.parts(network).deviation  # until it is trained
    0.0

`graph` plans, `mapping` builds and compares, `untied` has the layers, `network` holds
them and answers, `sizes` says how large all that is before it is there.
"""

from archtrial.equivalents.graph import BatchNorm, Form
from archtrial.equivalents.mapping import (
    OverflowingError,
    equivalent_fcn,
    locally_connected,
    mapped,
)
from archtrial.equivalents.network import (
    Network,
    local_masks,
    parts,
    reset,
    with_part,
)
from archtrial.equivalents.sizes import Sizes, available_memory, sizes
from archtrial.equivalents.untied import Parts

__all__ = [
    "BatchNorm",
    "Form",
    "Network",
    "OverflowingError",
    "Parts",
    "Sizes",
    "available_memory",
    "equivalent_fcn",
    "local_masks",
    "locally_connected",
    "mapped",
    "parts",
    "reset",
    "sizes",
    "with_part",
]

"""What is compared, declared before the first run.

A protocol is frozen, and everything that a result depends on follows from it.
`declared.py` is what a trial declares, `reading.py` the file of it, `arm.py` what that is
put together from, `factors.py` the arms that crossed factors make, and `resolved.py` what
it is once data and arms are known, with its hash.
"""

from archtrial.protocol.arm import (
    HYPERPARAMETERS,
    MODERN,
    Arm,
    Recipe,
    Splits,
    describe_space,
    laid_over,
)
from archtrial.protocol.declaration import Count, Positive, Searched, members
from archtrial.protocol.declared import (
    DEFAULT_SPACE,
    EqualEffort,
    FewLabels,
    OnData,
    Protocol,
    builtin,
    load,
    template,
)
from archtrial.protocol.factors import RESERVED
from archtrial.protocol.procedure import (
    PROCEDURE_HYPERPARAMETERS,
    PROCEDURES,
    STRONG,
    Augmentation,
    Kind,
    Procedure,
    procedure_space,
)
from archtrial.protocol.reading import loader, read
from archtrial.protocol.resolved import (
    asked,
    canonical,
    differences,
    digest,
    digest_before,
)

__all__ = [
    "DEFAULT_SPACE",
    "HYPERPARAMETERS",
    "MODERN",
    "PROCEDURES",
    "PROCEDURE_HYPERPARAMETERS",
    "RESERVED",
    "STRONG",
    "Arm",
    "Augmentation",
    "Count",
    "EqualEffort",
    "FewLabels",
    "Kind",
    "OnData",
    "Positive",
    "Procedure",
    "Protocol",
    "Recipe",
    "Searched",
    "Splits",
    "asked",
    "builtin",
    "canonical",
    "describe_space",
    "differences",
    "digest",
    "digest_before",
    "laid_over",
    "load",
    "loader",
    "members",
    "procedure_space",
    "read",
    "template",
]

"""What a study of procedures with few labels declares before its first run."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self, TypeAlias, get_args

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.protocol import (
    PROCEDURE_HYPERPARAMETERS,
    STRONG,
    Arm,
    Augmentation,
    Count,
    EqualEffort,
    FewLabels,
    Recipe,
    Searched,
    laid_over,
    loader,
)

__all__ = ["AUGMENTED", "FEEDBACKS", "WEAK", "Compared", "Protocol", "load"]

Compared: TypeAlias = Literal[
    "supervised", "augmented", "pseudo_labels", "uda", "mpl", "mpl_h0", "mpl_negated"
]
AUGMENTED = "augmented"
"""Labels alone, of strongly changed examples: what that brings without any others."""

FEEDBACKS = ("mpl_h0", "mpl_negated")
"""What meta pseudo labels are held against, to tell whether h matters."""

WEAK: Mapping[str, tuple[Augmentation, ...]] = {
    "image": ("shift",),
    "sequence": ("shift",),
}
"""By the kind of input, the weak changes where none are declared."""


TRAINING_SPACE: Mapping[str, spaces.Dimension] = {
    "learning_rate": spaces.Real(1e-3, 3e-2, log=True),
    "weight_decay": spaces.Real(1e-5, 1e-2, log=True),
}
"""What is searched of the training where nothing is declared: narrower than a trial's, whose
arms are networks of any kind. Here the network is one."""


class Protocol(FewLabels, EqualEffort):
    """Does a teacher that learns from its student teach better?

    Only `data` and, but for mnist1d, `labels` or `unlabelled` have no default. Pham et al.
    2021, arXiv 2003.10580.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    labels: Count | None = None
    """Training rows whose labels are seen, each class by its share; every training draws
    its own, the same for all procedures. By default 400 of mnist1d, and else all."""
    architecture: Arm = Arm.model_validate("cnn")
    """The network that all procedures train: a zoo name or net.py:Net, with (options). What
    is searched of it is what its own `space` declares, and by default nothing."""
    procedures: tuple[Compared, ...] = get_args(Compared)
    """A procedure that is compared: supervised, augmented (labels of strongly changed
    examples alone), pseudo_labels, uda, mpl, mpl_h0 or mpl_negated. By default all."""
    weak: tuple[Augmentation, ...] | None = None
    """A weak change of examples, of labelled ones and of those that a model labels: shift,
    flip, scale, noise and others. By default shift, of images and series."""
    strong: tuple[Augmentation, ...] | None = None
    """A strong change of examples, for which a model shall answer as for weakly changed
    ones. By default several, of images and series."""
    space: Searched = dict(TRAINING_SPACE)  # noqa: RUF012 - pydantic copies it
    """What is searched of the training by every procedure."""
    procedure_space: Searched | None = None
    """What is searched of those procedures that have it. By default unlabelled_weight and
    confidence_threshold; feedback_weight is another."""
    batch_size: Count = 50
    """Labelled examples in a batch; as many without labels, times procedure.ratio."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        if declared.get("data") == "mnist1d" and "unlabelled" not in declared:
            declared.setdefault("labels", 400)
        return declared

    @pydantic.model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if self.labels is None and self.unlabelled is None:
            raise ProtocolError(
                "few labels are seen, or there are examples without labels",
                "labels = None, unlabelled = None",
                "Say how many labels are seen: --labels 1000 (in a protocol, labels ="
                " 1000). Or where there are more examples: --unlabelled more.npz.",
            )
        if len(set(self.procedures)) < max(2, len(self.procedures)):
            raise ProtocolError(
                "two procedures or more are compared, each once",
                f"procedures = {list(self.procedures)}",
                "Write for example --procedure supervised --procedure uda.",
            )
        beside = {
            "a recipe of the architecture": self.architecture.recipe != "plain",
            "procedure.kind of [recipe]": self.recipe.procedure.kind != "supervised",
        }
        for received, refused in beside.items():
            if refused:
                raise ProtocolError(
                    "all procedures train one network by one recipe, but for what they"
                    " differ in",
                    received,
                    "Declare the recipe under [recipe], and what is compared as procedures"
                    ' = ["supervised", "mpl"].',
                )
        for name, own in {
            "weak": self.recipe.augmentation, "strong": self.recipe.procedure.strong,
        }.items():  # fmt: skip
            if own:
                raise ProtocolError(
                    "how examples are changed is said in one place",
                    f"{list(own)} in [recipe]",
                    f"Write {name} = {list(own)} beside [recipe].",
                )
        for name in self.procedure_space or {}:
            if name not in PROCEDURE_HYPERPARAMETERS:
                near = get_close_matches(name, PROCEDURE_HYPERPARAMETERS, 1)
                raise ProtocolError(
                    "[procedure_space] is of what procedures alone have:"
                    f" {', '.join(PROCEDURE_HYPERPARAMETERS)}",
                    name,
                    f"Did you mean {near[0]!r}?" if near else "Write it under [space].",
                )
        return self

    def recipe_of(self, procedure: Compared, kind: str) -> Recipe:
        """Returns what a network is trained by.

        Args:
            procedure: One of those that are compared.
            kind: Of the inputs: "table", "sequence", "image", "array" or "names".

        Raises:
            ProtocolError: The procedure needs changes of examples, and nobody knows any.
        """
        weak = WEAK.get(kind, ()) if self.weak is None else self.weak
        strong = STRONG.get(kind, ()) if self.strong is None else self.strong
        if not strong and procedure not in ("supervised", "pseudo_labels"):
            leave = "leave such procedures out: --procedure supervised --procedure"
            leave += " pseudo_labels."
            raise ProtocolError(
                f"{procedure} changes examples strongly, so that their class stays",
                f"inputs of the kind {kind}, of which nobody knows such a change"
                if self.strong is None
                else "strong = []",
                f"Say what may change: --strong noise, or {leave}"
                if kind in ("table", "array")
                else leave.capitalize(),
            )
        augmented = procedure == AUGMENTED
        return laid_over(
            self.recipe,
            {
                "augmentation": strong if augmented else weak,
                "procedure": {
                    "kind": "supervised" if augmented else procedure,
                    "strong": strong,
                },
            },
            kind,
        )


load = loader(Protocol, "one architecture, and procedures that train it")

"""How a training uses examples without labels, as a recipe declares it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.protocol.declaration import Count, Declaration, NotNegative, Positive

__all__ = [
    "PROCEDURES",
    "PROCEDURE_HYPERPARAMETERS",
    "STRONG",
    "Augmentation",
    "Kind",
    "Procedure",
    "procedure_space",
]

Augmentation: TypeAlias = Literal[
    "shift", "flip", "scale", "noise", "cutout", "affine", "contrast", "stretch"
]
"""How an example may be changed; `Recipe.augmentation` says what each does."""

Kind: TypeAlias = Literal[
    "supervised", "pseudo_labels", "uda", "mpl", "mpl_h0", "mpl_negated"
]
PROCEDURES: tuple[Kind, ...] = get_args(Kind)

PROCEDURE_HYPERPARAMETERS = (
    "unlabelled_weight",
    "confidence_threshold",
    "feedback_weight",
)
"""What a run may set of its procedure for itself."""

STRONG: Mapping[str, tuple[Augmentation, ...]] = {
    "image": ("shift", "affine", "contrast", "cutout"),
    "sequence": ("shift", "scale", "noise"),
}
"""By the kind of input, the strong changes where none are declared. Of tables and plain
arrays nobody knows what may change without changing the class."""


class Procedure(Declaration):
    """Where a training's targets come from: labels alone, or the model's own answers.

    Also read from its kind alone: "uda".
    """

    kind: Kind = "supervised"
    """"supervised": labelled examples alone. "pseudo_labels": the network's own answers
    are labels of the others, too (Lee 2013). "uda": and it answers for a strongly changed
    example as for a weakly changed one (Xie et al. 2020, arXiv 1904.12848). "mpl": a
    student learns from the pseudo labels of a teacher, who is trained as in "uda" and by
    h, how much the student's step lowered its loss on labels (Pham et al. 2021, arXiv
    2003.10580). "mpl_h0": the same with h = 0; "mpl_negated": with -h."""
    ratio: Count = 1
    """Examples without labels in a batch for each labelled one."""
    strong: tuple[Augmentation, ...] = ()
    """How examples are changed strongly, names of augmentations; weakly, as the recipe's
    `augmentation` says. Without any, those of `STRONG` for images and series."""
    unlabelled_weight: NotNegative = 1.0
    """Of the loss without labels, where labels weigh 1."""
    ramp: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1
    """The share of the steps over which that weight rises from 0."""
    confidence_threshold: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.6
    """Examples whose largest probability is at most this have no part in that loss."""
    temperature: Positive = 0.7
    """Of the softmax that "uda" asks a strongly changed example to answer with."""
    pseudo_labels: Literal["sampled", "hard", "soft"] = "sampled"
    """What a teacher tells its student: a class drawn from its softmax, for which the
    derivation of h holds, the most probable class, or the softmax itself, of which h has
    no gradient."""
    feedback_weight: NotNegative = 1.0
    """Of h in the teacher's loss, where labels weigh 1."""
    finetuning: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1
    """The last share of the steps, in which a student learns from labels alone, by the
    learning rates that the schedule has left."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        if isinstance(declared, str):
            return {"kind": declared}
        return declared

    @property
    def unlabelled(self) -> bool:
        """Whether it reads examples without labels."""
        return self.kind != "supervised"

    @property
    def taught(self) -> bool:
        """Whether the model that counts is the student of another one."""
        return self.kind.startswith("mpl")

    @property
    def compares_views(self) -> bool:
        """Whether it needs strongly changed examples."""
        return self.kind not in ("supervised", "pseudo_labels")

    @property
    def searchable(self) -> tuple[str, ...]:
        """Which of `PROCEDURE_HYPERPARAMETERS` change anything."""
        if not self.unlabelled:
            return ()
        common = PROCEDURE_HYPERPARAMETERS[:2]
        own = self.kind in ("mpl", "mpl_negated")
        return (*common, "feedback_weight") if own else common

    def finetuned_from(self, steps: int) -> int | None:
        """Returns after which of so many steps a student is finetuned; None: never."""
        last = round(self.finetuning * steps)
        return steps - last if self.taught and last else None

    def on(self, kind: str) -> Self:
        """Returns it with the strong changes that inputs of a kind have by default.

        Raises:
            ProtocolError: It needs some, and nobody knows any.
        """
        if self.strong or not self.compares_views:
            return self
        if kind not in STRONG:
            raise ProtocolError(
                f"{self.kind} compares a weakly and a strongly changed example",
                f"inputs of the kind {kind}, of which nobody knows what may change"
                " without changing the class",
                'Name it in a protocol, under [recipe.procedure]: strong = ["noise"]; or take'
                ' "supervised" and "pseudo_labels".',
            )
        return self.model_copy(update={"strong": STRONG[kind]})


def procedure_space(procedure: Procedure) -> dict[str, spaces.Dimension]:
    """Returns what is searched of a procedure where nothing else is declared.

    The weight of what is unlabelled, and the confidence from which it counts: what
    authors set by hand, and differently for each data set.
    """
    if not procedure.unlabelled:
        return {}
    return {
        "unlabelled_weight": spaces.Real(0.2, 5.0, log=True),
        "confidence_threshold": spaces.Real(0.0, 0.95),
    }

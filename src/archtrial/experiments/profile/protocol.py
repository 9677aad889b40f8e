"""What a profile of architectures declares before its first run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.files import name_of
from archtrial.protocol import Arm, Count, OnData, Positive, Searched, loader
from archtrial.statistics.simultaneous import seeds_needed

__all__ = ["GROUPS", "Group", "Protocol", "load"]

Group = Literal["cost", "trainability", "generalisation", "representation"]
"""What can be measured; each is a file of `groups` and one of `measuring`."""

GROUPS: tuple[Group, ...] = get_args(Group)


class Protocol(OnData):
    """What do architectures cost, and what can they do?

    `data` and `architectures` have no default.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    architectures: tuple[Arm, ...]
    """What is profiled: a zoo name or net.py:Net, with (options)."""
    only: tuple[Group, ...] = GROUPS
    """A group of measures; by default all of them."""
    learning_rates: Annotated[
        tuple[Positive, ...], pydantic.Field(examples=[".003,.01,.03"])
    ] = (0.003, 0.01, 0.03, 0.1)
    """What is tried for each architecture, from the lowest to the highest; the best by
    validation is what fresh seeds are trained with."""
    tuning_seeds: Count = 1
    """Seeds on which each learning rate is tried; none of them counts afterwards."""
    seeds: Count = 6
    """Fresh seeds of each architecture."""
    evaluations: Count = 20
    """Validation scores within a training, evenly spaced."""
    target_score: Annotated[float, pydantic.Field(allow_inf_nan=False)] | None = None
    """The validation score whose price is asked, in the metric's units: .8 is 80 %; by
    default what the architecture that ends lowest ends at."""
    configurations: Count = 24
    """Configurations that are drawn of each architecture's space, to see how many train."""
    space: Searched = {  # noqa: RUF012 - pydantic copies it
        "learning_rate": spaces.Real(1e-4, 1.0, log=True)
    }
    """What they draw of training, beside what the architecture searches of itself."""
    default_steps: ClassVar[int] = 200
    trained_steps: ClassVar[int] = 600
    """What `default_steps` is where trained networks are looked at, and not their cost
    alone."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        for name in ("architectures", "only"):
            value = declared.get(name)
            if isinstance(value, (str, Mapping, Arm)) or callable(value):
                declared[name] = (value,)
        if not declared.get("architectures"):
            raise ProtocolError(
                "a profile is of one or more architectures",
                "none is named",
                "Name them: archtrial profile mlp cnn --data mnist1d (in a protocol,"
                ' architectures = ["mlp", "cnn"]).',
            )
        if declared.get("data") is None:
            raise ProtocolError(
                "architectures are profiled on data",
                "none are named",
                "Name them: --data mnist1d, or a path (in a protocol, data ="
                ' "mnist1d").',
            )
        groups = declared.get("only", ())
        for name in groups if isinstance(groups, Sequence) else (groups,):
            if name not in GROUPS:
                raise ProtocolError(
                    f"a group of measures is one of {', '.join(GROUPS)}",
                    repr(name),
                    f"Write --only {GROUPS[0]}, or leave it out for all of them.",
                )
        return declared

    @pydantic.model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        self._check_names()
        if not self.only or len(set(self.only)) < len(self.only):
            raise ProtocolError(
                "groups are one or more, each once",
                f"only = {list(self.only)}",
                f"Leave it out for all of them: {', '.join(GROUPS)}.",
            )
        if "learning_rate" in self.recipe.model_fields_set:
            raise ProtocolError(
                "learning rates are tried, for each architecture",
                f"recipe.learning_rate = {self.recipe.learning_rate:g}",
                f"Write --learning-rates {self.recipe.learning_rate:g}, with its comma"
                f" (in a protocol, learning_rates = [{self.recipe.learning_rate:g}]).",
            )
        rates = self.learning_rates
        if list(rates) != sorted(set(rates)) or not rates:
            raise ProtocolError(
                "learning rates are one or more, each larger than the one before",
                f"learning_rates = {list(rates)}",
                "Write --learning-rates .003,.01,.03 (in a protocol, learning_rates ="
                " [0.003, 0.01, 0.03]).",
            )
        if self.seeds < (needed := seeds_needed(self.alpha)):
            raise ProtocolError(
                f"an interval of a median takes {needed} seeds at alpha ="
                f" {self.alpha:g}",
                f"seeds = {self.seeds}",
                f"Write --seeds {needed} (in a protocol, seeds = {needed}).",
            )
        return self

    def length(self, training_rows: int) -> int:
        """Returns the steps of one training on so many rows."""
        if self.steps is None and self.epochs is None and set(self.only) != {"cost"}:
            return self.trained_steps
        return super().length(training_rows)

    def _check_names(self) -> None:
        known: dict[str, Arm] = {}
        for arm in self.architectures:
            if (
                other := known.setdefault(name_of(arm.name).casefold(), arm)
            ) is not arm:
                spec = arm.describe()["architecture"]
                raise ProtocolError(
                    "architectures are told apart by their names"
                    + ("" if other.name == arm.name else ", whatever their case"),
                    f"{other.name} and {arm.name}",
                    f"Give one another name, as in second={spec}.",
                )


load = loader(Protocol, "architectures that are profiled")

"""What a choice declares before its first run: the data, the time, the ladder of arms."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import pydantic

from archtrial import space as spaces
from archtrial.errors import ProtocolError
from archtrial.files import name_of
from archtrial.protocol import Arm, Count, OnData, Positive, Recipe, Searched, loader

__all__ = [
    "FINAL",
    "HALF",
    "LIMITS",
    "PLAIN",
    "SEARCH",
    "Protocol",
    "load",
    "seconds_of",
]

SEARCH, HALF, FINAL = "search", "half", "final"
"""What trainings are for, their coordinate "part": the searches on a part of the rows; the
tuned configurations on half of that part; the finalists."""

PLAIN = "plain scikit-learn"
"""What the records call an estimator that is not tuned, and stands beside the arms."""

LIMITS = {
    "max_parameters": "parameters",
    "max_flops": "FLOPs of one answer",
    "max_latency": "milliseconds for one answer",
    "max_memory": "MiB for one answer",
}
"""What a user may not be able to afford, and in which unit."""

_SPACE = {
    "learning_rate": spaces.Real(3e-4, 3e-2, log=True),
    "weight_decay": spaces.Real(1e-5, 1e-1, log=True),
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Protocol(OnData):
    """Which architecture should I start from on my data?

    Only `data` has no default.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    budget: Annotated[str, pydantic.Field(examples=["30m"])] = "30m"
    """Time to spend, such as 90s, 30m or 2h: it decides how many arms are tried, how
    long they train and how many of their configurations."""
    arms: tuple[Arm, ...] = ()
    """An arm of the ladder, the simplest first: a zoo name, sklearn:NAME or net.py:Net,
    with (options). By default a ladder that fits the kind of data."""
    max_parameters: Count | None = None
    """Parameters that an arm may have."""
    max_flops: Positive | None = None
    """Floating-point operations (2 x multiply-adds) that one answer may take."""
    max_latency: Positive | None = None
    """Milliseconds that one answer may take on this machine."""
    max_memory: Positive | None = None
    """MiB of weights and of what the layers of one answer write."""
    space: Searched = dict(_SPACE)  # noqa: RUF012 - pydantic copies it
    """What is searched of the training of every network."""
    recipe: Recipe = Recipe(weight_decay_on="weights")
    effort: Annotated[int, pydantic.Field(ge=4)] = 4
    """Trials that an experimenter spends before picking the best (k), 4 at least."""
    confirm_seeds: Annotated[int, pydantic.Field(ge=3)] = 3
    """Fresh seeds of the best configurations (r), 3 at least."""
    default_steps: ClassVar[int] = 1500

    @pydantic.model_validator(mode="before")
    @classmethod
    def _read(cls, declared: Any) -> Any:
        declared = dict(declared)
        arms = declared.get("arms")
        if isinstance(arms, (str, Mapping, Arm)) or callable(arms):
            declared["arms"] = (arms,)
        return declared

    @pydantic.model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        seconds_of(self.budget)
        if len(self.arms) == 1:
            raise ProtocolError(
                "a choice is among two arms at least",
                f"{self.arms[0].name} alone",
                "Name another one, --arm linear --arm mlp, or leave them out for a"
                " ladder that fits the data.",
            )
        files: dict[str, str] = {name_of(PLAIN).lower(): PLAIN}
        for arm in self.arms:
            file = name_of(arm.name).lower()
            if file in files:
                spec = str(arm.describe()["architecture"])
                raise ProtocolError(
                    "every arm has a name of its own, whatever the case of its letters",
                    f"{arm.name!r} beside {files[file]!r}",
                    f"Name it apart: --arm other={spec}.",
                )
            files[file] = arm.name
            if arm.recipe != "plain":
                raise ProtocolError(
                    "all arms have one recipe, so that they differ in nothing else",
                    f"recipe of {arm.name}",
                    "Declare it beside them, under [recipe] of the protocol.",
                )
        if self.recipe.length != 1:
            raise ProtocolError(
                "the time decides how long arms train",
                f"recipe.length = {self.recipe.length:g}",
                "Leave length out of the recipe; --steps says how long at most.",
            )
        if "dropout" in self.space:
            raise ProtocolError(
                "dropout is of those arms that have it, whose own spaces search it",
                "dropout in the [space] of all arms",
                "Leave it out.",
            )
        return self

    @property
    def seconds(self) -> float:
        """The budget."""
        return seconds_of(self.budget)

    @property
    def first_look(self) -> int:
        """Configurations of each arm at the first look: 16, or 4 k where that is more."""
        return max(16, 4 * self.effort)


def seconds_of(budget: str, option: str = "--budget") -> float:
    """Reads 90s, 30m, 2h or 1d.

    Args:
        budget: The text.
        option: By which it was given.

    Raises:
        ProtocolError: It is no time.
    """
    try:
        seconds = float(budget[:-1]) * _UNITS[budget[-1:]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ProtocolError(
            "a budget is a time such as 90s, 30m, 2h or 1d",
            repr(budget),
            f"Write {option} 30m.",
        )
    return seconds


load = loader(Protocol, "a ladder of arms, or none")

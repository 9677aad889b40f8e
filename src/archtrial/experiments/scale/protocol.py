"""What a study of scale declares before its first run."""

from typing import Annotated, Literal, Self, TypeAlias, get_args

import pydantic

from archtrial.errors import ProtocolError
from archtrial.protocol import Arm, Count, EqualEffort, loader

__all__ = ["AXES", "BASE", "COMPOUND", "Axis", "Protocol", "load"]

Axis: TypeAlias = Literal["depth", "width", "resolution"]
AXES: tuple[Axis, ...] = get_args(Axis)
"""Along which a network grows."""

BASE, COMPOUND = "base", "compound"
"""What the records call the network as it is, and as it grows along several axes."""


class Protocol(EqualEffort):
    """Do depth, width and resolution grow best together?

    Only `data` has no default. Tan and Le 2019, arXiv 1905.11946, section 3.

    Raises:
        ProtocolError: A key is unknown, a value impossible, or two contradict.
    """

    architecture: Arm = Arm.model_validate("resnet")
    """The network that grows: a zoo name or net.py:Net, with (options)."""
    depth: str | None = None
    """The option of the architecture that is its depth; by default depth, where it has
    such an option."""
    width: str | None = None
    """The option that is its width; by default width, or another of its names."""
    resolution: str | None = None
    """The option that is the side to which inputs are resized; by default resolution,
    where it has such an option."""
    growth: Annotated[float, pydantic.Field(gt=1, allow_inf_nan=False)] = 2.0
    """By which the FLOPs grow at each step of phi."""
    phi: Count = 1
    """The largest step: FLOPs of growth ** phi, and a comparison at every step."""
    grid: Annotated[int, pydantic.Field(ge=2)] = 4
    """Parts into which the growth is divided between the axes when alpha, beta and gamma
    are looked for at phi = 1."""
    grid_seeds: Count = 2
    """Trainings of each point of that grid."""

    @pydantic.model_validator(mode="after")
    def _has_one_recipe(self) -> Self:
        if self.architecture.recipe != "plain":
            raise ProtocolError(
                "all forms have one recipe",
                f"recipe of {self.architecture.name}",
                "Declare it under [recipe] of the protocol.",
            )
        return self


load = loader(Protocol, "one architecture, which grows")

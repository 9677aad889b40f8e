"""Who is taught: layouts at equal numbers of parameters, and networks of the user's."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from archtrial.experiments.mimic.protocol import LAYOUT, Protocol
from archtrial.protocol import Arm
from archtrial.zoo.architectures.shallow import space_of

__all__ = ["Student", "students_of"]


@dataclasses.dataclass(frozen=True)
class Student:
    """A network that is tuned with a teacher, and without."""

    arm: Arm
    layout: str | None = None
    """Such as "conv2"; None for a network of the user's own."""
    convolutions: int | None = None
    hidden: int | None = None
    """Fully connected hidden layers."""
    budget: int | None = None
    """The parameters that it may have."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as a resolved protocol has it."""
        described = self.arm.describe()
        own = {k: v for k, v in vars(self).items() if k != "arm"}
        return {**described, **own}


def students_of(declared: Protocol) -> Sequence[Student]:
    """Returns all students, layouts first, in the order of their declaration."""
    found = []
    for layout in declared.layouts:
        match = LAYOUT.fullmatch(layout)
        assert match is not None
        convolutions, hidden = int(match[4] or 0), int(match[2] or 1)
        for budget in declared.budgets:
            options = {"convolutions": convolutions, "hidden": hidden}
            arm = Arm(
                name=f"{layout}-{budget}",
                architecture="shallow",
                options={**options, "parameters": budget},
                space=dict(space_of(convolutions, hidden)),
            )
            found.append(Student(arm, layout, convolutions, hidden, budget))
    return [*found, *map(Student, declared.students)]

"""Who is taught: layouts at equal numbers of parameters, and networks of the user's."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from archtrial.data import Inputs
from archtrial.errors import ArmError, ProtocolError
from archtrial.experiments.mimic.protocol import LAYOUT, Protocol
from archtrial.protocol import Arm
from archtrial.zoo.architectures.shallow import least, space_of

__all__ = ["Student", "check_layouts", "students_of"]


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
        convolutions, hidden = _layers(layout)
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


def check_layouts(declared: Protocol, inputs: Inputs, num_outputs: int) -> None:
    """Makes sure that each layout can read the data, and be as small as its budgets.

    Args:
        declared: What is asked.
        inputs: What is known of them.
        num_outputs: Classes.

    Raises:
        ProtocolError: One cannot; the message has what to type for all of them.
    """
    if not (declared.layouts and declared.budgets):
        return
    if inputs.unequal:
        assert inputs.lengths is not None
        shortest, longest = inputs.lengths
        raise ProtocolError(
            "layouts are not told where a series ends",
            f"series have {shortest} to {longest} steps",
            "Give all series one length: --lengths zeros reads zeros behind the end as"
            f" data, --lengths {shortest} uses the first {shortest} steps of each. Or"
            " declare in a protocol layouts = [], and a teacher and students that are"
            ' told: teacher = "gru", students = ["lstm"].',
        )
    smallest: dict[str, int] = {}
    refused: list[str] = []
    for layout in declared.layouts:
        convolutions, hidden = _layers(layout)
        narrowed = "bottleneck" in space_of(convolutions, hidden)
        try:
            smallest[layout] = least(
                inputs, num_outputs, convolutions=convolutions, hidden=hidden,
                bottleneck=narrowed,
            )  # fmt: skip
        except ArmError:
            refused.append(layout)
    table = inputs.kind == "table"
    untold = table and "teacher" not in declared.model_fields_set
    if refused or untold:
        ways = [f"--layout {layout}" for layout in smallest or ("mlp1", "mlp2")]
        # No convolutional teacher reads a table, and the default one is such.
        ways = [*(["--teacher mlp"] if untold else []), *(ways if refused else [])]
        named = [*(["the default teacher"] if untold else []), *refused]
        shape = "x".join(map(str, inputs.shape))
        raise ProtocolError(
            "convolutions read neighbours, and what they leave is no smaller than one"
            " position",
            f"{', '.join(named)} on {'a table' if table else f'inputs of {shape}'}",
            f"Write {' '.join(ways)}.",
        )
    needed = max(smallest.values())
    if small := [budget for budget in declared.budgets if budget < needed]:
        told = {name: size for name, size in smallest.items() if size > min(small)}
        first = next(iter(told))
        within = [needed, *(b for b in declared.budgets if b > needed)]
        kept = [layout for layout in smallest if layout not in told]
        written = " ".join(f"--layout {layout}" for layout in kept)
        raise ProtocolError(
            "a budget has room for one unit in each layer",
            f"budgets of {', '.join(map(str, small))}, and"
            f" {', '.join(f'{name} has {size}' for name, size in told.items())}"
            " parameters at least",
            f"Write --budgets {','.join(map(str, within))}"
            + (f", or leave {first} out: {written}." if kept else "."),
        )


def _layers(layout: str) -> tuple[int, int]:
    """Returns a layout's convolutions and hidden layers."""
    match = LAYOUT.fullmatch(layout)
    assert match is not None
    return int(match[4] or 0), int(match[2] or 1)

"""What is trained: a network as it is, and larger along its axes, at equal FLOPs.

FLOPs are counted and not derived: depth and resolution go in steps, small networks in
large ones, and the classifier grows by a rule of its own. So an axis is given its share of
the growth, rounded, and one axis, the width where it grows at all, takes what brings the
FLOPs nearest to those that are asked for.
"""

import bisect
import dataclasses
import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from archtrial import data, randomness
from archtrial.errors import ArmError, ProtocolError
from archtrial.experiments.scale.protocol import AXES, BASE, COMPOUND, Axis, Protocol
from archtrial.protocol import Arm
from archtrial.specs import write_value
from archtrial.training import cost
from archtrial.zoo import arms
from archtrial.zoo.sizes import SCALING

__all__ = ["Form", "arm_of", "axes_of", "forms_of"]

Option: TypeAlias = int | list[int]
"""A value on an axis; a list has one for each stage."""

Values: TypeAlias = Mapping[Axis, Option]
"""By axis."""

_STEP = 1.02
"""By which factors on an axis grow until the next whole number is met."""

_LARGEST = 1_000
"""The largest factor: an option that has not grown the FLOPs until then does not scale."""

_APART = 1.25
"""A compound form has FLOPs within this factor of those that are asked for; one of an axis
that goes in larger steps is taken as it is, and said."""


@dataclasses.dataclass(frozen=True)
class Form:
    """A network of some size, and how it came to it."""

    name: str
    """By which the records know it."""
    kind: str
    """"base", "depth", "width", "resolution" or "compound"."""
    phi: int
    """FLOPs are those of the base times growth ** phi; 0 of the base."""
    shares: tuple[int, ...] | None
    """Of a compound form, by axis the parts of the growth that it has."""
    options: Mapping[str, Any]
    """Of the axes, by the architecture's own names."""
    flops: int
    """Of a training's step, an example."""
    parameters: int

    def factors(self, axes: Mapping[Axis, str], base: "Form") -> dict[str, float]:
        """Returns by axis how many times as large it is as in the base."""
        return {
            axis: _size(self.options[option]) / _size(base.options[option])
            for axis, option in axes.items()
        }


def axes_of(
    declared: Protocol, found: arms.Architecture, inputs: data.Inputs
) -> dict[Axis, str]:
    """Returns by axis the option that scales it, of those that the architecture has.

    Args:
        declared: What is asked.
        found: The architecture.
        inputs: What is known of them.

    Raises:
        ProtocolError: An option that was named is none, or there are fewer than two axes.
    """
    named = {"depth": ("depth",), "width": SCALING, "resolution": ("resolution",)}
    axes: dict[Axis, str] = {}
    for axis in AXES:
        own: str | None = getattr(declared, axis)
        if own is not None:
            if _start(axis, own, found, inputs) is None:
                raise ProtocolError(
                    f"the option that is the {axis} is a whole number, or a list of them",
                    f"{own} of {found.spec}: {found.setting(own)!r}",
                    f"Name another: --{axis} OPTION, or give it a value:"
                    f" --architecture '{found.spec}({own}=2)'.",
                )
            axes[axis] = own
            continue
        for option in named[axis]:
            if option in axes.values():
                continue
            if _start(axis, option, found, inputs) is not None:
                axes[axis] = option
                break
    if len(axes) < 2:
        has = ", ".join(f"{axis} ({option})" for axis, option in axes.items()) or "none"
        lacking = next(axis for axis in AXES if axis not in axes)
        raise ProtocolError(
            "growth is divided between two axes at least: depth, width, resolution",
            f"{found.spec} has {has}",
            f"Name the option that is its {lacking} (--{lacking} OPTION), or take an"
            " architecture with both: --architecture mlp, --architecture resnet.",
        )
    return axes


def _start(
    axis: Axis, option: str, found: arms.Architecture, inputs: data.Inputs
) -> Option | None:
    """Returns an option's value in the base; None where it is no axis of scale."""
    value = found.setting(option)
    if axis == "resolution" and inputs.kind in ("image", "sequence", "array"):
        sides = inputs.shape[1:] if len(inputs.shape) > 1 else inputs.shape
        # One side is declared for all; a network without such an option has its inputs'.
        if value is None and option in found.accepts and len(set(sides)) == 1:
            value = sides[0]
    if isinstance(value, (list, tuple)) and value:
        whole = all(type(each) is int and each > 0 for each in value)
        return list(value) if whole else None
    return value if type(value) is int and value > 0 else None


def forms_of(
    declared: Protocol,
    found: arms.Architecture,
    axes: Mapping[Axis, str],
    inputs: data.Inputs,
    num_outputs: int,
) -> tuple[list[Form], list[str]]:
    """Returns the base, each axis alone at each step, and all candidates for compound.

    A compound form divides `declared.grid` parts of the growth between the axes, so that
    at least two have some: with shares a, b, c and D the sides of an input, depth grows by
    alpha = growth ** (a / grid), width by beta = growth ** (b / (2 grid)) and resolution by
    gamma = growth ** (c / (D grid)), each to the power of phi (equation 3 there, where
    alpha beta^2 gamma^2 is the growth).

    Args:
        declared: What is asked.
        found: The architecture.
        axes: By axis its option.
        inputs: What is known of them.
        num_outputs: Classes, or 1 for regression.

    Returns:
        The forms, and what is to be said of them.

    Raises:
        ProtocolError: The FLOPs do not grow with an axis, or no compound form meets them.
        ArmError: The base cannot be built.
    """
    sizes = _Sizes(declared, found, inputs, num_outputs)
    start: dict[Axis, Option] = {}
    for axis, option in axes.items():
        value = _start(axis, option, found, inputs)
        assert value is not None  # or it would be no axis
        start[axis] = value
    base = sizes.form(axes, BASE, BASE, 0, None, start)
    forms, notes = [base], []
    for phi in range(1, declared.phi + 1):
        target = base.flops * declared.growth**phi
        for axis in axes:
            grown = sizes.nearest(axes, start, axis, target)
            if grown is None:
                raise ProtocolError(
                    f"FLOPs grow with the option that is the {axis}",
                    f"{axes[axis]} = {start[axis]} of {found.spec}, and larger ones that"
                    f" can be built do not reach {target / base.flops:g} times the FLOPs",
                    f"Name another option: --{axis} OPTION.",
                )
            form = sizes.form(axes, f"{axis}-{phi}", axis, phi, None, grown)
            forms.append(form)
            off = form.flops / target
            if not 1 / 1.1 < off < 1.1:
                notes.append(
                    f"{axis} alone has {off:.2f} times the FLOPs that are asked for at phi"
                    f" = {phi}: {axes[axis]} goes in steps, from {start[axis]} to"
                    f" {grown[axis]}."
                )
        compound = _compound(declared, axes, sizes, start, base, phi)
        if not compound:
            raise ProtocolError(
                "some network grows along two axes at once",
                f"at {target / base.flops:g} times the FLOPs, {found.spec} has no room"
                " for a step on two axes: they go in whole layers and units",
                _larger(declared, axes, sizes, start, phi),
            )
        forms += compound
    return _with_first_step(forms, declared), notes


def _compound(
    declared: Protocol,
    axes: Mapping[Axis, str],
    sizes: "_Sizes",
    start: Values,
    base: Form,
    phi: int,
) -> list[Form]:
    """Returns the networks that grow along two axes at least, each once."""
    target = base.flops * declared.growth**phi
    made: dict[str, Form] = {}
    for shares in _shares(len(axes), declared.grid):
        aimed = _aimed(declared, axes, start, shares, phi, sizes.inputs)
        last = _dependent(axes, shares)
        grown = sizes.nearest(axes, {**aimed, last: start[last]}, last, target)
        if grown is None:
            continue
        name = f"{COMPOUND}-{'.'.join(map(str, shares))}-{phi}"
        form = sizes.form(axes, name, COMPOUND, phi, shares, grown)
        # Rounded, shares may come to the same network, or to one axis alone.
        rises = [factor > 1 for factor in form.factors(axes, base).values()]
        if 1 / _APART < form.flops / target < _APART and sum(rises) > 1:
            made.setdefault(str(sorted(form.options.items())), form)
    return list(made.values())


def _larger(
    declared: Protocol,
    axes: Mapping[Axis, str],
    sizes: "_Sizes",
    start: Values,
    phi: int,
) -> str:
    """Returns what to type for an architecture whose axes go in steps that are smaller."""
    found = sizes.found
    for factor, grown in itertools.product((2.0, 4.0), (("depth",), AXES[:2])):
        own = {a: _times(v, factor) if a in grown else v for a, v in start.items()}
        base = sizes.form(axes, BASE, BASE, 0, None, own)
        if _compound(declared, axes, sizes, own, base, phi):
            options = {**found.options, **{axes[a]: own[a] for a in axes if a in grown}}
            told = ", ".join(f"{name}={write_value(v)}" for name, v in options.items())
            return (
                "Begin with a larger network: --architecture"
                f" {shlex.quote(f'{found.spec}({told})')}."
            )
    return "Take another architecture: --architecture cnn, --architecture resnet."


def _with_first_step(forms: Sequence[Form], declared: Protocol) -> list[Form]:
    """Leaves out compound forms whose shares are not there at every step.

    The grid at phi = 1 chooses the shares, and larger steps have to have them.
    """
    steps: dict[tuple[int, ...], set[int]] = {}
    for form in forms:
        if form.shares is not None:
            steps.setdefault(form.shares, set()).add(form.phi)
    every = set(range(1, declared.phi + 1))
    kept = [f for f in forms if f.shares is None or steps[f.shares] == every]
    if not any(form.kind == COMPOUND for form in kept):
        raise ProtocolError(
            "one division of the growth between axes can be had at every step",
            f"phi = {declared.phi}, and none can: rounded, they come to other networks",
            "Write --phi 1.",
        )
    return kept


def _shares(axes: int, grid: int) -> Iterator[tuple[int, ...]]:
    """Yields all divisions of `grid` parts of which two axes at least have some."""
    for shares in itertools.product(range(grid + 1), repeat=axes):
        if sum(shares) == grid and sum(share > 0 for share in shares) > 1:
            yield shares


def _aimed(
    declared: Protocol,
    axes: Mapping[Axis, str],
    start: Values,
    shares: Sequence[int],
    phi: int,
    inputs: data.Inputs,
) -> dict[Axis, Option]:
    """Returns what shares of the growth make of each axis, rounded."""
    powers = _powers(inputs)
    return {
        axis: _times(
            start[axis], declared.growth ** (phi * share / declared.grid / powers[axis])
        )
        for axis, share in zip(axes, shares, strict=True)
    }


def _dependent(axes: Mapping[Axis, str], shares: Sequence[int]) -> Axis:
    """Returns the axis that takes what brings the FLOPs nearest: the finest that grows."""
    grows = [axis for axis, share in zip(axes, shares, strict=True) if share]
    fine: tuple[Axis, ...] = ("width", "resolution", "depth")
    return next(axis for axis in fine if axis in grows)


def _powers(inputs: data.Inputs) -> dict[Axis, int]:
    """Returns by axis the power of it with which the FLOPs of a convolution grow."""
    sides = max(1, len(inputs.shape) - 1)
    return {"depth": 1, "width": 2, "resolution": sides}


def _times(value: Option, factor: float) -> Option:
    if isinstance(value, list):
        return [max(each, round(each * factor)) for each in value]
    return max(value, round(value * factor))


def _values(start: Option) -> list[Option]:
    """Returns all values that an option grows to, ascending."""
    steps = round(math.log(_LARGEST) / math.log(_STEP))
    grown = [_times(start, _STEP**step) for step in range(steps + 1)]
    return [value for value, _ in itertools.groupby(grown)]


def _size(value: Option) -> float:
    """Returns how large an option is; of stages, all of them together."""
    return float(np.sum(value))


@dataclasses.dataclass
class _Sizes:
    """Counts networks of an architecture, each once."""

    declared: Protocol
    found: arms.Architecture
    inputs: data.Inputs
    num_outputs: int
    counted: dict[str, tuple[int, int] | None] = dataclasses.field(default_factory=dict)

    def form(
        self,
        axes: Mapping[Axis, str],
        name: str,
        kind: str,
        phi: int,
        shares: tuple[int, ...] | None,
        values: Values,
    ) -> Form:
        """Returns a form with values on its axes; the base raises what it raises."""
        options = {axes[axis]: value for axis, value in values.items()}
        if kind == BASE:
            self._build(options)
        counted = self._count(options)
        assert counted is not None  # it has been counted, or built just now
        return Form(name, kind, phi, shares, options, *counted)

    def nearest(
        self,
        axes: Mapping[Axis, str],
        start: Values,
        axis: Axis,
        target: float,
    ) -> Values | None:
        """Returns values that grow along one axis until FLOPs are nearest to a number.

        Sizes that cannot be built, as a width that heads do not divide, are passed over.
        """
        grown = _values(start[axis])

        def at(index: int) -> tuple[float, Values]:
            """Returns the FLOPs of the first from an index on that can be built."""
            for value in grown[index:]:
                values = {**start, axis: value}
                counted = self._count({axes[a]: own for a, own in values.items()})
                if counted is not None:
                    return counted[0], values
            return math.inf, {}

        # The first with as many FLOPs lies above `below` and at or below `above`. It is
        # looked for around where a power law has it: a count takes half a second.
        power = _powers(self.inputs)[axis]
        aimed = _size(start[axis]) * (target / at(0)[0]) ** (1 / power)
        sizes = [_size(value) for value in grown]
        below, above, step = -1, bisect.bisect_left(sizes, aimed), 1
        while at(above)[0] < target and above < len(grown) - 1:
            below, above, step = above, min(above + step, len(grown) - 1), 2 * step
        step = 1
        while above - below > 1:
            middle = max((below + above) // 2, above - step)
            if at(middle)[0] >= target:
                above, step = middle, 2 * step
            else:
                below = middle
        if not target <= at(above)[0] < math.inf:
            return None
        ends = [at(above), *([at(below)] if below >= 0 else [])]
        return min(ends, key=lambda end: abs(math.log(end[0] / target)))[1]

    def _count(self, options: Mapping[str, Any]) -> tuple[int, int] | None:
        """Returns FLOPs of a step, an example, and parameters; None if not to be built."""
        told = str(sorted(options.items()))
        if told not in self.counted:
            try:
                module = self._build(options)
            except ArmError:
                self.counted[told] = None
            else:
                rows = min(self.declared.batch_size, 8)
                whole = self.inputs.vocabulary is not None
                batch = torch.zeros(
                    rows, *self.inputs.shape, dtype=torch.int64 if whole else None
                )
                flops = cost.step(module, batch).flops // rows
                self.counted[told] = flops, cost.parameters(module)
        return self.counted[told]

    def _build(self, options: Mapping[str, Any]) -> torch.nn.Module:
        architecture = arms.find(
            self.found.given or self.found.spec, {**self.found.options, **options}
        )
        with torch.random.fork_rng(devices=[]), randomness.global_generators(0):
            return architecture.build(self.inputs, self.num_outputs, {})


def arm_of(declared: Protocol, form: Form) -> Arm:
    """Returns a form as an arm; all that is searched of it is how it trains."""
    own = declared.architecture
    fields: dict[str, Any] = {"name": form.name, "architecture": own.architecture}
    if "space" in own.model_fields_set:
        fields["space"] = own.space
    return Arm(**fields, options={**own.options, **form.options})

"""From a module to the plan of its equivalent: a walk along its traced graph.

One rule: only what has weights is replaced. Every other operation is carried over as it
stands, because between layers the shape (N, channels, *sides) is kept. A plan says what
each layer becomes and holds nothing large: what its network will weigh is known before
anything of that size is made.
"""

import copy
import dataclasses
import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from archtrial.equivalents.network import Network, Step, Value
from archtrial.equivalents.tracing import (
    EXAMPLES,
    Trace,
    arguments_of,
    name_of,
    source_of,
    switched_dropout,
    trace,
)
from archtrial.equivalents.untied import (
    Connections,
    Constant,
    Pairs,
    PerUnit,
    Rescaled,
    Shared,
    Values,
)
from archtrial.errors import ArmError
from archtrial.zoo.registry import Shape

__all__ = ["BatchNorm", "Form", "Plan", "plan"]

BatchNorm: TypeAlias = Literal["per_position", "folded"]
Form: TypeAlias = Literal["fcn", "lcn"]

_WAY_OUT = (
    "Layers with an equivalent are nn.Conv1d, nn.Conv2d, nn.Linear, nn.PReLU, batch,"
    " group, instance, layer and RMS normalisation, and an nn.Parameter that is added"
    " to activations or multiplied with them. Put one of them in its place."
)


@dataclasses.dataclass
class Plan:
    """What the equivalent of a module will consist of."""

    module: nn.Module
    """A copy of the module, in evaluation mode, with its lazy layers made."""
    layers: list[Shared | nn.Module]
    """Linear maps that are still shared, and layers that are ready."""
    names: list[str]
    steps: list[Step]
    output: Any
    training: bool
    """Whether the module was in training mode."""

    def build(self, form: Form) -> Network:
        """Makes the network, at its full size."""
        layers = [
            layer.untied(form) if isinstance(layer, Shared) else layer
            for layer in self.layers
        ]
        return Network(layers, self.names, self.steps, self.output)


def plan(module: nn.Module, input_shape: Shape, batch_norm: BatchNorm) -> Plan:
    """Walks a module and says what becomes of each layer.

    Neither the module nor any global generator is changed.

    Args:
        module: Any.
        input_shape: One example's shape.
        batch_norm: What becomes of batch normalisation.

    Raises:
        ArmError: The module cannot be called on such inputs or cannot be traced, or
            one of its layers has no equivalent.
    """
    if batch_norm not in ("per_position", "folded"):
        raise ArmError("batch_norm is 'per_position' or 'folded'", repr(batch_norm))
    traced = trace(module, input_shape)
    walk = _Walk(traced, batch_norm)
    with torch.no_grad():
        for node in traced.graph.nodes:
            walk.take(node)
    return Plan(
        traced.module,
        walk.layers,
        walk.names,
        walk.steps,
        walk.output,
        module.training,
    )


_ADDED = ("add", "sub", "rsub", "iadd", "isub", "add_", "sub_", "subtract")
_MULTIPLIED = (
    "mul", "truediv", "div", "imul", "itruediv", "mul_", "div_", "multiply", "divide",
)  # fmt: skip
# What only lays a parameter out before it is used.
_LAID_OUT = ("getitem", "view", "reshape", "unsqueeze", "permute", "expand", "squeeze",
             "unflatten", "flatten", "transpose")  # fmt: skip


class _Walk:
    """Takes the nodes of a graph in their order and notes what becomes of each.

    Args:
        traced: The graph and what it is about.
        batch_norm: What becomes of batch normalisation.
    """

    def __init__(self, traced: Trace, batch_norm: BatchNorm) -> None:
        self._module_name = type(traced.module).__name__
        self._layers = traced.layers
        self._tensors = traced.tensors
        self._shapes = traced.shapes
        self._batch_norm = batch_norm
        self._values: dict[fx.Node, Value] = {}
        self._bare: dict[fx.Node, tuple[str, torch.Tensor]] = {}
        """Parameters that nothing has used yet, by the node that reads them."""
        self._made: dict[fx.Node, int] = {}
        """The layer that a node became."""
        self._ahead: dict[fx.Node, Pairs] = {}
        """Zero padding that is left to the convolution behind it."""
        self.layers: list[Shared | nn.Module] = []
        self.names: list[str] = []
        self.steps: list[Step] = []
        self.output: Any = None

    def take(self, node: fx.Node) -> None:
        """Notes what becomes of one node.

        Raises:
            ArmError: It has weights and no equivalent.
        """
        if node.op == "placeholder":
            self._values[node] = Value(0)
        elif node.op == "output":
            self.output = self._filled(node.args[0], node)
        elif node.op == "get_attr":
            self._read(node, str(node.target))
        elif node.op == "call_module":
            self._module(node, self._layers[str(node.target)])
        else:
            self._operation(node)

    # What has weights.

    def _module(self, node: fx.Node, layer: nn.Module) -> None:
        if (pairs := self._zero_padding(node, layer)) is not None:
            return self._leave_padding(node, pairs)
        forward: Any = type(layer).forward
        if forward in (nn.Conv1d.forward, nn.Conv2d.forward):
            made: Shared | nn.Module | None = self._convolution(node, layer)
        elif forward is nn.Linear.forward:
            made = self._linear(node, layer)
        elif forward is nn.BatchNorm1d.forward:
            made = self._batch_normalisation(node, layer)
            if made is None:
                return None
        elif isinstance(layer, (nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)):
            made = self._rescaled(node, layer, channels=True)
        elif isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
            made = self._rescaled(node, layer, channels=False)
        elif forward is nn.PReLU.forward:
            made = self._prelu(node, layer)
        else:
            made = None
        if made is None:
            if any(True for _ in layer.parameters()):
                raise self._without(self._name(node), type(layer).__name__)
            made = copy.deepcopy(layer)
            return self._add_layer(node, made, self._name(node))
        return self._add_layer(node, made, self._name(node), (source_of(node),))

    def _convolution(self, node: fx.Node, layer: Any) -> Shared | None:
        conv1d = isinstance(layer, nn.Conv1d)
        plain = nn.Conv1d._conv_forward if conv1d else nn.Conv2d._conv_forward
        if type(layer)._conv_forward is not plain:
            return None
        source = source_of(node)
        ahead = self._ahead.get(source, ())
        if ahead:
            source = source_of(source)
        channels, *sides = self._units(node, source)
        if len(sides) != len(layer.kernel_size):
            raise self._batchless(node)
        pairs = []
        for axis, (kernel, dilation) in enumerate(
            zip(layer.kernel_size, layer.dilation, strict=True)
        ):
            if layer.padding == "valid":
                pairs.append((0, 0))
            elif layer.padding == "same":  # the odd one comes last
                added = dilation * (kernel - 1)
                pairs.append((added // 2, added - added // 2))
            else:
                pairs.append((layer.padding[axis], layer.padding[axis]))
        zeros = layer.padding_mode == "zeros"
        connections = Connections(
            channels,
            layer.out_channels,
            tuple(sides),
            tuple(layer.kernel_size),
            tuple(layer.stride),
            tuple(layer.dilation),
            tuple(pairs),
            "constant" if zeros else layer.padding_mode,
            ahead,
            layer.groups,
        )
        bias = None if layer.bias is None else _values_of(layer.bias)
        kernel = _values_of(layer.weight, (*layer.weight.shape[:2], -1))
        return Shared(connections, kernel, bias)

    def _linear(self, node: fx.Node, layer: Any) -> Shared:
        *sides, _ = self._units(node)
        ones = tuple(1 for _ in sides)
        connections = Connections(
            layer.in_features,
            layer.out_features,
            tuple(sides),
            ones,
            ones,
            ones,
            tuple((0, 0) for _ in sides),
            channels_last=True,
        )
        bias = None if layer.bias is None else _values_of(layer.bias)
        kernel = _values_of(layer.weight, (*layer.weight.shape, 1))
        return Shared(connections, kernel, bias)

    def _prelu(self, node: fx.Node, layer: Any) -> PerUnit:
        units, channels = self._units(node), layer.weight.numel()
        shared = (channels, *(1 for _ in units[1:])) if channels > 1 else ()
        flat = nn.PReLU(
            math.prod(units),
            layer.init,
            device=layer.weight.device,
            dtype=layer.weight.dtype,
        )
        flat.weight = _per_unit(layer.weight, units, shared)
        return PerUnit(flat, units, shared)

    def _batch_normalisation(self, node: fx.Node, layer: Any) -> nn.Module | None:
        """Returns what it becomes, or None where it went into the layer before it."""
        if self._batch_norm == "folded":
            self._fold(node, layer)
            return None
        if layer.running_mean is None:
            # The mean of each channel over all examples and positions, in evaluation
            # too: no statistics of single units give the same.
            return self._rescaled(node, layer, channels=True) or copy.deepcopy(layer)
        units = self._units(node)
        shared = (layer.num_features, *(1 for _ in units[1:]))
        some = layer.running_mean
        flat = nn.BatchNorm1d(
            math.prod(units),
            layer.eps,
            layer.momentum,
            layer.affine,
            device=some.device,
            dtype=some.dtype,
        )
        if layer.affine:
            flat.weight = _per_unit(layer.weight, units, shared)
            flat.bias = _per_unit(layer.bias, units, shared)
        flat.running_mean = _expanded(layer.running_mean, units, shared)
        flat.running_var = _expanded(layer.running_var, units, shared)
        flat.num_batches_tracked = layer.num_batches_tracked.clone()
        return PerUnit(flat, units, shared)

    def _fold(self, node: fx.Node, layer: Any) -> None:
        source = source_of(node)
        before = self.layers[self._made[source]] if source in self._made else None
        if (
            not isinstance(before, Shared)
            or len(source.users) > 1
            or len(before.kernel) != layer.num_features
            or (before.connections.channels_last and before.connections.sides)
            or layer.running_mean is None
        ):
            raise ArmError(
                "a batch normalisation with running statistics is folded into the"
                " convolution or linear layer right before it, whose only user it is",
                f"{self._name(node)} has no such layer"
                if layer.running_mean is not None
                else f"{self._name(node)} has no running statistics",
                'Take batch_norm="per_position".',
            )
        scale = (layer.running_var.double() + layer.eps).rsqrt()
        offset = -layer.running_mean.double() * scale
        trained = before.kernel.requires_grad
        if before.bias is not None:
            offset = offset + before.bias.double() * scale
        if layer.affine:
            scale = scale * layer.weight.double()
            offset = offset * layer.weight.double() + layer.bias.double()
        kernel = before.kernel.double() * scale[:, None, None]
        self.layers[self._made[source]] = Shared(
            before.connections,
            kernel.to(before.kernel.dtype).requires_grad_(trained),
            offset.to(before.kernel.dtype).requires_grad_(trained),
        )
        self._values[node] = self._values[source]

    def _rescaled(
        self, node: fx.Node, layer: Any, *, channels: bool
    ) -> Rescaled | None:
        """Returns a normalisation with weights per unit; None where it has none."""
        weight, bias = layer.weight, getattr(layer, "bias", None)
        if weight is None:
            return None
        if getattr(layer, "running_mean", None) is not None:
            raise self._without(
                self._name(node), f"{type(layer).__name__} with running statistics"
            )
        units = self._units(node)
        shared = (
            (weight.numel(), *(1 for _ in units[1:]))
            if channels
            else tuple(layer.normalized_shape)
        )
        bare = copy.deepcopy(layer)
        bare.weight = None
        if bias is not None:
            bare.bias = None
        return Rescaled(
            bare,
            _per_unit(weight, units, shared),
            None if bias is None else _per_unit(bias, units, shared),
            units,
            shared,
        )

    def _read(self, node: fx.Node, name: str) -> None:
        tensor = self._tensors[name]
        if isinstance(tensor, nn.Parameter):
            self._bare[node] = (name.removeprefix("module."), _values_of(tensor))
            return
        self._add_layer(node, Constant(tensor), name.removeprefix("module."), ())

    # What has none.

    def _operation(self, node: fx.Node) -> None:
        if (pairs := self._zero_padding(node, None)) is not None:
            return self._leave_padding(node, pairs)
        bare = [source for source in node.all_input_nodes if source in self._bare]
        called = name_of(node)
        if bare and called in _LAID_OUT and bare == node.all_input_nodes:
            name, tensor = self._bare[bare[0]]
            self._bare[node] = (name, self._carried_out(node, tensor))
            return None
        if bare and called in (*_ADDED, *_MULTIPLIED):
            neutral = 0.0 if called in _ADDED else 1.0
            for parameter in bare:
                self._spread(node, parameter, neutral)
        if (dropout := switched_dropout(node)) is not None:
            return self._add_layer(node, dropout, node.name, (source_of(node),))
        if node.op == "call_method":
            self._add_step(node, "method", str(node.target))
        else:
            self._add_step(node, "function", self._function_name(node))
        for parameter in bare:  # whoever uses it next gets values of its own
            self._values.pop(parameter, None)
        return None

    def _carried_out(self, node: fx.Node, tensor: torch.Tensor) -> torch.Tensor:
        """Returns a parameter as a node lays it out."""

        def known(_: fx.Node) -> torch.Tensor:
            return tensor

        args = fx.map_arg(node.args, known)
        kwargs = fx.map_arg(node.kwargs, known)
        if node.op == "call_method":
            laid: torch.Tensor = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        else:
            assert callable(node.target)
            laid = node.target(*args, **kwargs)
        return laid.detach().requires_grad_(tensor.requires_grad)

    def _spread(self, node: fx.Node, parameter: fx.Node, neutral: float) -> None:
        """Gives each unit a parameter's value of its own, where it meets them."""
        name, tensor = self._bare[parameter]
        others = [n for n in node.all_input_nodes if n is not parameter]
        shape = self._shapes[node]
        if tensor.dim() == len(shape) and tensor.shape[0] == 1:
            tensor = tensor[0]
        if (
            len(others) != 1
            or others[0] in self._bare
            or self._shapes.get(others[0]) != shape
            or shape[0] != EXAMPLES
            or tensor.dim() >= len(shape)
        ):
            return
        units, shared = shape[1:], tuple(tensor.shape)
        value = _per_unit(tensor, units, shared)
        layer = Values(value, units, shared, neutral)
        self._add_layer(parameter, layer, name, ())

    def _zero_padding(self, node: fx.Node, layer: nn.Module | None) -> Pairs | None:
        """Returns what a node adds, if that can be left to the convolution behind it.

        The weights that would read those zeros need not exist then.
        """
        user = next(iter(node.users)) if len(node.users) == 1 else None
        if user is None or user.op != "call_module":
            return None
        behind: Any = self._layers[str(user.target)]
        if not isinstance(behind, (nn.Conv1d, nn.Conv2d)):
            return None
        sides = len(behind.kernel_size)
        flat: Any = None
        if isinstance(layer, (nn.ConstantPad1d, nn.ConstantPad2d)):
            if layer.value == 0:  # nn.ZeroPad1d and 2d are of these kinds
                flat = layer.padding
        elif layer is None and node.target is functional.pad:
            given = arguments_of(node)
            if given["mode"] == "constant" and not given["value"]:
                flat = given["pad"]
        if (
            not isinstance(flat, (tuple, list))
            or not all(isinstance(count, int) for count in flat)
            or len(flat) > 2 * sides
        ):
            return None
        pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
        pairs += [(0, 0)] * (sides - len(pairs))
        return tuple(reversed(pairs))

    def _leave_padding(self, node: fx.Node, pairs: Pairs) -> None:
        self._ahead[node] = pairs
        self._values[node] = self._values[source_of(node)]

    # Notes.

    def _add_layer(
        self,
        node: fx.Node,
        layer: Shared | nn.Module,
        name: str,
        args: Sequence[Any] | None = None,
    ) -> None:
        number = len(self.layers)
        self._made[node] = number
        calls = sum(other.partition("@")[0] == name for other in self.names)
        self.layers.append(layer)
        self.names.append(f"{name}@{calls + 1}" if calls else name)
        self._add_step(node, "layer", number, node.args if args is None else args)

    def _add_step(
        self,
        node: fx.Node,
        kind: Literal["layer", "function", "method"],
        target: int | str,
        args: Sequence[Any] | None = None,
    ) -> None:
        given = tuple(node.args if args is None else args)
        kwargs = node.kwargs if args is None else {}
        self.steps.append(
            Step(kind, target, self._filled(given, node), self._filled(kwargs, node))
        )
        self._values[node] = Value(len(self.steps))

    def _filled(self, argument: Any, user: fx.Node) -> Any:
        def value(source: fx.Node) -> Value:
            if source not in self._values:
                name, _ = self._bare[source]
                raise self._without(name, f"an nn.Parameter in {name_of(user)}")
            return self._values[source]

        return _plain(argument, value)

    def _function_name(self, node: fx.Node) -> str:
        """Returns "module:name", by which the function is found again."""
        name = getattr(node.target, "__name__", "")
        for place in (getattr(node.target, "__module__", None), "torch"):
            if place is None:
                continue
            found = getattr(importlib.import_module(place), name, None)
            if found is node.target:
                return f"{place}:{name}"
        raise ArmError(
            "every function of a forward pass can be found by its name",
            f"{node.target!r} in {self._name(node)}",
            "Define it at the top of its file.",
        )

    def _units(self, node: fx.Node, source: fx.Node | None = None) -> tuple[int, ...]:
        """Returns one example's shape of what goes into a layer."""
        shape = self._shapes[source_of(node) if source is None else source]
        if shape[0] != EXAMPLES or len(shape) < 2:
            raise self._batchless(node)
        return shape[1:]

    def _batchless(self, node: fx.Node) -> ArmError:
        return ArmError(
            "the first axis of what goes into a layer is that of the examples",
            f"{self._name(node)} gets the shape {self._shapes[source_of(node)]} for"
            f" {EXAMPLES} examples",
            "Keep positions out of the first axis.",
        )

    def _name(self, node: fx.Node) -> str:
        """Returns what the user calls a layer."""
        name = str(node.target).removeprefix("module").removeprefix(".")
        return name or self._module_name

    def _without(self, name: str, kind: str) -> ArmError:
        return ArmError(
            "every layer with weights has a fully connected equivalent",
            f"{name} ({kind}) has none",
            _WAY_OUT,
        )


def _plain(argument: Any, value: Callable[[fx.Node], Value]) -> Any:
    """Returns an argument of a node in Python's own lists and dicts."""
    if isinstance(argument, fx.Node):
        return value(argument)
    if isinstance(argument, (tuple, list)):
        kind = list if isinstance(argument, list) else tuple
        return kind(_plain(item, value) for item in argument)
    if isinstance(argument, dict):
        return {name: _plain(item, value) for name, item in argument.items()}
    if isinstance(argument, slice):
        ends = (argument.start, argument.stop, argument.step)
        return slice(*(_plain(end, value) for end in ends))
    return argument


def _values_of(
    weight: torch.Tensor, shape: Sequence[int] | None = None
) -> torch.Tensor:
    """Returns a copy of values, trained where they were; a parametrisation is gone."""
    copied = weight.detach().clone()
    laid = copied if shape is None else copied.view(tuple(shape))
    return laid.requires_grad_(weight.requires_grad)


def _expanded(
    values: torch.Tensor, units: Sequence[int], shared: Sequence[int]
) -> torch.Tensor:
    laid = values.detach().view(tuple(shared)).expand(tuple(units))
    return laid.reshape(-1).clone()


def _per_unit(
    values: torch.Tensor, units: Sequence[int], shared: Sequence[int]
) -> nn.Parameter:
    flat = _expanded(values, units, shared)
    return nn.Parameter(flat, requires_grad=values.requires_grad)

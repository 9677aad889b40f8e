"""From a module to the plan of its equivalent: a walk along its traced graph.

One rule: only what has weights is replaced. Every other operation is carried over as it
stands, because between layers the shape (N, channels, *sides) is kept. A plan says what
each layer becomes and holds nothing large: what its network will weigh is known before
anything of that size is made.
"""

import copy
import dataclasses
import importlib
import inspect
import math
import operator
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.parameter import UninitializedBuffer

from archtrial.equivalents.network import Network, Step, Value
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
from archtrial.zoo.userfile import is_library

__all__ = ["BatchNorm", "Form", "Plan", "examples", "plan"]

BatchNorm: TypeAlias = Literal["per_position", "folded"]
Form: TypeAlias = Literal["fcn", "lcn"]

# An odd number, so that an axis of positions is rarely taken for that of examples.
_EXAMPLES = 3

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
    copied = _copied(module).eval()
    with _own_generator(copied), torch.no_grad():
        try:
            copied(examples(copied, input_shape, _EXAMPLES))  # makes lazy layers, too
        except Exception as error:  # what a user's module raises is anything
            raise ArmError(
                f"{type(module).__name__} can be called on inputs of shape"
                f" {tuple(input_shape)}",
                _explained(error),
                "Give the shape of one example, without the batch.",
            ) from error
        root = _Root(copied)
        graph = _traced(root)
        walk = _Walk(root, graph, _shapes(root, graph, input_shape), batch_norm)
        for node in graph.nodes:
            walk.take(node)
    return Plan(
        copied, walk.layers, walk.names, walk.steps, walk.output, module.training
    )


def _copied(module: nn.Module) -> nn.Module:
    # Of what lazy layers have, torch copies parameters but not buffers.
    made: Any = UninitializedBuffer  # torch's own stub has other arguments
    lazy: dict[int, Any] = {
        id(buffer): made(device=buffer.data.device, dtype=buffer.data.dtype)
        for buffer in module.buffers()
        if isinstance(buffer, UninitializedBuffer)
    }
    try:
        return copy.deepcopy(module, lazy)
    except Exception as error:  # what a user's module holds is anything
        raise ArmError(
            f"{type(module).__name__} can be copied",
            _explained(error),
            "Of torch's own layers, old-style weight normalisation cannot; take"
            " torch.nn.utils.parametrizations.weight_norm.",
        ) from error


def examples(module: nn.Module, input_shape: Shape, count: int) -> torch.Tensor:
    """Returns normal random inputs of a module's own type and device."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return torch.randn(
                count, *input_shape, dtype=parameter.dtype, device=parameter.device
            )
    return torch.randn(count, *input_shape)


@contextmanager
def _own_generator(module: nn.Module) -> Iterator[None]:
    devices = {p.device for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(list(devices)):
        torch.manual_seed(0)
        yield


# --------------------------------------------------------------------------- tracing


class _Root(nn.Module):
    """Stands around a module, so that one that is itself a layer is found as one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> Any:
        return self.module(x)


class _Tracer(fx.Tracer):
    """Goes into every module whose forward is not torch's own."""

    # Buffers are read in the graph, and not once for all while it is traced.
    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether a module is one step; subclasses of layers are, too."""
        torchs = type(m).forward.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        return torchs and "forward" not in vars(m) and not isinstance(m, nn.Sequential)


def _traced(root: _Root) -> fx.Graph:
    """Traces a module in both modes, and returns what it does in training.

    Raises:
        ArmError: It cannot be traced, or does something else in evaluation than in
            training, apart from dropout.
    """
    graphs = {}
    for training in (True, False):
        aside = copy.deepcopy(root).train(training)
        try:
            graphs[training] = _Tracer().trace(aside)
        except Exception as error:  # what a user's module raises is anything
            raise ArmError(
                f"the steps of {type(root.module).__name__} are the same for all"
                " inputs, so that they can be traced",
                _explained(error),
                "Decide in __init__ what depends on the data or its size, or write it"
                " as modules; or leave this architecture out.",
            ) from error
    pairs = list(zip(graphs[True].nodes, graphs[False].nodes, strict=False))
    for ours, theirs in pairs:
        if _is_dropout(ours) and _is_dropout(theirs):
            switched = (_trains(ours), _trains(theirs)) == (True, False)
            ours.meta["switched"] = switched
            if switched or _trains(ours) == _trains(theirs):
                continue
        if _signature(ours) != _signature(theirs):
            raise ArmError(
                f"{type(root.module).__name__} does the same in training and in"
                " evaluation, apart from dropout",
                f"{_said(ours)} in training, {_said(theirs)} in evaluation",
                "Write what differs as a layer of torch.nn.",
            )
    return graphs[True]


# A function of dropout, and the layer of its kind.
_DROPOUTS: dict[Any, Callable[[float], nn.Module]] = {
    functional.dropout: nn.Dropout,
    functional.dropout1d: nn.Dropout1d,
    functional.dropout2d: nn.Dropout2d,
    functional.dropout3d: nn.Dropout3d,
    functional.alpha_dropout: nn.AlphaDropout,
    functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


def _is_dropout(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in _DROPOUTS


def _trains(node: fx.Node) -> Any:
    return _bound(node)["training"]


def _bound(node: fx.Node) -> dict[str, Any]:
    """Returns the arguments of a function by name."""
    assert callable(node.target)
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return bound.arguments


def _source(node: fx.Node) -> fx.Node:
    """Returns what goes into a layer."""
    source = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(source, fx.Node)
    return source


def _called(node: fx.Node) -> str:
    """Returns the name of a function or method, or what else a node is about."""
    return str(getattr(node.target, "__name__", node.target))


def _said(node: fx.Node) -> str:
    """Returns a node in a user's words."""
    name = _called(node).removeprefix("module.")
    args = ", ".join(map(str, (*node.args, *node.kwargs.values())))
    return f"{name}({args})".replace("module_", "")


def _signature(node: fx.Node) -> tuple[Any, ...]:
    return node.op, node.target, repr(node.args), repr(node.kwargs)


class _Recorder(fx.Interpreter):
    """Carries a graph out and keeps the shape of all that it meets."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Carries out one node."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
        return result


def _shapes(
    root: _Root, graph: fx.Graph, input_shape: Shape
) -> dict[fx.Node, tuple[int, ...]]:
    recorder = _Recorder(root.eval(), graph)
    recorder.run(examples(root, input_shape, _EXAMPLES))
    return recorder.shapes


def _explained(error: Exception) -> str:
    """Returns an exception's type and message, and the user's line that raised it."""
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not is_library(frame.filename)]
    if not theirs:
        return said
    last = theirs[-1]
    return f"{said} ({last.filename}, line {last.lineno}: {last.line})"


# --------------------------------------------------------------------------- the walk

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
        root: Whose graph it is.
        graph: Traced.
        shapes: Of what each node leaves, for `_EXAMPLES` examples.
        batch_norm: What becomes of batch normalisation.
    """

    def __init__(
        self,
        root: _Root,
        graph: fx.Graph,
        shapes: dict[fx.Node, tuple[int, ...]],
        batch_norm: BatchNorm,
    ) -> None:
        self._modules = dict(root.named_modules())
        self._tensors = {**dict(root.named_buffers()), **dict(root.named_parameters())}
        self._root = root
        self._shapes = shapes
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
            self._module(node, self._modules[str(node.target)])
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
            units = self._units(node)
            weight: Any = layer.weight
            channels = weight.numel()
            shared = (channels, *(1 for _ in units[1:])) if channels > 1 else ()
            flat = nn.PReLU(math.prod(units), device=weight.device, dtype=weight.dtype)
            flat.init = layer.init  # type: ignore[assignment]
            flat.weight = _per_unit(weight, units, shared)
            made = PerUnit(flat, units, shared)
        else:
            made = None
        if made is None:
            if any(True for _ in layer.parameters()):
                raise self._without(self._name(node), type(layer).__name__)
            made = copy.deepcopy(layer)
            return self._add_layer(node, made, self._name(node))
        return self._add_layer(node, made, self._name(node), (_source(node),))

    def _convolution(self, node: fx.Node, layer: Any) -> Shared | None:
        conv1d = isinstance(layer, nn.Conv1d)
        plain = nn.Conv1d._conv_forward if conv1d else nn.Conv2d._conv_forward
        if type(layer)._conv_forward is not plain:
            return None
        source = _source(node)
        ahead = self._ahead.get(source, ())
        if ahead:
            source = _source(source)
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
        source = _source(node)
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
        tensor = self._tensors.get(name)
        if isinstance(tensor, nn.Parameter):
            self._bare[node] = (name.removeprefix("module."), _values_of(tensor))
            return
        if tensor is None:  # a tensor that is no buffer
            tensor = operator.attrgetter(name)(self._root)
        self._add_layer(node, Constant(tensor), name.removeprefix("module."), ())

    # What has none.

    def _operation(self, node: fx.Node) -> None:
        if (pairs := self._zero_padding(node, None)) is not None:
            return self._leave_padding(node, pairs)
        bare = [source for source in node.all_input_nodes if source in self._bare]
        called = _called(node)
        if bare and called in _LAID_OUT and bare == node.all_input_nodes:
            name, tensor = self._bare[bare[0]]
            self._bare[node] = (name, self._carried_out(node, tensor))
            return None
        if bare and called in (*_ADDED, *_MULTIPLIED):
            neutral = 0.0 if called in _ADDED else 1.0
            for parameter in bare:
                self._spread(node, parameter, neutral)
        if node.meta.get("switched"):
            arguments = _bound(node)
            layer = _DROPOUTS[node.target](arguments["p"])
            return self._add_layer(node, layer, node.name, (arguments["input"],))
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
            or shape[0] != _EXAMPLES
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
        if user is None or user.op != "call_module" or node not in self._shapes:
            return None
        behind: Any = self._modules[str(user.target)]
        if not isinstance(behind, (nn.Conv1d, nn.Conv2d)):
            return None
        sides = len(behind.kernel_size)
        flat: Any = None
        if isinstance(layer, (nn.ConstantPad1d, nn.ConstantPad2d)):
            if layer.value == 0:  # nn.ZeroPad1d and 2d are of these kinds
                flat = layer.padding
        elif layer is None and node.target is functional.pad:
            arguments = _bound(node)
            if arguments["mode"] == "constant" and not arguments["value"]:
                flat = arguments["pad"]
        if (
            not isinstance(flat, (tuple, list))
            or not all(isinstance(count, int) for count in flat)
            or len(self._shapes[node]) != sides + 2
            or len(flat) > 2 * sides
        ):
            return None
        pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
        pairs += [(0, 0)] * (sides - len(pairs))
        return tuple(reversed(pairs))

    def _leave_padding(self, node: fx.Node, pairs: Pairs) -> None:
        source = _source(node)
        self._ahead[node] = pairs
        self._values[node] = self._values[source]

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
                raise self._without(name, f"an nn.Parameter in {_called(user)}")
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
        shape = self._shapes[_source(node) if source is None else source]
        if shape[0] != _EXAMPLES or len(shape) < 2:
            raise self._batchless(node)
        return shape[1:]

    def _batchless(self, node: fx.Node) -> ArmError:
        source = _source(node)
        return ArmError(
            "the first axis of what goes into a layer is that of the examples",
            f"{self._name(node)} gets the shape {self._shapes[source]} for"
            f" {_EXAMPLES} examples",
            "Keep positions out of the first axis.",
        )

    def _name(self, node: fx.Node) -> str:
        """Returns what the user calls a layer."""
        return (
            str(node.target).removeprefix("module").removeprefix(".")
            or type(self._root.module).__name__
        )

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

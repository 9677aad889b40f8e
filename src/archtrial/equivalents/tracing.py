"""The steps of a module, as torch.fx sees them, and the shapes between them.

A copy is traced, once in training mode and once in evaluation: what differs between the
two could not be carried over, but for dropout. Where the forward pass decides by a shape,
it is decided as it is on examples.
"""

import copy
import dataclasses
import inspect
import operator
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.parameter import UninitializedBuffer

from archtrial.errors import ArmError
from archtrial.zoo.registry import Shape
from archtrial.zoo.userfile import is_library

__all__ = [
    "EXAMPLES",
    "Trace",
    "arguments_of",
    "examples",
    "name_of",
    "source_of",
    "switched_dropout",
    "trace",
]

EXAMPLES = 3
"""In the batch that shapes are from: a number that a side rarely has."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a module does with its inputs."""

    module: nn.Module
    """A copy, in evaluation mode, with its lazy layers made."""
    graph: fx.Graph
    """Its steps in training; names of layers and parameters begin with "module."."""
    layers: dict[str, nn.Module]
    """By these names."""
    tensors: dict[str, torch.Tensor]
    """Parameters, buffers and other tensors, by these names."""
    shapes: dict[fx.Node, tuple[int, ...]]
    """Of what each step leaves, for `EXAMPLES` examples."""


def trace(module: nn.Module, input_shape: Shape) -> Trace:
    """Traces a module.

    Neither the module nor any global generator is changed.

    Args:
        module: Any.
        input_shape: One example's shape.

    Raises:
        ArmError: The module cannot be copied, called on such inputs or traced.
    """
    copied = _copied(module).eval()
    with _own_generator(copied), torch.no_grad():
        try:
            copied(examples(copied, input_shape, EXAMPLES))  # makes lazy layers, too
        except Exception as error:  # what a user's module raises is anything
            raise ArmError(
                f"{type(module).__name__} can be called on inputs of shape"
                f" {tuple(input_shape)}",
                _explained(error),
                "Give the shape of one example, without the batch.",
            ) from error
        root, graph = _traced(copied, input_shape)
        recorder = _Recorder(root.eval(), graph)
        recorder.run(examples(copied, input_shape, EXAMPLES))
    return Trace(
        copied, graph, dict(root.named_modules()), recorder.tensors, recorder.shapes
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


class _Root(nn.Module):
    """Stands around a module, so that one that is itself a layer is found as one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> Any:
        return self.module(x)


class _UndecidedError(Exception):
    """The forward pass decides by shapes, and they are not known while it is traced."""

    def __init__(self, condition: fx.Node) -> None:
        super().__init__("a condition on shapes")
        self.condition = condition


class _Tracer(fx.Tracer):
    """Goes into every module whose forward is not torch's own.

    Args:
        decided: What the conditions on shapes came to, in their order.
    """

    # Buffers are read in the graph, and not once for all while it is traced.
    proxy_buffer_attributes = True

    def __init__(self, decided: Sequence[bool]) -> None:
        super().__init__()
        self._decided = iter(decided)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether a module is one step; subclasses of layers are, too."""
        torchs = type(m).forward.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        return torchs and "forward" not in vars(m) and not isinstance(m, nn.Sequential)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Returns what a condition comes to.

        Raises:
            _UndecidedError: Nobody knows yet.
            TraceError: It depends on more than the shape of one example.
        """
        if not _is_of_shapes(obj.node):
            return bool(super().to_bool(obj))
        try:
            return next(self._decided)
        except StopIteration:
            raise _UndecidedError(obj.node) from None


def _is_of_shapes(node: fx.Node) -> bool:
    """Returns whether a step follows from shapes, and not from the number of examples."""
    if node.op not in ("call_function", "call_method"):
        return False
    args = node.args
    if node.target is getattr:
        return str(args[1]) in ("shape", "ndim")
    if node.target in ("dim", "ndimension"):
        return True
    if node.target == "size":
        return 0 not in (*args[1:], *node.kwargs.values())
    if node.target is operator.getitem and args[1] == 0:
        return False
    before = node.all_input_nodes
    return bool(before) and all(map(_is_of_shapes, before))


def _answers(root: "_Root", condition: fx.Node, input_shape: Shape) -> set[bool]:
    """Returns what a condition on shapes comes to, on batches of different sizes."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in condition.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[condition])
    computed = fx.GraphModule(copy.deepcopy(root).eval(), graph)
    return {
        bool(computed(examples(root, input_shape, count)))
        for count in (EXAMPLES, EXAMPLES + 2)
    }


def _steps(root: "_Root", input_shape: Shape) -> fx.Graph:
    """Traces a module, as often as it decides by shapes and once more.

    Raises:
        TraceError: It depends on more than the shape of one example.
    """
    decided: list[bool] = []
    while True:
        try:
            graph = _Tracer(decided).trace(root)
        except _UndecidedError as asked:
            found = _answers(root, asked.condition, input_shape)
            if len(found) > 1:
                raise fx.proxy.TraceError(
                    "the number of examples decides what happens"
                ).with_traceback(asked.__traceback__) from None
            decided += found
            continue
        for node in reversed(graph.nodes):
            if not node.users and _is_of_shapes(node):
                graph.erase_node(node)  # it has been decided
        return graph


def _traced(module: nn.Module, input_shape: Shape) -> tuple["_Root", fx.Graph]:
    """Traces a module in both modes, and returns what it does in training.

    Returns:
        The copy that was traced, which holds what the graph reads, and the graph.

    Raises:
        ArmError: It cannot be traced, or does something else in evaluation than in
            training, apart from dropout.
    """
    roots = {mode: _Root(copy.deepcopy(module)).train(mode) for mode in (True, False)}
    name = type(module).__name__
    try:
        graphs = {mode: _steps(root, input_shape) for mode, root in roots.items()}
    except Exception as error:  # what a user's module raises is anything
        raise ArmError(
            f"the steps of {name} are the same for all inputs, so that they can be"
            " traced",
            _explained(error),
            "Decide in __init__ what depends on the data or its number, or write it as"
            " modules; x.dim() tells what len(x.shape) does. Or leave this architecture"
            " out.",
        ) from error
    for buffer_name, buffer in roots[True].module.named_buffers():
        if isinstance(buffer, fx.Proxy):
            raise ArmError(
                f"the forward pass of {name} leaves its buffers as they are",
                f"it replaces {buffer_name}",
                "Change what a network remembers in a layer of torch.nn, or outside.",
            )
    # Both end in an output, so that the shorter one differs in that at the latest.
    for ours, theirs in zip(graphs[True].nodes, graphs[False].nodes, strict=False):
        if _is_dropout(ours) and _is_dropout(theirs):
            ours.meta["switched"] = _trains(ours) and not _trains(theirs)
        if not ours.meta.get("switched") and _signature(ours) != _signature(theirs):
            raise ArmError(
                f"{name} does the same in training and in evaluation, apart from"
                " dropout",
                f"{_said(ours)} in training, {_said(theirs)} in evaluation",
                "Write what differs as a layer of torch.nn.",
            )
    return roots[True], graphs[True]


# A function of dropout, and the layer of its kind.
_DROPOUTS: dict[Any, Callable[[float], nn.Module]] = {
    functional.dropout: nn.Dropout,
    functional.dropout1d: nn.Dropout1d,
    functional.dropout2d: nn.Dropout2d,
    functional.dropout3d: nn.Dropout3d,
    functional.alpha_dropout: nn.AlphaDropout,
    functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


def switched_dropout(node: fx.Node) -> nn.Module | None:
    """Returns the layer of dropout that a step is, if it is off in evaluation."""
    if not node.meta.get("switched"):
        return None
    probability: float = arguments_of(node)["p"]
    return _DROPOUTS[node.target](probability)


def _is_dropout(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in _DROPOUTS


def _trains(node: fx.Node) -> Any:
    return arguments_of(node)["training"]


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Returns the arguments of a function by name."""
    assert callable(node.target)
    bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return bound.arguments


def source_of(node: fx.Node) -> fx.Node:
    """Returns what goes into a layer."""
    before = node.args[0] if node.args else node.kwargs["input"]
    assert isinstance(before, fx.Node)
    return before


def name_of(node: fx.Node) -> str:
    """Returns the name of a function or method, or what else a node is about."""
    return str(getattr(node.target, "__name__", node.target))


def _said(node: fx.Node) -> str:
    """Returns a node in a user's words."""
    name = name_of(node).removeprefix("module.")
    args = ", ".join(map(str, (*node.args, *node.kwargs.values())))
    return f"{name}({args})".replace("module_", "")


def _signature(node: fx.Node) -> tuple[Any, ...]:
    return node.op, node.target, repr(node.args), repr(node.kwargs)


class _Recorder(fx.Interpreter):
    """Carries a graph out and keeps what it reads and the shape of all that it meets."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.tensors: dict[str, torch.Tensor] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Carries out one step."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.shapes[n] = tuple(result.shape)
            if n.op == "get_attr":
                self.tensors[str(n.target)] = result
        return result


def _explained(error: Exception) -> str:
    """Returns an exception's type and message, and the user's line that raised it."""
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not is_library(frame.filename)]
    if not theirs:
        return said
    last = theirs[-1]
    return f"{said} ({last.filename}, line {last.lineno}: {last.line})"

"""What a training costs, counted and not timed."""

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from archtrial import randomness
from archtrial.training.structure import structure, surroundings

__all__ = ["Step", "counted", "forward", "parameters", "step", "training"]

Counted = TypeVar("Counted")
aten = torch.ops.aten


def parameters(module: nn.Module) -> int:
    """Returns the number of a module's parameters; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step of a training takes."""

    flops: int
    """As `training` counts them."""
    values: int
    """That the operations of the forward pass write; most are kept for the backward."""
    operations: int
    """Of the forward pass, views left out."""


_counted: dict[Hashable, Any] = {}
"""By what is counted, structure and batch: counting a recurrent net takes seconds."""


def training(module: nn.Module, batch: torch.Tensor, steps: int) -> float:
    """Returns the floating-point operations of a whole training.

    Counted are those of products of matrices and vectors, bilinear forms,
    convolutions (where padding is read as zeros that are multiplied, too), recurrent
    cells and attention, forward and backward, a multiplication and an addition as
    two. Element-wise work, distances, Fourier transforms, the solution of equations,
    the loss and the optimiser are left out, as is customary.

    Args:
        module: In any state; it is copied.
        batch: Inputs of one step, of the training's batch size.
        steps: Steps of the training.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    return float(step(module, batch).flops * steps)


def step(module: nn.Module, batch: torch.Tensor) -> Step:
    """Returns what one step takes.

    It is counted on the meta device, which computes shapes only. There,
    in training mode and with gradients, recurrent layers and attention fall
    into the products they consist of. A module that cannot run there, since it
    looks at values, is counted where it is, without the fused kernels that would
    hide them.

    Args:
        module: In any state; it is copied.
        batch: Inputs of one step, of the training's batch size.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    return _once("step", module, batch, _step)


def forward(module: nn.Module, batch: torch.Tensor) -> int:
    """Returns the floating-point operations of answering for a batch.

    They are counted as in `step`, in evaluation mode.

    Args:
        module: In any state; it is copied.
        batch: (N, ...) inputs.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    return _once("forward", module, batch, _forward)


def _once(
    what: str,
    module: nn.Module,
    batch: torch.Tensor,
    count: Callable[[nn.Module, torch.Tensor], Counted],
) -> Counted:
    key = (what, structure(module), surroundings(module), batch.shape, batch.device)
    if key not in _counted:
        _counted[key] = counted(module, batch, count)
    found: Counted = _counted[key]
    return found


class _Written(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that write values of their own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values = 0
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carries an operation out and counts it."""
        returned = func(*args, **(kwargs or {}))
        if any(each.alias_info is None for each in func._schema.returns):
            self.operations += 1
            for tensor in torch.utils._pytree.tree_leaves(returned):
                if isinstance(tensor, torch.Tensor):
                    self.values += tensor.numel()
        return returned


def counted(
    module: nn.Module,
    batch: torch.Tensor,
    count: Callable[[nn.Module, torch.Tensor], Counted],
) -> Counted:
    """Returns what is counted of a module on meta tensors, or else where it is.

    Generators are left as they were.

    Args:
        module: In any state; it is copied.
        batch: Inputs.
        count: Gets the copy and the batch, where they are counted.

    Raises:
        Exception: Whatever the module raises where it is.
    """
    # Outside of `try`: where there is no memory for it, nothing else is counted.
    aside = _copied(module)
    with (
        torch.random.fork_rng([batch.device] if batch.is_cuda else []),
        randomness.global_generators(0),
    ):
        try:
            return count(aside.to("meta"), batch.to("meta"))
        except Exception:  # what a user's module raises on meta tensors is anything
            with _without_fused_kernels():
                return count(_copied(module), batch)


@contextlib.contextmanager
def _without_fused_kernels() -> Iterator[None]:
    """Lets recurrent layers and attention fall into products wherever they are."""
    libraries = torch.backends.mkldnn, torch.backends.cudnn
    before = [library.set_flags(_enabled=False)[0] for library in libraries]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for library, enabled in zip(libraries, before, strict=True):
            library.set_flags(_enabled=enabled)


def _copied(module: nn.Module) -> nn.Module:
    """Returns a deep copy, also where layers keep what was computed from parameters.

    So does torch's earlier weight_norm, and torch itself copies no such tensor.
    """
    computed = {
        id(value): value.detach().clone()
        for layer in module.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def _step(module: nn.Module, batch: torch.Tensor) -> Step:
    module.train()
    written = _Written()
    with _counter() as counter, torch.enable_grad():
        with written:
            outputs = module(batch)
        outputs.sum().backward()
    return Step(int(counter.get_total_flops()), written.values, written.operations)


def _forward(module: nn.Module, batch: torch.Tensor) -> int:
    module.eval()
    # With gradients, without which fused kernels hide what encoders consist of.
    with _counter() as counter, torch.enable_grad():
        module(batch)
    return int(counter.get_total_flops())


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping=dict(_FORMULAS))


# What torch 2.13 has no formula for, or a wrong one. Each gets shapes in the place of
# tensors. A multiplication and an addition are two.

Shape = Sequence[int]


def _of_product(a: Shape, b: Shape, *_: Any, **__: Any) -> int:
    """Of a matrix or a vector and a vector."""
    return 2 * math.prod(a)


def _of_added_product(_: Shape, a: Shape, b: Shape, *__: Any, **___: Any) -> int:
    """Of matrices, one or a batch of them, or a vector for the last, added to others."""
    return 2 * math.prod(a) * (b[-1] if len(b) > 1 else 1)


def _of_time_batch_channels(
    _: Shape, weight: Shape, *__: Any, out_shape: Shape, **___: Any
) -> int:
    """Of a convolution of (steps, N, channels) by (taps, channels, outputs)."""
    steps, examples, _outputs = out_shape
    return 2 * steps * examples * math.prod(weight)


def _of_gradients(
    outputs: Shape,
    x: Shape,
    weight: Shape,
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """Of a convolution's gradients: each takes what the convolution takes.

    Torch's own formula takes a grouped convolution's for those of one without groups.
    """
    once = conv_flop_count(list(x), list(weight), list(outputs), transposed=transposed)
    return once * sum(wanted[:2])


def _of_bilinear(
    a: Shape,
    b: Shape,
    c: Shape,
    expand_a: Sequence[int],
    expand_b: Sequence[int],
    expand_c: Sequence[int],
    summed: Sequence[int],
    *_: Any,
    **__: Any,
) -> int:
    """Of a sum over products of three, as torch computes it: of two, then by the third.

    Args:
        a: A shape without the dimensions `expand_a`, along which it is repeated.
        b: The second.
        c: The third.
        expand_a: Dimensions.
        expand_b: Dimensions.
        expand_c: Dimensions.
        summed: Dimensions that are summed over: those of `expand_c` at first.
    """
    sizes: dict[int, int] = {}
    for shape, expanded in ((a, expand_a), (b, expand_b), (c, expand_c)):
        own = [d for d in range(len(shape) + len(expanded)) if d not in expanded]
        for dimension, size in zip(own, shape, strict=True):
            sizes[dimension] = max(size, sizes.get(dimension, 1))
    first = [d for d in sizes if d not in expand_a or d not in expand_b]
    second = [d for d in sizes if d not in summed or d not in expand_c]
    return 2 * sum(math.prod(sizes[d] for d in some) for some in (first, second))


_FORMULAS: Mapping[Any, Callable[..., int]] = {
    aten.mv: _of_product,
    aten.dot: _of_product,
    aten.vdot: _of_product,
    **dict.fromkeys(
        (
            *(aten.addmv, aten.addmv_, aten.addmm_, aten.addbmm, aten.addbmm_),
            aten.baddbmm_,
        ),
        _of_added_product,
    ),
    aten.conv_tbc: _of_time_batch_channels,
    aten.convolution_backward: _of_gradients,
    aten._trilinear: _of_bilinear,
}

"""From a network with shared weights to the one without that computes the same."""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from archtrial.equivalents.graph import BatchNorm, Form, Plan, plan
from archtrial.equivalents.network import Network
from archtrial.equivalents.sizes import refuse, sizes_of
from archtrial.equivalents.tracing import examples
from archtrial.errors import ArmError, is_out_of_memory
from archtrial.zoo.registry import Shape

__all__ = ["OverflowingError", "equivalent_fcn", "locally_connected", "mapped"]

# Of the largest output: rounding in a deep network stays below it, a mistake does not.
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


class OverflowingError(ArmError):
    """A network whose outputs are not finite, so that nothing can be compared."""


def equivalent_fcn(
    module: nn.Module,
    input_shape: Shape,
    *,
    batch_norm: BatchNorm = "per_position",
    force: bool = False,
) -> Network:
    """Returns the fully connected network that computes the same as a convolutional one.

    Every convolution becomes the dense linear map from all its inputs to all its
    outputs: its own weights where a window joins the two, repeated over positions, and
    0 elsewhere (d'Ascoli et al. 2019, arXiv 1906.06766, section 2). All of them can be
    trained. Biases, normalisations' weights, nn.PReLU and parameters that are added or
    multiplied get a value for each unit. Linear layers and what has no weights
    (activations, pooling, dropout) are carried over. Weights that would read zero
    padding are left out: they would never get a gradient.

    Stride, kernel, dilation, groups, every padding and its mode are understood, in
    nn.Conv1d and nn.Conv2d, and nn.Linear at every position of a sequence. A layer
    that is called twice becomes two. What the forward pass decides by shapes is decided
    for this one.

    Args:
        module: Traced by torch.fx; it is left as it is, weights and mode.
        input_shape: One example's shape: (L,), (C, L), (C, H, W).
        batch_norm: "per_position": a normalisation for each unit, with statistics of
            its own; the same at evaluation, another one in training. "folded": into
            the layer before it. Where there are no running statistics, and in group,
            instance and layer normalisation, the statistics stay as they are and the
            weights become one per unit.
        force: Whether to go on where the network does not fit into memory.

    Returns:
        In the module's own mode, on its device and of its type. `archtrial.equivalents`
        tells which of its weights are local, and starts it afresh.

    Raises:
        ArmError: A layer has no equivalent (the first is named); the module cannot be
            called on such inputs or cannot be traced; the network would not fit into
            memory; or its outputs, on random inputs and in evaluation mode, differ from
            the module's by more than 1e-4 of the largest (1e-10 in double precision)
            and by more than 100 times what the last bits of inputs and weights change.

    Example:
        >>> import archtrial, torch
        >>> from archtrial import zoo
        >>> cnn = zoo.cnn((40,), 10).eval()
        >>> fcn = archtrial.equivalent_fcn(cnn, (40,))
        >>> x = torch.randn(5, 40)
        >>> torch.allclose(fcn(x), cnn(x), atol=1e-5)
        True
        >>> sum(p.numel() for p in cnn.parameters())
        5210
        >>> sum(p.numel() for p in fcn.parameters())
        171110
    """
    return mapped(module, input_shape, "fcn", batch_norm, force)


def locally_connected(
    module: nn.Module,
    input_shape: Shape,
    *,
    batch_norm: BatchNorm = "per_position",
    force: bool = False,
) -> Network:
    """Returns the network with the same windows whose weights are no longer shared.

    As `equivalent_fcn`, but inputs and outputs that no window joins stay apart: every
    position has a kernel of its own.

    Args:
        module: As for `equivalent_fcn`.
        input_shape: One example's shape.
        batch_norm: As for `equivalent_fcn`.
        force: As for `equivalent_fcn`.

    Returns:
        As `equivalent_fcn`. Weights that read zero padding are there, and stay 0.

    Raises:
        ArmError: As `equivalent_fcn`.

    Example:
        >>> import archtrial, torch
        >>> from archtrial import zoo
        >>> cnn = zoo.cnn((1, 8, 8), 10).eval()
        >>> lcn = archtrial.locally_connected(cnn, (1, 8, 8))
        >>> x = torch.randn(5, 1, 8, 8)
        >>> torch.allclose(lcn(x), cnn(x), atol=1e-5)
        True
    """
    return mapped(module, input_shape, "lcn", batch_norm, force)


def mapped(
    module: nn.Module,
    input_shape: Shape,
    form: Form,
    batch_norm: BatchNorm,
    force: bool,
) -> Network:
    """Returns the equivalent of a form; the rest is as `equivalent_fcn` says."""
    if not isinstance(module, nn.Module):
        raise ArmError(
            "what is mapped is a module",
            f"{module!r} is of type {type(module).__name__}",
            "Call the class first, or build it by archtrial.zoo.",
        )
    if not isinstance(input_shape, Sequence):
        raise ArmError(
            "input_shape is the shape of one example, as a tuple",
            repr(input_shape),
            "Write (1, 28, 28) for an image, (40,) for a signal.",
        )
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        raise ArmError(
            "a module has its weights before it is mapped",
            f"{type(module).__name__} has lazy layers that were never called",
            "Call it once on an example first.",
        )
    planned = plan(module, input_shape, batch_norm)
    if not force:
        device = next((p.device for p in planned.module.parameters()), "cpu")
        refuse(sizes_of(planned), form, torch.device(device))
    try:
        network = planned.build(form).eval()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ArmError(
            f"the equivalent of {type(module).__name__} fits into memory",
            str(error).partition("\n")[0],
            "Take smaller inputs or a smaller network, or the locally connected form"
            " (--form lcn).",
        ) from error
    _compare(planned, network, input_shape)
    return network.train(planned.training)


@torch.no_grad()
def _compare(planned: Plan, network: Network, input_shape: Shape) -> None:
    """Raises an ArmError unless both compute the same, but for rounding."""
    module, name = planned.module, type(planned.module).__name__
    cuda = {p.device for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(list(cuda)):
        torch.manual_seed(1)
        # Not as many as the shapes are from, or a number of examples could pass for one.
        x = examples(module, input_shape, 4)
        theirs, ours = module(x.clone()), network(x.clone())
    if not isinstance(theirs, torch.Tensor):
        raise ArmError(
            "an architecture returns one tensor",
            f"{name} returned an object of type {type(theirs).__name__}",
        )
    if not torch.isfinite(theirs).all():
        raise OverflowingError(
            "the outputs of a network that is mapped are finite",
            f"those of {name} are not, on normal random inputs",
            "It diverged in training: take weights from before.",
        )
    scale = float(theirs.abs().max())
    apart = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else None
    tolerance = _TOLERANCE.get(theirs.dtype, 1e-2) * scale
    if theirs.dtype in _TOLERANCE:  # in fewer digits the last three bits are too many
        tolerance = max(tolerance, 100 * _rounding(module, x))
    if apart is None or not apart <= tolerance:
        raise ArmError(
            f"the equivalent of {name} computes the same as {name}",
            f"the shapes {tuple(ours.shape)} and {tuple(theirs.shape)}"
            if apart is None
            else f"outputs of up to {scale:.3g} differ by up to {apart:.3g}",
            "Something in it acts where the trace does not see it: a hook, dropout without"
            " training=self.training, or a result that depends on the other examples.",
        )


def _rounding(module: nn.Module, x: torch.Tensor) -> float:
    """Returns how far outputs move where inputs and weights do in their last bits.

    That is far where a normalisation divides by a spread that is nearly 0.
    """
    cuda = {p.device for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(list(cuda)):
        torch.manual_seed(2)
        moved = copy.deepcopy(module)
        for parameter in moved.parameters():
            parameter.copy_(_nudged(parameter))
        outputs = []
        for network, inputs in ((module, x.clone()), (moved, _nudged(x))):
            torch.manual_seed(3)  # for whatever is random in the module
            outputs.append(network(inputs))
    first, second = outputs
    return float((first - second).abs().max())


def _nudged(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor of numbers, each in its last three bits another one."""
    if not tensor.is_floating_point():
        return tensor.clone()
    eps = torch.finfo(tensor.dtype).eps
    return tensor * (1 + 8 * eps * (2 * torch.rand_like(tensor) - 1))

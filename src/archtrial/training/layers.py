"""What the layers of a network are given, in the order in which they are carried out.

A layer is here whatever module has a weight of its own of two or more dimensions. What it
is given is what all before it has made of the inputs, normalisations and activations
included; what the last one gives are the outputs. So any network is read by one rule, with
branches or without.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from archtrial import randomness
from archtrial.training.curvature import mean_loss
from archtrial.training.noise import own_noise
from archtrial.training.objective import Objective

__all__ = ["OUTPUTS", "activations", "gradient_norms"]

OUTPUTS = "outputs"
"""What the outputs are called among what layers are given."""

# Examples that are carried through a network at once.
_AT_ONCE = 250


class _Seen:
    """Tells what layers are given in one forward pass, each tensor once.

    Args:
        take: Gets a layer's name and what it is given; says whether that counts.
    """

    def __init__(self, take: Callable[[str, torch.Tensor], bool]) -> None:
        self._take = take
        self._names: set[str] = set()
        self._places: set[tuple[int, int, int]] = set()
        # While they are held, no other tensor has their place in memory.
        self._held: list[torch.Tensor] = []

    def __call__(self, name: str, tensor: torch.Tensor) -> None:
        """Takes what a layer is given, unless it or the layer was seen before."""
        place = (tensor.data_ptr(), tensor.numel(), tensor._version)
        if name in self._names or place in self._places:
            return
        if self._take(name, tensor):
            self._names.add(name)
            self._places.add(place)
            self._held.append(tensor)


@contextlib.contextmanager
def _watched(module: nn.Module, seen: _Seen) -> Iterator[None]:
    """Shows what each layer is given while a module is carried out."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def shown(_: nn.Module, args: Any, named: Any) -> None:
            every = (*args, *named.values())
            tensors = [v for v in every if isinstance(v, torch.Tensor)]
            if tensors:
                seen(name, tensors[0])

        return shown

    handles = [
        layer.register_forward_pre_hook(hook(name or "network"), with_kwargs=True)
        for name, layer in module.named_modules()
        if any(parameter.dim() >= 2 for parameter in layer.parameters(recurse=False))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _by_example(tensor: torch.Tensor, examples: int) -> torch.Tensor | None:
    """Returns (N, features); None of ids, and of what is no example's own.

    Examples come first, or second as in sequences (L, N, C); or each has as many rows as
    the others, one after another.
    """
    if not tensor.is_floating_point() or tensor.dim() == 0:
        return None
    if tensor.shape[0] != examples and tensor.dim() > 1 and tensor.shape[1] == examples:
        tensor = tensor.transpose(0, 1)
    if tensor.shape[0] % examples:
        return None
    return tensor.reshape(examples, -1)


@torch.no_grad()
def activations(
    module: nn.Module, x: torch.Tensor, *, most: int | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Returns what each layer is given, with the network in evaluation mode.

    Of a layer that is carried out several times it is what it is given first; layers that
    are given the same, as a block's shortcut is, count once, under the first one's name.

    Args:
        module: Any.
        x: (N, ...) inputs.
        most: Of more features than these a random projection is taken, to as many: its
            values are sums of all features with independent normal weights, so that inner
            products stay as they are on average (Johnson and Lindenstrauss 1984). None:
            all of them.
        seed: Of the projections.

    Returns:
        By the layer's name, (N, features) float32, in the order in which layers are
        carried out; `OUTPUTS` last. What is not finite stays so.
    """
    chunks: dict[str, list[np.ndarray]] = {}
    projections: dict[str, torch.Tensor] = {}

    def keep(name: str, given: torch.Tensor) -> bool:
        own = _by_example(given, count)
        if own is None:
            return False
        # A copy: what follows may change it in place.
        own = own.float().cpu().clone()
        if most is not None and own.shape[1] > most:
            if name not in projections:
                projections[name] = _projection(own.shape[1], most, seed, name)
            own = own @ projections[name]
        chunks.setdefault(name, []).append(own.numpy())
        return True

    was_training = module.training
    module.eval()
    for start in range(0, len(x), _AT_ONCE):
        chunk = x[start : start + _AT_ONCE]
        count = len(chunk)
        with _watched(module, _Seen(keep)):
            outputs = module(chunk.clone())
        keep(OUTPUTS, outputs)
    module.train(was_training)
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


def _projection(features: int, most: int, seed: int, name: str) -> torch.Tensor:
    generator = randomness.generator(seed, "projection", name)
    drawn = generator.standard_normal((features, most), dtype=np.float32)
    return torch.from_numpy(drawn / np.float32(math.sqrt(most)))


def gradient_norms(
    module: nn.Module, x: torch.Tensor, y: torch.Tensor, objective: Objective, seed: int
) -> dict[str, float | None]:
    """Returns how large the loss's gradient is at what each layer is given.

    It is that of each example's own loss, the root of the mean over examples of the squared
    norm, with the network in training mode. In a chain of layers that each multiply lengths
    by g it falls from the outputs by the factor g a layer (Pascanu, Mikolov and Bengio 2013,
    arXiv 1211.5063, section 2; Glorot and Bengio 2010, section 4.2). That of a layer's
    weights would not show it: what it is given grows as fast as the gradient falls.

    Args:
        module: It is left as it was, but for what it keeps in buffers.
        x: (N, ...) a batch of inputs.
        y: (N, ...) rows of the objective's targets.
        objective: Whose loss it is.
        seed: Of dropout's masks and whatever else a module draws.

    Returns:
        By the layer's name, in the order in which layers are carried out, `OUTPUTS` last;
        of ids there is no gradient. None for what is not finite.
    """
    squares: dict[str, float] = {}

    def noted(name: str, gradient: torch.Tensor) -> None:
        squares[name] = float(gradient.square().sum())

    def watch(name: str, given: torch.Tensor) -> bool:
        if not given.requires_grad:
            return False
        squares[name] = 0.0
        # The hook gets the gradient of what the tensor holds now, whatever becomes of it.
        given.register_hook(functools.partial(noted, name))  # type: ignore[no-untyped-call]
        return True

    was_training = module.training
    module.train()
    inputs = x.clone()
    if inputs.is_floating_point():
        inputs.requires_grad_()
    with own_noise(seed, str(x.device)), _watched(module, _Seen(watch)):
        outputs = module(inputs)
    watch(OUTPUTS, outputs)
    leaves = [p for p in (inputs, *module.parameters()) if p.requires_grad]
    # Returned, and not added to what the parameters have as theirs.
    torch.autograd.grad(mean_loss(objective, outputs, y), leaves, allow_unused=True)
    module.train(was_training)
    # The mean loss has 1 / N of each example's gradient.
    norms = {name: math.sqrt(len(x) * square) for name, square in squares.items()}
    return {name: n if math.isfinite(n) else None for name, n in norms.items()}

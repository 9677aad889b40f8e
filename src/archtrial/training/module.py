"""A user's module as training takes it, before the first step.

It is built from a run's initial seed, in single precision; it gets inputs of its own
and returns float32 (batch, outputs); its trainable values lie in one row.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from archtrial.errors import ArmError, FormError
from archtrial.training import recipe
from archtrial.training.noise import own_noise
from archtrial.training.problem import Job, Problem
from archtrial.training.structure import RATES
from archtrial.zoo.outside import loaded

__all__ = [
    "Rates",
    "as_real",
    "build",
    "check_outputs",
    "described",
    "dropouts",
    "flatten",
    "matrices",
    "prepared",
    "rates",
    "state",
    "trainable",
]


def build(problem: Problem, job: Job) -> nn.Module:
    """Returns the untrained module of a job, determined by its initial seed.

    Whenever it is called it gets inputs of its own, and returns float32 (N, outputs).
    """
    scale = recipe.settled(problem.recipe, job.hyperparameters)["initial_scale"]
    # torch initialises from its global generator only: seed it and put it back.
    with own_noise(job.initial_seed, problem.device):
        module = prepared(job.build(), problem.num_outputs)
        if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
            with torch.no_grad():
                module.eval()(torch.from_numpy(problem.x_train[:2]))
    if not trainable(module):
        raise ArmError(
            "an architecture has parameters to train",
            f"{type(module).__name__} has none",
        )
    if scale != 1:
        before = loaded(module)  # what was trained before has its scale
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if parameter.dim() >= 2 and name not in before:
                    parameter.mul_(scale)
    if "dropout" in job.hyperparameters:
        _set_dropout(module, float(job.hyperparameters["dropout"]))
    return module.to(problem.device).train()


def prepared(module: nn.Module, num_outputs: int) -> nn.Module:
    """Returns a module in single precision that each call gives a batch of its own.

    It returns (batch, num_outputs) float32, taken from whatever it returned before.
    """
    module = _in_single_precision(module)
    module.register_forward_pre_hook(_own_inputs, prepend=True)
    module.register_forward_hook(functools.partial(_taken, num_outputs))
    return module


def _in_single_precision(module: nn.Module) -> nn.Module:
    module.float()  # which leaves complex numbers as they are
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        if tensor.dtype == torch.complex128:
            tensor.data = tensor.data.to(torch.complex64)
    return module


def _own_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Gives a module a copy of its batch: what it changes in place is its own."""
    x, *others = inputs
    whole = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
    return (x.to(torch.int64, copy=True) if whole else x.clone(), *others)


def _taken(num_outputs: int, module: nn.Module, inputs: Any, returned: Any) -> Any:
    """Takes from what a module returned the outputs that are trained, as float32.

    That is the tensor itself; `logits`, where there is such a key or attribute; else
    the first of several, or the only one that has the shape of outputs.
    """
    batch = len(inputs[0])
    outputs = _picked(returned, (batch, num_outputs))
    if outputs is None:
        raise FormError(
            f"an architecture returns (batch, {num_outputs}) outputs, or several tensors"
            " of which the first or 'logits' are those",
            f"{described(returned)} for a batch of {batch}",
        )
    if num_outputs == 1 and outputs.shape == (batch,):
        outputs = outputs.unsqueeze(1)
    check_outputs(outputs, batch, num_outputs)
    if not outputs.is_floating_point():
        raise FormError("an architecture returns real numbers", str(outputs.dtype))
    return outputs.float()


def _picked(returned: Any, shape: tuple[int, int]) -> torch.Tensor | None:
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping) and "logits" in returned:
        returned = returned["logits"]
    elif hasattr(returned, "logits"):
        returned = returned.logits
    elif isinstance(returned, (Mapping, list, tuple)):
        ordered = not isinstance(returned, Mapping)
        parts = list(returned.values() if isinstance(returned, Mapping) else returned)
        fitting = [part for part in parts if _fits(part, shape)]
        first = ordered and bool(fitting) and fitting[0] is parts[0]
        returned = fitting[0] if first or len(fitting) == 1 else None
    return returned if isinstance(returned, torch.Tensor) else None


def _fits(part: Any, shape: tuple[int, int]) -> bool:
    return isinstance(part, torch.Tensor) and tuple(part.shape) == shape


def described(returned: Any) -> str:
    """Says what a module returned, in a few words."""
    if isinstance(returned, torch.Tensor):
        return str(tuple(returned.shape))
    if isinstance(returned, Mapping):
        return (
            "{" + ", ".join(f"{k}: {described(v)}" for k, v in returned.items()) + "}"
        )
    if isinstance(returned, (list, tuple)):
        return f"{type(returned).__name__} of {', '.join(map(described, returned))}"
    return f"an object of type {type(returned).__name__}"


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters that an optimiser moves; shared ones occur once."""
    return [p for p in module.parameters() if p.requires_grad]


def _set_dropout(module: nn.Module, probability: float) -> None:
    layers = dropouts(module)
    if not layers:
        raise ArmError(
            "dropout can be set only where the architecture drops something out",
            f"{type(module).__name__} has no nn.Dropout",
            "Add nn.Dropout layers to the module, or take dropout out of the search.",
        )
    for layer in layers:
        layer.p = probability


def dropouts(module: nn.Module) -> list[Any]:
    """Returns the layers of a module whose attribute `p` is a dropout probability."""
    kinds = (
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
        *(nn.AlphaDropout, nn.FeatureAlphaDropout),
    )
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


class Rates(tuple[float, ...]):
    """One probability of each run, where a layer of one run has a number."""


def rates(module: nn.Module) -> list[tuple[Any, str]]:
    """Returns what may differ between the runs of a fleet: layers, and an attribute.

    The attribute is a probability that only the drawing of masks reads.
    """
    found = [(layer, "p") for layer in dropouts(module)]
    for layer in module.modules():
        # Of a subclass, code of somebody else's may read it, too.
        if type(layer) in RATES:
            found.append((layer, RATES[type(layer)]))
    return found


def flatten(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves a module's trainable values, and their gradients, into one row each.

    The parameters become views of the row: what changes there changes here.
    Parameters that are shared inside the module occur once. A complex number takes
    two values; complex parameters come first, since a view of the row as complex
    begins at an even place.

    Returns:
        Values and gradients, each (1, P).
    """
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            # On a GPU it would move the weights out of the row, into one of cuDNN's.
            vars(layer)["flatten_parameters"] = _stay
    parameters = _in_a_row(module)
    parts = [as_real(p.detach()).reshape(-1) for p in parameters]
    sizes = [part.numel() for part in parts]
    values = torch.cat(parts)
    gradients = torch.zeros_like(values)
    for parameter, value, gradient in zip(
        parameters,
        torch.split(values, sizes),
        torch.split(gradients, sizes),
        strict=True,
    ):
        parameter.data = _as(parameter, value)
        parameter.grad = _as(parameter, gradient)
    return values.unsqueeze(0), gradients.unsqueeze(0)


def _stay() -> None:
    """Leaves the weights of a recurrent layer where they are."""


def matrices(module: nn.Module) -> torch.Tensor:
    """Returns which of the values in the row are of two or more dimensions, (P,) bool.

    The others are biases, the factors of normalisations, and the like.
    """
    return torch.cat(
        [
            torch.full((as_real(p.detach()).numel(),), p.dim() >= 2, device=p.device)
            for p in _in_a_row(module)
        ]
    )


def _in_a_row(module: nn.Module) -> list[nn.Parameter]:
    return sorted(trainable(module), key=lambda p: not p.is_complex())


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """Views complex numbers as pairs (..., 2) of real ones, and all else as it is."""
    if not tensor.is_complex():
        return tensor
    return torch.view_as_real(tensor.resolve_conj())


def _as(parameter: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Views a part of the row as a parameter."""
    if parameter.is_complex():
        part = torch.view_as_complex(part.view(-1, 2))
    return part.view(parameter.shape)


def check_outputs(outputs: torch.Tensor, batch: int, num_outputs: int) -> None:
    """Raises FormError unless outputs are (batch, num_outputs)."""
    if tuple(outputs.shape) != (batch, num_outputs):
        raise FormError(
            f"an architecture returns (batch, {num_outputs}) outputs",
            f"{tuple(outputs.shape)} for a batch of {batch}",
            f"Let its last layer have {num_outputs}"
            f" {'output' if num_outputs == 1 else 'outputs'}; it is told so as"
            " num_outputs.",
        )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a module's state_dict on the CPU."""
    # A copy: the parameters are views of one row.
    return {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}

"""The loop: one run, trained as PyTorch trains it."""

import operator
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from archtrial.errors import FormError
from archtrial.training.engine import Engine
from archtrial.training.module import (
    check_outputs,
    flatten,
    matrices,
    state,
    trainable,
)
from archtrial.training.noise import Noise, own_noise
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Inputs

__all__ = ["Loop"]


class Loop(Engine):
    """One module in training.

    Args:
        problem: What all runs share.
        jobs: Of the one run.
        modules: The one module, as `module.build` returns it.

    Attributes:
        module: Its trainable parameters are views of `values`.
        parameters: Those, in their order.
        noise: The source of dropout's masks.
        displaced: Whether the module has put a weight into other memory.
    """

    def __init__(
        self, problem: Problem, jobs: Sequence[Job], modules: Sequence[nn.Module]
    ) -> None:
        (job,), (self.module,) = jobs, modules
        self.parameters = trainable(self.module)
        values, self.gradient = flatten(self.module)
        super().__init__(problem, jobs, values, self._buffers(), matrices(self.module))
        self._places = [
            (p, p.data, p.data_ptr(), gradient)
            for p in self.parameters
            if p.numel() and (gradient := p.grad) is not None
        ]
        self.noise = Noise(torch.Generator(problem.device).manual_seed(job.noise_seed))
        self.generators = [self.noise.generator]
        self.displaced = False
        self._recipe = problem.recipe
        self._noise_seed, self._device = job.noise_seed, problem.device

    def running(self) -> AbstractContextManager[None]:
        """Gives the module global generators of its own."""
        return own_noise(self._noise_seed, self._device)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (1, batch, outputs) in training mode; see `Engine.outputs`."""
        self.module.train()
        before = self.gradient.clone() if self._begun else None
        with self.noise, self._precision():
            outputs = self.module(self._laid_out(x[0]))
        # What a forward pass has left there by a backward of its own is not the loss's.
        if before is None:
            self.gradient.zero_()
        else:
            self.gradient.copy_(before)
        check_outputs(outputs, x.shape[1], self._num_outputs)
        return torch.unsqueeze(outputs, 0)

    def backward(self, losses: torch.Tensor) -> None:
        """Adds the gradient of the loss, (1,), to `gradient`."""
        torch.autograd.backward(losses)
        self._take_over()
        self._begun = True

    @torch.no_grad()
    def predict(self, x: Inputs) -> torch.Tensor:
        """Returns outputs (1, N, outputs) in evaluation mode, of averaged weights."""
        self.module.eval()
        self.exchange()
        chunks = []
        for chunk in x.split(1000):
            with self._precision():
                outputs = self.module(self._laid_out(chunk))
            check_outputs(outputs, len(chunk), self._num_outputs)
            chunks.append(outputs)
        self._take_over()
        self._check_parameters()
        self.exchange()
        return torch.cat(chunks).unsqueeze(0)

    def _precision(self) -> AbstractContextManager[None]:
        """Returns what a forward pass is carried out in.

        In bfloat16 that is torch's autocast: products and convolutions in 16 bits;
        weights, normalisations, loss and update stay in 32.
        """
        if self._recipe.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(torch.device(self._device).type, torch.bfloat16)

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """Returns images (batch, C, H, W) in the declared order of memory."""
        if self._recipe.memory_format == "channels_last" and x.dim() == 4:
            return x.to(memory_format=torch.channels_last)
        return x

    @torch.no_grad()
    def _take_over(self) -> None:
        """Moves back into their rows what the module has put into other memory.

        Max-norm layers, for one, say `weight.data = ...` in `forward`: in PyTorch the
        optimiser moves what `weight` then is.
        """
        for parameter, value, place, gradient in self._places:
            if parameter.data_ptr() != place:
                self.displaced = True
                value.copy_(parameter.data)
                parameter.data = value
            if parameter.grad is not gradient:
                if parameter.grad is None:
                    gradient.zero_()
                else:
                    gradient.copy_(parameter.grad)
                parameter.grad = gradient

    def _check_parameters(self) -> None:
        """Raises a FormError unless the module trains what it trained when it was built."""
        now = trainable(self.module)
        if len(now) == len(self.parameters) and all(
            map(operator.is_, now, self.parameters)
        ):
            return
        built = set(map(id, self.parameters))
        others = [n for n, p in self.module.named_parameters() if id(p) not in built]
        raise FormError(
            "the parameters of a module are those that it was built with: an optimiser"
            " moves no others",
            f"{type(self.module).__name__} has since put others in their place:"
            f" {', '.join(others[:3]) or 'some are missing'}",
            "Make parameters in __init__; in forward change them in place, under"
            " torch.no_grad().",
        )

    def states(self, those: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Returns a copy of the module's state_dict, of averaged weights."""
        self.exchange()
        copied = [state(self.module) for _ in those]
        self.exchange()
        return copied

    def finish(self) -> Sequence[nn.Module]:
        """Returns the trained module, with averaged weights."""
        self.exchange()
        return [self.module]

    def _buffers(self) -> Mapping[str, torch.Tensor]:
        return dict(self.module.named_buffers())

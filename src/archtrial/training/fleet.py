"""The training of many runs at once; its oracle is `run.py`.

Runs of one structure are stacked: each parameter gets a leading axis of runs,
and one batched program trains them side by side. Every run keeps its own
hyperparameters, order of batches, noise and weights.

A module needs no change for it. Its forward pass is carried out once as under
`torch.vmap`, which gives every operation the axis of runs; the operations that
`vmap` knows no fast form of are redirected to `stacked.py` (`redirected.py`). Gradients are
torch's own, taken outside of `vmap`.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archtrial.training import recurrent, run, structure
from archtrial.training.engine import Engine
from archtrial.training.module import (
    Rates,
    as_real,
    check_outputs,
    flatten,
    matrices,
    rates,
    state,
)
from archtrial.training.module import build as build_module
from archtrial.training.outcome import Account, Outcome, pass_on
from archtrial.training.problem import Job, Problem
from archtrial.training.redirected import (
    Redirected,
    States,
    UnstackableError,
    one_run,
)
from archtrial.training.source import Inputs

__all__ = ["Stack", "train"]

_log = logging.getLogger(__name__)


def train(problem: Problem, jobs: Sequence[Job]) -> list[Outcome]:
    """Trains many runs side by side.

    Jobs whose modules differ in more than dropout's probability are trained in
    fleets of their own, and alone in the loop if there is no other like it. A
    run that diverges, or whose module cannot be built, does not disturb others.

    Args:
        problem: What all runs share.
        jobs: Runs of an architecture without an obstacle (`stacking.py`).

    Returns:
        The outcomes in the order of the jobs, each as `run.train` defines it; a
        run's `seconds` are its share of its fleet's.

    Raises:
        ProtocolError: As `run.train`.
        MemoryError: As `run.train`.
    """
    outcomes: dict[int, Outcome] = {}
    fleets: dict[Any, list[tuple[int, nn.Module]]] = {}
    for index, job in enumerate(jobs):
        try:
            module = build_module(problem, job)
        except Exception as error:  # a user's builder may raise anything
            pass_on(error)
            outcomes[index] = Account(problem, time.perf_counter()).failed(error)
        else:
            fleets.setdefault(structure.structure(module), []).append((index, module))
    for members in fleets.values():
        those = [jobs[index] for index, _ in members]
        try:
            accounts = [Account(problem, time.perf_counter()) for _ in those]
            modules = [module for _, module in members]
            trained = run.drive(problem, those, modules, Stack, accounts)
        except Exception as error:  # what a user's module raises is anything
            pass_on(error)
            # Which of the runs raised cannot be told from outside: the loop can.
            _log.warning("a fleet of %d goes on as a loop: %r", len(those), error)
            trained = [run.train(problem, job) for job in those]
        for (index, _), outcome in zip(members, trained, strict=True):
            outcomes[index] = outcome
    return [outcomes[index] for index in range(len(jobs))]


class Stack(Engine):
    """Modules of one structure in training, with a leading axis of runs.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        modules: What the jobs built. The first lends its forward pass; none is of
            use until `finish`.

    Attributes:
        buffers: By name, (runs, ...).
    """

    def __init__(
        self,
        problem: Problem,
        jobs: Sequence[Job],
        modules: Sequence[nn.Module],
    ) -> None:
        self._modules = modules
        self._module = modules[0]
        rows = [flatten(module)[0] for module in modules]
        # A row begins at an even place, so that it can be viewed as complex numbers.
        width = rows[0].shape[1]
        self.values = rows[0].new_empty(len(rows), width + width % 2)[:, :width]
        torch.cat(rows, out=self.values)
        # In the order of `flatten`, where complex parameters come first.
        self._shapes = dict(
            sorted(
                (
                    (name, parameter)
                    for name, parameter in self._module.named_parameters()
                    if parameter.requires_grad
                ),
                key=lambda named: not named[1].is_complex(),
            )
        )
        self._trainable = {
            name: piece.requires_grad_() for name, piece in self.named(self.values)
        }
        frozen = [
            {n: p.detach() for n, p in module.named_parameters() if not p.requires_grad}
            for module in modules
        ]
        self._frozen = {n: torch.stack([own[n] for own in frozen]) for n in frozen[0]}
        buffers = [dict(module.named_buffers()) for module in modules]
        self.buffers = {n: torch.stack([own[n] for own in buffers]) for n in buffers[0]}
        self._places = _places(self._module)
        # Every layer's own probability in every run; `Redirected` reads it.
        for layers in zip(*map(rates, modules), strict=True):
            each = Rates(getattr(layer, rate) for layer, rate in layers)
            layer, rate = layers[0]
            setattr(layer, rate, each if len(set(each)) > 1 else each[0])
        self.generators = [
            torch.Generator(problem.device).manual_seed(job.noise_seed) for job in jobs
        ]
        self._redirected = Redirected(
            self.generators, States.seeded(problem.device, jobs)
        )
        self._input_axis: int | None = None
        self._batch_size = problem.batch_size
        super().__init__(
            problem, jobs, self.values, self.buffers, matrices(self._module)
        )
        self.gradient = torch.zeros_like(self.values)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (runs, batch, outputs) in training mode; see `Engine`."""
        if not self._module.training:
            self._module.train()
        self._redirected.evaluates = False
        outputs = self._forward(x, 0)
        check_outputs(outputs[0], x.shape[1], self._num_outputs)
        return outputs

    def backward(self, losses: torch.Tensor) -> None:
        """Adds the gradient of each run's loss, (runs,), to `gradient`."""
        pieces = torch.autograd.grad(
            losses,
            list(self._trainable.values()),
            torch.ones_like(losses),
            materialize_grads=True,
        )
        rows = [as_real(piece).reshape(len(piece), -1) for piece in pieces]
        if self._begun:
            self.gradient += torch.cat(rows, 1)
        else:
            torch.cat(rows, 1, out=self.gradient)
        self._begun = True

    @torch.no_grad()
    def predict(self, x: Inputs) -> torch.Tensor:
        """Returns outputs (runs, N, num_outputs) of one input (N, ...) for all runs.

        Those of averaged weights, where there are any.
        """
        self._module.eval()
        self._redirected.evaluates = True
        # As many examples at once as keep the runs' layers in the cache; a GPU has none
        # that they would fit into, and room for the batches of a training.
        least = self._batch_size if x.is_cuda else 1
        chunks = x.split(max(least, 4000 // len(self._modules)))
        self.exchange()
        outputs = torch.cat([self._evaluated(chunk) for chunk in chunks], 1)
        self.exchange()
        return outputs

    def _evaluated(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the outputs of all runs for the same inputs."""
        if self._input_axis is None:
            try:
                return self._forward(x, None)
            except UnstackableError:
                # Runs cannot each change, in place, an input of which there is one.
                self._input_axis = 0
        return self._forward(x.repeat(len(self._modules), *(1 for _ in x.shape)), 0)

    def named(self, values: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields the trainable parameters, by name, as views of (..., P) values."""
        start = 0
        for name, like in self._shapes.items():
            end = start + like.numel() * (2 if like.is_complex() else 1)
            piece = values[..., start:end]
            if like.is_complex():
                pairs = piece.view(*values.shape[:-1], like.numel(), 2)
                piece = torch.view_as_complex(pairs)
            yield name, piece.view((*values.shape[:-1], *like.shape))
            start = end

    def _buffers(self) -> Mapping[str, torch.Tensor]:
        return self.buffers

    def _forward(self, x: torch.Tensor, axis: int | None) -> torch.Tensor:
        """Carries out the module on all runs; `axis` is that of the runs in x."""
        tensors = {**self._trainable, **self._frozen, **self.buffers}
        with self._redirected, one_run(len(self._modules)) as one:
            # What functional_call does: the module reads what it finds in its place.
            for name, tensor in tensors.items():
                seen = one.of(tensor)
                for owner, key in self._places[name]:
                    owner[key] = seen
            outputs = one.all(self._module(x if axis is None else one.of(x)))
            # A module may have replaced its buffers.
            for name in self.buffers:
                owner, key = self._places[name][0]
                self.buffers[name] = one.all(owner[key]).detach()
        return outputs

    def states(self, those: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Returns copies of some runs' state_dicts, of averaged weights."""
        self.exchange()
        self._write_back(those)
        copied = [state(self._modules[index]) for index in those]
        self.exchange()
        return copied

    def finish(self) -> Sequence[nn.Module]:
        """Writes what was learnt, averaged where it is, back into the modules."""
        self.exchange()
        self._write_back(range(len(self._modules)))
        recurrent.forget_rooms()
        return self._modules

    @torch.no_grad()
    def _write_back(self, those: Sequence[int]) -> None:
        learnt = {**self._trainable, **self._frozen, **self.buffers}
        for index in those:
            for name, places in _places(self._modules[index]).items():
                # One in all its places: by this `_places` tells that it is shared.
                own = learnt[name][index].detach()
                for owner, key in places:
                    owner[key] = own


def _places(module: nn.Module) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """Returns where a module keeps its parameters and buffers.

    By the name under which torch lists a tensor; one that is shared has several
    places.
    """
    owners = [
        (layer_name, owner, key)
        for layer_name, layer in module.named_modules()
        for owner in (layer._parameters, layer._buffers)
        for key in owner
        if owner[key] is not None
    ]
    names: dict[int, str] = {}
    places: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for layer_name, owner, key in owners:
        full = f"{layer_name}.{key}" if layer_name else key
        name = names.setdefault(id(owner[key]), full)
        places.setdefault(name, []).append((owner, key))
    return places

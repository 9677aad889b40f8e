"""The training of many runs at once; its oracle is `run.py`.

Runs of one structure are stacked: each parameter gets a leading axis of runs,
and one batched program trains them side by side. Every run keeps its own
hyperparameters, order of batches, noise and weights.

A module needs no change for it. Its forward pass is carried out once as under
`torch.vmap`, which gives every operation the axis of runs; the operations that
`vmap` knows no fast form of are redirected to `stacked.py`. Gradients are
torch's own, taken outside of `vmap`.
"""

import contextlib
import dataclasses
import functools
import logging
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch._functorch.vmap import (  # type: ignore[attr-defined]
    lazy_load_decompositions,
)
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from archtrial.training import noise, recurrent, run, stacked, structure
from archtrial.training.device import exact
from archtrial.training.engine import Engine
from archtrial.training.loop import Loop
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
from archtrial.training.source import Batches, Inputs, Source
from archtrial.zoo.userfile import is_library

__all__ = ["Stack", "obstacle", "train"]

_log = logging.getLogger(__name__)


def train(problem: Problem, jobs: Sequence[Job]) -> list[Outcome]:
    """Trains many runs side by side.

    Jobs whose modules differ in more than dropout's probability are trained in
    fleets of their own, and alone in the loop if there is no other like it. A
    run that diverges, or whose module cannot be built, does not disturb others.

    Args:
        problem: What all runs share.
        jobs: Runs of an architecture without an `obstacle`.

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


def obstacle(
    problem: Problem,
    build: Callable[[], nn.Module],
    jobs: Sequence[Job] | None = None,
) -> str | None:
    """Says why a module cannot be trained in a fleet, by trying it.

    Two runs with weights and noise of their own take two steps on the first batches,
    stacked and each on its own; losses, gradients, buffers and evaluation must agree.

    Args:
        problem: As it will be trained.
        build: Makes the module, where there are no jobs.
        jobs: Two runs of those that would share a fleet, which differ in every value
            that may differ there; their seeds are left aside.

    Returns:
        None if they do, else a sentence without its beginning or end.

    Raises:
        MemoryError: As `run.train`.
    """
    if problem.recipe.precision == "bfloat16":
        return "the fast forms of a fleet compute in float32, and not in bfloat16"
    if problem.recipe.memory_format == "channels_last":
        return "its images lie channels last in memory, which is an order of one run's"
    those = jobs or [Job(build, {}, 0, 0, 0)] * 2
    two = [
        Job(job.build, job.hyperparameters, seed, seed, seed)
        for seed, job in enumerate(those, 1)
    ]
    try:
        with exact(problem.device), warnings.catch_warnings():
            # Where vmap knows no rule for an operation it warns and goes slowly.
            warnings.filterwarnings("error", message="There is a performance drop")
            return _disagreement(problem, two)
    except _UnstackableError as error:
        return str(error)
    except Exception as error:  # what a user's module raises is anything
        pass_on(error)
        # Where torch itself was compiled, which its warnings end with, is no reason.
        said = str(error).partition("\n")[0].partition(" (Triggered internally")[0]
        if "escaped from inside a function being vmapped" in said:
            return (
                "it takes up a tensor again when its forward is over, as"
                " torch.utils.checkpoint does"
            )
        frames = list(traceback.walk_tb(error.__traceback__))
        place = _place(frames)
        at = place and f" ({place})"
        return f"{_known_reason(frames) or f'{type(error).__name__}: {said}'}{at}"


def _known_reason(frames: Sequence[tuple[types.FrameType, int]]) -> str | None:
    """Says of some ways of writing a module why torch raises there in a fleet."""
    for frame, _ in frames:
        file = Path(frame.f_code.co_filename)
        if file.parent.name == "_functorch" and file.name in (
            "apis.py",
            "eager_transforms.py",
        ):
            return (
                "it transforms functions itself (torch.vmap, torch.func), as a fleet does"
                " with it"
            )
        if file.parts[-3:] == ("nn", "utils", "rnn.py") or any(
            isinstance(value, nn.utils.rnn.PackedSequence)
            for value in frame.f_locals.values()
        ):
            return (
                "it packs its sequences (pack_padded_sequence), whose batches shrink from"
                " step to step"
            )
    return None


# By how much a tensor of a run in a fleet may differ from the loop's, as a share of its
# norm. Sums in another order differ by about 1e-6 of it; where rounding makes a ReLU or
# a maximum fall out otherwise, single values differ wholly, and the norm of 16 million
# values by no more than 1e-3 if 16 of them do. A wrong mask, rate or weight changes it
# by a tenth and more.
_ROUNDING = 1e-3
# What is nothing but rounding itself, such as the gradient of a bias before batch
# normalisation, is compared with the norm of the whole gradient.
_NOTHING = 1e-5


def _disagreement(problem: Problem, jobs: Sequence[Job]) -> str | None:
    # What happens to batches before a step, and to weights after it, stacks anyhow.
    bare = problem.recipe.model_copy(update={"weight_averaging": 0.0, "accumulate": 1})
    problem = dataclasses.replace(problem, recipe=bare)
    source = Source(problem)
    modules = [build_module(problem, job) for job in jobs]
    different = structure.difference(*modules)
    if different is not None:
        return f"its runs differ in {different}, which one program for all would share"
    following = Batches(problem, source, jobs)
    batches = [next(following) for _ in range(2)]
    examples = source.x_validation[:64]
    stack = Stack(problem, jobs, modules)
    steps = []
    # The fleet goes first: a module may keep its options where the next one's build
    # overwrites them, as in an attribute of its class.
    for x, y in batches:
        losses = stack.step(x, y, rate=1.0)
        momenta = stack.optimizer.state[0].clone()
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        steps.append((losses, momenta, buffers, stack.values.clone()))
    outputs = stack.predict(examples)
    for index, job in enumerate(jobs):
        with noise.own_noise(job.noise_seed, problem.device):
            loop = Loop(problem, [job], [build_module(problem, job)])
            torch.manual_seed(job.noise_seed)
            for (x, y), (losses, momenta, buffers, values) in zip(
                batches, steps, strict=True
            ):
                loss = loop.step(x[index : index + 1], y[index : index + 1], 1.0)
                # What the optimiser remembers of the gradient is linear in it; its
                # update is not, and would blow up rounding.
                momentum = loop.optimizer.state[0, 0]
                least = _NOTHING * float(momentum.norm())
                pairs = [("the loss", losses[index], loss[0], _NOTHING)]
                pairs += [
                    (f"the gradient of {name}", mine, theirs, least)
                    for (name, mine), (_, theirs) in zip(
                        stack.named(momenta[index].clone()),
                        stack.named(momentum),
                        strict=True,
                    )
                ]
                pairs += [
                    (f"the buffer {name}", buffers[name][index], buffer, _NOTHING)
                    for name, buffer in loop.module.named_buffers()
                ]
                for name, mine, theirs, floor in pairs:
                    if not _agree(mine, theirs, floor):
                        return f"{name} of a run in a fleet is not what it is alone"
                # The same trained values, so that what follows is compared alone.
                loop.values.copy_(values[index : index + 1])
            output = loop.predict(examples)[0]
            if not _agree(outputs[index], output, _NOTHING):
                return "a run's outputs in evaluation are not what they are alone"
            halves = [loop.predict(half)[0] for half in examples.tensor_split(2)]
            if not _agree(torch.cat(halves), output, _NOTHING):
                return (
                    "in evaluation its outputs for an example hang on the others of the"
                    " same batch, and a fleet's batches are of another size"
                )
    return None


def _agree(mine: torch.Tensor, theirs: torch.Tensor, floor: float) -> bool:
    """Says whether two tensors are the same but for rounding, by the norm."""
    if not (mine.is_floating_point() or mine.is_complex()):
        return torch.equal(mine, theirs)
    finite = theirs.isfinite()
    if not torch.equal(mine.isfinite(), finite):
        return False
    norm = torch.linalg.vector_norm(theirs[finite].abs().double())
    apart = torch.linalg.vector_norm((mine - theirs)[finite].abs().double())
    return bool(apart <= max(_ROUNDING * float(norm), floor))


class _UnstackableError(Exception):
    """What a module does that many runs cannot do at once, in our own words."""


def _place(frames: Iterable[tuple[types.FrameType, int]]) -> str:
    """Returns the user's line that the last of some frames runs, else torch's layer."""
    place = ""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if not is_library(file):
            place = f"{Path(file).name}, line {line}"
        elif frame.f_code.co_name == "forward":
            layer = frame.f_locals.get("self")
            if isinstance(layer, nn.Module):
                kind = type(layer).__name__
                place = f"{place.partition(' in ')[0]} in {kind}".strip()
    return place


def _here() -> str:
    return _place(reversed(list(traceback.walk_stack(sys._getframe(1)))))


class Stack(Engine):
    """Modules of one structure in training, with a leading axis of runs.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        modules: What the jobs built. The first lends its forward pass; none is of
            use until `finish`.

    Attributes:
        buffers: By name, (runs, ...).
        generators: Of each run, the source of dropout's masks.
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
        # Every layer's own probability in every run; `_Redirected` reads it.
        for layers in zip(*map(rates, modules), strict=True):
            each = Rates(getattr(layer, rate) for layer, rate in layers)
            layer, rate = layers[0]
            setattr(layer, rate, each if len(set(each)) > 1 else each[0])
        self.generators = [
            torch.Generator(problem.device).manual_seed(job.noise_seed) for job in jobs
        ]
        self._redirected = _Redirected(
            self.generators, _States.seeded(problem.device, jobs)
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
            except _UnstackableError:
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
        with self._redirected, _one_run(len(self._modules)) as one:
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


# --------------------------------------------------- inside vmap, and out of it again


class _one_run:  # noqa: N801 - reads as a verb: with one_run(n) as one
    """Makes tensors of all runs look like one run's, as inside `torch.vmap`.

    `torch.vmap` does no more, but its bookkeeping, like that of
    `torch.func.functional_call`, takes longer than the layers of a small network.

    Args:
        runs: How many there are.
    """

    def __init__(self, runs: int) -> None:
        self._runs = runs

    def __enter__(self) -> "_one_run":
        lazy_load_decompositions()
        self._level = _functorch._vmap_increment_nesting(self._runs, "error")
        return self

    def __exit__(self, *exception: object) -> None:
        _functorch._vmap_decrement_nesting()

    def of(self, stacked: torch.Tensor) -> torch.Tensor:
        """Returns one run's view of a tensor (runs, ...)."""
        return _functorch._add_batch_dim(stacked, 0, self._level)

    def all(self, seen: torch.Tensor) -> torch.Tensor:
        """Returns the tensor (runs, ...) behind one run's view."""
        return _functorch._remove_batch_dim(seen, self._level, self._runs, 0)


class _Redirected(TorchFunctionMode):
    """Takes the operations of `_RULES` out of `vmap`, to their stacked forms.

    Inside `vmap` a tensor looks like one run's; `_functorch` tells the tensor of
    all runs behind it. (A `torch.autograd.Function` with a `vmap` method is the
    public way to the same end, at .2 ms a call: more than a layer costs here.)
    """

    def __init__(
        self, generators: Sequence[torch.Generator], states: "_States"
    ) -> None:
        super().__init__()
        self.generators = generators
        self.states = states
        self.evaluates = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carries out one operation, by its rule if there is one."""
        kwargs = dict(kwargs or {})
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        if func in noise.DROPOUTS and args[0].dim() >= noise.DROPOUTS[func]:
            rule: Callable[..., Any] = functools.partial(
                noise.dropout, func, self._mask
            )
            return rule(*args, **kwargs)
        if func in _RULES:
            try:
                return self._outside(_RULES[func], args, kwargs)
            except NotImplementedError:
                return self._each_alone(func, args, kwargs)
        if func is torch.Tensor.__setitem__ and _masks(args[1]):
            return self._each_alone(func, args, kwargs)
        if func in _MADE:
            return self._outside(self._made, (func, *args), kwargs)
        if func in _DRAWN or (func in _DROPPING and _drops(func, args, kwargs)):
            return self._each_alone(func, args, kwargs)
        out = kwargs.pop("out", None)
        try:
            result = func(*args, **kwargs)
        except (RuntimeError, NotImplementedError, Warning) as error:
            result = self._otherwise(error, func, args, kwargs)
        return result if out is None else out.copy_(result)

    def _made(
        self, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Makes a tensor for each run, since each may write its own values there."""
        made: torch.Tensor = func(*args, **kwargs)
        return made.repeat(len(self.generators), *(1 for _ in made.shape))

    def _each_alone(
        self, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Carries out an operation run by run, with each run's own global generators.

        That is what the loop does; its own mode does not reach into torch's functions
        either.
        """
        name = _name(func)
        if kwargs.get("generator") is not None:
            raise _UnstackableError(
                f"{name} ({_here()}) draws from a generator of the module's own, of"
                " which there is one for all runs"
            )
        changes = name == "__setitem__" or (
            name.endswith("_") and not name.endswith("__")
        )
        if changes and not _functorch.is_batchedtensor(args[0]):
            raise _UnstackableError(
                f"{name} ({_here()}) writes other values for each run into a tensor of"
                " which there is one for all runs"
            )
        before = self.states.position()

        def alone(*args: Any, **kwargs: Any) -> Any:
            results = []
            for index in range(len(self.generators)):
                own_args, own_kwargs = _one_of((args, kwargs), index)
                if not changes:
                    # Numbers are drawn in the order of memory, which is the loop's.
                    own_args = tuple(map(_in_order, own_args))
                with self.states.of(index):
                    results.append(func(*own_args, **own_kwargs))
            return None if changes else _stacked(results)

        results = self._outside(alone, args, kwargs)
        if self.evaluates and self.states.position() != before:
            raise _UnstackableError(
                f"{name} ({_here()}) draws random numbers in evaluation, too"
            )
        return args[0] if changes else results

    def _otherwise(
        self,
        error: Exception,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Carries out run by run what cannot be done for all runs at once."""
        name = _name(func)
        if func in _LOOKS:
            raise _UnstackableError(
                f"{name} ({_here()}) looks at a value, which is another in each run"
            ) from error
        try:
            return self._each_alone(func, args, kwargs)
        except _UnstackableError:
            raise
        except Exception as alone:
            pass_on(alone)
            raise _UnstackableError(
                f"{name} ({_here()}) cannot be done for many runs at once"
            ) from alone

    def _outside(
        self, rule: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        level = _functorch.maybe_current_level()
        assert level is not None
        all_runs = functools.partial(_all_runs, runs=len(self.generators))
        with temporarily_pop_interpreter_stack():
            results = rule(
                *map(all_runs, args),
                **{name: all_runs(value) for name, value in kwargs.items()},
            )
        if isinstance(results, torch.Tensor):
            return _functorch._add_batch_dim(results, 0, level)
        if results is None:
            return None
        return tuple(
            result if result is None else _functorch._add_batch_dim(result, 0, level)
            for result in results
        )

    def _mask(self, like: torch.Tensor, shape: Sequence[int], p: Any) -> torch.Tensor:
        """Returns the masks of one dropout layer, p being one value or one a run."""
        each = p if isinstance(p, tuple) else (p,) * len(self.generators)
        if self.evaluates:
            raise _UnstackableError(
                f"dropout ({_here()}) is at work in evaluation, too"
            )

        drawn: torch.Tensor = self._outside(
            noise.draw, (each, self.generators, shape, like.device), {}
        )
        return drawn


def _all_runs(value: Any, runs: int) -> Any:
    """Turns what one run sees into what all runs have, the axis of runs first."""
    if isinstance(value, torch.Tensor):
        if _functorch.is_batchedtensor(value):
            axis = _functorch.maybe_get_bdim(value)
            return _functorch.get_unwrapped(value).movedim(axis, 0)
        return value.expand(runs, *value.shape)
    if isinstance(value, (list, tuple)):
        return type(value)(_all_runs(item, runs) for item in value)
    return value


def _one_of(value: Any, index: int) -> Any:
    """Returns one run's part of what `_all_runs` returned."""
    if isinstance(value, (torch.Tensor, Rates)):
        return value[index]
    if isinstance(value, (list, tuple)):
        return type(value)(_one_of(item, index) for item in value)
    if isinstance(value, dict):
        return {key: _one_of(item, index) for key, item in value.items()}
    return value


def _in_order(value: Any) -> Any:
    return value.contiguous() if isinstance(value, torch.Tensor) else value


def _stacked(results: Sequence[Any]) -> Any:
    """Returns what an operation gave for each run, with a leading axis of runs."""
    first = results[0]
    if first is None:
        return None
    if isinstance(first, (list, tuple)):
        return tuple(_stacked(each) for each in zip(*results, strict=True))
    return torch.stack(list(results))


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", repr(func))
    if name == "__get__":
        return getattr(getattr(func, "__self__", None), "__name__", name)
    return name


class _States:
    """Of each run, where it is in torch's global generators.

    Whatever a module draws from them, a run in the loop has them for itself.
    """

    def __init__(self, device: str, states: list[list[torch.Tensor]]) -> None:
        self._device = device
        self._states = states

    @classmethod
    def seeded(cls, device: str, jobs: Sequence[Job]) -> "_States":
        """Returns them as the loop has them at a run's first step."""
        places = ["cpu", device] if device.startswith("cuda") else ["cpu"]
        return cls(
            device,
            [
                [
                    torch.Generator(at).manual_seed(job.noise_seed).get_state()
                    for at in places
                ]
                for job in jobs
            ],
        )

    def position(self) -> list[bytes]:
        """Returns what changes when anything is drawn."""
        return [state.numpy().tobytes() for own in self._states for state in own]

    @contextlib.contextmanager
    def of(self, index: int) -> Iterator[None]:
        """Gives the global generators to a run."""
        before = self._read()
        self._write(self._states[index])
        try:
            yield
        finally:
            self._states[index] = self._read()
            self._write(before)

    def _read(self) -> list[torch.Tensor]:
        states = [torch.get_rng_state()]
        if self._device.startswith("cuda"):
            states.append(torch.cuda.get_rng_state(self._device))
        return states

    def _write(self, states: Sequence[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self._device.startswith("cuda"):
            torch.cuda.set_rng_state(states[1], self._device)


def _masks(index: Any) -> bool:
    """Says whether an index chooses other places in each run, by a mask.

    What `vmap` writes there is not what a run writes by itself.
    """
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, torch.Tensor)
        and part.dtype in (torch.bool, torch.uint8)
        and _functorch.is_batchedtensor(part)
        for part in parts
    )


def _drops(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bool:
    """Says whether an attention drops anything out."""
    place, training = _DROPPING[func]
    given = dict(enumerate(args))
    p = kwargs.get("dropout_p", given.get(place, 0.0))
    if training is not None and not kwargs.get("training", given.get(training, True)):
        return False
    return isinstance(p, tuple) or p > 0


def _convolution(
    x: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any
) -> torch.Tensor:
    if x.dim() == weight.dim() - 1:  # one example without an axis of batch
        return stacked.convolution(x.unsqueeze(1), weight, *args, **kwargs).squeeze(1)
    return stacked.convolution(x, weight, *args, **kwargs)


def _pooling(
    own: Callable[..., torch.Tensor], function: Callable[..., torch.Tensor], sides: int
) -> Callable[..., Any]:
    rule = stacked.pooling(own, function, sides)

    def pooled(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if x.dim() == sides + 2:  # one example without an axis of batch
            return torch.squeeze(rule(x.unsqueeze(1), *args, **kwargs), 1)
        result: torch.Tensor = rule(x, *args, **kwargs)
        return result

    return pooled


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    **kwargs: Any,
) -> torch.Tensor:
    """Puts the runs beside the examples of a batch, none of which sees another."""
    runs, batch = query.shape[:2]
    alike = key.shape[:2] == value.shape[:2] == (runs, batch)
    alike = alike and query.dim() == key.dim() == value.dim() >= 4
    # Where something is dropped out, each run draws as it does alone.
    if dropout_p or not alike:
        raise NotImplementedError
    if attn_mask is not None:
        ones = [1] * (query.dim() - attn_mask.dim())
        mask = attn_mask.reshape(runs, *ones, *attn_mask.shape[1:])
        attn_mask = mask.expand(runs, batch, *mask.shape[2:]).flatten(0, 1)
    q, k, v = (each.flatten(0, 1) for each in (query, key, value))
    attended = functional.scaled_dot_product_attention(
        q, k, v, attn_mask, is_causal=is_causal, **kwargs
    )
    return torch.unflatten(attended, 0, (runs, batch))


def _adaptive_average(x: torch.Tensor, output_size: Any) -> torch.Tensor:
    sizes = output_size if isinstance(output_size, tuple) else (output_size,)
    if all(size == 1 for size in sizes):  # the usual end of a convolutional network
        return x.mean((-2, -1), keepdim=True)
    pooled = functional.adaptive_avg_pool2d(x.flatten(0, -4), output_size)
    return torch.unflatten(pooled, 0, x.shape[:-3])


_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.linear: stacked.linear,
    functional.embedding: stacked.embedding,
    functional.conv1d: _convolution,
    functional.conv2d: _convolution,
    functional.conv3d: _convolution,
    functional.batch_norm: stacked.batch_norm,
    functional.scaled_dot_product_attention: _attention,
    **{
        function: functools.partial(recurrent.recurrent, cell)
        for function, cell in recurrent.CELLS.items()
    },
    functional.max_pool1d: _pooling(functional.max_pool1d, functional.max_pool2d, 1),
    functional.max_pool2d: _pooling(functional.max_pool2d, functional.max_pool3d, 2),
    functional.avg_pool1d: _pooling(functional.avg_pool1d, functional.avg_pool2d, 1),
    functional.avg_pool2d: _pooling(functional.avg_pool2d, functional.avg_pool3d, 2),
    functional.adaptive_avg_pool2d: _adaptive_average,
}
"""From a function of torch to its form for all runs at once."""

_MADE = frozenset({torch.zeros, torch.ones, torch.empty, torch.full})
"""What makes new tensors, into which a module may write."""

_DRAWN: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.rand_like),
        *(torch.randn_like, torch.randint_like, torch.normal, torch.bernoulli),
        *(torch.multinomial, torch.poisson, torch.binomial, torch.rrelu, torch.dropout),
        *(torch.dropout_, torch.alpha_dropout, torch.feature_dropout, torch.rrelu_),
        *(torch.feature_alpha_dropout, torch.native_dropout, torch.Tensor.bernoulli),
        *(torch.Tensor.bernoulli_, torch.Tensor.normal_, torch.Tensor.uniform_),
        *(torch.Tensor.exponential_, torch.Tensor.random_, torch.Tensor.cauchy_),
        *(torch.Tensor.geometric_, torch.Tensor.log_normal_, torch.Tensor.multinomial),
        *(functional.alpha_dropout, functional.feature_alpha_dropout),
        *(functional.gumbel_softmax, functional.rrelu),
        *(functional.fractional_max_pool2d, functional.fractional_max_pool3d),
    }
)
"""What draws from torch's global generator."""

# The places of its rate and of whether it is in training.
_DROPPING: dict[Callable[..., Any], tuple[int, int | None]] = {
    functional.scaled_dot_product_attention: (4, None),
    functional.multi_head_attention_forward: (10, 13),
}
"""Attention, which draws where it drops something out."""

_LOOKS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__),
        *(torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__),
        *(
            torch.Tensor.numpy,
            torch.Tensor.__contains__,
            torch.equal,
            torch.Tensor.equal,
        ),
        torch.allclose,
    }
)
"""What gives a value to Python."""

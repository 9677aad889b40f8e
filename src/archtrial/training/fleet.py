"""The training of many runs at once; its oracle is `run.py`.

Runs of one structure are stacked: each parameter gets a leading axis of runs,
and one batched program trains them side by side. Every run keeps its own
hyperparameters, order of batches, noise and weights.

A module needs no change for it. Its forward pass is carried out once as under
`torch.vmap`, which gives every operation the axis of runs; the operations that
`vmap` knows no fast form of are redirected to `stacked.py`. Gradients are
torch's own, taken outside of `vmap`.
"""

import dataclasses
import functools
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
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

from archtrial.training import cost, recipe, run, stacked

__all__ = ["Stack", "obstacle", "train"]

_log = logging.getLogger(__name__)


def train(problem: run.Problem, jobs: Sequence[run.Job]) -> list[run.Outcome]:
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
    outcomes: dict[int, run.Outcome] = {}
    fleets: dict[Any, list[tuple[int, nn.Module]]] = {}
    for index, job in enumerate(jobs):
        try:
            module = run.build(problem, job)
        except Exception as error:  # a user's builder may raise anything
            run.pass_on(error)
            outcomes[index] = run.Account(problem, time.perf_counter()).failed(error)
        else:
            fleets.setdefault(cost.structure(module), []).append((index, module))
    for members in fleets.values():
        those = [jobs[index] for index, _ in members]
        try:
            trained = _train(problem, those, [module for _, module in members])
        except Exception as error:  # what a user's module raises is anything
            run.pass_on(error)
            # Which of the runs raised cannot be told from outside: the loop can.
            _log.warning("a fleet of %d goes on as a loop: %r", len(those), error)
            trained = [run.train(problem, job) for job in those]
        for (index, _), outcome in zip(members, trained, strict=True):
            outcomes[index] = outcome
    return [outcomes[index] for index in range(len(jobs))]


def _train(
    problem: run.Problem, jobs: Sequence[run.Job], modules: Sequence[nn.Module]
) -> list[run.Outcome]:
    started = time.perf_counter()
    accounts = [run.Account(problem, started) for _ in jobs]
    data = run.Data(problem)
    # Counted before the modules are stacked: a stacked module no longer runs alone.
    flops = cost.training(modules[0], data.x_train[: data.batch_size], problem.steps)
    stack = Stack(problem, jobs, modules)
    batches = run.Batches(problem, data, jobs)
    for account in accounts:
        account.parameters = cost.parameters(modules[0])
        account.flops = flops
    evaluations = run.evaluation_steps(problem)
    keeps = frozenset(step for job in jobs for step in job.keep_at)
    total_losses = torch.zeros(len(jobs), device=problem.device)
    if 0 in keeps:
        _keep(0, stack, accounts, jobs)
    for step, rate in enumerate(recipe.rates(problem.recipe, problem.steps), 1):
        x, y = next(batches)
        total_losses += stack.step(x, y, rate)
        if step in evaluations:
            scores = data.presented(stack.predict(data.x_validation))
            for account, total, score in zip(
                accounts, total_losses.tolist(), scores, strict=True
            ):
                account.evaluated(step, total, score)
            if all(account.diverged for account in accounts):
                break
            total_losses.zero_()
            if problem.read_at:
                read = data.presented(stack.predict(data.x_test))
                for account, presented in zip(accounts, read, strict=True):
                    account.read(step, presented)
        if step in keeps:
            _keep(step, stack, accounts, jobs)
    predictions = data.presented(stack.predict(data.x_test))
    stack.unstack()
    return [
        account.finished(
            prediction, module if job.keep_weights else None, 1 / len(jobs)
        )
        for account, prediction, module, job in zip(
            accounts, predictions, modules, jobs, strict=True
        )
    ]


def _keep(
    step: int,
    stack: "Stack",
    accounts: Sequence[run.Account],
    jobs: Sequence[run.Job],
) -> None:
    """Copies the weights of those runs that keep them after a step."""
    those = [
        index
        for index, (account, job) in enumerate(zip(accounts, jobs, strict=True))
        if step in job.keep_at and not account.diverged
    ]
    for index, weights in zip(those, stack.states(those), strict=True):
        accounts[index].kept[step] = weights


def obstacle(problem: run.Problem, build: Callable[[], nn.Module]) -> str | None:
    """Says why a module cannot be trained in a fleet, by trying it.

    Two modules with different weights go through one step on a few examples,
    stacked and each on its own; losses, gradients, buffers and evaluation must
    agree.

    Returns:
        None if they do, else one line for the log.

    Raises:
        MemoryError: As `run.train`.
    """
    two = [run.Job(build, {}, seed, seed, seed) for seed in (1, 2)]
    try:
        with warnings.catch_warnings():
            # Where vmap knows no rule for an operation it warns and goes slowly.
            warnings.filterwarnings("error", message="There is a performance drop")
            return _disagreement(problem, two)
    except Exception as error:  # what a user's module raises is anything
        run.pass_on(error)
        # Where torch itself was compiled, which its warnings end with, is no reason.
        said = str(error).partition("\n")[0].partition(" (Triggered internally")[0]
        return f"{type(error).__name__}: {said}"


def _disagreement(problem: run.Problem, jobs: Sequence[run.Job]) -> str | None:
    # What happens to batches before a step, and to weights after it, stacks anyhow.
    bare = problem.recipe.model_copy(update={"weight_averaging": 0.0})
    problem = dataclasses.replace(problem, recipe=bare)
    data = run.Data(problem)
    # With fewer, batch normalisation leaves little but rounding in the gradient.
    x, y = data.x_train[:16], data.y_train[:16]
    modules = [run.build(problem, job) for job in jobs]
    if cost.structure(modules[0]) != cost.structure(modules[1]):
        return "two modules made alike differ"
    stack = Stack(problem, jobs, modules)
    losses = stack.step(torch.stack([x, x]), torch.stack([y, y]), rate=1.0)
    outputs = stack.predict(x)
    for index, job in enumerate(jobs):
        loop = run.Loop(problem, job)
        with run.own_noise(job.noise_seed, problem.device):
            loss = loop.step(x, y, rate=1.0)
            gradient = loop.optimizer.state[0, 0]
            # The same trained values, so that evaluation is compared alone.
            loop.values.copy_(stack.values[index : index + 1])
            output = loop.predict(x)
        pairs = {
            "loss": (losses[index], loss[0]),
            "output in evaluation": (outputs[index], output),
            # What the optimiser remembers of the gradient is linear in it; its
            # update is not, and would blow up rounding.
            "gradient": (stack.optimizer.state[0, index], gradient),
            **{
                name: (stack.buffers[name][index], buffer)
                for name, buffer in loop.module.named_buffers()
            },
        }
        for name, (mine, theirs) in pairs.items():
            if not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5, equal_nan=True):
                return f"stacked, its {name} differs from its own"
    return None


class Stack:
    """Modules of one structure in training, with a leading axis of runs.

    Args:
        problem: What all runs share.
        jobs: One for each run.
        modules: What the jobs built. The first lends its forward pass; none is of
            use until `unstack`.

    Attributes:
        values: (runs, P), all trainable values; parameters are views of it.
        buffers: By name, (runs, ...).
        optimizer: Of `values`.
        smoothing: Of the labels, (runs, 1).
        average: Of the weights, where the recipe asks for one.
        generators: Of each run, the source of dropout's masks.
    """

    def __init__(
        self,
        problem: run.Problem,
        jobs: Sequence[run.Job],
        modules: Sequence[nn.Module],
    ) -> None:
        self._modules = modules
        self._module = modules[0]
        rows = [run.flatten(module)[0] for module in modules]
        self.values = torch.cat(rows)
        trainable = {
            n: p for n, p in self._module.named_parameters() if p.requires_grad
        }
        pieces = torch.split(self.values, [p.numel() for p in trainable.values()], 1)
        self._trainable = {
            name: piece.view(len(modules), *parameter.shape).requires_grad_()
            for (name, parameter), piece in zip(trainable.items(), pieces, strict=True)
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
        for layers in zip(*map(run.dropouts, modules), strict=True):
            each = tuple(layer.p for layer in layers)
            layers[0].p = each if any(each) else 0.0
        self.generators = [
            torch.Generator(problem.device).manual_seed(job.noise_seed) for job in jobs
        ]
        self._redirected = _Redirected(self.generators)
        self.optimizer, self.smoothing = recipe.settings(
            problem.recipe, [job.hyperparameters for job in jobs], self.values
        )
        self.average = run.weight_average(problem, self.values, self.buffers)
        self._num_outputs = problem.num_outputs

    def step(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
        """Takes one step of every run on its own batch.

        Args:
            x: (runs, batch, ...).
            y: (runs, batch).
            rate: The schedule's share of the learning rates.

        Returns:
            The losses before the step, (runs,).
        """
        if not self._module.training:
            self._module.train()
        outputs = self._forward(x, 0)
        run.check_outputs(outputs[0], x.shape[1], self._num_outputs)
        losses = recipe.loss(outputs, y, self.smoothing)
        pieces = torch.autograd.grad(
            losses,
            list(self._trainable.values()),
            torch.ones_like(losses),
            materialize_grads=True,
        )
        gradient = torch.cat([piece.flatten(1) for piece in pieces], 1)
        self.optimizer.step(gradient, rate)
        if self.average is not None:
            self.average.add(self.values, self.buffers)
        return losses.detach()

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (runs, N, num_outputs) of one input (N, ...) for all runs.

        Those of averaged weights, where there are any.
        """
        self._module.eval()
        # As many examples at once as keep the runs' layers in the cache.
        chunks = torch.split(x, max(1, 4000 // len(self._modules)))
        self._exchange()
        outputs = torch.cat([self._forward(chunk, None) for chunk in chunks], 1)
        self._exchange()
        return outputs

    def _exchange(self) -> None:
        if self.average is not None:
            self.average.exchange(self.values, self.buffers)

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
        self._exchange()
        self._write_back(those)
        copied = [run.state(self._modules[index]) for index in those]
        self._exchange()
        return copied

    def unstack(self) -> None:
        """Writes what was learnt, averaged where it is, back into the modules."""
        self._exchange()
        self._write_back(range(len(self._modules)))
        stacked.forget_rooms()

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

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.generators = generators

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
        if func in run.DROPOUTS and args[0].dim() >= run.DROPOUTS[func]:
            rule: Callable[..., Any] = functools.partial(run.dropout, func, self._mask)
            return rule(*args, **kwargs)
        if func in _RULES:
            return self._outside(_RULES[func], args, kwargs)
        return func(*args, **kwargs)

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
        return tuple(_functorch._add_batch_dim(result, 0, level) for result in results)

    def _mask(self, like: torch.Tensor, shape: Sequence[int], p: Any) -> torch.Tensor:
        """Returns the masks of one dropout layer, p being one value or one a run."""
        each = p if isinstance(p, tuple) else (p,) * len(self.generators)

        def masks() -> torch.Tensor:
            empty = torch.empty(len(self.generators), *shape, device=like.device)
            for mask, own_p, generator in zip(
                empty, each, self.generators, strict=True
            ):
                run.draw(mask, own_p, generator)
            return empty

        drawn: torch.Tensor = self._outside(masks, (), {})
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


def _convolution(
    x: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any
) -> torch.Tensor:
    if x.dim() == weight.dim() - 1:  # one example without an axis of batch
        return stacked.convolution(x.unsqueeze(1), weight, *args, **kwargs).squeeze(1)
    return stacked.convolution(x, weight, *args, **kwargs)


def _pooling(function: Callable[..., torch.Tensor], sides: int) -> Callable[..., Any]:
    rule = stacked.pooling(function, sides)

    def pooled(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if x.dim() == sides + 2:  # one example without an axis of batch
            return torch.squeeze(rule(x.unsqueeze(1), *args, **kwargs), 1)
        result: torch.Tensor = rule(x, *args, **kwargs)
        return result

    return pooled


def _adaptive_average(x: torch.Tensor, output_size: Any) -> torch.Tensor:
    sizes = output_size if isinstance(output_size, tuple) else (output_size,)
    if all(size == 1 for size in sizes):  # the usual end of a convolutional network
        return x.mean((-2, -1), keepdim=True)
    pooled = functional.adaptive_avg_pool2d(x.flatten(0, -4), output_size)
    return torch.unflatten(pooled, 0, x.shape[:-3])


_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.linear: stacked.linear,
    functional.conv1d: _convolution,
    functional.conv2d: _convolution,
    functional.conv3d: _convolution,
    functional.batch_norm: stacked.batch_norm,
    **{
        function: functools.partial(stacked.recurrent, cell)
        for function, cell in stacked.CELLS.items()
    },
    functional.max_pool1d: _pooling(functional.max_pool2d, 1),
    functional.max_pool2d: _pooling(functional.max_pool3d, 2),
    functional.avg_pool1d: _pooling(functional.avg_pool2d, 1),
    functional.avg_pool2d: _pooling(functional.avg_pool3d, 2),
    functional.adaptive_avg_pool2d: _adaptive_average,
}
"""From a function of torch to its form for all runs at once."""

"""Inside `vmap`, and out of it again: the operations of a module of many runs.

An operation that `vmap` has no fast form of is taken out of it, to its stacked form; one
that draws, or that no form is known of, is carried out for each run alone.
"""

import contextlib
import functools
import sys
import traceback
import types
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

from archtrial.training import noise, recurrent, stacked
from archtrial.training.module import (
    Rates,
)
from archtrial.training.outcome import pass_on
from archtrial.training.problem import Job
from archtrial.zoo.userfile import is_library

__all__ = ["Redirected", "States", "UnstackableError", "one_run", "place"]


class UnstackableError(Exception):
    """What a module does that many runs cannot do at once, in our own words."""


def place(frames: Iterable[tuple[types.FrameType, int]]) -> str:
    """Returns the user's line that the last of some frames runs, else torch's layer."""
    found = ""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if not is_library(file):
            found = f"{Path(file).name}, line {line}"
        elif frame.f_code.co_name == "forward":
            layer = frame.f_locals.get("self")
            if isinstance(layer, nn.Module):
                kind = type(layer).__name__
                found = f"{found.partition(' in ')[0]} in {kind}".strip()
    return found


def _here() -> str:
    return place(reversed(list(traceback.walk_stack(sys._getframe(1)))))


class one_run:  # noqa: N801 - reads as a verb: with one_run(n) as one
    """Makes tensors of all runs look like one run's, as inside `torch.vmap`.

    `torch.vmap` does no more, but its bookkeeping, like that of
    `torch.func.functional_call`, takes longer than the layers of a small network.

    Args:
        runs: How many there are.
    """

    def __init__(self, runs: int) -> None:
        self._runs = runs

    def __enter__(self) -> "one_run":
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


class Redirected(TorchFunctionMode):
    """Takes the operations of `_RULES` out of `vmap`, to their stacked forms.

    Inside `vmap` a tensor looks like one run's; `_functorch` tells the tensor of
    all runs behind it. (A `torch.autograd.Function` with a `vmap` method is the
    public way to the same end, at .2 ms a call: more than a layer costs here.)
    """

    def __init__(self, generators: Sequence[torch.Generator], states: "States") -> None:
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
            raise UnstackableError(
                f"{name} ({_here()}) draws from a generator of the module's own, of"
                " which there is one for all runs"
            )
        changes = name == "__setitem__" or (
            name.endswith("_") and not name.endswith("__")
        )
        if changes and not _functorch.is_batchedtensor(args[0]):
            raise UnstackableError(
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
            raise UnstackableError(
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
            raise UnstackableError(
                f"{name} ({_here()}) looks at a value, which is another in each run"
            ) from error
        try:
            return self._each_alone(func, args, kwargs)
        except UnstackableError:
            raise
        except Exception as alone:
            pass_on(alone)
            raise UnstackableError(
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
            raise UnstackableError(f"dropout ({_here()}) is at work in evaluation, too")

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


class States:
    """Of each run, where it is in torch's global generators.

    Whatever a module draws from them, a run in the loop has them for itself.
    """

    def __init__(self, device: str, states: list[list[torch.Tensor]]) -> None:
        self._device = device
        self._states = states

    @classmethod
    def seeded(cls, device: str, jobs: Sequence[Job]) -> "States":
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

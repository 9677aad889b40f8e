"""One rehearsal of a module, as training will use it, before a study is declared.

PyTorch accepts much that trains nothing, or something else than it seems to: a layer
in a plain list is no parameter, a weight made anew in `forward` is moved by no
optimiser, a mask of `os.urandom` is another one in each run. All that is silent in the
loop. So each arm takes two steps with real rows, watched, before the first run; what is
wrong is named with its line, and what is only unusual is said.

A rehearsal draws nothing that a run draws, and leaves everything as it was.
"""

import contextlib
import dataclasses
import itertools
import math
import random
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from archtrial.data.lengths import steps_of
from archtrial.data.stored import Examples, blocks
from archtrial.errors import ArmError, FormError, UserError
from archtrial.training import recipe
from archtrial.training.device import exact
from archtrial.training.loop import Loop
from archtrial.training.module import build, trainable
from archtrial.training.noise import own_noise
from archtrial.training.outcome import pass_on
from archtrial.training.problem import Job, Problem
from archtrial.training.source import Batches, Source
from archtrial.training.watching import (
    Watch,
    held_tensors,
    hidden_attributes,
    untrained,
)
from archtrial.zoo.userfile import line_of

__all__ = ["Rehearsed", "rehearse"]


_STEPS = 2
# Rows of the validation set that are predicted; odd, so that it is no batch's size.
_EVALUATED = 3
# Rows among which the shortest and the longest series are looked for.
_LOOKED_AT = 10_000
# By how much two rehearsals with equal seeds may differ, as a share of the norm: sums of
# many threads, or of a GPU, are not the same to the last digit.
_ROUNDING = 1e-3
# At the end of a network: what it says of the values that can come out.
_SQUASHED = {
    "SigmoidBackward": "a sigmoid",
    "ReluBackward": "a ReLU",
    "SoftplusBackward": "a softplus",
    "TanhBackward": "a tanh",
    "ExpBackward": "an exponential",
    "SoftmaxBackward": "a softmax",
}


@dataclasses.dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal found, where it found nothing wrong."""

    notes: tuple[str, ...]
    """What is allowed, but might not be meant: one sentence each."""
    obstacle: str | None
    """Why runs of this architecture cannot share a fleet, whatever a fleet would say."""


def rehearse(
    name: str,
    problem: Problem,
    jobs: Mapping[str, Job],
    place: str | None = None,
) -> Rehearsed:
    """Takes two steps with an architecture, and looks at what became of everything.

    Args:
        name: Of the architecture.
        problem: As it will be trained.
        jobs: What tells a configuration from the others ("depth = 2") and its run; the
            first, which is watched most closely, is the architecture's usual one.
        place: Where it is defined ("net.py, line 3").

    Raises:
        ArmError: It cannot be trained, or would not be as its author expects.
        MemoryError: As `run.train`.
    """
    small = _shortened(problem)
    # The last examples are predicted by themselves where there is one more than a
    # thousand; a module may take an axis of one for none.
    single = any(len(x) % 1000 == 1 for x in (problem.x_validation, problem.x_test))
    counts = (1, _EVALUATED) if single else (_EVALUATED,)
    seen: list[_Rehearsal] = []
    for said, job in jobs.items():
        named = f"{name} with {said}" if seen and said else name
        watched = _Rehearsal(named, small, job, counts, place)
        try:
            watched.carry_out()
        except ArmError as error:
            if not seen or not said or said in str(error):
                raise
            received = f"{error.received} (with {said})"
            raise ArmError(error.rule, received, error.way_out) from error
        if not seen:
            watched.check_repeats()
        seen.append(watched)
    first = seen[0]
    told = f" ({place})" if place else ""
    if not any(each.finite for each in seen):
        raise ArmError(
            f"the loss of {name} and its gradient are finite before the first step",
            "on the first batch they are not"
            + (f", in any of {len(seen)} configurations" if len(seen) > 1 else "")
            + told,
            "Look for a division by zero, a logarithm of zero or an overflow.",
        )
    if not any(each.moved for each in seen):
        raise ArmError(
            f"a step of training changes what {name} computes",
            f"the gradient is zero at every weight{told}",
            "Look for a last layer that is constant (a softmax of one output, a ReLU"
            " that is never active) and for rounding in forward.",
        )
    return Rehearsed(
        tuple(first.notes), next((s.obstacle for s in seen if s.obstacle), None)
    )


def _shortened(problem: Problem) -> Problem:
    """Returns the problem with no more rows than two steps and a look need."""
    rows = _STEPS * min(problem.batch_size, len(problem.x_train))
    train = np.arange(len(problem.x_train))[:rows]
    evaluated = problem.x_validation[:_EVALUATED]
    if np.issubdtype(problem.x_train.dtype, np.integer):
        # The word that an embedding has no place for may stand in any row.
        train[-2:] = _extremes(problem.x_train)[-len(train) :]
        extreme = _extreme_of(problem.x_validation, problem.x_test)
        evaluated = np.concatenate([extreme, evaluated])[:_EVALUATED]
    elif (ends := _ends(problem.x_train)) is not None:
        # A series of one step, or of all, may be too short or too long for a layer.
        train[-2:] = ends[-len(train) :]
    return dataclasses.replace(
        problem,
        x_train=problem.x_train[train],
        y_train=problem.y_train[train],
        objective=problem.objective and problem.objective.at(train),
        x_validation=evaluated,
        y_validation=problem.y_validation[:_EVALUATED],
        x_test=problem.x_test[:_EVALUATED],
        read_at=(),
    )


def _extremes(x: Examples) -> list[int]:
    """Returns the rows that hold the least and the largest number."""
    flat = [block.reshape(len(block), -1) for block in blocks(x)]
    least = np.concatenate([block.min(1) for block in flat])
    most = np.concatenate([block.max(1) for block in flat])
    return [int(least.argmin()), int(most.argmax())]


def _ends(x: Examples) -> list[int] | None:
    """Returns the rows of the shortest and the longest series; None where all are equal."""
    if x.ndim not in (2, 3):
        return None
    first = x[:_LOOKED_AT]
    if not np.isnan(first[..., -1]).any():
        return None
    steps = steps_of(first)
    return [int(steps.argmin()), int(steps.argmax())]


def _extreme_of(*parts: Examples) -> np.ndarray:
    """Returns the two examples, of all parts, with the least and the largest number."""
    ends = [part[np.array(_extremes(part))] for part in parts]
    least, _ = min(ends, key=lambda rows: rows[0].min())
    _, most = max(ends, key=lambda rows: rows[1].max())
    return np.stack([least, most])


class _Rehearsal:
    """Two steps of one configuration, watched.

    Attributes:
        notes: What might not be meant.
        obstacle: To a fleet.
        finite: Whether loss and gradient were, before the first step.
        moved: Whether any gradient was not zero.
    """

    def __init__(
        self,
        name: str,
        problem: Problem,
        job: Job,
        counts: Sequence[int],
        place: str | None,
    ) -> None:
        self._name = name
        self._problem = problem
        self._job = job
        self._counts = counts
        self._place = place
        self.notes: list[str] = []
        self.obstacle: str | None = None
        self.finite = True
        self.moved = False

    def carry_out(self) -> None:
        """Takes the steps, and looks.

        Raises:
            ArmError: Something is wrong.
            MemoryError: As `run.train`.
        """
        problem, job = self._problem, self._job
        with self._blamed("can be built"):
            module = build(problem, dataclasses.replace(job, build=self._build))
            loop = Loop(problem, [job], [module])
        self._beginning = loop.values.clone()
        source = Source(problem)
        batches = Batches(problem, source, [job])
        rates = itertools.islice(recipe.rates(problem.recipe, problem.steps), _STEPS)
        leaves: set[int] = set()
        with (
            self._watching(loop) as watch,
            exact(problem.device),
            own_noise(job.noise_seed, problem.device),
        ):
            drawn = _global_state()
            self._losses = []
            for index, rate in enumerate(rates):
                x, y = next(batches)
                with self._blamed(
                    f"can be trained on a batch of shape {tuple(x.shape[1:])}"
                ):
                    loss = float(loop.step(x, y, float(rate)))
                self._losses.append(loss)
                if index == 0:
                    gradient = loop.optimizer.state[0]
                    self.finite = math.isfinite(loss) and bool(
                        gradient.isfinite().all()
                    )
                self.moved = self.moved or bool(loop.optimizer.state[0].any())
                self._check_leaves(loop, watch, leaves)
                self._check_rebound(loop, watch)
            if _global_state() != drawn:
                self.obstacle = (
                    "its forward draws from Python's or NumPy's global generator, of"
                    " which there is one for all runs"
                )
            for count in self._counts:
                with self._blamed(f"can be evaluated on batches of size {count}"):
                    outputs = loop.predict(source.x_validation[:count])[0]
            again = loop.predict(source.x_validation)[0]
        self._losses.append(float(outputs.double().nan_to_num().sum()))
        self._values = loop.values.clone()
        self._check_views(loop.module)
        self._check_saved(loop)
        self._check_modes(loop.module, watch)
        self._remark(loop, watch, outputs, again)

    def check_repeats(self) -> None:
        """Rehearses again with the same seeds.

        Raises:
            ArmError: Something else came out.
        """
        other = _Rehearsal(
            self._name, self._problem, self._job, self._counts, self._place
        )
        other.carry_out()
        if not _alike(self._beginning, other._beginning):
            what = "its weights when it is built"
        elif not (
            np.allclose(self._losses, other._losses, _ROUNDING, 1e-6, equal_nan=True)
            and _alike(self._values, other._values)
        ):
            what = "what it computes"
        else:
            return
        raise ArmError(
            f"{self._name} gives the same results from the same seeds",
            f"two rehearsals with one seed differ in {what}{self._at(self._place)}",
            "Draw random numbers from torch, numpy.random or random, which are seeded"
            " for each run, and from no clock and no generator that is not seeded, such"
            " as numpy.random.default_rng().",
        )

    # ------------------------------------------------------------------ what is wrong

    @contextlib.contextmanager
    def _blamed(self, deed: str) -> Iterator[None]:
        """Turns what the user's code raises into an ArmError."""
        try:
            yield
        except FormError as error:
            named = self._at(self._place) if ", line " not in error.received else ""
            received = f"{error.received}{named}"
            raise ArmError(
                f"{self._name}: {error.rule}", received, error.way_out
            ) from error
        except UserError:
            raise
        except Exception as error:  # a user's module may raise anything
            pass_on(error)
            said = (
                f"{type(error).__name__}: {error}"
                if str(error)
                else type(error).__name__
            )
            line = line_of(traceback.extract_tb(error.__traceback__)) or self._place
            raise ArmError(
                f"{self._name} {deed}", f"{said}{self._at(line)}", self._way_out(error)
            ) from error

    def _way_out(self, error: Exception) -> str:
        problem = self._problem
        whole = not np.issubdtype(problem.x_train.dtype, np.floating)
        wrong = r"dtype|type Float|Long|Float|index out of range|out of bounds"
        if problem.names is not None and re.search(wrong, str(error)):
            return (
                "The inputs are ids of tokens and reach the module as int64: let it begin"
                f" with an nn.Embedding of {problem.names} of them. A parameter called"
                " vocab_size or inputs is told how many there are."
            )
        if whole and re.search(r"dtype|type Float|Long|Float", str(error)):
            return (
                "The inputs are whole numbers and reach the module as int64: let it begin"
                " with nn.Embedding, or with x.float(), or use --scale if they are"
                " amounts."
            )
        if whole and re.search(r"index out of range|out of bounds", str(error)):
            parts = (problem.x_train, problem.x_validation, problem.x_test)
            looked = [block for part in parts for block in blocks(part)]
            least, most = min(x.min() for x in looked), max(x.max() for x in looked)
            return (
                f"The inputs are whole numbers from {least} to {most}: an nn.Embedding of"
                f" all of them has at least {most + 1} words, and none below 0."
            )
        return ""

    @staticmethod
    def _at(line: str | None) -> str:
        return f" ({line})" if line else ""

    @contextlib.contextmanager
    def _watching(self, loop: Loop) -> Iterator["Watch"]:
        watch = Watch(loop.module)
        with contextlib.ExitStack() as stack:
            for handle in (
                loop.module.register_forward_pre_hook(watch.called_with),
                loop.module.register_forward_hook(watch.returned, prepend=True),
                loop.module.register_forward_hook(watch.taken),
                torch_modules.register_module_forward_pre_hook(watch.calls),
                torch_modules.register_module_parameter_registration_hook(watch.makes),
            ):
                stack.callback(handle.remove)
            stack.enter_context(watch)
            yield watch

    def _check_leaves(self, loop: Loop, watch: "Watch", before: set[int]) -> None:
        """Checks that what the outputs depend on is what is trained."""
        own = {id(p): n for n, p in loop.module.named_parameters()}
        watch.reached.update(map(id, watch.leaves))
        strangers = [
            leaf
            for leaf in watch.leaves
            if id(leaf) not in own and leaf is not watch.input
        ]
        attributes = hidden_attributes(loop.module) if strangers else ()
        found = {id(thing): where for where, thing in attributes}
        for leaf in strangers:
            if id(leaf) in found:
                path, line = found[id(leaf)]
                raise self._wrong(
                    "what forward learns from is in parameters()",
                    f"{path} is not: no optimiser would move it",
                    "Keep layers in nn.ModuleList or nn.ModuleDict, single tensors as"
                    " nn.Parameter, several in nn.ParameterList.",
                    line,
                )
            if isinstance(leaf, nn.Parameter) or id(leaf) in before:
                raise self._wrong(
                    "what forward learns from is in parameters()",
                    f"a tensor of shape {tuple(leaf.shape)} is not: it is made in forward"
                    " or kept outside of the module",
                    "Make layers and parameters in __init__, as attributes of self.",
                    watch.made_at,
                )
        if not watch.reached & own.keys():
            with self._blamed(""):
                raise untrained(watch.cut)
        before.update(map(id, strangers))
        # A tensor that lives on must keep its identity until the next step.
        watch.kept.extend(strangers)

    def _check_rebound(self, loop: Loop, watch: "Watch") -> None:
        trained = trainable(loop.module)
        if [*map(id, trained)] != [*map(id, loop.parameters)]:
            built = {id(p) for p in loop.parameters}
            names = [n for n, p in loop.module.named_parameters() if id(p) not in built]
            raise self._wrong(
                "parameters are those that the module was built with: an optimiser moves"
                " no others",
                f"{', '.join(names) or 'one'} is another after forward",
                "Make parameters in __init__; in forward change them in place, under"
                " torch.no_grad().",
                watch.made_at,
            )
        if loop.displaced:
            self.obstacle = "its forward gives weights other memory, as by .data ="

    def _build(self) -> nn.Module:
        """Builds the module and keeps hold of the memory that its weights begin with."""
        module = self._job.build()
        self._memory = [
            (name, parameter, parameter.data)
            for name, parameter in module.named_parameters()
            if not isinstance(parameter, nn.UninitializedParameter)
        ]
        for neighbours in self._by_storage().values():
            for (one, mine, first), (other, theirs, second) in itertools.combinations(
                neighbours, 2
            ):
                either = mine.requires_grad or theirs.requires_grad
                if either and _overlap(first, second):
                    raise self._wrong(
                        "a weight has one memory, which the optimiser moves",
                        f"{one} and {other} share theirs, and are two parameters",
                        "Share a weight by assigning the parameter itself.",
                    )
        return module

    def _by_storage(self) -> dict[int, list[tuple[str, nn.Parameter, torch.Tensor]]]:
        """Returns the weights as they began, by the memory that they lie in."""
        found: dict[int, list[tuple[str, nn.Parameter, torch.Tensor]]] = {}
        for name, parameter, first in self._memory:
            found.setdefault(_storage(first), []).append((name, parameter, first))
        return found

    def _check_views(self, module: nn.Module) -> None:
        """Checks that nothing still looks at the memory that weights began with."""
        weights = self._by_storage()
        for (path, line), thing in held_tensors(module):
            for name, parameter, first in weights.get(_storage(thing), ()):
                if parameter.requires_grad and _overlap(first, thing):
                    raise self._wrong(
                        "a weight has one memory, which the optimiser moves",
                        f"{path} is a view of {name} that was made once, before training",
                        "Make the view in forward; share a weight by assigning the"
                        " parameter itself.",
                        line,
                    )

    def _check_saved(self, loop: Loop) -> None:
        with self._blamed("can be saved: its state_dict is made of tensors"):
            safetensors.torch.save(
                {name: w.contiguous() for name, w in loop.states([0])[0].items()}
            )

    def _check_modes(self, module: nn.Module, watch: "Watch") -> None:
        """Checks that no layer that evaluation switches is out of its reach."""
        for layer, line in watch.evaluated:
            if not (layer.training and _switches(layer)):
                continue
            found = {id(t): where for where, t in hidden_attributes(module)}
            path, at = found.get(id(layer), (type(layer).__name__, line))
            raise self._wrong(
                "eval() reaches every layer that differs in training and evaluation",
                f"{path} is none of the module's layers, and stays in training mode",
                "Make it in __init__ as an attribute of self, or within nn.ModuleList.",
                at,
            )

    def _wrong(
        self, rule: str, received: str, way_out: str, line: str | None = None
    ) -> ArmError:
        where = self._at(line or self._place)
        return ArmError(f"{self._name}: {rule}", f"{received}{where}", way_out)

    # ------------------------------------------------------------ what is only unusual

    def _remark(
        self,
        loop: Loop,
        watch: "Watch",
        outputs: torch.Tensor,
        again: torch.Tensor,
    ) -> None:
        idle = [
            name
            for name, p in loop.module.named_parameters()
            if p.requires_grad and id(p) not in watch.reached
        ]
        if idle:
            few = ", ".join(idle[:3]) + (", ..." if len(idle) > 3 else "")
            decayed = loop.optimizer.weight_decay.any()
            self._note(
                f"no gradient reaches {len(idle)} of its parameters: {few}"
                + ("; weight decay alone moves them" if decayed else "")
            )
        if watch.unusual is not None:
            self._note(watch.unusual)
        if not torch.allclose(outputs, again, equal_nan=True):
            self._note(
                "in evaluation its outputs differ from call to call, as with"
                " functional.dropout without training=self.training"
            )
        self._remark_on_ends(loop, watch)

    def _remark_on_ends(self, loop: Loop, watch: "Watch") -> None:
        end = watch.end.rstrip("0123456789")
        outputs = watch.outputs
        assert outputs is not None
        sums_to_one = outputs.shape[1] > 1 and bool(
            (outputs >= 0).all()
            and torch.allclose(
                outputs.sum(1), outputs.new_ones(len(outputs)), atol=1e-4
            )
        )
        if self._problem.task != "classification":
            if end in _SQUASHED:
                self._note(
                    f"it ends in {_SQUASHED[end]}, but it is trained on standardised"
                    " targets, which are of both signs and have no bounds"
                )
        elif sums_to_one:
            self._note(
                "its outputs are probabilities already (each row sums to 1), and the loss"
                " takes a softmax of them once more: leave its own away"
            )
        elif end in ("SigmoidBackward", "ReluBackward"):
            self._note(
                f"it ends in {_SQUASHED[end]}, and the loss takes a softmax of that:"
                " leave it away"
            )

    def _note(self, what: str) -> None:
        self.notes.append(f"{self._name}: {what}.")


def _switches(layer: nn.Module) -> bool:
    """Returns whether a layer does something else in training than in evaluation."""
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return layer.p > 0
    return isinstance(layer, nn.modules.batchnorm._BatchNorm)


def _storage(tensor: torch.Tensor) -> int:
    """Returns the address of a tensor's memory, 0 where it has none of its own."""
    if tensor.is_meta or tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().data_ptr()


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Returns whether two tensors have memory in common."""
    if not (one.numel() and other.numel() and _storage(one) and _storage(other)):
        return False
    if one.data_ptr() == other.data_ptr():
        return True
    return any(
        whole.is_contiguous()
        and 0 <= part.data_ptr() - whole.data_ptr() < whole.numel() * whole.itemsize
        for whole, part in ((one, other), (other, one))
    )


def _global_state() -> tuple[Any, ...]:
    """Returns the state of the global generators of Python and NumPy."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - users' code may use it
    return random.getstate(), repr(numpy)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Returns whether two rows of values differ by rounding alone."""
    if one.shape != other.shape:
        return False
    apart = torch.linalg.vector_norm((one - other).nan_to_num())
    return bool(apart <= _ROUNDING * torch.linalg.vector_norm(one.nan_to_num()))

"""The training of one model, from its seeds to its predictions.

`train` is the definition of what a run is. A fleet trains many runs at once
and is held to this file, step by step.
"""

import dataclasses
import functools
import itertools
import math
import operator
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch._C import _functorch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from archtrial import randomness
from archtrial.errors import ArmError, UserError, is_out_of_memory
from archtrial.metrics import Metric
from archtrial.protocol import Recipe
from archtrial.records.table import CurvePoint
from archtrial.training import cost, recipe
from archtrial.training.augmentation import Augmentation

__all__ = ["Job", "Outcome", "Problem", "Reading", "train"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all runs of a study share.

    Inputs are (N, ...): float32, or whole numbers, such as the ids of words, which
    reach a module as int64. Targets are (N,): int64 labels, or
    float values in their original units. Test labels never come here.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    task: Literal["classification", "regression"]
    num_outputs: int
    metric: Metric
    recipe: Recipe
    steps: int
    batch_size: int
    """Examples in a batch; all training examples where there are fewer."""
    evaluations: int = 10
    """Validation scores on the way, evenly spaced, the last after the last step."""
    device: str = "cpu"
    read_at: tuple[int, ...] = ()
    """Steps after which a run is also read on the test inputs, from 1 to `steps`."""

    def __post_init__(self) -> None:
        if not all(1 <= step <= self.steps for step in self.read_at):
            raise ValueError(f"read_at lies in 1..{self.steps}: {self.read_at}")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: everything else that its result depends on."""

    build: Callable[[], nn.Module]
    """Makes the untrained module; picklable."""
    hyperparameters: Mapping[str, float]
    """Any of learning_rate, weight_decay, momentum, label_smoothing,
    initial_scale and dropout; the recipe says the rest."""
    initial_seed: int
    order_seed: int
    noise_seed: int
    keep_weights: bool = False
    keep_at: tuple[int, ...] = ()
    """Steps of this run after which its weights are kept; 0: before the first."""
    skip: int = 0
    """Batches that are passed over, since an earlier training has seen them: the
    first step is on batch skip + 1, augmented as it is for a run that got there
    step by step. The schedule and the noise begin at their beginning."""

    def __post_init__(self) -> None:
        if self.skip < 0 or any(step < 0 for step in self.keep_at):
            raise ValueError(f"steps are at least 0: {self.skip}, {self.keep_at}")


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a run's weights, as they were after a step, are worth."""

    step: int
    """After which the weights were so; 0 where it is the constant predictor that is
    read, in place of weights that diverged."""
    validation: float
    """The validation score, in the metric's own units."""
    predictions: np.ndarray
    """For the test inputs, in the form that `Metric.reduce` returns."""


@dataclasses.dataclass
class Outcome:
    """What a run leaves behind."""

    validation: float
    """The score after the last step; a diverged run's is the constant predictor's."""
    predictions: np.ndarray
    """For the test inputs, in the form that `Metric.reduce` returns."""
    diverged: bool
    error: str | None
    """What the run raised, and where; such a run counts as diverged."""
    flops: float
    """Of the whole training, forward and backward."""
    parameters: int
    seconds: float
    curve: tuple[CurvePoint, ...]
    weights: dict[str, torch.Tensor] | None
    """The module's state_dict on the CPU, if it was to be kept."""
    kept: dict[int, dict[str, torch.Tensor]] = dataclasses.field(default_factory=dict)
    """By step of `Job.keep_at`, what `weights` would be if the run had ended there;
    without the steps that a diverged run did not reach."""
    readings: dict[int, dict[Literal["last", "best"], Reading]] = dataclasses.field(
        default_factory=dict
    )
    """By step of `Problem.read_at`: "last" as the run was then, "best" as it was when
    its validation score was the best among all evaluations so far, the first of
    equals (early stopping). Weights that diverged are no candidates; with none left,
    and as "last", they count as the constant predictor."""


def train(problem: Problem, job: Job) -> Outcome:
    """Trains one model and returns its outcome, whatever becomes of it.

    The outcome follows from the two arguments alone. The global generators of torch,
    NumPy and Python are left as they were.

    Raises:
        ProtocolError: A hyperparameter is unknown, or its value out of range.
        FormError: What the module returns, or does to its parameters, is of a form
            that no training can do with; the next run would fare no better.
        MemoryError: There is not enough memory. Whatever else the architecture
            raises, ArmErrors included, is recorded in the outcome instead.
    """
    account = Account(problem, time.perf_counter())
    try:
        return _train(problem, job, account)
    except Exception as error:  # a user's module may raise anything
        pass_on(error)
        return account.failed(error)


def _train(problem: Problem, job: Job, account: "Account") -> Outcome:
    data = Data(problem)
    loop = Loop(problem, job)
    account.parameters = cost.parameters(loop.module)
    account.flops = cost.training(
        loop.module, data.x_train[: data.batch_size], problem.steps
    )
    batches = Batches(problem, data, [job])
    evaluations = evaluation_steps(problem)
    total_loss = torch.zeros(1, device=problem.device)
    if 0 in job.keep_at:
        account.kept[0] = loop.state()
    with own_noise(job.noise_seed, problem.device):
        for step, rate in enumerate(recipe.rates(problem.recipe, problem.steps), 1):
            (x,), (y,) = next(batches)  # of one run
            total_loss += loop.step(x, y, rate)
            if step in evaluations:
                scores = data.presented(loop.predict(data.x_validation))
                if not account.evaluated(step, float(total_loss), scores):
                    break
                total_loss.zero_()
                if problem.read_at:
                    account.read(step, data.presented(loop.predict(data.x_test)))
            if step in job.keep_at:
                account.kept[step] = loop.state()
        predictions = data.presented(loop.predict(data.x_test))
        loop.exchange()
    return account.finished(predictions, loop.module if job.keep_weights else None)


class Loop:
    """One module in training.

    Attributes:
        module: Its trainable parameters are views of `values`.
        parameters: Those, in their order.
        values: (1, P).
        gradient: (1, P).
        optimizer: Of `values`.
        smoothing: Of the labels, (1, 1).
        noise: The source of dropout's masks.
        average: Of the weights, where the recipe asks for one.
        displaced: Whether the module has put a weight into other memory.
    """

    def __init__(self, problem: Problem, job: Job) -> None:
        self.module = build(problem, job)
        self.parameters = trainable(self.module)
        self.values, self.gradient = flatten(self.module)
        self._places = [
            (p, p.data, p.data_ptr(), gradient)
            for p in self.parameters
            if p.numel() and (gradient := p.grad) is not None
        ]
        self.optimizer, self.smoothing = recipe.settings(
            problem.recipe, [job.hyperparameters], self.values
        )
        self.noise = Noise(torch.Generator(problem.device).manual_seed(job.noise_seed))
        self.average = weight_average(problem, self.values, self._buffers())
        self.displaced = False
        self._num_outputs = problem.num_outputs

    def step(self, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
        """Takes one step on a batch.

        Args:
            x: (batch, ...).
            y: (batch,).
            rate: The schedule's share of the learning rate.

        Returns:
            The loss before the step, (1,).
        """
        self.module.train()
        with self.noise:
            outputs = self.module(x)
        check_outputs(outputs, len(x), self._num_outputs)
        loss = recipe.loss(outputs.unsqueeze(0), y.unsqueeze(0), self.smoothing)
        self.gradient.zero_()
        torch.autograd.backward(loss)
        self._take_over()
        self.optimizer.step(self.gradient, rate)
        if self.average is not None:
            self.average.add(self.values, self._buffers())
        return loss.detach()

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (N, num_outputs) in evaluation mode, of averaged weights."""
        self.module.eval()
        self.exchange()
        chunks = []
        for chunk in torch.split(x, 1000):
            outputs = self.module(chunk)
            check_outputs(outputs, len(chunk), self._num_outputs)
            chunks.append(outputs)
        self._take_over()
        self._check_parameters()
        self.exchange()
        return torch.cat(chunks)

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

    def state(self) -> dict[str, torch.Tensor]:
        """Returns a copy of the module's state_dict, of averaged weights."""
        self.exchange()
        copied = state(self.module)
        self.exchange()
        return copied

    def exchange(self) -> None:
        """Swaps the last step's weights with averaged ones, where there are any."""
        if self.average is not None:
            self.average.exchange(self.values, self._buffers())

    def _buffers(self) -> dict[str, torch.Tensor]:
        return dict(self.module.named_buffers())


class Data:
    """A problem's arrays as tensors on its device, and predictions back.

    A real target is standardised by the training set, so that a learning rate
    means the same whatever the target's unit.
    """

    def __init__(self, problem: Problem) -> None:
        device = problem.device
        self.x_train = torch.from_numpy(problem.x_train).to(device)
        self.x_validation = torch.from_numpy(problem.x_validation).to(device)
        self.x_test = torch.from_numpy(problem.x_test).to(device)
        self.batch_size = min(problem.batch_size, len(problem.x_train))
        self.classifies = problem.task == "classification"
        targets = problem.y_train
        if not self.classifies:
            targets = targets.astype(np.float64)
            self.center = float(targets.mean())
            # A target that never varies is learnt as it is.
            self.scale = float(targets.std()) or 1.0
            targets = ((targets - self.center) / self.scale).astype(np.float32)
        self.y_train = torch.from_numpy(targets).to(device)

    def presented(self, outputs: torch.Tensor) -> np.ndarray:
        """Turns outputs (..., num_outputs) into what a metric reads.

        Returns:
            (..., classes) float32 probabilities, or (...,) float64 values in
            the target's own units.
        """
        if self.classifies:
            probabilities: np.ndarray = outputs.softmax(-1).cpu().numpy()
            return probabilities
        values: np.ndarray = outputs.squeeze(-1).double().cpu().numpy()
        return values * self.scale + self.center


class Batches:
    """The batches of many runs one after another, without end.

    Args:
        problem: Its recipe says how examples are ordered and augmented.
        data: The problem's.
        jobs: Of the runs; each has its own order, and may have passed over a part.
    """

    def __init__(self, problem: Problem, data: Data, jobs: Sequence[Job]) -> None:
        self._data = data
        self._orders = [
            itertools.islice(
                recipe.batches(
                    problem.recipe, len(data.x_train), data.batch_size, job.order_seed
                ),
                job.skip,
                None,
            )
            for job in jobs
        ]
        # Runs that pass over as many batches as each other are augmented together.
        together = len({job.skip for job in jobs}) == 1
        parts = [jobs] if together else [[job] for job in jobs]
        self._augmentations = [_augmentation(problem, data, part) for part in parts]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns inputs (runs, batch, ...) and targets (runs, batch)."""
        rows = torch.from_numpy(np.stack([next(order) for order in self._orders]))
        rows = rows.to(self._data.x_train.device)
        x, y = self._data.x_train[rows], self._data.y_train[rows]  # copies
        if len(self._augmentations) == 1:
            return self._augmentations[0](x), y
        changed = zip(self._augmentations, torch.split(x, 1), strict=True)
        return torch.cat([augment(own) for augment, own in changed]), y


def _augmentation(problem: Problem, data: Data, jobs: Sequence[Job]) -> Augmentation:
    """Returns the augmentation of runs that pass over equally many batches."""
    augmentation = Augmentation(
        problem.recipe.augmentation, [job.order_seed for job in jobs]
    )
    # What is drawn depends on the shape alone, and here nothing is computed from it.
    shape = (len(jobs), data.batch_size, *data.x_train.shape[1:])
    unseen = torch.empty(shape, device="meta")
    for _ in range(jobs[0].skip if problem.recipe.augmentation else 0):
        augmentation(unseen)
    return augmentation


def evaluation_steps(problem: Problem) -> frozenset[int]:
    """Returns the steps after which the validation set is scored."""
    count = min(problem.evaluations, problem.steps)
    even = {round(i * problem.steps / count) for i in range(1, count + 1)}
    return frozenset(even.union(problem.read_at))


def weight_average(
    problem: Problem, values: torch.Tensor, buffers: Mapping[str, torch.Tensor]
) -> recipe.WeightAverage | None:
    """Returns the average that a recipe asks for, of many runs' weights."""
    share = problem.recipe.weight_averaging
    if share == 0:
        return None
    return recipe.WeightAverage(share * problem.steps, values, buffers)


# ------------------------------------------------------------ before the first step


class FormError(ArmError):
    """What a module returns or does to its parameters fits no training.

    It follows from how the module is written and not from a run's configuration.
    """


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
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() >= 2:
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
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def flatten(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Moves a module's trainable values, and their gradients, into one row each.

    The parameters become views of the row: what changes there changes here.
    Parameters that are shared inside the module occur once. A complex number takes
    two values; complex parameters come first, since a view of the row as complex
    begins at an even place.

    Returns:
        Values and gradients, each (1, P).
    """
    parameters = sorted(trainable(module), key=lambda p: not p.is_complex())
    parts = [_as_real(p.detach()).reshape(-1) for p in parameters]
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


def _as_real(tensor: torch.Tensor) -> torch.Tensor:
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


# ------------------------------------------------------------------- noise of a run


class Noise(TorchFunctionMode):
    """Takes the masks of dropout from a run's own generator, in any module.

    torch's own dropout reads the global generator, which many runs side by side
    would share.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Redirects dropout and lets everything else pass."""
        kwargs = kwargs or {}
        # A module that calls torch.vmap itself has masks as torch draws them there.
        own = func in DROPOUTS and not _functorch.is_functorch_wrapped_tensor(args[0])
        if own and args[0].dim() >= DROPOUTS[func]:
            return dropout(func, self.mask, *args, **kwargs)
        return func(*args, **kwargs)

    def mask(self, like: torch.Tensor, shape: Sequence[int], p: float) -> torch.Tensor:
        """Returns a mask of 0 with probability p, else 1 / (1 - p)."""
        return draw(torch.empty(shape, device=like.device), p, self.generator)


DROPOUTS: dict[Callable[..., Any], int] = {
    functional.dropout: 0,
    functional.dropout1d: 3,
    functional.dropout2d: 3,
    functional.dropout3d: 3,
}
"""The functions whose masks a run draws itself, and from how many dimensions on."""


def dropout(
    func: Callable[..., Any],
    mask: Callable[[torch.Tensor, Sequence[int], Any], torch.Tensor],
    x: torch.Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Stands in for one of `DROPOUTS`, with `mask` as the source of the masks."""
    if not training or p == 0:
        return x
    shape = x.shape
    if func is not functional.dropout:  # whole channels
        shape = torch.Size([*shape[:2], *(1 for _ in shape[2:])])
    factor = mask(x, shape, p)
    return x.mul_(factor) if inplace else x * factor


def draw(empty: torch.Tensor, p: float, generator: torch.Generator) -> torch.Tensor:
    """Fills a tensor with one run's mask of dropout and returns it."""
    if p in (0, 1):
        return empty.fill_(1 - p)
    return empty.bernoulli_(1 - p, generator=generator).div_(1 - p)


@contextmanager
def own_noise(noise_seed: int, device: str) -> Iterator[None]:
    """Makes a run's own whatever a module draws from the global generators.

    Those of torch, NumPy and Python are seeded here and put back at the end.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices), randomness.global_generators(noise_seed):
        torch.manual_seed(noise_seed)
        yield


# --------------------------------------------------------------- what becomes of it


def pass_on(error: Exception) -> None:
    """Raises again what must not be recorded as the failure of a run.

    Returns for all else: such an error follows from the run's own configuration
    and seeds, and the next run may be spared it.

    Raises:
        UserError: The error itself, unless it is an ArmError that is no FormError: it
            is about what all runs share.
        MemoryError: Memory ran out, whatever class the error has. A machine with
            more of it would have had another result.
    """
    if isinstance(error, FormError) or (
        isinstance(error, UserError) and not isinstance(error, ArmError)
    ):
        raise error
    # An ArmError, like an error of the user's own, stands before its reason.
    reason: BaseException | None = error
    while reason is not None:
        if is_out_of_memory(reason):
            said = _first_line(reason) or type(reason).__name__
            raise MemoryError(f"not enough memory to train: {said}") from error
        reason = reason.__cause__ or reason.__context__


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


class Account:
    """Keeps what a run has shown so far, and says whether it diverged.

    Args:
        problem: Scores and the constant predictor's.
        started: The clock (time.perf_counter) when the run began.

    Attributes:
        curve: Points so far.
        diverged: Whether it has.
        flops: Of the whole training.
        parameters: How many.
        kept: Copies of the weights by step.
    """

    def __init__(self, problem: Problem, started: float) -> None:
        self.problem = problem
        self.started = started
        self.curve: list[CurvePoint] = []
        self.diverged = False
        self.flops = 0.0
        self.parameters = 0
        self.kept: dict[int, dict[str, torch.Tensor]] = {}
        self._last_step = 0
        self._best: Reading | None = None
        self._readings: dict[int, dict[Literal["last", "best"], Reading]] = {}

    def evaluated(self, step: int, total_loss: float, presented: np.ndarray) -> bool:
        """Adds a point to the learning curve; False once the run has diverged.

        Args:
            step: Steps taken.
            total_loss: Sum of the training loss since the last evaluation.
            presented: Predictions for the validation set.
        """
        if not (math.isfinite(total_loss) and np.isfinite(presented).all()):
            self.diverged = True
        if self.diverged:
            return False
        metric = self.problem.metric
        self.curve.append(
            CurvePoint(
                step,
                total_loss / (step - self._last_step),
                metric.score(metric.reduce(presented), self.problem.y_validation),
            )
        )
        self._last_step = step
        return True

    def read(self, step: int, presented: np.ndarray) -> None:
        """Takes in what the run, as it was just evaluated, says of the test inputs.

        Nothing, once it has diverged.

        Args:
            step: Steps taken; that of the last point of the learning curve.
            presented: Predictions for the test inputs.
        """
        if self.diverged:
            return
        metric = self.problem.metric
        validation = self.curve[-1].validation
        reading = None
        if not self._counts_as_constant(presented):
            reading = Reading(step, validation, metric.reduce(presented))
            sign = 1 if metric.higher_is_better else -1
            if self._best is None or sign * validation > sign * self._best.validation:
                self._best = reading
        if step in self.problem.read_at:
            self._readings[step] = self._with_best(reading)

    def finished(
        self, presented: np.ndarray, module: nn.Module | None, share: float = 1.0
    ) -> Outcome:
        """Returns the outcome of a run that has reached its end.

        Args:
            presented: Predictions for the test inputs.
            module: The trained module, if its weights are to be kept.
            share: The run's share of the time since it began.
        """
        weights = None if module is None else state(module)
        if self.diverged or self._counts_as_constant(presented):
            return self._outcome(self._constant, True, None, weights, share)
        last = Reading(
            self._last_step,
            self.curve[-1].validation,
            self.problem.metric.reduce(presented),
        )
        return self._outcome(last, False, None, weights, share)

    def failed(self, error: Exception) -> Outcome:
        """Returns the outcome of a run that raised."""
        return self._outcome(self._constant, True, _described(error), None, 1.0)

    def _counts_as_constant(self, presented: np.ndarray) -> bool:
        """Says whether what was last evaluated diverged, by its test predictions too.

        On a metric without bound, whatever is worse than the constant predictor did.
        """
        metric = self.problem.metric
        if not np.isfinite(presented).all():
            return True
        if metric.bounded:
            return False
        sign = 1 if metric.higher_is_better else -1
        return sign * self.curve[-1].validation < sign * self._constant.validation

    def _with_best(
        self, last: Reading | None
    ) -> dict[Literal["last", "best"], Reading]:
        """Returns both readings; the constant predictor's where there is none."""
        return {"last": last or self._constant, "best": self._best or self._constant}

    @functools.cached_property
    def _constant(self) -> Reading:
        """What the constant predictor is worth."""
        problem = self.problem
        on_validation, on_test = (
            problem.metric.constant(problem.y_train, len(x), problem.num_outputs)
            for x in (problem.x_validation, problem.x_test)
        )
        score = problem.metric.score(on_validation, problem.y_validation)
        return Reading(0, score, on_test)

    def _outcome(
        self,
        end: Reading,
        diverged: bool,
        error: str | None,
        weights: dict[str, torch.Tensor] | None,
        share: float,
    ) -> Outcome:
        return Outcome(
            validation=end.validation,
            predictions=end.predictions,
            diverged=diverged,
            error=error,
            flops=self.flops,
            parameters=self.parameters,
            seconds=(time.perf_counter() - self.started) * share,
            curve=tuple(self.curve),
            weights=weights,
            kept=self.kept,
            readings={
                step: self._readings.get(step) or self._with_best(None)
                for step in self.problem.read_at
            },
        )


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a module's state_dict on the CPU."""
    # A copy: the parameters are views of one row.
    return {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}


def _described(error: Exception) -> str:
    """Returns an exception's type and message, and the user's line that raised it.

    An ArmError says all that in its first line.
    """
    if isinstance(error, ArmError):
        return _first_line(error)
    not_theirs = tuple(
        str(Path(file).parent) for file in (torch.__file__, cost.__file__)
    )
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(not_theirs)]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{where}"

"""The training of one model, from its seeds to its predictions.

`train` is the definition of what a run is. A fleet trains many runs at once
and is held to this file, step by step.
"""

import dataclasses
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from archtrial.errors import ArmError, UserError
from archtrial.metrics import Metric
from archtrial.protocol import Recipe
from archtrial.records.table import CurvePoint
from archtrial.training import cost, recipe
from archtrial.training.augmentation import Augmentation

__all__ = ["Job", "Outcome", "Problem", "train"]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all runs of a study share.

    Inputs are float32 of shape (N, ...). Targets are (N,): int64 labels, or
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


def train(problem: Problem, job: Job) -> Outcome:
    """Trains one model and returns its outcome, whatever becomes of it.

    The outcome follows from the two arguments alone. Neither torch's global
    generator nor NumPy's is changed.

    Raises:
        ProtocolError: A hyperparameter is unknown, or its value out of range.
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
    order = recipe.batches(
        problem.recipe, len(data.x_train), data.batch_size, job.order_seed
    )
    account.parameters = cost.parameters(loop.module)
    account.flops = cost.training(
        loop.module, data.x_train[: data.batch_size], problem.steps
    )
    augmentation = Augmentation(problem.recipe.augmentation, [job.order_seed])
    evaluations = evaluation_steps(problem)
    total_loss = torch.zeros(1, device=problem.device)
    with own_noise(job.noise_seed, problem.device):
        for step, rate in enumerate(recipe.rates(problem.recipe, problem.steps), 1):
            rows = torch.from_numpy(next(order)).to(problem.device)
            (x,) = augmentation(data.x_train[rows].unsqueeze(0))  # one run
            total_loss += loop.step(x, data.y_train[rows], rate)
            if step in evaluations:
                scores = data.presented(loop.predict(data.x_validation))
                if not account.evaluated(step, float(total_loss), scores):
                    break
                total_loss.zero_()
        predictions = data.presented(loop.predict(data.x_test))
        loop.exchange()
    return account.finished(predictions, loop.module if job.keep_weights else None)


class Loop:
    """One module in training.

    Attributes:
        module: Its trainable parameters are views of `values`.
        values: (1, P).
        gradient: (1, P).
        optimizer: Of `values`.
        smoothing: Of the labels, (1, 1).
        noise: The source of dropout's masks.
        average: Of the weights, where the recipe asks for one.
    """

    def __init__(self, problem: Problem, job: Job) -> None:
        self.module = build(problem, job)
        self.values, self.gradient = flatten(self.module)
        self.optimizer, self.smoothing = recipe.settings(
            problem.recipe, [job.hyperparameters], self.values
        )
        self.noise = Noise(torch.Generator(problem.device).manual_seed(job.noise_seed))
        self.average = weight_average(problem, self.values, self._buffers())
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
        self.optimizer.step(self.gradient, rate)
        if self.average is not None:
            self.average.add(self.values, self._buffers())
        return loss.detach()

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs (N, num_outputs) in evaluation mode, of averaged weights."""
        self.module.eval()
        self.exchange()
        outputs = torch.cat([self.module(chunk) for chunk in torch.split(x, 1000)])
        self.exchange()
        return outputs

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


def evaluation_steps(problem: Problem) -> frozenset[int]:
    """Returns the steps after which the validation set is scored."""
    count = min(problem.evaluations, problem.steps)
    return frozenset(round(i * problem.steps / count) for i in range(1, count + 1))


def weight_average(
    problem: Problem, values: torch.Tensor, buffers: Mapping[str, torch.Tensor]
) -> recipe.WeightAverage | None:
    """Returns the average that a recipe asks for, of many runs' weights."""
    share = problem.recipe.weight_averaging
    if share == 0:
        return None
    return recipe.WeightAverage(share * problem.steps, values, buffers)


# ------------------------------------------------------------ before the first step


def build(problem: Problem, job: Job) -> nn.Module:
    """Returns the untrained module of a job, determined by its initial seed."""
    scale = recipe.settled(problem.recipe, job.hyperparameters)["initial_scale"]
    # torch initialises from its global generator only: seed it and put it back.
    before = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(job.initial_seed)
        module = job.build().to(torch.float32)
        if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
            with torch.no_grad():
                module.eval()(torch.from_numpy(problem.x_train[:2]))
    finally:
        torch.set_rng_state(before)
    if not any(p.requires_grad for p in module.parameters()):
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
    Parameters that are shared inside the module occur once.

    Returns:
        Values and gradients, each (1, P).
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    sizes = [p.numel() for p in parameters]
    values = torch.cat([p.detach().reshape(-1) for p in parameters])
    gradients = torch.zeros_like(values)
    for parameter, value, gradient in zip(
        parameters,
        torch.split(values, sizes),
        torch.split(gradients, sizes),
        strict=True,
    ):
        parameter.data = value.view(parameter.shape)
        parameter.grad = gradient.view(parameter.shape)
    return values.unsqueeze(0), gradients.unsqueeze(0)


def check_outputs(outputs: torch.Tensor, batch: int, num_outputs: int) -> None:
    """Raises ArmError unless outputs are (batch, num_outputs)."""
    if tuple(outputs.shape) != (batch, num_outputs):
        raise ArmError(
            f"an architecture returns (batch, {num_outputs}) outputs",
            f"{tuple(outputs.shape)} for a batch of {batch}",
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
        if func in DROPOUTS and args[0].dim() >= DROPOUTS[func]:
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
    """Makes a run's own whatever else a module draws from the global generators.

    They are seeded here and put back at the end.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(noise_seed)
        yield


# --------------------------------------------------------------- what becomes of it


def pass_on(error: Exception) -> None:
    """Raises again what must not be recorded as the failure of a run.

    Returns for all else: such an error follows from the run's own configuration
    and seeds, and the next run may be spared it.

    Raises:
        UserError: The error itself, unless it is an ArmError: it is about what
            all runs share.
        MemoryError: Memory ran out, whatever class the error has. A machine with
            more of it would have had another result.
    """
    if isinstance(error, UserError) and not isinstance(error, ArmError):
        raise error
    # An ArmError, like an error of the user's own, stands before its reason.
    reason: BaseException | None = error
    while reason is not None:
        if _is_out_of_memory(reason):
            said = _first_line(reason) or type(reason).__name__
            raise MemoryError(f"not enough memory to train: {said}") from error
        reason = reason.__cause__ or reason.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # On the CPU torch has no class for it, and says so in these words.
    words = ("DefaultCPUAllocator", "alloc_cpu", "not enough memory", "out of memory")
    return isinstance(error, RuntimeError) and any(w in str(error) for w in words)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


class Account:
    """Keeps what a run has shown so far, and says whether it diverged.

    Args:
        problem: Scores and the constant predictor's.
        started: The clock (time.perf_counter) when the run began.
    """

    def __init__(self, problem: Problem, started: float) -> None:
        self.problem = problem
        self.started = started
        self.curve: list[CurvePoint] = []
        self.diverged = False
        self.flops = 0.0
        self.parameters = 0
        self._last_step = 0

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

    def finished(
        self, presented: np.ndarray, module: nn.Module | None, share: float = 1.0
    ) -> Outcome:
        """Returns the outcome of a run that has reached its end.

        Args:
            presented: Predictions for the test inputs.
            module: The trained module, if its weights are to be kept.
            share: The run's share of the time since it began.
        """
        metric = self.problem.metric
        worse = False
        if self.curve and not metric.bounded:
            sign = 1 if metric.higher_is_better else -1
            worse = sign * self.curve[-1].validation < sign * self._constant_score()
        if self.diverged or worse or not np.isfinite(presented).all():
            return self._as_constant(None, module, share)
        return Outcome(
            validation=self.curve[-1].validation,
            predictions=metric.reduce(presented),
            diverged=False,
            error=None,
            flops=self.flops,
            parameters=self.parameters,
            seconds=(time.perf_counter() - self.started) * share,
            curve=tuple(self.curve),
            weights=_state(module),
        )

    def failed(self, error: Exception) -> Outcome:
        """Returns the outcome of a run that raised."""
        return self._as_constant(_described(error), None, 1.0)

    def _constant_score(self) -> float:
        problem = self.problem
        constant = problem.metric.constant(
            problem.y_train, len(problem.y_validation), problem.num_outputs
        )
        return problem.metric.score(constant, problem.y_validation)

    def _as_constant(
        self, error: str | None, module: nn.Module | None, share: float
    ) -> Outcome:
        problem = self.problem
        return Outcome(
            validation=self._constant_score(),
            predictions=problem.metric.constant(
                problem.y_train, len(problem.x_test), problem.num_outputs
            ),
            diverged=True,
            error=error,
            flops=self.flops,
            parameters=self.parameters,
            seconds=(time.perf_counter() - self.started) * share,
            curve=tuple(self.curve),
            weights=_state(module),
        )


def _state(module: nn.Module | None) -> dict[str, torch.Tensor] | None:
    if module is None:
        return None
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

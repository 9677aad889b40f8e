"""How much faster a fleet trains than a loop.

    python benchmarks/fleet.py
    python benchmarks/fleet.py --device cuda

One training step of each of `CASES`, architectures on the shapes of tables, series,
token ids and images, as it is done

- in plain PyTorch, data in memory: torch.optim.AdamW, torch's loss and clipping;
- the same through a DataLoader;
- by archtrial's loop (training/run.py);
- by fleets of several sizes (training/fleet.py), divided by their size.

All take turns within a repetition; a ratio is the median over repetitions of what was
measured side by side. With one thread it is the processor's time that counts, since
other work on the same cores does not add to it. Prints a table and writes
benchmarks/fleet.json.

On a GPU the data lie there and no DataLoader is measured; for images the loop is also
measured in bfloat16 with channels last, and of everything the memory is taken down. What
plain PyTorch computes there is what it computes by default, with products of
convolutions in TensorFloat-32; archtrial computes in float32. It takes about two minutes
and writes benchmarks/fleet_cuda.json.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from archtrial import metrics
from archtrial.protocol import Recipe
from archtrial.training import choice, fleet, run
from archtrial.training.device import exact
from archtrial.training.loop import Loop
from archtrial.training.module import build, dropouts
from archtrial.training.source import Batches, Source
from archtrial.zoo import registry

CLASSES, WORDS = 10, 1000
Step = Callable[[], object]


# ------------------------------------------------------------------- architectures


def lenet() -> nn.Module:
    """LeNet-5 with ReLU and largest values, on 3 x 32 x 32."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, CLASSES),
    )


class _Block(nn.Module):
    """A basic block of a ResNet, with a projection where sides are halved."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for _ in range(2)])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        h = self.norms[0](self.first(x)).relu()
        return torch.relu(self.norms[1](self.second(h)) + self.shortcut(x))


def resnet8(width: int) -> nn.Module:
    """A ResNet of 8 layers for 3 x 32 x 32 (He et al. 2016, section 4.2)."""
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        _Block(width, width, 1),
        _Block(width, 2 * width, 2),
        _Block(2 * width, 4 * width, 2),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, CLASSES)),
    )


def vgg11() -> nn.Module:
    """VGG-11 with batch normalisation and one linear layer, on 3 x 32 x 32."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.BatchNorm2d(width)]
        layers.append(nn.ReLU())
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, CLASSES))


class _Attention(nn.Module):
    """A layer of a transformer, normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        batch, length, width = x.shape
        split = self.read(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        h = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.write(h.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """Layers of attention over what `embed` makes of an input, and their mean."""

    def __init__(self, embed: nn.Module, length: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = embed
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.Sequential(*(_Attention(width, 4) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        return self.head(self.layers(self.embed(x) + self.position).mean(1))


class _Patches(nn.Module):
    """Patches of 4 x 4 as tokens, (N, 3, 32, 32) -> (N, 64, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, width, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        return self.convolution(x).flatten(2).transpose(1, 2)


class _Mixing(nn.Module):
    """A layer of an MLP-Mixer (Tolstikhin et al. 2021)."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.tokens, self.channels = (
            nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))
            for n in (length, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Mixer(nn.Module):
    """An MLP-Mixer on patches of 4 x 4."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Patches(width),
            *(_Mixing(64, width) for _ in range(depth)),
            nn.LayerNorm(width),
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        return self.head(self.body(x).mean(1))


class Bag(nn.Module):
    """A mean of embedded words, and an MLP of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns outputs, or a layer's values, for a batch."""
        return self.mlp(self.embed(x).mean(1))


@dataclasses.dataclass(frozen=True)
class Case:
    """An architecture on a shape, in batches as they are usual there."""

    shape: tuple[int, ...]
    build: Callable[[], nn.Module]
    batch: int = 100
    words: bool = False
    dropout: float = 0.0
    """Of the first run; each other one has a little more than the one before it."""


SERIES, TABLE, TOKENS, IMAGE = (40,), (20,), (32,), (3, 32, 32)


def _zoo(name: str, shape: tuple[int, ...], dropout: float = 0.0) -> Case:
    build = functools.partial(registry.get(name).function, shape, CLASSES)
    return Case(shape, build, dropout=dropout)


CASES = {
    "mlp": _zoo("mlp", SERIES),
    "mlp-dropout": _zoo("mlp", SERIES, dropout=0.2),
    "mlp-table": _zoo("mlp", TABLE),
    "cnn": _zoo("cnn", SERIES),
    "cnn-dropout": _zoo("cnn", SERIES, dropout=0.2),
    "gru": _zoo("gru", SERIES),
    "lstm": _zoo("lstm", SERIES),
    "bag": Case(TOKENS, functools.partial(Bag, 64), words=True),
    "transformer": Case(
        TOKENS,
        lambda: Transformer(nn.Embedding(WORDS, 64), 32, 64, 2),
        batch=32,
        words=True,
    ),
    "mlp-image": _zoo("mlp", IMAGE),
    "cnn-image": _zoo("cnn", IMAGE),
    "lenet": Case(IMAGE, lenet),
    "resnet8-16": Case(IMAGE, functools.partial(resnet8, 16), batch=64),
    "resnet8-32": Case(IMAGE, functools.partial(resnet8, 32), batch=64),
    "vit": Case(IMAGE, lambda: Transformer(_Patches(64), 64, 64, 4), batch=64),
    "mixer": Case(IMAGE, functools.partial(Mixer, 64, 4), batch=64),
    "vgg11": Case(IMAGE, vgg11, batch=64),
}
"""By the name under which a figure is reported."""

# What is measured on a GPU unless it is said.
ON_A_GPU = [
    *("resnet8-32", "vgg11", "lstm", "gru", "vit", "cnn-image", "cnn", "mlp"),
    *("mlp-dropout", "mlp-table", "mixer", "transformer"),
]
SIZES = {"cpu": [4, 16], "cuda": [4, 16, 64]}
# Of the smallest networks a GPU is also given this many at once.
TINY, MANY = {"mlp", "mlp-dropout", "mlp-table", "cnn"}, 256

# Two of the largest batches: enough to shuffle, and every one is a whole one.
EXAMPLES = 3200


def make_problem(case: Case, device: str) -> run.Problem:
    """Returns random data of a case's shape, and the default recipe."""
    generator = np.random.default_rng(0)
    shape = (EXAMPLES, *case.shape)
    x = (
        generator.integers(WORDS, size=shape)
        if case.words
        else generator.normal(size=shape).astype(np.float32)
    )
    y = generator.integers(CLASSES, size=EXAMPLES)
    return run.Problem(
        x_train=x,
        y_train=y,
        x_validation=x[:1000],
        y_validation=y[:1000],
        x_test=x[:1000],
        task="classification",
        num_outputs=CLASSES,
        metric=metrics.default("classification"),
        recipe=Recipe(),
        steps=1500,
        batch_size=case.batch,
        device=device,
    )


def plain(problem: run.Problem, job: run.Job, loader: bool) -> Step:
    """Returns a step as one would write it without archtrial."""
    module = job.build().to(problem.device).train()
    for layer in dropouts(module):
        layer.p = job.hyperparameters.get("dropout", layer.p)
    optimizer = torch.optim.AdamW(module.parameters())
    x = torch.from_numpy(problem.x_train).to(problem.device)
    y = torch.from_numpy(problem.y_train).to(problem.device)

    def from_memory():
        while True:
            order = torch.randperm(len(x), device=x.device)
            for rows in order.split(problem.batch_size):
                yield x[rows], y[rows]

    def from_loader():
        data = DataLoader(TensorDataset(x, y), problem.batch_size, shuffle=True)
        while True:
            yield from data

    batches = from_loader() if loader else from_memory()

    def step():
        inputs, labels = next(batches)
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs), labels).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    return step


def loop(problem: run.Problem, job: run.Job) -> Step:
    """Returns a step of archtrial's loop."""
    trained = Loop(problem, [job], [build(problem, job)])
    batches = Batches(problem, Source(problem), [job])

    def step():
        trained.step(*next(batches), 1.0)

    return step


def fleet_of(problem: run.Problem, jobs: list[run.Job]) -> Step:
    """Returns a step of all runs of a fleet."""
    stack = fleet.Stack(problem, jobs, [build(problem, job) for job in jobs])
    batches = Batches(problem, Source(problem), jobs)

    def step():
        stack.step(*next(batches), 1.0)

    return step


def waited(device: str) -> None:
    """Returns when the GPU, too, has done all that it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def compared(steps: dict[str, Step], repetitions: int, seconds: float, device: str):
    """Returns each one's milliseconds a step in every repetition."""
    on_one_core = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if on_one_core else time.perf_counter

    def taking(name: str, count: int) -> float:
        with arithmetic(name, device):
            waited(device)
            start = clock()
            for _ in range(count):
                steps[name]()
            waited(device)
            return clock() - start

    counts = {}
    for name in steps:
        taking(name, 3 if device == "cuda" else 1)
        counts[name] = max(1, round(seconds / taking(name, 1)))
    taken = {name: [] for name in steps}
    for _ in range(repetitions):
        for name, count in counts.items():
            taken[name].append(taking(name, count) / count * 1e3)
    return taken


def arithmetic(name: str, device: str) -> AbstractContextManager[None]:
    """Returns what a step is computed in: archtrial's on a GPU, or torch's own."""
    return nullcontext() if name in ("plain", "loader") else exact(device)


def remembered(make: Callable[[], Step], device: str) -> tuple[Step, float]:
    """Returns a step and the gigabytes of the GPU that it needs, 0 on a CPU."""
    if device != "cuda":
        return make(), 0.0
    waited(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with exact(device):
        step = make()
        step()
        step()
    waited(device)
    return step, (torch.cuda.max_memory_allocated() - before) / 1e9


def measured(
    case: Case, sizes: list[int], repetitions: int, seconds: float, device: str = "cpu"
):
    """Returns what one architecture takes, at the present number of threads."""
    problem = make_problem(case, device)
    jobs = []
    for seed in range(max(sizes)):
        own = {"learning_rate": 1e-3 * (1 + seed)}
        if case.dropout:
            own["dropout"] = case.dropout + 0.01 * (seed % 64)
        jobs.append(run.Job(case.build, own, seed, seed, seed))
    kinds: dict[str, Callable[[], Step]] = {
        "plain": lambda: plain(problem, jobs[0], loader=False),
        "loop": lambda: loop(problem, jobs[0]),
    }
    if device == "cpu":
        kinds["loader"] = lambda: plain(problem, jobs[0], loader=True)
    elif case.shape == IMAGE:
        rounded = dataclasses.replace(
            problem,
            recipe=Recipe(precision="bfloat16", memory_format="channels_last"),
        )
        kinds["bfloat16"] = lambda: loop(rounded, jobs[0])
    alone = list(kinds)
    for size in sizes:
        kinds[str(size)] = functools.partial(fleet_of, problem, jobs[:size])
    steps, gigabytes, beyond = {}, {}, []
    for name, make in kinds.items():
        try:
            steps[name], gigabytes[name] = remembered(make, device)
        except torch.OutOfMemoryError as error:
            beyond.append(name)
            print(f"{name}: {str(error).splitlines()[0]}", flush=True)
    taken = compared(steps, repetitions, seconds, device)
    fleets = {}
    for size in (size for size in sizes if str(size) in taken):
        each = [t / size for t in taken[str(size)]]
        fleets[size] = {
            "milliseconds_each": statistics.median(each),
            **{
                f"times_faster_than_{other}": statistics.median(
                    t / e for t, e in zip(taken[other], each, strict=True)
                )
                for other in alone
            },
        }
    return {
        "batch": case.batch,
        "chosen": choice.fleet_size(problem, jobs[0]),
        "milliseconds": {other: statistics.median(taken[other]) for other in alone},
        "fleets": fleets,
        **({"gigabytes": gigabytes} if device == "cuda" else {}),
        **({"out_of_memory": beyond} if beyond else {}),
    }


def machine(device: str = "cpu"):
    """Returns what the figures were taken on."""
    lines = Path("/proc/cpuinfo")
    models = (
        [v for v in lines.read_text().splitlines() if v.startswith("model name")]
        if lines.exists()
        else []
    )
    return {
        "processor": models[0].split(": ")[1] if models else platform.processor(),
        "cores": len(models) or None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        **(
            {
                "gpu": torch.cuda.get_device_name(),
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
            if device == "cuda"
            else {}
        ),
    }


def main() -> None:
    """Measures, prints and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--architectures", nargs="+", choices=list(CASES))
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="of each measurement"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    device = options.device
    on_gpu = device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("there is no GPU here")
    name = "fleet_cuda.json" if on_gpu else "fleet.json"
    output = options.output or Path(__file__).with_name(name)
    architectures = options.architectures or (ON_A_GPU if on_gpu else list(CASES))
    report = {**machine(device), "results": []}
    print(", ".join(f"{key} {value}" for key, value in machine(device).items()))
    print("ms a step and model; in brackets, times faster than plain PyTorch, the loop")
    failed = False
    for threads, name in itertools.product(options.threads, architectures):
        torch.set_num_threads(threads)
        many = [MANY] if on_gpu and name in TINY else []
        sizes = options.sizes or [*SIZES[device], *many]
        try:
            result = measured(
                CASES[name], sizes, options.repetitions, options.seconds, device
            )
        except Exception:  # what one cannot do is no reason not to measure the others
            failed = True
            print(f"{name}:", traceback.format_exc(), flush=True)
            continue
        report["results"].append({"architecture": name, "threads": threads, **result})
        alone = result["milliseconds"]
        print(
            f"{name:11} {threads} thread{'s' if threads > 1 else ' '}",
            *(f"{other} {alone[other]:6.2f}" for other in alone),
            *(
                f"| {size}: {f['milliseconds_each']:6.2f}"
                f" ({f['times_faster_than_plain']:.2f},"
                f" {f['times_faster_than_loop']:.2f})"
                for size, f in result["fleets"].items()
            ),
            f"| chosen: {result['chosen']}",
            *(f"{k} {v:.2f} GB" for k, v in result.get("gigabytes", {}).items()),
            flush=True,
        )
        output.write_text(json.dumps(report, indent=1) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()

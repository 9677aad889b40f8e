"""Three forms of a convolution for many runs: forward and backward, divided by the runs.

    python benchmarks/convolution.py --device cuda

- "each": torch's own, run by run;
- "grouped": one of torch's own with as many groups as runs, which is what `vmap` makes
  of it;
- "products": windows by kernels (training/stacked.py, as on a GPU).

Float32, in one order on a GPU. All take turns within a repetition; prints medians, the
TFLOP/s of the last form and the memory of the GPU that it needs beside its tensors.
"""

import argparse
import statistics
import time
from unittest import mock

import torch
from torch.nn import functional

from archtrial.training import stacked
from archtrial.training.device import exact

# Channels, filters, side: of ResNet-8 of width 32, VGG-11, and the zoo's cnn on images.
LAYERS = [
    *((3, 32, 32), (32, 32, 32), (64, 64, 16), (128, 128, 8)),
    *((64, 128, 16), (256, 512, 4), (512, 512, 2)),
]
BATCH = 64


def each(x, weight):
    """Returns what torch gives for each run."""
    pairs = zip(x.unbind(), weight.unbind(), strict=True)
    return torch.stack([functional.conv2d(*pair, padding=1) for pair in pairs])


def grouped(x, weight):
    """Returns the runs as groups of channels of one input."""
    runs, batch, channels, *sides = x.shape
    beside = x.transpose(0, 1).reshape(batch, runs * channels, *sides)
    filters = functional.conv2d(beside, weight.flatten(0, 1), padding=1, groups=runs)
    return torch.unflatten(filters, 1, (runs, -1)).transpose(0, 1)


def products(x, weight):
    """Returns the product of windows and kernels."""
    return stacked.convolution(x, weight, padding=1)


FORMS = [each, grouped, products]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    on_gpu = options.device == "cuda"
    torch.set_num_threads(1)
    print("channels, filters, side:", *(form.__name__ for form in FORMS), "ms a run")
    with (
        exact(options.device),
        mock.patch.object(stacked, "_on_a_gpu", return_value=True),
    ):
        for channels, filters, side in LAYERS:
            shape = (options.runs, BATCH, channels, side, side)
            x = torch.randn(shape, device=options.device)
            # As a layer of this form leaves them.
            last = x.movedim(1, -1).contiguous().movedim(-1, 1)
            weight = torch.randn(
                options.runs, filters, channels, 3, 3, device=options.device
            )

            def step(form, given):
                inputs = [t.detach().requires_grad_() for t in given]
                outputs = form(*inputs)
                return torch.autograd.grad(outputs, inputs, outputs)

            def taken(form, given):
                if on_gpu:
                    torch.cuda.synchronize()
                start = time.perf_counter()
                step(form, given)
                if on_gpu:
                    torch.cuda.synchronize()
                return (time.perf_counter() - start) / options.runs * 1e3

            given = {form: (last if form is products else x, weight) for form in FORMS}
            times = {form: [] for form in FORMS}
            for _ in range(2 + options.repetitions):
                for form in FORMS:
                    times[form].append(taken(form, given[form]))
            medians = [statistics.median(times[form][2:]) for form in FORMS]
            work = 3 * 2 * BATCH * filters * channels * 9 * side**2
            line = "  ".join(f"{median:8.4f}" for median in medians)
            beside = ""
            if on_gpu:
                before = torch.cuda.memory_allocated()
                torch.cuda.reset_peak_memory_stats()
                step(products, given[products])
                peak = torch.cuda.max_memory_allocated() - before
                beside = f"  {peak / 1e9:.2f} GB"
            print(
                f"{channels:4}{filters:5}{side:4}: {line}"
                f"  {work / medians[-1] / 1e9:.1f} TFLOP/s{beside}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""How a GPU computes: in float32, and the same in every run."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["exact"]


@contextmanager
def exact(device: str) -> Iterator[None]:
    """Makes a GPU's sums and products float32, and the same bits in every run.

    By itself torch lets cuDNN compute convolutions in TensorFloat-32, with 10 bits of
    mantissa, and add up in whatever order is fastest at the moment. Where torch has no
    deterministic form of an operation, it warns and goes on. Attention is computed step
    by step, since its fused forms add up in any order; it keeps a weight for each pair of
    tokens. On a CPU nothing changes.

    Args:
        device: Where it is trained.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    # cuBLAS reads it when it is first used in a process.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    matmul = torch.backends.cuda.matmul
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        matmul.allow_tf32,
    )
    with (
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        sdpa_kernel(SDPBackend.MATH),
        warnings.catch_warnings(),
    ):
        # All weights of a run lie in one row, so cuDNN copies a recurrent layer's; it
        # says so at every step.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # What nobody has written yet is read by nobody: no need to fill it.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]
            matmul.allow_tf32 = before[3]

"""How curved the loss is: the largest eigenvalue of its Hessian.

By Lanczos iterations on Hessian-vector products, which are never put together to a
matrix (Pearlmutter 1994, "Fast exact multiplication by the Hessian").
"""

import math

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import nn

from archtrial.training.objective import Objective

__all__ = ["curvature", "mean_loss"]

# ARPACK's: a relative accuracy of one per cent is below what seeds make of it.
_TOLERANCE = 1e-2
_VECTORS = 10


def mean_loss(
    objective: Objective, outputs: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Returns the mean of an objective over examples, without label smoothing.

    Args:
        objective: Whose targets `y` are.
        outputs: (N, outputs).
        y: (N, ...).
    """
    plain = outputs.new_zeros(1, 1)
    return objective.losses(outputs.unsqueeze(0), y.unsqueeze(0), plain).mean()


def curvature(
    network: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
    objective: Objective,
) -> tuple[float | None, float | None]:
    """Returns the Hessian's largest eigenvalue and the norm of the gradient.

    Of the mean loss over the examples, with the network in evaluation mode. The
    eigenvalue is found by Lanczos iterations on Hessian-vector products (ARPACK, to one
    per cent), which need fewer of them than the paper's power iteration and are not
    misled by a negative eigenvalue of larger size.

    Args:
        network: All its trainable weights count.
        x: (N, ...).
        y: (N,).
        seed: Of the first vector.
        objective: Whose targets `y` are.

    Returns:
        None for what is not finite, or for an eigenvalue that was not found.
    """
    weights = [p for p in network.eval().parameters() if p.requires_grad]
    loss = mean_loss(objective, network(x.clone()), y)
    gradients = torch.autograd.grad(
        loss, weights, create_graph=True, materialize_grads=True
    )
    gradient = torch.cat([g.reshape(-1) for g in gradients])
    norm = float(torch.linalg.vector_norm(gradient.detach()))
    if not math.isfinite(norm):
        return None, None

    def product(vector: np.ndarray) -> np.ndarray:
        along = torch.from_numpy(vector.astype(np.float32).ravel()).to(x.device)
        pieces = torch.autograd.grad(
            gradient @ along, weights, retain_graph=True, materialize_grads=True
        )
        result: np.ndarray = torch.cat([p.reshape(-1) for p in pieces]).cpu().numpy()
        return result

    size = len(gradient)
    begin = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    once = product(begin)
    if not np.isfinite(once).all():
        return None, norm
    if not once.any():
        # Of a matrix of zeros, such as where each answer is certain, ARPACK has none.
        return 0.0, norm
    try:
        (largest,) = eigsh(
            LinearOperator((size, size), matvec=product, dtype=np.float32),
            k=1,
            which="LA",
            ncv=min(_VECTORS, size),
            v0=begin,
            tol=_TOLERANCE,
            return_eigenvectors=False,
        )
    except ArpackError:
        return None, norm
    return float(largest), norm

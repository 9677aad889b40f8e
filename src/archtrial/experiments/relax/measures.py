"""What is measured of a relaxed network when its training has ended.

All of it on the training and validation sets: the test set is opened once, for the
accuracies that are compared.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from archtrial import equivalents
from archtrial.training.curvature import curvature, mean_loss
from archtrial.training.problem import Problem
from archtrial.training.source import Inputs, Source

__all__ = ["POSITIONS", "measure"]

POSITIONS = tuple(i / 10 for i in range(11))
"""Where the straight line between two networks is measured."""

# Training examples on which losses along the line are taken.
_PATH_EXAMPLES = 1000


def measure(
    problem: Problem,
    start: equivalents.Network,
    relaxed: equivalents.Network,
    cnn: equivalents.Network | None,
    *,
    curvature_examples: int,
    seed: int,
) -> dict[str, Any]:
    """Measures a relaxed network against what it was and what it might have been.

    Args:
        problem: The data and the metric.
        start: The equivalent of the CNN at the relax time.
        relaxed: The same network after its training, with its last weights.
        cnn: The equivalent of the CNN that was trained on for as many steps; None
            where it diverged.
        curvature_examples: The first so many training examples are those whose mean
            loss the Hessian is of; 0: no curvature, and no gradient norm.
        seed: Of the vector that the search for an eigenvalue begins with.

    Returns:
        JSON; None stands for what is not finite or was not found. "deviation" and
        "untied" are shares of the norm of all weights, which weights that would read
        padding are no part of; "validation" scores are of the validation set; "path"
        goes from `cnn` (position 0) to `relaxed` (1), with the mean loss over the first
        1,000 training examples, and "barrier" is how far that loss rises above the
        straight line between its two ends (d'Ascoli et al. 2019, section 4; the
        barrier as in Entezari et al. 2022, arXiv 2110.06296, equation 1).
    """
    source = Source(problem)
    score = _Scorer(problem, source)
    parts = equivalents.parts(relaxed)
    found: dict[str, Any] = {
        "deviation": parts.deviation,
        "untied": math.sqrt(parts.untied / parts.total) if parts.total else 0.0,
        "deviation_by_layer": {
            name: layer.deviation for name, layer in parts.by_layer.items()
        },
        "validation": {
            "start": score(start),
            "relaxed": score(relaxed),
            "cnn": score(cnn) if cnn else None,
            "local_alone": score(equivalents.with_part(relaxed, "local")),
            "off_local_alone": score(equivalents.with_part(relaxed, "off_local")),
            "average_of_outputs": score(cnn, relaxed) if cnn else None,
        },
        "path": _path(problem, source, score, cnn, relaxed) if cnn else None,
    }
    if curvature_examples:
        x, y = source.x_train[:curvature_examples], source.y_train[:curvature_examples]
        ends = {
            name: curvature(network, x, y, seed, problem.minimised())
            for name, network in (("start", start), ("end", relaxed))
        }
        found["curvature"] = {name: end[0] for name, end in ends.items()}
        found["gradient_norm"] = {name: end[1] for name, end in ends.items()}
    return found


class _Scorer:
    """Scores networks on the validation set."""

    def __init__(self, problem: Problem, source: Source) -> None:
        self._problem = problem
        self._source = source

    def __call__(self, *networks: nn.Module) -> float | None:
        """Returns the score of a network, or of the average of several's outputs."""
        outputs = [_outputs(network, self._source.x_validation) for network in networks]
        presented = self._problem.minimised().presented(torch.stack(outputs).mean(0))
        if not np.isfinite(presented).all():
            return None
        metric = self._problem.metric
        return metric.score(metric.reduce(presented), self._problem.y_validation)


@torch.no_grad()
def _outputs(network: nn.Module, x: Inputs) -> torch.Tensor:
    network.eval()
    # Copies: a network may change its inputs in place.
    return torch.cat([network(chunk.clone()) for chunk in x.split(1000)])


def _path(
    problem: Problem,
    source: Source,
    score: _Scorer,
    first: nn.Module,
    last: nn.Module,
) -> dict[str, Any] | None:
    """Returns loss and score along the line from one network to another."""
    x, y = source.x_train[:_PATH_EXAMPLES], source.y_train[:_PATH_EXAMPLES]
    losses, scores = [], []
    objective = problem.minimised()
    for between in _line(first, last):
        losses.append(float(mean_loss(objective, _outputs(between, x), y)))
        scores.append(score(between))
    if not np.isfinite(losses).all():
        return None
    straight = np.interp(POSITIONS, [0, 1], [losses[0], losses[-1]])
    return {
        "position": list(POSITIONS),
        "loss": losses,
        "score": scores,
        "barrier": float(np.max(np.array(losses) - straight)),
    }


def _line(first: nn.Module, last: nn.Module) -> Iterator[nn.Module]:
    """Yields networks between two, which share one module: use each before the next."""
    between = copy.deepcopy(first)
    ends: Mapping[str, torch.Tensor] = last.state_dict()
    begins = first.state_dict()
    for position in POSITIONS:
        with torch.no_grad():
            for name, tensor in between.state_dict().items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.lerp(begins[name], ends[name], position))
        yield between

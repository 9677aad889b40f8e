"""What architectures represent: linear probes, similarity of layers, moved inputs."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from archtrial import metrics, trainers, workflow
from archtrial.data.stored import Prepared
from archtrial.errors import ArmError
from archtrial.execution import few_threads
from archtrial.experiments.profile import variations
from archtrial.experiments.profile.measuring import Measuring
from archtrial.records.table import Run
from archtrial.statistics.probing import ridge
from archtrial.statistics.similarity import alignment, centred
from archtrial.training.layers import OUTPUTS, activations

__all__ = ["Representation"]

# The more seeds, the narrower the intervals; what is measured takes a second each.
_SEEDS = 4
# Of deeper networks so many layers are looked at, evenly spaced, ends included.
_LAYERS = 8
# Examples that a probe is fitted to, and is scored on.
_FITTED = 1000
_SCORED = 1000
# Features that a probe reads; of more, random projections.
_FEATURES = 512
# Validation examples on which layers are compared.
_COMPARED = 400


class Representation(Measuring):
    """Linear probes by layer, similarity of layers, invariance to shifts.

    Raises:
        ArmError: An architecture has no layer of its own.
    """

    name = "representation"

    def __init__(self, study: Any) -> None:
        super().__init__(study)
        problem = study.loops.problem
        x = torch.from_numpy(np.asarray(problem.x_train[:2]))
        self.layers: dict[str, list[str]] = {}
        self.labels: dict[str, list[str]] = {}
        for name in study.names:
            first = trainers.Item(name, 0, 1, "confirm", {})
            network = study.network(first, trained=False)
            seen = list(activations(network, x))
            if seen == [OUTPUTS]:
                raise ArmError(
                    "a network has layers: modules with a weight of two dimensions or"
                    " more, which are called with an example's activations",
                    f"{name} has none",
                    "Put its weights into modules such as nn.Linear, or leave the group"
                    " out: name those that are wanted, as in --only cost.",
                )
            places = np.linspace(0, len(seen) - 1, min(_LAYERS, len(seen)))
            self.layers[name] = [seen[round(place)] for place in places]
            own = dict(network.named_modules())
            self.labels[name] = [
                f"{layer} ({type(own[layer]).__name__})" if layer in own else layer
                for layer in self.layers[name]
            ]

    @property
    def shifts(self) -> list[int]:
        """By how many positions inputs are moved: 1, 2, 4, ... to a quarter of a side."""
        problem, inputs = self.study.loops.problem, self.study.loops.inputs
        if isinstance(problem.x_train, Prepared) or not self.axes:
            return []
        most = max(1, min(inputs.shape[-self.axes :]) // 4)
        return [2**i for i in range(most.bit_length()) if 2**i <= most]

    @property
    def axes(self) -> int:
        """Along how many axes inputs have positions."""
        inputs = self.study.loops.inputs
        return variations.sides(inputs.shape, inputs.kind, inputs.lengths)

    @property
    def metric(self) -> metrics.Metric:
        """Of probes: what they give are no probabilities, whatever the study's metric is."""
        return metrics.default(self.study.split.task)

    def resolved(self) -> Mapping[str, Any]:
        """Returns which layers are looked at, on how many examples."""
        split = self.study.split
        return {
            "layers": self.labels,
            "seeds": min(_SEEDS, self.study.protocol.seeds),
            "fitted": min(_FITTED, len(split.y_train)),
            "scored": min(_SCORED, len(split.y_validation)),
            "features": _FEATURES,
            "compared": min(_COMPARED, len(split.y_validation)),
            "shifts": self.shifts,
            "probe_metric": self.metric.name,
        }

    def keeps_weights(self) -> bool:
        """Says that it looks into trained networks."""
        return True

    def stages(self, work: workflow.Work) -> None:
        """Measures each architecture, then each pair of them."""
        for name in self.study.names:
            self.record(work, name, functools.partial(self._measured, work, name))
        for first, second in itertools.combinations(self.study.names, 2):
            pair = f"{first} beside {second}"
            self.record(
                work, pair, functools.partial(self._beside, work, first, second)
            )

    @functools.cached_property
    def _fitted(self) -> np.ndarray:
        return self._some(self.study.split.y_train, _FITTED, "fitted")

    @functools.cached_property
    def _scored(self) -> np.ndarray:
        return self._some(self.study.split.y_validation, _SCORED, "scored")

    @functools.cached_property
    def _compared(self) -> np.ndarray:
        return self._some(self.study.split.y_validation, _COMPARED, "compared")

    def _some(self, y: np.ndarray, most: int, name: str) -> np.ndarray:
        task, seed = self.study.split.task, self.study.protocol.seed
        return variations.some(y, task, most, seed, name)

    def _trained(self, work: workflow.Work, name: str) -> list[Run]:
        """Returns the trainings whose networks are looked into: none that diverged."""
        runs = self.study.fresh(self.study.runs(work.store), name)
        return [run for run in runs if not run.diverged][:_SEEDS]

    def _network(self, run: Run, *, trained: bool) -> nn.Module:
        item = trainers.Item(run.arm, run.pair, run.seed, "confirm", run.configuration)
        return self.study.network(item, trained=trained)

    def _measured(self, work: workflow.Work, name: str) -> dict[str, Any]:
        """Returns probes, similarities within an architecture, and what shifts change."""
        runs = self._trained(work, name)
        with few_threads(self.study.protocol.threads):
            ends = {
                end: [self._probed(run, trained=end == "end") for run in runs]
                for end in ("start", "end")
            }
            rows = [self._rows(run) for run in runs]
            return {
                "seeds": [run.seed for run in runs],
                "probes": ends,
                # By seed, and by pair of seeds: (layers, layers).
                "within": [_told(alignment(own, own)) for own in rows],
                "across": [
                    {
                        "seeds": [runs[i].seed, runs[j].seed],
                        "alignment": _told(alignment(rows[i], rows[j])),
                    }
                    for i, j in itertools.combinations(range(len(runs)), 2)
                ],
                "shifts": [self._shifted(run) for run in runs],
            }

    def _beside(self, work: workflow.Work, first: str, second: str) -> dict[str, Any]:
        """Returns how alike the layers of two architectures are, seed by seed."""
        ours, theirs = (
            {run.seed: run for run in self._trained(work, name)}
            for name in (first, second)
        )
        seeds = [seed for seed in ours if seed in theirs]
        with few_threads(self.study.protocol.threads):
            found = [
                _told(alignment(self._rows(ours[seed]), self._rows(theirs[seed])))
                for seed in seeds
            ]
        return {"seeds": seeds, "alignment": found}

    def _probed(self, run: Run, *, trained: bool) -> list[float]:
        """Returns what a linear map of each layer's activations scores."""
        problem, network = self.study.loops.problem, self._network(run, trained=trained)
        seed = self.study.protocol.seed
        fitted, scored = (
            activations(network, _inputs(x, rows), most=_FEATURES, seed=seed)
            for x, rows in (
                (problem.x_train, self._fitted),
                (problem.x_validation, self._scored),
            )
        )
        y, wanted = problem.y_train[self._fitted], problem.y_validation[self._scored]
        classes = problem.task == "classification"
        targets = np.eye(problem.num_outputs)[y] if classes else y[:, None]
        scores = []
        for layer in self.layers[run.arm]:
            said = ridge(fitted[layer], targets)(scored[layer].astype(np.float64))
            told = self.metric.reduce(said if classes else said[:, 0])
            scores.append(self.metric.score(told, wanted))
        return scores

    def _rows(self, run: Run) -> np.ndarray:
        """Returns what is compared of each layer of a trained network."""
        x = _inputs(self.study.loops.problem.x_validation, self._compared)
        given = activations(self._network(run, trained=True), x)
        return np.stack([centred(given[layer]) for layer in self.layers[run.arm]])

    def _shifted(self, run: Run) -> list[dict[str, Any]]:
        """Returns what becomes of scores and answers when inputs are moved."""
        problem, network = self.study.loops.problem, self._network(run, trained=True)
        x = _inputs(problem.x_validation, self._scored).numpy()
        y = problem.y_validation[self._scored]
        before = self._said(network, x)
        told = []
        for by in self.shifts:
            scores, kept = [], []
            for moved in variations.moved(x, self.axes, by):
                said = self._said(network, np.ascontiguousarray(moved))
                scores.append(problem.metric.score(problem.metric.reduce(said), y))
                if problem.task == "classification":
                    kept.append(float(np.mean(said.argmax(1) == before.argmax(1))))
            told.append(
                {
                    "by": by,
                    "score": float(np.mean(scores)),
                    "kept": float(np.mean(kept)) if kept else None,
                }
            )
        said = problem.metric.reduce(before)
        return [{"by": 0, "score": problem.metric.score(said, y), "kept": 1.0}, *told]

    @torch.no_grad()
    def _said(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """Returns predictions as a metric reads them."""
        parts = [torch.from_numpy(x[i : i + 500]) for i in range(0, len(x), 500)]
        outputs = torch.cat([network(part) for part in parts])
        return self.study.loops.problem.minimised().presented(outputs)


def _inputs(x: Any, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x[rows]))


def _told(found: np.ndarray) -> list[list[float | None]]:
    """Returns a table as JSON; None for layers that say the same of all examples."""
    rows: Sequence[Sequence[float]] = np.round(found, 6).tolist()
    return [[None if value != value else value for value in row] for row in rows]

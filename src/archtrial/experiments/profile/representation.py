"""What architectures represent, read off the records."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from archtrial import metrics
from archtrial.experiments.profile.groups import Group
from archtrial.experiments.profile.lines import Line, Scale, draw_lines
from archtrial.metrics import Metric
from archtrial.report.article import Column, Exhibit, Plate, Section, Table
from archtrial.report.drawing import LIGHT, SIZE, STYLE, axes_at, blank
from archtrial.statistics.intervals import Estimate, mean
from archtrial.statistics.similarity import mean_of_pairs
from archtrial.words import numbers
from archtrial.words.phrases import columns_of, joined, shortened

__all__ = ["Representation"]

Table2 = Sequence[Sequence[float | None]]


class Representation(Group):
    """Linear probes by layer, similarity of layers, invariance to shifts."""

    title = "What do their layers represent?"
    glossary: ClassVar[Mapping[str, str]] = {
        "layer": "A module with a weight of two dimensions or more; what it is given is what"
        " all before it has made of the inputs. The first is given the inputs themselves.",
        "linear probe": "A ridge regression from what a layer is given to the targets, fitted"
        " to training examples: what the layer holds in a form that a linear map can read.",
        "similarity (CKA)": "Linear centred kernel alignment: 1 for layers that hold the same"
        " but for a rotation, about 0 for unrelated ones.",
    }

    @property
    def _asked(self) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self.profiled.resolved["representation"]
        return told

    def numbers(self) -> dict[str, Any]:
        """Returns probes, similarities and what shifts change, with intervals over seeds."""
        profiled = self.profiled
        measured = {n: profiled.measured("representation", n) for n in profiled.names}
        return {
            "architectures": [
                self._of(name, told) for name, told in measured.items()
            ],
            "pairs": [
                {
                    "first": first,
                    "second": second,
                    "alignment": self._over_seeds(
                        profiled.measured(
                            "representation", f"{first} beside {second}"
                        )["alignment"]
                    ),
                }
                for first, second in itertools.combinations(profiled.names, 2)
            ],
        }  # fmt: skip

    def _of(self, name: str, told: Mapping[str, Any]) -> dict[str, Any]:
        layers, seeds = self._asked["layers"][name], len(told["seeds"])
        return {
            "name": name,
            "seeds": seeds,
            "layers": [
                {
                    "name": layer,
                    **{
                        end: self._mean([own[i] for own in told["probes"][end]])
                        for end in ("start", "end")
                    },
                }
                for i, layer in enumerate(layers)
            ],
            "within": self._over_seeds(told["within"]),
            "across": self._over_pairs(told["across"], told["seeds"], len(layers)),
            "shifts": [
                {
                    "by": by,
                    "score": self._mean([own[i]["score"] for own in told["shifts"]]),
                    "kept": self._mean([own[i]["kept"] for own in told["shifts"]]),
                }
                for i, by in enumerate([0, *self._asked["shifts"]])
            ],
        }

    def _mean(self, values: Sequence[float | None]) -> dict[str, float | None] | None:
        """Returns a mean over seeds; None where one is not known, or there is none."""
        if not values or any(value is None for value in values):
            return None
        return _finite(mean(np.array(values, dtype=np.float64), self.profiled.alpha))

    def _over_seeds(self, tables: Sequence[Table2]) -> list[list[Any]]:
        """Returns the mean over seeds of each entry of equal tables."""
        if not tables:
            return []
        return [
            [self._mean([table[i][j] for table in tables]) for j in range(len(row))]
            for i, row in enumerate(tables[0])
        ]

    def _over_pairs(
        self, pairs: Sequence[Mapping[str, Any]], seeds: Sequence[int], layers: int
    ) -> list[list[Any]]:
        """Returns the mean over pairs of seeds, layer by layer."""
        if len(seeds) < 3:
            return []
        found: list[list[Any]] = []
        place = {seed: i for i, seed in enumerate(seeds)}
        for i in range(layers):
            found.append([])
            for j in range(layers):
                values = np.zeros((len(seeds), len(seeds)))
                for pair in pairs:
                    first, second = (place[seed] for seed in pair["seeds"])
                    # Layer i of one seed and j of the other, whichever is the first.
                    both = pair["alignment"][i][j], pair["alignment"][j][i]
                    known = all(value is not None for value in both)
                    values[first, second] = np.mean(both) if known else math.nan
                estimate = mean_of_pairs(values, self.profiled.alpha)
                unknown = math.isnan(estimate.estimate)
                found[-1].append(None if unknown else _finite(estimate))
        return found

    # In words.

    @property
    def _probe_metric(self) -> Metric:
        return metrics.get(self._asked["probe_metric"])

    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns what keeps its answers when inputs are moved, or what probes read."""
        moved = [
            (entry["name"], shift["kept"])
            for entry in found["architectures"]
            for shift in entry["shifts"]
            if shift["by"] == 1 and shift["kept"] is not None
        ]
        if moved:
            told = joined([f"{name} {numbers.shares(kept)}" for name, kept in moved])
            return f"Moved by one position, inputs keep their answers from {told}."
        told = joined(
            [
                f"{entry['name']} {numbers.estimated(_last(entry), self._probe_metric)}"
                for entry in found["architectures"]
                if _last(entry)
            ]
        )
        return f"From what the last layer is given a linear probe reads: {told}."

    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns what probes read of the last layer, and what shifts leave."""
        each = found["architectures"]
        columns = [
            Column(
                "probe of the last layer",
                [numbers.estimated(_last(e), self._probe_metric) for e in each],
                6,
            )
        ]
        if 1 in self._asked["shifts"] and all(e["shifts"][1]["kept"] for e in each):
            kept = [numbers.shares(e["shifts"][1]["kept"]) for e in each]
            columns.append(Column("kept when moved by 1", kept, 5))
        return columns

    def warnings(self, found: Mapping[str, Any]) -> Sequence[str]:
        """Returns whose networks diverged, so that little was left to look into."""
        few = [e["name"] for e in found["architectures"] if e["seeds"] < 3]
        if not few:
            return []
        return [
            f"Fewer than 3 trainings of {joined(few)} came to an end without diverging: of"
            " their layers nothing is said across seeds."
        ]

    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns probes, similarities, and shifts."""
        asked, level = self._asked, numbers.level(self.profiled.alpha)
        seeds = f"{level} intervals over {asked['seeds']} seeds"
        figures = self.figures(found)
        probe = numbers.label(self._probe_metric)
        captions = {
            "probes": f"Solid: at the end of training; dashed: before the first step. {seeds}."
            f" Probes are fitted to {asked['fitted']:,} training examples and scored on"
            f" {asked['scored']:,} of the validation set; of more than {asked['features']:,}"
            " features they read random projections.",
            "across": "Within an architecture of two trainings with different seeds, between"
            " architectures of the same seed: means over seeds and pairs of them, on"
            f" {asked['compared']:,} examples of the validation set.",
            "within": "Of one trained network, means over seeds, on the same examples.",
            "shifts": f"Moved in a ring, the mean of all directions; {seeds}.",
        }
        plates = {n: Plate(draw, captions[n]) for n, draw in figures.items()}
        of = {name: [plates[name]] if name in plates else [] for name in captions}
        return [
            Section(
                self.title, figures=of["probes"], tables=[self._probes(found, probe)]
            ),
            Section(
                "How alike are layers, across seeds and architectures?",
                figures=[*of["across"], *of["within"]],
                tables=[self._alike(found)] if of["across"] else [],
            ),
            Section(
                "What do they answer when inputs are moved?",
                figures=of["shifts"],
                tables=[self._moved(found)] if of["shifts"] else [],
            ),
        ]

    def _probes(self, found: Mapping[str, Any], label: str) -> Exhibit:
        metric = self._probe_metric
        rows = [(e["name"], la) for e in found["architectures"] for la in e["layers"]]
        columns = {
            "architecture": [name for name, _ in rows],
            "given to": [layer["name"] for _, layer in rows],
            "before training": [
                numbers.estimated(la["start"], metric) for _, la in rows
            ],
            "after training": [numbers.estimated(la["end"], metric) for _, la in rows],
        }
        return Exhibit(
            f"What a linear probe of each layer reads: validation {label}",
            Table.of(columns),
            "Layers in the order in which they are carried out, each by what it is given.",
        )

    def _alike(self, found: Mapping[str, Any]) -> Exhibit:
        rows: list[tuple[str, str, str]] = []
        for entry in found["architectures"]:
            for i, layer in enumerate(entry["layers"]):
                if entry["across"]:
                    told = _cka(entry["across"][i][i])
                    rows.append((entry["name"], layer["name"], told))
        columns = {
            "architecture": [row[0] for row in rows],
            "given to": [row[1] for row in rows],
            "similarity of two seeds": [row[2] for row in rows],
        }
        return Exhibit(
            "How alike the same layer is in two trainings",
            Table.of(columns),
            f"{numbers.level(self.profiled.alpha)} intervals over seeds, by the jackknife.",
        )

    def _moved(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        rows = [(e["name"], shift) for e in each for shift in e["shifts"]]
        columns = {
            "architecture": [name for name, _ in rows],
            "moved by": [str(shift["by"]) for _, shift in rows],
            numbers.label(metric): [
                numbers.estimated(shift["score"], metric) for _, shift in rows
            ],
        }
        if any(shift["kept"] for _, shift in rows):
            columns["answers kept"] = [
                numbers.shares(shift["kept"]) if shift["by"] and shift["kept"] else ""
                for _, shift in rows
            ]
        return Exhibit("On the validation set, moved in a ring", Table.of(columns))

    # Drawn.

    def figures(
        self, found: Mapping[str, Any]
    ) -> Mapping[str, Callable[[int], Figure]]:
        """Returns what draws probes, similarities and shifts."""
        each = found["architectures"]
        drawn: dict[str, Callable[[int], Figure]] = {}
        if any(entry["seeds"] for entry in each):
            drawn["probes"] = functools.partial(_probes, each, self._probe_metric)
        if all(entry["across"] for entry in each):
            drawn["across"] = functools.partial(
                _heat,
                "How alike layers are across seeds and architectures"
                if each[1:]
                else "How alike layers are across seeds",
                _labels(each),
                _blocks(each, found["pairs"], "across"),
            )
        if all(entry["within"] for entry in each):
            drawn["within"] = functools.partial(
                _heat, "How alike the layers of one network are", _labels(each),
                _blocks(each, [], "within"),
            )  # fmt: skip
        if self._asked["shifts"] and any(entry["seeds"] for entry in each):
            drawn["shifts"] = functools.partial(_shifts, each, self.profiled.metric)
        return drawn


def _finite(found: Estimate) -> dict[str, float | None]:
    """Returns an estimate as JSON, which has no infinity."""
    return {
        end: value if math.isfinite(value) else None
        for end, value in dataclasses.asdict(found).items()
    }


def _last(entry: Mapping[str, Any]) -> Any:
    """Returns the probe of what the last layer is given: behind it are the outputs."""
    return entry["layers"][-2]["end"]


def _cka(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    ends = [found["estimate"], found["low"], found["high"]]
    written = [f"{end:.2f}".replace("0.", ".", 1) for end in ends if end is not None]
    return (
        written[0]
        if len(written) < 3
        else f"{written[0]} ({written[1]} to {written[2]})"
    )


def _probes(each: Sequence[Mapping[str, Any]], metric: Metric, width: int) -> Figure:
    """Draws what probes read by layer, before and after training."""
    lines = []
    for entry in each:
        places = [float(at) for at in np.linspace(0, 1, len(entry["layers"]))]
        for end in ("start", "end"):
            told = [layer[end] for layer in entry["layers"]]
            lines.append((entry["name"], Line(places, told, dashed=end == "start")))
    return draw_lines(
        "What a linear probe reads of each layer",
        lines,
        Scale("depth", ticks=[(0.0, "inputs"), (1.0, "outputs")]),
        Scale(
            f"validation {numbers.label(metric)}",
            written=lambda value: numbers.tick(value, metric),
        ),
        width,
    )


def _shifts(each: Sequence[Mapping[str, Any]], metric: Metric, width: int) -> Figure:
    """Draws scores by how far inputs are moved."""
    lines = [
        (
            e["name"],
            Line([s["by"] for s in e["shifts"]], [s["score"] for s in e["shifts"]]),
        )
        for e in each
    ]
    return draw_lines(
        "What moving the inputs does to scores",
        lines,
        Scale("moved by positions"),
        Scale(
            f"validation {numbers.label(metric)}",
            written=lambda value: numbers.tick(value, metric),
        ),
        width,
    )  # fmt: skip


def _labels(each: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns what rows of a table of similarities are called."""
    several = len(each) > 1
    return [
        f"{entry['name']}: {layer['name']}" if several else layer["name"]
        for entry in each
        for layer in entry["layers"]
    ]


def _blocks(
    each: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], own: str
) -> np.ndarray:
    """Returns (K, K) similarities of all layers of all architectures; NaN: unknown."""
    sizes = [len(entry["layers"]) for entry in each]
    starts = dict(
        zip(
            [e["name"] for e in each], np.cumsum([0, *sizes[:-1]]).tolist(), strict=True
        )
    )
    found = np.full((sum(sizes), sum(sizes)), math.nan)

    def fill(first: str, second: str, table: Sequence[Sequence[Any]]) -> None:
        for i, row in enumerate(table):
            for j, value in enumerate(row):
                if value is not None:
                    at, to = starts[first] + i, starts[second] + j
                    found[at, to] = found[to, at] = value["estimate"]

    for entry in each:
        fill(entry["name"], entry["name"], entry[own])
    for pair in pairs:
        fill(pair["first"], pair["second"], pair["alignment"])
    return found


def _heat(
    message: str, labels: Sequence[str], values: np.ndarray, width: int
) -> Figure:
    """Draws a table of similarities, the darker the more alike."""
    count = len(labels)
    most = 22 if width > 400 else 13
    names = [shortened(label, most) for label in labels]
    left = 14 + 0.6 * SIZE * max(map(columns_of, names))
    side = min(44.0, (width - left - 14) / count)
    with matplotlib.rc_context(STYLE):
        figure, top = blank(message, width, side * count + 40)
        axes = axes_at(figure, left, top + 6, side * count, side * count)
        axes.set_xlim(0, count)
        axes.set_ylim(count, 0)
        for i, j in itertools.product(range(count), range(count)):
            value = values[i, j]
            if math.isnan(value):
                continue
            axes.add_patch(
                Rectangle(
                    (j + 0.03, i + 0.03), 0.94, 0.94, lw=0,
                    facecolor=LIGHT["challenger-1"], alpha=float(np.clip(value, 0, 1)),
                )
            )  # fmt: skip
            if side >= 26:
                axes.text(
                    j + 0.5, i + 0.5, f"{value:.2f}".replace("0.", ".", 1),
                    ha="center", va="center", size=SIZE - 3,
                    color=LIGHT["paper" if value > 0.55 else "ink"],
                )  # fmt: skip
        axes.set_yticks([i + 0.5 for i in range(count)], names)
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("in the same order")
    return figure

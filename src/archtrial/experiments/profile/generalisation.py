"""How architectures generalise, read off the records."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from archtrial.experiments.profile.groups import Group
from archtrial.experiments.profile.lines import Line, Scale, draw_lines
from archtrial.metrics import Metric
from archtrial.records.table import Run
from archtrial.report.article import Column, Exhibit, Plate, Section, Table
from archtrial.report.rows import draw_gains
from archtrial.statistics import default_margin
from archtrial.statistics.intervals import mean
from archtrial.statistics.power_law import power_law
from archtrial.statistics.simultaneous import simultaneous
from archtrial.words import numbers
from archtrial.words.phrases import joined

__all__ = ["MISFIT", "Generalisation"]


MISFIT = 0.01
"""Below this p no power law holds over the sizes that were trained on, and none is
followed beyond them."""


class Generalisation(Group):
    """The gap to the training set, learning curves, wrong labels, moved positions."""

    title = "How do they generalise?"
    glossary: ClassVar[Mapping[str, str]] = {
        "gap": "By how much a score is better on examples that were trained on than on"
        " those of the validation set.",
        "power law": "error(m) = a + b m^-c of m training examples: a is what remains with"
        " endless data, c says how fast the rest falls.",
        "moved positions": "One permutation of all positions of the inputs, the same for"
        " every example, of the training set and of the validation set.",
    }

    def numbers(self) -> dict[str, Any]:
        """Returns gaps, curves, and what was lost by wrong labels and moved positions."""
        profiled = self.profiled
        asked = profiled.resolved["generalisation"]
        fresh = {name: profiled.fresh(name) for name in profiled.names}
        margin = self._margin(fresh)
        varied: list[dict[str, Any]] = [{"noise": share} for share in asked["noise"]]
        varied += [{"positions": "moved"}] * asked["positions"]
        lost = {
            str(variation): self._lost(variation, fresh, margin) for variation in varied
        }
        entries = []
        for index, name in enumerate(profiled.names):
            told = profiled.measured("generalisation", name)
            entries.append(
                {
                    "name": name,
                    "diverged": sum(run.diverged for run in fresh[name]),
                    **self._gap(told["train"], fresh[name]),
                    "curve": self._curve(name, fresh[name]),
                    "noise": [
                        {"share": share, **lost[str({"noise": share})][index]}
                        for share in asked["noise"]
                    ],
                    "positions": {
                        **lost[str({"positions": "moved"})][index],
                        "treated_alike": told["treats_positions_alike"],
                    }
                    if asked["positions"]
                    else None,
                }
            )
        return {"margin": margin, "without": asked["without"], "architectures": entries}

    def _margin(self, fresh: Mapping[str, Sequence[Run]]) -> float:
        """Returns the declared margin, or the default one of all architectures' seeds."""
        declared: float | None = self.profiled.resolved["margin"]
        if declared is not None:
            return declared
        scores = [
            [run.validation for run in runs if not run.diverged]
            for runs in fresh.values()
        ]
        every = [abs(score) for own in scores for score in own]
        fractions = self.profiled.metric.bounded or not every
        return default_margin(scores, None if fractions else float(np.median(every)))

    def _gap(self, train: Sequence[float], fresh: Sequence[Run]) -> dict[str, Any]:
        """Returns scores on both sets and by how much they differ, seed by seed."""
        profiled = self.profiled
        seen, unseen = np.array(train), np.array([run.validation for run in fresh])
        each = {
            "train": seen,
            "validation": unseen,
            "gap": profiled.sign * (seen - unseen),
        }
        return {
            name: dataclasses.asdict(mean(values, profiled.alpha))
            for name, values in each.items()
        }

    def _lost(
        self,
        variation: Mapping[str, Any],
        fresh: Mapping[str, Sequence[Run]],
        margin: float,
    ) -> list[dict[str, Any]]:
        """Returns of each architecture by how much it is worse on varied data.

        Seeds are paired; the intervals of all architectures hold together.
        """
        profiled = self.profiled
        columns, scores = [], []
        for name, runs in fresh.items():
            own = [
                run
                for run in profiled.of_group("generalisation", "confirm", **variation)
                if run.arm == name
            ]
            scores.append(np.array([run.validation for run in own]))
            plain = np.array([run.validation for run in runs])
            columns.append(profiled.sign * (plain - scores[-1]))
        found = simultaneous(
            np.stack(columns, 1),
            alpha=profiled.alpha,
            seed=profiled.resolved["seed"],
        )
        return [
            {
                "score": dataclasses.asdict(mean(scores[i], profiled.alpha)),
                "loss": {
                    **dataclasses.asdict(found.at(i)),
                    "p_value_adjusted": float(found.p_value_adjusted[i]),
                },
                "verdict": "loses"
                if found.direction[i] > 0
                else "gains"
                if found.direction[i] < 0
                else "nothing"
                if -margin < found.low[i] and found.high[i] < margin
                else "undecided",
            }
            for i in range(len(columns))
        ]

    def _curve(self, name: str, fresh: Sequence[Run]) -> dict[str, Any]:
        """Returns scores by the size of the training set, and the law of the errors."""
        profiled = self.profiled
        sizes = profiled.resolved["generalisation"]["sizes"]
        groups = [
            [
                run
                for run in profiled.of_group("generalisation", "confirm", rows=rows)
                if run.arm == name
            ]
            for rows in sizes[:-1]
        ]
        scores = np.array([[r.validation for r in own] for own in (*groups, fresh)])
        law = power_law(
            np.array(sizes),
            np.abs(profiled.metric.best - scores),
            alpha=profiled.alpha,
            ahead=(2.0 * sizes[-1],),
        )
        told: dict[str, Any] = dataclasses.asdict(law)
        if law.exponent is not None:
            # JSON has no infinity: None where the data do not bound it.
            told["exponent"]["high"] = _finite(law.exponent.high)
        if law.misfit is not None and law.misfit < MISFIT:
            told["reason"] = "misfit"
        elif law.exponent is not None:
            told["limit_score"] = _as_error(told["limit"], profiled.metric)
            told["twice"] = _as_error(told["ahead"][0], profiled.metric)
        del told["ahead"]
        return {
            "sizes": sizes,
            "scores": [dataclasses.asdict(mean(own, profiled.alpha)) for own in scores],
            "law": told,
        }

    # In words.

    def sentence(self, found: Mapping[str, Any]) -> str:
        """Returns who loses most without positions, or whose gap is the widest."""
        metric, each = self.profiled.metric, found["architectures"]
        moved = [entry for entry in each if entry["positions"]]
        if moved:
            ordered = sorted(moved, key=lambda e: -e["positions"]["loss"]["estimate"])
            told = joined(
                [
                    f"{numbers.gained(_change(e['positions']['loss'], metric), metric)}"
                    f" for {e['name']}"
                    for e in ordered
                ]
            )
            return (
                f"Where positions change places, validation {numbers.label(metric)} changes"
                f" by {told}."
            )
        widest = max(each, key=lambda entry: float(entry["gap"]["estimate"]))
        gap = numbers.gained(widest["gap"], metric)
        return f"The gap to the training set is widest for {widest['name']}: {gap}."

    def columns(self, found: Mapping[str, Any]) -> Sequence[Column]:
        """Returns gaps, and what is lost without positions."""
        metric, each = self.profiled.metric, found["architectures"]
        columns = [
            Column("gap", [numbers.gained(e["gap"], metric) for e in each], 4),
        ]
        if all(entry["positions"] for entry in each):
            told = [numbers.gained(e["positions"]["loss"], metric) for e in each]
            columns.append(Column("lost without positions", told, 3))
        return columns

    def warnings(self, found: Mapping[str, Any]) -> Sequence[str]:
        """Returns which laws say nothing."""
        broken = [
            entry["name"]
            for entry in found["architectures"]
            if entry["curve"]["law"]["reason"] == "misfit"
        ]
        if not broken:
            return []
        return [
            f"The errors of {joined(broken)} lie off any power law by more than seeds"
            " explain: what more data would bring is not told."
        ]

    def sections(self, found: Mapping[str, Any]) -> Sequence[Section]:
        """Returns gaps and curves, wrong labels, and positions with their explanation."""
        level = numbers.level(self.profiled.alpha)
        figures = self.figures(found)
        captions = {
            "curve": f"{level} intervals over seeds, each with its own stratified part;"
            " smooth lines: the fitted laws, where one holds. Both axes are logarithmic.",
            "noise": f"{level} intervals that hold together for all architectures; grey:"
            " within the margin.",
            "positions": f"{level} intervals that hold together for all architectures,"
            " paired by seed; grey: within the margin.",
        }
        plates = {n: Plate(draw, captions[n]) for n, draw in figures.items()}
        of = {name: [plates[name]] if name in plates else [] for name in captions}
        steps = self.profiled.resolved["steps"]
        sections = [
            Section(
                self.title,
                [
                    "All on the validation set, with the learning rate that was chosen on"
                    " all training examples as they are, and everything else at the"
                    f" defaults; {steps:,} steps each, also on parts of the training set."
                ],
                figures=of["curve"],
                tables=[self._gaps(found), self._laws(found)],
            )
        ]
        if plates.get("positions"):
            sections.append(
                Section(
                    "What is the order of positions worth to them?",
                    self._explained(found),
                    figures=of["positions"],
                    tables=[self._moved(found)],
                )
            )
        if plates.get("noise"):
            sections.append(
                Section(
                    "What do wrong labels do?",
                    figures=of["noise"],
                    tables=[self._noisy(found)],
                )
            )
        left = [f"Not asked: {_ASKED[n]}, since {why}." for n, why in
                found["without"].items()]  # fmt: skip
        if left:
            sections[0] = dataclasses.replace(sections[0], note=" ".join(left))
        return sections

    def _explained(self, found: Mapping[str, Any]) -> list[str]:
        """Returns why architectures lose what they lose by moved positions."""
        each = found["architectures"]
        alike = [e["name"] for e in each if e["positions"]["treated_alike"]]
        others = [e for e in each if not e["positions"]["treated_alike"]]
        told = []
        if alike:
            told.append(
                f"{joined(alike)} {'have' if alike[1:] else 'has'} a weight for each"
                " position, all drawn from one law: moving the positions only renames the"
                " weights, so that nothing is lost but by chance. Whatever they know of the"
                " order they have learned."
            )
        losing = [e["name"] for e in others if e["positions"]["verdict"] == "loses"]
        if losing:
            told.append(
                f"{joined(losing)} {'read' if losing[1:] else 'reads'} positions in their"
                " order, near ones together: what is lost when they are moved is what this"
                " prior is worth on these data."
            )
        kept = [e["name"] for e in others if e["positions"]["verdict"] == "nothing"]
        if kept:
            told.append(
                f"{joined(kept)} {'lose' if kept[1:] else 'loses'} nothing worth having:"
                " how positions are read is no advantage on these data."
            )
        return told

    def _gaps(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        label = numbers.label(metric)
        columns = {
            "architecture": self.profiled.names,
            f"training {label}": [numbers.estimated(e["train"], metric) for e in each],
            f"validation {label}": [
                numbers.estimated(e["validation"], metric) for e in each
            ],
            "gap": [numbers.gained(e["gap"], metric) for e in each],
        }
        scored = self.profiled.resolved["generalisation"]["scored"]
        return Exhibit(
            "The gap to the training set",
            Table.of(columns),
            f"{numbers.level(self.profiled.alpha)} intervals over"
            f" {self.profiled.resolved['seeds']} seeds, each by itself; of {scored:,}"
            " training examples.",
        )

    def _laws(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        laws = [entry["curve"]["law"] for entry in each]
        columns = {
            "architecture": self.profiled.names,
            "exponent c": [_exponent(law) for law in laws],
            "with twice the data": [
                numbers.estimated(law.get("twice"), metric) or _REASONS[law["reason"]]
                for law in laws
            ],
            "with endless data": [
                numbers.estimated(law.get("limit_score"), metric) for law in laws
            ],
            "fits (p)": [numbers.p_bare(law["misfit"]) for law in laws],
        }
        return Exhibit(
            f"Power laws of the error: what more data would bring in validation"
            f" {numbers.label(metric)}",
            Table.of(columns),
            "Beyond the sizes that were trained on a law is an extrapolation: its interval"
            " holds if the law goes on.",
        )

    def _moved(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        columns = {
            "architecture": self.profiled.names,
            "as they are": [numbers.estimated(e["validation"], metric) for e in each],
            "moved": [numbers.estimated(e["positions"]["score"], metric) for e in each],
            "lost": [numbers.gained(e["positions"]["loss"], metric) for e in each],
        }
        return Exhibit(
            f"Validation {numbers.label(metric)} without the order of positions",
            Table.of(columns),
        )

    def _noisy(self, found: Mapping[str, Any]) -> Exhibit:
        metric, each = self.profiled.metric, found["architectures"]
        columns = {"architecture": self.profiled.names}
        for index, noise in enumerate(each[0]["noise"]):
            columns[f"lost by {numbers.percent(noise['share'])} wrong labels"] = [
                numbers.gained(entry["noise"][index]["loss"], metric) for entry in each
            ]
        return Exhibit(
            f"What wrong training labels cost in validation {numbers.label(metric)}",
            Table.of(columns),
            "Another class, drawn evenly from all others, in place of that share of the"
            " labels; the validation set keeps its own.",
        )

    # Drawn.

    def figures(
        self, found: Mapping[str, Any]
    ) -> Mapping[str, Callable[[int], Figure]]:
        """Returns what draws learning curves and losses."""
        metric, each = self.profiled.metric, found["architectures"]
        drawn: dict[str, Callable[[int], Figure]] = {
            "curve": functools.partial(
                _curves, self._curves_title(found), found, metric
            )
        }
        label = f"loss in validation {numbers.label(metric)}"
        if all(entry["positions"] for entry in each):
            drawn["positions"] = functools.partial(
                draw_gains,
                "What is lost when positions are moved",
                {e["name"]: e["positions"]["loss"] for e in each},
                metric, found["margin"], label=label,
            )  # fmt: skip
        if each[0]["noise"]:
            drawn["noise"] = functools.partial(
                draw_gains,
                "What is lost by wrong training labels",
                {
                    f"{e['name']}, {numbers.percent(noise['share'])} wrong": noise["loss"]
                    for e in each
                    for noise in e["noise"]
                },
                metric, found["margin"], label=label,
            )  # fmt: skip
        return drawn

    def _curves_title(self, found: Mapping[str, Any]) -> str:
        """Returns which error falls fastest, where intervals of exponents say so."""
        known = [
            (entry["name"], entry["curve"]["law"]["exponent"])
            for entry in found["architectures"]
            if entry["curve"]["law"]["exponent"]
        ]
        if any(e["curve"]["law"]["reason"] for e in found["architectures"]):
            return "How errors fall with more data"  # of one nobody knows how fast
        for name, exponent in known:
            rest = [other for other_name, other in known if other_name != name]
            if rest and all(
                o["high"] is not None and exponent["low"] > o["high"] for o in rest
            ):
                return f"The error of {name} falls fastest with more data"
        return "How errors fall with more data"


_ASKED = {
    "noise": "what wrong labels do",
    "positions": "what the order of positions is worth",
}

_REASONS = {
    None: "",
    "not_falling": "its error does not fall",
    "no_spread": "its runs never differ",
    "misfit": "no power law fits",
}


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _change(loss: Mapping[str, float], metric: Metric) -> dict[str, float]:
    """Returns a loss as the change of the score, in the metric's own units."""
    ends = ("estimate", "low", "high")
    if not metric.higher_is_better:
        return {end: loss[end] for end in ends}
    turned = {"estimate": "estimate", "low": "high", "high": "low"}
    return {end: -loss[turned[end]] for end in ends}


def _exponent(law: Mapping[str, Any]) -> str:
    found = law["exponent"]
    if found is None:
        return ""
    high = "more" if found["high"] is None else _short(found["high"])
    return f"{_short(found['estimate'])} ({_short(found['low'])} to {high})"


def _short(number: float) -> str:
    return numbers.value(float(f"{number:.2g}"))


def _curves(
    message: str, found: Mapping[str, Any], metric: Metric, width: int
) -> Figure:
    """Draws errors by the size of the training set, a line an architecture."""
    lines = []
    for entry in found["architectures"]:
        curve, law = entry["curve"], entry["curve"]["law"]
        fitted = None
        if law["exponent"] and law["reason"] is None:
            along = np.geomspace(curve["sizes"][0], curve["sizes"][-1], 60)
            falls = law["factor"] * along ** -law["exponent"]["estimate"]
            fitted = (along, law["limit"]["estimate"] + falls)
        errors = [_as_error(score, metric) for score in curve["scores"]]
        lines.append((entry["name"], Line(curve["sizes"], errors, fitted)))
    label = numbers.label(metric)
    return draw_lines(
        message, lines,
        Scale("training examples", log=True, written="{:,.0f}".format),
        Scale(
            f"validation error (1 - {label})" if metric.higher_is_better
            else f"validation {label}",
            log=True, written=lambda value: numbers.tick(value, metric),
        ),
        width,
    )  # fmt: skip


def _as_error(score: Mapping[str, float], metric: Metric) -> dict[str, float]:
    """Returns a score with its interval as the error that it leaves."""
    if not metric.higher_is_better:
        return dict(score)
    ends = {"estimate": "estimate", "low": "high", "high": "low"}
    return {end: metric.best - score[other] for end, other in ends.items()}
